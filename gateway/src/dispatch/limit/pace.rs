//! Pace: the rate that a route really sends at, between what the config allows and what the peer
//! shows that it takes. Pure; time is an argument.
//!
//! ```text
//!  units/s
//!  configured ─────┐ throttled                                      ┌──── the ceiling is forgotten
//!                  │                      ╭─ ceiling ──▒▒▒▒▒▒▒▒▒▒▒▒▒▒
//!                  └─ × 0.7 ─╱ +2 %/s ────╯  creeps around it
//! ```
//! Design: AIMD (smpp.md §3.4). The decrease starts from what the peer was seen to take in the last
//! second, so that a route whose config is far off finds the peer's limit with one throttle and
//! not with ten. Where the peer throttled is remembered as a ceiling and approached slowly: the
//! plain +2 %/s of a configured rate far above it would run into it every other second.

use std::time::{Duration, Instant};

use super::rate::{Rate, When};

/// A ceiling is approached at full speed up to this share of it, and forgotten beyond the other one.
/// Chosen: one peer's second-by-second counting is noise of about a tenth.
const CEILING_NEAR: f64 = 0.9;
const CEILING_PAST: f64 = 1.1;
/// Around a ceiling the rate rises by this share of the full speed. Chosen: 0.5 %/s of the ceiling, so
/// that it comes back to it after the 30 s that make the next pause a short one.
const CREEP: f64 = 0.25;
/// A route without a configured rate is unlimited again at so many times the rate that it was first
/// throttled at. Chosen: a minute after the last throttle.
const FREE_AT: f64 = 2.0;
/// No limit is below one a second (chosen: that finds out when the peer has recovered), or below
/// this share of a configured rate of less than ten a second.
const FLOOR_PER_SECOND: f64 = 1.0;
const FLOOR: f64 = 0.1;
/// While limited a burst is so much of a second's worth. Chosen: a peer that counts by seconds sees
/// a tenth more than the rate at most.
const BURST: f64 = 0.1;

/// congestion_state from which on the peer is as full as it wants to be: the rate stands.
/// smpp.md §3.4 (80 to 89 is the optimum).
const CONGESTION_OPTIMUM: u8 = 80;
/// congestion_state from which on the rate is reduced. smpp.md §3.4.
const CONGESTION_NEAR: u8 = 90;
/// congestion_state that counts as throttled. smpp.md §3.4.
pub const CONGESTION_FULL: u8 = 100;
/// What is left of the rate after a second near congestion. smpp.md §3.4: 10 %/s.
const CONGESTION_DECREASE: f64 = 0.9;
/// What a peer said of its congestion counts for so long. Chosen.
const CONGESTION_HOLDS: Duration = Duration::from_secs(5);

/// How a rate falls and rises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// What a throttle leaves of the rate, above 0 and below 1. smpp.md §3.4: 0.7.
    pub decrease: f64,
    /// What a clean second adds, as a share of the configured rate. smpp.md §3.4: 0.02.
    pub recovery: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            decrease: 0.7,
            recovery: 0.02,
        }
    }
}

/// A rate in the config.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Configured {
    /// Units per second.
    pub per_second: f64,
    /// Units that may go at once.
    pub burst: u32,
}

/// What made the rate less than the configured one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// The peer throttled.
    Throttled,
    /// The peer told that it is near congestion.
    Congestion,
    /// The project's quota begins below all of it.
    Ramp,
}

impl LimitedBy {
    /// Its word in views.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Congestion => "congestion",
            Self::Ramp => "ramp",
        }
    }
}

/// A route's pace.
#[derive(Clone, Debug)]
pub struct Pace {
    tuning: Tuning,
    configured: Option<Configured>,
    rate: Option<Rate>,
    limit: Option<Limit>,
    accepted: Trail,
    congestion: Option<(u8, Instant)>,
    stepped: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    per_second: f64,
    /// What recovery is a share of: the configured rate, or the one it was first throttled at.
    base: f64,
    ceiling: Option<f64>,
    by: LimitedBy,
}

impl Pace {
    /// As the config says; `None`: as fast as the windows allow.
    #[must_use]
    pub fn new(configured: Option<Configured>, tuning: Tuning) -> Self {
        let rate = configured.map(|rate| Rate::per_second_of(rate.per_second, rate.burst));
        Self {
            tuning,
            configured,
            rate,
            limit: None,
            accepted: Trail::default(),
            congestion: None,
            stepped: None,
        }
    }

    /// Takes the cost of `units`, or says when to ask again.
    pub fn take(&mut self, now: Instant, units: u32) -> When {
        match &mut self.rate {
            Some(rate) => rate.take(now, units),
            None => When::Now,
        }
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, units: u32) {
        if let Some(rate) = &mut self.rate {
            rate.give_back(units);
        }
    }

    /// The peer took so many.
    pub fn accepted(&mut self, now: Instant, units: u32) {
        self.accepted.add(now, f64::from(units));
    }

    /// The peer throttled, and a pause begins.
    pub fn throttled(&mut self, now: Instant) {
        self.fall(now, self.tuning.decrease, LimitedBy::Throttled);
        self.stepped = Some(now);
    }

