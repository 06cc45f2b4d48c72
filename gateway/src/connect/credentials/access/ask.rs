//! Asking the token endpoint: where it is, one POST, its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use codecs::fcm::{ANSWER_OCTETS_MAX, ServiceAccount};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use hyper::{Request, Response, Uri};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use crate::clock::{Clock, UnixMs};
use crate::outbound::{self, Rules};

/// The one token endpoint that a file may name. "Using OAuth 2.0 for Server to Server Applications".
/// A file that names another could have our assertions sent to whoever forged it.
pub(super) const HOST: &str = "oauth2.googleapis.com";

/// From connecting to the answer's end. Chosen: as for webhooks (contract.md §3).
const TIMEOUT: Duration = Duration::from_secs(15);

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// At most [`ANSWER_OCTETS_MAX`].
    pub(super) body: Bytes,
    pub(super) retry_after: Option<Duration>,
    /// When it was written, by the endpoint's clock.
    pub(super) date: Option<UnixMs>,
}

type Asking = Pin<Box<dyn Future<Output = Result<Reply, String>> + Send>>;

/// Posts a form; fails with what people should read.
pub(super) type Post = Arc<dyn Fn(Uri, String) -> Asking + Send + Sync>;

/// Where an account asks: at its file's `token_uri`, or where the route's config says.
///
/// # Errors
/// That the file names an endpoint that it must not.
pub(super) fn endpoint(account: &ServiceAccount, config: Option<&Uri>) -> Result<Uri, String> {
    if let Some(uri) = config {
        return Ok(uri.clone());
    }
    let named: Option<Uri> = account.token_uri.parse().ok();
    let fits = |uri: &Uri| {
        uri.scheme_str() == Some("https")
            && uri.host() == Some(HOST)
            && uri.port_u16().is_none_or(|port| port == 443)
            && uri
                .authority()
                .is_some_and(|all| !all.as_str().contains('@'))
    };
    named.filter(fits).ok_or_else(|| {
        format!(
            "`token_uri` must be at https://{HOST}; where another endpoint is meant, the route's \
             token_url names it"
        )
    })
}

/// The real thing. An endpoint from the config is the operator's own word, so that it may be plain
/// HTTP and at a private address; one from a file may not.
///
/// # Errors
/// When TLS cannot be set up.
pub(super) fn over_http(
    config: Option<&Uri>,
    roots: &[CertificateDer<'static>],
    clock: Clock,
) -> Result<Post, rustls::Error> {
    let any = ["0.0.0.0/0", "::/0"]
        .into_iter()
        .filter_map(|net| net.parse().ok());
    let rules = match config {
        Some(uri) => Rules {
            allow_http: uri.scheme_str() == Some("http"),
            allow_private: any.collect(),
        },
        None => Rules {
            allow_http: false,
            allow_private: Vec::new(),
        },
    };
    // One at a time is out, and the next in 45 minutes.
    let client = outbound::client(rules, roots, 0)?;
    Ok(Arc::new(move |uri, form| {
        let (client, clock) = (client.clone(), clock.clone());
        Box::pin(async move {
            let request = Request::post(uri)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Full::new(Bytes::from(form)))
                .map_err(|error| error.to_string())?;
            let exchange = async {
                let answer = client.request(request).await.map_err(|error| {
                    // The innermost says most.
                    outbound::causes(&error)
                        .last()
                        .map_or_else(String::new, ToString::to_string)
                })?;
                read(answer, &clock).await
            };
            let late = |_| Err(format!("no answer within {} s", TIMEOUT.as_secs()));
            timeout(TIMEOUT, exchange).await.unwrap_or_else(late)
        })
    }))
}

async fn read(answer: Response<hyper::body::Incoming>, clock: &Clock) -> Result<Reply, String> {
    let now = clock.now();
    let text = |name: HeaderName| answer.headers().get(name)?.to_str().ok();
    let retry_after = text(RETRY_AFTER).and_then(|value| outbound::retry_after(value, now));
    let date = text(DATE).and_then(outbound::date);
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_OCTETS_MAX);
    let body = body.collect().await.map_err(|error| error.to_string())?;
    Ok(Reply {
        status,
        body: body.to_bytes(),
        retry_after,
        date,
    })
}
