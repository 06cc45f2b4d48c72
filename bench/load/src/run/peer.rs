//! A provider that nobody here wrote, on the simulated service: the number that ours stands beside.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use super::Options;
use super::setup::{Push, push_service};
use crate::message::To;
use crate::print;

/// Devices of one push, all under way at once. Tried: with more than the service has streams, it calls a
/// part failed (ENHANCE_YOUR_CALM) that was accepted.
const DEVICES: u64 = 1_000;

/// Sends through @parse/node-apn for `--seconds`, as fast as it takes.
pub(super) async fn node_apn(options: &Options) -> anyhow::Result<()> {
    let dir = options.dir.join(format!("peer-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let push = Push {
        to: To::Ios,
        latency_ms: options.latency_ms,
        // It loses all that it sends at once while it may have but one stream: push.md R2.
        streams_first: 1_000,
        connections: 1,
    };
    let mut service = push_service(&options.trunkline, &dir, push).await?;
    let file = |name: &str| -> anyhow::Result<String> {
        let path = service.ready[name].as_str().context("the service's line")?;
        Ok(std::fs::read_to_string(Path::new(path))?)
    };
    let connect = json!({"connect": {
        "port": service.addr("listening")?.port(),
        "ca": file("ca")?,
        "key": file("key")?,
        "keyId": service.ready["key_id"],
        "teamId": service.ready["team_id"],
    }});
    let mut peer = Peer::start(&options.peer)?;
    peer.order(connect).await?;
    let start = Instant::now();
    let (mut sent, mut failed, mut first) = (0, 0, 0);
    let mut error = Value::Null;
    while start.elapsed().as_secs_f64() < options.seconds {
        let devices: Vec<String> = (first..first + DEVICES)
            .map(|number| To::Ios.token_of(number))
            .collect();
        first += DEVICES;
        let answer = peer
            .order(json!({"push": {
                "devices": devices,
                "topic": "com.example.load",
                "pushType": "alert",
                "alert": {"title": "Ready for pickup", "body": crate::message::TEXT},
            }}))
            .await?;
        let count = |name: &str| answer[name].as_array().map_or(0, Vec::len);
        sent += count("sent");
        failed += count("failed");
        if let Some(one) = answer["failed"].get(0) {
            error = one["error"].clone();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    peer.end().await?;
    let report = service.terminate().await?.unwrap_or_default();
    std::fs::remove_dir_all(&dir)?;
    let per_second = sent as f64 / seconds;
    print(&serde_json::to_string(&json!({
        "case": "node_apn", "sent": sent, "failed": failed, "error": error, "seconds": seconds,
        "sent_per_second": per_second, "push": report,
    }))?);
    print(&format!(
        "| @parse/node-apn | - | {per_second:.0} msg/s | {failed} of {} failed | - | - |",
        sent + failed
    ));
    Ok(())
}

/// The peer's process: an order on a line, an answer on a line.
struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(program: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new("node")
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start node {}", program.display()))?;
        let orders = child.stdin.take().context("stdin")?;
        let answers = BufReader::new(child.stdout.take().context("stdout")?).lines();
        Ok(Self {
            child,
            orders,
            answers,
        })
    }

    async fn order(&mut self, order: Value) -> anyhow::Result<Value> {
        self.orders
            .write_all(format!("{order}\n").as_bytes())
            .await?;
        let answer = self.answers.next_line().await?;
        let answer: Value = serde_json::from_str(&answer.context("the peer has ended")?)?;
        ensure!(answer["error"].is_null(), "{answer}");
        Ok(answer)
    }

    async fn end(mut self) -> anyhow::Result<()> {
        drop(self.orders);
        self.child.wait().await?;
        Ok(())
    }
}
