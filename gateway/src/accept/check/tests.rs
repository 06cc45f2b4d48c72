//! Tests of checking, and the door they and other tests go through.

use std::num::NonZeroU32;

use codecs::text::smart;
use sha2::{Digest, Sha256};
use smallvec::smallvec;

use super::*;
use crate::accept::CallbackTarget;
use crate::accept::request::{merge, parse};
use crate::accept::{
    Config, IngressRate, Key, Planned, Planner, PushRoutes, Scope, Scopes, Senders, Tenant, Why,
};
use crate::clock::Clock;
use crate::message::steps::Platform;
use crate::message::tlv::{TlvRefusal, TlvWhy};
use crate::message::{Encoding, EndpointIx, RouteIx, SmsOptions, Text};
use crate::names::Names;

mod push;
mod steps;

pub(crate) const NOW: UnixMs = UnixMs(1_795_248_000_000);

/// acme: senders ACME and 71234; umbrella: any sender, 10/s, keys required.
pub(crate) fn config() -> Config {
    let key = |name: &str, tenant, scopes: Scopes| Key {
        name: name.to_owned(),
        tenant,
        scopes,
        secret_sha256: Sha256::digest(format!("{name}-secret")).into(),
    };
    let send = Scopes::default()
        .with(Scope::MessagesWrite)
        .with(Scope::MessagesRead);
    let all = Scope::TABLE
        .iter()
        .fold(Scopes::default(), |all, row| all.with(row.0));
    let acme = Tenant {
        senders: Senders {
            any: false,
            listed: ["ACME", "71234", "pool:se-alerts"].map(Box::from).into(),
        },
        ..Tenant::default()
    };
    let umbrella = Tenant {
        senders: Senders {
            any: true,
            ..Senders::default()
        },
        ingress: Some(IngressRate {
            messages: NonZeroU32::new(10).unwrap(),
            per: Duration::from_secs(1),
            burst: NonZeroU32::new(20).unwrap(),
        }),
        require_idempotency: true,
    };
    let target = |endpoint, tenant, prefix: &str| CallbackTarget {
        endpoint: EndpointIx(endpoint),
        tenant: TenantIx(tenant),
        url_prefixes: vec![prefix.to_owned()],
    };
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: None,
        connections: 100,
        ndjson_streams: 2,
        batch_items: 1000,
        idempotency: Duration::from_secs(86_400),
        keys: vec![
            key("crm", Some(TenantIx(0)), send),
            key("umbrella", Some(TenantIx(1)), send),
            key("operator", None, all),
        ],
        tenants: vec![(TenantIx(0), acme), (TenantIx(1), umbrella)],
        callbacks: vec![
            target(0, 0, "https://crm.example/hooks"),
            target(1, 1, "https://umbrella.example/"),
        ],
    }
}

pub(crate) fn names() -> Names {
    let owned = |names: &[&str]| names.iter().copied().map(String::from).collect();
    Names {
        tenants: owned(&["acme", "umbrella"]),
        routes: owned(&["carrier-a", "carrier-b", "apns", "fcm"]),
        endpoints: owned(&["crm", "hive"]),
    }
}

