//! Accept: HTTP in. Who may ask, what a request means, and what the store said about it.
//!
//! ```text
//!  connection ─► router ─► auth ─► body ─► request ─► check ─► plan ─► ingress ─► store ─► answer
//!  limits,       404, 405  401,    413,    400        422      422     429        503
//!  timeouts                403     415
//! ```
//!
//! 202 means: on disk, synced. Nothing is stored before that, so everything that failed can be sent
//! again. The single-message path is one pass over the body and goes straight from hyper to the
//! store; NDJSON ([`ndjson`]) is read in groups, several of which are at the store at a time.
//!
//! Not chosen: axum's router and extractors. Ten routes are found faster by hand, and every error,
//! also of the path, the method and the body, has to be one problem document with one request id.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use codecs::text::smart::{Level, Replaced};
use smallvec::SmallVec;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::delivery_view::DeliveryView;
use crate::message::steps::Platform;
use crate::message::tlv::{TlvRefusal, TlvWish};
use crate::message::{Class, Encoding, EndpointIx, Phone, RouteIx, SmsOptions, TenantIx};
use crate::names::Names;
use crate::outcome::FormWords;
use crate::receipt_keys::ReceiptKeys;
use crate::route_view::{Hold, OrphanView, RouteView};
use crate::stop::Stop;
use crate::store::{Record, Store};

mod answer;
mod auth;
mod batch;
mod body;
mod check;
mod events;
mod idempotency;
mod ingress;
mod list;
mod ndjson;
mod openapi;
mod patience;
mod preview;
mod problem;
mod receipts;
mod request;
mod resume;
mod router;
mod scope;
mod server;
mod shape;
mod single;
mod suppressions;
mod timeline;
mod view;
mod waits;

#[cfg(test)]
mod tests;

pub use ingress::IngressRate;
pub use openapi::document as openapi;
pub use scope::{Scope, Scopes};
pub use server::serve;

/// Body of a single request, in bytes (contract.md §1).
pub const BODY_MAX: usize = 256 * 1024;
/// One item of a batch, in bytes (contract.md §1).
pub const ITEM_MAX: usize = 64 * 1024;
/// Body of a JSON batch, in bytes (chosen: 1,000 items of 16 KiB; larger items go as NDJSON).
pub const BATCH_MAX: usize = 16 * 1024 * 1024;
/// Lines of an NDJSON stream (contract.md §2 "Batch").
pub const NDJSON_LINES_MAX: u32 = 100_000;
/// Bytes of an NDJSON stream (contract.md §2 "Batch").
pub const NDJSON_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Request bodies in memory at a time, in bytes, not counting those of one read (chosen: a quarter
/// of the default `limits.memory`).
const BODIES_MAX: usize = 64 * 1024 * 1024;

/// What accept is told by the config.
#[derive(Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// TLS, when it is configured. ALPN is set by whoever built it.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// `limits.connections`: more wait in the listen queue.
    pub connections: usize,
    /// `limits.ndjson_streams`: more are answered 503.
    pub ndjson_streams: usize,
    /// Items of a JSON batch.
    pub batch_items: usize,
    /// How long idempotency keys are kept: published in the OpenAPI document.
    pub idempotency: Duration,
    /// Declared keys.
    pub keys: Vec<Key>,
    /// The tenants.
    pub tenants: Vec<(TenantIx, Tenant)>,
    /// Endpoints that a message's `callback` may name.
    pub callbacks: Vec<CallbackTarget>,
}

/// An API key. The secret itself is not kept.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name in the config.
    pub name: String,
    /// Whose it is; `None` for an operator's.
    pub tenant: Option<TenantIx>,
    /// What it may do.
    pub scopes: Scopes,
    /// SHA-256 of the secret.
    pub secret_sha256: [u8; 32],
}

/// What accept has to know about a tenant.
#[derive(Clone, Debug, Default)]
pub struct Tenant {
    /// Senders that it may use.
    pub senders: Senders,
    /// Its ingress rate; `None`: not limited.
    pub ingress: Option<IngressRate>,
    /// Whether every message must carry an idempotency key.
    pub require_idempotency: bool,
}

