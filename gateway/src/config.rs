//! Config: what the operator wrote, checked as a whole, as plain data.
//!
//! ```text
//!  config/gateway.toml (embedded) ─┐
//!  the operator's file ────────────┼─► tree, as typed, with lines ──► check ──► Config, as meant
//!  TRUNKLINE__SECTION__KEY ────────┘        `load`                   `check`    or every Problem
//! ```
//!
//! Secrets come by reference and live in [`Secret`]; no [`Problem`] and no `Debug` shows one.
//! `app` maps this to what each stage wants; no stage sees it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use codecs::smpp::receipt::Format;
use codecs::text::Dialect;

use crate::outcome::PartRule;
use crate::outcome::error_map::ErrorMap;

mod check;
mod load;
mod numbers;
mod problem;
pub mod push;
mod secret;
mod tlv;
mod value;

#[cfg(test)]
mod tests;

pub use load::Env;
pub use problem::{Kind, Problem, Problems, Warning};
pub use push::PushRoute;
pub use secret::Secret;
pub use tlv::{Tlv, TlvKind};
pub use value::Rate;

/// The lowest layer: every key of the fixed sections with its default and why.
pub const DEFAULT_FILE: &str = include_str!("../../config/gateway.toml");

/// Loads the file at `path` over the embedded defaults and under the overrides of `env`, and checks
/// all of it. With `dev`, secrets may stand in the file itself.
///
/// # Errors
/// Every mistake found, in file order; never just the first.
pub fn load(path: &Path, env: &Env, dev: bool) -> Result<(Config, Vec<Warning>), Problems> {
    check::check(&load::tree(path, env)?, env, dev)
}

/// The effective config of `path` as a TOML table: defaults and overrides filled in, secrets
/// redacted, references to secrets kept.
///
/// # Errors
/// As [`load`]: a config with mistakes has no effect to show.
pub fn effective(path: &Path, env: &Env, dev: bool) -> Result<toml::Table, Problems> {
    let tree = load::tree(path, env)?;
    check::check(&tree, env, dev)?;
    Ok(load::redacted(&tree))
}

/// The whole config, as meant.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`: the public API.
    pub server: Server,
    /// `[admin]`: health and metrics.
    pub admin: Admin,
    /// `[store]`: where and for how long.
    pub store: Store,
    /// `[[auth.keys]]`.
    pub keys: Vec<Key>,
    /// `[webhook]`: what endpoints may be.
    pub webhook: Webhook,
    /// `[limits]`: the gateway's own bounds.
    pub limits: Limits,
    /// `[lanes]`: weights, by [`Class::lane`](crate::message::Class::lane).
    pub lanes: [u32; 4],
    /// `[tenants.*]`.
    pub tenants: BTreeMap<String, Tenant>,
    /// `[routes.*]` to carriers.
    pub routes: BTreeMap<String, Route>,
    /// `[routes.*]` to push services.
    pub push: BTreeMap<String, PushRoute>,
    /// `[[routing.rules]]`, in file order: the first match wins.
    pub rules: Vec<Rule>,
    /// `[endpoints.*]`.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// `[inbound]`.
    pub inbound: Inbound,
}

/// `[inbound]`: what handsets write.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// How long the parts of a message wait for each other.
    pub reassembly_timeout: Duration,
    /// Who is told of what is written to a number without an endpoint of its own.
    pub default_endpoint: Option<String>,
    /// `[inbound.numbers.*]`.
    pub numbers: BTreeMap<String, InboundNumber>,
    /// Own keywords of tenants, each with the endpoint that is told.
    pub keyword_endpoints: Vec<(String, String)>,
    /// `opt_out_scope`: whether opting out is of everything the tenant sends, or of the number
    /// written to.
    pub opts_out_of_all: bool,
    /// `[inbound.keywords]`: the built-in lists that count, by language; absent is all.
    pub languages: Option<Vec<String>>,
    /// `[inbound.keywords]`: further words.
    pub words: Vec<(crate::inbound::Intent, String)>,
    /// `[inbound.replies]`: what who asks for it is answered, by tenants without texts of their own;
    /// absent is nothing.
    pub replies: Vec<(crate::inbound::Intent, String)>,
}

