//! Lives of pushes whose apps tell what became of them.

use proptest::prelude::*;

use super::steps::{APNS, FCM, SMS, case};
use super::*;
use crate::message::life::app::{self, AppRefusal};
use crate::message::life::decide::LATE_RECEIPTS;
use crate::message::life::{AppEvent, AppReceipt};
use crate::message::steps::FallbackOn;

/// Two iOS devices and an Android one, then an SMS; the app tells of the push.
fn asked() -> Case {
    let mut case = case(FallbackOn::DEFAULT, OnAmbiguous::Retry);
    case.message.steps.as_mut().unwrap().app_receipts = true;
    case.life = Life::begin(&case.message);
    case
}

/// All devices have it.
fn sent() -> Case {
    let mut case = asked();
    case.settle(case.settled(0, OutcomeResult::Accepted, Retry::Never));
    case.take(APNS, 1);
    case.take(FCM, 2);
    assert_eq!(
        (case.life.status, case.life.is_final),
        (Status::Sent, false)
    );
    case
}

fn told(part: u8, event: AppEvent) -> AppReceipt {
    AppReceipt {
        part,
        event,
        told_at: None,
        by_token: true,
    }
}

impl Case {
    /// The events that a receipt makes.
    fn tell(&mut self, part: u8, event: AppEvent) -> Result<Vec<EventKind>, AppRefusal> {
        let (receipt, context) = (told(part, event), self.context());
        app::check(&self.message, &self.life, receipt, context.now)?;
        let changes = app::receipt(&self.message, &self.life, receipt, context);
        let mut made = Vec::new();
        for change in changes {
            assert_eq!(
                change.version > self.life.version,
                change.event.is_some(),
                "a version for each event"
            );
            made.extend(change.event);
            self.life.apply(change);
        }
        Ok(made)
    }

    fn stands(&self) -> (Status, bool) {
        (self.life.status, self.life.is_final)
    }

    /// Its time, and what the store does then.
    fn overdue(&mut self) -> Option<EventKind> {
        let context = self.context();
        let (message, life) = (&self.message, &self.life);
        let change = decide::expire(message, life, context)
            .or_else(|| decide::no_receipt(message, life, context))?;
        let event = change.event;
        self.life.apply(change);
        if let Some(more) = app::catch_up(&self.life, context) {
            self.life.apply(more);
        }
        event
    }
}

use AppEvent::{Delivered, Displayed, Opened};
use EventKind::{MessageDelivered, MessageRead, MessageSent};

#[test]
fn each_event_of_a_message_is_told_once_whichever_device_tells_it_first() {
    let mut case = sent();
    assert_eq!(case.tell(1, Delivered), Ok(vec![MessageDelivered]));
    assert_eq!(case.stands(), (Status::Delivered, true));
    assert_eq!(case.tell(1, Delivered), Ok(vec![]), "twice is once");
    let changes = case.life.log.len();
    assert_eq!(
        case.tell(0, Delivered),
        Ok(vec![]),
        "shown of the other device"
    );
    assert_eq!(case.life.log.len(), changes + 1);
    assert_eq!(case.tell(0, Displayed), Ok(vec![MessageRead]));
    assert_eq!(case.tell(2, Displayed), Ok(vec![]));
    assert_eq!(case.tell(2, Opened), Ok(vec![MessageRead]));
    assert_eq!(case.tell(0, Opened), Ok(vec![]));
    assert_eq!(case.stands(), (Status::Read, true));
    assert_eq!(case.life.reason, None);
}

#[test]
fn what_is_opened_was_delivered_too() {
    let mut case = sent();
    let version = case.life.version;
    let both = vec![MessageDelivered, MessageRead];
    assert_eq!(case.tell(2, Opened), Ok(both));
    assert_eq!(case.life.version, version + 2);
    // The slower ones change nothing any more.
    assert_eq!(case.tell(2, Displayed), Ok(vec![]));
    assert_eq!(case.tell(2, Delivered), Ok(vec![]));
    assert_eq!(case.stands(), (Status::Read, true));
}

