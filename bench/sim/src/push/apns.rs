//! APNs as a provider sees it: `POST /3/device/{token}` over HTTP/2, with Apple's rules and moods.
//!
//! ```no_run
//! # async fn example(key: codecs::jwt::VerifyingKey) -> anyhow::Result<()> {
//! use sim::push::apns::{Apns, ApnsConfig, Key};
//! let config = ApnsConfig { keys: vec![Key::new("KEY1234567", "TEAM123456", key)], ..ApnsConfig::default() };
//! let apns = Apns::start(config).await?;
//! println!("connect to {}, trusting {:?}", apns.addr(), apns.ca());
//! // ... the provider under test runs ...
//! assert_eq!(apns.report().tokens_doubled, 0);
//! # Ok(())
//! # }
//! ```
//!
//! What a device token starts with makes it misbehave: [`REFUSALS`] and
//! [`LINK_FAULTS`](super::LINK_FAULTS). Any other token of hexadecimal digits is accepted.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use codecs::jwt::{Algorithm, SigningKey, VerifyingKey};
use serde_json::{Value, json};

use super::connection::{Answer, Asked, Service, Verdict};
use super::counts::Fate;
use super::faults::{self, LINK_FAULTS, LinkFault};
use super::http::{Own, Query};
use super::{Config, Report, Running, Shared};

mod refusals;
mod rules;
mod tokens;

pub use refusals::{Extra, REFUSALS, Row};
pub use tokens::public_key;

use rules::Refusal;
use tokens::{LinkTokens, Tokens};

/// A provider's key that APNs knows.
#[derive(Clone, Debug)]
pub struct Key {
    /// `kid`.
    pub key_id: String,
    /// `iss`.
    pub team_id: String,
    /// The public half.
    pub public: VerifyingKey,
    /// The apps that it may send to; `None`: all.
    pub topics: Option<Vec<String>>,
}

/// The key that every simulator makes at its start, beside those that it is given.
#[derive(Clone)]
pub struct Credentials {
    /// `kid`: always [`KEY_ID`].
    pub key_id: &'static str,
    /// `iss`: always [`TEAM_ID`].
    pub team_id: &'static str,
    /// The private key as Apple's `.p8` file has it.
    pub p8: String,
}

/// Without the key, though it is good for this simulator only.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, {})", self.team_id, self.key_id)
    }
}

/// `kid` of the key that is made at the start. Chosen: ten characters, as Apple's.
pub const KEY_ID: &str = "SIMKEY0001";

/// `iss` of the same.
pub const TEAM_ID: &str = "SIMTEAM001";

/// What APNs is told at its start.
#[derive(Clone, Debug)]
pub struct ApnsConfig {
    /// What is the same for FCM.
    pub common: Config,
    /// The keys that tokens may be signed with.
    pub keys: Vec<Key>,
    /// Streams of a connection before its first valid token. Apple: 1.
    pub streams_first: u32,
    /// A refused push lets a connection have but one stream, until one is accepted again
    /// (openradar 27870881, pushy#732).
    pub shrink_on_reject: bool,
    /// A connection with so many refused pushes gets a GOAWAY without a reason, its answer included, and
    /// counts anew (pushy#312).
    pub rejects_max: Option<u32>,
    /// Answers tell `apns-unique-id`, as Apple's development environment does.
    pub sandbox: bool,
}

impl Default for ApnsConfig {
    fn default() -> Self {
        Self {
            common: Config::default(),
            keys: Vec::new(),
            streams_first: 1,
            shrink_on_reject: false,
            rejects_max: None,
            sandbox: false,
        }
    }
}

/// A running APNs; dropping it closes everything at once. What it shares with FCM is [`Running`].
#[derive(Debug)]
pub struct Apns {
    running: Running,
    credentials: Credentials,
    service: Arc<Provider>,
}

