//! Receipts: the writer's part in matching them, parking them, and learning from them.

use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;

use crate::clock::UnixMs;
use crate::message::life::decide;
use crate::message::{MessageId, RouteIx};
use crate::outcome::{Receipt, Settle};
use crate::store::by_number;
use crate::store::inbox::{Known, KnownParts, Matched, Reply, Request, Undone};
use crate::store::keys::{self, CarrierKeys};
use crate::store::learned::{AGREEING_TO_PIN, Lesson};
use crate::store::matching::{self, Candidate, Candidates, Choice, Found, IdRule, Knowledge};
use crate::store::record::OpRef;
use crate::store::shared::{ReceiptCounts, Shared};
use crate::store::unnamed::{Beside, Unnamed};
use crate::store::writer::{Batch, Done, Writer, adopt_all, missing};
use crate::store::young::Young;
use crate::store::{Orphan, OrphanWhy, Rung, Stray};

/// Keys of doubted receipts that are looked at again with every batch of answers; the others wait for
/// their minute. Chosen: twenty that agree teach a rule.
const DOUBTED_MAX: usize = 256;

/// Receipts of one request, what the archive knows of them, and how many generations it had then.
type Asked = (Vec<Receipt>, KnownParts, u64);
/// Receipts, and what each belongs to.
type Chosen = (Vec<Receipt>, Vec<Choice>);

/// What is known when a receipt is matched.
pub(crate) fn knowledge(
    shared: &Shared,
    young: &Young,
    receipt: &Receipt,
    last: bool,
) -> Knowledge {
    let format = shared.ladder(receipt.route).format;
    let learned = young.learned.get(&receipt.route);
    let used = learned.map(|learned| learned.used(format));
    let rule = match learned {
        Some(learned) => learned.rule(format),
        None => crate::store::Learned::default().rule(format),
    };
    Knowledge {
        format,
        rule,
        doubtful: rule.is_none() && matching::has_near_reading(&receipt.provider_id),
        used: used.unwrap_or_else(|| crate::store::Learned::default().used(format)),
        two_faced: matching::is_two_faced(&receipt.provider_id),
        telling: matching::is_telling(&receipt.provider_id),
        text_two_faced: matching::is_two_faced(&receipt.text_id),
        last,
    }
}

/// The keys under which an id may be known to the other side, before the receipt's time has come. Where
/// the route writes ids as it gave them out, other readings count for nothing until then (see
/// `matching`), and to make them takes longer than all the rest.
fn keys_now(shared: &Shared, young: &Young, route: RouteIx, id: &[u8]) -> CarrierKeys {
    let ladder = shared.ladder(route);
    let rule = young
        .learned
        .get(&route)
        .and_then(|learned| learned.rule(ladder.format));
    if rule == Some(IdRule::Same) && !ladder.has_transform() {
        return CarrierKeys::from_slice(&[keys::carrier_canonical(route, id)]);
    }
    keys::carrier_keys(route, id, ladder)
}

/// The parts in memory whose ids look like the receipt's. `last`: its time has come.
pub(crate) fn candidates(
    shared: &Shared,
    young: &Young,
    receipt: &Receipt,
    last: bool,
) -> Candidates {
    let ladder = shared.ladder(receipt.route);
    // Where there are two ids, one speaks against the other in any reading.
    let now = !last && receipt.text_id.is_empty();
    let mut found = Candidates::new();
    for (name, by_text) in matching::ids(receipt) {
        let keys = match now {
            true => keys_now(shared, young, receipt.route, name),
            false => keys::carrier_keys(receipt.route, name, ladder),
        };
        for key in keys {
            for (id, part) in young.carriers(key) {
                let row = young.row(id);
                let one = row.and_then(|row| {
                    let receipt = (receipt, by_text);
                    matching::candidate((&row.message, &row.life), part, receipt, ladder)
                });
                one.into_iter()
                    .for_each(|one| matching::add(&mut found, one));
            }
        }
    }
    found
}

