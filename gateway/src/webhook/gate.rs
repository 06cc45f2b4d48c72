//! The gate: how many POSTs an endpoint may have out, how fast, and when it is left alone.
//!
//! Three rules in one state: a window that grows with each success and is halved by 429, 502, 503
//! and 504 (AIMD); a circuit that opens after failures in a row and then lets one probe through at
//! a time; a rate that the endpoint's owner asked for. Time is an argument.

use std::time::{Duration, Instant};

use super::Pace;

/// Most POSTs of one endpoint in flight. Chosen: at 50 ms there and back, 8 batches of 500 are
/// 80,000 events/s; more would only load a receiver that is slow anyway.
pub(super) const WINDOW_MAX: usize = 8;

/// Where the window starts, so that a fresh endpoint is not met with everything at once.
const WINDOW_START: f64 = 2.0;

/// Failures in a row that open the circuit.
pub(super) const OPEN_AFTER: u32 = 5;

/// How long the circuit is open before the first probe; doubles with each probe that fails.
const PROBE_FIRST: Duration = Duration::from_secs(5);

/// Longest wait between probes: an endpoint that is back is noticed within it.
const PROBE_MAX: Duration = Duration::from_secs(300);

/// The pause after an answer that asks to slow down and names no time.
const THROTTLE_PAUSE: Duration = Duration::from_secs(1);

/// What an answer means for the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The endpoint took it (or decided about it): it is well.
    Good,
    /// It failed.
    Bad,
    /// It failed and asks for less, perhaps for none at all for a while.
    SlowDown(Option<Duration>),
    /// It was not asked.
    Nothing,
}

/// Whether another POST may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// Now.
    Go,
    /// Not before.
    At(Instant),
    /// When one that is out has ended.
    AfterNext,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    Closed { failures: u32 },
    Open { until: Instant, wait: Duration },
}

/// The gate of one endpoint.
#[derive(Debug)]
pub(super) struct Gate {
    window: f64,
    in_flight: usize,
    /// Answers to what started before this say nothing new about the window.
    cut_at: Option<Instant>,
    pause_until: Option<Instant>,
    circuit: Circuit,
    /// The endpoint's pace, and when the next start is due at it (GCRA's theoretical arrival time).
    pace: Option<(Pace, Option<Instant>)>,
}

impl Gate {
    /// An endpoint of which nothing is known yet.
    #[must_use]
    pub(super) fn new(pace: Option<Pace>) -> Self {
        Self {
            window: WINDOW_START,
            in_flight: 0,
            cut_at: None,
            pause_until: None,
            circuit: Circuit::Closed { failures: 0 },
            pace: pace.map(|pace| (pace, None)),
        }
    }

    /// Whether a POST may start at `now`.
    #[must_use]
    pub(super) fn permit(&self, now: Instant) -> Permit {
        let probing = matches!(self.circuit, Circuit::Open { .. });
        if self.in_flight >= if probing { 1 } else { self.window() } {
            return Permit::AfterNext;
        }
        let circuit = match self.circuit {
            Circuit::Open { until, .. } => Some(until),
            Circuit::Closed { .. } => None,
        };
        let pace = self.pace.and_then(|(pace, due)| {
            let ahead = pace.gap.saturating_mul(pace.burst.saturating_sub(1));
            // Beyond the clock's beginning: any time is late enough.
            due?.checked_sub(ahead)
        });
        match circuit.max(self.pause_until).max(pace) {
            Some(at) if at > now => Permit::At(at),
            _ => Permit::Go,
        }
    }

    /// A POST started at `now`.
    pub(super) fn started(&mut self, now: Instant) {
        self.in_flight += 1;
        if let Some((Pace { gap, .. }, due)) = &mut self.pace {
            // From when it was due, so that wake-ups a little late do not add up.
            let base = due.filter(|at| now.saturating_duration_since(*at) < *gap);
            *due = Some(base.unwrap_or(now) + *gap);
        }
    }

