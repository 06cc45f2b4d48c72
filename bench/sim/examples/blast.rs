//! A raw blaster: `blast <address> [submits] [window]` sends submit_sm as fast as answers allow.
//!
//! It patches prepared octets and counts answers, nothing else, so that the peer is what is
//! measured. The SMSC's number in the README comes from:
//! `taskset -c 0 smsc 127.0.0.1:2775 & taskset -c 1 blast 127.0.0.1:2775 5000000 10000`
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use bytes::BytesMut;
use codecs::smpp::{
    Address, Bind, BindKind, CommandId, CommandStatus, Framing, Header, Limits, SubmitSm,
    next_frame,
};

/// PDUs per write.
const BATCH: u64 = 256;
/// Where the destination's counting digits are: `44` + 12 digits + `1234`.
const DEST: &[u8] = b"440000000000001234";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .context("usage: blast <address> [submits] [window]")?;
    let submits: u64 = arguments
        .next()
        .map_or(Ok(2_000_000), |text| text.parse())?;
    let window: u64 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    ensure!(window > 0, "a window of 0 sends nothing");
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    bind(&mut stream)?;
    let answered = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let reader = {
        let (stream, answered) = (stream.try_clone()?, Arc::clone(&answered));
        std::thread::spawn(move || read(stream, submits, &answered))
    };
    write(&mut stream, submits, window, &answered)?;
    let accepted = reader.join().ok().context("the reader panicked")??;
    let seconds = start.elapsed().as_secs_f64();
    let rate = f64::from(u32::try_from(submits)?) / seconds;
    println!("{submits} submits, {accepted} accepted, {seconds:.2} s, {rate:.0} submit_sm/s");
    Ok(())
}

fn bind(stream: &mut TcpStream) -> anyhow::Result<()> {
    let bind = Bind {
        system_id: b"blast",
        password: b"blast",
        interface_version: 0x34,
        ..Bind::default()
    };
    let mut out = BytesMut::new();
    bind.encode(BindKind::Transceiver, 1, &Limits::SPEC, &mut out)?;
    stream.write_all(&out)?;
    let mut answer = vec![0; 4];
    stream.read_exact(&mut answer)?;
    let octets = usize::try_from(u32::from_be_bytes(answer[..4].try_into()?))?;
    ensure!((16..1_000).contains(&octets), "not an SMPP peer");
    answer.resize(octets, 0);
    stream.read_exact(&mut answer[4..])?;
    let header = Header::decode(&answer).context("a header")?;
    ensure!(header.status.is_ok(), "bind refused: {}", header.status);
    Ok(())
}

fn write(
    stream: &mut TcpStream,
    submits: u64,
    window: u64,
    answered: &AtomicU64,
) -> anyhow::Result<()> {
    let sm = SubmitSm {
        source: Address {
            ton: 5,
            npi: 0,
            addr: b"Trunkline",
        },
        dest: Address {
            ton: 1,
            npi: 1,
            addr: DEST,
        },
        short_message: b"Your code is 123456. Do not share it with anyone.",
        ..SubmitSm::default()
    };
    let mut one = BytesMut::new();
    sm.encode(0, &Limits::SPEC, &mut one)?;
    let dest = one
        .windows(DEST.len())
        .position(|part| part == DEST)
        .context("the destination")?;
    let mut batch = one.repeat(usize::try_from(BATCH)?);
    let mut sent = 0;
    while sent < submits {
        let count = BATCH.min(window).min(submits - sent);
        while sent + count > answered.load(Ordering::Acquire) + window {
            std::thread::yield_now();
        }
        for (number, pdu) in (sent + 1..=sent + count).zip(batch.chunks_exact_mut(one.len())) {
            pdu[12..16].copy_from_slice(&u32::try_from(number & 0x7FFF_FFFF)?.to_be_bytes());
            let mut rest = number;
            for digit in pdu[dest + 2..dest + 14].iter_mut().rev() {
                *digit = b'0' + u8::try_from(rest % 10)?;
                rest /= 10;
            }
        }
        stream.write_all(&batch[..one.len() * usize::try_from(count)?])?;
        sent += count;
    }
    Ok(())
}

fn read(mut stream: TcpStream, submits: u64, answered: &AtomicU64) -> anyhow::Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let (mut filled, mut accepted, mut total) = (0, 0, 0);
    while total < submits {
        let read = stream.read(&mut buffer[filled..])?;
        ensure!(read > 0, "the SMSC closed after {total} answers");
        filled += read;
        let mut at = 0;
        while let Framing::Complete { octets } = next_frame(&buffer[at..filled], 1024)? {
            let header = Header::decode(&buffer[at..]).context("a header")?;
            at += octets;
            if header.command == CommandId::SUBMIT_SM_RESP {
                total += 1;
                accepted += u64::from(header.status == CommandStatus::OK);
            }
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        answered.store(total, Ordering::Release);
    }
    Ok(accepted)
}
