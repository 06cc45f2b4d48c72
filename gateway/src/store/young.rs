//! Young: what is in memory, generation by generation, and everything found by key in it.
//!
//! ```text
//!  frozen (read by the archiver, never changed)  ◄── live, closed ◄── live, open (accepts go here)
//! ```
//! A change to a message of a frozen generation first copies the message into the open one; the
//! younger copy wins wherever both are seen. A generation is frozen as a whole, archived as a whole
//! and dropped as a whole.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::clock::UnixMs;
use crate::event::{Event, EventKind, EventKinds};
use crate::inbound::{Inbound, assembly, reply};
use crate::message::life::{Change, Life, Status, Then, What};
use crate::message::{EndpointIx, Message, MessageId, Parts, RouteIx, TenantIx};
use crate::outcome::Receipt;
use crate::store::carriers::Carriers;
use crate::store::depths::{self, Depths, Place, Places};
use crate::store::inbound::answered::Latest;
use crate::store::suppressions::{self, recent::Recent};
use crate::store::{EndpointState, IdempotencyKey, Learned, Orphan, Record, Transform, keys};
use crate::suppression::{Ended, Suppression};

use order::{Order, Which};

/// A generation closes at so many messages (design.md: 200,000) …
pub(crate) const GENERATION_MESSAGES: usize = 200_000;
/// … or at this age (design.md: 10 minutes) …
pub(crate) const GENERATION_AGE_MS: u64 = 600_000;
/// … or at this share of the memory budget: small enough that a backlog goes to disk in pieces, and
/// large enough that one transaction per file pays (some 20,000 messages of a 256 MB budget).
const GENERATION_SHARE: u64 = 16;
/// Live messages may take this share of the budget while they wait for receipts …
const LIVE_SHARE: u64 = 4;
/// … and this one while they wait for a route: a backlog gains nothing from being in memory.
const BACKLOG_SHARE: u64 = 8;
/// What a message takes beside its row: two pointers and a control octet in a hash table that is at
/// most 7/8 full, and the allocator's rounding.
const ROW_EXTRA: usize = 48;
/// Receipts that wait for their message: beyond it the oldest of the route that has most is given up.
pub(crate) const PARKED_MAX: usize = 100_000;
/// How long a receipt waits for its message (smpp.md §4.4: 10 minutes).
pub(crate) const PARKED_MS: u64 = 600_000;
/// After this a receipt's answer is there or lost, so that it is looked at again by every rung. Chosen:
/// twice the response timer's default (smpp.md §3.1).
pub(crate) const PARKED_RELOOK_MS: u64 = 60_000;
/// Receipts without a message that are kept for the operator; beyond it the oldest goes of the route that
/// has most. Chosen: enough to see what is wrong with a carrier, and small in every snapshot.
pub(crate) const ORPHANS_MAX: usize = 1_000;

/// A message in memory.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) message: Arc<Message>,
    pub(crate) life: Life,
    /// Whether the archive may hold an older copy in `pending`.
    pub(crate) stored: bool,
}

impl Row {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.message.memory_bytes() + self.life.heap_bytes() + ROW_EXTRA
    }
}

/// Messages accepted (or taken back into memory) in one span of batches.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    /// Counts up over the store's whole life.
    pub(crate) number: u64,
    /// The last batch whose accepts are in it; set when it is closed.
    pub(crate) last_batch: u64,
    pub(crate) opened_at: UnixMs,
    pub(crate) rows: FxHashMap<MessageId, Box<Row>>,
    pub(crate) keys: FxHashMap<[u8; 16], ([u8; 16], MessageId)>,
    pub(crate) carriers: Carriers,
    /// Handsets' messages, which never change.
    pub(crate) inbound: FxHashMap<MessageId, Arc<Inbound>>,
    /// By lane and tenant: messages in the order of acceptance, which is the order of their ids and of
    /// their places in the queue as long as they stay on their first route.
    accepted: FxHashMap<(u8, TenantIx), Vec<MessageId>>,
    /// The others that were queued here, by lane, tenant and order key: moved on, or taken back from
    /// the archive.
    moved: BTreeMap<(u8, TenantIx, u64), MessageId>,
    pub(crate) bytes: usize,
    /// Messages of it that are not final.
    pub(crate) unfinished: usize,
    /// Messages of it that are queued.
    pub(crate) queued: usize,
}

