//! Handsets' messages in the store: durable in parts, told once, through crashes and the archive.

use serde_json::Value;

use super::*;
use crate::clock::Clock;
use crate::event::{EventKind, EventKinds};
use crate::inbound::rules::Number;
use crate::inbound::{Concat, Width};
use crate::message::{EndpointIx, RouteIx, TenantIx};
use crate::outcome::ReceiptTlv;
use crate::store::tests::{TempDir, config};
use crate::store::{Config, EventQuery, Rendered, check, export};

/// 2026-11-21T08:02:05Z.
const START: u64 = 1_795_248_125_000;

mod answered;
mod coding;
mod keywords;
mod replies;
mod room;

fn setup(dir: &TempDir) -> Config {
    let mut config = config(dir);
    config.endpoints.push("alerts".to_owned());
    config.inbound.numbers = vec![Number {
        number: "71234".to_owned(),
        tenant: "acme".to_owned(),
        endpoint: Some("crm".to_owned()),
        own_keywords: vec![("BOOK A TABLE".to_owned(), "alerts".to_owned())],
    }];
    config
}

pub(crate) fn part(place: Option<(u16, u8, u8)>, text: &str) -> InboundPart {
    InboundPart {
        route: RouteIx(0),
        from: "+46701234567".into(),
        to: "71234".into(),
        concat: place.map(|(reference, total, sequence)| Concat {
            width: Width::Eight,
            reference,
            total,
            sequence,
        }),
        data_coding: 0,
        header: 0,
        octets: text.as_bytes().into(),
        tlvs: Box::default(),
        acknowledges: None,
        received_at: UnixMs(START),
        in_reply_to: None,
    }
}

struct World {
    dir: TempDir,
    clock: Clock,
    store: Option<Store>,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new();
        let clock = Clock::manual(UnixMs(START));
        let (store, _) = Store::open(setup(&dir), clock.clone()).unwrap();
        Self {
            dir,
            clock,
            store: Some(store),
        }
    }

    fn store(&self) -> Store {
        self.store.clone().expect("open")
    }

    fn reopen(&mut self) {
        self.store().close();
        self.store = None;
        let (store, _) = Store::open(setup(&self.dir), self.clock.clone()).unwrap();
        self.store = Some(store);
    }

    async fn receive(&self, parts: Vec<InboundPart>) -> Taken {
        self.store().receive(parts).await.unwrap()
    }

    async fn events(&self) -> Vec<Rendered> {
        let mut query = EventQuery {
            after: 0,
            tenant: None,
            kinds: EventKinds::ALL,
            message: None,
            limit: 100,
        };
        let mut all = Vec::new();
        let head = *self.store().head().borrow();
        while query.after < head {
            let page = self.store().events_after(query).await;
            assert!(page.read_to > query.after, "the log goes on");
            query.after = page.read_to;
            all.extend(page.events);
        }
        all
    }

    async fn told(&self) -> Vec<Value> {
        let events = self.events().await.into_iter();
        events
            .map(|event| serde_json::from_slice(&event.json).unwrap())
            .collect()
    }
}

#[tokio::test]
async fn a_single_message_is_told_as_the_contract_has_it() {
    let world = World::new();
    let taken = world.receive(vec![part(None, "Hello you")]).await;
    assert_eq!((taken.whole, taken.waiting), (1, 0));
    let events = world.events().await;
    let [event] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(event.event.kind, EventKind::InboundReceived);
    assert_eq!(event.event.tenant, TenantIx(0));
    let callback = event.callback.as_ref().expect("the number's endpoint");
    assert_eq!((callback.endpoint, callback.kinds), (EndpointIx(0), None));
    let told = &world.told().await[0];
    assert_eq!(told["type"], "inbound.received");
    assert_eq!(told["tenant"], "acme");
    let data = told["data"].as_object().unwrap();
    assert!(data["inbound_id"].as_str().unwrap().starts_with("in_"));
    for (key, value) in [
        ("channel", "sms"),
        ("from", "+46701234567"),
        ("to", "71234"),
        ("text", "Hello you"),
        ("encoding", "gsm7"),
        ("route", "a"),
        ("received_at", "2026-11-21T08:02:05.000Z"),
    ] {
        assert_eq!(data[key], value, "{key}");
    }
    assert_eq!(data["parts"], 1);
    assert_eq!(data["incomplete"], false);
    assert_eq!(data["data_coding"], 0);
    for absent in ["data", "udh", "waiting", "missing", "tlvs"] {
        assert!(!data.contains_key(absent), "{absent}");
    }
    for unknown in [
        "keyword",
        "intent",
        "network",
        "sent_at",
        "in_reply_to",
        "auto_reply",
    ] {
        assert_eq!(data[unknown], Value::Null, "{unknown}");
    }
}

