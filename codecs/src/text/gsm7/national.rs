//! National language tables: GSM 7-bit with other characters, named in the user data header.
//!
//! A locking shift table replaces the default alphabet, a single shift table the extension that an
//! escape leads to. 3GPP TS 23.038 §6.2.1.2 and annex A. Reading them costs nothing and is always
//! done; writing them is for carriers that are known to pass the header on.

use bytes::BufMut;

use super::{DEFAULT, ESCAPE, EURO, EXTENSION};
use crate::text::TextError;

mod tables;
#[cfg(test)]
mod tests;

use tables::Runs;

/// A language with tables of its own; its number is the identifier of 3GPP TS 23.038 §6.2.1.2.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Language {
    /// Turkish.
    Turkish = 1,
    /// Spanish: no locking shift table.
    Spanish = 2,
    /// Portuguese.
    Portuguese = 3,
    /// Bengali and Assamese.
    Bengali = 4,
    /// Gujarati.
    Gujarati = 5,
    /// Hindi.
    Hindi = 6,
    /// Kannada.
    Kannada = 7,
    /// Malayalam.
    Malayalam = 8,
    /// Oriya.
    Oriya = 9,
    /// Punjabi.
    Punjabi = 10,
    /// Tamil.
    Tamil = 11,
    /// Telugu.
    Telugu = 12,
    /// Urdu.
    Urdu = 13,
}

impl Language {
    /// All of them, by identifier.
    pub const ALL: [Self; 13] = [
        Self::Turkish,
        Self::Spanish,
        Self::Portuguese,
        Self::Bengali,
        Self::Gujarati,
        Self::Hindi,
        Self::Kannada,
        Self::Malayalam,
        Self::Oriya,
        Self::Punjabi,
        Self::Tamil,
        Self::Telugu,
        Self::Urdu,
    ];

    /// The identifier, 1 to 13.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The language of an identifier; `None` where 3GPP TS 23.038 reserves it.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        let index = usize::from(id).checked_sub(1)?;
        Self::ALL.get(index).copied()
    }

    /// Its English name in small letters, as configs have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turkish => "turkish",
            Self::Spanish => "spanish",
            Self::Portuguese => "portuguese",
            Self::Bengali => "bengali",
            Self::Gujarati => "gujarati",
            Self::Hindi => "hindi",
            Self::Kannada => "kannada",
            Self::Malayalam => "malayalam",
            Self::Oriya => "oriya",
            Self::Punjabi => "punjabi",
            Self::Tamil => "tamil",
            Self::Telugu => "telugu",
            Self::Urdu => "urdu",
        }
    }

    /// Whether it has a locking shift table; Spanish alone has none.
    #[must_use]
    pub const fn has_locking(self) -> bool {
        !matches!(self, Self::Spanish)
    }
}

/// The tables in use; none of them is the default alphabet with its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shifts {
    /// In place of the default alphabet.
    pub locking: Option<Language>,
    /// In place of the default extension.
    pub single: Option<Language>,
}

impl Shifts {
    /// The default alphabet with its extension.
    pub const NONE: Self = Self {
        locking: None,
        single: None,
    };

    /// Those of a header. An identifier that nobody knows leaves the default table in place
    /// (3GPP TS 23.038 §6.2.1.2.4), and so does Spanish as locking shift.
    #[must_use]
    pub fn of_ids(locking: Option<u8>, single: Option<u8>) -> Self {
        Self {
            locking: locking
                .and_then(Language::from_id)
                .filter(|language| language.has_locking()),
            single: single.and_then(Language::from_id),
        }
    }

    /// Whether these are the default tables.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.locking.is_none() && self.single.is_none()
    }

    /// Octets of the header's elements that name them: three each. 3GPP TS 23.040 §9.2.3.24.15, .16.
    #[must_use]
    pub const fn element_octets(self) -> usize {
        (if self.locking.is_some() { 3 } else { 0 }) + (if self.single.is_some() { 3 } else { 0 })
    }

    fn tables(self) -> (&'static Table, &'static Table) {
        let index =
            |language: Option<Language>| language.map_or(0, |known| usize::from(known.id()));
        (
            LOCKING.get(index(self.locking)).unwrap_or(&LOCKING[0]),
            SINGLE.get(index(self.single)).unwrap_or(&SINGLE[0]),
        )
    }

    /// The septet of a character, and whether an escape leads to it.
    fn code(self, character: char) -> Option<(u8, bool)> {
        let unit = u16::try_from(u32::from(character)).ok()?;
        let (locking, single) = self.tables();
        find(locking, unit)
            .map(|code| (code, false))
            .or_else(|| find(single, unit).map(|code| (code, true)))
    }

    /// Septets that a character takes, 1 or 2, or `None` if the tables lack it.
    #[must_use]
    pub fn width(self, character: char) -> Option<usize> {
        self.code(character)
            .map(|(_, shifted)| 1 + usize::from(shifted))
    }

    /// Counts the septets of a text.
    ///
    /// # Errors
    /// [`TextError::NotRepresentable`] names the first character that the tables lack.
    pub fn septets(self, text: &str) -> Result<usize, TextError> {
        text.char_indices().try_fold(0, |septets, (at, character)| {
            self.width(character)
                .map(|width| septets + width)
                .ok_or(TextError::NotRepresentable { at, character })
        })
    }

    /// Appends the septets of a text, one per octet.
    ///
    /// # Errors
    /// As [`septets`](Self::septets); what came before the character is written.
    pub fn encode(self, text: &str, out: &mut impl BufMut) -> Result<(), TextError> {
        for (at, character) in text.char_indices() {
            let (code, shifted) = self
                .code(character)
                .ok_or(TextError::NotRepresentable { at, character })?;
            if shifted {
                out.put_u8(ESCAPE);
            }
            out.put_u8(code);
        }
        Ok(())
    }

    /// Reads unpacked septets; never fails.
    ///
    /// A single shift code that the table leaves blank shows the character of the locking table
    /// (3GPP TS 23.038 §6.2.1.1), a doubled or dangling escape a space; a blank of the locking table,
    /// and an octet above 0x7F, U+FFFD.
    #[must_use]
    pub fn decode(self, septets: &[u8]) -> String {
        let (locking, single) = self.tables();
        let of = |table: &Table, code: u8| match table.get(usize::from(code)) {
            None | Some(&BLANK) => None,
            Some(&unit) => char::from_u32(unit.into()),
        };
        let mut text = String::with_capacity(septets.len());
        let mut octets = septets.iter().copied();
        while let Some(octet) = octets.next() {
            let character = match octet {
                ESCAPE => match octets.next() {
                    None | Some(ESCAPE) => Some(' '),
                    Some(code) => of(single, code).or_else(|| of(locking, code)),
                },
                octet => of(locking, octet),
            };
            text.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        text
    }
}

