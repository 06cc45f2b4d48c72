//! Forms: what an SMPP route writes in another way when its carrier refuses the planned one (smpp.md §3.3).

use crate::message::{Encoding, Message, Text};
use crate::outcome::{Form, Retry};

/// Without a validity_period: the carrier's own holds, and may be longer than the message's.
pub const WITHOUT_VALIDITY: Form = Form(1);
/// In UCS-2 instead of GSM 7-bit.
pub const UCS2: Form = Form(1 << 1);

/// Their words in the timeline.
pub const WORDS: &[(Form, &str)] = &[(WITHOUT_VALIDITY, "without_validity"), (UCS2, "ucs2")];

/// Characters of a text that is one part in UCS-2: 140 octets. 3GPP TS 23.040.
const UCS2_UNITS_MAX: usize = 70;

/// What the class of a refusal asks for, as far as this message can be written so; `None`: a message that
/// is not known any more can not.
pub(super) fn possible(retry: Retry, message: Option<&Message>) -> Retry {
    match retry {
        Retry::Otherwise { form, or } if form.has(UCS2) && !message.is_some_and(fits_ucs2) => {
            or.into()
        }
        _ => retry,
    }
}

/// Whether a text that was planned in GSM 7-bit is one part in UCS-2 as well, without anything that was
/// planned for the one it is. Of one part alone: the parts of a long message are written alike, and others
/// may be taken already.
fn fits_ucs2(message: &Message) -> bool {
    let plain = message.encoding == Encoding::Gsm7 && message.sms.is_none();
    let units = || message.text(Text::Body).encode_utf16().count();
    plain && message.segments == 1 && units() <= UCS2_UNITS_MAX
}

#[cfg(test)]
mod tests {
    use super::super::tests::message;
    use super::*;
    use crate::outcome::Or;

    #[test]
    fn ucs2_is_asked_for_only_where_a_text_is_one_part_in_both() {
        let (form, or) = (UCS2, Or::Elsewhere);
        let asked = Retry::Otherwise { form, or };
        let with = |segments, encoding, text: &str| Message {
            segments,
            encoding,
            ..message("+46701234567", text)
        };
        let short = with(1, Encoding::Gsm7, &"x".repeat(70));
        assert_eq!(possible(asked, Some(&short)), asked);
        for other in [
            with(1, Encoding::Gsm7, &"x".repeat(71)),
            with(1, Encoding::Ucs2, "x"),
            with(2, Encoding::Gsm7, "x"),
        ] {
            assert_eq!(possible(asked, Some(&other)), Retry::Elsewhere);
        }
        assert_eq!(possible(asked, None), Retry::Elsewhere);
    }

    #[test]
    fn every_message_can_go_without_its_validity() {
        let (form, or) = (WITHOUT_VALIDITY, Or::Never);
        let asked = Retry::Otherwise { form, or };
        let long = Message {
            segments: 3,
            ..message("+46701234567", "x")
        };
        assert_eq!(possible(asked, Some(&long)), asked);
        assert_eq!(possible(Retry::Never, Some(&long)), Retry::Never);
    }
}
