//! Queue: what waits for a route, in lanes. Pure; the store has what does not fit.
//!
//! Each lane has a [`line::Line`]: the head of its queue in memory, the rest in the store. Lanes share
//! the route by weight (stride scheduling): a lane that has been idle is served next, so an otp never
//! waits behind bulk, and bulk gets its share as long as it waits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::UnixMs;
use crate::message::Class;
use crate::store::Entry;

pub mod line;

use line::Line;

/// Entries that may wait for their next try, in memory. Beyond it nothing new is handed out, or a
/// carrier that refuses everything would pull the whole backlog into memory.
pub const RETRIES_MAX: usize = 50_000;

/// A weight's stride is this divided by it.
const STRIDE: u64 = 1 << 20;

/// One route's queue.
pub struct Queue {
    lanes: [Lane; 4],
    retries: BinaryHeap<Reverse<Waiting>>,
    /// Where the lane served last stood.
    pass: u64,
}

struct Lane {
    line: Line,
    stride: u64,
    pass: u64,
}

struct Waiting(Entry);

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.due, self.0.order).cmp(&(other.0.due, other.0.order))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

impl Queue {
    /// An empty queue with the lanes' weights, in the order of [`Class::ALL`].
    #[must_use]
    pub fn new(weights: [u32; 4]) -> Self {
        let lane = |weight: u32| Lane {
            line: Line::default(),
            stride: STRIDE / u64::from(weight.max(1)),
            pass: 0,
        };
        Self {
            lanes: weights.map(lane),
            retries: BinaryHeap::new(),
            pass: 0,
        }
    }

    /// The line of a class.
    pub fn line(&mut self, class: Class) -> &mut Line {
        &mut self.lanes[class.lane()].line
    }

    /// Entries in memory, by lane.
    #[must_use]
    pub fn depths(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|lane| self.lanes[lane].line.len())
    }

    /// Entries that wait for their next try.
    #[must_use]
    pub fn retries(&self) -> usize {
        self.retries.len()
    }

    /// Adds new entries as they come from the store.
    pub fn arrive(&mut self, entries: Vec<Entry>, missed: bool) {
        for entry in entries {
            self.line(entry.message.class).arrive(entry);
        }
        if missed {
            self.lanes.iter_mut().for_each(|lane| lane.line.missed());
        }
    }

    /// Adds what a load brought; see [`Line::loaded`].
    pub fn loaded(&mut self, class: Class, entries: Vec<Entry>, limit: usize, now: UnixMs) {
        let complete = entries.len() < limit;
        let last = entries.last().map(|entry| entry.order);
        let (later, ready): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.due > now);
        self.retries
            .extend(later.into_iter().map(|entry| Reverse(Waiting(entry))));
        self.line(class).loaded(ready, last, complete);
    }

    /// Puts an entry to the head of its lane: it was taken and could not be sent.
    pub fn give_back(&mut self, entry: Entry) {
        self.line(entry.message.class).give_back(entry);
    }

    /// Puts back what [`Queue::take`] gave and nothing was done with: it is not charged to its lane.
    pub fn untake(&mut self, entry: Entry) {
        let lane = &mut self.lanes[entry.message.class.lane()];
        let cost = lane.stride * u64::from(entry.parts.count().max(1));
        lane.pass = lane.pass.saturating_sub(cost);
        lane.line.give_back(entry);
    }

    /// Lets an entry wait for its next try.
    pub fn retry(&mut self, entry: Entry) {
        self.retries.push(Reverse(Waiting(entry)));
    }

    /// Moves what is due to the head of its lane.
    pub fn wake(&mut self, now: UnixMs) {
        while self
            .retries
            .peek()
            .is_some_and(|Reverse(waiting)| waiting.0.due <= now)
        {
            if let Some(Reverse(Waiting(entry))) = self.retries.pop() {
                self.give_back(entry);
            }
        }
    }

    /// When the next try is due.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMs> {
        self.retries.peek().map(|Reverse(waiting)| waiting.0.due)
    }

    /// Whether nothing is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.line.is_empty())
    }

    /// Takes the entry whose turn it is.
    pub fn take(&mut self) -> Option<Entry> {
        let pass = self.pass;
        let lane = self
            .lanes
            .iter_mut()
            .filter(|lane| !lane.line.is_empty())
            .min_by_key(|lane| lane.pass.max(pass.saturating_sub(lane.stride)))?;
        let entry = lane.line.take()?;
        // A lane that was idle does not save up what it did not use.
        lane.pass = lane.pass.max(pass.saturating_sub(lane.stride));
        self.pass = self.pass.max(lane.pass);
        lane.pass += lane.stride * u64::from(entry.parts.count().max(1));
        Some(entry)
    }

    /// Takes out every entry for which `which` holds, at most `limit` of them.
    pub fn take_where(&mut self, limit: usize, which: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut taken = Vec::new();
        for lane in &mut self.lanes {
            lane.line.take_where(limit, &which, &mut taken);
        }
        taken
    }
}

#[cfg(test)]
mod tests;
