//! Opening a directory: the lock, the replay, what was found.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::clock::{Clock, UnixMs};
use crate::message::id::IdMaker;
use crate::message::life::Status;
use crate::message::{Ids, MessageId};
use crate::names::Names;
use crate::store::Config;
use crate::store::archive::Archive;
use crate::store::archive::file::ArchiveError;
use crate::store::handle::Store;
use crate::store::journal::{FILE_BYTES, Journal, JournalError};
use crate::store::record::{BlobError, Op, Reading};
use crate::store::shared::{Full, Shared};
use crate::store::state::{Snapshot, State, StateError};
use crate::store::writer::Writer;
use crate::store::young::{Young, new_order};

/// The watcher looks at the disk, the clock and the last batch so often: the last batch's number is
/// at most a second old in its second place (design.md).
const WATCH: Duration = Duration::from_millis(500);

/// Why a directory cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It cannot be made, read or written.
    #[error("{path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The journal is damaged or cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The state database cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file of the archive that sending needs cannot be read.
    #[error("{what}")]
    Archive {
        /// The file and what SQLite says.
        what: String,
    },
    /// A journal record passes its checksum and does not parse.
    #[error("batch {batch}: {source}")]
    Record {
        /// The batch.
        batch: u64,
        /// What is wrong.
        source: BlobError,
    },
}

/// What the store found when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Messages queued.
    pub queued: u64,
    /// Messages that wait for a receipt, in memory.
    pub sent: u64,
    /// Parts that were out under `hold` when the last process ended: unknown now.
    pub unknown: u64,
    /// Events that some endpoint has not had yet.
    pub events_pending: u64,
    /// Journal batches read.
    pub batches: u64,
    /// Whether a torn tail was discarded.
    pub torn_tail: bool,
    /// How long it took.
    pub took: Duration,
    /// The epoch of this process.
    pub epoch: u64,
}

/// Opens a directory, recovers what it holds, and starts the store's threads.
pub(crate) fn open(config: Config, clock: Clock) -> Result<(Store, Found), OpenError> {
    let started = Instant::now();
    make_directory(&config.path)?;
    let lock = lock(&config.path)?;
    let state = State::open(&config.path)?;
    let node = state.node()?;
    let acknowledged = state.acknowledged()?;
    let snapshot = state.snapshot()?;
    let wanted = Names {
        tenants: config.tenants.clone(),
        routes: config
            .routes
            .iter()
            .map(|route| route.name.clone())
            .collect(),
        endpoints: config.endpoints.clone(),
    };
    let names = Arc::new(state.names(&wanted)?);
    let archive = Archive::open(&config.path, &snapshot).map_err(archive_error)?;
    let now = clock.now();
    let mut recovery = Recovery::new(&config, &snapshot, &archive, now);
    let (journal, replayed) = Journal::open(
        &config.path,
        snapshot.batch,
        acknowledged.max(snapshot.batch),
        FILE_BYTES,
        |reading| recovery.batch(reading),
    )?;
    let Recovery {
        mut young, last_id, ..
    } = recovery;
    if recovery_was_ahead(&archive, &snapshot) {
        young.recount(archive.count_queued(&young));
    }
    for record in archive.intents() {
        young.adopt(record);
    }
    let epoch = state.raise_epoch()?;
    let last_batch = replayed.last_batch;
    let found = Found {
        queued: young.queued,
        sent: count(&young, |row| {
            row.life.status == Status::Sent && !row.life.is_final
        }),
        unknown: count(&young, |row| !row.life.parts_out().is_empty()),
        events_pending: events_pending(&young),
        batches: replayed.batches,
        torn_tail: replayed.torn_tail,
        took: started.elapsed(),
        epoch,
    };
    let shared = Arc::new(Shared::new(
        config,
        clock,
        names,
        Ids::new(node),
        young,
        archive,
        state,
        last_batch,
    ));
    let writer = Writer::new(shared.clone(), journal, epoch, IdMaker::new(0, last_id));
    let store = Store::start(shared, writer, lock).map_err(|source| OpenError::Directory {
        path: PathBuf::from("(threads)"),
        source,
    })?;
    Ok((store, found))
}

/// Makes the directory, and its name durable.
fn make_directory(path: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(path).map_err(|source| OpenError::Directory {
        path: path.to_owned(),
        source,
    })?;
    if let Some(parent) = path.parent().filter(|path| !path.as_os_str().is_empty()) {
        // Where the parent may not be read, its owner made the directory long ago.
        drop(File::open(parent).and_then(|parent| parent.sync_all()));
    }
    Ok(())
}

/// Whether a crash came between the archive's commit and the snapshot's: then what replay takes back
/// into memory may be in pending as well.
fn recovery_was_ahead(archive: &Archive, snapshot: &Snapshot) -> bool {
    archive.queued().1 != snapshot.as_of
}

