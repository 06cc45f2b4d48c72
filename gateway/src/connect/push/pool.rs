//! Pool: how many of a route's links have a connection, and when the next one may be opened.
//!
//! Links are numbered; those below [`Pool::wanted`] connect, the others rest. A link that has had no room
//! for a while asks for one more, a link that has been idle for long gives itself up. Chosen figures are
//! those of push.md §1.7 where it has them.

use std::future::pending;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

/// A link that was nearly full again and again for so long has its pool grow. Chosen: several round trips.
const FULL_FOR: Duration = Duration::from_secs(1);
/// Between two such moments at most. Chosen: above the round trip to either service.
const FULL_AGAIN: Duration = Duration::from_millis(250);
/// The pool grows by one at most in this time: rapid connecting counts as an attack (push.md §1.7).
const GROW_PAUSE: Duration = Duration::from_secs(1);
/// A link with nothing to do for so long gives its connection up. Chosen: far above the pauses of traffic.
const IDLE_FOR: Duration = Duration::from_secs(600);
/// Connections of one pool are opened this far apart at least (push.md §1.7: a few a second).
const CONNECT_PAUSE: Duration = Duration::from_millis(250);

/// A route's pool.
#[derive(Debug)]
pub struct Pool {
    min: u16,
    max: u16,
    wanted: watch::Sender<u16>,
    times: Mutex<Times>,
}

#[derive(Debug, Default)]
struct Times {
    grown: Option<Instant>,
    connect: Option<Instant>,
    /// Links that have stopped.
    stopped: u16,
}

impl Pool {
    /// Of at least `min` connections and at most `max`.
    #[must_use]
    pub fn new(min: u16, max: u16) -> Self {
        let max = max.max(1);
        let min = min.clamp(1, max);
        Self {
            min,
            max,
            wanted: watch::Sender::new(min),
            times: Mutex::default(),
        }
    }

    /// How many links it may have.
    #[must_use]
    pub fn max(&self) -> u16 {
        self.max
    }

    /// There is more to send than the connections take.
    fn grow(&self, now: Instant) {
        let mut times = self.times.lock();
        let lately = |at: Instant| now.saturating_duration_since(at) < GROW_PAUSE;
        if times.grown.is_some_and(lately) {
            return;
        }
        let more = |wanted: &mut u16| {
            let grows = *wanted < self.max;
            *wanted += u16::from(grows);
            grows
        };
        if self.wanted.send_if_modified(more) {
            times.grown = Some(now);
        }
    }

    /// A link has stopped, or goes on after that.
    pub(super) fn stopped(&self, stops: bool) {
        let mut times = self.times.lock();
        times.stopped = match stops {
            true => times.stopped.saturating_add(1),
            false => times.stopped.saturating_sub(1),
        };
    }

    /// A link has nothing to do. Whether it is to give its connection up: only the last one ever does, and
    /// none while others have stopped, which would be all that is left.
    fn shrink(&self, link: u16) -> bool {
        if self.times.lock().stopped > 0 {
            return false;
        }
        self.wanted.send_if_modified(|wanted| {
            let goes = *wanted > self.min && link + 1 == *wanted;
            *wanted -= u16::from(goes);
            goes
        })
    }

    /// A connection is to be opened: when it may.
    pub(super) fn connect_at(&self, now: Instant) -> Instant {
        let mut times = self.times.lock();
        let at = times.connect.map_or(now, |at| at.max(now));
        times.connect = Some(at + CONNECT_PAUSE);
        at
    }
}

/// How long a link has had all that it may, but for moments: while answers come one by one there is always
/// room for the next request, and still more to send.
#[derive(Debug, Default)]
struct Pressure {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Pressure {
    /// So many of its streams were used at this moment: whether another connection would help.
    fn saw(&mut self, now: Instant, used: usize, limit: usize) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < FULL_AGAIN;
        if !self.last.is_some_and(lately) {
            self.since = None;
        }
        // Three quarters, because what was answered is replaced a little later.
        if limit == 0 || 4 * used < 3 * limit {
            return false;
        }
        self.last = Some(now);
        let since = *self.since.get_or_insert(now);
        let grows = now.saturating_duration_since(since) >= FULL_FOR;
        if grows {
            self.since = None;
        }
        grows
    }
}

