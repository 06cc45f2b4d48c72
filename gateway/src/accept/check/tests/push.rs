//! Whom a push goes to, what it says, and how it is kept.

use proptest::prelude::*;

use super::*;
use crate::accept::idempotency;
use crate::message::PushContent;
use crate::message::steps::PushTarget;

pub(super) const IOS: &str = r#"{"platform":"ios","app":"shop","token":"AB01"}"#;
pub(super) const ANDROID: &str = r#"{"platform":"android","app":"shop","token":"fcm:x"}"#;

/// A push to `to` that says `content`.
pub(super) fn push_to(to: &str, content: &str) -> Result<Message, Problem> {
    check(&format!(r#"{{"to":{{{to}}},"content":{{{content}}}}}"#))
}

fn says(push: &str) -> Result<Message, Problem> {
    push_to(
        &format!(r#""devices":[{IOS},{ANDROID}]"#),
        &format!(r#""push":{push}"#),
    )
}

fn to_devices(devices: &str) -> Result<Message, Problem> {
    push_to(&format!(r#""devices":[{devices}]"#), r#""text":"hi""#)
}

#[test]
fn each_device_is_a_part_in_the_leg_of_its_routes() {
    let device = |platform: &str, app: &str, token: &str| {
        format!(
            r#"{{"platform":"{platform}","app":"{app}","token":"{token}",
                "registered_at":"2026-01-02T03:04:05Z"}}"#
        )
    };
    let devices = [
        device("ios", "shop", "AB01"),
        device("android", "shop", "a:1"),
        device("ios", "news", "ab02"),
        device("ios", "lite", "ab03"),
        device("ios", "shop", "ab04"),
    ];
    let message = to_devices(&devices.join(",")).unwrap();
    let legs: Vec<_> = message.legs().collect();
    let seen: Vec<_> = legs.iter().map(|l| (l.first, l.count, l.routes)).collect();
    assert_eq!(
        seen,
        [
            (0, 3, &[RouteIx(2)][..]),
            (3, 1, &[RouteIx(3)][..]),
            (4, 1, &[][..]),
        ],
        "what shares its routes is one leg; what has none is another"
    );
    let tokens: Vec<_> = (0..5)
        .map(|part| message.device(part).unwrap().token.to_string())
        .collect();
    assert_eq!(tokens, ["ab01", "ab03", "ab04", "a:1", "ab02"]);
    let at = timestamp("2026-01-02T03:04:05Z").unwrap();
    assert_eq!(message.device(0).unwrap().registered_at, at);
    assert!(message.routes.is_empty());
    assert_eq!(message.part_count(), 5);
    assert_eq!(message.refused(), None);
}

#[test]
fn a_push_without_a_route_is_accepted_for_policy_to_reject() {
    let lost = IOS.replace("shop", "nobodys");
    let message = to_devices(&lost).unwrap();
    assert_eq!(message.refused(), Some(crate::outcome::Reason::NoRoute));
    let plan = r#""plan":{"steps":[{"channel":"push"},{"channel":"sms"}]}"#;
    let message = check(&format!(
        r#"{{"to":{{"phone":"+46701234567","devices":[{lost}]}},"from":"ACME","text":"hi",{plan}}}"#
    ));
    assert_eq!(message.unwrap().first_step(), Some(1), "it falls back");
}

#[test]
fn a_registration_to_come_is_refused_but_for_clocks_that_are_ahead() {
    let at = |time: &str| {
        let more = format!(r#","registered_at":"{time}"}}"#);
        to_devices(&IOS.replace('}', &more))
    };
    let given = "2026-11-21T08:05:00Z";
    let message = at(given).unwrap();
    let registered_at = message.device(0).unwrap().registered_at;
    assert_eq!(Some(registered_at), timestamp(given), "as given");
    let place = "/to/devices/0/registered_at";
    one(at("2026-11-21T08:05:01Z"), place, "out_of_range");
}

#[test]
fn each_wrong_device_is_told_where_it_stands() {
    for (device, field, code) in [
        (r#"{"app":"a","token":"ab"}"#, "platform", "required"),
        (
            r#"{"platform":"palm","app":"a","token":"ab"}"#,
            "platform",
            "not_one_of",
        ),
        (
            r#"{"platform":"web","app":"a","token":"ab"}"#,
            "platform",
            "channel_not_enabled",
        ),
        (r#"{"platform":"ios","token":"ab"}"#, "app", "required"),
        (
            r#"{"platform":"ios","app":"","token":"ab"}"#,
            "app",
            "out_of_range",
        ),
        (r#"{"platform":"ios","app":"a"}"#, "token", "required"),
        (
            r#"{"platform":"ios","app":"a","token":"abc"}"#,
            "token",
            "invalid_token",
        ),
        (
            r#"{"platform":"ios","app":"a","token":"xy"}"#,
            "token",
            "invalid_token",
        ),
        (
            r#"{"platform":"android","app":"a","token":"a b"}"#,
            "token",
            "invalid_token",
        ),
        (
            r#"{"platform":"ios","app":"a","token":"ab","registered_at":"soon"}"#,
            "registered_at",
            "not_rfc3339",
        ),
        (
            r#"{"platform":"ios","app":"a","token":"ab","os":1}"#,
            "os",
            "unknown_field",
        ),
        (
            r#"{"platform":"ios","app":"a","token":7}"#,
            "token",
            "wrong_type",
        ),
    ] {
        let result = to_devices(&format!("{ANDROID},{device}"));
        one(result, &format!("/to/devices/1/{field}"), code);
    }
    let long = "a".repeat(65);
    one(
        to_devices(&IOS.replace("shop", &long)),
        "/to/devices/0/app",
        "out_of_range",
    );
    let web = to_devices(&IOS.replace("ios", "web")).unwrap_err();
    assert_eq!(web.code, Code::ChannelNotEnabled);
    let secret = to_devices(&IOS.replace("AB01", "SECRET")).unwrap_err();
    assert!(!format!("{secret:?}").contains("SECRET"), "tokens stay out");
}

#[test]
fn a_device_comes_once_and_they_are_ten_at_most() {
    let twice = format!("{IOS},{ANDROID},{}", IOS.to_lowercase());
    one(
        to_devices(&twice),
        "/to/devices/2/token",
        "duplicate_device",
    );
    one(to_devices(""), "/to/devices", "out_of_range");
    let many: Vec<_> = (10..21)
        .map(|n| IOS.replace("AB01", &n.to_string()))
        .collect();
    one(to_devices(&many.join(",")), "/to/devices", "out_of_range");
    assert!(to_devices(&many[..10].join(",")).is_ok());
    one(
        push_to(r#""devices":"ab01""#, r#""text":"hi""#),
        "/to/devices",
        "wrong_type",
    );
}

#[test]
fn topics_and_conditions_stand_instead_of_devices() {
    let to = |to: &str| push_to(to, r#""text":"hi""#);
    let topic = to(r#""topic":"news","app":"shop""#).unwrap();
    let steps = topic.steps.as_ref().unwrap();
    assert_eq!(steps.push, Some(PushTarget::Topic("news".into())));
    assert_eq!(topic.part_count(), 1);
    assert_eq!(topic.leg(0).unwrap().routes, [RouteIx(3)]);
    let condition = to(r#""condition":"'a' in topics","app":"shop""#).unwrap();
    let steps = condition.steps.as_ref().unwrap();
    let kept = PushTarget::Condition("'a' in topics".into());
    assert_eq!(steps.push, Some(kept));
    one(to(r#""topic":"news""#), "/to/app", "required");
    one(to(r#""topic":"","app":"a""#), "/to/topic", "invalid");
    one(to(r#""topic":"a b","app":"a""#), "/to/topic", "invalid");
    let long = "t".repeat(257);
    let long = format!(r#""topic":"{long}","app":"a""#);
    one(to(&long), "/to/topic", "invalid");
    one(
        to(r#""condition":"a in topics","app":"a""#),
        "/to/condition",
        "invalid",
    );
    one(
        to(r#""topic":"a","condition":"'a' in topics","app":"a""#),
        "/to/condition",
        "exclusive",
    );
    for other in [r#""topic":"t""#, r#""condition":"c""#, r#""app":"a""#] {
        let field = other.split('"').nth(1).unwrap();
        let result = to(&format!(r#""devices":[{IOS}],{other}"#));
        one(result, &format!("/to/{field}"), "exclusive");
    }
    let lone = check(r#"{"to":{"phone":"+46701234567","app":"a"},"from":"ACME","text":"x"}"#);
    one(lone, "/to/app", "exclusive");
}

#[test]
fn what_is_pushed_is_kept_in_one_form() {
    let message = says(
        r#"{"title":"Ready","body":"Order 1182","image_url":"https://s.example/o.png",
            "deep_link":"shop://o/1182","data":{"z":"1","order":"1182"},"collapse_key":"o-1182",
            "sound":"default","badge":3,"category":"ORDER","thread_id":"orders","silent":false,
            "push_type":"alert","apns":{"aps":{"interruption-level":"active"}},
            "fcm":{"android":{"ttl":"60s"}}}"#,
    )
    .unwrap();
    let json = concat!(
        r#"{"apns":{"aps":{"interruption-level":"active"}},"badge":3,"body":"Order 1182","#,
        r#""category":"ORDER","collapse_key":"o-1182","data":{"order":"1182","z":"1"},"#,
        r#""deep_link":"shop://o/1182","fcm":{"android":{"ttl":"60s"}},"#,
        r#""image_url":"https://s.example/o.png","push_type":"alert","sound":"default","#,
        r#""thread_id":"orders","title":"Ready"}"#
    );
    assert_eq!(message.text(Text::Push), json);
    let kept = PushContent::parse(json).unwrap();
    assert!(kept.content().apns().is_ok());
}

#[test]
fn the_text_stands_where_a_push_that_shows_any_has_no_body() {
    let push = |push: &str| {
        let content = format!(r#""text":"hi","push":{push}"#);
        push_to(&format!(r#""devices":[{IOS},{ANDROID}]"#), &content)
    };
    let kept = |json: &str| push(json).unwrap().text(Text::Push).to_owned();
    assert_eq!(kept(r#"{"title":"T"}"#), r#"{"body":"hi","title":"T"}"#);
    assert_eq!(kept(r#"{"body":"own"}"#), r#"{"body":"own"}"#);
    assert_eq!(kept(r#"{"silent":true}"#), r#"{"silent":true}"#);
}

/// A push that is refused for one reason only, at `field` of `content.push`.
fn refused(push: &str, field: &str, code: &'static str) {
    let problem = says(push).unwrap_err();
    let told: Vec<_> = problem
        .errors
        .iter()
        .map(|e| (e.pointer.clone(), e.code))
        .collect();
    let at = format!("/content/push{field}");
    assert_eq!(told, [(Some(at), code)], "{push}");
    assert_eq!(problem.code, Code::InvalidRequest, "{push}");
}

#[test]
fn each_wrong_field_of_a_push_is_told_where_it_stands() {
    let (long, longer) = ("x".repeat(257), "x".repeat(2_001));
    let link = format!("https://{}", "x".repeat(2_041));
    refused(
        &format!(r#"{{"title":"{long}"}}"#),
        "/title",
        "out_of_range",
    );
    refused(r#"{"title":""}"#, "/title", "out_of_range");
    refused(
        &format!(r#"{{"body":"{longer}"}}"#),
        "/body",
        "out_of_range",
    );
    refused(
        &format!(r#"{{"title":"a","sound":"{long}"}}"#),
        "/sound",
        "out_of_range",
    );
    refused(
        &format!(r#"{{"title":"a","category":"{long}"}}"#),
        "/category",
        "out_of_range",
    );
    refused(
        &format!(r#"{{"title":"a","thread_id":"{long}"}}"#),
        "/thread_id",
        "out_of_range",
    );
    refused(
        &format!(r#"{{"title":"a","collapse_key":"{}"}}"#, "x".repeat(65)),
        "/collapse_key",
        "out_of_range",
    );
    refused(
        r#"{"title":"a","image_url":"http://x/"}"#,
        "/image_url",
        "invalid_url",
    );
    refused(
        &format!(r#"{{"title":"a","image_url":"{link}"}}"#),
        "/image_url",
        "out_of_range",
    );
    refused(
        r#"{"title":"a","deep_link":"a b"}"#,
        "/deep_link",
        "invalid_url",
    );
    refused(r#"{"title":"a","badge":-1}"#, "/badge", "out_of_range");
    refused(
        r#"{"title":"a","push_type":"loud"}"#,
        "/push_type",
        "not_one_of",
    );
    refused(r#"{"title":"a","silent":true}"#, "/title", "exclusive");
    refused(
        r#"{"silent":true,"push_type":"voip"}"#,
        "/silent",
        "exclusive",
    );
    refused(
        r#"{"title":"a","colour":"red"}"#,
        "/colour",
        "unknown_field",
    );
}

#[test]
fn a_collapse_key_that_is_no_header_s_value_is_refused() {
    // The push could never be written.
    for key in ["a\\r\\nb", " a", "a ", "\\u0085"] {
        refused(
            &format!(r#"{{"title":"a","collapse_key":"{key}"}}"#),
            "/collapse_key",
            "invalid_value",
        );
    }
}

#[test]
fn what_a_service_would_refuse_is_told_where_it_stands() {
    refused(
        r#"{"title":"a","data":{"from":"x"}}"#,
        "/data/from",
        "reserved_key",
    );
    refused(
        r#"{"title":"a","data":{"a/b":"x","a/b":"y"}}"#,
        "/data/a~1b",
        "duplicate_key",
    );
    refused(r#"{"title":"a","data":{"n":1}}"#, "/data/n", "wrong_type");
    refused(
        r#"{"title":"a","apns":{"aps":{"badge":"3"}}}"#,
        "/apns/aps/badge",
        "invalid_value",
    );
    refused(
        r#"{"title":"a","apns":{"aps":{"badge":3,"badge":4}}}"#,
        "/apns/aps/badge",
        "duplicate_key",
    );
    refused(r#"{"title":"a","apns":7}"#, "/apns", "wrong_type");
    refused(
        r#"{"title":"a","fcm":{"validate_only":true}}"#,
        "/fcm/validate_only",
        "not_allowed_here",
    );
    refused(
        r#"{"fcm":{"message":{"notification":{"title":"a"}}},"title":"b"}"#,
        "/fcm/message",
        "not_allowed_here",
    );
    refused(
        r#"{"title":"a","fcm":{"token":"x"}}"#,
        "/fcm/token",
        "not_allowed_here",
    );
    refused(
        r#"{"title":"a","fcm":{"android":{"ttl":"long"}}}"#,
        "/fcm/android/ttl",
        "invalid_value",
    );
    refused(
        r#"{"title":"a","fcm":{"android":{"data":{"google.x":"y"}}}}"#,
        "/fcm/android/data/google.x",
        "reserved_key",
    );
    refused(
        r#"{"title":"a","fcm":{"data":{"n":1}}}"#,
        "/fcm/data/n",
        "wrong_type",
    );
    refused(
        &format!(r#"{{"title":"a","apns":{{"x":"{}"}}}}"#, "x".repeat(8_192)),
        "/apns",
        "out_of_range",
    );
}

#[test]
fn a_payload_that_is_too_large_says_for_whom_and_by_how_much() {
    let data =
        |octets: usize| format!(r#"{{"title":"a","data":{{"k":"{}"}}}}"#, "x".repeat(octets));
    let problem = says(&data(5_000)).unwrap_err();
    assert_eq!(problem.code, Code::PayloadTooLarge);
    let told: Vec<_> = problem
        .errors
        .iter()
        .map(|e| (e.pointer.as_deref(), e.code))
        .collect();
    assert_eq!(told, [(Some("/content/push"), "payload_too_large"); 2]);
    let details: Vec<_> = problem.errors.iter().map(|e| &*e.detail).collect();
    assert!(
        details[0].contains("for APNs, which takes 4096"),
        "{details:?}"
    );
    assert!(details[1].contains("5007 octets for FCM"), "{details:?}");
    // Apple counts the JSON, Google keys and values.
    let only_apple = says(&data(4_080)).unwrap_err();
    assert_eq!(only_apple.errors.len(), 1);
    assert!(only_apple.errors[0].detail.contains("APNs"));
    assert!(says(&data(4_000)).is_ok());
    let topic = push_to(
        r#""topic":"news","app":"shop""#,
        &format!(r#""push":{}"#, data(2_100)),
    );
    assert!(topic.unwrap_err().errors[0].detail.contains("takes 2048"));
}

#[test]
fn a_push_says_something() {
    let problem = says("{}").unwrap_err();
    assert_eq!(problem.code, Code::ContentMissing);
    assert_eq!(problem.errors[0].pointer.as_deref(), Some("/content/push"));
    assert_eq!(problem.errors.len(), 1);
    let nothing = check(&format!(
        r#"{{"to":{{"devices":[{IOS}]}},"channel":"push"}}"#
    ));
    assert_eq!(nothing.unwrap_err().code, Code::ContentMissing);
}

#[test]
fn what_a_push_does_not_go_to_is_checked_and_not_kept() {
    let sms = |more: &str| {
        check(&format!(
            r#"{{"to":"+46701234567","from":"ACME","content":{{"text":"hi","push":{more}}}}}"#
        ))
    };
    assert_eq!(sms(r#"{"title":"a"}"#).unwrap().text(Text::Push), "");
    one(
        sms(r#"{"badge":-1}"#),
        "/content/push/badge",
        "out_of_range",
    );
}

/// The key and fingerprint of a request.
fn print(json: &str) -> String {
    let (mut request, mut errors) = parse(json.as_bytes()).unwrap();
    merge::expand(&mut request, &mut errors);
    assert_eq!(errors, []);
    let key = idempotency::of_message(TenantIx(0), "k", &request);
    format!("{key:?}")
}

#[test]
fn fingerprints_cover_every_field_of_a_push_and_no_default() {
    let of = |to: &str, push: &str, steps: &str| {
        print(&format!(
            r#"{{"to":{{{to}}},"content":{{"push":{push}}},"plan":{{"steps":[{steps}]}}}}"#
        ))
    };
    let device = format!(r#""devices":[{IOS}]"#);
    let step = r#"{"channel":"push"}"#;
    let base = of(&device, r#"{"title":"a"}"#, step);
    let mut seen = vec![base.clone()];
    for field in [
        r#""apns":{"x":1}"#,
        r#""badge":1"#,
        r#""body":"b""#,
        r#""category":"c""#,
        r#""collapse_key":"k""#,
        r#""data":{"a":"b"}"#,
        r#""deep_link":"a:b""#,
        r#""fcm":{"x":1}"#,
        r#""image_url":"https://x""#,
        r#""push_type":"voip""#,
        r#""silent":true"#,
        r#""sound":"s""#,
        r#""thread_id":"t""#,
    ] {
        seen.push(of(&device, &format!(r#"{{"title":"a",{field}}}"#), step));
    }
    for to in [
        format!(r#""devices":[{ANDROID}]"#),
        format!(r#""devices":[{}]"#, IOS.replace("shop", "lite")),
        format!(r#""devices":[{}]"#, IOS.replace("AB01", "AB02")),
        format!(
            r#""devices":[{}]"#,
            IOS.replace('}', r#","registered_at":"2026-01-01T00:00:00Z"}"#)
        ),
        r#""topic":"t","app":"a""#.into(),
        r#""topic":"t","app":"b""#.into(),
        r#""condition":"t","app":"a""#.into(),
    ] {
        seen.push(of(&to, r#"{"title":"a"}"#, step));
    }
    for step in [
        r#"{"channel":"push","on":["rejected"]}"#,
        r#"{"channel":"push"},{"channel":"sms"}"#,
    ] {
        seen.push(of(&device, r#"{"title":"a"}"#, step));
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "each is another request");
    let empty = r#"{"title":"a","silent":false,"data":{},"apns":{},"fcm":{},"body":null}"#;
    assert_eq!(of(&device, empty, step), base);
    let said = r#"{"channel":"push","until":"sent","on":["undelivered","no_route","rejected"]}"#;
    assert_eq!(of(&device, r#"{"title":"a"}"#, said), base);
}

/// Any JSON, with words of the contract among its names and texts.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let words = [
        "to",
        "devices",
        "platform",
        "ios",
        "android",
        "app",
        "token",
        "ab",
        "topic",
        "content",
        "push",
        "title",
        "data",
        "apns",
        "fcm",
        "aps",
        "alert",
        "android",
        "ttl",
        "plan",
        "steps",
        "channel",
        "sms",
        "on",
        "rejected",
        "silent",
        "push_type",
        "voip",
        "text",
        "phone",
        "+46701234567",
        "from",
        "ACME",
        "badge",
        "2026-01-01T00:00:00Z",
        "a/~b",
        "",
    ];
    let word = move || proptest::sample::select(words.to_vec()).prop_map(String::from);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        word().prop_map(Into::into),
        ".{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(word(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_does_more_than_be_refused(
        to in json(), push in json(), plan in json(), any in json(),
    ) {
        drop(check(&any.to_string()));
        let sound_to = serde_json::json!({"devices": [{"platform": "ios", "app": "shop", "token": "ab"}]});
        let sound_push = serde_json::json!({"title": "a"});
        let one_step = serde_json::json!({"steps": [{"channel": "push"}]});
        for request in [
            serde_json::json!({"to": to, "content": {"push": sound_push}, "plan": one_step}),
            serde_json::json!({"to": sound_to, "content": {"push": push}, "plan": one_step}),
            serde_json::json!({"to": sound_to, "content": {"push": sound_push}, "plan": {"steps": [plan]}}),
            serde_json::json!({"to": sound_to, "content": {"push": {"title": "a", "apns": {"aps": push}}}}),
            serde_json::json!({"to": sound_to, "content": {"push": {"title": "a", "fcm": {"data": push}}}}),
        ] {
            if let Ok(message) = check(&request.to_string()) {
                // What was accepted can be sent: its payloads are made as they were at the check.
                if let Some(PushTarget::Devices(devices)) = message.steps.as_ref().and_then(|s| s.push.as_ref()) {
                    let kept = PushContent::parse(message.text(Text::Push)).unwrap();
                    prop_assert_eq!(usize::from(message.part_count()), devices.len());
                    if devices.iter().any(|device| device.platform == Platform::Ios) {
                        prop_assert!(kept.content().apns().is_ok());
                    }
                }
            }
        }
    }
}
