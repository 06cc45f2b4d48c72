//! FCM does what its rules and faults say.

use codecs::fcm::{ServiceAccount, grant_form};
use codecs::jwt::{Claims, SigningKey};
use serde_json::{Value, json};
use sim::push::fcm::{Extra, Fcm, FcmConfig, REFUSALS};

use super::client::{Answer, Client, PATIENCE, http, unix_seconds};

const PATH: &str = "/v1/projects/trunkline-sim/messages:send";
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// What an assertion says; the parts that tests change.
#[derive(Clone)]
struct Assertion<'a> {
    key_id: &'a str,
    issuer: &'a str,
    scope: &'a str,
    audience: &'a str,
    from: u64,
    to: u64,
}

async fn grant(fcm: &Fcm, key: &SigningKey, assertion: &Assertion<'_>) -> (u16, Value) {
    let claims = Claims::Grant {
        issuer: assertion.issuer,
        scope: assertion.scope,
        audience: assertion.audience,
        issued_at: assertion.from,
        expires_at: assertion.to,
    };
    let form = grant_form(&key.sign(assertion.key_id, &claims).unwrap());
    http(fcm.control().unwrap(), "POST", "/token", &form).await
}

/// An assertion that the account's file makes.
fn right(account: &ServiceAccount) -> Assertion<'_> {
    let now = unix_seconds();
    Assertion {
        key_id: &account.key_id,
        issuer: &account.client_email,
        scope: SCOPE,
        audience: &account.token_uri,
        from: now,
        to: now + 3_600,
    }
}

/// An FCM, and the header of an access token that it gave out.
async fn started(config: FcmConfig) -> (Fcm, String) {
    let fcm = Fcm::start(config).await.unwrap();
    let account = ServiceAccount::parse(fcm.service_account().as_bytes()).unwrap();
    assert_eq!(&*account.token_uri, fcm.token_uri());
    let (status, access) = grant(&fcm, &account.key, &right(&account)).await;
    assert_eq!((status, &access["expires_in"]), (200, &json!(3_600)));
    let header = format!("Bearer {}", access["access_token"].as_str().unwrap());
    (fcm, header)
}

async fn send(client: &Client, bearer: &str, message: Value) -> Result<Answer, h2::Error> {
    let fields = [
        ("authorization", bearer),
        ("content-type", "application/json"),
    ];
    let body = json!({ "message": message }).to_string();
    client.post(PATH, &fields, &body).await
}

#[tokio::test]
async fn a_grant_is_checked_claim_by_claim() {
    let (fcm, _) = started(FcmConfig::default()).await;
    let account = ServiceAccount::parse(fcm.service_account().as_bytes()).unwrap();
    let right = right(&account);
    let changed = |change: fn(&mut Assertion<'_>)| {
        let mut assertion = right.clone();
        change(&mut assertion);
        assertion
    };
    let google = changed(|right| right.audience = "https://oauth2.googleapis.com/token");
    assert_eq!(grant(&fcm, &account.key, &google).await.0, 200);
    let none = ("invalid_grant", "account not found");
    let time = ("invalid_grant", "timeframe");
    let wrong = [
        (changed(|right| right.key_id = "other"), none),
        (changed(|right| right.issuer = "a@b"), none),
        (
            changed(|right| right.audience = "http://x/"),
            ("invalid_grant", "audience"),
        ),
        (
            changed(|right| right.scope = "email"),
            ("invalid_scope", "scope"),
        ),
        (changed(|right| right.to += 1), time),
        (changed(|right| right.from += 100), time),
        (
            changed(|right| (right.from, right.to) = (right.from - 3_600, right.from - 1)),
            time,
        ),
    ];
    for (assertion, (error, description)) in wrong {
        let (status, body) = grant(&fcm, &account.key, &assertion).await;
        let said = body["error_description"].as_str().unwrap();
        assert_eq!((status, &body["error"]), (400, &error.into()), "{said}");
        assert!(said.contains(description), "{said}");
    }
}

#[tokio::test]
async fn a_grant_is_a_form_of_its_type_and_may_be_refused_on_order() {
    let (fcm, _) = started(FcmConfig::default()).await;
    let account = ServiceAccount::parse(fcm.service_account().as_bytes()).unwrap();
    let at = fcm.control().unwrap();
    let (status, body) = http(at, "POST", "/token", "grant_type=password").await;
    assert_eq!(
        (status, &body["error"]),
        (400, &"unsupported_grant_type".into())
    );
    let form = grant_form("a.b.c");
    let (_, body) = http(at, "POST", "/token", &form).await;
    assert_eq!(body["error"], "invalid_grant");
    let right = right(&account);
    fcm.refuse_grants(Some((503, "internal_failure")));
    assert_eq!(grant(&fcm, &account.key, &right).await.0, 503);
    let order = http(at, "POST", "/grants", "").await;
    assert_eq!(order.0, 200);
    assert_eq!(grant(&fcm, &account.key, &right).await.0, 200);
    assert_eq!(fcm.stop().await.grants, 2);
}

