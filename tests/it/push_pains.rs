//! What users of other push gateways suffered from, each with the test that owns it here.
//!
//! Numbers are those of push.md §8. `link` is gateway/src/connect/push/tests, `pains` its pains.rs, `http2`
//! gateway/src/connect/http2/tests, `here` this file, `chaos` push_chaos.rs.
//!
//! | pain | test |
//! |---|---|
//! | 1, 22 pushes lost after GOAWAY | `link` a_goaway_in_the_middle…, of_each_fault…; `http2` drains |
//! | 2, 3 GOAWAY storms, without a reason, with many refusals | `pains` a_storm_of_goaways…, connections_that_end_after_each_answer… |
//! | 4, FCM node#2943 more streams than SETTINGS allow | `http2` limits, races; `link` a_thousand_devices…; `chaos` counts violations |
//! | 5 the window collapses to 1 after a refusal | `pains` a_window_that_collapses…; `here` refusals_on_four_connections… |
//! | 6, 24 answers that never come, and block a connection | `pains` lost_answers…, a_connection_that_falls_silent… |
//! | 7, 24 TooManyProviderTokenUpdates, a token per request | `pains` too_many_token_updates…; credentials/provider/life.rs |
//! | 8 InternalServerError for ever after a token change | `pains` a_sick_connection…; `here` both of a renewed key |
//! | 9, 19 memory grows with what waits | `pains` beyond_the_window…; overload_backlog.rs, backlog.rs |
//! | 10 a stream closed without an answer, and no detail | `http2` fates; `link` of_each_fault…; `chaos` |
//! | 11 connect timeouts to single addresses | `http2` tls::a_dead_address_does_not_hide_the_others |
//! | 12 no deadline for connecting | `pains` an_address_that_takes_connections_and_says_nothing… |
//! | 13, 20, FCM rpush#607, uniqush#68 idle connections that a NAT forgot | `pains` a_connection_that_a_nat_forgot…; `http2` pings |
//! | 14, 17, FCM a2#14 no view of the pool, no reason visible | `link` of_each_fault… (GOAWAY's words); push.rs (route's view) |
//! | 15 a pool of somebody else's | none: the pool is ours, its rules are pool.rs's tests |
//! | 16 a limit of 0 hangs | config/tests: `connections`, `request_timeout` and `pool` have ranges |
//! | 18 retries at once, none for the network | connect/push/verdict.rs; `pains` connections_that_are_cut_again… |
//! | 20, FCM node#2789 ECONNRESET ends the process or a promise | `pains` connections_that_are_cut_again…; `chaos` |
//! | 21 leaks on ping timeouts | `pains` a_connection_that_falls_silent… (open connections) |
//! | 23, FCM autopush#1393 idle connections closed, or not reaped | `http2` pings::a_connection_that_idles_for_days… |
//! | FCM PyFCM#334 no refresh | credentials/access tests; interop_push_strict.rs a_withdrawn_access_token… |
//! | FCM node#2488, java#994 a session for each call, a thread for each | `link` a_thousand_devices… over one connection |
//! | FCM go#659 CPU after batches were removed | none: a matter of speed, bench/load |
//! | FCM sygnal#133 nested retries | `chaos` (tries of one place: message/life/decide.rs) |

use std::collections::HashMap;

use codecs::jwt::VerifyingKey;
use serde_json::{Value, json};
use sim::push::apns::{ApnsConfig, Key, public_key};
use sim::push::fcm::FcmConfig;
use sim::push::{Config, Seen};
use trunkline_tests::push::{Push, ios};
use trunkline_tests::{Client, SOON, wait_for};

/// Requests that the simulator keeps: all.
const KEEP: usize = 100_000;
/// Messages of one request.
const LINES: usize = 20;

fn push_to(token: &str) -> Value {
    json!({"to": {"devices": [ios(token)]}, "content": {"push": {"title": "Ready"}}})
}

async fn start(name: &str, apns: ApnsConfig, lines: &str) -> Push {
    let services = (apns, FcmConfig::default());
    Push::start(name, services, lines).await.unwrap()
}

fn apns() -> ApnsConfig {
    ApnsConfig {
        common: Config {
            latency_ms: 5,
            last_max: KEEP,
            ..Config::default()
        },
        ..ApnsConfig::default()
    }
}

/// Another key in the route's file, under its name, as a careful tool puts it there.
fn renew(push: &Push) -> VerifyingKey {
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let file = push.key_file();
    let beside = file.with_extension("next");
    std::fs::write(&beside, &pem).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    public_key(&pem).unwrap()
}

fn key(push: &Push, public: VerifyingKey) -> Key {
    let credentials = push.apns.credentials();
    Key::new(credentials.key_id, credentials.team_id, public)
}

/// Sends pushes to the tokens from `first` on; their ids.
async fn send(client: &Client, first: usize, count: usize) -> Vec<(String, String)> {
    let tokens: Vec<String> = (first..first + count)
        .map(|n| format!("{n:064x}"))
        .collect();
    let lines: Vec<Value> = tokens.iter().map(|token| push_to(token)).collect();
    let results = client.ndjson(&lines).await.unwrap().lines();
    let id = |result: &Value| {
        let at = usize::try_from(result["index"].as_u64()?).ok()?;
        Some((result["id"].as_str()?.to_owned(), tokens[at].clone()))
    };
    let ids: Vec<(String, String)> = results.iter().filter_map(id).collect();
    assert_eq!(ids.len(), count);
    ids
}

