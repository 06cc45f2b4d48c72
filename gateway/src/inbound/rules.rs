//! Rules: whose an inbound message is, and who is told of it.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::keyword::own::Own;
use super::keyword::{self, Keywords};
use crate::message::{EndpointIx, TenantIx};
use crate::names::Names;

/// How long parts wait for the others, unless the config says otherwise (smpp.md §2.4).
pub const REASSEMBLY_TIMEOUT: Duration = Duration::from_mins(10);

/// The rules as the config gives them.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How long parts wait for the others; `None` is [`REASSEMBLY_TIMEOUT`].
    pub reassembly_timeout: Option<Duration>,
    /// Who gets what is written to a number that nobody has, and what has no endpoint of its own: the
    /// endpoint's tenant and its name.
    pub default_endpoint: Option<(String, String)>,
    /// The numbers, in any form: E.164, short code, or a name.
    pub numbers: Vec<Number>,
    /// Own keywords on any number of their tenant's without an endpoint of its own, and on numbers
    /// that nobody has: the keyword, the tenant and its endpoint.
    pub own_keywords: Vec<(String, String, String)>,
    /// What a message may ask for.
    pub keywords: keyword::Config,
    /// Whether opting out is of everything the tenant sends, not of the number written to alone.
    pub opts_out_of_all: bool,
    /// The tenant, where there is no other: what no rule gives to anybody is its.
    pub only_tenant: Option<String>,
    /// What tenants list as their senders: the number or name, and the tenant.
    pub senders: Vec<(String, String)>,
    /// The tenants that may send from any number.
    pub send_as_any: Vec<String>,
}

/// A number that handsets write to.
#[derive(Clone, Debug)]
pub struct Number {
    /// The number.
    pub number: String,
    /// The tenant that has it.
    pub tenant: String,
    /// The endpoint that is told, if one is chosen for it.
    pub endpoint: Option<String>,
    /// Own keywords on this number, each with the tenant's endpoint that is told.
    pub own_keywords: Vec<(String, String)>,
}

/// The rules with the store's numbers for names.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How long parts wait for the others, in milliseconds.
    pub timeout_ms: u64,
    default: Option<(TenantIx, EndpointIx)>,
    numbers: FxHashMap<Box<str>, Known>,
    own_keywords: Own<(TenantIx, EndpointIx)>,
    /// What a message may ask for.
    pub keywords: Keywords,
    /// Whether opting out is of everything the tenant sends, not of the number written to alone.
    pub opts_out_of_all: bool,
    only_tenant: Option<TenantIx>,
    /// Who lists a number.
    senders: FxHashMap<Box<str>, Vec<TenantIx>>,
    send_as_any: Vec<TenantIx>,
}

/// A number that somebody has.
#[derive(Clone, Debug)]
struct Known {
    tenant: TenantIx,
    endpoint: Option<EndpointIx>,
    own_keywords: Own<EndpointIx>,
    /// As the config spells it.
    spelled: Box<str>,
}

/// Whose an inbound message is, and which endpoint alone is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The tenant; [`TenantIx::OPERATOR`] when the number is nobody's.
    pub tenant: TenantIx,
    /// `None`: every endpoint of the tenant that wants such events.
    pub endpoint: Option<EndpointIx>,
    /// The own keyword that chose the endpoint, as the config spells it.
    pub keyword: Option<&'a str>,
}

impl Rules {
    /// Resolves the config's names. What the tables do not have is left out: the config's check has
    /// seen to it that there is none.
    #[must_use]
    pub fn new(config: &Config, names: &Names) -> Self {
        let timeout = config.reassembly_timeout.unwrap_or(REASSEMBLY_TIMEOUT);
        let default = config.default_endpoint.as_ref();
        let default = default.and_then(|(tenant, endpoint)| {
            Some((names.tenant_ix(tenant)?, names.endpoint_ix(endpoint)?))
        });
        let number = |number: &Number| {
            let tenant = names.tenant_ix(&number.tenant)?;
            let endpoint = number.endpoint.as_deref();
            let endpoint = endpoint.and_then(|name| names.endpoint_ix(name));
            let own = number.own_keywords.iter();
            let own = own.filter_map(|(keyword, endpoint)| {
                Some((keyword.as_str().into(), names.endpoint_ix(endpoint)?))
            });
            let known = Known {
                tenant,
                endpoint,
                own_keywords: own.collect(),
                spelled: number.number.as_str().into(),
            };
            Some((canonical(&number.number), known))
        };
        let own = config.own_keywords.iter();
        let own = own.filter_map(|(keyword, tenant, endpoint)| {
            let to = (names.tenant_ix(tenant)?, names.endpoint_ix(endpoint)?);
            Some((keyword.as_str().into(), to))
        });
        let mut senders: FxHashMap<Box<str>, Vec<TenantIx>> = FxHashMap::default();
        for (number, tenant) in &config.senders {
            let known = senders.entry(canonical(number)).or_default();
            known.extend(names.tenant_ix(tenant));
        }
        let only = config.only_tenant.as_deref();
        let any = config.send_as_any.iter();
        Self {
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            default,
            numbers: config.numbers.iter().filter_map(number).collect(),
            own_keywords: own.collect(),
            keywords: Keywords::new(&config.keywords),
            opts_out_of_all: config.opts_out_of_all,
            only_tenant: only.and_then(|name| names.tenant_ix(name)),
            senders,
            send_as_any: any.filter_map(|name| names.tenant_ix(name)).collect(),
        }
    }

