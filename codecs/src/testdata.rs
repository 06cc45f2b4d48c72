//! Reads the tables of `testdata/` that other implementations wrote.

/// The rows of a table, split at tabs; comment lines start with `#`.
pub(crate) fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
}

/// Undoes the escapes of a JSON string.
pub(crate) fn unescape(text: &str) -> String {
    let mut units = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            units.extend(character.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        match characters.next().unwrap() {
            'u' => {
                let digits: String = characters.by_ref().take(4).collect();
                units.push(u16::from_str_radix(&digits, 16).unwrap());
            }
            plain => units.push(u16::try_from(u32::from(plain)).unwrap()),
        }
    }
    String::from_utf16(&units).unwrap()
}
