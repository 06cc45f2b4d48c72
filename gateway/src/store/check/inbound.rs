//! Handsets' messages, verified and exported offline.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use codecs::text::Charset;
use serde::Serialize;

use crate::inbound::assembly::Sets;
use crate::inbound::{Inbound, read};
use crate::message::{Ids, MessageId};
use crate::store::archive::file::{self, Kind};
use crate::store::archive::inbound;
use crate::store::record::Op;
use crate::store::state::Snapshot;

/// What the journal and the snapshot have of them.
pub(super) struct Journaled {
    batch: u64,
    as_of: u64,
    whole: BTreeMap<MessageId, Inbound>,
    waiting: Sets,
}

impl Journaled {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        Self {
            batch: snapshot.batch,
            as_of: snapshot.as_of,
            whole: BTreeMap::new(),
            waiting: Sets::from_snapshot(snapshot.inbound.clone()),
        }
    }

    /// Takes an operation of a batch, as a start does.
    pub(super) fn op(&mut self, batch: u64, op: Op) {
        match op {
            Op::InboundPart { set, part } if batch > self.as_of => {
                self.waiting.add(set, part);
            }
            Op::Inbound { inbound, .. } => {
                if batch > self.as_of {
                    self.waiting.close(inbound.id);
                }
                if batch > self.batch {
                    self.whole.insert(inbound.id, inbound);
                }
            }
            _ => {}
        }
    }

    /// Writes what an archive file does not have: those of the journal, then those of which parts
    /// wait for the others. Returns how many.
    pub(super) fn write(&self, out: &mut impl Write, ids: Ids) -> io::Result<u64> {
        let mut count = 0;
        for inbound in self.whole.values() {
            write_line(out, ids, inbound, "journal")?;
            count += 1;
        }
        for set in self.waiting.to_snapshot() {
            let opened_at = set.opened_at;
            let gathered = set.gathered();
            if gathered.pieces.is_empty() {
                continue;
            }
            // How the route writes its default alphabet is not known offline.
            let read = read::text(&gathered.pieces, &Charset::default());
            let inbound = Inbound {
                id: gathered.id,
                tenant: crate::message::TenantIx::OPERATOR,
                endpoint: None,
                route: gathered.route,
                from: gathered.from,
                to: gathered.to,
                text: read.text.map(String::into_boxed_str),
                encoding: read.encoding.into(),
                concat: gathered.concat,
                pieces: gathered.pieces,
                keyword: None,
                own_keyword: None,
                received_at: opened_at,
                auto_reply: None,
                in_reply_to: None,
            };
            write_line(out, ids, &inbound, "waiting for parts")?;
            count += 1;
        }
        Ok(count)
    }

    /// Whether an archived one stands in the journal, too.
    pub(super) fn has(&self, id: MessageId) -> bool {
        self.whole.contains_key(&id)
    }
}

/// Whether a file holds them.
pub(super) fn is_inbound(name: &str) -> bool {
    Kind::Inbound.span_of(name).is_some()
}

/// Calls `each` for every readable one of a file. Tells what could not be read.
pub(super) fn each(directory: &Path, name: &str, each: impl FnMut(Inbound)) -> Vec<String> {
    let content = Kind::Inbound.span_of(name).and_then(|day| {
        let path = directory.join(Kind::Content.name(day));
        path.exists().then(|| file::open_for_reading(&path).ok())?
    });
    file::open_for_reading(&directory.join(name))
        .and_then(|connection| inbound::each(&connection, content.as_ref(), each))
        .unwrap_or_else(|error| vec![error.to_string()])
}

/// One exported message.
#[derive(Serialize)]
struct Line<'a> {
    inbound_id: String,
    from: &'a str,
    to: &'a str,
    text: Option<&'a str>,
    encoding: &'a str,
    parts: u8,
    missing: Vec<u8>,
    received_at: String,
    source: &'a str,
}

/// Writes one line.
pub(super) fn write_line(
    out: &mut impl Write,
    ids: Ids,
    inbound: &Inbound,
    source: &str,
) -> io::Result<()> {
    let line = Line {
        inbound_id: ids.inbound(inbound.id).to_string(),
        from: &inbound.from,
        to: &inbound.to,
        text: inbound.text.as_deref(),
        encoding: &inbound.encoding,
        parts: inbound.total(),
        missing: inbound.missing().collect(),
        received_at: inbound.received_at.to_string(),
        source,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}
