//! Disk faults below the real SQLite: a full disk is waited out, a broken one ends the process, and
//! neither loses what was acknowledged.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use sim::receiver::Report;
use sim::smsc::{Faults as Carrier, FromHandset, SmscConfig};
use tokio::sync::watch;
use tokio::task::JoinSet;
use trunkline_tests::disk::{Disk, EIO, ENOSPC, Faults};
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Answer, Gateway, SOON, Scene, message, wait_for};

/// An answer that takes longer than this hangs: for as long as the disk is full, as a rule.
const ANSWERS_WITHIN: Duration = SOON;

/// Clients that post side by side.
const CLIENTS: usize = 8;

/// Messages that fill a generation at the smallest memory budget, with [`long`] texts.
const GENERATION: usize = 1_500;

/// STOP is confirmed.
const CONFIRMED: &str =
    "[inbound.numbers.71234]\ntenant = \"acme\"\n[inbound.replies]\nopt_out = \"Bye.\"\n";

/// A gateway on a disk that can be told to fail.
struct Rig {
    scene: Scene,
    disk: Disk,
    acknowledged: HashMap<usize, String>,
    /// Those of them that went in a batch.
    offered: HashMap<usize, Value>,
}

fn short(n: usize) -> Value {
    let key = format!("key-{n}");
    json!({"to": number(n), "from": "ACME", "text": "disk", "idempotency_key": key})
}

fn long(n: usize) -> Value {
    let mut message = short(n);
    message["text"] = format!("{n} {}", "0123456789".repeat(60)).into();
    message
}

impl Rig {
    async fn start(name: &str, mut carrier: Carrier, route: &str, limits: &str) -> Self {
        carrier.receipts.resend = true;
        let smsc = SmscConfig {
            faults: carrier,
            ..smsc_config()
        };
        let mut scene = Scene::start(name, smsc, |setup| {
            setup.limits = limits.to_owned();
            setup.sections = CONFIRMED.to_owned();
            setup.routes[0] = setup.routes[0].clone().binds(1, 50).with(route);
            setup.endpoints[0] = setup.endpoints[0]
                .clone()
                .with("batch = { max_events = 200, max_wait_ms = 50 }");
        })
        .await
        .unwrap();
        scene.gateway.stop().await.unwrap();
        let disk = Disk::new(&scene.directory).unwrap();
        let mut rig = Self {
            scene,
            disk,
            acknowledged: HashMap::new(),
            offered: HashMap::new(),
        };
        rig.again().await;
        rig
    }

    /// Starts the gateway once more.
    async fn again(&mut self) {
        let environment = self.disk.environment(None);
        let environment: Vec<_> = environment.iter().map(|(k, v)| (*k, &**v)).collect();
        let started = Gateway::try_start(&self.scene.directory, &environment).await;
        match started.unwrap() {
            Ok(gateway) => self.scene.gateway = gateway,
            Err(ended) => panic!("it did not start: {ended:?}"),
        }
        self.scene.client = self.scene.gateway.client();
    }

    async fn single(&self, n: usize) -> anyhow::Result<Answer> {
        let mut message = short(n);
        message.as_object_mut().unwrap().remove("idempotency_key");
        let key = format!("key-{n}");
        let headers = [("idempotency-key", &*key)];
        let client = &self.scene.client;
        client.post_with("/v1/messages", &headers, &message).await
    }

    async fn post(&mut self, n: usize) -> Option<Answer> {
        let posted = tokio::time::timeout(ANSWERS_WITHIN, self.single(n)).await;
        let answer = posted.expect("an accept hangs").ok()?;
        if answer.status == 202 {
            let known = self.acknowledged.insert(n, answer.id());
            assert!(
                known.is_none_or(|known| known == answer.id()),
                "message {n}"
            );
        }
        Some(answer)
    }

    /// Offers many at once; all are accepted.
    async fn offer(&mut self, numbers: std::ops::Range<usize>, line: fn(usize) -> Value) {
        let first = numbers.start;
        let lines: Vec<Value> = numbers.map(line).collect();
        let answer = self.scene.client.ndjson(&lines).await.unwrap();
        for result in answer.lines().iter().filter(|line| line["index"].is_u64()) {
            assert_eq!(result["status"], 202, "{result}");
            let n = first + usize::try_from(result["index"].as_u64().unwrap()).unwrap();
            let id = result["id"].as_str().unwrap().to_owned();
            self.acknowledged.insert(n, id);
            self.offered.insert(n, line(n));
        }
    }

