//! `content.sms.tlv`, as far as it can be judged without the routes; and what they have against it.

use std::ops::RangeInclusive;

use super::Check;
use crate::accept::Scope;
use crate::accept::problem::{Code, FieldError};
use crate::accept::request::TlvsIn;
use crate::accept::shape::push_token;
use crate::message::tlv::{
    TLVS_MAX, TlvKind, TlvRefusal, TlvValue, TlvWhy, TlvWish, VALUE_OCTETS_MAX, raw_tag,
};
use crate::names::Names;

const AT: &str = "/content/sms/tlv";
/// Tags that may be sent raw: those that SMPP v3.4 §5.3.2 leaves to SMSC vendors.
const RAW_TAGS: RangeInclusive<u16> = 0x1400..=0x3FFF;
/// Characters of a name in a route's dictionary (`routes.*.tlvs`).
const NAME_MAX: usize = 32;

/// Where a TLV stands.
fn place(name: &str) -> String {
    let mut at = String::from(AT);
    push_token(&mut at, name);
    at
}

impl Check<'_> {
    pub(super) fn tlvs<'r>(&mut self, tlvs: Option<&'r TlvsIn<'r>>) -> Vec<TlvWish<'r>> {
        let asked: &[_] = tlvs.map_or(&[], |tlvs| &tlvs.0);
        if asked.is_empty() {
            return Vec::new();
        }
        if !self.origin.raw {
            let detail = "needs the scope messages:raw";
            let error = FieldError::at(AT, "insufficient_scope", detail);
            self.add(error.lacking(Code::InsufficientScope, Scope::MessagesRaw));
            return Vec::new();
        }
        if asked.len() > TLVS_MAX {
            self.wrong(AT, "out_of_range", "must have at most 16 TLVs");
            return Vec::new();
        }
        let mut wishes: Vec<TlvWish<'_>> = Vec::with_capacity(asked.len());
        for (name, value) in asked {
            let wish = TlvWish {
                name,
                value: value.value(),
            };
            // Names are sorted.
            if wishes.last().is_some_and(|before| before.name == wish.name) {
                self.wrong(&place(name), "duplicate_key", "comes twice");
            } else if let Some((code, detail)) = wrong(&wish) {
                self.wrong(&place(name), code, detail);
            }
            wishes.push(wish);
        }
        wishes
    }
}

/// What is wrong with a TLV whatever the route.
fn wrong(wish: &TlvWish<'_>) -> Option<(&'static str, &'static str)> {
    if let TlvValue::Text(text) = wish.value
        && text.len() > 2 * VALUE_OCTETS_MAX
    {
        return Some(("out_of_range", "must have at most 255 octets"));
    }
    let Some(tag) = raw_tag(wish.name) else {
        let fits =
            |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_';
        let named = (1..=NAME_MAX).contains(&wish.name.len()) && wish.name.bytes().all(fits);
        let detail = "must be a name of the routes' dictionary, or a tag from 0x1400 to 0x3FFF";
        return (!named).then_some(("invalid_name", detail));
    };
    if !RAW_TAGS.contains(&tag) {
        return Some(("out_of_range", "a tag must be from 0x1400 to 0x3FFF"));
    }
    let hex = TlvKind::Hex.octets(wish.value).is_some();
    let detail = "the value of a tag must be an even number of hexadecimal digits, at most 510";
    (!hex).then_some(("invalid_value", detail))
}

