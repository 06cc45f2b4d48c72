//! Sections and fields: reading the tree key by key, noting every mistake, stopping at none.
//!
//! A reader that finds a mistake notes it and gives back a harmless value: the config is thrown
//! away when anything was noted, so that value is never used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::schema::{PUSH_SCHEMAS, SCHEMAS};
use crate::config::load::{DEFAULT_ORIGIN, Env, Node, Origin, Value};
use crate::config::problem::{Kind, Problem, Warning, did_you_mean};
use crate::config::secret::Secret;
use crate::config::value::{self, DURATION_FORM, RATE_FORM, Rate, SIZE_FORM};
use crate::files;

/// Longest value shown in a problem.
const SHOWN_CHARS_MAX: usize = 80;

/// What every reader shares: where mistakes go, and what secrets are resolved with.
pub(super) struct Notes<'a> {
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) warnings: RefCell<Vec<Warning>>,
    pub(super) env: &'a Env,
    pub(super) dev: bool,
}

/// A value and its place.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) path: String,
    pub(super) node: &'a Node,
    pub(super) notes: &'a Notes<'a>,
}

/// A table whose keys are all known.
pub(super) struct Section<'a> {
    pub(super) at: Field<'a>,
    pub(super) table: &'a BTreeMap<String, Node>,
}

impl<'a> Field<'a> {
    fn note(&self, kind: Kind, value: Option<String>, expected: &str, hint: Option<String>) {
        let Origin { file, line } = &self.node.origin;
        self.notes.problems.borrow_mut().push(Problem {
            file: file.to_string(),
            line: *line,
            path: self.path.clone(),
            kind,
            value,
            expected: expected.to_owned(),
            hint,
        });
    }

    /// The value as typed, cut; composite values by their kind, as secrets may be inside.
    fn shown(&self) -> String {
        let text = match &self.node.value {
            Value::Array(_) => return String::from("a list"),
            Value::Table(_) => return String::from("a table"),
            Value::Text(text) if self.path.ends_with(".url") => {
                format!("\"{}\"", value::url_shown(text))
            }
            _ => self.node.typed.clone(),
        };
        let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut shown: String = chars.by_ref().take(SHOWN_CHARS_MAX).collect();
        if chars.next().is_some() {
            shown.push('…');
        }
        shown
    }

    /// Notes that the value cannot be.
    pub(super) fn wrong(&self, expected: &str) {
        self.wrong_hint(expected, None);
    }

    pub(super) fn wrong_hint(&self, expected: &str, hint: Option<String>) {
        self.note(Kind::Invalid, Some(self.shown()), expected, hint);
    }

    /// Notes that a value which may be secret cannot be, without it.
    pub(super) fn wrong_secret(&self, expected: &str, hint: Option<String>) {
        self.note(Kind::Invalid, None, expected, hint);
    }

    pub(super) fn not_yet(&self, expected: &str) {
        self.note(Kind::NotAvailable, Some(self.shown()), expected, None);
    }

    /// Notes that `key` is missing in this table.
    pub(super) fn missing(&self, key: &str, expected: &str) {
        self.child(key, self.node)
            .note(Kind::Missing, None, expected, None);
    }

    pub(super) fn warn(&self, text: String) {
        let Origin { file, line } = &self.node.origin;
        self.notes.warnings.borrow_mut().push(Warning {
            file: file.to_string(),
            line: *line,
            path: self.path.clone(),
            text,
        });
    }

