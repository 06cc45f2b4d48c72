//! Loading: layers of TOML into one tree that still knows each value's text and line.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Kind, Problem, Problems};
use super::secret::REDACTED;
use super::value::url_shown;

/// What the environment's overrides begin with.
const PREFIX: &str = "TRUNKLINE__";

/// What stands in place of a file's name for the embedded defaults.
pub(super) const DEFAULT_ORIGIN: &str = "(default)";

/// Octets that a config file may have. Chosen: a thousand routes fit many times.
const FILE_OCTETS_MAX: u64 = 4 << 20;

/// Defaults of the tables that the operator names: laid under each of them, here and nowhere else.
/// config/gateway.toml shows them as commented examples; a test holds the two together.
const TABLE_DEFAULTS: &str = r#"
[routes]
tls = false
system_type = ""
address_range = ""
addr_ton = 0
addr_npi = 0
service_type = ""
max_source = 20
bind = "transceiver"
binds_per_host = 1
window = 10
tcp_user_timeout = "30s"
version = "3.4"
enquire_link = "30s"
response_timeout = "30s"
retry_status = "0x64"
validity = "relative"
receipts = { enabled = true, timeout = "72h", id_format = "auto", by_text = false, without_id = false, prefer_text = false, utc_offset = "+00:00", accepted_is_final = false, unknown_is_final = true, ask = "all", parts = "all" }
charset = { default = "gsm7-unpacked", national = [], flash = "f0", latin1 = false, ia5 = "ascii", ucs2 = "be" }
long_messages = "udh8"
[apns]
connections = 4
request_timeout = "10s"
auto_collapse = true
receipts = { timeout = "24h" }
pool = { min = 1, connect_timeout = "10s", ping_idle = "30s", ping_busy = "5s", max_age = "24h", max_requests = 100_000_000 }
guard = { invalid_token_ratio = "20%", min_answers = 100, window = "10m" }
retry = { schedule = ["1s", "5s", "30s", "5m", "15m"], budget = "10%" }
[fcm]
connections = 8
request_timeout = "10s"
auto_collapse = true
receipts = { timeout = "24h" }
quota = { rate = "600000/min", ramp = "60s" }
pool = { min = 1, connect_timeout = "10s", ping_idle = "30s", ping_busy = "5s", max_age = "50m", max_requests = 100_000_000 }
guard = { invalid_token_ratio = "20%", min_answers = 100, window = "10m" }
retry = { schedule = ["10s", "30s", "1m", "5m", "15m"], budget = "10%" }
[rules]
strategy = "priority"
[tenants]
require_idempotency = false
[endpoints]
format = "standard"
payload = "full"
[batch]
max_events = 500
max_wait_ms = 500
max_bytes = "1MiB"
"#;

/// The environment as the config sees it: overrides and the variables that secrets name.
///
/// `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// The process's own environment; variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
                .collect(),
        )
    }

    /// A variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let own = |(name, value): (K, V)| (name.into(), value.into());
        Self(pairs.into_iter().map(own).collect())
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The file as it was named, or `env NAME`.
    pub(super) file: Arc<str>,
    /// Line from 1; none in the environment.
    pub(super) line: Option<usize>,
}

/// A value as typed. No `Debug`: it may hold an inline secret.
#[derive(Clone)]
pub(super) struct Node {
    /// Its meaning as TOML.
    pub(super) value: Value,
    /// Its source text.
    pub(super) typed: String,
    /// Where it stands.
    pub(super) origin: Origin,
}

/// A TOML value with nodes inside.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    /// Saturated where TOML text is larger.
    Integer(i128),
    Bool(bool),
    /// Floats and dates: no key takes one.
    Other,
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