impl Generation {
    /// Whether there is nothing to archive.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.keys.is_empty() && self.inbound.is_empty()
    }

    /// Counts a message that was queued or not, and final or not, and is now.
    fn count(&mut self, was: (bool, bool), now: (bool, bool)) {
        self.queued = self.queued + usize::from(now.0) - usize::from(was.0);
        self.unfinished = self.unfinished + usize::from(was.1) - usize::from(now.1);
    }

    fn insert(&mut self, id: MessageId, row: Row) {
        self.bytes += row.bytes();
        self.unfinished += usize::from(!row.life.is_final);
        self.queued += usize::from(row.life.status == Status::Queued);
        let (lane, tenant) = line_of(&row.message);
        let accepted = self.accepted.entry((lane, tenant)).or_default();
        let newest = accepted.last().is_none_or(|last| *last < id);
        let first = newest && row.life.legs.iter().any(|leg| leg.order == id.0);
        if first {
            accepted.push(id);
        }
        for (_, _, leg) in row.life.open_legs(&row.message) {
            if !(first && leg.order == id.0) {
                self.moved.insert((lane, tenant, leg.order), id);
            }
        }
        self.rows.insert(id, Box::new(row));
    }

    /// Up to `limit` messages after an order key, in two runs by order key. `order_of` is the key of those
    /// that are wanted.
    fn queued_after(
        &self,
        (lane, tenant): (u8, TenantIx),
        after: u64,
        limit: usize,
        order_of: impl Fn(&Row) -> Option<u64>,
    ) -> Vec<MessageId> {
        // Each run holds what stands under its very key: one that has moved on since stands elsewhere,
        // and would take the place of others here.
        let fits = |order: u64, id: &MessageId| {
            let row = self.rows.get(id);
            row.and_then(|row| order_of(row)) == Some(order)
        };
        let accepted = self
            .accepted
            .get(&(lane, tenant))
            .map_or(&[][..], |ids| ids);
        let first = accepted.partition_point(|id| id.0 <= after);
        let accepted = accepted[first..].iter().copied();
        let accepted = accepted.filter(|id| fits(id.0, id)).take(limit);
        let mut found: Vec<MessageId> = accepted.collect();
        let (after, last) = (after.saturating_add(1), u64::MAX);
        let moved = self
            .moved
            .range((lane, tenant, after)..=(lane, tenant, last));
        let moved = moved
            .filter(|((.., order), id)| fits(*order, id))
            .take(limit);
        found.extend(moved.map(|(_, id)| *id));
        found
    }
}

/// Everything in memory.
#[derive(Debug, Default)]
pub(crate) struct Young {
    /// Being archived, oldest first.
    pub(crate) frozen: VecDeque<Arc<Generation>>,
    /// Oldest first; the last one is open.
    pub(crate) live: VecDeque<Generation>,
    /// The log's newest events, dense.
    pub(crate) events: VecDeque<Event>,
    /// The sequence number that the next event gets.
    pub(crate) next_seq: u64,
    /// Receipts that wait for their message, by the canonical form of their id.
    pub(crate) parked: FxHashMap<u64, Vec<Receipt>>,
    /// Where those with a transformed id wait, by that id. Bounded by `parked`.
    transformed: FxHashMap<u64, Vec<u64>>,
    /// In what order they came.
    parked_order: Order,
    /// Receipts without a message, the newest last.
    pub(crate) orphans: VecDeque<Orphan>,
    /// What the routes' receipts have taught.
    pub(crate) learned: FxHashMap<RouteIx, Learned>,
    /// The transforms of the routes that have one.
    pub(crate) transforms: FxHashMap<RouteIx, Transform>,
    /// Parts of handsets' messages that wait for the others.
    pub(crate) inbound: assembly::Sets,
    /// Automatic replies of the last minutes.
    pub(crate) replied: reply::Guard,
    /// Which message handsets may answer.
    pub(crate) latest: Latest,
    pub(crate) endpoints: FxHashMap<EndpointIx, EndpointState>,
    /// What happened to suppressions since the archive was last written.
    pub(crate) suppressions: Recent,
    /// Messages that wait for a route or a receipt, in memory and in the archive, by status.
    pub(crate) queued: u64,
    /// The queued ones, by where.
    pub(crate) depths: Depths,
    pub(crate) budget: u64,
    /// Close and freeze at the next occasion, whatever the limits say.
    pub(crate) forced: bool,
    /// When messages last left memory; 0: never.
    pub(crate) archived_at: UnixMs,
}

