//! The course of one endpoint: what to send next and what each answer means. No IO, no clock.

use std::time::{Duration, Instant};

use super::Pace;
use super::batch::Ready;
use super::gate::{Gate, Heard, Permit};
use super::ledger::Ledger;
use super::retry::{RETRIES_MAX, RetrySet, wait_after};
use crate::clock::UnixMs;
use crate::store::{DeliveryRetry, EndpointState};

/// An endpoint that has failed for so long without one success is disabled: contract.md §3.
const FAILING_MAX: Duration = Duration::from_secs(5 * 24 * 3600);

/// Most deliveries behind one that is still out. Chosen: some seconds of single events at full speed;
/// bounds the ledger, and what a crash has sent twice.
const LEDGER_MAX: usize = 16_384;

/// The two readings of now: timers wait for one, what is written down is the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// For timers.
    pub instant: Instant,
    /// For what is remembered.
    pub unix: UnixMs,
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 2xx.
    Taken,
    /// Refused with `webhook-delivery: abort-message`: it does not want this one again.
    Aborted,
    /// 410: it wants nothing any more.
    Gone,
    /// 429, 502, 503, 504: it wants less.
    Throttled(Option<Duration>),
    /// Anything else; with Retry-After, if it came.
    Failed(Option<Duration>),
    /// The events are not in the log any more: there is nothing to send.
    Lost,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Take so many events from the queue and send them.
    Fresh(usize),
    /// Send this one again.
    Again(DeliveryRetry),
    /// Nothing before either time, unless something happens.
    Wait {
        /// A timer's.
        instant: Option<Instant>,
        /// A remembered one.
        unix: Option<UnixMs>,
    },
}

/// What is out: a new delivery or one from the retry set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// First event.
    pub first: u64,
    /// Last event.
    pub last: u64,
    /// Its entry, if it is not new.
    pub retry: Option<DeliveryRetry>,
    /// When this try began.
    pub began: Now,
}

impl Sent {
    /// This try's number, from 1.
    #[must_use]
    pub(super) fn attempt(&self) -> u8 {
        self.retry
            .map_or(1, |entry| entry.attempts.saturating_add(1))
    }
}

/// What the world has to be told after an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The delivery was given up after its last try.
    pub exhausted: bool,
    /// The endpoint was disabled.
    pub disabled: bool,
    /// The circuit opened or closed.
    pub circuit: bool,
}

/// One endpoint's state.
#[derive(Debug)]
pub(super) struct Course {
    gate: Gate,
    pace: Option<Pace>,
    ledger: Ledger,
    retries: RetrySet,
    fresh_out: usize,
    exhausted: u64,
    disabled: Option<(UnixMs, String)>,
    failing_since: Option<UnixMs>,
}

impl Course {
    /// Goes on from what was remembered. Retries of what lies after the cursor are forgotten: those
    /// events are read and sent anew anyway.
    #[must_use]
    pub(super) fn restore(state: &EndpointState, pace: Option<Pace>) -> Self {
        let mut retries = state.retries.clone();
        retries.retain(|entry| entry.first <= state.cursor);
        Self {
            gate: Gate::new(pace),
            pace,
            ledger: Ledger::at(state.cursor),
            retries: RetrySet::restore(&retries),
            fresh_out: 0,
            exhausted: state.exhausted,
            disabled: state.disabled.clone(),
            failing_since: state.failing_since,
        }
    }

    /// What to remember. `passed` is [`super::feed::Queue::passed`].
    pub(super) fn export(&mut self, passed: u64) -> EndpointState {
        EndpointState {
            cursor: self.ledger.cursor(passed),
            retries: self.retries.export(),
            exhausted: self.exhausted,
            disabled: self.disabled.clone(),
            failing_since: self.failing_since,
        }
    }

    /// The cursor; `passed` as for [`Course::export`].
    pub(super) fn cursor(&mut self, passed: u64) -> u64 {
        self.ledger.cursor(passed)
    }