/// Reads all layers into one tree.
pub(super) fn tree(path: &Path, env: &Env) -> Result<Node, Problems> {
    let shown = path.display().to_string();
    let text = read(path).map_err(|why| {
        Problems(vec![unreadable(
            &shown,
            None,
            format!("cannot be read: {why}"),
        )])
    })?;
    let mut root = parse(DEFAULT_ORIGIN, super::DEFAULT_FILE)?;
    overlay(&mut root, parse(&shown, &text)?);
    let problems = override_from(&mut root, env);
    if problems.is_empty() {
        fill_tables(&mut root)?;
        Ok(root)
    } else {
        Err(Problems::in_order(problems))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut text = String::new();
    file.take(FILE_OCTETS_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|e| e.to_string())?;
    if text.len() as u64 > FILE_OCTETS_MAX {
        return Err(format!("it is larger than {FILE_OCTETS_MAX} octets"));
    }
    Ok(text)
}

fn unreadable(file: &str, line: Option<usize>, what: String) -> Problem {
    Problem {
        file: file.to_owned(),
        line,
        path: String::new(),
        kind: Kind::Unreadable,
        value: None,
        expected: what,
        hint: None,
    }
}

/// One layer's text, with what finds a line.
struct Source<'a> {
    file: Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(file: &str, text: &'a str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            file: Arc::from(file),
            text,
            line_starts: std::iter::once(0).chain(starts).collect(),
        }
    }

    fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }

    fn table(&self, table: &DeTable<'_>) -> BTreeMap<String, Node> {
        let entry = |(key, value): (&Spanned<_>, _)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let mut node = self.node(value);
            // A table's own span may be its first header or nothing; its key is where it is named.
            if matches!(node.value, Value::Table(_)) {
                node.origin.line = Some(self.line(key.span().start));
            }
            (name.clone().into_owned(), node)
        };
        table.iter().map(entry).collect()
    }

    fn node(&self, spanned: &Spanned<DeValue<'_>>) -> Node {
        let value = match spanned.get_ref() {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(int) => {
                Value::Integer(i128::from_str_radix(int.as_str(), int.radix()).unwrap_or(i128::MAX))
            }
            DeValue::Boolean(yes) => Value::Bool(*yes),
            DeValue::Float(_) | DeValue::Datetime(_) => Value::Other,
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node {
            value,
            typed: self.text.get(spanned.span()).unwrap_or("").to_owned(),
            origin: Origin {
                file: Arc::clone(&self.file),
                line: Some(self.line(spanned.span().start)),
            },
        }
    }
}

/// Parses one layer; every syntax error is reported, none with the source text beside it.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, Problems> {
    let source = Source::new(file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| {
            let line = error.span().map(|span| source.line(span.start));
            unreadable(file, line, format!("not TOML: {}", error.message()))
        };
        return Err(Problems::in_order(errors.iter().map(problem).collect()));
    }
    Ok(Node {
        value: Value::Table(source.table(root.get_ref())),
        typed: String::new(),
        origin: Origin {
            file: Arc::clone(&source.file),
            line: Some(1),
        },
    })
}

/// Lays `over` on `base`: tables key by key, anything else whole.
fn overlay(base: &mut Node, over: Node) {
    match (&mut base.value, over.value) {
        (Value::Table(below), Value::Table(above)) => {
            for (key, node) in above {
                match below.get_mut(&key) {
                    Some(existing) => overlay(existing, node),
                    None => {
                        below.insert(key, node);
                    }
                }
            }
            base.origin = over.origin;
        }
        (_, value) => *base = Node { value, ..over },
    }
}

/// Applies the overrides. Only the place is checked here: what they say is checked with the rest.
fn override_from(root: &mut Node, env: &Env) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, text) in &env.0 {
        let Some(keys) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let origin = Origin {
            file: Arc::from(format!("env {name}")),
            line: None,
        };
        let node = Node {
            value: override_value(text, &origin),
            typed: text.clone(),
            origin: origin.clone(),
        };
        let keys: Vec<&str> = keys.split("__").collect();
        if keys.iter().any(|key| key.is_empty()) || place(root, &keys, node).is_none() {
            problems.push(unreadable(
                &origin.file,
                None,
                String::from(
                    "names no key: expected TRUNKLINE__SECTION__KEY; lists whole, as TOML",
                ),
            ));
        }
    }
    problems
}

/// An override's meaning: TOML where it is TOML, else the text itself: quotes can be left out.
fn override_value(text: &str, origin: &Origin) -> Value {
    match DeValue::parse(text) {
        Ok(parsed) => {
            let mut value = Source::new(&origin.file, text).node(&parsed).value;
            each_node(&mut value, &mut |node| node.origin = origin.clone());
            value
        }
        Err(_) => Value::Text(text.to_owned()),
    }
}

fn each_node(value: &mut Value, visit: &mut dyn FnMut(&mut Node)) {
    let mut step = |node: &mut Node| {
        visit(node);
        each_node(&mut node.value, visit);
    };
    match value {
        Value::Array(items) => items.iter_mut().for_each(&mut step),
        Value::Table(table) => table.values_mut().for_each(&mut step),
        _ => {}
    }
}