/// A tenant's senders.
#[derive(Clone, Debug, Default)]
pub struct Senders {
    /// `"*"`: any.
    pub any: bool,
    /// These.
    pub listed: HashSet<Box<str>>,
}

/// An endpoint that a message's `callback` may name, by its name or by a URL below a prefix.
#[derive(Clone, Debug)]
pub struct CallbackTarget {
    /// Its number.
    pub endpoint: EndpointIx,
    /// Whose it is.
    pub tenant: TenantIx,
    /// URLs that begin with one of these are its.
    pub url_prefixes: Vec<String>,
}

/// What accept asks the plan stage of an SMS.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest<'a> {
    /// Whose message.
    pub tenant: TenantIx,
    /// Its class.
    pub class: Class,
    /// To whom.
    pub to: Phone,
    /// The most routes that it may try.
    pub max_routes: usize,
    content: &'a check::Content<'a>,
}

impl<'a> PlanRequest<'a> {
    /// What it says; of no matter where there is [`data`](Self::data).
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.content.text
    }

    /// Octets to send instead of a text.
    #[must_use]
    pub fn data(&self) -> Option<&'a [u8]> {
        self.content.data.as_deref()
    }

    /// Elements of the customer's own user data header, without its length octet.
    #[must_use]
    pub fn udh(&self) -> &'a [u8] {
        &self.content.udh
    }

    /// The encoding that the client insists on; `None`: by content.
    #[must_use]
    pub fn encoding(&self) -> Option<Encoding> {
        self.content.encoding
    }

    /// How much of the text may change to fit GSM 7-bit.
    #[must_use]
    pub fn smart(&self) -> Option<Level> {
        self.content.smart
    }

    /// Whether it is to be shown at once and not stored.
    #[must_use]
    pub fn flash(&self) -> bool {
        self.content.flash
    }

    /// TLVs of its own.
    #[must_use]
    pub fn tlvs(&self) -> &'a [TlvWish<'a>] {
        &self.content.tlvs
    }

    /// The most segments that it may take.
    #[must_use]
    pub fn max_segments(&self) -> u8 {
        self.content.max_segments
    }

    /// Whether what goes beyond is cut off instead of refused.
    #[must_use]
    pub fn truncate(&self) -> bool {
        self.content.truncate
    }
}

/// Why a plan became what it is, for those who ask before they send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// Whether the text is not the client's any more.
    pub changed: bool,
    /// What smart encoding replaced in it.
    pub replaced: Vec<Replaced>,
    /// Whether it was cut off.
    pub truncated: bool,
    /// The routing rule that matched, by its place; `None` when none did.
    pub rule: Option<usize>,
    /// Whether the first route was drawn by weight.
    pub drawn: bool,
}

/// The plan stage's answer for an SMS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// How the text will be written.
    pub encoding: Encoding,
    /// How many parts it has.
    pub segments: u8,
    /// What is uncommon about how it is written.
    pub sms: Option<Box<SmsOptions>>,
    /// The text where it is not the client's any more.
    pub text: Option<String>,
    /// Why it became so.
    pub why: Why,
    /// Candidate routes in failover order, at most as many as asked for; empty when no rule matches.
    pub routes: SmallVec<[RouteIx; 4]>,
}

/// What accept asks the plan stage of a push, for each app of a platform.
#[derive(Clone, Copy, Debug)]
pub struct PushRequest<'a> {
    /// Whose message.
    pub tenant: TenantIx,
    /// Its class.
    pub class: Class,
    /// Of the device; a topic is Android's.
    pub platform: Platform,
    /// The app on it.
    pub app: &'a str,
    /// The most routes that it may try.
    pub max_routes: usize,
}

