//! Archived events: chunks of the log, by day.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use rusqlite::{Connection, params};

use crate::event::Event;
use crate::store::EventQuery;
use crate::store::archive::file::{Kind, Pool, int, uint};

/// The schema of an events file.
pub(crate) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS chunks (
   first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, at INTEGER NOT NULL,
   blob BLOB NOT NULL) STRICT;";

/// Events in one chunk: 20 octets each, so that a chunk is some 10 KB.
const CHUNK: usize = 512;
/// Events that one call looks at, at most: about 10 ms.
const SCAN_MAX: usize = 100_000;

/// Which day's file holds which stretch of the log.
#[derive(Default)]
pub(crate) struct Days(RwLock<BTreeMap<u64, (u64, u64)>>);

impl Days {
    /// Notes a file and its stretch.
    pub(crate) fn note(&self, day: u64, first: u64, last: u64) {
        let mut days = self.0.write();
        let span = days.entry(day).or_insert((first, last));
        *span = (span.0.min(first), span.1.max(last));
    }

    /// The days after which no event may be filed earlier: sequence numbers rise with the files,
    /// also when the clock steps back.
    fn last_day(&self) -> u64 {
        self.0.read().last_key_value().map_or(0, |(day, _)| *day)
    }

    /// Days with events at or after `seq`.
    pub(crate) fn from(&self, seq: u64) -> Vec<u64> {
        let days = self.0.read();
        let late = days.iter().filter(|(_, (_, last))| *last >= seq);
        late.map(|(day, _)| *day).collect()
    }

    /// Forgets a day.
    pub(crate) fn remove(&self, day: u64) {
        self.0.write().remove(&day);
    }

    /// Cuts events into days.
    pub(crate) fn cut<'e>(&self, events: &'e [Event]) -> Vec<(u64, &'e [Event])> {
        let mut day = self.last_day();
        let mut cut = Vec::new();
        let mut rest = events;
        while let Some(first) = rest.first() {
            day = day.max(Kind::Events.span(first.at));
            let until = Kind::Events.end(day);
            let count = rest.iter().take_while(|event| event.at < until).count();
            let (here, after) = rest.split_at(count.max(1));
            cut.push((day, here));
            rest = after;
        }
        cut
    }

    /// Reads events after `query.after` and before `before`, and how far was read.
    pub(crate) fn read(&self, pool: &Pool, query: &EventQuery, before: u64) -> (Vec<Event>, u64) {
        let mut found = Vec::new();
        let mut read_to = query.after;
        let mut looked_at = 0;
        for day in self.from(query.after + 1) {
            pool.read(&Kind::Events.name(day), |connection| {
                let mut select = connection.prepare_cached(
                    "SELECT blob FROM chunks WHERE last_seq > ?1 AND first_seq >= coalesce(
                       (SELECT max(first_seq) FROM chunks WHERE first_seq <= ?1), 0)
                     ORDER BY first_seq",
                )?;
                let mut rows = select.query([int(read_to)])?;
                while let Some(row) = rows.next()? {
                    for event in decode(row.get_ref(0)?.as_blob()?)? {
                        if event.seq <= read_to {
                            continue;
                        }
                        let full = found.len() >= query.limit || looked_at >= SCAN_MAX;
                        if event.seq >= before || full {
                            return Ok(());
                        }
                        read_to = event.seq;
                        looked_at += 1;
                        if query.kinds.has(event.kind)
                            && query.tenant.is_none_or(|tenant| tenant == event.tenant)
                            && query.message.is_none_or(|id| id == event.subject)
                        {
                            found.push(event);
                        }
                    }
                }
                Ok(())
            });
            if found.len() >= query.limit || looked_at >= SCAN_MAX {
                break;
            }
        }
        (found, read_to)
    }
}

fn decode(blob: &[u8]) -> rusqlite::Result<Vec<Event>> {
    postcard::from_bytes(blob).map_err(|error| {
        let kind = rusqlite::types::Type::Blob;
        rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(error))
    })
}

/// Drops what stands at or after `seq`: an archiving that a crash cut short, to be done anew.
pub(crate) fn drop_from(connection: &Connection, seq: u64) -> rusqlite::Result<()> {
    let drop = "DELETE FROM chunks WHERE first_seq >= ?1";
    connection.prepare_cached(drop)?.execute([int(seq)])?;
    Ok(())
}

/// Writes a stretch of the log.
pub(crate) fn write(connection: &Connection, events: &[Event]) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO chunks VALUES (?1, ?2, ?3, ?4)")?;
    let mut blob = Vec::with_capacity(CHUNK * 24);
    for chunk in events.chunks(CHUNK) {
        let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else {
            continue;
        };
        blob.clear();
        blob = postcard::to_extend(chunk, blob).expect("invariant: an event is plain data");
        insert.execute(params![
            int(first.seq),
            int(last.seq),
            int(first.at.0),
            blob
        ])?;
    }
    Ok(())
}

/// The first and the last sequence number of a file.
pub(crate) fn stretch(connection: &Connection) -> rusqlite::Result<Option<(u64, u64)>> {
    connection.query_row(
        "SELECT min(first_seq), max(last_seq) FROM chunks",
        [],
        |row| {
            let (first, last): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
            Ok(first.map(uint).zip(last.map(uint)))
        },
    )
}
