//! Bodies as they come in: bounded in size and in time, and counted while they are held.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use metrics::gauge;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::accept::problem::{Code, FieldError, Problem};
use crate::accept::shape::{self, Shaped};
use crate::accept::{Gateway, answer};
use crate::metrics as names;

/// A body's next bytes have to come within this time (chosen: a phone network's worst pause).
pub(crate) const IDLE: Duration = Duration::from_secs(15);
/// A body that is read whole has to come within this time: a slow sender holds memory (chosen).
const WHOLE: Duration = Duration::from_secs(60);
/// Octets of a refused body that are read before it is answered (chosen: what is a little too large).
const DRAIN_MAX: usize = 4 << 20;
/// Octets of a request that is not a message (chosen: several times the longest).
const SMALL_MAX: usize = 16 * 1024;
/// Bytes that a body may take without being counted: those of a usual single message.
const FREE: usize = 16 * 1024;

/// A body read whole, and its share of the budget for as long as it is held.
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _share: Share,
}

/// A share of the budget for bodies; counted while it is held.
#[derive(Default)]
struct Share(Option<OwnedSemaphorePermit>);

impl Share {
    /// Octets that it is good for.
    fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.num_permits() * 1024)
    }

    /// Takes more octets from `budget`.
    fn grow(&mut self, budget: &Arc<Semaphore>, bytes: usize) -> Result<(), Problem> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let more = budget.clone().try_acquire_many_owned(kib).map_err(|_| {
            Problem::new(Code::Overloaded, "too many large requests at a time").retry_after(1)
        })?;
        gauge!(names::HTTP_BODY_BYTES).increment(f64::from(kib) * 1024.0);
        match &mut self.0 {
            Some(held) => held.merge(more),
            None => self.0 = Some(more),
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(held) = &self.0 {
            let kib = u32::try_from(held.num_permits()).unwrap_or(u32::MAX);
            gauge!(names::HTTP_BODY_BYTES).decrement(f64::from(kib) * 1024.0);
        }
    }
}

/// Reads the body in `slot`, of at most `limit` bytes. Cancel safe: what was read is dropped. When it
/// is refused, what is left of it stays there.
///
/// # Errors
/// `too_large` beyond the limit, `request_timeout` when it comes too slowly, `overloaded` when too
/// much is held already, `malformed_json` when it breaks off.
pub(crate) async fn whole<B>(
    headers: &HeaderMap,
    slot: &mut Option<B>,
    limit: usize,
    too_large: Code,
    budget: &Arc<Semaphore>,
) -> Result<Held, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let refuse = || Problem::new(too_large, format!("at most {limit} bytes"));
    if declared(headers).is_some_and(|length| length > limit) {
        return Err(refuse());
    }
    let body = slot
        .as_mut()
        .ok_or_else(|| Problem::new(Code::Internal, "the body is gone"))?;
    let deadline = Instant::now() + WHOLE;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut share = Share::default();
    loop {
        let next = timeout(IDLE, timeout_at(deadline, body.frame())).await;
        let Ok(Ok(frame)) = next else {
            return Err(late());
        };
        let Some(frame) = frame else { break };
        let Ok(frame) = frame else {
            // There is nothing left of it to be read away.
            *slot = None;
            return Err(Problem::new(Code::MalformedJson, "the body broke off"));
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = first.len() + rest.len() + data.len();
        if length > limit {
            return Err(refuse());
        }
        let held = share.bytes() + FREE;
        if length > held {
            share.grow(budget, length - held)?;
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    let bytes = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    Ok(Held {
        bytes,
        _share: share,
    })
}

/// Reads a JSON body of at most `limit` bytes; `elsewhere` says where other types go.
///
/// # Errors
/// `unsupported_media_type`, and those of [`whole`].
pub(crate) async fn json<B>(
    gateway: &Gateway,
    headers: &HeaderMap,
    slot: &mut Option<B>,
    (limit, elsewhere): (usize, &str),
) -> Result<Held, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    if kind(headers)? != Kind::Json {
        let detail = format!("Content-Type must be application/json{elsewhere}");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    whole(headers, slot, limit, Code::BodyTooLarge, &gateway.bodies).await
}

/// Reads a small JSON body into what it is to be. Wrong shapes are returned beside what could be read,
/// for [`shape::with_values`].
///
/// # Errors
/// Those of [`json`] and of [`shape::read`].
pub(crate) async fn read<B, T>(
    gateway: &Gateway,
    headers: &HeaderMap,
    slot: &mut Option<B>,
) -> Result<(T, Vec<FieldError>), Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    T: DeserializeOwned + Shaped,
{
    read_within(gateway, headers, slot, SMALL_MAX).await
}

/// As [`read`], of at most `limit` octets.
///
/// # Errors
/// As [`read`].
pub(crate) async fn read_within<B, T>(
    gateway: &Gateway,
    headers: &HeaderMap,
    slot: &mut Option<B>,
    limit: usize,
) -> Result<(T, Vec<FieldError>), Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    T: DeserializeOwned + Shaped,
{
    let held = json(gateway, headers, slot, (limit, "")).await?;
    shape::read(&held.bytes)
}

/// Reads and drops what is left of a body that is refused, up to [`DRAIN_MAX`]: to close on unread
/// octets resets the connection, and the client may lose the answer that says why.
pub(crate) async fn drain<B>(body: &mut B)
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let all = async {
        let mut left = DRAIN_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            left = match left.checked_sub(length) {
                Some(left) => left,
                None => break,
            };
        }
    };
    // Who sends slowly has had its time; the answer goes out either way.
    drop(timeout(IDLE, all).await);
}

