//! What accepting costs: measures for the budget of design.md, run by hand.

use super::*;

/// `cargo test --release -p trunkline --lib cost_of -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, asserts nothing"]
async fn cost_of_accepting() {
    use std::time::Instant;

    const COUNT: u32 = 100_000;
    let rig = Rig::new();
    let text = "x".repeat(100);
    let json = format!(
        r#"{{"to":"+46701234567","from":"ACME","text":"{text}","client_ref":"order-1182-ready","metadata":{{"store":"S042","shop":"north"}}}}"#
    );
    let reading = batch::Reading {
        door: &rig.gateway.door,
        origin: check::Origin {
            tenant: TenantIx(0),
            batch: None,
            traceparent: "",
            now: rig.gateway.door.clock.now(),
        },
        own_keys: true,
        strict: false,
    };
    let begun = Instant::now();
    for _ in 0..COUNT {
        let item = reading.item(std::hint::black_box(json.as_bytes()), None);
        assert!(std::hint::black_box(item).draft.is_ok());
    }
    eprintln!("parse, check, plan: {:?} each", begun.elapsed() / COUNT);
    let draft = reading.item(json.as_bytes(), None).draft.unwrap();
    let (ids, names) = (rig.gateway.store.ids(), rig.gateway.door.names.clone());
    let begun = Instant::now();
    for _ in 0..COUNT {
        std::hint::black_box(view::accepted(&draft.message, ids, &names).unwrap());
    }
    eprintln!("answer: {:?} each", begun.elapsed() / COUNT);
    let lines: String = (0..COUNT - 1).map(|_| format!("{json}\n")).collect();
    let (begun, cpu) = (Instant::now(), cpu_ms());
    let answer = rig.post("/v1/batches", &[NDJSON, STREAM], lines).await;
    let each = (cpu_ms() - cpu) * 1000 / u64::from(COUNT);
    eprintln!(
        "NDJSON, all of it: {:?}, CPU with the store {each} us each",
        begun.elapsed() / COUNT
    );
    assert_eq!(answer.lines().pop().unwrap()["summary"]["complete"], true);
    let (begun, cpu) = (Instant::now(), cpu_ms());
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (gateway, json) = (rig.gateway.clone(), json.clone());
        clients.spawn(async move {
            for _ in 0..COUNT / 640 {
                let asked = request("POST", "/v1/messages", &[JSON], json.clone());
                let answer = router::answer(gateway.clone(), asked).await;
                assert_eq!(answer.status(), 202);
            }
        });
    }
    while clients.join_next().await.is_some() {}
    let each = (cpu_ms() - cpu) * 1000 / u64::from(COUNT / 10);
    eprintln!(
        "singles without sockets, 64 at a time: {:?}, CPU with the store {each} us each",
        begun.elapsed() / (COUNT / 10)
    );
}

/// CPU time of this process in milliseconds (proc(5): utime and stime in ticks of 10 ms).
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}
