//! The cases of the README's speed table, each with processes of its own.
//!
//! Started are `trunkline sim receiver`, `trunkline sim smsc` or a push service, and `trunkline serve`, in a directory
//! that is new for each run. The receiver shows its report on GET, which paces bulk loads by what
//! has been delivered and ends the run. Numbers per message are over delivered messages.

mod peer;
mod setup;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::message::To;
use crate::pace::{Limits, Pace};
use crate::report::{Latencies, Report, Summary};
use crate::{Class, Mode, Plan, http, print};
use setup::{Bench, Push, Wants};

/// How often memory is sampled and the receiver asked.
const SAMPLE: Duration = Duration::from_millis(200);

/// Messages between two samples of a bulk run's memory.
const RSS_EVERY: u64 = 100_000;

/// Messages of the otp case that drain on the same route, and of its route the rate in segments
/// per second and the SMSC's delay in milliseconds. The speed table.
const OTP_BACKLOG: u64 = 500_000;
const OTP_ROUTE_RATE: u64 = 5_000;
const OTP_SMSC_DELAY_MS: u64 = 20;
const OTP_RATE: f64 = 50.0;

/// Messages per second of the accept case. The speed table.
const ACCEPT_RATE: f64 = 6_000.0;

/// The overload case: messages per second against a route of so many segments per second and its
/// burst. The issue, "Overload".
const OVERLOAD_RATE: f64 = 5_000.0;
const OVERLOAD_ROUTE: (u64, u64) = (500, 50);
/// What its SMSC takes in a second: rate and burst, and what a carrier that was not scheduled for
/// 0.2 s finds waiting in its sockets.
const OVERLOAD_CONTRACT: u64 = 650;
/// Its `limits.queued`: 40 s of the route.
const OVERLOAD_QUEUED: u64 = 20_000;

#[derive(Args)]
pub(crate) struct Options {
    #[arg(value_enum)]
    case: Case,
    /// The binary under test.
    #[arg(long, default_value = "target/release/trunkline")]
    trunkline: PathBuf,
    /// Directory for the run; a new one below it is made and, after a good run, removed.
    #[arg(long, default_value = "target/load")]
    dir: PathBuf,
    #[arg(long, value_enum, default_value = "transactional")]
    class: Class,
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Push case: whose devices.
    #[arg(long, value_enum, default_value = "ios")]
    to: To,
    /// Push case: milliseconds before the service answers.
    #[arg(long, default_value_t = 0)]
    latency_ms: u32,
    /// Push case: the route's `connections`.
    #[arg(long, default_value_t = 4)]
    push_connections: usize,
    /// Bulk cases: ends after so many messages.
    #[arg(long, default_value_t = u64::MAX)]
    messages: u64,
    /// Bulk cases: messages per second; by default as many as are delivered.
    #[arg(long)]
    rate: Option<f64>,
    /// Bulk cases without a rate: most messages accepted and not yet delivered.
    #[arg(long, default_value_t = 20_000)]
    outstanding: u64,
    /// Connections or streams; by default 64 for singles, else 4.
    #[arg(long)]
    connections: Option<usize>,
    /// Messages of the backlog case.
    #[arg(long, default_value_t = 5_000_000)]
    backlog: u64,
    /// Longest wait for what is still to be delivered, in seconds.
    #[arg(long, default_value_t = 600)]
    drain_seconds: u64,
    /// The peer's program; what it needs is installed by `npm ci` there.
    #[arg(long, default_value = "tests/peers/apns.js")]
    peer: PathBuf,
    /// Keeps the directory.
    #[arg(long)]
    keep: bool,
}

/// A row of the speed table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Case {
    /// NDJSON, sustained.
    Ndjson,
    /// JSON batches of 500, sustained.
    Batch,
    /// One request per message, 64 connections, closed loop.
    Single,
    /// Accept latency: singles, open loop at 6,000/s.
    Accept,
    /// Otp accept to submit while 500,000 promotional drain on the same route.
    Otp,
    /// 5 million queued with the carrier down, then a restart with it up.
    Backlog,
    /// Pushes in JSON batches of 500, sustained.
    Push,
    /// The same device tokens sent by @parse/node-apn to the same service: what a provider is used to.
    NodeApn,
    /// Singles at 5,000/s, open loop, for a route of 500/s: refused with a time to come again, and
    /// what is accepted is delivered.
    Overload,
}

