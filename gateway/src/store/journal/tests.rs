//! The journal in several files: which damage is named how, and what is forgiven for good.

use rusqlite::params;

use super::*;
use crate::clock::UnixMs;
use crate::store::record::{Blob, BlobError, OpRef, Reading};
use crate::store::tests::TempDir;

/// What a replay hands over.
#[derive(Default)]
struct Batches(Vec<u64>);

impl Walk for Batches {
    fn batch(&mut self, reading: Reading<'_>) -> Result<(), BlobError> {
        self.0.push(reading.batch);
        Ok(())
    }

    fn wrong(&mut self, error: JournalError) -> Result<(), JournalError> {
        Err(error)
    }
}

fn open(dir: &TempDir, acknowledged: u64) -> Result<(Journal, Vec<u64>, Replayed), JournalError> {
    let known = Known {
        done: 0,
        acknowledged,
        epoch: 9,
    };
    let mut batches = Batches::default();
    let (journal, replayed) = Journal::open(&dir.0, known, FILE_BYTES, &mut batches)?;
    Ok((journal, batches.0, replayed))
}

fn append(journal: &mut Journal, count: u64) {
    for _ in 0..count {
        let mut blob = Blob::default();
        blob.clear();
        blob.push(&OpRef::Unpark { key: 7 });
        let next = journal.next_batch();
        journal.append(blob.seal(next, 1, UnixMs(5))).unwrap();
    }
}

