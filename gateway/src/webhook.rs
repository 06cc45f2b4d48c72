//! Webhooks: every event to every endpoint that wants it, signed, at least once.
//!
//! ```text
//!              one reader near the head            one task per endpoint
//!  event log ───► fan ──offer──► feed (bounded) ───► course: ledger · retries · gate ──► POST
//!      ▲                          │ lags: reads for itself                                │
//!      └──────────────────────────┴──── cursor and retry set, with the next commit ◄──────┘
//! ```
//!
//! A slow or dead endpoint fills its own feed and nothing else. What an endpoint remembers
//! ([`crate::store::EndpointState`]) is a cursor over the log and a bounded set of deliveries to be
//! tried again; after a crash what was delivered since is delivered once more. The rules (schedule,
//! Retry-After, 410, AIMD, circuit, disabling) are contract.md §3, "Delivery rules".

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::webhook::Secret;
use ipnet::IpNet;
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::event::{EventKind, EventKinds};
use crate::message::{EndpointIx, Ids, TenantIx};
use crate::names::Names;
use crate::outbound::Rules;
use crate::stop::Stop;
use crate::store::{EndpointState, EventPage, EventQuery, Store};

mod batch;
mod course;
mod endpoint;
mod fan;
mod feed;
mod gate;
mod ledger;
mod post;
mod retry;
mod target;
mod view;

pub use batch::Batch;
pub use target::Mistake;
pub use view::{Condition, EndpointView};

/// Most endpoints. Each is a task with a queue and up to 8 connections.
pub const ENDPOINTS_MAX: usize = 1_000;

/// Octets of events that all queues together may hold; each endpoint has its share.
const QUEUES_OCTETS: usize = 64 << 20;

/// The most and the least of one endpoint's share: about 10,000 events, and about 100.
const QUEUE_OCTETS: std::ops::RangeInclusive<usize> = (64 << 10)..=(8 << 20);

/// What the stage is given.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who gets events.
    pub endpoints: Vec<Endpoint>,
    /// Plain HTTP too: development only.
    pub allow_http: bool,
    /// Private addresses that endpoints may be at.
    pub allow_private: Vec<IpNet>,
    /// The kinds that a message's callback may name beside its endpoint's; events of no endpoint's
    /// kinds and not among these are not even read. [`EventKinds::ALL`] is always right.
    pub callback_kinds: EventKinds,
    /// Certificates that are trusted beside the machine's own.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its number.
    pub ix: EndpointIx,
    /// Whose it is.
    pub tenant: TenantIx,
    /// Where it is.
    pub url: String,
    /// What signs: all current ones, the newest first.
    pub secrets: Vec<Secret>,
    /// The kinds it wants.
    pub kinds: EventKinds,
    /// How it wants batches; `None`: each event alone.
    pub batch: Option<Batch>,
    /// How fast POSTs may start; `None`: as fast as it answers.
    pub rate: Option<Pace>,
    /// Headers of its own, as an `Authorization`.
    pub headers: Vec<(String, String)>,
}

/// How fast an endpoint's POSTs may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Time from one to the next.
    pub gap: Duration,
    /// So many at once, after a pause; 0 is as good as 1.
    pub burst: u32,
}

/// Why the stage cannot start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// An endpoint cannot be used as configured.
    #[error("endpoint {name}: {mistake}")]
    Endpoint {
        /// Its name.
        name: String,
        /// What is wrong.
        mistake: Mistake,
    },
    /// Two endpoints have one number.
    #[error("endpoint {0} is there twice")]
    Twice(String),
    /// More than [`ENDPOINTS_MAX`].
    #[error("{0} endpoints; at most {ENDPOINTS_MAX}")]
    TooMany(usize),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// A page of the log, later.
type Reading = Pin<Box<dyn Future<Output = EventPage> + Send>>;

/// What the stage uses of the store; tests give a log of their own.
#[derive(Clone)]
struct Log {
    read: Arc<dyn Fn(EventQuery) -> Reading + Send + Sync>,
    save: Arc<dyn Fn(EndpointIx, EndpointState) + Send + Sync>,
    note: Arc<dyn Fn(TenantIx, EndpointIx, EventKind) + Send + Sync>,
    head: watch::Receiver<u64>,
    states: Vec<(EndpointIx, EndpointState)>,
    ids: Ids,
    names: Arc<Names>,
}

impl Log {
    fn of(store: &Store) -> Self {
        let (reader, saver, noter) = (store.clone(), store.clone(), store.clone());
        Self {
            read: Arc::new(move |query| {
                let store = reader.clone();
                Box::pin(async move { store.events_after(query).await })
            }),
            save: Arc::new(move |endpoint, state| saver.save_endpoint(endpoint, state)),
            note: Arc::new(move |tenant, ix, kind| noter.note_endpoint(tenant, ix, kind)),
            head: store.head(),
            states: store.endpoint_states(),
            ids: store.ids(),
            names: store.names(),
        }
    }
}

/// The stage before it runs.
pub struct Stage {
    log: Log,
    tasks: Vec<endpoint::Task>,
    lines: Arc<Vec<Line>>,
    kinds: EventKinds,
    from: u64,
}

/// One endpoint as seen from outside its task.
struct Line {
    means: endpoint::Means,
    ix: EndpointIx,
}

/// A look at the running stage, and a hand on it; cheap to clone.
#[derive(Clone)]
pub struct Webhooks(Arc<Vec<Line>>);

