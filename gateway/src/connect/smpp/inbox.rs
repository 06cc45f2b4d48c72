//! The inbox: what came on its way to the store, and whom to answer once it is there. A connection has
//! one for receipts and one for handsets' messages: neither waits behind the other.
//!
//! What a carrier sends is capped by what it has unanswered (the session config's `inbound_window`): it is
//! answered when it is on disk, and beyond that the socket is not read. So a carrier that floods us goes
//! as fast as the store commits, and takes no memory (smpp.md §9); a rate beyond that is not set.

use std::collections::VecDeque;
use std::future::pending;

use codecs::smpp::CommandStatus;
use codecs::smpp::session::{Reply, Session};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::meters::Tally;
use crate::inbound::{InboundBatch, InboundPart};
use crate::outcome::{Receipt, ReceiptBatch, Unreadable};

/// What is handed to the store in one go.
pub(super) trait Batch: Sized {
    /// What it is made of.
    type Items: Default;

    /// Of items, and whom to tell.
    fn new(items: Self::Items, stored: oneshot::Sender<()>) -> Self;

    /// Where those are counted that were not stored.
    fn not_stored(tally: &mut Tally) -> &mut u64;
}

impl Batch for ReceiptBatch {
    /// Receipts, and those that cannot be read.
    type Items = (Vec<Receipt>, Vec<Unreadable>);

    fn new((receipts, unreadable): Self::Items, stored: oneshot::Sender<()>) -> Self {
        Self {
            receipts,
            unreadable,
            stored,
        }
    }

    fn not_stored(tally: &mut Tally) -> &mut u64 {
        &mut tally.not_stored
    }
}

impl Batch for InboundBatch {
    type Items = Vec<InboundPart>;

    fn new(parts: Vec<InboundPart>, stored: oneshot::Sender<()>) -> Self {
        Self { parts, stored }
    }

    fn not_stored(tally: &mut Tally) -> &mut u64 {
        &mut tally.inbound_not_stored
    }
}

/// Bounded by the session's inbound window: what is in here has not been answered.
#[derive(Debug)]
pub(super) struct Inbox<B: Batch> {
    items: B::Items,
    /// Whom to answer for them, one for each.
    replies: Vec<Reply>,
    /// Batches at the store, oldest first; it stores them in this order.
    stored: VecDeque<(oneshot::Receiver<()>, Vec<Reply>)>,
    /// What the carrier is told that shall send it again.
    retry: CommandStatus,
}

impl<B: Batch> Inbox<B> {
    /// An empty one; `retry` is the status on which the carrier sends again.
    pub(super) fn new(retry: CommandStatus) -> Self {
        Self {
            items: B::Items::default(),
            replies: Vec::new(),
            stored: VecDeque::new(),
            retry,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty() && self.stored.is_empty()
    }

    /// One came, which the caller adds to the items.
    pub(super) fn take(&mut self, reply: Reply) -> &mut B::Items {
        self.replies.push(reply);
        &mut self.items
    }

    /// Waits for the oldest batch; says whether it is stored. Cancel safe.
    pub(super) async fn settled(&mut self) -> bool {
        match self.stored.front_mut() {
            Some((stored, _)) => stored.await.is_ok(),
            None => pending().await,
        }
    }

    /// Answers the oldest batch.
    pub(super) fn answer(&mut self, stored: bool, session: &mut Session, tally: &mut Tally) {
        if let Some((_, replies)) = self.stored.pop_front() {
            answer::<B>(&replies, self.status(stored), session, tally);
        }
    }

    /// ROK once it is on disk (SMPP v3.4 §4.6.2); else what has the carrier send it again.
    fn status(&self, stored: bool) -> CommandStatus {
        if stored {
            CommandStatus::OK
        } else {
            self.retry
        }
    }

    /// Answers every batch that is settled by now.
    pub(super) fn answer_settled(&mut self, session: &mut Session, tally: &mut Tally) {
        while let Some((stored, _)) = self.stored.front_mut() {
            let stored = match stored.try_recv() {
                Ok(()) => true,
                Err(TryRecvError::Closed) => false,
                Err(TryRecvError::Empty) => return,
            };
            self.answer(stored, session, tally);
        }
    }

    /// Hands over what came, in one batch, for which there is a place.
    pub(super) fn put_in(&mut self, place: mpsc::Permit<'_, B>) {
        if self.replies.is_empty() {
            return;
        }
        let (stored, told) = oneshot::channel();
        let items = std::mem::take(&mut self.items);
        self.stored
            .push_back((told, std::mem::take(&mut self.replies)));
        place.send(B::new(items, stored));
    }

    /// Hands over what came, in one batch. `false`: the way to the store is full; what is here waits,
    /// and once the session's inbound window is full the socket is not read any more.
    pub(super) fn hand_over(
        &mut self,
        store: &mpsc::Sender<B>,
        session: &mut Session,
        tally: &mut Tally,
    ) -> bool {
        if self.replies.is_empty() {
            return true;
        }
        match store.try_reserve() {
            Ok(place) => {
                self.put_in(place);
                true
            }
            Err(TrySendError::Full(())) => false,
            Err(TrySendError::Closed(())) => {
                self.items = B::Items::default();
                let replies = std::mem::take(&mut self.replies);
                answer::<B>(&replies, self.status(false), session, tally);
                true
            }
        }
    }
}

fn answer<B: Batch>(
    replies: &[Reply],
    status: CommandStatus,
    session: &mut Session,
    tally: &mut Tally,
) {
    if status != CommandStatus::OK {
        *B::not_stored(tally) += replies.len() as u64;
    }
    tally.acks += replies.len() as u64;
    for reply in replies {
        session.respond_deliver(*reply, status);
    }
}
