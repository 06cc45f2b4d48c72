//! Receipts as carriers really write them: a corpus with its sources, and what may happen to them on
//! the way.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::sync::LazyLock;

use codecs::smpp::receipt::{
    Format, Kind, NetworkError, State, Tlvs, date_ms, detect, is_misnamed, resolve, scan,
};
use codecs::smpp::{CommandId, Frame};
use proptest::prelude::*;
use toml::{Table, Value};

/// One receipt of the corpus.
struct Quoted {
    name: String,
    kind: String,
    source: String,
    text: Vec<u8>,
    esm_class: u8,
    id_tlv: Option<Vec<u8>>,
    state_tlv: Option<u8>,
    network_tlv: Option<Vec<u8>>,
    format: Option<Format>,
    is_receipt: bool,
    out: Table,
}

static CORPUS: LazyLock<Vec<Quoted>> = LazyLock::new(|| {
    let table: Table = include_str!("receipts/corpus.toml").parse().unwrap();
    table["receipt"]
        .as_array()
        .unwrap()
        .iter()
        .map(quoted)
        .collect()
});

fn quoted(entry: &Value) -> Quoted {
    let string = |value: Option<&Value>| value.map(|value| value.as_str().unwrap().to_owned());
    let octets = |value: Option<&Value>| string(value).map(String::into_bytes);
    let number = |value: Option<&Value>| value.map(|value| value.as_integer().unwrap());
    let empty = Table::new();
    let tlv = entry
        .get("tlv")
        .map_or(&empty, |tlv| tlv.as_table().unwrap());
    let of_hex = string(entry.get("text_hex")).map(|text| hex(&text));
    let text = octets(entry.get("text")).or(of_hex).unwrap_or_default();
    let format = string(entry.get("format"));
    let mut quoted = Quoted {
        name: string(entry.get("name")).unwrap(),
        kind: string(entry.get("kind")).unwrap(),
        source: string(entry.get("source")).unwrap(),
        text,
        esm_class: u8::try_from(number(entry.get("esm_class")).unwrap_or(4)).unwrap(),
        id_tlv: octets(tlv.get("receipted_message_id")),
        state_tlv: number(tlv.get("message_state")).map(|state| u8::try_from(state).unwrap()),
        network_tlv: string(tlv.get("network_error_code")).map(|code| hex(&code)),
        format: format.map(|pattern| Format::parse(&pattern).unwrap()),
        is_receipt: entry
            .get("receipt")
            .is_none_or(|receipt| receipt.as_bool().unwrap()),
        out: entry["out"].as_table().unwrap().clone(),
    };
    if let Some(pdu) = string(entry.get("pdu_hex")) {
        quoted.fill_from(&Frame::new(hex(&pdu).into()).unwrap());
    }
    quoted
}

