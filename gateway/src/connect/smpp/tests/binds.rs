//! Binds of one account beside each other: pairs, several hosts, refusals. Time is moved by hand over
//! the pauses between binds; it runs as usual while octets are on their way.

use std::time::Instant;

use super::raw::{BIND, BIND_RESP, Carrier, DELIVER, DELIVER_RESP, Pdu, RECEIPT, SUBMIT_RESP};
use super::raw::{batch, deliver};
use super::*;
use crate::link::Carries;

const BIND_RX: u32 = 0x01;
const BIND_TX: u32 = 0x02;

/// Pauses are minutes.
const LONG: Duration = Duration::from_secs(100_000);

/// A config whose only timers are those between binds, so that moving time meets no other.
pub(super) fn quiet(carrier: &Carrier) -> Config {
    let mut config = carrier.config();
    config.enquire_link = LONG;
    config.response_timeout = LONG;
    config.connect_timeout = LONG;
    config.bind_timeout = LONG;
    config.drain = LONG;
    config
}

fn link(config: &Arc<Config>, host: usize, seat: Seat) -> Rig {
    start_at(config.clone(), host, seat)
}

/// Moves time.
pub(super) async fn leap(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

pub(super) fn now() -> Instant {
    Clock::system().instant()
}

impl Rig {
    /// Goes down; why, how many seconds until it is tried again, and whether that is much later.
    async fn pauses(&mut self) -> (String, u64, bool) {
        let (why, then) = self.falls().await;
        let (at, much) = match then {
            Then::Again(at) => (at, false),
            Then::TooMany(at) => (at, true),
            Then::Stopped => panic!("it has stopped: {why}"),
        };
        let pause = at.since(Clock::system().now()) + Duration::from_millis(500);
        (why, pause.as_secs(), much)
    }

    async fn carries(&mut self) -> (Carries, usize) {
        match self.event().await {
            LinkEvent::Up {
                carries, window, ..
            } => (carries, window),
            other => panic!("{other:?}"),
        }
    }
}

fn with_binds(carrier: &Carrier, binds: Binds) -> Arc<Config> {
    let mut config = quiet(carrier);
    config.bind = binds;
    Arc::new(config)
}

/// The two links of a pair, bound, and their sides at the carrier: transmitter first.
async fn pair(carrier: &Carrier) -> ([Rig; 2], [Carrier; 2]) {
    let config = with_binds(carrier, Binds::Pair);
    let mut tx = link(&config, 0, Seat::Main);
    let to_tx = carrier.next_bind(BIND_TX, 0).await;
    assert_eq!(tx.carries().await, (Carries::Attempts, 10));
    let mut rx = link(&config, 0, Seat::Companion);
    let to_rx = carrier.next_bind(BIND_RX, 0).await;
    assert_eq!(rx.carries().await, (Carries::Receipts, 0));
    ([tx, rx], [to_tx, to_rx])
}

#[tokio::test]
async fn a_pair_sends_over_one_bind_and_hears_over_the_other_and_the_receiver_parts_last() {
    let carrier = Carrier::new().await;
    let ([mut tx, mut rx], [mut to_tx, mut to_rx]) = pair(&carrier).await;
    tx.send(attempts(1)).await;
    let sequences = to_tx.read_submits(1).await;
    to_tx
        .write(&[(SUBMIT_RESP, 0, sequences[0], b"0A1F\0")])
        .await;
    assert_eq!(tx.answers(1).await[&0].result, OutcomeResult::Accepted);
    to_rx.write(&[(DELIVER, 0, 3, &deliver(4, RECEIPT))]).await;
    batch(&mut rx).await.stored.send(()).unwrap();
    assert_eq!(to_rx.read().await, Pdu(DELIVER_RESP, 0, 3, vec![0]));

    // Both are stopped; while an answer is awaited over one, the other stays and takes receipts.
    tx.send(attempts(1)).await;
    let sequences = to_tx.read_submits(1).await;
    rx.stopper.stop();
    tx.stopper.stop();
    to_rx.write(&[(DELIVER, 0, 4, &deliver(4, RECEIPT))]).await;
    batch(&mut rx).await.stored.send(()).unwrap();
    assert_eq!(to_rx.read().await, Pdu(DELIVER_RESP, 0, 4, vec![0]));
    to_tx.write(&[(SUBMIT_RESP, 0, sequences[0], b"1\0")]).await;
    to_tx.unbound().await;
    to_rx.unbound().await;
    tx.stop().await;
    rx.stop().await;
}

#[tokio::test]
async fn losing_the_receiver_does_not_stop_the_transmitter() {
    let carrier = Carrier::new().await;
    let ([mut tx, mut rx], [mut to_tx, to_rx]) = pair(&carrier).await;
    drop(to_rx);
    let (_, pause, _) = rx.pauses().await;
    tx.send(attempts(3)).await;
    for sequence in to_tx.read_submits(3).await {
        to_tx.write(&[(SUBMIT_RESP, 0, sequence, b"1\0")]).await;
    }
    assert_eq!(tx.answers(3).await.len(), 3);
    // It comes back by itself.
    leap(Duration::from_secs(pause)).await;
    let _to_rx = carrier.next_bind(BIND_RX, 0).await;
    assert_eq!(rx.carries().await, (Carries::Receipts, 0));
}

#[tokio::test]
async fn an_unknown_transceiver_becomes_a_pair_under_auto() {
    let carrier = Carrier::new().await;
    let config = with_binds(&carrier, Binds::Auto);
    let mut rx = link(&config, 0, Seat::Companion);
    assert!(matches!(rx.event().await, LinkEvent::Unused { .. }));
    let mut tx = link(&config, 0, Seat::Main);
    carrier.next_bind(BIND, 0x03).await;
    let (why, then) = tx.falls().await;
    assert!(why.contains("as transmitter and receiver"), "{why}");
    assert!(matches!(then, Then::Again(_)));
    // In either order.
    let (mut one, mut two) = (carrier.accepted().await, carrier.accepted().await);
    let kinds = [one.answer_bind(0).await, two.answer_bind(0).await];
    assert!(
        kinds.contains(&BIND_TX) && kinds.contains(&BIND_RX),
        "{kinds:?}"
    );
    assert_eq!(tx.carries().await.0, Carries::Attempts);
    assert_eq!(rx.carries().await.0, Carries::Receipts);
}

#[tokio::test]
async fn a_transceiver_that_the_carrier_does_not_know_stops_and_says_what_to_do() {
    for status in [0x03, 0x04] {
        let carrier = Carrier::new().await;
        let mut rig = start(carrier.config());
        carrier.next_bind(BIND, status).await;
        let (why, then) = rig.falls().await;
        assert!(why.contains("tx+rx") && why.contains("auto"), "{why}");
        assert_eq!(then, Then::Stopped);
        rig.stop().await;
    }
}

#[tokio::test]
async fn refused_credentials_stop_all_binds_of_an_account_after_five() {
    let carrier = Carrier::new().await;
    let config = Arc::new(quiet(&carrier));
    let (events, mut seen) = mpsc::channel(64);
    let mut rigs = Vec::new();
    for _ in 0..3 {
        let mut rig = link(&config, 0, Seat::Main);
        let mut told = std::mem::replace(&mut rig.events, mpsc::channel(1).1);
        let events = events.clone();
        tokio::spawn(async move {
            while let Some(event) = told.recv().await {
                drop(events.send(event).await);
            }
        });
        rigs.push(rig);
    }
    let mut binds = 0;
    let mut stopped = 0;
    while stopped < 3 {
        tokio::select! {
            // One that had connected when another was refused goes away without a bind.
            mut one = carrier.accepted() => if !one.is_closed().await {
                binds += 1;
                assert_eq!(one.answer_bind(0x0E).await, BIND);
            },
            event = seen.recv() => match event {
                Some(LinkEvent::Down { then: Then::Stopped, why, .. }) => {
                    assert!(why.contains("start the gateway again"), "{why}");
                    stopped += 1;
                }
                Some(LinkEvent::Down { then: Then::Again(at), .. }) => {
                    let pause = at.since(Clock::system().now());
                    let least = Duration::from_secs(60 << (binds - 1));
                    assert!(pause + Duration::from_secs(1) > least, "{pause:?} after {binds}");
                    leap(pause + Duration::from_secs(1)).await;
                }
                other => panic!("{other:?}"),
            },
        }
    }
    assert_eq!(binds, 5);
    for rig in rigs {
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_bind_too_many_rests_and_the_others_go_on() {
    let carrier = Carrier::new().await;
    let config = Arc::new(quiet(&carrier));
    let mut first = link(&config, 0, Seat::Main);
    let mut held = carrier.next_bind(BIND, 0).await;
    first.up().await;
    let mut second = link(&config, 0, Seat::Main);
    for least in [30, 60, 120, 600] {
        carrier.next_bind(BIND, 0x05).await;
        let (why, pause, rests) = second.pauses().await;
        assert!(why.contains("ESME_RALYBND"), "{why}");
        assert!((least..=least + least / 10 + 1).contains(&pause), "{pause}");
        assert_eq!(rests, least == 600);
        leap(Duration::from_secs(pause + 1)).await;
    }
    // And later it is tried again, while the first one works.
    let _other = carrier.next_bind(BIND, 0).await;
    second.up().await;
    first.send(attempts(1)).await;
    let sequences = held.read_submits(1).await;
    held.write(&[(SUBMIT_RESP, 0, sequences[0], b"1\0")]).await;
    assert_eq!(first.answers(1).await.len(), 1);
}

/// A host that refuses connections, or takes them and never says a word.
#[tokio::test]
async fn a_host_that_is_dead_or_dumb_does_not_keep_the_other_one_waiting() {
    let dead = tokio::net::TcpSocket::new_v4().unwrap();
    dead.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dumb = Carrier::new().await;
    for (address, wait) in [(dead.local_addr().unwrap(), 0), (dumb.address(), 15)] {
        let alive = Carrier::new().await;
        let mut config = quiet(&alive);
        config.bind_timeout = Duration::from_secs(15);
        config.hosts.insert(0, address.to_string());
        config.account = Arc::new(Account::new("carrier-a", 2));
        let config = Arc::new(config);
        let mut one = link(&config, 0, Seat::Main);
        let mut two = link(&config, 1, Seat::Main);
        let silent = match wait {
            0 => None,
            _ => Some(dumb.accepted().await),
        };
        let mut to_two = alive.accepted().await;
        // At worst the dumb one has its turn first; a dead one has none.
        leap(Duration::from_secs(wait)).await;
        assert_eq!(to_two.answer_bind(0).await, BIND);
        two.up().await;
        drop(silent);
        // It is tried on and on, and at its own host only.
        for _ in 0..6 {
            let (why, pause, _) = one.pauses().await;
            assert!(why.contains(&address.to_string()), "{why}");
            leap(Duration::from_secs(pause + 1)).await;
            if wait > 0 {
                drop(dumb.accepted().await);
            }
        }
        two.send(attempts(1)).await;
        let sequences = to_two.read_submits(1).await;
        to_two
            .write(&[(SUBMIT_RESP, 0, sequences[0], b"1\0")])
            .await;
        assert_eq!(two.answers(1).await.len(), 1);
    }
}

#[tokio::test]
async fn one_bind_at_a_time_and_a_quarter_of_a_second_apart() {
    let carrier = Carrier::new().await;
    let config = Arc::new(quiet(&carrier));
    let rigs: Vec<Rig> = (0..3).map(|_| link(&config, 0, Seat::Main)).collect();
    let start = now();
    let mut one = carrier.accepted().await;
    let Pdu(_, _, sequence, _) = one.read().await;
    // The next one may connect; it does not bind before the first one is answered.
    let mut two = carrier.accepted().await;
    assert!(now().duration_since(start) >= Duration::from_millis(250));
    leap(Duration::from_secs(5)).await;
    let early = two.stream().try_read(&mut [0; 1]);
    let nothing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    assert!(
        early.as_ref().is_err_and(nothing),
        "two binds without an answer: {early:?}"
    );
    one.write(&[(BIND_RESP, 0, sequence, b"SMSC\0")]).await;
    assert_eq!(two.answer_bind(0).await, BIND);
    let _three = carrier.next_bind(BIND, 0).await;
    assert!(now().duration_since(start) >= Duration::from_millis(500));
    drop(rigs);
}
