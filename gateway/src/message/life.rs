//! Life: what happened to a message so far. A log of changes, and the state that follows from it.
//!
//! ```text
//!   queued ──► sent ──► delivered*       * = final
//!     │         ├─────► undelivered*     a negative receipt
//!     │         ├─────► expired*         the carrier's receipt says so
//!     │         └─────► unknown*         no receipt in time
//!     ├─► failed*     every route refused, none took the whole of it
//!     ├─► unknown*    handed to a link that never answered, under on_ambiguous: hold
//!     ├─► expired*    its time was over in our queue
//!     └─► rejected*   policy, at acceptance or before it is sent
//!   late: expired, unknown, undelivered ──► delivered, once, within 72 h
//! ```
//!
//! [`decide`] turns an outcome or a receipt into a [`Change`]; [`Life::apply`] adds the change. The
//! change, with the status it led to, is what the journal holds: replay applies it as it stands and
//! decides nothing anew, so that a later version of the gateway reads an old journal the same way.
//! All other transitions change nothing.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::UnixMs;
use crate::event::EventKind;
use crate::message::{Message, Parts, RouteIx};
use crate::outcome::{Form, OutcomeResult, ProviderId, Reason, ReceiptState, ReceiptTlv, Retry};

pub mod decide;

/// Where a message stands. The contract's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a route, or is being sent.
    #[default]
    Queued,
    /// A carrier took all of it.
    Sent,
    /// Every part reached the handset.
    Delivered,
    /// Taken, then refused.
    Undelivered,
    /// Nobody took it.
    Failed,
    /// Refused by policy.
    Rejected,
    /// Its time was over.
    Expired,
    /// Nobody can say.
    Unknown,
}

impl Status {
    /// All of them, by number.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Sent,
        Self::Delivered,
        Self::Undelivered,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::Unknown,
    ];

    /// The contract's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    /// The status of a contract word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: UnixMs,
    /// The message's version after it: rises by one with each change of status.
    pub version: u16,
    /// The message's status after it.
    pub status: Status,
    /// Whether no further change of status is expected after it.
    pub is_final: bool,
    /// The event that it makes, if any.
    pub event: Option<EventKind>,
    /// That event's sequence number, given by the writer; 0 without an event.
    pub seq: u64,
    /// What happened.
    pub what: What,
}

/// What happened, in a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Policy refused it, at acceptance or just before it was to be sent.
    Rejected {
        /// Why.
        reason: Reason,
    },
    /// These parts are about to be handed to a link, under `on_ambiguous: hold`.
    Intent {
        /// On this route.
        route: RouteIx,
        /// Which parts.
        parts: Parts,
    },
    /// A part was answered, or lost with its link.
    Answered {
        /// On this route.
        route: RouteIx,
        /// Which part.
        part: u8,
        /// What became of it.
        result: OutcomeResult,
        /// The peer's code.
        code: u32,
        /// Our word for it.
        reason: Option<Reason>,
        /// What may follow.
        retry: Retry,
        /// The peer's id.
        provider_id: ProviderId,
        /// When it was handed over.
        handed_at: UnixMs,
        /// What was decided then.
        then: Then,
        /// What the peer said in words, escaped.
        text: Option<Box<str>>,
    },
    /// It moves on without an attempt: its route is down.
    MovedOn {
        /// Why.
        reason: Reason,
        /// What was decided then.
        then: Then,
    },
    /// A receipt was matched to a part.
    Receipt {
        /// Which part.
        part: u8,
        /// Whether it decides where the part stands: bad news of a route that the message has left
        /// since is kept, and counts for nothing.
        counts: bool,
        /// What it says.
        state: ReceiptState,
        /// Our word for it.
        reason: Option<Reason>,
        /// The `err:` field.
        err: Box<str>,
        /// network_error_code.
        network_error: Option<(u8, u16)>,
        /// When the carrier says it happened.
        operator_at: Option<UnixMs>,
        /// The text, for bad news.
        raw: Box<str>,
        /// The TLVs that are passed on.
        tlvs: Box<[ReceiptTlv]>,
        /// The carrier's word for the state, where it is not ours.
        stat: Box<str>,
    },
    /// Its lifetime was over while it was queued.
    ExpiredInQueue,
    /// No receipt came in time.
    NoReceipt,
    /// The config does not have its route any more: it goes on over others.
    Replanned {
        /// The message's routes from now on: those up to the one that is gone, then the others.
        routes: SmallVec<[RouteIx; 4]>,
        /// The order key under which it is queued there.
        order: u64,
    },
    /// The config does not have its route any more, nor any other for it.
    NoRoute,
    /// The process that claimed these parts ended without a word: a link may have had them. They go
    /// out again, and the handset may get them twice.
    MaybeSent {
        /// Which parts.
        parts: Parts,
    },
}

