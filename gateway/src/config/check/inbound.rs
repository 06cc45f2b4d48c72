//! Checks of `[inbound]`: whose numbers handsets write to, and who is told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::section::{Field, Section};
use super::{Declared, HOUR, ITEMS_MAX};
use crate::config::{Endpoint, Inbound, InboundNumber};
use crate::event::{EventKind, EventKinds};
use crate::inbound::keyword::own;
use crate::inbound::reply::TEXT_CHARS_MAX;
use crate::inbound::{Intent, keyword};

/// Shortest time that parts may be given. Chosen: a carrier's own delays are seconds.
const REASSEMBLY_MIN: Duration = Duration::from_secs(1);
/// Longest number or name: an address of SMPP v3.4 §4.7.1 (data_sm) without its NUL.
const NUMBER_OCTETS_MAX: usize = 64;

/// Characters of the longest keyword: longer messages are not looked at (inbound/keyword.rs).
const KEYWORD_CHARS_MAX: usize = 64;

/// Reads the section. `endpoints` are those that are sound.
pub(super) fn inbound(
    section: &Section<'_>,
    declared: &Declared<'_>,
    endpoints: &BTreeMap<String, Endpoint>,
) -> Inbound {
    let keywords = section
        .opt("keywords")
        .and_then(|field| field.section("inbound.keywords"));
    let keywords = keywords.as_ref();
    let languages = keywords.and_then(languages);
    let words = keywords.map(words).unwrap_or_default();
    let replies = section
        .opt("replies")
        .and_then(|field| field.section("inbound.replies"))
        .map(|section| replies(&section, &keywords_of(&languages, &words)));
    Inbound {
        languages,
        words,
        replies: replies.unwrap_or_default(),
        opts_out_of_all: section
            .need("opt_out_scope", "\"sender\" or \"all\"")
            .and_then(|field| field.word(&[("sender", false), ("all", true)], &[]))
            .unwrap_or_default(),
        reassembly_timeout: section.duration(
            "reassembly_timeout",
            REASSEMBLY_MIN..=HOUR,
            "how long the parts of a message wait for each other",
        ),
        default_endpoint: section
            .opt("default_endpoint")
            .map(|field| endpoint(&field, declared, endpoints)),
        numbers: numbers(section, declared, endpoints),
        keyword_endpoints: own_keywords(section, declared, endpoints, None),
    }
}

/// Own keywords, each with its endpoint: of `tenant`, where a number is the tenant's.
fn own_keywords(
    section: &Section<'_>,
    declared: &Declared<'_>,
    endpoints: &BTreeMap<String, Endpoint>,
    tenant: Option<&str>,
) -> Vec<(String, String)> {
    let expected = "a table of keywords, each with an endpoint";
    let Some(tables) = section.opt("keyword_endpoints") else {
        return Vec::new();
    };
    let Some(named) = tables.table(expected) else {
        return Vec::new();
    };
    if named.len() > ITEMS_MAX {
        tables.wrong(&format!("at most {ITEMS_MAX} keywords"));
    }
    let mut seen: Vec<[Box<str>; 2]> = Vec::new();
    let mut all = Vec::new();
    for (keyword, node) in named.iter().take(ITEMS_MAX) {
        let field = tables.child(keyword, node);
        let [whole, first] = own::forms(keyword);
        if keyword.chars().count() > KEYWORD_CHARS_MAX || whole.is_empty() || first.is_empty() {
            field.wrong("under a keyword of 1 to 64 characters with a letter or digit in it");
        }
        if seen
            .iter()
            .any(|known| known[0] == whole || known[1] == first)
        {
            field.wrong("each keyword once; case and punctuation do not tell two apart");
        }
        seen.push([whole, first]);
        let name = endpoint(&field, declared, endpoints);
        let owner = endpoints
            .get(&name)
            .map(|endpoint| endpoint.tenant.as_str());
        not_anothers(&field, tenant, owner);
        all.push((keyword.clone(), name));
    }
    all
}

/// An endpoint of another tenant than the number's is told nothing of it.
fn not_anothers(field: &Field<'_>, tenant: Option<&str>, owner: Option<&str>) {
    if let (Some(tenant), Some(owner)) = (tenant, owner)
        && tenant != owner
    {
        let expected = format!("an endpoint of tenant \"{tenant}\"");
        field.wrong_hint(&expected, Some(format!("this one is \"{owner}\"'s")));
    }
}

fn languages(section: &Section<'_>) -> Option<Vec<String>> {
    let all: Vec<(&str, &str)> = keyword::languages().map(|code| (code, code)).collect();
    let items = section
        .opt("languages")?
        .list(all.len(), "a list of languages such as [\"en\"]");
    let codes = items.iter().filter_map(|field| field.word(&all, &[]));
    Some(codes.map(String::from).collect())
}

