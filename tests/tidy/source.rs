//! Source files as tidy reads them: code without comments, literals and tests, and the paths in it.

use std::path::Path;

/// Directories that hold no source of ours.
const SKIPPED: [&str; 4] = ["target", "node_modules", ".venv", ".git"];

/// One `.rs` file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Below the workspace, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Without comments, literals and `#[cfg(test)]` items; as many lines.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = match is_test(path) {
            true => String::new(),
            false => without_tests(&without_comments(text)),
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
        }
    }

    /// All `.rs` files below `root`.
    pub(crate) fn all(root: &Path) -> Vec<Self> {
        let mut found = Vec::new();
        collect(root, root, &mut found);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// The module path within its crate's `src`, as `["dispatch", "queue"]`; empty for a root.
    pub(crate) fn modules(&self) -> Vec<&str> {
        let Some((_, below)) = self.path.split_once("src/") else {
            return Vec::new();
        };
        let below = below.strip_suffix(".rs").unwrap_or(below);
        match below {
            "lib" | "main" => Vec::new(),
            _ => below.split('/').collect(),
        }
    }

    /// What the code names behind `root` (a crate's name, or `crate`): line and up to two segments,
    /// `use a::{b, c::d}` taken apart. For `crate`, paths by `super` that reach the root count too.
    pub(crate) fn names(&self, root: &str) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        let mut after = |start: usize| {
            let line = self.code[..start].matches('\n').count() + 1;
            for path in first_segments(&self.code[start..]) {
                found.push((line, path));
            }
        };
        for start in occurrences(&self.code, &format!("{root}::")) {
            after(start);
        }
        if root == "crate" {
            let up = "super::".repeat(self.modules().len().max(1));
            for start in occurrences(&self.code, &up) {
                after(start);
            }
        }
        found
    }

    /// The lines whose code has `needle` as a whole path.
    pub(crate) fn lines_with(&self, needle: &str) -> Vec<usize> {
        let ends = |&end: &usize| !self.code[end..].starts_with(is_word);
        occurrences(&self.code, needle)
            .filter(ends)
            .map(|end| self.code[..end].matches('\n').count() + 1)
            .collect()
    }
}

fn collect(root: &Path, dir: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if entry.file_type().unwrap().is_dir() {
            if !SKIPPED.contains(&&*name) && !name.starts_with("target-") {
                collect(root, &path, found);
            }
        } else if name.ends_with(".rs") {
            let below = path.strip_prefix(root).unwrap();
            let below = below.to_string_lossy().replace('\\', "/");
            found.push(Source::new(
                &below,
                &std::fs::read_to_string(&path).unwrap(),
            ));
        }
    }
}

/// Whether a file is there for tests only: `tests.rs`, or below a directory of tests or examples.
pub(crate) fn is_test(path: &str) -> bool {
    let mut parts = path.split('/');
    let file = parts.next_back();
    file == Some("tests.rs") || parts.any(|dir| matches!(dir, "tests" | "examples" | "benches"))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `needle` ends, wherever it is not the tail of a longer word.
fn occurrences<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let whole = |(at, _): &(usize, &str)| !code[..*at].ends_with(is_word);
    let hits = code.match_indices(needle).filter(whole);
    hits.map(|(at, found)| at + found.len())
}

/// The first two segments of every path that starts here, `{…}` taken apart.
fn first_segments(code: &str) -> Vec<Vec<String>> {
    let code = code.trim_start();
    let Some(inner) = code.strip_prefix('{') else {
        let word: String = code.chars().take_while(|&c| is_word(c)).collect();
        let rest = code[word.len()..].strip_prefix("::");
        if word.is_empty() {
            return Vec::new();
        }
        let Some(rest) = rest else {
            return vec![vec![word]];
        };
        let second = first_segments(rest)
            .into_iter()
            .filter_map(|path| path.into_iter().next());
        return second.map(|second| vec![word.clone(), second]).collect();
    };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.extend(first_segments(&inner[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.extend(first_segments(&inner[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The code with comments and literals blanked; line breaks stay.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hidden = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string_end(rest),
            'r' if !out.ends_with(is_word) => raw_string_end(rest),
            '\'' => char_end(rest),
            _ => 0,
        };
        let taken = hidden.max(first.len_utf8());
        match hidden {
            0 => out.push(first),
            _ => out.extend(
                rest[..taken]
                    .chars()
                    .map(|c| if c == '\n' { c } else { ' ' }),
            ),
        }
        rest = &rest[taken..];
    }
    out
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// The length of `r"…"` or `r#"…"#`; 0 if none starts here.
fn raw_string_end(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|&c| c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    let end = text[body..].find(&close);
    end.map_or(text.len(), |end| body + end + close.len())
}

/// The length of a character literal; 0 for a lifetime.
fn char_end(text: &str) -> usize {
    if text.starts_with("'\\") {
        return text[3..].find('\'').map_or(0, |end| end + 4);
    }
    let mut chars = text.char_indices().skip(2);
    match chars.next() {
        Some((at, '\'')) => at + 1,
        _ => 0,
    }
}

/// The code without its `#[cfg(test)]` items, by the indentation that rustfmt gives; lines stay.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut hidden: Option<String> = None;
    for line in code.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        match &hidden {
            None if line.trim_start().starts_with("#[cfg(test)]") => {
                hidden = Some(indent.to_owned());
            }
            None => out.push_str(line),
            Some(outer) => {
                let ends = line.ends_with(['}', ';']);
                if indent == outer && ends {
                    hidden = None;
                }
            }
        }
        out.push('\n');
    }
    out
}

#[test]
fn comments_literals_and_tests_are_no_code() {
    let text = "use crate::a; // crate::b\nlet s = \"crate::c\\\" crate::d\"; let c = '\"';\n\
        /* crate::e\n*/ let r = r#\"crate::f\"#; fn g<'a>(x: &'a str) {}\n\
        #[cfg(test)]\nmod tests {\n    use crate::h;\n}\nuse crate::{i::J, k::{L, M}};\n";
    let source = Source::new("gateway/src/x.rs", text);
    let names: Vec<_> = source
        .names("crate")
        .into_iter()
        .map(|(line, path)| (line, path.join("::")))
        .collect();
    let expected = [(1, "a"), (9, "i::J"), (9, "k::L"), (9, "k::M")];
    let expected = expected.map(|(line, path)| (line, path.to_owned()));
    assert_eq!(names[..3], expected[..3], "{names:?}");
    assert!(names.iter().any(|(_, path)| path == "k::M"), "{names:?}");
    assert_eq!(source.code.lines().count(), text.lines().count());
}

#[test]
fn super_counts_when_it_reaches_the_root() {
    let names = |path: &str, text: &str| Source::new(path, text).names("crate");
    let found = names("gateway/src/plan/route.rs", "use super::super::store::Key;");
    assert_eq!(
        found.last().map(|(_, path)| path.join("::")),
        Some("store::Key".into())
    );
    assert!(names("gateway/src/plan/route.rs", "use super::Plan;").is_empty());
}
