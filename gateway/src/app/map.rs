//! Map: from the config, as the operator means it, to what each stage is told.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use codecs::smpp::{CommandStatus, Limits};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};

use crate::config::{self, Config};
use crate::connect::{smpp, tls};
use crate::dispatch::limit;
use crate::event::EventKinds;
use crate::files;
use crate::message::{Channel, RouteIx};
use crate::names::Names;
use crate::{accept, plan, store, webhook};

pub(super) mod inbound;

/// The store's config.
pub(super) fn store(config: &Config) -> store::Config {
    let route = |(name, route): (&String, &config::Route)| store::RouteFacts {
        name: name.clone(),
        receipts: route.receipts.enabled,
        receipt_timeout: route.receipts.timeout,
        response_timeout: route.response_timeout,
        ladder: ladder(&route.receipts),
        parts: route.receipts.parts,
        charset: route.dialect.charset(),
        retries: Default::default(),
    };
    store::Config {
        path: config.store.path.clone(),
        retention_messages: config.store.retention_messages,
        retention_content: config.store.retention_content,
        retention_events: config.store.retention_events,
        retention_idempotency: config.store.retention_idempotency,
        memory: config.limits.memory,
        queued: config.limits.queued,
        suppressions: config.limits.suppressions,
        disk_reserve: config.limits.disk_reserve,
        routes: config
            .routes
            .iter()
            .map(route)
            .chain(
                config
                    .push
                    .iter()
                    .map(|(name, route)| super::push::facts(name, route)),
            )
            .collect(),
        tenants: config.tenants.keys().cloned().collect(),
        endpoints: config.endpoints.keys().cloned().collect(),
        inbound: inbound::inbound(config),
    }
}

/// How a route's receipts find their messages.
fn ladder(receipts: &config::Receipts) -> store::Ladder {
    let octets = |text: &String| text.as_bytes().into();
    let transform = receipts.id_transform.as_ref();
    store::Ladder {
        format: match receipts.id_format {
            config::IdFormat::Auto => store::IdFormat::Auto,
            config::IdFormat::Same => store::IdFormat::Same,
            config::IdFormat::HexToDec => store::IdFormat::HexToDec,
            config::IdFormat::DecToHex => store::IdFormat::DecToHex,
        },
        transform: transform.map_or_else(store::Transform::default, |transform| store::Transform {
            strip_prefix: octets(&transform.strip_prefix),
            strip_suffix: octets(&transform.strip_suffix),
            first: transform.first,
            last: transform.last,
        }),
        without_id: receipts.without_id,
    }
}

/// The routing table.
pub(super) fn table(config: &Config, names: &Names) -> plan::Table {
    let rule = |rule: &config::Rule| plan::Rule {
        matching: plan::Match {
            channel: rule.when.channel.as_deref().and_then(Channel::from_name),
            class: rule.when.class.clone(),
            country: rule.when.country.clone(),
            prefix: rule.when.prefix.clone(),
            tenant: rule
                .when
                .tenant
                .iter()
                .filter_map(|name| names.tenant_ix(name))
                .collect(),
        },
        routes: rule
            .routes
            .iter()
            .filter_map(|(name, weight)| Some((names.route_ix(name)?, *weight)))
            .collect(),
        strategy: match rule.strategy {
            config::Strategy::Priority => plan::Strategy::Priority,
            config::Strategy::Weighted => plan::Strategy::Weighted,
        },
    };
    let dialects = config
        .routes
        .iter()
        .filter_map(|(name, route)| Some((names.route_ix(name)?, route.dialect.clone())));
    let dictionaries = config
        .routes
        .iter()
        .filter_map(|(name, route)| Some((names.route_ix(name)?, own_tlvs(route))));
    plan::Table::new(config.rules.iter().map(rule).collect())
        .with_dialects(dialects)
        .with_tlvs(dictionaries)
        .with_push(super::push::planned(config, names))
}

/// What TLVs messages may bring on a route.
fn own_tlvs(route: &config::Route) -> plan::tlv::Dictionary {
    let out = route.tlvs.iter().filter(|tlv| tlv.out);
    plan::tlv::Dictionary {
        // SMPP 3.3 has no TLVs (SMPP v3.4 §3.2.4).
        takes: route.version > 0x33,
        names: out
            .map(|tlv| (tlv.name.as_str().into(), tlv.tag, tlv.kind))
            .collect(),
    }
}

