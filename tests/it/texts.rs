//! Texts on the wire: what each key of a route's dialect does to the octets that its carrier gets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sim::smsc::Seen;
use trunkline_tests::Scene;
use trunkline_tests::scene::{number, smsc_config};

/// dest_addr_subunit. SMPP v3.4 §5.3.2.1.
const DEST_ADDR_SUBUNIT: u16 = 0x0005;
/// sar_msg_ref_num, sar_total_segments, sar_segment_seqnum. SMPP v3.4 §5.3.2.22 to .24.
const SAR: [u16; 3] = [0x020c, 0x020e, 0x020f];
/// message_payload. SMPP v3.4 §5.3.2.32.
const MESSAGE_PAYLOAD: u16 = 0x0424;

/// 200 septets: 153 and 47 behind an 8-bit reference, 152 and 48 behind a 16-bit one.
fn digits() -> String {
    "0123456789".repeat(20)
}

async fn scene(name: &str, line: &str) -> Scene {
    let change = |setup: &mut trunkline_tests::Setup| {
        setup.routes[0] = setup.routes[0].clone().with(line);
    };
    Scene::start(name, smsc_config(), change).await.unwrap()
}

/// Sends the nth message of a scene and waits until it is delivered; what the carrier saw of it, part
/// by part as they came, and the message.
async fn delivered(scene: &Scene, nth: usize, content: Value) -> (Vec<Seen>, Value) {
    let to = number(nth);
    let body = json!({"to": to, "from": "ACME", "content": content});
    let id = scene.send(&body).await;
    let message = scene.status(&id, "delivered").await;
    let mut seen = scene.smsc.messages();
    seen.retain(|seen| to.ends_with(&seen.dest.2));
    (seen, message)
}

