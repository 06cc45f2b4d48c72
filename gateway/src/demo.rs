//! Demo: the main job, working, on this machine alone. A gateway on an embedded store, two simulated
//! carriers (and a third that is down), a webhook receiver; messages over HTTP; what becomes of each.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sim::receiver::{Config as ReceiverConfig, Receiver};
use sim::smsc::{Faults, Receipts, Smsc, SmscConfig};

use crate::app::Gateway;
use crate::cli::{Failure, Signals, stop};
use crate::clock::Clock;
use crate::config::{self, Env};

mod client;

use client::Client;

/// The demo's API key and webhook secret: of no value outside of it.
const KEY: &str = "tlk_test_demo0000_0123456789abcdef0123456789abcdef";
const SECRET: &str = "whsec_dHJ1bmtsaW5lLWRlbW8tc2VjcmV0LTAwMDE=";
/// How long the show may take; on a laptop it takes about four seconds.
const SHOW_MAX: Duration = Duration::from_secs(30);

/// What the demo sends: what it shows, whom to, which text, the end that it has to come to.
const SHOW: [(&str, &str, &str, &str); 6] = [
    (
        "single",
        "+46700000100",
        "Your code is 481920",
        "message.delivered",
    ),
    ("long", "+46700000101", LONG, "message.delivered"),
    (
        "duplicate key",
        "+46700000102",
        "Order 1182 is ready",
        "message.delivered",
    ),
    (
        "carrier rejects",
        "+46700000002",
        "To a number that does not exist",
        "message.failed",
    ),
    (
        "first route is down",
        "+47990000103",
        "Another way",
        "message.delivered",
    ),
    (
        "handset refuses",
        "+46700000001",
        "To a phone that is gone",
        "message.undelivered",
    ),
];
const LONG: &str = "A long message: it does not fit the 160 characters of one segment, so it goes out \
    as two, under one concatenation reference, and it counts as delivered only when the receipts of \
    both are here.";

struct Stage {
    gateway: Gateway,
    _carriers: [Smsc; 2],
    receiver: Receiver,
    client: Client,
    directory: PathBuf,
}

/// Runs the show, then stays up until a signal, unless `once`.
///
/// # Errors
/// Something did not come to its end: the demo is a check as well.
pub async fn run(once: bool, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut stage = tokio::select! {
        stage = build(out) => stage.map_err(|error| Failure::failed(format!("{error:#}")))?,
        () = signals.stop() => return Ok(()),
    };
    let shown = tokio::select! {
        shown = tokio::time::timeout(SHOW_MAX, show(&mut stage, out)) => {
            shown.unwrap_or_else(|_| Err(anyhow::anyhow!("not at its end after {SHOW_MAX:?}")))
        }
        () = signals.stop() => Ok(()),
    };
    if shown.is_ok() && !once {
        hints(out, &stage)?;
        signals.stop().await;
        writeln!(out, "\nleaving")?;
    }
    if json {
        writeln!(
            out,
            "{}",
            json!({ "ok": shown.is_ok(), "receiver": stage.receiver.report() })
        )?;
    }
    let Stage {
        gateway, directory, ..
    } = stage;
    stop(gateway, &mut signals).await?;
    if let Err(error) = std::fs::remove_dir_all(&directory) {
        writeln!(out, "{}: {error}", directory.display())?;
    }
    shown.map_err(|error| Failure::failed(format!("{error:#}")))
}

