//! Write: how a text is written so that every candidate route can carry it as it is. Pure.
//!
//! # Design
//! Parts are the store's unit: they are decided once, when a message is accepted, and a failover
//! sends the same parts. So a message is planned for the strictest of its candidate routes:
//! - GSM 7-bit only if all of them can write the text behind data_coding 0; else UCS-2, which all can.
//! - Latin-1 only if all of them say that they deliver it, for what GSM 7-bit cannot write.
//! - National tables only if all of them pass these on, and only if they save a segment against
//!   these: a carrier that drops the header would deliver gibberish.
//! - Cut for 16-bit references if one of them wants these; the others put 8-bit ones into the room.
//! - Handed over whole (message_payload) only if all of them want that; else in parts with headers.
//!
//! Smart encoding changes a text only where that lets it be written in septets, and no more of it
//! than needed: `full` drops no accents where replacing quotes is enough.
//!
//! # Not chosen
//! Planning for the first route and skipping those that cannot carry the result: then a failover may
//! find no route although one is up.

use codecs::text::layout::national;
use codecs::text::smart::{self, Level, Replaced};
use codecs::text::{
    self, Alphabet, Dialect, Flash, Language, Layout, Long, ReferenceWidth, Shifts,
};

use super::{SegmentError, segments};
use crate::message::{Encoding, SmsOptions};

#[cfg(test)]
mod tests;

/// Octets of short_message. SMPP v3.4 §5.2.21.
const SHORT_MESSAGE_OCTETS: usize = 254;
/// Octets of the longest header that we write before a part in a one-octet alphabet or UTF-8.
const HEADER_OCTETS: usize = 7;

/// What is to be written, and the customer's wishes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// The text; of no matter where there is `data`.
    pub text: &'a str,
    /// Octets to send instead of a text.
    pub data: Option<&'a [u8]>,
    /// Header elements of the customer's own, without the length octet.
    pub udh: &'a [u8],
    /// The encoding that the customer insists on; `None`: by content.
    pub encoding: Option<Encoding>,
    /// How much of the text may change to fit GSM 7-bit; not where the encoding is given.
    pub smart: Option<Level>,
    /// Message class 0.
    pub flash: bool,
    /// The most segments it may take.
    pub max_segments: u8,
    /// Whether to cut off what goes beyond, instead of refusing it.
    pub truncate: bool,
}

/// How it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The alphabet.
    pub encoding: Encoding,
    /// Parts that we hand over.
    pub parts: u8,
    /// What is uncommon; `None` for most.
    pub sms: Option<Box<SmsOptions>>,
    /// The text where it is not the customer's any more.
    pub text: Option<String>,
    /// What smart encoding replaced.
    pub replaced: Vec<Replaced>,
    /// Whether the text was cut off.
    pub truncated: bool,
}

/// What the candidate routes have in common.
struct Common<'a> {
    routes: &'a [&'a Dialect],
}

impl Common<'_> {
    fn is_plain(&self) -> bool {
        self.routes
            .iter()
            .all(|route| route.is_plain() && !route.latin1)
    }

    /// Whether all deliver Latin-1.
    fn latin1(&self, flash: bool) -> bool {
        !self.routes.is_empty() && !self.any(|route| !takes_latin1(route, flash))
    }

    fn any(&self, test: impl Fn(&Dialect) -> bool) -> bool {
        self.routes.iter().any(|route| test(route))
    }

    fn width(&self) -> ReferenceWidth {
        if self.any(|route| route.long == Long::Udh16) {
            ReferenceWidth::Sixteen
        } else {
            ReferenceWidth::Eight
        }
    }

    fn whole(&self) -> bool {
        !self.routes.is_empty() && !self.any(|route| route.long != Long::Payload)
    }

    /// Languages that all pass on, in the first route's order.
    fn national(&self) -> Vec<Language> {
        let mut known = self
            .routes
            .first()
            .map_or_else(Vec::new, |first| first.national.clone());
        known.retain(|language| !self.any(|route| !route.national.contains(language)));
        known
    }

    /// Whether all can write a text of the GSM 7-bit alphabet in septets, or behind data_coding 0.
    fn hold(&self, text: &str, layout: &Layout<'_>, flash: bool) -> bool {
        self.routes
            .iter()
            .all(|route| holds(route, text, layout, flash))
    }
}

