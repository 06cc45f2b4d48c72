//! Receipts as carriers write them, one for each known deviation.

use proptest::prelude::*;

use super::*;

fn s(field: Option<&[u8]>) -> &str {
    std::str::from_utf8(field.unwrap_or_default()).unwrap()
}

/// id, stat, err, done date of a text.
type Expected = (&'static str, &'static str, &'static str, &'static str);

/// What the text shows, the text, what is read.
const TEXTS: &[(&str, &[u8], Expected)] = &[
    (
        "appendix B as written",
        b"id:0123456789 sub:001 dlvrd:001 submit date:2611210800 done date:2611210802 \
          stat:DELIVRD err:000 text:Your code is 481",
        ("0123456789", "DELIVRD", "000", "2611210802"),
    ),
    (
        "no sub and dlvrd (jsmpp #62)",
        b"id:7A3F01C2 submit date:2611210800 done date:2611210802 stat:UNDELIV err:027 text:",
        ("7A3F01C2", "UNDELIV", "027", "2611210802"),
    ),
    (
        "id and stat only",
        b"id:42 stat:EXPIRED",
        ("42", "EXPIRED", "", ""),
    ),
    (
        "keys in capitals, another order",
        b"STAT:DELIVRD ID:88 ERR:0 DONE DATE:2611210802 SUBMIT DATE:2611210800",
        ("88", "DELIVRD", "0", "2611210802"),
    ),
    (
        "dates with underscores",
        b"id:1 submit_date:2611210800 done_date:2611210802 stat:DELIVRD err:000",
        ("1", "DELIVRD", "000", "2611210802"),
    ),
    (
        "dates in one word",
        b"id:1 submitdate:2611210800 donedate:2611210802 stat:DELIVRD err:000",
        ("1", "DELIVRD", "000", "2611210802"),
    ),
    (
        "blanks after and before the colon",
        b"id: 0123 sub: 001 dlvrd :001 submit date : 2611210800 done date: 2611210802 \
          stat: DELIVRD err: 000 Text: hi",
        ("0123", "DELIVRD", "000", "2611210802"),
    ),
    (
        "one field a line",
        b"id:9\r\nsub:001\r\ndlvrd:001\r\nsubmit date:2611210800\r\ndone date:2611210802\r\n\
          stat:DELIVRD\r\nerr:000\r\ntext:",
        ("9", "DELIVRD", "000", "2611210802"),
    ),
    (
        "uuid as id, capital Text",
        b"id:6F9619FF-8B86-D011-B42D-00C04FC964FF sub:001 dlvrd:001 stat:DELIVRD err:000 Text:x",
        ("6F9619FF-8B86-D011-B42D-00C04FC964FF", "DELIVRD", "000", ""),
    ),
    (
        "id with blanks and dashes",
        b"id:SAR-46701234567-1eedf843 part 2 sub:001 dlvrd:001 stat:DELIVRD err:000",
        ("SAR-46701234567-1eedf843 part 2", "DELIVRD", "000", ""),
    ),
    (
        "dates with seconds (jasmin #70)",
        b"id:4 sub:001 dlvrd:001 submit date:141023215250 done date:141023215253 stat:DELIVRD \
          err:000 text:",
        ("4", "DELIVRD", "000", "141023215253"),
    ),
    (
        "four-digit years",
        b"id:4 submit date:20261121080000 done date:20261121080205 stat:DELIVRD err:000",
        ("4", "DELIVRD", "000", "20261121080205"),
    ),
    (
        "dates with punctuation and blanks",
        b"id:4 submit date:2026-11-21 08:00:00 done date:2026-11-21 08:02:05 stat:DELIVRD err:000",
        ("4", "DELIVRD", "000", "2026-11-21 08:02:05"),
    ),
    (
        "seconds since 1970",
        b"id:4 submit date:1795248000 done date:1795248125 stat:DELIVRD err:000",
        ("4", "DELIVRD", "000", "1795248125"),
    ),
    (
        "zeros for a date (jasmin #447), FAILED",
        b"id:4 sub:001 dlvrd:000 submit date:2611210800 done date:0000000000 stat:FAILED err:001",
        ("4", "FAILED", "001", "0000000000"),
    ),
    (
        "letters in err (cloudhopper #40)",
        b"id:5 sub:001 dlvrd:000 stat:UNDELIV err:21b text:",
        ("5", "UNDELIV", "21b", ""),
    ),
    (
        "four digits in err",
        b"id:5 sub:001 dlvrd:000 stat:UNDELIV err:0032 text:",
        ("5", "UNDELIV", "0032", ""),
    ),
    (
        "negative err",
        b"id:5 stat:REJECTD err:-1 text:",
        ("5", "REJECTD", "-1", ""),
    ),
    (
        "hex err",
        b"id:5 stat:REJECTD err:0x45 text:",
        ("5", "REJECTD", "0x45", ""),
    ),
    (
        "empty err",
        b"id:5 stat:DELIVRD err: text:hello",
        ("5", "DELIVRD", "", ""),
    ),
    (
        "empty err at the end",
        b"id:5 stat:DELIVRD err:",
        ("5", "DELIVRD", "", ""),
    ),
    (
        "NULs and binary in the text (php-smpp #70)",
        b"id:6 sub:001 dlvrd:001 stat:DELIVRD err:000 text:\x00\x01\xff\xfe id:7 stat:EXPIRED",
        ("6", "DELIVRD", "000", ""),
    ),
    (
        "NUL at the end",
        b"id:6 sub:001 dlvrd:001 stat:DELIVRD err:000\x00",
        ("6", "DELIVRD", "000", ""),
    ),
    (
        "text cut inside a character",
        b"id:6 stat:DELIVRD err:000 text:R\xc3\xa4ksm\xc3",
        ("6", "DELIVRD", "000", ""),
    ),
    (
        "a text that looks like a receipt",
        b"id:6 stat:DELIVRD err:000 text:id:99 stat:UNDELIV err:001",
        ("6", "DELIVRD", "000", ""),
    ),
    (
        "stat in lower case",
        b"id:6 stat:delivrd err:000",
        ("6", "delivrd", "000", ""),
    ),
    (
        "stat in full words",
        b"id:6 stat:Undeliverable err:000 text:",
        ("6", "Undeliverable", "000", ""),
    ),
    (
        "delivered, yet dlvrd 000 and an err (jasmin #760)",
        b"id:6 sub:001 dlvrd:000 stat:DELIVRD err:002 text:",
        ("6", "DELIVRD", "002", ""),
    ),
    (
        "commas between the fields",
        b"id:6,sub:001,dlvrd:001,done date:2611210802,stat:DELIVRD,err:000",
        ("6", "DELIVRD", "000", "2611210802"),
    ),
    (
        "the same key twice",
        b"id:6 stat:DELIVRD err:000 id:7 stat:UNDELIV",
        ("6", "DELIVRD", "000", ""),
    ),
    (
        "words before the first key",
        b"Receipt id:6 stat:DELIVRD",
        ("6", "DELIVRD", "", ""),
    ),
    (
        "cut off inside a key",
        b"id:6 sub:001 dlvrd:001 submit da",
        ("6", "", "", ""),
    ),
    (
        "comma separated values (Vodafone), which no key names",
        b"00,0210021543,0210021500,,447700900001,447700900002,12345",
        ("", "", "", ""),
    ),
    ("a message", b"STOP", ("", "", "", "")),
    ("nothing", b"", ("", "", "", "")),
];

