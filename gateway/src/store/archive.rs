//! The archive: what has left memory. Finished messages as history by day, unfinished as pending.
//!
//! ```text
//!  pending.db                   unfinished messages, their queue, their deadlines
//!  history-YYYY-MM-DD.db        finished messages, by day of finishing; content-… their texts
//!  events-YYYY-MM-DD.db         the event log; inbound-… handsets' messages, which it tells of
//!  idempotency-YYYY-MM-DDTHH.db · carriers-YYYY-MM-DD.db   keys, behind filters
//! ```
//! A generation is archived as a whole: every file has its transaction, the snapshot comes last. A
//! crash in between repeats all of it, and each step replaces what it finds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::oneshot;

use crate::event::{Event, EventKind};
use crate::message::MessageId;
use crate::message::life::Change;
use crate::store::depths::{Depths, Place, Places};
use crate::store::inbox::Request;
use crate::store::journal::unlink;
use crate::store::shared::{ArchiveJob, Full, Shared};
use crate::store::state::Snapshot;
use crate::store::young::Young;
use crate::store::{EventQuery, Record};

mod events;
pub(crate) mod file;
pub(crate) mod history;
pub(crate) mod inbound;
pub(crate) mod keys_file;
pub(crate) mod pending;
mod read;
mod retention;
pub(crate) mod suppressed;
#[cfg(test)]
mod tests;
mod write;

use file::{ArchiveError, Kind, PENDING, Pool, uint};
use keys_file::KeyFiles;
pub(crate) use read::is_indexed;
use suppressed::SUPPRESSIONS;
use write::Writers;

/// How long the archiver waits before it tries a full disk again.
const FULL_PAUSE: Duration = Duration::from_millis(500);
/// Retention is looked after so often when nothing is archived.
const IDLE_TICK: Duration = Duration::from_secs(600);
/// Generations whose span of ids is known without a read: more than the journal's files go back.
const SPANS_MAX: usize = 64;

/// The archive of one directory.
pub(crate) struct Archive {
    directory: PathBuf,
    line: Mutex<Line>,
    wake: Condvar,
    pool: Pool,
    /// Days with a history file.
    history: RwLock<BTreeSet<u64>>,
    /// Days with a content file.
    content: RwLock<BTreeSet<u64>>,
    events: events::Days,
    /// Days with a file of handsets' messages.
    inbound: inbound::Days,
    idempotency: KeyFiles,
    carriers: KeyFiles,
    /// (largest id accepted, batch as of which it is archived), by generation; the first is a floor.
    spans: Mutex<Vec<(u64, u64)>>,
    /// The batch as of which the suppressions' file stands; 0: there is none.
    suppressed_as_of: AtomicU64,
    /// Where a test stops the archiver: before the step of this number.
    #[cfg(test)]
    pub(crate) stop_at: std::sync::atomic::AtomicU32,
}

/// The archiver's work. One generation is frozen at a time, so the line is one long.
#[derive(Default)]
struct Line {
    job: Option<ArchiveJob>,
    closed: bool,
}

impl Archive {
    /// Opens what a directory holds.
    ///
    /// # Errors
    /// Pending or a key file cannot be read. History is not looked at: what is damaged there does
    /// not keep messages from being sent.
    pub(crate) fn open(directory: &Path, snapshot: &Snapshot) -> Result<Self, ArchiveError> {
        // Also finishes what a crash left half made.
        drop(file::open_for_writing(
            directory,
            PENDING,
            &pending::schema(),
        )?);
        if directory.join(SUPPRESSIONS).exists() {
            drop(file::open_for_writing(
                directory,
                SUPPRESSIONS,
                suppressed::SCHEMA,
            )?);
        }
        Self::open_offline(directory, snapshot)
    }

