//! What a push says: `content.push`, checked as the services would check its payloads.

use std::borrow::Cow;
use std::collections::BTreeMap;

use codecs::apns::{PushType, RequestError, check_collapse_id};
use codecs::fcm::{self, Target};
use codecs::push::{Content, ContentError, ReceiptKey};
use codecs::receipt_token;
use smallvec::SmallVec;

use super::content::TEXT_MAX;
use super::labels::pointer;
use super::{Check, recipient::Audience};
use crate::accept::problem::{Code, FieldError};
use crate::accept::request::{Metadata, OverlayIn, PushIn, Request, Str};
use crate::accept::shape::push_token;
use crate::message::steps::{Platform, PushTarget};
use crate::message::{Ids, MessageId, PushContent};

const AT: &str = "/content/push";
/// Characters of `title` (contract.md §1).
const TITLE_MAX: usize = 256;
/// Characters of `sound`, `category` and `thread_id` (chosen: names of files and of things in apps).
const NAME_MAX: usize = 256;
/// Octets of `deep_link` and `image_url` (chosen: what browsers and apps commonly take; half of a
/// payload).
const URL_MAX: usize = 2_048;
/// Octets of an overlay as compact JSON (chosen: twice the payload that it is merged into, as it may
/// take members away and, for FCM, hold members that do not count).
const OVERLAY_MAX: usize = 8_192;
/// `badge`: what an Android app holds, a signed number of 32 bits.
const BADGE: std::ops::RangeInclusive<i64> = 0..=2_147_483_647;

/// Members of an FCM message below which the customer's own keys stand.
const OWN_KEYS: [&str; 5] = [
    "android.data.",
    "apns.headers.",
    "data.",
    "webpush.data.",
    "webpush.headers.",
];

/// The payload for one platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) platform: Platform,
    /// Octets as the service counts them.
    pub(crate) octets: usize,
    /// How many may be.
    pub(crate) limit: usize,
}

/// One for each platform.
pub(crate) type Payloads = SmallVec<[Payload; 2]>;

