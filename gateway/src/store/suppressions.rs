//! Suppressions: kept for good, and asked at every hand-over.
//!
//! ```text
//!  request ─► writer: index, then journal ─► durable ─► answer
//!                │ one operation, with its events, in the commit of whatever caused it
//!                ▼
//!  index (memory: who is suppressed)      recent (memory: the rows since the last archiving)
//!                ▲                                  │ with the next generation
//!                └──── at a start ◄──── suppressions.db ◄┘
//! ```
//! What the index says holds from the moment the writer has decided it. That may be before it is
//! durable, and then whatever followed from it is not durable either.
//!
//! Inside a commit, the writer's `suppress` and `unsuppress` (writer/suppress.rs) do it for whoever
//! forms that commit; from outside, [`Store::suppress`] and [`Store::unsuppress`] are one commit each.

use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::event::{Event, EventKind, EventKinds};
use crate::message::steps::FallbackOn;
use crate::message::{Channel, Class, Message, MessageId, Parts, Phone, RouteIx, TenantIx, Text};
use crate::store::inbox::{Adopted, Request, Undone};
use crate::store::shared::Shared;
use crate::store::{Refused, Store};
use crate::suppression::{Cause, Ended, Key, Scope, Source, Suppression};

pub(crate) mod index;
pub(crate) mod recent;
#[cfg(test)]
pub(crate) mod tests;

pub use index::Full;

/// A suppression to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSuppression {
    /// Whom it is about, and what it covers.
    pub key: Key,
    /// Who adds it, and why.
    pub cause: Cause,
    /// When it runs out; `None`: never.
    pub expires_at: Option<UnixMs>,
}

/// What became of a suppression that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppressed {
    /// It is there now, under this id. One under the same key that would have run out earlier has
    /// made way for it.
    Added(MessageId),
    /// The same is there already and lasts as long: nothing was written.
    There(MessageId),
    /// There is no room for it: nothing was written.
    Full(Full),
}

impl Suppressed {
    /// The suppression that holds now.
    #[must_use]
    pub fn id(self) -> Option<MessageId> {
        match self {
            Self::Added(id) | Self::There(id) => Some(id),
            Self::Full(_) => None,
        }
    }
}

/// A suppression as read, with its end if it has had one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionRecord {
    /// How it began.
    pub suppression: Suppression,
    /// How it was ended; one that has run out has no such end.
    pub ended: Option<Ended>,
}

/// Which suppressions to list: those that hold now, newest first. Every field narrows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuppressionQuery {
    /// Whose; `None` for an operator's view of all.
    pub tenant: Option<TenantIx>,
    /// About this number (indexed).
    pub phone: Option<Phone>,
    /// Of this scope.
    pub scope: Option<Scope>,
    /// From this source.
    pub source: Option<Source>,
    /// Created at or after.
    pub since: Option<UnixMs>,
    /// Created before.
    pub until: Option<UnixMs>,
    /// Continue below this id.
    pub before: Option<MessageId>,
    /// At most so many.
    pub limit: usize,
}

/// A page of suppressions. It may be short and still carry `next`: the row budget was used up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuppressionPage {
    /// The suppressions.
    pub suppressions: Vec<Suppression>,
    /// Where to go on, when there may be more.
    pub next: Option<MessageId>,
}

/// What the suppressions take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuppressionFigures {
    /// How many there are.
    pub count: u64,
    /// Octets of the index, as `limits.suppressions` counts them.
    pub bytes: u64,
}

impl SuppressionQuery {
    /// Whether one is asked for, its holding now aside.
    pub(crate) fn fits(&self, suppression: &Suppression) -> bool {
        let Suppression {
            id,
            key,
            cause,
            created_at,
            ..
        } = suppression;
        self.tenant.is_none_or(|tenant| tenant == key.tenant)
            && self.phone.is_none_or(|phone| phone == key.phone)
            && self.scope.as_ref().is_none_or(|scope| *scope == key.scope)
            && self.source.is_none_or(|source| source == cause.source)
            && self.since.is_none_or(|since| *created_at >= since)
            && self.until.is_none_or(|until| *created_at < until)
            && self.before.is_none_or(|before| *id < before)
    }
}

impl Store {
    /// The suppression that keeps a message from being sent now, if any does: one probe in memory.
    #[must_use]
    pub fn suppressed(
        &self,
        tenant: TenantIx,
        to: Phone,
        from: &str,
        class: Class,
    ) -> Option<MessageId> {
        let shared = self.shared();
        let now = shared.clock.now();
        let over = (Channel::Sms, class);
        shared.suppressions.hit(tenant, to, from, over, now)
    }

