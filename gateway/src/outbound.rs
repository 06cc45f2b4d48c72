//! Outbound HTTP: posts to URLs that customers, operators and files name, over checked addresses only.
//!
//! HTTP/1.1 and, where TLS agrees on it, HTTP/2, with kept connections; no redirects, no proxies. Used
//! by the webhooks and by the push credentials' token endpoint.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::CertificateDer;

use crate::clock::UnixMs;

mod address;
mod connect;
mod roots;

pub use connect::{ConnectError, Connector, Rules};
pub use roots::{Native, native_roots};

/// How long a connection is kept for the next request. Servers commonly close after 60 s or more.
const IDLE_MAX: Duration = Duration::from_secs(50);

/// Sends requests with a body in one piece; cheap to clone.
pub type Client = legacy::Client<HttpsConnector<Connector>, Full<Bytes>>;

/// A client by these rules that trusts the machine's roots and `extra_roots`, and keeps up to `kept`
/// idle connections to each host.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client(
    rules: Rules,
    extra_roots: &[CertificateDer<'static>],
    kept: usize,
) -> Result<Client, rustls::Error> {
    let mut roots = native_roots().roots.clone();
    for root in extra_roots {
        Arc::make_mut(&mut roots).add(root.clone())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .wrap_connector(Connector::new(rules));
    Ok(legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(kept)
        .build(connector))
}

/// What the causes of an error are, outermost first.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The wait that `retry-after` asks for, in seconds or until a date (RFC 9110 §10.2.3); the caller
/// bounds it.
#[must_use]
pub fn retry_after(value: &str, now: UnixMs) -> Option<Duration> {
    let value = value.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => date(value).map(|at| at.since(now)),
    }
}

/// A date as HTTP writes it (RFC 9110 §5.6.7); whole seconds.
#[must_use]
pub fn date(value: &str) -> Option<UnixMs> {
    let at = httpdate::parse_http_date(value).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(UnixMs(u64::try_from(since.as_millis()).ok()?))
}
