//! When a provider token is made: the life of the tokens of one key id. Pure; time is an argument.
//!
//! ```text
//!   made        20 min: one may follow            50 min ± jitter       60 min: Apple refuses it
//!    ├───────────────┼────────────────────────────────┼─────────────────────┤
//!                    └─ early, if Apple calls it expired └─ as a rule
//! ```
//! "Establishing a token-based connection to APNs": at most every 20 minutes, at least every 60.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Bearer, Fingerprint};
use crate::clock::UnixMs;

const MINUTE: Duration = Duration::from_secs(60);

/// Shortest time between two tokens of one key. Apple, as above: a connection that sees more is
/// refused with `TooManyProviderTokenUpdates`.
pub(super) const BETWEEN_MIN: Duration = MINUTE.saturating_mul(20);
/// Age at which a token is replaced. push.md R7.
pub(super) const REFRESH_AT: Duration = MINUTE.saturating_mul(50);
/// The replacement comes earlier or later by up to this, so that several gateways with one key do
/// not all do it at once. Chosen: leaves 7 minutes to the end.
const JITTER: Duration = Duration::from_secs(150);
/// Age at which Apple refuses a token with `ExpiredProviderToken`. Apple, as above.
pub(super) const EXPIRES_AT: Duration = MINUTE.saturating_mul(60);
/// The oldest that a token gets while Apple says that there were too many. Chosen: a minute before
/// it would be refused anyway.
const HELD_BACK_MAX: Duration = MINUTE.saturating_mul(59);
/// A token made so far in the future was made by a clock that was wrong. Chosen: twice the skew
/// that is an alarm.
const FUTURE_MAX: Duration = MINUTE;
/// Keys that one file may have held within [`BETWEEN_MIN`]; a further one waits for its first
/// token. Chosen: an operator who tries the wrong file twice is not kept waiting, and a script that
/// rewrites it for ever makes no more than this.
pub(super) const KEYS_MAX: usize = 4;

/// Now, by both clocks: what is written down and what cannot be set back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) wall: UnixMs,
    pub(super) steady: Instant,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Make a token now.
    Mint,
    /// Nothing before then.
    At(UnixMs),
}

/// A token of one key.
#[derive(Clone, Debug)]
struct Held {
    key: Fingerprint,
    bearer: Arc<Bearer>,
    issued_at: UnixMs,
    refresh_at: UnixMs,
    /// When it was made by this process; `None`: by an earlier one.
    minted: Option<Instant>,
    /// Apple called it expired.
    refused: bool,
}

/// The tokens of one key id. Several only after its file was changed: each key has its own.
#[derive(Debug, Default)]
pub(super) struct Life {
    key: Fingerprint,
    held: Vec<Held>,
    /// Apple said that there were too many: none before this, while there is one.
    held_back: UnixMs,
}

impl Life {
    /// Without a token.
    pub(super) fn new(key: Fingerprint) -> Self {
        Self {
            key,
            ..Self::default()
        }
    }

    /// The file holds this key now. Its token of before, if it is still held, serves again.
    pub(super) fn turn_to(&mut self, key: Fingerprint) {
        self.key = key;
    }

    /// The key whose token is shown.
    pub(super) fn key(&self) -> Fingerprint {
        self.key
    }

    /// The current key's token, however old.
    pub(super) fn bearer(&self) -> Option<&Arc<Bearer>> {
        self.current().map(|held| &held.bearer)
    }

    fn current(&self) -> Option<&Held> {
        self.held.iter().find(|held| held.key == self.key)
    }

    /// What is to be done.
    pub(super) fn next(&self, now: Now) -> Next {
        let Some(held) = self.current() else {
            return self.first(now);
        };
        let from_the_future = held.issued_at > now.wall.plus(FUTURE_MAX);
        let wanted = held.refused || from_the_future || now.wall >= held.refresh_at;
        let held_back = match self.held_back.since(now.wall) > BETWEEN_MIN {
            // The clock was set back.
            true => UnixMs::ZERO,
            false => self.held_back,
        };
        let may_at = held.may_follow_at(now).max(held_back);
        if !wanted {
            return Next::At(held.refresh_at.max(may_at));
        }
        if now.wall >= may_at {
            Next::Mint
        } else {
            Next::At(may_at)
        }
    }

    /// The first token of a key: at once, unless the file held too many others of late.
    fn first(&self, now: Now) -> Next {
        let ends = self.held.iter().map(|held| held.may_follow_at(now));
        let mut young: Vec<UnixMs> = ends.filter(|end| *end > now.wall).collect();
        if young.len() < KEYS_MAX {
            return Next::Mint;
        }
        young.sort_unstable();
        young.first().map_or(Next::Mint, |first| Next::At(*first))
    }

    /// A token was made, by this process at `minted`, or is taken over from an earlier one. `jitter`
    /// is anything from 0.0 to 1.0.
    pub(super) fn made(
        &mut self,
        bearer: Arc<Bearer>,
        issued_at: UnixMs,
        minted: Option<Instant>,
        jitter: f64,
    ) {
        let early = REFRESH_AT.saturating_sub(JITTER);
        let refresh_at = issued_at.plus(early.saturating_add(JITTER.mul_f64(2.0 * jitter)));
        self.held.retain(|held| held.key != self.key);
        if self.held.len() >= KEYS_MAX {
            // The oldest: `first` has seen to it that it is older than `BETWEEN_MIN`.
            self.held.sort_by_key(|held| held.issued_at);
            self.held.remove(0);
        }
        self.held.push(Held {
            key: self.key,
            bearer,
            issued_at,
            refresh_at,
            minted,
            refused: false,
        });
        self.held_back = UnixMs::ZERO;
    }

    /// The current key's token goes by this serial and generation from now on.
    pub(super) fn shown_as(&mut self, bearer: Arc<Bearer>) {
        let key = self.key;
        for held in self.held.iter_mut().filter(|held| held.key == key) {
            held.bearer = bearer.clone();
        }
    }

    /// Apple called the token with this serial expired. Of an older one that says nothing. True the
    /// first time.
    pub(super) fn expired(&mut self, serial: u64) -> bool {
        let key = self.key;
        let mut held = self.held.iter_mut();
        let found = held.find(|held| held.key == key && held.bearer.serial == serial);
        found.is_some_and(|held| !std::mem::replace(&mut held.refused, true))
    }

    /// Apple said that there were too many tokens: the one there is serves as long as it can.
    pub(super) fn too_many(&mut self, now: Now) {
        if let Some(held) = self.current() {
            let end = held.issued_at.plus(HELD_BACK_MAX);
            self.held_back = now.wall.plus(BETWEEN_MIN).min(end);
        }
    }
}

impl Held {
    /// When the next token of this key may be made. By the wall clock, which goes on while a machine
    /// sleeps; by the other where the wall clock was set back behind the token.
    fn may_follow_at(&self, now: Now) -> UnixMs {
        if self.issued_at <= now.wall.plus(FUTURE_MAX) {
            return self.issued_at.plus(BETWEEN_MIN);
        }
        let age = self
            .minted
            .map(|minted| now.steady.saturating_duration_since(minted));
        let left = age.map_or(Duration::ZERO, |age| BETWEEN_MIN.saturating_sub(age));
        now.wall.plus(left)
    }
}

#[cfg(test)]
mod tests;
