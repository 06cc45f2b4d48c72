//! Checks of `[routes.*]` to a push service: who we are there, and how it is talked to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use codecs::apns::{TOPIC_OCTETS_MAX, is_id};
use codecs::fcm::{self, ServiceAccount};
use codecs::jwt::{Algorithm, SigningKey};

use super::section::{Field, Section};
use super::{DAY, HOUR};
use crate::config::load::Value;
use crate::config::problem::did_you_mean;
use crate::config::push::{
    Apns, ApnsAuth, Environment, Fcm, Guard, Pool, PushRoute, PushService, Quota, Reference, Retry,
    Schedule,
};
use crate::config::value;
use crate::connect::credentials::{Access, Certificate, CertificateSpec};
use crate::connect::push::retries::{FCM_LEAST, FCM_WITHIN};
use crate::outcome::retries::PAUSES_MAX;

const SECOND: Duration = Duration::from_secs(1);

/// Connections of one pool. push.md §1.7: at most 32 for each host.
const CONNECTIONS_MAX: u64 = 32;
/// Requests on one connection: below the 2^30 streams that HTTP/2 has for a client (RFC 9113 §5.1.1).
const REQUESTS_MAX: u64 = 1_000_000_000;
/// Apps of one route. Chosen: a team's, many times over.
const APPS_MAX: usize = 1_000;

/// The types that are push services.
pub(super) const TYPES: [&str; 2] = ["apns", "fcm"];

/// Reads a route of type `apns` or `fcm`.
pub(super) fn route(field: &Field<'_>, kind: &str) -> Option<PushRoute> {
    let apns = kind == "apns";
    let section = field.section(if apns {
        "routes.*:apns"
    } else {
        "routes.*:fcm"
    })?;
    let service = match apns {
        true => apns_service(&section).map(PushService::Apns),
        false => fcm_service(&section).map(PushService::Fcm),
    };
    let endpoint = section.opt("endpoint").map(|field| {
        let expected = "\"host:port\" with a port from 1 to 65535";
        field.text_where(expected, |text| value::host_port(text).is_some())
    });
    let extra_ca = section.opt("extra_ca");
    let extra_ca = extra_ca.map(|field| field.file("PEM roots to trust beside the system's"));
    let rate = section.opt("rate");
    let rate = rate.and_then(|field| field.rate("pushes that the service is sent"));
    // Every one is read before any is given up on.
    let (pool, guard) = (pool(&section), guard(&section));
    let retry = retry(&section, apns);
    let why = "how long an answer may take";
    let request_timeout = section.duration("request_timeout", SECOND..=SECOND * 120, why);
    let why = "whether a repeat replaces what it repeats";
    let auto_collapse = section.bool("auto_collapse", why);
    let receipts = section.need("receipts", "a table");
    let receipts = receipts.and_then(|field| field.section("routes.*:push.receipts"));
    let why = "how long an app's receipt is waited for";
    let receipt_timeout =
        receipts.map(|receipts| receipts.duration("timeout", SECOND..=DAY * 28, why));
    Some(PushRoute {
        service: service?,
        endpoint,
        extra_ca,
        pool: pool?,
        request_timeout,
        rate,
        auto_collapse,
        guard: guard?,
        retry: retry?,
        receipt_timeout: receipt_timeout?,
    })
}

fn apns_service(section: &Section<'_>) -> Option<Apns> {
    let environments = [
        ("production", Environment::Production),
        ("sandbox", Environment::Sandbox),
    ];
    let expected = "\"production\" or \"sandbox\": the one that the apps' tokens are of";
    let environment = section.need("environment", expected);
    let environment = environment.and_then(|field| field.word(&environments, &[]));
    let apps = apns_apps(section);
    let auth = apns_auth(section);
    Some(Apns {
        apps,
        environment: environment?,
        auth: auth?,
    })
}

const TOPIC_FORM: &str = "a bundle id such as \"com.acme.shop\", without a push type's suffix";

fn topic(field: &Field<'_>) -> String {
    field.text_where(TOPIC_FORM, |text| {
        let octets = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        (1..=TOPIC_OCTETS_MAX).contains(&text.len()) && text.bytes().all(octets)
    })
}

const APP_FORM: &str =
    "an app's name, as messages give it with a device: 1 to 64 letters, digits, . - _";

fn is_app(text: &str) -> bool {
    let octets = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(octets)
}

