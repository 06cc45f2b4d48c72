//! APNs, Apple's provider API over HTTP/2: requests and answers as data. The connection, its
//! streams and its clock are the connector's; the payload is `push`'s.

use std::borrow::Cow;

mod answer;
mod push_type;
mod reason;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{ANSWER_OCTETS_MAX, Answer, GoAway};
pub use push_type::{Auth, Priority, PushType, Rules};
pub use reason::{REASONS, Row, classify};
pub use request::{
    COLLAPSE_ID_OCTETS_MAX, Expiration, Header, Headers, Request, RequestError, TOPIC_OCTETS_MAX,
    check_collapse_id,
};

/// Production host. "Sending notification requests to APNs".
pub const PRODUCTION_HOST: &str = "api.push.apple.com";

/// Development host. Same page; `api.development.push.apple.com` is its older name.
pub const SANDBOX_HOST: &str = "api.sandbox.push.apple.com";

/// Ports: the second one is the same service for firewalls that know it. Same page.
pub const PORTS: [u16; 2] = [443, 2197];

/// Characters of a key id and of a team id. "Establishing a token-based connection to APNs".
pub const ID_CHARS: usize = 10;

/// Most octets of a device token. Apple: do not assume a size. Chosen: tokens of apps have 32
/// octets, of Live Activities 80, and 100 was seen (push.md §1.1).
pub const DEVICE_TOKEN_OCTETS_MAX: usize = 100;

/// Says whether a text has the form of a key id or a team id.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == ID_CHARS && text.bytes().all(|octet| octet.is_ascii_alphanumeric())
}

/// A device token: lower-case hexadecimal digits, two for each octet.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DeviceToken<'a>(Cow<'a, str>);

/// Without the digits, which are the device's address.
impl std::fmt::Debug for DeviceToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceToken({} digits)", self.0.len())
    }
}

impl<'a> DeviceToken<'a> {
    /// Reads a token in either case; without a copy if it is in lower case already.
    ///
    /// # Errors
    /// [`TokenError`] says what is wrong, and never repeats the token.
    pub fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.len() > 2 * DEVICE_TOKEN_OCTETS_MAX {
            return Err(TokenError::TooLong(text.len()));
        }
        if let Some(at) = text.bytes().position(|octet| !octet.is_ascii_hexdigit()) {
            return Err(TokenError::Digit(at));
        }
        if !text.len().is_multiple_of(2) {
            return Err(TokenError::HalfOctet(text.len()));
        }
        Ok(Self(
            if text.bytes().any(|octet| octet.is_ascii_uppercase()) {
                text.to_ascii_lowercase().into()
            } else {
                text.into()
            },
        ))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no device token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// It is empty.
    Empty,
    /// It has this many characters, more than [`DEVICE_TOKEN_OCTETS_MAX`] octets take.
    TooLong(usize),
    /// What is at this offset is no hexadecimal digit.
    Digit(usize),
    /// It has this many digits, an odd number.
    HalfOctet(usize),
}

impl std::fmt::Display for TokenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("a device token is not empty"),
            Self::TooLong(chars) => write!(
                f,
                "a device token has at most {} hexadecimal digits, this one {chars} characters",
                2 * DEVICE_TOKEN_OCTETS_MAX
            ),
            Self::Digit(at) => write!(
                f,
                "a device token is hexadecimal digits only: not so at offset {at}"
            ),
            Self::HalfOctet(digits) => write!(
                f,
                "a device token has two digits for each octet, this one {digits} in all"
            ),
        }
    }
}

impl std::error::Error for TokenError {}

/// An `apns-id`: 16 octets, written as a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApnsId(pub [u8; 16]);

/// Octets of a UUID's text: RFC 9562 §4.
const UUID_OCTETS: usize = 36;

/// Where a UUID's text has its hyphens: 8-4-4-4-12.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl ApnsId {
    /// The canonical form in lower case: what Apple asks for.
    #[must_use]
    pub fn text(self) -> [u8; UUID_OCTETS] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; UUID_OCTETS];
        let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
        let digits = self
            .0
            .iter()
            .flat_map(|octet| [digit(octet >> 4), digit(octet & 0x0F)]);
        let places = (0..UUID_OCTETS).filter(|at| !HYPHENS.contains(at));
        for (at, digit) in places.zip(digits) {
            if let Some(place) = text.get_mut(at) {
                *place = digit;
            }
        }
        text
    }

    /// Reads a UUID in either case; `None` if it is none. Apple echoes ours in upper case.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != UUID_OCTETS {
            return None;
        }
        let mut octets = [0; 16];
        let mut count = 0;
        for (at, &octet) in text.iter().enumerate() {
            if HYPHENS.contains(&at) {
                if octet != b'-' {
                    return None;
                }
                continue;
            }
            let digit = u8::try_from(char::from(octet).to_digit(16)?).ok()?;
            let place = octets.get_mut(count / 2)?;
            *place = *place << 4 | digit;
            count += 1;
        }
        Some(Self(octets))
    }
}

impl std::fmt::Display for ApnsId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text()
            .iter()
            .try_for_each(|&octet| std::fmt::Write::write_char(f, char::from(octet)))
    }
}
