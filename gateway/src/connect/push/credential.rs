//! Credential: as whom a link sends, and what the service has said of that: whether there is a token to send
//! with, whether the route is stopped, and why.
//!
//! ```text
//!            the service calls the token too old, or it has ended
//!   usable ──────────────────────────────────────────────────────► lacking: waits for the next one
//!     │ ▲                                                              │
//!     │ └──────────────── the next token ──────────────────────────────┘
//!     │ refused twice in a row, or no token without somebody's hand
//!     ▼
//!   stopped: until an operator resumes the route, or there is another credential
//! ```

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Config;
use super::service::Who;
use crate::clock::UnixMs;
use crate::connect::credentials::{Bearer, State};
use crate::connect::http2::{Answered, Target};

/// Refusals of our credentials in a row before the route stops (push.md §1.5: "after 2").
const REFUSALS_MAX: u32 = 2;
/// How often an answer's `date` is read. Chosen: clocks drift slowly, and answers come by the thousand.
const DATE_AGAIN: Duration = Duration::from_secs(10);

/// As whom one link sends.
pub(super) struct Credential {
    who: Who,
    /// Its tokens as they come; `None` for a certificate.
    state: Option<watch::Receiver<State>>,
    /// Where to, and with which certificate.
    target: watch::Receiver<Arc<Target>>,
    /// The service calls the token of this serial too old, and there is no newer one yet.
    outdated: Option<u64>,
    /// Why there is no token to send with until the next one comes by itself, and when that may be.
    lacking: Option<(String, UnixMs)>,
    /// Why nothing goes on until somebody has looked, or there is another credential.
    stopped: Option<Stopped>,
    /// Refused in a row.
    refusals: u32,
    /// When an answer's `date` was read last.
    dated_at: Option<Instant>,
}

