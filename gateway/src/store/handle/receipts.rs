//! Receipts at the store's door: what the archive knows of them goes along to the writer.

use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::message::RouteIx;
use crate::outcome::{Receipt, Unreadable};
use crate::store::by_number;
use crate::store::handle::Store;
use crate::store::inbox::{Adopted, Known, KnownParts, Matched, Request, Undone};
use crate::store::matching::{self, Agreement, Candidates, Choice};
use crate::store::shared::Shared;
use crate::store::young::{PARKED_MS, PARKED_RELOOK_MS};
use crate::store::{Learned, Orphan, ReceiptCounts, Refused, keys, writer};

/// Receipts looked at again in one commit.
const LOOK_AGAIN_AT_ONCE: usize = 1_000;
/// Messages under one carrier id that are read from the archive, the newest ones. Chosen: as in memory,
/// more means that the carrier's ids tell nothing.
const ARCHIVED_MAX: usize = 16;

impl Store {
    /// Matches receipts to their messages, or parks them. Twice the same changes nothing.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped: the carrier has to send them again.
    pub async fn apply_receipts(&self, receipts: Vec<Receipt>) -> Result<Matched, Refused> {
        let mut receipts = receipts;
        let mut adopt = Adopted::default();
        loop {
            let seen = self.shared.archived_count.load(Ordering::Acquire);
            let known = self.archived_parts(&receipts, false).await;
            let (reply, answer) = oneshot::channel();
            let request = Request::Receipts {
                receipts,
                known,
                adopt,
                seen,
                reply,
            };
            self.shared.inbox.push(request, true);
            match answer.await {
                Ok(Ok(matched)) => return Ok(matched),
                Ok(Err(Undone::Missing(back, missing))) => {
                    receipts = back;
                    adopt = self.archived(missing).await;
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (receipts, adopt) = (back, Adopted::default());
                }
                Err(_) => return Err(Refused::Closed),
            }
        }
    }

