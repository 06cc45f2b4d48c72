//! Doubts: refusals that do not say whether they are meant for one device, one connection or the whole route.
//! Pure.
//!
//! ```text
//!                                      different devices in a row, and
//!  404 without a word of the device    10   other links are well      the connection is replaced
//!                                           none is                   the route stops: it is the project
//!  503                                  3   other links are well      the connection is replaced
//!                                           none is                   the route waits: 1 s, doubled up to 10 s
//!  429 without a word of whose quota    3   -                         the route waits as long as it was told
//! ```
//! One of them is the device's own, and it alone waits: were it taken for the route's, one token that is
//! pushed too often, or a single sick machine of the service, would hold up everybody else's pushes. In a row
//! means: on one link, and none in between at which the service looked there; nor within a second, since
//! answers come many at a time, unless 503s are many. After a wait no more goes out than what could make the
//! next one, until the service looks at a push again.

use std::hash::{Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use rustc_hash::FxHasher;

use crate::link::{LinkIx, Refuses};
use crate::message::steps::PushTarget;
use crate::outcome::Attempt;

/// Different devices in a row that say something though others were looked at a moment ago; and those that
/// were not found before the route stops. Chosen: far above what a customer's few dead tokens make (FCM has
/// answered 404 for 2 % of all for a day: firebase-admin-java#506, and its own client takes NOT_FOUND for a
/// dead token: firebase-admin-node, `messagingServerToClientCode`), and each of them is tried again after the
/// route has stopped.
const MANY: usize = 10;
/// Different devices in a row that met too many or too busy. Chosen: two of them may be two devices that are
/// pushed too often.
const SOME: usize = 3;
/// The first and the longest wait of a route whose service is too busy, where that does not say how long.
/// Chosen: push.md §1.5's first try again; and as long as Google wants between two tries (§2), which is also
/// what a service that is well again may cost a one-time code.
const BUSY_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// … and the longest that it may ask the whole route for. Chosen: what the first minute shows; the pushes that
/// it refused wait as long as it asked.
const BUSY_ASKED_MAX: Duration = Duration::from_secs(60);
/// The longest that a 429 may ask a project for. Chosen: its quota is one of a minute (push.md §2), and the
/// pushes that it refused wait as long as it asked.
const TOO_MANY_ASKED_MAX: Duration = Duration::from_secs(600);
/// A link is well when the service has looked at a push on it within it. Chosen: some round trips.
const LATELY: Duration = Duration::from_secs(1);
/// How long no 404 stops a route that somebody has told to go on. Chosen: as long as each of them waits, so
/// that those at the head make room for others, which show whether the project is there.
const SPARED: Duration = Duration::from_secs(60);

/// What a refusal leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Neither the device nor the project is named as what was not found.
    NotFound,
    /// Whose quota it is that has nothing left; how long to wait.
    TooMany(Duration),
    /// How much of the service is too busy; how long to wait, where it says so.
    Busy(Option<Duration>),
}

/// What follows for the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// Nothing: it may be the one device's.
    Nothing,
    /// Nothing for the route, and the connection is of no more use: those of others are well.
    Connection,
    /// Nothing is sent until then.
    Wait(Instant, Refuses),
    /// No push will pass until somebody has looked.
    Stop,
}

/// What all links of a route have been left in doubt about.
#[derive(Debug, Default)]
pub struct Doubts {
    /// By index; no more than the route has links.
    links: Vec<Seen>,
    too_many: Row,
    /// Nothing is sent until then …
    until: Option<Instant>,
    /// … and what was sent since then and is looked at ends it.
    from: Option<Instant>,
    /// Waits in a row for a busy service.
    busy_waits: u32,
    /// It is the project that is not found.
    lost: bool,
    /// No 404 means that until then.
    spared: Option<Instant>,
}

/// What came of a link's pushes.
#[derive(Debug, Default)]
struct Seen {
    /// When the service looked at one last.
    looked: Option<Instant>,
    not_found: Row,
    busy: Row,
}

