//! Inbound: parts become messages, whole or given up, in the commit that is being formed.

use std::sync::Arc;

use super::Writer;
use crate::clock::UnixMs;
use crate::inbound::assembly::{Gathered, Verdict};
use crate::inbound::{Inbound, InboundPart, read};
use crate::message::MessageId;
use crate::store::inbound::Taken;
use crate::store::record::OpRef;
use crate::store::young::Young;

impl Writer {
    /// Takes parts in the order they came.
    pub(super) fn receive(
        &mut self,
        young: &mut Young,
        parts: Vec<InboundPart>,
        now: UnixMs,
    ) -> Taken {
        let mut taken = Taken::default();
        for part in parts {
            self.receive_one(young, part, now, &mut taken);
        }
        taken
    }

    fn receive_one(
        &mut self,
        young: &mut Young,
        part: InboundPart,
        now: UnixMs,
        taken: &mut Taken,
    ) {
        let id = match young.inbound.judge(&part, self.shared.rules.timeout_ms) {
            Verdict::Single => {
                let id = self.ids.next(now);
                self.deliver(young, Gathered::single(id, part), now);
                taken.whole += 1;
                return;
            }
            Verdict::Duplicate => {
                taken.repeated += 1;
                return;
            }
            Verdict::Joins(id) => id,
            Verdict::Begins(before) => {
                if let Some(before) = before {
                    self.give_up(young, before, now, "replaced");
                }
                self.ids.next(now)
            }
        };
        self.blob.push(&OpRef::InboundPart {
            set: id,
            part: &part,
        });
        if young.inbound.add(id, part) {
            if let Some(set) = young.inbound.close(id) {
                self.deliver(young, set.gathered(), now);
            }
            taken.whole += 1;
            return;
        }
        taken.waiting += 1;
        while let Some((oldest, limit)) = young.inbound.over(id) {
            self.give_up(young, oldest, now, limit);
        }
    }

    /// Delivers what came of the sets whose time is over.
    pub(super) fn give_up_inbound(&mut self, young: &mut Young, now: UnixMs) {
        let before = UnixMs(now.0.saturating_sub(self.shared.rules.timeout_ms));
        while let Some(id) = young.inbound.overdue(before) {
            self.give_up(young, id, now, "timeout");
        }
        young.inbound.forget_done(before);
    }

    /// Delivers what came of a set, as incomplete.
    fn give_up(&mut self, young: &mut Young, id: MessageId, now: UnixMs, why: &'static str) {
        metrics::counter!("trunkline_inbound_incomplete_total", "reason" => why).increment(1);
        if let Some(set) = young.inbound.close(id) {
            self.deliver(young, set.gathered(), now);
        }
    }

    /// Makes a message of its parts and writes it down, with its events.
    fn deliver(&mut self, young: &mut Young, gathered: Gathered, now: UnixMs) {
        let Gathered {
            id,
            route,
            from,
            to,
            concat,
            pieces,
        } = gathered;
        let owner = self.shared.rules.owner(&to);
        let (text, encoding) = read::text(&pieces, &self.shared.charset(route));
        let whole = concat.is_none_or(|concat| pieces.len() == usize::from(concat.total));
        let keywords = &self.shared.rules.keywords;
        // Of a part of a message nobody can say what all of it asks for.
        let keyword = whole.then(|| keywords.find_in(text.as_deref(), &pieces));
        let inbound = Inbound {
            id,
            tenant: owner.tenant,
            endpoint: owner.endpoint,
            route,
            from,
            to,
            text: text.map(String::into_boxed_str),
            encoding: encoding.into(),
            concat,
            pieces,
            keyword: keyword.flatten(),
            received_at: now,
        };
        let seq = young.next_seq;
        self.blob.push(&OpRef::Inbound {
            inbound: &inbound,
            seq,
        });
        young.receive(Arc::new(inbound), seq);
    }
}