impl Young {
    /// An empty memory whose next event gets `next_seq`.
    pub(crate) fn new(budget: u64, next_seq: u64, generation: u64, now: UnixMs) -> Self {
        let open = Generation {
            number: generation,
            opened_at: now,
            ..Generation::default()
        };
        Self {
            live: VecDeque::from([open]),
            next_seq,
            budget,
            ..Self::default()
        }
    }

    fn open(&mut self) -> &mut Generation {
        if self.live.is_empty() {
            self.live.push_back(Generation::default());
        }
        let last = self.live.len() - 1;
        &mut self.live[last]
    }

    /// A message, the youngest copy of it.
    pub(crate) fn row(&self, id: MessageId) -> Option<&Row> {
        let live = self
            .live
            .iter()
            .rev()
            .find_map(|generation| generation.rows.get(&id));
        let frozen = || {
            self.frozen
                .iter()
                .rev()
                .find_map(|generation| generation.rows.get(&id))
        };
        live.or_else(frozen).map(Box::as_ref)
    }

    /// The message an idempotency key belongs to, with its fingerprint.
    pub(crate) fn key(&self, key: &[u8; 16]) -> Option<([u8; 16], MessageId)> {
        let live = self
            .live
            .iter()
            .rev()
            .find_map(|generation| generation.keys.get(key));
        let frozen = || {
            self.frozen
                .iter()
                .rev()
                .find_map(|generation| generation.keys.get(key))
        };
        live.or_else(frozen).copied()
    }

    /// The messages and parts that were answered under a carrier's id, the newest generation's first.
    pub(crate) fn carriers(&self, key: u64) -> impl Iterator<Item = (MessageId, u8)> {
        let frozen = self.frozen.iter().rev().map(Arc::as_ref);
        self.live
            .iter()
            .rev()
            .chain(frozen)
            .flat_map(move |generation| generation.carriers.get(key))
    }

    /// How many parts are found by their carriers' ids.
    #[cfg(test)]
    pub(crate) fn carrier_count(&self) -> usize {
        let frozen = self.frozen.iter().map(Arc::as_ref);
        let all = self.live.iter().chain(frozen);
        all.map(|generation| generation.carriers.len()).sum()
    }

    /// Adds a handset's message; its events begin with `seq`.
    pub(crate) fn receive(&mut self, inbound: Arc<Inbound>, seq: u64) {
        for event in inbound.events(seq) {
            self.push_event(event);
        }
        let open = self.open();
        open.bytes += inbound.memory_bytes() + ROW_EXTRA;
        open.inbound.insert(inbound.id, inbound);
    }

    /// A handset's message.
    pub(crate) fn inbound(&self, id: MessageId) -> Option<&Arc<Inbound>> {
        let frozen = self.frozen.iter().map(Arc::as_ref);
        let mut generations = frozen.chain(&self.live).rev();
        generations.find_map(|generation| generation.inbound.get(&id))
    }

    /// Adds an accepted message; its event gets `seq`.
    pub(crate) fn accept(
        &mut self,
        message: Arc<Message>,
        key: Option<IdempotencyKey>,
        seq: u64,
        stored: bool,
        claimed: Parts,
    ) {
        let mut life = Life::begin(&message);
        life.claim(claimed, true);
        let id = message.id;
        let (kind, changes) = match life.log.first_mut() {
            Some(rejected) => {
                rejected.seq = seq;
                (EventKind::MessageRejected, 1)
            }
            None => {
                life.accepted_seq = seq;
                (EventKind::MessageAccepted, 0)
            }
        };
        let at = message.accepted_at;
        let (tenant, version) = (message.tenant, life.version);
        let places = Place::all(&message, &life);
        self.queued += count_of(&places);
        self.depths.add(&places);
        let open = self.open();
        if let Some(key) = key {
            open.keys.insert(key.key, (key.fingerprint, id));
            open.bytes += 64;
        }
        open.insert(
            id,
            Row {
                message,
                life,
                stored,
            },
        );
        self.push_event(Event {
            seq,
            at,
            tenant,
            kind,
            version,
            subject: id,
            changes,
        });
    }

