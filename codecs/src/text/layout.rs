//! Layout: what the parts of a message look like, beyond the plain.
//!
//! A layout is decided once for a message and says where its content is cut. How a part is written
//! then is the route's: the alphabet behind data_coding 0, and what ties the parts together.

use bytes::BufMut;

use super::decode::{Alphabet, Charset};
use super::gsm7::{self, packed};
use super::udh::{Concat, Fields};
use super::{
    Encoding, Language, Reference, ReferenceWidth, Segments, Shifts, TextError, USER_DATA_OCTETS,
    latin1, ucs2,
};

#[cfg(test)]
mod tests;

/// Octets of a concatenation element, without the header's length octet. 3GPP TS 23.040
/// §9.2.3.24.1, §9.2.3.24.8.
const fn concat_octets(width: ReferenceWidth) -> usize {
    width.header_octets() - 1
}

/// What decides where a message is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout<'a> {
    /// The alphabet of every part.
    pub encoding: Encoding,
    /// National tables; [`Shifts::NONE`] unless the encoding is GSM 7-bit.
    pub shifts: Shifts,
    /// Header elements of the customer's own (IEI, length, value, …) without the header's length
    /// octet; in every part.
    pub elements: &'a [u8],
    /// The concatenation header to leave room for. Parts that are tied together by TLVs leave room
    /// for an 8-bit one, because the SMSC puts it there (smpp.md §2.3).
    pub width: ReferenceWidth,
}

/// What ties the parts of a message together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// A concatenation element in the header.
    Header(Reference),
    /// Nothing in the user data: there is one part, or TLVs say it (SMPP v3.4 §5.3.2.22 to .24).
    Elsewhere,
}

/// One part of a message, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// From 0.
    pub index: u8,
    /// Parts of the whole message.
    pub total: u8,
    /// What ties them together; of no matter when `total` is 1.
    pub tie: Tie,
}

impl<'a> Layout<'a> {
    /// Without national tables and own elements, for 8-bit references.
    #[must_use]
    pub const fn plain(encoding: Encoding) -> Self {
        Self {
            encoding,
            shifts: Shifts::NONE,
            elements: &[],
            width: ReferenceWidth::Eight,
        }
    }

    /// Octets of the header with so many octets of concatenation element: 0, or at least 4.
    const fn header_octets(&self, concat: usize) -> usize {
        match self.shifts.element_octets() + self.elements.len() + concat {
            0 => 0,
            elements => elements + 1,
        }
    }

    const fn octets_left(&self, concat: usize) -> usize {
        USER_DATA_OCTETS.saturating_sub(self.header_octets(concat))
    }

    /// Units (septets or 16-bit units) that fit in the only part: 160 or 70 without a header.
    #[must_use]
    pub const fn single_limit(&self) -> usize {
        self.encoding.units(self.octets_left(0))
    }

    /// Units that fit in each of several parts.
    #[must_use]
    pub const fn segment_limit(&self) -> usize {
        self.encoding
            .units(self.octets_left(concat_octets(self.width)))
    }

    /// Octets of data that fit in the only part and in each of several: 140 and 134 without own
    /// elements, for 8-bit references.
    #[must_use]
    pub const fn octet_limits(&self) -> (usize, usize) {
        (
            self.octets_left(0),
            self.octets_left(concat_octets(self.width)),
        )
    }

    /// Units of a text.
    ///
    /// # Errors
    /// [`TextError::NotRepresentable`] names the first character that the alphabet lacks.
    pub fn units(&self, text: &str) -> Result<usize, TextError> {
        match self.encoding {
            Encoding::Gsm7 if self.shifts.is_none() => gsm7::septets(text),
            Encoding::Gsm7 => self.shifts.septets(text),
            Encoding::Ucs2 => Ok(ucs2::units(text)),
            Encoding::Latin1 => latin1::octets(text),
        }
    }

