//! One connection of a push service: its requests, what waits to be answered, and its faults.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::counts::{Counts, Fate, Seen};
use super::faults::LinkFault;
use super::hpack::Headers;
use super::http2::{Event, Http2, Violation, code};
use super::{Orders, Shared};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long the client may take to read what we write.
const WRITE_STALL: Duration = Duration::from_secs(10);

/// How long the client may take to close after we have said our last.
const LINGER: Duration = Duration::from_secs(1);

/// Octets that are read at once. Chosen: two records of TLS.
const READ_OCTETS: usize = 32 * 1024;

/// Longest sleep when nothing is planned.
const IDLE: Duration = Duration::from_secs(3_600);

/// What Apple writes into the GOAWAY when a client opens too many streams (pushy#356).
const TOO_MANY_STREAMS: &[u8] = b"Maximum active streams violated for this endpoint";

/// A service behind the connections: APNs or FCM.
pub(super) trait Service: Send + Sync + 'static {
    /// What it knows of one connection.
    type Link: Send;

    /// A connection was opened, with a client certificate or without.
    fn link(&self, certificate: bool) -> Self::Link;

    /// Streams that the connection may have now, when it may have `most` at best.
    fn limit(&self, link: &Self::Link, most: u32) -> u32;

    /// Looks at a request.
    fn handle<'a>(&self, link: &mut Self::Link, asked: &Asked<'a>) -> Verdict<'a>;

    /// The debug data of a GOAWAY that has a reason.
    fn debug_data(reason: &str) -> Vec<u8>;
}

/// A request and the moment it came.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) headers: &'a Headers,
    pub(super) body: &'a [u8],
    /// The body is longer than what is here of it.
    pub(super) too_long: bool,
    pub(super) counts: &'a Counts,
    pub(super) now: Instant,
    /// The service's clock, in milliseconds since 1970.
    pub(super) clock_ms: u64,
}

/// An answer as it is written.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Vec<(&'static str, Vec<u8>)>,
    pub(super) body: Cow<'static, [u8]>,
}

/// What a service makes of a request.
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    /// Whose request it is; empty if it names nobody.
    pub(super) token: Cow<'a, [u8]>,
    pub(super) fate: Fate,
    /// Why it was not accepted.
    pub(super) reason: &'static str,
    pub(super) answer: Answer,
    /// What happens in place of the answer, or on top of it.
    pub(super) fault: Option<LinkFault>,
}

impl LinkFault {
    /// Whether the message is accepted.
    pub(super) fn fate(self) -> Fate {
        match self {
            Self::GoAwayIncluding { .. }
            | Self::HeadersThenReset
            | Self::Half
            | Self::Late(_)
            | Self::Reset { accepted: true, .. }
            | Self::Never { accepted: true }
            | Self::Cut { accepted: true } => Fate::Accepted,
            Self::GoAwayBelow { .. }
            | Self::Refused
            | Self::Silence
            | Self::Reset { .. }
            | Self::Never { .. }
            | Self::Cut { .. } => Fate::Dropped,
        }
    }
}

/// An answer whose time is to come: by time, then in order.
struct Later {
    at: Reverse<(Instant, u64)>,
    stream: u32,
    answer: Answer,
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Later {}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// What is written goes out, then TLS and TCP are closed in order.
    Closed,
    /// What is written goes out, then TCP is cut.
    Cut,
    /// TCP is reset at once.
    Killed,
}

struct Connection<S: Service> {
    http2: Http2,
    link: S::Link,
    service: Arc<S>,
    shared: Arc<Shared>,
    number: u64,
    orders: Orders,
    now: Instant,
    later: BinaryHeap<Later>,
    planned: u64,
    /// Streams that were accepted and not answered yet, and their tokens' keys.
    owed: HashMap<u32, u64>,
    dice: u64,
    silent: bool,
    end: Option<End>,
}

