//! What the store's threads and callers share.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use codecs::text::Charset;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};

use crate::clock::{Clock, UnixMs};
use crate::event::Event;
use crate::inbound::rules::Rules;
use crate::message::life::Life;
use crate::message::{EndpointIx, Ids, Message, MessageId, Parts, RouteIx};
use crate::names::Names;
use crate::outcome::retries::Retries;
use crate::outcome::{Form, PartRule};
use crate::store::archive::Archive;
use crate::store::claim::Credit;
use crate::store::inbound::Confirm;
use crate::store::inbox::{self, Inbox};
use crate::store::state::{Snapshot, State};
use crate::store::suppressions::index::Index;
use crate::store::suppressions::recent::Stretch;
use crate::store::young::{Generation, Young};
use crate::store::{Config, EndpointState, Ladder, Refused};

/// Entries that wait in a feed for their dispatcher; beyond it they are left to `load_ready`.
const FEED_MAX: usize = 20_000;

/// A queued message is expired by its dispatcher, which knows whether an attempt is out. The store
/// does it for those that no dispatcher holds, when no answer can be outstanding any more: after the
/// longest response_timeout of the config and this, for the answer's way to the disk.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);

/// A queue entry: a message and the parts of it that wait for a route.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The message.
    pub message: Arc<Message>,
    /// The parts to send.
    pub parts: Parts,
    /// Its place in the route's queue.
    pub order: u64,
    /// Not before. Zero until a try was made on the route: from then on it is a further one.
    pub due: UnixMs,
    /// How they are written.
    pub form: Form,
    /// Whether it was accepted in this very commit.
    pub(crate) fresh: bool,
    /// Whether its parts are claimed: see [`crate::store::needs_claim`].
    pub claimed: bool,
}

impl Entry {
    pub(crate) fn fresh(message: Arc<Message>, parts: Parts, claimed: bool) -> Self {
        let order = message.id.0;
        Self {
            message,
            parts,
            order,
            due: UnixMs::ZERO,
            form: Form::default(),
            fresh: true,
            claimed,
        }
    }

    /// An entry for a further try.
    #[must_use]
    pub fn again(message: Arc<Message>, parts: Parts, order: u64, due: UnixMs) -> Self {
        Self {
            message,
            parts,
            order,
            due,
            form: Form::default(),
            fresh: false,
            claimed: false,
        }
    }

    /// Whether it was claimed in the commit that accepted it.
    pub(crate) fn came_claimed(&self) -> bool {
        self.fresh && self.claimed
    }

    /// Of a message that is queued on a route; `None` when it is not.
    pub(crate) fn of(message: &Arc<Message>, life: &Life, route: RouteIx) -> Option<Self> {
        let (_, leg) = life.leg_on(message, route)?;
        let parts = life.parts_to_send(leg);
        Some(Self {
            message: message.clone(),
            parts,
            order: leg.order,
            due: leg.due,
            form: life.form(route),
            fresh: false,
            claimed: life.parts_claimed().within(leg.parts()) == parts,
        })
    }
}

/// Who finds the disk full. Each clears what it has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Full {
    /// The watcher: less is free than `limits.disk_reserve`.
    Reserve = 1,
    /// The writer: its last commit did not fit.
    Writer = 2,
    /// The archiver: a generation waits for room.
    Archiver = 4,
}

/// New queue entries of one route, on their way from the writer to its dispatcher.
#[derive(Default)]
pub(crate) struct Feed {
    waiting: Mutex<FeedEntries>,
    pub(crate) more: Notify,
    pub(crate) credit: Credit,
}

/// What a dispatcher takes out of its feed.
#[derive(Debug, Default)]
pub struct FeedEntries {
    /// In order of their keys.
    pub entries: Vec<Entry>,
    /// Set when entries were left out for lack of room: the store has them.
    pub missed: bool,
    /// How many of those left out were claimed as they were accepted, by lane.
    pub missed_claimed: [u64; 4],
}

