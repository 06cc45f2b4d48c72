//! What binds hold: `idle_binds [idle] [active]` opens so many (10,000) binds in this process to a
//! simulated SMSC in another one, lets each ask and be asked once, and prints memory per bind. Then it
//! opens the active ones (1,000), which submit for a while, and get a receipt of each message.
//!
//! Memory is what the kernel says is resident (`/proc/self/statm`), before the first bind and with all
//! of them: tasks, channels, sessions, sockets' own structures of the runtime. The budget is 64 KiB of an
//! idle bind, and 1 GiB of all (smpp.md §9). Each bind is one file descriptor: `ulimit -n` has to allow them.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sim::smsc::{Faults, Receipts, Send, Smsc, SmscConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use trunkline::clock::Clock;
use trunkline::connect::smpp::{Config, Ends, Seat, run};
use trunkline::inbound::InboundBatch;
use trunkline::link::{LinkEvent, LinkIx};
use trunkline::message::RouteIx;
use trunkline::outcome::{Attempt, Form, OutcomeResult, ReceiptBatch};
use trunkline::stop::{Stop, Stopper};

use message::message;

#[path = "shared/message.rs"]
mod message;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// smpp.md §9.
const BUDGET_OCTETS: u64 = 64 * 1024;
/// smpp.md §9, of 10,000.
const BUDGET_OF_ALL_OCTETS: u64 = 1 << 30;
/// Times that each active bind gets messages, a second apart, and how many each time. Chosen: what a dev
/// build carries beside all the others.
const ROUNDS: u32 = 20;
const MESSAGES_A_ROUND: u32 = 2;
/// How long the last answers and receipts may take.
const LAST_ONES: Duration = Duration::from_secs(60);
/// Binds that are opened before the first one stands, so that no listen queue overflows.
const AT_ONCE: usize = 100;
/// Silence after which a link is asked: short, so that each has been asked when it is measured.
const ENQUIRE_LINK: Duration = Duration::from_secs(5);
/// Octets of a page. Chosen: as on every machine this runs on.
const PAGE_OCTETS: u64 = 4096;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("smsc") => current()?.block_on(smsc()),
        idle => {
            let idle = idle.map_or(Ok(10_000), str::parse)?;
            let active = std::env::args().nth(2);
            measure(idle, active.map_or(Ok(1_000), |text| text.parse())?)
        }
    }
}

fn current() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// The other process: says where it listens, and stays until it is killed.
async fn smsc() -> anyhow::Result<()> {
    let smsc = Smsc::start(SmscConfig {
        keys_max: 0,
        faults: Faults {
            receipts: Receipts {
                send: Send::Always,
                ..Receipts::default()
            },
            ..Faults::default()
        },
        ..SmscConfig::default()
    })
    .await?;
    println!("{}", smsc.addr());
    std::future::pending::<()>().await;
    Ok(())
}

/// Ends the other process with this one.
struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        // It is gone already, or it goes now.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn measure(idle: u32, active: u32) -> anyhow::Result<()> {
    let mut other = Command::new(std::env::current_exe()?)
        .arg("smsc")
        .stdout(Stdio::piped())
        .spawn()?;
    let told = other.stdout.take().context("piped")?;
    let _kill = Kill(other);
    let mut address = String::new();
    BufReader::new(told).read_line(&mut address)?;
    current()?.block_on(run_all(address.trim(), idle, active))
}

async fn run_all(address: &str, idle: u32, active: u32) -> anyhow::Result<()> {
    let (stopper, stop) = Stopper::new();
    let before = resident()?;
    let mut binds = Binds::new(address, stop);
    binds.open(idle).await?;
    // Each link has asked, and the buffers of its bind are given back.
    tokio::time::sleep(ENQUIRE_LINK * 2).await;
    let with_idle = resident()?;
    let each = with_idle.saturating_sub(before) / u64::from(idle.max(1));
    println!(
        "{idle} idle binds: {} KiB resident before, {} KiB with them, {:.1} KiB per bind",
        before / 1024,
        with_idle / 1024,
        f64::from(u32::try_from(each)?) / 1024.0
    );
    ensure!(each <= BUDGET_OCTETS, "more than 64 KiB per bind");
    binds.open(active).await?;
    let most = binds.work(usize::try_from(idle)?).await?;
    println!(
        "and {active} active ones: {} messages, each with its receipt; at most {} KiB resident",
        active * ROUNDS * MESSAGES_A_ROUND,
        most / 1024
    );
    ensure!(most <= BUDGET_OF_ALL_OCTETS, "more than 1 GiB");
    ensure!(binds.links.len() == binds.attempts.len(), "a link ended");
    stopper.stop();
    binds.links.shutdown().await;
    Ok(())
}

