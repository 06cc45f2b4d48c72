//! Links: how a dispatcher and a route's connections talk. Attempts in, answers out.

use serde::Serialize;
use tokio::sync::mpsc;

use crate::clock::UnixMs;
use crate::outcome::{Answer, Attempt};

/// A connection's number within its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LinkIx(pub u16);

/// A dispatcher's end of one link. The link answers every attempt it is handed exactly once, also
/// when it dies: what it may have written is then unknown, what it certainly has not is not sent.
#[derive(Debug)]
pub struct LinkHandle {
    /// Which one.
    pub link: LinkIx,
    /// Attempts for it: never more out than the window it came up with, so sending never waits.
    pub attempts: mpsc::Sender<Vec<Attempt>>,
}

/// What a link that is up carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Attempts out, receipts in.
    Both,
    /// Attempts only.
    Attempts,
    /// Receipts only: it comes up with a window of 0.
    Receipts,
}

impl Carries {
    /// Whether attempts can go over it.
    #[must_use]
    pub fn attempts(self) -> bool {
        self != Self::Receipts
    }

    /// Whether receipts can come over it.
    #[must_use]
    pub fn receipts(self) -> bool {
        self != Self::Attempts
    }
}

/// What a link that is down does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It tries again then.
    Again(UnixMs),
    /// The carrier takes no more of its kind: it tries again then, much later.
    TooMany(UnixMs),
    /// Nothing, until somebody has looked and the gateway is started again.
    Stopped,
}

/// What a link tells its dispatcher.
#[derive(Debug)]
pub enum LinkEvent {
    /// It is bound and takes up to `window` unanswered attempts.
    Up {
        /// Which one.
        link: LinkIx,
        /// Unanswered attempts it takes.
        window: usize,
        /// The peer's address, for whoever asks.
        peer: String,
        /// Which way.
        carries: Carries,
    },
    /// It is not bound any more (or could not be). Every attempt has been answered before this.
    Down {
        /// Which one.
        link: LinkIx,
        /// Why, in words.
        why: String,
        /// What follows.
        then: Then,
    },
    /// It is not needed as the account stands now, and is not bound.
    Unused {
        /// Which one.
        link: LinkIx,
    },
    /// It waits for the peer to connect, and is not bound.
    Listening {
        /// Which one.
        link: LinkIx,
    },
    /// Answers, in the order they came.
    Answers {
        /// Which one.
        link: LinkIx,
        /// The answers.
        answers: Vec<Answer>,
        /// How full the peer said it is in the last of them that told, 0 to 100 (SMPP v5.0
        /// congestion_state).
        congestion: Option<u8>,
    },
    /// What the peer said after all about attempts that were answered as unknown: their ids may
    /// still be receipted. Not a second answer: nothing is freed or decided by it.
    Late {
        /// Which one.
        link: LinkIx,
        /// What it said.
        answers: Vec<Answer>,
    },
}
