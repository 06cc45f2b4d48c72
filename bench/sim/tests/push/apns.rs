//! APNs does what its rules and faults say: seen by a client on h2, over TLS.

use std::time::Duration;

use codecs::jwt::SigningKey;
use sim::push::apns::{Apns, ApnsConfig, Key, REFUSALS};
use sim::push::{Config, TokenCounts};

use super::client::{
    Client, KEY_ID, PATIENCE, TEAM_ID, TOPIC, apns, bearer, key, token, unix_seconds,
};

/// What one request did.
fn counts(accepted: u32, rejected: u32, answered: u32, unanswered: u32) -> TokenCounts {
    TokenCounts {
        requests: 1,
        accepted,
        rejected,
        answered,
        unanswered,
    }
}

#[tokio::test]
async fn one_stream_until_the_first_valid_token_then_a_thousand() {
    let (apns, bearer) = apns(ApnsConfig::default()).await;
    let client = Client::connect(&apns).await;
    let refused = client.push("bearer nonsense", &token("")).await.unwrap();
    assert_eq!(
        (refused.status, &*refused.member("reason")),
        (403, "InvalidProviderToken")
    );
    client.until_limit(1).await;
    let fields = [
        ("authorization", &*bearer),
        ("apns-topic", TOPIC),
        ("apns-push-type", "alert"),
        ("apns-id", "123e4567-e89b-12d3-a456-4266554400a0"),
    ];
    let path = format!("/3/device/{}", token(""));
    let accepted = client.post(&path, &fields, "{}").await.unwrap();
    assert_eq!((accepted.status, &*accepted.body), (200, ""));
    let id = accepted.headers["apns-id"].to_str().unwrap();
    assert_eq!(id, "123E4567-E89B-12D3-A456-4266554400A0");
    client.until_limit(1_000).await;
    let own = client.push(&bearer, &token("")).await.unwrap();
    assert_eq!(own.headers["apns-id"].len(), 36);
    let report = apns.stop().await;
    assert_eq!((report.accepted, report.rejected), (2, 1));
    assert_eq!((report.answered, report.tokens_doubled), (2, 1));
    assert_eq!(report.doubled, [token("")]);
}

