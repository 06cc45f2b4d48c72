//! One endpoint's task: takes from its feed, posts, and remembers how far it came.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};

use super::batch::{self, Ready};
use super::course::{Course, Next, Now, Outcome, Sent};
use super::feed::{Feed, Item, wanted};
use super::post::{Answer, Post, failed};
use super::target::Target;
use super::view::{Meters, Shown};
use super::{Log, fan, instant};
use crate::clock::Clock;
use crate::event::{EventKind, EventKinds};
use crate::stop::Stop;
use crate::store::{DeliveryRetry, EndpointState, EventPage, EventQuery};

/// State is given to the store at most this often: it rides in the next commit anyway, and what a
/// crash forgets of it is only sent twice.
const SAVE_EVERY: Duration = Duration::from_millis(150);

/// Events that a lagging endpoint reads at a time; half of the fan-out's page, as many may read.
const OWN_PAGE_EVENTS: usize = fan::PAGE_EVENTS / 2;

/// The pause after a read that brought nothing although the log has more (the store is closing).
const READ_PAUSE: Duration = Duration::from_secs(1);

/// How long a stop waits for POSTs that are out; what is left then is sent again after the start.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// What an endpoint's task works with.
#[derive(Clone)]
pub(super) struct Means {
    /// Whom to post to.
    pub target: Arc<Target>,
    /// The kinds to read: its own and what callbacks may name.
    pub(super) reads: EventKinds,
    /// Octets of events that may be out at a time; one delivery may go beyond.
    pub(super) octets_out_max: usize,
    /// What to post.
    pub feed: Arc<Feed>,
    /// The log, to read in it and to remember.
    pub log: Log,
    /// How to post.
    pub post: Post,
    /// The time.
    pub clock: Clock,
    /// Where it shows how it is.
    pub shown: Arc<Shown>,
    /// Wakes it to be enabled again.
    pub enable: Arc<Notify>,
}

/// The task's state.
pub(super) struct Task {
    means: Means,
    meters: Meters,
    course: Course,
    work: JoinSet<Done>,
    /// What is out, by its task; as many as the gate lets out, and one read.
    out: HashMap<Id, (Sent, usize)>,
    /// Octets of the new deliveries that are out.
    octets_out: usize,
    reading: bool,
    read_pause: Option<Instant>,
    saved: EndpointState,
    saved_at: Option<Instant>,
    changed: bool,
}

enum Done {
    Read(EventPage),
    Posted {
        answer: Answer,
        events: usize,
        /// Whether giving it up is worth an event: telling of failed tellings would never end.
        notable: bool,
        took: Duration,
    },
}

impl Task {
    /// A task that goes on from `state`.
    #[must_use]
    pub(super) fn new(means: Means, state: EndpointState, pace: Option<super::Pace>) -> Self {
        let meters = Meters::new(&means.target.name);
        Self {
            course: Course::restore(&state, pace),
            means,
            meters,
            work: JoinSet::new(),
            out: HashMap::new(),
            octets_out: 0,
            reading: false,
            read_pause: None,
            saved: state,
            saved_at: None,
            changed: false,
        }
    }

    /// Delivers until the stop, then waits for what is out and remembers.
    pub(super) async fn run(mut self, mut stop: Stop) {
        let _guard = stop.guard(format!("webhook {}", self.means.target.name));
        if self.course.disabled().is_some() {
            self.means.feed.queue.lock().close();
        }
        let (feed, enable) = (self.means.feed.clone(), self.means.enable.clone());
        while !stop.is_stopped() {
            let wake = self.act();
            tokio::select! {
                () = stop.stopped() => {}
                () = feed.ready.notified() => {}
                () = enable.notified() => self.enable(),
                Some(done) = self.work.join_next_with_id() => self.done(done),
                () = until(wake) => {}
            }
            // Everything that has ended by now is taken in before the next look.
            while let Some(done) = self.work.try_join_next_with_id() {
                self.done(done);
            }
        }
        let rest = async {
            while let Some(done) = self.work.join_next_with_id().await {
                self.done(done);
            }
        };
        tokio::time::timeout(STOP_WAIT, rest).await.ok();
        self.save();
    }

    fn now(&self) -> Now {
        Now {
            instant: instant(),
            unix: self.means.clock.now(),
        }
    }

