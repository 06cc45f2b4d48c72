//! The writer: one OS thread that forms the commit batches and decides what is decided once.
//!
//! A turn takes what is waiting, applies it to the young state under its lock while writing the
//! operations into a blob, makes the blob durable, and only then publishes: events, queue entries,
//! replies. Accepts stand last in a batch, so that a full disk takes back exactly them.

use std::cell::{Cell, OnceCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::message::id::IdMaker;
use crate::message::life::{AppReceipt, Change, Life, Status, Then, What, decide};
use crate::message::{MessageId, OnAmbiguous, Parts, RouteIx};
use crate::outcome::retries::Retries;
use crate::outcome::{Next, PartRule, Reason, Receipt, Settle};
use crate::store::app_receipts::AppAnswer;
use crate::store::claim::{Claims, needs_claim};
use crate::store::handle;
use crate::store::inbound::Taken;
use crate::store::inbox::{
    AcceptReply, Adopted, KnownKeys, Matched, Replanned, Reply, Request, Undone,
};
use crate::store::journal::{Journal, JournalError};
use crate::store::record::{Blob, OpRef};
use crate::store::shared::{Entry, Full, Shared};
use crate::store::suppressions::{Suppressed, Verdict};
use crate::store::unnamed::Unnamed;
use crate::store::young::{self, Row, Young};
use crate::store::{Accepted, Draft, Refused, Rung, keys};
use crate::suppression::Ended;
use finals::Finals;
use seldom::Seldom;

mod app_receipts;
mod finals;
mod inbound;
mod long;
mod onward;
mod receipts;
mod seldom;
mod suppress;

pub(crate) use receipts::{candidates, knowledge};

/// Small things (cursors) wait at most so long for a commit to ride in.
const LAZY_MAX: Duration = Duration::from_secs(1);
/// How long the writer waits before it tries a full disk again.
const FULL_PAUSE: Duration = Duration::from_millis(200);
/// Concatenation references are counted per destination, in so many slots (smpp.md §2.3: never
/// random, or two messages to one handset would mix).
const REFERENCE_SLOTS: usize = 65_536;

/// The writer's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    journal: Journal,
    blob: Blob,
    /// What this batch's accepts claim.
    claims: Claims,
    epoch: u64,
    ids: IdMaker,
    references: Vec<u16>,
    salt: u64,
    /// The last commit did not fit on disk.
    full: bool,
    /// How this batch's receipts found their messages, by route.
    hits: FxHashMap<RouteIx, [u64; Rung::COUNT]>,
    /// Routes whose rule this batch's receipts have made certain.
    pinned: Vec<RouteIx>,
    /// Where receipts wait that may be those of answers that are still to come; the newest.
    doubted: Vec<u64>,
    /// What carriers may have without an id, as of this commit, where that was asked for …
    unnamed: OnceCell<Option<Unnamed>>,
    /// … and when it may be looked for again.
    unnamed_after: Cell<UnixMs>,
    /// Messages that ended in this batch.
    finals: Finals,
    /// Warnings of what became of keywords.
    warnings: Seldom,
    commit_seconds: metrics::Histogram,
}

/// A request's items, and where its answer goes.
type Given<T, R> = (Vec<T>, Reply<R, Vec<T>>);

/// What is told when the batch is durable.
enum Done {
    Accept(AcceptReply, Vec<Accepted>),
    Settle(Reply<Vec<Next>, Vec<Settle>>, Vec<Next>),
    MoveOn(Reply<Vec<bool>, Vec<MessageId>>, Vec<bool>),
    Intent(
        Reply<Vec<MessageId>, Vec<(MessageId, Parts)>>,
        Vec<MessageId>,
    ),
    Claim(
        Reply<Vec<MessageId>, Vec<(MessageId, Parts)>>,
        Vec<MessageId>,
    ),
    Receipts(Reply<Matched, Vec<Receipt>>, Matched),
    App(Reply<AppAnswer, Vec<AppReceipt>>, AppAnswer),
    LookAgain(Reply<usize, Vec<Receipt>>, usize),
    Inbound(
        oneshot::Sender<Result<Taken, Refused>>,
        Result<Taken, Refused>,
    ),
    Archived(oneshot::Sender<Vec<PathBuf>>, Vec<PathBuf>),
    Overdue(oneshot::Sender<usize>, usize),
    Replanned(oneshot::Sender<Replanned>, Replanned),
    Rejected(
        Reply<Vec<MessageId>, Vec<(MessageId, Parts)>>,
        Vec<MessageId>,
    ),
    Suppressed(oneshot::Sender<Vec<Suppressed>>, Vec<Suppressed>),
    Unsuppressed(oneshot::Sender<Option<Ended>>, Option<Ended>),
    Plain(oneshot::Sender<()>),
}

