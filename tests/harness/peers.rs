//! Peers that nobody here wrote: SMSCs in three languages, and the official webhook verifiers.
//!
//! `tests/run` installs them and sets `TRUNKLINE_PEERS=required`: then a missing peer fails its test.
//! Without, the test is left out, and says so by name past the test runner's capture.

use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::Directory;
use crate::process::{LINE_WITHIN, Process};

/// How long an oracle may take for all of its cases: seconds, on a machine that is not busy.
const ORACLE_WITHIN: Duration = Duration::from_secs(240);

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Whether the peer that `file` belongs to is installed. If not, the test called `test` is left out
/// and told by name.
///
/// # Panics
/// When it is not installed and `TRUNKLINE_PEERS=required`.
fn installed(test: &str, peer: &str, file: &Path) -> bool {
    if file.exists() {
        return true;
    }
    let required = std::env::var("TRUNKLINE_PEERS").is_ok_and(|value| value == "required");
    assert!(
        !required,
        "{test}: {peer} is required but not installed: tests/run --set-up"
    );
    // Straight to stderr: the test runner captures only what print! and eprint! write.
    let line = format!("left out: {test} (needs {peer}; tests/run installs it)\n");
    drop(std::io::stderr().write_all(line.as_bytes()));
    false
}

/// Whether npm's packages are there, for a test of this name.
#[must_use]
pub fn npm(test: &str, package: &str) -> bool {
    let package_dir = directory().join("node_modules").join(package);
    installed(test, &format!("npm's {package}"), &package_dir)
}

/// Whether PyPI's packages are there, for a test of this name.
#[must_use]
pub fn pypi(test: &str, package: &str) -> bool {
    let python = directory().join(".venv/bin/python");
    installed(test, &format!("PyPI's {package}"), &python)
}

/// Whether a file of a Debian package is there, for a test of this name.
#[must_use]
pub fn debian(test: &str, package: &str, file: &str) -> bool {
    installed(test, &format!("Debian's {package}"), Path::new(file))
}

/// Whether node is there, for a test of this name whose script needs no package.
#[must_use]
pub fn node(test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|dir| dir.join("node"));
    let found = files.find(|file| file.is_file());
    installed(test, "Debian's nodejs", &found.unwrap_or_default())
}

/// A program of `tests/peers`, run by its language.
pub(crate) fn script_of(program: &str, script: &str) -> Command {
    let program = match program {
        "python" => directory().join(".venv/bin/python"),
        other => other.into(),
    };
    let mut command = Command::new(program);
    command.arg(directory().join(script));
    command
}

/// A verifier: feeds requests to the official library and says what it thinks of each.
///
/// # Errors
/// It cannot be run, or answers other than a line for each request.
pub async fn verify(program: &str, script: &str, requests: &[Value]) -> anyhow::Result<Vec<Value>> {
    answers(program, script, requests, LINE_WITHIN).await
}

/// An oracle: feeds cases to a program that nobody here wrote, in one process, and collects its answers.
///
/// # Errors
/// It cannot be run, or answers other than a line for each case.
pub async fn oracle(program: &str, script: &str, cases: &[Value]) -> anyhow::Result<Vec<Value>> {
    answers(program, script, cases, ORACLE_WITHIN).await
}

async fn answers(
    program: &str,
    script: &str,
    requests: &[Value],
    within: Duration,
) -> anyhow::Result<Vec<Value>> {
    let mut child = script_of(program, script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = Vec::new();
    for request in requests {
        serde_json::to_writer(&mut input, request)?;
        input.push(b'\n');
    }
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    let feed = tokio::spawn(async move {
        stdin.write_all(&input).await?;
        stdin.shutdown().await
    });
    let output = tokio::time::timeout(within, child.wait_with_output()).await??;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {script}: {}; it said: {said}", output.status);
    }
    feed.await??;
    let lines = output.stdout.split(|octet| *octet == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    let verdicts: Vec<Value> = lines
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()?;
    if verdicts.len() != requests.len() {
        bail!("{} verdicts of {} requests", verdicts.len(), requests.len());
    }
    Ok(verdicts)
}

/// An SMSC that nobody here wrote. All of them take the account `main` with [`PASSWORD`](crate::config::PASSWORD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// npm's node-smpp.
    Node,
    /// The same behind TLS, with the certificate of [`Keys`].
    NodeTls,
    /// PyPI's smpp.twisted3, Jasmin's library.
    Twisted,
    /// Debian's Net::SMPP.
    NetSmpp,
}

impl Carrier {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Node, Self::NodeTls, Self::Twisted, Self::NetSmpp];

    /// Whether it is installed, for a test of this name.
    #[must_use]
    pub fn installed(self, test: &str) -> bool {
        match self {
            Self::Node | Self::NodeTls => npm(test, "smpp"),
            Self::Twisted => pypi(test, "smpp.twisted3"),
            Self::NetSmpp => debian(test, "libnet-smpp-perl", "/usr/share/perl5/Net/SMPP.pm"),
        }
    }

    fn command(self) -> Command {
        match self {
            Self::Node | Self::NodeTls => script_of("node", "smsc.js"),
            Self::Twisted => script_of("python", "smsc.py"),
            Self::NetSmpp => script_of("perl", "smsc.pl"),
        }
    }
}

/// An SMSC that nobody here wrote, in a process of its own.
#[derive(Debug)]
pub struct CarrierProcess {
    process: Process,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its key and certificate. `None` without TLS.
    pub keys: Option<Keys>,
}

impl Deref for CarrierProcess {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for CarrierProcess {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A key and its own certificate for `localhost`, as PEM files.
#[derive(Debug)]
pub struct Keys(Directory);

impl Keys {
    fn new() -> anyhow::Result<Self> {
        let keys = Self(Directory::new("carrier-keys")?);
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        std::fs::write(keys.key(), made.signing_key.serialize_pem())?;
        std::fs::write(keys.certificate(), made.cert.pem())?;
        Ok(keys)
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// What a route has to trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }
}

impl CarrierProcess {
    /// Starts it; port 0 picks a free one.
    ///
    /// # Errors
    /// It cannot be run or does not listen.
    pub async fn start(carrier: Carrier, port: u16) -> anyhow::Result<Self> {
        let keys = match carrier {
            Carrier::NodeTls => Some(Keys::new()?),
            _ => None,
        };
        Self::start_with(carrier, port, keys).await
    }

    /// Starts it once more with the keys of an earlier one.
    ///
    /// # Errors
    /// It cannot be run or does not listen.
    pub async fn start_with(
        carrier: Carrier,
        port: u16,
        keys: Option<Keys>,
    ) -> anyhow::Result<Self> {
        let mut command = carrier.command();
        command.arg(port.to_string());
        if let Some(keys) = &keys {
            command.args([keys.key(), keys.certificate()]);
        }
        let mut process = Self {
            process: Process::start(command).with_context(|| format!("{carrier:?}"))?,
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            keys,
        };
        let listening = process.said("listening", |_| true).await?;
        let port = listening["port"].as_u64().context("no port")?;
        process.addr.set_port(u16::try_from(port)?);
        Ok(process)
    }

    /// Has it send a delivery receipt for a message id.
    ///
    /// # Errors
    /// It has ended.
    pub async fn send_receipt(&mut self, id: &str, stat: &str) -> anyhow::Result<()> {
        self.order("receipt", json!({"id": id, "stat": stat})).await
    }
}
