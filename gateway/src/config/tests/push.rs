//! Push routes: the text that config/gateway.toml gets once they can be used, and what is wrong in it.

use super::*;
use crate::config::check::check;
use crate::config::check::schema::PUSH_SCHEMAS;
use crate::config::load::tree;
use crate::config::push::{ApnsAuth, Environment, PushRoute, PushService, Reference, Schedule};
use rustix::fs::CWD;

const EC: &str = include_str!("../../../../codecs/testdata/keys/ec_p256.p8");
const RSA: &str = include_str!("../../../../codecs/testdata/keys/rsa_2048.pem");

/// What config/gateway.toml gets, with "#" before each line, when push routes can be used.
const EXAMPLE: &str = include_str!("../../../../config/push.toml");

/// Files of one test, removed with it.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let own = Scratch::new("");
        let dir = own.0.with_extension("d");
        std::fs::create_dir_all(&dir).unwrap();
        let account = serde_json::json!({
            "type": "service_account", "project_id": "shop-1a2b3", "client_email": "a@b.example",
            "private_key_id": "one", "private_key": RSA,
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        let certificate = || {
            let own = rcgen::generate_simple_self_signed(Vec::new()).unwrap();
            (own.cert.pem(), own.signing_key.serialize_pem())
        };
        let ((shop, key), (_, foreign)) = (certificate(), certificate());
        let mut elsewhere = account.clone();
        elsewhere["token_uri"] = "https://elsewhere.example/token".into();
        for (name, text) in [
            ("AuthKey_ABC1234567.p8", EC.to_owned()),
            ("other.p8", EC.to_owned()),
            ("fcm.json", account.to_string()),
            ("fcm-elsewhere.json", elsewhere.to_string()),
            ("shop.pem", shop.clone() + &key),
            ("foreign.pem", shop + &foreign),
        ] {
            std::fs::write(dir.join(name), text).unwrap();
        }
        std::fs::write(dir.join("shop.p12"), [0x30, 0x82, 0xFF, 0xFE]).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let fifo = dir.join("fifo.p8");
        rustix::fs::mknodat(CWD, fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        Self(dir)
    }

    /// Checks `text` as if push routes could be used, with the files where it says they are.
    fn check(&self, text: &str) -> Result<BTreeMap<String, PushRoute>, Vec<String>> {
        let dir = self.0.display().to_string();
        let file = Scratch::new(&text.replace("/run/secrets", &dir));
        let short = |problem: &Problem| {
            let line = problem.to_string().replace(&dir, "/run/secrets");
            line.replace(&file.0.display().to_string(), "c.toml")
        };
        let tree = tree(&file.0, &env()).unwrap();
        match check(&tree, &env(), false) {
            Ok((config, _)) => Ok(config.push),
            Err(problems) => Err(problems.0.iter().map(short).collect()),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The example with what it does not need left out.
fn minimal() -> String {
    let optional = [
        "connections",
        "request_timeout",
        "auto_collapse",
        "quota",
        "pool",
        "guard",
        "retry",
        "receipts",
    ];
    let mut kept = String::new();
    let mut inside = true;
    for line in EXAMPLE.lines() {
        if line.starts_with('[') {
            inside = line.matches('.').count() == 1;
        }
        let key = line.split(' ').next().unwrap_or_default();
        if inside && !optional.contains(&key) {
            kept += line;
            kept += "\n";
        }
    }
    kept
}

#[test]
fn the_example_is_read_as_it_is_meant_and_shows_the_defaults() {
    let files = Files::new();
    let routes = files.check(EXAMPLE).unwrap();
    assert_eq!(
        format!("{routes:?}"),
        format!("{:?}", files.check(&minimal()).unwrap())
    );
    let route = &routes["apns-shop"];
    let PushService::Apns(apns) = &route.service else {
        panic!("{route:?}");
    };
    assert_eq!(apns.environment, Environment::Production);
    assert_eq!(apns.apps["shop-ios"], "com.acme.shop");
    let ApnsAuth::Token {
        team_id,
        key_id,
        key,
    } = &apns.auth
    else {
        panic!("{apns:?}");
    };
    assert_eq!(
        (team_id.as_str(), key_id.as_str()),
        ("TEAM123456", "ABC1234567")
    );
    assert!(matches!(key, Reference::File(path) if path.ends_with("AuthKey_ABC1234567.p8")));
    assert_eq!((route.pool.min, route.pool.max), (1, 4));
    assert!((route.guard.invalid_token_ratio - 0.2).abs() < 1e-9);
    let seconds = |seconds: &[u64]| {
        let pauses = seconds.iter().copied().map(Duration::from_secs).collect();
        Schedule::Pauses(pauses)
    };
    assert_eq!(route.retry.schedule, seconds(&[1, 5, 30, 300, 900]));
    assert!((route.retry.budget - 0.1).abs() < 1e-9);
    let route = &routes["fcm-shop"];
    let PushService::Fcm(fcm) = &route.service else {
        panic!("{route:?}");
    };
    assert_eq!(fcm.project, "shop-1a2b3");
    assert_eq!(route.retry.schedule, seconds(&[10, 30, 60, 300, 900]));
    assert_eq!(
        (fcm.quota.rate.count, fcm.quota.rate.per),
        (600_000, Duration::from_secs(60))
    );
    assert_eq!(fcm.quota.ramp, Duration::from_secs(60));
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let real: String = EXAMPLE
        .lines()
        // With a blank behind it, it is prose.
        .filter(|line| !line.starts_with("# "))
        .map(|line| line.strip_prefix('#').unwrap_or(line).to_owned() + "\n")
        .collect();
    let tree = parse("push", &real).unwrap_or_else(|p| panic!("{p}"));
    let mut shown = BTreeSet::new();
    for (name, path) in [("apns-shop", "routes.*:apns"), ("fcm-shop", "routes.*:fcm")] {
        let Value::Table(keys) = &tree.get("routes").unwrap().get(name).unwrap().value else {
            panic!("{name} is no table");
        };
        for (key, node) in keys {
            shown.insert(format!("{path}.{key}"));
            let table = match key.as_str() {
                "quota" => "routes.*:fcm.quota".to_owned(),
                "pool" | "guard" | "retry" | "receipts" => format!("routes.*:push.{key}"),
                _ => continue,
            };
            if let Value::Table(keys) = &node.value {
                shown.extend(keys.keys().map(|key| format!("{table}.{key}")));
            }
        }
    }
    let key = |schema: &'static check::schema::Schema| {
        schema
            .keys
            .iter()
            .map(move |key| format!("{}.{key}", schema.path))
    };
    let known: BTreeSet<String> = PUSH_SCHEMAS.iter().flat_map(key).collect();
    let difference: Vec<_> = shown.symmetric_difference(&known).collect();
    assert!(
        difference.is_empty(),
        "in one but not the other: {difference:#?}"
    );
}

#[test]
fn a_certificate_stands_in_the_place_of_a_key_and_its_ids() {
    let files = Files::new();
    let by = |key: &str| {
        minimal()
            .replace(
                "key = { file = \"/run/secrets/AuthKey_ABC1234567.p8\" }",
                key,
            )
            .replace("key_id = \"ABC1234567\"\nteam_id = \"TEAM123456\"\n", "")
    };
    let routes = files
        .check(&by("certificate = { file = \"/run/secrets/shop.pem\" }"))
        .unwrap();
    let PushService::Apns(apns) = &routes["apns-shop"].service else {
        panic!("{routes:?}");
    };
    assert!(matches!(
        &apns.auth,
        ApnsAuth::Certificate { key: None, .. }
    ));
    let problems = files.check(&by("certificate = { file = \"/run/secrets/foreign.pem\" }"));
    assert!(problems.unwrap_err()[0].ends_with(
        "routes.apns-shop.certificate: expected Apple's certificate with its private key \
             (/run/secrets/foreign.pem: the key is not the certificate's)"
    ),);
    let problems = files.check(&by("certificate = { file = \"/run/secrets/shop.p12\" }"));
    let problems = problems.unwrap_err();
    assert!(
        problems[0].contains("openssl pkcs12 -legacy -in FILE.p12"),
        "{problems:#?}"
    );
}

/// Piece of the example, what stands there instead, and the one problem.
const MISTAKES: &[(&str, &str, &str)] = &[
    // gorush#536: where nothing may be out at once, pushes waited for ever.
    (
        "connections = 4",
        "connections = 0",
        "routes.apns-shop.connections = 0: expected 1..=32, connections at most; none would send nothing",
    ),
    (
        "connections = 4",
        "connections = \"\"",
        "routes.apns-shop.connections = \"\": expected 1..=32",
    ),
    (
        "min = 1  ",
        "min = 5  ",
        "routes.apns-shop.pool.min = 5: expected at most connections",
    ),
    (
        "min = 1  ",
        "min = 0  ",
        "routes.apns-shop.pool.min = 0: expected 1..=32",
    ),
    (
        "min = 1  ",
        "mni = 1  ",
        "routes.apns-shop.pool.mni: unknown key",
    ),
    (
        "max_age = \"24h\"",
        "max_age = \"1s\"",
        "routes.apns-shop.pool.max_age = \"1s\": expected",
    ),
    (
        "environment = \"production\"",
        "environment = \"prodcution\"",
        "(did you mean \"production\"?)",
    ),
    (
        "environment = \"production\"",
        "",
        "routes.apns-shop.environment: missing, expected \"production\" or \"sandbox\"",
    ),
    (
        "topic = \"com.acme.shop\"  ",
        "topic = \"com acme\"  ",
        "routes.apns-shop.topic = \"com acme\": expected a bundle id",
    ),
    (
        "app = \"shop-ios\"  ",
        "apps = { shop-ios = \"com.acme.shop\" }  ",
        "routes.apns-shop.topic: expected nothing here beside apps",
    ),
    (
        "key_id = \"ABC1234567\"",
        "key_id = \"ABC\"",
        "routes.apns-shop.key_id = \"ABC\": expected the key's id",
    ),
    (
        "key_id = \"ABC1234567\"",
        "kid = \"ABC1234567\"",
        "routes.apns-shop.kid: unknown key",
    ),
    (
        "/run/secrets/AuthKey_ABC1234567.p8",
        "/run/secrets/gone.p8",
        "/run/secrets/gone.p8: No such file",
    ),
    (
        "/run/secrets/AuthKey_ABC1234567.p8",
        "/run/secrets/fifo.p8",
        "/run/secrets/fifo.p8: it is not a regular file",
    ),
    (
        "#extra_ca = \"/etc/trunkline/sim-ca.pem\"",
        "extra_ca = \"/run/secrets/fifo.p8\"",
        "(it is not a regular file)",
    ),
    (
        "key = { file = \"/run/secrets/AuthKey_ABC1234567.p8\" }",
        "key = { file = \"/run/secrets/fcm.json\" }",
        "routes.apns-shop.key: expected Apple's .p8 key (",
    ),
    (
        "key = { file = \"/run/secrets/AuthKey_ABC1234567.p8\" }",
        "key = \"cAnArY-5ecret\"",
        "routes.apns-shop.key: expected { env = \"NAME\" } or { file = \"PATH\" } of Apple's .p8 key",
    ),
    (
        "key = { file = \"/run/secrets/AuthKey_ABC1234567.p8\" }",
        "certificate = { file = \"/run/secrets/shop.pem\" }\n",
        "expected nothing here beside certificate",
    ),
    (
        "/run/secrets/fcm.json",
        "/run/secrets/other.p8",
        "routes.fcm-shop.credentials: expected the service account's JSON file (the file is no JSON",
    ),
    // What the gateway would not start with.
    (
        "/run/secrets/fcm.json",
        "/run/secrets/fcm-elsewhere.json",
        "routes.fcm-shop.credentials: expected the service account's JSON file (`token_uri` must be at \
         https://oauth2.googleapis.com; where another endpoint is meant, the route's token_url names it)",
    ),
    (
        "invalid_token_ratio = \"20%\"  ",
        "invalid_token_ratio = 20  ",
        "routes.apns-shop.guard.invalid_token_ratio = 20: expected a share",
    ),
    (
        "invalid_token_ratio = \"20%\"  ",
        "invalid_token_ratio = \"101%\"  ",
        "from 0% to 100%",
    ),
    (
        "budget = \"10%\"  ",
        "budget = \"10\"  ",
        "routes.apns-shop.retry.budget = \"10\": expected a share",
    ),
    (
        "schedule = [\"1s\"",
        "schedule = [\"1\"",
        "routes.apns-shop.retry.schedule[0] = \"1\": expected a duration",
    ),
    (
        "schedule = [\"1s\"",
        "schedule = [\"0s\"",
        "routes.apns-shop.retry.schedule[0] = \"0s\": expected a duration",
    ),
    (
        "schedule = [\"1s\", \"5s\", \"30s\", \"5m\", \"15m\"]",
        "schedule = []",
        "routes.apns-shop.retry.schedule = a list: expected a list of 1 to 10 pauses",
    ),
    (
        "schedule = [\"1s\", \"5s\", \"30s\", \"5m\", \"15m\"]",
        "schedule = \"apple-stirct\"",
        "or \"apple-strict\" (did you mean \"apple-strict\"?)",
    ),
    (
        "schedule = [\"10s\", \"30s\", \"1m\", \"5m\", \"15m\"]",
        "schedule = \"apple-strict\"",
        "routes.fcm-shop.retry.schedule = \"apple-strict\": expected a list of 1 to 10 pauses",
    ),
    (
        "ramp = \"60s\"",
        "ramp = \"60\"",
        "routes.fcm-shop.quota.ramp = \"60\": expected a duration",
    ),
    (
        "quota = { rate = \"600000/min\"",
        "quota = { rate = \"600000\"",
        "routes.fcm-shop.quota.rate = \"600000\": expected a rate",
    ),
    (
        "app = \"shop-android\"",
        "apps = [\"a\", \"a\"]",
        "routes.fcm-shop.apps[1] = \"a\": expected each app once",
    ),
    (
        "app = \"shop-android\"",
        "apps = []",
        "routes.fcm-shop.apps = a list: expected a list of 1 to 1000 apps",
    ),
    (
        "app = \"shop-android\"",
        "app = \"shop-android\"\ntoken_url = \"http://proxy.example/token\"",
        "routes.fcm-shop.token_url = \"http://proxy.example/token\": expected an https url",
    ),
    (
        "app = \"shop-android\"",
        "app = \"shop-android\"\nsystem_id = \"x\"",
        "routes.fcm-shop.system_id: unknown key",
    ),
];

#[test]
fn every_mistake_is_named_with_its_place_and_no_secret() {
    let files = Files::new();
    for (piece, instead, said) in MISTAKES {
        let text = EXAMPLE.replacen(piece, instead, 1);
        assert_ne!(text, EXAMPLE, "{piece}");
        let problems = files.check(&text).expect_err(instead);
        assert!(
            problems.iter().any(|problem| problem.contains(said)),
            "{instead}: {problems:#?}"
        );
        let all = problems.join("\n");
        assert!(!all.contains("cAnArY") && !all.contains("MIG"), "{all}");
    }
}

#[test]
fn all_mistakes_come_at_once() {
    let files = Files::new();
    let text = EXAMPLE
        .replace("connections = 4", "connections = 0")
        .replace("topic = \"com.acme.shop\"  ", "topic = \"\"  ")
        .replace("/run/secrets/fcm.json", "/run/secrets/gone.json")
        .replace("window = \"10m\"", "window = \"10\"");
    assert_eq!(
        files.check(&text).unwrap_err().len(),
        5,
        "window is there twice"
    );
}

#[test]
fn two_routes_of_one_project_have_one_quota() {
    let files = Files::new();
    let (_, fcm) = EXAMPLE.split_once("[routes.fcm-shop]").unwrap();
    let both = |second: &str| [EXAMPLE, "[routes.fcm-two]", second].concat();
    assert_eq!(files.check(&both(fcm)).unwrap().len(), 3);
    let problems = files.check(&both(&fcm.replace("600000/min", "5000/min")));
    let problems = problems.unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].contains(
        "routes.fcm-two.quota = a table: expected the same as routes.fcm-shop.quota: both are of project"
    ));
    let other = fcm.replace("#project = \"shop-1a2b3\"", "project = \"other-1\"");
    let other = other.replace("600000/min", "5000/min");
    assert_eq!(files.check(&both(&other)).unwrap().len(), 3);
}

#[test]
fn two_routes_with_one_key_name_one_file() {
    let files = Files::new();
    let second = minimal()
        .split_once("[routes.fcm-shop]")
        .unwrap()
        .0
        .replace("[routes.apns-shop]", "[routes.apns-test]");
    let both = minimal() + &second.replace("production", "sandbox");
    assert_eq!(files.check(&both).unwrap().len(), 3);
    let (head, tail) = both.split_once("[routes.apns-test]").unwrap();
    let tail = tail.replace("AuthKey_ABC1234567.p8", "other.p8");
    let problems = files
        .check(&[head, "[routes.apns-test]", &tail].concat())
        .unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(
        problems[0]
            .contains("routes.apns-test.key: expected the same file as routes.apns-shop.key")
    );
}

/// What is said of a rule beside the example's routes and a carrier's.
fn of_rule(rule: &str) -> Vec<String> {
    let carrier = "[routes.carrier]\ntype = \"smpp\"\nhosts = [\"a.example:3550\"]\n\
                   system_id = \"a\"\npassword = { env = \"CARRIER_A_PASSWORD\" }\n\
                   bind = \"transceiver\"\nwindow = 5\nrate = \"5/s\"\n\
                   receipts = { id_format = \"auto\" }\n[[routing.rules]]\n";
    let text = [EXAMPLE, carrier, rule].concat();
    Files::new().check(&text).err().unwrap_or_default()
}

#[test]
fn a_rule_that_nothing_can_match_or_go_over_is_a_mistake_with_its_place() {
    let push = "match = { channel = \"push\" }\nroutes = [\"apns-shop\"]";
    for good in [
        push,
        "match = {}\nroutes = [\"carrier\", \"apns-shop\", \"fcm-shop\"]",
        "match = { country = [\"SE\"], prefix = [\"+46\"] }\nroutes = [\"carrier\"]",
    ] {
        assert_eq!(of_rule(good), [""; 0], "{good}");
    }
    let said = |rule: &str, places: &[&str]| {
        let problems = of_rule(rule);
        assert_eq!(problems.len(), places.len(), "{rule}: {problems:#?}");
        for (problem, place) in problems.iter().zip(places) {
            assert!(problem.contains(place), "{problem}: {place}");
        }
    };
    let with = |more: &str| push.replace(" }", more);
    said(
        &with(", country = [\"SE\"] }"),
        &["routing.rules[0].match.country = a list: expected nothing here under channel"],
    );
    said(
        &with(", prefix = [\"+46\"], country = [\"SE\"] }"),
        &["match.country = a list: ", "match.prefix = a list: "],
    );
    said(
        "match = { channel = \"push\" }\nroutes = [\"carrier\", \"fcm-shop\"]",
        &["routing.rules[0].routes[0] = \"carrier\": expected a route to APNs or FCM"],
    );
    said(
        "match = { channel = \"sms\" }\nroutes = [\"carrier\", \"fcm-shop\"]",
        &["rules[0].routes[1] = \"fcm-shop\": expected a route to a carrier: under channel"],
    );
    said(
        "match = { prefix = [\"+46\"] }\nstrategy = \"weighted\"\n\
         routes = [{ name = \"apns-shop\", weight = 1 }, { name = \"carrier\", weight = 1 }]",
        &["routes[0].name = \"apns-shop\": expected a route to a carrier: with country or prefix"],
    );
}
