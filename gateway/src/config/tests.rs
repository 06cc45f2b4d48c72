//! Tests of the config: the shipped files, a table of mistakes, and that no secret is ever shown.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::check::schema::SCHEMAS;
use super::load::{Node, Value, parse};
use super::*;

mod inbound;
mod mistakes;
mod push;
mod tlvs;

/// What must never show up in any output.
const CANARY: &str = "cAnArY-5ecret-0123456789-abcdefghijklmn";
/// A valid webhook secret that holds a canary of its own.
const WHSEC: &str = "whsec_Y0FuQXJZLTVlY3JldC0wMTIzNDU2Nzg5LWFiY2RlZg==";

fn env() -> Env {
    [
        ("TRUNKLINE_KEY_CRM", CANARY),
        ("CARRIER_A_PASSWORD", &CANARY[..8]),
        ("CRM_WEBHOOK_SECRET", WHSEC),
        ("SHORT", "cAnArY-5"),
    ]
    .into_iter()
    .collect()
}

fn with(name: &str, value: &str) -> Env {
    let both = [
        "TRUNKLINE_KEY_CRM",
        "CARRIER_A_PASSWORD",
        "CRM_WEBHOOK_SECRET",
        "SHORT",
    ];
    let base = env();
    both.into_iter()
        .filter_map(|name| Some((name, base.get(name)?)))
        .chain([(name, value)])
        .collect()
}

/// A file of its own for one test, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trunkline-config-{}-{count}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("the temporary directory is writable");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover in the temporary directory harms no other test.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Loads `text` as if the file were called `c.toml`; problems come as their lines.
fn load_text(text: &str, env: &Env, dev: bool) -> Result<(Config, Vec<String>), Vec<String>> {
    let file = Scratch::new(text);
    let shown = file.0.display().to_string();
    let short = |line: String| line.replace(&shown, "c.toml");
    match load(&file.0, env, dev) {
        Ok((config, warnings)) => {
            let lines = warnings.iter().map(|w| short(w.to_string())).collect();
            Ok((config, lines))
        }
        Err(problems) => Err(problems.0.iter().map(|p| short(p.to_string())).collect()),
    }
}

fn shipped(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../config")
        .join(name)
}

/// The default file with its examples made real.
fn uncommented() -> String {
    let real = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| !c.is_whitespace()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    // An empty list and its tables cannot both be there; the lists are tested as they are.
    let kept = |line: &&str| !line.starts_with("keys = []") && !line.starts_with("rules = []");
    DEFAULT_FILE
        .lines()
        .filter(kept)
        .map(|line| real(line) + "\n")
        .collect()
}

#[test]
fn values_are_read_as_people_write_them() {
    let rate = |count, seconds, burst| {
        let per = Duration::from_secs(seconds);
        Some(Rate { count, per, burst })
    };
    for (text, meant) in [
        ("400/s, burst 800", rate(400, 1, 800)),
        ("400/s", rate(400, 1, 400)),
        ("5_000 / min", rate(5_000, 60, 83)),
        ("10/h,burst 3", rate(10, 3_600, 3)),
        ("7/d", rate(7, 86_400, 1)),
        ("4294967296/s", None),
        ("-1/s", None),
        ("1/s, burst", None),
        ("1/s, 5", None),
        ("_1/s", None),
        ("/s", None),
    ] {
        assert_eq!(value::rate(text), meant, "{text}");
    }
    for (text, octets) in [
        ("256MB", Some(256_000_000)),
        ("1 MiB", Some(1 << 20)),
        ("1GB", Some(1_000_000_000)),
        ("7b", Some(7)),
        ("1.5GB", None),
        ("1", None),
        ("99999999999TB", None),
    ] {
        assert_eq!(value::size(text), octets, "{text}");
    }
    for (text, meant) in [
        ("a.example:2775", Some(("a.example", 2775))),
        ("10.0.0.1:1", Some(("10.0.0.1", 1))),
        ("[::1]:2775", Some(("::1", 2775))),
        ("::1:2775", None),
        ("a:65536", None),
        ("a b:1", None),
        (":1", None),
    ] {
        assert_eq!(value::host_port(text), meant, "{text}");
    }
    for (text, shown) in [
        ("https://a.example/x?token=t", "https://a.example/x?…"),
        ("https://u:p@a.example/x", "https://…@a.example/x"),
        ("https://a.example/@x", "https://a.example/@x"),
        ("u:p@a.example", "…"),
    ] {
        assert_eq!(value::url_shown(text), shown, "{text}");
    }
    for (text, public) in [
        ("8.8.8.8", true),
        ("100.64.0.1", false),
        ("172.16.0.1", false),
        ("169.254.169.254", false),
        ("0.0.0.0", false),
        ("::ffff:127.0.0.1", false),
        ("fd00::1", false),
        ("64:ff9b::10.0.0.1", false),
        ("64:ff9b::8.8.8.8", true),
        ("2001:db8::1", false),
        ("203.0.113.9", false),
        ("2001:4860:4860::8888", true),
    ] {
        assert_eq!(
            value::public(text.parse().expect("an address")),
            public,
            "{text}"
        );
    }
}

