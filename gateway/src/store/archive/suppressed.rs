//! Suppressions on disk: a file of their own that no retention of messages touches.
//!
//! The index of those that hold is a copy of what a start needs, so that it reads nothing else. Each
//! row carries a checksum over these columns: SQLite would not notice a flipped digit of a number.

use std::cell::Cell;

use rusqlite::{Connection, OptionalExtension, Row, params};
use rustc_hash::FxHashSet;

use crate::clock::UnixMs;
use crate::message::{MessageId, Phone, TenantIx};
use crate::store::archive::Archive;
use crate::store::archive::file::{ArchiveError, int, uint};
use crate::store::suppressions::recent::Stretch;
use crate::store::suppressions::{SuppressionQuery, SuppressionRecord};
use crate::suppression::{Cause, Ended, Key, Scope, Source, Suppression};

/// The file's name.
pub(crate) const SUPPRESSIONS: &str = "suppressions.db";

/// The file's schema.
pub(crate) const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS suppressions (
   id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, phone INTEGER NOT NULL, kind TEXT NOT NULL,
   value TEXT NOT NULL, expires_at INTEGER, sum INTEGER NOT NULL, created_at INTEGER NOT NULL,
   source TEXT NOT NULL, made_by TEXT NOT NULL, keyword TEXT NOT NULL, text TEXT NOT NULL,
   inbound INTEGER, ended_at INTEGER, ended_source TEXT, ended_by TEXT, ended_keyword TEXT,
   ended_text TEXT, ended_inbound INTEGER) STRICT;
   CREATE INDEX IF NOT EXISTS holding ON suppressions
     (tenant, phone, id, kind, value, expires_at, sum) WHERE ended_at IS NULL;
   CREATE INDEX IF NOT EXISTS over ON suppressions (ended_at) WHERE ended_at IS NOT NULL;
   CREATE INDEX IF NOT EXISTS run_out ON suppressions (expires_at)
     WHERE expires_at IS NOT NULL AND ended_at IS NULL;
   CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;";

const COLUMNS: &str = "id, tenant, phone, kind, value, expires_at, sum, created_at, source, made_by,
   keyword, text, inbound, ended_at, ended_source, ended_by, ended_keyword, ended_text, ended_inbound";

/// Rows that one list looks at, at most (as for messages: design.md's row budget).
const ROWS_MAX: usize = 50_000;

/// Writes a stretch, within the caller's transaction. May be repeated.
pub(crate) fn write(
    connection: &Connection,
    stretch: &Stretch,
    as_of: u64,
) -> rusqlite::Result<()> {
    // By number, as the index stands: its pages are walked once.
    let mut begun: Vec<&Suppression> = stretch.begun.values().map(Box::as_ref).collect();
    begun.sort_unstable_by_key(|one| (one.key.tenant, one.key.phone));
    let mut insert = connection.prepare_cached(&format!(
        "INSERT OR REPLACE INTO suppressions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
         ?10, ?11, ?12, ?13, NULL, NULL, NULL, NULL, NULL, NULL)"
    ))?;
    for one in begun {
        let (key, cause) = (&one.key, &one.cause);
        insert.execute(params![
            int(one.id.0),
            key.tenant.0,
            int(key.phone.number()),
            key.scope.kind(),
            key.scope.value(),
            one.expires_at.map(|at| int(at.0)),
            checksum(one.id, key, one.expires_at),
            int(one.created_at.0),
            cause.source.name(),
            cause.by,
            cause.keyword,
            cause.text,
            cause.inbound.map(|id| int(id.0)),
        ])?;
    }
    let mut update = connection.prepare_cached(
        "UPDATE suppressions SET ended_at = ?2, ended_source = ?3, ended_by = ?4,
         ended_keyword = ?5, ended_text = ?6, ended_inbound = ?7 WHERE id = ?1",
    )?;
    for ended in stretch.ended.values() {
        let cause = &ended.cause;
        update.execute(params![
            int(ended.id.0),
            int(ended.at.0),
            cause.source.name(),
            cause.by,
            cause.keyword,
            cause.text,
            cause.inbound.map(|id| int(id.0)),
        ])?;
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('as_of', ?1)")?
        .execute([int(as_of)])?;
    Ok(())
}

