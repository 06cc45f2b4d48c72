//! Verifying and exporting a directory offline: `trunkline store check` and `store export`.
//!
//! Both read everything and repair nothing. SQLite may create its `-shm` files beside what it reads.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use crate::clock::UnixMs;
use crate::message::life::Life;
use crate::message::{Ids, MessageId, Text};
use crate::store::Record;
use crate::store::archive::file::{self, Kind, PENDING};
use crate::store::archive::suppressed::SUPPRESSIONS;
use crate::store::archive::{Archive, history, keys_file, pending};
use crate::store::journal::{self, JournalError, Known, Walk};
use crate::store::open::{self, OpenError};
use crate::store::record::{BlobError, Op, Reading};
use crate::store::state::{self, STATE, Snapshot};

mod inbound;
mod pushed;
mod suppressed;

/// Lines about one file, at most: the first ones tell enough.
const LINES_MAX: usize = 10;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The files looked at.
    pub files: u64,
    /// Journal batches read, with a good checksum.
    pub batches: u64,
    /// The first and the last of them.
    pub first_batch: Option<u64>,
    /// The last one.
    pub last_batch: Option<u64>,
    /// The last batch known, from a second place, to have been acknowledged.
    pub acknowledged: Option<u64>,
    /// The last batch whose accepts are archived.
    pub archived: Option<u64>,
    /// Whether the journal ends with a part of a commit that was never acknowledged: the next start
    /// discards it. That is no damage.
    pub torn_tail: bool,
    /// What is damaged or missing. Empty: the directory is sound.
    pub damaged: Vec<Damage>,
}

impl CheckReport {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty()
    }

    fn damage(&mut self, path: &Path, batch: Option<u64>, what: impl ToString) {
        self.damaged.push(Damage {
            path: path.to_owned(),
            batch,
            what: what.to_string(),
        });
    }
}

/// One damaged place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The journal's batch, if it is one.
    pub batch: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.path.display())?;
        if let Some(batch) = self.batch {
            write!(out, "batch {batch}: ")?;
        }
        out.write_str(&self.what)
    }
}

impl From<JournalError> for Damage {
    fn from(error: JournalError) -> Self {
        let (path, batch, what) = match error {
            JournalError::Damaged {
                path,
                batch,
                behind,
                why,
                ..
            } => {
                let what = format!("{why}; {behind} later batches are behind it");
                (path, Some(batch), what)
            }
            JournalError::Missing {
                path,
                place,
                first,
                last,
                behind,
                ..
            } => {
                let what = format!(
                    "batches {first} to {last} are missing: {place}; {behind} later batches are \
                     behind them"
                );
                (path, Some(first), what)
            }
            JournalError::Older {
                state,
                known,
                path,
                batch,
                epoch,
                ..
            } => {
                let what = format!(
                    "it is older than the journal, or its -wal is gone or damaged: it knows no \
                     epoch after {known}, and batch {batch} in {} was written by epoch {epoch}",
                    path.display()
                );
                (state, None, what)
            }
            JournalError::Io { path, why } => (path, None, why.to_string()),
            JournalError::Directory { path, why } => (path, None, why.to_string()),
            JournalError::Full => (PathBuf::new(), None, JournalError::Full.to_string()),
        };
        Self { path, batch, what }
    }
}

/// What an export wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExportReport {
    /// Messages written.
    pub messages: u64,
    /// Messages from handsets written, those that still wait for parts among them.
    pub inbound: u64,
    /// Suppressions written, those that have ended and are still kept among them.
    pub suppressions: u64,
    /// What could not be read.
    pub damaged: Vec<Damage>,
}

