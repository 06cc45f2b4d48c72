//! The credentials' metrics: one place that knows their names.

use crate::connect::credentials::skew::Measure;

/// Counts and shows one credential.
#[derive(Clone, Debug)]
pub(super) struct Meters {
    credential: String,
}

impl Meters {
    /// Meters of the credential that goes by this name: from the config, or a route's.
    pub(super) fn new(credential: impl Into<String>) -> Self {
        Self {
            credential: credential.into(),
        }
    }

    /// How old the token in use is.
    pub(super) fn age(&self, seconds: f64) {
        let credential = self.credential.clone();
        metrics::gauge!("trunkline_push_token_age_seconds", "credential" => credential)
            .set(seconds);
    }

    /// A token was renewed, or was not.
    pub(super) fn refreshed(&self, result: &'static str) {
        let credential = self.credential.clone();
        metrics::counter!(
            "trunkline_push_token_refresh_total",
            "credential" => credential, "result" => result
        )
        .increment(1);
    }

    /// A changed file was read.
    pub(super) fn reloaded(&self, good: bool) {
        let result = if good { "ok" } else { "bad" };
        let credential = self.credential.clone();
        metrics::counter!(
            "trunkline_push_credential_reloads_total",
            "credential" => credential, "result" => result
        )
        .increment(1);
    }

    /// Something that somebody has to look at.
    pub(super) fn alarm(&self, alarm: &'static str) {
        let credential = self.credential.clone();
        metrics::counter!(
            "trunkline_push_credential_alarms_total",
            "credential" => credential, "alarm" => alarm
        )
        .increment(1);
    }

    /// How long the route's certificate lasts.
    pub(super) fn days_left(&self, days: f64) {
        let route = self.credential.clone();
        metrics::gauge!("trunkline_certificate_expiry_days", "route" => route).set(days);
    }

    /// How far this machine's clock is off; raises the alarm if that is due.
    pub(super) fn skew(&self, measure: Measure) {
        let seconds = measure.seconds;
        let credential = self.credential.clone();
        // Hours at most that matter: exact as f64.
        let shown = i32::try_from(seconds.clamp(-1_000_000, 1_000_000)).unwrap_or_default();
        metrics::gauge!("trunkline_push_clock_skew_seconds", "credential" => credential)
            .set(f64::from(shown));
        if measure.alarm {
            self.alarm("clock");
            tracing::error!(
                credential = self.credential,
                seconds,
                "this machine's clock is off by the push service's (positive: ahead): tokens made by \
                 it will be refused; check NTP"
            );
        }
    }
}
