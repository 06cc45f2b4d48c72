//! SMPP binds: one task for each, from connecting to unbind.
//!
//! ```text
//!      its turn       connect, TLS, bind              Up
//!  run ──────────► Connecting ────────────► Bound ──► attempts in, answers and receipts out
//!                      ▲          refused │    │ ends
//!                      │ pause            ▼    ▼
//!                      ├───────────── Waiting (Down) ──► Stopped: trying again cannot help
//!                      └──────────────────────────────────── resumed by an operator
//! ```
//! Whose turn it is, and what a refusal means to the other binds, is the [`account`]'s. A link that is
//! the receiver of a pair comes up with a window of 0; when it is lost, sending goes on.
//!
//! Design: what a link was handed stands in its [`ledger`], outside the connection's loop, so that
//! each attempt is answered exactly once whatever becomes of the connection: with the peer's answer;
//! as unknown when octets of it may have left and no answer came; as not sent when the session shows
//! that none has. A link that stopped for good (wrong password, wrong port) still answers what it is
//! handed, as not sent, until the gateway stops.
//!
//! Receipts and handsets' messages are acknowledged when the store says that they are on disk, and
//! refused with the route's `retry_status` when it could not keep them.
//!
//! Not chosen: a task each for reading and writing. One loop over one session needs no lock, and one
//! turn of it does a whole batch of each.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use codecs::smpp::{BindKind, Session};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use self::account::{Alarm, Turn};
use self::backoff::{ALARM_AT, Backoff, Failure, Next, STABLE};
use self::bind::{NotReached, reach};
use self::connection::{Connection, Ended, Lent};
use self::meters::{LinkState, Meters};
use self::wire::Wire;
use super::ledger::Ledger;
use crate::clock::Clock;
use crate::inbound::InboundBatch;
use crate::link::{LinkEvent, LinkIx, Then};
use crate::outcome::{Attempt, ReceiptBatch};
use crate::stop::Stop;

mod account;
mod backoff;
mod bind;
pub mod classify;
mod config;
mod connection;
pub mod form;
mod header;
mod inbound;
mod inbox;

mod meters;
mod outbind;
mod receipt;
mod submit;
mod tlvs;
mod wire;

#[cfg(test)]
mod tests;

pub use account::Account;
pub use config::{
    Binds, Config, INBOUND_WINDOW, Password, Reading, Seat, SourceRules, Tls, ValidityForm,
};
pub use outbind::{Calls, Listen, Outbinds};
pub use tlvs::{Dictionary, Shown};

/// A link's ends of the channels between it and the rest of the gateway.
#[derive(Debug)]
pub struct Ends {
    /// Its number within the route.
    pub link: LinkIx,
    /// Its host, as an index into `Config::hosts`.
    pub host: usize,
    /// Its place among the account's binds.
    pub seat: Seat,
    /// The connections of [`Seat::Called`], which connects nowhere itself.
    pub calls: Option<Calls>,
    /// What to send. When it is closed the link finishes what it has, and ends.
    pub attempts: mpsc::Receiver<Vec<Attempt>>,
    /// What became of it, and how the link is.
    pub events: mpsc::Sender<LinkEvent>,
    /// Receipts, to be stored.
    pub receipts: mpsc::Sender<ReceiptBatch>,
    /// Handsets' messages, to be stored.
    pub inbound: mpsc::Sender<InboundBatch>,
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
        backoff: Backoff::new(seed),
        seed,
        tries: 0,
        turn: None,
        resumed: config.account.resumed(),
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
    /// Connects so far.
    tries: usize,
    /// The right to bind, kept until a refusal is counted.
    turn: Option<Turn>,
    /// Told when somebody wants stopped binds tried again.
    resumed: watch::Receiver<u64>,
    config: Arc<Config>,
    ends: Ends,
    clock: Clock,
    stop: Stop,
}

