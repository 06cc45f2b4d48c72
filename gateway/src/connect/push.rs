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

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until};

use self::connections::{Connections, Worked};
use self::credential::{Credential, Lack};
use self::doubts::Doubts;
use self::guard::Guards;
use self::meters::Meters;
use self::pool::{Place, Pool};
use self::service::{Made, Service, Who};
use super::http2::{self, Connection, Fate, NotConnected, Replace, Target};
use super::ledger::Ledger;
use crate::clock::{Clock, UnixMs};
use crate::link::{Beat, Carries, LinkEvent, LinkIx, Pulse, Then};
use crate::outcome::Attempt;
use crate::stop::Stop;

mod connections;
mod credential;
pub mod doubts;
mod fates;
pub mod guard;
mod meters;
pub mod pool;
pub mod retries;
pub mod service;
mod verdict;
mod words;

#[cfg(test)]
mod tests;

/// First and longest pause between two tries to connect.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
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
    pub guard: Mutex<Guards>,
    /// What the service has refused without saying whose fault it is.
    pub doubts: Mutex<Doubts>,
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
    Link::new(config, ends, clock, stop).run().await;
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
    connections: Connections,
    credential: Credential,
    place: Place,
    shown: Shown,
    /// The service refuses streams of this link.
    paused_until: Option<Instant>,
    /// It wants the whole route to wait.
    waits_until: Option<Instant>,
    /// It has stopped because neither devices nor project are found.
    lost: bool,
    made: Made,
    resumed: watch::Receiver<u64>,
    config: Arc<Config>,
    ends: Ends,
    clock: Clock,
    stop: Stop,
}

/// What the dispatcher knows of the link.
#[derive(Default)]
struct Shown {
    /// Whether it takes the link for up …
    is_up: bool,
    /// … and the window that it was told last.
    window: usize,
    /// What made the service end a connection, not told yet.
    goaway: Option<String>,
    pulse: Arc<Pulse>,
}

/// What woke the link.
enum Woken {
    Turn,
    Attempts(Option<Vec<Attempt>>),
    Connected(Box<Result<Connection, NotConnected>>, u64),
    Look,
    Stop,
}

impl Link {
    fn new(config: Arc<Config>, ends: Ends, clock: Clock, stop: Stop) -> Self {
        Self {
            ledger: Ledger::new(ends.link, ends.events.clone(), clock.clone()),
            meters: Meters::new(&config.name),
            out: FxHashMap::default(),
            connections: Connections::new(),
            credential: Credential::new(&config),
            place: Place::new(&config.pool, ends.link.0, clock.instant()),
            shown: Shown::default(),
            paused_until: None,
            waits_until: None,
            lost: false,
            made: Made::default(),
            resumed: config.resumed.clone(),
            config,
            ends,
            clock,
            stop,
        }
    }

