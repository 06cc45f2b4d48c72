//! Said: a push service's code and its words, which an attempt keeps as one text.

/// Most octets of a code. Chosen: the longest documented one (`BadEnvironmentKeyIdInToken`) has 26; what is
/// longer is no code.
const CODE_OCTETS_MAX: usize = 48;

/// What a push service said, out of [`super::Outcome::text`]: `CODE`, `CODE: words` or words alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said<'a> {
    /// Its code (APNs reason, FCM errorCode); empty where it gave none.
    pub code: &'a str,
    /// What it said in words, escaped; empty where it said nothing more.
    pub text: &'a str,
}

impl<'a> Said<'a> {
    /// A code if it has the form of one, with words; else the words alone.
    #[must_use]
    pub fn new(code: &'a str, text: &'a str) -> Self {
        let code = if is_code(code) { code } else { "" };
        Self { code, text }
    }

    /// As an attempt has kept it.
    #[must_use]
    pub fn read(kept: &'a str) -> Self {
        let (code, text) = kept.split_once(": ").unwrap_or((kept, ""));
        match code {
            "" => Self { code, text },
            _ if is_code(code) => Self { code, text },
            _ => Self {
                code: "",
                text: kept,
            },
        }
    }

    /// As an attempt keeps it; `None` where there is nothing.
    #[must_use]
    pub fn kept(self) -> Option<Box<str>> {
        let Self { code, text } = self;
        match (code, text) {
            ("", "") => None,
            (code, "") => Some(code.into()),
            // It is not to be read as a code.
            ("", text) if Self::read(text) == self => Some(text.into()),
            (code, text) => Some([code, ": ", text].concat().into()),
        }
    }
}

/// Apple's reasons and Google's codes are words of letters, digits and underscores.
fn is_code(text: &str) -> bool {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
    (1..=CODE_OCTETS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_and_its_words_are_told_apart() {
        for (kept, code, text) in [
            ("Unregistered", "Unregistered", ""),
            (
                "INVALID_ARGUMENT: message.android.ttl: Invalid value",
                "INVALID_ARGUMENT",
                "message.android.ttl: Invalid value",
            ),
            ("<html>Error: 502</html>", "", "<html>Error: 502</html>"),
            (": Unavailable", "", "Unavailable"),
            ("the route has no app x", "", "the route has no app x"),
        ] {
            let said = Said::read(kept);
            assert_eq!((said.code, said.text), (code, text));
            assert_eq!(said.kept().as_deref(), Some(kept));
        }
        assert_eq!(Said::default().kept(), None);
        let long = "x".repeat(CODE_OCTETS_MAX + 1);
        assert_eq!(Said::new(&long, "").code, "");
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read_again(code in "[A-Z_]{0,50}", text in "[ :a-z<]{0,20}") {
            let said = Said::new(&code, &text);
            let kept = said.kept().unwrap_or_default();
            prop_assert_eq!(Said::read(&kept), said);
        }
    }
}
