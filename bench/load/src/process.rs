//! Child processes: started, awaited, measured from /proc, ended.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Clock ticks per second in /proc: USER_HZ, which is 100 on every Linux of the last decades.
const TICKS_PER_SECOND: f64 = 100.0;

/// Longest start: the recovery of five million messages is among them.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Longest end: a gateway settles and syncs what is in flight.
const END_WITHIN: Duration = Duration::from_secs(60);

/// A child that says on stdout, in one line of JSON, when it is ready and where it listens.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    pid: u32,
    stdout: Lines<BufReader<ChildStdout>>,
    /// The line it was ready with.
    pub(crate) ready: Value,
}

impl Process {
    /// Starts the program and waits for its line.
    pub(crate) async fn start(
        name: &'static str,
        program: &Path,
        args: &[String],
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {} for {name}", program.display()))?;
        let pid = child.id().context("the process has ended")?;
        let stdout = child.stdout.take().context("the process has no stdout")?;
        let mut stdout = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(READY_WITHIN, json_line(&mut stdout))
            .await
            .with_context(|| format!("{name} was not ready in time"))?
            .with_context(|| format!("{name} ended before it was ready"))?;
        Ok(Self {
            name,
            child,
            pid,
            stdout,
            ready,
        })
    }

    /// The address that the ready line gives: of `listening.<part>`, or of `listening` or `addr`.
    pub(crate) fn addr(&self, part: &str) -> anyhow::Result<SocketAddr> {
        addr(&self.ready, part)
            .with_context(|| format!("{} names no address in {}", self.name, self.ready))
    }

    /// CPU seconds used so far, user and system.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(&self.pid.to_string())
    }

    /// CPU seconds used so far, by thread name: the store's threads, and the runtime's, which run the
    /// stages. Threads that have ended are left out.
    pub(crate) fn cpu_by_thread(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        let mut by_name = BTreeMap::new();
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let path = thread?.path();
            let (Ok(name), Ok(stat)) = (
                std::fs::read_to_string(path.join("comm")),
                std::fs::read_to_string(path.join("stat")),
            ) else {
                continue;
            };
            let ticks = stat_ticks(&stat).context("odd /proc stat")?;
            *by_name.entry(name.trim().to_owned()).or_default() += ticks as f64 / TICKS_PER_SECOND;
        }
        Ok(by_name)
    }

    /// Resident memory in bytes, now.
    pub(crate) fn rss_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        status_kib(&status, "VmRSS:")
            .map(|kib| kib << 10)
            .context("no VmRSS")
    }

    /// Highest resident memory in bytes, ever.
    pub(crate) fn rss_peak_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        status_kib(&status, "VmHWM:")
            .map(|kib| kib << 10)
            .context("no VmHWM")
    }

    /// Sends SIGTERM and waits for the end: the last line of JSON that it wrote, if any.
    pub(crate) async fn terminate(&mut self) -> anyhow::Result<Option<Value>> {
        // The shell's kill: our crates have no unsafe code to call it with.
        let pid = self.pid.to_string();
        let kill = ["-c", "kill -TERM \"$0\"", &pid];
        let sent = Command::new("sh").args(kill).status().await?;
        ensure!(sent.success(), "cannot signal {}", self.name);
        let ended = tokio::time::timeout(END_WITHIN, async {
            let mut last = None;
            while let Some(line) = self.stdout.next_line().await? {
                last = serde_json::from_str(&line).ok().or(last);
            }
            self.child.wait().await?;
            anyhow::Ok(last)
        });
        ended
            .await
            .with_context(|| format!("{} did not end in time", self.name))?
    }
}

async fn json_line(stdout: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<Value> {
    while let Some(line) = stdout.next_line().await? {
        if let Ok(value @ Value::Object(_)) = serde_json::from_str(&line) {
            return Ok(value);
        }
    }
    anyhow::bail!("no line of JSON on stdout")
}

fn addr(ready: &Value, part: &str) -> Option<SocketAddr> {
    let listening = &ready["listening"];
    let text = listening[part]
        .as_str()
        .or(listening.as_str())
        .or_else(|| ready["addr"].as_str());
    text?.parse().ok()
}

/// CPU seconds of this process, user and system.
pub(crate) fn own_cpu_seconds() -> anyhow::Result<f64> {
    cpu_seconds("self")
}

fn cpu_seconds(pid: &str) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    stat_ticks(&stat)
        .map(|ticks| ticks as f64 / TICKS_PER_SECOND)
        .context("odd /proc stat")
}

/// utime + stime, fields 14 and 15 of /proc/pid/stat (proc(5)); the second, the name, may hold
/// blanks and parentheses.
fn stat_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn status_kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 3 0 99 1 1";
        assert_eq!(stat_ticks(stat), Some(200));
        assert_eq!(stat_ticks("7 (a"), None);
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_kib(status, "VmRSS:"), Some(1024));
        assert_eq!(status_kib(status, "VmSwap:"), None);
        assert!(own_cpu_seconds().unwrap() >= 0.0);
    }

    #[test]
    fn finds_the_address_in_each_form_of_the_ready_line() {
        let expected = Some("127.0.0.1:7".parse().unwrap());
        for line in [
            r#"{"listening":{"api":"127.0.0.1:7","admin":"127.0.0.1:8"}}"#,
            r#"{"listening":"127.0.0.1:7"}"#,
            r#"{"addr":"127.0.0.1:7"}"#,
        ] {
            assert_eq!(
                addr(&serde_json::from_str(line).unwrap(), "api"),
                expected,
                "{line}"
            );
        }
        assert_eq!(addr(&serde_json::json!({"listening": {}}), "api"), None);
    }

    #[tokio::test]
    async fn starts_measures_and_ends_a_child() {
        let script = r#"trap 'echo "{\"n\":2}"; exit 0' TERM
            echo starting; echo '{"addr":"127.0.0.1:7"}'; while :; do sleep 0.01; done"#;
        let args = ["-c".to_owned(), script.to_owned()];
        let mut child = Process::start("test", Path::new("/bin/sh"), &args, &[])
            .await
            .unwrap();
        assert_eq!(child.addr("any").unwrap().port(), 7);
        assert!(child.rss_bytes().unwrap() > 0);
        assert!(child.rss_peak_bytes().unwrap() >= child.rss_bytes().unwrap());
        assert!(child.cpu_seconds().unwrap() >= 0.0);
        assert!(child.cpu_by_thread().unwrap().contains_key("sh"));
        assert_eq!(
            child.terminate().await.unwrap(),
            Some(serde_json::json!({"n": 2}))
        );
    }
}
