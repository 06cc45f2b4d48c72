//! `sim apns` and `sim fcm`: what they are told, and the files that a gateway needs to try them.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use sim::push::apns::{self, Apns, ApnsConfig};
use sim::push::fcm::{Fcm, FcmConfig};
use sim::push::{Config, Identity, Report, Running};

use super::Failure;
use super::verbs::{Signals, runtime, show};

/// What both are told.
#[derive(Debug, Args)]
pub struct SimPush {
    /// Where it listens for HTTP/2 over TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Its certificate, as PEM; without, it makes one for localhost, 127.0.0.1 and ::1
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The certificate's key, as PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Writes the CA that a gateway has to trust to this file
    #[arg(long, value_name = "FILE", conflicts_with = "cert")]
    pub ca_out: Option<PathBuf>,
    /// Writes all that a gateway needs into this directory: credentials, and the CA as ca.pem
    #[arg(long, value_name = "DIR")]
    pub credentials_out: Option<PathBuf>,
    /// Where it takes orders in plain HTTP: GET /report, POST /goaway, /kill, /streams?max=1,
    /// /stall?on=true, /latency?ms=40, /clock?ahead_ms=0, /revoke (apns: /revoke?key_id=ID); fcm: the token endpoint too
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<SocketAddr>,
    /// Milliseconds before each answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u32,
    /// Up to so many milliseconds more
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub jitter_ms: u32,
    /// Streams that a connection may have open, in place of Apple's 1000 or Google's 100
    #[arg(long, value_name = "COUNT")]
    pub streams: Option<u32>,
    /// Keeps so many of the last requests for GET /requests
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub keep: usize,
}

/// `sim apns`.
#[derive(Debug, Args)]
pub struct SimApns {
    /// What FCM is told, too.
    #[command(flatten)]
    pub push: SimPush,
    /// A key's id; the simulator knows it beside the one that it makes
    #[arg(long, value_name = "ID", requires_all = ["team_id", "public_key"])]
    pub key_id: Option<String>,
    /// The team of that key
    #[arg(long, value_name = "ID", requires = "key_id")]
    pub team_id: Option<String>,
    /// That key: its public half as PEM, or the .p8 file itself
    #[arg(long, value_name = "FILE", requires = "key_id")]
    pub public_key: Option<PathBuf>,
    /// An app that the key may send to; several are allowed, none: all
    #[arg(long, value_name = "BUNDLE_ID", requires = "key_id")]
    pub topic: Vec<String>,
    /// A CA, as PEM, whose certificates clients may show in place of tokens
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// Streams of a connection before its first valid token
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub streams_first: u32,
    /// A refused push leaves a connection one stream, until one is accepted
    #[arg(long)]
    pub shrink_on_reject: bool,
    /// Answers tell apns-unique-id, as Apple's development environment does
    #[arg(long)]
    pub sandbox: bool,
}

/// `sim fcm`.
#[derive(Debug, Args)]
pub struct SimFcm {
    /// What APNs is told, too.
    #[command(flatten)]
    pub push: SimPush,
    /// The project that messages belong to
    #[arg(long, value_name = "ID", default_value = "trunkline-sim")]
    pub project: String,
    /// Seconds that an access token lives
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    pub access_seconds: u32,
}

/// What a simulator says of itself when it has started: names and values, in this order.
type Said = Vec<(&'static str, String)>;

impl SimPush {
    fn config(&self, plain: Config) -> Result<Config, Failure> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some(Identity {
                certificates: read("--cert", cert)?,
                key: read("--key", key)?,
            }),
            _ => None,
        };
        Ok(Config {
            listen: self.listen,
            identity,
            control: self.control.or(plain.control),
            streams: self.streams.unwrap_or(plain.streams),
            latency_ms: self.latency_ms,
            jitter_ms: self.jitter_ms,
            last_max: self.keep,
            ..plain
        })
    }

    /// Writes the CA where it is wanted; what was written, and where it listens.
    fn started(&self, running: &Running) -> Result<Said, Failure> {
        let mut said = vec![("listening", running.addr().to_string())];
        if let Some(control) = running.control() {
            said.push(("control", format!("http://{control}")));
        }
        if let Some(dir) = &self.credentials_out {
            std::fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
        }
        let Some(ca) = running.ca() else {
            return Ok(said);
        };
        if let Some(file) = &self.ca_out {
            write(file, ca)?;
            said.push(("ca", file.display().to_string()));
        }
        self.put(&mut said, "ca", "ca.pem", ca)?;
        Ok(said)
    }

    /// Writes a file of the directory for credentials, if there is one.
    fn put(
        &self,
        said: &mut Said,
        what: &'static str,
        name: &str,
        text: &str,
    ) -> Result<(), Failure> {
        if let Some(dir) = &self.credentials_out {
            let file = dir.join(name);
            write(&file, text)?;
            said.push((what, file.display().to_string()));
        }
        Ok(())
    }
}

