//! One connection's life: bind, then one loop that reads, submits, writes and answers in batches.
//!
//! Each turn of the loop takes all that is there: every PDU of a read, every attempt in the channel;
//! it makes one write of what is to be sent and one event of what was answered. enquire_link is
//! answered by the session as it reads, before and regardless of anything else.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::smpp::session::{self, CloseReason, Event, Odd, Reply, Session};
use codecs::smpp::{BindKind, CommandStatus, Frame};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant as Wake, sleep_until};

use super::account::{Bound, Turn};
use super::backoff::Failure;
use super::classify::{Answered, classify, said};
use super::config::Config;
use super::form;
use super::inbound;
use super::inbox::Inbox;
use super::meters::{LinkState, Meters};
use super::receipt::{self, Read};
use super::submit::{NotTaken, submit};
use super::wire::{Io, Wire};
use crate::clock::{Clock, UnixMs};
use crate::connect::ledger::{Ledger, Told};
use crate::inbound::InboundBatch;
use crate::link::{Beat, Carries, LinkEvent, Pulse};
use crate::outcome::{
    Attempt, Outcome, OutcomeResult, ProviderId, Reason, ReceiptBatch, Retry, Whose,
};
use crate::stop::Stop;

/// How long the peer may take nothing of what we write. smpp.md §9.
const WRITE_STALL: Duration = Duration::from_secs(10);
/// How long answers are awaited on a bind that a status has shown to be unusable. Chosen: as long as
/// after the peer's unbind (smpp.md §3.1).
const FATAL_DRAIN: Duration = Duration::from_secs(2);
/// Timers wait while there is something to read (the answer may be in it), for so long.
const OVERDUE: Duration = Duration::from_secs(1);
/// One odd receipt in so long is logged; the others are counted.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Statuses that a connection remembers to have logged.
const LOGGED_MAX: usize = 64;
/// Longest sleep when nothing is planned.
const IDLE: Duration = Duration::from_secs(3600);
/// Octets of a carrier's id that are kept (vocabulary: `ProviderId`).
const ID_OCTETS_MAX: usize = 255;

/// How a connection ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) why: String,
    pub(super) failure: Failure,
    /// How long the bind stood; `None` if it was not made.
    pub(super) stood: Option<Duration>,
    /// The link is to end as well: stopped, or nobody is left to talk to.
    pub(super) leave: bool,
}

/// What a link lends its connection.
pub(super) struct Lent<'a> {
    pub(super) config: &'a Config,
    pub(super) clock: &'a Clock,
    pub(super) ledger: &'a mut Ledger,
    pub(super) meters: &'a mut Meters,
    pub(super) attempts: &'a mut mpsc::Receiver<Vec<Attempt>>,
    pub(super) receipts: &'a mpsc::Sender<ReceiptBatch>,
    /// The right to bind, given up once we are bound: a refusal is to be counted first.
    pub(super) turn: &'a mut Option<Turn>,
    pub(super) inbound: &'a mpsc::Sender<InboundBatch>,
}

/// A connection at work.
pub(super) struct Connection<'a> {
    lent: Lent<'a>,
    session: Session,
    wire: Wire,
    inbox: Inbox<ReceiptBatch>,
    from_handsets: Inbox<InboundBatch>,
    peer: String,
    pulse: Arc<Pulse>,
    bound_at: Option<Instant>,
    /// Counted among the account's binds.
    bound: Option<Bound>,
    /// Links that send: one that only receives outlasts them.
    senders: watch::Receiver<usize>,
    /// A status showed that the bind is unusable: which, and until when answers are awaited.
    fatal: Option<(CommandStatus, Instant)>,
    /// No more attempts are taken; until when answers are awaited.
    leave_by: Option<Instant>,
    /// Our unbind is on its way.
    unbinding: bool,
    /// Why it ended, where the session cannot know.
    broke: Option<String>,
    closed: Option<CloseReason>,
    /// When the session's timers last were held because we do not read.
    held_at: Option<Instant>,
    logged: Vec<u32>,
    logged_receipt: Option<Instant>,
}

