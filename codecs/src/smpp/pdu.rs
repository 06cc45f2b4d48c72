//! Any PDU: which body belongs to which command, in both directions.

use bytes::BytesMut;

use super::alert::AlertNotification;
use super::bind::{Bind, BindKind, BindResp, Outbind};
use super::broadcast::{BroadcastSm, CancelBroadcastSm, QueryBroadcastSm};
use super::deliver::{DataSm, DeliverSm};
use super::fields::{DecodeError, EncodeError, Field, Kind, Limits, Quirks};
use super::frame::{CommandId, HEADER_OCTETS, Header};
use super::link::encode_bare;
use super::multi::{SubmitMulti, SubmitMultiResp};
use super::query::{CancelSm, QuerySm, QuerySmResp, ReplaceSm};
use super::submit::{SubmitSm, SubmitSmResp};

/// One PDU's body, borrowed from its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the specification's commands")]
pub enum Pdu<'a> {
    Bind(BindKind, Bind<'a>),
    BindResp(BindKind, BindResp<'a>),
    Outbind(Outbind<'a>),
    SubmitSm(SubmitSm<'a>),
    SubmitSmResp(SubmitSmResp<'a>),
    SubmitMulti(SubmitMulti<'a>),
    SubmitMultiResp(SubmitMultiResp<'a>),
    DeliverSm(DeliverSm<'a>),
    /// The message_id, if any, means nothing here.
    DeliverSmResp(SubmitSmResp<'a>),
    DataSm(DataSm<'a>),
    DataSmResp(SubmitSmResp<'a>),
    QuerySm(QuerySm<'a>),
    QuerySmResp(QuerySmResp<'a>),
    CancelSm(CancelSm<'a>),
    CancelSmResp,
    ReplaceSm(ReplaceSm<'a>),
    ReplaceSmResp,
    AlertNotification(AlertNotification<'a>),
    BroadcastSm(BroadcastSm<'a>),
    BroadcastSmResp(SubmitSmResp<'a>),
    QueryBroadcastSm(QueryBroadcastSm<'a>),
    QueryBroadcastSmResp(SubmitSmResp<'a>),
    CancelBroadcastSm(CancelBroadcastSm<'a>),
    CancelBroadcastSmResp,
    Unbind,
    UnbindResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    /// A command that is not decoded: [`CommandId::name`] says whether it is known at all. Those
    /// with a name are the three of SMPP 3.3 and their responses.
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
        let (pdu, quirks) = if header.command.is_response() {
            Self::decode_response(header, body)
        } else {
            Self::decode_request(header, body)?
        };
        Ok((header, pdu, quirks))
    }

    fn decode_request(header: Header, body: &'a [u8]) -> Result<(Self, Quirks), DecodeError> {
        fn read<T, U>(of: impl Fn(T) -> U, (read, quirks): (T, Quirks)) -> (U, Quirks) {
            (of(read), quirks)
        }
        Ok(match header.command {
            CommandId::BIND_RECEIVER
            | CommandId::BIND_TRANSMITTER
            | CommandId::BIND_TRANSCEIVER => {
                let kind = BindKind::of(header.command).unwrap_or(BindKind::Transceiver);
                read(|bind| Self::Bind(kind, bind), Bind::decode(body)?)
            }
            CommandId::OUTBIND => read(Self::Outbind, Outbind::decode(body)?),
            CommandId::SUBMIT_SM => read(Self::SubmitSm, SubmitSm::decode(body)?),
            CommandId::SUBMIT_MULTI => read(Self::SubmitMulti, SubmitMulti::decode(body)?),
            CommandId::DELIVER_SM => read(Self::DeliverSm, DeliverSm::decode(body)?),
            CommandId::DATA_SM => read(Self::DataSm, DataSm::decode(body)?),
            CommandId::QUERY_SM => read(Self::QuerySm, QuerySm::decode(body)?),
            CommandId::CANCEL_SM => read(Self::CancelSm, CancelSm::decode(body)?),
            CommandId::REPLACE_SM => read(Self::ReplaceSm, ReplaceSm::decode(body)?),
            CommandId::ALERT_NOTIFICATION => {
                read(Self::AlertNotification, AlertNotification::decode(body)?)
            }
            CommandId::BROADCAST_SM => read(Self::BroadcastSm, BroadcastSm::decode(body)?),
            CommandId::QUERY_BROADCAST_SM => {
                read(Self::QueryBroadcastSm, QueryBroadcastSm::decode(body)?)
            }
            CommandId::CANCEL_BROADCAST_SM => {
                read(Self::CancelBroadcastSm, CancelBroadcastSm::decode(body)?)
            }
            CommandId::UNBIND => (Self::Unbind, bare(body)),
            CommandId::ENQUIRE_LINK => (Self::EnquireLink, bare(body)),
            command => (Self::Other { command, body }, Quirks::NONE),
        })
    }

    fn decode_response(header: Header, body: &'a [u8]) -> (Self, Quirks) {
        let status = header.status;
        let bind_resp = |kind| {
            let (resp, quirks) = BindResp::decode(body);
            (Self::BindResp(kind, resp), quirks)
        };
        let with_id = |of: fn(SubmitSmResp<'a>) -> Self| {
            let (resp, quirks) = SubmitSmResp::decode(status, body);
            (of(resp), quirks)
        };
        match header.command {
            CommandId::BIND_RECEIVER_RESP => bind_resp(BindKind::Receiver),
            CommandId::BIND_TRANSMITTER_RESP => bind_resp(BindKind::Transmitter),
            CommandId::BIND_TRANSCEIVER_RESP => bind_resp(BindKind::Transceiver),
            CommandId::SUBMIT_SM_RESP => with_id(Self::SubmitSmResp),
            CommandId::SUBMIT_MULTI_RESP => {
                let (resp, quirks) = SubmitMultiResp::decode(status, body);
                (Self::SubmitMultiResp(resp), quirks)
            }
            CommandId::DELIVER_SM_RESP => {
                let (resp, quirks) = SubmitSmResp::decode_deliver(status, body);
                (Self::DeliverSmResp(resp), quirks)
            }
            CommandId::DATA_SM_RESP => with_id(Self::DataSmResp),
            CommandId::QUERY_SM_RESP => {
                let (resp, quirks) = QuerySmResp::decode(status, body);
                (Self::QuerySmResp(resp), quirks)
            }
            CommandId::BROADCAST_SM_RESP => with_id(Self::BroadcastSmResp),
            CommandId::QUERY_BROADCAST_SM_RESP => with_id(Self::QueryBroadcastSmResp),
            CommandId::CANCEL_SM_RESP => (Self::CancelSmResp, bare(body)),
            CommandId::REPLACE_SM_RESP => (Self::ReplaceSmResp, bare(body)),
            CommandId::CANCEL_BROADCAST_SM_RESP => (Self::CancelBroadcastSmResp, bare(body)),
            CommandId::UNBIND_RESP => (Self::UnbindResp, bare(body)),
            CommandId::ENQUIRE_LINK_RESP => (Self::EnquireLinkResp, bare(body)),
            CommandId::GENERIC_NACK => (Self::GenericNack, bare(body)),
            command => (Self::Other { command, body }, Quirks::NONE),
        }
    }

    /// Appends the whole PDU with the header's status (responses only) and sequence_number; its
    /// command is the body's own, the header's only where they leave it open.
    ///
    /// # Errors
    /// Refuses values that are longer than `limits` or contain a NUL; nothing is written then.
    pub fn encode(
        &self,
        header: Header,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let (status, sequence) = (header.status, header.sequence);
        let with_id = |resp: &SubmitSmResp<'_>, command, out| {
            resp.encode(command, status, sequence, limits, out)
        };
        match self {
            Self::Bind(kind, bind) => bind.encode(*kind, sequence, limits, out)?,
            Self::BindResp(kind, resp) => resp.encode(*kind, status, sequence, limits, out)?,
            Self::Outbind(outbind) => outbind.encode(sequence, limits, out)?,
            Self::SubmitSm(sm) => sm.encode(sequence, limits, out)?,
            Self::SubmitSmResp(resp) => with_id(resp, CommandId::SUBMIT_SM_RESP, out)?,
            Self::SubmitMulti(multi) => multi.encode(sequence, limits, out)?,
            Self::SubmitMultiResp(resp) => resp.encode(status, sequence, limits, out)?,
            Self::DeliverSm(sm) => sm.encode(sequence, limits, out)?,
            Self::DeliverSmResp(resp) => with_id(resp, CommandId::DELIVER_SM_RESP, out)?,
            Self::DataSm(data) => data.encode(sequence, limits, out)?,
            Self::DataSmResp(resp) => with_id(resp, CommandId::DATA_SM_RESP, out)?,
            Self::QuerySm(query) => query.encode(sequence, limits, out)?,
            Self::QuerySmResp(resp) => resp.encode(status, sequence, limits, out)?,
            Self::CancelSm(cancel) => cancel.encode(sequence, limits, out)?,
            Self::ReplaceSm(replace) => replace.encode(sequence, limits, out)?,
            Self::AlertNotification(alert) => alert.encode(sequence, limits, out)?,
            Self::BroadcastSm(sm) => sm.encode(sequence, limits, out)?,
            Self::BroadcastSmResp(resp) => with_id(resp, CommandId::BROADCAST_SM_RESP, out)?,
            Self::QueryBroadcastSm(query) => query.encode(sequence, limits, out)?,
            Self::QueryBroadcastSmResp(resp) => {
                with_id(resp, CommandId::QUERY_BROADCAST_SM_RESP, out)?;
            }
            Self::CancelBroadcastSm(cancel) => cancel.encode(sequence, limits, out)?,
            Self::CancelSmResp
            | Self::ReplaceSmResp
            | Self::CancelBroadcastSmResp
            | Self::Unbind
            | Self::UnbindResp
            | Self::EnquireLink
            | Self::EnquireLinkResp
            | Self::GenericNack => encode_bare(header.command, status, sequence, out),
            Self::Other { command, body } => {
                let command = *command;
                Header { command, ..header }.encode_octets(body, out);
            }
        }
        Ok(())
    }
}

/// A body where there is to be none.
fn bare(body: &[u8]) -> Quirks {
    if body.is_empty() {
        Quirks::NONE
    } else {
        Quirks::UNEXPECTED_BODY
    }
}
