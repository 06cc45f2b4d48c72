//! What arrived: per event id, per message and per type.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, Hasher};

use serde::{Deserialize, Serialize};

/// Types of message events (contract §3). Each has a bit in [`Seen`].
const MESSAGE_TYPES: [&str; 13] = [
    "message.accepted",
    "message.scheduled",
    "message.queued",
    "message.sent",
    "message.delivered",
    "message.read",
    "message.undelivered",
    "message.failed",
    "message.rejected",
    "message.expired",
    "message.canceled",
    "message.unknown",
    "message.fallback_started",
];

/// Types counted by name; a sender that makes up more gets them counted as `other`.
const TYPES_MAX: usize = 64;

/// What was received. Numbers are since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Requests whose body arrived.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Requests by the status they were answered with.
    pub answers: BTreeMap<u16, u64>,
    /// Requests closed without an answer.
    pub closed: u64,
    /// Requests held without an answer.
    pub hung: u64,
    /// Requests with a signature or timestamp that does not hold.
    pub unverified: u64,
    /// Requests that are neither event nor batch.
    pub unparsable: u64,
    /// Single events whose id is not that of the header `webhook-id`.
    pub id_mismatches: u64,
    /// Requests that were batches.
    pub batches: u64,
    /// Events of the largest batch.
    pub batch_events_max: u64,
    /// Events received, copies included.
    pub events: u64,
    /// Event ids received.
    pub events_unique: u64,
    /// Events whose id had been received before.
    pub events_duplicate: u64,
    /// Events by type, without copies.
    pub by_type: BTreeMap<String, u64>,
    /// Messages with an event.
    pub messages: u64,
    /// Messages with a `message.delivered`.
    pub messages_delivered: u64,
    /// Messages with an event that says `final`.
    pub messages_final: u64,
    /// Events that repeat type and message of another event under a new id.
    pub type_repeats: u64,
    /// Events whose version is not above the one held for the message.
    pub out_of_order: u64,
    /// Events not told apart because the tables are full; they are in `events` only.
    pub beyond_tables: u64,
    /// When the first event was received, in milliseconds since 1970; 0 if none was.
    pub first_event_ms: u64,
    /// When the last event was received, likewise.
    pub last_event_ms: u64,
}

/// The keys are hashes already.
#[derive(Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("invariant: keys are u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What is known of a message: the highest version, a bit for each type seen, and `final`.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    version: u16,
    types: u16,
}

/// The bit of [`Seen`] for `final`, above those of the types.
const FINAL: u16 = 1 << 15;

/// The counters and the tables behind them. Ids are kept as 64-bit hashes: among 10 million, the
/// chance that any two collide is 3 in a million.
#[derive(Debug)]
pub(super) struct Counts {
    report: Report,
    events: HashSet<u64, BuildHasherDefault<Hashed>>,
    messages: HashMap<u64, Seen, BuildHasherDefault<Hashed>>,
    most: usize,
}

/// One request, parsed.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    events: Vec<Line<'a>>,
    batch: bool,
    id_mismatch: bool,
}

#[derive(Debug)]
struct Line<'a> {
    id: u64,
    kind: &'a str,
    message: Option<u64>,
    version: u64,
    last: bool,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default)]
    id: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow, default)]
    data: Data<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Data<'a> {
    message_id: Option<&'a str>,
    version: Option<u64>,
    #[serde(rename = "final")]
    last: Option<bool>,
    #[serde(borrow)]
    events: Option<Vec<Body<'a>>>,
}

fn hash(text: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(text)
}

impl<'a> Parsed<'a> {
    /// Reads a single event or a batch. `id` is that of the header.
    pub(super) fn read(id: &str, body: &'a [u8]) -> Result<Self, serde_json::Error> {
        let body: Body<'a> = serde_json::from_slice(body)?;
        if body.kind == "batch" {
            let events = body.data.events.unwrap_or_default();
            let events = events.into_iter().map(|event| line(event, "")).collect();
            return Ok(Self {
                events,
                batch: true,
                id_mismatch: false,
            });
        }
        let id_mismatch = body.id.is_some_and(|own| own != id);
        Ok(Self {
            events: vec![line(body, id)],
            batch: false,
            id_mismatch,
        })
    }
}

