//! Receipts: what a carrier says later about what it took, as a link read it and nobody has matched it yet.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::oneshot;

use super::{ProviderId, Reason};
use crate::clock::UnixMs;
use crate::message::{Phone, RouteIx};

/// What a receipt says happened (SMPP v3.4 §5.2.28 message_state; text forms in appendix B).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the specification's own words")]
pub enum ReceiptState {
    Scheduled,
    Enroute,
    Delivered,
    Expired,
    Deleted,
    Undeliverable,
    Accepted,
    Unknown,
    Rejected,
    Skipped,
}

impl ReceiptState {
    /// Whether the carrier says that nothing more will come.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Scheduled | Self::Enroute | Self::Accepted)
    }

    /// The text form of SMPP v3.4 appendix B.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDLD",
            Self::Enroute => "ENROUTE",
            Self::Delivered => "DELIVRD",
            Self::Expired => "EXPIRED",
            Self::Deleted => "DELETED",
            Self::Undeliverable => "UNDELIV",
            Self::Accepted => "ACCEPTD",
            Self::Unknown => "UNKNOWN",
            Self::Rejected => "REJECTD",
            Self::Skipped => "SKIPPED",
        }
    }
}

/// Which parts of a long message something holds for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PartRule {
    /// Every part.
    #[default]
    All,
    /// The first one.
    First,
    /// The last one.
    Last,
}

impl PartRule {
    /// Its word in the config, the API and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::First => "first",
            Self::Last => "last",
        }
    }

    /// Whether it holds for a part, counted from 0, of so many.
    #[must_use]
    pub fn holds(self, part: u8, parts: u8) -> bool {
        match self {
            Self::All => true,
            Self::First => part == 0,
            Self::Last => part + 1 >= parts,
        }
    }
}

/// A TLV of a receipt that is passed on as it came: a carrier's own, or one that the route names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptTlv {
    /// The route's name for it, else its tag, as in `0x1400`.
    pub name: Box<str>,
    /// Its value by the route's type, else in hexadecimal digits; at most 1,020 characters.
    pub value: Box<str>,
}

/// A receipt's PDU with its header, as it came: the first [`RawOctets::OCTETS_MAX`] octets. It shares the read
/// buffer, and costs no copy, until the receipt is kept for longer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RawOctets(Bytes);

impl RawOctets {
    /// Octets that are kept. Chosen: twice the 250 or so that receipts have.
    pub const OCTETS_MAX: usize = 512;

    /// Of a PDU.
    #[must_use]
    pub fn new(octets: &Bytes) -> Self {
        Self(octets.slice(..octets.len().min(Self::OCTETS_MAX)))
    }

    /// The octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Copies them out of the read buffer, which would else stay as long as they do.
    pub fn detach(&mut self) {
        self.0 = Bytes::copy_from_slice(&self.0);
    }
}

impl fmt::Debug for RawOctets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.0.len())
    }
}

impl Serialize for RawOctets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.octets().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawOctets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|octets| Self(octets.into()))
    }
}

/// A delivery receipt as a link read it, not yet matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The route account it came on; ids are unique within it, whichever bind carried them.
    pub route: RouteIx,
    /// The message id it names, raw.
    pub provider_id: ProviderId,
    /// The id in its text, raw, where a TLV names another one; else empty.
    pub text_id: ProviderId,
    /// The number the message went to, when the receipt tells it: settles an ambiguous match.
    pub recipient: Option<Phone>,
    /// What happened.
    pub state: ReceiptState,
    /// Our word for it, by the route's error table; `None` when it is good news.
    pub reason: Option<Reason>,
    /// The `err:` field, raw, at most 16 octets.
    pub err: Box<str>,
    /// network_error_code: network type and code.
    pub network_error: Option<(u8, u16)>,
    /// When the carrier says it happened.
    pub operator_at: Option<UnixMs>,
    /// The receipt's text, kept for bad news only, at most 255 octets.
    pub raw: Box<str>,
    /// Its TLVs that are passed on, at most 16: those that the route names, and those that no
    /// specification knows.
    pub tlvs: Box<[ReceiptTlv]>,
    /// The carrier's word for the state where it is not ours, at most 32 octets; else empty.
    pub stat: Box<str>,
    /// All of it, for the operator when no message is found.
    pub pdu: RawOctets,
    /// What else tells whose it is, on a route whose receipts may lack an id; `provider_id` may then be
    /// empty.
    pub clues: Option<Box<Clues>>,
    /// When it reached us.
    pub received_at: UnixMs,
}

/// What a receipt says of its message beside the id and the number it went to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clues {
    /// The message's sender, raw but for octets that are no printable ASCII; at most 32 octets. Empty when it
    /// names none.
    pub sender: Box<str>,
    /// When the carrier says that it got the message.
    pub submitted_at: Option<UnixMs>,
}

/// A receipt that says too little to belong to anything: no id, or no state that is known. It is kept
/// for the operator as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The route account it came on.
    pub route: RouteIx,
    /// The message id it names, raw; empty when none can be read.
    pub provider_id: ProviderId,
    /// The number the message went to, when it tells one.
    pub recipient: Option<Phone>,
    /// Its text for people: what is not printable ASCII is escaped; at most 255 octets.
    pub text: Box<str>,
    /// The PDU with its header, its first 1,024 octets.
    pub pdu: Box<[u8]>,
    /// When it reached us.
    pub received_at: UnixMs,
}

/// Receipts of one read, and where to say that they are on disk: only then is deliver_sm answered.
#[derive(Debug)]
pub struct ReceiptBatch {
    /// The receipts, in the order they came.
    pub receipts: Vec<Receipt>,
    /// Those that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Told when they are durable; dropped when they could not be stored, and then the carrier is
    /// answered so that it sends them again.
    pub stored: oneshot::Sender<()>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_rule_holds_for_its_part_and_for_the_only_one() {
        let parts = |rule: PartRule, parts: u8| -> Vec<u8> {
            (0..parts).filter(|part| rule.holds(*part, parts)).collect()
        };
        assert_eq!(parts(PartRule::All, 3), [0, 1, 2]);
        assert_eq!(parts(PartRule::First, 3), [0]);
        assert_eq!(parts(PartRule::Last, 3), [2]);
        assert_eq!(parts(PartRule::First, 1), parts(PartRule::Last, 1));
    }
}
