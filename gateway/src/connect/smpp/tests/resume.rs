//! Binds that have stopped, and the operator who has them tried again. Time is moved by hand over the
//! pauses.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::binds::{leap, quiet};
use super::raw::{BIND, Carrier};
use super::*;

#[tokio::test]
async fn five_refused_passwords_stop_and_alarm_and_a_resume_counts_anew() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let told = recorder.handle();
    let _here = metrics::set_default_local_recorder(&recorder);
    let alarms = || {
        let alarm = "trunkline_smpp_bind_alarms_total{route=\"carrier-a\",alarm=\"credentials\"} ";
        let told = told.render();
        let line = told.lines().find_map(|line| line.strip_prefix(alarm));
        line.map(str::to_owned)
    };
    let carrier = Carrier::new().await;
    let config = Arc::new(quiet(&carrier));
    let mut rig = start_at(config.clone(), 0, Seat::Main);
    for tries in 1..=5 {
        carrier.next_bind(BIND, 0x0E).await;
        match rig.falls().await {
            (why, Then::Stopped) => {
                assert_eq!(tries, 5, "{why}");
                assert!(why.contains("/resume"), "it says what to do: {why}");
            }
            (_, Then::Again(at)) => {
                assert_eq!(alarms(), None);
                leap(at.since(Clock::system().now()) + Duration::from_secs(1)).await;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(alarms().as_deref(), Some("1"));

    // No time makes it try again: what is handed over comes back, unsent.
    leap(Duration::from_secs(86_400)).await;
    rig.send(attempts(1)).await;
    assert_eq!(rig.answers(1).await[&0].result, OutcomeResult::NotSent);

    config.account.resume();
    carrier.next_bind(BIND, 0x0E).await;
    let (why, then) = rig.falls().await;
    let Then::Again(at) = then else {
        panic!("{why}")
    };
    let pause = at.since(Clock::system().now());
    let first = Duration::from_secs(59)..=Duration::from_secs(60);
    assert!(first.contains(&pause), "{pause:?}: as after the first one");
    // Nor does it wait that long when it is resumed before.
    config.account.resume();
    let _one = carrier.next_bind(BIND, 0).await;
    rig.up().await;
}

#[tokio::test]
async fn a_resume_reaches_every_bind_that_waits_for_the_account_and_none_that_stands() {
    let carrier = Carrier::new().await;
    let config = Arc::new(quiet(&carrier));
    let mut first = start_at(config.clone(), 0, Seat::Main);
    let mut held = carrier.next_bind(BIND, 0).await;
    first.up().await;
    // One is refused as of an unknown type, which stops it; one for its password, which has the account wait.
    let mut second = start_at(config.clone(), 0, Seat::Main);
    carrier.next_bind(BIND, 0x03).await;
    assert_eq!(second.falls().await.1, Then::Stopped);
    let mut third = start_at(config.clone(), 0, Seat::Main);
    carrier.next_bind(BIND, 0x0E).await;
    assert!(matches!(third.falls().await.1, Then::Again(_)));

    config.account.resume();
    let _two = carrier.next_bind(BIND, 0).await;
    let _three = carrier.next_bind(BIND, 0).await;
    second.up().await;
    third.up().await;
    first.send(attempts(1)).await;
    assert_eq!(
        held.read_submits(1).await.len(),
        1,
        "it has stood all along"
    );
}