/// Whether a route can write a text of the GSM 7-bit alphabet in septets, or behind data_coding 0.
pub(super) fn holds(route: &Dialect, text: &str, layout: &Layout<'_>, flash: bool) -> bool {
    if flash && route.flash == Flash::Eighteen {
        return false;
    }
    let coding = route.data_coding(text::Encoding::Gsm7, flash);
    let alphabet = route.alphabet_of(coding);
    // A letter may take two octets there where it is one septet: the field may be too short.
    let short = SHORT_MESSAGE_OCTETS - HEADER_OCTETS;
    alphabet.holds(text)
        && (alphabet != Alphabet::Utf8
            || route.long == Long::Payload
            || text.len() <= short
            || layout.pieces(text).all(|piece| piece.len() <= short))
}

/// Whether a route delivers Latin-1. With a class no data_coding says it.
pub(super) fn takes_latin1(route: &Dialect, flash: bool) -> bool {
    route.latin1 && (!flash || route.flash == Flash::Tlv)
}

/// Plans a message for all of its candidate routes; without any, for the default dialect.
///
/// # Errors
/// [`SegmentError`].
pub fn write(wish: &Wish<'_>, routes: &[&Dialect]) -> Result<Written, SegmentError> {
    let common = Common { routes };
    let plain = wish.data.is_none() && wish.smart.is_none() && !wish.flash && !wish.truncate;
    if plain && common.is_plain() {
        let (encoding, parts) = segments(wish.text, wish.encoding, wish.max_segments)?;
        return Ok(Written {
            encoding,
            parts,
            ..Written::default()
        });
    }
    match wish.data {
        Some(data) => octets(wish, data, &common),
        None => text_of(wish, &common),
    }
}

fn octets(wish: &Wish<'_>, data: &[u8], common: &Common<'_>) -> Result<Written, SegmentError> {
    let layout = Layout {
        elements: wish.udh,
        width: common.width(),
        ..Layout::plain(text::Encoding::Ucs2)
    };
    let needed = layout.count_octets(data.len()).unwrap_or(usize::MAX);
    let parts = within(needed, wish.max_segments)?;
    Ok(Written {
        encoding: Encoding::Binary,
        parts,
        sms: options(wish, &layout, parts, None),
        ..Written::default()
    })
}

fn text_of(wish: &Wish<'_>, common: &Common<'_>) -> Result<Written, SegmentError> {
    let choice = choose(wish, common)?;
    let Choice {
        layout,
        mut text,
        replaced,
    } = choice;
    let own = text.as_deref().unwrap_or(wish.text);
    let mut needed = layout
        .count(own)
        .map_err(|_| SegmentError::TooManySegments { needed: usize::MAX })?;
    let truncated = wish.truncate && needed > usize::from(wish.max_segments);
    if truncated {
        let fitting = layout.fitting(own, wish.max_segments).to_owned();
        needed = layout.count(&fitting).unwrap_or(needed);
        text = Some(fitting);
    }
    let count = within(needed, wish.max_segments)?;
    let whole = count > 1 && common.whole() && layout.shifts.is_none();
    let (parts, payload) = if whole {
        (1, Some(count))
    } else {
        (count, None)
    };
    Ok(Written {
        encoding: match layout.encoding {
            text::Encoding::Gsm7 => Encoding::Gsm7,
            text::Encoding::Ucs2 => Encoding::Ucs2,
            text::Encoding::Latin1 => Encoding::Latin1,
        },
        parts,
        sms: options(wish, &layout, count, payload),
        text,
        replaced,
        truncated,
    })
}

