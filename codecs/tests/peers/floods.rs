//! Peers that send too much, too often, or the same again: smpp.md §9, in virtual time.

use std::time::Duration;

use codecs::smpp::session::{CloseReason, Event, OUTPUT_OCTETS_HIGH, Odd, READ_OCTETS};
use codecs::smpp::{BindKind, CommandId, CommandStatus, DeliverSm};

use crate::side::{self, Side, header, message_with, pdu, request, submit};

const SECOND: Duration = Duration::from_secs(1);
const OK: CommandStatus = CommandStatus::OK;

fn closed(events: &[Event]) -> Option<CloseReason> {
    events.iter().find_map(|event| match event {
        Event::Closed(reason) => Some(*reason),
        _ => None,
    })
}

#[test]
fn of_enquire_links_in_one_second_ten_are_answered_and_the_others_later_in_order() {
    let mut side = Side::smsc(|_| {});
    for sequence in 100..135 {
        side.takes(&request(CommandId::ENQUIRE_LINK, sequence, b""));
    }
    let mut answered = side.writes();
    assert_eq!(answered.len(), 10);
    for left in [15, 5, 0] {
        answered.extend(side.pass(SECOND));
        assert_eq!(answered.len(), 35 - left);
    }
    let sequences: Vec<_> = answered.iter().map(|header| header.sequence).collect();
    assert_eq!(sequences, (100..135).collect::<Vec<_>>());
    assert!(side.session.is_bound() && side.events().is_empty());
}

#[test]
fn enquire_links_above_ten_per_second_slow_the_peer_down_by_not_reading() {
    let mut side = Side::smsc(|_| {});
    let mut sent = 0_usize;
    let mut answered = 0;
    for _ in 0..60 {
        for _ in 0..30 {
            if side.session.wants_read() {
                side.takes(&request(CommandId::ENQUIRE_LINK, 7, b""));
                sent += 1;
            }
        }
        answered += side.writes().len() + side.pass(SECOND).len();
        assert!(sent - answered <= 100, "{sent} - {answered}");
    }
    assert!(side.session.is_bound());
    assert!(
        (600..=620).contains(&answered),
        "{answered}: ten per second"
    );
}

#[test]
fn a_hundred_enquire_links_in_a_second_live_and_one_more_closes() {
    let mut side = Side::smsc(|_| {});
    side.takes(&request(CommandId::ENQUIRE_LINK, 1, b"").repeat(100));
    assert!(side.session.is_bound());
    side.takes(&request(CommandId::ENQUIRE_LINK, 1, b""));
    let reason = CloseReason::Flood(CommandId::ENQUIRE_LINK);
    assert_eq!(side.writes().len(), 10);
    assert_eq!(closed(&side.events()), Some(reason));
}

#[test]
fn a_hundred_unknown_commands_a_second_are_answered_forever_and_one_more_closes() {
    let mut side = Side::smsc(|_| {});
    for _ in 0..5 {
        side.takes(&request(CommandId(0x999), 1, b"").repeat(100));
        assert_eq!(side.writes().len(), 100);
        side.pass(SECOND);
    }
    assert!(side.session.is_bound());
    side.takes(&request(CommandId(0x999), 1, b"").repeat(101));
    assert_eq!(side.writes().len(), 100);
    let reason = CloseReason::Flood(CommandId(0x999));
    assert_eq!(closed(&side.events()), Some(reason));
}

#[test]
fn a_thousand_unsolicited_responses_a_minute_are_counted_and_one_more_closes() {
    let flood = |command: CommandId| {
        let mut side = Side::esme(BindKind::Transceiver, |_| {});
        let one = pdu(command, OK, 77, b"");
        side.takes(&one.repeat(1_000));
        let odd = Event::Odd(Odd::Unsolicited(command));
        assert_eq!(side.events(), vec![odd; 1_000], "{command}");
        side.takes(&one);
        assert_eq!(closed(&side.events()), Some(CloseReason::Flood(command)));
    };
    for command in [
        CommandId::SUBMIT_SM_RESP,
        CommandId::ENQUIRE_LINK_RESP,
        CommandId::UNBIND_RESP,
        CommandId::BIND_TRANSCEIVER_RESP,
        CommandId::QUERY_SM_RESP,
        CommandId::GENERIC_NACK,
        CommandId(0x8000_0999),
    ] {
        flood(command);
    }
}

