//! The way to a carrier: whose turn it is, names, TCP, TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::account::Turn;
use super::backoff::Failure;
use super::config::Config;
use crate::clock::Clock;

/// How long a TLS handshake may take. smpp.md §9.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
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
        sleep_until(account.start_at(clock.instant()).into()).await;
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
    let first = tries.checked_rem(addresses.len()).unwrap_or_default();
    addresses.rotate_left(first);
    let mut last = format!("{host}: the name has no address");
    for address in addresses.into_iter().take(ADDRESSES_MAX) {
        match timeout(config.connect_timeout, tcp(address)).await {
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

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

async fn secure(config: &Config, host: &str, stream: TcpStream) -> Result<Stream, String> {
    let Some(tls) = &config.tls else {
        return Ok(Stream::Plain(stream));
    };
    let name = tls
        .server_name
        .as_deref()
        .unwrap_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name));
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(name.to_owned())
        .map_err(|error| format!("{host}: {name:?} is no server name: {error}"))?;
    let handshake = TlsConnector::from(tls.config.clone()).connect(name, stream);
    match timeout(TLS_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => Err(format!("{host}: TLS: {error}")),
        Err(_) => Err(format!("{host}: TLS: no handshake in time")),
    }
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
