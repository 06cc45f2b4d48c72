//! Where a credential's text comes from, and whether that has changed.
//!
//! A file is looked at every [`LOOK_EVERY`]: one `stat` notices a replacement by rename (another
//! inode) and a rewrite in place (another time or length). Not chosen: inotify, which sees nothing
//! on network file systems and loses the symlink swaps by which Kubernetes renews mounted secrets.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::files;

/// How often files are looked at. Chosen: a renewed key is in use before anybody asks, and a stat
/// costs microseconds.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Most octets of a credential's file. Chosen: a service account has 2,400, a certificate chain
/// with its key 10,000.
pub(super) const FILE_OCTETS_MAX: u64 = 64 * 1_024;

/// Where a credential is. Its `Debug` shows no text.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, read again when it changes.
    File(PathBuf),
    /// The text itself, as from the environment: it stays as it is.
    Text(Arc<str>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// The file's path, for messages.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Text(_) => f.write_str("the text from the environment"),
        }
    }
}

impl Source {
    /// What it holds, at most [`FILE_OCTETS_MAX`].
    ///
    /// # Errors
    /// What the system says, or that it is too long or no regular file; never what is in it.
    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.as_bytes().to_vec()),
            Self::File(path) => {
                files::read(path, FILE_OCTETS_MAX).map_err(|error| error.to_string())
            }
        }
    }

    fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Text(_) => None,
            Self::File(path) => Some(Stamp::of(path)),
        }
    }
}

/// What a file looks like from outside; two of the same look hold the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    There {
        device: u64,
        inode: u64,
        octets: u64,
        /// Modified and changed, seconds and nanoseconds: the second also where a copy kept the first.
        times: [i64; 4],
    },
    Not(io::ErrorKind),
}

impl Stamp {
    fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(found) => Self::from(&found),
            Err(error) => Self::Not(error.kind()),
        }
    }
}

impl From<&Metadata> for Stamp {
    fn from(found: &Metadata) -> Self {
        Self::There {
            device: found.dev(),
            inode: found.ino(),
            octets: found.len(),
            times: [
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            ],
        }
    }
}

/// The sources of one credential, and how they looked when they were read.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    sources: Arc<[Source]>,
    read: Vec<Option<Stamp>>,
    coming: Option<Vec<Option<Stamp>>>,
}

impl Watched {
    /// Sources that are about to be read.
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Self {
            read: sources.iter().map(Source::stamp).collect(),
            sources: sources.into(),
            coming: None,
        }
    }

    /// Looks at the files. True when they have changed and look as they did at the last look: who
    /// writes is done with it. They are to be read then; once, however that ends.
    pub(super) fn changed(&mut self) -> bool {
        let look: Vec<_> = self.sources.iter().map(Source::stamp).collect();
        self.compare(look)
    }

    fn compare(&mut self, look: Vec<Option<Stamp>>) -> bool {
        if look == self.read {
            self.coming = None;
            return false;
        }
        let settled = self.coming.as_ref() == Some(&look);
        if settled {
            self.read = look;
            self.coming = None;
        } else {
            self.coming = Some(look);
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TempDir;

    #[test]
    fn a_replaced_and_a_rewritten_file_are_read_once_they_stay_as_they_are() {
        let dir = TempDir::new();
        let path = dir.0.join("key");
        std::fs::write(&path, "one").unwrap();
        let mut watched = Watched::new(vec![Source::File(path.clone())]);
        assert!(!watched.changed());
        // As a careful tool does it: another file of the same length under the same name.
        let next = dir.0.join("next");
        std::fs::write(&next, "two").unwrap();
        std::fs::rename(&next, &path).unwrap();
        assert!(!watched.changed(), "seen, and perhaps still being written");
        assert!(watched.changed());
        assert!(!watched.changed(), "read once");
        // As an editor does it: in place.
        std::fs::write(&path, "three").unwrap();
        assert_eq!([watched.changed(), watched.changed()], [false, true]);
        // Gone is a change too: what is wrong has to be said.
        std::fs::remove_file(&path).unwrap();
        assert_eq!([watched.changed(), watched.changed()], [false, true]);
    }

    #[test]
    fn a_file_that_is_still_growing_is_not_read() {
        let dir = TempDir::new();
        let path = dir.0.join("key");
        std::fs::write(&path, "").unwrap();
        let mut watched = Watched::new(vec![Source::File(path.clone())]);
        for octets in 1..10 {
            std::fs::write(&path, "x".repeat(octets)).unwrap();
            assert!(!watched.changed());
        }
        assert!(watched.changed());
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused_without_its_text() {
        let dir = TempDir::new();
        let path = dir.0.join("big");
        std::fs::write(&path, vec![b'x'; 70_000]).unwrap();
        let why = Source::File(path).read().unwrap_err();
        assert_eq!(why, "it is larger than 65536 octets");
    }

    #[test]
    fn no_debug_shows_a_text() {
        let source = Source::Text("s3cret".into());
        assert!(!format!("{source:?} {source}").contains("s3cret"));
    }
}
