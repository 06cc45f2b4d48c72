//! Carriers that fall silent: ten minutes before an answer, for ever, or without reading. Time is moved
//! by hand.

use std::time::Instant;

use super::binds::{leap, now, quiet};
use super::raw::{BIND, Carrier, ENQUIRE, ENQUIRE_RESP, Pdu, SUBMIT_RESP};
use super::*;

/// Seconds.
const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn an_answer_that_comes_ten_minutes_late_is_still_the_messages() {
    for (minutes, found) in [(10, true), (11, false)] {
        let carrier = Carrier::new().await;
        let mut config = quiet(&carrier);
        config.response_timeout = s(30);
        let mut rig = start(config);
        let mut one = carrier.next_bind(BIND, 0).await;
        rig.up().await;
        rig.send(attempts(1)).await;
        let sequence = one.read_submits(1).await[0];
        let sent = now();
        // It is there all along: what is asked because of its silence, it answers.
        for seconds in [10, 10, 11] {
            leap(s(seconds)).await;
            alive(&mut one).await;
        }
        let unknown = rig.answers(1).await.remove(&0).unwrap();
        assert_eq!(unknown.result, OutcomeResult::Unknown);
        // As long after that as its id is remembered (smpp.md §3.1), less some seconds; or longer.
        leap(s(minutes * 60 - 5)).await;
        one.write(&[(SUBMIT_RESP, 0, sequence, b"77\0")]).await;
        if found {
            let LinkEvent::Late { answers, .. } = rig.event().await else {
                panic!("late")
            };
            let [late] = &answers[..] else {
                panic!("{answers:?}")
            };
            assert_eq!(late.outcome.result, OutcomeResult::Accepted);
            assert_eq!(
                &*late.outcome.provider_id, b"77",
                "its receipt can be matched"
            );
            let took = late.outcome.answered_at.since(late.outcome.handed_at);
            assert!(took >= s(minutes * 60), "{took:?}");
            assert!(now().duration_since(sent) >= s(minutes * 60));
        }
        // The link stands, and the answer is told at most once.
        rig.send(attempts(1)).await;
        let sequence = one.read_submits(1).await[0];
        one.write(&[(SUBMIT_RESP, 0, sequence, b"78\0")]).await;
        assert_eq!(rig.answers(1).await[&0].provider_id[..], *b"78");
        assert!(rig.late.is_empty());
    }
}

/// Answers an enquire_link, and sees that the answer is read.
async fn alive(one: &mut Carrier) {
    let Pdu(command, _, sequence, _) = one.read().await;
    assert_eq!(command, ENQUIRE);
    let pdus: [(u32, u32, u32, &[u8]); 2] =
        [(ENQUIRE_RESP, 0, sequence, b""), (ENQUIRE, 0, 1, b"")];
    one.write(&pdus).await;
    assert_eq!(one.read().await, Pdu(ENQUIRE_RESP, 0, 1, vec![]));
}

/// Moves time in small steps until the link goes down; why, and how long that took.
async fn falls(rig: &mut Rig, outcomes: &mut HashMap<u64, Outcome>) -> (String, Duration) {
    let from: Instant = now();
    for _ in 0..200 {
        leap(Duration::from_millis(500)).await;
        // What is due is done before the clock is looked at again.
        while let Ok(event) = timeout(Duration::from_millis(5), rig.events.recv()).await {
            match event.expect("the link is there") {
                LinkEvent::Down { why, .. } => return (why, now().duration_since(from)),
                LinkEvent::Answers { answers, .. } => {
                    for answer in answers {
                        assert!(outcomes.insert(answer.token, answer.outcome).is_none());
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    panic!("it stands");
}

#[tokio::test]
async fn a_carrier_that_stops_reading_is_left_after_ten_seconds() {
    let carrier = Carrier::new().await;
    let mut config = quiet(&carrier);
    // More than the system's buffers take, whatever they have grown to.
    config.window = 60_000;
    let mut rig = start(config);
    let _one = carrier.next_bind(BIND, 0).await;
    rig.up().await;
    let text = "x".repeat(160);
    let message = Arc::new(message("+46701234567", &text));
    let count = 60_000;
    let all = (0..count).map(|token| attempt(token, &message, 0));
    rig.send(all.collect()).await;
    let mut outcomes = HashMap::new();
    let (why, took) = falls(&mut rig, &mut outcomes).await;
    assert!(why.contains("takes nothing of what we write"), "{why}");
    // smpp.md §9: 10 s. Steps in which the system still took something come on top.
    assert!((s(10)..s(30)).contains(&took), "{took:?}");
    // What may have left is unknown, which `on_ambiguous` decides about; the rest never left.
    assert_eq!(outcomes.len(), usize::try_from(count).unwrap(), "each once");
    let of = |result| outcomes.values().filter(|one| one.result == result).count();
    let (unknown, unsent) = (of(OutcomeResult::Unknown), of(OutcomeResult::NotSent));
    assert!(unknown > 0 && unsent > 0, "{unknown} and {unsent}");
    assert_eq!(unknown + unsent, outcomes.len());
}

#[tokio::test]
async fn what_a_carrier_calls_a_message_is_kept_to_its_bound() {
    let carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    let mut one = carrier.next_bind(BIND, 0).await;
    rig.up().await;
    rig.send(attempts(2)).await;
    let sequences = one.read_submits(2).await;
    // smpp.md §9: at most 255 octets are stored. What goes on beyond a field's 256 is no id.
    for (sequence, octets) in sequences.into_iter().zip([256, 4_000]) {
        let id = [&vec![b'x'; octets][..], &[0]].concat();
        one.write(&[(SUBMIT_RESP, 0, sequence, &id)]).await;
    }
    for (token, outcome) in rig.answers(2).await {
        assert_eq!(outcome.result, OutcomeResult::Accepted, "{token}");
        assert!(outcome.provider_id.len() <= 255, "{token}");
    }
}

#[tokio::test]
async fn a_half_open_link_is_found_in_seconds() {
    let carrier = Carrier::new().await;
    let mut config = quiet(&carrier);
    (config.enquire_link, config.enquire_link_timeout) = (s(2), s(2));
    let mut rig = start(config);
    let mut one = carrier.next_bind(BIND, 0).await;
    rig.up().await;
    rig.send(attempts(2)).await;
    one.read_submits(2).await;
    // It is there no more: nothing is read or said, and no end comes.
    let mut outcomes = HashMap::new();
    let (why, took) = falls(&mut rig, &mut outcomes).await;
    assert!(why.contains("enquire_link was not answered twice"), "{why}");
    // Silence, then two that are not answered, with the jitter and the steps of this test.
    assert!((s(5)..s(9)).contains(&took), "{took:?}");
    let unknown = |one: &Outcome| one.result == OutcomeResult::Unknown;
    assert!(outcomes.len() == 2 && outcomes.values().all(unknown));
    assert_eq!(one.read().await.0, ENQUIRE);
}