/// Verifies a directory: the journal's checksums and its contiguity, and every archive file.
///
/// # Errors
/// [`OpenError::Locked`] while a gateway has it open; [`OpenError::Directory`] when it cannot be
/// listed; [`OpenError::NotAStore`]. Damage is no error: the report has it.
pub fn check(directory: &Path) -> Result<CheckReport, OpenError> {
    let _lock = open::lock_offline(directory)?;
    let mut report = CheckReport::default();
    let names = names(directory)?;
    let facts = check_state(directory, &mut report)?;
    read_journal(directory, &facts, &mut report, |_, _| ())?;
    for name in names {
        let own = [PENDING, SUPPRESSIONS].contains(&name.as_str());
        if own || Kind::ALL.iter().any(|kind| kind.span_of(&name).is_some()) {
            report.files += 1;
            let sound = quick_check(directory, &name, &mut report);
            // Otherwise the pages that do not read have been told.
            if sound && is_messages(&name) {
                let wrong = each_archived(directory, &name, |_| ());
                for what in wrong.into_iter().take(LINES_MAX) {
                    report.damage(&directory.join(&name), None, what);
                }
            }
            if sound && inbound::is_inbound(&name) {
                let wrong = inbound::each(directory, &name, |_| ());
                for what in wrong.into_iter().take(LINES_MAX) {
                    report.damage(&directory.join(&name), None, what);
                }
            }
            if sound && name == SUPPRESSIONS {
                let wrong = suppressed::each(directory, |_| ());
                for what in wrong.into_iter().take(LINES_MAX) {
                    report.damage(&directory.join(&name), None, what);
                }
            }
            if sound && is_keys(&name) {
                let path = directory.join(&name);
                let probed = file::open_for_reading(&path)
                    .and_then(|connection| keys_file::probe(&connection));
                if let Err(error) = probed {
                    report.damage(&path, None, error.to_string());
                }
            }
        }
    }
    Ok(report)
}

/// Reads the journal as a start does, and goes on behind what is damaged.
fn read_journal(
    directory: &Path,
    facts: &StateFacts,
    report: &mut CheckReport,
    each: impl FnMut(u64, Op),
) -> Result<(), OpenError> {
    let files = journal::files(directory)?;
    report.files += u64::try_from(files.len()).unwrap_or(0);
    let done = facts.snapshot.as_ref().map_or(0, |snapshot| snapshot.batch);
    let known = Known {
        done,
        acknowledged: facts.acknowledged.unwrap_or(0).max(done),
        // Without the state database, which says why by itself, no epoch is too high.
        epoch: facts.epoch.unwrap_or(u64::MAX),
    };
    let mut reading = ReadAll { report, each };
    let (_, replayed) = journal::walk(directory, &files, known, &mut reading)?;
    report.torn_tail = replayed.torn_tail;
    Ok(())
}

/// Reads everything there is, and notes what is wrong.
struct ReadAll<'a, F> {
    report: &'a mut CheckReport,
    each: F,
}

impl<F: FnMut(u64, Op)> Walk for ReadAll<'_, F> {
    fn batch(&mut self, mut reading: Reading<'_>) -> Result<(), BlobError> {
        let batch = reading.batch;
        while let Some(op) = reading.next()? {
            (self.each)(batch, op);
        }
        let report = &mut self.report;
        report.batches += 1;
        report.first_batch = report.first_batch.or(Some(batch));
        report.last_batch = Some(batch);
        Ok(())
    }

    fn wrong(&mut self, error: JournalError) -> Result<(), JournalError> {
        self.report.damaged.push(error.into());
        Ok(())
    }
}

fn names(directory: &Path) -> Result<Vec<String>, OpenError> {
    file::names(directory).map_err(|why| OpenError::Directory {
        path: directory.to_owned(),
        why,
    })
}

/// Reads the state database, and tells what it and pending lack.
fn check_state(directory: &Path, report: &mut CheckReport) -> Result<StateFacts, OpenError> {
    let path = directory.join(STATE);
    report.files += 1;
    if let Some(what) = open::state_lost(directory)? {
        report.damage(&path, None, what);
        return Ok(StateFacts::default());
    }
    let facts = match state_facts(&path) {
        Ok(facts) => facts,
        Err(error) => {
            report.damage(&path, None, error);
            return Ok(StateFacts::default());
        }
    };
    quick_check(directory, STATE, report);
    report.acknowledged = facts.acknowledged;
    report.archived = facts.snapshot.as_ref().map(|snapshot| snapshot.batch);
    let as_of = facts.snapshot.as_ref().map_or(0, |snapshot| snapshot.as_of);
    let pending = directory.join(PENDING);
    if as_of > 0 && !pending.exists() {
        report.damage(&pending, None, open::PENDING_GONE);
    } else if as_of > 0 {
        let known = file::open_for_reading(&pending).and_then(|connection| {
            match connection.table_exists(None, "meta")? {
                true => pending::number(&connection, "as_of"),
                false => Ok(None),
            }
        });
        // What SQLite cannot read is told when the file's turn comes.
        if known.is_ok_and(|known| file::uint(known.unwrap_or(0)) < as_of) {
            report.damage(&pending, None, open::PENDING_OLD);
        }
    }
    let suppressed = facts.snapshot.as_ref().map_or(0, |one| one.suppressed);
    let path = directory.join(SUPPRESSIONS);
    if suppressed > 0 && !path.exists() {
        report.damage(&path, None, open::SUPPRESSIONS_GONE);
    } else if suppressed > 0 {
        let known = file::open_for_reading(&path).and_then(|c| suppressed::as_of(&c));
        if known.is_ok_and(|known| known < suppressed) {
            report.damage(&path, None, open::SUPPRESSIONS_OLD);
        }
    }
    Ok(facts)
}