/// `app` and `topic`, or several in `apps`.
fn apns_apps(section: &Section<'_>) -> BTreeMap<String, String> {
    let Some(several) = section.opt("apps") else {
        let name = section.need("app", APP_FORM);
        let name = name.map(|field| field.text_where(APP_FORM, is_app));
        let topic = section.need("topic", TOPIC_FORM).map(|field| topic(&field));
        return name.into_iter().zip(topic).collect();
    };
    only_one(section, "apps", &["app", "topic"]);
    let expected = "a table of each app's topic such as { shop-ios = \"com.acme.shop\" }";
    let Some(table) = several.table(expected) else {
        return BTreeMap::new();
    };
    if table.is_empty() || table.len() > APPS_MAX {
        several.wrong(&format!("1 to {APPS_MAX} apps"));
    }
    let mut apps = BTreeMap::new();
    for (name, node) in table.iter().take(APPS_MAX) {
        let field = several.child(name, node);
        if !is_app(name) {
            field.wrong(APP_FORM);
        }
        apps.insert(name.clone(), topic(&field));
    }
    apps
}

/// Notes every one of `others` that stands beside `key`.
fn only_one(section: &Section<'_>, key: &str, others: &[&str]) {
    for other in others.iter().filter_map(|other| section.opt(other)) {
        other.wrong_secret(&format!("nothing here beside {key}"), None);
    }
}

fn apns_auth(section: &Section<'_>) -> Option<ApnsAuth> {
    if let Some(field) = section.opt("certificate") {
        only_one(section, "certificate", &["key_id", "team_id"]);
        let expected = "Apple's certificate as PEM; a .p12 is converted with: openssl pkcs12 \
                        -legacy -in FILE.p12 -nodes -out FILE.pem";
        let certificate = reference(&field, expected, is_pem_certificate);
        let expected = "the certificate's private key as PEM";
        let key = section
            .opt("key")
            .map(|field| reference(&field, expected, is_pem_key));
        let key = match key {
            Some(None) => return None,
            Some(key) => key,
            None => None,
        };
        let certificate = certificate?;
        let spec = CertificateSpec {
            route: String::new(),
            certificate: certificate.source(),
            key: key.as_ref().map(Reference::source),
        };
        // As the route will read them: also whether they belong together.
        if let Err(why) = Certificate::check(&spec) {
            let expected = "Apple's certificate with its private key";
            field.wrong_secret(expected, Some(why.to_string()));
            return None;
        }
        return Some(ApnsAuth::Certificate { certificate, key });
    }
    let id = |key: &str, what: &str| {
        let expected = format!("{what}, 10 letters and digits");
        let field = section.need(key, &expected);
        field.map(|field| field.text_where(&expected, is_id))
    };
    let team_id = id(
        "team_id",
        "the team's id, as the developer account shows it",
    );
    let key_id = id("key_id", "the key's id, as in AuthKey_ABC1234567.p8");
    let expected = "Apple's .p8 key, or certificate = { file = \"PATH\" } in its place";
    let key = section.need("key", expected)?;
    let key = reference(&key, "Apple's .p8 key", |text| {
        let key = SigningKey::from_pem(Algorithm::Es256, text);
        key.map(|_| ()).map_err(|error| error.to_string())
    });
    Some(ApnsAuth::Token {
        team_id: team_id?,
        key_id: key_id?,
        key: key?,
    })
}

fn is_pem_certificate(text: &str) -> Result<(), String> {
    match text.contains("-----BEGIN CERTIFICATE-----") {
        true => Ok(()),
        false => Err(String::from("it holds no certificate in PEM")),
    }
}

fn is_pem_key(text: &str) -> Result<(), String> {
    match text.contains("PRIVATE KEY-----") {
        true => Ok(()),
        false => Err(String::from("it holds no private key in PEM")),
    }
}

/// A credential by reference, which `good` takes or says why not.
fn reference(
    field: &Field<'_>,
    expected: &str,
    good: impl FnOnce(&str) -> Result<(), String>,
) -> Option<Reference> {
    let text = field.secret_text(expected)?;
    if let Err(why) = good(text.expose()) {
        field.wrong_secret(expected, Some(why));
        return None;
    }
    Some(match field.node.get("file").map(|node| &node.value) {
        Some(Value::Text(path)) => Reference::File(PathBuf::from(path)),
        _ => Reference::Text(text),
    })
}

