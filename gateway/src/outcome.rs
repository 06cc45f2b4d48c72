//! Outcome: what became of one part of an attempt, whose doing it was, and what follows.
//!
//! A failed delivery is data, not an error. A connector answers every part it was handed with exactly
//! one [`Outcome`]; the tables that turn a peer's codes into outcomes stand beside each connector.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::message::{Message, MessageId, Phone, RouteIx};

pub mod error_map;
mod form;
pub mod retries;

pub use form::{Form, FormWords};

/// One part handed to a link. Exactly one [`Answer`] with its token follows.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Given by the dispatcher; comes back in the answer.
    pub token: u64,
    /// The message.
    pub message: Arc<Message>,
    /// Which part of it, counted from 0.
    pub part: u8,
    /// How it differs from what was planned.
    pub form: Form,
}

/// A link's answer to one attempt.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The attempt's token.
    pub token: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What happened.
    pub result: OutcomeResult,
    /// Whose doing it was.
    pub whose: Whose,
    /// The peer's own code (SMPP command_status; 0 when there was no answer).
    pub code: u32,
    /// Our word for it; `None` when it was accepted.
    pub reason: Option<Reason>,
    /// What may follow.
    pub retry: Retry,
    /// The id the peer gave, as it gave it; empty when it gave none.
    pub provider_id: ProviderId,
    /// What the peer said in words, escaped, at most 255 octets (SMPP additional_status_info_text).
    pub text: Option<Box<str>>,
    /// Since when the device's token is of no use, as the service says, where the customer is to stop
    /// using it; else zero.
    pub unregistered: UnixMs,
    /// When the bytes were handed to the link.
    pub handed_at: UnixMs,
    /// When the answer came.
    pub answered_at: UnixMs,
}

/// A carrier's message id, raw: up to 255 octets are kept.
pub type ProviderId = Box<[u8]>;

/// What happened to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutcomeResult {
    /// The peer took it.
    Accepted,
    /// The peer refused it.
    Refused,
    /// It was handed to the link and never answered: the peer may have it or not.
    Unknown,
    /// It was handed back before a byte of it was written: certain not to have been sent.
    NotSent,
}

/// Whose doing an outcome was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Whose {
    /// The peer's decision.
    Peer,
    /// Ours: a configuration or request that the peer cannot take.
    Us,
    /// The network between.
    Network,
}

/// What may follow a refusal. (smpp.md §3.3 classes: P, R(n) then A, A, T.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Retry {
    /// Nothing: this message cannot work anywhere (P).
    Never,
    /// Again here after a backoff, at most so many times, then elsewhere (R(n), A).
    Here {
        /// How many more tries at this route.
        tries: u8,
    },
    /// On another route, at once (A).
    Elsewhere,
    /// The whole route backs off and this part goes to the head of its queue (T).
    Throttle,
    /// The dispatcher's answer to [`Retry::Full`]: the destination waits, and the route goes on.
    Later {
        /// For so long, before jitter.
        minutes: u8,
    },
    /// Again here after this, at most so many times, then elsewhere: the peer said for how long, or its
    /// documentation does.
    After {
        /// Before jitter.
        seconds: u32,
        /// How many tries at this route in all may follow the first.
        tries: u8,
    },
    /// Again here when the route's [`retries`] say so, and as often, then elsewhere.
    Scheduled {
        /// No sooner than this, before jitter: the peer said so, or its documentation does; 0: neither.
        seconds: u32,
    },
    /// Here once more in another form, which the peer may take; once for each part, route and form.
    Otherwise {
        /// What is added to the form it had.
        form: Form,
        /// What follows when it has been tried so.
        or: Or,
    },
    /// The peer has no room, and may mean all of the route or this destination alone: as
    /// [`Retry::Throttle`], but that a destination which gets it again waits by itself.
    Full,
}

/// What follows a refusal in the last form that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Or {
    /// As [`Retry::Never`].
    Never,
    /// As [`Retry::Elsewhere`].
    Elsewhere,
}

