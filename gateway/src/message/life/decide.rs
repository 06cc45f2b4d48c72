//! Decisions: what an outcome, a receipt or the passing of time means for a message. Pure.

use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::UnixMs;
use crate::event::EventKind;
use crate::message::life::{Change, LegLife, LegState, Life, PartState, Status, Then, What};
use crate::message::steps::{FallbackOn, LegView};
use crate::message::{Channel, Class, FailoverOn, Message, OnAmbiguous, Parts, RouteIx};
use crate::outcome::retries::{OTP_RETRIES, Retries};
use crate::outcome::{OutcomeResult, PartRule, Reason, Receipt, ReceiptState, Retry, Settle};

/// Late receipts may still turn a bad end into `delivered` this long after it (contract.md §4).
pub const LATE_RECEIPTS: Duration = Duration::from_secs(72 * 3600);

/// Tries on one route of a part that nobody answers, under `on_ambiguous: retry` (chosen: beyond
/// three, a carrier that swallows submits would be paid for every copy).
pub const UNKNOWN_TRIES: u8 = 3;

/// Tries on one route of a part whose destination's queue stays full (chosen: about eight hours of the
/// longest pauses; smpp.md §3.4 wants it bounded by attempts and not by validity alone).
pub const THROTTLED_TRIES: u8 = 100;

/// A part that arrived.
const TOLD: PartState = PartState::Receipted(ReceiptState::Delivered);

/// What the store knows beside the message when it decides.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The time of the commit.
    pub now: UnixMs,
    /// The order key that a failover would take: larger than every one given so far.
    pub next_order: u64,
    /// A number that differs from change to change, for jitter.
    pub jitter: u64,
    /// Whether the route in question sends receipts; without them `sent` is final.
    pub receipts: bool,
    /// For which parts of a long message it does: the one that gets one stands for all of them.
    pub parts: PartRule,
    /// How the route in question tries again.
    pub retries: Retries,
    /// The step that the plan goes on to when policy refuses the one that the message is at; `None`: the
    /// message ends then.
    pub instead: Option<u8>,
}

/// What a part's outcome means.
#[must_use]
pub fn settle(message: &Message, life: &Life, settle: &Settle, context: Context) -> Change {
    let outcome = &settle.outcome;
    let retry = granted(life, settle);
    // A message that has ended, or moved on, keeps the answer (its id may still be receipted), but
    // nothing follows from it.
    let here = life.leg_on(message, settle.route);
    let current = here.filter(|(leg, _)| leg.parts().has(settle.part));
    let known = life.parts.get(usize::from(settle.part));
    let receipted = matches!(known, Some(PartState::Receipted(_)));
    let step = match current {
        Some((leg, stands))
            if !settle.late && (!receipted || settle.last || life.is_withdrawn(stands)) =>
        {
            // A receipt that came before its answer says more.
            next_step((message, life), (leg, stands), (settle, retry), context)
        }
        _ => Step::Kept,
    };
    let then = then_of(&step, context);
    let what = What::Answered {
        route: settle.route,
        part: settle.part,
        result: outcome.result,
        code: outcome.code,
        reason: outcome.reason,
        retry,
        provider_id: outcome.provider_id.clone(),
        handed_at: outcome.handed_at,
        then,
        text: outcome.text.clone(),
    };
    follow(message, life, step, context, what)
}

/// What it means that the app has a part of a queued message: its leg ends when nobody is left to be
/// sent to, and then perhaps the message.
pub(super) fn told_while_queued(
    message: &Message,
    life: &Life,
    (at, part): (u8, u8),
    context: Context,
    what: impl FnOnce(Then) -> What,
) -> Change {
    let mut all = life.parts.clone();
    if let Some(place) = all.get_mut(usize::from(part)) {
        *place = PartState::Receipted(ReceiptState::Delivered);
    }
    let open = life.legs.get(usize::from(at));
    let over = open.is_some_and(|leg| {
        let settled = |part: &PartState| life.is_settled(leg, *part);
        leg.state == LegState::Open && leg_states(&all, leg).iter().all(settled)
    });
    let step = match over {
        true => leg_ended(message, life, (at, &all), FallbackOn::REJECTED, context),
        false => Step::Kept,
    };
    let what = what(then_of(&step, context));
    follow(message, life, step, context, what)
}

