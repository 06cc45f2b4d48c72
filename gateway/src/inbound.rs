//! Inbound: what handsets write to us (MO), from the part a bind read to the whole message.
//!
//! A link hands [`InboundPart`]s in; the store's writer puts them together ([`assembly`]) and makes of
//! each whole one an [`Inbound`], which never changes again and whose events are rendered from it.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::clock::UnixMs;
use crate::event::{Event, EventKind};
use crate::message::{EndpointIx, MessageId, Phone, RouteIx, TenantIx};
use crate::outcome::ReceiptTlv;

pub mod assembly;
pub mod keyword;
pub mod read;
pub mod reply;
pub mod rules;

/// Octets of an address that are kept. SMPP v3.4 §4.7.1 (data_sm) has 65 with the NUL; what carriers
/// send beyond is no address.
pub const ADDRESS_OCTETS_MAX: usize = 64;

/// One deliver_sm or data_sm that is no receipt, as a link read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundPart {
    /// The route it came on: parts of one message may come over any of its binds.
    pub route: RouteIx,
    /// Who wrote: E.164 with its plus where that is certain, else as the carrier named it; at most
    /// [`ADDRESS_OCTETS_MAX`] octets.
    pub from: Box<str>,
    /// To which number, in the same form.
    pub to: Box<str>,
    /// Its place, when it is one of several parts.
    pub concat: Option<Concat>,
    /// The PDU's data_coding.
    pub data_coding: u8,
    /// Octets of the user data header at the front of `octets`, 0 to 256.
    pub header: u16,
    /// The user data as it came, header first: at most what a PDU holds (65,535 octets).
    pub octets: Box<[u8]>,
    /// The PDU's TLVs that its route names, and those that no specification knows; at most 17.
    pub tlvs: Box<[ReceiptTlv]>,
    /// That it is no message of a person's, but says what became of one.
    pub acknowledges: Option<Acknowledged>,
    /// When it was read.
    pub received_at: UnixMs,
    /// The message of ours that it may answer, and whose that is. The store looks for it.
    pub in_reply_to: Option<(TenantIx, MessageId)>,
}

impl InboundPart {
    /// Whether it is one of several parts. 3GPP TS 23.040 §9.2.3.24.1 has the element ignored where the
    /// total is 0 or the place is 0 or above the total; a total of 1 needs no second part.
    #[must_use]
    pub fn place(&self) -> Option<Concat> {
        self.concat.filter(|concat| {
            concat.total > 1 && concat.sequence >= 1 && concat.sequence <= concat.total
        })
    }
}

/// What an acknowledgement of a handset's says of a message of ours. SMPP v3.4 §5.2.12: the message
/// types of esm_class, "SME delivery acknowledgement" and "SME manual/user acknowledgement".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Acknowledged {
    /// The handset has it (esm_class 0x08).
    Delivery,
    /// Its user has answered it with a key (esm_class 0x10).
    User,
}

impl Acknowledged {
    /// As it is told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::User => "user",
        }
    }
}

/// A part's place in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Concat {
    /// How the reference was written: a part of the message's identity.
    pub width: Width,
    /// The same in all parts.
    pub reference: u16,
    /// Parts of the whole message, as sent.
    pub total: u8,
    /// This part, counting from 1, as sent.
    pub sequence: u8,
}

/// How a concatenation reference was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Width {
    /// In a user data header, one octet. 3GPP TS 23.040 §9.2.3.24.1.
    Eight,
    /// In a user data header, two octets. 3GPP TS 23.040 §9.2.3.24.8.
    Sixteen,
    /// In sar_msg_ref_num. SMPP v3.4 §5.3.2.22.
    Sar,
}

/// Parts of one link, to be stored together before their carrier is answered.
#[derive(Debug)]
pub struct InboundBatch {
    /// The parts, in the order they came.
    pub parts: Vec<InboundPart>,
    /// Told when they are on disk; dropped when they are not: the carrier sends them again.
    pub stored: oneshot::Sender<()>,
}

/// What a handset's message asks for, when all of it is a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Intent {
    /// No more messages.
    OptOut,
    /// Messages again.
    OptIn,
    /// Who is this?
    Help,
}

impl Intent {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OptOut, Self::OptIn, Self::Help];

    /// The contract's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OptOut => "opt_out",
            Self::OptIn => "opt_in",
            Self::Help => "help",
        }
    }
}

