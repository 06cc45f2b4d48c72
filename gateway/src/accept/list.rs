//! Lists: filters, limits and opaque cursors; `GET /v1/messages`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{HeaderValue, LINK};
use hyper::{Response, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::accept::answer::{self, Body};
use crate::accept::check::{NOT_RFC3339, is_tag, timestamp};
use crate::accept::problem::{Code, FieldError, Problem};
use crate::accept::router::{Asked, decode};
use crate::accept::shape::NOT_IN_THIS_VERSION;
use crate::accept::view::{self, MessageView};
use crate::accept::{Gateway, Scope};
use crate::clock::UnixMs;
use crate::message::life::Status;
use crate::message::{Class, Ids, MessageId, Phone};
use crate::names::Names;
use crate::outcome::Reason;
use crate::store::Query;

/// Items of a page when the client does not say, and at most (contract.md §2 "Lists").
pub(crate) const LIMIT_DEFAULT: usize = 50;
/// The most.
pub(crate) const LIMIT_MAX: usize = 1_000;
/// Cursors live so long (contract.md §2 "Lists").
const CURSOR_LIFE_MS: u64 = 24 * 3_600 * 1_000;
/// Octets of a cursor: its form, the id it goes on below, when it was made, what it was made for, and
/// a checksum over these.
const CURSOR_LEN: usize = CURSOR_SUM + 4;
const CURSOR_SUM: usize = 1 + 8 + 8 + 8;
const CURSOR_FORM: u8 = 2;

/// A page of messages.
#[derive(Serialize, ToSchema)]
#[schema(as = MessagePage)]
pub(crate) struct PageView<'a> {
    data: Vec<MessageView<'a>>,
    /// Opaque; lives 24 hours.
    next_cursor: Option<String>,
    has_more: bool,
}

/// The parameters of a query, decoded, in the order they came.
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    pub(crate) errors: Vec<FieldError>,
}

impl Parameters {
    /// Reads a query string; parameters other than `known` and such that come twice are errors.
    pub(crate) fn read(query: Option<&str>, known: &[&str]) -> Self {
        let mut read = Self {
            pairs: Vec::new(),
            errors: Vec::new(),
        };
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|p| !p.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) else {
                read.errors
                    .push(FieldError::parameter(name, "not_decodable", ""));
                continue;
            };
            if !known.contains(&&*name) {
                read.errors
                    .push(FieldError::parameter(&name, "unknown_parameter", ""));
            } else if read.get(&name).is_some() {
                read.errors
                    .push(FieldError::parameter(&name, "duplicate_parameter", ""));
            } else {
                read.pairs.push((name, value));
            }
        }
        read
    }

    /// A parameter's value; an empty one is as good as none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|pair| pair.0 == name);
        found.map(|pair| &*pair.1).filter(|value| !value.is_empty())
    }

    /// A parameter read by `read`; an error with `expected` when that fails.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = read(self.get(name)?);
        if parsed.is_none() {
            self.errors
                .push(FieldError::parameter(name, "invalid", expected));
        }
        parsed
    }

    /// Refuses a value that the contract has and this version lacks.
    fn later(&mut self, name: &str, code: Code) {
        let error = FieldError::parameter(name, code.name(), NOT_IN_THIS_VERSION);
        self.errors.push(error.alone(code));
    }

    /// `limit`.
    pub(crate) fn limit(&mut self) -> usize {
        let limit = self.parsed("limit", "must be 1..1000", |text| {
            text.parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        });
        limit.unwrap_or(LIMIT_DEFAULT)
    }
}

/// The parameters of `GET /v1/messages`.
pub(crate) const KNOWN: [&str; 13] = [
    "status",
    "class",
    "channel",
    "to",
    "client_ref",
    "tag",
    "batch_id",
    "route",
    "reason",
    "since",
    "until",
    "limit",
    "cursor",
];

/// Statuses of contract.md §4 that no message of this version has.
const LATER_STATUSES: [&str; 4] = ["accepted", "scheduled", "read", "canceled"];

/// Reads `status`, as messages show it: `sending` is a view of some that are queued, and `queued` are
/// the others (contract.md §4).
fn status(p: &mut Parameters) -> (Option<Status>, Option<bool>) {
    let word = p.get("status").unwrap_or_default().to_owned();
    if LATER_STATUSES.contains(&&*word) {
        p.later("status", Code::NotAvailable);
        return (None, None);
    }
    if word == "sending" {
        return (Some(Status::Queued), Some(true));
    }
    let status = p.parsed("status", "must be a status", Status::from_name);
    let queued = status == Some(Status::Queued);
    (status, queued.then_some(false))
}

/// Checks `channel`: there is one in this version.
fn channel(p: &mut Parameters) {
    match p.get("channel") {
        Some("push") => p.later("channel", Code::NotAvailable),
        Some("email" | "rcs") => p.later("channel", Code::ChannelNotEnabled),
        _ => {
            let sms = |word: &str| (word == "sms").then_some(());
            p.parsed("channel", "must be sms", sms);
        }
    }
}

