//! Reply: the message that confirms what a handset asked for. Pure.
//!
//! It is a message of the tenant like any other, but for this: it goes back over the route that
//! brought the question when the rules allow that one, because its carrier has the number; it is
//! handed over at most once, because a second confirmation is worse than none; and it does not wait
//! for long.

use std::sync::Arc;
use std::time::Duration;

use super::{Table, write::Wish};
use crate::clock::UnixMs;
use crate::inbound::Intent;
use crate::inbound::reply::Asked;
use crate::message::{
    Class, FailoverOn, Message, MessageId, OnAmbiguous, Policy, Priority, TenantIx, Texts,
};

/// How long it may wait: 47 CFR §64.1200(a)(12) wants an opt-out confirmed within five minutes
/// (smpp.md §5). Chosen for the other replies, too: later nobody waits for them.
const LIFETIME: Duration = Duration::from_mins(5);
/// The most segments. `max_segments` is at most 20 (contract.md §1), which no text of
/// [`TEXT_CHARS_MAX`](crate::inbound::reply::TEXT_CHARS_MAX) characters needs.
const SEGMENTS_MAX: u8 = 20;

/// The texts, as the config gives them; without one, nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies {
    /// To who opted out.
    pub opt_out: Option<String>,
    /// To who opted in.
    pub opt_in: Option<String>,
    /// To who asked for help.
    pub help: Option<String>,
}

impl Replies {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The text for a wish.
    #[must_use]
    pub fn of(&self, intent: Intent) -> Option<&str> {
        match intent {
            Intent::OptOut => self.opt_out.as_deref(),
            Intent::OptIn => self.opt_in.as_deref(),
            Intent::Help => self.help.as_deref(),
        }
    }
}

/// The texts of all tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenants {
    /// Of those that have none of their own.
    pub common: Replies,
    /// A tenant's own, in place of all the common ones.
    pub own: Vec<(TenantIx, Replies)>,
}

impl Tenants {
    /// Whether nobody has any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.common.is_empty() && self.own.iter().all(|(_, replies)| replies.is_empty())
    }

    /// A tenant's.
    #[must_use]
    pub fn of(&self, tenant: TenantIx) -> &Replies {
        let mut all = self.own.iter();
        let own = all.find(|(known, _)| *known == tenant);
        own.map_or(&self.common, |(_, replies)| replies)
    }
}