/// A batch being formed.
#[derive(Default)]
struct Batch {
    done: Vec<Done>,
    ready: Vec<(RouteIx, Entry)>,
    /// Accepts of this batch, to be taken back when the disk is full.
    accepted: Vec<(MessageId, Option<crate::store::IdempotencyKey>)>,
    refused: Vec<AcceptReply>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, journal: Journal, epoch: u64, ids: IdMaker) -> Self {
        // Far from where the last epoch counted, in 16 bits and in their low octet alone.
        let start = u16::try_from(epoch & 0xFFFF)
            .unwrap_or(0)
            .wrapping_mul(0x9D59);
        let references = vec![start; REFERENCE_SLOTS];
        Self {
            shared,
            journal,
            blob: Blob::default(),
            claims: Claims::default(),
            epoch,
            ids,
            references,
            salt: epoch,
            full: false,
            hits: FxHashMap::default(),
            pinned: Vec::new(),
            doubted: Vec::new(),
            unnamed: OnceCell::new(),
            unnamed_after: Cell::new(UnixMs::ZERO),
            finals: Finals::default(),
            warnings: Seldom::default(),
            commit_seconds: metrics::histogram!("trunkline_store_commit_duration_seconds"),
        }
    }

    /// Runs until the inbox is closed and empty.
    ///
    /// # Errors
    /// A failed write or sync: the process has to end with it.
    pub(crate) fn run(mut self) -> Result<(), JournalError> {
        loop {
            if self.full {
                // Nobody asks a refusing store for anything: look for room without being asked.
                self.shared.inbox.note_lazy();
            }
            let turn = self.shared.inbox.take(LAZY_MAX);
            let closed = turn.closed;
            self.commit(turn.requests)?;
            if closed {
                self.shared.state_closed(self.journal.next_batch() - 1);
                return Ok(());
            }
            self.turn_generations();
        }
    }

    fn turn_generations(&mut self) {
        let now = self.shared.clock.now();
        let mut young = self.shared.young.write();
        young.close_if_full(self.journal.next_batch() - 1, now);
        if let Some(frozen) = young.freeze_if_due(now) {
            let as_of = self.journal.next_batch() - 1;
            let job = self.shared.freeze(&young, frozen, as_of, self.ids.last());
            drop(young);
            self.shared.archive.push(job);
        }
    }

    fn commit(&mut self, requests: Vec<Request>) -> Result<(), JournalError> {
        let now = self.shared.clock.now();
        let shared = self.shared.clone();
        let mut batch = Batch::default();
        self.blob.clear();
        self.unnamed.take();
        // Before anything of this batch can be seen in memory: what was on disk until now is what
        // queue readers may see.
        self.shared
            .visible
            .store(self.ids.last().0, Ordering::Release);
        let mut young = shared.young.write();
        let first_seq = young.next_seq;
        let mut accepts = Vec::new();
        for request in requests {
            match request {
                Request::Accept {
                    drafts,
                    together,
                    known,
                    seen,
                    reply,
                } => {
                    accepts.push(((drafts, together), known, seen, reply));
                }
                other => self.apply(&mut young, other, now, &mut batch),
            }
        }
        self.match_pinned(&mut young, now);
        self.apply_lazy(&mut young);
        self.give_up_inbound(&mut young, now);
        self.push_claims(true);
        let mark = self.blob.mark();
        let accepts_seq = young.next_seq;
        for (drafts, known, seen, reply) in accepts {
            self.accept(&mut young, (drafts, known, seen), reply, now, &mut batch);
        }
        self.push_claims(true);
        let last_seq = young.next_seq - 1;
        drop(young);
        let last_seq = self.make_durable(&mut batch, now, (mark, accepts_seq), last_seq)?;
        self.shared
            .visible
            .store(self.ids.last().0, Ordering::Release);
        if last_seq >= first_seq {
            self.shared.head.send_replace(last_seq);
        }
        receipts::tell_hits(&self.shared, &mut self.hits);
        self.finals.tell(&self.shared.names);
        self.publish(batch);
        Ok(())
    }

    /// Appends the blob. A full disk takes back the batch's accepts and then waits for room: what is
    /// left are settles and receipts, which nobody may lose. When nothing is left, an empty batch
    /// looks for room in each turn. Returns the last event made durable.
    fn make_durable(
        &mut self,
        batch: &mut Batch,
        now: UnixMs,
        (mark, accepts_seq): (usize, u64),
        mut last_seq: u64,
    ) -> Result<u64, JournalError> {
        let mut took_back = false;
        loop {
            if self.blob.is_empty() && !self.full {
                return Ok(last_seq);
            }
            let next = self.journal.next_batch();
            let began = self.shared.clock.instant();
            match self.journal.append(self.blob.seal(next, self.epoch, now)) {
                Ok(()) => {
                    self.commit_seconds.record(began.elapsed());
                    self.shared.acknowledged.store(next, Ordering::Release);
                    self.full = false;
                    self.shared.set_full(Full::Writer, false);
                    return Ok(last_seq);
                }
                Err(JournalError::Full) => {
                    self.full = true;
                    self.shared.set_full(Full::Writer, true);
                    if !took_back {
                        took_back = true;
                        self.take_back(batch, accepts_seq);
                        self.blob.truncate(mark);
                        last_seq = accepts_seq - 1;
                    }
                    if self.blob.is_empty() {
                        return Ok(last_seq);
                    }
                    // Room may be hours away: whoever asked before the disk was known to be full is
                    // told now.
                    batch.refused.extend(self.shared.inbox.take_accepts());
                    refuse(&mut batch.refused);
                    if self.shared.closing.load(Ordering::Acquire) {
                        // Without these settles and receipts, the next start repeats the work.
                        return Err(JournalError::Full);
                    }
                    std::thread::sleep(FULL_PAUSE);
                }
                Err(fatal) => return Err(fatal),
            }
        }
    }

    fn take_back(&mut self, batch: &mut Batch, accepts_seq: u64) {
        let mut young = self.shared.young.write();
        // Replies to handsets stand before the mark, as what they answer: these stay.
        let first = batch.accepted.first().map(|(id, _)| *id);
        for (id, key) in batch.accepted.drain(..).rev() {
            young.forget(id, key);
        }
        young.forget_events_from(accepts_seq);
        drop(young);
        self.finals.take_back_accepts();
        let accepts = |done: &Done| matches!(done, Done::Accept(..));
        for done in batch.done.extract_if(.., |done| accepts(done)) {
            if let Done::Accept(reply, _) = done {
                batch.refused.push(reply);
            }
        }
        let accepted = batch.ready.extract_if(.., |(_, entry)| {
            entry.fresh && first.is_some_and(|first| entry.message.id >= first)
        });
        for (route, entry) in accepted.filter(|(_, entry)| entry.claimed) {
            if let Some(feed) = self.shared.feed_of(route) {
                feed.credit.give_back(entry.message.class);
            }
        }
    }

    fn publish(&self, mut batch: Batch) {
        let shared = &self.shared;
        shared.feed(batch.ready);
        refuse(&mut batch.refused);
        // A caller that has gone away needs no answer: what it asked for is durable all the same.
        for done in batch.done {
            match done {
                Done::Accept(reply, accepted) => drop(reply.send(Ok(accepted))),
                Done::Settle(reply, next) => drop(reply.send(Ok(next))),
                Done::MoveOn(reply, moved) => drop(reply.send(Ok(moved))),
                Done::Intent(reply, over) | Done::Claim(reply, over) => drop(reply.send(Ok(over))),
                Done::Receipts(reply, matched) => drop(reply.send(Ok(matched))),
                Done::App(reply, answer) => drop(reply.send(Ok(answer))),
                Done::LookAgain(reply, found) => drop(reply.send(Ok(found))),
                Done::Inbound(reply, taken) => drop(reply.send(taken)),
                Done::Overdue(reply, count) => drop(reply.send(count)),
                Done::Replanned(reply, count) => drop(reply.send(count)),
                Done::Rejected(reply, left) => drop(reply.send(Ok(left))),
                Done::Suppressed(reply, added) => drop(reply.send(added)),
                Done::Unsuppressed(reply, ended) => drop(reply.send(ended)),
                Done::Archived(reply, files) => drop(reply.send(files)),
                Done::Plain(reply) => drop(reply.send(())),
            }
        }
    }

    fn apply(&mut self, young: &mut Young, request: Request, now: UnixMs, batch: &mut Batch) {
        match request {
            Request::Settle {
                settles,
                adopt,
                reply,
            } => {
                let given = (settles, reply);
                let Some((settles, reply)) = self.present(young, adopt, given, |one| one.id) else {
                    return;
                };
                let next = settles
                    .iter()
                    .map(|settle| self.settle(young, settle, now, batch))
                    .collect();
                self.match_doubted(young, now);
                batch.done.push(Done::Settle(reply, next));
            }
            Request::MoveOn {
                route,
                ids,
                adopt,
                reply,
            } => {
                let Some((ids, reply)) = self.present(young, adopt, (ids, reply), |id| *id) else {
                    return;
                };
                let moved = ids
                    .iter()
                    .map(|id| self.move_on(young, *id, route, now, batch))
                    .collect();
                batch.done.push(Done::MoveOn(reply, moved));
            }
            Request::Intent {
                route,
                parts,
                adopt,
                reply,
            } => {
                let given = (parts, reply);
                let Some((parts, reply)) = self.present(young, adopt, given, |one| one.0) else {
                    return;
                };
                let mut over = Vec::new();
                for (id, parts) in parts {
                    if !is_queued_on(young, id, route) {
                        over.push(id);
                        continue;
                    }
                    let what = What::Intent { route, parts };
                    self.plain_change(young, id, now, |life, context| {
                        Some(decide::intent(life, what, context))
                    });
                }
                batch.done.push(Done::Intent(reply, over));
            }
            other => self.apply_rest(young, other, now, batch),
        }
    }

    fn apply_rest(&mut self, young: &mut Young, request: Request, now: UnixMs, batch: &mut Batch) {
        match request {
            Request::Receipts { .. } | Request::LookAgain { .. } | Request::Unreadable { .. } => {
                self.apply_receipts(young, request, now, batch);
            }
            Request::AppReceipts { .. } => self.apply_app_receipts(young, request, now, batch),
            Request::Overdue {
                items,
                adopt,
                reply,
            } => {
                adopt_all(&self.shared, young, adopt);
                let count = self.overdue(young, items, now);
                batch.done.push(Done::Overdue(reply, count));
            }
            Request::Replan {
                items,
                adopt,
                reply,
            } => {
                adopt_all(&self.shared, young, adopt);
                let count = self.replan_all(young, items, now, batch);
                batch.done.push(Done::Replanned(reply, count));
            }
            Request::Inbound { parts, reply } => {
                let taken = self.receive(young, parts, now, batch);
                batch.done.push(Done::Inbound(reply, taken));
            }
            Request::Adopt { adopt, reply } => {
                adopt_all(&self.shared, young, adopt);
                batch.done.push(Done::Plain(reply));
            }
            Request::NoteEndpoint {
                tenant,
                endpoint,
                kind,
            } => {
                let event = young::endpoint_event(young.next_seq, now, tenant, endpoint, kind);
                self.blob.push(&OpRef::Note { event });
                young.push_event(event);
            }
            Request::Archived {
                number,
                events_upto,
                batch: upto,
                reply,
            } => {
                young.archived(number, events_upto);
                young.archived_at = now;
                let gone = self.journal.take_upto(upto);
                let files = u32::try_from(self.journal.file_count()).unwrap_or(u32::MAX);
                metrics::gauge!("trunkline_store_journal_files").set(f64::from(files));
                self.shared.archived_count.fetch_add(1, Ordering::Release);
                batch.done.push(Done::Archived(reply, gone));
            }
            other => self.apply_claims(young, other, now, batch),
        }
    }

    fn apply_claims(
        &mut self,
        young: &mut Young,
        request: Request,
        now: UnixMs,
        batch: &mut Batch,
    ) {
        match request {
            Request::Claim {
                route,
                parts,
                adopt,
                reply,
            } => {
                let given = (parts, reply);
                let Some((parts, reply)) = self.present(young, adopt, given, |one| one.0) else {
                    return;
                };
                let mut over = Vec::new();
                for (id, parts) in parts {
                    if route.is_none_or(|route| is_queued_on(young, id, route)) {
                        self.claims.push(id, parts);
                        young.claim(id, parts, route.is_some());
                    } else {
                        over.push(id);
                    }
                }
                self.push_claims(route.is_some());
                batch.done.push(Done::Claim(reply, over));
            }
            Request::MaybeSent { ids, reply } => {
                for id in ids {
                    self.plain_change(young, id, now, decide::maybe_sent);
                }
                batch.done.push(Done::Plain(reply));
            }
            other => self.apply_suppressions(young, other, now, batch),
        }
    }

    /// Takes back what was read from the archive. A request whose messages are not all in memory then
    /// goes back, to be asked again with them: `None`.
    fn present<T, R>(
        &self,
        young: &mut Young,
        adopt: Adopted,
        (items, reply): Given<T, R>,
        id: impl Fn(&T) -> MessageId,
    ) -> Option<Given<T, R>> {
        adopt_all(&self.shared, young, adopt);
        let missing = missing(young, items.iter().map(id));
        if missing.is_empty() {
            return Some((items, reply));
        }
        // Who asked may be gone: then nobody asks again.
        drop(reply.send(Err(Undone::Missing(items, missing))));
        None
    }

    fn push_claims(&mut self, claimed: bool) {
        if !self.claims.is_empty() {
            let claims = &self.claims;
            self.blob.push(&OpRef::Claim { claims, claimed });
            self.claims.clear();
        }
    }

    fn apply_lazy(&mut self, young: &mut Young) {
        for (endpoint, state) in self.shared.take_lazy() {
            self.blob.push(&OpRef::Endpoint {
                endpoint,
                state: &state,
            });
            young.endpoints.insert(endpoint, state);
        }
    }

    fn accept(
        &mut self,
        young: &mut Young,
        ((drafts, together), known, seen): ((Vec<Draft>, bool), KnownKeys, u64),
        reply: AcceptReply,
        now: UnixMs,
        batch: &mut Batch,
    ) {
        let stale = seen != self.shared.archived_count.load(Ordering::Acquire);
        if stale && drafts.iter().any(|draft| draft.key.is_some()) {
            drop(reply.send(Err(Undone::Stale((drafts, Refused::Overloaded)))));
            return;
        }
        if together && let Some(untouched) = reused(young, &drafts, &known) {
            batch.done.push(Done::Accept(reply, untouched));
            return;
        }
        let mut accepted = Vec::with_capacity(drafts.len());
        for (index, draft) in drafts.into_iter().enumerate() {
            let known = || known.get(index).copied().flatten();
            let earlier = draft.key.and_then(|key| {
                let (fingerprint, id) = young.key(&key.key).or_else(known)?;
                Some((fingerprint == key.fingerprint, id))
            });
            accepted.push(match earlier {
                Some((true, id)) => Accepted::Replayed(id),
                Some((false, id)) => Accepted::KeyReused(id),
                None => {
                    let key = draft.key;
                    let message = self.accept_one(young, draft, now, batch);
                    batch.accepted.push((message.id, key));
                    Accepted::Stored(message)
                }
            });
        }
        batch.done.push(Done::Accept(reply, accepted));
    }

    fn accept_one(
        &mut self,
        young: &mut Young,
        draft: Draft,
        now: UnixMs,
        batch: &mut Batch,
    ) -> Arc<crate::message::Message> {
        let Draft { mut message, key } = draft;
        message.id = self.ids.next(now);
        message.accepted_at = now;
        if message.segments > 1 {
            let slots = u64::try_from(REFERENCE_SLOTS).unwrap_or(1);
            let slot = usize::try_from(keys::recipient(message.to) % slots).unwrap_or(0);
            self.references[slot] = self.references[slot].wrapping_add(1);
            message.concat_ref = self.references[slot];
        }
        let verdict = self.shared.verdict(&message, now);
        if verdict == Verdict::Rejected {
            message.policy.refused = Some(Reason::Suppressed);
            metrics::counter!("trunkline_messages_suppressed_total", "at" => "accept").increment(1);
        }
        let seq = young.next_seq;
        self.blob.push(&OpRef::Accept {
            message: &message,
            key,
            seq,
        });
        let message = Arc::new(message);
        if message.refused().is_some() {
            self.finals.count(None, Status::Rejected);
        }
        let begins = message.first_step().unwrap_or(0);
        let queued = message.refused().is_none() && verdict == Verdict::Goes;
        let legs = message.legs().filter(|leg| queued && leg.step == begins);
        let mut claims = Parts::default();
        for leg in legs {
            let Some(route) = leg.routes.first().copied() else {
                continue;
            };
            let feed = self.shared.feed_of(route);
            let claimed =
                needs_claim(&message) && feed.is_some_and(|feed| feed.credit.take(message.class));
            if claimed {
                claims.0 |= leg.parts().0;
            }
            let entry = Entry::fresh(message.clone(), leg.parts(), claimed);
            batch.ready.push((route, entry));
        }
        if !claims.is_empty() {
            self.claims.push(message.id, claims);
        }
        young.accept(message.clone(), key, seq, false, claims);
        if begins > 0 {
            self.plain_change(young, message.id, now, decide::began_later);
        }
        if verdict == Verdict::GoesOn {
            self.refuse_step(young, (message.id, Parts::default()), now, batch);
        }
        message
    }

    fn context(&mut self, now: UnixMs, route: Option<RouteIx>) -> decide::Context {
        // Any number that is spread well does for jitter (SplitMix64's increment and multiplier).
        self.salt = self.salt.wrapping_add(0x9E37_79B9_7F4A_7C15);
        decide::Context {
            now,
            next_order: self.ids.peek(now).0,
            jitter: self.salt.wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32,
            receipts: route.is_none_or(|route| self.shared.sends_receipts(route)),
            parts: route.map_or(PartRule::All, |route| self.shared.part_rule(route)),
            retries: route.map_or(Retries::Backoff, |route| self.shared.retries(route)),
            instead: None,
        }
    }

    /// Records a change and applies it.
    fn record(&mut self, young: &mut Young, id: MessageId, mut change: Change) {
        if change.event.is_some() {
            change.seq = young.next_seq;
        }
        if let Some(order) = young::new_order(&change) {
            self.ids.raise_to(MessageId(order));
        }
        self.blob.push(&OpRef::Change {
            id,
            change: &change,
        });
        let end = Finals::end(&change);
        let row = young.change(id, change);
        if let (Some(status), Some(row)) = (end, row) {
            self.finals.count(row.life.route(&row.message), status);
        }
    }

    fn settle(
        &mut self,
        young: &mut Young,
        settle: &Settle,
        now: UnixMs,
        batch: &mut Batch,
    ) -> Next {
        let mut context = self.context(now, Some(settle.route));
        let Some(row) = young.row(settle.id) else {
            return Next::Done;
        };
        context.instead = self.shared.step_instead(&row.message, row.life.step, now);
        let change = decide::settle(&row.message, &row.life, settle, context);
        let then = match &change.what {
            What::Answered { then, .. } => *then,
            _ => Then::Wait,
        };
        let delivered = change.status == Status::Delivered;
        self.record(young, settle.id, change);
        if delivered {
            self.catch_up(young, settle.id, now);
        }
        self.match_parked(young, settle, now);
        if settle.outcome.unregistered > UnixMs::ZERO {
            let (part, since) = (settle.part, settle.outcome.unregistered);
            self.plain_change(young, settle.id, now, |life, context| {
                Some(decide::unregistered(life, part, since, context))
            });
        }
        if let Then::NextRoute { order } | Then::NextStep { order, .. } = then {
            self.enter(young, (settle.id, order), now, batch);
            return Next::Done;
        }
        let row = young.row(settle.id);
        let open = row.and_then(|row| row.life.leg_on(&row.message, settle.route));
        let (Some(row), Some((_, leg))) = (row, open) else {
            return Next::Done;
        };
        let parts = || row.life.parts_to_send(leg);
        let form = || row.life.form(settle.route);
        match then {
            Then::Again { due } => Next::Retry {
                due,
                parts: parts(),
                form: form(),
            },
            Then::Back => Next::Back {
                due: leg.due,
                parts: parts(),
                form: form(),
            },
            Then::Wait | Then::Kept => Next::Wait,
            Then::NextRoute { .. } | Then::NextStep { .. } | Then::Rest => Next::Done,
        }
    }

    fn move_on(
        &mut self,
        young: &mut Young,
        id: MessageId,
        route: RouteIx,
        now: UnixMs,
        batch: &mut Batch,
    ) -> bool {
        let context = self.context(now, None);
        // What has ended or is gone does not wait there either.
        let Some(row) = young.row(id) else {
            return true;
        };
        if row.life.leg_on(&row.message, route).is_none() {
            return true;
        }
        let Some(change) = decide::route_down(&row.message, &row.life, route, context) else {
            return false;
        };
        let order = young::new_order(&change).unwrap_or_default();
        self.record(young, id, change);
        self.enter(young, (id, order), now, batch);
        true
    }

    /// Ends messages whose time is over. It may have been settled since it was listed: one that was sent
    /// just now is not overdue. Of what a dispatcher has not out another one may have some: that answer is
    /// awaited, as long as it may come.
    fn overdue(
        &mut self,
        young: &mut Young,
        items: Vec<(MessageId, Option<Parts>)>,
        now: UnixMs,
    ) -> usize {
        let over = |row: &Row, parts: Option<Parts>, context| {
            let (message, life) = (&row.message, &row.life);
            let reason = Reason::ExpiredInQueue;
            parts
                .and_then(|parts| decide::withdrawn(life, parts, reason, context))
                .or_else(|| decide::expire(message, life, context))
                .or_else(|| decide::no_receipt(message, life, context))
        };
        let shared = self.shared.clone();
        let mut count = 0;
        for (id, parts) in items {
            let Some(row) = young.row(id) else { continue };
            let deadline = handle::deadline(&shared, &row.message, &row.life);
            let sent = row.life.status == Status::Sent;
            let early = deadline.is_none_or(|at| at > now);
            if early && sent {
                continue;
            }
            let parts = parts.filter(|_| early);
            let context = self.context(now, None);
            let change = young.row(id).and_then(|row| over(row, parts, context));
            let Some(change) = change else {
                continue;
            };
            self.record(young, id, change);
            count += 1;
            if sent {
                self.unreceipted(young, id);
            }
            self.catch_up(young, id, now);
        }
        count
    }

    fn plain_change(
        &mut self,
        young: &mut Young,
        id: MessageId,
        now: UnixMs,
        decide: impl FnOnce(&Life, decide::Context) -> Option<Change>,
    ) -> bool {
        let context = self.context(now, None);
        let Some(change) = young.row(id).and_then(|row| decide(&row.life, context)) else {
            return false;
        };
        self.record(young, id, change);
        true
    }
}

