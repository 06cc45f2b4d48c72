//! Life: what happened to a message so far. A log of changes, and the state that follows from it.
//!
//! ```text
//!   queued ──► sent ──► delivered* ──► read*    * = final; read: by an app
//!     │         ├─────► undelivered*     a negative receipt
//!     │         ├─────► expired*         the carrier's receipt says so
//!     │         └─────► unknown*         no receipt in time
//!     ├─► failed*     every route of every step refused, none took the whole of it
//!     ├─► unknown*    handed to a link that never answered, under on_ambiguous: hold
//!     ├─► expired*    its time was over in our queue
//!     └─► rejected*   policy, at acceptance or before it is sent, of every step that is left
//!   late: expired, unknown, undelivered ──► delivered, once, within 72 h
//! ```
//!
//! A message with [steps](crate::message::steps) stays queued from one to the next; its legs go out side
//! by side, each with a route, tries and a place in a queue of its own.
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
use crate::message::steps::{FallbackOn, LegView};
use crate::message::{Message, OnAmbiguous, Parts, RouteIx};
use crate::outcome::{Form, OutcomeResult, ProviderId, Reason, ReceiptState, ReceiptTlv, Retry};

pub mod app;
pub mod decide;
mod passed_over;
mod withdrawn;

pub use app::{AppEvent, AppReceipt};

/// Where a message stands. The contract's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a route, or is being sent.
    #[default]
    Queued,
    /// It was taken: all segments of an SMS by the carrier, a push for at least one device by its service.
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
    /// The app showed it, or its user opened it.
    Read,
}

impl Status {
    /// All of them, by number.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Sent,
        Self::Delivered,
        Self::Undelivered,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::Unknown,
        Self::Read,
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
            Self::Read => "read",
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
        /// The leg that does.
        leg: u8,
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
        /// The leg that does.
        leg: u8,
        /// The leg's routes from now on: those up to the one that is gone, then the others.
        routes: SmallVec<[RouteIx; 4]>,
        /// The order key under which it is queued there.
        order: u64,
    },
    /// The config does not have its route any more, nor any other for it.
    NoRoute {
        /// The leg that it is about.
        leg: u8,
        /// What was decided then.
        then: Then,
    },
    /// The process that claimed these parts ended without a word: a link may have had them. They go
    /// out again, and the handset may get them twice.
    MaybeSent {
        /// Which parts.
        parts: Parts,
    },
    /// No route leads to its first steps: it begins with a later one.
    BeganLater {
        /// The step that it begins with.
        step: u8,
    },
    /// The service says that a device's token is of no use any more.
    Unregistered {
        /// The device's part.
        part: u8,
        /// Since when, as the service says; the time of its answer where it does not.
        since: UnixMs,
    },
    /// An app told what became of a push on its device.
    App {
        /// What it told.
        receipt: AppReceipt,
        /// What was decided then.
        then: Then,
    },
    /// These parts go out no more, while a link may have others of the same step.
    Withdrawn {
        /// Which parts.
        parts: Parts,
        /// Why: their time is over, or policy refuses them.
        reason: Reason,
    },
    /// Policy refuses the step that it is at, at acceptance or just before it was to be sent, and the plan
    /// goes on to another.
    PassedOver {
        /// The step's parts that nobody has and that go out no more.
        parts: Parts,
        /// Why.
        reason: Reason,
        /// What was decided then.
        then: Then,
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
    /// Try all parts on the next route, queued there under this order key. Parts that stand for
    /// themselves: those that nobody has taken and that may be.
    NextRoute {
        /// The order key.
        order: u64,
    },
    /// The step has given up: another one begins, its legs queued under this order key.
    NextStep {
        /// The step that begins.
        step: u8,
        /// Why the one before it ended.
        trigger: FallbackOn,
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
    /// The peer has it.
    Accepted,
    /// A final receipt came for it.
    Receipted(ReceiptState),
    /// May be handed over at any time, under `retry`: after a crash a copy may be out.
    Claimed,
}

/// How far a leg is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LegState {
    /// Its step has not begun.
    Ahead,
    /// It waits for its route, or is out there, as long as the message is queued.
    #[default]
    Open,
    /// Nothing more is done about it: what became of it stands in its parts.
    Ended,
}

/// Where one leg stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegLife {
    /// How far it is.
    pub state: LegState,
    /// Its step.
    pub step: u8,
    /// Its first part.
    pub first: u8,
    /// How many parts it has.
    pub count: u8,
    /// Whether its parts stand for themselves; see [`crate::message::Channel::any_part_does`].
    pub any: bool,
    /// Which of its candidate routes is the current one.
    pub route_at: u8,
    /// Tries made on the current route.
    pub tries: u8,
    /// Not before this is it sent again.
    pub due: UnixMs,
    /// Its place in the current route's queue: the id, or a later key after a failover.
    pub order: u64,
}

