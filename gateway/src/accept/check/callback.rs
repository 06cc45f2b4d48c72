//! The callback of a request: an endpoint of the tenant, by name or by a registered URL.

use super::{Check, below};
use crate::accept::CallbackTarget;
use crate::accept::request::Request;
use crate::event::EventKinds;
use crate::message::EndpointIx;

/// Types of `callback.types` (chosen: more than the contract has families), and octets of its URL.
const CALLBACK_TYPES_MAX: usize = 20;
const CALLBACK_URL_MAX: usize = 2_048;

/// Event types of contract.md §3 that this version does not make: a callback may name them.
const LATER_EVENTS: [&str; 28] = [
    "message.scheduled",
    "message.queued",
    "message.read",
    "message.canceled",
    "message.fallback_started",
    "attempt.sent",
    "attempt.receipt",
    "inbound.received",
    "recipient.opted_out",
    "recipient.opted_in",
    "recipient.help_requested",
    "device.unregistered",
    "batch.completed",
    "job.completed",
    "route.up",
    "route.down",
    "route.degraded",
    "route.paused",
    "route.resumed",
    "route.drained",
    "endpoint.recovered",
    "endpoint.test",
    "suppression.created",
    "suppression.deleted",
    "inbound.*",
    "recipient.*",
    "device.*",
    "route.*",
];

impl<'a> Check<'a> {
    pub(super) fn callback(&mut self, request: &Request<'_>) -> (Option<EndpointIx>, String) {
        let Some(callback) = &request.callback else {
            return (None, String::new());
        };
        let endpoint = match (callback.endpoint_id.as_deref(), callback.url.as_deref()) {
            (Some(_), Some(_)) => {
                self.wrong("/callback/url", "exclusive", "excludes endpoint_id");
                None
            }
            (None, None) => {
                self.wrong("/callback", "required", "needs endpoint_id or url");
                None
            }
            (Some(id), None) => self.callback_endpoint(id),
            (None, Some(url)) => self.callback_url(url),
        };
        let types = callback.types.as_deref().unwrap_or_default();
        if callback.types.is_some() && !(1..=CALLBACK_TYPES_MAX).contains(&types.len()) {
            self.wrong("/callback/types", "out_of_range", "must have 1..20 types");
            return (endpoint, String::new());
        }
        for (index, word) in types.iter().enumerate() {
            if !is_event_type(word) {
                let at = format!("/callback/types/{index}");
                self.wrong(&at, "unknown_event_type", "");
            }
        }
        let words: Vec<&str> = types.iter().map(|word| &**word).collect();
        (endpoint, words.join(" "))
    }

    fn targets(&self) -> impl Iterator<Item = &'a CallbackTarget> + use<'a> {
        let tenant = self.origin.tenant;
        self.door
            .callbacks
            .iter()
            .filter(move |target| target.tenant == tenant)
    }

    fn callback_endpoint(&mut self, id: &str) -> Option<EndpointIx> {
        let names = &self.door.names;
        let found = self
            .targets()
            .find(|target| names.endpoint(target.endpoint) == id);
        if found.is_none() {
            let detail = "not an endpoint of this tenant";
            self.wrong("/callback/endpoint_id", "unknown_endpoint", detail);
        }
        found.map(|target| target.endpoint)
    }

    fn callback_url(&mut self, url: &str) -> Option<EndpointIx> {
        // Without user info, fragment or dot segments, what the prefix allows is what is called.
        let plain = url.len() <= CALLBACK_URL_MAX
            && url
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'@' | b'#' | b'\\'))
            && !url.contains("/..");
        let found = self
            .targets()
            .find(|target| plain && target.url_prefixes.iter().any(|prefix| below(url, prefix)));
        if found.is_none() {
            let detail = "no endpoint of this tenant has registered a prefix of it";
            self.wrong("/callback/url", "url_not_registered", detail);
        }
        found.map(|target| target.endpoint)
    }
}

/// Whether the contract has this event type or family.
pub(crate) fn is_event_type(word: &str) -> bool {
    EventKinds::matching(word) != EventKinds(0)
        || LATER_EVENTS.contains(&word)
        || word == "attempt.*"
}
