//! JSON written without a tree: objects whose members are known while they are written.

use serde::Serialize;

/// Writes one object's members in the order of the calls.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Writer<'a> {
    /// Opens an object.
    pub(crate) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Writes a member's name; its value follows in the octets that are returned.
    pub(crate) fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        string(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// Writes a member that is a string.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        string(self.name(name), value);
    }

    /// Writes a member that is a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        write(self.name(name), &value);
    }

    /// Closes the object.
    pub(crate) fn close(self) {
        self.out.push(b'}');
    }
}

/// Writes a string with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    write(out, &text);
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    // Cannot fail: a Vec takes every write, and strings and numbers always have a form.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "a Vec takes every write");
}