async fn build(out: &mut dyn Write) -> anyhow::Result<Stage> {
    let receipts = Receipts {
        delay_ms: 150,
        jitter_ms: 250,
        ..Receipts::default()
    };
    let faults = Faults {
        receipts,
        delay_ms: 5,
        ..Faults::default()
    };
    let carrier = || {
        Smsc::start(SmscConfig {
            faults: faults.clone(),
            ..SmscConfig::default()
        })
    };
    let carriers = [carrier().await?, carrier().await?];
    let receiver = Receiver::start(ReceiverConfig {
        secrets: vec![SECRET.to_owned()],
        keep_requests: 1_000,
        ..ReceiverConfig::default()
    })
    .await?;
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    let name = format!("trunkline-demo-{:016x}", u64::from_be_bytes(random));
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("gateway.toml");
    std::fs::write(&file, config_text(&directory, &carriers, receiver.addr()))?;
    let env = Env::from_iter([
        ("DEMO_KEY".to_owned(), KEY.to_owned()),
        ("DEMO_SECRET".to_owned(), SECRET.to_owned()),
        ("DEMO_PASSWORD".to_owned(), "secret".to_owned()),
    ]);
    let (config, _) = config::load(&file, &env, false)?;
    let gateway = Gateway::start(config, Clock::system()).await?;
    let at = gateway.listening();
    writeln!(
        out,
        "gateway    http://{}  (admin http://{})",
        at.api, at.admin
    )?;
    writeln!(
        out,
        "carriers   smpp://{}  smpp://{}",
        carriers[0].addr(),
        carriers[1].addr()
    )?;
    writeln!(out, "receiver   http://{}", receiver.addr())?;
    writeln!(out, "store      {}\n", directory.join("data").display())?;
    let client = Client::new(at.api, KEY);
    Ok(Stage {
        gateway,
        _carriers: carriers,
        receiver,
        client,
        directory,
    })
}

fn config_text(directory: &std::path::Path, carriers: &[Smsc; 2], receiver: SocketAddr) -> String {
    let data = directory.join("data");
    let route = |name: &str, host: SocketAddr| {
        format!(
            "[routes.{name}]\ntype = \"smpp\"\nhosts = [\"{host}\"]\nsystem_id = \"demo\"\n\
             password = {{ env = \"DEMO_PASSWORD\" }}\nwindow = 10\n"
        )
    };
    // Port 9 (discard) of the loopback: nobody listens.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [store]\npath = {data:?}\n[limits]\ndisk_reserve = \"1MB\"\n\
         [webhook]\nallow_http = true\nallow_private = [\"127.0.0.0/8\"]\n\
         [[auth.keys]]\nname = \"demo\"\ntenant = \"acme\"\n\
         scopes = [\"messages:write\", \"messages:read\", \"events:read\", \"routes:read\"]\n\
         secret = {{ env = \"DEMO_KEY\" }}\n\
         [tenants.acme]\nsenders = [\"*\"]\n{}{}{}\
         [[routing.rules]]\nmatch = {{ channel = \"sms\", country = [\"NO\"] }}\n\
         routes = [\"carrier-down\", \"carrier-b\"]\n\
         [[routing.rules]]\nmatch = {{ channel = \"sms\" }}\nroutes = [\"carrier-a\", \"carrier-b\"]\n\
         [endpoints.crm]\ntenant = \"acme\"\nurl = \"http://{receiver}/hooks\"\n\
         secret = {{ env = \"DEMO_SECRET\" }}\n",
        route("carrier-a", carriers[0].addr()),
        route("carrier-b", carriers[1].addr()),
        route("carrier-down", nobody),
    )
}

