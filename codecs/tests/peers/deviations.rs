//! smpp.md §1.5, row by row: what carriers and platforms get wrong and must be lived with. Octets
//! in, octets and events out; the bind stands after each.

use std::time::Duration;

use codecs::smpp::receipt::{self, detect};
use codecs::smpp::session::{Answer, CloseReason, Config, Esme, Event, Odd, Session};
use codecs::smpp::{
    BindKind, CommandId, CommandStatus, DataSm, DeliverSm, Field, Kind, Limits, Quirks, Tag,
};

use crate::side::{Side, header, message_with, pdu, request, sm, submit};

const OK: CommandStatus = CommandStatus::OK;
const THROTTLED: CommandStatus = CommandStatus::THROTTLED;
/// congestion_state 90.
const CONGESTED: [u8; 5] = [0x04, 0x28, 0, 1, 90];

/// What an ESME hears when its submit_sm (or data_sm) is answered with these octets.
fn answered(command: CommandId, status: CommandStatus, body: &[u8]) -> (Answer, Quirks) {
    let mut side = Side::esme(BindKind::Transceiver, |_| {});
    let now = side.now;
    if command == CommandId::DATA_SM_RESP {
        side.session.send_data(now, 7, &DataSm::default()).unwrap();
    } else {
        side.session.submit(now, 7, &sm()).unwrap();
    }
    side.writes();
    side.takes(&pdu(command, status, 2, body));
    let (events, quirks) = side.events_and_quirks();
    assert!(side.session.is_bound() && side.writes().is_empty());
    let [Event::Answered(answer)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((answer.token, answer.status), (7, status));
    (answer.clone(), quirks)
}

/// What an SMSC takes submit_sm for that has these octets behind its text.
fn submitted(tail: &[u8]) -> (Event, Quirks) {
    let mut side = Side::smsc(|_| {});
    side.takes(&message_with(CommandId::SUBMIT_SM, 9, tail));
    let (mut events, quirks) = side.events_and_quirks();
    assert_eq!(events.len(), 1);
    assert!(side.session.is_bound());
    (events.remove(0), quirks)
}

/// The same for an ESME and deliver_sm.
fn delivered(tail: &[u8]) -> (Event, Quirks) {
    let mut side = Side::esme(BindKind::Transceiver, |_| {});
    side.takes(&message_with(CommandId::DELIVER_SM, 9, tail));
    let (mut events, quirks) = side.events_and_quirks();
    assert_eq!(events.len(), 1);
    assert!(side.session.is_bound() && side.writes().is_empty());
    (events.remove(0), quirks)
}

#[test]
fn row_01_a_refusal_without_body_with_nul_with_id_with_tlvs_or_with_anything_is_that_refusal() {
    let long_tlv = [b"\0\x1d\0\x09".as_slice(), b"slow down"].concat();
    let with_17_octets_in_all: &[u8] = b"\0";
    let cases: [(&[u8], &[u8], Option<u8>); 8] = [
        (b"", b"", None),
        (with_17_octets_in_all, b"", None),
        (b"id7\0", b"id7", None),
        (b"id7", b"id7", None),
        (&CONGESTED, b"", Some(90)),
        (&[&b"\0"[..], &CONGESTED].concat(), b"", Some(90)),
        (&[&b"id7\0"[..], &CONGESTED].concat(), b"id7", Some(90)),
        (&[&long_tlv[..], &CONGESTED].concat(), b"", Some(90)),
    ];
    for command in [CommandId::SUBMIT_SM_RESP, CommandId::DATA_SM_RESP] {
        for (body, id, congestion) in cases {
            let (answer, _) = answered(command, THROTTLED, body);
            assert_eq!(
                (&answer.message_id[..], answer.congestion),
                (id, congestion),
                "{command} {body:?}"
            );
        }
        let (answer, _) = answered(command, THROTTLED, &long_tlv);
        assert_eq!(answer.info.as_deref(), Some(&b"slow down"[..]));
        for garbage in [&b"\0\xff\xff\xff\xff"[..], b"\x01\x02\x03", &[0xFF; 700]] {
            answered(command, THROTTLED, garbage);
        }
    }
    let (_, quirks) = answered(CommandId::SUBMIT_SM_RESP, THROTTLED, &CONGESTED);
    assert_eq!(quirks, Quirks::ODD_ERROR_BODY);
}

#[test]
fn row_02_acceptance_without_message_id_is_accepted_and_counted_as_no_msgid() {
    for body in [&b""[..], b"\0"] {
        let (answer, quirks) = answered(CommandId::SUBMIT_SM_RESP, OK, body);
        assert!(answer.message_id.is_empty());
        assert_eq!(quirks, Quirks::NO_MESSAGE_ID);
    }
}

#[test]
fn row_03_a_refusal_of_a_message_that_was_accepted_keeps_its_id_and_its_status() {
    let body = [&b"id7\0"[..], &CONGESTED].concat();
    let (answer, quirks) = answered(CommandId::DATA_SM_RESP, THROTTLED, &body);
    assert_eq!(
        (&answer.message_id[..], answer.congestion),
        (&b"id7"[..], Some(90))
    );
    assert_eq!(quirks, Quirks::ERROR_WITH_ID);
}

#[test]
fn row_04_a_missing_last_nul_and_octets_that_sm_length_does_not_count_are_read() {
    let (answer, quirks) = answered(CommandId::SUBMIT_SM_RESP, OK, b"id7");
    assert_eq!(
        (&answer.message_id[..], quirks),
        (&b"id7"[..], Quirks::MISSING_NUL)
    );
    for count in 1..=3 {
        let (event, quirks) = submitted(&vec![0; count]);
        let Event::Submitted { frame, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!(frame.submit_sm().unwrap().0.short_message, b"hello world");
        assert_eq!(quirks, Quirks::TRAILING, "{count} octets of padding");
    }
    let mut side = Side::smsc_open(|_| {});
    side.takes(&request(
        CommandId::BIND_TRANSCEIVER,
        1,
        b"acme\0secret\0\0\x34\0\0^44",
    ));
    let (events, quirks) = side.events_and_quirks();
    assert!(matches!(&events[..], [Event::BindRequest(bind)] if &bind.address_range[..] == b"^44"));
    assert_eq!(quirks, Quirks::MISSING_NUL);
}

#[test]
fn row_05_sm_length_beyond_the_pdu_is_answered_with_0x01_and_the_bind_stands() {
    for (command, esme) in [(CommandId::SUBMIT_SM, false), (CommandId::DELIVER_SM, true)] {
        let mut octets = message_with(command, 9, b"");
        let at = octets.len() - b"hello world".len() - 1;
        octets[at] = 255;
        let mut side = if esme {
            Side::esme(BindKind::Transceiver, |_| {})
        } else {
            Side::smsc(|_| {})
        };
        side.takes(&octets);
        let status = CommandStatus::INVALID_MESSAGE_LENGTH;
        assert_eq!(side.writes(), [header(command.response(), status, 9)]);
        let events = side.events();
        let [Event::Odd(Odd::BadBody(_, error))] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(
            (error.field, error.kind, error.at),
            (Field::ShortMessage, Kind::LengthLies, at + 1)
        );
        assert!(side.session.is_bound());
    }
}

#[test]
fn row_06_of_short_message_and_message_payload_the_longer_is_the_text() {
    let longer = [b"\x04\x24\0\x14".as_slice(), b"a text of 20 octets!"].concat();
    let shorter = [b"\x04\x24\0\x02".as_slice(), b"ab"].concat();
    for (tail, text) in [
        (longer, &b"a text of 20 octets!"[..]),
        (shorter, b"hello world"),
    ] {
        let (event, quirks) = submitted(&tail);
        let Event::Submitted { frame, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!(frame.submit_sm().unwrap().0.user_data(), text);
        assert_eq!(quirks, Quirks::TWO_TEXTS);
    }
}

#[test]
fn row_07_message_payload_beside_a_short_message_of_one_nul_is_the_text() {
    let mut body = submit(1).split_off(16);
    let at = body.len() - b"hello world".len() - 1;
    body.truncate(at);
    body.extend_from_slice(b"\x01\0\x04\x24\0\x01x");
    let mut side = Side::esme(BindKind::Receiver, |_| {});
    side.takes(&request(CommandId::DELIVER_SM, 9, &body));
    let (events, quirks) = side.events_and_quirks();
    let [Event::Delivered { frame, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(frame.deliver_sm().unwrap().0.user_data(), b"x");
    assert_eq!(quirks, Quirks::TWO_TEXTS);
}

#[test]
fn row_08a_tlvs_in_a_session_of_smpp_33_are_kept_and_counted() {
    let mut side = Side::smsc_version(BindKind::Transceiver, 0x33, |_| {});
    side.takes(&message_with(
        CommandId::SUBMIT_SM,
        9,
        b"\x02\x04\0\x02\0\x07",
    ));
    let (events, quirks) = side.events_and_quirks();
    let [Event::Submitted { frame, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    let (sm, _) = frame.submit_sm().unwrap();
    assert_eq!(sm.tlvs.user_message_reference(), Some(7));
    assert_eq!(quirks, Quirks::TLV_IN_33);
    let mut side = Side::esme(BindKind::Transceiver, |config| {
        let mut esme = Esme::new(BindKind::Transceiver, b"acme", b"secret");
        esme.interface_version = 0x33;
        *config = Config::esme(esme);
    });
    side.takes(&message_with(
        CommandId::DELIVER_SM,
        9,
        b"\x04\x27\0\x01\x02",
    ));
    assert_eq!(side.events_and_quirks().1, Quirks::TLV_IN_33);
}

#[test]
fn row_08b_tlvs_that_do_not_belong_into_the_pdu_are_kept_and_counted() {
    let (event, quirks) = delivered(b"\x02\x10\0\x01\x34");
    let Event::Delivered { frame, .. } = event else {
        panic!("{event:?}")
    };
    let (sm, _) = frame.deliver_sm().unwrap();
    assert_eq!(sm.tlvs.sc_interface_version(), Some(0x34));
    assert_eq!(quirks, Quirks::FOREIGN_TLV);
}

#[test]
fn row_08c_of_a_tlv_that_stands_twice_the_first_counts_unless_many_may_stand() {
    let (event, quirks) = delivered(b"\x04\x27\0\x01\x02\x04\x27\0\x01\x05");
    let Event::Delivered { frame, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!(frame.deliver_sm().unwrap().0.tlvs.message_state(), Some(2));
    assert_eq!(quirks, Quirks::DUPLICATE_TLV);
    let callbacks = b"\x03\x81\0\x04\x01\x01\x011\x03\x81\0\x04\x01\x01\x012";
    assert_eq!(delivered(callbacks).1, Quirks::NONE);
}

#[test]
fn row_08d_a_tlv_of_length_0_out_of_range_or_wide_is_kept_raw_and_its_accessor_gives_nothing() {
    for (tail, raw) in [
        (&b"\x02\x01\0\0"[..], &b""[..]),
        (b"\x02\x01\0\x01\x04", b"\x04"),
        (b"\x02\x01\0\x02\0\x01", b"\0\x01"),
    ] {
        let (event, quirks) = delivered(tail);
        let Event::Delivered { frame, .. } = event else {
            panic!("{event:?}")
        };
        let (sm, _) = frame.deliver_sm().unwrap();
        assert_eq!(sm.tlvs.find(Tag::PRIVACY_INDICATOR), Some(raw));
        assert_eq!(sm.tlvs.privacy_indicator(), None);
        assert_eq!(quirks, Quirks::ODD_TLV);
    }
    let callback_0x71 = b"\x03\x81\0\x05\x71\x01\x0112";
    assert!(matches!(
        delivered(callback_0x71).0,
        Event::Delivered { .. }
    ));
}

#[test]
fn row_08e_a_strict_smsc_refuses_tlvs_with_0xc1_to_0xc4_and_any_other_takes_them() {
    let cases: [(&[u8], CommandStatus); 4] = [
        (b"\x02\x10\0\x01\x34", CommandStatus::TLV_NOT_ALLOWED),
        (b"\x02\x04\0\x01\x07", CommandStatus::INVALID_TLV_LENGTH),
        (b"\x02\x0c\0\x02\0\x07", CommandStatus::MISSING_TLV),
        (b"\x02\x01\0\x01\x09", CommandStatus::INVALID_TLV_VALUE),
    ];
    for (tail, status) in cases {
        let octets = message_with(CommandId::SUBMIT_SM, 9, tail);
        let mut strict = Side::smsc(|config| config.strict_tlv = true);
        strict.takes(&octets);
        let refusal = header(CommandId::SUBMIT_SM_RESP, status, 9);
        assert_eq!(strict.writes(), [refusal]);
        assert!(strict.session.is_bound());
        let mut tolerant = Side::smsc(|_| {});
        tolerant.takes(&octets);
        let (events, _) = tolerant.events_and_quirks();
        assert!(matches!(events[..], [Event::Submitted { .. }]));
    }
    let vendor = b"\x14\0\0\x03abc\x14\0\0\0";
    let mut strict = Side::smsc(|config| config.strict_tlv = true);
    strict.takes(&message_with(CommandId::SUBMIT_SM, 9, vendor));
    assert!(matches!(strict.events()[..], [Event::Submitted { .. }]));
}

#[test]
fn row_09_long_cstrings_are_read_to_256_octets_and_sent_as_the_connection_allows() {
    let long = vec![b'7'; 100];
    let body = [
        &long[..],
        b"\0",
        &long,
        b"\0",
        &long,
        b"\0\x34\0\0",
        &long,
        b"\0",
    ]
    .concat();
    let mut side = Side::smsc_open(|_| {});
    side.takes(&request(CommandId::BIND_TRANSCEIVER, 1, &body));
    let (events, quirks) = side.events_and_quirks();
    let [Event::BindRequest(bind)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((bind.system_id.len(), bind.password.len()), (100, 100));
    assert_eq!(
        (bind.system_type.len(), bind.address_range.len()),
        (100, 100)
    );
    assert_eq!(quirks, Quirks::LONG_CSTRING);
    let address = [b"\x01\x01".as_slice(), &long, b"\0"].concat();
    let body = [
        &long[..],
        b"\0",
        &address,
        &address,
        b"\0\0\0\0\0\0\0\0\0\0",
    ]
    .concat();
    let mut side = Side::esme(BindKind::Transceiver, |_| {});
    side.takes(&request(CommandId::DELIVER_SM, 9, &body));
    let (events, quirks) = side.events_and_quirks();
    assert!(matches!(events[..], [Event::Delivered { .. }]));
    assert_eq!(quirks, Quirks::LONG_CSTRING);
    let uuid_and_suffix = [vec![b'a'; 90], b"-suffix\0".to_vec()].concat();
    let (answer, quirks) = answered(CommandId::SUBMIT_SM_RESP, OK, &uuid_and_suffix);
    assert_eq!(
        (answer.message_id.len(), quirks),
        (97, Quirks::LONG_CSTRING)
    );
    let endless = request(CommandId::DELIVER_SM, 9, &[b'x'; 300]);
    let mut side = Side::esme(BindKind::Transceiver, |_| {});
    side.takes(&endless);
    let status = CommandStatus::INVALID_COMMAND_LENGTH;
    assert_eq!(
        side.writes(),
        [header(CommandId::DELIVER_SM_RESP, status, 9)]
    );
    let esme = Config::esme(Esme::new(
        BindKind::Transmitter,
        b"acme",
        b"longer than eight",
    ));
    assert!(Session::new(esme.clone(), side.now).is_err());
    let limits = Limits {
        password: 64,
        ..Limits::SPEC
    };
    assert!(Session::new(Config { limits, ..esme }, side.now).is_ok());
}

#[test]
fn row_10_any_interface_version_but_4_0_binds_and_what_we_send_is_configured() {
    for version in [0x00, 0x03, 0x05, 0x22, 0x32, 0x33, 0x34, 0x35, 0x50, 0xFF] {
        let mut side = Side::smsc_open(|_| {});
        let body = [b"a\0b\0vma\0".as_slice(), &[version], b"\0\0\0"].concat();
        side.takes(&request(CommandId::BIND_TRANSCEIVER, 1, &body));
        let (events, quirks) = side.events_and_quirks();
        let [Event::BindRequest(bind)] = &events[..] else {
            panic!("{version:#x}: {events:?}")
        };
        assert_eq!(
            (&bind.system_type[..], bind.interface_version),
            (&b"vma"[..], version)
        );
        let odd = ![0x33, 0x34, 0x50].contains(&version);
        assert_eq!(quirks.contains(Quirks::ODD_VERSION), odd, "{version:#x}");
        side.session.respond_bind(side.now, OK).unwrap();
        let mut out = bytes::BytesMut::new();
        side.session.poll_transmit(&mut out);
        let told = codecs::smpp::bind::bind_resp_tlvs(&out[16..]).sc_interface_version();
        assert_eq!(told, (version >= 0x34).then_some(version));
    }
    for tail in [
        &b""[..],
        b"\x02\x10\0\x01\x03",
        b"\x02\x10\0\x02\0\x34",
        b"\xff",
    ] {
        let mut side = Side {
            session: Session::new(
                Config::esme(Esme::new(BindKind::Transceiver, b"a", b"b")),
                std::time::Instant::now(),
            )
            .unwrap(),
            now: std::time::Instant::now(),
        };
        let body = [b"SMSC\0".as_slice(), tail].concat();
        side.takes(&request(CommandId::BIND_TRANSCEIVER_RESP, 1, &body));
        assert!(side.session.is_bound(), "{tail:?}");
    }
    let mut esme = Esme::new(BindKind::Transceiver, b"a", b"b");
    esme.system_type = b"SMPP".to_vec();
    esme.interface_version = 0x50;
    let mut session = Session::new(Config::esme(esme), std::time::Instant::now()).unwrap();
    let mut out = bytes::BytesMut::new();
    session.poll_transmit(&mut out);
    assert_eq!(&out[16..], b"a\0b\0SMPP\0\x50\0\0\0");
}

#[test]
fn row_11_deliver_sm_resp_with_an_id_is_taken_and_sent_where_a_carrier_wants_one() {
    let mut side = Side::smsc(|_| {});
    side.session
        .deliver(side.now, 7, &DeliverSm::default())
        .unwrap();
    side.writes();
    side.takes(&pdu(CommandId::DELIVER_SM_RESP, OK, 1, b"some id\0"));
    let (events, quirks) = side.events_and_quirks();
    assert!(matches!(&events[..], [Event::Answered(answer)] if answer.token == 7));
    assert_eq!(quirks, Quirks::DELIVER_RESP_ID);
    let sent = |id: Option<&[u8]>| {
        let mut side = Side::esme(BindKind::Transceiver, |_| {});
        side.takes(&message_with(CommandId::DELIVER_SM, 9, b""));
        let events = side.events();
        let [Event::Delivered { reply, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        match id {
            None => side.session.respond_deliver(*reply, OK),
            Some(id) => side.session.respond_deliver_with(*reply, OK, id),
        }
        let mut out = bytes::BytesMut::new();
        side.session.poll_transmit(&mut out);
        assert_eq!(side.session.unanswered(), 0);
        out[16..].to_vec()
    };
    assert_eq!(sent(None), b"\0");
    assert_eq!(sent(Some(b"7f3a01")), b"7f3a01\0");
    assert_eq!(
        sent(Some(&[b'x'; 300])),
        b"\0",
        "what cannot be sent is left out"
    );
}

#[test]
fn row_12_receipts_are_found_in_data_sm_without_esm_class_and_by_text_only() {
    let body = b"\0\x01\x01447700900123\0\0\x00100\0\x04\0\0\0\x1e\0\x04id7\0";
    let mut body = body.to_vec();
    body.extend_from_slice(b"\x04\x27\0\x01\x02");
    let mut side = Side::esme(BindKind::Receiver, |_| {});
    side.takes(&request(CommandId::DATA_SM, 9, &body));
    let (events, quirks) = side.events_and_quirks();
    let [Event::Delivered { frame, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    let (data, _) = frame.data_sm().unwrap();
    assert_eq!(data.tlvs.receipted_message_id(), Some(&b"id7"[..]));
    assert_eq!((data.esm_class, quirks), (4, Quirks::NONE));
    let text = b"id:7 sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 stat:DELIVRD err:000 text:";
    assert_eq!(
        detect(0, Some(b"id7"), None, b"", false),
        (receipt::Kind::Receipt, Quirks::RECEIPT_BY_TLV)
    );
    assert_eq!(
        detect(0, None, None, text, true),
        (receipt::Kind::Receipt, Quirks::RECEIPT_BY_TEXT)
    );
    assert_eq!(
        detect(0, None, None, text, false),
        (receipt::Kind::Message, Quirks::NONE)
    );
    assert_eq!(
        detect(4, None, None, b"hello", false),
        (receipt::Kind::Receipt, Quirks::NONE)
    );
}

#[test]
fn row_13_any_sequence_is_echoed_and_a_response_to_nothing_is_counted() {
    let mut side = Side::smsc(|_| {});
    for sequence in [0, 0, 1, 0x8000_0000, u32::MAX] {
        side.takes(&message_with(CommandId::SUBMIT_SM, sequence, b""));
        let (events, quirks) = side.events_and_quirks();
        let [Event::Submitted { reply, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        side.session.respond_submit(*reply, OK, b"id").unwrap();
        assert_eq!(
            side.writes(),
            [header(CommandId::SUBMIT_SM_RESP, OK, sequence)]
        );
        let odd = sequence == 0 || sequence > 0x7FFF_FFFF;
        assert_eq!(quirks.contains(Quirks::ODD_SEQUENCE), odd);
    }
    side.takes(&pdu(CommandId::DELIVER_SM_RESP, OK, 4_711, b"\0"));
    let odd = Odd::Unsolicited(CommandId::DELIVER_SM_RESP);
    assert_eq!(side.events(), [Event::Odd(odd)]);
    assert!(side.session.is_bound() && side.writes().is_empty());
}

#[test]
fn row_14_end_of_file_behind_our_unbind_is_success() {
    let mut side = Side::esme(BindKind::Transceiver, |_| {});
    side.session.unbind(side.now);
    side.writes();
    side.session.handle_eof(side.now);
    assert_eq!(side.events(), [Event::Closed(CloseReason::Unbound)]);
}

#[test]
fn row_15_nothing_but_the_bind_is_sent_before_its_answer() {
    let config = Config {
        bind_timeout: Duration::from_secs(300),
        ..Config::esme(Esme::new(BindKind::Transceiver, b"acme", b"secret"))
    };
    let now = std::time::Instant::now();
    let mut side = Side {
        session: Session::new(config, now).unwrap(),
        now,
    };
    assert_eq!(side.writes().len(), 1);
    assert!(side.pass(Duration::from_secs(299)).is_empty());
    assert!(!side.session.is_closed());
}
