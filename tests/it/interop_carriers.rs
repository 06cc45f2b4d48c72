//! Interop: carriers that nobody here wrote: node-smpp (plain and TLS), smpp.twisted3, Net::SMPP.
//!
//! Each scenario runs against each of them, as a test of its own name. What a carrier read it says in
//! its own words: the texts compared here went through its decoder, not ours.

use serde_json::{Value, json};
use trunkline_tests::peers::{Carrier, CarrierProcess};
use trunkline_tests::scene::{received, receiver};
use trunkline_tests::{Directory, Endpoint, Gateway, Route, SOON, Setup, message, wait_for};

/// A text of two UCS-2 segments: beyond GSM 7-bit, and longer than 70 units.
const CYRILLIC: &str = "Привет! Ваш заказ готов к выдаче в пункте самовывоза на улице Ленина, \
    дом четыре, до конца недели.";

/// A gateway on a foreign carrier.
struct On {
    carrier: CarrierProcess,
    directory: Directory,
    gateway: Gateway,
    receiver: sim::receiver::Receiver,
}

impl On {
    async fn start(kind: Carrier, lines: &str) -> Self {
        Self::start_with(kind, lines, "").await
    }

    async fn start_with(kind: Carrier, lines: &str, sections: &str) -> Self {
        let carrier = CarrierProcess::start(kind, 0).await.unwrap();
        let receiver = receiver().await.unwrap();
        let mut route = Route::new("main", carrier.addr).with(lines);
        if let Some(keys) = &carrier.keys {
            let certificate = keys.certificate();
            let trust =
                format!("tls = true\ntls_ca = {certificate:?}\ntls_server_name = \"localhost\"");
            route = route.with(&trust);
        }
        let setup = Setup {
            routes: vec![route],
            endpoints: vec![Endpoint::new("crm", receiver.addr())],
            sections: sections.to_owned(),
            ..Setup::default()
        };
        let directory = Directory::new("carrier").unwrap();
        directory.configure(&setup).unwrap();
        let gateway = Gateway::start(&directory).await.unwrap();
        Self {
            carrier,
            directory,
            gateway,
            receiver,
        }
    }

