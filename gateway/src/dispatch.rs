//! Dispatch: one task per route. Owns what is ready, the limits, what is out and what comes back.
//!
//! ```text
//!  store ─feed, load─► queue ─claim─► take ─► limits ─(intent on disk, for hold)─► links
//!                        ▲                                                          │
//!                        └──── throttled, not sent, next try ◄──── settled ◄──── answers
//! ```
//! A rate token and a window slot are taken together, at hand-over, after the lane is chosen: nothing
//! is prefetched. Answers that wait to be stored are at most one window, so that a crash doubles at
//! most 2 × window × links parts. Under `retry` only what is claimed on disk is handed over, so that
//! a crash knows which those are; per lane at most [`CLAIMS_PER_WINDOW`] windows are claimed ahead.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tokio::sync::mpsc;

use crate::clock::{Clock, UnixMs};
use crate::link::{LinkEvent, LinkHandle, LinkIx};
use crate::message::steps::Destination;
use crate::message::{Channel, Class, FailoverOn, Message, MessageId, Parts, RouteIx};
use crate::outcome::{
    Answer, Attempt, HoldReason, Next, Outcome, OutcomeResult, Reason, Retry, Settle,
};
use crate::stop::Stop;
use crate::store::{Entry, Refused, Store, needs_intent};

pub mod flight;
pub mod limit;
mod meters;
pub mod queue;
mod retries;
pub mod view;

use flight::{Flights, Landed};
use limit::{Limits, TooMany};
use meters::Meters;
use queue::Queue;
use queue::lane::{Load, is_ready};
use view::{PaceState, Refusal, RouteStates};

/// A route counts as down for failover after so long without a link: a reconnect is quicker.
const DOWN_GRACE: Duration = Duration::from_secs(2);
/// Lifetimes, down routes and the view are looked at this often.
const TICK: Duration = Duration::from_millis(250);
/// Messages moved on, or expired, in one commit.
const MOVE_AT_ONCE: usize = 1_000;
/// A message that its peer throttled so often goes to the next route, if it may.
const THROTTLES_MAX: u8 = 3;
/// Loads under way at a time, each of another tenant: few enough that a start with many tenants'
/// backlogs leaves other readers their turn.
const LOADS_MAX: usize = 4;
/// Entries handed over in one turn, before answers are looked at again.
const PUMP_MAX: usize = 2_000;

/// Claimed ahead, per lane, in windows: one to hand over from while the next one is being claimed.
const CLAIMS_PER_WINDOW: usize = 2;
/// … and no more than this, however large the windows are: what goes out during one commit at more
/// than any peer takes (2,000 in 20 ms).
const CLAIMS_MAX: usize = 2_000;

/// How one route is dispatched.
pub struct Config {
    /// The route.
    pub route: RouteIx,
    /// Its name.
    pub name: String,
    /// Its rate, and how it backs off.
    pub limits: limit::Config,
    /// The lanes' weights, in the order of [`Class::ALL`].
    pub lanes: [u32; 4],
    /// What it carries.
    pub channel: Channel,
}

/// What a finished piece of store work brings.
enum Done {
    Settled(Vec<(Arc<Message>, u64)>, Result<Vec<Next>, Refused>),
    Loaded(Class, Load, Option<Vec<Entry>>),
    Claimed(Vec<Entry>, Result<Vec<MessageId>, Refused>),
    Intended(Vec<Entry>, Result<Vec<MessageId>, Refused>),
    Moved(Vec<Entry>, Result<Vec<(MessageId, bool)>, Refused>),
    Expired,
    /// Suppressed ones, and those of them that are so no longer.
    Rejected(Vec<Entry>, Result<Vec<MessageId>, Refused>),
}

/// One route's dispatcher.
pub struct Dispatcher {
    config: Config,
    store: Store,
    clock: Clock,
    queue: Queue,
    limits: Limits,
    meters: Meters,
    links: Vec<mpsc::Sender<Vec<Attempt>>>,
    flights: Flights,
    /// Answered and not yet on disk, to go with the next settle.
    settles: Vec<((Arc<Message>, u64), Settle)>,
    /// How many are on their way to the disk.
    settling: usize,
    intending: bool,
    claiming: bool,
    /// Slots of entries whose intents are on their way to the disk.
    reserved: usize,
    moving: bool,
    expiring: bool,
    /// Loads under way.
    loading: usize,
    work: tokio::task::JoinSet<Done>,
    routes: Arc<RouteStates>,
    down_since: Option<Instant>,
    hold: Option<HoldReason>,
    /// When the budget has something again for the further tries that are due.
    budget_at: Option<Instant>,
    resume_at: Option<Instant>,
    /// The last refusal since it was shown.
    refusal: Option<Refusal>,
}

