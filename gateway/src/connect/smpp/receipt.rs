//! Receipts from deliver_sm and data_sm: told apart from messages, read, and put into our words.

use codecs::smpp::receipt::{
    self, Kind, Tlvs, Verdict, date_ms, detect, is_misnamed, resolve, scan, state_reason,
};
use codecs::smpp::{Address, CommandId, Frame, Quirks, Tag, Tlvs as Parameters};
use codecs::text::ucs2;

use super::config::{Config, Reading};
use super::header::header;
use crate::clock::UnixMs;
use crate::message::Phone;
use crate::outcome::error_map::Stat;
use crate::outcome::{Clues, ProviderId, RawOctets, Reason, Receipt, ReceiptState, Unreadable};

/// Octets of a receipt's text that are kept, for bad news only (vocabulary: `Receipt::raw`).
const RAW_OCTETS_MAX: usize = 255;
/// Octets of `err:` that are kept (vocabulary: `Receipt::err`).
const ERR_OCTETS_MAX: usize = 16;
/// Octets of a carrier's word for the state that are kept (vocabulary: `Receipt::stat`).
const STAT_OCTETS_MAX: usize = 32;
/// Octets of a carrier's id that are kept (vocabulary: `ProviderId`).
const ID_OCTETS_MAX: usize = 255;
/// Octets of a sender that are kept (vocabulary: `Clues::sender`). SMPP v3.4 §4.6.1: at most 20.
const SENDER_OCTETS_MAX: usize = 32;
/// Octets of a PDU that are kept of an unreadable receipt (vocabulary: `Unreadable::pdu`). Chosen: several
/// times the 250 or so that receipts have.
const PDU_OCTETS_MAX: usize = 1_024;
/// data_coding of UCS-2. SMPP v3.4 §5.2.19.
const UCS2: u8 = 8;

/// What a deliver_sm or data_sm turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A receipt.
    Receipt(Box<Receipt>),
    /// A message or an acknowledgement from a handset.
    Inbound,
    /// A receipt without an id or without a state that we know.
    Unreadable(Box<Unreadable>),
}

/// What deliver_sm and data_sm have in common.
struct Delivered<'a> {
    source: Address<'a>,
    dest: Address<'a>,
    esm_class: u8,
    data_coding: u8,
    user_data: &'a [u8],
    tlvs: Parameters<'a>,
}

/// Reads one, and tells what was wrong with it. The session has checked that its body parses. What is
/// wrong with a handset's message is for [`super::inbound`] to tell, but that it was called a receipt.
pub(super) fn read(frame: &Frame, config: &Config, now: UnixMs) -> (Read, Quirks) {
    let Some(delivered) = delivered(frame) else {
        let read = unreadable((frame, None), &[], (config, now));
        return (read, Quirks::NONE);
    };
    let text = text_of(&delivered);
    let tlvs = Tlvs {
        receipted_message_id: delivered.tlvs.receipted_message_id(),
        message_state: delivered.tlvs.message_state(),
        network_error_code: delivered.tlvs.network_error_code(),
    };
    let rules = &config.reading;
    let formatted = rules.format.as_ref().and_then(|format| format.scan(text));
    let (kind, mut quirks) = kind(&delivered, text, formatted.as_ref(), rules);
    if !matches!(kind, Kind::Receipt | Kind::Intermediate) {
        return (Read::Inbound, Quirks::NONE);
    }
    quirks.insert(oddities(frame, &delivered));
    // Carriers mark the text of receipts as UCS-2 and write it in ASCII: what reads as it is, is so.
    let mut fields = formatted.unwrap_or_else(|| scan(text));
    let decoded;
    let mut words = text;
    if delivered.data_coding == UCS2 {
        if fields.id.is_some() || fields.stat.is_some() {
            quirks.insert(Quirks::ASCII_AS_UCS2);
        } else {
            decoded = ucs2::decode(text);
            words = decoded.as_bytes();
            fields = scan(words);
        }
    }
    let verdict = resolve(tlvs, &fields, rules.prefer_text);
    // The route's own words come first, where the text tells the state.
    let by_tlv = tlvs.message_state.is_some() && !rules.prefer_text;
    let stat = fields.stat.filter(|_| !by_tlv);
    let own = stat.and_then(|word| rules.error_map.stat(word));
    let state = own.map(|own| own.state);
    let state = state.or_else(|| verdict.state.map(in_our_words));
    if verdict.id.is_none() && state.is_some() {
        quirks.insert(Quirks::RECEIPT_WITHOUT_ID);
    }
    let (Some(id), Some(state)) = (id_of(&verdict, &delivered, rules), state) else {
        if is_inbound(&delivered, &fields, words, rules) {
            return (Read::Inbound, Quirks::MESSAGE_AS_RECEIPT);
        }
        let id = verdict.id.unwrap_or_default();
        let read = unreadable((frame, Some(&delivered)), id, (config, now));
        return (read, quirks);
    };
    let state = ended(state, kind, rules);
    let bad = state.is_final() && state != ReceiptState::Delivered;
    let receipt = Receipt {
        route: config.route,
        provider_id: kept_id(id),
        text_id: kept_id(verdict.text_id.unwrap_or_default()),
        recipient: recipient(delivered.source),
        state,
        reason: bad.then(|| reason(&verdict, own, rules)).flatten(),
        err: shown(verdict.err.unwrap_or_default(), ERR_OCTETS_MAX),
        network_error: verdict
            .network_error
            .and_then(|error| Some((error.network, u16::try_from(error.code).ok()?))),
        operator_at: fields.done_date.and_then(|date| happened_at(date, rules)),
        raw: shown(if bad { text } else { &[] }, RAW_OCTETS_MAX),
        tlvs: config.tlvs.kept(delivered.tlvs),
        stat: own_word(fields.stat, state),
        pdu: RawOctets::new(frame.octets()),
        clues: rules.without_id.then(|| clues(&delivered, &fields, rules)),
        received_at: now,
    };
    (Read::Receipt(Box::new(receipt)), quirks)
}