#[tokio::test]
async fn every_reason_comes_with_its_status_when_a_token_asks_for_it() {
    let (apns, bearer) = apns(ApnsConfig::default()).await;
    for row in REFUSALS {
        // On a connection of its own: one of them makes it sick.
        let client = Client::connect(&apns).await;
        let token = token(row.prefix);
        let answer = client.push(&bearer, &token).await.unwrap();
        assert_eq!(answer.status, row.status, "{row:?}");
        let counted = apns.token(&token);
        assert_eq!(counted, counts(0, 1, 0, 0), "{row:?}");
    }
    let client = Client::connect(&apns).await;
    let gone = client.push(&bearer, &token("41000000")).await.unwrap();
    assert!(
        gone.body
            .starts_with(r#"{"reason":"Unregistered","timestamp":1"#)
    );
    let long = client.push(&bearer, &token("ba0d0003")).await.unwrap();
    assert_eq!(long.body.len(), 100_013, "longer than the window");
    let once = client.push(&bearer, &token("b40000000ff1")).await.unwrap();
    let then = client.push(&bearer, &token("b40000000ff1")).await.unwrap();
    assert_eq!((once.status, then.status), (400, 200));
    let sick = client.push(&bearer, &token("50000001")).await.unwrap();
    let after = client.push(&bearer, &token("")).await.unwrap();
    assert_eq!((sick.status, after.status), (500, 500));
}

#[tokio::test]
async fn a_going_connection_says_which_streams_it_looked_at() {
    for (prefix, accepted, text) in [
        ("60a00000", false, "Shutdown"),
        ("60a00001", true, "Shutdown"),
        ("60a00002", false, ""),
        ("60a00003", true, ""),
    ] {
        let (apns, bearer) = apns(ApnsConfig::default()).await;
        apns.set_latency(5, 0);
        let client = Client::connect(&apns).await;
        client.push(&bearer, &token("")).await.unwrap();
        client.until_limit(1_000).await;
        let before = client.push_later(&bearer, &token("b")).await;
        let last = client.push_later(&bearer, &token(prefix)).await;
        let after = client.push_later(&bearer, &token("c")).await;
        assert_eq!(before.await.unwrap().status, 200, "{prefix}");
        let last = last.await;
        match accepted {
            true => assert_eq!(last.unwrap().status, 200),
            false => {
                let error = last.unwrap_err();
                assert!(error.is_go_away() && error.is_remote(), "{error}");
                assert!(error.to_string().contains(text), "{error}");
            }
        }
        let error = after.await.unwrap_err();
        assert!(error.is_go_away() && error.is_remote(), "{error}");
        assert_eq!(apns.token(&token(prefix)).accepted, u32::from(accepted));
        assert_eq!(apns.token(&token("c")).requests, 0, "{prefix}");
        let closed = apns.until(PATIENCE, |report| report.connections_open == 0);
        assert_eq!(closed.await.unwrap().unanswered, 0);
    }
}

#[tokio::test]
async fn resets_halves_and_cuts_count_what_was_accepted() {
    let cases = [
        // Prefix, accepted, answered, what the client sees.
        ("4e5e0000", 0, 0, "refused"),
        ("4e5e0001", 0, 0, "reset"),
        ("4e5e0002", 1, 0, "reset"),
        ("4e5e0003", 1, 1, "reset"),
        ("c0700000", 0, 0, "end"),
        ("c0700001", 1, 0, "end"),
    ];
    let (apns, bearer) = apns(ApnsConfig::default()).await;
    for (prefix, accepted, answered, sees) in cases {
        let client = Client::connect(&apns).await;
        client.push(&bearer, &token("")).await.unwrap();
        let error = client.push(&bearer, &token(prefix)).await.unwrap_err();
        match sees {
            "refused" => assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM)),
            "reset" => assert!(error.is_reset() && error.is_remote(), "{prefix}: {error}"),
            _ => assert!(error.is_io(), "{prefix}: {error}"),
        }
        if sees == "end" {
            let open = apns.until(PATIENCE, |report| report.connections_open == 0);
            open.await.unwrap();
        }
        drop(client);
        let unanswered = accepted - answered;
        let counted = apns.token(&token(prefix));
        assert_eq!(
            counted,
            counts(accepted, 0, answered, unanswered),
            "{prefix}"
        );
        let none = apns.until(PATIENCE, |report| report.connections_open == 0);
        none.await.unwrap();
    }
    let report = apns.stop().await;
    assert_eq!((report.dropped, report.unanswered, report.cuts), (3, 2, 2));
}

#[tokio::test]
async fn what_is_never_answered_leaves_the_rest_alone_but_silence_does_not() {
    let (apns, bearer) = apns(ApnsConfig::default()).await;
    let client = Client::connect(&apns).await;
    client.push(&bearer, &token("")).await.unwrap();
    client.until_limit(1_000).await;
    let never = client.push_later(&bearer, &token("b1ac0000")).await;
    let accepted = client.push_later(&bearer, &token("b1ac0001")).await;
    let half = client.push_later(&bearer, &token("4a1f0000")).await;
    assert_eq!(client.push(&bearer, &token("d")).await.unwrap().status, 200);
    let mut half = half;
    let waited = tokio::time::timeout(Duration::from_millis(50), &mut half).await;
    assert!(waited.is_err(), "the answer must not end");
    drop((never, accepted, half));
    let reset = apns.until(PATIENCE, |report| report.reset_by_client == 3);
    let report = reset.await.unwrap();
    assert_eq!((report.dropped, report.unanswered), (1, 1));
    assert_eq!(apns.token(&token("4a1f0000")), counts(1, 0, 1, 0));
    let silent = client.push_later(&bearer, &token("b1ac0002")).await;
    let looked = apns.until(PATIENCE, |report| report.dropped == 2);
    looked.await.unwrap();
    let after = client.push_later(&bearer, &token("e")).await;
    let both = async { (silent.await, after.await) };
    let waited = tokio::time::timeout(Duration::from_millis(200), both).await;
    assert!(waited.is_err(), "nothing may come any more");
    assert_eq!(apns.token(&token("e")).requests, 0);
}