#[tokio::test]
async fn what_the_routes_tlvs_name_is_told() {
    let world = World::new();
    let tlv = |name: &str, value: &str| ReceiptTlv {
        name: name.into(),
        value: value.into(),
    };
    let mut one = part(None, "Hi");
    one.tlvs = [
        tlv("mcc", "240"),
        tlv("mnc", "07"),
        tlv("message_id", "MO-77"),
    ]
    .into();
    let mut odd = part(None, "Hi");
    odd.tlvs = [tlv("mcc", "2\\x00"), tlv("receipted_message_id", "9")].into();
    world.receive(vec![one, odd, part(None, "Hi")]).await;
    let told = world.told().await;
    let data = &told[0]["data"];
    assert_eq!(
        data["network"],
        serde_json::json!({"mcc": "240", "mnc": "07"})
    );
    assert_eq!(data["provider_message_id"], "MO-77");
    assert_eq!(data["tlvs"]["mnc"], "07");
    assert_eq!(told[1]["data"]["network"], Value::Null, "no digits");
    assert_eq!(told[1]["data"]["provider_message_id"], "9");
    assert_eq!(told[2]["data"].get("tlvs"), None);
    assert_eq!(told[2]["data"]["provider_message_id"], Value::Null);
}

#[tokio::test]
async fn an_own_keyword_at_the_beginning_chooses_who_is_told() {
    let world = World::new();
    for text in ["Book a table, please", "stop", "a table"] {
        world.receive(vec![part(None, text)]).await;
    }
    // In parts of which the last one never comes, and of which the first one never comes.
    world
        .receive(vec![
            part(Some((7, 3, 1)), "Book a "),
            part(Some((7, 3, 2)), "table"),
        ])
        .await;
    world
        .receive(vec![part(Some((8, 2, 2)), "book a table")])
        .await;
    world.clock.set(UnixMs(START + 600_000));
    world.receive(Vec::new()).await;
    let events = world.events().await.into_iter();
    let told: Vec<(Option<EndpointIx>, Value)> = events
        .filter(|told| told.event.kind == EventKind::InboundReceived)
        .map(|told| {
            let json: Value = serde_json::from_slice(&told.json).unwrap();
            let endpoint = told.callback.map(|callback| callback.endpoint);
            (endpoint, json["data"]["keyword"].clone())
        })
        .collect();
    let (crm, alerts) = (Some(EndpointIx(0)), Some(EndpointIx(1)));
    let book = Value::from("BOOK A TABLE");
    assert_eq!(
        told,
        [
            (alerts, book.clone()),
            (crm, "STOP".into()),
            (crm, Value::Null),
            (alerts, book),
            (crm, Value::Null),
        ]
    );
}

