//! The fuzz targets on the stable toolchain: their corpora, and seeded mutations of them.
//!
//! A failure prints the octets in hex; put them into a file of `codecs/fuzz/corpus/<target>` once
//! the fault is mended, so that it stays mended.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's helper functions"
)]

use std::path::Path;
use std::{fs, panic};

#[path = "../fuzz/harness.rs"]
mod harness;

/// Mutations for each target: seconds without optimisation.
const MUTATIONS: u64 = 100_000;
/// A session runs many steps for each input.
const SESSIONS: u64 = 20_000;
/// Longest input.
const OCTETS_MAX: usize = 600;

/// xorshift64*: repeatable on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % sides.max(1)
    }

    fn octet(&mut self) -> u8 {
        const TELLING: [u8; 10] = [0, 1, 2, 4, 0x10, 0x7F, 0x80, 0xFE, 0xFF, b'0'];
        if self.roll(2) == 0 {
            TELLING[self.roll(TELLING.len())]
        } else {
            u8::try_from(self.roll(256)).unwrap()
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("a corpus")
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let corpus: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(corpus.len() >= 5, "{target}: {} files", corpus.len());
    corpus
}

fn mutated(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut octets = corpus[dice.roll(corpus.len())].clone();
    for _ in 0..=dice.roll(6) {
        let at = dice.roll(octets.len() + 1).min(octets.len());
        match dice.roll(6) {
            0 if at < octets.len() => octets[at] ^= 1 << dice.roll(8),
            1 if at < octets.len() => octets[at] = dice.octet(),
            2 => octets.insert(at, dice.octet()),
            3 if at < octets.len() => {
                octets.drain(at..(at + 1 + dice.roll(8)).min(octets.len()));
            }
            4 => {
                let other = &corpus[dice.roll(corpus.len())];
                let from = dice.roll(other.len() + 1).min(other.len());
                octets.truncate(at);
                octets.extend_from_slice(&other[from..]);
            }
            _ => octets.truncate(at.max(1)),
        }
    }
    octets.truncate(OCTETS_MAX);
    octets
}

fn run(target: &str, mutations: u64, of: fn(&[u8])) {
    let corpus = corpus(target);
    let check = |octets: &[u8]| {
        if panic::catch_unwind(|| of(octets)).is_err() {
            let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
            panic!("{target}: {hex}");
        }
    };
    corpus.iter().for_each(|octets| check(octets));
    let mut dice = Dice(0x7472_756E_6B6C_696E);
    for _ in 0..mutations {
        check(&mutated(&corpus, &mut dice));
    }
}

#[test]
fn any_pdu_is_read_or_refused_and_read_again_as_it_was_written() {
    run("pdu", MUTATIONS, harness::pdu);
}

#[test]
fn any_stream_is_framed_or_refused_from_its_length() {
    run("framing", MUTATIONS, harness::framing);
}

#[test]
fn any_receipt_text_is_scanned() {
    run("receipt", MUTATIONS, harness::receipt);
}

#[test]
fn any_user_data_header_is_walked() {
    run("udh", MUTATIONS, harness::udh);
}

#[test]
fn any_user_data_is_decoded() {
    run("text", MUTATIONS, harness::text);
}

#[test]
fn any_octets_calls_and_times_leave_a_session_bounded_and_each_request_told_once() {
    run("session", SESSIONS, harness::session);
}

#[test]
fn any_answer_of_apns_is_read_and_only_200_accepts() {
    run("apns", MUTATIONS, harness::apns);
}

#[test]
fn any_answer_of_google_is_read_and_only_a_name_accepts() {
    run("fcm", MUTATIONS, harness::fcm);
}

#[test]
fn any_token_and_any_key_is_read_or_refused() {
    run("token", SESSIONS, harness::token);
}

#[test]
fn any_overlay_is_refused_or_keeps_to_the_push_type() {
    run("overlay", MUTATIONS, harness::overlay);
}
