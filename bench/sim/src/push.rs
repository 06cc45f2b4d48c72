//! Push services that answer at full speed and misbehave on request: APNs and FCM over HTTP/2.
//!
//! ```text
//! TLS ──► http2 ──► connection ──► Service (apns, fcm): accepted or refused
//!                      │               faults: by the token's first eight characters
//!                      └──► counts: of each token, so that loss and duplication are seen
//! ```
//! One task per connection; delays wait in a heap of that task, not in tasks of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub mod apns;
mod connection;
mod counts;
mod faults;
pub mod fcm;
mod hpack;
mod http;
mod http2;
mod huffman;
mod tls;

pub use counts::{Report, Seen, TokenCounts};
pub use faults::{LINK_FAULTS, LinkFault, LinkRow, PREFIX_CHARS};
pub use tls::Identity;

use connection::Service;
use counts::Counts;
use http::Own;

/// Connections at once. Chosen: more than any test opens, so that a leak shows.
const CONNECTIONS_MAX: usize = 10_000;

/// How long connections may take to end when the simulator stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What both simulators are told at their start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The server's certificate and key; `None`: a CA and both are made.
    pub identity: Option<Identity>,
    /// A CA, as PEM, whose certificates clients may show beside those of the CA that is made.
    pub client_ca: Option<String>,
    /// Where to listen for orders, in plain HTTP: the paths are in `push/http.rs`. `None`: nowhere;
    /// FCM, which gives out access tokens there, then takes a free port.
    pub control: Option<SocketAddr>,
    /// Streams that a connection may have open, at best.
    pub streams: u32,
    /// Milliseconds between a request and its answer.
    pub latency_ms: u32,
    /// Up to so many milliseconds more, evenly spread.
    pub jitter_ms: u32,
    /// Tokens that are counted each; beyond, `untracked` counts.
    pub tokens_max: usize,
    /// Requests kept for `requests()`.
    pub last_max: usize,
    /// Start of every random draw.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            identity: None,
            client_ca: None,
            control: None,
            // Apple's, typically (push.md §1.7).
            streams: 1_000,
            latency_ms: 0,
            jitter_ms: 0,
            tokens_max: 10_000_000,
            last_max: 0,
            seed: 1,
        }
    }
}

/// What connections are told while they run.
#[derive(Clone, Debug)]
struct Orders {
    streams: u32,
    latency_ms: u32,
    jitter_ms: u32,
    stalled: bool,
    /// Counts calls of [`Running::go_away`], and what the last one said.
    go_aways: u64,
    go_away: (u32, Option<Arc<str>>),
    /// Counts calls of [`Running::kill`].
    kills: u64,
    /// Counts calls of [`Running::silence`].
    silences: u64,
    stop: bool,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    counts: Counts,
    /// Told whenever something may have changed in the counts.
    changed: Notify,
    orders: watch::Sender<Orders>,
    /// Milliseconds by which the service's clock is ahead of the machine's.
    clock_ahead_ms: AtomicI64,
    seed: u64,
}

impl Shared {
    fn clock_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        now.saturating_add_signed(self.clock_ahead_ms.load(Ordering::Relaxed))
    }

    fn set_clock_ahead_ms(&self, ms: i64) {
        self.clock_ahead_ms.store(ms, Ordering::Relaxed);
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(change);
    }

    fn go_away(&self, code: u32, reason: Option<&str>) {
        self.order(|orders| {
            orders.go_aways += 1;
            orders.go_away = (code, reason.map(Arc::from));
        });
    }
}

/// A simulator that runs; dropping it closes everything at once. What is the same for both.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    control: Option<SocketAddr>,
    shared: Arc<Shared>,
    accept: JoinHandle<()>,
    controlled: Option<JoinHandle<()>>,
    ca: Option<String>,
    client: Identity,
}

