//! Opening a directory: the lock, the replay, what was found.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::clock::{Clock, UnixMs};
use crate::inbound::{assembly, reply};
use crate::message::id::IdMaker;
use crate::message::life::Status;
use crate::message::{Ids, MessageId, Parts};
use crate::names::Names;
use crate::store::Config;
use crate::store::archive::Archive;
use crate::store::archive::file::{ArchiveError, PENDING};
use crate::store::archive::suppressed::SUPPRESSIONS;
use crate::store::handle::Store;
use crate::store::journal::{self, FILE_BYTES, Journal, JournalError, Known, Replayed, Walk};
use crate::store::record::{BlobError, Op, Reading};
use crate::store::shared::{Full, Shared};
use crate::store::state::{STATE, Snapshot, State, StateError};
use crate::store::suppressions::index::Index;
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
    #[error("{path}: {why}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// It is no store's directory: a config or an offline verb points at the wrong place.
    #[error("{path}: {what}")]
    NotAStore {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// The journal is damaged or cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The state database cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file without which the others cannot be understood is gone, or older than they are.
    #[error(
        "{path}: {what}. `trunkline store export {directory} --out FILE` writes what is readable"
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// The directory, for the command.
        directory: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file of the archive that sending needs cannot be read.
    #[error("{what}")]
    Archive {
        /// The file and what SQLite says.
        what: String,
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
    let state = open_state(&config.path)?;
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
    let archive = open_archive(&config.path, &snapshot)?;
    let now = clock.now();
    let suppressions = open_suppressions(&config, &names, &archive, &snapshot)?;
    let mut recovery = Recovery::new((&config, &names), &snapshot, &archive, &suppressions, now);
    let known = Known {
        done: snapshot.batch,
        acknowledged: acknowledged.max(snapshot.batch),
        epoch: state.epoch()?,
    };
    let (journal, replayed) = open_journal(&config.path, known, &mut recovery)?;
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
        suppressions,
        last_batch,
    ));
    let writer = Writer::new(shared.clone(), journal, epoch, IdMaker::new(0, last_id));
    let store = Store::start(shared, writer, lock).map_err(|why| OpenError::Directory {
        path: PathBuf::from("(threads)"),
        why,
    })?;
    Ok((store, found))
}

fn lost(directory: &Path, name: &str, what: &'static str) -> OpenError {
    OpenError::Lost {
        path: directory.join(name),
        directory: directory.display().to_string(),
        what,
    }
}

fn open_state(directory: &Path) -> Result<State, OpenError> {
    match state_lost(directory)? {
        Some(what) => Err(lost(directory, STATE, what)),
        None => Ok(State::open(directory)?),
    }
}

/// Opens the archive, which has at least what the state database knows of.
fn open_archive(directory: &Path, snapshot: &Snapshot) -> Result<Archive, OpenError> {
    if snapshot.as_of > 0 && !directory.join(PENDING).exists() {
        return Err(lost(directory, PENDING, PENDING_GONE));
    }
    let archive = Archive::open(directory, snapshot).map_err(archive_error)?;
    if archive.queued().1 < snapshot.as_of {
        return Err(lost(directory, PENDING, PENDING_OLD));
    }
    Ok(archive)
}

/// Who is suppressed, as of the archive.
fn open_suppressions(
    config: &Config,
    names: &Names,
    archive: &Archive,
    snapshot: &Snapshot,
) -> Result<Index, OpenError> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| OpenError::Directory {
        path: config.path.clone(),
        why: std::io::Error::other(error.to_string()),
    })?;
    let seed = u64::from_ne_bytes(seed);
    let index = Index::new(names.tenants.len(), config.suppressions, seed);
    let loaded = archive
        .load_suppressions(|key, id, until| index.insert(&key, id, until))
        .map_err(archive_error)?;
    if loaded < snapshot.suppressed {
        let what = match config.path.join(SUPPRESSIONS).exists() {
            true => SUPPRESSIONS_OLD,
            false => SUPPRESSIONS_GONE,
        };
        return Err(lost(&config.path, SUPPRESSIONS, what));
    }
    Ok(index)
}