impl Dispatcher {
    /// A dispatcher for a route with these links, all of them down.
    #[must_use]
    pub fn new(
        config: Config,
        store: Store,
        clock: Clock,
        links: Vec<LinkHandle>,
        routes: Arc<RouteStates>,
    ) -> Self {
        let queue = Queue::new(config.lanes);
        let limits = Limits::new(config.limits, links.len());
        let meters = Meters::new(&config.name);
        let down_since = Some(clock.instant());
        Self {
            config,
            store,
            clock,
            queue,
            limits,
            meters,
            links: links.into_iter().map(|link| link.attempts).collect(),
            flights: Flights::default(),
            settles: Vec::new(),
            settling: 0,
            intending: false,
            claiming: false,
            reserved: 0,
            moving: false,
            expiring: false,
            loading: 0,
            work: tokio::task::JoinSet::new(),
            routes,
            down_since,
            hold: None,
            budget_at: None,
            resume_at: None,
            refusal: None,
        }
    }

    /// The same, taking what it sends from a quota that others take from, too.
    #[must_use]
    pub fn sharing(mut self, quota: Option<Arc<limit::quota::Shared>>) -> Self {
        self.limits.quota = quota;
        self
    }

    /// Runs until stopped and everything handed over is answered and settled.
    ///
    /// Every arm of the select is cancel safe: channels, notifications, timers and the join set.
    pub async fn run(mut self, mut events: mpsc::Receiver<LinkEvent>, mut stop: Stop) {
        let _guard = stop.guard(format!("route {}", self.config.name));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let store = self.store.clone();
        let route = self.config.route;
        let mut links_gone = false;
        // What the store recovered has to be loaded.
        self.queue.missed(store.waiting(route));
        self.turn();
        while !self.finished(stop.is_stopped() || links_gone) {
            let resume = self.resume_at;
            tokio::select! {
                () = store.feed_ready(route) => {}
                // Links end when they are stopped; what they answered is still to be settled.
                event = events.recv(), if !links_gone => match event {
                    Some(event) => self.link_event(event),
                    None => links_gone = true,
                },
                Some(done) = self.work.join_next(), if !self.work.is_empty() => self.done(done),
                _ = tick.tick() => self.tick(),
                () = sleep_until(resume), if resume.is_some() => {}
                () = stop.stopped(), if !stop.is_stopped() => {}
            }
            // Drain what is waiting, then act.
            while let Ok(event) = events.try_recv() {
                self.link_event(event);
            }
            while let Some(done) = self.work.try_join_next() {
                self.done(done);
            }
            if stop.is_stopped() || links_gone {
                self.settle();
            } else {
                self.turn();
            }
        }
    }

    fn finished(&self, stopping: bool) -> bool {
        stopping
            && self.flights.is_empty()
            && self.settles.is_empty()
            && self.settling == 0
            && !self.intending
            && !self.claiming
    }

    fn turn(&mut self) {
        let feed = self.store.take_feed(self.config.route);
        let missed = feed.missed;
        self.queue.arrive(feed);
        if missed {
            // Also of tenants that nothing has come of yet.
            let waiting = self.store.waiting(self.config.route);
            self.queue.missed(waiting);
        }
        self.wake();
        self.load();
        let ahead = (CLAIMS_PER_WINDOW * self.limits.windows.total()).min(CLAIMS_MAX);
        self.claim(ahead);
        self.pump();
        self.settle();
        let credit = self.queue.credit(ahead);
        self.store.set_credit(self.config.route, credit);
    }

