//! Checks: the tree as typed becomes the config as meant, or every mistake in it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::load::{Env, Node, Value};
use super::problem::{Problems, Warning};
use super::{Admin, Config, Key, Limits, SCOPES, Server, Store, Tenant, Tls, Webhook, value};
use crate::inbound::keyword::Keywords;
use crate::message::Class;
use section::{Field, Notes, Section};

mod account;
mod endpoints;
mod inbound;
mod outbind;
mod push;
mod receipts;
mod routes;
mod rules;
pub(super) mod schema;
mod section;
mod texts;
mod throttle;
mod tlvs;
mod way;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Names in one kind of table. Chosen: far above any gateway seen, far below the store's 16 bits.
const NAMES_MAX: usize = 10_000;
/// Entries of the short lists: senders, tags, countries.
const ITEMS_MAX: usize = 1_000;

/// Checks the whole tree.
pub(super) fn check(root: &Node, env: &Env, dev: bool) -> Result<(Config, Vec<Warning>), Problems> {
    let notes = Notes {
        problems: RefCell::default(),
        warnings: RefCell::default(),
        env,
        dev,
    };
    let at = Field {
        path: String::new(),
        node: root,
        notes: &notes,
    };
    let config = at.section("").and_then(|root| config(&root));
    let problems = notes.problems.into_inner();
    match config {
        Some(config) if problems.is_empty() => Ok((config, notes.warnings.into_inner())),
        _ => Err(Problems::in_order(problems)),
    }
}

/// What the cross-checks look names up in.
struct Declared<'a> {
    tenants: &'a BTreeMap<String, Node>,
    routes: &'a BTreeMap<String, Node>,
    endpoints: &'a BTreeMap<String, Node>,
}

fn config(root: &Section<'_>) -> Option<Config> {
    let none = BTreeMap::new();
    let named = |kind: &str| match root.table.get(kind).map(|node| &node.value) {
        Some(Value::Table(table)) => table,
        _ => &none,
    };
    let declared = Declared {
        tenants: named("tenants"),
        routes: named("routes"),
        endpoints: named("endpoints"),
    };
    // The fixed sections are all in the embedded defaults: a missing one is a section that was
    // overwritten by a scalar, which `fixed` notes. Every one is read before any is given up on.
    let server = fixed(root, "server").map(|s| server(&s));
    let admin = fixed(root, "admin").map(|s| admin(&s));
    let store = fixed(root, "store").and_then(|s| store(&s));
    let webhook = fixed(root, "webhook").map(|s| webhook(&s));
    let limits = fixed(root, "limits").map(|s| limits(&s));
    let lanes = fixed(root, "lanes").map(|s| lanes(&s));
    let keys = fixed(root, "auth").map(|s| keys(&s, &declared));
    let (routes, push) = routes::apart(each(root, "routes", routes::any));
    push::one_key_each(root, &push);
    push::one_quota_each(root, &push);
    let rules = rules::rules(root, &declared);
    let endpoints = match &webhook {
        Some(webhook) => each(root, "endpoints", |field| {
            endpoints::endpoint(field, &declared, webhook)
        }),
        None => BTreeMap::new(),
    };
    let inbound = fixed(root, "inbound").map(|s| inbound::inbound(&s, &declared, &endpoints));
    let keywords = inbound::all_keywords(inbound.as_ref());
    let tenants = each(root, "tenants", |field| tenant(field, &keywords));
    let (server, admin) = (server?, admin?);
    listeners(root, &server, &admin);
    let config = Config {
        server,
        admin,
        store: store?,
        keys: keys?,
        webhook: webhook?,
        limits: limits?,
        lanes: lanes?,
        tenants,
        routes,
        push,
        rules,
        endpoints,
        inbound: inbound?,
    };
    if let Some(at) = root.opt("inbound") {
        let shared = config.without_replies();
        if shared.len() > 1 && !config.inbound.replies.is_empty() {
            at.warn(format!(
                "replies: the customers of {} are answered with the same texts; a tenant has its \
                 own in tenants.NAME.replies",
                shared.join(", ")
            ));
        }
        for number in config.nobodys() {
            at.warn(format!(
                "{number}: what handsets write to it is no tenant's; their STOP suppresses for all \
                 who send from it, and none is told: give it an owner in inbound.numbers, or set \
                 inbound.default_endpoint"
            ));
        }
    }
    Some(config)
}