impl Running {
    async fn start<S: Service + Own>(config: Config, service: Arc<S>) -> anyhow::Result<Self> {
        let made = tls::make().context("certificates")?;
        let (ca, server) = match config.identity {
            Some(identity) => (None, identity),
            None => (Some(made.ca.clone()), made.server),
        };
        let mut client_ca = made.ca;
        client_ca.push_str(config.client_ca.as_deref().unwrap_or_default());
        let tls = TlsAcceptor::from(tls::server(&server, &client_ca)?);
        let (listener, addr) = listen(config.listen).await?;
        let (orders, obeyed) = watch::channel(Orders {
            streams: config.streams,
            latency_ms: config.latency_ms,
            jitter_ms: config.jitter_ms,
            stalled: false,
            go_aways: 0,
            go_away: (0, None),
            kills: 0,
            silences: 0,
            stop: false,
        });
        let shared = Arc::new(Shared {
            counts: Counts::new(config.tokens_max, config.last_max),
            changed: Notify::new(),
            orders,
            clock_ahead_ms: AtomicI64::new(0),
            seed: config.seed,
        });
        let (mut control, mut controlled) = (None, None);
        if let Some(at) = config.control {
            let (listener, addr) = listen(at).await?;
            let serve = http::serve(listener, Arc::clone(&service), Arc::clone(&shared));
            control = Some(addr);
            controlled = Some(tokio::spawn(serve));
        }
        let accept = tokio::spawn(accept(listener, tls, service, Arc::clone(&shared), obeyed));
        Ok(Self {
            addr,
            control,
            shared,
            accept,
            controlled,
            ca,
            client: made.client,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it takes orders in plain HTTP, if it does.
    #[must_use]
    pub fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    /// The certificate, as PEM, that a client has to trust for `localhost`, `127.0.0.1` and `::1`;
    /// `None` if the server's own was given.
    #[must_use]
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// A client certificate that is accepted, for authentication without tokens.
    #[must_use]
    pub fn client(&self) -> &Identity {
        &self.client
    }

    /// What it saw so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.counts.report()
    }

    /// What became of one token's requests.
    #[must_use]
    pub fn token(&self, token: &str) -> TokenCounts {
        self.shared.counts.token(token.as_bytes())
    }

    /// The last requests that it looked at, oldest first; `last_max` of them.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.counts.last()
    }

    /// Waits until the report is as wanted; `None` if it is not in time.
    pub async fn until(
        &self,
        within: Duration,
        wanted: impl Fn(&Report) -> bool,
    ) -> Option<Report> {
        let wait = async {
            loop {
                let changed = self.shared.changed.notified();
                let mut changed = std::pin::pin!(changed);
                // Registered before the look, so that nothing is missed between.
                changed.as_mut().enable();
                let report = self.report();
                if wanted(&report) {
                    return report;
                }
                changed.await;
            }
        };
        tokio::time::timeout(within, wait).await.ok()
    }

    /// Sends GOAWAY on every connection: what was looked at is still answered, then each is closed.
    /// `reason` is in the debug data as Apple writes it; `None`: there is no debug data.
    pub fn go_away(&self, code: u32, reason: Option<&str>) {
        self.shared.go_away(code, reason);
    }

    /// Resets every connection at once.
    pub fn kill(&self) {
        self.shared.order(|orders| orders.kills += 1);
    }

    /// Says nothing more on any connection that is open now, not even to PING, and closes none: what a NAT
    /// does that has forgotten them. New ones work.
    pub fn silence(&self) {
        self.shared.order(|orders| orders.silences += 1);
    }

    /// Allows each connection this many streams, at best; SETTINGS say so to those that run.
    pub fn set_streams(&self, streams: u32) {
        self.shared.order(|orders| orders.streams = streams);
    }

    /// Holds every answer back, or lets them go. PING is still answered.
    pub fn set_stalled(&self, stalled: bool) {
        self.shared.order(|orders| orders.stalled = stalled);
    }

    /// Milliseconds between a request and its answer, and up to how many more.
    pub fn set_latency(&self, latency_ms: u32, jitter_ms: u32) {
        self.shared.order(|orders| {
            orders.latency_ms = latency_ms;
            orders.jitter_ms = jitter_ms;
        });
    }

    /// Puts the service's clock ahead of the machine's, or behind it, by so many milliseconds.
    pub fn set_clock_ahead_ms(&self, ms: i64) {
        self.shared.set_clock_ahead_ms(ms);
    }

    /// Closes every connection, then stops listening; returns the last report.
    pub async fn stop(&mut self) -> Report {
        self.shared.order(|orders| orders.stop = true);
        let joined = (&mut self.accept).await;
        debug_assert!(
            joined.is_ok(),
            "accept neither panics nor is aborted before"
        );
        self.report()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accept.abort();
        if let Some(controlled) = &self.controlled {
            controlled.abort();
        }
    }
}

async fn listen(at: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(at)
        .await
        .with_context(|| at.to_string())?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

/// Accepts connections; they end with it.
async fn accept<S: Service>(
    listener: TcpListener,
    tls: TlsAcceptor,
    service: Arc<S>,
    shared: Arc<Shared>,
    mut orders: watch::Receiver<Orders>,
) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let Ok((stream, _)) = accepted else { continue };
                number += 1;
                connections.spawn(connection::serve(
                    stream,
                    tls.clone(),
                    number,
                    Arc::clone(&service),
                    Arc::clone(&shared),
                    orders.clone(),
                ));
            }
            Some(_) = connections.join_next() => {}
            changed = orders.changed() => {
                if changed.is_err() || orders.borrow_and_update().stop {
                    break;
                }
            }
        }
    }
    drop(listener);
    let left = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, left).await.is_err() {
        connections.shutdown().await;
    }
}
