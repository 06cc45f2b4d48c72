//! Recent: what has happened to suppressions since the archive was last written.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::clock::UnixMs;
use crate::message::MessageId;
use crate::store::suppressions::SuppressionQuery;
use crate::suppression::{Ended, Suppression};

/// What one takes beside its texts: the box, its place in the tree, and two events of the log.
const EXTRA: usize = size_of::<Suppression>() + 2 * size_of::<crate::event::Event>() + 48;

/// Beginnings and ends, by id. An end may be of one that began earlier and is in the archive.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) begun: BTreeMap<MessageId, Box<Suppression>>,
    pub(crate) ended: BTreeMap<MessageId, Box<Ended>>,
    pub(crate) bytes: usize,
}

impl Stretch {
    /// Whether nothing happened.
    pub(crate) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.ended.is_empty()
    }
}

/// The stretch that the archiver writes now, and the one since.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    frozen: Arc<Stretch>,
    live: Stretch,
}

impl Recent {
    /// A suppression began. Returns the octets that it takes.
    pub(crate) fn begin(&mut self, suppression: Suppression) -> usize {
        let bytes = EXTRA + suppression.key.scope.value().len() + suppression.cause.heap_bytes();
        self.live.bytes += bytes;
        self.live
            .begun
            .insert(suppression.id, Box::new(suppression));
        bytes
    }

    /// A suppression ended. Returns the octets that its end takes.
    pub(crate) fn end(&mut self, ended: Ended) -> usize {
        let bytes = EXTRA + ended.key.scope.value().len() + ended.cause.heap_bytes();
        self.live.bytes += bytes;
        self.live.ended.insert(ended.id, Box::new(ended));
        bytes
    }

    /// Octets that wait for the archive; 0 when nothing does.
    pub(crate) fn waiting(&self) -> usize {
        self.live.bytes
    }

    /// Octets in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.live.bytes + self.frozen.bytes
    }

    /// Hands what waits to the archiver.
    pub(crate) fn freeze(&mut self) {
        self.frozen = Arc::new(std::mem::take(&mut self.live));
    }

    /// What the archiver has, or had.
    pub(crate) fn frozen(&self) -> Arc<Stretch> {
        self.frozen.clone()
    }

    /// The archiver is done with it.
    pub(crate) fn archived(&mut self) {
        self.frozen = Arc::default();
    }

    /// What memory knows of one.
    pub(crate) fn get(&self, id: MessageId) -> (Option<Suppression>, Option<Ended>) {
        let both = [&self.live, &*self.frozen];
        let begun = both.iter().find_map(|stretch| stretch.begun.get(&id));
        let ended = both.iter().find_map(|stretch| stretch.ended.get(&id));
        (
            begun.map(|one| (**one).clone()),
            ended.map(|one| (**one).clone()),
        )
    }

    /// The newest ones that a list asks for and that hold now, one more than it wants, and the ids of
    /// all that have ended.
    pub(crate) fn matching(
        &self,
        query: &SuppressionQuery,
        now: UnixMs,
    ) -> (Vec<Suppression>, FxHashSet<MessageId>) {
        let both = [&self.live, &*self.frozen];
        let ended: FxHashSet<MessageId> = both
            .iter()
            .flat_map(|stretch| stretch.ended.keys().copied())
            .collect();
        let holds =
            |one: &&Suppression| query.fits(one) && !one.is_over(now) && !ended.contains(&one.id);
        let newest = |stretch: &Stretch| {
            let all = stretch.begun.values().rev().map(Box::as_ref);
            let found: Vec<Suppression> =
                all.filter(holds).take(query.limit + 1).cloned().collect();
            found
        };
        let found = both.iter().flat_map(|stretch| newest(stretch)).collect();
        (found, ended)
    }
}
