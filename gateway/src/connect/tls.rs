//! TLS to carriers and push services: whom to trust, and who we are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::files::{self, PEM_OCTETS_MAX};
use crate::outbound;

/// How long a TLS handshake may take. smpp.md §9.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The machine has no root certificates.
    #[error("no root certificates are installed (Debian: apt install ca-certificates): {0}")]
    NoRoots(String),
    /// A PEM file cannot be read.
    #[error("cannot read {path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never what is in it.
        why: String,
    },
    /// rustls refused the settings.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

impl TlsError {
    fn file(path: &Path, why: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}

/// What we show to carriers that want to know who we are: PEM files.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Our certificate, and what leads from it to the carrier's CA.
    pub certificate: &'a Path,
    /// Its key.
    pub key: &'a Path,
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 §2.4): it outlasts a renewal with the same key.
pub type Pin = [u8; 32];

/// The root certificates that the machine trusts: one copy for the process.
///
/// # Errors
/// Fails when there is no root certificate at all.
pub fn native_roots() -> Result<Arc<RootCertStore>, TlsError> {
    let native = outbound::native_roots();
    match native.roots.is_empty() {
        true => Err(TlsError::NoRoots(native.errors.join("; "))),
        false => Ok(native.roots.clone()),
    }
}

/// The certificates of a PEM file and nothing else.
///
/// # Errors
/// Fails when the file cannot be read or holds no certificate that can be trusted.
pub fn ca_file(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::file(path, error))?;
    }
    Ok(Arc::new(roots))
}

/// The certificates of a PEM file.
///
/// # Errors
/// When it cannot be read, or has none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = pem(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| TlsError::file(path, error))?;
    if found.is_empty() {
        return Err(TlsError::file(path, "it holds no certificate"));
    }
    Ok(found)
}

fn pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    files::read(path, PEM_OCTETS_MAX).map_err(|error| TlsError::file(path, error))
}

/// TLS 1.2 or 1.3 with these roots. The provider is named, so that no other crate's choice matters.
///
/// # Errors
/// Fails when the identity's files cannot be read, or do not belong together.
pub fn client(
    roots: Arc<RootCertStore>,
    identity: Option<Identity<'_>>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let chain = certificates(certificate)?;
            let der = PrivateKeyDer::from_pem_slice(&pem(key)?)
                .map_err(|error| TlsError::file(key, error))?;
            builder
                .with_client_auth_cert(chain, der)
                .map_err(|error| TlsError::file(key, error))?
        }
    };
    Ok(Arc::new(config))
}

/// Shakes hands with `host:port`; the certificate is to be `server_name`'s where that is not the host.
///
/// # Errors
/// Says what is wrong: the name, the certificate, the deadline of 5 s.
///
/// Cancel safe: the stream is closed.
pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    host: &str,
    server_name: Option<&str>,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    let name = server_name.unwrap_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name));
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(name.to_owned())
        .map_err(|error| format!("TLS: {name:?} is no server name: {error}"))?;
    let handshake = TlsConnector::from(config).connect(name, stream);
    match timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
            let plain = matches!(cause, Some(rustls::Error::InvalidMessage(_)));
            let hint = if plain {
                "; does this port speak TLS at all?"
            } else {
                ""
            };
            Err(format!("TLS: {error}{hint}"))
        }
        Err(_) => Err("TLS: no handshake in time".to_owned()),
    }
}

/// Whether the peer's own certificate has one of the pinned keys. The rest of the chain is not looked
/// at: a peer may send along what it likes there.
pub(super) fn pinned(pins: &[Pin], chain: Option<&[CertificateDer<'_>]>) -> Result<(), String> {
    if pins.is_empty() {
        return Ok(());
    }
    let own = chain.and_then(<[_]>::first);
    let own = own.ok_or("TLS: no certificate to compare with tls_pins")?;
    let parsed = ParsedCertificate::try_from(own)
        .map_err(|error| format!("TLS: the certificate cannot be read: {error}"))?;
    let key = parsed.subject_public_key_info();
    let found: Pin = Sha256::digest(key.as_ref()).into();
    if pins.contains(&found) {
        return Ok(());
    }
    let wanted: Vec<String> = pins.iter().map(shown).collect();
    Err(format!(
        "TLS: the certificate's key is {}, which is not in tls_pins ({}): renewed by the carrier, \
         or somebody in between?",
        shown(&found),
        wanted.join(", "),
    ))
}

/// A pin as it stands in the config.
fn shown(pin: &Pin) -> String {
    format!("sha256/{}", STANDARD.encode(pin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_trust_the_machine_share_one_copy_of_its_roots() {
        let (Ok(one), Ok(other)) = (native_roots(), native_roots()) else {
            panic!("this machine has no root certificates");
        };
        assert!(Arc::ptr_eq(&one, &other));
    }
}