/// Whose a receipt is by its id: memory's word first, then the archive's. `unnamed` tells of what may be
/// out, when it is asked.
fn choose<'u>(
    (shared, young): (&Shared, &Young),
    receipt: &Receipt,
    archived: &[Candidate],
    last: bool,
    unnamed: impl FnOnce() -> Option<&'u Unnamed>,
) -> Choice {
    if receipt.provider_id.is_empty() {
        return Choice::Nothing;
    }
    let mut found = candidates(shared, young, receipt, last);
    for one in archived {
        // What was taken back into memory since has the last word on itself.
        let ladder = shared.ladder(receipt.route);
        let now = young.row(one.id).and_then(|row| {
            let receipt = (receipt, one.found == Found::TextId);
            matching::candidate((&row.message, &row.life), one.part, receipt, ladder)
        });
        matching::add(&mut found, now.unwrap_or(*one));
    }
    let know = knowledge(shared, young, receipt, last);
    match matching::choose(&found, &know) {
        Choice::One(one) if know.doubts(&one) => {
            let beside = unnamed().map_or(Beside::CannotTell, |unnamed| {
                unnamed.beside(receipt, one.id)
            });
            match beside {
                Beside::None => Choice::One(one),
                // When all answers must be there, what cannot be told any more is as it seems.
                Beside::CannotTell if last => Choice::One(one),
                Beside::Some | Beside::CannotTell => Choice::Ambiguous,
            }
        }
        choice => choice,
    }
}

impl Writer {
    /// What may be out as of this commit: what is claimed in it is sent after it, and cannot have had a
    /// receipt. `None`: it was looked for just now, and that costs.
    fn unnamed(&self, young: &Young, now: UnixMs) -> Option<&Unnamed> {
        let look = || {
            if now < self.unnamed_after.get() {
                return None;
            }
            let (found, pause_ms) = Unnamed::of(young);
            self.unnamed_after.set(UnixMs(now.0 + pause_ms));
            Some(found)
        };
        self.unnamed.get_or_init(look).as_ref()
    }

    /// A receipt may have come before the answer that names its id.
    pub(super) fn match_parked(&mut self, young: &mut Young, settle: &Settle, now: UnixMs) {
        let id = &settle.outcome.provider_id;
        if young.parked.is_empty() || id.is_empty() {
            return;
        }
        let shared = self.shared.clone();
        let ladder = shared.ladder(settle.route);
        let mut keys = keys_now(&shared, young, settle.route, id);
        if ladder.has_transform() {
            let alias = keys::carrier_canonical(settle.route, ladder.transform.apply(id));
            keys.extend_from_slice(young.parked_as(alias));
        }
        for key in keys {
            self.match_under(young, key, now);
        }
    }

    /// A rule that has become certain may tell whose the receipts are that wait.
    pub(super) fn match_pinned(&mut self, young: &mut Young, now: UnixMs) {
        while let Some(route) = self.pinned.pop() {
            let own = |(key, waiting): (&u64, &Vec<Receipt>)| {
                let first = waiting.first();
                first
                    .is_some_and(|first| first.route == route)
                    .then_some(*key)
            };
            let keys: Vec<u64> = young.parked.iter().filter_map(own).collect();
            for key in keys {
                self.match_under(young, key, now);
            }
        }
    }

    /// Answers may tell whose the receipts are that were given to nobody because of them.
    pub(super) fn match_doubted(&mut self, young: &mut Young, now: UnixMs) {
        let keys = std::mem::take(&mut self.doubted);
        if !keys.is_empty() {
            // It may have been asked for between two answers of this commit.
            self.unnamed.take();
        }
        for key in keys {
            self.match_under(young, key, now);
            if young.parked.contains_key(&key) {
                self.doubt(key);
            }
        }
    }

    fn doubt(&mut self, key: u64) {
        if !self.doubted.contains(&key) {
            if self.doubted.len() >= DOUBTED_MAX {
                self.doubted.remove(0);
            }
            self.doubted.push(key);
        }
    }

