//! Order: which of the receipts that wait came first, route by route.
//!
//! Each route has its own queue, so that one carrier whose receipts find nothing makes room among its own
//! and not among the others'. What was matched meanwhile stays in a queue until its turn comes, or until
//! most of the queue is such.

use std::cmp::Reverse;
use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::clock::UnixMs;
use crate::message::RouteIx;
use crate::outcome::Receipt;

/// Entries of matched receipts that a queue may have beyond as many as wait. Chosen: small, and enough that
/// sweeping costs nothing for each receipt.
const SLACK: usize = 1_024;

/// The receipts that wait, by the canonical form of their id.
pub(super) type Waiting = FxHashMap<u64, Vec<Receipt>>;
type Queue = VecDeque<(u64, UnixMs)>;

/// The queues of all routes.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// One for each route that ever had one waiting: at most as many as the config has.
    routes: FxHashMap<RouteIx, Line>,
    /// Receipts that wait.
    waiting: usize,
}

#[derive(Debug, Default)]
struct Line {
    waiting: usize,
    /// Until they are given up.
    over: Queue,
    /// Until they are looked at again, once.
    relook: Queue,
}

/// Which queue is meant.
#[derive(Clone, Copy)]
pub(super) enum Which {
    /// Of those that are looked at again.
    Relook,
    /// Of those that are given up.
    Over,
}

impl Line {
    fn queue(&mut self, which: Which) -> &mut Queue {
        match which {
            Which::Relook => &mut self.relook,
            Which::Over => &mut self.over,
        }
    }
}

impl Order {
    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// One more waits; `all` has it already.
    pub(super) fn add(&mut self, (route, key, at): (RouteIx, u64, UnixMs), all: &Waiting) {
        self.waiting += 1;
        let line = self.routes.entry(route).or_default();
        line.waiting += 1;
        let most = 2 * line.waiting + SLACK;
        for queue in [&mut line.over, &mut line.relook] {
            queue.push_back((key, at));
            if queue.len() > most {
                let mut seen = FxHashSet::default();
                queue.retain(|(key, at)| {
                    let own = all.get(key).into_iter().flatten();
                    let mut own = own.map(|receipt| receipt.received_at);
                    own.any(|of| of == *at) && seen.insert((*key, *at))
                });
            }
        }
    }

    /// One waits no more.
    pub(super) fn remove(&mut self, route: RouteIx) {
        if let Some(line) = self.routes.get_mut(&route) {
            line.waiting = line.waiting.saturating_sub(1);
            self.waiting = self.waiting.saturating_sub(1);
        }
    }

    /// Takes the oldest entry of the route that has most waiting.
    pub(super) fn pop_of_fullest(&mut self) -> Option<u64> {
        let lines = self.routes.iter_mut();
        let (_, line) = lines
            .filter(|(_, line)| !line.over.is_empty())
            .max_by_key(|(route, line)| (line.waiting, Reverse(route.0)))?;
        Some(line.over.pop_front()?.0)
    }

    /// Takes the oldest entry of all routes, if it is from before then.
    pub(super) fn pop_before(&mut self, which: Which, before: UnixMs) -> Option<(u64, UnixMs)> {
        let front = |line: &mut Line| line.queue(which).front().map(|(_, at)| *at);
        let lines = self.routes.iter_mut();
        let fronts = lines.filter_map(|(route, line)| Some((front(line)?, *route)));
        let (_, route) = fronts
            .filter(|(at, _)| *at <= before)
            .min_by_key(|(at, route)| (*at, route.0))?;
        self.routes.get_mut(&route)?.queue(which).pop_front()
    }
}
