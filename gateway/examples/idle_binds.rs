//! What an idle bind holds: `idle_binds [binds]` opens so many (10,000) binds in this process to a
//! simulated SMSC in another one, lets each ask and be asked once, and prints memory per bind.
//!
//! Memory is what the kernel says is resident (`/proc/self/statm`), before the first bind and with all
//! of them: tasks, channels, sessions, sockets' own structures of the runtime. The budget is 64 KiB
//! (smpp.md §9). Each bind is one file descriptor: `ulimit -n` has to allow them.
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sim::smsc::{Smsc, SmscConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use trunkline::clock::Clock;
use trunkline::connect::smpp::{Config, Ends, Seat, run};
use trunkline::link::{LinkEvent, LinkIx};
use trunkline::message::RouteIx;
use trunkline::stop::Stopper;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// smpp.md §9.
const BUDGET_OCTETS: u64 = 64 * 1024;
/// Binds that are opened before the first one stands, so that no listen queue overflows.
const AT_ONCE: usize = 100;
/// Silence after which a link is asked: short, so that each has been asked when it is measured.
const ENQUIRE_LINK: Duration = Duration::from_secs(5);
/// Octets of a page. Chosen: as on every machine this runs on.
const PAGE_OCTETS: u64 = 4096;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("smsc") => current()?.block_on(smsc()),
        Some(binds) => measure(binds.parse()?),
        None => measure(10_000),
    }
}

fn current() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// The other process: says where it listens, and stays until it is killed.
async fn smsc() -> anyhow::Result<()> {
    let smsc = Smsc::start(SmscConfig {
        keys_max: 0,
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

fn measure(binds: u32) -> anyhow::Result<()> {
    let mut other = Command::new(std::env::current_exe()?)
        .arg("smsc")
        .stdout(Stdio::piped())
        .spawn()?;
    let told = other.stdout.take().context("piped")?;
    let _kill = Kill(other);
    let mut address = String::new();
    BufReader::new(told).read_line(&mut address)?;
    let (before, all) = current()?.block_on(open(binds, address.trim()))?;
    let each = all.saturating_sub(before) / u64::from(binds.max(1));
    println!(
        "{binds} idle binds: {} KiB resident before, {} KiB with them, {:.1} KiB per bind",
        before / 1024,
        all / 1024,
        f64::from(u32::try_from(each)?) / 1024.0
    );
    ensure!(each <= BUDGET_OCTETS, "more than 64 KiB per bind");
    Ok(())
}

async fn open(binds: u32, address: &str) -> anyhow::Result<(u64, u64)> {
    let (stopper, stop) = Stopper::new();
    let (events, mut seen) = mpsc::channel(1_024);
    let (receipts, _stored) = mpsc::channel(64);
    let (inbound, _handsets) = mpsc::channel(64);
    let before = resident()?;
    let mut links = JoinSet::new();
    let mut attempts = Vec::new();
    let mut up = 0;
    for number in 0..binds {
        // An account each: those of one account bind one after another.
        let hosts = vec![address.to_owned()];
        let mut config = Config::new(RouteIx(0), "carrier", hosts, "acme", "secret");
        config.window = 1_000;
        config.enquire_link = ENQUIRE_LINK;
        let (to_link, handed_over) = mpsc::channel(64);
        attempts.push(to_link);
        let ends = Ends {
            link: LinkIx(u16::try_from(number % 60_000)?),
            host: 0,
            seat: Seat::Main,
            calls: None,
            attempts: handed_over,
            events: events.clone(),
            receipts: receipts.clone(),
            inbound: inbound.clone(),
        };
        links.spawn(run(Arc::new(config), ends, Clock::system(), stop.clone()));
        while attempts.len() > up + AT_ONCE {
            up += came_up(seen.recv().await)?;
        }
    }
    while up < attempts.len() {
        up += came_up(seen.recv().await)?;
    }
    // Each link has asked, and the buffers of its bind are given back.
    tokio::time::sleep(ENQUIRE_LINK * 2).await;
    while let Ok(event) = seen.try_recv() {
        came_up(Some(event))?;
    }
    let all = resident()?;
    ensure!(links.len() == attempts.len(), "a link ended");
    stopper.stop();
    links.shutdown().await;
    Ok((before, all))
}

/// Counts a bind that stands; anything but that is a failure here.
fn came_up(event: Option<LinkEvent>) -> anyhow::Result<usize> {
    match event.context("the links ended")? {
        LinkEvent::Up { .. } => Ok(1),
        other => bail!("{other:?}"),
    }
}

/// Octets of this process that are in memory. proc(5): the second field of statm, in pages.
fn resident() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_whitespace().nth(1).context("statm")?;
    Ok(pages.parse::<u64>()? * PAGE_OCTETS)
}