/// Each sent, and accepted once.
async fn check_all_sent(push: &Push, ids: &[(String, String)]) {
    for (id, token) in ids {
        let sent = push.scene.status(id, "sent").await;
        assert_eq!(push.apns.token(token).accepted, 1, "{sent}");
        assert_eq!(sent["duplicate_possible"], false, "{sent}");
    }
}

fn bearer(seen: &Seen) -> &str {
    seen.header("authorization").unwrap()
}

/// Apple holds a connection to its first key: no connection ever carries two.
fn check_one_key_each(seen: &[Seen]) -> usize {
    let mut first: HashMap<u64, &str> = HashMap::new();
    for seen in seen {
        let known = first.entry(seen.connection).or_insert_with(|| bearer(seen));
        assert_eq!(*known, bearer(seen), "connection {}", seen.connection);
    }
    let mut bearers: Vec<&str> = first.into_values().collect();
    bearers.sort_unstable();
    bearers.dedup();
    bearers.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_renewed_under_load_costs_no_push_and_no_refusal() {
    let push = start(
        "push-renewed",
        apns(),
        "connections = 2\npool = { min = 2 }",
    )
    .await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = async {
        let mut ids = Vec::new();
        while !*stopped.borrow() {
            let some = send(&push.scene.client, ids.len(), LINES).await;
            push.scene.status(&some[LINES - 1].0, "sent").await;
            ids.extend(some);
        }
        ids
    };
    let renewal = async {
        let came = push.apns.until(SOON, |report| report.accepted > 100);
        came.await.unwrap();
        let before = bearer(&push.apns.requests()[0]).to_owned();
        // As Apple's console has it for a while: both are good.
        let public = renew(&push);
        push.apns.accept(key(&push, public.clone()));
        let what = "pushes with the new key, and the old connections gone";
        wait_for(what, SOON, async || {
            let requests = push.apns.requests();
            let renewed = bearer(requests.last()?) != before;
            (renewed && push.apns.report().connections_open == 2).then_some(())
        })
        .await;
        push.apns.renew(key(&push, public));
        let accepted = push.apns.report().accepted;
        let came = push
            .apns
            .until(SOON, |report| report.accepted > accepted + 100);
        came.await.unwrap();
        stop.send(true).unwrap();
    };
    let (ids, ()) = tokio::join!(load, renewal);
    check_all_sent(&push, &ids).await;
    let report = push.apns.report();
    assert_eq!(report.rejected, 0, "{report:?}");
    assert_eq!(check_one_key_each(&push.apns.requests()), 2);
    assert_eq!(push.route("apns").await.unwrap()["state"], "up");
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_wait_for_the_key_that_follows_a_revoked_one_and_nobody_has_to_resume() {
    let push = start(
        "push-revoked",
        apns(),
        "connections = 2\npool = { min = 2 }",
    )
    .await;
    let mut ids = send(&push.scene.client, 0, LINES).await;
    check_all_sent(&push, &ids).await;
    push.apns.revoke(push.apns.credentials().key_id);
    ids.extend(send(&push.scene.client, ids.len(), 100).await);
    wait_for("the route to be stopped", SOON, async || {
        let route = push.route("apns").await.ok()?;
        let links = route["links"].as_array()?;
        let stopped = |link: &Value| link["state"] == "stopped";
        links.iter().any(stopped).then_some(())
    })
    .await;
    for (id, _) in &ids[LINES..] {
        let waits = push.scene.client.message(id).await.unwrap();
        assert_eq!(waits["final"], false, "{waits}");
    }
    let public = renew(&push);
    push.apns.accept(key(&push, public));
    check_all_sent(&push, &ids).await;
    assert_eq!(check_one_key_each(&push.apns.requests()), 2);
}

/// pushy#732 had latencies of minutes. Every third push is refused, and each refusal leaves its connection
/// one stream until a push is accepted.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_on_four_connections_hold_up_no_other_push() {
    let apns = ApnsConfig {
        shrink_on_reject: true,
        ..apns()
    };
    let push = start("push-collapse", apns, "connections = 4\npool = { min = 4 }").await;
    let four = push.apns.until(SOON, |report| report.connections == 4);
    four.await.unwrap();
    let token = |n: usize| match n % 3 {
        0 => format!("b4000000{n:056x}"),
        _ => format!("{n:064x}"),
    };
    let tokens: Vec<String> = (1..=1_500).map(token).collect();
    let lines: Vec<Value> = tokens.iter().map(|token| push_to(token)).collect();
    push.scene.client.ndjson(&lines).await.unwrap();
    let all = push.apns.until(SOON, |report| report.requests == 1_500);
    let report = all.await.unwrap();
    assert_eq!((report.accepted, report.rejected), (1_000, 500));
    assert_eq!(report.stream_limit_violations, 0);
    assert_eq!(report.connections, 4, "none is given up");
    assert_eq!((report.tokens, report.tokens_doubled), (1_500, 0));
}