/// One of `[inbound.numbers.*]`.
#[derive(Clone, Debug)]
pub struct InboundNumber {
    /// Whose number it is.
    pub tenant: String,
    /// The endpoint that is told, one of the tenant's.
    pub endpoint: Option<String>,
    /// Own keywords on this number, each with the tenant's endpoint that is told instead.
    pub keyword_endpoints: Vec<(String, String)>,
}

/// `[server]`.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where the public API listens.
    pub listen: SocketAddr,
    /// Certificate and key; without, plain HTTP.
    pub tls: Option<Tls>,
}

/// `server.tls` and `routes.*.tls_client`. Both files were readable when the config was checked.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM certificate chain.
    pub cert: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where `/livez`, `/readyz` and `/metrics` listen.
    pub listen: SocketAddr,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct Store {
    /// The data directory.
    pub path: PathBuf,
    /// How long a message is kept after it was accepted.
    pub retention_messages: Duration,
    /// How long its text is kept; at most as long as the message.
    pub retention_content: Duration,
    /// How long events can be read.
    pub retention_events: Duration,
    /// How long an idempotency key holds, 1 h to 7 d (contract.md §2).
    pub retention_idempotency: Duration,
}

/// One of `[[auth.keys]]`.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name, unique.
    pub name: String,
    /// Whose it is; absent for an operator's key.
    pub tenant: Option<String>,
    /// Words of [`SCOPES`].
    pub scopes: Vec<String>,
    /// The bearer token, 32 to 512 characters.
    pub secret: Secret,
}

/// The scopes of contract.md §2 "Auth".
pub const SCOPES: [&str; 20] = [
    "messages:write",
    "messages:read",
    "messages:content",
    "messages:cancel",
    "messages:raw",
    "receipts:write",
    "events:read",
    "events:replay",
    "endpoints:read",
    "endpoints:write",
    "routes:read",
    "routes:operate",
    "suppressions:read",
    "suppressions:write",
    "consents:read",
    "consents:write",
    "policy:override",
    "stats:read",
    "audit:read",
    "admin",
];

/// `[webhook]`.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Whether endpoints may be plain http.
    pub allow_http: bool,
    /// Private or loopback ranges that endpoints may resolve to.
    pub allow_private: Vec<ipnet::IpNet>,
}

/// `[limits]`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Octets of memory, as counted by its owners.
    pub memory: u64,
    /// Messages waiting to be sent.
    pub queued: u64,
    /// Octets of the suppressions' index.
    pub suppressions: u64,
    /// Octets that stay free on the store's disk.
    pub disk_reserve: u64,
    /// Open connections of the public API.
    pub connections: usize,
    /// NDJSON streams at once.
    pub ndjson_streams: usize,
    /// Items of one JSON batch.
    pub batch_items: usize,
}

/// One of `[tenants.*]`.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// What it may send as; `*` is anything.
    pub senders: Vec<String>,
    /// How fast it may hand in messages; absent is unlimited.
    pub ingress_rate: Option<Rate>,
    /// Whether a request without an idempotency key is refused.
    pub require_idempotency: bool,
    /// `[tenants.*.replies]`: what who asks for it is answered, in place of `[inbound.replies]`.
    pub replies: Option<Vec<(crate::inbound::Intent, String)>>,
}