/// Serves one client until either side is done.
pub(super) async fn serve<S: Service>(
    stream: TcpStream,
    tls: TlsAcceptor,
    number: u64,
    service: Arc<S>,
    shared: Arc<Shared>,
    mut orders: watch::Receiver<Orders>,
) {
    // Not to be had from a socket that is gone already; reading will say so.
    drop(stream.set_nodelay(true));
    let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await;
    let io = match handshake {
        Ok(Ok(io)) if io.get_ref().1.alpn_protocol() == Some(b"h2") => io,
        _ => {
            shared.counts.change(|report| report.tls_failed += 1);
            shared.changed.notify_waiters();
            return;
        }
    };
    shared.counts.change(|report| {
        report.connections += 1;
        report.connections_open += 1;
    });
    let certificate = io.get_ref().1.peer_certificates().is_some();
    let link = service.link(certificate);
    let first = orders.borrow_and_update().clone();
    let connection = Connection {
        http2: Http2::new(service.limit(&link, first.streams)),
        link,
        service,
        shared: Arc::clone(&shared),
        number,
        orders: first,
        now: Instant::now(),
        later: BinaryHeap::new(),
        planned: 0,
        owed: HashMap::new(),
        // Any number but zero will do; differs by connection.
        dice: (shared.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1,
        silent: false,
        end: None,
    };
    connection.run(io, orders).await;
}

impl<S: Service> Connection<S> {
    async fn run(mut self, mut io: TlsStream<TcpStream>, mut orders: watch::Receiver<Orders>) {
        let mut input = BytesMut::with_capacity(READ_OCTETS);
        loop {
            if self.end == Some(End::Killed) {
                // A reset, not an end; the socket may be gone already.
                drop(io.get_ref().0.set_zero_linger());
                break;
            }
            if !self.write(&mut io).await || self.end.is_some() {
                break;
            }
            input.reserve(READ_OCTETS);
            let wake = self.wake();
            tokio::select! {
                // An order holds for whatever is read after it was given.
                biased;
                changed = orders.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let orders = orders.borrow_and_update().clone();
                    self.now = Instant::now();
                    self.obey(orders);
                }
                read = io.read_buf(&mut input) => match read {
                    Ok(1..) => self.received(&mut input),
                    Ok(0) | Err(_) => break,
                },
                () = tokio::time::sleep_until(wake.into()) => self.now = Instant::now(),
            }
            self.answer_due();
            if self.http2.is_done() && self.end.is_none() {
                self.end = Some(End::Closed);
            }
            self.shared.changed.notify_waiters();
        }
        let end = self.end;
        self.close();
        if end == Some(End::Closed) {
            linger(&mut io).await;
        }
    }

    /// When there is something to do without the client.
    fn wake(&self) -> Instant {
        match self.later.peek() {
            Some(Later { at, .. }) if !self.orders.stalled && !self.silent => at.0.0,
            _ => Instant::now() + IDLE,
        }
    }

    /// Writes what there is to write. Says whether the connection lives.
    async fn write(&mut self, io: &mut TlsStream<TcpStream>) -> bool {
        if self.silent {
            self.http2.out.clear();
        }
        if self.http2.out.is_empty() {
            return true;
        }
        let written = tokio::time::timeout(WRITE_STALL, async {
            io.write_all(&self.http2.out).await?;
            io.flush().await
        });
        let written = matches!(written.await, Ok(Ok(())));
        self.http2.out.clear();
        written
    }

    fn received(&mut self, input: &mut BytesMut) {
        if self.silent {
            input.clear();
            return;
        }
        self.now = Instant::now();
        let left = self.http2.client_leaves();
        let received = self.http2.receive(input);
        let leaves = self.http2.client_leaves() && !left;
        let open = self.http2.open() as u64;
        let inflated = self.http2.decoder.inflated as u64;
        self.shared.counts.change(|report| {
            report.goodbyes += u64::from(leaves);
            report.streams_max = report.streams_max.max(open);
            report.hpack_octets_max = report.hpack_octets_max.max(inflated);
        });
        let clock_ms = self.shared.clock_ms();
        while let Some(event) = self.http2.next_event() {
            match event {
                Event::Request(stream) => self.request(stream, clock_ms),
                Event::Reset(stream) => {
                    let owed = self.owed.remove(&stream);
                    let counts = &self.shared.counts;
                    counts.change(|report| report.reset_by_client += 1);
                    if let Some(key) = owed {
                        counts.settled(key, false);
                    }
                }
                Event::TooManyStreams(last) => {
                    let counts = &self.shared.counts;
                    counts.change(|report| report.stream_limit_violations += 1);
                    self.go_away(last, code::REFUSED_STREAM, TOO_MANY_STREAMS);
                }
            }
            if self.end.is_some() || self.silent {
                return;
            }
        }
        if let Err(Violation(why)) = received {
            self.shared.counts.change(|report| {
                report.protocol_violations += 1;
                report.last_violation = Some(why.to_owned());
            });
            self.end = Some(End::Closed);
        }
        let limit = self.service.limit(&self.link, self.orders.streams);
        self.http2.set_limit(limit);
    }

    fn request(&mut self, id: u32, clock_ms: u64) {
        let Some(stream) = self.http2.stream(id) else {
            return;
        };
        let counts = &self.shared.counts;
        let asked = Asked {
            headers: &stream.headers,
            body: &stream.body,
            too_long: stream.too_long,
            counts,
            now: self.now,
            clock_ms,
        };
        let verdict = self.service.handle(&mut self.link, &asked);
        let key = counts.request(&verdict.token, verdict.fate, verdict.reason);
        if counts.keeps() {
            counts.keep(seen(self.number, id, &asked, &verdict));
        }
        let Verdict {
            fate,
            answer,
            fault,
            ..
        } = verdict;
        if fate == Fate::Accepted {
            self.owed.insert(id, key);
        }
        match fault {
            None => self.plan(id, answer, Duration::ZERO),
            Some(fault) => self.fault(id, fault, answer),
        }
        // After the fault: a GOAWAY below this stream names those before it.
        self.http2.handed = self.http2.handed.max(id);
    }

    fn fault(&mut self, id: u32, fault: LinkFault, answer: Answer) {
        match fault {
            LinkFault::GoAwayBelow { reason } => {
                if self.http2.handed > id {
                    // Its body came after that of a later stream: no last-stream-id says so.
                    self.http2.reset(id, code::REFUSED_STREAM);
                }
                self.go_away(self.http2.handed, code::NO_ERROR, &debug_data::<S>(reason));
            }
            LinkFault::GoAwayIncluding { reason } => {
                let last = self.http2.handed.max(id);
                self.plan(id, answer, Duration::ZERO);
                self.go_away(last, code::NO_ERROR, &debug_data::<S>(reason));
            }
            LinkFault::Refused => drop(self.http2.reset(id, code::REFUSED_STREAM)),
            LinkFault::Reset { code, .. } => {
                self.http2.reset(id, code);
                self.unanswered(id);
            }
            LinkFault::HeadersThenReset => {
                self.http2
                    .answer(id, answer.status, &answer.fields, &[], false);
                self.http2.reset(id, code::INTERNAL_ERROR);
                self.answered(id);
            }
            LinkFault::Half => {
                self.http2
                    .answer(id, answer.status, &answer.fields, &[], false);
                self.answered(id);
            }
            LinkFault::Never { .. } => self.unanswered(id),
            LinkFault::Silence => self.silent = true,
            LinkFault::Cut { .. } => {
                self.shared.counts.change(|report| report.cuts += 1);
                self.end = Some(End::Cut);
            }
            LinkFault::Late(delay) => self.plan(id, answer, delay),
        }
    }

    /// Answers after the latency and so much more.
    fn plan(&mut self, stream: u32, answer: Answer, more: Duration) {
        let delay = self.latency() + more;
        if delay.is_zero() && !self.orders.stalled {
            self.write_answer(stream, &answer);
            return;
        }
        self.planned += 1;
        self.later.push(Later {
            at: Reverse((self.now + delay, self.planned)),
            stream,
            answer,
        });
    }

    fn latency(&mut self) -> Duration {
        let base = u64::from(self.orders.latency_ms) * 1_000;
        let jitter = u64::from(self.orders.jitter_ms) * 1_000;
        if jitter == 0 {
            return Duration::from_micros(base);
        }
        // Xorshift: cheap, and good enough to spread answers.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        Duration::from_micros(base + self.dice % jitter)
    }

    fn answer_due(&mut self) {
        if self.orders.stalled || self.silent || self.end.is_some() {
            return;
        }
        while let Some(next) = self.later.peek()
            && next.at.0.0 <= self.now
        {
            if let Some(Later { stream, answer, .. }) = self.later.pop() {
                self.write_answer(stream, &answer);
            }
        }
    }

    fn write_answer(&mut self, id: u32, answer: &Answer) {
        let Answer {
            status,
            fields,
            body,
        } = answer;
        if self.http2.answer(id, *status, fields, body, true) {
            self.answered(id);
        }
    }

    fn answered(&mut self, id: u32) {
        if let Some(key) = self.owed.remove(&id) {
            self.shared.counts.settled(key, true);
        }
    }

    fn unanswered(&mut self, id: u32) {
        if let Some(key) = self.owed.remove(&id) {
            self.shared.counts.settled(key, false);
        }
    }

    fn go_away(&mut self, last: u32, code: u32, debug: &[u8]) {
        self.shared.counts.change(|report| report.go_aways += 1);
        self.http2.go_away(last, code, debug);
    }

    /// Does what is new in the orders.
    fn obey(&mut self, orders: Orders) {
        let before = std::mem::replace(&mut self.orders, orders);
        if self.orders.kills != before.kills || self.orders.stop {
            self.shared.counts.change(|report| report.cuts += 1);
            self.end = Some(End::Killed);
            return;
        }
        self.silent |= self.orders.silences != before.silences;
        if self.orders.go_aways != before.go_aways && !self.http2.is_leaving() {
            let (code, reason) = &self.orders.go_away;
            let (code, data) = (*code, debug_data::<S>(reason.as_deref()));
            self.go_away(self.http2.handed, code, &data);
        }
        let limit = self.service.limit(&self.link, self.orders.streams);
        self.http2.set_limit(limit);
    }

    /// Whoever was accepted and not answered never will be.
    fn close(self) {
        let counts = &self.shared.counts;
        for key in self.owed.into_values() {
            counts.settled(key, false);
        }
        counts.change(|report| report.connections_open -= 1);
        self.shared.changed.notify_waiters();
    }
}

fn debug_data<S: Service>(reason: Option<&str>) -> Vec<u8> {
    reason.map_or_else(Vec::new, S::debug_data)
}

/// Ends the connection so that the client gets all that was written: a socket that is closed while
/// octets wait in it is reset, and what was on its way is lost.
async fn linger(io: &mut TlsStream<TcpStream>) {
    let mut rest = [0; 4_096];
    let read = async {
        if io.shutdown().await.is_ok() {
            while matches!(io.read(&mut rest).await, Ok(1..)) {}
        }
    };
    // Whether the client closes in time is its own matter.
    drop(tokio::time::timeout(LINGER, read).await);
}

fn seen(connection: u64, stream: u32, asked: &Asked<'_>, verdict: &Verdict<'_>) -> Seen {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Seen {
        connection,
        stream,
        headers: asked
            .headers
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        body: text(asked.body),
        accepted: verdict.fate == Fate::Accepted,
        reason: verdict.reason.to_owned(),
    }
}