/// The problem of a body that does not come.
pub(crate) fn late() -> Problem {
    Problem::new(Code::RequestTimeout, "the body did not arrive in time")
}

fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Ndjson,
}

/// The kind of body by `Content-Type`; JSON when it is not told.
///
/// # Errors
/// `unsupported_media_type`.
pub(crate) fn kind(headers: &HeaderMap) -> Result<Kind, Problem> {
    let Some(essence) = essence(headers)? else {
        return Ok(Kind::Json);
    };
    if essence.eq_ignore_ascii_case(b"application/json") {
        Ok(Kind::Json)
    } else if essence.eq_ignore_ascii_case(b"application/x-ndjson") {
        Ok(Kind::Ndjson)
    } else {
        let detail = "Content-Type must be application/json";
        Err(Problem::new(Code::UnsupportedMediaType, detail))
    }
}

/// Whether `Content-Type` is CSV.
///
/// # Errors
/// `unsupported_media_type`: the body is encoded.
pub(crate) fn is_csv(headers: &HeaderMap) -> Result<bool, Problem> {
    let essence = essence(headers)?.unwrap_or_default();
    Ok(essence.eq_ignore_ascii_case(answer::CSV.as_bytes()))
}

/// `Content-Type` without its parameters, of a body that is not encoded.
fn essence(headers: &HeaderMap) -> Result<Option<&[u8]>, Problem> {
    let refuse = |detail| Err(Problem::new(Code::UnsupportedMediaType, detail));
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    if encodings.any(|one| !one.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return refuse("Content-Encoding must be identity");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if codings.any(|one| !one.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return refuse("Transfer-Encoding must be chunked");
    }
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return refuse("Content-Type must come once");
    }
    let essence = value
        .as_bytes()
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default();
    Ok(Some(essence.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use hyper::body::Frame;

    use super::*;

    fn budget(kib: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(kib))
    }

    async fn read(bytes: usize, limit: usize, kib: usize) -> Result<usize, Code> {
        let body = Full::new(Bytes::from(vec![b'x'; bytes]));
        let held = whole(
            &HeaderMap::new(),
            &mut Some(body),
            limit,
            Code::BodyTooLarge,
            &budget(kib),
        )
        .await;
        held.map(|held| held.bytes.len())
            .map_err(|problem| problem.code)
    }

    #[tokio::test]
    async fn bodies_are_bounded_by_their_limit_and_by_the_budget() {
        assert_eq!(read(100, 100, 0).await, Ok(100));
        assert_eq!(read(101, 100, 0).await, Err(Code::BodyTooLarge));
        assert_eq!(
            read(FREE, 1 << 20, 0).await,
            Ok(FREE),
            "small ones are not counted"
        );
        assert_eq!(read(FREE + 1, 1 << 20, 0).await, Err(Code::Overloaded));
        assert_eq!(read(FREE + 1, 1 << 20, 1).await, Ok(FREE + 1));
        assert_eq!(read(0, 10, 0).await, Ok(0));
    }

    #[tokio::test]
    async fn a_declared_length_is_refused_before_it_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", "1000".parse().unwrap());
        let body = Full::new(Bytes::from_static(b"x"));
        let held = whole(
            &headers,
            &mut Some(body),
            10,
            Code::BatchTooLarge,
            &budget(0),
        )
        .await;
        assert_eq!(held.err().unwrap().code, Code::BatchTooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_given_up() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        let first = Frame::data(Bytes::from_static(b"{"));
        sender.send(Ok(first)).await.unwrap();
        let body = &mut Some(Receiving(receiver));
        let held = whole(&HeaderMap::new(), body, 10, Code::BodyTooLarge, &budget(0)).await;
        assert_eq!(held.err().unwrap().code, Code::RequestTimeout);
        drop(sender);
    }

    struct Receiving(tokio::sync::mpsc::Receiver<Result<Frame<Bytes>, Infallible>>);

    impl hyper::body::Body for Receiving {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(context)
        }
    }

    #[test]
    fn media_types() {
        let kind_of = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            kind(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(kind(&HeaderMap::new()), Ok(Kind::Json));
        assert_eq!(
            kind_of("content-type", "Application/JSON; charset=utf-8"),
            Ok(Kind::Json)
        );
        assert_eq!(
            kind_of("content-type", "application/x-ndjson"),
            Ok(Kind::Ndjson)
        );
        for bad in ["text/plain", "application/x-www-form-urlencoded", ""] {
            assert_eq!(
                kind_of("content-type", bad),
                Err(Code::UnsupportedMediaType)
            );
        }
        assert_eq!(
            kind_of("content-encoding", "gzip"),
            Err(Code::UnsupportedMediaType)
        );
        assert_eq!(kind_of("content-encoding", "identity"), Ok(Kind::Json));
        for (name, second) in [
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ] {
            let mut twice = HeaderMap::new();
            twice.append("content-type", "application/json".parse().unwrap());
            twice.append("content-encoding", "identity".parse().unwrap());
            twice.append(name, second.parse().unwrap());
            let problem = kind(&twice).unwrap_err();
            assert_eq!(problem.code, Code::UnsupportedMediaType, "{name}");
        }
    }
}