/// The id; an empty one where the route's receipts may lack it, if there is a number instead. News of a try
/// is worth too little for that.
fn id_of<'a>(
    verdict: &Verdict<'a>,
    delivered: &Delivered<'_>,
    rules: &Reading,
) -> Option<&'a [u8]> {
    let instead = || {
        let is_end = verdict.state.is_some_and(receipt::State::is_final);
        let told = || is_end && recipient(delivered.source).is_some();
        (rules.without_id && told()).then_some(&[][..])
    };
    verdict.id.or_else(instead)
}

/// What else tells whose it is.
fn clues(delivered: &Delivered<'_>, fields: &receipt::Receipt<'_>, rules: &Reading) -> Box<Clues> {
    let submitted = fields.submit_date;
    Box::new(Clues {
        sender: shown(delivered.dest.addr, SENDER_OCTETS_MAX),
        submitted_at: submitted.and_then(|date| happened_at(date, rules)),
    })
}

fn happened_at(date: &[u8], rules: &Reading) -> Option<UnixMs> {
    let ms = date_ms(date, rules.utc_offset_min)?;
    u64::try_from(ms).ok().map(UnixMs)
}

/// The carrier's word, where it is not ours; else empty, which allocates nothing.
fn own_word(stat: Option<&[u8]>, state: ReceiptState) -> Box<str> {
    let differs = |word: &&[u8]| !word.eq_ignore_ascii_case(state.name().as_bytes());
    let word = stat.filter(differs);
    word.map_or_else(Box::default, |word| shown(word, STAT_OCTETS_MAX))
}

/// What it is, by its marks and, where the route says so, by its text; and the quirk of what told it.
fn kind(
    delivered: &Delivered<'_>,
    text: &[u8],
    formatted: Option<&receipt::Receipt<'_>>,
    rules: &Reading,
) -> (Kind, Quirks) {
    let (id, state) = (
        delivered.tlvs.receipted_message_id(),
        delivered.tlvs.message_state(),
    );
    let (kind, quirks) = detect(delivered.esm_class, id, state, text, rules.by_text);
    match formatted {
        Some(fields) if kind == Kind::Message && rules.by_text && fields.stat.is_some() => {
            (Kind::Receipt, Quirks::RECEIPT_BY_TEXT)
        }
        _ => (kind, quirks),
    }
}

/// What is wrong with a receipt whatever its text says.
fn oddities(frame: &Frame, delivered: &Delivered<'_>) -> Quirks {
    let (_, mut quirks) = header(delivered.esm_class, delivered.user_data);
    if frame.header().command == CommandId::DATA_SM {
        quirks.insert(Quirks::RECEIPT_IN_DATA_SM);
    }
    quirks
}

/// What is kept of a receipt that names no id, or no state that is known.
fn unreadable(
    (frame, delivered): (&Frame, Option<&Delivered<'_>>),
    id: &[u8],
    (config, now): (&Config, UnixMs),
) -> Read {
    let pdu = frame.octets();
    Read::Unreadable(Box::new(Unreadable {
        route: config.route,
        provider_id: kept_id(id),
        recipient: delivered.and_then(|delivered| recipient(delivered.source)),
        text: shown(delivered.map_or(&[], text_of), RAW_OCTETS_MAX),
        pdu: pdu.get(..PDU_OCTETS_MAX).unwrap_or(pdu).into(),
        received_at: now,
    }))
}

fn kept_id(id: &[u8]) -> ProviderId {
    id.get(..ID_OCTETS_MAX).unwrap_or(id).into()
}

fn delivered(frame: &Frame) -> Option<Delivered<'_>> {
    if frame.header().command == CommandId::DATA_SM {
        let (data, _) = frame.data_sm().ok()?;
        return Some(Delivered {
            source: data.source,
            dest: data.dest,
            esm_class: data.esm_class,
            data_coding: data.data_coding,
            user_data: data.user_data(),
            tlvs: data.tlvs,
        });
    }
    let (sm, _) = frame.deliver_sm().ok()?;
    Some(Delivered {
        source: sm.source,
        dest: sm.dest,
        esm_class: sm.esm_class,
        data_coding: sm.data_coding,
        user_data: sm.user_data(),
        tlvs: sm.tlvs,
    })
}

