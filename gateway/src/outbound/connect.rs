//! Connecting: from a URL to a TCP stream, over checked addresses only.
//!
//! The name is resolved once, its addresses are judged, and the connection goes to one of those that
//! passed: a name that answers differently the second time gains nothing (DNS rebinding).

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use thiserror::Error;
use tokio::net::TcpStream;

use super::address;

/// Most addresses of a name that are tried. Chosen: with [`CONNECT_MAX`] it stays inside the
/// delivery's 15 s.
const ADDRESSES_MAX: usize = 4;

/// Longest wait for one address.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Plain HTTP where [`Rules::allow_http`] has none.
    #[error("plain http is not allowed")]
    PlainHttp,
    /// The URL names no host.
    #[error("the URL names no host")]
    NoHost,
    /// The name does not resolve.
    #[error("{0} does not resolve: {1}")]
    Unresolved(String, std::io::Error),
    /// None of its addresses may be used.
    #[error("{0} leads only to private or reserved addresses ({1})")]
    Forbidden(String, IpAddr),
    /// No address took the connection.
    #[error("no connection to {0}: {1}")]
    Unreachable(SocketAddr, std::io::Error),
}

/// What is allowed.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Plain HTTP too.
    pub allow_http: bool,
    /// Addresses that are allowed though they are not globally reachable.
    pub allow_private: Vec<IpNet>,
}

/// Connects by the rules.
#[derive(Clone, Debug)]
pub struct Connector(Arc<Rules>);

impl Connector {
    /// A connector with these rules.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(rules))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let rules = self.0.clone();
        Box::pin(async move { connect(&rules, &uri).await.map(TokioIo::new) })
    }
}

async fn connect(rules: &Rules, uri: &Uri) -> Result<TcpStream, ConnectError> {
    let https = uri.scheme_str() == Some("https");
    if !https && !rules.allow_http {
        return Err(ConnectError::PlainHttp);
    }
    let host = uri.host().ok_or(ConnectError::NoHost)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| ConnectError::Unresolved(host.to_owned(), error))?
        .collect();
    let Some(any) = found.first() else {
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(ConnectError::Unresolved(host.to_owned(), error));
    };
    let mut last = ConnectError::Forbidden(host.to_owned(), any.ip());
    for address in found
        .iter()
        .filter(|found| address::allowed(found.ip(), &rules.allow_private))
        .take(ADDRESSES_MAX)
    {
        let stream = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await;
        match stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Best effort: a body goes out in few writes anyway.
                stream.set_nodelay(true).ok();
                return Ok(stream);
            }
            Err(error) => last = ConnectError::Unreachable(*address, error),
        }
    }
    Err(last)
}