/// Tells that nothing of these accepts was written.
fn refuse(accepts: &mut Vec<AcceptReply>) {
    for reply in accepts.drain(..) {
        // A caller that has gone away needs no answer.
        drop(reply.send(Err(Undone::Refused((Vec::new(), Refused::DiskFull)))));
    }
}

/// When a draft's key was used with another request, before or within the call: the answers that leave
/// all of them out.
fn reused(
    young: &Young,
    drafts: &[Draft],
    known: &[Option<([u8; 16], MessageId)>],
) -> Option<Vec<Accepted>> {
    let mut here: FxHashMap<[u8; 16], [u8; 16]> = FxHashMap::default();
    let mut any = false;
    let mut answers = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.iter().enumerate() {
        let other = draft.key.and_then(|key| {
            let known = || known.get(index).copied().flatten();
            let earlier = young.key(&key.key).or_else(known);
            let first = *here.entry(key.key).or_insert(key.fingerprint);
            match earlier {
                Some((fingerprint, id)) => (fingerprint != key.fingerprint).then_some(id),
                None => (first != key.fingerprint).then_some(MessageId::default()),
            }
        });
        any |= other.is_some();
        answers.push(other.map_or(Accepted::Untouched, Accepted::KeyReused));
    }
    any.then_some(answers)
}

/// Takes back what was read from the archive, unless the archive has changed since: then what is
/// still missing is asked for again.
fn adopt_all(shared: &Shared, young: &mut Young, adopt: Adopted) {
    if adopt.seen != shared.archived_count.load(Ordering::Acquire) {
        return;
    }
    for record in adopt.records {
        young.adopt(record);
    }
}

/// Whether a message in memory waits for this route.
fn is_queued_on(young: &Young, id: MessageId, route: RouteIx) -> bool {
    young
        .row(id)
        .is_some_and(|row| row.life.leg_on(&row.message, route).is_some())
}

fn missing(young: &Young, ids: impl Iterator<Item = MessageId>) -> Vec<MessageId> {
    ids.filter(|id| young.row(*id).is_none()).collect()
}

/// Whether a message's parts have to be on disk as intents before their bytes are written.
#[must_use]
pub fn needs_intent(message: &crate::message::Message) -> bool {
    message.on_ambiguous == OnAmbiguous::Hold
}