/// A handset's message: whole, or what came of it in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbound {
    /// Given by the writer: of its first part, where it came in several.
    pub id: MessageId,
    /// Whose number it was written to; [`TenantIx::OPERATOR`] when nobody's.
    pub tenant: TenantIx,
    /// The one endpoint that is told of it; `None`: those of its tenant that want such events.
    pub endpoint: Option<EndpointIx>,
    /// The route it came on.
    pub route: RouteIx,
    /// Who wrote.
    pub from: Box<str>,
    /// To which number.
    pub to: Box<str>,
    /// Its text; `None` when it is no text (binary).
    pub text: Option<Box<str>>,
    /// The alphabet's word.
    pub encoding: Box<str>,
    /// Its concatenation, when it came in several parts; `sequence` is 0.
    pub concat: Option<Concat>,
    /// Its parts in their order, as they came.
    pub pieces: Vec<Piece>,
    /// What it asks for, and the keyword in the list's own spelling.
    pub keyword: Option<(Intent, Box<str>)>,
    /// The tenant's own keyword that chose its endpoint, as the config spells it.
    pub own_keyword: Option<Box<str>>,
    /// When it was whole, or given up: the time of its commit.
    pub received_at: UnixMs,
    /// The message that confirms what it asked for, accepted in the same commit.
    pub auto_reply: Option<MessageId>,
    /// The newest message of its tenant to who wrote, from the number written to (contract.md §3: within
    /// 7 days, best effort).
    pub in_reply_to: Option<MessageId>,
}

/// One part's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Its place, counting from 1; 1 where there are no others.
    pub sequence: u8,
    /// The PDU's data_coding.
    pub data_coding: u8,
    /// Octets of header at the front of `octets`.
    pub header: u16,
    /// The user data as it came, header first.
    pub octets: Box<[u8]>,
    /// As of its part.
    pub tlvs: Box<[ReceiptTlv]>,
    /// As of its part.
    pub acknowledges: Option<Acknowledged>,
}

impl Inbound {
    /// What it acknowledges, when it is an acknowledgement: one part's word counts for all.
    #[must_use]
    pub fn acknowledges(&self) -> Option<Acknowledged> {
        self.pieces.iter().find_map(|piece| piece.acknowledges)
    }

    /// Parts that the whole message has.
    #[must_use]
    pub fn total(&self) -> u8 {
        self.concat.map_or(1, |concat| concat.total)
    }

    /// The places of the parts that did not come.
    pub fn missing(&self) -> impl Iterator<Item = u8> {
        (1..=self.total()).filter(|place| self.pieces.iter().all(|piece| piece.sequence != *place))
    }

    /// The TLVs of the first part that has any.
    #[must_use]
    pub fn tlvs(&self) -> &[ReceiptTlv] {
        let mut pieces = self.pieces.iter().map(|piece| &*piece.tlvs);
        pieces.find(|tlvs| !tlvs.is_empty()).unwrap_or_default()
    }

    /// The sender's number, when it is one.
    #[must_use]
    pub fn phone(&self) -> Option<Phone> {
        Phone::parse(&self.from)
    }

    /// The events that are rendered from it, from the sequence number `seq` on. Those of a
    /// suppression that it causes are the suppression's own.
    pub fn events(&self, seq: u64) -> impl Iterator<Item = Event> {
        let help = matches!(self.keyword, Some((Intent::Help, _))) && self.phone().is_some();
        let help = help.then_some(EventKind::RecipientHelpRequested);
        let kinds = std::iter::once(EventKind::InboundReceived).chain(help);
        kinds.zip(seq..).map(|(kind, seq)| Event {
            seq,
            at: self.received_at,
            tenant: self.tenant,
            kind,
            version: 1,
            subject: self.id,
            changes: 0,
        })
    }

    /// Its keyword as it is told: what it asks for comes before the tenant's own.
    #[must_use]
    pub fn told_keyword(&self) -> Option<&str> {
        let asked = self.keyword.as_ref().map(|(_, keyword)| &**keyword);
        asked.or(self.own_keyword.as_deref())
    }

    /// What it takes in memory, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(Piece::memory_bytes).sum();
        let text = self.text.as_ref().map_or(0, |text| text.len());
        size_of::<Self>() + self.from.len() + self.to.len() + text + pieces
    }
}

impl Piece {
    /// What it takes in memory, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let tlvs = self.tlvs.iter();
        let tlvs = tlvs.map(|tlv| size_of::<ReceiptTlv>() + tlv.name.len() + tlv.value.len());
        size_of::<Self>() + self.octets.len() + tlvs.sum::<usize>()
    }

    /// Of a part.
    #[must_use]
    pub fn of(part: InboundPart) -> Self {
        Self {
            sequence: part.place().map_or(1, |concat| concat.sequence),
            data_coding: part.data_coding,
            header: part.header,
            octets: part.octets,
            tlvs: part.tlvs,
            acknowledges: part.acknowledges,
        }
    }
}
