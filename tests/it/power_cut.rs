//! Power cuts: the store's directory as a disk may hold it after one, at random moments under load.
//!
//! What must hold on each: the gateway starts, every message that got a 202 before the moment is
//! there under its id and its idempotency key and goes on, and no event that was seen is lost.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sim::smsc::{Faults, SmscConfig};
use tokio::time::Instant;
use trunkline_tests::config::OPERATOR_KEY;
use trunkline_tests::disk::{Disk, EIO, Faults as FaultsOfDisk};
use trunkline_tests::powercut::{Dice, Log, Replay, Unsynced};
use trunkline_tests::scene::{number, smsc_config};
use trunkline_tests::{Client, Directory, Gateway, SOON, Scene, wait_for};

/// Runs of two processes each, the first of which is killed.
const RUNS: usize = 3;
/// Moments of each process's life at which the power is cut.
const CUTS: usize = 2;
/// What the disk makes of each moment.
const OUTCOMES: [Unsynced; 2] = [Unsynced::Torn, Unsynced::Lost];
/// How long a process lives under load. Chosen: a few hundred commits.
const LIVES: Duration = Duration::from_millis(400);
/// Lines of one request.
const LINES: usize = 10;
/// Both for the run whose archiver is at work: a generation of the smallest budget, with [`BULK`].
const ARCHIVED_LIVES: Duration = Duration::from_secs(10);
const ARCHIVED_LINES: usize = 100;
/// Messages that one process is offered at most: a directory is checked in about a second.
const OFFERED_MAX: usize = 1_500;
/// Octets of a message's metadata in that run.
const BULK: usize = 400;

/// Every kind of event, so that the log's numbers have to be dense.
const ALL_TYPES: &str = "message.accepted,message.sent,message.delivered,message.undelivered,\
    message.failed,message.rejected,message.expired,message.unknown,attempt.failed,\
    endpoint.disabled,delivery.exhausted";

/// What was seen of the gateway, and how long the log of its process was then.
#[derive(Debug, Default)]
struct Seen {
    /// Number, id, process, length.
    messages: Vec<(usize, String, usize, u64)>,
    /// Event id, process, length.
    events: Vec<(String, usize, u64)>,
}

/// One gateway's life on a recorded disk.
struct Run {
    scene: Scene,
    disk: Disk,
    logs: Vec<PathBuf>,
    seen: Seen,
    next: usize,
    bulk: String,
}

fn seed() -> u64 {
    let given = std::env::var("TRUNKLINE_SEED").ok();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    given.map_or_else(
        || u64::from(now().subsec_nanos()),
        |text| text.parse().unwrap(),
    )
}

fn length(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |log| log.len())
}

impl Run {
    async fn start(name: &str, seed: u64, limits: &str, bulk: usize) -> Self {
        let smsc = SmscConfig {
            seed,
            faults: Faults {
                delay_ms: 5,
                jitter_ms: 30,
                ..Faults::default()
            },
            ..smsc_config()
        };
        let mut scene = Scene::start(name, smsc, |setup| {
            setup.limits = limits.to_owned();
            setup.routes[0] = setup.routes[0].clone().binds(2, 20);
            setup.endpoints[0] = setup.endpoints[0]
                .clone()
                .with("batch = { max_events = 100, max_wait_ms = 50 }");
        })
        .await
        .unwrap();
        scene.gateway.stop().await.unwrap();
        // The log has to tell of everything that is in the directory.
        fs::remove_dir_all(scene.directory.store()).unwrap();
        let disk = Disk::new(&scene.directory).unwrap();
        let mut run = Self {
            scene,
            disk,
            logs: Vec::new(),
            seen: Seen::default(),
            next: 0,
            bulk: "0123456789".repeat(bulk / 10),
        };
        run.process().await;
        run
    }

    /// Starts the gateway with a log of its own.
    async fn process(&mut self) {
        let name = format!("disk-{}.log", self.logs.len());
        let log = self.scene.directory.path().join(name);
        let environment = self.disk.environment(Some(&log));
        self.logs.push(log);
        let environment: Vec<_> = environment.iter().map(|(k, v)| (*k, &**v)).collect();
        let started = Gateway::try_start(&self.scene.directory, &environment).await;
        self.scene.gateway = started.unwrap().expect("it starts");
        self.scene.client = self.scene.gateway.client();
    }

    fn line(&self, n: usize) -> Value {
        json!({
            "to": number(n), "from": "ACME", "text": format!("power {n}"), "metadata": {"bulk": self.bulk},
            "idempotency_key": format!("key-{n}"),
            "policy": {"on_ambiguous": if n.is_multiple_of(4) { "hold" } else { "retry" }},
        })
    }

