//! What a bind is told: where the carrier is, who we are to it, and what it expects.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use codecs::smpp::receipt::Format;
use codecs::smpp::session::{self, Esme};
use codecs::smpp::{BindKind, CommandStatus, Limits};
use codecs::text::Dialect;

use super::account::Account;
use super::classify::Rule;
use super::tlvs::Dictionary;
use crate::message::RouteIx;
use crate::outcome::PartRule;
use crate::outcome::error_map::ErrorMap;

/// Receipts and handsets' messages of one bind that may be without their answer; beyond it the socket is not read. Chosen:
/// several of the store's commits at full speed.
pub const INBOUND_WINDOW: usize = 1_000;

/// A route's binds. All binds of a route share one.
#[derive(Clone, Debug)]
pub struct Config {
    /// The route, as the store numbers it.
    pub route: RouteIx,
    /// Its name in the config, for metrics and logs.
    pub name: String,
    /// `host:port`, at least one. A bind stays with its host: the others have their own number.
    pub hosts: Vec<String>,
    /// TLS; `None` is plain TCP.
    pub tls: Option<Tls>,
    /// The address of ours that connections come from; `None`: the system chooses.
    pub source_address: Option<IpAddr>,
    /// How long what we wrote may stay without TCP's acknowledgement.
    pub tcp_user_timeout: Duration,
    /// Who we are.
    pub system_id: String,
    /// Our password.
    pub password: Password,
    /// Kind of system, as agreed; mostly empty.
    pub system_type: String,
    /// The addresses that the binds serve, as a pattern; mostly empty.
    pub address_range: String,
    /// TON and NPI of these.
    pub addr: (u8, u8),
    /// What every submit_sm says; mostly empty.
    pub service_type: String,
    /// Which binds there are. A receiver comes up with a window of 0.
    pub bind: Binds,
    /// 0x33, 0x34 or 0x50.
    pub interface_version: u8,
    /// Submits without an answer that the carrier allows on one bind.
    pub window: usize,
    /// Silence after which enquire_link is sent.
    pub enquire_link: Duration,
    /// How long its answer may take, twice in a row.
    pub enquire_link_timeout: Duration,
    /// How long an answer may take; then the attempt is unknown.
    pub response_timeout: Duration,
    /// How long TCP may take to connect.
    pub connect_timeout: Duration,
    /// How long the carrier may take to answer the bind.
    pub bind_timeout: Duration,
    /// How long answers are awaited when the gateway stops.
    pub drain: Duration,
    /// Whether receipts are asked for.
    pub receipts: bool,
    /// For which parts of a long message they are asked for.
    pub ask: PartRule,
    /// How they are written.
    pub reading: Reading,
    /// The calling code of the country whose numbers the carrier writes in national form, digits; `None`
    /// when it writes international ones.
    pub inbound_country: Option<String>,
    /// How it wants texts written.
    pub dialect: Dialect,
    /// How validity_period is written.
    pub validity: ValidityForm,
    /// Longest validity_period that the carrier takes.
    pub max_validity: Duration,
    /// How senders are written.
    pub source: SourceRules,
    /// TON and NPI of recipients. SMPP v3.4 §5.2.5: 1, 1 is international, E.164.
    pub dest: (u8, u8),
    /// What every submit_sm carries beside the message, and what receipts' TLVs are called.
    pub tlvs: Dictionary,
    /// Statuses that mean something of their own here, the first match first: many carriers answer 0x45
    /// or 0x08 for "too fast" (`treat_as_throttle`).
    pub statuses: Vec<Rule>,
    /// What deliver_sm and data_sm are answered with that could not be stored: carriers differ in the
    /// statuses on which they send again.
    pub retry_status: CommandStatus,
    /// How long the C-octet strings we send may be, where the carrier departs from the spec.
    pub limits: Limits,
    /// What the binds of the route share.
    pub account: Arc<Account>,
}

/// Which binds an account has: smpp.md §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binds {
    /// Both ways over each.
    Transceiver,
    /// Submits only.
    Transmitter,
    /// Receipts only.
    Receiver,
    /// Pairs: a transmitter, and a receiver in a seat of its own.
    Pair,
    /// Transceivers, unless the carrier says that it does not know them: then pairs.
    Auto,
}

/// A link's place among the binds of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// What [`Binds`] says: in a pair, the transmitter.
    Main,
    /// The receiver of a pair. Under [`Binds::Auto`] it waits until there are pairs.
    Companion,
    /// Bound to on the carrier's outbind, beside all others: smpp.md §1.2.
    Called,
}

