//! What a dispatcher counts and shows of its pace.

use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};

use super::view::PaceState;

/// One route's meters.
pub(super) struct Meters {
    throttled: Counter,
    queue_full: Counter,
    rate: Gauge,
    window: Gauge,
    paused: Gauge,
    waiting: Gauge,
    behind: Gauge,
    oldest: Gauge,
}

impl Meters {
    pub(super) fn new(route: &str) -> Self {
        let route = || route.to_owned();
        let throttled =
            |by| counter!("trunkline_route_throttled_total", "route" => route(), "by" => by);
        Self {
            throttled: throttled("throttled"),
            queue_full: throttled("queue_full"),
            rate: gauge!("trunkline_route_rate_effective", "route" => route()),
            window: gauge!("trunkline_route_window_effective", "route" => route()),
            paused: gauge!("trunkline_route_paused", "route" => route()),
            waiting: gauge!("trunkline_route_destinations_waiting", "route" => route()),
            behind: gauge!("trunkline_route_messages_behind", "route" => route()),
            oldest: gauge!("trunkline_route_queue_oldest_seconds", "route" => route()),
        }
    }

    /// The peer refused an attempt as one too many, or as having no room for it.
    pub(super) fn throttled(&self, full: bool) {
        if full {
            self.queue_full.increment(1);
        } else {
            self.throttled.increment(1);
        }
    }

    /// Shows what a push route may try again at once, and how much more of it is due.
    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floats; 2^53 is enough"
    )]
    pub(super) fn budget(&self, route: &str, left: f64, waiting: usize) {
        gauge!("trunkline_push_retry_budget", "route" => route.to_owned()).set(left);
        gauge!("trunkline_push_retry_budget_waiting", "route" => route.to_owned())
            .set(waiting as f64);
    }

    /// Shows what share of a project's quota the last minute took.
    pub(super) fn quota(&self, project: &str, used: f64) {
        gauge!("trunkline_fcm_quota_used", "project" => project.to_owned()).set(used);
    }

    /// Shows how the route is paced, and the age of what waits for it. A route without a limit shows an
    /// infinite rate.
    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floats; 2^53 is enough"
    )]
    pub(super) fn show(&self, pace: &PaceState, oldest: Option<Duration>) {
        self.oldest.set(oldest.unwrap_or_default().as_secs_f64());
        self.rate.set(pace.rate_now.unwrap_or(f64::INFINITY));
        self.window.set(pace.window_now as f64);
        self.paused
            .set(f64::from(u8::from(pace.paused_until.is_some())));
        self.waiting.set(pace.destinations_waiting as f64);
        self.behind.set(pace.behind as f64);
    }
}
