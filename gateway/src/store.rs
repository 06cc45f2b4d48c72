//! The store: what is durable, who decides, and how it is read. See `design.md`'s "Store".
//!
//! One call is one durable commit: when it returns, what it was given is on disk and synced. The
//! writer, one OS thread, forms the commit batches and decides everything that must be decided once:
//! idempotency, which message a receipt belongs to, what an outcome means for its message.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use codecs::text::Charset;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use codecs::smpp::receipt::{Rung, Transform};

use crate::clock::UnixMs;
use crate::event::{Event, EventKinds};
use crate::inbound::rules;
use crate::message::life::{Life, Status};
use crate::message::{Class, EndpointIx, Message, MessageId, Phone, RouteIx, TenantIx};
use crate::outcome::retries::Retries;
use crate::outcome::{PartRule, Reason, Receipt, Unreadable};

mod app_receipts;
mod archive;
mod by_number;
mod carriers;
mod check;
mod claim;
mod depths;
mod handle;
mod inbound;
mod inbox;
mod journal;
mod keys;
mod learned;
mod listing;
mod matching;
mod open;
mod record;
mod replan;
mod room;
mod shared;
mod standing;
mod state;
mod suppressions;
mod unnamed;
mod writer;
mod young;

pub use app_receipts::{AppAnswer, AppTaken};
pub use check::{CheckReport, Damage, ExportReport, check, export};
pub use claim::needs_claim;
pub use handle::Store;
pub use inbound::Taken;
pub use inbox::{Matched, Replanned};
pub use journal::JournalError;
pub use learned::{AGAINST_TO_UNPIN, AGREEING_TO_PIN, Learned};
pub(crate) use listing::callback_of;
pub use matching::IdRule;
pub use open::{Found, OpenError};
pub use shared::{Entry, FeedEntries, ReceiptCounts};
pub use standing::Standing;
pub use state::StateError;
pub use suppressions::{
    Full as SuppressionsFull, NewSuppression, Suppressed, SuppressionFigures, SuppressionPage,
    SuppressionQuery, SuppressionRecord,
};
pub use writer::needs_intent;

/// How the store is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its directory.
    pub path: PathBuf,
    /// How long finished messages stay in history.
    pub retention_messages: Duration,
    /// How long their texts do.
    pub retention_content: Duration,
    /// How long events do.
    pub retention_events: Duration,
    /// How long an idempotency key holds.
    pub retention_idempotency: Duration,
    /// The memory budget, in octets.
    pub memory: u64,
    /// Messages that may be queued.
    pub queued: u64,
    /// Octets that the index of suppressions may take, as it counts them.
    pub suppressions: u64,
    /// Octets that have to stay free on the disk.
    pub disk_reserve: u64,
    /// The routes of the config.
    pub routes: Vec<RouteFacts>,
    /// The tenants of the config.
    pub tenants: Vec<String>,
    /// The endpoints of the config.
    pub endpoints: Vec<String>,
    /// Whose handsets' messages are.
    pub inbound: rules::Config,
}

/// What the store has to know of a route.
#[derive(Clone, Debug)]
pub struct RouteFacts {
    /// Its name.
    pub name: String,
    /// Whether it sends receipts.
    pub receipts: bool,
    /// How long a receipt is waited for.
    pub receipt_timeout: Duration,
    /// How long an answer is waited for.
    pub response_timeout: Duration,
    /// How the id in a receipt relates to the one in the answer.
    pub ladder: Ladder,
    /// For which parts of a long message receipts come, and then stand for all of them.
    pub parts: PartRule,
    /// How it writes text where data_coding leaves that open.
    pub charset: Charset,
    /// How it tries again.
    pub retries: Retries,
}

/// How a route's receipts find their messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// How the id in a receipt relates to the one in the answer.
    pub format: IdFormat,
    /// What both ids are put through where nothing else makes them equal. Ids that were answered under
    /// another transform are found by their own forms only.
    pub transform: Transform,
    /// Receipts, or answers, may lack an id: such a receipt is matched by number, sender and time.
    pub without_id: bool,
}

impl Ladder {
    pub(crate) fn has_transform(&self) -> bool {
        !self.transform.is_identity()
    }
}

/// A receipt without a message, kept for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The receipt.
    pub receipt: Stray,
    /// Why it has none.
    pub why: OrphanWhy,
    /// When it was given up.
    pub at: UnixMs,
}

impl Orphan {
    /// The route that it came on.
    #[must_use]
    pub fn route(&self) -> RouteIx {
        match &self.receipt {
            Stray::Read(receipt) => receipt.route,
            Stray::Unreadable(unreadable) => unreadable.route,
        }
    }
}

/// What there is of a receipt without a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stray {
    /// All of it.
    Read(Receipt),
    /// What can be shown of one that cannot be read.
    Unreadable(Unreadable),
}

/// Why a receipt has no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OrphanWhy {
    /// No message has its id, or of one without an id, none was sent to its number.
    NoMessage,
    /// Several may be meant; or of one without an id, one that may have been meant already, or that its
    /// sender or times speak against.
    Ambiguous,
    /// It had to make room for others that waited.
    NoRoom,
    /// It has no id, or no state that is known.
    Unreadable,
}

impl OrphanWhy {
    /// Its word in the API and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoMessage => "no_message",
            Self::Ambiguous => "ambiguous",
            Self::NoRoom => "no_room",
            Self::Unreadable => "unreadable",
        }
    }
}

