//! Optional parameters (TLVs): kept raw, walked by an iterator, read by typed accessors.

use smallvec::SmallVec;

use super::fields::{DecodeError, EncodeError, Field, Kind, Quirks};
use crate::cursor::Cursor;

mod table;

pub use table::{Pdus, RULES, Rule, Shape};

/// Max TLVs in one PDU. Chosen: SMPP v5.0 defines 67 in all; no PDU seen carries more than 20.
pub const TLVS_MAX: usize = 64;

/// Octets of zero padding after a body that are dropped. Observed: 1; fewer than a TLV's header.
const PADDING_OCTETS_MAX: usize = 3;

/// A TLV's tag. SMPP v3.4 §5.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u16);

/// One optional parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// What it is.
    pub tag: Tag,
    /// Its octets, as they came.
    pub value: &'a [u8],
}

/// A segment's place in a message sent with sar_* TLVs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sar {
    /// sar_msg_ref_num.
    pub reference: u16,
    /// sar_total_segments.
    pub total: u8,
    /// sar_segment_seqnum, from 1.
    pub number: u8,
}

/// What to do with a TLV stream that breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// Fail: the sender can be told with 0xC0.
    Strict,
    /// Keep what is whole: the sender would only repeat it.
    Tolerant,
}

/// A checked stream of TLVs, still in wire form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a> {
    raw: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// No TLVs.
    pub const NONE: Self = Self { raw: &[] };

    /// Checks raw octets: whole TLVs, at most [`TLVS_MAX`].
    ///
    /// # Errors
    /// Names the octet where the stream breaks.
    pub fn new(raw: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(raw, 0);
        let mut count = 0;
        while !cursor.rest().is_empty() {
            if next(&mut cursor).is_none() {
                return Err(broken(&cursor, Kind::BadTlvs));
            }
            count += 1;
            if count > TLVS_MAX {
                return Err(broken(&cursor, Kind::TooManyTlvs));
            }
        }
        Ok(Self { raw })
    }

    pub(crate) fn scan(mut cursor: Cursor<'a>, scan: Scan) -> Result<(Self, Quirks), DecodeError> {
        let all = cursor.rest();
        let mut count = 0;
        let mut quirks = Quirks::NONE;
        while !cursor.rest().is_empty() {
            let before = cursor;
            count += 1;
            let kind = if next(&mut cursor).is_none() {
                Kind::BadTlvs
            } else if count > TLVS_MAX {
                Kind::TooManyTlvs
            } else {
                continue;
            };
            let rest = before.rest();
            cursor = before;
            if rest.len() <= PADDING_OCTETS_MAX && rest.iter().all(|&octet| octet == 0) {
                quirks.insert(Quirks::TRAILING);
            } else if scan == Scan::Tolerant {
                quirks.insert(Quirks::BROKEN_TLVS);
            } else {
                return Err(broken(&before, kind));
            }
            break;
        }
        let whole = all.len() - cursor.rest().len();
        Ok((
            Self {
                raw: all.get(..whole).unwrap_or_default(),
            },
            quirks,
        ))
    }

    /// The octets as they are on the wire.
    #[inline]
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Says whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// Walks the TLVs in wire order.
    pub fn iter(self) -> impl Iterator<Item = Tlv<'a>> {
        let mut cursor = Cursor::new(self.raw, 0);
        std::iter::from_fn(move || next(&mut cursor))
    }

    /// The first value with this tag.
    #[must_use]
    pub fn find(self, tag: Tag) -> Option<&'a [u8]> {
        self.iter().find(|tlv| tlv.tag == tag).map(|tlv| tlv.value)
    }

    /// A one-octet value; `None` if it is absent or has another length.
    #[must_use]
    pub fn u8(self, tag: Tag) -> Option<u8> {
        match self.find(tag)? {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// A two-octet value; `None` if it is absent or has another length.
    #[must_use]
    pub fn u16(self, tag: Tag) -> Option<u16> {
        Some(u16::from_be_bytes(self.find(tag)?.try_into().ok()?))
    }

    /// A C-octet string up to its NUL, or whole if it has none.
    #[must_use]
    pub fn cstring(self, tag: Tag) -> Option<&'a [u8]> {
        self.find(tag)?.split(|&octet| octet == 0).next()
    }

    /// receipted_message_id: the id that the receipt is about. Longer than the rule and without
    /// NUL too: a receipt that is not matched is worse.
    #[must_use]
    pub fn receipted_message_id(self) -> Option<&'a [u8]> {
        self.cstring(Tag::RECEIPTED_MESSAGE_ID)
    }

    /// message_state, in its range or not: that it is there already marks a receipt. SMPP v3.4
    /// §5.2.28.
    #[must_use]
    pub fn message_state(self) -> Option<u8> {
        self.u8(Tag::MESSAGE_STATE)
    }

    /// network_error_code, raw: three octets by the specification, four observed.
    #[must_use]
    pub fn network_error_code(self) -> Option<&'a [u8]> {
        self.find(Tag::NETWORK_ERROR_CODE)
    }

    /// additional_status_info_text, without its NUL, if it has one.
    #[must_use]
    pub fn additional_status_info_text(self) -> Option<&'a [u8]> {
        self.cstring(Tag::ADDITIONAL_STATUS_INFO_TEXT)
    }

    /// The three sar_* values, if all are there; 0 segments and the 0th one are none.
    #[must_use]
    pub fn sar(self) -> Option<Sar> {
        Some(Sar {
            reference: self.sar_msg_ref_num()?,
            total: self.sar_total_segments()?,
            number: self.sar_segment_seqnum()?,
        })
    }
}

