//! When an access token is asked for: one account's token and the failures to get one. Pure; time
//! is an argument.
//!
//! The old token serves until it really expires, whatever becomes of the new one. Between failures
//! the wait doubles, under full jitter (AWS, "Exponential Backoff And Jitter"): many gateways that
//! lost the endpoint together do not come back together.

use std::sync::Arc;
use std::time::Duration;

use codecs::fcm::GrantClass;

use super::Bearer;
use crate::clock::UnixMs;

const SECOND: Duration = Duration::from_secs(1);

/// Part of its life after which a token is renewed: of Google's hour, a quarter is left for an
/// endpoint that is down.
const REFRESH_AT: f64 = 0.75;
/// It comes earlier by up to this part. Chosen: five gateways with one account are minutes apart.
const JITTER: f64 = 0.05;
/// The longest first wait after a passing fault.
const WAIT: Duration = SECOND;
/// The shortest wait. Chosen: never a loop, whatever is drawn.
const WAIT_MIN: Duration = Duration::from_millis(500);
/// The longest wait of itself. Chosen: a quarter of a token's life has room for three.
pub(super) const WAIT_MAX: Duration = SECOND.saturating_mul(300);
/// Longest Retry-After that counts: contract.md §3 has the same for webhooks.
pub(super) const RETRY_AFTER_MAX: Duration = SECOND.saturating_mul(3_600);
/// The wait where only a hand helps, which may be one at Google's side. Chosen: what was put right
/// there is noticed soon, and an account that was deleted is not asked for 6 times a minute.
const WAIT_PERMANENT: Duration = SECOND.saturating_mul(600);
/// The wait where clocks differ: NTP mends that by itself.
const WAIT_CLOCK: Duration = SECOND.saturating_mul(60);
/// Least age of a token that FCM refused, before another is asked for: one that is refused at once
/// is not helped by the next. Chosen.
const REFUSED_AGE_MIN: Duration = SECOND.saturating_mul(60);
/// A token issued so far in the future, or a wait beyond all waits, is of a clock that was wrong.
const FUTURE_MAX: Duration = SECOND.saturating_mul(60);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for a token now.
    Ask,
    /// Nothing before then.
    At(UnixMs),
}

/// Why no token came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What it means.
    pub(super) class: GrantClass,
    /// How long the endpoint wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

/// An account's token.
#[derive(Debug, Default)]
pub(super) struct Life {
    bearer: Option<Arc<Bearer>>,
    refresh_at: UnixMs,
    /// FCM refused it, or its key is gone from the file.
    unwanted: bool,
    failures: u32,
    not_before: UnixMs,
}

impl Life {
    /// What is to be done.
    pub(super) fn next(&self, now: UnixMs) -> Next {
        let not_before = match self.not_before.since(now) > RETRY_AFTER_MAX {
            // The clock was set back.
            true => UnixMs::ZERO,
            false => self.not_before,
        };
        let due = match &self.bearer {
            None => now,
            Some(bearer) if bearer.issued_at > now.plus(FUTURE_MAX) => now,
            Some(bearer) if self.unwanted => {
                bearer.issued_at.plus(REFUSED_AGE_MIN).min(self.refresh_at)
            }
            Some(_) => self.refresh_at,
        };
        let due = due.max(not_before);
        if now >= due { Next::Ask } else { Next::At(due) }
    }

    /// A token came that lives for `life` from its issue. `jitter` is anything from 0.0 to 1.0.
    pub(super) fn granted(&mut self, bearer: Arc<Bearer>, life: Duration, jitter: f64) {
        let part = JITTER.mul_add(-jitter, REFRESH_AT);
        *self = Self {
            refresh_at: bearer.issued_at.plus(life.mul_f64(part)),
            bearer: Some(bearer),
            ..Self::default()
        };
    }

    /// None came. `jitter` is anything from 0.0 to 1.0.
    pub(super) fn failed(&mut self, failure: Failure, now: UnixMs, jitter: f64) {
        let wait = match failure.class {
            GrantClass::RetryLater => {
                let doubled = WAIT.saturating_mul(1 << self.failures.min(16));
                doubled.min(WAIT_MAX).mul_f64(jitter).max(WAIT_MIN)
            }
            GrantClass::Clock => WAIT_CLOCK,
            GrantClass::Credentials | GrantClass::Config | GrantClass::Bug => {
                WAIT_PERMANENT.mul_f64(jitter.mul_add(0.2, 0.9))
            }
        };
        let asked = failure.retry_after.unwrap_or_default();
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.plus(wait.max(asked.min(RETRY_AFTER_MAX)));
    }

    /// FCM refused the token with this serial. True the first time.
    pub(super) fn refused(&mut self, serial: u64) -> bool {
        let current = self.bearer.as_ref().map(|bearer| bearer.serial);
        current == Some(serial) && !std::mem::replace(&mut self.unwanted, true)
    }

    /// The file holds another key: ask with it at once, and send with the old token until then.
    pub(super) fn turned(&mut self) {
        self.refresh_at = UnixMs::ZERO;
        self.unwanted = true;
        self.failures = 0;
        self.not_before = UnixMs::ZERO;
    }
}

/// Whether only somebody's hand helps.
pub(super) fn permanent(class: GrantClass) -> bool {
    match class {
        GrantClass::Credentials | GrantClass::Config | GrantClass::Bug => true,
        GrantClass::Clock | GrantClass::RetryLater => false,
    }
}

#[cfg(test)]
mod tests;
