//! Pending: unfinished messages that have left memory. No retention ever touches them.

use rusqlite::{Connection, OptionalExtension, params};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

use crate::clock::UnixMs;
use crate::message::life::Life;
use crate::message::{Message, MessageId, RouteIx, TenantIx};
use crate::store::Record;
use crate::store::archive::file::{int, uint};
use crate::store::archive::history::{LOOKUP, write_lookup};
use crate::store::depths::{self, Place, Places};
use crate::store::young::Row;

/// The schema: rows, the queue in its order, deadlines, intents (`out`), and the lookup table. A
/// message that has left leaves its lookup entries behind; a segment goes as a whole. `queued` is how
/// many places a message has in the queue; `route` and `ord` are those of the first one, which need not be
/// its first leg's: that may have ended.
pub(crate) fn schema() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS messages (
           id INTEGER PRIMARY KEY, as_of INTEGER NOT NULL, status TEXT NOT NULL, route INTEGER,
           lane INTEGER NOT NULL, ord INTEGER NOT NULL, queued INTEGER NOT NULL,
           deadline INTEGER, out INTEGER NOT NULL, tenant INTEGER NOT NULL,
           record BLOB NOT NULL) STRICT;
         CREATE INDEX IF NOT EXISTS deadlines ON messages (deadline) WHERE deadline IS NOT NULL;
         CREATE INDEX IF NOT EXISTS intents ON messages (id) WHERE out = 1;
         CREATE TABLE IF NOT EXISTS queue (
           route INTEGER NOT NULL, lane INTEGER NOT NULL, tenant INTEGER NOT NULL,
           ord INTEGER NOT NULL, id INTEGER NOT NULL,
           PRIMARY KEY (route, lane, tenant, ord, id)) STRICT, WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS depths (
           route INTEGER NOT NULL, lane INTEGER NOT NULL, tenant INTEGER NOT NULL,
           queued INTEGER NOT NULL, PRIMARY KEY (route, lane, tenant)) STRICT, WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS segments (
           seg INTEGER PRIMARY KEY, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL) STRICT;
         CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
         {LOOKUP}"
    )
}

/// What one generation does to pending.
pub(crate) struct Work<'a> {
    /// Unfinished rows, by id, each with its deadline.
    pub(crate) unfinished: &'a [(&'a Row, Option<UnixMs>)],
    /// Finished rows that may have a copy here, by id.
    pub(crate) finished: &'a [i64],
    pub(crate) as_of: u64,
    pub(crate) seg: u64,
}

/// Writes it, within the caller's transaction.
pub(crate) fn write(connection: &Connection, work: &Work<'_>) -> rusqlite::Result<()> {
    let mut queued = Moves::default();
    for id in work.finished {
        if let Some(was) = unqueue(connection, *id)? {
            queued.count(&was, -1);
            connection
                .prepare_cached("DELETE FROM messages WHERE id = ?1")?
                .execute([id])?;
        }
    }
    let mut fresh = Vec::new();
    let mut blob = Vec::with_capacity(1024);
    for (row, deadline) in work.unfinished {
        let id = int(row.message.id.0);
        let was = if row.stored {
            unqueue(connection, id)?
        } else {
            None
        };
        if was.is_none() {
            fresh.push(*row);
        }
        queued.count(&was.unwrap_or_default(), -1);
        blob.clear();
        let is = insert(connection, row, *deadline, work.as_of, &mut blob)?;
        queued.count(&is, 1);
    }
    if let (Some(first), Some(last)) = (fresh.first(), fresh.last()) {
        let (first, last) = (int(first.message.id.0), int(last.message.id.0));
        connection.execute(
            "INSERT INTO segments VALUES (?1, ?2, ?3) ON CONFLICT (seg) DO UPDATE SET
             first_id = min(first_id, excluded.first_id), last_id = max(last_id, excluded.last_id)",
            params![int(work.seg), first, last],
        )?;
    }
    write_lookup(connection, &fresh, work.seg)?;
    let count = number(connection, "queued")?.unwrap_or(0) + queued.write(connection)?;
    set(connection, "queued", count)?;
    set(connection, "as_of", int(work.as_of))
}

/// By how much the depths change: by the rows of the queue that came and went, so that a generation that is
/// written again changes nothing.
#[derive(Default)]
struct Moves(FxHashMap<Place, i64>);

impl Moves {
    fn count(&mut self, places: &Places, by: i64) {
        for place in places {
            *self.0.entry(*place).or_default() += by;
        }
    }

