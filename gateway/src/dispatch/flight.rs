//! Flights: which parts of which messages are out, and which wait beside them. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::clock::UnixMs;
use crate::link::LinkIx;
use crate::message::steps::Destination;
use crate::message::{FailoverOn, Message, MessageId, OnAmbiguous, Parts, RouteIx};
use crate::outcome::{Form, OutcomeResult};
use crate::store::Entry;

/// Everything a dispatcher has handed over and not had answered.
#[derive(Default)]
pub struct Flights {
    messages: FxHashMap<MessageId, Flight>,
    tokens: FxHashMap<u64, (MessageId, u8, LinkIx)>,
    next_token: u64,
    /// How often a message has been throttled; kept while it waits in the queue. Bounded by the
    /// windows: only what was out can have been throttled.
    throttles: FxHashMap<MessageId, u8>,
    /// Attempts answered as unknown, the newest ones.
    unknown: VecDeque<(u64, Arc<Message>, u8)>,
}

/// Unknown attempts remembered for a late answer: as many as a session remembers.
const UNKNOWN_MAX: usize = 4_096;

struct Flight {
    message: Arc<Message>,
    order: u64,
    /// When it was due: see [`Entry::due`].
    due: UnixMs,
    form: Form,
    out: Parts,
    /// Throttled, not sent, or not yet out for lack of slots: they go back to the queue when nothing
    /// is out any more.
    waiting: Parts,
    /// The message has come to its end: nothing of it waits any more.
    over: bool,
    /// All parts of the message went out together, and the peer took each that came back. Of a
    /// further try this is not said: other parts may still wait for theirs.
    taken: bool,
}

/// Whether these are all parts of the leg that an entry is of.
fn is_whole(entry: &Entry, parts: Parts) -> bool {
    let part = parts.iter().next();
    let leg = part.and_then(|part| entry.message.leg_of(part));
    leg.is_some_and(|leg| leg.parts() == parts)
}

/// A part that came back.
#[derive(Clone, Copy, Debug)]
pub struct Back {
    /// Whose.
    pub id: MessageId,
    /// Which.
    pub part: u8,
    /// The link it was on.
    pub link: LinkIx,
    /// Where it was to go.
    pub to: Destination,
    /// What it counts against the route's rate.
    pub units: u32,
    /// Whether it was a further try on this route.
    pub is_retry: bool,
}

/// A flight that has ended.
#[derive(Clone, Debug)]
pub struct Landed {
    /// The message, with the parts that wait, which may be none.
    pub entry: Entry,
    /// The peer took all of the message: there is nothing to decide any more.
    pub taken: bool,
}

