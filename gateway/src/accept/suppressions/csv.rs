//! CSV (RFC 4180): records out of a body as it comes, and cells written so that no spreadsheet runs one.

use std::borrow::Cow;

use bytes::{Buf, BytesMut};

/// Octets of a record, its line end included (chosen: the longest that an export writes, 255
/// characters of four octets beside everything else, fits).
pub(super) const RECORD_MAX: usize = 2 * 1024;

/// What some programs put before UTF-8 text: U+FEFF (RFC 3629 §6).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// It has more than [`RECORD_MAX`] octets.
    TooLong,
    /// A quote is not closed, or stands where none may.
    Quote,
    /// It is not UTF-8.
    Utf8,
}

/// One record that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The line that it begins on, from 1.
    pub(super) line: u64,
    /// Its fields; at least one.
    pub(super) fields: Result<Vec<String>, Bad>,
}

/// A body on its way to be records. Holds what the last read brought, and one incomplete record.
#[derive(Default)]
pub(super) struct Records {
    input: BytesMut,
    /// Lines that are done with.
    lines: u64,
    /// Whether the mark at the beginning has been looked for.
    begun: bool,
    /// Whether the rest of a line that was told as bad is still to come.
    skipping: bool,
    ended: bool,
}

impl Records {
    /// Adds what was read. All records of the last read have been taken.
    pub(super) fn push(&mut self, data: &[u8]) {
        self.input.extend_from_slice(data);
    }

    /// Says that nothing more comes.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The next record that is complete. After one that cannot be read, the next begins on the next
    /// line, so that a stray quote swallows nothing.
    pub(super) fn next(&mut self) -> Option<Record> {
        if !self.begun {
            if self.input.len() < BYTE_ORDER_MARK.len() && !self.ended {
                return None;
            }
            self.begun = true;
            if self.input.starts_with(BYTE_ORDER_MARK) {
                self.input.advance(BYTE_ORDER_MARK.len());
            }
        }
        loop {
            if self.skipping {
                self.skipping = false;
                self.skip_line();
            }
            if self.skipping || self.input.is_empty() {
                return None;
            }
            let line = self.lines + 1;
            let fields = match scan(&self.input, self.ended) {
                Scanned::Incomplete => return None,
                Scanned::Whole { used, fields } => {
                    let taken = self.input.split_to(used);
                    let ends = taken.iter().filter(|byte| **byte == b'\n').count();
                    self.lines += u64::try_from(ends.max(1)).unwrap_or(u64::MAX);
                    fields
                }
                Scanned::Bad(bad) => {
                    self.skip_line();
                    Err(bad)
                }
            };
            let blank = |fields: &Vec<String>| fields.iter().all(|field| field.trim().is_empty());
            if !fields.as_ref().is_ok_and(blank) {
                return Some(Record { line, fields });
            }
        }
    }

    /// Drops the first line, or as much of it as there is.
    fn skip_line(&mut self) {
        if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            self.input.advance(end + 1);
            self.lines += 1;
        } else {
            self.input.clear();
            self.skipping = !self.ended;
        }
    }
}

enum Scanned {
    Whole {
        used: usize,
        fields: Result<Vec<String>, Bad>,
    },
    Incomplete,
    Bad(Bad),
}

/// Where in a field one is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Plain,
    Quoted,
    /// Behind a quote that closes the field or stands for one.
    Closing,
    /// Behind a closed field's CR.
    LineEnd,
}

/// Reads the first record of `bytes`.
fn scan(bytes: &[u8], ended: bool) -> Scanned {
    let mut fields = Vec::new();
    let mut field = Vec::new();
    let mut at = At::Start;
    for (index, byte) in bytes.iter().enumerate() {
        if index >= RECORD_MAX {
            return Scanned::Bad(Bad::TooLong);
        }
        at = match (at, byte) {
            (At::Start, b'"') => At::Quoted,
            (At::Start | At::Plain | At::Closing, b',') => {
                fields.push(std::mem::take(&mut field));
                At::Start
            }
            (At::Start | At::Plain | At::Closing | At::LineEnd, b'\n') => {
                return whole(index + 1, fields, field, at);
            }
            (At::Closing, b'"') => {
                field.push(b'"');
                At::Quoted
            }
            (At::Closing, b'\r') => At::LineEnd,
            (At::Quoted, b'"') => At::Closing,
            (At::Plain, b'"') | (At::Closing | At::LineEnd, _) => return Scanned::Bad(Bad::Quote),
            (At::Start | At::Plain, other) => {
                field.push(*other);
                At::Plain
            }
            (At::Quoted, other) => {
                field.push(*other);
                At::Quoted
            }
        };
    }
    match (ended, at) {
        (false, _) => Scanned::Incomplete,
        (true, At::Quoted) => Scanned::Bad(Bad::Quote),
        (true, _) => whole(bytes.len(), fields, field, at),
    }
}

