//! Kannel: bearerbox and smsbox from Debian, as an ESME nobody here wrote, against our simulator.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;

use crate::life::Life;
use crate::{Directory, Nobody, SOON, wait_for};

/// How long Kannel may take to answer a request.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Longest request of Kannel's that is read. Chosen: far above what its URLs have.
const REQUEST_OCTETS_MAX: usize = 16 * 1024;

/// Requests that are kept.
const CALLS_MAX: usize = 10_000;

/// How it binds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binds {
    /// One bind both ways: `transceiver-mode`.
    #[default]
    Transceiver,
    /// A transmitter and a receiver: one `group = smsc` with `port`, one with `receive-port`.
    Pair,
}

/// What its configuration has beyond the usual (Kannel's user guide, "SMPP" and "SMPP TLV").
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// How it binds.
    pub binds: Binds,
    /// Further lines of each `group = smsc`, whose smsc-id is `sim`.
    pub lines: String,
    /// Further groups.
    pub groups: String,
}

/// A PDU in the log of its bearerbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// It sent the PDU; otherwise it got it.
    pub sent: bool,
    /// As in SMPP v3.4 §4, such as `enquire_link_resp`.
    pub name: String,
}

/// A running Kannel; killed when dropped.
#[derive(Debug)]
pub struct Kannel {
    bearerbox: Life,
    smsbox: Life,
    /// Where its smsbox asks bearerbox.
    boxes: u16,
    sendsms: u16,
    admin: u16,
    /// Keeps these three ports.
    _ports: [Nobody; 3],
    /// Where it reports to.
    called: SocketAddr,
    calls: watch::Receiver<Vec<String>>,
    directory: Directory,
}

impl Kannel {
    /// Starts both of its processes, bound to an SMSC. What it took and has not handed over is kept
    /// in a spool: one file each.
    ///
    /// # Errors
    /// They cannot be run, or do not listen.
    pub async fn start(smsc: SocketAddr, setup: &Setup) -> anyhow::Result<Self> {
        let directory = Directory::new("kannel")?;
        // Kannel can neither pick a port nor tell it.
        let ports = [Nobody::new()?, Nobody::new()?, Nobody::new()?];
        let [admin, boxes, sendsms] = [0, 1, 2].map(|nth: usize| ports[nth].addr.port());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let called = listener.local_addr()?;
        let (tell, calls) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    if let Ok(path) = answer(stream).await {
                        tell.send_modify(|calls: &mut Vec<String>| {
                            if calls.len() < CALLS_MAX {
                                calls.push(path);
                            }
                        });
                    }
                });
            }
        });
        let path = directory.path().display();
        std::fs::create_dir(directory.path().join("spool"))?;
        let (host, port) = (smsc.ip(), smsc.port());
        let Setup { lines, groups, .. } = setup;
        let keys: &[&str] = match setup.binds {
            Binds::Transceiver => &["transceiver-mode = true\nport"],
            Binds::Pair => &["port", "receive-port"],
        };
        let group = |key: &&str| {
            format!(
                "group = smsc\nsmsc = smpp\nsmsc-id = sim\nhost = {host}\n{key} = {port}\n\
                 smsc-username = main\nsystem-type = \"\"\ninterface-version = 34\n\
                 reconnect-delay = 1\n{lines}\n\n"
            )
        };
        let binds: String = keys.iter().map(group).collect();
        let config = format!(
            "group = core\nadmin-port = {admin}\nadmin-interface = \"127.0.0.1\"\n\
             admin-password = admin\nsmsbox-port = {boxes}\nsmsbox-interface = \"127.0.0.1\"\n\
             log-file = \"{path}/bearerbox.log\"\nlog-level = 0\nsms-resend-freq = 1\n\
             store-type = spool\nstore-location = \"{path}/spool\"\n\n\
             {binds}{groups}\n\
             group = smsbox\nbearerbox-host = 127.0.0.1\nbearerbox-port = {boxes}\n\
             sendsms-port = {sendsms}\nsendsms-interface = \"127.0.0.1\"\n\
             log-file = \"{path}/smsbox.log\"\nlog-level = 0\n\n\
             group = sendsms-user\nusername = user\npassword = word\nmax-messages = 10\n\
             concatenation = true\n\n\
             group = sms-service\nkeyword = default\nmax-messages = 0\ncatch-all = true\n\
             get-url = \"http://{called}/mo?from=%p&to=%P&coding=%c&text=%a\"\n"
        );
        std::fs::write(config_of(&directory), config)?;
        let (bearerbox, smsbox) = run(&directory, boxes, sendsms).await?;
        Ok(Self {
            bearerbox,
            smsbox,
            boxes,
            sendsms,
            admin,
            _ports: ports,
            called,
            calls,
            directory,
        })
    }

    /// Ends both of its processes with SIGKILL.
    pub async fn kill(&mut self) {
        // Without bearerbox smsbox ends by itself.
        self.smsbox.may_end();
        self.bearerbox.kill().await;
        self.smsbox.kill().await;
    }

    /// Runs it again, with what it left behind.
    ///
    /// # Errors
    /// As [`Kannel::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        (self.bearerbox, self.smsbox) = run(&self.directory, self.boxes, self.sendsms).await?;
        Ok(())
    }

    /// The PDUs of its bearerbox so far, as its log has them.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn pdus(&self) -> anyhow::Result<Vec<Logged>> {
        let log = std::fs::read(self.directory.path().join("bearerbox.log"))?;
        let log = String::from_utf8_lossy(&log);
        let mut pdus = Vec::new();
        // "Got PDU:", "Sending PDU:" or "Sending enquire link:" stands before each dump.
        let mut sent = false;
        for line in log.lines().filter(|line| line.contains(" DEBUG: ")) {
            if line.contains("]: Got PDU") {
                sent = false;
            } else if line.contains("]: Sending ") {
                sent = true;
            } else if let Some((_, name)) = line.split_once("type_name: ") {
                let name = name.trim().to_owned();
                pdus.push(Logged { sent, name });
            }
        }
        Ok(pdus)
    }

    /// Has it send an SMS and report every state of it; `coding` 0 is the GSM alphabet, 2 is UCS-2.
    ///
    /// # Errors
    /// It does not take the message.
    pub async fn send(&self, to: &str, text: &str, coding: u8) -> anyhow::Result<()> {
        self.send_with(to, text, coding, "").await
    }

    /// [`Kannel::send`], with `meta-data`: `?smpp?name=value&name=value` has TLVs of those names.
    ///
    /// # Errors
    /// It does not take the message.
    pub async fn send_with(
        &self,
        to: &str,
        text: &str,
        coding: u8,
        meta_data: &str,
    ) -> anyhow::Result<()> {
        let dlr_url = format!("http://{}/dlr?to={to}&type=%d", self.called);
        let path = format!(
            "/cgi-bin/sendsms?username=user&password=word&from=12345&to={}&coding={coding}\
             &charset=UTF-8&dlr-mask=31&dlr-url={}&text={}&meta-data={}",
            escaped(to),
            escaped(&dlr_url),
            escaped(text),
            escaped(meta_data),
        );
        let answer = get(self.sendsms, &path).await?;
        if !answer.starts_with("HTTP/1.1 202") {
            bail!("Kannel does not take it: {answer}");
        }
        Ok(())
    }

    /// Its status page.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status(&self) -> anyhow::Result<String> {
        get(self.admin, "/status.txt?password=admin").await
    }

    /// Waits for a request of its whose path has all of this; the path.
    ///
    /// # Errors
    /// None came in time.
    pub async fn called(&self, has: &[&str]) -> anyhow::Result<String> {
        let find = |calls: &Vec<String>| {
            let wanted = |call: &&String| has.iter().all(|part| call.contains(part));
            calls.iter().find(wanted).cloned()
        };
        let mut calls = self.calls.clone();
        let waited = calls.wait_for(|calls| find(calls).is_some());
        let called = tokio::select! {
            waited = tokio::time::timeout(ANSWER_WITHIN, waited) => waited,
            Some(end) = self.bearerbox.ended() => bail!("it is dead: {end}"),
            Some(end) = self.smsbox.ended() => bail!("it is dead: {end}"),
        };
        match called {
            Ok(Ok(calls)) => find(&calls).context("it was there"),
            _ => bail!("no call with {has:?} among {:?}", *self.calls.borrow()),
        }
    }

    /// Has it unbind and end.
    ///
    /// # Errors
    /// It cannot be told, or does not end in time.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.bearerbox.may_end();
        self.smsbox.may_end();
        get(self.admin, "/shutdown?password=admin").await?;
        tokio::time::timeout(ANSWER_WITHIN, self.bearerbox.ended()).await?;
        self.smsbox.kill().await;
        Ok(())
    }
}