fn words(section: &Section<'_>) -> Vec<(Intent, String)> {
    let expected = "a word of 1 to 64 characters with a letter or digit in it";
    let fits =
        |text: &str| text.chars().count() <= KEYWORD_CHARS_MAX && !keyword::folded(text).is_empty();
    let mut words = Vec::new();
    for intent in Intent::ALL {
        let items = section.opt(intent.name());
        let items = items.map(|field| field.list(ITEMS_MAX, "a list of keywords"));
        let items = items.unwrap_or_default();
        words.extend(
            items
                .iter()
                .map(|field| (intent, field.text_where(expected, fits))),
        );
    }
    words
}

/// The keywords that count.
pub(super) fn all_keywords(inbound: Option<&Inbound>) -> keyword::Keywords {
    inbound.map_or_else(keyword::Keywords::default, |inbound| {
        keywords_of(&inbound.languages, &inbound.words)
    })
}

fn keywords_of(languages: &Option<Vec<String>>, words: &[(Intent, String)]) -> keyword::Keywords {
    keyword::Keywords::new(&keyword::Config {
        languages: languages.clone(),
        words: words.to_vec(),
    })
}

/// Reads the texts that answer keywords, of all tenants or of one.
pub(super) fn replies(
    section: &Section<'_>,
    keywords: &keyword::Keywords,
) -> Vec<(Intent, String)> {
    // A carrier that sends back what it gets would ask for it again.
    let expected = format!("a text of 1 to {TEXT_CHARS_MAX} characters that is no keyword itself");
    let fits = |text: &str| {
        !text.trim().is_empty()
            && text.chars().count() <= TEXT_CHARS_MAX
            && keywords.find(text).is_none()
    };
    let reply = |intent: Intent| {
        let field = section.opt(intent.name())?;
        Some((intent, field.text_where(&expected, fits)))
    };
    Intent::ALL.into_iter().filter_map(reply).collect()
}

fn endpoint(
    field: &Field<'_>,
    declared: &Declared<'_>,
    endpoints: &BTreeMap<String, Endpoint>,
) -> String {
    let name = field.name_of("endpoints", declared.endpoints);
    if let Some(endpoint) = endpoints.get(&name)
        && !takes(endpoint)
    {
        let expected = "an endpoint whose types have \"inbound.received\"";
        let hint = format!("add \"inbound.*\" to endpoints.{name}.types");
        field.wrong_hint(expected, Some(hint));
    }
    name
}

fn takes(endpoint: &Endpoint) -> bool {
    let all = endpoint.types.iter();
    let kinds = all
        .map(|one| EventKinds::matching(one))
        .reduce(EventKinds::with);
    kinds
        .unwrap_or_else(EventKinds::defaults)
        .has(EventKind::InboundReceived)
}

fn numbers(
    section: &Section<'_>,
    declared: &Declared<'_>,
    endpoints: &BTreeMap<String, Endpoint>,
) -> BTreeMap<String, InboundNumber> {
    let expected = "a table of tables, one for each number that handsets write to";
    let Some(tables) = section.opt("numbers") else {
        return BTreeMap::new();
    };
    let Some(named) = tables.table(expected) else {
        return BTreeMap::new();
    };
    if named.len() > ITEMS_MAX {
        tables.wrong(&format!("at most {ITEMS_MAX} numbers"));
    }
    let mut numbers = BTreeMap::new();
    for (number, node) in named.iter().take(ITEMS_MAX) {
        let field = tables.child(number, node);
        let fits = (1..=NUMBER_OCTETS_MAX).contains(&number.len())
            && number
                .bytes()
                .all(|octet| octet.is_ascii_graphic() || octet == b' ');
        if !fits {
            field.wrong("a number of 1 to 64 printable characters, such as \"+46769440001\"");
        }
        if let Some(one) = number_of(&field, declared, endpoints) {
            numbers.insert(number.clone(), one);
        }
    }
    numbers
}

fn number_of(
    field: &Field<'_>,
    declared: &Declared<'_>,
    endpoints: &BTreeMap<String, Endpoint>,
) -> Option<InboundNumber> {
    let section = field.section("inbound.numbers.*")?;
    let tenant = section
        .opt("tenant")
        .map(|field| field.name_of("tenants", declared.tenants));
    let endpoint = section
        .opt("endpoint")
        .map(|field| endpoint(&field, declared, endpoints));
    let owner = endpoint.as_ref().and_then(|name| endpoints.get(name));
    let owner = owner.map(|endpoint| &endpoint.tenant);
    if let Some(field) = section.opt("endpoint") {
        not_anothers(&field, tenant.as_deref(), owner.map(String::as_str));
    }
    let Some(tenant) = tenant.or_else(|| owner.cloned()) else {
        // An endpoint that is not there has been told of.
        if endpoint.is_none() {
            field.missing("tenant", "the name of one of [tenants.*], or an endpoint");
        }
        return None;
    };
    let keyword_endpoints = own_keywords(&section, declared, endpoints, Some(&tenant));
    Some(InboundNumber {
        tenant,
        endpoint,
        keyword_endpoints,
    })
}
