//! Delivery receipts: told apart from messages, read tolerantly, and matched by message id.
//!
//! A receipt is a deliver_sm or data_sm. What it says comes in TLVs, in text, or in both, and no
//! two carriers write the text alike, so one scanner takes every known deviation and nothing here
//! fails: what is missing is `None`, and the caller keeps the raw octets.

use super::quirks::Quirks;

mod format;
mod id;
mod reason;
mod scan;

pub use format::{Format, FormatError};
pub use id::{IdForm, IdKey, Rung, Transform, canonical_key, id_forms, relate};
pub use reason::{NetworkError, Reason, error_number, gsm_reason, state_reason};
pub use scan::{Receipt, date_ms, scan};

#[cfg(test)]
mod tests;

/// The bits of esm_class that hold the message type. SMPP v3.4 §5.2.12.
const ESM_CLASS_TYPE: u8 = 0x3c;
/// The bit of a receipt. SMPP v3.4 §5.2.12.
const ESM_CLASS_RECEIPT: u8 = 0x04;

/// Whether the message type is none of SMPP v3.4 §5.2.12: default, receipt, acknowledgements of handset
/// and user, conversation abort, intermediate notification.
pub(super) fn is_reserved(esm_class: u8) -> bool {
    !matches!(
        esm_class & ESM_CLASS_TYPE,
        0 | 0x04 | 0x08 | 0x10 | 0x18 | 0x20
    )
}

/// What a deliver_sm or data_sm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A delivery receipt.
    Receipt,
    /// An intermediate notification: a receipt whose state is never final.
    Intermediate,
    /// An acknowledgement by the handset or its user: not a receipt.
    Acknowledgement,
    /// A message from a handset.
    Message,
}

/// Tells receipts from messages: by esm_class, then by TLV, then, where `by_text` is set for the
/// connection, by a text with `id:` and `stat:`. A reserved message type with the receipt's bit (a
/// library of SMPP 3.3 sends 0x14) lets the text tell as well: nothing else that it might mean is lost.
/// A receipt that its esm_class does not tell comes with the quirk of what did tell it.
///
/// `receipted_message_id` (TLV 0x001E) and `message_state` (0x0427) are the values as received.
#[must_use]
pub fn detect(
    esm_class: u8,
    receipted_message_id: Option<&[u8]>,
    message_state: Option<u8>,
    text: &[u8],
    by_text: bool,
) -> (Kind, Quirks) {
    let by_class = match esm_class & ESM_CLASS_TYPE {
        0x04 => return (Kind::Receipt, Quirks::NONE),
        0x20 => return (Kind::Intermediate, Quirks::NONE),
        0x08 | 0x10 => Kind::Acknowledgement,
        _ => Kind::Message,
    };
    if receipted_message_id.is_some() || message_state.is_some() {
        return (Kind::Receipt, Quirks::RECEIPT_BY_TLV);
    }
    let marked = is_reserved(esm_class) && esm_class & ESM_CLASS_RECEIPT != 0;
    if by_class == Kind::Message && (by_text || marked) {
        let receipt = scan(text);
        if receipt.id.is_some() && receipt.stat.is_some() {
            return (Kind::Receipt, Quirks::RECEIPT_BY_TEXT);
        }
    }
    (by_class, Quirks::NONE)
}

/// Whether what esm_class alone calls a receipt is a handset's message: carriers set 0x04 on those, too
/// (smpp.md §1.5). Chosen narrowly, because a receipt must never be told as what somebody wrote: the
/// message type is a receipt's and no other, `has_tlvs` (receipted_message_id, message_state,
/// network_error_code) is false, and the text has letters, but no field of a receipt, no word for a
/// state, and no word that may be an id or a date. `fields` are those of the text, as [`scan`] or the route's format has them.
#[must_use]
pub fn is_misnamed(esm_class: u8, has_tlvs: bool, fields: &Receipt<'_>, text: &[u8]) -> bool {
    let goes_on = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-');
    let mut words = text.split(|octet| !goes_on(octet));
    esm_class & ESM_CLASS_TYPE == ESM_CLASS_RECEIPT
        && !has_tlvs
        && *fields == Receipt::default()
        && text.iter().any(u8::is_ascii_alphabetic)
        && !words.any(|word| State::from_text(word).is_some() || is_number(word))
}

/// Whether a word may be an id or a date: it has six digits. Chosen: the shortest date without a key
/// that carriers write is YYMMDD, and ids are longer (`362d9701`, observed at Sicap).
fn is_number(word: &[u8]) -> bool {
    word.iter().filter(|octet| octet.is_ascii_digit()).count() >= 6
}

/// The state of a message at the carrier. SMPP v5.0 §4.7.15; v3.4 §5.2.28 has 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Waits at the carrier for its time.
    Scheduled = 0,
    /// On its way.
    Enroute = 1,
    /// On the handset.
    Delivered = 2,
    /// Its validity ended first.
    Expired = 3,
    /// Deleted or cancelled at the carrier.
    Deleted = 4,
    /// Given up.
    Undeliverable = 5,
    /// Taken by the carrier, or read by its customer service.
    Accepted = 6,
    /// The carrier does not know.
    Unknown = 7,
    /// Refused.
    Rejected = 8,
    /// Deliberately not sent.
    Skipped = 9,
}