/// One of `[routes.*]`: an account at a carrier.
#[derive(Clone, Debug)]
pub struct Route {
    /// `host:port`, in order of preference.
    pub hosts: Vec<String>,
    /// Whether the links are TLS.
    pub tls: bool,
    /// PEM roots to trust instead of the system's.
    pub tls_ca: Option<PathBuf>,
    /// The name to expect in the certificate, if it is not the host.
    pub tls_server_name: Option<String>,
    /// Who we are in TLS.
    pub tls_client: Option<Tls>,
    /// SHA-256 of the keys that its certificate may have; empty is any.
    pub tls_pins: Vec<[u8; 32]>,
    /// The address of ours that connections come from.
    pub source_address: Option<IpAddr>,
    /// How long what we wrote may stay without TCP's acknowledgement.
    pub tcp_user_timeout: Duration,
    /// Who we are to the carrier.
    pub account: Account,
    /// How a session binds.
    pub bind: Bind,
    /// Where the carrier may call us.
    pub outbind: Option<Outbind>,
    /// Sessions to each host.
    pub binds_per_host: u16,
    /// Unanswered submit_sm per session.
    pub window: usize,
    /// interface_version: 0x33, 0x34 or 0x50.
    pub version: u8,
    /// Silence after which the link is asked.
    pub enquire_link: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
    /// Segments per time over all sessions; absent is unlimited.
    pub rate: Option<Rate>,
    /// How long it pauses when the carrier throttles.
    pub throttle: Throttle,
    /// What statuses mean here, where that differs; the first match counts.
    pub statuses: Vec<StatusRule>,
    /// What a receipt or a handset's message that could not be stored is answered with.
    pub retry_status: u32,
    /// What comes back later.
    pub receipts: Receipts,
    /// What the carrier's codes in receipts mean; without, they mean nothing.
    pub error_map: ErrorMap,
    /// TLVs of the carrier's own.
    pub tlvs: Vec<Tlv>,
    /// How validity_period is written.
    pub validity: Validity,
    /// The longest validity_period that the carrier takes.
    pub max_validity: Option<Duration>,
    /// How the carrier wants texts written.
    pub dialect: Dialect,
    /// source_addr_ton in place of the one guessed from the sender.
    pub source_ton: Option<u8>,
    /// source_addr_npi in place of the one guessed from the sender.
    pub source_npi: Option<u8>,
    /// dest_addr_ton in place of 1, international.
    pub dest_ton: Option<u8>,
    /// dest_addr_npi in place of 1, E.164.
    pub dest_npi: Option<u8>,
    /// The calling code of the numbers that the carrier writes in national form.
    pub inbound_country: Option<String>,
}

/// What a route says of itself at bind and of every sender. Longer texts than the specification's, up
/// to 64 octets, pass with a warning.
#[derive(Clone, Debug)]
pub struct Account {
    /// At most 15 octets by SMPP v3.4 §5.2.1.
    pub system_id: String,
    /// At most 8 octets by SMPP v3.4 §5.2.2.
    pub password: Secret,
    /// At most 12 octets by SMPP v3.4 §5.2.3.
    pub system_type: String,
    /// The addresses that the binds serve, as a pattern; at most 40 octets by SMPP v3.4 §5.2.7.
    pub address_range: String,
    /// TON and NPI of these.
    pub addr: (u8, u8),
    /// What every submit_sm says; at most 5 octets by SMPP v3.4 §5.2.11.
    pub service_type: String,
    /// The longest sender that the carrier takes; 20 octets by SMPP v3.4 §5.2.8.
    pub source_octets_max: usize,
}

/// `routes.*.validity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// What is left of the message's lifetime.
    Relative,
    /// When it ends, in UTC.
    Absolute,
    /// Nothing is written: the carrier's own applies.
    Absent,
}

/// `routes.*.throttle`; absent is what the limits have by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// The first pause, 100 ms to `pause_max`.
    pub pause: Option<Duration>,
    /// The longest pause, to an hour.
    pub pause_max: Option<Duration>,
}

/// One of `routes.*.statuses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRule {
    /// A command_status of submit_sm_resp, from 1.
    pub status: u32,
    /// What additional_status_info_text has to contain, whatever its case; `None`: anything.
    pub text: Option<String>,
    /// What it means.
    pub class: StatusClass,
    /// Whether an operator has to look.
    pub alarm: bool,
}

/// What may follow a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusClass {
    /// Too fast: the whole route backs off.
    Throttle,
    /// Again on this route, three times, then on another.
    Retry,
    /// On another route.
    Elsewhere,
    /// Not at all: the message fails.
    Never,
    /// Again, on a new bind: this one is of no use.
    Fatal,
}

/// `routes.*.outbind`.
#[derive(Clone, Debug)]
pub struct Outbind {
    /// Where the carrier connects to.
    pub listen: SocketAddr,
    /// Addresses it may come from; at least one.
    pub allow: Vec<ipnet::IpNet>,
    /// Its name, as long as the account's may be.
    pub system_id: String,
    /// Its password, as long as the account's may be.
    pub password: Secret,
}

/// How a session binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Submits and receipts on one link.
    Transceiver,
    /// Submits only: for accounts without receipts.
    Transmitter,
    /// Receipts and messages from handsets only: nothing is sent over it.
    Receiver,
    /// A transmitter and a receiver for each of `binds_per_host`.
    Pair,
    /// Transceivers; pairs once the carrier says that it does not know them.
    Auto,
}

