//! Latin-1: ISO 8859-1 as texts are sent in it, with data_coding 3.

use super::TextError;

/// Whether it can be sent. Control characters are left out but for the ends of lines: handsets show
/// nothing for the others, and 0x80 to 0x9F mean letters to what takes Latin-1 for Windows-1252.
const fn holds(character: char) -> bool {
    matches!(character, '\n' | '\r' | ' '..='~' | '\u{a0}'..='\u{ff}')
}

/// Octets of a text, one for each character. Allocates nothing.
///
/// # Errors
/// [`TextError::NotRepresentable`] names the first character that it lacks.
pub fn octets(text: &str) -> Result<usize, TextError> {
    let mut octets = 0;
    for (at, character) in text.char_indices() {
        if !holds(character) {
            return Err(TextError::NotRepresentable { at, character });
        }
        octets += 1;
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_letters_are_an_octet_each_and_nothing_else_is_in_it() {
        assert_eq!(octets("\u{e7}a va, \u{ff}? @\r\n"), Ok(13));
        for (at, character) in [
            (0, '\u{20ac}'),
            (0, '\u{85}'),
            (0, '\0'),
            (0, '\u{1b}'),
            (0, '\u{416}'),
        ] {
            let wrong = TextError::NotRepresentable { at, character };
            assert_eq!(octets(&character.to_string()), Err(wrong));
        }
    }
}
