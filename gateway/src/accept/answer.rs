//! Answers: bodies, headers and counters that every response has.

use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};
use serde::Serialize;

use crate::accept::ingress::RateHeaders;
use crate::accept::ndjson::ResultStream;
use crate::accept::patience::Unread;
use crate::accept::problem::{Code, Problem};
use crate::accept::router::Endpoint;
use crate::accept::suppressions::export::Pages;
use crate::clock::UnixMs;
use crate::message::Class;
use crate::metrics as names;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
/// The media type of CSV (RFC 4180 §3).
pub(crate) const CSV: &str = "text/csv";
/// The media type of NDJSON.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// A response's body.
pub(crate) enum Body {
    /// In one piece; `None` when it has been taken.
    Whole(Option<Bytes>),
    /// Batch results as they become known.
    Results(ResultStream),
    /// A list as a file, page by page.
    Pages(Pages),
}

/// A body that cannot be brought to its end: the connection breaks, so that nobody takes it for whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct Broken;

impl Body {
    /// The same body, whose octets tell when they are gone.
    pub(crate) fn held(self, unread: &Unread) -> Self {
        match self {
            Self::Whole(bytes) => Self::Whole(bytes.map(|bytes| unread.hold(bytes))),
            Self::Results(results) => Self::Results(results.held(unread.clone())),
            Self::Pages(pages) => Self::Pages(pages.held(unread.clone())),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Results(results) => results
                .poll_next(context)
                .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pages(pages) => pages
                .poll_next(context)
                .map(|page| page.map(|page| page.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Results(_) | Self::Pages(_) => SizeHint::default(),
        }
    }
}

/// Takes the body away, as an answer to HEAD has none; its length is told all the same.
pub(crate) fn without_body(response: &mut Response<Body>) {
    let length = response.body().size_hint().exact();
    *response.body_mut() = Body::Whole(None);
    if let Some(length) = length {
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// A response with a JSON body that is ready.
pub(crate) fn json_bytes(status: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Some(bytes.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A response with `body` as JSON.
///
/// # Errors
/// `internal` when it cannot be written, which plain data always can.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Result<Response<Body>, Problem> {
    // A message is about 400 bytes.
    let mut bytes = Vec::with_capacity(512);
    serde_json::to_writer(&mut bytes, body)
        .map_err(|_| Problem::new(Code::Internal, "the answer could not be written"))?;
    Ok(json_bytes(status, bytes))
}

/// A problem as a response.
pub(crate) fn problem(problem: &Problem, path: &str, request_id: &str) -> Response<Body> {
    let mut response = json_bytes(problem.status(), problem.to_json(path, request_id));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, PROBLEM);
    if let Some(seconds) = problem.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(header) = &problem.header {
        let (name, value) = &**header;
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(rate) = &problem.rate {
        set_rate(&mut response, rate);
    }
    response
}

/// Sets `RateLimit-Policy` and `RateLimit`.
pub(crate) fn set_rate(response: &mut Response<Body>, rate: &RateHeaders) {
    let headers = response.headers_mut();
    let policy = HeaderName::from_static("ratelimit-policy");
    headers.insert(policy, rate.policy.clone());
    headers.insert(HeaderName::from_static("ratelimit"), rate.limit.clone());
}

/// Makes request ids: `req_` and a ULID of milliseconds, a random number of this process, and a
/// counter.
pub(crate) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self {
            process: random(),
            next: AtomicU64::new(0),
        }
    }

    /// The next id.
    pub(crate) fn next(&self, now: UnixMs) -> HeaderValue {
        let count = u128::from(self.next.fetch_add(1, Ordering::Relaxed) & 0xFF_FFFF_FFFF);
        let process = u128::from(self.process & 0xFF_FFFF_FFFF);
        let mut rest = u128::from(now.0) << 80 | process << 40 | count;
        // Crockford base32 (ULID specification).
        let digits = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut text = *b"req_00000000000000000000000000";
        for place in text[4..].iter_mut().rev() {
            *place = digits[usize::try_from(rest & 31).unwrap_or(0)];
            rest >>= 5;
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("req_"))
    }
}

/// A random number; 0 on a machine that has none to give, which only makes ids less distinct.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// Where messages come from, as a metric's label.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Single,
    Batch,
    Ndjson,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Batch => "batch",
            Self::Ndjson => "ndjson",
        }
    }
}

const SOURCES: usize = 3;
const CLASSES: usize = Class::ALL.len();
const ENDPOINTS: usize = Endpoint::COUNT;
/// Statuses that are answered; others are counted as the last.
const STATUSES: [(u16, &str); 15] = [
    (202, "202"),
    (200, "200"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (408, "408"),
    (413, "413"),
    (415, "415"),
    (422, "422"),
    (429, "429"),
    (503, "503"),
    (500, "500"),
];

/// Counters, looked up once: the registry is too slow to ask for each request.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: [[OnceLock<Counter>; STATUSES.len()]; ENDPOINTS],
    seconds: [OnceLock<Histogram>; ENDPOINTS],
    accepted: [[OnceLock<Counter>; CLASSES]; SOURCES],
    replayed: [OnceLock<Counter>; SOURCES],
}

impl Metrics {
    /// Counts an answered request.
    pub(crate) fn request(&self, endpoint: Endpoint, status: StatusCode, took: Duration) {
        let path = endpoint.label();
        let found = STATUSES.iter().position(|known| known.0 == status.as_u16());
        let place = found.unwrap_or(STATUSES.len() - 1);
        self.requests[endpoint as usize][place]
            .get_or_init(
                || counter!(names::HTTP_REQUESTS, "path" => path, "status" => STATUSES[place].1),
            )
            .increment(1);
        self.seconds[endpoint as usize]
            .get_or_init(|| histogram!(names::HTTP_REQUEST_SECONDS, "path" => path))
            .record(took.as_secs_f64());
    }

    /// Counts a stored message.
    pub(crate) fn accepted(&self, source: Source, class: Class) {
        let (source_name, class_name) = (source.name(), class.name());
        self.accepted[source as usize][class as usize]
            .get_or_init(|| {
                counter!(
                    names::MESSAGES_ACCEPTED, "source" => source_name, "class" => class_name
                )
            })
            .increment(1);
    }

    /// Counts a message answered from its idempotency key.
    pub(crate) fn replayed(&self, source: Source) {
        let name = source.name();
        self.replayed[source as usize]
            .get_or_init(|| counter!(names::MESSAGES_REPLAYED, "source" => name))
            .increment(1);
    }

    /// Counts a message that was refused.
    pub(crate) fn refused(&self, source: Source, code: Code) {
        counter!(names::MESSAGES_REFUSED, "source" => source.name(), "code" => code.name())
            .increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ_and_sort_by_time() {
        let ids = RequestIds::new();
        let text = |id: HeaderValue| id.to_str().unwrap().to_owned();
        let (a, b) = (text(ids.next(UnixMs(1_000))), text(ids.next(UnixMs(1_000))));
        let c = text(ids.next(UnixMs(2_000)));
        assert!(a != b && a < c && b < c, "{a} {b} {c}");
        assert!(a.starts_with("req_") && a.len() == 30);
    }

    #[test]
    fn a_problems_headers_are_set() {
        let made = Problem::new(Code::MethodNotAllowed, "")
            .with_header("allow", "GET, POST")
            .retry_after(7);
        let response = problem(&made, "/", "req_1");
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET, POST");
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
}
