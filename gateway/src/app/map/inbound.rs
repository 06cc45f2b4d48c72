//! Inbound: whose handsets' messages are, and what handsets are answered.

use crate::config::Config;
use crate::inbound::{Intent, keyword, rules};
use crate::names::Names;
use crate::plan;

/// Whose handsets' messages are: a number under `[inbound.numbers]`, or in one tenant's senders; the
/// only tenant's, where there is one alone.
pub(crate) fn inbound(config: &Config) -> rules::Config {
    let mut numbers = Vec::new();
    for (number, tenants) in config.senders() {
        // What several tenants send as is nobody's until [inbound.numbers] says whose.
        if tenants.len() == 1
            && let Some(tenant) = tenants.first()
        {
            numbers.push(rules::Number {
                number: number.to_owned(),
                tenant: (*tenant).to_owned(),
                endpoint: None,
                own_keywords: Vec::new(),
            });
        }
    }
    // Of two that name the same number the last one counts.
    let given = config.inbound.numbers.iter();
    numbers.extend(given.map(|(number, owner)| rules::Number {
        number: number.clone(),
        tenant: owner.tenant.clone(),
        endpoint: owner.endpoint.clone(),
        own_keywords: owner.keyword_endpoints.clone(),
    }));
    let own = config.inbound.keyword_endpoints.iter();
    let own = own.filter_map(|(keyword, endpoint)| {
        let tenant = config.endpoints.get(endpoint)?.tenant.clone();
        Some((keyword.clone(), tenant, endpoint.clone()))
    });
    let default = config.inbound.default_endpoint.as_ref();
    rules::Config {
        reassembly_timeout: Some(config.inbound.reassembly_timeout),
        default_endpoint: default.and_then(|name| {
            let endpoint = config.endpoints.get(name)?;
            Some((endpoint.tenant.clone(), name.clone()))
        }),
        numbers,
        own_keywords: own.collect(),
        keywords: keyword::Config {
            languages: config.inbound.languages.clone(),
            words: config.inbound.words.clone(),
        },
        opts_out_of_all: config.inbound.opts_out_of_all,
        only_tenant: config.only_tenant().map(str::to_owned),
        senders: config
            .senders()
            .into_iter()
            .flat_map(|(number, tenants)| {
                let pair = move |tenant: &str| (number.to_owned(), tenant.to_owned());
                tenants.into_iter().map(pair)
            })
            .collect(),
        send_as_any: config.send_as_any().map(str::to_owned).collect(),
    }
}

/// What handsets are answered.
pub(crate) fn replies(config: &Config, names: &Names) -> plan::reply::Tenants {
    let own = config.tenants.iter().filter_map(|(name, facts)| {
        let replies = facts.replies.as_ref()?;
        Some((names.tenant_ix(name)?, texts(replies)))
    });
    plan::reply::Tenants {
        common: texts(&config.inbound.replies),
        own: own.collect(),
    }
}

fn texts(replies: &[(Intent, String)]) -> plan::reply::Replies {
    let of = |intent| {
        let mut all = replies.iter();
        let text = all.find(|(known, _)| *known == intent);
        text.map(|(_, text)| text.clone())
    };
    plan::reply::Replies {
        opt_out: of(Intent::OptOut),
        opt_in: of(Intent::OptIn),
        help: of(Intent::Help),
    }
}