/// Why a link has stopped.
struct Stopped {
    why: String,
    /// The credential that was refused.
    generation: u64,
    /// It had no token at all.
    tokenless: bool,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lack {
    pub(super) why: String,
    /// Only somebody's hand helps.
    pub(super) for_good: bool,
}

impl Credential {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            who: config.who.clone(),
            state: config.who.subscribe(),
            target: config.target.clone(),
            outdated: None,
            lacking: None,
            stopped: None,
            refusals: 0,
            dated_at: None,
        }
    }

    /// Waits until it is another one, or there is another token. Cancel safe.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            () = token(&mut self.state) => {}
            Ok(()) = self.target.changed() => {}
            else => pending().await,
        }
    }

    /// The token to send with now: `Ok(None)` when the connection itself says who we are.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn bearer(&self, now: UnixMs) -> Result<Option<Arc<Bearer>>, Lack> {
        let Some(state) = &self.state else {
            return match self.who.stopped(now) {
                Some(why) => Err(Lack {
                    why,
                    for_good: true,
                }),
                None => Ok(None),
            };
        };
        let state = state.borrow();
        if let Some(bearer) = state.usable(now) {
            return Ok(Some(bearer.clone()));
        }
        Err(match &state.refusal {
            Some(refusal) => Lack {
                why: refusal.text.to_string(),
                for_good: refusal.permanent,
            },
            None => Lack {
                why: "there is no access token yet".to_owned(),
                for_good: false,
            },
        })
    }

    /// Rises with each key or certificate: a connection is held to that which it was made with.
    pub(super) fn generation(&self) -> u64 {
        match &self.state {
            Some(state) => state
                .borrow()
                .bearer
                .as_ref()
                .map_or(0, |bearer| bearer.generation),
            // Not the certificate's own: what is connected next is shown this one.
            None => self.target.borrow().generation,
        }
    }

    /// Where to, with the certificate of this [`Self::generation`].
    pub(super) fn target(&self) -> Arc<Target> {
        self.target.borrow().clone()
    }

    /// There may be a newer token than the one that was called too old: as [`Self::bearer`].
    ///
    /// # Errors
    /// Why there is no token.
    pub(super) fn look(&mut self, now: UnixMs) -> Result<Option<Arc<Bearer>>, Lack> {
        let bearer = self.bearer(now);
        let token = bearer.as_ref().ok().and_then(Option::as_ref);
        let serial = token.map_or(0, |bearer| bearer.serial);
        self.outdated = self.outdated.filter(|outdated| serial <= *outdated);
        bearer
    }

    /// Whether what stopped the link is over: there is another credential, or a token at last.
    pub(super) fn is_another(&self, usable: bool) -> bool {
        let generation = self.generation();
        self.stopped
            .as_ref()
            .is_some_and(|stopped| stopped.generation != generation || stopped.tokenless && usable)
    }

    /// Why nothing goes on.
    pub(super) fn stopped(&self) -> Option<&str> {
        self.stopped.as_ref().map(|stopped| &*stopped.why)
    }

    /// Nothing goes on with this credential. Whether that is new.
    pub(super) fn stop(&mut self, why: &str, tokenless: bool) -> bool {
        if self.stopped.is_some() {
            return false;
        }
        self.stopped = Some(Stopped {
            why: why.to_owned(),
            generation: self.generation(),
            tokenless,
        });
        true
    }

    /// Somebody has looked, or there is another one. Whether it was stopped.
    pub(super) fn go_on(&mut self) -> bool {
        self.refusals = 0;
        // The clock that was wrong may have been the service's: one push tells.
        self.outdated = None;
        self.stopped.take().is_some()
    }

    /// There is no token for this reason, and nobody's hand is needed for the next one. Whether the service's
    /// refusal to give one is news.
    pub(super) fn lack(&mut self, why: String, now: UnixMs) -> bool {
        let refusal = self.state.as_ref().and_then(|state| {
            let state = state.borrow();
            state.refusal.as_ref().map(|refusal| refusal.again_at)
        });
        let lacking = Some((why, refusal.unwrap_or(now)));
        // That the first token of a start is still under way is no news.
        let news = refusal.is_some() && self.lacking != lacking;
        self.lacking = lacking;
        news
    }

    /// It is not a token that is waited for.
    pub(super) fn lack_none(&mut self) {
        self.lacking = None;
    }

    /// Why there is no token until the next one comes by itself, and when that may be.
    pub(super) fn lacking(&self) -> Option<&(String, UnixMs)> {
        self.lacking.as_ref()
    }

    /// Whether it is waited for another token.
    pub(super) fn waits(&self) -> bool {
        self.outdated.is_some() || self.lacking.is_some()
    }

    /// The service calls the token of this serial too old.
    pub(super) fn expired(&mut self, serial: u64) {
        if !self.who.expired(serial) {
            self.outdated = self.outdated.max(Some(serial));
        }
    }

    /// Whether there is no newer token than one that was called too old.
    pub(super) fn is_outdated(&self) -> bool {
        self.outdated.is_some()
    }

    /// Tokens were renewed too often.
    pub(super) fn too_many_updates(&self) {
        self.who.too_many_updates();
    }

    /// The service takes us for whom we say we are.
    pub(super) fn taken(&mut self) {
        self.refusals = 0;
    }

    /// It does not: whether that was once too often.
    pub(super) fn refused(&mut self) -> bool {
        self.refusals = self.refusals.saturating_add(1);
        self.refusals >= REFUSALS_MAX
    }

    /// An answer came: now and then its `date` tells how far our clock is off.
    pub(super) fn saw_date(&mut self, now: Instant, answered: &Answered) {
        let lately = |at: Instant| now.saturating_duration_since(at) < DATE_AGAIN;
        if !self.dated_at.is_some_and(lately) {
            self.dated_at = Some(now);
            self.who.saw_date(answered);
        }
    }
}

/// The next token.
async fn token(state: &mut Option<watch::Receiver<State>>) {
    match state {
        None => pending().await,
        Some(state) => {
            if state.changed().await.is_err() {
                pending().await
            }
        }
    }
}
