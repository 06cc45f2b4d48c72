//! Cli: the command line as typed, and where each verb goes.
//!
//! Exit codes are contract.md §6's: 0 ok, 1 failed, 2 usage, 3 refused, 4 unreachable.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};

mod config;
mod push_sim;
mod verbs;

pub use push_sim::{SimApns, SimFcm, SimPush};
pub(crate) use verbs::{Signals, stop};
mod verify;

#[cfg(test)]
mod tests;

/// The arguments as typed.
#[derive(Debug, Parser)]
#[command(name = "trunkline", about, version, propagate_version = false)]
pub struct Cli {
    /// Answers in JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// How log lines on stderr look; TRUNKLINE_LOG filters them
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// The verbs of this version.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Runs the gateway
    Serve(Serve),
    /// Checks or prints a config file
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Shows the main job on this machine: gateway, simulated carriers and push services, webhook receiver
    Demo(Demo),
    /// Runs a simulator, with faults on request
    #[command(subcommand)]
    Sim(SimVerb),
    /// Works on a store that no gateway has open
    #[command(subcommand)]
    Store(StoreVerb),
    /// Verifies webhook signatures
    #[command(subcommand)]
    Webhook(WebhookVerb),
    /// Prints the OpenAPI document
    Openapi,
    /// Prints the version
    Version,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The config file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Development: secrets may stand in the config file itself
    #[arg(long)]
    pub dev: bool,
}

/// `config ...`.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Reports every mistake at once
    Check(ConfigFile),
    /// Prints what is in effect, defaults and overrides included, secrets redacted
    Print(ConfigFile),
}

/// A config file to look at.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The config file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Development: secrets may stand in the config file itself
    #[arg(long)]
    pub dev: bool,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Leaves after the show instead of staying up
    #[arg(long)]
    pub once: bool,
}

/// `sim ...`.
#[derive(Debug, Subcommand)]
pub enum SimVerb {
    /// A carrier
    Smsc(SimSmsc),
    /// Apple's push service: HTTP/2 over TLS, tokens verified, refusals and faults by the device
    /// token's first eight digits
    Apns(SimApns),
    /// Google's push service, and the token endpoint that it needs; likewise
    Fcm(SimFcm),
    /// A webhook receiver
    Receiver(SimReceiver),
}

/// `sim smsc`.
#[derive(Debug, Args)]
pub struct SimSmsc {
    /// Where it listens, in place of the config's; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Its `SmscConfig` with the faults, as JSON; what is left out is the default
    #[arg(long, value_name = "JSON")]
    pub config: Option<String>,
    /// Handsets write to this number, and go on until it is stopped
    #[arg(long, value_name = "NUMBER")]
    pub mo_to: Option<String>,
    /// Who writes, in place of 46701234567
    #[arg(long, value_name = "NUMBER", requires = "mo_to")]
    pub mo_from: Option<String>,
    /// What is written, in place of Hello; in parts, the last one first, when it is long
    #[arg(long, value_name = "TEXT", requires = "mo_to")]
    pub mo_text: Option<String>,
    /// Messages a second at most, in place of 1
    #[arg(long, value_name = "RATE", requires = "mo_to", value_parser = rate)]
    pub mo_rate: Option<f64>,
    /// Messages in all, in place of no end
    #[arg(long, value_name = "COUNT", requires = "mo_to")]
    pub mo_count: Option<u64>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    let rate = rate.filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "expected messages a second, above 0, such as 0.5".to_owned())
}

impl SimSmsc {
    /// What handsets write, if they shall.
    fn handsets(&self) -> Option<sim::smsc::Handsets> {
        let plain = sim::smsc::Handsets::default();
        Some(sim::smsc::Handsets {
            to: self.mo_to.clone()?,
            from: self.mo_from.clone().unwrap_or(plain.from),
            text: self.mo_text.clone().unwrap_or(plain.text),
            per_second: self.mo_rate.unwrap_or(plain.per_second),
            count: self.mo_count.unwrap_or(plain.count),
        })
    }
}

/// `sim receiver`.
#[derive(Debug, Args)]
pub struct SimReceiver {
    /// Where it listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// A variable with a live whsec_ secret; several are allowed, none: nothing is verified
    #[arg(long, value_name = "NAME")]
    pub secret_env: Vec<String>,
    /// Its `Faults`, as JSON; what is left out is the default
    #[arg(long, value_name = "JSON")]
    pub faults: Option<String>,
}

/// `store ...`.
#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Verifies a store directory
    Check {
        /// The store's directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Writes out what is readable of a damaged store
    Export {
        /// The store's directory
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// `webhook ...`.
#[derive(Debug, Subcommand)]
pub enum WebhookVerb {
    /// Verifies the signature of a received body
    Verify(Verify),
}

/// `webhook verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The variable that holds the whsec_ secret
    #[arg(long, value_name = "NAME")]
    pub secret_env: String,
    /// The webhook-id header
    #[arg(long)]
    pub id: String,
    /// The webhook-timestamp header, seconds
    #[arg(long)]
    pub timestamp: u64,
    /// The webhook-signature header
    #[arg(long)]
    pub signature: String,
    /// Seconds by which the timestamp may differ from now; without, its age is not judged
    #[arg(long, value_name = "SECONDS")]
    pub tolerance: Option<u64>,
    /// The body as received; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// It tried and failed.
    Failed = 1,
    /// It was asked wrongly.
    Usage = 2,
    /// It must not, as when another process has the store.
    Refused = 3,
    /// The other side does not answer.
    Unreachable = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is said on stderr; empty if all is said already.
    pub message: String,
}

impl Failure {
    /// It tried and failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
        }
    }

    /// It was asked wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
        }
    }
}

