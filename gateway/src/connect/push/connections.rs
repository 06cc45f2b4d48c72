//! Connections of one link: the newest takes what is new, those before it drain; and the next one is made
//! before the last one is gone.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::PAUSES;
use crate::connect::http2::{Connection, NotConnected};

/// A connection that stood so long starts again from the shortest pause.
const STABLE: Duration = Duration::from_secs(60);
/// Connections that drain beside the newest one. Chosen: a service that ends them faster than it answers
/// what is out on them is sick.
const DRAINING_MAX: usize = 4;
/// Server faults in a row after which a connection is given up (push.md §1.5: two 500s); also pushes that
/// are not answered while no other is.
const FAULTS_MAX: u32 = 2;
/// Streams refused in a row that are tried again at once. Chosen: one push that is always refused, between
/// others that are answered, holds up none of them.
const REFUSED_AT_ONCE: u32 = 2;
/// The link's pause after more of them, doubled for each that follows it, and the longest. Chosen: from
/// some round trips to what PING takes to find a connection dead.
const REFUSED_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How long the goodbye may take when the gateway stops. Chosen: GOAWAY and TLS's close_notify are written at
/// once, unless the service reads nothing any more.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection that is being made.
pub(super) type Connecting = Pin<Box<dyn Future<Output = Result<Connection, NotConnected>> + Send>>;

/// One connection and what is counted of it.
pub(super) struct Held {
    pub(super) connection: Connection,
    /// The credential it was made with.
    pub(super) generation: u64,
    opened: Instant,
    /// When a request was answered last; before the first, when it was made.
    answered: Instant,
    faults: u32,
    /// Streams that the service refused since.
    refused: u32,
    /// It is to make room for the next one, which comes or is there.
    pub(super) leaves: bool,
    /// It is over, and why.
    pub(super) closed: Option<String>,
}

impl Held {
    /// A request was answered, with whatever.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = now;
        self.refused = 0;
    }

    /// The service is well on it.
    pub(super) fn is_well(&mut self) {
        self.faults = 0;
    }

    /// The service was at fault: twice in a row, and the connection is given up.
    pub(super) fn fault(&mut self, why: &str) {
        self.faults = self.faults.saturating_add(1);
        if self.faults >= FAULTS_MAX {
            self.connection.fence(why);
        }
    }

    /// A request was not answered in its time. PING may be answered nevertheless: where no request was for
    /// so long, the connection is as good as a silent one.
    pub(super) fn unanswered(&mut self, now: Instant, timeout: Duration) {
        if now.saturating_duration_since(self.answered) >= timeout {
            self.fault("no push is answered on it");
        }
    }

    /// The service refused a stream. It may do so with many when its limit has fallen; but what is tried
    /// again at once, and refused again, would go round and round as fast as the network is: so long the
    /// link is to pause.
    pub(super) fn stream_refused(&mut self) -> Option<Duration> {
        self.refused = self.refused.saturating_add(1);
        let doublings = self.refused.saturating_sub(REFUSED_AT_ONCE);
        if doublings == 0 {
            return None;
        }
        let pause = REFUSED_PAUSES.0.saturating_mul(1 << doublings.min(16));
        Some(pause.min(REFUSED_PAUSES.1))
    }
}

/// What [`Connections::work`] ended with.
pub(super) enum Worked {
    /// One of them has news.
    News,
    /// The next one is there, or not.
    Connected(Box<Result<Connection, NotConnected>>, u64),
}

