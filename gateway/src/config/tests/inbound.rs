//! Tests of `[inbound]`: own keywords.

use super::*;

/// Two tenants with an endpoint each; `extra` follows.
fn text(extra: &str) -> String {
    let endpoint = |name: &str, tenant: &str, types: &str| {
        format!(
            "[endpoints.{name}]\ntenant = \"{tenant}\"\nurl = \"https://{name}.example\"\n\
             secret = {{ env = \"CRM_WEBHOOK_SECRET\" }}\ntypes = [\"{types}\"]\n"
        )
    };
    let endpoints = [
        endpoint("crm", "acme", "inbound.*"),
        endpoint("other", "beta", "inbound.*"),
        endpoint("deaf", "acme", "message.*"),
    ];
    format!(
        "[tenants.acme]\nsenders = [\"ACME\"]\n[tenants.beta]\nsenders = [\"BETA\"]\n\
         [routes.a]\ntype = \"smpp\"\nhosts = [\"h:1\"]\nsystem_id = \"x\"\n\
         password = {{ env = \"SHORT\" }}\n{}{extra}",
        endpoints.concat()
    )
}

#[test]
fn own_keywords_lead_to_their_endpoints() {
    let text = text(
        "[inbound]\nkeyword_endpoints = { BOOK = \"crm\", \"Boek nu\" = \"other\" }\n\
         [inbound.numbers.71234]\ntenant = \"acme\"\nkeyword_endpoints = { \"STOP IT\" = \"crm\" }\n",
    );
    let (config, _) = load_text(&text, &env(), false).unwrap_or_else(|p| panic!("{p:#?}"));
    let pair = |keyword: &str, endpoint: &str| (keyword.to_owned(), endpoint.to_owned());
    let inbound = &config.inbound;
    assert_eq!(
        inbound.keyword_endpoints,
        [pair("BOOK", "crm"), pair("Boek nu", "other")]
    );
    let number = &inbound.numbers["71234"].keyword_endpoints;
    assert_eq!(number[..], [pair("STOP IT", "crm")]);
}

#[test]
fn what_is_wrong_with_own_keywords_is_said() {
    let number = "[inbound.numbers.71234]\ntenant = \"acme\"\n";
    for (extra, said) in [
        (
            "[inbound.keyword_endpoints]\nBOOK = \"crn\"\n".to_owned(),
            "inbound.keyword_endpoints.BOOK = \"crn\": expected the name of one of [endpoints.*]",
        ),
        (
            "[inbound.keyword_endpoints]\nBOOK = \"deaf\"\n".to_owned(),
            "inbound.keyword_endpoints.BOOK = \"deaf\": expected an endpoint whose types have",
        ),
        (
            "[inbound.keyword_endpoints]\n\"!\" = \"crm\"\n".to_owned(),
            "inbound.keyword_endpoints.! = \"crm\": expected under a keyword of 1 to 64",
        ),
        (
            "[inbound.keyword_endpoints]\nBOOK = \"crm\"\n\"book!\" = \"crm\"\n".to_owned(),
            "inbound.keyword_endpoints.book! = \"crm\": expected each keyword once",
        ),
        (
            format!("{number}keyword_endpoints = {{ BOOK = \"other\" }}\n"),
            "inbound.numbers.71234.keyword_endpoints.BOOK = \"other\": expected an endpoint of tenant \"acme\"",
        ),
    ] {
        let problems = load_text(&text(&extra), &env(), false).expect_err("a mistake");
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].contains(said), "{said}: {problems:#?}");
    }
}

#[test]
fn a_number_that_nobody_would_hear_of_is_warned_of() {
    let text = |beta: &str, extra: &str| {
        format!(
            "[tenants.acme]\nsenders = [\"+46769440001\"]\n[tenants.beta]\nsenders = [{beta}]\n\
             [routes.a]\ntype = \"smpp\"\nhosts = [\"h:1\"]\nsystem_id = \"x\"\n\
             password = {{ env = \"SHORT\" }}\n\
             [endpoints.crm]\ntenant = \"acme\"\nurl = \"https://crm.example\"\n\
             secret = {{ env = \"CRM_WEBHOOK_SECRET\" }}\ntypes = [\"inbound.*\"]\n{extra}"
        )
    };
    let warned = |beta: &str, extra: &str| -> Vec<String> {
        let loaded = load_text(&text(beta, extra), &env(), false);
        let (_, warnings) = loaded.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let about = |warning: &String| warning.contains("is no tenant's");
        warnings.into_iter().filter(about).collect()
    };
    let shared = warned("\"46769440001\"", "");
    assert_eq!(shared.len(), 1, "{shared:?}");
    assert!(shared[0].contains("is among the senders of acme, beta"));
    let any = warned("\"*\"", "");
    assert!(
        any[0].contains("whatever beta sends from by \"*\""),
        "{any:?}"
    );
    for settled in [
        "[inbound.numbers.\"+46769440001\"]\ntenant = \"acme\"\n",
        "[inbound]\ndefault_endpoint = \"crm\"\n",
    ] {
        assert_eq!(warned("\"46769440001\"", settled), [""; 0], "{settled}");
    }
    assert_eq!(warned("\"BETA\"", ""), [""; 0]);
}

#[test]
fn a_tenant_has_its_own_replies_and_shared_ones_are_warned_of() {
    let replies = |acme: &str| {
        let common = "[inbound.replies]\nhelp = \"This is Acme\"\n";
        let own = format!("[tenants.acme.replies]\nhelp = \"{acme}\"\n");
        (text(common), text(&format!("{own}{common}")))
    };
    let (common, own) = replies("We are Acme");
    let shares = |warnings: &[String]| warnings.iter().any(|w| w.contains("of acme, beta are"));
    let (_, warnings) = load_text(&common, &env(), false).unwrap_or_else(|p| panic!("{p:#?}"));
    assert!(shares(&warnings), "{warnings:#?}");
    let (config, warnings) = load_text(&own, &env(), false).unwrap_or_else(|p| panic!("{p:#?}"));
    assert!(
        !warnings.iter().any(|w| w.contains("same texts")),
        "{warnings:#?}"
    );
    let help = (crate::inbound::Intent::Help, "We are Acme".to_owned());
    assert_eq!(config.tenants["acme"].replies, Some(vec![help]));
    assert_eq!(config.tenants["beta"].replies, None);
    let (_, keyword) = replies("help!");
    let problems = load_text(&keyword, &env(), false).expect_err("a keyword");
    assert!(problems[0].contains("tenants.acme.replies.help = \"help!\": expected a text"));
    let own = own.replace("[tenants.acme.replies]", "[tenants.acme.replys]");
    load_text(&own, &env(), false).expect_err("no such table");
}
