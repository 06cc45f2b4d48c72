//! Suppressions, verified and exported offline.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::message::{Ids, MessageId, TenantIx};
use crate::store::SuppressionRecord;
use crate::store::archive::file;
use crate::store::archive::suppressed::{self as archived, SUPPRESSIONS};
use crate::store::record::Op;
use crate::store::state::Snapshot;
use crate::suppression::{Cause, Ended};
pub(super) use archived::as_of;

/// What the journal has of them: beginnings, and ends also of archived ones.
pub(super) struct Journaled {
    as_of: u64,
    begun: BTreeMap<MessageId, SuppressionRecord>,
    ended: BTreeMap<MessageId, Ended>,
}

impl Journaled {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        Self {
            as_of: snapshot.as_of,
            begun: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Takes an operation of a batch, as a start does.
    pub(super) fn op(&mut self, batch: u64, op: Op) {
        match op {
            Op::Suppress {
                suppression,
                replaces,
                ..
            } if batch > self.as_of => {
                if let Some(id) = replaces {
                    let ended = Ended {
                        id,
                        key: suppression.key.clone(),
                        cause: suppression.cause.clone(),
                        at: suppression.created_at,
                    };
                    self.ended.insert(id, ended);
                }
                let record = SuppressionRecord {
                    suppression,
                    ended: None,
                };
                self.begun.insert(record.suppression.id, record);
            }
            Op::Unsuppress { ended, .. } if batch > self.as_of => {
                self.ended.insert(ended.id, ended);
            }
            _ => {}
        }
    }

    fn end_of(&self, record: SuppressionRecord) -> SuppressionRecord {
        let ended = self.ended.get(&record.suppression.id).cloned();
        SuppressionRecord {
            ended: ended.or(record.ended),
            ..record
        }
    }
}

/// Calls `each` for every readable one of the archive. Tells what could not be read.
pub(super) fn each(directory: &Path, each: impl FnMut(SuppressionRecord)) -> Vec<String> {
    file::open_for_reading(&directory.join(SUPPRESSIONS))
        .and_then(|connection| archived::each(&connection, each))
        .unwrap_or_else(|error| vec![error.to_string()])
}

/// One exported suppression.
#[derive(Serialize)]
struct Line<'a> {
    suppression_id: String,
    /// Absent when the state database, which has the names, cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    phone: String,
    scope: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    value: &'a str,
    #[serde(flatten)]
    cause: CauseLine<'a>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<EndLine<'a>>,
}

/// Who did it, and why.
#[derive(Serialize)]
struct CauseLine<'a> {
    source: &'a str,
    by: &'a str,
    keyword: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inbound_id: Option<String>,
}

#[derive(Serialize)]
struct EndLine<'a> {
    at: String,
    #[serde(flatten)]
    cause: CauseLine<'a>,
}

/// Writes the lines of an export.
pub(super) struct Lines<'a, W> {
    out: &'a mut W,
    ids: Ids,
    tenants: &'a [String],
    count: u64,
    failed: io::Result<()>,
}

impl<'a, W: Write> Lines<'a, W> {
    pub(super) fn new(out: &'a mut W, ids: Ids, tenants: &'a [String]) -> Self {
        Self {
            out,
            ids,
            tenants,
            count: 0,
            failed: Ok(()),
        }
    }

    /// Writes one of the archive, with the end that the journal may have for it.
    pub(super) fn archived(&mut self, record: SuppressionRecord, journaled: &Journaled) {
        if !journaled.begun.contains_key(&record.suppression.id) {
            self.put(&journaled.end_of(record));
        }
    }

    /// Writes those of the journal. Returns how many were written in all.
    ///
    /// # Errors
    /// The first write that failed.
    pub(super) fn journaled(mut self, journaled: &Journaled) -> io::Result<u64> {
        for record in journaled.begun.values() {
            self.put(&journaled.end_of(record.clone()));
        }
        self.failed.map(|()| self.count)
    }

    fn put(&mut self, record: &SuppressionRecord) {
        if self.failed.is_ok() {
            self.failed = self.write(record);
            self.count += 1;
        }
    }

    fn write(&mut self, record: &SuppressionRecord) -> io::Result<()> {
        let one = &record.suppression;
        let line = Line {
            suppression_id: self.ids.suppression(one.id).to_string(),
            tenant: self.tenant(one.key.tenant),
            phone: one.key.phone.to_string(),
            scope: one.key.scope.kind(),
            value: one.key.scope.value(),
            cause: self.cause(&one.cause),
            created_at: one.created_at.to_string(),
            expires_at: one.expires_at.map(|at| at.to_string()),
            ended: record.ended.as_ref().map(|ended| EndLine {
                at: ended.at.to_string(),
                cause: self.cause(&ended.cause),
            }),
        };
        serde_json::to_writer(&mut *self.out, &line)?;
        self.out.write_all(b"\n")
    }

    fn tenant(&self, tenant: TenantIx) -> Option<&'a str> {
        self.tenants.get(usize::from(tenant.0)).map(String::as_str)
    }

    fn cause<'c>(&self, cause: &'c Cause) -> CauseLine<'c> {
        CauseLine {
            source: cause.source.name(),
            by: &cause.by,
            keyword: &cause.keyword,
            text: &cause.text,
            inbound_id: cause.inbound.map(|id| self.ids.inbound(id).to_string()),
        }
    }
}