impl State {
    /// Reads the value of TLV message_state (0x0427).
    #[must_use]
    pub const fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            0 => Self::Scheduled,
            1 => Self::Enroute,
            2 => Self::Delivered,
            3 => Self::Expired,
            4 => Self::Deleted,
            5 => Self::Undeliverable,
            6 => Self::Accepted,
            7 => Self::Unknown,
            8 => Self::Rejected,
            9 => Self::Skipped,
            _ => return None,
        })
    }

    /// Reads the word after `stat:`: the seven letters of SMPP v3.4 appendix B, and the words seen
    /// in their place, in any case. What follows such a word after a blank or punctuation is left
    /// aside: `FAILED:Mob. Abst.` (observed).
    #[must_use]
    pub fn from_text(word: &[u8]) -> Option<Self> {
        let goes_on = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-');
        let end = word.iter().position(|octet| !goes_on(octet));
        let word = end.and_then(|end| word.get(..end)).unwrap_or(word);
        WORDS
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(word))
            .map(|(_, state)| *state)
    }

    /// Whether nothing comes after it. [`State::Accepted`] is not: where a carrier sends nothing
    /// after it, the route says so (`accepted_is_final`).
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Scheduled | Self::Enroute | Self::Accepted)
    }

    /// The normalised word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "queued_at_carrier",
            Self::Enroute => "sent",
            Self::Delivered => "delivered",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Undeliverable => "undeliverable",
            Self::Accepted => "accepted",
            Self::Unknown => "unknown",
            Self::Rejected => "rejected",
            Self::Skipped => "skipped",
        }
    }
}

/// Words after `stat:`. SMPP v3.4 appendix B, the rest observed at carriers.
const WORDS: [(&str, State); 31] = [
    ("DELIVRD", State::Delivered),
    ("DELIVERED", State::Delivered),
    ("DELIVERD", State::Delivered),
    ("UNDELIV", State::Undeliverable),
    ("UNDELIVRD", State::Undeliverable),
    ("UNDELIVERED", State::Undeliverable),
    ("UNDELIVERABLE", State::Undeliverable),
    ("FAILED", State::Undeliverable),
    ("EXPIRED", State::Expired),
    ("ACCEPTD", State::Accepted),
    ("ACCEPTED", State::Accepted),
    ("ACKED", State::Accepted),
    ("ENROUTE", State::Enroute),
    ("EN_ROUTE", State::Enroute),
    ("BUFFRED", State::Enroute),
    ("BUFFERED", State::Enroute),
    ("BUFFERD", State::Enroute),
    ("SENT", State::Enroute),
    ("PENDING", State::Enroute),
    ("REJECTD", State::Rejected),
    ("REJECTED", State::Rejected),
    ("REJECT", State::Rejected),
    ("DELETED", State::Deleted),
    ("CANCELED", State::Deleted),
    ("CANCELLED", State::Deleted),
    ("CANCELD", State::Deleted),
    ("UNKNOWN", State::Unknown),
    ("SCHEDLD", State::Scheduled),
    ("SCHEDULED", State::Scheduled),
    ("SKIPPED", State::Skipped),
    ("SKIPPD", State::Skipped),
];

/// The TLVs of a receipt, as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tlvs<'a> {
    /// receipted_message_id, 0x001E.
    pub receipted_message_id: Option<&'a [u8]>,
    /// message_state, 0x0427.
    pub message_state: Option<u8>,
    /// network_error_code, 0x0423.
    pub network_error_code: Option<&'a [u8]>,
}

/// What a receipt says, from TLVs and text together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The carrier's message id, raw.
    pub id: Option<&'a [u8]>,
    /// The text's id, raw, where the TLV names another one.
    pub text_id: Option<&'a [u8]>,
    /// `None` if neither source names a state that is known.
    pub state: Option<State>,
    /// From the TLV only: the `err:` of the text names no network.
    pub network_error: Option<NetworkError>,
    /// The `err:` of the text, raw.
    pub err: Option<&'a [u8]>,
}

/// Joins TLVs and text: the TLVs win (the id of a text that differs by more than case and leading zeros
/// is told beside it), but the state is the text's where `prefer_text` is set for
/// the connection.
#[must_use]
pub fn resolve<'a>(tlvs: Tlvs<'a>, text: &Receipt<'a>, prefer_text: bool) -> Verdict<'a> {
    let tlv_id = tlvs
        .receipted_message_id
        .map(before_nul)
        .filter(|id| !id.is_empty());
    let tlv_state = tlvs.message_state.and_then(State::from_octet);
    let text_state = text.stat.and_then(State::from_text);
    let other = |id: &&[u8]| {
        let same = |tlv: &[u8]| tlv == *id || canonical_key(tlv) == canonical_key(id);
        tlv_id.is_some_and(|tlv| !same(tlv))
    };
    Verdict {
        id: tlv_id.or(text.id),
        text_id: text.id.filter(other),
        state: if prefer_text {
            text_state.or(tlv_state)
        } else {
            tlv_state.or(text_state)
        },
        network_error: tlvs.network_error_code.and_then(NetworkError::parse),
        err: text.err,
    }
}

/// The value of a C-octet string, which may lack its NUL.
fn before_nul(octets: &[u8]) -> &[u8] {
    octets
        .split(|octet| *octet == 0)
        .next()
        .unwrap_or_default()
        .trim_ascii()
}
