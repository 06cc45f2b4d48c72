//! How a generation is written: sorted, one transaction per file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::clock::UnixMs;
use crate::store::archive::file::{self, ArchiveError, Kind, PENDING, int};
use crate::store::archive::history::GENERATIONS_PER_SEGMENT;
use crate::store::archive::keys_file::{self, KeyEntry};
use crate::store::archive::suppressed::{self, SUPPRESSIONS};
use crate::store::archive::{Archive, SPANS_MAX, events, history, pending};
use crate::store::handle::deadline;
use crate::store::shared::{ArchiveJob, Shared};
use crate::store::state::Snapshot;
use crate::store::young::{Generation, Row};

/// Write connections kept open: pending, today's history, content, events, inbound and carriers, this
/// hour's keys, and a neighbour of two of them around midnight.
const OPEN_MAX: usize = 9;

/// The archiver's write connections.
pub(crate) struct Writers {
    directory: PathBuf,
    open: Vec<(String, Connection)>,
}

impl Writers {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            open: Vec::new(),
        }
    }

    /// Runs one transaction in a file; it is on disk when this returns.
    pub(crate) fn fill<T>(
        &mut self,
        name: &str,
        schema: &str,
        fill: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ArchiveError> {
        let connection = match self.open.iter().position(|(known, _)| known == name) {
            Some(place) => self.open.remove(place).1,
            None => file::open_for_writing(&self.directory, name, schema)?,
        };
        let filled = (|| {
            let transaction = connection.unchecked_transaction()?;
            let filled = fill(&transaction)?;
            transaction.commit()?;
            Ok(filled)
        })();
        let filled = filled.map_err(|error| ArchiveError::of(&self.directory, name, &error))?;
        self.open.push((name.to_owned(), connection));
        if self.open.len() > OPEN_MAX {
            self.open.remove(0);
        }
        Ok(filled)
    }

    /// Closes a file that is about to go.
    pub(crate) fn forget(&mut self, name: &str) {
        self.open.retain(|(known, _)| known != name);
    }

    /// Closes all files.
    pub(crate) fn close(&mut self) {
        self.open.clear();
    }
}

impl Archive {
    /// Writes a generation, the snapshot last. May be repeated.
    pub(crate) fn write(
        &self,
        shared: &Shared,
        writers: &mut Writers,
        job: &ArchiveJob,
    ) -> Result<(), ArchiveError> {
        let mut rows: Vec<&Row> = job.generation.rows.values().map(Box::as_ref).collect();
        rows.sort_unstable_by_key(|row| row.message.id);
        let (finished, unfinished): (Vec<&Row>, Vec<&Row>) =
            rows.iter().partition(|row| row.life.is_final);
        self.step(1)?;
        self.write_events(writers, job)?;
        self.write_inbound(shared, writers, job)?;
        self.step(2)?;
        self.write_history(shared, writers, &finished, job)?;
        self.step(3)?;
        self.write_keys(shared, writers, &job.generation)?;
        let suppressed = self.write_suppressions(writers, job)?;
        self.step(4)?;
        self.write_pending(shared, writers, (&finished, &unfinished), job)?;
        self.step(5)?;
        let newest = rows.last().map_or(0, |row| row.message.id.0);
        let spans = self.spans_with(newest, job.as_of);
        let snapshot = Snapshot {
            spans: spans.clone(),
            suppressed,
            ..job.snapshot.clone()
        };
        shared
            .state
            .save_snapshot(&snapshot)
            .map_err(|error| match error.passing {
                true => ArchiveError::Full,
                false => ArchiveError::Failed {
                    path: self.directory.clone(),
                    what: error.to_string(),
                },
            })?;
        *self.spans.lock() = spans;
        self.step(6)?;
        let count = u64::try_from(rows.len()).unwrap_or(0);
        metrics::counter!("trunkline_store_archived_messages_total").increment(count);
        Ok(())
    }

    fn spans_with(&self, newest: u64, as_of: u64) -> Vec<(u64, u64)> {
        let mut spans = self.spans.lock().clone();
        if spans.is_empty() {
            spans.push((0, 0));
        }
        let last = spans.last().map_or(0, |(last, _)| *last);
        if newest > last {
            spans.push((newest, as_of));
        }
        let over = spans.len().saturating_sub(SPANS_MAX);
        spans.drain(..over);
        spans
    }

    fn write_events(&self, writers: &mut Writers, job: &ArchiveJob) -> Result<(), ArchiveError> {
        let Some(first) = job.events.first().map(|event| event.seq) else {
            return Ok(());
        };
        for day in self.events.from(first) {
            writers.fill(&Kind::Events.name(day), events::SCHEMA, |connection| {
                events::drop_from(connection, first)
            })?;
        }
        for (day, stretch) in self.events.cut(&job.events) {
            writers.fill(&Kind::Events.name(day), events::SCHEMA, |connection| {
                events::write(connection, stretch)
            })?;
            if let (Some(first), Some(last)) = (stretch.first(), stretch.last()) {
                self.events.note(day, first.seq, last.seq);
            }
        }
        Ok(())
    }

