//! App: the composition root. Opens the store, builds the stages, connects and spawns them, and stops
//! them in order. The only file that knows everyone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::Config;
use crate::connect;
use crate::dispatch::view::RouteStates;
use crate::dispatch::{self, Dispatcher};
use crate::inbound::InboundBatch;
use crate::link::{LinkHandle, LinkIx};
use crate::message::{Channel, Message, RouteIx};
use crate::outcome::ReceiptBatch;
use crate::plan;
use crate::receipt;
use crate::receipt_keys::ReceiptKeys;
use crate::receive;
use crate::stop::{Stop, Stopper};
use crate::store::{Found, Replanned, Store};
use crate::{accept, admin, webhook};

mod deliveries;
mod map;
mod push;
mod shown;
mod watch;

/// How long a stop waits for what is in flight before it goes on without it.
const GRACE: Duration = Duration::from_secs(40);
/// How long open requests may take to finish when the gateway stops.
const LISTENERS_GRACE: Duration = Duration::from_secs(10);
/// How long webhook deliveries that are out may take: their timeout and a little.
const WEBHOOKS_GRACE: Duration = Duration::from_secs(20);
/// Link events that may wait for a dispatcher: a link waits when it is full.
const LINK_EVENTS_MAX: usize = 256;
/// Batches of attempts that may wait for a link. They hold at most its window.
const ATTEMPT_BATCHES_MAX: usize = 1_024;

/// Where a started gateway listens.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Listening {
    /// The public API.
    pub api: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// Listeners for outbind, by route.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outbind: BTreeMap<String, SocketAddr>,
}

/// A running gateway.
pub struct Gateway {
    listening: Listening,
    store: Store,
    stopper: Stopper,
    /// Stops the stages that must outlive the listeners: routes and receipts, then webhooks.
    routes: Stopper,
    webhooks: Stopper,
    running: JoinSet<()>,
}

