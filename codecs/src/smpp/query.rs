//! query_sm, cancel_sm and replace_sm: what an ESME asks about a message it has submitted.

use bytes::BytesMut;

use super::fields::{Address, Body, DecodeError, EncodeError, Field, Limits, Quirks};
use super::frame::{CommandId, Header};
use super::layout::{self, Part, TIME_OCTETS_MAX, layout};
use super::put::{Fields, Put};
use super::status::CommandStatus;
use super::tlv::{Scan, Tlvs};

layout! {
    /// query_sm's body. SMPP v3.4 §4.8.1.
    QuerySm = QUERY_SM {
        /// The SMSC's id of the message.
        CString message_id: &'a [u8] = MessageId, |limits| limits.message_id;
        /// Its sender, as submitted.
        Addr source: Address<'a> = SourceAddr, |limits| limits.address;
    }
}

layout! {
    /// cancel_sm's body. SMPP v3.4 §4.9.1.
    CancelSm = CANCEL_SM {
        /// Kind of service, where messages are cancelled by their addresses.
        CString service_type: &'a [u8] = ServiceType, |limits| limits.service_type;
        /// The SMSC's id of the message; empty = all between these addresses.
        CString message_id: &'a [u8] = MessageId, |limits| limits.message_id;
        /// Sender.
        Addr source: Address<'a> = SourceAddr, |limits| limits.address;
        /// Recipient; empty where message_id is given.
        Addr dest: Address<'a> = DestAddr, |limits| limits.address;
    }
}

layout! {
    /// replace_sm's body. SMPP v3.4 §4.10.1; the TLVs are v5.0's. The text is in the data_coding of
    /// the message that it replaces.
    ReplaceSm = REPLACE_SM {
        /// The SMSC's id of the message.
        CString message_id: &'a [u8] = MessageId, |limits| limits.message_id;
        /// Its sender, as submitted.
        Addr source: Address<'a> = SourceAddr, |limits| limits.address;
        /// When to deliver; empty = as before.
        CString schedule_delivery_time: &'a [u8] = ScheduleDeliveryTime, |_| TIME_OCTETS_MAX;
        /// When to give up; empty = as before.
        CString validity_period: &'a [u8] = ValidityPeriod, |_| TIME_OCTETS_MAX;
        /// Which receipts are wanted.
        Octet registered_delivery: u8 = Flags, |_| 1;
        /// A text stored at the SMSC; 0 = none.
        Octet sm_default_msg_id: u8 = Flags, |_| 1;
        /// The new text; at most 254 octets, 255 in v5.0.
        Text short_message: &'a [u8] = ShortMessage, |limits| limits.short_message;
        /// Optional parameters: message_payload, v5.0 §4.5.3.
        Params tlvs: Tlvs<'a> = Tlvs, |_| usize::MAX;
    }
}

/// query_sm_resp's body. SMPP v3.4 §4.8.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuerySmResp<'a> {
    /// The id that was asked about.
    pub message_id: &'a [u8],
    /// When the message reached its final state; empty = not yet.
    pub final_date: &'a [u8],
    /// Its state, SMPP v3.4 §5.2.28; `None` if the PDU ends before it.
    pub message_state: Option<u8>,
    /// The network's error, 0 = none; `None` if the PDU ends before it.
    pub error_code: Option<u8>,
    /// Optional parameters: v5.0.
    pub tlvs: Tlvs<'a>,
}

impl<'a> QuerySmResp<'a> {
    /// Reads a body. It never fails: what is missing is empty or `None`.
    #[must_use]
    pub fn decode(status: CommandStatus, body: &'a [u8]) -> (Self, Quirks) {
        if body.is_empty() && !status.is_ok() {
            return (Self::default(), Quirks::NONE);
        }
        let mut body = Body::new(body);
        let mut resp = Self {
            message_id: body.last_cstring(Limits::SPEC.message_id),
            final_date: body.last_cstring(TIME_OCTETS_MAX),
            message_state: body.u8(Field::MessageState).ok(),
            error_code: body.u8(Field::ErrorCode).ok(),
            tlvs: Tlvs::NONE,
        };
        if resp.error_code.is_none() {
            body.quirks.insert(Quirks::MISSING_FIELDS);
        }
        resp.tlvs = body.tlvs(Scan::Tolerant).unwrap_or_default();
        (resp, body.quirks)
    }

    /// Appends the whole PDU; an error status has no body. A state or error that is `None` is 0.
    ///
    /// # Errors
    /// Refuses values that are longer than `limits` or contain a NUL; nothing is written then.
    pub fn encode(
        &self,
        status: CommandStatus,
        sequence: u32,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let header = Header {
            command: CommandId::QUERY_SM_RESP,
            status,
            sequence,
        };
        if !status.is_ok() {
            header.encode_bare(out);
            return Ok(());
        }
        header.encode(self, limits, out)
    }
}

impl Fields for QuerySmResp<'_> {
    fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>) {
        to.cstring(Field::MessageId, self.message_id, limits.message_id);
        to.cstring(Field::FinalDate, self.final_date, TIME_OCTETS_MAX);
        to.fixed([
            self.message_state.unwrap_or_default(),
            self.error_code.unwrap_or_default(),
        ]);
        to.tlvs(self.tlvs);
    }
}
