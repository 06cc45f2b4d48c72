//! Limits: what keeps a route from sending now, and until when. Pure; time is an argument.
//!
//! ```text
//!  the peer says           the whole route                      one destination
//!  too many                pauses, then slower, fewer out       -
//!  full, the first time    pauses                               -
//!  full again              as too many, unless others go        waits 1 to 5 min
//!  how full it is, in %    slower from 90 on; 100: as too many  -
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::link::Refuses;
use crate::message::steps::Destination;
use crate::outcome::HoldReason;

pub mod budget;
pub mod full;
pub mod pace;
pub mod quota;
pub mod rate;
pub mod throttle;
pub mod window;

use budget::Budget;
use full::{Full, Whose};
use pace::{CONGESTION_FULL, Configured, LimitedBy, Pace, Tuning};
use rate::When;
use throttle::{Pauses, Throttle};
use window::Windows;

/// Windows grow by clean seconds (smpp.md §3.4).
const SECOND: Duration = Duration::from_secs(1);

/// What a route is held to, and how it backs off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Config {
    /// Its contracted rate in units; `None`: as fast as the windows allow.
    pub rate: Option<Configured>,
    /// How the rate falls and rises.
    pub tuning: Tuning,
    /// How long it pauses.
    pub pauses: Pauses,
    /// Further tries that it may make, as a share of what it sends first; `None`: all of them.
    pub retry_share: Option<f64>,
}

/// An attempt that the peer refused because it was one too many.
#[derive(Clone, Copy, Debug)]
pub struct TooMany {
    /// When it was sent.
    pub sent: Instant,
    /// Where to.
    pub to: Destination,
    /// Whether it may have no room for the destination alone ([`crate::outcome::Retry::Full`]).
    pub full: bool,
    /// A number that differs from one to the next, for jitter.
    pub random: u64,
}

/// A route's limits.
#[derive(Clone, Debug)]
pub struct Limits {
    /// What its links have out and may have.
    pub windows: Windows,
    /// The further tries that it may make.
    pub budget: Option<Budget>,
    /// What it may send together with other routes.
    pub quota: Option<Arc<quota::Shared>>,
    /// Until when the peer refuses whatever comes of the account, as a link has told, and why.
    refusing: Option<(Instant, Refuses)>,
    pace: Pace,
    throttle: Throttle,
    full: Full,
    /// Units taken by the peer since [`Limits::answered`].
    taken: u32,
    /// When the windows grew last, or could not.
    grew: Option<Instant>,
}

impl Limits {
    /// For a route with so many links, all of them down.
    #[must_use]
    pub fn new(config: Config, links: usize) -> Self {
        Self {
            windows: Windows::new(links),
            budget: config.retry_share.map(Budget::new),
            quota: None,
            refusing: None,
            pace: Pace::new(config.rate, config.tuning),
            throttle: Throttle::new(config.pauses),
            full: Full::default(),
            taken: 0,
            grew: None,
        }
    }

    /// Takes the cost of so many units; else says what has none left, and when to ask again.
    pub fn take(&mut self, now: Instant, units: u32) -> Option<(HoldReason, Instant)> {
        if let When::At(at) = self.pace.take(now, units) {
            return Some((HoldReason::Rate, at));
        }
        let quota = self.quota.as_ref()?;
        match quota.with(|quota| quota.take(now, units)) {
            When::Now => None,
            When::At(at) => {
                self.pace.give_back(units);
                Some((HoldReason::Quota, at))
            }
        }
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, units: u32) {
        self.pace.give_back(units);
        self.not_counted(units);
    }

    /// The peer refused an attempt as one too many that waits alone: the route does not pause for it.
    pub fn throttled(&mut self, now: Instant, units: u32) {
        self.throttle.saw(now);
        self.not_counted(units);
    }

    /// The service does not count what it refused as too many.
    pub fn not_counted(&mut self, units: u32) {
        if let Some(quota) = &self.quota {
            quota.with(|quota| quota.give_back(units));
        }
    }

    /// The peer took a part of so many units. Some of them are followed by [`Limits::answered`].
    pub fn accepted(&mut self, to: Destination, units: u32) {
        self.taken = self.taken.saturating_add(units);
        self.full.accepted(to);
    }

