//! Doubts: refusals that do not say whether they are meant for one device or for the whole route. Pure.
//!
//! ```text
//!  404 without a word of the device   10 different ones in a row   the route stops: it is the project
//!  429 without a word of whose quota   3                            the route waits as long as it was told
//!  503                                 3                            the route waits: 1 s, doubled up to 10 s
//! ```
//! One of them is the device's own, and it alone waits: were it taken for the route's, one token that is
//! pushed too often, or a single sick machine of the service, would hold up everybody else's pushes. So it
//! takes different devices, and none in between at which the service looked; for 404 and 503 also none for a
//! second, since one connection's answers come many at a time. After a wait no more goes out than what could
//! make the next one, until the service looks at a push again.

use std::hash::{Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use rustc_hash::FxHasher;

use crate::link::LinkIx;
use crate::message::steps::PushTarget;
use crate::outcome::Attempt;

/// Different devices in a row that were not found, and none that was, before the route stops. Chosen: far
/// above what a customer's few dead tokens make (FCM has answered 404 for 2 % of all for a day:
/// firebase-admin-java#506, and its own client takes NOT_FOUND for a dead token: firebase-admin-node,
/// `messagingServerToClientCode`), and each of them is tried again after the route has stopped.
const NOT_FOUND_MAX: usize = 10;
/// Different devices in a row that met too many or too busy before the route waits. Chosen: two of them may
/// be two devices that are pushed too often.
const TOO_MUCH_MAX: usize = 3;
/// The first and the longest wait of a route whose service is too busy, where that does not say how long.
/// Chosen: push.md §1.5's first try again; and as long as Google wants between two tries (§2), which is also
/// what a service that is well again may cost a one-time code.
const BUSY_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// … and the longest that it may ask the whole route for. Chosen: what the first minute shows; the pushes that
/// it refused wait as long as it asked.
const BUSY_ASKED_MAX: Duration = Duration::from_secs(60);
/// The service is there when it has looked at a push within it. Chosen: some round trips.
const LATELY: Duration = Duration::from_secs(1);

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
    /// Nothing for the route, and something for the connection: those of others are well.
    Connection,
    /// Nothing is sent until then.
    Wait(Instant),
    /// No push will pass until somebody has looked.
    Stop,
}

/// What all links of a route have been left in doubt about since the service looked at a push.
#[derive(Debug, Default)]
pub struct Doubts {
    not_found: Row<NOT_FOUND_MAX>,
    too_many: Row<TOO_MUCH_MAX>,
    busy: Row<TOO_MUCH_MAX>,
    /// Nothing is sent until then …
    until: Option<Instant>,
    /// … and what was sent since then and is looked at ends it.
    from: Option<Instant>,
    /// Waits in a row for a busy service.
    busy_waits: u32,
    /// When the service looked at a push last, and whose.
    looked: Option<(Instant, LinkIx)>,
    /// It is the project that is not found.
    lost: bool,
}

/// Different devices in a row.
#[derive(Debug)]
struct Row<const MAX: usize> {
    devices: [u64; MAX],
    count: usize,
}

impl<const MAX: usize> Default for Row<MAX> {
    fn default() -> Self {
        Self {
            devices: [0; MAX],
            count: 0,
        }
    }
}

impl<const MAX: usize> Row<MAX> {
    /// One more. Whether the row is full.
    fn adds(&mut self, device: u64) -> bool {
        let (known, free) = self.devices.split_at_mut(self.count.min(MAX));
        if !known.contains(&device)
            && let Some(next) = free.first_mut()
        {
            *next = device;
            self.count += 1;
        }
        self.is_full()
    }

    fn is_full(&self) -> bool {
        self.count >= MAX
    }

    fn clear(&mut self) {
        self.count = 0;
    }
}

impl Doubts {
    /// The service looked at a push that was sent at `sent`: what it refused before was not the whole
    /// route's.
    pub(super) fn looked(&mut self, (now, sent): (Instant, Instant), link: LinkIx) {
        self.looked = Some((now, link));
        self.found();
        // What was under way when it asked to wait does not end the wait.
        if self.from.is_none_or(|from| from <= sent) {
            self.waited();
        }
    }

    fn found(&mut self) {
        self.not_found.clear();
        self.lost = false;
    }

