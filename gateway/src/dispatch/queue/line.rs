//! Line: one tenant's queue in one lane of a route. Its head is in memory, its tail in the store.
//!
//! ```text
//!  whole:   ready = everything that waits          new entries are appended
//!  behind:  ready = the head; the rest is in the store, after the key `through`
//!           new entries are left to the store, but while a load is under way they are kept aside,
//!           so that a load which reaches the end makes the line whole again without a gap
//! ```
//! Order: of one destination's messages the next one is taken when the one before it is done with, not
//! only handed over: whichever of two in one window the peer throttles, refuses or loses, and on
//! whichever link, they arrive in the order of acceptance. Those that come meanwhile wait beside the
//! line, in its own room: a tenant that fills it with messages to one destination holds itself up.
//! Not chosen: one link for each destination. It keeps the order of what is sent, but not of what is
//! sent again.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::message::{Message, MessageId};
use crate::store::Entry;

/// Below so many ready entries, a line that may hold `max` and is behind loads more.
#[must_use]
pub const fn low_of(max: usize) -> usize {
    max / 5
}

/// Entries that one load brings to a line that may hold `max`.
#[must_use]
pub const fn load_of(max: usize) -> usize {
    max / 5 * 2
}

/// One tenant's queue.
#[derive(Default)]
pub struct Line {
    ready: VecDeque<Entry>,
    /// Destinations with a message that was taken and is not done with. Bounded by what is staged,
    /// out, or waits for its next try.
    taken: FxHashMap<u64, Taken>,
    /// What waits beside the line, for those.
    beside: Beside,
    /// The largest order key ever taken in.
    through: u64,
    behind: Option<Behind>,
}

/// How many wait beside a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// All of them.
    pub entries: usize,
    /// Those that were claimed as they were accepted.
    pub claimed: usize,
}

impl Beside {
    fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        self.claimed += usize::from(entry.claimed);
    }

    fn remove(&mut self, entry: &Entry) {
        self.entries -= 1;
        self.claimed -= usize::from(entry.claimed);
    }
}

struct Taken {
    /// The message that was taken.
    id: MessageId,
    /// Later ones to the same destination, in order.
    after: VecDeque<Entry>,
}

#[derive(Default)]
struct Behind {
    loading: bool,
    /// New entries since the load began.
    aside: Vec<Entry>,
    /// Some of them were left to the store.
    more: bool,
}

impl Line {
    /// Entries in the line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// What waits beside the line for one before it.
    #[must_use]
    pub fn beside(&self) -> Beside {
        self.beside
    }

    /// Entries in memory.
    fn in_memory(&self) -> usize {
        self.ready.len() + self.beside.entries
    }

    /// Whether there is more in the store.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// What waits, the next of each destination that is taken and the head: the one that was accepted
    /// first is among them.
    pub fn heads(&self) -> impl Iterator<Item = &Entry> {
        // Mostly none is beside the line, and then the others are not looked at.
        let taken = (self.beside.entries > 0).then_some(&self.taken);
        let beside = taken.into_iter().flat_map(FxHashMap::values);
        let first = beside.filter_map(|taken| taken.after.front());
        self.ready.front().into_iter().chain(first)
    }

    /// The message is taken from now on, unless another to its destination is. Says whether it is.
    pub fn hold(&mut self, message: &Message) -> bool {
        let taken = self.taken.entry(message.line()).or_insert_with(|| Taken {
            id: message.id,
            after: VecDeque::new(),
        });
        taken.id == message.id
    }

    /// The message is done with, wherever it was: the next one to its destination may go.
    pub fn done(&mut self, message: &Message) {
        let Some(taken) = self.taken.get_mut(&message.line()) else {
            return;
        };
        if taken.id != message.id {
            return;
        }
        match taken.after.pop_front() {
            Some(next) => {
                taken.id = next.message.id;
                self.beside.remove(&next);
                self.give_back(next);
            }
            None => {
                self.taken.remove(&message.line());
            }
        }
    }

    /// Moves what may not go yet from the head to beside the line.
    fn settle_head(&mut self) {
        while let Some(head) = self.ready.front()
            && let Some(taken) = self.taken.get_mut(&head.message.line())
            && taken.id != head.message.id
            && let Some(entry) = self.ready.pop_front()
        {
            let place = taken
                .after
                .partition_point(|other| other.order < entry.order);
            self.beside.add(&entry);
            taken.after.insert(place, entry);
        }
    }