fn then_of(step: &Step, context: Context) -> Then {
    let order = context.next_order;
    match *step {
        Step::Kept => Then::Kept,
        Step::Back => Then::Back,
        Step::Wait => Then::Wait,
        Step::Rest | Step::Sent | Step::End(..) => Then::Rest,
        Step::Again(due) => Then::Again { due },
        Step::NextRoute => Then::NextRoute { order },
        Step::Fallback(step, trigger) => Then::NextStep {
            step,
            trigger,
            order,
        },
    }
}

/// The change that a step makes.
fn follow(message: &Message, life: &Life, step: Step, context: Context, what: What) -> Change {
    match step {
        Step::Wait | Step::Kept | Step::Back | Step::Rest => unchanged(life, context, what),
        Step::Sent => changed(
            life,
            context,
            (
                Status::Sent,
                !message.awaits_receipt(life.step, context.receipts),
            ),
            EventKind::MessageSent,
            what,
        ),
        Step::Again(_) | Step::NextRoute => {
            let mut change = unchanged(life, context, what);
            change.event = Some(EventKind::AttemptFailed);
            change
        }
        Step::Fallback(..) => {
            let event = EventKind::MessageFallbackStarted;
            changed(life, context, (Status::Queued, false), event, what)
        }
        Step::End(status, event) => changed(life, context, (status, true), event, what),
    }
}

/// What it means that a route is down on which the message waits: the next route, if it has one; else
/// `None`.
#[must_use]
pub fn route_down(
    message: &Message,
    life: &Life,
    route: RouteIx,
    context: Context,
) -> Option<Change> {
    let (leg, stands) = life.leg_on(message, route)?;
    if !leg.failover_on.has(FailoverOn::ROUTE_DOWN) || !has_next_route(message, leg.at, stands) {
        return None;
    }
    let what = What::MovedOn {
        leg: leg.at,
        reason: Reason::RouteDown,
        then: then_of(&Step::NextRoute, context),
    };
    Some(follow(message, life, Step::NextRoute, context, what))
}

/// What it means that the config has lost the route of a leg that is open: it goes on over these, of which
/// the ones after its current place count.
#[must_use]
pub fn replanned(
    message: &Message,
    life: &Life,
    leg: u8,
    routes: SmallVec<[RouteIx; 4]>,
    context: Context,
) -> Option<Change> {
    let stands = life.legs.get(usize::from(leg))?;
    let order = context.next_order;
    if routes.len() > usize::from(stands.route_at) + 1 {
        let what = What::Replanned { leg, routes, order };
        return Some(unchanged(life, context, what));
    }
    let mut parts = life.parts.clone();
    for part in stands.parts().iter() {
        if let Some(state @ (PartState::Waiting | PartState::Claimed)) =
            parts.get_mut(usize::from(part))
        {
            *state = PartState::Refused(Retry::Never);
        }
    }
    let step = match stands.any {
        true => leg_ended(message, life, (leg, &parts), FallbackOn::NO_ROUTE, context),
        false => gave_up(message, life, FallbackOn::NO_ROUTE),
    };
    let then = then_of(&step, context);
    let what = What::NoRoute { leg, then };
    Some(follow(message, life, step, context, what))
}

