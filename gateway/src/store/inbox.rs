//! The inbox: requests on their way to the writer, in two lines. Bulk accepts wait behind the rest.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use smallvec::SmallVec;
use tokio::sync::{Semaphore, oneshot};

use crate::event::EventKind;
use crate::inbound::InboundPart;
use crate::message::life::AppReceipt;
use crate::message::{EndpointIx, MessageId, Parts, RouteIx, TenantIx};
use crate::outcome::{Next, Receipt, Settle, Unreadable};
use crate::store::app_receipts::AppAnswer;
use crate::store::by_number::Suspects;
use crate::store::inbound::Taken;
use crate::store::matching::Candidates;
use crate::store::suppressions::{NewSuppression, Suppressed};
use crate::store::{Accepted, Draft, Record, Refused};
use crate::suppression::{Cause, Ended, Key};

/// Drafts that may wait for the writer: about ten commits' worth. Beyond it, `accept` waits, which
/// the HTTP stage turns into flow control.
pub(crate) const DRAFTS_WAITING_MAX: usize = 10_000;

/// Messages that one commit takes (storage.md §3: about 1,000; larger only adds latency).
pub(crate) const COMMIT_MESSAGES: usize = 1_000;

/// Commits begin at least so far apart, unless one is full: a commit costs 50-100 µs of CPU and two
/// wake-ups however little it holds, so that under load it waits for company (storage.md §3: "linger
/// at most 1 ms and only under load"). What comes after a pause is never delayed.
pub(crate) const COMMIT_APART: Duration = Duration::from_millis(1);

/// The answer to a request: what it asked for, or the request's items back.
pub(crate) type Reply<T, U> = oneshot::Sender<Result<T, Undone<U>>>;
/// What the archive knows, by receipt; empty when nothing was looked for.
pub(crate) type KnownParts = Vec<Known>;
/// The fingerprint and message of an idempotency key, by draft, as far as it is known.
pub(crate) type KnownKeys = Vec<Option<([u8; 16], MessageId)>>;

/// The archived parts that a receipt may be of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Those whose ids look like its own.
    pub(crate) by_id: Candidates,
    /// Those that went to its number, where that may count.
    pub(crate) by_number: Suspects,
}

/// Messages read from the archive, to be taken back into memory.
#[derive(Default)]
pub(crate) struct Adopted {
    pub(crate) records: Vec<Record>,
    /// How many generations had been archived when they were read. When there are more by now, the
    /// archive may hold younger copies: they have to be read again.
    pub(crate) seen: u64,
}

