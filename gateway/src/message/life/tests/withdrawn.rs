//! Devices that were withdrawn, and their siblings: each order of what dispatchers and the store do.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::steps::{APNS, FCM, case};
use super::*;
use crate::message::life::app;
use crate::message::steps::FallbackOn;

const HERE: Retry = Retry::Here { tries: 3 };

/// The push of `steps::case` with all three devices in one leg over APNs (`wide`), or as it is.
fn push(wide: bool, on_ambiguous: OnAmbiguous, app_receipts: bool) -> Case {
    let mut made = case(FallbackOn::DEFAULT, on_ambiguous);
    let steps = made.message.steps.as_mut().unwrap();
    steps.app_receipts = app_receipts;
    if wide {
        let routes: SmallVec<[RouteIx; 4]> = steps.legs[0].routes.clone();
        steps.legs[0].count = 3;
        steps.legs[0].routes = routes;
        steps.legs.remove(1);
    }
    made.life = Life::begin(&made.message);
    made
}

impl Case {
    fn intent(&mut self, route: u16, parts: u32) {
        let (route, parts) = (RouteIx(route), Parts(parts));
        let context = self.context();
        let change = decide::intent(&self.life, What::Intent { route, parts }, context);
        self.life.apply(change);
    }

    /// An answer that the dispatcher gave before the last one.
    fn early(&mut self, route: u16, part: u8, result: OutcomeResult, retry: Retry) -> Then {
        self.answered(route, part, result, retry, false)
    }

    fn answered(
        &mut self,
        route: u16,
        part: u8,
        result: OutcomeResult,
        retry: Retry,
        last: bool,
    ) -> Then {
        let mut settle = Settle {
            route: RouteIx(route),
            last,
            ..self.settled(part, result, retry)
        };
        if result == OutcomeResult::Unknown {
            settle.outcome.reason = Some(Reason::ProviderTimeout);
        }
        self.settle(settle)
    }

    /// As `Writer::reject` and `Writer::overdue` do.
    fn give_up(&mut self, parts: u32, reason: Reason) -> bool {
        let context = self.context();
        let life = &self.life;
        let change =
            decide::withdrawn(life, Parts(parts), reason, context).or_else(|| match reason {
                Reason::Suppressed => decide::rejected(&self.message, life, reason, context),
                _ => decide::expire(&self.message, life, context),
            });
        let change = change.unwrap();
        let withdrawn = matches!(change.what, What::Withdrawn { .. });
        self.life.apply(change);
        withdrawn
    }

    fn stood(&self) -> (Status, Option<Reason>) {
        (self.life.status, self.life.reason)
    }
}

/// Under hold, with a window of two: 0 and 1 are out, 2 waits for them. They come back, 2 goes to the queue and
/// is found suppressed in the same turn; its rejection is asked for before the answers are settled.
fn both_come_back(first: OutcomeResult, second: OutcomeResult) -> Case {
    let mut case = push(true, OnAmbiguous::Hold, false);
    case.intent(APNS, 0b11);
    assert!(case.give_up(0b100, Reason::Suppressed));
    case.early(APNS, 0, first, HERE);
    case.early(APNS, 1, second, HERE);
    case
}

#[test]
fn devices_that_come_back_end_with_the_one_that_waited_for_them() {
    let (not_sent, refused) = (OutcomeResult::NotSent, OutcomeResult::Refused);
    let ends = [
        ((not_sent, refused), Status::Rejected),
        ((refused, not_sent), Status::Rejected),
        ((not_sent, not_sent), Status::Rejected),
        ((not_sent, OutcomeResult::Accepted), Status::Sent),
        ((not_sent, OutcomeResult::Unknown), Status::Unknown),
    ];
    for ((first, second), status) in ends {
        let case = both_come_back(first, second);
        assert_eq!(case.life.status, status, "{first:?}, {second:?}");
    }
}

#[test]
fn an_unknown_device_ends_the_same_in_both_orders() {
    let made = || {
        let mut case = push(true, OnAmbiguous::Retry, false);
        case.life.claim(Parts(0b111), true);
        case.early(APNS, 2, OutcomeResult::Refused, Retry::Never);
        case
    };
    let mut answer_first = made();
    answer_first.early(APNS, 0, OutcomeResult::Unknown, Retry::Never);
    assert!(!answer_first.give_up(0b10, Reason::Suppressed));
    let mut withdrawn_first = made();
    assert!(withdrawn_first.give_up(0b10, Reason::Suppressed));
    let then = withdrawn_first.early(APNS, 0, OutcomeResult::Unknown, Retry::Never);
    let after = withdrawn_first.life.status;
    if after == Status::Queued {
        // It is due, and its dispatcher finds it suppressed.
        withdrawn_first.give_up(0b1, Reason::Suppressed);
    }
    assert_eq!(
        answer_first.stood(),
        withdrawn_first.stood(),
        "{then:?} {after:?}"
    );
}

