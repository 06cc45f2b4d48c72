//! Metrics: every name, what it counts, and the buckets of its histograms.
//!
//! Labels come from enums or from the config; never from a number, an id or a peer's text.

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Messages durably accepted, by `source` (`single`, `batch`, `ndjson`) and `class`.
pub const MESSAGES_ACCEPTED: &str = "trunkline_messages_accepted_total";
/// Messages answered from an idempotency key, by `source`.
pub const MESSAGES_REPLAYED: &str = "trunkline_messages_replayed_total";
/// Messages refused before anything was stored, by `source` and `code` (the problem's code).
pub const MESSAGES_REFUSED: &str = "trunkline_messages_refused_total";
/// HTTP requests answered, by `path` (the pattern, not the path) and `status`.
pub const HTTP_REQUESTS: &str = "trunkline_http_requests_total";
/// Time from a request's head to its answer's head, by `path`.
pub const HTTP_REQUEST_SECONDS: &str = "trunkline_http_request_duration_seconds";
/// Connections open on the public listener.
pub const HTTP_CONNECTIONS: &str = "trunkline_http_connections";
/// NDJSON streams being read.
pub const NDJSON_STREAMS: &str = "trunkline_ndjson_streams";
/// Bytes of request bodies held in memory, beyond the first 16 KiB of each.
pub const HTTP_BODY_BYTES: &str = "trunkline_http_body_bytes";

/// Lines of imported suppressions, by `result` (`accepted`, `already_there`, `rejected`).
pub const SUPPRESSIONS_IMPORTED: &str = "trunkline_suppressions_imported_total";

/// What apps told of pushes, by `event` (`delivered`, `displayed`, `opened`), `by` (`token`, `key`) and
/// `result` (`recorded`, `repeated`, `refused`).
pub const APP_RECEIPTS: &str = "trunkline_app_receipts_total";

/// Bucket bounds of every `_seconds` histogram: 0.5 ms to 10 s (chosen: the aims for accept are 5 ms
/// and 20 ms at p99, so bounds stand at both).
pub const SECONDS_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// Bucket bounds of every `_bytes` histogram: what notifications have, up to the limits of push.md §1.4
/// and §2 (2,048 to a topic, 4,096, 5,120 for calls).
pub const BYTES_BUCKETS: [f64; 7] = [128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0, 5_120.0];

/// Installs the recorder for the process and describes all metrics. Once per process.
///
/// # Errors
/// [`BuildError`] when another recorder is already there.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

