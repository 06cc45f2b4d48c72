//! The archive's files: their names, how they are opened, and the readers' connections.

use std::fs;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

use crate::clock::UnixMs;
use crate::store::journal::sync_directory;
use crate::store::room;

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * HOUR_MS;
/// Connections that wait for the next reader. Each costs about 100 KB with its small page cache.
const IDLE_MAX: usize = 64;
/// The name of the one file that no retention touches.
pub(crate) const PENDING: &str = "pending.db";

/// What an archive file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Finished messages, by the day they finished.
    History,
    /// Their texts.
    Content,
    /// Events, by the day of their commit.
    Events,
    /// Idempotency keys, by the hour of acceptance.
    Idempotency,
    /// Carrier ids, by the day they were archived.
    Carriers,
    /// Handsets' messages, by the day they were whole or given up.
    Inbound,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 6] = [
        Self::History,
        Self::Content,
        Self::Events,
        Self::Idempotency,
        Self::Carriers,
        Self::Inbound,
    ];

    fn prefix(self) -> &'static str {
        match self {
            Self::History => "history-",
            Self::Content => "content-",
            Self::Events => "events-",
            Self::Idempotency => "idempotency-",
            Self::Carriers => "carriers-",
            Self::Inbound => "inbound-",
        }
    }

    fn span_ms(self) -> u64 {
        if self == Self::Idempotency {
            HOUR_MS
        } else {
            DAY_MS
        }
    }

    /// The span (day or hour since 1970) that a time falls into.
    pub(crate) fn span(self, at: UnixMs) -> u64 {
        at.0 / self.span_ms()
    }

    /// When a span is over.
    pub(crate) fn end(self, span: u64) -> UnixMs {
        UnixMs((span + 1).saturating_mul(self.span_ms()))
    }

    /// The file of a span: `history-2026-11-20.db`, `idempotency-2026-11-20T19.db`.
    pub(crate) fn name(self, span: u64) -> String {
        let at = UnixMs(span.saturating_mul(self.span_ms())).to_string();
        let digits = if self == Self::Idempotency { 13 } else { 10 };
        format!("{}{}.db", self.prefix(), at.get(..digits).unwrap_or("0"))
    }

    /// The span of a file name; `None` for other files.
    pub(crate) fn span_of(self, name: &str) -> Option<u64> {
        let date = name.strip_prefix(self.prefix())?.strip_suffix(".db")?;
        let rest = if self == Self::Idempotency {
            ":00:00Z"
        } else {
            "T00:00:00Z"
        };
        let at = humantime::parse_rfc3339(&format!("{date}{rest}")).ok()?;
        let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
        let at = UnixMs(u64::try_from(since.as_millis()).ok()?);
        Some(self.span(at))
    }
}

/// An archive file could not be read or written.
#[derive(Debug, Error)]
pub(crate) enum ArchiveError {
    /// There is no room; nothing of the transaction was written.
    #[error("the disk is full")]
    Full,
    /// A test stopped the archiver here.
    #[error("stopped")]
    #[cfg(test)]
    Stopped,
    /// Everything else.
    #[error("{path}: {what}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What SQLite or the system says.
        what: String,
    },
}

impl ArchiveError {
    /// What SQLite says of a file.
    pub(crate) fn of(directory: &Path, name: &str, error: &rusqlite::Error) -> Self {
        if room::is_full(directory, error) {
            return Self::Full;
        }
        Self::Failed {
            path: directory.join(name),
            what: error.to_string(),
        }
    }
}

/// A number as SQLite keeps it. Ids, batches and times stay below 2^63.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A 64-bit key as SQLite keeps it: the same bits.
pub(crate) fn key_int(key: u64) -> i64 {
    key.cast_signed()
}

/// A number as read back.
pub(crate) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Opens or creates a file for writing. A commit is on disk when it returns.
pub(crate) fn open_for_writing(
    directory: &Path,
    name: &str,
    schema: &str,
) -> Result<Connection, ArchiveError> {
    let path = directory.join(name);
    let new = !path.exists();
    let open = || -> rusqlite::Result<Connection> {
        room::refuse_emptied(&path)?;
        let connection = Connection::open(&path)?;
        connection.set_prepared_statement_cache_capacity(32);
        // 4 MB of page cache: a sorted fill walks each tree once. The log is cut back after a large
        // transaction, so that a file does not keep twice its size.
        connection.execute_batch(
            "PRAGMA page_size = 4096;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA cache_size = -4096;
             PRAGMA journal_size_limit = 16777216;",
        )?;
        connection.execute_batch(schema)?;
        Ok(connection)
    };
    let connection = open().map_err(|error| ArchiveError::of(directory, name, &error))?;
    if new {
        sync_directory(directory).map_err(|error| ArchiveError::Failed {
            path,
            what: error.to_string(),
        })?;
    }
    Ok(connection)
}