    /// Claims what is to be handed over next.
    fn claim(&mut self, ahead: usize) {
        if self.claiming {
            return;
        }
        let entries = self.queue.stage(ahead);
        if entries.is_empty() {
            return;
        }
        self.claiming = true;
        let (store, route) = (self.store.clone(), self.config.route);
        self.work.spawn(async move {
            let unclaimed = entries.iter().filter(|entry| !is_ready(entry));
            let parts = unclaimed.map(|entry| (entry.message.id, entry.parts));
            let result = store.claim(route, parts.collect()).await;
            Done::Claimed(entries, result)
        });
    }

    fn load(&mut self) {
        for class in Class::ALL {
            while !self.queue.is_full(class)
                && self.loading < LOADS_MAX
                && let Some(load) = self.queue.next_load(class)
            {
                self.loading += 1;
                let (store, route) = (self.store.clone(), self.config.route);
                self.work.spawn(async move {
                    let whose = (class, load.tenant);
                    let loaded = store.load_ready(route, whose, load.after, load.limit);
                    Done::Loaded(class, load, loaded.await)
                });
            }
        }
    }

    /// Hands over as much as the limits allow.
    fn pump(&mut self) {
        self.hold = None;
        self.resume_at = None;
        let now = self.clock.instant();
        let wall = self.clock.now();
        let mut batches: Vec<Vec<Attempt>> = vec![Vec::new(); self.links.len()];
        let mut intents = Vec::new();
        let mut expired = Vec::new();
        let mut suppressed = Vec::new();
        // Slots that intents will take when they are on disk.
        let mut reserved = self.reserved;
        for _ in 0..PUMP_MAX {
            if let Some((hold, until)) = self.held(now) {
                self.hold = Some(hold);
                self.resume_at = until;
                break;
            }
            let Some(entry) = self.queue.take() else {
                break;
            };
            if entry.message.expires_at <= wall {
                expired.push((entry.message.id, entry.parts));
                self.queue.done(&entry.message);
                continue;
            }
            // Nothing of it is out now.
            if self.is_suppressed(&entry) {
                suppressed.push(entry);
                continue;
            }
            let Some(parts) = self.fitting(entry.parts, reserved) else {
                self.hold = Some(HoldReason::Window);
                self.queue.untake(entry);
                break;
            };
            let units = u32::from(entry.message.units(parts));
            if let Some((hold, at)) = self.limits.take(now, units) {
                self.hold = Some(hold);
                self.resume_at = Some(at);
                self.queue.untake(entry);
                break;
            }
            let rest = Parts(entry.parts.0 & !parts.0);
            if needs_intent(&entry.message) {
                if self.intending {
                    // One intent commit at a time; the slot and the token go back until it is done.
                    self.limits.give_back(units);
                    self.queue.untake(entry);
                    break;
                }
                self.flights.begin(&entry, parts, rest);
                reserved += usize::from(parts.count());
                intents.push(Entry { parts, ..entry });
            } else {
                self.flights.begin(&entry, parts, rest);
                self.hand_over(&entry, parts, &mut batches);
            }
        }
        self.reserved = reserved;
        self.send(batches);
        self.intend(intents);
        self.expire(expired);
        self.reject(suppressed);
    }

    /// The parts that go out now: all of them, or, when they are more than all windows together hold,
    /// as many as do. `None`: not now. The parts of a message stay together where they can.
    fn fitting(&self, parts: Parts, reserved: usize) -> Option<Parts> {
        let free = self.limits.windows.free_slots().saturating_sub(reserved);
        let want = usize::from(parts.count()).min(self.limits.windows.total_now());
        if want == 0 || free < want {
            return None;
        }
        let mut fitting = Parts::default();
        parts.iter().take(want).for_each(|part| fitting.add(part));
        Some(fitting)
    }

    /// What keeps the route from sending, and until when.
    fn held(&self, now: Instant) -> Option<(HoldReason, Option<Instant>)> {
        if self.queue.is_empty() {
            return self.waits(now).filter(|_| self.queue.retries() > 0);
        }
        if !self.limits.windows.any_up() {
            return Some((HoldReason::RouteDown, None));
        }
        if let Some(until) = self.limits.paused(now) {
            return Some((HoldReason::Throttled, Some(until)));
        }
        if self.store.refusing() == Some(Refused::DiskFull) {
            return Some((HoldReason::StoreFull, Some(now + TICK)));
        }
        if self.limits.windows.free_slots() == 0 {
            return Some((self.limits.full(now), None));
        }
        if self.settles.len() + self.settling >= self.limits.windows.total() {
            return Some((HoldReason::Unsettled, None));
        }
        if self.queue.is_stuck() {
            return self.waits(now);
        }
        None
    }