/// A directory with files of 3 batches each.
fn filled(files_wanted: u64) -> (TempDir, Vec<PathBuf>) {
    let dir = TempDir::new();
    for file in 0..files_wanted {
        append(&mut open(&dir, file * 3).unwrap().0, 3);
    }
    let files = files(&dir.0).unwrap();
    (dir, files)
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn refused(dir: &TempDir, acknowledged: u64) -> String {
    let Err(error) = open(dir, acknowledged) else {
        panic!("it opened a damaged journal")
    };
    let said = error.to_string();
    let export = format!("`trunkline store export {}", dir.0.display());
    assert!(said.contains(&export), "{said}");
    said
}

#[test]
fn a_missing_file_is_told_by_its_neighbours() {
    let (dir, files) = filled(4);
    unlink(&files[1]).unwrap();
    let said = refused(&dir, 12);
    let told = format!(
        "batches 4 to 6 are missing: {} is cut short, or a file between it and {} is gone; \
         6 later batches are behind them",
        name(&files[0]),
        name(&files[2])
    );
    assert!(said.starts_with(&told), "{said}");
    unlink(&files[0]).unwrap();
    let said = refused(&dir, 12);
    let told = format!(
        "batches 1 to 6 are missing: the archive has those up to batch 0, and the first file is {}",
        name(&files[2])
    );
    assert!(said.starts_with(&told), "{said}");
}

#[test]
fn a_missing_log_is_told_by_its_own_file() {
    let (dir, files) = filled(3);
    fs::remove_file(log_of(&files[1])).unwrap();
    let said = refused(&dir, 9);
    let told = format!(
        "batches 4 to 6 are missing: {} is empty, or its -wal is gone, and the next file is {}; \
         3 later batches",
        name(&files[1]),
        name(&files[2])
    );
    assert!(said.starts_with(&told), "{said}");
}

#[test]
fn a_missing_end_is_told_by_the_last_file() {
    let (dir, files) = filled(3);
    fs::remove_file(log_of(&files[2])).unwrap();
    let said = refused(&dir, 9);
    assert!(
        said.starts_with("batches 7 to 9 are missing: ") && said.contains(&name(&files[2])),
        "{said}"
    );
    unlink(&files[2]).unwrap();
    let said = refused(&dir, 9);
    let told = format!(
        "batches 7 to 9 are missing: {} is cut short, or a file after it is gone",
        name(&files[1])
    );
    assert!(said.starts_with(&told), "{said}");
    for file in &files {
        unlink(file).unwrap();
    }
    assert!(refused(&dir, 9).contains("has no journal file"));
}

/// Flips an octet in the last page of a commit, `back` commits before the end.
fn flip(path: &Path, back: u64) {
    let mut options = fs::File::options();
    let log = options.read(true).write(true).open(log_of(path)).unwrap();
    let frames = (log.metadata().unwrap().len() - 32) / 4120;
    let ends: Vec<u64> = (0..frames)
        .filter(|frame| {
            let mut head = [0; 8];
            log.read_exact_at(&mut head, 32 + frame * 4120).unwrap();
            head[4..] != [0; 4]
        })
        .collect();
    let frame = ends[ends.len() - 1 - usize::try_from(back).unwrap()];
    let at = 32 + frame * 4120 + 24 + 4000;
    let mut octet = [0];
    log.read_exact_at(&mut octet, at).unwrap();
    log.write_all_at(&[octet[0] ^ 1], at).unwrap();
}

#[test]
fn of_two_commits_at_the_end_the_first_one_was_acknowledged() {
    let (dir, files) = filled(2);
    flip(&files[1], 2);
    // The second place was a second behind: it does not know of these batches.
    let said = refused(&dir, 3);
    let told = format!("{}: batch 4 is damaged", name(&log_of(&files[1])));
    assert!(said.starts_with(&told), "{said}");
    assert!(said.contains("2 later batches are behind it"), "{said}");
}

#[test]
fn the_last_commit_is_torn_or_damaged_as_the_second_place_says() {
    let (dir, files) = filled(2);
    flip(&files[1], 0);
    let said = refused(&dir, 6);
    assert!(said.contains("batch 6 is damaged"), "{said}");
    let (journal, batches, replayed) = open(&dir, 5).unwrap();
    assert_eq!((batches, replayed.torn_tail), (vec![1, 2, 3, 4, 5], true));
    drop(journal);
    let (mut journal, _, _) = open(&dir, 5).unwrap();
    append(&mut journal, 2);
    drop(journal);
    let (_, batches, replayed) = open(&dir, 7).unwrap();
    assert_eq!(batches, [1, 2, 3, 4, 5, 6, 7]);
    assert!(!replayed.torn_tail, "it was told once");
}

fn spoil(path: &Path, batch: i64) {
    let connection = open_for_reading(path).unwrap();
    let blob = connection.query_row(
        "SELECT blob FROM journal WHERE batch = ?1",
        [batch],
        |row| row.get::<_, Vec<u8>>(0),
    );
    let mut blob = blob.unwrap();
    *blob.last_mut().unwrap() ^= 1;
    let update = "UPDATE journal SET blob = ?2 WHERE batch = ?1";
    connection.execute(update, params![batch, blob]).unwrap();
}

#[test]
fn a_bad_last_record_is_forgiven_once_and_for_all() {
    let (dir, files) = filled(2);
    spoil(&files[1], 6);
    assert!(refused(&dir, 6).contains("batch 6 is damaged"));
    // Forgiven, and the process ends before its first commit, twice.
    for _ in 0..2 {
        let (journal, batches, replayed) = open(&dir, 5).unwrap();
        assert_eq!((batches, journal.next_batch()), (vec![1, 2, 3, 4, 5], 6));
        assert!(replayed.torn_tail || replayed.batches == 5);
    }
    let (mut journal, _, _) = open(&dir, 5).unwrap();
    append(&mut journal, 3);
    drop(journal);
    for acknowledged in [5, 6, 8] {
        let (_, batches, replayed) = open(&dir, acknowledged).unwrap();
        assert_eq!(batches, [1, 2, 3, 4, 5, 6, 7, 8], "in place of the bad 6");
        assert!(!replayed.torn_tail);
    }
    // Without the file that took its place, it is damage again.
    unlink(&super::files(&dir.0).unwrap()[2]).unwrap();
    assert!(refused(&dir, 8).contains("batch 6 is damaged"));
}

#[test]
fn a_state_database_that_is_older_is_noticed() {
    let (dir, _) = filled(1);
    let known = Known {
        done: 0,
        acknowledged: 0,
        epoch: 0,
    };
    let opened = Journal::open(&dir.0, known, FILE_BYTES, &mut Batches::default());
    let said = opened.err().map(|error| error.to_string());
    assert!(
        said.as_ref()
            .is_some_and(|said| said.contains("state.db: it is older than the journal")),
        "{said:?}"
    );
}
