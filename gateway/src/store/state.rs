//! The state database: the small things. Node number, epoch, names, the last acknowledged batch, and
//! the snapshot that lets old journal files go.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::UnixMs;
use crate::inbound::assembly;
use crate::message::{EndpointIx, MessageId, RouteIx};
use crate::names::Names;
use crate::outcome::Receipt;
use crate::store::archive::file::open_for_reading;
use crate::store::{EndpointState, Learned, Orphan, room};

/// The layout of the directory that this version writes and reads.
const LAYOUT: u64 = 19;

/// The state database's name.
pub(crate) const STATE: &str = "state.db";

/// The state database cannot be read or written.
#[derive(Debug, Error)]
#[error("{path}: {what}")]
pub struct StateError {
    path: PathBuf,
    what: String,
    /// Whether it may work later: the disk is full, or somebody else has the file locked.
    pub(crate) passing: bool,
}

/// What the archive covers, and the small state as of then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Every accept up to this batch is archived.
    pub(crate) batch: u64,
    /// The number of the generation archived last.
    pub(crate) generation: u64,
    /// Every event up to this one is archived.
    pub(crate) events_upto: u64,
    /// The largest id or order key issued by then.
    pub(crate) last_id: u64,
    /// The batch as of which endpoints, parked receipts and inbound parts stand below.
    pub(crate) as_of: u64,
    /// What endpoints remember.
    pub(crate) endpoints: Vec<(EndpointIx, EndpointState)>,
    /// Receipts that wait for their message.
    pub(crate) parked: Vec<Receipt>,
    /// Parts of handsets' messages that wait for the others, and what is remembered of those before.
    pub(crate) inbound: Vec<assembly::Set>,
    /// By generation: the largest id accepted, and the batch as of which it is archived. The first
    /// one is a floor: of messages up to it nothing is known here.
    pub(crate) spans: Vec<(u64, u64)>,
    /// What the routes' receipts have taught.
    pub(crate) learned: Vec<(RouteIx, Learned)>,
    /// Receipts without a message.
    pub(crate) orphans: Vec<Orphan>,
    /// The batch as of which the suppressions' file stands at least; 0: there need not be one.
    pub(crate) suppressed: u64,
    /// Automatic replies that are remembered as of `as_of`: pair and wish, and until when.
    pub(crate) replied: Vec<(u64, UnixMs)>,
}