    /// Accepts are refused as the contract says, promptly, for as long as `times` more faults take.
    async fn refuses(&mut self, from: usize, times: u32) {
        let until = self.disk.hits().unwrap() + times;
        let mut n = from;
        let refused = wait_for("accepts to be refused", SOON, async || {
            n += 1;
            let answer = self.post(n).await.unwrap();
            (answer.status != 202).then_some(answer)
        })
        .await;
        let mut answers = vec![refused];
        while self.disk.hits().unwrap() < until {
            n += 1;
            answers.push(self.post(n).await.unwrap());
        }
        for answer in answers {
            let json = answer.json();
            assert_eq!(
                (answer.status, &json["code"], &json["retryable"]),
                (503, &json!("store_unavailable"), &json!(true)),
                "{json}"
            );
            assert!(answer.header("retry-after").parse::<u32>().is_ok());
        }
        let admin = self.scene.gateway.admin_client();
        assert_eq!(admin.get("/readyz").await.unwrap().status, 503);
        assert_eq!(admin.get("/livez").await.unwrap().status, 200);
    }

    /// Accepts are taken again.
    async fn takes(&mut self, n: usize) {
        wait_for("accepts to be taken again", SOON, async || {
            let answer = self.post(n).await?;
            (answer.status == 202).then_some(())
        })
        .await;
    }

    /// Everything acknowledged is delivered, and told.
    async fn all_delivered(&self) {
        let count = self.acknowledged.len() as u64;
        let all = |report: &Report| report.messages_delivered >= count;
        self.scene.receiver.wait_until(all, SOON).await.unwrap();
        // What was refused may have been delivered too: a failed sync's commit can be on disk.
        for id in self.acknowledged.values().take(50) {
            self.scene.status(id, "delivered").await;
        }
    }

    /// It ends with the reason, which names a file.
    async fn ends(&mut self, file: &str) {
        let status = self.scene.gateway.ended().await.unwrap();
        assert_eq!(status.code(), Some(1));
        let log = self.scene.directory.log();
        let reason = log
            .lines()
            .rfind(|line| line.contains("the store cannot go on"));
        let reason = reason.unwrap_or_else(|| panic!("no reason: {log}"));
        assert!(reason.contains(file), "{file} is not named: {reason}");
    }

    /// Every idempotency key finds its message.
    async fn keys_hold(&self) {
        let lines: Vec<&Value> = self.offered.values().collect();
        let ids: Vec<&String> = self.offered.keys().map(|n| &self.acknowledged[n]).collect();
        for (lines, ids) in lines.chunks(500).zip(ids.chunks(500)) {
            let lines: Vec<Value> = lines.iter().map(|line| (*line).clone()).collect();
            let answer = self.scene.client.ndjson(&lines).await.unwrap();
            for result in answer.lines().iter().filter(|line| line["index"].is_u64()) {
                let index = usize::try_from(result["index"].as_u64().unwrap()).unwrap();
                assert_eq!(result["id"], **ids[index], "{result}");
                assert_eq!(result["replayed"], true, "{result}");
            }
        }
        for (n, id) in &self.acknowledged {
            if !self.offered.contains_key(n) {
                assert_eq!(self.single(*n).await.unwrap().id(), *id, "message {n}");
            }
        }
    }

