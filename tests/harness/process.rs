//! A peer in a process of its own: it says what happens, a JSON object a line, and takes orders so.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

/// How long a peer may take to say its next line.
pub(crate) const LINE_WITHIN: Duration = Duration::from_secs(30);

/// Lines of a peer that are kept. Chosen: more than any scenario makes.
const LINES_MAX: usize = 100_000;

/// The process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    said: watch::Receiver<Vec<Value>>,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be run.
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().context("stdin is piped")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
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
        Ok(Self { child, stdin, said })
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
        let found = tokio::time::timeout(LINE_WITHIN, waited).await;
        let Ok(Ok(found)) = found else {
            bail!(
                "the peer did not say {event}; it said {:?}",
                *self.said.borrow()
            )
        };
        find(&found).context("it was there")
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
        self.stdin
            .write_all(format!("{order}\n").as_bytes())
            .await?;
        Ok(())
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
