//! Line: one tenant's queue in one lane of a route. Its head is in memory, its tail in the store.
//!
//! ```text
//!  whole:   ready = everything that waits          new entries are appended
//!  behind:  ready = the head; the rest is in the store, after the key `through`
//!           new entries are left to the store, but while a load is under way they are kept aside,
//!           so that a load which reaches the end makes the line whole again without a gap
//! ```

use std::collections::VecDeque;

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
    /// The largest order key ever taken in.
    through: u64,
    behind: Option<Behind>,
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
    /// Entries in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether no entry is ready in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether there is more in the store.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// The head.
    #[must_use]
    pub fn head(&self) -> Option<&Entry> {
        self.ready.front()
    }

    /// Segments of the head.
    #[must_use]
    pub fn cost(&self) -> Option<u32> {
        self.head()
            .map(|entry| u32::from(entry.parts.count().max(1)))
    }

    /// A new entry. Beyond `max` entries the line is behind.
    pub fn arrive(&mut self, entry: Entry, max: usize) {
        // Keys of new entries only rise: a load has brought this one already.
        if entry.order <= self.through {
            return;
        }
        match &mut self.behind {
            None if self.ready.len() < max => {
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
        let passes = self.behind.is_none() && self.ready.is_empty() && entry.order > self.through;
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
        let behind = self.behind.as_mut()?;
        if behind.loading || self.ready.len() >= low {
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

    /// Takes the head.
    pub fn take(&mut self) -> Option<Entry> {
        self.ready.pop_front()
    }

    /// Takes out what fits `which`, until `taken` holds `limit`.
    pub fn take_where(
        &mut self,
        limit: usize,
        which: impl Fn(&Entry) -> bool,
        taken: &mut Vec<Entry>,
    ) {
        take_where(&mut self.ready, limit, which, taken);
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
