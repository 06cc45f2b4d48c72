//! SMPP binds: one task for each, from connecting to unbind.
//!
//! ```text
//!        stagger          connect, TLS, bind              Up
//!  run ──────────► Connecting ────────────► Bound ──► attempts in, answers and receipts out
//!                      ▲          refused │    │ ends
//!                      │ pause            ▼    ▼
//!                      └───────────── Waiting (Down) ──► Stopped: trying again cannot help
//! ```
//! Design: what a link was handed stands in its [`ledger`], outside the connection's loop, so that
//! each attempt is answered exactly once whatever becomes of the connection: with the peer's answer;
//! as unknown when octets of it may have left and no answer came; as not sent when the session shows
//! that none has. A link that stopped for good (wrong password, wrong port) still answers what it is
//! handed, as not sent, until the gateway stops.
//!
//! Receipts are acknowledged when the store says that they are on disk, and refused as "temporary"
//! when it could not keep them. Messages from handsets are not in this version: they are refused with
//! `ESME_RX_R_APPN`, counted, and named in the log once for each connection.
//!
//! Not chosen: a task each for reading and writing. One loop over one session needs no lock, and one
//! turn of it does a whole batch of each.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use codecs::smpp::Session;
use tokio::sync::mpsc;
use tokio::time::sleep;

use self::backoff::{ALARM_AT, Backoff, Failure, Next, STABLE};
use self::bind::connect;
use self::connection::{Connection, Ended, Lent};
use self::ledger::Ledger;
use self::meters::{LinkState, Meters};
use self::wire::Wire;
use crate::clock::Clock;
use crate::link::{LinkEvent, LinkIx};
use crate::outcome::{Attempt, ReceiptBatch};
use crate::stop::Stop;

mod backoff;
mod bind;
pub mod classify;
mod config;
mod connection;
mod inbox;
mod ledger;
mod meters;
mod receipt;
mod submit;
pub mod tls;
mod wire;

#[cfg(test)]
mod tests;

pub use config::{Config, INBOUND_WINDOW, Password, SourceRules, Tls};

/// Between the first connects of a route's links. smpp.md §3.2.
const STAGGER: Duration = Duration::from_millis(250);

/// A link's ends of the channels between it and the rest of the gateway.
#[derive(Debug)]
pub struct Ends {
    /// Its number within the route; decides when it first connects.
    pub link: LinkIx,
    /// Which host it starts with.
    pub host: usize,
    /// What to send. When it is closed the link finishes what it has, and ends.
    pub attempts: mpsc::Receiver<Vec<Attempt>>,
    /// What became of it, and how the link is.
    pub events: mpsc::Sender<LinkEvent>,
    /// Receipts, to be stored.
    pub receipts: mpsc::Sender<ReceiptBatch>,
}

/// Runs one bind until the gateway stops or `ends.attempts` is closed.
///
/// Answers each attempt exactly once. When it stops: takes nothing more, waits for answers for at
/// most `config.drain`, unbinds, and hands back what it still has.
///
/// Cancel safety: dropping it closes the connection and answers what is left, without waiting if the
/// dispatcher has room, else from a task of its own.
pub async fn run(config: Arc<Config>, ends: Ends, clock: Clock, stop: Stop) {
    let _guard = stop.guard(format!("bind {}/{}", config.name, ends.link.0));
    let mut seed = [0; 8];
    // Without the system's randomness jitter still differs from link to link.
    let drawn = getrandom::fill(&mut seed).is_ok();
    let seed = u64::from_le_bytes(seed) ^ u64::from(ends.link.0);
    tracing::debug!(
        route = config.name,
        link = ends.link.0,
        drawn,
        "the link starts"
    );
    let link = Link {
        ledger: Ledger::new(ends.link, ends.events.clone(), clock.clone()),
        meters: Meters::new(&config.name),
        backoff: Backoff::new(seed, config.refused.clone()),
        seed,
        config,
        ends,
        clock,
        stop,
    };
    link.run().await;
}

/// A link at work.
struct Link {
    ledger: Ledger,
    meters: Meters,
    backoff: Backoff,
    seed: u64,
    config: Arc<Config>,
    ends: Ends,
    clock: Clock,
    stop: Stop,
}

impl Link {
    async fn run(mut self) {
        self.meters.state(LinkState::Waiting);
        let mut goes_on = self.rest(STAGGER * u32::from(self.ends.link.0)).await;
        while goes_on {
            self.meters.state(LinkState::Connecting);
            let once = self.once();
            let ended = caught(once).await.unwrap_or_else(|| {
                self.meters.tally.panics += 1;
                Ended {
                    why: "a defect of the gateway: the connection's task panicked".into(),
                    failure: Failure::Net,
                    stood: None,
                    leave: self.stop.is_stopped(),
                }
            });
            let leave = ended.leave;
            let next = self.ended(ended).await;
            goes_on = match next {
                _ if leave => false,
                Next::After(pause) => self.rest(pause).await,
                Next::Stop => {
                    self.meters.state(LinkState::Stopped);
                    self.rest(Duration::MAX).await
                }
            };
        }
        self.ends.attempts.close();
        while let Some(batch) = self.ends.attempts.recv().await {
            self.hand_back(batch).await;
        }
    }

