//! The PDUs beyond binds and messages: field by field from octets made elsewhere, round trips for
//! any values, and the errors that name field and octet.
#![expect(clippy::unwrap_used, reason = "a test's helper functions")]

use bytes::BytesMut;
use codecs::smpp::multi::{DESTS_MAX, Dest, DestBuf, Unsuccess, UnsuccessBuf};
use codecs::smpp::{
    Address, AlertNotification, BroadcastSm, CancelBroadcastSm, CancelSm, CommandId, CommandStatus,
    EncodeError, Field, Header, Kind, Limits, Outbind, Pdu, QueryBroadcastSm, QuerySm, QuerySmResp,
    Quirks, ReplaceSm, SubmitMulti, SubmitMultiResp, SubmitSm, SubmitSmResp, Tag, TlvBuf, Tlvs,
};
use proptest::collection::vec;
use proptest::prelude::*;

const NODE: &str = include_str!("vectors/node_smpp.hex");

fn vector(wanted: &str) -> Vec<u8> {
    let line = NODE
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{wanted} ")));
    let hex = line.unwrap();
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn address(addr: &[u8]) -> Address<'_> {
    Address {
        ton: 0,
        npi: 0,
        addr,
    }
}

const PHONE: Address<'static> = Address {
    ton: 1,
    npi: 1,
    addr: b"447700900123",
};

#[test]
fn query_cancel_and_replace_read_field_by_field() {
    let octets = vector("query_sm_resp");
    let (_, Pdu::QuerySmResp(resp), _) = Pdu::decode(&octets).unwrap() else {
        panic!("query_sm_resp")
    };
    assert_eq!(resp.message_id, b"7f3a01");
    assert_eq!(resp.final_date, b"260101120000000+");
    assert_eq!((resp.message_state, resp.error_code), (Some(2), Some(7)));
    let octets = vector("cancel_sm");
    let (_, Pdu::CancelSm(cancel), _) = Pdu::decode(&octets).unwrap() else {
        panic!("cancel_sm")
    };
    assert_eq!(
        (cancel.service_type, cancel.message_id),
        (&b"CMT"[..], &b"7f3a01"[..])
    );
    assert_eq!(
        (cancel.source.addr, cancel.dest),
        (&b"Trunkline"[..], PHONE)
    );
    let octets = vector("replace_sm");
    let (_, Pdu::ReplaceSm(replace), _) = Pdu::decode(&octets).unwrap() else {
        panic!("replace_sm")
    };
    assert_eq!(replace.validity_period, b"000002000000000R");
    assert_eq!(
        (replace.registered_delivery, replace.short_message),
        (1, &b"new text"[..])
    );
}

#[test]
fn submit_multi_reads_numbers_and_lists_and_its_response_the_refused() {
    let octets = vector("submit_multi");
    let (_, Pdu::SubmitMulti(multi), _) = Pdu::decode(&octets).unwrap() else {
        panic!("submit_multi")
    };
    let dests: Vec<_> = multi.dests.iter().collect();
    assert_eq!(dests, [Dest::Sme(PHONE), Dest::List(b"everyone")]);
    assert_eq!(multi.dests.count(), 2);
    assert_eq!(
        (multi.sm.data_coding, multi.sm.short_message),
        (4, &b"hello all"[..])
    );
    let octets = vector("submit_multi_resp");
    let (_, Pdu::SubmitMultiResp(resp), _) = Pdu::decode(&octets).unwrap() else {
        panic!("submit_multi_resp")
    };
    let refused: Vec<_> = resp.unsuccess().collect();
    let status = CommandStatus::INVALID_DEST;
    assert_eq!(
        refused,
        [Unsuccess {
            dest: PHONE,
            status
        }]
    );
    assert_eq!(resp.message_id, b"7f3a02");
}

