//! congestion_state reaches the caller with every kind of response, whatever its status.
#![expect(clippy::unwrap_used, reason = "a test's helper functions")]

use std::time::Instant;

use bytes::BytesMut;
use codecs::smpp::session::{Config, Esme, Event, Session};
use codecs::smpp::{BindKind, CommandId, CommandStatus, DataSm, DeliverSm, SubmitSm};

/// congestion_state with one value.
fn tlv(value: u8) -> Vec<u8> {
    vec![0x04, 0x28, 0, 1, value]
}

fn pdu(command: CommandId, status: CommandStatus, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 16).unwrap();
    let words = [length, command.0, status.0, sequence];
    let mut octets: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
    octets.extend_from_slice(body);
    octets
}

/// A bound ESME (or SMSC) session that waits for the answer to one request of sequence 2 (or 1).
fn waiting(send: impl FnOnce(&mut Session, Instant), smsc: bool) -> (Session, Instant) {
    let now = Instant::now();
    let config = if smsc {
        Config::smsc(b"SMSC")
    } else {
        Config::esme(Esme::new(BindKind::Transceiver, b"acme", b"secret"))
    };
    let mut session = Session::new(config, now).unwrap();
    if smsc {
        let bind = pdu(
            CommandId::BIND_TRANSCEIVER,
            CommandStatus::OK,
            1,
            b"a\0b\0\0\x50\0\0\0",
        );
        session.handle_bytes(now, &bind);
        session.respond_bind(now, CommandStatus::OK).unwrap();
    } else {
        let resp = pdu(
            CommandId::BIND_TRANSCEIVER_RESP,
            CommandStatus::OK,
            1,
            b"SMSC\0",
        );
        session.handle_bytes(now, &resp);
    }
    assert!(session.is_bound());
    send(&mut session, now);
    session.poll_transmit(&mut BytesMut::new());
    while session.poll_event().is_some() {}
    (session, now)
}

/// What an answer with this body tells.
fn told(
    command: CommandId,
    status: CommandStatus,
    body: &[u8],
) -> (CommandStatus, Vec<u8>, Option<u8>) {
    let smsc = command == CommandId::DELIVER_SM_RESP;
    let sequence = if smsc { 1 } else { 2 };
    let send = |session: &mut Session, now| match command {
        CommandId::DELIVER_SM_RESP => session.deliver(now, 9, &DeliverSm::default()).unwrap(),
        CommandId::DATA_SM_RESP => session.send_data(now, 9, &DataSm::default()).unwrap(),
        _ => session.submit(now, 9, &SubmitSm::default()).unwrap(),
    };
    let (mut session, now) = waiting(send, smsc);
    session.handle_bytes(now, &pdu(command, status, sequence, body));
    let answer = std::iter::from_fn(|| session.poll_event()).find_map(|event| match event {
        Event::Answered(answer) => Some(answer),
        _ => None,
    });
    let answer = answer.unwrap();
    assert_eq!(answer.token, 9);
    (answer.status, answer.message_id.to_vec(), answer.congestion)
}

#[test]
fn accepting_responses_of_every_command_tell_their_congestion_state() {
    let ok = CommandStatus::OK;
    let with_id = [b"id7\0".to_vec(), tlv(80)].concat();
    for command in [CommandId::SUBMIT_SM_RESP, CommandId::DATA_SM_RESP] {
        assert_eq!(
            told(command, ok, &with_id),
            (ok, b"id7".to_vec(), Some(80)),
            "{command}"
        );
    }
    let deliver = [vec![0], tlv(100)].concat();
    assert_eq!(
        told(CommandId::DELIVER_SM_RESP, ok, &deliver),
        (ok, vec![], Some(100))
    );
}

#[test]
fn refusals_tell_it_with_an_id_with_a_lone_nul_and_with_tlvs_only() {
    let status = CommandStatus::THROTTLED;
    for (body, id) in [
        ([b"id7\0".to_vec(), tlv(90)].concat(), &b"id7"[..]),
        ([vec![0], tlv(90)].concat(), b""),
        (tlv(90), b""),
    ] {
        for command in [CommandId::SUBMIT_SM_RESP, CommandId::DATA_SM_RESP] {
            assert_eq!(
                told(command, status, &body),
                (status, id.to_vec(), Some(90)),
                "{command} {body:?}"
            );
        }
    }
}

#[test]
fn what_is_out_of_range_or_absent_is_not_told() {
    let ok = CommandStatus::OK;
    for (body, congestion) in [
        ([b"id\0".to_vec(), tlv(0)].concat(), Some(0)),
        ([b"id\0".to_vec(), tlv(101)].concat(), None),
        (b"id\0\x04\x28\0\x02\0\x50".to_vec(), None),
        (b"id\0".to_vec(), None),
    ] {
        let (_, _, told) = told(CommandId::SUBMIT_SM_RESP, ok, &body);
        assert_eq!(told, congestion, "{body:?}");
    }
}
