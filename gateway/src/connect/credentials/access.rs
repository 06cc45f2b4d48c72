//! Access tokens of FCM: one for each service account, asked for in the background ahead of its end.
//!
//! [`life`] says when, [`ask`] asks. No push ever waits for a renewal: the token in use serves until it
//! has really expired.

use std::sync::Arc;
use std::time::Duration;

use codecs::fcm::{GRANT_SECONDS_MAX, GrantClass, SCOPE, ServiceAccount, grant_form, read_grant};
use codecs::jwt::Claims;
use hyper::Uri;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use self::ask::{Post, Reply};
use self::life::{Failure, Life, Next};
use super::meters::Meters;
use super::skew::Skew;
use super::source::{LOOK_EVERY, Source, Watched};
use super::{Again, Bearer, Refusal, State, draw};
use crate::clock::{Clock, UnixMs};
use crate::stop::Stop;

mod ask;
mod life;

/// Why an account cannot be used.
#[derive(Debug, Error)]
pub enum AccessError {
    /// Its file cannot be read or is none. The text never repeats what is in it.
    #[error("{path}: {why}")]
    Account {
        /// Which source.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// Which account, and how its tokens are asked for.
#[derive(Clone, Debug)]
pub struct AccountSpec {
    /// What it goes by in logs and metrics: the name of its first route.
    pub name: String,
    /// Its file, as Google's console hands it out.
    pub source: Source,
    /// Where tokens are asked for, in place of the file's `token_uri`.
    pub token_url: Option<Uri>,
    /// Certificates that are trusted there beside the machine's own.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

/// An account's tokens, for whoever sends. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    /// What the file said at the start; another project's file is not taken for this one's.
    project_id: Box<str>,
    /// As the file said at the start.
    client_email: Box<str>,
    state: watch::Sender<State>,
    life: Mutex<Life>,
    /// Somebody was refused: the task looks at once.
    nudge: Notify,
    clock: Clock,
    meters: Meters,
}

/// The task that asks for the tokens; one for each [`Access`].
pub struct AccessTask {
    shared: Arc<Shared>,
    source: Source,
    watched: Watched,
    token_url: Option<Uri>,
    account: Arc<ServiceAccount>,
    endpoint: Uri,
    post: Post,
    skew: Skew,
    serial: u64,
    generation: u64,
}

impl Access {
    /// Whether an account's own `token_uri` may be asked for tokens: that of a route without `token_url`.
    ///
    /// # Errors
    /// That it names another endpoint than Google's, in words for whoever wrote the config.
    pub fn check(account: &ServiceAccount) -> Result<(), String> {
        ask::endpoint(account, None).map(drop)
    }

    /// Reads the account. The first token is the task's to ask for: until then the state has none.
    /// Blocks for one small file.
    ///
    /// # Errors
    /// [`AccessError`]: no token can be asked for.
    pub fn open(spec: AccountSpec, clock: &Clock) -> Result<(Self, AccessTask), AccessError> {
        let post = ask::over_http(spec.token_url.as_ref(), &spec.extra_roots, clock.clone())?;
        Self::open_with(spec, clock, post)
    }

    fn open_with(
        spec: AccountSpec,
        clock: &Clock,
        post: Post,
    ) -> Result<(Self, AccessTask), AccessError> {
        let watched = Watched::new(vec![spec.source.clone()]);
        let wrong = |why| AccessError::Account {
            path: spec.source.to_string(),
            why,
        };
        let (account, endpoint) =
            read_account(&spec.source, spec.token_url.as_ref()).map_err(wrong)?;
        let shared = Arc::new(Shared {
            meters: Meters::new(spec.name.clone()),
            name: spec.name,
            project_id: account.project_id.clone(),
            client_email: account.client_email.clone(),
            state: watch::Sender::new(State::default()),
            life: Mutex::default(),
            nudge: Notify::new(),
            clock: clock.clone(),
        });
        let task = AccessTask {
            shared: shared.clone(),
            source: spec.source,
            watched,
            token_url: spec.token_url,
            account: Arc::new(account),
            endpoint,
            post,
            skew: Skew::default(),
            serial: 0,
            generation: 1,
        };
        Ok((Self(shared), task))
    }

    /// The project whose messages the account sends, as its file says.
    #[must_use]
    pub fn project_id(&self) -> &str {
        &self.0.project_id
    }

    /// Who asks, as its file says.
    #[must_use]
    pub fn client_email(&self) -> &str {
        &self.0.client_email
    }

    /// How it is, now.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.state.borrow().clone()
    }

    /// How it is, and each change of that.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// A push with the token of this serial was refused as `UNAUTHENTICATED`. Asks for nothing
    /// itself: with an older token than the one in use, that one is the answer; else the task asks
    /// for another, once, unless this one is less than a minute old.
    #[must_use]
    pub fn expired(&self, serial: u64) -> Again {
        let newer = self.0.state.borrow().bearer.clone();
        if let Some(bearer) = newer.filter(|bearer| bearer.serial > serial) {
            return Again::With(bearer);
        }
        if self.0.life.lock().refused(serial) {
            tracing::warn!(
                credential = self.0.name,
                "FCM refuses the access token: asking for another"
            );
            self.0.nudge.notify_one();
        }
        Again::Wait
    }
}

fn read_account(source: &Source, config: Option<&Uri>) -> Result<(ServiceAccount, Uri), String> {
    let account = ServiceAccount::parse(&source.read()?).map_err(|error| error.to_string())?;
    let endpoint = ask::endpoint(&account, config)?;
    Ok((account, endpoint))
}

impl AccessTask {
    /// Renews the token, and reads the account's file when it changes, until the stop.
    pub async fn run(mut self, mut stop: Stop) {
        let _guard = stop.guard(format!("access token {}", self.shared.name));
        while !stop.is_stopped() {
            self.look().await;
            let next = self.next();
            if next == Next::Ask {
                tokio::select! {
                    // What is given up was only a question.
                    () = stop.stopped() => return,
                    () = self.ask() => {}
                }
            }
            self.show();
            let wait = match self.next() {
                Next::Ask => Duration::ZERO,
                Next::At(at) => self.shared.clock.until(at).min(LOOK_EVERY),
            };
            let shared = self.shared.clone();
            tokio::select! {
                () = stop.stopped() => {}
                () = shared.nudge.notified() => {}
                // A millisecond more: a timer that is early by less must not turn in a loop.
                () = sleep(wait + Duration::from_millis(1)) => {}
            }
        }
    }