impl Quoted {
    /// Takes text, TLVs and esm_class from a whole PDU.
    fn fill_from(&mut self, frame: &Frame) {
        let (esm_class, text, tlvs) = match frame.header().command {
            CommandId::DATA_SM => {
                let sm = frame.data_sm().unwrap().0;
                (sm.esm_class, sm.user_data(), sm.tlvs)
            }
            _ => {
                let sm = frame.deliver_sm().unwrap().0;
                (sm.esm_class, sm.user_data(), sm.tlvs)
            }
        };
        (self.esm_class, self.text) = (esm_class, text.to_vec());
        self.id_tlv = tlvs.receipted_message_id().map(<[u8]>::to_vec);
        self.state_tlv = tlvs.message_state();
        self.network_tlv = tlvs.network_error_code().map(<[u8]>::to_vec);
    }
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// id, state, err, done in ms and network error, as read.
type Out = (
    Option<String>,
    Option<&'static str>,
    Option<String>,
    Option<i64>,
    Option<NetworkError>,
);

fn read(quoted: &Quoted, text: &[u8]) -> Out {
    let formatted = quoted
        .format
        .as_ref()
        .map(|format| format.scan(text).unwrap());
    let fields = formatted.unwrap_or_else(|| scan(text));
    let tlvs = Tlvs {
        receipted_message_id: quoted.id_tlv.as_deref(),
        message_state: quoted.state_tlv,
        network_error_code: quoted.network_tlv.as_deref(),
    };
    let verdict = resolve(tlvs, &fields, false);
    let owned =
        |field: Option<&[u8]>| field.map(|field| String::from_utf8(field.to_vec()).unwrap());
    (
        owned(verdict.id),
        verdict.state.map(State::name),
        owned(verdict.err),
        fields.done_date.and_then(|date| date_ms(date, 0)),
        verdict.network_error,
    )
}

#[test]
fn the_corpus_is_read_as_its_sources_mean_it() {
    let mut wrong = Vec::new();
    for quoted in CORPUS.iter() {
        let found = read(quoted, &quoted.text);
        let text = |key| {
            quoted
                .out
                .get(key)
                .map(|value: &Value| value.as_str().unwrap().to_owned())
        };
        let state = text("state");
        let whole = |value: &Value| value.as_integer().unwrap();
        let network = quoted.out.get("network").map(|network| {
            let network = network.as_array().unwrap();
            NetworkError {
                network: u8::try_from(whole(&network[0])).unwrap(),
                code: u32::try_from(whole(&network[1])).unwrap(),
            }
        });
        let done = quoted.out.get("done_ms").map(whole);
        let fits = !quoted.is_receipt
            || found.0 == text("id")
                && found.1 == state.as_deref()
                && found.2 == text("err")
                && (done.is_none() || found.3 == done)
                && found.4 == network;
        if !fits {
            wrong.push(format!(
                "{}: {found:?} of {}",
                quoted.name,
                quoted.text.escape_ascii()
            ));
        }
        let (kind, _) = detect(
            if quoted.is_receipt {
                quoted.esm_class
            } else {
                0
            },
            quoted.id_tlv.as_deref(),
            quoted.state_tlv,
            &quoted.text,
            true,
        );
        let expected = if quoted.is_receipt {
            Kind::Receipt
        } else {
            Kind::Message
        };
        if kind != expected {
            wrong.push(format!("{}: {kind:?}", quoted.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_receipt_is_told_as_what_somebody_wrote() {
    for quoted in CORPUS.iter() {
        let has_tlvs =
            quoted.id_tlv.is_some() || quoted.state_tlv.is_some() || quoted.network_tlv.is_some();
        let fields = scan(&quoted.text);
        let misnamed = is_misnamed(4, has_tlvs, &fields, &quoted.text);
        assert!(!misnamed, "{}", quoted.name);
        // Nor where its TLVs were lost on the way.
        let misnamed = is_misnamed(4, false, &fields, &quoted.text);
        assert!(!misnamed, "{} without TLVs", quoted.name);
    }
}

#[test]
fn what_somebody_wrote_is_told_though_esm_class_calls_it_a_receipt() {
    for text in [
        "STOP",
        "Yes please, 2 tickets",
        "Hej! \u{e5}ker du?",
        "id badges",
    ] {
        let fields = scan(text.as_bytes());
        for esm_class in [0x04, 0x44, 0x07] {
            let misnamed = is_misnamed(esm_class, false, &fields, text.as_bytes());
            assert!(misnamed, "{text} {esm_class:#x}");
        }
        for esm_class in [0x00, 0x14, 0x20, 0x08] {
            let misnamed = is_misnamed(esm_class, false, &fields, text.as_bytes());
            assert!(!misnamed, "{text} {esm_class:#x}");
        }
        assert!(!is_misnamed(4, true, &fields, text.as_bytes()), "{text}");
    }
    for text in [
        "",
        "  ",
        "12",
        "Message DELIVRD",
        "err:012",
        "dlvrd:001",
        "01,0210021543,30,id-9",
    ] {
        let misnamed = is_misnamed(4, false, &scan(text.as_bytes()), text.as_bytes());
        assert!(!misnamed, "{text}");
    }
}

#[test]
fn the_corpus_has_its_size_and_its_sources() {
    assert!(CORPUS.len() >= 60, "{} receipts", CORPUS.len());
    let real = |quoted: &&Quoted| matches!(quoted.kind.as_str(), "captured" | "documented");
    let linked = |quoted: &&Quoted| quoted.source.starts_with("https://");
    let linked = CORPUS.iter().filter(real).filter(linked).count();
    assert!(
        linked >= 30,
        "{linked} quoted from live links or vendors, with their links"
    );
    let mut names: Vec<&str> = CORPUS.iter().map(|quoted| quoted.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CORPUS.len(), "a name is there twice");
}

/// How a receipt is written anew.
#[derive(Clone, Debug)]
struct Hand {
    /// Which of the corpus.
    which: usize,
    /// Sorts the keys.
    order: Vec<u32>,
    /// Which keys are left out, but for id and stat.
    left_out: Vec<bool>,
    /// 0 as they are, 1 upper, 2 lower case.
    key_case: u8,
    /// 0 as it is, 1 upper, 2 lower, 3 first letter upper.
    stat_case: u8,
    between: &'static str,
    after_colon: &'static str,
    date_key: &'static str,
    /// Octets of the text that are lost at its end, behind id and stat.
    lost: usize,
}

fn hand() -> impl Strategy<Value = Hand> {
    let between = prop_oneof![
        Just(" "),
        Just("  "),
        Just("\r\n"),
        Just(","),
        Just(" \0"),
        Just("\t")
    ];
    let blanks = prop_oneof![Just(""), Just(" "), Just("  ")];
    let date = prop_oneof![Just(" date"), Just("_date"), Just("date"), Just("-date")];
    (
        (0usize..1_000, proptest::collection::vec(any::<u32>(), 8)),
        proptest::collection::vec(any::<bool>(), 8),
        (0u8..3, 0u8..4),
        (between, blanks, date),
        prop_oneof![Just(0usize), 0usize..80],
    )
        .prop_map(
            |((which, order), left_out, (key_case, stat_case), words, lost)| Hand {
                which,
                order,
                left_out,
                key_case,
                stat_case,
                between: words.0,
                after_colon: words.1,
                date_key: words.2,
                lost,
            },
        )
}

/// A receipt of the corpus in another hand, and its id and state.
fn rewritten(hand: &Hand) -> Option<(Vec<u8>, Vec<u8>, State)> {
    let fit: Vec<&Quoted> = CORPUS
        .iter()
        .filter(|quoted| quoted.format.is_none())
        .collect();
    let fields = scan(&fit[hand.which % fit.len()].text);
    let (id, state) = (fields.id?, State::from_text(fields.stat?)?);
    let stat = fields
        .stat?
        .split(|octet| !octet.is_ascii_alphanumeric())
        .next()?;
    let cased = |text: &[u8], case: u8| match case {
        1 => text.to_ascii_uppercase(),
        2 => text.to_ascii_lowercase(),
        3 => [
            text[..1].to_ascii_uppercase(),
            text[1..].to_ascii_lowercase(),
        ]
        .concat(),
        _ => text.to_vec(),
    };
    let key = |key: String| cased(key.as_bytes(), hand.key_case);
    let mut parts: Vec<(u32, Vec<u8>)> = Vec::new();
    let dates = [("submit", fields.submit_date), ("done", fields.done_date)];
    let plain = [
        ("sub", fields.sub),
        ("dlvrd", fields.dlvrd),
        ("err", fields.err),
    ];
    let dated = dates.map(|(name, value)| (format!("{name}{}", hand.date_key), value));
    let plain = plain.map(|(name, value)| (name.to_owned(), value));
    let optional = dated.into_iter().chain(plain).zip(&hand.left_out);
    for (index, ((name, value), left_out)) in optional.enumerate() {
        if let (Some(value), false) = (value, left_out) {
            let part = [&key(name)[..], b":", hand.after_colon.as_bytes(), value].concat();
            parts.push((hand.order[index], part));
        }
    }
    let stat = cased(stat, hand.stat_case);
    // What is cut off at the end must not be what is looked for.
    let first = |index: usize| if hand.lost == 0 { hand.order[index] } else { 0 };
    parts.push((
        first(6),
        [&key("id".into())[..], b":", hand.after_colon.as_bytes(), id].concat(),
    ));
    let stat = [
        &key("stat".into())[..],
        b":",
        hand.after_colon.as_bytes(),
        &stat,
    ]
    .concat();
    parts.push((first(7), stat));
    parts.sort();
    let kept: usize = parts.iter().take(2).map(|(_, part)| part.len()).sum();
    let mut text: Vec<u8> = Vec::new();
    for (_, part) in &parts {
        text.extend_from_slice(part);
        text.extend_from_slice(hand.between.as_bytes());
    }
    if !hand.left_out[7] {
        text.extend_from_slice(b"text:id:999 stat:UNDELIV");
        text.extend_from_slice(fields.text.unwrap_or_default());
    }
    if hand.lost > 0 {
        let least = kept + 2 * hand.between.len();
        text.truncate(text.len().saturating_sub(hand.lost).max(least));
    }
    Some((text, id.to_vec(), state))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn id_and_state_are_read_in_every_hand(hand in hand()) {
        if let Some((text, id, state)) = rewritten(&hand) {
            let fields = scan(&text);
            let shown = text.escape_ascii().to_string();
            prop_assert_eq!(fields.id, Some(&id[..]), "{}", shown);
            prop_assert_eq!(fields.stat.and_then(State::from_text), Some(state), "{}", shown);
        }
    }
}
