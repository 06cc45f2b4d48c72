//! Router: which endpoint a request asks for; the frame of every answer.
//!
//! The table is also what the OpenAPI document is made from.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{ACCEPT, EXPECT, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use crate::accept::answer::{self, Body};
use crate::accept::auth::{self, Principal};
use crate::accept::list::Parameters;
use crate::accept::problem::{Code, Problem};
use crate::accept::{
    Gateway, Scope, batch, body, events, list, preview, receipts, resume, single, suppressions,
    timeline, view,
};

/// What can be asked for, in the order of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    SendMessage,
    Preview,
    ListMessages,
    MessageById,
    Timeline,
    AppReceipts,
    SendBatch,
    ListEvents,
    ListRoutes,
    RouteByName,
    Orphans,
    Resume,
    ListSuppressions,
    Suppress,
    Unsuppress,
    CheckSuppression,
    ImportSuppressions,
    OpenApi,
    /// None of them.
    Nothing,
}

impl Endpoint {
    /// How many there are.
    pub(crate) const COUNT: usize = TABLE.len() + 1;

    /// The pattern of its path, for metrics.
    pub(crate) fn label(self) -> &'static str {
        TABLE.get(self as usize).map_or("other", |entry| entry.path)
    }
}

/// One endpoint of the API.
pub(crate) struct Entry {
    pub(crate) endpoint: Endpoint,
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// The scope it needs; `None`: no key.
    pub(crate) scope: Option<Scope>,
    /// The query parameters that it knows; others are refused.
    pub(crate) queries: &'static [&'static str],
    pub(crate) summary: &'static str,
}

/// The API.
pub(crate) static TABLE: [Entry; 18] = [
    Entry {
        endpoint: Endpoint::SendMessage,
        method: Method::POST,
        path: "/v1/messages",
        scope: Some(Scope::MessagesWrite),
        queries: &[],
        summary: "Accept a message: 202 when it is on disk",
    },
    Entry {
        endpoint: Endpoint::Preview,
        method: Method::POST,
        path: "/v1/messages/preview",
        scope: Some(Scope::MessagesRead),
        queries: &[],
        summary: "What a message would become; nothing is stored",
    },
    Entry {
        endpoint: Endpoint::ListMessages,
        method: Method::GET,
        path: "/v1/messages",
        scope: Some(Scope::MessagesRead),
        queries: &list::KNOWN,
        summary: "List messages, newest first",
    },
    Entry {
        endpoint: Endpoint::MessageById,
        method: Method::GET,
        path: "/v1/messages/{id}",
        scope: Some(Scope::MessagesRead),
        queries: &[],
        summary: "One message; its content only with messages:content",
    },
    Entry {
        endpoint: Endpoint::Timeline,
        method: Method::GET,
        path: "/v1/messages/{id}/timeline",
        scope: Some(Scope::MessagesRead),
        queries: &[],
        summary: "Everything that happened to a message",
    },
    Entry {
        endpoint: Endpoint::AppReceipts,
        method: Method::POST,
        path: "/v1/messages/{id}/receipts",
        scope: Some(Scope::ReceiptsWrite),
        queries: &[],
        summary: "What an app tells of a push: 200 when it is on disk",
    },
    Entry {
        endpoint: Endpoint::SendBatch,
        method: Method::POST,
        path: "/v1/batches",
        scope: Some(Scope::MessagesWrite),
        queries: &["atomic"],
        summary: "Accept many messages, as JSON or as NDJSON",
    },
    Entry {
        endpoint: Endpoint::ListEvents,
        method: Method::GET,
        path: "/v1/events",
        scope: Some(Scope::EventsRead),
        queries: &events::KNOWN,
        summary: "Read the event log; waits for news when asked to",
    },
    Entry {
        endpoint: Endpoint::ListRoutes,
        method: Method::GET,
        path: "/v1/routes",
        scope: Some(Scope::RoutesRead),
        queries: &[],
        summary: "The routes as they stand",
    },
    Entry {
        endpoint: Endpoint::RouteByName,
        method: Method::GET,
        path: "/v1/routes/{name}",
        scope: Some(Scope::RoutesRead),
        queries: &[],
        summary: "One route as it stands",
    },
    Entry {
        endpoint: Endpoint::Orphans,
        method: Method::GET,
        path: "/v1/routes/{name}/orphans",
        scope: Some(Scope::RoutesRead),
        queries: &[],
        summary: "A route's receipts that never found their message; for operators",
    },
    Entry {
        endpoint: Endpoint::Resume,
        method: Method::POST,
        path: "/v1/routes/{name}/resume",
        scope: Some(Scope::RoutesOperate),
        queries: &[],
        summary: "Try binds that wait or have stopped again, at once",
    },
    Entry {
        endpoint: Endpoint::ListSuppressions,
        method: Method::GET,
        path: "/v1/suppressions",
        scope: Some(Scope::SuppressionsRead),
        queries: &suppressions::KNOWN,
        summary: "List who is not to be sent to, newest first",
    },
    Entry {
        endpoint: Endpoint::Suppress,
        method: Method::POST,
        path: "/v1/suppressions",
        scope: Some(Scope::SuppressionsWrite),
        queries: &[],
        summary: "Have somebody not sent to: 201 when it is on disk, 200 when it was",
    },
    Entry {
        endpoint: Endpoint::Unsuppress,
        method: Method::DELETE,
        path: "/v1/suppressions/{id}",
        scope: Some(Scope::SuppressionsWrite),
        queries: &suppressions::DELETE_KNOWN,
        summary: "Have somebody sent to again: 204 when it is on disk",
    },
    Entry {
        endpoint: Endpoint::CheckSuppression,
        method: Method::POST,
        path: "/v1/suppressions/check",
        scope: Some(Scope::SuppressionsRead),
        queries: &[],
        summary: "Whether a message would be kept back, and by what",
    },
    Entry {
        endpoint: Endpoint::ImportSuppressions,
        method: Method::POST,
        path: "/v1/suppressions/import",
        scope: Some(Scope::SuppressionsWrite),
        queries: &[],
        summary: "Have everybody in a CSV file not be sent to",
    },
    Entry {
        endpoint: Endpoint::OpenApi,
        method: Method::GET,
        path: "/openapi.json",
        scope: None,
        queries: &[],
        summary: "This document",
    },
];

