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
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::client::{self, SendRequest};
use http::Request;
use http::header::HeaderName;
use parking_lot::Mutex;
use tokio::time::{Instant as Wake, Sleep, sleep_until};

use self::meters::Happened;
use self::pings::Pings;
use self::ready::{CONNECTION, PONG, READ, Ready, SLOTS, TIMER, WRITE};
use self::slots::{Awaits, Out, Slots};
use self::wire::{Pipe, Wire};
use crate::clock::{Clock, UnixMs};

mod fate;
mod frames;
mod meters;
mod pings;
mod reach;
mod ready;
mod slots;
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
        let (sender, mut h2) = shaken.map_err(|error| format!("{peer}: HTTP/2: {error}"))?;
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
                (Some(why), _) => Poll::Ready(Err(format!("{}: HTTP/2: {why}", connection.peer))),
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

    fn poll(&mut self, context: &Context<'_>) {
        self.ready.works();
        self.work();
        self.ready.rests(context);
    }

    /// One turn.
    fn work(&mut self) {
        if let Some(why) = &self.closed {
            self.news.closed = Some(why.clone());
            return;
        }
        let now = self.clock.instant();
        let wall = self.clock.now();
        self.collect();
        self.write_on();
        if self.due.read || self.due.h2 {
            self.drive(true);
            self.observe(now);
            self.collect();
        }
        self.answers(now, wall);
        self.pong(now);
        self.timers(now);
        self.hand_over(now, wall);
        self.parts(now);
        self.collect();
        if self.due.h2 {
            self.drive(false);
        }
        self.write();
        if self.closed.is_some() {
            self.end();
        }
        self.rest(now);
        let in_flight = self.in_flight();
        self.meters.flush(self.limit(), in_flight);
    }

    /// Writes what was gathered.
    fn write(&mut self) {
        if self.wire.lock().drain().is_err() {
            // h2 finds the stream ended when it reads.
            self.due.read = true;
        }
    }

    /// Writes on where the peer took no more.
    fn write_on(&mut self) {
        let blocked = self.wire.lock().is_blocked();
        if blocked {
            self.write();
        }
    }

    /// Looks at what is marked.
    fn collect(&mut self) {
        let taken = self.ready.take();
        for part in &taken {
            match *part {
                CONNECTION => self.due.h2 = true,
                // Where the peer took nothing, h2 may have stopped in the middle.
                READ | WRITE => self.due.read = true,
                PONG => self.due.pong = true,
                TIMER => {}
                slot => self.due.slots.push(slot - SLOTS),
            }
        }
        self.ready.give_back(taken);
    }

    /// Polls h2. Without `reads` it only writes what was handed to it.
    fn drive(&mut self, reads: bool) {
        self.due.h2 = false;
        match reads {
            true => self.due.read = false,
            false => self.wire.lock().shut_gate(),
        }
        if let Some(h2) = self.h2.as_mut().filter(|_| self.closed.is_none()) {
            let mut context = Context::from_waker(self.ready.waker(CONNECTION));
            if let Poll::Ready(end) = Pin::new(h2).poll(&mut context) {
                let wire = self.wire.lock();
                let why = match (&self.goaway, wire.end(), end) {
                    (Some(goaway), ..) => format!("GOAWAY {}", goaway.code_name()),
                    (None, Some(end), _) => end.to_owned(),
                    (None, None, Err(error)) => error.to_string(),
                    (None, None, Ok(())) => "closed".to_owned(),
                };
                self.closed = Some(self.fenced.clone().unwrap_or(why));
            }
        }
        if !reads && self.wire.lock().open_gate() {
            self.due.read = true;
        }
    }

    /// Looks at what came: GOAWAY, the limit.
    fn observe(&mut self, now: Instant) {
        let (heard, goaway) = {
            let mut wire = self.wire.lock();
            (wire.take_heard(), wire.came().goaway.take())
        };
        if heard {
            self.heard_at = now;
        }
        if let Some(goaway) = goaway {
            self.went_away(goaway);
        }
        let Some(sender) = &self.sender else {
            return;
        };
        let streams = sender.current_max_send_streams();
        let streams = streams.min(self.config.max_streams);
        if streams != self.streams {
            self.streams = streams;
            self.news.limit_changed = true;
        }
    }

    fn went_away(&mut self, goaway: GoAway) {
        let reason = (self.config.goaway_reason)(&goaway.debug_data);
        let reason = reason.unwrap_or_else(|| goaway.code_name());
        if self.goaway.is_none() {
            self.meters.happened(Happened::GoAway);
            self.meters.went_away(reason);
            tracing::info!(
                peer = self.peer,
                code = goaway.code_name(),
                last_stream = goaway.last_stream,
                out = self.slots.len(),
                text = %goaway.debug_data.escape_ascii(),
                "the push service ends the connection"
            );
        }
        if !self.drains() {
            self.drain(format!("GOAWAY {reason}"));
        }
        self.news.replace = Some(Replace::GoAway(goaway.clone()));
        self.goaway = Some(goaway);
    }

    /// Whether nothing new is sent.
    fn drains(&self) -> bool {
        self.fenced.is_some() || self.closed.is_some()
    }

    /// Sends nothing new from here on.
    fn drain(&mut self, why: String) {
        self.news.limit_changed |= self.streams != 0;
        self.fenced = Some(why);
        self.unsent(&Unsent::Draining);
    }

    /// Gives back what waits.
    fn unsent(&mut self, why: &Unsent) {
        while let Some(handed) = self.queue.pop_front() {
            self.ends(handed.token, Fate::Unsent(why.clone()));
        }
    }

    fn ends(&mut self, token: u64, fate: Fate) {
        self.meters.ended(&fate);
        self.news.fates.push((token, fate));
    }

    /// Polls the answers that are marked.
    fn answers(&mut self, now: Instant, wall: UnixMs) {
        let mut marked = std::mem::take(&mut self.due.slots);
        for slot in marked.drain(..) {
            self.answer(slot, now, wall);
        }
        self.due.slots = marked;
    }

    /// Takes what has come of an answer.
    fn answer(&mut self, slot: usize, now: Instant, wall: UnixMs) {
        let mut context = Context::from_waker(self.ready.waker(slot + SLOTS));
        let Some(out) = self.slots.get_mut(slot) else {
            return;
        };
        match poll_answer(out, &self.config, now, wall, &mut context) {
            Poll::Pending => {}
            Poll::Ready(Ok(complete)) => self.settle(slot, complete, Unknown::Broken),
            Poll::Ready(Err(error)) => {
                let (token, stream) = (out.token, out.stream);
                self.slots.remove(slot);
                let opened = self.wire.lock().opened();
                let fate = fate::of_error(&error, stream, opened, self.goaway.as_ref());
                self.ends(token, fate);
            }
        }
    }

    /// Takes an answer as it stands: with a status it is one, else `why` it is not. A stream that has
    /// not ended is cancelled when its slot is dropped.
    fn settle(&mut self, slot: usize, complete: bool, why: Unknown) {
        let Some(mut out) = self.slots.remove(slot) else {
            return;
        };
        // h2 would keep an answered request until its body has left, and its stream with it.
        if complete && !self.wire.lock().is_ended(out.stream) {
            out.body.send_reset(h2::Reason::CANCEL);
        }
        let fate = match out.awaits {
            Awaits::Body {
                mut answered, body, ..
            } => {
                answered.body = body.freeze();
                answered.complete = complete;
                Fate::Answered(answered)
            }
            Awaits::Head(_) => Fate::Unknown(why),
        };
        self.ends(out.token, fate);
    }

    fn pong(&mut self, now: Instant) {
        if !self.due.pong {
            return;
        }
        self.due.pong = false;
        let mut context = Context::from_waker(self.ready.waker(PONG));
        if let Some(round_trip) = self.pings.poll(now, &mut context) {
            self.meters.ponged(round_trip);
        }
    }

    /// Does what is due.
    fn timers(&mut self, now: Instant) {
        let sick = self.sick_by.is_some_and(|by| by <= now);
        while let Some((slot, out)) = self.slots.oldest() {
            let late = out.handed + self.config.request_timeout <= now;
            if !late && !sick {
                break;
            }
            let why = match late {
                true => Unknown::Deadline,
                false => Unknown::Fenced,
            };
            self.settle(slot, false, why);
        }
        while let Some(handed) = self.queue.front() {
            if handed.at + self.config.request_timeout > now {
                break;
            }
            let token = handed.token;
            self.queue.pop_front();
            self.ends(token, Fate::Unsent(Unsent::Stalled));
        }
        if self.pings.due(now, self.asks_at()) {
            let mut context = Context::from_waker(self.ready.waker(PONG));
            self.pings.send(now, &mut context);
        }
        if self.sick_by.is_none() && self.pings.is_overdue(now, self.config.ping_timeout) {
            self.sick_by = Some(now + SICK_GRACE);
            self.fence("the peer does not answer PING");
        }
        if self.rotate_at <= now {
            self.rotate(Replace::Age);
        }
    }

    /// When the peer is to be asked, if it is not heard before.
    fn asks_at(&self) -> Instant {
        let silent = self.heard_at.max(self.pings.sent_last());
        let idle = silent + self.config.ping_idle;
        match self.slots.oldest() {
            Some((_, out)) => idle.min(silent.max(out.handed) + self.config.ping_busy),
            None => idle,
        }
    }

    /// Says once that it has served.
    fn rotate(&mut self, why: Replace) {
        if self.rotates || self.drains() {
            return;
        }
        self.rotates = true;
        self.meters.happened(Happened::Age);
        self.news.replace = Some(why);
    }

    /// Gives what was handed over to h2, as far as the peer takes it.
    fn hand_over(&mut self, now: Instant, wall: UnixMs) {
        let mut entered = 0;
        while !self.queue.is_empty() {
            let (waits, full) = {
                let wire = self.wire.lock();
                // Bodies that the peer's window does not take come first: their streams are open.
                let waits = wire.is_blocked() || wire.has_unended() || wire.end().is_some();
                (waits, wire.is_full())
            };
            if waits || self.closed.is_some() {
                break;
            }
            if full {
                self.write();
                continue;
            }
            if self.slots.len() >= self.streams {
                self.unsent(&Unsent::Shrunk);
                break;
            }
            let Some(handed) = self.queue.pop_front() else {
                break;
            };
            self.enter(handed, now, wall);
            entered += 1;
            if entered % HAND_OVER == 0 {
                self.drive(false);
            }
        }
        if entered > 0 {
            self.drive(false);
            self.collect();
            // The wake-ups of what was just done.
            self.due.h2 = false;
        }
        if self.requests >= self.config.max_requests {
            self.rotate(Replace::Requests);
        }
    }

    fn enter(&mut self, handed: Handed, now: Instant, wall: UnixMs) {
        let Handed {
            token,
            request,
            body,
            at,
        } = handed;
        let Some(sender) = &mut self.sender else {
            return self.ends(token, Fate::Unsent(Unsent::Draining));
        };
        let (response, mut stream) = match sender.send_request(request, body.is_empty()) {
            Ok(opened) => opened,
            Err(error) => {
                let mistake = !error.is_go_away() && !error.is_io() && self.requests < REQUESTS_MAX;
                let why = match mistake {
                    true => Unsent::Invalid(error.to_string()),
                    false => Unsent::Draining,
                };
                return self.ends(token, Fate::Unsent(why));
            }
        };
        self.requests += 1;
        if !body.is_empty()
            && let Err(error) = stream.send_data(body, true)
        {
            // A stream just opened takes its body; were it not so, the head may leave.
            tracing::error!(peer = self.peer, %error, "a request's body was not taken");
        }
        let slot = self.slots.insert(Out {
            token,
            stream: response.stream_id().into(),
            handed: at,
            awaits: Awaits::Head(response),
            body: stream,
        });
        // Its waker is known to h2 once it has been polled.
        self.answer(slot, now, wall);
    }

    /// Says goodbye when it drains and nothing is out.
    fn parts(&mut self, now: Instant) {
        if self.fenced.is_none() || self.in_flight() > 0 || self.closed.is_some() {
            return;
        }
        if self.close_by.is_none() {
            self.close_by = Some(now + LINGER);
            // h2 closes when nobody can open streams any more.
            self.sender = None;
            self.due.h2 = true;
        }
        if self.close_by.is_some_and(|by| by <= now) {
            self.closed = self.fenced.clone();
        }
    }

    /// Ends: everything has a fate.
    fn end(&mut self) {
        self.sender = None;
        self.wire.lock().kill();
        // What h2 still has of answers it tells; the rest are errors now.
        self.h2 = None;
        let (now, wall) = (self.clock.instant(), self.clock.now());
        while let Some((slot, _)) = self.slots.oldest() {
            self.answer(slot, now, wall);
            self.settle(slot, false, Unknown::Broken);
        }
        self.unsent(&Unsent::NotWritten);
        if self.fenced.is_none() {
            self.meters.happened(Happened::Io);
        }
        self.news.limit_changed |= self.fenced.is_none() && self.streams != 0;
        self.news.closed = self.closed.clone();
    }

    /// Sees to it that it is woken.
    fn rest(&mut self, now: Instant) {
        if self.closed.is_some() {
            return;
        }
        let wake = self.wakes_at();
        // Resetting costs; a timer that fires early only makes one more turn.
        if wake < self.armed || self.armed <= now {
            self.armed = wake.max(now);
            self.sleep.as_mut().reset(Wake::from_std(self.armed));
        }
        let mut context = Context::from_waker(self.ready.waker(TIMER));
        let fired = self.sleep.as_mut().poll(&mut context).is_ready();
        let due = &self.due;
        if fired || due.read || due.h2 || due.pong || !due.slots.is_empty() {
            self.ready.mark(TIMER);
        }
    }

    fn wakes_at(&self) -> Instant {
        let timeout = self.config.request_timeout;
        let ping = match self.pings.awaited() {
            Some(sent) => Some(sent + self.config.ping_timeout).filter(|_| self.sick_by.is_none()),
            None => Some(self.asks_at()),
        };
        let times = [
            self.slots.oldest().map(|(_, out)| out.handed + timeout),
            self.queue.front().map(|handed| handed.at + timeout),
            ping,
            Some(self.rotate_at).filter(|_| !self.rotates && !self.drains()),
            self.sick_by.filter(|_| self.slots.len() > 0),
            self.close_by,
        ];
        let first = times.into_iter().flatten().min();
        first.unwrap_or_else(|| self.heard_at + IDLE)
    }
}