#[tokio::test]
async fn parts_survive_restarts_and_archiving_and_make_one_message() {
    let mut world = World::new();
    world.receive(vec![part(Some((7, 3, 3)), "c")]).await;
    world.reopen();
    // Something else gives the archiver a generation, and the snapshot the open set.
    world.receive(vec![part(None, "other")]).await;
    world.store().archive_now().await;
    world.receive(vec![part(Some((7, 3, 1)), "a")]).await;
    world.reopen();
    let again = world.receive(vec![part(Some((7, 3, 1)), "a")]).await;
    assert_eq!(again.repeated, 1, "known over a restart");
    let taken = world.receive(vec![part(Some((7, 3, 2)), "b")]).await;
    assert_eq!(taken.whole, 1);
    let before = world.told().await;
    assert_eq!(before.len(), 2);
    assert_eq!(before[1]["data"]["text"], "abc");
    assert_eq!(before[1]["data"]["parts"], 3);
    world.store().archive_now().await;
    assert_eq!(world.told().await, before, "told the same from the archive");
    world.reopen();
    assert_eq!(world.told().await, before, "and after a restart");
    let late = world.receive(vec![part(Some((7, 3, 2)), "b")]).await;
    assert_eq!(late.repeated, 1, "sent again after the message was whole");
}

#[tokio::test]
async fn what_is_not_whole_in_time_is_delivered_as_incomplete_also_over_a_restart() {
    let mut world = World::new();
    world
        .receive(vec![part(Some((7, 4, 3)), "c"), part(Some((7, 4, 1)), "a")])
        .await;
    world.clock.set(UnixMs(START + 599_999));
    world.receive(vec![part(None, "between")]).await;
    assert_eq!(world.told().await.len(), 1, "not yet");
    world.reopen();
    world.clock.set(UnixMs(START + 600_000));
    world.receive(vec![part(None, "after")]).await;
    let told = world.told().await;
    let found = told.iter().find(|event| event["data"]["parts"] == 4);
    let data = &found.expect("delivered")["data"];
    assert_eq!(data["text"], "ac");
    assert_eq!(data["incomplete"], true);
    assert_eq!(data["missing"], serde_json::json!([2, 4]));
    assert_eq!(told.len(), 3);
}

#[tokio::test]
async fn a_part_that_contradicts_an_open_message_has_what_came_of_it_told() {
    let world = World::new();
    world.receive(vec![part(Some((7, 2, 1)), "old")]).await;
    let newer = vec![part(Some((7, 2, 1)), "new"), part(Some((7, 2, 2)), "er")];
    world.receive(newer).await;
    let told = world.told().await;
    let brief: Vec<(&Value, &Value)> = told
        .iter()
        .map(|told| (&told["data"]["text"], &told["data"]["incomplete"]))
        .collect();
    assert_eq!(
        brief,
        [
            (&"old".into(), &true.into()),
            (&"newer".into(), &false.into())
        ]
    );
}

#[tokio::test]
async fn of_a_sender_with_too_many_open_messages_the_oldest_is_told_as_incomplete() {
    let world = World::new();
    let max = u16::try_from(crate::inbound::assembly::SOURCE_SETS_MAX).unwrap();
    for reference in 0..=max {
        assert_eq!(world.told().await.len(), 0, "{reference}");
        let text = format!("message {reference}");
        world
            .receive(vec![part(Some((reference, 2, 1)), &text)])
            .await;
    }
    let told = world.told().await;
    assert_eq!(told.len(), 1);
    let data = &told[0]["data"];
    assert_eq!(
        (&data["text"], &data["incomplete"]),
        (&"message 0".into(), &true.into())
    );
}

#[tokio::test]
async fn the_watcher_wakes_the_writer_for_what_is_overdue() {
    let world = World::new();
    world.receive(vec![part(Some((7, 2, 1)), "a")]).await;
    world.clock.set(UnixMs(START + 600_000));
    let store = world.store();
    let mut head = store.head();
    // The watcher looks twice a second; without it this would wait for ever.
    head.wait_for(|head| *head > 0).await.unwrap();
    assert_eq!(world.told().await[0]["data"]["incomplete"], true);
}

