//! One POST: sends it and says what the answer means.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use rustls_pki_types::CertificateDer;

use super::course::Outcome;
use super::gate::WINDOW_MAX;
use crate::clock::{Clock, UnixMs};
use crate::outbound::{self, ConnectError, Rules};

/// From the first octet sent, connecting included, to the answer's end: contract.md §3.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);

/// Retry-After counts up to this: contract.md §3.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Octets of an answer's body that are read, so that its connection can be used again; with more,
/// the connection is dropped. Chosen: an error page has less.
const ANSWER_OCTETS_MAX: usize = 64 * 1024;

/// Refusing with this header and value ends the retries (Svix's convention, contract.md §3).
const ABORT: (&str, &str) = ("webhook-delivery", "abort-message");

/// What came of a POST.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// What it means.
    pub outcome: Outcome,
    /// The metric's word: one of a small set.
    pub result: &'static str,
    /// For people.
    pub detail: String,
}

/// Sends a request; never fails, as a failure is an answer too.
pub(super) type Post =
    Arc<dyn Fn(Request<Full<Bytes>>) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// The real thing: HTTP/1.1 and, where TLS agrees on it, HTTP/2, with kept connections.
///
/// # Errors
/// When TLS cannot be set up.
pub(super) fn over_http(
    rules: Rules,
    extra_roots: &[CertificateDer<'static>],
    clock: Clock,
) -> Result<Post, rustls::Error> {
    let client = outbound::client(rules, extra_roots, WINDOW_MAX)?;
    Ok(Arc::new(move |request| {
        let (sent, clock) = (client.request(request), clock.clone());
        Box::pin(async move {
            let deadline = tokio::time::Instant::now() + TIMEOUT;
            match tokio::time::timeout_at(deadline, sent).await {
                Ok(Ok(response)) => {
                    let answer = judge(response.status(), response.headers(), clock.now());
                    // The answer stands with its head; the rest is read for the connection's sake.
                    tokio::time::timeout_at(deadline, drain(response))
                        .await
                        .ok();
                    answer
                }
                Ok(Err(error)) => unanswered(&error),
                Err(_) => failed(
                    "timeout",
                    format!("no answer within {} s", TIMEOUT.as_secs()),
                ),
            }
        })
    }))
}

async fn drain(response: Response<Incoming>) {
    let mut body = response.into_body();
    let mut octets = 0;
    while let Some(Ok(frame)) = body.frame().await {
        octets += frame.data_ref().map_or(0, Bytes::len);
        if octets > ANSWER_OCTETS_MAX {
            return;
        }
    }
}

/// An answer that is no answer of the endpoint.
pub(super) fn failed(result: &'static str, detail: String) -> Answer {
    Answer {
        outcome: Outcome::Failed(None),
        result,
        detail,
    }
}

fn unanswered(error: &hyper_util::client::legacy::Error) -> Answer {
    let mut result = if error.is_connect() {
        "connect"
    } else {
        "broken"
    };
    let mut detail = error.to_string();
    for cause in outbound::causes(error) {
        if matches!(
            cause.downcast_ref(),
            Some(ConnectError::Forbidden(..) | ConnectError::PlainHttp)
        ) {
            result = "forbidden";
        }
        // The innermost says most.
        detail = cause.to_string();
    }
    failed(result, detail)
}

/// What a status and its headers mean: contract.md §3, "Delivery rules".
#[must_use]
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, now: UnixMs) -> Answer {
    let after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| outbound::retry_after(value, now))
        .map(|wait| wait.min(RETRY_AFTER_MAX));
    let aborted = headers
        .get(ABORT.0)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(ABORT.1.as_bytes()));
    let (outcome, result) = match status.as_u16() {
        200..=299 => (Outcome::Taken, "ok"),
        _ if aborted => (Outcome::Aborted, "aborted"),
        410 => (Outcome::Gone, "gone"),
        429 | 502 | 503 | 504 => (Outcome::Throttled(after), "throttled"),
        300..=399 => (Outcome::Failed(after), "redirect"),
        400..=499 => (Outcome::Failed(after), "client_error"),
        _ => (Outcome::Failed(after), "server_error"),
    };
    Answer {
        outcome,
        result,
        detail: format!("HTTP {}", status.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &'static str)]) -> Outcome {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        // 1994-11-06T08:49:37Z
        let now = UnixMs(784_111_777_000);
        judge(StatusCode::from_u16(status).unwrap(), &headers, now).outcome
    }

    #[test]
    fn answers_mean_what_the_contract_says() {
        assert_eq!(judged(204, &[]), Outcome::Taken);
        assert_eq!(
            judged(307, &[("location", "https://b.example/")]),
            Outcome::Failed(None)
        );
        assert_eq!(judged(400, &[]), Outcome::Failed(None));
        assert_eq!(judged(500, &[]), Outcome::Failed(None));
        assert_eq!(judged(410, &[]), Outcome::Gone);
        assert_eq!(
            judged(422, &[("webhook-delivery", "abort-message")]),
            Outcome::Aborted
        );
        for status in [429, 502, 503, 504] {
            assert_eq!(judged(status, &[]), Outcome::Throttled(None));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_ends_at_an_hour() {
        let after = |value| match judged(503, &[("retry-after", value)]) {
            Outcome::Throttled(after) => after.map(|after| after.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("99999999"), Some(3600));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(after("soon"), None);
    }
}
