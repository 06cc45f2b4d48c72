//! Interop: a carrier nobody here wrote (node-smpp 0.5.1), and the official webhook verifiers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use trunkline_tests::config::SECRET;
use trunkline_tests::peers::{self, CarrierProcess};
use trunkline_tests::scene::{receiver, smsc_config};
use trunkline_tests::{Directory, Endpoint, Gateway, Route, SOON, Scene, Setup, message, wait_for};

/// A text of two UCS-2 segments: beyond GSM 7-bit, and longer than 70 units.
const CYRILLIC: &str = "Привет! Ваш заказ готов к выдаче в пункте самовывоза на улице Ленина, \
    дом четыре, до конца недели.";

/// A gateway on a node-smpp carrier.
struct OnNode {
    carrier: CarrierProcess,
    directory: Directory,
    gateway: Gateway,
    _receiver: sim::receiver::Receiver,
}

impl OnNode {
    async fn start(name: &str) -> Self {
        let carrier = CarrierProcess::start(0).await.unwrap();
        let receiver = receiver().await.unwrap();
        let setup = Setup {
            routes: vec![Route::new("main", carrier.addr)],
            endpoints: vec![Endpoint::new("crm", receiver.addr())],
            ..Setup::default()
        };
        let directory = Directory::new(name).unwrap();
        directory.configure(&setup).unwrap();
        let gateway = Gateway::start(&directory).await.unwrap();
        Self {
            carrier,
            directory,
            gateway,
            _receiver: receiver,
        }
    }

    async fn send(&self, to: &str, text: &str) -> String {
        let answer = self
            .gateway
            .client()
            .post("/v1/messages", &message(to, text))
            .await;
        answer.unwrap().id()
    }

    async fn status(&self, id: &str, status: &str) {
        let client = self.gateway.client();
        wait_for(&format!("{id} to be {status}"), SOON, async || {
            let message = client.message(id).await.ok()?;
            (message["status"] == status).then_some(())
        })
        .await;
    }

