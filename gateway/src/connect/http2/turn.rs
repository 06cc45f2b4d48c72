//! A connection's turn: all that is there in one go; h2, answers, timers, requests, the goodbye.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant as Wake;

use super::fate::{self, Answered, Fate, Unknown, Unsent};
use super::frames::GoAway;
use super::meters::Happened;
use super::ready::{CONNECTION, PONG, READ, SLOTS, TIMER, WRITE};
use super::slots::{Awaits, Out};
use super::{
    Config, Connection, HAND_OVER, Handed, IDLE, LINGER, REQUESTS_MAX, Replace, SICK_GRACE,
};
use crate::clock::UnixMs;

impl Connection {
    /// Does what there is to do, and rests.
    pub(super) fn poll(&mut self, context: &Context<'_>) {
        self.ready.works();
        self.work();
        self.ready.rests(context);
    }

    /// One turn.
    fn work(&mut self) {
        if let Some(why) = &self.closed {
            self.news.closed = Some(why.clone());
            return;
        }
        let now = self.clock.instant();
        let wall = self.clock.now();
        self.collect();
        self.write_on();
        if self.due.read || self.due.h2 {
            self.drive(true);
            self.observe(now);
            self.collect();
        }
        self.answers(now, wall);
        self.pong(now);
        self.timers(now);
        self.hand_over(now, wall);
        self.parts(now);
        self.collect();
        if self.due.h2 {
            self.drive(false);
        }
        self.write();
        if self.closed.is_some() {
            self.end();
        }
        self.rest(now);
        let in_flight = self.in_flight();
        self.meters.flush(self.limit(), in_flight);
    }

    /// Writes what was gathered.
    fn write(&mut self) {
        let Err(error) = self.wire.lock().drain() else {
            return;
        };
        // What the peer has said before is read; then h2 finds the end.
        self.due.read = true;
        self.broke(error.to_string());
    }

    /// Writes on where the peer took no more.
    fn write_on(&mut self) {
        let blocked = self.wire.lock().is_blocked();
        if blocked {
            self.write();
        }
    }

    /// Looks at what is marked.
    fn collect(&mut self) {
        let taken = self.ready.take();
        for part in &taken {
            match *part {
                CONNECTION => self.due.h2 = true,
                // Where the peer took nothing, h2 may have stopped in the middle.
                READ | WRITE => self.due.read = true,
                PONG => self.due.pong = true,
                TIMER => {}
                slot => self.due.slots.push(slot - SLOTS),
            }
        }
        self.ready.give_back(taken);
    }

    /// Polls h2. Without `reads` it only writes what was handed to it.
    fn drive(&mut self, reads: bool) {
        self.due.h2 = false;
        match reads {
            true => self.due.read = false,
            false => self.wire.lock().shut_gate(),
        }
        if let Some(h2) = self.h2.as_mut().filter(|_| self.closed.is_none()) {
            let mut context = Context::from_waker(self.ready.waker(CONNECTION));
            if let Poll::Ready(end) = Pin::new(h2).poll(&mut context) {
                let wire = self.wire.lock();
                let why = match (&self.goaway, wire.end(), end) {
                    (Some(goaway), ..) => format!("GOAWAY {}", goaway.code_name()),
                    (None, Some(end), _) => end.to_owned(),
                    (None, None, Err(error)) => error.to_string(),
                    (None, None, Ok(())) => "closed".to_owned(),
                };
                self.closed = Some(self.fenced.clone().unwrap_or(why));
            }
        }
        if !reads && self.wire.lock().open_gate() {
            self.due.read = true;
        }
    }

    /// Looks at what came: GOAWAY, the limit.
    fn observe(&mut self, now: Instant) {
        let (heard, goaway) = {
            let mut wire = self.wire.lock();
            (wire.take_heard(), wire.came().goaway.take())
        };
        if heard {
            self.heard_at = now;
            self.owed_since = (self.slots.len() > 0).then_some(now);
        }
        if let Some(goaway) = goaway {
            self.went_away(goaway);
        }
        let Some(sender) = &mut self.sender else {
            return;
        };
        let mut context = Context::from_waker(self.ready.waker(CONNECTION));
        let broken = match sender.poll_ready(&mut context) {
            Poll::Ready(Err(error)) => Some(error.to_string()),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        };
        let streams = sender.current_max_send_streams();
        let streams = streams.min(self.config.max_streams);
        if streams != self.streams {
            self.streams = streams;
            self.news.limit_changed = true;
        }
        if let Some(why) = broken {
            self.broke(why);
        }
    }