/// `sim apns`: runs until it is stopped.
pub(super) fn sim_apns(asked: &SimApns, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let plain = ApnsConfig::default();
    let mut common = asked.push.config(plain.common)?;
    if let Some(file) = &asked.client_ca {
        common.client_ca = Some(read("--client-ca", file)?);
    }
    let mut keys = Vec::new();
    if let (Some(id), Some(team), Some(file)) = (&asked.key_id, &asked.team_id, &asked.public_key) {
        let public = apns::public_key(&read("--public-key", file)?)
            .map_err(|error| Failure::usage(format!("--public-key: {error:#}")))?;
        let topics = Some(asked.topic.clone()).filter(|topics| !topics.is_empty());
        keys.push(apns::Key {
            topics,
            ..apns::Key::new(id, team, public)
        });
    }
    let config = ApnsConfig {
        common,
        keys,
        streams_first: asked.streams_first,
        shrink_on_reject: asked.shrink_on_reject,
        sandbox: asked.sandbox,
        ..ApnsConfig::default()
    };
    runtime()?.block_on(async {
        let signals = Signals::new()?;
        let sim = Apns::start(config).await.map_err(not_started)?;
        let mut said = asked.push.started(&sim)?;
        let key = sim.credentials();
        said.push(("team_id", key.team_id.to_owned()));
        said.push(("key_id", key.key_id.to_owned()));
        let name = format!("AuthKey_{}.p8", key.key_id);
        let push = &asked.push;
        push.put(&mut said, "key", &name, &key.p8)?;
        let client = sim.client();
        push.put(&mut said, "certificate", "client.pem", &client.certificates)?;
        push.put(&mut said, "certificate_key", "client-key.pem", &client.key)?;
        until_stopped(signals, said, json, out, sim.stop()).await
    })
}

/// `sim fcm`: runs until it is stopped.
pub(super) fn sim_fcm(asked: &SimFcm, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let plain = FcmConfig::default();
    let config = FcmConfig {
        common: asked.push.config(plain.common)?,
        project: asked.project.clone(),
        access_seconds: asked.access_seconds,
        accounts: Vec::new(),
    };
    runtime()?.block_on(async {
        let signals = Signals::new()?;
        let sim = Fcm::start(config).await.map_err(not_started)?;
        let mut said = asked.push.started(&sim)?;
        said.push(("token_uri", sim.token_uri().to_owned()));
        said.push(("project", asked.project.clone()));
        let file = "service-account.json";
        let push = &asked.push;
        push.put(&mut said, "account", file, &sim.service_account())?;
        until_stopped(signals, said, json, out, sim.stop()).await
    })
}

/// Says what there is to say, waits for a signal, and shows what was seen.
async fn until_stopped(
    mut signals: Signals,
    said: Said,
    json: bool,
    out: &mut dyn Write,
    stop: impl Future<Output = Report>,
) -> Result<(), Failure> {
    announce(&said, json, out)?;
    signals.stop().await;
    show(out, json, &stop.await)
}

fn announce(said: &Said, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        let said = said
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)));
        writeln!(out, "{}", Value::Object(said.collect::<Map<_, _>>()))?;
    } else {
        for (name, value) in said {
            writeln!(out, "{name}: {value}")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn not_started(error: anyhow::Error) -> Failure {
    Failure::failed(format!("{error:#}"))
}

fn failed(file: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", file.display()))
}

fn read(option: &str, file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file);
    text.map_err(|error| Failure::usage(format!("{option} {}: {error}", file.display())))
}

/// Writes a file that only its owner reads: some hold keys.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file);
    let written = opened.and_then(|mut to| to.write_all(text.as_bytes()));
    written.map_err(|error| failed(file, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TempDir;

    fn plain(dir: &Path) -> SimPush {
        SimPush {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cert: None,
            key: None,
            ca_out: None,
            credentials_out: Some(dir.join("new")),
            control: None,
            latency_ms: 0,
            jitter_ms: 0,
            streams: None,
            keep: 0,
        }
    }

    #[tokio::test]
    async fn credentials_are_written_for_their_owner_alone_and_read_by_the_codecs() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = TempDir::new();
        let push = plain(&dir.0);
        let config = FcmConfig {
            common: push.config(FcmConfig::default().common).unwrap(),
            ..FcmConfig::default()
        };
        let fcm = Fcm::start(config).await.unwrap();
        let mut said = push.started(&fcm).unwrap();
        let account = fcm.service_account();
        push.put(&mut said, "account", "account.json", &account)
            .unwrap();
        let names: Vec<&str> = said.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["listening", "control", "ca", "account"]);
        let file = dir.0.join("new/account.json");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let account = codecs::fcm::ServiceAccount::parse(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(&*account.token_uri, fcm.token_uri());
        let mut out = Vec::new();
        announce(&said, true, &mut out).unwrap();
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["listening"], fcm.addr().to_string());
    }

    #[tokio::test]
    async fn the_directory_is_made_with_a_certificate_of_ones_own_too() {
        let dir = TempDir::new();
        let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let (cert, key) = (dir.0.join("cert.pem"), dir.0.join("key.pem"));
        std::fs::write(&cert, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        let push = SimPush {
            cert: Some(cert),
            key: Some(key),
            ..plain(&dir.0)
        };
        let common = push.config(ApnsConfig::default().common).unwrap();
        let config = ApnsConfig {
            common,
            ..ApnsConfig::default()
        };
        let apns = Apns::start(config).await.unwrap();
        let mut said = push.started(&apns).unwrap();
        push.put(&mut said, "key", "key.p8", &apns.credentials().p8)
            .unwrap();
        assert!(dir.0.join("new/key.p8").is_file());
        assert!(!dir.0.join("new/ca.pem").exists(), "there is none");
    }

    #[test]
    fn a_file_that_is_not_there_is_a_usage_mistake_with_its_option() {
        let push = SimPush {
            cert: Some("/nowhere/cert.pem".into()),
            key: Some("/nowhere/key.pem".into()),
            ..plain(Path::new("/nowhere"))
        };
        let failure = push.config(Config::default()).unwrap_err();
        assert_eq!(failure.exit, super::super::Exit::Usage);
        assert!(failure.message.starts_with("--cert /nowhere/cert.pem: "));
    }
}