    /// Matches what it can of the receipts that wait under a key.
    fn match_under(&mut self, young: &mut Young, key: u64, now: UnixMs) {
        let shared = self.shared.clone();
        let waiting = young.parked.get(&key).into_iter().flatten();
        let chosen: Vec<Choice> = waiting
            .map(|receipt| {
                // The archive is not read here: what may be in it is looked for when its time has come.
                let archived = || keys::may_be_archived(&shared, receipt);
                let unnamed = || (!archived()).then(|| self.unnamed(young, now)).flatten();
                choose((&shared, young), receipt, &[], false, unnamed)
            })
            .collect();
        if chosen.contains(&Choice::Ambiguous) {
            self.doubt(key);
        }
        if !chosen.iter().any(|choice| matches!(choice, Choice::One(_))) {
            return;
        }
        self.blob.push(&OpRef::Unpark { key });
        for (receipt, choice) in young.unpark(key).into_iter().zip(chosen) {
            match choice {
                Choice::One(one) => {
                    self.matched(young, &one, &receipt, now);
                }
                // Another message's, under the same key.
                Choice::Nothing | Choice::Ambiguous => self.park(young, receipt, now),
            }
        }
    }

    pub(super) fn apply_receipts(
        &mut self,
        young: &mut Young,
        request: Request,
        now: UnixMs,
        batch: &mut Batch,
    ) {
        match request {
            Request::Receipts {
                receipts,
                known,
                adopt,
                seen,
                reply,
            } => {
                adopt_all(&self.shared, young, adopt);
                self.receipts(young, (receipts, known, seen), reply, now, batch);
            }
            Request::LookAgain {
                receipts,
                known,
                over,
                adopt,
                seen,
                reply,
            } => {
                adopt_all(&self.shared, young, adopt);
                self.look_again(young, (receipts, known, seen), over, reply, now, batch);
            }
            Request::Unreadable { receipts, reply } => {
                for receipt in receipts {
                    self.orphan(
                        young,
                        Stray::Unreadable(receipt),
                        OrphanWhy::Unreadable,
                        now,
                    );
                }
                batch.done.push(Done::Plain(reply));
            }
            // The caller hands over these only.
            _ => {}
        }
    }

    fn park(&mut self, young: &mut Young, receipt: Receipt, now: UnixMs) {
        self.blob.push(&OpRef::Park { receipt: &receipt });
        let given_up = young.park(receipt);
        if let Some(first) = given_up.first() {
            let key = keys::parked(first);
            self.blob.push(&OpRef::Unpark { key });
        }
        for receipt in given_up {
            self.orphan(young, Stray::Read(receipt), OrphanWhy::NoRoom, now);
        }
    }

    /// Gives a receipt up: it is kept for the operator.
    fn orphan(&mut self, young: &mut Young, receipt: Stray, why: OrphanWhy, now: UnixMs) {
        let orphan = Orphan {
            receipt,
            why,
            at: now,
        };
        let route = self.shared.names.route(orphan.route()).to_owned();
        let labels = [("route", route), ("why", why.name().to_owned())];
        metrics::counter!("trunkline_receipts_orphaned_total", &labels).increment(1);
        self.blob.push(&OpRef::Orphan { orphan: &orphan });
        young.orphan(orphan);
    }

    fn receipts(
        &mut self,
        young: &mut Young,
        asked: Asked,
        reply: Reply<Matched, Vec<Receipt>>,
        now: UnixMs,
        batch: &mut Batch,
    ) {
        let (receipts, chosen) = match self.choose_all(young, asked, false, now) {
            Ok(chosen) => chosen,
            Err(undone) => {
                drop(reply.send(Err(undone)));
                return;
            }
        };
        let mut matched = Matched::default();
        let mut counts: FxHashMap<RouteIx, ReceiptCounts> = FxHashMap::default();
        for (receipt, choice) in receipts.into_iter().zip(chosen) {
            let found = matches!(choice, Choice::One(_));
            let count = counts.entry(receipt.route).or_default();
            count.matched += u64::from(found);
            count.parked += u64::from(!found);
            count.last = receipt.received_at;
            match choice {
                Choice::One(one) => {
                    if self.matched(young, &one, &receipt, now) {
                        matched.matched += 1;
                    } else {
                        matched.repeated += 1;
                    }
                }
                Choice::Nothing | Choice::Ambiguous => {
                    let key = keys::parked(&receipt);
                    if choice == Choice::Ambiguous {
                        self.doubt(key);
                    }
                    matched.parked += 1;
                    let wait = young.parked.get(&key).map_or(0, Vec::len);
                    if receipt.provider_id.is_empty() && wait >= by_number::MESSAGES_MAX {
                        // So many to one number cannot be told apart anyway.
                        self.orphan(young, Stray::Read(receipt), OrphanWhy::Ambiguous, now);
                        continue;
                    }
                    self.park(young, receipt, now);
                }
            }
        }
        let mut all = self.shared.receipts.lock();
        for (route, count) in counts {
            let known = all.entry(route).or_default();
            known.matched += count.matched;
            known.parked += count.parked;
            known.last = known.last.max(count.last);
        }
        drop(all);
        self.match_doubted(young, now);
        batch.done.push(Done::Receipts(reply, matched));
    }

