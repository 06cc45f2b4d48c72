//! Onward: which queue a message enters when it leaves a route, or its route leaves the config.

use super::{Batch, Writer};
use crate::clock::UnixMs;
use crate::message::life::decide;
use crate::message::{Channel, MessageId, RouteIx};
use crate::store::inbox::{Replanned, Routes};
use crate::store::shared::Entry;
use crate::store::young::{self, Young};

/// Routes of a message over all of its plans (chosen: far above what configs go through in the days
/// that a message lives, and its place in them is one octet).
const PLANNED_MAX: usize = 64;
impl Writer {
    /// Plans messages again; see [`Writer::replan`].
    pub(super) fn replan_all(
        &mut self,
        young: &mut Young,
        items: Vec<(MessageId, Routes)>,
        now: UnixMs,
        batch: &mut Batch,
    ) -> Replanned {
        let mut count = Replanned::default();
        for (id, routes) in items {
            while let Some(leg) = self.stranded_leg(young, id) {
                match self.replan(young, (id, leg), &routes, now, batch) {
                    Some(true) => count.moved += 1,
                    Some(false) => count.failed += 1,
                    None => break,
                }
            }
        }
        count
    }

    /// Puts a message into the queues of the routes that its legs have moved on to, which are those that
    /// wait there under this order key. When the config does not have such a route, the leg goes on to
    /// the next that it has.
    pub(super) fn enter(
        &mut self,
        young: &mut Young,
        (id, order): (MessageId, u64),
        now: UnixMs,
        batch: &mut Batch,
    ) {
        if let Some(row) = young.row(id) {
            for (route, _, leg) in row.life.open_legs(&row.message) {
                if leg.order == order && self.shared.is_known(route) {
                    let entry = Entry::of(&row.message, &row.life, route);
                    batch.ready.extend(entry.map(|entry| (route, entry)));
                }
            }
        }
        while let Some(leg) = self.stranded_leg(young, id) {
            if self.replan(young, (id, leg), &[], now, batch).is_none() {
                break;
            }
        }
    }

    /// An open leg of a message whose route the config does not have.
    fn stranded_leg(&self, young: &Young, id: MessageId) -> Option<u8> {
        let row = young.row(id)?;
        let mut open = row.life.open_legs(&row.message);
        let lost = open.find(|(route, ..)| !self.shared.is_known(*route));
        lost.map(|(_, leg, _)| leg)
    }

    /// Sends a leg whose route is gone from the config on: over the next one of its own that is there, or
    /// else, of an SMS, over `others`. Tells whether there was any; `None` when the leg is gone.
    fn replan(
        &mut self,
        young: &mut Young,
        (id, at): (MessageId, u8),
        others: &[RouteIx],
        now: UnixMs,
        batch: &mut Batch,
    ) -> Option<bool> {
        let row = young.row(id)?;
        let leg = row.message.leg(at)?;
        let stands = row.life.legs.get(usize::from(at))?;
        let known = |route: &&RouteIx| self.shared.is_known(**route);
        let (past, own) = leg
            .routes
            .split_at_checked(usize::from(stands.route_at) + 1)?;
        let mut next: Routes = own.iter().filter(known).copied().collect();
        if next.is_empty() && leg.channel == Channel::Sms {
            next.extend(others.iter().filter(known).copied());
        }
        next.truncate(PLANNED_MAX.saturating_sub(past.len()));
        let found = !next.is_empty();
        let all: Routes = past.iter().chain(&next).copied().collect();
        let mut context = self.context(now, None);
        let row = young.row(id)?;
        context.instead = self.shared.step_instead(&row.message, row.life.step, now);
        let change = decide::replanned(&row.message, &row.life, at, all, context)?;
        let order = young::new_order(&change);
        self.record(young, id, change);
        if let Some(order) = order {
            self.enter(young, (id, order), now, batch);
        }
        Some(found)
    }
}