    /// Puts load on it until its time is over, and writes down what it acknowledges and tells.
    async fn load(&mut self, lives: Duration, count: usize) {
        let over = Arc::new(AtomicBool::new(false));
        let (process, log) = (self.logs.len() - 1, self.logs[self.logs.len() - 1].clone());
        let ends = Instant::now() + lives;
        let client = self.scene.client.clone();
        let reader = {
            let (client, log, over) = (client.with_key(OPERATOR_KEY), log.clone(), over.clone());
            tokio::spawn(async move { read_events(&client, &log, process, &over).await })
        };
        let last = self.next + OFFERED_MAX;
        while Instant::now() < ends && self.next < last {
            let numbers: Vec<usize> = (self.next..self.next + count).collect();
            self.next += count;
            let lines: Vec<Value> = numbers.iter().map(|n| self.line(*n)).collect();
            let answer = client.ndjson(&lines).await.unwrap();
            let now = length(&log);
            for result in answer.lines() {
                let Some(index) = result["index"].as_u64() else {
                    continue;
                };
                assert_eq!(result["status"], 202, "{result}");
                let n = numbers[usize::try_from(index).unwrap()];
                let id = result["id"].as_str().unwrap().to_owned();
                self.seen.messages.push((n, id, process, now));
            }
        }
        // In a second life, messages that became unknown keep their generation young.
        if count == ARCHIVED_LINES && process == 0 {
            let admin = self.scene.gateway.admin_client();
            wait_for("a generation to be archived", SOON, async || {
                let text = admin.get("/metrics").await.ok()?.body;
                let text = String::from_utf8_lossy(&text).into_owned();
                text.contains("trunkline_store_archived_messages_total")
                    .then_some(())
            })
            .await;
        }
        over.store(true, Ordering::Release);
        self.seen.events.extend(reader.await.unwrap());
    }

    /// Checks one directory that a cut in `process` at `moment` has left.
    async fn check(&self, directory: &Directory, (process, moment): (usize, u64)) {
        directory.configure(&self.scene.setup).unwrap();
        let gateway = match Gateway::try_start(directory, &[]).await.unwrap() {
            Ok(gateway) => gateway,
            Err(ended) => panic!("refused after a power cut: {ended:?}"),
        };
        let before = |p: usize, at: u64| (p, at) <= (process, moment);
        let messages = self.seen.messages.iter();
        let messages: Vec<_> = messages.filter(|(.., p, at)| before(*p, *at)).collect();
        let client = gateway.client();
        for some in messages.chunks(500) {
            let lines: Vec<Value> = some.iter().map(|(n, ..)| self.line(*n)).collect();
            let answer = client.ndjson(&lines).await.unwrap();
            let results = answer.lines();
            assert_eq!(
                results.len(),
                some.len() + 1,
                "a result per line and the summary"
            );
            for result in results.iter().filter(|line| line["index"].is_u64()) {
                let index = usize::try_from(result["index"].as_u64().unwrap()).unwrap();
                let (n, id, ..) = some[index];
                assert_eq!(
                    (&result["status"], &result["id"], &result["replayed"]),
                    (&json!(202), &json!(id), &json!(true)),
                    "message {n} of process {process} at {moment}: {result}"
                );
            }
        }
        let client = client.with_key(OPERATOR_KEY);
        let events = client.events(ALL_TYPES).await.unwrap();
        let ids: HashSet<&str> = events.iter().filter_map(|e| e["id"].as_str()).collect();
        let told = self.seen.events.iter();
        for (id, ..) in told.filter(|(_, p, at)| before(*p, *at)) {
            assert!(ids.contains(&**id), "event {id} is lost");
        }
        // What was queued goes on: everything has left the state that accepting gave it.
        let ids: HashSet<&str> = messages.iter().map(|(_, id, ..)| &**id).collect();
        wait_for("all acknowledged messages to be sent", SOON, async || {
            let events = client.events(ALL_TYPES).await.ok()?;
            let moved = events.iter().filter(|e| e["type"] != "message.accepted");
            let moved: HashSet<&str> = moved
                .filter_map(|e| e["data"]["message_id"].as_str())
                .collect();
            ids.is_subset(&moved).then_some(())
        })
        .await;
    }
}