/// What the writer is asked. Each reply comes after the commit is durable; a dropped reply means
/// that nothing was written.
pub(crate) enum Request {
    Accept {
        drafts: Vec<Draft>,
        /// Whether a reused key of one draft keeps all of them out.
        together: bool,
        /// Keys that the archive knows, by draft.
        known: KnownKeys,
        /// How many generations had been archived when the keys were looked up.
        seen: u64,
        reply: AcceptReply,
    },
    Settle {
        settles: Vec<Settle>,
        adopt: Adopted,
        reply: Reply<Vec<Next>, Vec<Settle>>,
    },
    /// The route is down: move those on that have another one. The reply tells which are not in its
    /// queue any more.
    MoveOn {
        route: RouteIx,
        ids: Vec<MessageId>,
        adopt: Adopted,
        reply: Reply<Vec<bool>, Vec<MessageId>>,
    },
    /// Parts are about to be handed over under `hold`. The reply names those that must not be.
    Intent {
        route: RouteIx,
        parts: Vec<(MessageId, Parts)>,
        adopt: Adopted,
        reply: Reply<Vec<MessageId>, Vec<(MessageId, Parts)>>,
    },
    Receipts {
        receipts: Vec<Receipt>,
        /// Where the archive knows the receipt's id, by receipt.
        known: KnownParts,
        adopt: Adopted,
        seen: u64,
        reply: Reply<Matched, Vec<Receipt>>,
    },
    /// What an app tells of a message, all or nothing.
    AppReceipts {
        id: MessageId,
        receipts: Vec<AppReceipt>,
        adopt: Adopted,
        reply: Reply<AppAnswer, Vec<AppReceipt>>,
    },
    /// Receipts that cannot be read, to be kept for the operator.
    Unreadable {
        receipts: Vec<Unreadable>,
        reply: oneshot::Sender<()>,
    },
    /// Receipts that have waited for their message for a while. The reply tells how many found it.
    LookAgain {
        receipts: Vec<Receipt>,
        known: KnownParts,
        /// Those that find nothing are given up.
        over: bool,
        adopt: Adopted,
        seen: u64,
        reply: Reply<usize, Vec<Receipt>>,
    },
    /// Parts may be handed over from now on, on this route; without one: are not after all. The reply
    /// names the messages that have ended, or left the route.
    Claim {
        route: Option<RouteIx>,
        parts: Vec<(MessageId, Parts)>,
        adopt: Adopted,
        reply: Reply<Vec<MessageId>, Vec<(MessageId, Parts)>>,
    },
    /// What the process before this one had claimed of these messages may have been sent.
    MaybeSent {
        ids: Vec<MessageId>,
        reply: oneshot::Sender<()>,
    },
    /// Messages whose time is over: queued ones expire, sent ones have had no receipt. With each, the
    /// parts that a dispatcher holds of it and has not out; `None` when nobody asked one.
    Overdue {
        items: Vec<(MessageId, Option<Parts>)>,
        adopt: Adopted,
        reply: oneshot::Sender<usize>,
    },
    /// Their route is gone from the config: they go on over another one of theirs, or over these,
    /// or fail. The reply tells how many went on and how many failed.
    Replan {
        items: Vec<(MessageId, Routes)>,
        adopt: Adopted,
        reply: oneshot::Sender<Replanned>,
    },
    /// Takes messages back into memory.
    Adopt {
        adopt: Adopted,
        reply: oneshot::Sender<()>,
    },
    /// Parts of handsets' messages.
    Inbound {
        parts: Vec<InboundPart>,
        reply: oneshot::Sender<Result<Taken, Refused>>,
    },
    /// These wait for the route and were found suppressed: they end, unless they are so no longer.
    /// The reply names those that are not.
    RejectSuppressed {
        route: RouteIx,
        items: Vec<(MessageId, Parts)>,
        adopt: Adopted,
        reply: Reply<Vec<MessageId>, Vec<(MessageId, Parts)>>,
    },
    /// Somebody is not to be sent to any more.
    Suppress {
        items: Vec<NewSuppression>,
        reply: oneshot::Sender<Vec<Suppressed>>,
    },
    /// The suppression of this id, which stands under this key, ends; `None`: it has ended already.
    Unsuppress {
        key: Key,
        id: MessageId,
        cause: Cause,
        reply: oneshot::Sender<Option<Ended>>,
    },
    NoteEndpoint {
        tenant: TenantIx,
        endpoint: EndpointIx,
        kind: EventKind,
    },
    /// The archiver is done with a generation. The reply names the journal files it may unlink.
    Archived {
        number: u64,
        events_upto: u64,
        batch: u64,
        reply: oneshot::Sender<Vec<PathBuf>>,
    },
}

/// Where an accept is answered.
pub(crate) type AcceptReply = Reply<Vec<Accepted>, (Vec<Draft>, Refused)>;

/// A request that the writer handed back: look into the archive again, or give up.
#[derive(Debug)]
pub(crate) enum Undone<T> {
    /// These messages are not in memory (any more).
    Missing(T, Vec<MessageId>),
    /// The archive has grown since the look-up.
    Stale(T),
    /// It cannot be taken now.
    Refused(T),
}

/// How receipts fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// Found their message.
    pub matched: usize,
    /// Changed nothing: seen before, or of lower rank.
    pub repeated: usize,
    /// Wait for their message.
    pub parked: usize,
}

/// Candidate routes of a message.
pub(crate) type Routes = SmallVec<[RouteIx; 4]>;

/// What became of messages whose route the config has lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replanned {
    /// They wait for another route.
    pub moved: u64,
    /// They failed: there is none.
    pub failed: u64,
}