/// Makes the message that answers; `None` when nothing is to be said. Without a rule that matches it
/// has no route, and is rejected as any other message would be.
#[must_use]
pub fn message(replies: &Tenants, table: &Arc<Table>, asked: &Asked<'_>) -> Option<Message> {
    let text = replies.of(asked.tenant).of(asked.intent)?;
    let class = Class::Conversational;
    let mut routes = table.routes(asked.tenant, class, asked.to);
    if let Some(place) = routes.iter().position(|route| *route == asked.route) {
        let back = routes.remove(place);
        routes.insert(0, back);
    }
    let wish = Wish {
        text,
        max_segments: SEGMENTS_MAX,
        ..Wish::default()
    };
    let written = table.write(&wish, &routes);
    let written = written
        .inspect_err(|error| tracing::error!(?error, "an automatic reply cannot be written"))
        .ok()?;
    let body = written.text.as_deref().unwrap_or(text);
    let texts = Texts::pack([asked.from, body, "", "", "", "", "", "", "", ""]).ok()?;
    Some(Message {
        id: MessageId::default(),
        tenant: asked.tenant,
        to: asked.to,
        class,
        priority: Priority::Normal,
        on_ambiguous: OnAmbiguous::Hold,
        // Of what was not answered nobody knows whether it was sent.
        failover_on: FailoverOn(FailoverOn::ALL.0 & !FailoverOn::NO_RESPONSE.0),
        encoding: written.encoding,
        segments: written.parts,
        concat_ref: 0,
        sms: written.sms,
        callback: None,
        batch: None,
        policy: Policy {
            // Who opted out is told so, and may ask who that was. Who opts in is told only when
            // nothing else stands against sending.
            ignores_suppressions: asked.intent != Intent::OptIn,
            refused: None,
        },
        accepted_at: UnixMs::ZERO,
        expires_at: asked.now.plus(LIFETIME),
        routes,
        steps: None,
        texts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbound::reply::TEXT_CHARS_MAX;
    use crate::message::{Encoding, Phone, RouteIx, Text};
    use crate::plan::{Match, Rule, Strategy};

    fn asked(intent: Intent, route: u16) -> Asked<'static> {
        Asked {
            tenant: TenantIx(3),
            to: Phone::parse("+46701234567").unwrap(),
            from: "71234",
            route: RouteIx(route),
            intent,
            now: UnixMs(1_000),
        }
    }

    fn table() -> Arc<Table> {
        Arc::new(Table::new(vec![Rule {
            matching: Match::default(),
            routes: vec![(RouteIx(0), 1), (RouteIx(1), 1), (RouteIx(2), 1)],
            strategy: Strategy::Priority,
        }]))
    }

    fn common(common: Replies) -> Tenants {
        Tenants {
            common,
            own: Vec::new(),
        }
    }

    fn replies() -> Tenants {
        common(Replies {
            opt_out: Some("You get no more messages. Привет".to_owned()),
            opt_in: Some("Welcome back".to_owned()),
            help: None,
        })
    }

    #[test]
    fn a_tenant_with_texts_of_its_own_says_no_others() {
        let mut replies = replies();
        let help = Some("This is Beta".to_owned());
        let own = Replies {
            help,
            ..Replies::default()
        };
        replies.own = vec![(TenantIx(4), own)];
        let said = |tenant, intent| {
            let asked = Asked {
                tenant: TenantIx(tenant),
                ..asked(intent, 0)
            };
            message(&replies, &table(), &asked).map(|one| one.text(Text::Body).to_owned())
        };
        assert_eq!(said(4, Intent::Help).as_deref(), Some("This is Beta"));
        assert_eq!(said(4, Intent::OptIn), None);
        assert_eq!(said(3, Intent::OptIn).as_deref(), Some("Welcome back"));
        assert_eq!(said(3, Intent::Help), None);
    }

    #[test]
    fn it_goes_back_to_the_handset_from_its_number_over_its_own_route_first() {
        let message = message(&replies(), &table(), &asked(Intent::OptOut, 1)).unwrap();
        assert_eq!(message.routes[..], [RouteIx(1), RouteIx(0), RouteIx(2)]);
        assert_eq!(
            (message.tenant, message.text(Text::From)),
            (TenantIx(3), "71234")
        );
        assert_eq!(message.to, Phone::parse("+46701234567").unwrap());
        assert_eq!((message.encoding, message.segments), (Encoding::Ucs2, 1));
        assert_eq!(message.expires_at, UnixMs(301_000));
        assert_eq!(message.on_ambiguous, OnAmbiguous::Hold);
        assert!(message.policy.ignores_suppressions);
    }

    #[test]
    fn a_route_that_the_rules_do_not_allow_is_not_taken() {
        let message = message(&replies(), &table(), &asked(Intent::OptIn, 9)).unwrap();
        assert_eq!(message.routes[0], RouteIx(0));
        assert!(!message.policy.ignores_suppressions);
        let none = Arc::new(Table::default());
        let message = super::message(&replies(), &none, &asked(Intent::OptIn, 0)).unwrap();
        assert!(message.refused().is_some(), "no route");
    }

    #[test]
    fn what_has_no_text_is_not_answered() {
        assert_eq!(message(&replies(), &table(), &asked(Intent::Help, 0)), None);
    }

    #[test]
    fn the_longest_text_fits_in_every_alphabet() {
        let opt_out = Some("\u{1F600}".repeat(TEXT_CHARS_MAX));
        let replies = common(Replies {
            opt_out,
            ..Replies::default()
        });
        assert!(message(&replies, &table(), &asked(Intent::OptOut, 0)).is_some());
    }
}