impl From<io::Error> for Failure {
    /// A reader that has seen enough (`| head`) is no failure.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self {
                exit: Exit::Ok,
                message: String::new(),
            },
            _ => Self::failed(error.to_string()),
        }
    }
}

/// Verbs of the contract that this version lacks: the word that is unknown here, its whole name.
const NOT_AVAILABLE: &[(&str, &str)] = &[
    ("diff", "config diff"),
    ("reload", "config reload"),
    ("doctor", "doctor"),
    ("send", "send"),
    ("preview", "preview"),
    ("message", "message"),
    ("batch", "batch"),
    ("route", "route"),
    ("event", "event"),
    ("endpoint", "endpoint"),
    ("suppress", "suppress"),
    ("consent", "consent"),
    ("key", "key"),
    ("listen", "webhook listen"),
    ("backup", "store backup"),
    ("restore", "store restore"),
    ("compact", "store compact"),
];

/// Parses the arguments, the program's name first. Help, version and mistakes are written to `out`
/// or `err`, and `Err` is how the run ends.
///
/// # Errors
/// The exit code when there is nothing to run.
pub fn parse<I, T>(args: I, out: &mut dyn Write, err: &mut dyn Write) -> Result<Cli, Exit>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let json = args.iter().any(|arg| arg == "--json");
    let wrong = match Cli::try_parse_from(args) {
        Ok(cli) => return Ok(cli),
        Err(wrong) => wrong,
    };
    if !wrong.use_stderr() {
        return Err(match write!(out, "{wrong}").and_then(|()| out.flush()) {
            Ok(()) => Exit::Ok,
            Err(error) => Failure::from(error).exit,
        });
    }
    let message = match lacking(&wrong) {
        Some(verb) => {
            format!("`trunkline {verb}` is known to the contract but not available in this version")
        }
        None => wrong.to_string().trim_end().to_owned(),
    };
    Err(conclude(Err(Failure::usage(message)), json, err))
}

/// The contract's verb that was typed, if this version lacks it.
fn lacking(wrong: &clap::Error) -> Option<&'static str> {
    if wrong.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(typed)) = wrong.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let known = NOT_AVAILABLE.iter().find(|(word, _)| word == typed);
    known.map(|(_, verb)| *verb)
}

/// Runs a verb: results to `out`, everything else to `err`.
pub fn run(cli: &Cli, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let result = dispatch(cli, out, err).and_then(|()| Ok(out.flush()?));
    conclude(result, cli.json, err)
}

fn dispatch(cli: &Cli, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    let json = cli.json;
    match &cli.verb {
        Verb::Serve(serve) => verbs::serve(config::load(serve, json, err)?, json, out),
        Verb::Config(ConfigVerb::Check(file)) => config::check(file, json, out, err),
        Verb::Config(ConfigVerb::Print(file)) => config::print(file, json, out, err),
        Verb::Demo(demo) => verbs::demo(demo, json, out),
        Verb::Sim(SimVerb::Smsc(sim)) => verbs::sim_smsc(sim, json, out),
        Verb::Sim(SimVerb::Apns(sim)) => push_sim::sim_apns(sim, json, out),
        Verb::Sim(SimVerb::Fcm(sim)) => push_sim::sim_fcm(sim, json, out),
        Verb::Sim(SimVerb::Receiver(sim)) => verbs::sim_receiver(sim, json, out),
        Verb::Store(StoreVerb::Check { dir }) => verbs::store_check(dir, json, out),
        Verb::Store(StoreVerb::Export { dir, out: file }) => {
            verbs::store_export(dir, file, json, out)
        }
        Verb::Webhook(WebhookVerb::Verify(asked)) => verify::verify(asked, json, out),
        Verb::Openapi => verbs::openapi(out),
        Verb::Version => version(json, out),
    }
}

fn version(json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match json {
        true => writeln!(out, "{}", serde_json::json!({ "version": version }))?,
        false => writeln!(out, "trunkline {version}")?,
    }
    Ok(())
}

/// Says why it failed, if it did and nobody has said so; the exit code.
pub fn conclude(result: Result<(), Failure>, json: bool, err: &mut dyn Write) -> Exit {
    let Err(Failure { exit, message }) = result else {
        return Exit::Ok;
    };
    if !message.is_empty() {
        let said = match json {
            true => {
                let error = serde_json::json!({ "error": message, "exit": exit as u8 });
                writeln!(err, "{error}")
            }
            false if message.starts_with("error:") => writeln!(err, "{message}"),
            false => writeln!(err, "trunkline: {message}"),
        };
        // Nothing is left to say it on; the exit code still tells.
        drop(said);
    }
    exit
}
