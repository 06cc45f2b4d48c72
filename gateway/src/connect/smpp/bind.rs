//! The way to a carrier: whose turn it is, names, TCP, TLS.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use metrics::gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::account::Turn;
use super::backoff::Failure;
use super::config::Config;
use super::outbind::Calls;
use crate::clock::Clock;
use crate::connect::{tcp, tls, x509};

/// Addresses of one name that are tried in turn. Chosen: both families of a small cluster.
const ADDRESSES_MAX: usize = 4;

/// A connection to a carrier.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct NotReached {
    pub(super) why: String,
    pub(super) failure: Failure,
}

impl From<String> for NotReached {
    fn from(why: String) -> Self {
        let failure = Failure::Net;
        Self { why, failure }
    }
}

/// A connection, where it leads, and the right to bind on it.
pub(super) type Reached = (Stream, SocketAddr, Turn);

/// Connects to a host of the config when it is this link's turn. `tries` moves the start among the
/// addresses of its name.
///
/// Cancel safe: what was opened is closed, and the turn is given up.
pub(super) async fn reach(
    config: &Config,
    host: usize,
    tries: usize,
    clock: &Clock,
) -> Result<Reached, NotReached> {
    let account = &config.account;
    let name = config.hosts.get(host).ok_or_else(|| NotReached {
        why: "the route has no hosts".into(),
        failure: Failure::Hopeless,
    })?;
    let stopped = || NotReached {
        why: format!("{name}: the account's credentials were refused on its other binds"),
        failure: Failure::Credentials,
    };
    loop {
        let alone = account.host(host).await;
        // While the carrier refuses us, no second connection comes before the first one is answered.
        let mut turn = None;
        if account.is_doubtful() {
            turn = Some(account.turn().await);
        }
        if account.is_stopped() {
            return Err(stopped());
        }
        account.starts(clock).await;
        let (stream, address) = connect(config, name, tries).await?;
        drop(alone);
        let turn = match turn {
            Some(turn) => turn,
            None => account.turn().await,
        };
        if account.is_stopped() {
            return Err(stopped());
        }
        // Another bind was refused while this one connected: it waits as well.
        if !account.is_paused(clock.instant()) {
            return Ok((stream, address, turn));
        }
    }
}

/// Connects to `host:port`; the address it reached comes with it. An error says which step failed.
///
/// Cancel safe: what was opened is closed.
async fn connect(
    config: &Config,
    host: &str,
    tries: usize,
) -> Result<(Stream, SocketAddr), NotReached> {
    let found = timeout(config.connect_timeout, lookup_host(host)).await;
    let mut addresses: Vec<SocketAddr> = found
        .map_err(|_| format!("{host}: the name was not resolved in time"))?
        .map_err(|error| format!("{host}: {error}"))?
        .collect();
    // Another address first each time: one that connects and goes no further does not hide the rest.
    addresses.sort_unstable();
    addresses.dedup();
    let any = !addresses.is_empty();
    if let Some(source) = config.source_address {
        addresses.retain(|address| address.is_ipv4() == source.is_ipv4());
        if any && addresses.is_empty() {
            let family = if source.is_ipv4() { "IPv4" } else { "IPv6" };
            let why = format!("{host}: it has no {family} address, and source_address is {source}");
            return Err(why.into());
        }
    }
    let first = tries.checked_rem(addresses.len()).unwrap_or_default();
    addresses.rotate_left(first);
    let mut last = format!("{host}: the name has no address");
    for address in addresses.into_iter().take(ADDRESSES_MAX) {
        match timeout(config.connect_timeout, tcp(config, address)).await {
            Ok(Ok(stream)) => {
                let stream = secure(config, host, stream).await?;
                return Ok((stream, address));
            }
            Ok(Err(error)) => last = format!("{}: {error}", peer(host, address)),
            Err(_) => last = format!("{}: did not connect in time", peer(host, address)),
        }
    }
    Err(last.into())
}

/// A host as the config names it, with the address that was reached when that says more.
pub(super) fn peer(host: &str, address: SocketAddr) -> String {
    match host.parse() == Ok(address) {
        true => host.to_owned(),
        false => format!("{host} ({address})"),
    }
}

/// Waits for the carrier's outbind and for our turn to bind on its connection.
///
/// Cancel safe: what came is closed.
pub(super) async fn called(
    config: &Config,
    calls: &Calls,
    clock: &Clock,
) -> Result<Reached, NotReached> {
    let Some(called) = calls.next().await else {
        // The listener ends with the gateway.
        return pending().await;
    };
    let account = &config.account;
    let turn = account.turn().await;
    let refused = |failure| NotReached {
        why: format!(
            "outbind {}: the account's credentials were refused on its other binds",
            called.from
        ),
        failure,
    };
    if account.is_stopped() {
        return Err(refused(Failure::Credentials));
    }
    if account.is_paused(clock.instant()) {
        return Err(refused(Failure::Net));
    }
    let tuned = tcp::tune(&called.stream, config.tcp_user_timeout);
    tuned.map_err(|error| format!("outbind {}: {error}", called.from))?;
    Ok((Stream::Plain(called.stream), called.from, turn))
}

async fn tcp(config: &Config, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    tcp::tune(&socket, config.tcp_user_timeout)?;
    if let Some(source) = config.source_address {
        let bound = socket.bind(SocketAddr::new(source, 0));
        bound.map_err(|error| {
            io::Error::new(error.kind(), format!("source_address {source}: {error}"))
        })?;
    }
    socket.connect(address).await
}

async fn secure(config: &Config, host: &str, stream: TcpStream) -> Result<Stream, NotReached> {
    let Some(settings) = &config.tls else {
        return Ok(Stream::Plain(stream));
    };
    let name = settings.server_name.as_deref();
    let stream = tls::handshake(settings.config.clone(), host, name, stream).await;
    let stream = stream.map_err(|why| format!("{host}: {why}"))?;
    let chain = stream.get_ref().1.peer_certificates();
    let own = chain.and_then(<[_]>::first);
    if let Some(facts) = own.and_then(|own| x509::read(own.as_ref())) {
        // A gauge holds 53 bits: enough for any year of a certificate.
        let end = Duration::from_millis(facts.not_after.0);
        gauge!(
            "trunkline_smpp_certificate_expires_timestamp_seconds",
            "route" => config.name.clone(), "host" => host.to_owned()
        )
        .set(end.as_secs_f64());
    }
    // Not a trouble of the network: whoever this is does not get our password.
    tls::pinned(&settings.pins, chain).map_err(|why| NotReached {
        why: format!("{host}: {why}"),
        failure: Failure::Credentials,
    })?;
    Ok(Stream::Tls(Box::new(stream)))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