#[test]
fn reads_every_known_deviation() {
    for (what, text, expected) in TEXTS {
        let receipt = scan(text);
        let read = (
            s(receipt.id),
            s(receipt.stat),
            s(receipt.err),
            s(receipt.done_date),
        );
        assert_eq!(read, *expected, "{what}");
    }
}

#[test]
fn reads_the_counts_and_the_text() {
    let receipt = scan(TEXTS[0].1);
    assert_eq!(s(receipt.sub), "001");
    assert_eq!(s(receipt.dlvrd), "001");
    assert_eq!(s(receipt.submit_date), "2611210800");
    assert_eq!(s(receipt.text), "Your code is 481");
    assert_eq!(scan(b"id:1 stat:DELIVRD text:").text, None);
    let binary = scan(b"id:6 text:\x01a\xff id:7").text;
    assert_eq!(binary, Some(&b"a\xff id:7"[..]));
}

/// esm_class, receipted_message_id, message_state, text, by_text, what it is and what told it.
type Received<'a> = (
    u8,
    Option<&'a [u8]>,
    Option<u8>,
    &'a [u8],
    bool,
    (Kind, Quirks),
);

#[test]
fn tells_receipts_from_messages_by_the_ladder() {
    let text = TEXTS[0].1;
    let by_class = (Kind::Receipt, Quirks::NONE);
    let by_tlv = (Kind::Receipt, Quirks::RECEIPT_BY_TLV);
    let words = (Kind::Receipt, Quirks::RECEIPT_BY_TEXT);
    let message = (Kind::Message, Quirks::NONE);
    let acknowledgement = (Kind::Acknowledgement, Quirks::NONE);
    let intermediate = (Kind::Intermediate, Quirks::NONE);
    let cases: [Received<'_>; 18] = [
        (0x04, None, None, b"", false, by_class),
        (0x44, None, None, text, false, by_class),
        (0x07, None, None, text, false, by_class),
        (0x20, None, None, text, false, intermediate),
        (0x00, Some(b"42"), None, b"", false, by_tlv),
        (0x00, None, Some(2), b"", false, by_tlv),
        (0x08, None, None, text, true, acknowledgement),
        (0x10, None, None, b"", false, acknowledgement),
        (0x08, Some(b"42"), None, b"", false, by_tlv),
        (0x00, None, None, text, true, words),
        (0x00, None, None, text, false, message),
        (0x00, None, None, b"id: my stat?", true, message),
        (0x0c, None, None, text, false, words),
        (0x14, None, None, text, false, words),
        (0x64, None, None, text, false, words),
        (0x24, None, Some(2), b"", false, by_tlv),
        (0x14, None, None, b"hello", false, message),
        (0x18, None, None, text, false, message),
    ];
    for (esm_class, id, state, text, by_text, expected) in cases {
        assert_eq!(
            detect(esm_class, id, state, text, by_text),
            expected,
            "{esm_class:#x} {text:?}"
        );
    }
}