    /// What each receipt belongs to, with the receipts. Handed back instead: what was looked up before
    /// a generation was archived meanwhile, or needs messages that are not in memory.
    fn choose_all(
        &self,
        young: &Young,
        (receipts, known, seen): Asked,
        last: bool,
        now: UnixMs,
    ) -> Result<Chosen, Undone<Vec<Receipt>>> {
        let mut chosen: Vec<Choice> = receipts
            .iter()
            .enumerate()
            .map(|(index, receipt)| {
                let archived = known.get(index).map_or(&[][..], |known| &known.by_id);
                let unnamed = || self.unnamed(young, now);
                choose((&self.shared, young), receipt, archived, last, unnamed)
            })
            .collect();
        let stale = seen != self.shared.archived_count.load(Ordering::Acquire);
        let one = |choice: &Choice| matches!(choice, Choice::One(_));
        if stale && !chosen.iter().all(one) {
            return Err(Undone::Stale(receipts));
        }
        if last {
            self.choose_by_number(young, &receipts, &known, &mut chosen);
        }
        let missing = missing_of(young, &chosen);
        if !missing.is_empty() {
            return Err(Undone::Missing(receipts, missing));
        }
        Ok((receipts, chosen))
    }

    /// Whose those are, by number, that no id has given to anybody.
    fn choose_by_number(
        &self,
        young: &Young,
        receipts: &[Receipt],
        known: &[Known],
        chosen: &mut [Choice],
    ) {
        let wanted = |(receipt, choice): (&Receipt, &Choice)| {
            let nobodys = *choice == Choice::Nothing;
            by_number::wanted(&self.shared, receipt).filter(|_| nobodys)
        };
        let numbers = receipts.iter().zip(&*chosen).filter_map(wanted);
        let rows = by_number::Rows::of(young, numbers);
        for (index, (receipt, choice)) in receipts.iter().zip(chosen).enumerate() {
            if wanted((receipt, choice)).is_none() {
                continue;
            }
            let rule = self.shared.part_rule(receipt.route);
            let mut found = rows.suspects(receipt, rule);
            if let Some(known) = known.get(index) {
                // What was taken back into memory since has the last word on itself.
                found.extend(&known.by_number, |id| young.row(id).is_some());
            }
            *choice = found.choose();
        }
    }

