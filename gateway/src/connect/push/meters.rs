//! What push links count, by route. What is of connections is counted by [`http2`](crate::connect::http2).

use std::time::{Duration, Instant};

use metrics::{Counter, Histogram, counter, histogram};

use super::service::Read;
use crate::link::Refuses;
use crate::outcome::OutcomeResult;

/// One line in the log for all pushes that are refused so within it.
const ALARM_PAUSE: Duration = Duration::from_secs(10);

/// One link's meters.
#[derive(Debug)]
pub(super) struct Meters {
    route: String,
    accepted: Counter,
    unsent: Counter,
    unknown: Counter,
    latency: Histogram,
    payload: Histogram,
    /// Accepted since the last flush.
    taken: u64,
    /// When it was logged last that somebody has to look.
    alarmed_at: Option<Instant>,
}

impl Meters {
    pub(super) fn new(route: &str) -> Self {
        let outcome = |outcome: &'static str| {
            counter!("trunkline_push_outcomes_total",
                "route" => route.to_owned(), "outcome" => outcome, "reason" => "")
        };
        Self {
            route: route.to_owned(),
            accepted: outcome("accepted"),
            unsent: outcome("not_sent"),
            unknown: outcome("unknown"),
            latency: histogram!("trunkline_push_latency_seconds", "route" => route.to_owned()),
            payload: histogram!("trunkline_push_payload_bytes", "route" => route.to_owned()),
            taken: 0,
            alarmed_at: None,
        }
    }

    /// A push of so many octets goes out.
    pub(super) fn handed(&self, octets: usize) {
        self.payload
            .record(f64::from(u32::try_from(octets).unwrap_or(u32::MAX)));
    }

    pub(super) fn answered(&mut self, read: &Read, latency: Duration) {
        self.latency.record(latency);
        if read.outcome.result == OutcomeResult::Accepted {
            self.taken += 1;
            return;
        }
        counter!("trunkline_push_outcomes_total",
            "route" => self.route.clone(), "outcome" => "rejected", "reason" => read.label)
        .increment(1);
        if read.is_repeated() {
            counter!("trunkline_push_retry_total",
                "route" => self.route.clone(), "class" => read.class.name())
            .increment(1);
        }
    }

    pub(super) fn unsent(&self) {
        self.unsent.increment(1);
    }

    pub(super) fn unknown(&self) {
        self.unknown.increment(1);
    }

    /// A token of this app was called bad, and that was not believed.
    pub(super) fn distrusted(&mut self, now: Instant, app: &str, reason: &'static str) {
        counter!("trunkline_push_guarded_total", "route" => self.route.clone()).increment(1);
        if self.is_alarm_due(now) {
            tracing::error!(
                route = self.route,
                app = %app.escape_debug(),
                reason,
                "too many of an app's tokens are called bad: no device.unregistered is told until that has \
                 passed; are environment, key, project and topic the right ones?"
            );
        }
    }

    /// The whole route waits because its service said so often enough.
    pub(super) fn waits(&self, wait: Duration, why: Refuses) {
        let why = match why {
            Refuses::Quota => "too_many",
            Refuses::Busy => "busy",
        };
        counter!("trunkline_push_waits_total", "route" => self.route.clone(), "why" => why)
            .increment(1);
        tracing::warn!(
            route = self.route,
            why,
            wait_ms = wait.as_millis(),
            "the push service refuses different devices in a row: the route waits"
        );
    }

    fn is_alarm_due(&mut self, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < ALARM_PAUSE;
        let due = !self.alarmed_at.is_some_and(lately);
        if due {
            self.alarmed_at = Some(now);
        }
        due
    }

    /// Somebody has to look.
    pub(super) fn alarm(&self, reason: &'static str) {
        counter!("trunkline_push_alarms_total", "route" => self.route.clone(), "reason" => reason)
            .increment(1);
    }

    /// The service refuses an app's settings, or our request: somebody has to look.
    pub(super) fn refused(&mut self, now: Instant, reason: &'static str) {
        self.alarm(reason);
        if self.is_alarm_due(now) {
            tracing::error!(
                route = self.route,
                reason,
                "the push service refuses an app's topic or our request; \
                 trunkline_push_alarms_total counts them"
            );
        }
    }

    /// The route has stopped.
    pub(super) fn stopped(&self) {
        self.alarm("stopped");
    }

    pub(super) fn flush(&mut self) {
        self.accepted.increment(std::mem::take(&mut self.taken));
    }
}