#[test]
fn states_map_from_octets_and_words() {
    let finals = [
        false, false, true, true, true, true, false, true, true, true,
    ];
    for (octet, is_final) in (0..).zip(finals) {
        let state = State::from_octet(octet).unwrap();
        assert_eq!(state as u8, octet);
        assert_eq!(state.is_final(), is_final, "{state:?}");
    }
    assert_eq!(State::from_octet(10), None);
    let words: [(&str, State); 12] = [
        ("DELIVRD", State::Delivered),
        ("delivered", State::Delivered),
        ("EXPIRED", State::Expired),
        ("CANCELED", State::Deleted),
        ("FAILED", State::Undeliverable),
        ("UNDELIVRD", State::Undeliverable),
        ("ACKED", State::Accepted),
        ("BUFFRED", State::Enroute),
        ("UNKNOWN", State::Unknown),
        ("Rejected", State::Rejected),
        ("SCHEDLD", State::Scheduled),
        ("SKIPPED", State::Skipped),
    ];
    for (word, state) in words {
        assert_eq!(State::from_text(word.as_bytes()), Some(state), "{word}");
    }
    assert_eq!(State::from_text(b"DELIV"), None);
    assert_eq!(State::from_text(b""), None);
}

#[test]
fn tlvs_win_over_text_unless_the_text_is_preferred() {
    let text = scan(b"id:11 stat:DELIVRD err:002");
    let tlvs = Tlvs {
        receipted_message_id: Some(b"0B\0"),
        message_state: Some(5),
        network_error_code: Some(&[3, 0, 27]),
    };
    let verdict = resolve(tlvs, &text, false);
    assert_eq!(verdict.id, Some(&b"0B"[..]));
    assert_eq!(verdict.state, Some(State::Undeliverable));
    assert_eq!(
        verdict.network_error,
        Some(NetworkError {
            network: 3,
            code: 27
        })
    );
    assert_eq!(verdict.err, Some(&b"002"[..]));
    assert_eq!(resolve(tlvs, &text, true).state, Some(State::Delivered));
    let odd = Tlvs {
        receipted_message_id: Some(b"\0"),
        message_state: Some(99),
        ..tlvs
    };
    let verdict = resolve(odd, &text, false);
    assert_eq!(
        (verdict.id, verdict.state),
        (Some(&b"11"[..]), Some(State::Delivered))
    );
}

#[test]
fn network_errors_come_in_several_shapes() {
    let gsm = |code| Some(NetworkError { network: 3, code });
    let cases: [(&[u8], Option<NetworkError>); 11] = [
        (&[3, 0, 34], gsm(34)),
        (&[3, 1, 2], gsm(258)),
        (b"3034", gsm(34)),
        (b"30034", gsm(34)),
        (b"327", gsm(27)),
        (&[3, 0, 34, 0], gsm(34)),
        (&[0, 3, 0, 34], gsm(34)),
        (&[3, 0, 0, 34], gsm(34)),
        (
            &[8, 0, 0],
            Some(NetworkError {
                network: 8,
                code: 0,
            }),
        ),
        (&[3], None),
        (&[], None),
    ];
    for (value, expected) in cases {
        assert_eq!(NetworkError::parse(value), expected, "{value:?}");
    }
}