/// What a receipt for one part means; `None` when it changes nothing (a duplicate, or of lower rank).
#[must_use]
pub fn receipt(
    message: &Message,
    life: &Life,
    part: u8,
    receipt: &Receipt,
    context: Context,
) -> Option<Change> {
    let state = receipt.state;
    let delivered = state == ReceiptState::Delivered;
    if let Some(PartState::Receipted(known)) = life.parts.get(usize::from(part)) {
        // Final beats intermediate; only `delivered` may still follow a bad end (late truth).
        if !delivered || *known == ReceiptState::Delivered {
            return None;
        }
    }
    let leg = life.legs.get(usize::from(life.leg_at(part)?))?;
    let counts = delivered || life.route_of_part(message, part) == Some(receipt.route);
    // A part that went out again may get the same news again, and then it counts again.
    if (!counts || !state.is_final()) && seen_before(life, part, state) {
        return None;
    }
    let what = What::Receipt {
        part,
        counts,
        state,
        reason: receipt.reason,
        err: receipt.err.clone(),
        network_error: receipt.network_error,
        operator_at: receipt.operator_at,
        raw: receipt.raw.clone(),
        tlvs: receipt.tlvs.clone(),
        stat: receipt.stat.clone(),
    };
    if !counts || !state.is_final() {
        return Some(unchanged(life, context, what));
    }
    let already =
        life.parts.get(usize::from(part)) == Some(&PartState::Receipted(ReceiptState::Delivered));
    let others = life.delivered_of(leg.parts());
    let mut all = others + u8::from(delivered && !already) == leg.count;
    let parts_now = || {
        let mut parts = leg_states(&life.parts, leg);
        if let Some(place) = parts.get_mut(usize::from(part - leg.first)) {
            *place = PartState::Receipted(state);
        }
        parts
    };
    if delivered && context.parts != PartRule::All {
        let parts = parts_now();
        let taken =
            |part: &PartState| matches!(part, PartState::Accepted | PartState::Receipted(_));
        all |= parts.iter().all(taken) && stands_for_all(&parts, context);
    }
    let too_late = life.is_final && context.now.since(life.done_at) > LATE_RECEIPTS;
    Some(match (life.status, state) {
        // A receipt is proof of acceptance: a queued message whose answer was lost is sent by it.
        (Status::Queued | Status::Sent, ReceiptState::Delivered) if all => {
            let end = (Status::Delivered, true);
            changed(life, context, end, EventKind::MessageDelivered, what)
        }
        (Status::Expired | Status::Unknown | Status::Undelivered, ReceiptState::Delivered)
            if all && !too_late =>
        {
            let end = (Status::Delivered, true);
            changed(life, context, end, EventKind::MessageDelivered, what)
        }
        // Also the good news of the last part, where another's have been bad.
        (Status::Sent, _) => match bad_end(&parts_now(), context) {
            Some((status, event)) => changed(life, context, (status, true), event, what),
            None => unchanged(life, context, what),
        },
        _ => unchanged(life, context, what),
    })
}

/// What it means that a queued message's lifetime is over; `None` when it is not queued. Where parts
/// stand for themselves, it was sent if one of them was.
#[must_use]
pub fn expire(message: &Message, life: &Life, context: Context) -> Option<Change> {
    let expired = Step::End(Status::Expired, EventKind::MessageExpired);
    ended(message, life, expired, |_| What::ExpiredInQueue, context)
}

/// What it means that nothing more of a queued message's step goes out: where parts stand for themselves it
/// ends as what became of them, and else as `otherwise` says.
fn ended(
    message: &Message,
    life: &Life,
    otherwise: Step,
    what: impl FnOnce(Then) -> What,
    context: Context,
) -> Option<Change> {
    (life.status == Status::Queued).then(|| {
        let here = life.legs.iter();
        let here = here.filter(|leg| leg.step == life.step && leg.any);
        let parts: SmallVec<[PartState; 16]> =
            here.flat_map(|leg| leg_states(&life.parts, leg)).collect();
        let step = taken_by_any(&parts).unwrap_or(otherwise);
        let what = what(then_of(&step, context));
        follow(message, life, step, context, what)
    })
}

/// What it means that parts of a queued message go out no more, because their time is over or policy
/// refuses them, while a link may have others: the message goes on with those. `None` when no link may.
#[must_use]
pub fn withdrawn(life: &Life, parts: Parts, reason: Reason, context: Context) -> Option<Change> {
    let parts = life.with_idle(parts);
    let what = What::Withdrawn { parts, reason };
    (life.is_out_beside(parts)).then(|| unchanged(life, context, what))
}

/// What it means that policy refuses the step that a queued message is at; `None` when it is not queued.
/// What a carrier has of it stays as it is, and where parts stand for themselves it was sent if one of them
/// was. Else it goes on to the step that [`Context::instead`] names, or ends.
#[must_use]
pub fn rejected(
    message: &Message,
    life: &Life,
    reason: Reason,
    context: Context,
) -> Option<Change> {
    let what = |then| match then {
        Then::NextStep { .. } => What::PassedOver {
            parts: life.left_of_step(),
            reason,
            then,
        },
        _ => What::Rejected { reason },
    };
    ended(message, life, passed_over(context), what, context)
}

