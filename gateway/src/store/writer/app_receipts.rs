//! What apps tell of pushes: the writer's part, which decides it in the commit that keeps it.

use crate::clock::UnixMs;
use crate::message::MessageId;
use crate::message::life::app;
use crate::message::life::{AppReceipt, Status};
use crate::store::app_receipts::{AppAnswer, AppTaken};
use crate::store::inbox::Request;
use crate::store::writer::{Batch, Done, Writer};
use crate::store::young::Young;

impl Writer {
    pub(super) fn apply_app_receipts(
        &mut self,
        young: &mut Young,
        request: Request,
        now: UnixMs,
        batch: &mut Batch,
    ) {
        let Request::AppReceipts {
            id,
            receipts,
            adopt,
            reply,
        } = request
        else {
            return;
        };
        let given = (receipts, reply);
        if let Some((receipts, reply)) = self.present(young, adopt, given, |_| id) {
            let answer = self.app_receipts(young, id, &receipts, now);
            batch.done.push(Done::App(reply, answer));
        }
    }

    fn app_receipts(
        &mut self,
        young: &mut Young,
        id: MessageId,
        receipts: &[AppReceipt],
        now: UnixMs,
    ) -> AppAnswer {
        let Some(row) = young.row(id) else {
            return AppAnswer::Gone;
        };
        let refused = receipts.iter().enumerate().find_map(|(at, receipt)| {
            let checked = app::check(&row.message, &row.life, *receipt, now);
            checked.err().map(|why| AppAnswer::Refused(at, why))
        });
        if let Some(refused) = refused {
            return refused;
        }
        let mut new = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            let context = self.context(now, None);
            let changes = young
                .row(id)
                .map(|row| app::receipt(&row.message, &row.life, *receipt, context))
                .unwrap_or_default();
            new.push(!changes.is_empty());
            for change in changes {
                self.record(young, id, change);
            }
        }
        match young.row(id).map(|row| &row.life) {
            Some(life) => AppAnswer::Taken(AppTaken {
                new,
                status: life.status,
                version: life.version,
                is_final: life.is_final,
            }),
            None => AppAnswer::Gone,
        }
    }

    /// A message may have become `delivered` by what its app told while it was queued: what else it told
    /// then follows.
    pub(super) fn catch_up(&mut self, young: &mut Young, id: MessageId, now: UnixMs) {
        let told = young.row(id).is_some_and(|row| {
            row.life.status == Status::Delivered && row.message.has_app_receipts()
        });
        if told {
            self.plain_change(young, id, now, app::catch_up);
        }
    }
}