    async fn run(mut self) {
        if !self.place.is_wanted() {
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
                Woken::Connected(result, generation) => self.connected(*result, generation),
            }
        }
        self.part().await;
    }

    /// Waits for whatever comes first. All arms are cancel safe.
    async fn woken(&mut self) -> Woken {
        let now = self.clock.instant();
        let pauses = [self.paused_until, self.waits_until, Some(now + LOOK)];
        let look = pauses.into_iter().flatten().min().unwrap_or(now + LOOK);
        tokio::select! {
            biased;
            () = self.stop.stopped() => Woken::Stop,
            worked = self.connections.work() => match worked {
                Worked::News => Woken::Turn,
                Worked::Connected(result, generation) => Woken::Connected(result, generation),
            },
            batch = self.ends.attempts.recv() => Woken::Attempts(batch),
            () = self.credential.changed() => Woken::Look,
            () = self.place.changed() => Woken::Look,
            Ok(()) = self.resumed.changed() => {
                self.go_on();
                Woken::Look
            }
            () = sleep_until(look.into()) => Woken::Look,
        }
    }

    /// Opens, replaces and gives up connections as it stands now.
    fn look(&mut self) {
        let now = self.clock.instant();
        self.paused_until = self.paused_until.filter(|until| *until > now);
        self.waits_until = self.config.doubts.lock().waits(now);
        let bearer = self.credential.look(self.clock.now());
        if self.credential.is_another(bearer.is_ok()) {
            self.go_on();
        } else if self.lost && !self.config.doubts.lock().is_lost() {
            // What was still under way has been looked at: the project is there.
            self.revive();
        }
        // Another link of the route has found out.
        let stopped = self.credential.stopped().is_some() || !self.place.is_wanted();
        if !stopped && self.config.doubts.lock().is_lost() {
            self.stop_lost();
        }
        let generation = self.credential.generation();
        let (wanted, stopped) = (self.place.is_wanted(), self.credential.stopped().is_some());
        for held in self.connections.iter_mut() {
            if held.generation != generation {
                // A service holds a connection to its first key, and refuses another one's tokens on it.
                held.connection.fence("it was made with another credential");
            } else if stopped {
                held.connection.fence("the route is stopped");
            } else if !wanted {
                held.connection.fence("it is not needed");
            }
        }
        let usable = bearer.is_ok();
        match bearer {
            // Also where a connection stands: what would be sent on it would not be taken.
            Err(Lack {
                why,
                for_good: true,
            }) if wanted && !stopped => {
                self.stop_for(why.clone(), true);
                // Where some are left, the last one's end says it.
                if self.connections.is_empty() {
                    self.down(why, Then::Stopped);
                }
                return;
            }
            Err(Lack {
                why,
                for_good: false,
            }) => self.lack(why, wanted),
            Ok(_) if self.credential.is_outdated() => {
                let why = "the service calls our token too old, and there is no newer one yet";
                self.lack(why.to_owned(), wanted);
            }
            _ => self.credential.lack_none(),
        }
        // Without a token the next state wakes us.
        if wanted && !stopped && usable && self.connections.is_next_due(now) {
            self.open(now);
        }
        let up = self.shown.window > 0 && !self.is_paused();
        let used = (self.out.len(), self.connections.limit());
        self.place.saw(&self.config.pool, now, up, used);
    }

    /// There is no token, and nobody's hand is needed for the next one: the route waits for it, and says so.
    fn lack(&mut self, why: String, wanted: bool) {
        let news = self.credential.lack(why, self.clock.now()) && wanted;
        if !self.out.is_empty() || !(self.shown.is_up || news) {
            return;
        }
        let Some((why, again_at)) = self.credential.lacking().cloned() else {
            return;
        };
        if self.shown.is_up {
            tracing::warn!(
                route = self.config.name,
                link = self.ends.link.0,
                why,
                "there is no token to send with: the route waits for the next one"
            );
        }
        self.down(why, Then::Again(again_at));
    }

    fn open(&mut self, now: Instant) {
        let (target, http2) = (self.credential.target(), self.config.http2.clone());
        let (clock, meters) = (self.clock.clone(), http2::Meters::new(&self.config.name));
        let at = self.config.pool.connect_at(now);
        let connect = async move {
            sleep_until(at.into()).await;
            http2::connect(&target, http2, clock, meters).await
        };
        let generation = self.credential.generation();
        self.connections.open(Box::pin(connect), generation);
    }

    fn connected(&mut self, result: Result<Connection, NotConnected>, generation: u64) {
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
                self.connections.add(connection, generation, now);
            }
            Err(why) => self.failed(&why.to_string(), now),
        }
    }

    /// There is no connection, or it did not last: the next try waits.
    fn failed(&mut self, why: &str, now: Instant) {
        let pause = self.connections.failed(now);
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
        self.config.doubts.lock().go_on(self.clock.instant());
        self.ledger.event(LinkEvent::TakesAgain);
        self.revive();
    }

    fn revive(&mut self) {
        self.lost = false;
        if self.credential.go_on() {
            self.config.pool.stopped(false);
        }
        self.connections.start_again();
    }

    /// Neither the devices nor the project are found.
    fn stop_lost(&mut self) {
        let why = "the service finds none of ten different devices, and does not call them gone: is the \
                   route's project the right one?";
        self.lost |= self.stop_for(why.to_owned(), false);
        // Where some are left, the last one's end says it.
        if self.connections.is_empty() {
            self.down(why.to_owned(), Then::Stopped);
        }
    }

    /// Whether it had not stopped before.
    fn stop_for(&mut self, why: String, tokenless: bool) -> bool {
        if !self.credential.stop(&why, tokenless) {
            return false;
        }
        self.config.pool.stopped(true);
        tracing::error!(
            route = self.config.name,
            link = self.ends.link.0,
            why,
            "the push route is stopped: put it right, then POST /v1/routes/{{name}}/resume"
        );
        self.meters.stopped();
        self.connections.fence(&why);
        self.connections.do_not_open();
        true
    }

    /// Hands attempts to the connection that has room; what finds none goes back at once.
    fn hand_over(&mut self, batch: Vec<Attempt>) {
        let now = self.clock.now();
        // Another link may have found out just now.
        self.waits_until = self.config.doubts.lock().waits(self.clock.instant());
        let paused = self.is_paused();
        let bearer = self.credential.bearer(now);
        for attempt in batch {
            let token = attempt.token;
            self.ledger.hand(token, now);
            let connection = self.connections.with_room();
            let (Some(connection), Ok(bearer), false) = (connection, &bearer, paused) else {
                self.ledger.not_sent(token, now);
                continue;
            };
            let authorization = bearer.as_ref().map(|bearer| &bearer.authorization);
            let made = (&mut self.made, authorization);
            match request(&self.config.service, &attempt, made, now) {
                Ok((request, body)) => {
                    self.meters.handed(body.len());
                    connection.send(token, request, body);
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
            self.shown.pulse.set(Beat {
                heard_at: UnixMs(heard),
                round_trip: connection.round_trip(),
                misses: 0,
            });
            let news = std::mem::take(connection.news());
            if let Some(replace) = news.replace {
                held.leaves = true;
                if let Replace::GoAway(goaway) = &replace {
                    let said = codecs::apns::GoAway::read(&goaway.debug_data);
                    let shown = goaway_shown(goaway.code_name(), said.reason.text());
                    self.shown.goaway = Some(shown);
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
        if let Some(why) = self.connections.let_go(now) {
            self.ended(&why, now);
        }
    }

    /// The last connection is gone.
    fn ended(&mut self, why: &str, now: Instant) {
        if let Some(why) = self.credential.stopped() {
            self.down(why.to_owned(), Then::Stopped);
        } else if self.place.is_wanted() {
            self.failed(why, now);
        } else {
            let then = Then::Again(self.clock.now());
            self.down("it is not needed".to_owned(), then);
            let link = self.ends.link;
            self.ledger.event(LinkEvent::Unused { link });
        }
    }

    /// Whether the service asks to wait, or would refuse our token, or there is none.
    fn is_paused(&self) -> bool {
        self.paused_until.is_some() || self.waits_until.is_some() || self.credential.waits()
    }

    /// How many attempts may be out now.
    fn window_now(&self) -> usize {
        if self.connections.is_empty() {
            return 0;
        }
        let paused = self.is_paused()
            || self.credential.stopped().is_some()
            || self.credential.bearer(self.clock.now()).is_err();
        let window = self.connections.window(paused);
        let most = self.config.doubts.lock().window_max();
        // Never less than what is out.
        window.min(most.max(self.out.len()))
    }

    /// Tells the dispatcher what has changed.
    async fn tell(&mut self) {
        let window = self.window_now();
        let link = self.ends.link;
        if self.shown.is_up && (window != self.shown.window || self.shown.goaway.is_some()) {
            let goaway = self.shown.goaway.take();
            self.ledger.event(LinkEvent::Window {
                link,
                window,
                goaway,
            });
        } else if !self.shown.is_up
            && let Some(newest) = self.connections.newest()
            && newest.limit() > 0
            && self.credential.lacking().is_none()
        {
            let (peer, pulse) = (newest.peer().to_owned(), self.shown.pulse.clone());
            self.ledger.up(window, peer, Carries::Attempts, pulse);
            self.shown.is_up = true;
        }
        self.shown.window = window;
        self.meters.flush();
        // The dispatcher takes answers as long as it lives; without it there is nobody to answer.
        self.ledger.tell_all().await;
    }

    fn down(&mut self, why: String, then: Then) {
        // What the dispatcher handed over just now has not been sent either.
        while let Ok(batch) = self.ends.attempts.try_recv() {
            self.hand_over(batch);
        }
        self.shown.is_up = false;
        let link = self.ends.link;
        self.ledger.event(LinkEvent::Down { link, why, then });
    }

    /// The gateway stops: what is out is awaited, the rest goes back.
    async fn part(&mut self) {
        self.ends.attempts.close();
        self.connections.do_not_open();
        while let Ok(batch) = self.ends.attempts.try_recv() {
            self.ledger.receive(batch);
        }
        self.ledger.refuse_waiting(self.clock.now());
        let mut over = pin!(sleep(self.config.drain));
        while !self.out.is_empty() {
            tokio::select! {
                _ = self.connections.work() => {}
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
        self.connections.close("the gateway stops").await;
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

/// The error code of a GOAWAY, and what the service says with it, which may be nothing.
fn goaway_shown(code: &str, said: &str) -> String {
    match said {
        "" => code.to_owned(),
        _ => format!("{code} {}", said.escape_debug()),
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
