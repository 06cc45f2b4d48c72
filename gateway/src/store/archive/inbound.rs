//! Archived messages from handsets: by day, kept as long as the events that are rendered from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use rusqlite::{Connection, OptionalExtension, params};

use crate::inbound::Inbound;
use crate::message::MessageId;
use crate::names::Names;
use crate::store::archive::Archive;
use crate::store::archive::file::{ArchiveError, Kind, int, uint};
use crate::store::archive::write::Writers;
use crate::store::shared::{ArchiveJob, Shared};

/// The schema of a file. The columns are for people with SQLite; `detail` is what is read back.
pub(crate) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS inbound (
   id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, route TEXT NOT NULL, sender TEXT NOT NULL,
   recipient TEXT NOT NULL, text TEXT, received_at INTEGER NOT NULL, parts INTEGER NOT NULL,
   missing INTEGER NOT NULL, keyword TEXT, detail BLOB NOT NULL) STRICT;";

/// Days with a file.
pub(crate) type Days = RwLock<std::collections::BTreeSet<u64>>;

/// Writes messages, sorted by id. One that is there is replaced.
fn write(connection: &Connection, all: &[&Arc<Inbound>], names: &Names) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO inbound VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
    )?;
    let mut blob = Vec::with_capacity(512);
    for inbound in all {
        blob.clear();
        blob = postcard::to_extend(inbound.as_ref(), blob)
            .expect("invariant: an inbound message is plain data");
        insert.execute(params![
            int(inbound.id.0),
            names.tenant(inbound.tenant),
            names.route(inbound.route),
            inbound.from,
            inbound.to,
            inbound.text,
            int(inbound.received_at.0),
            inbound.total(),
            u8::try_from(inbound.missing().count()).unwrap_or(u8::MAX),
            inbound.told_keyword(),
            blob,
        ])?;
    }
    Ok(())
}

/// Reads one message.
pub(crate) fn read(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<Inbound>> {
    connection
        .prepare_cached("SELECT detail FROM inbound WHERE id = ?1")?
        .query_row([int(id.0)], |row| decode(row.get_ref(0)?.as_blob()?))
        .optional()
}

/// Calls `each` for every message of a file that can be read; tells of those that cannot.
pub(crate) fn each(
    connection: &Connection,
    mut each: impl FnMut(Inbound),
) -> rusqlite::Result<Vec<String>> {
    let mut wrong = Vec::new();
    // Without the table, the process ended between creating the file and its first commit.
    if !connection.table_exists(None, "inbound")? {
        return Ok(wrong);
    }
    let mut select = connection.prepare("SELECT id, detail FROM inbound ORDER BY id")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        match decode(row.get_ref(1)?.as_blob()?) {
            Ok(inbound) => each(inbound),
            Err(error) => wrong.push(format!("inbound {}: {error}", uint(row.get(0)?))),
        }
    }
    Ok(wrong)
}

fn decode(blob: &[u8]) -> rusqlite::Result<Inbound> {
    postcard::from_bytes(blob).map_err(|error| {
        let kind = rusqlite::types::Type::Blob;
        rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(error))
    })
}

impl Archive {
    /// Writes a generation's messages from handsets. May be repeated.
    pub(super) fn write_inbound(
        &self,
        shared: &Shared,
        writers: &mut Writers,
        job: &ArchiveJob,
    ) -> Result<(), ArchiveError> {
        let mut days: BTreeMap<u64, Vec<&Arc<Inbound>>> = BTreeMap::new();
        for inbound in job.generation.inbound.values() {
            let day = Kind::Inbound.span(inbound.received_at);
            days.entry(day).or_default().push(inbound);
        }
        for (day, mut all) in days {
            all.sort_unstable_by_key(|inbound| inbound.id);
            writers.fill(&Kind::Inbound.name(day), SCHEMA, |connection| {
                write(connection, &all, &shared.names)
            })?;
            self.inbound.write().insert(day);
        }
        Ok(())
    }

    /// Reads messages from handsets. In no order; unknown ones are left out.
    pub(crate) fn inbound(&self, ids: &[MessageId]) -> Vec<Inbound> {
        let mut left = ids.to_vec();
        left.sort_unstable();
        left.dedup();
        let days: Vec<u64> = self.inbound.read().iter().copied().collect();
        let mut found = Vec::new();
        for day in days {
            // Nothing is whole before its first part came.
            let here: Vec<MessageId> = left
                .iter()
                .copied()
                .filter(|id| Kind::Inbound.span(id.made_at()) <= day)
                .collect();
            if here.is_empty() {
                continue;
            }
            let read: Vec<Inbound> = self.pool.read(&Kind::Inbound.name(day), |connection| {
                let mut found = Vec::new();
                for id in &here {
                    found.extend(read(connection, *id)?);
                }
                Ok(found)
            });
            left.retain(|id| read.iter().all(|inbound| inbound.id != *id));
            found.extend(read);
        }
        found
    }
}