/// Endpoints of contract.md §2 that this version lacks: method and path.
const LATER: [(&str, &str); 32] = [
    ("POST", "/v1/messages/cancel"),
    ("POST", "/v1/messages/{id}/cancel"),
    ("PATCH", "/v1/messages/{id}"),
    ("GET", "/v1/batches/{id}"),
    ("GET", "/v1/batches/{id}/results"),
    ("POST", "/v1/batches/{id}/cancel"),
    ("GET", "/v1/events/{id}"),
    ("POST", "/v1/events/replay"),
    ("GET", "/v1/endpoints"),
    ("POST", "/v1/endpoints"),
    ("GET", "/v1/endpoints/{id}"),
    ("PATCH", "/v1/endpoints/{id}"),
    ("DELETE", "/v1/endpoints/{id}"),
    ("POST", "/v1/endpoints/{id}/test"),
    ("POST", "/v1/endpoints/{id}/rotate-secret"),
    ("POST", "/v1/endpoints/{id}/enable"),
    ("POST", "/v1/endpoints/{id}/disable"),
    ("GET", "/v1/endpoints/{id}/deliveries"),
    ("POST", "/v1/endpoints/{id}/recover"),
    ("GET", "/v1/routes/{name}/stats"),
    ("POST", "/v1/routes/{name}/pause"),
    ("POST", "/v1/routes/{name}/drain"),
    ("POST", "/v1/routes/{name}/test"),
    ("GET", "/v1/consents/{ref}"),
    ("PUT", "/v1/consents/{ref}"),
    ("GET", "/v1/jobs/{id}"),
    ("GET", "/v1/stats"),
    ("GET", "/v1/audit"),
    ("POST", "/v1/keys"),
    ("GET", "/v1/keys"),
    ("DELETE", "/v1/keys/{id}"),
    ("POST", "/v1/config/reload"),
];