/// How the id in a receipt relates to the one in the answer; case and leading zeros never matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdFormat {
    /// Try it as it is, then in the other base.
    #[default]
    Auto,
    /// As it is.
    Same,
    /// The answer has it in hex, the receipt in decimal.
    HexToDec,
    /// The answer has it in decimal, the receipt in hex.
    DecToHex,
}

/// A message to be accepted.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Complete but for `id`, `accepted_at` and `concat_ref`, which the writer gives.
    pub message: Message,
    /// Its idempotency key, if the client gave one.
    pub key: Option<IdempotencyKey>,
}

/// An idempotency key as the store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// First 16 octets of SHA-256 over tenant and key.
    pub key: [u8; 16],
    /// First 16 octets of SHA-256 over the canonical JSON of the request.
    pub fingerprint: [u8; 16],
}

/// What became of a draft.
#[derive(Clone, Debug)]
pub enum Accepted {
    /// On disk under this id.
    Stored(Arc<Message>),
    /// The same key with the same request is already there: nothing was written.
    Replayed(MessageId),
    /// The same key with another request is already there: nothing was written.
    KeyReused(MessageId),
    /// Nothing was written, because another draft of the same call has a key that was used before.
    Untouched,
}

/// Why the store does not take something. Nothing of the call was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// The disk is full or under its reserve (`limits.disk_reserve`). Settles and receipts go on.
    #[error("the store has no room on disk")]
    DiskFull,
    /// The backlog or the memory budget is at its limit for this class.
    #[error("the backlog is at its limit")]
    Overloaded,
    /// The gateway is stopping.
    #[error("the gateway is shutting down")]
    Closed,
}

/// A message and its life, as read.
#[derive(Clone, Debug)]
pub struct Record {
    /// The message.
    pub message: Arc<Message>,
    /// Its life so far.
    pub life: Life,
}

/// What to list. Every field narrows; messages come in descending id order (newest first).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Whose; `None` for an operator's view of all.
    pub tenant: Option<TenantIx>,
    /// In this status.
    pub status: Option<Status>,
    /// With a part out (`true`), or without (`false`): what a queued message shows as `sending`.
    pub sending: Option<bool>,
    /// Of this class.
    pub class: Option<Class>,
    /// To this number (indexed).
    pub to: Option<Phone>,
    /// With this reference (indexed).
    pub client_ref: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Of this batch (indexed).
    pub batch: Option<MessageId>,
    /// Whose current or last route is this one.
    pub route: Option<RouteIx>,
    /// With this reason.
    pub reason: Option<Reason>,
    /// Accepted at or after; 24 h ago when no indexed field narrows and none is given.
    pub since: Option<UnixMs>,
    /// Sent from this number.
    pub sent_from: Option<SentFrom>,
    /// Accepted before.
    pub until: Option<UnixMs>,
    /// Continue below this id.
    pub before: Option<MessageId>,
    /// At most so many.
    pub limit: usize,
}

/// A number: what a carrier took from it is meant, whether or not its plus was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentFrom(pub Box<str>);

/// A page of messages. It may be short and still carry `next`: the row budget was used up.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The messages.
    pub records: Vec<Record>,
    /// Where to go on, when there may be more.
    pub next: Option<MessageId>,
}

/// Which events to read.
#[derive(Clone, Copy, Debug)]
pub struct EventQuery {
    /// After this sequence number.
    pub after: u64,
    /// Of this tenant; `None`: of all.
    pub tenant: Option<TenantIx>,
    /// Of these kinds.
    pub kinds: EventKinds,
    /// Of this message.
    pub message: Option<MessageId>,
    /// At most so many.
    pub limit: usize,
}

/// Events as read, in sequence order.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Rendered>,
    /// The log was read up to here, also when what stood there was not asked for.
    pub read_to: u64,
}

/// One event with its JSON.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The entry.
    pub event: Event,
    /// Where the message wants its events instead of the tenant's endpoints.
    pub callback: Option<Arc<Callback>>,
    /// The event's JSON, the same each time.
    pub json: Bytes,
}

/// A message's `callback`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The endpoint it names, or whose registered prefix its URL has.
    pub endpoint: EndpointIx,
    /// Its URL, when it names one.
    pub url: Option<String>,
    /// The kinds it wants; `None`: what the endpoint wants.
    pub kinds: Option<EventKinds>,
}

/// What an endpoint has to remember over restarts. Small: it is journaled whole when it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointState {
    /// Every event up to here was delivered, is in `retries`, or was given up.
    pub cursor: u64,
    /// Deliveries that failed and will be tried again; bounded by the webhook stage.
    pub retries: Vec<DeliveryRetry>,
    /// Deliveries given up after their last retry.
    pub exhausted: u64,
    /// Since when it is disabled, and why.
    pub disabled: Option<(UnixMs, String)>,
    /// Since when every delivery has failed.
    pub failing_since: Option<UnixMs>,
}

/// One delivery to be tried again. Its events follow from the range and the endpoint's filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRetry {
    /// First event.
    pub first: u64,
    /// Last event.
    pub last: u64,
    /// Tries made.
    pub attempts: u8,
    /// Not before.
    pub due: UnixMs,
    /// When the first try was made.
    pub since: UnixMs,
}

#[cfg(test)]
mod app_receipt_tests;
#[cfg(test)]
mod flips;
#[cfg(test)]
mod model;
#[cfg(test)]
mod receipt_tests;
#[cfg(test)]
mod steps_tests;
#[cfg(test)]
pub(crate) mod tests;
