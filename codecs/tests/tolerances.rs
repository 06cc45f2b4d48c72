//! The deviations that carriers were seen to send, one test each: smpp.md §1.5.
#![expect(clippy::unwrap_used, reason = "a test's helper functions")]

use bytes::{BufMut, BytesMut};
use codecs::smpp::tlv::TLVS_MAX;
use codecs::smpp::{
    Address, Bind, BindResp, CommandStatus, DeliverSm, Field, Kind, Limits, Outbind, Quirks,
    SubmitSm, SubmitSmResp, Tag, TlvBuf,
};

const HEADER: usize = 16;

fn submit() -> SubmitSm<'static> {
    SubmitSm {
        source: Address {
            ton: 5,
            npi: 0,
            addr: b"Trunkline",
        },
        dest: Address {
            ton: 1,
            npi: 1,
            addr: b"447700900123",
        },
        short_message: b"hello world",
        ..SubmitSm::default()
    }
}

fn body(sm: &SubmitSm<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    sm.encode(1, &Limits::SPEC, &mut out).unwrap();
    out.split_off(HEADER)
}

#[test]
fn error_response_without_body_is_no_error() {
    let (resp, quirks) = SubmitSmResp::decode(CommandStatus::THROTTLED, b"");
    assert_eq!((resp.message_id, quirks), (b"".as_slice(), Quirks::NONE));
}

#[test]
fn error_response_with_lone_nul_is_no_error() {
    let (resp, quirks) = SubmitSmResp::decode(CommandStatus::THROTTLED, b"\0");
    assert_eq!((resp.message_id, quirks), (b"".as_slice(), Quirks::NONE));
}

#[test]
fn error_response_keeps_its_message_id() {
    let (resp, _) = SubmitSmResp::decode(CommandStatus::THROTTLED, b"abc\0");
    assert_eq!(resp.message_id, b"abc");
}

#[test]
fn error_response_with_tlvs_only_keeps_them() {
    let mut tlvs = TlvBuf::new();
    tlvs.push(Tag::CONGESTION_STATE, &[90]).unwrap();
    let (resp, quirks) = SubmitSmResp::decode(CommandStatus::THROTTLED, tlvs.as_tlvs().raw());
    assert_eq!(resp.tlvs.u8(Tag::CONGESTION_STATE), Some(90));
    assert_eq!(quirks, Quirks::ODD_ERROR_BODY);
}

#[test]
fn accepting_response_without_message_id_is_counted() {
    for octets in [b"".as_slice(), b"\0"] {
        let (resp, quirks) = SubmitSmResp::decode(CommandStatus::OK, octets);
        assert_eq!(
            (resp.message_id, quirks),
            (b"".as_slice(), Quirks::NO_MESSAGE_ID)
        );
    }
}

#[test]
fn message_id_without_final_nul_is_read() {
    let (resp, quirks) = SubmitSmResp::decode(CommandStatus::OK, b"abc");
    assert_eq!(
        (resp.message_id, quirks),
        (b"abc".as_slice(), Quirks::MISSING_NUL)
    );
}

#[test]
fn long_message_id_is_read_up_to_256_octets() {
    let mut octets = vec![b'7'; 100];
    octets.push(0);
    let (resp, quirks) = SubmitSmResp::decode(CommandStatus::OK, &octets);
    assert_eq!((resp.message_id.len(), quirks), (100, Quirks::LONG_CSTRING));
    let (resp, _) = SubmitSmResp::decode(CommandStatus::OK, &[b'7'; 5_000]);
    assert_eq!(resp.message_id.len(), 256);
}

#[test]
fn bind_without_last_nul_and_with_long_password_is_read() {
    let octets = b"acme\0averylongpassword\0\0\x34\0\0^44";
    let (bind, quirks) = Bind::decode(octets).unwrap();
    assert_eq!(
        (bind.password, bind.address_range),
        (b"averylongpassword".as_slice(), b"^44".as_slice())
    );
    assert!(quirks.contains(Quirks::MISSING_NUL));
    assert!(quirks.contains(Quirks::LONG_CSTRING));
    let (outbind, _) = Outbind::decode(b"smsc\0pw").unwrap();
    assert_eq!(outbind.password, b"pw");
}

#[test]
fn bind_response_without_body_or_version_is_read() {
    assert_eq!(BindResp::decode(b"").0, BindResp::default());
    let (resp, _) = BindResp::decode(b"SMSC\0");
    assert_eq!(
        (resp.system_id, resp.sc_interface_version),
        (b"SMSC".as_slice(), None)
    );
    let (resp, _) = BindResp::decode(b"SMSC\0\x02\x10\x00\x02\x00\x34");
    assert_eq!(
        resp.sc_interface_version, None,
        "u8 sent as u16: the accessor gives nothing"
    );
}

