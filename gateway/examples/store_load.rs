//! Measures the store alone: `store_load backlog|life N [DIR [PER_SECOND]]`, in release, one JSON line
//! per step. Without a rate, as fast as it goes.
//!
//! `backlog` accepts N messages that nobody sends and prints the resident memory on the way; then it
//! reopens the directory. `life` walks N messages through accept, answer and receipt in batches of
//! 500, and prints the CPU time of the whole process per message.
#![expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measuring tool prints figures"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use trunkline::clock::{Clock, UnixMs};
use trunkline::message::{
    Class, Encoding, FailoverOn, Message, MessageId, OnAmbiguous, Phone, Priority, RouteIx,
    TenantIx, Texts,
};
use trunkline::outcome::{Outcome, OutcomeResult, Receipt, ReceiptState, Retry, Settle, Whose};
use trunkline::store::{Accepted, Config, Draft, RouteFacts, Store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages in one call.
const BATCH: usize = 500;
/// Calls at a time.
const CALLERS: usize = 4;
/// Messages between answer and receipt.
const IN_FLIGHT: usize = 20_000;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().context("backlog or life")?;
    let count: usize = arguments.next().context("how many messages")?.parse()?;
    let directory = arguments.next().map_or_else(
        || std::env::temp_dir().join("trunkline-store-load"),
        PathBuf::from,
    );
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    let rate: Option<u32> = arguments.next().map(|rate| rate.parse()).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match mode.as_str() {
        "backlog" => runtime.block_on(backlog(count, &directory, rate)),
        "life" => runtime.block_on(life(count, &directory, rate)),
        other => bail!("{other}: neither backlog nor life"),
    }
}

fn config(path: PathBuf) -> Config {
    let day = Duration::from_hours(24);
    Config {
        path,
        retention_messages: 30 * day,
        retention_content: 7 * day,
        retention_events: 30 * day,
        retention_idempotency: day,
        memory: 256 << 20,
        queued: 10_000_000,
        suppressions: 64 << 20,
        disk_reserve: 0,
        routes: vec![RouteFacts {
            name: "a".to_owned(),
            receipts: true,
            receipt_timeout: 3 * day,
            response_timeout: Duration::from_secs(30),
            ladder: trunkline::store::Ladder::default(),
            parts: trunkline::outcome::PartRule::All,
            charset: codecs::text::Charset::default(),
            retries: trunkline::outcome::retries::Retries::default(),
        }],
        tenants: vec!["acme".to_owned()],
        endpoints: vec!["crm".to_owned()],
        inbound: trunkline::inbound::rules::Config::default(),
    }
}

fn draft(number: usize) -> anyhow::Result<Draft> {
    let to = format!("+4670{:07}", number * 7_919 % 10_000_000);
    let body = format!("{number:0100}");
    let reference = format!("order-{number}");
    let texts = [
        "ACME",
        &body,
        &reference,
        "",
        r#"{"order":"4711","shop":"se"}"#,
        "",
        "",
        "",
        "",
        "",
    ];
    let message = Message {
        id: MessageId(0),
        tenant: TenantIx(0),
        to: Phone::parse(&to).context("a number")?,
        class: Class::Transactional,
        priority: Priority::Normal,
        on_ambiguous: OnAmbiguous::Retry,
        failover_on: FailoverOn::ALL,
        encoding: Encoding::Gsm7,
        segments: 1,
        concat_ref: 0,
        sms: None,
        policy: trunkline::message::Policy::default(),
        callback: None,
        batch: None,
        accepted_at: UnixMs::ZERO,
        expires_at: UnixMs(u64::MAX / 4),
        routes: std::iter::once(RouteIx(0)).collect(),
        steps: None,
        texts: Texts::pack(texts).ok().context("short texts")?,
    };
    Ok(Draft { message, key: None })
}

async fn accept(store: &Store, from: usize) -> anyhow::Result<(Vec<MessageId>, Duration)> {
    let drafts = (from..from + BATCH).map(draft).collect::<Result<_, _>>()?;
    let started = Instant::now();
    let accepted = store.accept(drafts).await?;
    let took = started.elapsed();
    let id = |accepted| match accepted {
        Accepted::Stored(message) => message.id,
        Accepted::Replayed(id) | Accepted::KeyReused(id) => id,
        Accepted::Untouched => unreachable!("no draft has a key"),
    };
    Ok((accepted.into_iter().map(id).collect(), took))
}

/// Waits until so many messages are due.
async fn keep_to(rate: Option<u32>, started: Instant, count: usize) {
    if let Some(rate) = rate {
        let due = started + Duration::from_secs_f64(count as f64 / f64::from(rate));
        tokio::time::sleep_until(due.into()).await;
    }
}

