//! Message: what a customer handed over, as it stays from acceptance to the last receipt.
//!
//! A [`Message`] never changes; what happens to it is its [`life::Life`]. It is held behind an `Arc`
//! and shared by the store, the dispatcher and the binds, and it is compact: one allocation for all
//! of its texts, because hundreds of thousands are in memory at a time.

use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::UnixMs;
use crate::outcome::Reason;

pub mod id;
pub mod life;
pub mod push;
mod sms;
pub mod steps;
pub mod tlv;

pub use id::{Ids, MessageId};
pub use push::PushContent;
pub use sms::SmsOptions;
pub use steps::Channel;

/// A tenant, by its number in the store's name table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct TenantIx(pub u16);

impl TenantIx {
    /// Nobody's: what only an operator sees. No name has this number (there are at most 65,535).
    pub const OPERATOR: Self = Self(u16::MAX);
}

/// A route, by its number in the store's name table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RouteIx(pub u16);

/// A webhook endpoint, by its number in the store's name table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EndpointIx(pub u16);

/// What kind of message it is: decides lane, defaults and who is refused first under load.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// One-time passwords: the first lane, refused last.
    Otp,
    /// Order updates and the like; the default.
    #[default]
    Transactional,
    /// Replies in a conversation.
    Conversational,
    /// Bulk; refused first.
    Promotional,
}

impl Class {
    /// All classes, in lane order.
    pub const ALL: [Self; 4] = [
        Self::Otp,
        Self::Transactional,
        Self::Conversational,
        Self::Promotional,
    ];

    /// The contract's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Otp => "otp",
            Self::Transactional => "transactional",
            Self::Conversational => "conversational",
            Self::Promotional => "promotional",
        }
    }

    /// The class of a contract word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Its lane's number: 0 is otp.
    #[must_use]
    pub fn lane(self) -> usize {
        self as usize
    }
}

/// Becomes the SMPP priority_flag and orders nothing inside a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before the others.
    High,
    /// The default.
    #[default]
    Normal,
    /// After the others.
    Low,
}

/// What to do with a part that was handed to a link and never answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnAmbiguous {
    /// Send it again: at least once.
    #[default]
    Retry,
    /// Leave it `unknown`: at most once. The intent is on disk before the bytes are written.
    Hold,
}

/// How an SMS text is written on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// GSM 03.38 default alphabet with extension, unpacked.
    #[default]
    Gsm7,
    /// UCS-2 (UTF-16BE).
    Ucs2,
    /// Octets that are no text; the body holds them as base64.
    Binary,
    /// ISO 8859-1, on routes that say that they take it.
    Latin1,
}

impl Encoding {
    /// The contract's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gsm7 => "gsm7",
            Self::Ucs2 => "ucs2",
            Self::Binary => "binary",
            Self::Latin1 => "latin1",
        }
    }
}

/// A phone number in E.164, without its plus: 7 to 15 digits, the first not 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Phone(u64);

impl Phone {
    /// Reads `+46701234567`; `None` when it is not E.164 (ITU-T E.164 §6: at most 15 digits; the
    /// lower bound of 7 is the contract's).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_digits(text.strip_prefix('+')?.as_bytes())
    }

    /// Reads digits alone, as a carrier writes them.
    #[must_use]
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        if !(7..=15).contains(&digits.len()) || digits[0] == b'0' {
            return None;
        }
        digits
            .iter()
            .try_fold(0u64, |sum, digit| {
                digit
                    .is_ascii_digit()
                    .then(|| sum * 10 + u64::from(digit - b'0'))
            })
            .map(Self)
    }

    /// This number, unless it is none: the default, which a message without one has.
    #[must_use]
    pub fn known(self) -> Option<Self> {
        (self.0 != 0).then_some(self)
    }

    /// The number as an integer, for keys and columns.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// Reasons for which a message may move to its next route, as the contract's `failover.on` names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FailoverOn(pub u8);

impl FailoverOn {
    /// The route has no bound link.
    pub const ROUTE_DOWN: Self = Self(1);
    /// The carrier throttles.
    pub const THROTTLED: Self = Self(2);
    /// The carrier refused for a reason that another carrier may not have.
    pub const TRANSIENT: Self = Self(4);
    /// The carrier did not answer.
    pub const NO_RESPONSE: Self = Self(8);
    /// All of them: the default, but for promotional messages, which leave out `no_response`.
    pub const ALL: Self = Self(15);

    /// Whether `one` is among them.
    #[must_use]
    pub fn has(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }
}