/// Plans as one segment for each 160 characters; +999… has no route; `€` is not GSM-7 here. The apps
/// shop and lite have a route each on both platforms, the same.
pub(crate) fn planner() -> Planner {
    Planner::new(|request| {
        let units = request.data().map(<[u8]>::len);
        let units = units.unwrap_or_else(|| request.text().chars().count());
        let needed = units.div_ceil(160).max(1);
        if needed > usize::from(request.max_segments()) {
            return Err(PlanError::TooManySegments {
                needed,
                max: request.max_segments(),
            });
        }
        if request.encoding() == Some(Encoding::Gsm7) && request.text().contains('ж') {
            return Err(PlanError::NotRepresentable);
        }
        if let Some(place) = request.tlvs().iter().position(|tlv| tlv.name == "nobodys") {
            let why = TlvWhy::Unknown(RouteIx(1));
            return Err(PlanError::Tlv(TlvRefusal { place, why }));
        }
        let mut routes: smallvec::SmallVec<[RouteIx; 4]> =
            if request.to.to_string().starts_with("+999") {
                smallvec![]
            } else {
                smallvec![RouteIx(0), RouteIx(1)]
            };
        routes.truncate(request.max_routes);
        Ok(Planned {
            encoding: match request.data() {
                Some(_) => Encoding::Binary,
                None => request.encoding().unwrap_or_default(),
            },
            segments: u8::try_from(needed).unwrap(),
            sms: request.flash().then(|| {
                Box::new(SmsOptions {
                    flash: true,
                    udh: request.udh().into(),
                    ..SmsOptions::default()
                })
            }),
            why: Why {
                changed: request.smart().is_some(),
                replaced: request
                    .smart()
                    .map(|level| smart::apply(request.text(), level).1)
                    .unwrap_or_default(),
                rule: (!routes.is_empty()).then_some(0),
                ..Why::default()
            },
            text: request.smart().map(|_| request.text().replace('“', "\"")),
            routes,
        })
    })
    .with_push(|request| match (request.app, request.platform) {
        ("shop" | "lite", Platform::Ios) => push_route(2),
        ("shop" | "lite", Platform::Android) => push_route(3),
        _ => PushRoutes::default(),
    })
}

fn push_route(route: u16) -> PushRoutes {
    PushRoutes {
        routes: smallvec![RouteIx(route)],
        rule: Some(1),
        drawn: false,
    }
}

pub(crate) fn door() -> Door {
    Door::new(&config(), names().into(), planner(), Clock::manual(NOW))
}

fn check(json: &str) -> Result<Message, Problem> {
    let (mut request, mut errors) = parse(json.as_bytes())?;
    let sugar = merge::expand(&mut request, &mut errors);
    let origin = Origin {
        tenant: TenantIx(0),
        batch: None,
        traceparent: "",
        overrides: false,
        raw: false,
        now: NOW,
    };
    message(&door(), &request, sugar, errors, origin)
}

/// A good message with `fields` added.
fn with(fields: &str) -> Result<Message, Problem> {
    check(&format!(
        r#"{{"to":"+46701234567","from":"ACME","text":"hi",{fields}}}"#
    ))
}

fn errors(result: Result<Message, Problem>) -> Vec<(String, &'static str)> {
    let problem = result.unwrap_err();
    let pairs = problem
        .errors
        .into_iter()
        .map(|e| (e.pointer.unwrap(), e.code));
    pairs.collect()
}

fn one(result: Result<Message, Problem>, pointer: &str, code: &str) {
    assert_eq!(
        errors(result),
        [(pointer.to_owned(), &*code.to_owned().leak())]
    );
}

