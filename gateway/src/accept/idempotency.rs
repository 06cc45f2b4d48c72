//! Idempotency: the key as it comes, and the key and fingerprint as the store keeps them.
//!
//! Scope is the tenant; single sends and batch items share it. The fingerprint is over the canonical
//! JSON of the request, so that spaces, field order and sugar do not matter.

use std::borrow::Cow;

use hyper::HeaderMap;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::accept::problem::{FieldError, Problem};
use crate::accept::request::Request;
use crate::message::TenantIx;
use crate::store::IdempotencyKey;

/// Longest key, in characters (contract.md §1 `idempotency_key`).
pub(crate) const KEY_MAX: usize = 255;
const HEADER: &str = "Idempotency-Key";

/// The request's `Idempotency-Key`: bare as Stripe's, or quoted as the IETF draft's string (RFC 8941
/// §3.3.3); both name the same key.
///
/// # Errors
/// `invalid_request` when it comes twice, is empty, too long or not a string.
pub(crate) fn header_key(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let refuse = |detail| {
        let error = FieldError::header(HEADER, "invalid", detail);
        Err(Problem::of(vec![error]))
    };
    if values.next().is_some() {
        return refuse("must come once");
    }
    // to_str lets only visible ASCII and tab through.
    let Ok(text) = value.to_str() else {
        return refuse("must be ASCII");
    };
    let Some(key) = unquote(text.trim()) else {
        return refuse("must be a token or a quoted string");
    };
    match key.len() {
        0 => refuse("must not be empty"),
        1..=KEY_MAX => Ok(Some(key)),
        _ => refuse("must have at most 255 characters"),
    }
}

fn unquote(text: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = text.strip_prefix('"') else {
        return Some(Cow::Borrowed(text));
    };
    let inner = rest.strip_suffix('"')?;
    if !inner.contains(['\\', '"']) {
        return Some(Cow::Borrowed(inner));
    }
    let mut key = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => return None,
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            other => key.push(other),
        }
    }
    Some(Cow::Owned(key))
}

/// The key and fingerprint of one message. `request` is expanded and merged.
pub(crate) fn of_message(tenant: TenantIx, key: &str, request: &Request<'_>) -> IdempotencyKey {
    IdempotencyKey::new(tenant, key, &canonical(request))
}

/// The `nth` stored item of a batch under a header key. The first shares the scope of single sends;
/// the others cannot meet any key of a client: 0xFF is in no UTF-8 text.
pub(crate) fn of_batch(
    tenant: TenantIx,
    key: &str,
    nth: u32,
    fingerprint: [u8; 16],
) -> IdempotencyKey {
    let mut made = IdempotencyKey::new(tenant, key, &[]);
    if nth > 0 {
        let mut hash = Sha256::new();
        hash.update(tenant.0.to_be_bytes());
        hash.update([0xFF]);
        hash.update(nth.to_be_bytes());
        hash.update(key.as_bytes());
        made.key = first_half(hash);
    }
    made.fingerprint = fingerprint;
    made
}

/// Canonical JSON: no spaces, keys sorted.
fn canonical(request: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    // Requests are plain data: writing them into memory cannot fail, and half of one would only make
    // a fingerprint that nothing else has.
    drop(serde_json::to_writer(&mut json, request));
    json
}

/// The first 16 octets of SHA-256 over canonical JSON.
pub(crate) fn fingerprint(request: &impl Serialize) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(canonical(request));
    first_half(hash)
}

/// The fingerprint of several fingerprints, in order.
pub(crate) fn combined(parts: impl Iterator<Item = [u8; 16]>) -> [u8; 16] {
    let mut hash = Sha256::new();
    parts.for_each(|part| hash.update(part));
    first_half(hash)
}

