//! Times the codec: `cargo run --release -p codecs --example speed`, nanoseconds per PDU.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use codecs::smpp::{
    Address, CommandId, CommandStatus, DeliverSm, HEADER_OCTETS, Limits, SubmitSm, SubmitSmResp,
    Tag, TlvBuf, Tlvs,
};

const ROUNDS: u32 = 5_000_000;

fn time(name: &str, mut work: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    println!(
        "{name:24} {:6.1} ns",
        start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
    );
}

fn main() {
    let limits = Limits::SPEC;
    let source = Address {
        ton: 5,
        npi: 0,
        addr: b"Trunkline",
    };
    let dest = Address {
        ton: 1,
        npi: 1,
        addr: b"447700900123",
    };
    let text = b"Your code is 123456. Do not share it with anyone, ever.";
    let submit = SubmitSm {
        source,
        dest,
        short_message: text,
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
    let receipt = b"id:1234567890 sub:001 dlvrd:001 submit date:2611201855 done date:2611201856 \
        stat:DELIVRD err:000 text:Your code is 123456.";
    let deliver = DeliverSm {
        source: dest,
        dest: source,
        esm_class: 4,
        short_message: receipt,
        tlvs: tlvs.as_tlvs(),
        ..DeliverSm::default()
    };
    let mut out = BytesMut::with_capacity(4096);
    let (command, ok) = (CommandId::SUBMIT_SM_RESP, CommandStatus::OK);
    submit.encode(1, &limits, &mut out).expect("it fits");
    let submit_body = out.split().split_off(HEADER_OCTETS);
    resp.encode(command, ok, 1, &limits, &mut out)
        .expect("it fits");
    let resp_body = out.split().split_off(HEADER_OCTETS);
    deliver.encode(1, &limits, &mut out).expect("it fits");
    let deliver_body = out.split().split_off(HEADER_OCTETS);
    let mut out = BytesMut::with_capacity(4096);
    time("submit_sm encode", || {
        out.clear();
        black_box(submit)
            .encode(black_box(1), &limits, &mut out)
            .expect("it fits");
        black_box(&out);
    });
    time("submit_sm decode", || {
        black_box(SubmitSm::decode(black_box(&submit_body)).is_ok());
    });
    time("submit_sm_resp encode", || {
        out.clear();
        black_box(resp)
            .encode(command, ok, black_box(1), &limits, &mut out)
            .expect("it fits");
        black_box(&out);
    });
    time("submit_sm_resp decode", || {
        black_box(SubmitSmResp::decode(ok, black_box(&resp_body)));
    });
    time("deliver_sm encode", || {
        out.clear();
        black_box(deliver)
            .encode(black_box(1), &limits, &mut out)
            .expect("it fits");
        black_box(&out);
    });
    time("deliver_sm decode", || {
        black_box(DeliverSm::decode(black_box(&deliver_body)).is_ok());
    });
}