impl LegLife {
    /// Its parts.
    #[must_use]
    pub fn parts(&self) -> Parts {
        Parts::range(self.first, self.count)
    }

    fn range(&self) -> std::ops::Range<usize> {
        usize::from(self.first)..usize::from(self.first.saturating_add(self.count))
    }
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
    /// The step it is at.
    pub step: u8,
    /// What was handed over and never answered is not sent again (`on_ambiguous: hold`).
    pub hold: bool,
    /// Attempts made on any route: a retry on the same route is one more.
    pub attempts: u8,
    /// Set when the handset may get it twice.
    pub duplicate_possible: bool,
    /// Where each leg stands.
    pub legs: SmallVec<[LegLife; 1]>,
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
        let count = usize::from(message.part_count());
        let mut life = Self {
            status: Status::Queued,
            version: 1,
            hold: message.on_ambiguous == OnAmbiguous::Hold,
            parts: SmallVec::from_elem(PartState::Waiting, count),
            ..Self::default()
        };
        for leg in message.legs() {
            life.legs.push(LegLife {
                state: LegState::Ahead,
                step: leg.step,
                first: leg.first,
                count: leg.count,
                any: leg.channel.any_part_does(),
                ..LegLife::default()
            });
            if leg.routes.is_empty() {
                life.end_leg(leg.at, PartState::Refused(Retry::Never));
            }
        }
        life.open_step(message.first_step().unwrap_or(0), message.id.0);
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

    /// The route of its step's first leg; `None` for a message that has none.
    #[must_use]
    pub fn route(&self, message: &Message) -> Option<RouteIx> {
        let at = self.legs.iter().position(|leg| leg.step == self.step)?;
        self.route_of(message, u8::try_from(at).ok()?)
    }

    /// The current route of a leg.
    #[must_use]
    pub fn route_of(&self, message: &Message, leg: u8) -> Option<RouteIx> {
        let at = self.legs.get(usize::from(leg))?.route_at;
        message.leg(leg)?.routes.get(usize::from(at)).copied()
    }

    /// The place among its legs of the one that a part belongs to.
    #[must_use]
    pub fn leg_at(&self, part: u8) -> Option<u8> {
        let at = self.legs.iter().position(|leg| leg.parts().has(part))?;
        u8::try_from(at).ok()
    }

    /// The route that a part goes to, or went to last.
    #[must_use]
    pub fn route_of_part(&self, message: &Message, part: u8) -> Option<RouteIx> {
        self.route_of(message, self.leg_at(part)?)
    }

