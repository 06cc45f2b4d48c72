//! Outbind: the carrier connects to us and asks to be bound to. SMPP v3.4 §2.2.1, §4.1.7.
//!
//! ```text
//!  accept ─► address allowed ─► outbind within 10 s ─► its name and password ─► the link that listens
//! ```
//! The link then binds on that connection with its account's own credentials, as on any other.
//!
//! Bounds: connections whose outbind is awaited, `READING_MAX`; with it, one, the newest, which waits
//! for the link for `CALL_MAX`. What is beyond them is closed and counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::smpp::{CommandId, Framing, HEADER_OCTETS, Header, Outbind, next_frame};
use ipnet::IpNet;
use metrics::counter;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::config::Password;
use crate::clock::Clock;
use crate::stop::Stop;

/// How long an outbind may take to come. smpp.md §9: pre-bind 10 s.
const OUTBIND_TIMEOUT: Duration = Duration::from_secs(10);
/// Octets of a PDU before a bind. smpp.md §9: 1 KiB.
const PDU_OCTETS_MAX: usize = 1_024;
/// Connections whose outbind is awaited. Chosen: a carrier's few nodes, several times.
const READING_MAX: usize = 16;
/// How long a connection waits for the link, which may be ending another one. Chosen: a carrier's
/// patience with a bind is at least this.
const CALL_MAX: Duration = Duration::from_secs(10);
/// How long a refused connection is held. smpp.md §6: a failure is answered after 1 to 3 s.
const REFUSAL: Duration = Duration::from_secs(1);
/// After a failed accept: descriptors have run out, and may come back.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Who may call, and where.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Addresses that may connect.
    pub allow: Vec<IpNet>,
    /// The carrier's name in its outbind.
    pub system_id: String,
    /// And its password.
    pub password: Password,
}

/// A route's listener for outbind.
#[derive(Debug)]
pub struct Outbinds {
    route: String,
    settings: Arc<Listen>,
    listener: TcpListener,
    links: mpsc::Receiver<oneshot::Sender<Called>>,
}

/// A link's end: connections on which the carrier asked to be bound to.
#[derive(Debug)]
pub struct Calls(mpsc::Sender<oneshot::Sender<Called>>);

/// A connection on which the carrier asked to be bound to.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
    at: Instant,
}

impl Calls {
    /// The next one. It does not come when the listener has ended. Cancel safe.
    pub(super) async fn next(&self) -> Option<Called> {
        let (tell, told) = oneshot::channel();
        self.0.send(tell).await.ok()?;
        told.await.ok()
    }
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The link has it.
    Taken,
    /// Its address is not on the list.
    Address,
    /// Name or password are not the carrier's.
    Credentials,
    /// No outbind came, or something else.
    Bad,
    /// Too many at once.
    Full,
    /// The link had another one.
    Unneeded,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Address => "address",
            Self::Credentials => "credentials",
            Self::Bad => "bad",
            Self::Full => "full",
            Self::Unneeded => "unneeded",
        }
    }
}

