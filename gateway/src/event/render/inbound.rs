//! Events of handsets' messages as JSON: `inbound.received`, `recipient.help_requested`.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codecs::text::Dcs;
use codecs::text::dcs::{Waiting, WaitingKind};
use serde::Serialize;

use super::{Lookup, Named, Shown, write};
use crate::event::{Event, EventKind};
use crate::inbound::{Acknowledged, Inbound, Piece};
use crate::message::id::PublicId;

#[derive(Serialize)]
struct InboundData<'a> {
    inbound_id: PublicId,
    channel: &'a str,
    from: &'a str,
    to: &'a str,
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    keyword: Option<&'a str>,
    intent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledges: Option<&'a str>,
    encoding: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_coding: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udh: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<WaitingView>,
    parts: u8,
    incomplete: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<u8>,
    network: Option<Network<'a>>,
    route: &'a str,
    provider_message_id: Option<&'a str>,
    sent_at: Option<()>,
    received_at: Shown,
    in_reply_to: Option<PublicId>,
    auto_reply: Option<PublicId>,
    #[serde(skip_serializing_if = "Named::is_empty")]
    tlvs: Named<'a>,
}

/// The network that a handset is in. ITU-T E.212.
#[derive(Serialize)]
struct Network<'a> {
    mcc: &'a str,
    mnc: Option<&'a str>,
}

/// A message waiting indication. 3GPP TS 23.038 §4, coding groups 1100 to 1110.
#[derive(Serialize)]
struct WaitingView {
    kind: &'static str,
    active: bool,
    discard: bool,
}

impl From<Waiting> for WaitingView {
    fn from(waiting: Waiting) -> Self {
        Self {
            kind: match waiting.kind {
                WaitingKind::Voicemail => "voicemail",
                WaitingKind::Fax => "fax",
                WaitingKind::Email => "email",
                WaitingKind::Other => "other",
            },
            active: waiting.active,
            discard: waiting.discard,
        }
    }
}

#[derive(Serialize)]
struct HelpData<'a> {
    phone: &'a str,
    to: &'a str,
    keyword: Option<&'a str>,
    inbound_id: PublicId,
}

/// Writes an event of a handset's message.
///
/// `data` is there for what is no text: the octets of its parts in base64, headers left out.
/// `data_coding` is the first part's octet as it came; `udh` the first header that a part has, in base64
/// and whole, its length octet included (3GPP TS 23.040 §9.2.3.24); `waiting` what the first part says whose
/// `data_coding` is a message waiting indication (smpp.md §2.2). When the content's retention is over,
/// there is neither text nor data nor header.
///
/// # Errors
/// Those of `out`.
pub fn inbound_event(
    out: impl io::Write,
    event: &Event,
    inbound: &Inbound,
    lookup: Lookup<'_>,
) -> serde_json::Result<()> {
    let inbound_id = lookup.ids.inbound(inbound.id);
    let keyword = inbound.told_keyword();
    if event.kind == EventKind::RecipientHelpRequested {
        let data = HelpData {
            phone: &inbound.from,
            to: &inbound.to,
            keyword,
            inbound_id,
        };
        return write(out, event, lookup, data);
    }
    // SMPP has no field for these: they are what the route's dictionary calls so.
    let tlvs = inbound.tlvs();
    let named = |name: &str| {
        let tlv = tlvs.iter().find(|tlv| &*tlv.name == name);
        tlv.map(|tlv| &*tlv.value).filter(|value| !value.is_empty())
    };
    let digits =
        |name| named(name).filter(|value| value.bytes().all(|octet| octet.is_ascii_digit()));
    let missing: Vec<u8> = inbound.missing().collect();
    // Without octets their retention is over.
    let has_octets = inbound.pieces.iter().any(|piece| !piece.octets.is_empty());
    let has_data = inbound.text.is_none() && has_octets;
    let octets = || {
        let content = |piece| split(piece).map(|(_, content)| content);
        let all: Vec<u8> = inbound
            .pieces
            .iter()
            .filter_map(content)
            .flatten()
            .copied()
            .collect();
        STANDARD.encode(all)
    };
    let headers = inbound.pieces.iter().filter_map(split);
    let mut headers = headers.filter(|(header, _)| !header.is_empty());
    let waiting = |piece: &Piece| Dcs::parse(piece.data_coding).waiting;
    let data = InboundData {
        inbound_id,
        channel: "sms",
        from: &inbound.from,
        to: &inbound.to,
        text: inbound.text.as_deref(),
        data: has_data.then(octets),
        keyword,
        intent: inbound.keyword.as_ref().map(|(intent, _)| intent.name()),
        acknowledges: inbound.acknowledges().map(Acknowledged::name),
        encoding: &inbound.encoding,
        data_coding: inbound.pieces.first().map(|piece| piece.data_coding),
        udh: headers.next().map(|(header, _)| STANDARD.encode(header)),
        waiting: inbound.pieces.iter().find_map(waiting).map(Into::into),
        parts: inbound.total(),
        incomplete: !missing.is_empty(),
        missing,
        network: digits("mcc").map(|mcc| Network {
            mcc,
            mnc: digits("mnc"),
        }),
        route: lookup.names.route(inbound.route),
        provider_message_id: named("message_id").or_else(|| named("receipted_message_id")),
        sent_at: None,
        received_at: Shown(inbound.received_at),
        in_reply_to: inbound.in_reply_to.map(|id| lookup.ids.message(id)),
        auto_reply: inbound.auto_reply.map(|id| lookup.ids.message(id)),
        tlvs: Named(tlvs),
    };
    write(out, event, lookup, data)
}

/// A part's header and what follows it. `None`: its octets' retention is over.
fn split(piece: &Piece) -> Option<(&[u8], &[u8])> {
    piece.octets.split_at_checked(usize::from(piece.header))
}