/// What it means that no receipt came in time; `None` when the message does not wait for one. A push stays
/// sent, as one without receipts: most apps tell nothing when they are not opened.
#[must_use]
pub fn no_receipt(message: &Message, life: &Life, context: Context) -> Option<Change> {
    (life.status == Status::Sent && !life.is_final).then(|| {
        let (end, event) = match message.channel(life.step) {
            Channel::Sms => (Status::Unknown, EventKind::MessageUnknown),
            Channel::Push => (Status::Sent, EventKind::MessageSent),
        };
        changed(life, context, (end, true), event, What::NoReceipt)
    })
}

/// The record that parts are about to be handed over under `hold`: it changes no status.
#[must_use]
pub fn intent(life: &Life, what: What, context: Context) -> Change {
    unchanged(life, context, what)
}

/// The record that a service has no use for a device's token any more: it changes no status.
#[must_use]
pub fn unregistered(life: &Life, part: u8, since: UnixMs, context: Context) -> Change {
    let mut change = unchanged(life, context, What::Unregistered { part, since });
    change.event = Some(EventKind::DeviceUnregistered);
    change
}

/// The record that the message begins with a later step than its first; `None` when it does not.
#[must_use]
pub fn began_later(life: &Life, context: Context) -> Option<Change> {
    (life.step > 0 && life.log.is_empty()).then(|| {
        let what = What::BeganLater { step: life.step };
        let event = EventKind::MessageFallbackStarted;
        changed(life, context, (Status::Queued, false), event, what)
    })
}

/// The record that the process which had claimed a message's parts has ended: it changes no status.
/// `None` when nothing was claimed.
#[must_use]
pub fn maybe_sent(life: &Life, context: Context) -> Option<Change> {
    let parts = life.parts_claimed();
    (!parts.is_empty()).then(|| unchanged(life, context, What::MaybeSent { parts }))
}

#[derive(Clone, Copy)]
enum Step {
    Kept,
    Back,
    Wait,
    /// The leg has ended, and others have not.
    Rest,
    Sent,
    Again(UnixMs),
    NextRoute,
    Fallback(u8, FallbackOn),
    End(Status, EventKind),
}

/// What may follow an outcome. A second try in another form is made once for each part, route and form;
/// what comes too late to be followed by anything asks for none.
fn granted(life: &Life, settle: &Settle) -> Retry {
    let retry = settle.outcome.retry;
    let Retry::Otherwise { form, or } = retry else {
        return retry;
    };
    let tried = life.log.iter().any(|change| {
        matches!(&change.what,
            What::Answered { route, part, retry: Retry::Otherwise { form: before, .. }, .. }
                if *route == settle.route && *part == settle.part && *before == form)
    });
    if tried || settle.late {
        or.into()
    } else {
        retry
    }
}