impl Config {
    /// A plain TCP transceiver with the defaults of smpp.md §3.1.
    #[must_use]
    pub fn new(
        route: RouteIx,
        name: impl Into<String>,
        hosts: Vec<String>,
        system_id: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        let name = name.into();
        let account = Arc::new(Account::new(&name, hosts.len()));
        Self {
            route,
            name,
            hosts,
            tls: None,
            source_address: None,
            tcp_user_timeout: Duration::from_secs(30),
            system_id: system_id.into(),
            password: Password(password.into()),
            system_type: String::new(),
            address_range: String::new(),
            addr: (0, 0),
            service_type: String::new(),
            bind: Binds::Transceiver,
            interface_version: 0x34,
            window: 10,
            enquire_link: Duration::from_secs(30),
            enquire_link_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            bind_timeout: Duration::from_secs(15),
            drain: Duration::from_secs(30),
            receipts: true,
            ask: PartRule::All,
            reading: Reading::default(),
            inbound_country: None,
            dialect: Dialect::default(),
            validity: ValidityForm::Relative,
            max_validity: Duration::from_secs(72 * 3600),
            source: SourceRules::default(),
            dest: (1, 1),
            tlvs: Dictionary::default(),
            statuses: Vec::new(),
            retry_status: CommandStatus::RECEIVER_TEMPORARY,
            limits: Limits::SPEC,
            account,
        }
    }

    /// How a seat binds now; `None`: not at all.
    pub(super) fn kind(&self, seat: Seat) -> Option<BindKind> {
        match (seat, self.bind) {
            (Seat::Companion, Binds::Auto) if !self.account.is_split() => None,
            (Seat::Companion, _) | (Seat::Main, Binds::Receiver) => Some(BindKind::Receiver),
            // SMPP v5.0 also lets us answer with a transceiver; what the account sends over is the
            // config's to say.
            (Seat::Called, _) => Some(BindKind::Receiver),
            (Seat::Main, Binds::Transmitter | Binds::Pair) => Some(BindKind::Transmitter),
            (Seat::Main, Binds::Auto) if self.account.is_split() => Some(BindKind::Transmitter),
            (Seat::Main, Binds::Transceiver | Binds::Auto) => Some(BindKind::Transceiver),
        }
    }

    /// What the session is told.
    pub(super) fn session(&self, kind: BindKind, seed: u64) -> session::Config {
        let esme = Esme {
            system_type: self.system_type.as_bytes().to_vec(),
            interface_version: self.interface_version,
            addr_ton: self.addr.0,
            addr_npi: self.addr.1,
            address_range: self.address_range.as_bytes().to_vec(),
            ..Esme::new(kind, self.system_id.as_bytes(), self.password.0.as_bytes())
        };
        session::Config {
            window: self.window,
            inbound_window: INBOUND_WINDOW,
            response_timeout: self.response_timeout,
            enquire_link: self.enquire_link,
            enquire_link_timeout: self.enquire_link_timeout,
            bind_timeout: self.bind_timeout,
            limits: self.limits,
            seed,
            ..session::Config::esme(esme)
        }
    }
}

/// How a carrier takes validity_period: smpp.md §1.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValidityForm {
    /// What is left, which needs no common idea of the time.
    #[default]
    Relative,
    /// When it ends, in UTC.
    Absolute,
    /// Not at all: the carrier's own applies.
    Absent,
}

/// How a carrier writes its receipts.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// How their texts are written, where it is not `key:value`; what does not fit is read as that.
    pub format: Option<Format>,
    /// A deliver_sm without any mark is a receipt when its text reads like one.
    pub by_text: bool,
    /// They may lack an id, or answers do: number, sender and times are kept to match them by.
    pub without_id: bool,
    /// The state in the text wins over its TLV.
    pub prefer_text: bool,
    /// What the carrier's clock is ahead of UTC, minutes.
    pub utc_offset_min: i32,
    /// Nothing follows ACCEPTD: operator-final, which the contract calls delivered.
    pub accepted_is_final: bool,
    /// Something may follow UNKNOWN.
    pub unknown_is_open: bool,
    /// What its codes and words mean.
    pub error_map: ErrorMap,
}

/// TLS to a carrier.
#[derive(Clone, Debug)]
pub struct Tls {
    /// From [`crate::connect::tls`].
    pub config: Arc<rustls::ClientConfig>,
    /// The name in the carrier's certificate, where it is not the host's.
    pub server_name: Option<String>,
    /// Keys that its certificate may have; empty is any.
    pub pins: Vec<crate::connect::tls::Pin>,
}

/// A password; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// TON and NPI of senders, by their form. SMPP v3.4 §5.2.5, §5.2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceRules {
    /// Anything that is not digits.
    pub alphanumeric: (u8, u8),
    /// Digits without a plus, up to `short_code_digits_max`.
    pub short_code: (u8, u8),
    /// A plus and digits, or more digits than a short code has.
    pub number: (u8, u8),
    /// Longest short code.
    pub short_code_digits_max: usize,
}

impl Default for SourceRules {
    /// Alphanumeric 5/0, network specific 3/0, international 1/1; short codes to 8 digits
    /// (observed: what most carriers document).
    fn default() -> Self {
        Self {
            alphanumeric: (5, 0),
            short_code: (3, 0),
            number: (1, 1),
            short_code_digits_max: 8,
        }
    }
}