/// Polls for an answer, and says whether all of it is there. An error comes before any status.
fn poll_answer(
    out: &mut Out,
    config: &Config,
    now: Instant,
    wall: UnixMs,
    context: &mut Context<'_>,
) -> Poll<Result<bool, h2::Error>> {
    if let Awaits::Head(response) = &mut out.awaits {
        let Poll::Ready(response) = Pin::new(response).poll(context)? else {
            return Poll::Pending;
        };
        let (mut head, stream) = response.into_parts();
        let answered = Box::new(Answered {
            status: head.status,
            headers: Answered::pick(&config.headers, &mut head.headers),
            body: Bytes::new(),
            complete: false,
            at: wall,
            latency: now.saturating_duration_since(out.handed),
        });
        let body = BytesMut::new();
        out.awaits = Awaits::Body {
            answered,
            body,
            stream,
        };
    }
    let Awaits::Body { body, stream, .. } = &mut out.awaits else {
        return Poll::Pending;
    };
    while !stream.is_end_stream() {
        match stream.poll_data(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => break,
            Poll::Ready(Some(Err(_))) => return Poll::Ready(Ok(false)),
            Poll::Ready(Some(Ok(octets))) => {
                let room = config.body_octets_max.saturating_sub(body.len());
                body.extend_from_slice(octets.get(..room).unwrap_or(&octets));
                // Fails only for what was not received.
                drop(stream.flow_control().release_capacity(octets.len()));
                if octets.len() > room {
                    return Poll::Ready(Ok(false));
                }
            }
        }
    }
    Poll::Ready(Ok(true))
}
