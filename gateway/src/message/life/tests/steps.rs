//! Lives of several legs and steps: devices side by side, push before SMS.

use smallvec::SmallVec;

use super::*;
use crate::message::Channel;
use crate::message::steps::{Device, FallbackOn, Leg, Platform, PushTarget, Step, Steps};

pub(super) const APNS: u16 = 0;
const APNS_2: u16 = 1;
pub(super) const FCM: u16 = 2;
pub(super) const SMS: u16 = 3;

/// Two iOS devices over two routes, an Android one over one, and then an SMS of two segments.
fn steps(on: FallbackOn) -> Steps {
    let step = |channel| Step {
        channel,
        on,
        failover_on: FailoverOn::ALL,
    };
    let leg = |step, first, count, routes: &[u16]| Leg {
        step,
        first,
        count,
        routes: routes.iter().copied().map(RouteIx).collect(),
    };
    let device = |platform| Device {
        platform,
        app: "shop".into(),
        token: "ab".into(),
        registered_at: UnixMs::ZERO,
    };
    Steps {
        steps: smallvec![step(Channel::Push), step(Channel::Sms)],
        legs: vec![
            leg(0, 0, 2, &[APNS, APNS_2]),
            leg(0, 2, 1, &[FCM]),
            leg(1, 3, 2, &[SMS]),
        ],
        push: Some(PushTarget::Devices(vec![
            device(Platform::Ios),
            device(Platform::Ios),
            device(Platform::Android),
        ])),
        app_receipts: false,
    }
}

pub(super) fn case(on: FallbackOn, on_ambiguous: OnAmbiguous) -> Case {
    let plain = Case::new(2, on_ambiguous);
    let message = Message {
        routes: SmallVec::new(),
        steps: Some(Box::new(steps(on))),
        ..plain.message
    };
    let life = Life::begin(&message);
    Case {
        message,
        life,
        ..plain
    }
}

impl Case {
    fn answer(&mut self, route: u16, part: u8, result: OutcomeResult, retry: Retry) -> Then {
        let settle = Settle {
            route: RouteIx(route),
            last: true,
            ..self.settled(part, result, retry)
        };
        self.settle(settle)
    }

    pub(super) fn take(&mut self, route: u16, part: u8) -> Then {
        self.answer(route, part, OutcomeResult::Accepted, Retry::Never)
    }

    pub(super) fn refuse(&mut self, route: u16, part: u8, retry: Retry) -> Then {
        self.answer(route, part, OutcomeResult::Refused, retry)
    }

    pub(super) fn open_routes(&self) -> Vec<u16> {
        let open = self.life.open_legs(&self.message);
        open.map(|(route, ..)| route.0).collect()
    }
}

#[test]
fn a_step_goes_out_on_all_of_its_routes_and_is_sent_when_one_device_has_it() {
    let mut case = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    assert_eq!(case.open_routes(), [APNS, FCM]);
    assert_eq!(case.refuse(FCM, 2, Retry::Never), Then::Rest);
    assert_eq!(case.life.status, Status::Queued, "the other leg is open");
    assert_eq!(case.open_routes(), [APNS]);
    let settle = case.settled(0, OutcomeResult::Refused, Retry::Never);
    assert_eq!(case.settle(settle), Then::Wait, "the other device is out");
    assert_eq!(case.take(APNS, 1), Then::Rest);
    assert_eq!((case.life.status, case.life.step), (Status::Sent, 0));
    assert!(case.open_routes().is_empty());
    assert_eq!(case.life.reason, None);
}

#[test]
fn what_nobody_takes_falls_back_once_the_last_leg_has_ended() {
    let mut case = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    case.settle(case.settled(0, OutcomeResult::Refused, Retry::Never));
    assert_eq!(case.refuse(APNS, 1, Retry::Never), Then::Rest);
    let version = case.life.version;
    let then = case.refuse(FCM, 2, Retry::Never);
    let Then::NextStep {
        step: 1,
        trigger,
        order,
    } = then
    else {
        panic!("{then:?}");
    };
    assert_eq!(trigger, FallbackOn::REJECTED);
    let told = case.life.log.last().unwrap();
    assert_eq!(told.event, Some(EventKind::MessageFallbackStarted));
    assert_eq!((case.life.status, case.life.step), (Status::Queued, 1));
    assert_eq!(case.life.version, version + 1);
    assert_eq!(case.open_routes(), [SMS]);
    let (leg, stands) = case.life.leg_on(&case.message, RouteIx(SMS)).unwrap();
    assert_eq!((leg.first, stands.order), (3, order));
    assert_eq!(case.life.parts_to_send(stands), Parts(0b11000));
    // Segments are all needed.
    case.settle(Settle {
        route: RouteIx(SMS),
        ..case.settled(3, OutcomeResult::Accepted, Retry::Never)
    });
    assert_eq!(case.take(SMS, 4), Then::Rest);
    assert_eq!(case.life.status, Status::Sent);
    for part in [3, 4] {
        case.receipt(SMS, part, ReceiptState::Delivered);
    }
    assert_eq!(case.life.status, Status::Delivered);
    assert_eq!(case.message.segments_delivered(&case.life), 2);
}

