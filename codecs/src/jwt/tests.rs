//! Vectors of RFC 7515 and of Node's crypto, and what must not verify or be a key.

use super::*;
use crate::testdata::rows;

const EC: &str = include_str!("../../testdata/keys/ec_p256.p8");
const RSA: &str = include_str!("../../testdata/keys/rsa_2048.pem");

/// RFC 7515 §A.2 and §A.3 sign the same claims.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                      cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn key(algorithm: Algorithm) -> SigningKey {
    let pem = match algorithm {
        Algorithm::Es256 => EC,
        Algorithm::Rs256 => RSA,
    };
    SigningKey::from_pem(algorithm, pem).unwrap()
}

fn octets(base64url: &str) -> Vec<u8> {
    BASE64URL.decode(base64url).unwrap()
}

fn verify(token: &str, key: &VerifyingKey) -> Result<Map<String, Value>, VerifyError> {
    Jws::parse(token)?.verify(key)
}

#[test]
fn verifies_the_example_of_rfc_7515_a2_signed_with_rsa() {
    let modulus = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2\
                   mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7\
                   OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMT\
                   BQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkM\
                   Ls91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Q\
                     c_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTy\
                     WzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwu\
                     sC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5A\
                     XLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let key = VerifyingKey::rsa(&octets(modulus), &octets("AQAB"));
    let token = format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.{signature}");
    assert_eq!(verify(&token, &key).unwrap()["iss"], "joe");
}

#[test]
fn verifies_the_example_of_rfc_7515_a3_signed_with_p256() {
    let mut point = vec![4];
    point.extend(octets("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"));
    point.extend(octets("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"));
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP\
                     3-Kg6NU1Q";
    let token = format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.{signature}");
    let claims = verify(&token, &VerifyingKey::p256(&point)).unwrap();
    assert_eq!(claims["exp"], 1_300_819_380);
}