fn open_journal(
    directory: &Path,
    known: Known,
    recovery: &mut Recovery<'_>,
) -> Result<(Journal, Replayed), OpenError> {
    Journal::open(directory, known, FILE_BYTES, recovery).map_err(|error| match error {
        // The first file of this process found no room.
        JournalError::Full => OpenError::Directory {
            path: directory.to_owned(),
            why: std::io::ErrorKind::StorageFull.into(),
        },
        other => other.into(),
    })
}

/// What is said of a `pending.db` that is not there …
pub(crate) const PENDING_GONE: &str =
    "it is gone, and with it every unfinished message that has left the journal";
/// … and of one that lacks what state.db knows to be in it.
pub(crate) const PENDING_OLD: &str = "it is older than state.db, or its -wal is gone or damaged";

/// The same of the suppressions' file.
pub(crate) const SUPPRESSIONS_GONE: &str =
    "it is gone, and with it who must not be sent to: nothing may be sent without it";
/// … and of one that lacks what state.db knows to be in it.
pub(crate) const SUPPRESSIONS_OLD: &str = PENDING_OLD;

/// What is wrong with the state database of a directory with messages, when the journal and the
/// archive cannot be understood for lack of it.
pub(crate) fn state_lost(directory: &Path) -> Result<Option<&'static str>, OpenError> {
    let new = journal::files(directory)?.is_empty() && !directory.join(PENDING).exists();
    Ok(if new {
        None
    } else if !directory.join(STATE).exists() {
        Some("it is gone, and with it the numbers' names and the last acknowledged batch")
    } else if State::is_blank(directory) {
        Some("it is empty, or its -wal is gone or damaged")
    } else {
        None
    })
}

const NO_DIRECTORY: &str = "not a directory, so not a store";

/// Locks a directory for an offline verb, and makes nothing where there is no store.
pub(crate) fn lock_offline(directory: &Path) -> Result<File, OpenError> {
    let is_none = |what| OpenError::NotAStore {
        path: directory.to_owned(),
        what,
    };
    let found = fs::metadata(directory).map_err(|why| OpenError::Directory {
        path: directory.to_owned(),
        why,
    })?;
    if !found.is_dir() {
        return Err(is_none(NO_DIRECTORY));
    }
    let any = !journal::files(directory)?.is_empty()
        || directory.join(STATE).exists()
        || directory.join(PENDING).exists();
    if !any {
        return Err(is_none("not a store: no state.db and no journal in it"));
    }
    lock(directory)
}