impl From<Or> for Retry {
    fn from(or: Or) -> Self {
        match or {
            Or::Never => Self::Never,
            Or::Elsewhere => Self::Elsewhere,
        }
    }
}

/// The contract's reason codes (contract.md §3 "Reason taxonomy").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "each name is the contract's word; the taxonomy documents them"
)]
pub enum Reason {
    UnknownSubscriber,
    AbsentSubscriber,
    HandsetBusy,
    MemoryFull,
    RoamingRestricted,
    Barred,
    LandlineOrUnsupported,
    NumberPorted,
    RecipientBlockedSender,
    InvalidAddress,
    TooLong,
    EncodingUnsupported,
    FilteredAsSpam,
    TemplateMismatch,
    SenderInvalid,
    SenderBlocked,
    CampaignMissing,
    BlockedDestination,
    NoRoute,
    RouteDown,
    Throttled,
    QueueFull,
    BindFailed,
    ProviderAuthFailed,
    ProviderTimeout,
    ProviderError,
    ExpiredInQueue,
    ExpiredAtCarrier,
    NoReceipt,
    DeletedByCarrier,
    Unclassified,
    Suppressed,
    DeviceUnregistered,
    TokenInvalid,
    TokenWrongEnvironment,
    AppMismatch,
    PayloadTooLarge,
}

impl Reason {
    /// All reasons, with (code, category, permanent): the contract's table as data.
    pub const TABLE: [(Self, &'static str, &'static str, bool); 37] = [
        (
            Self::UnknownSubscriber,
            "unknown_subscriber",
            "recipient",
            true,
        ),
        (
            Self::AbsentSubscriber,
            "absent_subscriber",
            "recipient",
            false,
        ),
        (Self::HandsetBusy, "handset_busy", "recipient", false),
        (Self::MemoryFull, "memory_full", "recipient", false),
        (
            Self::RoamingRestricted,
            "roaming_restricted",
            "recipient",
            false,
        ),
        (Self::Barred, "barred", "recipient", true),
        (
            Self::LandlineOrUnsupported,
            "landline_or_unsupported",
            "recipient",
            true,
        ),
        (Self::NumberPorted, "number_ported", "recipient", false),
        (
            Self::RecipientBlockedSender,
            "recipient_blocked_sender",
            "recipient",
            true,
        ),
        (Self::InvalidAddress, "invalid_address", "recipient", true),
        (Self::TooLong, "too_long", "content", true),
        (
            Self::EncodingUnsupported,
            "encoding_unsupported",
            "content",
            true,
        ),
        (Self::FilteredAsSpam, "filtered_as_spam", "content", false),
        (Self::TemplateMismatch, "template_mismatch", "content", true),
        (Self::SenderInvalid, "sender_invalid", "sender", true),
        (Self::SenderBlocked, "sender_blocked", "sender", true),
        (Self::CampaignMissing, "campaign_missing", "sender", true),
        (
            Self::BlockedDestination,
            "blocked_destination",
            "policy",
            true,
        ),
        (Self::NoRoute, "no_route", "route", false),
        (Self::RouteDown, "route_down", "route", false),
        (Self::Throttled, "throttled", "route", false),
        (Self::QueueFull, "queue_full", "route", false),
        (Self::BindFailed, "bind_failed", "route", false),
        (
            Self::ProviderAuthFailed,
            "provider_auth_failed",
            "route",
            false,
        ),
        (Self::ProviderTimeout, "provider_timeout", "route", false),
        (Self::ProviderError, "provider_error", "route", false),
        (Self::ExpiredInQueue, "expired_in_queue", "time", false),
        (Self::ExpiredAtCarrier, "expired_at_carrier", "time", false),
        (Self::NoReceipt, "no_receipt", "time", false),
        (
            Self::DeletedByCarrier,
            "deleted_by_carrier",
            "operator",
            false,
        ),
        (Self::Unclassified, "unclassified", "unknown", false),
        (Self::Suppressed, "suppressed", "policy", true),
        (
            Self::DeviceUnregistered,
            "device_unregistered",
            "device",
            true,
        ),
        (Self::TokenInvalid, "token_invalid", "device", true),
        (
            Self::TokenWrongEnvironment,
            "token_wrong_environment",
            "device",
            true,
        ),
        (Self::AppMismatch, "app_mismatch", "sender", true),
        (Self::PayloadTooLarge, "payload_too_large", "content", true),
    ];

