//! Unnamed: parts that a carrier may have under an id that is not known (yet).

use rustc_hash::FxHashMap;

use crate::clock::UnixMs;
use crate::message::life::{Life, PartState, Then, What};
use crate::message::{MessageId, Phone, RouteIx};
use crate::outcome::{OutcomeResult, Receipt};
use crate::store::young::{PARKED_RELOOK_MS, Row, Young};

/// Two numbers that may be the same end with the same digits (see `matching::agreement`).
const ENDING: u64 = 10_000_000;
/// Messages looked at in a millisecond, over time: some 0.1 ms of work.
const ROWS_PER_MS: usize = 1_000;

/// Whether there are parts that a receipt may be of, and that have no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// None.
    None,
    /// At least one.
    Some,
    /// Some may have left memory lately.
    CannotTell,
}

/// Messages with parts that are not answered, or whose answer was lost, as of one moment: by route and
/// the end of the recipient's number, and by route.
#[derive(Debug)]
pub(crate) struct Unnamed {
    to: FxHashMap<(RouteIx, u64), Known>,
    on: FxHashMap<RouteIx, Known>,
    archived_at: UnixMs,
}

/// What is kept of several messages.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// When the first of them was accepted.
    first: UnixMs,
    /// Which it is, while there is one only.
    only: Option<MessageId>,
}

impl Known {
    fn add(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.only = self.only.filter(|only| Some(*only) == other.only);
    }

    /// Whether another message than this one was accepted before then.
    fn before(&self, then: UnixMs, but: MessageId) -> bool {
        self.first <= then && self.only != Some(but)
    }
}

impl Unnamed {
    /// Looks at all that is in memory. Says also for how long nobody should do that again.
    pub(crate) fn of(young: &Young) -> (Self, u64) {
        let mut found = Self {
            to: FxHashMap::default(),
            on: FxHashMap::default(),
            archived_at: young.archived_at,
        };
        let mut rows = 0;
        for row in young.rows() {
            rows += 1;
            routes(row, |route| {
                let one = Known {
                    first: row.message.accepted_at,
                    only: Some(row.message.id),
                };
                let more = |known: &mut Known| known.add(one);
                let to = (route, ending(row.message.to));
                found.to.entry(to).and_modify(more).or_insert(one);
                found.on.entry(route).and_modify(more).or_insert(one);
            });
        }
        (found, u64::try_from(rows / ROWS_PER_MS).unwrap_or(0))
    }

    /// Whether a part that was sent to the receipt's recipient, on its route and before it came, has no
    /// id, other than those of the message whose the receipt seems to be: of its own parts the ids are
    /// believed, or a copy that went out before a crash would keep the others from ever being told.
    /// What left memory more than a minute before the receipt came is not known here: its answer is
    /// there, or nobody knows it.
    pub(crate) fn beside(&self, receipt: &Receipt, own: MessageId) -> Beside {
        let known = match receipt.recipient {
            Some(to) => self.to.get(&(receipt.route, ending(to))),
            None => self.on.get(&receipt.route),
        };
        if known.is_some_and(|known| known.before(receipt.received_at, own)) {
            return Beside::Some;
        }
        let left = UnixMs(self.archived_at.0 + PARKED_RELOOK_MS);
        match self.archived_at > UnixMs::ZERO && receipt.received_at < left {
            true => Beside::CannotTell,
            false => Beside::None,
        }
    }
}

fn ending(to: Phone) -> u64 {
    to.number() % ENDING
}

/// The routes whose carrier may have a part of the message under an id that is not known.
fn routes(row: &Row, mut unnamed: impl FnMut(RouteIx)) {
    let life = &row.life;
    let out = |part: &PartState| {
        matches!(
            part,
            PartState::Out | PartState::Claimed | PartState::Unknown
        )
    };
    // Nobody receipts a push.
    let Some(leg) = row.message.sms_leg() else {
        return;
    };
    let mut parts = life.parts.iter().zip(0..u8::MAX);
    if parts.any(|(state, part)| leg.parts().has(part) && out(state))
        && let Some(route) = life.route_of(&row.message, leg.at)
    {
        unnamed(route);
    }
    let was_lost = |what: &What| match what {
        What::Answered { result, .. } => *result == OutcomeResult::Unknown,
        What::MaybeSent { .. } => true,
        _ => false,
    };
    // Nearly always nothing.
    if life.log.iter().any(|change| was_lost(&change.what)) {
        for route in leg.routes {
            if is_lost(life, *route) {
                unnamed(*route);
            }
        }
    }
}

/// Whether a copy's answer did not come in time on the route, and did not later either.
fn is_lost(life: &Life, on: RouteIx) -> bool {
    let (mut lost, mut late) = (0, 0);
    for change in &life.log {
        match &change.what {
            What::Answered {
                route,
                result: OutcomeResult::Unknown,
                ..
            } if *route == on => lost += 1,
            What::Answered {
                route,
                provider_id,
                then: Then::Kept,
                ..
            } if *route == on && !provider_id.is_empty() => late += 1,
            // It does not say where.
            What::MaybeSent { .. } => lost += 1,
            _ => {}
        }
    }
    lost > late
}
