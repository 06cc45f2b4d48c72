//! A webhook receiver: verifies, counts, and fails on request.
//!
//! Plain HTTP/1.1 with keep-alive, meant for loopback. It takes single events and batches
//! (contract §3), checks the Standard Webhooks signature, and counts by event, by message and by
//! type, so that a lost, doubled or misordered event shows. Only requests that it answers with a
//! 2xx count as received; those that a fault takes are in `answers`, `hung` or `closed`. A GET of
//! any path shows the report as JSON.

mod counts;
mod faults;

pub use counts::Report;
pub use faults::Faults;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use codecs::webhook::{Secret, Signer};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use counts::{Counts, Parsed};
use faults::{Dice, Fault};

#[cfg(test)]
mod tests;

/// Connections served at once; more wait in the listener's queue. Chosen: a gateway opens a few
/// for each endpoint.
const CONNECTIONS_MAX: usize = 1024;

/// Longest body in bytes. The contract's batches end at 1 MiB; the rest is room for a sender that
/// does not hold to it.
const BODY_BYTES_MAX: usize = 8 << 20;

/// How a receiver runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `whsec_` secrets that are live; none: signatures are not checked.
    pub secrets: Vec<String>,
    /// Seconds that a timestamp may be off the clock.
    pub tolerance_seconds: u64,
    /// Most event ids remembered, and as many messages; about 20 and 35 bytes each at the worst.
    /// What comes on top is counted as `beyond_tables`.
    pub events_max: usize,
    /// Keeps the last so many requests with headers and body, for tests.
    pub keep_requests: usize,
    /// What goes wrong from the start.
    pub faults: Faults,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            secrets: Vec::new(),
            tolerance_seconds: codecs::webhook::TOLERANCE_SECONDS,
            events_max: 10_000_000,
            keep_requests: 0,
            faults: Faults::default(),
        }
    }
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Kept {
    /// All headers.
    pub headers: HeaderMap,
    /// The raw body.
    pub body: Bytes,
    /// The status it was answered with; `None` where a fault left it without one.
    pub status: Option<u16>,
    /// When it had come whole; its answer went out later.
    pub at: Instant,
}

/// A running receiver; it stops when dropped.
#[derive(Debug)]
pub struct Receiver {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    signer: Option<Signer>,
    tolerance_seconds: u64,
    keep_requests: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    counts: Counts,
    faults: Faults,
    dice: Dice,
    kept: VecDeque<Kept>,
}

impl Receiver {
    /// Binds and serves on the current runtime.
    ///
    /// # Errors
    /// The address cannot be bound, or a secret is none.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let mut secrets = config.secrets.iter().map(|secret| Secret::parse(secret));
        let signer = match secrets.next() {
            None => None,
            Some(first) => {
                let signer = Signer::new(first.context("first secret")?);
                Some(secrets.try_fold(signer, |signer, secret| secret.map(|it| signer.and(it)))?)
            }
        };
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            signer,
            tolerance_seconds: config.tolerance_seconds,
            keep_requests: config.keep_requests,
            state: Mutex::new(State {
                counts: Counts::new(config.events_max),
                faults: config.faults,
                dice: Dice::default(),
                kept: VecDeque::new(),
            }),
            changed: Notify::new(),
        });
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve(listener, Arc::clone(&shared), stopped));
        Ok(Self {
            addr,
            shared,
            stop: Some(stop),
            server,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The counts so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.state().counts.report()
    }

    /// Changes what goes wrong, for requests from now on.
    pub fn set(&self, faults: Faults) {
        self.shared.state().faults = faults;
    }

    /// The last requests, oldest first; empty unless [`Config::keep_requests`] asks for them.
    #[must_use]
    pub fn kept(&self) -> Vec<Kept> {
        self.shared.state().kept.iter().cloned().collect()
    }

    /// Waits until the report is as wanted, for as long as events come that have not come before.
    ///
    /// # Errors
    /// The report as it is when none has come for `timeout`.
    pub async fn wait_until(
        &self,
        wanted: impl Fn(&Report) -> bool,
        timeout: Duration,
    ) -> Result<Report, Box<Report>> {
        let mut deadline = tokio::time::Instant::now() + timeout;
        let mut events = self.report().events_unique;
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let report = self.report();
            if wanted(&report) {
                return Ok(report);
            }
            if report.events_unique > events {
                events = report.events_unique;
                deadline = tokio::time::Instant::now() + timeout;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(Box::new(report));
            }
        }
    }

    /// Closes the listener and every connection, and gives the last report.
    pub async fn stop(mut self) -> Report {
        drop(self.stop.take());
        // The server ends by itself; a panic in it has nothing to add to the report.
        if let Err(error) = (&mut self.server).await {
            debug_assert!(error.is_cancelled(), "the receiver failed: {error}");
        }
        self.report()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Counters are whole whenever the lock is free, so a panic elsewhere does not spoil them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts until `stopped` resolves; connections end with it.
async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                // A failed accept is the peer's trouble: it went away before it was served.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve_connection(stream, Arc::clone(&shared)));
                }
            }
        }
    }
    connections.shutdown().await;
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(|request| answer(request, &shared));
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // Errors are peers that went away and the closes that a fault asked for.
    drop(served);
}