/// What was decided for the message's next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// Nothing yet: other parts are out.
    Wait,
    /// Every part is taken, or nothing more will be done.
    Rest,
    /// Try the parts that were not accepted again on the same route.
    Again {
        /// Not before.
        due: UnixMs,
    },
    /// Try all parts on the next route, queued there under this order key.
    NextRoute {
        /// The order key.
        order: u64,
    },
    /// Nothing: it is kept, and where the parts stand does not follow from it (it came late, or for a
    /// route that the message has left).
    Kept,
    /// Parts that certainly were not sent go out again at once; no try was made.
    Back,
}

/// Where one part stands on the current route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartState {
    /// Not yet handed over, or to be handed over again.
    #[default]
    Waiting,
    /// Handed over under `hold`: after a crash this means unknown.
    Out,
    /// Refused, or lost, and what may follow is not yet decided.
    Refused(Retry),
    /// Handed over and never answered.
    Unknown,
    /// A carrier has it.
    Accepted,
    /// A final receipt came for it.
    Receipted(ReceiptState),
    /// May be handed over at any time, under `retry`: after a crash a copy may be out.
    Claimed,
}

/// A message's state and the changes that led to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Where it stands.
    pub status: Status,
    /// Rises with each change of status; 1 at acceptance.
    pub version: u16,
    /// Whether no further change is expected.
    pub is_final: bool,
    /// Which of its candidate routes is the current one.
    pub route_at: u8,
    /// Tries made on the current route.
    pub tries: u8,
    /// Attempts made on any route: a retry on the same route is one more.
    pub attempts: u8,
    /// Set when the handset may get it twice.
    pub duplicate_possible: bool,
    /// Not before this is it sent again.
    pub due: UnixMs,
    /// Its place in the current route's queue: the id, or a later key after a failover.
    pub order: u64,
    /// When every part had been accepted.
    pub sent_at: UnixMs,
    /// When it became final.
    pub done_at: UnixMs,
    /// The reason of its bad end.
    pub reason: Option<Reason>,
    /// Where each part stands.
    pub parts: SmallVec<[PartState; 4]>,
    /// Sequence number of its `message.accepted` event.
    pub accepted_seq: u64,
    /// Everything that happened, in order.
    pub log: Vec<Change>,
}

impl Life {
    /// A message's life at acceptance: queued, or rejected when policy refuses it or it has no route.
    #[must_use]
    pub fn begin(message: &Message) -> Self {
        let mut life = Self {
            status: Status::Queued,
            version: 1,
            order: message.id.0,
            parts: SmallVec::from_elem(PartState::Waiting, usize::from(message.segments)),
            ..Self::default()
        };
        if let Some(reason) = message.refused() {
            life.apply(Change {
                at: message.accepted_at,
                version: 1,
                status: Status::Rejected,
                is_final: true,
                event: Some(EventKind::MessageRejected),
                seq: 0,
                what: What::Rejected { reason },
            });
        }
        life
    }

    /// The current route; `None` for a message that has none.
    #[must_use]
    pub fn route(&self, message: &Message) -> Option<RouteIx> {
        message.routes.get(usize::from(self.route_at)).copied()
    }

    /// The parts that a carrier does not have yet, or may not have.
    #[must_use]
    pub fn parts_to_send(&self) -> Parts {
        let mut parts = Parts::default();
        for (index, state) in self.parts.iter().enumerate() {
            if !matches!(state, PartState::Accepted | PartState::Receipted(_)) {
                parts.add(u8::try_from(index).unwrap_or(u8::MAX));
            }
        }
        parts
    }

