//! TLS of the push services: a certificate made at the start, or one that is given.

use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Names of the certificate that is made at the start.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A key and its certificates, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, and those between it and the CA.
    pub certificates: String,
    /// The key, PKCS#8.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

/// A CA made for one simulator, and what it signed.
#[derive(Debug)]
pub(super) struct Made {
    /// The CA's certificate, as PEM.
    pub(super) ca: String,
    /// For the server.
    pub(super) server: Identity,
    /// For a client that authenticates by certificate.
    pub(super) client: Identity,
}

/// Makes a CA, a server's certificate and a client's.
pub(super) fn make() -> anyhow::Result<Made> {
    let mut params = CertificateParams::new(Vec::new())?;
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "trunkline sim: a CA for one run");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let leaf = |names: &[&str], common: &str, purpose| -> anyhow::Result<Identity> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, common);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        Ok(Identity {
            certificates: params.signed_by(&key, &ca)?.pem(),
            key: key.serialize_pem(),
        })
    };
    Ok(Made {
        ca: ca.pem(),
        server: leaf(&NAMES, "localhost", ExtendedKeyUsagePurpose::ServerAuth)?,
        client: leaf(
            &[],
            "Apple Push Services: com.example.app",
            ExtendedKeyUsagePurpose::ClientAuth,
        )?,
    })
}

fn certificates(pem: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>()?;
    anyhow::ensure!(!certificates.is_empty(), "no certificate in the PEM");
    Ok(certificates)
}

/// What a server needs: TLS 1.2 or 1.3 and `h2`, as both services ask for. A client may show a
/// certificate of the CAs in `clients`.
pub(super) fn server(
    identity: &Identity,
    clients: &str,
) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(clients).context("the clients' CA")? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?);
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).context("the server's key")?;
    let chain = certificates(&identity.certificates).context("the server's certificate")?;
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
