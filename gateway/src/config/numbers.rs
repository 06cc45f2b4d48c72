//! Numbers: which tenants send from what, and so who hears of what is written back.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bind, Config, Route};
use crate::inbound::rules::canonical;

impl Config {
    /// The tenant, if there is no other.
    #[must_use]
    pub fn only_tenant(&self) -> Option<&str> {
        let mut names = self.tenants.keys();
        let first = names.next()?;
        names.next().is_none().then_some(first)
    }

    /// The tenants without replies of their own.
    pub(super) fn without_replies(&self) -> Vec<&str> {
        let all = self.tenants.iter();
        let all = all.filter(|(_, facts)| facts.replies.is_none());
        all.map(|(name, _)| name.as_str()).collect()
    }

    /// The tenants that may send from any number.
    pub fn send_as_any(&self) -> impl Iterator<Item = &str> {
        let any = |sender: &String| sender == "*";
        let all = self.tenants.iter();
        let all = all.filter(move |(_, facts)| facts.senders.iter().any(any));
        all.map(|(name, _)| name.as_str())
    }

    /// The numbers and names that tenants list as theirs, each as one of them spells it, with all who
    /// do: plus and case do not tell two apart.
    #[must_use]
    pub fn senders(&self) -> Vec<(&str, BTreeSet<&str>)> {
        let mut all: BTreeMap<Box<str>, (&str, BTreeSet<&str>)> = BTreeMap::new();
        for (tenant, facts) in &self.tenants {
            for number in facts.senders.iter().filter(|number| *number != "*") {
                let known = all.entry(canonical(number));
                let (_, tenants) = known.or_insert_with(|| (number, BTreeSet::new()));
                tenants.insert(tenant);
            }
        }
        all.into_values().collect()
    }

    /// The numbers that handsets may write to and that are nobody's, in words: those that several
    /// tenants list, and whatever else a tenant with `"*"` sends from. None where no route receives.
    pub(super) fn nobodys(&self) -> Vec<String> {
        let receives = |route: &Route| route.bind != Bind::Transmitter || route.outbind.is_some();
        if self.only_tenant().is_some()
            || self.inbound.default_endpoint.is_some()
            || !self.routes.values().any(receives)
        {
            return Vec::new();
        }
        let given = self.inbound.numbers.keys();
        let given: BTreeSet<Box<str>> = given.map(|number| canonical(number)).collect();
        let shared = self
            .senders()
            .into_iter()
            .filter(|(number, tenants)| tenants.len() > 1 && !given.contains(&canonical(number)));
        let shared = shared.map(|(number, tenants)| {
            let tenants: Vec<&str> = tenants.into_iter().collect();
            format!(
                "\"{number}\", which is among the senders of {}",
                tenants.join(", ")
            )
        });
        let any = self.send_as_any();
        let any = any.map(|tenant| format!("whatever {tenant} sends from by \"*\""));
        shared.chain(any).collect()
    }
}
