//! Certificates of APNs: who we are in TLS, in place of a token.
//!
//! Apple signs them for a year, for one app and its topics; one that has ended is refused in the
//! handshake, so that its days are counted and told ([`expiry`]).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::sleep;

use self::expiry::Expiry;
use super::meters::Meters;
use super::source::{LOOK_EVERY, Source, Watched};
use crate::clock::{Clock, UnixMs};
use crate::connect::x509::{self, Facts};
use crate::stop::Stop;

mod expiry;

/// Why a certificate cannot be used. The text never repeats what is in a file.
#[derive(Debug, Error)]
#[error("{path}: {why}")]
pub struct CertificateError {
    /// Which source.
    pub path: String,
    /// What is wrong with it.
    pub why: String,
}

/// Whose certificate it is, and where.
#[derive(Clone, Debug)]
pub struct CertificateSpec {
    /// The route, for logs and metrics.
    pub route: String,
    /// PEM: Apple's certificate, and what leads from it to its root.
    pub certificate: Source,
    /// PEM of its key; `None`: it stands with the certificate.
    pub key: Option<Source>,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// For rustls. The key fits.
    pub certified: Arc<CertifiedKey>,
    /// What it says of itself.
    pub facts: Facts,
    /// Rises with each certificate, from 1: connections made with another are to be replaced.
    pub generation: u64,
}

/// How a certificate is.
#[derive(Clone, Debug)]
pub struct CertificateState {
    /// The latest that can be used, ended or not.
    pub identity: Arc<Identity>,
    /// What is wrong with the newest files; those before are in use. Fit for logs and views.
    pub file: Option<Arc<str>>,
}

impl Identity {
    /// `config` with this certificate shown. Sessions of another certificate are not resumed: rustls
    /// sees to that (`compatible_config` of its kept sessions).
    #[must_use]
    pub fn shown_by(&self, config: &ClientConfig) -> Arc<ClientConfig> {
        let mut config = config.clone();
        let resolver = SingleCertAndKey::from(self.certified.clone());
        config.client_auth_cert_resolver = Arc::new(resolver);
        Arc::new(config)
    }
}

impl CertificateState {
    /// Why the route stops until somebody has put it right; `None`: it sends.
    #[must_use]
    pub fn stopped(&self, now: UnixMs) -> Option<String> {
        let end = self.identity.facts.not_after;
        (now >= end).then(|| format!("the certificate has ended at {end}"))
    }

    /// Whole days left, less than 0 when it has ended: for views.
    #[must_use]
    pub fn days_left(&self, now: UnixMs) -> i64 {
        let end = self.identity.facts.not_after;
        let days = |time: Duration| i64::try_from(time.as_secs() / 86_400).unwrap_or(i64::MAX);
        match now < end {
            true => days(end.since(now)),
            false => -1 - days(now.since(end)),
        }
    }
}

/// A certificate, for whoever connects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<watch::Sender<CertificateState>>);

/// The task that watches over a certificate; one for each [`Certificate`].
#[derive(Debug)]
pub struct CertificateTask {
    spec: CertificateSpec,
    watched: Watched,
    state: Arc<watch::Sender<CertificateState>>,
    expiry: Expiry,
    clock: Clock,
    meters: Meters,
}

impl Certificate {
    /// Whether [`Self::open`] would take these files. Blocks for two small files.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn check(spec: &CertificateSpec) -> Result<(), CertificateError> {
        read(spec, 1).map(drop)
    }

    /// Reads certificate and key. Blocks for two small files.
    ///
    /// # Errors
    /// [`CertificateError`]: there is nothing to connect with. One that has ended is none: the state
    /// says so.
    pub fn open(
        spec: CertificateSpec,
        clock: &Clock,
    ) -> Result<(Self, CertificateTask), CertificateError> {
        let sources = [Some(&spec.certificate), spec.key.as_ref()];
        let watched = Watched::new(sources.into_iter().flatten().cloned().collect());
        let identity = read(&spec, 1)?;
        let state = CertificateState {
            identity: Arc::new(identity),
            file: None,
        };
        let state = Arc::new(watch::Sender::new(state));
        let mut task = CertificateTask {
            meters: Meters::new(spec.route.clone()),
            spec,
            watched,
            state: state.clone(),
            expiry: Expiry::default(),
            clock: clock.clone(),
        };
        task.count();
        Ok((Self(state), task))
    }

    /// How it is, now.
    #[must_use]
    pub fn state(&self) -> CertificateState {
        self.0.borrow().clone()
    }

    /// How it is, and each change of that.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<CertificateState> {
        self.0.subscribe()
    }
}