/// Removes a file and what SQLite keeps beside it.
pub(crate) fn remove(directory: &Path, name: &str) {
    for suffix in ["-wal", "-shm", ""] {
        let path = directory.join(format!("{name}{suffix}"));
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "not removed"),
        }
    }
}

/// The names of a directory.
pub(crate) fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Read connections, kept open between uses: at most [`IDLE_MAX`], the longest unused goes first.
pub(crate) struct Pool {
    directory: PathBuf,
    idle: Mutex<Vec<(String, Connection)>>,
    trouble: Mutex<Option<String>>,
}

impl Pool {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            idle: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Reads from a file. A file of history that cannot be read counts as empty, and is told of: the
    /// process ends on an I/O error ([`Pool::trouble`]), and goes on without what is damaged. What is
    /// pending, and what happened, cannot be gone on without: any error ends the process.
    pub(crate) fn read<T: Default>(
        &self,
        name: &str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> T {
        match self.try_read(name, read) {
            Ok(found) => found,
            Err(_) if self.is_unborn(name) => T::default(),
            Err(error) => {
                let path = self.directory.join(name);
                tracing::error!(path = %path.display(), %error, "an archive file cannot be read");
                metrics::counter!("trunkline_store_archive_read_errors_total").increment(1);
                let broken = error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
                let vital = ["pending", "events", "suppressions"];
                let vital = vital.iter().any(|one| name.starts_with(one));
                if (broken || vital) && !room::is_full(&self.directory, &error) {
                    *self.trouble.lock() = Some(format!("{}: {error}", path.display()));
                }
                T::default()
            }
        }
    }

    /// Whether a file has no tables: the power was cut between its making and the first commit in it. Nothing
    /// was in it, and the archiver makes them when it writes.
    fn is_unborn(&self, name: &str) -> bool {
        let tables = self.try_read(name, |connection| {
            let count = "SELECT count(*) FROM sqlite_schema";
            connection.query_row(count, [], |row| row.get::<_, i64>(0))
        });
        tables.is_ok_and(|tables| tables == 0)
    }

    /// As [`Pool::read`], with the error.
    pub(crate) fn try_read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let connection = self.take(name)?;
        let found = read(&connection);
        let mut idle = self.idle.lock();
        idle.push((name.to_owned(), connection));
        if idle.len() > IDLE_MAX {
            let oldest = idle.remove(0);
            drop(idle);
            drop(oldest);
        }
        found
    }

    fn take(&self, name: &str) -> rusqlite::Result<Connection> {
        {
            let mut idle = self.idle.lock();
            if let Some(place) = idle.iter().rposition(|(known, _)| known == name) {
                return Ok(idle.remove(place).1);
            }
        }
        open_for_reading(&self.directory.join(name))
    }

    /// Closes what waits for readers of a file that is about to go.
    pub(crate) fn forget(&self, name: &str) {
        self.idle.lock().retain(|(known, _)| known != name);
    }

    /// Why the process has to end, if a read failed below SQLite.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().take()
    }
}

/// Opens a file for reading. Nothing but SQLite's own shared memory beside it is written.
pub(crate) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    room::refuse_emptied(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA cache_size = -256;")?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_made_and_never_written_is_empty_and_no_damage() {
        let dir = crate::files::temp::TempDir::new();
        let name = "events-2026-11-22.db";
        let made = Connection::open(dir.0.join(name)).unwrap();
        made.execute_batch("PRAGMA journal_mode = WAL; PRAGMA user_version = 0;")
            .unwrap();
        let pool = Pool::new(&dir.0);
        let read = |connection: &Connection| {
            connection.query_row("SELECT seq FROM chunks", [], |row| row.get::<_, i64>(0))
        };
        assert_eq!(pool.read(name, read), 0);
        assert_eq!(pool.trouble(), None);
        made.execute_batch("CREATE TABLE other (seq)").unwrap();
        pool.read(name, read);
        assert!(pool.trouble().is_some(), "that is damage");
    }

    #[test]
    fn names_tell_their_span() {
        let at = UnixMs(1_795_248_125_117);
        assert_eq!(
            Kind::History.name(Kind::History.span(at)),
            "history-2026-11-21.db"
        );
        for kind in Kind::ALL {
            let span = kind.span(at);
            assert_eq!(kind.span_of(&kind.name(span)), Some(span), "{kind:?}");
            assert!(kind.end(span) > at);
            assert_eq!(kind.span_of("pending.db"), None);
        }
    }
}