/// The error that makes hyper close the connection without an answer.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed on request")
    }
}

impl std::error::Error for Closed {}

type Answer = Response<Full<Bytes>>;

async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Answer, Closed> {
    if request.method() == Method::GET {
        return Ok(shown(&shared.state().counts.report()));
    }
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(status(StatusCode::PAYLOAD_TOO_LARGE)),
    };
    let fault = {
        let mut state = shared.state();
        state.counts.request(body.len());
        let faults = state.faults;
        let request = state.counts.requests();
        state.dice.throw(&faults, request)
    };
    let answer = match fault {
        Fault::None => Ok(receive(&parts.headers, &body, shared)),
        Fault::Slow(delay) => {
            tokio::time::sleep(delay).await;
            Ok(receive(&parts.headers, &body, shared))
        }
        Fault::Answer(code, retry_after) => Ok(refusal(code, retry_after)),
        Fault::Lost => {
            receive(&parts.headers, &body, shared);
            Err(Closed)
        }
        Fault::Close => Err(Closed),
        Fault::Hang(most) => {
            shared.state().counts.hung();
            keep(shared, parts.headers, body, None);
            shared.changed.notify_waiters();
            tokio::time::sleep(most).await;
            return Err(Closed);
        }
    };
    let code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
    shared.state().counts.answered(code);
    keep(shared, parts.headers, body, code);
    shared.changed.notify_waiters();
    answer
}

fn keep(shared: &Shared, headers: HeaderMap, body: Bytes, status: Option<u16>) {
    if shared.keep_requests == 0 {
        return;
    }
    let kept = &mut shared.state().kept;
    if kept.len() == shared.keep_requests {
        kept.pop_front();
    }
    kept.push_back(Kept {
        headers,
        body,
        status,
        at: Instant::now(),
    });
}

/// Verifies, parses outside the lock, and counts.
fn receive(headers: &HeaderMap, body: &Bytes, shared: &Shared) -> Answer {
    let header = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    };
    let id = header("webhook-id");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    if let Some(signer) = &shared.signer {
        let (timestamp, signature) = (header("webhook-timestamp"), header("webhook-signature"));
        let tolerance = shared.tolerance_seconds;
        if signer
            .verify(id, timestamp, signature, body, now.as_secs(), tolerance)
            .is_err()
        {
            shared.state().counts.unverified();
            return status(StatusCode::UNAUTHORIZED);
        }
    }
    match Parsed::read(id, body) {
        Ok(parsed) => {
            let at_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            shared.state().counts.add(&parsed, at_ms);
            status(StatusCode::NO_CONTENT)
        }
        Err(_) => {
            shared.state().counts.unparsable();
            status(StatusCode::BAD_REQUEST)
        }
    }
}

/// The report as JSON.
fn shown(report: &Report) -> Answer {
    match serde_json::to_vec(report) {
        Ok(json) => Response::new(Full::from(json)),
        Err(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn status(code: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = code;
    answer
}

fn refusal(code: StatusCode, retry_after: Option<u32>) -> Answer {
    let mut answer = status(code);
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}
