//! The way to a push service: names, addresses and what is remembered of them, TCP, TLS, SETTINGS.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::meters::Meters;
use super::{Config, Connection};
use crate::clock::Clock;
use crate::connect::tcp;
use crate::connect::tls::{self, Identity, TlsError};
use crate::outbound;

/// The protocol's name in TLS. RFC 9113 §3.1.
const ALPN: &[u8] = b"h2";
/// Addresses of one name that are tried. Chosen: Apple gives eight.
const ADDRESSES_MAX: usize = 8;
/// After how long the next address is tried beside. RFC 8305 §8.
const STAGGER: Duration = Duration::from_millis(250);
/// How long one address may take for TCP and TLS. Chosen: TLS has 5 s of its own; ten times a bad mobile
/// network's round trip for TCP.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a failed address is tried last. Chosen: pushy#885 saw single addresses dead for hours, and each
/// new connection gives it another chance behind the others.
const BAD_FOR: Duration = Duration::from_secs(300);
/// Failed addresses that are remembered. Chosen: the services answer with eight at a time, of a few dozen.
const BAD_MAX: usize = 64;

/// Where to connect to. One for all connections of a pool: what is learned of addresses is shared.
#[derive(Debug)]
pub struct Target {
    /// `name:port`. The name is looked up for each connection.
    pub host: String,
    /// The name in the peer's certificate, where it is not the host's.
    pub server_name: Option<String>,
    /// From [`client_tls`]. 0-RTT stays off: what it carries can be replayed.
    pub tls: Arc<ClientConfig>,
    /// Rises with each certificate that it shows; 0 where it shows none.
    pub generation: u64,
    /// How long all of it may take, to the peer's SETTINGS. 10 s: push.md §1.7.
    pub connect_timeout: Duration,
    /// How long what we wrote may stay without TCP's acknowledgement.
    pub tcp_user_timeout: Duration,
    /// What is known of its addresses.
    pub addresses: Addresses,
}

/// What is known of a name's addresses: which failed lately, and whose turn it is.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Failed, and until when they are tried last. At most [`BAD_MAX`].
    bad: Vec<(SocketAddr, Instant)>,
    turns: usize,
}

impl Addresses {
    /// In which order they are tried: another first each time, those that failed lately last.
    fn order(&self, mut found: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        found.sort_unstable();
        found.dedup();
        let mut known = self.0.lock();
        let first = known.turns.checked_rem(found.len()).unwrap_or_default();
        known.turns = known.turns.wrapping_add(1);
        found.rotate_left(first);
        known.bad.retain(|(_, until)| *until > now);
        found.sort_by_key(|address| known.bad.iter().any(|(bad, _)| bad == address));
        found.truncate(ADDRESSES_MAX);
        found
    }

    fn failed(&self, address: SocketAddr, now: Instant) {
        let mut known = self.0.lock();
        known.bad.retain(|(bad, _)| *bad != address);
        if known.bad.len() >= BAD_MAX {
            known.bad.remove(0);
        }
        known.bad.push((address, now + BAD_FOR));
    }

    fn worked(&self, address: SocketAddr) {
        self.0.lock().bad.retain(|(bad, _)| *bad != address);
    }
}

/// Which step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking the name up.
    Resolve,
    /// TCP.
    Connect,
    /// TLS: certificates, ALPN.
    Tls,
    /// HTTP/2: the peer's SETTINGS.
    Http2,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotConnected {
    /// Where to.
    pub host: String,
    /// The address that failed last.
    pub address: Option<SocketAddr>,
    /// What failed there.
    pub step: Step,
    /// How.
    pub why: String,
}

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) if self.host.parse() != Ok(address) => {
                write!(f, "{} ({address}): {}", self.host, self.why)
            }
            _ => write!(f, "{}: {}", self.host, self.why),
        }
    }
}

impl std::error::Error for NotConnected {}

/// TLS to a push service: the machine's root certificates and those of `extra_ca`, ALPN `h2`, and who we
/// are where the service asks for a certificate.
///
/// # Errors
/// Fails when a file cannot be read, or when there is no root certificate at all.
pub fn client_tls(
    extra_ca: Option<&Path>,
    identity: Option<Identity<'_>>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match extra_ca {
        None => tls::native_roots()?,
        Some(path) => {
            // A machine without its own is well when it is given some.
            let mut roots = outbound::native_roots().roots.clone();
            let own = tls::ca_file(path)?;
            Arc::make_mut(&mut roots).extend(own.roots.iter().cloned());
            roots
        }
    };
    let mut config = Arc::unwrap_or_clone(tls::client(roots, identity)?);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Connects: a fresh lookup, the addresses in turn and beside one another (RFC 8305), TLS, SETTINGS.
