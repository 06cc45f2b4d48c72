//! The listener beside the push service: plain HTTP/1.1 for whoever runs it, and FCM's token endpoint.
//!
//! | request | does |
//! |---|---|
//! | `GET /report` | what was seen, as JSON |
//! | `GET /tokens/{token}` | what became of one token's requests |
//! | `GET /requests` | the last requests, if they are kept |
//! | `POST /goaway?code=0&reason=Shutdown` | GOAWAY on every connection; without `reason` no debug data |
//! | `POST /kill` | resets every connection |
//! | `POST /silence` | says nothing more on any connection, and closes none |
//! | `POST /streams?max=1` | SETTINGS to every connection |
//! | `POST /stall?on=true` | holds answers back, `on=false` lets them go |
//! | `POST /latency?ms=40&jitter_ms=10` | milliseconds before each answer |
//! | `POST /clock?ahead_ms=3600000` | puts the service's clock ahead |
//! | `POST /revoke?key_id=…` | APNs: refuses this key; FCM: refuses every access token given out |
//! | `POST /grants?status=503&error=…` | FCM: refuses every grant so; without `status` no more |
//! | `POST /token` | FCM: the OAuth grant |

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Shared;

/// Connections at once; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 100;

/// Octets of a request's body. Chosen: a grant has 900.
const BODY_OCTETS_MAX: usize = 16 * 1024;

/// What one of the services does beside what both do.
pub(super) trait Own: Send + Sync + 'static {
    /// Answers a POST; `None`: there is no such path.
    fn post(
        &self,
        path: &str,
        query: &Query<'_>,
        body: &[u8],
        shared: &Shared,
    ) -> Option<(u16, Value)>;
}

/// The parameters of a URL or a form.
pub(super) struct Query<'a>(pub(super) &'a str);

impl Query<'_> {
    /// The first value of a name, its escapes undone; `None` if there is none or it is no UTF-8.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let mut pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(found, _)| *found == name)?;
        unescaped(value)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }
}

/// Undoes `%41` and `+`.
fn unescaped(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(octets).ok()
}

/// Serves until it is dropped; connections end with it.
pub(super) async fn serve<S: Own>(listener: TcpListener, own: Arc<S>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                // A failed accept is the peer's trouble: it went away before it was served.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, Arc::clone(&own), Arc::clone(&shared)));
                }
            }
        }
    }
}

async fn connection<S: Own>(stream: TcpStream, own: Arc<S>, shared: Arc<Shared>) {
    let service = service_fn(|request| answer(request, &*own, &shared));
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // Errors are peers that went away.
    drop(served);
}

async fn answer<S: Own>(
    request: Request<Incoming>,
    own: &S,
    shared: &Shared,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    let (path, query) = (
        parts.uri.path(),
        Query(parts.uri.query().unwrap_or_default()),
    );
    let (status, value) = match Limited::new(body, BODY_OCTETS_MAX).collect().await {
        Err(_) => (413, json!({ "error": "the body is too long" })),
        Ok(body) => {
            let done = match parts.method {
                Method::GET => get(path, shared).map(|value| (200, value)),
                Method::POST => post(path, &query, shared)
                    .map(|()| (200, json!({})))
                    .or_else(|| own.post(path, &query, &body.to_bytes(), shared)),
                _ => None,
            };
            done.unwrap_or_else(|| {
                (
                    404,
                    json!({ "error": "no such path, or a parameter is wrong" }),
                )
            })
        }
    };
    let mut answer = Response::new(Full::from(value.to_string()));
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let json = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    Ok(answer)
}

fn get(path: &str, shared: &Shared) -> Option<Value> {
    let counts = &shared.counts;
    match path {
        "/report" => serde_json::to_value(counts.report()).ok(),
        "/requests" => serde_json::to_value(counts.last()).ok(),
        _ => {
            let token = unescaped(path.strip_prefix("/tokens/")?)?;
            serde_json::to_value(counts.token(token.as_bytes())).ok()
        }
    }
}

fn post(path: &str, query: &Query<'_>, shared: &Shared) -> Option<()> {
    match path {
        "/goaway" => {
            let code = query.number("code").unwrap_or(0);
            shared.go_away(code, query.get("reason").as_deref());
        }
        "/kill" => shared.order(|orders| orders.kills += 1),
        "/silence" => shared.order(|orders| orders.silences += 1),
        "/streams" => {
            let most = query.number("max")?;
            shared.order(|orders| orders.streams = most);
        }
        "/stall" => {
            let on = query.number("on")?;
            shared.order(|orders| orders.stalled = on);
        }
        "/latency" => {
            let (base, jitter) = (query.number("ms")?, query.number("jitter_ms").unwrap_or(0));
            shared.order(|orders| (orders.latency_ms, orders.jitter_ms) = (base, jitter));
        }
        "/clock" => shared.set_clock_ahead_ms(query.number("ahead_ms")?),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_gives_its_values_without_escapes() {
        let query = Query("a=1&grant_type=urn%3Aietf%3A+x&bad=%zz&empty=");
        assert_eq!(query.get("grant_type").unwrap(), "urn:ietf: x");
        assert_eq!(query.number::<u32>("a"), Some(1));
        assert_eq!(query.get("bad"), None);
        assert_eq!(query.get("empty").unwrap(), "");
        assert_eq!(query.get("none"), None);
    }
}