/// The batch as of which the file stands; 0 for a new one.
pub(crate) fn as_of(connection: &Connection) -> rusqlite::Result<u64> {
    if !connection.table_exists(None, "meta")? {
        return Ok(0);
    }
    let found: Option<i64> = connection
        .prepare_cached("SELECT value FROM meta WHERE key = 'as_of'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(found.map_or(0, uint))
}

/// Calls `each` for every suppression that has not ended.
pub(crate) fn each_holding(
    connection: &Connection,
    mut each: impl FnMut(Key, MessageId, Option<UnixMs>),
) -> rusqlite::Result<()> {
    let mut select = connection.prepare(
        "SELECT id, tenant, phone, kind, value, expires_at, sum FROM suppressions INDEXED BY holding
         WHERE ended_at IS NULL",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (id, key, expires_at) = head(row)?;
        each(key, id, expires_at);
    }
    Ok(())
}

/// Calls `each` for every readable suppression that is kept. Tells what could not be read: the rows
/// around a damaged page are reached from the other end.
pub(crate) fn each(
    connection: &Connection,
    mut each: impl FnMut(SuppressionRecord),
) -> rusqlite::Result<Vec<String>> {
    // Without the table, the process ended between creating the file and its first commit.
    if !connection.table_exists(None, "suppressions")? {
        return Ok(Vec::new());
    }
    let mut wrong = Vec::new();
    let last = Cell::new(0);
    let mut walk = |order: &str, after: i64, wrong: &mut Vec<String>| -> rusqlite::Result<()> {
        let sql = format!("SELECT {COLUMNS} FROM suppressions WHERE id > ?1 ORDER BY {order}");
        let mut select = connection.prepare(&sql)?;
        let mut rows = select.query([after])?;
        while let Some(row) = rows.next()? {
            last.set(row.get(0)?);
            match record(row) {
                Ok(record) => each(record),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        Ok(())
    };
    if let Err(error) = walk("id", i64::MIN, &mut wrong) {
        wrong.push(error.to_string());
        // Ends at the damage with an error that is known already.
        drop(walk("id DESC", last.get(), &mut wrong));
    }
    Ok(wrong)
}

/// Reads one.
pub(crate) fn read(
    connection: &Connection,
    id: MessageId,
) -> rusqlite::Result<Option<SuppressionRecord>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM suppressions WHERE id = ?1"))?
        .query_row([int(id.0)], record)
        .optional()
}

/// The newest ones of a list that have not ended, but for those that memory knows of (`known`), one
/// more than it wants; and, when the row budget
/// was used up before, the id below which nothing was looked at.
pub(crate) fn list(
    connection: &Connection,
    query: &SuppressionQuery,
    now: UnixMs,
    known: &FxHashSet<MessageId>,
) -> rusqlite::Result<(Vec<Suppression>, Option<MessageId>)> {
    let by_number = query.phone.is_some() && query.tenant.is_some();
    let which = match by_number {
        true => "tenant = ?2 AND phone = ?3 AND",
        false => "?2 IS ?2 AND ?3 IS ?3 AND",
    };
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM suppressions WHERE {which} ended_at IS NULL AND id < ?1
         ORDER BY id DESC"
    ))?;
    let before = query.before.map_or(i64::MAX, |before| int(before.0));
    let tenant = query.tenant.map(|tenant| tenant.0);
    let phone = query.phone.map(|phone| int(phone.number()));
    let mut rows = select.query(params![before, tenant, phone])?;
    let mut found = Vec::new();
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        let one = record(row)?.suppression;
        let id = one.id;
        if query
            .since
            .is_some_and(|since| id < MessageId::first_of(since))
        {
            // Ids rise with time: what follows is older still.
            break;
        }
        if query.fits(&one) && !one.is_over(now) && !known.contains(&id) {
            found.push(one);
        }
        looked_at += 1;
        if found.len() > query.limit {
            break;
        }
        if looked_at >= ROWS_MAX {
            return Ok((found, Some(id)));
        }
    }
    Ok((found, None))
}

/// Drops what ended, or ran out, before `before`.
pub(crate) fn purge(connection: &Connection, before: UnixMs) -> rusqlite::Result<usize> {
    let ended = connection
        .prepare_cached("DELETE FROM suppressions WHERE ended_at < ?1")?
        .execute([int(before.0)])?;
    let run_out = connection
        .prepare_cached(
            "DELETE FROM suppressions WHERE expires_at < ?1 AND expires_at IS NOT NULL
             AND ended_at IS NULL",
        )?
        .execute([int(before.0)])?;
    Ok(ended + run_out)
}

