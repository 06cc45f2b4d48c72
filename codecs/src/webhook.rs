//! Standard Webhooks 1.0.0: signs and verifies with HMAC-SHA256 (`v1`).
//!
//! Signed are the octets `{id}.{timestamp}.{body}`; the header `webhook-signature` is a list,
//! separated by blanks, of `v1,` and the base64 of the HMAC. While a secret rotates there is one
//! signature for each live secret, and one that fits is enough.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use smallvec::SmallVec;
use subtle::ConstantTimeEq as _;

#[cfg(test)]
mod tests;

/// Leads a secret. Standard Webhooks 1.0.0, "Signature scheme".
pub const SECRET_PREFIX: &str = "whsec_";

/// Octets of a secret. Standard Webhooks 1.0.0: 24 to 64.
pub const SECRET_OCTETS: std::ops::RangeInclusive<usize> = 24..=64;

/// What receivers are told to allow between timestamp and clock, in seconds, either way. The
/// official libraries use the same.
pub const TOLERANCE_SECONDS: u64 = 300;

/// Most signatures that a header is searched for; senders have two while a secret rotates. Chosen:
/// bounds the work that a hostile header makes.
const SIGNATURES_MAX: usize = 16;

/// Octets of an HMAC-SHA256.
const MAC_OCTETS: usize = 32;

/// Characters of one signature: the version, a comma, 44 of base64.
const SIGNATURE_CHARS: usize = 3 + 44;

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretError {
    /// It does not start with [`SECRET_PREFIX`].
    Prefix,
    /// What follows the prefix is no standard base64.
    Base64,
    /// It holds this many octets, which is outside [`SECRET_OCTETS`].
    Length(usize),
}

impl std::fmt::Display for SecretError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix => write!(f, "a webhook secret starts with {SECRET_PREFIX}"),
            Self::Base64 => write!(f, "what follows {SECRET_PREFIX} must be base64"),
            Self::Length(octets) => {
                write!(
                    f,
                    "a webhook secret holds 24 to 64 octets, this one {octets}"
                )
            }
        }
    }
}

impl std::error::Error for SecretError {}

/// A secret, held as the state of an HMAC that has taken in the key: signing costs the hash of
/// what is signed and little more.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

impl Secret {
    /// Reads `whsec_` and base64, with or without padding.
    ///
    /// # Errors
    /// [`SecretError`] says what is wrong; it never repeats the secret.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text
            .strip_prefix(SECRET_PREFIX)
            .ok_or(SecretError::Prefix)?;
        let encoded = encoded.trim_end_matches('=');
        let key = base64::engine::general_purpose::STANDARD_NO_PAD
            .decode(encoded)
            .map_err(|_| SecretError::Base64)?;
        if !SECRET_OCTETS.contains(&key.len()) {
            return Err(SecretError::Length(key.len()));
        }
        Hmac::new_from_slice(&key)
            .map(Self)
            .map_err(|_| SecretError::Length(key.len()))
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[&[u8]]) -> [u8; MAC_OCTETS] {
        let mut mac = self.0.clone();
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        for piece in body {
            mac.update(piece);
        }
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The live secrets of one endpoint: signs with all of them, verifies against any.
#[derive(Debug, Clone)]
pub struct Signer {
    secrets: SmallVec<[Secret; 2]>,
}

impl Signer {
    /// Signs with one secret.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self {
            secrets: SmallVec::from_iter([secret]),
        }
    }

    /// Adds a secret, as while one rotates: the new one first, then the old.
    #[must_use]
    pub fn and(mut self, secret: Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// The value of `webhook-signature` for a body in one or more pieces. `id` is the value of
    /// `webhook-id`, which must not hold a `.`; `timestamp` that of `webhook-timestamp`, in
    /// seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: u64, body: &[&[u8]]) -> String {
        let timestamp = timestamp.to_string();
        let mut header = String::with_capacity(self.secrets.len() * (SIGNATURE_CHARS + 1));
        for secret in &self.secrets {
            if !header.is_empty() {
                header.push(' ');
            }
            header.push_str("v1,");
            BASE64.encode_string(secret.mac(id, &timestamp, body), &mut header);
        }
        header
    }

    /// Checks a request against the headers `webhook-id`, `webhook-timestamp` and
    /// `webhook-signature`. `now` is in seconds since 1970, `tolerance` in seconds either way.
    ///
    /// # Errors
    /// [`VerifyError`]; the signature is looked at only if the timestamp stands.
    pub fn verify(
        &self,
        id: &str,
        timestamp: &str,
        signatures: &str,
        body: &[u8],
        now: u64,
        tolerance: u64,
    ) -> Result<(), VerifyError> {
        let digits = timestamp.bytes().all(|octet| octet.is_ascii_digit());
        let at: u64 = match timestamp.parse() {
            Ok(at) if digits => at,
            _ => return Err(VerifyError::Timestamp),
        };
        if at.saturating_add(tolerance) < now {
            return Err(VerifyError::TooOld);
        }
        if at > now.saturating_add(tolerance) {
            return Err(VerifyError::TooNew);
        }
        let mut given: SmallVec<[[u8; MAC_OCTETS]; 2]> = SmallVec::new();
        for signature in signatures.split(' ').take(SIGNATURES_MAX) {
            let Some(encoded) = signature.strip_prefix("v1,") else {
                continue;
            };
            if let Ok(mac) = BASE64.decode(encoded) {
                given.extend(<[u8; MAC_OCTETS]>::try_from(mac));
            }
        }
        if given.is_empty() {
            return Err(VerifyError::Signature);
        }
        let fits = self.secrets.iter().any(|secret| {
            let expected = secret.mac(id, timestamp, &[body]);
            given.iter().any(|mac| bool::from(mac.ct_eq(&expected)))
        });
        if fits {
            Ok(())
        } else {
            Err(VerifyError::Signature)
        }
    }
}

/// Why a request is not taken for the sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyError {
    /// The timestamp is no decimal number.
    Timestamp,
    /// The timestamp is before the clock by more than the tolerance.
    TooOld,
    /// The timestamp is after the clock by more than the tolerance.
    TooNew,
    /// No `v1` signature fits any secret.
    Signature,
}

impl std::fmt::Display for VerifyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Timestamp => "webhook-timestamp is no number of seconds",
            Self::TooOld => "webhook-timestamp is too old",
            Self::TooNew => "webhook-timestamp is too new",
            Self::Signature => "no signature fits",
        })
    }
}

impl std::error::Error for VerifyError {}
