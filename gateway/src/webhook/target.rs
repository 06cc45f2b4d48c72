//! The target: an endpoint as its owner configured it, checked and ready to be posted to.

use bytes::Bytes;
use codecs::webhook::{Secret, Signer};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use thiserror::Error;

use super::Endpoint;
use super::batch::{self, Batch};
use super::feed::{Filter, Item};
use crate::clock::UnixMs;
use crate::message::Ids;

/// Who is posting.
const AGENT: &str = concat!("trunkline/", env!("CARGO_PKG_VERSION"));

/// This try's number; contract.md §3.
const ATTEMPT: HeaderName = HeaderName::from_static("trunkline-attempt");
/// Standard Webhooks 1.0.0.
const ID: HeaderName = HeaderName::from_static("webhook-id");
/// Standard Webhooks 1.0.0.
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// Standard Webhooks 1.0.0.
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Headers that an endpoint's own may not replace.
const RESERVED: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Most headers of its own that an endpoint may ask for. Chosen: servers take about 100 in all.
const HEADERS_MAX: usize = 32;

/// What is wrong with an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Mistake {
    /// The URL cannot be used.
    #[error("url: {0}")]
    Url(&'static str),
    /// There is no secret to sign with.
    #[error("secret: at least one is needed")]
    NoSecret,
    /// A bound of its batches is outside the contract's.
    #[error("batch: max_events 1-1000, max_wait up to 5 s, max_bytes 1 B-1 MiB")]
    Batch,
    /// A header cannot be sent or is not the endpoint's to set.
    #[error("headers: {0:?} cannot be set")]
    Header(String),
    /// More headers than [`HEADERS_MAX`].
    #[error("headers: at most {HEADERS_MAX}")]
    Headers,
}

/// An endpoint, ready to be posted to.
#[derive(Debug)]
pub(super) struct Target {
    /// Its name, for people and metrics.
    pub name: String,
    /// Which events it gets.
    pub filter: Filter,
    /// Its batches, if it wants any.
    pub batch: Option<Batch>,
    url: Uri,
    signer: Signer,
    headers: HeaderMap,
    ids: Ids,
}

impl Target {
    /// Checks an endpoint's configuration.
    ///
    /// # Errors
    /// The first [`Mistake`].
    pub(super) fn new(
        endpoint: &Endpoint,
        name: &str,
        ids: Ids,
        allow_http: bool,
    ) -> Result<Self, Mistake> {
        let mut secrets = endpoint.secrets.iter().cloned();
        let first = secrets.next().ok_or(Mistake::NoSecret)?;
        if let Some(batch) = &endpoint.batch {
            let fits = (1..=Batch::EVENTS_MAX).contains(&batch.max_events)
                && batch.max_wait <= Batch::WAIT_MAX
                && (1..=Batch::BYTES_MAX).contains(&batch.max_bytes);
            if !fits {
                return Err(Mistake::Batch);
            }
        }
        if endpoint.headers.len() > HEADERS_MAX {
            return Err(Mistake::Headers);
        }
        Ok(Self {
            name: name.to_owned(),
            filter: Filter {
                ix: endpoint.ix,
                tenant: endpoint.tenant,
                kinds: endpoint.kinds,
            },
            batch: endpoint.batch,
            url: parse(&endpoint.url, allow_http)?,
            signer: secrets.fold(Signer::new(first), |signer: Signer, more: Secret| {
                signer.and(more)
            }),
            headers: headers(&endpoint.headers)?,
            ids,
        })
    }

    /// The signed request that delivers `items`, at its `attempt`th try. `None` when there are none
    /// or the callback's URL is none.
    #[must_use]
    pub(super) fn request(
        &self,
        items: &[Item],
        attempt: u8,
        now: UnixMs,
    ) -> Option<Request<Full<Bytes>>> {
        let (first, last) = (items.first()?, items.last()?);
        let url = match first.url() {
            // That it may be called was decided when its message was accepted.
            Some(url) => parse(url, true).ok()?,
            None => self.url.clone(),
        };
        let batched = self.batch.is_some() || items.len() > 1;
        let id = if batched {
            self.ids
                .event_batch(first.at, first.seq, last.seq, self.filter.ix.0)
        } else {
            self.ids.event(first.at, first.seq)
        };
        let id = id.to_string();
        let body = batch::body(items, batched);
        let seconds = now.0 / 1_000;
        let signature = self.signer.sign(&id, seconds, &[&body]);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(ID, HeaderValue::from_str(&id).ok()?);
        headers.insert(TIMESTAMP, HeaderValue::from(seconds));
        headers.insert(SIGNATURE, HeaderValue::from_str(&signature).ok()?);
        headers.insert(ATTEMPT, HeaderValue::from(u16::from(attempt)));
        Some(request)
    }
}

fn parse(url: &str, allow_http: bool) -> Result<Uri, Mistake> {
    let uri: Uri = url.parse().map_err(|_| Mistake::Url("this is no URL"))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if allow_http => {}
        Some("http") => return Err(Mistake::Url("https only, unless webhook.allow_http is set")),
        _ => return Err(Mistake::Url("it must begin with https://")),
    }
    let authority = uri.authority().ok_or(Mistake::Url("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(Mistake::Url("user and password cannot stand in it"));
    }
    Ok(uri)
}

fn headers(own: &[(String, String)]) -> Result<HeaderMap, Mistake> {
    let mut headers = HeaderMap::with_capacity(own.len() + 8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in own {
        let mistake = || Mistake::Header(name.clone());
        let parsed: HeaderName = name.parse().map_err(|_| mistake())?;
        let reserved = RESERVED.contains(&parsed.as_str())
            || parsed.as_str().starts_with("webhook-")
            || parsed.as_str().starts_with("trunkline-");
        if reserved {
            return Err(mistake());
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| mistake())?;
        // Often an Authorization: kept out of debug output.
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}