/// Characters by code: all lie in the Basic Multilingual Plane.
type Table = [u16; 128];

/// A code without a character.
const BLANK: u16 = 0;

/// The code of a character. Most of ASCII has its own number.
fn find(table: &Table, unit: u16) -> Option<u8> {
    if unit == BLANK || unit == u16::from(ESCAPE) {
        return None;
    }
    if let Ok(code) = u8::try_from(unit)
        && table.get(usize::from(code)) == Some(&unit)
    {
        return Some(code);
    }
    let code = table.iter().position(|known| *known == unit)?;
    u8::try_from(code).ok()
}

/// Locking shift tables by identifier; 0 and 2 are the default alphabet.
static LOCKING: [Table; 14] = {
    let latin = default_alphabet();
    let indic = filled([BLANK; 128], tables::INDIC_LOCKING);
    [
        latin,
        filled(latin, tables::TURKISH_LOCKING),
        latin,
        filled(latin, tables::PORTUGUESE_LOCKING),
        filled(indic, tables::BENGALI_LOCKING),
        filled(indic, tables::GUJARATI_LOCKING),
        filled(indic, tables::HINDI_LOCKING),
        filled(indic, tables::KANNADA_LOCKING),
        filled(indic, tables::MALAYALAM_LOCKING),
        filled(indic, tables::ORIYA_LOCKING),
        filled(indic, tables::PUNJABI_LOCKING),
        filled(indic, tables::TAMIL_LOCKING),
        filled(indic, tables::TELUGU_LOCKING),
        filled(indic, tables::URDU_LOCKING),
    ]
};

/// Single shift tables by identifier; 0 is the default extension.
static SINGLE: [Table; 14] = {
    let latin = default_extension();
    let indic = filled(latin, tables::INDIC_SINGLE);
    [
        latin,
        filled(latin, tables::TURKISH_SINGLE),
        filled(latin, tables::SPANISH_SINGLE),
        filled(latin, tables::PORTUGUESE_SINGLE),
        filled(indic, tables::BENGALI_SINGLE),
        filled(indic, tables::GUJARATI_SINGLE),
        filled(indic, tables::HINDI_SINGLE),
        filled(indic, tables::KANNADA_SINGLE),
        filled(indic, tables::MALAYALAM_SINGLE),
        filled(indic, tables::ORIYA_SINGLE),
        filled(indic, tables::PUNJABI_SINGLE),
        filled(indic, tables::TAMIL_SINGLE),
        filled(indic, tables::TELUGU_SINGLE),
        filled(indic, tables::URDU_SINGLE),
    ]
};

const fn default_alphabet() -> Table {
    let mut table = [BLANK; 128];
    let mut code = 0;
    while code < 128 {
        table[code] = DEFAULT[code] as u16;
        code += 1;
    }
    table
}

const fn default_extension() -> Table {
    let mut table = [BLANK; 128];
    let mut at = 0;
    while at < EXTENSION.len() {
        table[EXTENSION[at].0 as usize] = EXTENSION[at].1 as u16;
        at += 1;
    }
    table[EURO as usize] = '€' as u16;
    table
}

const fn filled(mut table: Table, runs: Runs) -> Table {
    let mut run = 0;
    while run < runs.len() {
        let (first, text) = runs[run];
        let octets = text.as_bytes();
        let (mut code, mut at) = (first as usize, 0);
        while at < octets.len() {
            // UTF-8 of the Basic Multilingual Plane: one to three octets (RFC 3629 §3).
            let lead = octets[at] as u16;
            (table[code], at) = match lead {
                0..=0x7f => (lead, at + 1),
                0x80..=0xdf => ((lead & 0x1f) << 6 | low(octets[at + 1]), at + 2),
                _ => (
                    (lead & 0x0f) << 12 | low(octets[at + 1]) << 6 | low(octets[at + 2]),
                    at + 3,
                ),
            };
            code += 1;
        }
        run += 1;
    }
    table
}

const fn low(octet: u8) -> u16 {
    (octet & 0x3f) as u16
}
