//! Tidy: the house rules that the compiler does not check. Every rule is tested on a planted breach.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests: a file that cannot be read fails them, notes go to whoever runs them"
)]

use std::path::{Path, PathBuf};

use source::Source;

#[path = "tidy/source.rs"]
mod source;

/// Nouns: they use only each other.
const VOCABULARY: [&str; 15] = [
    "message",
    "inbound",
    "suppression",
    "outcome",
    "event",
    "names",
    "clock",
    "stop",
    "link",
    "metrics",
    "delivery_view",
    "route_view",
    "outbound",
    "receipt_keys",
    "files",
];

/// Stages: vocabulary, the store's interface, and themselves.
const STAGES: [&str; 7] = [
    "accept", "plan", "dispatch", "connect", "receipt", "receive", "webhook",
];

/// What is behind the store's interface.
const STORE_INSIDES: [&str; 13] = [
    "writer",
    "journal",
    "young",
    "pending",
    "archive",
    "state",
    "record",
    "keys",
    "inbox",
    "shared",
    "handle",
    "open",
    "suppressions",
];

/// Who may see the simulators: the binary's `sim` and `demo` verbs.
const SIM_USERS: [&str; 3] = ["main", "cli", "demo"];

/// Lines at which a file is worth a second look, and at which it must be split (style.md §2.5).
const LINES: (usize, usize) = (600, 1_000);

/// Roots of our crates; each forbids unsafe code.
const ROOTS: [&str; 9] = [
    "codecs/src/lib.rs",
    "gateway/src/lib.rs",
    "gateway/src/main.rs",
    "bench/sim/src/lib.rs",
    "bench/load/src/main.rs",
    "bench/micro/src/main.rs",
    "tests/harness.rs",
    "tests/it/main.rs",
    "tests/tidy.rs",
];

