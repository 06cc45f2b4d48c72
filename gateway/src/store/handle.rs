//! The store's handle: one call, one durable commit; and the readers.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use tokio::sync::{oneshot, watch};

mod app_receipts;
mod receipts;
mod room;

use crate::clock::{Clock, UnixMs};
use crate::event::EventKind;
use crate::message::life::{Life, Status};
use crate::message::{Class, EndpointIx, Ids, Message, MessageId, Parts, RouteIx, TenantIx};
use crate::names::Names;
use crate::outcome::{Next, Outcome, OutcomeResult, Reason, Retry, Settle, Whose};
use crate::store::archive::Archive;
use crate::store::depths::Place;
use crate::store::inbox::{Adopted, Request, Undone};
use crate::store::listing;
use crate::store::open::{self, Found, OpenError};
use crate::store::shared::{Entry, FeedEntries, Shared};
use crate::store::writer::Writer;
use crate::store::young::Row;
use crate::store::{
    Accepted, Config, Draft, EndpointState, EventPage, EventQuery, Page, Query, Record, Refused,
};

/// The store's handle; cheap to clone. Dropping the last one does not stop it: [`Store::close`] does.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

struct Threads {
    running: Mutex<Vec<JoinHandle<()>>>,
    _lock: File,
}

/// Says so when a thread of the store panics: without it every call would wait for ever.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "a thread of the store panicked: this is a bug";
            self.0.failed.send_replace(Some(why.to_owned()));
            self.0.inbox.close();
        }
    }
}

impl Store {
    /// Opens a directory, recovers what it holds, and starts the store's threads.
    ///
    /// # Errors
    /// [`OpenError`]: in use, not readable, or damaged. Damage changes nothing on disk.
    pub fn open(config: Config, clock: Clock) -> Result<(Self, Found), OpenError> {
        open::open(config, clock)
    }

    pub(crate) fn start(shared: Arc<Shared>, writer: Writer, lock: File) -> std::io::Result<Self> {
        let mut running = Vec::new();
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let failing = shared.clone();
        running.push(thread("store-writer").spawn(move || {
            let _alarm = Alarm(failing.clone());
            if let Err(error) = writer.run() {
                failing.failed.send_replace(Some(error.to_string()));
                failing.inbox.close();
            }
        })?);
        let watching = shared.clone();
        running.push(thread("store-watch").spawn(move || {
            let _alarm = Alarm(watching.clone());
            open::watch(&watching);
        })?);
        let archiving = shared.clone();
        running.push(thread("store-archive").spawn(move || {
            let _alarm = Alarm(archiving.clone());
            Archive::run(&archiving);
        })?);
        let threads = Arc::new(Threads {
            running: Mutex::new(running),
            _lock: lock,
        });
        Ok(Self { shared, threads })
    }

    /// What the threads share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Writes what is waiting, syncs, and ends the store's threads. Blocks until they have ended.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.inbox.close();
        self.shared.archive.close();
        for thread in self.threads.running.lock().drain(..) {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }

    /// Says that the process cannot go on, and why; a restart recovers.
    pub fn fail(&self, why: String) {
        self.shared.failed.send_replace(Some(why));
    }