/// Different devices in a row.
#[derive(Debug, Default)]
struct Row {
    devices: [u64; MANY],
    count: usize,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Row {
    /// One more.
    fn add(&mut self, now: Instant, device: u64) {
        self.since.get_or_insert(now);
        let (known, free) = self.devices.split_at_mut(self.count.min(MANY));
        if !known.contains(&device)
            && let Some(next) = free.first_mut()
        {
            *next = device;
            self.count += 1;
        }
    }

    fn clear(&mut self) {
        (self.count, self.since) = (0, None);
    }
}

impl Seen {
    fn is_quiet(&self, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < LATELY;
        !self.looked.is_some_and(lately)
    }

    /// Whether no push on it passes, as far as that can be told.
    fn refuses(&self, doubt: Doubt, now: Instant) -> bool {
        match doubt {
            Doubt::NotFound => self.not_found.count >= MANY && self.is_quiet(now),
            Doubt::Busy(_) => {
                self.busy.count >= MANY || self.busy.count >= SOME && self.is_quiet(now)
            }
            Doubt::TooMany(_) => false,
        }
    }

    fn row(&mut self, doubt: Doubt) -> Option<&mut Row> {
        match doubt {
            Doubt::NotFound => Some(&mut self.not_found),
            Doubt::Busy(_) => Some(&mut self.busy),
            Doubt::TooMany(_) => None,
        }
    }
}

impl Doubts {
    fn link(&mut self, link: LinkIx) -> Option<&mut Seen> {
        let at = usize::from(link.0);
        if self.links.len() <= at {
            self.links.resize_with(at + 1, Seen::default);
        }
        self.links.get_mut(at)
    }

    /// The service looked at a push of the link that was sent at `sent`: what it refused there before was
    /// neither the link's nor the route's. Whether that ends a wait.
    pub(super) fn looked(&mut self, (now, sent): (Instant, Instant), link: LinkIx) -> bool {
        if let Some(seen) = self.link(link) {
            seen.looked = Some(now);
            seen.not_found.clear();
            seen.busy.clear();
        }
        self.lost = false;
        // What was under way when it asked to wait does not end the wait.
        let ends = self.from.is_none_or(|from| from <= sent);
        ends && self.waited().is_some_and(|until| until > now)
    }

    /// Until when it would have waited.
    fn waited(&mut self) -> Option<Instant> {
        self.too_many.clear();
        self.busy_waits = 0;
        self.from = None;
        self.until.take()
    }

    /// A push of `device` that a link sent at `sent` was refused so. `draw`, 0.0 to 1.0, is for jitter.
    pub(super) fn saw(
        &mut self,
        (now, sent): (Instant, Instant),
        (link, device): (LinkIx, u64),
        doubt: Doubt,
        draw: f64,
    ) -> Follows {
        // What was under way is refused with what made the route wait: it says nothing new.
        if doubt != Doubt::NotFound && self.until.is_some_and(|until| sent < until) {
            return Follows::Nothing;
        }
        let (wait, why) = match doubt {
            Doubt::TooMany(asked) => {
                self.too_many.add(now, device);
                if self.too_many.count < SOME {
                    return Follows::Nothing;
                }
                (asked.min(TOO_MANY_ASKED_MAX), Refuses::Quota)
            }
            Doubt::NotFound | Doubt::Busy(_) => {
                match self.refused((link, device), doubt, now) {
                    Whose::Device => return Follows::Nothing,
                    Whose::Connection => return Follows::Connection,
                    Whose::Route => {}
                }
                let Doubt::Busy(asked) = doubt else {
                    if self.spared.is_some_and(|until| now < until) {
                        return Follows::Nothing;
                    }
                    self.lost = true;
                    return Follows::Stop;
                };
                let doubled = BUSY_PAUSES.0 * (1 << self.busy_waits.min(16));
                self.busy_waits = self.busy_waits.saturating_add(1);
                let own = doubled.min(BUSY_PAUSES.1);
                let asked = asked.unwrap_or(Duration::ZERO).min(BUSY_ASKED_MAX);
                (asked.max(own), Refuses::Busy)
            }
        };
        self.too_many.clear();
        self.links.iter_mut().for_each(|seen| seen.busy.clear());
        // Up to a quarter more, so that not all routes of a process come back at once.
        let until = now + wait.mul_f64(1.0 + draw / 4.0);
        // What tried the service after the wait before may still be looked at: on another connection.
        self.from = Some(self.until.unwrap_or(until));
        self.until = Some(until);
        Follows::Wait(until, why)
    }

