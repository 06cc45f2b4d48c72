//! What can be seen of a link: its keep-alive, what the carrier says in words, and what it could not read.

use std::io;

use parking_lot::Mutex;

use super::raw::{Carrier, DELIVER, DELIVER_RESP, ENQUIRE, ENQUIRE_RESP, Pdu, deliver};
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

/// What is logged, by all of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self, about: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().clone()).unwrap();
        let lines = log.lines().filter(|line| line.contains(about));
        lines.map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_logged_once_in_a_while_without_numbers_and_texts() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .without_time()
        .finish();
    let _logged = tracing::subscriber::set_default(lines);
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    let mut lies = deliver(0, b"a secret of 46701234567");
    let length = lies.len() - 24;
    lies[length] = 200;
    for sequence in 1..=3 {
        carrier.write(&[(DELIVER, 0, sequence, &lies)]).await;
        let refused = Pdu(DELIVER_RESP, 1, sequence, vec![]);
        assert_eq!(carrier.read().await, refused);
    }
    let lines = log.lines("cannot be read");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let line = &lines[0];
    for told in [
        "WARN",
        "route=\"carrier-a\"",
        "command=deliver_sm",
        "field=ShortMessage",
        "offset=48",
        "what=LengthLies",
        "octets=00000047 00000005 00000000 00000001 0001013x 3x3x3x3x",
    ] {
        assert!(line.contains(told), "{told}: {line}");
    }
    // Neither as they are nor in hexadecimal.
    for hidden in ["secret", "736563726574", "46701", "3436373031"] {
        assert!(!line.replace(' ', "").contains(hidden), "{hidden}: {line}");
    }
}