    /// What to do now, given what the queue has. [`Next::Fresh`] and [`Next::Again`] are followed by
    /// [`Course::sent`].
    pub(super) fn next(&mut self, now: Now, ready: Ready) -> Next {
        let mut instant = None;
        if self.disabled.is_some() {
            return Next::Wait {
                instant,
                unix: None,
            };
        }
        match self.gate.permit(now.instant) {
            Permit::Go => {}
            Permit::At(at) => {
                return Next::Wait {
                    instant: Some(at),
                    unix: None,
                };
            }
            Permit::AfterNext => {
                return Next::Wait {
                    instant,
                    unix: None,
                };
            }
        }
        // Half of the window at most, so that a set full of timeouts leaves room for what is new.
        let may_retry = self.retries.trying() < (self.gate.window() / 2).max(1);
        if may_retry && let Some(entry) = self.retries.take_due(now.unix) {
            return Next::Again(entry);
        }
        // Each new delivery may need a place in the set: without one the cursor stops.
        let room = self.retries.len() + self.fresh_out < RETRIES_MAX;
        if room && self.ledger.len() < LEDGER_MAX {
            match ready {
                Ready::Take(count) => return Next::Fresh(count),
                Ready::At(at) => instant = Some(at),
                Ready::Nothing => {}
            }
        }
        Next::Wait {
            instant,
            unix: self.retries.next_due().filter(|_| may_retry),
        }
    }

    /// A delivery goes out.
    pub(super) fn sent(&mut self, sent: &Sent) {
        self.gate.started(sent.began.instant);
        if sent.retry.is_none() {
            self.ledger.begin(sent.first);
            self.fresh_out += 1;
        }
    }

    /// A try has ended. `dice` is any number, for the jitter.
    pub(super) fn ended(&mut self, sent: &Sent, outcome: &Outcome, now: Now, dice: u64) -> Told {
        let heard = match outcome {
            Outcome::Taken | Outcome::Aborted => Heard::Good,
            Outcome::Lost => Heard::Nothing,
            Outcome::Throttled(after) => Heard::SlowDown(*after),
            Outcome::Failed(_) | Outcome::Gone => Heard::Bad,
        };
        let mut told = Told {
            circuit: self.gate.finished(sent.began.instant, now.instant, heard),
            ..Told::default()
        };
        if sent.retry.is_none() {
            self.fresh_out -= 1;
            self.ledger.settle(sent.first);
        }
        let after = match outcome {
            Outcome::Taken | Outcome::Aborted | Outcome::Lost => {
                self.retries.settle(sent.first);
                if *outcome != Outcome::Lost {
                    self.failing_since = None;
                }
                return told;
            }
            Outcome::Gone => Some(Duration::ZERO),
            Outcome::Throttled(after) | Outcome::Failed(after) => {
                wait_after(sent.attempt(), dice).map(|wait| wait.max(after.unwrap_or_default()))
            }
        };
        if let Some(after) = after {
            self.retries.put(DeliveryRetry {
                first: sent.first,
                last: sent.last,
                attempts: sent.attempt(),
                due: now.unix.plus(after),
                since: sent.retry.map_or(sent.began.unix, |entry| entry.since),
            });
        } else {
            self.retries.settle(sent.first);
            self.exhausted += 1;
            told.exhausted = true;
        }
        let since = *self.failing_since.get_or_insert(sent.began.unix);
        if *outcome == Outcome::Gone {
            told.disabled = self.disable(now.unix, "it answered 410 Gone");
        } else if now.unix.since(since) >= FAILING_MAX {
            told.disabled = self.disable(now.unix, "every delivery failed for 5 days");
        }
        told
    }

    fn disable(&mut self, at: UnixMs, why: &str) -> bool {
        let first = self.disabled.is_none();
        self.disabled.get_or_insert_with(|| (at, why.to_owned()));
        first
    }

    /// Starts an endpoint anew that was disabled; returns whether it was.
    pub(super) fn enable(&mut self) -> bool {
        if self.disabled.take().is_none() {
            return false;
        }
        self.failing_since = None;
        // What is still out reports to the new gate too, which takes an end without a start.
        self.gate = Gate::new(self.pace);
        true
    }

    /// Since when it is disabled, and why.
    #[must_use]
    pub(super) fn disabled(&self) -> Option<&(UnixMs, String)> {
        self.disabled.as_ref()
    }

    /// Its gate, to look at.
    #[must_use]
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// How many deliveries were given up.
    #[must_use]
    pub(super) fn exhausted(&self) -> u64 {
        self.exhausted
    }

    /// Since when every delivery has failed.
    #[must_use]
    pub(super) fn failing_since(&self) -> Option<UnixMs> {
        self.failing_since
    }

    /// How many deliveries wait for another try or are being tried again.
    #[must_use]
    pub(super) fn retries(&self) -> usize {
        self.retries.len()
    }
}

#[cfg(test)]
mod tests;
