//! Lives as dialogues: outcomes and receipts in, states out.

mod app;
mod retries;
mod steps;
mod withdrawn;

use smallvec::smallvec;

use super::decide::{self, Context};
use super::*;
use crate::message::{
    Class, Encoding, FailoverOn, MessageId, OnAmbiguous, Phone, Priority, TenantIx, Texts,
};
use crate::outcome::retries::Retries;
use crate::outcome::{Or, Outcome, PartRule, Receipt, Settle, Whose};

/// A message, its life, and what happens to it in turn.
struct Case {
    message: Message,
    life: Life,
    now: u64,
    parts: PartRule,
    retries: Retries,
}

impl Case {
    fn new(segments: u8, on_ambiguous: OnAmbiguous) -> Self {
        let message = Message {
            id: MessageId(1),
            tenant: TenantIx(0),
            to: Phone::parse("+46701234567").unwrap(),
            class: Class::Transactional,
            priority: Priority::Normal,
            on_ambiguous,
            failover_on: FailoverOn::ALL,
            encoding: Encoding::Gsm7,
            segments,
            concat_ref: 0,
            sms: None,
            policy: crate::message::Policy::default(),
            callback: None,
            batch: None,
            accepted_at: UnixMs(1),
            expires_at: UnixMs(u64::MAX),
            routes: smallvec![RouteIx(0), RouteIx(1)],
            steps: None,
            texts: Texts::default(),
        };
        let life = Life::begin(&message);
        Self {
            message,
            life,
            now: 1_000,
            parts: PartRule::All,
            retries: Retries::Backoff,
        }
    }

    fn context(&mut self) -> Context {
        self.now += 1_000;
        Context {
            now: UnixMs(self.now),
            next_order: self.now,
            jitter: 7,
            receipts: true,
            parts: self.parts,
            retries: self.retries,
            instead: None,
        }
    }

    fn settled(&self, part: u8, result: OutcomeResult, retry: Retry) -> Settle {
        let refused = result == OutcomeResult::Refused;
        Settle {
            id: self.message.id,
            route: self.life.route(&self.message).unwrap_or(RouteIx(9)),
            part,
            outcome: Outcome {
                result,
                whose: Whose::Peer,
                code: 0,
                reason: refused.then_some(Reason::ProviderError),
                retry,
                provider_id: Box::default(),
                text: None,
                unregistered: UnixMs::ZERO,
                handed_at: UnixMs(1),
                answered_at: UnixMs(2),
            },
            last: false,
            late: false,
        }
    }

    fn settle(&mut self, settle: Settle) -> Then {
        let context = self.context();
        let change = decide::settle(&self.message, &self.life, &settle, context);
        let What::Answered { then, .. } = change.what else {
            panic!("{change:?}");
        };
        self.life.apply(change);
        then
    }

    fn accepted(&mut self, part: u8, last: bool) -> Then {
        let settle = self.settled(part, OutcomeResult::Accepted, Retry::Never);
        self.settle(Settle { last, ..settle })
    }

    fn receipt(&mut self, route: u16, part: u8, state: ReceiptState) -> Option<Status> {
        let receipt = receipt_of(route, state);
        let context = self.context();
        let change = decide::receipt(&self.message, &self.life, part, &receipt, context)?;
        self.life.apply(change);
        Some(self.life.status)
    }
}

fn receipt_of(route: u16, state: ReceiptState) -> Receipt {
    Receipt {
        route: RouteIx(route),
        provider_id: Box::default(),
        text_id: Box::default(),
        recipient: None,
        state,
        reason: None,
        err: "".into(),
        network_error: None,
        operator_at: None,
        raw: "".into(),
        tlvs: Box::default(),
        stat: "".into(),
        pdu: crate::outcome::RawOctets::default(),
        clues: None,
        received_at: UnixMs(1),
    }
}

