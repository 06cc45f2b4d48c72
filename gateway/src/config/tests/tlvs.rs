//! `routes.*.tlvs.*`: what is read of it, and what is said about mistakes.

use super::*;
use crate::config::{Tlv, TlvKind};

/// A route with these lines about one TLV, `routes.a.tlvs.pe`.
fn route(version: &str, tlv: &str) -> String {
    format!(
        "[tenants.acme]\nsenders = [\"*\"]\n[routes.a]\ntype = \"smpp\"\nhosts = [\"h:1\"]\n\
         system_id = \"x\"\npassword = {{ env = \"SHORT\" }}\nversion = \"{version}\"\n\
         [routes.a.tlvs.pe]\n{tlv}\n"
    )
}

fn read(tlv: &str) -> Tlv {
    let (config, _) =
        load_text(&route("3.4", tlv), &env(), false).unwrap_or_else(|p| panic!("{tlv}: {p:#?}"));
    let mut tlvs = config.routes["a"].tlvs.clone();
    assert_eq!(tlvs.len(), 1);
    tlvs.remove(0)
}

#[test]
fn each_type_goes_out_in_its_octets() {
    let cases: [(&str, TlvKind, &[u8]); 6] = [
        (
            "type = \"cstring\"\nvalue = \"1101\"",
            TlvKind::CString,
            b"1101\0",
        ),
        (
            "type = \"octets\"\nvalue = \"å\"",
            TlvKind::Octets,
            "å".as_bytes(),
        ),
        ("type = \"hex\"\nvalue = \"00fF\"", TlvKind::Hex, b"\0\xff"),
        ("type = \"u8\"\nvalue = 255", TlvKind::U8, b"\xff"),
        ("type = \"u16\"\nvalue = 258", TlvKind::U16, b"\x01\x02"),
        ("type = \"u32\"\nvalue = 258", TlvKind::U32, b"\0\0\x01\x02"),
    ];
    for (lines, kind, sent) in cases {
        let tlv = read(&format!("tag = 0x1400\ndirection = \"both\"\n{lines}"));
        assert_eq!((tlv.tag, tlv.kind, tlv.read), (0x1400, kind, true));
        assert_eq!(tlv.sent.as_deref(), Some(sent));
    }
    let tlv = read("tag = 0x1400\ntype = \"cstring\"\ndirection = \"out\"");
    assert_eq!(
        (tlv.out, tlv.sent),
        (true, None),
        "a value for each message"
    );
    let tlv = read("tag = 0x1411\ntype = \"cstring\"\ndirection = \"in\"");
    assert!(!tlv.out);
    assert_eq!((tlv.name.as_str(), tlv.sent, tlv.read), ("pe", None, true));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_mistake_about_a_tlv_is_said_once() {
    let out = "type = \"cstring\"\ndirection = \"out\"";
    let cases = [
        (
            "tag = 0",
            "type = \"u8\"\ndirection = \"in\"",
            "tlvs.pe.tag = 0: expected 1..=65535",
        ),
        (
            "tag = 0x1400",
            "type = \"text\"\ndirection = \"in\"",
            "tlvs.pe.type = \"text\": expected",
        ),
        (
            "tag = 0x1400",
            "type = \"u8\"\ndirection = \"in\"\nvalue = 1",
            "no value where direction",
        ),
        (
            "tag = 0x0424",
            &format!("{out}\nvalue = \"x\""),
            "the gateway writes itself",
        ),
        (
            "tag = 0x020C",
            "type = \"u16\"\ndirection = \"out\"\nvalue = 1",
            "the gateway writes itself",
        ),
        (
            "tag = 0x001E",
            &format!("{out}\nvalue = \"x\""),
            "submit_sm may carry; this one is receipted_message_id",
        ),
        (
            "tag = 0x0005",
            "type = \"u8\"\ndirection = \"out\"\nvalue = 9",
            "a value that dest_addr_subunit may have",
        ),
        (
            "tag = 0x1400",
            "type = \"u8\"\ndirection = \"out\"\nvalue = 256",
            "tlvs.pe.value = 256: expected",
        ),
        (
            "tag = 0x1400",
            "type = \"u8\"\ndirection = \"out\"\nvalue = \"1\"",
            "a number from 0 to 255",
        ),
        (
            "tag = 0x1400",
            "type = \"hex\"\ndirection = \"out\"\nvalue = \"0\"",
            "hexadecimal digits",
        ),
        (
            "tag = 0x1400",
            &format!("{out}\nvalue = \"\""),
            "1 to 254 ASCII characters",
        ),
        (
            "tag = 0x1400",
            "type = \"u8\"\ndirection = \"in\"\nnul = true",
            "tlvs.pe.nul: unknown key",
        ),
    ];
    for (tag, lines, said) in cases {
        let text = route("3.4", &format!("{tag}\n{lines}"));
        let problems = load_text(&text, &env(), false).expect_err("a mistake");
        assert!(
            problems.len() == 1 && problems[0].contains(said),
            "{tag} {lines}: wanted {said}, got {problems:#?}"
        );
    }
}

#[test]
fn smpp_33_has_no_tlvs_to_send_and_each_tag_stands_once() {
    let tlv = "tag = 0x1400\ntype = \"u8\"\ndirection = \"out\"\nvalue = 1";
    let text = route("3.3", tlv).replace(
        "[routes.a]",
        "[routes.a]\nbind = \"transmitter\"\nreceipts = { enabled = false }",
    );
    let problems = load_text(&text, &env(), false).expect_err("3.3");
    assert!(
        problems[0].contains("SMPP 3.3 has no TLVs"),
        "{problems:#?}"
    );
    let text = format!("{}[routes.a.tlvs.again]\n{tlv}\n", route("3.4", tlv));
    let problems = load_text(&text, &env(), false).expect_err("twice");
    assert!(
        problems.len() == 1 && problems[0].contains("each tag once"),
        "{problems:#?}"
    );
    let many: String = (0..17)
        .map(|at| {
            format!(
                "[routes.a.tlvs.t{at}]\ntag = {}\ntype = \"u8\"\ndirection = \"in\"\n",
                0x1500 + at
            )
        })
        .collect();
    let text = format!("{}{many}", route("3.4", tlv));
    let problems = load_text(&text, &env(), false).expect_err("too many");
    assert!(
        problems.len() == 1 && problems[0].contains("at most 16 TLVs"),
        "{problems:#?}"
    );
}
