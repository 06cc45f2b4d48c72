//! Checks of `[routes.*]`: by type, and an SMPP account's facts against the protocol's limits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::section::{Field, Section};
use super::{DAY, HOUR, account, outbind, push, receipts, texts, tlvs, way};
use crate::config::load::Value;
use crate::config::{Bind, PushRoute, Receipts, Route, Validity, value};

/// Hosts of one account. Chosen: carriers name two to four.
const HOSTS_MAX: usize = 16;

/// Lowest version with bind_transceiver. smpp.md §1.2.
const VERSION_TRANSCEIVER: u8 = 0x34;

const SECOND: Duration = Duration::from_secs(1);

/// A route of either kind.
pub(super) enum AnyRoute {
    /// To a carrier.
    Smpp(Box<Route>),
    /// To a push service.
    Push(Box<PushRoute>),
}

/// Reads a route by its type.
pub(super) fn any(field: &Field<'_>) -> Option<AnyRoute> {
    if let Some(Value::Text(typed)) = field.node.get("type").map(|node| &node.value)
        && push::TYPES.contains(&typed.as_str())
    {
        let route = push::route(field, typed)?;
        return Some(AnyRoute::Push(Box::new(route)));
    }
    route(field).map(|route| AnyRoute::Smpp(Box::new(route)))
}

/// The two kinds, each by name.
pub(super) fn apart(
    all: BTreeMap<String, AnyRoute>,
) -> (BTreeMap<String, Route>, BTreeMap<String, PushRoute>) {
    let (mut smpp, mut push) = (BTreeMap::new(), BTreeMap::new());
    for (name, route) in all {
        match route {
            AnyRoute::Smpp(route) => drop(smpp.insert(name, *route)),
            AnyRoute::Push(route) => drop(push.insert(name, *route)),
        }
    }
    (smpp, push)
}

fn route(field: &Field<'_>) -> Option<Route> {
    let kind = "\"smpp\", the route's protocol";
    let section = field.section("routes.*")?;
    if let Some(kind) = section.need("type", kind) {
        kind.word(
            &[("smpp", ()), ("apns", ()), ("fcm", ())],
            &["email", "rcs"],
        );
    }
    let hosts = hosts(&section);
    let way = way::read(&section, &hosts);
    let receipts = receipts::read(&section);
    let (binds_per_host, window) = sessions(&section);
    let (enquire_link, response_timeout) = timers(&section);
    let version = section
        .opt("version")
        .and_then(|f| f.word(&[("3.3", 0x33), ("3.4", 0x34), ("5.0", 0x50)], &[]))
        .unwrap_or(0x34);
    let (validity, max_validity) = lifetimes(&section);
    let binds = hosts.len() * usize::from(binds_per_host);
    let rate = super::throttle::rate(&section, binds * window);
    Some(Route {
        hosts,
        tls: way.tls,
        tls_ca: way.ca,
        tls_server_name: way.server_name,
        tls_client: way.client,
        tls_pins: way.pins,
        source_address: way.source,
        tcp_user_timeout: way.user_timeout,
        account: account::read(&section),
        outbind: outbind::read(&section, way.tls),
        bind: bind(&section, &receipts, version),
        binds_per_host,
        window,
        version,
        tlvs: tlvs::read(&section, version),
        enquire_link,
        response_timeout,
        rate,
        throttle: super::throttle::pauses(&section),
        statuses: super::throttle::statuses(&section),
        retry_status: super::throttle::retry_status(&section),
        receipts,
        error_map: receipts::error_map(&section),
        validity,
        max_validity,
        dialect: texts::dialect(&section, version),
        source_ton: account::number_kind(&section, "source_ton"),
        source_npi: account::number_kind(&section, "source_npi"),
        dest_ton: account::number_kind(&section, "dest_ton"),
        dest_npi: account::number_kind(&section, "dest_npi"),
        inbound_country: section.opt("inbound_country").map(|field| {
            let expected = "a calling code of 1 to 3 digits such as \"46\"";
            field.text_where(expected, |text| {
                (1..=3).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_digit())
                    && !text.starts_with('0')
            })
        }),
    })
}

fn bind(section: &Section<'_>, receipts: &Receipts, version: u8) -> Bind {
    let words = [
        ("transceiver", Bind::Transceiver),
        ("transmitter", Bind::Transmitter),
        ("receiver", Bind::Receiver),
        ("tx+rx", Bind::Pair),
        ("auto", Bind::Auto),
    ];
    let field = section.opt("bind");
    let bind = field.as_ref().and_then(|field| field.word(&words, &[]));
    let bind = bind.unwrap_or(Bind::Transceiver);
    let at = field.as_ref().unwrap_or(&section.at);
    let called = section.opt("outbind").is_some();
    if bind == Bind::Transmitter && receipts.enabled && !called {
        at.wrong("\"transceiver\", or receipts.enabled = false: a transmitter gets no receipts");
    }
    if bind == Bind::Transceiver && version < VERSION_TRANSCEIVER {
        let text = "SMPP 3.3 has no bind_transceiver: bind = \"tx+rx\" or \"auto\" unless the carrier \
                    says otherwise";
        at.warn(String::from(text));
    }
    bind
}

/// Sessions to each host, and the window of each.
fn sessions(section: &Section<'_>) -> (u16, usize) {
    let binds = "the sessions that the carrier allows to one host";
    let window = "the carrier's allowed unanswered submit_sm";
    (
        u16::try_from(section.int("binds_per_host", 1..=64, binds)).unwrap_or(1),
        usize::try_from(section.int("window", 1..=1_000, window)).unwrap_or(1),
    )
}

/// enquire_link and response timer (SMPP v3.4 §7.2).
fn timers(section: &Section<'_>) -> (Duration, Duration) {
    let silence = "the silence after which a link is asked";
    let answer = "how long an answer may take";
    (
        section.duration("enquire_link", SECOND..=HOUR, silence),
        section.duration("response_timeout", SECOND..=SECOND * 600, answer),
    )
}

/// How validity_period is written, and its longest.
fn lifetimes(section: &Section<'_>) -> (Validity, Option<Duration>) {
    let forms = [
        ("relative", Validity::Relative),
        ("absolute", Validity::Absolute),
        ("none", Validity::Absent),
    ];
    let form = section
        .opt("validity")
        .and_then(|field| field.word(&forms, &[]))
        .unwrap_or(Validity::Relative);
    let longest = section.opt("max_validity").map(|field| {
        if form == Validity::Absent {
            field.wrong("no max_validity beside validity = \"none\": none is written");
        }
        let why = "the longest validity that the carrier takes";
        field.duration(SECOND * 60..=DAY * 365, why)
    });
    (form, longest)
}

fn hosts(section: &Section<'_>) -> Vec<String> {
    let expected = "a list of 1 to 16 \"host:port\"";
    let one = "\"host:port\" with a port from 1 to 65535";
    let Some(field) = section.need("hosts", expected) else {
        return Vec::new();
    };
    let items = field.list(HOSTS_MAX, expected);
    if items.is_empty() && matches!(&field.node.value, Value::Array(_)) {
        field.wrong(expected);
    }
    let mut seen = BTreeSet::new();
    let mut hosts = Vec::with_capacity(items.len());
    for item in &items {
        let host = item.text_where(one, |text| value::host_port(text).is_some());
        if !host.is_empty() && !seen.insert(host.clone()) {
            item.wrong("each host once; for more sessions raise binds_per_host");
        }
        hosts.push(host);
    }
    hosts
}
