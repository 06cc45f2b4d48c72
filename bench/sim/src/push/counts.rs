//! What a push service saw: of each token, and in all.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Reasons counted by name. Chosen: either service has fewer.
const REASONS_MAX: usize = 100;

/// Tokens that were accepted more than once and are named. Chosen: enough to look into one.
const DOUBLED_MAX: usize = 100;

/// What became of one token's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Requests that were looked at.
    pub requests: u32,
    /// Those that were accepted: the device gets the message.
    pub accepted: u32,
    /// Those that were refused with a status and a reason.
    pub rejected: u32,
    /// Accepted, and the answer that says so was written to the connection.
    pub answered: u32,
    /// Accepted, and no answer will say so: the connection was cut, the stream reset, or the fault
    /// that was asked for is to be silent. The client cannot know: it must call these unknown.
    pub unanswered: u32,
}

/// What a push service saw. Numbers are since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Connections whose TLS handshake was done.
    pub connections: u64,
    /// Connections that are open now.
    pub connections_open: u64,
    /// TLS handshakes that failed, or did not choose `h2`.
    pub tls_failed: u64,
    /// Requests that were looked at.
    pub requests: u64,
    /// Of these: accepted.
    pub accepted: u64,
    /// Of these: refused with a status and a reason.
    pub rejected: u64,
    /// Of these: neither, because of a fault before acceptance.
    pub dropped: u64,
    /// Accepted, and answered so.
    pub answered: u64,
    /// Accepted, and never to be answered.
    pub unanswered: u64,
    /// Streams that the client gave up before their answer.
    pub reset_by_client: u64,
    /// GOAWAYs sent.
    pub go_aways: u64,
    /// Connections that the client ended with a GOAWAY.
    #[serde(default)]
    pub goodbyes: u64,
    /// Connections that were cut without a word.
    pub cuts: u64,
    /// Connections lost because the client opened more streams than SETTINGS allow.
    pub stream_limit_violations: u64,
    /// Connections lost because the client broke the protocol otherwise.
    pub protocol_violations: u64,
    /// What was wrong with the last of these.
    pub last_violation: Option<String>,
    /// The most streams that one connection had open.
    pub streams_max: u64,
    /// The most octets that one client's HPACK table had, of 4,096. A client that does not index
    /// what changes with each message stays at a few hundred (push.md §1.7).
    pub hpack_octets_max: u64,
    /// Access tokens given out; FCM only.
    pub grants: u64,
    /// Refused, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Tokens that are known.
    pub tokens: u64,
    /// Tokens that were accepted more than once.
    pub tokens_doubled: u64,
    /// Some of them, by name.
    pub doubled: Vec<String>,
    /// Requests whose token is not counted because the table is full.
    pub untracked: u64,
}

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which connection, counted from 1.
    pub connection: u64,
    /// The stream's id.
    pub stream: u32,
    /// Names and values, those with a colon included, as text.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
    /// Whether it was accepted.
    pub accepted: bool,
    /// The reason or code of a refusal, or the name of the fault.
    pub reason: String,
}

impl Seen {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(found, value)| (found == name).then_some(value.as_str()))
    }
}

/// What became of a request when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Accepted,
    Rejected,
    Dropped,
}

#[derive(Debug, Default)]
struct Inner {
    report: Report,
    tokens: HashMap<u64, TokenCounts>,
    last: VecDeque<Seen>,
}

/// The counters. One lock: it is held for a few dozen nanoseconds for each request.
#[derive(Debug)]
pub(super) struct Counts {
    inner: Mutex<Inner>,
    hasher: RandomState,
    tokens_max: usize,
    last_max: usize,
}

impl Counts {
    pub(super) fn new(tokens_max: usize, last_max: usize) -> Self {
        Self {
            inner: Mutex::default(),
            hasher: RandomState::new(),
            tokens_max,
            last_max,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Counters are whole whenever the lock is free, so a panic elsewhere does not spoil them.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token's key: among ten million, the chance that any two collide is 3 in a million.
    pub(super) fn key(&self, token: &[u8]) -> u64 {
        self.hasher.hash_one(token)
    }

    pub(super) fn keeps(&self) -> bool {
        self.last_max > 0
    }

    pub(super) fn keep(&self, seen: Seen) {
        let last = &mut self.inner().last;
        if last.len() >= self.last_max {
            last.pop_front();
        }
        last.push_back(seen);
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.inner().report);
    }

    /// A request was looked at.
    pub(super) fn request(&self, token: &[u8], fate: Fate, reason: &'static str) -> u64 {
        let key = self.key(token);
        let inner = &mut *self.inner();
        let report = &mut inner.report;
        report.requests += 1;
        match fate {
            Fate::Accepted => report.accepted += 1,
            Fate::Dropped => report.dropped += 1,
            Fate::Rejected => {
                report.rejected += 1;
                let known = report.reasons.len() < REASONS_MAX;
                match report.reasons.get_mut(reason) {
                    Some(count) => *count += 1,
                    None if known => drop(report.reasons.insert(reason.to_owned(), 1)),
                    None => {}
                }
            }
        }
        let full = inner.tokens.len() >= self.tokens_max;
        let counts = match inner.tokens.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => {
                report.untracked += 1;
                return key;
            }
            Entry::Vacant(entry) => {
                report.tokens += 1;
                entry.insert(TokenCounts::default())
            }
        };
        counts.requests += 1;
        counts.rejected += u32::from(fate == Fate::Rejected);
        if fate == Fate::Accepted {
            counts.accepted += 1;
            if counts.accepted == 2 {
                report.tokens_doubled += 1;
                if report.doubled.len() < DOUBLED_MAX {
                    let name = String::from_utf8_lossy(token).into_owned();
                    report.doubled.push(name);
                }
            }
        }
        key
    }

    /// An accepted request was answered, or never will be.
    pub(super) fn settled(&self, key: u64, answered: bool) {
        let inner = &mut *self.inner();
        let (all, own) = if answered { (1, 0) } else { (0, 1) };
        inner.report.answered += all;
        inner.report.unanswered += own;
        if let Some(counts) = inner.tokens.get_mut(&key) {
            counts.answered += u32::from(answered);
            counts.unanswered += u32::from(!answered);
        }
    }

    pub(super) fn token(&self, token: &[u8]) -> TokenCounts {
        let key = self.key(token);
        self.inner().tokens.get(&key).copied().unwrap_or_default()
    }

    pub(super) fn report(&self) -> Report {
        self.inner().report.clone()
    }

    pub(super) fn last(&self) -> Vec<Seen> {
        self.inner().last.iter().cloned().collect()
    }
}
