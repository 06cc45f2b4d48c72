//! What an SMS says and how it asks to be written: `content`, checked.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codecs::text::Udh;
use codecs::text::smart::Level;

use super::Check;
use crate::accept::problem::{Code, FieldError};
use crate::accept::request::{Request, SmsIn};
use crate::message::Encoding;
use crate::message::tlv::TlvWish;

/// Characters of `content.text` (contract.md §1).
pub(super) const TEXT_MAX: usize = 2_000;
/// Characters of `content.sms.text`: 20 segments of 153 septets (3GPP TS 23.040 §9.2.3.24.1).
const SMS_TEXT_MAX: usize = 20 * 153;
/// Octets of `content.sms.data`: 20 segments of 134 (3GPP TS 23.040 §9.2.3.24.1).
const DATA_MAX: usize = 20 * 134;
/// Octets of `content.sms.udh`: one short message (3GPP TS 23.040 §9.2.3.24).
const UDH_MAX: usize = 140;
/// `max_segments` and its default (contract.md §1).
const SEGMENTS: std::ops::RangeInclusive<i64> = 1..=20;
const SEGMENTS_DEFAULT: u8 = 10;

/// The content of a request.
#[derive(Debug, Default)]
pub(crate) struct Content<'r> {
    /// Where the text stands in the request.
    pub(crate) at: &'static str,
    pub(crate) text: &'r str,
    /// Octets instead of a text.
    pub(crate) data: Option<Vec<u8>>,
    /// The elements of the customer's header, without its length octet.
    pub(crate) udh: Vec<u8>,
    /// Whether the header says that the data is a part of something.
    pub(crate) is_part: bool,
    pub(crate) encoding: Option<Encoding>,
    pub(crate) max_segments: u8,
    pub(crate) smart: Option<Level>,
    pub(crate) flash: bool,
    pub(crate) truncate: bool,
    /// TLVs of its own.
    pub(crate) tlvs: Vec<TlvWish<'r>>,
}

impl<'r> Content<'r> {
    /// What is kept and sent: the text as planning left it, or the data as base64.
    pub(super) fn body(&self, changed: Option<String>) -> Cow<'r, str> {
        match (&self.data, changed) {
            (Some(data), _) => STANDARD.encode(data).into(),
            (None, Some(changed)) => changed.into(),
            (None, None) => self.text.into(),
        }
    }
}

