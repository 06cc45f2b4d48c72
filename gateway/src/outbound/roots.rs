//! Roots: the certificates that this machine trusts, read once for the process. They are some 100 KiB, and a
//! process may have a connection pool for each of hundreds of apps.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;

static NATIVE: OnceLock<Native> = OnceLock::new();

/// What was found at the first look.
#[derive(Debug)]
pub struct Native {
    /// The certificates; there may be none.
    pub roots: Arc<RootCertStore>,
    /// What could not be read, in words.
    pub errors: Vec<String>,
}

/// The root certificates of this machine.
pub fn native_roots() -> &'static Native {
    NATIVE.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a root certificate of this machine cannot be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        Native {
            roots: Arc::new(roots),
            errors: found.errors.iter().map(ToString::to_string).collect(),
        }
    })
}