#[test]
fn gsm_errors_have_the_words_of_the_contract() {
    let reason = NetworkError {
        network: 3,
        code: 27,
    }
    .reason()
    .unwrap();
    assert_eq!(
        (reason.code, reason.category, reason.permanent),
        ("absent_subscriber", "recipient", false)
    );
    assert_eq!(
        NetworkError {
            network: 8,
            code: 27
        }
        .reason(),
        None
    );
    assert_eq!(gsm_reason(1).unwrap().code, "unknown_subscriber");
    assert!(gsm_reason(1).unwrap().permanent);
    assert_eq!(gsm_reason(0), None);
    assert_eq!(gsm_reason(9999), None);
    assert_eq!(error_number(b"0032"), Some(32));
    assert_eq!(error_number(b"000"), Some(0));
    for other in [&b"21b"[..], b"-1", b"+1", b"", b"\xff", b"99999999999"] {
        assert_eq!(error_number(other), None);
    }
    assert_eq!(
        state_reason(State::Expired).unwrap().code,
        "expired_at_carrier"
    );
    assert_eq!(state_reason(State::Delivered), None);
}

#[test]
fn dates_come_in_several_shapes() {
    // 2026-11-21T08:02:00Z
    let minute = 1_795_248_120_000;
    let cases: [(&[u8], Option<i64>); 14] = [
        (b"2611210802", Some(minute)),
        (b"261121080205", Some(minute + 5000)),
        (b"202611210802", Some(minute)),
        (b"20261121080205", Some(minute + 5000)),
        (b"2026-11-21 08:02:05", Some(minute + 5000)),
        (b"2026-11-21T08:02:05Z", Some(minute + 5000)),
        (b"26/11/21 08:02", Some(minute)),
        (b"1795248125", Some(minute + 5000)),
        (b"1795248125123", Some(minute + 5123)),
        (b"0000000000", None),
        (b"", None),
        (b"261321080", None),
        (b"20261321080205", None),
        (b"never", None),
    ];
    for (text, expected) in cases {
        assert_eq!(
            date_ms(text, 0),
            expected,
            "{}",
            String::from_utf8_lossy(text)
        );
    }
    assert_eq!(date_ms(b"2611211002", 120), Some(minute));
    assert_eq!(date_ms(b"1795248125", 120), Some(minute + 5000));
    assert_eq!(date_ms(b"2402290000", 0), Some(1_709_164_800_000));
}

fn forms(raw: &[u8]) -> Vec<(Rung, String)> {
    let text = |form: IdForm| (form.rung, String::from_utf8(form.key.to_vec()).unwrap());
    id_forms(raw).into_iter().map(text).collect()
}

#[test]
fn ids_have_their_forms_in_order() {
    use Rung::{CaseFolded, DecimalToHex, Exact, HexToDecimal, ZerosStripped};
    let expect = |raw: &[u8], expected: &[(Rung, &str)]| {
        let forms = forms(raw);
        let forms: Vec<_> = forms
            .iter()
            .map(|(rung, key)| (*rung, key.as_str()))
            .collect();
        assert_eq!(forms, expected);
    };
    expect(
        b"7A3F01C2",
        &[
            (Exact, "7A3F01C2"),
            (CaseFolded, "7a3f01c2"),
            (HexToDecimal, "2050949570"),
        ],
    );
    expect(
        b"0000000016",
        &[
            (Exact, "0000000016"),
            (ZerosStripped, "16"),
            (DecimalToHex, "10"),
            (HexToDecimal, "22"),
        ],
    );
    expect(
        b"SAR-46-1EEDF843",
        &[(Exact, "SAR-46-1EEDF843"), (CaseFolded, "sar-46-1eedf843")],
    );
    expect(b"007-x", &[(Exact, "007-x")]);
    expect(b"000", &[(Exact, "000"), (ZerosStripped, "0")]);
    expect(b"", &[(Exact, "")]);
    expect(
        b"ffffffffffffffffffffffffffffffff",
        &[
            (Exact, "ffffffffffffffffffffffffffffffff"),
            (HexToDecimal, "340282366920938463463374607431768211455"),
        ],
    );
    let above = "9".repeat(40);
    expect(above.as_bytes(), &[(Exact, &above)]);
}