    /// Starts what may start, and says when to look again.
    fn act(&mut self) -> Option<Instant> {
        let wake = loop {
            let now = self.now();
            let ready = if self.octets_out >= self.means.octets_out_max {
                Ready::Nothing
            } else {
                let queue = self.means.feed.queue.lock();
                batch::next(queue.items(), self.means.target.batch.as_ref(), now.instant)
            };
            match self.course.next(now, ready) {
                Next::Fresh(count) => {
                    let items = self.means.feed.queue.lock().take(count);
                    self.send(items, now);
                }
                Next::Again(entry) => self.send_again(entry, now),
                Next::Wait {
                    instant: at,
                    unix: due,
                } => {
                    let due = due.map(|due| now.instant + self.means.clock.until(due));
                    break earlier(at, due);
                }
            }
        };
        let wake = earlier(wake, self.read_on());
        let wake = earlier(wake, self.remember());
        self.show();
        wake
    }

    fn send(&mut self, items: Vec<Item>, now: Now) {
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return;
        };
        let sent = Sent {
            first: first.seq,
            last: last.seq,
            retry: None,
            began: now,
        };
        let octets = items.iter().map(|item| item.json.len()).sum();
        let means = self.means.clone();
        self.start(sent, octets, async move { deliver(&means, items, 1).await });
    }

    fn send_again(&mut self, entry: DeliveryRetry, now: Now) {
        let sent = Sent {
            first: entry.first,
            last: entry.last,
            retry: Some(entry),
            began: now,
        };
        let means = self.means.clone();
        self.start(sent, 0, async move {
            match read_range(&means, entry.first, entry.last).await {
                Some(items) => deliver(&means, items, sent.attempt()).await,
                None => Done::Posted {
                    answer: failed("unread", "its events could not be read".to_owned()),
                    events: 0,
                    notable: true,
                    took: Duration::ZERO,
                },
            }
        });
    }

    fn start(
        &mut self,
        sent: Sent,
        octets: usize,
        work: impl Future<Output = Done> + Send + 'static,
    ) {
        self.course.sent(&sent);
        let id = self.work.spawn(work).id();
        self.out.insert(id, (sent, octets));
        self.octets_out += octets;
    }

    /// Reads the log for itself when the feed lags.
    fn read_on(&mut self) -> Option<Instant> {
        if self.reading || self.course.disabled().is_some() {
            return None;
        }
        let after = self.means.feed.queue.lock().reads_after()?;
        if let Some(pause) = self.read_pause.filter(|pause| *pause > instant()) {
            return Some(pause);
        }
        self.reading = true;
        let means = self.means.clone();
        self.work
            .spawn(async move { Done::Read(read(&means, after, OWN_PAGE_EVENTS).await) });
        None
    }

    fn done(&mut self, done: Result<(Id, Done), JoinError>) {
        match done {
            Ok((_, Done::Read(page))) => self.took(&page),
            Ok((
                id,
                Done::Posted {
                    answer,
                    events,
                    notable,
                    took,
                },
            )) => {
                self.meters.posted(answer.result, took);
                if answer.outcome == Outcome::Taken {
                    self.meters
                        .events
                        .increment(u64::try_from(events).unwrap_or(u64::MAX));
                }
                if let Some((sent, octets)) = self.out.remove(&id) {
                    self.octets_out -= octets;
                    self.ended(&sent, &answer, notable);
                }
            }
            Err(error) => match self.out.remove(&error.id()) {
                Some((sent, octets)) => {
                    self.octets_out -= octets;
                    self.ended(&sent, &failed("broken", error.to_string()), true);
                }
                None => {
                    self.reading = false;
                    self.read_pause = Some(instant() + READ_PAUSE);
                }
            },
        }
    }

    fn took(&mut self, page: &EventPage) {
        self.reading = false;
        let now = instant();
        let mut queue = self.means.feed.queue.lock();
        let before = queue.reads_after();
        queue.append(page.read_to, wanted(&self.means.target.filter, page, now));
        if before.is_some() && queue.reads_after() == before {
            self.read_pause = Some(now + READ_PAUSE);
        }
        self.changed = true;
    }

    fn ended(&mut self, sent: &Sent, answer: &Answer, notable: bool) {
        let now = self.now();
        // A weak die only makes the jitter worse.
        let dice = getrandom::u64().unwrap_or(sent.first);
        let told = self.course.ended(sent, &answer.outcome, now, dice);
        self.changed = true;
        self.means.shown.answered(answer, now.unix);
        let (name, filter) = (&self.means.target.name, &self.means.target.filter);
        if told.circuit && self.course.gate().is_open() {
            tracing::warn!(endpoint = %name, error = %answer.detail, "deliveries fail, holding new ones");
        } else if told.circuit {
            tracing::info!(endpoint = %name, "deliveries work again");
        }
        if told.exhausted {
            self.meters.exhausted.increment(1);
            tracing::warn!(endpoint = %name, first = sent.first, last = sent.last,
                error = %answer.detail, "a delivery was given up after its last retry");
            if notable {
                (self.means.log.note)(filter.tenant, filter.ix, EventKind::DeliveryExhausted);
            }
        }
        if told.disabled {
            let why = self.course.disabled().map(|(_, why)| why.as_str());
            tracing::warn!(endpoint = %name, why, "the endpoint is disabled");
            (self.means.log.note)(filter.tenant, filter.ix, EventKind::EndpointDisabled);
            self.means.feed.queue.lock().close();
        }
    }

    fn enable(&mut self) {
        if self.course.enable() {
            self.means.feed.queue.lock().reopen();
            self.changed = true;
            tracing::info!(endpoint = %self.means.target.name, "the endpoint is enabled");
        }
    }

    /// Gives changed state to the store, not too often; says when, if later.
    fn remember(&mut self) -> Option<Instant> {
        let passed = self.means.feed.queue.lock().passed();
        if !self.changed && (!self.out.is_empty() || passed == self.saved.cursor) {
            return None;
        }
        let next = self.saved_at.map(|at| at + SAVE_EVERY);
        if let Some(next) = next.filter(|next| *next > instant()) {
            return Some(next);
        }
        self.save();
        None
    }

    fn save(&mut self) {
        self.changed = false;
        let passed = self.means.feed.queue.lock().passed();
        let state = self.course.export(passed);
        if state != self.saved {
            (self.means.log.save)(self.means.target.filter.ix, state.clone());
            self.saved_at = Some(instant());
            self.saved = state;
        }
    }

    fn show(&mut self) {
        let passed = self.means.feed.queue.lock().passed();
        let cursor = self.course.cursor(passed);
        self.means.shown.show(&self.course, cursor, instant());
        let head = *self.means.log.head.borrow();
        self.meters
            .state(head.saturating_sub(cursor), self.course.retries());
    }
}