fn head(row: &Row<'_>) -> rusqlite::Result<(MessageId, Key, Option<UnixMs>)> {
    let id = MessageId(uint(row.get(0)?));
    let phone = uint(row.get(2)?).to_string();
    let kind = row.get_ref(3)?.as_str()?;
    let value = row.get_ref(4)?.as_str()?;
    let wrong = |what: &str| {
        let what = format!("suppression {}: {what}", id.0);
        let kind = rusqlite::types::Type::Integer;
        rusqlite::Error::FromSqlConversionFailure(2, kind, what.into())
    };
    let key = Key {
        tenant: TenantIx(row.get(1)?),
        phone: Phone::from_digits(phone.as_bytes()).ok_or_else(|| wrong("not a number"))?,
        scope: Scope::parse(kind, value).ok_or_else(|| wrong("not a scope"))?,
    };
    let expires_at: Option<i64> = row.get(5)?;
    let expires_at = expires_at.map(|at| UnixMs(uint(at)));
    if row.get::<_, u32>(6)? != checksum(id, &key, expires_at) {
        return Err(wrong("its checksum does not fit"));
    }
    Ok((id, key, expires_at))
}

fn record(row: &Row<'_>) -> rusqlite::Result<SuppressionRecord> {
    let (id, key, expires_at) = head(row)?;
    let cause = |first: usize| -> rusqlite::Result<Cause> {
        let source = row.get_ref(first)?.as_str()?;
        let inbound: Option<i64> = row.get(first + 4)?;
        Ok(Cause {
            source: Source::from_name(source).unwrap_or(Source::Api),
            by: row.get::<_, String>(first + 1)?.into(),
            keyword: row.get::<_, String>(first + 2)?.into(),
            text: row.get::<_, String>(first + 3)?.into(),
            inbound: inbound.map(|id| MessageId(uint(id))),
        })
    };
    let ended_at: Option<i64> = row.get(13)?;
    let ended = match ended_at {
        Some(at) => Some(Ended {
            id,
            key: key.clone(),
            cause: cause(14)?,
            at: UnixMs(uint(at)),
        }),
        None => None,
    };
    Ok(SuppressionRecord {
        suppression: Suppression {
            id,
            key,
            cause: cause(8)?,
            created_at: UnixMs(uint(row.get(7)?)),
            expires_at,
        },
        ended,
    })
}

/// Over what keeps somebody from being sent to.
fn checksum(id: MessageId, key: &Key, expires_at: Option<UnixMs>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&id.0.to_be_bytes());
    crc.update(&key.tenant.0.to_be_bytes());
    crc.update(&key.phone.number().to_be_bytes());
    crc.update(key.scope.kind().as_bytes());
    crc.update(key.scope.value().as_bytes());
    crc.update(&expires_at.map_or(0, |at| at.0).to_be_bytes());
    crc.finalize()
}

impl Archive {
    /// One suppression.
    pub(crate) fn suppression(&self, id: MessageId) -> Option<SuppressionRecord> {
        self.read_suppressions(|connection| read(connection, id))
    }

    /// See [`list`].
    pub(crate) fn suppressions(
        &self,
        query: &SuppressionQuery,
        now: UnixMs,
        known: &FxHashSet<MessageId>,
    ) -> rusqlite::Result<(Vec<Suppression>, Option<MessageId>)> {
        if self.suppressed_as_of() == 0 {
            return Ok((Vec::new(), None));
        }
        let list = |connection: &Connection| list(connection, query, now, known);
        self.pool.try_read(SUPPRESSIONS, list)
    }

    fn read_suppressions<T: Default>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> T {
        // Nobody was ever suppressed: there is no file.
        if self.suppressed_as_of() == 0 {
            return T::default();
        }
        self.pool.read(SUPPRESSIONS, read)
    }

    /// The batch as of which the file stands, and every suppression in it that has not ended.
    ///
    /// # Errors
    /// It cannot be read: nobody may be sent to then.
    pub(crate) fn load_suppressions(
        &self,
        each: impl FnMut(Key, MessageId, Option<UnixMs>),
    ) -> Result<u64, ArchiveError> {
        if !self.directory.join(SUPPRESSIONS).exists() {
            return Ok(0);
        }
        let loaded = self.pool.try_read(SUPPRESSIONS, |connection| {
            let upto = as_of(connection)?;
            if upto > 0 {
                each_holding(connection, each)?;
            }
            Ok(upto)
        });
        let upto =
            loaded.map_err(|error| ArchiveError::of(&self.directory, SUPPRESSIONS, &error))?;
        self.set_suppressed_as_of(upto);
        Ok(upto)
    }
}