fn next_step(
    (message, life): (&Message, &Life),
    (leg, stands): (LegView<'_>, &LegLife),
    (settle, retry): (&Settle, Retry),
    context: Context,
) -> Step {
    let mut all = life.parts.clone();
    if let Some(place) = all.get_mut(usize::from(settle.part))
        && !matches!(place, PartState::Receipted(_))
    {
        *place = part_after(settle.outcome.result, retry);
    }
    let parts = leg_states(&all, stands);
    let hold = message.on_ambiguous == OnAmbiguous::Hold;
    let unknown = Step::End(Status::Unknown, EventKind::MessageUnknown);
    if hold && !stands.any && parts.contains(&PartState::Unknown) {
        return unknown;
    }
    // Of a leg of which parts were withdrawn nothing goes out again: it ends with the last answer that is on its
    // way, whatever waits.
    if stands.any && life.is_withdrawn(stands) && !is_out_beside(stands, &parts, settle.part) {
        let trigger = FallbackOn::REJECTED;
        return leg_ended(message, life, (leg.at, &all), trigger, context);
    }
    let over = || stands.any && parts.iter().all(|part| life.is_settled(stands, *part));
    if !settle.last && !over() {
        return Step::Wait;
    }
    let next_route = |on| leg.failover_on.has(on) && has_next_route(message, leg.at, stands);
    let tries = stands.tries;
    let bound = Bound::of((message, life), stands, (settle, &parts), context);
    let unknown_again = tries + 1 < UNKNOWN_TRIES && tries < bound.most;
    let worst = parts.iter().map(|part| Worst::of(*part, tries, &bound));
    let worst = match stands.any {
        false => worst.max(),
        // What is refused for good, or has nowhere to go, says nothing of the others.
        true => worst
            .filter(|worst| match worst {
                Worst::Unknown => !hold && (unknown_again || next_route(FailoverOn::NO_RESPONSE)),
                Worst::Throttled => tries < THROTTLED_TRIES || next_route(FailoverOn::THROTTLED),
                Worst::Elsewhere => next_route(FailoverOn::TRANSIENT),
                Worst::Never => false,
                Worst::Accepted | Worst::Waiting | Worst::Here => true,
            })
            .max(),
    };
    match worst.unwrap_or(Worst::Accepted) {
        Worst::Accepted if stands.any => {
            let trigger = FallbackOn::REJECTED;
            leg_ended(message, life, (leg.at, &all), trigger, context)
        }
        Worst::Accepted if stands_for_all(&parts, context) => {
            Step::End(Status::Delivered, EventKind::MessageDelivered)
        }
        Worst::Accepted => match bad_end(&parts, context) {
            Some((status, event)) => Step::End(status, event),
            None => Step::Sent,
        },
        Worst::Waiting => Step::Back,
        Worst::Unknown if unknown_again => Step::Again(bound.due),
        Worst::Unknown if next_route(FailoverOn::NO_RESPONSE) => Step::NextRoute,
        Worst::Unknown => unknown,
        Worst::Here => Step::Again(bound.due),
        Worst::Throttled if next_route(FailoverOn::THROTTLED) => Step::NextRoute,
        Worst::Throttled if tries >= THROTTLED_TRIES => {
            gave_up(message, life, FallbackOn::REJECTED)
        }
        Worst::Throttled => Step::Again(bound.due),
        Worst::Elsewhere if next_route(FailoverOn::TRANSIENT) => Step::NextRoute,
        Worst::Elsewhere | Worst::Never => gave_up(message, life, FallbackOn::REJECTED),
    }
}

/// Whether a link may have another part of a leg whose states these are.
fn is_out_beside(leg: &LegLife, parts: &[PartState], part: u8) -> bool {
    let mut others = leg.range().zip(parts);
    others.any(|(at, state)| {
        at != usize::from(part) && matches!(state, PartState::Claimed | PartState::Out)
    })
}

/// A leg whose parts stand for themselves has nothing more to do; `parts` are the message's.
fn leg_ended(
    message: &Message,
    life: &Life,
    (ended, parts): (u8, &[PartState]),
    trigger: FallbackOn,
    context: Context,
) -> Step {
    let mut of_step = SmallVec::<[PartState; 16]>::new();
    for (leg, at) in life.legs.iter().zip(0..u8::MAX) {
        if leg.step != life.step {
            continue;
        }
        if leg.state == LegState::Open && at != ended {
            return Step::Rest;
        }
        of_step.extend(leg_states(parts, leg));
    }
    taken_by_any(&of_step).unwrap_or_else(|| match life.withdrawn() {
        Some(Reason::Suppressed) => passed_over(context),
        Some(_) => Step::End(Status::Expired, EventKind::MessageExpired),
        None => gave_up(message, life, trigger),
    })
}

/// How a message ends of which these parts stand for themselves, as far as somebody has one or may have.
fn taken_by_any(parts: &[PartState]) -> Option<Step> {
    let any = |state| parts.contains(&state);
    if any(TOLD) {
        Some(Step::End(Status::Delivered, EventKind::MessageDelivered))
    } else if any(PartState::Accepted) {
        Some(Step::Sent)
    } else {
        let unknown = Step::End(Status::Unknown, EventKind::MessageUnknown);
        any(PartState::Unknown).then_some(unknown)
    }
}

/// Policy refuses what is left of the step: the next one that it lets pass, if the plan has one for this.
fn passed_over(context: Context) -> Step {
    match context.instead {
        Some(step) => Step::Fallback(step, FallbackOn::REJECTED),
        None => Step::End(Status::Rejected, EventKind::MessageRejected),
    }
}

/// Nobody takes the step: the next one, if the plan has one for this.
fn gave_up(message: &Message, life: &Life, trigger: FallbackOn) -> Step {
    match message.step_after(life.step, trigger) {
        Some(step) => Step::Fallback(step, trigger),
        None => Step::End(Status::Failed, EventKind::MessageFailed),
    }
}

/// The states of a leg's parts.
fn leg_states(parts: &[PartState], leg: &LegLife) -> SmallVec<[PartState; 4]> {
    parts.get(leg.range()).unwrap_or_default().into()
}

/// Whether the one part that the route tells of has arrived, and no other is known not to have.
fn stands_for_all(parts: &[PartState], context: Context) -> bool {
    let told = match context.parts {
        PartRule::All => None,
        PartRule::First => parts.first(),
        PartRule::Last => parts.last(),
    };
    told == Some(&PartState::Receipted(ReceiptState::Delivered)) && worst_news(parts).is_none()
}

/// The end of a message that was sent and of which a part has had bad news. That a part is lost for
/// certain ends it: it cannot be delivered any more. That nobody knows of one does not, as long as
/// another's receipt may say more; `receipt_timeout` bounds the wait.
fn bad_end(parts: &[PartState], context: Context) -> Option<(Status, EventKind)> {
    let worst = worst_news(parts)?;
    let waits = worst == ReceiptState::Unknown && awaits_receipt(parts, context);
    (!waits).then(|| bad_news(worst))
}

/// Whether a part that the route tells of has had no final receipt.
fn awaits_receipt(parts: &[PartState], context: Context) -> bool {
    let open = |part: &PartState| !matches!(part, PartState::Receipted(_));
    context.receipts
        && match context.parts {
            PartRule::All => parts.iter().any(open),
            PartRule::First => parts.first().is_some_and(open),
            PartRule::Last => parts.last().is_some_and(open),
        }
}

/// Of several bad ends of parts, the one that says most.
fn worst_news(parts: &[PartState]) -> Option<ReceiptState> {
    let bad = parts.iter().filter_map(|part| match part {
        PartState::Receipted(ReceiptState::Delivered) => None,
        PartState::Receipted(state) => Some(*state),
        _ => None,
    });
    bad.max_by_key(|state| weight(*state))
}

/// How much a bad end of a part says of its message. As smpp.md §4.4, but for deleted, which is a
/// certain end as the others are and so says more than unknown (chosen: the order in which receipts come
/// must not matter between the two).
#[must_use]
pub fn weight(state: ReceiptState) -> u8 {
    match state {
        ReceiptState::Undeliverable | ReceiptState::Rejected => 3,
        ReceiptState::Expired => 2,
        ReceiptState::Unknown => 0,
        _ => 1,
    }
}

/// What a bad final receipt makes of its message, or of its part alone.
#[must_use]
pub fn bad_news(state: ReceiptState) -> (Status, EventKind) {
    match state {
        ReceiptState::Expired => (Status::Expired, EventKind::MessageExpired),
        ReceiptState::Unknown => (Status::Unknown, EventKind::MessageUnknown),
        _ => (Status::Undelivered, EventKind::MessageUndelivered),
    }
}

/// Where an outcome puts its part.
#[must_use]
pub fn part_after(result: OutcomeResult, retry: Retry) -> PartState {
    match result {
        OutcomeResult::Accepted => PartState::Accepted,
        OutcomeResult::Refused => PartState::Refused(retry),
        OutcomeResult::Unknown => PartState::Unknown,
        OutcomeResult::NotSent => PartState::Waiting,
    }
}

/// What a part forces on its message, in rising order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Worst {
    Accepted,
    Waiting,
    Unknown,
    Here,
    Throttled,
    Elsewhere,
    Never,
}

