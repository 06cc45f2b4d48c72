//! Secrets: taken by reference, shown to nobody.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::files;

/// A secret's text. Neither `Debug` nor `Display` shows it, and it does not serialize.
#[derive(Clone)]
pub struct Secret(Arc<str>);

/// What is shown in a secret's place.
pub(super) const REDACTED: &str = "<redacted>";

/// Octets that a secret file may have. Chosen: a key or password is far below, a wrong file above.
const FILE_OCTETS_MAX: u64 = 64 * 1024;

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text itself: for the wire and for hashing only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads a secret file; one trailing line end is not part of the secret.
    ///
    /// # Errors
    /// Why it cannot be read, without what it holds.
    pub(super) fn from_file(path: &Path) -> Result<Self, String> {
        let text = files::read_text(path, FILE_OCTETS_MAX).map_err(|error| error.to_string())?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(Self::new(text.strip_suffix('\r').unwrap_or(text)))
    }
}

impl PartialEq for Secret {
    /// In a time that depends on the lengths only.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}
