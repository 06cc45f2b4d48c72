//! The corpus of carriers' receipts, through this reader and the real store's matching.

use smallvec::smallvec;
use toml::{Table, Value};

use super::*;
use crate::clock::Clock;
use crate::message::MessageId;
use crate::message::life::What;
use crate::outcome::{OutcomeResult, Retry, Settle};
use crate::store::tests::{TempDir, config as store_config, draft, settle};
use crate::store::{Accepted, RouteFacts, Store};

const CORPUS: &str = include_str!("../../../../../../codecs/tests/receipts/corpus.toml");
const START: UnixMs = UnixMs(1_795_248_000_000);
/// Octets of the longest short_message. SMPP v3.4 §5.2.22.
const SHORT_MESSAGE_MAX: usize = 254;

/// A receipt of the corpus as a PDU, and what it is.
struct Quoted {
    name: String,
    frame: Frame,
    format: Option<Format>,
    is_receipt: bool,
    id: Option<String>,
    state: Option<String>,
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The number that a receipt without a whole PDU is of.
fn number(index: usize) -> String {
    format!("4670{index:07}")
}

fn quoted(index: usize, entry: &Value) -> Quoted {
    let string = |value: Option<&Value>| value.map(|value| value.as_str().unwrap().to_owned());
    let is_receipt = entry.get("receipt").is_none_or(|is| is.as_bool().unwrap());
    let esm_class = entry.get("esm_class").map(|class| class.as_integer());
    let esm_class = esm_class.map_or(4, |class| u8::try_from(class.unwrap()).unwrap());
    let text = string(entry.get("text_hex")).map(|text| hex(&text));
    let text = text.or_else(|| string(entry.get("text")).map(String::into_bytes));
    let text = text.unwrap_or_default();
    let mut tlvs = TlvBuf::new();
    if let Some(tlv) = entry.get("tlv") {
        if let Some(id) = string(tlv.get("receipted_message_id")) {
            tlvs.push_cstring(Tag::RECEIPTED_MESSAGE_ID, id.as_bytes())
                .unwrap();
        }
        if let Some(state) = tlv.get("message_state").and_then(Value::as_integer) {
            tlvs.push(Tag::MESSAGE_STATE, &[u8::try_from(state).unwrap()])
                .unwrap();
        }
        if let Some(code) = string(tlv.get("network_error_code")) {
            tlvs.push(Tag::NETWORK_ERROR_CODE, &hex(&code)).unwrap();
        }
    }
    let is_short = text.len() <= SHORT_MESSAGE_MAX;
    if !is_short {
        tlvs.push(Tag::MESSAGE_PAYLOAD, &text).unwrap();
    }
    let number = number(index);
    let frame = match string(entry.get("pdu_hex")) {
        Some(pdu) => Frame::new(hex(&pdu).into()).unwrap(),
        None => frame(&DeliverSm {
            source: from(1, number.as_bytes()),
            esm_class: if is_receipt { esm_class } else { 0 },
            short_message: if is_short { &text } else { b"" },
            tlvs: tlvs.as_tlvs(),
            ..DeliverSm::default()
        }),
    };
    Quoted {
        name: string(entry.get("name")).unwrap(),
        frame,
        format: string(entry.get("format")).map(|format| Format::parse(&format).unwrap()),
        is_receipt,
        id: string(entry["out"].get("id")),
        state: string(entry["out"].get("state")),
    }
}

/// A message on a route, answered with this id.
async fn answered(store: &Store, route: RouteIx, to: Phone, id: &str) -> MessageId {
    let mut draft = draft(1, 1);
    draft.message.to = to;
    draft.message.routes = smallvec![route];
    let Accepted::Stored(message) = store.accept(vec![draft]).await.unwrap().remove(0) else {
        panic!("accepted")
    };
    let settle = Settle {
        route,
        ..settle(message.id, 0, OutcomeResult::Accepted, Retry::Never, id)
    };
    store.settle(vec![settle]).await.unwrap();
    message.id
}

/// The states that receipts gave a message.
async fn told(store: &Store, id: MessageId) -> Vec<ReceiptState> {
    let life = store.get(id).await.unwrap().life;
    let states = life.log.iter().filter_map(|change| match &change.what {
        What::Receipt { state, .. } => Some(*state),
        _ => None,
    });
    states.collect()
}

/// Another id of the same kind.
fn other(id: &str) -> String {
    let last = if id.ends_with('1') { '2' } else { '1' };
    let mut other: String = id.chars().take(id.chars().count() - 1).collect();
    other.push(last);
    other
}

/// Sends one message for each receipt, on a route of its own, beside one with another id to the same
/// number. The answers have the receipts' ids as `written` writes them.
async fn run(written: fn(&str) -> String) {
    let table: Table = CORPUS.parse().unwrap();
    let entries = table["receipt"].as_array().unwrap().iter().enumerate();
    let all: Vec<Quoted> = entries.map(|(index, entry)| quoted(index, entry)).collect();
    let dir = TempDir::new();
    let mut facts = store_config(&dir);
    let route = facts.routes.remove(0);
    facts.routes = (0..all.len())
        .map(|index| RouteFacts {
            name: format!("r{index}"),
            ..route.clone()
        })
        .collect();
    let clock = Clock::manual(START);
    let store = Store::open(facts, clock.clone()).unwrap().0;
    let mut expected = Vec::new();
    for (index, quoted) in all.iter().enumerate() {
        let route = RouteIx(u16::try_from(index).unwrap());
        let mut config = reading(Reading {
            format: quoted.format.clone(),
            by_text: true,
            ..Reading::default()
        });
        config.route = route;
        let name = &quoted.name;
        let (id, receipt) = match (read(&quoted.frame, &config, clock.now()).0, &quoted.id) {
            (Read::Receipt(receipt), Some(id)) if quoted.is_receipt => (id, receipt),
            (Read::Inbound, _) if !quoted.is_receipt => continue,
            (Read::Unreadable(_), id) if id.is_none() || quoted.state.is_none() => continue,
            (found, _) => panic!("{name}: {found:?}"),
        };
        assert_eq!(*receipt.provider_id, *id.as_bytes(), "{name}");
        let to = receipt.recipient;
        let to = to.or_else(|| Phone::from_digits(number(index).as_bytes()));
        let own = answered(&store, route, to.unwrap(), &written(id)).await;
        let decoy = answered(&store, route, to.unwrap(), &other(id)).await;
        let state = receipt.state;
        store.apply_receipts(vec![*receipt]).await.unwrap();
        expected.push((name, own, decoy, state));
    }
    // What waited for answers that could still come.
    clock.set(UnixMs(START.0 + 61_000));
    store.look_again().await;
    assert!(expected.len() >= 90, "{} were read", expected.len());
    for (name, own, decoy, state) in expected {
        assert_eq!(told(&store, own).await, [state], "{name}");
        assert_eq!(told(&store, decoy).await, [], "{name}: another's");
    }
    store.close();
}

#[tokio::test]
async fn every_receipt_of_the_corpus_finds_its_message_and_never_another() {
    run(str::to_owned).await;
}

#[tokio::test]
async fn every_receipt_of_the_corpus_finds_its_message_also_by_an_id_in_the_other_case() {
    let swapped = |id: &str| {
        let swap = |one: char| match one.is_ascii_lowercase() {
            true => one.to_ascii_uppercase(),
            false => one.to_ascii_lowercase(),
        };
        id.chars().map(swap).collect()
    };
    run(swapped).await;
}