    /// Takes a message back into memory from the archive; a copy that is there already wins.
    pub(crate) fn adopt(&mut self, record: Record) {
        let id = record.message.id;
        if self.row(id).is_none() {
            let row = Row {
                message: record.message,
                life: record.life,
                stored: true,
            };
            self.open().insert(id, row);
        }
    }

    /// Applies a change to a message in memory. Returns its row, or `None` when it is not here.
    pub(crate) fn change(&mut self, id: MessageId, change: Change) -> Option<&Row> {
        self.thaw(id);
        let event = change.event.map(|kind| (kind, change.seq, change.at));
        let (tenant, version, changes, places) = {
            let generation = self
                .live
                .iter_mut()
                .rev()
                .find(|generation| generation.rows.contains_key(&id))?;
            let row = generation.rows.get_mut(&id)?;
            let was = (row.life.status == Status::Queued, row.life.is_final);
            let places = Place::all(&row.message, &row.life);
            let bytes = row.life.heap_bytes();
            if let What::Answered {
                route,
                part,
                provider_id,
                ..
            } = &change.what
                && !provider_id.is_empty()
                && (row.message.leg_of(*part)).is_some_and(|leg| leg.channel.is_receipted_by_id())
            {
                let transform = match self.transforms.is_empty() {
                    true => None,
                    false => self.transforms.get(route),
                };
                for key in keys::answer_keys(*route, provider_id, transform) {
                    generation.bytes += generation.carriers.add(key, (id, *part));
                }
            }
            if let Some(order) = new_order(&change) {
                let (lane, tenant) = line_of(&row.message);
                generation.moved.insert((lane, tenant, order), id);
            }
            if let What::Replanned { leg, routes, .. } = &change.what {
                row.message = Arc::new(row.message.over(*leg, routes.clone()));
            }
            let was_sent = row.life.sent_at;
            row.life.apply(change);
            if row.life.sent_at != was_sent {
                self.latest.note(&row.message);
            }
            generation.bytes += row.life.heap_bytes() - bytes.min(row.life.heap_bytes());
            let now = (row.life.status == Status::Queued, row.life.is_final);
            let changes = u16::try_from(row.life.log.len()).unwrap_or(u16::MAX);
            let places = (places, Place::all(&row.message, &row.life));
            let (tenant, version) = (row.message.tenant, row.life.version);
            generation.count(was, now);
            (tenant, version, changes, places)
        };
        let (was, is) = &places;
        self.depths.move_from((was, is));
        self.queued = (self.queued + count_of(is)).saturating_sub(count_of(was));
        if let Some((kind, seq, at)) = event {
            self.push_event(Event {
                seq,
                at,
                tenant,
                kind,
                version,
                subject: id,
                changes,
            });
        }
        self.row(id)
    }

    /// A suppression began, in place of another one or not. Its events are numbered from `seq` on.
    pub(crate) fn suppress(
        &mut self,
        suppression: Suppression,
        replaces: Option<MessageId>,
        seq: u64,
        kinds: EventKinds,
    ) {
        let (id, at) = (suppression.id, suppression.created_at);
        let told = suppressions::events(kinds, seq, at, (suppression.key.tenant, id));
        told.for_each(|event| self.push_event(event));
        if let Some(id) = replaces {
            self.suppressions.end(Ended {
                id,
                key: suppression.key.clone(),
                cause: suppression.cause.clone(),
                at,
            });
        }
        self.suppressions.begin(suppression);
    }

    /// A suppression ended. Its events are numbered from `seq` on.
    pub(crate) fn unsuppress(&mut self, ended: Ended, seq: u64, kinds: EventKinds) {
        let told = suppressions::events(kinds, seq, ended.at, (ended.key.tenant, ended.id));
        told.for_each(|event| self.push_event(event));
        self.suppressions.end(ended);
    }

