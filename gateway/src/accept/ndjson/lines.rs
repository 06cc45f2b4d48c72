//! Lines: splits a body into lines, holding at most one incomplete line.

use std::io::BufRead;

use bytes::{Buf, Bytes, BytesMut};

use crate::accept::ITEM_MAX;

/// Stands for a line that is too long: one octet more than the limit, so that reading it says so.
pub(super) static TOO_LONG: [u8; ITEM_MAX + 1] = [b' '; ITEM_MAX + 1];

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing but spaces.
    Blank,
    /// At most [`ITEM_MAX`] octets.
    Whole(Bytes),
    /// Longer: it was skipped.
    TooLong,
}

/// A body on its way to be lines.
#[derive(Default)]
pub(super) struct Lines {
    /// What the last read brought and is not yet a line.
    input: Bytes,
    /// The beginning of a line whose end has not come.
    partial: BytesMut,
    /// Whether that line is too long and is being skipped.
    skipping: bool,
    ended: bool,
}

impl Lines {
    /// Adds what was read. All lines of the last read have been taken.
    pub(super) fn push(&mut self, data: Bytes) {
        debug_assert!(
            self.input.is_empty(),
            "invariant: lines are taken before the next read"
        );
        self.input = data;
    }

    /// Says that nothing more comes: what is left is a line.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The next line that is complete.
    pub(super) fn next(&mut self) -> Option<Line> {
        if let Some(end) = line_end(&self.input) {
            let rest = self.input.split_to(end);
            self.input.advance(1);
            return Some(self.line(rest));
        }
        let rest = std::mem::take(&mut self.input);
        if !rest.is_empty() && !self.skipping {
            self.skipping = self.partial.len() + rest.len() > ITEM_MAX;
            if self.skipping {
                self.partial = BytesMut::new();
            } else {
                self.partial.extend_from_slice(&rest);
            }
        }
        let left = self.skipping || !self.partial.is_empty();
        (self.ended && left).then(|| self.line(Bytes::new()))
    }

    fn line(&mut self, rest: Bytes) -> Line {
        let length = self.partial.len() + rest.len();
        if std::mem::take(&mut self.skipping) || length > ITEM_MAX {
            self.partial = BytesMut::new();
            return Line::TooLong;
        }
        let whole = if self.partial.is_empty() {
            rest
        } else {
            self.partial.extend_from_slice(&rest);
            self.partial.split().freeze()
        };
        if whole.iter().all(u8::is_ascii_whitespace) {
            Line::Blank
        } else {
            Line::Whole(whole)
        }
    }
}

/// The place of the next line's end. `skip_until` looks for it with the C library's memchr.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let skipped = rest.skip_until(b'\n').ok()?;
    (bytes.get(skipped.checked_sub(1)?) == Some(&b'\n')).then(|| skipped - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reads: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for read in reads {
            lines.push(Bytes::copy_from_slice(read));
            out.extend(std::iter::from_fn(|| lines.next()));
        }
        lines.end();
        out.extend(std::iter::from_fn(|| lines.next()));
        out
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_come_whole_wherever_the_reads_end() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\r\nlast";
        let expected = [
            whole("{\"a\":1}"),
            Line::Blank,
            whole("{\"b\":2}\r"),
            whole("last"),
        ];
        for cut in 0..text.len() {
            assert_eq!(all(&[&text[..cut], &text[cut..]]), expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(all(&single), expected);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_is_whole() {
        let long = vec![b'x'; ITEM_MAX + 1];
        let fits = vec![b'x'; ITEM_MAX];
        for reads in [
            vec![&long[..], b"\nnext"],
            vec![&long[..1000], &long[1000..], b"\nnext\n"],
            vec![&fits[..], b"x\nnext"],
        ] {
            assert_eq!(all(&reads), [Line::TooLong, whole("next")]);
        }
        assert_eq!(all(&[&long]), [Line::TooLong]);
        assert!(matches!(&all(&[&fits])[..], [Line::Whole(line)] if line.len() == ITEM_MAX));
    }

    #[test]
    fn nothing_is_no_line() {
        assert_eq!(all(&[]), []);
        assert_eq!(all(&[b"\n"]), [Line::Blank]);
    }
}