impl Apns {
    /// Listens and serves until stopped.
    ///
    /// # Errors
    /// The address cannot be listened on, or a certificate is none.
    pub async fn start(config: ApnsConfig) -> anyhow::Result<Self> {
        let p8 = rcgen::KeyPair::generate()?.serialize_pem();
        let key = SigningKey::from_pem(Algorithm::Es256, &p8).context("the key that was made")?;
        let mut keys = config.keys;
        keys.push(Key::new(KEY_ID, TEAM_ID, key.verifying()));
        let service = Arc::new(Provider {
            tokens: Tokens::new(keys),
            streams_first: config.streams_first,
            shrink_on_reject: config.shrink_on_reject,
            rejects_max: config.rejects_max,
            sandbox: config.sandbox,
            ids: AtomicU64::new(0),
        });
        let running = Running::start(config.common, Arc::clone(&service)).await?;
        Ok(Self {
            running,
            credentials: Credentials {
                key_id: KEY_ID,
                team_id: TEAM_ID,
                p8,
            },
            service,
        })
    }

    /// A key that may send to every app.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Refuses every token of this key from now on.
    pub fn revoke(&self, key_id: &str) {
        self.service.tokens.revoke(key_id);
    }

    /// Takes the tokens of this key from now on, beside those of the others: one that was revoked, or
    /// another one of the same name, as when a key's file is renewed.
    pub fn accept(&self, key: Key) {
        self.service.tokens.accept(key);
    }

    /// Takes the tokens of this key in place of those of all others of its name, from one request to the
    /// next.
    pub fn renew(&self, key: Key) {
        self.service.tokens.renew(key);
    }

    /// Closes every connection, then stops listening; returns the last report.
    pub async fn stop(mut self) -> Report {
        self.running.stop().await
    }
}

/// Counts and orders are the same for both services.
impl Deref for Apns {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// The service behind the connections.
#[derive(Debug)]
struct Provider {
    tokens: Tokens,
    streams_first: u32,
    shrink_on_reject: bool,
    rejects_max: Option<u32>,
    sandbox: bool,
    /// Counts the ids that it made itself.
    ids: AtomicU64,
}

/// What it knows of one connection.
struct Link {
    certificate: bool,
    tokens: LinkTokens,
    /// A valid token, or a certificate, was seen.
    proven: bool,
    /// The last push was refused, and that shrinks the connection.
    shrunk: bool,
    /// Refused pushes.
    rejects: u32,
    /// It answers 500 to everything.
    sick: bool,
}

impl Service for Provider {
    type Link = Link;

    fn link(&self, certificate: bool) -> Link {
        Link {
            certificate,
            tokens: LinkTokens::default(),
            proven: certificate,
            shrunk: false,
            rejects: 0,
            sick: false,
        }
    }

    fn limit(&self, link: &Link, most: u32) -> u32 {
        match link {
            Link { proven: false, .. } => self.streams_first.min(most),
            Link { shrunk: true, .. } => 1.min(most),
            _ => most,
        }
    }

    fn debug_data(reason: &str) -> Vec<u8> {
        json!({ "reason": reason }).to_string().into_bytes()
    }

    fn handle<'a>(&self, link: &mut Link, asked: &Asked<'a>) -> Verdict<'a> {
        let mut verdict = self.judge(link, asked);
        if self.shrink_on_reject {
            match verdict.fate {
                Fate::Rejected => link.shrunk = true,
                Fate::Accepted => link.shrunk = false,
                Fate::Dropped => {}
            }
        }
        link.rejects += u32::from(verdict.fate == Fate::Rejected);
        if self.rejects_max.is_some_and(|most| link.rejects >= most) {
            link.rejects = 0;
            verdict.fault = Some(LinkFault::GoAwayIncluding { reason: None });
        }
        verdict
    }
}

impl Own for Provider {
    fn post(&self, path: &str, query: &Query<'_>, _: &[u8], _: &Shared) -> Option<(u16, Value)> {
        let key_id = query.get("key_id").filter(|_| path == "/revoke")?;
        self.tokens.revoke(&key_id);
        Some((200, json!({})))
    }
}

