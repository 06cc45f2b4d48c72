//! Dialect: how one carrier wants texts written.

use super::decode::{Alphabet, Charset};
use super::{Encoding, Language};

/// What a carrier takes. The default is what most take, and what the plain path writes: unpacked
/// GSM 7-bit behind data_coding 0, 8-bit concatenation headers, no national tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dialect {
    /// What data_coding 0 means.
    pub alphabet: Alphabet,
    /// National tables that it passes on, in order of preference. With a GSM alphabet only.
    pub national: Vec<Language>,
    /// How texts of several segments go out.
    pub long: Long,
    /// How flash is said.
    pub flash: Flash,
    /// It takes Latin-1 with data_coding 3 and delivers all of it: many drop what GSM 7-bit lacks
    /// (smpp.md §2.2).
    pub latin1: bool,
    /// data_coding 1 of what it delivers means its default alphabet, not ASCII (smpp.md §2.2).
    pub ia5_is_default: bool,
    /// data_coding 8 is little endian, both ways, against the standard (smpp.md §2.2).
    pub ucs2_little_endian: bool,
}

/// How a text of several segments goes out. smpp.md §2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Long {
    /// Parts with an 8-bit reference in their header. 3GPP TS 23.040 §9.2.3.24.1.
    #[default]
    Udh8,
    /// Parts with a 16-bit reference in their header. 3GPP TS 23.040 §9.2.3.24.8.
    Udh16,
    /// Parts with sar_* TLVs and no header. SMPP v3.4 §5.3.2.22 to .24.
    Sar,
    /// One PDU with the whole text in message_payload. SMPP v3.4 §5.3.2.32.
    Payload,
}

/// How message class 0 is said. smpp.md §2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Flash {
    /// data_coding 0xF0; UCS-2 as 0x18, which alone has a class.
    #[default]
    F0,
    /// data_coding 0x10; UCS-2 as 0x18.
    Ten,
    /// data_coding 0x18 always: flash is sent as UCS-2.
    Eighteen,
    /// The TLV dest_addr_subunit = 1 (SMPP v3.4 §5.3.2.1), with the data_coding of other messages.
    Tlv,
}

impl Dialect {
    /// Whether the plain path writes what this carrier wants, but for flash, once the encoding is chosen.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.alphabet == Alphabet::Gsm7
            && self.national.is_empty()
            && self.long == Long::Udh8
            && !self.ucs2_little_endian
    }

    /// How what it delivers is to be read.
    #[must_use]
    pub const fn charset(&self) -> Charset {
        Charset {
            default: self.alphabet,
            ia5_is_default: self.ia5_is_default,
            ucs2_little_endian: self.ucs2_little_endian,
        }
    }

    /// The data_coding of a text.
    #[must_use]
    pub const fn data_coding(&self, encoding: Encoding, flash: bool) -> u8 {
        match (encoding, flash, self.flash) {
            // No data_coding says both Latin-1 and a class.
            (_, false, _) | (_, _, Flash::Tlv) | (Encoding::Latin1, ..) => encoding.data_coding(),
            (Encoding::Gsm7, true, Flash::F0) => 0xf0,
            (Encoding::Gsm7, true, Flash::Ten) => 0x10,
            (_, true, _) => 0x18,
        }
    }

    /// The data_coding of octets that are no text: 4 (SMPP v3.4 §5.2.19), or 8-bit data with a
    /// class (3GPP TS 23.038 §4).
    #[must_use]
    pub const fn octets_data_coding(&self, flash: bool) -> u8 {
        match (flash, self.flash) {
            (false, _) | (_, Flash::Tlv) => 0x04,
            (true, Flash::F0) => 0xf4,
            (true, Flash::Ten | Flash::Eighteen) => 0x14,
        }
    }

    /// The alphabet of GSM 7-bit text under a data_coding of [`data_coding`](Self::data_coding):
    /// one that names GSM 7-bit is not the carrier's default any more.
    #[must_use]
    pub const fn alphabet_of(&self, data_coding: u8) -> Alphabet {
        match (data_coding, self.alphabet) {
            (0, alphabet) => alphabet,
            (_, Alphabet::Gsm7Packed) => Alphabet::Gsm7Packed,
            _ => Alphabet::Gsm7,
        }
    }

    /// How a text under a data_coding of [`data_coding`](Self::data_coding) is to be written.
    #[must_use]
    pub const fn charset_of(&self, data_coding: u8) -> Charset {
        Charset {
            default: self.alphabet_of(data_coding),
            ..self.charset()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Dcs;
    use crate::text::dcs::{Class, Coding};

    #[test]
    fn flash_is_class_0_of_the_right_alphabet_and_nothing_else_has_a_class() {
        for flash in [Flash::F0, Flash::Ten, Flash::Eighteen, Flash::Tlv] {
            let dialect = Dialect {
                flash,
                ..Dialect::default()
            };
            let read = |octet| (Dcs::parse(octet).coding, Dcs::parse(octet).class);
            let class = (flash != Flash::Tlv).then_some(Class::Flash);
            let gsm7 = read(dialect.data_coding(Encoding::Gsm7, true));
            let expected = match flash {
                Flash::Tlv => Coding::Default,
                Flash::Eighteen => Coding::Ucs2,
                _ => Coding::Gsm7,
            };
            assert_eq!(gsm7, (expected, class), "{flash:?}");
            let ucs2 = dialect.data_coding(Encoding::Ucs2, true);
            assert_eq!(read(ucs2), (Coding::Ucs2, class), "{flash:?}");
            let octets = dialect.octets_data_coding(true);
            assert_eq!(read(octets), (Coding::Octets, class), "{flash:?}");
            for (encoding, plain) in [(Encoding::Gsm7, 0), (Encoding::Ucs2, 8)] {
                assert_eq!(dialect.data_coding(encoding, false), plain);
            }
            assert_eq!(dialect.octets_data_coding(false), 4);
        }
    }

    #[test]
    fn only_data_coding_0_is_the_carriers_own_alphabet() {
        let of = |alphabet, data_coding| {
            Dialect {
                alphabet,
                ..Dialect::default()
            }
            .alphabet_of(data_coding)
        };
        assert_eq!(of(Alphabet::Latin1, 0), Alphabet::Latin1);
        assert_eq!(of(Alphabet::Latin1, 0xf0), Alphabet::Gsm7);
        assert_eq!(of(Alphabet::Gsm7Packed, 0xf0), Alphabet::Gsm7Packed);
    }
}
