//! The event log: `GET /v1/events`, a page at once or a wait for news.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderValue, LINK};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use crate::accept::Gateway;
use crate::accept::answer::{self, Body};
use crate::accept::check::is_event_type;
use crate::accept::list::Parameters;
use crate::accept::problem::Problem;
use crate::accept::router::Asked;
use crate::event::EventKinds;
use crate::store::{EventPage, EventQuery};

/// Longest wait, in seconds (contract.md §2).
pub(crate) const WAIT_MAX: u64 = 30;
/// From the log's beginning: its numbers start at 1.
const AFTER_DEFAULT: u64 = 0;

/// The parameters of `GET /v1/events`.
pub(crate) const KNOWN: [&str; 5] = ["types", "message_id", "after", "wait", "limit"];

/// A page of events, as it is written below.
#[derive(ToSchema)]
#[schema(as = EventPage)]
#[expect(
    dead_code,
    reason = "only its schema is used: the events are JSON already"
)]
pub(crate) struct EventPageView {
    /// As webhooks carry them.
    #[schema(value_type = Vec<Object>)]
    data: Vec<()>,
    /// For `after`; also when there is nothing more yet.
    next_cursor: String,
    has_more: bool,
}

/// Answers `GET /v1/events`.
pub(crate) async fn list(gateway: &Arc<Gateway>, asked: &Asked) -> Result<Response<Body>, Problem> {
    let mut parameters = Parameters::read(asked.parts.uri.query(), &KNOWN);
    let ids = gateway.store.ids();
    let wait = parameters.parsed("wait", "must be 0..30", |text| {
        text.parse().ok().filter(|seconds| *seconds <= WAIT_MAX)
    });
    let kinds = parameters.parsed("types", "must be event types", kinds);
    let message = parameters.parsed("message_id", "must be a message's id", |id| {
        ids.parse_message(id)
    });
    let mut query = EventQuery {
        after: AFTER_DEFAULT,
        tenant: asked.principal.tenant,
        kinds: kinds.unwrap_or_else(EventKinds::defaults),
        message,
        limit: parameters.limit(),
    };
    if !parameters.errors.is_empty() {
        return Err(Problem::of(parameters.errors));
    }
    if let Some(cursor) = parameters.get("after") {
        query.after = read_cursor(cursor, *gateway.store.head().borrow())?;
    }
    let wait = Duration::from_secs(wait.unwrap_or(0));
    let deadline = Instant::now() + wait;
    let page = wait_for(gateway, query, deadline).await;
    respond(asked, query, &page, *gateway.store.head().borrow())
}

/// Reads a cursor: an event's number, at most that of the newest, `head`. A greater one would wait
/// for events that are told to nobody, and then miss them.
///
/// # Errors
/// `invalid_cursor`.
fn read_cursor(text: &str, head: u64) -> Result<u64, Problem> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let after: Option<u64> = text.parse().ok().filter(|_| digits);
    match after {
        Some(after) if after <= head => Ok(after),
        None if !digits => Err(Problem::cursor("after", "must be a next_cursor")),
        _ => {
            let detail = format!("is beyond the log's newest event, which is {head}");
            Err(Problem::cursor("after", detail))
        }
    }
}

/// Reads a page; waits until `deadline` while there is nothing to tell. Cancel safe.
async fn wait_for(gateway: &Gateway, mut query: EventQuery, deadline: Instant) -> EventPage {
    let mut head = gateway.store.head();
    let mut stop = gateway.stop.clone();
    loop {
        // Seen before the read: what comes after it wakes the wait.
        let seen = *head.borrow_and_update();
        let page = gateway.store.events_after(query).await;
        let waiting = page.events.is_empty() && Instant::now() < deadline && !stop.is_stopped();
        if !waiting {
            return page;
        }
        let read_on = page.read_to > query.after;
        query.after = query.after.max(page.read_to);
        if read_on && query.after < seen {
            // The read stopped at its row budget: there is more to look at before waiting.
            continue;
        }
        let news = async {
            tokio::select! {
                changed = head.changed() => changed.is_ok(),
                () = stop.stopped() => false,
            }
        };
        if !matches!(timeout_at(deadline, news).await, Ok(true)) {
            return page;
        }
    }
}

fn respond(
    asked: &Asked,
    query: EventQuery,
    page: &EventPage,
    head: u64,
) -> Result<Response<Body>, Problem> {
    let length: usize = page.events.iter().map(|event| event.json.len() + 1).sum();
    let last = page.events.last().map_or(0, |event| event.event.seq);
    // A full page ends with its last event; otherwise everything up to read_to was looked at.
    let next = if page.events.len() >= query.limit {
        last
    } else {
        last.max(page.read_to).max(query.after)
    };
    let more = next < head;
    let mut body = Vec::with_capacity(length + 64);
    body.extend_from_slice(b"{\"data\":[");
    for (index, event) in page.events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&event.json);
    }
    let tail = format!("],\"next_cursor\":\"{next}\",\"has_more\":{more}}}");
    body.extend_from_slice(tail.as_bytes());
    let mut response = answer::json_bytes(StatusCode::OK, body);
    if more && let Ok(link) = HeaderValue::try_from(link(asked, next)) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

fn link(asked: &Asked, after: u64) -> String {
    let uri = &asked.parts.uri;
    let kept = uri.query().unwrap_or_default().split('&');
    let kept = kept.filter(|pair| !pair.is_empty() && !pair.starts_with("after="));
    let kept: String = kept.map(|pair| format!("{pair}&")).collect();
    format!("<{}?{kept}after={after}>; rel=\"next\"", uri.path())
}

/// The kinds that a comma-separated list names; `None` when one of them is not in the contract.
fn kinds(list: &str) -> Option<EventKinds> {
    let mut kinds = EventKinds(0);
    for word in list.split(',') {
        if !is_event_type(word.trim()) {
            return None;
        }
        kinds = kinds.with(EventKinds::matching(word.trim()));
    }
    Some(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::problem::Code;
    use crate::event::EventKind;

    #[test]
    fn cursors_are_numbers_up_to_the_head() {
        assert_eq!(read_cursor("0", 7), Ok(0));
        assert_eq!(read_cursor("7", 7), Ok(7), "the head itself is a long poll");
        for bad in ["8", "abc", "-1", "+7", " 7", "7.0", "99999999999999999999"] {
            let problem = read_cursor(bad, 7).unwrap_err();
            assert_eq!(problem.code, Code::InvalidCursor, "{bad}");
            assert_eq!(problem.errors[0].parameter.as_deref(), Some("after"));
        }
        let beyond = read_cursor("8", 7).unwrap_err().detail;
        assert!(beyond.ends_with("which is 7"), "{beyond}");
    }

    #[test]
    fn types_are_words_and_families_of_the_contract() {
        let sent = kinds("message.sent, attempt.failed").unwrap();
        assert!(sent.has(EventKind::MessageSent) && sent.has(EventKind::AttemptFailed));
        assert!(!sent.has(EventKind::MessageDelivered));
        assert!(kinds("message.*").unwrap().has(EventKind::MessageDelivered));
        assert_eq!(kinds("route.*"), Some(EventKinds(0)), "known, not made yet");
        assert_eq!(kinds("message.sent,message.gone"), None);
    }
}
