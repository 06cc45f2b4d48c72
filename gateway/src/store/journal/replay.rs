//! Replay: reading a journal from end to end, and telling damage from the torn tail of a crash.
//!
//! A start and `store check` read the same way: what one refuses, the other reports.
//!
//! # What is forgiven
//! The end of the last commit, when nothing shows that it was ever acknowledged. Two ends are like
//! that: frames that SQLite does not accept, of one commit at most; and a last record whose checksum
//! does not fit, after the last acknowledged batch. The start that forgives a record begins its new
//! file with that record's number, so that the name of the next file tells every later start that it
//! was discarded.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::{JournalError, PAGE_BYTES, Replayed, first_of, open_for_reading};
use crate::store::record::{BlobError, Reading};
use crate::store::state::STATE;

/// What other places know of the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// The last batch whose content is archived.
    pub(crate) done: u64,
    /// The last batch known to have been acknowledged.
    pub(crate) acknowledged: u64,
    /// The last epoch that a process was given.
    pub(crate) epoch: u64,
}

/// Who reads the journal.
pub(crate) trait Walk {
    /// The next batch.
    ///
    /// # Errors
    /// It does not parse.
    fn batch(&mut self, reading: Reading<'_>) -> Result<(), BlobError>;

    /// Something is wrong there.
    ///
    /// # Errors
    /// The walk ends with it.
    fn wrong(&mut self, error: JournalError) -> Result<(), JournalError>;
}

pub(super) type Closed = Vec<(PathBuf, u64)>;

/// SQLite's write-ahead log: a head of 32 octets, then frames of 24 octets and a page (SQLite file
/// format §4.1).
const LOG_HEAD: u64 = 32;
const FRAME_HEAD: u64 = 24;

/// Reads every file in order.
///
/// # Errors
/// What `each` makes of damage; a directory that cannot be read.
pub(crate) fn walk(
    directory: &Path,
    files: &[PathBuf],
    known: Known,
    each: &mut impl Walk,
) -> Result<(Closed, Replayed), JournalError> {
    let mut walker = Walker {
        directory,
        known,
        replayed: Replayed {
            last_batch: known.done,
            ..Replayed::default()
        },
        expected: None,
        epoch: 0,
        before: None,
    };
    let mut closed = Vec::new();
    for (index, path) in files.iter().enumerate() {
        if let Err(error) = walker.file(path, &files[index + 1..], each) {
            each.wrong(error)?;
        }
        closed.push((path.clone(), walker.replayed.last_batch));
    }
    walker.end(each)?;
    Ok((closed, walker.replayed))
}

/// A file that was read.
struct Before {
    path: PathBuf,
    rows: u64,
    /// Whether something stands behind its last batch that SQLite does not accept.
    tail: bool,
    /// Whether that was told as damage.
    told: bool,
}

struct Walker<'a> {
    directory: &'a Path,
    known: Known,
    replayed: Replayed,
    expected: Option<u64>,
    epoch: u64,
    before: Option<Before>,
}

