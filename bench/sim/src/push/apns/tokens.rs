//! Provider tokens: who signed them, how old they are, and how often they change on a connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use codecs::jwt::{Algorithm, Jws, SigningKey, VerifyingKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;

use super::Key;
use super::rules::Refusal;

/// How long a token is taken, from its `iat`. "Establishing a token-based connection to APNs".
const LIFE_SECONDS: u64 = 3_600;

/// How far ahead of our clock `iat` may be. Chosen: Apple names none.
const AHEAD_SECONDS: u64 = 60;

/// Once in this time a connection may see a new token. Same page.
const UPDATE_EVERY: Duration = Duration::from_secs(20 * 60);

/// Tokens that were verified and are remembered; beyond, all are forgotten. Chosen: a client has a
/// few for each key.
const VERIFIED_MAX: usize = 1_000;

/// Tokens of one connection that are told apart.
const LINK_TOKENS_MAX: usize = 8;

/// A token whose signature holds.
#[derive(Debug)]
struct Verified {
    /// Which of the keys signed it.
    key: usize,
    issued_at: u64,
}

/// What a connection knows of its tokens.
#[derive(Debug, Default)]
pub(super) struct LinkTokens {
    /// The team and key of the first token that was taken: the connection is theirs.
    bound: Option<usize>,
    /// The header of the last request, and what was made of it: most are the same.
    last: Option<(Vec<u8>, Arc<Verified>)>,
    /// Headers that were taken on this connection, newest last.
    taken: Vec<Vec<u8>>,
    /// When the last new one came, the first one not counted.
    updated: Option<Instant>,
    /// Tokens were renewed too often: nothing is taken any more.
    sick: bool,
}

/// The keys that are known, and the tokens that they signed.
#[derive(Debug)]
pub(super) struct Tokens {
    keys: Vec<Key>,
    /// Keys that were revoked since the start, by their place.
    revoked: Mutex<Vec<usize>>,
    verified: Mutex<HashMap<Vec<u8>, Arc<Verified>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const INVALID: Refusal = (403, "InvalidProviderToken");

impl Tokens {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self {
            keys,
            revoked: Mutex::default(),
            verified: Mutex::default(),
        }
    }

    /// Refuses whatever a key signs from now on.
    pub(super) fn revoke(&self, key_id: &str) {
        let keys = self.keys.iter().zip(0..);
        let found = keys.filter(|(key, _)| key.key_id == key_id);
        locked(&self.revoked).extend(found.map(|(_, at)| at));
    }

    /// The key that a request's token was signed with, if the token may be used on this connection.
    pub(super) fn check(
        &self,
        header: Option<&[u8]>,
        link: &mut LinkTokens,
        now: Instant,
        clock_ms: u64,
    ) -> Result<&Key, Refusal> {
        let header = header.ok_or((403, "MissingProviderToken"))?;
        let verified = match &link.last {
            Some((last, verified)) if last == header => Arc::clone(verified),
            _ => self.verify(header)?,
        };
        if locked(&self.revoked).contains(&verified.key) {
            return Err(INVALID);
        }
        let key = self.keys.get(verified.key).ok_or(INVALID)?;
        let clock = clock_ms / 1_000;
        if verified.issued_at > clock + AHEAD_SECONDS {
            return Err(INVALID);
        }
        if verified.issued_at + LIFE_SECONDS < clock {
            return Err((403, "ExpiredProviderToken"));
        }
        self.bind(verified.key, key, link)?;
        link.update(header, now)?;
        if link.last.as_ref().is_none_or(|(last, _)| last != header) {
            link.last = Some((header.to_vec(), verified));
        }
        Ok(key)
    }

    /// The first key that is taken makes the connection its team's.
    fn bind(&self, at: usize, key: &Key, link: &mut LinkTokens) -> Result<(), Refusal> {
        let bound = *link.bound.get_or_insert(at);
        if bound == at {
            return Ok(());
        }
        match self.keys.get(bound) {
            Some(first) if first.team_id != key.team_id => Err(INVALID),
            // Keys of single topics are not mixed on one connection.
            Some(first) if first.topics.is_some() || key.topics.is_some() => {
                Err((403, "UnrelatedKeyIdInToken"))
            }
            _ => Ok(()),
        }
    }

    fn verify(&self, header: &[u8]) -> Result<Arc<Verified>, Refusal> {
        if let Some(verified) = locked(&self.verified).get(header) {
            return Ok(Arc::clone(verified));
        }
        let verified = Arc::new(self.verify_anew(header).ok_or(INVALID)?);
        let mut all = locked(&self.verified);
        if all.len() >= VERIFIED_MAX {
            all.clear();
        }
        all.insert(header.to_vec(), Arc::clone(&verified));
        Ok(verified)
    }

    fn verify_anew(&self, header: &[u8]) -> Option<Verified> {
        let (scheme, token) = str::from_utf8(header).ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let jws = Jws::parse(token).ok()?;
        let key_id = jws.key_id()?.to_owned();
        let at = self.keys.iter().position(|key| key.key_id == key_id)?;
        let key = self.keys.get(at)?;
        let claims = jws.verify(&key.public).ok()?;
        let team = claims.get("iss")?.as_str()?;
        (team == key.team_id).then_some(Verified {
            key: at,
            issued_at: claims.get("iat")?.as_u64()?,
        })
    }
}

impl LinkTokens {
    /// Counts tokens that are new to this connection.
    fn update(&mut self, header: &[u8], now: Instant) -> Result<(), Refusal> {
        const TOO_MANY: Refusal = (429, "TooManyProviderTokenUpdates");
        if self.sick {
            return Err(TOO_MANY);
        }
        if self.taken.iter().rev().any(|taken| taken == header) {
            return Ok(());
        }
        if !self.taken.is_empty() {
            let early = |at: Instant| now.duration_since(at) < UPDATE_EVERY;
            if self.updated.is_some_and(early) {
                self.sick = true;
                return Err(TOO_MANY);
            }
            self.updated = Some(now);
        }
        if self.taken.len() >= LINK_TOKENS_MAX {
            self.taken.remove(0);
        }
        self.taken.push(header.to_vec());
        Ok(())
    }
}

impl Key {
    /// Whether it may send to this app.
    pub(super) fn allows(&self, bundle: Option<&[u8]>) -> bool {
        let Some(topics) = &self.topics else {
            return true;
        };
        bundle.is_some_and(|bundle| topics.iter().any(|topic| topic.as_bytes() == bundle))
    }

    /// A key of a team, for all of its topics.
    #[must_use]
    pub fn new(key_id: &str, team_id: &str, public: VerifyingKey) -> Self {
        Self {
            key_id: key_id.to_owned(),
            team_id: team_id.to_owned(),
            public,
            topics: None,
        }
    }
}

/// SubjectPublicKeyInfo of a P-256 key up to its point: RFC 5480 §2, RFC 5915.
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A,
    0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Reads the public half of a P-256 key: from its PEM, or from that of the private key.
///
/// # Errors
/// It is neither.
pub fn public_key(pem: &str) -> anyhow::Result<VerifyingKey> {
    if pem.contains("PRIVATE KEY") {
        return Ok(SigningKey::from_pem(Algorithm::Es256, pem)?.verifying());
    }
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| anyhow::anyhow!("expected a PEM section `PUBLIC KEY` or `PRIVATE KEY`"))?;
    let point = der
        .strip_prefix(&P256_HEAD)
        .filter(|point| point.len() == 65);
    Ok(VerifyingKey::p256(
        point.context("expected a key on P-256, uncompressed")?,
    ))
}