impl Worst {
    fn of(part: PartState, tries: u8, bound: &Bound) -> Self {
        match part {
            PartState::Accepted | PartState::Receipted(_) => Self::Accepted,
            PartState::Waiting | PartState::Claimed | PartState::Out => Self::Waiting,
            PartState::Unknown => Self::Unknown,
            PartState::Refused(Retry::Throttle | Retry::Full | Retry::Later { .. }) => {
                Self::Throttled
            }
            PartState::Refused(Retry::Here { tries: most } | Retry::After { tries: most, .. })
                if tries < most.min(bound.most) =>
            {
                Self::Here
            }
            PartState::Refused(Retry::Scheduled { .. })
                if tries < bound.scheduled.min(bound.most) =>
            {
                Self::Here
            }
            PartState::Refused(Retry::Otherwise { .. }) => Self::Here,
            PartState::Refused(
                Retry::Here { .. }
                | Retry::After { .. }
                | Retry::Scheduled { .. }
                | Retry::Elsewhere,
            ) => Self::Elsewhere,
            PartState::Refused(Retry::Never) => Self::Never,
        }
    }
}

fn seen_before(life: &Life, part: u8, state: ReceiptState) -> bool {
    life.log.iter().any(|change| {
        matches!(&change.what, What::Receipt { part: p, state: s, .. } if *p == part && *s == state)
    })
}