#[test]
fn enquire_link_resp_counts_once_and_its_repetition_is_unsolicited() {
    let mut side = Side::esme(BindKind::Transceiver, |_| {});
    let asked = side.pass(33 * SECOND);
    assert_eq!(asked.len(), 1);
    let resp = CommandId::ENQUIRE_LINK_RESP;
    let answer = pdu(resp, OK, asked[0].sequence, b"");
    side.takes(&answer);
    assert!(matches!(side.events()[..], [Event::Alive { .. }]));
    side.takes(&answer);
    side.takes(&pdu(resp, OK, 0, b""));
    let odd = Event::Odd(Odd::Unsolicited(resp));
    assert_eq!(side.events(), [odd.clone(), odd]);
}

#[test]
fn a_sequence_that_waits_for_its_answer_is_taken_once_and_refused_with_0x08() {
    let mut side = Side::smsc(|_| {});
    side.takes(&submit(5));
    side.takes(&submit(5));
    let events = side.events();
    let [Event::Submitted { reply, .. }, Event::Odd(odd)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*odd, Odd::Reused(CommandId::SUBMIT_SM));
    let resp = CommandId::SUBMIT_SM_RESP;
    let refusal = header(resp, CommandStatus::SYSTEM_ERROR, 5);
    assert_eq!(side.writes(), [refusal]);
    assert_eq!(side.session.unanswered(), 1);
    side.session.respond_submit(*reply, OK, b"id").unwrap();
    assert_eq!(side.writes(), [header(resp, OK, 5)]);
    side.takes(&submit(5));
    assert!(
        matches!(side.events()[..], [Event::Submitted { .. }]),
        "free again"
    );
}

#[test]
fn a_sequence_of_another_command_and_sequence_0_are_no_repetitions() {
    let mut side = Side::smsc(|_| {});
    side.takes(&submit(5));
    let data = b"\0\x01\x01100\0\x01\x01200\0\0\0\0";
    side.takes(&request(CommandId::DATA_SM, 5, data));
    side.takes(&submit(0));
    side.takes(&submit(0));
    let (events, _) = side.events_and_quirks();
    assert_eq!(events.len(), 4);
    assert!(
        events
            .iter()
            .all(|event| matches!(event, Event::Submitted { .. }))
    );
}

#[test]
fn a_carriers_repeated_sequence_is_delivered_each_time() {
    let mut side = Side::esme(BindKind::Transceiver, |_| {});
    for _ in 0..3 {
        side.takes(&message_with(CommandId::DELIVER_SM, 1, b""));
    }
    assert_eq!(side.events().len(), 3);
}

#[test]
fn a_second_bind_on_a_bound_session_is_refused_with_0x05_and_changes_nothing() {
    let mut side = Side::smsc_version(BindKind::Transmitter, 0x34, |_| {});
    side.takes(&submit(4));
    for kind in [
        BindKind::Transceiver,
        BindKind::Transmitter,
        BindKind::Receiver,
    ] {
        side.takes(&request(kind.command(), 9, b"a\0b\0\0\x34\0\0\0"));
        let refusal = header(kind.command().response(), CommandStatus::ALREADY_BOUND, 9);
        assert_eq!(side.writes(), [refusal]);
    }
    assert!(side.session.is_bound());
    assert_eq!(side.session.unanswered(), 1);
    let refused = side.session.deliver(side.now, 1, &DeliverSm::default());
    assert!(refused.is_err(), "still a transmitter");
}

#[test]
fn a_second_bind_while_the_first_is_decided_is_refused_and_the_first_stands() {
    let mut side = Side::smsc_open(|_| {});
    let body = b"a\0b\0\0\x34\0\0\0";
    side.takes(&request(CommandId::BIND_TRANSMITTER, 1, body));
    side.takes(&request(CommandId::BIND_RECEIVER, 2, body));
    let refusal = header(
        CommandId::BIND_RECEIVER_RESP,
        CommandStatus::ALREADY_BOUND,
        2,
    );
    assert_eq!(side.writes(), [refusal]);
    side.session.respond_bind(side.now, OK).unwrap();
    assert_eq!(
        side.writes(),
        [header(CommandId::BIND_TRANSMITTER_RESP, OK, 1)]
    );
}

#[test]
fn who_does_not_bind_within_ten_seconds_is_closed_whatever_else_it_sends() {
    let mut side = Side::smsc_open(|_| {});
    for sequence in 0..9 {
        side.takes(&request(CommandId::ENQUIRE_LINK, sequence, b""));
        side.pass(SECOND);
    }
    assert!(!side.session.is_closed());
    side.pass(SECOND);
    assert_eq!(closed(&side.events()), Some(CloseReason::BindTimeout));
}

#[test]
fn a_pdu_that_is_begun_and_not_completed_closes_after_ten_seconds_before_the_bind_too() {
    for bound in [false, true] {
        let mut side = if bound {
            Side::smsc(|_| {})
        } else {
            Side::smsc_open(|config| config.bind_timeout = 60 * SECOND)
        };
        side.takes(&submit(4)[..20]);
        side.pass(Duration::from_millis(9_999));
        assert!(!side.session.is_closed());
        side.pass(SECOND);
        assert_eq!(closed(&side.events()), Some(CloseReason::PartialPdu));
    }
}

