//! What a certificate says of itself: as much of X.509 (RFC 5280 §4.1) as connectors take.
//!
//! Not chosen: x509-parser, whose parsers for all of X.509 bring a second nom and a calendar along.

use crate::clock::UnixMs;

/// What is read of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When it ends.
    pub not_after: UnixMs,
    /// The subject's common name: "Apple Push Services: com.acme.shop".
    pub common_name: Option<String>,
    /// The subject's user id: the bundle id, and an MDM certificate's topic.
    pub user_id: Option<String>,
    /// The topics that Apple lists in it (its extension 6.3.6); empty where there is but the bundle.
    pub topics: Vec<String>,
    /// Whether Apple marks it for development (extension 6.3.1) and for production (6.3.2).
    pub environments: Environments,
}

impl Facts {
    /// Whether Apple takes pushes to this topic with it; `None`: it does not say.
    #[must_use]
    pub fn covers(&self, topic: &str) -> Option<bool> {
        if self.topics.is_empty() {
            return self.user_id.as_ref().map(|bundle| bundle == topic);
        }
        Some(self.topics.iter().any(|own| own == topic))
    }
}

/// Where a certificate may be shown; both `false`: it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Environments {
    /// At `api.sandbox.push.apple.com`.
    pub sandbox: bool,
    /// At `api.push.apple.com`.
    pub production: bool,
}

/// Most topics of a certificate. Chosen: an app has six.
const TOPICS_MAX: usize = 64;

/// Context-specific, constructed, 0 and 3: version and extensions. RFC 5280 §4.1.
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
const BOOLEAN: u8 = 0x01;
const UTF8_STRING: u8 = 0x0C;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
/// UTCTime: a year of two digits. RFC 5280 §4.1.2.5.1.
const UTC_TIME: u8 = 0x17;
/// GeneralizedTime: a year of four. RFC 5280 §4.1.2.5.2.
const GENERALIZED_TIME: u8 = 0x18;

/// 2.5.4.3, commonName. RFC 4519 §2.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// 0.9.2342.19200300.100.1.1, userId. RFC 4519 §2.39.
const USER_ID: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 1, 1];
/// 1.2.840.113635.100.6.3: Apple's arc of push extensions, as its certificates have it.
const APPLE_PUSH: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x63, 0x64, 6, 3];
const DEVELOPMENT: u8 = 1;
const PRODUCTION: u8 = 2;
const TOPICS: u8 = 6;

/// Reads a certificate in DER; `None`: it is none.
pub(super) fn read(certificate: &[u8]) -> Option<Facts> {
    let (_, certificate, _) = element(certificate)?;
    let (_, to_be_signed, _) = element(certificate)?;
    // version (absent in v1), serialNumber, signature, issuer, validity, subject.
    let (tag, _, rest) = element(to_be_signed)?;
    let mut rest = if tag == VERSION { rest } else { to_be_signed };
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, rest) = element(rest)?;
    let (_, subject, rest) = element(rest)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, time, _) = element(not_after)?;
    let mut facts = Facts {
        not_after: UnixMs(seconds(tag, time)?.checked_mul(1_000)?),
        ..Facts::default()
    };
    names(subject, &mut facts);
    let extensions = elements(rest).find(|(tag, _)| *tag == EXTENSIONS);
    if let Some((_, extensions)) = extensions {
        let (_, extensions, _) = element(extensions)?;
        for (_, one) in elements(extensions) {
            extension(one, &mut facts);
        }
    }
    Some(facts)
}

/// The subject: a sequence of sets of type and value.
fn names(subject: &[u8], facts: &mut Facts) {
    let pairs = elements(subject).flat_map(|(_, set)| elements(set));
    for (_, pair) in pairs {
        let Some((_, kind, value)) = element(pair) else {
            continue;
        };
        let value = element(value).and_then(|(tag, value, _)| text(tag, value));
        match kind {
            COMMON_NAME => facts.common_name = value,
            USER_ID => facts.user_id = value,
            _ => {}
        }
    }
}

/// One extension: its id, perhaps whether it is critical, and its value in an octet string.
fn extension(one: &[u8], facts: &mut Facts) -> Option<()> {
    let (_, id, rest) = element(one)?;
    let [which] = id.strip_prefix(APPLE_PUSH)? else {
        return None;
    };
    match *which {
        DEVELOPMENT => facts.environments.sandbox = true,
        PRODUCTION => facts.environments.production = true,
        TOPICS => {
            let (tag, value, rest) = element(rest)?;
            let value = match tag {
                BOOLEAN => element(rest)?.1,
                _ => value,
            };
            // Names, each followed by a sequence of what it is for.
            let (_, list, _) = element(value)?;
            let topics = elements(list).filter_map(|(tag, value)| text(tag, value));
            facts.topics = topics.take(TOPICS_MAX).collect();
        }
        _ => {}
    }
    Some(())
}