/// The open state database.
pub(crate) struct State {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl State {
    /// Opens or creates it.
    pub(crate) fn open(directory: &Path) -> Result<Self, StateError> {
        let path = directory.join(STATE);
        let open = || -> rusqlite::Result<Connection> {
            room::refuse_emptied(&path)?;
            let connection = Connection::open(&path)?;
            connection.execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value ANY) STRICT;
                 CREATE TABLE IF NOT EXISTS names (
                   kind TEXT NOT NULL, ix INTEGER NOT NULL, name TEXT NOT NULL,
                   PRIMARY KEY (kind, ix), UNIQUE (kind, name)) STRICT, WITHOUT ROWID;",
            )?;
            Ok(connection)
        };
        let connection = open().map_err(|error| wrong(&path, &error))?;
        // It is small, and everything else is understood by it.
        let sound: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| wrong(&path, &error))?;
        if sound != "ok" {
            return Err(StateError {
                path,
                what: format!("damaged: {}", sound.replace('\n', " ")),
                passing: false,
            });
        }
        let state = Self {
            connection: Mutex::new(connection),
            path,
        };
        match state.number("layout")? {
            None => state.set("layout", LAYOUT)?,
            Some(LAYOUT) => {}
            Some(other) => {
                let what =
                    format!("the directory has layout {other}; this version reads layout {LAYOUT}");
                return Err(StateError {
                    path: state.path,
                    what,
                    passing: false,
                });
            }
        }
        Ok(state)
    }

    /// Whether the file that is there says nothing, which a store's never does.
    pub(crate) fn is_blank(directory: &Path) -> bool {
        let layout = || -> rusqlite::Result<bool> {
            let connection = open_for_reading(&directory.join(STATE))?;
            if !connection.table_exists(None, "meta")? {
                return Ok(true);
            }
            let layout = "SELECT NOT EXISTS (SELECT 1 FROM meta WHERE key = 'layout')";
            connection.query_row(layout, [], |row| row.get(0))
        };
        // One that cannot be read says why when it is opened.
        layout().unwrap_or(false)
    }

    fn number(&self, key: &str) -> Result<Option<u64>, StateError> {
        let found = self
            .connection
            .lock()
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                row.get::<_, i64>(0)
            })
            .optional()
            .map_err(|error| wrong(&self.path, &error))?;
        Ok(found.and_then(|value| u64::try_from(value).ok()))
    }

    fn set(&self, key: &str, value: u64) -> Result<(), StateError> {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.connection
            .lock()
            .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute(params![key, value]))
            .map_err(|error| wrong(&self.path, &error))?;
        Ok(())
    }

    /// The store's random node number, made once.
    pub(crate) fn node(&self) -> Result<u64, StateError> {
        if let Some(node) = self.number("node")? {
            return Ok(node);
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| StateError {
            path: self.path.clone(),
            what: error.to_string(),
            passing: false,
        })?;
        let node = u64::from_be_bytes(random) >> 4;
        self.set("node", node)?;
        Ok(node)
    }

    /// Raises the epoch: from now on, whoever holds an older one is fenced.
    pub(crate) fn raise_epoch(&self) -> Result<u64, StateError> {
        let epoch = self.epoch()? + 1;
        self.set("epoch", epoch)?;
        Ok(epoch)
    }

    /// The last epoch that was given out.
    pub(crate) fn epoch(&self) -> Result<u64, StateError> {
        Ok(self.number("epoch")?.unwrap_or(0))
    }

    /// The last batch known to be acknowledged.
    pub(crate) fn acknowledged(&self) -> Result<u64, StateError> {
        Ok(self.number("acknowledged")?.unwrap_or(0))
    }

    /// Keeps the last acknowledged batch, synced.
    pub(crate) fn set_acknowledged(&self, batch: u64) -> Result<(), StateError> {
        self.set("acknowledged", batch)
    }

    /// Gives every name a number that it keeps for ever.
    pub(crate) fn names(&self, wanted: &Names) -> Result<Names, StateError> {
        let mut names = Names {
            tenants: self.known("tenant")?,
            routes: self.known("route")?,
            endpoints: self.known("endpoint")?,
        };
        self.intern("tenant", &mut names.tenants, &wanted.tenants)?;
        self.intern("route", &mut names.routes, &wanted.routes)?;
        self.intern("endpoint", &mut names.endpoints, &wanted.endpoints)?;
        Ok(names)
    }

    fn known(&self, kind: &str) -> Result<Vec<String>, StateError> {
        names(&self.connection.lock(), kind).map_err(|error| wrong(&self.path, &error))
    }

    fn intern(
        &self,
        kind: &str,
        known: &mut Vec<String>,
        wanted: &[String],
    ) -> Result<(), StateError> {
        for name in wanted {
            if known.contains(name) {
                continue;
            }
            // The last number is the operator's: see `TenantIx::OPERATOR`.
            let Some(ix) = u16::try_from(known.len()).ok().filter(|ix| *ix < u16::MAX) else {
                let what = format!("there are more than 65,535 {kind} names");
                return Err(StateError {
                    path: self.path.clone(),
                    what,
                    passing: false,
                });
            };
            self.connection
                .lock()
                .execute(
                    "INSERT INTO names (kind, ix, name) VALUES (?1, ?2, ?3)",
                    params![kind, ix, name],
                )
                .map_err(|error| wrong(&self.path, &error))?;
            known.push(name.clone());
        }
        Ok(())
    }

    /// The last snapshot; the empty one in a new directory.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, StateError> {
        let blob = self
            .connection
            .lock()
            .query_row("SELECT value FROM meta WHERE key = 'snapshot'", [], |row| {
                row.get::<_, Vec<u8>>(0)
            })
            .optional()
            .map_err(|error| wrong(&self.path, &error))?;
        let Some(blob) = blob else {
            return Ok(Snapshot::default());
        };
        postcard::from_bytes(&blob).map_err(|error| StateError {
            path: self.path.clone(),
            what: format!("the snapshot does not parse: {error}"),
            passing: false,
        })
    }

    /// Replaces the snapshot, synced.
    pub(crate) fn save_snapshot(&self, snapshot: &Snapshot) -> Result<(), StateError> {
        let blob = postcard::to_allocvec(snapshot).map_err(|error| StateError {
            path: self.path.clone(),
            what: error.to_string(),
            passing: false,
        })?;
        self.connection
            .lock()
            .execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('snapshot', ?1)",
                [blob],
            )
            .map_err(|error| wrong(&self.path, &error))?;
        Ok(())
    }

    /// The largest id that a snapshot knows of; replay raises it.
    pub(crate) fn last_id(snapshot: &Snapshot) -> MessageId {
        MessageId(snapshot.last_id)
    }
}

/// The names of a kind, by index.
pub(crate) fn names(connection: &Connection, kind: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT name FROM names WHERE kind = ?1 ORDER BY ix")?
        .query_map([kind], |row| row.get(0))?
        .collect()
}

fn wrong(path: &Path, error: &rusqlite::Error) -> StateError {
    let busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
    let full = room::is_full(path.parent().unwrap_or(path), error);
    StateError {
        path: path.to_owned(),
        what: match full {
            true => "the disk is full".to_owned(),
            false => error.to_string(),
        },
        passing: busy || full,
    }
}
