//! The gateway as a process: started on a directory, killed, stopped, started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::config::{ENVIRONMENT, Setup};
use crate::http::Client;

/// How long a start may take, recovery included.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long a stop may take: what is in flight is waited for.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// A temporary directory with the gateway's config, its store and what it logged. Removed when
/// dropped, unless the test fails: then it is kept, and its path is printed.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// A new one.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(name: &str) -> std::io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trunkline-{name}-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The store in it.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// The config file in it.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path.join("gateway.toml")
    }

    /// Writes the config.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, setup: &Setup) -> std::io::Result<()> {
        std::fs::write(self.config(), setup.toml(&self.path))
    }

    /// What all gateways in it have logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path.join("stderr.log")).unwrap_or_default()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(4_000);
            let tail = log.get(from..).unwrap_or_default();
            eprintln!("kept: {}\nits log ends:\n{tail}", self.path.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("{} stays: {error}", self.path.display());
        }
    }
}

/// The gateway's binary: `TRUNKLINE_BIN`, or the one that cargo built beside the running test.
///
/// # Errors
/// It is not there.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("TRUNKLINE_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let beside = test.parent().and_then(Path::parent);
    let path = beside
        .context("the test has no directory")?
        .join("trunkline-tested");
    ensure!(
        path.is_file(),
        "{}: not built; run `cargo test`",
        path.display()
    );
    Ok(path)
}

/// Runs a verb to its end.
///
/// # Errors
/// It cannot be started, or does not end within a minute.
pub async fn run(args: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary()?);
    command.args(args).envs(ENVIRONMENT).stdin(Stdio::null());
    command.kill_on_drop(true);
    let output = tokio::time::timeout(STOP_WITHIN, command.output()).await;
    Ok(output.context("the verb did not end")??)
}

/// A running gateway; killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    /// The public API.
    pub api: SocketAddr,
    /// The admin listener.
    pub admin: SocketAddr,
    /// All that it says about where it listens.
    pub listening: Value,
}

/// A gateway that ended before it was ready.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it said on stderr.
    pub said: String,
}

impl Gateway {
    /// Starts it on a configured directory and waits until it is ready.
    ///
    /// # Errors
    /// It ends before, or is not ready in time.
    pub async fn start(directory: &Directory) -> anyhow::Result<Self> {
        match Self::try_start(directory, &[]).await? {
            Ok(gateway) => Ok(gateway),
            Err(Ended { code, said }) => bail!("the gateway ended with {code:?}: {said}"),
        }
    }

    /// As [`Self::start`], with further environment; a start that it refuses is told apart.
    ///
    /// # Errors
    /// It cannot be run, or is not ready in time.
    pub async fn try_start(
        directory: &Directory,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Result<Self, Ended>> {
        let log = directory.path().join("stderr.log");
        let before = std::fs::metadata(&log).map_or(0, |log| log.len());
        let log_file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)?;
        let mut child = Command::new(binary()?)
            .args(["serve", "--json", "--config"])
            .arg(directory.config())
            .envs(ENVIRONMENT)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
        let Some(line) = ready.context("the gateway was not ready in time")?? else {
            let code = child.wait().await?.code();
            let said = std::fs::read_to_string(&log)?;
            let from = usize::try_from(before)?;
            let said = said.get(from..).unwrap_or_default().to_owned();
            return Ok(Err(Ended { code, said }));
        };
        // Whatever it still says must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let ready: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        let addr = |part: &str| -> anyhow::Result<SocketAddr> {
            let addr = ready["listening"][part].as_str();
            Ok(addr.with_context(|| line.clone())?.parse()?)
        };
        Ok(Ok(Self {
            api: addr("api")?,
            admin: addr("admin")?,
            listening: ready["listening"].clone(),
            child,
        }))
    }

    /// A client of its API.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.api)
    }

    /// A client of its admin listener.
    #[must_use]
    pub fn admin_client(&self) -> Client {
        Client::new(self.admin)
    }

    /// Resident memory in bytes, now.
    ///
    /// # Errors
    /// It has ended.
    pub fn rss_bytes(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
        Ok(kib.context("no VmRSS")?.trim().parse::<u64>()? << 10)
    }

    /// Kills it at once, as kill -9 does, and waits for its end.
    ///
    /// # Errors
    /// It cannot be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// It has ended.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        // The shell's kill: our crates have no unsafe code to call it with.
        let pid = self.child.id().context("it has ended")?.to_string();
        let kill = ["-c", "kill -TERM \"$0\"", &pid];
        let sent = Command::new("sh").args(kill).status().await?;
        ensure!(sent.success(), "no signal sent");
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let ended = tokio::time::timeout(STOP_WITHIN, self.child.wait()).await;
        Ok(ended.context("the gateway did not end in time")??)
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// It does not end in time, or not with code 0.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.terminate().await?;
        let status = self.ended().await?;
        ensure!(status.success(), "the gateway ended with {status}");
        Ok(())
    }
}