#[test]
fn a_device_that_was_refused_for_now_is_not_tried_again_after_a_withdrawal() {
    let mut case = push(true, OnAmbiguous::Retry, false);
    case.life.claim(Parts(0b111), true);
    case.early(APNS, 2, OutcomeResult::Refused, Retry::Never);
    assert!(case.give_up(0b10, Reason::Suppressed));
    let then = case.early(APNS, 0, OutcomeResult::Refused, HERE);
    assert_eq!(then, Then::Rest);
}

/// An app tells of a device while its entry, with another device, waits for a further try.
fn told_and_withdrawn(reason: Reason) -> Case {
    let mut case = push(false, OnAmbiguous::Retry, true);
    case.life.claim(Parts(0b111), true);
    case.early(APNS, 1, OutcomeResult::Refused, HERE);
    let then = case.answered(APNS, 0, OutcomeResult::Unknown, Retry::Never, true);
    assert!(matches!(then, Then::Again { .. }));
    let receipt = AppReceipt {
        part: 0,
        event: AppEvent::Delivered,
        told_at: None,
        by_token: true,
    };
    let context = case.context();
    assert!(app::check(&case.message, &case.life, receipt, context.now).is_ok());
    for change in app::receipt(&case.message, &case.life, receipt, context) {
        case.life.apply(change);
    }
    // The entry of both is due; the other route has its device out.
    assert!(case.give_up(0b11, reason));
    case.answered(FCM, 2, OutcomeResult::Refused, Retry::Never, true);
    case
}

#[test]
fn what_an_app_told_outlives_a_suppression() {
    let case = told_and_withdrawn(Reason::Suppressed);
    assert_eq!(case.stood().0, Status::Delivered, "{:?}", case.life.parts);
}

#[test]
fn what_an_app_told_outlives_its_time() {
    let case = told_and_withdrawn(Reason::ExpiredInQueue);
    assert_eq!(case.stood().0, Status::Delivered, "{:?}", case.life.parts);
}

#[test]
fn unknown_says_why_nobody_knows() {
    let mut case = push(true, OnAmbiguous::Hold, false);
    case.intent(APNS, 0b111);
    case.early(APNS, 0, OutcomeResult::Unknown, Retry::Never);
    case.early(APNS, 1, OutcomeResult::Refused, Retry::Never);
    let then = case.answered(APNS, 2, OutcomeResult::Refused, HERE, true);
    assert!(matches!(then, Then::Again { .. }));
    assert!(!case.give_up(0b100, Reason::Suppressed));
    assert_eq!(
        case.stood(),
        (Status::Unknown, Some(Reason::ProviderTimeout))
    );
}

#[test]
fn unknown_does_not_say_suppressed() {
    let mut case = push(false, OnAmbiguous::Hold, false);
    case.intent(APNS, 0b1);
    case.intent(FCM, 0b100);
    case.early(APNS, 0, OutcomeResult::Unknown, Retry::Never);
    assert!(case.give_up(0b10, Reason::Suppressed));
    case.answered(FCM, 2, OutcomeResult::NotSent, HERE, true);
    assert!(!case.give_up(0b100, Reason::Suppressed));
    assert_eq!(
        case.stood(),
        (Status::Unknown, Some(Reason::ProviderTimeout))
    );
}

#[test]
fn status_and_reason_go_together_when_devices_end_for_two() {
    let (suppressed, expired) = (Reason::Suppressed, Reason::ExpiredInQueue);
    for (first, second) in [(suppressed, expired), (expired, suppressed)] {
        let mut case = push(false, OnAmbiguous::Retry, false);
        case.life.claim(Parts(0b111), true);
        assert!(case.give_up(0b11, first));
        assert!(!case.give_up(0b100, second));
        let ends = [
            (Status::Expired, Some(expired)),
            (Status::Rejected, Some(suppressed)),
        ];
        assert!(ends.contains(&case.stood()), "{:?}", case.stood());
    }
}

/// A receipt before its own answer, which is the last on its way, and a sibling that waits to be decided on.
#[test]
fn the_answer_of_a_told_device_decides_on_its_sibling() {
    let mut case = push(true, OnAmbiguous::Retry, true);
    case.life.claim(Parts(0b111), true);
    assert!(case.give_up(0b10, Reason::Suppressed));
    case.early(APNS, 2, OutcomeResult::Refused, HERE);
    let receipt = AppReceipt {
        part: 0,
        event: AppEvent::Delivered,
        told_at: None,
        by_token: true,
    };
    let context = case.context();
    for change in app::receipt(&case.message, &case.life, receipt, context) {
        case.life.apply(change);
    }
    let then = case.early(APNS, 0, OutcomeResult::Accepted, Retry::Never);
    assert!(
        then != Then::Kept || case.life.status != Status::Queued,
        "nobody has it: {:?}",
        case.life.parts
    );
}