/// The places in others' channels are used as they are given: one that is let go of passes to the next
/// link in line, and where more links wait than there are places, none would ever hold one.
enum Woke<'a> {
    Stop,
    Io(Io),
    Stored(bool),
    InboundStored(bool),
    Attempts(Option<Vec<Attempt>>),
    Told(Option<mpsc::OwnedPermit<LinkEvent>>),
    Receipts(Option<mpsc::Permit<'a, ReceiptBatch>>),
    Inbound(Option<mpsc::Permit<'a, InboundBatch>>),
    Senders,
    Timer,
}

impl<'a> Connection<'a> {
    pub(super) fn new(lent: Lent<'a>, session: Session, wire: Wire, peer: String) -> Self {
        let senders = lent.config.account.senders();
        let retry = lent.config.retry_status;
        Self {
            lent,
            session,
            wire,
            inbox: Inbox::new(retry),
            from_handsets: Inbox::new(retry),
            peer,
            pulse: Arc::default(),
            bound_at: None,
            bound: None,
            senders,
            fatal: None,
            leave_by: None,
            unbinding: false,
            broke: None,
            closed: None,
            held_at: None,
            logged: Vec::new(),
            logged_receipt: None,
        }
    }

    /// Runs until the session is over.
    pub(super) async fn run(mut self, stop: &mut Stop) -> Ended {
        let mut now = self.lent.clock.instant();
        let mut armed = now + IDLE;
        let mut sleep = std::pin::pin!(sleep_until(Wake::from_std(armed)));
        loop {
            let (told, handed_over) = self.turn(now);
            if self.closed.is_some() {
                return self.end().await;
            }
            // Resetting costs; a timer that fires early only makes one more turn.
            let wake = self.wake(now);
            if wake < armed || armed <= now {
                armed = wake;
                sleep.as_mut().reset(Wake::from_std(wake));
            }
            let takes = self.takes();
            let wants_room = !self.lent.ledger.waiting.is_empty();
            let stopping = self.leave_by.is_some();
            let outlasts = stopping && self.outlasts();
            let (receipts, inbound) = (self.lent.receipts, self.lent.inbound);
            let (session, wire) = (&mut self.session, &mut self.wire);
            let woke = tokio::select! {
                biased;
                () = stop.stopped(), if !stopping => Woke::Stop,
                io = poll_fn(|context| wire.poll(session, wants_room, now, context)) => Woke::Io(io),
                stored = self.inbox.settled() => Woke::Stored(stored),
                stored = self.from_handsets.settled() => Woke::InboundStored(stored),
                batch = self.lent.attempts.recv(), if takes => Woke::Attempts(batch),
                place = self.lent.ledger.room(), if told == Told::Full => Woke::Told(place),
                // An error means that the store's side is gone, which handing over shows.
                place = receipts.reserve(), if !handed_over.0 => Woke::Receipts(place.ok()),
                place = inbound.reserve(), if !handed_over.1 => Woke::Inbound(place.ok()),
                // The account lives as long as its config.
                _ = self.senders.changed(), if outlasts => Woke::Senders,
                () = sleep.as_mut() => Woke::Timer,
            };
            now = self.lent.clock.instant();
            self.woke(now, woke);
        }
    }

    fn woke(&mut self, now: Instant, woke: Woke<'_>) {
        match woke {
            Woke::Stop => {
                self.leave(now + self.lent.config.drain);
                self.lent.ledger.refuse_waiting(self.lent.clock.now());
            }
            Woke::Io(Io::Read) => {
                self.session.handle_read(now);
                self.timers(now, OVERDUE);
            }
            Woke::Io(Io::Eof) => self.session.handle_eof(now),
            Woke::Io(Io::Broken(error)) => self.break_off(now, error.to_string()),
            Woke::Stored(stored) => {
                let tally = &mut self.lent.meters.tally;
                self.inbox.answer(stored, &mut self.session, tally);
            }
            Woke::InboundStored(stored) => {
                let tally = &mut self.lent.meters.tally;
                self.from_handsets.answer(stored, &mut self.session, tally);
            }
            Woke::Attempts(Some(batch)) => self.lent.ledger.receive(batch),
            Woke::Attempts(None) => self.leave(now + self.lent.config.drain),
            Woke::Told(Some(place)) => self.lent.ledger.tell_in(place),
            Woke::Receipts(Some(place)) => self.inbox.put_in(place),
            Woke::Inbound(Some(place)) => self.from_handsets.put_in(place),
            // What is gone shows when the next one is handed over.
            Woke::Told(None) | Woke::Receipts(None) | Woke::Inbound(None) => {}
            Woke::Io(Io::Wrote | Io::Closed) | Woke::Senders => {}
            Woke::Timer => self.timers(now, Duration::ZERO),
        }
    }

    /// Works on all that is there. Says whether the dispatcher and the store took what is theirs:
    /// receipts, and handsets' messages.
    fn turn(&mut self, now: Instant) -> (Told, (bool, bool)) {
        let wall = self.lent.clock.now();
        self.events(now, wall);
        let tally = &mut self.lent.meters.tally;
        self.inbox.answer_settled(&mut self.session, tally);
        let receipts = self.lent.receipts;
        let handed_over = self.inbox.hand_over(receipts, &mut self.session, tally);
        self.from_handsets.answer_settled(&mut self.session, tally);
        let inbound = self.lent.inbound;
        let handed_over = (
            handed_over,
            self.from_handsets
                .hand_over(inbound, &mut self.session, tally),
        );
        self.submit(now, wall);
        let told = self.lent.ledger.tell();
        if told == Told::Gone {
            self.leave(now);
        }
        self.part(now);
        // What the session says to its own end is not left for a turn that does not come.
        self.events(now, wall);
        self.show(now, wall);
        self.lent.meters.results(&mut self.lent.ledger.results);
        self.lent.meters.flush();
        (told, handed_over)
    }

    fn events(&mut self, now: Instant, wall: UnixMs) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Answered(answer) => self.answered(now, wall, answer),
                Event::Delivered { reply, frame } => self.delivered(now, wall, reply, &frame),
                Event::LateAnswer(answer) => {
                    let (token, latency) = (answer.token, answer.latency);
                    let (mut outcome, _) = self.outcome(wall, answer);
                    let before = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
                    outcome.handed_at = UnixMs(wall.0.saturating_sub(before));
                    self.lent.meters.tally.late += 1;
                    self.lent.ledger.late(token, outcome);
                }
                Event::TimedOut { token } => {
                    self.lent
                        .ledger
                        .unknown(token, Reason::ProviderTimeout, wall);
                }
                Event::Lost { unknown, unsent } => {
                    for token in unknown {
                        self.lent
                            .ledger
                            .unknown(token, Reason::ProviderTimeout, wall);
                    }
                    for token in unsent {
                        self.lent.ledger.not_sent(token, wall);
                    }
                }
                Event::Bound { kind, .. } => self.bound(now, kind),
                Event::Odd(Odd::Quirks(_, quirks)) => {
                    self.lent.meters.quirks(quirks);
                }
                Event::Odd(odd) => {
                    self.lent.meters.quirk(odd.name());
                    if matches!(odd, Odd::BadBody(..)) {
                        self.unread(now);
                    }
                }
                Event::Alive { round_trip } => self.lent.meters.alive(round_trip),
                Event::Closed(reason) => self.closed = Some(reason),
                // Closed tells the first two; the last two are an SMSC's.
                Event::BindRefused { .. }
                | Event::PeerUnbind
                | Event::BindRequest(_)
                | Event::Submitted { .. } => {}
            }
        }
    }

    /// A request of the carrier's could not be read: somebody has to ask the carrier about it.
    fn unread(&mut self, now: Instant) {
        if !self.lent.config.account.logs_unread(now) {
            return;
        }
        let Some(unread) = self.session.take_unread() else {
            return;
        };
        let (route, peer, command) = (&self.lent.config.name, &self.peer, unread.command);
        let error = unread.error;
        tracing::warn!(
            route, %peer, %command, field = ?error.field, offset = error.at, what = ?error.kind,
            octets = %unread, "a PDU of the carrier cannot be read, and was refused"
        );
    }

    /// Shows that the peer is there, or how long it has not been heard.
    fn show(&self, now: Instant, wall: UnixMs) {
        let kept = self.session.keep_alive();
        let silent = now.saturating_duration_since(kept.heard_at).as_millis();
        let silent = u64::try_from(silent).unwrap_or(u64::MAX);
        self.pulse.set(Beat {
            heard_at: UnixMs(wall.0.saturating_sub(silent)),
            round_trip: kept.round_trip,
            misses: kept.misses,
        });
    }

    fn bound(&mut self, now: Instant, kind: BindKind) {
        let config = self.lent.config;
        let (carries, window) = match kind {
            BindKind::Transceiver => (Carries::Both, config.window),
            BindKind::Transmitter => (Carries::Attempts, config.window),
            BindKind::Receiver => (Carries::Receipts, 0),
        };
        self.bound_at = Some(now);
        self.bound = Some(config.account.bound(carries, config.receipts));
        *self.lent.turn = None;
        self.lent.meters.tally.binds += 1;
        self.lent.meters.state(LinkState::Bound);
        let (peer, pulse) = (self.peer.clone(), self.pulse.clone());
        self.lent.ledger.up(window, peer, carries, pulse);
    }

    /// Whether this bind only receives and others still send: it is the last to go.
    fn outlasts(&self) -> bool {
        let receives = |bound: &Bound| bound.carries() == Carries::Receipts;
        self.bound.as_ref().is_some_and(receives) && *self.senders.borrow() > 0
    }

    fn answered(&mut self, now: Instant, wall: UnixMs, answer: session::Answer) {
        self.lent.meters.tally.answers += 1;
        self.lent.meters.took(answer.latency);
        let (token, status) = (answer.token, answer.status);
        let ledger = &mut *self.lent.ledger;
        ledger.congestion = answer.congestion.or(ledger.congestion);
        let (outcome, fatal) = self.outcome(wall, answer);
        self.lent.ledger.answer(token, outcome);
        if fatal && self.fatal.is_none() {
            self.fatal = Some((status, now + FATAL_DRAIN));
        }
    }

    /// What an answer means, and whether the bind is unusable.
    fn outcome(&mut self, wall: UnixMs, answer: session::Answer) -> (Outcome, bool) {
        let id = &answer.message_id[..];
        let mut outcome = Outcome {
            result: OutcomeResult::Accepted,
            whose: Whose::Peer,
            code: answer.status.0,
            reason: None,
            retry: Retry::Never,
            provider_id: ProviderId::from(id.get(..ID_OCTETS_MAX).unwrap_or(id)),
            text: answer.info.as_deref().and_then(said),
            unregistered: UnixMs::ZERO,
            handed_at: wall,
            answered_at: wall,
        };
        if answer.status.is_ok() && !answer.nacked {
            return (outcome, false);
        }
        let answered = Answered {
            status: answer.status,
            nacked: answer.nacked,
            info: answer.info.as_deref().unwrap_or_default(),
        };
        let config = self.lent.config;
        let class = classify(answered, &config.statuses, config.interface_version);
        outcome.result = OutcomeResult::Refused;
        outcome.whose = class.whose;
        outcome.reason = Some(class.reason);
        outcome.retry = form::possible(class.retry, self.lent.ledger.message(answer.token));
        if class.alarm {
            self.lent.meters.tally.alarms += 1;
            self.alarm(answer.status, outcome.text.as_deref());
        }
        (outcome, class.fatal)
    }

    /// Once for each status: an operator has to look, and one line is enough for it.
    fn alarm(&mut self, status: CommandStatus, text: Option<&str>) {
        if self.logged.contains(&status.0) || self.logged.len() >= LOGGED_MAX {
            return;
        }
        self.logged.push(status.0);
        let route = self.lent.config.name.as_str();
        tracing::warn!(route, %status, text, "the carrier refuses submits: look at the route's settings");
    }

    fn delivered(&mut self, now: Instant, wall: UnixMs, reply: Reply, frame: &Frame) {
        self.lent.meters.tally.delivers += 1;
        let route = self.lent.config.name.as_str();
        let (read, quirks) = receipt::read(frame, self.lent.config, wall);
        self.lent.meters.quirks(quirks);
        let status = match read {
            Read::Receipt(receipt) => {
                self.lent.meters.tally.receipts += 1;
                self.inbox.take(reply).0.push(*receipt);
                return;
            }
            // Sent again it would read no better: it is kept, and acknowledged (smpp.md §4.2).
            Read::Unreadable(unreadable) => {
                self.lent.meters.tally.unreadable += 1;
                let due = self.logged_receipt.is_none_or(|at| at + LOG_EVERY <= now);
                if due {
                    self.logged_receipt = Some(now);
                    let text = &unreadable.text;
                    tracing::warn!(route, %text, "a receipt without an id or a known state");
                }
                self.inbox.take(reply).1.push(*unreadable);
                return;
            }
            Read::Inbound => match inbound::read(frame, self.lent.config, wall) {
                Some((part, quirks)) => {
                    self.lent.meters.quirks(quirks);
                    self.lent.meters.tally.inbound += 1;
                    self.from_handsets.take(reply).push(part);
                    return;
                }
                // The session has parsed it; what it cannot be read as now, it never will.
                None => CommandStatus::OK,
            },
        };
        self.lent.meters.tally.acks += 1;
        self.session.respond_deliver(reply, status);
    }

    /// Whether attempts go into the session.
    fn open(&self) -> bool {
        self.session.is_bound() && self.fatal.is_none()
    }

    /// Whether the channel is looked at: not while what was taken has no room, and not on the way
    /// out, where all that is left is handed back together.
    fn takes(&self) -> bool {
        let before = self.bound_at.is_none();
        self.leave_by.is_none() && self.lent.ledger.waiting.is_empty() && (before || self.open())
    }

    fn submit(&mut self, now: Instant, wall: UnixMs) {
        loop {
            if self.bound_at.is_none() {
                self.lent.ledger.refuse_waiting(wall);
            }
            while self.open() && self.submit_next(now, wall) {}
            if !self.takes() {
                return;
            }
            match self.lent.attempts.try_recv() {
                Ok(batch) => self.lent.ledger.receive(batch),
                // That it is closed is seen by the next `recv`.
                Err(_) => return,
            }
        }
    }

    /// Says whether the next one may be tried.
    fn submit_next(&mut self, now: Instant, wall: UnixMs) -> bool {
        let Some(attempt) = self.lent.ledger.hand_next(wall) else {
            return false;
        };
        let token = attempt.token;
        match submit(&mut self.session, self.lent.config, now, wall, attempt) {
            Ok(()) => {
                self.lent.meters.tally.submits += 1;
                true
            }
            Err(NotTaken::NoRoom | NotTaken::NotBound) => {
                self.lent.ledger.take_back(token);
                false
            }
            Err(NotTaken::Impossible(outcome)) => {
                self.lent.ledger.answer(token, *outcome);
                true
            }
        }
    }

    fn leave(&mut self, by: Instant) {
        let by = self.leave_by.map_or(by, |before| before.min(by));
        self.leave_by = Some(by);
    }

    /// Ends the session once there is nothing to wait for, or the time for it is over.
    fn part(&mut self, now: Instant) {
        let quiet = self.session.in_flight() == 0;
        if let Some((_, by)) = self.fatal
            && (quiet || by <= now)
        {
            self.session.close();
        }
        let Some(by) = self.leave_by.filter(|_| !self.unbinding) else {
            return;
        };
        let waits = !self.lent.ledger.waiting.is_empty()
            || !self.inbox.is_empty()
            || !self.from_handsets.is_empty()
            || self.outlasts();
        if (quiet && !waits) || by <= now || self.bound_at.is_none() {
            self.unbinding = true;
            self.session.unbind(now);
        }
    }

    fn break_off(&mut self, now: Instant, why: String) {
        self.broke = Some(why);
        self.session.handle_eof(now);
    }

    /// Whether the session's time passes. While we do not read, because the store takes nothing, it
    /// stands still: what is then not heard is not the peer's silence.
    fn timers_run(&self) -> bool {
        self.session.wants_read() || self.leave_by.is_some()
    }

    /// Does what is due for longer than `overdue`.
    fn timers(&mut self, now: Instant, overdue: Duration) {
        if self
            .wire
            .stalled()
            .is_some_and(|at| at + WRITE_STALL <= now)
        {
            return self.break_off(now, "the carrier takes nothing of what we write".into());
        }
        let since = |at: Instant| self.held_at.map_or(at, |held| held.max(at));
        let due = self.session.poll_timeout();
        if self.timers_run() && due.is_some_and(|at| since(at) + overdue <= now) {
            self.session.handle_timeout(now);
        }
    }

    /// When to wake up if nothing else happens.
    fn wake(&mut self, now: Instant) -> Instant {
        let runs = self.timers_run();
        if !runs {
            self.held_at = Some(now);
        }
        let times = [
            self.session.poll_timeout().filter(|_| runs),
            self.wire.stalled().map(|at| at + WRITE_STALL),
            // What is past has been acted on: the session closes as soon as its last octets leave.
            self.fatal.map(|(_, by)| by).filter(|by| *by > now),
            self.leave_by.filter(|_| !self.unbinding),
        ];
        times.into_iter().flatten().min().unwrap_or(now + IDLE)
    }

    async fn end(self) -> Ended {
        let now = self.lent.clock.instant();
        let reason = self.closed.unwrap_or(CloseReason::Eof);
        let stood = self.bound_at.map(|at| now.saturating_duration_since(at));
        let (failure, why) = match (self.broke, self.fatal) {
            (Some(why), _) => (Failure::Net, why),
            (None, Some((status, _))) => {
                let why = format!("the carrier answers submits with {status}");
                (Failure::of_status(status), why)
            }
            (None, None) => (Failure::of_close(reason), reason.to_string()),
        };
        // What once spoke SMPP is not a wrong port, nor a wrong kind of bind.
        let failure = match failure {
            Failure::Hopeless | Failure::Unsupported if stood.is_some() => Failure::Net,
            failure => failure,
        };
        self.wire.close().await;
        Ended {
            why: format!("{}: {why}", self.peer),
            failure,
            stood,
            leave: self.leave_by.is_some(),
        }
    }
}
