//! A receiver on loopback against a plain client.

use std::time::Duration;

use codecs::webhook::{Secret, Signer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WAIT: Duration = Duration::from_secs(10);

fn event(id: &str, message: &str, kind: &str, version: u64, last: bool) -> String {
    format!(
        r#"{{"id":"{id}","type":"message.{kind}","timestamp":"2026-11-21T08:02:05Z","tenant":"a",
        "data":{{"message_id":"{message}","version":{version},"status":"{kind}","final":{last},
        "reason":{{"provider":{{"text":"id:7 \"x\""}}}},"metadata":{{"store":"S042"}}}}}}"#
    )
}

fn batch(events: &[String]) -> String {
    let events = events.join(",");
    format!(r#"{{"type":"batch","timestamp":"x","data":{{"events":[{events}]}}}}"#)
}

async fn start(config: Config) -> Receiver {
    Receiver::start(Config {
        secrets: vec![SECRET.to_owned()],
        ..config
    })
    .await
    .unwrap()
}

/// Posts a body signed as `id`; the head of the answer, empty if there was none.
async fn post(receiver: &Receiver, id: &str, body: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let signature = Signer::new(Secret::parse(SECRET).unwrap()).sign(id, now, &[body.as_bytes()]);
    let request = format!(
        "POST /hooks HTTP/1.1\r\nhost: x\r\nwebhook-id: {id}\r\nwebhook-timestamp: {now}\r\n\
         webhook-signature: {signature}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(receiver.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn counts_events_and_messages_once() {
    let receiver = start(Config {
        keep_requests: 2,
        ..Config::default()
    })
    .await;
    let sent = event("evt_1", "msg_1", "sent", 3, false);
    let delivered = event("evt_2", "msg_1", "delivered", 4, true);
    let first = batch(&[
        sent.clone(),
        delivered.clone(),
        event("evt_3", "msg_2", "sent", 3, false),
    ]);
    assert!(
        post(&receiver, "evb_1", &first)
            .await
            .starts_with("HTTP/1.1 204")
    );
    assert!(
        post(&receiver, "evb_1", &first)
            .await
            .starts_with("HTTP/1.1 204")
    );
    post(&receiver, "evt_2", &delivered).await;
    post(
        &receiver,
        "evt_9",
        &event("evt_4", "msg_1", "sent", 2, false),
    )
    .await;
    let report = receiver
        .wait_until(|report| report.answers.len() == 1, WAIT)
        .await
        .unwrap();
    assert_eq!(report.requests, 4);
    assert_eq!((report.batches, report.batch_events_max), (2, 3));
    assert_eq!(
        (report.events, report.events_unique, report.events_duplicate),
        (8, 4, 4)
    );
    assert_eq!(report.by_type["message.sent"], 3);
    assert_eq!(
        (
            report.messages,
            report.messages_delivered,
            report.messages_final
        ),
        (2, 1, 1)
    );
    assert_eq!(
        (
            report.type_repeats,
            report.out_of_order,
            report.id_mismatches
        ),
        (1, 1, 1)
    );
    let kept = receiver.kept();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0].body, delivered);
    assert_eq!(kept[0].headers["webhook-id"], "evt_2");
    assert_eq!(kept[0].status, Some(204));
    let last = receiver.stop().await;
    assert_eq!(last.answers[&204], 4);
    let json = serde_json::to_string(&last).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), last);
}

#[tokio::test]
async fn refuses_what_is_not_signed_or_not_json() {
    let receiver = start(Config::default()).await;
    assert!(
        post(&receiver, "evt_1", "{")
            .await
            .starts_with("HTTP/1.1 400")
    );
    let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned();
    let config = Config {
        secrets: vec![other],
        ..Config::default()
    };
    let strict = Receiver::start(config).await.unwrap();
    assert!(
        post(&strict, "evt_1", "{}")
            .await
            .starts_with("HTTP/1.1 401")
    );
    assert_eq!(
        (receiver.report().unparsable, strict.report().unverified),
        (1, 1)
    );
    assert_eq!(receiver.report().events, 0);
}

