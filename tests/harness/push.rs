//! Push: a scene with APNs and FCM beside its carrier, and a route to each.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};
use sim::push::apns::{Apns, ApnsConfig};
use sim::push::fcm::{Fcm, FcmConfig};

use crate::scene::smsc_config;
use crate::{Directory, Scene};

/// Both services, and a gateway with a route to each: `apns` for app `shop-ios`, `fcm` for app
/// `shop-android`; with a second one to FCM where [`Lines::fcm_two`] says so.
#[derive(Debug)]
pub struct Push {
    /// Carrier, receiver and gateway.
    pub scene: Scene,
    /// What route `apns` connects to.
    pub apns: Apns,
    /// What route `fcm` connects to.
    pub fcm: Fcm,
    /// Where the routes' credentials are. Last, so that they outlive the gateway.
    files: Directory,
}

/// What the routes' sections have beside what they need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines<'a> {
    /// Of route `apns`.
    pub apns: &'a str,
    /// Of route `fcm`.
    pub fcm: &'a str,
    /// Of `fcm-two`, a second route to the project of `fcm`, for app `courier-android`; `None`: there is
    /// no such route.
    pub fcm_two: Option<&'a str>,
}

impl<'a> From<&'a str> for Lines<'a> {
    /// The same of both routes.
    fn from(both: &'a str) -> Self {
        Self {
            apns: both,
            fcm: both,
            fcm_two: None,
        }
    }
}

impl Push {
    /// With services of this config, and further lines in the routes' sections.
    ///
    /// # Errors
    /// Any of them does not start.
    pub async fn start<'a>(
        name: &str,
        (apns, fcm): (ApnsConfig, FcmConfig),
        lines: impl Into<Lines<'a>>,
    ) -> anyhow::Result<Self> {
        let lines = lines.into();
        let (apns, fcm) = (Apns::start(apns).await?, Fcm::start(fcm).await?);
        let files = Directory::new(&format!("{name}-keys"))?;
        let write = |name: &str, text: &str| -> anyhow::Result<String> {
            let path = files.path().join(name);
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let apns_ca = write("apns-ca.pem", apns.ca().context("it made one")?)?;
        let fcm_ca = write("fcm-ca.pem", fcm.ca().context("it made one")?)?;
        let key = write(KEY_FILE, &apns.credentials().p8)?;
        // Its token_uri is this machine's: the file alone may not name such a one, the operator may.
        let token_url = fcm.token_uri();
        let account = write("account.json", &fcm.service_account())?;
        let project = format!(
            "credentials = {{ file = {account:?} }}\ntoken_url = \"{token_url}\"\n\
             endpoint = \"localhost:{}\"\nextra_ca = {fcm_ca:?}",
            fcm.addr().port(),
        );
        let fcm_route = |name, app, lines| {
            format!("[routes.{name}]\ntype = \"fcm\"\napp = \"{app}\"\n{project}\n{lines}\n")
        };
        let two = lines.fcm_two;
        let two = two.map(|lines| fcm_route("fcm-two", "courier-android", lines));
        let sections = format!(
            r#"
[routes.apns]
type = "apns"
app = "shop-ios"
topic = "com.acme.shop"
environment = "production"
key = {{ file = {key:?} }}
key_id = "{key_id}"
team_id = "{team_id}"
endpoint = "localhost:{apns_port}"
extra_ca = {apns_ca:?}
{apns_lines}
{fcm_route}
{two_route}
[[routing.rules]]
match = {{ channel = "push" }}
routes = ["apns", "fcm"{two_named}]
"#,
            apns_lines = lines.apns,
            fcm_route = fcm_route("fcm", "shop-android", lines.fcm),
            two_named = two.as_ref().map_or("", |_| ", \"fcm-two\""),
            two_route = two.unwrap_or_default(),
            key_id = apns.credentials().key_id,
            team_id = apns.credentials().team_id,
            apns_port = apns.addr().port(),
        );
        let scene = Scene::start(name, smsc_config(), |setup| {
            setup.sections.push_str(&sections);
            setup.endpoints[0] = setup.endpoints[0]
                .clone()
                .with("types = [\"message.*\", \"message.fallback_started\", \"device.*\"]");
        })
        .await?;
        Ok(Self {
            scene,
            apns,
            fcm,
            files,
        })
    }

    /// The file of route `apns`'s key.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.files.path().join(KEY_FILE)
    }

    /// A route as the API shows it.
    ///
    /// # Errors
    /// The gateway does not answer.
    pub async fn route(&self, name: &str) -> anyhow::Result<Value> {
        self.scene.client.json(&format!("/v1/routes/{name}")).await
    }

    /// Does what an operator would: has links tried again that have stopped.
    ///
    /// # Errors
    /// The gateway does not answer.
    pub async fn resume_what_stopped(&self) -> anyhow::Result<()> {
        for name in ["apns", "fcm"] {
            let route = self.route(name).await?;
            let links = route["links"].as_array().context("a route has links")?;
            if links.iter().any(|link| link["state"] == "stopped") {
                let path = format!("/v1/routes/{name}/resume");
                self.scene.client.post(&path, &json!({})).await?;
            }
        }
        Ok(())
    }
}

const KEY_FILE: &str = "key.p8";

/// A device on APNs.
#[must_use]
pub fn ios(token: &str) -> Value {
    json!({"platform": "ios", "app": "shop-ios", "token": token})
}

/// A device on FCM.
#[must_use]
pub fn android(token: &str) -> Value {
    json!({"platform": "android", "app": "shop-android", "token": token})
}

/// A request for a push to these devices, and for an SMS when no route leads to them or all refuse it.
#[must_use]
pub fn push_then_sms(devices: Vec<Value>) -> Value {
    json!({
        "to": {"phone": "+46701234567", "devices": devices},
        "from": "ACME",
        "content": {"text": "Ready for pickup", "push": {"title": "Ready"}},
        "plan": {"steps": [
            {"channel": "push", "on": ["no_route", "rejected"]},
            {"channel": "sms"},
        ]},
    })
}
