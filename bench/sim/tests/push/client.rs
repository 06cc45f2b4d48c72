//! A client of the push simulators on h2, whose HTTP/2 is not the simulators'.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use codecs::jwt::{Algorithm, Claims, SigningKey};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use sim::push::apns::{Apns, ApnsConfig, Key};
use sim::push::{Identity, Running};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Longest wait for something that has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const KEY_ID: &str = "KEY1234567";
pub(crate) const TEAM_ID: &str = "TEAM123456";
pub(crate) const TOPIC: &str = "com.example.app";

/// A key that signs for a team, and its public half.
pub(crate) fn key() -> SigningKey {
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    SigningKey::from_pem(Algorithm::Es256, &pem).unwrap()
}

pub(crate) fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// The header of a token that this key signs.
pub(crate) fn bearer(key: &SigningKey, key_id: &str, team_id: &str, issued_at: u64) -> String {
    let claims = Claims::Provider { team_id, issued_at };
    format!("bearer {}", key.sign(key_id, &claims).unwrap())
}

/// An APNs that knows one key, and the header of a token that is valid there.
pub(crate) async fn apns(config: ApnsConfig) -> (Apns, String) {
    let key = key();
    let header = bearer(&key, KEY_ID, TEAM_ID, unix_seconds());
    let mut config = config;
    config.keys.push(Key::new(KEY_ID, TEAM_ID, key.verifying()));
    config.common.last_max = 100;
    (Apns::start(config).await.unwrap(), header)
}

/// A device token of 64 digits.
pub(crate) fn token(prefix: &str) -> String {
    format!("{prefix:a<64}")
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The member of a JSON body, as text.
    pub(crate) fn member(&self, name: &str) -> String {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        json[name].as_str().unwrap_or_default().to_owned()
    }
}

/// An answer that is waited for.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Result<Answer, h2::Error>> + Send>>;

/// A connection.
pub(crate) struct Client {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) ended: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    /// Connects, and opens as many streams as it likes until SETTINGS say otherwise.
    pub(crate) async fn connect(to: &Running) -> Self {
        Self::with(to, None, 100).await
    }

    pub(crate) async fn with(to: &Running, identity: Option<&Identity>, streams: usize) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(to.ca().unwrap().as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::pem_slice_iter(identity.certificates.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(to.addr()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = "localhost".try_into().unwrap();
        let tls = connector.connect(name, tcp).await.unwrap();
        let (send, connection) = h2::client::Builder::new()
            .initial_max_send_streams(streams)
            .enable_push(false)
            .handshake(tls)
            .await
            .unwrap();
        Self {
            send,
            ended: tokio::spawn(connection),
        }
    }

    /// Sends a request; what it resolves to comes later.
    pub(crate) async fn start(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Result<Waiting, h2::Error> {
        let mut request = Request::post(format!("https://localhost{path}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut send = self.send.clone().ready().await?;
        let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false)?;
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
        let answered = async move {
            let (parts, mut body) = answer.await?.into_parts();
            let mut octets = Vec::new();
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                octets.extend_from_slice(&data);
            }
            Ok(Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: String::from_utf8(octets).unwrap(),
            })
        };
        Ok(Box::pin(async {
            let answered = tokio::time::timeout(PATIENCE, answered).await;
            answered.expect("no answer in time")
        }))
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, h2::Error> {
        self.start(path, fields, body).await?.await
    }

    /// Pushes an alert to a device.
    pub(crate) async fn push(&self, bearer: &str, token: &str) -> Result<Answer, h2::Error> {
        let fields = [("authorization", bearer), ("apns-topic", TOPIC)];
        let path = format!("/3/device/{token}");
        self.post(&path, &fields, r#"{"aps":{"alert":"hi"}}"#).await
    }

    /// Sends an alert, and does not wait for its answer.
    pub(crate) async fn push_later(&self, bearer: &str, token: &str) -> Waiting {
        let fields = [("authorization", bearer), ("apns-topic", TOPIC)];
        let path = format!("/3/device/{token}");
        let started = self.start(&path, &fields, r#"{"aps":{}}"#).await;
        started.unwrap()
    }

    /// Waits until SETTINGS allow this many streams: they are read while requests go on.
    pub(crate) async fn until_limit(&self, streams: usize) {
        let wait = async {
            while self.send.current_max_send_streams() != streams {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        let now = self.send.current_max_send_streams();
        waited.unwrap_or_else(|_| panic!("{now} streams, not {streams}"));
    }
}

/// One request to the listener beside the service: status and body.
pub(crate) async fn http(at: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let exchange = async {
        let mut tcp = TcpStream::connect(at).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}
