//! Push: from the config of push routes to their links and dispatchers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{ATTEMPT_BATCHES_MAX, LINK_EVENTS_MAX, Resume, Resumes};
use crate::clock::Clock;
use crate::config::push::{ApnsAuth, Environment, PushRoute, PushService, Reference, Schedule};
use crate::config::{Config, Rate};
use crate::connect::credentials::{
    AccountSpec, Certificate, CertificateSpec, Credentials, KeyName,
};
use crate::connect::http2::{self, Addresses, Target, client_tls};
use crate::connect::push::doubts::Doubts;
use crate::connect::push::guard::{Guards, Rule};
use crate::connect::push::pool::Pool;
use crate::connect::push::service::{Kind, Service, Who};
use crate::connect::push::{self, Ends};
use crate::dispatch::limit;
use crate::dispatch::limit::pace::Configured;
use crate::dispatch::limit::quota::{Quota, Shared};
use crate::dispatch::view::RouteStates;
use crate::dispatch::{self, Dispatcher};
use crate::link::{LinkHandle, LinkIx};
use crate::message::steps::Platform;
use crate::message::{Channel, RouteIx};
use crate::names::Names;
use crate::outcome::retries::Retries;
use crate::plan;
use crate::receipt_keys::ReceiptKeys;
use crate::stop::Stop;
use crate::store::{RouteFacts, Store};

/// HTTPS (RFC 9110 §4.2.2); Apple's other port is for firewalls that know it.
const HTTPS: u16 = 443;
/// How long what is out may still be answered when the gateway stops (push.md §9).
const DRAIN: Duration = Duration::from_secs(10);
/// How long what we wrote may stay without TCP's acknowledgement. Chosen: as SMPP's links have it.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams of one connection at most, whatever the service allows. push.md §1.7: Apple allows 1,000.
const STREAMS_MAX: usize = 1_000;
/// What the store has to know of a push route.
pub(super) fn facts(name: &str, route: &PushRoute) -> RouteFacts {
    RouteFacts {
        name: name.to_owned(),
        // The service sends none; the app may.
        receipts: false,
        receipt_timeout: route.receipt_timeout,
        response_timeout: route.request_timeout,
        ladder: Default::default(),
        parts: Default::default(),
        charset: Default::default(),
        retries: retries(route),
    }
}

/// How a push route tries again.
fn retries(route: &PushRoute) -> Retries {
    match (&route.service, &route.retry.schedule) {
        (PushService::Apns(_), Schedule::Pauses(pauses)) => push::retries::apns(pauses),
        (PushService::Fcm(_), Schedule::Pauses(pauses)) => push::retries::fcm(pauses),
        (_, Schedule::AppleStrict) => push::retries::apple_strict(),
    }
}

/// What each push route sends for.
pub(super) fn planned(config: &Config, names: &Names) -> Vec<(RouteIx, plan::push::PushRoute)> {
    let route = |(name, route): (&String, &PushRoute)| {
        let (platform, apps) = match &route.service {
            PushService::Apns(apns) => (Platform::Ios, apns.apps.keys().collect::<Vec<_>>()),
            PushService::Fcm(fcm) => (Platform::Android, fcm.apps.iter().collect()),
        };
        let apps = apps.into_iter().map(|app| app.as_str().into()).collect();
        Some((
            names.route_ix(name)?,
            plan::push::PushRoute { platform, apps },
        ))
    };
    config.push.iter().filter_map(route).collect()
}

/// Where each of a route's links leads.
pub(super) fn hosts(route: &PushRoute) -> Vec<String> {
    vec![endpoint(route); usize::from(route.pool.max)]
}

fn per_second(rate: &Rate) -> f64 {
    f64::from(rate.count) / rate.per.as_secs_f64()
}

/// What a route may send a second by its own rate and its project's quota; `None`: no limit.
pub(super) fn configured(route: &PushRoute) -> Option<f64> {
    let quota = match &route.service {
        PushService::Fcm(fcm) => Some(&fcm.quota.rate),
        PushService::Apns(_) => None,
    };
    let both = route.rate.iter().chain(quota);
    both.map(per_second).reduce(f64::min)
}

/// The quota of each FCM project, which its routes share.
fn quotas(config: &Config) -> BTreeMap<&str, Arc<Shared>> {
    let fcm = config
        .push
        .values()
        .filter_map(|route| match &route.service {
            PushService::Fcm(fcm) => Some(fcm),
            PushService::Apns(_) => None,
        });
    let quota = fcm.map(|fcm| {
        let rate = &fcm.quota.rate;
        let quota = Quota::new(per_second(rate), rate.burst, fcm.quota.ramp);
        (
            fcm.project.as_str(),
            Arc::new(Shared::new(&fcm.project, quota)),
        )
    });
    quota.collect()
}