/// Puts `node` at `keys`; variables cannot spell `-` or case, so existing names match without them.
fn place(root: &mut Node, keys: &[&str], node: Node) -> Option<()> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let (last, parents) = keys.split_last()?;
    let mut at = root;
    for key in parents {
        let Value::Table(table) = &mut at.value else {
            return None;
        };
        let name = existing(table, &plain(key), plain).unwrap_or_else(|| plain(key));
        at = table.entry(name).or_insert_with(|| Node {
            value: Value::Table(BTreeMap::new()),
            typed: String::new(),
            origin: node.origin.clone(),
        });
    }
    let Value::Table(table) = &mut at.value else {
        return None;
    };
    let name = existing(table, &plain(last), plain).unwrap_or_else(|| plain(last));
    table.insert(name, node);
    Some(())
}

fn existing(
    table: &BTreeMap<String, Node>,
    wanted: &str,
    plain: impl Fn(&str) -> String,
) -> Option<String> {
    table.keys().find(|name| plain(name) == wanted).cloned()
}

/// Lays the table defaults under every table that the operator named.
fn fill_tables(root: &mut Node) -> Result<(), Problems> {
    let defaults = parse(DEFAULT_ORIGIN, TABLE_DEFAULTS)?;
    let under = |kind: &str, node: &mut Node| {
        if let (Some(below), Value::Table(_)) = (defaults.get(kind), &node.value) {
            let above = std::mem::replace(node, below.clone());
            overlay(node, above);
        }
    };
    for kind in ["routes", "tenants", "endpoints"] {
        if let Some(Value::Table(tables)) = root.get_mut(kind).map(|node| &mut node.value) {
            for node in tables.values_mut() {
                // A push route has other keys than a carrier's.
                let typed = node
                    .get("type")
                    .map(|node| node.typed.trim_matches(['"', '\'']));
                let kind = match (kind, typed) {
                    ("routes", Some("apns")) => "apns",
                    ("routes", Some("fcm")) => "fcm",
                    _ => kind,
                };
                under(kind, node);
            }
            if kind == "endpoints" {
                let batches = tables.values_mut().filter_map(|node| node.get_mut("batch"));
                batches.for_each(|node| under("batch", node));
            }
        }
    }
    let rules = root
        .get_mut("routing")
        .and_then(|node| node.get_mut("rules"));
    if let Some(Value::Array(rules)) = rules.map(|node| &mut node.value) {
        rules.iter_mut().for_each(|node| under("rules", node));
    }
    Ok(())
}

impl Node {
    /// The node under `key`, if this is a table and has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(table) => table.get(key),
            _ => None,
        }
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Table(table) => table.get_mut(key),
            _ => None,
        }
    }
}

/// The tree as TOML, inline secrets replaced.
pub(super) fn redacted(root: &Node) -> toml::Table {
    match plain_value(root, "") {
        toml::Value::Table(table) => table,
        _ => toml::Table::new(),
    }
}

fn plain_value(node: &Node, key: &str) -> toml::Value {
    match &node.value {
        Value::Text(_)
            if matches!(
                key,
                "secret" | "password" | "header" | "key" | "credentials"
            ) =>
        {
            REDACTED.into()
        }
        Value::Text(text) if key == "url" => url_shown(text).into(),
        Value::Text(text) => text.clone().into(),
        Value::Integer(int) => i64::try_from(*int).unwrap_or(i64::MAX).into(),
        Value::Bool(yes) => (*yes).into(),
        Value::Other => node.typed.clone().into(),
        Value::Array(items) => {
            toml::Value::Array(items.iter().map(|item| plain_value(item, key)).collect())
        }
        Value::Table(table) => {
            // A header's name says nothing about its value, so all of them count as secrets;
            // inside a reference, `env` and `file` only say where the secret is.
            let below = |name: &str| match (key, name) {
                ("header", "env" | "file") => String::new(),
                ("headers" | "header", _) => String::from("header"),
                _ => name.to_owned(),
            };
            let entry =
                |(name, node): (&String, &Node)| (name.clone(), plain_value(node, &below(name)));
            toml::Value::Table(table.iter().map(entry).collect())
        }
    }
}
