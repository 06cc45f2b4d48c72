//! When a certificate ends: as much of X.509 as that takes.

/// A certificate's notAfter, seconds since 1970. `None`: it cannot be read. RFC 5280 §4.1.
pub(in crate::connect) fn expires(certificate: &[u8]) -> Option<u64> {
    let (_, certificate, _) = element(certificate)?;
    let (_, to_be_signed, _) = element(certificate)?;
    // version [0] (absent in v1), serialNumber, signature, issuer, validity.
    let (tag, _, rest) = element(to_be_signed)?;
    let mut rest = if tag == VERSION { rest } else { to_be_signed };
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, time, _) = element(not_after)?;
    seconds(tag, time)
}

/// Context-specific, constructed, 0: the version. X.690 §8.1.2.
const VERSION: u8 = 0xA0;
/// UTCTime: a year of two digits. RFC 5280 §4.1.2.5.1.
const UTC_TIME: u8 = 0x17;
/// GeneralizedTime: a year of four. RFC 5280 §4.1.2.5.2.
const GENERALIZED_TIME: u8 = 0x18;

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
    use super::*;

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

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for octets in [
            &b""[..],
            b"\x30",
            b"\x30\x80",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x00",
        ] {
            assert_eq!(expires(octets), None);
        }
    }
}
