//! Where a text is cut, and the user data of each part.

use bytes::BufMut;

use unicode_segmentation::GraphemeCursor;

use super::gsm7::national::Shifts;
use super::{Alphabet, Encoding, Reference, ReferenceWidth, TextError, gsm7, latin1, ucs2};

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
    shifts: Shifts,
    limit: usize,
}

impl<'a> Segments<'a> {
    /// Starts at the beginning of a text.
    #[must_use]
    pub const fn new(text: &'a str, encoding: Encoding, width: ReferenceWidth) -> Self {
        Self::within(text, encoding, Shifts::NONE, encoding.segment_limit(width))
    }

    /// The same with other tables, and so many units (septets, 16-bit units) in each piece. The
    /// limit is at least 2, so that an escape or surrogate pair fits.
    #[must_use]
    pub const fn within(text: &'a str, encoding: Encoding, shifts: Shifts, limit: usize) -> Self {
        Self {
            rest: text,
            encoding,
            shifts,
            limit: if limit < 2 { 2 } else { limit },
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (text, limit) = (self.rest, self.limit);
        let cut = match self.encoding {
            // The default alphabet has no character that belongs to another.
            Encoding::Gsm7 if self.shifts.is_none() => cut(text, limit, gsm7::width),
            Encoding::Gsm7 => whole(text, cut(text, limit, |c| self.shifts.width(c))),
            Encoding::Ucs2 => whole(text, cut(text, limit, |c| Some(c.len_utf16()))),
            Encoding::Latin1 => whole(text, cut(text, limit, |_| Some(1))),
        };
        let (piece, rest) = text.split_at(cut);
        self.rest = rest;
        Some(piece)
    }
}

/// Octets of `text` whose units fit in `limit`. A character that the alphabet lacks counts as one
/// unit, so that the walk ends; writing it is the error.
fn cut(text: &str, limit: usize, width: impl Fn(char) -> Option<usize>) -> usize {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += width(character).unwrap_or(1);
        if used > limit {
            return at;
        }
    }
    text.len()
}

/// The last boundary between graphemes up to `at`; `at` itself where one grapheme fills it all.
/// Looks back no further than the start of `text`, which is the start of the segment.
fn whole(text: &str, at: usize) -> usize {
    if at == text.len() {
        return at;
    }
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    if cursor.is_boundary(text, 0) == Ok(true) {
        return at;
    }
    match cursor.prev_boundary(text, 0) {
        Ok(Some(before)) if before > 0 => before,
        _ => at,
    }
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
            Encoding::Latin1 => latin1::octets(text)?,
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
        Encoding::Latin1 => Alphabet::Latin1.encode(piece, &mut room)?,
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