#[test]
fn alert_and_broadcast_read_field_by_field() {
    let octets = vector("alert_notification");
    let (_, Pdu::AlertNotification(alert), _) = Pdu::decode(&octets).unwrap() else {
        panic!("alert_notification")
    };
    assert_eq!((alert.source, alert.esme.addr), (PHONE, &b"100"[..]));
    assert_eq!(alert.tlvs.u8(Tag(0x0422)), Some(0));
    let octets = vector("broadcast_sm");
    let (_, Pdu::BroadcastSm(sm), _) = Pdu::decode(&octets).unwrap() else {
        panic!("broadcast_sm")
    };
    assert_eq!((sm.source.addr, sm.message_id), (&b"100"[..], &b"b1"[..]));
    assert_eq!(sm.tlvs.find(Tag(0x0601)), Some(&[1, 0, 0x10][..]));
    let areas = sm.tlvs.iter().filter(|tlv| tlv.tag == Tag(0x0606));
    let areas: Vec<_> = areas.map(|tlv| tlv.value).collect();
    assert_eq!(areas, [&b"\0n"[..], b"\0s"]);
    let octets = vector("query_broadcast_sm");
    let (_, Pdu::QueryBroadcastSm(query), _) = Pdu::decode(&octets).unwrap() else {
        panic!("query_broadcast_sm")
    };
    assert_eq!(query.message_id, b"b1");
    assert_eq!(query.tlvs.u16(Tag::USER_MESSAGE_REFERENCE), Some(9));
    let octets = vector("cancel_broadcast_sm");
    let (_, Pdu::CancelBroadcastSm(cancel), _) = Pdu::decode(&octets).unwrap() else {
        panic!("cancel_broadcast_sm")
    };
    assert_eq!(
        (cancel.service_type, cancel.source),
        (&b"CMT"[..], address(b"100"))
    );
}

/// A PDU with this body.
fn pdu(command: CommandId, status: CommandStatus, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 16).unwrap();
    let words = [length, command.0, status.0, 1];
    let mut octets: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
    octets.extend_from_slice(body);
    octets
}

#[test]
fn broken_submit_multi_names_field_octet_and_status() {
    let command = CommandId::SUBMIT_MULTI;
    let cases: [(&[u8], Field, usize, CommandStatus); 4] = [
        (
            b"\0\0\x00100\0\0",
            Field::NumberOfDests,
            24,
            CommandStatus::INVALID_DEST_COUNT,
        ),
        (
            b"\0\0\x00100\0\x01\x03\0\0\0",
            Field::DestFlag,
            25,
            CommandStatus::INVALID_DEST_FLAG,
        ),
        (
            b"\0\0\x00100\0\x02\x02all\0",
            Field::DestFlag,
            29,
            CommandStatus::INVALID_COMMAND_LENGTH,
        ),
        (
            b"\0\0\x00100\0\x01\x02all",
            Field::ListName,
            25,
            CommandStatus::INVALID_COMMAND_LENGTH,
        ),
    ];
    for (body, field, at, status) in cases {
        let error = Pdu::decode(&pdu(command, CommandStatus::OK, body)).unwrap_err();
        assert_eq!(
            (error.field, error.at, error.status()),
            (field, at, status),
            "{body:?}"
        );
    }
    assert_eq!(
        Pdu::decode(&pdu(command, CommandStatus::OK, b"\0\0\x00100\0\0"))
            .unwrap_err()
            .kind,
        Kind::BadValue
    );
}

#[test]
fn cut_responses_keep_what_is_whole_and_are_counted() {
    let (resp, quirks) = QuerySmResp::decode(CommandStatus::OK, b"id\0\0\x02");
    assert_eq!((resp.message_state, resp.error_code), (Some(2), None));
    assert_eq!(quirks, Quirks::MISSING_FIELDS);
    let (resp, quirks) = QuerySmResp::decode(CommandStatus::QUERY_FAILED, b"");
    assert_eq!((resp, quirks), (QuerySmResp::default(), Quirks::NONE));
    let body = b"id\0\x02\x01\x01447700900123\0\0\0\0\x0b\x01\x01447";
    let (resp, quirks) = SubmitMultiResp::decode(CommandStatus::OK, body);
    assert_eq!((resp.message_id, resp.unsuccess().count()), (&b"id"[..], 1));
    assert_eq!(quirks, Quirks::MISSING_FIELDS);
    let (resp, quirks) = SubmitMultiResp::decode(CommandStatus::THROTTLED, b"");
    assert_eq!((resp, quirks), (SubmitMultiResp::default(), Quirks::NONE));
}