    /// Parts that a text takes: at least 1, also for the empty text. Allocates nothing.
    ///
    /// # Errors
    /// As [`units`](Self::units).
    pub fn count(&self, text: &str) -> Result<usize, TextError> {
        let units = self.units(text)?;
        Ok(if units <= self.single_limit() {
            1
        } else {
            self.pieces(text).count()
        })
    }

    /// The pieces of a text that takes more than one part.
    #[must_use]
    pub const fn pieces<'t>(&self, text: &'t str) -> Segments<'t> {
        Segments::within(text, self.encoding, self.shifts, self.segment_limit())
    }

    /// As much of the beginning of a text as fits in so many parts.
    #[must_use]
    pub fn fitting<'t>(&self, text: &'t str, parts: u8) -> &'t str {
        let octets = if parts <= 1 {
            let limit = self.single_limit();
            let mut pieces = Segments::within(text, self.encoding, self.shifts, limit);
            pieces.next().map_or(0, str::len)
        } else {
            self.pieces(text).take(parts.into()).map(str::len).sum()
        };
        text.get(..octets).unwrap_or(text)
    }

    /// Parts that so many octets of data take; at least 1. `None` where own elements leave no room.
    #[must_use]
    pub const fn count_octets(&self, octets: usize) -> Option<usize> {
        match self.octet_limits() {
            (single, _) if octets <= single => Some(1),
            (_, 0) => None,
            (_, limit) => Some(octets.div_ceil(limit)),
        }
    }

    /// Appends the user data of one part of a text in the route's alphabet; says whether it begins
    /// with a header ([`super::ESM_CLASS_UDHI`]). At most 160 octets in the GSM alphabets, 140 in
    /// UCS-2, three for each septet in UTF-8.
    ///
    /// The alphabet matters for GSM 7-bit alone. National tables are septets in any case, so they
    /// need a GSM alphabet.
    ///
    /// # Errors
    /// [`TextError::NoSuchSegment`] if the text does not split into `total` or there is no such
    /// part, [`TextError::NotRepresentable`] if the alphabet lacks a character. What was written by
    /// then is to be thrown away.
    pub fn write(
        &self,
        text: &str,
        part: Part,
        charset: impl Into<Charset>,
        out: &mut impl BufMut,
    ) -> Result<bool, TextError> {
        let Part { index, total, .. } = part;
        let piece = if total == 1 {
            (index == 0 && self.units(text)? <= self.single_limit()).then_some(text)
        } else {
            let mut pieces = self.pieces(text);
            let piece = pieces.nth(usize::from(index));
            let left = usize::from(total).checked_sub(usize::from(index) + 1);
            piece.filter(|_| left.is_some_and(|left| left == pieces.count()))
        };
        let piece = piece.ok_or(TextError::NoSuchSegment)?;
        let header = self.write_header(part, out);
        self.write_text(piece, charset.into(), header, out)?;
        Ok(header > 0)
    }

    /// Appends a whole text without a header, for message_payload: the carrier cuts it.
    ///
    /// # Errors
    /// [`TextError::NotRepresentable`] if the alphabet lacks a character.
    pub fn write_whole(
        &self,
        text: &str,
        charset: impl Into<Charset>,
        out: &mut impl BufMut,
    ) -> Result<(), TextError> {
        self.write_text(text, charset.into(), 0, out)
    }

    /// Appends the user data of one part of binary data; says whether it begins with a header.
    ///
    /// # Errors
    /// [`TextError::NoSuchSegment`] as in [`write`](Self::write).
    pub fn write_octets(
        &self,
        data: &[u8],
        part: Part,
        out: &mut impl BufMut,
    ) -> Result<bool, TextError> {
        let Part { index, total, .. } = part;
        if self.count_octets(data.len()) != Some(total.into()) || index >= total {
            return Err(TextError::NoSuchSegment);
        }
        let piece = if total == 1 {
            data
        } else {
            let (_, limit) = self.octet_limits();
            let mut pieces = data.chunks(limit.max(1));
            pieces
                .nth(usize::from(index))
                .ok_or(TextError::NoSuchSegment)?
        };
        let header = self.write_header(part, out);
        out.put_slice(piece);
        Ok(header > 0)
    }

    /// Appends the header and tells its octets, 0 when it has no element.
    fn write_header(&self, part: Part, out: &mut impl BufMut) -> usize {
        let concat = match part.tie {
            Tie::Header(reference) if part.total > 1 => Some(Concat {
                reference,
                total: part.total,
                sequence: part.index.wrapping_add(1),
            }),
            _ => None,
        };
        let fields = Fields {
            concat,
            ports: None,
            single_shift: self.shifts.single.map(Language::id),
            locking_shift: self.shifts.locking.map(Language::id),
        };
        let Some(length) = fields.with_elements(self.elements.len()) else {
            return 0;
        };
        out.put_u8(length);
        fields.write_elements(out);
        out.put_slice(self.elements);
        usize::from(length) + 1
    }

    fn write_text(
        &self,
        piece: &str,
        charset: Charset,
        header: usize,
        out: &mut impl BufMut,
    ) -> Result<(), TextError> {
        match self.encoding {
            Encoding::Gsm7 => {}
            Encoding::Ucs2 => {
                ucs2::write(piece, charset.ucs2_little_endian, out);
                return Ok(());
            }
            Encoding::Latin1 => return Alphabet::Latin1.encode(piece, out),
        }
        match charset.default {
            Alphabet::Gsm7 => self.septets(piece, out),
            Alphabet::Gsm7Packed => {
                let mut septets = Vec::with_capacity(piece.len());
                self.septets(piece, &mut septets)?;
                packed::pack(septets, packed::fill_bits(header), out);
                Ok(())
            }
            alphabet => alphabet.encode(piece, out),
        }
    }

    fn septets(&self, piece: &str, out: &mut impl BufMut) -> Result<(), TextError> {
        if self.shifts.is_none() {
            gsm7::encode(piece, out)
        } else {
            self.shifts.encode(piece, out)
        }
    }
}