#[tokio::test]
async fn more_streams_than_allowed_cost_the_connection() {
    let (apns, bearer) = apns(ApnsConfig::default()).await;
    apns.set_stalled(true);
    // h2's own default: it does not wait for SETTINGS.
    let client = Client::connect(&apns).await;
    let first = client.push_later(&bearer, &token("a")).await;
    let second = client.push_later(&bearer, &token("b")).await;
    let error = second.await.unwrap_err();
    assert!(error.is_go_away() && error.is_remote(), "{error}");
    assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
    let text = "Maximum active streams violated for this endpoint";
    assert!(error.to_string().contains(text), "{error}");
    apns.set_stalled(false);
    assert_eq!(first.await.unwrap().status, 200);
    let report = apns.stop().await;
    assert_eq!((report.stream_limit_violations, report.requests), (1, 1));
}

#[tokio::test]
async fn a_refused_push_shrinks_the_connection_until_one_is_accepted() {
    let config = ApnsConfig {
        shrink_on_reject: true,
        ..ApnsConfig::default()
    };
    let (apns, bearer) = apns(config).await;
    let client = Client::connect(&apns).await;
    client.push(&bearer, &token("")).await.unwrap();
    client.until_limit(1_000).await;
    client.push(&bearer, &token("b4000000")).await.unwrap();
    client.until_limit(1).await;
    client.push(&bearer, &token("")).await.unwrap();
    client.until_limit(1_000).await;
    apns.set_streams(7);
    client.until_limit(7).await;
    assert_eq!(apns.stop().await.stream_limit_violations, 0);
}

#[tokio::test]
async fn so_many_refused_pushes_end_a_connection_without_a_word() {
    let config = ApnsConfig {
        rejects_max: Some(2),
        ..ApnsConfig::default()
    };
    let (apns, bearer) = apns(config).await;
    let client = Client::connect(&apns).await;
    for _ in 0..2 {
        let answer = client.push(&bearer, &token("b4000000")).await.unwrap();
        assert_eq!(answer.member("reason"), "BadDeviceToken");
    }
    let ended = client.push(&bearer, &token("")).await;
    assert!(ended.is_err(), "a GOAWAY came with the second answer");
    let report = apns.stop().await;
    assert_eq!((report.go_aways, report.rejected), (1, 2));
}

#[tokio::test]
async fn a_key_may_be_renewed_under_its_name_and_a_revoked_one_taken_again() {
    let (old, new) = (key(), key());
    let known = |key: &SigningKey| Key::new(KEY_ID, TEAM_ID, key.verifying());
    let config = ApnsConfig {
        keys: vec![known(&old)],
        ..ApnsConfig::default()
    };
    let apns = Apns::start(config).await.unwrap();
    let now = unix_seconds();
    let status = async |key: &SigningKey| {
        let bearer = bearer(key, KEY_ID, TEAM_ID, now);
        let client = Client::connect(&apns).await;
        client.push(&bearer, &token("")).await.unwrap().status
    };
    assert_eq!((status(&old).await, status(&new).await), (200, 403));
    apns.accept(known(&new));
    assert_eq!((status(&old).await, status(&new).await), (200, 200));
    apns.revoke(KEY_ID);
    assert_eq!((status(&old).await, status(&new).await), (403, 403));
    apns.accept(known(&new));
    assert_eq!((status(&old).await, status(&new).await), (403, 200));
    apns.renew(known(&old));
    assert_eq!((status(&old).await, status(&new).await), (200, 403));
}

