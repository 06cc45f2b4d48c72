//! What the config says arrives where it is acted on.

use super::*;
use crate::store::tests::TempDir;

/// The SMPP config of a route with these keys beside those that it needs.
fn route(keys: &str) -> smpp::Config {
    let dir = TempDir::new();
    let path = dir.0.join("c.toml");
    let text =
        format!("[routes.a]\ntype = \"smpp\"\nhosts = [\"h:1\"]\npassword = \"secret\"\n{keys}\n");
    std::fs::write(&path, text).unwrap();
    let (config, _) = config::load(&path, &config::Env::default(), true)
        .unwrap_or_else(|problems| panic!("{problems}"));
    smpp("a", &config.routes["a"], RouteIx(0)).unwrap()
}

#[test]
fn a_route_says_of_itself_what_its_config_says() {
    let longer = "a-name-of-twenty-four-oc";
    let route = route(&format!(
        "system_id = \"{longer}\"\nsystem_type = \"OTA-OTA-OTA-OTA\"\naddress_range = \"^4670\"\n\
         addr_ton = 2\naddr_npi = 8\nservice_type = \"CELLULAR\"\nmax_source = 21\n\
         validity = \"absolute\""
    ));
    assert_eq!(route.system_id, longer);
    assert_eq!(
        (
            &*route.system_type,
            &*route.address_range,
            &*route.service_type
        ),
        ("OTA-OTA-OTA-OTA", "^4670", "CELLULAR")
    );
    assert_eq!(route.addr, (2, 8));
    assert_eq!(route.validity, smpp::ValidityForm::Absolute);
    let room = Limits {
        system_id: longer.len() + 1,
        system_type: 16,
        service_type: 9,
        address: 22,
        ..Limits::SPEC
    };
    assert_eq!(route.limits, room);
}

#[test]
fn without_a_word_the_specifications_lengths_count() {
    let route = route("system_id = \"acme\"");
    assert_eq!(route.limits, Limits::SPEC);
    assert_eq!(route.validity, smpp::ValidityForm::Relative);
    assert_eq!((route.addr, &*route.service_type), ((0, 0), ""));
}

#[test]
fn a_number_is_its_only_senders_and_any_is_the_only_tenants() {
    let inbound = |text: &str| {
        let dir = TempDir::new();
        let path = dir.0.join("c.toml");
        std::fs::write(&path, text).unwrap();
        let (config, _) = config::load(&path, &config::Env::default(), true)
            .unwrap_or_else(|problems| panic!("{problems}"));
        inbound::inbound(&config)
    };
    let one = inbound("[tenants.acme]\nsenders = [\"*\"]\n");
    assert_eq!(one.only_tenant.as_deref(), Some("acme"));
    let two = inbound(
        "[tenants.acme]\nsenders = [\"+4676\", \"ACME\", \"Acme\"]\n\
         [tenants.beta]\nsenders = [\"4676\", \"*\"]\n",
    );
    assert_eq!(two.only_tenant, None);
    let owned = two.numbers.iter();
    let owned: Vec<(&str, &str)> = owned.map(|one| (&*one.number, &*one.tenant)).collect();
    assert_eq!(
        owned,
        [("ACME", "acme")],
        "a plus tells no two numbers apart"
    );
    assert_eq!(two.send_as_any, ["beta"]);
    let senders: Vec<&str> = two.senders.iter().map(|(_, tenant)| &**tenant).collect();
    assert_eq!(senders, ["acme", "beta", "acme"]);
}