impl Check<'_> {
    /// What an SMS says. That it says anything is asked only where it is `wanted`.
    pub(super) fn content<'r>(
        &mut self,
        request: &'r Request<'_>,
        sugar: bool,
        wanted: bool,
    ) -> Content<'r> {
        let sms = request.content.as_ref().and_then(|c| c.sms.as_ref());
        let mut content = Content {
            max_segments: SEGMENTS_DEFAULT,
            ..Content::default()
        };
        let has_data = sms.is_some_and(|sms| sms.data.is_some());
        (content.at, content.text) = self.text(request, sugar, (has_data, wanted));
        if let Some(sms) = sms {
            self.sms(sms, &mut content);
        }
        content
    }

    fn text<'r>(
        &mut self,
        request: &'r Request<'_>,
        sugar: bool,
        (has_data, wanted): (bool, bool),
    ) -> (&'static str, &'r str) {
        let content = request.content.as_ref();
        let own = content.and_then(|c| c.sms.as_ref()?.text.as_deref());
        let shared = content.and_then(|c| c.text.as_deref());
        let shared_at = if sugar || content.is_none() {
            "/text"
        } else {
            "/content/text"
        };
        if shared.is_some_and(|text| text.chars().count() > TEXT_MAX) {
            self.wrong(
                shared_at,
                "out_of_range",
                "must have at most 2000 characters",
            );
        }
        let (at, text) = match (own, shared) {
            (Some(own), _) => ("/content/sms/text", own),
            (None, shared) => (shared_at, shared.unwrap_or_default()),
        };
        if has_data {
            if own.is_some() {
                self.wrong("/content/sms/data", "exclusive", "excludes text");
            }
        } else if text.is_empty() {
            if wanted {
                let error = FieldError::at(at, "required", "sms needs a text");
                self.add(error.alone(Code::ContentMissing));
            }
        } else if text.len() > SMS_TEXT_MAX && text.chars().count() > SMS_TEXT_MAX {
            self.wrong(at, "out_of_range", "must have at most 3060 characters");
        }
        (at, text)
    }

    fn sms<'r>(&mut self, sms: &'r SmsIn<'r>, content: &mut Content<'r>) {
        content.encoding = self.encoding(sms);
        let at = "/content/sms/max_segments";
        let max = self.integer(at, sms.max_segments, SEGMENTS);
        if let Some(max) = max.and_then(|max| u8::try_from(max).ok()) {
            content.max_segments = max;
        }
        content.flash = sms.flash.unwrap_or_default();
        let at = "/content/sms/on_too_long";
        content.truncate = match sms.on_too_long.as_deref() {
            None | Some("reject") => false,
            Some("truncate") if sms.data.is_some() => {
                self.wrong(at, "exclusive", "data is sent whole or not at all");
                false
            }
            Some("truncate") => true,
            Some(_) => {
                self.wrong(at, "not_one_of", "must be reject or truncate");
                false
            }
        };
        content.smart = self.smart(sms);
        content.tlvs = self.tlvs(sms.tlv.as_ref());
        content.data = self.data(sms);
        (content.udh, content.is_part) = self.udh(sms);
    }

    fn encoding(&mut self, sms: &SmsIn<'_>) -> Option<Encoding> {
        let at = "/content/sms/encoding";
        match (sms.encoding.as_deref(), &sms.data) {
            (None | Some("auto"), _) => None,
            (Some("gsm7" | "ucs2"), Some(_)) => {
                self.wrong(at, "exclusive", "data is binary");
                None
            }
            (Some("gsm7"), None) => Some(Encoding::Gsm7),
            (Some("ucs2"), None) => Some(Encoding::Ucs2),
            (Some("binary"), Some(_)) => Some(Encoding::Binary),
            (Some("binary"), None) => {
                let detail = "binary needs it";
                self.add(
                    FieldError::at("/content/sms/data", "required", detail)
                        .alone(Code::ContentMissing),
                );
                None
            }
            (Some(_), _) => {
                self.wrong(at, "not_one_of", "must be auto, gsm7, ucs2 or binary");
                None
            }
        }
    }

    fn smart(&mut self, sms: &SmsIn<'_>) -> Option<Level> {
        let at = "/content/sms/smart_encoding";
        let level = match sms.smart_encoding.as_deref() {
            None | Some("off") => return None,
            Some("safe") => Level::Safe,
            Some("full") => Level::Full,
            Some(_) => {
                self.wrong(at, "not_one_of", "must be off, safe or full");
                return None;
            }
        };
        let forced = !matches!(sms.encoding.as_deref(), None | Some("auto"));
        if forced || sms.data.is_some() {
            let detail = "never changes data, nor a text whose encoding is given";
            self.wrong(at, "exclusive", detail);
            return None;
        }
        Some(level)
    }

    fn data(&mut self, sms: &SmsIn<'_>) -> Option<Vec<u8>> {
        let at = "/content/sms/data";
        let data = self.octets(at, sms.data.as_deref()?, DATA_MAX)?;
        if data.is_empty() {
            self.wrong(at, "out_of_range", "must have 1..2680 octets");
            return None;
        }
        Some(data)
    }

    /// The header's elements, and whether they say that this is a part of something.
    fn udh(&mut self, sms: &SmsIn<'_>) -> (Vec<u8>, bool) {
        let at = "/content/sms/udh";
        let Some(text) = sms.udh.as_deref() else {
            return (Vec::new(), false);
        };
        if sms.data.is_none() {
            self.wrong(at, "exclusive", "goes with data only");
            return (Vec::new(), false);
        }
        let Some(octets) = self.octets(at, text, UDH_MAX) else {
            return (Vec::new(), false);
        };
        match Udh::split(&octets) {
            Ok((udh, [])) if !udh.overrun => {
                let elements = udh.octets.get(1..).unwrap_or_default();
                (elements.to_vec(), udh.fields.concat.is_some())
            }
            _ => {
                let detail = "must be a whole user data header: its length octet counts the others, \
                              and each element's length lies within";
                self.wrong(at, "invalid_udh", detail);
                (Vec::new(), false)
            }
        }
    }

    /// Reads base64 of at most `max` octets; longer ones are refused before they are read.
    fn octets(&mut self, at: &str, text: &str, max: usize) -> Option<Vec<u8>> {
        let octets = if text.len() > max.div_ceil(3) * 4 {
            None
        } else if let Ok(octets) = STANDARD.decode(text) {
            Some(octets)
        } else {
            self.wrong(at, "not_base64", "must be base64 (RFC 4648 §4), padded");
            return None;
        };
        let octets = octets.filter(|octets| octets.len() <= max);
        if octets.is_none() {
            self.wrong(
                at,
                "out_of_range",
                format!("must have at most {max} octets"),
            );
        }
        octets
    }
}
