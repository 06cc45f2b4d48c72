//! The store against a plain model: whatever is archived, cut short or reopened, answers stay the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::tests::{TempDir, accepted, config, delivered, draft, settle};
use super::*;
use crate::clock::Clock;
use crate::event::{Event, EventKind};
use crate::outcome::{OutcomeResult, Retry, Settle};
use crate::suppression::Key;

mod suppressions;

use suppressions::Held;

/// 2026-11-21T08:02:05Z.
const START: u64 = 1_795_248_125_000;
const HOUR_MS: u64 = 3_600_000;

#[derive(Clone, Debug)]
enum Step {
    /// A message, perhaps with one of a few idempotency keys, perhaps with a short lifetime.
    Accept {
        key: Option<u8>,
        short: bool,
    },
    /// The carrier takes it.
    Take(usize),
    /// The carrier refuses it: on to the next route, or failed.
    Refuse(usize),
    /// The intent of a `hold` is written.
    Intent(usize),
    /// The parts of a `retry` are claimed.
    Claim(usize),
    /// The gateway stops cleanly, as far as claims go.
    Release,
    /// A receipt says delivered.
    Receipt(usize),
    /// A part of one of a few messages from handsets, each in two parts.
    Part(u16, u8),
    /// Two hours pass and what is overdue ends.
    Pass,
    Archive,
    /// The process ends before this step of archiving.
    CutShort(u32),
    Reopen,
    /// A dispatcher loads its queue: archived messages come back to memory.
    Load,
    /// Somebody is suppressed, perhaps for an hour.
    Suppress {
        number: usize,
        short: bool,
    },
    Unsuppress(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (proptest::option::weighted(0.3, 0..4u8), any::<bool>())
            .prop_map(|(key, short)| Step::Accept { key, short }),
        4 => any::<usize>().prop_map(Step::Take),
        2 => any::<usize>().prop_map(Step::Refuse),
        1 => any::<usize>().prop_map(Step::Intent),
        3 => any::<usize>().prop_map(Step::Claim),
        1 => Just(Step::Release),
        4 => any::<usize>().prop_map(Step::Receipt),
        4 => (0..3u16, 1..=2u8).prop_map(|(message, part)| Step::Part(message, part)),
        1 => Just(Step::Pass),
        3 => Just(Step::Archive),
        2 => (1..=6u32).prop_map(Step::CutShort),
        1 => Just(Step::Reopen),
        1 => Just(Step::Load),
        4 => (0..12usize, any::<bool>()).prop_map(|(number, short)| Step::Suppress { number, short }),
        2 => (0..12usize).prop_map(Step::Unsuppress),
    ];
    proptest::collection::vec(step, 1..40)
}

#[derive(Clone, Debug)]
struct Known {
    /// Also tells the tenant: see [`tenant`].
    number: u64,
    status: Status,
    version: u16,
    route: u16,
    /// Its place in its route's queue.
    place: u64,
    expires: u64,
    sent: u64,
    /// A part is out under an intent.
    out: bool,
    claimed: bool,
    /// It was claimed when a process ended.
    flagged: bool,
    provider: String,
}

struct World {
    dir: TempDir,
    store: Option<Store>,
    clock: Clock,
    now: u64,
    places: u64,
    known: BTreeMap<MessageId, Known>,
    keys: HashMap<u8, MessageId>,
    /// Parts of handsets' messages that came in these two hours.
    parts: BTreeSet<(u16, u8)>,
    held: HashMap<Key, Held>,
    /// Kind, message and version by sequence number, with the JSON that was shown first.
    log: Vec<(EventKind, MessageId, u16)>,
    shown: Vec<Bytes>,
}

fn setup(dir: &TempDir) -> Config {
    let mut config = config(dir);
    config
        .routes
        .iter_mut()
        .for_each(|route| route.receipt_timeout = Duration::from_hours(3));
    config.retention_idempotency = Duration::from_hours(24 * 30);
    config.tenants.push("other".to_owned());
    config
}

