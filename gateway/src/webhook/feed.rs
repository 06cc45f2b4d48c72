//! The feed: the bounded queue between the reader of the log and one endpoint.
//!
//! The rule that keeps it without gap and without duplicate: `through` says that every event up to
//! it that the endpoint wants was put into the queue. The fan-out offers pages of the log,
//! `(from, to]`, one after the other.
//!
//! - `through >= from`: the feed takes those of the page that lie after `through`, as many as fit.
//!   If all fit, `through` is `to`; else it is just before the first that did not.
//! - `through < from`: there is a hole before the page. Nothing is taken.
//!
//! Either way `wanted` becomes `to`. A feed with `through < wanted` lags: the endpoint reads for
//! itself from `through`. As the next page begins where the last one ended, at `wanted`, an offer is
//! taken again exactly when the endpoint has caught up, and never while it is reading for itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::UnixMs;
use crate::event::{EventKind, EventKinds, Subject};
use crate::message::{EndpointIx, TenantIx};
use crate::store::{Callback, EventPage, Rendered};

/// Most events queued for an endpoint. Chosen: four pages of the fan-out, some 50 ms at full speed.
pub(super) const QUEUE_EVENTS: usize = 8_192;

/// An endpoint that is passed by events that it does not want is told about it this often, so that
/// its cursor moves; more often would wake idle endpoints for nothing.
const TELL_EVERY: u64 = 10_000;

/// Which events an endpoint gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    /// The endpoint.
    pub ix: EndpointIx,
    /// Its tenant.
    pub tenant: TenantIx,
    /// The kinds it wants of messages without callback.
    pub kinds: EventKinds,
}

impl Filter {
    /// Whether the endpoint gets this event: one of its kinds of its tenant; a message's callback
    /// replaces that. What is told about an endpoint goes to the tenant's other ones.
    #[must_use]
    pub(super) fn wants(&self, one: &Rendered) -> bool {
        let event = &one.event;
        if event.tenant != self.tenant {
            return false;
        }
        if event.kind.subject() == Subject::Endpoint {
            return event.subject.0 != u64::from(self.ix.0) && self.kinds.has(event.kind);
        }
        match &one.callback {
            Some(callback) => {
                callback.endpoint == self.ix && callback.kinds.unwrap_or(self.kinds).has(event.kind)
            }
            None => self.kinds.has(event.kind),
        }
    }
}

/// One event in a queue.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Its number.
    pub seq: u64,
    /// The time of its commit.
    pub at: UnixMs,
    /// What it tells.
    pub kind: EventKind,
    /// Its JSON.
    pub json: Bytes,
    /// Set when its message's callback names a URL.
    pub callback: Option<Arc<Callback>>,
    /// When it came into the queue.
    pub arrived: Instant,
}

impl Item {
    /// Of an event as read.
    #[must_use]
    pub(super) fn of(one: &Rendered, arrived: Instant) -> Self {
        Self {
            seq: one.event.seq,
            at: one.event.at,
            kind: one.event.kind,
            json: one.json.clone(),
            callback: one
                .callback
                .clone()
                .filter(|callback| callback.url.is_some()),
            arrived,
        }
    }

    /// The URL that its message's callback names.
    #[must_use]
    pub(super) fn url(&self) -> Option<&str> {
        self.callback
            .as_ref()
            .and_then(|callback| callback.url.as_deref())
    }
}

/// The queue's state; see the file's head for the rule.
#[derive(Debug)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    bytes_max: usize,
    through: u64,
    wanted: u64,
    told: u64,
    closed: bool,
}