#[test]
fn without_the_trigger_the_plan_ends_and_unknown_is_no_refusal() {
    let mut plain = case(FallbackOn::NO_ROUTE, OnAmbiguous::Retry);
    plain.settle(plain.settled(0, OutcomeResult::Refused, Retry::Never));
    plain.refuse(APNS, 1, Retry::Never);
    assert_eq!(plain.refuse(FCM, 2, Retry::Never), Then::Rest);
    assert_eq!(plain.life.status, Status::Failed);

    let mut held = case(FallbackOn::DEFAULT, OnAmbiguous::Hold);
    held.settle(held.settled(0, OutcomeResult::Unknown, Retry::Never));
    assert_eq!(
        held.life.status,
        Status::Queued,
        "of the others more is known"
    );
    assert_eq!(held.refuse(APNS, 1, Retry::Never), Then::Rest);
    assert_eq!(held.refuse(FCM, 2, Retry::Never), Then::Rest);
    assert_eq!(held.life.status, Status::Unknown, "a copy may have arrived");
}

#[test]
fn only_the_devices_that_may_take_it_are_tried_again_or_elsewhere() {
    let mut case = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    case.settle(case.settled(0, OutcomeResult::Refused, Retry::Never));
    let after = Retry::After {
        seconds: 60,
        tries: 1,
    };
    let then = case.refuse(APNS, 1, after);
    let Then::Again { due } = then else {
        panic!("{then:?}");
    };
    assert!(
        due.0 >= case.now + 60_000,
        "as long as the service asked for"
    );
    let to_send = |case: &Case, at: usize| case.life.parts_to_send(&case.life.legs[at]);
    assert_eq!(to_send(&case, 0), Parts(0b10), "what was refused stays so");
    let then = case.refuse(APNS, 1, after);
    assert!(matches!(then, Then::NextRoute { .. }), "{then:?}");
    assert_eq!(case.open_routes(), [APNS_2, FCM]);
    assert_eq!(to_send(&case, 0), Parts(0b10));
    assert!(!case.life.duplicate_possible);
    case.answer(APNS_2, 1, OutcomeResult::Unknown, Retry::Never);
    case.answer(APNS_2, 1, OutcomeResult::Accepted, Retry::Never);
    assert!(case.life.duplicate_possible, "it went out twice");
    assert_eq!(case.life.status, Status::Queued);
    assert_eq!(case.take(FCM, 2), Then::Rest);
    assert_eq!(case.life.status, Status::Sent);
}

#[test]
fn an_answer_counts_on_its_own_route_and_step_alone() {
    let mut case = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    assert_eq!(case.take(FCM, 0), Then::Kept, "another leg's part");
    assert_eq!(case.take(SMS, 3), Then::Kept, "its step has not begun");
    assert_eq!(case.open_routes(), [APNS, FCM]);
}

#[test]
fn time_is_over_for_the_others_when_one_device_has_it() {
    let mut case = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    let context = case.context();
    let none = decide::expire(&case.message, &case.life, context).unwrap();
    assert_eq!(none.status, Status::Expired);
    case.take(FCM, 2);
    let one = decide::expire(&case.message, &case.life, context).unwrap();
    assert_eq!((one.status, one.is_final), (Status::Sent, true));
}

#[test]
fn legs_without_a_route_have_ended_and_steps_without_one_give_way() {
    let routeless = |legs: &[usize], on| {
        let mut case = case(on, OnAmbiguous::Retry);
        let mut steps = steps(on);
        legs.iter().for_each(|at| steps.legs[*at].routes.clear());
        case.message.steps = Some(Box::new(steps));
        case.life = Life::begin(&case.message);
        case
    };
    let mut one = routeless(&[0], FallbackOn::DEFAULT);
    assert_eq!(one.open_routes(), [FCM]);
    assert_eq!(
        one.refuse(FCM, 2, Retry::Never),
        Then::NextStep {
            step: 1,
            trigger: FallbackOn::REJECTED,
            order: one.now,
        }
    );
    let mut all = routeless(&[0, 1], FallbackOn::DEFAULT);
    assert_eq!((all.life.step, all.open_routes()), (1, vec![SMS]));
    let context = all.context();
    let began = decide::began_later(&all.life, context).unwrap();
    assert_eq!(began.event, Some(EventKind::MessageFallbackStarted));
    let stays = routeless(&[0, 1], FallbackOn::REJECTED);
    assert_eq!(
        stays.life.status,
        Status::Rejected,
        "no_route is no trigger"
    );
    let none = routeless(&[0, 1, 2], FallbackOn::DEFAULT);
    assert_eq!(none.life.status, Status::Rejected);
}