#[test]
fn hex_in_the_answer_meets_decimal_in_the_receipt() {
    for (answer, receipt) in [("7A3F01C2", "2050949570"), ("2050949570", "07a3f01c2")] {
        let kept = canonical_key(answer.as_bytes());
        assert!(
            id_forms(receipt.as_bytes())
                .iter()
                .any(|form| form.key == kept)
        );
    }
}

#[test]
fn a_transform_keeps_what_both_ids_have_in_common() {
    let transform = |prefix: &str, suffix: &str, first, last| Transform {
        strip_prefix: prefix.as_bytes().into(),
        strip_suffix: suffix.as_bytes().into(),
        first,
        last,
    };
    let is = |transform: &Transform, answer: &str, receipt: &str| {
        relate(answer.as_bytes(), receipt.as_bytes(), transform) == Some(Rung::Transformed)
    };
    let prefixed = transform("SMSC1:", "", None, None);
    assert!(is(&prefixed, "0042", "smsc1:42") && is(&prefixed, "SMSC1:42", "42"));
    assert!(!is(&prefixed, "43", "SMSC1:42"));
    assert!(is(&transform("", "-0", None, None), "ab12-0", "AB12"));
    let first = transform("", "", Some(10), None);
    assert!(is(&first, "0123456789abcdef", "0123456789"));
    assert!(!is(&first, "0123456788abcdef", "0123456789"));
    let last = transform("", "", None, Some(4));
    assert!(is(&last, "77-9f3c", "9F3C") && !is(&last, "77-9f3d", "9F3C"));
    let between = transform("id=", "", Some(6), Some(3));
    assert_eq!(between.apply(b"id=abcdefgh"), b"def");
    assert_eq!(
        prefixed.apply(b"SMSC1:"),
        b"SMSC1:",
        "an id never becomes empty"
    );
}

proptest! {
    #[test]
    fn every_rung_relates_what_it_makes(id in "[0-9a-zA-Z-]{1,24}", zeros in 0usize..4) {
        let none = Transform::default();
        for form in id_forms(id.as_bytes()) {
            let rung = relate(&form.key, id.as_bytes(), &none);
            prop_assert!(rung.is_some_and(|rung| rung <= form.rung), "{form:?} {rung:?}");
        }
        let padded = format!("{}{id}", "0".repeat(zeros));
        let related = relate(id.as_bytes(), padded.as_bytes(), &none);
        prop_assert!(related.is_some() || id.bytes().any(|b| !b.is_ascii_hexdigit()) );
    }

    #[test]
    fn ids_of_other_numbers_are_never_related(one: u64, other: u64, upper: bool) {
        prop_assume!(one != other);
        let none = Transform::default();
        let hex = |number: u64| if upper { format!("{number:X}") } else { format!("{number:x}") };
        // What one connection writes in one base meets what it writes in the other.
        prop_assert_ne!(
            relate(hex(one).as_bytes(), other.to_string().as_bytes(), &none),
            Some(Rung::DecimalToHex)
        );
        prop_assert_ne!(
            relate(one.to_string().as_bytes(), hex(other).as_bytes(), &none),
            Some(Rung::HexToDecimal)
        );
    }

    #[test]
    fn the_scanner_takes_anything(raw: Vec<u8>) {
        let receipt = scan(&raw);
        let longest = [receipt.id, receipt.stat, receipt.err, receipt.text, receipt.done_date];
        prop_assert!(longest.iter().flatten().all(|field| field.len() <= raw.len()));
        let _ = (id_forms(&raw), canonical_key(&raw), date_ms(&raw, 0), NetworkError::parse(&raw));
    }

    #[test]
    fn case_and_zeros_never_tell_ids_apart(id in "[0-9a-f]{1,32}", zeros in 0usize..5) {
        let other = format!("{}{}", "0".repeat(zeros), id.to_uppercase());
        prop_assert_eq!(canonical_key(id.as_bytes()), canonical_key(other.as_bytes()));
    }

    #[test]
    fn both_bases_lead_back(number: u128) {
        let (hex, decimal) = (format!("{number:X}"), number.to_string());
        let of_hex = id_forms(hex.as_bytes());
        prop_assert!(of_hex.iter().any(|form| form.key[..] == *decimal.as_bytes()));
        let of_decimal = id_forms(decimal.as_bytes());
        prop_assert!(of_decimal.iter().any(|form| form.key == canonical_key(hex.as_bytes())));
    }
}