impl Queue {
    /// Empty, at the endpoint's cursor, while the fan-out begins at `head`.
    #[must_use]
    pub(super) fn new(cursor: u64, head: u64, bytes_max: usize) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            bytes_max,
            through: cursor,
            wanted: head,
            told: cursor,
            closed: false,
        }
    }

    /// Takes in what the fan-out read of `(from, to]`. Returns whether the endpoint has to look.
    pub(super) fn offer(
        &mut self,
        from: u64,
        to: u64,
        items: impl IntoIterator<Item = Item>,
    ) -> bool {
        let near = !self.closed && self.through >= from;
        self.wanted = self.wanted.max(to);
        if self.closed {
            return false;
        }
        let had = self.items.len();
        if near {
            self.fill(to, items);
        }
        let passed = self.through >= self.told + TELL_EVERY;
        if passed {
            self.told = self.through;
        }
        self.items.len() > had || passed || self.lags()
    }

    /// Takes in what the endpoint read for itself after `through`.
    pub(super) fn append(&mut self, to: u64, items: impl IntoIterator<Item = Item>) {
        if !self.closed {
            self.fill(to, items);
        }
    }

    fn fill(&mut self, to: u64, items: impl IntoIterator<Item = Item>) {
        for item in items {
            if item.seq <= self.through || item.seq > to {
                continue;
            }
            let full =
                self.items.len() >= QUEUE_EVENTS || self.bytes + item.json.len() > self.bytes_max;
            if full && !self.items.is_empty() {
                self.through = item.seq - 1;
                return;
            }
            self.bytes += item.json.len();
            self.through = item.seq;
            self.items.push_back(item);
        }
        self.through = self.through.max(to);
    }

    /// Where the endpoint has to read on by itself: it lags and has room.
    #[must_use]
    pub(super) fn reads_after(&self) -> Option<u64> {
        let room = self.items.len() <= QUEUE_EVENTS / 2 && self.bytes <= self.bytes_max / 2;
        (!self.closed && room && self.lags()).then_some(self.through)
    }

    /// Whether the fan-out is ahead of it.
    #[must_use]
    pub(super) fn lags(&self) -> bool {
        self.through < self.wanted
    }

    /// What waits, in event order.
    #[must_use]
    pub(super) fn items(&self) -> &VecDeque<Item> {
        &self.items
    }

    /// Takes the first `count`.
    pub(super) fn take(&mut self, count: usize) -> Vec<Item> {
        let taken: Vec<_> = self.items.drain(..count.min(self.items.len())).collect();
        self.bytes -= taken.iter().map(|item| item.json.len()).sum::<usize>();
        taken
    }

    /// How far events have been taken out of the queue or passed over as not wanted.
    #[must_use]
    pub(super) fn passed(&self) -> u64 {
        self.items.front().map_or(self.through, |item| item.seq - 1)
    }

    /// Lets go of everything and takes nothing: the endpoint is disabled.
    pub(super) fn close(&mut self) {
        self.through = self.passed();
        self.items = VecDeque::new();
        self.bytes = 0;
        self.closed = true;
    }

    /// Goes on where it was closed; it lags until it has caught up.
    pub(super) fn reopen(&mut self) {
        self.closed = false;
    }
}

/// A queue shared by the fan-out and the endpoint's task.
#[derive(Debug)]
pub(super) struct Feed {
    /// Held for moments only, never across an await.
    pub queue: Mutex<Queue>,
    /// Wakes the endpoint's task.
    pub ready: Notify,
}

impl Feed {
    /// A feed around a queue.
    #[must_use]
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            queue: Mutex::new(queue),
            ready: Notify::new(),
        }
    }

    /// Hands on what the fan-out read of `(from, to]` and the endpoint wants.
    pub(super) fn offer(&self, from: u64, to: u64, items: impl IntoIterator<Item = Item>) {
        if self.queue.lock().offer(from, to, items) {
            self.ready.notify_one();
        }
    }
}