    /// Writes them; by how much all of them change together.
    fn write(&self, connection: &Connection) -> rusqlite::Result<i64> {
        for (at, by) in &self.0 {
            connection
                .prepare_cached(
                    "INSERT INTO depths VALUES (?1, ?2, ?3, ?4) ON CONFLICT (route, lane, tenant)
                     DO UPDATE SET queued = queued + excluded.queued",
                )?
                .execute(params![at.route.0, at.lane, at.tenant.0, by])?;
        }
        Ok(self.0.values().sum())
    }
}

/// Writes a message and puts it into the queue. Tells where it was not in it already.
fn insert(
    connection: &Connection,
    row: &Row,
    deadline: Option<UnixMs>,
    as_of: u64,
    blob: &mut Vec<u8>,
) -> rusqlite::Result<Places> {
    let (message, life) = (&row.message, &row.life);
    let record = (message.as_ref(), life);
    *blob = postcard::to_extend(&record, std::mem::take(blob))
        .expect("invariant: a record is plain data");
    let crc = checksum(message.id, blob).to_be_bytes();
    blob.extend_from_slice(&crc);
    let id = int(message.id.0);
    let queued = life.open_legs(message).count();
    let first = life.open_legs(message).next();
    let lane = depths::lane(message.class);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO messages VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            id,
            int(as_of),
            life.status.name(),
            first.map(|(route, ..)| route.0),
            lane,
            int(first.map(|(_, _, leg)| leg.order).unwrap_or_default()),
            int(u64::try_from(queued).unwrap_or(0)),
            deadline.map(|at| int(at.0)),
            !(life.parts_out().is_empty() && life.parts_claimed().is_empty()),
            message.tenant.0,
            &*blob,
        ])?;
    let mut came = Places::new();
    for (route, _, leg) in life.open_legs(message) {
        let new = connection
            .prepare_cached("INSERT OR IGNORE INTO queue VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![route.0, lane, message.tenant.0, int(leg.order), id])?;
        if new > 0 {
            came.push(Place::new(route, message.class, message.tenant));
        }
    }
    Ok(came)
}

/// Takes a message out of the queue. Tells where it was in it: nowhere, once, or once for each of its open
/// legs; `None` when it is not here at all.
fn unqueue(connection: &Connection, id: i64) -> rusqlite::Result<Option<Places>> {
    let found: Option<(Option<u16>, u8, u16, i64, i64)> = connection
        .prepare_cached("SELECT route, lane, tenant, ord, queued FROM messages WHERE id = ?1")?
        .query_row([id], |row| {
            let (route, lane, tenant) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((route, lane, tenant, row.get(3)?, row.get(4)?))
        })
        .optional()?;
    let Some((route, lane, tenant, order, queued)) = found else {
        return Ok(None);
    };
    // The record itself tells of more places than one.
    let places: SmallVec<[(u16, i64); 1]> = match (queued, route) {
        (1, Some(route)) => smallvec![(route, order)],
        (2.., _) => {
            let record = read(connection, MessageId(uint(id)))?;
            let queued = record.iter().flat_map(|(record, _)| {
                let open = record.life.open_legs(&record.message);
                open.map(|(route, _, leg)| (route.0, int(leg.order)))
            });
            queued.collect()
        }
        _ => SmallVec::new(),
    };
    let mut were = Places::new();
    for (route, order) in places {
        let gone = connection
            .prepare_cached(
                "DELETE FROM queue WHERE route = ?1 AND lane = ?2 AND tenant = ?3 AND ord = ?4
                 AND id = ?5",
            )?
            .execute(params![route, lane, tenant, order, id])?;
        if gone > 0 {
            were.push(Place {
                route: RouteIx(route),
                lane,
                tenant: TenantIx(tenant),
            });
        }
    }
    Ok(Some(were))
}

/// How many messages are queued, by where.
pub(crate) fn depths(connection: &Connection) -> rusqlite::Result<Vec<(Place, u64)>> {
    connection
        .prepare_cached("SELECT route, lane, tenant, queued FROM depths WHERE queued > 0")?
        .query_map([], |row| Ok((place(row)?, uint(row.get(3)?))))?
        .collect()
}

fn place(row: &rusqlite::Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place {
        route: RouteIx(row.get(0)?),
        lane: row.get(1)?,
        tenant: TenantIx(row.get(2)?),
    })
}