impl Walker<'_> {
    /// Reads one file. An error is one that says nothing of its batches.
    fn file(
        &mut self,
        path: &Path,
        later: &[PathBuf],
        each: &mut impl Walk,
    ) -> Result<(), JournalError> {
        let mut here = Before {
            path: path.to_owned(),
            rows: 0,
            tail: false,
            told: false,
        };
        let result = self.rows(&mut here, later, each);
        here.told |= result.is_err();
        self.before = Some(here);
        let Err(JournalError::Io { path, why }) = result else {
            return result;
        };
        let damaged = matches!(
            why.sqlite_error_code(),
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
        );
        Err(if damaged {
            let batch = self.replayed.last_batch + 1;
            self.damaged(&path, batch, count_in(later), why.to_string())
        } else {
            JournalError::Io { path, why }
        })
    }

    fn rows(
        &mut self,
        here: &mut Before,
        later: &[PathBuf],
        each: &mut impl Walk,
    ) -> Result<(), JournalError> {
        let path = here.path.clone();
        let connection = open_for_reading(&path)?;
        let wrong = |why| JournalError::Io {
            path: path.clone(),
            why,
        };
        // Without the table, the process ended between creating the file and its first commit.
        let has_table = connection.table_exists(None, "journal").map_err(wrong)?;
        let tail = tail(&connection, &path);
        here.tail = tail.is_some();
        if has_table {
            let mut select = connection
                .prepare("SELECT batch, blob FROM journal ORDER BY batch")
                .map_err(wrong)?;
            let mut rows = select.query([]).map_err(wrong)?;
            while let Some(row) = rows.next().map_err(wrong)? {
                let batch: i64 = row.get(0).map_err(wrong)?;
                let batch = u64::try_from(batch).unwrap_or(0);
                let blob = row.get_ref(1).map_err(wrong)?.as_blob().unwrap_or_default();
                let behind = || count_after(&connection, batch) + count_in(later);
                self.contiguous(here, batch, || behind() + 1, each)?;
                here.rows += 1;
                let read = Reading::new(blob).and_then(|reading| {
                    if reading.batch == batch {
                        Ok(reading)
                    } else {
                        Err(BlobError::Checksum)
                    }
                });
                let reading = match read {
                    Ok(reading) => reading,
                    Err(_) if self.was_never_acknowledged(&connection, batch, later) => {
                        self.replayed.torn_tail |= later.is_empty();
                        break;
                    }
                    Err(why) => {
                        self.expected = Some(batch + 1);
                        each.wrong(self.damaged(&path, batch, behind(), why.to_string()))?;
                        continue;
                    }
                };
                self.epochs(&path, &reading, behind, each)?;
                self.expected = Some(batch + 1);
                if let Err(why) = each.batch(reading) {
                    each.wrong(self.damaged(&path, batch, behind(), why.to_string()))?;
                    continue;
                }
                self.replayed.batches += 1;
                self.replayed.last_bytes = u64::try_from(blob.len()).unwrap_or(0);
                self.replayed.bytes += self.replayed.last_bytes;
                self.replayed.last_batch = batch.max(self.replayed.last_batch);
            }
        }
        if let Some(commits) = tail {
            self.tail(here, commits, later, each)?;
        }
        Ok(())
    }

    /// Whether a record that does not read is the end of a commit that nobody was told of.
    fn was_never_acknowledged(
        &self,
        connection: &Connection,
        batch: u64,
        later: &[PathBuf],
    ) -> bool {
        let discarded_before = later.first().and_then(|next| first_of(next)) == Some(batch);
        let unheard_of = batch > self.known.acknowledged && count_in(later) == 0;
        count_after(connection, batch) == 0 && (discarded_before || unheard_of)
    }

    /// What stands behind the last batch of a file: a commit begins only when the one before it is on
    /// disk, so that of two commits the first one was whole.
    fn tail(
        &mut self,
        here: &mut Before,
        commits: u64,
        later: &[PathBuf],
        each: &mut impl Walk,
    ) -> Result<(), JournalError> {
        let batch = self.replayed.last_batch + 1;
        let lost = later.is_empty() && batch <= self.known.acknowledged;
        if commits == 0 || commits == 1 && !lost {
            self.replayed.torn_tail |= later.is_empty();
            return Ok(());
        }
        here.told = true;
        let behind = commits.saturating_sub(1) + count_in(later);
        let why = "its frames in the write-ahead log do not fit their checksums".to_owned();
        let mut log = here.path.as_os_str().to_owned();
        log.push("-wal");
        each.wrong(self.damaged(Path::new(&log), batch, behind, why))
    }

    /// Whether the batch follows the one before it.
    fn contiguous(
        &mut self,
        here: &Before,
        batch: u64,
        behind: impl Fn() -> u64,
        each: &mut impl Walk,
    ) -> Result<(), JournalError> {
        let done = self.known.done;
        // Up to the archive's end nothing has to be there: of the files that it made needless,
        // a power cut may bring back any.
        let want = match self.expected {
            Some(expected) if expected > done => expected,
            other => batch.clamp(other.unwrap_or(0), done + 1),
        };
        if batch < want {
            let why = format!("batch {want} is expected there");
            return each.wrong(self.damaged(&here.path, batch, behind(), why));
        }
        if batch == want {
            return Ok(());
        }
        let (path, this) = (&here.path, here.path.display());
        let (short, place) = match &self.before {
            _ if here.rows > 0 => (path, format!("{this} jumps from batch {} to it", want - 1)),
            None => {
                let archived = format!("the archive has those up to batch {done}");
                (path, format!("{archived}, and the first file is {this}"))
            }
            Some(before) => {
                let name = before.path.display();
                let place = if before.tail {
                    format!("the end of {name} is damaged, and the next file is {this}")
                } else if before.rows == 0 && first_of(&before.path) == Some(want) {
                    format!("{name} is empty, or its -wal is gone, and the next file is {this}")
                } else {
                    format!("{name} is cut short, or a file between it and {this} is gone")
                };
                (&before.path, place)
            }
        };
        each.wrong(self.missing(short, (want, batch - 1), place, behind()))
    }

    /// Epochs only rise, and none is used that the state database has not given out.
    fn epochs(
        &mut self,
        path: &Path,
        reading: &Reading<'_>,
        behind: impl Fn() -> u64,
        each: &mut impl Walk,
    ) -> Result<(), JournalError> {
        let (by, before, known) = (reading.epoch, self.epoch, self.known.epoch);
        self.epoch = by;
        if by > known && before <= known {
            return each.wrong(JournalError::Older {
                state: self.directory.join(STATE),
                known,
                path: path.to_owned(),
                batch: reading.batch,
                epoch: by,
                directory: self.directory.display().to_string(),
            });
        }
        if by >= before {
            return Ok(());
        }
        let why = format!("written by epoch {by} after epoch {before}");
        each.wrong(self.damaged(path, reading.batch, behind(), why))
    }

    /// Whether the last batch is one that was acknowledged, or a later one.
    fn end(&mut self, each: &mut impl Walk) -> Result<(), JournalError> {
        let (last, acknowledged) = (self.replayed.last_batch, self.known.acknowledged);
        if last >= acknowledged || self.before.as_ref().is_some_and(|before| before.told) {
            return Ok(());
        }
        let (path, place) = match &self.before {
            Some(before) if before.rows == 0 => {
                let name = before.path.display();
                let place = format!("{name} is empty, or its -wal is gone, and no file follows it");
                (before.path.as_path(), place)
            }
            Some(before) => {
                let name = before.path.display();
                let place = format!("{name} is cut short, or a file after it is gone");
                (before.path.as_path(), place)
            }
            None => {
                let place = format!("{} has no journal file", self.directory.display());
                (self.directory, place)
            }
        };
        let place = format!("{place}, and batch {acknowledged} was acknowledged");
        each.wrong(self.missing(path, (last + 1, acknowledged), place, 0))
    }

    fn damaged(&self, path: &Path, batch: u64, behind: u64, why: String) -> JournalError {
        JournalError::Damaged {
            path: path.to_owned(),
            directory: self.directory.display().to_string(),
            batch,
            behind,
            why,
        }
    }

    fn missing(
        &self,
        path: &Path,
        (first, last): (u64, u64),
        place: String,
        behind: u64,
    ) -> JournalError {
        JournalError::Missing {
            path: path.to_owned(),
            place,
            directory: self.directory.display().to_string(),
            first,
            last,
            behind,
        }
    }
}

