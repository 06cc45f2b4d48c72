//! What one bind costs: `submit_speed [submits] [window] [receipts]`, release, against the simulated
//! SMSC. With `receipts` each submit is receipted, and each receipt acknowledged, as well.
//!
//! Link, driver and SMSC have a thread each; the link's CPU time is read from
//! `/proc/thread-self/schedstat`, so that what the others take does not count. The budget is 2 µs for
//! a submit and its answer (design.md).
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use sim::smsc::{Faults, Receipts, Send, Smsc, SmscConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use trunkline::clock::Clock;
use trunkline::connect::smpp::{Config, Ends, Seat, run};
use trunkline::link::{LinkEvent, LinkIx};
use trunkline::message::RouteIx;
use trunkline::outcome::{Attempt, Form, OutcomeResult, ReceiptBatch};
use trunkline::stop::Stopper;

use message::message;

#[path = "shared/message.rs"]
mod message;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Different messages that are sent again and again.
const MESSAGES: u64 = 1_000;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let submits: u64 = arguments
        .next()
        .map_or(Ok(2_000_000), |text| text.parse())?;
    let window: usize = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let receipted = arguments.next().as_deref() == Some("receipts");
    let carrier = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let smsc = carrier.block_on(Smsc::start(SmscConfig {
        keys_max: 0,
        faults: Faults {
            receipts: Receipts {
                send: if receipted { Send::Always } else { Send::Off },
                ..Receipts::default()
            },
            ..Faults::default()
        },
        ..SmscConfig::default()
    }))?;
    let hosts = vec![smsc.addr().to_string()];
    let mut config = Config::new(RouteIx(0), "carrier", hosts, "acme", "secret");
    config.window = window;
    let (attempts, to_send) = mpsc::channel(64);
    let (events, seen) = mpsc::channel(64);
    let (inbound, _handsets) = mpsc::channel::<trunkline::inbound::InboundBatch>(64);
    let (receipts, stored) = mpsc::channel(64);
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
    let link = std::thread::spawn(move || -> anyhow::Result<Duration> {
        current()?.block_on(run(Arc::new(config), ends, Clock::system(), stop));
        cpu()
    });
    let receipts = if receipted { submits } else { 0 };
    let elapsed = current()?.block_on(async {
        let sent = drive(attempts, seen, submits, window);
        let (elapsed, ()) = tokio::try_join!(sent, store(stored, receipts))?;
        anyhow::Ok(elapsed)
    })?;
    stopper.stop();
    let cpu = link.join().ok().context("the link panicked")??;
    let came = smsc.report().submits;
    ensure!(came == submits, "the SMSC saw {came} submits");
    let count = f64::from(u32::try_from(submits)?);
    println!(
        "{submits} submits, window {window}: {:.0} submits/s, link's CPU {:.2} µs per submit and answer",
        count / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / count,
    );
    Ok(())
}

fn current() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// CPU time of this thread: the first field of schedstat, nanoseconds (proc(5)).
fn cpu() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().context("schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// Says of each batch of receipts that it is stored.
async fn store(mut batches: mpsc::Receiver<ReceiptBatch>, receipts: u64) -> anyhow::Result<()> {
    let mut count = 0;
    while count < receipts {
        let batch = batches.recv().await.context("the link ended")?;
        count += batch.receipts.len() as u64;
        ensure!(batch.stored.send(()).is_ok(), "the link forgot a batch");
    }
    Ok(())
}

/// Keeps the window full until all is answered; says how long that took.
async fn drive(
    attempts: mpsc::Sender<Vec<Attempt>>,
    mut events: mpsc::Receiver<LinkEvent>,
    submits: u64,
    window: usize,
) -> anyhow::Result<Duration> {
    let messages = (0..MESSAGES)
        .map(message)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut next = (0..submits)
        .zip(messages.iter().cycle())
        .map(|(token, message)| Attempt {
            token,
            message: message.clone(),
            part: 0,
            form: Form::default(),
        });
    let mut answered = 0;
    let mut start = Instant::now();
    while answered < submits {
        let free = match events.recv().await.context("the link ended")? {
            LinkEvent::Up { .. } => {
                start = Instant::now();
                window
            }
            LinkEvent::Answers { answers, .. } => {
                let accepted =
                    |a: &trunkline::outcome::Answer| a.outcome.result == OutcomeResult::Accepted;
                ensure!(answers.iter().all(accepted), "a submit was not accepted");
                answered += answers.len() as u64;
                answers.len()
            }
            other => bail!("{other:?}"),
        };
        let batch: Vec<_> = next.by_ref().take(free).collect();
        if !batch.is_empty() {
            attempts.send(batch).await?;
        }
    }
    Ok(start.elapsed())
}