impl Alphabet {
    /// Whether the alphabet, as data_coding 0, writes a text of the GSM 7-bit alphabet as it is.
    #[must_use]
    pub fn holds(self, text: &str) -> bool {
        match self {
            Self::Gsm7 | Self::Gsm7Packed | Self::Utf8 => true,
            Self::Latin1 => text.chars().all(|character| u32::from(character) <= 0xff),
            Self::Ascii => text.is_ascii(),
        }
    }

    /// Appends a text, one octet per character but in UTF-8.
    pub(super) fn encode(self, text: &str, out: &mut impl BufMut) -> Result<(), TextError> {
        if self == Self::Utf8 {
            out.put_slice(text.as_bytes());
            return Ok(());
        }
        let most = if self == Self::Latin1 { 0xff } else { 0x7f };
        for (at, character) in text.char_indices() {
            match u8::try_from(u32::from(character)) {
                Ok(octet) if octet <= most => out.put_u8(octet),
                _ => return Err(TextError::NotRepresentable { at, character }),
            }
        }
        Ok(())
    }
}

/// The national tables that write a text in the fewest parts, of the languages given: each with its
/// single shift table, its locking one, or both. Among equals the fewest septets count, then the
/// order of the languages. `None` when none of them has all of its characters.
#[must_use]
pub fn national<'a>(
    text: &str,
    languages: &[Language],
    base: &Layout<'a>,
) -> Option<(Layout<'a>, usize)> {
    let tables = languages.iter().copied().map(Some).flat_map(|language| {
        let locking = language.filter(|language| language.has_locking());
        [(None, language), (locking, None), (locking, language)]
    });
    tables
        .filter_map(|(locking, single)| {
            let layout = Layout {
                encoding: Encoding::Gsm7,
                shifts: Shifts { locking, single },
                ..*base
            };
            let septets = layout.units(text).ok()?;
            let parts = layout.count(text).ok()?;
            (!layout.shifts.is_none()).then_some((parts, septets, layout))
        })
        .min_by_key(|(parts, septets, _)| (*parts, *septets))
        .map(|(parts, _, layout)| (layout, parts))
}