fn fcm_service(section: &Section<'_>) -> Option<Fcm> {
    let apps = fcm_apps(section);
    let expected = "the service account's JSON file";
    let mut file_says = None;
    let credentials = section.need("credentials", expected).and_then(|field| {
        reference(&field, expected, |text| {
            let account = ServiceAccount::parse(text.as_bytes());
            let account = account.map_err(|error| error.to_string())?;
            if section.opt("token_url").is_none() {
                Access::check(&account)?;
            }
            file_says = Some(account.project_id.to_string());
            Ok(())
        })
    });
    let expected = "a project's id such as \"shop-1a2b3\"";
    let project = match section.opt("project") {
        Some(field) => Some(field.text_where(expected, |text| fcm::path(text).is_some())),
        None => file_says.inspect(|project| {
            if fcm::path(project).is_none() {
                section.at.missing("project", expected);
            }
        }),
    };
    let token_url = section.opt("token_url").map(|field| {
        let expected = "an https url, or an http one on this machine";
        field.text_where(expected, |text| {
            value::url(text).is_some_and(|url| {
                url.https || url.literal.is_some_and(|address| address.is_loopback())
            })
        })
    });
    let quota = quota(section);
    Some(Fcm {
        apps,
        credentials: credentials?,
        project: project?,
        token_url,
        quota: quota?,
    })
}

/// `app`, or several in `apps`.
fn fcm_apps(section: &Section<'_>) -> BTreeSet<String> {
    let Some(several) = section.opt("apps") else {
        let name = section.need("app", APP_FORM);
        return name
            .map(|field| field.text_where(APP_FORM, is_app))
            .into_iter()
            .collect();
    };
    only_one(section, "apps", &["app"]);
    let expected = "a list of 1 to 1000 apps";
    let items = several.list(APPS_MAX, expected);
    if items.is_empty() && matches!(&several.node.value, Value::Array(_)) {
        several.wrong(expected);
    }
    let mut apps = BTreeSet::new();
    for item in &items {
        let app = item.text_where(APP_FORM, is_app);
        if !app.is_empty() && !apps.insert(app) {
            item.wrong("each app once");
        }
    }
    apps
}

fn quota(section: &Section<'_>) -> Option<Quota> {
    let quota = section
        .need("quota", "a table")?
        .section("routes.*:fcm.quota")?;
    let expected = "what the project may send";
    let rate = quota
        .need("rate", expected)
        .and_then(|field| field.rate(expected));
    let why = "the time from a tenth of the rate to all of it";
    let ramp = quota.duration("ramp", Duration::ZERO..=HOUR, why);
    Some(Quota { rate: rate?, ramp })
}

fn pool(section: &Section<'_>) -> Option<Pool> {
    let why = "connections at most; none would send nothing";
    let max = section.int("connections", 1..=CONNECTIONS_MAX, why);
    let pool = section
        .need("pool", "a table")?
        .section("routes.*:push.pool")?;
    let min = pool.int(
        "min",
        1..=CONNECTIONS_MAX,
        "connections when there is little to send",
    );
    if pool.sound("min") && section.sound("connections") && min > max {
        let hint = Some(String::from(
            "pool.min is what is held, connections the most",
        ));
        let first = ("pool.min", "at most connections");
        section.blame(first, ("connections", "at least pool.min"), hint);
    }
    let short = |key: &str, why: &str| pool.duration(key, SECOND..=SECOND * 60, why);
    let connect_timeout = short("connect_timeout", "how long connecting may take");
    let ping_busy = short(
        "ping_busy",
        "the silence after which a busy connection is asked",
    );
    let narrow = |number: u64| u16::try_from(number).unwrap_or(1);
    Some(Pool {
        min: narrow(min),
        max: narrow(max),
        connect_timeout,
        ping_idle: pool.duration(
            "ping_idle",
            SECOND * 5..=HOUR,
            "the silence after which an idle connection is asked",
        ),
        ping_busy,
        max_age: pool.duration(
            "max_age",
            SECOND * 60..=DAY * 30,
            "the age at which a connection is replaced",
        ),
        max_requests: u32::try_from(pool.int(
            "max_requests",
            1_000..=REQUESTS_MAX,
            "requests after which a connection is replaced",
        ))
        .unwrap_or(1_000),
    })
}

