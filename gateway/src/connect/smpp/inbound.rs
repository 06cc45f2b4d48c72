//! Inbound: a deliver_sm or data_sm that is no receipt, as a part of a handset's message.

use codecs::smpp::{Address, CommandId, Frame, Quirks, Tlvs};
use codecs::text::{Reference, Udh};

use super::config::Config;
use super::header::header;
use crate::clock::UnixMs;
use crate::inbound::{ADDRESS_OCTETS_MAX, Acknowledged, Concat, InboundPart, Width};
use crate::message::Phone;

/// The bits of esm_class that hold the message type. SMPP v3.4 §5.2.12.
const ESM_TYPE: u8 = 0x3c;
/// SME delivery acknowledgement. SMPP v3.4 §5.2.12.
const ESM_DELIVERY_ACK: u8 = 0x08;
/// SME manual/user acknowledgement. SMPP v3.4 §5.2.12.
const ESM_USER_ACK: u8 = 0x10;

/// TON of an unknown kind of number. SMPP v3.4 §5.2.5.
const TON_UNKNOWN: u8 = 0;
/// TON of an international number. SMPP v3.4 §5.2.5.
const TON_INTERNATIONAL: u8 = 1;
/// TON of a national number. SMPP v3.4 §5.2.5.
const TON_NATIONAL: u8 = 2;

/// Digits of the shortest number that is no short code (contract.md §1: E.164 of 7 to 15 digits).
const NUMBER_DIGITS_MIN: usize = 7;

/// Reads one, and tells what was wrong with it. The session has checked that its body parses; `None` when
/// it does not after all.
pub(super) fn read(frame: &Frame, config: &Config, now: UnixMs) -> Option<(InboundPart, Quirks)> {
    let (source, dest, esm_class, data_coding, octets, tlvs) =
        if frame.header().command == CommandId::DATA_SM {
            let (data, _) = frame.data_sm().ok()?;
            let octets = data.user_data();
            (
                data.source,
                data.dest,
                data.esm_class,
                data.data_coding,
                octets,
                data.tlvs,
            )
        } else {
            let (sm, _) = frame.deliver_sm().ok()?;
            let octets = sm.user_data();
            (
                sm.source,
                sm.dest,
                sm.esm_class,
                sm.data_coding,
                octets,
                sm.tlvs,
            )
        };
    let (udh, quirks) = header(esm_class, octets);
    let header = udh.map_or(0, |udh| udh.octets.len());
    let country = config.inbound_country.as_deref();
    let part = InboundPart {
        route: config.route,
        from: address(source, country),
        to: address(dest, country),
        concat: concat(udh.as_ref(), tlvs),
        data_coding,
        header: u16::try_from(header).unwrap_or(0),
        octets: octets.into(),
        tlvs: config.tlvs.of_handset(tlvs),
        acknowledges: acknowledges(esm_class),
        received_at: now,
        in_reply_to: None,
    };
    Some((part, quirks))
}

fn acknowledges(esm_class: u8) -> Option<Acknowledged> {
    match esm_class & ESM_TYPE {
        ESM_DELIVERY_ACK => Some(Acknowledged::Delivery),
        ESM_USER_ACK => Some(Acknowledged::User),
        _ => None,
    }
}

/// A part's place: from the header, else from the SAR parameters.
fn concat(udh: Option<&Udh<'_>>, tlvs: Tlvs<'_>) -> Option<Concat> {
    if let Some(concat) = udh.and_then(|udh| udh.fields.concat) {
        let (width, reference) = match concat.reference {
            Reference::Eight(reference) => (Width::Eight, u16::from(reference)),
            Reference::Sixteen(reference) => (Width::Sixteen, reference),
        };
        return Some(Concat {
            width,
            reference,
            total: concat.total,
            sequence: concat.sequence,
        });
    }
    let sar = tlvs.sar()?;
    Some(Concat {
        width: Width::Sar,
        reference: sar.reference,
        total: sar.total,
        sequence: sar.number,
    })
}

/// An address: E.164 with its plus where that is certain, else as it came.
///
/// A number of unknown kind is international, as most carriers mean it, unless it begins with a 0;
/// on a route that writes national numbers (`inbound_country`) it is so only when it begins with the
/// country's code.
fn address(address: Address<'_>, country: Option<&str>) -> Box<str> {
    let digits = address.addr.strip_prefix(b"+").unwrap_or(address.addr);
    let has_plus = digits.len() < address.addr.len();
    let is_number = digits.iter().all(u8::is_ascii_digit) && digits.len() >= NUMBER_DIGITS_MIN;
    let phone = match (address.ton, country) {
        _ if !is_number => None,
        (TON_INTERNATIONAL, _) => Phone::from_digits(digits),
        _ if has_plus => Phone::from_digits(digits),
        (TON_UNKNOWN | TON_NATIONAL, _) if digits.starts_with(b"00") => {
            Phone::from_digits(digits.get(2..).unwrap_or_default())
        }
        (TON_UNKNOWN, None) => Phone::from_digits(digits),
        (TON_UNKNOWN, Some(code)) if digits.starts_with(code.as_bytes()) => {
            Phone::from_digits(digits)
        }
        (TON_UNKNOWN | TON_NATIONAL, Some(code)) => {
            let own = digits.strip_prefix(b"0").unwrap_or(digits);
            Phone::from_digits(&[code.as_bytes(), own].concat())
        }
        _ => None,
    };
    match phone {
        Some(phone) => phone.to_string().into_boxed_str(),
        None => {
            let octets = address.addr.get(..ADDRESS_OCTETS_MAX);
            let text = String::from_utf8_lossy(octets.unwrap_or(address.addr));
            text.into_owned().into_boxed_str()
        }
    }
}

#[cfg(test)]
mod tests;
