//! Watch: what is done by the clock and belongs to no stage. Gauges, and lifetimes.

use std::time::Duration;

use crate::stop::Stop;
use crate::store::Store;

/// Gauges are set so often.
const EVERY: Duration = Duration::from_secs(1);
/// Lifetimes are looked at every so many turns.
const EXPIRE_TURNS: u32 = 5;

/// Runs until the stop.
pub(super) async fn run(store: Store, mut stop: Stop) {
    let _guard = stop.guard("watch");
    let mut turns = tokio::time::interval(EVERY);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for turn in 0u32.. {
        tokio::select! {
            _ = turns.tick() => {}
            () = stop.stopped() => return,
        }
        gauges(&store);
        if turn % EXPIRE_TURNS == 0 {
            store.look_again().await;
            let ended = store.expire().await;
            if ended > 0 {
                metrics::counter!("trunkline_messages_overdue_total")
                    .increment(u64::try_from(ended).unwrap_or(0));
            }
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floats; 2^53 is enough"
)]
fn gauges(store: &Store) {
    let figures = store.figures();
    metrics::gauge!("trunkline_queue_messages").set(figures.queued as f64);
    let names = store.names();
    for (route, lanes) in store.route_depths() {
        for (class, depth) in crate::message::Class::ALL.into_iter().zip(lanes) {
            let route = names.route(route).to_owned();
            let labels = [("route", route), ("class", class.name().to_owned())];
            metrics::gauge!("trunkline_route_queue_messages", &labels).set(depth as f64);
        }
    }
    metrics::gauge!("trunkline_store_young_messages").set(figures.young_messages as f64);
    metrics::gauge!("trunkline_receipts_parked").set(figures.parked as f64);
    metrics::gauge!("trunkline_accept_drafts_waiting").set(figures.drafts_waiting as f64);
}