    /// Keeps receipts that cannot be read for the operator, among the orphans.
    ///
    /// # Errors
    /// [`Refused::Closed`] when the store has stopped: the carrier has to send them again.
    pub async fn keep_unreadable(&self, receipts: Vec<Unreadable>) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Unreadable { receipts, reply };
        self.shared.inbox.push(request, true);
        answer.await.map_err(|_| Refused::Closed)
    }

    /// Looks again at receipts that wait for their message: once when their answers must be there, and
    /// for the last time when their own time is over. Called every few seconds. Returns how many found
    /// their message.
    pub async fn look_again(&self) -> usize {
        let mut found = 0;
        loop {
            let now = self.shared.clock.now();
            let before = |ms| crate::clock::UnixMs(now.0.saturating_sub(ms));
            let (again, over) = {
                let times = (before(PARKED_RELOOK_MS), before(PARKED_MS));
                // Most of the time nothing waits, and then nobody is kept waiting either.
                if self.shared.young.read().parked.is_empty() {
                    return found;
                }
                self.shared.young.write().waited(times, LOOK_AGAIN_AT_ONCE)
            };
            if again.is_empty() && over.is_empty() {
                return found;
            }
            found += self.look_at(again, false).await;
            found += self.look_at(over, true).await;
        }
    }

    async fn look_at(&self, mut receipts: Vec<Receipt>, over: bool) -> usize {
        let mut adopt = Adopted::default();
        while !receipts.is_empty() {
            let seen = self.shared.archived_count.load(Ordering::Acquire);
            let known = self.archived_parts(&receipts, true).await;
            let (reply, answer) = oneshot::channel();
            let request = Request::LookAgain {
                receipts,
                known,
                over,
                adopt,
                seen,
                reply,
            };
            self.shared.inbox.push(request, true);
            match answer.await {
                Ok(Ok(found)) => return found,
                Ok(Err(Undone::Missing(back, missing))) => {
                    receipts = back;
                    adopt = self.archived(missing).await;
                }
                Ok(Err(Undone::Stale(back) | Undone::Refused(back))) => {
                    (receipts, adopt) = (back, Adopted::default());
                }
                // The store has stopped: they wait in the journal.
                Err(_) => return 0,
            }
        }
        0
    }

    /// What the archive knows of receipts that memory is not sure about.
    async fn archived_parts(&self, receipts: &[Receipt], last: bool) -> KnownParts {
        // A receipt that comes before its answer is in neither; the filters say so without a read.
        let shared = &self.shared;
        let untouched = shared.archive.is_untouched();
        let unknown: Vec<Option<Receipt>> = {
            let young = shared.young.read();
            let sure = |receipt: &Receipt| {
                let known = writer::candidates(shared, &young, receipt, last);
                let knowledge = writer::knowledge(shared, &young, receipt, last);
                let choice = matching::choose(&known, &knowledge);
                // What may be another's as well may be one's that is archived.
                matches!(choice, Choice::One(one) if one.agrees != Agreement::No
                    && !knowledge.doubts(&one))
            };
            let asked = |receipt: &Receipt| {
                let by_number =
                    || last && !untouched && by_number::wanted(shared, receipt).is_some();
                let asked =
                    !sure(receipt) && (keys::may_be_archived(shared, receipt) || by_number());
                asked.then(|| receipt.clone())
            };
            receipts.iter().map(asked).collect()
        };
        if unknown.iter().all(Option::is_none) {
            return Vec::new();
        }
        self.blocking(move |shared| {
            let parts = |receipt: &Option<Receipt>| {
                let Some(receipt) = receipt else {
                    return Known::default();
                };
                let number = by_number::wanted(shared, receipt).filter(|_| last);
                Known {
                    by_id: archived_parts(shared, receipt),
                    by_number: number.map_or_else(by_number::Suspects::default, |number| {
                        by_number::archived(shared, receipt, number)
                    }),
                }
            };
            unknown.iter().map(parts).collect()
        })
        .await
        .unwrap_or_default()
    }

    /// A route's receipts since the start.
    #[must_use]
    pub fn receipt_counts(&self, route: RouteIx) -> ReceiptCounts {
        let all = self.shared.receipts.lock();
        all.get(&route).copied().unwrap_or_default()
    }

    /// What a route's receipts have taught.
    #[must_use]
    pub fn learned(&self, route: RouteIx) -> Learned {
        let young = self.shared.young.read();
        young.learned.get(&route).cloned().unwrap_or_default()
    }

    /// A route's receipts without a message, the newest first. The oldest of the route that has
    /// most go when there are more than a thousand of all routes.
    #[must_use]
    pub fn orphans(&self, route: RouteIx) -> Vec<Orphan> {
        let young = self.shared.young.read();
        let own = young.orphans.iter().rev();
        own.filter(|orphan| orphan.route() == route)
            .cloned()
            .collect()
    }

    /// How many [`Store::orphans`] lists.
    #[must_use]
    pub fn orphan_count(&self, route: RouteIx) -> usize {
        let young = self.shared.young.read();
        let own = young.orphans.iter();
        own.filter(|orphan| orphan.route() == route).count()
    }
}

/// The archived parts whose ids look like the receipt's. A message that is not kept any more names
/// nobody.
fn archived_parts(shared: &Shared, receipt: &Receipt) -> Candidates {
    if receipt.provider_id.is_empty() {
        return Candidates::new();
    }
    let ladder = shared.ladder(receipt.route);
    let mut found = Candidates::new();
    for (name, by_text) in matching::ids(receipt) {
        for key in keys::carrier_keys(receipt.route, name, ladder) {
            let mut places = shared.archive.carriers(key);
            places.truncate(ARCHIVED_MAX);
            let ids: Vec<_> = places.iter().map(|(id, _)| *id).collect();
            let records = shared.archive.get(&ids);
            for (id, part) in places {
                let record = records.iter().find(|record| record.message.id == id);
                let one = record.and_then(|record| {
                    matching::candidate_of(record, part, (receipt, by_text), ladder)
                });
                one.into_iter()
                    .for_each(|one| matching::add(&mut found, one));
            }
        }
    }
    found
}
