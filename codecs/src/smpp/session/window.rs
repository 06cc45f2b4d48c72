//! The window: requests we sent that have no answer yet.
//!
//! Design: a table indexed by the low bits of sequence_number, at most half full, so that finding
//! an answer's request is one look. Slots are linked in the order they were sent, so that the
//! oldest, whose time runs out first, is at hand. The table starts small, doubles while the window
//! fills, and shrinks when the session is idle: a thousand idle binds do not pay for their windows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::smpp::frame::CommandId;

/// Greatest sequence_number. SMPP v3.4 §3.2.
const SEQUENCE_MAX: u32 = 0x7FFF_FFFF;

/// Largest window. Chosen: ten times the largest that carriers were seen to grant.
pub const WINDOW_MAX: usize = 65_536;

/// How long after its time is over an answer is still told apart from an unsolicited one.
pub(super) const LATE_FOR: Duration = Duration::from_secs(600);

/// Timed-out requests remembered; beyond it the oldest is forgotten. Chosen: several windows.
const LATE_MAX: usize = 4_096;

/// Slots of an unused table: sixteen requests in flight fit at half full.
const SLOTS_MIN: usize = 32;

/// "No slot" in the links.
const NONE: usize = usize::MAX;

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// 0 marks a free slot: no request of ours has it.
    pub(super) sequence: u32,
    pub(super) command: CommandId,
    pub(super) token: u64,
    pub(super) sent: Instant,
    /// Which write it went out with; tells at the end what never left.
    pub(super) write: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    waiting: Waiting,
    older: usize,
    newer: usize,
}

/// Unanswered requests, by sequence_number and by age.
#[derive(Debug)]
pub(super) struct Window {
    slots: Box<[Slot]>,
    mask: usize,
    /// How many may wait.
    size: usize,
    /// The most that `size` may become.
    size_max: usize,
    in_flight: usize,
    oldest: usize,
    newest: usize,
    sequence_next: u32,
    /// Timed out, oldest first; the flag's order is time's order.
    /// With when their time was over.
    late: VecDeque<(Instant, Waiting)>,
}

impl Window {
    /// Makes an empty window of `size` requests, 1..=[`WINDOW_MAX`] (clamped).
    pub(super) fn new(size: usize, now: Instant) -> Self {
        let size = size.clamp(1, WINDOW_MAX);
        let slots = (size * 2).next_power_of_two().min(SLOTS_MIN);
        Self {
            slots: table(slots, now),
            mask: slots - 1,
            size,
            size_max: size,
            in_flight: 0,
            oldest: NONE,
            newest: NONE,
            sequence_next: 1,
            late: VecDeque::new(),
        }
    }

    #[inline]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    #[inline]
    pub(super) fn free(&self) -> usize {
        self.size.saturating_sub(self.in_flight)
    }

    /// Changes how many may wait; never above the size it was made with.
    pub(super) fn resize(&mut self, size: usize) {
        self.size = size.clamp(1, self.size_max);
    }

    #[inline]
    fn index(&self, sequence: u32) -> usize {
        usize::try_from(sequence).unwrap_or_default() & self.mask
    }

    /// Gives the next sequence_number whose slot is free, so none in flight is used twice.
    #[inline]
    pub(super) fn sequence(&mut self) -> u32 {
        loop {
            let sequence = self.sequence_next;
            self.sequence_next = if sequence >= SEQUENCE_MAX {
                1
            } else {
                sequence + 1
            };
            let index = self.index(sequence);
            if self
                .slots
                .get(index)
                .is_some_and(|slot| slot.waiting.sequence == 0)
            {
                return sequence;
            }
        }
    }

    /// Puts a request in; its sequence came from [`Window::sequence`].
    #[inline]
    pub(super) fn insert(&mut self, waiting: Waiting) {
        // Half full at most. What was free in the small table is free in the larger one.
        if (self.in_flight + 1) * 2 > self.slots.len() {
            self.rebuild(self.slots.len() * 2, waiting.sent);
        }
        self.link(waiting);
    }