impl Flights {
    /// Whether nothing is out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.messages.is_empty()
    }

    /// Parts of an entry go out; the `rest` of it waits for them to come back.
    pub fn begin(&mut self, entry: &Entry, parts: Parts, rest: Parts) {
        let flight = self
            .messages
            .entry(entry.message.id)
            .or_insert_with(|| Flight {
                message: entry.message.clone(),
                order: entry.order,
                due: entry.due,
                form: entry.form,
                out: Parts::default(),
                waiting: Parts::default(),
                over: false,
                taken: is_whole(entry, parts),
            });
        flight.out.0 |= parts.0;
        flight.waiting.0 |= rest.0;
    }

    /// A token for a part that goes out on a link.
    pub fn token(&mut self, id: MessageId, part: u8, link: LinkIx) -> u64 {
        self.next_token += 1;
        self.tokens.insert(self.next_token, (id, part, link));
        self.next_token
    }

    /// A number that differs from attempt to attempt, for jitter.
    #[must_use]
    pub fn random(&self) -> u64 {
        // Fibonacci hashing (Knuth, TAOCP 3, §6.4): the high bits of a counter's product are spread.
        self.next_token.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
    }

    /// A token was answered. `None` when it was answered before. What nobody knows of is remembered
    /// for a while: its answer may come yet.
    pub fn answered(&mut self, token: u64, result: OutcomeResult) -> Option<Back> {
        let (id, part, link) = self.tokens.remove(&token)?;
        // What has a token is out, and what is out has a flight.
        let flight = self.messages.get_mut(&id)?;
        flight.out.remove(part);
        flight.taken &= result == OutcomeResult::Accepted;
        let (to, due) = (flight.message.destination(part), flight.due);
        let units = u32::from(flight.message.units(Parts::one(part)));
        if result == OutcomeResult::Unknown {
            let message = flight.message.clone();
            self.unknown.push_back((token, message, part));
            if self.unknown.len() > UNKNOWN_MAX {
                self.unknown.pop_front();
            }
        }
        let is_retry = due > UnixMs::ZERO;
        Some(Back {
            id,
            part,
            link,
            to,
            units,
            is_retry,
        })
    }

    /// The message and part of a token that was answered as unknown.
    pub fn late(&mut self, token: u64) -> Option<(Arc<Message>, u8)> {
        let at = self
            .unknown
            .iter()
            .position(|(known, ..)| *known == token)?;
        self.unknown
            .remove(at)
            .map(|(_, message, part)| (message, part))
    }

    /// A part is not out any more.
    pub fn unreserve(&mut self, id: MessageId, part: u8) {
        if let Some(flight) = self.messages.get_mut(&id) {
            flight.out.remove(part);
        }
    }

    /// A part waits for the others to come back and then for the queue.
    pub fn wait(&mut self, id: MessageId, part: u8) {
        if let Some(flight) = self.messages.get_mut(&id)
            && !flight.over
        {
            flight.waiting.add(part);
        }
    }

    /// Nothing more of a message is to go out: what is out is still awaited, what waits is dropped.
    pub fn end(&mut self, id: MessageId) {
        if let Some(flight) = self.messages.get_mut(&id) {
            flight.over = true;
            flight.waiting = Parts::default();
        }
    }

    /// Counts that a message was throttled.
    pub fn throttled(&mut self, id: MessageId) -> u8 {
        let times = self.throttles.entry(id).or_insert(0);
        *times = times.saturating_add(1);
        *times
    }

    /// Whether a flight's message may go on over the next of its routes when this one throttles it.
    #[must_use]
    pub fn may_fail_over(&self, id: MessageId, route: RouteIx) -> bool {
        self.messages.get(&id).is_some_and(|flight| {
            let mut legs = flight.message.legs();
            let leg = legs.find(|leg| leg.routes.contains(&route));
            leg.is_some_and(|leg| {
                leg.failover_on.has(FailoverOn::THROTTLED) && leg.route_after(route).is_some()
            })
        })
    }

    /// The message of a flight and its place in the queue.
    #[must_use]
    pub fn place(&self, id: MessageId) -> Option<(Arc<Message>, u64)> {
        let flight = self.messages.get(&id)?;
        Some((flight.message.clone(), flight.order))
    }

    /// Whether a flight's message ends when nobody knows what became of a part.
    #[must_use]
    pub fn ends_with(&self, id: MessageId, part: u8) -> bool {
        let flight = self.messages.get(&id);
        let leg = flight.and_then(|flight| flight.message.leg_of(part));
        self.is_held(id) && leg.is_some_and(|leg| !leg.channel.any_part_does())
    }

    /// Whether a flight's message is held when nobody knows what became of a part.
    #[must_use]
    pub fn is_held(&self, id: MessageId) -> bool {
        let flight = self.messages.get(&id);
        flight.is_some_and(|flight| flight.message.on_ambiguous == OnAmbiguous::Hold)
    }

    /// Whether no other part of the message is out or waits here.
    #[must_use]
    pub fn is_last(&self, id: MessageId) -> bool {
        let flight = self.messages.get(&id);
        flight.is_none_or(|flight| flight.out.is_empty() && flight.waiting.is_empty())
    }

    /// Ends a flight with nothing out.
    pub fn land(&mut self, id: MessageId) -> Option<Landed> {
        let flight = self.messages.get(&id)?;
        if !flight.out.is_empty() {
            return None;
        }
        let flight = self.messages.remove(&id)?;
        if flight.waiting.is_empty() {
            self.throttles.remove(&id);
        }
        let (parts, order) = (flight.waiting, flight.order);
        // What was out is claimed until it is settled.
        let entry = Entry {
            claimed: true,
            form: flight.form,
            ..Entry::again(flight.message, parts, order, flight.due)
        };
        let taken = flight.taken;
        Some(Landed { entry, taken })
    }

    /// The store has decided on the message.
    pub fn forget(&mut self, id: MessageId) {
        self.throttles.remove(&id);
    }
}