    /// The connection cannot go on, though it is not over yet.
    fn broke(&mut self, why: String) {
        if self.drains() {
            return;
        }
        self.meters.happened(Happened::Io);
        self.drain(why);
    }

    fn went_away(&mut self, goaway: GoAway) {
        let reason = (self.config.goaway_reason)(&goaway.debug_data);
        let reason = reason.unwrap_or_else(|| goaway.code_name());
        if self.goaway.is_none() {
            self.meters.happened(Happened::GoAway);
            self.meters.went_away(reason);
            tracing::info!(
                peer = self.peer,
                code = goaway.code_name(),
                last_stream = goaway.last_stream,
                out = self.slots.len(),
                text = %goaway.debug_data.escape_ascii(),
                "the push service ends the connection"
            );
        }
        if !self.drains() {
            self.drain(format!("GOAWAY {reason}"));
        }
        self.news.replace = Some(Replace::GoAway(goaway.clone()));
        self.goaway = Some(goaway);
    }

    /// Whether nothing new is sent.
    pub(super) fn drains(&self) -> bool {
        self.fenced.is_some() || self.closed.is_some()
    }

    /// Sends nothing new from here on.
    pub(super) fn drain(&mut self, why: String) {
        self.news.limit_changed |= self.streams != 0;
        self.fenced = Some(why);
        self.unsent(&Unsent::Draining);
    }

    /// Gives back what waits.
    fn unsent(&mut self, why: &Unsent) {
        while let Some(handed) = self.queue.pop_front() {
            self.ends(handed.token, Fate::Unsent(why.clone()));
        }
    }

    pub(super) fn ends(&mut self, token: u64, fate: Fate) {
        self.meters.ended(&fate);
        self.news.fates.push((token, fate));
    }

    /// Polls the answers that are marked.
    fn answers(&mut self, now: Instant, wall: UnixMs) {
        let mut marked = std::mem::take(&mut self.due.slots);
        for slot in marked.drain(..) {
            self.answer(slot, now, wall);
        }
        self.due.slots = marked;
    }

    /// Takes what has come of an answer.
    fn answer(&mut self, slot: usize, now: Instant, wall: UnixMs) {
        let mut context = Context::from_waker(self.ready.waker(slot + SLOTS));
        let Some(out) = self.slots.get_mut(slot) else {
            return;
        };
        match poll_answer(out, &self.config, now, wall, &mut context) {
            Poll::Pending => {}
            Poll::Ready(Ok(complete)) => self.settle(slot, complete, Unknown::Broken),
            Poll::Ready(Err(error)) => {
                let (token, stream) = (out.token, out.stream);
                self.slots.remove(slot);
                let opened = self.wire.lock().opened();
                let fate = fate::of_error(&error, stream, opened, self.goaway.as_ref());
                self.ends(token, fate);
            }
        }
    }

    /// Takes an answer as it stands: with a status it is one, else `why` it is not. A stream that has
    /// not ended is cancelled when its slot is dropped.
    fn settle(&mut self, slot: usize, complete: bool, why: Unknown) {
        let Some(mut out) = self.slots.remove(slot) else {
            return;
        };
        // h2 would keep an answered request until its body has left, and its stream with it.
        if complete && !self.wire.lock().is_ended(out.stream) {
            out.body.send_reset(h2::Reason::CANCEL);
        }
        let fate = match out.awaits {
            Awaits::Body {
                mut answered, body, ..
            } => {
                answered.body = body.freeze();
                answered.complete = complete;
                Fate::Answered(answered)
            }
            Awaits::Head(_) => Fate::Unknown(why),
        };
        self.ends(out.token, fate);
    }

    fn pong(&mut self, now: Instant) {
        if !self.due.pong {
            return;
        }
        self.due.pong = false;
        let mut context = Context::from_waker(self.ready.waker(PONG));
        if let Some(round_trip) = self.pings.poll(now, &mut context) {
            self.meters.ponged(round_trip);
        }
    }

