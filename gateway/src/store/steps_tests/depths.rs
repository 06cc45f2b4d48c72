//! Depths of messages that wait on two routes at once: at each moment those of the legs that are open, and
//! on disk those of the rows that are there.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::outcome::Settle;
use crate::store::Config;
use crate::store::archive::file::{self, PENDING};
use crate::store::archive::pending;
use crate::store::depths::{Place, Places};
use crate::store::inbox::Routes;
use crate::store::young::Row;

/// A second way for the devices of [`APNS`].
const SPARE: RouteIx = RouteIx(3);
/// A generation is some hundred messages.
const MEMORY: u64 = 1 << 20;
const ALL: [RouteIx; 4] = [APNS, FCM, SMS, SPARE];

/// All routes but one.
fn setup(dir: &TempDir, without: Option<RouteIx>) -> Config {
    let mut config = config(dir);
    config.memory = MEMORY;
    let facts = config.routes[0].clone();
    let route = |name: &str| RouteFacts {
        name: name.to_owned(),
        receipts: false,
        ..facts.clone()
    };
    config.routes = ["a", "b", "c", "d"].map(route).to_vec();
    if let Some(route) = without {
        config.routes.remove(usize::from(route.0));
    }
    config
}

/// What a link says of all parts of a leg.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Taken,
    Refused,
    /// Later, on the same route.
    Later,
    /// On the next route, if it has one.
    Elsewhere,
}

impl Answer {
    fn settle(self, id: MessageId, route: RouteIx, part: u8) -> Settle {
        let refused = |retry| settle(id, part, OutcomeResult::Refused, retry, "");
        let settle = match self {
            Self::Taken => accepted(id, part, "p"),
            Self::Refused => refused(Retry::Never),
            Self::Later => refused(Retry::Here { tries: 9 }),
            Self::Elsewhere => refused(Retry::Elsewhere),
        };
        on(route, settle)
    }

    fn of_all(self, id: MessageId, route: RouteIx, parts: Parts) -> Vec<Settle> {
        let last = parts.iter().last();
        let one = |part| Settle {
            last: Some(part) == last,
            ..self.settle(id, route, part)
        };
        parts.iter().map(one).collect()
    }
}

/// An answer for one of the open legs.
type Told = (usize, Answer);

#[derive(Clone, Debug)]
enum Step {
    /// Which of its two push legs stands first, whether it goes on as an SMS, and whether it is nothing else.
    Accept {
        fcm_first: bool,
        falls_back: bool,
        plain: bool,
    },
    Answer(Told),
    Claim(usize),
    /// Its route is down.
    MoveOn(usize),
    /// Its time is over, as its dispatcher knows.
    Expire(usize),
    /// A dispatcher loads its queue: archived messages come back to memory.
    Load(usize),
    Archive,
    /// Answers come while a generation is being archived.
    ArchiveAnd(Vec<Told>),
    /// The process ends before this step of archiving, and answers have come meanwhile.
    CutShort(u32, Vec<Told>),
    Reopen,
    /// The config loses this route, and has it again later.
    Without(usize),
}

fn told() -> impl Strategy<Value = Told> {
    let answer = prop_oneof![
        Just(Answer::Taken),
        Just(Answer::Refused),
        Just(Answer::Later),
        Just(Answer::Elsewhere),
    ];
    (any::<usize>(), answer)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let several = || proptest::collection::vec(told(), 1..4);
    let step = prop_oneof![
        6 => any::<[bool; 3]>().prop_map(|[fcm_first, falls_back, plain]| Step::Accept {
            fcm_first,
            falls_back,
            plain,
        }),
        8 => told().prop_map(Step::Answer),
        2 => any::<usize>().prop_map(Step::Claim),
        2 => any::<usize>().prop_map(Step::MoveOn),
        1 => any::<usize>().prop_map(Step::Expire),
        1 => (0..ALL.len()).prop_map(Step::Load),
        6 => Just(Step::Archive),
        3 => several().prop_map(Step::ArchiveAnd),
        2 => (1..=6u32, several()).prop_map(|(at, told)| Step::CutShort(at, told)),
        1 => Just(Step::Reopen),
        1 => (0..ALL.len()).prop_map(Step::Without),
    ];
    proptest::collection::vec(step, 1..40)
}

struct World {
    dir: TempDir,
    store: Option<Store>,
    ids: Vec<MessageId>,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new();
        let (store, _) = Store::open(setup(&dir, None), Clock::system()).unwrap();
        Self {
            dir,
            store: Some(store),
            ids: Vec::new(),
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open")
    }

    fn reopen(&mut self, without: Option<RouteIx>) {
        self.store().close();
        // The lock on the directory goes with the last handle.
        self.store = None;
        let config = setup(&self.dir, without);
        self.store = Some(Store::open(config, Clock::system()).unwrap().0);
    }