#[tokio::test]
async fn what_is_written_to_nobodys_number_is_kept_for_the_operator() {
    let world = World::new();
    let mut stray = part(None, "hello?");
    stray.to = "99999".into();
    world.receive(vec![stray]).await;
    let events = world.events().await;
    assert_eq!(events[0].event.tenant, TenantIx::OPERATOR);
    assert_eq!(world.told().await[0]["tenant"], Value::Null);
    let mut query = EventQuery {
        after: 0,
        tenant: Some(TenantIx(0)),
        kinds: EventKinds::ALL,
        message: None,
        limit: 100,
    };
    assert!(world.store().events_after(query).await.events.is_empty());
    query.tenant = None;
    assert_eq!(world.store().events_after(query).await.events.len(), 1);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_archiving_changes_nothing() {
    for step in 1..=6 {
        let mut world = World::new();
        world
            .receive(vec![part(None, "one"), part(Some((7, 2, 1)), "a")])
            .await;
        let before = world.told().await;
        world.store().stop_archiver_at(step);
        world.store().archive_now().await;
        world.reopen();
        assert_eq!(world.told().await, before, "step {step}");
        let taken = world.receive(vec![part(Some((7, 2, 2)), "b")]).await;
        assert_eq!(taken.whole, 1, "step {step}");
        let told = world.told().await;
        assert_eq!(told.len(), 2, "step {step}");
        assert_eq!(told[1]["data"]["text"], "ab");
    }
}

#[tokio::test]
async fn octets_that_are_no_text_are_told_in_base64() {
    let world = World::new();
    let mut binary = part(None, "");
    (binary.data_coding, binary.octets) = (4, vec![0, 0xFF, 1].into());
    world.receive(vec![binary]).await;
    let data = &world.told().await[0]["data"];
    assert_eq!(
        (&data["text"], &data["encoding"]),
        (&Value::Null, &"binary".into())
    );
    assert_eq!(data["data"], "AP8B");
}

#[tokio::test]
async fn the_offline_check_and_export_know_them() {
    let mut world = World::new();
    world.receive(vec![part(None, "archived")]).await;
    world.store().archive_now().await;
    world
        .receive(vec![part(None, "young"), part(Some((7, 2, 1)), "half")])
        .await;
    world.store().close();
    world.store = None;
    let report = check(&world.dir.0).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let out = world.dir.0.join("out.ndjson");
    let exported = export(&world.dir.0, &out).unwrap();
    assert_eq!((exported.messages, exported.inbound), (0, 3));
    let text = std::fs::read_to_string(&out).unwrap();
    let mut texts: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| format!("{}/{}", line["text"].as_str().unwrap(), line["missing"]))
        .collect();
    texts.sort();
    assert_eq!(texts, ["archived/[]", "half/[2]", "young/[]"]);
}

#[tokio::test]
async fn what_they_say_goes_with_the_texts_of_messages_and_the_rest_with_the_events() {
    const DAY_MS: u64 = 24 * 3_600_000;
    let dir = TempDir::new();
    let mut config = setup(&dir);
    config.retention_content = std::time::Duration::from_hours(24);
    let clock = Clock::manual(UnixMs(START));
    let (store, _) = Store::open(config, clock.clone()).unwrap();
    let store = Some(store);
    let mut world = World { dir, clock, store };
    let mut binary = part(None, "");
    (binary.data_coding, binary.octets) = (4, vec![1, 0x70, 1].into());
    binary.header = 2;
    world.receive(vec![part(None, "Help!"), binary]).await;
    let young = world.told().await;
    assert_eq!(young[2]["data"]["udh"], "AXA=");
    world.store().archive_now().await;
    assert_eq!(world.told().await, young, "from two files");
    world.clock.set(UnixMs(START + 2 * DAY_MS));
    world.receive(vec![part(None, "later")]).await;
    world.store().archive_now().await;
    // Files go after the archive has answered: an orderly stop waits for that.
    world.reopen();
    let told = world.told().await;
    let files = std::fs::read_dir(&world.dir.0).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let first_day = |name: &String| name.starts_with("content-2026-11-21");
    assert_eq!(names.filter(first_day).count(), 0, "its day is over");
    let help = &told[0]["data"];
    assert_eq!((&help["text"], help.get("data")), (&Value::Null, None));
    assert_eq!(
        (&help["keyword"], &help["encoding"]),
        (&"HELP".into(), &"gsm7".into())
    );
    assert_eq!(told[1]["type"], "recipient.help_requested");
    let binary = &told[2]["data"];
    assert_eq!(
        (binary.get("data"), &binary["encoding"]),
        (None, &"binary".into())
    );
    assert_eq!(
        (binary.get("udh"), &binary["data_coding"]),
        (None, &4.into())
    );
    assert_eq!(told[3]["data"]["text"], "later");
    world.store().close();
    world.store = None;
    assert!(check(&world.dir.0).unwrap().is_sound());
}

