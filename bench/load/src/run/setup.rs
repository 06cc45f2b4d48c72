//! The processes of a case and the gateway's configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::message::To;
use crate::process::Process;

/// The API key of the load. 32 characters or more (contract §5).
pub(crate) const API_KEY: &str = "load-key-0123456789-0123456789-0123456789";

/// The endpoint's secret: 24 octets.
const WEBHOOK_SECRET: &str = "whsec_bG9hZC1sb2FkLWxvYWQtbG9hZC1sb2Fk";

/// The bind's password.
const SMPP_PASSWORD: &str = "load";

/// FCM's quota; by default it is 10,000/s (push.md §2), and this is no test of a bucket.
const FCM_QUOTA: &str = "60000000/min";

/// What a push service is told, and the gateway of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Push {
    pub(crate) to: To,
    pub(crate) latency_ms: u32,
    /// APNs' streams before the first valid token.
    pub(crate) streams_first: u32,
    /// The route's `connections`.
    pub(crate) connections: usize,
}

/// What a case asks of the processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wants {
    /// A push service beside the SMSC.
    pub(crate) push: Option<Push>,
    /// Whether the SMSC runs from the start.
    pub(crate) smsc: bool,
    pub(crate) smsc_delay_ms: u64,
    /// The route's segments per second and its burst; unlimited if absent.
    pub(crate) route_rate: Option<(u64, u64)>,
    /// Segments in a second beyond which the SMSC counts a violation and throttles.
    pub(crate) contract: Option<u64>,
    /// `limits.queued`.
    pub(crate) queued: Option<u64>,
    pub(crate) webhook_wait_ms: u64,
}

/// The running processes.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) gateway: Process,
    pub(crate) api: SocketAddr,
    pub(crate) receiver_addr: SocketAddr,
    receiver: Process,
    push: Option<Process>,
    smsc: Option<Process>,
    smsc_addr: SocketAddr,
    faults: String,
    trunkline: PathBuf,
    dir: PathBuf,
}

