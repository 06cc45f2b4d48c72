//! A peer's life: a process that nobody here wrote is watched, and its unexpected end is told at once.
//!
//! A scenario that waits for what a dead peer will never do would wait until its deadline, minutes later,
//! and then say nothing of the peer. So each peer's end is noted on the thread of its test, where
//! [`wait_for`](crate::wait_for) looks at it before it looks at anything else.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};

/// Lines of what a peer said on stderr that are kept. Chosen: a stack of Node's or Python's, and more.
const TAIL_LINES: usize = 100;

thread_local! {
    /// How the peers that this thread's test started came to their ends.
    static ENDS: RefCell<Vec<watch::Receiver<Option<String>>>> = const { RefCell::new(Vec::new()) };
}

/// A watched process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Life {
    /// `Some` when it has ended by itself: how, and what it said last.
    ended: watch::Receiver<Option<String>>,
    /// Whoever sends, or is dropped, has it killed. The answer comes when it is.
    kill: mpsc::Sender<()>,
    gone: watch::Receiver<bool>,
}

impl Life {
    /// Starts a process and watches it; its stdin and stdout where the command pipes them.
    ///
    /// # Errors
    /// It cannot be run.
    pub(crate) fn start(
        mut command: Command,
    ) -> anyhow::Result<(Self, Option<ChildStdin>, Option<ChildStdout>)> {
        let name = format!("{:?}", command.as_std());
        let mut child = command
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| name.clone())?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stderr = child.stderr.take().context("stderr is piped")?;
        let last = tokio::spawn(tail(stderr));
        let (tell, ended) = watch::channel(None);
        let (tell_gone, gone) = watch::channel(false);
        let (kill, mut killed) = mpsc::channel(1);
        tokio::spawn(async move {
            tokio::select! {
                status = child.wait() => {
                    let last = last.await.unwrap_or_default();
                    tell.send_replace(Some(story(&name, status, &last)));
                }
                _ = killed.recv() => drop(child.kill().await),
            }
            tell_gone.send_replace(true);
        });
        ENDS.with_borrow_mut(|ends| ends.push(ended.clone()));
        Ok((Self { ended, kill, gone }, stdin, stdout))
    }

    /// How it ended, if it did by itself.
    pub(crate) fn end(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    /// Waits for its end; how it ended, if it did by itself.
    pub(crate) async fn ended(&self) -> Option<String> {
        let mut gone = self.gone.clone();
        // An error: its watcher is gone, and it with that.
        drop(gone.wait_for(|gone| *gone).await);
        self.end()
    }

    /// Kills it at once, and waits until it is gone.
    pub(crate) async fn kill(&self) {
        self.may_end();
        if self.kill.try_send(()).is_ok() {
            self.ended().await;
        }
    }

    /// Its end is expected from here on: what waits does not take it for a failure.
    pub(crate) fn may_end(&self) {
        let own = |ended: &watch::Receiver<Option<String>>| ended.same_channel(&self.ended);
        ENDS.with_borrow_mut(|ends| ends.retain(|ended| !own(ended)));
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.may_end();
    }
}

/// Fails the test of this thread when one of its peers has ended by itself.
///
/// # Panics
/// Then; tells how it ended and what it said.
pub(crate) fn check() {
    let dead = ENDS.with_borrow(|ends| ends.iter().find_map(|ended| ended.borrow().clone()));
    if let Some(dead) = dead {
        panic!("a peer is dead: {dead}");
    }
}

/// The last lines of a stream, when it has ended.
async fn tail(stream: impl AsyncRead + Unpin) -> VecDeque<String> {
    let mut lines = BufReader::new(stream).split(b'\n');
    let mut last = VecDeque::new();
    while let Ok(Some(line)) = lines.next_segment().await {
        if last.len() == TAIL_LINES {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    last
}

fn story(name: &str, status: std::io::Result<ExitStatus>, last: &VecDeque<String>) -> String {
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    let said: Vec<&str> = last.iter().map(String::as_str).collect();
    format!("{name}: {status}\nit said:\n{}", said.join("\n"))
}
