//! Checks of `[[routing.rules]]`: routes that exist and that what matches can go over, weights where
//! they mean something.

use std::collections::BTreeSet;

use super::section::{Field, Section};
use super::{Declared, ITEMS_MAX, NAMES_MAX, push};
use crate::config::load::{Node, Value};
use crate::config::{Match, Rule, Strategy};
use crate::message::Class;

/// Routes of one rule. Chosen: failover goes over at most five (contract.md §1), a split over more.
const ROUTES_MAX: usize = 64;

pub(super) fn rules(root: &Section<'_>, declared: &Declared<'_>) -> Vec<Rule> {
    let Some(section) = super::fixed(root, "routing") else {
        return Vec::new();
    };
    let rules: Vec<Rule> = section
        .list("rules", NAMES_MAX, "[[routing.rules]] tables")
        .iter()
        .filter_map(|field| rule(field, declared))
        .collect();
    let used: BTreeSet<&str> = rules
        .iter()
        .flat_map(|rule| rule.routes.iter().map(|(name, _)| name.as_str()))
        .collect();
    for (name, node) in declared.routes {
        if !used.contains(name.as_str())
            && !receives_only(node)
            && let Some(routes) = root.opt("routes")
        {
            let text = "no routing rule names it, so it binds but nothing is sent over it";
            routes.child(name, node).warn(String::from(text));
        }
    }
    rules
}

/// Whether nothing can be sent over a route.
fn receives_only(route: &Node) -> bool {
    let bind = route.get("bind").map(|node| &node.value);
    matches!(bind, Some(Value::Text(word)) if word == "receiver")
}

/// Whether a route is to a push service; `None`: its type cannot be read, which is told there.
fn pushes(route: &Node) -> Option<bool> {
    match route.get("type").map(|node| &node.value) {
        Some(Value::Text(word)) if push::TYPES.contains(&word.as_str()) => Some(true),
        Some(Value::Text(word)) if word == "smpp" => Some(false),
        _ => None,
    }
}

/// What all that a rule matches is.
#[derive(Clone, Copy)]
enum Only {
    /// Pushes: the rule says so.
    Push,
    /// SMS: the rule says so.
    Sms,
    /// SMS: the rule says of which numbers.
    Numbers,
}

impl Only {
    fn of(when: &Match) -> Option<Self> {
        match when.channel.as_deref() {
            Some("push") => Some(Self::Push),
            Some("sms") => Some(Self::Sms),
            _ if !when.country.is_empty() || !when.prefix.is_empty() => Some(Self::Numbers),
            _ => None,
        }
    }

    /// What is expected of the rule's routes, where one is of the other kind.
    fn expected(self) -> &'static str {
        match self {
            Self::Push => {
                "a route to APNs or FCM: under channel = \"push\" nothing goes over any other"
            }
            Self::Sms => {
                "a route to a carrier: under channel = \"sms\" nothing goes over any other"
            }
            Self::Numbers => {
                "a route to a carrier: with country or prefix, which a push has not, nothing goes \
                 over any other"
            }
        }
    }
}

/// A route's name that what the rule matches can be sent over.
fn way_out(field: &Field<'_>, only: Option<Only>, declared: &Declared<'_>) -> String {
    let name = field.name_of("routes", declared.routes);
    let Some(route) = declared.routes.get(&name) else {
        return name;
    };
    if receives_only(route) {
        field.wrong("a route that sends: this one has bind = \"receiver\"");
    }
    let other = |only: &Only| pushes(route).is_some_and(|is| is != matches!(only, Only::Push));
    if let Some(only) = only.filter(other) {
        field.wrong(only.expected());
    }
    name
}

fn rule(field: &Field<'_>, declared: &Declared<'_>) -> Option<Rule> {
    let section = field.section("routing.rules[]")?;
    let matching = "a table of conditions, {} for every message";
    let routes = "a list of route names, or of { name, weight } when weighted";
    let when = section
        .need("match", matching)
        .and_then(|field| field.section("routing.rules[].match"))
        .map(|section| conditions(&section, declared))
        .unwrap_or_default();
    let only = Only::of(&when);
    let strategy = section.opt("strategy").and_then(|field| {
        let words = [
            ("priority", Strategy::Priority),
            ("weighted", Strategy::Weighted),
        ];
        field.word(&words, &["least_cost", "best_delivery"])
    });
    let mut names = Vec::new();
    let mut seen = BTreeSet::new();
    if let Some(field) = section.need("routes", routes) {
        let items = field.list(ROUTES_MAX, routes);
        if items.is_empty() && matches!(&field.node.value, Value::Array(_)) {
            field.wrong(routes);
        }
        for item in items {
            let Some((name, weight)) = way(&item, (strategy, only), declared) else {
                continue;
            };
            if !seen.insert(name.clone()) {
                item.wrong_hint("each route once in a rule", Some(name.clone()));
            }
            names.push((name, weight));
        }
    }
    Some(Rule {
        when,
        routes: names,
        strategy: strategy.unwrap_or(Strategy::Priority),
    })
}

/// A route of a rule: its name, or under `weighted` a table with its share.
fn way(
    item: &Field<'_>,
    (strategy, only): (Option<Strategy>, Option<Only>),
    declared: &Declared<'_>,
) -> Option<(String, u32)> {
    let Value::Table(_) = &item.node.value else {
        let name = way_out(item, only, declared);
        if strategy == Some(Strategy::Weighted) {
            item.wrong("{ name = \"ROUTE\", weight = N } under strategy \"weighted\"");
        }
        return Some((name, 1));
    };
    let section = item.section("routing.rules[].routes[]")?;
    let name = section
        .need("name", "the name of one of [routes.*]")
        .map(|field| way_out(&field, only, declared));
    let why = "the route's share";
    let weight = match strategy {
        Some(Strategy::Weighted) => section.int("weight", 1..=1_000_000, why),
        _ => {
            if let (Some(Strategy::Priority), Some(field)) = (strategy, section.opt("weight")) {
                field.wrong("no weight under strategy \"priority\": the order decides");
            }
            1
        }
    };
    Some((name?, u32::try_from(weight).unwrap_or(1)))
}

fn conditions(section: &Section<'_>, declared: &Declared<'_>) -> Match {
    let words = Class::ALL.map(|class| (class.name(), class));
    let country = "an ISO 3166 alpha-2 code such as \"SE\"";
    let prefix = "a number prefix such as \"+46\", at most 15 digits";
    let items = |key: &str| section.list(key, ITEMS_MAX, "a list of at most 1000");
    let channel = section.opt("channel").and_then(|field| {
        field
            .word(&[("sms", "sms"), ("push", "push")], &["email", "rcs"])
            .map(String::from)
    });
    if channel.as_deref() == Some("push") {
        for key in ["country", "prefix"] {
            if let Some(field) = section.opt(key) {
                field.wrong(
                    "nothing here under channel = \"push\": a push goes to no number, so that the \
                     rule never matches",
                );
            }
        }
    }
    Match {
        channel,
        class: items("class")
            .iter()
            .filter_map(|field| field.word(&words, &[]))
            .collect(),
        country: items("country")
            .iter()
            .map(|field| {
                let upper = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase());
                field.text_where(country, |text| text.len() == 2 && upper(text))
            })
            .collect(),
        prefix: items("prefix")
            .iter()
            .map(|field| field.text_where(prefix, number_prefix))
            .collect(),
        tenant: items("tenant")
            .iter()
            .map(|field| field.name_of("tenants", declared.tenants))
            .collect(),
    }
}

fn number_prefix(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    })
}
