//! Links: how a dispatcher and a route's connections talk. Attempts in, answers out.

use serde::Serialize;
use tokio::sync::mpsc;

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
    },
    /// It is not bound any more (or could not be). Every attempt has been answered before this.
    Down {
        /// Which one.
        link: LinkIx,
        /// Why, in words.
        why: String,
    },
    /// Answers, in the order they came.
    Answers {
        /// Which one.
        link: LinkIx,
        /// The answers.
        answers: Vec<Answer>,
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