/// Counters and what they count.
const COUNTERS: &[(&str, &str)] = &[
    (MESSAGES_ACCEPTED, "Messages durably accepted"),
    (
        MESSAGES_REPLAYED,
        "Messages answered from an idempotency key",
    ),
    (
        MESSAGES_REFUSED,
        "Messages refused before anything was stored",
    ),
    (HTTP_REQUESTS, "HTTP requests answered"),
    (
        "trunkline_messages_final_total",
        "Messages that have ended, by their last route (none: refused at once) and status",
    ),
    (
        "trunkline_messages_overdue_total",
        "Messages whose time was over in the queue, or whose receipt did not come in time",
    ),
    (
        "trunkline_route_throttled_total",
        "Segments or notifications that a route's peer refused as too many, by whether it named a full queue",
    ),
    (
        "trunkline_attempts_total",
        "Parts handed to a carrier, by what became of them",
    ),
    (
        APP_RECEIPTS,
        "What apps told of pushes, by event, by what they showed for it, and whether it was new",
    ),
    (
        "trunkline_receipts_total",
        "Receipts stored, by what they were matched to",
    ),
    (
        "trunkline_receipts_orphaned_total",
        "Receipts given up, by why: no message of theirs was found in time",
    ),
    (
        "trunkline_receipts_id_hits_total",
        "Receipts that found their message, by how its id had to be read (`text`: the id of their text, not of the TLV; `number`: none)",
    ),
    (
        "trunkline_receipts_id_rules_total",
        "Rules of receipts' ids that were learned or given up",
    ),
    (
        "trunkline_inbound_parts_total",
        "Parts of handsets' messages on disk, by whether they made one whole, wait or came again",
    ),
    (
        "trunkline_inbound_incomplete_total",
        "Messages from handsets delivered without all of their parts, by why they were given up",
    ),
    (
        "trunkline_inbound_lookups_left_out_total",
        "Parts of handsets' messages told without looking for what they answer: too many at once",
    ),
    (
        "trunkline_inbound_keywords_total",
        "STOP, START and HELP from handsets, by whether they were obeyed or why not",
    ),
    (
        "trunkline_inbound_replies_total",
        "Automatic replies to handsets, by whether they were sent or why not",
    ),
    (
        "trunkline_smpp_pdus_total",
        "SMPP PDUs, by direction and kind",
    ),
    (
        "trunkline_smpp_late_answers_total",
        "Answers that came after they were given up",
    ),
    (
        "trunkline_smpp_receipts_total",
        "Receipts that carriers sent, by whether they could be read and stored",
    ),
    (
        "trunkline_smpp_inbound_total",
        "Parts of handsets' messages that a carrier sent, by what became of them",
    ),
    ("trunkline_smpp_binds_total", "Binds tried, by result"),
    (
        "trunkline_smpp_outbinds_total",
        "Connections of carriers that ask to be bound to, by what became of them",
    ),
    (
        "trunkline_smpp_bind_alarms_total",
        "Troubles with binds that somebody has to look at, by what they are",
    ),
    (
        "trunkline_smpp_config_alarms_total",
        "Answers that say that the account or the route's config is wrong",
    ),
    (
        "trunkline_smpp_panics_total",
        "Connections that ended in a panic: a bug",
    ),
    (
        "trunkline_smpp_quirks_total",
        "Deviations from SMPP that were tolerated, by name",
    ),
    (
        "trunkline_push_token_refresh_total",
        "Tokens of the push services renewed, by result",
    ),
    (
        "trunkline_push_credential_reloads_total",
        "Changed files of push credentials read, by whether they can be used",
    ),
    (
        "trunkline_push_credential_alarms_total",
        "Troubles with push credentials that somebody has to look at, by what they are",
    ),
    (
        "trunkline_push_outcomes_total",
        "Pushes that ended on a route, by outcome (accepted, rejected, not_sent, unknown) and the service's reason",
    ),
    (
        "trunkline_push_guarded_total",
        "Bad tokens that were not told of: too many of the last answers about its tenant's app called theirs bad",
    ),
    (
        "trunkline_push_waits_total",
        "Times that a whole route waited because its service refused different devices in a row, by why: too_many, busy",
    ),
    (
        "trunkline_push_alarms_total",
        "Answers of a push service that somebody has to look at, by reason; stopped: the route has",
    ),
    (
        "trunkline_push_retry_total",
        "Refused pushes that are tried again, tries and time allowing, by the class of the answer",
    ),
    (
        "trunkline_push_requests_total",
        "Requests to push services that ended, by fate: answered, unsent, unknown",
    ),
    (
        "trunkline_push_connections_total",
        "Connections to push services that opened, or began to end, by event",
    ),
    (
        "trunkline_push_goaway_total",
        "GOAWAYs of push services, by reason",
    ),
    (
        "trunkline_store_archive_read_errors_total",
        "Reads of the archive that failed",
    ),
    (
        "trunkline_store_looks_total",
        "Looks at free space and at what the last commit was",
    ),
    (
        "trunkline_store_archived_messages_total",
        "Messages moved from memory to the archive",
    ),
    (
        "trunkline_store_accepts_slowed_total",
        "Accepts that waited for the archive to make room",
    ),
    (
        "trunkline_messages_suppressed_total",
        "Messages rejected because their recipient is suppressed, by whether at accept or at submit",
    ),
    (
        "trunkline_suppressions_refused_total",
        "Suppressions refused: limits.suppressions, or a tenant's senders, are used up",
    ),
    (
        SUPPRESSIONS_IMPORTED,
        "Lines of imported suppressions, by what became of them",
    ),
    (
        "trunkline_webhook_events_total",
        "Events that an endpoint took",
    ),
    (
        "trunkline_webhook_exhausted_total",
        "Deliveries given up after their last try",
    ),
    (
        "trunkline_webhook_attempts_total",
        "POSTs to an endpoint, by result",
    ),
];