impl Gateway {
    /// Opens the store and starts every stage.
    ///
    /// # Errors
    /// Whatever keeps it from starting: the store (in use, damaged), a listener, TLS files.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Self> {
        // Before any stage makes a handle: one that is made without a recorder counts nothing.
        metrics_handle()?;
        let store_config = map::store(&config);
        let store_clock = clock.clone();
        let opened =
            tokio::task::spawn_blocking(move || Store::open(store_config, store_clock)).await?;
        let (store, found) = opened?;
        report(&found);
        store.settle_lost().await?;
        let flagged = store.flag_claimed().await?;
        if flagged > 0 {
            tracing::warn!(
                messages = flagged,
                "the last process ended without a word: these may go out twice, and are flagged"
            );
        }
        match Self::start_on(&config, store.clone(), clock).await {
            Ok(gateway) => Ok(gateway),
            Err(error) => {
                tokio::task::spawn_blocking(move || store.close()).await?;
                Err(error)
            }
        }
    }

    async fn start_on(config: &Config, store: Store, clock: Clock) -> anyhow::Result<Self> {
        let names = store.names();
        let receipt_keys = ReceiptKeys::load(&config.store.path)?;
        let api = TcpListener::bind(config.server.listen)
            .await
            .with_context(|| format!("server.listen {}", config.server.listen))?;
        let admin_at = TcpListener::bind(config.admin.listen)
            .await
            .with_context(|| format!("admin.listen {}", config.admin.listen))?;
        let mut listening = listening(&api, &admin_at)?;
        let (stopper, stop) = Stopper::new();
        let (routes_stopper, routes_stop) = Stopper::new();
        let (webhooks_stopper, webhooks_stop) = Stopper::new();
        let mut running = JoinSet::new();

        // plan: before what asks it.
        let table = Arc::new(map::table(config, &names));
        confirm(config, &names, &store, &table);

        // webhook: before anything is accepted, so that a new endpoint begins with the first event.
        let webhook_config = map::webhook(config, &names)?;
        let (hooks, endpoints) = webhook::open(&webhook_config, &store, &clock)?;
        enable_again(&endpoints);
        running.spawn(hooks.run(webhooks_stop.clone()));

        // receipt, connect, dispatch: from the far end, so that nothing is handed to nobody.
        let (receipts, batches) = mpsc::channel(receipt::BATCHES_WAITING_MAX);
        running.spawn(receipt::run(batches, store.clone(), routes_stop.clone()));
        let (inbound, parts) = mpsc::channel(receive::BATCHES_WAITING_MAX);
        running.spawn(receive::run(parts, store.clone(), routes_stop.clone()));
        let (states, resumes) = spawn_routes(
            config,
            (&store, &receipt_keys),
            &clock,
            (&receipts, &inbound),
            &routes_stop,
            &mut running,
            &mut listening.outbind,
        )?;

        // accept
        replan(&store, &table, &mut running);
        let pushes = table.clone();
        let planner = accept::Planner::new(move |request| planned(&table, request))
            .with_push(move |request| push_routes(&pushes, request));
        let shown = Arc::new(shown::Shown::new(config, &store, states, clock.clone()));
        let deliveries = deliveries::Deliveries::new(&webhook_config, &store);
        let accept_config = map::accept(config, &names)?;
        let gateway = accept::Gateway::new(
            &accept_config,
            store.clone(),
            planner,
            view(shown, resumes),
            clock.clone(),
            stop.clone(),
        )
        .with_deliveries(move |record| deliveries.of(record))
        .with_receipt_keys(receipt_keys);
        let accept_stop = stop.clone();
        running.spawn(async move {
            ended(
                "accept",
                accept::serve(&accept_config, Arc::new(gateway), api, accept_stop).await,
            );
        });

        // house
        let admin = admin::Admin::new(store.clone(), metrics_handle()?, stop.clone());
        let serving = admin::serve(Arc::new(admin), admin_at, webhooks_stop);
        running.spawn(async move { ended("admin", serving.await) });
        running.spawn(watch::run(store.clone(), stop));
        Ok(Self {
            listening,
            store,
            stopper,
            routes: routes_stopper,
            webhooks: webhooks_stopper,
            running,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.listening.clone()
    }

    /// Waits until the store cannot go on; says why. Cancel safe.
    pub async fn failed(&self) -> String {
        let mut failed = self.store.failed();
        match failed
            .wait_for(Option::is_some)
            .await
            .map(|why| why.clone())
        {
            Ok(Some(why)) => why,
            _ => "the store has ended".to_owned(),
        }
    }

    /// Stops in order: not ready, listeners, hand-outs, in flight, unbind, settle, webhooks, sync.
    pub async fn stop(mut self) {
        self.stopper.stop();
        wait("listeners", &self.stopper, LISTENERS_GRACE).await;
        self.routes.stop();
        let ended = wait("routes", &self.routes, GRACE).await;
        // What is still out may be sent: then the next start flags what was claimed.
        if ended && self.store.release_claims().await.is_err() {
            tracing::warn!("claims could not be released: the next start flags their messages");
        }
        self.webhooks.stop();
        wait("webhooks", &self.webhooks, WEBHOOKS_GRACE).await;
        self.running.abort_all();
        while self.running.join_next().await.is_some() {}
        let store = self.store;
        if tokio::task::spawn_blocking(move || store.close())
            .await
            .is_err()
        {
            tracing::error!("the store's closing failed");
        }
        tracing::info!("stopped");
    }
}

fn listening(api: &TcpListener, admin: &TcpListener) -> std::io::Result<Listening> {
    Ok(Listening {
        api: api.local_addr()?,
        admin: admin.local_addr()?,
        outbind: BTreeMap::new(),
    })
}

fn ended(what: &str, result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "{what} ended");
    }
}

/// The process's metrics recorder, installed once: a second gateway in one process (tests, the demo)
/// shares it.
fn metrics_handle() -> anyhow::Result<metrics_exporter_prometheus::PrometheusHandle> {
    static HANDLE: parking_lot::Mutex<Option<metrics_exporter_prometheus::PrometheusHandle>> =
        parking_lot::Mutex::new(None);
    let mut handle = HANDLE.lock();
    if handle.is_none() {
        *handle = Some(crate::metrics::install().context("the metrics recorder")?);
    }
    handle.clone().context("invariant: it was just installed")
}

/// The OpenAPI document of a gateway with the default config.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    accept::openapi(&map::accept_defaults())
}

