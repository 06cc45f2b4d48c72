//! Main: arguments, logging, the verb, the exit code.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use trunkline::cli::{self, LogFormat};

/// What is logged when `TRUNKLINE_LOG` does not say: states and troubles, nothing per message.
const LOG_DEFAULT: &str = "info";

/// Many small, short-lived messages on several threads: 31 µs of CPU per message where the C library's
/// allocator took 42 to 47 (`load run batch`, one run and two, on a machine that was not quiet).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let cli = match cli::parse(std::env::args_os(), &mut out, &mut err) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    if let Err(why) = log_to_stderr(cli.log) {
        let failure = cli::Failure::usage(why);
        return cli::conclude(Err(failure), cli.json, &mut err).into();
    }
    cli::run(&cli, &mut out, &mut err).into()
}

fn log_to_stderr(format: LogFormat) -> Result<(), String> {
    let words = std::env::var("TRUNKLINE_LOG").unwrap_or_else(|_| LOG_DEFAULT.to_owned());
    let filter = EnvFilter::try_new(words).map_err(|why| format!("TRUNKLINE_LOG: {why}"))?;
    let lines = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    }
    .map_err(|why| why.to_string())
}