/// Whose the message of this number is.
fn tenant(number: u64) -> TenantIx {
    TenantIx(u16::from(number.is_multiple_of(5)))
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new();
        let clock = Clock::manual(UnixMs(START));
        let (store, _) = Store::open(setup(&dir), clock.clone()).unwrap();
        Self {
            dir,
            store: Some(store),
            clock,
            now: START,
            places: 0,
            known: BTreeMap::new(),
            keys: HashMap::new(),
            parts: BTreeSet::new(),
            held: HashMap::new(),
            log: Vec::new(),
            shown: Vec::new(),
        }
    }

    fn store(&self) -> Store {
        self.store.clone().expect("open")
    }

    async fn reopen(&mut self) {
        self.store().close();
        // The lock on the directory goes with the last handle.
        self.store = None;
        let (store, found) = Store::open(setup(&self.dir), self.clock.clone()).unwrap();
        self.store = Some(store);
        let queued = self
            .known
            .values()
            .filter(|k| k.status == Status::Queued)
            .count();
        assert_eq!(found.queued, queued as u64, "queued, as found at the start");
        let claimed = self.known.values_mut();
        let claimed = claimed.filter(|k| k.status == Status::Queued && k.claimed);
        let mut count = 0;
        for known in claimed {
            (known.claimed, known.flagged) = (false, true);
            count += 1;
        }
        assert_eq!(self.store().flag_claimed().await, Ok(count), "claimed");
    }

    fn pick(&self, index: usize, status: &[Status]) -> Option<MessageId> {
        let fit: Vec<MessageId> = self
            .known
            .iter()
            .filter(|(_, known)| status.contains(&known.status))
            .map(|(id, _)| *id)
            .collect();
        (!fit.is_empty()).then(|| fit[index % fit.len()])
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Accept { key, short } => self.accept(key, short).await,
            Step::Take(index) => {
                if let Some(id) = self.pick(index, &[Status::Queued]) {
                    let known = self.known.get_mut(&id).unwrap();
                    let take = Settle {
                        route: RouteIx(known.route),
                        ..accepted(id, 0, &known.provider)
                    };
                    (known.status, known.version, known.sent) =
                        (Status::Sent, known.version + 1, self.now);
                    self.log.push((EventKind::MessageSent, id, known.version));
                    self.store().settle(vec![take]).await.unwrap();
                }
            }
            Step::Refuse(index) => self.refuse(index).await,
            Step::Intent(index) => {
                if let Some(id) = self.pick(index, &[Status::Queued]) {
                    let known = self.known.get_mut(&id).unwrap();
                    (known.out, known.claimed) = (true, false);
                    let route = RouteIx(known.route);
                    let parts = crate::message::Parts::first(1);
                    self.store()
                        .mark_inflight(route, vec![(id, parts)])
                        .await
                        .unwrap();
                }
            }
            Step::Receipt(index) => self.receipt(index).await,
            Step::Part(message, part) => self.part(message, part).await,
            Step::Pass => self.pass().await,
            Step::Archive => self.store().archive_now().await,
            Step::CutShort(at) => {
                self.store().stop_archiver_at(at);
                self.store().archive_now().await;
                self.reopen().await;
            }
            Step::Reopen => self.reopen().await,
            Step::Claim(index) => self.claim(index).await,
            Step::Release => {
                self.known
                    .values_mut()
                    .for_each(|known| known.claimed = false);
                self.store().release_claims().await.unwrap();
            }
            Step::Suppress { number, short } => self.suppress(number, short).await,
            Step::Unsuppress(number) => self.unsuppress(number).await,
            Step::Load => drop(
                self.store()
                    .load_ready(RouteIx(0), (Class::Transactional, TenantIx(0)), 0, 5)
                    .await
                    .unwrap_or_default(),
            ),
        }
    }

    async fn claim(&mut self, index: usize) {
        if let Some(id) = self.pick(index, &[Status::Queued]) {
            let known = self.known.get_mut(&id).unwrap();
            known.claimed |= !known.out;
            let parts = vec![(id, crate::message::Parts::first(1))];
            let route = RouteIx(known.route);
            let over = self.store().claim(route, parts).await.unwrap();
            assert!(over.is_empty());
        }
    }

    async fn receipt(&mut self, index: usize) {
        let all = [Status::Sent, Status::Unknown, Status::Delivered];
        if let Some(id) = self.pick(index, &all) {
            let known = self.known.get_mut(&id).unwrap();
            let mut receipt = delivered(&known.provider);
            receipt.route = RouteIx(known.route);
            receipt.received_at = UnixMs(self.now);
            let new = usize::from(known.status != Status::Delivered);
            if new == 1 {
                (known.status, known.version) = (Status::Delivered, known.version + 1);
                self.log
                    .push((EventKind::MessageDelivered, id, known.version));
            }
            let matched = self.store().apply_receipts(vec![receipt]).await.unwrap();
            assert_eq!((matched.matched, matched.parked), (new, 0));
        }
    }

    async fn part(&mut self, message: u16, sequence: u8) {
        let text = format!("{message}.{sequence}");
        let mut part = inbound::tests::part(Some((message, 2, sequence)), &text);
        part.received_at = UnixMs(self.now);
        let new = self.parts.insert((message, sequence));
        let whole = new && self.parts.contains(&(message, 3 - sequence));
        let expected = Taken {
            whole: usize::from(whole),
            waiting: usize::from(new && !whole),
            repeated: usize::from(!new),
        };
        assert_eq!(self.store().receive(vec![part]).await, Ok(expected));
        if whole {
            let told = self.rendered(self.log.len() as u64, None).await;
            let text = format!("\"text\":\"{message}.1{message}.2\"");
            let json = String::from_utf8_lossy(&told[0].json);
            assert!(json.contains(&text), "{json}");
            let subject = told[0].event.subject;
            self.log.push((EventKind::InboundReceived, subject, 1));
        }
    }

    async fn accept(&mut self, key: Option<u8>, short: bool) {
        self.places += 1;
        let number = self.places;
        let mut draft = draft(number % 3, 1);
        draft.message.tenant = tenant(number);
        let reference = format!("ref-{}", number % 4);
        let texts = ["ACME", "hello", &reference, "a b", "", "", "", "", "", ""];
        draft.message.texts = crate::message::Texts::pack(texts).unwrap();
        let expires = if short {
            self.now + HOUR_MS
        } else {
            u64::MAX / 4
        };
        draft.message.expires_at = UnixMs(expires);
        let covered = self.covers(&draft.message);
        draft.key = key.map(|key| IdempotencyKey::new(TenantIx(0), &key.to_string(), b"{}"));
        let answer = self.store().accept(vec![draft]).await.unwrap().remove(0);
        match (answer, key.and_then(|key| self.keys.get(&key))) {
            (Accepted::Replayed(id), Some(known)) => assert_eq!(id, *known),
            (Accepted::Stored(message), None) => {
                let id = message.id;
                key.map(|key| self.keys.insert(key, id));
                let (status, kind) = match covered {
                    true => (Status::Rejected, EventKind::MessageRejected),
                    false => (Status::Queued, EventKind::MessageAccepted),
                };
                self.log.push((kind, id, 1));
                let known = Known {
                    number,
                    status,
                    version: 1,
                    route: 0,
                    place: number,
                    expires,
                    sent: 0,
                    out: false,
                    claimed: false,
                    flagged: false,
                    provider: format!("carrier-{number}"),
                };
                self.known.insert(id, known);
            }
            (answer, known) => panic!("{answer:?}, but known was {known:?}"),
        }
    }

    async fn refuse(&mut self, index: usize) {
        let Some(id) = self.pick(index, &[Status::Queued]) else {
            return;
        };
        let known = self.known.get_mut(&id).unwrap();
        let refuse = Settle {
            route: RouteIx(known.route),
            ..settle(id, 0, OutcomeResult::Refused, Retry::Elsewhere, "")
        };
        if known.route == 0 {
            self.places += 1;
            (known.route, known.place) = (1, self.places);
            (known.out, known.claimed) = (false, false);
            self.log.push((EventKind::AttemptFailed, id, known.version));
        } else {
            (known.status, known.version) = (Status::Failed, known.version + 1);
            self.log.push((EventKind::MessageFailed, id, known.version));
        }
        self.store().settle(vec![refuse]).await.unwrap();
    }

    async fn pass(&mut self) {
        self.now += 2 * HOUR_MS;
        self.clock.set(UnixMs(self.now));
        while self.store().expire().await > 0 {}
        // A commit, however empty, gives up what is overdue.
        self.store().receive(Vec::new()).await.unwrap();
        let halves =
            (0..3).filter(|m| self.parts.contains(&(*m, 1)) != self.parts.contains(&(*m, 2)));
        let mut halves = halves.count();
        self.parts.clear();
        let mut over = HashMap::new();
        for (id, known) in &mut self.known {
            let (status, kind) = match known.status {
                Status::Queued if known.expires + 60_000 <= self.now => {
                    (Status::Expired, EventKind::MessageExpired)
                }
                Status::Sent if known.sent + 3 * HOUR_MS <= self.now => {
                    (Status::Unknown, EventKind::MessageUnknown)
                }
                _ => continue,
            };
            (known.status, known.version) = (status, known.version + 1);
            over.insert(*id, (kind, *id, known.version));
        }
        // They end in any order.
        for event in self.events(self.log.len() as u64).await {
            if event.kind == EventKind::InboundReceived {
                halves = halves.checked_sub(1).expect("a half message too many");
                self.log.push((event.kind, event.subject, event.version));
                continue;
            }
            let place = over
                .remove(&event.subject)
                .expect("an end that was not due");
            self.log.push(place);
        }
        assert!(over.is_empty(), "ends that did not come: {over:?}");
        assert_eq!(halves, 0, "half messages that were not told");
    }

    async fn events(&self, after: u64) -> Vec<Event> {
        let page = self.rendered(after, None).await;
        page.into_iter().map(|rendered| rendered.event).collect()
    }

    async fn rendered(&self, after: u64, message: Option<MessageId>) -> Vec<Rendered> {
        let mut all = Vec::new();
        let mut query = EventQuery {
            after,
            tenant: None,
            kinds: EventKinds::ALL,
            message,
            limit: 7,
        };
        let head = *self.store().head().borrow();
        while query.after < head {
            let page = self.store().events_after(query).await;
            assert!(page.read_to > query.after, "the log goes on");
            query.after = page.read_to;
            all.extend(page.events);
        }
        all
    }

    async fn check(&mut self) {
        self.check_messages().await;
        self.check_lists().await;
        self.check_queue().await;
        self.check_events().await;
        self.check_suppressions().await;
    }

    async fn check_messages(&self) {
        for (id, known) in &self.known {
            let record = self.store().get(*id).await.expect("a message is lost");
            assert_eq!(record.life.status, known.status, "{known:?}");
            assert_eq!(record.life.version, known.version);
            assert_eq!(record.life.duplicate_possible, known.flagged, "{known:?}");
            assert_eq!(record.message.text(crate::message::Text::Body), "hello");
            assert_eq!(
                record.message.text(crate::message::Text::ClientRef),
                format!("ref-{}", known.number % 4)
            );
        }
        let queued = self
            .known
            .values()
            .filter(|k| k.status == Status::Queued)
            .count();
        assert_eq!(self.store().figures().queued, queued as u64, "figures");
        for route in 0..2 {
            let here = |k: &&Known| k.status == Status::Queued && k.route == route;
            let here = self.known.values().filter(here);
            let depths = self.store().depths(RouteIx(route));
            assert_eq!(
                depths,
                [0, here.count() as u64, 0, 0],
                "depth of route {route}"
            );
        }
    }

    async fn check_lists(&self) {
        let page = Query {
            limit: 3,
            ..Query::default()
        };
        let since = Some(UnixMs(0));
        let by_status = |status| Query {
            status: Some(status),
            since,
            ..page.clone()
        };
        for status in [Status::Queued, Status::Delivered, Status::Failed] {
            let wanted = |known: &Known| known.status == status;
            self.check_list(by_status(status), wanted).await;
        }
        for number in 0..4 {
            let query = Query {
                client_ref: Some(format!("ref-{number}")),
                ..page.clone()
            };
            self.check_list(query, |known| known.number % 4 == number)
                .await;
        }
        let to = Phone::parse("+46700000001");
        self.check_list(Query { to, ..page }, |known| known.number % 3 == 1)
            .await;
    }

    async fn check_list(&self, mut query: Query, wanted: impl Fn(&Known) -> bool) {
        let mut ids = Vec::new();
        loop {
            let page = self.store().find(query.clone()).await;
            assert!(page.records.len() <= query.limit);
            ids.extend(page.records.iter().map(|record| record.message.id));
            query.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        let all = self.known.iter().rev().filter(|(_, known)| wanted(known));
        let expected: Vec<MessageId> = all.map(|(id, _)| *id).collect();
        assert_eq!(ids, expected, "{query:?}");
    }

    async fn check_queue(&self) {
        for (route, whose) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut expected: Vec<(u64, MessageId)> = self
                .known
                .iter()
                .filter(|(_, known)| known.status == Status::Queued && known.route == route)
                .filter(|(_, known)| tenant(known.number) == TenantIx(whose))
                .map(|(id, known)| (known.place, *id))
                .collect();
            expected.sort_unstable();
            let expected: Vec<MessageId> = expected.into_iter().map(|(_, id)| id).collect();
            let mut ids = Vec::new();
            let mut after = 0;
            loop {
                let lane = Class::Transactional;
                let entries = self
                    .store()
                    .load_ready(RouteIx(route), (lane, TenantIx(whose)), after, 3)
                    .await
                    .unwrap_or_default();
                let Some(last) = entries.last() else { break };
                after = last.order;
                ids.extend(entries.iter().map(|entry| entry.message.id));
            }
            assert_eq!(ids, expected, "the queue of route {route}");
        }
    }

    async fn check_events(&mut self) {
        let all = self.rendered(0, None).await;
        let found: Vec<_> = all
            .iter()
            .map(|r| (r.event.kind, r.event.subject, r.event.version))
            .collect();
        assert_eq!(found, self.log);
        for (index, rendered) in all.iter().enumerate() {
            assert_eq!(rendered.event.seq, index as u64 + 1, "the log is dense");
            match self.shown.get(index) {
                Some(shown) => assert_eq!(*shown, rendered.json, "an event is told the same"),
                None => self.shown.push(rendered.json.clone()),
            }
        }
        if let Some(id) = self.known.keys().next() {
            let own: Vec<u64> = all
                .iter()
                .filter(|r| r.event.subject == *id)
                .map(|r| r.event.seq)
                .collect();
            let told = self.rendered(0, Some(*id)).await;
            let told: Vec<u64> = told.iter().map(|r| r.event.seq).collect();
            assert_eq!(told, own, "a message's own events");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn answers_do_not_depend_on_what_is_archived_when(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                let checked = matches!(
                    step,
                    Step::Archive | Step::CutShort(_) | Step::Reopen | Step::Pass
                );
                world.step(step).await;
                if checked {
                    world.check().await;
                }
            }
            world.check().await;
            world.store().close();
        });
    }
}