    /// Tells when the store cannot go on, and why: the process has to end then.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.shared.failed.subscribe()
    }

    /// Accepts drafts in one durable commit; the answers stand in the order of the drafts.
    ///
    /// # Errors
    /// [`Refused`]: nothing of the call was written.
    pub async fn accept(&self, drafts: Vec<Draft>) -> Result<Vec<Accepted>, Refused> {
        self.accept_as(drafts, false).await
    }

    /// Accepts drafts as one: all of them, or, when one of them has a key that was used with another
    /// request, none. Then that one answers [`Accepted::KeyReused`] and the others
    /// [`Accepted::Untouched`].
    ///
    /// # Errors
    /// [`Refused`]: nothing of the call was written.
    pub async fn accept_together(&self, drafts: Vec<Draft>) -> Result<Vec<Accepted>, Refused> {
        self.accept_as(drafts, true).await
    }

    async fn accept_as(
        &self,
        drafts: Vec<Draft>,
        together: bool,
    ) -> Result<Vec<Accepted>, Refused> {
        let shared = &self.shared;
        self.check_room(&drafts)?;
        let urgent = drafts.iter().any(|draft| draft.message.class == Class::Otp);
        if !urgent {
            self.pace(drafts.len()).await;
        }
        let _room = shared
            .inbox
            .room(drafts.len())
            .await
            .ok_or(Refused::Closed)?;
        let mut drafts = drafts;
        loop {
            let seen = shared.archived_count.load(Ordering::Acquire);
            let known = self.archived_keys(&drafts).await;
            let (reply, answer) = oneshot::channel();
            shared.inbox.push(
                Request::Accept {
                    drafts,
                    together,
                    known,
                    seen,
                    reply,
                },
                urgent,
            );
            match answer.await {
                Ok(Ok(accepted)) => return Ok(accepted),
                Ok(Err(Undone::Stale((back, _)))) => drafts = back,
                Ok(Err(Undone::Refused((_, refused)) | Undone::Missing((_, refused), _))) => {
                    return Err(refused);
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    async fn archived_keys(&self, drafts: &[Draft]) -> Vec<Option<([u8; 16], MessageId)>> {
        if drafts.iter().all(|draft| draft.key.is_none()) {
            return Vec::new();
        }
        let keys: Vec<Option<[u8; 16]>> = drafts
            .iter()
            .map(|draft| draft.key.map(|key| key.key))
            .collect();
        if !self.shared.archive.may_hold_keys(keys.iter().flatten()) {
            return Vec::new();
        }
        self.blocking(move |shared| {
            let asked: Vec<[u8; 16]> = keys.iter().flatten().copied().collect();
            let mut found = shared.archive.keys(&asked).into_iter();
            keys.iter()
                .map(|key| key.and_then(|_| found.next().flatten()))
                .collect()
        })
        .await
        .unwrap_or_default()
    }

    /// Settles as unknown every part that was out under `hold` when the last process ended: its
    /// intent is on disk, its answer is not. Before any dispatcher runs, or it would be sent again.
    /// Returns how many parts.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn settle_lost(&self) -> Result<usize, Refused> {
        let mut settles = Vec::new();
        let now = self.shared.clock.now();
        let mut lost = |message: &Message, life: &Life| {
            let out = life.parts_out();
            for (index, part) in out.iter().enumerate() {
                let Some(leg) = life.leg_at(part) else {
                    continue;
                };
                let Some(route) = life.route_of(message, leg) else {
                    continue;
                };
                // The last one of its leg.
                let after = out.iter().skip(index + 1);
                let last = after
                    .into_iter()
                    .all(|other| life.leg_at(other) != Some(leg));
                settles.push(Settle {
                    id: message.id,
                    route,
                    part,
                    outcome: Outcome {
                        result: OutcomeResult::Unknown,
                        whose: Whose::Us,
                        code: 0,
                        reason: Some(Reason::ProviderTimeout),
                        retry: Retry::Never,
                        provider_id: Box::default(),
                        text: None,
                        unregistered: UnixMs::ZERO,
                        handed_at: now,
                        answered_at: now,
                    },
                    last,
                    late: false,
                });
            }
        };
        // Opening has brought those of pending back to memory.
        for row in self.shared.young.read().rows() {
            lost(&row.message, &row.life);
        }
        let count = settles.len();
        if count > 0 {
            self.settle(settles).await?;
        }
        Ok(count)
    }

    /// Settles outcomes. The answers stand in the order of the settles.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn settle(&self, settles: Vec<Settle>) -> Result<Vec<Next>, Refused> {
        let mut settles = settles;
        let mut adopt = Adopted::default();
        // Where in the caller's order messages stood that are nowhere any more, the last one first.
        let mut gone: Vec<usize> = Vec::new();
        loop {
            let (reply, answer) = oneshot::channel();
            self.shared.inbox.push(
                Request::Settle {
                    settles,
                    adopt,
                    reply,
                },
                true,
            );
            match answer.await {
                Ok(Ok(mut next)) => {
                    gone.iter()
                        .rev()
                        .for_each(|at| next.insert(*at, Next::Done));
                    return Ok(next);
                }
                Ok(Err(Undone::Missing(back, missing))) => {
                    let before: Vec<MessageId> = back.iter().map(|settle| settle.id).collect();
                    (settles, adopt) = self.fetch(back, missing, |settle| settle.id).await;
                    let left: FxHashSet<MessageId> = settles.iter().map(|s| s.id).collect();
                    let lost = before
                        .iter()
                        .enumerate()
                        .filter(|(_, id)| !left.contains(id));
                    gone.extend(lost.map(|(at, _)| at).rev());
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (settles, adopt) = (back, Adopted::default());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    /// Moves messages on from a route that is down. Tells for each whether it has left the route's
    /// queue, because it went on, has ended or is gone: those without another route stay.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn move_on(
        &self,
        route: RouteIx,
        ids: Vec<MessageId>,
    ) -> Result<Vec<(MessageId, bool)>, Refused> {
        let all = ids.clone();
        let mut ids = ids;
        let mut adopt = Adopted::default();
        loop {
            let asked = ids.clone();
            let (reply, answer) = oneshot::channel();
            self.shared.inbox.push(
                Request::MoveOn {
                    route,
                    ids,
                    adopt,
                    reply,
                },
                true,
            );
            match answer.await {
                Ok(Ok(moved)) => {
                    let stay = asked.into_iter().zip(moved).filter(|(_, moved)| !moved);
                    let stay: FxHashSet<MessageId> = stay.map(|(id, _)| id).collect();
                    return Ok(all
                        .into_iter()
                        .map(|id| (id, !stay.contains(&id)))
                        .collect());
                }
                Ok(Err(Undone::Missing(back, missing))) => {
                    (ids, adopt) = self.fetch(back, missing, |id| *id).await;
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (ids, adopt) = (back, Adopted::default());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    /// Writes down that parts are about to be handed to a link, under `on_ambiguous: hold`. Returns
    /// the messages that must not go out, because they have ended, left the route or are gone.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn mark_inflight(
        &self,
        route: RouteIx,
        parts: Vec<(MessageId, Parts)>,
    ) -> Result<Vec<MessageId>, Refused> {
        let mut parts = parts;
        let mut adopt = Adopted::default();
        let mut gone = Vec::new();
        loop {
            let (reply, answer) = oneshot::channel();
            self.shared.inbox.push(
                Request::Intent {
                    route,
                    parts,
                    adopt,
                    reply,
                },
                true,
            );
            match answer.await {
                Ok(Ok(over)) => {
                    gone.extend(over);
                    return Ok(gone);
                }
                Ok(Err(Undone::Missing(back, missing))) => {
                    let asked = missing.clone();
                    (parts, adopt) = self.fetch(back, missing, |(id, _)| *id).await;
                    let left: FxHashSet<MessageId> = parts.iter().map(|(id, _)| *id).collect();
                    gone.extend(asked.into_iter().filter(|id| !left.contains(id)));
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (parts, adopt) = (back, Adopted::default());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    /// Those of a request's messages that are nowhere are dropped from it: they cannot be settled.
    pub(super) async fn fetch<T>(
        &self,
        mut items: Vec<T>,
        missing: Vec<MessageId>,
        id: impl Fn(&T) -> MessageId,
    ) -> (Vec<T>, Adopted) {
        let adopt = self.archived(missing.clone()).await;
        let known: FxHashSet<MessageId> = adopt.records.iter().map(|r| r.message.id).collect();
        // Since the read, it may have been taken back into memory by another request.
        let young = self.shared.young.read();
        let found = |id: MessageId| known.contains(&id) || young.row(id).is_some();
        let gone: FxHashSet<MessageId> = missing.into_iter().filter(|id| !found(*id)).collect();
        drop(young);
        if !gone.is_empty() {
            tracing::error!(
                count = gone.len(),
                "messages that are neither young nor archived"
            );
            items.retain(|item| !gone.contains(&id(item)));
        }
        (items, adopt)
    }

    pub(super) async fn archived(&self, ids: Vec<MessageId>) -> Adopted {
        let seen = self.shared.archived_count.load(Ordering::Acquire);
        let read = self.blocking(move |shared| shared.archive.get(&ids));
        Adopted {
            records: read.await.unwrap_or_default(),
            seen,
        }
    }

    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Option<T> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || read(&shared))
            .await
            .ok()
    }

    /// Ends what is overdue: queued messages past their lifetime, sent ones without a receipt.
    /// Called every few seconds. Returns how many.
    pub async fn expire(&self) -> usize {
        loop {
            let seen = self.shared.archived_count.load(Ordering::Acquire);
            let count = self.expire_some().await;
            // What was archived meanwhile was found in neither place: it is looked for again.
            if count > 0 || seen == self.shared.archived_count.load(Ordering::Acquire) {
                return count;
            }
        }
    }

    async fn expire_some(&self) -> usize {
        let now = self.shared.clock.now();
        let mut ids: Vec<MessageId> = {
            let young = self.shared.young.read();
            let over = young.rows().filter(|row| self.is_overdue(row, now));
            over.map(|row| row.message.id)
                .take(EXPIRE_AT_ONCE)
                .collect()
        };
        let seen = self.shared.archived_count.load(Ordering::Acquire);
        let archived = self.blocking(move |shared| {
            let shadowed = |id| shared.young.read().row(id).is_some();
            let ids = shared.archive.overdue(now, EXPIRE_AT_ONCE, shadowed);
            shared.archive.get(&ids)
        });
        let mut records = archived.await.unwrap_or_default();
        // Pending has their deadlines as of the config they were archived under.
        let over = |record: &Record| {
            let at = deadline(&self.shared, &record.message, &record.life);
            at.is_some_and(|at| at <= now)
        };
        records.retain(over);
        ids.extend(records.iter().map(|record| record.message.id));
        let adopt = Adopted { records, seen };
        if ids.is_empty() {
            return 0;
        }
        let items = ids.into_iter().map(|id| (id, None)).collect();
        self.over(items, adopt).await
    }

    async fn over(&self, items: Vec<(MessageId, Option<Parts>)>, adopt: Adopted) -> usize {
        let (reply, answer) = oneshot::channel();
        let request = Request::Overdue {
            items,
            adopt,
            reply,
        };
        self.shared.inbox.push(request, true);
        answer.await.unwrap_or(0)
    }

    /// Expires queued messages of which a dispatcher holds these parts and has not handed them out. Where
    /// a link may have others of a push, only these are withdrawn. Returns for how many messages that was
    /// so.
    pub async fn expire_queued(&self, items: Vec<(MessageId, Parts)>) -> usize {
        let adopt = {
            let missing: Vec<MessageId> = {
                let young = self.shared.young.read();
                items
                    .iter()
                    .map(|item| item.0)
                    .filter(|id| young.row(*id).is_none())
                    .collect()
            };
            if missing.is_empty() {
                Adopted::default()
            } else {
                self.archived(missing).await
            }
        };
        let items = items.into_iter().map(|(id, parts)| (id, Some(parts)));
        self.over(items.collect(), adopt).await
    }

    fn is_overdue(&self, row: &Row, now: UnixMs) -> bool {
        deadline(&self.shared, &row.message, &row.life).is_some_and(|deadline| deadline <= now)
    }

    /// New queue entries of a route since the last call, and a way to wait for more.
    #[must_use]
    pub fn take_feed(&self, route: RouteIx) -> FeedEntries {
        match self.shared.feeds.get(usize::from(route.0)) {
            Some(Some(feed)) => feed.take(),
            _ => FeedEntries::default(),
        }
    }

    /// Waits until a route's feed has something. Cancel safe.
    pub async fn feed_ready(&self, route: RouteIx) {
        match self.shared.feeds.get(usize::from(route.0)) {
            Some(Some(feed)) => feed.more.notified().await,
            _ => std::future::pending().await,
        }
    }

    /// Queued messages of a route, lane and tenant after an order key, in order; those from the archive are
    /// in memory again when this returns. `None`: they could not be read.
    pub async fn load_ready(
        &self,
        route: RouteIx,
        (class, tenant): (Class, TenantIx),
        after: u64,
        limit: usize,
    ) -> Option<Vec<Entry>> {
        let place = Place::new(route, class, tenant);
        let seen = self.shared.archived_count.load(Ordering::Acquire);
        let found = self
            .blocking(move |shared| listing::ready(shared, place, after, limit))
            .await;
        let (entries, records) = found?;
        if !records.is_empty() {
            let (reply, done) = oneshot::channel();
            let adopt = Adopted { records, seen };
            self.shared
                .inbox
                .push(Request::Adopt { adopt, reply }, true);
            done.await.ok()?;
        }
        Some(entries)
    }

    /// Reads one message.
    pub async fn get(&self, id: MessageId) -> Option<Record> {
        if let Some(record) = self.get_young(id) {
            return Some(record);
        }
        let found = self
            .blocking(move |shared| shared.archive.get(&[id]))
            .await?;
        // It may have come back to memory meanwhile; the younger copy wins.
        self.get_young(id).or_else(|| found.into_iter().next())
    }

    fn get_young(&self, id: MessageId) -> Option<Record> {
        let young = self.shared.young.read();
        let row = young
            .row(id)
            .filter(|_| id.0 <= self.shared.visible.load(Ordering::Acquire))?;
        Some(Record {
            message: row.message.clone(),
            life: row.life.clone(),
        })
    }

    /// Lists messages, newest first.
    pub async fn find(&self, query: Query) -> Page {
        self.blocking(move |shared| listing::find(shared, query))
            .await
            .unwrap_or_default()
    }

    /// Reads the event log.
    pub async fn events_after(&self, query: EventQuery) -> EventPage {
        if let Some(id) = query.message {
            return self.events_of(query, id).await;
        }
        let mut query = query;
        loop {
            let head = *self.shared.head.borrow();
            let (events, read_to) = match listing::young_events(&self.shared, &query, head) {
                Ok(found) => found,
                Err(first) => {
                    let read = move |shared: &Shared| shared.archive.events(&query, first);
                    let (events, read_to) = self.blocking(read).await.unwrap_or_default();
                    if read_to <= query.after {
                        // Their retention is over.
                        query.after = first - 1;
                        continue;
                    }
                    (events, read_to)
                }
            };
            let (events, missing) = listing::render_young(&self.shared, events);
            if missing.is_empty() {
                let events = events.into_iter().flatten().collect();
                return EventPage { events, read_to };
            }
            let render = move |shared: &Shared| listing::render_archived(shared, events, missing);
            let events = self.blocking(render).await.unwrap_or_default();
            return EventPage { events, read_to };
        }
    }

    /// A message's events follow from its life, wherever that is.
    async fn events_of(&self, query: EventQuery, id: MessageId) -> EventPage {
        let head = *self.shared.head.borrow();
        let Some(record) = self.get(id).await else {
            return EventPage {
                events: Vec::new(),
                read_to: head.max(query.after),
            };
        };
        listing::events_of(&self.shared, &query, &record, head)
    }

    /// The sequence number of the newest durable event; changes wake the receiver.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<u64> {
        self.shared.head.subscribe()
    }

    /// What every endpoint remembered when the store was opened.
    #[must_use]
    pub fn endpoint_states(&self) -> Vec<(EndpointIx, EndpointState)> {
        let young = self.shared.young.read();
        young
            .endpoints
            .iter()
            .map(|(ix, state)| (*ix, state.clone()))
            .collect()
    }

    /// Remembers an endpoint's state with the next commit (within a second); never forces one.
    /// The newest state wins.
    pub fn save_endpoint(&self, endpoint: EndpointIx, state: EndpointState) {
        self.shared.put_lazy(endpoint, state);
    }

    /// Puts an `endpoint.disabled` or `delivery.exhausted` event of `endpoint` into the log.
    pub fn note_endpoint(&self, tenant: TenantIx, endpoint: EndpointIx, kind: EventKind) {
        self.shared.inbox.push(
            Request::NoteEndpoint {
                tenant,
                endpoint,
                kind,
            },
            true,
        );
    }

    /// How ids look to users of this store.
    #[must_use]
    pub fn ids(&self) -> Ids {
        self.shared.ids
    }

    /// The name tables.
    #[must_use]
    pub fn names(&self) -> Arc<Names> {
        self.shared.names.clone()
    }

    /// The clock the store uses.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    /// Why accepts are refused now, if they are.
    #[must_use]
    pub fn refusing(&self) -> Option<Refused> {
        self.shared.refusing()
    }

    /// Figures for metrics and the start's report.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let young = self.shared.young.read();
        Figures {
            queued: young.queued,
            young_bytes: young.bytes(),
            young_messages: young
                .live
                .iter()
                .map(|generation| generation.rows.len())
                .sum(),
            generations: young.live.len() + young.frozen.len(),
            parked: young.parked.len(),
            drafts_waiting: self.shared.inbox.drafts_waiting(),
        }
    }
}

#[cfg(test)]
impl Store {
    /// Closes and freezes what is in memory and waits until the archiver is done with it, or was
    /// stopped on the way.
    pub(crate) async fn archive_now(&self) {
        let shared = &self.shared;
        let before = shared.archived_count.load(Ordering::Acquire);
        {
            let mut young = shared.young.write();
            if young
                .live
                .iter()
                .all(crate::store::young::Generation::is_empty)
                && young.suppressions.waiting() == 0
            {
                if young.frozen.is_empty() {
                    return;
                }
            } else {
                young.forced = true;
            }
        }
        while shared.archived_count.load(Ordering::Acquire) == before {
            if shared.archive.stop_at.load(Ordering::Acquire) == u32::MAX {
                return;
            }
            let (reply, done) = oneshot::channel();
            let adopt = Adopted::default();
            let turn = Request::Adopt { adopt, reply };
            shared.inbox.push(turn, true);
            done.await.unwrap();
        }
    }

    /// Stops the archiver before one of its steps.
    pub(crate) fn stop_archiver_at(&self, step: u32) {
        self.shared.archive.stop_at.store(step, Ordering::Release);
    }
}

/// Overdue messages ended in one commit.
const EXPIRE_AT_ONCE: usize = 1_000;

/// What the store holds in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages queued.
    pub queued: u64,
    /// Octets of young state.
    pub young_bytes: usize,
    /// Messages in memory.
    pub young_messages: usize,
    /// Generations in memory.
    pub generations: usize,
    /// Receipts that wait for their message.
    pub parked: usize,
    /// Drafts on their way to the writer.
    pub drafts_waiting: usize,
}

/// When the store itself ends a message.
pub(crate) fn deadline(shared: &Shared, message: &Message, life: &Life) -> Option<UnixMs> {
    match life.status {
        Status::Queued => Some(message.expires_at.plus(shared.expiry_grace)),
        Status::Sent if !life.is_final => {
            let legs = life.legs.iter().zip(0..u8::MAX);
            let routes = legs
                .filter(|(leg, _)| leg.step == life.step)
                .filter_map(|(_, at)| life.route_of(message, at));
            // Of devices over several routes, the one that waits longest.
            let timeout = routes
                .filter_map(|route| shared.receipt_timeout(route))
                .max();
            Some(life.sent_at.plus(timeout?))
        }
        _ => None,
    }
}
