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

const RSA: &str = include_str!("../../../../codecs/testdata/keys/rsa_2048.pem");

/// A service account's file.
pub(super) fn account(project: &str, key_id: &str, token_uri: &str) -> String {
    serde_json::json!({
        "type": "service_account",
        "project_id": project,
        "client_email": "push@shop.example",
        "private_key_id": key_id,
        "private_key": RSA,
        "token_uri": token_uri,
    })
    .to_string()
}