    /// How its parts are written on the current route: another way than planned once that was refused.
    #[must_use]
    pub fn form(&self, message: &Message) -> Form {
        let mut form = Form::default();
        let here = self.route(message);
        for change in &self.log {
            match &change.what {
                What::Answered { route, retry, .. } if Some(*route) == here => {
                    form.without_validity |= *retry == Retry::WithoutValidity;
                    form.ucs2 |= *retry == Retry::AsUcs2;
                }
                _ => {}
            }
        }
        form
    }

    /// The parts that an intent says are out: unknown after a crash.
    #[must_use]
    pub fn parts_out(&self) -> Parts {
        let mut parts = Parts::default();
        for (index, state) in self.parts.iter().enumerate() {
            if *state == PartState::Out {
                parts.add(u8::try_from(index).unwrap_or(u8::MAX));
            }
        }
        parts
    }

    /// The parts that are claimed and not answered: after a crash a link may have had them.
    #[must_use]
    pub fn parts_claimed(&self) -> Parts {
        let mut parts = Parts::default();
        if self.status == Status::Queued {
            for (index, state) in self.parts.iter().enumerate() {
                if *state == PartState::Claimed {
                    parts.add(u8::try_from(index).unwrap_or(u8::MAX));
                }
            }
        }
        parts
    }

    /// Claims parts that wait, or releases them. Not a change: the message's log does not grow.
    pub fn claim(&mut self, parts: Parts, claimed: bool) {
        let (from, to) = match claimed {
            true => (PartState::Waiting, PartState::Claimed),
            false => (PartState::Claimed, PartState::Waiting),
        };
        for part in parts.iter() {
            if self.parts.get(usize::from(part)) == Some(&from) {
                self.set_part(part, to);
            }
        }
    }

    /// Parts with a `delivered` receipt.
    #[must_use]
    pub fn parts_delivered(&self) -> u8 {
        let delivered = PartState::Receipted(ReceiptState::Delivered);
        u8::try_from(self.parts.iter().filter(|part| **part == delivered).count())
            .unwrap_or(u8::MAX)
    }