#[test]
fn retries_here_end_elsewhere_and_elsewhere_ends_failed() {
    let mut case = Case::new(1, OnAmbiguous::Retry);
    let refuse = |case: &mut Case, retry| {
        let settle = case.settled(0, OutcomeResult::Refused, retry);
        case.settle(Settle {
            last: true,
            ..settle
        })
    };
    for _ in 0..2 {
        let then = refuse(&mut case, Retry::Here { tries: 2 });
        assert!(matches!(then, Then::Again { .. }), "{then:?}");
    }
    let then = refuse(&mut case, Retry::Here { tries: 2 });
    assert!(matches!(then, Then::NextRoute { .. }), "{then:?}");
    assert_eq!(case.life.legs[0].tries, 0, "a new route, new tries");
    assert_eq!(refuse(&mut case, Retry::Elsewhere), Then::Rest);
    assert_eq!(case.life.status, Status::Failed);
    assert_eq!(case.life.attempts, 4);
}

#[test]
fn another_form_is_tried_once_for_each_part_and_route() {
    let mut case = Case::new(2, OnAmbiguous::Retry);
    let refuse = |case: &mut Case, part, last, retry| {
        let settle = case.settled(part, OutcomeResult::Refused, retry);
        case.settle(Settle { last, ..settle })
    };
    let form = |case: &Case| case.life.form(case.life.route(&case.message).unwrap());
    assert_eq!(form(&case), Form::PLANNED);
    // Both parts are refused in the planned form, and both get their second try.
    let (one, other) = (Form(1), Form(2));
    let asked = |form| Retry::Otherwise {
        form,
        or: Or::Never,
    };
    assert_eq!(refuse(&mut case, 0, false, asked(one)), Then::Wait);
    let then = refuse(&mut case, 1, true, asked(one));
    assert!(matches!(then, Then::Again { .. }), "{then:?}");
    assert_eq!(form(&case), one);
    case.accepted(0, false);
    // Another form is another try, and takes nothing back.
    let then = refuse(&mut case, 1, true, asked(other));
    assert!(matches!(then, Then::Again { .. }), "{then:?}");
    assert_eq!(form(&case), one.with(other));
    // What is refused again is a permanent error, as the table has it.
    assert_eq!(refuse(&mut case, 1, true, asked(one)), Then::Rest);
    assert_eq!(case.life.status, Status::Failed);
}

#[test]
fn another_form_is_tried_anew_on_another_route() {
    let mut case = Case::new(1, OnAmbiguous::Retry);
    let refused = |case: &mut Case| {
        let (form, or) = (Form(4), Or::Elsewhere);
        let settle = case.settled(0, OutcomeResult::Refused, Retry::Otherwise { form, or });
        case.settle(Settle {
            last: true,
            ..settle
        })
    };
    let form = |case: &Case| case.life.form(case.life.route(&case.message).unwrap());
    assert!(matches!(refused(&mut case), Then::Again { .. }));
    assert_eq!(form(&case), Form(4));
    assert!(matches!(refused(&mut case), Then::NextRoute { .. }));
    assert_eq!(form(&case), Form::PLANNED, "a new route");
    assert!(matches!(refused(&mut case), Then::Again { .. }));
}

#[test]
fn an_answer_that_comes_late_asks_for_no_other_form() {
    let mut case = Case::new(1, OnAmbiguous::Retry);
    let (form, or) = (Form(1), Or::Elsewhere);
    let settle = case.settled(0, OutcomeResult::Refused, Retry::Otherwise { form, or });
    let late = Settle {
        late: true,
        ..settle.clone()
    };
    assert_eq!(case.settle(late), Then::Kept);
    let route = case.life.route(&case.message).unwrap();
    assert_eq!(case.life.form(route), Form::PLANNED);
    // So that the try which is out meanwhile may still ask for it.
    let then = case.settle(Settle {
        last: true,
        ..settle
    });
    assert!(matches!(then, Then::Again { .. }), "{then:?}");
    assert_eq!(case.life.form(route), form);
}

