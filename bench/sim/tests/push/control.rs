//! Orders over HTTP reach the connections, as those in process do.

use std::net::{Ipv4Addr, SocketAddr};

use sim::push::Config;
use sim::push::apns::{ApnsConfig, KEY_ID as OWN_KEY, TEAM_ID as OWN_TEAM};

use codecs::jwt::{Algorithm, SigningKey};

use super::client::{Client, PATIENCE, apns, bearer, http, token, unix_seconds};

#[tokio::test]
async fn each_order_does_what_its_path_says() {
    let (apns, bearer) = apns(ApnsConfig {
        common: Config {
            control: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            ..Config::default()
        },
        ..ApnsConfig::default()
    })
    .await;
    let at = apns.control().unwrap();
    let order = async |path: &str| http(at, "POST", path, "").await.0;
    let client = Client::connect(&apns).await;
    assert_eq!(client.push(&bearer, &token("")).await.unwrap().status, 200);
    client.until_limit(1_000).await;
    assert_eq!(order("/streams?max=3").await, 200);
    client.until_limit(3).await;
    assert_eq!(order("/stall?on=true").await, 200);
    let held = client.push_later(&bearer, &token("b")).await;
    let taken = apns.until(PATIENCE, |report| report.accepted == 2);
    taken.await.unwrap();
    assert_eq!(order("/goaway?code=0&reason=Bad%22day").await, 200);
    let gone = apns.until(PATIENCE, |report| report.go_aways == 1);
    gone.await.unwrap();
    assert_eq!(order("/stall?on=false").await, 200);
    assert_eq!(held.await.unwrap().status, 200);
    let client = Client::connect(&apns).await;
    assert_eq!(order("/clock?ahead_ms=3700000").await, 200);
    let expired = client.push(&bearer, &token("")).await.unwrap();
    assert_eq!(expired.member("reason"), "ExpiredProviderToken");
    assert_eq!(order("/clock?ahead_ms=0").await, 200);
    assert_eq!(order("/latency?ms=1&jitter_ms=1").await, 200);
    assert_eq!(order("/revoke?key_id=KEY1234567").await, 200);
    let revoked = client.push(&bearer, &token("")).await.unwrap();
    assert_eq!(revoked.member("reason"), "InvalidProviderToken");
    for path in ["/streams", "/stall?on=2", "/revoke", "/token", "/nothing"] {
        assert_eq!(order(path).await, 404, "{path}");
    }
    assert_eq!(order("/kill").await, 200);
    let cut = apns.until(PATIENCE, |report| report.cuts == 1);
    cut.await.unwrap();
    let (_, report) = http(at, "GET", "/report", "").await;
    assert_eq!(
        (&report["accepted"], &report["go_aways"]),
        (&2.into(), &1.into())
    );
    let (_, one) = http(at, "GET", &format!("/tokens/{}", token("b")), "").await;
    assert_eq!((&one["accepted"], &one["answered"]), (&1.into(), &1.into()));
    let (_, requests) = http(at, "GET", "/requests", "").await;
    assert_eq!(requests.as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn the_key_that_is_made_at_the_start_signs_for_every_app() {
    let (apns, _) = apns(ApnsConfig::default()).await;
    let key = SigningKey::from_pem(Algorithm::Es256, &apns.credentials().p8).unwrap();
    let bearer = bearer(&key, OWN_KEY, OWN_TEAM, unix_seconds());
    let client = Client::connect(&apns).await;
    assert_eq!(client.push(&bearer, &token("")).await.unwrap().status, 200);
}
