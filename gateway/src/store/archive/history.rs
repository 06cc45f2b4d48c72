//! History: finished messages by the day they finished, readable with any SQLite tool; texts apart.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::UnixMs;
use crate::message::life::Life;
use crate::message::{
    Class, Encoding, EndpointIx, FailoverOn, Ids, Message, MessageId, OnAmbiguous, Phone, Policy,
    Priority, RouteIx, SmsOptions, TenantIx, Text, Texts,
};
use crate::names::Names;
use crate::store::archive::file::{int, key_int, uint};
use crate::store::young::Row;
use crate::store::{Record, keys};

/// Generations whose keys stand together in a lookup table. A sorted fill then touches a part of the
/// table that stays small, whatever the file has grown to; a reader looks at each segment.
pub(crate) const GENERATIONS_PER_SEGMENT: u64 = 16;

/// The lookup table, the same in history and pending: what an indexed field hashes to.
pub(crate) const LOOKUP: &str = "CREATE TABLE IF NOT EXISTS lookup (
   seg INTEGER NOT NULL, key INTEGER NOT NULL, id INTEGER NOT NULL,
   PRIMARY KEY (seg, key, id)) STRICT, WITHOUT ROWID;";

/// The schema of a content file: texts of our messages, and what handsets wrote.
pub(crate) const CONTENT_SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS content (
       id INTEGER PRIMARY KEY, text TEXT NOT NULL, push TEXT NOT NULL) STRICT;
     CREATE TABLE IF NOT EXISTS inbound (id INTEGER PRIMARY KEY, text TEXT, octets BLOB NOT NULL) STRICT;";

/// The schema of a history file. The view `readable` shows ids and times as users see them: the
/// node's part of an id (12 characters) is the same for all of a store's ids (`message/id.rs`).
pub(crate) fn schema(ids: Ids) -> String {
    let zero = ids.message(MessageId(0)).to_string();
    let node = zero.get(18..).unwrap_or_default();
    let digit = |shift: u32| {
        format!("substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', ((id >> {shift}) & 31) + 1, 1)")
    };
    let digits: Vec<String> = (0..13).rev().map(|place| digit(place * 5)).collect();
    let id = format!("'msg_0' || {} || '{node}'", digits.join(" || "));
    let time =
        |column: &str| format!("strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000.0, 'unixepoch')");
    format!(
        "CREATE TABLE IF NOT EXISTS messages (
           id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, status TEXT NOT NULL,
           class TEXT NOT NULL, recipient TEXT NOT NULL, sender TEXT NOT NULL, route TEXT,
           client_ref TEXT NOT NULL, batch INTEGER, reason TEXT, accepted_at INTEGER NOT NULL,
           sent_at INTEGER, done_at INTEGER, segments INTEGER NOT NULL, encoding TEXT NOT NULL,
           version INTEGER NOT NULL, tags TEXT NOT NULL, metadata TEXT NOT NULL,
           as_of INTEGER NOT NULL, detail BLOB NOT NULL) STRICT;
         {LOOKUP}
         CREATE VIEW IF NOT EXISTS readable AS SELECT {id} AS message_id, tenant, status, class,
           recipient, sender, route, client_ref, reason, {} AS accepted_at, {} AS sent_at,
           {} AS done_at, segments, encoding, version, tags, metadata FROM messages;",
        time("accepted_at"),
        time("sent_at"),
        time("done_at"),
    )
}

/// What the columns do not tell, as it is written.
#[derive(Serialize)]
struct DetailRef<'a> {
    tenant: TenantIx,
    to: Phone,
    class: Class,
    priority: Priority,
    on_ambiguous: OnAmbiguous,
    failover_on: FailoverOn,
    encoding: Encoding,
    segments: u8,
    concat_ref: u16,
    sms: Option<&'a SmsOptions>,
    policy: Policy,
    callback: Option<EndpointIx>,
    batch: Option<MessageId>,
    accepted_at: UnixMs,
    expires_at: UnixMs,
    routes: &'a SmallVec<[RouteIx; 4]>,
    steps: Option<&'a crate::message::steps::Steps>,
    texts: [&'a str; 4],
    life: &'a Life,
}

/// The same as read. The fields stand in the order of [`DetailRef`].
#[derive(Deserialize)]
struct Detail<'a> {
    tenant: TenantIx,
    to: Phone,
    class: Class,
    priority: Priority,
    on_ambiguous: OnAmbiguous,
    failover_on: FailoverOn,
    encoding: Encoding,
    segments: u8,
    concat_ref: u16,
    sms: Option<Box<SmsOptions>>,
    policy: Policy,
    callback: Option<EndpointIx>,
    batch: Option<MessageId>,
    accepted_at: UnixMs,
    expires_at: UnixMs,
    routes: SmallVec<[RouteIx; 4]>,
    steps: Option<Box<crate::message::steps::Steps>>,
    #[serde(borrow)]
    texts: [&'a str; 4],
    life: Life,
}

