//! A scene: carrier, receiver and gateway, up and connected.

use serde_json::{Value, json};
use sim::receiver::{self, Receiver};
use sim::smsc::{Smsc, SmscConfig};

use crate::config::SECRET;
use crate::{Client, Directory, Endpoint, Gateway, Route, SOON, Setup, wait_for};

/// Requests that the receiver keeps for a scenario to look at.
const KEEP_REQUESTS: usize = 10_000;

/// Messages that the carrier keeps for a scenario to look at.
const KEEP_MESSAGES: usize = 10_000;

/// Carrier, receiver, gateway.
#[derive(Debug)]
pub struct Scene {
    /// The carrier of route `main`.
    pub smsc: Smsc,
    /// The receiver of endpoint `crm`.
    pub receiver: Receiver,
    /// The gateway.
    pub gateway: Gateway,
    /// A client with the tenant's key.
    pub client: Client,
    /// What the gateway was started with.
    pub setup: Setup,
    /// Where it runs. Last, so that it outlives the gateway.
    pub directory: Directory,
}

/// A carrier that keeps what it saw.
#[must_use]
pub fn smsc_config() -> SmscConfig {
    SmscConfig {
        last_max: KEEP_MESSAGES,
        ..SmscConfig::default()
    }
}

/// A receiver that checks signatures and keeps what came.
///
/// # Errors
/// It cannot listen.
pub async fn receiver() -> anyhow::Result<Receiver> {
    let config = receiver::Config {
        secrets: vec![SECRET.to_owned()],
        keep_requests: KEEP_REQUESTS,
        ..receiver::Config::default()
    };
    Receiver::start(config).await
}

/// A message of the short form.
#[must_use]
pub fn message(to: &str, text: &str) -> Value {
    json!({"to": to, "from": "ACME", "text": text})
}

impl Scene {
    /// One carrier, one endpoint, nothing special.
    ///
    /// # Errors
    /// Any of them does not start.
    pub async fn plain(name: &str) -> anyhow::Result<Self> {
        Self::start(name, smsc_config(), |_| {}).await
    }

    /// With a carrier of this config, and `change` on what the gateway is started with.
    ///
    /// # Errors
    /// Any of them does not start.
    pub async fn start(
        name: &str,
        smsc: SmscConfig,
        change: impl FnOnce(&mut Setup),
    ) -> anyhow::Result<Self> {
        let smsc = Smsc::start(smsc).await?;
        let receiver = receiver().await?;
        let mut setup = Setup {
            routes: vec![Route::new("main", smsc.addr())],
            endpoints: vec![Endpoint::new("crm", receiver.addr())],
            ..Setup::default()
        };
        change(&mut setup);
        let directory = Directory::new(name)?;
        directory.configure(&setup)?;
        let gateway = Gateway::start(&directory).await?;
        Ok(Self {
            client: gateway.client(),
            smsc,
            receiver,
            gateway,
            setup,
            directory,
        })
    }

    /// Kills the gateway, or stops it, and starts it again on the same directory.
    ///
    /// # Errors
    /// It does not stop or start.
    pub async fn restart(&mut self, kill: bool) -> anyhow::Result<()> {
        if kill {
            self.gateway.kill().await?;
        } else {
            self.gateway.stop().await?;
        }
        self.gateway = Gateway::start(&self.directory).await?;
        self.client = self.gateway.client();
        Ok(())
    }

    /// Waits until the number of the last acknowledged batch is on disk in its second place: the
    /// second look at the disk that ends from now on has begun after this.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn kept(&self) {
        let looks = async || -> Option<u64> {
            let answer = self.gateway.admin_client().get("/metrics").await.ok()?;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let line = text
                .lines()
                .find_map(|l| l.strip_prefix("trunkline_store_looks_total "));
            line?.trim().parse().ok()
        };
        let before = wait_for("the store's looks at the disk", SOON, async || {
            looks().await
        })
        .await;
        wait_for("two more looks at the disk", SOON, async || {
            looks().await.filter(|now| *now >= before + 2)
        })
        .await;
    }

    /// Sends a message; its id.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn send(&self, message: &Value) -> String {
        let answer = self.client.post("/v1/messages", message).await;
        match answer {
            Ok(answer) => answer.id(),
            Err(error) => panic!("the message was not accepted: {error:#}"),
        }
    }

    /// Waits until a message has a status; the message as it then is.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn status(&self, id: &str, status: &str) -> Value {
        let what = format!("{id} to be {status}");
        wait_for(&what, SOON, async || {
            let message = self.client.message(id).await.ok()?;
            (message["status"] == status).then_some(message)
        })
        .await
    }

    /// Waits until the receiver has an event of this type for a message; the event.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn event(&self, id: &str, kind: &str) -> Value {
        let what = format!("{kind} of {id} at the receiver");
        wait_for(&what, SOON, async || {
            let events = received(&self.receiver);
            let wanted = |event: &Value| event["type"] == kind && event["data"]["message_id"] == id;
            events.into_iter().find(wanted)
        })
        .await
    }
}

/// Every event that a receiver took, batches taken apart, in the order they came.
#[must_use]
pub fn received(receiver: &Receiver) -> Vec<Value> {
    let mut events = Vec::new();
    for kept in receiver.kept() {
        let took = kept.status.is_some_and(|status| status < 300);
        let Ok(mut body) = serde_json::from_slice::<Value>(&kept.body) else {
            continue;
        };
        if !took {
            continue;
        }
        match body["data"]["events"].take() {
            Value::Array(batch) => events.extend(batch),
            _ => events.push(body),
        }
    }
    events
}

/// The nth of many phone numbers, none of which the simulated carrier treats in a special way.
#[must_use]
pub fn number(n: usize) -> String {
    format!("+467{n:06}55")
}
