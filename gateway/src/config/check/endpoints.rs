//! Checks of `[endpoints.*]`: a url that may be called, a secret that can sign, types that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::Declared;
use super::schema::EVENT_TYPES;
use super::section::{Field, Section};
use crate::config::load::Value;
use crate::config::problem::did_you_mean;
use crate::config::{BatchPolicy, Endpoint, Secret, Webhook, value};
use crate::event::{EventKind, EventKinds};

/// Type patterns of one endpoint: more than there are types makes no sense.
const TYPES_MAX: usize = 64;
/// Further headers of one endpoint. Chosen: a token and some routing words.
const HEADERS_MAX: usize = 16;
/// Octets of a header's value. Chosen: a bearer token fits.
const HEADER_OCTETS_MAX: usize = 4_096;
/// Octets of a signing key. Standard Webhooks specification, "Signature scheme".
const SIGNING_OCTETS: std::ops::RangeInclusive<usize> = 24..=64;
/// Largest body of a batch. contract.md §3.
const BATCH_OCTETS_MAX: u64 = 1 << 20;

/// Headers that the gateway or HTTP itself sets.
const HEADERS_TAKEN: [&str; 8] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

pub(super) fn endpoint(
    field: &Field<'_>,
    declared: &Declared<'_>,
    webhook: &Webhook,
) -> Option<Endpoint> {
    let section = field.section("endpoints.*")?;
    if field.path.starts_with("endpoints.ep_") {
        field.wrong("a name without \"ep_\", which begins the ids of endpoints made by the API");
    }
    if let Some(field) = section.opt("format") {
        field.word(&[("standard", ())], &["cloudevents"]);
    }
    if let Some(field) = section.opt("payload") {
        field.word(&[("full", ())], &["thin"]);
    }
    let secret = "\"whsec_\" and the base64 of 24 to 64 octets";
    Some(Endpoint {
        tenant: section
            .need("tenant", "the name of one of [tenants.*]")
            .map(|field| field.name_of("tenants", declared.tenants))
            .unwrap_or_default(),
        url: section
            .need("url", "an https url")
            .map(|field| url(&field, webhook))
            .unwrap_or_default(),
        secret: section
            .need("secret", secret)
            .map(|field| field.secret(secret, signing_key))
            .unwrap_or_else(|| Secret::new("")),
        types: types(&section),
        batch: section
            .opt("batch")
            .and_then(|field| field.section("endpoints.*.batch"))
            .map(|section| batch(&section)),
        rate: section
            .opt("rate")
            .and_then(|field| field.rate("requests that the receiver takes")),
        headers: section
            .opt("headers")
            .map(|field| headers(&field))
            .unwrap_or_default(),
    })
}

fn signing_key(text: &str) -> bool {
    text.strip_prefix("whsec_")
        .and_then(|key| STANDARD_NO_PAD.decode(key.trim_end_matches('=')).ok())
        .is_some_and(|key| SIGNING_OCTETS.contains(&key.len()))
}

fn url(field: &Field<'_>, webhook: &Webhook) -> String {
    let expected = "an https url without user, password or fragment";
    let Some(text) = field.text(expected) else {
        return String::new();
    };
    let Some(url) = value::url(text) else {
        field.wrong(expected);
        return String::new();
    };
    if !url.https && !webhook.allow_http {
        let hint = String::from("webhook.allow_http = true permits http, for development");
        field.wrong_hint(expected, Some(hint));
    }
    if let Some(address) = url.literal
        && !value::public(address)
        && !webhook
            .allow_private
            .iter()
            .any(|net| net.contains(&address))
    {
        let hint = format!("webhook.allow_private = [\"{address}\"] permits it");
        field.wrong_hint("a public host", Some(hint));
    }
    text.to_owned()
}

