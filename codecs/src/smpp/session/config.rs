//! What a session is told at its start.

use std::fmt;
use std::time::Duration;

use crate::smpp::bind::BindKind;
use crate::smpp::fields::Limits;
use crate::smpp::frame::BOUND_PDU_OCTETS_MAX;

/// Chosen: what answers take at worst on links that work, several times over.
const STALL: Duration = Duration::from_secs(5);
/// Chosen: with [`STALL`] and two misses a link that stalls is given up after 19 s, which is to be less
/// than 20; no sooner, because what is given up may be sent twice.
const STALL_TIMEOUT: Duration = Duration::from_secs(7);

/// A session's role, limits and times.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which side we play.
    pub role: Role,
    /// Max requests of ours without an answer, 1..=65,536.
    pub window: usize,
    /// Max requests of the peer that we have not answered; then `wants_read` says no.
    pub inbound_window: usize,
    /// How long an answer to a request of ours may take.
    pub response_timeout: Duration,
    /// Silence after which enquire_link is sent, give or take 10 %.
    pub enquire_link: Duration,
    /// How long an enquire_link may stay unanswered; the second miss closes.
    pub enquire_link_timeout: Duration,
    /// Silence after which enquire_link is sent while a request of ours has no answer for as long, if
    /// that is sooner: a busy link that stalls costs every message that is handed to it.
    pub stall: Duration,
    /// How long an enquire_link may stay unanswered while a request of ours waits, if that is sooner.
    pub stall_timeout: Duration,
    /// How long a bind may take: its answer (ESME) or its arrival (SMSC).
    pub bind_timeout: Duration,
    /// Silence after which the session is given up whatever enquire_link says; `None` = never.
    pub inactivity: Option<Duration>,
    /// How long a begun PDU may take to complete.
    pub partial_timeout: Duration,
    /// How long the answer to our unbind may take.
    pub unbind_timeout: Duration,
    /// How long answers are awaited after the peer unbound.
    pub parting: Duration,
    /// Max octets of a PDU once bound.
    pub pdu_octets_max: usize,
    /// How long the C-octet strings we send may be.
    pub limits: Limits,
    /// SMSC: TLVs that break the specification's rules are refused with 0xC1..=0xC4. Else they are
    /// kept and counted.
    pub strict_tlv: bool,
    /// Start of the enquire_link jitter: give each session another.
    pub seed: u64,
}

/// Which side a session plays.
#[derive(Clone, Debug)]
pub enum Role {
    /// We bind.
    Esme(Esme),
    /// We are bound to.
    Smsc {
        /// The name we answer with.
        system_id: Vec<u8>,
    },
}

/// How an ESME binds.
#[derive(Clone)]
pub struct Esme {
    /// Direction of messages.
    pub kind: BindKind,
    /// Who we are.
    pub system_id: Vec<u8>,
    /// Our password.
    pub password: Vec<u8>,
    /// Kind of system, as agreed; mostly empty.
    pub system_type: Vec<u8>,
    /// 0x33, 0x34 or 0x50.
    pub interface_version: u8,
    /// TON of the addresses served.
    pub addr_ton: u8,
    /// NPI of the addresses served.
    pub addr_npi: u8,
    /// The addresses served, as a pattern; mostly empty.
    pub address_range: Vec<u8>,
}

/// Leaves the password out.
impl fmt::Debug for Esme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Esme")
            .field("kind", &self.kind)
            .field("system_id", &String::from_utf8_lossy(&self.system_id))
            .field("interface_version", &self.interface_version)
            .finish_non_exhaustive()
    }
}

impl Esme {
    /// Binds as SMPP 3.4 with nothing but a name and a password.
    #[must_use]
    pub fn new(kind: BindKind, system_id: &[u8], password: &[u8]) -> Self {
        Self {
            kind,
            system_id: system_id.to_vec(),
            password: password.to_vec(),
            system_type: Vec::new(),
            interface_version: 0x34,
            addr_ton: 0,
            addr_npi: 0,
            address_range: Vec::new(),
        }
    }
}

impl Config {
    /// An ESME's defaults. Times: smpp.md §3.1.
    #[must_use]
    pub fn esme(esme: Esme) -> Self {
        Self {
            role: Role::Esme(esme),
            window: 10,
            inbound_window: 1_000,
            response_timeout: Duration::from_secs(30),
            enquire_link: Duration::from_secs(30),
            enquire_link_timeout: Duration::from_secs(10),
            stall: STALL,
            stall_timeout: STALL_TIMEOUT,
            bind_timeout: Duration::from_secs(15),
            inactivity: None,
            partial_timeout: Duration::from_secs(10),
            unbind_timeout: Duration::from_secs(5),
            parting: Duration::from_secs(2),
            pdu_octets_max: BOUND_PDU_OCTETS_MAX,
            limits: Limits::SPEC,
            strict_tlv: false,
            seed: 1,
        }
    }

    /// An SMSC's defaults. Times: smpp.md §6. A busy link is asked no sooner than a silent one: an ESME
    /// that stores what it takes may answer late, and read nothing meanwhile.
    #[must_use]
    pub fn smsc(system_id: &[u8]) -> Self {
        let esme = Self::esme(Esme::new(BindKind::Transceiver, b"", b""));
        Self {
            stall: esme.enquire_link,
            stall_timeout: esme.enquire_link_timeout,
            role: Role::Smsc {
                system_id: system_id.to_vec(),
            },
            bind_timeout: Duration::from_secs(10),
            ..esme
        }
    }
}