/// Gauges of things and what they show.
const GAUGES: &[(&str, &str)] = &[
    (HTTP_CONNECTIONS, "Connections open on the public listener"),
    (NDJSON_STREAMS, "NDJSON streams being read"),
    ("trunkline_queue_messages", "Messages queued"),
    (
        "trunkline_inbound_sets_open",
        "Messages from handsets that wait for further parts",
    ),
    (
        "trunkline_route_queue_messages",
        "Messages queued for a route, by class",
    ),
    (
        "trunkline_route_rate_effective",
        "Segments or notifications per second that a route sends at most; +Inf without a limit",
    ),
    (
        "trunkline_route_window_effective",
        "Segments or notifications that a route's links may have unanswered now",
    ),
    (
        "trunkline_route_paused",
        "1 while a route pauses because its peer throttled",
    ),
    (
        "trunkline_route_destinations_waiting",
        "Destinations that wait because their queue at the carrier is full, at most 10,000",
    ),
    (
        "trunkline_route_messages_behind",
        "Messages in memory that wait for an earlier one to the same destination",
    ),
    (
        "trunkline_accept_drafts_waiting",
        "Messages on their way to the disk",
    ),
    (
        "trunkline_receipts_parked",
        "Receipts that wait for their message",
    ),
    ("trunkline_suppressions", "Suppressions that hold"),
    ("trunkline_smpp_sessions", "Links, by state"),
    (
        "trunkline_push_stream_limit",
        "Requests that a route's connections to a push service may have out now",
    ),
    (
        "trunkline_push_in_flight",
        "Requests handed to a route's connections to a push service and not answered",
    ),
    (
        "trunkline_route_queue_oldest_seconds",
        "Age of the message that has waited longest for a route and is in memory; 0: none waits",
    ),
    (
        "trunkline_fcm_quota_used",
        "What an FCM project sent in the last minute, of its quota: 1 is all of it",
    ),
    (
        "trunkline_push_retry_budget",
        "Further tries that a push route may make at once (`retry.budget`)",
    ),
    (
        "trunkline_push_retry_budget_waiting",
        "Pushes whose next try is due and waits for the budget",
    ),
    (
        "trunkline_smpp_certificate_expires_timestamp_seconds",
        "When the certificate of a carrier's host ends, in seconds since 1970",
    ),
    (
        "trunkline_smpp_receipts_unreachable",
        "1 while messages go out and no bind is there that receipts can come over",
    ),
    (
        "trunkline_push_token_age_seconds",
        "Age of the token that a push credential is used with",
    ),
    (
        "trunkline_push_clock_skew_seconds",
        "How far this machine's clock is ahead of the push service's",
    ),
    (
        "trunkline_certificate_expiry_days",
        "Days until a route's own certificate ends; below 0: since it has ended",
    ),
    ("trunkline_store_young_messages", "Messages in memory"),
    (
        "trunkline_store_generations",
        "Generations that are not in the archive yet",
    ),
    ("trunkline_store_journal_files", "Files of the journal"),
    (
        "trunkline_store_archive_lag_seconds",
        "Age of the oldest generation that is not in the archive",
    ),
    (
        "trunkline_webhook_lag_events",
        "Events of the log that an endpoint has not got to yet",
    ),
    (
        "trunkline_webhook_retry_set",
        "Deliveries to be tried again",
    ),
];

/// Gauges of octets.
const BYTES: &[(&str, &str)] = &[
    (
        HTTP_BODY_BYTES,
        "Request bodies held in memory, beyond the first 16 KiB of each",
    ),
    (
        "trunkline_store_memory_bytes",
        "Messages, keys and events that the store holds in memory",
    ),
    (
        "trunkline_suppressions_bytes",
        "The index of suppressions, as limits.suppressions counts it",
    ),
];

/// Histograms of seconds.
const SECONDS: &[(&str, &str)] = &[
    (
        "trunkline_store_commit_duration_seconds",
        "Time that the journal takes for a commit: its write and its sync",
    ),
    (
        HTTP_REQUEST_SECONDS,
        "Time from a request's head to its answer's head",
    ),
    (
        "trunkline_attempt_duration_seconds",
        "Time from submit_sm to its answer",
    ),
    (
        "trunkline_smpp_enquire_link_seconds",
        "Time from our enquire_link to its answer",
    ),
    (
        "trunkline_push_latency_seconds",
        "Time from handing a push over to its service's answer",
    ),
    (
        "trunkline_push_ping_seconds",
        "Time from our PING to a push service to its answer",
    ),
    (
        "trunkline_webhook_duration_seconds",
        "Time that a POST to an endpoint took",
    ),
];

/// Histograms of octets.
const OCTETS: &[(&str, &str)] = &[(
    "trunkline_push_payload_bytes",
    "Octets of a push's body as its service gets it",
)];

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    for (name, help) in COUNTERS {
        describe_counter!(*name, *help);
    }
    for (name, help) in GAUGES {
        describe_gauge!(*name, *help);
    }
    for (name, help) in BYTES {
        describe_gauge!(*name, Unit::Bytes, *help);
    }
    for (name, help) in OCTETS {
        describe_histogram!(*name, Unit::Bytes, *help);
    }
    for (name, help) in SECONDS {
        describe_histogram!(*name, Unit::Seconds, *help);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// All source of the crate but this file.
    fn source(dir: &Path, all: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                source(&path, all);
            } else if !path.ends_with("src/metrics.rs") {
                all.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_metric_is_described_and_every_described_one_is_fed() {
        let mut all = String::new();
        source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        let here = include_str!("metrics.rs");
        let tables = [COUNTERS, GAUGES, BYTES, OCTETS, SECONDS].concat();
        for (name, _) in &tables {
            let constant = here.lines().find_map(|line| {
                let (constant, text) = line.strip_prefix("pub const ")?.split_once(": &str = ")?;
                text.contains(name).then(|| format!("names::{constant}"))
            });
            let fed = constant.unwrap_or_else(|| format!("\"{name}\""));
            assert!(all.contains(&fed), "{name} is never fed");
        }
        for word in all.split('"').filter(|word| word.starts_with("trunkline_")) {
            let metric = word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let known = tables.iter().any(|(name, _)| *name == word);
            assert!(!metric || known, "{word} is not described");
        }
    }
}
