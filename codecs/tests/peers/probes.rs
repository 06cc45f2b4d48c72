//! smpp.md §7, the hostile probes: each with the answer that the column "ours" requires.

use codecs::smpp::session::{CloseReason, Event, Odd};
use codecs::smpp::{BindKind, CommandId, CommandStatus, Field};

use crate::side::{Side, header, message_with, pdu, request, submit};

const OK: CommandStatus = CommandStatus::OK;

/// generic_nack 0x02 with sequence 0, and the end, from the four length octets alone.
fn closes(length: u32) {
    for bound in [true, false] {
        let mut side = if bound {
            Side::smsc(|_| {})
        } else {
            Side::smsc_open(|_| {})
        };
        side.takes(&length.to_be_bytes());
        let nack = header(
            CommandId::GENERIC_NACK,
            CommandStatus::INVALID_COMMAND_LENGTH,
            0,
        );
        assert_eq!(side.writes(), [nack], "command_length {length:#x}");
        let events = side.events();
        let [Event::Closed(CloseReason::Framing(error))] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(error.length, length);
        assert!(
            side.session.heap_octets() < 64 * 1024,
            "nothing is allocated for it"
        );
    }
}

#[test]
fn command_length_0_is_nacked_0x02_seq_0_and_closes() {
    closes(0);
}

#[test]
fn command_length_4_is_nacked_0x02_seq_0_and_closes() {
    closes(4);
}

#[test]
fn command_length_15_is_nacked_0x02_seq_0_and_closes() {
    closes(15);
}

#[test]
fn command_length_0x7fffffff_is_nacked_0x02_and_closes_at_once_without_allocation() {
    closes(0x7FFF_FFFF);
}

/// generic_nack 0x03 under the same sequence; the bind stands.
fn nacked(command: CommandId) {
    let mut side = Side::smsc(|_| {});
    side.takes(&request(command, 42, b"whatever\0"));
    let nack = header(CommandId::GENERIC_NACK, CommandStatus::INVALID_COMMAND, 42);
    assert_eq!(side.writes(), [nack]);
    assert_eq!(
        side.events(),
        [Event::Odd(Odd::UnknownCommand(command))],
        "{command}"
    );
    assert!(side.session.is_bound());
    side.takes(&submit(43));
    assert!(matches!(side.events()[..], [Event::Submitted { .. }]));
}

#[test]
fn unknown_command_0x999_is_nacked_0x03_same_seq_and_stays_bound() {
    nacked(CommandId(0x999));
}

#[test]
fn smpp_33_query_last_msgs_is_nacked_0x03_same_seq_and_stays_bound() {
    nacked(CommandId::QUERY_LAST_MSGS);
}

#[test]
fn smpp_33_param_retrieve_and_query_msg_details_are_nacked_0x03_and_stay_bound() {
    nacked(CommandId::PARAM_RETRIEVE);
    nacked(CommandId::QUERY_MSG_DETAILS);
}

/// submit_sm_resp with this status under the same sequence; the bind stands.
fn refused(octets: &[u8], status: CommandStatus, field: Field) {
    let mut side = Side::smsc(|_| {});
    side.takes(octets);
    assert_eq!(
        side.writes(),
        [header(CommandId::SUBMIT_SM_RESP, status, 9)]
    );
    let events = side.events();
    let [Event::Odd(Odd::BadBody(CommandId::SUBMIT_SM, error))] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(error.field, field);
    assert!(side.session.is_bound());
}

#[test]
fn sm_length_255_with_11_octets_left_is_answered_0x01_and_stays_bound() {
    let mut octets = submit(9);
    let at = octets.len() - 12;
    octets[at] = 255;
    refused(
        &octets,
        CommandStatus::INVALID_MESSAGE_LENGTH,
        Field::ShortMessage,
    );
}

#[test]
fn cstring_without_nul_is_answered_0x02_and_stays_bound() {
    let octets = request(CommandId::SUBMIT_SM, 9, b"no nul anywhere");
    refused(
        &octets,
        CommandStatus::INVALID_COMMAND_LENGTH,
        Field::ServiceType,
    );
}

#[test]
fn tlv_longer_than_the_rest_is_answered_0xc0_in_submit() {
    let octets = message_with(CommandId::SUBMIT_SM, 9, b"\x04\x24\xff\xffab");
    refused(&octets, CommandStatus::INVALID_TLV_STREAM, Field::Tlvs);
}

#[test]
fn tlv_stub_of_three_octets_is_answered_0xc0_in_submit() {
    let octets = message_with(CommandId::SUBMIT_SM, 9, b"\x02\x04\0");
    refused(&octets, CommandStatus::INVALID_TLV_STREAM, Field::Tlvs);
}

