//! submit_sm from a message: addresses, text, validity, flags.

use std::time::Instant;

use codecs::smpp::session::{Session, SubmitRefused};
use codecs::smpp::{Address, EncodeError, Field, SubmitSm};
use codecs::text::segment::segment;
use codecs::text::{self, Dialect, ESM_CLASS_UDHI, Reference};

use super::config::{Config, SourceRules};
use super::form::{UCS2, WITHOUT_VALIDITY};
use crate::clock::UnixMs;
use crate::connect::ledger::ours;
use crate::message::{Encoding, Message, Phone, Priority, Text};
use crate::outcome::{Attempt, Outcome, OutcomeResult, Reason, Retry, Whose};
use content::{Content, Unwritable};
use validity::Validity;

mod content;
mod validity;

/// Digits of the longest number. ITU-T E.164 §6.2.1 has 15; a u64 has 20.
const DIGITS_MAX: usize = 20;
/// Octets of user data in one segment: 140 packed, so 160 septets unpacked. 3GPP TS 23.040.
const SEGMENT_OCTETS: usize = 160;

/// Why an attempt did not go into the session.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// There is no room now: try again after the next answer or write.
    NoRoom,
    /// There is no bind to send it on.
    NotBound,
    /// It cannot be sent at all; this is its outcome.
    Impossible(Box<Outcome>),
}

/// Puts one part into the session. Allocates nothing when it works.
pub(super) fn submit(
    session: &mut Session,
    config: &Config,
    now: Instant,
    wall: UnixMs,
    attempt: &Attempt,
) -> Result<(), NotTaken> {
    let message = &*attempt.message;
    let impossible = |reason, whose, result| {
        let outcome = ours(result, reason, whose, Retry::Never, wall);
        Err(NotTaken::Impossible(Box::new(outcome)))
    };
    let (form, longest) = (config.validity, config.max_validity);
    let Some(validity) = Validity::left(form, message.expires_at, wall, longest) else {
        // The dispatcher expires what waits; this one ran out on its last step.
        let (reason, whose) = (Reason::ExpiredInQueue, Whose::Us);
        return impossible(reason, whose, OutcomeResult::NotSent);
    };
    let part = message.segment(attempt.part);
    let mut octets = [0; SEGMENT_OCTETS];
    let mut uncommon = Content::default();
    let encoding = encoding_of(attempt);
    let content = if is_plain(message, encoding, &config.dialect) {
        plain(message, encoding, part, &mut octets)
    } else {
        match content::write(message, encoding, part, &config.dialect) {
            Ok(content) => {
                uncommon = content;
                config.tlvs.add_to(&mut uncommon.tlvs);
                Some((
                    uncommon.esm_class,
                    uncommon.data_coding,
                    &*uncommon.short_message,
                ))
            }
            Err(Unwritable) => None,
        }
    };
    let Some((esm_class, data_coding, short_message)) = content else {
        let reason = Reason::EncodingUnsupported;
        return impossible(reason, Whose::Us, OutcomeResult::Refused);
    };
    let own = uncommon.tlvs.as_tlvs();
    let mut digits = [0; DIGITS_MAX];
    let (ton, npi) = config.dest;
    let sm = SubmitSm {
        service_type: config.service_type.as_bytes(),
        source: source(message.text(Text::From), &config.source),
        dest: Address {
            ton,
            npi,
            addr: written(message.to, &mut digits),
        },
        esm_class,
        priority_flag: priority(message),
        validity_period: validity_of(attempt, &validity),
        registered_delivery: u8::from(config.receipts && config.ask.holds(part, message.segments)),
        data_coding,
        short_message,
        tlvs: if own.is_empty() {
            config.tlvs.sent()
        } else {
            own
        },
        ..SubmitSm::default()
    };
    match session.submit(now, attempt.token, &sm) {
        Ok(()) => Ok(()),
        Err(SubmitRefused::WindowFull | SubmitRefused::OutputFull) => Err(NotTaken::NoRoom),
        Err(SubmitRefused::NotBound) => Err(NotTaken::NotBound),
        Err(SubmitRefused::Encode(error)) => {
            impossible(reason_of(error), Whose::Us, OutcomeResult::Refused)
        }
    }
}