    /// The legs that are open: route, order key, message and parts.
    async fn open(&self) -> Vec<(RouteIx, u64, MessageId, Parts)> {
        let mut all = Vec::new();
        for id in &self.ids {
            let record = self.store().get(*id).await.expect("no message is lost");
            let open = record.life.open_legs(&record.message);
            all.extend(open.map(|(route, _, leg)| (route, leg.order, *id, leg.parts())));
        }
        all
    }

    async fn pick(&self, index: usize) -> Option<(RouteIx, MessageId, Parts)> {
        let open = self.open().await;
        let (route, _, id, parts) = *open.get(index % open.len().max(1))?;
        Some((route, id, parts))
    }

    async fn answer(&self, told: Vec<Told>) {
        for (index, answer) in told {
            if let Some((route, id, parts)) = self.pick(index).await {
                let settles = answer.of_all(id, route, parts);
                self.store().settle(settles).await.unwrap();
            }
        }
    }

    async fn accept(&mut self, (fcm_first, falls_back, plain): (bool, bool, bool)) {
        let number = self.ids.len() as u64 + 1;
        let mut draft = both(number);
        if let Some(steps) = &mut draft.message.steps {
            let routes: [&[RouteIx]; 2] = match fcm_first {
                false => [&[APNS, SPARE], &[FCM]],
                true => [&[FCM], &[APNS, SPARE]],
            };
            for (leg, routes) in steps.legs.iter_mut().zip(routes) {
                leg.routes = routes.iter().copied().collect();
            }
            if !falls_back {
                steps.steps.truncate(1);
                steps.legs.truncate(2);
            }
        }
        if plain {
            draft = super::draft(number, 1);
            draft.message.routes = smallvec![SMS, FCM];
        }
        self.ids.push(accept_one(self.store(), draft).await);
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Accept {
                fcm_first,
                falls_back,
                plain,
            } => self.accept((fcm_first, falls_back, plain)).await,
            Step::Answer(told) => self.answer(vec![told]).await,
            Step::Claim(index) => {
                if let Some((route, id, parts)) = self.pick(index).await {
                    let over = self.store().claim(route, vec![(id, parts)]).await;
                    assert_eq!(over, Ok(Vec::new()));
                }
            }
            Step::MoveOn(index) => {
                if let Some((route, id, _)) = self.pick(index).await {
                    self.store().move_on(route, vec![id]).await.unwrap();
                }
            }
            Step::Expire(index) => {
                if let Some((_, id, parts)) = self.pick(index).await {
                    self.store().expire_queued(vec![(id, parts)]).await;
                }
            }
            Step::Load(route) => drop(ready(self.store(), ALL[route]).await),
            Step::Archive => {
                self.store().archive_now().await;
                self.check_disk();
            }
            Step::ArchiveAnd(told) => {
                tokio::join!(self.store().archive_now(), self.answer(told));
                self.check_disk();
            }
            Step::CutShort(at, told) => {
                self.store().stop_archiver_at(at);
                self.store().archive_now().await;
                self.answer(told).await;
                self.check_disk();
                self.reopen(None);
            }
            Step::Reopen => self.reopen(None),
            Step::Without(route) => {
                self.reopen(Some(ALL[route]));
                self.store().replan(|_| Routes::new()).await;
                self.check().await;
                self.reopen(None);
            }
        }
    }

    async fn check(&self) {
        let mut depths = [0; ALL.len()];
        let open = self.open().await;
        for (route, ..) in &open {
            depths[usize::from(route.0)] += 1;
        }
        assert_eq!(ALL.map(|route| depth(self.store(), route)), depths);
        assert_eq!(self.store().figures().queued, open.len() as u64);
    }

    /// The queue has what the records beside it say, and the counts are those of the queue.
    fn check_disk(&self) {
        let file = file::open_for_reading(&self.dir.0.join(PENDING)).unwrap();
        let mut select = file.prepare("SELECT id FROM messages").unwrap();
        let ids = select.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        let mut legs = BTreeMap::<_, Vec<Place>>::new();
        for id in ids {
            let id = MessageId(id.unwrap().cast_unsigned());
            let (record, _) = pending::read(&file, id).unwrap().unwrap();
            let places: Places = Place::all(&record.message, &record.life);
            if !places.is_empty() {
                legs.insert(id, places.to_vec());
            }
        }
        let mut rows = BTreeMap::<_, Vec<Place>>::new();
        pending::each_queued(&file, |place, id| rows.entry(id).or_default().push(place)).unwrap();
        let mut counts = BTreeMap::<Place, i64>::new();
        for place in rows.values().flatten() {
            *counts.entry(*place).or_default() += 1;
        }
        for places in legs.values_mut().chain(rows.values_mut()) {
            places.sort_unstable();
        }
        assert_eq!(rows, legs, "rows of the queue");
        let total: i64 = counts.values().sum();
        let known = pending::number(&file, "queued").unwrap();
        assert_eq!(known.unwrap_or(0), total);
        let mut told = file.prepare("SELECT * FROM depths").unwrap();
        let mut told = told.query([]).unwrap();
        while let Some(row) = told.next().unwrap() {
            let place = Place {
                route: RouteIx(row.get(0).unwrap()),
                lane: row.get(1).unwrap(),
                tenant: TenantIx(row.get(2).unwrap()),
            };
            let told: i64 = row.get(3).unwrap();
            assert_eq!(told, counts.remove(&place).unwrap_or(0), "{place:?}");
        }
        assert!(counts.is_empty(), "not counted: {counts:?}");
    }

    /// Each route's queue is that of its open legs; then all of them end, and nothing is left anywhere.
    async fn drain(&self) {
        for route in ALL {
            let mut expected: Vec<_> = self.open().await;
            expected.retain(|open| open.0 == route);
            expected.sort_unstable_by_key(|open| open.1);
            let expected: Vec<_> = expected.into_iter().map(|open| open.2).collect();
            assert_eq!(ids(self.store(), route).await, expected, "{route:?}");
        }
        self.check().await;
        loop {
            let open = self.open().await.into_iter();
            let taken = open.map(|(route, _, id, parts)| Answer::Taken.of_all(id, route, parts));
            let taken: Vec<Settle> = taken.flatten().collect();
            if taken.is_empty() {
                break;
            }
            self.store().settle(taken).await.unwrap();
        }
        self.check().await;
        let shared = self.store().shared();
        while shared.young.read().rows().next().is_some() {
            self.store().archive_now().await;
        }
        self.check_disk();
        assert_eq!(shared.archive.queued().0, 0);
    }
}

