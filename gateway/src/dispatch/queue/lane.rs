//! Lane: one class's queue on one route, shared fairly by its tenants. Pure.
//!
//! ```text
//!  tenant's line ─┐
//!  tenant's line ─┼─ deficit round robin ──stage──► claimed on disk ──► staged ──take──► out
//!  tenant's line ─┘             claimed as accepted, when nothing waits ──▲
//! ```
//! Each tenant has a [`Line`], in the order of acceptance. A tenant whose turn it is sends up to
//! [`QUANTUM`] parts, then the next one does: whoever has little to send is done soon, however
//! much others have. See the store's `claim.rs` for the claims.

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use super::line::{self, Beside, Line};
use crate::clock::UnixMs;
use crate::message::{Message, TenantIx};
use crate::store::{Entry, needs_claim};

/// Entries of one lane in memory, whoever's; tenants share it.
pub const READY_MAX: usize = 10_000;
/// Entries that a tenant may have in memory in any case, however many share the lane.
const SHARE_MIN: usize = 50;
/// Parts (segments of an SMS, devices of a push) that a tenant sends in its turn: the longest SMS's
/// (contract.md §1), so that each turn sends one.
const QUANTUM: u32 = 20;

/// One lane.
#[derive(Default)]
pub struct Lane {
    /// What may be handed over, in the order in which it is.
    staged: VecDeque<Entry>,
    /// How many were to be staged last.
    ahead: usize,
    /// By tenant; a line that is empty stays, for it knows what it has had. Bounded by the tenants of
    /// the name table.
    shares: FxHashMap<TenantIx, Share>,
    /// Tenants with something in their line, the one whose turn it is first.
    ring: VecDeque<TenantIx>,
    /// Tenants with more in the store.
    behind: BTreeSet<TenantIx>,
    /// Where the search for the next load goes on.
    loaded_last: TenantIx,
    /// Entries in all lines, but for those beside them.
    waiting: usize,
    /// What is beside all lines.
    beside: Beside,
    /// Entries of the lines whose claims are on their way to the disk.
    claiming: usize,
    /// Entries that had been claimed as they were accepted, since the start.
    came_claimed: u64,
}

#[derive(Default)]
struct Share {
    line: Line,
    in_ring: bool,
    /// Parts that it may still send in this turn.
    deficit: u32,
}

/// A load that should begin; [`Lane::loaded`] follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Whose.
    pub tenant: TenantIx,
    /// After which order key.
    pub after: u64,
    /// How many entries.
    pub limit: usize,
}

impl Lane {
    /// Entries in memory that wait for their turn, and not for another one to the same destination.
    #[must_use]
    pub fn len(&self) -> usize {
        self.staged.len() + self.claiming + self.waiting
    }