/// What a case gave.
#[derive(Debug, Serialize)]
struct Outcome {
    case: Case,
    load: Report,
    delivered: u64,
    /// From the first message sent to the last event received.
    seconds: f64,
    delivered_per_second: f64,
    gateway_cpu_us_per_message: f64,
    /// The same by thread name, since the gateway's start.
    gateway_cpu_us_by_thread: BTreeMap<String, f64>,
    gateway_rss_peak_bytes: u64,
    /// Final messages, and the gateway's resident memory then.
    gateway_rss_bytes: Vec<(u64, u64)>,
    /// What the simulated push service took.
    push_cpu_us_per_message: f64,
    /// Otp: sent_at - accepted_at, less the SMSC's delay: an upper bound for accept to submit.
    otp_us: Option<Summary>,
    backlog: Option<Backlog>,
    receiver: Value,
    smsc: Option<Value>,
    push: Option<Value>,
}

/// The backlog case.
#[derive(Debug, Clone, Copy, Serialize)]
struct Backlog {
    /// With all messages queued and the carrier down.
    rss_bytes: u64,
    /// From the start of the process to its ready line.
    restart_to_ready_ms: u64,
    /// From the start of the process to the first event received: an upper bound for the first
    /// submit, by an answer, a commit and at most 10 ms of batching.
    restart_to_first_event_ms: u64,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let case = options.case;
    if case == Case::NodeApn {
        return peer::node_apn(&options).await;
    }
    let push = (case == Case::Push).then_some(Push {
        to: options.to,
        latency_ms: options.latency_ms,
        streams_first: 1,
        connections: options.push_connections,
    });
    let wants = Wants {
        push,
        smsc: case != Case::Backlog,
        smsc_delay_ms: if case == Case::Otp {
            OTP_SMSC_DELAY_MS
        } else {
            0
        },
        route_rate: match case {
            Case::Otp => Some((OTP_ROUTE_RATE, OTP_ROUTE_RATE)),
            Case::Overload => Some(OVERLOAD_ROUTE),
            _ => None,
        },
        contract: (case == Case::Overload).then_some(OVERLOAD_CONTRACT),
        queued: (case == Case::Overload).then_some(OVERLOAD_QUEUED),
        webhook_wait_ms: if case == Case::Backlog { 10 } else { 500 },
    };
    let mut bench = Bench::start(&options.trunkline, &options.dir, &wants).await?;
    let outcome = match case {
        Case::Backlog => backlog(&options, &mut bench).await?,
        Case::Otp => otp(&options, &bench).await?,
        case => plain(&options, &bench, case).await?,
    };
    let row = outcome.row();
    let outcome = bench.finish(outcome, options.keep).await?;
    print(&serde_json::to_string(&outcome)?);
    print(&row);
    let wrong = outcome.wrong();
    ensure!(
        wrong.is_empty(),
        "the run is not clean: {}",
        wrong.join(", ")
    );
    Ok(())
}

impl Bench {
    async fn finish(self, mut outcome: Outcome, keep: bool) -> anyhow::Result<Outcome> {
        let reports = self.end(keep).await?;
        outcome.receiver = reports.receiver.unwrap_or(outcome.receiver);
        outcome.smsc = reports.smsc;
        outcome.push = reports.push;
        Ok(outcome)
    }

    fn plan(&self, mode: Mode, class: Class, connections: usize) -> Plan {
        let key = setup::API_KEY.to_owned();
        Plan {
            api: self.api,
            mode,
            to: To::Sms,
            class,
            key,
            connections,
            keep_ids: false,
        }
    }

    /// A count of the receiver's report.
    async fn received(&self, name: &str) -> anyhow::Result<u64> {
        let report = http::get_json(self.receiver_addr, "/", None).await?;
        report[name]
            .as_u64()
            .with_context(|| format!("the receiver reports no {name}"))
    }

    /// Waits until so many messages are delivered.
    async fn drained(&self, messages: u64, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let delivered = self.received("messages_final").await?;
            if delivered >= messages {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{delivered} of {messages} accepted messages delivered after {within:?}"
            );
            tokio::time::sleep(SAMPLE).await;
        }
    }
}