#[test]
fn verifies_what_node_signs_and_signs_rs256_as_node_does() {
    let mut seen = 0;
    for row in rows(include_str!("../../testdata/tokens.tsv")) {
        let [algorithm, token] = row[..] else {
            panic!("{row:?}")
        };
        let algorithm = match algorithm {
            "ES256" => Algorithm::Es256,
            _ => Algorithm::Rs256,
        };
        let key = key(algorithm);
        let jws = Jws::parse(token).unwrap();
        let key_id = jws.key_id().unwrap().to_owned();
        let claims = jws.verify(&key.verifying()).unwrap();
        let text = |name: &str| claims[name].as_str().unwrap();
        if algorithm == Algorithm::Rs256 {
            let again = Claims::Grant {
                issuer: text("iss"),
                scope: text("scope"),
                audience: text("aud"),
                issued_at: claims["iat"].as_u64().unwrap(),
                expires_at: claims["exp"].as_u64().unwrap(),
            };
            assert_eq!(key.sign(&key_id, &again).unwrap(), token);
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn a_provider_token_holds_what_apns_asks_for_and_nothing_else() {
    let key = key(Algorithm::Es256);
    let claims = Claims::Provider {
        team_id: "TEAM123456",
        issued_at: 1_795_000_000,
    };
    let token = key.sign("ABC1234567", &claims).unwrap();
    let (header, rest) = token.split_once('.').unwrap();
    assert_eq!(octets(header), br#"{"alg":"ES256","kid":"ABC1234567"}"#);
    let (claims, signature) = rest.split_once('.').unwrap();
    assert_eq!(octets(claims), br#"{"iss":"TEAM123456","iat":1795000000}"#);
    assert_eq!(octets(signature).len(), 64, "R and S, never DER");
    assert!(verify(&token, &key.verifying()).is_ok());
}

#[test]
fn refuses_what_was_changed_and_a_token_that_chooses_its_check() {
    let key = key(Algorithm::Es256);
    let claims = Claims::Provider {
        team_id: "TEAM123456",
        issued_at: 1,
    };
    let token = key.sign("ABC1234567", &claims).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("{token}")
    };
    let check = |token: String| verify(&token, &key.verifying()).map(|_| ());
    let other = BASE64URL.encode(r#"{"iss":"TEAM123457","iat":1}"#);
    let none = BASE64URL.encode(r#"{"alg":"none"}"#);
    let rs256 = BASE64URL.encode(r#"{"alg":"RS256","kid":"ABC1234567"}"#);
    for (changed, error) in [
        (
            format!("{header}.{other}.{signature}"),
            VerifyError::Signature,
        ),
        (format!("{header}.{claims}."), VerifyError::Signature),
        (format!("{none}.{claims}."), VerifyError::Algorithm),
        (
            format!("{rs256}.{claims}.{signature}"),
            VerifyError::Algorithm,
        ),
        (format!("{header}.{claims}"), VerifyError::Form),
        (
            format!("{header}.{claims}.{signature}="),
            VerifyError::Base64,
        ),
        (header.to_owned(), VerifyError::Form),
        ("a".repeat(TOKEN_OCTETS_MAX + 1), VerifyError::TooLong),
    ] {
        assert_eq!(check(changed.clone()), Err(error), "{changed}");
    }
    let stranger = VerifyingKey::p256(&[4; 65]);
    assert_eq!(
        verify(&token, &stranger).err(),
        Some(VerifyError::Signature)
    );
}

#[test]
fn says_what_was_found_where_a_key_was_wanted() {
    let wrong = |wanted, found| KeyError::Kind { wanted, found };
    let (es, rs) = (Algorithm::Es256, Algorithm::Rs256);
    let escaped = RSA.replace('\n', "\\n");
    let cut = &EC[..120];
    let long = " ".repeat(pem::PEM_OCTETS_MAX + 1);
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n";
    for (algorithm, text, error) in [
        (rs, EC, wrong(rs, KeyKind::P256)),
        (es, RSA, wrong(es, KeyKind::Rsa)),
        (
            es,
            include_str!("../../testdata/keys/ec_p384.p8"),
            wrong(es, KeyKind::OtherCurve),
        ),
        (
            es,
            include_str!("../../testdata/keys/ed25519.pem"),
            wrong(es, KeyKind::Ed25519),
        ),
        (
            rs,
            include_str!("../../testdata/keys/rsa_1024.pem"),
            KeyError::TooShort,
        ),
        (
            rs,
            include_str!("../../testdata/keys/rsa_pkcs1.pem"),
            KeyError::Pkcs1,
        ),
        (
            es,
            include_str!("../../testdata/keys/ec_sec1.pem"),
            KeyError::Sec1,
        ),
        (
            es,
            include_str!("../../testdata/keys/ec_encrypted.pem"),
            KeyError::Encrypted,
        ),
        (
            es,
            include_str!("../../testdata/keys/ec_public.pem"),
            KeyError::Public,
        ),
        (rs, old_encrypted, KeyError::Encrypted),
        (rs, &escaped, KeyError::EscapedNewlines),
        (
            es,
            "-----BEGIN CERTIFICATE REQUEST-----\n",
            KeyError::OtherSection,
        ),
        (es, "-----BEGIN PRIVATE", KeyError::Broken),
        (es, cut, KeyError::Broken),
        (es, "MIGHAgEAMBMGByqGSM49", KeyError::NoPem),
        (es, "", KeyError::NoPem),
        (es, &long, KeyError::TooLong),
    ] {
        let found = SigningKey::from_pem(algorithm, text).map(|_| ());
        assert_eq!(found, Err(error), "{text}");
    }
    let sentence = wrong(rs, KeyKind::P256).to_string();
    assert_eq!(
        sentence,
        "RS256 signs with an RSA key, found an EC key on P-256"
    );
    assert!(
        KeyError::Pkcs1
            .to_string()
            .contains("openssl pkcs8 -topk8 -nocrypt")
    );
}

#[test]
fn takes_a_key_behind_other_sections() {
    let text = format!(
        "Bag Attributes\n-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{EC}"
    );
    assert!(SigningKey::from_pem(Algorithm::Es256, &text).is_ok());
}

#[test]
fn never_prints_a_key() {
    assert_eq!(format!("{:?}", key(Algorithm::Es256)), "SigningKey(ES256)");
    assert_eq!(format!("{:?}", key(Algorithm::Rs256)), "SigningKey(RS256)");
}

#[test]
fn a_key_whose_halves_do_not_fit_is_rejected() {
    // Within the private scalar: the first line holds it, from its 48th character on.
    let at = EC.find('\n').unwrap() + 60;
    let other = if EC.as_bytes()[at] == b'A' { "B" } else { "A" };
    let mut broken = EC.to_owned();
    broken.replace_range(at..=at, other);
    let found = SigningKey::from_pem(Algorithm::Es256, &broken).map(|_| ());
    assert_eq!(found, Err(KeyError::Rejected));
}

#[test]
fn a_key_has_one_fingerprint_whatever_stands_around_it_in_its_file() {
    let ec = key(Algorithm::Es256).fingerprint();
    let reflowed = EC.replace('\n', "\r\n");
    let again = SigningKey::from_pem(Algorithm::Es256, &reflowed).unwrap();
    assert_eq!(ec, again.fingerprint());
    assert_ne!(ec, key(Algorithm::Rs256).fingerprint());
}
