//! The ledger: every attempt a link was handed, so that each is answered exactly once.
//!
//! ```text
//!  channel ──► waiting ──► out ──► answers ──► dispatcher
//!                 │          └ never answered, maybe written: Unknown
//!                 └ never reached the session: NotSent
//! ```
//! It stands outside the connection's loop: when that one panics or is dropped, what is written here
//! is still answered.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::clock::{Clock, UnixMs};
use crate::link::{Carries, LinkEvent, LinkIx, Pulse};
use crate::message::Message;
use crate::outcome::{Answer, Attempt, Outcome, OutcomeResult, ProviderId, Reason, Retry, Whose};

/// What has been handed over and what is known of it. Bounded by what the dispatcher hands over: at
/// most one window.
#[derive(Debug)]
pub(in crate::connect) struct Ledger {
    link: LinkIx,
    events: mpsc::Sender<LinkEvent>,
    clock: Clock,
    /// Handed over, not given to the session.
    pub(in crate::connect) waiting: VecDeque<Attempt>,
    /// Given to the session, by token.
    out: FxHashMap<u64, Out>,
    up: Option<LinkEvent>,
    /// How the link is otherwise: told after the answers that came before. At most a few.
    told: VecDeque<LinkEvent>,
    answers: Vec<Answer>,
    /// What the peer said last of how full it is.
    pub(in crate::connect) congestion: Option<u8>,
    late: Vec<Answer>,
    /// Answers since the meters took them, by result.
    pub(in crate::connect) results: [u64; 4],
}

/// What was given to the session.
#[derive(Debug)]
struct Out {
    at: UnixMs,
    /// `None` where the link keeps it. The dispatcher has its message until it is answered in any case.
    attempt: Option<Attempt>,
}

/// Whether the dispatcher took what there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::connect) enum Told {
    /// All of it.
    All,
    /// Its channel is full: more is to be told.
    Full,
    /// It is gone.
    Gone,
}

impl Ledger {
    pub(in crate::connect) fn new(
        link: LinkIx,
        events: mpsc::Sender<LinkEvent>,
        clock: Clock,
    ) -> Self {
        Self {
            link,
            events,
            clock,
            waiting: VecDeque::new(),
            out: FxHashMap::default(),
            up: None,
            told: VecDeque::new(),
            answers: Vec::new(),
            congestion: None,
            late: Vec::new(),
            results: [0; 4],
        }
    }

    /// The bind is made: told before anything else.
    pub(in crate::connect) fn up(
        &mut self,
        window: usize,
        peer: String,
        carries: Carries,
        pulse: Arc<Pulse>,
    ) {
        self.up = Some(LinkEvent::Up {
            link: self.link,
            window,
            peer,
            carries,
            pulse,
        });
    }

    /// How the link is: told in this order, after the answers that are there.
    pub(in crate::connect) fn event(&mut self, event: LinkEvent) {
        self.told.push_back(event);
    }

    /// An attempt that the link keeps goes into the session.
    pub(in crate::connect) fn hand(&mut self, token: u64, at: UnixMs) {
        let attempt = None;
        self.out.insert(token, Out { at, attempt });
    }

    /// The attempt that waits first goes into the session.
    pub(in crate::connect) fn hand_next(&mut self, at: UnixMs) -> Option<&Attempt> {
        let attempt = self.waiting.pop_front()?;
        let token = attempt.token;
        let attempt = Some(attempt);
        let out = self.out.entry(token).insert_entry(Out { at, attempt });
        out.into_mut().attempt.as_ref()
    }

    /// The session did not take what [`Self::hand_next`] gave: it waits first again.
    pub(in crate::connect) fn take_back(&mut self, token: u64) {
        if let Some(attempt) = self.out.remove(&token).and_then(|out| out.attempt) {
            self.waiting.push_front(attempt);
        }
    }

    /// The message of what [`Self::hand_next`] gave and is not answered yet.
    pub(in crate::connect) fn message(&self, token: u64) -> Option<&Message> {
        let attempt = self.out.get(&token)?.attempt.as_ref()?;
        Some(&attempt.message)
    }

    /// Answers what was given to the session; its `handed_at` is filled in. A token that is not out
    /// has been answered already, and is not answered again.
    pub(in crate::connect) fn answer(&mut self, token: u64, mut outcome: Outcome) {
        if let Some(out) = self.out.remove(&token) {
            outcome.handed_at = out.at;
            self.results[outcome.result as usize] += 1;
            self.answers.push(Answer { token, outcome });
        }
    }

    /// What the peer said about an attempt that was answered as unknown.
    pub(in crate::connect) fn late(&mut self, token: u64, outcome: Outcome) {
        self.late.push(Answer { token, outcome });
    }

    /// Answers what the peer may have.
    pub(in crate::connect) fn unknown(&mut self, token: u64, reason: Reason, now: UnixMs) {
        // What follows is `on_ambiguous`'s decision; a retry, if any, is one here.
        let retry = Retry::Here { tries: 1 };
        let (result, whose) = (OutcomeResult::Unknown, Whose::Network);
        self.answer(token, ours(result, reason, whose, retry, now));
    }

