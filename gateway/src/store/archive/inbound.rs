//! Archived messages from handsets: by day, kept as long as the events that are rendered from them; what
//! they say stands with the texts of our own messages, whose retention is shorter.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use rusqlite::{Connection, OptionalExtension, params};

use crate::inbound::{Inbound, Piece};
use crate::message::MessageId;
use crate::names::Names;
use crate::store::archive::Archive;
use crate::store::archive::file::{ArchiveError, Kind, int, uint};
use crate::store::archive::history::CONTENT_SCHEMA;
use crate::store::archive::write::Writers;
use crate::store::shared::{ArchiveJob, Shared};

/// The schema of a file. The columns are for people with SQLite; `detail` is what is read back.
pub(crate) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS inbound (
   id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, route TEXT NOT NULL, sender TEXT NOT NULL,
   recipient TEXT NOT NULL, received_at INTEGER NOT NULL, parts INTEGER NOT NULL,
   missing INTEGER NOT NULL, keyword TEXT, detail BLOB NOT NULL) STRICT;";

/// Days with a file.
pub(crate) type Days = RwLock<std::collections::BTreeSet<u64>>;

/// Writes messages, sorted by id. One that is there is replaced.
fn write(connection: &Connection, all: &[&Arc<Inbound>], names: &Names) -> rusqlite::Result<()> {
    let mut insert = connection
        .prepare_cached("INSERT OR REPLACE INTO inbound VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)")?;
    let mut blob = Vec::with_capacity(512);
    for inbound in all {
        blob.clear();
        blob = postcard::to_extend(&without_content(inbound), blob)
            .expect("invariant: an inbound message is plain data");
        insert.execute(params![
            int(inbound.id.0),
            names.tenant(inbound.tenant),
            names.route(inbound.route),
            inbound.from,
            inbound.to,
            int(inbound.received_at.0),
            inbound.total(),
            u8::try_from(inbound.missing().count()).unwrap_or(u8::MAX),
            inbound.told_keyword(),
            blob,
        ])?;
    }
    Ok(())
}

/// A message without what it says.
fn without_content(inbound: &Inbound) -> Inbound {
    let bare = |piece: &Piece| Piece {
        octets: Box::default(),
        tlvs: piece.tlvs.clone(),
        ..*piece
    };
    Inbound {
        text: None,
        pieces: inbound.pieces.iter().map(bare).collect(),
        from: inbound.from.clone(),
        to: inbound.to.clone(),
        encoding: inbound.encoding.clone(),
        keyword: inbound.keyword.clone(),
        own_keyword: inbound.own_keyword.clone(),
        ..*inbound
    }
}

/// Writes what messages say. One that is there is replaced.
fn write_content(connection: &Connection, all: &[&Arc<Inbound>]) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO inbound VALUES (?1, ?2, ?3)")?;
    for inbound in all {
        let octets: Vec<&[u8]> = inbound.pieces.iter().map(|piece| &*piece.octets).collect();
        let octets = postcard::to_stdvec(&octets).expect("invariant: octets are plain data");
        insert.execute(params![int(inbound.id.0), inbound.text, octets])?;
    }
    Ok(())
}

/// Gives a message back what it says, if that is still there.
fn add_content(connection: &Connection, inbound: &mut Inbound) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached("SELECT text, octets FROM inbound WHERE id = ?1")?;
    let content = select.query_row([int(inbound.id.0)], |row| {
        let text: Option<Box<str>> = row.get(0)?;
        let octets: Vec<Box<[u8]>> = plain(row.get_ref(1)?.as_blob()?)?;
        Ok((text, octets))
    });
    if let Some((text, octets)) = content.optional()? {
        inbound.text = text;
        for (piece, octets) in inbound.pieces.iter_mut().zip(octets) {
            piece.octets = octets;
        }
    }
    Ok(())
}

/// Reads one message, without what it says.
pub(crate) fn read(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<Inbound>> {
    connection
        .prepare_cached("SELECT detail FROM inbound WHERE id = ?1")?
        .query_row([int(id.0)], |row| decode(row.get_ref(0)?.as_blob()?))
        .optional()
}

/// Calls `each` for every message of a file that can be read, with what it says as far as `content`, the
/// content file of its day, has it; tells of those that cannot.
pub(crate) fn each(
    connection: &Connection,
    content: Option<&Connection>,
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
            Ok(mut inbound) => {
                let added = content.map(|content| add_content(content, &mut inbound));
                if let Some(Err(error)) = added {
                    wrong.push(format!("the text of inbound {}: {error}", inbound.id.0));
                }
                each(inbound);
            }
            Err(error) => wrong.push(format!("inbound {}: {error}", uint(row.get(0)?))),
        }
    }
    Ok(wrong)
}

fn decode(blob: &[u8]) -> rusqlite::Result<Inbound> {
    plain(blob)
}

fn plain<'a, T: serde::Deserialize<'a>>(blob: &'a [u8]) -> rusqlite::Result<T> {
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
            // Texts first: a message that is found has its text.
            let content = Kind::Content.name(day);
            writers.fill(&content, CONTENT_SCHEMA, |connection| {
                write_content(connection, &all)
            })?;
            self.content.write().insert(day);
            writers.fill(&Kind::Inbound.name(day), SCHEMA, |connection| {
                write(connection, &all, &shared.names)
            })?;
            self.inbound.write().insert(day);
        }
        Ok(())
    }

    /// Gives those of a day what they say, as long as that is kept.
    fn add_content(&self, day: u64, read: &mut [Inbound]) {
        if read.is_empty() || !self.content.read().contains(&day) {
            return;
        }
        self.pool.read(&Kind::Content.name(day), |connection| {
            let mut all = read.iter_mut();
            all.try_for_each(|inbound| add_content(connection, inbound))
        });
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
            let mut read: Vec<Inbound> = self.pool.read(&Kind::Inbound.name(day), |connection| {
                let mut found = Vec::new();
                for id in &here {
                    found.extend(read(connection, *id)?);
                }
                Ok(found)
            });
            self.add_content(day, &mut read);
            left.retain(|id| read.iter().all(|inbound| inbound.id != *id));
            found.extend(read);
        }
        found
    }
}