async fn backlog(count: usize, directory: &Path, rate: Option<u32>) -> anyhow::Result<()> {
    let (store, _) = Store::open(config(directory.to_owned()), Clock::system())?;
    let (started, cpu) = (Instant::now(), cpu_seconds()?);
    let mut took = Vec::new();
    let step = 50_000.max(count / 20);
    let (mut from, mut base) = (0, None);
    while from < count {
        keep_to(rate, started, from).await;
        let callers = (0..CALLERS).map(|caller| {
            let store = store.clone();
            tokio::spawn(async move { accept(&store, from + caller * BATCH).await })
        });
        for call in callers.collect::<Vec<_>>() {
            took.push(call.await??.1);
        }
        drop(store.take_feed(RouteIx(0)));
        from += CALLERS * BATCH;
        if from % step < CALLERS * BATCH || from == 100_000 {
            let (rss, figures) = (resident()?, store.figures());
            if from >= 100_000 && base.is_none() {
                base = Some((from, rss));
            }
            let grown = base.filter(|base| from > base.0).map_or(0.0, |(at, then)| {
                (rss as f64 - then as f64) / (from - at) as f64
            });
            println!(
                r#"{{"accepted":{from},"rss_mb":{},"bytes_per_message_beyond":{grown:.1},"young_mb":{},"generations":{},"seconds":{:.1}}}"#,
                rss >> 20,
                figures.young_bytes >> 20,
                figures.generations,
                started.elapsed().as_secs_f64(),
            );
        }
    }
    report("accepted", count, started, cpu, &mut took)?;
    store.close();
    drop(store);
    let (store, found) = Store::open(config(directory.to_owned()), Clock::system())?;
    let first = Instant::now();
    let ready = store
        .load_ready(RouteIx(0), (Class::Transactional, TenantIx(0)), 0, 1_000)
        .await
        .unwrap_or_default();
    println!(
        r#"{{"reopened_ms":{},"queued":{},"batches":{},"first_load_ms":{:.1},"loaded":{},"rss_mb":{}}}"#,
        found.took.as_millis(),
        found.queued,
        found.batches,
        first.elapsed().as_secs_f64() * 1e3,
        ready.len(),
        resident()? >> 20
    );
    store.close();
    Ok(())
}

async fn life(count: usize, directory: &Path, rate: Option<u32>) -> anyhow::Result<()> {
    let (store, _) = Store::open(config(directory.to_owned()), Clock::system())?;
    let (started, cpu) = (Instant::now(), cpu_seconds()?);
    let mut took = Vec::new();
    let mut peak = 0;
    let mut open = std::collections::VecDeque::new();
    for from in (0..count).step_by(BATCH * CALLERS) {
        keep_to(rate, started, from).await;
        let callers = (0..CALLERS).map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                let (ids, took) = accept(&store, from + caller * BATCH).await?;
                let settles = ids.iter().map(|id| settle(*id)).collect();
                store.settle(settles).await?;
                anyhow::Ok((ids, took))
            })
        });
        for call in callers.collect::<Vec<_>>() {
            let (ids, accepted) = call.await??;
            took.push(accepted);
            open.extend(ids);
        }
        drop(store.take_feed(RouteIx(0)));
        while open.len() > IN_FLIGHT {
            let receipts = open.drain(..BATCH).map(receipt).collect();
            let matched = store.apply_receipts(receipts).await?;
            anyhow::ensure!(matched.matched == BATCH, "{matched:?}");
        }
        peak = peak.max(resident()?);
    }
    report("lives", count, started, cpu, &mut took)?;
    println!(
        r#"{{"rss_peak_mb":{},"figures":"{:?}"}}"#,
        peak >> 20,
        store.figures()
    );
    store.close();
    drop(store);
    let (store, found) = Store::open(config(directory.to_owned()), Clock::system())?;
    println!(
        r#"{{"reopened_ms":{},"batches":{},"queued":{}}}"#,
        found.took.as_millis(),
        found.batches,
        found.queued
    );
    store.close();
    Ok(())
}

fn settle(id: MessageId) -> Settle {
    Settle {
        id,
        route: RouteIx(0),
        part: 0,
        outcome: Outcome {
            result: OutcomeResult::Accepted,
            whose: Whose::Peer,
            code: 0,
            reason: None,
            retry: Retry::Never,
            provider_id: format!("{:x}", id.0).into_bytes().as_slice().into(),
            text: None,
            unregistered: UnixMs::ZERO,
            handed_at: UnixMs(1),
            answered_at: UnixMs(2),
        },
        last: true,
        late: false,
    }
}

fn receipt(id: MessageId) -> Receipt {
    Receipt {
        route: RouteIx(0),
        provider_id: format!("{:x}", id.0).into_bytes().as_slice().into(),
        text_id: Box::default(),
        recipient: None,
        state: ReceiptState::Delivered,
        reason: None,
        err: "000".into(),
        network_error: None,
        operator_at: None,
        raw: "".into(),
        tlvs: Box::default(),
        stat: Box::default(),
        pdu: trunkline::outcome::RawOctets::default(),
        clues: None,
        received_at: UnixMs(3),
    }
}

fn report(
    what: &str,
    count: usize,
    started: Instant,
    cpu: f64,
    took: &mut [Duration],
) -> anyhow::Result<()> {
    took.sort_unstable();
    let at = |share: usize| {
        let place = (took.len() * share / 1000).min(took.len() - 1);
        took[place].as_secs_f64() * 1e3
    };
    let seconds = started.elapsed().as_secs_f64();
    println!(
        r#"{{"{what}":{count},"per_second":{:.0},"cpu_us_per_message":{:.2},"accept_ms":{{"p50":{:.1},"p99":{:.1},"p999":{:.1},"max":{:.1}}}}}"#,
        count as f64 / seconds,
        (cpu_seconds()? - cpu) * 1e6 / count as f64,
        at(500),
        at(990),
        at(999),
        at(1000),
    );
    Ok(())
}

/// Octets resident (proc(5): `VmRSS`).
fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .context("VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib << 10)
}

/// CPU time of all threads (proc(5): fields 14 and 15 of `stat`, in ticks of 10 ms).
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit_once(')').context("stat")?.1;
    let field = |at: usize| -> anyhow::Result<f64> {
        Ok(after.split_whitespace().nth(at).context("stat")?.parse()?)
    };
    Ok((field(11)? + field(12)?) / 100.0)
}