/// Sends while the pace lasts, then waits for the deliveries. Without a rate, bulk is held to
/// `outstanding` messages on the way.
async fn plain(options: &Options, bench: &Bench, case: Case) -> anyhow::Result<Outcome> {
    let (mode, connections, rate) = match case {
        Case::Ndjson => (Mode::Ndjson, 4, options.rate),
        Case::Batch | Case::Push => (Mode::Batch, 4, options.rate),
        Case::Accept => (Mode::Single, 256, Some(options.rate.unwrap_or(ACCEPT_RATE))),
        Case::Overload => (
            Mode::Single,
            256,
            Some(options.rate.unwrap_or(OVERLOAD_RATE)),
        ),
        _ => (Mode::Single, 64, None),
    };
    let connections = options.connections.unwrap_or(connections);
    let cpu = bench.gateway.cpu_seconds()?;
    let pace = Arc::new(Pace::new(Limits {
        first: 0,
        messages: options.messages,
        rate,
        duration: Duration::from_secs_f64(options.seconds),
    }));
    let mut plan = bench.plan(mode, options.class, connections);
    if case == Case::Push {
        plan.to = options.to;
    }
    let mut rss = Vec::new();
    let load = if rate.is_none() && mode != Mode::Single {
        pace.allow(options.outstanding);
        let sending = plan.send(Arc::clone(&pace));
        let holding = async {
            loop {
                tokio::time::sleep(SAMPLE).await;
                let done = bench.received("messages_final").await?;
                pace.allow(done + options.outstanding);
                let last = rss.last().map_or(0, |(at, _)| *at);
                if done >= last + RSS_EVERY {
                    rss.push((done, bench.gateway.rss_bytes()?));
                }
            }
        };
        tokio::select! {
            load = sending => load?,
            held = holding => return held,
        }
    } else {
        plan.send(Arc::clone(&pace)).await?
    };
    let sending_ms = u64::try_from(pace.start().elapsed().as_millis())?;
    let sent_ms = now_ms();
    bench
        .drained(load.accepted, Duration::from_secs(options.drain_seconds))
        .await?;
    // Singles open their connections before the clock starts.
    let start_ms = sent_ms.saturating_sub(sending_ms);
    let mut outcome = outcome(case, load, bench, start_ms, cpu).await?;
    outcome.gateway_rss_bytes = rss;
    Ok(outcome)
}

/// Sums up once everything is delivered.
async fn outcome(
    case: Case,
    load: Report,
    bench: &Bench,
    start_ms: u64,
    cpu_before: f64,
) -> anyhow::Result<Outcome> {
    let delivered = bench.received("messages_final").await?;
    let seconds = bench
        .received("last_event_ms")
        .await?
        .saturating_sub(start_ms) as f64
        / 1e3;
    let cpu_us = (bench.gateway.cpu_seconds()? - cpu_before) * 1e6;
    let each = |seconds: f64| seconds * 1e6 / (delivered.max(1)) as f64;
    let threads = bench.gateway.cpu_by_thread()?.into_iter();
    Ok(Outcome {
        case,
        load,
        delivered,
        seconds,
        delivered_per_second: delivered as f64 / seconds.max(1e-3),
        gateway_cpu_us_per_message: cpu_us / (delivered.max(1)) as f64,
        gateway_cpu_us_by_thread: threads.map(|(name, s)| (name, each(s))).collect(),
        gateway_rss_peak_bytes: bench.gateway.rss_peak_bytes()?,
        gateway_rss_bytes: Vec::new(),
        push_cpu_us_per_message: each(bench.push_cpu_seconds()?),
        otp_us: None,
        backlog: None,
        receiver: Value::Null,
        smsc: None,
        push: None,
    })
}

/// Queues the promotional messages, then sends otps while they drain, and asks for each otp.
async fn otp(options: &Options, bench: &Bench) -> anyhow::Result<Outcome> {
    let cpu = bench.gateway.cpu_seconds()?;
    let start_ms = now_ms();
    let forever = Duration::from_secs(3600);
    let queue = Limits {
        first: 0,
        messages: OTP_BACKLOG,
        rate: None,
        duration: forever,
    };
    let plan = bench.plan(
        Mode::Ndjson,
        Class::Promotional,
        options.connections.unwrap_or(4),
    );
    let queued = plan.send(Arc::new(Pace::new(queue))).await?;
    let limits = Limits {
        first: OTP_BACKLOG,
        messages: u64::MAX,
        rate: Some(OTP_RATE),
        duration: Duration::from_secs_f64(options.seconds),
    };
    let plan = Plan {
        keep_ids: true,
        ..bench.plan(Mode::Single, Class::Otp, 64)
    };
    let load = plan.send(Arc::new(Pace::new(limits))).await?;
    let draining = bench.received("messages_final").await?;
    ensure!(
        draining < queued.accepted,
        "the backlog was gone before the last otp"
    );
    let accepted = queued.accepted + load.accepted;
    bench
        .drained(accepted, Duration::from_secs(options.drain_seconds))
        .await?;
    let mut latencies = Latencies::default();
    for id in &load.ids {
        let path = format!("/v1/messages/{id}");
        let message = http::get_json(bench.api, &path, Some(setup::API_KEY)).await?;
        let at = |name: &str| message[name].as_str().and_then(setup::rfc3339_ms);
        let (accepted, sent) = (at("accepted_at"), at("sent_at"));
        let (Some(accepted), Some(sent)) = (accepted, sent) else {
            anyhow::bail!("{path} has no accepted_at or sent_at: {message}");
        };
        let ms = sent
            .saturating_sub(accepted)
            .saturating_sub(OTP_SMSC_DELAY_MS);
        latencies.record_us(ms * 1000);
    }
    let mut outcome = outcome(Case::Otp, load, bench, start_ms, cpu).await?;
    outcome.otp_us = Some(latencies.summary());
    Ok(outcome)
}

