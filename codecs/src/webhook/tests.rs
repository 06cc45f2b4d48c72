//! Signatures of the official libraries, and what must not verify.

use super::*;
use crate::testdata::{rows, unescape};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn signer(secret: &str) -> Signer {
    Signer::new(Secret::parse(secret).unwrap())
}

#[test]
fn signs_as_the_official_libraries_do() {
    let mut seen = 0;
    for row in rows(include_str!("../../testdata/webhooks.tsv")) {
        let [secret, id, timestamp, body, expected] = row[..] else {
            panic!("{row:?}")
        };
        let body = unescape(body);
        let at = timestamp.parse().unwrap();
        let (start, end) = body.as_bytes().split_at(body.len() / 2);
        assert_eq!(signer(secret).sign(id, at, &[start, end]), expected);
        let signer = signer(secret);
        assert_eq!(
            signer.verify(id, timestamp, expected, body.as_bytes(), at, 0),
            Ok(())
        );
        seen += 1;
    }
    assert_eq!(seen, 49);
}

#[test]
fn signs_the_example_of_the_specification() {
    // Standard Webhooks libraries, test vector shared by all of them.
    let signature = signer(SECRET).sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        &[br#"{"test": 2432232314}"#],
    );
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn every_live_secret_signs_and_any_of_them_verifies() {
    let both = signer(SECRET).and(Secret::parse(OTHER).unwrap());
    let header = both.sign("evt_1", 1000, &[b"body"]);
    assert_eq!(header.split(' ').count(), 2);
    for one in [&signer(SECRET), &signer(OTHER), &both] {
        assert_eq!(
            one.verify("evt_1", "1000", &header, b"body", 1000, 300),
            Ok(())
        );
    }
    let old = signer(OTHER).sign("evt_1", 1000, &[b"body"]);
    assert_eq!(
        both.verify("evt_1", "1000", &old, b"body", 1000, 300),
        Ok(())
    );
}

#[test]
fn refuses_what_was_changed() {
    let signer = signer(SECRET);
    let good = signer.sign("evt_1", 1000, &[b"body"]);
    let check = |id: &str, timestamp: &str, header: &str, body: &[u8]| {
        signer.verify(id, timestamp, header, body, 1000, 300)
    };
    assert_eq!(check("evt_1", "1000", &good, b"body"), Ok(()));
    assert_eq!(
        check("evt_2", "1000", &good, b"body"),
        Err(VerifyError::Signature)
    );
    assert_eq!(
        check("evt_1", "1001", &good, b"body"),
        Err(VerifyError::Signature)
    );
    assert_eq!(
        check("evt_1", "1000", &good, b"bodY"),
        Err(VerifyError::Signature)
    );
    for header in [
        "",
        "v1",
        "v1,",
        "v1,AAAA",
        "v2,AAAA",
        &good.replace("v1,", "v1a,"),
    ] {
        assert_eq!(
            check("evt_1", "1000", header, b"body"),
            Err(VerifyError::Signature)
        );
    }
    let among_others = format!("v1a,xyz v1,AAAA {good}");
    assert_eq!(check("evt_1", "1000", &among_others, b"body"), Ok(()));
}

#[test]
fn holds_to_the_tolerance_either_way() {
    let signer = signer(SECRET);
    let header = signer.sign("evt_1", 1000, &[b""]);
    let at = |now| signer.verify("evt_1", "1000", &header, b"", now, 300);
    assert_eq!(at(1300), Ok(()));
    assert_eq!(at(1301), Err(VerifyError::TooOld));
    assert_eq!(at(700), Ok(()));
    assert_eq!(at(699), Err(VerifyError::TooNew));
    for timestamp in ["", "x", "-1", "+1000", "1000.0", "99999999999999999999"] {
        let outcome = signer.verify("evt_1", timestamp, &header, b"", 1000, 300);
        assert_eq!(outcome, Err(VerifyError::Timestamp), "{timestamp}");
    }
}

#[test]
fn refuses_secrets_that_are_none_and_never_prints_one() {
    let parse = |text: &str| Secret::parse(text).map(|_| ());
    assert_eq!(
        parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        Err(SecretError::Prefix)
    );
    assert_eq!(parse("whsec_***"), Err(SecretError::Base64));
    assert_eq!(parse("whsec_AAAA"), Err(SecretError::Length(3)));
    assert_eq!(
        parse(&format!("whsec_{}", "A".repeat(88))),
        Err(SecretError::Length(66))
    );
    assert_eq!(parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwQQ=="), Ok(()));
    assert_eq!(parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwQQ"), Ok(()));
    assert_eq!(format!("{:?}", Secret::parse(SECRET).unwrap()), "Secret");
}
