//! Words: what a service said of a push, as an attempt keeps it: short, escaped, and without secrets.

use codecs::fcm;
use codecs::verdict;

use crate::outcome::Said;

/// Most octets of words that are kept. Chosen: a field and Google's sentence on it fit, and with a code it is
/// within what `Outcome::text` may have.
const WORDS_OCTETS_MAX: usize = 200;
/// Most octets that are looked at. Chosen: some more, as secrets are cut out of them.
const LOOKED_OCTETS_MAX: usize = 1_024;
/// Octets of a device's token by which its beginning is known. Chosen: prose has no eight in common with one.
const TOKEN_START: usize = 8;
/// A word of so many octets may be somebody's token. Chosen: the shortest, Apple's, have 64.
const SECRET_OCTETS: usize = 64;
/// In place of what was cut out.
const CUT: &str = "[cut]";

/// What Google said: the refused fields with what is wrong with each, else its sentence; and Apple's reason,
/// where it has asked Apple.
pub(super) fn of_fcm(answer: &fcm::Answer) -> String {
    let violations = answer.violations.iter().map(|violation| {
        let why = match &*violation.description {
            "" => &answer.message,
            why => why,
        };
        [&violation.field, ": ", why].concat()
    });
    let mut said: Vec<String> = violations.collect();
    if said.is_empty() && !answer.message.is_empty() {
        said.push(answer.message.clone().into());
    }
    match answer.apns_reason.text() {
        "" => {}
        reason => said.push(format!("APNs: {reason}")),
    }
    said.join("; ")
}

/// What an attempt for the device with this token keeps of an answer: its code and words, at most 255 octets.
pub(super) fn kept(code: &verdict::Reason, words: &str, token: &str) -> Option<Box<str>> {
    let said = Said::new(code.text(), "");
    // What has not the form of a code is words.
    let stray = match said.code {
        "" => code.text(),
        _ => "",
    };
    let mut text = String::new();
    escape(stray, &mut text);
    escape(words, &mut text);
    let mut text = without(&text, token);
    text.truncate(WORDS_OCTETS_MAX);
    let text = text.trim_end();
    Said { text, ..said }.kept()
}

/// Printable ASCII as it is, one space for any number of others and of what the codec could not keep, and the
/// rest escaped.
fn escape(words: &str, out: &mut String) {
    for word in words.chars() {
        if out.len() >= LOOKED_OCTETS_MAX {
            break;
        }
        match word {
            '!'..='~' => out.push(word),
            ' ' | '\u{FFFD}' if out.is_empty() || out.ends_with(' ') => {}
            ' ' | '\u{FFFD}' => out.push(' '),
            _ => out.extend(word.escape_unicode()),
        }
    }
}

/// Without the device's token or its beginning, and without words that are as long as secrets are: a page may
/// repeat our request. `text` is ASCII.
fn without(text: &str, token: &str) -> String {
    let start = token.len().min(TOKEN_START);
    let mut left = text;
    let mut out = String::with_capacity(text.len());
    while let Some(octet) = left.chars().next() {
        let same = left.bytes().zip(token.bytes());
        let same = same.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
        let word = left
            .bytes()
            .take_while(|octet| may_be_secret(*octet))
            .count();
        let (cut, kept) = if same > 0 && same >= start {
            (same, CUT)
        } else if word >= SECRET_OCTETS && !out.ends_with(may_be_secret_char) {
            (word, CUT)
        } else {
            (octet.len_utf8(), "")
        };
        let (taken, rest) = left.split_at_checked(cut).unwrap_or((left, ""));
        out.push_str(if kept.is_empty() { taken } else { kept });
        left = rest;
    }
    out
}

/// What tokens are made of: base64url, its parts in a JWT, base64 and percent signs.
fn may_be_secret(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-_.~+/=%".contains(&octet)
}

fn may_be_secret_char(char: char) -> bool {
    u8::try_from(char).is_ok_and(may_be_secret)
}

#[cfg(test)]
mod tests {
    use codecs::verdict::Reason;

    use super::*;

    const TOKEN: &str = "dGVzdA:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx";

    fn of(words: &str) -> String {
        kept(&Reason::None, words, TOKEN).unwrap_or_default().into()
    }

    #[test]
    fn the_devices_token_and_what_may_be_another_secret_are_cut_out() {
        assert_eq!(of(&format!("token {TOKEN} is bad")), "token [cut] is bad");
        let shouted = TOKEN.to_ascii_uppercase();
        assert_eq!(of(&format!("'{shouted}'")), "'[cut]'");
        assert_eq!(of(&format!("it is {}", &TOKEN[..12])), "it is [cut]");
        let jwt = format!("eyJhbGciOiJFUzI1NiJ9.{}.x-_", "e".repeat(60));
        assert_eq!(of(&format!("bearer {jwt}")), "bearer [cut]");
        assert_eq!(
            of(&format!("/3/device/{}<br>", "a".repeat(64))),
            "[cut]<br>"
        );
        assert_eq!(
            of("Invalid value at 'message.android.ttl'"),
            "Invalid value at 'message.android.ttl'"
        );
        let short = kept(&Reason::None, "to abc", "abc");
        assert_eq!(short.as_deref(), Some("to [cut]"));
        assert_eq!(kept(&Reason::None, "to abc", "").as_deref(), Some("to abc"));
    }

    #[test]
    fn words_are_short_and_nothing_in_them_moves_a_cursor() {
        assert_eq!(
            of(" a\u{FFFD}\u{FFFD} b\u{202E}c\u{e9}"),
            "a b\\u{202e}c\\u{e9}"
        );
        let long = of(&"ab ".repeat(3_000));
        assert!(long.len() <= WORDS_OCTETS_MAX && long.starts_with("ab ab"));
        let code = Reason::Known("BadEnvironmentKeyIdInToken");
        let both = kept(&code, &"ab ".repeat(3_000), TOKEN).unwrap();
        assert!(both.len() <= 255 && both.starts_with("BadEnvironmentKeyIdInToken: ab"));
    }

    #[test]
    fn what_has_not_the_form_of_a_code_is_words() {
        let odd = Reason::Other("not a code".into());
        assert_eq!(kept(&odd, "", TOKEN).as_deref(), Some("not a code"));
        let new = Reason::Other("BrandNew".into());
        assert_eq!(kept(&new, "", TOKEN).as_deref(), Some("BrandNew"));
        assert_eq!(kept(&Reason::None, "", TOKEN), None);
    }
}