    /// Nothing goes out without passing here.
    fn is_suppressed(&self, entry: &Entry) -> bool {
        self.store
            .is_suppressed(&entry.message, self.config.channel)
    }

    fn hand_over(&mut self, entry: &Entry, parts: Parts, batches: &mut [Vec<Attempt>]) {
        let message = &entry.message;
        for part in parts.iter() {
            let Some(link) = self.limits.windows.take() else {
                // The slots that were counted are gone: a link went down in between.
                self.not_sent(message, part);
                continue;
            };
            let token = self.flights.token(message.id, part, link);
            let attempt = Attempt {
                token,
                message: message.clone(),
                part,
                form: entry.form,
            };
            if let Some(batch) = batches.get_mut(usize::from(link.0)) {
                batch.push(attempt);
            }
        }
    }

    fn send(&mut self, batches: Vec<Vec<Attempt>>) {
        for (index, batch) in batches.into_iter().enumerate() {
            if batch.is_empty() {
                continue;
            }
            let now = self.clock.now();
            let refused = match self.links.get(index).map(|link| link.try_send(batch)) {
                Some(Ok(())) => continue,
                Some(Err(refused)) => refused.into_inner(),
                None => continue,
            };
            // The link has ended: none of it was written.
            for attempt in refused {
                self.answer(Answer {
                    token: attempt.token,
                    outcome: not_sent(now),
                });
            }
        }
    }

    fn intend(&mut self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        self.intending = true;
        let (store, route) = (self.store.clone(), self.config.route);
        self.work.spawn(async move {
            let parts = entries
                .iter()
                .map(|entry| (entry.message.id, entry.parts))
                .collect();
            let result = store.mark_inflight(route, parts).await;
            Done::Intended(entries, result)
        });
    }

    fn expire(&mut self, over: Vec<(MessageId, Parts)>) {
        if over.is_empty() {
            return;
        }
        over.iter().for_each(|(id, _)| self.flights.forget(*id));
        self.expiring = true;
        let store = self.store.clone();
        self.work.spawn(async move {
            store.expire_queued(over).await;
            Done::Expired
        });
    }

    /// Ends what is suppressed.
    fn reject(&mut self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let (store, route) = (self.store.clone(), self.config.route);
        self.work.spawn(async move {
            let parts = entries.iter().map(|entry| (entry.message.id, entry.parts));
            let left = store.reject_suppressed(route, parts.collect()).await;
            Done::Rejected(entries, left)
        });
    }

    /// Those that may be sent after all go back to the head of their lane.
    fn rejected(&mut self, entries: Vec<Entry>, left: Result<Vec<MessageId>, Refused>) {
        // Without an answer the store has stopped, and nothing goes out any more.
        let left = left.unwrap_or_default();
        for entry in entries.into_iter().rev() {
            if left.contains(&entry.message.id) {
                self.queue.give_back(entry);
            } else {
                self.flights.forget(entry.message.id);
                self.queue.done(&entry.message);
            }
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up {
                link,
                window,
                peer,
                carries,
                pulse,
            } => {
                let route = self.config.name.as_str();
                tracing::info!(route, link = link.0, %peer, window, ?carries, "a link is up");
                if carries.attempts() {
                    self.limits.windows.up(link, window);
                    self.down_since = None;
                }
                let up = view::Up {
                    peer,
                    window,
                    carries,
                    pulse,
                };
                self.routes
                    .link_up(self.config.route, link, up, self.clock.now());
            }
            LinkEvent::Window {
                link,
                window,
                goaway,
            } => {
                self.limits.windows.set(link, window);
                self.routes
                    .link_window(self.config.route, link, window, goaway);
            }
            LinkEvent::Unused { link } => {
                let idle = view::Standing::Unused;
                self.routes.link_idle(self.config.route, link, idle);
            }
            LinkEvent::Listening { link } => {
                let idle = view::Standing::Listening;
                self.routes.link_idle(self.config.route, link, idle);
            }
            LinkEvent::Refusing { until, why } => self.limits.refusing(until, why),
            LinkEvent::TakesAgain => self.limits.takes_again(),
            LinkEvent::Down { link, why, then } => {
                self.limits.windows.down(link);
                if !self.limits.windows.any_up() && self.down_since.is_none() {
                    self.down_since = Some(self.clock.instant());
                }
                self.routes
                    .link_down(self.config.route, link, (why, then), self.clock.now());
            }
            LinkEvent::Answers {
                answers,
                congestion,
                ..
            } => {
                answers.into_iter().for_each(|answer| self.answer(answer));
                let now = self.clock.instant();
                self.limits.answered(now);
                if let Some(state) = congestion {
                    let random = self.flights.random();
                    self.limits.congested(now, state, random);
                }
            }
            LinkEvent::Late { answers, .. } => self.late(answers),
        }
    }

