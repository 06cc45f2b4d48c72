//! Round trips and hostile octets, for any input.
#![expect(clippy::unwrap_used, reason = "a test's helper functions")]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use codecs::smpp::session::Esme;
use codecs::smpp::{
    Address, Bind, BindKind, CommandId, CommandStatus, Config, DataSm, DeliverSm, Limits, Pdu,
    Session, SubmitSm, SubmitSmResp, Tag, TlvBuf, Tlvs,
};
use proptest::collection::vec;
use proptest::prelude::*;

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

type Parts = (
    (Vec<u8>, Vec<u8>, Vec<u8>),
    (Vec<u8>, Vec<u8>),
    [u8; 11],
    Vec<u8>,
    TlvBuf,
);

fn parts() -> impl Strategy<Value = Parts> {
    (
        (cstring(6), cstring(21), cstring(21)),
        (cstring(17), cstring(17)),
        any::<[u8; 11]>(),
        vec(any::<u8>(), 0..=254),
        tlvs(),
    )
}

fn submit(parts: &Parts) -> SubmitSm<'_> {
    let ((service_type, source, dest), (schedule, validity), flags, text, tlvs) = parts;
    SubmitSm {
        service_type,
        source: Address {
            ton: flags[0],
            npi: flags[1],
            addr: source,
        },
        dest: Address {
            ton: flags[2],
            npi: flags[3],
            addr: dest,
        },
        esm_class: flags[4],
        protocol_id: flags[5],
        priority_flag: flags[6],
        schedule_delivery_time: schedule,
        validity_period: validity,
        registered_delivery: flags[7],
        replace_if_present: flags[8],
        data_coding: flags[9],
        sm_default_msg_id: flags[10],
        short_message: text,
        tlvs: tlvs.as_tlvs(),
    }
}

/// Decodes; an error has to name an octet of the PDU.
fn fails(pdu: &[u8]) -> bool {
    Pdu::decode(pdu).is_err_and(|error| {
        assert!(error.at <= pdu.len(), "{error}");
        true
    })
}

proptest! {
    #[test]
    fn submit_sm_comes_back(parts in parts(), sequence: u32) {
        let sm = submit(&parts);
        let mut out = BytesMut::new();
        sm.encode(sequence, &Limits::SPEC, &mut out).unwrap();
        let (header, pdu, _) = Pdu::decode(&out).unwrap();
        prop_assert_eq!(header.sequence, sequence);
        prop_assert_eq!(pdu, Pdu::SubmitSm(sm));
        // A body that is cut anywhere errs, loses only whole TLVs, or loses zero padding.
        for end in 16..out.len() {
            if let Ok((_, Pdu::SubmitSm(cut), _)) = Pdu::decode(&out[..end]) {
                prop_assert_eq!(cut.short_message, sm.short_message);
                prop_assert!(sm.tlvs.raw().starts_with(cut.tlvs.raw()));
            }
        }
    }

    #[test]
    fn deliver_sm_and_data_sm_come_back(parts in parts(), sequence: u32) {
        let sm = submit(&parts);
        let deliver = DeliverSm {
            service_type: sm.service_type,
            source: sm.source,
            dest: sm.dest,
            esm_class: sm.esm_class,
            short_message: sm.short_message,
            tlvs: sm.tlvs,
            ..DeliverSm::default()
        };
        let mut out = BytesMut::new();
        deliver.encode(sequence, &Limits::SPEC, &mut out).unwrap();
        prop_assert_eq!(Pdu::decode(&out).unwrap().1, Pdu::DeliverSm(deliver));
        let data = DataSm { source: sm.source, dest: sm.dest, tlvs: sm.tlvs, ..DataSm::default() };
        out.clear();
        data.encode(sequence, &Limits::SPEC, &mut out).unwrap();
        prop_assert_eq!(Pdu::decode(&out).unwrap().1, Pdu::DataSm(data));
    }

    #[test]
    fn bind_and_responses_come_back(
        names in (cstring(16), cstring(9), cstring(13), cstring(41)),
        id in cstring(65),
        flags: [u8; 3],
        sequence: u32,
    ) {
        let bind = Bind {
            system_id: &names.0,
            password: &names.1,
            system_type: &names.2,
            interface_version: flags[0],
            addr_ton: flags[1],
            addr_npi: flags[2],
            address_range: &names.3,
        };
        let mut out = BytesMut::new();
        bind.encode(BindKind::Receiver, sequence, &Limits::SPEC, &mut out).unwrap();
        prop_assert_eq!(Pdu::decode(&out).unwrap().1, Pdu::Bind(BindKind::Receiver, bind));
        let resp = SubmitSmResp { message_id: &id, tlvs: Tlvs::NONE };
        out.clear();
        let command = CommandId::SUBMIT_SM_RESP;
        resp.encode(command, CommandStatus::OK, sequence, &Limits::SPEC, &mut out).unwrap();
        prop_assert_eq!(Pdu::decode(&out).unwrap().1, Pdu::SubmitSmResp(resp));
    }

    #[test]
    fn any_octets_never_panic(octets in vec(any::<u8>(), 0..600), command in any::<u8>()) {
        prop_assert_eq!(Pdu::decode(&octets).is_err(), octets.len() < 16 || fails(&octets));
        // The same octets as the body of each command that has one.
        let mut pdu = octets;
        if pdu.len() >= 16 {
            pdu[4..8].copy_from_slice(&[(command & 1) << 7, 0, 0, (command >> 1) % 0x18]);
            fails(&pdu);
            pdu[8..12].fill(0);
            fails(&pdu);
        }
    }

    /// Framed or not, in any state and cut anywhere, the session lives or closes with a reason.
    #[test]
    fn any_octets_leave_the_session_sane(
        chunks in vec((any::<bool>(), any::<u32>(), vec(any::<u8>(), 0..120)), 0..40),
        esme: bool,
    ) {
        let now = Instant::now();
        let config = if esme {
            Config::esme(Esme::new(BindKind::Transceiver, b"a", b"b"))
        } else {
            Config::smsc(b"s")
        };
        let mut session = Session::new(config, now).unwrap();
        let mut out = BytesMut::new();
        for (framed, pick, body) in chunks {
            let mut octets = Vec::new();
            if framed {
                let commands = [1, 2, 4, 5, 6, 9, 0x15, 0x103, 0x999];
                let command = commands[pick as usize % commands.len()] | (pick & 0x8000_0000);
                let length = u32::try_from(body.len() + 16).unwrap();
                for word in [length, command, pick % 7, pick % 5] {
                    octets.extend_from_slice(&word.to_be_bytes());
                }
            }
            octets.extend_from_slice(&body);
            session.handle_bytes(now, &octets);
            session.handle_timeout(now + Duration::from_secs(1));
            while session.poll_event().is_some() {}
            out.clear();
            session.poll_transmit(&mut out);
            let mut rest = &out[..];
            while !rest.is_empty() {
                let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
                Pdu::decode(&rest[..length]).unwrap();
                rest = &rest[length..];
            }
        }
    }
}