fn first_half(hash: Sha256) -> [u8; 16] {
    let digest: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::request::{merge::expand, parse};

    fn key(value: &str) -> Result<Option<String>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", value.parse().unwrap());
        header_key(&headers).map(|key| key.map(Cow::into_owned))
    }

    fn print(json: &str) -> [u8; 16] {
        let (mut request, errors) = parse(json.as_bytes()).unwrap();
        assert_eq!(errors, []);
        expand(&mut request, &mut Vec::new());
        fingerprint(&request)
    }

    #[test]
    fn bare_and_quoted_are_the_same_key() {
        assert_eq!(key("k-1").unwrap().unwrap(), "k-1");
        assert_eq!(key("\"k-1\"").unwrap().unwrap(), "k-1");
        assert_eq!(key(" k 1 ").unwrap().unwrap(), "k 1");
        assert_eq!(key(r#""a\"b\\c""#).unwrap().unwrap(), r#"a"b\c"#);
        assert_eq!(header_key(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn bad_keys_are_refused_with_the_headers_name() {
        let long = "x".repeat(256);
        for bad in ["", "\"\"", "\"open", "\"a\"b\"", r#""a\b""#, &long] {
            let problem = key(bad).unwrap_err();
            assert_eq!(problem.errors[0].header, Some("Idempotency-Key"), "{bad}");
        }
        assert!(key(&"x".repeat(255)).is_ok());
        let mut twice = HeaderMap::new();
        twice.append("idempotency-key", "a".parse().unwrap());
        twice.append("idempotency-key", "b".parse().unwrap());
        assert!(header_key(&twice).is_err());
    }

    #[test]
    fn order_space_and_sugar_do_not_change_the_fingerprint() {
        let one = print(r#"{"to":"+46701234567","text":"hi","metadata":{"a":"1","b":"2"}}"#);
        for same in [
            r#"{ "metadata": {"b":"2","a":"1"}, "text":"hi", "to":"+46701234567" }"#,
            r#"{"content":{"text":"h\u0069"},"to":{"phone":"+46701234567"},"metadata":{"a":"1","b":"2"}}"#,
            r#"{"to":"+46701234567","text":"hi","ttl":null,"metadata":{"a":"1","b":"2"},"idempotency_key":"x"}"#,
        ] {
            assert_eq!(print(same), one, "{same}");
        }
        for other in [
            r#"{"to":"+46701234567","text":"hi!","metadata":{"a":"1","b":"2"}}"#,
            r#"{"to":"+46701234567","text":"hi","metadata":{"a":"1","b":"3"}}"#,
            r#"{"to":"+46701234567","text":"hi"}"#,
        ] {
            assert_ne!(print(other), one, "{other}");
        }
    }

    #[test]
    fn the_canonical_form_has_sorted_keys() {
        let json = r#"{"ttl":60,"tracking":{"trigger_id":"t","campaign_id":"c"},"to":"+46701234567",
            "tags":["a"],"priority":"high","policy":{"on_ambiguous":"hold"},"from":"A","class":"otp",
            "plan":{"steps":[{"failover":{"on":["throttled"],"max_routes":2},"channel":"sms"}]},
            "content":{"text":"x","sms":{"text":"y","max_segments":3,"encoding":"auto"}},
            "client_ref":"r","callback":{"url":"u","types":["t"],"endpoint_id":"e"}}"#;
        let (request, _) = parse(json.as_bytes()).unwrap();
        let ours = serde_json::to_string(&request).unwrap();
        let sorted: serde_json::Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(
            ours,
            sorted.to_string(),
            "serde_json's own map is sorted by key"
        );
    }

    #[test]
    fn keys_are_scoped_by_tenant_and_place() {
        let key = |tenant, nth| of_batch(TenantIx(tenant), "k", nth, [0; 16]).key;
        assert_ne!(key(0, 0), key(1, 0));
        assert_ne!(key(0, 0), key(0, 1));
        assert_ne!(key(0, 1), key(0, 2));
        let single = of_message(TenantIx(0), "k", &Request::default());
        assert_eq!(single.key, key(0, 0), "one scope for singles and batches");
        assert_eq!(single.fingerprint, fingerprint(&Request::default()));
    }
}