/// How many rows stand after `batch` in an open file.
fn count_after(connection: &Connection, batch: u64) -> u64 {
    let batch = i64::try_from(batch).unwrap_or(i64::MAX);
    let count = "SELECT count(*) FROM journal WHERE batch > ?1";
    connection
        .query_row(count, [batch], |row| row.get::<_, i64>(0))
        .map_or(0, |count| u64::try_from(count).unwrap_or(0))
}

/// How many rows these files hold.
fn count_in(files: &[PathBuf]) -> u64 {
    files
        .iter()
        .filter_map(|path| Some(count_after(&open_for_reading(path).ok()?, 0)))
        .sum()
}

/// The commits in the write-ahead log behind those that SQLite accepts: `Some(0)` for a part of one,
/// `None` when nothing stands there.
fn tail(connection: &Connection, path: &Path) -> Option<u64> {
    let accepted = connection
        .query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| {
            row.get::<_, i64>(1)
        })
        .ok()
        .and_then(|frames| u64::try_from(frames).ok())?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let length = fs::metadata(&log).map_or(0, |metadata| metadata.len());
    let frame = FRAME_HEAD + PAGE_BYTES;
    (length > LOG_HEAD + accepted * frame).then(|| {
        let frames = length.saturating_sub(LOG_HEAD) / frame;
        commits(Path::new(&log), accepted..frames).unwrap_or(0)
    })
}

/// How many of these frames end a commit: they tell the database's size in pages, and carry the log's
/// salt.
fn commits(log: &Path, frames: std::ops::Range<u64>) -> std::io::Result<u64> {
    let file = File::open(log)?;
    let head = |frame: u64| -> std::io::Result<[u8; 24]> {
        let mut head = [0; 24];
        file.read_exact_at(&mut head, LOG_HEAD + frame * (FRAME_HEAD + PAGE_BYTES))?;
        Ok(head)
    };
    let salt = salt(&file, &head);
    let mut commits = 0;
    for frame in frames {
        let head = head(frame)?;
        commits += u64::from(head[4..8] != [0; 4] && salt == Some(salt_of(&head)));
    }
    Ok(commits)
}

fn salt_of(head: &[u8; 24]) -> [u8; 8] {
    let mut salt = [0; 8];
    salt.copy_from_slice(&head[8..16]);
    salt
}

/// The log's salt: what two of its head and its first two frames agree on.
fn salt(file: &File, head: &impl Fn(u64) -> std::io::Result<[u8; 24]>) -> Option<[u8; 8]> {
    let mut told = [0; 8];
    file.read_exact_at(&mut told, 16).ok()?;
    let first = head(0).ok().map(|head| salt_of(&head));
    let second = head(1).ok().map(|head| salt_of(&head));
    if first.is_some() && first == second {
        first
    } else {
        Some(told)
    }
}