#[test]
fn what_was_not_sent_goes_back_without_a_try_or_an_event() {
    let mut case = Case::new(2, OnAmbiguous::Hold);
    assert_eq!(case.accepted(0, false), Then::Wait);
    let settle = case.settled(1, OutcomeResult::NotSent, Retry::Never);
    let then = case.settle(Settle {
        last: true,
        ..settle
    });
    assert_eq!(then, Then::Back);
    assert_eq!(
        case.life
            .parts_to_send(&case.life.legs[0])
            .iter()
            .collect::<Vec<_>>(),
        [1]
    );
    assert_eq!((case.life.attempts, case.life.legs[0].tries), (0, 0));
    assert!(case.life.log.iter().all(|change| change.event.is_none()));
    assert_eq!(case.accepted(1, true), Then::Rest);
    assert_eq!(case.life.status, Status::Sent);
}

#[test]
fn a_late_answer_leaves_the_part_as_it_is() {
    let mut case = Case::new(1, OnAmbiguous::Retry);
    let unknown = case.settled(0, OutcomeResult::Unknown, Retry::Never);
    case.settle(Settle {
        last: true,
        ..unknown
    });
    assert!(case.life.duplicate_possible);
    let refused = case.settled(0, OutcomeResult::Refused, Retry::Never);
    case.accepted(0, true);
    let late = Settle {
        late: true,
        ..refused
    };
    assert_eq!(case.settle(late), Then::Kept);
    assert_eq!(case.life.status, Status::Sent);
    assert_eq!(case.life.parts[0], PartState::Accepted);
}

#[test]
fn a_part_delivered_by_either_route_counts_once_each_time_it_went_out() {
    let mut case = Case::new(2, OnAmbiguous::Retry);
    case.accepted(0, false);
    assert_eq!(
        case.receipt(0, 0, ReceiptState::Delivered),
        Some(Status::Queued)
    );
    let refused = case.settled(1, OutcomeResult::Refused, Retry::Elsewhere);
    case.settle(Settle {
        last: true,
        ..refused
    });
    assert!(case.life.duplicate_possible);
    case.accepted(0, false);
    case.accepted(1, true);
    assert_eq!(case.life.status, Status::Sent);
    case.receipt(1, 0, ReceiptState::Delivered);
    assert_eq!(
        case.receipt(1, 1, ReceiptState::Delivered),
        Some(Status::Delivered)
    );
    assert_eq!(case.receipt(1, 1, ReceiptState::Delivered), None, "again");
}

#[test]
fn bad_news_before_the_other_parts_answer_is_not_forgotten() {
    let mut case = Case::new(2, OnAmbiguous::Retry);
    case.accepted(0, false);
    case.receipt(0, 0, ReceiptState::Undeliverable);
    assert_eq!(case.life.status, Status::Queued);
    case.accepted(1, true);
    assert_eq!(case.life.status, Status::Undelivered);
}

#[test]
fn a_receipt_before_its_answer_stands_and_the_answer_ends_the_attempt() {
    let mut case = Case::new(2, OnAmbiguous::Retry);
    case.accepted(0, false);
    case.receipt(0, 1, ReceiptState::Delivered);
    case.accepted(1, true);
    assert_eq!(case.life.status, Status::Sent);
    assert_eq!(
        case.receipt(0, 0, ReceiptState::Delivered),
        Some(Status::Delivered)
    );
}

#[test]
fn a_late_delivery_turns_a_bad_end_once_and_within_its_time() {
    let mut case = Case::new(1, OnAmbiguous::Retry);
    case.accepted(0, true);
    case.receipt(0, 0, ReceiptState::Expired);
    assert_eq!(case.life.status, Status::Expired);
    assert_eq!(
        case.receipt(0, 0, ReceiptState::Delivered),
        Some(Status::Delivered)
    );
    assert_eq!(case.receipt(0, 0, ReceiptState::Expired), None);

    let mut case = Case::new(1, OnAmbiguous::Retry);
    case.accepted(0, true);
    case.receipt(0, 0, ReceiptState::Expired);
    case.now += u64::try_from(decide::LATE_RECEIPTS.as_millis()).unwrap();
    assert_eq!(
        case.receipt(0, 0, ReceiptState::Delivered),
        Some(Status::Expired)
    );
}

