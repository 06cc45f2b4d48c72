//! What the tests of several credentials share.

use codecs::jwt::{Algorithm, SigningKey};

use super::KeyName;

/// A P-256 key as Apple hands it out, made now.
pub(super) fn key_pem() -> String {
    rcgen::KeyPair::generate().unwrap().serialize_pem()
}

pub(super) fn signing(pem: &str) -> SigningKey {
    SigningKey::from_pem(Algorithm::Es256, pem).unwrap()
}

pub(super) fn name() -> KeyName {
    KeyName {
        team_id: "TEAM123456".into(),
        key_id: "ABC1234567".into(),
    }
}