/// Sends items, which are none when the log has lost them.
async fn deliver(means: &Means, items: Vec<Item>, attempt: u8) -> Done {
    let events = items.len();
    let notable = items
        .iter()
        .any(|item| item.kind != EventKind::DeliveryExhausted);
    let request = means.target.request(&items, attempt, means.clock.now());
    // The request has its own copy: a slow endpoint holds the events once, not twice.
    drop(items);
    let began = instant();
    let answer = match request {
        Some(request) => (means.post)(request).await,
        None if events == 0 => Answer {
            outcome: Outcome::Lost,
            result: "lost",
            detail: "its events are not in the log any more".to_owned(),
        },
        None => failed("forbidden", "the callback's URL cannot be used".to_owned()),
    };
    Done::Posted {
        answer,
        events,
        notable,
        took: instant().saturating_duration_since(began),
    }
}

async fn read(means: &Means, after: u64, limit: usize) -> EventPage {
    (means.log.read)(EventQuery {
        after,
        tenant: Some(means.target.filter.tenant),
        kinds: means.reads,
        message: None,
        limit,
    })
    .await
}

/// Reads a delivery's events again: those of its range that the endpoint wants. `None` when the log
/// does not answer up to the range's end.
async fn read_range(means: &Means, first: u64, last: u64) -> Option<Vec<Item>> {
    let (mut items, mut after, now) = (Vec::new(), first - 1, instant());
    while after < last {
        let left = usize::try_from(last - after).unwrap_or(usize::MAX);
        let page = read(means, after, left.min(OWN_PAGE_EVENTS)).await;
        let theirs = wanted(&means.target.filter, &page, now);
        items.extend(theirs.take_while(|item| item.seq <= last));
        if page.read_to <= after {
            return None;
        }
        after = page.read_to;
    }
    Some(items)
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
