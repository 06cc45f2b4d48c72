//! Unread: what a request looked like that cannot be read, for whoever has to ask the peer about it.
//!
//! Numbers and texts are personal data, and a log is no place for them: of what could be one only the
//! upper half of each octet is shown, which tells digits from letters, and what is known to be a text
//! or a password is left out.

use std::fmt;

use crate::smpp::fields::{DecodeError, Field};
use crate::smpp::frame::{CommandId, HEADER_OCTETS, Header};

/// Octets of a PDU that are kept. Chosen: header, addresses and flags of most.
const OCTETS_MAX: usize = 64;
/// The first octet that may be of a number or a text: below are NUL, TON, NPI, flags and lengths.
const PRINTABLE_MIN: u8 = 0x20;

/// A request whose body cannot be read.
#[derive(Clone, PartialEq, Eq)]
pub struct Unread {
    /// What it is.
    pub command: CommandId,
    /// Where reading it stopped, and why.
    pub error: DecodeError,
    octets: Box<[u8]>,
}

impl Unread {
    pub(super) fn new(header: Header, body: &[u8], error: DecodeError) -> Self {
        let command = header.command;
        let end = match error.field {
            // The text begins here.
            Field::ShortMessage => error.at.min(OCTETS_MAX),
            // Somewhere before here it was.
            Field::Tlvs => HEADER_OCTETS,
            _ if command.has_password() => HEADER_OCTETS,
            _ => OCTETS_MAX,
        };
        let length = u32::try_from(HEADER_OCTETS + body.len()).unwrap_or(u32::MAX);
        let words = [length, command.0, header.status.0, header.sequence];
        let pdu = words.iter().flat_map(|word| word.to_be_bytes());
        Self {
            command,
            error,
            octets: pdu.chain(body.iter().copied()).take(end).collect(),
        }
    }
}

/// The first octets in hexadecimal digits, `x` for those that are not shown.
impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, octet) in self.octets.iter().enumerate() {
            if at > 0 && at % 4 == 0 {
                f.write_str(" ")?;
            }
            if at < HEADER_OCTETS || *octet < PRINTABLE_MIN {
                write!(f, "{octet:02x}")?;
            } else {
                write!(f, "{:x}x", octet >> 4)?;
            }
        }
        Ok(())
    }
}

/// As [`fmt::Display`]: nobody sees more of it.
impl fmt::Debug for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {self}", self.command, self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smpp::fields::Kind;
    use crate::smpp::status::CommandStatus;

    fn shown(command: CommandId, body: &[u8], field: Field, at: usize) -> String {
        let kind = Kind::NoNul;
        let header = Header {
            command,
            status: CommandStatus::OK,
            sequence: 9,
        };
        Unread::new(header, body, DecodeError { at, field, kind }).to_string()
    }

    const HEADER: &str = "00000020 00000005 00000000 00000009";

    #[test]
    fn neither_numbers_nor_texts_are_shown_but_where_they_stand() {
        let body = b"\0\x01\x014670123\0\x05\0AC\xe5";
        let field = Field::DestAddr;
        assert_eq!(
            shown(CommandId::DELIVER_SM, body, field, 28),
            format!("{HEADER} 0001013x 3x3x3x3x 3x3x0005 004x4xex"),
        );
    }

    #[test]
    fn nothing_is_shown_of_a_text_nor_of_what_has_a_password() {
        let body = b"\0\x01\x01461\0\0\0\0\x04\x10\x04\x3f";
        let text = shown(CommandId::DELIVER_SM, body, Field::ShortMessage, 27);
        assert!(text.ends_with(" 0001013x 3x3x0000 000004"), "{text}");
        let tlvs = shown(CommandId::SUBMIT_SM, body, Field::Tlvs, 31);
        assert_eq!(tlvs.split(' ').count(), 4, "the header: {tlvs}");
        for command in [
            CommandId::BIND_TRANSCEIVER,
            CommandId::BIND_RECEIVER,
            CommandId::BIND_TRANSMITTER,
            CommandId::OUTBIND,
        ] {
            let bind = shown(command, b"\x01\x02secret", Field::Password, 18);
            assert_eq!(bind.split(' ').count(), 4, "{bind}");
        }
    }

    #[test]
    fn at_most_64_octets_are_kept() {
        let long = shown(CommandId::DELIVER_SM, &[1; 500], Field::SourceAddr, 17);
        assert_eq!(long.split(' ').count(), OCTETS_MAX / 4);
        assert!(long.ends_with(" 01010101"));
    }
}