    /// Answers what certainly has not left.
    pub(in crate::connect) fn not_sent(&mut self, token: u64, now: UnixMs) {
        self.answer(token, not_sent(now));
    }

    /// Answers what waits: it has not left.
    pub(in crate::connect) fn refuse_waiting(&mut self, now: UnixMs) {
        self.results[OutcomeResult::NotSent as usize] += self.waiting.len() as u64;
        for attempt in self.waiting.drain(..) {
            let (token, outcome) = (attempt.token, not_sent(now));
            self.answers.push(Answer { token, outcome });
        }
    }

    /// Takes over what the channel holds at this moment.
    pub(in crate::connect) fn receive(&mut self, batch: Vec<Attempt>) {
        self.waiting.extend(batch);
    }

    /// Whether there is something to tell.
    pub(in crate::connect) fn has_news(&self) -> bool {
        self.up.is_some()
            || !self.answers.is_empty()
            || !self.late.is_empty()
            || !self.told.is_empty()
    }

    /// Answers all that is left: the connection is over.
    pub(in crate::connect) fn close(&mut self, now: UnixMs) {
        self.up = None;
        let left: Vec<u64> = self.out.keys().copied().collect();
        for token in left {
            self.unknown(token, Reason::ProviderTimeout, now);
        }
        self.refuse_waiting(now);
    }

    /// Tells the dispatcher, in one event, without waiting.
    pub(in crate::connect) fn tell(&mut self) -> Told {
        while self.has_news() {
            match self.events.clone().try_reserve_owned() {
                Ok(place) => self.tell_in(place),
                Err(TrySendError::Full(_)) => return Told::Full,
                Err(TrySendError::Closed(_)) => return Told::Gone,
            }
        }
        Told::All
    }

    /// Tells what comes next, for which there is a place: that the link is up comes first, how it is
    /// otherwise after the answers that came before.
    pub(in crate::connect) fn tell_in(&mut self, place: mpsc::OwnedPermit<LinkEvent>) {
        let quiet = self.answers.is_empty() && self.late.is_empty();
        let told = match self.up.take() {
            None if quiet => self.told.pop_front(),
            up => up,
        };
        if told.is_none() && quiet {
            return;
        }
        place.send(told.unwrap_or_else(|| {
            let congestion = self.congestion.take();
            next_news(self.link, &mut self.answers, congestion, &mut self.late)
        }));
    }

    /// Waits until the dispatcher can be told more; `None`: it is gone. Cancel safe.
    pub(in crate::connect) async fn room(&self) -> Option<mpsc::OwnedPermit<LinkEvent>> {
        self.events.clone().reserve_owned().await.ok()
    }

    /// Tells the dispatcher, waiting for room. `false`: it is gone.
    pub(in crate::connect) async fn tell_all(&mut self) -> bool {
        loop {
            match self.tell() {
                Told::All => return true,
                Told::Full => {
                    if let Some(place) = self.room().await {
                        self.tell_in(place);
                    }
                }
                Told::Gone => return false,
            }
        }
    }
}

fn next_news(
    link: LinkIx,
    answers: &mut Vec<Answer>,
    congestion: Option<u8>,
    late: &mut Vec<Answer>,
) -> LinkEvent {
    if answers.is_empty() {
        let answers = std::mem::take(late);
        return LinkEvent::Late { link, answers };
    }
    let answers = std::mem::take(answers);
    LinkEvent::Answers {
        link,
        answers,
        congestion,
    }
}

/// An outcome that the peer had no part in.
pub(in crate::connect) fn ours(
    result: OutcomeResult,
    reason: Reason,
    whose: Whose,
    retry: Retry,
    at: UnixMs,
) -> Outcome {
    Outcome {
        result,
        whose,
        code: 0,
        reason: Some(reason),
        retry,
        provider_id: ProviderId::default(),
        text: None,
        unregistered: UnixMs::ZERO,
        handed_at: at,
        answered_at: at,
    }
}

fn not_sent(now: UnixMs) -> Outcome {
    let retry = Retry::Here { tries: 1 };
    let (result, reason) = (OutcomeResult::NotSent, Reason::RouteDown);
    ours(result, reason, Whose::Network, retry, now)
}

/// The last resort, when the whole link is dropped: without waiting if there is room, else from a
/// task of its own.
impl Drop for Ledger {
    fn drop(&mut self) {
        self.close(self.clock.now());
        if self.tell() != Told::Full {
            return;
        }
        let (link, events) = (self.link, self.events.clone());
        let mut answers = std::mem::take(&mut self.answers);
        let mut late = std::mem::take(&mut self.late);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                while !answers.is_empty() || !late.is_empty() {
                    let news = next_news(link, &mut answers, None, &mut late);
                    if events.send(news).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
}
