//! FCM as a sender sees it: `POST /v1/projects/{project}/messages:send` over HTTP/2, and the token
//! endpoint `POST /token` on the listener beside it, in plain HTTP.
//!
//! What a token, topic or condition starts with makes it misbehave: [`REFUSALS`] and
//! [`LINK_FAULTS`](super::LINK_FAULTS). Any other is accepted.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use codecs::jwt::{Algorithm, SigningKey};
use serde_json::{Value, json};

use super::connection::{Answer, Asked, Service, Verdict};
use super::counts::Fate;
use super::faults::{self, LINK_FAULTS, LinkFault};
use super::http::{Own, Query};
use super::{Config, Report, Running, Shared};

mod grants;
mod refusals;
mod rules;

pub use grants::Account;
pub use refusals::{Extra, REFUSALS, Row};

use grants::Grants;

/// `client_email` of the account that every simulator knows beside those that it is given.
pub const CLIENT_EMAIL: &str = "sender@trunkline-sim.iam.gserviceaccount.com";

/// `private_key_id` of the same.
pub const KEY_ID: &str = "5130000000000000000000000000000000000001";

/// Its key. Everybody has it: it is good for simulators only. (RSA keys cannot be made with ring.)
const KEY: &str = include_str!("fcm/simulator_key.pem");

/// What FCM is told at its start.
#[derive(Clone, Debug)]
pub struct FcmConfig {
    /// What is the same for APNs.
    pub common: Config,
    /// The project that messages belong to.
    pub project: String,
    /// Accounts that may ask for access, beside the simulator's own.
    pub accounts: Vec<Account>,
    /// Seconds that an access token lives. Google: an hour.
    pub access_seconds: u32,
}

impl Default for FcmConfig {
    fn default() -> Self {
        Self {
            common: Config {
                // Google's front ends allow 100 (push.md §7).
                streams: 100,
                control: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
                ..Config::default()
            },
            project: "trunkline-sim".to_owned(),
            accounts: Vec::new(),
            access_seconds: 3_600,
        }
    }
}

/// A running FCM; dropping it closes everything at once. What it shares with APNs is [`Running`].
#[derive(Debug)]
pub struct Fcm {
    running: Running,
    service: Arc<Sender>,
    token_uri: String,
}

impl Fcm {
    /// Listens and serves until stopped.
    ///
    /// # Errors
    /// The address cannot be listened on, or a certificate is none.
    pub async fn start(config: FcmConfig) -> anyhow::Result<Self> {
        let key = SigningKey::from_pem(Algorithm::Rs256, KEY).context("the simulator's key")?;
        let mut accounts = config.accounts;
        accounts.push(Account {
            client_email: CLIENT_EMAIL.to_owned(),
            key_id: KEY_ID.to_owned(),
            public: key.verifying(),
        });
        let service = Arc::new(Sender {
            path: format!("/v1/projects/{}/messages:send", config.project).into_bytes(),
            project: config.project,
            grants: Grants::new(accounts, config.access_seconds),
            names: AtomicU64::new(0),
        });
        let mut common = config.common;
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        common.control.get_or_insert(free);
        let running = Running::start(common, Arc::clone(&service)).await?;
        let control = running.control().context("it was asked for")?;
        let token_uri = format!("http://{control}/token");
        service.grants.set_audience(&token_uri);
        Ok(Self {
            running,
            service,
            token_uri,
        })
    }

    /// Where access tokens are given out.
    #[must_use]
    pub fn token_uri(&self) -> &str {
        &self.token_uri
    }

    /// The file of the simulator's own service account, as Google's console hands it out.
    #[must_use]
    pub fn service_account(&self) -> String {
        let account = json!({
            "type": "service_account",
            "project_id": self.service.project,
            "private_key_id": KEY_ID,
            "private_key": KEY,
            "client_email": CLIENT_EMAIL,
            "client_id": "510000000000000000001",
            "token_uri": self.token_uri,
        });
        format!("{account:#}\n")
    }

    /// Refuses every grant with this status and `error`; `None`: no more.
    pub fn refuse_grants(&self, refusal: Option<(u16, &str)>) {
        let refusal = refusal.map(|(status, error)| (status, error.to_owned()));
        self.service.grants.refuse(refusal);
    }

    /// Forgets every access token that was given out: UNAUTHENTICATED.
    pub fn revoke(&self) {
        self.service.grants.revoke();
    }

    /// Closes every connection, then stops listening; returns the last report.
    pub async fn stop(mut self) -> Report {
        self.running.stop().await
    }
}

/// Counts and orders are the same for both services.
impl Deref for Fcm {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// The service behind the connections.
#[derive(Debug)]
struct Sender {
    project: String,
    /// `:path` of a send.
    path: Vec<u8>,
    grants: Grants,
    /// Counts the messages that it named.
    names: AtomicU64,
}

/// A refusal before anybody looks at the target.
struct Refusal {
    http: u16,
    status: &'static str,
    body: Vec<u8>,
}

impl Refusal {
    fn new(http: u16, status: &'static str, message: &str, details: Vec<Value>) -> Self {
        Self {
            http,
            status,
            body: refusals::error(http, status, message, details),
        }
    }
}

impl Service for Sender {
    /// Nothing of one connection matters to the next request.
    type Link = ();

    fn link(&self, _certificate: bool) {}

    fn limit(&self, (): &(), most: u32) -> u32 {
        most
    }

    fn debug_data(reason: &str) -> Vec<u8> {
        // Google's front ends write a word, as "session_timed_out" (firebase-admin-node#2943).
        reason.as_bytes().to_vec()
    }