impl Link {
    async fn run(mut self) {
        self.meters.state(LinkState::Waiting);
        let mut goes_on = self.needed().await;
        while goes_on {
            self.opens().await;
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
                Next::After(pause) | Next::Rest(pause) => self.pause(sleep(pause)).await,
                Next::Stop => self.pause(pending()).await,
            };
        }
        self.ends.attempts.close();
        while let Some(batch) = self.ends.attempts.recv().await {
            self.hand_back(batch).await;
        }
    }

    /// Says that it connects, or waits for the carrier to.
    async fn opens(&mut self) {
        if self.ends.calls.is_none() {
            return self.meters.state(LinkState::Connecting);
        }
        self.meters.state(LinkState::Listening);
        let link = self.ends.link;
        // A dispatcher that is gone has nobody to tell; `rest` sees it.
        drop(self.ends.events.send(LinkEvent::Listening { link }).await);
    }

    /// Waits until the account needs this link; most do at once. `false`: it is to end.
    async fn needed(&mut self) -> bool {
        if self.config.kind(self.ends.seat).is_some() {
            return true;
        }
        self.meters.state(LinkState::Unused);
        let link = self.ends.link;
        // A dispatcher that is gone has nobody to tell; `rest` sees it.
        drop(self.ends.events.send(LinkEvent::Unused { link }).await);
        let mut splits = self.config.account.splits();
        // The account lives as long as its config.
        self.rest(async move { drop(splits.wait_for(|split| *split).await) })
            .await
    }

    /// One connection, from its first packet to its last.
    async fn once(&mut self) -> Ended {
        let failed = |why, failure, leave| Ended {
            why,
            failure,
            stood: None,
            leave,
        };
        let host = self.ends.host;
        let reached = {
            let (config, clock, calls) = (&self.config, &self.clock, &self.ends.calls);
            let mut reaching = pin!(async {
                match calls {
                    Some(calls) => bind::called(config, calls, clock).await,
                    None => reach(config, host, self.tries, clock).await,
                }
            });
            loop {
                // What is handed over while there is no bind goes back at once.
                tokio::select! {
                    biased;
                    () = self.stop.stopped() => break None,
                    reached = &mut reaching => break Some(reached),
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
        self.tries = self.tries.wrapping_add(1);
        let (stream, address, turn) = match reached {
            Some(Ok(reached)) => reached,
            Some(Err(NotReached { why, failure })) => return failed(why, failure, false),
            None => return failed("the link stops".into(), Failure::Net, true),
        };
        self.turn = Some(turn);
        let session = match self.session() {
            Ok(session) => session,
            Err((why, failure)) => return failed(why, failure, false),
        };
        let lent = Lent {
            config: &self.config,
            clock: &self.clock,
            ledger: &mut self.ledger,
            meters: &mut self.meters,
            attempts: &mut self.ends.attempts,
            receipts: &self.ends.receipts,
            turn: &mut self.turn,
            inbound: &self.ends.inbound,
        };
        let peer = match (&self.ends.calls, self.config.hosts.get(host)) {
            (None, Some(host)) => bind::peer(host, address),
            _ => format!("outbind {address}"),
        };
        let connection = Connection::new(lent, session, Wire::new(stream), peer);
        Box::pin(connection.run(&mut self.stop)).await
    }

    /// A session, its bind queued.
    fn session(&mut self) -> Result<Session, (String, Failure)> {
        self.seed = self
            .seed
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(1);
        let Some(kind) = self.config.kind(self.ends.seat) else {
            return Err(("the bind is not needed".into(), Failure::Net));
        };
        Session::new(self.config.session(kind, self.seed), self.clock.instant()).map_err(|error| {
            let why = format!("the bind cannot be written: {error}");
            (why, Failure::Hopeless)
        })
    }

    /// Answers what is left, tells the dispatcher, and decides what follows.
    async fn ended(&mut self, ended: Ended) -> Next {
        let Ended {
            mut why,
            failure,
            stood,
            leave,
        } = ended;
        if stood.is_none() {
            self.meters.tally.bind_failures += 1;
        }
        if stood.is_some_and(|stood| stood >= STABLE) {
            self.backoff.stable();
        }
        let next = self.decide(&failure, &mut why, leave);
        // Others may bind: what this one met is counted.
        self.turn = None;
        // What the dispatcher handed over just now has not been sent either.
        while let Ok(batch) = self.ends.attempts.try_recv() {
            self.ledger.receive(batch);
        }
        self.ledger.close(self.clock.now());
        self.meters.results(&mut self.ledger.results);
        self.meters.flush();
        let (route, link) = (self.config.name.as_str(), self.ends.link);
        let now = self.clock.now();
        let (then, state, next_shown) = match next {
            Next::After(pause) => (
                Then::Again(now.plus(pause)),
                LinkState::Waiting,
                format!("in {:.1} s", pause.as_secs_f64()),
            ),
            Next::Rest(pause) => (
                Then::TooMany(now.plus(pause)),
                LinkState::TooMany,
                format!("in {:.0} s", pause.as_secs_f64()),
            ),
            Next::Stop => (Then::Stopped, LinkState::Stopped, "never".to_owned()),
        };
        if leave {
            tracing::info!(route, link = link.0, why, "the bind has ended");
        } else if next == Next::Stop {
            tracing::error!(
                route,
                link = link.0,
                why,
                next = next_shown,
                "the bind is down"
            );
        } else {
            tracing::warn!(
                route,
                link = link.0,
                why,
                next = next_shown,
                "the bind is down"
            );
        }
        self.meters.state(state);
        if self.ledger.tell_all().await {
            let down = LinkEvent::Down { link, why, then };
            // A dispatcher that is gone has nobody to tell; `rest` sees it.
            drop(self.ends.events.send(down).await);
        }
        next
    }

    /// What follows a failure, said in `why` where somebody has to look.
    fn decide(&mut self, failure: &Failure, why: &mut String, leave: bool) -> Next {
        let account = &self.config.account;
        let transceiver = self.config.kind(self.ends.seat) == Some(BindKind::Transceiver);
        if *failure == Failure::Unsupported && transceiver && self.config.bind == Binds::Auto {
            account.split();
            why.push_str("; tried again as transmitter and receiver");
            return Next::After(Duration::ZERO);
        }
        let next = match failure {
            Failure::Credentials => account.refused(self.clock.instant()),
            failure => self.backoff.next(failure.clone()),
        };
        if leave {
            return next;
        }
        // The carrier calls when it wants to; we only have to listen.
        if self.ends.calls.is_some() && matches!(failure, Failure::Net | Failure::Parted) {
            return Next::After(Duration::ZERO);
        }
        let (alarm, said) = match (next, failure) {
            (Next::Stop, Failure::Credentials) => (
                Alarm::Credentials,
                "; refused too often, not tried again, because carriers lock accounts: put the \
                 account's settings right and start the gateway again, or POST /v1/routes/{name}/resume when the \
                 carrier has put its side right",
            ),
            (Next::Stop, Failure::Unsupported) if transceiver => (
                Alarm::Hopeless,
                "; not tried again: the carrier takes no transceiver; set bind = \"tx+rx\" or \
                 \"auto\" and start the gateway again",
            ),
            (Next::Stop, _) => (
                Alarm::Hopeless,
                "; not tried again: put the route's settings right and start the gateway again",
            ),
            (Next::Rest(_), _) => (
                Alarm::TooManyBinds,
                "; again and again, so it goes on with one bind less for a while: is \
                 binds_per_host more than the carrier allows?",
            ),
            (_, Failure::Ambiguous) if self.backoff.in_a_row() >= ALARM_AT => (
                Alarm::Refused,
                "; again and again: ask the carrier (address not allowed, no credit, too many \
                 binds?)",
            ),
            _ => return next,
        };
        account.alarm(alarm);
        why.push_str(said);
        next
    }

    /// Waits until it is to try again: after this, or because somebody says so. `false`: the link is
    /// to end.
    async fn pause(&mut self, until: impl Future<Output = ()>) -> bool {
        let mut resumed = self.resumed.clone();
        let again = async move {
            tokio::select! {
                () = until => {}
                // The account lives as long as its config.
                _ = resumed.changed() => {}
            }
        };
        let goes_on = self.rest(again).await;
        if self.resumed.has_changed().unwrap_or(false) {
            self.resumed.mark_unchanged();
            self.backoff.stable();
        }
        goes_on
    }

    /// Waits, handing back what comes. `false`: the link is to end.
    async fn rest(&mut self, until: impl Future<Output = ()>) -> bool {
        let mut until = pin!(until);
        loop {
            let batch = tokio::select! {
                biased;
                () = self.stop.stopped() => return false,
                () = self.ends.events.closed() => return false,
                batch = self.ends.attempts.recv() => batch,
                () = &mut until => return true,
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
