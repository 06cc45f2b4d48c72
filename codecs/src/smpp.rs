//! SMPP 3.3, 3.4 and 5.0: PDUs, framing, and the session.
//!
//! Decoding borrows from the octets that came; encoding appends to a buffer. Neither allocates
//! (encoding reserves once).

pub mod bind;
pub mod deliver;
pub mod fields;
pub mod frame;
pub mod link;
pub mod receipt;
pub mod session;
pub mod status;
pub mod submit;
pub mod tlv;

pub use bind::{Bind, BindKind, BindResp, Outbind};
pub use deliver::{DataSm, DeliverSm};
pub use fields::{Address, DecodeError, EncodeError, Field, Kind, Limits, Quirks};
pub use frame::{CommandId, Frame, FrameError, Framing, HEADER_OCTETS, Header, Speaks, next_frame};
pub use session::{Config, Event, Session};
pub use status::CommandStatus;
pub use submit::{SubmitSm, SubmitSmResp};
pub use tlv::{Sar, Tag, Tlv, TlvBuf, Tlvs};

/// One PDU's body, borrowed from its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the specification's commands")]
pub enum Pdu<'a> {
    Bind(BindKind, Bind<'a>),
    BindResp(BindKind, BindResp<'a>),
    Outbind(Outbind<'a>),
    SubmitSm(SubmitSm<'a>),
    SubmitSmResp(SubmitSmResp<'a>),
    DeliverSm(DeliverSm<'a>),
    /// The message_id, if any, means nothing here.
    DeliverSmResp,
    DataSm(DataSm<'a>),
    DataSmResp(SubmitSmResp<'a>),
    Unbind,
    UnbindResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    /// A command that is not decoded: [`CommandId::name`] says whether it is known at all.
    Other {
        command: CommandId,
        body: &'a [u8],
    },
}

impl<'a> Pdu<'a> {
    /// Reads one whole PDU.
    ///
    /// # Errors
    /// Fails when it is shorter than a header or a request's body does not parse. Responses never
    /// fail: see smpp.md §1.5.
    pub fn decode(pdu: &'a [u8]) -> Result<(Header, Self, Quirks), DecodeError> {
        let cut = DecodeError {
            at: pdu.len(),
            field: Field::Header,
            kind: Kind::CutShort,
        };
        let header = Header::decode(pdu).ok_or(cut)?;
        let body = pdu.get(HEADER_OCTETS..).unwrap_or_default();
        let (pdu, quirks) = Self::decode_body(header, body)?;
        Ok((header, pdu, quirks))
    }

    fn decode_body(header: Header, body: &'a [u8]) -> Result<(Self, Quirks), DecodeError> {
        let bare = |pdu| {
            (
                pdu,
                if body.is_empty() {
                    Quirks::NONE
                } else {
                    Quirks::UNEXPECTED_BODY
                },
            )
        };
        let bind_resp = |kind| {
            let (resp, quirks) = BindResp::decode(body);
            (Self::BindResp(kind, resp), quirks)
        };
        Ok(match header.command {
            CommandId::BIND_RECEIVER
            | CommandId::BIND_TRANSMITTER
            | CommandId::BIND_TRANSCEIVER => {
                let (bind, quirks) = Bind::decode(body)?;
                let kind = BindKind::of(header.command).unwrap_or(BindKind::Transceiver);
                (Self::Bind(kind, bind), quirks)
            }
            CommandId::BIND_RECEIVER_RESP => bind_resp(BindKind::Receiver),
            CommandId::BIND_TRANSMITTER_RESP => bind_resp(BindKind::Transmitter),
            CommandId::BIND_TRANSCEIVER_RESP => bind_resp(BindKind::Transceiver),
            CommandId::OUTBIND => {
                let (outbind, quirks) = Outbind::decode(body)?;
                (Self::Outbind(outbind), quirks)
            }
            CommandId::SUBMIT_SM => {
                let (sm, quirks) = SubmitSm::decode(body)?;
                (Self::SubmitSm(sm), quirks)
            }
            CommandId::SUBMIT_SM_RESP => {
                let (resp, quirks) = SubmitSmResp::decode(header.status, body);
                (Self::SubmitSmResp(resp), quirks)
            }
            CommandId::DELIVER_SM => {
                let (sm, quirks) = DeliverSm::decode(body)?;
                (Self::DeliverSm(sm), quirks)
            }
            CommandId::DELIVER_SM_RESP => (Self::DeliverSmResp, Quirks::NONE),
            CommandId::DATA_SM => {
                let (data, quirks) = DataSm::decode(body)?;
                (Self::DataSm(data), quirks)
            }
            CommandId::DATA_SM_RESP => {
                let (resp, quirks) = SubmitSmResp::decode(header.status, body);
                (Self::DataSmResp(resp), quirks)
            }
            CommandId::UNBIND => bare(Self::Unbind),
            CommandId::UNBIND_RESP => bare(Self::UnbindResp),
            CommandId::ENQUIRE_LINK => bare(Self::EnquireLink),
            CommandId::ENQUIRE_LINK_RESP => bare(Self::EnquireLinkResp),
            CommandId::GENERIC_NACK => bare(Self::GenericNack),
            command => (Self::Other { command, body }, Quirks::NONE),
        })
    }
}
