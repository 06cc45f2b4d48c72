//! Private keys as PEM: finds the PKCS#8 section and says in plain words what was found instead.

use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::Algorithm;

/// Most octets of a key's file. Chosen: an RSA key of 4,096 bits takes 3,300, and a service
/// account's key is far from any of this.
pub(super) const PEM_OCTETS_MAX: usize = 16 * 1024;

/// Content octets of the object identifiers that an AlgorithmIdentifier starts with.
/// RFC 5480 §2.1.1 (id-ecPublicKey, secp256r1), RFC 8017 §A.1 (rsaEncryption), RFC 8410 §3 (Ed25519).
const ID_EC_PUBLIC_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
const SECP256R1: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const RSA_ENCRYPTION: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
const ED25519: &[u8] = &[0x2B, 0x65, 0x70];

/// DER tags. X.690 §8: INTEGER, OBJECT IDENTIFIER, SEQUENCE.
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// What kind of key a PKCS#8 section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// An elliptic curve key on P-256: what ES256 takes.
    P256,
    /// An elliptic curve key on another curve.
    OtherCurve,
    /// An RSA key: what RS256 takes.
    Rsa,
    /// An Ed25519 key.
    Ed25519,
    /// None of these.
    Other,
}

impl KeyKind {
    fn name(self) -> &'static str {
        match self {
            Self::P256 => "an EC key on P-256",
            Self::OtherCurve => "an EC key on another curve",
            Self::Rsa => "an RSA key",
            Self::Ed25519 => "an Ed25519 key",
            Self::Other => "a key of another kind",
        }
    }
}

/// Why a text is no signing key. It never repeats any of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// More octets than any key has.
    TooLong,
    /// There is no `-----BEGIN …-----` in it.
    NoPem,
    /// Line ends are the two characters `\n`, as in a JSON string that was not decoded.
    EscapedNewlines,
    /// The key is encrypted with a passphrase.
    Encrypted,
    /// `RSA PRIVATE KEY`: PKCS#1 instead of PKCS#8.
    Pkcs1,
    /// `EC PRIVATE KEY`: SEC 1 instead of PKCS#8.
    Sec1,
    /// A public key or a certificate.
    Public,
    /// A section of another kind.
    OtherSection,
    /// The section's base64 or its end is broken.
    Broken,
    /// A key of the wrong kind.
    Kind {
        /// What it is to sign with.
        wanted: Algorithm,
        /// What it is.
        found: KeyKind,
    },
    /// An RSA key of fewer than 2,048 bits. RFC 7518 §3.3.
    TooShort,
    /// The key's parts do not fit each other, or some are missing: for an EC key also the public
    /// key beside the private one.
    Rejected,
}

/// Shown after what is fixed by writing the key again.
const CONVERT: &str = "convert it with `openssl pkcs8 -topk8 -nocrypt`";

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wanted = "expected a PEM section `PRIVATE KEY` (PKCS#8)";
        match self {
            Self::TooLong => write!(f, "a key's file has at most {PEM_OCTETS_MAX} octets"),
            Self::NoPem => write!(f, "{wanted}, found no PEM at all"),
            Self::EscapedNewlines => f.write_str(
                "the PEM has `\\n` in two characters where its lines end: decode the JSON string",
            ),
            Self::Encrypted => {
                write!(f, "{wanted}, found an encrypted key: {CONVERT}")
            }
            Self::Pkcs1 => write!(f, "{wanted}, found `RSA PRIVATE KEY` (PKCS#1): {CONVERT}"),
            Self::Sec1 => write!(f, "{wanted}, found `EC PRIVATE KEY` (SEC 1): {CONVERT}"),
            Self::Public => write!(f, "{wanted}, found a public key or a certificate"),
            Self::OtherSection => write!(f, "{wanted}, found a section of another kind"),
            Self::Broken => f.write_str("the PEM section is broken or cut short"),
            Self::Kind { wanted, found } => {
                let (kind, found) = (wanted.wants().name(), found.name());
                write!(f, "{} signs with {kind}, found {found}", wanted.name())
            }
            Self::TooShort => f.write_str("an RSA key has at least 2,048 bits"),
            Self::Rejected => f.write_str(
                "the key's parts do not fit each other or are incomplete (an EC key must hold its \
                 public key too)",
            ),
        }
    }
}

impl std::error::Error for KeyError {}

/// The DER of the first PKCS#8 section, if its key is of the kind that `algorithm` signs with.
pub(super) fn pkcs8(
    pem: &str,
    algorithm: Algorithm,
) -> Result<PrivatePkcs8KeyDer<'static>, KeyError> {
    if pem.len() > PEM_OCTETS_MAX {
        return Err(KeyError::TooLong);
    }
    section(pem)?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Broken)?;
    let found = kind(der.secret_pkcs8_der()).ok_or(KeyError::Broken)?;
    if found == algorithm.wants() {
        Ok(der)
    } else {
        Err(KeyError::Kind {
            wanted: algorithm,
            found,
        })
    }
}

/// Looks for a PKCS#8 section, and at the first other one for what to say.
fn section(pem: &str) -> Result<(), KeyError> {
    let mut first = None;
    let mut rest = pem;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, body) = after.split_once("-----").ok_or(KeyError::Broken)?;
        if body.starts_with("\\n") {
            return Err(KeyError::EscapedNewlines);
        }
        match label {
            "PRIVATE KEY" => return Ok(()),
            // openssl ecparam writes it before the key.
            "EC PARAMETERS" => {}
            _ => {
                let encrypted = body.trim_start().starts_with("Proc-Type: 4,ENCRYPTED");
                let found = match label {
                    _ if encrypted => KeyError::Encrypted,
                    "ENCRYPTED PRIVATE KEY" => KeyError::Encrypted,
                    "RSA PRIVATE KEY" => KeyError::Pkcs1,
                    "EC PRIVATE KEY" => KeyError::Sec1,
                    "CERTIFICATE" | "PUBLIC KEY" | "RSA PUBLIC KEY" => KeyError::Public,
                    _ => KeyError::OtherSection,
                };
                first.get_or_insert(found);
            }
        }
        rest = body;
    }
    Err(first.unwrap_or(KeyError::NoPem))
}

/// The key's kind by the AlgorithmIdentifier of a PrivateKeyInfo. RFC 5208 §5.
fn kind(der: &[u8]) -> Option<KeyKind> {
    let (info, _) = element(der, SEQUENCE)?;
    let (_, info) = element(info, INTEGER)?;
    let (algorithm, _) = element(info, SEQUENCE)?;
    let (oid, parameters) = element(algorithm, OBJECT_IDENTIFIER)?;
    let curve = element(parameters, OBJECT_IDENTIFIER).map(|(curve, _)| curve);
    Some(match oid {
        ID_EC_PUBLIC_KEY if curve == Some(SECP256R1) => KeyKind::P256,
        ID_EC_PUBLIC_KEY => KeyKind::OtherCurve,
        RSA_ENCRYPTION => KeyKind::Rsa,
        ED25519 => KeyKind::Ed25519,
        _ => KeyKind::Other,
    })
}

/// The content of the DER element in front, which has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, short], rest) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    // X.690 §8.1.3: below 0x80 the length itself, else how many octets of it follow.
    let (length, rest) = match short {
        0..=0x7F => (usize::from(short), rest),
        0x81 => {
            let (&[one], rest) = rest.split_first_chunk()?;
            (usize::from(one), rest)
        }
        0x82 => {
            let (&two, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(two)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