#[tokio::test]
async fn a_connection_that_was_silenced_stays_open_and_a_new_one_works() {
    let (apns, bearer) = apns(ApnsConfig::default()).await;
    let client = Client::connect(&apns).await;
    client.push(&bearer, &token("")).await.unwrap();
    apns.silence();
    let soon = Duration::from_millis(200);
    let silent = token("");
    let push = client.push(&bearer, &silent);
    assert!(tokio::time::timeout(soon, push).await.is_err());
    let other = Client::connect(&apns).await;
    other.push(&bearer, &token("")).await.unwrap();
    let report = apns.report();
    assert_eq!((report.accepted, report.connections_open), (2, 2));
}

#[tokio::test]
async fn tokens_expire_and_may_not_change_too_often() {
    let key = key();
    let config = ApnsConfig {
        keys: vec![Key::new(KEY_ID, TEAM_ID, key.verifying())],
        ..ApnsConfig::default()
    };
    let apns = Apns::start(config).await.unwrap();
    let now = unix_seconds();
    let at = |issued_at| bearer(&key, KEY_ID, TEAM_ID, issued_at);
    let first = at(now);
    let client = Client::connect(&apns).await;
    let reason = async |bearer: String| {
        let answer = client.push(&bearer, &token("")).await.unwrap();
        (answer.status, answer.member("reason"))
    };
    let ok = (200, String::new());
    let expired = (403, "ExpiredProviderToken".to_owned());
    assert_eq!(reason(at(now - 3_700)).await, expired);
    assert_eq!(reason(at(now + 300)).await.1, "InvalidProviderToken");
    assert_eq!(reason(first.clone()).await, ok);
    assert_eq!(reason(at(now - 10)).await, ok, "one change is allowed");
    assert_eq!(reason(first.clone()).await, ok, "an old one may still come");
    apns.set_clock_ahead_ms(3_605_000);
    assert_eq!(reason(first.clone()).await, expired);
    apns.set_clock_ahead_ms(0);
    let often = (429, "TooManyProviderTokenUpdates".to_owned());
    assert_eq!(reason(at(now - 20)).await, often);
    assert_eq!(reason(first.clone()).await, often, "the connection is sick");
    let other = Client::connect(&apns).await;
    let answer = other.push(&first, &token("")).await.unwrap();
    assert_eq!(answer.status, 200, "another one is not");
    apns.revoke(KEY_ID);
    let answer = other.push(&first, &token("")).await.unwrap();
    assert_eq!(answer.member("reason"), "InvalidProviderToken");
}

#[tokio::test]
async fn teams_keys_and_topics_do_not_mix() {
    let keys = [key(), key(), key(), key()];
    let public = |at: usize| keys[at].verifying();
    let config = ApnsConfig {
        keys: vec![
            Key::new("KEY0000000", TEAM_ID, public(0)),
            Key::new("KEY0000001", "OTHERTEAM1", public(1)),
            Key {
                topics: Some(vec![TOPIC.to_owned()]),
                ..Key::new("KEY0000002", TEAM_ID, public(2))
            },
            Key {
                topics: Some(vec!["com.example.other".to_owned()]),
                ..Key::new("KEY0000003", TEAM_ID, public(3))
            },
        ],
        ..ApnsConfig::default()
    };
    let apns = Apns::start(config).await.unwrap();
    let now = unix_seconds();
    let reason = async |client: &Client, at: usize, team: &str| {
        let bearer = bearer(&keys[at], &format!("KEY000000{at}"), team, now);
        let answer = client.push(&bearer, &token("")).await.unwrap();
        answer.member("reason")
    };
    let client = Client::connect(&apns).await;
    assert_eq!(
        reason(&client, 0, "WRONGTEAM1").await,
        "InvalidProviderToken"
    );
    assert_eq!(reason(&client, 0, TEAM_ID).await, "");
    assert_eq!(
        reason(&client, 1, "OTHERTEAM1").await,
        "InvalidProviderToken"
    );
    assert_eq!(reason(&client, 2, TEAM_ID).await, "UnrelatedKeyIdInToken");
    let client = Client::connect(&apns).await;
    assert_eq!(reason(&client, 2, TEAM_ID).await, "");
    let client = Client::connect(&apns).await;
    assert_eq!(reason(&client, 3, TEAM_ID).await, "TopicDisallowed");
    let forged = bearer(&keys[1], "KEY0000000", TEAM_ID, now);
    let answer = client.push(&forged, &token("")).await.unwrap();
    assert_eq!(answer.member("reason"), "InvalidProviderToken");
}