/// An endpoint that answered 410, or failed for days, is tried again when the gateway starts: the
/// config still names it, and this version has no other way to enable it.
fn enable_again(endpoints: &webhook::Webhooks) {
    for (ix, view) in endpoints.view() {
        if view.condition == webhook::Condition::Disabled {
            tracing::warn!(
                endpoint = %view.name,
                "was disabled: enabled again by this start, from where it stopped"
            );
            endpoints.enable(ix);
        }
    }
}

/// Each second, says who is left; whether nobody is.
async fn wait(what: &str, stopper: &Stopper, grace: Duration) -> bool {
    let seconds = grace.as_secs().max(1);
    for second in 1..=seconds {
        let left = stopper.finished(Duration::from_secs(1)).await;
        if left.is_empty() {
            return true;
        }
        tracing::info!(left = left.join(", "), second, "waiting for {what}");
    }
    tracing::warn!("{what} did not finish within {grace:?}: going on; nothing accepted is lost");
    false
}

fn report(found: &Found) {
    tracing::info!(
        queued = found.queued,
        sent = found.sent,
        unknown = found.unknown,
        events_pending = found.events_pending,
        took_ms = u64::try_from(found.took.as_millis()).unwrap_or(u64::MAX),
        batches = found.batches,
        epoch = found.epoch,
        "recovered"
    );
    if found.torn_tail {
        tracing::warn!(
            "a torn commit at the journal's end was discarded: it was never acknowledged"
        );
    }
}

/// Sends what waits for routes that the config does not have any more on over others, in the
/// background: it may be a large backlog.
fn replan(store: &Store, table: &Arc<plan::Table>, running: &mut JoinSet<()>) {
    let count = store.stranded();
    if count == 0 {
        return;
    }
    tracing::warn!(
        count,
        "messages wait for routes that are gone from the config: they are planned again"
    );
    let (store, table) = (store.clone(), table.clone());
    running.spawn(async move {
        let plan = |message: &Message| table.routes_as_written(message);
        let Replanned { moved, failed } = store.replan(plan).await;
        tracing::info!(
            moved,
            failed,
            "planned again: those without a route failed as no_route"
        );
    });
}

/// Makes the store answer handsets, with what the config has for them.
fn confirm(config: &Config, names: &crate::names::Names, store: &Store, table: &Arc<plan::Table>) {
    let (replies, table) = (map::inbound::replies(config, names), table.clone());
    if !replies.is_empty() {
        store.confirm_with(move |asked| plan::reply::message(&replies, &table, asked));
    }
}

fn planned(
    table: &plan::Table,
    request: accept::PlanRequest<'_>,
) -> Result<accept::Planned, accept::PlanError> {
    let max = request.max_segments();
    let plan::Chosen {
        rule,
        drawn,
        mut routes,
    } = table.choose(request.tenant, request.class, request.to);
    routes.truncate(request.max_routes);
    let wish = plan::write::Wish {
        text: request.text(),
        data: request.data(),
        udh: request.udh(),
        encoding: request.encoding(),
        smart: request.smart(),
        flash: request.flash(),
        max_segments: max,
        truncate: request.truncate(),
    };
    let written = table.write(&wish, &routes).map_err(|error| match error {
        plan::SegmentError::TooManySegments { needed } => {
            accept::PlanError::TooManySegments { needed, max }
        }
        plan::SegmentError::NotRepresentable { .. } => accept::PlanError::NotRepresentable,
        plan::SegmentError::NotOnRoute => accept::PlanError::NotOnRoute,
    })?;
    let tlvs = table
        .tlvs(request.tlvs(), &routes)
        .map_err(accept::PlanError::Tlv)?;
    let mut sms = written.sms;
    if !tlvs.is_empty() {
        sms.get_or_insert_default().tlvs = tlvs;
    }
    Ok(accept::Planned {
        encoding: written.encoding,
        segments: written.parts,
        sms,
        why: accept::Why {
            changed: written.text.is_some(),
            replaced: written.replaced,
            truncated: written.truncated,
            rule,
            drawn,
        },
        text: written.text,
        routes,
    })
}