#[test]
fn zero_padding_after_the_body_is_dropped() {
    for count in 1..=3 {
        let mut octets = body(&submit());
        octets.put_bytes(0, count);
        let (sm, quirks) = SubmitSm::decode(&octets).unwrap();
        assert_eq!(
            (sm.short_message, quirks),
            (b"hello world".as_slice(), Quirks::TRAILING)
        );
        assert!(sm.tlvs.is_empty());
    }
}

#[test]
fn short_message_longer_than_the_rest_is_refused_with_0x01() {
    let mut octets = body(&submit());
    let at = octets.len() - b"hello world".len() - 1;
    octets[at] = 255;
    let error = SubmitSm::decode(&octets).unwrap_err();
    assert_eq!(
        (error.field, error.kind),
        (Field::ShortMessage, Kind::LengthLies)
    );
    assert_eq!(error.status(), CommandStatus::INVALID_MESSAGE_LENGTH);
    assert_eq!(error.at, HEADER + at + 1);
}

#[test]
fn cstring_without_nul_is_refused_with_0x02() {
    let error = SubmitSm::decode(&[b'x'; 2_000]).unwrap_err();
    assert_eq!((error.field, error.kind), (Field::ServiceType, Kind::NoNul));
    assert_eq!(error.status(), CommandStatus::INVALID_COMMAND_LENGTH);
}

#[test]
fn broken_tlvs_are_refused_in_submit_and_cut_in_deliver() {
    let mut tlvs = TlvBuf::new();
    tlvs.push(Tag::MESSAGE_STATE, &[2]).unwrap();
    let mut octets = body(&SubmitSm {
        tlvs: tlvs.as_tlvs(),
        ..submit()
    });
    octets.put_slice(&[0x04, 0x24, 0xFF, 0xFF, 1, 2, 3]);
    let error = SubmitSm::decode(&octets).unwrap_err();
    assert_eq!(error.status(), CommandStatus::INVALID_TLV_STREAM);
    let (sm, quirks) = DeliverSm::decode(&octets).unwrap();
    assert_eq!(
        (sm.tlvs.message_state(), quirks),
        (Some(2), Quirks::BROKEN_TLVS)
    );
}

#[test]
fn tlv_stub_of_three_octets_is_refused_in_submit() {
    let mut octets = body(&submit());
    octets.put_slice(&[0x02, 0x04, 0x00]);
    assert_eq!(
        SubmitSm::decode(&octets).unwrap_err().status(),
        CommandStatus::INVALID_TLV_STREAM
    );
}

#[test]
fn more_than_64_tlvs_are_refused_in_submit_and_cut_in_deliver() {
    let mut octets = body(&submit());
    for _ in 0..=TLVS_MAX {
        octets.put_slice(&[0x14, 0x00, 0, 1, 7]);
    }
    assert_eq!(
        SubmitSm::decode(&octets).unwrap_err().kind,
        Kind::TooManyTlvs
    );
    let (sm, _) = DeliverSm::decode(&octets).unwrap();
    assert_eq!(sm.tlvs.iter().count(), TLVS_MAX);
}

#[test]
fn unknown_duplicate_and_empty_tlvs_are_kept() {
    let mut octets = body(&submit());
    for tlv in [
        &[0x14, 0x00, 0, 0][..],
        &[0x14, 0x00, 0, 1, 7],
        &[0x02, 0x10, 0, 1, 0x34],
    ] {
        octets.put_slice(tlv);
    }
    let (sm, quirks) = DeliverSm::decode(&octets).unwrap();
    assert_eq!((sm.tlvs.iter().count(), quirks), (3, Quirks::NONE));
    assert_eq!(
        sm.tlvs.find(Tag(0x1400)),
        Some(b"".as_slice()),
        "the first one counts"
    );
}

#[test]
fn the_longer_of_short_message_and_payload_is_the_text() {
    let mut tlvs = TlvBuf::new();
    tlvs.push(Tag::MESSAGE_PAYLOAD, b"a longer text than that")
        .unwrap();
    let octets = body(&SubmitSm {
        tlvs: tlvs.as_tlvs(),
        ..submit()
    });
    let (sm, quirks) = SubmitSm::decode(&octets).unwrap();
    assert_eq!(
        (sm.user_data(), quirks),
        (b"a longer text than that".as_slice(), Quirks::TWO_TEXTS)
    );
    let octets = body(&SubmitSm {
        tlvs: tlvs.as_tlvs(),
        short_message: b"\0",
        ..submit()
    });
    let (sm, _) = SubmitSm::decode(&octets).unwrap();
    assert_eq!(sm.user_data(), b"a longer text than that");
}

#[test]
fn long_addresses_and_odd_times_are_read() {
    let mut octets = BytesMut::new();
    octets.put_slice(b"sixsix\0\x05\0a sender that is far too long\0\x01\x01447700900123\0\0\0\0");
    octets.put_slice(b"someday\0\0\0\0\0\0\0");
    let (sm, quirks) = SubmitSm::decode(&octets).unwrap();
    assert_eq!(sm.schedule_delivery_time, b"someday");
    assert_eq!(quirks, Quirks::LONG_CSTRING);
}