/// The items of a page that a filter wants.
pub(super) fn wanted<'a>(
    filter: &'a Filter,
    page: &'a EventPage,
    now: Instant,
) -> impl Iterator<Item = Item> + 'a {
    page.events
        .iter()
        .filter(|one| filter.wants(one))
        .map(move |one| Item::of(one, now))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(seq: u64) -> Item {
        Item {
            seq,
            at: UnixMs(seq),
            kind: EventKind::MessageSent,
            json: Bytes::from_static(b"{}"),
            callback: None,
            arrived: Instant::now(),
        }
    }

    /// The log of the tests: the endpoint wants every third event.
    fn page(from: u64, to: u64) -> Vec<Item> {
        (from + 1..=to)
            .filter(|seq| seq % 3 == 0)
            .map(item)
            .collect()
    }

    #[test]
    fn a_full_queue_lags_reads_for_itself_and_rejoins() {
        let mut queue = Queue::new(0, 0, 10);
        assert!(queue.offer(0, 9, page(0, 9)));
        assert!(queue.offer(9, 30, page(9, 30)), "2 of 7 fit");
        assert_eq!(
            (queue.items().len(), queue.through, queue.lags()),
            (5, 17, true)
        );
        assert_eq!(queue.reads_after(), None, "no room yet");
        queue.offer(30, 40, page(30, 40));
        assert_eq!(queue.take(4).last().map(|item| item.seq), Some(12));
        assert_eq!(queue.passed(), 14);
        assert_eq!(queue.reads_after(), Some(17));
        queue.append(20, page(17, 20));
        queue.append(40, page(20, 25));
        assert_eq!((queue.through, queue.lags()), (40, false));
        assert!(queue.offer(40, 42, page(40, 42)), "near again");
        assert_eq!(
            queue.take(9).iter().map(|i| i.seq).collect::<Vec<_>>(),
            [15, 18, 21, 24, 42]
        );
    }

    #[test]
    fn a_closed_queue_holds_nothing_and_goes_on_where_it_was() {
        let mut queue = Queue::new(0, 0, 100);
        queue.offer(0, 9, page(0, 9));
        queue.take(1);
        queue.close();
        assert!(!queue.offer(9, 12, page(9, 12)));
        assert_eq!((queue.items().len(), queue.passed()), (0, 5));
        queue.reopen();
        assert_eq!(queue.reads_after(), Some(5));
        queue.append(12, page(5, 12));
        assert_eq!(
            queue.take(9).iter().map(|i| i.seq).collect::<Vec<_>>(),
            [6, 9, 12]
        );
    }

    proptest! {
        /// Whatever the order of offers, own reads, takes, closings and bounds: what comes out is
        /// the log, each event once, in order.
        #[test]
        fn no_gap_and_no_duplicate(
            bytes_max in 2usize..40,
            cursor in 0u64..20,
            steps in proptest::collection::vec((0u8..5, 1u64..30), 1..200),
        ) {
            let mut head = 20;
            let mut queue = Queue::new(cursor, head, bytes_max);
            let mut out: Vec<u64> = Vec::new();
            for (step, n) in steps {
                match step {
                    0 | 1 => {
                        queue.offer(head, head + n, page(head, head + n));
                        head += n;
                    }
                    2 => if let Some(after) = queue.reads_after() {
                        // A page may end anywhere up to the log's end.
                        let to = (after + n).min(head);
                        queue.append(to, page(after, to));
                    },
                    3 => {
                        let count = usize::try_from(n).expect("test: small");
                        out.extend(queue.take(count).iter().map(|item| item.seq));
                    }
                    _ => { queue.close(); queue.reopen(); }
                }
                prop_assert!(queue.bytes <= bytes_max.max(2));
                prop_assert!(queue.through <= head);
            }
            loop {
                out.extend(queue.take(usize::MAX).iter().map(|item| item.seq));
                let Some(after) = queue.reads_after() else { break };
                queue.append(head, page(after, head));
            }
            let expected: Vec<u64> = page(cursor, head).iter().map(|item| item.seq).collect();
            prop_assert_eq!(out, expected);
        }
    }
}