#[test]
fn an_unknown_leg_ends_with_its_withdrawn_sibling() {
    let mut case = push(false, OnAmbiguous::Retry, false);
    case.life.claim(Parts(0b111), true);
    case.early(APNS, 0, OutcomeResult::Unknown, Retry::Never);
    assert!(case.give_up(0b10, Reason::Suppressed));
    assert_eq!(case.open_routes(), [FCM]);
    case.answered(FCM, 2, OutcomeResult::Refused, Retry::Never, true);
    assert_eq!(case.stood().0, Status::Unknown);
}

/// A dispatcher of one leg, as far as it matters here.
#[derive(Debug, Default)]
struct Lane {
    /// What waits in its queue.
    entry: Option<Parts>,
    out: Parts,
    /// What waits for those that are out.
    waiting: Parts,
    /// What the store is told of, in this order …
    settles: VecDeque<Settle>,
    /// … and beside that.
    given_up: VecDeque<(Parts, Reason)>,
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.entry.is_none() && self.out.is_empty() && self.waiting.is_empty()
    }

    /// Those of its steps that can be next.
    fn can(&self) -> Vec<Turn> {
        let can = [
            (self.entry.is_some(), Turn::Take),
            (!self.out.is_empty(), Turn::Answer),
            (!self.settles.is_empty(), Turn::Settle),
            (!self.given_up.is_empty(), Turn::GiveUp),
        ];
        let can = can.into_iter().filter(|(can, _)| *can);
        can.map(|(_, turn)| turn).collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Take,
    Answer,
    Settle,
    GiveUp,
}

