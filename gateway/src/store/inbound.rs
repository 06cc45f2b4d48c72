//! Inbound: the store's interface for what handsets write.

use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::inbound::InboundPart;
use crate::inbound::reply::Asked;
use crate::message::Message;
use crate::store::handle::Store;
use crate::store::inbox::Request;
use crate::store::shared::Shared;
use crate::store::{Callback, Refused};

pub(crate) mod answered;

/// What became of parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Made a message whole.
    pub whole: usize,
    /// Wait for others.
    pub waiting: usize,
    /// Had come before: nothing was written.
    pub repeated: usize,
}

/// Makes the confirmation of what a handset asks for; `None`: none is wanted. Called within a commit:
/// it must not block.
pub(crate) type Confirm = dyn Fn(&Asked<'_>) -> Option<Message> + Send + Sync;

impl Store {
    /// Says who makes confirmations; to be called once, before any handset's message comes. The
    /// writer asks for one at the most once in ten minutes for a pair and a wish, and accepts it in
    /// the commit of what asks for it: beyond `limits.queued`, bounded by
    /// [`REMEMBERED_MAX`](crate::inbound::reply::REMEMBERED_MAX).
    pub fn confirm_with(
        &self,
        confirm: impl Fn(&Asked<'_>) -> Option<Message> + Send + Sync + 'static,
    ) {
        // A second one would be a mistake of the composition; the first one stays.
        drop(self.shared().confirm.set(Box::new(confirm)));
    }

    /// Takes parts of handsets' messages; when this returns, each is on disk, alone or with the
    /// others of its message.
    ///
    /// # Errors
    /// [`Refused`]: the carrier has to send all of it again. Nothing of the call was written, unless
    /// it is [`Refused::Overloaded`]: then `limits.memory` is used up by a quarter more than there is,
    /// or an opt-out had no room (`limits.suppressions`). What finds the disk full only in the commit
    /// itself waits for room instead, as receipts do.
    pub async fn receive(&self, parts: Vec<InboundPart>) -> Result<Taken, Refused> {
        self.check_inbound()?;
        let shared = self.shared();
        let parts = self.answered(parts).await;
        let (reply, answer) = oneshot::channel();
        shared.inbox.push(Request::Inbound { parts, reply }, true);
        answer.await.unwrap_or(Err(Refused::Closed))
    }
}

impl Shared {
    /// Tells how many messages wait for parts, and wakes the writer for those whose time is over.
    pub(crate) fn look_after_inbound(&self) {
        let now = self.clock.now();
        let before = UnixMs(now.0.saturating_sub(self.rules.timeout_ms));
        let (open, overdue) = {
            let young = self.young.read();
            let overdue = young.inbound.overdue(before).is_some();
            (young.inbound.open_count(), overdue)
        };
        if overdue {
            self.inbox.note_lazy();
        }
        let open = u32::try_from(open).unwrap_or(u32::MAX);
        metrics::gauge!("trunkline_inbound_sets_open").set(f64::from(open));
    }
}

/// The one endpoint that is told of a handset's message, if one was chosen.
pub(crate) fn callback_of(inbound: &crate::inbound::Inbound) -> Option<Callback> {
    inbound.endpoint.map(|endpoint| Callback {
        endpoint,
        url: None,
        kinds: None,
    })
}

#[cfg(test)]
pub(crate) mod tests;