#[tokio::test]
async fn a_damaged_row_of_the_archive_is_named() {
    let mut world = World::new();
    world.receive(vec![part(None, "archived")]).await;
    world.store().archive_now().await;
    world.store().close();
    world.store = None;
    let path = world.dir.0.join("inbound-2026-11-21.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute("UPDATE inbound SET detail = x'FF'", [])
        .unwrap();
    drop(connection);
    let report = check(&world.dir.0).unwrap();
    assert!(
        report.damaged.iter().any(|damage| damage.path == path),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_store_that_refuses_takes_nothing() {
    let world = World::new();
    world.store().close();
    let refused = world.store().receive(vec![part(None, "x")]).await;
    assert_eq!(refused, Err(Refused::Closed));
}

#[tokio::test]
async fn start_takes_back_what_stop_began_and_twice_the_same_changes_nothing() {
    let world = World::new();
    for text in ["STOP", "stop", "start", "START"] {
        world.receive(vec![part(None, text)]).await;
    }
    let told = world.told().await;
    let kinds: Vec<&str> = told
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [
            "recipient.opted_out",
            "suppression.created",
            "inbound.received",
            "inbound.received",
            "recipient.opted_in",
            "suppression.deleted",
            "inbound.received",
            "inbound.received",
        ]
    );
}

#[tokio::test]
async fn a_keyword_is_told_with_what_it_asks_for_once_the_message_is_whole() {
    let mut world = World::new();
    world.receive(vec![part(None, "Stop!")]).await;
    world.receive(vec![part(Some((9, 2, 1)), "HE")]).await;
    world.receive(vec![part(Some((9, 2, 2)), "LP")]).await;
    world.receive(vec![part(Some((8, 2, 1)), "STOP")]).await;
    world.clock.set(UnixMs(START + 600_000));
    world.receive(Vec::new()).await;
    let told = world.told().await;
    let brief: Vec<(&str, &Value, &Value)> = told
        .iter()
        .map(|event| {
            let data = &event["data"];
            let kind = event["type"].as_str().unwrap();
            (kind, &data["keyword"], &data["intent"])
        })
        .collect();
    let none = Value::Null;
    assert_eq!(
        brief,
        [
            ("recipient.opted_out", &"STOP".into(), &none),
            ("suppression.created", &"STOP".into(), &none),
            ("inbound.received", &"STOP".into(), &"opt_out".into()),
            ("inbound.received", &"HELP".into(), &"help".into()),
            ("recipient.help_requested", &"HELP".into(), &none),
            ("inbound.received", &none, &none),
        ],
        "a half message asks for nothing"
    );
    assert_eq!(told[0]["data"]["phone"], "+46701234567");
    let scope = serde_json::json!({"kind": "sender", "value": "71234"});
    assert_eq!(told[0]["data"]["scope"], scope);
    assert_eq!(told[0]["data"]["inbound_id"], told[2]["data"]["inbound_id"]);
    assert_eq!(told[4]["data"]["phone"], "+46701234567");
    assert_eq!(told[4]["data"]["inbound_id"], told[3]["data"]["inbound_id"]);
    world.reopen();
    assert_eq!(world.told().await, told, "the same after a restart");
}