/// `routes.*.receipts`.
#[derive(Clone, Debug)]
pub struct Receipts {
    /// Whether they are asked for; without, `sent` is final.
    pub enabled: bool,
    /// How a receipt's id relates to the response's.
    pub id_format: IdFormat,
    /// What both ids are put through where nothing else makes them equal.
    pub id_transform: Option<IdTransform>,
    /// After this a message without one is `unknown`.
    pub timeout: Duration,
    /// How their texts are written, where it is not `key:value`.
    pub format: Option<Format>,
    /// A deliver_sm without any mark is one when its text reads so.
    pub by_text: bool,
    /// They may lack an id, or answers do: then number, sender and times tell the message.
    pub without_id: bool,
    /// Where text and TLV disagree on the state, the text is right.
    pub prefer_text: bool,
    /// What the carrier's clock is ahead of UTC, in minutes.
    pub utc_offset_min: i32,
    /// ACCEPTD is the last word.
    pub accepted_is_final: bool,
    /// UNKNOWN is the last word.
    pub unknown_is_final: bool,
    /// For which parts of a long message they are asked.
    pub ask: PartRule,
    /// For which parts they come, and then stand for the whole.
    pub parts: PartRule,
}

impl Default for Receipts {
    /// What a route without the key has: config/gateway.toml's defaults.
    fn default() -> Self {
        Self {
            enabled: true,
            id_format: IdFormat::Auto,
            id_transform: None,
            timeout: Duration::from_secs(72 * 3_600),
            format: None,
            by_text: false,
            without_id: false,
            prefer_text: false,
            utc_offset_min: 0,
            accepted_is_final: false,
            unknown_is_final: true,
            ask: PartRule::All,
            parts: PartRule::All,
        }
    }
}

/// `routes.*.receipts.id_transform`: what only one of the two ids has, taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdTransform {
    /// At the front, where it is there.
    pub strip_prefix: String,
    /// At the end, where it is there.
    pub strip_suffix: String,
    /// Then, so many characters from the front.
    pub first: Option<usize>,
    /// Then, so many characters from the end.
    pub last: Option<usize>,
}

/// How the id in a receipt relates to the id in submit_sm_resp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFormat {
    /// Try all of them.
    Auto,
    /// Letter for letter.
    Same,
    /// The response has it in hex, the receipt in decimal.
    HexToDec,
    /// The response has it in decimal, the receipt in hex.
    DecToHex,
}

impl IdFormat {
    /// All of them, by the config's word.
    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("auto", Self::Auto),
        ("same", Self::Same),
        ("hex-to-dec", Self::HexToDec),
        ("dec-to-hex", Self::DecToHex),
    ];

    /// The config's word.
    pub(crate) fn name(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(_, format)| *format == self);
        known.map_or("auto", |(word, _)| word)
    }
}

/// One of `[[routing.rules]]`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `match`: all given conditions must hold, each by any of its words.
    pub when: Match,
    /// Route and weight, in order; the weight is 1 under [`Strategy::Priority`].
    pub routes: Vec<(String, u32)>,
    /// How one of them is chosen.
    pub strategy: Strategy,
}

/// `routing.rules.match`: an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// `sms`, or absent.
    pub channel: Option<String>,
    /// Classes.
    pub class: Vec<crate::message::Class>,
    /// ISO 3166 alpha-2, upper case.
    pub country: Vec<String>,
    /// Number prefixes, as `+46`.
    pub prefix: Vec<String>,
    /// Tenants.
    pub tenant: Vec<String>,
}

/// How a rule chooses among its routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// In the order given: the failover order.
    Priority,
    /// By share.
    Weighted,
}

/// One of `[endpoints.*]`.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Whose events it gets.
    pub tenant: String,
    /// Where they go.
    pub url: String,
    /// `whsec_` and base64 of 24 to 64 octets.
    pub secret: Secret,
    /// Event type patterns; empty is what the contract has on by default.
    pub types: Vec<String>,
    /// Many events per request; absent is one each.
    pub batch: Option<BatchPolicy>,
    /// Requests per time; absent is unlimited.
    pub rate: Option<Rate>,
    /// Further request headers. Values may be credentials, so they are held as secrets.
    pub headers: BTreeMap<String, Secret>,
}

/// `endpoints.*.batch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Events in one request, at most 1,000.
    pub max_events: usize,
    /// How long the first one may wait, at most 5 s.
    pub max_wait: Duration,
    /// Octets of one body, at most 1 MiB.
    pub max_bytes: usize,
}
