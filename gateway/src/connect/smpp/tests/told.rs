//! What a route is told by its config, as it goes out: octets written by hand.

use codecs::smpp::Limits;

use super::raw::{Carrier, Pdu, SUBMIT, SUBMIT_RESP};
use super::*;

/// The one submit_sm of a message from `from`.
async fn submitted(carrier: &mut Carrier, rig: &mut Rig, from: &str) -> Vec<u8> {
    let mut message = message("+46701234567", "hi");
    message.texts = Texts::pack([from, "hi", "", "", "", "", "", "", "", ""]).unwrap();
    rig.send(vec![attempt(1, &Arc::new(message), 0)]).await;
    let Pdu(command, _, sequence, body) = carrier.read().await;
    assert_eq!(command, SUBMIT);
    carrier.write(&[(SUBMIT_RESP, 0, sequence, b"1\0")]).await;
    rig.answers(1).await;
    body
}

#[tokio::test]
async fn binds_and_submits_say_what_the_carrier_gave_also_beyond_the_specification() {
    let mut carrier = Carrier::new().await;
    let longer = "a-name-of-twenty-four-oc";
    let sender = "twenty-one-characters";
    let config = Config {
        system_id: longer.into(),
        system_type: "OTA-OTA-OTA-OTA".into(),
        address_range: "^4670".into(),
        addr: (2, 8),
        service_type: "CELLULAR".into(),
        limits: Limits {
            system_id: 25,
            system_type: 16,
            service_type: 9,
            address: 22,
            ..Limits::SPEC
        },
        ..carrier.config()
    };
    let mut rig = start(config);
    let bind = carrier.bind().await;
    let said = b"a-name-of-twenty-four-oc\0secret\0OTA-OTA-OTA-OTA\0\x34\x02\x08^4670\0";
    assert_eq!(bind, said);
    rig.up().await;
    let body = submitted(&mut carrier, &mut rig, sender).await;
    assert!(body.starts_with(b"CELLULAR\0\x05\0twenty-one-characters\0\x01\x01"));
}

#[tokio::test]
async fn a_sender_that_the_carrier_does_not_take_is_not_sent_at_all() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    let mut message = message("+46701234567", "hi");
    let from = "twenty-one-characters";
    message.texts = Texts::pack([from, "hi", "", "", "", "", "", "", "", ""]).unwrap();
    rig.send(vec![attempt(1, &Arc::new(message), 0)]).await;
    let answers = rig.answers(1).await;
    assert_eq!(answers[&1].reason, Some(Reason::SenderInvalid));
}

#[tokio::test]
async fn validity_is_written_as_the_carrier_takes_it() {
    let forms = [
        (ValidityForm::Relative, 16, b'R'),
        (ValidityForm::Absolute, 16, b'+'),
        (ValidityForm::Absent, 0, 0),
    ];
    for (validity, octets, last) in forms {
        let mut carrier = Carrier::new().await;
        let config = carrier.config();
        let mut rig = start(Config { validity, ..config });
        carrier.bind().await;
        rig.up().await;
        let body = submitted(&mut carrier, &mut rig, "ACME").await;
        let rest = body
            .strip_prefix(b"\0\x05\0ACME\0\x01\x0146701234567\0\0\0\0\0")
            .unwrap();
        let end = rest.iter().position(|octet| *octet == 0).unwrap();
        assert_eq!(end, octets, "{validity:?}");
        assert_eq!(rest[..end].last().copied().unwrap_or(0), last);
        assert_eq!(rest[end + 1..], *b"\x01\0\0\0\x02hi");
    }
}

#[tokio::test]
async fn latin_1_goes_out_by_the_plain_path_with_data_coding_3() {
    let mut carrier = Carrier::new().await;
    let mut config = carrier.config();
    config.dialect.latin1 = true;
    let mut rig = start(config);
    carrier.bind().await;
    rig.up().await;
    let mut latin1 = message("+46701234567", "ça");
    latin1.encoding = Encoding::Latin1;
    rig.send(vec![attempt(1, &Arc::new(latin1), 0)]).await;
    let Pdu(command, _, _, body) = carrier.read().await;
    assert_eq!(command, SUBMIT);
    // registered_delivery, replace_if_present, data_coding, sm_default_msg_id, sm_length, text.
    assert!(body.ends_with(b"\x01\0\x03\0\x02\xe7a"), "{body:?}");
}