impl Check<'_> {
    /// What is pushed, as a message keeps it, and its payloads; empty where it is wrong. Whatever is
    /// given is checked; that there is something, and its size, only where a push goes out to somebody.
    pub(super) fn push(
        &mut self,
        request: &Request<'_>,
        sugar: bool,
        audience: Option<&Audience<'_>>,
        app_receipts: bool,
    ) -> (String, Payloads) {
        let content = request.content.as_ref();
        let own = content.and_then(|content| content.push.as_ref());
        let text = content.and_then(|content| content.text.as_deref());
        if own.is_none() && audience.is_none() {
            return (String::new(), Payloads::new());
        }
        let before = self.errors.len();
        let mut push = own.map_or_else(PushContent::default, |own| self.push_fields(own));
        let Some(audience) = audience else {
            return (String::new(), Payloads::new());
        };
        if own.is_none() && text.is_none_or(str::is_empty) {
            let at = if sugar { "/text" } else { AT };
            let error = FieldError::at(at, "required", "push needs a content.push or a text");
            self.add(error.alone(Code::ContentMissing));
        }
        // Those that were found say more than what follows from them.
        if self.errors.len() > before {
            return (String::new(), Payloads::new());
        }
        let shows = push.content().push_type().map(PushType::rules);
        if push.body.is_none() && shows.is_ok_and(|rules| rules.shows) {
            push.body = text.filter(|text| !text.is_empty()).map(Cow::Borrowed);
        }
        let payloads = self.payloads(&push, &audience.to, app_receipts);
        (push.to_json(), payloads)
    }

    /// Whether the app tells what became of a push: one that goes to devices, of which each tells.
    pub(super) fn receipts(
        &mut self,
        request: &Request<'_>,
        audience: Option<&Audience<'_>>,
    ) -> bool {
        let at = "/receipts";
        match request.receipts.as_deref() {
            None | Some("none") => return false,
            Some("app") => {}
            Some(_) => {
                self.wrong(at, "not_one_of", "must be none or app");
                return false;
            }
        }
        match audience.map(|audience| &audience.to) {
            Some(PushTarget::Devices(_)) => true,
            Some(_) => {
                let detail =
                    "who listens to a topic or a condition is not known: app needs devices";
                self.wrong(at, "not_allowed_here", detail);
                false
            }
            None => {
                self.wrong(at, "not_allowed_here", "app needs a push to devices");
                false
            }
        }
    }

    /// Each field for itself.
    fn push_fields<'r>(&mut self, own: &'r PushIn<'_>) -> PushContent<'r> {
        let badge = self.integer("/content/push/badge", own.badge, BADGE);
        // APNs' rule for all: it is in a header there (contract.md §1; push.md §1.4).
        let key = own.collapse_key.as_deref();
        if let Some(why) = key.and_then(|key| check_collapse_id(key).err()) {
            let (code, detail) = match why {
                RequestError::CollapseIdLength(_) => ("out_of_range", "must have 1..64 octets"),
                _ => (
                    "invalid_value",
                    "must have no control characters, and no blanks at its ends",
                ),
            };
            self.wrong("/content/push/collapse_key", code, detail);
        }
        let push_type = own.push_type.as_deref().and_then(|word| {
            let known = PushType::parse(word);
            if known.is_none() {
                let detail = "must be a push type of APNs, such as alert, background or voip";
                self.wrong("/content/push/push_type", "not_one_of", detail);
            }
            known
        });
        self.url("/content/push/deep_link", own.deep_link.as_deref());
        self.url("/content/push/image_url", own.image_url.as_deref());
        if let Some(url) = own.image_url.as_deref()
            && !url.starts_with("https://")
        {
            self.wrong(
                "/content/push/image_url",
                "invalid_url",
                "must be an https URL",
            );
        }
        let mut text = |at, text: &'r Option<Str<'_>>, max| {
            let text = text.as_deref()?;
            if !(1..=max).contains(&text.chars().count()) {
                let detail = format!("must have 1..{max} characters");
                self.wrong(at, "out_of_range", detail);
            }
            Some(Cow::Borrowed(text))
        };
        PushContent {
            badge: badge.and_then(|badge| u32::try_from(badge).ok()),
            body: text("/content/push/body", &own.body, TEXT_MAX),
            category: text("/content/push/category", &own.category, NAME_MAX),
            collapse_key: own.collapse_key.as_deref().map(Cow::Borrowed),
            deep_link: own.deep_link.as_deref().map(Cow::Borrowed),
            image_url: own.image_url.as_deref().map(Cow::Borrowed),
            push_type,
            silent: own.silent.unwrap_or_default(),
            sound: text("/content/push/sound", &own.sound, NAME_MAX),
            thread_id: text("/content/push/thread_id", &own.thread_id, NAME_MAX),
            title: text("/content/push/title", &own.title, TITLE_MAX),
            apns: self.overlay("/content/push/apns", own.apns.as_ref()),
            data: self.push_data(own.data.as_ref()),
            fcm: self.overlay("/content/push/fcm", own.fcm.as_ref()),
        }
    }

    fn url(&mut self, at: &str, url: Option<&str>) {
        let Some(url) = url else { return };
        if !(1..=URL_MAX).contains(&url.len()) {
            self.wrong(at, "out_of_range", "must have 1..2048 octets");
        } else if !url.bytes().all(|octet| octet.is_ascii_graphic()) {
            let detail = "must be ASCII without blanks: percent-encode the others";
            self.wrong(at, "invalid_url", detail);
        }
    }

    fn overlay<'r>(
        &mut self,
        at: &str,
        overlay: Option<&'r OverlayIn>,
    ) -> Option<Cow<'r, serde_json::Map<String, serde_json::Value>>> {
        let overlay = overlay.filter(|overlay| !overlay.0.is_empty())?;
        let octets = serde_json::to_vec(overlay).map_or(usize::MAX, |json| json.len());
        if octets > OVERLAY_MAX {
            self.wrong(at, "out_of_range", "must have at most 8192 octets");
        }
        Some(Cow::Borrowed(&overlay.0))
    }

    fn push_data(&mut self, data: Option<&Metadata<'_>>) -> BTreeMap<String, String> {
        let entries: &[_] = data.map_or(&[], |data| &data.0);
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            if map.insert(key.to_string(), value.to_string()).is_some() {
                let at = pointer("/content/push/data", key);
                self.wrong(&at, "duplicate_key", "comes twice");
            }
        }
        map
    }

    /// Makes each platform's payload, as its connector will.
    fn payloads(
        &mut self,
        push: &PushContent<'_>,
        to: &PushTarget,
        app_receipts: bool,
    ) -> Payloads {
        let (has_ios, fcm_max) = match to {
            PushTarget::Devices(devices) => {
                let has = |platform| devices.iter().any(|device| device.platform == platform);
                let fcm_max = has(Platform::Android).then_some(fcm::PAYLOAD_OCTETS_MAX);
                (has(Platform::Ios), fcm_max)
            }
            PushTarget::Topic(topic) => {
                (false, Some(fcm::Message::octets_max(Target::Topic(topic))))
            }
            PushTarget::Condition(condition) => {
                let target = Target::Condition(condition);
                (false, Some(fcm::Message::octets_max(target)))
            }
        };
        // As long as those that will stand there.
        let stand_ins = app_receipts.then(|| {
            let id = Ids::new(0).message(MessageId(0)).to_string();
            (id, "0".repeat(receipt_token::CHARS))
        });
        let receipt = stand_ins
            .as_ref()
            .map(|(message_id, token)| ReceiptKey { message_id, token });
        let content = Content {
            receipt,
            ..push.content()
        };
        let mut payloads = Payloads::new();
        if has_ios {
            match content.apns() {
                Ok(made) => payloads.push(Payload {
                    platform: Platform::Ios,
                    octets: made.payload.len(),
                    limit: made.push_type.rules().payload_octets_max,
                }),
                Err(error) => self.refused(&error),
            }
        }
        if let Some(limit) = fcm_max {
            match content.fcm(limit) {
                Ok(made) => payloads.push(Payload {
                    platform: Platform::Android,
                    octets: made.octets(),
                    limit,
                }),
                Err(error) => self.refused(&error),
            }
        }
        payloads
    }

    /// What both services refuse in one place is told once, but each has a size of its own.
    fn refused(&mut self, error: &ContentError) {
        let told = field_error(error);
        let same = |known: &FieldError| known.pointer == told.pointer && known.code == told.code;
        if told.code == TOO_LARGE || !self.errors.iter().any(same) {
            self.add(told);
        }
    }
}