#[test]
fn the_short_form_takes_the_classes_defaults() {
    let message =
        check(r#"{"to":"+46701234567","from":"ACME","text":"hi","class":"otp"}"#).unwrap();
    assert_eq!(message.to.to_string(), "+46701234567");
    assert_eq!(message.text(Text::Body), "hi");
    assert_eq!(message.text(Text::From), "ACME");
    assert_eq!(
        (message.class, message.priority),
        (Class::Otp, Priority::High)
    );
    assert_eq!(message.expires_at, NOW.plus(Duration::from_secs(300)));
    assert_eq!(message.on_ambiguous, OnAmbiguous::Retry);
    assert_eq!(message.failover_on, FailoverOn::ALL);
    let plain = with(r#""tags":[]"#).unwrap();
    assert_eq!(
        (plain.class, plain.priority),
        (Class::Transactional, Priority::Normal)
    );
    assert_eq!(plain.expires_at, NOW.plus(Duration::from_secs(86_400)));
}

#[test]
fn promotional_holds_and_does_not_fail_over_without_an_answer() {
    let message = with(r#""class":"promotional""#).unwrap();
    assert_eq!(
        (message.on_ambiguous, message.priority),
        (OnAmbiguous::Hold, Priority::Low)
    );
    assert!(!message.failover_on.has(FailoverOn::NO_RESPONSE));
    assert!(message.failover_on.has(FailoverOn::TRANSIENT));
    assert_eq!(message.expires_at, NOW.plus(Duration::from_secs(14_400)));
    let retry = with(r#""class":"promotional","policy":{"on_ambiguous":"retry"}"#).unwrap();
    assert_eq!(retry.on_ambiguous, OnAmbiguous::Retry);
}

#[test]
fn the_full_form_is_read_whole() {
    let message = check(
        r#"{"to":{"phone":"+46701234567"},"from":"71234","class":"transactional","priority":"high",
            "content":{"text":"fallback","sms":{"text":"own","encoding":"ucs2","max_segments":2}},
            "plan":{"steps":[{"channel":"sms","failover":{"max_routes":1,"on":["throttled"]}}]},
            "ttl":14400,"tracking":{"trigger_id":"order.ready"},"client_ref":"r1","tags":["a","b-1"],
            "metadata":{"store":"S042","a":"\"q\""},"policy":{"on_ambiguous":"hold"},
            "callback":{"endpoint_id":"crm","types":["message.*","message.read"]}}"#,
    )
    .unwrap();
    assert_eq!(message.text(Text::Body), "own");
    assert_eq!(message.encoding, Encoding::Ucs2);
    assert_eq!(message.routes.as_slice(), [RouteIx(0)], "max_routes cuts");
    assert_eq!(message.failover_on, FailoverOn::THROTTLED);
    assert_eq!(message.text(Text::Tags), "a b-1");
    assert_eq!(
        message.text(Text::Metadata),
        r#"{"a":"\"q\"","store":"S042"}"#
    );
    assert_eq!(
        message.text(Text::Tracking),
        r#"{"trigger_id":"order.ready"}"#
    );
    assert_eq!(message.text(Text::ClientRef), "r1");
    assert_eq!(message.callback, Some(EndpointIx(0)));
    assert_eq!(message.text(Text::CallbackTypes), "message.* message.read");
    assert_eq!(message.on_ambiguous, OnAmbiguous::Hold);
}

#[test]
fn an_empty_request_misses_three_things() {
    assert_eq!(
        errors(check("{}")),
        [
            ("/to".into(), "required"),
            ("/from".into(), "required"),
            ("/text".into(), "required")
        ]
    );
}

#[test]
fn all_errors_come_at_once_and_shapes_are_not_told_twice() {
    assert_eq!(
        errors(check(
            r#"{"to":5,"from":"ACME","text":"x","ttl":1,"class":"vip","nope":true,"tags":["A B"]}"#
        )),
        [
            ("/nope".into(), "unknown_field"),
            ("/to".into(), "wrong_type"),
            ("/class".into(), "not_one_of"),
            ("/ttl".into(), "out_of_range"),
            ("/tags/0".into(), "invalid_tag"),
        ]
    );
}

#[test]
fn a_bad_recipient_is_its_own_problem() {
    for (json, pointer) in [
        (r#"{"to":"0701234567","from":"ACME","text":"x"}"#, "/to"),
        (
            r#"{"to":{"phone":"+12"},"from":"ACME","text":"x"}"#,
            "/to/phone",
        ),
    ] {
        let problem = check(json).unwrap_err();
        assert_eq!(problem.code, Code::InvalidRecipient);
        assert_eq!(problem.errors[0].pointer.as_deref(), Some(pointer));
        assert_eq!(problem.errors[0].code, "not_e164");
    }
    let missing = check(r#"{"to":{},"from":"ACME","text":"x"}"#).unwrap_err();
    assert_eq!(missing.errors[0].pointer.as_deref(), Some("/to/phone"));
}

#[test]
fn senders_are_on_the_list_or_403() {
    let problem = check(r#"{"to":"+46701234567","from":"EVIL","text":"x"}"#).unwrap_err();
    assert_eq!(
        (problem.code, problem.status().as_u16()),
        (Code::SenderNotAllowed, 403)
    );
    let pool = check(r#"{"to":"+46701234567","from":"pool:se-alerts","text":"x"}"#);
    assert_eq!(pool.unwrap_err().code, Code::SenderNotAllowed);
    let both = check(r#"{"to":"+46701234567","from":"EVIL","text":"x","ttl":1}"#).unwrap_err();
    assert_eq!(
        both.code,
        Code::InvalidRequest,
        "with another error it is one of two"
    );
    one(
        check(r#"{"to":"+46701234567","from":"","text":"x"}"#),
        "/from",
        "out_of_range",
    );
    one(
        check(r#"{"to":"+46701234567","from":"ABCDEFGHIJKLMNOPQRSTU","text":"x"}"#),
        "/from",
        "invalid_sender",
    );
    one(
        check(r#"{"to":"+46701234567","from":"Åsa","text":"x"}"#),
        "/from",
        "invalid_sender",
    );
}

#[test]
fn texts_have_a_length() {
    let to = r#""to":"+46701234567","from":"ACME""#;
    let long = "x".repeat(2001);
    one(
        check(&format!(r#"{{{to},"text":"{long}"}}"#)),
        "/text",
        "out_of_range",
    );
    one(
        check(&format!(r#"{{{to},"content":{{"text":"{long}"}}}}"#)),
        "/content/text",
        "out_of_range",
    );
    let longer = "x".repeat(3061);
    one(
        check(&format!(
            r#"{{{to},"content":{{"sms":{{"text":"{longer}"}}}}}}"#
        )),
        "/content/sms/text",
        "out_of_range",
    );
    let missing = check(&format!(r#"{{{to},"content":{{"sms":{{}}}}}}"#)).unwrap_err();
    assert_eq!(missing.code, Code::ContentMissing);
    assert_eq!(missing.errors[0].pointer.as_deref(), Some("/content/text"));
    let many = "å".repeat(2000);
    assert!(
        check(&format!(
            r#"{{{to},"content":{{"text":"{many}","sms":{{"max_segments":20}}}}}}"#
        ))
        .is_ok(),
        "characters are counted, not bytes"
    );
}

#[test]
fn segments_are_bounded_by_the_request() {
    let text = "x".repeat(161);
    let problem = check(&format!(
        r#"{{"to":"+46701234567","from":"ACME",
            "content":{{"text":"{text}","sms":{{"max_segments":1}}}}}}"#
    ))
    .unwrap_err();
    assert_eq!(problem.code, Code::TooManySegments);
    assert_eq!(problem.errors[0].pointer.as_deref(), Some("/content/text"));
    for bad in ["0", "21", "-1"] {
        let json = format!(
            r#"{{"to":"+46701234567","from":"ACME",
                "content":{{"text":"x","sms":{{"max_segments":{bad}}}}}}}"#
        );
        one(check(&json), "/content/sms/max_segments", "out_of_range");
    }
}

#[test]
fn encodings_are_those_of_this_version() {
    let sms = |sms: &str| {
        check(&format!(
            r#"{{"to":"+46701234567","from":"ACME","content":{{"text":"ж","sms":{sms}}}}}"#
        ))
    };
    assert_eq!(
        sms(r#"{"encoding":"ucs2"}"#).unwrap().encoding,
        Encoding::Ucs2
    );
    assert!(sms(r#"{"encoding":"auto"}"#).is_ok());
    one(
        sms(r#"{"encoding":"gsm7"}"#),
        "/content/sms/encoding",
        "not_representable",
    );
    one(
        sms(r#"{"encoding":"utf8"}"#),
        "/content/sms/encoding",
        "not_one_of",
    );
    assert_eq!(
        sms(r#"{"encoding":"binary"}"#).unwrap_err().code,
        Code::ContentMissing
    );
}

fn sms(sms: &str) -> Result<Message, Problem> {
    check(&format!(
        r#"{{"to":"+46701234567","from":"ACME","content":{{"sms":{sms}}}}}"#
    ))
}

#[test]
fn octets_are_read_and_kept_as_base64() {
    let message =
        sms(r#"{"data":"AAEC/w==","encoding":"binary","udh":"BgUEC4QAAA==","flash":true}"#);
    let message = message.unwrap();
    assert_eq!(message.text(Text::Body), "AAEC/w==");
    let options = message.sms.unwrap();
    assert!(options.flash);
    assert_eq!(
        *options.udh,
        [5, 4, 0x0b, 0x84, 0, 0],
        "without its length octet"
    );
    assert!(
        sms(r#"{"data":"AA=="}"#).is_ok(),
        "the encoding follows from it"
    );
    let long = "A".repeat(3576 + 4);
    for (bad, at, code) in [
        (r#"{"data":"@"}"#, "data", "not_base64"),
        (r#"{"data":""}"#, "data", "out_of_range"),
        (&format!(r#"{{"data":"{long}"}}"#), "data", "out_of_range"),
        (r#"{"data":"AA==","text":"x"}"#, "data", "exclusive"),
        (
            r#"{"data":"AA==","encoding":"ucs2"}"#,
            "encoding",
            "exclusive",
        ),
        (
            r#"{"data":"AA==","on_too_long":"truncate"}"#,
            "on_too_long",
            "exclusive",
        ),
        (
            r#"{"data":"AA==","smart_encoding":"safe"}"#,
            "smart_encoding",
            "exclusive",
        ),
        (r#"{"text":"x","udh":"AA=="}"#, "udh", "exclusive"),
        (r#"{"data":"AA==","udh":"BQAD"}"#, "udh", "invalid_udh"),
        (r#"{"data":"AA==","udh":"AgDI"}"#, "udh", "invalid_udh"),
        (r#"{"data":"AA==","udh":"AQ"}"#, "udh", "not_base64"),
    ] {
        one(sms(bad), &format!("/content/sms/{at}"), code);
    }
    // A part of something may not be cut again.
    let concat = "BQADBwIB";
    assert!(sms(&format!(r#"{{"data":"AA==","udh":"{concat}"}}"#)).is_ok());
    let data = "A".repeat(400);
    let cut = sms(&format!(r#"{{"data":"{data}","udh":"{concat}"}}"#));
    one(cut, "/content/sms/udh", "exclusive");
}

#[test]
fn texts_may_be_changed_only_as_the_client_allows() {
    let message = sms(r#"{"text":"“hi","smart_encoding":"safe"}"#).unwrap();
    assert_eq!(
        message.text(Text::Body),
        "\"hi",
        "what is sent is what is kept"
    );
    for (bad, at, code) in [
        (
            r#"{"text":"x","smart_encoding":"on"}"#,
            "smart_encoding",
            "not_one_of",
        ),
        (
            r#"{"text":"x","smart_encoding":"safe","encoding":"gsm7"}"#,
            "smart_encoding",
            "exclusive",
        ),
        (
            r#"{"text":"x","on_too_long":"cut"}"#,
            "on_too_long",
            "not_one_of",
        ),
        (r#"{"text":"x","flash":"yes"}"#, "flash", "wrong_type"),
    ] {
        one(sms(bad), &format!("/content/sms/{at}"), code);
    }
}

#[test]
fn what_says_its_default_is_the_same_request_to_a_key() {
    let canonical = |sms: &str| {
        let json = format!(r#"{{"to":"+46701234567","content":{{"text":"x","sms":{sms}}}}}"#);
        serde_json::to_string(&parse(json.as_bytes()).unwrap().0).unwrap()
    };
    let plain = canonical("{}");
    let defaults = r#"{"smart_encoding":"off","flash":false,"on_too_long":"reject"}"#;
    assert_eq!(canonical(defaults), plain);
    for other in [
        r#"{"flash":true}"#,
        r#"{"smart_encoding":"safe"}"#,
        r#"{"on_too_long":"truncate"}"#,
    ] {
        assert_ne!(canonical(other), plain);
    }
}

#[test]
fn lifetimes_have_a_range() {
    assert_eq!(
        with(r#""ttl":10"#).unwrap().expires_at,
        NOW.plus(Duration::from_secs(10))
    );
    for bad in ["9", "0", "-5", "2419201"] {
        one(with(&format!(r#""ttl":{bad}"#)), "/ttl", "out_of_range");
    }
    let at = NOW.plus(Duration::from_millis(1_500));
    assert_eq!(
        with(&format!(r#""expires_at":"{at}""#)).unwrap().expires_at,
        at
    );
    let past = with(&format!(r#""expires_at":"{NOW}""#)).unwrap_err();
    assert_eq!(past.code, Code::ExpiresBeforeSend);
    one(
        with(r#""expires_at":"tomorrow""#),
        "/expires_at",
        "not_rfc3339",
    );
    one(
        with(r#""expires_at":"2026-11-21T09:00:00+01:00""#),
        "/expires_at",
        "not_rfc3339",
    );
    one(
        with(r#""expires_at":"2999-01-01T00:00:00Z""#),
        "/expires_at",
        "out_of_range",
    );
    let both = with(&format!(r#""ttl":60,"expires_at":"{at}""#));
    one(both, "/ttl", "exclusive");
}

#[test]
fn tags_have_an_alphabet_and_a_number() {
    let many: Vec<String> = (0..11).map(|n| format!("\"t{n}\"")).collect();
    one(
        with(&format!(r#""tags":[{}]"#, many.join(","))),
        "/tags",
        "out_of_range",
    );
    assert!(with(&format!(r#""tags":[{}]"#, many[..10].join(","))).is_ok());
    let long = "x".repeat(65);
    for bad in ["", "A", "a b", "å", &long] {
        one(
            with(&format!(r#""tags":["ok","{bad}"]"#)),
            "/tags/1",
            "invalid_tag",
        );
    }
}

#[test]
fn metadata_has_limits() {
    let keys = |n: usize, value: &str| -> String {
        let all: Vec<String> = (0..n).map(|i| format!("\"k{i}\":\"{value}\"")).collect();
        format!("\"metadata\":{{{}}}", all.join(","))
    };
    assert!(with(&keys(20, "v")).is_ok());
    one(with(&keys(21, "v")), "/metadata", "out_of_range");
    one(
        with(&keys(20, &"v".repeat(400))),
        "/metadata",
        "out_of_range",
    );
    let long = "v".repeat(501);
    one(
        with(&format!(r#""metadata":{{"a":"{long}"}}"#)),
        "/metadata/a",
        "out_of_range",
    );
    let key = "k".repeat(41);
    let at = format!("/metadata/{key}");
    one(
        with(&format!(r#""metadata":{{"{key}":"v"}}"#)),
        &at,
        "out_of_range",
    );
    one(
        with(r#""metadata":{"a":"1","a":"2"}"#),
        "/metadata/a",
        "duplicate_key",
    );
    one(with(r#""metadata":{"a":1}"#), "/metadata/a", "wrong_type");
    assert_eq!(with(r#""metadata":{}"#).unwrap().text(Text::Metadata), "");
}

#[test]
fn tracking_and_reference_have_lengths() {
    let long = "x".repeat(129);
    one(
        with(&format!(r#""tracking":{{"journey_id":"{long}"}}"#)),
        "/tracking/journey_id",
        "out_of_range",
    );
    assert_eq!(with(r#""tracking":{}"#).unwrap().text(Text::Tracking), "");
    let long = "x".repeat(256);
    one(
        with(&format!(r#""client_ref":"{long}""#)),
        "/client_ref",
        "out_of_range",
    );
}

#[test]
fn callbacks_stay_within_the_tenant() {
    let callback = |json: &str| with(&format!(r#""callback":{json}"#));
    let by_url = callback(r#"{"url":"https://crm.example/hooks/42?x=1"}"#).unwrap();
    assert_eq!(by_url.callback, Some(EndpointIx(0)));
    assert_eq!(
        by_url.text(Text::CallbackUrl),
        "https://crm.example/hooks/42?x=1"
    );
    one(
        callback(r#"{"endpoint_id":"hive"}"#),
        "/callback/endpoint_id",
        "unknown_endpoint",
    );
    for url in [
        "https://crm.example/hooksandmore",
        "https://umbrella.example/x",
        "https://crm.example/hooks/../admin",
        "https://crm.example/hooks@evil.example/",
        "http://crm.example/hooks",
        "https://crm.example/hooks/ü",
    ] {
        one(
            callback(&format!(r#"{{"url":"{url}"}}"#)),
            "/callback/url",
            "url_not_registered",
        );
    }
    one(callback("{}"), "/callback", "required");
    one(
        callback(r#"{"endpoint_id":"crm","url":"https://crm.example/hooks"}"#),
        "/callback/url",
        "exclusive",
    );
    one(
        callback(r#"{"endpoint_id":"crm","types":["message.sent","message.lost"]}"#),
        "/callback/types/1",
        "unknown_event_type",
    );
    one(
        callback(r#"{"endpoint_id":"crm","types":[]}"#),
        "/callback/types",
        "out_of_range",
    );
}

#[test]
fn words_that_are_not_the_contracts_are_refused() {
    one(with(r#""priority":"urgent""#), "/priority", "not_one_of");
    one(
        with(r#""policy":{"on_ambiguous":"maybe"}"#),
        "/policy/on_ambiguous",
        "not_one_of",
    );
}

#[test]
fn no_route_is_no_error_here() {
    let message = check(r#"{"to":"+9990000001","from":"ACME","text":"x"}"#).unwrap();
    assert!(message.routes.is_empty(), "the store makes it rejected");
}

#[test]
fn traceparents_are_kept_only_when_well_formed() {
    let read = |values: &[&str]| {
        let mut headers = hyper::HeaderMap::new();
        for value in values {
            headers.append("traceparent", value.parse().unwrap());
        }
        traceparent(&headers).map(str::to_owned)
    };
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(read(&[good]).as_deref(), Some(good));
    assert_eq!(read(&[good, good]), None, "said twice");
    for bad in [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
    ] {
        assert_eq!(read(&[bad]), None, "{bad}");
    }
}

#[test]
fn the_longest_possible_message_fits_its_texts() {
    let metadata: Vec<String> = (0..20)
        .map(|i| format!("\"k{i}\":\"{}\"", "v".repeat(190)))
        .collect();
    let text = "\u{10FFFF}".repeat(2000);
    let json = format!(
        r#"{{"to":"+46701234567","from":"ACME","client_ref":"{}","metadata":{{{}}},
            "tracking":{{"trigger_id":"{t}","journey_id":"{t}","journey_step":"{t}","campaign_id":"{t}",
            "template_id":"{t}","template_version":"{t}","correlation_id":"{t}"}},
            "content":{{"text":"{text}","sms":{{"max_segments":20}}}}}}"#,
        "\u{10FFFF}".repeat(255),
        metadata.join(","),
        t = "\u{10FFFF}".repeat(128),
    );
    assert!(check(&json).is_ok());
}

#[test]
fn to_ignore_suppressions_takes_a_scope() {
    let ignore =
        r#"{"to":"+46701234567","from":"ACME","text":"x","policy":{"suppressions":"ignore"}}"#;
    let problem = check(ignore).unwrap_err();
    assert_eq!(
        (problem.code, problem.status().as_u16()),
        (Code::OverrideNotAllowed, 403)
    );
    let respect = ignore.replace("ignore", "respect");
    assert!(!check(&respect).unwrap().policy.ignores_suppressions);
    let wrong = ignore.replace("ignore", "forget");
    assert_eq!(check(&wrong).unwrap_err().code, Code::InvalidRequest);
    let (mut request, mut errors) = parse(ignore.as_bytes()).unwrap();
    let sugar = merge::expand(&mut request, &mut errors);
    let origin = Origin {
        tenant: TenantIx(0),
        batch: None,
        traceparent: "",
        overrides: true,
        raw: false,
        now: NOW,
    };
    let message = message(&door(), &request, sugar, errors, origin).unwrap();
    assert!(message.policy.ignores_suppressions);
}
