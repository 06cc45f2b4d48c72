//! Smart encoding: the typography that a text can lose so that it fits the GSM 7-bit alphabet.
//!
//! One curly quote turns a message of 160 characters into one of 70. The lists are those of smpp.md
//! §2.3. Nothing is decided here: [`apply`] says what a level makes of a text and reports every
//! change; whether that is worth it is the caller's, who also asks never to touch binary data or a
//! text whose coding is forced.

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::gsm7;

#[cfg(test)]
mod tests;

/// How much may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Typography: quotes, dashes, ellipsis, spaces, invisible characters; composed (NFC).
    Safe,
    /// Also letters: accents that the alphabet lacks are dropped.
    Full,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Characters of the original text before it.
    pub position: usize,
    /// What stood there: one character, or a grapheme that was composed.
    pub original: String,
    /// What stands there now; empty where it was removed.
    pub replacement: String,
}

/// What a level makes of a text, and every change in order. The text grows at most threefold.
///
/// Emoji and scripts that join letters keep their zero width joiners; a grapheme is changed as a
/// whole or not at all.
#[must_use]
pub fn apply(text: &str, level: Level) -> (String, Vec<Replaced>) {
    let mut all = String::with_capacity(text.len());
    let mut changes = Vec::new();
    let mut position = 0;
    for grapheme in text.graphemes(true) {
        let start = all.len();
        for character in grapheme.nfc() {
            write(character, level, &mut all);
        }
        let written = all.get(start..).unwrap_or_default();
        if written != grapheme {
            changes.push(Replaced {
                position,
                original: grapheme.to_owned(),
                replacement: written.to_owned(),
            });
        }
        position += grapheme.chars().count();
    }
    (all, changes)
}

fn write(character: char, level: Level, all: &mut String) {
    if let Some(replacement) = typography(character) {
        all.push_str(replacement);
    } else if level == Level::Full && gsm7::width(character).is_none() {
        fold(character, all);
    } else {
        all.push(character);
    }
}

/// smpp.md §2.3. The zero width joiner and non-joiner are not among them: they hold emoji and Indic
/// clusters together.
fn typography(character: char) -> Option<&'static str> {
    Some(match character {
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '`' | '\u{b4}' => "'",
        '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{ab}' | '\u{bb}' => "\"",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "-",
        '\u{2026}' => "...",
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}' => " ",
        '\u{200b}' | '\u{feff}' | '\u{2060}' | '\u{ad}' => "",
        _ => return None,
    })
}

/// A letter without the marks that the alphabet lacks, where what remains is in it.
fn fold(character: char, all: &mut String) {
    if let Some(letters) = stroked(character) {
        all.push_str(letters);
        return;
    }
    let base = std::iter::once(character).nfd().next();
    match base {
        Some(base) if base.is_ascii_alphabetic() => all.push(base),
        _ => all.push(character),
    }
}

/// Latin letters whose mark is no combining character (Unicode has no decomposition for them).
fn stroked(character: char) -> Option<&'static str> {
    Some(match character {
        'ł' => "l",
        'Ł' => "L",
        'đ' | 'ð' => "d",
        'Đ' | 'Ð' => "D",
        'ħ' => "h",
        'Ħ' => "H",
        'ı' => "i",
        'ŧ' => "t",
        'Ŧ' => "T",
        'œ' => "oe",
        'Œ' => "OE",
        'þ' => "th",
        'Þ' => "Th",
        'ẞ' => "ß",
        _ => return None,
    })
}