#[tokio::test]
async fn a_client_certificate_needs_no_token_and_has_all_streams_at_once() {
    let (apns, _) = apns(ApnsConfig::default()).await;
    let client = Client::with(&apns, Some(apns.client()), 1).await;
    let path = format!("/3/device/{}", token(""));
    let answer = client.post(&path, &[], "{}").await.unwrap();
    assert_eq!(answer.status, 200);
    client.until_limit(1_000).await;
    let without = Client::connect(&apns).await;
    let answer = without.post(&path, &[], "{}").await.unwrap();
    assert_eq!(answer.member("reason"), "MissingProviderToken");
}

#[tokio::test]
async fn orders_reach_connections_that_run() {
    let (apns, bearer) = apns(ApnsConfig::default()).await;
    let client = Client::connect(&apns).await;
    client.push(&bearer, &token("")).await.unwrap();
    client.until_limit(1_000).await;
    apns.set_stalled(true);
    let held = client.push_later(&bearer, &token("b")).await;
    let looked = apns.until(PATIENCE, |report| report.accepted == 2);
    assert_eq!(looked.await.unwrap().answered, 1);
    apns.set_stalled(false);
    assert_eq!(held.await.unwrap().status, 200);
    apns.set_stalled(true);
    let held = client.push_later(&bearer, &token("c")).await;
    let looked = apns.until(PATIENCE, |report| report.accepted == 3);
    looked.await.unwrap();
    apns.go_away(0, Some("Shutdown"));
    let gone = apns.until(PATIENCE, |report| report.go_aways == 1);
    gone.await.unwrap();
    apns.set_stalled(false);
    assert_eq!(
        held.await.unwrap().status,
        200,
        "what was taken is answered"
    );
    client.ended.await.unwrap().unwrap();
    let client = Client::connect(&apns).await;
    apns.set_stalled(true);
    let lost = client.push_later(&bearer, &token("d")).await;
    let looked = apns.until(PATIENCE, |report| report.accepted == 4);
    looked.await.unwrap();
    apns.kill();
    assert!(lost.await.unwrap_err().is_io());
    let closed = apns.until(PATIENCE, |report| report.connections_open == 0);
    closed.await.unwrap();
    assert_eq!(apns.token(&token("d")), counts(1, 0, 0, 1));
}

#[tokio::test]
async fn large_payloads_go_through_the_windows_and_nothing_is_lost() {
    let (apns, bearer) = apns(ApnsConfig {
        common: Config {
            latency_ms: 2,
            jitter_ms: 10,
            ..Config::default()
        },
        ..ApnsConfig::default()
    })
    .await;
    let client = Client::connect(&apns).await;
    client.push(&bearer, &token("")).await.unwrap();
    client.until_limit(1_000).await;
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(4_000));
    let fields = [("authorization", &*bearer), ("apns-topic", TOPIC)];
    let mut waiting = Vec::new();
    for number in 0..500 {
        let path = format!("/3/device/{number:064}");
        waiting.push(client.start(&path, &fields, &body).await.unwrap());
    }
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    let long = "x".repeat(40_000);
    let path = format!("/3/device/{}", token(""));
    let answer = client.post(&path, &fields, &long).await.unwrap();
    assert_eq!(answer.member("reason"), "PayloadTooLarge");
    let seen = apns.requests();
    assert_eq!(seen.len(), 100);
    assert_eq!(seen[98].header("apns-topic"), Some(TOPIC));
    assert_eq!(seen[98].body, body);
    let report = apns.stop().await;
    assert_eq!((report.accepted, report.answered), (501, 501));
    assert_eq!((report.tokens_doubled, report.protocol_violations), (0, 0));
    assert!(report.hpack_octets_max > 0);
}
