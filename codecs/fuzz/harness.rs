//! What must hold for any octets at all. Plain functions: libFuzzer drives them with coverage, and
//! codecs/tests/fuzz.rs replays the corpora and seeded mutations of them on the stable toolchain.

use bytes::BytesMut;
use codecs::smpp::receipt::{self, NetworkError, Transform};
use codecs::smpp::tlv::{RULES, TLVS_MAX};
use codecs::smpp::{
    CommandStatus, Field, Framing, HEADER_OCTETS, Limits, Pdu, Quirks, Tlvs, next_frame,
};
use codecs::text::{Alphabet, Charset, Dcs, Udh, decode, gsm7, ucs2};

#[path = "harness/push.rs"]
mod push_services;
#[path = "harness/session.rs"]
mod session_steps;

/// Any octets, calls and times in a session of either role.
pub(crate) fn session(data: &[u8]) {
    session_steps::session(data);
}

/// Any status and body as APNs' answer.
pub(crate) fn apns(data: &[u8]) {
    push_services::apns(data);
}

/// Any status and body as FCM's answer.
pub(crate) fn fcm(data: &[u8]) {
    push_services::fcm(data);
}

/// Any object over a push message.
pub(crate) fn overlay(data: &[u8]) {
    push_services::overlay(data);
}

/// Any text as a token or a key.
pub(crate) fn token(data: &[u8]) {
    push_services::token(data);
}

/// As much as is read of any field: what was decoded can be sent again.
const WIDE: Limits = Limits {
    service_type: 257,
    address: 257,
    data_address: 257,
    system_id: 257,
    password: 257,
    system_type: 257,
    address_range: 257,
    message_id: 257,
    short_message: 255,
};

/// Any octets as one PDU: an error names an octet and a status, responses never fail, and what was
/// read is what is read again after it was written.
pub(crate) fn pdu(data: &[u8]) {
    let (header, read, quirks) = match Pdu::decode(data) {
        Ok(decoded) => decoded,
        Err(error) => {
            assert!(error.at <= data.len(), "{error}");
            assert!(!error.status().is_ok() && !error.to_string().is_empty());
            let header = codecs::smpp::Header::decode(data);
            assert!(
                header.is_none_or(|header| !header.command.is_response()),
                "a response never fails: {error}"
            );
            return;
        }
    };
    let named = quirks.names().count();
    assert!(named <= Quirks::NAMES.len() && (named == 0) == quirks.is_empty());
    let tlvs = tlvs_of(&read);
    assert!(tlvs.iter().count() <= TLVS_MAX);
    let _odd = tlvs.oddities(header.command);
    if let Some(status) = tlvs.breach(header.command) {
        assert!((0xC1..=0xC4).contains(&status.0));
    }
    for rule in RULES {
        let value = tlvs.find(rule.tag);
        assert!(value.is_none_or(|value| value.len() <= data.len()));
    }
    let mut out = BytesMut::new();
    if let Err(error) = read.encode(header, &WIDE, &mut out) {
        // Times are the one kind of field whose limit no connection widens.
        let times = [
            Field::FinalDate,
            Field::ScheduleDeliveryTime,
            Field::ValidityPeriod,
        ];
        assert!(times.contains(&error.field()) && out.is_empty(), "{error}");
        return;
    }
    let (again_header, again, _) = Pdu::decode(&out).expect("our own octets");
    assert_eq!(again_header.sequence, header.sequence);
    // Bodies of refusals are read by guessing (smpp.md §1.5), and fields that are missing are
    // written as 0: only there may the second reading differ.
    if header.status == CommandStatus::OK && !quirks.contains(Quirks::MISSING_FIELDS) {
        assert_eq!(again, read, "{quirks:?}");
    }
}

fn tlvs_of<'a>(pdu: &Pdu<'a>) -> Tlvs<'a> {
    match pdu {
        Pdu::SubmitSm(sm) => {
            assert!(sm.user_data().len() <= usize::from(u16::MAX));
            sm.tlvs
        }
        Pdu::DeliverSm(sm) => sm.tlvs,
        Pdu::DataSm(data) => data.tlvs,
        Pdu::SubmitMulti(multi) => {
            assert_eq!(multi.dests.iter().count(), usize::from(multi.dests.count()));
            multi.sm.tlvs
        }
        Pdu::SubmitMultiResp(resp) => {
            assert!(resp.unsuccess().count() <= 255);
            resp.tlvs
        }
        Pdu::SubmitSmResp(resp) | Pdu::DataSmResp(resp) | Pdu::DeliverSmResp(resp) => resp.tlvs,
        Pdu::BroadcastSm(sm) => sm.tlvs,
        Pdu::AlertNotification(alert) => alert.tlvs,
        _ => Tlvs::NONE,
    }
}

