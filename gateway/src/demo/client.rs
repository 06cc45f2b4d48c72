//! The demo's HTTP client: one request at a time, as a platform would send it.

use std::net::SocketAddr;

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// An HTTP client with the demo's key.
pub(super) struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    at: SocketAddr,
    key: String,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) replayed: bool,
    pub(super) json: Value,
}

impl Client {
    pub(super) fn new(at: SocketAddr, key: &str) -> Self {
        let http = HyperClient::builder(TokioExecutor::new()).build_http();
        Self {
            http,
            at,
            key: key.to_owned(),
        }
    }

    pub(super) async fn post(
        &self,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::post(format!("http://{}{path}", self.at))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?;
        let response = self.http.request(request).await.context(path.to_owned())?;
        let status = response.status().as_u16();
        let replayed = response.headers().contains_key("idempotent-replayed");
        let bytes = response.into_body().collect().await?.to_bytes();
        let json = serde_json::from_slice(&bytes).context("the answer is not JSON")?;
        Ok(Answer {
            status,
            replayed,
            json,
        })
    }
}
