//! What a link counts. Counts are gathered per turn of its loop and added up once.

use std::time::Duration;

use codecs::smpp::Quirks;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use rustc_hash::FxHashMap;

/// One answer in so many is timed, and the first of every turn: a histogram sample costs as much as
/// a PDU. At low rates every answer is the first of its turn.
const TIMED_EVERY: u32 = 16;

/// A link's state, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    Connecting,
    Bound,
    Waiting,
    TooMany,
    Stopped,
    Unused,
    Listening,
}

impl LinkState {
    fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Bound => "bound",
            Self::Waiting => "waiting",
            Self::TooMany => "too_many",
            Self::Stopped => "stopped",
            Self::Unused => "unused",
            Self::Listening => "listening",
        }
    }
}

macro_rules! tallies {
    ($($name:ident: $metric:literal $(, $label:literal = $value:literal)*;)*) => {
        /// Counts of one turn.
        #[derive(Debug, Default)]
        pub(super) struct Tally { $(pub(super) $name: u64),* }

        struct Totals { $($name: Counter),* }

        impl Totals {
            fn new(route: &str) -> Self {
                Self { $($name: counter!($metric, "route" => route.to_owned() $(, $label => $value)*)),* }
            }

            fn add(&self, tally: &mut Tally) {
                $(if tally.$name != 0 { self.$name.increment(tally.$name); })*
                *tally = Tally::default();
            }
        }
    };
}

tallies! {
    submits: "trunkline_smpp_pdus_total", "direction" = "out", "pdu" = "submit_sm";
    answers: "trunkline_smpp_pdus_total", "direction" = "in", "pdu" = "submit_sm_resp";
    delivers: "trunkline_smpp_pdus_total", "direction" = "in", "pdu" = "deliver_sm";
    acks: "trunkline_smpp_pdus_total", "direction" = "out", "pdu" = "deliver_sm_resp";
    accepted: "trunkline_attempts_total", "result" = "accepted";
    refused: "trunkline_attempts_total", "result" = "refused";
    unknown: "trunkline_attempts_total", "result" = "unknown";
    not_sent: "trunkline_attempts_total", "result" = "not_sent";
    late: "trunkline_smpp_late_answers_total";
    receipts: "trunkline_smpp_receipts_total", "result" = "read";
    unreadable: "trunkline_smpp_receipts_total", "result" = "unreadable";
    not_stored: "trunkline_smpp_receipts_total", "result" = "not_stored";
    inbound: "trunkline_smpp_inbound_total", "result" = "read";
    inbound_not_stored: "trunkline_smpp_inbound_total", "result" = "not_stored";
    binds: "trunkline_smpp_binds_total", "result" = "bound";
    bind_failures: "trunkline_smpp_binds_total", "result" = "failed";
    alarms: "trunkline_smpp_config_alarms_total";
    panics: "trunkline_smpp_panics_total";
}

/// A link's meters.
pub(super) struct Meters {
    route: String,
    pub(super) tally: Tally,
    totals: Totals,
    duration: Histogram,
    round_trip: Histogram,
    timed: u32,
    quirks: FxHashMap<&'static str, Counter>,
    state: Option<(LinkState, Gauge)>,
}

impl Meters {
    pub(super) fn new(route: &str) -> Self {
        Self {
            route: route.to_owned(),
            tally: Tally::default(),
            totals: Totals::new(route),
            duration: histogram!(
                "trunkline_attempt_duration_seconds",
                "route" => route.to_owned()
            ),
            round_trip: histogram!(
                "trunkline_smpp_enquire_link_seconds",
                "route" => route.to_owned()
            ),
            timed: 0,
            quirks: FxHashMap::default(),
            state: None,
        }
    }

    /// Takes the ledger's counts of answers, by result.
    pub(super) fn results(&mut self, results: &mut [u64; 4]) {
        let [accepted, refused, unknown, not_sent] = std::mem::take(results);
        self.tally.accepted += accepted;
        self.tally.refused += refused;
        self.tally.unknown += unknown;
        self.tally.not_sent += not_sent;
    }

    /// An answer took so long.
    pub(super) fn took(&mut self, latency: Duration) {
        if self.timed.is_multiple_of(TIMED_EVERY) {
            self.duration.record(latency.as_secs_f64());
        }
        self.timed = self.timed.wrapping_add(1);
    }

    /// An enquire_link was answered.
    pub(super) fn alive(&self, round_trip: Duration) {
        self.round_trip.record(round_trip.as_secs_f64());
    }

    /// The peer deviates in none, one or several ways.
    #[inline]
    pub(super) fn quirks(&mut self, quirks: Quirks) {
        if quirks.is_empty() {
            return;
        }
        for name in quirks.names() {
            self.quirk(name);
        }
    }

    /// The peer deviates. The names are the codec's: a bounded set.
    pub(super) fn quirk(&mut self, name: &'static str) {
        let route = &self.route;
        self.quirks
            .entry(name)
            .or_insert_with(|| {
                counter!("trunkline_smpp_quirks_total", "route" => route.clone(), "quirk" => name)
            })
            .increment(1);
    }

    /// The link's state changes.
    pub(super) fn state(&mut self, state: LinkState) {
        if self.state.as_ref().is_some_and(|(old, _)| *old == state) {
            return;
        }
        let gauge = gauge!(
            "trunkline_smpp_sessions",
            "route" => self.route.clone(), "state" => state.name()
        );
        gauge.increment(1.0);
        if let Some((_, old)) = self.state.replace((state, gauge)) {
            old.decrement(1.0);
        }
    }

    /// Adds a turn's counts up.
    pub(super) fn flush(&mut self) {
        self.totals.add(&mut self.tally);
        self.timed = 0;
    }
}

impl Drop for Meters {
    fn drop(&mut self) {
        self.flush();
        if let Some((_, gauge)) = self.state.take() {
            gauge.decrement(1.0);
        }
    }
}