/// Reads PEM text, and says what came instead of it.
fn pem(source: &Source) -> Result<Vec<u8>, CertificateError> {
    let wrong = |why| CertificateError {
        path: source.to_string(),
        why,
    };
    let text = source.read().map_err(wrong)?;
    // DER's SEQUENCE, which no PEM begins with: a .p12, as Apple's Keychain exports it.
    if text.first() == Some(&0x30) {
        let file = source.to_string();
        let to = Path::new(&file).with_extension("pem");
        return Err(wrong(format!(
            "it is no PEM text; a .p12 has to be converted: openssl pkcs12 -legacy -in {file} -nodes \
             -out {}",
            to.display()
        )));
    }
    Ok(text)
}

/// Reads certificate and key; fails in words that repeat none of the text.
fn read(spec: &CertificateSpec, generation: u64) -> Result<Identity, CertificateError> {
    let key_source = spec.key.as_ref().unwrap_or(&spec.certificate);
    let at = |source: &Source, why: &str| CertificateError {
        path: source.to_string(),
        why: why.to_owned(),
    };
    let text = pem(&spec.certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    // Not the error's words: they may be the file's.
    let chain = chain.map_err(|_| at(&spec.certificate, "a PEM section of it is damaged"))?;
    let Some(own) = chain.first() else {
        return Err(at(&spec.certificate, "it holds no certificate"));
    };
    let facts = x509::read(own)
        .ok_or_else(|| at(&spec.certificate, "its first certificate cannot be read"))?;
    let text = pem(key_source)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY";
        let why = match text.windows(encrypted.len()).any(|part| part == encrypted) {
            true => "its key is encrypted: openssl pkey -in FILE -out KEY takes that off",
            false => "it holds no private key",
        };
        at(key_source, why)
    })?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
    let certified = certified.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => at(key_source, "the key is not the certificate's"),
        _ => at(key_source, "the key is of a kind that cannot be used"),
    })?;
    Ok(Identity {
        certified: Arc::new(certified),
        facts,
        generation,
    })
}

impl CertificateTask {
    /// Counts the days, and reads the files when they change, until the stop.
    pub async fn run(mut self, mut stop: Stop) {
        let _guard = stop.guard(format!("certificate {}", self.spec.route));
        while !stop.is_stopped() {
            self.look().await;
            self.count();
            tokio::select! {
                () = stop.stopped() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn count(&mut self) {
        let (facts, now) = (self.state.borrow().identity.facts.clone(), self.clock.now());
        let look = self.expiry.look(facts.not_after, now);
        self.meters.days_left(look.days);
        if let Some(alarm) = look.alarm {
            self.meters.alarm(alarm);
            tracing::error!(
                route = self.spec.route, not_after = %facts.not_after, alarm,
                "the route's certificate ends: get the next one from Apple and put it in {}",
                self.spec.certificate
            );
        }
    }

    /// Reads the files if one has changed.
    async fn look(&mut self) {
        let (mut watched, spec) = (self.watched.clone(), self.spec.clone());
        let generation = self.state.borrow().identity.generation + 1;
        let job = move || {
            let identity = watched.changed().then(|| read(&spec, generation));
            (watched, identity)
        };
        let Ok((watched, identity)) = tokio::task::spawn_blocking(job).await else {
            return;
        };
        self.watched = watched;
        match identity {
            None => {}
            Some(Ok(identity)) => {
                self.meters.reloaded(true);
                self.reloaded(identity);
            }
            Some(Err(error)) => {
                self.meters.reloaded(false);
                let text = format!("{error}; the certificate of before is in use");
                tracing::error!(route = self.spec.route, "{text}");
                let file = Some(text.into());
                self.state.send_modify(|state| state.file = file);
            }
        }
    }

    fn reloaded(&self, identity: Identity) {
        let same = identity.certified.cert == self.state.borrow().identity.certified.cert;
        if same {
            self.state
                .send_if_modified(|state| state.file.take().is_some());
            return;
        }
        let (route, facts) = (&self.spec.route, &identity.facts);
        tracing::warn!(
            route, generation = identity.generation, not_after = %facts.not_after,
            "another certificate: connections are replaced"
        );
        self.state.send_modify(|state| {
            state.identity = Arc::new(identity);
            state.file = None;
        });
    }
}

#[cfg(test)]
mod tests;
