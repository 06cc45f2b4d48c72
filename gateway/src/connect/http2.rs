//! One persistent HTTP/2 connection to a push service, and what must be known of each request on it.
//!
//! ```text
//!            reach: DNS, TCP, TLS, SETTINGS
//!  connect ─────────────────────────────────► Up ──► send(token, request) … (token, Fate)
//!                                             │ ▲ limit follows SETTINGS, up and down
//!   GOAWAY, fence(why), no pong, ids used up  ▼ │
//!                                          Draining: limit 0, what is out is awaited
//!                                             │ nothing is out, or the peer is gone
//!                                             ▼
//!                                           Closed
//! ```
//! A connection that drains, or has served its time, says so (`News::replace`) before it is gone, so that
//! its caller can open the next one first.
//!
//! Design: one task drives all of a connection: h2, the answers, the timers. [`Connection::turn`] does all
//! that is there in one go and leaves in [`Connection::news`] what its caller has to know. What is handed
//! over waits here and not in h2, and enters h2 while nothing is read ([`wire`]): so h2 opens a stream for
//! each at once, and whether a request was written is known to the frame.
//!
//! Not chosen: hyper's client. It queues requests inside, and tells neither the stream limit nor why a
//! request failed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::Request;
use http::header::HeaderName;
use parking_lot::Mutex;
use tokio::time::{Instant as Wake, Sleep, sleep_until};

use self::meters::Happened;
use self::pings::Pings;
use self::ready::{READ, Ready, WRITE};
use self::slots::Slots;
use self::wire::{Pipe, Wire};
use crate::clock::Clock;

mod fate;
mod frames;
mod meters;
mod pings;
mod reach;
mod ready;
mod slots;
mod turn;
mod wire;

#[cfg(test)]
mod tests;

pub use fate::{Answered, Fate, Unknown, Unsent};
pub use frames::GoAway;
pub use meters::Meters;
pub use reach::{Addresses, NotConnected, Step, Target, client_tls, connect};
pub use wire::Io;

/// Locally reset streams whose late frames are passed over, and for how long. Chosen: a window of 1,000
/// that times out every 10 s for a minute; h2's 50 for 1 s would make late answers errors (push.md §1.7).
const RESET_STREAMS: (usize, Duration) = (8_192, Duration::from_secs(60));
/// Streams that h2 may reset for a peer's mistakes before it ends the connection. Chosen: later answers
/// than the above count as such, over a day; h2's 1,024 would end a connection that is well.
const ERROR_RESETS_MAX: usize = 65_536;
/// What a stream and the connection may receive unasked. Chosen: four times the largest body that is kept
/// by default, and 64 of these; answers are some hundred octets.
const WINDOWS: (u32, u32) = (16 * 1024, 1024 * 1024);
/// Largest head of an answer. Chosen: as Apple's own limit, 8,000 (push.md §1.7), with room.
const HEAD_OCTETS_MAX: u32 = 16 * 1024;
/// Requests that enter h2 before it encodes them. Chosen: a full record of small ones.
const HAND_OVER: usize = 32;
/// How long what is out on a sick connection may still be answered. Chosen: a slow round trip.
const SICK_GRACE: Duration = Duration::from_secs(2);
/// How long a connection's last octets may take to leave.
const LINGER: Duration = Duration::from_secs(1);
/// Longest sleep when nothing is planned.
const IDLE: Duration = Duration::from_secs(3600);
/// Requests on one connection at most: stream ids are odd and have 31 bits (RFC 9113 §5.1.1).
const REQUESTS_MAX: u64 = 1 << 30;

/// How a connection behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Requests that may be out before the peer's SETTINGS have come: 1 for APNs with tokens (push.md §1.7).
    pub initial_streams: usize,
    /// Requests that may be out at most, whatever the peer allows; at least 1.
    pub max_streams: usize,
    /// How long an answer is awaited from handing over.
    pub request_timeout: Duration,
    /// Silence of an idle connection after which the peer is asked.
    pub ping_idle: Duration,
    /// Silence with requests out after which the peer is asked.
    pub ping_busy: Duration,
    /// How long its answer may take; then the connection is fenced.
    pub ping_timeout: Duration,
    /// Age at which the connection wants to be replaced; up to a tenth is added by chance.
    pub max_age: Duration,
    /// Requests after which it wants to be replaced; at most 2^30 fit on one.
    pub max_requests: u64,
    /// Headers of answers that are kept.
    pub headers: Vec<HeaderName>,
    /// Octets of an answer's body that are kept; the stream is cancelled when more come.
    pub body_octets_max: usize,
    /// A GOAWAY's reason for the metric, one of a bounded set, from its debug data. `None`: the code's name.
    pub goaway_reason: fn(&[u8]) -> Option<&'static str>,
}

