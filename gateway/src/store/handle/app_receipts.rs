//! What apps tell of pushes, at the store's door.

use tokio::sync::oneshot;

use crate::message::MessageId;
use crate::message::life::AppReceipt;
use crate::store::Refused;
use crate::store::app_receipts::AppAnswer;
use crate::store::handle::Store;
use crate::store::inbox::{Adopted, Request, Undone};

impl Store {
    /// Takes what an app tells of a message: on disk when this returns, all of it or nothing. Twice the
    /// same changes nothing.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped: the app has to tell it again.
    pub async fn app_receipts(
        &self,
        id: MessageId,
        receipts: Vec<AppReceipt>,
    ) -> Result<AppAnswer, Refused> {
        let mut receipts = receipts;
        let mut adopt = Adopted::default();
        loop {
            let (reply, answer) = oneshot::channel();
            let request = Request::AppReceipts {
                id,
                receipts,
                adopt,
                reply,
            };
            self.shared.inbox.push(request, true);
            match answer.await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Undone::Missing(back, missing))) => {
                    adopt = self.archived(missing).await;
                    // Archived and taken back meanwhile, or not kept any more.
                    if adopt.records.is_empty() && self.get(id).await.is_none() {
                        return Ok(AppAnswer::Gone);
                    }
                    receipts = back;
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (receipts, adopt) = (back, Adopted::default());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }
}