/// Writes rows, sorted by id. A row that is there is replaced.
pub(crate) fn write(
    connection: &Connection,
    rows: &[&Row],
    (as_of, seg): (u64, u64),
    names: &Names,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO messages VALUES
         (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)",
    )?;
    let mut blob = Vec::with_capacity(512);
    for row in rows {
        let (message, life) = (&row.message, &row.life);
        blob.clear();
        blob = encode(message, life, blob);
        let route = life.route(message).map(|route| names.route(route));
        insert.execute(params![
            int(message.id.0),
            names.tenant(message.tenant),
            life.status.name(),
            message.class.name(),
            message
                .to
                .known()
                .map(|to| to.to_string())
                .unwrap_or_default(),
            message.text(Text::From),
            route,
            message.text(Text::ClientRef),
            message.batch.map(|batch| int(batch.0)),
            life.reason.map(|reason| reason.code()),
            int(message.accepted_at.0),
            life.sent_at.known().map(|at| int(at.0)),
            life.done_at.known().map(|at| int(at.0)),
            message.segments,
            message.encoding.name(),
            life.version,
            message.text(Text::Tags),
            message.text(Text::Metadata),
            int(as_of),
            blob,
        ])?;
    }
    write_lookup(connection, rows, seg)
}

fn encode(message: &Message, life: &Life, into: Vec<u8>) -> Vec<u8> {
    let detail = DetailRef {
        tenant: message.tenant,
        to: message.to,
        class: message.class,
        priority: message.priority,
        on_ambiguous: message.on_ambiguous,
        failover_on: message.failover_on,
        encoding: message.encoding,
        segments: message.segments,
        concat_ref: message.concat_ref,
        sms: message.sms.as_deref(),
        policy: message.policy,
        callback: message.callback,
        batch: message.batch,
        accepted_at: message.accepted_at,
        expires_at: message.expires_at,
        routes: &message.routes,
        steps: message.steps.as_deref(),
        texts: [
            message.text(Text::Tracking),
            message.text(Text::Traceparent),
            message.text(Text::CallbackUrl),
            message.text(Text::CallbackTypes),
        ],
        life,
    };
    postcard::to_extend(&detail, into).expect("invariant: a record is plain data")
}

/// Fills a segment of the lookup table, sorted by key.
pub(crate) fn write_lookup(
    connection: &Connection,
    rows: &[&Row],
    seg: u64,
) -> rusqlite::Result<()> {
    let mut found: Vec<(i64, i64)> = Vec::with_capacity(rows.len() * 2);
    for row in rows {
        let id = int(row.message.id.0);
        let to = row.message.to.known();
        found.extend(to.map(|to| (key_int(keys::recipient(to)), id)));
        let reference = row.message.text(Text::ClientRef);
        if !reference.is_empty() {
            found.push((key_int(keys::client_ref(reference)), id));
        }
        if let Some(batch) = row.message.batch {
            found.push((key_int(keys::batch(batch)), id));
        }
    }
    found.sort_unstable();
    let mut insert = connection
        .prepare_cached("INSERT OR IGNORE INTO lookup (seg, key, id) VALUES (?1, ?2, ?3)")?;
    for (key, id) in found {
        insert.execute(params![int(seg), key, id])?;
    }
    Ok(())
}

/// Writes texts, sorted by id.
pub(crate) fn write_content(connection: &Connection, rows: &[&Row]) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO content VALUES (?1, ?2, ?3)")?;
    for row in rows {
        let (id, message) = (int(row.message.id.0), &row.message);
        let texts = (message.text(Text::Body), message.text(Text::Push));
        insert.execute(params![id, texts.0, texts.1])?;
    }
    Ok(())
}

/// Takes messages out of a file: a later day's has them now. Their lookup entries lead nowhere.
pub(crate) fn delete(connection: &Connection, ids: &[i64], table: &str) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?;
    for id in ids {
        delete.execute([id])?;
    }
    Ok(())
}

