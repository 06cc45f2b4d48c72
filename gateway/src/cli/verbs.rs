//! Verbs that run something: the gateway, the demo, the simulators, the store's offline tools.

use std::io::{ErrorKind, Write};
use std::path::Path;

use serde_json::json;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Demo, Exit, Failure, SimReceiver, SimSmsc};
use crate::app::Gateway;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{self, Damage, OpenError};

pub(super) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime does not start: {error}")))
}

/// SIGTERM and SIGINT. The first one stops; a second one exits at once, and nothing accepted is lost
/// either way.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes them over.
    pub(crate) fn new() -> Result<Self, Failure> {
        let take =
            |kind| signal(kind).map_err(|error| Failure::failed(format!("signals: {error}")));
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            hangup: take(SignalKind::hangup())?,
        })
    }

    /// Waits for one. Cancel safe.
    pub(crate) async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP: this version has no reload; restart to apply a config");
                }
            }
        }
    }
}

/// Stops a gateway, unless a second signal comes first.
pub(crate) async fn stop(gateway: Gateway, signals: &mut Signals) -> Result<(), Failure> {
    tokio::select! {
        () = gateway.stop() => Ok(()),
        () = signals.stop() => {
            Err(Failure::failed("stopped at once by a second signal; nothing accepted is lost"))
        }
    }
}

/// `serve`: runs the gateway until it is stopped.
pub(super) fn serve(config: Config, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let gateway = Gateway::start(config, Clock::system())
            .await
            .map_err(refused)?;
        let listening = gateway.listening();
        if json {
            writeln!(out, "{}", json!({ "listening": listening }))?;
        } else {
            writeln!(
                out,
                "listening: api {}, admin {}",
                listening.api, listening.admin
            )?;
        }
        out.flush()?;
        let failed = tokio::select! {
            () = signals.stop() => None,
            why = gateway.failed() => Some(why),
        };
        match failed {
            None => stop(gateway, &mut signals).await,
            // What is on disk is right and memory may be ahead of it: no orderly stop, a restart.
            Some(why) => Err(Failure::failed(format!("the store cannot go on: {why}"))),
        }
    });
    runtime.shutdown_background();
    result
}

/// What kept the gateway from starting, with its exit code.
fn refused(error: anyhow::Error) -> Failure {
    match error.downcast_ref::<OpenError>() {
        Some(open) => not_opened(open),
        None => Failure::failed(format!("{error:#}")),
    }
}

/// Why a store was not opened. Exit code 3 is for the one reason that passes by itself and says
/// nothing against the store: another process has it.
fn not_opened(error: &OpenError) -> Failure {
    let exit = match error {
        OpenError::Locked { .. } => Exit::Refused,
        _ => Exit::Failed,
    };
    Failure {
        exit,
        message: error.to_string(),
    }
}

/// `demo`.
pub(super) fn demo(demo: &Demo, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let runtime = runtime()?;
    let result = runtime.block_on(crate::demo::run(demo.once, json, out));
    runtime.shutdown_background();
    result
}

/// `sim smsc`.
pub(super) fn sim_smsc(smsc: &SimSmsc, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let mut config: sim::smsc::SmscConfig = parse("--config", smsc.config.as_deref())?;
    config.listen = smsc.listen.unwrap_or(config.listen);
    config.handsets = smsc.handsets().or(config.handsets);
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let smsc = sim::smsc::Smsc::start(config.clone())
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidInput => Failure::usage(format!("--mo-text: {error}")),
                _ => Failure::failed(format!("--listen {}: {error}", config.listen)),
            })?;
        announce(out, json, smsc.addr())?;
        signals.stop().await;
        show(out, json, &smsc.stop().await)
    })
}

/// `sim receiver`.
pub(super) fn sim_receiver(
    receiver: &SimReceiver,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut secrets = Vec::new();
    for name in &receiver.secret_env {
        let secret = std::env::var(name);
        secrets
            .push(secret.map_err(|error| Failure::usage(format!("--secret-env {name}: {error}")))?);
    }
    let faults = parse("--faults", receiver.faults.as_deref())?;
    let config = sim::receiver::Config {
        listen: receiver.listen,
        secrets,
        faults,
        ..sim::receiver::Config::default()
    };
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let receiver = sim::receiver::Receiver::start(config)
            .await
            .map_err(|error| Failure::failed(format!("{error:#}")))?;
        announce(out, json, receiver.addr())?;
        signals.stop().await;
        show(out, json, &receiver.report())
    })
}

fn parse<T: Default + serde::de::DeserializeOwned>(
    option: &str,
    text: Option<&str>,
) -> Result<T, Failure> {
    let Some(text) = text else {
        return Ok(T::default());
    };
    serde_json::from_str(text).map_err(|error| Failure::usage(format!("{option}: {error}")))
}

fn announce(out: &mut dyn Write, json: bool, at: std::net::SocketAddr) -> Result<(), Failure> {
    if json {
        writeln!(out, "{}", json!({ "listening": at }))?;
    } else {
        writeln!(out, "listening: {at}")?;
    }
    out.flush()?;
    Ok(())
}

pub(super) fn show<T: serde::Serialize>(
    out: &mut dyn Write,
    json: bool,
    report: &T,
) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string(report)
    } else {
        serde_json::to_string_pretty(report)
    };
    let text = text.map_err(|error| Failure::failed(error.to_string()))?;
    writeln!(out, "{text}")?;
    Ok(())
}

/// `store check`.
pub(super) fn store_check(dir: &Path, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let report = store::check(dir).map_err(|error| not_opened(&error))?;
    show(out, json, &report)?;
    sound(dir, "damaged", &report.damaged)
}

/// `store export`.
pub(super) fn store_export(
    dir: &Path,
    file: &Path,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let report = store::export(dir, file).map_err(|error| not_opened(&error))?;
    show(out, json, &report)?;
    let what = format!("exported {} messages; damaged", report.messages);
    sound(dir, &what, &report.damaged)
}

/// Names what is damaged or missing, if anything is.
fn sound(dir: &Path, what: &str, damaged: &[Damage]) -> Result<(), Failure> {
    if damaged.is_empty() {
        return Ok(());
    }
    let mut message = format!("{}: {what}:", dir.display());
    for damage in damaged {
        message.push_str("\n  ");
        message.push_str(&damage.to_string());
    }
    Err(Failure::failed(message))
}

/// `openapi`.
pub(super) fn openapi(out: &mut dyn Write) -> Result<(), Failure> {
    show(out, false, &crate::app::openapi())
}