#[test]
fn the_shipped_files_have_no_mistakes() {
    for name in ["gateway.toml", "example.toml"] {
        let loaded = load(&shipped(name), &env(), false);
        let (_, warnings) = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(warnings, [], "{name}");
    }
}

#[test]
fn the_examples_of_the_default_file_have_no_mistakes_but_files_that_are_not_there() {
    let text = uncommented().replace("\ntls = false", "\ntls = true");
    let problems = load_text(&text, &env(), false).expect_err("the files are not there");
    let file = |problem: &String| problem.contains("a readable file");
    let (files, others): (Vec<_>, Vec<_>) = problems.into_iter().partition(file);
    assert_eq!(files.len(), 5, "{files:#?}");
    // With TLS for all that want it, one example does not go with the others.
    assert_eq!(others.len(), 1, "{others:#?}");
    assert!(others[0].contains("no outbind beside tls = true"));
}

#[test]
fn the_default_file_shows_every_key_and_no_other() {
    let tree = parse("gateway.toml", &uncommented()).unwrap_or_else(|p| panic!("{p}"));
    let mut shown = BTreeSet::new();
    collect(&tree, "", &mut shown);
    let known: BTreeSet<String> = SCHEMAS
        .iter()
        .flat_map(|schema| {
            let dot = if schema.path.is_empty() { "" } else { "." };
            schema
                .keys
                .iter()
                .map(move |key| format!("{}{dot}{key}", schema.path))
        })
        .collect();
    let difference: Vec<_> = shown.symmetric_difference(&known).collect();
    assert!(
        difference.is_empty(),
        "in one but not the other: {difference:#?}"
    );
}

/// Every key path, names as `*` and items as `[]`; below headers, cost and own keywords the operator chooses.
fn collect(node: &Node, path: &str, paths: &mut BTreeSet<String>) {
    let Value::Table(table) = &node.value else {
        return;
    };
    for (key, node) in table {
        let dynamic = matches!(
            path,
            "routes" | "routes.*.tlvs" | "tenants" | "endpoints" | "inbound.numbers"
        );
        let below = match (path, dynamic) {
            ("", _) => key.clone(),
            (_, true) => format!("{path}.*"),
            (_, false) => format!("{path}.{key}"),
        };
        if !dynamic {
            paths.insert(below.clone());
        }
        let chosen = [".headers", ".cost", "keyword_endpoints", "key.file"];
        if chosen.iter().any(|name| below.ends_with(name)) {
            continue;
        }
        match (&node.value, below.as_str()) {
            (_, "server.tls.key" | "routes.*.tls_client.key" | "auth.keys[].secret") => {}
            (_, path) if path.ends_with(".password") || path.ends_with(".secret") => {}
            (Value::Array(items), _) => {
                let item = format!("{below}[]");
                items.iter().for_each(|node| collect(node, &item, paths));
            }
            _ => collect(node, &below, paths),
        }
    }
}

#[test]
fn the_examples_show_the_defaults_that_the_code_applies() {
    let minimal = "[tenants.acme]\nsenders = [\"*\"]\n[routes.carrier-a]\ntype = \"smpp\"\n\
                   hosts = [\"h:1\"]\nsystem_id = \"x\"\npassword = { env = \"SHORT\" }\n\
                   [endpoints.crm]\ntenant = \"acme\"\nurl = \"https://h.example\"\n\
                   secret = { env = \"CRM_WEBHOOK_SECRET\" }\nbatch = {}\n";
    let file = Scratch::new(minimal);
    let applied = effective(&file.0, &env(), false).unwrap_or_else(|p| panic!("{p}"));
    let shown: toml::Table = uncommented().parse().expect("the default file is TOML");
    let given = [
        "type",
        "hosts",
        "system_id",
        "password",
        "senders",
        "tenant",
        "url",
        "secret",
    ];
    for table in ["tenants.acme", "routes.carrier-a", "endpoints.crm"] {
        let (kind, name) = table.split_once('.').expect("written so above");
        let applied = applied[kind][name].as_table().expect("a table");
        for (key, value) in applied
            .iter()
            .filter(|(key, _)| !given.contains(&key.as_str()))
        {
            assert_shown(value, &shown[kind][name][key], &format!("{table}.{key}"));
        }
    }
}

