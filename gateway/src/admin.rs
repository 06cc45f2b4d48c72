//! Admin: its own listener, never the public one. `/livez`, `/readyz`, `/metrics`.
//!
//! | path | answers | means |
//! |---|---|---|
//! | `/livez` | 200 | the process runs |
//! | `/readyz` | 200, 503 with the reason | the store takes messages and the gateway is not stopping |
//! | `/metrics` | 200 | Prometheus text |
//!
//! A carrier that is down does not make the gateway unready: what it accepts then is queued.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::stop::Stop;
use crate::store::{Refused, Store};

/// Connections at a time: scrapers and probes (chosen).
const CONNECTIONS: usize = 64;
/// A request's head has to be there within this time (chosen).
const HEAD: Duration = Duration::from_secs(10);
/// How often the recorder folds its histograms, which otherwise grow until they are scraped.
const UPKEEP: Duration = Duration::from_secs(5);
/// Pause after a failed accept (chosen).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the admin listener tells.
pub struct Admin {
    store: Store,
    metrics: PrometheusHandle,
    /// Its own: it goes on answering while the gateway stops.
    stopping: Stop,
}

impl Admin {
    /// `stopping` makes it unready; it is not what ends it.
    #[must_use]
    pub fn new(store: Store, metrics: PrometheusHandle, stopping: Stop) -> Self {
        Self {
            store,
            metrics,
            stopping,
        }
    }

    fn answer<B: Body>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allow);
            return response;
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => ready(self.stopping.is_stopped(), self.store.refusing()),
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.render());
                // Prometheus text exposition format 0.0.4.
                let media = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, media);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "/livez, /readyz, /metrics\n"),
        }
    }
}

fn ready(stopping: bool, refusing: Option<Refused>) -> Response<Full<Bytes>> {
    match (stopping, refusing) {
        (true, _) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: shutting down\n",
        ),
        // A full backlog drains by itself, and high classes are still taken.
        (false, None | Some(Refused::Overloaded)) => text(StatusCode::OK, "ready\n"),
        (false, Some(refused)) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {refused}\n"),
        ),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let media = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

/// Serves the admin paths on `listener` until `stop`, which comes after the public API's.
///
/// # Errors
/// None today: a failed accept is logged and tried again.
pub async fn serve(admin: Arc<Admin>, listener: TcpListener, mut stop: Stop) -> io::Result<()> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut upkeep = interval(UPKEEP);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accept = async {
            let permit = free
                .clone()
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, _)| (stream, permit))
        };
        let accepted = tokio::select! {
            () = stop.stopped() => return Ok(()),
            _ = upkeep.tick() => {
                admin.metrics.run_upkeep();
                continue;
            }
            accepted = accept => accepted,
        };
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept an admin connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (admin, mut stop) = (admin.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = admin.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            let serving = http.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                ended = serving => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "admin connection ended");
                    }
                }
                () = stop.stopped() => {}
            }
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_follows_the_store_and_the_stop() {
        let status = |stopping, refusing| ready(stopping, refusing).status().as_u16();
        assert_eq!(status(false, None), 200);
        assert_eq!(status(false, Some(Refused::Overloaded)), 200);
        assert_eq!(status(false, Some(Refused::DiskFull)), 503);
        assert_eq!(status(false, Some(Refused::Closed)), 503);
        assert_eq!(status(true, None), 503);
    }
}