/// A record with its last field, of whose end the CR is no part.
fn whole(used: usize, mut fields: Vec<Vec<u8>>, mut last: Vec<u8>, at: At) -> Scanned {
    if at == At::Plain && last.last() == Some(&b'\r') {
        last.pop();
    }
    fields.push(last);
    let fields = fields.into_iter().map(String::from_utf8);
    let fields = fields.collect::<Result<_, _>>().map_err(|_| Bad::Utf8);
    Scanned::Whole { used, fields }
}

/// Whether a spreadsheet would take a cell for a formula, or [`unguarded`] for a guarded one (OWASP,
/// "CSV Injection").
fn is_risky(text: &str) -> bool {
    text.trim_start_matches('\'')
        .starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// The text with an apostrophe before it where a spreadsheet would run it.
pub(super) fn guarded(text: &str) -> Cow<'_, str> {
    match is_risky(text) {
        true => format!("'{text}").into(),
        false => text.into(),
    }
}

/// What [`guarded`] was given.
pub(super) fn unguarded(text: &str) -> &str {
    let rest = text.strip_prefix('\'');
    rest.filter(|rest| is_risky(rest)).unwrap_or(text)
}

/// Writes one record.
pub(super) fn write(out: &mut Vec<u8>, cells: &[&str]) {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if cell.contains([',', '"', '\r', '\n']) {
            out.push(b'"');
            out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(cell.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(reads: &[&[u8]]) -> Vec<(u64, Result<Vec<String>, Bad>)> {
        let mut records = Records::default();
        let mut out = Vec::new();
        for read in reads {
            records.push(read);
            out.extend(std::iter::from_fn(|| records.next()));
        }
        records.end();
        out.extend(std::iter::from_fn(|| records.next()));
        out.into_iter().map(|one| (one.line, one.fields)).collect()
    }

    fn good(line: u64, fields: &[&str]) -> (u64, Result<Vec<String>, Bad>) {
        let fields = fields.iter().map(|field| (*field).to_owned());
        (line, Ok(fields.collect()))
    }

    #[test]
    fn records_come_whole_wherever_the_reads_end() {
        let text = b"\xef\xbb\xbf\"a\",b\r\n\n,\r\n\"x \"\"y\"\"\r\nz\",\n\"q\"\r\nlast,";
        let expected = [
            good(1, &["a", "b"]),
            good(4, &["x \"y\"\r\nz", ""]),
            good(6, &["q"]),
            good(7, &["last", ""]),
        ];
        for size in 1..text.len() {
            let reads: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(all(&reads), expected, "reads of {size}");
        }
    }

    #[test]
    fn what_cannot_be_read_costs_its_own_line_only() {
        let long = "x".repeat(3 * RECORD_MAX);
        let filler = "y,z\n".repeat(RECORD_MAX);
        for (text, bad) in [
            ("a\"b\n".to_owned(), Bad::Quote),
            ("\"a\"b\n".to_owned(), Bad::Quote),
            (format!("{long}\n"), Bad::TooLong),
            (format!("\"{long}\n"), Bad::TooLong),
        ] {
            for size in [1, 7, 100_000] {
                let text = format!("{text}good\n");
                let reads: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                assert_eq!(all(&reads), [(1, Err(bad)), good(2, &["good"])], "{bad:?}");
            }
        }
        assert_eq!(
            all(&[b"\xff\ngood"]),
            [(1, Err(Bad::Utf8)), good(2, &["good"])]
        );
        assert_eq!(
            all(&[b"\"open\ngood"]),
            [(1, Err(Bad::Quote)), good(2, &["good"])]
        );
        let stray = format!("\"stray\n{filler}");
        let read = all(&[stray.as_bytes()]);
        assert_eq!(read[0], (1, Err(Bad::TooLong)));
        assert_eq!(read.len(), 1 + RECORD_MAX, "a stray quote swallows nothing");
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_guarded() {
        for risky in ["=1", "+1", "-1", "@a", "\ta", "\ra", "'=1"] {
            assert_eq!(guarded(risky), format!("'{risky}"));
        }
        for plain in ["", "a=1", "'a", "46"] {
            assert_eq!(guarded(plain), plain);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_reads_back(cells in prop::collection::vec("[a\"',\r\n=+ é-]{0,9}", 2..5)) {
            let mut out = Vec::new();
            let shown: Vec<String> = cells.iter().map(|cell| guarded(cell).into_owned()).collect();
            write(&mut out, &["phone"]);
            write(&mut out, &shown.iter().map(String::as_str).collect::<Vec<_>>());
            let read = all(&[&out]);
            let blank = shown.iter().all(|cell| cell.trim().is_empty());
            prop_assert_eq!(read.len(), if blank { 1 } else { 2 });
            if let Some((_, Ok(fields))) = read.get(1) {
                let fields: Vec<&str> = fields.iter().map(|field| unguarded(field)).collect();
                prop_assert_eq!(fields, cells);
            }
        }
    }
}