    /// Claims or releases parts of a message in memory.
    pub(crate) fn claim(&mut self, id: MessageId, parts: Parts, claimed: bool) {
        self.thaw(id);
        let generations = self.live.iter_mut().rev();
        if let Some(row) = generations.filter_map(|g| g.rows.get_mut(&id)).next() {
            row.life.claim(parts, claimed);
        }
    }

    /// Copies a frozen message into the open generation, so that it can change.
    fn thaw(&mut self, id: MessageId) {
        if self
            .live
            .iter()
            .any(|generation| generation.rows.contains_key(&id))
        {
            return;
        }
        let frozen = self
            .frozen
            .iter()
            .rev()
            .find_map(|generation| generation.rows.get(&id));
        if let Some(row) = frozen.map(|row| Row {
            stored: true,
            ..(**row).clone()
        }) {
            self.open().insert(id, row);
        }
    }

    /// Adds an event. The log is dense: replay may bring events that the archive has already.
    pub(crate) fn push_event(&mut self, event: Event) {
        if event.seq >= self.next_seq {
            self.next_seq = event.seq + 1;
            self.events.push_back(event);
        }
    }

    /// Takes back the newest events, down to `seq` (an accept that found no room on disk).
    pub(crate) fn forget_events_from(&mut self, seq: u64) {
        while self.events.back().is_some_and(|event| event.seq >= seq) {
            self.events.pop_back();
        }
        self.next_seq = seq;
    }

    /// Takes back an accept that found no room on disk.
    pub(crate) fn forget(&mut self, id: MessageId, key: Option<IdempotencyKey>) {
        let open = self.open();
        if let Some(row) = open.rows.remove(&id) {
            open.bytes = open.bytes.saturating_sub(row.bytes());
            open.unfinished -= usize::from(!row.life.is_final);
            let queued = row.life.status == Status::Queued;
            open.queued -= usize::from(queued);
            let accepted = open.accepted.get_mut(&line_of(&row.message));
            accepted.and_then(|ids| ids.pop_if(|last| *last == id));
            let places = Place::all(&row.message, &row.life);
            if let Some(key) = key {
                open.keys.remove(&key.key);
            }
            self.queued -= count_of(&places);
            self.depths.remove(&places);
        }
    }

