//! Push: which routes take an app's notifications. Pure.
//!
//! A push route sends for apps of one platform. A rule without a channel is for SMS and push, and of
//! its routes a message is given those that fit it; a rule that has none such says nothing about the
//! message, so that rules of several apps, and of SMS, may stand after one another in any order. A push
//! has no number: rules that ask for a country or a prefix are not for it, also where its message may
//! fall back to SMS.

use std::collections::{BTreeMap, BTreeSet};

use super::{Chosen, Rule, Table};
use crate::message::steps::Platform;
use crate::message::{Channel, Class, RouteIx, TenantIx};

/// What a push route sends for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushRoute {
    /// `ios`: it is an APNs route; `android`: an FCM route.
    pub platform: Platform,
    /// The apps, as messages name them.
    pub apps: BTreeSet<Box<str>>,
}

/// The rules as each channel sees them, with their places among all.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) sms: Vec<(usize, Rule)>,
    push: Vec<(usize, Rule)>,
    routes: BTreeMap<RouteIx, PushRoute>,
}

impl Rules {
    /// All routes are SMS routes, until others are said.
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let of = |channel| {
            let rules = rules.iter().enumerate();
            let own = rules.filter(move |(_, rule)| {
                let only = rule.matching.channel;
                only.is_none_or(|only| only == channel)
            });
            own.map(|(place, rule)| (place, rule.clone())).collect()
        };
        Self {
            sms: of(Channel::Sms),
            push: of(Channel::Push),
            routes: BTreeMap::new(),
        }
    }
}

impl Table {
    /// Says which routes are push routes; the others are SMS routes.
    #[must_use]
    pub fn with_push(mut self, routes: impl IntoIterator<Item = (RouteIx, PushRoute)>) -> Self {
        let rules = &mut self.rules;
        rules.routes.extend(routes);
        rules.sms.retain_mut(|(_, rule)| {
            let had = !rule.routes.is_empty();
            rule.routes
                .retain(|(route, _)| !rules.routes.contains_key(route));
            !had || !rule.routes.is_empty()
        });
        self
    }

    /// The routes for an app's notifications, and why these: those of the first rule that has any.
    #[must_use]
    pub fn choose_push(
        &self,
        (tenant, class): (TenantIx, Class),
        platform: Platform,
        app: &str,
    ) -> Chosen {
        let fits = |route: &RouteIx| {
            let own = self.rules.routes.get(route);
            own.is_some_and(|own| own.platform == platform && own.apps.contains(app))
        };
        for (place, rule) in &self.rules.push {
            let matching = &rule.matching;
            let numbered = !matching.country.is_empty() || !matching.prefix.is_empty();
            if numbered || !matching.fits(tenant, class, "") {
                continue;
            }
            let routes = rule.routes.iter().filter(|(route, _)| fits(route));
            let routes: Vec<_> = routes.copied().collect();
            if !routes.is_empty() {
                return self.ordered(*place, &routes, rule.strategy);
            }
        }
        Chosen::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Phone;
    use crate::plan::{Match, Strategy};

    fn rule(matching: Match, routes: &[u16]) -> Rule {
        Rule {
            matching,
            routes: routes.iter().map(|route| (RouteIx(*route), 1)).collect(),
            strategy: Strategy::Priority,
        }
    }

    fn only(channel: Channel) -> Match {
        Match {
            channel: Some(channel),
            ..Match::default()
        }
    }

    /// 0, 1: carriers; 2: APNs of shop; 3: APNs of bank; 4: FCM of both; 5: FCM of shop.
    fn table(rules: Vec<Rule>) -> Table {
        let route = |platform, app: &str| PushRoute {
            platform,
            apps: app.split(' ').map(Box::from).collect(),
        };
        Table::new(rules).with_push([
            (RouteIx(2), route(Platform::Ios, "shop")),
            (RouteIx(3), route(Platform::Ios, "bank")),
            (RouteIx(4), route(Platform::Android, "bank shop")),
            (RouteIx(5), route(Platform::Android, "shop")),
        ])
    }

    fn push(table: &Table, platform: Platform, app: &str) -> (Option<usize>, Vec<u16>) {
        let chosen = table.choose_push((TenantIx(0), Class::Otp), platform, app);
        (
            chosen.rule,
            chosen.routes.iter().map(|route| route.0).collect(),
        )
    }

    fn sms(table: &Table) -> (Option<usize>, Vec<u16>) {
        let to = Phone::parse("+46701234567").unwrap();
        let chosen = table.choose(TenantIx(0), Class::Otp, to);
        (
            chosen.rule,
            chosen.routes.iter().map(|route| route.0).collect(),
        )
    }

    #[test]
    fn of_a_rule_for_all_channels_each_message_is_given_what_fits_it() {
        let table = table(vec![rule(Match::default(), &[5, 0, 2, 4, 3, 1])]);
        assert_eq!(push(&table, Platform::Ios, "shop"), (Some(0), vec![2]));
        assert_eq!(push(&table, Platform::Ios, "bank"), (Some(0), vec![3]));
        assert_eq!(
            push(&table, Platform::Android, "shop"),
            (Some(0), vec![5, 4])
        );
        assert_eq!(push(&table, Platform::Android, "bank"), (Some(0), vec![4]));
        assert_eq!(push(&table, Platform::Android, "news"), (None, vec![]));
        assert_eq!(sms(&table), (Some(0), vec![0, 1]));
    }

    #[test]
    fn a_rule_without_a_route_that_fits_says_nothing() {
        let rules = vec![
            rule(Match::default(), &[2]),
            rule(Match::default(), &[0]),
            rule(only(Channel::Push), &[4]),
            rule(only(Channel::Push), &[5, 3]),
        ];
        let table = table(rules);
        assert_eq!(sms(&table), (Some(1), vec![0]), "its place among all rules");
        assert_eq!(push(&table, Platform::Android, "shop"), (Some(2), vec![4]));
        assert_eq!(push(&table, Platform::Ios, "bank"), (Some(3), vec![3]));
    }

    #[test]
    fn rules_are_for_their_channel_class_and_tenant_only() {
        let other = Match {
            tenant: vec![TenantIx(7)],
            ..Match::default()
        };
        let promotional = Match {
            class: vec![Class::Promotional],
            ..Match::default()
        };
        let swedish = Match {
            country: vec!["SE".into()],
            ..only(Channel::Push)
        };
        let prefix = Match {
            prefix: vec!["+46".into()],
            ..Match::default()
        };
        let rules = vec![
            rule(only(Channel::Sms), &[2, 0]),
            rule(other, &[2]),
            rule(promotional, &[2]),
            rule(swedish, &[2]),
            rule(prefix, &[2]),
        ];
        let table = table(rules);
        assert_eq!(push(&table, Platform::Ios, "shop"), (None, vec![]));
        assert_eq!(sms(&table), (Some(0), vec![0]));
    }

    #[test]
    fn weights_order_what_fits() {
        let weighted = Rule {
            routes: [(0, 98), (4, 1), (5, 1)]
                .map(|(route, weight)| (RouteIx(route), weight))
                .into(),
            strategy: Strategy::Weighted,
            matching: Match::default(),
        };
        let table = table(vec![weighted]);
        let first = |_: &u8| push(&table, Platform::Android, "shop").1 == [4, 5];
        let count = (0..100).filter(first).count();
        assert!((48..=52).contains(&count), "{count}");
    }
}