/// Any octets as a stream: PDUs of allowed lengths, until more is needed or the stream is no SMPP.
pub(crate) fn framing(data: &[u8]) {
    let Some((&pick, mut rest)) = data.split_first() else {
        return;
    };
    let octets_max = [16, 1_024, 7_424, 73_728][usize::from(pick % 4)];
    loop {
        match next_frame(rest, octets_max) {
            Ok(Framing::Complete { octets }) => {
                assert!((HEADER_OCTETS..=octets_max).contains(&octets) && octets <= rest.len());
                rest = &rest[octets..];
            }
            Ok(Framing::Incomplete { need }) => {
                assert!(need > rest.len() && need <= octets_max.max(HEADER_OCTETS));
                return;
            }
            Err(error) => {
                assert!(rest.len() >= 4, "judged from the four length octets");
                let length = usize::try_from(error.length).expect("64 bits");
                assert!(!(HEADER_OCTETS..=octets_max).contains(&length));
                assert!(!error.to_string().is_empty());
                return;
            }
        }
    }
}

/// Any octets as a receipt's text, id, error and date.
pub(crate) fn receipt(data: &[u8]) {
    let fields = receipt::scan(data);
    let id = fields.id.unwrap_or_default();
    assert!(id.len() <= data.len());
    let tlvs = receipt::Tlvs {
        receipted_message_id: data.get(1..9),
        message_state: data.first().copied(),
        network_error_code: data.get(..4),
    };
    for prefer_text in [false, true] {
        let verdict = receipt::resolve(tlvs, &fields, prefer_text);
        assert!(verdict.id.is_none_or(|id| id.len() <= data.len()));
    }
    let _kind = receipt::detect(
        data.first().copied().unwrap_or_default(),
        None,
        None,
        data,
        true,
    );
    let _key = receipt::canonical_key(data);
    assert!(receipt::id_forms(data).len() <= 8);
    let (one, other) = data.split_at(data.len() / 2);
    let rung = receipt::relate(one, other, &Transform::default());
    assert!(
        rung.is_some() || one != other || one.is_empty(),
        "an id is itself"
    );
    let _number = receipt::error_number(data);
    if let Some(error) = NetworkError::parse(data) {
        let _known = error.reason();
    }
    if let Some(date) = fields.done_date {
        let _ms = receipt::date_ms(date, 0);
    }
    let _ms = receipt::date_ms(data, -720);
}

/// Any octets behind esm_class 0x40: the header and the text make up all of them, and what is
/// written of the header reads the same.
pub(crate) fn udh(data: &[u8]) {
    let Ok((udh, text)) = Udh::split(data) else {
        let claimed = data.first().map_or(1, |&length| usize::from(length) + 1);
        assert!(claimed > data.len());
        return;
    };
    assert_eq!(udh.octets.len() + text.len(), data.len());
    let mut out = BytesMut::new();
    udh.fields.write(&mut out);
    assert_eq!(out.len(), udh.fields.octets());
    if !out.is_empty() {
        let (again, rest) = Udh::split(&out).expect("our own header");
        assert!(rest.is_empty() && !again.overrun);
        assert_eq!(again.fields, udh.fields);
    }
}

/// Any octets under any data_coding, with and without header: text of a bounded size; GSM 7-bit
/// that is text comes back.
pub(crate) fn text(data: &[u8]) {
    let [dcs, mode, octets @ ..] = data else {
        return;
    };
    let charset = Charset {
        default: [
            Alphabet::Gsm7,
            Alphabet::Latin1,
            Alphabet::Ascii,
            Alphabet::Gsm7Packed,
            Alphabet::Utf8,
        ][usize::from(mode % 5)],
        ia5_is_default: mode & 0x20 != 0,
        ucs2_little_endian: mode & 0x40 != 0,
    };
    let split = (mode & 0x80 != 0)
        .then(|| Udh::split(octets).ok())
        .flatten();
    let (udh, rest) = match &split {
        Some((udh, rest)) => (Some(udh), *rest),
        None => (None, octets),
    };
    let read = decode(rest, Dcs::parse(*dcs), udh, &charset);
    // Three octets of UTF-8 for each septet, and eight septets in seven octets.
    let octets_max = rest.len() * 8 / 7 * 3 + 8;
    assert!(read.text.is_none_or(|text| text.len() <= octets_max));
    let unpacked = gsm7::decode(octets);
    assert!(unpacked.chars().count() <= octets.len());
    let mut out = BytesMut::new();
    if gsm7::encode(&unpacked, &mut out).is_ok() {
        assert_eq!(gsm7::decode(&out), unpacked);
        assert_eq!(gsm7::septets(&unpacked), Ok(out.len()));
    }
    let read = ucs2::read(octets, false);
    out.clear();
    ucs2::encode(&read, &mut out);
    // A second byte order mark is text, and the first one where it is read again.
    if !read.starts_with(['\u{FEFF}', '\u{FFFE}']) {
        assert_eq!(ucs2::decode(&out), read);
    }
}
