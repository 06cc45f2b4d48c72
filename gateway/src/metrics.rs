//! Metrics: every name, what it counts, and the buckets of its histograms.
//!
//! Labels come from enums or from the config; never from a number, an id or a peer's text.

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

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
/// Bytes of request bodies held in memory.
pub const HTTP_BODY_BYTES: &str = "trunkline_http_body_bytes";
/// Time that the journal takes for a commit: its write and its sync.
pub const STORE_COMMIT_SECONDS: &str = "trunkline_store_commit_duration_seconds";

/// Bucket bounds of every `_seconds` histogram: 0.5 ms to 10 s (chosen: the aims for accept are 5 ms
/// and 20 ms at p99, so bounds stand at both).
pub const SECONDS_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// Installs the recorder for the process and describes the metrics of accept. Once per process.
///
/// # Errors
/// [`BuildError`] when another recorder is already there.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&SECONDS_BUCKETS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_counter!(MESSAGES_ACCEPTED, "Messages durably accepted");
    describe_counter!(
        MESSAGES_REPLAYED,
        "Messages answered from an idempotency key"
    );
    describe_counter!(
        MESSAGES_REFUSED,
        "Messages refused before anything was stored"
    );
    describe_counter!(HTTP_REQUESTS, "HTTP requests answered");
    describe_histogram!(
        HTTP_REQUEST_SECONDS,
        Unit::Seconds,
        "Time from a request's head to its answer's head"
    );
    describe_gauge!(HTTP_CONNECTIONS, "Connections open on the public listener");
    describe_gauge!(NDJSON_STREAMS, "NDJSON streams being read");
    describe_histogram!(
        STORE_COMMIT_SECONDS,
        Unit::Seconds,
        "Time that the journal takes for a commit: its write and its sync"
    );
    describe_gauge!(
        HTTP_BODY_BYTES,
        Unit::Bytes,
        "Request bodies held in memory"
    );
}