/// A route's rate, and how it backs off.
pub(super) fn limits(route: &config::Route) -> limit::Config {
    let pauses = limit::throttle::Pauses::default();
    limit::Config {
        rate: route.rate.as_ref().map(|rate| limit::pace::Configured {
            per_second: f64::from(rate.count) / rate.per.as_secs_f64(),
            burst: rate.burst,
        }),
        pauses: limit::throttle::Pauses {
            first: route.throttle.pause.unwrap_or(pauses.first),
            longest: route.throttle.pause_max.unwrap_or(pauses.longest),
        },
        ..limit::Config::default()
    }
}

fn own_status(rule: &config::StatusRule) -> smpp::classify::Rule {
    use smpp::classify::Own;
    smpp::classify::Rule {
        status: rule.status,
        text: rule.text.clone(),
        alarm: rule.alarm,
        own: match rule.class {
            config::StatusClass::Throttle => Own::Throttle,
            config::StatusClass::Retry => Own::Retry,
            config::StatusClass::Elsewhere => Own::Elsewhere,
            config::StatusClass::Never => Own::Never,
            config::StatusClass::Fatal => Own::Fatal,
        },
    }
}

/// A route's links: host, its index, and the seat.
pub(super) type Link = (String, usize, smpp::Seat);

/// A route's links: `binds_per_host` for each host, each with its receiver where there are pairs, or
/// may be.
pub(super) fn links(route: &config::Route) -> Vec<Link> {
    let seats: &[smpp::Seat] = match route.bind {
        config::Bind::Pair | config::Bind::Auto => &[smpp::Seat::Main, smpp::Seat::Companion],
        config::Bind::Transceiver | config::Bind::Transmitter | config::Bind::Receiver => {
            &[smpp::Seat::Main]
        }
    };
    let mut links = Vec::new();
    for (index, host) in route.hosts.iter().enumerate() {
        for _ in 0..route.binds_per_host {
            links.extend(seats.iter().map(|seat| (host.clone(), index, *seat)));
        }
    }
    if let Some(outbind) = &route.outbind {
        let host = format!("outbind {}", outbind.listen);
        links.push((host, 0, smpp::Seat::Called));
    }
    links
}

/// How a route's carrier writes its receipts.
fn reading(route: &config::Route) -> smpp::Reading {
    let receipts = &route.receipts;
    smpp::Reading {
        format: receipts.format.clone(),
        by_text: receipts.by_text,
        without_id: receipts.without_id,
        prefer_text: receipts.prefer_text,
        utc_offset_min: receipts.utc_offset_min,
        accepted_is_final: receipts.accepted_is_final,
        unknown_is_open: !receipts.unknown_is_final,
        error_map: route.error_map.clone(),
    }
}

/// A route's listener for outbind.
pub(super) fn outbind(outbind: &config::Outbind) -> smpp::Listen {
    smpp::Listen {
        listen: outbind.listen,
        allow: outbind.allow.clone(),
        system_id: outbind.system_id.clone(),
        password: smpp::Password(outbind.password.expose().to_owned()),
    }
}

/// A route's TLS, if it has any.
///
/// # Errors
/// Roots, a certificate or a key that cannot be read.
fn tls(name: &str, route: &config::Route) -> anyhow::Result<Option<smpp::Tls>> {
    if !route.tls {
        return Ok(None);
    }
    let roots = match &route.tls_ca {
        Some(path) => tls::ca_file(path),
        None => tls::native_roots(),
    };
    let identity = route.tls_client.as_ref().map(|tls| tls::Identity {
        certificate: &tls.cert,
        key: &tls.key,
    });
    let config = roots.and_then(|roots| tls::client(roots, identity));
    Ok(Some(smpp::Tls {
        config: config.with_context(|| format!("routes.{name}.tls"))?,
        server_name: route.tls_server_name.clone(),
        pins: route.tls_pins.clone(),
    }))
}