    /// Does what is due.
    fn timers(&mut self, now: Instant) {
        let sick = self.sick_by.is_some_and(|by| by <= now);
        while let Some((slot, out)) = self.slots.oldest() {
            let late = out.handed + self.config.request_timeout <= now;
            if !late && !sick {
                break;
            }
            let why = match late {
                true => Unknown::Deadline,
                false => Unknown::Fenced,
            };
            self.settle(slot, false, why);
        }
        while let Some(handed) = self.queue.front() {
            if handed.at + self.config.request_timeout > now {
                break;
            }
            let token = handed.token;
            self.queue.pop_front();
            self.ends(token, Fate::Unsent(Unsent::Stalled));
        }
        if self.pings.due(now, self.asks_at()) {
            let mut context = Context::from_waker(self.ready.waker(PONG));
            self.pings.send(now, &mut context);
        }
        if self.sick_by.is_none() && self.pings.is_overdue(now, self.config.ping_timeout) {
            self.sick_by = Some(now + SICK_GRACE);
            self.fence("the peer does not answer PING");
        }
        if self.rotate_at <= now {
            self.rotate(Replace::Age);
        }
    }

    /// When the peer is to be asked, if it is not heard before.
    fn asks_at(&self) -> Instant {
        let silent = self.heard_at.max(self.pings.sent_last());
        let idle = silent + self.config.ping_idle;
        match self.owed_since {
            Some(since) => idle.min(silent.max(since) + self.config.ping_busy),
            None => idle,
        }
    }

    /// Says once that it has served.
    fn rotate(&mut self, why: Replace) {
        if self.rotates || self.drains() {
            return;
        }
        self.rotates = true;
        self.meters.happened(Happened::Age);
        self.news.replace = Some(why);
    }

    /// Gives what was handed over to h2, as far as the peer takes it.
    fn hand_over(&mut self, now: Instant, wall: UnixMs) {
        let mut entered = 0;
        while !self.queue.is_empty() {
            let (waits, full) = {
                let wire = self.wire.lock();
                // Bodies that the peer's window does not take come first: their streams are open.
                let waits = wire.is_blocked() || wire.has_unended() || wire.end().is_some();
                (waits, wire.is_full())
            };
            if waits || self.closed.is_some() {
                break;
            }
            if full {
                self.write();
                continue;
            }
            if self.slots.len() >= self.streams {
                self.unsent(&Unsent::Shrunk);
                break;
            }
            if !self.h2_opens() {
                break;
            }
            let Some(handed) = self.queue.pop_front() else {
                break;
            };
            self.enter(handed, now, wall);
            entered += 1;
            if entered % HAND_OVER == 0 {
                self.drive(false);
            }
        }
        if entered > 0 {
            self.drive(false);
            self.collect();
            // The wake-ups of what was just done.
            self.due.h2 = false;
        }
        if self.requests >= self.config.max_requests {
            self.rotate(Replace::Requests);
        }
        if self.requests >= REQUESTS_MAX && !self.drains() {
            self.drain("its stream ids are used up".to_owned());
        }
    }

    /// Whether h2 opens a stream at once: not while an earlier one waits in it for another to be cancelled.
    /// It would refuse the next one, though nothing is wrong with it.
    fn h2_opens(&mut self) -> bool {
        let mut context = Context::from_waker(self.ready.waker(CONNECTION));
        let sender = self.sender.as_mut();
        sender.is_none_or(|sender| sender.poll_ready(&mut context).is_ready())
    }

    fn enter(&mut self, handed: Handed, now: Instant, wall: UnixMs) {
        let Handed {
            token,
            request,
            body,
            at,
        } = handed;
        let Some(sender) = &mut self.sender else {
            return self.ends(token, Fate::Unsent(Unsent::Draining));
        };
        let (response, mut stream) = match sender.send_request(request, body.is_empty()) {
            Ok(opened) => opened,
            Err(error) => {
                let mistake = !error.is_go_away() && !error.is_io() && self.requests < REQUESTS_MAX;
                let why = match mistake {
                    true => Unsent::Invalid(error.to_string()),
                    false => Unsent::Draining,
                };
                self.ends(token, Fate::Unsent(why));
                if !mistake {
                    self.broke(error.to_string());
                }
                return;
            }
        };
        self.requests += 1;
        self.owed_since.get_or_insert(now);
        if !body.is_empty()
            && let Err(error) = stream.send_data(body, true)
        {
            // A stream just opened takes its body; were it not so, the head may leave.
            tracing::error!(peer = self.peer, %error, "a request's body was not taken");
        }
        let slot = self.slots.insert(Out {
            token,
            stream: response.stream_id().into(),
            handed: at,
            awaits: Awaits::Head(response),
            body: stream,
        });
        // Its waker is known to h2 once it has been polled.
        self.answer(slot, now, wall);
    }