#[test]
fn submit_multi_sends_1_to_254_recipients() {
    let limits = Limits::SPEC;
    let mut out = BytesMut::new();
    let none = SubmitMulti::default().encode(1, &limits, &mut out);
    let field = Field::NumberOfDests;
    assert_eq!(none, Err(EncodeError::Missing { field }));
    let mut dests = DestBuf::default();
    for _ in 0..DESTS_MAX {
        dests.push(Dest::Sme(PHONE), &limits).unwrap();
    }
    assert!(dests.push(Dest::Sme(PHONE), &limits).is_err());
    let multi = SubmitMulti {
        dests: dests.as_dests(),
        sm: SubmitSm::default(),
    };
    assert!(out.is_empty());
    multi.encode(1, &limits, &mut out).unwrap();
    assert_eq!(Pdu::decode(&out).unwrap().1, Pdu::SubmitMulti(multi));
}

#[test]
fn the_three_commands_of_smpp_33_have_names_but_no_layout() {
    for command in [0x22, 0x23, 0x24, 0x8000_0022, 0x8000_0023, 0x8000_0024] {
        let octets = pdu(CommandId(command), CommandStatus::OK, b"anything");
        let (header, pdu, quirks) = Pdu::decode(&octets).unwrap();
        assert!(header.command.name().is_some());
        assert!(matches!(pdu, Pdu::Other { .. }) && quirks.is_empty());
        let mut again = BytesMut::new();
        pdu.encode(header, &Limits::SPEC, &mut again).unwrap();
        assert_eq!(again, octets);
    }
}

#[test]
fn version_5_sends_255_octets_of_text() {
    let text = [b'x'; 255];
    let sm = SubmitSm {
        short_message: &text,
        ..SubmitSm::default()
    };
    let mut out = BytesMut::new();
    assert!(sm.encode(1, &Limits::SPEC, &mut out).is_err());
    sm.encode(1, &Limits::V5, &mut out).unwrap();
    assert_eq!(Pdu::decode(&out).unwrap().1, Pdu::SubmitSm(sm));
}

fn cstring(octets_max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8.., 0..octets_max)
}

fn tlvs() -> impl Strategy<Value = TlvBuf> {
    vec((any::<u16>(), vec(any::<u8>(), 0..40)), 0..6).prop_map(|pairs| {
        let mut tlvs = TlvBuf::new();
        for (tag, value) in pairs {
            tlvs.push(Tag(tag), &value).unwrap();
        }
        tlvs
    })
}

/// Encodes, decodes and compares; a PDU cut anywhere must not panic, and names an octet it has.
fn comes_back(pdu: Pdu<'_>, status: CommandStatus, sequence: u32) {
    let header = Header {
        command: CommandId::CANCEL_SM_RESP,
        status,
        sequence,
    };
    let mut out = BytesMut::new();
    pdu.encode(header, &Limits::SPEC, &mut out).unwrap();
    let (back, again, quirks) = Pdu::decode(&out).unwrap();
    assert_eq!((again, back.sequence), (pdu, sequence));
    let allowed = [Quirks::NONE, Quirks::NO_MESSAGE_ID, Quirks::DELIVER_RESP_ID];
    assert!(allowed.contains(&quirks), "{quirks:?}");
    for end in 0..out.len() {
        if let Err(error) = Pdu::decode(&out[..end]) {
            assert!(error.at <= end, "{error}");
        }
    }
}

