//! JSON Web Tokens: signs and verifies compact JWS with ES256 and RS256.
//!
//! ES256 is what APNs asks of a provider token, RS256 what Google asks of a service account's
//! grant. A signature of ES256 is R and S, 32 octets each (RFC 7518 §3.4), never DER.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use serde_json::{Map, Value};

use crate::json;

mod pem;
#[cfg(test)]
mod tests;

pub use pem::{KeyError, KeyKind};

/// Most octets of a token that is read. Chosen: ours have up to 900, and this bounds the work that
/// a hostile header makes.
pub const TOKEN_OCTETS_MAX: usize = 4_096;

/// The algorithms that the push services ask for. RFC 7518 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256: APNs.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256: Google.
    Rs256,
}

impl Algorithm {
    /// The value of `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    fn wants(self) -> KeyKind {
        match self {
            Self::Es256 => KeyKind::P256,
            Self::Rs256 => KeyKind::Rsa,
        }
    }
}

/// What a token claims. All times are in seconds since 1970 (RFC 7519 §2, NumericDate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claims<'a> {
    /// APNs provider token: "Establishing a token-based connection to APNs". The header has no
    /// `typ`: it is optional, and the token goes with every request.
    Provider {
        /// The team: `iss`, 10 characters.
        team_id: &'a str,
        /// `iat`: APNs takes the token for an hour from here.
        issued_at: u64,
    },
    /// OAuth JWT bearer grant: RFC 7523 §2.1, as Google's "Using OAuth 2.0 for Server to Server
    /// Applications" has it.
    Grant {
        /// The service account's `client_email`: `iss`.
        issuer: &'a str,
        /// What access is asked for, separated by blanks: `scope`.
        scope: &'a str,
        /// The token endpoint: `aud`.
        audience: &'a str,
        /// `iat`.
        issued_at: u64,
        /// `exp`: at most an hour after `issued_at`.
        expires_at: u64,
    },
}

impl Claims<'_> {
    /// The claims set as JSON.
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = json::Writer::open(out);
        match *self {
            Self::Provider { team_id, issued_at } => {
                object.text("iss", team_id);
                object.number("iat", issued_at);
            }
            Self::Grant {
                issuer,
                scope,
                audience,
                issued_at,
                expires_at,
            } => {
                object.text("iss", issuer);
                object.text("scope", scope);
                object.text("aud", audience);
                object.number("iat", issued_at);
                object.number("exp", expires_at);
            }
        }
        object.close();
    }
}

/// A private key that signs tokens.
pub struct SigningKey(Key);

enum Key {
    Es256(Box<EcdsaKeyPair>),
    Rs256(Box<RsaKeyPair>),
}

impl SigningKey {
    /// Reads a key for `algorithm` from PEM with a PKCS#8 section: Apple's `.p8` file, or
    /// `private_key` of a service account's JSON.
    ///
    /// # Errors
    /// [`KeyError`] says what was found instead; it never repeats any of the text.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        let der = pem::pkcs8(pem, algorithm)?;
        let der = der.secret_pkcs8_der();
        match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                der,
                &SystemRandom::new(),
            )
            .map(|pair| Self(Key::Es256(Box::new(pair))))
            .map_err(|_| KeyError::Rejected),
            Algorithm::Rs256 => RsaKeyPair::from_pkcs8(der)
                .map(|pair| Self(Key::Rs256(Box::new(pair))))
                .map_err(|error| match error.to_string().as_str() {
                    "TooSmall" => KeyError::TooShort,
                    _ => KeyError::Rejected,
                }),
        }
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Key::Es256(_) => Algorithm::Es256,
            Key::Rs256(_) => Algorithm::Rs256,
        }
    }

    /// The public half.
    #[must_use]
    pub fn verifying(&self) -> VerifyingKey {
        match &self.0 {
            Key::Es256(pair) => VerifyingKey::p256(pair.public_key().as_ref()),
            Key::Rs256(pair) => VerifyingKey(Public::Rs256(pair.public().into())),
        }
    }

    /// SHA-256 of the public half: the same for two files that hold one key, and no way back to it.
    /// Of a P-256 key that is the point (SEC 1 §2.3.3), of an RSA key its RSAPublicKey (RFC 8017
    /// §A.1.1).
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let public = match &self.0 {
            Key::Es256(pair) => pair.public_key().as_ref(),
            Key::Rs256(pair) => pair.public_key().as_ref(),
        };
        let mut print = [0; 32];
        print.copy_from_slice(digest(&SHA256, public).as_ref());
        print
    }

    /// Signs a token: `{header}.{claims}.{signature}`, each base64url without padding (RFC 7515
    /// §3.1). `key_id` is the header's `kid`: 10 characters at Apple, `private_key_id` at Google.
    ///
    /// # Errors
    /// [`SignError`] if the system gives no randomness.
    pub fn sign(&self, key_id: &str, claims: &Claims<'_>) -> Result<String, SignError> {
        let mut part = Vec::with_capacity(256);
        let mut header = json::Writer::open(&mut part);
        header.text("alg", self.algorithm().name());
        if matches!(claims, Claims::Grant { .. }) {
            header.text("typ", "JWT");
        }
        header.text("kid", key_id);
        header.close();
        let mut token = String::with_capacity(1_024);
        BASE64URL.encode_string(&part, &mut token);
        token.push('.');
        part.clear();
        claims.write(&mut part);
        BASE64URL.encode_string(&part, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        BASE64URL.encode_string(signature, &mut token);
        Ok(token)
    }

    fn signature(&self, input: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.0 {
            Key::Es256(pair) => {
                let signature = pair.sign(&random, input).map_err(|_| SignError)?;
                Ok(signature.as_ref().to_vec())
            }
            Key::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature)
                    .map_err(|_| SignError)?;
                Ok(signature)
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.algorithm().name())
    }
}

