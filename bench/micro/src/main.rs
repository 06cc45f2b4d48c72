//! The SMPP codec beside rusmpp's: `cargo run --release -p micro`, nanoseconds for each PDU.
//!
//! Both get the same octets. "owned" is what rusmpp's tokio codec does with a read buffer; beside it
//! stands our framing with our one (borrowed) decode over the same buffer. "borrowed" is one PDU in a
//! slice. Encoding appends to a buffer that has room. Before anything is timed, both codecs have to
//! read the same PDU, and rusmpp has to write the octets that it read.
//!
//! A figure is the median of [`ROUNDS`] rounds; the two codecs take turns within a round, so that
//! whatever else the machine does meets both.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use codecs::smpp::{
    Address, CommandId, CommandStatus, DeliverSm, Framing, Limits, Pdu, SubmitSm, SubmitSmResp,
    Tag, TlvBuf, Tlvs, next_frame,
};
use rusmpp_core::command::{borrowed, owned};
use rusmpp_core::decode::borrowed::DecodeWithLength as _;
use rusmpp_core::tokio_codec::CommandCodec;
use tokio_util::codec::{Decoder as _, Encoder as _};

/// Rounds, of which the median is taken.
const ROUNDS: usize = 31;
/// PDUs in a round's buffer: what one read may hold.
const PDUS: usize = 256;
/// Passes over the buffer in a round.
const PASSES: usize = 200;
/// TLVs that rusmpp's borrowed form makes room for.
const TLVS: usize = 4;
/// Octets that are the length, which rusmpp reads apart from the PDU.
const LENGTH_OCTETS: usize = 4;

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

fn main() {
    println!(
        "{:34} {:>8} {:>8} {:>7}",
        "ns a PDU", "ours", "rusmpp", "ratio"
    );
    let submit = SubmitSm {
        source: SOURCE,
        dest: DEST,
        registered_delivery: 1,
        validity_period: b"000000000500000R",
        short_message: b"Your code is 123456. Do not share it with anyone, ever.",
        ..SubmitSm::default()
    };
    measure("submit_sm", |out| {
        let sm = black_box(&submit);
        sm.encode(7, &Limits::SPEC, out).expect("it fits");
    });
    let resp = SubmitSmResp {
        message_id: b"1234567890",
        tlvs: Tlvs::NONE,
    };
    measure("submit_sm_resp", |out| {
        let (command, status) = (CommandId::SUBMIT_SM_RESP, CommandStatus::OK);
        black_box(&resp)
            .encode(command, status, 7, &Limits::SPEC, out)
            .expect("it fits");
    });
    let mut tlvs = TlvBuf::new();
    tlvs.push_cstring(Tag::RECEIPTED_MESSAGE_ID, b"1234567890")
        .expect("it fits");
    tlvs.push(Tag::MESSAGE_STATE, &[2]).expect("it fits");
    let deliver = DeliverSm {
        source: DEST,
        dest: SOURCE,
        esm_class: 4,
        short_message: b"id:1234567890 sub:001 dlvrd:001 submit date:2611201855 \
            done date:2611201856 stat:DELIVRD err:000 text:Your code is 123456.",
        tlvs: tlvs.as_tlvs(),
        ..DeliverSm::default()
    };
    measure("deliver_sm (receipt)", |out| {
        let sm = black_box(&deliver);
        sm.encode(7, &Limits::SPEC, out).expect("it fits");
    });
}

fn measure(name: &str, encode: impl Fn(&mut BytesMut)) {
    let mut one = BytesMut::new();
    encode(&mut one);
    let command = agreed(&one);
    let mut read = BytesMut::new();
    for _ in 0..PDUS {
        read.extend_from_slice(&one);
    }
    // Both fill their read buffer by copying: as a read does.
    let mut buffer = BytesMut::with_capacity(read.len());
    let mut codec = CommandCodec::new();
    let mut theirs = BytesMut::with_capacity(read.len());
    show(
        &format!("{name} decode, owned"),
        || {
            buffer.clear();
            buffer.extend_from_slice(&read);
            let mut at = 0;
            while let Ok(Framing::Complete { octets }) = next_frame(&buffer[at..], 8192) {
                black_box(Pdu::decode(&buffer[at..at + octets]).is_ok());
                at += octets;
                if at == buffer.len() {
                    break;
                }
            }
        },
        || {
            theirs.reserve(read.len());
            theirs.extend_from_slice(&read);
            while let Ok(Some(command)) = codec.decode(&mut theirs) {
                black_box(&command);
            }
        },
    );
    show(
        &format!("{name} decode, borrowed"),
        || {
            for _ in 0..PDUS {
                black_box(Pdu::decode(black_box(&one)).is_ok());
            }
        },
        || {
            for _ in 0..PDUS {
                let octets = black_box(&one[LENGTH_OCTETS..]);
                black_box(borrowed::Command::<TLVS>::decode(octets, octets.len()).is_ok());
            }
        },
    );
    let mut ours = BytesMut::with_capacity(read.len());
    let mut written = BytesMut::with_capacity(read.len());
    show(
        &format!("{name} encode"),
        || {
            ours.clear();
            for _ in 0..PDUS {
                encode(&mut ours);
            }
            black_box(&ours);
        },
        || {
            written.clear();
            for _ in 0..PDUS {
                codec
                    .encode(black_box(&command), &mut written)
                    .expect("into memory");
            }
            black_box(&written);
        },
    );
}

/// Both codecs read the PDU, and rusmpp writes it as it was.
fn agreed(one: &BytesMut) -> owned::Command {
    let mut codec = CommandCodec::new();
    let command = codec.decode(&mut one.clone());
    let command = command.expect("rusmpp reads it").expect("it is whole");
    let (header, _, quirks) = Pdu::decode(one).expect("we read it");
    assert_eq!(command.sequence_number(), header.sequence);
    assert!(
        quirks.names().next().is_none(),
        "it is what the specification says"
    );
    let mut written = BytesMut::new();
    codec.encode(&command, &mut written).expect("into memory");
    assert_eq!(&written, one, "rusmpp writes other octets");
    command
}

/// Times both in turns, and shows the medians.
fn show(name: &str, mut ours: impl FnMut(), mut theirs: impl FnMut()) {
    let mut took = [Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS)];
    for _ in 0..ROUNDS {
        took[0].push(time(&mut ours));
        took[1].push(time(&mut theirs));
    }
    let [ours, theirs] = took.map(|mut took| {
        took.sort_unstable();
        let count = u32::try_from(PASSES * PDUS).unwrap_or(u32::MAX);
        took[ROUNDS / 2].as_secs_f64() * 1e9 / f64::from(count)
    });
    println!(
        "{name:34} {ours:8.1} {theirs:8.1} {:6.1}x",
        theirs / ours.max(f64::MIN_POSITIVE)
    );
}

fn time(work: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..PASSES {
        work();
    }
    start.elapsed()
}