    fn next(&self) -> Next {
        self.shared.life.lock().next(self.shared.clock.now())
    }

    async fn ask(&mut self) {
        // From before the question: the token's life is not longer for a slow answer.
        let asked_at = self.shared.clock.now();
        let issued_at = asked_at.0 / 1_000;
        let claims = Claims::Grant {
            issuer: &self.account.client_email,
            scope: SCOPE,
            audience: &self.account.token_uri,
            issued_at,
            expires_at: issued_at + GRANT_SECONDS_MAX,
        };
        let assertion = match self.account.key.sign(&self.account.key_id, &claims) {
            Ok(assertion) => assertion,
            Err(error) => return self.failed(GrantClass::RetryLater, None, &error.to_string()),
        };
        let answer = (self.post)(self.endpoint.clone(), grant_form(&assertion)).await;
        match answer {
            Ok(reply) => self.answered(&reply, asked_at),
            Err(why) => self.failed(GrantClass::RetryLater, None, &why),
        }
    }

    fn answered(&mut self, reply: &Reply, asked_at: UnixMs) {
        if let Some(date) = reply.date {
            let measure = self.skew.saw(date, self.shared.clock.now());
            self.shared.meters.skew(measure);
        }
        match read_grant(reply.status, &reply.body) {
            Ok(access) => {
                let life = Duration::from_secs(access.expires_in_seconds);
                self.granted(access.token(), asked_at, life);
            }
            Err(refusal) => {
                self.failed(refusal.class, reply.retry_after, &said(&refusal));
            }
        }
    }

    fn granted(&mut self, token: &str, issued_at: UnixMs, life: Duration) {
        let Ok(authorization) = Bearer::authorization("Bearer", token) else {
            // `read_grant` takes graphic characters only: cannot be.
            return self.failed(
                GrantClass::RetryLater,
                None,
                "the token is no header's value",
            );
        };
        self.serial += 1;
        let bearer = Arc::new(Bearer {
            authorization,
            serial: self.serial,
            generation: self.generation,
            issued_at,
            expires_at: issued_at.plus(life),
        });
        self.shared
            .life
            .lock()
            .granted(bearer.clone(), life, draw());
        self.shared.meters.refreshed("made");
        tracing::info!(
            credential = self.shared.name,
            serial = self.serial,
            life_seconds = life.as_secs(),
            "access token"
        );
        self.shared.state.send_modify(|state| {
            state.bearer = Some(bearer);
            state.refusal = None;
        });
    }

