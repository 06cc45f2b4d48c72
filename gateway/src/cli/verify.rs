//! `webhook verify`: whether a received body was signed with this secret (Standard Webhooks, `v1`).

use std::io::{Read, Write};
use std::path::Path;

use codecs::webhook::{Secret, Signer, VerifyError};

use super::{Exit, Failure, Verify};
use crate::clock::Clock;
use crate::config::Env;

/// Octets of a body that are read. Chosen: batches end at 1 MiB (contract.md §3).
const BODY_OCTETS_MAX: u64 = 16 << 20;

/// `webhook verify`.
pub(super) fn verify(asked: &Verify, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let env = Env::of_process();
    let name = &asked.secret_env;
    let secret = env
        .get(name)
        .ok_or_else(|| Failure::usage(format!("environment variable {name} is not set")))?;
    let body = body(&asked.file)?;
    let now = Clock::system().now().0 / 1_000;
    let verdict = judge(asked, secret, &body, now)?;
    match json {
        true => writeln!(
            out,
            "{}",
            serde_json::json!({ "valid": verdict.is_none(), "reason": verdict })
        )?,
        false => writeln!(out, "{}", verdict.unwrap_or("valid"))?,
    }
    match verdict {
        None => Ok(()),
        Some(_) => Err(Failure {
            exit: Exit::Failed,
            message: String::new(),
        }),
    }
}

/// Why the body is not taken for the sender's, if it is not.
pub(super) fn judge(
    asked: &Verify,
    secret: &str,
    body: &[u8],
    now: u64,
) -> Result<Option<&'static str>, Failure> {
    let secret = Secret::parse(secret).map_err(|error| Failure::usage(error.to_string()))?;
    let tolerance = asked.tolerance.unwrap_or(u64::MAX);
    let (id, at) = (asked.id.as_str(), asked.timestamp);
    let verdict =
        Signer::new(secret).verify(id, &at.to_string(), &asked.signature, body, now, tolerance);
    Ok(match verdict {
        Ok(()) => None,
        Err(VerifyError::Signature) => Some("no signature fits"),
        Err(_) => Some("the timestamp is out of tolerance"),
    })
}

fn body(file: &Path) -> Result<Vec<u8>, Failure> {
    let why = |e: std::io::Error| Failure::failed(format!("{}: {e}", file.display()));
    let source: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(file).map_err(why)?),
    };
    let mut body = Vec::new();
    source
        .take(BODY_OCTETS_MAX + 1)
        .read_to_end(&mut body)
        .map_err(why)?;
    if body.len() as u64 > BODY_OCTETS_MAX {
        return Err(Failure::failed(format!(
            "{}: larger than {BODY_OCTETS_MAX} octets",
            file.display()
        )));
    }
    Ok(body)
}
