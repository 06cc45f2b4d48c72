//! Inbound: parts become messages, whole or given up, in the commit that is being formed.

use std::sync::Arc;

use super::Writer;
use crate::clock::UnixMs;
use crate::inbound::assembly::{Gathered, Verdict};
use crate::inbound::{Inbound, InboundPart, Intent, read};
use crate::message::{MessageId, TenantIx};
use crate::store::Refused;
use crate::store::inbound::Taken;
use crate::store::record::OpRef;
use crate::store::suppressions::{NewSuppression, Suppressed, began, over};
use crate::store::young::Young;
use crate::suppression::{Cause, Key, Scope, Source};

impl Writer {
    /// Takes parts in the order they came.
    ///
    /// # Errors
    /// [`Refused::Overloaded`] when a recipient's opt-out has no room: what asks for one must not be
    /// acknowledged without it. The carrier sends the whole call again, and what else was in it is
    /// told a second time.
    pub(super) fn receive(
        &mut self,
        young: &mut Young,
        parts: Vec<InboundPart>,
        now: UnixMs,
    ) -> Result<Taken, Refused> {
        let mut taken = Taken::default();
        let mut refused = false;
        for part in parts {
            refused |= !self.receive_one(young, part, now, &mut taken);
        }
        if refused {
            return Err(Refused::Overloaded);
        }
        Ok(taken)
    }

    /// Takes one; `false`: nothing of it was written.
    fn receive_one(
        &mut self,
        young: &mut Young,
        part: InboundPart,
        now: UnixMs,
        taken: &mut Taken,
    ) -> bool {
        let id = match young.inbound.judge(&part, self.shared.rules.timeout_ms) {
            Verdict::Single => {
                let id = self.ids.next(now);
                let inbound = self.read(Gathered::single(id, part), now);
                let has_room = self.obey(young, &inbound, now);
                if has_room {
                    self.deliver(young, inbound);
                    taken.whole += 1;
                }
                return has_room;
            }
            Verdict::Duplicate => {
                taken.repeated += 1;
                return true;
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
                let inbound = self.read(set.gathered(), now);
                // Its other parts are acknowledged: it is told in any case.
                let _obeyed = self.obey(young, &inbound, now);
                self.deliver(young, inbound);
            }
            taken.whole += 1;
            return true;
        }
        taken.waiting += 1;
        while let Some((oldest, limit)) = young.inbound.over(id) {
            self.give_up(young, oldest, now, limit);
        }
        true
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
            let inbound = self.read(set.gathered(), now);
            self.deliver(young, inbound);
        }
    }

    /// Does in this commit what the sender of a message asks for: no more messages from the number
    /// that was written to, or messages again. `false`: there is no room for it.
    fn obey(&mut self, young: &mut Young, inbound: &Inbound, now: UnixMs) -> bool {
        let Some(((intent, keyword), phone)) = inbound.keyword.as_ref().zip(inbound.phone()) else {
            return true;
        };
        let scope = match self.shared.rules.opts_out_of_all {
            true => Some(Scope::All),
            // What cannot be a sender sends nothing that could be suppressed.
            false => Scope::parse("sender", &inbound.to),
        };
        let Some(scope) = scope.filter(|_| inbound.tenant != TenantIx::OPERATOR) else {
            return true;
        };
        let key = Key {
            tenant: inbound.tenant,
            phone,
            scope,
        };
        let cause = Cause {
            source: Source::Keyword,
            by: Box::default(),
            keyword: keyword.clone(),
            text: inbound.text.clone().unwrap_or_default(),
            inbound: Some(inbound.id),
        };
        match intent {
            Intent::OptOut => {
                let new = NewSuppression {
                    key,
                    cause,
                    expires_at: None,
                };
                let kinds = began(Source::Keyword);
                if let Suppressed::Full(_) = self.suppress(young, new, kinds, now) {
                    tracing::error!("limits.suppressions leaves no room for an opt-out");
                    return false;
                }
            }
            Intent::OptIn => {
                let kinds = over(Source::Keyword);
                let _ended = self.unsuppress(young, &key, cause, kinds, now);
            }
            Intent::Help => {}
        }
        true
    }

    /// Makes a message of its parts.
    fn read(&self, gathered: Gathered, now: UnixMs) -> Inbound {
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
        Inbound {
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
        }
    }

    /// Writes a message down, with its events.
    fn deliver(&mut self, young: &mut Young, inbound: Inbound) {
        let seq = young.next_seq;
        self.blob.push(&OpRef::Inbound {
            inbound: &inbound,
            seq,
        });
        young.receive(Arc::new(inbound), seq);
    }
}
