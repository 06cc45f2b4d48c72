//! App: what an app tells of a push on its device, and what that means for the message. Pure.
//!
//! ```text
//!   sent ──► delivered ──► read       delivered: it came; displayed, opened: read
//! ```
//! A receipt that says more than `delivered` says that too, so `message.delivered` is made of every
//! message that an app tells of, once. `displayed` and `opened` make a `message.read` each, in this
//! order only; what another device tells after that changes nothing but what is shown of it.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::UnixMs;
use crate::event::EventKind;
use crate::message::life::decide::{self, Context, LATE_RECEIPTS};
use crate::message::life::{Change, Life, PartState, Status, Then, What};
use crate::message::{Channel, Message};
use crate::outcome::{OutcomeResult, ReceiptState};

/// What became of a push on a device. Each says what stands before it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppEvent {
    /// The app has it.
    Delivered,
    /// It was shown.
    Displayed,
    /// The user opened it.
    Opened,
}

impl AppEvent {
    /// All of them, in rising order.
    pub const ALL: [Self; 3] = [Self::Delivered, Self::Displayed, Self::Opened];

    /// The contract's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Displayed => "displayed",
            Self::Opened => "opened",
        }
    }

    /// The event of a contract word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name() == name)
    }

    /// Where it puts its message. push.md §5: displayed is read.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Delivered => Status::Delivered,
            Self::Displayed | Self::Opened => Status::Read,
        }
    }
}

/// What an app tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppReceipt {
    /// Of this part of the message.
    pub part: u8,
    /// What became of it.
    pub event: AppEvent,
    /// When, by the device's clock, which nobody has checked.
    pub told_at: Option<UnixMs>,
    /// Whether the device itself told it, with a receipt token; else somebody with a key did.
    pub by_token: bool,
}

/// Why a receipt is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppRefusal {
    /// The message was not accepted with `receipts: "app"`.
    NotAsked,
    /// It has no such device.
    NoDevice,
    /// It was never handed to the device's service.
    NotSent,
    /// It has been final for longer than [`LATE_RECEIPTS`].
    TooLate,
}

/// Whether a receipt may be taken.
///
/// # Errors
/// The first [`AppRefusal`]. What was taken before is none.
pub fn check(
    message: &Message,
    life: &Life,
    receipt: AppReceipt,
    now: UnixMs,
) -> Result<(), AppRefusal> {
    if !message.has_app_receipts() {
        return Err(AppRefusal::NotAsked);
    }
    if message.device(receipt.part).is_none() {
        return Err(AppRefusal::NoDevice);
    }
    if is_repeated(life, receipt) {
        return Ok(());
    }
    if !may_have(life, receipt.part) {
        return Err(AppRefusal::NotSent);
    }
    match life.is_final && now.since(life.done_at) > LATE_RECEIPTS {
        true => Err(AppRefusal::TooLate),
        false => Ok(()),
    }
}

/// What a receipt that passes [`check`] means: nothing when it was told before, and two changes where it
/// says more than `delivered` of a message that was not delivered yet.
#[must_use]
pub fn receipt(
    message: &Message,
    life: &Life,
    receipt: AppReceipt,
    context: Context,
) -> SmallVec<[Change; 2]> {
    let mut changes = SmallVec::new();
    let leg = life.leg_at(receipt.part);
    let leg = leg.and_then(|at| Some((at, life.legs.get(usize::from(at))?)));
    let Some((at, leg)) = leg.filter(|_| !is_repeated(life, receipt)) else {
        return changes;
    };
    let told = |then| What::App { receipt, then };
    let here = leg.step == life.step;
    match life.status {
        Status::Queued if here => {
            // The answer is still out, or was lost, or other devices wait: those decide when it ends.
            let of = (at, receipt.part);
            changes.push(decide::told_while_queued(message, life, of, context, told));
        }
        Status::Sent | Status::Delivered | Status::Read | Status::Unknown | Status::Expired
            if here =>
        {
            changes.extend(raised(life, receipt, context));
            if changes.is_empty() {
                changes.push(decide::unchanged(life, context, told(Then::Kept)));
            }
        }
        // Another step has it now, or nobody has: it is kept, and shown of its device.
        _ => changes.push(decide::unchanged(life, context, told(Then::Kept))),
    }
    changes
}