/// Reads the filters of `GET /v1/messages`.
fn query(parameters: &mut Parameters, ids: Ids, names: &Names) -> Query {
    let p = parameters;
    channel(p);
    let (status, sending) = status(p);
    Query {
        tenant: None,
        status,
        sending,
        class: p.parsed("class", "must be a class", Class::from_name),
        // A plus that was not encoded reads as a space.
        to: p.parsed("to", "must be E.164", |text| {
            Phone::parse(text).or_else(|| Phone::from_digits(text.strip_prefix(' ')?.as_bytes()))
        }),
        client_ref: p.get("client_ref").map(str::to_owned),
        tag: p.parsed("tag", "must be a tag", |tag| {
            is_tag(tag).then(|| tag.to_owned())
        }),
        batch: p.parsed("batch_id", "must be a batch's id", |id| ids.parse_batch(id)),
        route: p.parsed("route", "must be a route's name", |name| {
            names.route_ix(name)
        }),
        reason: p.parsed("reason", "must be a reason's code", Reason::from_code),
        since: p.parsed("since", NOT_RFC3339, timestamp),
        until: p.parsed("until", NOT_RFC3339, timestamp),
        sent_from: None,
        before: None,
        limit: p.limit(),
    }
}

/// Answers `GET /v1/messages`.
pub(crate) async fn messages(
    gateway: &Arc<Gateway>,
    asked: &Asked,
) -> Result<Response<Body>, Problem> {
    let mut parameters = Parameters::read(asked.parts.uri.query(), &KNOWN);
    let (ids, names) = (gateway.store.ids(), &gateway.door.names);
    let mut query = query(&mut parameters, ids, names);
    query.tenant = asked.principal.tenant;
    if !parameters.errors.is_empty() {
        return Err(Problem::of(parameters.errors));
    }
    let now = gateway.door.clock.now();
    // What a cursor was made for: all but limit and cursor themselves (AIP-158).
    let made_for = purpose(&narrowed(&query));
    if let Some(cursor) = parameters.get("cursor") {
        query.before = Some(read_cursor(cursor, made_for, now)?);
    }
    let page = gateway.store.find(query).await;
    let next_cursor = page.next.map(|next| write_cursor(next, made_for, now));
    let content = asked.principal.scopes.has(Scope::MessagesContent);
    let records = page.records.iter();
    let view = PageView {
        data: records
            .map(|record| view::message(&record.message, &record.life, ids, names, content))
            .collect(),
        has_more: next_cursor.is_some(),
        next_cursor,
    };
    let mut response = answer::json(StatusCode::OK, &view)?;
    if let Some(cursor) = &view.next_cursor {
        let link = next_link(asked, cursor);
        if let Ok(link) = HeaderValue::try_from(link) {
            response.headers_mut().insert(LINK, link);
        }
    }
    Ok(response)
}

/// `Link: <…>; rel="next"` (RFC 8288): the same request with another cursor.
pub(crate) fn next_link(asked: &Asked, cursor: &str) -> String {
    let uri = &asked.parts.uri;
    let kept = uri.query().unwrap_or_default().split('&');
    let kept = kept.filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let mut link = format!("<{}?", uri.path());
    for pair in kept {
        link.push_str(pair);
        link.push('&');
    }
    link.push_str("cursor=");
    link.push_str(cursor);
    link.push_str(">; rel=\"next\"");
    link
}

/// What narrows a list: all but where a page begins and ends.
fn narrowed(query: &Query) -> Query {
    Query {
        limit: 0,
        before: None,
        ..query.clone()
    }
}

/// What a cursor was made for: a list's filters. Debug names every field, so that a later filter is
/// part of it without being added here.
pub(crate) fn purpose(filters: &impl std::fmt::Debug) -> [u8; 8] {
    let digest = Sha256::digest(format!("{filters:?}"));
    let mut half = [0; 8];
    half.copy_from_slice(&digest[..8]);
    half
}

