//! GSM 7-bit default alphabet with its extension table, unpacked: one septet per octet.

pub mod national;
pub mod packed;

use bytes::BufMut;

use super::TextError;

/// Leads an extension character. 3GPP TS 23.038 §6.2.1.
const ESCAPE: u8 = 0x1b;

/// The default alphabet in order of its codes; 0x1B is the escape. 3GPP TS 23.038 §6.2.1.
const DEFAULT: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', //
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{1b}', 'Æ', 'æ', 'ß', 'É', //
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', //
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?', //
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', //
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', //
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', //
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à', //
];

/// Code after the escape and its character. 3GPP TS 23.038 §6.2.1.1. The euro sign (0x65) stands
/// apart because it lies outside [`CODES`].
const EXTENSION: [(u8, char); 9] = [
    (0x0a, '\u{c}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2f, '\\'),
    (0x3c, '['),
    (0x3d, '~'),
    (0x3e, ']'),
    (0x40, '|'),
];

/// The extension code of the euro sign.
const EURO: u8 = 0x65;

/// A character that the alphabet lacks, in [`CODES`].
const NONE: u8 = 0xff;

/// Marks an extension code in [`CODES`].
const EXTENDED: u8 = 0x80;

/// Code points that [`CODES`] covers: Latin-1 and Greek, which hold all but the euro sign.
const COVERED: usize = 0x400;

/// Code point to septet; [`EXTENDED`] is set where an escape leads; [`NONE`] where it is missing.
static CODES: [u8; COVERED] = codes();

const fn codes() -> [u8; COVERED] {
    let mut codes = [NONE; COVERED];
    let mut code = 0;
    while code < DEFAULT.len() {
        if code != ESCAPE as usize {
            codes[DEFAULT[code] as usize] = code as u8;
        }
        code += 1;
    }
    let mut at = 0;
    while at < EXTENSION.len() {
        codes[EXTENSION[at].1 as usize] = EXTENSION[at].0 | EXTENDED;
        at += 1;
    }
    codes
}

/// Septets that each ASCII octet takes; 0 where the alphabet lacks it.
static ASCII_SEPTETS: [u8; 128] = ascii_septets();

const fn ascii_septets() -> [u8; 128] {
    let codes = codes();
    let mut septets = [0; 128];
    let mut at = 0;
    while at < 128 {
        septets[at] = if codes[at] == NONE {
            0
        } else {
            1 + (codes[at] >> 7)
        };
        at += 1;
    }
    septets
}

/// The septet of a character, with [`EXTENDED`] set where an escape leads; [`NONE`] if missing.
fn code(character: char) -> u8 {
    match CODES.get(character as usize) {
        Some(&code) => code,
        None if character == '€' => EURO | EXTENDED,
        None => NONE,
    }
}

/// Septets that a character takes, 1 or 2, or `None` if the alphabet lacks it.
#[must_use]
pub fn width(character: char) -> Option<usize> {
    match code(character) {
        NONE => None,
        code => Some(1 + usize::from(code >> 7)),
    }
}

/// Counts the septets of a text.
///
/// # Errors
/// [`TextError::NotRepresentable`] names the first character that the alphabet lacks.
pub fn septets(text: &str) -> Result<usize, TextError> {
    let octets = text.as_bytes();
    let mut septets = 0;
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        if let Some(&width) = ASCII_SEPTETS.get(usize::from(octet)) {
            if width == 0 {
                return Err(TextError::NotRepresentable {
                    at,
                    character: char::from(octet),
                });
            }
            septets += usize::from(width);
            at += 1;
        } else {
            let character = text[at..]
                .chars()
                .next()
                .expect("invariant: at is a char boundary");
            match width(character) {
                Some(width) => septets += width,
                None => return Err(TextError::NotRepresentable { at, character }),
            }
            at += character.len_utf8();
        }
    }
    Ok(septets)
}

/// Appends the septets of a text, one per octet.
///
/// # Errors
/// [`TextError::NotRepresentable`] names the first character that the alphabet lacks; what came
/// before it is written.
pub fn encode(text: &str, out: &mut impl BufMut) -> Result<(), TextError> {
    for (at, character) in text.char_indices() {
        match code(character) {
            NONE => return Err(TextError::NotRepresentable { at, character }),
            code if code & EXTENDED != 0 => {
                out.put_u8(ESCAPE);
                out.put_u8(code & !EXTENDED);
            }
            code => out.put_u8(code),
        }
    }
    Ok(())
}

/// Reads unpacked septets; never fails.
///
/// An unknown extension code shows the character of the main table, a doubled or dangling escape a
/// space (3GPP TS 23.038 §6.2.1.1, notes); an octet above 0x7F, which is no septet, U+FFFD.
#[must_use]
pub fn decode(septets: &[u8]) -> String {
    let mut text = String::with_capacity(septets.len());
    let mut octets = septets.iter().copied();
    while let Some(octet) = octets.next() {
        text.push(match octet {
            ESCAPE => match octets.next() {
                None | Some(ESCAPE) => ' ',
                Some(EURO) => '€',
                Some(code) => EXTENSION
                    .iter()
                    .find(|(extended, _)| *extended == code)
                    .map_or_else(|| default_character(code), |(_, character)| *character),
            },
            octet => default_character(octet),
        });
    }
    text
}

fn default_character(octet: u8) -> char {
    DEFAULT
        .get(usize::from(octet))
        .copied()
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}
