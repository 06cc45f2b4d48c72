//! Room on disk: telling "full", which passes, from "broken", which ends the process; and a file that
//! was emptied, which SQLite must not open.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use rusqlite::{ErrorCode, ffi};

/// Written to see whether there is room: more than what is left of a block, less than is noticed.
static PROBE: [u8; 64 << 10] = [0; 64 << 10];
const PROBE_NAME: &str = "room.probe";

/// Whether an error of SQLite means that the disk is full. Its own code says so when a write failed
/// with ENOSPC; when a file could not be made or grown, or a quota is used up, it gives another
/// code and hides the reason, and a try of our own tells. A failed sync is never that: what the
/// page cache holds can no longer be trusted, whatever the reason was.
pub(crate) fn is_full(directory: &Path, error: &rusqlite::Error) -> bool {
    let Some(found) = error.sqlite_error() else {
        return false;
    };
    match (found.code, found.extended_code) {
        (ErrorCode::DiskFull, _) => true,
        (ErrorCode::CannotOpen, _)
        | (
            _,
            ffi::SQLITE_IOERR_WRITE
            | ffi::SQLITE_IOERR_TRUNCATE
            | ffi::SQLITE_IOERR_SHMOPEN
            | ffi::SQLITE_IOERR_SHMSIZE
            | ffi::SQLITE_IOERR_SHMMAP,
        ) => !has_room(directory),
        _ => false,
    }
}

/// Refuses a database whose file is empty while its write-ahead log is not. SQLite takes the log for
/// another's and removes it, and with it what may be all there is (pager.c, pagerOpenWalIfPresent).
pub(crate) fn refuse_emptied(path: &Path) -> rusqlite::Result<()> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let length = |path: &Path| fs::metadata(path).map(|found| found.len()).ok();
    if length(path) == Some(0) && length(Path::new(&log)).is_some_and(|log| log > 0) {
        let why = "the file is empty, and its -wal is not".to_owned();
        return Err(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_CORRUPT),
            Some(why),
        ));
    }
    Ok(())
}

fn has_room(directory: &Path) -> bool {
    let path = directory.join(PROBE_NAME);
    let written = fs::File::create(&path).and_then(|mut file| file.write_all(&PROBE));
    drop(fs::remove_file(&path));
    let full = |error: &std::io::Error| {
        matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        )
    };
    !written.is_err_and(|error| full(&error))
}