    /// A table by the schema of `pattern`; unknown keys are noted, without their values.
    pub(super) fn section(&self, pattern: &str) -> Option<Section<'a>> {
        let table = self.table("a table")?;
        let mut schemas = SCHEMAS.iter().chain(PUSH_SCHEMAS);
        let schema = schemas.find(|schema| schema.path == pattern)?;
        for (key, node) in table {
            let field = self.child(key, node);
            if schema.not_yet.contains(&key.as_str()) {
                field.note(Kind::NotAvailable, None, "", None);
            } else if !schema.keys.contains(&key.as_str()) {
                let expected = format!("one of {}", schema.keys.join(", "));
                let hint = did_you_mean(key, schema.keys.iter().copied());
                field.note(Kind::UnknownKey, None, &expected, hint);
            }
        }
        let at = self.clone();
        Some(Section { at, table })
    }

    /// A table with names of the operator's choice.
    pub(super) fn table(&self, expected: &str) -> Option<&'a BTreeMap<String, Node>> {
        match &self.node.value {
            Value::Table(table) => Some(table),
            _ => {
                self.wrong(expected);
                None
            }
        }
    }

    pub(super) fn child(&self, key: &str, node: &'a Node) -> Self {
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        Self {
            path,
            node,
            ..*self
        }
    }

    /// The items of a list of at most `max`.
    pub(super) fn list(&self, max: usize, expected: &str) -> Vec<Self> {
        let item = |(index, node): (usize, &'a Node)| Self {
            path: format!("{}[{index}]", self.path),
            node,
            notes: self.notes,
        };
        match &self.node.value {
            Value::Array(items) if items.len() <= max => {
                items.iter().enumerate().map(item).collect()
            }
            _ => {
                self.wrong(expected);
                Vec::new()
            }
        }
    }

    /// Text; a bare override such as `12345` counts as text too.
    pub(super) fn text(&self, expected: &str) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Integer(_) | Value::Bool(_) | Value::Other
                if self.node.origin.line.is_none() =>
            {
                Some(&self.node.typed)
            }
            _ => {
                self.wrong(expected);
                None
            }
        }
    }

    /// Text that `parse` understands.
    pub(super) fn parsed<T>(
        &self,
        expected: &str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(self.text(expected)?);
        if parsed.is_none() {
            self.wrong(expected);
        }
        parsed
    }

    /// Text for which `good` holds, or nothing.
    pub(super) fn text_where(&self, expected: &str, good: impl FnOnce(&str) -> bool) -> String {
        self.parsed(expected, |text| good(text).then(|| text.to_owned()))
            .unwrap_or_default()
    }

    pub(super) fn int(&self, range: RangeInclusive<u64>, why: &str) -> u64 {
        match self.node.value {
            Value::Integer(int) if u64::try_from(int).is_ok_and(|int| range.contains(&int)) => {
                u64::try_from(int).unwrap_or_default()
            }
            _ => {
                self.wrong(&format!("{}..={}, {why}", range.start(), range.end()));
                *range.start()
            }
        }
    }

    pub(super) fn bool(&self, why: &str) -> bool {
        match self.node.value {
            Value::Bool(yes) => yes,
            _ => {
                self.wrong(&format!("true or false, {why}"));
                false
            }
        }
    }

    pub(super) fn duration(&self, range: RangeInclusive<Duration>, why: &str) -> Duration {
        let expected = format!(
            "{DURATION_FORM} from {} to {}, {why}",
            humantime::format_duration(*range.start()),
            humantime::format_duration(*range.end()),
        );
        self.parsed(&expected, |text| {
            value::duration(text).filter(|d| range.contains(d))
        })
        .unwrap_or_else(|| *range.start())
    }

    /// A size: text with its unit, or plain octets.
    pub(super) fn size(&self, range: RangeInclusive<u64>, why: &str) -> u64 {
        let size = match &self.node.value {
            Value::Integer(int) => u64::try_from(*int).ok(),
            Value::Text(text) => value::size(text),
            _ => None,
        };
        size.filter(|size| range.contains(size)).unwrap_or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.wrong(&format!("{SIZE_FORM} from {least} to {most} octets, {why}"));
            *least
        })
    }

    pub(super) fn rate(&self, why: &str) -> Option<Rate> {
        self.parsed(&format!("{RATE_FORM}: {why}"), value::rate)
    }

    /// One of a few words; `not_yet` are those of the contract that this version lacks.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)], not_yet: &[&str]) -> Option<T> {
        let known = || words.iter().map(|(word, _)| *word);
        let quoted: Vec<String> = known().map(|word| format!("\"{word}\"")).collect();
        let expected = quoted.join(" or ");
        let typed = self.text(&expected)?;
        let found = words.iter().find(|(word, _)| *word == typed);
        if found.is_none() && not_yet.contains(&typed) {
            self.not_yet(&expected);
        } else if found.is_none() {
            self.wrong_hint(&expected, did_you_mean(typed, known()));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// The name of something declared elsewhere in the config.
    pub(super) fn name_of(&self, what: &str, declared: &BTreeMap<String, Node>) -> String {
        let expected = format!("the name of one of [{what}.*]");
        let Some(typed) = self.text(&expected) else {
            return String::new();
        };
        if !declared.contains_key(typed) {
            let hint = did_you_mean(typed, declared.keys().map(String::as_str))
                .unwrap_or_else(|| format!("declare it as [{what}.{typed}]"));
            self.wrong_hint(&expected, Some(hint));
        }
        typed.to_owned()
    }

    /// A file that can be opened now.
    pub(super) fn file(&self, why: &str) -> PathBuf {
        let expected = format!("a readable file, {why}");
        let path = self.text(&expected).map(PathBuf::from).unwrap_or_default();
        if !path.as_os_str().is_empty()
            && let Err(error) = files::open(&path)
        {
            self.wrong_hint(&expected, Some(error.to_string()));
        }
        path
    }

    /// A secret by reference, of which `good` holds; `expected` says what it must look like.
    pub(super) fn secret(&self, expected: &str, good: impl FnOnce(&str) -> bool) -> Secret {
        let found = self.secret_text(expected);
        if let Some(secret) = &found
            && !good(secret.expose())
        {
            self.wrong_secret(
                expected,
                Some(String::from("the secret itself is not shown")),
            );
        }
        found.unwrap_or_else(|| Secret::new(""))
    }

    /// A secret by reference, whatever it holds.
    pub(super) fn secret_text(&self, expected: &str) -> Option<Secret> {
        let reference = format!("{{ env = \"NAME\" }} or {{ file = \"PATH\" }} of {expected}");
        match &self.node.value {
            Value::Text(text) if self.notes.dev => return Some(Secret::new(text)),
            Value::Table(table) if table.len() == 1 => {
                if let Some(node) = table.get("env") {
                    return self.child("env", node).secret_in_env(expected);
                }
                if let Some(node) = table.get("file") {
                    let file = self.child("file", node);
                    return file.read_secret_path(expected, Secret::from_file);
                }
            }
            _ => {}
        }
        let inline = matches!(self.node.value, Value::Text(_))
            .then(|| String::from("a secret in the file itself needs --dev"));
        self.wrong_secret(&reference, inline);
        None
    }

    /// The variable is named in a problem only if it looks like one: people paste secrets here.
    fn secret_in_env(&self, expected: &str) -> Option<Secret> {
        let Value::Text(name) = &self.node.value else {
            self.wrong_secret("the name of an environment variable", None);
            return None;
        };
        let found = self.notes.env.get(name).map(Secret::new);
        if found.is_none() {
            let looks = name
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            let named = if looks { name } else { "the one named here" };
            let hint = format!("environment variable {named} is not set");
            self.wrong_secret(expected, Some(hint));
        }
        found
    }

    /// Reads the file that a secret is in.
    fn read_secret_path<T>(
        &self,
        expected: &str,
        read: impl FnOnce(&Path) -> Result<T, String>,
    ) -> Option<T> {
        let Value::Text(path) = &self.node.value else {
            self.wrong_secret("the path of a file", None);
            return None;
        };
        let told = |why| {
            let named = looked_at(path);
            self.wrong_secret(expected, Some(format!("{named}: {why}")));
        };
        read(Path::new(path)).map_err(told).ok()
    }

    /// The path of a file that holds a secret and can be opened now.
    pub(super) fn secret_path(&self, why: &str) -> PathBuf {
        let open = |path: &Path| match files::open(path) {
            Ok(_) => Ok(path.to_owned()),
            Err(error) => Err(error.to_string()),
        };
        self.read_secret_path(&format!("a readable file, {why}"), open)
            .unwrap_or_default()
    }
}