/// What the state database says.
#[derive(Default)]
struct StateFacts {
    acknowledged: Option<u64>,
    snapshot: Option<Snapshot>,
    node: Option<u64>,
    epoch: Option<u64>,
    /// Their names, by index.
    tenants: Vec<String>,
}

fn state_facts(path: &Path) -> rusqlite::Result<StateFacts> {
    let connection = file::open_for_reading(path)?;
    let number = |key: &str| -> rusqlite::Result<Option<u64>> {
        let found: Option<i64> = connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                row.get(0)
            })
            .optional()?;
        Ok(found.map(file::uint))
    };
    let snapshot: Option<Vec<u8>> = connection
        .query_row("SELECT value FROM meta WHERE key = 'snapshot'", [], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(StateFacts {
        acknowledged: number("acknowledged")?,
        snapshot: snapshot.and_then(|blob| postcard::from_bytes(&blob).ok()),
        node: number("node")?,
        epoch: number("epoch")?,
        // Only shown; what else is wrong with the file is told.
        tenants: state::names(&connection, "tenant").unwrap_or_default(),
    })
}

/// Lets SQLite check a file. Tells whether it is sound.
fn quick_check(directory: &Path, name: &str, report: &mut CheckReport) -> bool {
    let before = report.damaged.len();
    let path = directory.join(name);
    let lines = || -> rusqlite::Result<Vec<String>> {
        let connection = file::open_for_reading(&path)?;
        let mut check = connection.prepare(&format!("PRAGMA quick_check({LINES_MAX})"))?;
        check.query_map([], |row| row.get(0))?.collect()
    };
    match lines() {
        Ok(lines) => {
            for line in lines.into_iter().filter(|line| line != "ok") {
                report.damage(&path, None, line);
            }
        }
        Err(error) => report.damage(&path, None, error),
    }
    report.damaged.len() == before
}

/// One exported message.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    to: String,
    from: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    push: Option<&'a serde_json::value::RawValue>,
    #[serde(flatten)]
    targets: pushed::Targets<'a>,
    status: &'a str,
    class: &'a str,
    client_ref: &'a str,
    tags: &'a str,
    metadata: &'a str,
    accepted_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    source: &'a str,
}

/// Writes every readable message as one JSON line: from history, then pending, then the journal, each
/// message as it stands in the youngest of them; then the messages from handsets, which have an
/// `inbound_id` in place of an `id`, and the suppressions, which have a `suppression_id`. What is
/// damaged is left out and named.
///
/// # Errors
/// [`OpenError`]: the directory is in use or cannot be listed, or `out` cannot be written.
pub fn export(directory: &Path, out: &Path) -> Result<ExportReport, OpenError> {
    let _lock = open::lock_offline(directory)?;
    let mut report = CheckReport::default();
    let facts = check_state(directory, &mut report)?;
    let ids = Ids::new(facts.node.unwrap_or(0));
    let names = names(directory)?;
    // Journaled messages are held in memory: as many as the gateway itself would hold.
    let (journaled, received, listed) = from_journal(directory, &facts, &mut report)?;
    let wrong = |why| OpenError::Directory {
        path: out.to_owned(),
        why,
    };
    let mut writer = BufWriter::new(File::create(out).map_err(wrong)?);
    let mut messages = 0;
    let mut put = |record: &Record, source: &str| -> io::Result<()> {
        messages += 1;
        write_line(&mut writer, ids, record, source)
    };
    for name in names.iter().filter(|name| is_messages(name)) {
        let mut failed = Ok(());
        let read = each_archived(directory, name, |record| {
            if failed.is_ok() && !journaled.contains_key(&record.message.id) {
                failed = put(&record, name);
            }
        });
        failed.map_err(wrong)?;
        for what in read {
            report.damage(&directory.join(name), None, what);
        }
    }
    for record in journaled.values() {
        put(record, "journal").map_err(wrong)?;
    }
    let mut inbound = 0;
    for name in names.iter().filter(|name| inbound::is_inbound(name)) {
        let mut failed = Ok(());
        let read = inbound::each(directory, name, |one| {
            if failed.is_ok() && !received.has(one.id) {
                inbound += 1;
                failed = inbound::write_line(&mut writer, ids, &one, name);
            }
        });
        failed.map_err(wrong)?;
        for what in read {
            report.damage(&directory.join(name), None, what);
        }
    }
    inbound += received.write(&mut writer, ids).map_err(wrong)?;
    let mut lines = suppressed::Lines::new(&mut writer, ids, &facts.tenants);
    if names.iter().any(|name| name == SUPPRESSIONS) {
        let read = suppressed::each(directory, |record| lines.archived(record, &listed));
        for what in read {
            report.damage(&directory.join(SUPPRESSIONS), None, what);
        }
    }
    let suppressions = lines.journaled(&listed).map_err(wrong)?;
    writer.flush().map_err(wrong)?;
    writer.get_ref().sync_all().map_err(wrong)?;
    Ok(ExportReport {
        messages,
        inbound,
        suppressions,
        damaged: report.damaged,
    })
}

