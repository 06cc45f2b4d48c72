//! What can be seen of a link: its keep-alive.

use super::raw::{Carrier, ENQUIRE, ENQUIRE_RESP, Pdu};
use super::*;
use crate::link::{Beat, Pulse};

async fn pulse(rig: &mut Rig) -> Arc<Pulse> {
    let LinkEvent::Up { pulse, .. } = rig.event().await else {
        panic!("it is to come up")
    };
    pulse
}

/// Waits for a beat of which `good` holds.
async fn beat(pulse: &Pulse, good: impl Fn(&Beat) -> bool) -> Beat {
    let seen = async {
        loop {
            if let Some(beat) = pulse.beat().filter(&good) {
                return beat;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap()
}

#[tokio::test]
async fn a_link_shows_its_last_enquire_link_and_how_many_were_missed() {
    let mut carrier = Carrier::new().await;
    let asks = Duration::from_millis(20);
    let config = Config {
        enquire_link: asks,
        enquire_link_timeout: Duration::from_secs(10),
        ..carrier.config()
    };
    let mut rig = start(config);
    carrier.bind().await;
    let pulse = pulse(&mut rig).await;
    let first = beat(&pulse, |beat| beat.misses == 1).await;
    assert_eq!(first.round_trip, None, "it has asked and not been answered");
    let Pdu(command, _, sequence, _) = carrier.read().await;
    assert_eq!(command, ENQUIRE);
    carrier.write(&[(ENQUIRE_RESP, 0, sequence, b"")]).await;
    let then = beat(&pulse, |beat| beat.round_trip.is_some()).await;
    assert!(then.heard_at >= first.heard_at);
    // Nobody answers the next one.
    let Pdu(command, ..) = carrier.read().await;
    assert_eq!(command, ENQUIRE);
    let last = beat(&pulse, |beat| beat.misses == 1).await;
    assert!(last.round_trip.is_some(), "the last one that was answered");
}
