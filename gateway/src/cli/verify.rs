//! `webhook verify`: whether a received body was signed with this secret (Standard Webhooks, `v1`).

use std::io::{Read, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Exit, Failure, Verify};
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
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
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
    let key = secret
        .strip_prefix("whsec_")
        .and_then(|text| STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok())
        .ok_or_else(|| Failure::usage("the secret is not whsec_ and base64"))?;
    if asked
        .tolerance
        .is_some_and(|most| asked.timestamp.abs_diff(now) > most)
    {
        return Ok(Some("the timestamp is out of tolerance"));
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key)
        .map_err(|_| Failure::usage("the secret has a length that HMAC-SHA256 cannot take"))?;
    mac.update(format!("{}.{}.", asked.id, asked.timestamp).as_bytes());
    mac.update(body);
    let fits = asked
        .signature
        .split(' ')
        .filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok())
        .any(|given| mac.clone().verify_slice(&given).is_ok());
    Ok((!fits).then_some("no signature fits"))
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