    /// Whether policy keeps a message from being sent over a channel now. No allocation.
    #[must_use]
    pub fn is_suppressed(&self, message: &Message, channel: Channel) -> bool {
        let now = self.shared().clock.now();
        self.shared().is_suppressed(message, channel, now)
    }

    /// Whether policy would reject a message that is accepted now: it is suppressed on each step of its
    /// plan that it could come to.
    #[must_use]
    pub fn would_reject(&self, message: &Message) -> bool {
        let now = self.shared().clock.now();
        self.shared().verdict(message, now) == Verdict::Rejected
    }

    /// Ends queued messages of a route that are suppressed, durably, or has them go on to a step of their
    /// plan where they are not: what a carrier has of them stays as it is. With each come the parts that
    /// wait there; where a link may have others of a push, only those are withdrawn. Returns the messages
    /// that are suppressed no longer and still wait there.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn reject_suppressed(
        &self,
        route: RouteIx,
        items: Vec<(MessageId, Parts)>,
    ) -> Result<Vec<MessageId>, Refused> {
        let mut items = items;
        let mut adopt = Adopted::default();
        loop {
            let (reply, answer) = oneshot::channel();
            self.shared().inbox.push(
                Request::RejectSuppressed {
                    route,
                    items,
                    adopt,
                    reply,
                },
                true,
            );
            match answer.await {
                Ok(Ok(left)) => return Ok(left),
                Ok(Err(Undone::Missing(back, missing))) => {
                    (items, adopt) = self.fetch(back, missing, |item| item.0).await;
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (items, adopt) = (back, Adopted::default());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    /// Adds suppressions in one durable commit; the answers stand in their order. An imported file's
    /// are slowed down when the archiver falls behind.
    ///
    /// # Errors
    /// [`Refused`]: nothing of the call was written. [`Refused::Overloaded`]: `limits.memory` is used
    /// up until the archiver has written what is there; a file's lines feel it before single ones do.
    pub async fn suppress(&self, items: Vec<NewSuppression>) -> Result<Vec<Suppressed>, Refused> {
        let imported = |item: &NewSuppression| item.cause.source == Source::Import;
        let imports = items.iter().any(imported);
        self.check_suppressing(if imports { Source::Import } else { Source::Api })?;
        if imports {
            self.pace(items.len()).await;
        }
        let room = self.shared().inbox.room(items.len()).await;
        let _room = room.ok_or(Refused::Closed)?;
        let (reply, answer) = oneshot::channel();
        let request = Request::Suppress { items, reply };
        self.shared().inbox.push(request, !imports);
        answer.await.map_err(|_| Refused::Closed)
    }

    /// Ends a suppression durably. `None`: there is none under this id that holds, or it is another
    /// tenant's (`None` asks as an operator).
    ///
    /// # Errors
    /// [`Refused`]: nothing was written.
    pub async fn unsuppress(
        &self,
        tenant: Option<TenantIx>,
        id: MessageId,
        cause: Cause,
    ) -> Result<Option<Ended>, Refused> {
        self.check_suppressing(cause.source)?;
        let ours = |record: &SuppressionRecord| {
            let whose = record.suppression.key.tenant;
            record.ended.is_none() && tenant.is_none_or(|tenant| tenant == whose)
        };
        let Some(record) = self.suppression(id).await.filter(ours) else {
            return Ok(None);
        };
        let (reply, answer) = oneshot::channel();
        let request = Request::Unsuppress {
            key: record.suppression.key,
            id,
            cause,
            reply,
        };
        self.shared().inbox.push(request, true);
        answer.await.map_err(|_| Refused::Closed)
    }

    /// Reads one suppression, also one that has ended and is still kept.
    pub async fn suppression(&self, id: MessageId) -> Option<SuppressionRecord> {
        self.blocking(move |shared| read(shared, id)).await?
    }

    /// Lists suppressions that hold now, newest first. `None`: they cannot be read.
    pub async fn suppressions(&self, query: SuppressionQuery) -> Option<SuppressionPage> {
        self.blocking(move |shared| list(shared, &query)).await?
    }

    /// What the suppressions take in memory.
    #[must_use]
    pub fn suppression_figures(&self) -> SuppressionFigures {
        let index = &self.shared().suppressions;
        SuppressionFigures {
            count: index.len(),
            bytes: index.bytes(),
        }
    }
}

/// What policy says of a message that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may be sent by its first step.
    Goes,
    /// Not by its first step, but by another.
    GoesOn,
    /// It ends.
    Rejected,
}

impl Shared {
    /// What policy says of a message that is accepted now.
    pub(crate) fn verdict(&self, message: &Message, now: UnixMs) -> Verdict {
        let begins = message.first_step();
        let channel = message.channel(begins.unwrap_or(0));
        if !self.is_suppressed(message, channel, now) {
            return Verdict::Goes;
        }
        match begins.and_then(|begins| self.step_instead(message, begins, now)) {
            Some(_) => Verdict::GoesOn,
            None => Verdict::Rejected,
        }
    }

    /// The step that a plan goes on to when its message is suppressed on one: the next that it is not
    /// suppressed on, if all between give way to others when they are refused. `None` also when its time
    /// is over, as no step begins then.
    pub(crate) fn step_instead(&self, message: &Message, ended: u8, now: UnixMs) -> Option<u8> {
        if message.expires_at <= now {
            return None;
        }
        let mut at = ended;
        loop {
            at = message.step_after(at, FallbackOn::REJECTED)?;
            if !self.is_suppressed(message, message.channel(at), now) {
                return Some(at);
            }
        }
    }

    /// Whether policy keeps a message from being sent over a channel. Who is sent to by devices alone
    /// has no number that a suppression could be about.
    pub(crate) fn is_suppressed(&self, message: &Message, channel: Channel, now: UnixMs) -> bool {
        let from = || message.text(Text::From);
        let over = (channel, message.class);
        !message.policy.ignores_suppressions
            && message.to.known().is_some_and(|to| {
                let hit = self.suppressions.hit(message.tenant, to, from(), over, now);
                hit.is_some()
            })
    }
}

/// Reads one, from memory and the archive.
pub(crate) fn read(shared: &Shared, id: MessageId) -> Option<SuppressionRecord> {
    let (begun, ended) = shared.young.read().suppressions.get(id);
    let mut record = match begun {
        Some(suppression) => SuppressionRecord {
            suppression,
            ended: None,
        },
        None => shared.archive.suppression(id)?,
    };
    record.ended = ended.or(record.ended);
    Some(record)
}

/// Lists what holds now; `None` when the archive cannot be read.
pub(crate) fn list(shared: &Shared, query: &SuppressionQuery) -> Option<SuppressionPage> {
    let now = shared.clock.now();
    // Memory first: what is not there any more by then is in the archive.
    let (mut found, mut known) = shared.young.read().suppressions.matching(query, now);
    known.extend(found.iter().map(|one| one.id));
    let read = shared.archive.suppressions(query, now, &known);
    let (archived, looked_to) = read
        .inspect_err(|error| tracing::error!(%error, "the suppressions cannot be read"))
        .ok()?;
    // What the archive has not looked at yet must not be overtaken.
    found.retain(|one| looked_to.is_none_or(|floor| one.id >= floor));
    found.extend(archived);
    found.sort_unstable_by_key(|one| std::cmp::Reverse(one.id));
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    let next = match more {
        true => found.last().map(|one| one.id),
        false => looked_to,
    };
    Some(SuppressionPage {
        suppressions: found,
        next,
    })
}

/// The events of a suppression that begins. An imported list is its tenant's own, and no news of a
/// recipient.
pub(crate) fn began(source: Source) -> EventKinds {
    let mut kinds = EventKinds(0);
    kinds.add(EventKind::SuppressionCreated);
    if source != Source::Import {
        kinds.add(EventKind::RecipientOptedOut);
    }
    kinds
}

/// The events of one that ends.
pub(crate) fn over(source: Source) -> EventKinds {
    let mut kinds = EventKinds(0);
    kinds.add(EventKind::SuppressionDeleted);
    if source != Source::Import {
        kinds.add(EventKind::RecipientOptedIn);
    }
    kinds
}

/// The event of each of these kinds, in the order of [`EventKind::ALL`], from `seq` on.
pub(crate) fn events(
    kinds: EventKinds,
    seq: u64,
    at: UnixMs,
    (tenant, subject): (TenantIx, MessageId),
) -> impl Iterator<Item = Event> {
    let named = EventKind::ALL
        .into_iter()
        .filter(move |kind| kinds.has(*kind));
    named.zip(seq..).map(move |(kind, seq)| Event {
        seq,
        at,
        tenant,
        kind,
        version: 0,
        subject,
        changes: 0,
    })
}