/// Files that read a clock though they are not clock.rs, and why that stands.
const CLOCK_READERS: [(&str, &str); 9] = [
    (
        "gateway/src/accept/batch.rs",
        "tokio's clock, the one that `sleep` waits on: how long a refused group is offered again",
    ),
    (
        "gateway/src/accept/body.rs",
        "tokio's clock for `timeout_at`: how long a body may take",
    ),
    (
        "gateway/src/accept/events.rs",
        "tokio's clock for `timeout_at`: the end of a long poll",
    ),
    (
        "gateway/src/accept/ingress.rs",
        "governor's zero: from here on its own hand is moved by the stage's clock",
    ),
    (
        "gateway/src/accept/patience.rs",
        "tokio's clock, the one that `sleep` waits on: how long a client reads nothing",
    ),
    (
        "gateway/src/webhook.rs",
        "tokio's clock, so that tests that pause timers pause the schedule too",
    ),
    (
        "gateway/src/webhook/post.rs",
        "tokio's clock for `timeout_at`: how long a post may take",
    ),
    (
        "gateway/src/store/inbox.rs",
        "measures how long a commit has lingered; std's condvar waits on std's clock",
    ),
    (
        "gateway/src/store/open.rs",
        "measures how long recovery took, for the start's log line",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Fails with every breach that `rule` finds.
fn check(rule: impl Fn(&Source) -> Vec<String>) {
    let breaches: Vec<String> = Source::all(&root()).iter().flat_map(rule).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// A planted file.
fn planted(path: &str, text: &str) -> Source {
    Source::new(path, text)
}

/// What one of our crates names that it must not know.
fn crate_arrows(source: &Source) -> Vec<String> {
    let outside: &[&str] = match source.path.as_str() {
        path if path.starts_with("codecs/src/") => {
            &["trunkline", "sim", "trunkline_tests", "tokio", "hyper"]
        }
        path if path.starts_with("bench/") => &["trunkline", "trunkline_tests"],
        path if path.starts_with("gateway/src/") => &["trunkline_tests"],
        _ => &[],
    };
    let mut breaches = Vec::new();
    for name in outside {
        for (line, _) in source.names(name) {
            breaches.push(format!("{}:{line}: must not know `{name}`", source.path));
        }
    }
    let own = source.modules().first().copied().unwrap_or("main");
    if source.path.starts_with("gateway/src/") && !SIM_USERS.contains(&own) {
        for (line, _) in source.names("sim") {
            breaches.push(format!(
                "{}:{line}: only {SIM_USERS:?} may know `sim`",
                source.path
            ));
        }
    }
    if source.path.starts_with("codecs/src/") {
        for clock in ["Instant::now", "SystemTime::now"] {
            for line in source.lines_with(clock) {
                breaches.push(format!("{}:{line}: codecs read no clock", source.path));
            }
        }
    }
    breaches
}

/// What a module of the gateway names that it must not know.
fn module_arrows(source: &Source) -> Vec<String> {
    if !source.path.starts_with("gateway/src/") {
        return Vec::new();
    }
    let Some(own) = source.modules().first().copied() else {
        return Vec::new();
    };
    let (vocabulary, stage) = (VOCABULARY.contains(&own), STAGES.contains(&own));
    if !vocabulary && !stage && own != "store" {
        return Vec::new();
    }
    let house = |name: &str| {
        let known = ["store", "config", "admin", "app", "cli", "demo", "pipeline"];
        STAGES.contains(&name) || known.contains(&name)
    };
    let mut breaches = Vec::new();
    for (line, path) in source.names("crate") {
        let Some(name) = path.first().filter(|name| *name != own && house(name)) else {
            continue;
        };
        let inside = path
            .get(1)
            .filter(|second| STORE_INSIDES.contains(&second.as_str()));
        if stage && name == "store" && inside.is_none() {
            continue;
        }
        let path = path.join("::");
        breaches.push(format!(
            "{}:{line}: {own} must not know `{path}`",
            source.path
        ));
    }
    breaches
}

/// Wire types stop at `connect` (and, once it speaks SMPP too, `accept`).
fn wire_types(source: &Source) -> Vec<String> {
    let own = source.modules().first().copied().unwrap_or_default();
    let may = ["connect", "accept"].contains(&own) || !source.path.starts_with("gateway/src/");
    if may {
        return Vec::new();
    }
    let wire = ["Pdu", "session", "frame", "submit", "deliver", "bind"];
    let code = source
        .lines_with("Pdu")
        .into_iter()
        .map(|line| (line, "Pdu".to_owned()));
    let paths = source
        .names("codecs")
        .into_iter()
        .filter_map(|(line, path)| {
            let inner = path.get(1).filter(|_| path[0] == "smpp")?;
            wire.contains(&inner.as_str())
                .then(|| (line, path.join("::")))
        });
    code.chain(paths)
        .map(|(line, name)| format!("{}:{line}: `{name}` stops at connect", source.path))
        .collect()
}

fn file_shape(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    let path = &source.path;
    let lines = source.text.lines().count();
    if lines > LINES.1 {
        breaches.push(format!("{path}: {lines} lines; at most {}", LINES.1));
    } else if lines >= LINES.0 {
        println!(
            "note: {path} has {lines} lines; look twice from {}",
            LINES.0
        );
    }
    if !source.text.starts_with("//! ") {
        breaches.push(format!("{path}:1: no `//! ` caption"));
    }
    if path.ends_with("/mod.rs") {
        breaches.push(format!("{path}: `foo.rs` beside `foo/`, not mod.rs"));
    }
    if ROOTS.contains(&path.as_str()) && !source.code_or_text().contains("#![forbid(unsafe_code)]")
    {
        breaches.push(format!("{path}: no `#![forbid(unsafe_code)]`"));
    }
    breaches
}

/// Time is an argument; clock.rs alone reads it.
fn clock_reads(source: &Source) -> Vec<String> {
    let listed = CLOCK_READERS.iter().any(|(path, _)| *path == source.path);
    if listed || source.path == "gateway/src/clock.rs" || !source.path.starts_with("gateway/src/") {
        return Vec::new();
    }
    let reads = ["Instant::now", "SystemTime::now", "Utc::now"];
    let lines = reads.iter().flat_map(|read| source.lines_with(read));
    lines
        .map(|line| format!("{}:{line}: reads a clock; only clock.rs does", source.path))
        .collect()
}

impl Source {
    /// The code, or for a test file the text: an attribute counts in both.
    fn code_or_text(&self) -> &str {
        if self.code.is_empty() {
            &self.text
        } else {
            &self.code
        }
    }
}

#[test]
fn crates_know_only_what_they_may() {
    check(crate_arrows);
}

#[test]
fn stages_know_vocabulary_store_and_themselves() {
    check(module_arrows);
}

#[test]
fn wire_types_stop_at_connect() {
    check(wire_types);
}

#[test]
fn files_have_a_caption_and_a_size() {
    check(file_shape);
    let roots = ROOTS.iter().filter(|path| !root().join(path).is_file());
    assert_eq!(roots.count(), 0, "a crate root has moved: {ROOTS:?}");
}

#[test]
fn only_clock_rs_reads_a_clock() {
    check(clock_reads);
    for (path, reason) in CLOCK_READERS {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let reads = Source::new(path, &text);
        let reads = ["Instant::now", "SystemTime::now", "Utc::now"]
            .iter()
            .any(|read| !reads.lines_with(read).is_empty());
        assert!(
            reads,
            "{path} reads no clock any more ({reason}): strike it off"
        );
    }
}

#[test]
fn planted_arrows_are_found() {
    let found = |path: &str, text: &str| {
        let source = planted(path, text);
        crate_arrows(&source).len() + module_arrows(&source).len() + wire_types(&source).len()
    };
    for (path, text) in [
        ("codecs/src/text.rs", "use tokio::net::TcpStream;"),
        (
            "codecs/src/text.rs",
            "fn f() { let t = std::time::Instant::now(); }",
        ),
        ("codecs/src/text.rs", "use trunkline::message::Message;"),
        ("bench/sim/src/smsc.rs", "use trunkline::config::Config;"),
        ("gateway/src/store.rs", "use sim::smsc::Smsc;"),
        ("gateway/src/message.rs", "use crate::store::Store;"),
        ("gateway/src/dispatch/queue.rs", "use crate::connect::Link;"),
        (
            "gateway/src/dispatch/queue.rs",
            "use super::super::connect::Link;",
        ),
        (
            "gateway/src/dispatch/queue.rs",
            "use crate::{clock::Clock, config::Config};",
        ),
        ("gateway/src/accept.rs", "fn f() { crate::webhook::poke() }"),
        (
            "gateway/src/accept.rs",
            "use crate::store::journal::Journal;",
        ),
        ("gateway/src/store/young.rs", "use crate::dispatch::Entry;"),
        (
            "gateway/src/receipt.rs",
            "use codecs::smpp::session::Session;",
        ),
        (
            "gateway/src/dispatch.rs",
            "use codecs::smpp::{status, Pdu};",
        ),
    ] {
        assert!(found(path, text) >= 1, "{path}: {text}");
    }
    for (path, text) in [
        (
            "gateway/src/app.rs",
            "use crate::{accept, connect, config::Config};",
        ),
        ("gateway/src/cli.rs", "use sim::smsc::Smsc;"),
        ("gateway/src/connect/tests.rs", "use sim::smsc::Smsc;"),
        (
            "gateway/src/connect.rs",
            "#[cfg(test)]\nmod tests {\n    use sim::smsc::Smsc;\n}\n",
        ),
        (
            "gateway/src/accept.rs",
            "use crate::store::{Store, Accept}; // crate::webhook::x\n",
        ),
        (
            "gateway/src/dispatch.rs",
            "use crate::link::LinkEvent;\nuse super::message::Message;",
        ),
        (
            "gateway/src/receipt.rs",
            "use codecs::smpp::receipt::Receipt;",
        ),
        ("codecs/src/text.rs", "//! tokio::net is far away\n"),
    ] {
        assert_eq!(found(path, text), 0, "{path}: {text}");
    }
}

#[test]
fn planted_shapes_are_found() {
    let found = |path: &str, text: &str| file_shape(&planted(path, text)).len();
    let long = format!("//! Long.\n{}", "x\n".repeat(LINES.1));
    for (path, text) in [
        ("gateway/src/plan.rs", long.as_str()),
        ("gateway/src/plan.rs", "use crate::message;\n"),
        ("gateway/src/plan/mod.rs", "//! Plan.\n"),
        ("codecs/src/lib.rs", "//! Codecs.\n"),
        ("tests/tidy.rs", "//! Tidy.\n"),
    ] {
        assert_eq!(found(path, text), 1, "{path}");
    }
    assert_eq!(
        found(
            "codecs/src/lib.rs",
            "//! Codecs.\n#![forbid(unsafe_code)]\n"
        ),
        0
    );
    assert_eq!(found("gateway/src/plan.rs", "//! Plan.\n"), 0);
}

#[test]
fn planted_clock_reads_are_found() {
    let found = |path: &str, text: &str| clock_reads(&planted(path, text)).len();
    let read = "let now = std::time::Instant::now();";
    assert_eq!(found("gateway/src/accept.rs", read), 1);
    assert_eq!(
        found(
            "gateway/src/accept.rs",
            "let now = tokio::time::Instant::now();"
        ),
        1
    );
    assert_eq!(found("gateway/src/clock.rs", read), 0);
    assert_eq!(found("gateway/src/accept/tests.rs", read), 0);
    assert_eq!(
        found(
            "gateway/src/accept.rs",
            "let s = \"Instant::now\"; // Instant::now\n"
        ),
        0
    );
}