    /// Answers to attempts that were settled as unknown: the peer's id may still be receipted.
    fn late(&mut self, answers: Vec<Answer>) {
        for Answer { token, outcome } in answers {
            let Some((message, part)) = self.flights.late(token) else {
                continue;
            };
            let settle = Settle {
                id: message.id,
                route: self.config.route,
                part,
                outcome,
                last: false,
                late: true,
            };
            let order = message.id.0;
            self.settles.push(((message, order), settle));
        }
    }

    fn answer(&mut self, answer: Answer) {
        let mut outcome = answer.outcome;
        let Some(back) = self.flights.answered(answer.token, outcome.result) else {
            return;
        };
        let (id, part) = (back.id, back.part);
        self.limits.windows.free(back.link);
        self.charge(&outcome, &back);
        if outcome.result == OutcomeResult::Refused {
            self.refusal = Some(Refusal {
                at: outcome.answered_at,
                code: outcome.code,
                reason: outcome.reason,
                text: outcome.text.clone(),
            });
        }
        match (outcome.result, outcome.retry) {
            (OutcomeResult::Accepted, _) => {
                self.limits.accepted(back.to, back.units);
                self.settle_part(id, part, outcome);
            }
            (OutcomeResult::NotSent, _) => {
                self.limits.give_back(back.units);
                self.not_out(id, part);
            }
            (OutcomeResult::Refused, Retry::Throttle | Retry::Full) => {
                let minutes = self.too_many(back.to, &outcome);
                if let Some(minutes) = minutes {
                    outcome.retry = Retry::Later { minutes };
                }
                // Where it cannot go another way there is nothing to decide: it stays at the head of
                // its queue, and nothing is written.
                let stays = self.flights.throttled(id) < THROTTLES_MAX
                    || !self.flights.may_fail_over(id, self.config.route);
                if minutes.is_none() && stays {
                    self.not_out(id, part);
                } else {
                    self.settle_part(id, part, outcome);
                }
            }
            (OutcomeResult::Unknown, _) if self.flights.ends_with(id, part) => {
                // The store ends it with this settle; a throttled part must not go out after that.
                self.flights.end(id);
                self.settle_part(id, part, outcome);
            }
            (OutcomeResult::Refused | OutcomeResult::Unknown, _) => {
                self.settle_part(id, part, outcome);
            }
        }
        self.land(id);
    }

    /// The peer refused a part as one too many: for how many minutes its destination waits, if not
    /// only the route does.
    fn too_many(&mut self, to: Destination, outcome: &Outcome) -> Option<u8> {
        let now = self.clock.instant();
        let ago = self.clock.now().since(outcome.handed_at);
        let full = outcome.retry == Retry::Full;
        self.meters.throttled(full);
        let refused = TooMany {
            sent: now.checked_sub(ago).unwrap_or(now),
            to,
            full,
            random: self.flights.random(),
        };
        self.limits.refused(now, refused)
    }

    fn settle_part(&mut self, id: MessageId, part: u8, outcome: Outcome) {
        let Some(flight) = self.flights.place(id) else {
            return;
        };
        let last = self.flights.is_last(id);
        self.settles.push((
            flight,
            Settle {
                id,
                route: self.config.route,
                part,
                outcome,
                last,
                late: false,
            },
        ));
    }