#[test]
fn a_life_as_of_an_event_is_what_it_was_then() {
    let mut case = Case::new(1, OnAmbiguous::Retry);
    case.accepted(0, true);
    let sent = case.life.clone();
    case.receipt(0, 0, ReceiptState::Delivered);
    assert_eq!(*case.life.as_of(&case.message, 1), sent);
    assert_eq!(*case.life.as_of(&case.message, 2), case.life);
}

#[test]
fn what_a_dead_process_had_claimed_is_flagged_and_goes_out_again() {
    let mut case = Case::new(3, OnAmbiguous::Retry);
    case.life.claim(Parts::first(3), true);
    assert_eq!(case.life.parts_claimed(), Parts::first(3));
    assert_eq!(case.life.parts_to_send(&case.life.legs[0]), Parts::first(3));
    let settle = Settle {
        last: false,
        ..case.settled(0, OutcomeResult::Accepted, Retry::Never)
    };
    let context = case.context();
    let change = decide::settle(&case.message, &case.life, &settle, context);
    case.life.apply(change);
    let mut left = Parts::first(3);
    left.remove(0);
    assert_eq!(case.life.parts_claimed(), left, "an answer ends a claim");
    let context = case.context();
    let change = decide::maybe_sent(&case.life, context).unwrap();
    case.life.apply(change);
    assert!(case.life.duplicate_possible && case.life.parts_claimed().is_empty());
    assert_eq!(case.life.parts_to_send(&case.life.legs[0]), left);
    assert_eq!(decide::maybe_sent(&case.life, context), None, "once");
    // A claim that was released says nothing.
    let mut case = Case::new(1, OnAmbiguous::Retry);
    case.life.claim(Parts::first(1), true);
    case.life.claim(Parts::first(1), false);
    assert_eq!(decide::maybe_sent(&case.life, context), None);
}

#[test]
fn where_one_part_is_told_of_it_stands_for_the_whole_once_all_are_taken() {
    for (rule, told) in [(PartRule::First, 0), (PartRule::Last, 2)] {
        let mut case = Case::new(3, OnAmbiguous::Retry);
        case.parts = rule;
        case.accepted(0, false);
        case.accepted(1, false);
        case.accepted(2, true);
        assert_eq!(
            case.receipt(0, 1, ReceiptState::Delivered),
            Some(Status::Sent),
            "{rule:?}"
        );
        let told = case.receipt(0, told, ReceiptState::Delivered);
        assert_eq!(told, Some(Status::Delivered), "{rule:?}");
        assert_eq!(
            case.life.delivered_of(case.message.all_parts()),
            2,
            "nothing is pretended of the others"
        );
    }
    // Before the others are taken it says nothing of them.
    let mut case = Case::new(2, OnAmbiguous::Retry);
    case.parts = PartRule::First;
    case.accepted(0, false);
    assert_eq!(
        case.receipt(0, 0, ReceiptState::Delivered),
        Some(Status::Queued)
    );
    case.accepted(1, true);
    assert_eq!(case.life.status, Status::Delivered);
    // Bad news of another part still counts, and a late delivery as ever.
    let mut case = Case::new(2, OnAmbiguous::Retry);
    case.parts = PartRule::First;
    case.accepted(0, false);
    case.accepted(1, true);
    assert_eq!(
        case.receipt(0, 1, ReceiptState::Expired),
        Some(Status::Expired)
    );
    assert_eq!(
        case.receipt(0, 0, ReceiptState::Delivered),
        Some(Status::Expired)
    );
    assert_eq!(
        case.receipt(0, 1, ReceiptState::Delivered),
        Some(Status::Delivered)
    );
}

#[test]
fn of_several_bad_ends_the_one_that_says_most_is_told() {
    use ReceiptState::{Deleted, Expired, Rejected, Undeliverable, Unknown};
    for (one, other, status) in [
        (Unknown, Deleted, Status::Undelivered),
        (Deleted, Expired, Status::Expired),
        (Unknown, Expired, Status::Expired),
        (Expired, Undeliverable, Status::Undelivered),
        (Rejected, Expired, Status::Undelivered),
    ] {
        for (first, second) in [(one, other), (other, one)] {
            let mut case = Case::new(3, OnAmbiguous::Retry);
            case.accepted(0, false);
            case.accepted(1, false);
            case.receipt(0, 0, first);
            case.receipt(0, 1, second);
            case.accepted(2, true);
            assert_eq!(case.life.status, status, "{first:?} {second:?}");
        }
    }
}