/// As [`delivered`], of a message in one part.
async fn one(scene: &Scene, nth: usize, content: Value) -> Seen {
    let (mut seen, _) = delivered(scene, nth, content).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

/// The value of a TLV.
fn tlv(seen: &Seen, tag: u16) -> Option<&[u8]> {
    let mut rest = seen.tlvs.as_slice();
    while let [t1, t0, l1, l0, after @ ..] = rest {
        let (value, next) = after.split_at(usize::from(u16::from_be_bytes([*l1, *l0])));
        if u16::from_be_bytes([*t1, *t0]) == tag {
            return Some(value);
        }
        rest = next;
    }
    None
}

/// A part's header, without its length octet, and what follows.
fn header(seen: &Seen) -> (&[u8], &[u8]) {
    assert_eq!(seen.esm_class, 0x40, "{seen:?}");
    let (octets, rest) = seen.short_message.split_first().unwrap();
    rest.split_at(usize::from(*octets))
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// Septets from an octet's lowest bit up, from this bit on (3GPP TS 23.038 §6.1.2.1). Written here once
/// more: the codec is not asked about itself.
fn unpacked(octets: &[u8], from_bit: usize) -> Vec<u8> {
    let bit = |at: usize| octets[at / 8] >> (at % 8) & 1;
    let septets = (octets.len() * 8 - from_bit) / 7;
    let septet = |n: usize| (0..7).fold(0, |sum, b| sum | bit(from_bit + n * 7 + b) << b);
    (0..septets).map(septet).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn flash_is_said_in_each_of_the_ways_that_carriers_take() {
    for (word, gsm7, ucs2) in [
        ("f0", 0xf0, 0x18),
        ("10", 0x10, 0x18),
        ("18", 0x18, 0x18),
        ("tlv", 0x00, 0x08),
    ] {
        let scene = scene("flash", &format!("charset = {{ flash = {word:?} }}")).await;
        let flash = |text: &str| json!({"text": text, "sms": {"flash": true}});
        let subunit = (word == "tlv").then_some(&[1][..]);

        let seen = one(&scene, 1, flash("Hello @")).await;
        assert_eq!(
            (
                seen.data_coding,
                seen.esm_class,
                tlv(&seen, DEST_ADDR_SUBUNIT)
            ),
            (gsm7, 0, subunit),
            "{word}"
        );
        // The at sign is 0 in GSM 7-bit.
        let octets = match word {
            "18" => utf16("Hello @"),
            _ => b"Hello \0".to_vec(),
        };
        assert_eq!(seen.short_message, octets, "{word}");

        let seen = one(&scene, 2, flash("Привет")).await;
        assert_eq!(
            (
                seen.data_coding,
                &seen.short_message,
                tlv(&seen, DEST_ADDR_SUBUNIT)
            ),
            (ucs2, &utf16("Привет"), subunit),
            "{word}"
        );

        let seen = one(&scene, 3, json!({"text": "Hello @"})).await;
        assert_eq!((seen.data_coding, &*seen.tlvs), (0, &[][..]), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn octets_go_out_behind_the_customers_own_header() {
    let scene = scene("binary", "").await;
    // Ports 2948 and 9200, as WAP push has them (3GPP TS 23.040 §9.2.3.24.4).
    let ports = [0x05, 0x04, 0x0b, 0x84, 0x23, 0xf0];
    let udh = STANDARD.encode([&[6][..], &ports].concat());
    let data: Vec<u8> = (0..=199).collect();
    let content = |data: &[u8]| json!({"sms": {"encoding": "binary", "data": STANDARD.encode(data), "udh": udh}});

    let seen = one(&scene, 1, content(&data[..133])).await;
    assert_eq!(seen.data_coding, 0x04);
    assert_eq!(header(&seen), (&ports[..], &data[..133]));

    let (seen, _) = delivered(&scene, 2, content(&data)).await;
    assert_eq!(seen.len(), 2);
    let mut came = Vec::new();
    let mut references = Vec::new();
    for (part, seen) in (1..).zip(&seen) {
        let (header, octets) = header(seen);
        assert!(seen.short_message.len() <= 140, "{seen:?}");
        assert!(
            header.windows(6).any(|element| element == ports),
            "{seen:?}"
        );
        let concat = header.windows(5).find(|element| element[..2] == [0, 3]);
        let concat = concat.unwrap();
        assert_eq!(concat[3..], [2, part]);
        references.push(concat[2]);
        came.extend_from_slice(octets);
    }
    assert_eq!(came, data);
    assert_eq!(references[0], references[1]);

    let seen = one(
        &scene,
        3,
        json!({"sms": {"encoding": "binary", "data": "AP8="}}),
    )
    .await;
    assert_eq!(
        (seen.esm_class, seen.data_coding, &*seen.short_message),
        (0, 4, &[0, 255][..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_tied_by_sar_tlvs_and_have_no_header() {
    let scene = scene("sar", "long_messages = \"sar\"").await;
    let (seen, _) = delivered(&scene, 1, json!({"text": digits()})).await;
    let mut text = Vec::new();
    for (part, seen) in (1..).zip(&seen) {
        let [reference, total, number] = SAR.map(|tag| tlv(seen, tag));
        assert_eq!((seen.esm_class, seen.data_coding), (0, 0));
        assert_eq!((total, number), (Some(&[2][..]), Some(&[part][..])));
        assert_eq!(reference.map(<[u8]>::len), Some(2));
        text.extend_from_slice(&seen.short_message);
    }
    assert_eq!((seen.len(), text), (2, digits().into_bytes()));
    assert_eq!(tlv(&seen[0], SAR[0]), tlv(&seen[1], SAR[0]));

    let short = one(&scene, 2, json!({"text": "short"})).await;
    assert!(short.tlvs.is_empty(), "nothing to tie");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_goes_whole_in_message_payload_and_a_short_one_does_not() {
    let scene = scene("payload", "long_messages = \"payload\"").await;
    let (seen, message) = delivered(&scene, 1, json!({"text": digits()})).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(tlv(&seen[0], MESSAGE_PAYLOAD), Some(digits().as_bytes()));
    assert_eq!((seen[0].esm_class, seen[0].data_coding), (0, 0));
    assert_eq!(
        message["sms"]["segments"], 2,
        "as the network cuts it: {message}"
    );

    let cyrillic = "Привет ".repeat(20);
    let (seen, _) = delivered(&scene, 2, json!({"text": cyrillic})).await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(tlv(&seen[0], MESSAGE_PAYLOAD), Some(&*utf16(&cyrillic)));
    assert_eq!(seen[0].data_coding, 8);

    let short = one(&scene, 3, json!({"text": "short"})).await;
    assert_eq!(
        (&*short.short_message, short.tlvs.len()),
        (&b"short"[..], 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gsm7_is_packed_where_the_carrier_wants_it() {
    let scene = scene("packed", "charset = { default = \"gsm7-packed\" }").await;
    let seen = one(&scene, 1, json!({"text": "hellohello"})).await;
    // The example that every description of the packing has.
    let packed = [0xe8, 0x32, 0x9b, 0xfd, 0x46, 0x97, 0xd9, 0xec, 0x37];
    assert_eq!((seen.data_coding, &*seen.short_message), (0, &packed[..]));

    let (seen, _) = delivered(&scene, 2, json!({"text": digits()})).await;
    let mut text = Vec::new();
    for (part, seen) in (1..).zip(&seen) {
        let (concat, _) = header(seen);
        assert_eq!((&concat[..2], &concat[3..]), (&[0, 3][..], &[2, part][..]));
        assert!(seen.short_message.len() <= 140);
        // 6 octets of header are 48 bits: septets begin at the next multiple of 7 (3GPP TS 23.040
        // §9.2.3.24).
        text.extend(unpacked(&seen.short_message, 49));
    }
    assert_eq!((seen.len(), text), (2, digits().into_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn turkish_goes_in_its_own_tables_where_the_carrier_passes_them_on() {
    let scene = scene("turkish", "charset = { national = [\"turkish\"] }").await;
    // Mostly letters of the default alphabet: single shift table 1, dotless i 0x69 (3GPP TS 23.038
    // §A.2.1). In UCS-2 it were two parts.
    let text = format!("{} ìèùò ı", "x".repeat(90));
    let seen = one(&scene, 1, json!({"text": text})).await;
    let octets = [
        &[b'x'; 90][..],
        &[b' ', 0x07, 0x04, 0x06, 0x08, b' ', 0x1b, 0x69],
    ]
    .concat();
    assert_eq!(header(&seen), (&[0x24, 1, 1][..], &*octets));
    assert_eq!(seen.data_coding, 0);

    // Mostly Turkish: locking shift table 1, dotless i 0x07, s with cedilla 0x1D (§A.3.1).
    let seen = one(&scene, 2, json!({"text": "ışık".repeat(30)})).await;
    let octets = [0x07, 0x1d, 0x07, b'k'].repeat(30);
    assert_eq!(header(&seen), (&[0x25, 1, 1][..], &*octets));

    // A carrier that drops the header after all would show gibberish: no table without need.
    let seen = one(&scene, 6, json!({"text": "ışık"})).await;
    assert_eq!((seen.data_coding, seen.short_message), (8, utf16("ışık")));
    let seen = one(&scene, 3, json!({"text": "hello"})).await;
    assert_eq!((seen.esm_class, &*seen.short_message), (0, &b"hello"[..]));
    let seen = one(&scene, 4, json!({"text": "Привет"})).await;
    assert_eq!((seen.data_coding, seen.short_message), (8, utf16("Привет")));

    // The tables and the tie share one header.
    let long = "ışık ".repeat(40);
    let (seen, _) = delivered(&scene, 5, json!({"text": long})).await;
    let mut text = Vec::new();
    for (part, seen) in (1..).zip(&seen) {
        let (header, septets) = header(seen);
        assert_eq!(header.len(), 8, "{seen:?}");
        assert!(header.windows(3).any(|element| element == [0x25, 1, 1]));
        let concat = header.windows(5).find(|element| element[..2] == [0, 3]);
        assert_eq!(concat.unwrap()[3..], [2, part]);
        text.extend_from_slice(septets);
    }
    let octets = [0x07, 0x1d, 0x07, b'k', b' '].repeat(40);
    assert_eq!((seen.len(), text), (2, octets));
}

#[tokio::test(flavor = "multi_thread")]
async fn references_of_16_bits_leave_room_for_one_character_less() {
    let scene = scene("udh16", "long_messages = \"udh16\"").await;
    let (seen, _) = delivered(&scene, 1, json!({"text": digits()})).await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    let (digits, mut references) = (digits(), Vec::new());
    for ((part, seen), text) in (1..).zip(&seen).zip([&digits[..152], &digits[152..]]) {
        let (concat, octets) = header(seen);
        assert_eq!((concat.len(), &concat[..2]), (6, &[8, 4][..]));
        assert_eq!((&concat[4..], octets), (&[2, part][..], text.as_bytes()));
        references.push(&concat[2..4]);
    }
    assert_eq!(references[0], references[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn latin_1_is_what_data_coding_0_means_on_such_a_route() {
    let scene = scene("latin1", "charset = { default = \"latin1\" }").await;
    let seen = one(&scene, 1, json!({"text": "Åé @ñ"})).await;
    assert_eq!(
        (seen.data_coding, &*seen.short_message),
        (0, &[0xc5, 0xe9, b' ', b'@', 0xf1][..])
    );
    // The euro sign is in GSM 7-bit and not in Latin-1.
    let seen = one(&scene, 2, json!({"text": "5 €"})).await;
    assert_eq!((seen.data_coding, seen.short_message), (8, utf16("5 €")));
}

#[tokio::test(flavor = "multi_thread")]
async fn latin_1_is_a_coding_of_its_own_where_the_carrier_delivers_it() {
    let scene = scene("latin1-full", "charset = { latin1 = true }").await;
    let text = "garçon ".repeat(25);
    let (seen, message) = delivered(&scene, 1, json!({ "text": text })).await;
    assert_eq!(message["sms"]["encoding"], "latin1");
    assert_eq!(message["sms"]["segments"], 2);
    let mut octets = Vec::new();
    for part in &seen {
        assert_eq!(part.data_coding, 3);
        octets.extend_from_slice(header(part).1);
    }
    let latin1: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
    assert_eq!(octets, latin1);
    let gsm7 = one(&scene, 2, json!({"text": "café"})).await;
    assert_eq!(
        (gsm7.data_coding, &*gsm7.short_message),
        (0, &b"caf\x05"[..])
    );
    let ucs2 = one(&scene, 3, json!({"text": "ç €"})).await;
    assert_eq!((ucs2.data_coding, ucs2.short_message), (8, utf16("ç €")));
}
