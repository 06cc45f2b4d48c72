//! Times of the codecs, alone on one core.

use std::hint::black_box;
use std::time::{Duration, Instant};

use codecs::smpp::receipt;
use codecs::text::{self, Encoding, Options, Reference};
use codecs::webhook::{Secret, Signer};

use crate::print;

/// How long each thing is repeated, and the best of so many rounds counts.
const ROUND: Duration = Duration::from_millis(200);
const ROUNDS: usize = 5;

/// Nanoseconds that one call takes: the best round.
fn best_ns<T>(mut call: impl FnMut() -> T) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut calls = 0u64;
        while start.elapsed() < ROUND {
            for _ in 0..16 {
                drop(black_box(call()));
            }
            calls += 16;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / calls as f64);
    }
    best
}

pub(crate) fn run() {
    let gsm = "Your order no. 123456789 is ready for pickup at the counter of store 42 until 21:00 \
               today. Welcome!!";
    let nordic = "Din beställning 82 är klar att hämtas på lagret i Göteborg, Åvägen 7. Välkommen \
                  och ha en skön dag!";
    let cyrillic = "Ваш заказ 123456789 готов к выдаче в магазине 42 до 21:00 сегодня";
    let long = gsm.repeat(5);
    let receipt_text =
        b"id:7A3F01C2 sub:001 dlvrd:001 submit date:2611210800 done date:2611210802 \
                         stat:DELIVRD err:000 text:Your order no. 12345";
    let body = vec![b'x'; 300_000];
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let signer = Signer::new(secret.expect("invariant: a constant secret is sound"));
    let row = |name: &str, ns: f64| print(&format!("| {name} | {ns:.0} ns |"));

    let inputs = [
        ("ASCII", gsm),
        ("Nordic", nordic),
        ("Cyrillic", cyrillic),
        ("long", &long),
    ];
    for (name, text) in inputs {
        let characters = text.chars().count();
        let ns = best_ns(|| text::plan(black_box(text), Options::default()));
        row(&format!("plan, {characters} characters, {name}"), ns);
    }
    let mut out = Vec::with_capacity(160);
    let mut segment = |text: &str, index, total| {
        best_ns(|| {
            out.clear();
            let reference = Reference::Eight(1);
            text::segment(
                black_box(text),
                Encoding::Gsm7,
                index,
                total,
                reference,
                &mut out,
            )
        })
    };
    row("segment, 1 of 1", segment(gsm, 0, 1));
    row("segment, 4 of 4", segment(&long, 3, 4));
    row(
        "receipt scan",
        best_ns(|| receipt::scan(black_box(receipt_text))),
    );
    row(
        "receipt id forms",
        best_ns(|| receipt::id_forms(black_box(b"7A3F01C2"))),
    );
    for bytes in [1_000, 300_000] {
        let ns = best_ns(|| signer.sign("evb_1", 1_795_248_125, &[black_box(&body[..bytes])]));
        row(&format!("webhook sign, {bytes} bytes"), ns);
    }
}