fn config_of(directory: &Directory) -> PathBuf {
    directory.path().join("kannel.conf")
}

/// Its bearerbox and its smsbox, when they listen on these ports.
async fn run(directory: &Directory, boxes: u16, sendsms: u16) -> anyhow::Result<(Life, Life)> {
    let start = |program: &str| -> anyhow::Result<Life> {
        let mut command = Command::new(program);
        command.args(["-v", "4"]).arg(config_of(directory));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Life::start(command)?.0)
    };
    let bearerbox = start("/usr/sbin/bearerbox")?;
    listens("bearerbox", boxes).await;
    let before = starts(directory);
    let smsbox = start("/usr/sbin/smsbox")?;
    listens("smsbox", sendsms).await;
    // It listens before it has connected to bearerbox, and Kannel 1.4.5 panics of a request by then.
    wait_for("smsbox to have started whole", SOON, async || {
        (starts(directory) > before).then_some(())
    })
    .await;
    Ok((bearerbox, smsbox))
}

/// How often its smsbox has come to the last step of a start, as its log has it.
fn starts(directory: &Directory) -> usize {
    let log = std::fs::read(directory.path().join("smsbox.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    log.matches(":heartbeat_thread)").count()
}

async fn listens(what: &str, port: u16) {
    wait_for(&format!("{what} to listen"), SOON, async || {
        TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
}

/// The path that was asked for; answers with an empty page.
async fn answer(mut stream: TcpStream) -> anyhow::Result<String> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > REQUEST_OCTETS_MAX || stream.read_buf(&mut request).await? == 0 {
            bail!("no request");
        }
    }
    let page = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(page).await?;
    let request = String::from_utf8(request)?;
    let path = request.split(' ').nth(1);
    Ok(path.context("no path")?.to_owned())
}

async fn get(port: u16, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: kannel\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(ANSWER_WITHIN, stream.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Percent-encoded (RFC 3986 §2.1).
fn escaped(text: &str) -> String {
    text.bytes().map(|octet| format!("%{octet:02X}")).collect()
}