/// Makes the directory, and its name durable.
fn make_directory(path: &Path) -> Result<(), OpenError> {
    if path.exists() && !path.is_dir() {
        return Err(OpenError::NotAStore {
            path: path.to_owned(),
            what: NO_DIRECTORY,
        });
    }
    fs::create_dir_all(path).map_err(|why| OpenError::Directory {
        path: path.to_owned(),
        why,
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
    let wrong = |why| OpenError::Directory {
        path: path.clone(),
        why,
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
        Err(TryLockError::Error(why)) => Err(wrong(why)),
    }
}

/// Rebuilds the young state from the journal.
pub(crate) struct Recovery<'a> {
    pub(crate) young: Young,
    pub(crate) last_id: MessageId,
    snapshot: &'a Snapshot,
    archive: &'a Archive,
    suppressions: &'a Index,
}

impl<'a> Recovery<'a> {
    fn new(
        (config, names): (&Config, &Names),
        snapshot: &'a Snapshot,
        archive: &'a Archive,
        suppressions: &'a Index,
        now: UnixMs,
    ) -> Self {
        let mut young = Young::new(
            config.memory,
            snapshot.events_upto + 1,
            snapshot.generation + 1,
            now,
        );
        young.queued = archive.queued().0;
        young.depths = archive.depths();
        young.endpoints = snapshot.endpoints.iter().cloned().collect();
        young.transforms = config
            .routes
            .iter()
            .filter(|route| route.ladder.has_transform())
            .filter_map(|route| {
                Some((names.route_ix(&route.name)?, route.ladder.transform.clone()))
            })
            .collect();
        if !archive.is_empty() {
            young.archived_at = now;
        }
        // A snapshot has them in no order; which is given up first goes by age.
        let mut parked = snapshot.parked.clone();
        parked.sort_by_key(|receipt| receipt.received_at);
        for receipt in parked {
            young.park(receipt);
        }
        young.learned = snapshot.learned.iter().cloned().collect();
        young.orphans = snapshot.orphans.iter().cloned().collect();
        young.inbound = assembly::Sets::from_snapshot(snapshot.inbound.clone());
        young.replied = reply::Guard::from_snapshot(snapshot.replied.clone());
        Self {
            young,
            last_id: State::last_id(snapshot),
            snapshot,
            archive,
            suppressions,
        }
    }

    fn op(&mut self, batch: u64, op: Op) {
        let young = &mut self.young;
        match op {
            Op::Accept { message, key, seq } => {
                self.last_id = self.last_id.max(message.id);
                // What the archive holds is not made young again.
                if batch > self.snapshot.batch {
                    young.accept(Arc::new(message), key, seq, true, Parts::default());
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
            Op::Claim { claims, claimed } => {
                for (id, parts) in claims.iter() {
                    if young.row(id).is_none() {
                        self.archive.adopt_as_of(young, id, batch);
                    }
                    young.claim(id, parts, claimed);
                }
            }
            Op::Note { event } => young.push_event(event),
            Op::InboundPart { set, part } => {
                self.last_id = self.last_id.max(set);
                if batch > self.snapshot.as_of {
                    young.inbound.add(set, part);
                }
            }
            Op::Inbound { inbound, seq } => {
                self.last_id = self.last_id.max(inbound.id);
                if batch > self.snapshot.as_of {
                    young.inbound.close(inbound.id);
                    young.replied.note(&inbound);
                }
                if batch > self.snapshot.batch {
                    young.receive(Arc::new(inbound), seq);
                } else {
                    // Archived; its events may still be young.
                    inbound
                        .events(seq)
                        .for_each(|event| young.push_event(event));
                }
            }
            // The snapshot has what these did before it.
            small if batch > self.snapshot.as_of => self.small_op(small),
            _ => {}
        }
    }

    /// What stands in the snapshot, or with it.
    fn small_op(&mut self, op: Op) {
        let young = &mut self.young;
        match op {
            Op::Park { receipt } => drop(young.park(receipt)),
            Op::Unpark { key } => drop(young.unpark(key)),
            Op::Endpoint { endpoint, state } => drop(young.endpoints.insert(endpoint, state)),
            Op::Learned { route, learned } => drop(young.learned.insert(route, learned)),
            Op::Orphan { orphan } => young.orphan(orphan),
            Op::Suppress {
                suppression,
                replaces,
                seq,
                kinds,
            } => {
                let (key, id) = (&suppression.key, suppression.id);
                self.last_id = self.last_id.max(id);
                self.suppressions.insert(key, id, suppression.expires_at);
                young.suppress(suppression, replaces, seq, kinds);
            }
            Op::Unsuppress { ended, seq, kinds } => {
                self.suppressions.remove(&ended.key);
                young.unsuppress(ended, seq, kinds);
            }
            // Of messages.
            Op::Accept { .. }
            | Op::Change { .. }
            | Op::Claim { .. }
            | Op::Note { .. }
            | Op::InboundPart { .. }
            | Op::Inbound { .. } => {}
        }
    }
}

impl Walk for Recovery<'_> {
    fn batch(&mut self, mut reading: Reading<'_>) -> Result<(), BlobError> {
        let (batch, at) = (reading.batch, reading.at);
        while let Some(op) = reading.next()? {
            self.op(batch, op);
        }
        self.young.close_if_full(batch, at);
        Ok(())
    }

    fn wrong(&mut self, error: JournalError) -> Result<(), JournalError> {
        Err(error)
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
        shared.look_after_inbound();
        shared.tell_memory();
        metrics::counter!("trunkline_store_looks_total").increment(1);
        std::thread::park_timeout(WATCH);
    }
}
