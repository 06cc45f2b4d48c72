//! A session's timers: one instant each, no wheel, no task.

use std::time::Instant;

/// What a session waits for. The answers' own time is kept by the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// A bind has to be asked for, or answered. SMPP: session_init_timer.
    Bind,
    /// Silence that calls for an enquire_link, or its missing answer. SMPP: enquire_link_timer.
    Idle,
    /// Silence after which the session is given up. SMPP: inactivity_timer.
    Inactive,
    /// A PDU has begun and must be completed.
    Partial,
    /// An unbind has begun and must be completed.
    Unbind,
    /// enquire_link of a peer that sends too many wait for their answers.
    Enquiry,
}

const ALL: [Timer; 6] = [
    Timer::Bind,
    Timer::Idle,
    Timer::Inactive,
    Timer::Partial,
    Timer::Unbind,
    Timer::Enquiry,
];

/// When each timer fires.
#[derive(Debug, Default)]
pub(super) struct Timers([Option<Instant>; ALL.len()]);

impl Timers {
    #[inline]
    fn slot(&mut self, timer: Timer) -> &mut Option<Instant> {
        let [bind, idle, inactive, partial, unbind, enquiry] = &mut self.0;
        match timer {
            Timer::Bind => bind,
            Timer::Idle => idle,
            Timer::Inactive => inactive,
            Timer::Partial => partial,
            Timer::Unbind => unbind,
            Timer::Enquiry => enquiry,
        }
    }

    #[inline]
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        *self.slot(timer) = Some(at);
    }

    #[inline]
    pub(super) fn stop(&mut self, timer: Timer) {
        *self.slot(timer) = None;
    }

    pub(super) fn stop_all(&mut self) {
        *self = Self::default();
    }

    /// Takes one timer that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        ALL.into_iter().find(|&timer| {
            let slot = self.slot(timer);
            slot.is_some_and(|at| at <= now) && slot.take().is_some()
        })
    }

    /// When the next timer is due.
    #[inline]
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().copied().flatten().min()
    }
}