    /// No token came; `said` is escaped already where a peer said it.
    fn failed(&self, class: GrantClass, retry_after: Option<Duration>, said: &str) {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        let failure = Failure { class, retry_after };
        let mut life = shared.life.lock();
        life.failed(failure, now, draw());
        let next = life.next(now);
        drop(life);
        let permanent = life::permanent(class);
        shared.meters.refreshed(class.name());
        let again_in_ms = match next {
            Next::Ask => 0,
            Next::At(at) => at.since(now).as_millis(),
        };
        let has_token = shared.state.borrow().usable(now).is_some();
        if permanent || class == GrantClass::Clock {
            shared.meters.alarm(class.name());
            tracing::error!(
                credential = shared.name,
                class = class.name(),
                said,
                again_in_ms,
                has_token,
                "the token endpoint refuses the account"
            );
        } else {
            tracing::warn!(
                credential = shared.name,
                said,
                again_in_ms,
                has_token,
                "no access token could be had"
            );
        }
        let text = Arc::from(format!("token endpoint: {said}"));
        let again_at = match next {
            Next::Ask => now,
            Next::At(at) => at,
        };
        let refusal = Some(Refusal {
            permanent,
            text,
            again_at,
        });
        shared.state.send_if_modified(|state| {
            let news = state.refusal != refusal;
            state.refusal = refusal;
            news
        });
    }

    /// Reads the account's file if it has changed.
    async fn look(&mut self) {
        let (mut watched, source) = (self.watched.clone(), self.source.clone());
        let config = self.token_url.clone();
        let read = move || {
            let account = watched
                .changed()
                .then(|| read_account(&source, config.as_ref()));
            (watched, account)
        };
        let Ok((watched, account)) = tokio::task::spawn_blocking(read).await else {
            return;
        };
        self.watched = watched;
        let own = |read: (ServiceAccount, Uri)| match read.0.project_id == self.shared.project_id {
            true => Ok(read),
            false => Err(String::from(
                "it is another project's account; that takes a restart",
            )),
        };
        match account.map(|read| read.and_then(own)) {
            None => {}
            Some(Ok((account, endpoint))) => self.reloaded(account, endpoint),
            Some(Err(why)) => {
                self.shared.meters.reloaded(false);
                let text = format!("{}: {why}; the account of before is in use", self.source);
                tracing::error!(credential = self.shared.name, "{text}");
                let file = Some(text.into());
                self.shared.state.send_modify(|state| state.file = file);
            }
        }
    }

    fn reloaded(&mut self, account: ServiceAccount, endpoint: Uri) {
        self.shared.meters.reloaded(true);
        self.shared
            .state
            .send_if_modified(|state| state.file.take().is_some());
        let same = account.key.fingerprint() == self.account.key.fingerprint()
            && account.client_email == self.account.client_email
            && account.key_id == self.account.key_id;
        // Its endpoint may have changed alone.
        self.endpoint = endpoint;
        self.account = Arc::new(account);
        if same {
            return;
        }
        self.generation += 1;
        self.shared.life.lock().turned();
        tracing::warn!(
            credential = self.shared.name,
            generation = self.generation,
            "the file holds another key: asking for a token with it"
        );
    }

    fn show(&self) {
        if let Some(bearer) = &self.shared.state.borrow().bearer {
            let age = self.shared.clock.now().since(bearer.issued_at);
            self.shared.meters.age(age.as_secs_f64());
        }
    }
}

/// What the endpoint said, as far as it said anything; escaped.
fn said(refusal: &codecs::fcm::Refusal) -> String {
    let mut said = refusal.status.to_string();
    let error = refusal.error.text();
    if !error.is_empty() {
        said.push(' ');
        said.extend(error.escape_debug());
    }
    if !refusal.description.is_empty() {
        said.push_str(": ");
        said.extend(refusal.description.escape_debug());
    }
    if (300..400).contains(&refusal.status) {
        said.push_str(
            ", which is not followed: does the route's token_url name the endpoint itself?",
        );
    }
    said
}

#[cfg(test)]
mod tests;
