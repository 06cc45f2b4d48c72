//! What APNs makes of a request, without a connection.

use std::time::{Duration, Instant};

use codecs::jwt::{Algorithm, Claims, SigningKey};

use super::tokens::{LinkTokens, Tokens};
use super::*;

const SECOND: u64 = 1_000_000_000;

fn key() -> SigningKey {
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    SigningKey::from_pem(Algorithm::Es256, &pem).unwrap()
}

fn bearer(key: &SigningKey, issued_at: u64) -> Vec<u8> {
    let claims = Claims::Provider {
        team_id: "TEAM123456",
        issued_at,
    };
    let token = key.sign("KEY1234567", &claims).unwrap();
    format!("bearer {token}").into_bytes()
}

#[test]
fn a_token_may_be_renewed_every_twenty_minutes_for_ever() {
    let key = key();
    let tokens = Tokens::new(vec![Key::new("KEY1234567", "TEAM123456", key.verifying())]);
    let start = Instant::now();
    let mut link = LinkTokens::default();
    for number in 0..20 {
        let seconds = number * 20 * 60;
        let header = bearer(&key, SECOND + seconds);
        let now = start + Duration::from_secs(seconds);
        let clock_ms = (SECOND + seconds) * 1_000;
        let taken = tokens.check(Some(&header), &mut link, now, clock_ms);
        assert!(taken.is_ok(), "{number}: {taken:?}");
        let again = tokens.check(Some(&header), &mut link, now, clock_ms);
        assert!(again.is_ok());
    }
    let last = start + Duration::from_secs(19 * 20 * 60 + 1_199);
    let clock_ms = (SECOND + 20 * 20 * 60) * 1_000;
    let early = bearer(&key, SECOND + 20 * 20 * 60);
    let refused = tokens.check(Some(&early), &mut link, last, clock_ms);
    assert_eq!(refused.unwrap_err(), (429, "TooManyProviderTokenUpdates"));
}

#[test]
fn a_token_lives_an_hour_to_the_second() {
    let key = key();
    let tokens = Tokens::new(vec![Key::new("KEY1234567", "TEAM123456", key.verifying())]);
    let header = bearer(&key, SECOND);
    let now = Instant::now();
    let check = |seconds: u64| {
        let clock_ms = (SECOND + seconds) * 1_000;
        let checked = tokens.check(Some(&header), &mut LinkTokens::default(), now, clock_ms);
        checked.map(drop)
    };
    assert_eq!(check(3_600), Ok(()));
    assert_eq!(check(3_601), Err((403, "ExpiredProviderToken")));
    let none = tokens.check(None, &mut LinkTokens::default(), now, 0);
    assert_eq!(none.unwrap_err(), (403, "MissingProviderToken"));
}

#[test]
fn a_public_key_is_read_from_either_half() {
    // The public key of codecs/testdata/keys/ec_p256.p8, as openssl writes it.
    let private = include_str!("../../../../../codecs/testdata/keys/ec_p256.p8");
    let public = include_str!("../../../../../codecs/testdata/keys/ec_public.pem");
    let signed = SigningKey::from_pem(Algorithm::Es256, private).unwrap();
    let token = bearer(&signed, SECOND);
    for pem in [private, public] {
        let key = Key::new("KEY1234567", "TEAM123456", public_key(pem).unwrap());
        let tokens = Tokens::new(vec![key]);
        let clock_ms = SECOND * 1_000;
        let mut link = LinkTokens::default();
        let checked = tokens.check(Some(&token), &mut link, Instant::now(), clock_ms);
        assert!(checked.is_ok(), "{checked:?}");
    }
    assert!(public_key("-----BEGIN CERTIFICATE-----").is_err());
}