impl Provider {
    fn judge<'a>(&self, link: &mut Link, asked: &Asked<'a>) -> Verdict<'a> {
        let token = match rules::device_token(asked.headers) {
            Ok(token) => token,
            Err(refusal) => return self.refused(asked, b"", refusal, Extra::None),
        };
        if let Err(refusal) = self.check(link, asked, token) {
            return self.refused(asked, token, refusal, Extra::None);
        }
        if link.sick {
            return self.refused(asked, token, (500, "InternalServerError"), Extra::None);
        }
        let earlier = || asked.counts.token(token).requests;
        if let Some(row) = faults::find(REFUSALS, |row| row.prefix, token, earlier) {
            link.sick = row.extra == Extra::SickConnection;
            return self.refused(asked, token, (row.status, row.reason), row.extra);
        }
        let fault = faults::find(LINK_FAULTS, |row| row.prefix, token, earlier);
        let fault = fault.map(|row| row.fault);
        let mut answer = self.answer(asked, 200);
        if self.sandbox {
            let id = self.ids.fetch_add(1, Ordering::Relaxed);
            let id = format!("{id:08x}-0000-4000-8000-000000000000");
            answer.fields.push(("apns-unique-id", id.into_bytes()));
        }
        Verdict {
            token: Cow::Borrowed(token),
            fate: fault.map_or(Fate::Accepted, LinkFault::fate),
            reason: if fault.is_some() { "fault" } else { "" },
            answer,
            fault,
        }
    }

    /// Who asks, and whether the request is one.
    fn check(&self, link: &mut Link, asked: &Asked<'_>, token: &[u8]) -> Result<(), Refusal> {
        let headers = asked.headers;
        let header = headers.get("authorization");
        let token_used = if link.certificate && header.is_none() {
            None
        } else {
            let tokens = &mut link.tokens;
            let token = self
                .tokens
                .check(header, tokens, asked.now, asked.clock_ms)?;
            link.proven = true;
            Some(token)
        };
        if asked.too_long {
            return Err((413, "PayloadTooLarge"));
        }
        let bundle = rules::check(headers, asked.body, token, token_used.is_none())?;
        match token_used {
            Some(used) if !used.key().allows(bundle) => Err((400, "TopicDisallowed")),
            _ => Ok(()),
        }
    }

    /// A status and `apns-id`: the client's, in capitals as Apple writes it, or one of ours.
    fn answer(&self, asked: &Asked<'_>, status: u16) -> Answer {
        let id = match asked.headers.get("apns-id") {
            Some(id) => id.to_ascii_uppercase(),
            None => {
                let id = self.ids.fetch_add(1, Ordering::Relaxed);
                format!("51310000-0000-4000-8000-{id:012X}").into_bytes()
            }
        };
        Answer {
            status,
            fields: vec![("apns-id", id)],
            body: Cow::Borrowed(b""),
        }
    }

    fn refused<'a>(
        &self,
        asked: &Asked<'a>,
        token: &'a [u8],
        (status, reason): Refusal,
        extra: Extra,
    ) -> Verdict<'a> {
        let mut answer = self.answer(asked, status);
        answer.body = match extra {
            Extra::None | Extra::SickConnection => {
                format!(r#"{{"reason":"{reason}"}}"#).into_bytes().into()
            }
            Extra::Timestamp(ahead_ms) => {
                let at = asked.clock_ms.saturating_add_signed(ahead_ms);
                let body = format!(r#"{{"reason":"{reason}","timestamp":{at}}}"#);
                body.into_bytes().into()
            }
            Extra::Body(text) => text.as_bytes().into(),
            Extra::Long(octets) => {
                let body = format!(r#"{{"reason":"{}"}}"#, "x".repeat(octets));
                body.into_bytes().into()
            }
        };
        Verdict {
            token: Cow::Borrowed(token),
            fate: Fate::Rejected,
            reason,
            answer,
            fault: None,
        }
    }
}

#[cfg(test)]
mod tests;
