//! Push links: one task for each place in a route's pool, from connecting to the goodbye.
//!
//! ```text
//!      the pool wants it   credential   connect            Up
//!  run ──────────────────► usable ─────► SETTINGS ──► serving: attempts in, answers out
//!                             ▲                          │ GOAWAY, age, another key:
//!                             │ pause                    │ the next connection first (make-before-break)
//!                             └── Waiting (Down) ◄───────┘ none is left
//! ```
//! Design: what a link was handed stands in its [`ledger`](super::ledger), as with SMPP, so that each
//! attempt is answered exactly once: with the service's answer; as unknown when it was sent and no answer
//! came; as not sent when the connection shows that it was not processed. While one connection drains, the
//! next one takes what is new; the window that the dispatcher sees is that of the newest, and what is still
//! out on the others.
//!
//! The window is never larger than what the service allows at that moment (push.md R3): what waits, waits
//! in the dispatcher's queue, where it can go another way.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until};

use self::guard::Guard;
use self::meters::Meters;
use self::pool::{IDLE_FOR, Pool, Pressure};
use self::service::{Made, Read, Service, Who};
use self::verdict::Beside;
use super::http2::{self, Connection, Fate, NotConnected, Replace, Target, Unknown, Unsent};
use super::ledger::{Ledger, ours};
use crate::clock::{Clock, UnixMs};
use crate::connect::credentials::{Bearer, State};
use crate::link::{Beat, Carries, LinkEvent, LinkIx, Pulse, Then};
use crate::outcome::{Attempt, OutcomeResult, Reason, Retry, Whose};
use crate::stop::Stop;

pub mod guard;
mod meters;
pub mod pool;
pub mod retries;
pub mod service;
mod verdict;

#[cfg(test)]
mod tests;

/// First and longest pause between two tries to connect.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
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
/// Refusals of our credentials in a row before the route stops (push.md §1.5: "after 2").
const REFUSALS_MAX: u32 = 2;
/// One line in the log for all pushes that are refused so within it.
const ALARM_PAUSE: Duration = Duration::from_secs(10);
/// How often an answer's `date` is read. Chosen: clocks drift slowly, and answers come by the thousand.
const DATE_AGAIN: Duration = Duration::from_secs(10);
/// How often an idle link looks whether it is needed.
const LOOK: Duration = Duration::from_millis(500);

/// What all links of a route share.
#[derive(Debug)]
pub struct Config {
    /// The route's name.
    pub name: String,
    /// What is spoken, and in whose name.
    pub service: Service,
    /// Who we are.
    pub who: Who,
    /// Where to. Another one when a certificate was renewed.
    pub target: watch::Receiver<Arc<Target>>,
    /// How connections behave.
    pub http2: Arc<http2::Config>,
    /// How many there are.
    pub pool: Pool,
    /// Whether tokens are told of.
    pub guard: Mutex<Guard>,
    /// How long what is out is awaited when the gateway stops.
    pub drain: Duration,
    /// Counts operators' wishes to go on after a stop.
    pub resumed: watch::Receiver<u64>,
}

/// A link's ends of the channels between it and the rest of the gateway.
#[derive(Debug)]
pub struct Ends {
    /// Its number within the route: its place in the pool.
    pub link: LinkIx,
    /// What to send. When it is closed the link finishes what it has, and ends.
    pub attempts: mpsc::Receiver<Vec<Attempt>>,
    /// What became of it, and how the link is.
    pub events: mpsc::Sender<LinkEvent>,
}

