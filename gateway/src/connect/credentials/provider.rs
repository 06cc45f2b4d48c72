//! Provider tokens of APNs: one for each team and key, for the whole process and over restarts.
//!
//! Environments have pools of their own and the same token. [`life`] says when; here is what it takes:
//! the key's file, the kept token's file, signing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use codecs::apns::{ID_CHARS, is_id};
use codecs::jwt::{Algorithm, Claims, SigningKey};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use self::life::{EXPIRES_AT, Life, Next, Now};
use super::kept::{self, KeyName};
use super::meters::Meters;
use super::skew::Skew;
use super::source::{LOOK_EVERY, Source, Watched};
use super::{Again, Bearer, State, draw};
use crate::clock::{Clock, UnixMs};
use crate::stop::Stop;

mod life;

/// SHA-256 of a public key: [`SigningKey::fingerprint`].
type Fingerprint = [u8; 32];

/// Longest wait for the kept token's file. Chosen: a disk that hangs must not take the route along.
const SAVE_MAX: Duration = Duration::from_secs(5);

/// Why there is no provider token at all.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// Team or key id is none.
    #[error("{0}: team and key ids have {ID_CHARS} letters and digits")]
    Name(KeyName),
    /// The key cannot be read or is none. The text says what was found instead, never what is in it.
    #[error("{path}: {why}")]
    Key {
        /// Which source.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key is in use with another file: two tokens of one key would be too many for Apple.
    #[error("{0}: the key is in use with another file already; one key has one")]
    Twice(KeyName),
    /// The system gave no randomness to sign with.
    #[error("{0}: the system gave no randomness to sign with")]
    Sign(KeyName),
}

/// A key's tokens, for whoever sends. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Provider(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: KeyName,
    state: watch::Sender<State>,
    life: Mutex<Life>,
    skew: Mutex<Skew>,
    /// Somebody was refused: the task looks at once.
    nudge: Notify,
    clock: Clock,
    meters: Meters,
}

/// The task that makes the tokens; one for each [`Provider`].
#[derive(Debug)]
pub struct ProviderTask {
    shared: Arc<Shared>,
    source: Source,
    watched: Watched,
    data: PathBuf,
    key: Arc<SigningKey>,
    serial: u64,
    generation: u64,
}

impl Provider {
    /// Reads the key from `source`, and takes up the token that an earlier process left in the data
    /// directory or makes the first one. Blocks for a few small files.
    ///
    /// # Errors
    /// [`ProviderError`]: there is no token to send with.
    pub fn open(
        name: KeyName,
        source: Source,
        data: &Path,
        clock: &Clock,
    ) -> Result<(Self, ProviderTask), ProviderError> {
        if !is_id(&name.team_id) || !is_id(&name.key_id) {
            return Err(ProviderError::Name(name));
        }
        // Looked at first: what is written meanwhile is a change.
        let watched = Watched::new(vec![source.clone()]);
        let key = read_key(&source).map_err(|why| ProviderError::Key {
            path: source.to_string(),
            why,
        })?;
        let shared = Arc::new(Shared {
            meters: Meters::new(name.to_string()),
            state: watch::Sender::new(State::default()),
            life: Mutex::new(Life::new(key.fingerprint())),
            skew: Mutex::default(),
            nudge: Notify::new(),
            clock: clock.clone(),
            name,
        });
        let mut task = ProviderTask {
            shared: shared.clone(),
            source,
            watched,
            data: data.to_owned(),
            key: Arc::new(key),
            serial: 0,
            generation: 1,
        };
        task.take_up();
        if task.next() == Next::Mint {
            let (token, issued_at) = task.sign().ok_or_else(|| {
                let name = shared.name.clone();
                ProviderError::Sign(name)
            })?;
            saved(&shared.name, task.save(&token, issued_at)());
            task.made(&token, issued_at, true);
        }
        Ok((Self(shared), task))
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

    /// A push with the token of this serial was refused as `ExpiredProviderToken`. Makes nothing:
    /// with an older token than the one in use, that one is the answer; else the task makes another
    /// as soon as Apple's 20 minutes allow.
    #[must_use]
    pub fn expired(&self, serial: u64) -> Again {
        let newer = self.0.state.borrow().bearer.clone();
        if let Some(bearer) = newer.filter(|bearer| bearer.serial > serial) {
            return Again::With(bearer);
        }
        // Once for each token: a crowd of refused pushes must not keep the task turning.
        if self.0.life.lock().expired(serial) {
            self.0.meters.alarm("expired");
            let age = self.0.state.borrow().bearer.as_ref().map(|bearer| {
                let now = self.0.clock.now();
                now.since(bearer.issued_at).as_secs()
            });
            tracing::error!(
                credential = %self.0.name, age_seconds = age,
                "Apple calls the provider token expired before its time: is this machine's clock right?"
            );
            self.0.nudge.notify_one();
        }
        Again::Wait
    }

    /// A connection was refused with `TooManyProviderTokenUpdates`: the token stays as it is for 20
    /// minutes more, as long as Apple takes it.
    pub fn too_many_updates(&self) {
        self.0.meters.alarm("too_many_updates");
        let now = self.0.now();
        self.0.life.lock().too_many(now);
    }

    /// An answer had this `date`: shows how far this machine's clock is off.
    pub fn saw_date(&self, server: UnixMs) {
        let measure = self.0.skew.lock().saw(server, self.0.clock.now());
        self.0.meters.skew(measure);
    }
}

impl Shared {
    fn now(&self) -> Now {
        Now {
            wall: self.clock.now(),
            steady: self.clock.instant(),
        }
    }
}

fn read_key(source: &Source) -> Result<SigningKey, String> {
    let octets = source.read()?;
    let pem = std::str::from_utf8(&octets)
        .map_err(|_| "it is no PEM text; Apple's .p8 file is one".to_owned())?;
    SigningKey::from_pem(Algorithm::Es256, pem).map_err(|error| error.to_string())
}

/// Says that a token is not kept: a restart will make another.
fn saved(name: &KeyName, result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(
            credential = %name, %error,
            "the provider token cannot be kept for the next start, which will make another one"
        );
    }
}