fn types(section: &Section<'_>) -> Vec<String> {
    let expected = "a list of event types such as [\"message.*\"]; without it, those on by default";
    let Some(field) = section.opt("types") else {
        return Vec::new();
    };
    let items = field.list(TYPES_MAX, expected);
    if items.is_empty() && matches!(&field.node.value, Value::Array(_)) {
        field.wrong(expected);
    }
    items.iter().map(event_type).collect()
}

fn event_type(field: &Field<'_>) -> String {
    let expected = "an event type of the contract, such as \"message.sent\" or \"message.*\"";
    let Some(text) = field.text(expected) else {
        return String::new();
    };
    let known = match text.strip_suffix('*') {
        Some("") => true,
        Some(prefix) => {
            prefix.ends_with('.') && EVENT_TYPES.iter().any(|word| word.starts_with(prefix))
        }
        None => EVENT_TYPES.contains(&text),
    };
    if !known {
        field.wrong_hint(expected, did_you_mean(text, EVENT_TYPES.iter().copied()));
    } else if EventKinds::matching(text) == EventKinds(0) {
        never_made(field, text);
    }
    text.to_owned()
}

/// A pattern under which nothing would ever be posted.
fn never_made(field: &Field<'_>, pattern: &str) {
    let prefix = pattern.trim_end_matches('*');
    let under = EventKind::ALL
        .into_iter()
        .map(EventKind::name)
        .filter(|name| name.starts_with(prefix));
    let frequent: Vec<_> = under.collect();
    if !frequent.is_empty() {
        let hint = format!("by name: {}", frequent.join(", "));
        field.wrong_hint("types of high volume by their names", Some(hint));
        return;
    }
    let usual = EventKind::ALL
        .into_iter()
        .filter(|kind| !kind.is_frequent());
    let families = usual.filter_map(|kind| Some(kind.name().split_once('.')?.0));
    let families: BTreeSet<_> = families.collect();
    let families: Vec<_> = families.iter().map(|name| format!("{name}.*")).collect();
    field.not_yet(&format!("types of {}", families.join(", ")));
}

fn batch(section: &Section<'_>) -> BatchPolicy {
    let narrow = |value: u64| usize::try_from(value).unwrap_or(1);
    let events = section.int("max_events", 1..=1_000, "events in one request");
    let wait = section.int(
        "max_wait_ms",
        1..=5_000,
        "milliseconds that the first may wait",
    );
    let bytes = section.size(
        "max_bytes",
        4_096..=BATCH_OCTETS_MAX,
        "the size of one body",
    );
    BatchPolicy {
        max_events: narrow(events),
        max_wait: Duration::from_millis(wait),
        max_bytes: narrow(bytes),
    }
}

/// Header values are secrets by kind, but may stand in the file: only some of them are credentials.
fn headers(field: &Field<'_>) -> BTreeMap<String, Secret> {
    let expected = "a table of at most 16 headers";
    let value = "printable ASCII as text, or { env = \"NAME\" } or { file = \"PATH\" } of it";
    let Value::Table(table) = &field.node.value else {
        field.wrong_secret(expected, None);
        return BTreeMap::new();
    };
    if table.len() > HEADERS_MAX {
        field.wrong(expected);
    }
    let mut headers = BTreeMap::new();
    for (name, node) in table.iter().take(HEADERS_MAX) {
        let entry = field.child(name, node);
        let lower = name.to_ascii_lowercase();
        let valid = hyper::header::HeaderName::from_bytes(lower.as_bytes()).is_ok();
        if !valid || HEADERS_TAKEN.contains(&lower.as_str()) {
            entry.wrong_secret("a header that the gateway does not set itself", None);
        }
        let printable = |text: &str| {
            text.len() <= HEADER_OCTETS_MAX && text.bytes().all(|b| matches!(b, 0x20..=0x7e))
        };
        let secret = match &node.value {
            Value::Text(text) if printable(text) => Secret::new(text),
            Value::Text(_) => {
                entry.wrong_secret(value, None);
                continue;
            }
            _ => entry.secret(value, printable),
        };
        headers.insert(lower, secret);
    }
    headers
}
