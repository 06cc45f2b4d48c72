//! Depths: how many messages are queued, by route, lane and tenant, in memory and in the archive.
//!
//! Kept as counters: pending has its part in a table of its own, changed by the transaction that
//! archives a generation; replay and the writer add what has happened since.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::message::life::Life;
use crate::message::{Class, Message, RouteIx, TenantIx};
use crate::store::Store;

/// Where a message is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) route: RouteIx,
    pub(crate) lane: u8,
    pub(crate) tenant: TenantIx,
}

impl Place {
    pub(crate) fn new(route: RouteIx, class: Class, tenant: TenantIx) -> Self {
        Self {
            route,
            lane: lane(class),
            tenant,
        }
    }

    /// Where a message is queued: once for each of its open legs.
    pub(crate) fn all(message: &Message, life: &Life) -> Places {
        let routes = life.open_legs(message).map(|open| open.0);
        let place = |route| Self::new(route, message.class, message.tenant);
        routes.map(place).collect()
    }

    /// The order key of a message that is queued here.
    pub(crate) fn order_of(self, message: &Message, life: &Life) -> Option<u64> {
        let here = self.lane == lane(message.class) && self.tenant == message.tenant;
        let mut open = life.open_legs(message);
        let open = open.find(|open| here && open.0 == self.route)?;
        Some(open.2.order)
    }
}

/// Where a message is queued. An SMS is in one place at most.
pub(crate) type Places = SmallVec<[Place; 1]>;

/// A class's lane, as narrow as it is.
pub(crate) fn lane(class: Class) -> u8 {
    // Four of them.
    class as u8
}

/// The counters. At most routes × lanes × tenants of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depths(FxHashMap<Place, u64>);

impl Depths {
    pub(crate) fn add(&mut self, places: &Places) {
        for place in places {
            *self.0.entry(*place).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, places: &Places) {
        for place in places {
            if let Some(count) = self.0.get_mut(place) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// A message was queued at the first places and is at the second ones.
    pub(crate) fn move_from(&mut self, (was, is): (&Places, &Places)) {
        if was != is {
            self.remove(was);
            self.add(is);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, u64)> {
        let counts = self.0.iter().map(|(place, count)| (*place, *count));
        counts.filter(|(_, count)| *count > 0)
    }
}

impl FromIterator<(Place, u64)> for Depths {
    fn from_iter<T: IntoIterator<Item = (Place, u64)>>(counts: T) -> Self {
        Self(counts.into_iter().collect())
    }
}

impl Store {
    /// How many messages are queued for a route, by lane: those that wait, in memory or on disk, those
    /// that wait for their next try, and those that are out.
    #[must_use]
    pub fn depths(&self, route: RouteIx) -> [u64; Class::ALL.len()] {
        let mut lanes = [0; Class::ALL.len()];
        for (place, count) in self.shared().young.read().depths.iter() {
            if place.route == route {
                lanes[usize::from(place.lane)] += count;
            }
        }
        lanes
    }

    /// The same for every route that the config has.
    #[must_use]
    pub fn route_depths(&self) -> Vec<(RouteIx, [u64; Class::ALL.len()])> {
        let routes = self.shared().config.routes.iter();
        let known = routes.filter_map(|route| self.shared().names.route_ix(&route.name));
        known.map(|route| (route, self.depths(route))).collect()
    }

    /// The lanes and tenants of a route that have anything queued.
    #[must_use]
    pub fn waiting(&self, route: RouteIx) -> Vec<(Class, TenantIx)> {
        let young = self.shared().young.read();
        let here = young.depths.iter().filter(|(at, _)| at.route == route);
        here.filter_map(|(at, _)| Some((*Class::ALL.get(usize::from(at.lane))?, at.tenant)))
            .collect()
    }
}
