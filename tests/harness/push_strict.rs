//! A strict APNs and FCM that shares no code with the gateway: `tests/peers/push_strict.js`, on Node alone.

use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use serde_json::{Value, json};

use crate::process::Process;
use crate::{Directory, peers};

/// Bundle ids of the apps `shop-ios` and `courier-ios`, which go by provider token.
pub const BUNDLES: [&str; 2] = ["com.acme.shop", "com.acme.courier"];

/// Bundle id of the app `kiosk-ios`, which goes by certificate.
pub const KIOSK: &str = "com.acme.kiosk";

/// The topic that Apple's portal gave the MDM certificate of the app `fleet`.
pub const FLEET: &str = "com.apple.mgmt.External.0c7e3bd2-6d5b-4f8c-9a52-2f8a2ed2a5a1";

/// userId, which holds an Apple certificate's bundle id. RFC 4519 §2.39.
const USER_ID: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 1];

/// Both services in one process.
#[derive(Debug)]
pub struct Strict {
    process: Process,
    listening: Value,
    questions: u64,
    /// The clients' certificates as base64 of their DER: the kiosk's and the fleet's.
    pub certificates: [String; 2],
    files: Directory,
}

/// A CA's key and certificate, and what they sign.
type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> anyhow::Result<Ca> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "strict: a CA for one run");
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A certificate and its key, PEM in one text, and the certificate's DER.
fn leaf(ca: &Ca, names: &[&str], user_id: Option<&str>) -> anyhow::Result<(String, String)> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if let Some(topic) = user_id {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, format!("Apple Push Services: {topic}"));
        name.push(DnType::CustomDnType(USER_ID.to_vec()), topic);
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, ca)?;
    let der = STANDARD.encode(certificate.der());
    Ok((format!("{}{}", certificate.pem(), key.serialize_pem()), der))
}

impl Strict {
    /// Starts it on free ports.
    ///
    /// # Errors
    /// It cannot be run or does not listen.
    pub async fn start() -> anyhow::Result<Self> {
        let files = Directory::new("push-strict")?;
        let ca = ca()?;
        let write = |name: &str, text: &str| std::fs::write(files.path().join(name), text);
        let (server, _) = leaf(&ca, &["localhost"], None)?;
        let (kiosk, kiosk_der) = leaf(&ca, &[], Some(KIOSK))?;
        let (fleet, fleet_der) = leaf(&ca, &[], Some(FLEET))?;
        write("ca.pem", &ca.pem())?;
        write("server.pem", &server)?;
        write("kiosk.pem", &kiosk)?;
        write("fleet.pem", &fleet)?;
        let mut command = peers::script_of("node", "push_strict.js");
        for name in ["server.pem", "server.pem", "ca.pem"] {
            command.arg(files.path().join(name));
        }
        command.args(BUNDLES);
        let mut process = Process::start(command)?;
        let listening = process.said("listening", |_| true).await?;
        let text = |at: &str| {
            let value = listening.pointer(at).context("it did not say")?;
            anyhow::Ok(
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            )
        };
        write("key.p8", &text("/apns/credentials/p8")?)?;
        write("account.json", &text("/fcm/account")?)?;
        Ok(Self {
            process,
            listening,
            questions: 0,
            certificates: [kiosk_der, fleet_der],
            files,
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The gateway's routes to it, with further lines for those to APNs: `apns` (apps `shop-ios` and
    /// `courier-ios`), `kiosk` and `fleet` (by certificate), and `fcm` (`shop-android`).
    #[must_use]
    pub fn sections(&self, apns_lines: &str) -> String {
        let said = &self.listening;
        let (apns, fcm) = (&said["apns"], &said["fcm"]);
        let (ca, key, account) = (
            self.file("ca.pem"),
            self.file("key.p8"),
            self.file("account.json"),
        );
        let [shop, courier] = BUNDLES;
        let common = format!(
            "endpoint = \"localhost:{}\"\nextra_ca = {ca:?}\n{apns_lines}\n",
            apns["port"]
        );
        let by_certificate = |app: &str, topic: &str, file: &str| {
            format!(
                "[routes.{file}]\ntype = \"apns\"\napp = \"{app}\"\ntopic = \"{topic}\"\n\
                 environment = \"production\"\ncertificate = {{ file = {:?} }}\n{common}",
                self.file(&format!("{file}.pem"))
            )
        };
        format!(
            r#"
[routes.apns]
type = "apns"
apps = {{ shop-ios = "{shop}", courier-ios = "{courier}" }}
environment = "production"
key = {{ file = {key:?} }}
key_id = {key_id}
team_id = {team_id}
{common}
{kiosk}
{fleet}
[routes.fcm]
type = "fcm"
app = "shop-android"
credentials = {{ file = {account:?} }}
token_url = "https://localhost:{token_port}/token"
endpoint = "localhost:{fcm_port}"
extra_ca = {ca:?}
[[routing.rules]]
match = {{ channel = "push" }}
routes = ["apns", "kiosk", "fleet", "fcm"]
"#,
            key_id = apns["credentials"]["keyId"],
            team_id = apns["credentials"]["teamId"],
            kiosk = by_certificate("kiosk-ios", KIOSK, "kiosk"),
            fleet = by_certificate("fleet", FLEET, "fleet"),
            token_port = fcm["tokenPort"],
            fcm_port = fcm["port"],
        )
    }

    /// Has a service, `apns` or `fcm`, behave as its script describes from here on.
    ///
    /// # Errors
    /// It has ended.
    pub async fn order(&mut self, service: &str, how: Value) -> anyhow::Result<()> {
        self.questions += 1;
        let id = self.questions;
        let order = json!({ service: how, "id": id });
        self.process.order("order", order).await?;
        self.process.said("done", |line| line["id"] == id).await?;
        Ok(())
    }

    /// What it has seen.
    ///
    /// # Errors
    /// It has ended.
    pub async fn report(&mut self) -> anyhow::Result<Value> {
        self.questions += 1;
        let id = self.questions;
        self.process.order("report", json!({ "id": id })).await?;
        self.process.said("report", |line| line["id"] == id).await
    }
}