    /// The peer told its congestion_state. Above 100 is no state (smpp.md §3.4) and is passed over.
    pub fn congested(&mut self, now: Instant, state: u8) {
        if state <= CONGESTION_FULL {
            self.congestion = Some((state, now));
        }
    }

    /// The rate becomes `share` of what it is, or of what the peer was seen to take.
    fn fall(&mut self, now: Instant, share: f64, by: LimitedBy) {
        let seen = self.accepted.sum(now);
        // Nothing was taken: then it is not known how much would have been.
        let known = by == LimitedBy::Throttled && seen > 0.0;
        let seen = seen.max(FLOOR_PER_SECOND);
        let configured = self.configured.map(|rate| rate.per_second);
        let current = self.limit.map(|limit| limit.per_second).or(configured);
        let from = match current {
            Some(current) if known => current.min(seen),
            Some(current) => current,
            None => seen,
        };
        let base = self.limit.map(|limit| limit.base).or(configured);
        let base = base.unwrap_or(from);
        let before = self.limit.and_then(|limit| limit.ceiling);
        let ceiling = match by {
            LimitedBy::Throttled if known || current.is_none() => Some(from),
            LimitedBy::Throttled => before.map(|ceiling| ceiling.min(from)),
            LimitedBy::Congestion | LimitedBy::Ramp => before,
        };
        let slow = configured.map_or(FLOOR_PER_SECOND, |rate| rate * FLOOR);
        let floor = slow.min(FLOOR_PER_SECOND);
        self.set(Limit {
            per_second: (from * share).max(floor),
            base,
            ceiling,
            by,
        });
    }

    /// Time has passed: rises while all is well, falls near congestion. `paused`: neither.
    pub fn step(&mut self, now: Instant, paused: bool) {
        let before = self.stepped.replace(now).unwrap_or(now);
        if paused {
            return;
        }
        let passed = now.saturating_duration_since(before).as_secs_f64();
        let told = self
            .congestion
            .filter(|(_, at)| now.saturating_duration_since(*at) <= CONGESTION_HOLDS);
        match told.map_or(0, |(state, _)| state) {
            CONGESTION_NEAR.. => {
                let share = CONGESTION_DECREASE.powf(passed);
                self.fall(now, share, LimitedBy::Congestion);
            }
            CONGESTION_OPTIMUM.. => {}
            _ => self.rise(passed),
        }
    }

    fn rise(&mut self, seconds: f64) {
        let Some(mut limit) = self.limit else { return };
        let speed = match limit.ceiling {
            Some(ceiling) if limit.per_second >= ceiling * CEILING_NEAR => ceiling * CREEP,
            _ => limit.base,
        };
        limit.per_second += speed * self.tuning.recovery * seconds;
        let past = |ceiling: &f64| limit.per_second <= *ceiling * CEILING_PAST;
        limit.ceiling = limit.ceiling.filter(past);
        let free = match self.configured {
            Some(rate) => limit.per_second >= rate.per_second,
            None => limit.ceiling.is_none() && limit.per_second >= limit.base * FREE_AT,
        };
        if !free {
            return self.set(limit);
        }
        self.limit = None;
        match (&mut self.rate, self.configured) {
            (Some(rate), Some(as_it_was)) => rate.set(as_it_was.per_second, as_it_was.burst),
            _ => self.rate = None,
        }
    }

    fn set(&mut self, limit: Limit) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast to an integer saturates"
        )]
        let tenth = (limit.per_second * BURST) as u32;
        let burst = self.configured.map_or(u32::MAX, |rate| rate.burst);
        let burst = tenth.clamp(1, burst.max(1));
        match &mut self.rate {
            Some(rate) => rate.set(limit.per_second, burst),
            None => self.rate = Some(Rate::per_second_of(limit.per_second, burst)),
        }
        self.limit = Some(limit);
    }

    /// Units per second that it sends at most; `None`: no limit.
    #[must_use]
    pub fn effective(&self) -> Option<f64> {
        let configured = self.configured.map(|rate| rate.per_second);
        self.limit.map(|limit| limit.per_second).or(configured)
    }

    /// What makes it less than configured; `None`: nothing.
    #[must_use]
    pub fn limited_by(&self) -> Option<LimitedBy> {
        self.limit.map(|limit| limit.by)
    }
}

/// A second is summed up from so many parts; the running one is not whole.
const PARTS: u8 = 16;
const PART: Duration = Duration::from_micros(1_000_000 / PARTS as u64);

/// What came in the last second.
#[derive(Clone, Debug, Default)]
struct Trail {
    start: Option<Instant>,
    last: u128,
    sums: [f64; PARTS as usize],
}

impl Trail {
    fn turn(&mut self, now: Instant) -> usize {
        let start = *self.start.get_or_insert(now);
        let at = now.saturating_duration_since(start).as_micros() / PART.as_micros();
        let passed = at.saturating_sub(self.last).min(PARTS.into());
        for back in 0..passed {
            self.sums[place(at - back)] = 0.0;
        }
        self.last = self.last.max(at);
        place(self.last)
    }

    fn add(&mut self, now: Instant, count: f64) {
        let place = self.turn(now);
        self.sums[place] += count;
    }

    fn sum(&mut self, now: Instant) -> f64 {
        self.turn(now);
        self.sums.iter().sum()
    }
}

fn place(part: u128) -> usize {
    usize::try_from(part % u128::from(PARTS)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