/// A push, its dispatchers and its store.
struct Model {
    case: Case,
    lanes: Vec<Lane>,
    hold: bool,
    suppressed: bool,
    expired: bool,
    withdrawn: Parts,
    random: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        random ^= random >> 29;
        let (hold, wide) = (random & 2 == 0, random & 4 == 0);
        let policy = match hold {
            true => OnAmbiguous::Hold,
            false => OnAmbiguous::Retry,
        };
        let case = push(wide, policy, false);
        let legs = case.life.legs.iter().filter(|leg| leg.step == 0);
        let lanes = legs.map(|leg| Lane {
            entry: Some(leg.parts()),
            ..Lane::default()
        });
        Self {
            lanes: lanes.collect(),
            case,
            hold,
            suppressed: false,
            expired: false,
            withdrawn: Parts::default(),
            random,
        }
    }

    /// xorshift64.
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).unwrap() % bound
    }

    fn route(&self, at: usize) -> RouteIx {
        let at = u8::try_from(at).unwrap();
        self.case.life.route_of(&self.case.message, at).unwrap()
    }

    fn is_open(&self, at: usize) -> bool {
        self.case.life.status == Status::Queued && self.case.life.legs[at].state == LegState::Open
    }

    /// The next thing that happens; `false` when nothing can.
    fn turn(&mut self) -> Result<bool, String> {
        let lanes = self.lanes.iter().enumerate();
        let can: Vec<_> = lanes
            .flat_map(|(at, lane)| lane.can().into_iter().map(move |turn| (at, turn)))
            .collect();
        if can.is_empty() {
            return Ok(false);
        }
        let (at, turn) = can[self.below(can.len())];
        let before = (self.case.life.status, self.case.life.is_final);
        match turn {
            Turn::Take => self.take(at)?,
            Turn::Answer => self.answer(at)?,
            Turn::Settle => self.settle(at)?,
            Turn::GiveUp => self.give_up(at)?,
        }
        let after = (self.case.life.status, self.case.life.is_final);
        match before.0 == Status::Queued || before == after {
            true => Ok(true),
            false => Err(format!("ends twice: {before:?} {after:?}")),
        }
    }

    fn take(&mut self, at: usize) -> Result<(), String> {
        let parts = self.lanes[at].entry.take().unwrap();
        let reason = match (self.expired, self.suppressed) {
            (true, _) => Some(Reason::ExpiredInQueue),
            (false, true) => Some(Reason::Suppressed),
            (false, false) => None,
        };
        if let Some(reason) = reason {
            self.lanes[at].given_up.push_back((parts, reason));
        } else if self.is_open(at) {
            if parts.0 & self.withdrawn.0 != 0 {
                return Err(format!("what was withdrawn goes out: {parts:?}"));
            }
            let window = self.below(3) + 1;
            let mut out = Parts::default();
            parts.iter().take(window).for_each(|part| out.add(part));
            if self.hold {
                let route = self.route(at);
                self.case.intent(route.0, out.0);
            } else {
                self.case.life.claim(parts, true);
            }
            let lane = &mut self.lanes[at];
            if !lane.out.is_empty() {
                return Err("it is out twice".to_owned());
            }
            (lane.out, lane.waiting) = (out, Parts(parts.0 & !out.0));
        }
        Ok(())
    }

    fn answer(&mut self, at: usize) -> Result<(), String> {
        const ANSWERS: [(OutcomeResult, Retry); 6] = [
            (OutcomeResult::Accepted, Retry::Never),
            (OutcomeResult::Unknown, Retry::Never),
            (OutcomeResult::Refused, Retry::Never),
            (OutcomeResult::Refused, HERE),
            (OutcomeResult::Refused, Retry::Elsewhere),
            (OutcomeResult::NotSent, Retry::Never),
        ];
        let (result, retry) = ANSWERS[self.below(ANSWERS.len())];
        let out: Vec<u8> = self.lanes[at].out.iter().collect();
        let part = out[self.below(out.len())];
        let (route, hold) = (self.route(at), self.hold);
        let settle = self.case.settled(part, result, retry);
        let lane = &mut self.lanes[at];
        lane.out.remove(part);
        if result == OutcomeResult::NotSent && !hold {
            lane.waiting.add(part);
        } else {
            let last = lane.out.is_empty() && lane.waiting.is_empty();
            lane.settles.push_back(Settle {
                route,
                last,
                ..settle
            });
        }
        if lane.out.is_empty() && !lane.waiting.is_empty() {
            if lane.entry.is_some() {
                return Err("it waits twice".to_owned());
            }
            lane.entry = Some(std::mem::take(&mut lane.waiting));
        }
        Ok(())
    }

    fn settle(&mut self, at: usize) -> Result<(), String> {
        let settle = self.lanes[at].settles.pop_front().unwrap();
        let then = self.case.settle(settle);
        let goes = matches!(
            then,
            Then::Again { .. } | Then::Back | Then::NextRoute { .. }
        );
        if goes && self.is_open(at) {
            if !self.lanes[at].is_idle() {
                return Err(format!("it waits twice: {then:?}"));
            }
            let leg = self.case.life.legs[at];
            self.lanes[at].entry = Some(self.case.life.parts_to_send(&leg));
        }
        Ok(())
    }

    /// As `Writer::reject` and `Writer::overdue` do.
    fn give_up(&mut self, at: usize) -> Result<(), String> {
        let (parts, reason) = self.lanes[at].given_up.pop_front().unwrap();
        let is_open = self.is_open(at);
        if reason == Reason::Suppressed && is_open && !self.suppressed {
            self.lanes[at].entry = Some(parts);
            return Ok(());
        }
        let overdue = reason == Reason::ExpiredInQueue;
        if self.case.life.status != Status::Queued || !is_open && !overdue {
            return Ok(());
        }
        if self.case.give_up(parts.0, reason) {
            if let What::Withdrawn { parts, .. } = &self.case.life.log.last().unwrap().what {
                self.withdrawn.0 |= parts.0;
            }
            return Ok(());
        }
        let has = |lane: &Lane| !lane.out.is_empty() || !lane.settles.is_empty();
        match self.case.life.status {
            Status::Sent => Ok(()),
            _ if self.lanes.iter().any(has) => Err(format!(
                "it ends while a link has it: {:?}",
                self.case.stood()
            )),
            _ => Ok(()),
        }
    }

    fn run(mut self) -> Result<(), String> {
        // Suppressed or not, changed at most three times; and then its time is over, or not.
        let mut changes = 3;
        for _ in 0..400 {
            if changes > 0 && self.below(6) == 0 {
                changes -= 1;
                match self.below(3) {
                    0 => self.expired = true,
                    _ => self.suppressed = !self.suppressed,
                }
            }
            if !self.turn()? {
                break;
            }
        }
        let had = self.lanes.iter().any(|lane| !lane.is_idle());
        match self.case.life.status {
            Status::Queued if !had && self.case.life.step == 0 => {
                Err(format!("nobody has it: {:?}", self.case.life.parts))
            }
            _ => Ok(()),
        }
    }
}

/// Orders that are tried. Chosen: half a second. 400,000 hold; where a leg with withdrawn parts waited for those
/// that had come back, one in 1,600 of them left a push to nobody.
const ORDERS: u64 = 20_000;

#[test]
fn whatever_the_order_every_push_ends_once_with_nothing_out() {
    for seed in 1..ORDERS {
        if let Err(why) = Model::new(seed).run() {
            panic!("seed {seed}: {why}");
        }
    }
}
