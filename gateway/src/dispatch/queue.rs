//! Queue: what waits for a route, in lanes. Pure; the store has what does not fit.
//!
//! Each lane has a [`line::Line`]: the head of its queue in memory, the rest in the store. Lanes share
//! the route by weight (stride scheduling): a lane that has been idle is served next, so an otp never
//! waits behind bulk, and bulk gets its share as long as it waits.
//!
//! ```text
//!  line ──stage──► claimed on disk ──► staged ──take──► out      see the store's `claim.rs`
//!                  claimed as accepted ──▲
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::clock::UnixMs;
use crate::message::Class;
use crate::store::{Entry, FeedEntries, needs_claim};

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
    /// What may be handed over, in the order in which it is.
    staged: VecDeque<Entry>,
    line: Line,
    /// Entries of the line whose claims are on their way to the disk.
    claiming: usize,
    /// Entries that had been claimed as they were accepted, since the start.
    came_claimed: u64,
    stride: u64,
    pass: u64,
}

impl Lane {
    fn len(&self) -> usize {
        self.staged.len() + self.claiming + self.line.len()
    }

    fn arrive(&mut self, entry: Entry) {
        if is_ready(&entry) && self.claiming == 0 && self.line.pass_by(&entry) {
            self.staged.push_back(entry);
        } else {
            self.line.arrive(entry);
        }
    }

    /// Takes what is next out of the line: into the stage, or to be claimed first.
    fn stage(&mut self, ahead: usize) -> Vec<Entry> {
        let mut to_claim = Vec::new();
        if self.claiming > 0 || self.staged.len() > ahead / 2 {
            return to_claim;
        }
        while self.staged.len() + to_claim.len() < ahead {
            let Some(entry) = self.line.take() else { break };
            // Nothing overtakes what is being claimed.
            if to_claim.is_empty() && is_ready(&entry) {
                self.staged.push_back(entry);
            } else {
                to_claim.push(entry);
            }
        }
        self.claiming = to_claim.len();
        to_claim
    }

    /// Puts an entry back in its place: among its tenant's in their order, before all others'.
    fn give_back(&mut self, entry: Entry) {
        if !is_ready(&entry) {
            self.line.give_back(entry);
            return;
        }
        let same = |other: &Entry| other.message.tenant == entry.message.tenant;
        let mut place = 0;
        for (index, other) in self.staged.iter().enumerate() {
            if same(other) && other.order < entry.order {
                place = index + 1;
            } else if same(other) {
                break;
            }
        }
        self.staged.insert(place, entry);
    }
}

/// Whether an entry may be handed over: its parts are claimed, or go out under an intent.
pub(super) fn is_ready(entry: &Entry) -> bool {
    entry.claimed || !needs_claim(&entry.message)
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
            staged: VecDeque::new(),
            claiming: 0,
            came_claimed: 0,
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
        [0, 1, 2, 3].map(|lane| self.lanes[lane].len())
    }

    /// Entries that wait for their next try.
    #[must_use]
    pub fn retries(&self) -> usize {
        self.retries.len()
    }

    /// Adds new entries as they come from the store.
    pub fn arrive(&mut self, feed: FeedEntries) {
        for entry in feed.entries {
            let lane = &mut self.lanes[entry.message.class.lane()];
            lane.came_claimed += u64::from(entry.came_claimed());
            lane.arrive(entry);
        }
        if feed.missed {
            for (lane, claimed) in self.lanes.iter_mut().zip(feed.missed_claimed) {
                lane.came_claimed += claimed;
                lane.line.missed();
            }
        }
    }

    /// Moves on what may be handed over next, at most `ahead` entries of each lane. Gives what has to
    /// be claimed before; then comes [`Queue::claimed`].
    pub fn stage(&mut self, ahead: usize) -> Vec<Entry> {
        let lanes = self.lanes.iter_mut();
        lanes.flat_map(|lane| lane.stage(ahead)).collect()
    }

    /// Entries of [`Queue::stage`] come back, all that are out: claimed, or not.
    pub fn claimed(&mut self, entries: Vec<Entry>, claimed: bool) {
        self.lanes.iter_mut().for_each(|lane| lane.claiming = 0);
        for mut entry in entries {
            let lane = &mut self.lanes[entry.message.class.lane()];
            entry.claimed |= claimed;
            if claimed {
                lane.staged.push_back(entry);
            } else {
                lane.line.give_back(entry);
            }
        }
    }

    /// How many messages may have been claimed as they were accepted, by lane: those that came, and
    /// what a lane has room for, unless others wait before them.
    #[must_use]
    pub fn credit(&self, ahead: usize) -> [u64; 4] {
        [0, 1, 2, 3].map(|lane| {
            let lane = &self.lanes[lane];
            let waits = lane.line.is_behind() || !lane.line.is_empty();
            let room = ahead.saturating_sub(if waits { ahead } else { lane.len() });
            lane.came_claimed + u64::try_from(room).unwrap_or(0)
        })
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
        self.lanes[entry.message.class.lane()].give_back(entry);
    }

    /// Puts back what [`Queue::take`] gave and nothing was done with: it is not charged to its lane.
    pub fn untake(&mut self, entry: Entry) {
        let lane = &mut self.lanes[entry.message.class.lane()];
        let cost = lane.stride * u64::from(entry.parts.count().max(1));
        lane.pass = lane.pass.saturating_sub(cost);
        lane.staged.push_front(entry);
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

    /// Whether nothing waits in memory but for its next try.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.len() == 0)
    }

    /// Takes the entry whose turn it is.
    pub fn take(&mut self) -> Option<Entry> {
        let pass = self.pass;
        let lane = self
            .lanes
            .iter_mut()
            .filter(|lane| !lane.staged.is_empty())
            .min_by_key(|lane| lane.pass.max(pass.saturating_sub(lane.stride)))?;
        let entry = lane.staged.pop_front()?;
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
            line::take_where(&mut lane.staged, limit, &which, &mut taken);
            lane.line.take_where(limit, &which, &mut taken);
        }
        taken
    }
}

#[cfg(test)]
mod tests;
