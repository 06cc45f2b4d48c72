//! Event: what we tell. A dense log of pointers into lives, and their JSON, rendered when read.
//!
//! An event is (sequence number, time, kind, message, version). What it tells is the message's life
//! as of that version, so it needs no copy of anything, and its JSON is the same each time.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::message::{MessageId, TenantIx};

pub mod render;

/// The kinds of event that this version makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// Stored, and eligible for sending at once.
    MessageAccepted,
    /// A carrier took all of it.
    MessageSent,
    /// Every part reached the handset.
    MessageDelivered,
    /// Taken, then refused.
    MessageUndelivered,
    /// Nobody took it.
    MessageFailed,
    /// Refused by policy.
    MessageRejected,
    /// Its time was over.
    MessageExpired,
    /// Nobody can say.
    MessageUnknown,
    /// One try failed and another follows.
    AttemptFailed,
    /// An endpoint was disabled.
    EndpointDisabled,
    /// A delivery to an endpoint was given up after its last retry.
    DeliveryExhausted,
    /// A handset's message came, whole or as much of it as came in time.
    InboundReceived,
    /// A recipient asks who this is.
    RecipientHelpRequested,
    /// Somebody is not sent to any more.
    RecipientOptedOut,
    /// Somebody may be sent to again.
    RecipientOptedIn,
    /// A suppression was added.
    SuppressionCreated,
    /// A suppression was ended.
    SuppressionDeleted,
    /// A step gave up, and the next one begins.
    MessageFallbackStarted,
    /// A push service has no use for a device's token any more.
    DeviceUnregistered,
    /// The app showed it, or its user opened it.
    MessageRead,
}

/// What an event's subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A message that was handed over to be sent.
    Message,
    /// An endpoint, by its number.
    Endpoint,
    /// A message from a handset.
    Inbound,
    /// A suppression.
    Suppression,
}

impl EventKind {
    /// All kinds, by number.
    pub const ALL: [Self; 20] = [
        Self::MessageAccepted,
        Self::MessageSent,
        Self::MessageDelivered,
        Self::MessageUndelivered,
        Self::MessageFailed,
        Self::MessageRejected,
        Self::MessageExpired,
        Self::MessageUnknown,
        Self::AttemptFailed,
        Self::EndpointDisabled,
        Self::DeliveryExhausted,
        Self::InboundReceived,
        Self::RecipientHelpRequested,
        Self::RecipientOptedOut,
        Self::RecipientOptedIn,
        Self::SuppressionCreated,
        Self::SuppressionDeleted,
        Self::MessageFallbackStarted,
        Self::DeviceUnregistered,
        Self::MessageRead,
    ];

    /// The contract's type word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MessageAccepted => "message.accepted",
            Self::MessageSent => "message.sent",
            Self::MessageDelivered => "message.delivered",
            Self::MessageUndelivered => "message.undelivered",
            Self::MessageFailed => "message.failed",
            Self::MessageRejected => "message.rejected",
            Self::MessageExpired => "message.expired",
            Self::MessageUnknown => "message.unknown",
            Self::AttemptFailed => "attempt.failed",
            Self::EndpointDisabled => "endpoint.disabled",
            Self::DeliveryExhausted => "delivery.exhausted",
            Self::InboundReceived => "inbound.received",
            Self::RecipientHelpRequested => "recipient.help_requested",
            Self::RecipientOptedOut => "recipient.opted_out",
            Self::RecipientOptedIn => "recipient.opted_in",
            Self::SuppressionCreated => "suppression.created",
            Self::SuppressionDeleted => "suppression.deleted",
            Self::MessageFallbackStarted => "message.fallback_started",
            Self::DeviceUnregistered => "device.unregistered",
            Self::MessageRead => "message.read",
        }
    }

    /// What the number in [`Event::subject`] stands for.
    #[must_use]
    pub fn subject(self) -> Subject {
        match self {
            Self::MessageAccepted
            | Self::MessageSent
            | Self::MessageDelivered
            | Self::MessageUndelivered
            | Self::MessageFailed
            | Self::MessageRejected
            | Self::MessageExpired
            | Self::MessageUnknown
            | Self::AttemptFailed
            | Self::MessageFallbackStarted
            | Self::DeviceUnregistered
            | Self::MessageRead => Subject::Message,
            Self::EndpointDisabled | Self::DeliveryExhausted => Subject::Endpoint,
            Self::InboundReceived | Self::RecipientHelpRequested => Subject::Inbound,
            Self::RecipientOptedOut
            | Self::RecipientOptedIn
            | Self::SuppressionCreated
            | Self::SuppressionDeleted => Subject::Suppression,
        }
    }

    /// Whether an endpoint that names no types gets it (bold in contract.md §3).
    #[must_use]
    pub fn on_by_default(self) -> bool {
        let named_only = matches!(
            self,
            Self::RecipientHelpRequested
                | Self::SuppressionCreated
                | Self::SuppressionDeleted
                | Self::MessageRead
        );
        !self.is_frequent() && !named_only
    }

    /// Whether there are so many of it that a family's name (`message.*`) leaves it out.
    #[must_use]
    pub fn is_frequent(self) -> bool {
        matches!(self, Self::MessageAccepted | Self::AttemptFailed)
    }
}

/// A set of event kinds: what an endpoint or a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventKinds(pub u32);

impl EventKinds {
    /// Every kind.
    pub const ALL: Self = Self(u32::MAX);

    /// What the contract has on by default.
    #[must_use]
    pub fn defaults() -> Self {
        let mut kinds = Self(0);
        EventKind::ALL
            .into_iter()
            .filter(|k| k.on_by_default())
            .for_each(|k| kinds.add(k));
        kinds
    }

    /// The kinds that a pattern names: a type word, or a prefix as in `message.*`. Within a prefix
    /// the kinds of high volume are left out, as the contract's `types = ["message.*"]` leaves them off
    /// unless they are named.
    #[must_use]
    pub fn matching(pattern: &str) -> Self {
        let mut kinds = Self(0);
        for kind in EventKind::ALL {
            let named = kind.name() == pattern;
            let in_prefix = pattern
                .strip_suffix('*')
                .is_some_and(|prefix| kind.name().starts_with(prefix) && !kind.is_frequent());
            if named || in_prefix {
                kinds.add(kind);
            }
        }
        kinds
    }

    /// With `kind` added.
    pub fn add(&mut self, kind: EventKind) {
        self.0 |= 1 << kind as u32;
    }

    /// With all of `others` added.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether `kind` is among them.
    #[must_use]
    pub fn has(self, kind: EventKind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }
}

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the log: dense, in commit order, from 1.
    pub seq: u64,
    /// The time of its commit.
    pub at: UnixMs,
    /// Whose it is.
    pub tenant: TenantIx,
    /// What it tells.
    pub kind: EventKind,
    /// The message's version then; what the event shows is the life as of it.
    pub version: u16,
    /// Whose event it is: what it stands for, [`EventKind::subject`] says.
    pub subject: MessageId,
    /// How many changes the message's log held with this one: tells two events of one version apart.
    pub changes: u16,
}
