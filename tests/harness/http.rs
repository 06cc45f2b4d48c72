//! A lean client of the gateway's API.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::config::KEY;

/// Keep-alive connections to one gateway, with one key.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    addr: SocketAddr,
    key: String,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as lines of JSON.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.body.split(|octet| *octet == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).unwrap_or_default())
            .collect()
    }

    /// A header as text; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    /// The message's id in the body.
    ///
    /// # Panics
    /// When the answer is not a 202 with an id.
    #[must_use]
    pub fn id(&self) -> String {
        let json = self.json();
        let id = json["id"].as_str().filter(|_| self.status == 202);
        let Some(id) = id else {
            panic!("no 202 with an id: {} {json}", self.status)
        };
        id.to_owned()
    }
}

impl Client {
    /// With the tenant's key.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            pool: Pool::builder(TokioExecutor::new()).build_http(),
            addr,
            key: KEY.to_owned(),
        }
    }

    /// With another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The connection fails, or breaks inside the answer.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.addr))
            .header("authorization", format!("Bearer {}", self.key));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        let (parts, body) = self.pool.request(request).await?.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.post_with(path, &[], body).await
    }

    /// Posts JSON with further headers.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let json = [("content-type", "application/json")];
        let headers: Vec<_> = json.iter().chain(headers).copied().collect();
        self.request(Method::POST, path, &headers, serde_json::to_vec(body)?)
            .await
    }

    /// Posts messages as NDJSON; the answer is NDJSON too: a result per line, then the summary.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn ndjson(&self, messages: &[Value]) -> anyhow::Result<Answer> {
        let mut body = Vec::new();
        for message in messages {
            serde_json::to_writer(&mut body, message)?;
            body.push(b'\n');
        }
        let headers = [
            ("content-type", "application/x-ndjson"),
            ("accept", "application/x-ndjson"),
        ];
        self.request(Method::POST, "/v1/batches", &headers, body)
            .await
    }

    /// As [`Self::ndjson`], but takes what arrives until the connection breaks: the lines that are
    /// whole, and whether the answer is.
    pub async fn ndjson_until_it_breaks(&self, messages: &[Value]) -> (Vec<Value>, bool) {
        let mut text = Vec::new();
        for message in messages {
            text.extend_from_slice(message.to_string().as_bytes());
            text.push(b'\n');
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}/v1/batches", self.addr))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/x-ndjson")
            .header("accept", "application/x-ndjson")
            .body(Full::from(text));
        let Ok(request) = request else {
            return (Vec::new(), false);
        };
        let Ok(response) = self.pool.request(request).await else {
            return (Vec::new(), false);
        };
        let mut body = response.into_body();
        let (mut bytes, mut whole) = (Vec::new(), true);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend(frame.into_data().unwrap_or_default()),
                Err(_) => whole = false,
            }
        }
        let lines = bytes.split_inclusive(|octet| *octet == b'\n');
        let lines = lines.filter(|line| line.ends_with(b"\n"));
        let lines = lines.filter_map(|line| serde_json::from_slice(line).ok());
        (lines.collect(), whole)
    }

    /// Gets a path.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    /// Gets JSON.
    ///
    /// # Errors
    /// As [`Self::request`], or the status is not 200.
    pub async fn json(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.get(path).await?;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "GET {path}: {} {text}", answer.status);
        serde_json::from_slice(&answer.body).context("no JSON")
    }

    /// A message as it stands.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub async fn message(&self, id: &str) -> anyhow::Result<Value> {
        self.json(&format!("/v1/messages/{id}")).await
    }

    /// Every event after `after`, page by page, of these types.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub async fn events(&self, types: &str) -> anyhow::Result<Vec<Value>> {
        let (mut all, mut after) = (Vec::new(), "0".to_owned());
        loop {
            let path = format!("/v1/events?types={types}&limit=1000&after={after}");
            let mut page = self.json(&path).await?;
            let Value::Array(data) = page["data"].take() else {
                anyhow::bail!("no data in {page}")
            };
            all.extend(data);
            let next = page["next_cursor"].as_str().context("no next_cursor")?;
            if page["has_more"] != Value::Bool(true) || next == after {
                return Ok(all);
            }
            after = next.to_owned();
        }
    }
}