impl Default for Config {
    /// push.md §1.7, §2; limits without a source there are chosen.
    fn default() -> Self {
        Self {
            initial_streams: 1,
            max_streams: 1_000,
            request_timeout: Duration::from_secs(10),
            ping_idle: Duration::from_secs(45),
            ping_busy: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(5),
            max_age: Duration::from_secs(24 * 3600),
            max_requests: REQUESTS_MAX / 2,
            headers: Vec::new(),
            body_octets_max: 4 * 1024,
            goaway_reason: |_| None,
        }
    }
}

/// Why a connection wants to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replace {
    /// The peer ends it: nothing new may be sent.
    GoAway(GoAway),
    /// It is fenced, by its caller or because the peer is silent: nothing new may be sent.
    Fenced(String),
    /// It has served its time; it still works until its caller fences it.
    Age,
    /// It has carried enough requests; it still works until its caller fences it.
    Requests,
}

/// What a connection's caller has to know. To be looked at after each [`Connection::turn`], and taken.
#[derive(Debug, Default)]
pub struct News {
    /// Requests that have ended. Bounded by what was handed over.
    pub fates: Vec<(u64, Fate)>,
    /// [`Connection::limit`] has changed, up or down.
    pub limit_changed: bool,
    /// It wants to be replaced. A later reason takes an earlier one's place.
    pub replace: Option<Replace>,
    /// It is over, and why; nothing is out any more.
    pub closed: Option<String>,
}

impl News {
    fn is_empty(&self) -> bool {
        let quiet = !self.limit_changed && self.replace.is_none();
        quiet && self.fates.is_empty() && self.closed.is_none()
    }
}

/// A request that waits for the turn that sends it.
#[derive(Debug)]
struct Handed {
    token: u64,
    request: Request<()>,
    body: Bytes,
    at: Instant,
}

/// What there is to do.
#[derive(Debug, Default)]
struct Due {
    /// h2, with reading.
    read: bool,
    /// h2.
    h2: bool,
    pong: bool,
    /// Bounded by the slots: each is marked once at most between two looks.
    slots: Vec<usize>,
}