    #[inline]
    fn link(&mut self, waiting: Waiting) {
        let index = self.index(waiting.sequence);
        let older = self.newest;
        if let Some(slot) = self.slots.get_mut(index) {
            debug_assert_eq!(slot.waiting.sequence, 0, "sequence() gives free slots only");
            *slot = Slot {
                waiting,
                older,
                newer: NONE,
            };
        }
        match self.slots.get_mut(older) {
            Some(slot) => slot.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
        self.in_flight += 1;
    }

    /// Takes the request that a response answers; `None` command matches any (generic_nack).
    #[inline]
    pub(super) fn remove(&mut self, sequence: u32, request: Option<CommandId>) -> Option<Waiting> {
        if sequence == 0 {
            return None;
        }
        let index = self.index(sequence);
        let slot = *self.slots.get(index)?;
        let same = request.is_none_or(|command| command == slot.waiting.command);
        if slot.waiting.sequence != sequence || !same {
            return None;
        }
        self.unlink(index, slot);
        Some(slot.waiting)
    }

    /// Moves what waits into a table of another size, in order.
    #[cold]
    fn rebuild(&mut self, slots: usize, now: Instant) {
        let old = std::mem::replace(&mut self.slots, table(slots, now));
        let mut at = self.oldest;
        self.mask = slots - 1;
        self.in_flight = 0;
        (self.oldest, self.newest) = (NONE, NONE);
        while let Some(slot) = old.get(at) {
            self.link(slot.waiting);
            at = slot.newer;
        }
    }

    /// Gives memory back where nothing waits.
    pub(super) fn release(&mut self, now: Instant) {
        if self.in_flight == 0 && self.slots.len() > SLOTS_MIN {
            self.rebuild(SLOTS_MIN, now);
        }
        self.forget_late(now);
        self.late.shrink_to_fit();
    }

    /// Octets on the heap.
    pub(super) fn heap_octets(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
            + self.late.capacity() * size_of::<(Instant, Waiting)>()
    }

    #[inline]
    fn unlink(&mut self, index: usize, slot: Slot) {
        match self.slots.get_mut(slot.older) {
            Some(older) => older.newer = slot.newer,
            None => self.oldest = slot.newer,
        }
        match self.slots.get_mut(slot.newer) {
            Some(newer) => newer.older = slot.older,
            None => self.newest = slot.older,
        }
        if let Some(free) = self.slots.get_mut(index) {
            free.waiting.sequence = 0;
        }
        self.in_flight -= 1;
    }

    /// When the oldest request was sent.
    #[inline]
    pub(super) fn oldest_sent(&self) -> Option<Instant> {
        self.slots.get(self.oldest).map(|slot| slot.waiting.sent)
    }

    /// Takes the oldest request, in the order they were sent.
    pub(super) fn pop_oldest(&mut self) -> Option<Waiting> {
        let slot = *self.slots.get(self.oldest)?;
        self.unlink(self.oldest, slot);
        Some(slot.waiting)
    }

    /// Remembers a request that timed out, for [`LATE_FOR`].
    pub(super) fn remember(&mut self, now: Instant, waiting: Waiting) {
        if self.late.len() >= LATE_MAX {
            self.late.pop_front();
        }
        self.late.push_back((now, waiting));
    }

    /// Finds the timed-out request that a late response answers.
    pub(super) fn recall(
        &mut self,
        now: Instant,
        sequence: u32,
        request: Option<CommandId>,
    ) -> Option<Waiting> {
        self.forget_late(now);
        let at = self.late.iter().position(|(_, late)| {
            late.sequence == sequence && request.is_none_or(|command| command == late.command)
        })?;
        self.late.remove(at).map(|(_, late)| late)
    }

    fn forget_late(&mut self, now: Instant) {
        while self
            .late
            .front()
            .is_some_and(|(over, _)| now.duration_since(*over) > LATE_FOR)
        {
            self.late.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn start_at(&mut self, sequence: u32) {
        self.sequence_next = sequence;
    }
}

/// A table without requests.
fn table(slots: usize, now: Instant) -> Box<[Slot]> {
    let waiting = Waiting {
        sequence: 0,
        command: CommandId(0),
        token: 0,
        sent: now,
        write: 0,
    };
    let (older, newer) = (NONE, NONE);
    vec![
        Slot {
            waiting,
            older,
            newer
        };
        slots
    ]
    .into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(window: &mut Window, now: Instant, token: u64) -> u32 {
        let sequence = window.sequence();
        let command = CommandId::SUBMIT_SM;
        window.insert(Waiting {
            sequence,
            command,
            token,
            sent: now,
            write: 0,
        });
        sequence
    }

    #[test]
    fn sequence_wraps_to_one_and_skips_in_flight() {
        let now = Instant::now();
        let mut window = Window::new(4, now);
        assert_eq!(waiting(&mut window, now, 1), 1);
        window.start_at(SEQUENCE_MAX);
        assert_eq!(waiting(&mut window, now, 2), SEQUENCE_MAX);
        assert_eq!(
            waiting(&mut window, now, 3),
            2,
            "0 is never used and 1 is in flight"
        );
        assert_eq!(window.in_flight(), 3);
    }

    #[test]
    fn oldest_first_whatever_was_answered_between() {
        let now = Instant::now();
        let mut window = Window::new(8, now);
        let sequences: Vec<_> = (0..6)
            .map(|token| waiting(&mut window, now, token))
            .collect();
        for at in [0, 3, 5] {
            assert!(
                window
                    .remove(sequences[at], Some(CommandId::SUBMIT_SM))
                    .is_some()
            );
            assert!(
                window
                    .remove(sequences[at], Some(CommandId::SUBMIT_SM))
                    .is_none()
            );
        }
        let left: Vec<_> = std::iter::from_fn(|| window.pop_oldest())
            .map(|w| w.token)
            .collect();
        assert_eq!(left, [1, 2, 4]);
        assert_eq!(window.oldest_sent(), None);
    }

    #[test]
    fn the_table_grows_with_the_window_in_use_and_shrinks_when_idle() {
        let now = Instant::now();
        let mut window = Window::new(1_000, now);
        let idle = window.heap_octets();
        assert!(idle <= 32 * 64, "{idle}");
        window.start_at(SEQUENCE_MAX - 500);
        let sequences: Vec<_> = (0..1_000)
            .map(|token| waiting(&mut window, now, token))
            .collect();
        assert_eq!((window.in_flight(), window.free()), (1_000, 0));
        assert!(window.slots.len() >= 2_000);
        window.release(now);
        assert!(window.slots.len() >= 2_000, "what waits is not lost");
        for (token, &sequence) in sequences.iter().enumerate().skip(1) {
            let answered = window.remove(sequence, Some(CommandId::SUBMIT_SM));
            assert_eq!(
                answered.map(|waiting| waiting.token),
                u64::try_from(token).ok()
            );
        }
        assert_eq!(window.pop_oldest().map(|waiting| waiting.token), Some(0));
        window.release(now);
        assert_eq!(window.heap_octets(), idle);
        waiting(&mut window, now, 7);
        assert_eq!(window.in_flight(), 1);
    }

    #[test]
    fn one_stuck_request_does_not_stop_the_others() {
        let now = Instant::now();
        let mut window = Window::new(2, now);
        let stuck = waiting(&mut window, now, 0);
        for token in 1..1_000 {
            let sequence = waiting(&mut window, now, token);
            let answered = window.remove(sequence, None).expect("just inserted");
            assert_eq!(answered.token, token);
        }
        assert_eq!(window.in_flight(), 1);
        assert!(window.remove(stuck, Some(CommandId::DELIVER_SM)).is_none());
        assert!(window.remove(stuck, Some(CommandId::SUBMIT_SM)).is_some());
    }
}
