//! What waits for its time: late answers and receipts, one heap per connection.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

use codecs::smpp::CommandStatus;
use codecs::smpp::session::Reply;

use super::receipt::Receipt;

/// Something to do later.
#[derive(Debug)]
pub(super) enum Action {
    Answer {
        reply: Reply,
        status: CommandStatus,
        id: u64,
    },
    Receipt(Box<Receipt>),
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    /// Keeps what is due at the same instant in order.
    number: u64,
    action: Action,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Reversed: the heap's top is what is due first.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// Actions by time.
#[derive(Debug, Default)]
pub(super) struct Due {
    heap: BinaryHeap<Entry>,
    number: u64,
}

impl Due {
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(super) fn push(&mut self, at: Instant, action: Action) {
        self.number += 1;
        self.heap.push(Entry {
            at,
            number: self.number,
            action,
        });
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Every receipt, in no order; the answers are forgotten.
    pub(super) fn take_receipts(&mut self) -> impl Iterator<Item = Receipt> {
        let left = std::mem::take(&mut self.heap).into_iter();
        left.filter_map(|entry| match entry.action {
            Action::Receipt(receipt) => Some(*receipt),
            Action::Answer { .. } => None,
        })
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Action> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|entry| entry.action)
    }
}
