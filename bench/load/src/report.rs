//! What a client measured.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart: ten minutes, in microseconds.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Latencies in microseconds, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Self(histogram.expect("invariant: constant bounds are sound"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.record_us(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record_us(&mut self, us: u64) {
        self.0.saturating_record(us.clamp(1, LATENCY_US_MAX));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0
            .add(&other.0)
            .expect("invariant: the bounds are the same");
    }

    pub(crate) fn summary(&self) -> Summary {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Summary {
            count: self.0.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max(),
        }
    }
}

/// Quantiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

/// What one connection saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: BTreeMap<u16, u64>,
    /// Single messages refused without `Retry-After`.
    pub(crate) unexplained: u64,
    pub(crate) errors: u64,
    pub(crate) last_error: Option<String>,
    /// From sending, or in an open loop from when it was meant to be sent, to the answer.
    pub(crate) latencies: Latencies,
    /// In an open loop: how long after its time a message was sent.
    pub(crate) late: Latencies,
    /// Ids of accepted messages, where asked for.
    pub(crate) ids: Vec<String>,
}

impl Tally {
    /// Counts the answer to one message.
    pub(crate) fn answer(&mut self, status: u16) {
        if status == 202 {
            self.accepted += 1;
        } else {
            self.refuse(status, 1);
        }
    }

    pub(crate) fn refuse(&mut self, status: u16, messages: u64) {
        *self.refused.entry(status).or_default() += messages;
    }

    pub(crate) fn error(&mut self, error: &anyhow::Error) {
        self.errors += 1;
        self.last_error = Some(format!("{error:#}"));
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        for (status, count) in other.refused {
            self.refuse(status, count);
        }
        self.unexplained += other.unexplained;
        self.errors += other.errors;
        self.last_error = other.last_error.or_else(|| self.last_error.take());
        self.latencies.add(&other.latencies);
        self.late.add(&other.late);
        self.ids.extend(other.ids);
    }

    /// `seconds` is from the start to the last answer.
    pub(crate) fn report(self, seconds: f64) -> Report {
        let late = self.late.summary();
        Report {
            mode: String::new(),
            class: String::new(),
            sent: self.sent,
            accepted: self.accepted,
            refused: self.refused,
            unexplained: self.unexplained,
            errors: self.errors,
            last_error: self.last_error,
            seconds,
            accepted_per_second: self.accepted as f64 / seconds.max(f64::MIN_POSITIVE),
            latency_us: self.latencies.summary(),
            late_us: (late.count > 0).then_some(late),
            cpu_seconds: 0.0,
            ids: self.ids,
        }
    }
}

/// What all connections of a run saw.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) mode: String,
    pub(crate) class: String,
    pub(crate) sent: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: BTreeMap<u16, u64>,
    pub(crate) unexplained: u64,
    pub(crate) errors: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) accepted_per_second: f64,
    pub(crate) latency_us: Summary,
    pub(crate) late_us: Option<Summary>,
    pub(crate) cpu_seconds: f64,
    #[serde(skip)]
    pub(crate) ids: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut one = Tally {
            sent: 2,
            ..Tally::default()
        };
        one.answer(202);
        one.answer(429);
        one.latencies.record(Duration::from_millis(5));
        let mut all = Tally::default();
        all.add(one);
        let report = all.report(0.5);
        assert_eq!(
            (report.sent, report.accepted, report.refused[&429]),
            (2, 1, 1)
        );
        assert!((report.accepted_per_second - 2.0).abs() < 1e-9);
        assert!((4990..=5010).contains(&report.latency_us.p99));
        assert_eq!(report.late_us, None);
    }
}
