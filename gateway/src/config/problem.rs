//! What is wrong with a config, said so that it can be put right: place, key, value, expectation.

use std::fmt;

use serde::Serialize;

/// What sort of mistake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The value cannot be.
    Invalid,
    /// A key that must be there is not.
    Missing,
    /// No such key.
    UnknownKey,
    /// In the contract, not in this version.
    NotAvailable,
    /// The file cannot be read as TOML, or at all.
    Unreadable,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file as it was named, or `env NAME`.
    pub file: String,
    /// Line from 1; none for an environment variable.
    pub line: Option<usize>,
    /// Key path: `routes.carrier-a.window`, `routing.rules[0].routes[1]`; empty for a whole file.
    pub path: String,
    /// What sort of mistake.
    pub kind: Kind,
    /// The value as typed; never a secret's.
    pub value: Option<String>,
    /// What would be right; empty where only leaving the key out is.
    pub expected: String,
    /// What was probably meant, or what to do.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}", self.path)?;
        }
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        let expected = &self.expected;
        match self.kind {
            Kind::Invalid => write!(f, ": expected {expected}")?,
            Kind::Missing => write!(f, ": missing, expected {expected}")?,
            Kind::UnknownKey => write!(f, ": unknown key, expected {expected}")?,
            Kind::NotAvailable => {
                f.write_str(": known to the contract, not available in this version")?;
                if !expected.is_empty() {
                    write!(f, "; expected {expected}")?;
                }
            }
            Kind::Unreadable => write!(f, ": {expected}")?,
        }
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// All mistakes of a config, in file order; displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Sorts by place, those of the environment last.
    pub(super) fn in_order(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| (p.line.is_none(), p.file.clone(), p.line));
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Something that works but is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The file as it was named, or `env NAME`.
    pub file: String,
    /// Line from 1.
    pub line: Option<usize>,
    /// Key path.
    pub path: String,
    /// What is doubtful, and what to do.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, " {}: {}", self.path, self.text)
    }
}

/// The candidate closest to what was typed, phrased as a question, if one is close enough.
pub(super) fn did_you_mean<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    // Chosen: a third of the letters may differ, at least two; more than that is another word.
    let far = (typed.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(typed, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= far && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| format!("did you mean \"{candidate}\"?"))
}
