//! What connections to a push service count, by route.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::fate::Fate;

/// What happened to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Open,
    GoAway,
    Fence,
    Io,
    Age,
}

impl Happened {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::GoAway => "goaway",
            Self::Fence => "fence",
            Self::Io => "io",
            Self::Age => "age",
        }
    }
}

/// One connection's meters: gauges show the sum of a route's connections.
pub struct Meters {
    route: String,
    answered: Counter,
    unsent: Counter,
    unknown: Counter,
    /// Since the last flush, in the order of the three above.
    fates: [u64; 3],
    limit: (usize, Gauge),
    in_flight: (usize, Gauge),
    round_trip: Histogram,
}

impl Meters {
    /// Meters for a connection of a route.
    #[must_use]
    pub fn new(route: &str) -> Self {
        let fate = |fate| counter!("trunkline_push_requests_total", "route" => route.to_owned(), "fate" => fate);
        let label = || route.to_owned();
        Self {
            answered: fate("answered"),
            unsent: fate("unsent"),
            unknown: fate("unknown"),
            fates: [0; 3],
            limit: (0, gauge!("trunkline_push_stream_limit", "route" => label())),
            in_flight: (0, gauge!("trunkline_push_in_flight", "route" => label())),
            round_trip: histogram!("trunkline_push_ping_seconds", "route" => label()),
            route: label(),
        }
    }

    pub(super) fn happened(&self, event: Happened) {
        let route = self.route.clone();
        counter!("trunkline_push_connections_total", "route" => route, "event" => event.name())
            .increment(1);
    }

    /// `reason` is one of a bounded set.
    pub(super) fn went_away(&self, reason: &'static str) {
        let route = self.route.clone();
        counter!("trunkline_push_goaway_total", "route" => route, "reason" => reason).increment(1);
    }

    pub(super) fn ended(&mut self, fate: &Fate) {
        let [answered, unsent, unknown] = &mut self.fates;
        *match fate {
            Fate::Answered(_) => answered,
            Fate::Unsent(_) => unsent,
            Fate::Unknown(_) => unknown,
        } += 1;
    }

    pub(super) fn ponged(&self, round_trip: Duration) {
        self.round_trip.record(round_trip.as_secs_f64());
    }

    /// Adds a turn's counts up.
    pub(super) fn flush(&mut self, limit: usize, in_flight: usize) {
        let [answered, unsent, unknown] = std::mem::take(&mut self.fates);
        for (counter, count) in [
            (&self.answered, answered),
            (&self.unsent, unsent),
            (&self.unknown, unknown),
        ] {
            if count != 0 {
                counter.increment(count);
            }
        }
        moves(&mut self.limit, limit);
        moves(&mut self.in_flight, in_flight);
    }
}

/// Changes a gauge that several share by what changed here.
fn moves((shown, gauge): &mut (usize, Gauge), to: usize) {
    let step = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    if to > *shown {
        gauge.increment(step(to - *shown));
    } else if to < *shown {
        gauge.decrement(step(*shown - to));
    }
    *shown = to;
}

impl Drop for Meters {
    fn drop(&mut self) {
        self.flush(0, 0);
    }
}
