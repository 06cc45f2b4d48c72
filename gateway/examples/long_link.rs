//! What one bind carries over a long way: `long_link [seconds] [window…]` against the simulated SMSC,
//! which answers after 50 ms and up to 10 ms of jitter. For each window it prints submits/s beside
//! window ÷ RTT, RTT being the mean time until an answer; the goal is at least 90 % (issue 4 §10).
//!
//! RTT is measured where the link writes and reads, so what is missing to 100 % is time in which the
//! window was not full. What our own end adds to the delay shows as RTT above 55 ms.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use sim::smsc::{Faults, Receipts, Send, Smsc, SmscConfig};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use trunkline::clock::Clock;
use trunkline::connect::smpp::{Config, Ends, Seat, run};
use trunkline::link::{LinkEvent, LinkIx};
use trunkline::message::RouteIx;
use trunkline::outcome::{Attempt, Form, OutcomeResult};
use trunkline::stop::Stopper;

use message::message;

#[path = "shared/message.rs"]
mod message;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Delay of an answer and its jitter, milliseconds (issue 4 §10).
const DELAY_MS: u64 = 50;
const JITTER_MS: u64 = 10;
/// Windows that are tried unless others are given (issue 4 §10: 10 to 1,000).
const WINDOWS: [usize; 5] = [10, 50, 100, 500, 1_000];
/// Seconds for each of them.
const SECONDS: u64 = 5;
/// Different messages that are sent again and again.
const MESSAGES: u64 = 1_000;

/// What was seen while the window was full.
struct Seen {
    answers: u32,
    elapsed: Duration,
    /// Sum of all times until an answer.
    waited: Duration,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(SECONDS), |text| text.parse())?;
    let given = arguments
        .map(|text| text.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let windows = if given.is_empty() {
        WINDOWS.to_vec()
    } else {
        given
    };
    let carrier = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    for window in windows {
        let smsc = carrier.block_on(Smsc::start(SmscConfig {
            keys_max: 0,
            faults: Faults {
                delay_ms: DELAY_MS,
                jitter_ms: JITTER_MS,
                receipts: Receipts {
                    send: Send::Off,
                    ..Receipts::default()
                },
                ..Faults::default()
            },
            ..SmscConfig::default()
        }))?;
        let seen = bind(
            smsc.addr().to_string(),
            window,
            Duration::from_secs(seconds),
        )?;
        carrier.block_on(smsc.stop());
        let count = f64::from(seen.answers);
        let rate = count / seen.elapsed.as_secs_f64();
        let rtt = seen.waited.as_secs_f64() / count;
        let bound = f64::from(u32::try_from(window)?) / rtt;
        println!(
            "window {window:>5}: {rate:>7.0} submits/s, RTT {:.1} ms, window ÷ RTT {bound:>7.0}, {:.1} %",
            rtt * 1e3,
            rate / bound * 100.0,
        );
    }
    Ok(())
}

/// One bind that keeps its window full for `span`.
fn bind(host: String, window: usize, span: Duration) -> anyhow::Result<Seen> {
    let mut config = Config::new(RouteIx(0), "carrier", vec![host], "acme", "secret");
    config.window = window;
    let (attempts, to_send) = mpsc::channel(64);
    let (events, mut seen) = mpsc::channel(64);
    let (inbound, _handsets) = mpsc::channel(64);
    let (receipts, _stored) = mpsc::channel(64);
    let (stopper, stop) = Stopper::new();
    let ends = Ends {
        link: LinkIx(0),
        host: 0,
        seat: Seat::Main,
        calls: None,
        attempts: to_send,
        events,
        receipts,
        inbound,
    };
    let link = std::thread::spawn(move || -> anyhow::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(Arc::new(config), ends, Clock::system(), stop));
        Ok(())
    });
    let driver = Builder::new_current_thread().enable_all().build()?;
    let result = driver.block_on(drive(&attempts, &mut seen, window, span));
    stopper.stop();
    // The link ends when what it says is not wanted any more.
    drop((attempts, seen));
    link.join().ok().context("the link panicked")??;
    result
}

async fn drive(
    attempts: &mpsc::Sender<Vec<Attempt>>,
    events: &mut mpsc::Receiver<LinkEvent>,
    window: usize,
    span: Duration,
) -> anyhow::Result<Seen> {
    let messages = (0..MESSAGES)
        .map(message)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut next = (0..)
        .zip(messages.iter().cycle())
        .map(|(token, message)| Attempt {
            token,
            message: message.clone(),
            part: 0,
            form: Form::default(),
        });
    let mut seen = Seen {
        answers: 0,
        elapsed: Duration::ZERO,
        waited: Duration::ZERO,
    };
    // Counted from the first answer on: until then there was nothing that could have been answered.
    let mut start = None;
    loop {
        let free = match events.recv().await.context("the link ended")? {
            LinkEvent::Up { .. } => window,
            LinkEvent::Answers { answers, .. } => {
                for answer in &answers {
                    let outcome = &answer.outcome;
                    ensure!(
                        outcome.result == OutcomeResult::Accepted,
                        "a submit was not accepted"
                    );
                    if start.is_some() {
                        seen.answers += 1;
                        seen.waited += outcome.answered_at.since(outcome.handed_at);
                    }
                }
                let start = *start.get_or_insert_with(Instant::now);
                seen.elapsed = start.elapsed();
                if seen.elapsed >= span {
                    return Ok(seen);
                }
                answers.len()
            }
            other => bail!("{other:?}"),
        };
        attempts.send(next.by_ref().take(free).collect()).await?;
    }
}
