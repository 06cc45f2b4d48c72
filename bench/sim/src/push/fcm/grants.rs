//! FCM's token endpoint: a signed assertion for an access token (RFC 7523 §2.1, as Google's "Using
//! OAuth 2.0 for Server to Server Applications" has it).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use codecs::jwt::{Jws, VerifyingKey};
use serde_json::{Map, Value, json};

use crate::push::http::Query;

/// What an assertion may live at most, in seconds. Same page.
const ASSERTION_SECONDS_MAX: u64 = 3_600;

/// How far ahead of our clock `iat` may be. Chosen: Google names none.
const AHEAD_SECONDS: u64 = 60;

/// Access tokens that are remembered; beyond, the oldest is forgotten. Chosen: a client has one for
/// each account and hour.
const ACCESS_MAX: usize = 10_000;

/// The audience that Google's own libraries name, wherever they send it.
const GOOGLE: &str = "https://oauth2.googleapis.com/token";

/// Scopes that may send. "Authorize HTTP v1 send requests".
const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/firebase.messaging",
    "https://www.googleapis.com/auth/cloud-platform",
];

/// A service account that may ask.
#[derive(Clone, Debug)]
pub struct Account {
    /// `client_email`: the assertion's `iss`.
    pub client_email: String,
    /// `private_key_id`: the assertion's `kid`.
    pub key_id: String,
    /// The public half of `private_key`.
    pub public: VerifyingKey,
}

/// What the token endpoint knows.
#[derive(Debug)]
pub(super) struct Grants {
    accounts: Vec<Account>,
    /// Seconds that an access token lives.
    life_seconds: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each ends, in milliseconds since 1970.
    access: HashMap<Vec<u8>, u64>,
    given: u64,
    /// Every grant is refused so: status and `error`.
    refused: Option<(u16, String)>,
    /// Our own address, as an audience.
    audience: String,
}

/// An OAuth error: status, `error`, `error_description`.
type Refusal = (u16, &'static str, &'static str);

const fn invalid_grant(description: &'static str) -> Refusal {
    (400, "invalid_grant", description)
}

impl Grants {
    pub(super) fn new(accounts: Vec<Account>, life_seconds: u32) -> Self {
        Self {
            accounts,
            life_seconds,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_audience(&self, audience: &str) {
        self.state().audience = audience.to_owned();
    }

    /// Refuses every grant so, or none.
    pub(super) fn refuse(&self, refusal: Option<(u16, String)>) {
        self.state().refused = refusal;
    }

    /// Forgets every access token that was given out.
    pub(super) fn revoke(&self) {
        self.state().access.clear();
    }

    /// When an access token ends, in milliseconds since 1970, if it was given out here.
    pub(super) fn ends(&self, access: &[u8]) -> Option<u64> {
        self.state().access.get(access).copied()
    }

    /// Answers a grant: status and body. Says too whether a token was given out.
    pub(super) fn answer(&self, form: &[u8], clock_ms: u64) -> (u16, Value, bool) {
        let refused = self.state().refused.clone();
        if let Some((status, error)) = refused {
            let description = "told to refuse";
            let body = json!({ "error": error, "error_description": description });
            return (status, body, false);
        }
        match self.check(form, clock_ms / 1_000) {
            Ok(()) => (200, self.give(clock_ms), true),
            Err((status, error, description)) => {
                let body = json!({ "error": error, "error_description": description });
                (status, body, false)
            }
        }
    }

    fn give(&self, clock_ms: u64) -> Value {
        let state = &mut *self.state();
        state.given += 1;
        let access = format!("ya29.sim-{:08}-{clock_ms:x}", state.given);
        let life = self.life_seconds;
        if state.access.len() >= ACCESS_MAX {
            let oldest = state.access.iter().min_by_key(|(_, ends)| **ends);
            if let Some(oldest) = oldest.map(|(access, _)| access.clone()) {
                state.access.remove(&oldest);
            }
        }
        let ends = clock_ms + u64::from(life) * 1_000;
        state.access.insert(access.clone().into_bytes(), ends);
        json!({ "access_token": access, "expires_in": life, "token_type": "Bearer" })
    }

    fn check(&self, form: &[u8], clock: u64) -> Result<(), Refusal> {
        let form = Query(str::from_utf8(form).unwrap_or_default());
        let Some(grant_type) = form.get("grant_type") else {
            return Err((400, "invalid_request", "grant_type is missing"));
        };
        if grant_type != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
            let description = "Invalid grant_type";
            return Err((400, "unsupported_grant_type", description));
        }
        let assertion = form.get("assertion").unwrap_or_default();
        let no_jwt = invalid_grant("Invalid JWT: it is none.");
        let key_id = Jws::parse(&assertion).map_err(|_| no_jwt)?;
        // Google's own library for Node says no `kid`: then any account's key may have signed.
        let key_id = key_id.key_id().map(str::to_owned);
        let fits = |account: &&Account| key_id.as_ref().is_none_or(|id| *id == account.key_id);
        let mut refusal = invalid_grant("Invalid grant: account not found");
        for account in self.accounts.iter().filter(fits) {
            let jws = Jws::parse(&assertion).map_err(|_| no_jwt)?;
            match jws.verify(&account.public) {
                Ok(claims) => return self.claims(&claims, account, clock),
                Err(_) => refusal = invalid_grant("Invalid JWT Signature."),
            }
        }
        Err(refusal)
    }

    fn claims(
        &self,
        claims: &Map<String, Value>,
        account: &Account,
        clock: u64,
    ) -> Result<(), Refusal> {
        let text = |name| claims.get(name).and_then(Value::as_str);
        let number = |name| claims.get(name).and_then(Value::as_u64).unwrap_or(0);
        if text("iss") != Some(&account.client_email) {
            return Err(invalid_grant("Invalid grant: account not found"));
        }
        let audience = text("aud").unwrap_or_default();
        if audience != GOOGLE && audience != self.state().audience {
            return Err(invalid_grant("Invalid JWT: Failed audience check."));
        }
        let (issued_at, expires_at) = (number("iat"), number("exp"));
        let lives = expires_at.checked_sub(issued_at);
        let short = lives.is_some_and(|lives| lives <= ASSERTION_SECONDS_MAX);
        if !short || issued_at > clock + AHEAD_SECONDS || expires_at <= clock {
            return Err(invalid_grant(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
                 timeframe. Check your iat and exp values in the JWT claim.",
            ));
        }
        let scope = text("scope").unwrap_or_default();
        if !scope.split(' ').any(|scope| SCOPES.contains(&scope)) {
            return Err((
                400,
                "invalid_scope",
                "Invalid OAuth scope or ID token audience provided.",
            ));
        }
        Ok(())
    }
}