proptest! {
    #[test]
    fn every_request_comes_back(
        texts in (cstring(6), cstring(65), cstring(21), cstring(21), cstring(17), cstring(17)),
        names in (cstring(16), cstring(9)),
        flags: [u8; 9],
        text in vec(any::<u8>(), 0..=254),
        tlvs in tlvs(),
        sequence: u32,
    ) {
        let (service_type, message_id, source, dest, schedule, validity) = &texts;
        let source = Address { ton: flags[0], npi: flags[1], addr: source };
        let dest = Address { ton: flags[2], npi: flags[3], addr: dest };
        let tlvs = tlvs.as_tlvs();
        let ok = CommandStatus::OK;
        let go = |pdu| comes_back(pdu, ok, sequence);
        go(Pdu::QuerySm(QuerySm { message_id, source }));
        go(Pdu::CancelSm(CancelSm { service_type, message_id, source, dest }));
        go(Pdu::ReplaceSm(ReplaceSm {
            message_id,
            source,
            schedule_delivery_time: schedule,
            validity_period: validity,
            registered_delivery: flags[4],
            sm_default_msg_id: flags[5],
            short_message: &text,
            tlvs,
        }));
        go(Pdu::AlertNotification(AlertNotification { source, esme: dest, tlvs }));
        go(Pdu::Outbind(Outbind { system_id: &names.0, password: &names.1 }));
        go(Pdu::BroadcastSm(BroadcastSm {
            service_type,
            source,
            message_id,
            priority_flag: flags[4],
            schedule_delivery_time: schedule,
            validity_period: validity,
            replace_if_present: flags[5],
            data_coding: flags[6],
            sm_default_msg_id: flags[7],
            tlvs,
        }));
        go(Pdu::QueryBroadcastSm(QueryBroadcastSm { message_id, source, tlvs }));
        go(Pdu::CancelBroadcastSm(CancelBroadcastSm { service_type, message_id, source, tlvs }));
        let mut dests = DestBuf::default();
        for at in 0..=flags[8] % 8 {
            let one = if at % 3 == 2 { Dest::List(source.addr) } else { Dest::Sme(dest) };
            dests.push(one, &Limits::SPEC).unwrap();
        }
        let sm = SubmitSm { service_type, source, short_message: &text, tlvs, ..SubmitSm::default() };
        let multi = SubmitMulti { dests: dests.as_dests(), sm };
        let mut out = BytesMut::new();
        multi.encode(sequence, &Limits::SPEC, &mut out).unwrap();
        prop_assert_eq!(Pdu::decode(&out).unwrap().1, Pdu::SubmitMulti(multi));
        prop_assert_eq!(multi.dests.iter().count(), usize::from(flags[8] % 8) + 1);
    }

    #[test]
    fn every_response_comes_back(
        message_id in cstring(65),
        date in cstring(17),
        dest in cstring(21),
        flags: [u8; 4],
        tlvs in tlvs(),
        sequence: u32,
    ) {
        let tlvs = tlvs.as_tlvs();
        let with_id = SubmitSmResp { message_id: &message_id, tlvs };
        let ok = CommandStatus::OK;
        for pdu in [
            Pdu::DeliverSmResp(with_id),
            Pdu::DataSmResp(with_id),
            Pdu::BroadcastSmResp(with_id),
            Pdu::QueryBroadcastSmResp(with_id),
            Pdu::QuerySmResp(QuerySmResp {
                message_id: &message_id,
                final_date: &date,
                message_state: Some(flags[0]),
                error_code: Some(flags[1]),
                tlvs,
            }),
            Pdu::CancelSmResp,
        ] {
            comes_back(pdu, ok, sequence);
        }
        let mut refused = UnsuccessBuf::default();
        let dest = Address { ton: flags[2], npi: flags[3], addr: &dest };
        for status in 0..u32::from(flags[0] % 5) {
            let status = CommandStatus(status);
            refused.push(Unsuccess { dest, status }, &Limits::SPEC).unwrap();
        }
        let resp = SubmitMultiResp::new(&message_id, &refused, tlvs);
        comes_back(Pdu::SubmitMultiResp(resp), ok, sequence);
    }

    #[test]
    fn any_octets_as_any_body_never_panic(body in vec(any::<u8>(), 0..300), status in 0..2_u32) {
        for low in [0x03, 0x04, 0x05, 0x07, 0x08, 0x09, 0x0B, 0x21, 0x23, 0x102, 0x103, 0x111, 0x112, 0x113] {
            for command in [low, low | 0x8000_0000] {
                let octets = pdu(CommandId(command), CommandStatus(status), &body);
                match Pdu::decode(&octets) {
                    Err(error) => {
                        prop_assert!(command == low, "a response never fails: {error}");
                        prop_assert!((16..=octets.len()).contains(&error.at));
                        prop_assert!(!error.status().is_ok());
                    }
                    Ok((_, Pdu::SubmitMulti(multi), _)) => {
                        prop_assert_eq!(multi.dests.iter().count(), usize::from(multi.dests.count()));
                    }
                    Ok(_) => {}
                }
            }
        }
        prop_assert!(Tlvs::NONE.is_empty());
    }
}