/// The texts of a message, in the order in which [`Texts`] stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// The sender as accepted: alphanumeric, short code or number.
    From,
    /// The message's text.
    Body,
    /// The customer's own reference.
    ClientRef,
    /// Tags, separated by one space each.
    Tags,
    /// The metadata object as compact JSON; empty when there is none.
    Metadata,
    /// The tracking object as compact JSON; empty when there is none.
    Tracking,
    /// The W3C traceparent header.
    Traceparent,
    /// `callback.url`, when the callback names a URL instead of an endpoint.
    CallbackUrl,
    /// `callback.types`, separated by one space each.
    CallbackTypes,
    /// `content.push` as compact JSON; empty without.
    Push,
}

const TEXTS: usize = 10;

/// Several short texts in one allocation. At most 64 KiB together, which the request limits ensure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    all: Box<str>,
    ends: [u16; TEXTS],
}

impl Texts {
    /// Packs the texts, given in the order of [`Text`].
    ///
    /// # Errors
    /// [`TextsTooLong`] when they are longer than 65,535 bytes together.
    pub fn pack(parts: [&str; TEXTS]) -> Result<Self, TextsTooLong> {
        let mut all = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        let mut ends = [0; TEXTS];
        for (end, part) in ends.iter_mut().zip(parts) {
            all.push_str(part);
            *end = u16::try_from(all.len()).map_err(|_| TextsTooLong)?;
        }
        Ok(Self {
            all: all.into_boxed_str(),
            ends,
        })
    }

    /// One of the texts; empty when the customer gave none.
    #[must_use]
    pub fn of(&self, text: Text) -> &str {
        let index = text as usize;
        let start = if index == 0 {
            0
        } else {
            usize::from(self.ends[index - 1])
        };
        // A record that was damaged in a way its CRC missed reads as empty, never as a panic.
        self.all
            .get(start..usize::from(self.ends[index]))
            .unwrap_or_default()
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.all.len()
    }
}

/// The texts of a message are longer than 65,535 bytes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextsTooLong;

/// The most routes a message may try: `failover.max_routes` is 1 to 5 (contract.md §1).
pub const ROUTES_MAX: usize = 5;

/// A message as accepted. Everything that acceptance and planning decided, and nothing that changes, but
/// for further routes when a later config has lost one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Given by the store's writer in the commit that accepts it; zero before.
    pub id: MessageId,
    /// Whose it is.
    pub tenant: TenantIx,
    /// To whom.
    pub to: Phone,
    /// Decides the lane.
    pub class: Class,
    /// Becomes the priority_flag.
    pub priority: Priority,
    /// What an unanswered submit means.
    pub on_ambiguous: OnAmbiguous,
    /// When to try the next route.
    pub failover_on: FailoverOn,
    /// How the text is written.
    pub encoding: Encoding,
    /// How many segments it takes: 1 to 20. Each is one part.
    pub segments: u8,
    /// Concatenation reference of its segments; given by the writer, the same in every retry.
    /// 8-bit headers carry its low octet.
    pub concat_ref: u16,
    /// What is uncommon about how it is written.
    pub sms: Option<Box<SmsOptions>>,
    /// Set when `callback.endpoint_id` names an endpoint: its events go there only.
    pub callback: Option<EndpointIx>,
    /// The batch it came in.
    pub batch: Option<MessageId>,
    /// What policy said of it at acceptance.
    pub policy: Policy,
    /// When it was accepted; given by the writer.
    pub accepted_at: UnixMs,
    /// After this it is not sent any more.
    pub expires_at: UnixMs,
    /// Candidate routes in failover order, the first one to try first. Empty: rejected, no route; or it
    /// has [`steps::Steps`], whose legs have routes of their own.
    pub routes: SmallVec<[RouteIx; 4]>,
    /// What it does that is more than one SMS.
    pub steps: Option<Box<steps::Steps>>,
    /// All of its texts.
    pub texts: Texts,
}

impl Message {
    /// Why it is rejected from its beginning, if it is: policy refuses it, or there is no route.
    #[must_use]
    pub fn refused(&self) -> Option<Reason> {
        let routeless = || self.first_step().is_none();
        self.policy
            .refused
            .or_else(|| routeless().then_some(Reason::NoRoute))
    }

    /// One of its texts.
    #[must_use]
    pub fn text(&self, text: Text) -> &str {
        self.texts.of(text)
    }