    /// Whose a refusal on a link may be.
    fn refused(&mut self, (link, device): (LinkIx, u64), doubt: Doubt, now: Instant) -> Whose {
        let Some(seen) = self.link(link) else {
            return Whose::Device;
        };
        let Some(row) = seen.row(doubt) else {
            return Whose::Device;
        };
        row.add(now, device);
        let since = row.since.unwrap_or(now);
        let (refuses, is_quiet) = (seen.refuses(doubt, now), seen.is_quiet(now));
        if !refuses {
            return Whose::Device;
        }
        let well = |seen: &Seen| {
            let then = seen.looked.is_some_and(|at| at + LATELY >= since);
            then && !seen.refuses(doubt, now)
        };
        let others = self.links.iter().zip(0..).filter(|(_, at)| *at != link.0);
        match others.map(|(seen, _)| seen).any(well) {
            false => Whose::Route,
            true if is_quiet => {
                if let Some(row) = self.link(link).and_then(|seen| seen.row(doubt)) {
                    row.clear();
                }
                Whose::Connection
            }
            // Some pushes pass on it as well: the service is busy with some of what comes.
            true => Whose::Device,
        }
    }

    /// Until when nothing is sent.
    pub(super) fn waits(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// How many pushes may be out on a link: after a wait, no more than what could make the next one.
    pub(super) fn window_max(&self) -> usize {
        self.until.map_or(usize::MAX, |_| SOME)
    }

    /// Whether it is the project that is not found.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Somebody has looked.
    pub(super) fn go_on(&mut self, now: Instant) {
        for seen in &mut self.links {
            seen.not_found.clear();
            seen.busy.clear();
        }
        self.lost = false;
        self.spared = Some(now + SPARED);
        self.waited();
    }
}

/// Whose a refusal may be.
enum Whose {
    Device,
    Connection,
    Route,
}

/// Whom a push goes to, as a number: a device, a topic or a condition.
pub(super) fn device(attempt: &Attempt) -> u64 {
    let mut hasher = FxHasher::default();
    match attempt.message.device(attempt.part) {
        Some(device) => (&*device.app, &*device.token).hash(&mut hasher),
        None => {
            let steps = attempt.message.steps.as_ref();
            match steps.and_then(|steps| steps.push.as_ref()) {
                Some(PushTarget::Topic(to) | PushTarget::Condition(to)) => to.hash(&mut hasher),
                Some(PushTarget::Devices(_)) | None => {}
            }
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    /// The doubts of a route, and what follows when `device` is refused `seconds` after the start.
    struct Scene(Doubts, Instant);

    impl Scene {
        fn new() -> Self {
            Self(Doubts::default(), Instant::now())
        }

        fn at(&self, seconds: u64) -> Instant {
            self.1 + Duration::from_secs(seconds)
        }

        /// A push that was sent then was looked at at once.
        fn looked(&mut self, seconds: u64) {
            self.looked_on(0, seconds);
        }

        fn looked_on(&mut self, link: u16, seconds: u64) {
            let at = self.at(seconds);
            self.0.looked((at, at), LinkIx(link));
        }

        fn saw(&mut self, seconds: u64, device: u64, doubt: Doubt) -> Follows {
            self.saw_on(0, seconds, device, doubt)
        }

        fn saw_on(&mut self, link: u16, seconds: u64, device: u64, doubt: Doubt) -> Follows {
            let at = self.at(seconds);
            self.0.saw((at, at), (LinkIx(link), device), doubt, 0.0)
        }
    }

    #[test]
    fn one_device_that_is_never_found_stops_nobody() {
        let mut scene = Scene::new();
        for second in 0..10_000 {
            assert_eq!(scene.saw(second, 7, Doubt::NotFound), Follows::Nothing);
        }
        assert!(!scene.0.is_lost());
    }

    #[test]
    fn different_devices_in_a_row_are_not_found_when_it_is_the_project() {
        let mut scene = Scene::new();
        for device in 1..10 {
            assert_eq!(scene.saw(0, device, Doubt::NotFound), Follows::Nothing);
        }
        assert_eq!(scene.saw(0, 10, Doubt::NotFound), Follows::Stop);
        assert!(scene.0.is_lost());
        // Somebody has looked: those at the head make room, and show no more than before.
        scene.0.go_on(scene.at(0));
        for device in 1..100 {
            assert_eq!(scene.saw(59, device, Doubt::NotFound), Follows::Nothing);
        }
        assert_eq!(scene.saw(60, 100, Doubt::NotFound), Follows::Stop);
        scene.0.go_on(scene.at(60));
        // One is taken, or called gone: the project is there.
        scene.looked(121);
        assert_eq!(scene.saw(122, 10, Doubt::NotFound), Follows::Nothing);
    }

    #[test]
    fn a_device_that_is_pushed_too_often_waits_alone_and_three_make_the_route_wait() {
        let mut scene = Scene::new();
        for _ in 0..100 {
            let follows = scene.saw(0, 1, Doubt::TooMany(WAIT));
            assert_eq!(follows, Follows::Nothing);
        }
        assert_eq!(scene.saw(0, 2, Doubt::TooMany(WAIT)), Follows::Nothing);
        let until = scene.at(60);
        let third = scene.saw(0, 3, Doubt::TooMany(WAIT));
        assert_eq!(third, Follows::Wait(until, Refuses::Quota));
        assert_eq!(scene.0.waits(scene.at(59)), Some(until));
        assert_eq!(scene.0.waits(until), None);
        // What was under way says nothing new.
        for device in 4..100 {
            let follows = scene.saw(1, device, Doubt::TooMany(WAIT));
            assert_eq!(follows, Follows::Nothing);
        }
        scene.looked(0);
        assert_eq!(scene.0.window_max(), 3, "it was under way, too");
        scene.looked(60);
        assert_eq!(scene.0.window_max(), usize::MAX);
    }

    #[test]
    fn a_service_that_stays_too_busy_is_asked_ever_more_seldom_up_to_ten_seconds() {
        let mut scene = Scene::new();
        let (mut second, mut waits) = (0, Vec::new());
        for round in 0..8 {
            for device in 0..3 {
                if let Follows::Wait(until, _) = scene.saw(second, device, Doubt::Busy(None)) {
                    waits.push(until.duration_since(scene.at(second)).as_secs());
                    second += waits[round];
                }
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10, 10, 10]);
        scene.looked(second);
        second += 2;
        for device in 0..2 {
            assert_eq!(
                scene.saw(second, device, Doubt::Busy(None)),
                Follows::Nothing
            );
        }
        let asked = Doubt::Busy(Some(Duration::from_secs(30)));
        let until = scene.at(second + 30);
        let wait = Follows::Wait(until, Refuses::Busy);
        assert_eq!(scene.saw(second, 2, asked), wait);
    }

    #[test]
    fn refusals_among_pushes_that_are_looked_at_are_their_own() {
        let mut scene = Scene::new();
        for device in 0..1_000 {
            let doubt = match device % 3 {
                0 => Doubt::NotFound,
                1 => Doubt::TooMany(WAIT),
                _ => Doubt::Busy(None),
            };
            assert_eq!(scene.saw(0, device, doubt), Follows::Nothing);
            if device % 5 == 0 {
                scene.looked(0);
            }
        }
    }

    /// One connection's answers come many at a time, and those of its neighbour between them or behind.
    #[test]
    fn a_sick_connection_beside_a_well_one_is_replaced_and_holds_up_nobody() {
        for (doubt, row) in [(Doubt::Busy(None), 3), (Doubt::NotFound, 10)] {
            for between in [false, true] {
                let mut scene = Scene::new();
                scene.looked_on(1, 0);
                let mut replaced = 0;
                for device in 0..100 {
                    let follows = scene.saw(1, device, doubt);
                    let full = (device + 1) % row == 0;
                    let wanted = match full {
                        true => Follows::Connection,
                        false => Follows::Nothing,
                    };
                    assert_eq!(follows, wanted, "{device}");
                    replaced += u32::from(full);
                    if between {
                        scene.looked_on(1, 1);
                    }
                }
                assert!(replaced >= 10 && !scene.0.is_lost());
                assert_eq!(scene.0.window_max(), usize::MAX);
            }
        }
    }

    /// At one push a second for both together.
    #[test]
    fn a_sick_connection_is_found_however_few_pushes_there_are() {
        let mut scene = Scene::new();
        let mut replaced = 0;
        for second in 0..60 {
            match second % 2 {
                0 => scene.looked_on(1, second),
                _ => {
                    let follows = scene.saw(second, second, Doubt::Busy(None));
                    replaced += u32::from(follows == Follows::Connection);
                }
            }
        }
        assert_eq!(replaced, 10);
        assert_eq!(scene.0.window_max(), usize::MAX);
    }

    /// Three in four, on both of two links: neither is replaced, and the route does not wait.
    #[test]
    fn a_service_that_refuses_some_of_what_comes_loses_no_connection() {
        let mut scene = Scene::new();
        for device in 0..10_000 {
            let link = u16::try_from(device % 2).unwrap();
            match device / 2 % 4 {
                0 => scene.looked_on(link, device / 1_000),
                _ => {
                    let follows = scene.saw_on(link, device / 1_000, device, Doubt::Busy(None));
                    assert_eq!(follows, Follows::Nothing);
                }
            }
        }
    }

    /// One in a thousand passes, on one of two links.
    #[test]
    fn a_service_that_refuses_nearly_all_makes_the_route_wait() {
        let mut scene = Scene::new();
        scene.looked_on(0, 0);
        scene.looked_on(1, 0);
        let mut follows = Follows::Nothing;
        for device in 0..20 {
            let link = u16::try_from(device % 2).unwrap();
            if follows == Follows::Nothing {
                follows = scene.saw_on(link, 0, device, Doubt::Busy(None));
            }
        }
        let wait = Follows::Wait(scene.at(1), Refuses::Busy);
        assert_eq!(follows, wait);
    }

    #[test]
    fn what_passes_after_a_wait_ends_the_next_one_at_once() {
        let mut scene = Scene::new();
        for second in [0, 1] {
            for device in 0..3 {
                scene.saw(second, device, Doubt::Busy(None));
            }
        }
        assert_eq!(scene.0.waits(scene.at(2)), Some(scene.at(3)));
        // It was sent after the first wait, on a connection that is slower.
        let (now, sent) = (scene.at(2), scene.at(1));
        assert!(scene.0.looked((now, sent), LinkIx(1)), "that is news");
        assert_eq!(scene.0.waits(now), None);
        assert_eq!(scene.0.window_max(), usize::MAX);
        assert!(!scene.0.looked((now, sent), LinkIx(1)));
    }

    #[test]
    fn the_project_is_found_again_when_a_push_is_looked_at() {
        let mut scene = Scene::new();
        for device in 0..10 {
            scene.saw(0, device, Doubt::NotFound);
        }
        assert!(scene.0.is_lost());
        scene.looked(0);
        assert!(!scene.0.is_lost());
    }

    #[test]
    fn nobody_has_the_whole_route_wait_for_a_day() {
        let mut scene = Scene::new();
        let day = Doubt::Busy(Some(Duration::from_secs(86_400)));
        scene.saw(0, 1, day);
        scene.saw(0, 2, day);
        let wait = Follows::Wait(scene.at(60), Refuses::Busy);
        assert_eq!(scene.saw(0, 3, day), wait);
        let mut scene = Scene::new();
        let day = Doubt::TooMany(Duration::from_secs(86_400));
        scene.saw(0, 1, day);
        scene.saw(0, 2, day);
        let wait = Follows::Wait(scene.at(600), Refuses::Quota);
        assert_eq!(scene.saw(0, 3, day), wait);
    }
}
