//! Where a text is cut, and the user data of each part.

use bytes::BufMut;

use super::{Encoding, Reference, ReferenceWidth, TextError, gsm7, ucs2};

/// Octets of the longest segment on the wire: 160 unpacked septets without a header.
const SEGMENT_OCTETS_MAX: usize = 160;

/// Iterates over the pieces of a text that fills more than one short message.
///
/// Each piece fits in a segment that has a concatenation header. A text that would fit in one
/// short message without a header may still come in two pieces here: ask [`super::plan`] first.
#[derive(Debug, Clone)]
pub struct Segments<'a> {
    rest: &'a str,
    encoding: Encoding,
    limit: usize,
}

impl<'a> Segments<'a> {
    /// Starts at the beginning of a text.
    #[must_use]
    pub const fn new(text: &'a str, encoding: Encoding, width: ReferenceWidth) -> Self {
        Self {
            rest: text,
            encoding,
            limit: encoding.segment_limit(width),
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let cut = match self.encoding {
            Encoding::Gsm7 => gsm7_cut(self.rest, self.limit),
            Encoding::Ucs2 => ucs2_cut(self.rest, self.limit),
        };
        let (piece, rest) = self.rest.split_at(cut);
        self.rest = rest;
        Some(piece)
    }
}

/// Octets of `text` whose septets fit in `limit`. A character that the alphabet lacks counts as
/// one, so that the walk ends; writing it is the error.
fn gsm7_cut(text: &str, limit: usize) -> usize {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += gsm7::width(character).unwrap_or(1);
        if used > limit {
            return at;
        }
    }
    text.len()
}

/// Octets of `text` whose units fit in `limit`, a whole number of clusters where there is one.
fn ucs2_cut(text: &str, limit: usize) -> usize {
    let mut used = 0;
    let mut cluster_at = 0;
    let mut walk = Clusters::default();
    for (at, character) in text.char_indices() {
        if walk.starts(character) {
            cluster_at = at;
        }
        used += character.len_utf16();
        if used > limit {
            // At 0 one cluster fills the segment and goes on: cut it between characters.
            return if cluster_at == 0 { at } else { cluster_at };
        }
    }
    text.len()
}

/// Tells cluster starts apart from what belongs to the character before.
#[derive(Debug, Default)]
struct Clusters {
    after_joiner: bool,
    flag_half: bool,
}

impl Clusters {
    fn starts(&mut self, character: char) -> bool {
        if character < '\u{300}' {
            *self = Self::default();
            return true;
        }
        let flag = matches!(character, '\u{1f1e6}'..='\u{1f1ff}');
        let starts = !(extends(character) || self.after_joiner || (flag && self.flag_half));
        self.flag_half = flag && !self.flag_half;
        self.after_joiner = character == '\u{200d}';
        starts
    }
}

/// Whether a character belongs to the one before. Unicode 15.1 blocks; the module doc of
/// [`super`] says what is left out.
fn extends(character: char) -> bool {
    matches!(character,
        '\u{300}'..='\u{36f}'         // combining diacritical marks
        | '\u{483}'..='\u{489}'       // Cyrillic titlo and its kin
        | '\u{1ab0}'..='\u{1aff}'     // combining diacritical marks extended
        | '\u{1dc0}'..='\u{1dff}'     // combining diacritical marks supplement
        | '\u{200c}' | '\u{200d}'     // zero width non-joiner, joiner
        | '\u{20d0}'..='\u{20f0}'     // combining marks for symbols, with the keycap
        | '\u{3099}' | '\u{309a}'     // kana voicing marks
        | '\u{fe00}'..='\u{fe0f}'     // variation selectors
        | '\u{fe20}'..='\u{fe2f}'     // combining half marks
        | '\u{1f3fb}'..='\u{1f3ff}'   // emoji skin tones
        | '\u{e0020}'..='\u{e007f}'   // tags, in subdivision flags
        | '\u{e0100}'..='\u{e01ef}'   // variation selectors supplement
    )
}

/// Writes the user data of one segment: the concatenation header, unless `total` is 1, then the
/// text of the segment in its alphabet. `index` counts from 0.
///
/// Set [`super::ESM_CLASS_UDHI`] in esm_class where `total` is above 1. `encoding` and `total` are
/// those that [`super::plan`] gave for the width of `reference`; each call walks the text up to its
/// segment.
///
/// # Errors
/// [`TextError::NoSuchSegment`] if the text does not split into `total` or `index` is not below
/// it, [`TextError::NotRepresentable`] if the alphabet lacks a character. Nothing is written then.
pub fn segment(
    text: &str,
    encoding: Encoding,
    index: u8,
    total: u8,
    reference: Reference,
    out: &mut impl BufMut,
) -> Result<(), TextError> {
    let mut octets = [0; SEGMENT_OCTETS_MAX];
    let mut room = &mut octets[..];
    let piece = if total == 1 {
        let units = match encoding {
            Encoding::Gsm7 => gsm7::septets(text)?,
            Encoding::Ucs2 => ucs2::units(text),
        };
        (index == 0 && units <= encoding.single_limit()).then_some(text)
    } else {
        header(index, total, reference, &mut room);
        let mut pieces = Segments::new(text, encoding, reference.width());
        let piece = pieces.nth(usize::from(index));
        let left = usize::from(total).checked_sub(usize::from(index) + 1);
        piece.filter(|_| left.is_some_and(|left| left == pieces.count()))
    };
    let piece = piece.ok_or(TextError::NoSuchSegment)?;
    match encoding {
        Encoding::Gsm7 => gsm7::encode(piece, &mut room)?,
        Encoding::Ucs2 => ucs2::encode(piece, &mut room),
    }
    let free = room.len();
    out.put_slice(&octets[..SEGMENT_OCTETS_MAX - free]);
    Ok(())
}

/// The user data header of one part of a concatenated message. 3GPP TS 23.040 §9.2.3.24.1 and .8.
fn header(index: u8, total: u8, reference: Reference, out: &mut impl BufMut) {
    match reference {
        Reference::Eight(number) => out.put_slice(&[0x05, 0x00, 0x03, number]),
        Reference::Sixteen(number) => {
            out.put_slice(&[0x06, 0x08, 0x04]);
            out.put_u16(number);
        }
    }
    out.put_slice(&[total, index.wrapping_add(1)]);
}