impl Outbinds {
    /// Listens. Needs a runtime.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn new(route: &str, settings: Listen) -> io::Result<(Self, Calls)> {
        let listener = std::net::TcpListener::bind(settings.listen)?;
        listener.set_nonblocking(true)?;
        let (calls, links) = mpsc::channel(1);
        let outbinds = Self {
            route: route.to_owned(),
            settings: Arc::new(settings),
            listener: TcpListener::from_std(listener)?,
            links,
        };
        Ok((outbinds, Calls(calls)))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Runs until the gateway stops, or the link is gone.
    ///
    /// Cancel safety: dropping it closes what has not been handed over.
    pub async fn run(mut self, clock: Clock, mut stop: Stop) {
        let _guard = stop.guard(format!("outbind {}", self.route));
        let mut reading = JoinSet::new();
        let mut called: Option<Called> = None;
        let mut link: Option<oneshot::Sender<Called>> = None;
        loop {
            self.connect(&mut called, &mut link, clock.instant());
            tokio::select! {
                () = stop.stopped() => return,
                waits = self.links.recv(), if link.is_none() => match waits {
                    Some(waits) => link = Some(waits),
                    None => return,
                },
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        if let Err(fate) = self.judge(from, reading.len()) {
                            tracing::debug!(route = self.route, %from, ?fate, "not listened to");
                            self.count(fate);
                            continue;
                        }
                        reading.spawn(read(stream, from, self.settings.clone(), clock.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(route = self.route, %error, "outbind: accept failed");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(read) = reading.join_next() => match read {
                    Ok(Ok(new)) => {
                        if called.replace(new).is_some() {
                            self.count(Fate::Unneeded);
                        }
                    }
                    Ok(Err((fate, why))) => {
                        tracing::warn!(route = self.route, why, "outbind refused");
                        self.count(fate);
                    }
                    // A defect of ours, which the panic hook has reported.
                    Err(_) => self.count(Fate::Bad),
                },
            }
        }
    }

    fn judge(&self, from: SocketAddr, reading: usize) -> Result<(), Fate> {
        // An IPv4 address that came over an IPv6 socket is itself.
        let ip = from.ip().to_canonical();
        if !self.settings.allow.iter().any(|range| range.contains(&ip)) {
            return Err(Fate::Address);
        }
        if reading >= READING_MAX {
            return Err(Fate::Full);
        }
        Ok(())
    }

    /// Brings together who called and who listens.
    fn connect(
        &self,
        called: &mut Option<Called>,
        link: &mut Option<oneshot::Sender<Called>>,
        now: Instant,
    ) {
        let stale = |called: &mut Called| called.at + CALL_MAX < now;
        if called.take_if(stale).is_some() {
            self.count(Fate::Unneeded);
        }
        // A link that has ended in between waits no more; the next one asks anew.
        link.take_if(|link| link.is_closed());
        if called.is_none() || link.is_none() {
            return;
        }
        if let (Some(call), Some(link)) = (called.take(), link.take()) {
            match link.send(call) {
                Ok(()) => self.count(Fate::Taken),
                Err(back) => *called = Some(back),
            }
        }
    }

    fn count(&self, fate: Fate) {
        counter!(
            "trunkline_smpp_outbinds_total",
            "route" => self.route.clone(), "result" => fate.name()
        )
        .increment(1);
    }
}

/// Reads the outbind and checks who sent it.
async fn read(
    mut stream: TcpStream,
    from: SocketAddr,
    settings: Arc<Listen>,
    clock: Clock,
) -> Result<Called, (Fate, String)> {
    let refused = match timeout(OUTBIND_TIMEOUT, outbind(&mut stream)).await {
        Ok(Ok(body)) if is_known(&body, &settings) => {
            let at = clock.instant();
            return Ok(Called { stream, from, at });
        }
        Ok(Ok(_)) => (
            Fate::Credentials,
            format!("{from}: name or password are not those of outbind.system_id and password"),
        ),
        Ok(Err(error)) => (Fate::Bad, format!("{from}: {error}")),
        Err(_) => (Fate::Bad, format!("{from}: no outbind came in time")),
    };
    sleep(REFUSAL).await;
    Err(refused)
}

/// Reads one PDU, which has to be outbind, and no octet more; its body.
async fn outbind(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut head = [0; HEADER_OCTETS];
    stream.read_exact(&mut head).await?;
    let octets = match next_frame(&head, PDU_OCTETS_MAX) {
        Ok(Framing::Complete { octets }) => octets,
        Ok(Framing::Incomplete { need }) => need,
        Err(error) => return Err(wrong(error.to_string())),
    };
    let command = Header::decode(&head).map(|header| header.command);
    if command != Some(CommandId::OUTBIND) {
        return Err(wrong("the first PDU is not outbind".to_owned()));
    }
    let mut body = vec![0; octets.saturating_sub(HEADER_OCTETS)];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// Whether an outbind's name and password are the carrier's; takes as long whatever they are.
fn is_known(body: &[u8], settings: &Listen) -> bool {
    let Ok((outbind, _)) = Outbind::decode(body) else {
        return false;
    };
    let same = |theirs: &[u8], ours: &str| {
        let (theirs, ours) = (Sha256::digest(theirs), Sha256::digest(ours.as_bytes()));
        theirs.as_slice().ct_eq(ours.as_slice())
    };
    let name = same(outbind.system_id, &settings.system_id);
    let password = same(outbind.password, &settings.password.0);
    (name & password).into()
}
