//! Outcome: what became of one part of an attempt, whose doing it was, and what follows.
//!
//! A failed delivery is data, not an error. A connector answers every part it was handed with exactly
//! one [`Outcome`]; the tables that turn a peer's codes into outcomes stand beside each connector.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::message::{Message, MessageId, RouteIx};

pub mod error_map;
mod form;
mod receipt;
pub mod retries;
mod said;

pub use form::{Form, FormWords};
pub use receipt::{
    Clues, PartRule, RawOctets, Receipt, ReceiptBatch, ReceiptState, ReceiptTlv, Unreadable,
};
pub use said::Said;

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
    /// The peer's own code (SMPP command_status, HTTP status; 0 when there was no answer).
    pub code: u32,
    /// Our word for it; `None` when it was accepted.
    pub reason: Option<Reason>,
    /// What may follow.
    pub retry: Retry,
    /// The id the peer gave, as it gave it; empty when it gave none.
    pub provider_id: ProviderId,
    /// What the peer said in words, escaped, at most 255 octets: SMPP additional_status_info_text; a push
    /// service's code and its words, as [`Said`] has them.
    pub text: Option<Box<str>>,
    /// Since when the device's token is of no use, as the service says, where the customer is to stop
    /// using it; else zero.
    pub unregistered: UnixMs,
    /// When the bytes were handed to the link.
    pub handed_at: UnixMs,
    /// When the answer came.
    pub answered_at: UnixMs,
}

/// A peer's id for a part, raw: up to 255 octets are kept.
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

/// Why something waits, for whoever asks (`GET /v1/routes/{name}`, `GET /v1/messages/{id}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// The route has no link that is up.
    RouteDown,
    /// The route's rate is used up (`routes.X.rate`).
    Rate,
    /// Every link has as many attempts out as it takes (`routes.X.window`; for push what the service allows
    /// its connections).
    Window,
    /// The peer throttles, or is too busy; the route backs off.
    Throttled,
    /// A refused part waits for its next try.
    Backoff,
    /// The disk is full: no new attempts (`limits.disk_reserve`).
    StoreFull,
    /// Answers wait to be stored (at most what all links may have out).
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
    fn backoff_doubles_to_its_cap() {
        assert_eq!(backoff(1), Duration::from_secs(1));
        assert_eq!(backoff(3), Duration::from_secs(4));
        assert_eq!(backoff(200), BACKOFF_CAP);
    }
}