fn text(tag: u8, value: &[u8]) -> Option<String> {
    let is_text = [UTF8_STRING, PRINTABLE_STRING, IA5_STRING].contains(&tag);
    let text = std::str::from_utf8(value).ok()?;
    is_text.then(|| text.to_owned())
}

/// The elements of some DER one after the other, to the first that is none.
fn elements(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = element(der)?;
        der = rest;
        Some((tag, content))
    })
}

/// The first element of some DER: tag, content, what follows. X.690 §8.1.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(*first), rest),
        // Lengths of up to four octets: no certificate is longer.
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            let length = octets
                .iter()
                .fold(0, |length: usize, octet| length << 8 | usize::from(*octet));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, the only forms that RFC 5280 allows.
fn seconds(tag: u8, time: &[u8]) -> Option<u64> {
    let digits = time.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'))
    };
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year);
            (year + if year < 50 { 2_000 } else { 1_900 }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year), rest)
        }
        _ => return None,
    };
    let (pairs, []) = rest.as_chunks::<2>() else {
        return None;
    };
    let [month, day, hour, minute, second] = pairs else {
        return None;
    };
    let (month, day) = (number(month), number(day));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1_970 {
        return None;
    }
    // Days since 1970 in the Gregorian calendar, the year beginning with March, so that a leap day is
    // its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    let days = days.checked_sub(DAYS_TO_1970)?;
    Some(((days * 24 + number(hour)) * 60 + number(minute)) * 60 + number(second))
}

/// Days of the same count before 1970-01-01.
const DAYS_TO_1970: u64 = 719_469;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_push_certificate_says_its_end_its_app_and_its_topics() {
        // As Apple's have it: sequence of a name and what it is for, in turn.
        let name = |text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            [&[UTF8_STRING, length][..], text.as_bytes()].concat()
        };
        let sequence =
            |content: &[u8]| [&[0x30, u8::try_from(content.len()).unwrap()][..], content].concat();
        let topics = sequence(
            &[
                name("com.acme.shop"),
                sequence(&name("app")),
                name("com.acme.shop.voip"),
                sequence(&name("voip")),
            ]
            .concat(),
        );
        let apple = [1, 2, 840, 113_635, 100, 6, 3];
        let id = |last: u64| [&apple[..], &[last]].concat();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let dn = &mut params.distinguished_name;
        dn.push(DnType::CommonName, "Apple Push Services: com.acme.shop");
        let user_id = vec![0, 9, 2342, 19_200_300, 100, 1, 1];
        dn.push(DnType::CustomDnType(user_id), "com.acme.shop");
        params.not_after = date_time_ymd(2100, 3, 1);
        params.custom_extensions = vec![
            CustomExtension::from_oid_content(&id(2), vec![5, 0]),
            CustomExtension::from_oid_content(&id(6), topics),
        ];
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap();
        let facts = read(der.der()).unwrap();
        assert_eq!(facts.not_after, UnixMs(4_107_542_400_000));
        assert_eq!(facts.covers("com.acme.shop.voip"), Some(true));
        assert_eq!(facts.covers("com.acme.other"), Some(false));
        assert_eq!(facts.user_id.unwrap(), "com.acme.shop");
        let common = facts.common_name.unwrap();
        assert_eq!(common, "Apple Push Services: com.acme.shop");
        assert_eq!(facts.topics, ["com.acme.shop", "com.acme.shop.voip"]);
        assert!(facts.environments.production && !facts.environments.sandbox);
        // No prefix of it is one, and none makes it fall over.
        for end in 0..der.der().len() {
            assert_eq!(read(&der.der()[..end]), None);
        }
    }

    #[test]
    fn what_is_no_certificate_is_not_read() {
        for octets in [
            &b""[..],
            b"\x30",
            b"\x30\x80",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x00",
        ] {
            assert_eq!(read(octets), None);
        }
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let utc = |time: &[u8]| seconds(UTC_TIME, time);
        assert_eq!(utc(b"700101000000Z"), Some(0));
        assert_eq!(utc(b"000229235959Z"), Some(951_868_799));
        assert_eq!(utc(b"261121094500Z"), Some(1_795_254_300));
        let general = seconds(GENERALIZED_TIME, b"21000301000000Z");
        assert_eq!(general, Some(4_107_542_400));
        for wrong in [&b"261321094500Z"[..], b"2611210945Z", b"261121094500", b"Z"] {
            assert_eq!(utc(wrong), None);
        }
    }
}