/// What the candidate routes have against one.
pub(super) fn refused(refusal: TlvRefusal, wishes: &[TlvWish<'_>], names: &Names) -> FieldError {
    let at = wishes.get(refusal.place).map(|wish| place(wish.name));
    let (code, detail) = match refusal.why {
        TlvWhy::Unknown(route) => (
            "unknown_tlv",
            format!(
                "route {} has no TLV of this name that goes out",
                names.route(route)
            ),
        ),
        TlvWhy::NoTlvs(route) => (
            "unknown_tlv",
            format!(
                "route {} speaks SMPP 3.3, which has no TLVs",
                names.route(route)
            ),
        ),
        TlvWhy::Value(route, expected) => (
            "invalid_value",
            format!("must be {expected} (route {})", names.route(route)),
        ),
        TlvWhy::Specification(route, name) => (
            "invalid_value",
            format!(
                "must be a value that {name} may have by SMPP v3.4 §5.3.2 (route {})",
                names.route(route)
            ),
        ),
        TlvWhy::Differs(one, other) => (
            "ambiguous_tlv",
            format!(
                "routes {} and {} write this name differently, and the message may go over both: use a \
                 tag",
                names.route(one),
                names.route(other)
            ),
        ),
        TlvWhy::SameTag => (
            "duplicate_key",
            String::from("has the same tag as another one"),
        ),
    };
    FieldError::at(at.unwrap_or_else(|| String::from(AT)), code, detail)
}

#[cfg(test)]
mod tests {
    use crate::accept::check::tests::{NOW, door};
    use crate::accept::check::{Origin, message};
    use crate::accept::problem::{Code, Problem};
    use crate::accept::request::{merge, parse};
    use crate::message::{Message, TenantIx};

    fn check(tlvs: &str, raw: bool) -> Result<Message, Problem> {
        let json = format!(
            r#"{{"to":"+46701234567","from":"ACME","content":{{"text":"hi","sms":{{"tlv":{tlvs}}}}}}}"#
        );
        let (mut request, mut errors) = parse(json.as_bytes())?;
        let sugar = merge::expand(&mut request, &mut errors);
        let origin = Origin {
            tenant: TenantIx(0),
            batch: None,
            traceparent: "",
            overrides: false,
            raw,
            now: NOW,
        };
        message(&door(), &request, sugar, errors, origin)
    }

    #[test]
    fn tlvs_take_a_scope() {
        let problem = check(r#"{"pe":"1101"}"#, false).unwrap_err();
        assert_eq!(
            (problem.code, problem.status().as_u16()),
            (Code::InsufficientScope, 403)
        );
        assert_eq!(
            problem.errors[0].pointer.as_deref(),
            Some("/content/sms/tlv")
        );
        let (name, value) = *problem.header.expect("the scope that is missing");
        assert_eq!(name, "www-authenticate");
        assert!(value.ends_with(r#"error="insufficient_scope", scope="messages:raw""#));
        assert!(check("{}", false).is_ok(), "none asks for nothing");
        assert!(check(r#"{"pe":"1101","0x14ff":"00"}"#, true).is_ok());
    }

    #[test]
    fn each_wrong_tlv_is_told_where_it_stands() {
        let value = "0".repeat(511);
        let long = format!(r#"{{"pe":"{value}"}}"#);
        let many: Vec<_> = (0..17).map(|n| format!(r#""t{n}":1"#)).collect();
        let many = format!("{{{}}}", many.join(","));
        for (tlvs, pointer, code) in [
            (r#"{"Pe":"x"}"#, "/Pe", "invalid_name"),
            (r#"{"a/b":"x"}"#, "/a~1b", "invalid_name"),
            (r#"{"":"x"}"#, "/", "invalid_name"),
            (r#"{"0x0424":"00"}"#, "/0x0424", "out_of_range"),
            (r#"{"0x4000":"00"}"#, "/0x4000", "out_of_range"),
            (r#"{"0x1400":"0"}"#, "/0x1400", "invalid_value"),
            (r#"{"0x1400":"zz"}"#, "/0x1400", "invalid_value"),
            (r#"{"0x1400":7}"#, "/0x1400", "invalid_value"),
            (r#"{"a":1,"a":2}"#, "/a", "duplicate_key"),
            (r#"{"a":1,"nobodys":"x"}"#, "/nobodys", "unknown_tlv"),
            (&long, "/pe", "out_of_range"),
            (&many, "", "out_of_range"),
        ] {
            let problem = check(tlvs, true).unwrap_err();
            let told: Vec<_> = problem
                .errors
                .iter()
                .map(|e| (e.pointer.clone(), e.code))
                .collect();
            let at = format!("/content/sms/tlv{pointer}");
            assert_eq!(told, [(Some(at), code)], "{tlvs}");
            assert_eq!(problem.code, Code::InvalidRequest, "{tlvs}");
        }
        let problem = check(r#"{"nobodys":"x"}"#, true).unwrap_err();
        assert!(problem.errors[0].detail.contains("route carrier-b"));
    }
}