impl Request {
    fn weight(&self) -> usize {
        match self {
            Self::Accept { drafts, .. } => drafts.len(),
            Self::Settle { settles, .. } => settles.len(),
            Self::Receipts { receipts, .. } | Self::LookAgain { receipts, .. } => receipts.len(),
            Self::Unreadable { receipts, .. } => receipts.len(),
            Self::AppReceipts { receipts, .. } => receipts.len(),
            Self::Inbound { parts, .. } => parts.len(),
            Self::MoveOn { ids, .. } | Self::MaybeSent { ids, .. } => ids.len(),
            Self::Overdue { items, .. } => items.len(),
            Self::RejectSuppressed { items, .. } => items.len(),
            Self::Intent { parts, .. } => parts.len(),
            Self::Replan { items, .. } => items.len(),
            Self::Suppress { items, .. } => items.len(),
            // A few octets each.
            Self::Claim { parts, .. } => parts.len() / 8 + 1,
            Self::Adopt { .. }
            | Self::Unsuppress { .. }
            | Self::NoteEndpoint { .. }
            | Self::Archived { .. } => 1,
        }
    }
}

#[derive(Default)]
struct Lines {
    urgent: VecDeque<Request>,
    bulk: VecDeque<Request>,
    /// Messages in both.
    weight: usize,
    /// When the last commit began.
    began: Option<Instant>,
    /// The writer waits for its time: only a full commit wakes it earlier.
    lingering: bool,
    closed: bool,
    /// Something small waits for the next commit, or for its time.
    lazy_since: Option<Instant>,
}

/// The two lines. `urgent` is bounded by its senders: each dispatcher and each bind has at most one
/// request out. `bulk` is bounded by [`DRAFTS_WAITING_MAX`].
pub(crate) struct Inbox {
    lines: Mutex<Lines>,
    wake: Condvar,
    room: Semaphore,
    /// How far apart commits begin.
    apart: Duration,
}

/// What the writer takes in one turn.
pub(crate) struct Turn {
    pub(crate) requests: Vec<Request>,
    pub(crate) closed: bool,
}

impl Inbox {
    pub(crate) fn new(apart: Duration) -> Self {
        Self {
            apart,
            lines: Mutex::default(),
            wake: Condvar::new(),
            room: Semaphore::new(DRAFTS_WAITING_MAX),
        }
    }

