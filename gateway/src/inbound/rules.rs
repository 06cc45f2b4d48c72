//! Rules: whose an inbound message is, and who is told of it.

use std::time::Duration;

use rustc_hash::FxHashMap;

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
    /// What a message may ask for.
    pub keywords: keyword::Config,
    /// Whether opting out is of everything the tenant sends, not of the number written to alone.
    pub opts_out_of_all: bool,
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
}

/// The rules with the store's numbers for names.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// How long parts wait for the others, in milliseconds.
    pub timeout_ms: u64,
    default: Option<(TenantIx, EndpointIx)>,
    numbers: FxHashMap<Box<str>, Known>,
    /// What a message may ask for.
    pub keywords: Keywords,
    /// Whether opting out is of everything the tenant sends, not of the number written to alone.
    pub opts_out_of_all: bool,
}

/// A number that somebody has.
#[derive(Clone, Debug)]
struct Known {
    tenant: TenantIx,
    endpoint: Option<EndpointIx>,
    /// As the config spells it.
    spelled: Box<str>,
}

/// Whose an inbound message is, and which endpoint alone is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The tenant; [`TenantIx::OPERATOR`] when the number is nobody's.
    pub tenant: TenantIx,
    /// `None`: every endpoint of the tenant that wants such events.
    pub endpoint: Option<EndpointIx>,
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
            let known = Known {
                tenant,
                endpoint,
                spelled: number.number.as_str().into(),
            };
            Some((canonical(&number.number), known))
        };
        Self {
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            default,
            numbers: config.numbers.iter().filter_map(number).collect(),
            keywords: Keywords::new(&config.keywords),
            opts_out_of_all: config.opts_out_of_all,
        }
    }

    /// Whose what is written to `to` is.
    #[must_use]
    pub fn owner(&self, to: &str) -> Owner {
        let known = self.numbers.get(&canonical(to));
        let known = known.map(|known| (known.tenant, known.endpoint));
        let (tenant, endpoint) = match (known, self.default) {
            (Some((tenant, None)), Some((default_tenant, default))) if default_tenant == tenant => {
                (tenant, Some(default))
            }
            (Some(known), _) => known,
            (None, Some((tenant, default))) => (tenant, Some(default)),
            (None, None) => (TenantIx::OPERATOR, None),
        };
        Owner { tenant, endpoint }
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
pub(super) fn canonical(number: &str) -> Box<str> {
    let number = number.trim();
    let digits = number.strip_prefix('+').unwrap_or(number);
    digits.to_ascii_lowercase().into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(default: Option<(&str, &str)>) -> Rules {
        let names = Names {
            tenants: vec!["acme".into(), "beta".into()],
            routes: Vec::new(),
            endpoints: vec!["crm".into(), "alerts".into()],
        };
        let number = |number: &str, tenant: &str, endpoint: Option<&str>| Number {
            number: number.into(),
            tenant: tenant.into(),
            endpoint: endpoint.map(Into::into),
        };
        let config = Config {
            reassembly_timeout: None,
            default_endpoint: default.map(|(tenant, name)| (tenant.into(), name.into())),
            numbers: vec![
                number("71234", "acme", None),
                number("+46769440001", "acme", Some("alerts")),
                number("Beta", "beta", None),
            ],
            keywords: keyword::Config::default(),
            opts_out_of_all: false,
        };
        Rules::new(&config, &names)
    }

    fn owner(tenant: u16, endpoint: Option<u16>) -> Owner {
        Owner {
            tenant: TenantIx(tenant),
            endpoint: endpoint.map(EndpointIx),
        }
    }

    #[test]
    fn a_number_leads_to_its_endpoint_then_to_the_default_of_its_own_tenant_only() {
        let rules = rules(Some(("acme", "crm")));
        assert_eq!(rules.owner("46769440001"), owner(0, Some(1)));
        assert_eq!(rules.owner("71234"), owner(0, Some(0)));
        assert_eq!(rules.owner("BETA"), owner(1, None), "another tenant's");
        assert_eq!(rules.owner("99999"), owner(0, Some(0)), "nobody's");
    }

    #[test]
    fn what_nobody_is_told_of_is_the_operators() {
        let rules = rules(None);
        assert_eq!(rules.owner("71234"), owner(0, None));
        let nobody = rules.owner("99999");
        assert_eq!(nobody.tenant, TenantIx::OPERATOR);
        assert_eq!(nobody.endpoint, None);
    }
}