/// What is applied is shown; a table may show optional keys beside.
fn assert_shown(applied: &toml::Value, shown: &toml::Value, path: &str) {
    match (applied, shown) {
        (toml::Value::Table(applied), toml::Value::Table(_)) => {
            for (key, value) in applied {
                let below = format!("{path}.{key}");
                assert_shown(value, shown.get(key).expect(&below), &below);
            }
        }
        _ => assert_eq!(applied, shown, "{path}"),
    }
}

#[test]
fn a_route_says_how_its_receipts_are_written() {
    let text = "[tenants.acme]\nsenders = [\"*\"]\n[routes.a]\ntype = \"smpp\"\n\
                hosts = [\"h:1\"]\nsystem_id = \"x\"\npassword = { env = \"SHORT\" }\n\
                error_map = \"../config/carriers/maps/twilio.toml\"\n\
                receipts = { format = \"vodafone-csv\", utc_offset = \"-03:30\", ask = \"last\", \
                unknown_is_final = false, id_transform = { strip_prefix = \"A:\" } }\n";
    let file = Scratch::new(text);
    let (config, _) = load(&file.0, &env(), false).unwrap_or_else(|p| panic!("{p}"));
    let route = &config.routes["a"];
    let absent = Some(crate::outcome::Reason::AbsentSubscriber);
    assert_eq!(
        route.error_map.err(b"001"),
        absent,
        "a file of the operator's own"
    );
    let receipts = &route.receipts;
    let format = receipts.format.as_ref().expect("it is given");
    let read = format.scan(b"00,0210021543,0210021500,,447887123456,8000,we2345");
    assert_eq!(read.and_then(|read| read.id), Some(&b"we2345"[..]));
    assert_eq!(receipts.utc_offset_min, -210);
    // Where one part is asked for, no other is waited for.
    assert_eq!(
        (receipts.ask, receipts.parts),
        (PartRule::Last, PartRule::Last)
    );
    assert!(!receipts.unknown_is_final && !receipts.accepted_is_final && receipts.enabled);
    let transform = receipts.id_transform.as_ref().expect("it is given");
    assert_eq!(transform.strip_prefix, "A:");
    assert_eq!(
        receipts.timeout,
        Duration::from_secs(72 * 3_600),
        "the default"
    );
}

#[test]
fn a_whole_config_means_what_it_says() {
    let (config, warnings) = load(&shipped("example.toml"), &env(), false).expect("it is good");
    assert_eq!(warnings, []);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8443");
    assert_eq!(config.limits.queued, 50_000_000);
    assert_eq!(config.limits.memory, 256_000_000);
    assert_eq!(config.lanes, [50, 30, 15, 5]);
    let route = &config.routes["carrier-a"];
    assert_eq!(
        (route.window, route.binds_per_host, route.version),
        (50, 2, 0x34)
    );
    let second = Duration::from_secs(1);
    let rate = Rate {
        count: 400,
        per: second,
        burst: 400,
    };
    assert_eq!(route.rate, Some(rate));
    assert_eq!(route.account.password.expose(), &CANARY[..8]);
    assert_eq!(config.rules[0].routes, [(String::from("carrier-a"), 1)]);
    assert_eq!(config.rules[0].strategy, Strategy::Priority);
    assert_eq!(config.keys[0].secret.expose(), CANARY);
    assert_eq!(
        config.endpoints["crm"].types,
        ["message.*", "inbound.*", "recipient.*"]
    );
}