    /// All answers that came at once have been told.
    pub fn answered(&mut self, now: Instant) {
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            self.pace.accepted(now, taken);
        }
    }

    /// The peer refused an attempt as one too many. Says for how many minutes its destination is to
    /// wait; `None`: it waits with its route.
    pub fn refused(&mut self, now: Instant, refused: TooMany) -> Option<u8> {
        let whose = match refused.full {
            true => self.full.refused(now, refused.sent, refused.to),
            false => Whose::Route,
        };
        let minutes = match whose {
            Whose::Destination { minutes } => return Some(minutes),
            Whose::Both { minutes } => Some(minutes),
            Whose::Route => None,
        };
        let pauses = self.throttle.throttled(now, refused.sent, refused.random);
        // What was full once may be one destination: it costs a pause, and not the rate.
        let told = !refused.full || minutes.is_some();
        if pauses && told {
            self.slow_down(now);
        }
        minutes
    }

    /// The peer told in an answer how full it is, 0 to 100.
    pub fn congested(&mut self, now: Instant, state: u8, random: u64) {
        self.pace.congested(now, state);
        if state == CONGESTION_FULL && self.throttle.throttled(now, now, random) {
            self.slow_down(now);
        }
    }

    /// The peer refuses whatever comes of the account until then: the links take nothing meanwhile.
    pub fn refusing(&mut self, until: Instant, why: Refuses) {
        self.refusing = Some((until, why));
        if let (Refuses::Quota, Some(quota)) = (why, &self.quota) {
            quota.with(|quota| quota.stop(until));
        }
    }

    /// It does so no longer.
    pub fn takes_again(&mut self) {
        let refusing = self.refusing.take();
        if let (Some((_, Refuses::Quota)), Some(quota)) = (refusing, &self.quota) {
            quota.with(quota::Quota::go_on);
        }
    }

    /// Why the links take nothing more.
    #[must_use]
    pub fn full(&self, now: Instant) -> HoldReason {
        match self.refusing.filter(|(until, _)| now < *until) {
            Some((_, Refuses::Quota)) => HoldReason::Quota,
            Some((_, Refuses::Busy)) => HoldReason::Throttled,
            None => HoldReason::Window,
        }
    }

    fn slow_down(&mut self, now: Instant) {
        self.pace.throttled(now);
        self.windows.shrink();
    }

    /// Time has passed: several times a second.
    pub fn step(&mut self, now: Instant) {
        let paused = self.paused(now).is_some();
        self.pace.step(now, paused);
        self.full.step(now);
        let grew = *self.grew.get_or_insert(now);
        if paused {
            self.grew = Some(now);
        } else if now.saturating_duration_since(grew) >= SECOND {
            self.windows.grow();
            self.grew = Some(now);
        }
    }

    /// Until when nothing goes out, as the peer or its service wants it.
    #[must_use]
    pub fn waits(&self, now: Instant) -> Option<Instant> {
        let refusing = self.refusing.map(|(until, _)| until);
        let quota = self.quota.as_ref();
        let stopped = quota.and_then(|quota| quota.with(|quota| quota.stopped()));
        let waits = refusing.max(stopped).filter(|until| now < *until);
        self.paused(now).max(waits)
    }

    /// Until when the route pauses, if it does.
    #[must_use]
    pub fn paused(&self, now: Instant) -> Option<Instant> {
        self.throttle.until(now)
    }

    /// Units per second that it sends at most when it does not pause; `None`: no limit.
    #[must_use]
    pub fn rate_now(&self) -> Option<f64> {
        let quota = self.quota.as_ref();
        let quota = quota.map(|quota| quota.with(|quota| quota.rate_now()));
        let pace = self.pace.effective();
        quota
            .map(|quota| pace.map_or(quota, |pace| pace.min(quota)))
            .or(pace)
    }

    /// What makes its rate less than the configured one.
    #[must_use]
    pub fn limited_by(&self) -> Option<LimitedBy> {
        let quota = self.quota.as_ref();
        let ramps = quota.is_some_and(|quota| quota.with(|quota| quota.is_ramping()));
        let ramp = ramps.then_some(LimitedBy::Ramp);
        self.pace.limited_by().or(ramp)
    }

    /// Attempts throttled in the last minute.
    #[must_use]
    pub fn throttled_last_minute(&mut self, now: Instant) -> u64 {
        self.throttle.last_minute(now)
    }

    /// Destinations that wait because the peer has no room for them.
    #[must_use]
    pub fn destinations_waiting(&self, now: Instant) -> usize {
        self.full.waiting(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Phone;

    #[test]
    fn a_destination_that_is_full_costs_a_pause_and_not_the_rate() {
        let config = Config {
            rate: Some(Configured {
                per_second: 100.0,
                burst: 10,
            }),
            ..Config::default()
        };
        let mut limits = Limits::new(config, 1);
        let to =
            |number: u64| Destination::of(Phone::parse(&format!("+4670123456{number}")).unwrap());
        let mut now = Instant::now();
        let mut refused = |limits: &mut Limits, full| {
            now += 2 * SECOND;
            let (sent, to, random) = (now, to(7), 0);
            let refused = TooMany {
                sent,
                to,
                full,
                random,
            };
            let minutes = limits.refused(now, refused);
            (minutes, limits.paused(now).is_some(), limits.rate_now())
        };
        assert_eq!(refused(&mut limits, true), (None, true, Some(100.0)));
        limits.accepted(to(8), 1);
        assert_eq!(refused(&mut limits, true), (Some(1), false, Some(100.0)));
        // The peer takes nobody else's either.
        let (minutes, paused, rate) = refused(&mut limits, true);
        assert_eq!((minutes, paused), (Some(2), true));
        assert!(rate < Some(100.0));
        let mut other = Limits::new(config, 1);
        let (minutes, paused, rate) = refused(&mut other, false);
        assert_eq!((minutes, paused), (None, true));
        assert!(rate < Some(100.0));
    }
}
