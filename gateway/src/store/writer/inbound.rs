//! Inbound: parts become messages, whole or given up, in the commit that is being formed.

use std::sync::Arc;

use super::{Batch, Writer};
use crate::clock::UnixMs;
use crate::inbound::assembly::{Gathered, Verdict};
use crate::inbound::keyword::ascii;
use crate::inbound::read::{self, Text};
use crate::inbound::reply::{Asked, Verdict as Guarded};
use crate::inbound::{Inbound, InboundPart, Intent};
use crate::message::{MessageId, Phone, TenantIx};
use crate::store::inbound::Taken;
use crate::store::record::OpRef;
use crate::store::suppressions::{NewSuppression, Suppressed, began, over};
use crate::store::young::Young;
use crate::store::{Draft, Refused};
use crate::suppression::{Cause, Key, Scope, Source, is_sender};

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
        batch: &mut Batch,
    ) -> Result<Taken, Refused> {
        let mut taken = Taken::default();
        let mut refused = false;
        for part in parts {
            refused |= !self.receive_one(young, part, (now, &mut taken), batch);
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
        (now, taken): (UnixMs, &mut Taken),
        batch: &mut Batch,
    ) -> bool {
        let id = match young.inbound.judge(&part, self.shared.rules.timeout_ms) {
            Verdict::Single => {
                let id = self.ids.next(now);
                let mut inbound = self.read(Gathered::single(id, part), now);
                let has_room = self.obey(young, &mut inbound, now, batch);
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
                let mut inbound = self.read(set.gathered(), now);
                // Its other parts are acknowledged: it is told in any case.
                let _obeyed = self.obey(young, &mut inbound, now, batch);
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
        young.replied.forget(now);
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
    /// that was written to, or messages again; and confirms it. `false`: there is no room for it.
    fn obey(
        &mut self,
        young: &mut Young,
        inbound: &mut Inbound,
        now: UnixMs,
        batch: &mut Batch,
    ) -> bool {
        let Some((intent, keyword)) = inbound.keyword.clone() else {
            return true;
        };
        let result = match inbound.phone() {
            Some(phone) => self.obey_phone(young, inbound, (intent, &keyword, phone), now),
            None => "no_number",
        };
        metrics::counter!(
            "trunkline_inbound_keywords_total", "intent" => intent.name(), "result" => result
        )
        .increment(1);
        let loud = self.warnings.may(result, now);
        let (route, to) = (self.shared.names.route(inbound.route), &inbound.to);
        let intent_name = intent.name();
        match result {
            _ if !loud => {}
            "no_room" => tracing::error!("limits.suppressions leaves no room for an opt-out"),
            "no_number" => tracing::warn!(
                route,
                intent = intent_name,
                "a keyword's sender has no number of E.164, so nothing was done: does the carrier \
                 write national numbers (routes.*.inbound_country)?"
            ),
            "nobodys" => tracing::warn!(
                route,
                ?to,
                intent = intent_name,
                "a keyword came to a number that nobody sends from, so nothing was done: \
                 inbound.numbers says whose it is"
            ),
            "shared" => tracing::warn!(
                route,
                ?to,
                intent = intent_name,
                "a keyword came to a number that is no one tenant's: it counts for all who send \
                 from it; inbound.numbers says whose it is"
            ),
            _ => {}
        }
        if result == "no_room" {
            return false;
        }
        if result == "obeyed"
            && let Some(phone) = inbound.phone()
        {
            inbound.auto_reply = self.confirm(young, inbound, (phone, intent), now, batch);
        }
        true
    }

    /// Does it for whoever sends from the number; what became of it, as the metric names it.
    fn obey_phone(
        &mut self,
        young: &mut Young,
        inbound: &Inbound,
        (intent, keyword, phone): (Intent, &str, Phone),
        now: UnixMs,
    ) -> &'static str {
        let scope = match self.shared.rules.opts_out_of_all {
            true => Some(Scope::All),
            // What cannot be a sender sends nothing that could be suppressed.
            false => Scope::parse("sender", &inbound.to),
        };
        let Some(scope) = scope else {
            return "no_sender";
        };
        let shared = self.shared.clone();
        let owner = Some(inbound.tenant).filter(|owner| *owner != TenantIx::OPERATOR);
        let others = shared.rules.others(&inbound.to, inbound.tenant);
        let mut obeyed_any = false;
        for tenant in owner.into_iter().chain(others) {
            obeyed_any = true;
            let key = Key {
                tenant,
                phone,
                scope: scope.clone(),
            };
            let cause = Cause {
                source: Source::Keyword,
                by: Box::default(),
                keyword: keyword.into(),
                text: inbound.text.clone().unwrap_or_default(),
                // Another tenant's messages are none of its business.
                inbound: (owner == Some(tenant)).then_some(inbound.id),
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
                        return "no_room";
                    }
                }
                Intent::OptIn => {
                    let kinds = over(Source::Keyword);
                    let _ended = self.unsuppress(young, &key, cause, kinds, now);
                }
                Intent::Help => {}
            }
        }
        match (owner, obeyed_any) {
            (Some(_), _) => "obeyed",
            (None, true) => "shared",
            (None, false) => "nobodys",
        }
    }

    /// Accepts the confirmation of what was asked for and done, unless nobody wants one or it might
    /// be answered by a machine. It stands before the mark of the accepts, so that a full disk does
    /// not take it back from a message that tells of it.
    fn confirm(
        &mut self,
        young: &mut Young,
        inbound: &Inbound,
        (to, intent): (Phone, Intent),
        now: UnixMs,
        batch: &mut Batch,
    ) -> Option<MessageId> {
        let shared = self.shared.clone();
        let make = shared.confirm.get()?;
        let from = shared.rules.spelled(&inbound.to);
        if !is_sender(from) {
            return None;
        }
        let asked = Asked {
            tenant: inbound.tenant,
            to,
            from,
            route: inbound.route,
            intent,
            now,
        };
        let message = make(&asked)?;
        let result = match young.replied.judge(inbound, intent, now) {
            _ if shared.rules.is_own(&inbound.from) => "own_number",
            Guarded::Repeated => "repeated",
            Guarded::Full => "no_room",
            Guarded::Free => "sent",
        };
        metrics::counter!("trunkline_inbound_replies_total", "result" => result).increment(1);
        if result != "sent" {
            return None;
        }
        let draft = Draft { message, key: None };
        Some(self.accept_one(young, draft, now, batch).id)
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
            in_reply_to,
        } = gathered;
        let Text {
            text,
            encoding,
            quirks,
        } = read::text(&pieces, &self.shared.charset(route));
        for quirk in quirks.names() {
            let route = self.shared.names.route(route).to_owned();
            metrics::counter!("trunkline_smpp_quirks_total", "route" => route, "quirk" => quirk)
                .increment(1);
        }
        // What a handset acknowledges asks for nothing (smpp.md §4.1): a "YES" is no START.
        let is_message = pieces.iter().all(|piece| piece.acknowledges.is_none());
        // Where a message begins, its own keyword stands, whether or not the rest came.
        let begins = pieces.first().is_some_and(|piece| piece.sequence == 1) && is_message;
        let texts = [text.as_deref(), ascii(&pieces)];
        let texts = texts.into_iter().flatten().filter(|_| begins);
        let owner = self.shared.rules.owner(&to, texts);
        // Another tenant's messages are none of its business.
        let answers = in_reply_to.filter(|(tenant, _)| *tenant == owner.tenant);
        let answers = answers.map(|(_, message)| message);
        let whole = concat.is_none_or(|concat| pieces.len() == usize::from(concat.total));
        let keywords = &self.shared.rules.keywords;
        // Of a part of a message nobody can say what all of it asks for.
        let keyword = (whole && is_message).then(|| keywords.find_in(text.as_deref(), &pieces));
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
            own_keyword: owner.keyword.map(Box::from),
            received_at: now,
            auto_reply: None,
            in_reply_to: answers,
        }
    }

    /// Writes a message down, with its events.
    fn deliver(&mut self, young: &mut Young, inbound: Inbound) {
        let seq = young.next_seq;
        self.blob.push(&OpRef::Inbound {
            inbound: &inbound,
            seq,
        });
        young.replied.note(&inbound);
        young.receive(Arc::new(inbound), seq);
    }
}
