//! The inbox: receipts on their way to the store, and whom to answer once they are there.

use std::collections::VecDeque;
use std::future::pending;

use codecs::smpp::CommandStatus;
use codecs::smpp::session::{Reply, Session};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::meters::Tally;
use crate::outcome::{Receipt, ReceiptBatch};

/// Bounded by the session's inbound window: what is in here has not been answered.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    receipts: Vec<Receipt>,
    replies: Vec<Reply>,
    /// Batches at the store, oldest first; it stores them in this order.
    stored: VecDeque<(oneshot::Receiver<()>, Vec<Reply>)>,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.receipts.is_empty() && self.stored.is_empty()
    }

    /// A receipt came.
    pub(super) fn push(&mut self, receipt: Receipt, reply: Reply) {
        self.receipts.push(receipt);
        self.replies.push(reply);
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
            answer(&replies, stored, session, tally);
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

    /// Hands over what came, in one batch. `false`: the way to the store is full; what is here waits,
    /// and once the session's inbound window is full the socket is not read any more.
    pub(super) fn hand_over(
        &mut self,
        receipts: &mpsc::Sender<ReceiptBatch>,
        session: &mut Session,
        tally: &mut Tally,
    ) -> bool {
        if self.receipts.is_empty() {
            return true;
        }
        match receipts.try_reserve() {
            Ok(permit) => {
                let (stored, told) = oneshot::channel();
                let receipts = std::mem::take(&mut self.receipts);
                self.stored
                    .push_back((told, std::mem::take(&mut self.replies)));
                permit.send(ReceiptBatch { receipts, stored });
                true
            }
            Err(TrySendError::Full(())) => false,
            Err(TrySendError::Closed(())) => {
                self.receipts.clear();
                answer(&std::mem::take(&mut self.replies), false, session, tally);
                true
            }
        }
    }
}

/// ROK once it is on disk (SMPP v3.4 §4.6.2); else "temporary", so that the carrier sends it again.
fn answer(replies: &[Reply], stored: bool, session: &mut Session, tally: &mut Tally) {
    let status = if stored {
        CommandStatus::OK
    } else {
        tally.not_stored += replies.len() as u64;
        CommandStatus::RECEIVER_TEMPORARY
    };
    tally.acks += replies.len() as u64;
    for reply in replies {
        session.respond_deliver(*reply, status);
    }
}