    /// Parts of the next one that may go.
    #[must_use]
    pub fn cost(&mut self) -> Option<u32> {
        self.settle_head();
        let head = self.ready.front();
        head.map(|entry| u32::from(entry.parts.count().max(1)))
    }

    /// A new entry. Beyond `max` entries the line is behind.
    pub fn arrive(&mut self, entry: Entry, max: usize) {
        // Keys of new entries only rise: a load has brought this one already.
        if entry.order <= self.through {
            return;
        }
        let in_memory = self.in_memory();
        match &mut self.behind {
            None if in_memory < max => {
                self.through = self.through.max(entry.order);
                self.ready.push_back(entry);
            }
            None => self.behind = Some(Behind::default()),
            Some(behind) if !behind.loading => {}
            Some(behind) if behind.aside.len() < load_of(max) && !behind.more => {
                behind.aside.push(entry);
            }
            Some(behind) => behind.more = true,
        }
    }

    /// Whether a new entry may pass the line by: it is new, and nothing waits before it.
    pub fn pass_by(&mut self, entry: &Entry) -> bool {
        let next = self.behind.is_none() && self.ready.is_empty() && entry.order > self.through;
        let passes = next && self.hold(&entry.message);
        if passes {
            self.through = entry.order;
        }
        passes
    }

    /// New entries were left out before they reached the line.
    pub fn missed(&mut self) {
        self.behind.get_or_insert_default().more = true;
    }

    /// Whether a load should begin, which it does below `low` entries, and after which key. The caller
    /// then calls [`Line::loaded`].
    pub fn begin_load(&mut self, low: usize) -> Option<u64> {
        let in_memory = self.in_memory();
        let behind = self.behind.as_mut()?;
        if behind.loading || in_memory >= low {
            return None;
        }
        *behind = Behind {
            loading: true,
            ..Behind::default()
        };
        Some(self.through)
    }

    /// A load brought these, in order; `last` is the last key it saw, `complete` whether it reached
    /// the end of what the store had.
    pub fn loaded(&mut self, entries: Vec<Entry>, last: Option<u64>, complete: bool, max: usize) {
        self.ready.extend(entries);
        self.through = self.through.max(last.unwrap_or(0));
        let Some(behind) = &mut self.behind else {
            return;
        };
        behind.loading = false;
        if !complete || behind.more {
            behind.aside.clear();
            return;
        }
        let aside = std::mem::take(&mut behind.aside);
        self.behind = None;
        for entry in aside {
            // What the load brought already is not taken twice.
            if entry.order > self.through {
                self.arrive(entry, max);
            }
        }
    }

    /// The load failed; another may begin.
    pub fn load_failed(&mut self) {
        if let Some(behind) = &mut self.behind {
            *behind = Behind {
                more: true,
                ..Behind::default()
            };
        }
    }

    /// Puts an entry back in its place, which is mostly the head.
    pub fn give_back(&mut self, entry: Entry) {
        let place = self
            .ready
            .partition_point(|ready| ready.order < entry.order);
        self.ready.insert(place, entry);
    }

    /// Takes the next one that may go; [`Line::done`] follows when it is done with.
    pub fn take(&mut self) -> Option<Entry> {
        self.settle_head();
        let entry = self.ready.pop_front()?;
        self.hold(&entry.message);
        Some(entry)
    }

    /// Takes out what fits `which`, until `taken` holds `limit`; what is taken out is done with.
    pub fn take_where(
        &mut self,
        limit: usize,
        which: impl Fn(&Entry) -> bool,
        taken: &mut Vec<Entry>,
    ) {
        let from = taken.len();
        take_where(&mut self.ready, limit, &which, taken);
        if self.beside.entries > 0 {
            for each in self.taken.values_mut() {
                let before = taken.len();
                take_where(&mut each.after, limit, &which, taken);
                let gone = taken.get(before..).unwrap_or_default();
                gone.iter().for_each(|entry| self.beside.remove(entry));
            }
        }
        for entry in taken.get(from..).unwrap_or_default() {
            self.done(&entry.message);
        }
    }
}

/// Takes out of a queue what fits `which`, until `taken` holds `limit`.
pub(super) fn take_where(
    queue: &mut VecDeque<Entry>,
    limit: usize,
    which: impl Fn(&Entry) -> bool,
    taken: &mut Vec<Entry>,
) {
    if !queue.iter().any(&which) {
        return;
    }
    let mut kept = VecDeque::with_capacity(queue.len());
    for entry in queue.drain(..) {
        if taken.len() < limit && which(&entry) {
            taken.push(entry);
        } else {
            kept.push_back(entry);
        }
    }
    *queue = kept;
}
