//! Waits: what a queued message waits for, as its life and its routes know it.
//!
//! Its own next try is in its life; else it is what keeps all of its route from sending. Nothing is said of
//! what is not known: an attempt that may be out waits for its answer, a route's next tries are not everybody's,
//! and that a message waits for an earlier one to its recipient is known to nobody here.

use serde::Serialize;
use utoipa::ToSchema;

use crate::accept::view::At;
use crate::clock::UnixMs;
use crate::message::life::{LegLife, Life, PartState};
use crate::message::{Message, RouteIx};
use crate::names::Names;
use crate::outcome::HoldReason;
use crate::route_view::Hold;

/// What a message waits for on one route.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MessageWait)]
pub(crate) struct WaitView<'a> {
    route: &'a str,
    /// `backoff`: for its own next try, at `due`. Else what keeps its route from sending, at most a quarter of
    /// a second ago, in the words of `/v1/routes/{name}`: `route_down`, `rate`, `window`, `throttled`,
    /// `quota`, `retry_budget`, `store_full`, `unsettled`.
    #[schema(value_type = String, example = "backoff")]
    hold_reason: HoldReason,
    /// Not before this is it tried again; with `backoff` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    due: Option<At>,
}

/// What a message waits for, a route each; `hold` tells how a route stands. Empty for one that is not queued.
pub(crate) fn of<'a>(
    (message, life): (&Message, &Life),
    now: UnixMs,
    names: &'a Names,
    hold: impl Fn(RouteIx) -> Hold,
) -> Vec<WaitView<'a>> {
    life.open_legs(message)
        .filter_map(|(route, _, leg)| {
            let (hold_reason, due) = of_leg(life, leg, now, || hold(route))?;
            Some(WaitView {
                route: names.route(route),
                hold_reason,
                due: due.map(At),
            })
        })
        .collect()
}

fn of_leg(
    life: &Life,
    leg: &LegLife,
    now: UnixMs,
    hold: impl FnOnce() -> Hold,
) -> Option<(HoldReason, Option<UnixMs>)> {
    let has = |state| {
        let mut parts = leg.parts().iter();
        parts.any(|part| life.parts.get(usize::from(part)) == Some(&state))
    };
    let (waits, may_be_out) = (has(PartState::Waiting), has(PartState::Claimed));
    if waits && leg.due > now {
        return Some((HoldReason::Backoff, Some(leg.due)));
    }
    if has(PartState::Out) || !waits && !may_be_out {
        return None;
    }
    let hold = hold();
    // What may have been handed over is in the queue for certain only while nothing of its route is out.
    if may_be_out && hold.in_flight > 0 {
        return None;
    }
    match hold.reason? {
        // Others' next tries.
        HoldReason::Backoff => None,
        // What is claimed has passed the budget, and first tries do not ask it.
        HoldReason::RetryBudget if may_be_out || leg.tries == 0 => None,
        reason => Some((reason, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_000);

    /// What one leg waits for, of these parts, after so many tries, the next one due then.
    fn leg(
        parts: &[PartState],
        (tries, due): (u8, u64),
        (reason, in_flight): (HoldReason, usize),
    ) -> Option<(HoldReason, Option<UnixMs>)> {
        let life = Life {
            parts: parts.into(),
            ..Life::default()
        };
        let leg = LegLife {
            count: u8::try_from(parts.len()).unwrap(),
            tries,
            due: UnixMs(due),
            ..LegLife::default()
        };
        let reason = Some(reason);
        of_leg(&life, &leg, NOW, || Hold { reason, in_flight })
    }

    #[test]
    fn a_tried_leg_waits_until_it_is_due_and_then_for_the_budget_or_what_holds_all() {
        let parts = [PartState::Accepted, PartState::Waiting];
        let due = Some((HoldReason::Backoff, Some(UnixMs(1_001))));
        assert_eq!(leg(&parts, (1, 1_001), (HoldReason::Rate, 0)), due);
        for reason in [HoldReason::RetryBudget, HoldReason::Rate] {
            assert_eq!(leg(&parts, (1, 1_000), (reason, 9)), Some((reason, None)));
        }
        assert_eq!(leg(&parts, (1, 1_000), (HoldReason::Backoff, 0)), None);
        let claimed = [PartState::Accepted, PartState::Claimed];
        assert_eq!(
            leg(&claimed, (1, 1_000), (HoldReason::RetryBudget, 0)),
            None
        );
    }

    #[test]
    fn a_leg_with_something_out_waits_for_its_answer_alone() {
        let rate = (HoldReason::Rate, 0);
        assert_eq!(
            leg(&[PartState::Out, PartState::Waiting], (0, 0), rate),
            None
        );
        assert_eq!(leg(&[PartState::Unknown], (0, 0), rate), None);
        let may = [PartState::Claimed, PartState::Waiting];
        assert_eq!(leg(&may, (0, 0), (HoldReason::Rate, 1)), None);
        assert_eq!(leg(&may, (0, 0), rate), Some((HoldReason::Rate, None)));
    }
}