/// The plan stage's answer for a push, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushRoutes {
    /// Candidate routes in failover order, at most as many as asked for; empty when no rule has any.
    pub routes: SmallVec<[RouteIx; 4]>,
    /// The routing rule that has them, by its place.
    pub rule: Option<usize>,
    /// Whether the first one was drawn by weight.
    pub drawn: bool,
}

/// Why a message cannot be planned as the client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// The text takes more segments than allowed.
    TooManySegments {
        /// As many as this.
        needed: usize,
        /// Allowed.
        max: u8,
    },
    /// The text has characters that the asked encoding lacks.
    NotRepresentable,
    /// GSM 7-bit is insisted on, and a candidate route cannot write the text so.
    NotOnRoute,
    /// The client's header says that the data is one part, but it takes several.
    PartOfParts,
    /// One of its TLVs cannot be sent over all candidate routes.
    Tlv(TlvRefusal),
}

/// The plan stage, as `app` hands it over.
#[derive(Clone)]
pub struct Planner {
    sms: Arc<PlanFn>,
    push: Arc<PushFn>,
}

type PlanFn = dyn Fn(PlanRequest<'_>) -> Result<Planned, PlanError> + Send + Sync;
type PushFn = dyn Fn(PushRequest<'_>) -> PushRoutes + Send + Sync;

impl Planner {
    /// A planner that calls `plan` for SMS, which must not block, and knows no route for a push.
    pub fn new(
        plan: impl Fn(PlanRequest<'_>) -> Result<Planned, PlanError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            sms: Arc::new(plan),
            push: Arc::new(|_| PushRoutes::default()),
        }
    }

    /// With what chooses the routes of a push; it must not block.
    #[must_use]
    pub fn with_push(
        mut self,
        push: impl Fn(PushRequest<'_>) -> PushRoutes + Send + Sync + 'static,
    ) -> Self {
        self.push = Arc::new(push);
        self
    }

    fn plan(&self, request: PlanRequest<'_>) -> Result<Planned, PlanError> {
        (self.sms)(request)
    }

    fn push(&self, request: PushRequest<'_>) -> PushRoutes {
        (self.push)(request)
    }
}

/// The routes as they stand now, as `app` hands them over.
#[derive(Clone)]
pub struct RoutesView {
    routes: Arc<dyn Fn() -> Vec<RouteView> + Send + Sync>,
    orphans: Arc<Orphans>,
    resume: Arc<Resume>,
    holds: Arc<Holds>,
    form_words: FormWords,
}

/// One route's receipts without a message; `None` for a route that is not there.
type Orphans = dyn Fn(&str) -> Option<Vec<OrphanView>> + Send + Sync;

/// Has one route's binds tried again; `false`: it is not there.
type Resume = dyn Fn(&str) -> bool + Send + Sync;

/// What keeps one route from sending.
type Holds = dyn Fn(RouteIx) -> Hold + Send + Sync;

impl RoutesView {
    /// A view that calls `routes`, and `orphans` for one route's receipts without a message; neither
    /// may block.
    pub fn new(
        routes: impl Fn() -> Vec<RouteView> + Send + Sync + 'static,
        orphans: impl Fn(&str) -> Option<Vec<OrphanView>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            routes: Arc::new(routes),
            orphans: Arc::new(orphans),
            resume: Arc::new(|_| false),
            holds: Arc::new(|_| Hold::default()),
            form_words: FormWords::default(),
        }
    }

    /// With what has one route's binds tried again, at once; `false`: it is not there.
    #[must_use]
    pub fn with_resume(mut self, resume: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.resume = Arc::new(resume);
        self
    }

    /// With what keeps one route from sending, which must not block; without, nothing does.
    #[must_use]
    pub fn with_holds(mut self, holds: impl Fn(RouteIx) -> Hold + Send + Sync + 'static) -> Self {
        self.holds = Arc::new(holds);
        self
    }

    /// With the connectors' words for the forms that they write messages in; without, none is shown.
    #[must_use]
    pub fn with_form_words(mut self, words: FormWords) -> Self {
        self.form_words = words;
        self
    }

    fn hold(&self, route: RouteIx) -> Hold {
        (self.holds)(route)
    }

    fn resume(&self, route: &str) -> bool {
        (self.resume)(route)
    }

    fn routes(&self) -> Vec<RouteView> {
        (self.routes)()
    }

    fn orphans(&self, route: &str) -> Option<Vec<OrphanView>> {
        (self.orphans)(route)
    }
}

/// What decides about requests without asking the store.
pub(crate) struct Door {
    /// Keys by the SHA-256 of their secret.
    keys: HashMap<[u8; 32], Key>,
    /// Tenants by number.
    tenants: HashMap<TenantIx, Tenant>,
    callbacks: Vec<CallbackTarget>,
    names: Arc<Names>,
    ingress: ingress::Ingress,
    planner: Planner,
    clock: Clock,
    batch_items: usize,
}

impl Door {
    fn new(config: &Config, names: Arc<Names>, planner: Planner, clock: Clock) -> Self {
        let keys = config.keys.iter().cloned();
        Self {
            keys: keys.map(|key| (key.secret_sha256, key)).collect(),
            ingress: ingress::Ingress::new(&config.tenants),
            tenants: config.tenants.iter().cloned().collect(),
            callbacks: config.callbacks.clone(),
            names,
            planner,
            clock,
            batch_items: config.batch_items,
        }
    }
}

/// Everything that answers requests; shared by all connections.
pub struct Gateway {
    pub(crate) door: Door,
    pub(crate) store: Store,
    pub(crate) routes: RoutesView,
    deliveries: Option<Box<DeliveriesFn>>,
    /// What tokens of app receipts are checked with.
    pub(crate) receipt_keys: ReceiptKeys,
    /// Free NDJSON streams.
    pub(crate) streams: Arc<Semaphore>,
    /// Free KiB for request bodies.
    pub(crate) bodies: Arc<Semaphore>,
    /// Makes request ids.
    pub(crate) request_ids: answer::RequestIds,
    /// Makes batch ids.
    pub(crate) batch_ids: batch::BatchIds,
    pub(crate) metrics: answer::Metrics,
    pub(crate) openapi: bytes::Bytes,
    /// Ends long polls and streams.
    pub(crate) stop: Stop,
}

impl Gateway {
    /// Puts it together. `store`'s names must hold every tenant and endpoint of the config.
    #[must_use]
    pub fn new(
        config: &Config,
        store: Store,
        planner: Planner,
        routes: RoutesView,
        clock: Clock,
        stop: Stop,
    ) -> Self {
        Self {
            request_ids: answer::RequestIds::new(),
            batch_ids: batch::BatchIds::new(),
            metrics: answer::Metrics::default(),
            openapi: openapi::json(config),
            streams: Arc::new(Semaphore::new(config.ndjson_streams)),
            bodies: Arc::new(Semaphore::new(BODIES_MAX / 1024)),
            stop,
            door: Door::new(config, store.names(), planner, clock),
            store,
            routes,
            deliveries: None,
            receipt_keys: ReceiptKeys::default(),
        }
    }

    /// With what is known of a message's webhook deliveries; `deliveries` must not block.
    #[must_use]
    pub fn with_deliveries(
        mut self,
        deliveries: impl Fn(&Record) -> Vec<DeliveryView> + Send + Sync + 'static,
    ) -> Self {
        self.deliveries = Some(Box::new(deliveries));
        self
    }

    /// With the keys that tokens of app receipts are made with; without, none is good.
    #[must_use]
    pub fn with_receipt_keys(mut self, keys: ReceiptKeys) -> Self {
        self.receipt_keys = keys;
        self
    }

    fn deliveries(&self, record: &Record) -> Vec<DeliveryView> {
        let deliveries = self.deliveries.as_ref();
        deliveries.map_or_else(Vec::new, |deliveries| deliveries(record))
    }
}

type DeliveriesFn = dyn Fn(&Record) -> Vec<DeliveryView> + Send + Sync;
