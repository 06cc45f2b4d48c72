//! Replan: what waits for a route that the config does not have any more goes on over another one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::message::{Message, RouteIx};
use crate::store::Replanned;
use crate::store::depths::Place;
use crate::store::handle::Store;
use crate::store::inbox::{Adopted, Request, Routes};
use crate::store::listing;

/// Messages planned again in one commit (storage.md §3: about 1,000).
const AT_ONCE: usize = 1_000;
/// What comes back from the archive must not fill the memory: above this share of the budget the next
/// ones wait for the archiver …
const MEMORY_PERCENT: u64 = 35;
/// … and memory is looked at again so often.
const MEMORY_LOOK: Duration = Duration::from_millis(100);

impl Store {
    /// The routes that the config does not have any more.
    fn lost_routes(&self) -> Vec<RouteIx> {
        let shared = self.shared();
        let count = u16::try_from(shared.names.routes.len()).unwrap_or(u16::MAX);
        (0..count)
            .map(RouteIx)
            .filter(|route| !shared.is_known(*route))
            .collect()
    }

    /// How many messages wait for a route that the config does not have any more.
    #[must_use]
    pub fn stranded(&self) -> u64 {
        let lost = self.lost_routes().into_iter();
        lost.flat_map(|route| self.depths(route)).sum()
    }

    /// Sends what waits for such a route on: over the next one of its routes that is there, or else
    /// over what `plan` gives, or else it fails with `no_route`. Several commits; what one of them did
    /// is not done again by a later call.
    pub async fn replan(&self, plan: impl Fn(&Message) -> Routes + Send) -> Replanned {
        let mut all = Replanned::default();
        for route in self.lost_routes() {
            for (class, tenant) in self.waiting(route) {
                let place = Place::new(route, class, tenant);
                let mut after = 0;
                while let Some((last, some)) = self.replan_some(place, after, &plan).await {
                    after = last;
                    all.moved += some.moved;
                    all.failed += some.failed;
                }
            }
        }
        all
    }

    /// The next ones of a route, lane and tenant after an order key; the last key. `None` after the
    /// last, and when the store is closing.
    async fn replan_some(
        &self,
        place: Place,
        after: u64,
        plan: &(impl Fn(&Message) -> Routes + Send),
    ) -> Option<(u64, Replanned)> {
        self.wait_for_memory().await;
        let seen = self.shared().archived_count.load(Ordering::Acquire);
        let read = self.blocking(move |shared| listing::ready(shared, place, after, AT_ONCE));
        let (entries, records) = read.await?;
        let last = entries.last()?.order;
        let items = entries
            .iter()
            .map(|entry| (entry.message.id, plan(&entry.message)))
            .collect();
        let adopt = Adopted { records, seen };
        let (reply, answer) = oneshot::channel();
        let request = Request::Replan {
            items,
            adopt,
            reply,
        };
        self.shared().inbox.push(request, false);
        Some((last, answer.await.ok()?))
    }

    async fn wait_for_memory(&self) {
        let shared = self.shared();
        let limit = shared.config.memory / 100 * MEMORY_PERCENT;
        let crowded = || {
            let bytes = shared.young.read().bytes();
            u64::try_from(bytes).unwrap_or(u64::MAX) > limit
        };
        while crowded() && !shared.closing.load(Ordering::Acquire) {
            tokio::time::sleep(MEMORY_LOOK).await;
        }
    }
}