/// A route's rate, by which its dispatcher hands over.
fn limits(route: &PushRoute) -> limit::Config {
    let configured = |rate: &Rate| Configured {
        per_second: per_second(rate),
        burst: rate.burst,
    };
    limit::Config {
        rate: route.rate.as_ref().map(configured),
        retry_share: Some(route.retry.budget),
        ..limit::Config::default()
    }
}

/// One dispatcher for each push route, and its links.
pub(super) fn spawn(
    config: &Config,
    (store, receipt_keys): (&Store, &ReceiptKeys),
    clock: &Clock,
    states: &Arc<RouteStates>,
    stop: &Stop,
    running: &mut JoinSet<()>,
) -> anyhow::Result<Resumes> {
    let mut trusted = Trusted::default();
    let names = store.names();
    let mut credentials = Credentials::new(config.store.path.clone(), clock.clone());
    let mut resumes = Resumes::new();
    let quotas = quotas(config);
    for (name, route) in &config.push {
        let Some(ix) = names.route_ix(name) else {
            continue;
        };
        let (resume, resumed) = watch::channel(0);
        let given = (store, receipt_keys, resumed);
        let shared = (&mut credentials, &mut trusted);
        let link = link(name, route, shared, given, running);
        let link = Arc::new(link.with_context(|| format!("routes.{name}"))?);
        let (events, heard) = mpsc::channel(LINK_EVENTS_MAX);
        let mut handles = Vec::new();
        for index in 0..link.pool.max() {
            let (attempts, waiting) = mpsc::channel(ATTEMPT_BATCHES_MAX);
            let place = LinkIx(index);
            handles.push(LinkHandle {
                link: place,
                attempts,
            });
            let ends = Ends {
                link: place,
                attempts: waiting,
                events: events.clone(),
            };
            let run = push::run(link.clone(), ends, clock.clone(), stop.clone());
            running.spawn(run);
        }
        let dispatch = dispatch::Config {
            route: ix,
            name: name.clone(),
            limits: limits(route),
            lanes: config.lanes,
            channel: Channel::Push,
        };
        let (store, clock, states) = (store.clone(), clock.clone(), states.clone());
        let quota = match &route.service {
            PushService::Fcm(fcm) => quotas.get(fcm.project.as_str()).cloned(),
            PushService::Apns(_) => None,
        };
        let dispatcher = Dispatcher::new(dispatch, store, clock, handles, states).sharing(quota);
        running.spawn(dispatcher.run(heard, stop.clone()));
        let resume: Resume = Box::new(move || resume.send_modify(|times| *times += 1));
        resumes.insert(name.clone(), resume);
    }
    running.spawn(credentials.run(stop.clone()));
    Ok(resumes)
}

/// What the links of a route share.
fn link(
    name: &str,
    route: &PushRoute,
    (credentials, trusted): (&mut Credentials, &mut Trusted),
    (store, receipt_keys, resumed): (&Store, &ReceiptKeys, watch::Receiver<u64>),
    running: &mut JoinSet<()>,
) -> anyhow::Result<push::Config> {
    let (who, kind) = service(name, route, credentials)?;
    let host = endpoint(route);
    let bare = host.strip_suffix(&format!(":{HTTPS}")).unwrap_or(&host);
    let service = Service {
        authority: bare.parse()?,
        ids: store.ids(),
        auto_collapse: route.auto_collapse,
        receipt_keys: receipt_keys.clone(),
        kind,
    };
    let target = target(route, &who, trusted.tls(route)?, running);
    let goaway_reason = match route.service {
        PushService::Apns(_) => apns_reason,
        PushService::Fcm(_) => no_reason,
    };
    let tokens = matches!(who, Who::Provider(_));
    let http2 = http2::Config {
        // One until Apple has seen a valid token (push.md §1.7).
        initial_streams: if tokens { 1 } else { STREAMS_MAX / 10 },
        max_streams: STREAMS_MAX,
        request_timeout: route.request_timeout,
        ping_idle: route.pool.ping_idle,
        ping_busy: route.pool.ping_busy,
        max_age: route.pool.max_age,
        max_requests: route.pool.max_requests.into(),
        headers: service.headers(),
        goaway_reason,
        ..http2::Config::default()
    };
    let guard = Rule {
        ratio: route.guard.invalid_token_ratio,
        window: route.guard.window,
        min_answers: route.guard.min_answers,
    };
    Ok(push::Config {
        name: name.to_owned(),
        service,
        who,
        target,
        http2: Arc::new(http2),
        pool: Pool::new(route.pool.min, route.pool.max),
        guard: Mutex::new(Guards::new(guard)),
        doubts: Mutex::new(Doubts::default()),
        drain: DRAIN,
        resumed,
    })
}

