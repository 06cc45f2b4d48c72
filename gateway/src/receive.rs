//! Receive: what handsets write is stored, and only then acknowledged. Links hand batches in; each is
//! told when its parts are on disk.

use tokio::sync::mpsc;

use crate::inbound::InboundBatch;
use crate::stop::Stop;
use crate::store::Store;

/// Batches that may wait, from all links: each link has one out at a time and more only while it
/// reads on.
pub const BATCHES_WAITING_MAX: usize = 1_024;
/// Parts stored in one call: about one commit's worth.
const PARTS_AT_ONCE: usize = 1_000;

/// Runs until every link has gone.
pub async fn run(mut batches: mpsc::Receiver<InboundBatch>, store: Store, stop: Stop) {
    let _guard = stop.guard("inbound");
    while let Some(first) = batches.recv().await {
        let mut parts = first.parts;
        let mut told = vec![first.stored];
        while parts.len() < PARTS_AT_ONCE {
            let Ok(more) = batches.try_recv() else { break };
            parts.extend(more.parts);
            told.push(more.stored);
        }
        match store.receive(parts).await {
            Ok(taken) => {
                count("whole", taken.whole);
                count("waiting", taken.waiting);
                count("repeated", taken.repeated);
                // A link that has gone cannot answer: the carrier sends the part again.
                for stored in told {
                    let _gone = stored.send(());
                }
            }
            // The senders are dropped: each carrier is asked to send its parts again.
            Err(refused) => tracing::warn!(%refused, "messages from handsets were not stored"),
        }
    }
}

fn count(result: &'static str, parts: usize) {
    let parts = u64::try_from(parts).unwrap_or(0);
    metrics::counter!("trunkline_inbound_parts_total", "result" => result).increment(parts);
}