/// Binds to one SMSC, and what comes from them.
struct Binds {
    address: String,
    stop: Stop,
    events: mpsc::Sender<LinkEvent>,
    seen: mpsc::Receiver<LinkEvent>,
    receipts: mpsc::Sender<ReceiptBatch>,
    stored: mpsc::Receiver<ReceiptBatch>,
    inbound: mpsc::Sender<InboundBatch>,
    _handsets: mpsc::Receiver<InboundBatch>,
    attempts: Vec<mpsc::Sender<Vec<Attempt>>>,
    links: JoinSet<()>,
    /// Binds that stand, messages that were accepted, and receipts.
    counts: (usize, u32, u32),
}

impl Binds {
    fn new(address: &str, stop: Stop) -> Self {
        let (events, seen) = mpsc::channel(1_024);
        let (receipts, stored) = mpsc::channel(64);
        let (inbound, _handsets) = mpsc::channel(64);
        Self {
            address: address.to_owned(),
            stop,
            events,
            seen,
            receipts,
            stored,
            inbound,
            _handsets,
            attempts: Vec::new(),
            links: JoinSet::new(),
            counts: (0, 0, 0),
        }
    }

    /// Opens so many more, and waits until they stand.
    async fn open(&mut self, more: u32) -> anyhow::Result<()> {
        for _ in 0..more {
            // An account each: those of one account bind one after another.
            let hosts = vec![self.address.clone()];
            let mut config = Config::new(RouteIx(0), "carrier", hosts, "acme", "secret");
            config.window = 1_000;
            config.enquire_link = ENQUIRE_LINK;
            let (to_link, handed_over) = mpsc::channel(64);
            let number = self.attempts.len();
            self.attempts.push(to_link);
            let ends = Ends {
                link: LinkIx(u16::try_from(number % 60_000)?),
                host: 0,
                seat: Seat::Main,
                calls: None,
                attempts: handed_over,
                events: self.events.clone(),
                receipts: self.receipts.clone(),
                inbound: self.inbound.clone(),
            };
            let link = run(Arc::new(config), ends, Clock::system(), self.stop.clone());
            self.links.spawn(link);
            while self.attempts.len() > self.counts.0 + AT_ONCE {
                self.listen().await?;
            }
        }
        while self.counts.0 < self.attempts.len() {
            self.listen().await?;
        }
        Ok(())
    }

    /// Has the binds from `first` on submit, and waits for all answers and receipts. Returns the most
    /// octets that were resident meanwhile.
    async fn work(&mut self, first: usize) -> anyhow::Result<u64> {
        let message = message(1)?;
        let attempt = |token| Attempt {
            token,
            message: message.clone(),
            part: 0,
            form: Form::default(),
        };
        let active = u32::try_from(self.attempts.len().saturating_sub(first))?;
        let all = active * ROUNDS * MESSAGES_A_ROUND;
        let mut most = resident()?;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        for round in 0..ROUNDS {
            tick.tick().await;
            for bind in self.attempts.iter().skip(first) {
                let token = |number| u64::from(round * MESSAGES_A_ROUND + number);
                let batch = (0..MESSAGES_A_ROUND).map(|number| attempt(token(number)));
                bind.send(batch.collect()).await?;
            }
            // What came by now, so that nothing waits for this loop.
            let due = active * round * MESSAGES_A_ROUND;
            while self.counts.1 < due {
                self.listen().await?;
            }
            most = most.max(resident()?);
        }
        let rest = async {
            while self.counts.1 < all || self.counts.2 < all {
                self.listen().await?;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(LAST_ONES, rest)
            .await
            .context("the last ones")??;
        Ok(most.max(resident()?))
    }

    /// Counts what comes next. A bind that goes, and a message that is not accepted, are failures here.
    async fn listen(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            event = self.seen.recv() => match event.context("the links ended")? {
                LinkEvent::Up { .. } => self.counts.0 += 1,
                LinkEvent::Answers { answers, .. } => {
                    let good = |result| result == OutcomeResult::Accepted;
                    let refused = answers.iter().find(|answer| !good(answer.outcome.result));
                    ensure!(refused.is_none(), "{refused:?}");
                    self.counts.1 += u32::try_from(answers.len())?;
                }
                other => bail!("{other:?}"),
            },
            batch = self.stored.recv() => {
                let batch = batch.context("the links ended")?;
                self.counts.2 += u32::try_from(batch.receipts.len())?;
                ensure!(batch.stored.send(()).is_ok(), "the link forgot a batch");
            }
        }
        Ok(())
    }
}

/// Octets of this process that are in memory. proc(5): the second field of statm, in pages.
fn resident() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_whitespace().nth(1).context("statm")?;
    Ok(pages.parse::<u64>()? * PAGE_OCTETS)
}