/// How the names of files with secrets end (chosen: what Apple's, Google's and PEM tools write, and
/// what is usual for one word). No secret ends so.
const ENDINGS: [&str; 10] = [
    ".crt", ".json", ".key", ".p12", ".p8", ".pem", ".pw", ".secret", ".token", ".txt",
];

/// The file that a path names. People paste the secret itself here: what does not look like a path is
/// not repeated, only the directory in which it was looked for.
fn looked_at(path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._/".contains(&octet);
    let ends = ENDINGS.iter().any(|ending| path.ends_with(ending));
    let looks = path.starts_with('.') || (ends && path.bytes().all(plain));
    let here = std::env::current_dir().ok();
    match (looks, here) {
        (true, Some(here)) => {
            // Without the dots that mean nothing.
            let whole: PathBuf = here.join(path).components().collect();
            whole.display().to_string()
        }
        (true, None) => path.to_owned(),
        (false, Some(here)) => format!("the file named here, in {}", here.display()),
        (false, None) => String::from("the file named here"),
    }
}

impl<'a> Section<'a> {
    /// The field under `key`, if it is there.
    pub(super) fn opt(&self, key: &str) -> Option<Field<'a>> {
        self.table.get(key).map(|node| self.at.child(key, node))
    }

    /// The field under `key`; noted if it is missing.
    pub(super) fn need(&self, key: &str, expected: &str) -> Option<Field<'a>> {
        let found = self.opt(key);
        if found.is_none() {
            self.at.missing(key, expected);
        }
        found
    }

    /// Whether nothing was noted about `key`: its value is what was meant.
    pub(super) fn sound(&self, key: &str) -> bool {
        let path = match self.at.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        let problems = self.at.notes.problems.borrow();
        !problems.iter().any(|problem| problem.path == path)
    }

    /// Notes that two values do not go together, at the second one if the first is a default. Their
    /// paths start here; both are there.
    pub(super) fn blame(&self, first: (&str, &str), second: (&str, &str), hint: Option<String>) {
        let find = |keys: &str| {
            let step = |field: Option<Field<'a>>, key| {
                let field = field?;
                Some(field.child(key, field.node.get(key)?))
            };
            keys.split('.').fold(Some(self.at.clone()), step)
        };
        let (Some(one), Some(other)) = (find(first.0), find(second.0)) else {
            return;
        };
        match &*one.node.origin.file == DEFAULT_ORIGIN {
            true => other.wrong_hint(second.1, hint),
            false => one.wrong_hint(first.1, hint),
        }
    }

    pub(super) fn int(&self, key: &str, range: RangeInclusive<u64>, why: &str) -> u64 {
        self.need(key, why)
            .map(|field| field.int(range, why))
            .unwrap_or_default()
    }

    pub(super) fn bool(&self, key: &str, why: &str) -> bool {
        self.need(key, why).is_some_and(|field| field.bool(why))
    }

    pub(super) fn duration(
        &self,
        key: &str,
        range: RangeInclusive<Duration>,
        why: &str,
    ) -> Duration {
        self.need(key, why)
            .map(|field| field.duration(range, why))
            .unwrap_or_default()
    }

    pub(super) fn size(&self, key: &str, range: RangeInclusive<u64>, why: &str) -> u64 {
        self.need(key, why)
            .map(|field| field.size(range, why))
            .unwrap_or_default()
    }

    /// Items of a list that may be absent.
    pub(super) fn list(&self, key: &str, max: usize, expected: &str) -> Vec<Field<'a>> {
        self.opt(key)
            .map(|field| field.list(max, expected))
            .unwrap_or_default()
    }
}
