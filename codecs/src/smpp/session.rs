//! One bind, sans-IO: feed octets, calls and time; take octets, events and the next wake-up.
//!
//! The same type plays ESME and SMSC. The shell around it owns the socket and the clock:
//!
//! 1. `wants_read()`: read into `read_buffer()`, then `handle_read(now)`; at end of file
//!    `handle_eof(now)`.
//! 2. `poll_timeout()` due: `handle_timeout(now)`.
//! 3. After any input: `poll_event()` until `None`, then `poll_transmit(out)` and write `out`,
//!    then `poll_event()` and `poll_timeout()` once more, because a flush may close the session.
//!
//! What the peer asks about the link (enquire_link) is answered inside `handle_read`, before and
//! regardless of any window. Messages are answered only when the caller says so.
//!
//! Bounds: requests of ours by `window`; of the peer by `inbound_window`, its enquire_link by
//! `ENQUIRIES_HIGH`, events by `EVENTS_HIGH` and output by `OUTPUT_OCTETS_HIGH`: at any of them
//! `wants_read()` says no, and one read's worth is the most that can still be added.
//!
//! An idle session gives its buffers back: see `release`.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use self::budget::Budget;
use self::held::Held;
use self::state::State;
use self::timer::{Timer, Timers};
use self::window::Window;
use super::bind::{Bind, BindKind, BindResp};
use super::fields::EncodeError;
use super::frame::{CommandId, HEADER_OCTETS, UNBOUND_PDU_OCTETS_MAX};
use super::link::encode_bare;
use super::status::CommandStatus;

mod budget;
mod config;
mod event;
mod held;
mod read;
mod send;
mod state;
mod timer;
mod unread;
mod window;

pub use config::{Config, Esme, Role};
pub use event::{Answer, BindRequest, CloseReason, Event, Fault, MessageId, Odd, Reply};
pub use send::SubmitRefused;
pub use unread::Unread;
pub use window::WINDOW_MAX;

/// Events waiting at which reading stops. Chosen: two reads of the smallest messages.
pub const EVENTS_HIGH: usize = 4_096;

/// Octets waiting to be written at which reading and sending stop. smpp.md §9: 1 MiB.
pub const OUTPUT_OCTETS_HIGH: usize = 1 << 20;

/// Most room offered to one read. Chosen: hundreds of PDUs, and a busy bind stays under 64 KiB.
pub const READ_OCTETS: usize = 32 * 1024;

/// Room offered to the first read, and after idleness; it doubles whenever a read fills it. Chosen:
/// what a quiet bind needs, one long message.
const READ_OCTETS_FIRST: usize = 4 * 1024;

/// The part of that room below which the read buffer is renewed.
const READ_ROOM_PART: usize = 8;

/// enquire_link that may go unanswered in a row. smpp.md §3.1.
const ENQUIRE_LINK_MISSES_MAX: u32 = 2;

/// enquire_link of the peer that wait for their answers at which reading stops: whoever sends more
/// than are answered is slowed down by TCP. Chosen: ten seconds of answers.
const ENQUIRIES_HIGH: usize = 100;

/// Lowest version whose SMSC tells its own: sc_interface_version is a TLV, new in 3.4.
const TLV_VERSION_MIN: u8 = 0x34;

/// An enquire_link of ours.
#[derive(Clone, Copy, Debug)]
struct Enquiry {
    /// 0 once it is answered: no request of ours has it.
    sequence: u32,
    at: Instant,
}

/// How the peer shows that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// When it was heard last: any octet counts.
    pub heard_at: Instant,
    /// How long the answer to our last answered enquire_link took; `None`: none has been answered yet.
    pub round_trip: Option<Duration>,
    /// enquire_link sent since it was heard last.
    pub misses: u32,
}