impl Feed {
    fn push(&self, entry: Entry) {
        let mut waiting = self.waiting.lock();
        if waiting.missed || waiting.entries.len() >= FEED_MAX {
            waiting.missed = true;
            if entry.came_claimed() {
                waiting.missed_claimed[entry.message.class.lane()] += 1;
            }
        } else {
            waiting.entries.push(entry);
        }
    }

    pub(crate) fn take(&self) -> FeedEntries {
        std::mem::take(&mut *self.waiting.lock())
    }
}

/// A route's receipts since the gateway started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiptCounts {
    /// Found their message.
    pub matched: u64,
    /// Had to wait for it.
    pub parked: u64,
    /// When the last one came.
    pub last: UnixMs,
}

/// A frozen generation on its way to the archive, with what goes along.
pub(crate) struct ArchiveJob {
    pub(crate) generation: Arc<Generation>,
    /// Every event up to the freeze that is not archived yet.
    pub(crate) events: Vec<Event>,
    /// What the state database holds when the generation is archived.
    pub(crate) snapshot: Snapshot,
    /// What happened to suppressions up to the freeze and is not archived yet.
    pub(crate) suppressions: Arc<Stretch>,
    /// The last batch whose changes are in the generation.
    pub(crate) as_of: u64,
}

/// Shared by the handle, the writer, the archiver and the watcher.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) names: Arc<Names>,
    pub(crate) ids: Ids,
    pub(crate) young: RwLock<Young>,
    pub(crate) inbox: Inbox,
    pub(crate) archive: Archive,
    pub(crate) state: State,
    /// Who must not be sent to.
    pub(crate) suppressions: Index,
    /// The newest durable event.
    pub(crate) head: watch::Sender<u64>,
    /// How long after its deadline the store itself expires a queued message.
    pub(crate) expiry_grace: Duration,
    /// By route; `None` for a route that the config does not have any more.
    pub(crate) feeds: Vec<Option<Feed>>,
    /// How the receipts of a route find their messages, by route.
    ladders: Vec<Ladder>,
    /// For which parts they come, by route.
    part_rules: Vec<PartRule>,
    retries: Vec<Retries>,
    /// The same, of a route that the config does not have any more.
    any_ladder: Ladder,
    /// Generations archived since the start.
    pub(crate) archived_count: AtomicU64,
    /// The last batch on disk.
    pub(crate) acknowledged: AtomicU64,
    /// The largest id or order key that is on disk: readers of the queue see nothing beyond it.
    pub(crate) visible: AtomicU64,
    /// Who finds the disk full now: a set of [`Full`].
    full: AtomicU8,
    pub(crate) closing: AtomicBool,
    /// Why the store's threads gave up, if they did.
    pub(crate) failed: watch::Sender<Option<String>>,
    lazy: Mutex<FxHashMap<EndpointIx, EndpointState>>,
    /// Receipts by route since the start.
    pub(crate) receipts: Mutex<FxHashMap<RouteIx, ReceiptCounts>>,
    /// Whose handsets' messages are.
    pub(crate) rules: Rules,
    /// Makes the confirmations of what handsets ask for; nobody: none is made.
    pub(crate) confirm: OnceLock<Box<Confirm>>,
    /// Until when accepts that came before are spread, while they are slowed down.
    pub(crate) paced_until: Mutex<Option<Instant>>,
}

