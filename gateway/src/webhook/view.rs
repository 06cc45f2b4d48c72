//! What an endpoint shows of itself: a snapshot for people and its metrics.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;
use serde::Serialize;

use super::course::{Course, Outcome};
use super::post::Answer;
use crate::clock::UnixMs;

/// How an endpoint is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It gets its events.
    #[default]
    Active,
    /// It asked for less, and gets less for a while.
    Throttled,
    /// Its deliveries fail: new ones are held, one probe goes out at a time.
    Held,
    /// It gets nothing until it is enabled.
    Disabled,
    /// Its task ended by a fault of ours; a restart starts it again.
    Stopped,
}

/// A snapshot of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointView {
    /// Its name.
    pub name: String,
    /// How it is doing.
    pub condition: Condition,
    /// Everything up to this event was delivered, waits for a retry, or was given up.
    pub cursor: u64,
    /// Events of the log after the cursor; not all of them are for it.
    pub lag: u64,
    /// Events in its queue.
    pub queued: usize,
    /// POSTs that are out.
    pub in_flight: usize,
    /// Deliveries that wait for a retry.
    pub retries: usize,
    /// Deliveries given up.
    pub exhausted: u64,
    /// Since when it is disabled, and why.
    pub disabled: Option<(UnixMs, String)>,
    /// Since when every delivery has failed.
    pub failing_since: Option<UnixMs>,
    /// The last failure.
    pub last_error: Option<(UnixMs, String)>,
    /// The last success.
    pub last_success: Option<UnixMs>,
}

/// Where a task shows how it is.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<EndpointView>);

impl Shown {
    /// For an endpoint of this name.
    #[must_use]
    pub(super) fn new(name: &str) -> Self {
        Self(Mutex::new(EndpointView {
            name: name.to_owned(),
            ..EndpointView::default()
        }))
    }

    /// A copy of what is shown.
    #[must_use]
    pub(super) fn look(&self) -> EndpointView {
        self.0.lock().clone()
    }

    /// An answer came.
    pub(super) fn answered(&self, answer: &Answer, at: UnixMs) {
        let mut view = self.0.lock();
        if answer.outcome == Outcome::Taken {
            view.last_success = Some(at);
        } else {
            view.last_error = Some((at, answer.detail.clone()));
        }
    }

    /// The task looked around.
    pub(super) fn show(&self, course: &Course, cursor: u64, now: Instant) {
        let gate = course.gate();
        let mut view = self.0.lock();
        view.condition = if course.disabled().is_some() {
            Condition::Disabled
        } else if gate.is_open() {
            Condition::Held
        } else if gate.is_throttled(now) {
            Condition::Throttled
        } else {
            Condition::Active
        };
        view.cursor = cursor;
        view.in_flight = gate.in_flight();
        view.retries = course.retries();
        view.exhausted = course.exhausted();
        view.failing_since = course.failing_since();
        if view.disabled.as_ref() != course.disabled() {
            view.disabled = course.disabled().cloned();
        }
    }

    /// The task has ended by a fault.
    pub(super) fn stopped(&self) {
        self.0.lock().condition = Condition::Stopped;
    }
}

/// The metrics of one endpoint.
pub(super) struct Meters {
    name: String,
    /// By result: a small set of words from the code.
    attempts: HashMap<&'static str, Counter>,
    duration: Histogram,
    lag: Gauge,
    retry_set: Gauge,
    /// Events taken by the endpoint.
    pub events: Counter,
    /// Deliveries given up.
    pub exhausted: Counter,
}

impl Meters {
    /// Of the endpoint of this name.
    #[must_use]
    pub(super) fn new(name: &str) -> Self {
        let label = || [("endpoint", name.to_owned())];
        Self {
            name: name.to_owned(),
            attempts: HashMap::new(),
            duration: metrics::histogram!("trunkline_webhook_duration_seconds", &label()),
            lag: metrics::gauge!("trunkline_webhook_lag_events", &label()),
            retry_set: metrics::gauge!("trunkline_webhook_retry_set", &label()),
            events: metrics::counter!("trunkline_webhook_events_total", &label()),
            exhausted: metrics::counter!("trunkline_webhook_exhausted_total", &label()),
        }
    }

    /// A try ended.
    pub(super) fn posted(&mut self, result: &'static str, took: Duration) {
        let name = &self.name;
        self.attempts
            .entry(result)
            .or_insert_with(|| {
                metrics::counter!("trunkline_webhook_attempts_total",
                    "endpoint" => name.clone(), "result" => result)
            })
            .increment(1);
        self.duration.record(took.as_secs_f64());
    }

    /// How far behind it is, and how many retries wait.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a float; 2^53 events is enough"
    )]
    pub(super) fn state(&self, lag: u64, retries: usize) {
        self.lag.set(lag as f64);
        self.retry_set.set(retries as f64);
    }
}
