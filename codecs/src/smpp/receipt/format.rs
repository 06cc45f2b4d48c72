//! Formats: receipts that are no `key:value` text, described by a pattern such as
//! `{stat},{done},{submit},{err},{},{},{id}` (Vodafone UK, seen on Kannel's list in 2002).

use super::Receipt;
use super::scan::{Key, trim};

/// Pieces of a pattern at most. Chosen: a receipt has nine fields.
const PIECES_MAX: usize = 32;
/// Octets of a pattern at most. Chosen: a receipt has at most 160 or so.
const PATTERN_OCTETS_MAX: usize = 256;

/// The names that a pattern may have in braces. `{}` skips what stands there.
const NAMES: [(&str, Option<Key>); 9] = [
    ("", None),
    ("id", Some(Key::Id)),
    ("sub", Some(Key::Sub)),
    ("dlvrd", Some(Key::Dlvrd)),
    ("submit", Some(Key::SubmitDate)),
    ("done", Some(Key::DoneDate)),
    ("stat", Some(Key::Stat)),
    ("err", Some(Key::Err)),
    ("text", Some(Key::Text)),
];

/// A format that was described by a pattern: fields in braces, and between them text that stands there
/// letter for letter. Two fields need text between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// What stands before the first field.
    start: Box<[u8]>,
    fields: Box<[Piece]>,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// Where it belongs; `None`: nowhere.
    key: Option<Key>,
    /// What stands after it; after the last one, possibly nothing.
    after: Box<[u8]>,
}

/// What is wrong with a pattern, and at which octet of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatError {
    /// The octet.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl Format {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`FormatError`]: a brace without its other half, a name that is not `id`, `sub`, `dlvrd`,
    /// `submit`, `done`, `stat`, `err`, `text` or empty, two fields without text between them, no
    /// `{id}`, or more than fits.
    pub fn parse(pattern: &str) -> Result<Self, FormatError> {
        let wrong = |at, what| Err(FormatError { at, what });
        if pattern.len() > PATTERN_OCTETS_MAX {
            return wrong(PATTERN_OCTETS_MAX, "the pattern is too long");
        }
        let (start, mut rest) = pattern.split_at(pattern.find('{').unwrap_or(pattern.len()));
        if let Some(at) = start.find('}') {
            return wrong(at, "this brace closes nothing");
        }
        let mut fields: Vec<Piece> = Vec::new();
        while !rest.is_empty() {
            let at = pattern.len() - rest.len();
            let Some((name, after)) = rest.get(1..).and_then(|rest| rest.split_once('}')) else {
                return wrong(at, "this brace is not closed");
            };
            let Some((_, key)) = NAMES.iter().find(|(known, _)| *known == name) else {
                return wrong(at + 1, "no field has this name");
            };
            if key.is_some() && fields.iter().any(|known| known.key == *key) {
                return wrong(at + 1, "this field is there twice");
            }
            let (literal, next) = after.split_at(after.find('{').unwrap_or(after.len()));
            if let Some(brace) = literal.find('}') {
                let at = pattern.len() - after.len() + brace;
                return wrong(at, "this brace closes nothing");
            }
            if literal.is_empty() && !next.is_empty() {
                return wrong(
                    pattern.len() - next.len(),
                    "two fields need text between them",
                );
            }
            if fields.len() >= PIECES_MAX {
                return wrong(at, "there are too many fields");
            }
            fields.push(Piece {
                key: *key,
                after: literal.as_bytes().into(),
            });
            rest = next;
        }
        if !fields.iter().any(|field| field.key == Some(Key::Id)) {
            return wrong(pattern.len(), "the pattern needs {id}");
        }
        Ok(Self {
            start: start.as_bytes().into(),
            fields: fields.into(),
        })
    }

    /// Reads a text of this format; `None` when it is none. Each field takes what stands before the
    /// text that follows it, the last one all that is left. Copies nothing.
    #[must_use]
    pub fn scan<'a>(&self, raw: &'a [u8]) -> Option<Receipt<'a>> {
        let mut rest = raw.strip_prefix(&*self.start)?;
        let mut receipt = Receipt::default();
        for (index, Piece { key, after }) in self.fields.iter().enumerate() {
            let end = if after.is_empty() {
                rest.len()
            } else if index + 1 == self.fields.len() {
                // The end of the pattern is the end of the text, but for what is blank.
                trim(rest).strip_suffix(&**after)?.len()
            } else {
                rest.windows(after.len())
                    .position(|here| here == &**after)?
            };
            let (value, left) = rest.split_at_checked(end)?;
            if let Some(key) = key {
                receipt.put(*key, value);
            }
            rest = left.get(after.len()..).unwrap_or_default();
        }
        Some(receipt)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VODAFONE: &str = "{stat},{done},{submit},{err},{},{},{id}";

    #[test]
    fn a_pattern_reads_its_fields() {
        let format = Format::parse(VODAFONE).unwrap();
        let text = b"01,0210021543,0210021500,30,447887123456,10110200000999,we2345678i9o03";
        let receipt = format.scan(text).unwrap();
        assert_eq!(receipt.id, Some(&b"we2345678i9o03"[..]));
        assert_eq!(receipt.stat, Some(&b"01"[..]));
        assert_eq!(receipt.err, Some(&b"30"[..]));
        assert_eq!(receipt.done_date, Some(&b"0210021543"[..]));
        assert_eq!(receipt.submit_date, Some(&b"0210021500"[..]));
        assert_eq!(format.scan(b"id:1 stat:DELIVRD"), None);
        let framed = Format::parse("[{id}] is {stat}.").unwrap();
        let receipt = framed.scan(b"[a b] is DELIVRD.").unwrap();
        assert_eq!(
            (receipt.id, receipt.stat),
            (Some(&b"a b"[..]), Some(&b"DELIVRD"[..]))
        );
        assert_eq!(framed.scan(b"[a b] is DELIVRD"), None);
        let last = Format::parse("{id} {text}").unwrap();
        assert_eq!(last.scan(b"7 a b").unwrap().text, Some(&b"a b"[..]));
    }

    #[test]
    fn a_wrong_pattern_is_named_with_its_place() {
        for (pattern, at) in [
            ("", 0),
            ("{stat}", 6),
            ("{id},{stat", 5),
            ("{id},{what}", 6),
            ("{id}{stat}", 4),
            ("{id},{id}", 6),
            ("a}{id}", 1),
            ("{id}a},{stat}", 5),
        ] {
            assert_eq!(
                Format::parse(pattern).map_err(|error| error.at),
                Err(at),
                "{pattern}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(pattern: String, raw: Vec<u8>) {
            for pattern in [pattern.as_str(), VODAFONE, "x{id}y{stat}z"] {
                if let Ok(format) = Format::parse(pattern) {
                    let receipt = format.scan(&raw).unwrap_or_default();
                    let fields = [receipt.id, receipt.stat, receipt.text];
                    prop_assert!(fields.iter().flatten().all(|field| field.len() <= raw.len()));
                }
            }
        }
    }
}