#[tokio::test]
async fn a_message_is_accepted_with_a_name_until_its_access_token_ends() {
    let (fcm, bearer) = started(FcmConfig::default()).await;
    let client = Client::connect(&fcm).await;
    let answer = send(&client, &bearer, json!({ "token": "abc:APA" }))
        .await
        .unwrap();
    client.until_limit(100).await;
    assert_eq!(answer.status, 200);
    let name = answer.member("name");
    assert!(
        name.starts_with("projects/trunkline-sim/messages/0:"),
        "{name}"
    );
    for target in [
        json!({ "topic": "news" }),
        json!({ "condition": "'a' in topics || 'b' in topics" }),
        json!({ "fid": "fid1" }),
    ] {
        let answer = send(&client, &bearer, target).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    assert_eq!(
        (fcm.token("abc:APA").answered, fcm.token("news").accepted),
        (1, 1)
    );
    let fields = [("authorization", &*bearer)];
    let only = r#"{"message":{"token":"dry"},"validate_only":true}"#;
    assert_eq!(client.post(PATH, &fields, only).await.unwrap().status, 200);
    assert_eq!(fcm.token("dry").accepted, 0);
    let other = "/v1/projects/other/messages:send";
    assert_eq!(client.post(other, &fields, only).await.unwrap().status, 403);
    assert_eq!(
        client
            .post("/v1/other", &fields, only)
            .await
            .unwrap()
            .status,
        404
    );
    let none = client.post(PATH, &[], only).await.unwrap();
    assert_eq!(none.status, 401);
    let invalid = send(
        &client,
        &bearer,
        json!({ "token": "a", "data": { "n": 1 } }),
    )
    .await;
    let invalid = codecs::fcm::Answer::read(400, invalid.unwrap().body.as_bytes());
    assert_eq!(&*invalid.violations[0].field, "message.data[0].value");
    fcm.set_clock_ahead_ms(3_600_000);
    let ended = send(&client, &bearer, json!({ "token": "abc" }))
        .await
        .unwrap();
    assert_eq!(ended.status, 401);
    fcm.set_clock_ahead_ms(0);
    fcm.revoke();
    let revoked = send(&client, &bearer, json!({ "token": "abc" }))
        .await
        .unwrap();
    assert_eq!(revoked.status, 401);
}

#[tokio::test]
async fn every_code_comes_when_a_token_asks_for_it() {
    let (fcm, bearer) = started(FcmConfig::default()).await;
    let client = Client::connect(&fcm).await;
    for row in REFUSALS {
        let token = format!("{}-x", row.prefix);
        let answer = send(&client, &bearer, json!({ "token": token }))
            .await
            .unwrap();
        assert_eq!(answer.status, row.http, "{row:?}");
        let after = answer
            .headers
            .get("retry-after")
            .map(|value| value.to_str().unwrap());
        match row.extra {
            Extra::RetryAfter(seconds) => assert_eq!(after, Some(&*seconds.to_string())),
            Extra::RetryAfterDate(_) => assert!(after.unwrap().ends_with(" GMT")),
            _ => assert_eq!(after, None, "{row:?}"),
        }
        assert_eq!(fcm.token(&token).rejected, 1, "{row:?}");
    }
    let topic = send(&client, &bearer, json!({ "topic": "42900003" })).await;
    assert_eq!(topic.unwrap().status, 429);
}

#[tokio::test]
async fn links_fail_as_those_of_apns_do() {
    let (fcm, bearer) = started(FcmConfig::default()).await;
    let client = Client::connect(&fcm).await;
    let refused = send(&client, &bearer, json!({ "token": "4e5e0000" })).await;
    assert_eq!(
        refused.unwrap_err().reason(),
        Some(h2::Reason::REFUSED_STREAM)
    );
    let gone = send(&client, &bearer, json!({ "token": "60a00000" })).await;
    let gone = gone.unwrap_err();
    assert!(
        gone.is_go_away() && gone.to_string().contains("Shutdown"),
        "{gone}"
    );
    let client = Client::connect(&fcm).await;
    let cut = send(&client, &bearer, json!({ "token": "c0700001" })).await;
    assert!(cut.unwrap_err().is_io());
    let closed = fcm.until(PATIENCE, |report| report.connections_open == 0);
    closed.await.unwrap();
    let counted = fcm.token("c0700001");
    assert_eq!((counted.accepted, counted.unanswered), (1, 1));
}