    fn row(self) -> (&'static str, &'static str, bool) {
        // The table stands in declaration order; a test holds it to that.
        let (_, code, category, permanent) = Self::TABLE[self as usize];
        (code, category, permanent)
    }

    /// The contract's code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.row().0
    }

    /// The contract's category.
    #[must_use]
    pub fn category(self) -> &'static str {
        self.row().1
    }

    /// Whether the same address with the same content can never work.
    #[must_use]
    pub fn permanent(self) -> bool {
        self.row().2
    }

    /// The reason of a contract code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::TABLE
            .iter()
            .find(|row| row.1 == code)
            .map(|row| row.0)
    }
}

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

/// Why something waits, for whoever asks (`GET /v1/routes/{name}`, the timeline).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// The route has no bound link.
    RouteDown,
    /// The route's rate is used up (`routes.X.rate`).
    Rate,
    /// Every bind's window is full (`routes.X.window`).
    Window,
    /// The carrier throttles; the route backs off.
    Throttled,
    /// A refused part waits for its next try.
    Backoff,
    /// The disk is full: no new submits (`limits.disk_reserve`).
    StoreFull,
    /// Answers wait to be stored (at most one window of them).
    Unsettled,
    /// Further tries are due, and their budget is used up (`routes.X.retry.budget`).
    RetryBudget,
    /// The project's quota is used up, or the service says so (`routes.X.quota`).
    Quota,
}

/// What the store tells a dispatcher to do with a message after its settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Other parts of this attempt are still out.
    Wait,
    /// The message has left this dispatcher: sent, final, or moved to another route.
    Done,
    /// Send these parts again here, not before then.
    Retry {
        /// When.
        due: UnixMs,
        /// Which parts.
        parts: crate::message::Parts,
        /// How.
        form: Form,
    },
    /// These parts certainly were not sent, and no try was made: they go out again at once.
    Back {
        /// Not before when; a time that is past. Zero if none of the message's tries on this route came
        /// before this one.
        due: UnixMs,
        /// Which parts.
        parts: crate::message::Parts,
        /// How.
        form: Form,
    },
}

/// Backoff of `Retry::Here`: 1 s, doubled for each try made, capped (chosen; smpp.md §3.3 names the
/// tries, not the pause).
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
pub const BACKOFF_CAP: Duration = Duration::from_secs(60);

/// The pause before try number `tries` + 1, without jitter.
#[must_use]
pub fn backoff(tries: u8) -> Duration {
    BACKOFF_FIRST
        .saturating_mul(1 << u32::from(tries.saturating_sub(1).min(6)))
        .min(BACKOFF_CAP)
}

/// One part's outcome on its way to the store.
#[derive(Clone, Debug)]
pub struct Settle {
    /// The message.
    pub id: MessageId,
    /// The route that the attempt was made on.
    pub route: RouteIx,
    /// Which part.
    pub part: u8,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether no other part of the message is out or waits in the dispatcher: then the message's
    /// next step is decided.
    pub last: bool,
    /// Whether it was settled as unknown before: then only its id counts.
    pub late: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_table_stands_in_declaration_order() {
        for (index, row) in Reason::TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, index, "{}", row.1);
            assert_eq!(Reason::from_code(row.1), Some(row.0));
        }
    }

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

    #[test]
    fn backoff_doubles_to_its_cap() {
        assert_eq!(backoff(1), Duration::from_secs(1));
        assert_eq!(backoff(3), Duration::from_secs(4));
        assert_eq!(backoff(200), BACKOFF_CAP);
    }
}
