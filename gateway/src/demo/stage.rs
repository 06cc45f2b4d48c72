//! The demo's processes, all in this one: what the gateway talks to, and its configuration.

use std::fs::DirBuilder;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sim::push::apns::{Apns, ApnsConfig};
use sim::push::fcm::{Fcm, FcmConfig};
use sim::receiver::{Config as ReceiverConfig, Receiver};
use sim::smsc::{Faults, Receipts, Smsc, SmscConfig};

use super::client::Client;
use crate::app::Gateway;
use crate::clock::Clock;
use crate::config::{self, Env};

/// The demo's API key and webhook secret: of no value outside of it.
pub(super) const KEY: &str = "tlk_test_demo0000_0123456789abcdef0123456789abcdef";
const SECRET: &str = "whsec_dHJ1bmtsaW5lLWRlbW8tc2VjcmV0LTAwMDE=";

/// Everything that runs.
pub(super) struct Stage {
    pub(super) gateway: Gateway,
    pub(super) receiver: Receiver,
    pub(super) client: Client,
    pub(super) directory: PathBuf,
    _services: Services,
}

/// What messages go to.
struct Services {
    carriers: [Smsc; 2],
    apns: Apns,
    fcm: Fcm,
}

impl Services {
    async fn start() -> anyhow::Result<Self> {
        let receipts = Receipts {
            delay_ms: 150,
            jitter_ms: 250,
            ..Receipts::default()
        };
        let faults = Faults {
            receipts,
            delay_ms: 5,
            ..Faults::default()
        };
        let carrier = || {
            Smsc::start(SmscConfig {
                faults: faults.clone(),
                ..SmscConfig::default()
            })
        };
        Ok(Self {
            carriers: [carrier().await?, carrier().await?],
            apns: Apns::start(ApnsConfig::default()).await?,
            fcm: Fcm::start(FcmConfig::default()).await?,
        })
    }
}

impl Stage {
    pub(super) async fn build(out: &mut dyn Write) -> anyhow::Result<Self> {
        let services = Services::start().await?;
        let receiver = Receiver::start(ReceiverConfig {
            secrets: vec![SECRET.to_owned()],
            keep_requests: 1_000,
            ..ReceiverConfig::default()
        })
        .await?;
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let name = format!("trunkline-demo-{:016x}", u64::from_be_bytes(random));
        let directory = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&directory)?;
        let file = directory.join("gateway.toml");
        std::fs::write(&file, config_text(&directory, &services, receiver.addr())?)?;
        let env = Env::from_iter([
            ("DEMO_KEY".to_owned(), KEY.to_owned()),
            ("DEMO_SECRET".to_owned(), SECRET.to_owned()),
            ("DEMO_PASSWORD".to_owned(), "secret".to_owned()),
        ]);
        let (config, _) = config::load(&file, &env, false)?;
        let gateway = Gateway::start(config, Clock::system()).await?;
        let at = gateway.listening();
        writeln!(
            out,
            "gateway    http://{}  (admin http://{})",
            at.api, at.admin
        )?;
        writeln!(
            out,
            "carriers   smpp://{}  smpp://{}",
            services.carriers[0].addr(),
            services.carriers[1].addr()
        )?;
        writeln!(
            out,
            "push       apns https://{}  fcm https://{}",
            services.apns.addr(),
            services.fcm.addr()
        )?;
        writeln!(out, "receiver   http://{}", receiver.addr())?;
        writeln!(out, "store      {}\n", directory.join("data").display())?;
        let client = Client::new(at.api, KEY);
        Ok(Self {
            gateway,
            receiver,
            client,
            directory,
            _services: services,
        })
    }
}

fn config_text(
    directory: &Path,
    services: &Services,
    receiver: SocketAddr,
) -> anyhow::Result<String> {
    let data = directory.join("data");
    let route = |name: &str, host: SocketAddr| {
        format!(
            "[routes.{name}]\ntype = \"smpp\"\nhosts = [\"{host}\"]\nsystem_id = \"demo\"\n\
             password = {{ env = \"DEMO_PASSWORD\" }}\nwindow = 10\n"
        )
    };
    // Port 9 (discard) of the loopback: nobody listens.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let push = push_routes(directory, services)?;
    Ok(format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [store]\npath = {data:?}\n[limits]\ndisk_reserve = \"1MB\"\n\
         [webhook]\nallow_http = true\nallow_private = [\"127.0.0.0/8\"]\n\
         [[auth.keys]]\nname = \"demo\"\ntenant = \"acme\"\n\
         scopes = [\"messages:write\", \"messages:read\", \"events:read\", \"routes:read\"]\n\
         secret = {{ env = \"DEMO_KEY\" }}\n\
         [tenants.acme]\nsenders = [\"*\"]\n{}{}{}{push}\
         [[routing.rules]]\nmatch = {{ channel = \"sms\", country = [\"NO\"] }}\n\
         routes = [\"carrier-down\", \"carrier-b\"]\n\
         [[routing.rules]]\nmatch = {{ channel = \"sms\" }}\nroutes = [\"carrier-a\", \"carrier-b\"]\n\
         [[routing.rules]]\nmatch = {{ channel = \"push\" }}\nroutes = [\"apns\", \"fcm\"]\n\
         [endpoints.crm]\ntenant = \"acme\"\nurl = \"http://{receiver}/hooks\"\n\
         secret = {{ env = \"DEMO_SECRET\" }}\n\
         types = [\"message.*\", \"message.fallback_started\", \"device.*\"]\n",
        route("carrier-a", services.carriers[0].addr()),
        route("carrier-b", services.carriers[1].addr()),
        route("carrier-down", nobody),
    ))
}

/// Routes to the push services, with their credentials in files, as an operator has them.
fn push_routes(directory: &Path, services: &Services) -> anyhow::Result<String> {
    let (apns, fcm) = (&services.apns, &services.fcm);
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).map(|()| path)
    };
    let ca = |ca: Option<&str>| ca.unwrap_or_default().to_owned();
    Ok(format!(
        "[routes.apns]\ntype = \"apns\"\napp = \"shop-ios\"\ntopic = \"com.acme.shop\"\n\
         environment = \"production\"\nkey = {{ file = {key:?} }}\nkey_id = \"{key_id}\"\n\
         team_id = \"{team_id}\"\nendpoint = \"localhost:{apns_port}\"\nextra_ca = {apns_ca:?}\n\
         [routes.fcm]\ntype = \"fcm\"\napp = \"shop-android\"\n\
         credentials = {{ file = {account:?} }}\ntoken_url = \"{token_url}\"\n\
         endpoint = \"localhost:{fcm_port}\"\nextra_ca = {fcm_ca:?}\n",
        key = file("key.p8", &apns.credentials().p8)?,
        key_id = apns.credentials().key_id,
        team_id = apns.credentials().team_id,
        apns_port = apns.addr().port(),
        apns_ca = file("apns-ca.pem", &ca(apns.ca()))?,
        account = file("account.json", &fcm.service_account())?,
        token_url = fcm.token_uri(),
        fcm_port = fcm.addr().port(),
        fcm_ca = file("fcm-ca.pem", &ca(fcm.ca()))?,
    ))
}
