//! `config check` and `config print`: the operator's view of a config file.

use std::io::Write;

use serde_json::json;

use super::{ConfigFile, Exit, Failure, Serve};
use crate::config::{self, Config, Env, Problems, Warning};

/// Loads the config for `serve`; mistakes and warnings go to `err`.
pub(super) fn load(serve: &Serve, json: bool, err: &mut dyn Write) -> Result<Config, Failure> {
    match config::load(&serve.config, &Env::of_process(), serve.dev) {
        Ok((config, warnings)) => {
            warn(&warnings, json, err)?;
            Ok(config)
        }
        Err(problems) => report(&problems, json, err),
    }
}

/// `config check`.
pub(super) fn check(
    asked: &ConfigFile,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let file = asked.file.display().to_string();
    let (config, warnings) = match config::load(&asked.file, &Env::of_process(), asked.dev) {
        Ok(loaded) => loaded,
        Err(problems) if json => {
            writeln!(
                out,
                "{}",
                json!({ "file": file, "ok": false, "problems": problems })
            )?;
            return Err(told());
        }
        // What a check finds is its result, so it goes to `out` too.
        Err(problems) => return report(&problems, json, out),
    };
    let counts = [
        (config.tenants.len(), "tenant"),
        (config.keys.len(), "key"),
        (config.routes.len() + config.push.len(), "route"),
        (config.rules.len(), "rule"),
        (config.endpoints.len(), "endpoint"),
    ];
    if json {
        let mut answer = json!({ "file": file, "ok": true, "warnings": warnings });
        for (count, what) in counts {
            answer[format!("{what}s")] = json!(count);
        }
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    warn(&warnings, json, err)?;
    let counts = counts.map(|(count, what)| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    });
    writeln!(out, "{file}: ok, {}", counts.join(", "))?;
    Ok(())
}

/// `config print`.
pub(super) fn print(
    asked: &ConfigFile,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let table = match config::effective(&asked.file, &Env::of_process(), asked.dev) {
        Ok(table) => table,
        Err(problems) => return report(&problems, json, err),
    };
    if json {
        let text = serde_json::to_string_pretty(&table);
        writeln!(out, "{}", text.map_err(|e| Failure::failed(e.to_string()))?)?;
    } else {
        let text = toml::to_string_pretty(&table);
        write!(out, "{}", text.map_err(|e| Failure::failed(e.to_string()))?)?;
    }
    Ok(())
}

fn report<T>(problems: &Problems, json: bool, err: &mut dyn Write) -> Result<T, Failure> {
    if json {
        writeln!(err, "{}", json!({ "ok": false, "problems": problems }))?;
    } else {
        writeln!(err, "{problems}")?;
        let count = problems.0.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        writeln!(err, "{count} {noun}")?;
    }
    Err(told())
}

fn warn(warnings: &[Warning], json: bool, err: &mut dyn Write) -> Result<(), Failure> {
    for warning in warnings {
        match json {
            true => writeln!(err, "{}", json!({ "warning": warning }))?,
            false => writeln!(err, "warning: {warning}")?,
        }
    }
    Ok(())
}

/// Failed, and the reasons are written already.
fn told() -> Failure {
    Failure {
        exit: Exit::Failed,
        message: String::new(),
    }
}