fn encoding_of(attempt: &Attempt) -> Encoding {
    match attempt.form.has(UCS2) {
        true => Encoding::Ucs2,
        false => attempt.message.encoding,
    }
}

fn validity_of<'v>(attempt: &Attempt, validity: &'v Validity) -> &'v [u8] {
    match attempt.form.has(WITHOUT_VALIDITY) {
        true => b"",
        false => validity.as_octets(),
    }
}

/// Whether [`plain`] writes the message as the route wants it.
fn is_plain(message: &Message, encoding: Encoding, dialect: &Dialect) -> bool {
    let known = match encoding {
        Encoding::Gsm7 | Encoding::Ucs2 => true,
        Encoding::Latin1 => dialect.latin1,
        Encoding::Binary => false,
    };
    known && message.sms.is_none() && dialect.is_plain()
}

/// The plain path: GSM 7-bit, UCS-2 or Latin-1 with 8-bit references; esm_class, data_coding and user data.
/// `None` when the text has no such part.
fn plain<'o>(
    message: &Message,
    encoding: Encoding,
    part: u8,
    octets: &'o mut [u8; SEGMENT_OCTETS],
) -> Option<(u8, u8, &'o [u8])> {
    let encoding = match encoding {
        Encoding::Gsm7 => text::Encoding::Gsm7,
        Encoding::Ucs2 => text::Encoding::Ucs2,
        Encoding::Latin1 => text::Encoding::Latin1,
        Encoding::Binary => return None,
    };
    let [low, _] = message.concat_ref.to_le_bytes();
    let (parts, body) = (message.segments, message.text(Text::Body));
    let mut room = &mut octets[..];
    segment(
        body,
        encoding,
        part,
        parts,
        Reference::Eight(low),
        &mut room,
    )
    .ok()?;
    let used = SEGMENT_OCTETS - room.len();
    let esm_class = if parts > 1 { ESM_CLASS_UDHI } else { 0 };
    Some((esm_class, encoding.data_coding(), octets.get(..used)?))
}

fn reason_of(error: EncodeError) -> Reason {
    match error.field() {
        Field::SourceAddr => Reason::SenderInvalid,
        Field::DestAddr => Reason::InvalidAddress,
        Field::ShortMessage => Reason::TooLong,
        _ => Reason::ProviderError,
    }
}

/// 0 to 3; what they mean is the network's (SMPP v3.4 §5.2.14). Normal and low are 0, because some
/// carriers refuse or charge for anything else; 2 is "priority" in GSM and "urgent" in ANSI-136.
fn priority(message: &Message) -> u8 {
    match message.priority {
        Priority::High => 2,
        Priority::Normal | Priority::Low => 0,
    }
}

fn source<'a>(from: &'a str, rules: &SourceRules) -> Address<'a> {
    let digits = from.strip_prefix('+').unwrap_or(from);
    let numeric = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
    let plus = digits.len() != from.len();
    let ((ton, npi), addr) = match (numeric, plus) {
        _ if from.is_empty() => ((0, 0), from),
        (true, false) if digits.len() <= rules.short_code_digits_max => (rules.short_code, digits),
        (true, _) => (rules.number, digits),
        (false, _) => (rules.alphanumeric, from),
    };
    Address {
        ton,
        npi,
        addr: addr.as_bytes(),
    }
}

/// The digits of a number, without its plus.
fn written(phone: Phone, digits: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut rest = phone.number();
    let mut at = DIGITS_MAX;
    while rest > 0 && at > 0 {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    &digits[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_written_by_their_form() {
        let rules = SourceRules::default();
        let of = |from| {
            let address = source(from, &rules);
            (address.ton, address.npi, address.addr)
        };
        assert_eq!(of("ACME"), (5, 0, &b"ACME"[..]));
        assert_eq!(of("71234"), (3, 0, &b"71234"[..]));
        assert_eq!(of("+46701234567"), (1, 1, &b"46701234567"[..]));
        assert_eq!(of("46701234567"), (1, 1, &b"46701234567"[..]));
        assert_eq!(of("+"), (5, 0, &b"+"[..]));
        assert_eq!(of(""), (0, 0, &b""[..]));
    }

    #[test]
    fn numbers_are_written_without_a_plus() {
        let phone = Phone::parse("+46701234567").unwrap();
        assert_eq!(written(phone, &mut [0; DIGITS_MAX]), b"46701234567");
    }
}