/// A request whose endpoint and key are known.
pub(crate) struct Asked {
    pub(crate) parts: Parts,
    /// The path's variable part, decoded; empty when it has none.
    pub(crate) name: String,
    /// Who asks. For endpoints without a scope it is an operator's without any.
    pub(crate) principal: Principal,
}

impl Asked {
    /// Whether the client asks for NDJSON.
    pub(crate) fn wants_ndjson(&self) -> bool {
        ranges(&self.parts.headers).any(|range| range.eq_ignore_ascii_case(answer::NDJSON))
    }

    /// Whether the client asks for CSV.
    pub(crate) fn wants_csv(&self) -> bool {
        ranges(&self.parts.headers).any(|range| range.eq_ignore_ascii_case(answer::CSV))
    }

    /// Whether policy refusals are to be errors (`Prefer: handling=strict`, RFC 7240 §4.4).
    pub(crate) fn strict(&self) -> bool {
        let all = self.parts.headers.get_all("prefer").iter();
        all.filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split([',', ';']))
            .any(|one| one.trim().eq_ignore_ascii_case("handling=strict"))
    }
}

/// Answers one request. Every answer, good or bad, carries the request's id.
pub(crate) async fn answer<B>(gateway: Arc<Gateway>, request: Request<B>) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let started = gateway.door.clock.instant();
    let id = gateway.request_ids.next(gateway.door.clock.now());
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let head = parts.method == Method::HEAD;
    let found = find(&parts.method, &path);
    let endpoint = found
        .as_ref()
        .map_or(Endpoint::Nothing, |found| found.0.endpoint);
    // Who waits for 100 Continue has sent nothing yet, and need not.
    let sent = !parts.headers.contains_key(EXPECT);
    let mut body = Some(body);
    let answered = match found {
        Ok((entry, name)) => endpoint_answer(&gateway, entry, name, parts, &mut body).await,
        Err(problem) => Err(problem),
    };
    if let (Err(problem), Some(body)) = (&answered, &mut body)
        && sent
        && problem.code != Code::RequestTimeout
    {
        body::drain(body).await;
    }
    let mut response = match answered {
        Ok(response) => response,
        Err(problem) => answer::problem(&problem, &path, id.to_str().unwrap_or_default()),
    };
    response.headers_mut().insert("trunkline-request-id", id);
    if head {
        answer::without_body(&mut response);
    }
    let took = gateway
        .door
        .clock
        .instant()
        .saturating_duration_since(started);
    gateway.metrics.request(endpoint, response.status(), took);
    response
}

/// Answers what was found. The body is left where it is unless it is read by somebody else.
async fn endpoint_answer<B>(
    gateway: &Arc<Gateway>,
    entry: &'static Entry,
    name: String,
    parts: Parts,
    body: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    acceptable(&parts.headers, entry.endpoint)?;
    let principal = match entry.scope {
        // It is no key, and opens nothing but what its endpoint finds for it.
        Some(_) if is_app(entry, &parts.headers) => Principal::nobody(),
        Some(scope) => auth::authenticate(&gateway.door, &parts.headers, scope)?,
        None => Principal::nobody(),
    };
    if entry.scope.is_some() && entry.queries.is_empty() {
        let unknown = Parameters::read(parts.uri.query(), &[]);
        if !unknown.errors.is_empty() {
            return Err(Problem::of(unknown.errors));
        }
    }
    let asked = Asked {
        parts,
        name,
        principal,
    };
    match entry.endpoint {
        Endpoint::SendMessage => single::send(gateway, &asked, body).await,
        Endpoint::Preview => preview::preview(gateway, &asked, body).await,
        Endpoint::SendBatch => batch::send(gateway, asked, body).await,
        Endpoint::ListMessages => list::messages(gateway, &asked).await,
        Endpoint::MessageById => view::message_by_id(gateway, &asked).await,
        Endpoint::Timeline => timeline::of_message(gateway, &asked).await,
        Endpoint::AppReceipts => receipts::take(gateway, &asked, body).await,
        Endpoint::ListEvents => events::list(gateway, &asked).await,
        Endpoint::ListRoutes => view::routes(gateway),
        Endpoint::RouteByName => view::route(gateway, &asked.name),
        Endpoint::Orphans => view::orphans(gateway, &asked),
        Endpoint::Resume => resume::resume(gateway, &asked, body).await,
        Endpoint::ListSuppressions => suppressions::list(gateway, &asked).await,
        Endpoint::Suppress => suppressions::add(gateway, &asked, body).await,
        Endpoint::Unsuppress => suppressions::delete(gateway, &asked).await,
        Endpoint::CheckSuppression => suppressions::check(gateway, &asked, body).await,
        Endpoint::ImportSuppressions => suppressions::import::import(gateway, &asked, body).await,
        Endpoint::OpenApi => Ok(answer::json_bytes(
            hyper::StatusCode::OK,
            gateway.openapi.clone(),
        )),
        Endpoint::Nothing => Err(not_found(&asked.name)),
    }
}