fn push_routes(table: &plan::Table, request: accept::PushRequest<'_>) -> accept::PushRoutes {
    let of = (request.tenant, request.class);
    let plan::Chosen {
        rule,
        drawn,
        mut routes,
    } = table.choose_push(of, request.platform, request.app);
    routes.truncate(request.max_routes);
    accept::PushRoutes {
        routes,
        rule,
        drawn,
    }
}

/// The routes as operators see and handle them.
fn view(shown: Arc<shown::Shown>, resumes: Resumes) -> accept::RoutesView {
    let orphans = shown.clone();
    let orphans = move |name: &str| orphans.orphans(name);
    let holds = shown.clone();
    let resume = move |name: &str| resumes.get(name).map(|resume| resume());
    accept::RoutesView::new(move || shown.routes(), orphans)
        .with_resume(move |name| resume(name).is_some())
        .with_holds(move |route| holds.hold(route))
        .with_form_words(shown::FORM_WORDS)
}

/// Has a route's links that wait or have stopped try again.
type Resume = Box<dyn Fn() + Send + Sync>;
/// The same by route.
type Resumes = BTreeMap<String, Resume>;

/// Where the links of each route lead, by its number.
fn hosts(config: &Config, names: &crate::names::Names) -> Vec<Vec<String>> {
    let hosts = |name: &String| {
        if let Some(route) = config.push.get(name) {
            return push::hosts(route);
        }
        let route = config.routes.get(name);
        let links = route.map(map::links).unwrap_or_default();
        links.into_iter().map(|link| link.0).collect()
    };
    names.routes.iter().map(hosts).collect()
}

/// One dispatcher for each route, and its binds.
fn spawn_routes(
    config: &Config,
    (store, receipt_keys): (&Store, &ReceiptKeys),
    clock: &Clock,
    (receipts, inbound): (&mpsc::Sender<ReceiptBatch>, &mpsc::Sender<InboundBatch>),
    stop: &Stop,
    running: &mut JoinSet<()>,
    listening: &mut BTreeMap<String, SocketAddr>,
) -> anyhow::Result<(Arc<RouteStates>, Resumes)> {
    let names = store.names();
    let states = Arc::new(RouteStates::new(hosts(config, &names), clock.now()));
    let mut resumes = push::spawn(config, (store, receipt_keys), clock, &states, stop, running)?;
    for (name, route) in &config.routes {
        let Some(ix) = names.route_ix(name) else {
            continue;
        };
        let smpp = Arc::new(map::smpp(name, route, ix)?);
        let account = smpp.account.clone();
        resumes.insert(name.clone(), Box::new(move || account.resume()));
        let (events, heard) = mpsc::channel(LINK_EVENTS_MAX);
        let mut handles = Vec::new();
        for (index, (_, host, seat)) in map::links(route).into_iter().enumerate() {
            let link = LinkIx(u16::try_from(index)?);
            let (attempts, waiting) = mpsc::channel(ATTEMPT_BATCHES_MAX);
            let calls = match (&route.outbind, seat) {
                (Some(outbind), connect::smpp::Seat::Called) => {
                    let settings = map::outbind(outbind);
                    let at = settings.listen;
                    let (outbinds, calls) = connect::smpp::Outbinds::new(name, settings)
                        .with_context(|| format!("routes.{name}.outbind.listen {at}"))?;
                    listening.insert(name.clone(), outbinds.address()?);
                    running.spawn(outbinds.run(clock.clone(), stop.clone()));
                    Some(calls)
                }
                _ => None,
            };
            handles.push(LinkHandle { link, attempts });
            let ends = connect::smpp::Ends {
                link,
                host,
                seat,
                calls,
                attempts: waiting,
                events: events.clone(),
                receipts: receipts.clone(),
                inbound: inbound.clone(),
            };
            running.spawn(connect::smpp::run(
                smpp.clone(),
                ends,
                clock.clone(),
                stop.clone(),
            ));
        }
        let dispatch = dispatch::Config {
            route: RouteIx(ix.0),
            name: name.clone(),
            limits: map::limits(route),
            lanes: config.lanes,
            channel: Channel::Sms,
        };
        let dispatcher = Dispatcher::new(
            dispatch,
            store.clone(),
            clock.clone(),
            handles,
            states.clone(),
        );
        running.spawn(dispatcher.run(heard, stop.clone()));
    }
    Ok((states, resumes))
}
