//! Suppress: adds and ends suppressions within the commit that is being formed.
//!
//! For requests of their own, and for whatever else puts somebody on the list or takes them off: the
//! operation rides in the same blob, so that neither is ever there without the other.

use super::{Batch, Done, Writer, is_queued_on};
use crate::clock::UnixMs;
use crate::event::EventKinds;
use crate::message::life::{Status, decide};
use crate::message::{MessageId, Parts, RouteIx};
use crate::outcome::Reason;
use crate::store::inbox::Request;
use crate::store::record::OpRef;
use crate::store::suppressions::{NewSuppression, Suppressed, began, over};
use crate::store::young::{self, Row, Young};
use crate::suppression::{Cause, Ended, Key, Suppression};

impl Writer {
    /// Applies a request about suppressions.
    pub(super) fn apply_suppressions(
        &mut self,
        young: &mut Young,
        request: Request,
        now: UnixMs,
        batch: &mut Batch,
    ) {
        match request {
            Request::RejectSuppressed {
                route,
                items,
                adopt,
                reply,
            } => {
                let given = (items, reply);
                let Some((items, reply)) = self.present(young, adopt, given, |item| item.0) else {
                    return;
                };
                let mut left = Vec::new();
                for (id, parts) in items {
                    if !self.reject(young, (id, parts), route, now, batch) {
                        left.push(id);
                    }
                }
                batch.done.push(Done::Rejected(reply, left));
            }
            Request::Suppress { items, reply } => {
                let added = items
                    .into_iter()
                    .map(|item| {
                        let kinds = began(item.cause.source);
                        self.suppress(young, item, kinds, now)
                    })
                    .collect();
                batch.done.push(Done::Suppressed(reply, added));
            }
            Request::Unsuppress {
                key,
                id,
                cause,
                reply,
            } => {
                let held = self.shared.suppressions.find(&key, now);
                let ended = held.filter(|held| held.0 == id).and_then(|_| {
                    let kinds = over(cause.source);
                    self.unsuppress(young, &key, cause, kinds, now)
                });
                batch.done.push(Done::Unsuppressed(reply, ended));
            }
            // Their turn comes last; the other requests are for those before.
            _ => {}
        }
    }

    /// Ends the step of a message that is suppressed on it. Whether it does not wait for the route any more.
    fn reject(
        &mut self,
        young: &mut Young,
        (id, parts): (MessageId, Parts),
        route: RouteIx,
        now: UnixMs,
        batch: &mut Batch,
    ) -> bool {
        if !is_queued_on(young, id, route) {
            return true;
        }
        let shared = self.shared.clone();
        let suppressed = |row: &Row| {
            let leg = row.life.leg_on(&row.message, route);
            leg.is_some_and(|(leg, _)| shared.is_suppressed(&row.message, leg.channel, now))
        };
        if !young.row(id).is_some_and(suppressed) {
            return false;
        }
        self.refuse_step(young, (id, parts), now, batch);
        true
    }

    /// Ends the step that a message is at because it is suppressed, and with it the message, or puts that
    /// into the queues of the next step; where a link may have some of it, only these parts end.
    pub(super) fn refuse_step(
        &mut self,
        young: &mut Young,
        (id, parts): (MessageId, Parts),
        now: UnixMs,
        batch: &mut Batch,
    ) {
        let mut context = self.context(now, None);
        let shared = self.shared.clone();
        let change = young.row(id).and_then(|row| {
            let (message, life, reason) = (&row.message, &row.life, Reason::Suppressed);
            context.instead = shared.step_instead(message, life.step, now);
            decide::withdrawn(life, parts, reason, context)
                .or_else(|| decide::rejected(message, life, reason, context))
        });
        let Some(change) = change else { return };
        if change.status == Status::Rejected {
            metrics::counter!("trunkline_messages_suppressed_total", "at" => "submit").increment(1);
        }
        let order = young::new_order(&change);
        self.record(young, id, change);
        self.catch_up(young, id, now);
        if let Some(order) = order {
            self.enter(young, (id, order), now, batch);
        }
    }

    /// Adds a suppression in this commit, with its events. One that is there already under the same
    /// key stays as it is when it lasts as long, and makes way when it would run out earlier.
    ///
    /// A recipient's own word ([`Source::Keyword`]) is taken beyond `limits.suppressions`, up to a
    /// quarter of it; [`Suppressed::Full`] beyond that: then what asked for it must not be
    /// acknowledged.
    pub(in crate::store) fn suppress(
        &mut self,
        young: &mut Young,
        new: NewSuppression,
        kinds: EventKinds,
        now: UnixMs,
    ) -> Suppressed {
        let NewSuppression {
            key,
            cause,
            expires_at,
        } = new;
        let held = self.shared.suppressions.find(&key, now);
        if let Some((id, until)) = held {
            let lasts = match (until, expires_at) {
                (None, _) => true,
                (Some(until), Some(new)) => until >= new,
                (Some(_), None) => false,
            };
            if lasts {
                return Suppressed::There(id);
            }
        }
        if held.is_none()
            && let Err(full) = self.shared.suppressions.room(&key, cause.source)
        {
            metrics::counter!("trunkline_suppressions_refused_total").increment(1);
            return Suppressed::Full(full);
        }
        let id = self.ids.next(now);
        let suppression = Suppression {
            id,
            key,
            cause,
            created_at: now,
            expires_at,
        };
        let (seq, replaces) = (young.next_seq, held.map(|held| held.0));
        self.blob.push(&OpRef::Suppress {
            suppression: &suppression,
            replaces,
            seq,
            kinds,
        });
        let key = &suppression.key;
        self.shared.suppressions.insert(key, id, expires_at);
        young.suppress(suppression, replaces, seq, kinds);
        Suppressed::Added(id)
    }

    /// Ends the suppression under a key in this commit, with its events. `None`: there is none, and
    /// nothing is written.
    pub(in crate::store) fn unsuppress(
        &mut self,
        young: &mut Young,
        key: &Key,
        cause: Cause,
        kinds: EventKinds,
        now: UnixMs,
    ) -> Option<Ended> {
        let (id, _) = self.shared.suppressions.find(key, now)?;
        let ended = Ended {
            id,
            key: key.clone(),
            cause,
            at: now,
        };
        let seq = young.next_seq;
        self.blob.push(&OpRef::Unsuppress {
            ended: &ended,
            seq,
            kinds,
        });
        self.shared.suppressions.remove(key);
        young.unsuppress(ended.clone(), seq, kinds);
        Some(ended)
    }
}