    /// An event in memory.
    pub(crate) fn event(&self, seq: u64) -> Option<&Event> {
        let first = self.events.front()?.seq;
        self.events
            .get(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// Keeps a receipt until its message comes. Returns the receipts that had to make room.
    pub(crate) fn park(&mut self, mut receipt: Receipt) -> Vec<Receipt> {
        receipt.pdu.detach();
        let key = keys::parked(&receipt);
        if let Some(alias) = self.alias(&receipt) {
            let keys = self.transformed.entry(alias).or_default();
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let place = (receipt.route, key, receipt.received_at);
        self.parked.entry(key).or_default().push(receipt);
        self.parked_order.add(place, &self.parked);
        while self.parked_order.waiting() > PARKED_MAX {
            let Some(oldest) = self.parked_order.pop_of_fullest() else {
                break;
            };
            // One that has been matched since makes room by itself.
            let given_up = self.unpark(oldest);
            if !given_up.is_empty() {
                return given_up;
            }
        }
        Vec::new()
    }

    /// Takes the receipts that wait under a key.
    pub(crate) fn unpark(&mut self, key: u64) -> Vec<Receipt> {
        let taken = self.parked.remove(&key).unwrap_or_default();
        for receipt in &taken {
            self.parked_order.remove(receipt.route);
            if let Some(alias) = self.alias(receipt)
                && let Some(keys) = self.transformed.get_mut(&alias)
            {
                keys.retain(|known| *known != key);
                if keys.is_empty() {
                    self.transformed.remove(&alias);
                }
            }
        }
        taken
    }

    fn alias(&self, receipt: &Receipt) -> Option<u64> {
        if self.transforms.is_empty() || receipt.provider_id.is_empty() {
            return None;
        }
        let transform = self.transforms.get(&receipt.route)?;
        let id = transform.apply(&receipt.provider_id);
        Some(keys::carrier_canonical(receipt.route, id))
    }

    /// Keys of receipts whose transformed id is under this key.
    pub(crate) fn parked_as(&self, alias: u64) -> &[u64] {
        self.transformed.get(&alias).map_or(&[], Vec::as_slice)
    }

    /// Receipts that have waited since before `relook`, once, and those that have since before
    /// `over`, at most `limit` of each.
    pub(crate) fn waited(
        &mut self,
        (relook, over): (UnixMs, UnixMs),
        limit: usize,
    ) -> (Vec<Receipt>, Vec<Receipt>) {
        let Self {
            parked,
            parked_order,
            ..
        } = self;
        let mut take = |which, before| {
            let mut found: Vec<Receipt> = Vec::new();
            while found.len() < limit {
                let Some((key, at)) = parked_order.pop_before(which, before) else {
                    break;
                };
                let receipts = parked.get(&key).into_iter().flatten();
                let own = receipts.filter(|receipt| receipt.received_at == at);
                for receipt in own {
                    if !found.contains(receipt) {
                        found.push(receipt.clone());
                    }
                }
            }
            found
        };
        (take(Which::Relook, relook), take(Which::Over, over))
    }

    /// Keeps a receipt without a message for the operator.
    pub(crate) fn orphan(&mut self, orphan: Orphan) {
        while self.orphans.len() >= ORPHANS_MAX {
            let mut counts: FxHashMap<RouteIx, usize> = FxHashMap::default();
            for kept in &self.orphans {
                *counts.entry(kept.route()).or_default() += 1;
            }
            let fullest = counts
                .iter()
                .max_by_key(|(route, count)| (**count, route.0));
            let of_fullest =
                |kept: &Orphan| fullest.is_some_and(|(route, _)| kept.route() == *route);
            let oldest = self.orphans.iter().position(of_fullest);
            self.orphans.remove(oldest.unwrap_or(0));
        }
        self.orphans.push_back(orphan);
    }

    /// Octets that messages, keys and logs take, in all generations.
    pub(crate) fn bytes(&self) -> usize {
        let live: usize = self.live.iter().map(|generation| generation.bytes).sum();
        let frozen: usize = self.frozen.iter().map(|generation| generation.bytes).sum();
        let events = self.events.len() * size_of::<Event>();
        live + frozen
            + events
            + self.inbound.bytes()
            + self.replied.bytes()
            + self.suppressions.bytes()
    }

    /// Closes the open generation when it is full or old. Called between batches.
    pub(crate) fn close_if_full(&mut self, batch: u64, now: UnixMs) {
        let budget = usize::try_from(self.budget / GENERATION_SHARE).unwrap_or(usize::MAX);
        let forced = self.forced;
        // A generation that is closed already takes them along.
        let suppressions = match self.live.len() {
            0 | 1 => self.suppressions.waiting(),
            _ => 0,
        };
        let open = self.open();
        let old = now.0.saturating_sub(open.opened_at.0) >= GENERATION_AGE_MS;
        let full = open.rows.len() >= GENERATION_MESSAGES || open.bytes + suppressions >= budget;
        if open.is_empty() && suppressions == 0 {
            return;
        }
        if full || old || forced {
            self.close(batch, now);
        }
    }

    /// Closes the open generation after `batch` and opens the next.
    pub(crate) fn close(&mut self, batch: u64, now: UnixMs) {
        let open = self.open();
        open.last_batch = batch;
        let number = open.number + 1;
        self.live.push_back(Generation {
            number,
            opened_at: now,
            ..Generation::default()
        });
    }

    /// Freezes the oldest closed generation when it is due: nearly all of it is final, or memory or
    /// age demand it. One at a time.
    pub(crate) fn freeze_if_due(&mut self, now: UnixMs) -> Option<Arc<Generation>> {
        if !self.frozen.is_empty() || self.live.len() < 2 {
            return None;
        }
        let oldest = &self.live[0];
        let done = oldest.unfinished * 100 <= oldest.rows.len();
        let old = now.0.saturating_sub(oldest.opened_at.0) >= GENERATION_AGE_MS;
        let live: usize = self.live.iter().map(|generation| generation.bytes).sum();
        let share = |share| usize::try_from(self.budget / share).unwrap_or(usize::MAX);
        let backlog = oldest.queued * 2 > oldest.rows.len();
        let crowded = live > share(if backlog { BACKLOG_SHARE } else { LIVE_SHARE })
            || self.suppressions.waiting() >= share(GENERATION_SHARE);
        if !(done || old || crowded || self.forced) {
            return None;
        }
        self.forced = false;
        self.suppressions.freeze();
        let generation = Arc::new(self.live.pop_front()?);
        self.frozen.push_back(generation.clone());
        Some(generation)
    }

    /// Drops an archived generation and the events that went with it.
    pub(crate) fn archived(&mut self, number: u64, events_upto: u64) {
        self.frozen.retain(|generation| generation.number != number);
        self.suppressions.archived();
        let over = self
            .events
            .partition_point(|event| event.seq <= events_upto);
        self.events.drain(..over);
        if self.events.capacity() > 4 * self.events.len().max(4096) {
            self.events.shrink_to(self.events.len());
        }
    }

    /// Counts the queued messages anew: those in memory and `archived` others.
    pub(crate) fn recount(&mut self, archived: Depths) {
        let mut depths = archived;
        for row in self.rows() {
            depths.add(&Place::all(&row.message, &row.life));
        }
        self.queued = depths.iter().map(|(_, count)| count).sum();
        self.depths = depths;
    }

    /// Every message in memory, the youngest copy of each.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        let live = self
            .live
            .iter()
            .flat_map(|generation| generation.rows.values());
        let frozen = self
            .frozen
            .iter()
            .flat_map(|generation| generation.rows.values());
        let thawed = move |row: &&Row| {
            !self
                .live
                .iter()
                .any(|generation| generation.rows.contains_key(&row.message.id))
        };
        live.map(Box::as_ref)
            .chain(frozen.map(Box::as_ref).filter(thawed))
    }

    /// Queued messages of a route, lane and tenant whose order key is after `after` and not beyond `upto`,
    /// in that order.
    pub(crate) fn queued_after(
        &self,
        place: Place,
        (after, upto): (u64, u64),
        limit: usize,
    ) -> Vec<&Row> {
        let key = |row: &Row| {
            let order = place.order_of(&row.message, &row.life);
            order.filter(|order| *order > after && *order <= upto)
        };
        // A younger copy has the last word; only what fits here is worth looking for one.
        let order_of = |row: &Row| {
            let order = key(row)?;
            let youngest = self.row(row.message.id);
            youngest.and_then(key).filter(|now| *now == order)
        };
        let frozen = self.frozen.iter().map(Arc::as_ref);
        let mut found: Vec<&Row> = frozen
            .chain(&self.live)
            .flat_map(|generation| {
                generation.queued_after((place.lane, place.tenant), after, limit, order_of)
            })
            .filter_map(|id| self.row(id))
            .collect();
        found.sort_unstable_by_key(|row| key(row));
        found.dedup_by_key(|row| key(row));
        found.truncate(limit);
        found
    }
}

/// How many places a message has in queues.
fn count_of(places: &Places) -> u64 {
    u64::try_from(places.len()).unwrap_or(0)
}

fn line_of(message: &Message) -> (u8, TenantIx) {
    (depths::lane(message.class), message.tenant)
}

/// The order key that a change gave its message, if it moved on.
pub(crate) fn new_order(change: &Change) -> Option<u64> {
    match &change.what {
        What::Answered {
            then: Then::NextRoute { order } | Then::NextStep { order, .. },
            ..
        }
        | What::MovedOn {
            then: Then::NextRoute { order },
            ..
        }
        | What::NoRoute {
            then: Then::NextStep { order, .. },
            ..
        }
        | What::PassedOver {
            then: Then::NextStep { order, .. },
            ..
        }
        | What::Replanned { order, .. } => Some(*order),
        _ => None,
    }
}

/// An event of an endpoint.
pub(crate) fn endpoint_event(
    seq: u64,
    at: UnixMs,
    tenant: TenantIx,
    endpoint: EndpointIx,
    kind: EventKind,
) -> Event {
    let subject = MessageId(u64::from(endpoint.0));
    Event {
        seq,
        at,
        tenant,
        kind,
        version: 0,
        subject,
        changes: 0,
    }
}

mod order;
#[cfg(test)]
mod tests;