impl Shared {
    #[expect(
        clippy::too_many_arguments,
        reason = "the composition of the store, in one place"
    )]
    pub(crate) fn new(
        config: Config,
        clock: Clock,
        names: Arc<Names>,
        ids: Ids,
        young: Young,
        archive: Archive,
        state: State,
        suppressions: Index,
        acknowledged: u64,
    ) -> Self {
        let wanted = |name: &String| config.routes.iter().any(|route| route.name == *name);
        let feeds = names
            .routes
            .iter()
            .map(|name| wanted(name).then(Feed::default))
            .collect();
        let ladder = |name: &String| {
            let facts = config.routes.iter().find(|route| route.name == *name);
            facts.map(|facts| facts.ladder.clone()).unwrap_or_default()
        };
        let ladders = names.routes.iter().map(ladder).collect();
        let parts = |name: &String| {
            let facts = config.routes.iter().find(|route| route.name == *name);
            facts.map(|facts| facts.parts).unwrap_or_default()
        };
        let part_rules = names.routes.iter().map(parts).collect();
        let retries = |name: &String| {
            let facts = config.routes.iter().find(|route| route.name == *name);
            facts.map(|facts| facts.retries).unwrap_or_default()
        };
        let retries = names.routes.iter().map(retries).collect();
        let head = young.next_seq - 1;
        let rules = Rules::new(&config.inbound, &names);
        let longest = config.routes.iter().map(|route| route.response_timeout);
        let expiry_grace = longest.max().unwrap_or_default() + EXPIRY_MARGIN;
        Self {
            config,
            clock,
            names,
            ids,
            young: RwLock::new(young),
            inbox: Inbox::new(inbox::COMMIT_APART),
            archive,
            state,
            suppressions,
            head: watch::Sender::new(head),
            expiry_grace,
            feeds,
            ladders,
            part_rules,
            retries,
            any_ladder: Ladder::default(),
            archived_count: AtomicU64::new(0),
            acknowledged: AtomicU64::new(acknowledged),
            visible: AtomicU64::new(u64::MAX),
            full: AtomicU8::new(0),
            closing: AtomicBool::new(false),
            failed: watch::Sender::new(None),
            lazy: Mutex::default(),
            receipts: Mutex::default(),
            rules,
            confirm: OnceLock::new(),
            paced_until: Mutex::default(),
        }
    }

    /// Whether the route sends receipts; one that the config does not know any more is waited for.
    pub(crate) fn sends_receipts(&self, route: RouteIx) -> bool {
        let name = self.names.route(route);
        self.config
            .routes
            .iter()
            .find(|known| known.name == name)
            .is_none_or(|r| r.receipts)
    }

    /// How long a route's receipts are waited for; `None`: the config does not know it any more.
    pub(crate) fn receipt_timeout(&self, route: RouteIx) -> Option<Duration> {
        let name = self.names.route(route);
        let facts = self.config.routes.iter().find(|known| known.name == name)?;
        Some(facts.receipt_timeout)
    }

    /// How a route's receipts find their messages.
    pub(crate) fn ladder(&self, route: RouteIx) -> &Ladder {
        self.ladders
            .get(usize::from(route.0))
            .unwrap_or(&self.any_ladder)
    }

    /// How a route writes text where its data_coding leaves that open.
    pub(crate) fn charset(&self, route: RouteIx) -> Charset {
        let name = self.names.route(route);
        let facts = self.config.routes.iter().find(|known| known.name == name);
        facts.map_or_else(Charset::default, |facts| facts.charset)
    }

    /// For which parts of a long message a route's receipts come.
    pub(crate) fn part_rule(&self, route: RouteIx) -> PartRule {
        let rule = self.part_rules.get(usize::from(route.0)).copied();
        rule.unwrap_or_default()
    }

    /// How a route tries again.
    pub(crate) fn retries(&self, route: RouteIx) -> Retries {
        let retries = self.retries.get(usize::from(route.0)).copied();
        retries.unwrap_or_default()
    }

    /// Whether the config has this route.
    pub(crate) fn is_known(&self, route: RouteIx) -> bool {
        self.feed_of(route).is_some()
    }

    /// The feed of a route that the config has.
    pub(crate) fn feed_of(&self, route: RouteIx) -> Option<&Feed> {
        self.feeds.get(usize::from(route.0))?.as_ref()
    }

    /// Hands queue entries to their routes' dispatchers.
    pub(crate) fn feed(&self, ready: Vec<(RouteIx, Entry)>) {
        let mut told: Option<&Feed> = None;
        for (route, entry) in ready {
            let Some(Some(feed)) = self.feeds.get(usize::from(route.0)) else {
                continue;
            };
            feed.push(entry);
            if told.is_some_and(|told| !std::ptr::eq(told, feed)) {
                told.inspect(|told| told.more.notify_one());
            }
            told = Some(feed);
        }
        told.inspect(|told| told.more.notify_one());
    }

    /// What an endpoint wants to remember, until a commit takes it.
    pub(crate) fn put_lazy(&self, endpoint: EndpointIx, state: EndpointState) {
        self.lazy.lock().insert(endpoint, state);
        self.inbox.note_lazy();
    }

    pub(crate) fn take_lazy(&self) -> FxHashMap<EndpointIx, EndpointState> {
        std::mem::take(&mut *self.lazy.lock())
    }

    /// One of those who write finds the disk full, or no longer. Accepts are refused while any
    /// does: they would wait for it.
    pub(crate) fn set_full(&self, who: Full, full: bool) {
        let bit = who as u8;
        let before = if full {
            self.full.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.full.fetch_and(!bit, Ordering::AcqRel)
        };
        let others = before & !bit;
        if others == 0 && (before & bit != 0) != full {
            if full {
                tracing::error!(
                    "the disk is full or under limits.disk_reserve: accepts answer 503"
                );
            } else {
                tracing::info!("there is room on disk again: accepting");
            }
        }
    }

    pub(crate) fn refusing(&self) -> Option<Refused> {
        if self.closing.load(Ordering::Acquire) {
            Some(Refused::Closed)
        } else if self.full.load(Ordering::Acquire) != 0 {
            Some(Refused::DiskFull)
        } else {
            None
        }
    }

    /// Collects what goes to the archive with a frozen generation. Called under the young lock.
    pub(crate) fn freeze(
        &self,
        young: &Young,
        generation: Arc<Generation>,
        as_of: u64,
        last_id: MessageId,
    ) -> ArchiveJob {
        let events: Vec<Event> = young.events.iter().copied().collect();
        let snapshot = Snapshot {
            batch: generation.last_batch,
            generation: generation.number,
            events_upto: young.next_seq - 1,
            last_id: last_id.0,
            as_of,
            endpoints: young
                .endpoints
                .iter()
                .map(|(ix, state)| (*ix, state.clone()))
                .collect(),
            parked: young.parked.values().flatten().cloned().collect(),
            inbound: young.inbound.to_snapshot(),
            // The archiver knows them.
            spans: Vec::new(),
            learned: young
                .learned
                .iter()
                .map(|(route, learned)| (*route, learned.clone()))
                .collect(),
            orphans: young.orphans.iter().cloned().collect(),
            suppressed: 0,
            replied: young.replied.to_snapshot(),
        };
        ArchiveJob {
            generation,
            events,
            snapshot,
            suppressions: young.suppressions.frozen(),
            as_of,
        }
    }

    /// Tells the memory's figures, and how far the archiver has fallen behind.
    pub(crate) fn tell_memory(&self) {
        let (bytes, waiting, oldest) = {
            let young = self.young.read();
            let waiting = young.live.len() + young.frozen.len();
            let frozen = young.frozen.front().map(|generation| generation.opened_at);
            (young.bytes(), waiting, frozen)
        };
        let lag = oldest.map_or(0.0, |at| self.clock.now().since(at).as_secs_f64());
        let float = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        metrics::gauge!("trunkline_store_memory_bytes").set(float(bytes));
        let suppressed = |number: u64| float(usize::try_from(number).unwrap_or(usize::MAX));
        metrics::gauge!("trunkline_suppressions").set(suppressed(self.suppressions.len()));
        metrics::gauge!("trunkline_suppressions_bytes").set(suppressed(self.suppressions.bytes()));
        metrics::gauge!("trunkline_store_generations").set(float(waiting));
        metrics::gauge!("trunkline_store_archive_lag_seconds").set(lag);
    }

    /// The last commit is on disk: writes its number down, so that the next start can be sure.
    pub(crate) fn state_closed(&self, last_batch: u64) {
        if let Err(error) = self.state.set_acknowledged(last_batch) {
            tracing::warn!(%error, "the last batch number could not be kept");
        }
    }
}