    /// What became of each part, in the contract's words, once one of several has had bad news; `None`
    /// before that.
    #[must_use]
    pub fn parts_told(&self) -> Option<Vec<&'static str>> {
        let bad = |part: &PartState| match part {
            PartState::Receipted(state) => *state != ReceiptState::Delivered,
            _ => false,
        };
        if self.parts.len() < 2 || !self.parts.iter().any(bad) {
            return None;
        }
        let word = |part: &PartState| match part {
            PartState::Waiting | PartState::Claimed => Status::Queued,
            PartState::Out | PartState::Unknown => Status::Unknown,
            PartState::Refused(_) => Status::Failed,
            PartState::Accepted => Status::Sent,
            PartState::Receipted(ReceiptState::Delivered) => Status::Delivered,
            PartState::Receipted(state) => decide::bad_news(*state).0,
        };
        Some(self.parts.iter().map(|part| word(part).name()).collect())
    }

    /// Adds a change. Pure: the change says what was decided.
    pub fn apply(&mut self, change: Change) {
        self.apply_parts(&change);
        if change.status != self.status {
            match change.status {
                Status::Sent => self.sent_at = change.at,
                Status::Delivered => self.reason = None,
                _ => {}
            }
        }
        if change.is_final && (!self.is_final || change.status != self.status) {
            self.done_at = change.at;
        }
        self.status = change.status;
        self.version = change.version;
        self.is_final = change.is_final;
        // Most logs end with two entries, and hundreds of thousands of them are in memory: no spare room.
        self.log.reserve_exact(1);
        self.log.push(change);
    }

    fn apply_parts(&mut self, change: &Change) {
        match &change.what {
            What::Rejected { reason } => self.reason = Some(*reason),
            What::Intent { parts, .. } => {
                for part in parts.iter() {
                    self.set_part(part, PartState::Out);
                }
            }
            What::Answered {
                part,
                result,
                retry,
                reason,
                then,
                ..
            } => {
                if *then == Then::Kept {
                    return;
                }
                let known = self.parts.get(usize::from(*part));
                if !matches!(known, Some(PartState::Receipted(_))) {
                    self.set_part(*part, decide::part_after(*result, *retry));
                }
                if reason.is_some() && *result != OutcomeResult::NotSent {
                    self.reason = *reason;
                }
                self.apply_then(*then);
            }
            What::MovedOn { reason, then } => {
                self.reason = Some(*reason);
                self.apply_then(*then);
            }
            What::Receipt {
                part,
                counts,
                state,
                reason,
                ..
            } => {
                if *counts && state.is_final() {
                    if reason.is_some() && self.is_told_by(*state) {
                        self.reason = *reason;
                    }
                    self.set_part(*part, PartState::Receipted(*state));
                }
            }
            What::ExpiredInQueue => self.reason = Some(Reason::ExpiredInQueue),
            What::NoReceipt => self.reason = Some(Reason::NoReceipt),
            What::Replanned { order, .. } => self.apply_then(Then::NextRoute { order: *order }),
            What::NoRoute => self.reason = Some(Reason::NoRoute),
            What::MaybeSent { parts } => {
                self.duplicate_possible = true;
                self.claim(*parts, false);
            }
        }
    }

    /// Whether a part's bad end is the message's reason: none came before it that says more, and the
    /// message has no certain end yet.
    fn is_told_by(&self, state: ReceiptState) -> bool {
        let open = matches!(self.status, Status::Queued | Status::Sent | Status::Unknown);
        let says_more = |part: &PartState| match part {
            PartState::Receipted(ReceiptState::Delivered) => false,
            PartState::Receipted(other) => decide::weight(*other) > decide::weight(state),
            _ => false,
        };
        open && !self.parts.iter().any(says_more)
    }

    fn apply_then(&mut self, then: Then) {
        let has = |state: PartState| self.parts.contains(&state);
        match then {
            Then::Wait | Then::Kept | Then::Back => {}
            Then::Rest => {
                self.attempts = self.attempts.saturating_add(1);
                if !self
                    .parts
                    .iter()
                    .any(|part| matches!(part, PartState::Refused(_)))
                {
                    self.reason = None;
                }
            }
            Then::Again { due } => {
                self.duplicate_possible |= has(PartState::Unknown);
                self.tries = self.tries.saturating_add(1);
                self.attempts = self.attempts.saturating_add(1);
                self.due = due;
                for part in &mut self.parts {
                    if matches!(part, PartState::Refused(_) | PartState::Unknown) {
                        *part = PartState::Waiting;
                    }
                }
            }
            Then::NextRoute { order } => {
                self.duplicate_possible |= has(PartState::Unknown)
                    || self
                        .parts
                        .iter()
                        .any(|part| matches!(part, PartState::Accepted | PartState::Receipted(_)));
                let waits =
                    |part: &PartState| matches!(part, PartState::Waiting | PartState::Claimed);
                if !self.parts.iter().all(waits) {
                    self.attempts = self.attempts.saturating_add(1);
                }
                self.route_at = self.route_at.saturating_add(1);
                self.tries = 0;
                self.due = UnixMs::ZERO;
                self.order = order;
                self.parts.fill(PartState::Waiting);
            }
        }
    }

    fn set_part(&mut self, part: u8, state: PartState) {
        if let Some(place) = self.parts.get_mut(usize::from(part)) {
            *place = state;
        }
    }

    /// The life as it stood when its log held `changes` entries: what an event of then tells.
    #[must_use]
    pub fn as_of(&self, message: &Message, changes: usize) -> Cow<'_, Self> {
        if changes >= self.log.len() {
            return Cow::Borrowed(self);
        }
        let mut past = Self::begin(message);
        // A rejected message's life begins with its log, which is not to be written twice.
        past.log.clear();
        for change in self.log.iter().take(changes) {
            past.apply(change.clone());
        }
        Cow::Owned(past)
    }

    /// What it takes in memory beside the struct, about.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let told = |change: &Change| match &change.what {
            What::Receipt { tlvs, .. } => tlvs
                .iter()
                .map(|tlv| size_of::<ReceiptTlv>() + tlv.name.len() + tlv.value.len())
                .sum(),
            What::Answered { text, .. } => text.as_deref().map_or(0, str::len),
            _ => 0,
        };
        let told: usize = self.log.iter().map(told).sum();
        self.log.capacity() * size_of::<Change>() + self.log.len() * 16 + told
    }
}

#[cfg(test)]
mod tests;