/// A small number kept with the rows: `queued` (how many are), `as_of` (the last batch archived).
pub(crate) fn number(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

fn set(connection: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, value])?;
    Ok(())
}

/// Reads one message, and the batch as of which it stands here.
pub(crate) fn read(
    connection: &Connection,
    id: MessageId,
) -> rusqlite::Result<Option<(Record, u64)>> {
    connection
        .prepare_cached("SELECT record, as_of FROM messages WHERE id = ?1")?
        .query_row([int(id.0)], |row| {
            let record = decode(id, row.get_ref(0)?.as_blob()?)?;
            Ok((record, uint(row.get(1)?)))
        })
        .optional()
}

/// What is sent from here was accepted: SQLite would not notice a flipped digit of its number.
fn checksum(id: MessageId, record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&id.0.to_be_bytes());
    crc.update(record);
    crc.finalize()
}

fn decode(id: MessageId, blob: &[u8]) -> rusqlite::Result<Record> {
    let wrong = |error: Box<dyn std::error::Error + Send + Sync>| {
        let kind = rusqlite::types::Type::Blob;
        rusqlite::Error::FromSqlConversionFailure(0, kind, error)
    };
    let (record, _) = blob
        .split_last_chunk::<4>()
        .filter(|(record, crc)| checksum(id, record).to_be_bytes() == **crc)
        .ok_or_else(|| {
            wrong(format!("message {}: its record's checksum does not fit", id.0).into())
        })?;
    let (message, life): (Message, Life) =
        postcard::from_bytes(record).map_err(|error| wrong(Box::new(error)))?;
    Ok(Record {
        message: message.into(),
        life,
    })
}

/// A stretch of a tenant's queue: order keys and ids after (`order`, `id`).
pub(crate) fn queue(
    connection: &Connection,
    at: Place,
    (order, id): (u64, u64),
    limit: usize,
) -> rusqlite::Result<Vec<(u64, MessageId)>> {
    connection
        .prepare_cached(
            "SELECT ord, id FROM queue WHERE route = ?1 AND lane = ?2 AND tenant = ?3
             AND (ord, id) > (?4, ?5) ORDER BY ord, id LIMIT ?6",
        )?
        .query_map(
            params![
                at.route.0,
                at.lane,
                at.tenant.0,
                int(order),
                int(id),
                int(u64::try_from(limit).unwrap_or(0))
            ],
            |row| Ok((uint(row.get(0)?), MessageId(uint(row.get(1)?)))),
        )?
        .collect()
}

/// Messages whose deadline is at or before `now` and after the given place, by deadline.
pub(crate) fn overdue(
    connection: &Connection,
    now: UnixMs,
    (deadline, id): (i64, i64),
    limit: usize,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    connection
        .prepare_cached(
            "SELECT deadline, id FROM messages
             WHERE deadline <= ?1 AND (deadline, id) > (?2, ?3)
             ORDER BY deadline, id LIMIT ?4",
        )?
        .query_map(
            params![
                int(now.0),
                deadline,
                id,
                int(u64::try_from(limit).unwrap_or(0))
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .collect()
}

/// Messages with parts that were out under `hold`, or claimed.
pub(crate) fn intents(connection: &Connection) -> rusqlite::Result<Vec<MessageId>> {
    connection
        .prepare_cached("SELECT id FROM messages WHERE out = 1")?
        .query_map([], |row| Ok(MessageId(uint(row.get(0)?))))?
        .collect()
}

/// Calls `each` for every queued message.
pub(crate) fn each_queued(
    connection: &Connection,
    mut each: impl FnMut(Place, MessageId),
) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached("SELECT route, lane, tenant, id FROM queue")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        each(place(row)?, MessageId(uint(row.get(3)?)));
    }
    Ok(())
}

/// Drops the lookup entries of segments below `seg` whose messages have all left.
pub(crate) fn drop_segments(connection: &Connection, seg: u64) -> rusqlite::Result<()> {
    let empty: Vec<i64> = connection
        .prepare_cached(
            "SELECT seg FROM segments WHERE seg < ?1 AND NOT EXISTS
             (SELECT 1 FROM messages WHERE id BETWEEN first_id AND last_id)",
        )?
        .query_map([int(seg)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for seg in empty {
        connection.execute("DELETE FROM lookup WHERE seg = ?1", [seg])?;
        connection.execute("DELETE FROM segments WHERE seg = ?1", [seg])?;
    }
    Ok(())
}