fn retry(section: &Section<'_>, apns: bool) -> Option<Retry> {
    let retry = section
        .need("retry", "a table")?
        .section("routes.*:push.retry")?;
    let why = "further tries, of what is sent for the first time";
    let (schedule, budget) = (schedule(&retry, apns), share(&retry, "budget", why));
    Some(Retry {
        schedule: schedule?,
        budget: budget?,
    })
}

fn schedule(retry: &Section<'_>, apns: bool) -> Option<Schedule> {
    let form = "a list of 1 to 10 pauses such as [\"1s\", \"5s\", \"30s\"]";
    let expected = match apns {
        true => format!("{form}, or \"apple-strict\""),
        false => form.to_owned(),
    };
    let field = retry.need("schedule", &expected)?;
    if apns && let Value::Text(typed) = &field.node.value {
        if typed != "apple-strict" {
            field.wrong_hint(&expected, did_you_mean(typed, ["apple-strict"]));
        }
        return Some(Schedule::AppleStrict);
    }
    let items = field.list(PAUSES_MAX, &expected);
    if items.is_empty() && matches!(&field.node.value, Value::Array(_)) {
        field.wrong(&expected);
    }
    let why = "the longest that is waited before a further try";
    let pause = |item: &Field<'_>| item.duration(SECOND / 10..=DAY, why);
    let pauses: Vec<Duration> = items.iter().map(pause).collect();
    let longest: Duration = pauses.iter().map(|pause| *pause + FCM_LEAST).sum();
    if !apns && longest > FCM_WITHIN {
        field.warn(String::from(
            "may take more than 60 minutes with the 10 s that come on top of each pause: FCM's pushes are \
             given up then, as Google advises",
        ));
    }
    Some(Schedule::Pauses(pauses))
}

fn guard(section: &Section<'_>) -> Option<Guard> {
    let guard = section
        .need("guard", "a table")?
        .section("routes.*:push.guard")?;
    let why = "answers that call a token wrong, of all answers";
    let ratio = share(&guard, "invalid_token_ratio", why);
    let why = "answers below which nothing is concluded";
    let answers = guard.int("min_answers", 1..=1_000_000, why);
    let window = guard.duration("window", SECOND * 10..=DAY, "the time that is looked back");
    Some(Guard {
        invalid_token_ratio: ratio?,
        window,
        min_answers: u32::try_from(answers).unwrap_or(1),
    })
}

/// A share, written as `"20%"`; 0.0 to 1.0.
fn share(section: &Section<'_>, key: &str, why: &str) -> Option<f64> {
    let expected = format!("a share such as \"20%\", from 0% to 100%: {why}");
    let read = |text: &str| {
        let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
        (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
    };
    section.need(key, &expected)?.parsed(&expected, read)
}

/// Notes routes that give one project two quotas: it has one, and they share it.
pub(super) fn one_quota_each(root: &Section<'_>, routes: &BTreeMap<String, PushRoute>) {
    let mut seen: BTreeMap<&str, (&str, &Quota)> = BTreeMap::new();
    for (name, route) in routes {
        let PushService::Fcm(Fcm { project, quota, .. }) = &route.service else {
            continue;
        };
        let (first, same) = *seen.entry(project).or_insert((name, quota));
        if same != quota
            && let Some(field) = root.opt("routes").and_then(|routes| {
                let route = routes.child(name, routes.node.get(name)?);
                Some(route.child("quota", route.node.get("quota")?))
            })
        {
            let expected =
                format!("the same as routes.{first}.quota: both are of project {project}");
            field.wrong(&expected);
        }
    }
}

/// Notes routes that give one team's key two sources: there is one provider token for it, made with
/// one key.
pub(super) fn one_key_each(root: &Section<'_>, routes: &BTreeMap<String, PushRoute>) {
    let mut seen: BTreeMap<(&str, &str), (&str, &Reference)> = BTreeMap::new();
    for (name, route) in routes {
        let PushService::Apns(Apns {
            auth:
                ApnsAuth::Token {
                    team_id,
                    key_id,
                    key,
                },
            ..
        }) = &route.service
        else {
            continue;
        };
        let (first, source) = *seen.entry((team_id, key_id)).or_insert((name, key));
        if source != key
            && let Some(field) = root.opt("routes").and_then(|routes| {
                let route = routes.child(name, routes.node.get(name)?);
                Some(route.child("key", route.node.get("key")?))
            })
        {
            let expected =
                format!("the same file as routes.{first}.key, which is this team's key too");
            field.wrong_secret(&expected, None);
        }
    }
}