/// A route's SMPP config.
///
/// # Errors
/// As [`tls`].
pub(super) fn smpp(name: &str, route: &config::Route, ix: RouteIx) -> anyhow::Result<smpp::Config> {
    let account = &route.account;
    let base = smpp::Config::new(
        ix,
        name,
        route.hosts.clone(),
        &account.system_id,
        account.password.expose(),
    );
    let mut source = base.source;
    for rule in [
        &mut source.alphanumeric,
        &mut source.short_code,
        &mut source.number,
    ] {
        rule.0 = route.source_ton.unwrap_or(rule.0);
        rule.1 = route.source_npi.unwrap_or(rule.1);
    }
    Ok(smpp::Config {
        inbound_country: route.inbound_country.clone(),
        tls: tls(name, route)?,
        system_type: account.system_type.clone(),
        address_range: account.address_range.clone(),
        addr: account.addr,
        service_type: account.service_type.clone(),
        bind: binds(route),
        interface_version: route.version,
        window: route.window,
        source_address: route.source_address,
        tcp_user_timeout: route.tcp_user_timeout,
        enquire_link: route.enquire_link,
        // Who asks often wants to know soon.
        enquire_link_timeout: base.enquire_link_timeout.min(route.enquire_link),
        response_timeout: route.response_timeout,
        statuses: route.statuses.iter().map(own_status).collect(),
        retry_status: CommandStatus(route.retry_status),
        receipts: route.receipts.enabled,
        dialect: route.dialect.clone(),
        ask: route.receipts.ask,
        reading: reading(route),
        validity: match route.validity {
            config::Validity::Relative => smpp::ValidityForm::Relative,
            config::Validity::Absolute => smpp::ValidityForm::Absolute,
            config::Validity::Absent => smpp::ValidityForm::Absent,
        },
        max_validity: route.max_validity.unwrap_or(base.max_validity),
        source,
        dest: (
            route.dest_ton.unwrap_or(base.dest.0),
            route.dest_npi.unwrap_or(base.dest.1),
        ),
        limits: lengths(account),
        tlvs: tlvs(&route.tlvs),
        ..base
    })
}

/// How long a route's texts may be. The config has warned of those that are longer than the
/// specification's, and lets them pass.
fn lengths(account: &config::Account) -> Limits {
    let spec = Limits::SPEC;
    let room = |least: usize, text: &str| least.max(text.len() + 1);
    Limits {
        system_id: room(spec.system_id, &account.system_id),
        password: room(spec.password, account.password.expose()),
        system_type: room(spec.system_type, &account.system_type),
        address_range: room(spec.address_range, &account.address_range),
        service_type: room(spec.service_type, &account.service_type),
        address: account.source_octets_max + 1,
        ..spec
    }
}

/// How a route's sessions bind.
fn binds(route: &config::Route) -> smpp::Binds {
    match route.bind {
        config::Bind::Transceiver => smpp::Binds::Transceiver,
        config::Bind::Transmitter => smpp::Binds::Transmitter,
        config::Bind::Receiver => smpp::Binds::Receiver,
        config::Bind::Pair => smpp::Binds::Pair,
        // SMPP 3.3 has no bind_transceiver (smpp.md §1.2).
        config::Bind::Auto if route.version <= 0x33 => smpp::Binds::Pair,
        config::Bind::Auto => smpp::Binds::Auto,
    }
}

/// A route's TLVs.
fn tlvs(tlvs: &[config::Tlv]) -> smpp::Dictionary {
    let mut dictionary = smpp::Dictionary::default();
    for tlv in tlvs {
        if let Some(value) = &tlv.sent {
            dictionary.send(tlv.tag, value);
        }
        if tlv.read {
            let shown = match tlv.kind {
                config::TlvKind::CString | config::TlvKind::Octets => smpp::Shown::Text,
                config::TlvKind::Hex => smpp::Shown::Hex,
                config::TlvKind::U8 | config::TlvKind::U16 | config::TlvKind::U32 => {
                    smpp::Shown::Number
                }
            };
            dictionary.read(tlv.tag, &tlv.name, shown);
        }
    }
    dictionary
}

fn ingress(rate: &config::Rate) -> Option<accept::IngressRate> {
    Some(accept::IngressRate {
        messages: NonZeroU32::new(rate.count)?,
        per: rate.per,
        burst: NonZeroU32::new(rate.burst)?,
    })
}

/// The accept stage's config as far as the OpenAPI document shows it, with the defaults.
pub(super) fn accept_defaults() -> accept::Config {
    accept::Config {
        listen: std::net::SocketAddr::from(([127, 0, 0, 1], 8443)),
        tls: None,
        connections: 10_000,
        ndjson_streams: 32,
        batch_items: 1_000,
        idempotency: Duration::from_secs(86_400),
        keys: Vec::new(),
        tenants: Vec::new(),
        callbacks: Vec::new(),
    }
}