    /// A POST that started at `began` ended at `now`. Returns whether the circuit changed.
    pub(super) fn finished(&mut self, began: Instant, now: Instant, heard: Heard) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        let before = self.is_open();
        match heard {
            Heard::Good => {
                let max = f64::from(u8::try_from(WINDOW_MAX).unwrap_or(u8::MAX));
                self.window = (self.window + 1.0 / self.window).min(max);
                self.circuit = Circuit::Closed { failures: 0 };
            }
            Heard::Nothing => {}
            Heard::Bad => self.failed(began, now),
            Heard::SlowDown(after) => {
                if self.cut_at.is_none_or(|cut| began >= cut) {
                    self.window = (self.window / 2.0).max(1.0);
                    self.cut_at = Some(now);
                }
                let until = now + after.unwrap_or(THROTTLE_PAUSE);
                self.pause_until = self.pause_until.max(Some(until));
                self.failed(began, now);
            }
        }
        before != self.is_open()
    }

    fn failed(&mut self, began: Instant, now: Instant) {
        self.circuit = match self.circuit {
            Circuit::Closed { failures } if failures + 1 < OPEN_AFTER => Circuit::Closed {
                failures: failures + 1,
            },
            Circuit::Closed { .. } => Circuit::Open {
                until: now + PROBE_FIRST,
                wait: PROBE_FIRST,
            },
            // What had started before the circuit opened is no probe.
            Circuit::Open { until, wait } if began < until => Circuit::Open { until, wait },
            Circuit::Open { wait, .. } => {
                let wait = (wait * 2).min(PROBE_MAX);
                Circuit::Open {
                    until: now + wait,
                    wait,
                }
            }
        };
    }

    /// Whether new deliveries are held.
    #[must_use]
    pub(super) fn is_open(&self) -> bool {
        matches!(self.circuit, Circuit::Open { .. })
    }

    /// How many POSTs may be out.
    #[must_use]
    pub(super) fn window(&self) -> usize {
        (1..=WINDOW_MAX)
            .rev()
            .find(|n| f64::from(u8::try_from(*n).unwrap_or(u8::MAX)) <= self.window)
            .unwrap_or(1)
    }

    /// How many are out.
    #[must_use]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether it is pausing because the endpoint asked for less.
    #[must_use]
    pub(super) fn is_throttled(&self, now: Instant) -> bool {
        self.pause_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fail(gate: &mut Gate, at: Instant) {
        gate.started(at);
        gate.finished(at, at, Heard::Bad);
    }

    #[test]
    fn the_circuit_opens_after_failures_in_a_row_and_probes_one_at_a_time() {
        let start = Instant::now();
        let mut gate = Gate::new(None);
        for _ in 0..OPEN_AFTER - 1 {
            fail(&mut gate, start);
        }
        assert_eq!(gate.permit(start), Permit::Go);
        fail(&mut gate, start);
        let mut wait = PROBE_FIRST;
        let mut now = start;
        for _ in 0..10 {
            assert_eq!(gate.permit(now), Permit::At(now + wait));
            now += wait;
            assert_eq!(gate.permit(now), Permit::Go);
            gate.started(now);
            assert_eq!(gate.permit(now), Permit::AfterNext, "one probe at a time");
            gate.finished(now, now, Heard::Bad);
            wait = (wait * 2).min(PROBE_MAX);
        }
        now += PROBE_MAX;
        gate.started(now);
        assert!(gate.finished(now, now, Heard::Good));
        assert_eq!(gate.permit(now), Permit::Go);
    }

    #[test]
    fn answers_to_what_was_out_when_the_circuit_opened_do_not_stretch_it() {
        let start = Instant::now();
        let mut gate = Gate::new(None);
        gate.started(start);
        for _ in 0..OPEN_AFTER {
            fail(&mut gate, start);
        }
        let opened = gate.permit(start);
        gate.finished(start, start + Duration::from_secs(1), Heard::Bad);
        assert_eq!(
            gate.permit(start),
            Permit::At(start + PROBE_FIRST),
            "{opened:?}"
        );
    }

    #[test]
    fn slow_down_halves_once_per_flight_and_pauses_as_long_as_asked() {
        let start = Instant::now();
        let mut gate = Gate::new(None);
        for _ in 0..100 {
            gate.started(start);
            gate.finished(start, start, Heard::Good);
        }
        assert_eq!(gate.window(), WINDOW_MAX);
        for _ in 0..4 {
            gate.started(start);
        }
        let later = start + Duration::from_millis(10);
        for _ in 0..4 {
            gate.finished(start, later, Heard::SlowDown(Some(Duration::from_secs(60))));
        }
        assert_eq!(gate.window(), WINDOW_MAX / 2);
        assert_eq!(
            gate.permit(later),
            Permit::At(later + Duration::from_secs(60))
        );
        assert!(gate.is_throttled(later) && !gate.is_open());
    }

    #[test]
    fn a_rate_spaces_the_starts() {
        let start = Instant::now();
        let pace = |gap, burst| Some(Pace { gap, burst });
        let mut gate = Gate::new(pace(Duration::from_millis(100), 1));
        gate.started(start);
        let next = start + Duration::from_millis(100);
        assert_eq!(gate.permit(start), Permit::At(next));
        assert_eq!(gate.permit(next), Permit::Go);
        gate.started(next + Duration::from_millis(30));
        gate.finished(start, next, Heard::Good);
        assert_eq!(
            gate.permit(next),
            Permit::At(next + Duration::from_millis(100))
        );
        // 30/min: one every two seconds, never one a second.
        let mut gate = Gate::new(pace(Duration::from_secs(2), 0));
        gate.started(start);
        let next = start + Duration::from_secs(2);
        assert_eq!(gate.permit(start), Permit::At(next));
        assert_eq!(gate.permit(next), Permit::Go);
    }

    #[test]
    fn a_burst_goes_at_once_and_then_the_rate() {
        let start = Instant::now();
        let mut gate = Gate::new(Some(Pace {
            gap: Duration::from_secs(1),
            burst: 3,
        }));
        for _ in 0..3 {
            assert_eq!(gate.permit(start), Permit::Go);
            gate.started(start);
            gate.finished(start, start, Heard::Good);
        }
        for second in 1..5 {
            let next = start + Duration::from_secs(second);
            assert_eq!(
                gate.permit(next - Duration::from_millis(1)),
                Permit::At(next)
            );
            gate.started(next);
            gate.finished(next, next, Heard::Good);
        }
    }

    proptest! {
        #[test]
        fn the_window_is_kept_whatever_is_heard(steps in proptest::collection::vec(0u8..5, 1..300)) {
            let mut now = Instant::now();
            let mut gate = Gate::new(None);
            let mut out = std::collections::VecDeque::new();
            for step in steps {
                now += Duration::from_millis(700);
                if step >= 3 {
                    if gate.permit(now) == Permit::Go {
                        prop_assert!(gate.in_flight() < WINDOW_MAX);
                        gate.started(now);
                        out.push_back(now);
                    }
                } else if let Some(began) = out.pop_front() {
                    let heard = [Heard::Good, Heard::Bad, Heard::SlowDown(None)][usize::from(step)];
                    gate.finished(began, now, heard);
                }
                prop_assert_eq!(gate.in_flight(), out.len());
                prop_assert!((1..=WINDOW_MAX).contains(&gate.window()));
                // Never stuck: with nothing out there is always a time when it goes on.
                if out.is_empty() {
                    prop_assert!(gate.permit(now) != Permit::AfterNext);
                }
            }
        }
    }
}