    async fn send(&self, to: &str, text: &str) -> String {
        let client = self.gateway.client();
        let answer = client.post("/v1/messages", &message(to, text)).await;
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

    async fn delivered(&mut self, submit: &Value) {
        let id = submit["id"].as_str().unwrap();
        self.carrier.send_receipt(id, "DELIVRD").await.unwrap();
        let answered = self
            .carrier
            .said("receipt_answered", |said| said["id"] == id);
        assert_eq!(answered.await.unwrap()["status"], 0);
    }

    async fn bound(&mut self) -> Value {
        self.carrier
            .said("bind", |bind| bind["ok"] == true)
            .await
            .unwrap()
    }

    async fn route(&self) -> Value {
        let answer = self.gateway.client().get("/v1/routes/main").await.unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Nothing that either side could not read.
    fn understood(&self) {
        for trouble in ["error", "unknown"] {
            assert_eq!(self.carrier.all(trouble), Vec::<Value>::new(), "{trouble}");
        }
    }
}

async fn binds_as_a_transceiver(kind: Carrier) {
    let mut on = On::start(kind, "").await;
    let bind = on.bound().await;
    assert_eq!(bind["command"], "bind_transceiver");
    assert_eq!(bind["system_id"], "main");
    let id = on.send("+46700000490", "over a transceiver").await;
    let submit = on.submits("+46700000490", 1).await.remove(0);
    on.delivered(&submit).await;
    on.status(&id, "delivered").await;
    on.understood();
}

async fn binds_as_a_transmitter(kind: Carrier) {
    let lines = "bind = \"transmitter\"\nreceipts = { enabled = false }";
    let mut on = On::start(kind, lines).await;
    assert_eq!(on.bound().await["command"], "bind_transmitter");
    let id = on.send("+46700000491", "over a transmitter").await;
    on.status(&id, "sent").await;
    assert_eq!(
        on.submits("+46700000491", 1).await[0]["registered_delivery"],
        0
    );
    on.understood();
}

async fn binds_in_pairs(kind: Carrier) {
    let mut on = On::start(kind, "bind = \"tx+rx\"").await;
    for command in ["bind_transmitter", "bind_receiver"] {
        let bound = |bind: &Value| bind["command"] == command && bind["ok"] == true;
        on.carrier.said("bind", bound).await.unwrap();
    }
    let id = on.send("+46700000493", "over a pair").await;
    let submit = on.submits("+46700000493", 1).await.remove(0);
    on.delivered(&submit).await;
    on.status(&id, "delivered").await;
    assert_eq!(on.carrier.all("bind").len(), 2);
    on.understood();
}

async fn messages_from_handsets_are_told_whole(kind: Carrier) {
    let sections = "[inbound.numbers.\"71234\"]\ntenant = \"acme\"\n";
    let mut on = On::start_with(kind, "", sections).await;
    on.bound().await;
    // GSM 7-bit: "Hej @ [5 €]"; then UCS-2 in two parts, the second first.
    let ucs2: Vec<u8> = CYRILLIC.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let (first, second) = ucs2.split_at(134);
    let hex = |octets: &[u8]| -> String { octets.iter().map(|o| format!("{o:02x}")).collect() };
    let mos = [
        (
            "46700000530",
            "48656a2000201b3c35201b651b3e".to_owned(),
            0,
            0,
        ),
        (
            "46700000531",
            format!("050003070202{}", hex(second)),
            8,
            0x40,
        ),
        (
            "46700000531",
            format!("050003070201{}", hex(first)),
            8,
            0x40,
        ),
    ];
    for (nth, (source, octets, data_coding, esm_class)) in mos.into_iter().enumerate() {
        let mo = json!({"source": source, "dest": "71234", "octets": octets,
            "data_coding": data_coding, "esm_class": esm_class});
        on.carrier.order("mo", mo).await.unwrap();
        wait_for("the answer to the MO", SOON, async || {
            (on.carrier.all("mo_answered").len() > nth).then_some(())
        })
        .await;
        assert_eq!(on.carrier.all("mo_answered")[nth]["status"], 0);
    }
    for (from, text, parts) in [
        ("+46700000530", "Hej @ [5 €]", 1),
        ("+46700000531", CYRILLIC, 2),
    ] {
        let told = wait_for(&format!("inbound.received of {from}"), SOON, async || {
            let events = received(&on.receiver);
            let of = |event: &Value| {
                event["type"] == "inbound.received" && event["data"]["from"] == from
            };
            events.into_iter().find(of)
        })
        .await;
        assert_eq!(
            (&told["data"]["text"], &told["data"]["parts"]),
            (&json!(text), &json!(parts))
        );
        assert_eq!(told["data"]["to"], "71234");
    }
    on.understood();
}

async fn a_wrong_password_is_told_and_stays_out(kind: Carrier) {
    // The account is another's, so its password is wrong.
    let mut on = On::start(kind, "").await;
    on.bound().await;
    let file = std::fs::read_to_string(on.directory.config()).unwrap();
    let wrong = file.replace("TEST_PASSWORD", "WRONG_PASSWORD");
    std::fs::write(on.directory.config(), wrong).unwrap();
    on.gateway.stop().await.unwrap();
    let environment = [("WRONG_PASSWORD", "secrets")];
    let started = Gateway::try_start(&on.directory, &environment)
        .await
        .unwrap();
    on.gateway = started.unwrap();
    let refused = on.carrier.said("bind", |bind| bind["ok"] == false).await;
    assert_eq!(refused.unwrap()["system_id"], "main");
    let id = on.send("+46700000492", "waits").await;
    wait_for("the refusal in the route's view", SOON, async || {
        let route = on.route().await;
        let error = route["links"][0]["last_error"].as_str()?.to_owned();
        (route["state"] == "down" && error.contains("RINVPASWD")).then_some(())
    })
    .await;
    on.status(&id, "queued").await;
    assert!(
        !on.directory.log().contains("secrets"),
        "the password is in the log"
    );
}

async fn takes_gsm7_ucs2_and_long_messages(kind: Carrier) {
    let mut on = On::start(kind, "").await;
    let gsm7 = "Hej @ÅÄÖ: 100 € [approx] {£5} Ω";
    let id = on.send("+46700000500", gsm7).await;
    let submit = on.submits("+46700000500", 1).await.remove(0);
    assert_eq!(
        (&submit["message"], &submit["data_coding"]),
        (&json!(gsm7), &json!(0))
    );
    assert_eq!(submit["registered_delivery"].as_u64().unwrap() & 1, 1);
    assert_eq!(submit["dest"], json!([1, 1, "46700000500"]));
    assert_eq!(submit["source"], json!([5, 0, "ACME"]));
    on.status(&id, "sent").await;
    on.delivered(&submit).await;
    on.status(&id, "delivered").await;

    for (to, text, encoding, parts) in [
        ("+46700000501", CYRILLIC.to_owned(), 8, 2),
        ("+46700000502", "0123456789".repeat(40), 0, 3),
    ] {
        let id = on.send(to, &text).await;
        let mut submits = on.submits(to, parts).await;
        let udh = |submit: &Value| submit["udh"][0].as_str().unwrap().to_owned();
        // 00 03 (or 08 04), reference, total, part: the header of 3GPP TS 23.040 §9.2.3.24.
        submits.sort_by_key(|submit| udh(submit)[udh(submit).len() - 2..].to_owned());
        let messages = submits
            .iter()
            .filter_map(|submit| submit["message"].as_str());
        assert_eq!(messages.collect::<String>(), text);
        let last = udh(&submits[parts - 1]);
        assert!(last.ends_with(&format!("{parts:02x}{parts:02x}")), "{last}");
        assert!(
            submits
                .iter()
                .all(|submit| submit["data_coding"] == encoding)
        );
        for submit in &submits {
            on.delivered(submit).await;
        }
        on.status(&id, "delivered").await;
    }
    on.understood();
}

async fn a_tlv_of_the_carriers_own_goes_with_every_submit(kind: Carrier) {
    let tlv = "tag = 0x1400, type = \"cstring\", direction = \"out\", value = \"110100001352\"";
    let mut on = On::start(kind, &format!("tlvs = {{ entity = {{ {tlv} }} }}")).await;
    let short = on.send("+46700000540", "with a TLV").await;
    let long = on.send("+46700000541", &"0123456789".repeat(20)).await;
    // The text and its NUL. smpp.twisted3 reads past a tag that it has no name for, so there the test is
    // that nothing else suffers.
    let expected = match kind {
        Carrier::Twisted => Value::Null,
        Carrier::Node | Carrier::NodeTls | Carrier::NetSmpp => {
            json!({"1400": "31313031303030303133353200"})
        }
    };
    for (to, parts) in [("+46700000540", 1), ("+46700000541", 2)] {
        for submit in on.submits(to, parts).await {
            assert_eq!(submit["tlvs"], expected, "{submit}");
            on.delivered(&submit).await;
        }
    }
    on.status(&short, "delivered").await;
    on.status(&long, "delivered").await;
    on.understood();
}

async fn enquire_link_both_ways_and_unbind(kind: Carrier) {
    let mut on = On::start(kind, "enquire_link = \"1s\"").await;
    on.bound().await;
    on.carrier.said("enquire_link", |_| true).await.unwrap();
    on.carrier.order("enquire_link", json!(true)).await.unwrap();
    let answered = on.carrier.said("enquire_link_answered", |_| true).await;
    assert_eq!(answered.unwrap()["status"], 0);
    // Still there after its own was answered twice.
    on.carrier.said("enquire_link", |_| true).await.unwrap();
    assert_eq!(on.carrier.all("close").len(), 0);
    on.gateway.stop().await.unwrap();
    on.carrier.said("unbind", |_| true).await.unwrap();
    on.carrier.said("close", |_| true).await.unwrap();
    on.understood();
}

async fn an_unbind_of_the_carrier_is_followed_by_a_new_bind(kind: Carrier) {
    let mut on = On::start(kind, "").await;
    on.bound().await;
    on.carrier.order("unbind", json!(true)).await.unwrap();
    on.carrier.said("unbound", |_| true).await.unwrap();
    let id = on.send("+46700000505", "after the unbind").await;
    on.status(&id, "sent").await;
    assert_eq!(on.carrier.all("bind").len(), 2);
    on.understood();
}

async fn a_killed_carrier_is_bound_again(kind: Carrier) {
    let mut on = On::start(kind, "").await;
    let port = on.carrier.addr.port();
    let id = on.send("+46700000510", "before").await;
    on.status(&id, "sent").await;
    on.carrier.kill().await;
    let waiting = on.send("+46700000511", "meanwhile").await;
    let keys = on.carrier.keys.take();
    on.carrier = CarrierProcess::start_with(kind, port, keys).await.unwrap();
    on.bound().await;
    on.status(&waiting, "sent").await;
    assert_eq!(on.submits("+46700000511", 1).await.len(), 1);
}

async fn a_receipt_finds_its_message_after_the_gateway_was_killed(kind: Carrier) {
    let mut on = On::start(kind, "").await;
    let id = on.send("+46700000520", "later").await;
    on.status(&id, "sent").await;
    let submit = on.submits("+46700000520", 1).await.remove(0);
    on.gateway.kill().await.unwrap();
    on.carrier.said("close", |_| true).await.unwrap();
    on.gateway = Gateway::start(&on.directory).await.unwrap();
    wait_for("the second bind", SOON, async || {
        (on.carrier.all("bind").len() == 2).then_some(())
    })
    .await;
    on.delivered(&submit).await;
    on.status(&id, "delivered").await;
    wait_for("its event", SOON, async || {
        let events = received(&on.receiver);
        let of = |event: &Value| {
            event["type"] == "message.delivered" && event["data"]["message_id"] == id
        };
        events.iter().any(of).then_some(())
    })
    .await;
}

macro_rules! against {
    ($($carrier:ident: $kind:ident;)*) => {$(
        mod $carrier {
            against!(@one $kind, binds_as_a_transceiver binds_as_a_transmitter
                binds_in_pairs messages_from_handsets_are_told_whole
                a_wrong_password_is_told_and_stays_out takes_gsm7_ucs2_and_long_messages
                enquire_link_both_ways_and_unbind an_unbind_of_the_carrier_is_followed_by_a_new_bind
                a_killed_carrier_is_bound_again a_tlv_of_the_carriers_own_goes_with_every_submit
                a_receipt_finds_its_message_after_the_gateway_was_killed);
        }
    )*};
    (@one $kind:ident, $($scenario:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $scenario() {
            use trunkline_tests::peers::Carrier;
            let name = concat!(module_path!(), "::", stringify!($scenario));
            if Carrier::$kind.installed(name) {
                super::$scenario(Carrier::$kind).await;
            }
        }
    )*};
}

against! {
    node_smpp: Node;
    node_smpp_tls: NodeTls;
    smpp_twisted3: Twisted;
    net_smpp: NetSmpp;
}