/// Which service it is, and who we are to it.
fn service(
    name: &str,
    route: &PushRoute,
    credentials: &mut Credentials,
) -> anyhow::Result<(Who, Kind)> {
    match &route.service {
        PushService::Apns(apns) => {
            let who = match &apns.auth {
                ApnsAuth::Token {
                    team_id,
                    key_id,
                    key,
                } => {
                    let name = KeyName {
                        team_id: team_id.as_str().into(),
                        key_id: key_id.as_str().into(),
                    };
                    Who::Provider(credentials.provider(name, key.source())?)
                }
                ApnsAuth::Certificate { certificate, key } => {
                    let spec = CertificateSpec {
                        route: name.to_owned(),
                        certificate: certificate.source(),
                        key: key.as_ref().map(Reference::source),
                    };
                    Who::Certificate(credentials.certificate(spec)?)
                }
            };
            let apps = apns.apps.clone();
            Ok((who, Kind::Apns { apps }))
        }
        PushService::Fcm(fcm) => {
            let url = fcm.token_url.as_ref();
            let spec = AccountSpec {
                name: name.to_owned(),
                source: fcm.credentials.source(),
                token_url: url.map(|url| url.parse()).transpose()?,
                extra_roots: roots(route)?,
            };
            let path = codecs::fcm::path(&fcm.project);
            let path = path.with_context(|| format!("{} is no project id", fcm.project))?;
            Ok((Who::Access(credentials.account(spec)?), Kind::Fcm { path }))
        }
    }
}

fn apns_reason(debug_data: &[u8]) -> Option<&'static str> {
    Some(codecs::apns::GoAway::read(debug_data).reason.label())
}

fn no_reason(_: &[u8]) -> Option<&'static str> {
    None
}

/// Where a route leads to: `host:port`.
fn endpoint(route: &PushRoute) -> String {
    if let Some(endpoint) = &route.endpoint {
        return endpoint.clone();
    }
    let host = match &route.service {
        PushService::Apns(apns) => match apns.environment {
            Environment::Production => codecs::apns::PRODUCTION_HOST,
            Environment::Sandbox => codecs::apns::SANDBOX_HOST,
        },
        PushService::Fcm(_) => codecs::fcm::HOST,
    };
    format!("{host}:{HTTPS}")
}

fn roots(route: &PushRoute) -> anyhow::Result<Vec<rustls_pki_types::CertificateDer<'static>>> {
    let Some(path) = &route.extra_ca else {
        return Ok(Vec::new());
    };
    Ok(crate::connect::tls::certificates(path)?)
}

/// Where a route's connections lead, and with which certificate: another one when that is renewed.
fn target(
    route: &PushRoute,
    who: &Who,
    tls: Arc<ClientConfig>,
    running: &mut JoinSet<()>,
) -> watch::Receiver<Arc<Target>> {
    let host = endpoint(route);
    let connect_timeout = route.pool.connect_timeout;
    let make = move |certificate: Option<&Certificate>| {
        let identity = certificate.map(|one| one.state().identity);
        let (tls, generation) = match identity {
            Some(identity) => (identity.shown_by(&tls), identity.generation),
            None => (tls.clone(), 0),
        };
        Arc::new(Target {
            host: host.clone(),
            server_name: None,
            tls,
            generation,
            connect_timeout,
            tcp_user_timeout: TCP_USER_TIMEOUT,
            addresses: Addresses::default(),
        })
    };
    let Who::Certificate(certificate) = who else {
        return watch::channel(make(None)).1;
    };
    let (targets, target) = watch::channel(make(Some(certificate)));
    let certificate = certificate.clone();
    let mut states = certificate.subscribe();
    running.spawn(async move {
        while states.changed().await.is_ok() {
            targets.send_replace(make(Some(&certificate)));
        }
    });
    target
}

/// Whom routes trust, by their `extra_ca`: the verifier with all its roots is one for all that trust the same.
#[derive(Default)]
struct Trusted(BTreeMap<Option<PathBuf>, Arc<ClientConfig>>);

impl Trusted {
    /// A route's TLS, with no certificate of ours.
    fn tls(&mut self, route: &PushRoute) -> anyhow::Result<Arc<ClientConfig>> {
        let known = self.0.entry(route.extra_ca.clone());
        let shared = match known {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(client_tls(route.extra_ca.as_deref(), None)?),
        };
        let mut own = ClientConfig::clone(shared);
        // No session of one route is resumed by another: a service may hold it to whoever made it.
        own.resumption = Resumption::default();
        Ok(Arc::new(own))
    }
}