/// Follows the log of events and notes when each was there.
async fn read_events(
    client: &Client,
    log: &Path,
    process: usize,
    over: &AtomicBool,
) -> Vec<(String, usize, u64)> {
    let (mut seen, mut after) = (Vec::new(), "0".to_owned());
    while !over.load(Ordering::Acquire) {
        let path = format!("/v1/events?types={ALL_TYPES}&limit=1000&after={after}");
        let Ok(page) = client.json(&path).await else {
            break;
        };
        let now = length(log);
        let data = page["data"].as_array().unwrap();
        let ids = data.iter().map(|event| event["id"].as_str().unwrap());
        seen.extend(ids.map(|id| (id.to_owned(), process, now)));
        after = page["next_cursor"].as_str().unwrap().to_owned();
        if data.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    seen
}

/// Cuts the power during one process's life; how many directories had a torn tail.
async fn cuts(run: &Run, base: &Replay, process: usize, dice: &mut Dice) -> usize {
    let log = Log::read(&run.logs[process]).unwrap();
    let mut torn = 0;
    for _ in 0..CUTS {
        let moment = log.moment(dice);
        let mut replay = base.clone();
        replay.play(&log, 0, moment).unwrap();
        for outcome in OUTCOMES {
            let directory = Directory::new("cut").unwrap();
            replay.cut(outcome, dice, &directory.store()).unwrap();
            run.check(&directory, (process, moment)).await;
            torn += usize::from(directory.log().contains("a torn commit"));
        }
    }
    torn
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing() {
    let seed = seed();
    eprintln!("TRUNKLINE_SEED={seed}");
    let mut dice = Dice(seed);
    let (mut torn, mut messages) = (0, 0);
    for index in 0..RUNS {
        // One run fills generations, so that the archiver is at work too.
        let (limits, bulk, lives, lines) = if index == RUNS - 1 {
            ("memory = \"16MB\"", BULK, ARCHIVED_LIVES, ARCHIVED_LINES)
        } else {
            ("", 0, LIVES, LINES)
        };
        let mut run = Run::start("power", seed, limits, bulk).await;
        run.load(lives, lines).await;
        run.scene.gateway.kill().await.unwrap();
        let first = Log::read(&run.logs[0]).unwrap();
        let mut base = Replay::default();
        base.play(&first, 0, first.end()).unwrap();
        base.next_process(&run.scene.directory.store()).unwrap();
        run.process().await;
        run.load(lives, lines).await;
        run.scene.gateway.kill().await.unwrap();
        torn += cuts(&run, &Replay::default(), 0, &mut dice).await;
        torn += cuts(&run, &base, 1, &mut dice).await;
        messages += run.seen.messages.len();
    }
    let directories = RUNS * 2 * CUTS * OUTCOMES.len();
    eprintln!("{directories} directories, {torn} with a torn tail; {messages} messages");
}

fn acknowledged(store: &Path) -> i64 {
    let state = rusqlite::Connection::open(store.join("state.db")).unwrap();
    let select = "SELECT value FROM meta WHERE key = 'acknowledged'";
    state.query_row(select, [], |row| row.get(0)).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lied_about_its_syncs_is_refused() {
    let mut run = Run::start("lied", 1, "", 0).await;
    let log = run.logs[0].clone();
    let post = async |run: &mut Run, count: usize| {
        for _ in 0..count {
            let mut line = run.line(run.next);
            line.as_object_mut().unwrap().remove("idempotency_key");
            run.next += 1;
            run.scene.send(&line).await;
        }
    };
    post(&mut run, 5).await;
    let honest = length(&log);
    // Each of these is a batch at least: more than there can have been before.
    post(&mut run, 100).await;
    let store = run.scene.directory.store();
    wait_for("the last batch's second place", SOON, async || {
        (acknowledged(&store) > 100).then_some(())
    })
    .await;
    run.scene.gateway.kill().await.unwrap();
    let log = Log::read(&log).unwrap();
    let mut replay = Replay::default();
    replay.play(&log, 0, honest).unwrap();
    replay.lie_about("journal-");
    replay.play(&log, honest, log.end()).unwrap();
    let directory = Directory::new("lied-cut").unwrap();
    let mut dice = Dice(1);
    replay
        .cut(Unsynced::Lost, &mut dice, &directory.store())
        .unwrap();
    directory.configure(&run.scene.setup).unwrap();
    let started = Gateway::try_start(&directory, &[]).await.unwrap();
    let ended = started.expect_err("it started on a journal that is too short");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    for told in ["journal-", "was acknowledged", "trunkline store export"] {
        assert!(ended.said.contains(told), "{told}: {}", ended.said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_sync_left_is_written_again() {
    let mut run = Run::start("unsynced", 1, "", 0).await;
    run.load(Duration::from_millis(100), LINES).await;
    let fault = FaultsOfDisk {
        sync: EIO,
        name: "journal-",
        ..FaultsOfDisk::default()
    };
    run.disk.fail(fault).unwrap();
    // Its commit is in the page cache, not on disk, and the restart reads it.
    let body = json!({"to": number(999), "from": "ACME", "text": "unsynced"});
    let answer = run.scene.client.post("/v1/messages", &body).await;
    assert!(answer.map_or(true, |answer| answer.status == 503));
    run.scene.gateway.ended().await.unwrap();
    run.disk.heal().unwrap();
    let first = Log::read(&run.logs[0]).unwrap();
    let mut replay = Replay::default();
    replay.play(&first, 0, first.end()).unwrap();
    replay.next_process(&run.scene.directory.store()).unwrap();
    run.process().await;
    run.load(Duration::from_millis(100), LINES).await;
    run.scene.gateway.kill().await.unwrap();
    let second = Log::read(&run.logs[1]).unwrap();
    replay.play(&second, 0, second.end()).unwrap();
    let directory = Directory::new("unsynced-cut").unwrap();
    let mut dice = Dice(1);
    replay
        .cut(Unsynced::Lost, &mut dice, &directory.store())
        .unwrap();
    run.check(&directory, (1, second.end())).await;
}