    fn write_history(
        &self,
        shared: &Shared,
        writers: &mut Writers,
        finished: &[&Row],
        job: &ArchiveJob,
    ) -> Result<(), ArchiveError> {
        let done = |row: &Row| row.life.done_at.known().unwrap_or(row.message.accepted_at);
        let mut days: BTreeMap<u64, Vec<&Row>> = BTreeMap::new();
        for row in finished {
            let day = Kind::History.span(done(row));
            days.entry(day).or_default().push(row);
        }
        let schema = history::schema(shared.ids);
        let seg = job.generation.number / GENERATIONS_PER_SEGMENT;
        for (day, rows) in days {
            // Texts first: a message that is found has its text.
            let name = Kind::Content.name(day);
            writers.fill(&name, history::CONTENT_SCHEMA, |connection| {
                history::write_content(connection, &rows)
            })?;
            self.content.write().insert(day);
            writers.fill(&Kind::History.name(day), &schema, |connection| {
                history::write(connection, &rows, (job.as_of, seg), &shared.names)
            })?;
            self.history.write().insert(day);
            self.leave_earlier_days(writers, &schema, day, &rows)?;
        }
        Ok(())
    }

    /// A message that was finished before and has changed since stands in its last day alone.
    fn leave_earlier_days(
        &self,
        writers: &mut Writers,
        schema: &str,
        day: u64,
        rows: &[&Row],
    ) -> Result<(), ArchiveError> {
        let stored = |row: &&&Row| row.stored;
        let made = |row: &&Row| Kind::History.span(row.message.id.made_at());
        let Some(first) = rows.iter().filter(stored).map(made).min() else {
            return Ok(());
        };
        let ids = |from: u64| -> Vec<i64> {
            let late = rows.iter().filter(|row| row.stored && made(row) <= from);
            late.map(|row| int(row.message.id.0)).collect()
        };
        if first >= day {
            return Ok(());
        }
        let earlier: Vec<u64> = self.history.read().range(first..day).copied().collect();
        for from in earlier {
            writers.fill(&Kind::History.name(from), schema, |connection| {
                history::delete(connection, &ids(from), "messages")
            })?;
            if self.content.read().contains(&from) {
                let name = Kind::Content.name(from);
                writers.fill(&name, history::CONTENT_SCHEMA, |connection| {
                    history::delete(connection, &ids(from), "content")
                })?;
            }
        }
        Ok(())
    }

    fn write_keys(
        &self,
        shared: &Shared,
        writers: &mut Writers,
        generation: &Generation,
    ) -> Result<(), ArchiveError> {
        let mut hours: BTreeMap<u64, Vec<KeyEntry<16, 16>>> = BTreeMap::new();
        for (key, (fingerprint, id)) in &generation.keys {
            let hour = Kind::Idempotency.span(id.made_at());
            hours.entry(hour).or_default().push(KeyEntry {
                key: *key,
                id: *id,
                extra: *fingerprint,
            });
        }
        for (hour, mut entries) in hours {
            entries.sort_unstable();
            let name = Kind::Idempotency.name(hour);
            let filters = writers.fill(&name, keys_file::SCHEMA, |connection| {
                self.idempotency.write(connection, hour, &entries)
            })?;
            self.idempotency.put(hour, filters);
        }
        if generation.carriers.is_empty() {
            return Ok(());
        }
        let entry = |(key, (id, part)): (u64, (_, u8))| KeyEntry {
            key: key.to_be_bytes(),
            id,
            extra: [part],
        };
        let mut entries: Vec<KeyEntry<8, 1>> = generation.carriers.iter().map(entry).collect();
        entries.sort_unstable();
        let day = Kind::Carriers.span(shared.clock.now());
        let name = Kind::Carriers.name(day);
        let filters = writers.fill(&name, keys_file::SCHEMA, |connection| {
            self.carriers.write(connection, day, &entries)
        })?;
        self.carriers.put(day, filters);
        Ok(())
    }

    /// Writes what happened to suppressions; tells the batch as of which their file stands then.
    fn write_suppressions(
        &self,
        writers: &mut Writers,
        job: &ArchiveJob,
    ) -> Result<u64, ArchiveError> {
        if job.suppressions.is_empty() {
            return Ok(self.suppressed_as_of());
        }
        writers.fill(SUPPRESSIONS, suppressed::SCHEMA, |connection| {
            suppressed::write(connection, &job.suppressions, job.as_of)
        })?;
        self.set_suppressed_as_of(job.as_of);
        Ok(job.as_of)
    }

    fn write_pending(
        &self,
        shared: &Shared,
        writers: &mut Writers,
        (finished, unfinished): (&[&Row], &[&Row]),
        job: &ArchiveJob,
    ) -> Result<(), ArchiveError> {
        let with_deadline = |row: &&'_ Row| deadline(shared, &row.message, &row.life);
        let unfinished: Vec<(&Row, Option<UnixMs>)> = unfinished
            .iter()
            .map(|row| (*row, with_deadline(row)))
            .collect();
        let stored = finished.iter().filter(|row| row.stored);
        let finished: Vec<i64> = stored.map(|row| int(row.message.id.0)).collect();
        let work = pending::Work {
            unfinished: &unfinished,
            finished: &finished,
            as_of: job.as_of,
            seg: job.generation.number / GENERATIONS_PER_SEGMENT,
        };
        writers.fill(PENDING, &pending::schema(), |connection| {
            pending::write(connection, &work)
        })
    }
}