    /// Whose messages come from a number beside its owner's: those of the tenants that list it, and
    /// on a number that nobody has those of the tenants that may send from any. What a person says to
    /// the number is said to them, too.
    pub fn others(&self, number: &str, owner: TenantIx) -> impl Iterator<Item = TenantIx> {
        let number = canonical(number);
        let listed = self.senders.get(&number).map_or(&[][..], Vec::as_slice);
        let any = match self.numbers.contains_key(&number) {
            true => &[][..],
            false => &self.send_as_any,
        };
        let any = any.iter().filter(|tenant| !listed.contains(tenant));
        let all = listed.iter().chain(any).copied();
        all.filter(move |tenant| *tenant != owner)
    }

    /// Whose a message to `to` is, and who is told. `texts` are its text as it may be read; none when
    /// its beginning is missing. What decides, in this order: an own keyword on the number, the number's
    /// endpoint, an own keyword of the tenant's, the default. On a number that nobody has, an own keyword
    /// says whose the message is.
    pub fn owner<'t>(&self, to: &str, texts: impl Iterator<Item = &'t str> + Clone) -> Owner<'_> {
        let known = self.numbers.get(&canonical(to));
        let by_number = known.and_then(|known| {
            let word = texts
                .clone()
                .find_map(|text| known.own_keywords.find(text, |_| true))?;
            Some((known.tenant, word.to, &*word.spelled))
        });
        let by_tenant = || {
            let counts = |(tenant, _): &(TenantIx, EndpointIx)| {
                known.is_none_or(|known| known.tenant == *tenant)
            };
            let word = texts
                .clone()
                .find_map(|text| self.own_keywords.find(text, counts))?;
            Some((word.to.0, word.to.1, &*word.spelled))
        };
        let has_endpoint = known.is_some_and(|known| known.endpoint.is_some());
        let by_keyword = by_number.or_else(|| (!has_endpoint).then(by_tenant)?);
        if let Some((tenant, endpoint, keyword)) = by_keyword {
            return Owner {
                tenant,
                endpoint: Some(endpoint),
                keyword: Some(keyword),
            };
        }
        let known = known.map(|known| (known.tenant, known.endpoint));
        let (tenant, endpoint) = match (known, self.default) {
            (Some((tenant, None)), Some((default_tenant, default))) if default_tenant == tenant => {
                (tenant, Some(default))
            }
            (Some(known), _) => known,
            (None, Some((tenant, default))) => (tenant, Some(default)),
            (None, None) => (self.only_tenant.unwrap_or(TenantIx::OPERATOR), None),
        };
        Owner {
            tenant,
            endpoint,
            keyword: None,
        }
    }

    /// A number that was written to, as the config spells it where it does.
    #[must_use]
    pub fn spelled<'a>(&'a self, to: &'a str) -> &'a str {
        let known = self.numbers.get(&canonical(to));
        known.map_or(to, |known| &known.spelled)
    }

    /// Whether a number is one that handsets write to, so that no handset has it.
    #[must_use]
    pub fn is_own(&self, number: &str) -> bool {
        self.numbers.contains_key(&canonical(number))
    }
}

/// A number without its plus, a name in lower case: carriers leave either out.
pub(crate) fn canonical(number: &str) -> Box<str> {
    let number = number.trim();
    let digits = number.strip_prefix('+').unwrap_or(number);
    digits.to_ascii_lowercase().into_boxed_str()
}

#[cfg(test)]
mod tests;
