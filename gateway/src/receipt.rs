//! Receipt: what the carriers say later finds its message. Links hand batches in; each is told when
//! its receipts are on disk, and only then answers its carrier.

use tokio::sync::mpsc;

use crate::outcome::ReceiptBatch;
use crate::stop::Stop;
use crate::store::{Matched, Store};

/// Batches that may wait, from all links: each link has one out at a time and more only while it
/// reads on.
pub const BATCHES_WAITING_MAX: usize = 1_024;
/// Receipts stored in one call: about one commit's worth.
const RECEIPTS_AT_ONCE: usize = 2_000;

/// Runs until every link has gone.
pub async fn run(mut batches: mpsc::Receiver<ReceiptBatch>, store: Store, stop: Stop) {
    let _guard = stop.guard("receipts");
    while let Some(first) = batches.recv().await {
        let (mut receipts, mut unreadable) = (first.receipts, first.unreadable);
        let mut told = vec![first.stored];
        while receipts.len() < RECEIPTS_AT_ONCE {
            let Ok(more) = batches.try_recv() else { break };
            receipts.extend(more.receipts);
            unreadable.extend(more.unreadable);
            told.push(more.stored);
        }
        count("unreadable", unreadable.len());
        // One call each: nearly always there is nothing unreadable, and then nothing is called.
        let stored = match unreadable.is_empty() {
            true => Ok(()),
            false => store.keep_unreadable(unreadable).await,
        };
        let matched = match (stored, receipts.is_empty()) {
            (Ok(()), true) => Ok(Matched::default()),
            (Ok(()), false) => store.apply_receipts(receipts).await,
            (Err(refused), _) => Err(refused),
        };
        match matched {
            Ok(matched) => {
                count("matched", matched.matched);
                count("repeated", matched.repeated);
                count("parked", matched.parked);
                // A link that has gone cannot answer: the carrier sends the receipt again.
                for stored in told {
                    let _gone = stored.send(());
                }
            }
            // The senders are dropped: each carrier is asked to send its receipts again.
            Err(refused) => tracing::warn!(%refused, "receipts were not stored"),
        }
    }
}

fn count(result: &'static str, receipts: usize) {
    let receipts = u64::try_from(receipts).unwrap_or(0);
    metrics::counter!("trunkline_receipts_total", "result" => result).increment(receipts);
}