/// Runs one link until the gateway stops or `ends.attempts` is closed.
///
/// Answers each attempt exactly once. When it stops: takes nothing more, waits for answers for at most
/// `config.drain`, and hands back what it still has.
///
/// Cancel safety: as with SMPP, dropping it answers what is left.
pub async fn run(config: Arc<Config>, ends: Ends, clock: Clock, stop: Stop) {
    let _guard = stop.guard(format!("push {}/{}", config.name, ends.link.0));
    let link = Link {
        ledger: Ledger::new(ends.link, ends.events.clone(), clock.clone()),
        meters: Meters::new(&config.name),
        out: FxHashMap::default(),
        connections: Vec::new(),
        next: None,
        retry_at: None,
        pause: PAUSES.0,
        is_up: false,
        window: 0,
        pressure: Pressure::default(),
        busy_at: clock.instant(),
        paused_until: None,
        outdated: None,
        lacking: None,
        alarmed_at: None,
        dated_at: None,
        stopped: None,
        refusals: 0,
        goaway: None,
        made: Made::default(),
        pulse: Arc::default(),
        resumed: config.resumed.clone(),
        wanted: config.pool.wanted(),
        state: config.who.subscribe(),
        target: config.target.clone(),
        config,
        ends,
        clock,
        stop,
    };
    link.run().await;
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, NotConnected>> + Send>>;

/// One connection and what is counted of it.
struct Held {
    connection: Connection,
    /// The credential it was made with.
    generation: u64,
    opened: Instant,
    /// When a request was answered last; before the first, when it was made.
    answered: Instant,
    faults: u32,
    /// Streams that the service refused since.
    refused: u32,
    /// It is to make room for the next one, which comes or is there.
    leaves: bool,
    /// It is over, and why.
    closed: Option<String>,
}

/// What is out.
struct Out {
    attempt: Attempt,
    /// Serial of the token it was sent with.
    serial: u64,
}

struct Link {
    ledger: Ledger,
    meters: Meters,
    out: FxHashMap<u64, Out>,
    /// The newest last.
    connections: Vec<Held>,
    /// The next one, and the credential it is made with.
    next: Option<(Connecting, u64)>,
    retry_at: Option<Instant>,
    pause: Duration,
    /// Whether the dispatcher takes the link for up …
    is_up: bool,
    /// … and the window that it was told last.
    window: usize,
    pressure: Pressure,
    busy_at: Instant,
    /// The service asks the whole route to wait.
    paused_until: Option<Instant>,
    /// The service calls the token of this serial too old, and there is no newer one yet.
    outdated: Option<u64>,
    /// Why there is no token to send with until the next one comes by itself, and when that may be.
    lacking: Option<(String, UnixMs)>,
    /// When it was logged last that somebody has to look.
    alarmed_at: Option<Instant>,
    /// When an answer's `date` was read last.
    dated_at: Option<Instant>,
    /// Why nothing goes on until somebody has looked, or there is another credential.
    stopped: Option<Stopped>,
    /// Refused credentials in a row.
    refusals: u32,
    goaway: Option<String>,
    made: Made,
    pulse: Arc<Pulse>,
    resumed: watch::Receiver<u64>,
    wanted: watch::Receiver<u16>,
    state: Option<watch::Receiver<State>>,
    target: watch::Receiver<Arc<Target>>,
    config: Arc<Config>,
    ends: Ends,
    clock: Clock,
    stop: Stop,
}

/// Why a link has stopped.
struct Stopped {
    why: String,
    /// The credential that was refused.
    generation: u64,
    /// It had no token at all.
    tokenless: bool,
}

/// What woke the link.
enum Woken {
    Turn,
    Attempts(Option<Vec<Attempt>>),
    Connected(Box<Result<Connection, NotConnected>>),
    Look,
    Stop,
}

impl Link {
    async fn run(mut self) {
        if !self.is_wanted() {
            let link = self.ends.link;
            self.ledger.event(LinkEvent::Unused { link });
        }
        loop {
            self.look();
            self.news();
            self.tell().await;
            if self.stop.is_stopped() {
                break;
            }
            match self.woken().await {
                Woken::Turn | Woken::Look => {}
                Woken::Attempts(Some(batch)) => self.hand_over(batch),
                Woken::Attempts(None) | Woken::Stop => break,
                Woken::Connected(result) => self.connected(*result),
            }
        }
        self.part().await;
    }

    /// Waits for whatever comes first. All arms are cancel safe.
    async fn woken(&mut self) -> Woken {
        let now = self.clock.instant();
        let look = self
            .paused_until
            .map_or(now + LOOK, |until| until.min(now + LOOK));
        let connections = &mut self.connections;
        let next = &mut self.next;
        tokio::select! {
            biased;
            () = self.stop.stopped() => Woken::Stop,
            () = turn(connections) => Woken::Turn,
            batch = self.ends.attempts.recv() => Woken::Attempts(batch),
            result = connecting(next) => Woken::Connected(Box::new(result)),
            () = changed(&mut self.state) => Woken::Look,
            Ok(()) = self.target.changed() => Woken::Look,
            Ok(()) = self.wanted.changed() => Woken::Look,
            Ok(()) = self.resumed.changed() => {
                self.go_on();
                Woken::Look
            }
            () = sleep_until(look.into()) => Woken::Look,
        }
    }

    /// Whether the pool wants a connection here.
    fn is_wanted(&self) -> bool {
        *self.wanted.borrow() > self.ends.link.0
    }

    /// The token to send with now: `Ok(None)` when the connection itself says who we are.
    ///
    /// # Errors
    /// Why there is none, and whether only somebody's hand helps.
    fn bearer(&self) -> Result<Option<Arc<Bearer>>, (String, bool)> {
        let now = self.clock.now();
        let Some(state) = &self.state else {
            return match self.config.who.stopped(now) {
                Some(why) => Err((why, true)),
                None => Ok(None),
            };
        };
        let state = state.borrow();
        if let Some(bearer) = state.usable(now) {
            return Ok(Some(bearer.clone()));
        }
        match &state.refusal {
            Some(refusal) => Err((refusal.text.to_string(), refusal.permanent)),
            None => Err(("there is no access token yet".to_owned(), false)),
        }
    }

    fn generation(&self) -> u64 {
        match &self.state {
            Some(state) => state
                .borrow()
                .bearer
                .as_ref()
                .map_or(0, |bearer| bearer.generation),
            // Not the certificate's own: what is connected next is shown this one.
            None => self.target.borrow().generation,
        }
    }

    /// Opens, replaces and gives up connections as it stands now.
    fn look(&mut self) {
        let now = self.clock.instant();
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let generation = self.generation();
        let bearer = self.bearer();
        let serial = bearer.as_ref().ok().and_then(Option::as_ref);
        let serial = serial.map_or(0, |bearer| bearer.serial);
        self.outdated = self.outdated.filter(|outdated| serial <= *outdated);
        let usable = bearer.is_ok();
        let over =
            |stopped: &Stopped| stopped.generation != generation || stopped.tokenless && usable;
        if self.stopped.as_ref().is_some_and(over) {
            self.go_on();
        }
        let (wanted, stopped) = (self.is_wanted(), self.stopped.is_some());
        for held in &mut self.connections {
            if held.generation != generation {
                // A service holds a connection to its first key, and refuses another one's tokens on it.
                held.connection.fence("it was made with another credential");
            } else if stopped {
                held.connection.fence("the route is stopped");
            } else if !wanted {
                held.connection.fence("it is not needed");
            }
        }
        // Also where a connection stands: what would be sent on it would not be taken.
        if wanted
            && !stopped
            && let Err((why, true)) = bearer
        {
            self.stop_for(why.clone(), true);
            // Where some are left, the last one's end says it.
            if self.connections.is_empty() {
                self.down(why, Then::Stopped);
            }
            return;
        }
        match bearer {
            Err((why, false)) => self.lack(why, wanted),
            Ok(_) if self.outdated.is_some() => {
                let why = "the service calls our token too old, and there is no newer one yet";
                self.lack(why.to_owned(), wanted);
            }
            _ => self.lacking = None,
        }
        let stays = |held: &Held| held.connection.limit() > 0 && !held.leaves;
        let well = self.connections.iter().any(stays);
        let crowded = self.connections.len() > DRAINING_MAX;
        let due = self.retry_at.is_none_or(|at| at <= now);
        // Without a token the next state wakes us.
        if wanted && !stopped && usable && !well && !crowded && self.next.is_none() && due {
            self.open(now);
        }
        self.grow_or_shrink(now);
    }

    /// There is no token, and nobody's hand is needed for the next one: the route waits for it, and says so.
    fn lack(&mut self, why: String, wanted: bool) {
        let refusal = self.state.as_ref().and_then(|state| {
            let state = state.borrow();
            state.refusal.as_ref().map(|refusal| refusal.again_at)
        });
        let lacking = Some((why, refusal.unwrap_or_else(|| self.clock.now())));
        // That the first token of a start is still under way is no news.
        let news = wanted && refusal.is_some() && self.lacking != lacking;
        self.lacking = lacking;
        if let Some((why, again_at)) = self.lacking.clone()
            && self.out.is_empty()
            && (self.is_up || news)
        {
            if self.is_up {
                tracing::warn!(
                    route = self.config.name,
                    link = self.ends.link.0,
                    why,
                    "there is no token to send with: the route waits for the next one"
                );
            }
            self.down(why, Then::Again(again_at));
        }
    }

    fn grow_or_shrink(&mut self, now: Instant) {
        let up = self.window > 0 && !self.is_paused();
        if !self.out.is_empty() {
            self.busy_at = now;
        }
        let limits = self.connections.iter().map(|held| held.connection.limit());
        if up && self.pressure.saw(now, self.out.len(), limits.sum()) {
            self.config.pool.grow(now);
        }
        if up && now.saturating_duration_since(self.busy_at) >= IDLE_FOR {
            self.config.pool.shrink(self.ends.link.0);
        }
    }

    fn open(&mut self, now: Instant) {
        let (target, http2) = (self.target.borrow().clone(), self.config.http2.clone());
        let (clock, meters) = (self.clock.clone(), http2::Meters::new(&self.config.name));
        let at = self.config.pool.connect_at(now);
        let connect = async move {
            sleep_until(at.into()).await;
            http2::connect(&target, http2, clock, meters).await
        };
        self.next = Some((Box::pin(connect), self.generation()));
    }

    fn connected(&mut self, result: Result<Connection, NotConnected>) {
        let generation = self.next.take().map_or(0, |next| next.1);
        let now = self.clock.instant();
        match result {
            Ok(connection) => {
                tracing::info!(
                    route = self.config.name,
                    link = self.ends.link.0,
                    peer = connection.peer(),
                    streams = connection.limit(),
                    "connected"
                );
                for held in &mut self.connections {
                    held.connection.fence("another one takes its place");
                }
                self.connections.push(Held {
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
            Err(why) => self.failed(&why.to_string(), now),
        }
    }

    /// There is no connection, or it did not last: the next try waits.
    fn failed(&mut self, why: &str, now: Instant) {
        let half = self.pause / 2;
        let pause = half + half / 1_000 * (getrandom::u32().unwrap_or_default() % 1_000);
        self.pause = (self.pause * 2).min(PAUSES.1);
        self.retry_at = Some(now + pause);
        tracing::warn!(
            route = self.config.name,
            link = self.ends.link.0,
            why,
            again_in_ms = pause.as_millis(),
            "no connection to the push service"
        );
        if self.connections.is_empty() {
            let then = Then::Again(self.clock.now().plus(pause));
            self.down(why.to_owned(), then);
        }
    }

    /// Somebody has looked, or there is another credential.
    fn go_on(&mut self) {
        self.stopped = None;
        self.refusals = 0;
        // The clock that was wrong may have been the service's: one push tells.
        self.outdated = None;
        self.pause = PAUSES.0;
        self.retry_at = None;
    }

    fn stop_for(&mut self, why: String, tokenless: bool) {
        if self.stopped.is_some() {
            return;
        }
        tracing::error!(
            route = self.config.name,
            link = self.ends.link.0,
            why,
            "the push route is stopped: put it right, then POST /v1/routes/{{name}}/resume"
        );
        self.meters.stopped();
        for held in &mut self.connections {
            held.connection.fence(&why);
        }
        self.next = None;
        self.stopped = Some(Stopped {
            why,
            generation: self.generation(),
            tokenless,
        });
    }

    /// Hands attempts to the connection that has room; what finds none goes back at once.
    fn hand_over(&mut self, batch: Vec<Attempt>) {
        let now = self.clock.now();
        let paused = self.is_paused();
        let bearer = self.bearer();
        for attempt in batch {
            let token = attempt.token;
            let room = |held: &&mut Held| held.connection.room() > 0;
            let held = self.connections.iter_mut().rev().find(room);
            let (Some(held), Ok(bearer), false) = (held, &bearer, paused) else {
                self.ledger.hand(token, now);
                self.ledger.not_sent(token, now);
                continue;
            };
            self.ledger.hand(token, now);
            let authorization = bearer.as_ref().map(|bearer| &bearer.authorization);
            let made = (&mut self.made, authorization);
            match request(&self.config.service, &attempt, made, now) {
                Ok((request, body)) => {
                    self.meters.handed(body.len());
                    held.connection.send(token, request, body);
                    let serial = bearer.as_ref().map_or(0, |bearer| bearer.serial);
                    self.out.insert(token, Out { attempt, serial });
                }
                Err(outcome) => self.ledger.answer(token, *outcome),
            }
        }
    }

    /// Takes what the connections have to tell.
    fn news(&mut self) {
        let mut fates = Vec::new();
        for (at, held) in self.connections.iter_mut().enumerate() {
            let connection = &mut held.connection;
            let heard = self.clock.now().0.saturating_sub(ms(self
                .clock
                .instant()
                .saturating_duration_since(connection.heard_at())));
            self.pulse.set(Beat {
                heard_at: UnixMs(heard),
                round_trip: connection.round_trip(),
                misses: 0,
            });
            let news = std::mem::take(connection.news());
            if let Some(replace) = news.replace {
                held.leaves = true;
                if let Replace::GoAway(goaway) = &replace {
                    let said = codecs::apns::GoAway::read(&goaway.debug_data);
                    let (code, said) = (goaway.code_name(), said.reason.text().to_owned());
                    self.goaway = Some(format!("{code} {}", said.escape_debug()));
                }
                tracing::info!(
                    route = self.config.name,
                    link = self.ends.link.0,
                    ?replace,
                    "the connection is to be replaced"
                );
            }
            if let Some(why) = &news.closed {
                let unknown = |(_, fate): &&(u64, Fate)| matches!(fate, Fate::Unknown(_));
                tracing::info!(
                    route = self.config.name,
                    link = self.ends.link.0,
                    why,
                    unknown = news.fates.iter().filter(unknown).count(),
                    "the connection to the push service has ended"
                );
            }
            held.closed = news.closed;
            fates.extend(news.fates.into_iter().map(|fate| (at, fate)));
        }
        for (at, (token, fate)) in fates {
            self.fate(at, token, fate);
        }
        let now = self.clock.instant();
        let mut last = None;
        for held in self
            .connections
            .extract_if(.., |held| held.closed.is_some())
        {
            if now.saturating_duration_since(held.opened) >= STABLE {
                self.pause = PAUSES.0;
            }
            last = held.closed;
        }
        if let Some(why) = last
            && self.connections.is_empty()
            && self.next.is_none()
        {
            self.ended(&why, now);
        }
    }

    /// The last connection is gone.
    fn ended(&mut self, why: &str, now: Instant) {
        if let Some(stopped) = &self.stopped {
            self.down(stopped.why.clone(), Then::Stopped);
        } else if self.is_wanted() {
            self.failed(why, now);
        } else {
            let then = Then::Again(self.clock.now());
            self.down("it is not needed".to_owned(), then);
            let link = self.ends.link;
            self.ledger.event(LinkEvent::Unused { link });
        }
    }

    /// What became of one request.
    fn fate(&mut self, at: usize, token: u64, fate: Fate) {
        let Some(out) = self.out.remove(&token) else {
            return;
        };
        let now = self.clock.now();
        match fate {
            Fate::Answered(answered) => {
                if let Some(held) = self.connections.get_mut(at) {
                    held.answered = self.clock.instant();
                    held.refused = 0;
                }
                let mut read = self.config.service.read(&out.attempt, &answered);
                let trusted = self
                    .config
                    .guard
                    .lock()
                    .saw(self.clock.instant(), read.bad_token);
                if read.bad_token && !trusted {
                    self.meters.distrusted();
                    read.outcome.unregistered = UnixMs::ZERO;
                }
                self.meters.answered(&read, answered.latency);
                let instant = self.clock.instant();
                let lately = |at: Instant| instant.saturating_duration_since(at) < DATE_AGAIN;
                if !self.dated_at.is_some_and(lately) {
                    self.dated_at = Some(instant);
                    self.config.who.saw_date(&answered);
                }
                self.beside(at, &read, out.serial);
                if self.outdated.is_some() && read.beside == Beside::Expired {
                    // It waits for the next token, however long that takes.
                    self.ledger.not_sent(token, now);
                } else {
                    self.ledger.answer(token, read.outcome);
                }
            }
            // It would be the same on any connection.
            Fate::Unsent(Unsent::Invalid(why)) => {
                tracing::error!(route = self.config.name, why, "a push cannot be written");
                self.meters.alarm("invalid");
                let (refused, reason) = (OutcomeResult::Refused, Reason::ProviderError);
                let outcome = ours(refused, reason, Whose::Us, Retry::Never, now);
                self.ledger.answer(token, outcome);
            }
            Fate::Unsent(why) => {
                if why == Unsent::Refused {
                    self.stream_refused(at);
                }
                self.meters.unsent();
                self.ledger.not_sent(token, now);
            }
            Fate::Unknown(why) => {
                if why == Unknown::Deadline {
                    self.unanswered(at);
                }
                tracing::debug!(route = self.config.name, %why, "nobody knows of a push");
                self.meters.unknown();
                self.ledger.unknown(token, Reason::ProviderTimeout, now);
            }
        }
    }

    /// The service refused a stream. It may do so with many when its limit has fallen; but what is tried
    /// again at once, and refused again, would go round and round as fast as the network is.
    fn stream_refused(&mut self, at: usize) {
        let now = self.clock.instant();
        let waits = self.paused_until.is_some_and(|until| until > now);
        let Some(held) = self.connections.get_mut(at).filter(|_| !waits) else {
            return;
        };
        held.refused = held.refused.saturating_add(1);
        let doublings = held.refused.saturating_sub(REFUSED_AT_ONCE);
        if doublings > 0 {
            let pause = REFUSED_PAUSES.0.saturating_mul(1 << doublings.min(16));
            self.paused_until = Some(now + pause.min(REFUSED_PAUSES.1));
        }
    }

    /// A request was not answered in its time. PING may be answered nevertheless: where no request was for
    /// so long, the connection is as good as a silent one.
    fn unanswered(&mut self, at: usize) {
        let now = self.clock.instant();
        let Some(held) = self.connections.get_mut(at) else {
            return;
        };
        if now.saturating_duration_since(held.answered) < self.config.http2.request_timeout {
            return;
        }
        held.faults += 1;
        if held.faults >= FAULTS_MAX {
            held.connection.fence("no push is answered on it");
        }
    }

    /// What an answer means for more than its own push.
    fn beside(&mut self, at: usize, read: &Read, serial: u64) {
        let word = read.label;
        if read.beside != Beside::Stop {
            self.refusals = 0;
        }
        let generation = self.generation();
        let newest = self.connections.get_mut(at);
        let counts = newest
            .as_ref()
            .is_some_and(|held| held.connection.limit() > 0 && held.generation == generation);
        match read.beside {
            Beside::Nothing => {
                if let Some(held) = newest {
                    held.faults = 0;
                }
            }
            Beside::Fence => {
                if let Some(held) = newest {
                    held.connection.fence(word);
                }
            }
            Beside::TooManyUpdates => {
                if let Some(held) = newest {
                    held.connection.fence(word);
                }
                self.config.who.too_many_updates();
            }
            Beside::Expired => {
                if !self.config.who.expired(serial) {
                    self.outdated = self.outdated.max(Some(serial));
                }
            }
            Beside::Pause(pause) => self.pause(pause),
            Beside::Fault => {
                if let Some(held) = newest {
                    held.faults += 1;
                    if held.faults >= FAULTS_MAX {
                        held.connection.fence(word);
                    }
                }
            }
            Beside::Alarm => {
                self.meters.alarm(word);
                let now = self.clock.instant();
                let lately = |at: Instant| now.saturating_duration_since(at) < ALARM_PAUSE;
                if !self.alarmed_at.is_some_and(lately) {
                    self.alarmed_at = Some(now);
                    tracing::error!(
                        route = self.config.name,
                        reason = word,
                        "the push service refuses an app's topic or our request; \
                         trunkline_push_alarms_total counts them"
                    );
                }
            }
            // What was under way on it is refused with it, and what was sent with another credential says
            // nothing of this one.
            Beside::Stop if !counts => {}
            Beside::Stop => {
                self.refusals += 1;
                if self.refusals >= REFUSALS_MAX {
                    self.stop_for(
                        format!("the service refuses our credentials: {word}"),
                        false,
                    );
                } else if let Some(held) = newest {
                    // What teams share a connection is refused so, too: a new one is tried once.
                    held.connection.fence(word);
                }
            }
        }
    }

    /// The service asks the whole account to wait.
    fn pause(&mut self, pause: Duration) {
        let until = self.clock.instant() + pause;
        // Whatever was under way is refused so, too: said once.
        let known = self.paused_until.map(|known| known + LOOK);
        if known.is_none_or(|known| known < until) {
            self.ledger.event(LinkEvent::Refusing { until });
        }
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// Whether the service asks to wait, or would refuse our token, or there is none.
    fn is_paused(&self) -> bool {
        self.paused_until.is_some() || self.outdated.is_some() || self.lacking.is_some()
    }

    /// How many attempts may be out now.
    fn window_now(&self) -> usize {
        if self.connections.is_empty() {
            return 0;
        }
        let paused = self.is_paused() || self.stopped.is_some() || self.bearer().is_err();
        let of = |held: &Held| match (held.connection.limit(), paused) {
            (0, _) | (_, true) => held.connection.in_flight(),
            (limit, false) => limit,
        };
        self.connections.iter().map(of).sum()
    }

    /// Tells the dispatcher what has changed.
    async fn tell(&mut self) {
        let window = self.window_now();
        let link = self.ends.link;
        if self.is_up && (window != self.window || self.goaway.is_some()) {
            let goaway = self.goaway.take();
            self.ledger.event(LinkEvent::Window {
                link,
                window,
                goaway,
            });
        } else if !self.is_up
            && let Some(held) = self.connections.last()
            && held.connection.limit() > 0
            && self.lacking.is_none()
        {
            let (peer, pulse) = (held.connection.peer().to_owned(), self.pulse.clone());
            self.ledger.up(window, peer, Carries::Attempts, pulse);
            self.is_up = true;
        }
        self.window = window;
        self.meters.flush();
        // The dispatcher takes answers as long as it lives; without it there is nobody to answer.
        self.ledger.tell_all().await;
    }

    fn down(&mut self, why: String, then: Then) {
        // What the dispatcher handed over just now has not been sent either.
        while let Ok(batch) = self.ends.attempts.try_recv() {
            self.hand_over(batch);
        }
        self.is_up = false;
        let link = self.ends.link;
        self.ledger.event(LinkEvent::Down { link, why, then });
    }

    /// The gateway stops: what is out is awaited, the rest goes back.
    async fn part(&mut self) {
        self.ends.attempts.close();
        self.next = None;
        while let Ok(batch) = self.ends.attempts.try_recv() {
            self.ledger.receive(batch);
        }
        self.ledger.refuse_waiting(self.clock.now());
        let mut over = pin!(sleep(self.config.drain));
        while !self.out.is_empty() {
            tokio::select! {
                () = turn(&mut self.connections) => {}
                () = &mut over => break,
            }
            self.news();
            self.ledger.tell_all().await;
        }
        // What the dispatcher handed over while we told it.
        while let Some(batch) = self.ends.attempts.recv().await {
            self.ledger.receive(batch);
        }
        self.ledger.close(self.clock.now());
        self.ledger.tell_all().await;
    }
}

fn request(
    service: &Service,
    attempt: &Attempt,
    (made, bearer): (&mut Made, Option<&HeaderValue>),
    now: UnixMs,
) -> Result<(http::Request<()>, bytes::Bytes), Box<crate::outcome::Outcome>> {
    service
        .request(attempt, made, bearer, now)
        .map_err(Box::new)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Works on all connections until one has news.
async fn turn(connections: &mut [Held]) {
    poll_fn(|context| {
        let mut ready = false;
        for held in connections.iter_mut() {
            ready |= pin!(held.connection.turn()).poll(context).is_ready();
        }
        match ready {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Works on the next connection, if one is being made.
async fn connecting(next: &mut Option<(Connecting, u64)>) -> Result<Connection, NotConnected> {
    match next {
        Some((connecting, _)) => connecting.as_mut().await,
        None => pending().await,
    }
}

/// The credential has changed.
async fn changed(state: &mut Option<watch::Receiver<State>>) {
    match state {
        None => pending().await,
        Some(state) => {
            if state.changed().await.is_err() {
                pending().await
            }
        }
    }
}