    async fn metric(&self, name: &str) -> f64 {
        let admin = self.scene.gateway.admin_client();
        let text = admin.get("/metrics").await.unwrap().body;
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    async fn archived(&self) {
        wait_for("a generation to be archived", SOON, async || {
            let archived = self.metric("trunkline_store_archived_messages_total").await;
            (archived > 0.0).then_some(())
        })
        .await;
    }
}

fn slow() -> Carrier {
    Carrier {
        delay_ms: 300,
        ..Carrier::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_finds_the_disk_full_waits_and_is_confirmed_once() {
    let rig = Rig::start("full-stop", Carrier::default(), "", "").await;
    wait_for("a bind", SOON, async || {
        (rig.scene.smsc.report().binds_now == 1).then_some(())
    })
    .await;
    let full = Faults {
        write: ENOSPC,
        name: "journal-",
        ..Faults::default()
    };
    rig.disk.fail(full).unwrap();
    let stop = FromHandset::text("46701234567", "71234", "STOP");
    let heal = async {
        wait_for("the writer to find no room", SOON, async || {
            (rig.disk.hits().ok()? > 0).then_some(())
        })
        .await;
        rig.disk.heal().unwrap();
    };
    let (status, ()) = tokio::join!(rig.scene.smsc.hand(0, stop), heal);
    assert_eq!(status, Some(0), "ESME_ROK");
    let page = rig.scene.client.json("/v1/events?types=inbound.*").await;
    let page = page.unwrap();
    let reply = page["data"][0]["data"]["auto_reply"].as_str().unwrap();
    rig.scene.status(reply, "delivered").await;
    assert_eq!(rig.scene.smsc.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_refuses_accepts_and_recovers() {
    let mut rig = Rig::start("full", slow(), "", "").await;
    for (round, short_writes) in [false, true].into_iter().enumerate() {
        let first = round * 1_000;
        for n in first..first + 20 {
            assert_eq!(rig.post(n).await.unwrap().status, 202);
        }
        // Their answers and receipts come while nothing can be written.
        rig.disk
            .fail(Faults {
                write: ENOSPC,
                short_writes,
                name: "journal-",
                ..Faults::default()
            })
            .unwrap();
        rig.refuses(first + 100, 12).await;
        rig.disk.heal().unwrap();
        rig.takes(first + 999).await;
    }
    rig.all_delivered().await;
    let report = rig.scene.smsc.report();
    assert_eq!(report.duplicates, 0, "a settle was lost: {report:?}");
    rig.scene.gateway.kill().await.unwrap();
    rig.again().await;
    rig.all_delivered().await;
    rig.keys_hold().await;
}

/// Accepts that came before anybody knew that the disk is full share a commit with answers and receipts,
/// which wait for room: the accepts do not.
#[tokio::test(flavor = "multi_thread")]
async fn accepts_among_answers_and_receipts_are_refused_while_the_disk_is_full() {
    let rig = Rig::start("full-among", Carrier::default(), "", "").await;
    let full = Faults {
        write: ENOSPC,
        name: "journal-",
        ..Faults::default()
    };
    for round in 0..5 {
        let (tell, told) = watch::channel(false);
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (http, told) = (rig.scene.client.clone(), told.clone());
            clients.spawn(async move {
                let mut accepted = 0;
                let refused = loop {
                    let n = (round * CLIENTS + client) * 1_000 + accepted;
                    let body = message(&number(n), "among");
                    let posted = http.post("/v1/messages", &body);
                    let answer = tokio::time::timeout(ANSWERS_WITHIN, posted).await;
                    let answer = answer.expect("an accept hangs").unwrap();
                    if answer.status != 202 {
                        break answer;
                    }
                    assert!(!*told.borrow() || accepted < 1_000, "nothing is refused");
                    accepted = (accepted + 1).min(999);
                };
                assert_eq!(refused.json()["code"], "store_unavailable");
            });
        }
        let delivered = rig.scene.smsc.report().unique + 50;
        wait_for("traffic", SOON, async || {
            (rig.scene.smsc.report().unique >= delivered).then_some(())
        })
        .await;
        rig.disk.fail(full).unwrap();
        tell.send_replace(true);
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        rig.disk.heal().unwrap();
        wait_for("accepts to be taken again", SOON, async || {
            let again = message(&number(999_000 + round), "again");
            let answer = rig.scene.client.post("/v1/messages", &again).await.ok()?;
            (answer.status == 202).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_journal_without_work_recovers_by_itself() {
    let mut rig = Rig::start("full-idle", Carrier::default(), "", "").await;
    let full = Faults {
        write: ENOSPC,
        ..Faults::default()
    };
    rig.disk.fail(full).unwrap();
    rig.refuses(0, 3).await;
    rig.disk.heal().unwrap();
    let admin = rig.scene.gateway.admin_client();
    wait_for("readiness", SOON, async || {
        let ready = admin.get("/readyz").await.ok()?;
        (ready.status == 200).then_some(())
    })
    .await;
    assert_eq!(rig.post(500).await.unwrap().status, 202);
    rig.all_delivered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_reserve_nothing_new_is_sent() {
    let mut rig = Rig::start("reserve", slow(), "rate = \"10/s, burst 5\"", "").await;
    rig.offer(0..40, short).await;
    let sent = |rig: &Rig| rig.scene.smsc.report().unique;
    wait_for("the first submits", SOON, async || {
        (sent(&rig) >= 5).then_some(())
    })
    .await;
    let low = Faults {
        no_room: true,
        ..Faults::default()
    };
    rig.disk.fail(low).unwrap();
    rig.refuses(100, 1).await;
    // What was on its way when the watcher looked arrives, and comes to its end; its answers and receipts
    // are written.
    rig.disk.struck(rig.disk.hits().unwrap() + 3).await;
    let before = sent(&rig);
    let delivered = |report: &Report| report.messages_delivered >= before;
    rig.scene
        .receiver
        .wait_until(delivered, SOON)
        .await
        .unwrap();
    rig.disk.struck(rig.disk.hits().unwrap() + 3).await;
    assert_eq!(sent(&rig), before, "it goes on sending");
    assert!(before < 40);
    rig.disk.heal().unwrap();
    rig.takes(999).await;
    rig.all_delivered().await;
    assert_eq!(rig.scene.smsc.report().duplicates, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_journal_ends_the_process() {
    let mut rig = Rig::start("broken", Carrier::default(), "", "").await;
    let faults = [
        Faults {
            sync: EIO,
            ..Faults::default()
        },
        Faults {
            write: EIO,
            ..Faults::default()
        },
        // Delayed allocation tells of a full disk at the sync: too late to trust the page cache.
        Faults {
            sync: ENOSPC,
            ..Faults::default()
        },
    ];
    for (round, fault) in faults.into_iter().enumerate() {
        let first = round * 100;
        for n in first..first + 20 {
            assert_eq!(rig.post(n).await.unwrap().status, 202);
        }
        let fault = Faults {
            name: "journal-",
            ..fault
        };
        rig.disk.fail(fault).unwrap();
        let answer = rig.post(first + 50).await;
        let status = answer.map(|answer| answer.status);
        assert!(matches!(status, None | Some(503)), "{fault:?}: {status:?}");
        rig.ends("journal-").await;
        rig.disk.heal().unwrap();
        rig.again().await;
        rig.all_delivered().await;
        rig.keys_hold().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_state_file_ends_the_process() {
    let mut rig = Rig::start("broken-state", Carrier::default(), "", "").await;
    rig.offer(0..20, short).await;
    for fault in [
        Faults {
            sync: EIO,
            ..Faults::default()
        },
        Faults {
            write: EIO,
            ..Faults::default()
        },
    ] {
        let fault = Faults {
            name: "state.db",
            ..fault
        };
        rig.disk.fail(fault).unwrap();
        rig.post(30).await;
        rig.ends("state.db").await;
        rig.disk.heal().unwrap();
        rig.again().await;
    }
    rig.all_delivered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_directory_ends_the_process() {
    let mut rig = Rig::start("vanished", Carrier::default(), "", "").await;
    rig.offer(0..20, short).await;
    let (store, away) = (
        rig.scene.directory.store(),
        rig.scene.directory.path().join("away"),
    );
    fs::rename(&store, &away).unwrap();
    rig.ends("store").await;
    fs::rename(&away, &store).unwrap();
    rig.again().await;
    rig.all_delivered().await;
    rig.keys_hold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archiver_waits_for_room() {
    let limits = "memory = \"16MB\"";
    for (name, fault) in [
        ("history-", (ENOSPC, 0)),
        ("pending", (ENOSPC, 0)),
        ("state.db", (ENOSPC, 0)),
        // Making a file fails with another code of SQLite's than writing one does.
        ("", (0, ENOSPC)),
    ] {
        let mut rig = Rig::start("archive-full", Carrier::default(), "", limits).await;
        let fault = Faults {
            write: fault.0,
            create: fault.1,
            name,
            ..Faults::default()
        };
        if name == "state.db" {
            rig.offer(0..GENERATION, long).await;
            rig.disk.fail(fault).unwrap();
        } else {
            rig.disk.fail(fault).unwrap();
            rig.offer(0..GENERATION, long).await;
        }
        rig.disk.struck(2).await;
        rig.disk.heal().unwrap();
        rig.takes(GENERATION).await;
        rig.archived().await;
        rig.all_delivered().await;
        rig.scene.gateway.kill().await.unwrap();
        rig.again().await;
        rig.all_delivered().await;
        rig.keys_hold().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_archive_ends_the_process() {
    let limits = "memory = \"16MB\"";
    let mut rig = Rig::start("archive-broken", Carrier::default(), "", limits).await;
    let fault = Faults {
        sync: EIO,
        name: "history-",
        ..Faults::default()
    };
    rig.disk.fail(fault).unwrap();
    rig.offer(0..GENERATION, long).await;
    rig.ends("history-").await;
    rig.disk.heal().unwrap();
    rig.again().await;
    rig.all_delivered().await;
    // Replay has it young again; it goes the same way once more, and the key still holds.
    rig.archived().await;
    rig.keys_hold().await;
}
