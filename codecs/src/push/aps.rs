//! The dictionary `aps`: what its members must be, and what each push type asks of it.

use serde_json::{Map, Value};

use super::ContentError;
use crate::apns::PushType;

/// What a member must be.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    TextOrObject,
    Number,
    Count,
    Bool,
    Object,
    Level,
    Event,
}

impl Kind {
    fn expected(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::TextOrObject => "a string or an object",
            Self::Number => "a number",
            Self::Count => "a whole number from 0",
            Self::Bool => "true or false",
            Self::Object => "an object",
            Self::Level => "passive, active, time-sensitive or critical",
            Self::Event => "start, update or end",
        }
    }

    fn fits(self, value: &Value) -> bool {
        let one_of = |words: &[&str]| value.as_str().is_some_and(|text| words.contains(&text));
        match self {
            Self::Text => value.is_string(),
            Self::TextOrObject => value.is_string() || value.is_object(),
            Self::Number => value.is_number(),
            Self::Count => value.is_u64(),
            Self::Bool => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Level => one_of(&["passive", "active", "time-sensitive", "critical"]),
            Self::Event => one_of(&["start", "update", "end"]),
        }
    }
}

/// The members that Apple documents: "Generating a remote notification" (keys of `aps`, values of
/// `interruption-level`), and ActivityKit's and WidgetKit's pages on push notifications for
/// `attributes` to `timestamp`. Others pass: Apple adds to them.
const MEMBERS: &[(&str, &str, Kind)] = &[
    ("alert", "aps.alert", Kind::TextOrObject),
    ("attributes", "aps.attributes", Kind::Object),
    ("attributes-type", "aps.attributes-type", Kind::Text),
    ("badge", "aps.badge", Kind::Count),
    ("category", "aps.category", Kind::Text),
    ("content-available", "aps.content-available", Kind::Count),
    ("content-changed", "aps.content-changed", Kind::Bool),
    ("content-state", "aps.content-state", Kind::Object),
    ("dismissal-date", "aps.dismissal-date", Kind::Number),
    ("event", "aps.event", Kind::Event),
    ("filter-criteria", "aps.filter-criteria", Kind::Text),
    ("interruption-level", "aps.interruption-level", Kind::Level),
    ("mutable-content", "aps.mutable-content", Kind::Count),
    ("relevance-score", "aps.relevance-score", Kind::Number),
    ("sound", "aps.sound", Kind::TextOrObject),
    ("stale-date", "aps.stale-date", Kind::Number),
    ("target-content-id", "aps.target-content-id", Kind::Text),
    ("thread-id", "aps.thread-id", Kind::Text),
    ("timestamp", "aps.timestamp", Kind::Number),
];

/// What is for the user's eyes and ears: "don't include alert, badge or sound" in a background
/// push ("Pushing background updates to your app").
const SHOWN: [(&str, &str); 3] = [
    ("alert", "apns.aps.alert"),
    ("badge", "apns.aps.badge"),
    ("sound", "apns.aps.sound"),
];

/// Checks a payload that was merged with an overlay.
pub(super) fn check(payload: &Map<String, Value>, push_type: PushType) -> Result<(), ContentError> {
    let wrong = |at, expected| Err(ContentError::Overlay { at, expected });
    let none = Map::new();
    let aps = match payload.get("aps") {
        Some(Value::Object(aps)) => aps,
        Some(_) => return wrong("aps", "an object"),
        None if needs_aps(push_type) => return wrong("aps", "an object"),
        None => &none,
    };
    for (member, at, kind) in MEMBERS {
        if aps.get(*member).is_some_and(|value| !kind.fits(value)) {
            return wrong(at, kind.expected());
        }
    }
    if !push_type.rules().shows {
        for (member, field) in SHOWN {
            if aps.contains_key(member) {
                return Err(ContentError::NotShown { field, push_type });
            }
        }
    }
    let is = |member: &str, value: Value| aps.get(member) == Some(&value);
    match push_type {
        PushType::Alert if SHOWN.iter().all(|(member, _)| !aps.contains_key(*member)) => {
            Err(ContentError::NothingToShow)
        }
        PushType::Background if !is("content-available", 1.into()) => {
            wrong("aps.content-available", "1 in a background push")
        }
        PushType::Widgets | PushType::Controls if !is("content-changed", true.into()) => {
            wrong("aps.content-changed", "true")
        }
        PushType::LiveActivity => live_activity(aps),
        _ => Ok(()),
    }
}

/// "Starting and updating Live Activities with ActivityKit push notifications".
fn live_activity(aps: &Map<String, Value>) -> Result<(), ContentError> {
    let ends = aps.get("event").is_some_and(|event| event == "end");
    for (member, at, expected) in [
        ("timestamp", "aps.timestamp", "a number in a Live Activity"),
        (
            "event",
            "aps.event",
            "start, update or end in a Live Activity",
        ),
        (
            "content-state",
            "aps.content-state",
            "an object in a Live Activity",
        ),
    ] {
        let may_miss = member == "content-state" && ends;
        if !may_miss && !aps.contains_key(member) {
            return Err(ContentError::Overlay { at, expected });
        }
    }
    Ok(())
}

/// Of MDM the payload is `mdm`, of a File Provider `container-identifier` and `domain`.
pub(super) fn needs_aps(push_type: PushType) -> bool {
    !matches!(push_type, PushType::Mdm | PushType::FileProvider)
}