    /// The submits to a number, in the order they came, once there are so many.
    async fn submits(&mut self, to: &str, count: usize) -> Vec<Value> {
        let to = to.trim_start_matches('+');
        wait_for(&format!("{count} submits to {to}"), SOON, async || {
            let submits = self.carrier.all("submit_sm").into_iter();
            let submits: Vec<Value> = submits.filter(|submit| submit["dest"][2] == to).collect();
            (submits.len() >= count).then_some(submits)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_smpp_takes_gsm7_ucs2_and_long_messages() {
    if !peers::npm("node_smpp_takes_gsm7_ucs2_and_long_messages", "smpp") {
        return;
    }
    let mut node = OnNode::start("node-texts").await;
    let bind = node.carrier.said("bind", |_| true).await.unwrap();
    assert_eq!(bind["command"], "bind_transceiver");
    assert_eq!(
        (&bind["system_id"], &bind["ok"]),
        (&json!("main"), &json!(true))
    );

    let gsm7 = "Hej @ÅÄÖ: 100 € [approx] {£5} Ω";
    let id = node.send("+46700000500", gsm7).await;
    let submit = node.submits("+46700000500", 1).await.remove(0);
    assert_eq!(
        (&submit["message"], &submit["data_coding"]),
        (&json!(gsm7), &json!(0))
    );
    assert_eq!(submit["registered_delivery"].as_u64().unwrap() & 1, 1);
    assert_eq!(submit["dest"], json!([1, 1, "46700000500"]));
    assert_eq!(submit["source"], json!([5, 0, "ACME"]));
    node.status(&id, "sent").await;
    node.carrier
        .send_receipt(submit["id"].as_str().unwrap(), "DELIVRD")
        .await
        .unwrap();
    node.carrier
        .said("receipt_answered", |said| said["status"] == 0)
        .await
        .unwrap();
    node.status(&id, "delivered").await;

    for (to, text, encoding, parts) in [
        ("+46700000501", CYRILLIC.to_owned(), 8, 2),
        ("+46700000502", "0123456789".repeat(40), 0, 3),
    ] {
        let id = node.send(to, &text).await;
        let mut submits = node.submits(to, parts).await;
        let udh = |submit: &Value| submit["udh"][0].as_str().unwrap().to_owned();
        // 00 03 (or 08 04), reference, total, part: the header of 3GPP TS 23.040 §9.2.3.24.
        submits.sort_by_key(|submit| udh(submit)[udh(submit).len() - 2..].to_owned());
        let joined: String = submits
            .iter()
            .filter_map(|submit| submit["message"].as_str())
            .collect();
        assert_eq!(joined, text);
        let last = udh(&submits[parts - 1]);
        assert!(last.ends_with(&format!("{parts:02x}{parts:02x}")), "{last}");
        assert!(
            submits
                .iter()
                .all(|submit| submit["data_coding"] == encoding)
        );
        for submit in &submits {
            node.carrier
                .send_receipt(submit["id"].as_str().unwrap(), "DELIVRD")
                .await
                .unwrap();
        }
        node.status(&id, "delivered").await;
    }
    assert!(node.carrier.all("unknown").is_empty() && node.carrier.all("error").is_empty());

    node.gateway.stop().await.unwrap();
    node.carrier.said("unbind", |_| true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn node_smpp_killed_is_bound_again() {
    if !peers::npm("node_smpp_killed_is_bound_again", "smpp") {
        return;
    }
    let mut node = OnNode::start("node-killed").await;
    let port = node.carrier.addr.port();
    let id = node.send("+46700000510", "before").await;
    node.status(&id, "sent").await;
    let down = CarrierProcess::start(0).await.unwrap();
    std::mem::replace(&mut node.carrier, down)
        .kill()
        .await
        .unwrap();
    let waiting = node.send("+46700000511", "meanwhile").await;
    node.carrier = CarrierProcess::start(port).await.unwrap();
    node.carrier
        .said("bind", |bind| bind["ok"] == true)
        .await
        .unwrap();
    node.status(&waiting, "sent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_smpp_receipt_after_the_gateway_was_killed() {
    if !peers::npm("node_smpp_receipt_after_the_gateway_was_killed", "smpp") {
        return;
    }
    let mut node = OnNode::start("node-receipt").await;
    let id = node.send("+46700000520", "later").await;
    node.status(&id, "sent").await;
    let submit = node.submits("+46700000520", 1).await.remove(0);
    node.gateway.kill().await.unwrap();
    node.carrier.said("close", |_| true).await.unwrap();
    node.gateway = Gateway::start(&node.directory).await.unwrap();
    wait_for("the second bind", SOON, async || {
        (node.carrier.all("bind").len() == 2).then_some(())
    })
    .await;
    node.carrier
        .send_receipt(submit["id"].as_str().unwrap(), "DELIVRD")
        .await
        .unwrap();
    node.status(&id, "delivered").await;
}

/// Posts of both forms, and the same ones with a changed body, in the verifiers' form.
async fn posts() -> (Vec<Value>, Vec<Value>) {
    let second = receiver().await.unwrap();
    let scene = Scene::start("verify", smsc_config(), |setup| {
        let batch = "batch = { max_events = 10, max_wait_ms = 100 }";
        setup
            .endpoints
            .push(Endpoint::new("batched", second.addr()).with(batch));
    })
    .await
    .unwrap();
    for n in 0..5 {
        scene
            .send(&message(&format!("+4670000060{n}"), "Grüße, мир"))
            .await;
    }
    for receiver in [&scene.receiver, &second] {
        let all = |report: &sim::receiver::Report| report.messages_delivered == 5;
        receiver.wait_until(all, SOON).await.unwrap();
    }
    let kept = scene.receiver.kept().into_iter().chain(second.kept());
    let (mut whole, mut changed) = (Vec::new(), Vec::new());
    for post in kept {
        let header = |name: &str| post.headers[name].to_str().unwrap().to_owned();
        let headers = json!({
            "webhook-id": header("webhook-id"),
            "webhook-timestamp": header("webhook-timestamp"),
            "webhook-signature": header("webhook-signature"),
        });
        let request = |body: &[u8]| json!({"secret": SECRET, "headers": headers, "body": STANDARD.encode(body)});
        whole.push(request(&post.body));
        let mut body = post.body.to_vec();
        body.insert(1, b' ');
        changed.push(request(&body));
    }
    (whole, changed)
}

async fn verified_by(program: &str, script: &str) {
    let (whole, changed) = posts().await;
    let verdicts = peers::verify(program, script, &whole).await.unwrap();
    assert!(
        verdicts.iter().all(|verdict| verdict["ok"] == true),
        "{verdicts:?}"
    );
    let types: Vec<_> = verdicts
        .iter()
        .filter_map(|verdict| verdict["type"].as_str())
        .collect();
    for kind in ["message.sent", "message.delivered", "batch"] {
        assert!(types.contains(&kind), "{types:?}");
    }
    let verdicts = peers::verify(program, script, &changed).await.unwrap();
    assert!(
        verdicts.iter().all(|verdict| verdict["ok"] == false),
        "{verdicts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_hold_for_npm_standardwebhooks() {
    if peers::npm("posts_hold_for_npm_standardwebhooks", "standardwebhooks") {
        verified_by("node", "verify.js").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_hold_for_pypi_standardwebhooks() {
    if peers::pypi("posts_hold_for_pypi_standardwebhooks", "standardwebhooks") {
        verified_by("python", "verify.py").await;
    }
}