impl Bench {
    /// Starts receiver, SMSC and gateway, in this order.
    pub(crate) async fn start(
        trunkline: &Path,
        below: &Path,
        wants: &Wants,
    ) -> anyhow::Result<Self> {
        let dir = below.join(format!("run-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let args = [
            "sim",
            "receiver",
            "--listen",
            "127.0.0.1:0",
            "--secret-env",
            "LOAD_WEBHOOK_SECRET",
            "--json",
        ];
        let env = [("LOAD_WEBHOOK_SECRET", WEBHOOK_SECRET)];
        let receiver = Process::start("receiver", trunkline, &owned(&args), &env).await?;
        let receiver_addr = receiver.addr("receiver")?;
        let faults = faults(wants);
        let (smsc, smsc_addr) = if wants.smsc {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let smsc = smsc(trunkline, any, &faults).await?;
            let addr = smsc.addr("smsc")?;
            (Some(smsc), addr)
        } else {
            // A port that was free just now: nobody listens there until the SMSC comes up.
            let probe = std::net::TcpListener::bind("127.0.0.1:0")?;
            (None, probe.local_addr()?)
        };
        let mut config = config(&dir.join("store"), smsc_addr, receiver_addr, wants);
        let mut push = None;
        if let Some(wanted) = wants.push {
            let service = push_service(trunkline, &dir, wanted).await?;
            config.push_str(&push_route(&service, wanted)?);
            push = Some(service);
        }
        std::fs::write(dir.join("gateway.toml"), config)?;
        let gateway = gateway(trunkline, &dir).await?;
        let api = gateway.addr("api")?;
        let trunkline = trunkline.to_owned();
        Ok(Self {
            gateway,
            api,
            receiver_addr,
            receiver,
            push,
            smsc,
            smsc_addr,
            faults,
            trunkline,
            dir,
        })
    }

    /// Starts the SMSC where the gateway looks for it.
    pub(crate) async fn start_smsc(&mut self) -> anyhow::Result<()> {
        self.smsc = Some(smsc(&self.trunkline, self.smsc_addr, &self.faults).await?);
        Ok(())
    }

    /// Ends the gateway and starts it again: when the new process was started, in milliseconds
    /// since 1970.
    pub(crate) async fn restart_gateway(&mut self) -> anyhow::Result<u64> {
        self.gateway.terminate().await?;
        let at = super::now_ms();
        self.gateway = gateway(&self.trunkline, &self.dir).await?;
        self.api = self.gateway.addr("api")?;
        Ok(at)
    }

    /// CPU seconds of the push service so far.
    pub(crate) fn push_cpu_seconds(&self) -> anyhow::Result<f64> {
        self.push.as_ref().map_or(Ok(0.0), Process::cpu_seconds)
    }

    /// Ends all: their last reports. The directory goes unless it is to stay.
    pub(crate) async fn end(mut self, keep: bool) -> anyhow::Result<Reports> {
        self.gateway.terminate().await?;
        let reports = Reports {
            smsc: last(self.smsc).await?,
            push: last(self.push).await?,
            receiver: self.receiver.terminate().await?,
        };
        if !keep {
            std::fs::remove_dir_all(&self.dir)?;
        }
        Ok(reports)
    }
}

/// What the peers saw, in all.
#[derive(Debug)]
pub(crate) struct Reports {
    pub(crate) receiver: Option<Value>,
    pub(crate) smsc: Option<Value>,
    pub(crate) push: Option<Value>,
}

async fn last(process: Option<Process>) -> anyhow::Result<Option<Value>> {
    match process {
        Some(mut process) => process.terminate().await,
        None => Ok(None),
    }
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}

/// The SMSC's configuration.
fn faults(wants: &Wants) -> String {
    let mut faults = serde_json::json!({"delay_ms": wants.smsc_delay_ms});
    if let Some(contract) = wants.contract {
        faults["per_second"] = contract.into();
    }
    serde_json::json!({"faults": faults}).to_string()
}

async fn smsc(trunkline: &Path, at: SocketAddr, faults: &str) -> anyhow::Result<Process> {
    let at = at.to_string();
    let args = owned(&["sim", "smsc", "--listen", &at, "--config", faults, "--json"]);
    Process::start("smsc", trunkline, &args, &[]).await
}

/// A push service that takes everything; its credentials are in `dir`.
pub(crate) async fn push_service(
    trunkline: &Path,
    dir: &Path,
    wanted: Push,
) -> anyhow::Result<Process> {
    let name = match wanted.to {
        To::Android => "fcm",
        _ => "apns",
    };
    let (dir, latency) = (dir.display().to_string(), wanted.latency_ms.to_string());
    let mut args = owned(&["sim", name, "--credentials-out", &dir, "--json"]);
    args.extend(owned(&["--latency-ms", &latency]));
    if name == "apns" {
        args.extend(owned(&[
            "--streams-first",
            &wanted.streams_first.to_string(),
        ]));
    }
    Process::start(name, trunkline, &args, &[]).await
}

/// The service's route, and the rule that leads there.
fn push_route(service: &Process, wanted: Push) -> anyhow::Result<String> {
    let says = |name: &str| {
        let said = service.ready[name].as_str();
        said.map(toml_string)
            .with_context(|| format!("the service says no {name}"))
    };
    let credentials = match wanted.to {
        To::Android => format!(
            "type = \"fcm\"\ncredentials = {{ file = {} }}\ntoken_url = {}\n\
             quota = {{ rate = \"{FCM_QUOTA}\", ramp = \"0s\" }}\n",
            says("account")?,
            says("token_uri")?
        ),
        _ => format!(
            "type = \"apns\"\ntopic = \"com.example.load\"\nenvironment = \"production\"\n\
             key = {{ file = {} }}\nkey_id = {}\nteam_id = {}\n",
            says("key")?,
            says("key_id")?,
            says("team_id")?
        ),
    };
    Ok(format!(
        r#"[routes.push]
{credentials}app = "{app}"
endpoint = "localhost:{port}"
extra_ca = {ca}
connections = {connections}
[[routing.rules]]
match = {{ channel = "push" }}
routes = ["push"]
"#,
        app = To::APP,
        port = service.addr("listening")?.port(),
        ca = says("ca")?,
        connections = wanted.connections,
    ))
}

async fn gateway(trunkline: &Path, dir: &Path) -> anyhow::Result<Process> {
    let config = dir.join("gateway.toml").display().to_string();
    let args = owned(&["serve", "--json", "--config", &config]);
    let env = [
        ("LOAD_API_KEY", API_KEY),
        ("LOAD_SMPP_PASSWORD", SMPP_PASSWORD),
        ("LOAD_WEBHOOK_SECRET", WEBHOOK_SECRET),
    ];
    Process::start("gateway", trunkline, &args, &env).await
}

/// The gateway of the speed table: 4 binds of window 100, full events in batches of 500.
fn config(store: &Path, smsc: SocketAddr, receiver: SocketAddr, wants: &Wants) -> String {
    let rate = wants
        .route_rate
        .map(|(rate, burst)| format!("rate = \"{rate}/s, burst {burst}\"\n"));
    let rate = rate.unwrap_or_default();
    let queued = wants
        .queued
        .map(|queued| format!("[limits]\nqueued = {queued}\n"));
    let queued = queued.unwrap_or_default();
    let wait_ms = wants.webhook_wait_ms;
    let store = toml_string(&store.display().to_string());
    format!(
        r#"[server]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[store]
path = {store}
durability = "group-commit"
{queued}[[auth.keys]]
name = "load"
tenant = "load"
scopes = ["messages:write", "messages:read", "events:read"]
secret = {{ env = "LOAD_API_KEY" }}
[webhook]
allow_http = true
allow_private = ["127.0.0.0/8"]
[tenants.load]
senders = ["*"]
ingress_rate = "1000000/s, burst 1000000"
[routes.sim]
type = "smpp"
hosts = ["{smsc}"]
tls = false
system_id = "load"
password = {{ env = "LOAD_SMPP_PASSWORD" }}
bind = "transceiver"
binds_per_host = 4
window = 100
{rate}[[routing.rules]]
match = {{ channel = "sms" }}
routes = ["sim"]
strategy = "priority"
[endpoints.load]
tenant = "load"
url = "http://{receiver}/hooks"
secret = {{ env = "LOAD_WEBHOOK_SECRET" }}
types = [
  "message.sent", "message.delivered", "message.undelivered",
  "message.failed", "message.expired", "message.unknown",
]
batch = {{ max_events = 500, max_wait_ms = {wait_ms} }}
"#
    )
}

/// A TOML basic string.
fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Milliseconds since 1970 of `YYYY-MM-DDThh:mm:ss.mmmZ`, the one form that the contract has.
pub(crate) fn rfc3339_ms(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.strip_suffix('Z')?.split_once('.')?;
    let ms = codecs::smpp::receipt::date_ms(seconds.as_bytes(), 0)?;
    let fraction: u64 = fraction.get(..3)?.parse().ok()?;
    Some(u64::try_from(ms).ok()? + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_what_the_case_wants() {
        let wants = Wants {
            push: None,
            smsc: true,
            smsc_delay_ms: 20,
            route_rate: Some((5000, 50)),
            contract: Some(600),
            queued: Some(20_000),
            webhook_wait_ms: 500,
        };
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let text = config(Path::new("/tmp/a \"b\""), at(1), at(2), &wants);
        assert!(text.contains("path = \"/tmp/a \\\"b\\\"\"\n"));
        assert!(text.contains("hosts = [\"127.0.0.1:1\"]\n"));
        assert!(text.contains("rate = \"5000/s, burst 50\"\n"));
        assert!(text.contains("[limits]\nqueued = 20000\n"));
        let faults = r#"{"faults":{"delay_ms":20,"per_second":600}}"#;
        assert_eq!(super::faults(&wants), faults);
        assert!(text.contains("url = \"http://127.0.0.1:2/hooks\"\n"));
        assert!(codecs::webhook::Secret::parse(WEBHOOK_SECRET).is_ok());
        assert!(API_KEY.len() >= 32);
    }

    #[test]
    fn reads_the_times_of_the_contract() {
        assert_eq!(
            rfc3339_ms("2026-11-21T08:02:05.117Z"),
            Some(1_795_248_125_117)
        );
        assert_eq!(rfc3339_ms("2026-11-21"), None);
    }
}