/// The text behind its header, if it has one.
fn text_of<'a>(delivered: &Delivered<'a>) -> &'a [u8] {
    let data = delivered.user_data;
    let (udh, _) = header(delivered.esm_class, data);
    data.get(udh.map_or(0, |udh| udh.octets.len())..)
        .unwrap_or(data)
}

/// Whether what its esm_class calls a receipt is a handset's message. Of one part nobody can say that
/// the others are no receipt either; and where the route has a form of its own, what does not fit it is
/// still more likely to be one.
fn is_inbound(
    delivered: &Delivered<'_>,
    fields: &receipt::Receipt<'_>,
    words: &[u8],
    rules: &Reading,
) -> bool {
    let tags = [
        Tag::RECEIPTED_MESSAGE_ID,
        Tag::MESSAGE_STATE,
        Tag::NETWORK_ERROR_CODE,
    ];
    let has_tlvs = tags.iter().any(|tag| delivered.tlvs.find(*tag).is_some());
    rules.format.is_none()
        && is_alone(delivered)
        && is_misnamed(delivered.esm_class, has_tlvs, fields, words)
}

/// Whether it is no part of a longer text.
fn is_alone(delivered: &Delivered<'_>) -> bool {
    let (udh, _) = header(delivered.esm_class, delivered.user_data);
    let concat = udh.and_then(|udh| udh.fields.concat);
    concat.is_none() && delivered.tlvs.sar().is_none()
}

/// The number that the message went to: the receipt's sender, without what stands before it (`+`, `00`,
/// a trunk's `0`). It may lack its country: the store compares ends of numbers.
fn recipient(source: Address<'_>) -> Option<Phone> {
    let digits = source.addr.strip_prefix(b"+").unwrap_or(source.addr);
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    Phone::from_digits(digits.get(zeros..)?)
}

fn in_our_words(state: receipt::State) -> ReceiptState {
    use receipt::State;
    match state {
        State::Scheduled => ReceiptState::Scheduled,
        State::Enroute => ReceiptState::Enroute,
        State::Delivered => ReceiptState::Delivered,
        State::Expired => ReceiptState::Expired,
        State::Deleted => ReceiptState::Deleted,
        State::Undeliverable => ReceiptState::Undeliverable,
        State::Accepted => ReceiptState::Accepted,
        State::Unknown => ReceiptState::Unknown,
        State::Rejected => ReceiptState::Rejected,
        State::Skipped => ReceiptState::Skipped,
    }
}

/// Whether it is the end: as the route's carrier means the two words that carriers differ on.
fn ended(state: ReceiptState, kind: Kind, rules: &Reading) -> ReceiptState {
    // An intermediate notification tells of a try, never of the end.
    if kind == Kind::Intermediate {
        return match state.is_final() {
            true => ReceiptState::Enroute,
            false => state,
        };
    }
    match state {
        ReceiptState::Accepted if rules.accepted_is_final => ReceiptState::Delivered,
        ReceiptState::Unknown if rules.unknown_is_open => ReceiptState::Enroute,
        state => state,
    }
}

/// The route's own words and codes first; then the network's where it is GSM's and the route does not
/// use it for something of its own; then the state.
fn reason(verdict: &Verdict<'_>, own: Option<Stat>, rules: &Reading) -> Option<Reason> {
    let map = &rules.error_map;
    let network = verdict.network_error;
    let by_network = || {
        let network = network?;
        map.network(network.network, u16::try_from(network.code).ok()?)
    };
    let by_gsm = || {
        let known = network.filter(|_| !map.has_networks())?.reason()?;
        Reason::from_code(known.code)
    };
    let by_state = || Reason::from_code(verdict.state.and_then(state_reason)?.code);
    own.and_then(|own| own.reason)
        .or_else(by_network)
        .or_else(|| map.err(verdict.err?))
        .or_else(by_gsm)
        .or_else(by_state)
        .or(Some(Reason::Unclassified))
}

/// Text for people: what is not printable ASCII is escaped; at most so many octets.
fn shown(octets: &[u8], octets_max: usize) -> Box<str> {
    let octets = octets.get(..octets_max).unwrap_or(octets);
    let mut text = String::with_capacity(octets.len());
    for character in octets.escape_ascii().map(char::from) {
        if text.len() == octets_max {
            break;
        }
        text.push(character);
    }
    text.into_boxed_str()
}

#[cfg(test)]
#[path = "receipt/tests.rs"]
mod tests;
