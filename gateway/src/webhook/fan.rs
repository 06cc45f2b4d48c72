//! The fan-out: reads the log once, near its head, and offers each page to every endpoint.

use std::collections::HashMap;
use std::sync::Arc;

use super::feed::{Feed, Item};
use super::target::Target;
use super::{Log, instant};
use crate::event::EventKinds;
use crate::message::TenantIx;
use crate::stop::Stop;
use crate::store::{EventQuery, Rendered};

/// Most events read at a time: at 700 octets each, 1.4 MB.
pub(super) const PAGE_EVENTS: usize = 2_000;

/// Reads from after `from` until the stop, and hands on to `outlets`. Events of no kind in `kinds`
/// are not read.
pub(super) async fn run(
    log: Log,
    outlets: Vec<(Arc<Target>, Arc<Feed>)>,
    kinds: EventKinds,
    mut from: u64,
    mut stop: Stop,
) {
    let mut head = log.head.clone();
    loop {
        let more = tokio::select! {
            () = stop.stopped() => return,
            more = head.wait_for(|head| *head > from) => more.is_ok(),
        };
        if !more {
            return;
        }
        let page = (log.read)(EventQuery {
            after: from,
            tenant: None,
            kinds,
            message: None,
            limit: PAGE_EVENTS,
        })
        .await;
        if page.read_to <= from {
            // The head promised more: the store is closing. Its end of the head says the rest.
            tokio::select! {
                () = stop.stopped() => return,
                changed = head.changed() => if changed.is_err() { return },
            }
            continue;
        }
        hand_on(&outlets, from, page.read_to, &page.events);
        from = page.read_to;
    }
}

fn hand_on(outlets: &[(Arc<Target>, Arc<Feed>)], from: u64, to: u64, events: &[Rendered]) {
    let now = instant();
    let mut by_tenant: HashMap<TenantIx, Vec<&Rendered>> = HashMap::new();
    for one in events {
        by_tenant.entry(one.event.tenant).or_default().push(one);
    }
    for (target, feed) in outlets {
        let theirs = by_tenant
            .get(&target.filter.tenant)
            .map_or(&[][..], Vec::as_slice);
        let wanted = theirs.iter().filter(|one| target.filter.wants(one));
        feed.offer(from, to, wanted.map(|one| Item::of(one, now)));
    }
}
