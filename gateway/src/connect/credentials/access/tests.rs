//! Access tokens with their task: an endpoint of ours in virtual time, and a real one over loopback.

use std::collections::VecDeque;
use std::convert::Infallible;

use bytes::Bytes;
use codecs::jwt::Jws;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::*;
use crate::connect::credentials::tests::account;
use crate::stop::Stopper;
use crate::store::tests::TempDir;

const START: UnixMs = UnixMs(1_800_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const GOOGLE: &str = "https://oauth2.googleapis.com/token";

type Script = Arc<Mutex<VecDeque<(u16, &'static str)>>>;

/// A clock, a file, and an endpoint that answers by a script, then with tokens.
struct World {
    dir: TempDir,
    clock: Clock,
    script: Script,
    /// When it was asked, and by which key.
    asked: Arc<Mutex<Vec<(UnixMs, String)>>>,
    _stopper: Stopper,
    stop: Stop,
}

impl World {
    fn new() -> Self {
        let (stopper, stop) = Stopper::new();
        let world = Self {
            dir: TempDir::new(),
            clock: Clock::manual(START),
            script: Script::default(),
            asked: Arc::default(),
            _stopper: stopper,
            stop,
        };
        world.write(&account("shop-1", "one", GOOGLE));
        world
    }

    fn write(&self, text: &str) {
        std::fs::write(self.dir.0.join("fcm.json"), text).unwrap();
    }

    fn answers(&self, answers: impl IntoIterator<Item = (u16, &'static str)>) {
        self.script.lock().extend(answers);
    }

    fn spec(&self) -> AccountSpec {
        AccountSpec {
            name: "fcm-shop".to_owned(),
            source: Source::File(self.dir.0.join("fcm.json")),
            token_url: None,
            extra_roots: Vec::new(),
        }
    }

    fn start(&self) -> Access {
        let (clock, script, asked) = (self.clock.clone(), self.script.clone(), self.asked.clone());
        let post: Post = Arc::new(move |uri, form| {
            assert_eq!(uri, GOOGLE);
            let assertion = form.split_once("&assertion=").unwrap().1;
            let key = Jws::parse(assertion).unwrap().key_id().unwrap().to_owned();
            asked.lock().push((clock.now(), key));
            let (status, body) = script
                .lock()
                .pop_front()
                .unwrap_or((200, r#"{"access_token":"t","expires_in":3600}"#));
            let reply = Reply {
                status,
                body: Bytes::from_static(body.as_bytes()),
                retry_after: (status == 503).then_some(MINUTE * 2),
                date: None,
            };
            let answer = match status {
                0 => Err(body.to_owned()),
                _ => Ok(reply),
            };
            Box::pin(async move { answer })
        });
        let (access, task) = Access::open_with(self.spec(), &self.clock, post).unwrap();
        tokio::spawn(task.run(self.stop.clone()));
        access
    }

    async fn pass(&self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.clock
                .set(self.clock.now().plus(Duration::from_secs(1)));
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn times(&self) -> usize {
        self.asked.lock().len()
    }
}

const REFUSED: (u16, &str) = (
    400,
    r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature.\u001b[31m"}"#,
);

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_ahead_and_a_crowd_with_the_old_one_is_answered_with_the_new() {
    let world = World::new();
    let access = world.start();
    assert_eq!(access.state().bearer, None, "not asked for yet");
    world.pass(MINUTE).await;
    let first = access.state().bearer.unwrap();
    assert_eq!(first.authorization, "Bearer t");
    assert!(first.authorization.is_sensitive());
    world.pass(MINUTE * 46).await;
    let second = access.state().bearer.unwrap();
    assert_eq!((second.serial, world.times()), (2, 2));
    for _ in 0..1_000 {
        assert_eq!(access.expired(1), Again::With(second.clone()));
    }
    // And of the new one, by a thousand: one question.
    world.pass(MINUTE * 2).await;
    for _ in 0..1_000 {
        assert_eq!(access.expired(2), Again::Wait);
    }
    world.pass(MINUTE).await;
    assert_eq!(
        (access.state().bearer.unwrap().serial, world.times()),
        (3, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn the_old_token_serves_until_its_end_while_the_endpoint_is_down() {
    let world = World::new();
    world.answers([(200, r#"{"access_token":"t","expires_in":3600}"#)]);
    world.answers([(0, "connection refused"); 1_000]);
    let access = world.start();
    world.pass(MINUTE * 55).await;
    let state = access.state();
    assert!(state.usable(world.clock.now()).is_some());
    let refusal = state.refusal.as_ref().unwrap();
    assert!(!refusal.permanent);
    assert_eq!(&*refusal.text, "token endpoint: connection refused");
    let times = world.times();
    assert!(
        (3..=60).contains(&times),
        "{times}: neither given up nor in a loop"
    );
    world.pass(MINUTE * 6).await;
    let state = access.state();
    assert!(state.usable(world.clock.now()).is_none());
    assert_eq!(
        state.stopped(world.clock.now()),
        None,
        "it may come back by itself"
    );
    world.script.lock().clear();
    world.pass(MINUTE * 6).await;
    let state = access.state();
    assert!(state.usable(world.clock.now()).is_some() && state.refusal.is_none());
}

#[test]
fn what_an_endpoint_said_is_told_as_far_as_it_said_anything() {
    let said = |status, body: &[u8]| said(&read_grant(status, body).unwrap_err());
    let refused = br#"{"error":"invalid_grant","error_description":"Bad \"JWT\""}"#;
    let told = r#"400 invalid_grant: Bad \"JWT\""#;
    assert_eq!(said(400, refused), told);
    assert_eq!(
        said(400, br#"{"error":"invalid_grant"}"#),
        "400 invalid_grant"
    );
    assert_eq!(said(503, b""), "503");
    let redirect = said(302, b"");
    assert!(
        redirect.starts_with("302, which is not followed"),
        "{redirect}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_retry_after_asks_for_is_kept() {
    let world = World::new();
    world.answers([(503, "busy"); 3]);
    let access = world.start();
    world.pass(MINUTE * 7).await;
    let asked = world.asked.lock().clone();
    assert_eq!(asked.len(), 4);
    for pair in asked.windows(2) {
        assert!(pair[1].0.since(pair[0].0) >= MINUTE * 2);
    }
    assert!(access.state().bearer.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_refused_account_stops_its_routes_and_a_new_file_starts_them_at_once() {
    let world = World::new();
    world.answers([REFUSED; 100]);
    let access = world.start();
    world.pass(MINUTE * 5).await;
    let state = access.state();
    let refusal = state.stopped(world.clock.now()).unwrap();
    assert!(
        refusal
            .text
            .contains("invalid_grant: Invalid JWT Signature."),
        "{}",
        refusal.text
    );
    assert!(!refusal.text.contains('\u{1b}'), "a log is no terminal");
    assert_eq!(world.times(), 1, "not asked again for ten minutes");
    world.script.lock().clear();
    world.write(&account("shop-1", "two", GOOGLE));
    world.pass(Duration::from_secs(15)).await;
    let state = access.state();
    assert_eq!(state.stopped(world.clock.now()), None);
    assert_eq!(state.bearer.unwrap().generation, 2);
    assert_eq!(world.asked.lock().last().unwrap().1, "two");
}

#[tokio::test(start_paused = true)]
async fn a_bad_new_file_changes_nothing_but_the_words() {
    let world = World::new();
    let access = world.start();
    world.pass(MINUTE).await;
    let first = access.state().bearer;
    for (bad, what) in [
        ("{\"private_key\":\"s3cret\"}".to_owned(), "`type`"),
        (account("shop-2", "two", GOOGLE), "another project"),
        (
            account(
                "shop-1",
                "two",
                "https://oauth2.googleapis.com.evil.example/token",
            ),
            "oauth2.googleapis.com;",
        ),
    ] {
        world.write(&bad);
        world.pass(LOOK_EVERY * 3).await;
        let state = access.state();
        let words = state.file.unwrap();
        assert!(words.contains(what) && words.contains("in use"), "{words}");
        assert!(!words.contains("s3cret") && !words.contains("evil"));
        assert_eq!(state.bearer, first);
    }
    world.write(&account("shop-1", "one", GOOGLE));
    world.pass(LOOK_EVERY * 3).await;
    assert_eq!((access.state().file, access.state().bearer), (None, first));
}

#[tokio::test]
async fn a_file_may_name_google_alone_and_the_config_anything() {
    let read = |token_uri: &str, config: Option<&str>| {
        let source = Source::Text(account("shop-1", "one", token_uri).into());
        let config: Option<Uri> = config.map(|uri| uri.parse().unwrap());
        read_account(&source, config.as_ref()).map(|(_, endpoint)| endpoint.to_string())
    };
    assert_eq!(read(GOOGLE, None).unwrap(), GOOGLE);
    for elsewhere in [
        "https://evil.example/token",
        "https://oauth2.googleapis.com@evil.example/token",
        "https://oauth2.googleapis.com:8443/token",
        "http://127.0.0.1:80/token",
    ] {
        let why = read(elsewhere, None).unwrap_err();
        assert!(why.contains("token_url") && !why.contains("evil"), "{why}");
    }
    let local = "http://127.0.0.1:9/token";
    assert_eq!(read(GOOGLE, Some(local)).unwrap(), local);
}

/// Answers every grant that the account's key has signed for this audience.
async fn endpoint(listener: tokio::net::TcpListener) {
    let key = ServiceAccount::parse(account("shop-1", "one", GOOGLE).as_bytes()).unwrap();
    let key = key.key.verifying();
    while let Ok((stream, _)) = listener.accept().await {
        let key = key.clone();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let key = key.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let form = std::str::from_utf8(&body).unwrap();
                let assertion = form.split_once("&assertion=").unwrap().1;
                let claims = Jws::parse(assertion).unwrap().verify(&key).unwrap();
                assert_eq!(claims["aud"], GOOGLE);
                assert_eq!(
                    claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
                    3_600
                );
                let answer = r#"{"access_token":"real","expires_in":3599,"token_type":"Bearer"}"#;
                Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from(answer))))
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        served.await.unwrap();
    }
}

#[tokio::test]
async fn a_real_endpoint_is_asked_over_http_and_its_clock_is_seen() {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let served = tokio::spawn(endpoint(listener));
    let spec = AccountSpec {
        token_url: Some(url.parse().unwrap()),
        ..world.spec()
    };
    let (access, task) = Access::open(spec, &Clock::system()).unwrap();
    assert_eq!(access.project_id(), "shop-1");
    let mut states = access.subscribe();
    let running = tokio::spawn(task.run(world.stop.clone()));
    let wait = states.wait_for(|state| state.bearer.is_some());
    let state = tokio::time::timeout(MINUTE, wait)
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert_eq!(state.bearer.unwrap().authorization, "Bearer real");
    running.abort();
    served.abort();
}

#[tokio::test]
async fn an_endpoint_at_a_private_address_takes_the_configs_word() {
    // What a name of a file may lead to is checked when connecting, whatever DNS says.
    let post = ask::over_http(None, &[], Clock::system()).unwrap();
    let why = post("https://127.0.0.1:9/token".parse().unwrap(), String::new())
        .await
        .unwrap_err();
    assert!(why.contains("private or reserved"), "{why}");
}
