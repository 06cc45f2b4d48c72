//! The whole stage but for HTTP, in virtual time.

use super::*;
use crate::webhook::post::{Answer, Post, failed};

/// Endpoints that answer as the test says, by the host of their URL.
#[derive(Default)]
struct Hosts {
    seen: Mutex<Vec<Seen>>,
    /// What a host answers; those without an entry take everything.
    answers: Mutex<HashMap<String, u16>>,
}

/// Stands for a host that does not answer within the 15 s.
const SILENT: u16 = 0;

impl Hosts {
    fn answer(&self, host: &str, status: u16) {
        self.answers.lock().insert(host.to_owned(), status);
    }

    fn post(self: &Arc<Self>) -> Post {
        let hosts = self.clone();
        Arc::new(move |request: Request<Full<Bytes>>| {
            let hosts = hosts.clone();
            Box::pin(async move { hosts.take(request).await })
        })
    }

    async fn take(&self, request: Request<Full<Bytes>>) -> Answer {
        let (parts, body) = request.into_parts();
        let host = parts.uri.host().unwrap_or_default().to_owned();
        let status = self.answers.lock().get(&host).copied().unwrap_or(200);
        let body = body.collect().await.unwrap().to_bytes();
        self.seen.lock().push(Seen {
            uri: parts.uri,
            headers: parts.headers,
            body,
        });
        if status == SILENT {
            tokio::time::sleep(Duration::from_secs(15)).await;
            return failed("timeout", "silent".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        post::judge(
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::new(),
            START,
        )
    }

    fn of(&self, host: &str) -> Vec<Seen> {
        let seen = self.seen.lock();
        seen.iter()
            .filter(|seen| seen.uri.host() == Some(host))
            .cloned()
            .collect()
    }

    fn events(&self, host: &str) -> Vec<u64> {
        self.of(host).iter().flat_map(Seen::events).collect()
    }
}

struct Running {
    stopper: Stopper,
    webhooks: Webhooks,
    stage: tokio::task::JoinHandle<()>,
    clock: Clock,
    tick: Duration,
}

/// Runs the stage on the virtual clock, which moves in steps of `tick`.
fn start(log: &Arc<TestLog>, hosts: &Arc<Hosts>, config: &Config, tick: Duration) -> Running {
    let clock = Clock::manual(START);
    let (stage, webhooks) = open_with(config, log.log(), hosts.post(), &clock).unwrap();
    let (stopper, stop) = Stopper::new();
    let hand = clock.clone();
    let mut until = stop.clone();
    tokio::spawn(async move {
        let ticking = async {
            loop {
                tokio::time::sleep(tick).await;
                hand.set(hand.now().plus(tick));
            }
        };
        tokio::select! { () = until.stopped() => {}, () = ticking => {} }
    });
    Running {
        stopper,
        webhooks,
        stage: tokio::spawn(stage.run(stop)),
        clock,
        tick,
    }
}

impl Running {
    async fn end(self) {
        self.stopper.stop();
        self.stage.await.unwrap();
        assert!(self.stopper.left().is_empty());
    }

    /// Waits in virtual time until `done`; fails after `most`.
    async fn wait(&self, most: Duration, mut done: impl FnMut() -> bool) {
        let end = self.clock.now().plus(most);
        while !done() {
            assert!(
                self.clock.now() < end,
                "waited {most:?}: {:?}",
                self.webhooks.view()
            );
            tokio::time::sleep(self.tick).await;
        }
    }
}

const TICK: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_dead_endpoint_delays_nobody_and_later_gets_everything() {
    const EVENTS: usize = 30_000;
    let (log, hosts) = (TestLog::new(), Arc::new(Hosts::default()));
    hosts.answer("dead", SILENT);
    let both = config(vec![
        endpoint(0, "https://dead/", batches(500)),
        endpoint(1, "https://well/", batches(500)),
    ]);
    let running = start(&log, &hosts, &both, TICK);
    for _ in 0..EVENTS / 100 {
        log.publish(0, 50);
        log.publish(1, 50);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let half = EVENTS / 2;
    running
        .wait(MINUTE, || hosts.events("well").len() >= half)
        .await;
    let mut events = hosts.events("well");
    events.sort_unstable();
    events.dedup();
    assert_eq!(events.len(), half, "each once, and only its tenant's");
    let dead = running.webhooks.endpoint(EndpointIx(0)).unwrap();
    assert!(
        dead.lag > 20_000 && dead.queued <= feed::QUEUE_EVENTS,
        "{dead:?}"
    );
    hosts.answer("dead", 200);
    hosts.seen.lock().clear();
    running
        .wait(20 * MINUTE, || {
            running.webhooks.endpoint(EndpointIx(0)).unwrap().lag == 0
        })
        .await;
    running
        .wait(20 * MINUTE, || {
            running.webhooks.endpoint(EndpointIx(0)).unwrap().retries == 0
        })
        .await;
    let mut again = hosts.events("dead");
    let count = again.len();
    again.sort_unstable();
    again.dedup();
    assert_eq!(again, events, "everything");
    assert_eq!(count, half, "and nothing twice");
    log.publish(0, 1);
    running
        .wait(MINUTE, || hosts.events("dead").len() > half)
        .await;
    running.end().await;
    assert_eq!(log.state(0).cursor, EVENTS as u64 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_the_same_delivery_signed_anew() {
    let (log, hosts) = (TestLog::new(), Arc::new(Hosts::default()));
    hosts.answer("one", 500);
    let running = start(
        &log,
        &hosts,
        &config(vec![endpoint(0, "https://one/", batches(3))]),
        TICK,
    );
    log.publish(0, 3);
    running.wait(MINUTE, || hosts.of("one").len() == 1).await;
    hosts.answer("one", 200);
    running.wait(MINUTE, || hosts.of("one").len() == 2).await;
    running.end().await;
    let seen = hosts.of("one");
    assert_eq!(seen[0].body, seen[1].body);
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    assert!(seen[0].header("webhook-id").starts_with("evb_"));
    assert_ne!(
        seen[0].header("webhook-timestamp"),
        seen[1].header("webhook-timestamp")
    );
    assert_eq!(
        [0, 1].map(|n| seen[n].header("trunkline-attempt").to_owned()),
        ["1", "2"]
    );
    let signer = Signer::new(Secret::parse(SECRET).unwrap());
    for one in &seen {
        let (id, at) = (one.header("webhook-id"), one.header("webhook-timestamp"));
        let signatures = one.header("webhook-signature");
        let now = START.0 / 1_000;
        signer
            .verify(id, at, signatures, &one.body, now, 60)
            .unwrap();
    }
    assert_eq!(
        log.state(0),
        EndpointState {
            cursor: 3,
            ..EndpointState::default()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_at_the_cursor_with_the_retries() {
    let (log, hosts) = (TestLog::new(), Arc::new(Hosts::default()));
    let one = config(vec![endpoint(0, "https://one/", None)]);
    log.publish(0, 5);
    let running = start(&log, &hosts, &one, TICK);
    assert_eq!(log.state(0).cursor, 5, "a new endpoint begins at the head");
    log.publish(0, 10);
    running
        .wait(MINUTE, || hosts.events("one").len() == 10)
        .await;
    hosts.answer("one", 404);
    log.publish(0, 1);
    running
        .wait(MINUTE, || log.state(0).retries.len() == 1)
        .await;
    running.end().await;
    assert_eq!(log.state(0).cursor, 16);
    log.publish(0, 3);
    hosts.answer("one", 200);
    hosts.seen.lock().clear();
    let running = start(&log, &hosts, &one, TICK);
    running
        .wait(MINUTE, || hosts.events("one").len() == 4)
        .await;
    running.end().await;
    let mut events = hosts.events("one");
    events.sort_unstable();
    assert_eq!(events, [16, 17, 18, 19]);
    assert_eq!(
        hosts.of("one")[0].header("webhook-id").split('_').next(),
        Some("evt")
    );
}

#[tokio::test(start_paused = true)]
async fn gone_disables_until_enabled_and_is_told_once() {
    let (log, hosts) = (TestLog::new(), Arc::new(Hosts::default()));
    hosts.answer("one", 410);
    let running = start(
        &log,
        &hosts,
        &config(vec![endpoint(0, "https://one/", None)]),
        TICK,
    );
    log.publish(0, 20);
    let condition = || running.webhooks.endpoint(EndpointIx(0)).unwrap().condition;
    running
        .wait(MINUTE, || condition() == Condition::Disabled)
        .await;
    let before = hosts.of("one").len();
    assert!(before <= 2, "{before} went out");
    log.publish(0, 20);
    tokio::time::sleep(MINUTE).await;
    assert_eq!(hosts.of("one").len(), before);
    assert_eq!(
        *log.notes.lock(),
        [(EndpointIx(0), EventKind::EndpointDisabled)]
    );
    assert!(log.state(0).disabled.is_some());
    hosts.answer("one", 200);
    hosts.seen.lock().clear();
    assert!(running.webhooks.enable(EndpointIx(0)));
    assert!(!running.webhooks.enable(EndpointIx(9)));
    running
        .wait(MINUTE, || hosts.events("one").len() == 40)
        .await;
    assert_eq!(condition(), Condition::Active);
    running.end().await;
    let mut events = hosts.events("one");
    events.sort_unstable();
    assert_eq!(events, (1..=40).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_never_works_is_given_up_and_told() {
    let (log, hosts) = (TestLog::new(), Arc::new(Hosts::default()));
    hosts.answer("one", 400);
    let tick = Duration::from_secs(10);
    let running = start(
        &log,
        &hosts,
        &config(vec![endpoint(0, "https://one/", None)]),
        tick,
    );
    log.publish(0, 1);
    running
        .wait(100 * 60 * MINUTE, || log.state(0).exhausted == 1)
        .await;
    assert_eq!(hosts.of("one").len(), 10);
    assert_eq!(
        *log.notes.lock(),
        [(EndpointIx(0), EventKind::DeliveryExhausted)]
    );
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_event_waits_no_longer_than_max_wait_and_saves_are_few() {
    let (log, hosts) = (TestLog::new(), Arc::new(Hosts::default()));
    let running = start(
        &log,
        &hosts,
        &config(vec![endpoint(0, "https://one/", batches(500))]),
        TICK,
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    log.publish(0, 1);
    tokio::time::sleep(Duration::from_millis(99)).await;
    assert_eq!(hosts.of("one").len(), 0);
    tokio::time::sleep(Duration::from_millis(3)).await;
    assert_eq!(hosts.events("one"), [1]);
    let before = *log.saves.lock();
    for _ in 0..100 {
        log.publish(0, 500);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let saves = *log.saves.lock() - before;
    assert!((3..=10).contains(&saves), "{saves} saves in 1 s");
    running.end().await;
    assert_eq!(log.state(0).cursor, 50_001);
}

#[tokio::test(start_paused = true)]
async fn a_callback_replaces_the_tenants_endpoints() {
    let (log, hosts) = (TestLog::new(), Arc::new(Hosts::default()));
    let both = config(vec![
        endpoint(0, "https://one/", batches(10)),
        endpoint(1, "https://two/", batches(10)),
    ]);
    let running = start(&log, &hosts, &both, TICK);
    let callback = |url: Option<&str>, kinds| {
        Some(Arc::new(crate::store::Callback {
            endpoint: EndpointIx(1),
            url: url.map(str::to_owned),
            kinds,
        }))
    };
    log.publish(0, 5);
    {
        let mut events = log.events.lock();
        events[1].callback = callback(None, None);
        events[2].callback = callback(Some("https://three/path"), None);
        events[3].callback = callback(None, Some(EventKinds::matching("message.failed")));
        events[4].event.kind = EventKind::EndpointDisabled;
        events[4].event.subject = MessageId(1);
    }
    running
        .wait(MINUTE, || hosts.events("one").len() == 2)
        .await;
    running.wait(MINUTE, || log.state(1).cursor == 5).await;
    running.end().await;
    assert_eq!(
        hosts.events("one"),
        [1, 5],
        "an endpoint's trouble is told to the others"
    );
    assert_eq!(hosts.events("two"), [1, 2]);
    assert_eq!(hosts.events("three"), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_nothing_and_repeats_little() {
    const EVENTS: usize = 20_000;
    let (log, hosts) = (TestLog::new(), Arc::new(Hosts::default()));
    let one = config(vec![endpoint(0, "https://one/", batches(10))]);
    let mut running = start(&log, &hosts, &one, TICK);
    for round in 1..=10 {
        log.publish(0, EVENTS / 10);
        hosts.answer("one", if round % 3 == 0 { 500 } else { 200 });
        tokio::time::sleep(Duration::from_millis(777)).await;
        // Dropped as it stands: nothing is waited for or remembered any more.
        running.stage.abort();
        assert!(running.stage.await.unwrap_err().is_cancelled());
        running.stopper.stop();
        running = start(&log, &hosts, &one, TICK);
    }
    hosts.answer("one", 200);
    let view = || running.webhooks.endpoint(EndpointIx(0)).unwrap();
    running
        .wait(20 * MINUTE, || view().lag == 0 && view().retries == 0)
        .await;
    running.end().await;
    let mut events = hosts.events("one");
    let count = events.len();
    events.sort_unstable();
    events.dedup();
    assert_eq!(events, (1..=EVENTS as u64).collect::<Vec<_>>());
    assert!(count < 3 * EVENTS, "{count}");
}
