//! Form: how a part differs from what was planned, in bits that only its connector can read.

use serde::{Deserialize, Serialize};

/// How a part is written on a route that has refused the planned form: a set of changes to it. Which bit
/// stands for which change is the connector's; it asks for one by [`Retry::Otherwise`](super::Retry), and
/// gets it in the next [`Attempt`](super::Attempt). All parts of a message are written alike on a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Form(pub u8);

impl Form {
    /// As it was planned.
    pub const PLANNED: Self = Self(0);

    /// Whether it has all of these changes.
    #[must_use]
    pub fn has(self, changes: Self) -> bool {
        self.0 & changes.0 == changes.0
    }

    /// With these changes as well.
    #[must_use]
    pub fn with(self, changes: Self) -> Self {
        Self(self.0 | changes.0)
    }
}

/// The words of connectors for their changes, by protocol: what `GET /v1/messages/{id}/timeline` shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct FormWords(pub &'static [(&'static str, &'static [(Form, &'static str)])]);

impl FormWords {
    /// A connector's word for a change; `None` where it has none.
    #[must_use]
    pub fn word(self, protocol: &str, change: Form) -> Option<&'static str> {
        let (_, words) = self.0.iter().find(|(known, _)| *known == protocol)?;
        let (_, word) = words.iter().find(|(known, _)| *known == change)?;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_the_set_of_the_changes_that_were_asked_for() {
        let (one, other) = (Form(1), Form(2));
        assert!(!Form::PLANNED.has(one));
        let both = Form::PLANNED.with(one).with(other).with(one);
        assert!(both.has(one) && both.has(other));
        assert!(!one.has(both));
    }

    #[test]
    fn a_change_has_the_word_of_its_own_connector() {
        let words = FormWords(&[
            ("smpp", &[(Form(1), "one")]),
            ("fcm", &[(Form(1), "other")]),
        ]);
        assert_eq!(words.word("smpp", Form(1)), Some("one"));
        assert_eq!(words.word("fcm", Form(1)), Some("other"));
        assert_eq!(words.word("smpp", Form(2)), None);
        assert_eq!(words.word("apns", Form(1)), None);
    }
}
