//! Fates: what became of each request, and what that means beside for its connection, its route, and as whom
//! we send.

use std::time::Instant;

use codecs::verdict::Class;

use super::connections::Held;
use super::doubts::{self, Doubt, Follows};
use super::guard;
use super::service::Read;
use super::verdict::Beside;
use super::{Link, Out};
use crate::clock::UnixMs;
use crate::connect::http2::{Fate, Unknown, Unsent};
use crate::connect::ledger::ours;
use crate::link::{LinkEvent, Refuses};
use crate::outcome::{OutcomeResult, Reason, Retry, Whose};

impl Link {
    /// What became of one request.
    pub(super) fn fate(&mut self, at: usize, token: u64, fate: Fate) {
        let Some(out) = self.out.remove(&token) else {
            return;
        };
        let now = self.clock.now();
        match fate {
            Fate::Answered(answered) => {
                let instant = self.clock.instant();
                if let Some(held) = self.connections.at(at) {
                    held.answered(instant);
                }
                let mut read = self.config.service.read(&out.attempt, &answered);
                let app = out.attempt.message.device(out.attempt.part);
                let app = app.map_or("", |device| &*device.app);
                let whose = guard::whose(out.attempt.message.tenant, app);
                let mut guard = self.config.guard.lock();
                let trusted = guard.saw(instant, whose, read.bad_token);
                drop(guard);
                if read.bad_token && !trusted {
                    self.meters.distrusted(instant, app, read.label);
                    read.outcome.unregistered = UnixMs::ZERO;
                }
                self.meters.answered(&read, answered.latency);
                self.credential.saw_date(instant, &answered);
                let sent = instant.checked_sub(answered.latency).unwrap_or(instant);
                self.beside(at, &read, &out, sent);
                // It waits for the next token, however long that takes …
                let outdated = self.credential.is_outdated() && read.beside == Beside::Expired;
                // … or for somebody to look.
                let lost = self.credential.stopped().is_some() && read.class == Class::NotFound;
                if outdated || lost {
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

    fn stream_refused(&mut self, at: usize) {
        let now = self.clock.instant();
        if self.paused_until.is_some_and(|until| until > now) {
            return;
        }
        let pause = self.connections.at(at).and_then(Held::stream_refused);
        self.paused_until = pause.map_or(self.paused_until, |pause| Some(now + pause));
    }

    fn unanswered(&mut self, at: usize) {
        let (now, timeout) = (self.clock.instant(), self.config.http2.request_timeout);
        if let Some(held) = self.connections.at(at) {
            held.unanswered(now, timeout);
        }
    }

    /// What an answer means for more than its own push.
    fn beside(&mut self, at: usize, read: &Read, out: &Out, sent: Instant) {
        let word = read.label;
        if read.beside != Beside::Stop {
            self.credential.taken();
        }
        if read.class.looked() {
            let now = self.clock.instant();
            let mut doubts = self.config.doubts.lock();
            let ends = doubts.looked((now, sent), self.ends.link);
            drop(doubts);
            if ends {
                self.ledger.event(LinkEvent::TakesAgain);
            }
        }
        let generation = self.credential.generation();
        let held = self.connections.at(at);
        match (read.beside, held) {
            (Beside::Nothing, Some(held)) => held.is_well(),
            (Beside::Fault, Some(held)) => held.fault(word),
            (Beside::Fence, Some(held)) => held.connection.fence(word),
            (Beside::Nothing | Beside::Fault | Beside::Fence, None) => {}
            (Beside::TooManyUpdates, held) => {
                if let Some(held) = held {
                    held.connection.fence(word);
                }
                self.credential.too_many_updates();
            }
            (Beside::Expired, _) => self.credential.expired(out.serial),
            (Beside::Doubt(doubt), _) => {
                let device = doubts::device(&out.attempt);
                match self.doubt(doubt, device, sent) {
                    Follows::Connection => self.replace(at, word),
                    // Where it is the only one, it may still be the connection's.
                    Follows::Wait(_, Refuses::Busy) => {
                        if let Some(held) = self.connections.at(at) {
                            held.fault(word);
                        }
                    }
                    Follows::Nothing | Follows::Wait(..) | Follows::Stop => {}
                }
            }
            (Beside::Alarm, _) => self.meters.refused(self.clock.instant(), word),
            (Beside::Stop, Some(held))
                if held.connection.limit() > 0 && held.generation == generation =>
            {
                if self.credential.refused() {
                    let why = format!("the service refuses our credentials: {word}");
                    self.stop_for(why, false);
                } else {
                    // What teams share a connection is refused so, too: a new one is tried once.
                    held.connection.fence(word);
                }
            }
            // What was under way on it is refused with it, and what was sent with another credential says
            // nothing of this one.
            (Beside::Stop, _) => {}
        }
    }

    /// Refused, and it is open whose that is.
    pub(super) fn doubt(&mut self, doubt: Doubt, device: u64, sent: Instant) -> Follows {
        let now = self.clock.instant();
        let mut doubts = self.config.doubts.lock();
        let follows = doubts.saw((now, sent), (self.ends.link, device), doubt, draw());
        drop(doubts);
        match follows {
            Follows::Nothing | Follows::Connection => {}
            Follows::Wait(until, why) => {
                self.meters.waits(until.saturating_duration_since(now), why);
                self.ledger.event(LinkEvent::Refusing { until, why });
            }
            Follows::Stop => self.stop_lost(),
        }
        follows
    }

    /// No push passes on a connection, and those of other links are well. The next one may lead to the same
    /// machine of the service: it waits, ever longer, and others have this link's share.
    fn replace(&mut self, at: usize, why: &str) {
        let now = self.clock.instant();
        if let Some(held) = self.connections.at(at)
            && held.connection.limit() > 0
        {
            held.connection.fence(why);
            let pause = self.connections.failed(now);
            tracing::warn!(
                route = self.config.name,
                link = self.ends.link.0,
                why,
                again_in_ms = pause.as_millis(),
                "the push service refuses everything on this connection, and not on others"
            );
        }
    }
}

/// 0.0 to 1.0; without the system's randomness, 0.5.
fn draw() -> f64 {
    getrandom::u32().map_or(0.5, |draw| f64::from(draw) / f64::from(u32::MAX))
}