#[inline]
fn next<'a>(cursor: &mut Cursor<'a>) -> Option<Tlv<'a>> {
    let tag = Tag(cursor.u16()?);
    let length = cursor.u16()?;
    let value = cursor.take(usize::from(length))?;
    Some(Tlv { tag, value })
}

#[cold]
fn broken(cursor: &Cursor<'_>, kind: Kind) -> DecodeError {
    DecodeError {
        at: cursor.at(),
        field: Field::Tlvs,
        kind,
    }
}

/// Builds TLVs to send; up to 96 octets without allocating.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlvBuf {
    raw: SmallVec<[u8; 96]>,
    count: usize,
}

impl TlvBuf {
    /// Starts with none.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a value.
    ///
    /// # Errors
    /// Refuses values over 65,535 octets and more than [`TLVS_MAX`] TLVs.
    pub fn push(&mut self, tag: Tag, value: &[u8]) -> Result<(), EncodeError> {
        let field = Field::Tlvs;
        let Ok(length) = u16::try_from(value.len()) else {
            let octets_max = usize::from(u16::MAX);
            return Err(EncodeError::TooLong {
                field,
                octets: value.len(),
                octets_max,
            });
        };
        if self.count >= TLVS_MAX {
            let octets_max = self.raw.len();
            let octets = octets_max + 4 + value.len();
            return Err(EncodeError::TooLong {
                field,
                octets,
                octets_max,
            });
        }
        self.count += 1;
        self.raw.extend_from_slice(&tag.0.to_be_bytes());
        self.raw.extend_from_slice(&length.to_be_bytes());
        self.raw.extend_from_slice(value);
        Ok(())
    }

    /// Appends a C-octet string; the NUL is added.
    ///
    /// # Errors
    /// As [`TlvBuf::push`].
    pub fn push_cstring(&mut self, tag: Tag, value: &[u8]) -> Result<(), EncodeError> {
        let mut with_nul = SmallVec::<[u8; 96]>::from_slice(value);
        with_nul.push(0);
        self.push(tag, &with_nul)
    }

    /// Appends the three sar_* values.
    ///
    /// # Errors
    /// As [`TlvBuf::push`].
    pub fn push_sar(&mut self, sar: Sar) -> Result<(), EncodeError> {
        self.push(Tag::SAR_MSG_REF_NUM, &sar.reference.to_be_bytes())?;
        self.push(Tag::SAR_TOTAL_SEGMENTS, &[sar.total])?;
        self.push(Tag::SAR_SEGMENT_SEQNUM, &[sar.number])
    }

    /// Lends them to a PDU.
    #[must_use]
    pub fn as_tlvs(&self) -> Tlvs<'_> {
        Tlvs { raw: &self.raw }
    }
}