    fn handle<'a>(&self, (): &mut (), asked: &Asked<'a>) -> Verdict<'a> {
        if let Err(refusal) = self.check(asked) {
            return refused(b"".into(), refusal);
        }
        let Ok(json) = serde_json::from_slice::<Value>(asked.body) else {
            let text = "Invalid JSON payload received.";
            return refused(
                b"".into(),
                Refusal::new(400, "INVALID_ARGUMENT", text, Vec::new()),
            );
        };
        match rules::check(&json) {
            Ok(taken) => self.taken(asked, &taken),
            Err(rules::Invalid { field, message }) => {
                let details = field.map(|field| refusals::violation(&field, &message));
                let details = details.into_iter().collect();
                let refusal = Refusal::new(400, "INVALID_ARGUMENT", &message, details);
                refused(b"".into(), refusal)
            }
        }
    }
}

impl Own for Sender {
    fn post(
        &self,
        path: &str,
        query: &Query<'_>,
        body: &[u8],
        shared: &Shared,
    ) -> Option<(u16, Value)> {
        match path {
            "/token" => {
                let (status, body, given) = self.grants.answer(body, shared.clock_ms());
                if given {
                    shared.counts.change(|report| report.grants += 1);
                }
                return Some((status, body));
            }
            "/revoke" => self.grants.revoke(),
            "/grants" => {
                let status = query.get("status").map(|status| status.parse().ok());
                let error = query.get("error").unwrap_or_default();
                self.grants.refuse(match status {
                    None => None,
                    Some(status) => Some((status?, error)),
                });
            }
            _ => return None,
        }
        Some((200, json!({})))
    }
}

impl Sender {
    /// Where it goes and who asks.
    fn check(&self, asked: &Asked<'_>) -> Result<(), Refusal> {
        let headers = asked.headers;
        let path = headers.get(":path").unwrap_or_default();
        if headers.get(":method") != Some(b"POST") || !path.ends_with(b"/messages:send") {
            return Err(Refusal::new(404, "NOT_FOUND", "Not found.", Vec::new()));
        }
        let unauthenticated = || {
            let text = "Request had invalid authentication credentials. Expected OAuth 2 access \
                        token, login cookie or other valid authentication credential.";
            Refusal::new(401, "UNAUTHENTICATED", text, Vec::new())
        };
        let header = headers.get("authorization").ok_or_else(unauthenticated)?;
        let access = bearer(header).and_then(|access| self.grants.ends(access));
        let ends = access.ok_or_else(unauthenticated)?;
        if ends <= asked.clock_ms {
            return Err(unauthenticated());
        }
        if path != self.path {
            let text = "Permission 'cloudmessaging.messages.create' denied on resource.";
            return Err(Refusal::new(403, "PERMISSION_DENIED", text, Vec::new()));
        }
        if asked.too_long {
            let text = "Message is too large. The maximum is 4K (4096 bytes).";
            return Err(Refusal::new(400, "INVALID_ARGUMENT", text, Vec::new()));
        }
        Ok(())
    }

    /// A message without a mistake: what its target asks for.
    fn taken<'a>(&self, asked: &Asked<'a>, taken: &rules::Taken<'_>) -> Verdict<'a> {
        let token = taken.target.as_bytes();
        let earlier = || asked.counts.token(token).requests;
        if let Some(row) = faults::find(REFUSALS, |row| row.prefix, token, earlier) {
            let mut verdict = refused(
                token.to_vec().into(),
                Refusal {
                    http: row.http,
                    status: row.reason(),
                    body: row.body(),
                },
            );
            if let Some(after) = retry_after(row.extra) {
                verdict
                    .answer
                    .fields
                    .push(("retry-after", after.into_bytes()));
            }
            return verdict;
        }
        let fault = faults::find(LINK_FAULTS, |row| row.prefix, token, earlier);
        let fault = fault.map(|row| row.fault);
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let (name, fate) = match taken.validate_only {
            true => ("fake_message_id".to_owned(), Fate::Dropped),
            false => {
                let name = format!("0:{:016}%{number:016x}", asked.clock_ms * 1_000);
                (name, fault.map_or(Fate::Accepted, LinkFault::fate))
            }
        };
        let project = &self.project;
        let body = format!("{{\n  \"name\": \"projects/{project}/messages/{name}\"\n}}\n");
        Verdict {
            token: token.to_vec().into(),
            fate,
            reason: if fault.is_some() { "fault" } else { "" },
            answer: answer(200, body.into_bytes()),
            fault,
        }
    }
}

fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, access) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(access)
}

fn answer(status: u16, body: Vec<u8>) -> Answer {
    let kind = match body.first() {
        Some(b'<') => "text/html; charset=UTF-8",
        _ => "application/json; charset=UTF-8",
    };
    Answer {
        status,
        fields: vec![("content-type", kind.into())],
        body: body.into(),
    }
}

fn refused(token: Cow<'static, [u8]>, refusal: Refusal) -> Verdict<'static> {
    Verdict {
        token,
        fate: Fate::Rejected,
        reason: refusal.status,
        answer: answer(refusal.http, refusal.body),
        fault: None,
    }
}

/// The header's value: seconds, or a date.
fn retry_after(extra: Extra) -> Option<String> {
    match extra {
        Extra::RetryAfter(seconds) => Some(seconds.to_string()),
        Extra::RetryAfterDate(seconds) => {
            let at = SystemTime::now() + Duration::from_secs(seconds);
            Some(httpdate::fmt_http_date(at))
        }
        _ => None,
    }
}
