//! Credentials of the push services: what proves to Apple and Google who sends.
//!
//! ```text
//!  key file ──► provider: ES256 token, every 50 min ──┐
//!  account file ──► access: RS256 grant ──► Google ───┼──► State, by a watch channel ──► connections
//!  certificate and key files ──► identity ────────────┘
//! ```
//!
//! One task for each credential of the process ([`Credentials`]), however many routes and connections use it: it alone
//! makes tokens, so that no crowd of askers can make two. Whoever sends reads the latest [`State`];
//! one who was refused says so, and is told whether a newer token is there.
//!
//! Files are read again when they change. A bad new file changes nothing but the state's words; a
//! good one raises the generation, by which connections made with the old key are known.

use std::sync::Arc;

use hyper::header::{HeaderValue, InvalidHeaderValue};

use crate::clock::UnixMs;

mod access;
mod certificate;
mod kept;
mod meters;
mod provider;
mod register;
mod skew;
mod source;

#[cfg(test)]
mod tests;

pub use access::{Access, AccessError, AccessTask, AccountSpec};
pub use certificate::{
    Certificate, CertificateError, CertificateSpec, CertificateState, CertificateTask, Identity,
};
pub use kept::KeyName;
pub use provider::{Provider, ProviderError, ProviderTask};
pub use register::Credentials;
pub use source::Source;

/// What a request carries to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The value of `authorization`. It is marked sensitive: HPACK never indexes it, and no `Debug`
    /// shows it.
    pub authorization: HeaderValue,
    /// Rises with each token of this credential, from 1.
    pub serial: u64,
    /// Rises with each key: a connection that was made under another one is to be replaced, as Apple
    /// holds a connection to its first key (push.md §1.2).
    pub generation: u64,
    /// When it was issued, by this machine's clock.
    pub issued_at: UnixMs,
    /// When the service stops taking it.
    pub expires_at: UnixMs,
}

impl Bearer {
    /// The value of `authorization` with this scheme and token.
    fn authorization(scheme: &str, token: &str) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::try_from([scheme, " ", token].concat())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// How a credential is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The latest token, which may have expired.
    pub bearer: Option<Arc<Bearer>>,
    /// What is wrong with the newest file; the one before it is in use. Fit for logs and views.
    pub file: Option<Arc<str>>,
    /// Why the service gave no new token.
    pub refusal: Option<Refusal>,
}

/// Why there is no new token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whether only somebody's hand helps: without a token the route stops.
    pub permanent: bool,
    /// What was said, escaped: fit for logs and views.
    pub text: Arc<str>,
    /// When the service is asked again.
    pub again_at: UnixMs,
}

impl State {
    /// The token, if the service still takes it.
    #[must_use]
    pub fn usable(&self, now: UnixMs) -> Option<&Arc<Bearer>> {
        self.bearer
            .as_ref()
            .filter(|bearer| now < bearer.expires_at)
    }

    /// Why the routes with this credential stop until somebody has put it right; `None`: they send, or
    /// wait for a token that may come by itself.
    #[must_use]
    pub fn stopped(&self, now: UnixMs) -> Option<&Refusal> {
        let refusal = self.refusal.as_ref().filter(|refusal| refusal.permanent)?;
        self.usable(now).is_none().then_some(refusal)
    }
}

/// What whoever was refused for its token does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// Sends again, once, with this newer one.
    With(Arc<Bearer>),
    /// Waits for the next [`State`]: there is no newer one yet. When it comes is not in the asker's
    /// hand.
    Wait,
}

/// A draw of 0.0 to 1.0 for jitter; 0.5 where the system has no randomness.
fn draw() -> f64 {
    let mut octets = [0; 4];
    match getrandom::fill(&mut octets) {
        Ok(()) => f64::from(u32::from_le_bytes(octets)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