const TOO_LARGE: &str = "payload_too_large";

/// What a service would refuse, where it stands in the request.
fn field_error(error: &ContentError) -> FieldError {
    let detail = error.to_string();
    let at = |field: &str| {
        let mut at = String::from(AT);
        for token in field.split('.') {
            push_token(&mut at, token);
        }
        at
    };
    match error {
        ContentError::Silent(_) => FieldError::at(at("silent"), "exclusive", detail),
        ContentError::NotShown { field, .. } => FieldError::at(at(field), "exclusive", detail),
        ContentError::NothingToShow => {
            FieldError::at(AT, "required", detail).alone(Code::ContentMissing)
        }
        ContentError::DataKey { key, .. } => {
            FieldError::at(pointer("/content/push/data", key), "reserved_key", detail)
        }
        ContentError::Overlay { at: member, .. } => {
            let place = at(&format!("apns.{member}"));
            FieldError::at(place, "invalid_value", detail)
        }
        ContentError::Fcm(error) => {
            let own = OWN_KEYS.iter().find_map(|under| {
                let key = error.at.strip_prefix(under)?;
                Some((under.trim_end_matches('.'), key))
            });
            let place = match own {
                Some((under, key)) => pointer(&at(&format!("fcm.{under}")), key),
                None => at(&format!("fcm.{}", error.at)),
            };
            let code = match error.problem {
                fcm::Problem::NotHere => "not_allowed_here",
                fcm::Problem::ReservedKey => "reserved_key",
                fcm::Problem::ApnsPayload(_) => TOO_LARGE,
                fcm::Problem::NotAnObject | fcm::Problem::NotAString => "wrong_type",
                fcm::Problem::Ttl
                | fcm::Problem::Priority
                | fcm::Problem::AnalyticsLabel
                | fcm::Problem::Link => "invalid_value",
            };
            let error = FieldError::at(place, code, detail);
            match code {
                TOO_LARGE => error.alone(Code::PayloadTooLarge),
                _ => error,
            }
        }
        ContentError::TooLarge { .. } => {
            FieldError::at(AT, TOO_LARGE, detail).alone(Code::PayloadTooLarge)
        }
    }
}
