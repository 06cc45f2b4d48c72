//! Kannel: bearerbox and smsbox from Debian, as an ESME nobody here wrote, against our simulator.

use std::net::{SocketAddr, TcpListener as Probe};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::{Directory, SOON, wait_for};

/// How long Kannel may take to answer a request.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Longest request of Kannel's that is read. Chosen: far above what its URLs have.
const REQUEST_OCTETS_MAX: usize = 16 * 1024;

/// Requests that are kept.
const CALLS_MAX: usize = 10_000;

/// A running Kannel; killed when dropped.
#[derive(Debug)]
pub struct Kannel {
    bearerbox: Child,
    smsbox: Child,
    sendsms: u16,
    admin: u16,
    /// Where it reports to.
    called: SocketAddr,
    calls: watch::Receiver<Vec<String>>,
    _directory: Directory,
}

/// A port that was free a moment ago: Kannel can neither pick one nor tell it.
fn free_port() -> std::io::Result<u16> {
    Ok(Probe::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Kannel {
    /// Starts both of its processes, with one bind to an SMSC. `lines` are further ones of its
    /// `group = smsc`.
    ///
    /// # Errors
    /// They cannot be run, or do not listen.
    pub async fn start(smsc: SocketAddr, lines: &str) -> anyhow::Result<Self> {
        let directory = Directory::new("kannel")?;
        let (admin, boxes, sendsms) = (free_port()?, free_port()?, free_port()?);
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
        let (host, port) = (smsc.ip(), smsc.port());
        let config = format!(
            "group = core\nadmin-port = {admin}\nadmin-interface = \"127.0.0.1\"\n\
             admin-password = admin\nsmsbox-port = {boxes}\nsmsbox-interface = \"127.0.0.1\"\n\
             log-file = \"{path}/bearerbox.log\"\nlog-level = 0\nsms-resend-freq = 1\n\n\
             group = smsc\nsmsc = smpp\nsmsc-id = sim\nhost = {host}\nport = {port}\n\
             transceiver-mode = true\nsmsc-username = main\nsystem-type = \"\"\n\
             interface-version = 34\nreconnect-delay = 1\n{lines}\n\n\
             group = smsbox\nbearerbox-host = 127.0.0.1\nbearerbox-port = {boxes}\n\
             sendsms-port = {sendsms}\nsendsms-interface = \"127.0.0.1\"\n\
             log-file = \"{path}/smsbox.log\"\nlog-level = 0\n\n\
             group = sendsms-user\nusername = user\npassword = word\nmax-messages = 10\n\
             concatenation = true\n\n\
             group = sms-service\nkeyword = default\nmax-messages = 0\ncatch-all = true\n\
             get-url = \"http://{called}/mo?from=%p&to=%P&coding=%c&text=%a\"\n"
        );
        let file = directory.path().join("kannel.conf");
        std::fs::write(&file, config)?;
        let start = |program: &str| {
            Command::new(program)
                .args(["-v", "4"])
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .with_context(|| program.to_owned())
        };
        let bearerbox = start("/usr/sbin/bearerbox")?;
        listens("bearerbox", boxes).await;
        let smsbox = start("/usr/sbin/smsbox")?;
        listens("smsbox", sendsms).await;
        Ok(Self {
            bearerbox,
            smsbox,
            sendsms,
            admin,
            called,
            calls,
            _directory: directory,
        })
    }

    /// Has it send an SMS and report every state of it; `coding` 0 is the GSM alphabet, 2 is UCS-2.
    ///
    /// # Errors
    /// It does not take the message.
    pub async fn send(&self, to: &str, text: &str, coding: u8) -> anyhow::Result<()> {
        let dlr_url = format!("http://{}/dlr?to={to}&type=%d", self.called);
        let path = format!(
            "/cgi-bin/sendsms?username=user&password=word&from=12345&to={}&coding={coding}\
             &charset=UTF-8&dlr-mask=31&dlr-url={}&text={}",
            escaped(to),
            escaped(&dlr_url),
            escaped(text),
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
        match tokio::time::timeout(ANSWER_WITHIN, waited).await {
            Ok(Ok(calls)) => find(&calls).context("it was there"),
            _ => bail!("no call with {has:?} among {:?}", *self.calls.borrow()),
        }
    }

    /// Has it unbind and end.
    ///
    /// # Errors
    /// It cannot be told, or does not end in time.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        get(self.admin, "/shutdown?password=admin").await?;
        tokio::time::timeout(ANSWER_WITHIN, self.bearerbox.wait()).await??;
        self.smsbox.kill().await?;
        Ok(())
    }
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