/// Whether an app comes with the token of a push.
fn is_app(entry: &Entry, headers: &HeaderMap) -> bool {
    entry.endpoint == Endpoint::AppReceipts && receipts::token(headers).is_some()
}

/// Finds an endpoint and its path's variable part.
pub(crate) fn find(method: &Method, path: &str) -> Result<(&'static Entry, String), Problem> {
    // RFC 9110 §9.3.2: the same as GET but for the body.
    let method = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let mut allowed = Vec::new();
    for entry in &TABLE {
        if let Some(name) = matches(entry.path, path) {
            if entry.method == *method {
                return Ok((entry, name));
            }
            allowed.push(entry.method.as_str());
            if entry.method == Method::GET {
                allowed.push("HEAD");
            }
        }
    }
    let later = LATER
        .iter()
        .find(|(verb, pattern)| *verb == method.as_str() && matches(pattern, path).is_some());
    if let Some((verb, pattern)) = later {
        let detail = format!("{verb} {pattern} is in the contract, but not in this version");
        return Err(Problem::new(Code::NotAvailableHere, detail));
    }
    if allowed.is_empty() {
        return Err(not_found(path));
    }
    let allowed = allowed.join(", ");
    Err(
        Problem::new(Code::MethodNotAllowed, format!("allowed here: {allowed}"))
            .with_header("allow", allowed),
    )
}

fn not_found(path: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at {path}"))
}

/// Matches a path against a pattern with at most one variable; returns the variable, decoded.
fn matches(pattern: &str, path: &str) -> Option<String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return (pattern == path).then(String::new);
    };
    let (_, after) = rest.split_once('}')?;
    let name = path.strip_prefix(before)?.strip_suffix(after)?;
    if name.is_empty() || name.contains('/') {
        return None;
    }
    decode(name, false)
}

/// Decodes percent-encoding (RFC 3986 §2.1), and `+` as a space in forms; `None` when it is broken.
pub(crate) fn decode(text: &str, form: bool) -> Option<String> {
    if !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high << 4 | low).ok()?
            }
            b'+' if form => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The media ranges that the client takes, without parameters; those of weight 0 it does not take
/// (RFC 9110 §12.5.1).
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(ACCEPT).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let none = |parameter: &str| {
                let weight = parameter.strip_prefix(['q', 'Q']).map(str::trim_start);
                let weight = weight.and_then(|rest| rest.strip_prefix('='));
                weight.is_some_and(|weight| weight.trim().parse() == Ok(0.0))
            };
            (!parts.any(none)).then_some(media)
        })
}