/// One SMPP session.
#[derive(Debug)]
pub struct Session {
    config: Config,
    state: State,
    input: BytesMut,
    output: BytesMut,
    /// Counts calls of `poll_transmit` that gave something.
    write: u64,
    events: VecDeque<Event>,
    window: Window,
    timers: Timers,
    /// Requests of the peer that the caller has not answered.
    unanswered: usize,
    /// SMSC: which those are.
    held: Held,
    /// sequence_numbers of the peer's enquire_link that wait for their answers, oldest first.
    enquiries: VecDeque<u32>,
    /// sequence_number of our bind, or of the peer's while the caller decides.
    bind_sequence: u32,
    /// interface_version that the peer bound with.
    peer_version: u8,
    unbind_sequence: u32,
    /// Our last two enquire_link without an answer, the newest first.
    enquiries_out: [Enquiry; 2],
    enquire_misses: u32,
    /// When the peer was heard last: any octet counts.
    heard_at: Instant,
    /// How long the answer to our last answered enquire_link took.
    round_trip: Option<Duration>,
    /// The first request that could not be read since it was asked for.
    unread: Option<Box<Unread>>,
    idle_after: Duration,
    /// A PDU has begun and is not complete.
    partial: bool,
    /// Octets that the begun PDU will have.
    need: usize,
    /// Room offered to the next read.
    read_octets: usize,
    seed: u64,
    budget: Budget,
}

impl Session {
    /// Starts a session. An ESME's bind is queued at once.
    ///
    /// # Errors
    /// Fails when the bind cannot be put on the wire: a name or password is too long.
    pub fn new(config: Config, now: Instant) -> Result<Self, EncodeError> {
        let mut session = Self {
            state: State::Open,
            input: BytesMut::new(),
            output: BytesMut::new(),
            write: 0,
            events: VecDeque::new(),
            window: Window::new(config.window, now),
            timers: Timers::default(),
            unanswered: 0,
            held: Held::default(),
            enquiries: VecDeque::new(),
            bind_sequence: 0,
            peer_version: 0,
            unbind_sequence: 0,
            enquiries_out: [Enquiry {
                sequence: 0,
                at: now,
            }; 2],
            enquire_misses: 0,
            heard_at: now,
            round_trip: None,
            unread: None,
            idle_after: config.enquire_link,
            partial: false,
            need: 0,
            read_octets: READ_OCTETS_FIRST,
            seed: config.seed | 1,
            budget: Budget::new(now),
            config,
        };
        session
            .timers
            .set(Timer::Bind, now + session.config.bind_timeout);
        if let Role::Esme(esme) = &session.config.role {
            session.bind_sequence = session.window.sequence();
            let bind = Bind {
                system_id: &esme.system_id,
                password: &esme.password,
                system_type: &esme.system_type,
                interface_version: esme.interface_version,
                addr_ton: esme.addr_ton,
                addr_npi: esme.addr_npi,
                address_range: &esme.address_range,
            };
            let limits = &session.config.limits;
            bind.encode(
                esme.kind,
                session.bind_sequence,
                limits,
                &mut session.output,
            )?;
            session.state = State::Binding(esme.kind);
        }
        Ok(session)
    }