fn fixed<'a>(root: &Section<'a>, key: &str) -> Option<Section<'a>> {
    root.need(key, "a table")?.section(key)
}

/// Every table of one kind, under names that urls and metric labels can carry.
fn each<'a, T>(
    root: &Section<'a>,
    kind: &str,
    read: impl Fn(&Field<'a>) -> Option<T>,
) -> BTreeMap<String, T> {
    let Some(tables) = root.opt(kind) else {
        return BTreeMap::new();
    };
    let expected = "a table of tables, one for each name";
    let Some(named) = tables.table(expected) else {
        return BTreeMap::new();
    };
    if named.len() > NAMES_MAX {
        tables.wrong(&format!("at most {NAMES_MAX} names"));
    }
    let mut read_all = BTreeMap::new();
    for (name, node) in named.iter().take(NAMES_MAX) {
        let field = tables.child(name, node);
        if !value::name(name) {
            field.wrong("a name of 1 to 64 letters, digits, - or _");
        }
        if let Some(one) = read(&field) {
            read_all.insert(name.clone(), one);
        }
    }
    read_all
}

fn listen(section: &Section<'_>, why: &str) -> SocketAddr {
    let expected = format!("an address and port such as \"127.0.0.1:8443\", {why}");
    section
        .need("listen", &expected)
        .and_then(|field| field.parsed(&expected, |text| text.parse().ok()))
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn server(section: &Section<'_>) -> Server {
    let listen = listen(section, "where the public API listens");
    let tls = section
        .opt("tls")
        .and_then(|field| field.section("server.tls"))
        .map(|tls| certificate(&tls));
    if tls.is_none() && !listen.ip().is_loopback() {
        let text = "plain HTTP beyond loopback: API keys and messages travel in the clear; set \
                    server.tls or put a TLS proxy in front";
        section.at.warn(String::from(text));
    }
    Server { listen, tls }
}

/// A certificate and its key.
fn certificate(tls: &Section<'_>) -> Tls {
    Tls {
        cert: tls
            .need("cert", "a readable file, the PEM certificate chain")
            .map(|field| field.file("the PEM certificate chain"))
            .unwrap_or_default(),
        key: tls_key(tls),
    }
}

/// The private key by reference: a file's path, as rustls reads the file itself.
fn tls_key(tls: &Section<'_>) -> std::path::PathBuf {
    let expected = "{ file = \"PATH\" } of the PEM private key";
    let Some(field) = tls.need("key", expected) else {
        return std::path::PathBuf::new();
    };
    match &field.node.value {
        Value::Table(table) if table.len() == 1 => match table.get("file") {
            Some(node) => return field.child("file", node).secret_path("the PEM private key"),
            None => field.wrong_secret(expected, None),
        },
        _ => field.wrong_secret(expected, None),
    }
    std::path::PathBuf::new()
}

fn admin(section: &Section<'_>) -> Admin {
    let listen = listen(section, "where /livez, /readyz and /metrics listen");
    if !listen.ip().is_loopback() {
        let text =
            "the admin listener has no authentication; keep it on loopback or in a private network";
        section.at.warn(String::from(text));
    }
    Admin { listen }
}

fn listeners(root: &Section<'_>, server: &Server, admin: &Admin) {
    if server.listen == admin.listen && server.listen.port() != 0 {
        root.blame(
            ("admin.listen", "another address than server.listen"),
            ("server.listen", "another address than admin.listen"),
            None,
        );
    }
}

fn store(section: &Section<'_>) -> Option<Store> {
    let expected = "the path of the data directory";
    let path = section
        .need("path", expected)
        .map(|field| field.text_where(expected, |text| !text.is_empty()));
    if let Some(field) = section.opt("durability") {
        field.word(&[("group-commit", ())], &["fsync-each"]);
    }
    let kept = section
        .need("retention", "a table")?
        .section("store.retention")?;
    let years = DAY * 3_650;
    let messages = kept.duration("messages", HOUR..=years, "how long a message is kept");
    let content = kept.duration("content", Duration::ZERO..=years, "how long texts are kept");
    let idempotency = kept.duration(
        "idempotency",
        HOUR..=DAY * 7,
        "how long an idempotency key holds",
    );
    let events = kept.duration("events", HOUR..=years, "how long events can be read");
    // The longest first: messages that are kept as long as that are kept long enough.
    let mut shorter = [
        ("content", content, "a text goes with its message"),
        (
            "idempotency",
            idempotency,
            "a key answers with its message, which must be there as long as the key holds",
        ),
        ("events", events, "an event is written from its message"),
    ];
    shorter.sort_by_key(|(_, time, _)| std::cmp::Reverse(*time));
    for (name, time, hint) in shorter {
        if kept.sound("messages") && kept.sound(name) && time > messages {
            kept.blame(
                (name, "at most retention.messages"),
                ("messages", &format!("at least retention.{name}")),
                Some(hint.to_owned()),
            );
        }
    }
    Some(Store {
        path: path.unwrap_or_default().into(),
        retention_messages: messages,
        retention_content: content,
        retention_events: events,
        retention_idempotency: idempotency,
    })
}

/// A range of addresses, or one.
fn range(field: &Field<'_>) -> Option<ipnet::IpNet> {
    let expected = "a range such as \"10.0.0.0/8\" or an address";
    field.parsed(expected, |text| {
        let address = || {
            text.parse::<std::net::IpAddr>()
                .ok()
                .map(ipnet::IpNet::from)
        };
        text.parse().ok().or_else(address)
    })
}

fn webhook(section: &Section<'_>) -> Webhook {
    Webhook {
        allow_http: section.bool("allow_http", "whether endpoints may be plain http"),
        allow_private: section
            .list("allow_private", ITEMS_MAX, "a list of CIDR ranges")
            .iter()
            .filter_map(range)
            .collect(),
    }
}

fn limits(section: &Section<'_>) -> Limits {
    let count = |key, most, why| usize::try_from(section.int(key, 1..=most, why)).unwrap_or(1);
    Limits {
        // The writer's batches and the young of one second at full speed fit in 16 MB.
        memory: section.size(
            "memory",
            16_000_000..=1 << 40,
            "memory counted by its owners",
        ),
        queued: section.int("queued", 1..=10_000_000_000, "messages waiting to be sent"),
        // 40 octets each: from 25,000 suppressions up.
        suppressions: section.size(
            "suppressions",
            1_000_000..=1 << 40,
            "memory for who must not be sent to, 40 octets each",
        ),
        disk_reserve: section.size(
            "disk_reserve",
            1_000_000..=1 << 50,
            "what stays free on the store's disk",
        ),
        connections: count(
            "connections",
            1_000_000,
            "open connections of the public API",
        ),
        ndjson_streams: count("ndjson_streams", 1_024, "NDJSON streams at once"),
        batch_items: count("batch_items", 10_000, "items of one JSON batch"),
    }
}

fn lanes(section: &Section<'_>) -> [u32; 4] {
    Class::ALL.map(|class| {
        let why = "the lane's share; 0 would starve it";
        u32::try_from(section.int(class.name(), 1..=10_000, why)).unwrap_or(1)
    })
}

/// Shortest API key: contract.md §5.
const KEY_CHARS_MIN: usize = 32;
/// Longest API key. Chosen: a header line stays short.
const KEY_CHARS_MAX: usize = 512;

fn keys(section: &Section<'_>, declared: &Declared<'_>) -> Vec<Key> {
    let items = section.list("keys", NAMES_MAX, "[[auth.keys]] tables");
    let mut keys: Vec<Key> = Vec::with_capacity(items.len());
    let mut names = BTreeSet::new();
    for item in items {
        let Some(section) = item.section("auth.keys[]") else {
            continue;
        };
        let key = key(&section, declared);
        if !key.name.is_empty()
            && !names.insert(key.name.clone())
            && let Some(field) = section.opt("name")
        {
            field.wrong("a name that no other key has");
        }
        let twin = keys.iter().find(|other| other.secret == key.secret);
        if let (Some(twin), false) = (twin, key.secret.expose().is_empty())
            && let Some(field) = section.opt("secret")
        {
            let expected = format!("another secret than that of key \"{}\"", twin.name);
            field.wrong_secret(&expected, None);
        }
        keys.push(key);
    }
    keys
}

fn key(section: &Section<'_>, declared: &Declared<'_>) -> Key {
    let name = "a name of 1 to 64 letters, digits, - or _";
    let scopes = "a list of scopes such as [\"messages:write\"]";
    let secret = "32 to 512 printable characters without spaces, the bearer token";
    let words: Vec<(&str, &str)> = SCOPES.iter().map(|scope| (*scope, *scope)).collect();
    let scope_list = section
        .need("scopes", scopes)
        .map(|field| {
            let items = field.list(SCOPES.len(), scopes);
            if items.is_empty() && matches!(&field.node.value, Value::Array(_)) {
                field.wrong(scopes);
            }
            items
        })
        .unwrap_or_default();
    Key {
        name: section
            .need("name", name)
            .map(|field| field.text_where(name, value::name))
            .unwrap_or_default(),
        tenant: section
            .opt("tenant")
            .map(|field| field.name_of("tenants", declared.tenants)),
        scopes: scope_list
            .iter()
            .filter_map(|field| field.word(&words, &[]).map(String::from))
            .collect(),
        secret: section
            .need("secret", secret)
            .map(|field| {
                field.secret(secret, |text| {
                    (KEY_CHARS_MIN..=KEY_CHARS_MAX).contains(&text.len())
                        && text.bytes().all(|b| b.is_ascii_graphic())
                })
            })
            .unwrap_or_else(|| super::Secret::new("")),
    }
}

/// Longest sender: source_addr, SMPP v3.4 §5.2.8, 21 octets with its NUL.
const SENDER_OCTETS_MAX: usize = 20;

fn tenant(field: &Field<'_>, keywords: &Keywords) -> Option<Tenant> {
    let section = field.section("tenants.*")?;
    let expected = "a list of senders such as [\"ACME\", \"71234\"], or [\"*\"] for any";
    let sender = |field: &Field<'_>| {
        let expected = "a sender of 1 to 20 printable ASCII characters, or \"*\"";
        if let Value::Text(text) = &field.node.value
            && text.starts_with("pool:")
        {
            field.not_yet(expected);
            return String::new();
        }
        field.text_where(expected, |text| {
            (1..=SENDER_OCTETS_MAX).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        })
    };
    let senders = section
        .need("senders", expected)
        .map(|field| field.list(ITEMS_MAX, expected))
        .unwrap_or_default();
    Some(Tenant {
        senders: senders.iter().map(sender).collect(),
        ingress_rate: section
            .opt("ingress_rate")
            .and_then(|field| field.rate("messages that the tenant may hand in")),
        require_idempotency: section.bool(
            "require_idempotency",
            "whether a request needs an idempotency key",
        ),
        replies: section
            .opt("replies")
            .and_then(|field| field.section("tenants.*.replies"))
            .map(|section| inbound::replies(&section, keywords)),
    })
}