#[test]
fn broken_tlvs_in_enquire_link_are_accepted() {
    for body in [&b"\x04\x24\xff\xffab"[..], b"\x02\x04\0"] {
        let mut side = Side::smsc(|_| {});
        side.takes(&request(CommandId::ENQUIRE_LINK, 9, body));
        assert_eq!(side.writes(), [header(CommandId::ENQUIRE_LINK_RESP, OK, 9)]);
        assert!(side.session.is_bound());
    }
}

#[test]
fn submit_sm_before_bind_is_answered_0x04() {
    let mut side = Side::smsc_open(|_| {});
    side.takes(&submit(9));
    let status = CommandStatus::WRONG_BIND_STATE;
    assert_eq!(
        side.writes(),
        [header(CommandId::SUBMIT_SM_RESP, status, 9)]
    );
    assert_eq!(
        side.events(),
        [Event::Odd(Odd::WrongState(CommandId::SUBMIT_SM))]
    );
    assert!(!side.session.is_closed());
}

#[test]
fn submit_sm_on_a_receiver_and_deliver_sm_to_a_transmitter_are_answered_0x04() {
    let mut side = Side::smsc_version(BindKind::Receiver, 0x34, |_| {});
    side.takes(&submit(9));
    let status = CommandStatus::WRONG_BIND_STATE;
    assert_eq!(
        side.writes(),
        [header(CommandId::SUBMIT_SM_RESP, status, 9)]
    );
    let mut side = Side::esme(BindKind::Transmitter, |_| {});
    side.takes(&message_with(CommandId::DELIVER_SM, 9, b""));
    assert_eq!(
        side.writes(),
        [header(CommandId::DELIVER_SM_RESP, status, 9)]
    );
    assert!(side.session.is_bound());
}

#[test]
fn any_other_request_before_bind_is_answered_0x04() {
    for command in [
        CommandId::QUERY_SM,
        CommandId::CANCEL_SM,
        CommandId::REPLACE_SM,
        CommandId::SUBMIT_MULTI,
        CommandId::DATA_SM,
        CommandId::BROADCAST_SM,
    ] {
        let mut side = Side::smsc_open(|_| {});
        side.takes(&request(command, 9, b""));
        let status = CommandStatus::WRONG_BIND_STATE;
        assert_eq!(side.writes(), [header(command.response(), status, 9)]);
    }
}

#[test]
fn unsolicited_submit_sm_resp_is_counted_and_ignored() {
    let mut side = Side::smsc(|_| {});
    side.takes(&pdu(CommandId::SUBMIT_SM_RESP, OK, 9, b"id\0"));
    let odd = Odd::Unsolicited(CommandId::SUBMIT_SM_RESP);
    assert_eq!(side.events(), [Event::Odd(odd)]);
    assert!(side.session.is_bound() && side.writes().is_empty());
}

#[test]
fn commands_that_are_not_served_are_answered_0x03_in_their_own_response() {
    for command in [
        CommandId::QUERY_SM,
        CommandId::CANCEL_SM,
        CommandId::REPLACE_SM,
        CommandId::SUBMIT_MULTI,
        CommandId::BROADCAST_SM,
        CommandId::QUERY_BROADCAST_SM,
        CommandId::CANCEL_BROADCAST_SM,
    ] {
        let mut side = Side::smsc(|_| {});
        side.takes(&request(command, 9, b"\0\0\0\0"));
        let status = CommandStatus::INVALID_COMMAND;
        assert_eq!(side.writes(), [header(command.response(), status, 9)]);
        assert_eq!(side.events(), [Event::Odd(Odd::Unsupported(command))]);
        assert!(side.session.is_bound());
    }
}

#[test]
fn what_has_no_response_gets_none_read_or_not() {
    for (command, body, odd) in [
        (
            CommandId::ALERT_NOTIFICATION,
            &b"\x01\x01447\0\0\x00100\0"[..],
            "ignored",
        ),
        (CommandId::ALERT_NOTIFICATION, b"\x01", "bad_body"),
        (CommandId::OUTBIND, b"smsc\0pw\0", "ignored"),
        (CommandId::OUTBIND, b"smsc", "bad_body"),
    ] {
        let mut side = Side::esme(BindKind::Transceiver, |_| {});
        side.takes(&request(command, 9, body));
        let events = side.events();
        assert!(matches!(&events[..], [Event::Odd(told)] if told.name() == odd));
        assert!(side.writes().is_empty() && side.session.is_bound());
    }
}
