//! The journal: what must be on disk before an answer leaves, and nothing else.
//!
//! # Design
//! - One SQLite database per 256 MB, in WAL mode; one row with one blob per group commit. The rows
//!   stay in the write-ahead log: no checkpoint ever runs, and the file is unlinked whole.
//! - `synchronous=FULL`: a commit returns after its fdatasync. 4 KB pages: a small commit writes few.
//! - `locking_mode=EXCLUSIVE`: one process, no shared-memory file.
//! - Batch numbers are contiguous within and across files; a hole, or an end before the last
//!   acknowledged batch, is damage and reported, never skipped.
//!
//! # Not chosen
//! A log file of our own: measured, it wins less than 10 % and would be a format of our own to keep.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};
use thiserror::Error;

use crate::store::room;

mod replay;

pub(crate) use replay::{Known, Walk, walk};

/// A file is closed at this size (storage.md §2: 256 MB).
pub(crate) const FILE_BYTES: u64 = 256 << 20;

/// The page size of journal files; 64 KB pages would sync 66 KB for a 400-octet commit (storage.md).
const PAGE_BYTES: u64 = 4096;

/// How much of the log's end is written again at a start, beyond twice the last batch: the pages of
/// its commit that are not its blob's.
const TAIL_EXTRA: u64 = 1 << 20;

const PREFIX: &str = "journal-";
const SUFFIX: &str = ".db";

/// What went wrong with the journal.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The disk is full; nothing of the commit was written, and a later one may work.
    #[error("the disk is full")]
    Full,
    /// Reading, writing or syncing failed. The page cache can no longer be trusted: the process has
    /// to end, and its restart recovers.
    #[error("{path}: {why}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        why: rusqlite::Error,
    },
    /// The directory cannot be read or written.
    #[error("{path}: {why}")]
    Directory {
        /// The directory or file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// A record is damaged and it is not the torn tail of the last commit.
    #[error(
        "{path}: batch {batch} is damaged ({why}); {behind} later batches are behind it. \
         `trunkline store export {directory} --out FILE` writes what is readable"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The directory, for the command.
        directory: String,
        /// The batch.
        batch: u64,
        /// How many batches follow it, as far as that can be told.
        behind: u64,
        /// What is wrong.
        why: String,
    },
    /// The state database does not know the process that wrote a batch.
    #[error(
        "{state}: it is older than the journal, or its -wal is gone or damaged: it knows no epoch \
         after {known}, and batch {batch} in {path} was written by epoch {epoch}. \
         `trunkline store export {directory} --out FILE` writes what is readable"
    )]
    Older {
        /// The state database.
        state: PathBuf,
        /// The last epoch that it knows.
        known: u64,
        /// The journal's file.
        path: PathBuf,
        /// The batch.
        batch: u64,
        /// Who wrote it.
        epoch: u64,
        /// The directory, for the command.
        directory: String,
    },
    /// Batches are missing.
    #[error(
        "batches {first} to {last} are missing: {place}; {behind} later batches are behind them. \
         `trunkline store export {directory} --out FILE` writes what is readable"
    )]
    Missing {
        /// The file that is short, or after which they should stand.
        path: PathBuf,
        /// Where they are missing: the file that is short, or between which two.
        place: String,
        /// The directory, for the command.
        directory: String,
        /// The first missing batch.
        first: u64,
        /// The last one.
        last: u64,
        /// How many batches follow the hole.
        behind: u64,
    },
}

/// The journal, open for appending.
pub(crate) struct Journal {
    directory: PathBuf,
    open: Connection,
    open_path: PathBuf,
    open_bytes: u64,
    /// Closed files with the last batch in each, oldest first.
    closed: Vec<(PathBuf, u64)>,
    last_batch: u64,
    file_bytes: u64,
}

/// What a replay found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Batches read.
    pub(crate) batches: u64,
    /// The last batch number, or the one to go on from.
    pub(crate) last_batch: u64,
    /// Octets read.
    pub(crate) bytes: u64,
    /// Octets of the last batch.
    pub(crate) last_bytes: u64,
    /// Whether a torn tail after the last acknowledged batch was discarded.
    pub(crate) torn_tail: bool,
}

impl Journal {
    /// Opens the directory's journal and hands every batch after `known.done` to `each`, in order.
    /// A new file is started: what a crash left is never written to again.
    ///
    /// # Errors
    /// [`JournalError`]; damage is refused before anything is changed on disk.
    pub(crate) fn open(
        directory: &Path,
        known: Known,
        file_bytes: u64,
        each: &mut impl Walk,
    ) -> Result<(Self, Replayed), JournalError> {
        let files = files(directory)?;
        let (mut closed, replayed) = walk(directory, &files, known, each)?;
        if let Some(last) = files.last() {
            make_firm(last, 2 * replayed.last_bytes + TAIL_EXTRA)?;
        }
        let (open, open_path) = begin(directory, replayed.last_batch + 1)?;
        // An empty file of the same name was replaced: it is the open one now, not to be unlinked.
        closed.retain(|(path, _)| *path != open_path);
        let journal = Self {
            directory: directory.to_owned(),
            open,
            open_path,
            open_bytes: 0,
            closed,
            last_batch: replayed.last_batch,
            file_bytes,
        };
        Ok((journal, replayed))
    }

    /// The batch number that the next append has to carry.
    pub(crate) fn next_batch(&self) -> u64 {
        self.last_batch + 1
    }

