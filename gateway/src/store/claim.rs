//! Claims: which parts may be handed to a link, written down before it can happen, under `retry`.
//!
//! ```text
//!  accepted, while its lane has room ──► claimed in the very commit ─┐
//!  accepted, loaded, retried ──► waits ──► claimed, some at a time ──┴─► handed over ──► answered
//! ```
//! Nothing unclaimed is handed over, so that after a crash every part that a link may have had is
//! known: it is sent again with `duplicate_possible`. Nothing more is claimed than a route is about
//! to send, so that hardly anything else is flagged: per lane twice the windows of its bound links.
//! A claim costs no commit of its own while a route keeps up with what is accepted, and two or three
//! octets of the journal; a clean stop releases all claims.

use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::message::{Class, MessageId, OnAmbiguous, Parts, RouteIx};
use crate::store::inbox::{Adopted, Request, Undone};
use crate::store::{Refused, Store};

/// Messages and parts of them, ids as differences: in the order of acceptance an octet or two each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    steps: Vec<(i64, Parts)>,
    #[serde(skip)]
    last: u64,
}

impl Claims {
    /// Adds parts of a message.
    pub(crate) fn push(&mut self, id: MessageId, parts: Parts) {
        // Ids are below 2^63 (their time is), so that their differences fit.
        self.steps
            .push((id.0.wrapping_sub(self.last).cast_signed(), parts));
        self.last = id.0;
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Starts anew in the same memory.
    pub(crate) fn clear(&mut self) {
        self.steps.clear();
        self.last = 0;
    }

    /// What was pushed, in that order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageId, Parts)> {
        self.steps.iter().scan(0u64, |last, (step, parts)| {
            *last = last.wrapping_add_signed(*step);
            Some((MessageId(*last), *parts))
        })
    }
}

/// How many messages of a route may be claimed as they are accepted, by lane. The dispatcher raises
/// the limits as it hands over, the writer counts up to them.
#[derive(Default)]
pub(crate) struct Credit {
    limits: [AtomicU64; Class::ALL.len()],
    taken: [AtomicU64; Class::ALL.len()],
}

impl Credit {
    /// Takes one for a message that is accepted; whether it may be claimed.
    pub(crate) fn take(&self, class: Class) -> bool {
        let taken = &self.taken[class.lane()];
        // The writer is the only one to count.
        let room =
            taken.load(Ordering::Relaxed) < self.limits[class.lane()].load(Ordering::Relaxed);
        if room {
            taken.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    /// Gives one back: its accept found no room on disk.
    pub(crate) fn give_back(&self, class: Class) {
        self.taken[class.lane()].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Store {
    /// Says how many messages of a route may have been claimed as they were accepted, by lane, counted
    /// since the start: those that its dispatcher has had, and as many more as it has room for.
    pub fn set_credit(&self, route: RouteIx, limits: [u64; Class::ALL.len()]) {
        if let Some(feed) = self.shared().feed_of(route) {
            for (limit, to) in feed.credit.limits.iter().zip(limits) {
                limit.store(to, Ordering::Relaxed);
            }
        }
    }

    /// Claims parts for a route: when this returns they may be handed over, and a crash from now on
    /// counts them as maybe sent. Returns the messages that must not go out, because they have ended,
    /// left the route or are gone.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn claim(
        &self,
        route: RouteIx,
        parts: Vec<(MessageId, Parts)>,
    ) -> Result<Vec<MessageId>, Refused> {
        self.set_claimed(Some(route), parts).await
    }

    async fn set_claimed(
        &self,
        route: Option<RouteIx>,
        mut parts: Vec<(MessageId, Parts)>,
    ) -> Result<Vec<MessageId>, Refused> {
        let mut adopt = Adopted::default();
        let mut gone = Vec::new();
        loop {
            let (reply, answer) = oneshot::channel();
            let request = Request::Claim {
                route,
                parts,
                adopt,
                reply,
            };
            self.shared().inbox.push(request, true);
            match answer.await {
                Ok(Ok(over)) => {
                    gone.extend(over);
                    return Ok(gone);
                }
                Ok(Err(Undone::Missing(back, missing))) => {
                    gone.extend(&missing);
                    (parts, adopt) = self.fetch(back, missing, |(id, _)| *id).await;
                    let left: FxHashSet<MessageId> = parts.iter().map(|(id, _)| *id).collect();
                    gone.retain(|id| !left.contains(id));
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (parts, adopt) = (back, Adopted::default());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    /// Releases every claim: the routes have ended, and nothing is out.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn release_claims(&self) -> Result<(), Refused> {
        let archived = self.blocking(|shared| shared.archive.intents()).await;
        let mut claims = self.claimed();
        let known =
            |record: &crate::store::Record| (record.message.id, record.life.parts_claimed());
        claims.extend(archived.unwrap_or_default().iter().map(known));
        claims.retain(|(_, parts)| !parts.is_empty());
        claims.sort_unstable_by_key(|(id, _)| *id);
        claims.dedup_by_key(|(id, _)| *id);
        for some in claims.chunks(CLAIMS_AT_ONCE) {
            self.set_claimed(None, some.to_vec()).await?;
        }
        Ok(())
    }

    /// Writes down that everything claimed by the process before this one may have been sent. Before
    /// any dispatcher runs, or it would go out without its flag. Returns how many messages.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn flag_claimed(&self) -> Result<usize, Refused> {
        // Opening has brought those of pending back to memory.
        let claims = self.claimed();
        for some in claims.chunks(CLAIMS_AT_ONCE) {
            let ids = some.iter().map(|(id, _)| *id).collect();
            let (reply, done) = oneshot::channel();
            let request = Request::MaybeSent { ids, reply };
            self.shared().inbox.push(request, true);
            done.await.map_err(|_| Refused::Closed)?;
        }
        Ok(claims.len())
    }

    /// Messages in memory with claimed parts.
    fn claimed(&self) -> Vec<(MessageId, Parts)> {
        let young = self.shared().young.read();
        let claims = young
            .rows()
            .map(|row| (row.message.id, row.life.parts_claimed()));
        claims.filter(|(_, parts)| !parts.is_empty()).collect()
    }
}

/// Messages released, or flagged, in one commit.
const CLAIMS_AT_ONCE: usize = 1_000;

/// Whether a message's parts have to be claimed before they are handed over.
#[must_use]
pub fn needs_claim(message: &crate::message::Message) -> bool {
    message.on_ambiguous == OnAmbiguous::Retry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_come_back_as_pushed_in_any_order() {
        let mut claims = Claims::default();
        let pushed = [(7, 1), (9, 3), (8, 2), (1 << 62, 20), (0, 1)];
        let pushed = pushed.map(|(id, parts)| (MessageId(id), Parts::first(parts)));
        pushed
            .iter()
            .for_each(|(id, parts)| claims.push(*id, *parts));
        let bytes = postcard::to_allocvec(&claims).unwrap();
        let read: Claims = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), pushed);
    }

    #[test]
    fn credit_is_taken_up_to_its_limit() {
        let credit = Credit::default();
        assert!(!credit.take(Class::Otp));
        credit.limits[0].store(2, Ordering::Relaxed);
        assert!(credit.take(Class::Otp) && credit.take(Class::Otp) && !credit.take(Class::Otp));
        credit.give_back(Class::Otp);
        assert!(credit.take(Class::Otp) && !credit.take(Class::Promotional));
    }
}
