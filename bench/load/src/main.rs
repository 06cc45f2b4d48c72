//! Load for the gateway's HTTP API, and the benchmark cases of the README.

#![forbid(unsafe_code)]

mod bulk;
mod http;
mod message;
mod micro;
#[cfg(test)]
mod mock;
mod pace;
mod process;
mod report;
mod run;
mod single;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use message::{Recipe, Template, To};
use pace::Pace;
use report::Report;

#[derive(Parser)]
#[command(name = "load", about = "Load for the gateway's HTTP API")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Streams NDJSON to /v1/batches.
    Ndjson(Shape),
    /// Posts JSON batches to /v1/batches.
    Batch(Shape),
    /// Posts one message for each request; with --rate in an open loop.
    Single(Shape),
    /// Starts gateway and simulators and runs a case of the README.
    Run(run::Options),
    /// Times the codecs: text, receipts, webhook signatures.
    Micro,
}

/// How a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Ndjson,
    Batch,
    Single,
}

/// The class of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Class {
    Transactional,
    Promotional,
    Otp,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Promotional => "promotional",
            Self::Otp => "otp",
        }
    }
}

#[derive(Args)]
struct Shape {
    /// Address of the API.
    #[arg(long)]
    api: SocketAddr,
    /// Bearer key.
    #[arg(long)]
    key: String,
    /// Who gets the messages.
    #[arg(long, value_enum, default_value = "sms")]
    to: To,
    #[arg(long, value_enum, default_value = "transactional")]
    class: Class,
    /// Messages per second; as fast as accepted if absent.
    #[arg(long)]
    rate: Option<f64>,
    /// Connections, each with one request or stream at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Ends after so many seconds.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Ends after so many messages.
    #[arg(long, default_value_t = u64::MAX)]
    messages: u64,
    /// Number of the first message, so that runs do not repeat each other's.
    #[arg(long, default_value_t = 0)]
    first: u64,
}

/// One run of a client.
#[derive(Debug, Clone)]
struct Plan {
    api: SocketAddr,
    mode: Mode,
    to: To,
    class: Class,
    key: String,
    connections: usize,
    /// Keep the ids of accepted messages (single mode).
    keep_ids: bool,
}

impl Plan {
    /// Sends until the pace ends.
    async fn send(&self, pace: Arc<Pace>) -> anyhow::Result<Report> {
        let recipe = Recipe {
            api: self.api,
            key: self.key.clone(),
            class: self.class.name(),
            to: self.to,
        };
        let cpu = process::own_cpu_seconds()?;
        let mut report = match self.mode {
            Mode::Ndjson => {
                let template = Template::line(&recipe);
                bulk::ndjson(
                    self.api,
                    recipe.ndjson_head(),
                    template,
                    self.connections,
                    pace,
                )
                .await?
            }
            Mode::Batch => {
                let template = Template::line(&recipe);
                bulk::batches(self.api, recipe, template, self.connections, pace).await?
            }
            Mode::Single => {
                let template = Template::request(&recipe);
                single::run(self.api, template, self.connections, pace, self.keep_ids).await?
            }
        };
        report.mode = format!("{:?}", self.mode).to_lowercase();
        report.class = self.class.name().to_owned();
        report.cpu_seconds = process::own_cpu_seconds()? - cpu;
        Ok(report)
    }
}

async fn send(mode: Mode, shape: Shape) -> anyhow::Result<()> {
    let pace = Pace::new(pace::Limits {
        first: shape.first,
        messages: shape.messages,
        rate: shape.rate,
        duration: Duration::from_secs_f64(shape.seconds),
    });
    let plan = Plan {
        api: shape.api,
        mode,
        to: shape.to,
        class: shape.class,
        key: shape.key,
        connections: shape.connections,
        keep_ids: false,
    };
    print(&serde_json::to_string(&plan.send(Arc::new(pace)).await?)?);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().verb {
        Verb::Ndjson(shape) => send(Mode::Ndjson, shape).await,
        Verb::Batch(shape) => send(Mode::Batch, shape).await,
        Verb::Single(shape) => send(Mode::Single, shape).await,
        Verb::Run(options) => Box::pin(run::run(options)).await,
        Verb::Micro => {
            micro::run();
            Ok(())
        }
    }
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn print(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sent(mode: Mode, rate: Option<f64>, messages: u64) -> Report {
        let api = mock::start().await;
        let limits = pace::Limits {
            first: 9,
            messages,
            rate,
            duration: Duration::from_secs(1000),
        };
        let plan = Plan {
            api,
            mode,
            to: To::Sms,
            class: Class::Otp,
            key: "k".to_owned(),
            connections: 3,
            keep_ids: true,
        };
        plan.send(Arc::new(Pace::new(limits))).await.unwrap()
    }

    #[tokio::test]
    async fn every_mode_sends_each_message_once_and_counts_the_answers() {
        for (mode, rate, messages, answers) in [
            (Mode::Single, None, 60, 60),
            (Mode::Single, Some(3000.0), 60, 60),
            (Mode::Batch, None, 1500, 3),
            (Mode::Ndjson, None, 1500, 1500),
        ] {
            let report = sent(mode, rate, messages).await;
            assert_eq!((report.sent, report.errors), (messages, 0), "{report:?}");
            assert_eq!(report.accepted, messages * 2 / 3, "{report:?}");
            assert_eq!(report.refused[&429], messages / 3);
            assert_eq!(report.latency_us.count, answers);
            assert_eq!(report.late_us.is_some(), rate.is_some());
            let ids = if mode == Mode::Single {
                report.accepted
            } else {
                0
            };
            assert_eq!(report.ids.len() as u64, ids);
        }
    }

    #[tokio::test]
    async fn a_stream_ends_at_its_cap_and_the_next_one_goes_on() {
        let report = sent(Mode::Ndjson, None, 310_000).await;
        assert_eq!((report.sent, report.errors), (310_000, 0));
    }
}