#[test]
fn an_app_that_tells_nothing_leaves_it_sent_and_may_still_tell_for_three_days() {
    let mut case = sent();
    assert_eq!(case.overdue(), Some(MessageSent));
    assert_eq!(case.stands(), (Status::Sent, true));
    assert_eq!(case.life.reason, None, "it was sent");
    assert_eq!(case.overdue(), None);
    let mut late = case.life.clone();
    std::mem::swap(&mut late, &mut case.life);
    assert_eq!(case.tell(0, Displayed).map(|made| made.len()), Ok(2));
    case.life = late;
    case.now += u64::try_from(LATE_RECEIPTS.as_millis()).unwrap();
    assert_eq!(case.tell(0, Delivered), Err(AppRefusal::TooLate));
}

#[test]
fn a_repeated_receipt_is_good_for_ever() {
    let mut case = sent();
    case.tell(0, Opened).unwrap();
    case.now += 2 * u64::try_from(LATE_RECEIPTS.as_millis()).unwrap();
    assert_eq!(case.tell(0, Opened), Ok(vec![]));
    assert_eq!(case.tell(1, Opened), Err(AppRefusal::TooLate));
}

#[test]
fn only_what_may_have_been_sent_can_be_told_of() {
    let mut case = asked();
    assert_eq!(case.tell(0, Delivered), Err(AppRefusal::NotSent));
    assert_eq!(
        case.tell(3, Delivered),
        Err(AppRefusal::NoDevice),
        "a segment"
    );
    assert_eq!(case.tell(9, Delivered), Err(AppRefusal::NoDevice));
    case.settle(case.settled(0, OutcomeResult::Refused, Retry::Never));
    assert_eq!(case.tell(0, Delivered), Err(AppRefusal::NotSent));
    // Of a process that was killed nobody knows.
    let what = What::MaybeSent {
        parts: Parts::one(1),
    };
    let context = case.context();
    case.life.apply(decide::intent(&case.life, what, context));
    assert_eq!(case.tell(1, Delivered), Ok(vec![]), "others wait");
    case.message.steps.as_mut().unwrap().app_receipts = false;
    assert_eq!(case.tell(1, Opened), Err(AppRefusal::NotAsked));
}

#[test]
fn told_before_its_answer_it_waits_for_the_other_devices_and_ends_as_told() {
    let mut case = asked();
    case.life.claim(Parts(0b111), true);
    assert_eq!(case.tell(0, Opened), Ok(vec![]));
    assert_eq!(case.stands(), (Status::Queued, false), "others are out");
    assert_eq!(case.open_routes(), [APNS, FCM]);
    assert_eq!(case.tell(1, Delivered), Ok(vec![]));
    assert_eq!(
        case.open_routes(),
        [FCM],
        "nobody is left on the other route"
    );
    assert_eq!(case.take(FCM, 2), Then::Rest);
    assert_eq!(case.stands(), (Status::Delivered, true));
    let context = case.context();
    let read = app::catch_up(&case.life, context).unwrap();
    assert_eq!((read.status, read.event), (Status::Read, Some(MessageRead)));
    // The answer of who told first says nothing new.
    assert_eq!(case.take(APNS, 0), Then::Kept);
}

#[test]
fn the_only_device_ends_its_message_without_an_answer() {
    let mut case = asked();
    case.refuse(FCM, 2, Retry::Never);
    case.settle(case.settled(0, OutcomeResult::Refused, Retry::Never));
    case.life.claim(Parts::one(1), true);
    assert_eq!(case.tell(1, Delivered), Ok(vec![MessageDelivered]));
    assert_eq!(case.stands(), (Status::Delivered, true));
    assert!(case.open_routes().is_empty());
}

