//! What decides who is told, and in which order.

use super::*;

/// The endpoints `crm` (0), `alerts` (1) and `orders` (2) are acme's, `beta` (3) is beta's.
fn rules(default: Option<(&str, &str)>) -> Rules {
    let names = Names {
        tenants: vec!["acme".into(), "beta".into()],
        routes: Vec::new(),
        endpoints: ["crm", "alerts", "orders", "beta"].map(Into::into).into(),
    };
    let number = |number: &str, tenant: &str, endpoint: Option<&str>| Number {
        number: number.into(),
        tenant: tenant.into(),
        endpoint: endpoint.map(Into::into),
        own_keywords: Vec::new(),
    };
    let mut alerts = number("+46769440001", "acme", Some("alerts"));
    alerts.own_keywords = vec![("BOOK".into(), "crm".into())];
    let own = |keyword: &str, tenant: &str, endpoint: &str| {
        (keyword.to_owned(), tenant.to_owned(), endpoint.to_owned())
    };
    let config = Config {
        default_endpoint: default.map(|(tenant, name)| (tenant.into(), name.into())),
        numbers: vec![
            number("71234", "acme", None),
            alerts,
            number("Beta", "beta", None),
        ],
        own_keywords: vec![
            own("PIZZA", "acme", "orders"),
            own("PIZZA NOW", "beta", "beta"),
        ],
        ..Config::default()
    };
    Rules::new(&config, &names)
}

/// Whose a message is, who is told, and the keyword that said so.
fn told<'a>(rules: &'a Rules, to: &str, text: &str) -> (u16, Option<u16>, Option<&'a str>) {
    let owner = rules.owner(to, std::iter::once(text));
    (
        owner.tenant.0,
        owner.endpoint.map(|endpoint| endpoint.0),
        owner.keyword,
    )
}

#[test]
fn a_number_leads_to_its_endpoint_then_to_the_default_of_its_own_tenant_only() {
    let rules = rules(Some(("acme", "crm")));
    let told = |to| told(&rules, to, "hello");
    assert_eq!(told("46769440001"), (0, Some(1), None));
    assert_eq!(told("71234"), (0, Some(0), None));
    assert_eq!(told("BETA"), (1, None, None), "another tenant's");
    assert_eq!(told("99999"), (0, Some(0), None), "nobody's");
}

#[test]
fn what_nobody_is_told_of_is_the_operators() {
    let rules = rules(None);
    assert_eq!(told(&rules, "71234", "hello"), (0, None, None));
    let nobody = told(&rules, "99999", "hello");
    assert_eq!(nobody, (TenantIx::OPERATOR.0, None, None));
}

#[test]
fn a_numbers_keyword_comes_before_its_endpoint_and_that_before_a_tenants_keyword() {
    let rules = rules(Some(("acme", "crm")));
    let told = |to, text| told(&rules, to, text);
    let number = "+46769440001";
    assert_eq!(told(number, "Book a table"), (0, Some(0), Some("BOOK")));
    assert_eq!(told(number, "pizza"), (0, Some(1), None), "its endpoint");
    assert_eq!(told("71234", "pizza!"), (0, Some(2), Some("PIZZA")));
    assert_eq!(
        told("71234", "book"),
        (0, Some(0), None),
        "another number's"
    );
}

#[test]
fn a_tenants_keyword_counts_on_its_own_numbers_and_says_whose_nobodys_are() {
    let rules = rules(Some(("acme", "crm")));
    let told = |to, text| told(&rules, to, text);
    assert_eq!(told("beta", "pizza"), (1, None, None), "it is acme's");
    assert_eq!(told("71234", "pizza now"), (0, Some(2), Some("PIZZA")));
    assert_eq!(told("99999", "pizza now"), (1, Some(3), Some("PIZZA NOW")));
    assert_eq!(told("99999", "no pizza"), (0, Some(0), None));
}

#[test]
fn a_message_without_its_beginning_has_no_keyword() {
    let rules = rules(None);
    let owner = rules.owner("71234", std::iter::empty());
    assert_eq!((owner.endpoint, owner.keyword), (None, None));
}