    /// Receipts whose answers must be there by now, looked at again by every rung. Those whose time is
    /// `over` are given up when they find nothing.
    fn look_again(
        &mut self,
        young: &mut Young,
        asked: Asked,
        over: bool,
        reply: Reply<usize, Vec<Receipt>>,
        now: UnixMs,
        batch: &mut Batch,
    ) {
        let (receipts, chosen) = match self.choose_all(young, asked, true, now) {
            Ok(chosen) => chosen,
            Err(undone) => {
                drop(reply.send(Err(undone)));
                return;
            }
        };
        let mut found = 0;
        for (receipt, choice) in receipts.into_iter().zip(chosen) {
            let key = keys::parked(&receipt);
            let waits = young.parked.get(&key);
            let waits = waits.is_some_and(|waiting| waiting.contains(&receipt));
            let one = matches!(choice, Choice::One(_));
            // Matched since it was asked for, or waits on.
            if !waits || !(one || over) {
                continue;
            }
            self.blob.push(&OpRef::Unpark { key });
            for other in young.unpark(key) {
                if other != receipt {
                    self.park(young, other, now);
                }
            }
            match choice {
                Choice::One(one) => {
                    found += 1;
                    self.matched(young, &one, &receipt, now);
                }
                Choice::Ambiguous => {
                    self.orphan(young, Stray::Read(receipt), OrphanWhy::Ambiguous, now);
                }
                Choice::Nothing => {
                    self.orphan(young, Stray::Read(receipt), OrphanWhy::NoMessage, now);
                }
            }
        }
        batch.done.push(Done::LookAgain(reply, found));
    }

    /// Applies a receipt to its part, and learns from how it was found. `false`: it changes nothing.
    fn matched(
        &mut self,
        young: &mut Young,
        one: &Candidate,
        receipt: &Receipt,
        now: UnixMs,
    ) -> bool {
        let context = self.context(now, Some(receipt.route));
        let change = young
            .row(one.id)
            .and_then(|row| decide::receipt(&row.message, &row.life, one.part, receipt, context));
        let Some(change) = change else { return false };
        self.record(young, one.id, change);
        self.receipted(young, receipt.route, one.id);
        let other = match one.found {
            Found::Id => None,
            Found::TextId => Some("text"),
            Found::Number => Some("number"),
        };
        match other {
            Some(rung) => {
                let route = self.shared.names.route(receipt.route).to_owned();
                let labels = [("route", route), ("rung", rung.to_owned())];
                metrics::counter!("trunkline_receipts_id_hits_total", &labels).increment(1);
            }
            None => self.learn(young, receipt, one.rung, now),
        }
        true
    }

    fn learn(&mut self, young: &mut Young, receipt: &Receipt, rung: Rung, now: UnixMs) {
        let route = receipt.route;
        let format = self.shared.ladder(route).format;
        let telling = matching::is_telling(&receipt.provider_id);
        let learned = young.learned.entry(route).or_default();
        let lesson = learned.hit(rung, telling, format, now);
        self.hits.entry(route).or_default()[rung as usize] += 1;
        if lesson == Lesson::None {
            return;
        }
        self.blob.push(&OpRef::Learned { route, learned });
        let name = self.shared.names.route(route);
        let change = match lesson {
            Lesson::None | Lesson::Counts => return,
            Lesson::Pinned(rule) => {
                self.pinned.push(route);
                tracing::info!(
                    route = name,
                    rule = rule.name(),
                    receipts = AGREEING_TO_PIN,
                    "the ids of receipts follow this rule: believed from now on"
                );
                "pinned"
            }
            Lesson::Unpinned(rule) => {
                tracing::warn!(
                    route = name,
                    rule = rule.name(),
                    "the ids of receipts do not follow their rule any more: learned anew"
                );
                "unpinned"
            }
        };
        let labels = [("route", name.to_owned()), ("change", change.to_owned())];
        metrics::counter!("trunkline_receipts_id_rules_total", &labels).increment(1);
    }
}

/// Tells how the batch's receipts found their messages.
pub(super) fn tell_hits(shared: &Shared, hits: &mut FxHashMap<RouteIx, [u64; Rung::COUNT]>) {
    for (route, rungs) in hits.drain() {
        for (rung, hits) in Rung::ALL.into_iter().zip(rungs) {
            if hits > 0 {
                let route = shared.names.route(route).to_owned();
                let labels = [("route", route), ("rung", rung.name().to_owned())];
                metrics::counter!("trunkline_receipts_id_hits_total", &labels).increment(hits);
            }
        }
    }
}

fn missing_of(young: &Young, chosen: &[Choice]) -> Vec<MessageId> {
    let ids = chosen.iter().filter_map(|choice| match choice {
        Choice::One(one) => Some(one.id),
        Choice::Nothing | Choice::Ambiguous => None,
    });
    missing(young, ids)
}