fn archive_error(error: ArchiveError) -> OpenError {
    OpenError::Archive {
        what: error.to_string(),
    }
}

fn count(young: &Young, which: impl Fn(&crate::store::young::Row) -> bool) -> u64 {
    u64::try_from(young.rows().filter(|row| which(row)).count()).unwrap_or(0)
}

fn events_pending(young: &Young) -> u64 {
    let cursor = young.endpoints.values().map(|state| state.cursor).min();
    cursor.map_or(0, |cursor| (young.next_seq - 1).saturating_sub(cursor))
}

pub(crate) fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("lock");
    let wrong = |source| OpenError::Directory {
        path: path.clone(),
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(wrong)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(wrong(source)),
    }
}

/// Rebuilds the young state from the journal.
pub(crate) struct Recovery<'a> {
    pub(crate) young: Young,
    pub(crate) last_id: MessageId,
    snapshot: &'a Snapshot,
    archive: &'a Archive,
}

impl<'a> Recovery<'a> {
    fn new(config: &Config, snapshot: &'a Snapshot, archive: &'a Archive, now: UnixMs) -> Self {
        let mut young = Young::new(
            config.memory,
            snapshot.events_upto + 1,
            snapshot.generation + 1,
            now,
        );
        young.queued = archive.queued().0;
        young.depths = archive.depths();
        young.endpoints = snapshot.endpoints.iter().cloned().collect();
        for receipt in &snapshot.parked {
            young.park(receipt.clone());
        }
        Self {
            young,
            last_id: State::last_id(snapshot),
            snapshot,
            archive,
        }
    }

    fn batch(&mut self, mut reading: Reading<'_>) -> Result<(), OpenError> {
        let batch = reading.batch;
        let wrong = |source| OpenError::Record { batch, source };
        let at = reading.at;
        while let Some(op) = reading.next().map_err(wrong)? {
            self.op(batch, op);
        }
        self.young.close_if_full(batch, at);
        Ok(())
    }

    fn op(&mut self, batch: u64, op: Op) {
        let young = &mut self.young;
        match op {
            Op::Accept { message, key, seq } => {
                self.last_id = self.last_id.max(message.id);
                // What the archive holds is not made young again.
                if batch > self.snapshot.batch {
                    young.accept(Arc::new(message), key, seq, true, false);
                }
            }
            Op::Change { id, change } => {
                if let Some(order) = new_order(&change) {
                    self.last_id = self.last_id.max(MessageId(order));
                }
                if young.row(id).is_none() {
                    self.archive.adopt_as_of(young, id, batch);
                }
                if young.row(id).is_some() {
                    young.change(id, change);
                } else if let Some(kind) = change.event {
                    // The archived copy has this change; its event may still be young.
                    self.archive.push_event_of(young, id, kind, &change);
                }
            }
            Op::Park { receipt } if batch > self.snapshot.as_of => {
                young.park(receipt);
            }
            Op::Unpark { key } if batch > self.snapshot.as_of => {
                young.parked.remove(&key);
            }
            Op::Endpoint { endpoint, state } if batch > self.snapshot.as_of => {
                young.endpoints.insert(endpoint, state);
            }
            Op::Claim { claims, claimed } => {
                for (id, parts) in claims.iter() {
                    if young.row(id).is_none() {
                        self.archive.adopt_as_of(young, id, batch);
                    }
                    young.claim(id, parts, claimed);
                }
            }
            Op::Note { event } => young.push_event(event),
            Op::Park { .. } | Op::Unpark { .. } | Op::Endpoint { .. } => {}
        }
    }
}

/// Looks after the disk, the clock and the last batch's second place, until the store is closed.
pub(crate) fn watch(shared: &Shared) {
    let mut kept = 0;
    while !shared.closing.load(Ordering::Acquire) {
        let acknowledged = shared.acknowledged.load(Ordering::Acquire);
        if acknowledged != kept {
            match shared.state.set_acknowledged(acknowledged) {
                Ok(()) => kept = acknowledged,
                Err(error) if error.passing => {
                    tracing::warn!(%error, "the last batch number could not be kept");
                }
                Err(error) => {
                    shared.failed.send_replace(Some(error.to_string()));
                    return;
                }
            }
        }
        match rustix::fs::statvfs(&shared.config.path) {
            Ok(disk) => {
                let free = disk.f_bavail.saturating_mul(disk.f_frsize);
                shared.set_full(Full::Reserve, free < shared.config.disk_reserve);
            }
            Err(error) => {
                let path = shared.config.path.display();
                shared.failed.send_replace(Some(format!("{path}: {error}")));
                return;
            }
        }
        if let Some(why) = shared.archive.trouble() {
            shared.failed.send_replace(Some(why));
            return;
        }
        shared.tell_memory();
        std::thread::park_timeout(WATCH);
    }
}
