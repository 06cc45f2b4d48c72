//! Times the session: `cargo run --release -p codecs --example speed`, nanoseconds a message. The codec
//! alone is timed by `micro`.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::hint::black_box;
use std::time::Instant;

use bytes::BytesMut;
use codecs::smpp::session::Esme;
use codecs::smpp::{Address, BindKind, CommandStatus, Config, Event, Session, SubmitSm};

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

/// Moves what one side has to say into the other.
fn carry(now: Instant, from: &mut Session, to: &mut Session, line: &mut BytesMut) {
    line.clear();
    from.poll_transmit(line);
    for chunk in line.chunks(8 * 1024) {
        to.read_buffer().extend_from_slice(chunk);
        to.handle_read(now);
    }
}

fn main() {
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
