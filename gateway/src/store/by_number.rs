//! By number: whose a receipt is that names no id, or whose message was answered without one, on a route
//! that says so (`receipts.without_id`; smpp.md §1.5). Pure.
//!
//! Such a receipt tells the number the message went to, its sender, and times. It is given to a part only
//! when that is the only one of its route and number that can be meant, and neither sender nor times speak
//! against it: what they say never decides between several. A part can be meant
//!
//! - that the carrier may have: it took it, or was handed it and never answered, before the receipt came;
//! - also after its end, because late news comes, and the same again. Only where it was delivered, of one
//!   copy, and both receipts are dated and differently, the second one is another message's.
//!
//! The number has to be whole: messages that have left memory are found by it. That takes all of memory to
//! be looked through, so it is done for many at once, and when all answers must be there.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::clock::UnixMs;
use crate::message::life::{Life, PartState, What};
use crate::message::{Message, MessageId, Phone, Text};
use crate::outcome::{OutcomeResult, PartRule, Receipt, ReceiptState};
use crate::store::matching::{Agreement, Candidate, Candidates, Choice, Found};
use crate::store::shared::Shared;
use crate::store::young::{Row, Young};
use crate::store::{Query, Record, Rung};

/// Messages to one number that are looked at, in memory and in the archive each; where there are more,
/// nobody can tell. So many of its receipts wait as well. Chosen: two a day for the time looked back, and
/// some 2 ms of reading.
pub(crate) const MESSAGES_MAX: usize = 64;
/// How far a carrier's time may be from ours. Chosen: receipts tell minutes, and clocks are not all right.
const TIMES_APART_MS: u64 = 120_000;
/// How long before its receipt a message may have been accepted, beyond the receipt's own time: the
/// keys' 72 h (smpp.md §4.4), and the longest lifetime (contract.md §2: 28 days).
const ACCEPTED_BEFORE_MS: u64 = (72 + 28 * 24) * 3_600_000;

/// Parts that a receipt may mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspects {
    all: Candidates,
    /// There are others, which were not looked at.
    cut: bool,
}

impl Suspects {
    /// Adds what a message has of them.
    fn add(&mut self, (message, life): (&Message, &Life), receipt: &Receipt, rule: PartRule) {
        let Some(leg) = message.sms_leg() else {
            return;
        };
        let end = leg.first.saturating_add(leg.count);
        let parts = match rule {
            PartRule::All => leg.first..end,
            PartRule::First => leg.first..leg.first.saturating_add(1),
            PartRule::Last => end.saturating_sub(1)..end,
        };
        let suspects = parts.filter_map(|part| suspect(message, life, part, receipt));
        self.all.extend(suspects);
    }

    /// Adds those of other messages.
    pub(crate) fn extend(&mut self, others: &Self, known: impl Fn(MessageId) -> bool) {
        let others_all = others.all.iter().filter(|one| !known(one.id));
        self.all.extend(others_all.copied());
        self.cut |= others.cut;
    }

    /// Whose the receipt is. See the module's words.
    pub(crate) fn choose(&self) -> Choice {
        match self.all[..] {
            _ if self.cut => Choice::Ambiguous,
            [] => Choice::Nothing,
            [one] if one.awaits && one.agrees == Agreement::Yes => Choice::One(one),
            _ => Choice::Ambiguous,
        }
    }
}

/// Whether a receipt may be matched so: the route says that it happens, it tells of an end, and there is a
/// number.
pub(crate) fn wanted(shared: &Shared, receipt: &Receipt) -> Option<Phone> {
    let told = receipt.clues.is_some() && receipt.state.is_final();
    let wanted = told && shared.ladder(receipt.route).without_id;
    receipt.recipient.filter(|_| wanted)
}

/// The messages in memory to some numbers.
#[derive(Debug, Default)]
pub(crate) struct Rows<'y> {
    to: FxHashMap<Phone, SmallVec<[&'y Row; 2]>>,
}

impl<'y> Rows<'y> {
    /// Looks at all that is in memory, when anything is asked for.
    pub(crate) fn of(young: &'y Young, numbers: impl Iterator<Item = Phone>) -> Self {
        let mut to: FxHashMap<Phone, SmallVec<[&Row; 2]>> = FxHashMap::default();
        to.extend(numbers.map(|number| (number, SmallVec::new())));
        if to.is_empty() {
            return Self { to };
        }
        for row in young.rows() {
            if let Some(rows) = to.get_mut(&row.message.to)
                && rows.len() <= MESSAGES_MAX
            {
                rows.push(row);
            }
        }
        Self { to }
    }

