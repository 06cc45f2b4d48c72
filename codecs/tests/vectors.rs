//! Known answers: octets made by implementations that nobody here wrote.
#![expect(clippy::unwrap_used, reason = "a test's helper functions")]

use bytes::BytesMut;
use codecs::smpp::{BindKind, CommandStatus, Limits, Pdu, Quirks, Sar, SubmitSm, Tag};

const FILES: [&str; 3] = [
    include_str!("vectors/smpplib.hex"),
    include_str!("vectors/smpp_pdu3.hex"),
    include_str!("vectors/node_smpp.hex"),
];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn vectors(file: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    file.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, octets) = line.split_once(' ').unwrap();
            (name, hex(octets))
        })
}

fn vector(file: usize, wanted: &str) -> Vec<u8> {
    vectors(FILES[file])
        .find(|(name, _)| *name == wanted)
        .unwrap()
        .1
}

#[test]
fn every_vector_decodes_without_quirks_and_encodes_to_the_same_octets() {
    let mut count = 0;
    for (name, octets) in FILES.into_iter().flat_map(vectors) {
        let (header, pdu, quirks) = Pdu::decode(&octets).unwrap();
        assert_eq!(quirks, Quirks::NONE, "{name}");
        assert!(name.starts_with(header.command.name().unwrap()), "{name}");
        let mut again = BytesMut::new();
        pdu.encode(header, &Limits::SPEC, &mut again).unwrap();
        assert_eq!(again, octets, "{name}");
        count += 1;
    }
    assert!(count >= 35, "only {count} vectors were encoded again");
}

#[test]
fn smpplib_submit_sm_reads_field_by_field() {
    let octets = vector(0, "submit_sm");
    let (header, Pdu::SubmitSm(sm), _) = Pdu::decode(&octets).unwrap() else {
        panic!("submit_sm")
    };
    assert_eq!(header.status, CommandStatus::OK);
    assert_eq!(
        (sm.service_type, sm.source.ton, sm.source.npi),
        (b"CMT".as_slice(), 5, 0)
    );
    assert_eq!(sm.source.addr, b"Trunkline");
    assert_eq!(
        (sm.dest.ton, sm.dest.npi, sm.dest.addr),
        (1, 1, b"447700900123".as_slice())
    );
    assert_eq!((sm.esm_class, sm.protocol_id, sm.priority_flag), (3, 0, 1));
    assert_eq!(sm.validity_period, b"000002000000000R");
    assert_eq!(
        (
            sm.registered_delivery,
            sm.replace_if_present,
            sm.data_coding
        ),
        (1, 0, 0)
    );
    assert_eq!(sm.short_message, b"Hello from smpplib");
}

#[test]
fn smpplib_tlvs_read_by_name() {
    let octets = vector(0, "submit_sm_tlv");
    let (_, Pdu::SubmitSm(sm), _) = Pdu::decode(&octets).unwrap() else {
        panic!("submit_sm")
    };
    assert_eq!(
        sm.tlvs.sar(),
        Some(Sar {
            reference: 513,
            total: 3,
            number: 2
        })
    );
    assert_eq!(sm.tlvs.u16(Tag::USER_MESSAGE_REFERENCE), Some(7));
    assert_eq!(sm.user_data(), (0..64).collect::<Vec<u8>>());
    let octets = vector(0, "deliver_sm");
    let (_, Pdu::DeliverSm(sm), _) = Pdu::decode(&octets).unwrap() else {
        panic!("deliver_sm")
    };
    assert_eq!(
        sm.tlvs.receipted_message_id(),
        Some(b"0123456789".as_slice())
    );
    assert_eq!(sm.tlvs.message_state(), Some(2));
    assert_eq!(sm.esm_class, 4);
}

#[test]
fn smpp_pdu3_responses_read() {
    let octets = vector(1, "submit_sm_resp");
    let (header, Pdu::SubmitSmResp(resp), _) = Pdu::decode(&octets).unwrap() else {
        panic!("resp")
    };
    assert_eq!(resp.message_id, b"64567b9e-6e2c-4d27-8c1f-0d3f5e7b9a11");
    assert_eq!(header.sequence, 9284);
    let octets = vector(1, "bind_transmitter_resp_refused");
    let (header, pdu, _) = Pdu::decode(&octets).unwrap();
    assert_eq!(header.status, CommandStatus::INVALID_PASSWORD);
    assert!(matches!(pdu, Pdu::BindResp(BindKind::Transmitter, _)));
    let octets = vector(1, "outbind");
    let (_, Pdu::Outbind(outbind), _) = Pdu::decode(&octets).unwrap() else {
        panic!("outbind")
    };
    assert_eq!(
        (outbind.system_id, outbind.password),
        (b"SMSC".as_slice(), b"secret".as_slice())
    );
}

#[test]
fn node_smpp_receipt_reads() {
    let octets = vector(2, "deliver_sm");
    let (_, Pdu::DeliverSm(sm), _) = Pdu::decode(&octets).unwrap() else {
        panic!("deliver_sm")
    };
    assert_eq!(sm.tlvs.network_error_code(), Some([3, 0, 1].as_slice()));
    assert_eq!(sm.short_message, b"id:7f3a01 stat:UNDELIV err:001");
    let octets = vector(2, "submit_sm_payload");
    let (_, Pdu::SubmitSm(sm), _) = Pdu::decode(&octets).unwrap() else {
        panic!("submit_sm")
    };
    assert_eq!(sm.user_data(), [b'x'; 300]);
    let octets = vector(2, "query_sm");
    let (_, pdu, _) = Pdu::decode(&octets).unwrap();
    assert!(matches!(pdu, Pdu::QuerySm(query) if !query.message_id.is_empty()));
}

#[test]
fn every_strict_prefix_of_every_vector_is_incomplete() {
    use codecs::smpp::{Framing, next_frame};
    for (name, octets) in FILES.into_iter().flat_map(vectors) {
        for end in 0..octets.len() {
            let framing = next_frame(&octets[..end], 72 * 1024);
            assert!(
                matches!(framing, Ok(Framing::Incomplete { .. })),
                "{name} at {end}"
            );
        }
        let whole = Framing::Complete {
            octets: octets.len(),
        };
        assert_eq!(next_frame(&octets, 72 * 1024), Ok(whole), "{name}");
    }
}

#[test]
fn limits_are_kept_when_sending_and_nothing_is_written() {
    let mut out = BytesMut::new();
    let long = [b'x'; 255];
    let sm = SubmitSm {
        short_message: &long,
        ..SubmitSm::default()
    };
    assert!(sm.encode(1, &Limits::SPEC, &mut out).is_err());
    let sm = SubmitSm {
        service_type: b"sixsix",
        ..SubmitSm::default()
    };
    assert!(sm.encode(1, &Limits::SPEC, &mut out).is_err());
    let sm = SubmitSm {
        service_type: b"a\0b",
        ..SubmitSm::default()
    };
    assert!(sm.encode(1, &Limits::SPEC, &mut out).is_err());
    assert!(out.is_empty());
    let wider = Limits {
        service_type: 7,
        ..Limits::SPEC
    };
    let sm = SubmitSm {
        service_type: b"sixsix",
        ..SubmitSm::default()
    };
    sm.encode(1, &wider, &mut out).unwrap();
}