    /// Says goodbye when it drains and nothing is out.
    fn parts(&mut self, now: Instant) {
        if self.fenced.is_none() || self.in_flight() > 0 || self.closed.is_some() {
            return;
        }
        if self.close_by.is_none() {
            self.close_by = Some(now + LINGER);
            // h2 closes when nobody can open streams any more.
            self.sender = None;
            self.due.h2 = true;
        }
        if self.close_by.is_some_and(|by| by <= now) {
            self.closed = self.fenced.clone();
        }
    }

    /// Ends: everything has a fate.
    fn end(&mut self) {
        self.sender = None;
        self.wire.lock().kill();
        // What h2 still has of answers it tells; the rest are errors now.
        self.h2 = None;
        let (now, wall) = (self.clock.instant(), self.clock.now());
        while let Some((slot, _)) = self.slots.oldest() {
            self.answer(slot, now, wall);
            self.settle(slot, false, Unknown::Broken);
        }
        self.unsent(&Unsent::NotWritten);
        if self.fenced.is_none() {
            self.meters.happened(Happened::Io);
        }
        self.news.limit_changed |= self.fenced.is_none() && self.streams != 0;
        self.news.closed = self.closed.clone();
    }

    /// Sees to it that it is woken.
    fn rest(&mut self, now: Instant) {
        if self.closed.is_some() {
            return;
        }
        let wake = self.wakes_at();
        // Resetting costs; a timer that fires early only makes one more turn.
        if wake < self.armed || self.armed <= now {
            self.armed = wake.max(now);
            self.sleep.as_mut().reset(Wake::from_std(self.armed));
        }
        let mut context = Context::from_waker(self.ready.waker(TIMER));
        let fired = self.sleep.as_mut().poll(&mut context).is_ready();
        let due = &self.due;
        if fired || due.read || due.h2 || due.pong || !due.slots.is_empty() {
            self.ready.mark(TIMER);
        }
    }

    fn wakes_at(&self) -> Instant {
        let timeout = self.config.request_timeout;
        let ping = match self.pings.awaited() {
            Some(sent) => Some(sent + self.config.ping_timeout).filter(|_| self.sick_by.is_none()),
            None => Some(self.asks_at()),
        };
        let times = [
            self.slots.oldest().map(|(_, out)| out.handed + timeout),
            self.queue.front().map(|handed| handed.at + timeout),
            ping,
            Some(self.rotate_at).filter(|_| !self.rotates && !self.drains()),
            self.sick_by.filter(|_| self.slots.len() > 0),
            self.close_by,
        ];
        let first = times.into_iter().flatten().min();
        first.unwrap_or_else(|| self.heard_at + IDLE)
    }
}

/// Polls for an answer, and says whether all of it is there. An error comes before any status.
fn poll_answer(
    out: &mut Out,
    config: &Config,
    now: Instant,
    wall: UnixMs,
    context: &mut Context<'_>,
) -> Poll<Result<bool, h2::Error>> {
    if let Awaits::Head(response) = &mut out.awaits {
        let Poll::Ready(response) = Pin::new(response).poll(context)? else {
            return Poll::Pending;
        };
        let (mut head, stream) = response.into_parts();
        let answered = Box::new(Answered {
            status: head.status,
            headers: Answered::pick(&config.headers, &mut head.headers),
            body: Bytes::new(),
            complete: false,
            at: wall,
            latency: now.saturating_duration_since(out.handed),
        });
        let body = BytesMut::new();
        out.awaits = Awaits::Body {
            answered,
            body,
            stream,
        };
    }
    let Awaits::Body { body, stream, .. } = &mut out.awaits else {
        return Poll::Pending;
    };
    while !stream.is_end_stream() {
        match stream.poll_data(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => break,
            Poll::Ready(Some(Err(_))) => return Poll::Ready(Ok(false)),
            Poll::Ready(Some(Ok(octets))) => {
                let room = config.body_octets_max.saturating_sub(body.len());
                body.extend_from_slice(octets.get(..room).unwrap_or(&octets));
                // Fails only for what was not received.
                drop(stream.flow_control().release_capacity(octets.len()));
                if octets.len() > room {
                    return Poll::Ready(Ok(false));
                }
            }
        }
    }
    Poll::Ready(Ok(true))
}
