//! Receipt keys: what the tokens of app receipts are signed with. Shared by those that write pushes and those
//! that hear of them.
//!
//! The keys stand in `receipt.keys` in the store's directory, readable by its owner alone: one a line, 64
//! hexadecimal digits. The first signs, all open, so that a new first line replaces the key and what was
//! sent before can still be told of; lines that start with `#` say nothing. The file is made at the first
//! start and read at each.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use codecs::receipt_token::{KEY_OCTETS, Key};

use crate::message::MessageId;

/// The file's name.
const FILE: &str = "receipt.keys";
/// Keys at a time. Chosen: tokens live days, so that even a key a day fits.
const KEYS_MAX: usize = 8;

/// The keys of this gateway; without any, no token is good.
#[derive(Clone, Debug, Default)]
pub struct ReceiptKeys(Arc<[Key]>);

impl ReceiptKeys {
    /// One key alone.
    #[must_use]
    pub fn of(octets: &[u8; KEY_OCTETS]) -> Self {
        Self(Arc::new([Key::new(octets)]))
    }

    /// Reads the keys of the store in `directory`; makes one where there is none yet.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is not of its form; says which, and never what is in it.
    pub fn load(directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path)?,
            Err(error) => return Err(told(&path, &error.to_string())),
        };
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Option<Vec<Key>> = lines.map(|line| Some(Key::new(&octets(line)?))).collect();
        match keys {
            Some(keys) if (1..=KEYS_MAX).contains(&keys.len()) => Ok(Self(keys.into())),
            _ => {
                let form = format!("must have 1 to {KEYS_MAX} lines of 64 hexadecimal digits");
                Err(told(&path, &form))
            }
        }
    }

    /// The token of a device of a message; empty without a key.
    #[must_use]
    pub fn token(&self, message: MessageId, device: u8) -> String {
        let key = self.0.first();
        key.map_or_else(String::new, |key| key.token(message.0, device))
    }

    /// The device of this message that a token speaks for.
    #[must_use]
    pub fn device(&self, token: &str, message: MessageId) -> Option<u8> {
        // All of them, so that the time it takes tells nothing of which.
        let found = self.0.iter().map(|key| key.device(token, message.0));
        found.fold(None, Option::or)
    }
}

/// Makes the file with a key in it: durable before any token is.
fn make(path: &Path) -> io::Result<String> {
    let failed = |error: io::Error| told(path, &error.to_string());
    let mut key = [0; KEY_OCTETS];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let mut text: String = key.iter().map(|octet| format!("{octet:02x}")).collect();
    text.push('\n');
    let next = path.with_extension("next");
    // Not over what a crash left, whose mode may be another's.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&next).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&next, path).map_err(failed)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(text)
}

fn octets(line: &str) -> Option<[u8; KEY_OCTETS]> {
    let digits = line.as_bytes();
    if digits.len() != 2 * KEY_OCTETS {
        return None;
    }
    let mut octets = [0; KEY_OCTETS];
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
        *octet = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(octets)
}

fn told(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::files::temp::TempDir;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let dir = TempDir::new();
        let first = ReceiptKeys::load(&dir.0).unwrap();
        let token = first.token(MessageId(7), 1);
        let again = ReceiptKeys::load(&dir.0).unwrap();
        assert_eq!(again.device(&token, MessageId(7)), Some(1));
        assert_eq!(again.device(&token, MessageId(8)), None);
        let mode = fs::metadata(dir.0.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = TempDir::new();
        let other = ReceiptKeys::load(&other.0).unwrap();
        assert_eq!(other.device(&token, MessageId(7)), None, "another store's");
    }

    #[test]
    fn a_new_first_line_signs_and_the_others_still_open() {
        let dir = TempDir::new();
        let old = ReceiptKeys::load(&dir.0).unwrap().token(MessageId(7), 0);
        let path = dir.0.join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        let new = "ab".repeat(32);
        fs::write(&path, format!("# new\n{new}\n\n{text}")).unwrap();
        let keys = ReceiptKeys::load(&dir.0).unwrap();
        assert_eq!(
            keys.token(MessageId(7), 0),
            ReceiptKeys::of(&[0xAB; 32]).token(MessageId(7), 0)
        );
        assert_eq!(keys.device(&old, MessageId(7)), Some(0));
        fs::write(&path, new).unwrap();
        let keys = ReceiptKeys::load(&dir.0).unwrap();
        assert_eq!(keys.device(&old, MessageId(7)), None, "its key is gone");
    }

    #[test]
    fn a_damaged_file_is_named_and_not_shown() {
        let dir = TempDir::new();
        let path = dir.0.join(FILE);
        for text in [
            "",
            "# nothing\n",
            "secret",
            &"a".repeat(63),
            &"ä".repeat(32),
        ] {
            fs::write(&path, text).unwrap();
            let error = ReceiptKeys::load(&dir.0).unwrap_err().to_string();
            assert!(error.contains(FILE) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn without_a_key_nothing_opens() {
        let none = ReceiptKeys::default();
        assert_eq!(none.token(MessageId(1), 0), "");
        assert_eq!(none.device("", MessageId(1)), None);
    }
}
