//! Onward: which queue a message enters when it leaves a route, or its route leaves the config.

use super::{Batch, Writer};
use crate::clock::UnixMs;
use crate::message::life::decide;
use crate::message::{MessageId, RouteIx};
use crate::store::inbox::{Replanned, Routes};
use crate::store::shared::Entry;
use crate::store::young::Young;

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
            match self.replan(young, id, &routes, now, batch) {
                Some(true) => count.moved += 1,
                Some(false) => count.failed += 1,
                None => {}
            }
        }
        count
    }

    /// Puts a message into the queue of the route it has moved on to. When the config does not have
    /// that one, it goes on to the next that it has.
    pub(super) fn enter(
        &mut self,
        young: &mut Young,
        id: MessageId,
        now: UnixMs,
        batch: &mut Batch,
    ) {
        if self.replan(young, id, &[], now, batch).is_some() {
            return;
        }
        if let Some(row) = young.row(id)
            && let Some(route) = row.life.route(&row.message)
        {
            let entry = Entry::of(&row.message, &row.life);
            batch.ready.push((route, entry));
        }
    }

    /// Sends a queued message whose route is gone from the config on: over the next one of its own
    /// that is there, or else over `others`. Tells whether there was any; `None` when its route is
    /// there, or it is not queued.
    fn replan(
        &mut self,
        young: &mut Young,
        id: MessageId,
        others: &[RouteIx],
        now: UnixMs,
        batch: &mut Batch,
    ) -> Option<bool> {
        let row = young.row(id)?;
        let (routes, at) = (&row.message.routes, usize::from(row.life.route_at));
        let known = |route: &&RouteIx| self.shared.is_known(**route);
        if row
            .life
            .route(&row.message)
            .as_ref()
            .is_none_or(|r| known(&r))
        {
            return None;
        }
        let past = &routes[..=at.min(routes.len() - 1)];
        let own = routes[past.len()..].iter().filter(known);
        let mut next: Routes = own.copied().collect();
        if next.is_empty() {
            next.extend(others.iter().filter(known).copied());
        }
        next.truncate(PLANNED_MAX.saturating_sub(past.len()));
        let found = !next.is_empty();
        let all: Routes = past.iter().chain(&next).copied().collect();
        let context = self.context(now, None);
        let change = decide::replanned(&row.life, all, context)?;
        self.record(young, id, change);
        if found
            && let Some(row) = young.row(id)
            && let Some(route) = row.life.route(&row.message)
        {
            let entry = Entry::of(&row.message, &row.life);
            batch.ready.push((route, entry));
        }
        Some(found)
    }
}