/// Checks the endpoints and takes up what they remembered. An endpoint that is new begins with the
/// next event; that is given to the store here, so call this before anything is accepted.
///
/// # Errors
/// [`OpenError`]: nothing was started.
pub fn open(config: &Config, store: &Store, clock: &Clock) -> Result<(Stage, Webhooks), OpenError> {
    let rules = Rules {
        allow_http: config.allow_http,
        allow_private: config.allow_private.clone(),
    };
    let post = post::over_http(rules, &config.extra_roots, clock.clone())?;
    open_with(config, Log::of(store), post, clock)
}

/// Opens the stage and runs it until the stop.
///
/// # Errors
/// [`OpenError`]: nothing was started.
pub async fn run(config: Config, store: Store, clock: Clock, stop: Stop) -> Result<(), OpenError> {
    let (stage, _) = open(&config, &store, &clock)?;
    drop((config, store));
    stage.run(stop).await;
    Ok(())
}

fn open_with(
    config: &Config,
    log: Log,
    post: post::Post,
    clock: &Clock,
) -> Result<(Stage, Webhooks), OpenError> {
    let count = config.endpoints.len();
    if count > ENDPOINTS_MAX {
        return Err(OpenError::TooMany(count));
    }
    let octets = (QUEUES_OCTETS / count.max(1)).clamp(*QUEUE_OCTETS.start(), *QUEUE_OCTETS.end());
    let head = *log.head.borrow();
    let (mut seen, mut lines, mut tasks) = (BTreeSet::new(), Vec::new(), Vec::new());
    let mut kinds = config.callback_kinds;
    for endpoint in &config.endpoints {
        let name = log.names.endpoint(endpoint.ix).to_owned();
        if !seen.insert(endpoint.ix.0) {
            return Err(OpenError::Twice(name));
        }
        let target = target::Target::new(endpoint, &name, log.ids, config.allow_http).map_err(
            |mistake| OpenError::Endpoint {
                name: name.clone(),
                mistake,
            },
        )?;
        kinds = kinds.with(endpoint.kinds);
        let known = log.states.iter().find(|(ix, _)| *ix == endpoint.ix);
        let mut state = known.map(|(_, state)| state.clone()).unwrap_or_default();
        if known.is_none() {
            state.cursor = head;
            (log.save)(endpoint.ix, state.clone());
        }
        state.cursor = state.cursor.min(head);
        let means = endpoint::Means {
            target: Arc::new(target),
            reads: config.callback_kinds.with(endpoint.kinds),
            octets_out_max: octets,
            feed: Arc::new(feed::Feed::new(feed::Queue::new(
                state.cursor,
                head,
                octets,
            ))),
            log: log.clone(),
            post: post.clone(),
            clock: clock.clone(),
            shown: Arc::new(view::Shown::new(&name)),
            enable: Arc::new(Notify::new()),
        };
        lines.push(Line {
            means: means.clone(),
            ix: endpoint.ix,
        });
        tasks.push(endpoint::Task::new(means, state, endpoint.rate));
    }
    let lines = Arc::new(lines);
    let stage = Stage {
        log,
        tasks,
        lines: lines.clone(),
        kinds,
        from: head,
    };
    Ok((stage, Webhooks(lines)))
}

impl Stage {
    /// Runs until the stop, then waits a few seconds for what is out and remembers the rest.
    pub async fn run(self, stop: Stop) {
        if self.tasks.is_empty() {
            return;
        }
        let mut running = JoinSet::new();
        let outlets = self.lines.iter().map(|line| {
            let means = &line.means;
            (means.target.clone(), means.feed.clone())
        });
        let outlets = outlets.collect();
        running.spawn(fan::run(
            self.log,
            outlets,
            self.kinds,
            self.from,
            stop.clone(),
        ));
        let mut shown = std::collections::HashMap::new();
        for (task, line) in self.tasks.into_iter().zip(self.lines.iter()) {
            let id = running.spawn(task.run(stop.clone())).id();
            shown.insert(id, line.means.shown.clone());
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a webhook task ended by a fault");
                if let Some(shown) = shown.get(&error.id()) {
                    shown.stopped();
                }
            }
        }
    }
}

impl Webhooks {
    /// How every endpoint is.
    #[must_use]
    pub fn view(&self) -> Vec<(EndpointIx, EndpointView)> {
        self.0.iter().map(|line| (line.ix, line.look())).collect()
    }

    /// How one endpoint is.
    #[must_use]
    pub fn endpoint(&self, ix: EndpointIx) -> Option<EndpointView> {
        self.0.iter().find(|line| line.ix == ix).map(Line::look)
    }

    /// Starts an endpoint again that was disabled, where it was; others are not touched. Returns
    /// whether there is such an endpoint.
    pub fn enable(&self, ix: EndpointIx) -> bool {
        let line = self.0.iter().find(|line| line.ix == ix);
        line.inspect(|line| line.means.enable.notify_one())
            .is_some()
    }
}

impl Line {
    fn look(&self) -> EndpointView {
        let mut view = self.means.shown.look();
        let queue = self.means.feed.queue.lock();
        view.queued = queue.items().len();
        if view.in_flight == 0 && view.queued == 0 {
            // An idle endpoint is not woken for each event that it does not want.
            view.cursor = view.cursor.max(queue.passed());
        }
        drop(queue);
        let head = *self.means.log.head.borrow();
        view.lag = head.saturating_sub(view.cursor);
        view
    }
}

/// The monotonic clock as the runtime's timers see it: a test that pauses them pauses this too.
fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