#[test]
fn time_that_is_over_in_the_queue_does_not_hide_what_was_told() {
    let mut case = asked();
    case.life.claim(Parts::one(0), true);
    case.tell(0, Displayed).unwrap();
    assert_eq!(case.overdue(), Some(MessageDelivered));
    assert_eq!(case.stands(), (Status::Read, true));
    let mut taken = asked();
    taken.take(FCM, 2);
    assert_eq!(taken.overdue(), Some(MessageSent));
    assert_eq!(
        taken.stands(),
        (Status::Sent, false),
        "its app is waited for"
    );
}

#[test]
fn unknown_is_settled_late_and_a_push_after_its_sms_is_a_duplicate() {
    let mut held = asked();
    held.message.on_ambiguous = OnAmbiguous::Hold;
    held.life = Life::begin(&held.message);
    held.settle(held.settled(0, OutcomeResult::Unknown, Retry::Never));
    held.refuse(APNS, 1, Retry::Never);
    held.refuse(FCM, 2, Retry::Never);
    assert_eq!(held.life.status, Status::Unknown);
    assert_eq!(held.tell(0, Delivered), Ok(vec![MessageDelivered]));

    let mut case = asked();
    let what = What::MaybeSent {
        parts: Parts::one(0),
    };
    let context = case.context();
    case.life.apply(decide::intent(&case.life, what, context));
    case.life.duplicate_possible = false;
    case.settle(case.settled(0, OutcomeResult::Refused, Retry::Never));
    case.refuse(APNS, 1, Retry::Never);
    case.refuse(FCM, 2, Retry::Never);
    assert_eq!(case.open_routes(), [SMS]);
    assert_eq!(case.tell(0, Opened), Ok(vec![]));
    assert_eq!(case.open_routes(), [SMS], "the SMS goes on");
    assert!(case.life.duplicate_possible);
    assert_eq!(case.life.status, Status::Queued);
}

proptest! {
    /// Whatever is told in whatever order: each event once, in its order, and the same end.
    #[test]
    fn receipts_in_any_order_end_alike(
        receipts in prop::collection::vec((0..3u8, 0..3usize), 1..20),
        ahead in 0..4u8,
    ) {
        let mut case = asked();
        // So many devices were answered for before.
        case.life.claim(Parts(0b111), true);
        let answers = |case: &mut Case, range: std::ops::Range<u8>| {
            for part in range {
                let route = if part == 2 { FCM } else { APNS };
                let settle = case.settled(part, OutcomeResult::Accepted, Retry::Never);
                let settle = Settle { route: RouteIx(route), last: part > 0, ..settle };
                case.settle(settle);
                let context = case.context();
                if let Some(more) = app::catch_up(&case.life, context) {
                    case.life.apply(more);
                }
            }
        };
        answers(&mut case, 0..ahead.min(3));
        for (part, event) in &receipts {
            case.tell(*part, AppEvent::ALL[*event]).unwrap();
        }
        answers(&mut case, ahead.min(3)..3);
        let events: Vec<EventKind> = case.life.log.iter().filter_map(|one| one.event).collect();
        let count = |kind| events.iter().filter(|known| **known == kind).count();
        prop_assert_eq!(count(MessageDelivered), 1);
        prop_assert!(count(MessageSent) <= 1 && count(MessageRead) <= 2);
        let read = receipts.iter().any(|(_, event)| *event > 0);
        let end = if read { Status::Read } else { Status::Delivered };
        prop_assert_eq!(case.stands(), (end, true));
        let versions: Vec<u16> = case.life.log.iter().filter(|one| one.event.is_some())
            .map(|one| one.version).collect();
        prop_assert!(versions.windows(2).all(|two| two[0] < two[1]));
        // Told again, nothing changes.
        let before = case.life.log.len();
        for (part, event) in &receipts {
            case.tell(*part, AppEvent::ALL[*event]).unwrap();
        }
        prop_assert_eq!(case.life.log.len(), before);
    }
}