    /// Waits for room for so many drafts. The room is held until the permit is dropped.
    pub(crate) async fn room(&self, drafts: usize) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let drafts = u32::try_from(drafts.min(DRAFTS_WAITING_MAX)).unwrap_or(1);
        self.room.acquire_many(drafts).await.ok()
    }

    /// Drafts that wait or are being written.
    pub(crate) fn drafts_waiting(&self) -> usize {
        DRAFTS_WAITING_MAX.saturating_sub(self.room.available_permits())
    }

    /// Puts a request in its line. A request to a closed inbox is dropped, and with it its reply.
    pub(crate) fn push(&self, request: Request, urgent: bool) {
        let mut lines = self.lines.lock();
        if lines.closed {
            return;
        }
        lines.weight += request.weight();
        if urgent {
            lines.urgent.push_back(request);
        } else {
            lines.bulk.push_back(request);
        }
        let wakes = !lines.lingering || lines.weight >= COMMIT_MESSAGES;
        drop(lines);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Says that something small waits for the next commit, at most for `LAZY_MAX`.
    pub(crate) fn note_lazy(&self) {
        let mut lines = self.lines.lock();
        if lines.lazy_since.is_none() {
            lines.lazy_since = Some(Instant::now());
            drop(lines);
            self.wake.notify_one();
        }
    }

    /// No more requests.
    pub(crate) fn close(&self) {
        self.lines.lock().closed = true;
        self.room.close();
        self.wake.notify_one();
    }

    /// Waits until there is work, then takes what is waiting, up to one commit's worth: all of the
    /// urgent line before any of the bulk line.
    pub(crate) fn take(&self, lazy_max: Duration) -> Turn {
        let mut lines = self.lines.lock();
        loop {
            let empty = lines.urgent.is_empty() && lines.bulk.is_empty();
            let lazy_left = lines
                .lazy_since
                .map(|since| lazy_max.saturating_sub(since.elapsed()));
            if !empty || lines.closed || lazy_left == Some(Duration::ZERO) {
                break;
            }
            match lazy_left {
                Some(left) => {
                    self.wake.wait_for(&mut lines, left);
                }
                None => self.wake.wait(&mut lines),
            }
        }
        self.linger(&mut lines);
        lines.began = Some(Instant::now());
        lines.lazy_since = None;
        let mut requests = Vec::new();
        let mut weight = 0;
        while weight < COMMIT_MESSAGES {
            let next = lines.urgent.pop_front();
            let Some(request) = next.or_else(|| lines.bulk.pop_front()) else {
                break;
            };
            weight += request.weight();
            requests.push(request);
        }
        lines.weight -= weight;
        let closed = lines.closed && requests.is_empty();
        Turn { requests, closed }
    }

    /// Takes the accepts that wait, and nothing else: the replies of what is not going to be written.
    pub(crate) fn take_accepts(&self) -> Vec<AcceptReply> {
        let mut guard = self.lines.lock();
        let lines = &mut *guard;
        let (mut replies, mut weight) = (Vec::new(), 0);
        for line in [&mut lines.urgent, &mut lines.bulk] {
            for request in std::mem::take(line) {
                let weighs = request.weight();
                match request {
                    Request::Accept { reply, .. } => {
                        replies.push(reply);
                        weight += weighs;
                    }
                    other => line.push_back(other),
                }
            }
        }
        lines.weight -= weight;
        replies
    }

    /// Waits until the next commit may begin.
    fn linger(&self, lines: &mut MutexGuard<'_, Lines>) {
        let Some(until) = lines.began.map(|began| began + self.apart) else {
            return;
        };
        lines.lingering = true;
        while lines.weight < COMMIT_MESSAGES && !lines.closed {
            if self.wake.wait_until(lines, until).timed_out() {
                break;
            }
        }
        lines.lingering = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Request {
        Request::NoteEndpoint {
            tenant: TenantIx(0),
            endpoint: EndpointIx(0),
            kind: EventKind::EndpointDisabled,
        }
    }

    #[test]
    fn accepts_alone_are_taken_out_of_both_lines_with_what_they_weigh() {
        let inbox = Inbox::new(Duration::ZERO);
        let mut answers = Vec::new();
        for urgent in [true, false] {
            inbox.push(note(), urgent);
            let (reply, answer) = oneshot::channel();
            let accept = Request::Accept {
                drafts: Vec::new(),
                together: false,
                known: Vec::new(),
                seen: 0,
                reply,
            };
            inbox.push(accept, urgent);
            inbox.push(note(), urgent);
            answers.push(answer);
        }
        let before = inbox.lines.lock().weight;
        for reply in inbox.take_accepts() {
            drop(reply.send(Err(Undone::Refused((Vec::new(), Refused::DiskFull)))));
        }
        for mut answer in answers {
            assert!(matches!(answer.try_recv(), Ok(Err(Undone::Refused(_)))));
        }
        assert!(inbox.take_accepts().is_empty());
        assert_eq!(inbox.lines.lock().weight, before);
        assert_eq!(inbox.take(Duration::MAX).requests.len(), 4);
    }

    #[test]
    fn the_first_commit_waits_for_nobody_and_the_next_until_it_is_full() {
        // So long that a test that waited for it would never end.
        let inbox = Inbox::new(Duration::from_secs(1 << 20));
        let take = || inbox.take(Duration::MAX).requests.len();
        inbox.push(note(), true);
        assert_eq!(take(), 1);
        std::thread::scope(|scope| {
            let second = scope.spawn(take);
            for _ in 0..COMMIT_MESSAGES {
                inbox.push(note(), false);
            }
            assert_eq!(second.join().expect("the taker ends"), COMMIT_MESSAGES);
            let third = scope.spawn(take);
            inbox.push(note(), false);
            inbox.close();
            assert_eq!(third.join().expect("the taker ends"), 1);
        });
    }
}