    /// The legs that wait for a route, or are out there, each with that route.
    pub fn open_legs<'l>(
        &'l self,
        message: &'l Message,
    ) -> impl Iterator<Item = (RouteIx, u8, &'l LegLife)> {
        let queued = self.status == Status::Queued;
        let legs = self.legs.iter().take(if queued { usize::MAX } else { 0 });
        legs.zip(0..u8::MAX).filter_map(|(leg, at)| {
            let route = (leg.state == LegState::Open).then(|| self.route_of(message, at));
            Some((route.flatten()?, at, leg))
        })
    }

    /// The leg that waits for a route, or is out there: never more than one.
    #[must_use]
    pub fn leg_on<'l>(
        &'l self,
        message: &'l Message,
        route: RouteIx,
    ) -> Option<(LegView<'l>, &'l LegLife)> {
        let (_, at, leg) = self.open_legs(message).find(|open| open.0 == route)?;
        Some((message.leg(at)?, leg))
    }

    /// The parts of a leg that nobody has yet, or may not have, and that somebody may take.
    #[must_use]
    pub fn parts_to_send(&self, leg: &LegLife) -> Parts {
        self.parts_where(leg.parts(), |state| !self.is_settled(leg, state))
    }

    /// Whether nothing more is to be done about a part of a leg that goes on.
    fn is_settled(&self, leg: &LegLife, state: PartState) -> bool {
        match state {
            PartState::Accepted | PartState::Receipted(_) => true,
            PartState::Refused(Retry::Never) => leg.any,
            PartState::Unknown => leg.any && self.hold,
            _ => false,
        }
    }

    fn parts_where(&self, among: Parts, fits: impl Fn(PartState) -> bool) -> Parts {
        let mut parts = Parts::default();
        for (part, state) in (0..u8::MAX).zip(&self.parts) {
            if among.has(part) && fits(*state) {
                parts.add(part);
            }
        }
        parts
    }

    /// How parts are written on a route: another way than planned once that was refused.
    #[must_use]
    pub fn form(&self, here: RouteIx) -> Form {
        let asked = self.log.iter().filter_map(|change| match &change.what {
            What::Answered {
                route,
                retry: Retry::Otherwise { form, .. },
                ..
            } if *route == here => Some(*form),
            _ => None,
        });
        asked.fold(Form::PLANNED, Form::with)
    }

    /// The parts that an intent says are out: unknown after a crash.
    #[must_use]
    pub fn parts_out(&self) -> Parts {
        self.parts_where(Parts(u32::MAX), |state| state == PartState::Out)
    }

    /// The parts that are claimed and not answered: after a crash a link may have had them.
    #[must_use]
    pub fn parts_claimed(&self) -> Parts {
        let all = match self.status {
            Status::Queued => Parts(u32::MAX),
            _ => Parts::default(),
        };
        self.parts_where(all, |state| state == PartState::Claimed)
    }

    /// Whether a link may have some of it beside these parts, which stand for itself: on another route, of
    /// which their dispatcher knows nothing, or on theirs with its answer on the way to the store.
    #[must_use]
    pub fn is_out_beside(&self, parts: Parts) -> bool {
        let may = |state| matches!(state, PartState::Claimed | PartState::Out);
        let open = |leg: &&LegLife| leg.any && leg.state == LegState::Open;
        let mut legs = self.legs.iter().filter(open);
        self.status == Status::Queued
            && legs.any(|leg| {
                !self
                    .parts_where(Parts(leg.parts().0 & !parts.0), may)
                    .is_empty()
            })
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

    /// How many of some parts have a `delivered` receipt.
    #[must_use]
    pub fn delivered_of(&self, parts: Parts) -> u8 {
        let delivered = PartState::Receipted(ReceiptState::Delivered);
        self.parts_where(parts, |part| part == delivered).count()
    }

    /// What became of each segment of its SMS, in the contract's words, once one of several has had bad
    /// news; `None` before that.
    #[must_use]
    pub fn parts_told(&self) -> Option<Vec<&'static str>> {
        let leg = self.legs.iter().find(|leg| !leg.any)?;
        let parts = self.parts.get(leg.range())?;
        let bad = |part: &PartState| match part {
            PartState::Receipted(state) => *state != ReceiptState::Delivered,
            _ => false,
        };
        if parts.len() < 2 || !parts.iter().any(bad) {
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
        Some(parts.iter().map(|part| word(part).name()).collect())
    }

    /// Adds a change. Pure: the change says what was decided.
    pub fn apply(&mut self, change: Change) {
        self.apply_parts(&change);
        if change.status != self.status {
            match change.status {
                Status::Sent => self.sent_at = change.at,
                Status::Delivered => self.reason = None,
                // What ends it by itself has said why.
                Status::Rejected | Status::Expired
                    if !matches!(change.what, What::Rejected { .. } | What::ExpiredInQueue) =>
                {
                    self.reason = self.withdrawn().or(self.reason);
                }
                Status::Unknown => self.reason = self.unknown_why(&change.what).or(self.reason),
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
            What::Rejected { reason } => self.end_for(change.status, *reason),
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
                if let Some(leg) = self.leg_at(*part) {
                    self.apply_then(leg, *then);
                }
            }
            What::MovedOn { leg, reason, then } => {
                self.reason = Some(*reason);
                self.apply_then(*leg, *then);
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
            What::ExpiredInQueue => self.end_for(change.status, Reason::ExpiredInQueue),
            // A push that its app told nothing of was sent all the same.
            What::NoReceipt if change.status == Status::Sent => {}
            What::NoReceipt => self.reason = Some(Reason::NoReceipt),
            What::Replanned { leg, order, .. } => {
                self.apply_then(*leg, Then::NextRoute { order: *order });
            }
            What::NoRoute { leg, then } => self.apply_no_route(*leg, *then),
            What::BeganLater { .. } | What::Unregistered { .. } => {}
            What::App { receipt, then } => self.apply_app(*receipt, *then),
            What::Withdrawn { parts, reason } => self.apply_withdrawn(*parts, *reason),
            What::PassedOver {
                parts,
                reason,
                then,
            } => self.apply_passed_over(*parts, *reason, *then),
            What::MaybeSent { parts } => {
                self.duplicate_possible = true;
                self.claim(*parts, false);
            }
        }
    }

    /// Nothing more is done about it. It has no reason where it was taken all the same, and why nobody knows
    /// of it says more than why it was not tried again.
    fn end_for(&mut self, status: Status, reason: Reason) {
        self.reason = match status {
            Status::Sent | Status::Delivered => None,
            _ => Some(reason),
        };
    }

    /// Why nobody knows of a part, if it was not just told.
    fn unknown_why(&self, told: &What) -> Option<Reason> {
        let of = |what: &What| match what {
            What::Answered {
                part,
                result: OutcomeResult::Unknown,
                reason,
                then,
                ..
            } if *then != Then::Kept
                && self.parts.get(usize::from(*part)) == Some(&PartState::Unknown) =>
            {
                *reason
            }
            _ => None,
        };
        let before = self.log.iter().rev().map(|change| &change.what);
        std::iter::once(told).chain(before).find_map(of)
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

    fn apply_then(&mut self, at: u8, then: Then) {
        let Some(leg) = self.legs.get(usize::from(at)).copied() else {
            return;
        };
        match then {
            Then::Wait | Then::Kept | Then::Back => {}
            Then::Rest => {
                self.attempts = self.attempts.saturating_add(1);
                let refused = |part: &PartState| matches!(part, PartState::Refused(_));
                // Of several that stand for themselves one is enough.
                let taken = |part: &PartState| {
                    matches!(part, PartState::Accepted | PartState::Receipted(_))
                };
                let parts = self.parts.get(leg.range()).unwrap_or_default();
                if !parts.iter().any(refused) || leg.any && parts.iter().any(taken) {
                    self.reason = None;
                }
                self.change_leg(at, |leg| leg.state = LegState::Ended);
            }
            Then::Again { due } => {
                self.attempts = self.attempts.saturating_add(1);
                let again = self.parts_where(leg.parts(), |state| {
                    matches!(state, PartState::Refused(_) | PartState::Unknown)
                        && !self.is_settled(&leg, state)
                });
                self.duplicate_possible |=
                    !(self.parts_where(again, |state| state == PartState::Unknown)).is_empty();
                for part in again.iter() {
                    self.set_part(part, PartState::Waiting);
                }
                self.change_leg(at, |leg| {
                    leg.tries = leg.tries.saturating_add(1);
                    leg.due = due;
                });
            }
            Then::NextRoute { order } => {
                let goes = self.parts_where(leg.parts(), |state| {
                    !(leg.any && self.is_settled(&leg, state))
                });
                let may_have = |state| {
                    matches!(
                        state,
                        PartState::Unknown | PartState::Accepted | PartState::Receipted(_)
                    )
                };
                self.duplicate_possible |= !self.parts_where(goes, may_have).is_empty();
                let tried = |state| !matches!(state, PartState::Waiting | PartState::Claimed);
                if !self.parts_where(goes, tried).is_empty() {
                    self.attempts = self.attempts.saturating_add(1);
                }
                for part in goes.iter() {
                    self.set_part(part, PartState::Waiting);
                }
                self.change_leg(at, |leg| {
                    leg.route_at = leg.route_at.saturating_add(1);
                    leg.tries = 0;
                    leg.due = UnixMs::ZERO;
                    leg.order = order;
                });
            }
            Then::NextStep { step, order, .. } => {
                self.attempts = self.attempts.saturating_add(1);
                self.change_leg(at, |leg| leg.state = LegState::Ended);
                self.open_step(step, order);
            }
        }
    }

    fn apply_no_route(&mut self, leg: u8, then: Then) {
        self.reason = Some(Reason::NoRoute);
        let waits = |state| matches!(state, PartState::Waiting | PartState::Claimed);
        for part in self.parts_where(self.leg_parts(leg), waits).iter() {
            self.set_part(part, PartState::Refused(Retry::Never));
        }
        self.change_leg(leg, |leg| leg.state = LegState::Ended);
        if let Then::NextStep { step, order, .. } = then {
            self.open_step(step, order);
        }
    }

    /// A step begins: its legs that have routes wait for them.
    fn open_step(&mut self, step: u8, order: u64) {
        self.step = step;
        for leg in &mut self.legs {
            if leg.step == step && leg.state == LegState::Ahead {
                leg.state = LegState::Open;
                leg.order = order;
            }
        }
    }

    fn end_leg(&mut self, at: u8, state: PartState) {
        for part in self.leg_parts(at).iter() {
            self.set_part(part, state);
        }
        self.change_leg(at, |leg| leg.state = LegState::Ended);
    }

    fn leg_parts(&self, at: u8) -> Parts {
        let leg = self.legs.get(usize::from(at));
        leg.map(LegLife::parts).unwrap_or_default()
    }

    fn change_leg(&mut self, at: u8, change: impl FnOnce(&mut LegLife)) {
        if let Some(leg) = self.legs.get_mut(usize::from(at)) {
            change(leg);
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
        let legs = match self.legs.spilled() {
            true => self.legs.capacity() * size_of::<LegLife>(),
            false => 0,
        };
        self.log.capacity() * size_of::<Change>() + self.log.len() * 16 + told + legs
    }
}

#[cfg(test)]
mod tests;
