//! Times codec and session: `cargo run --release -p codecs --example speed`, nanoseconds each.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use codecs::smpp::session::Esme;
use codecs::smpp::{
    Address, BindKind, CommandId, CommandStatus, Config, DeliverSm, Event, HEADER_OCTETS, Limits,
    Session, SubmitSm, SubmitSmResp, Tag, TlvBuf, Tlvs,
};

const ROUNDS: u32 = 5_000_000;
/// Messages per write in the session's run.
const BATCH: u32 = 100;
const SOURCE: Address<'static> = Address {
    ton: 5,
    npi: 0,
    addr: b"Trunkline",
};
const DEST: Address<'static> = Address {
    ton: 1,
    npi: 1,
    addr: b"447700900123",
};
const TEXT: &[u8] = b"Your code is 123456. Do not share it with anyone, ever.";
const RECEIPT: &[u8] = b"id:1234567890 sub:001 dlvrd:001 submit date:2611201855 \
    done date:2611201856 stat:DELIVRD err:000 text:Your code is 123456.";

fn time(name: &str, count: u32, mut work: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..count {
        work();
    }
    println!(
        "{name:40} {:6.1} ns",
        start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
    );
}

fn body(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.split_off(HEADER_OCTETS)
}

fn main() {
    codec();
    session();
}

fn codec() {
    let limits = Limits::SPEC;
    let (command, ok) = (CommandId::SUBMIT_SM_RESP, CommandStatus::OK);
    let submit = SubmitSm {
        source: SOURCE,
        dest: DEST,
        short_message: TEXT,
        ..SubmitSm::default()
    };
    let resp = SubmitSmResp {
        message_id: b"1234567890",
        tlvs: Tlvs::NONE,
    };
    let mut tlvs = TlvBuf::new();
    tlvs.push_cstring(Tag::RECEIPTED_MESSAGE_ID, b"1234567890")
        .expect("it fits");
    tlvs.push(Tag::MESSAGE_STATE, &[2]).expect("it fits");
    let deliver = DeliverSm {
        source: DEST,
        dest: SOURCE,
        esm_class: 4,
        short_message: RECEIPT,
        tlvs: tlvs.as_tlvs(),
        ..DeliverSm::default()
    };
    let mut out = BytesMut::with_capacity(4096);
    time("submit_sm encode", ROUNDS, || {
        out.clear();
        black_box(submit)
            .encode(black_box(1), &limits, &mut out)
            .expect("it fits");
        black_box(&out);
    });
    let octets = body(|out| submit.encode(1, &limits, out).expect("it fits"));
    time("submit_sm decode", ROUNDS, || {
        black_box(SubmitSm::decode(black_box(&octets)).is_ok());
    });
    time("submit_sm_resp encode", ROUNDS, || {
        out.clear();
        black_box(resp)
            .encode(command, ok, black_box(1), &limits, &mut out)
            .expect("it fits");
        black_box(&out);
    });
    let octets = body(|out| resp.encode(command, ok, 1, &limits, out).expect("it fits"));
    time("submit_sm_resp decode", ROUNDS, || {
        black_box(SubmitSmResp::decode(ok, black_box(&octets)));
    });
    time("deliver_sm encode", ROUNDS, || {
        out.clear();
        black_box(deliver)
            .encode(black_box(1), &limits, &mut out)
            .expect("it fits");
        black_box(&out);
    });
    let octets = body(|out| deliver.encode(1, &limits, out).expect("it fits"));
    time("deliver_sm decode", ROUNDS, || {
        black_box(DeliverSm::decode(black_box(&octets)).is_ok());
    });
}

/// Moves what one side has to say into the other.
fn carry(now: Instant, from: &mut Session, to: &mut Session, line: &mut BytesMut) {
    line.clear();
    from.poll_transmit(line);
    for chunk in line.chunks(8 * 1024) {
        to.read_buffer().extend_from_slice(chunk);
        to.handle_read(now);
    }
}

fn session() {
    let now = Instant::now();
    let mut config = Config::esme(Esme::new(BindKind::Transceiver, b"a", b"b"));
    config.window = 1_000;
    let mut esme = Session::new(config, now).expect("short names");
    let mut smsc = Session::new(Config::smsc(b"s"), now).expect("short names");
    let mut line = BytesMut::new();
    carry(now, &mut esme, &mut smsc, &mut line);
    smsc.respond_bind(now, CommandStatus::OK)
        .expect("short names");
    carry(now, &mut smsc, &mut esme, &mut line);
    while esme.poll_event().is_some() || smsc.poll_event().is_some() {}
    let submit = SubmitSm {
        source: SOURCE,
        dest: DEST,
        short_message: TEXT,
        ..SubmitSm::default()
    };
    time(
        "submit to answer, both sessions, no I/O",
        ROUNDS / BATCH,
        || {
            for token in 0..u64::from(BATCH) {
                esme.submit(now, token, &submit)
                    .expect("the window has room");
            }
            carry(now, &mut esme, &mut smsc, &mut line);
            while let Some(event) = smsc.poll_event() {
                if let Event::Submitted { reply, frame } = event {
                    let (sm, _) = frame.submit_sm().expect("it was checked");
                    black_box(sm);
                    smsc.respond_submit(reply, CommandStatus::OK, b"1234567890")
                        .expect("it fits");
                }
            }
            carry(now, &mut smsc, &mut esme, &mut line);
            while let Some(event) = esme.poll_event() {
                black_box(&event);
            }
            assert_eq!(esme.in_flight(), 0, "every submit is answered");
        },
    );
}