    /// One connection, from its first packet to its last.
    async fn once(&mut self) -> Ended {
        let failed = |why, failure, leave| Ended {
            why,
            failure,
            stood: None,
            leave,
        };
        let Some(host) = self
            .config
            .hosts
            .get(self.ends.host % self.config.hosts.len().max(1))
        else {
            return failed("the route has no hosts".into(), Failure::Hopeless, false);
        };
        let connected = {
            let mut connecting = pin!(connect(&self.config, host));
            loop {
                // What is handed over while there is no bind goes back at once.
                tokio::select! {
                    biased;
                    () = self.stop.stopped() => break None,
                    connected = &mut connecting => break Some(connected),
                    batch = self.ends.attempts.recv() => match batch {
                        Some(batch) => {
                            self.ledger.receive(batch);
                            self.ledger.refuse_waiting(self.clock.now());
                            if !self.ledger.tell_all().await {
                                break None;
                            }
                        }
                        None => break None,
                    },
                }
            }
        };
        let (stream, address) = match connected {
            Some(Ok(connected)) => connected,
            Some(Err(why)) => return failed(why, Failure::Net, false),
            None => return failed("the link stops".into(), Failure::Net, true),
        };
        self.seed = self
            .seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(1);
        let session = Session::new(self.config.session(self.seed), self.clock.instant());
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                let why = format!("the bind cannot be written: {error}");
                return failed(why, Failure::Hopeless, false);
            }
        };
        let lent = Lent {
            config: &self.config,
            clock: &self.clock,
            ledger: &mut self.ledger,
            meters: &mut self.meters,
            attempts: &mut self.ends.attempts,
            receipts: &self.ends.receipts,
        };
        let peer = bind::peer(host, address);
        let connection = Connection::new(lent, session, Wire::new(stream), peer);
        Box::pin(connection.run(&mut self.stop)).await
    }

    /// Answers what is left, tells the dispatcher, and decides what follows.
    async fn ended(&mut self, ended: Ended) -> Next {
        let Ended {
            mut why,
            failure,
            stood,
            ..
        } = ended;
        if stood.is_none() {
            self.meters.tally.bind_failures += 1;
        }
        if stood.is_some_and(|stood| stood >= STABLE) {
            self.backoff.stable();
        }
        if failure == Failure::Net {
            self.ends.host = self.ends.host.wrapping_add(1);
        }
        let next = self.backoff.next(failure.clone());
        match (next, &failure) {
            (Next::Stop, Failure::Credentials) => {
                why.push_str("; refused too often, not tried again: carriers lock accounts");
            }
            (Next::Stop, _) => why.push_str("; not tried again: look at the route's settings"),
            (_, Failure::Ghost | Failure::Ambiguous) if self.backoff.in_a_row() >= ALARM_AT => {
                why.push_str("; again and again: ask the carrier (too many binds, address not allowed, no credit?)");
            }
            _ => {}
        }
        // What the dispatcher handed over just now has not been sent either.
        while let Ok(batch) = self.ends.attempts.try_recv() {
            self.ledger.receive(batch);
        }
        self.ledger.close(self.clock.now());
        self.meters.results(&mut self.ledger.results);
        self.meters.flush();
        let (route, link) = (self.config.name.as_str(), self.ends.link);
        if ended.leave {
            tracing::info!(route, link = link.0, why, "the bind has ended");
        } else {
            let next = match next {
                Next::After(pause) => format!("in {:.1} s", pause.as_secs_f64()),
                Next::Stop => "never".to_owned(),
            };
            tracing::warn!(route, link = link.0, why, next, "the bind is down");
        }
        self.meters.state(LinkState::Waiting);
        if self.ledger.tell_all().await {
            let down = LinkEvent::Down { link, why };
            // A dispatcher that is gone has nobody to tell; `rest` sees it.
            drop(self.ends.events.send(down).await);
        }
        next
    }

    /// Waits, handing back what comes. `false`: the link is to end.
    async fn rest(&mut self, pause: Duration) -> bool {
        // tokio clamps what is too far away.
        let mut pause = pin!(sleep(pause));
        loop {
            let batch = tokio::select! {
                biased;
                () = self.stop.stopped() => return false,
                () = self.ends.events.closed() => return false,
                batch = self.ends.attempts.recv() => batch,
                () = &mut pause => return true,
            };
            let Some(batch) = batch else {
                return false;
            };
            if !self.hand_back(batch).await {
                return false;
            }
        }
    }

    /// Answers as not sent. `false`: nobody is there to be told.
    async fn hand_back(&mut self, batch: Vec<Attempt>) -> bool {
        self.ledger.receive(batch);
        self.ledger.refuse_waiting(self.clock.now());
        self.meters.results(&mut self.ledger.results);
        self.meters.flush();
        self.ledger.tell_all().await
    }
}

/// Runs a future to its end or its panic (`None`), which is reported by the panic hook.
async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
