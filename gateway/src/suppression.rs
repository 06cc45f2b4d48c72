//! Suppression: who must not be sent to, how far that goes, and what put it there or ended it.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::message::{Class, MessageId, Phone, TenantIx};

pub use crate::message::Channel;

/// Octets of a sender in a scope: what an SMS sender may have (SMPP v3.4 §5.2.8, source_addr without
/// its NUL).
pub const SENDER_MAX: usize = 20;

/// What a suppression covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Everything of the tenant.
    All,
    /// What comes from this sender; case and a leading plus do not matter.
    Sender(Box<str>),
    /// What goes over this channel.
    Channel(Channel),
    /// What is of this class.
    Class(Class),
}

impl Scope {
    /// The contract's word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Sender(_) => "sender",
            Self::Channel(_) => "channel",
            Self::Class(_) => "class",
        }
    }

    /// What it names; empty for all.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Self::All => "",
            Self::Sender(sender) => sender,
            Self::Channel(channel) => channel.name(),
            Self::Class(class) => class.name(),
        }
    }

    /// The scope of a kind and a value; `None` when there is none such.
    #[must_use]
    pub fn parse(kind: &str, value: &str) -> Option<Self> {
        match kind {
            "all" => value.is_empty().then_some(Self::All),
            "sender" => is_sender(value).then(|| Self::Sender(value.into())),
            "channel" => Channel::from_name(value).map(Self::Channel),
            "class" => Class::from_name(value).map(Self::Class),
            _ => None,
        }
    }
}

/// Whether a text can be a message's sender: 1 to [`SENDER_MAX`] printable ASCII characters, and
/// something beside a plus.
#[must_use]
pub fn is_sender(text: &str) -> bool {
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    printable && text.len() <= SENDER_MAX && !text.trim_start_matches('+').is_empty()
}

/// Whom a suppression is about, and what it covers. There is at most one of each at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Whose.
    pub tenant: TenantIx,
    /// Who is not sent to.
    pub phone: Phone,
    /// How far that goes.
    pub scope: Scope,
}

/// What put a suppression there, or ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// The recipient's own word.
    Keyword,
    /// One API call.
    Api,
    /// A file that was imported.
    Import,
}

impl Source {
    /// The contract's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Api => "api",
            Self::Import => "import",
        }
    }

    /// The source of a word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Keyword, Self::Api, Self::Import];
        all.into_iter().find(|source| source.name() == name)
    }
}

/// Who did it, and why: the audit of a suppression's beginning or end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What it came by.
    pub source: Source,
    /// The API key's name; empty for a keyword.
    pub by: Box<str>,
    /// The keyword that matched; empty without one.
    pub keyword: Box<str>,
    /// What the recipient wrote, or why it was done.
    pub text: Box<str>,
    /// The inbound message that asked for it.
    pub inbound: Option<MessageId>,
}

impl Cause {
    /// What it takes on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.by.len() + self.keyword.len() + self.text.len()
    }
}

/// Somebody who must not be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// Given by the store's writer.
    pub id: MessageId,
    /// Whom it is about, and what it covers.
    pub key: Key,
    /// Who added it, and why.
    pub cause: Cause,
    /// When: given by the writer.
    pub created_at: UnixMs,
    /// From then on it covers nothing; `None`: for ever.
    pub expires_at: Option<UnixMs>,
}

impl Suppression {
    /// Whether it has run out.
    #[must_use]
    pub fn is_over(&self, now: UnixMs) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// The end of a suppression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub id: MessageId,
    /// Whom it was about.
    pub key: Key,
    /// Who ended it, and why.
    pub cause: Cause,
    /// When.
    pub at: UnixMs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_back_from_their_words() {
        let scopes = [
            Scope::All,
            Scope::Sender("+46769440001".into()),
            Scope::Channel(Channel::Sms),
            Scope::Channel(Channel::Push),
            Scope::Class(Class::Promotional),
        ];
        for scope in scopes {
            assert_eq!(Scope::parse(scope.kind(), scope.value()), Some(scope));
        }
        let long = "x".repeat(SENDER_MAX + 1);
        for (kind, value) in [
            ("all", "x"),
            ("sender", ""),
            ("sender", "+"),
            ("sender", "åäö"),
            ("sender", &long),
            ("channel", "rcs"),
            ("class", "spam"),
            ("", ""),
        ] {
            assert_eq!(Scope::parse(kind, value), None, "{kind} {value}");
        }
    }
}