    /// Opens what is there and makes nothing.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub(crate) fn open_offline(
        directory: &Path,
        snapshot: &Snapshot,
    ) -> Result<Self, ArchiveError> {
        let archive = Self {
            directory: directory.to_owned(),
            line: Mutex::default(),
            wake: Condvar::new(),
            pool: Pool::new(directory),
            history: RwLock::default(),
            content: RwLock::default(),
            events: events::Days::default(),
            inbound: inbound::Days::default(),
            idempotency: KeyFiles::new(Kind::Idempotency),
            carriers: KeyFiles::new(Kind::Carriers),
            spans: Mutex::new(snapshot.spans.clone()),
            suppressed_as_of: AtomicU64::new(0),
            #[cfg(test)]
            stop_at: std::sync::atomic::AtomicU32::new(0),
        };
        let names = file::names(directory).map_err(|error| ArchiveError::Failed {
            path: directory.to_owned(),
            what: error.to_string(),
        })?;
        for name in names {
            archive.note(&name)?;
        }
        Ok(archive)
    }

    fn note(&self, name: &str) -> Result<(), ArchiveError> {
        let directory = &self.directory;
        let wrong = |error: rusqlite::Error| ArchiveError::of(directory, name, &error);
        if let Some(day) = Kind::History.span_of(name) {
            self.history.write().insert(day);
        } else if let Some(day) = Kind::Content.span_of(name) {
            self.content.write().insert(day);
        } else if let Some(day) = Kind::Inbound.span_of(name) {
            self.inbound.write().insert(day);
        } else if let Some(day) = Kind::Events.span_of(name) {
            if let Some((first, last)) = self.pool.read(name, events::stretch) {
                self.events.note(day, first, last);
            }
        } else if let Some(hour) = Kind::Idempotency.span_of(name) {
            drop(file::open_for_writing(directory, name, keys_file::SCHEMA)?);
            self.idempotency.load(hour, &self.pool).map_err(wrong)?;
        } else if let Some(day) = Kind::Carriers.span_of(name) {
            drop(file::open_for_writing(directory, name, keys_file::SCHEMA)?);
            self.carriers.load(day, &self.pool).map_err(wrong)?;
        }
        Ok(())
    }

    /// Puts a frozen generation in line.
    pub(crate) fn push(&self, job: ArchiveJob) {
        self.line.lock().job = Some(job);
        self.wake.notify_one();
    }

    /// Ends the archiver's thread after the generation it is at.
    pub(crate) fn close(&self) {
        self.line.lock().closed = true;
        self.wake.notify_one();
    }

    /// The archiver's thread.
    pub(crate) fn run(shared: &Arc<Shared>) {
        let archive = &shared.archive;
        let mut writers = Writers::new(&archive.directory);
        loop {
            if let Err(error) = retention::sweep(archive, shared, &mut writers) {
                shared.failed.send_replace(Some(error.to_string()));
                return;
            }
            let job = {
                let mut line = archive.line.lock();
                if !line.closed && line.job.is_none() {
                    archive.wake.wait_for(&mut line, IDLE_TICK);
                }
                if line.closed {
                    return;
                }
                line.job.take()
            };
            if let Some(job) = job {
                match archive.archive(shared, &mut writers, &job) {
                    Ok(true) => {}
                    Ok(false) => return,
                    #[cfg(test)]
                    Err(ArchiveError::Stopped) => {
                        archive.stop_at.store(u32::MAX, Ordering::Release);
                        return;
                    }
                    Err(error) => {
                        shared.failed.send_replace(Some(error.to_string()));
                        return;
                    }
                }
            }
        }
    }

    /// Archives one generation; waits for room when the disk is full. `Ok(false)`: closed meanwhile.
    fn archive(
        &self,
        shared: &Shared,
        writers: &mut Writers,
        job: &ArchiveJob,
    ) -> Result<bool, ArchiveError> {
        loop {
            match self.write(shared, writers, job) {
                Ok(()) => {
                    shared.set_full(Full::Archiver, false);
                    break;
                }
                Err(ArchiveError::Full) => {
                    shared.set_full(Full::Archiver, true);
                    writers.close();
                    let mut line = self.line.lock();
                    if !line.closed {
                        self.wake.wait_for(&mut line, FULL_PAUSE);
                    }
                    if line.closed {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let (reply, done) = oneshot::channel();
        let told = Request::Archived {
            number: job.generation.number,
            events_upto: job.snapshot.events_upto,
            batch: job.snapshot.batch,
            reply,
        };
        shared.inbox.push(told, true);
        // A closed inbox drops the reply: the next start finds the snapshot.
        let Ok(files) = done.blocking_recv() else {
            return Ok(false);
        };
        for path in files {
            unlink(&path).map_err(|error| ArchiveError::Failed {
                path,
                what: error.to_string(),
            })?;
        }
        Ok(true)
    }

    #[cfg(test)]
    fn step(&self, number: u32) -> Result<(), ArchiveError> {
        if self.stop_at.load(Ordering::Acquire) == number {
            return Err(ArchiveError::Stopped);
        }
        Ok(())
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the test's twin needs both"
    )]
    fn step(&self, _number: u32) -> Result<(), ArchiveError> {
        Ok(())
    }

    /// The batch as of which the suppressions' file stands; 0: there is none.
    pub(crate) fn suppressed_as_of(&self) -> u64 {
        self.suppressed_as_of.load(Ordering::Acquire)
    }

    pub(crate) fn set_suppressed_as_of(&self, batch: u64) {
        self.suppressed_as_of.store(batch, Ordering::Release);
    }

    /// Whether nothing was ever archived.
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.lock().is_empty()
    }

    /// Whether any of these keys may be in the archive; no look-up is needed when not.
    pub(crate) fn may_hold_keys<'k>(&self, keys: impl Iterator<Item = &'k [u8; 16]>) -> bool {
        self.idempotency.may_hold(keys)
    }

    /// Looks idempotency keys up: fingerprint and message.
    pub(crate) fn keys(&self, keys: &[[u8; 16]]) -> Vec<Option<([u8; 16], MessageId)>> {
        keys.iter()
            .map(|key| {
                let found = self.idempotency.find(&self.pool, key);
                // The first message under a key is the one that others repeated.
                found.last().map(|(id, fingerprint)| (*fingerprint, *id))
            })
            .collect()
    }

    /// Whether any of these carrier ids may be in the archive; no look-up is needed when not.
    pub(crate) fn may_hold_carriers(&self, keys: impl Iterator<Item = u64>) -> bool {
        self.carriers.may_hold(keys.map(u64::to_be_bytes))
    }

    /// Looks carrier ids up: all messages and parts under the key, newest first.
    pub(crate) fn carriers(&self, key: u64) -> Vec<(MessageId, u8)> {
        let found = self.carriers.find::<1>(&self.pool, &key.to_be_bytes());
        found.into_iter().map(|(id, [part])| (id, part)).collect()
    }

    /// Archived events after `query.after` and before `before`, and how far was read.
    pub(crate) fn events(&self, query: &EventQuery, before: u64) -> (Vec<Event>, u64) {
        self.events.read(&self.pool, query, before)
    }

    /// Why the process has to end, if a read failed below SQLite.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.pool.trouble()
    }

    /// The batch as of which a message is archived at least, if that is known without a read.
    fn archived_at_least(&self, id: MessageId) -> Option<u64> {
        let spans = self.spans.lock();
        let place = spans.partition_point(|(last, _)| *last < id.0);
        (place > 0).then(|| spans.get(place).map(|(_, as_of)| *as_of))?
    }

    /// During replay: takes a message back into memory when its archived copy is older than `batch`.
    pub(crate) fn adopt_as_of(&self, young: &mut Young, id: MessageId, batch: u64) {
        if let Some(record) = self.older(id, batch) {
            young.adopt(record);
        }
    }

    /// A message whose archived copy is older than `batch`.
    pub(crate) fn older(&self, id: MessageId, batch: u64) -> Option<Record> {
        let known = self.archived_at_least(id);
        if known.is_some_and(|as_of| batch <= as_of) {
            return None;
        }
        let (record, as_of) = self.locate(&[id]).pop()?;
        (as_of < batch).then_some(record)
    }

    /// During replay: an event of an archived message that is not archived itself. That is so when
    /// the archive was written and the snapshot after it was not.
    pub(crate) fn push_event_of(
        &self,
        young: &mut Young,
        id: MessageId,
        kind: EventKind,
        change: &Change,
    ) {
        if change.seq < young.next_seq {
            return;
        }
        let Some((record, _)) = self.locate(&[id]).pop() else {
            return;
        };
        let log = &record.life.log;
        let Some(index) = log.iter().position(|known| known.seq == change.seq) else {
            return;
        };
        young.push_event(Event {
            seq: change.seq,
            at: change.at,
            tenant: record.message.tenant,
            kind,
            version: change.version,
            subject: id,
            changes: u16::try_from(index + 1).unwrap_or(u16::MAX),
        });
    }

    /// After replay: how many messages of pending are queued and not in memory.
    pub(crate) fn count_queued(&self, young: &Young) -> Depths {
        let mut count = Depths::default();
        self.pool.read(PENDING, |connection| {
            pending::each_queued(connection, |place, id| {
                if young.row(id).is_none() {
                    count.add(&Places::from_elem(place, 1));
                }
            })
        });
        count
    }

    /// How many messages of pending are queued, and the batch as of which.
    pub(crate) fn queued(&self) -> (u64, u64) {
        self.pool.read(PENDING, |connection| {
            let number = |key| pending::number(connection, key);
            Ok((
                uint(number("queued")?.unwrap_or(0)),
                uint(number("as_of")?.unwrap_or(0)),
            ))
        })
    }

    /// How many messages of pending are queued, by where.
    pub(crate) fn depths(&self) -> Depths {
        let read = self.pool.read(PENDING, pending::depths);
        read.into_iter().collect()
    }

    /// Messages in pending with parts that were out under `hold`, or claimed.
    pub(crate) fn intents(&self) -> Vec<Record> {
        let ids = self.pool.read(PENDING, pending::intents);
        self.get(&ids)
    }

    /// Queued messages of a route, lane and tenant in pending, by order key, but for those that `shadowed`
    /// knows in memory.
    pub(crate) fn queued_after(
        &self,
        at: Place,
        after: u64,
        limit: usize,
        shadowed: impl Fn(MessageId) -> bool,
    ) -> Vec<Record> {
        self.pool.read(PENDING, |connection| {
            let mut found = Vec::new();
            let mut place = (after, u64::MAX);
            loop {
                let stretch = pending::queue(connection, at, place, limit)?;
                let Some(last) = stretch.last() else { break };
                place = (last.0, last.1.0);
                for (order, id) in stretch {
                    if shadowed(id) {
                        continue;
                    }
                    let record = pending::read(connection, id)?;
                    // It may have moved on since the queue was read.
                    found.extend(
                        record
                            .map(|(r, _)| r)
                            .filter(|r| at.order_of(&r.message, &r.life) == Some(order)),
                    );
                    if found.len() >= limit {
                        return Ok(found);
                    }
                }
            }
            Ok(found)
        })
    }

    /// Messages in pending whose deadline has passed, but for those that `shadowed` knows in memory.
    pub(crate) fn overdue(
        &self,
        now: crate::clock::UnixMs,
        limit: usize,
        shadowed: impl Fn(MessageId) -> bool,
    ) -> Vec<MessageId> {
        self.pool.read(PENDING, |connection| {
            let mut found = Vec::new();
            let mut place = (0, 0);
            while found.len() < limit {
                let stretch = pending::overdue(connection, now, place, limit)?;
                let Some(last) = stretch.last() else { break };
                place = *last;
                let ids = stretch.iter().map(|(_, id)| MessageId(uint(*id)));
                found.extend(ids.filter(|id| !shadowed(*id)));
            }
            found.truncate(limit);
            Ok(found)
        })
    }
}