#[test]
fn a_route_that_the_config_loses_ends_its_leg_alone() {
    let mut case = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    let context = case.context();
    let lost = |case: &Case, leg, routes: &[u16]| {
        let routes = routes.iter().copied().map(RouteIx).collect();
        decide::replanned(&case.message, &case.life, leg, routes, context).unwrap()
    };
    let fcm = lost(&case, 1, &[FCM]);
    assert_eq!(fcm.status, Status::Queued);
    case.life.apply(fcm);
    assert_eq!(case.open_routes(), [APNS]);
    let apns = lost(&case, 0, &[APNS]);
    assert_eq!(apns.event, Some(EventKind::MessageFallbackStarted));
    case.life.apply(apns);
    assert_eq!(case.open_routes(), [SMS]);
}

#[test]
fn a_life_is_the_same_when_its_log_is_applied_again() {
    let mut case = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    case.settle(case.settled(0, OutcomeResult::Refused, Retry::Never));
    case.refuse(APNS, 1, Retry::Elsewhere);
    case.refuse(APNS_2, 1, Retry::Never);
    case.refuse(FCM, 2, Retry::Never);
    case.take(SMS, 4);
    let again = case.life.as_of(&case.message, case.life.log.len());
    let mut replayed = Life::begin(&case.message);
    for change in case.life.log.clone() {
        replayed.apply(change);
    }
    assert_eq!(&replayed, &*again);
}

/// Nothing of a step that policy refuses goes out any more, and what a carrier has of it stays as it is.
#[test]
fn a_step_that_policy_refuses_gives_way_as_far_as_nobody_has_it() {
    let pass = |case: &mut Case| {
        let context = Context {
            instead: Some(1),
            ..case.context()
        };
        let reason = Reason::Suppressed;
        let change = decide::rejected(&case.message, &case.life, reason, context).unwrap();
        case.life.apply(change.clone());
        change
    };
    let mut waits = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    waits.settle(waits.settled(0, OutcomeResult::Refused, Retry::Never));
    let attempts = waits.life.attempts;
    let passed = pass(&mut waits);
    let What::PassedOver { parts, .. } = passed.what else {
        panic!("{passed:?}");
    };
    assert_eq!(parts, Parts(0b110), "what was refused is not told twice");
    assert_eq!(passed.event, Some(EventKind::MessageFallbackStarted));
    assert_eq!((waits.life.step, waits.open_routes()), (1, vec![SMS]));
    assert_eq!(waits.life.attempts, attempts, "no try was made");
    assert_eq!(waits.life.reason, Some(Reason::Suppressed));
    // What it waited for says nothing any more.
    assert_eq!(waits.take(APNS, 1), Then::Kept);
    let replayed = waits.life.as_of(&waits.message, usize::MAX).into_owned();
    let mut again = Life::begin(&waits.message);
    for change in waits.life.log.clone() {
        again.apply(change);
    }
    assert_eq!(replayed, again);
    waits.settle(Settle {
        route: RouteIx(SMS),
        ..waits.settled(3, OutcomeResult::Accepted, Retry::Never)
    });
    assert_eq!(waits.take(SMS, 4), Then::Rest);
    assert_eq!((waits.life.status, waits.life.reason), (Status::Sent, None));

    let mut had = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    had.take(FCM, 2);
    pass(&mut had);
    assert_eq!((had.life.status, had.life.step), (Status::Sent, 0));
    let mut unknown = case(FallbackOn::DEFAULT, OnAmbiguous::Hold);
    unknown.answer(FCM, 2, OutcomeResult::Unknown, Retry::Never);
    pass(&mut unknown);
    assert_eq!(
        (unknown.life.status, unknown.life.step),
        (Status::Unknown, 0)
    );
}

/// The same of an SMS of which a carrier has one segment: a receipt of that is no news of the message.
#[test]
fn an_sms_that_policy_refuses_half_way_gives_way_to_the_push() {
    let mut case = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    let mut steps = steps(FallbackOn::DEFAULT);
    steps.steps.reverse();
    steps
        .legs
        .iter_mut()
        .for_each(|leg| leg.step = 1 - leg.step);
    case.message.steps = Some(Box::new(steps));
    case.life = Life::begin(&case.message);
    assert_eq!(case.open_routes(), [SMS]);
    case.settle(Settle {
        route: RouteIx(SMS),
        ..case.settled(3, OutcomeResult::Accepted, Retry::Never)
    });
    let context = Context {
        instead: Some(1),
        ..case.context()
    };
    let reason = Reason::Suppressed;
    let change = decide::rejected(&case.message, &case.life, reason, context).unwrap();
    case.life.apply(change);
    assert_eq!(case.life.parts[3], PartState::Accepted);
    assert_eq!(case.open_routes(), [APNS, FCM]);
    case.receipt(SMS, 3, ReceiptState::Delivered);
    assert_eq!((case.life.status, case.life.step), (Status::Queued, 1));
    case.take(FCM, 2);
    case.refuse(APNS, 0, Retry::Never);
    assert_eq!(case.take(APNS, 1), Then::Rest);
    assert_eq!((case.life.status, case.life.reason), (Status::Sent, None));
}
