//! A peer in a process of its own: it says what happens, a JSON object a line, and takes orders so.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::watch;

use crate::life::Life;

/// How long a peer may take to say its next line.
pub(crate) const LINE_WITHIN: Duration = Duration::from_secs(30);

/// Lines of a peer that are kept. Chosen: more than any scenario makes.
const LINES_MAX: usize = 100_000;

/// The process; killed when dropped. Its end tells at once whoever waits for something.
#[derive(Debug)]
pub struct Process {
    life: Life,
    stdin: ChildStdin,
    said: watch::Receiver<Vec<Value>>,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be run.
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let (life, stdin, stdout) = Life::start(command)?;
        let stdin = stdin.context("stdin is piped")?;
        let stdout = stdout.context("stdout is piped")?;
        let (tell, said) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                tell.send_modify(|said: &mut Vec<Value>| {
                    if said.len() < LINES_MAX {
                        said.push(value);
                    }
                });
            }
        });
        Ok(Self { life, stdin, said })
    }

    /// Waits until it has said that this happened; what it said.
    ///
    /// # Errors
    /// It has not in time.
    pub async fn said(
        &mut self,
        event: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let find = |said: &Vec<Value>| {
            let mut said = said.iter().rev();
            said.find(|line| line["event"] == event && wanted(line))
                .cloned()
        };
        let mut said = self.said.clone();
        let waited = said.wait_for(|said| find(said).is_some());
        // Its stdout's end ends this wait too.
        let found = match tokio::time::timeout(LINE_WITHIN, waited).await {
            Ok(Ok(found)) => find(&found),
            Ok(Err(_)) => {
                let end = tokio::time::timeout(LINE_WITHIN, self.life.ended()).await;
                bail!("the peer ended before it said {event}: {end:?}")
            }
            Err(_) => None,
        };
        found.with_context(|| {
            let said = self.said.borrow();
            format!("the peer did not say {event}; it said {:?}", *said)
        })
    }

    /// Everything of one kind that it has said.
    #[must_use]
    pub fn all(&self, event: &str) -> Vec<Value> {
        let said = self.said.borrow();
        said.iter()
            .filter(|line| line["event"] == event)
            .cloned()
            .collect()
    }

    /// Has it do something that its script describes, as smsc.js does `receipt`, `mo`, `enquire_link` and
    /// `unbind`.
    ///
    /// # Errors
    /// It has ended.
    pub async fn order(&mut self, what: &str, how: Value) -> anyhow::Result<()> {
        let order = json!({ what: how });
        let written = self.stdin.write_all(format!("{order}\n").as_bytes()).await;
        written.with_context(|| format!("the peer has ended: {:?}", self.life.end()))
    }

    /// Kills it at once.
    pub async fn kill(&mut self) {
        self.life.kill().await;
    }
}