    /// Entries in memory that wait for another one to the same destination.
    #[must_use]
    pub fn beside(&self) -> usize {
        self.beside.entries
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing can be taken now.
    #[must_use]
    pub fn is_unstaged(&self) -> bool {
        self.staged.is_empty()
    }

    /// Entries that one tenant may have in memory: the more share the lane, the fewer.
    fn share_max(&self) -> usize {
        (READY_MAX / self.ring.len().max(1)).max(SHARE_MIN)
    }

    /// Changes a tenant's line; a tenant that is new has had nothing yet.
    fn line<T>(&mut self, tenant: TenantIx, change: impl FnOnce(&mut Line) -> T) -> T {
        let share = self.shares.entry(tenant).or_default();
        let before = (share.line.waiting(), share.line.is_behind());
        let beside = share.line.beside();
        let result = change(&mut share.line);
        let (len, is_behind) = (share.line.waiting(), share.line.is_behind());
        self.waiting = self.waiting + len - before.0;
        let now = share.line.beside();
        self.beside.entries = self.beside.entries + now.entries - beside.entries;
        self.beside.claimed = self.beside.claimed + now.claimed - beside.claimed;
        if len > 0 && !share.in_ring {
            (share.in_ring, share.deficit) = (true, QUANTUM);
            self.ring.push_back(tenant);
        }
        if is_behind && !before.1 {
            self.behind.insert(tenant);
        } else if before.1 && !is_behind {
            self.behind.remove(&tenant);
        }
        result
    }

    /// The store has something of this tenant, or may have: it has to be loaded.
    pub fn missed(&mut self, tenant: TenantIx) {
        self.line(tenant, Line::missed);
    }

    /// The feed left entries out, of which so many were claimed; whose is not known.
    pub fn missed_any(&mut self, claimed: u64) {
        self.came_claimed += claimed;
        let tenants: Vec<TenantIx> = self.shares.keys().copied().collect();
        tenants.into_iter().for_each(|tenant| self.missed(tenant));
    }

    /// A new entry.
    pub fn arrive(&mut self, entry: Entry) {
        self.came_claimed += u64::from(entry.came_claimed());
        let tenant = entry.message.tenant;
        let idle = self.waiting == 0 && self.claiming == 0 && self.behind.is_empty();
        if idle && self.staged.len() < self.ahead && is_ready(&entry) {
            let share = self.shares.entry(tenant).or_default();
            if share.line.pass_by(&entry) {
                self.staged.push_back(entry);
            }
            return;
        }
        let max = self.share_max();
        self.line(tenant, |line| line.arrive(entry, max));
    }

    /// A load that should begin, if one should: of the tenants with more in the store in turn.
    pub fn next_load(&mut self) -> Option<Load> {
        if self.behind.is_empty() {
            return None;
        }
        let max = self.share_max();
        let (last, limit) = (self.loaded_last, line::load_of(max));
        let after_last = self
            .behind
            .range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded));
        let tenants = after_last.chain(self.behind.range(..=last)).copied();
        let shares = &mut self.shares;
        let (tenant, after) = tenants
            .filter_map(|tenant| {
                let share = shares.get_mut(&tenant)?;
                Some((tenant, share.line.begin_load(line::low_of(max))?))
            })
            .next()?;
        self.loaded_last = tenant;
        Some(Load {
            tenant,
            after,
            limit,
        })
    }

    /// A load brought these; see [`Line::loaded`]. `None`: it failed.
    pub fn loaded(&mut self, load: Load, entries: Option<(Vec<Entry>, Option<u64>, bool)>) {
        let max = self.share_max();
        self.line(load.tenant, |line| match entries {
            Some((entries, last, complete)) => line.loaded(entries, last, complete, max),
            None => line.load_failed(),
        });
    }

    /// The next entry of the lines, by turns.
    fn next(&mut self) -> Option<Entry> {
        loop {
            let tenant = *self.ring.front()?;
            let cost = self.line(tenant, Line::cost);
            let share = self.shares.get_mut(&tenant)?;
            let Some(cost) = cost else {
                share.in_ring = false;
                self.ring.pop_front();
                continue;
            };
            if share.deficit < cost && self.ring.len() > 1 {
                share.deficit += QUANTUM;
                self.ring.rotate_left(1);
                continue;
            }
            // Alone, it has nobody to wait for and saves nothing up.
            share.deficit = share.deficit.saturating_sub(cost);
            self.waiting -= 1;
            return share.line.take();
        }
    }

    /// Takes what is next out of the lines: into the stage, or to be claimed first.
    pub fn stage(&mut self, ahead: usize) -> Vec<Entry> {
        self.ahead = ahead;
        let mut to_claim = Vec::new();
        if self.claiming > 0 || self.waiting == 0 || self.staged.len() > ahead / 2 {
            return to_claim;
        }
        while self.staged.len() + to_claim.len() < ahead {
            let Some(entry) = self.next() else { break };
            // Nothing overtakes what is being claimed.
            if to_claim.is_empty() && is_ready(&entry) {
                self.staged.push_back(entry);
            } else {
                to_claim.push(entry);
            }
        }
        self.claiming = to_claim.len();
        to_claim
    }

    /// What was taken to be claimed comes back, all of it; then, one by one, [`Lane::claimed`].
    pub fn claims_end(&mut self) {
        self.claiming = 0;
    }

    /// An entry is claimed, or could not be.
    pub fn claimed(&mut self, mut entry: Entry, claimed: bool) {
        if claimed {
            entry.claimed = true;
            self.staged.push_back(entry);
        } else {
            self.line(entry.message.tenant, |line| line.give_back(entry));
        }
    }

    /// How many messages may have been claimed as they were accepted: those that came, and as many as
    /// there is room for, unless others wait before them.
    #[must_use]
    pub fn credit(&self, ahead: usize) -> u64 {
        let waits = self.waiting > 0 || !self.behind.is_empty();
        let room = if waits {
            0
        } else {
            ahead.saturating_sub(self.len() + self.beside.claimed)
        };
        self.came_claimed + u64::try_from(room).unwrap_or(0)
    }

    /// Puts an entry back in its place: among its tenant's in their order, before all others'.
    pub fn give_back(&mut self, entry: Entry) {
        let tenant = entry.message.tenant;
        let may_go = is_ready(&entry) && self.line(tenant, |line| line.hold(&entry.message));
        if !may_go {
            self.line(tenant, |line| line.give_back(entry));
            return;
        }
        let mut place = 0;
        for (index, other) in self.staged.iter().enumerate() {
            let same = other.message.tenant == tenant;
            if same && other.order < entry.order {
                place = index + 1;
            } else if same {
                break;
            }
        }
        self.staged.insert(place, entry);
    }

    /// Puts back what was taken last.
    pub fn untake(&mut self, entry: Entry) {
        self.staged.push_front(entry);
    }

    /// Takes the head of the stage.
    pub fn take(&mut self) -> Option<Entry> {
        self.staged.pop_front()
    }

    /// The message waits for its next try, and those after it to the same destination with it.
    pub fn hold(&mut self, message: &Message) {
        self.line(message.tenant, |line| line.hold(message));
    }

    /// A message that was taken is done with: the next one to its destination may go.
    pub fn done(&mut self, message: &Message) {
        self.line(message.tenant, |line| line.done(message));
    }

    /// Takes out what fits `which`, until `taken` holds `limit`; what is taken out is done with.
    pub fn take_where(
        &mut self,
        limit: usize,
        which: impl Fn(&Entry) -> bool,
        taken: &mut Vec<Entry>,
    ) {
        let from = taken.len();
        line::take_where(&mut self.staged, limit, &which, taken);
        for entry in taken.get(from..).unwrap_or_default() {
            self.done(&entry.message);
        }
        let has = |share: &Share| share.line.waiting() + share.line.beside().entries > 0;
        let with_some = self.shares.iter().filter(|(_, share)| has(share));
        let tenants: Vec<TenantIx> = with_some.map(|(tenant, _)| *tenant).collect();
        for tenant in tenants {
            self.line(tenant, |line| line.take_where(limit, &which, taken));
        }
    }

    /// When the message was accepted that has waited longest, of those next in their lines.
    #[must_use]
    pub fn oldest(&self) -> Option<UnixMs> {
        let heads = self.shares.values().flat_map(|share| share.line.heads());
        let next = self.staged.front().into_iter().chain(heads);
        next.map(|entry| entry.message.accepted_at).min()
    }
}

/// Whether an entry may be handed over: its parts are claimed, or go out under an intent.
#[must_use]
pub fn is_ready(entry: &Entry) -> bool {
    entry.claimed || !needs_claim(&entry.message)
}