    /// Those that a receipt may mean.
    pub(crate) fn suspects(&self, receipt: &Receipt, rule: PartRule) -> Suspects {
        let mut found = Suspects::default();
        let rows = receipt.recipient.and_then(|to| self.to.get(&to));
        for row in rows.into_iter().flatten() {
            found.add((&row.message, &row.life), receipt, rule);
        }
        found.cut = rows.is_some_and(|rows| rows.len() > MESSAGES_MAX);
        found
    }
}

/// The archived parts that a receipt may mean.
pub(crate) fn archived(shared: &Shared, receipt: &Receipt, to: Phone) -> Suspects {
    let facts = shared.config.routes.iter();
    let timeout = facts.map(|route| route.receipt_timeout.as_millis()).max();
    let timeout = u64::try_from(timeout.unwrap_or(0)).unwrap_or(u64::MAX);
    let before = timeout.saturating_add(ACCEPTED_BEFORE_MS);
    let query = Query {
        to: Some(to),
        since: Some(UnixMs(receipt.received_at.0.saturating_sub(before))),
        limit: MESSAGES_MAX,
        ..Query::default()
    };
    let page = shared.archive.find(&query, 4 * MESSAGES_MAX);
    let mut found = Suspects {
        cut: page.next.is_some(),
        ..Suspects::default()
    };
    let rule = shared.part_rule(receipt.route);
    for Record { message, life } in &page.records {
        found.add((message, life), receipt, rule);
    }
    found
}

/// Whether a part can be meant, and whether it may be believed to be.
fn suspect(message: &Message, life: &Life, part: u8, receipt: &Receipt) -> Option<Candidate> {
    let clues = receipt.clues.as_deref()?;
    let route = receipt.route;
    let state = life.parts.get(usize::from(part));
    let is_out = matches!(state, Some(PartState::Out | PartState::Claimed))
        && life.route(message) == Some(route)
        && message.accepted_at <= receipt.received_at;
    let (mut taken, mut copies, mut named) = (None, 0_u32, false);
    for change in &life.log {
        match &change.what {
            What::Answered {
                route: on,
                part: of,
                result: result @ (OutcomeResult::Accepted | OutcomeResult::Unknown),
                handed_at,
                provider_id,
                ..
            } if *on == route && *of == part && *handed_at <= receipt.received_at => {
                copies += 1;
                named |= !provider_id.is_empty();
                if *result == OutcomeResult::Accepted {
                    taken = Some(*handed_at);
                }
            }
            // It does not say where.
            What::MaybeSent { parts } if parts.has(part) && message.routes.contains(&route) => {
                copies += 1;
            }
            _ => {}
        }
    }
    if copies == 0 && !is_out {
        return None;
    }
    // What was answered with an id is found by that.
    if named && !receipt.provider_id.is_empty() {
        return None;
    }
    if state == Some(&PartState::Receipted(ReceiptState::Delivered)) && copies == 1 {
        let dated = delivered_at(life, part).zip(receipt.operator_at);
        if dated.is_some_and(|(one, other)| one != other) {
            return None;
        }
    }
    let near = |handed: UnixMs| {
        let late = clues
            .submitted_at
            .is_none_or(|submitted| submitted.0.abs_diff(handed.0) <= TIMES_APART_MS);
        let done = receipt.operator_at;
        late && done.is_none_or(|done| done.0 + TIMES_APART_MS >= handed.0)
    };
    let agrees = is_sender(&clues.sender, message.text(Text::From)) && taken.is_some_and(near);
    Some(Candidate {
        id: message.id,
        part,
        rung: Rung::Exact,
        agrees: match agrees {
            true => Agreement::Yes,
            false => Agreement::No,
        },
        awaits: taken.is_some() && state == Some(&PartState::Accepted),
        found: Found::Number,
    })
}

/// When the carrier says that the part was delivered.
fn delivered_at(life: &Life, part: u8) -> Option<UnixMs> {
    life.log.iter().find_map(|change| match &change.what {
        What::Receipt {
            part: of,
            state: ReceiptState::Delivered,
            operator_at,
            ..
        } if *of == part => *operator_at,
        _ => None,
    })
}

/// Whether the sender that a receipt names is the message's; one that names none says nothing.
fn is_sender(named: &str, from: &str) -> bool {
    fn bare(number: &str) -> &str {
        number.strip_prefix('+').unwrap_or(number)
    }
    named.is_empty() || bare(named).eq_ignore_ascii_case(bare(from))
}