fn within(needed: usize, max: u8) -> Result<u8, SegmentError> {
    match u8::try_from(needed) {
        Ok(parts) if parts <= max => Ok(parts),
        _ => Err(SegmentError::TooManySegments { needed }),
    }
}

fn options(
    wish: &Wish<'_>,
    layout: &Layout<'_>,
    segments: u8,
    payload_segments: Option<u8>,
) -> Option<Box<SmsOptions>> {
    let Shifts { locking, single } = layout.shifts;
    let wide_reference =
        segments > 1 && payload_segments.is_none() && layout.width == ReferenceWidth::Sixteen;
    let options = SmsOptions {
        flash: wish.flash,
        single_shift: single.map(Language::id),
        locking_shift: locking.map(Language::id),
        udh: wish.udh.into(),
        wide_reference,
        payload_segments,
        tlvs: Box::default(),
    };
    (options != SmsOptions::default()).then(|| Box::new(options))
}

struct Choice<'a> {
    layout: Layout<'a>,
    text: Option<String>,
    replaced: Vec<Replaced>,
}

/// The alphabet, and the text where smart encoding had to change it for that alphabet.
fn choose<'a>(wish: &Wish<'_>, common: &Common<'_>) -> Result<Choice<'a>, SegmentError> {
    let layout = |encoding| Layout {
        width: common.width(),
        ..Layout::plain(encoding)
    };
    let (gsm7, ucs2) = (layout(text::Encoding::Gsm7), layout(text::Encoding::Ucs2));
    let as_it_is = |layout| {
        Ok(Choice {
            layout,
            text: None,
            replaced: Vec::new(),
        })
    };
    match wish.encoding {
        Some(Encoding::Gsm7) => {
            if let Err(text::TextError::NotRepresentable { character, .. }) = gsm7.units(wish.text)
            {
                return Err(SegmentError::NotRepresentable { character });
            }
            if !common.hold(wish.text, &gsm7, wish.flash) {
                return Err(SegmentError::NotOnRoute);
            }
            return as_it_is(gsm7);
        }
        // Latin-1 is chosen for a text, and by nobody.
        Some(Encoding::Ucs2 | Encoding::Binary | Encoding::Latin1) => return as_it_is(ucs2),
        None => {}
    }
    let languages = common.national();
    let latin1 = layout(text::Encoding::Latin1);
    let latin1_parts = latin1.count(wish.text).ok();
    let latin1_parts = latin1_parts.filter(|_| common.latin1(wish.flash));
    // What the text takes as it is, where septets cannot write it.
    let otherwise = latin1_parts.unwrap_or_else(|| ucs2.count(wish.text).unwrap_or(usize::MAX));
    let in_septets = |text: &str| {
        if gsm7.units(text).is_ok() {
            return common.hold(text, &gsm7, wish.flash).then_some(gsm7);
        }
        if wish.flash && common.any(|route| route.flash == Flash::Eighteen) {
            return None;
        }
        national(text, &languages, &gsm7)
            .filter(|(_, parts)| *parts < otherwise)
            .map(|(layout, _)| layout)
    };
    if let Some(layout) = in_septets(wish.text) {
        return as_it_is(layout);
    }
    for level in [Level::Safe, Level::Full] {
        if wish.smart.is_some_and(|allowed| level <= allowed) {
            let (text, replaced) = smart::apply(wish.text, level);
            // Nothing is replaced in a text that goes out whole in no more parts.
            let saves = |layout: &Layout<'_>| {
                latin1_parts.is_none_or(|most| layout.count(&text).is_ok_and(|parts| parts < most))
            };
            if let Some(layout) = in_septets(&text).filter(saves) {
                return Ok(Choice {
                    layout,
                    text: Some(text),
                    replaced,
                });
            }
        }
    }
    as_it_is(if latin1_parts.is_some() { latin1 } else { ucs2 })
}