fn is_keys(name: &str) -> bool {
    [Kind::Idempotency, Kind::Carriers]
        .iter()
        .any(|kind| kind.span_of(name).is_some())
}

fn is_messages(name: &str) -> bool {
    name == PENDING || Kind::History.span_of(name).is_some()
}

/// Calls `each` for every readable message of an archive file. Tells what could not be read: the
/// rows around a damaged page are reached from the other end.
fn each_archived(directory: &Path, name: &str, mut each: impl FnMut(Record)) -> Vec<String> {
    let connection = match file::open_for_reading(&directory.join(name)) {
        Ok(connection) => connection,
        Err(error) => return vec![error.to_string()],
    };
    // Without the table, the process ended between creating the file and its first commit.
    if let Ok(false) = connection.table_exists(None, "messages") {
        return Vec::new();
    }
    let content = Kind::History.span_of(name).and_then(|day| {
        let path = directory.join(Kind::Content.name(day));
        path.exists().then(|| file::open_for_reading(&path).ok())?
    });
    let mut wrong = Vec::new();
    let mut one = |id: MessageId, wrong: &mut Vec<String>| {
        let found = if name == PENDING {
            pending::read(&connection, id)
        } else {
            history::read(&connection, id)
        };
        match found {
            Ok(Some((record, _))) => each(with_text(record, content.as_ref())),
            Ok(None) => {}
            Err(error) => wrong.push(format!("message {}: {error}", id.0)),
        }
    };
    let mut last = 0;
    let forward = each_id(&connection, "id > ?1 ORDER BY id", 0, |id| {
        last = id.0;
        one(id, &mut wrong);
    });
    if let Err(error) = forward {
        wrong.push(format!("after message {last}: {error}"));
        let back = "id > ?1 ORDER BY id DESC";
        // Ends at the damage with an error that is known already.
        drop(each_id(&connection, back, last, |id| one(id, &mut wrong)));
    }
    wrong
}

fn each_id(
    connection: &Connection,
    which: &str,
    after: u64,
    mut each: impl FnMut(MessageId),
) -> rusqlite::Result<()> {
    let mut select = connection.prepare(&format!("SELECT id FROM messages WHERE {which}"))?;
    let mut rows = select.query([file::int(after)])?;
    while let Some(row) = rows.next()? {
        each(MessageId(file::uint(row.get(0)?)));
    }
    Ok(())
}

fn with_text(record: Record, content: Option<&Connection>) -> Record {
    let Some(content) = content else {
        return record;
    };
    let texts = history::read_content(content, &[record.message.id]);
    match texts.ok().and_then(|mut texts| texts.pop().flatten()) {
        Some((text, push)) => history::with_content(record, (&text, &push)),
        None => record,
    }
}

/// What the journal has.
type Journaled = (
    BTreeMap<MessageId, Record>,
    inbound::Journaled,
    suppressed::Journaled,
);

/// The messages of the journal, with all readable changes; archived ones that have changed since; and
/// what it has of handsets' messages and of suppressions.
fn from_journal(
    directory: &Path,
    facts: &StateFacts,
    report: &mut CheckReport,
) -> Result<Journaled, OpenError> {
    let mut records: BTreeMap<MessageId, Record> = BTreeMap::new();
    let snapshot = facts.snapshot.clone().unwrap_or_default();
    let mut received = inbound::Journaled::new(&snapshot);
    let mut listed = suppressed::Journaled::new(&snapshot);
    // A damaged archive file is named when its turn comes.
    let archive = Archive::open_offline(directory, &snapshot).ok();
    let older = |id, batch| {
        archive
            .as_ref()
            .and_then(|archive| archive.older(id, batch))
    };
    read_journal(directory, facts, report, |batch, op| match op {
        Op::Accept { message, .. } if batch > snapshot.batch => {
            let life = Life::begin(&message);
            let (id, message) = (message.id, message.into());
            records.insert(id, Record { message, life });
        }
        Op::Change { id, change } => {
            let known = records.get_mut(&id).map(|record| &mut record.life);
            if let Some(life) = known {
                life.apply(change);
            } else if let Some(mut record) = older(id, batch) {
                record.life.apply(change);
                records.insert(id, record);
            }
        }
        Op::Suppress { .. } | Op::Unsuppress { .. } => listed.op(batch, op),
        other => received.op(batch, other),
    })?;
    Ok((records, received, listed))
}