/// What follows when a queued message became `delivered` by its last answer, or its time: a device may
/// have told more than that before.
#[must_use]
pub fn catch_up(life: &Life, context: Context) -> Option<Change> {
    if life.status != Status::Delivered {
        return None;
    }
    let furthest = told(life).max_by_key(|receipt| receipt.event)?;
    raised(life, furthest, context).pop()
}

/// The changes of status that a receipt makes.
fn raised(life: &Life, receipt: AppReceipt, context: Context) -> SmallVec<[Change; 2]> {
    let what = || What::App {
        receipt,
        then: Then::Kept,
    };
    let mut changes = SmallVec::new();
    let before = match life.status {
        Status::Delivered | Status::Read => life.status,
        _ => {
            let end = (Status::Delivered, true);
            let event = EventKind::MessageDelivered;
            changes.push(decide::changed(life, context, end, event, what()));
            Status::Delivered
        }
    };
    let read_as = told(life).map(|known| known.event).max();
    let further = before == Status::Delivered || read_as < Some(receipt.event);
    if receipt.event.status() == Status::Read && further {
        let end = (Status::Read, true);
        let mut change = decide::changed(life, context, end, EventKind::MessageRead, what());
        change.version = change
            .version
            .saturating_add(u16::from(!changes.is_empty()));
        changes.push(change);
    }
    changes
}

/// What apps have told, in order. Of one that made two changes, it comes twice.
pub fn told(life: &Life) -> impl Iterator<Item = AppReceipt> {
    life.log.iter().filter_map(|change| match change.what {
        What::App { receipt, .. } => Some(receipt),
        _ => None,
    })
}

fn is_repeated(life: &Life, receipt: AppReceipt) -> bool {
    told(life).any(|known| (known.part, known.event) == (receipt.part, receipt.event))
}

/// Whether a service has had a part, or may have.
fn may_have(life: &Life, part: u8) -> bool {
    let now = match life.parts.get(usize::from(part)) {
        Some(PartState::Waiting | PartState::Refused(_)) | None => false,
        Some(_) => true,
    };
    let before = |change: &Change| match &change.what {
        What::Answered {
            part: own, result, ..
        } => {
            let taken = matches!(result, OutcomeResult::Accepted | OutcomeResult::Unknown);
            *own == part && taken
        }
        What::MaybeSent { parts } | What::Intent { parts, .. } => parts.has(part),
        _ => false,
    };
    now || life.log.iter().any(before)
}

impl Life {
    /// Takes in what an app told.
    pub(super) fn apply_app(&mut self, receipt: AppReceipt, then: Then) {
        self.set_part(receipt.part, PartState::Receipted(ReceiptState::Delivered));
        let Some(at) = self.leg_at(receipt.part) else {
            return;
        };
        let left = |leg: &super::LegLife| leg.step != self.step;
        // The recipient has it twice: here, and by the step that came after.
        if self.legs.get(usize::from(at)).is_some_and(left) {
            self.duplicate_possible = true;
        }
        self.apply_then(at, then);
    }
}

impl Message {
    /// Whether its app tells what became of it (`receipts: "app"`).
    #[must_use]
    pub fn has_app_receipts(&self) -> bool {
        self.steps.as_ref().is_some_and(|steps| steps.app_receipts)
    }

    /// Whether a receipt is waited for when the message was sent by a step: of a push its app's, else the
    /// route's, which has some or not.
    #[must_use]
    pub fn awaits_receipt(&self, step: u8, route_has: bool) -> bool {
        match self.channel(step) {
            Channel::Sms => route_has,
            Channel::Push => self.has_app_receipts(),
        }
    }
}
