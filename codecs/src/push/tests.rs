//! What is said once comes out on both services, whole, bounded, and nothing else.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::apns::Priority;
use crate::fcm::{Message, PAYLOAD_OCTETS_MAX, Problem, Target};

mod receipts;

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn no_data() -> &'static BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    &NONE
}

fn apns(content: &Content<'_>) -> Result<String, ContentError> {
    let push = content.apns()?;
    Ok(String::from_utf8(push.payload).unwrap())
}

fn fcm(content: &Content<'_>) -> Result<String, ContentError> {
    let message = content.fcm(PAYLOAD_OCTETS_MAX)?;
    Ok(String::from_utf8(message.json().to_vec()).unwrap())
}

fn text(title: &str) -> Content<'_> {
    Content {
        title: Some(title),
        ..Content::new(no_data())
    }
}

#[test]
fn everything_said_comes_out_in_the_order_of_names() {
    let data = BTreeMap::from([
        ("a".to_owned(), "1".to_owned()),
        ("order".to_owned(), "1\"182".to_owned()),
    ]);
    let content = Content {
        title: Some("Ready"),
        body: Some("för dig"),
        image_url: Some("https://x/i.png"),
        deep_link: Some("shop://o/1182"),
        collapse_key: Some("order-1182"),
        replace_id: Some("msg_1"),
        sound: Some("default"),
        badge: Some(3),
        category: Some("ORDER"),
        thread_id: Some("orders"),
        urgency: Some(Urgency::High),
        ttl_seconds: Some(60),
        ..Content::new(&data)
    };
    assert_eq!(
        apns(&content).unwrap(),
        concat!(
            r#"{"a":"1","aps":{"alert":{"body":"för dig","title":"Ready"},"badge":3,"#,
            r#""category":"ORDER","mutable-content":1,"sound":"default","thread-id":"orders"},"#,
            r#""deep_link":"shop://o/1182","image_url":"https://x/i.png","order":"1\"182"}"#
        )
    );
    assert_eq!(
        fcm(&content).unwrap(),
        concat!(
            r#"{"android":{"collapse_key":"order-1182","notification":{"notification_count":3,"#,
            r#""sound":"default","tag":"order-1182"},"priority":"HIGH","ttl":"60s"},"#,
            r#""data":{"a":"1","deep_link":"shop://o/1182","order":"1\"182"},"#,
            r#""notification":{"body":"för dig","image":"https://x/i.png","title":"Ready"}}"#
        )
    );
    let push = content.apns().unwrap();
    assert_eq!(
        (push.push_type, push.priority),
        (PushType::Alert, Priority::Immediate)
    );
    assert_eq!(push.collapse_id, Some("order-1182"));
}