#[tokio::test]
async fn what_waits_on_its_second_route_alone_leaves_the_disk_when_it_ends() {
    let mut world = World::new();
    world.accept((false, false, false)).await;
    world.store().archive_now().await;
    world.answer(vec![(0, Answer::Taken)]).await;
    world.store().archive_now().await;
    world.check_disk();
    world.check().await;
    // Written once more as it stands.
    world.answer(vec![(0, Answer::Later)]).await;
    world.store().archive_now().await;
    world.check_disk();
    world.reopen(None);
    world.check().await;
    assert_eq!(depth(world.store(), FCM), 1);
    world.answer(vec![(0, Answer::Taken)]).await;
    world.drain().await;
    world.reopen(None);
    world.check().await;
    world.store().close();
}

/// As a burst that the services take slowly: it goes to disk by itself, while legs end one by one.
#[tokio::test]
async fn a_burst_that_spills_while_its_legs_end_leaves_nothing_behind() {
    let mut world = World::new();
    for number in 0..1_000_usize {
        let bytes = world.store().shared().young.read().bytes() as u64;
        if bytes > MEMORY / 2 {
            // A slow disk: no accept is to be refused here.
            world.store().archive_now().await;
        }
        world
            .accept((number % 3 == 0, number % 5 == 0, false))
            .await;
        let id = world.ids[number * 7 % (number + 1)];
        let record = world.store().get(id).await.unwrap();
        let open = record.life.open_legs(&record.message);
        let mut open = open.map(|(route, _, leg)| (route, leg.parts()));
        let Some((route, parts)) = open.next() else {
            continue;
        };
        let answer = match number % 8 {
            0 | 1 => Answer::Taken,
            2 => Answer::Refused,
            3 | 4 => Answer::Elsewhere,
            _ => Answer::Later,
        };
        let settles = answer.of_all(id, route, parts);
        world.store().settle(settles).await.unwrap();
    }
    let spilled = &world.store().shared().archived_count;
    assert!(spilled.load(Ordering::Acquire) > 2);
    world.check().await;
    world.reopen(None);
    world.check().await;
    world.drain().await;
    world.store().close();
}

/// As when the disk was full behind it: the generation is written again, as it stood.
#[tokio::test]
async fn a_generation_that_is_written_twice_is_counted_once() {
    let mut world = World::new();
    world.accept((false, true, false)).await;
    let id = world.ids[0];
    let record = world.store().get(id).await.unwrap();
    let row = Row {
        message: record.message,
        life: record.life,
        stored: false,
    };
    world.store().close();
    let file = world.dir.0.join(PENDING);
    let file = rusqlite::Connection::open(file).unwrap();
    for _ in 0..2 {
        let work = pending::Work {
            unfinished: &[(&row, None)],
            finished: &[],
            as_of: 1,
            seg: 0,
        };
        pending::write(&file, &work).unwrap();
        world.check_disk();
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn depths_are_those_of_the_legs_that_wait(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.step(step).await;
                world.check().await;
            }
            world.drain().await;
            world.store().close();
        });
    }
}