    /// What it takes in memory, about: the struct, its Arc, its texts and its options.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let sms = self.sms.as_ref().map_or(0, |sms| sms.heap_bytes());
        let steps = self.steps.as_ref().map_or(0, |steps| steps.memory_bytes());
        size_of::<Self>() + 16 + self.texts.heap_bytes() + sms + steps
    }

    /// Segments that reach the handset: its parts, or those that the carrier cuts it into.
    #[must_use]
    pub fn sms_segments(&self) -> u8 {
        let payload = self.sms.as_ref().and_then(|sms| sms.payload_segments);
        payload.unwrap_or(self.segments)
    }

    /// How many segments of its SMS reached the handset.
    #[must_use]
    pub fn segments_delivered(&self, life: &life::Life) -> u8 {
        let parts = self.sms_leg().map(|leg| leg.parts()).unwrap_or_default();
        self.segments_of(life.delivered_of(parts))
    }

    /// How many segments these parts of it are.
    #[must_use]
    pub fn segments_of(&self, parts: u8) -> u8 {
        if self.segments == parts {
            self.sms_segments()
        } else {
            parts
        }
    }

    /// All of its parts as a bit set: bit 0 is part 0.
    #[must_use]
    pub fn all_parts(&self) -> Parts {
        Parts::first(self.part_count())
    }
}

/// What policy said of a message at acceptance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// It goes out whoever is suppressed: the customer's own decision (`policy.suppressions: ignore`),
    /// or it confirms that very suppression.
    pub ignores_suppressions: bool,
    /// It was refused, for this reason; given by the writer.
    pub refused: Option<Reason>,
}

/// A set of parts of one message: at most [`steps::PARTS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Parts(pub u32);

impl Parts {
    /// The parts 0 to `count` - 1.
    #[must_use]
    pub fn first(count: u8) -> Self {
        Self(
            u32::MAX
                .checked_shr(32u32.saturating_sub(u32::from(count)))
                .unwrap_or(0),
        )
    }

    /// The `count` parts from `first` on.
    #[must_use]
    pub fn range(first: u8, count: u8) -> Self {
        Self(Self::first(count).0.checked_shl(first.into()).unwrap_or(0))
    }

    /// Those of them that are in `others`, too.
    #[must_use]
    pub fn within(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// One part alone.
    #[must_use]
    pub fn one(part: u8) -> Self {
        Self(1u32.checked_shl(u32::from(part)).unwrap_or(0))
    }

    /// Whether `part` is among them.
    #[must_use]
    pub fn has(self, part: u8) -> bool {
        self.0 & Self::one(part).0 != 0
    }

    /// With `part` added.
    pub fn add(&mut self, part: u8) {
        self.0 |= Self::one(part).0;
    }

    /// With `part` taken out.
    pub fn remove(&mut self, part: u8) {
        self.0 &= !Self::one(part).0;
    }

    /// How many they are.
    #[must_use]
    pub fn count(self) -> u8 {
        u8::try_from(self.0.count_ones()).unwrap_or(u8::MAX)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The parts, in order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..32).filter(move |part| self.has(*part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_are_e164_only() {
        assert_eq!(
            Phone::parse("+46701234567").map(|p| p.to_string()).unwrap(),
            "+46701234567"
        );
        for bad in [
            "46701234567",
            "+0701234567",
            "+123456",
            "+1234567890123456",
            "+46 70",
            "+",
            "",
        ] {
            assert_eq!(Phone::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn texts_come_back_as_packed() {
        let texts = Texts::pack(["ACME", "héllo", "", "a b", "{}", "", "t", "", "z", "p"]).unwrap();
        assert_eq!(texts.of(Text::Body), "héllo");
        assert_eq!(texts.of(Text::ClientRef), "");
        assert_eq!(texts.of(Text::CallbackTypes), "z");
        assert_eq!(texts.of(Text::Push), "p");
        let long = "x".repeat(70_000);
        assert_eq!(
            Texts::pack([&long, "", "", "", "", "", "", "", "", ""]),
            Err(TextsTooLong)
        );
    }

    #[test]
    fn parts_count_and_list() {
        let mut parts = Parts::first(3);
        assert_eq!(parts.iter().collect::<Vec<_>>(), [0, 1, 2]);
        parts.remove(1);
        assert_eq!(
            (parts.count(), parts.has(1), parts.has(2)),
            (2, false, true)
        );
        assert_eq!(Parts::first(0), Parts::default());
        assert_eq!(Parts::first(32).count(), 32);
    }
}
