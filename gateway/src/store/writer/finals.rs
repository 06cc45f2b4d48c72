//! Finals: how many messages have ended, by route and status.

use metrics::{Counter, counter};
use rustc_hash::FxHashMap;

use crate::message::RouteIx;
use crate::message::life::{Change, Status};
use crate::names::Names;

/// Where a message ended: its last route, `None` for one that never had any, and its status. At most as
/// many as there are routes, times the statuses.
type Place = (Option<RouteIx>, Status);

/// Messages that have ended.
#[derive(Default)]
pub(super) struct Finals {
    /// In this batch: told when it is durable.
    batch: FxHashMap<Place, u64>,
    counters: FxHashMap<Place, Counter>,
}

impl Finals {
    /// What a change ends its message as, if it does. A late `delivered` ends it once more.
    pub(super) fn end(change: &Change) -> Option<Status> {
        (change.is_final && change.event.is_some()).then_some(change.status)
    }

    /// One more has ended.
    pub(super) fn count(&mut self, route: Option<RouteIx>, status: Status) {
        *self.batch.entry((route, status)).or_default() += 1;
    }

    /// The batch's accepts were taken back, and so are those that were refused in it.
    pub(super) fn take_back_accepts(&mut self) {
        self.batch.remove(&(None, Status::Rejected));
    }

    /// Tells the batch's: it is durable.
    pub(super) fn tell(&mut self, names: &Names) {
        for (place, count) in self.batch.drain() {
            let counter = self.counters.entry(place).or_insert_with(|| {
                let (route, status) = place;
                let route = route.map_or("", |route| names.route(route)).to_owned();
                counter!("trunkline_messages_final_total", "route" => route, "status" => status.name())
            });
            counter.increment(count);
        }
    }
}