fn write_line(out: &mut impl Write, ids: Ids, record: &Record, source: &str) -> io::Result<()> {
    let (message, life) = (&record.message, &record.life);
    let time = |at: UnixMs| at.known().map(|at| at.to_string());
    let line = Line {
        id: ids.message(message.id).to_string(),
        to: message
            .to
            .known()
            .map(|to| to.to_string())
            .unwrap_or_default(),
        from: message.text(Text::From),
        text: message.text(Text::Body),
        push: crate::event::render::raw(message.text(Text::Push)),
        targets: pushed::Targets::of(message, life),
        status: life.status.name(),
        class: message.class.name(),
        client_ref: message.text(Text::ClientRef),
        tags: message.text(Text::Tags),
        metadata: message.text(Text::Metadata),
        accepted_at: message.accepted_at.to_string(),
        sent_at: time(life.sent_at),
        done_at: time(life.done_at),
        reason: life.reason.map(|reason| reason.code()),
        source,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::Store;
    use crate::store::tests::{TempDir, accepted, config, delivered, draft};

    async fn filled(dir: &TempDir) {
        let (store, _) = Store::open(config(dir), Clock::system()).unwrap();
        let drafts = (0..3).map(|number| draft(number, 1)).collect();
        let ids: Vec<MessageId> = (store.accept(drafts).await.unwrap().into_iter())
            .map(|accepted| match accepted {
                crate::store::Accepted::Stored(message) => message.id,
                other => panic!("{other:?}"),
            })
            .collect();
        store
            .settle(vec![accepted(ids[0], 0, "p0"), accepted(ids[1], 0, "p1")])
            .await
            .unwrap();
        store.apply_receipts(vec![delivered("p0")]).await.unwrap();
        store.archive_now().await;
        // One finished, one sent, one queued are archived; the sent one is delivered afterwards.
        store.apply_receipts(vec![delivered("p1")]).await.unwrap();
        store.accept(vec![draft(4, 1)]).await.unwrap();
        store.close();
    }

    #[tokio::test]
    async fn a_sound_directory_is_sound_and_exports_each_message_once() {
        let dir = TempDir::new();
        filled(&dir).await;
        let report = check(&dir.0).unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert!(report.batches > 0 && report.archived > Some(0));
        let out = dir.0.join("out.ndjson");
        let exported = export(&dir.0, &out).unwrap();
        assert_eq!((exported.messages, exported.damaged), (4, vec![]));
        let text = std::fs::read_to_string(&out).unwrap();
        let mut status: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .inspect(|line| assert_eq!(line["text"], "hello"))
            .map(|line| line["status"].as_str().unwrap().to_owned())
            .collect();
        status.sort();
        assert_eq!(status, ["delivered", "delivered", "queued", "queued"]);
    }

    #[tokio::test]
    async fn damage_is_named_and_the_rest_exported() {
        let dir = TempDir::new();
        filled(&dir).await;
        let history = file::names(&dir.0).unwrap();
        let history = history
            .iter()
            .find(|name| name.starts_with("history-"))
            .unwrap();
        let path = dir.0.join(history);
        let mut bytes = std::fs::read(&path).unwrap();
        // The last page's head: whatever tree it belongs to is damaged.
        let page = bytes.len() - 4096;
        bytes[page..page + 64].fill(0xFF);
        bytes[4096..4160].fill(0xFF);
        std::fs::write(&path, bytes).unwrap();
        let report = check(&dir.0).unwrap();
        assert!(!report.is_sound());
        assert!(
            report.damaged.iter().all(|damage| damage.path == path),
            "{report:?}"
        );
        let exported = export(&dir.0, &dir.0.join("out.ndjson")).unwrap();
        assert!(exported.damaged.iter().any(|damage| damage.path == path));
        assert!(exported.messages >= 3, "all but history: {exported:?}");
    }
}