/// A link's place in its pool: whether a connection is wanted there, and whether one more beside it is.
#[derive(Debug)]
pub(super) struct Place {
    link: u16,
    wanted: watch::Receiver<u16>,
    pressure: Pressure,
    busy_at: Instant,
}

impl Place {
    pub(super) fn new(pool: &Pool, link: u16, now: Instant) -> Self {
        Self {
            link,
            wanted: pool.wanted.subscribe(),
            pressure: Pressure::default(),
            busy_at: now,
        }
    }

    /// Whether the pool wants a connection here.
    pub(super) fn is_wanted(&self) -> bool {
        *self.wanted.borrow() > self.link
    }

    /// Waits until the pool wants another number of them. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.wanted.changed().await.is_err() {
            pending().await
        }
    }

    /// So many requests are out, of `limit`; `up`: more could be handed over. Grows or shrinks the pool.
    pub(super) fn saw(
        &mut self,
        pool: &Pool,
        now: Instant,
        up: bool,
        (out, limit): (usize, usize),
    ) {
        if out > 0 {
            self.busy_at = now;
        }
        if up && self.pressure.saw(now, out, limit) {
            pool.grow(now);
        }
        if up && now.saturating_duration_since(self.busy_at) >= IDLE_FOR {
            pool.shrink(self.link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_grows_one_by_one_and_its_last_link_goes_first() {
        let pool = Pool::new(1, 3);
        let now = Instant::now();
        let wanted = pool.wanted.subscribe();
        let is = || *wanted.borrow();
        pool.grow(now);
        pool.grow(now);
        assert_eq!(is(), 2, "not twice in a second");
        pool.grow(now + GROW_PAUSE);
        pool.grow(now + 2 * GROW_PAUSE);
        assert_eq!(is(), 3, "no more than it may have");
        assert!(!pool.shrink(0), "the last one goes first");
        pool.stopped(true);
        assert!(!pool.shrink(2), "it may be the only one that works");
        pool.stopped(false);
        assert!(pool.shrink(2) && pool.shrink(1));
        assert!(!pool.shrink(0), "one stays");
        assert_eq!(is(), 1);
    }

    #[test]
    fn a_link_that_is_filled_again_and_again_needs_another_beside_it() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        // Answers come one by one: it is never quite full.
        let mut one_by_one = Pressure::default();
        let grown = (0..3_000).filter(|ms| one_by_one.saw(at(*ms), 76 + (*ms as usize % 20), 100));
        assert_eq!(grown.collect::<Vec<u64>>(), [1_000, 2_001]);
        // They come all at once, each 200 ms.
        let mut in_bursts = Pressure::default();
        let used = |ms: u64| if ms % 200 < 5 { 1_000 } else { 10 };
        assert!((0..3_000).any(|ms| in_bursts.saw(at(ms), used(ms), 1_000)));
        // A peak now and then, and half of it all the time.
        let mut peaks = Pressure::default();
        let used = |ms: u64| if ms % 500 < 5 { 1_000 } else { 700 };
        assert!(!(0..5_000).any(|ms| peaks.saw(at(ms), used(ms), 1_000)));
        assert!(!(0..5_000).any(|ms| peaks.saw(at(ms), 0, 0)));
    }

    #[test]
    fn connections_are_opened_apart() {
        let pool = Pool::new(1, 3);
        let now = Instant::now();
        assert_eq!(pool.connect_at(now), now);
        assert_eq!(pool.connect_at(now), now + CONNECT_PAUSE);
        let later = now + Duration::from_secs(9);
        assert_eq!(pool.connect_at(later), later);
    }
}