/// A link's connections.
pub(super) struct Connections {
    /// The newest last.
    held: Vec<Held>,
    /// The next one, and the credential it is made with.
    next: Option<(Connecting, u64)>,
    retry_at: Option<Instant>,
    pause: Duration,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self {
            held: Vec::new(),
            next: None,
            retry_at: None,
            pause: PAUSES.0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn newest(&self) -> Option<&Connection> {
        self.held.last().map(|held| &held.connection)
    }

    pub(super) fn at(&mut self, at: usize) -> Option<&mut Held> {
        self.held.get_mut(at)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.held.iter_mut()
    }

    /// The newest that takes one more request.
    pub(super) fn with_room(&mut self) -> Option<&mut Connection> {
        let mut newest = self.held.iter_mut().rev().map(|held| &mut held.connection);
        newest.find(|connection| connection.room() > 0)
    }

    /// How many requests they take in all.
    pub(super) fn limit(&self) -> usize {
        let limits = self.held.iter().map(|held| held.connection.limit());
        limits.sum()
    }

    /// How many requests may be out: those that are out, where nothing new is to be sent.
    pub(super) fn window(&self, paused: bool) -> usize {
        let of = |held: &Held| match (held.connection.limit(), paused) {
            (0, _) | (_, true) => held.connection.in_flight(),
            (limit, false) => limit,
        };
        self.held.iter().map(of).sum()
    }

    /// Whether another one is to be made now, if one is wanted at all.
    pub(super) fn is_next_due(&self, now: Instant) -> bool {
        let stays = |held: &Held| held.connection.limit() > 0 && !held.leaves;
        let well = self.held.iter().any(stays);
        let crowded = self.held.len() > DRAINING_MAX;
        let due = self.retry_at.is_none_or(|at| at <= now);
        !well && !crowded && self.next.is_none() && due
    }

    /// The next one is made, with the credential of this generation.
    pub(super) fn open(&mut self, connecting: Connecting, generation: u64) {
        self.next = Some((connecting, generation));
    }

    /// The next one is not made after all.
    pub(super) fn do_not_open(&mut self) {
        self.next = None;
    }

    /// The next one is there: those before it drain.
    pub(super) fn add(&mut self, connection: Connection, generation: u64, now: Instant) {
        for held in &mut self.held {
            held.connection.fence("another one takes its place");
        }
        self.held.push(Held {
            connection,
            generation,
            opened: now,
            answered: now,
            faults: 0,
            refused: 0,
            leaves: false,
            closed: None,
        });
    }

    /// There is none, or it did not last: how long the next try waits.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        let half = self.pause / 2;
        let pause = half + half / 1_000 * (getrandom::u32().unwrap_or_default() % 1_000);
        self.pause = (self.pause * 2).min(PAUSES.1);
        self.retry_at = Some(now + pause);
        pause
    }

    /// What failed before says nothing any more.
    pub(super) fn start_again(&mut self) {
        self.pause = PAUSES.0;
        self.retry_at = None;
    }

    /// Sends nothing new on any of them.
    pub(super) fn fence(&mut self, why: &str) {
        for held in &mut self.held {
            held.connection.fence(why);
        }
    }

    /// Says goodbye on all of them, as far as nothing is out there: GOAWAY, and close_notify in TLS. What is
    /// out comes to no end any more.
    pub(super) async fn close(&mut self, why: &str) {
        self.next = None;
        self.fence(why);
        self.held.retain(|held| held.connection.in_flight() == 0);
        let all = async {
            while !self.held.is_empty() {
                self.work().await;
                let over =
                    |held: &mut Held| std::mem::take(held.connection.news()).closed.is_some();
                self.held.retain_mut(|held| !over(held));
            }
        };
        // Those that are left are cut.
        drop(timeout(GOODBYE, all).await);
    }

    /// Lets go of those that are over: why the last one was, where none is left and none is made.
    pub(super) fn let_go(&mut self, now: Instant) -> Option<String> {
        let mut last = None;
        for held in self.held.extract_if(.., |held| held.closed.is_some()) {
            if now.saturating_duration_since(held.opened) >= STABLE {
                self.pause = PAUSES.0;
            }
            last = held.closed;
        }
        last.filter(|_| self.held.is_empty() && self.next.is_none())
    }

    /// Works on all of them, and on the next one, until there is news.
    ///
    /// Cancel safe: nothing is lost.
    pub(super) async fn work(&mut self) -> Worked {
        poll_fn(|context| {
            let mut news = false;
            for held in &mut self.held {
                news |= pin!(held.connection.turn()).poll(context).is_ready();
            }
            if news {
                return Poll::Ready(Worked::News);
            }
            let Some((connecting, generation)) = &mut self.next else {
                return Poll::Pending;
            };
            let generation = *generation;
            connecting.as_mut().poll(context).map(|result| {
                self.next = None;
                Worked::Connected(Box::new(result), generation)
            })
        })
        .await
    }
}