///
/// # Errors
/// Names the host, the address and the step.
///
/// Cancel safe: what was opened is closed.
pub async fn connect(
    target: &Target,
    config: Arc<Config>,
    clock: Clock,
    meters: Meters,
) -> Result<Connection, NotConnected> {
    let failed = |address, step, why: String| NotConnected {
        host: target.host.clone(),
        address,
        step,
        why,
    };
    let start = clock.instant();
    let found = timeout(target.connect_timeout, lookup_host(&target.host)).await;
    let found = match found {
        Ok(Ok(found)) => target.addresses.order(found.collect(), start),
        Ok(Err(error)) => return Err(failed(None, Step::Resolve, error.to_string())),
        Err(_) => {
            let why = "the name was not resolved in time".to_owned();
            return Err(failed(None, Step::Resolve, why));
        }
    };
    let left = || {
        let spent = clock.instant().saturating_duration_since(start);
        target.connect_timeout.saturating_sub(spent)
    };
    let (stream, address) = match timeout(left(), race(target, found, &clock)).await {
        Ok(reached) => reached?,
        Err(_) => {
            let why = "no connection in time".to_owned();
            return Err(failed(None, Step::Connect, why));
        }
    };
    let peer = format!("{} ({address})", target.host);
    let opening = Connection::open(stream, peer, config, clock.clone(), meters);
    let why = match timeout(left(), opening).await {
        Ok(Ok(connection)) => {
            target.addresses.worked(address);
            return Ok(connection);
        }
        Ok(Err(why)) => why,
        Err(_) => "HTTP/2: no SETTINGS in time".to_owned(),
    };
    target.addresses.failed(address, clock.instant());
    Err(failed(Some(address), Step::Http2, why))
}

type Reached = (TlsStream<TcpStream>, SocketAddr);

/// The first of the addresses that speaks TLS with us; the others are closed.
pub(super) async fn race(
    target: &Target,
    addresses: Vec<SocketAddr>,
    clock: &Clock,
) -> Result<Reached, NotConnected> {
    let failed = |address, step, why: String| NotConnected {
        host: target.host.clone(),
        address,
        step,
        why,
    };
    let mut addresses = addresses.into_iter();
    let mut last = failed(None, Step::Resolve, "the name has no address".to_owned());
    // At most ADDRESSES_MAX; dropping it ends them.
    let mut tries = JoinSet::new();
    loop {
        match addresses.next() {
            Some(address) => {
                let (host, name) = (target.host.clone(), target.server_name.clone());
                let (tls, patience) = (target.tls.clone(), target.tcp_user_timeout);
                tries.spawn(async move {
                    let reaching = reach(address, &host, name.as_deref(), tls, patience);
                    let reached = timeout(ADDRESS_TIMEOUT, reaching).await;
                    let late = || (Step::Connect, "did not connect in time".to_owned());
                    (address, reached.unwrap_or_else(|_| Err(late())))
                });
            }
            None if tries.is_empty() => return Err(last),
            None => {}
        }
        let more = addresses.len() > 0;
        tokio::select! {
            Some(joined) = tries.join_next() => match joined {
                Ok((address, Ok(stream))) => return Ok((stream, address)),
                Ok((address, Err((step, why)))) => {
                    target.addresses.failed(address, clock.instant());
                    last = failed(Some(address), step, why);
                }
                // A try that panicked has said so; the others go on.
                Err(_) => {}
            },
            () = sleep(STAGGER), if more => {}
        }
    }
}

async fn reach(
    address: SocketAddr,
    host: &str,
    server_name: Option<&str>,
    tls: Arc<ClientConfig>,
    patience: Duration,
) -> Result<TlsStream<TcpStream>, (Step, String)> {
    let stream = connect_tcp(address, patience).await;
    let stream = stream.map_err(|error| (Step::Connect, error.to_string()))?;
    let stream = tls::handshake(tls, host, server_name, stream).await;
    let stream = stream.map_err(|why| (Step::Tls, why))?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
        let why = "TLS: the peer does not speak HTTP/2 (ALPN h2)".to_owned();
        return Err((Step::Tls, why));
    }
    Ok(stream)
}

async fn connect_tcp(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let socket = match address.is_ipv4() {
        true => TcpSocket::new_v4()?,
        false => TcpSocket::new_v6()?,
    };
    tcp::tune(&socket, patience)?;
    socket.connect(address).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> Vec<SocketAddr> {
        let address = |last: &u8| SocketAddr::from(([127, 0, 0, *last], 443));
        last.iter().map(address).collect()
    }

    #[test]
    fn another_address_is_first_each_time_and_a_bad_one_last_for_a_while() {
        let known = Addresses::default();
        let now = Clock::system().instant();
        let all = addresses(&[2, 1, 3, 2]);
        assert_eq!(known.order(all.clone(), now), addresses(&[1, 2, 3]));
        assert_eq!(known.order(all.clone(), now), addresses(&[2, 3, 1]));
        known.failed(addresses(&[3])[0], now);
        assert_eq!(known.order(all.clone(), now), addresses(&[1, 2, 3]));
        assert_eq!(known.order(all.clone(), now), addresses(&[1, 2, 3]));
        let later = now + BAD_FOR;
        assert_eq!(known.order(all.clone(), later), addresses(&[2, 3, 1]));
        known.failed(addresses(&[2])[0], now);
        known.worked(addresses(&[2])[0]);
        assert_eq!(known.order(all, now), addresses(&[3, 1, 2]));
    }

    #[test]
    fn remembers_a_bounded_number_of_bad_addresses() {
        let known = Addresses::default();
        let now = Clock::system().instant();
        for port in 0..1_000 {
            known.failed(SocketAddr::from(([127, 0, 0, 1], port)), now);
        }
        assert_eq!(known.0.lock().bad.len(), BAD_MAX);
    }
}