    fn waited(&mut self) {
        self.too_many.clear();
        self.busy.clear();
        self.busy_waits = 0;
        (self.until, self.from) = (None, None);
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
        let lately = |(at, _): &(Instant, LinkIx)| now.saturating_duration_since(*at) < LATELY;
        let looked = self.looked.filter(lately);
        let is_there = looked.is_some();
        let wait = match doubt {
            Doubt::NotFound if self.not_found.adds(device) && !is_there => {
                self.lost = true;
                return Follows::Stop;
            }
            Doubt::TooMany(wait) if self.too_many.adds(device) => wait,
            Doubt::Busy(asked) if self.busy.adds(device) && !is_there => {
                let doubled = BUSY_PAUSES.0 * (1 << self.busy_waits.min(16));
                self.busy_waits = self.busy_waits.saturating_add(1);
                let own = doubled.min(BUSY_PAUSES.1);
                let asked = asked.unwrap_or(Duration::ZERO).min(BUSY_ASKED_MAX);
                // A quarter, so that not all routes of a process come back at once.
                asked.max(own).mul_f64(1.0 + draw / 4.0)
            }
            Doubt::Busy(_) if self.busy.is_full() && looked.is_some_and(|(_, by)| by != link) => {
                return Follows::Connection;
            }
            Doubt::NotFound | Doubt::TooMany(_) | Doubt::Busy(_) => return Follows::Nothing,
        };
        self.too_many.clear();
        self.busy.clear();
        let until = now + wait;
        // What tried the service after the wait before may still be looked at: on another connection.
        self.from = Some(self.until.unwrap_or(until));
        self.until = Some(until);
        Follows::Wait(until)
    }

    /// Until when nothing is sent.
    pub(super) fn waits(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// How many pushes may be out on a link: after a wait, no more than what could make the next one.
    pub(super) fn window_max(&self) -> usize {
        self.until.map_or(usize::MAX, |_| TOO_MUCH_MAX)
    }

    /// Whether it is the project that is not found.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Somebody has looked.
    pub(super) fn go_on(&mut self) {
        self.found();
        self.waited();
    }
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
            let at = self.at(seconds);
            self.0.saw((at, at), (LinkIx(0), device), doubt, 0.0)
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
        scene.0.go_on();
        for device in 1..10 {
            assert_eq!(scene.saw(1, device, Doubt::NotFound), Follows::Nothing);
        }
        // One is taken, or called gone: the project is there.
        scene.looked(1);
        assert_eq!(scene.saw(2, 10, Doubt::NotFound), Follows::Nothing);
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
        assert_eq!(third, Follows::Wait(until));
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
                if let Follows::Wait(until) = scene.saw(second, device, Doubt::Busy(None)) {
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
        assert_eq!(scene.saw(second, 2, asked), Follows::Wait(until));
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

    /// One connection's answers come many at a time, and those of its neighbour between them.
    #[test]
    fn a_sick_connection_beside_a_well_one_neither_stops_the_route_nor_has_it_wait() {
        let mut scene = Scene::new();
        scene.looked_on(1, 0);
        for device in 0..100 {
            let follows = match device {
                0 | 1 => Follows::Nothing,
                _ => Follows::Connection,
            };
            assert_eq!(scene.saw(0, device, Doubt::Busy(None)), follows);
            assert_eq!(scene.saw(0, device, Doubt::NotFound), Follows::Nothing);
        }
        // Its own word says nothing of others.
        scene.looked_on(0, 0);
        for device in 0..100 {
            assert_eq!(scene.saw(0, device, Doubt::Busy(None)), Follows::Nothing);
        }
        assert!(!scene.0.is_lost());
        // Nothing was looked at for a while, and the well one is slower when both are tried again.
        let mut until = scene.at(5);
        for device in 0..3 {
            if let Follows::Wait(at) = scene.saw(4, device, Doubt::Busy(None)) {
                until = at;
            }
        }
        assert_eq!(until, scene.at(5));
        for device in 0..3 {
            scene.saw(5, device, Doubt::Busy(None));
        }
        assert_eq!(scene.0.waits(scene.at(6)), Some(scene.at(7)));
        scene.looked(5);
        assert_eq!(scene.0.waits(scene.at(6)), None);
        assert_eq!(scene.0.window_max(), usize::MAX);
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
        assert_eq!(scene.saw(0, 3, day), Follows::Wait(scene.at(60)));
    }
}
