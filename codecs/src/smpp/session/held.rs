//! Requests of the peer that have no answer yet, as an SMSC knows them: a sequence_number that comes
//! again before its answer is a repetition, not another message.

use std::collections::HashSet;

use super::event::Reply;

/// Unanswered requests of an ESME, at most `inbound_window` and one read's worth more. The standard
/// library's keyed hash: the peer chooses the numbers.
#[derive(Debug, Default)]
pub(super) struct Held(HashSet<Reply>);

impl Held {
    /// Takes a request; `false` = the same command waits under that number already. 0 is the number
    /// of those who do not count, so it tells nothing apart.
    pub(super) fn take(&mut self, reply: Reply) -> bool {
        reply.sequence == 0 || self.0.insert(reply)
    }

    /// Its answer is on its way: the number is free.
    pub(super) fn free(&mut self, reply: Reply) {
        self.0.remove(&reply);
    }

    /// Octets on the heap.
    pub(super) fn heap_octets(&self) -> usize {
        // A control octet beside each slot.
        self.0.capacity() * (size_of::<Reply>() + 1)
    }

    /// Gives memory back that nothing needs.
    pub(super) fn release(&mut self) {
        self.0.shrink_to_fit();
    }
}