/// Submits everything and shows each verified webhook as it comes.
async fn show(stage: &mut Stage, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut expected = submit(stage, out).await?;
    writeln!(out, "\nwebhooks, each with its signature verified:")?;
    let mut seen = 0;
    while !expected.is_empty() {
        let events = seen;
        let waiting = stage
            .receiver
            .wait_until(move |report| report.events > events, SHOW_MAX);
        if waiting.await.is_err() {
            anyhow::bail!("no event for {} messages", expected.len());
        }
        let kept = stage.receiver.kept();
        let skip = usize::try_from(seen).unwrap_or(0);
        for request in kept.iter().skip(skip) {
            seen += 1;
            let event: Value = serde_json::from_slice(&request.body)?;
            let data = &event["data"];
            let id = data["message_id"].as_str().unwrap_or_default().to_owned();
            let kind = event["type"].as_str().unwrap_or_default();
            let label = expected.get(&id).map_or("", |(label, _)| label);
            let route = data["route"].as_str().unwrap_or("-");
            let reason = data["reason"]["code"].as_str().unwrap_or_default();
            let segments = data["sms"]["segments"].as_u64().unwrap_or(0);
            writeln!(
                out,
                "  {kind:<20} {label:<20} {route:<10} {segments} segment(s) {reason}"
            )?;
            out.flush()?;
            if data["final"] == true
                && let Some((label, end)) = expected.remove(&id)
            {
                anyhow::ensure!(kind == end, "{label} ended as {kind}, not as {end}");
            }
        }
    }
    let report = stage.receiver.report();
    anyhow::ensure!(
        report.unverified == 0,
        "{} signatures did not hold",
        report.unverified
    );
    Ok(())
}

type Expected = BTreeMap<String, (&'static str, &'static str)>;

async fn submit(stage: &mut Stage, out: &mut dyn Write) -> anyhow::Result<Expected> {
    let mut expected = Expected::new();
    for (label, to, text, end) in SHOW {
        let body = json!({ "to": to, "from": "DEMO", "text": text, "client_ref": label });
        let key = (label == "duplicate key").then_some("order-1182-ready");
        let first = stage.client.post("/v1/messages", key, &body).await?;
        let id = first.json["id"].as_str().unwrap_or_default().to_owned();
        writeln!(out, "POST /v1/messages  {label:<20} {} {id}", first.status)?;
        anyhow::ensure!(first.status == 202, "{label}: {}", first.json);
        if key.is_some() {
            let again = stage.client.post("/v1/messages", key, &body).await?;
            let same = again.json["id"] == first.json["id"];
            let replayed = if again.replayed {
                "Idempotent-Replayed: true"
            } else {
                ""
            };
            writeln!(
                out,
                "POST /v1/messages  {label:<20} {} {replayed}",
                again.status
            )?;
            anyhow::ensure!(same && again.replayed, "the second one was not a replay");
        }
        expected.insert(id, (label, end));
    }
    let items: Vec<Value> = (0..3)
        .map(|item| json!({ "to": format!("+4670000020{item}"), "text": "One of three" }))
        .collect();
    let body = json!({ "defaults": { "from": "DEMO", "class": "promotional" }, "messages": items });
    let batch = stage.client.post("/v1/batches", None, &body).await?;
    writeln!(
        out,
        "POST /v1/batches   {:<20} {} {}",
        "batch of 3", batch.status, batch.json["id"]
    )?;
    anyhow::ensure!(batch.status == 200, "the batch: {}", batch.json);
    for result in batch.json["results"].as_array().into_iter().flatten() {
        let id = result["id"].as_str().unwrap_or_default().to_owned();
        expected.insert(id, ("batch", "message.delivered"));
    }
    Ok(expected)
}

fn hints(out: &mut dyn Write, stage: &Stage) -> Result<(), Failure> {
    let at = stage.gateway.listening();
    writeln!(
        out,
        "\nAll of it came to its end. Now try:\n\n  \
         curl -H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json' \\\n    \
         -d '{{\"to\":\"+46700000300\",\"from\":\"DEMO\",\"text\":\"Hello\",\"class\":\"otp\"}}' \\\n    \
         http://{api}/v1/messages\n  \
         curl -H 'Authorization: Bearer {KEY}' 'http://{api}/v1/messages?limit=3'\n  \
         curl -H 'Authorization: Bearer {KEY}' 'http://{api}/v1/events?wait=10'\n  \
         curl -H 'Authorization: Bearer {KEY}' http://{api}/v1/routes\n  \
         curl http://{admin}/metrics\n\nCtrl-C leaves.",
        api = at.api,
        admin = at.admin,
    )?;
    out.flush()?;
    Ok(())
}