/// A cursor that goes on below an id.
pub(crate) fn write_cursor(next: MessageId, made_for: [u8; 8], now: UnixMs) -> String {
    let mut bytes = Vec::with_capacity(CURSOR_LEN);
    bytes.push(CURSOR_FORM);
    bytes.extend_from_slice(&next.0.to_be_bytes());
    bytes.extend_from_slice(&now.0.to_be_bytes());
    bytes.extend_from_slice(&made_for);
    bytes.extend_from_slice(&checksum(&bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Against slips, not against forgers: a cursor reaches nothing that its filters and key do not.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Reads one.
///
/// # Errors
/// `invalid_cursor`.
pub(crate) fn read_cursor(
    text: &str,
    made_for: [u8; 8],
    now: UnixMs,
) -> Result<MessageId, Problem> {
    let refuse = |detail| Problem::cursor("cursor", detail);
    let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let bytes: [u8; CURSOR_LEN] = bytes
        .try_into()
        .map_err(|_| refuse("not a cursor of this list"))?;
    let number = |at: usize| {
        let mut octets = [0; 8];
        octets.copy_from_slice(&bytes[at..at + 8]);
        octets
    };
    let (told, sum) = bytes.split_at(CURSOR_SUM);
    if bytes[0] != CURSOR_FORM || checksum(told) != sum {
        return Err(refuse("not a cursor of this list"));
    }
    if number(17) != made_for {
        return Err(refuse(
            "the other parameters must be those that the cursor came with",
        ));
    }
    if now.0.saturating_sub(u64::from_be_bytes(number(9))) > CURSOR_LIFE_MS {
        return Err(refuse("the cursor is older than 24 hours"));
    }
    Ok(MessageId(u64::from_be_bytes(number(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::check::tests::{NOW, names};
    use std::time::Duration;

    fn read(text: &str) -> (Query, Vec<(String, &'static str)>) {
        let mut parameters = Parameters::read(Some(text), &KNOWN);
        let query = query(&mut parameters, Ids::new(7), &names());
        let errors = parameters.errors.into_iter();
        (
            query,
            errors.map(|e| (e.parameter.unwrap(), e.code)).collect(),
        )
    }

    #[test]
    fn every_filter_is_read() {
        let batch = Ids::new(7).batch(MessageId(99)).to_string();
        let (query, errors) = read(&format!(
            "status=sent&class=otp&channel=sms&to=%2B46701234567&client_ref=a+b%2Fc&tag=x&batch_id={batch}\
             &route=carrier-b&reason=no_route&since=2026-11-21T08:00:00Z&until=2026-11-22T08:00:00.5Z&limit=7"
        ));
        assert_eq!(errors, []);
        assert_eq!(query.status, Some(Status::Sent));
        assert_eq!(query.to, Phone::parse("+46701234567"));
        assert_eq!(query.client_ref.as_deref(), Some("a b/c"));
        assert_eq!(query.batch, Some(MessageId(99)));
        assert_eq!(query.reason, Some(Reason::NoRoute));
        assert!(query.since < query.until && query.since.is_some());
        assert_eq!(query.limit, 7);
        assert_eq!(read("to=+46701234567").0.to, Phone::parse("+46701234567"));
        assert_eq!(read("").0.limit, LIMIT_DEFAULT);
    }

    #[test]
    fn sending_and_queued_are_told_apart_as_messages_show_them() {
        let of = |text: &str| (read(text).0.status, read(text).0.sending);
        assert_eq!(of("status=sending"), (Some(Status::Queued), Some(true)));
        assert_eq!(of("status=queued"), (Some(Status::Queued), Some(false)));
        assert_eq!(of("status=sent"), (Some(Status::Sent), None));
    }

    #[test]
    fn all_bad_parameters_are_told() {
        let (_, errors) =
            read("stauts=sent&status=gone&limit=0&to=1&since=now&class=otp&class=otp&tag=%zz");
        let owned = |name: &str, code| (name.to_owned(), code);
        assert_eq!(
            errors,
            [
                owned("stauts", "unknown_parameter"),
                owned("class", "duplicate_parameter"),
                owned("tag", "not_decodable"),
                owned("status", "invalid"),
                owned("to", "invalid"),
                owned("since", "invalid"),
                owned("limit", "invalid"),
            ]
        );
        assert_eq!(read("channel=fax").1, [owned("channel", "invalid")]);
        for (later, code) in [
            ("channel=push", "not_available"),
            ("channel=rcs", "channel_not_enabled"),
            ("status=canceled", "not_available"),
        ] {
            let name = later.split('=').next().unwrap_or_default();
            assert_eq!(read(later).1, [owned(name, code)]);
        }
        assert_eq!(read("limit=1001").1, [owned("limit", "invalid")]);
    }

    #[test]
    fn cursors_go_with_their_filters_and_age() {
        let (sent, _) = read("status=sent&limit=1");
        let (more, _) = read("status=sent&limit=500");
        let (other, _) = read("status=failed");
        let cursor = write_cursor(MessageId(42), purpose(&narrowed(&sent)), NOW);
        assert_eq!(
            read_cursor(&cursor, purpose(&narrowed(&more)), NOW),
            Ok(MessageId(42))
        );
        let code = |result: Result<MessageId, Problem>| result.unwrap_err().code;
        assert_eq!(
            code(read_cursor(&cursor, purpose(&narrowed(&other)), NOW)),
            Code::InvalidCursor
        );
        let late = NOW.plus(Duration::from_secs(86_401));
        assert_eq!(
            code(read_cursor(&cursor, purpose(&narrowed(&sent)), late)),
            Code::InvalidCursor
        );
        for bad in ["", "x", "AAAA", "!!!!", &cursor[1..]] {
            assert_eq!(
                code(read_cursor(bad, purpose(&narrowed(&sent)), NOW)),
                Code::InvalidCursor
            );
        }
        // Whatever single character is changed, it is another page's or nobody's: refused.
        for place in 0..cursor.len() {
            for other in "ABQZaz09-_=%".chars() {
                let mut changed: Vec<char> = cursor.chars().collect();
                if std::mem::replace(&mut changed[place], other) == other {
                    continue;
                }
                let changed: String = changed.into_iter().collect();
                let read = read_cursor(&changed, purpose(&narrowed(&sent)), NOW);
                assert_eq!(code(read), Code::InvalidCursor, "{changed}");
            }
        }
    }
}