/// The accept stage's config.
///
/// # Errors
/// A TLS certificate or key that cannot be read.
pub(super) fn accept(config: &Config, names: &Names) -> anyhow::Result<accept::Config> {
    let key = |key: &config::Key| accept::Key {
        name: key.name.clone(),
        tenant: key
            .tenant
            .as_ref()
            .and_then(|tenant| names.tenant_ix(tenant)),
        scopes: key
            .scopes
            .iter()
            .fold(accept::Scopes::default(), |all, word| {
                all.with_word(word).unwrap_or(all)
            }),
        secret_sha256: Sha256::digest(key.secret.expose()).into(),
    };
    let tenant = |tenant: &config::Tenant| accept::Tenant {
        senders: accept::Senders {
            any: tenant.senders.iter().any(|sender| sender == "*"),
            listed: tenant
                .senders
                .iter()
                .map(|sender| sender.as_str().into())
                .collect(),
        },
        ingress: tenant.ingress_rate.as_ref().and_then(ingress),
        require_idempotency: tenant.require_idempotency,
    };
    let tenants = config
        .tenants
        .iter()
        .filter_map(|(name, settings)| Some((names.tenant_ix(name)?, tenant(settings))))
        .collect();
    let callbacks = config
        .endpoints
        .iter()
        .filter_map(|(name, endpoint)| {
            Some(accept::CallbackTarget {
                endpoint: names.endpoint_ix(name)?,
                tenant: names.tenant_ix(&endpoint.tenant)?,
                url_prefixes: vec![endpoint.url.clone()],
            })
        })
        .collect();
    Ok(accept::Config {
        listen: config.server.listen,
        tls: config
            .server
            .tls
            .as_ref()
            .map(|tls| server_tls(&tls.cert, &tls.key))
            .transpose()?,
        connections: config.limits.connections,
        ndjson_streams: config.limits.ndjson_streams,
        batch_items: config.limits.batch_items,
        idempotency: config.store.retention_idempotency,
        keys: config.keys.iter().map(key).collect(),
        tenants,
        callbacks,
    })
}

fn server_tls(cert: &Path, key: &Path) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let named = |key, path: &Path| format!("server.tls.{key} {}", path.display());
    let pem = |key, path: &Path| {
        files::read(path, files::PEM_OCTETS_MAX).with_context(|| named(key, path))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem("cert", cert)?)
        .collect::<Result<_, _>>()
        .with_context(|| named("cert", cert))?;
    let key_der =
        PrivateKeyDer::from_pem_slice(&pem("key", key)?).with_context(|| named("key", key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .context("server.tls")?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// The webhook stage's config.
///
/// # Errors
/// A signing key that does not parse; the config's check has looked at it before.
pub(super) fn webhook(config: &Config, names: &Names) -> anyhow::Result<webhook::Config> {
    let mut endpoints = Vec::new();
    for (name, endpoint) in &config.endpoints {
        let secret = codecs::webhook::Secret::parse(endpoint.secret.expose())
            .map_err(|error| anyhow::anyhow!("endpoints.{name}.secret: {error:?}"))?;
        let (Some(ix), Some(tenant)) = (names.endpoint_ix(name), names.tenant_ix(&endpoint.tenant))
        else {
            continue;
        };
        let kinds = endpoint
            .types
            .iter()
            .map(|pattern| EventKinds::matching(pattern))
            .reduce(EventKinds::with)
            .unwrap_or_else(EventKinds::defaults);
        let headers = endpoint
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()));
        endpoints.push(webhook::Endpoint {
            ix,
            tenant,
            url: endpoint.url.clone(),
            secrets: vec![secret],
            kinds,
            batch: endpoint.batch.map(|batch| webhook::Batch {
                max_events: batch.max_events,
                max_wait: batch.max_wait,
                max_bytes: batch.max_bytes,
            }),
            rate: endpoint.rate.as_ref().map(pace),
            headers: headers.collect(),
        });
    }
    Ok(webhook::Config {
        endpoints,
        allow_http: config.webhook.allow_http,
        allow_private: config.webhook.allow_private.clone(),
        callback_kinds: EventKinds::defaults(),
        extra_roots: Vec::new(),
    })
}

/// How fast POSTs may start: also less than one a second.
fn pace(rate: &config::Rate) -> webhook::Pace {
    webhook::Pace {
        gap: rate.per / rate.count.max(1),
        burst: rate.burst,
    }
}

#[cfg(test)]
mod tests;