/// The system gave no randomness for a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignError;

impl std::fmt::Display for SignError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the system gave no randomness to sign with")
    }
}

impl std::error::Error for SignError {}

/// A public key that verifies tokens: for simulators and tests.
#[derive(Debug, Clone)]
pub struct VerifyingKey(Public);

#[derive(Debug, Clone)]
enum Public {
    Es256(Vec<u8>),
    Rs256(PublicKeyComponents<Vec<u8>>),
}

impl VerifyingKey {
    /// A P-256 key as an uncompressed point: 0x04, X, Y (SEC 1 §2.3.3), 65 octets.
    #[must_use]
    pub fn p256(point: &[u8]) -> Self {
        Self(Public::Es256(point.to_vec()))
    }

    /// An RSA key of 2,048 to 8,192 bits: modulus and exponent, big-endian without leading zeros.
    #[must_use]
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self(Public::Rs256(PublicKeyComponents {
            n: modulus.to_vec(),
            e: exponent.to_vec(),
        }))
    }

    fn algorithm(&self) -> Algorithm {
        match self.0 {
            Public::Es256(_) => Algorithm::Es256,
            Public::Rs256(_) => Algorithm::Rs256,
        }
    }

    fn fits(&self, input: &[u8], signature: &[u8]) -> bool {
        let fits = match &self.0 {
            Public::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(input, signature)
            }
            Public::Rs256(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, input, signature),
        };
        fits.is_ok()
    }
}

/// A token that was taken apart; nothing in it is true until [`Jws::verify`] says so.
#[derive(Debug)]
pub struct Jws<'a> {
    /// The header: `alg`, `kid` and what else there is.
    pub header: Map<String, Value>,
    claims: Map<String, Value>,
    input: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Takes a compact token apart.
    ///
    /// # Errors
    /// [`VerifyError`] if it is no token of bounded length with two JSON objects.
    pub fn parse(token: &'a str) -> Result<Self, VerifyError> {
        if token.len() > TOKEN_OCTETS_MAX {
            return Err(VerifyError::TooLong);
        }
        let (input, signature) = token.rsplit_once('.').ok_or(VerifyError::Form)?;
        let (header, claims) = input.split_once('.').ok_or(VerifyError::Form)?;
        let signature = BASE64URL
            .decode(signature)
            .map_err(|_| VerifyError::Base64)?;
        Ok(Self {
            header: object(header)?,
            claims: object(claims)?,
            input: input.as_bytes(),
            signature,
        })
    }

    /// The header's `kid`.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.header.get("kid")?.as_str()
    }

    /// The claims, if `key` signed them. The header's `alg` must be the key's: a token cannot
    /// choose how it is checked.
    ///
    /// # Errors
    /// [`VerifyError::Algorithm`] or [`VerifyError::Signature`].
    pub fn verify(self, key: &VerifyingKey) -> Result<Map<String, Value>, VerifyError> {
        let algorithm = self.header.get("alg").and_then(Value::as_str);
        if algorithm != Some(key.algorithm().name()) {
            return Err(VerifyError::Algorithm);
        }
        if key.fits(self.input, &self.signature) {
            Ok(self.claims)
        } else {
            Err(VerifyError::Signature)
        }
    }
}

fn object(part: &str) -> Result<Map<String, Value>, VerifyError> {
    let octets = BASE64URL.decode(part).map_err(|_| VerifyError::Base64)?;
    serde_json::from_slice(&octets).map_err(|_| VerifyError::Json)
}

/// Why a token does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyError {
    /// More than [`TOKEN_OCTETS_MAX`].
    TooLong,
    /// Not three parts.
    Form,
    /// A part is no base64url without padding.
    Base64,
    /// Header or claims are no JSON object.
    Json,
    /// The header names another algorithm than the key's.
    Algorithm,
    /// The signature is not the key's.
    Signature,
}

impl std::fmt::Display for VerifyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the token is too long",
            Self::Form => "a token has three parts",
            Self::Base64 => "a part is no base64url",
            Self::Json => "header or claims are no JSON object",
            Self::Algorithm => "the header's alg is not the key's",
            Self::Signature => "the signature does not fit",
        })
    }
}

impl std::error::Error for VerifyError {}