#[test]
fn what_is_not_said_is_not_there() {
    let content = text("Hi");
    assert_eq!(
        apns(&content).unwrap(),
        r#"{"aps":{"alert":{"title":"Hi"}}}"#
    );
    assert_eq!(fcm(&content).unwrap(), r#"{"notification":{"title":"Hi"}}"#);
    let push = content.apns().unwrap();
    assert_eq!(
        (push.priority, push.collapse_id),
        (Priority::Immediate, None)
    );
}

#[test]
fn a_repetition_replaces_the_first_without_the_limits_of_a_collapse_key() {
    let content = Content {
        replace_id: Some("msg_1"),
        ..text("Hi")
    };
    assert_eq!(content.apns().unwrap().collapse_id, Some("msg_1"));
    assert_eq!(
        fcm(&content).unwrap(),
        r#"{"android":{"notification":{"tag":"msg_1"}},"notification":{"title":"Hi"}}"#
    );
}

#[test]
fn a_silent_message_wakes_the_app_and_shows_nothing() {
    let data = BTreeMap::from([("sync".to_owned(), "1".to_owned())]);
    let silent = Content {
        silent: true,
        replace_id: Some("msg_1"),
        ..Content::new(&data)
    };
    assert_eq!(
        apns(&silent).unwrap(),
        r#"{"aps":{"content-available":1},"sync":"1"}"#
    );
    let push = silent.apns().unwrap();
    assert_eq!(
        (push.push_type, push.priority),
        (PushType::Background, Priority::Conserving)
    );
    // A tag would make a notification of it.
    assert_eq!(fcm(&silent).unwrap(), r#"{"data":{"sync":"1"}}"#);
    let urgent = Content {
        urgency: Some(Urgency::High),
        ..silent
    };
    assert_eq!(urgent.apns().unwrap().priority, Priority::Conserving);
}

#[test]
fn a_silent_message_cannot_show_anything() {
    let silent = Content {
        silent: true,
        ..Content::new(no_data())
    };
    for (field, said) in [
        (
            "title",
            Content {
                title: Some("x"),
                ..silent
            },
        ),
        (
            "body",
            Content {
                body: Some("x"),
                ..silent
            },
        ),
        (
            "image_url",
            Content {
                image_url: Some("x"),
                ..silent
            },
        ),
        (
            "badge",
            Content {
                badge: Some(0),
                ..silent
            },
        ),
        (
            "sound",
            Content {
                sound: Some("x"),
                ..silent
            },
        ),
    ] {
        let push_type = PushType::Background;
        let error = Err(ContentError::NotShown { field, push_type });
        assert_eq!(apns(&said), error);
        assert_eq!(fcm(&said), error);
    }
    let voip = Content {
        push_type: Some(PushType::Voip),
        ..silent
    };
    assert_eq!(apns(&voip), Err(ContentError::Silent(PushType::Voip)));
    let background = Content {
        silent: false,
        push_type: Some(PushType::Background),
        ..silent
    };
    assert_eq!(apns(&background), apns(&silent));
}

#[test]
fn an_alert_shows_something() {
    assert_eq!(
        apns(&Content::new(no_data())),
        Err(ContentError::NothingToShow)
    );
    assert_eq!(
        fcm(&Content::new(no_data())),
        Err(ContentError::NothingToShow)
    );
    let overlay = map(json!({"aps": {"alert": "Hi"}}));
    let overlaid = Content {
        apns: Some(&overlay),
        ..Content::new(no_data())
    };
    assert_eq!(apns(&overlaid).unwrap(), r#"{"aps":{"alert":"Hi"}}"#);
    let taken = map(json!({"aps": {"alert": null}}));
    let taken = Content {
        apns: Some(&taken),
        ..text("Hi")
    };
    assert_eq!(apns(&taken), Err(ContentError::NothingToShow));
}

#[test]
fn overlays_win_member_by_member() {
    let overlay = map(json!({
        "aps": {"alert": {"subtitle": "S", "title": "T2"}, "sound": null, "newer": [null]},
        "order": "2",
    }));
    let data = BTreeMap::from([("order".to_owned(), "1".to_owned())]);
    let content = Content {
        title: Some("T"),
        body: Some("B"),
        sound: Some("default"),
        apns: Some(&overlay),
        ..Content::new(&data)
    };
    assert_eq!(
        apns(&content).unwrap(),
        concat!(
            r#"{"aps":{"alert":{"body":"B","subtitle":"S","title":"T2"},"newer":[null]},"#,
            r#""order":"2"}"#
        )
    );
    let overlay = map(json!({
        "android": {"notification": {"channel_id": "orders"}, "priority": "HIGH"},
        "data": {"order": null},
    }));
    let content = Content {
        fcm: Some(&overlay),
        urgency: Some(Urgency::Low),
        ..content
    };
    assert_eq!(
        fcm(&content).unwrap(),
        concat!(
            r#"{"android":{"notification":{"channel_id":"orders","sound":"default"},"#,
            r#""priority":"HIGH"},"data":{},"notification":{"body":"B","title":"T"}}"#
        )
    );
}

#[test]
fn aps_stays_what_apple_reads() {
    let refused = |push_type, overlay: Value| {
        let overlay = map(overlay);
        let content = Content {
            apns: Some(&overlay),
            push_type: Some(push_type),
            ..Content::new(no_data())
        };
        match apns(&content) {
            Err(ContentError::Overlay { at, .. }) => at.to_owned(),
            Err(ContentError::NotShown { field, .. }) => field.to_owned(),
            other => panic!("{overlay:?}: {other:?}"),
        }
    };
    use PushType::{Alert, Background, Controls, LiveActivity, Widgets};
    for (push_type, aps, at) in [
        (Alert, json!(null), "aps"),
        (Alert, json!("x"), "aps"),
        (Alert, json!({"alert": 5}), "aps.alert"),
        (Alert, json!({"badge": "5"}), "aps.badge"),
        (Alert, json!({"badge": -1}), "aps.badge"),
        (Alert, json!({"sound": true}), "aps.sound"),
        (
            Alert,
            json!({"mutable-content": true}),
            "aps.mutable-content",
        ),
        (
            Alert,
            json!({"interruption-level": "loud"}),
            "aps.interruption-level",
        ),
        (
            Background,
            json!({"content-available": 0}),
            "aps.content-available",
        ),
        (
            Background,
            json!({"content-available": null}),
            "aps.content-available",
        ),
        (Background, json!({"alert": "x"}), "apns.aps.alert"),
        (Background, json!({"sound": "x"}), "apns.aps.sound"),
        (
            Widgets,
            json!({"content-changed": false}),
            "aps.content-changed",
        ),
        (Controls, json!({"badge": 1}), "apns.aps.badge"),
        (LiveActivity, json!({"event": "end"}), "aps.timestamp"),
        (LiveActivity, json!({"timestamp": 1}), "aps.event"),
        (
            LiveActivity,
            json!({"timestamp": 1, "event": "stop"}),
            "aps.event",
        ),
        (
            LiveActivity,
            json!({"timestamp": 1, "event": "update"}),
            "aps.content-state",
        ),
    ] {
        assert_eq!(refused(push_type, json!({"aps": aps})), at);
    }
}

#[test]
fn every_push_type_has_a_payload() {
    let made = |push_type, overlay: Value| {
        let overlay = map(overlay);
        let content = Content {
            apns: Some(&overlay),
            push_type: Some(push_type),
            ..Content::new(no_data())
        };
        apns(&content).unwrap()
    };
    let plain = |push_type| {
        let content = Content {
            push_type: Some(push_type),
            ..Content::new(no_data())
        };
        apns(&content)
    };
    let changed = r#"{"aps":{"content-changed":true}}"#;
    assert_eq!(plain(PushType::Widgets).unwrap(), changed);
    assert_eq!(plain(PushType::Controls).unwrap(), changed);
    for push_type in [
        PushType::Voip,
        PushType::Location,
        PushType::PushToTalk,
        PushType::Complication,
    ] {
        assert_eq!(plain(push_type).unwrap(), r#"{"aps":{}}"#);
    }
    assert_eq!(
        made(PushType::Mdm, json!({"mdm": "magic"})),
        r#"{"mdm":"magic"}"#
    );
    let domain = json!({"domain": "d", "container-identifier": "c"});
    let file = r#"{"container-identifier":"c","domain":"d"}"#;
    assert_eq!(made(PushType::FileProvider, domain), file);
    let update = json!({"aps": {"timestamp": 1, "event": "update", "content-state": {"eta": 5}}});
    assert_eq!(
        made(PushType::LiveActivity, update),
        r#"{"aps":{"content-state":{"eta":5},"event":"update","timestamp":1}}"#
    );
    let missing = ContentError::Overlay {
        at: "aps.timestamp",
        expected: "a number in a Live Activity",
    };
    assert_eq!(plain(PushType::LiveActivity), Err(missing));
    let widget = Content {
        push_type: Some(PushType::Widgets),
        ..text("Hi")
    };
    let (field, push_type) = ("title", PushType::Widgets);
    assert_eq!(
        apns(&widget),
        Err(ContentError::NotShown { field, push_type })
    );
    assert_eq!(fcm(&widget).unwrap(), r#"{"notification":{"title":"Hi"}}"#);
}

fn linked(data: &BTreeMap<String, String>) -> Content<'_> {
    Content {
        deep_link: Some("a"),
        image_url: Some("b"),
        title: Some("c"),
        ..Content::new(data)
    }
}

#[test]
fn no_key_of_the_app_s_takes_another_field_s_place() {
    let taken =
        |platform,
         key: &str,
         content: &dyn Fn(&BTreeMap<String, String>) -> Option<ContentError>| {
            let data = BTreeMap::from([(key.to_owned(), "x".to_owned())]);
            let error = ContentError::DataKey {
                platform,
                key: key.into(),
            };
            assert_eq!(content(&data), Some(error), "{key}");
        };
    for key in ["aps", "deep_link", "image_url"] {
        taken(Platform::Apns, key, &|data| linked(data).apns().err());
    }
    for key in ["from", "google.x", "gcm", "message_type", "deep_link"] {
        taken(Platform::Fcm, key, &|data| linked(data).fcm(4_096).err());
    }
    let data = BTreeMap::from([("deep_link".to_owned(), "x".to_owned())]);
    let content = Content {
        title: Some("c"),
        ..Content::new(&data)
    };
    assert!(apns(&content).is_ok() && fcm(&content).is_ok());
}

#[test]
fn sizes_are_checked_to_the_octet() {
    let around = apns(&text("")).unwrap().len();
    let fits = "ä".repeat((4_096 - around) / 2);
    assert_eq!(apns(&text(&fits)).unwrap().len(), around + fits.len());
    let long = format!("{fits}äa");
    let error = apns(&text(&long)).unwrap_err();
    let octets = around + long.len();
    let limit = 4_096;
    assert_eq!(
        error,
        ContentError::TooLarge {
            platform: Platform::Apns,
            octets,
            limit
        }
    );
    assert_eq!(
        error.to_string(),
        format!("{octets} octets for APNs, which takes 4096")
    );
    let call = Content {
        push_type: Some(PushType::Voip),
        ..text(&long)
    };
    assert!(call.apns().is_ok(), "5120 for a call");
    let topic = Message::octets_max(Target::Topic("news"));
    let title = "a".repeat(2_048 - "title".len());
    assert_eq!(text(&title).fcm(topic).unwrap().octets(), 2_048);
    let long = format!("{title}b");
    assert_eq!(
        text(&long).fcm(topic).unwrap_err().to_string(),
        "2049 octets for FCM, which takes 2048"
    );
}

#[test]
fn an_fcm_overlay_cannot_choose_the_target() {
    let overlay = map(json!({"token": "x"}));
    let content = Content {
        fcm: Some(&overlay),
        ..text("Hi")
    };
    let Err(ContentError::Fcm(error)) = fcm(&content) else {
        panic!("a target")
    };
    assert_eq!((&*error.at, error.problem), ("token", Problem::NotHere));
}

#[test]
fn a_time_to_live_is_cut_to_what_fcm_takes() {
    let content = Content {
        ttl_seconds: Some(u64::MAX),
        ..text("Hi")
    };
    assert!(fcm(&content).unwrap().contains(r#""ttl":"2419200s""#));
}

/// What was said, owned.
#[derive(Debug, Clone)]
struct Said {
    texts: [Option<String>; 8],
    data: BTreeMap<String, String>,
    badge: Option<u32>,
    ttl: Option<u64>,
}

prop_compose! {
    fn said()(
        texts in proptest::array::uniform8(proptest::option::of("[ab\"\\\\\u{0}\u{e4}\u{1F600}]{0,20}")),
        data in proptest::collection::btree_map("[Ak][a-zA\u{e4}\"]{0,4}", ".{0,30}", 0..6),
        badge: Option<u32>,
        ttl: Option<u64>,
    ) -> Said {
        Said { texts, data, badge, ttl }
    }
}

impl Said {
    fn content(&self) -> Content<'_> {
        let [title, body, image, link, collapse, sound, category, thread] = &self.texts;
        Content {
            title: title.as_deref().or(Some("")),
            body: body.as_deref(),
            image_url: image.as_deref(),
            deep_link: link.as_deref(),
            collapse_key: collapse.as_deref(),
            sound: sound.as_deref(),
            category: category.as_deref(),
            thread_id: thread.as_deref(),
            badge: self.badge,
            ttl_seconds: self.ttl,
            ..Content::new(&self.data)
        }
    }
}

/// Every string and key in a tree.
fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| strings(value, found)),
        Value::Object(map) => {
            for (key, value) in map {
                found.push(key.clone());
                strings(value, found);
            }
        }
        _ => {}
    }
}

/// Members that are ours to name.
const NAMES: &str = "alert android aps badge body category collapse_key data deep_link image \
                     image_url mutable-content notification notification_count sound tag \
                     thread-id title ttl";

proptest! {
    #[test]
    fn what_is_written_is_canonical_json_of_what_was_said(said in said()) {
        let content = said.content();
        let mut known: Vec<String> = NAMES.split_whitespace().map(str::to_owned).collect();
        known.extend(said.texts.iter().flatten().cloned());
        known.extend(said.data.iter().flat_map(|(key, text)| [key.clone(), text.clone()]));
        known.extend(said.ttl.map(|ttl| format!("{}s", ttl.min(2_419_200))));
        known.push(String::new());
        for written in [apns(&content).unwrap(), fcm(&content).unwrap()] {
            let value: Value = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(value.to_string(), written, "compact, in the order of names");
            let mut found = Vec::new();
            strings(&value, &mut found);
            for text in found {
                prop_assert!(known.contains(&text), "invented: {text}");
            }
        }
    }

    #[test]
    fn an_empty_overlay_changes_nothing(said in said()) {
        let plain = said.content();
        let empty = Map::new();
        let overlaid = Content { apns: Some(&empty), fcm: Some(&empty), ..plain };
        prop_assert_eq!(apns(&plain), apns(&overlaid));
        // The count of what was said and the count of what was written are two pieces of code.
        prop_assert_eq!(plain.fcm(4_096), overlaid.fcm(4_096));
    }
}
