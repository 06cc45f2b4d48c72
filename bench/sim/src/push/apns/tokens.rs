//! Provider tokens: who signed them, how old they are, and how often they change on a connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// A key, and whether it was revoked.
#[derive(Debug)]
struct Known {
    key: Key,
    revoked: AtomicBool,
}

impl Known {
    fn new(key: Key) -> Arc<Self> {
        Arc::new(Self {
            key,
            revoked: AtomicBool::new(false),
        })
    }

    fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }
}

/// A token whose signature holds.
#[derive(Debug)]
pub(super) struct Verified {
    /// The key that signed it.
    known: Arc<Known>,
    issued_at: u64,
}

impl Verified {
    /// The key that signed it.
    pub(super) fn key(&self) -> &Key {
        &self.known.key
    }
}

/// What a connection knows of its tokens.
#[derive(Debug, Default)]
pub(super) struct LinkTokens {
    /// The team and key of the first token that was taken: the connection is theirs.
    bound: Option<Arc<Known>>,
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
    /// Several may have one id: a file that was renewed holds another key under the same name.
    keys: Mutex<Vec<Arc<Known>>>,
    verified: Mutex<HashMap<Vec<u8>, Arc<Verified>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn without(keys: &mut Vec<Arc<Known>>, key_id: &str) {
    keys.retain(|known| {
        let stays = known.key.key_id != key_id;
        if !stays {
            known.revoked.store(true, Ordering::Relaxed);
        }
        stays
    });
}

const INVALID: Refusal = (403, "InvalidProviderToken");

impl Tokens {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self {
            keys: Mutex::new(keys.into_iter().map(Known::new).collect()),
            verified: Mutex::default(),
        }
    }

    /// Refuses whatever a key signs from now on.
    pub(super) fn revoke(&self, key_id: &str) {
        without(&mut locked(&self.keys), key_id);
    }

    /// Takes what a key signs from now on, in place of all others of its name.
    pub(super) fn renew(&self, key: Key) {
        let mut keys = locked(&self.keys);
        without(&mut keys, &key.key_id);
        keys.push(Known::new(key));
    }

    /// Takes what a key signs from now on, beside the others; one that was revoked as well.
    pub(super) fn accept(&self, key: Key) {
        locked(&self.keys).push(Known::new(key));
    }

    /// A request's token with its key, if it may be used on this connection.
    pub(super) fn check(
        &self,
        header: Option<&[u8]>,
        link: &mut LinkTokens,
        now: Instant,
        clock_ms: u64,
    ) -> Result<Arc<Verified>, Refusal> {
        let header = header.ok_or((403, "MissingProviderToken"))?;
        let verified = match &link.last {
            Some((last, verified)) if last == header && !verified.known.is_revoked() => {
                Arc::clone(verified)
            }
            _ => self.verify(header)?,
        };
        let clock = clock_ms / 1_000;
        if verified.issued_at > clock + AHEAD_SECONDS {
            return Err(INVALID);
        }
        if verified.issued_at + LIFE_SECONDS < clock {
            return Err((403, "ExpiredProviderToken"));
        }
        link.bind(&verified.known)?;
        link.update(header, now)?;
        let same = |(_, last): &(_, Arc<Verified>)| Arc::ptr_eq(last, &verified);
        if !link.last.as_ref().is_some_and(same) {
            link.last = Some((header.to_vec(), Arc::clone(&verified)));
        }
        Ok(verified)
    }

    fn verify(&self, header: &[u8]) -> Result<Arc<Verified>, Refusal> {
        let before = locked(&self.verified).get(header).map(Arc::clone);
        if let Some(verified) = before.filter(|verified| !verified.known.is_revoked()) {
            return Ok(verified);
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
        let keys = locked(&self.keys).clone();
        keys.into_iter().find_map(|known| {
            let key = &known.key;
            let jws = Jws::parse(token).ok().filter(|_| key.key_id == key_id)?;
            let claims = jws.verify(&key.public).ok()?;
            let issued_at = claims.get("iat")?.as_u64()?;
            let of_team = claims.get("iss")?.as_str()? == key.team_id;
            of_team.then_some(Verified { known, issued_at })
        })
    }
}

impl LinkTokens {
    /// The first key that is taken makes the connection its team's.
    fn bind(&mut self, known: &Arc<Known>) -> Result<(), Refusal> {
        let bound = self.bound.get_or_insert_with(|| Arc::clone(known));
        let (first, key) = (&bound.key, &known.key);
        if Arc::ptr_eq(bound, known) {
            Ok(())
        } else if first.team_id != key.team_id {
            Err(INVALID)
        } else if first.topics.is_some() || key.topics.is_some() {
            // Keys of single topics are not mixed on one connection.
            Err((403, "UnrelatedKeyIdInToken"))
        } else {
            Ok(())
        }
    }

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
