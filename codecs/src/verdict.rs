//! What a push service's answer means for the message, the device and the link: the same words
//! for APNs and FCM.

use std::borrow::Cow;

/// Most octets that are kept of a text that a service sent. Chosen: the longest documented reason
/// has 27, and Google's sentences fit.
pub const TEXT_OCTETS_MAX: usize = 256;

/// What an answer means; the connector's next step follows from it. push.md §1.5 and §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The service took the message.
    Accepted,
    /// The device is gone: the customer deletes the token, if what the service knows is newer.
    PermanentToken,
    /// The token does not fit; it also looks so for every token when environment or credentials
    /// are wrong, so that deletion stands under a guard (push.md R13).
    SuspectToken,
    /// The route's credentials, topic or project are wrong: no message will pass.
    PermanentConfig,
    /// This message will never pass, others may.
    PermanentMessage,
    /// Our request was wrong in a way that no content explains.
    Bug,
    /// Our access token is too old: one refresh, one repetition.
    AuthRefresh,
    /// The connection is of no more use; the message was not taken and is repeated elsewhere.
    ConnectionFatal,
    /// As [`Class::ConnectionFatal`], because tokens were renewed too often: the old token stays.
    ConnectionThrottled,
    /// Neither the device nor the project is named as what was not found: whose fault it is, the answers
    /// to others tell.
    NotFound,
    /// Too many messages to this device: it alone waits.
    ThrottleDevice,
    /// Too many messages to this topic: it alone waits.
    ThrottleTopic,
    /// Too many messages in all: the route waits.
    Throttle,
    /// A passing fault of the service: later.
    RetryLater,
    /// Neither taken nor refused: the outcome is unknown.
    Unclear,
}

impl Class {
    /// A name for metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::PermanentToken => "permanent_token",
            Self::SuspectToken => "suspect_token",
            Self::PermanentConfig => "permanent_config",
            Self::PermanentMessage => "permanent_message",
            Self::Bug => "bug",
            Self::AuthRefresh => "auth_refresh",
            Self::ConnectionFatal => "connection_fatal",
            Self::ConnectionThrottled => "connection_throttled",
            Self::NotFound => "not_found",
            Self::ThrottleDevice => "throttle_device",
            Self::ThrottleTopic => "throttle_topic",
            Self::Throttle => "throttle",
            Self::RetryLater => "retry_later",
            Self::Unclear => "unclear",
        }
    }

    /// Says whether the message was certainly not taken and may be taken later: to repeat it
    /// doubles nothing.
    #[must_use]
    pub fn may_repeat(self) -> bool {
        matches!(
            self,
            Self::AuthRefresh
                | Self::ConnectionFatal
                | Self::ConnectionThrottled
                | Self::NotFound
                | Self::ThrottleDevice
                | Self::ThrottleTopic
                | Self::Throttle
                | Self::RetryLater
        )
    }

    /// Says whether the service knew us, and looked at whom the message is for.
    #[must_use]
    pub fn looked(self) -> bool {
        matches!(
            self,
            Self::Accepted
                | Self::PermanentToken
                | Self::SuspectToken
                | Self::PermanentMessage
                | Self::ThrottleDevice
                | Self::ThrottleTopic
        )
    }
}

/// A reason as a service names it: one of ours, or its own text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A reason of the table: safe as a metric's label.
    Known(&'static str),
    /// What the service wrote, at most [`TEXT_OCTETS_MAX`] octets without control characters:
    /// untrusted, and no metric's label.
    Other(Box<str>),
    /// There was none.
    None,
}

impl Reason {
    /// Keeps a service's own text.
    pub(crate) fn other(text: &[u8]) -> Self {
        match kept(text) {
            Cow::Borrowed("") => Self::None,
            text => Self::Other(text.into()),
        }
    }

    /// The text; empty if there was none.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Known(name) => name,
            Self::Other(text) => text,
            Self::None => "",
        }
    }

    /// The name if it is one of the table's; else empty.
    #[must_use]
    pub fn known(&self) -> &'static str {
        match self {
            Self::Known(name) => name,
            Self::Other(_) | Self::None => "",
        }
    }

    /// A metric's label: the name if it is one of the table's.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Known(name) => name,
            Self::Other(_) => "unknown_reason",
            Self::None => "no_reason",
        }
    }
}

/// The first [`TEXT_OCTETS_MAX`] octets as text; what is no UTF-8 or a control character becomes
/// U+FFFD.
pub(crate) fn kept(text: &[u8]) -> Cow<'_, str> {
    let cut = text.get(..TEXT_OCTETS_MAX).unwrap_or(text);
    let mut kept = String::from_utf8_lossy(cut);
    if kept.contains(char::is_control) {
        kept = kept.replace(char::is_control, "\u{FFFD}").into();
    }
    while kept.len() > TEXT_OCTETS_MAX {
        // Replacement characters are longer than what they stand for.
        kept.to_mut().pop();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_bounded_text_without_control_characters() {
        assert_eq!(
            kept(b"Bad\r\nReason\x1b[31m"),
            "Bad\u{FFFD}\u{FFFD}Reason\u{FFFD}[31m"
        );
        assert_eq!(kept(&[b'a'; 300]), "a".repeat(TEXT_OCTETS_MAX));
        for octet in [0xFF, 0x07] {
            let text = kept(&[octet; 300]).into_owned();
            assert!(text.len() <= TEXT_OCTETS_MAX && text.chars().all(|c| c == '\u{FFFD}'));
        }
        assert_eq!(Reason::other(b""), Reason::None);
        assert_eq!(Reason::other(b"x").label(), "unknown_reason");
    }

    #[test]
    fn what_may_be_repeated_was_not_taken() {
        for class in [
            Class::Accepted,
            Class::Unclear,
            Class::PermanentToken,
            Class::Bug,
        ] {
            assert!(!class.may_repeat(), "{}", class.name());
        }
        assert!(!Class::NotFound.looked() && !Class::Throttle.looked());
        assert!(Class::Accepted.looked() && Class::PermanentToken.looked());
        assert!(Class::Throttle.may_repeat() && Class::AuthRefresh.may_repeat());
    }
}
