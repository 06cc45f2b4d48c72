//! JSON: objects written without a tree, and trees merged.

use serde::Serialize;
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

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

    /// Writes a member that is a string, if there is one.
    pub(crate) fn text_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
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

/// Writes an object, compact; its members come in the order of their names, as the map has them.
pub(crate) fn object(out: &mut Vec<u8>, object: &Map<String, Value>) {
    write(out, object);
}

/// Merges a patch into an object: RFC 7396. Objects are merged member by member, `null` takes a
/// member away, everything else replaces. As deep as the patch is, which serde_json reads to 128.
pub(crate) fn merge(base: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                base.remove(name);
            }
            Value::Object(patch) => {
                let member = base.entry(name).or_insert(Value::Null);
                if !member.is_object() {
                    *member = Value::Object(Map::new());
                }
                if let Value::Object(member) = member {
                    merge(member, patch);
                }
            }
            other => {
                base.insert(name.clone(), other.clone());
            }
        }
    }
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    // Cannot fail: a Vec takes every write, and what is written here always has a form.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "a Vec takes every write");
}