/// Queues with the carrier down, then restarts with it up and drains.
async fn backlog(options: &Options, bench: &mut Bench) -> anyhow::Result<Outcome> {
    let start_ms = now_ms();
    let forever = Duration::from_secs(3600);
    let queue = Limits {
        first: 0,
        messages: options.backlog,
        rate: None,
        duration: forever,
    };
    let plan = bench.plan(
        Mode::Ndjson,
        options.class,
        options.connections.unwrap_or(4),
    );
    let load = plan.send(Arc::new(Pace::new(queue))).await?;
    // Memory moves while the last generations close: the highest of the next seconds counts.
    let mut rss_bytes = 0;
    for _ in 0..25 {
        rss_bytes = rss_bytes.max(bench.gateway.rss_bytes()?);
        tokio::time::sleep(SAMPLE).await;
    }
    bench.start_smsc().await?;
    let restart_ms = bench.restart_gateway().await?;
    let ready_ms = now_ms();
    let first_event_ms = loop {
        match bench.received("first_event_ms").await? {
            0 => tokio::time::sleep(Duration::from_millis(5)).await,
            at => break at,
        }
    };
    bench
        .drained(load.accepted, Duration::from_secs(options.drain_seconds))
        .await?;
    let mut outcome = outcome(Case::Backlog, load, bench, start_ms, 0.0).await?;
    outcome.backlog = Some(Backlog {
        rss_bytes,
        restart_to_ready_ms: ready_ms.saturating_sub(restart_ms),
        restart_to_first_event_ms: first_event_ms.saturating_sub(restart_ms),
    });
    Ok(outcome)
}

impl Outcome {
    /// What no run may show: lost or doubled messages and events, bad signatures, refusals that say
    /// nothing of when to come again, a carrier's contract that was not kept.
    fn wrong(&self) -> Vec<String> {
        // The otp case sends two loads: the receiver's count is of both.
        let all = self.delivered;
        let receiver = &self.receiver;
        let mut wanted = vec![
            (receiver, "unverified", 0),
            (receiver, "unparsable", 0),
            (receiver, "id_mismatches", 0),
            (receiver, "events_duplicate", 0),
            (receiver, "messages_final", all),
        ];
        match &self.push {
            Some(push) => wanted.extend([
                (push, "accepted", all),
                (push, "rejected", 0),
                (push, "tokens_doubled", 0),
                (push, "stream_limit_violations", 0),
                (push, "protocol_violations", 0),
            ]),
            None => {
                let smsc = self.smsc.as_ref().unwrap_or(&Value::Null);
                wanted.extend([
                    (receiver, "messages_delivered", all),
                    (smsc, "unique", all),
                    (smsc, "duplicates", 0),
                    (smsc, "contract_violations", 0),
                    (smsc, "receipts_unacked", 0),
                ]);
            }
        }
        let wrong = |(report, name, want): (&Value, &str, u64)| {
            let is = &report[name];
            (is.as_u64() != Some(want)).then(|| format!("{name}: {is}, expected {want}"))
        };
        let mut wrong: Vec<String> = wanted.into_iter().filter_map(wrong).collect();
        let load = &self.load;
        for (name, count) in [("unexplained", load.unexplained), ("errors", load.errors)] {
            if count != 0 {
                wrong.push(format!("{name}: {count}, expected 0"));
            }
        }
        wrong
    }

    /// A row for the README: case, class, rate, accept p99, what the case is about, CPU, RSS.
    fn row(&self) -> String {
        let special = match (&self.otp_us, &self.backlog) {
            (Some(otp), _) => format!("accept to submit p99 {:.1} ms", otp.p99 as f64 / 1e3),
            (_, Some(backlog)) => format!(
                "queued RSS {} MB, first event {} ms after the start",
                backlog.rss_bytes / 1_000_000,
                backlog.restart_to_first_event_ms
            ),
            _ if !self.load.refused.is_empty() => {
                let refused: u64 = self.load.refused.values().sum();
                format!("{} accepted, {refused} refused", self.load.accepted)
            }
            _ => format!("accept p99 {:.1} ms", self.load.latency_us.p99 as f64 / 1e3),
        };
        format!(
            "| {:?} | {} | {:.0} msg/s | {special} | {:.1} µs | {} MB |",
            self.case,
            self.load.class,
            self.delivered_per_second,
            self.gateway_cpu_us_per_message,
            self.gateway_rss_peak_bytes / 1_000_000
        )
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
