//! Long: for which parts of long messages a route's receipts come, found out by watching. It is told, and
//! nothing else: which part stands for the whole is the operator's to say (`receipts.parts`).

use crate::message::life::{Life, PartState};
use crate::message::{Message, MessageId, RouteIx};
use crate::outcome::PartRule;
use crate::store::learned::LONE_TO_TELL;
use crate::store::record::OpRef;
use crate::store::writer::Writer;
use crate::store::young::Young;

impl Writer {
    /// A message's time is over, and not all of its receipts came.
    pub(super) fn unreceipted(&mut self, young: &mut Young, id: MessageId) {
        let told = young.row(id).and_then(|row| {
            let route = row.life.route(&row.message)?;
            Some((route, lone(&row.message, &row.life)?))
        });
        if let Some((route, lone)) = told {
            self.long_message(young, route, lone);
        }
    }

    /// A receipt came for a part of a message: with another part's, the row of lone ones is broken.
    pub(super) fn receipted(&mut self, young: &mut Young, route: RouteIx, id: MessageId) {
        // Nearly always nothing is in question.
        if young
            .learned
            .get(&route)
            .is_none_or(|known| known.lone.is_none())
        {
            return;
        }
        let several = young
            .row(id)
            .is_some_and(|row| receipted(&row.life).count() > 1);
        if several {
            self.long_message(young, route, PartRule::All);
        }
    }

    fn long_message(&mut self, young: &mut Young, route: RouteIx, lone: PartRule) {
        if self.shared.part_rule(route) != PartRule::All {
            return;
        }
        let learned = young.learned.entry(route).or_default();
        if !learned.long_message(lone) {
            return;
        }
        self.blob.push(&OpRef::Learned { route, learned });
        if let Some(part) = learned.looks_like() {
            tracing::warn!(
                route = self.shared.names.route(route),
                messages = LONE_TO_TELL,
                "of long messages, receipts came for the {part} part only: if the carrier confirms it, \
                 set receipts.parts = \"{part}\"",
                part = part.name()
            );
        }
    }
}

fn receipted(life: &Life) -> impl Iterator<Item = usize> {
    let parts = life.parts.iter().enumerate();
    parts.filter_map(|(part, state)| matches!(state, PartState::Receipted(_)).then_some(part))
}

/// Of which part of a long message alone a final receipt came; `All`: of several, or of one between the
/// ends. `None` when it says nothing: there is one part, no receipt came at all, or not every part was
/// taken, so that others could not have one.
fn lone(message: &Message, life: &Life) -> Option<PartRule> {
    let taken = |state: &PartState| matches!(state, PartState::Accepted | PartState::Receipted(_));
    // Of a plan's message not every part is a segment.
    let whole = message.steps.is_none() && message.segments >= 2;
    if !whole || !life.parts.iter().all(taken) {
        return None;
    }
    let mut receipted = receipted(life);
    let first = receipted.next()?;
    Some(match receipted.next() {
        None if first == 0 => PartRule::First,
        None if first + 1 == usize::from(message.segments) => PartRule::Last,
        _ => PartRule::All,
    })
}