fn line<'a>(event: Body<'a>, header_id: &str) -> Line<'a> {
    let message = event
        .data
        .message_id
        .filter(|_| event.kind.starts_with("message."));
    Line {
        id: hash(event.id.unwrap_or(header_id)),
        kind: event.kind,
        message: message.map(hash),
        version: event.data.version.unwrap_or(0),
        last: event.data.last.unwrap_or(false),
    }
}

impl Counts {
    pub(super) fn new(most: usize) -> Self {
        Self {
            report: Report::default(),
            events: HashSet::default(),
            messages: HashMap::default(),
            most,
        }
    }

    pub(super) fn report(&self) -> Report {
        self.report.clone()
    }

    pub(super) fn requests(&self) -> u64 {
        self.report.requests
    }

    pub(super) fn request(&mut self, bytes: usize) {
        self.report.requests += 1;
        self.report.bytes += bytes as u64;
    }

    pub(super) fn answered(&mut self, status: Option<u16>) {
        match status {
            Some(status) => *self.report.answers.entry(status).or_default() += 1,
            None => self.report.closed += 1,
        }
    }

    pub(super) fn hung(&mut self) {
        self.report.hung += 1;
    }

    pub(super) fn unverified(&mut self) {
        self.report.unverified += 1;
    }

    pub(super) fn unparsable(&mut self) {
        self.report.unparsable += 1;
    }

    pub(super) fn add(&mut self, parsed: &Parsed<'_>, at_ms: u64) {
        let report = &mut self.report;
        report.id_mismatches += u64::from(parsed.id_mismatch);
        if parsed.batch {
            report.batches += 1;
            report.batch_events_max = report.batch_events_max.max(parsed.events.len() as u64);
        }
        if !parsed.events.is_empty() {
            report.last_event_ms = report.last_event_ms.max(at_ms);
            if report.first_event_ms == 0 {
                report.first_event_ms = at_ms;
            }
        }
        for event in &parsed.events {
            self.event(event);
        }
    }

    fn event(&mut self, event: &Line<'_>) {
        self.report.events += 1;
        if self.events.len() >= self.most && !self.events.contains(&event.id) {
            self.report.beyond_tables += 1;
            return;
        }
        if !self.events.insert(event.id) {
            self.report.events_duplicate += 1;
            return;
        }
        self.report.events_unique += 1;
        let by_type = &mut self.report.by_type;
        if let Some(count) = by_type.get_mut(event.kind) {
            *count += 1;
        } else {
            let name = if by_type.len() < TYPES_MAX {
                event.kind
            } else {
                "other"
            };
            *by_type.entry(name.to_owned()).or_default() += 1;
        }
        if let Some(message) = event.message {
            self.message(message, event);
        }
    }

    fn message(&mut self, message: u64, event: &Line<'_>) {
        let report = &mut self.report;
        let seen = match self.messages.entry(message) {
            Entry::Occupied(seen) => seen.into_mut(),
            Entry::Vacant(vacant) => {
                report.messages += 1;
                vacant.insert(Seen::default())
            }
        };
        let version = u16::try_from(event.version).unwrap_or(u16::MAX);
        if version <= seen.version && event.version > 0 {
            report.out_of_order += 1;
        }
        seen.version = seen.version.max(version);
        if let Some(bit) = MESSAGE_TYPES.iter().position(|kind| *kind == event.kind) {
            let bit = 1 << bit;
            if seen.types & bit != 0 {
                report.type_repeats += 1;
            } else if event.kind == "message.delivered" {
                report.messages_delivered += 1;
            }
            seen.types |= bit;
        }
        if event.last && seen.types & FINAL == 0 {
            seen.types |= FINAL;
            report.messages_final += 1;
        }
    }
}
