//! The stage over real HTTP on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::combinators::BoxBody;
use hyper::Response;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use super::*;

pub(super) type Body = BoxBody<Bytes, Infallible>;
type Reply = Arc<dyn Fn(&Seen) -> Response<Body> + Send + Sync>;

/// A server that keeps what it saw; ends with its test's runtime.
pub(super) struct Server {
    pub(super) at: SocketAddr,
    pub(super) seen: watch::Receiver<Vec<Seen>>,
}

impl Server {
    pub(super) async fn start(
        reply: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let (keep, seen) = watch::channel(Vec::new());
        let (keep, reply): (_, Reply) = (Arc::new(keep), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (keep, reply) = (keep.clone(), reply.clone());
                tokio::spawn(async move {
                    let service =
                        service_fn(|request| answer(request, keep.clone(), reply.clone()));
                    let server = auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                    server
                        .serve_connection(TokioIo::new(stream), service)
                        .await
                        .ok();
                });
            }
        });
        Self { at, seen }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks", self.at)
    }

    pub(super) async fn saw(&mut self, count: usize) -> Vec<Seen> {
        let wait = self.seen.wait_for(|seen| seen.len() >= count);
        let seen = tokio::time::timeout(Duration::from_secs(20), wait).await;
        seen.expect("test: in time").unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    keep: Arc<watch::Sender<Vec<Seen>>>,
    reply: Reply,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let seen = Seen {
        uri: parts.uri,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    };
    let response = reply(&seen);
    keep.send_modify(|all| all.push(seen));
    Ok(response)
}

pub(super) fn status(status: u16) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::new()).boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

pub(super) fn start(
    log: &Arc<TestLog>,
    config: &Config,
) -> (Stopper, Webhooks, tokio::task::JoinHandle<()>) {
    let rules = Rules {
        allow_http: config.allow_http,
        allow_private: config.allow_private.clone(),
    };
    let clock = Clock::system();
    let post = post::over_http(rules, &config.extra_roots, clock.clone()).unwrap();
    let (stage, webhooks) = open_with(config, log.log(), post, &clock).unwrap();
    let (stopper, stop) = Stopper::new();
    (stopper, webhooks, tokio::spawn(stage.run(stop)))
}

/// Looks until `done`; the real clock drives, so it looks again each few milliseconds.
pub(super) async fn until(
    webhooks: &Webhooks,
    mut done: impl FnMut(&EndpointView) -> bool,
) -> EndpointView {
    for _ in 0..4_000 {
        let view = webhooks.endpoint(EndpointIx(0)).unwrap();
        if done(&view) {
            return view;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("test: {:?}", webhooks.view());
}

#[tokio::test]
async fn a_post_is_signed_and_complete() {
    let mut server = Server::start(|_| status(204)).await;
    let log = TestLog::new();
    let mut one = endpoint(0, &server.url(), batches(100));
    one.secrets
        .push(Secret::parse("whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4").unwrap());
    one.headers = vec![("Authorization".to_owned(), "Bearer x".to_owned())];
    let (stopper, webhooks, stage) = start(&log, &config(vec![one]));
    log.publish(0, 2);
    let seen = server.saw(1).await.remove(0);
    until(&webhooks, |view| {
        view.cursor == 2 && view.last_success.is_some()
    })
    .await;
    stopper.stop();
    stage.await.unwrap();
    assert_eq!(seen.uri.path(), "/hooks");
    assert_eq!(seen.events(), [1, 2]);
    assert_eq!(seen.header("content-type"), "application/json");
    assert_eq!(seen.header("authorization"), "Bearer x");
    assert_eq!(seen.header("trunkline-attempt"), "1");
    assert!(seen.header("user-agent").starts_with("trunkline/"));
    let (id, at) = (seen.header("webhook-id"), seen.header("webhook-timestamp"));
    let now = Clock::system().now().0 / 1_000;
    for secret in [SECRET, "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4"] {
        let signer = Signer::new(Secret::parse(secret).unwrap());
        let signatures = seen.header("webhook-signature");
        signer
            .verify(id, at, signatures, &seen.body, now, 60)
            .unwrap();
    }
}

#[tokio::test]
async fn redirects_are_failures_and_nobody_follows_them() {
    let other = Server::start(|_| status(200)).await;
    let location = other.url();
    let mut server = Server::start(move |_| {
        let mut response = status(307);
        response
            .headers_mut()
            .insert("location", location.parse().unwrap());
        response
    })
    .await;
    let log = TestLog::new();
    let (stopper, webhooks, stage) = start(&log, &config(vec![endpoint(0, &server.url(), None)]));
    log.publish(0, 1);
    server.saw(1).await;
    let view = until(&webhooks, |view| view.retries == 1).await;
    assert_eq!(
        view.last_error.map(|error| error.1).as_deref(),
        Some("HTTP 307")
    );
    stopper.stop();
    stage.await.unwrap();
    assert!(other.seen.borrow().is_empty());
    assert_eq!(log.state(0).cursor, 1);
}

#[tokio::test]
async fn private_addresses_and_plain_http_are_refused() {
    let server = Server::start(|_| status(200)).await;
    let log = TestLog::new();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/", server.at.port());
        let mut closed = config(vec![endpoint(0, &url, None)]);
        closed.allow_private.clear();
        let (stopper, webhooks, stage) = start(&log, &closed);
        log.publish(0, 1);
        let view = until(&webhooks, |view| view.last_error.is_some()).await;
        let error = view.last_error.unwrap().1;
        assert!(error.contains("private or reserved"), "{error}");
        stopper.stop();
        stage.await.unwrap();
        log.states.lock().clear();
    }
    assert!(server.seen.borrow().is_empty());
    let mut strict = config(vec![endpoint(0, &server.url(), None)]);
    strict.allow_http = false;
    let refused = open_with(
        &strict,
        log.log(),
        Arc::new(|_| unreachable!()),
        &Clock::system(),
    );
    assert!(matches!(
        refused.err(),
        Some(OpenError::Endpoint {
            mistake: Mistake::Url(_),
            ..
        })
    ));
}

#[tokio::test]
async fn an_endless_answer_is_not_read() {
    let mut server =
        Server::start(|_| Response::new(Endless(Bytes::from(vec![b'x'; 16 * 1024])).boxed())).await;
    let log = TestLog::new();
    let (stopper, webhooks, stage) = start(&log, &config(vec![endpoint(0, &server.url(), None)]));
    log.publish(0, 3);
    server.saw(3).await;
    until(&webhooks, |view| view.cursor == 3 && view.in_flight == 0).await;
    stopper.stop();
    stage.await.unwrap();
}

/// A body without end.
struct Endless(Bytes);

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}