fn has_next_route(message: &Message, leg: u8, stands: &LegLife) -> bool {
    let routes = message.leg(leg).map_or(0, |leg| leg.routes.len());
    usize::from(stands.route_at) + 1 < routes
}

/// When a leg may be tried again on its route, and how often.
struct Bound {
    /// Not before.
    due: UnixMs,
    /// Tries that may follow the first, whatever an outcome says.
    most: u8,
    /// Those where the outcome leaves it to the route.
    scheduled: u8,
}

impl Bound {
    /// Of a leg with these parts. On a route with a schedule no try is waited for that would come too
    /// late: the message goes another way while there is time, or has ended.
    fn of(
        (message, life): (&Message, &Life),
        leg: &LegLife,
        (settle, parts): (&Settle, &[PartState]),
        context: Context,
    ) -> Self {
        let taken = |part: &PartState| *part == PartState::Accepted;
        if parts.iter().all(taken) {
            return Self {
                due: UnixMs::ZERO,
                most: 0,
                scheduled: 0,
            };
        }
        let due = due(parts, leg, context);
        let scheduled = context.retries.tries();
        let most = match &context.retries {
            Retries::Backoff => u8::MAX,
            Retries::Schedule(schedule) => {
                let first = first_try(life, settle);
                let late =
                    due >= message.expires_at || schedule.is_over(due.0.saturating_sub(first.0));
                match message.class {
                    _ if late => 0,
                    Class::Otp => OTP_RETRIES,
                    _ => u8::MAX,
                }
            }
        };
        Self {
            due,
            most,
            scheduled,
        }
    }
}

/// When the message was first handed over on the route of a settle.
fn first_try(life: &Life, settle: &Settle) -> UnixMs {
    let mut tries = life.log.iter().filter_map(|change| match &change.what {
        What::Answered {
            route, handed_at, ..
        } if *route == settle.route => Some(*handed_at),
        _ => None,
    });
    tries.next().unwrap_or(settle.outcome.handed_at)
}

/// When a leg is to be tried again: the longest that any part is to wait, and up to a quarter more; for
/// those of which nobody says it, what the route's [`Retries`] have.
fn due(parts: &[PartState], leg: &LegLife, context: Context) -> UnixMs {
    let mut asked = None;
    let mut unasked = false;
    for part in parts {
        let seconds = match part {
            PartState::Refused(Retry::Later { minutes }) => Some(u32::from(*minutes) * 60),
            PartState::Refused(Retry::After { seconds, .. }) => Some(*seconds),
            PartState::Refused(Retry::Scheduled { seconds }) => {
                unasked = true;
                Some(*seconds).filter(|seconds| *seconds > 0)
            }
            PartState::Refused(_) | PartState::Unknown => {
                unasked = true;
                None
            }
            _ => None,
        };
        asked = asked.max(seconds);
    }
    let own = match (asked, context.retries) {
        // It is waited for whoever waits longest.
        (Some(_), Retries::Backoff) => 0,
        (Some(_), Retries::Schedule(_)) if !unasked => 0,
        _ => context.retries.pause_ms(leg.tries, context.jitter),
    };
    let asked = asked.map_or(0, |seconds| {
        let ms = u64::from(seconds).max(1) * 1_000;
        ms + context.jitter % (ms / 4)
    });
    UnixMs(context.now.0.saturating_add(own.max(asked)))
}

pub(super) fn unchanged(life: &Life, context: Context, what: What) -> Change {
    Change {
        at: context.now,
        version: life.version,
        status: life.status,
        is_final: life.is_final,
        event: None,
        seq: 0,
        what,
    }
}

pub(super) fn changed(
    life: &Life,
    context: Context,
    (status, is_final): (Status, bool),
    event: EventKind,
    what: What,
) -> Change {
    Change {
        at: context.now,
        version: life.version.saturating_add(1),
        status,
        is_final,
        event: Some(event),
        seq: 0,
        what,
    }
}