    /// Says whether `handle_read` may be called: the peer is being read and every queue has room.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        self.state.reads()
            && self.events.len() < EVENTS_HIGH
            && self.output.len() < OUTPUT_OCTETS_HIGH
            && self.unanswered < self.config.inbound_window
            && self.enquiries.len() < ENQUIRIES_HIGH
    }

    /// The buffer to read into, with room for the next read. Only append to it.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        let missing = self.need.saturating_sub(self.input.len());
        let room_min = self.read_octets / READ_ROOM_PART;
        if self.input.capacity() - self.input.len() < missing.max(room_min) {
            self.input.reserve(missing.max(self.read_octets));
        }
        &mut self.input
    }

    /// Takes octets that were read elsewhere.
    pub fn handle_bytes(&mut self, now: Instant, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        self.handle_read(now);
    }

    /// Tells that the transport has nothing more to read.
    pub fn handle_eof(&mut self, _now: Instant) {
        let reason = match self.state {
            State::Closed => return,
            State::Unbinding(_) => CloseReason::Unbound,
            State::Parting => CloseReason::PeerUnbound,
            State::Closing(reason) => reason,
            State::Open | State::Binding(_) | State::Bound(_) => CloseReason::Eof,
        };
        self.finish(reason);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Bind => self.begin_close(CloseReason::BindTimeout),
                Timer::Inactive => self.begin_close(CloseReason::Inactive),
                Timer::Partial => self.begin_close(CloseReason::PartialPdu),
                Timer::Idle => {
                    self.release(now);
                    self.enquire(now);
                }
                Timer::Enquiry => self.answer_enquiries(now),
                Timer::Unbind if self.state == State::Parting => {
                    self.begin_close(CloseReason::PeerUnbound);
                }
                Timer::Unbind => self.begin_close(CloseReason::UnbindTimeout),
            }
        }
        if self.stalled_at().is_some_and(|at| at <= now) {
            self.enquire(now);
        }
        while self
            .window
            .oldest_sent()
            .is_some_and(|sent| sent + self.config.response_timeout <= now)
        {
            let Some(waiting) = self.window.pop_oldest() else {
                break;
            };
            self.events.push_back(Event::TimedOut {
                token: waiting.token,
            });
            self.window.remember(now, waiting);
        }
        self.part_if_done();
    }

    /// When `handle_timeout` is to be called, if nothing else happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Closed {
            return None;
        }
        let answer = self
            .window
            .oldest_sent()
            .map(|sent| sent + self.config.response_timeout);
        let times = [self.timers.next(), answer, self.stalled_at()];
        times.into_iter().flatten().min()
    }

    /// When a link that is busy counts as stalled; `None` while nothing waits for an answer, and while
    /// an enquire_link does.
    fn stalled_at(&self) -> Option<Instant> {
        if self.enquire_misses > 0 || self.state.bound().is_none() {
            return None;
        }
        let sent = self.window.oldest_sent()?;
        Some(sent.max(self.heard_at) + self.config.stall)
    }

    /// How the peer shows that it is there.
    #[must_use]
    pub fn keep_alive(&self) -> KeepAlive {
        KeepAlive {
            heard_at: self.heard_at,
            round_trip: self.round_trip,
            misses: self.enquire_misses,
        }
    }

    /// Appends to `out` all that waits to be written; says whether there was anything.
    pub fn poll_transmit(&mut self, out: &mut BytesMut) -> bool {
        if self.output.is_empty() {
            return false;
        }
        if out.is_empty() {
            mem::swap(out, &mut self.output);
        } else {
            out.extend_from_slice(&self.output);
        }
        self.output.clear();
        self.write += 1;
        if let State::Closing(reason) = self.state {
            self.finish(reason);
        }
        true
    }

    /// The next event, in the order things happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The first request since the last call whose body could not be read ([`Odd::BadBody`]).
    pub fn take_unread(&mut self) -> Option<Box<Unread>> {
        self.unread.take()
    }

    /// How many more requests may be sent now; 0 unless bound.
    #[must_use]
    pub fn window_free(&self) -> usize {
        if self.state.bound().is_some() {
            self.window.free()
        } else {
            0
        }
    }

    /// Requests of ours without an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.window.in_flight()
    }

    /// Requests of the peer that the caller has not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Octets that `poll_transmit` would give: a caller that answers many requests may write in
    /// between.
    #[must_use]
    pub fn output_octets(&self) -> usize {
        self.output.len()
    }

    /// Changes the window, at most to the size that the configuration gave.
    pub fn set_window(&mut self, window: usize) {
        self.window.resize(window.min(self.config.window));
    }

    /// Says whether messages may flow.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.state.bound().is_some()
    }

    /// Says whether the session is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// SMSC: decides about the bind that `BindRequest` told of. A refusal closes the session.
    ///
    /// # Errors
    /// Fails when our own system_id is too long.
    pub fn respond_bind(&mut self, now: Instant, status: CommandStatus) -> Result<(), EncodeError> {
        let (State::Binding(kind), Role::Smsc { system_id }) = (self.state, &self.config.role)
        else {
            return Ok(());
        };
        let knows_tlvs = self.peer_version >= TLV_VERSION_MIN;
        let resp = BindResp {
            system_id,
            sc_interface_version: knows_tlvs.then_some(self.peer_version),
        };
        let limits = &self.config.limits;
        resp.encode(kind, status, self.bind_sequence, limits, &mut self.output)?;
        if status.is_ok() {
            self.become_bound(now, kind, MessageId::new(), None);
        } else {
            self.begin_close(CloseReason::RefusedByUs(status));
        }
        Ok(())
    }

    /// Ends the bind politely: what is in flight may still be answered before unbind_resp.
    pub fn unbind(&mut self, now: Instant) {
        let State::Bound(kind) = self.state else {
            if !self.state.was_bound() {
                self.close();
            }
            return;
        };
        self.state = State::Unbinding(kind);
        self.unbind_sequence = self.window.sequence();
        encode_bare(
            CommandId::UNBIND,
            CommandStatus::OK,
            self.unbind_sequence,
            &mut self.output,
        );
        self.timers.stop(Timer::Idle);
        self.timers
            .set(Timer::Unbind, now + self.config.unbind_timeout);
    }

    /// Ends the session without unbind, after what is queued has been taken.
    pub fn close(&mut self) {
        if self.state.reads() {
            self.begin_close(CloseReason::ClosedByUs);
        }
    }

    fn become_bound(
        &mut self,
        now: Instant,
        kind: BindKind,
        system_id: MessageId,
        interface_version: Option<u8>,
    ) {
        self.state = State::Bound(kind);
        self.timers.stop(Timer::Bind);
        self.idle_after = self.jittered(self.config.enquire_link);
        self.heard(now);
        self.events.push_back(Event::Bound {
            kind,
            system_id,
            interface_version,
        });
    }

    /// Any octet shows that the peer lives.
    fn heard(&mut self, now: Instant) {
        self.enquire_misses = 0;
        self.heard_at = now;
        if matches!(self.state, State::Bound(_)) {
            self.timers.set(Timer::Idle, now + self.idle_after);
        }
        if let Some(inactivity) = self.config.inactivity {
            self.timers.set(Timer::Inactive, now + inactivity);
        }
    }

    /// Gives memory back: nothing was heard for as long as an enquire_link takes to be due.
    fn release(&mut self, now: Instant) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.read_octets = READ_OCTETS_FIRST;
        }
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
        self.events.shrink_to_fit();
        self.enquiries.shrink_to_fit();
        self.held.release();
        self.window.release(now);
    }

    /// Octets on the heap that the session holds: its buffers and tables, full or not.
    #[must_use]
    pub fn heap_octets(&self) -> usize {
        self.input.capacity()
            + self.output.capacity()
            + self.events.capacity() * size_of::<Event>()
            + self.enquiries.capacity() * size_of::<u32>()
            + self.held.heap_octets()
            + self.window.heap_octets()
    }

    fn enquire(&mut self, now: Instant) {
        if self.enquire_misses >= ENQUIRE_LINK_MISSES_MAX {
            self.begin_close(CloseReason::EnquireLinkUnanswered);
            return;
        }
        self.enquire_misses += 1;
        let sequence = self.window.sequence();
        let enquiry = Enquiry { sequence, at: now };
        self.enquiries_out = [enquiry, self.enquiries_out[0]];
        encode_bare(
            CommandId::ENQUIRE_LINK,
            CommandStatus::OK,
            sequence,
            &mut self.output,
        );
        let mut patience = self.config.enquire_link_timeout;
        if self.window.in_flight() > 0 {
            patience = patience.min(self.config.stall_timeout);
        }
        self.timers.set(Timer::Idle, now + patience);
        self.idle_after = self.jittered(self.config.enquire_link);
    }

    /// Moves a time by up to 10 % either way, so that many binds do not enquire at once.
    fn jittered(&mut self, time: Duration) -> Duration {
        // xorshift64: good enough to spread timers, and repeatable from the seed.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let thousandths = u32::try_from(self.seed % 201).unwrap_or(100) + 900;
        time * thousandths / 1_000
    }

    fn pdu_octets_max(&self) -> usize {
        if self.state.was_bound() {
            self.config.pdu_octets_max.max(HEADER_OCTETS)
        } else {
            UNBOUND_PDU_OCTETS_MAX
        }
    }

    /// Ends a parted session once nothing is awaited.
    fn part_if_done(&mut self) {
        if self.state == State::Parting && self.window.in_flight() == 0 {
            self.begin_close(CloseReason::PeerUnbound);
        }
    }

    fn begin_close(&mut self, reason: CloseReason) {
        if !self.state.reads() {
            return;
        }
        self.timers.stop_all();
        self.state = State::Closing(reason);
        if self.output.is_empty() {
            self.finish(reason);
        }
    }

    fn finish(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.timers.stop_all();
        let mut unknown = Vec::new();
        let mut unsent = Vec::new();
        while let Some(waiting) = self.window.pop_oldest() {
            let left = waiting.write < self.write;
            if left { &mut unknown } else { &mut unsent }.push(waiting.token);
        }
        if !unknown.is_empty() || !unsent.is_empty() {
            self.events.push_back(Event::Lost { unknown, unsent });
        }
        self.output.clear();
        self.events.push_back(Event::Closed(reason));
    }
}