    /// Writes one blob and syncs it. When this returns, the blob is on disk.
    ///
    /// # Errors
    /// [`JournalError::Full`]: nothing was written. Anything else: the process has to end.
    pub(crate) fn append(&mut self, blob: &[u8]) -> Result<(), JournalError> {
        if self.open_bytes >= self.file_bytes {
            self.rotate()?;
        }
        let batch = i64::try_from(self.last_batch + 1).unwrap_or(i64::MAX);
        let written = self
            .open
            .prepare_cached("INSERT INTO journal (batch, blob) VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute(params![batch, blob]));
        match written {
            Ok(_) => {
                self.last_batch += 1;
                self.open_bytes += u64::try_from(blob.len()).unwrap_or(0);
                Ok(())
            }
            Err(error) if room::is_full(&self.directory, &error) => Err(JournalError::Full),
            Err(why) => Err(JournalError::Io {
                path: self.open_path.clone(),
                why,
            }),
        }
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        let (next, path) = begin(&self.directory, self.last_batch + 1)?;
        self.open = next;
        let full = std::mem::replace(&mut self.open_path, path);
        self.closed.push((full, self.last_batch));
        self.open_bytes = 0;
        Ok(())
    }

    /// Lets go of every closed file whose batches are all at or before `batch`. The caller unlinks
    /// them, oldest first, with [`unlink`]: that takes long for a large file, and the writer must not
    /// wait for it. What a crash leaves of them, the next start knows to be archived.
    pub(crate) fn take_upto(&mut self, batch: u64) -> Vec<PathBuf> {
        let count = self
            .closed
            .iter()
            .take_while(|(_, last)| *last <= batch)
            .count();
        self.closed.drain(..count).map(|(path, _)| path).collect()
    }

    /// How many files there are: those that wait for the archive, and the open one.
    pub(crate) fn file_count(&self) -> usize {
        self.closed.len() + 1
    }
}

/// The journal files of a directory, oldest first.
pub(crate) fn files(directory: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let wrong = |why| JournalError::Directory {
        path: directory.to_owned(),
        why,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            found.push(path);
        }
    }
    // The first batch is in the name with leading zeros: names sort as numbers do.
    found.sort();
    Ok(found)
}

/// The first batch of a file, from its name.
fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix(PREFIX)?
        .strip_suffix(SUFFIX)?
        .parse()
        .ok()
}

/// Creates the next file.
fn begin(directory: &Path, first: u64) -> Result<(Connection, PathBuf), JournalError> {
    match create(directory, first) {
        Err(JournalError::Io { why, .. }) if room::is_full(directory, &why) => {
            Err(JournalError::Full)
        }
        other => other,
    }
}

fn create(directory: &Path, first: u64) -> Result<(Connection, PathBuf), JournalError> {
    let path = directory.join(format!("{PREFIX}{first:020}{SUFFIX}"));
    // A stop right after a start leaves an empty file of the same name: it holds nothing.
    if path.exists() {
        unlink(&path)?;
    }
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(&path)?;
        connection.execute_batch(
            "PRAGMA page_size = 4096;
             PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE journal (batch INTEGER PRIMARY KEY, blob BLOB NOT NULL) STRICT;",
        )?;
        connection.set_db_config(
            rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
            true,
        )?;
        Ok(connection)
    };
    let connection = open().map_err(|why| JournalError::Io {
        path: path.clone(),
        why,
    })?;
    sync_directory(directory)?;
    Ok((connection, path))
}

/// Makes new or removed names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), JournalError> {
    fs::File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|why| JournalError::Directory {
            path: directory.to_owned(),
            why,
        })
}

/// Makes what was read durable. The last commit may never have been synced (a kill between its write
/// and its sync), or its sync failed: then the page cache holds it and counts it as clean, so that
/// a further sync alone would do nothing. Its octets are written again, over themselves.
fn make_firm(path: &Path, tail: u64) -> Result<(), JournalError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let rewrite = || -> std::io::Result<()> {
        let file = match fs::File::options().read(true).write(true).open(&log) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let length = file.metadata()?.len();
        let from = length.saturating_sub(tail);
        let mut octets = vec![0; usize::try_from(length - from).unwrap_or(0)];
        file.read_exact_at(&mut octets, from)?;
        file.write_all_at(&octets, from)?;
        file.sync_all()
    };
    rewrite().map_err(|why| JournalError::Directory {
        path: log.clone().into(),
        why,
    })
}

/// Removes a journal file.
///
/// # Errors
/// [`JournalError::Directory`].
pub(crate) fn unlink(path: &Path) -> Result<(), JournalError> {
    // The database goes last: while it exists, its log must not be taken for another's.
    for suffix in ["-wal", "-shm", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Ok(()) => {}
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => {
                return Err(JournalError::Directory {
                    path: name.into(),
                    why,
                });
            }
        }
    }
    Ok(())
}

/// Opens a journal file for reading what a crash or a stop left.
pub(crate) fn open_for_reading(path: &Path) -> Result<Connection, JournalError> {
    let open = || -> rusqlite::Result<Connection> {
        room::refuse_emptied(path)?;
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection
            .execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA wal_autocheckpoint = 0;")?;
        connection.set_db_config(
            rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
            true,
        )?;
        Ok(connection)
    };
    open().map_err(|why| JournalError::Io {
        path: path.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests;
