//! The store's handle: one call, one durable commit; and the readers.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::clock::{Clock, UnixMs};
use crate::event::render::{self, Lookup};
use crate::event::{Event, EventKind, EventKinds};
use crate::message::life::{Life, Status};
use crate::message::{Class, EndpointIx, Ids, Message, MessageId, Parts, RouteIx, TenantIx, Text};
use crate::names::Names;
use crate::outcome::{Next, Receipt, Settle};
use crate::store::archive::Archive;
use crate::store::inbox::{Matched, Request, Undone};
use crate::store::open::{self, Found, OpenError, carrier_forms};
use crate::store::shared::{Entry, FeedEntries, Shared};
use crate::store::writer::{self, Writer};
use crate::store::young::Row;
use crate::store::{
    Accepted, Callback, Config, Draft, EndpointState, EventPage, EventQuery, Page, Query, Record,
    Refused, Rendered,
};

/// Rows that one list request looks at, at most (design.md: a row budget).
const FIND_ROWS_MAX: usize = 50_000;
/// How long after its deadline the store itself expires a queued message; before that its dispatcher
/// does, which knows whether an attempt is out (longer than the longest response_timeout).
const EXPIRY_GRACE: Duration = Duration::from_secs(60);

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
            if let Err(error) = writer.run() {
                failing.failed.send_replace(Some(error.to_string()));
                failing.inbox.close();
            }
        })?);
        let watching = shared.clone();
        running.push(thread("store-watch").spawn(move || open::watch(&watching))?);
        let archiving = shared.clone();
        running.push(thread("store-archive").spawn(move || Archive::run(&archiving))?);
        let threads = Arc::new(Threads {
            running: Mutex::new(running),
            _lock: lock,
        });
        Ok(Self { shared, threads })
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
        let shared = &self.shared;
        self.check_room(&drafts)?;
        let _room = shared
            .inbox
            .room(drafts.len())
            .await
            .ok_or(Refused::Closed)?;
        let urgent = drafts.iter().any(|draft| draft.message.class == Class::Otp);
        let mut drafts = drafts;
        loop {
            let seen = shared.archived_count.load(Ordering::Acquire);
            let known = self.archived_keys(&drafts).await;
            let (reply, answer) = oneshot::channel();
            shared.inbox.push(
                Request::Accept {
                    drafts,
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

    /// Low classes are refused first: each has its share of `limits.queued`.
    fn check_room(&self, drafts: &[Draft]) -> Result<(), Refused> {
        if let Some(refused) = self.shared.refusing() {
            return Err(refused);
        }
        let queued = self.shared.young.read().queued;
        let lowest = drafts.iter().map(|draft| draft.message.class).max();
        let share = match lowest.unwrap_or(Class::Otp) {
            Class::Otp => 100,
            Class::Transactional => 95,
            Class::Conversational => 90,
            Class::Promotional => 80,
        };
        let limit = self.shared.config.queued / 100 * share;
        if queued >= limit {
            Err(Refused::Overloaded)
        } else {
            Ok(())
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

    /// Settles outcomes. The answers stand in the order of the settles.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn settle(&self, settles: Vec<Settle>) -> Result<Vec<Next>, Refused> {
        let mut settles = settles;
        let mut adopt = Vec::new();
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
                Ok(Ok(next)) => return Ok(next),
                Ok(Err(Undone::Missing(back, missing))) => {
                    (settles, adopt) = self.fetch(back, missing, |settle| settle.id).await;
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (settles, adopt) = (back, Vec::new());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    /// Moves messages on from a route that is down. Tells for each whether it has left the route:
    /// those without another route stay.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn move_on(
        &self,
        route: RouteIx,
        ids: Vec<MessageId>,
    ) -> Result<Vec<(MessageId, bool)>, Refused> {
        let mut ids = ids;
        let mut adopt = Vec::new();
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
                Ok(Ok(moved)) => return Ok(asked.into_iter().zip(moved).collect()),
                Ok(Err(Undone::Missing(back, missing))) => {
                    (ids, adopt) = self.fetch(back, missing, |id| *id).await;
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (ids, adopt) = (back, Vec::new());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    /// Writes down that parts are about to be handed to a link, under `on_ambiguous: hold`.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped.
    pub async fn mark_inflight(
        &self,
        route: RouteIx,
        parts: Vec<(MessageId, Parts)>,
    ) -> Result<(), Refused> {
        let mut parts = parts;
        let mut adopt = Vec::new();
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
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Undone::Missing(back, missing))) => {
                    (parts, adopt) = self.fetch(back, missing, |(id, _)| *id).await;
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (parts, adopt) = (back, Vec::new());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    /// Matches receipts to their messages, or parks them. Twice the same changes nothing.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped: the carrier has to send them again.
    pub async fn apply_receipts(&self, receipts: Vec<Receipt>) -> Result<Matched, Refused> {
        let mut receipts = receipts;
        let mut adopt = Vec::new();
        loop {
            let seen = self.shared.archived_count.load(Ordering::Acquire);
            let known = self.archived_parts(&receipts).await;
            let (reply, answer) = oneshot::channel();
            let request = Request::Receipts {
                receipts,
                known,
                adopt,
                seen,
                reply,
            };
            self.shared.inbox.push(request, true);
            match answer.await {
                Ok(Ok(matched)) => return Ok(matched),
                Ok(Err(Undone::Missing(back, missing))) => {
                    receipts = back;
                    adopt = self.archived(missing).await;
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (receipts, adopt) = (back, Vec::new());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    /// What the archive knows of receipts that memory does not know.
    async fn archived_parts(&self, receipts: &[Receipt]) -> Vec<Option<(MessageId, u8)>> {
        let unknown: Vec<Option<Receipt>> = {
            let young = self.shared.young.read();
            let asked = |receipt: &Receipt| {
                writer::find_part(&young, receipt)
                    .is_none()
                    .then(|| receipt.clone())
            };
            receipts.iter().map(asked).collect()
        };
        if unknown.iter().all(Option::is_none) || self.shared.archive.is_empty() {
            return Vec::new();
        }
        self.blocking(move |shared| {
            unknown
                .iter()
                .map(|receipt| archived_part(shared, receipt.as_ref()?))
                .collect()
        })
        .await
        .unwrap_or_default()
    }

    /// Those of a request's messages that are nowhere are dropped from it: they cannot be settled.
    async fn fetch<T>(
        &self,
        mut items: Vec<T>,
        missing: Vec<MessageId>,
        id: impl Fn(&T) -> MessageId,
    ) -> (Vec<T>, Vec<Record>) {
        let adopt = self.archived(missing.clone()).await;
        let found = |id: MessageId| adopt.iter().any(|record| record.message.id == id);
        let gone: Vec<MessageId> = missing.into_iter().filter(|id| !found(*id)).collect();
        if !gone.is_empty() {
            tracing::error!(
                count = gone.len(),
                "messages that are neither young nor archived"
            );
            items.retain(|item| !gone.contains(&id(item)));
        }
        (items, adopt)
    }

    async fn archived(&self, ids: Vec<MessageId>) -> Vec<Record> {
        self.blocking(move |shared| shared.archive.get(&ids))
            .await
            .unwrap_or_default()
    }

    async fn blocking<T: Send + 'static>(
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
        let now = self.shared.clock.now();
        let mut ids: Vec<MessageId> = {
            let young = self.shared.young.read();
            let over = young.rows().filter(|row| self.is_overdue(row, now));
            over.map(|row| row.message.id)
                .take(EXPIRE_AT_ONCE)
                .collect()
        };
        let archived = self.blocking(move |shared| {
            let ids = shared.archive.overdue(now, EXPIRE_AT_ONCE);
            shared.archive.get(&ids)
        });
        let adopt = archived.await.unwrap_or_default();
        ids.extend(adopt.iter().map(|record| record.message.id));
        if ids.is_empty() {
            return 0;
        }
        let (reply, answer) = oneshot::channel();
        self.shared
            .inbox
            .push(Request::Overdue { ids, adopt, reply }, true);
        answer.await.unwrap_or(0)
    }

    /// Expires queued messages that their dispatcher holds and has not handed out.
    pub async fn expire_queued(&self, ids: Vec<MessageId>) -> usize {
        let adopt = {
            let missing: Vec<MessageId> = {
                let young = self.shared.young.read();
                ids.iter()
                    .copied()
                    .filter(|id| young.row(*id).is_none())
                    .collect()
            };
            if missing.is_empty() {
                Vec::new()
            } else {
                self.archived(missing).await
            }
        };
        let (reply, answer) = oneshot::channel();
        self.shared
            .inbox
            .push(Request::Overdue { ids, adopt, reply }, true);
        answer.await.unwrap_or(0)
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

    /// Queued messages of a route and lane after an order key, in order; those from the archive are
    /// in memory again when this returns.
    pub async fn load_ready(
        &self,
        route: RouteIx,
        class: Class,
        after: u64,
        limit: usize,
    ) -> Vec<Entry> {
        let lane = class.lane();
        let found = self
            .blocking(move |shared| {
                let archived = shared.archive.queued_after(route, lane, after, limit);
                let young = shared.young.read();
                // The younger copy wins, whatever it says.
                let old = archived
                    .into_iter()
                    .filter(|r| young.row(r.message.id).is_none());
                let adopt: Vec<Record> = old.collect();
                let mut entries: Vec<Entry> = adopt
                    .iter()
                    .map(|r| Entry::of(&r.message, &r.life))
                    .collect();
                let visible = shared.visible.load(Ordering::Acquire);
                let rows = young.queued_after(route, lane, (after, visible), limit);
                entries.extend(
                    rows.into_iter()
                        .map(|row| Entry::of(&row.message, &row.life)),
                );
                (entries, adopt)
            })
            .await;
        let Some((mut entries, mut adopt)) = found else {
            return Vec::new();
        };
        entries.sort_unstable_by_key(|entry| entry.order);
        entries.truncate(limit);
        if let Some(last) = entries.last().map(|entry| entry.order) {
            adopt.retain(|record| record.life.order <= last);
        }
        if !adopt.is_empty() {
            let (reply, done) = oneshot::channel();
            self.shared.inbox.push(
                Request::Adopt {
                    records: adopt,
                    reply,
                },
                true,
            );
            if done.await.is_err() {
                return Vec::new();
            }
        }
        entries
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
        self.blocking(move |shared| find(shared, &query))
            .await
            .unwrap_or_default()
    }

    /// Reads the event log.
    pub async fn events_after(&self, query: EventQuery) -> EventPage {
        let head = *self.shared.head.borrow();
        let first = self
            .shared
            .young
            .read()
            .events
            .front()
            .map_or(head + 1, |event| event.seq);
        if query.after + 1 < first && !self.shared.archive.is_empty() {
            let page = self
                .blocking(move |shared| archived_events(shared, query, first))
                .await;
            if let Some(page) = page
                && (page.read_to > query.after || !page.events.is_empty())
            {
                return page;
            }
        }
        self.young_events(query, head)
    }

    fn young_events(&self, query: EventQuery, head: u64) -> EventPage {
        let young = self.shared.young.read();
        let mut page = EventPage {
            events: Vec::new(),
            read_to: query.after,
        };
        let first = young.events.front().map_or(head + 1, |event| event.seq);
        let mut seq = (query.after + 1).max(first);
        page.read_to = page.read_to.max(seq - 1);
        while seq <= head && page.events.len() < query.limit {
            let Some(event) = young.event(seq) else { break };
            page.read_to = seq;
            seq += 1;
            if !wanted(&query, event) {
                continue;
            }
            if ENDPOINT_EVENTS.contains(&event.kind) {
                page.events.extend(render_event(&self.shared, event, None));
            } else if let Some(row) = young.row(event.subject) {
                let record = (row.message.as_ref(), &row.life);
                page.events
                    .extend(render_event(&self.shared, event, Some(record)));
            }
        }
        page
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

/// Overdue messages ended in one commit.
const EXPIRE_AT_ONCE: usize = 1_000;

/// The events that belong to no message.
const ENDPOINT_EVENTS: [EventKind; 2] = writer::ENDPOINT_EVENTS;

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
        Status::Queued => Some(message.expires_at.plus(EXPIRY_GRACE)),
        Status::Sent if !life.is_final => {
            let name = shared.names.route(life.route(message)?);
            let route = shared
                .config
                .routes
                .iter()
                .find(|route| route.name == name)?;
            Some(life.sent_at.plus(route.receipt_timeout))
        }
        _ => None,
    }
}

fn wanted(query: &EventQuery, event: &Event) -> bool {
    query.kinds.has(event.kind)
        && query.tenant.is_none_or(|tenant| tenant == event.tenant)
        && query.message.is_none_or(|message| message == event.subject)
}

pub(crate) fn render_event(
    shared: &Shared,
    event: &Event,
    record: Option<(&Message, &Life)>,
) -> Option<Rendered> {
    let lookup = Lookup {
        ids: shared.ids,
        names: &shared.names,
    };
    let mut json = Vec::with_capacity(1024);
    let mut callback = None;
    match record {
        Some((message, life)) => {
            let then = life.as_of(message, usize::from(event.changes));
            render::message_event(&mut json, event, message, &then, lookup).ok()?;
            callback = callback_of(message);
        }
        None => render::endpoint_event(&mut json, event, lookup).ok()?,
    }
    Some(Rendered {
        event: *event,
        callback,
        json: Bytes::from(json),
    })
}

fn callback_of(message: &Message) -> Option<Arc<Callback>> {
    let endpoint = message.callback?;
    let url = message.text(Text::CallbackUrl);
    let types = message.text(Text::CallbackTypes);
    let kinds = types
        .split(' ')
        .filter(|pattern| !pattern.is_empty())
        .map(EventKinds::matching)
        .reduce(EventKinds::with);
    let url = (!url.is_empty()).then(|| url.to_owned());
    Some(Arc::new(Callback {
        endpoint,
        url,
        kinds,
    }))
}

fn archived_part(shared: &Shared, receipt: &Receipt) -> Option<(MessageId, u8)> {
    let forms = carrier_forms(receipt.route, &receipt.provider_id);
    forms.iter().enumerate().find_map(|(index, key)| {
        let mut candidates = shared.archive.carriers(*key);
        let newest = candidates.first().copied()?;
        // The id may have been given out more than once: the recipient tells which one it is.
        let ids: Vec<MessageId> = candidates.iter().map(|(id, _)| *id).collect();
        let records = shared.archive.get(&ids);
        candidates.retain(|(id, _)| {
            records
                .iter()
                .any(|r| r.message.id == *id && Some(r.message.to) == receipt.recipient)
        });
        candidates
            .first()
            .copied()
            .or((index == 0).then_some(newest))
    })
}

fn archived_events(shared: &Shared, query: EventQuery, before: u64) -> EventPage {
    let (events, read_to) = shared.archive.events(&query, before);
    let ids: Vec<MessageId> = events.iter().map(|event| event.subject).collect();
    let mut page = EventPage {
        events: Vec::new(),
        read_to,
    };
    let archived = shared.archive.get(&ids);
    let young = shared.young.read();
    for event in &events {
        if ENDPOINT_EVENTS.contains(&event.kind) {
            page.events.extend(render_event(shared, event, None));
            continue;
        }
        let record = young
            .row(event.subject)
            .map(|row| (row.message.as_ref(), &row.life))
            .or_else(|| {
                let record = archived.iter().find(|r| r.message.id == event.subject)?;
                Some((record.message.as_ref(), &record.life))
            });
        page.events
            .extend(record.and_then(|record| render_event(shared, event, Some(record))));
    }
    page
}

/// Whether a message is what a list asks for.
pub(crate) fn matches(query: &Query, message: &Message, life: &Life) -> bool {
    let tags = || message.text(Text::Tags);
    query.tenant.is_none_or(|tenant| tenant == message.tenant)
        && query.before.is_none_or(|before| message.id < before)
        && query.since.is_none_or(|since| message.accepted_at >= since)
        && query.until.is_none_or(|until| message.accepted_at < until)
        && query.status.is_none_or(|status| status == life.status)
        && query.class.is_none_or(|class| class == message.class)
        && query.to.is_none_or(|to| to == message.to)
        && query.batch.is_none_or(|batch| message.batch == Some(batch))
        && query
            .route
            .is_none_or(|route| life.route(message) == Some(route))
        && query
            .reason
            .is_none_or(|reason| life.reason == Some(reason))
        && query
            .client_ref
            .as_ref()
            .is_none_or(|wanted| message.text(Text::ClientRef) == wanted)
        && query
            .tag
            .as_ref()
            .is_none_or(|tag| tags().split(' ').any(|one| one == tag))
}

fn find(shared: &Shared, query: &Query) -> Page {
    let mut page = shared.archive.find(query, FIND_ROWS_MAX);
    let young = shared.young.read();
    page.records
        .retain(|record| young.row(record.message.id).is_none());
    let found = young
        .rows()
        .filter(|row| matches(query, &row.message, &row.life));
    let visible = shared.visible.load(Ordering::Acquire);
    let found = found.filter(|row| row.message.id.0 <= visible);
    let floor = page.next;
    // What the archive has not looked at yet must not be overtaken by younger pages.
    let rows = found.filter(|row| floor.is_none_or(|floor| row.message.id >= floor));
    page.records.extend(rows.map(|row| Record {
        message: row.message.clone(),
        life: row.life.clone(),
    }));
    page.records
        .sort_unstable_by_key(|record| std::cmp::Reverse(record.message.id));
    if page.records.len() > query.limit {
        page.records.truncate(query.limit);
        page.next = page.records.last().map(|record| record.message.id);
    }
    page
}