#[test]
fn that_nobody_knows_of_a_part_waits_for_what_the_others_say() {
    use ReceiptState::{Deleted, Delivered, Expired, Rejected, Undeliverable, Unknown};
    let sent = || {
        let mut case = Case::new(3, OnAmbiguous::Retry);
        for part in 0..3 {
            case.accepted(part, part == 2);
        }
        assert_eq!(case.receipt(0, 0, Unknown), Some(Status::Sent));
        assert!(!case.life.is_final && case.life.version == 2);
        case
    };
    for (certain, status) in [
        (Undeliverable, Status::Undelivered),
        (Rejected, Status::Undelivered),
        (Deleted, Status::Undelivered),
        (Expired, Status::Expired),
    ] {
        // At once: it cannot be delivered any more.
        assert_eq!(sent().receipt(0, 1, certain), Some(status), "{certain:?}");
    }
    for last in [Delivered, Unknown] {
        let mut case = sent();
        assert_eq!(case.receipt(0, 1, Delivered), Some(Status::Sent));
        assert_eq!(case.receipt(0, 2, last), Some(Status::Unknown), "{last:?}");
        assert!(case.life.is_final);
    }
    // When the others say nothing, the receipt's time ends the wait.
    let mut case = sent();
    let context = case.context();
    let change = decide::no_receipt(&case.message, &case.life, context).unwrap();
    assert_eq!((change.status, change.is_final), (Status::Unknown, true));
    // The receipt of it came before the answers.
    let mut case = Case::new(2, OnAmbiguous::Retry);
    case.accepted(0, false);
    case.receipt(0, 0, Unknown);
    case.accepted(1, true);
    assert_eq!(case.life.status, Status::Sent);
    assert_eq!(case.receipt(0, 1, Delivered), Some(Status::Unknown));
    assert_eq!(case.receipt(0, 0, Delivered), Some(Status::Delivered));
}

#[test]
fn that_nobody_knows_of_a_part_waits_for_no_receipt_that_will_not_come() {
    use ReceiptState::Unknown;
    for (rule, told, other) in [(PartRule::First, 0, 1), (PartRule::Last, 1, 0)] {
        let mut case = Case::new(2, OnAmbiguous::Retry);
        case.parts = rule;
        case.accepted(0, false);
        case.accepted(1, true);
        assert_eq!(case.receipt(0, other, Unknown), Some(Status::Sent));
        assert_eq!(case.receipt(0, told, Unknown), Some(Status::Unknown));
    }
}

#[test]
fn the_reason_is_that_of_the_part_that_says_most() {
    let bad = |case: &mut Case, part, state, reason| {
        let receipt = Receipt {
            reason: Some(reason),
            ..receipt_of(0, state)
        };
        let context = case.context();
        let change = decide::receipt(&case.message, &case.life, part, &receipt, context).unwrap();
        case.life.apply(change);
        case.life.reason
    };
    let mut case = Case::new(3, OnAmbiguous::Retry);
    for part in 0..3 {
        case.accepted(part, part == 2);
    }
    let told = bad(&mut case, 0, ReceiptState::Unknown, Reason::Unclassified);
    assert_eq!(told, Some(Reason::Unclassified));
    let told = bad(
        &mut case,
        1,
        ReceiptState::Undeliverable,
        Reason::AbsentSubscriber,
    );
    assert_eq!(told, Some(Reason::AbsentSubscriber));
    let told = bad(&mut case, 2, ReceiptState::Rejected, Reason::Barred);
    assert_eq!(told, Some(Reason::AbsentSubscriber), "it has ended by that");
    let shown =
        serde_json::to_value(crate::event::render::reason(&case.message, &case.life)).unwrap();
    assert_eq!(shown["provider"]["status"], "UNDELIV", "{shown}");
    let parts = case.life.parts_told();
    assert_eq!(parts.unwrap(), ["unknown", "undelivered", "undelivered"]);
}