#[test]
fn sixty_four_tlvs_are_read_and_one_more_is_refused_with_0xc0() {
    let mut side = Side::smsc(|_| {});
    for (count, status) in [(64, None), (65, Some(CommandStatus::INVALID_TLV_STREAM))] {
        let tail = [0x14, 0x00, 0, 1, 7].repeat(count);
        side.takes(&message_with(CommandId::SUBMIT_SM, 8, &tail));
        let refusal = status.map(|status| header(CommandId::SUBMIT_SM_RESP, status, 8));
        assert_eq!(side.writes(), Vec::from_iter(refusal));
        side.events();
    }
    assert!(side.session.is_bound());
}

#[test]
fn sequences_of_ours_run_from_1_and_skip_what_is_in_flight_until_late_answers_end() {
    let mut side = Side::esme(BindKind::Transceiver, |config| config.window = 3);
    let submit = |side: &mut Side, token| {
        let now = side.now;
        side.session.submit(now, token, &side::sm())
    };
    for token in 0..3 {
        submit(&mut side, token).unwrap();
    }
    assert!(submit(&mut side, 3).is_err());
    let sequences: Vec<_> = side.writes().iter().map(|header| header.sequence).collect();
    assert_eq!(sequences, [2, 3, 4], "1 was the bind's");
    side.takes(&pdu(CommandId::DATA_SM_RESP, OK, 3, b"x\0"));
    let odd = Event::Odd(Odd::Unsolicited(CommandId::DATA_SM_RESP));
    assert_eq!(
        side.events(),
        [odd],
        "the number fits, the command does not"
    );
    side.takes(&pdu(
        CommandId::GENERIC_NACK,
        CommandStatus::INVALID_COMMAND,
        3,
        b"",
    ));
    let events = side.events();
    assert!(matches!(&events[..], [Event::Answered(a)] if a.token == 1 && a.nacked));
}

#[test]
fn a_peer_that_reads_nothing_is_not_read_beyond_a_mebibyte_of_answers() {
    let mut side = Side::smsc(|_| {});
    let bad = request(CommandId::SUBMIT_SM, 1, b"").repeat(READ_OCTETS / 16);
    let mut reads = 0;
    while side.session.wants_read() {
        side.takes(&bad);
        side.events();
        reads += 1;
        assert!(reads < 1_000, "never stops");
    }
    assert!(side.session.output_octets() <= OUTPUT_OCTETS_HIGH + READ_OCTETS);
    assert!(side.session.is_bound());
}

#[test]
fn events_that_nobody_takes_stop_the_reading() {
    let mut side = Side::smsc(|_| {});
    let bad = request(CommandId::SUBMIT_SM, 1, b"").repeat(READ_OCTETS / 16);
    let mut reads = 0;
    while side.session.wants_read() {
        side.takes(&bad);
        side.writes();
        reads += 1;
        assert!(reads < 1_000, "never stops");
    }
    assert!(side.session.is_bound());
}

#[test]
fn an_idle_session_gives_its_memory_back() {
    let mut side = Side::smsc(|config| config.inbound_window = 2_000);
    let fresh = side.session.heap_octets();
    for sequence in 1..=1_000 {
        side.takes(&submit(sequence));
    }
    for event in side.events() {
        if let Event::Submitted { reply, .. } = event {
            side.session.respond_submit(reply, OK, b"id").unwrap();
        }
    }
    side.writes();
    for token in 0..10 {
        let now = side.now;
        side.session
            .deliver(now, token, &DeliverSm::default())
            .unwrap();
    }
    let sequences: Vec<_> = side.writes().iter().map(|header| header.sequence).collect();
    for sequence in sequences {
        side.takes(&pdu(CommandId::DELIVER_SM_RESP, OK, sequence, b"\0"));
    }
    side.events();
    assert!(
        side.session.heap_octets() > 64 * 1024,
        "the test moves enough"
    );
    side.pass(33 * SECOND);
    assert!(
        side.session.heap_octets() <= fresh.max(4 * 1024),
        "{} of {fresh}",
        side.session.heap_octets()
    );
}

#[test]
fn a_bind_with_a_window_of_a_thousand_starts_with_a_small_table() {
    for window in [1, 10, 1_000, 65_536] {
        let side = Side::esme(BindKind::Transceiver, |config| config.window = window);
        let octets = side.session.heap_octets() + size_of_val(&side.session);
        assert!(octets <= 16 * 1024, "{octets} with a window of {window}");
    }
}