#[test]
fn overrides_reach_every_kind_of_value() {
    let vars = [
        ("TRUNKLINE__SERVER__LISTEN", "127.0.0.1:1"),
        ("TRUNKLINE__LIMITS__QUEUED", "1_000"),
        ("TRUNKLINE__ROUTES__CARRIER_A__WINDOW", "77"),
        ("TRUNKLINE__ROUTES__CARRIER_A__SYSTEM_ID", "12345"),
        ("TRUNKLINE__TENANTS__ACME__SENDERS", "[\"A\", \"B\"]"),
        ("TRUNKLINE__STORE__RETENTION__CONTENT", "1h"),
        ("TRUNKLINE__WEBHOOK__ALLOW_HTTP", "true"),
        ("TRUNKLINE_KEY_CRM", CANARY),
        ("CARRIER_A_PASSWORD", "x"),
        ("CRM_WEBHOOK_SECRET", WHSEC),
    ];
    let env: Env = vars.into_iter().collect();
    let loaded = load(&shipped("example.toml"), &env, false);
    let (config, _) = loaded.unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(config.server.listen.port(), 1);
    assert_eq!(config.limits.queued, 1_000);
    assert_eq!(config.routes["carrier-a"].window, 77);
    assert_eq!(config.routes["carrier-a"].account.system_id, "12345");
    assert_eq!(config.tenants["acme"].senders, ["A", "B"]);
    assert_eq!(config.store.retention_content, Duration::from_secs(3_600));
    assert!(config.webhook.allow_http);
}

#[test]
fn secrets_come_from_files_without_their_line_end_and_inline_only_with_dev() {
    let file = Scratch::new("hunter22\n");
    let route = |password: &str| {
        format!(
            "[routes.a]\ntype = \"smpp\"\nhosts = [\"h:1\"]\nsystem_id = \"x\"\npassword = {password}\n"
        )
    };
    let by_file = route(&format!("{{ file = \"{}\" }}", file.0.display()));
    let (config, _) = load_text(&by_file, &Env::default(), false).expect("the file is there");
    assert_eq!(config.routes["a"].account.password.expose(), "hunter22");
    let inline = route("\"hunter22\"");
    let (config, _) = load_text(&inline, &Env::default(), true).expect("with --dev");
    assert_eq!(config.routes["a"].account.password.expose(), "hunter22");
    let refused = load_text(&inline, &Env::default(), false).expect_err("without --dev");
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0].contains("a secret in the file itself needs --dev"),
        "{refused:?}"
    );
}

#[test]
fn every_syntax_error_has_its_line_and_no_source_text() {
    let text = format!("[server]\nlisten = {CANARY}\n[store]\npath = \"a\"\npath = \"b\"\n");
    let problems = load_text(&text, &env(), false).expect_err("it is not TOML");
    assert!(problems.len() >= 2, "{problems:?}");
    assert!(
        problems[0].starts_with("c.toml:2: not TOML: "),
        "{problems:?}"
    );
    assert!(
        problems
            .iter()
            .any(|p| p.starts_with("c.toml:5: not TOML: ")),
        "{problems:?}"
    );
    assert!(!problems.concat().contains("cAnArY"), "{problems:?}");
}

#[test]
fn a_file_that_is_not_there_is_one_problem() {
    let problems = load(Path::new("/nonexistent.toml"), &env(), false);
    let text = problems.expect_err("it is not there").to_string();
    assert!(
        text.starts_with("/nonexistent.toml: cannot be read: "),
        "{text}"
    );
}

#[test]
fn doubtful_things_are_warned_of() {
    let text = "[server]\nlisten = \"0.0.0.0:8443\"\n[admin]\nlisten = \"0.0.0.0:9090\"\n\
                [tenants.acme]\nsenders = [\"*\"]\n[routes.a]\ntype = \"smpp\"\n\
                hosts = [\"h:1\"]\nsystem_id = \"x\"\npassword = { env = \"TRUNKLINE_KEY_CRM\" }\n\
                [endpoints.crm]\ntenant = \"acme\"\nurl = \"https://h.example\"\n\
                secret = { env = \"CRM_WEBHOOK_SECRET\" }\n";
    let (_, warnings) = load_text(text, &env(), false).expect("nothing is wrong");
    let wanted = [
        "c.toml:1 server: plain HTTP beyond loopback",
        "c.toml:3 admin: the admin listener has no authentication",
        "c.toml:11 routes.a.password: longer than the 8 octets of SMPP v3.4 §5.2.2",
        "c.toml:7 routes.a: no routing rule names it",
    ];
    assert_eq!(warnings.len(), wanted.len(), "{warnings:#?}");
    for start in wanted {
        assert!(
            warnings.iter().any(|w| w.starts_with(start)),
            "{start}: {warnings:#?}"
        );
    }
    assert!(!warnings.concat().contains("cAnArY"));
}