#[tokio::test]
async fn fails_as_it_is_told() {
    let receiver = start(Config::default()).await;
    let body = event("evt_1", "msg_1", "sent", 3, false);
    receiver.set(Faults {
        fail_first: 1,
        ..Faults::default()
    });
    assert!(
        post(&receiver, "evt_1", &body)
            .await
            .starts_with("HTTP/1.1 500")
    );
    receiver.set(Faults {
        share_503: 1.0,
        retry_after_s: Some(7),
        ..Faults::default()
    });
    let answer = post(&receiver, "evt_1", &body).await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 7"),
        "{answer}"
    );
    receiver.set(Faults {
        share_410: 1.0,
        ..Faults::default()
    });
    assert!(
        post(&receiver, "evt_1", &body)
            .await
            .starts_with("HTTP/1.1 410")
    );
    receiver.set(Faults {
        share_close: 1.0,
        ..Faults::default()
    });
    assert_eq!(post(&receiver, "evt_1", &body).await, "");
    assert_eq!(receiver.report().events, 0);
    receiver.set(Faults {
        share_lost: 1.0,
        ..Faults::default()
    });
    assert_eq!(post(&receiver, "evt_1", &body).await, "");
    assert_eq!(receiver.report().events_unique, 1);
    receiver.set(Faults {
        share_slow: 1.0,
        slow_ms: 1,
        ..Faults::default()
    });
    assert!(
        post(&receiver, "evt_1", &body)
            .await
            .starts_with("HTTP/1.1 204")
    );
    let report = receiver.report();
    assert_eq!(
        (report.events, report.events_unique, report.closed),
        (2, 1, 2)
    );
}

#[tokio::test]
async fn hangs_as_it_is_told() {
    let receiver = start(Config::default()).await;
    receiver.set(Faults {
        share_hang: 1.0,
        ..Faults::default()
    });
    let hung = async {
        receiver
            .wait_until(|report| report.hung == 1, WAIT)
            .await
            .is_ok()
    };
    tokio::select! {
        answer = post(&receiver, "evt_1", "{}") => panic!("answered {answer}"),
        seen = hung => assert!(seen),
    }
}

#[tokio::test]
async fn shares_are_kept_over_many_requests() {
    let mut dice = Dice::default();
    let faults = Faults {
        share_500: 0.1,
        share_slow: 0.2,
        ..Faults::default()
    };
    let thrown: Vec<Fault> = (1..=10_000)
        .map(|request| dice.throw(&faults, request))
        .collect();
    let share = |wanted: Fault| thrown.iter().filter(|fault| **fault == wanted).count();
    assert!((900..1100).contains(&share(Fault::Answer(
        StatusCode::INTERNAL_SERVER_ERROR,
        None
    ))));
    assert!((1850..2150).contains(&share(Fault::Slow(Duration::ZERO))));
}

#[tokio::test]
async fn full_tables_are_said() {
    let receiver = start(Config {
        events_max: 2,
        ..Config::default()
    })
    .await;
    let events: Vec<String> = (0..5)
        .map(|n| event(&format!("evt_{n}"), &format!("msg_{n}"), "sent", 3, false))
        .collect();
    post(&receiver, "evb_1", &batch(&events)).await;
    post(&receiver, "evb_1", &batch(&events)).await;
    let report = receiver.report();
    assert_eq!(
        (report.events, report.events_unique, report.events_duplicate),
        (10, 2, 2)
    );
    assert_eq!((report.beyond_tables, report.messages), (6, 2));
}

#[tokio::test]
async fn waiting_ends_at_the_timeout() {
    let receiver = start(Config::default()).await;
    let outcome = receiver
        .wait_until(|report| report.events == 1, Duration::from_millis(1))
        .await;
    assert_eq!(outcome.unwrap_err().events, 0);
}

#[tokio::test]
async fn a_get_shows_the_report() {
    let receiver = start(Config::default()).await;
    post(
        &receiver,
        "evt_1",
        &event("evt_1", "msg_1", "sent", 3, false),
    )
    .await;
    let mut stream = TcpStream::connect(receiver.addr()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, json) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        serde_json::from_str::<Report>(json).unwrap(),
        receiver.report()
    );
}