/// Reads one message without its text, and the batch as of which it stands there.
pub(crate) fn read(
    connection: &Connection,
    id: MessageId,
) -> rusqlite::Result<Option<(Record, u64)>> {
    connection
        .prepare_cached(
            "SELECT sender, client_ref, tags, metadata, detail, as_of FROM messages WHERE id = ?1",
        )?
        .query_row([int(id.0)], |row| {
            let text =
                |column: usize| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
            let (sender, reference, tags, metadata) = (text(0)?, text(1)?, text(2)?, text(3)?);
            let detail: Result<Detail<'_>, _> = postcard::from_bytes(row.get_ref(4)?.as_blob()?);
            let as_of: i64 = row.get(5)?;
            let detail = detail.map_err(|error| {
                let kind = rusqlite::types::Type::Blob;
                rusqlite::Error::FromSqlConversionFailure(4, kind, Box::new(error))
            })?;
            let columns = [sender, reference, tags, metadata];
            Ok((decode(id, columns, detail), uint(as_of)))
        })
        .optional()
}

fn decode(id: MessageId, columns: [&str; 4], detail: Detail<'_>) -> Record {
    let [sender, reference, tags, metadata] = columns;
    let [tracking, traceparent, url, types] = detail.texts;
    let all = [
        sender,
        "",
        reference,
        tags,
        metadata,
        tracking,
        traceparent,
        url,
        types,
        "",
    ];
    let message = Message {
        id,
        tenant: detail.tenant,
        to: detail.to,
        class: detail.class,
        priority: detail.priority,
        on_ambiguous: detail.on_ambiguous,
        failover_on: detail.failover_on,
        encoding: detail.encoding,
        segments: detail.segments,
        concat_ref: detail.concat_ref,
        sms: detail.sms,
        policy: detail.policy,
        callback: detail.callback,
        batch: detail.batch,
        accepted_at: detail.accepted_at,
        expires_at: detail.expires_at,
        routes: detail.routes,
        steps: detail.steps,
        // They fitted when they were written, with the text.
        texts: Texts::pack(all).unwrap_or_default(),
    };
    Record {
        message: message.into(),
        life: detail.life,
    }
}

/// Puts its content back into a message: its text, and what it pushes.
pub(crate) fn with_content(record: Record, (body, push): (&str, &str)) -> Record {
    let old = &record.message;
    let all = [
        old.text(Text::From),
        body,
        old.text(Text::ClientRef),
        old.text(Text::Tags),
        old.text(Text::Metadata),
        old.text(Text::Tracking),
        old.text(Text::Traceparent),
        old.text(Text::CallbackUrl),
        old.text(Text::CallbackTypes),
        push,
    ];
    let Ok(texts) = Texts::pack(all) else {
        return record;
    };
    let mut message = (**old).clone();
    message.texts = texts;
    Record {
        message: message.into(),
        life: record.life,
    }
}

/// Reads contents, by id: the text, and what is pushed.
pub(crate) fn read_content(
    connection: &Connection,
    ids: &[MessageId],
) -> rusqlite::Result<Vec<Option<(String, String)>>> {
    let mut select = connection.prepare_cached("SELECT text, push FROM content WHERE id = ?1")?;
    let mut read = |id: &MessageId| {
        let both = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        select.query_row([int(id.0)], both).optional()
    };
    ids.iter().map(&mut read).collect()
}

/// Ids under a lookup key and below `before`, newest first, at most `limit`.
pub(crate) fn looked_up(
    connection: &Connection,
    key: u64,
    (from, before): (u64, u64),
    limit: usize,
) -> rusqlite::Result<Vec<MessageId>> {
    let top: Option<i64> = connection
        .prepare_cached("SELECT max(seg) FROM lookup")?
        .query_row([], |row| row.get(0))?;
    let mut seg = top;
    let mut ids = Vec::new();
    while let Some(at) = seg {
        let mut select = connection.prepare_cached(
            "SELECT id FROM lookup WHERE seg = ?1 AND key = ?2 AND id >= ?3 AND id < ?4
             ORDER BY id DESC LIMIT ?5",
        )?;
        let limit = int(u64::try_from(limit).unwrap_or(0));
        let found = select.query_map(
            params![at, key_int(key), int(from), int(before), limit],
            |row| row.get(0),
        )?;
        for id in found {
            ids.push(MessageId(uint(id?)));
        }
        seg = connection
            .prepare_cached("SELECT max(seg) FROM lookup WHERE seg < ?1")?
            .query_row([at], |row| row.get(0))?;
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
    ids.truncate(limit);
    Ok(ids)
}

/// Ids from `from` to below `before`, newest first, at most `limit`.
pub(crate) fn scanned(
    connection: &Connection,
    (from, before): (u64, u64),
    limit: usize,
) -> rusqlite::Result<Vec<MessageId>> {
    connection
        .prepare_cached(
            "SELECT id FROM messages WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
        )?
        .query_map(
            params![
                int(from),
                int(before),
                int(u64::try_from(limit).unwrap_or(0))
            ],
            |row| Ok(MessageId(uint(row.get(0)?))),
        )?
        .collect()
}
