//! The data_coding octet, whole: alphabet, message class, message waiting, compression.
//!
//! The octet has two authors. Below 0x10 SMPP gives it meanings of its own (SMPP v3.4 §5.2.19);
//! from 0x10 on it is the data coding scheme of 3GPP TS 23.038 §4. Reading only its low four bits,
//! as some peers do, takes a flash message (0xF0) or binary (0xF5) for something else.

/// What a data_coding octet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dcs {
    /// The octet itself.
    pub raw: u8,
    /// How the user data is written.
    pub coding: Coding,
    /// The message class, if the octet gives one; class 0 is shown at once ("flash").
    pub class: Option<Class>,
    /// Message waiting indication, if this is one.
    pub waiting: Option<Waiting>,
    /// The user data is compressed (3GPP TS 23.042), which nobody reads.
    pub compressed: bool,
    /// The handset is asked to delete the message once read (0x40 to 0x7F).
    pub delete_after_reading: bool,
}

/// How user data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// data_coding 0: the SMSC's default alphabet, whatever that is there.
    Default,
    /// GSM 7-bit by name, and all that is reserved: 3GPP TS 23.038 §4 has reserved codings taken
    /// for the GSM 7-bit default alphabet.
    Gsm7,
    /// 1: IA5, which is ASCII.
    Ascii,
    /// 2, 4 and the 8-bit schemes: octets, no text.
    Octets,
    /// 3: ISO 8859-1.
    Latin1,
    /// 5: JIS X 0208, seen as Shift JIS.
    Jis,
    /// 6: ISO 8859-5.
    Cyrillic,
    /// 7: ISO 8859-8.
    Hebrew,
    /// 8 and the 16-bit schemes: UCS-2, read as UTF-16 big endian.
    Ucs2,
    /// 9: pictograms, which no table describes.
    Pictogram,
    /// 10: ISO-2022-JP ("music codes").
    Iso2022Jp,
    /// 13: extended Kanji, JIS X 0212, read as EUC-JP.
    ExtendedKanji,
    /// 14: KS C 5601, read as EUC-KR.
    Korean,
}

/// The message class. 3GPP TS 23.038 §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Class 0: shown at once, not stored: flash.
    Flash,
    /// Class 1: stored in the handset.
    Handset,
    /// Class 2: stored on the SIM.
    Sim,
    /// Class 3: for terminal equipment beside the handset.
    Terminal,
}

/// A message waiting indication. 3GPP TS 23.038 §4, coding groups 1100 to 1110.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// Something waits (true), or nothing any more.
    pub active: bool,
    /// What waits.
    pub kind: WaitingKind,
    /// The text may be thrown away (0xC0 to 0xCF); otherwise it is stored.
    pub discard: bool,
}

/// What a message waiting indication speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitingKind {
    /// Voicemail.
    Voicemail,
    /// Fax.
    Fax,
    /// E-mail.
    Email,
    /// Anything else.
    Other,
}

impl Dcs {
    /// Reads the octet. Every value has a meaning; reserved ones are GSM 7-bit, as 3GPP TS 23.038
    /// §4 demands of receivers.
    #[must_use]
    pub const fn parse(raw: u8) -> Self {
        let plain = Self {
            raw,
            coding: Coding::Gsm7,
            class: None,
            waiting: None,
            compressed: false,
            delete_after_reading: false,
        };
        match raw {
            0x00..=0x0f => Self {
                coding: Coding::of_smpp(raw),
                ..plain
            },
            // General data coding, and the same marked for deletion.
            0x10..=0x7f => Self {
                coding: match raw & 0x0c {
                    0x04 => Coding::Octets,
                    0x08 => Coding::Ucs2,
                    _ => Coding::Gsm7,
                },
                class: if raw & 0x10 == 0 {
                    None
                } else {
                    Some(Class::of(raw))
                },
                compressed: raw & 0x20 != 0,
                delete_after_reading: raw & 0x40 != 0,
                ..plain
            },
            0x80..=0xbf => plain,
            // Message waiting: discard, store, store in UCS-2.
            0xc0..=0xef => Self {
                coding: if raw < 0xe0 {
                    Coding::Gsm7
                } else {
                    Coding::Ucs2
                },
                waiting: Some(Waiting {
                    active: raw & 0x08 != 0,
                    kind: match raw & 0x03 {
                        0 => WaitingKind::Voicemail,
                        1 => WaitingKind::Fax,
                        2 => WaitingKind::Email,
                        _ => WaitingKind::Other,
                    },
                    discard: raw < 0xd0,
                }),
                ..plain
            },
            // Data coding and message class.
            0xf0..=0xff => Self {
                coding: if raw & 0x04 == 0 {
                    Coding::Gsm7
                } else {
                    Coding::Octets
                },
                class: Some(Class::of(raw)),
                ..plain
            },
        }
    }
}

impl Coding {
    /// A data_coding below 0x10. SMPP v3.4 §5.2.19.
    const fn of_smpp(raw: u8) -> Self {
        match raw {
            0x00 => Self::Default,
            0x01 => Self::Ascii,
            0x02 | 0x04 => Self::Octets,
            0x03 => Self::Latin1,
            0x05 => Self::Jis,
            0x06 => Self::Cyrillic,
            0x07 => Self::Hebrew,
            0x08 => Self::Ucs2,
            0x09 => Self::Pictogram,
            0x0a => Self::Iso2022Jp,
            0x0d => Self::ExtendedKanji,
            0x0e => Self::Korean,
            _ => Self::Gsm7,
        }
    }
}

impl Class {
    const fn of(raw: u8) -> Self {
        match raw & 0x03 {
            0 => Self::Flash,
            1 => Self::Handset,
            2 => Self::Sim,
            _ => Self::Terminal,
        }
    }
}
