//! Demo: the main job, working, on this machine alone. A gateway on an embedded store, two simulated
//! carriers (and a third that is down), simulated APNs and FCM, a webhook receiver; messages over HTTP;
//! what becomes of each.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use crate::cli::{Failure, Signals, stop};

mod client;
mod show;
mod stage;

use stage::{KEY, Stage};

/// How long the show may take; on a laptop it takes about four seconds.
const SHOW_MAX: Duration = Duration::from_secs(30);

/// Runs the show, then stays up until a signal, unless `once`.
///
/// # Errors
/// Something did not come to its end: the demo is a check as well.
pub async fn run(once: bool, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut stage = tokio::select! {
        stage = Stage::build(out) => stage.map_err(|error| Failure::failed(format!("{error:#}")))?,
        () = signals.stop() => return Ok(()),
    };
    let shown = tokio::select! {
        shown = tokio::time::timeout(SHOW_MAX, show::show(&mut stage, out)) => {
            shown.unwrap_or_else(|_| Err(anyhow::anyhow!("not at its end after {SHOW_MAX:?}")))
        }
        () = signals.stop() => Ok(()),
    };
    if shown.is_ok() && !once {
        hints(out, &stage)?;
        signals.stop().await;
        writeln!(out, "\nleaving")?;
    }
    if json {
        writeln!(
            out,
            "{}",
            json!({ "ok": shown.is_ok(), "receiver": stage.receiver.report() })
        )?;
    }
    let Stage {
        gateway, directory, ..
    } = stage;
    stop(gateway, &mut signals).await?;
    if let Err(error) = std::fs::remove_dir_all(&directory) {
        writeln!(out, "{}: {error}", directory.display())?;
    }
    shown.map_err(|error| Failure::failed(format!("{error:#}")))
}

fn hints(out: &mut dyn Write, stage: &Stage) -> Result<(), Failure> {
    let at = stage.gateway.listening();
    writeln!(
        out,
        "\nAll of it came to its end. Now try:\n\n  \
         curl -H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json' \\\n    \
         -d '{{\"to\":\"+46700000300\",\"from\":\"DEMO\",\"text\":\"Hello\",\"class\":\"otp\"}}' \\\n    \
         http://{api}/v1/messages\n  \
         curl -H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json' \\\n    \
         -d '{{\"to\":{{\"devices\":[{{\"platform\":\"android\",\"app\":\"shop-android\",\"token\":\"demo\"}}]}},\
         \"content\":{{\"push\":{{\"title\":\"Hello\"}}}}}}' \\\n    \
         http://{api}/v1/messages\n  \
         curl -H 'Authorization: Bearer {KEY}' 'http://{api}/v1/messages?limit=3'\n  \
         curl -H 'Authorization: Bearer {KEY}' 'http://{api}/v1/events?wait=10'\n  \
         curl -H 'Authorization: Bearer {KEY}' http://{api}/v1/routes\n  \
         curl http://{admin}/metrics\n\nCtrl-C leaves.",
        api = at.api,
        admin = at.admin,
    )?;
    out.flush()?;
    Ok(())
}