/// Refuses clients that take none of our media types.
fn acceptable(headers: &HeaderMap, endpoint: Endpoint) -> Result<(), Problem> {
    if !headers.contains_key(ACCEPT) {
        return Ok(());
    }
    let known: &[&str] = match endpoint {
        Endpoint::SendBatch => &["*/*", "application/*", "application/json", answer::NDJSON],
        Endpoint::ListSuppressions => &["*/*", "application/*", "application/json", answer::CSV],
        _ => &["*/*", "application/*", "application/json"],
    };
    let takes = ranges(headers)
        .any(|range| range.is_empty() || known.iter().any(|one| range.eq_ignore_ascii_case(one)));
    if takes {
        Ok(())
    } else {
        let detail = match endpoint {
            Endpoint::SendBatch => "answers are application/json or application/x-ndjson",
            Endpoint::ListSuppressions => "answers are application/json or text/csv",
            _ => "answers are application/json",
        };
        Err(Problem::new(Code::NotAcceptable, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_endpoints_order() {
        for (index, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.endpoint as usize, index);
        }
        assert_eq!(Endpoint::Nothing.label(), "other");
        assert_eq!(Endpoint::Nothing as usize + 1, Endpoint::COUNT);
    }

    #[test]
    fn paths_are_found_with_their_variable() {
        let (entry, name) = find(&Method::GET, "/v1/messages/msg_1").unwrap();
        assert_eq!((entry.endpoint, &*name), (Endpoint::MessageById, "msg_1"));
        let (entry, name) = find(&Method::GET, "/v1/messages/msg_1/timeline").unwrap();
        assert_eq!((entry.endpoint, &*name), (Endpoint::Timeline, "msg_1"));
        let (_, name) = find(&Method::GET, "/v1/routes/carrier%20a").unwrap();
        assert_eq!(name, "carrier a");
        let (entry, _) = find(&Method::POST, "/v1/messages").unwrap();
        assert_eq!(entry.endpoint, Endpoint::SendMessage);
    }

    #[test]
    fn unknown_paths_are_404_and_wrong_methods_405() {
        for path in [
            "/",
            "/v1",
            "/v1/messages/",
            "/v2/messages",
            "/v1/messages/a/b",
            "/v1/nope",
        ] {
            assert_eq!(
                find(&Method::GET, path).err().unwrap().code,
                Code::NotFound,
                "{path}"
            );
        }
        let problem = find(&Method::DELETE, "/v1/messages").err().unwrap();
        assert_eq!(problem.code, Code::MethodNotAllowed);
        assert_eq!(problem.header.unwrap().1, "POST, GET, HEAD");
    }

    #[test]
    fn endpoints_of_the_contract_that_are_not_built_say_so() {
        for (method, path) in [
            (Method::POST, "/v1/messages/msg_1/cancel"),
            (Method::POST, "/v1/messages/cancel"),
            (Method::PATCH, "/v1/messages/msg_1"),
            (Method::POST, "/v1/routes/carrier-a/pause"),
        ] {
            let problem = find(&method, path).err().unwrap();
            assert_eq!(problem.code, Code::NotAvailableHere, "{path}");
            assert_eq!(
                (problem.code.name(), problem.status().as_u16()),
                ("not_available", 404)
            );
            assert!(problem.detail.starts_with(method.as_str()));
        }
    }

    #[test]
    fn percent_encoding_is_decoded_or_refused() {
        assert_eq!(decode("a%2Bb+c", true).unwrap(), "a+b c");
        assert_eq!(decode("a+b", false).unwrap(), "a+b");
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decode(bad, true), None, "{bad}");
        }
    }

    #[test]
    fn accept_is_honoured() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT, "text/css".parse().unwrap());
            headers.append(ACCEPT, value.parse().unwrap());
            acceptable(&headers, Endpoint::SendBatch).is_ok()
        };
        assert!(takes("*/*") && takes("text/html, application/json;q=0.5"));
        assert!(
            takes("application/x-ndjson")
                && takes("")
                && acceptable(&HeaderMap::new(), Endpoint::OpenApi).is_ok()
        );
        let mut ndjson = HeaderMap::new();
        ndjson.append(ACCEPT, answer::NDJSON.parse().unwrap());
        assert!(acceptable(&ndjson, Endpoint::SendBatch).is_ok());
        let refused = acceptable(&ndjson, Endpoint::ListRoutes).unwrap_err();
        assert_eq!(refused.code, Code::NotAcceptable);
        assert!(!takes("text/html") && !takes("application/xml;q=1"));
        assert!(!takes("application/json;q=0") && !takes("*/*; q=0.000"));
        assert!(takes("application/json;q=0.001") && takes("Application/X-NDJSON"));
    }
}