    fn not_sent(&mut self, message: &Arc<Message>, part: u8) {
        self.flights.unreserve(message.id, part);
        self.not_out(message.id, part);
        let units = message.units(Parts::one(part));
        self.limits.give_back(u32::from(units));
        self.land(message.id);
    }

    /// The peer certainly does not have this part: it waits for another turn. Where the intent is
    /// on disk, this has to be as well, or a restart would take the part for unknown; then it comes
    /// back when it is settled.
    fn not_out(&mut self, id: MessageId, part: u8) {
        if self.flights.is_held(id) {
            self.settle_part(id, part, not_sent(self.clock.now()));
        } else {
            self.flights.wait(id, part);
        }
    }

    /// A message with nothing out any more: what waits goes back to the head of its lane. What the
    /// peer took makes way for the next one to its destination; for what it did not take, the store
    /// says what follows.
    fn land(&mut self, id: MessageId) {
        let Some(Landed { entry, taken }) = self.flights.land(id) else {
            return;
        };
        if !entry.parts.is_empty() {
            self.queue.give_back(entry);
        } else if taken {
            self.queue.done(&entry.message);
        }
    }

    fn settle(&mut self) {
        if self.settles.is_empty() || self.settling > 0 {
            return;
        }
        let (messages, settles): (Vec<_>, Vec<_>) = self.settles.drain(..).unzip();
        self.settling = settles.len();
        let store = self.store.clone();
        self.work.spawn(async move {
            let next = store.settle(settles).await;
            Done::Settled(messages, next)
        });
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Settled(messages, next)) => self.settled(messages, next),
            Ok(Done::Loaded(class, load, entries)) => {
                self.loading -= 1;
                let ready = self.ready_until();
                self.queue.loaded(class, load, entries, ready);
            }
            Ok(Done::Claimed(entries, result)) => {
                self.claiming = false;
                if let Ok(over) = &result {
                    over.iter().for_each(|id| self.flights.forget(*id));
                }
                self.queue.claimed(entries, result.ok().as_deref());
            }
            Ok(Done::Intended(entries, result)) => self.intended(entries, result),
            Ok(Done::Moved(entries, moved)) => {
                self.moving = false;
                let moved: FxHashMap<MessageId, bool> =
                    moved.unwrap_or_default().into_iter().collect();
                for entry in entries.into_iter().rev() {
                    if moved.get(&entry.message.id) == Some(&true) {
                        self.flights.forget(entry.message.id);
                    } else {
                        self.queue.give_back(entry);
                    }
                }
            }
            Ok(Done::Expired) => self.expiring = false,
            Ok(Done::Rejected(entries, left)) => self.rejected(entries, left),
            // What it held is in the store and comes back with a restart; without one the route
            // would stand still and say nothing.
            Err(error) => self
                .store
                .fail(format!("a dispatcher's store work ended: {error}")),
        }
    }

    fn settled(&mut self, messages: Vec<(Arc<Message>, u64)>, next: Result<Vec<Next>, Refused>) {
        self.settling = 0;
        let Ok(next) = next else { return };
        let ready = self.ready_until();
        for ((message, order), next) in messages.into_iter().zip(next) {
            let again = |due, parts, form| Entry {
                form,
                ..Entry::again(message.clone(), parts, order, due)
            };
            match next {
                Next::Wait => {}
                Next::Done => {
                    // The store has ended it, or it goes another way: what waits here does not go out.
                    self.flights.end(message.id);
                    self.queue.done(&message);
                }
                Next::Back { due, parts, form } => self.queue.give_back(again(due, parts, form)),
                Next::Retry { due, parts, form } if due <= ready => {
                    self.queue.give_back(again(due, parts, form));
                }
                Next::Retry { due, parts, form } => self.queue.retry(again(due, parts, form)),
            }
        }
    }

    fn intended(&mut self, entries: Vec<Entry>, result: Result<Vec<MessageId>, Refused>) {
        self.intending = false;
        self.reserved = 0;
        let mut batches: Vec<Vec<Attempt>> = vec![Vec::new(); self.links.len()];
        for entry in entries {
            let over = |over: &Vec<MessageId>| over.contains(&entry.message.id);
            if result.as_ref().is_ok_and(over) {
                self.drop_ended(&entry);
            } else if result.is_ok() && !self.is_suppressed(&entry) {
                self.hand_over(&entry, entry.parts, &mut batches);
            } else {
                // Suppressed meanwhile, it comes back as not sent, to end at its next turn.
                for part in entry.parts.iter() {
                    self.not_sent(&entry.message, part);
                }
            }
        }
        self.send(batches);
    }

    /// The store says that a message has ended, or left the route: it does not go out.
    fn drop_ended(&mut self, entry: &Entry) {
        let id = entry.message.id;
        for part in entry.parts.iter() {
            self.flights.unreserve(id, part);
        }
        self.flights.end(id);
        self.queue.done(&entry.message);
        let units = entry.message.units(entry.parts);
        self.limits.give_back(u32::from(units));
        self.land(id);
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        self.limits.step(self.clock.instant());
        if !self.expiring {
            let mut over = self
                .queue
                .take_where(MOVE_AT_ONCE, |e| e.message.expires_at <= now);
            over.extend(self.overdue(now));
            let over = over.iter().map(|entry| (entry.message.id, entry.parts));
            self.expire(over.collect());
        }
        self.move_on();
        self.publish();
    }

    /// The route is down: messages that may go another way do, if that way is up.
    fn move_on(&mut self) {
        let now = self.clock.instant();
        let down = self
            .down_since
            .is_some_and(|at| now.saturating_duration_since(at) >= DOWN_GRACE);
        // An answer that is not settled yet may say that a part has been taken.
        let unsettled = self.settling > 0 || !self.settles.is_empty();
        if !down || self.moving || unsettled {
            return;
        }
        let (route, routes) = (self.config.route, self.routes.clone());
        let may = move |entry: &Entry| {
            let first = entry.parts.iter().next();
            let Some(leg) = first.and_then(|part| entry.message.leg_of(part)) else {
                return false;
            };
            let next = leg.route_after(route);
            leg.failover_on.has(FailoverOn::ROUTE_DOWN)
                && next.is_some_and(|next| routes.is_up(next))
        };
        let entries = self.queue.take_where(MOVE_AT_ONCE, may);
        if entries.is_empty() {
            return;
        }
        self.moving = true;
        let store = self.store.clone();
        self.work.spawn(async move {
            let ids = entries.iter().map(|entry| entry.message.id).collect();
            let moved = store.move_on(route, ids).await;
            Done::Moved(entries, moved)
        });
    }

    fn publish(&mut self) {
        let oldest = self.queue.oldest();
        let (now, wall) = (self.clock.instant(), self.clock.now());
        let waits = self.limits.waits(now).map(|until| until - now);
        let pace = PaceState {
            rate_now: self.limits.rate_now(),
            limited_by: self.limits.limited_by(),
            window_now: self.limits.windows.total_now(),
            paused_until: waits.map(|left| wall.plus(left)),
            throttled_last_minute: self.limits.throttled_last_minute(now),
            destinations_waiting: self.limits.destinations_waiting(now),
            behind: self.queue.beside(),
        };
        self.meters
            .show(&pace, oldest.map(|oldest| wall.since(oldest)));
        self.show_budget();
        self.routes.publish(self.config.route, |state| {
            state.oldest = oldest;
            state.retries = self.queue.retries();
            state.in_flight = self.limits.windows.out();
            state.window = self.limits.windows.total();
            state.hold = self.hold;
            state.pace = pace;
            if let Some(refusal) = self.refusal.take() {
                state.refusal = Some(refusal);
            }
            for (index, link) in state.links.iter_mut().enumerate() {
                let link_ix = LinkIx(u16::try_from(index).unwrap_or(u16::MAX));
                link.in_flight = self.limits.windows.out_on(link_ix);
            }
        });
    }
}

fn not_sent(now: UnixMs) -> Outcome {
    Outcome {
        result: OutcomeResult::NotSent,
        whose: crate::outcome::Whose::Network,
        code: 0,
        reason: Some(Reason::RouteDown),
        retry: Retry::Here { tries: u8::MAX },
        provider_id: Box::default(),
        text: None,
        unregistered: UnixMs::ZERO,
        handed_at: now,
        answered_at: now,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod backing_off;
#[cfg(test)]
mod ended;
#[cfg(test)]
mod held;
#[cfg(test)]
mod suppressed;
