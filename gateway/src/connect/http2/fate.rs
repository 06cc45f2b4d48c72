//! What became of a request: answered, provably not processed, or unknown.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use smallvec::SmallVec;

use super::frames::{GoAway, code_name};
use crate::clock::UnixMs;

/// What became of a request. Each has exactly one.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// The service has answered: it knows the request, whatever it says.
    Answered(Box<Answered>),
    /// The service has provably not processed it: repeating it cannot double it.
    Unsent(Unsent),
    /// It was sent, or may have been, and no answer came. It may have been processed.
    Unknown(Unknown),
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers that were asked for (`Config::headers`), and no others.
    pub headers: SmallVec<[(HeaderName, HeaderValue); 2]>,
    /// The body's first octets, at most `Config::body_octets_max`.
    pub body: Bytes,
    /// Whether the body is all there: not cut off, too long, or broken off. A status is enough of an
    /// answer: 200 and then a reset is a 200. push.md §1.7.
    pub complete: bool,
    /// When the answer was there.
    pub at: UnixMs,
    /// How long it took from handing over.
    pub latency: Duration,
}

impl Answered {
    /// The value of a header that was asked for.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value)
    }

    /// Takes the headers that were asked for.
    pub(super) fn pick(
        wanted: &[HeaderName],
        found: &mut HeaderMap,
    ) -> SmallVec<[(HeaderName, HeaderValue); 2]> {
        let pick = |name: &HeaderName| Some((name.clone(), found.remove(name)?));
        wanted.iter().filter_map(pick).collect()
    }
}

/// Why a request has provably not been processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// More was handed over than [`super::Connection::room`] said: the caller's mistake.
    NoRoom,
    /// The limit fell before it was sent.
    Shrunk,
    /// The connection takes no new requests.
    Draining,
    /// The peer read nothing for so long that it was not even written.
    Stalled,
    /// The connection ended before it was written.
    NotWritten,
    /// The peer has refused the stream: REFUSED_STREAM. RFC 9113 §8.7.
    Refused,
    /// The peer's GOAWAY excludes it. RFC 9113 §6.8.
    GoAway,
    /// It cannot be written as HTTP/2: the caller's mistake, and the same anywhere else.
    Invalid(String),
}

/// Why it is not known what became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// No answer came in time; the stream was cancelled.
    Deadline,
    /// The peer has reset the stream with this code. RFC 9113 §7.
    Reset(u32),
    /// The connection was given up as sick before an answer came.
    Fenced,
    /// The connection ended, or the answer broke the protocol.
    Broken,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "more was handed over than the connection has room for",
            Self::Shrunk => "the peer allows fewer streams now",
            Self::Draining => "the connection takes no new requests",
            Self::Stalled => "the peer takes nothing of what is written",
            Self::NotWritten => "the connection ended before it was written",
            Self::Refused => "the peer refused the stream",
            Self::GoAway => "the peer's GOAWAY excludes it",
            Self::Invalid(why) => return write!(f, "it cannot be written as HTTP/2: {why}"),
        })
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline => f.write_str("no answer in time"),
            Self::Reset(code) => write!(f, "the peer reset the stream: {}", code_name(*code)),
            Self::Fenced => f.write_str("the connection was given up before an answer came"),
            Self::Broken => f.write_str("the connection ended before an answer came"),
        }
    }
}

/// What a stream's error tells, when no status had come.
///
/// `written`: the highest stream whose HEADERS may have left us.
pub(super) fn of_error(
    error: &h2::Error,
    stream: u32,
    written: u32,
    goaway: Option<&GoAway>,
) -> Fate {
    let remote = error.is_remote();
    if remote && error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM) {
        return Fate::Unsent(Unsent::Refused);
    }
    if goaway.is_some_and(|goaway| stream > goaway.last_stream) {
        return Fate::Unsent(Unsent::GoAway);
    }
    if stream > written {
        return Fate::Unsent(Unsent::NotWritten);
    }
    Fate::Unknown(match error.reason() {
        Some(code) if remote && error.is_reset() => Unknown::Reset(code.into()),
        _ => Unknown::Broken,
    })
}