/// A connection.
pub struct Connection {
    config: Arc<Config>,
    clock: Clock,
    meters: Meters,
    peer: String,
    wire: Arc<Mutex<Wire>>,
    h2: Option<client::Connection<Pipe, Bytes>>,
    sender: Option<SendRequest<Bytes>>,
    pings: Pings,
    /// Handed over, not in h2. With `slots` bounded by the limit.
    queue: VecDeque<Handed>,
    slots: Slots,
    ready: Ready,
    due: Due,
    news: News,
    /// What the peer allows and the config permits.
    streams: usize,
    requests: u64,
    rotate_at: Instant,
    rotates: bool,
    heard_at: Instant,
    /// Since when an answer is owed without a word from the peer: the first request since it was heard, or
    /// when it was heard with others out. What has timed out counts as well.
    owed_since: Option<Instant>,
    goaway: Option<GoAway>,
    /// Nothing new is sent: why.
    fenced: Option<String>,
    /// The peer is sick: until when answers are awaited.
    sick_by: Option<Instant>,
    /// Nothing is out: until when the goodbye may take.
    close_by: Option<Instant>,
    /// It is over.
    closed: Option<String>,
    sleep: Pin<Box<Sleep>>,
    armed: Instant,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("limit", &self.limit())
            .field("out", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Speaks HTTP/2 over a connected stream and awaits the peer's SETTINGS. `peer` names it in logs.
    ///
    /// # Errors
    /// Says how the peer broke off. There is no deadline here: the caller's ends it.
    ///
    /// Cancel safe: the stream is closed.
    pub async fn open(
        io: impl Io + 'static,
        peer: String,
        config: Arc<Config>,
        clock: Clock,
        meters: Meters,
    ) -> Result<Self, String> {
        let mut ready = Ready::default();
        let (read, write) = (ready.waker(READ).clone(), ready.waker(WRITE).clone());
        let wire = Arc::new(Mutex::new(Wire::new(Box::new(io), read, write)));
        let mut builder = client::Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(config.initial_streams)
            .initial_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_header_list_size(HEAD_OCTETS_MAX)
            .max_concurrent_reset_streams(RESET_STREAMS.0)
            .reset_stream_duration(RESET_STREAMS.1)
            .max_local_error_reset_streams(Some(ERROR_RESETS_MAX));
        let shaken = builder.handshake(Pipe(wire.clone())).await;
        let (sender, mut h2) = shaken.map_err(|error| format!("HTTP/2: {error}"))?;
        let now = clock.instant();
        // Without the system's randomness connections of one start are replaced together.
        let chance = getrandom::u32().unwrap_or_default() % 100;
        let mut connection = Self {
            streams: config.initial_streams.min(config.max_streams),
            pings: Pings::new(h2.ping_pong(), now),
            rotate_at: now + config.max_age + config.max_age / 1_000 * chance,
            config,
            clock,
            meters,
            peer,
            wire,
            h2: Some(h2),
            sender: Some(sender),
            queue: VecDeque::new(),
            slots: Slots::new(),
            ready,
            due: Due::default(),
            news: News::default(),
            requests: 0,
            rotates: false,
            heard_at: now,
            owed_since: None,
            goaway: None,
            fenced: None,
            sick_by: None,
            close_by: None,
            closed: None,
            sleep: Box::pin(sleep_until(Wake::from_std(now + IDLE))),
            armed: now + IDLE,
        };
        connection.due.read = true;
        poll_fn(|context| {
            connection.poll(context);
            match (&connection.closed, connection.wire.lock().came().settings) {
                (Some(why), _) => Poll::Ready(Err(format!("HTTP/2: {why}"))),
                (None, true) => Poll::Ready(Ok(())),
                (None, false) => Poll::Pending,
            }
        })
        .await?;
        connection.news.limit_changed = false;
        connection.meters.happened(Happened::Open);
        Ok(connection)
    }

    /// Where it leads, for logs.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// How many requests may be out now: 0 while it drains.
    #[must_use]
    pub fn limit(&self) -> usize {
        match self.drains() {
            true => 0,
            false => self.streams,
        }
    }

    /// Requests handed over and without a fate.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.queue.len() + self.slots.len()
    }

    /// How many more requests may be handed over now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.limit().saturating_sub(self.in_flight())
    }

    /// When the peer was last heard.
    #[must_use]
    pub fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// The last PING's round trip.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.pings.round_trip()
    }

    /// The peer's GOAWAY.
    #[must_use]
    pub fn goaway(&self) -> Option<&GoAway> {
        self.goaway.as_ref()
    }

    /// Writes to the stream so far: many requests share one.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.wire.lock().writes()
    }

    /// Hands a request over; the next turn sends it. `token` comes back with its fate, once.
    ///
    /// More than [`Connection::room`] is a mistake, and comes back as unsent. Headers whose value differs
    /// in each request are to be marked sensitive, so that they do not push the others out of the peer's
    /// HPACK table; cloning a `HeaderMap` shares its values.
    pub fn send(&mut self, token: u64, request: Request<()>, body: Bytes) {
        if self.room() == 0 {
            let why = match self.drains() {
                true => Unsent::Draining,
                false => Unsent::NoRoom,
            };
            return self.ends(token, Fate::Unsent(why));
        }
        let at = self.clock.instant();
        self.queue.push_back(Handed {
            token,
            request,
            body,
            at,
        });
    }

    /// Sends nothing new; what is out is awaited, then the connection closes.
    pub fn fence(&mut self, why: &str) {
        if self.drains() {
            return;
        }
        self.meters.happened(Happened::Fence);
        self.drain(why.to_owned());
        self.news.replace = Some(Replace::Fenced(why.to_owned()));
    }

    /// What has happened since it was last taken.
    pub fn news(&mut self) -> &mut News {
        &mut self.news
    }

    /// Works on all that is there, until there is news.
    ///
    /// Cancel safe: nothing is lost, and news stays until it is taken.
    pub async fn turn(&mut self) {
        poll_fn(|context| {
            self.poll(context);
            match self.news.is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }
}
