//! Queue: what waits for a route, in lanes. Pure; the store has what does not fit.
//!
//! Lanes share the route by weight (stride scheduling): a lane that has been idle is served next, so an
//! otp never waits behind bulk, and bulk gets its share as long as it waits. Within a [`lane`], tenants
//! share; each has a [`line`]: the head of its queue in memory, the rest in the store.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::UnixMs;
use crate::message::{Class, Message, MessageId, TenantIx};
use crate::store::{Entry, FeedEntries};

pub mod lane;
pub mod line;

use lane::{Lane, Load};

/// Entries of a lane that may wait for their next try, in memory. Beyond it nothing new of that lane is
/// handed out, or a peer that refuses everything would pull the whole backlog into memory. Each lane
/// has its own: a service that refuses bulk still has to be asked for an otp, which else could not even go
/// another way.
pub const RETRIES_MAX: usize = 25_000;

/// A weight's stride is this divided by it.
const STRIDE: u64 = 1 << 20;

/// One route's queue.
pub struct Queue {
    lanes: [Weighted; 4],
    /// What waits for its next try, by lane.
    retries: [BinaryHeap<Reverse<Waiting>>; 4],
    /// Where the lane served last stood.
    pass: u64,
}

struct Weighted {
    lane: Lane,
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
        let lane = |weight: u32| Weighted {
            lane: Lane::default(),
            stride: STRIDE / u64::from(weight.max(1)),
            pass: 0,
        };
        Self {
            lanes: weights.map(lane),
            retries: Default::default(),
            pass: 0,
        }
    }

    fn lane(&mut self, class: Class) -> &mut Lane {
        &mut self.lanes[class.lane()].lane
    }

    /// Entries that wait for their next try.
    #[must_use]
    pub fn retries(&self) -> usize {
        self.retries.iter().map(BinaryHeap::len).sum()
    }

    /// Whether so many of a class wait for their next try that nothing new is handed out.
    #[must_use]
    pub fn is_full(&self, class: Class) -> bool {
        self.retries[class.lane()].len() >= RETRIES_MAX
    }

    /// Whether all that waits in memory is of lanes that are full.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        let mut lanes = self.lanes.iter().zip(&self.retries);
        lanes.all(|(each, retries)| each.lane.is_empty() || retries.len() >= RETRIES_MAX)
    }

    /// The store has something of these: it has to be loaded. So it is at the start, and after the
    /// feed left something out.
    pub fn missed(&mut self, waiting: Vec<(Class, TenantIx)>) {
        for (class, tenant) in waiting {
            self.lane(class).missed(tenant);
        }
    }

    /// Adds new entries as they come from the store. When it left some out, [`Queue::missed`] has to
    /// follow with whose they may be.
    pub fn arrive(&mut self, feed: FeedEntries) {
        for entry in feed.entries {
            self.lane(entry.message.class).arrive(entry);
        }
        if feed.missed {
            for (weighted, claimed) in self.lanes.iter_mut().zip(feed.missed_claimed) {
                weighted.lane.missed_any(claimed);
            }
        }
    }

    /// A load of a lane that should begin, if one should.
    pub fn next_load(&mut self, class: Class) -> Option<Load> {
        self.lane(class).next_load()
    }

    /// Moves on what may be handed over next, at most `ahead` entries of each lane. Gives what has to
    /// be claimed before; then comes [`Queue::claimed`].
    pub fn stage(&mut self, ahead: usize) -> Vec<Entry> {
        let lanes = self.lanes.iter_mut();
        lanes.flat_map(|each| each.lane.stage(ahead)).collect()
    }

    /// Entries of [`Queue::stage`] come back, all that are out: claimed, but for those that are `over`;
    /// `None`: they could not be claimed.
    pub fn claimed(&mut self, entries: Vec<Entry>, over: Option<&[MessageId]>) {
        self.lanes
            .iter_mut()
            .for_each(|each| each.lane.claims_end());
        for entry in entries {
            let lane = self.lane(entry.message.class);
            // Hardly ever is there one.
            if over.is_some_and(|over| over.contains(&entry.message.id)) {
                lane.done(&entry.message);
            } else {
                lane.claimed(entry, over.is_some());
            }
        }
    }

    /// How many messages may have been claimed as they were accepted, by lane: see [`Lane::credit`].
    #[must_use]
    pub fn credit(&self, ahead: usize) -> [u64; 4] {
        [0, 1, 2, 3].map(|lane| self.lanes[lane].lane.credit(ahead))
    }

    /// Adds what a load brought, or that it failed; see [`line::Line::loaded`].
    pub fn loaded(&mut self, class: Class, load: Load, entries: Option<Vec<Entry>>, now: UnixMs) {
        let entries = entries.map(|entries| {
            let complete = entries.len() < load.limit;
            let last = entries.last().map(|entry| entry.order);
            let (later, ready): (Vec<Entry>, Vec<Entry>) =
                entries.into_iter().partition(|entry| entry.due > now);
            later.into_iter().for_each(|entry| self.retry(entry));
            (ready, last, complete)
        });
        self.lane(class).loaded(load, entries);
    }

    /// Puts an entry to the head of its lane: it was taken and could not be sent.
    pub fn give_back(&mut self, entry: Entry) {
        self.lane(entry.message.class).give_back(entry);
    }

    /// Puts back what [`Queue::take`] gave and nothing was done with: it is not charged to its lane.
    pub fn untake(&mut self, entry: Entry) {
        let weighted = &mut self.lanes[entry.message.class.lane()];
        let cost = weighted.stride * u64::from(entry.parts.count().max(1));
        weighted.pass = weighted.pass.saturating_sub(cost);
        weighted.lane.untake(entry);
    }

    /// Lets an entry wait for its next try, and with it what comes after it to the same destination.
    pub fn retry(&mut self, entry: Entry) {
        let class = entry.message.class;
        self.lane(class).hold(&entry.message);
        self.retries[class.lane()].push(Reverse(Waiting(entry)));
    }

    /// What [`Queue::take`] gave is done with: taken by the peer, ended, or gone another way. The
    /// next one to its destination may go. Said twice, or of what was not taken, it does nothing.
    pub fn done(&mut self, message: &Message) {
        self.lane(message.class).done(message);
    }

    /// Entries that wait for another one to the same destination.
    #[must_use]
    pub fn beside(&self) -> usize {
        self.lanes.iter().map(|each| each.lane.beside()).sum()
    }

    /// Moves what is due to the head of its lane.
    pub fn wake(&mut self, now: UnixMs) {
        self.wake_while(now, |_| true);
    }

    /// Moves what is due to the head of its lane as long as `may` says so, lane by lane. Says whether
    /// something due was left.
    pub fn wake_while(&mut self, now: UnixMs, mut may: impl FnMut(&Entry) -> bool) -> bool {
        for lane in 0..self.retries.len() {
            while let Some(Reverse(waiting)) = self.retries[lane].peek()
                && waiting.0.due <= now
            {
                if !may(&waiting.0) {
                    return true;
                }
                if let Some(Reverse(Waiting(entry))) = self.retries[lane].pop() {
                    self.give_back(entry);
                }
            }
        }
        false
    }

    /// When the next try is due.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMs> {
        let next = self.retries.iter().filter_map(BinaryHeap::peek);
        next.map(|Reverse(waiting)| waiting.0.due).min()
    }

    /// What waits for its next try. At most [`RETRIES_MAX`] of a lane, and what was out beside them.
    pub fn waiting(&self) -> impl Iterator<Item = &Entry> {
        let all = self.retries.iter().flat_map(BinaryHeap::iter);
        all.map(|Reverse(waiting)| &waiting.0)
    }

    /// Takes out of what waits for its next try whatever `which` holds for. It is done with.
    pub fn take_waiting_where(&mut self, which: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        if !self.waiting().any(&which) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for retries in &mut self.retries {
            let all = std::mem::take(retries).into_vec();
            let (out, stay): (Vec<_>, Vec<_>) = all.into_iter().partition(|each| which(&each.0.0));
            *retries = stay.into();
            taken.extend(out.into_iter().map(|each| each.0.0));
        }
        for entry in &taken {
            self.done(&entry.message);
        }
        taken
    }

    /// Whether nothing waits in memory but for its next try, or for another one's.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|each| each.lane.is_empty())
    }

    /// When the message was accepted that has waited longest: of those next in their lines, and of
    /// those that wait for their next try. Looks at each of the latter: at most [`RETRIES_MAX`] of a lane.
    #[must_use]
    pub fn oldest(&self) -> Option<UnixMs> {
        let retries = self.waiting().map(|entry| entry.message.accepted_at);
        let lanes = self.lanes.iter().filter_map(|each| each.lane.oldest());
        retries.chain(lanes).min()
    }

    /// Takes the entry whose turn it is.
    pub fn take(&mut self) -> Option<Entry> {
        let pass = self.pass;
        let next = self
            .lanes
            .iter_mut()
            .zip(&self.retries)
            .filter(|(each, retries)| !each.lane.is_unstaged() && retries.len() < RETRIES_MAX)
            .map(|(each, _)| each)
            .min_by_key(|each| each.pass.max(pass.saturating_sub(each.stride)))?;
        let entry = next.lane.take()?;
        // A lane that was idle does not save up what it did not use.
        next.pass = next.pass.max(pass.saturating_sub(next.stride));
        self.pass = self.pass.max(next.pass);
        next.pass += next.stride * u64::from(entry.parts.count().max(1));
        Some(entry)
    }

    /// Takes out every entry for which `which` holds, at most `limit` of them. They are done with.
    pub fn take_where(&mut self, limit: usize, which: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut taken = Vec::new();
        for each in &mut self.lanes {
            each.lane.take_where(limit, &which, &mut taken);
        }
        taken
    }
}

#[cfg(test)]
mod tests;