impl ProviderTask {
    /// Renews the token, and reads the key's file when it changes, until the stop.
    pub async fn run(mut self, mut stop: Stop) {
        let _guard = stop.guard(format!("provider token {}", self.shared.name));
        while !stop.is_stopped() {
            self.look().await;
            let wait = match self.next() {
                Next::Mint => {
                    self.mint().await;
                    LOOK_EVERY
                }
                Next::At(at) => self.shared.clock.until(at).min(LOOK_EVERY),
            };
            self.show();
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
        self.shared.life.lock().next(self.shared.now())
    }

    /// Takes up the kept token, unless it is too old to be of use.
    fn take_up(&mut self) {
        let name = &self.shared.name;
        let Some((token, issued_at)) = kept::load(&self.data, name, &self.key) else {
            return;
        };
        if self.shared.clock.now() < issued_at.plus(EXPIRES_AT) {
            self.made(&token, issued_at, false);
        }
    }

    fn sign(&self) -> Option<(String, UnixMs)> {
        let name = &self.shared.name;
        // As the token says it: whole seconds.
        let issued_at = self.shared.clock.now().0 / 1_000;
        let claims = Claims::Provider {
            team_id: &name.team_id,
            issued_at,
        };
        let token = self.key.sign(&name.key_id, &claims);
        let token = token.inspect_err(|error| {
            self.shared.meters.refreshed("failed");
            tracing::error!(credential = %name, %error, "no provider token can be made");
        });
        Some((token.ok()?, UnixMs(issued_at * 1_000)))
    }

    fn save(
        &self,
        token: &str,
        issued_at: UnixMs,
    ) -> impl FnOnce() -> std::io::Result<()> + Send + 'static {
        let (data, name) = (self.data.clone(), self.shared.name.clone());
        let (print, token) = (self.key.fingerprint(), token.to_owned());
        move || kept::save(&data, &name, &print, &token, issued_at)
    }

    /// Makes a token, keeps it, and then shows it: what was used once is there after a restart.
    async fn mint(&mut self) {
        let Some((token, issued_at)) = self.sign() else {
            return;
        };
        let save = tokio::task::spawn_blocking(self.save(&token, issued_at));
        let result = match timeout(SAVE_MAX, save).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(std::io::Error::other(error)),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        saved(&self.shared.name, result);
        self.made(&token, issued_at, true);
    }

    fn made(&mut self, token: &str, issued_at: UnixMs, new: bool) {
        let Ok(authorization) = Bearer::authorization("bearer", token) else {
            // base64url and dots: cannot be.
            return;
        };
        self.serial += 1;
        let bearer = Arc::new(Bearer {
            authorization,
            serial: self.serial,
            generation: self.generation,
            issued_at,
            expires_at: issued_at.plus(EXPIRES_AT),
        });
        let minted = new.then(|| self.shared.clock.instant());
        let mut life = self.shared.life.lock();
        life.made(bearer.clone(), issued_at, minted, draw());
        drop(life);
        let result = if new { "made" } else { "kept" };
        self.shared.meters.refreshed(result);
        tracing::info!(credential = %self.shared.name, serial = self.serial, result, "provider token");
        self.shared
            .state
            .send_modify(|state| state.bearer = Some(bearer));
    }

    /// Reads the key's file if it has changed.
    async fn look(&mut self) {
        let (mut watched, source) = (self.watched.clone(), self.source.clone());
        let read = move || {
            let key = watched.changed().then(|| read_key(&source));
            (watched, key)
        };
        let Ok((watched, key)) = tokio::task::spawn_blocking(read).await else {
            return;
        };
        self.watched = watched;
        match key {
            None => {}
            Some(Ok(key)) => self.reloaded(key),
            Some(Err(why)) => {
                self.shared.meters.reloaded(false);
                let text = format!("{}: {why}; the key of before is in use", self.source);
                tracing::error!(credential = %self.shared.name, "{text}");
                let file = Some(text.into());
                self.shared.state.send_modify(|state| state.file = file);
            }
        }
    }

    fn reloaded(&mut self, key: SigningKey) {
        self.shared.meters.reloaded(true);
        self.shared
            .state
            .send_if_modified(|state| state.file.take().is_some());
        let print = key.fingerprint();
        let mut life = self.shared.life.lock();
        if life.key() == print {
            return;
        }
        life.turn_to(print);
        // Its own token of before, if the file has gone back to it: made under another generation.
        let before = life.bearer().cloned();
        drop(life);
        self.key = Arc::new(key);
        self.generation += 1;
        tracing::warn!(
            credential = %self.shared.name,
            generation = self.generation,
            "the file holds another key: connections are replaced"
        );
        if let Some(before) = before {
            self.show_again(&before);
        }
    }

    /// Shows a token of before under the generation of now.
    fn show_again(&mut self, before: &Bearer) {
        self.serial += 1;
        let bearer = Arc::new(Bearer {
            serial: self.serial,
            generation: self.generation,
            ..before.clone()
        });
        self.shared.life.lock().shown_as(bearer.clone());
        self.shared
            .state
            .send_modify(|state| state.bearer = Some(bearer));
    }

    fn show(&self) {
        if let Some(bearer) = &self.shared.state.borrow().bearer {
            let age = self.shared.clock.now().since(bearer.issued_at);
            self.shared.meters.age(age.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests;