/// smpp.md §3.1: throughput = binds × window ÷ latency.
#[test]
fn a_rate_that_the_windows_cannot_carry_is_warned_of() {
    let warned = |window: u32| {
        let text = format!(
            "[routes.a]\ntype = \"smpp\"\nhosts = [\"h:1\", \"i:1\"]\nsystem_id = \"x\"\n\
             password = {{ env = \"SHORT\" }}\nrate = \"1000/s\"\nwindow = {window}\n"
        );
        let (_, warnings) = load_text(&text, &env(), false).expect("it is good");
        let about = |line: &&String| line.contains("routes.a.rate");
        warnings.iter().find(about).cloned()
    };
    assert_eq!(warned(10), None);
    let text = warned(9).expect("18 ms is less than a carrier needs");
    assert!(
        text.contains("answers within 18.0 ms") && text.contains("is 18 here"),
        "{text}"
    );
}

#[test]
fn what_is_in_effect_prints_without_secrets() {
    let text = format!(
        "[[auth.keys]]\nname = \"k\"\nscopes = [\"admin\"]\nsecret = \"{CANARY}\"\n\
         [tenants.acme]\nsenders = [\"*\"]\n\
         [routes.a]\ntype = \"smpp\"\nhosts = [\"h:1\"]\nsystem_id = \"x\"\npassword = \"cAnArY\"\n\
         [endpoints.crm]\ntenant = \"acme\"\nurl = \"https://h.example/?t=cAnArY\"\n\
         secret = {{ env = \"CRM_WEBHOOK_SECRET\" }}\n\
         headers = {{ Authorization = \"Bearer {CANARY}\", env = \"{CANARY}\", X = {{ env = \"SHORT\" }} }}\n"
    );
    let file = Scratch::new(&text);
    let table = effective(&file.0, &env(), true).unwrap_or_else(|p| panic!("{p}"));
    let printed = toml::to_string_pretty(&table).expect("a table prints");
    assert!(!printed.contains("cAnArY"), "{printed}");
    assert!(
        printed.contains("env = \"CRM_WEBHOOK_SECRET\""),
        "{printed}"
    );
    assert!(printed.contains("env = \"SHORT\""), "{printed}");
    assert!(printed.contains("window = 10"), "{printed}");
    let (config, _) = load(&file.0, &env(), true).expect("as before");
    let debug = format!(
        "{config:?} {:?} {}",
        env(),
        config.routes["a"].account.password
    );
    let without_url = debug.replace("?t=cAnArY", "");
    assert!(!without_url.contains("cAnArY"), "{debug}");
    assert!(!debug.contains(WHSEC), "{debug}");
}

/// Whatever the operator puts where a secret belongs, or wherever a secret ends up by mistake of
/// key, table or reference, no problem repeats it. All combinations, as there are few.
#[test]
fn no_problem_shows_a_secret() {
    let values = [
        format!("\"{CANARY}\""),
        format!("{{ env = \"{CANARY}\" }}"),
        format!("{{ file = \"{CANARY}\" }}"),
        format!("{{ vault = \"{CANARY}\" }}"),
        format!("[\"{CANARY}\"]"),
        format!("{{ env = \"SHORT\", file = \"{CANARY}\" }}"),
        format!("{{ env = [\"{CANARY}\"] }}"),
        format!("'''{CANARY}\n'''"),
        CANARY.to_owned(),
    ];
    let overridden = with("TRUNKLINE__ROUTES__A__PASSWORD", CANARY);
    let mut refused = 0;
    for value in &values {
        let texts = [
            format!("[[auth.keys]]\nname = \"k\"\nscopes = [\"admin\"]\nsecret = {value}\n"),
            format!("[routes.a]\ntype = \"smpp\"\npassword = {value}\npasswrod = {value}\n"),
            format!("[endpoints.e]\nsecret = {value}\nheaders = {value}\n"),
            format!("[endpoints.e]\nheaders = {{ Authorization = {value}, Host = {value} }}\n"),
            format!("[server]\ntls = {{ cert = \"/x\", key = {value} }}\nclient_ca = {value}\n"),
        ];
        for text in &texts {
            for (env, dev) in [(&env(), false), (&env(), true), (&overridden, false)] {
                let file = Scratch::new(text);
                let Err(problems) = load(&file.0, env, dev) else {
                    continue;
                };
                refused += 1;
                let json = serde_json::to_string(&problems).expect("problems are JSON");
                let shown = format!("{problems}\n{problems:?}\n{json}");
                assert!(!shown.contains("cAnArY"), "{text}{shown}");
            }
        }
    }
    assert!(
        refused > 100,
        "only {refused} were refused: the test proves little"
    );
}
