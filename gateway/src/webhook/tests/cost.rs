//! What an event costs the stage in CPU, its share of the POST included. Run by name, in release:
//! `cargo test --release -p trunkline webhook::tests::cost -- --ignored --nocapture`

use super::http::{Server, status};
use super::*;

const EVENTS: usize = 400_000;
/// The size of an event with a full payload (contract.md §3's example has 1,000).
const JSON_OCTETS: usize = 700;

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
#[ignore = "a measurement, for release builds"]
fn of_an_event_in_batches_of_500() {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = Server::start(|_| status(200)).await;
            tell.send(server.url()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let url = told.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let log = TestLog::new();
        let (stopper, webhooks, stage) =
            http::start(&log, &config(vec![endpoint(0, &url, batches(500))]));
        log.publish(0, EVENTS);
        let json = Bytes::from(format!("{{\"n\":1,\"x\":\"{}\"}}", "y".repeat(JSON_OCTETS - 14)));
        log.events.lock().iter_mut().for_each(|one| one.json = json.clone());
        let (before, began) = (cpu(), Instant::now());
        http::until(&webhooks, |view| view.lag == 0 && view.in_flight == 0).await;
        let (used, took) = (cpu() - before, began.elapsed());
        stopper.stop();
        stage.await.unwrap();
        let events = u32::try_from(EVENTS).unwrap();
        eprintln!(
            "{:?} CPU per event; {:.0} events/s with one thread each for the stage and the receiver",
            used / events,
            f64::from(events) / took.as_secs_f64()
        );
    });
}
