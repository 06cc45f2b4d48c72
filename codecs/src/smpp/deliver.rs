//! deliver_sm and data_sm: what an SMSC sends us, messages and receipts alike.

use bytes::BytesMut;

use super::fields::{Address, Body, DecodeError, EncodeError, Field, Limits, Quirks};
use super::frame::{CommandId, Header};
use super::put::{Fields, Put};
use super::receipt::is_reserved;
use super::status::CommandStatus;
use super::submit::{SubmitSm, user_data};
use super::tlv::{Scan, Tlvs};

/// esm_class bits that tell the type of message. SMPP v3.4 §5.2.12.
pub const ESM_TYPE_MASK: u8 = 0x3C;
/// esm_class type: delivery receipt.
pub const ESM_RECEIPT: u8 = 0x04;
/// esm_class type: intermediate notification.
pub const ESM_INTERMEDIATE: u8 = 0x20;
/// esm_class bit: a UDH leads the text.
pub const ESM_UDHI: u8 = 0x40;

/// deliver_sm's body. SMPP v3.4 §4.6.1; the fields that must be empty there are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliverSm<'a> {
    /// Kind of service.
    pub service_type: &'a [u8],
    /// Sender: the handset.
    pub source: Address<'a>,
    /// Recipient: our number.
    pub dest: Address<'a>,
    /// Mode, type (receipt or message), and 0x40 when a UDH leads the text.
    pub esm_class: u8,
    /// protocol_id.
    pub protocol_id: u8,
    /// 0 (lowest) to 3.
    pub priority_flag: u8,
    /// Which acknowledgements are wanted.
    pub registered_delivery: u8,
    /// Alphabet and class.
    pub data_coding: u8,
    /// Text, after the UDH if esm_class says so.
    pub short_message: &'a [u8],
    /// Optional parameters.
    pub tlvs: Tlvs<'a>,
}

impl<'a> DeliverSm<'a> {
    /// Reads a body. A TLV stream that breaks off is kept up to there: a refusal would only make
    /// the carrier repeat it.
    ///
    /// # Errors
    /// Fails when a field is cut short or sm_length exceeds what follows.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<(Self, Quirks), DecodeError> {
        let (sm, mut quirks) = SubmitSm::decode_with(body, Scan::Tolerant)?;
        if is_reserved(sm.esm_class) {
            quirks.insert(Quirks::ODD_CLASS);
        }
        let deliver = Self {
            service_type: sm.service_type,
            source: sm.source,
            dest: sm.dest,
            esm_class: sm.esm_class,
            protocol_id: sm.protocol_id,
            priority_flag: sm.priority_flag,
            registered_delivery: sm.registered_delivery,
            data_coding: sm.data_coding,
            short_message: sm.short_message,
            tlvs: sm.tlvs,
        };
        Ok((deliver, quirks))
    }

    /// Appends the whole PDU.
    ///
    /// # Errors
    /// Refuses values that are longer than `limits` or contain a NUL; nothing is written then.
    #[inline]
    pub fn encode(
        &self,
        sequence: u32,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let sm = SubmitSm {
            service_type: self.service_type,
            source: self.source,
            dest: self.dest,
            esm_class: self.esm_class,
            protocol_id: self.protocol_id,
            priority_flag: self.priority_flag,
            registered_delivery: self.registered_delivery,
            data_coding: self.data_coding,
            short_message: self.short_message,
            tlvs: self.tlvs,
            ..SubmitSm::default()
        };
        sm.encode_as(CommandId::DELIVER_SM, sequence, limits, out)
    }

    /// The text with its UDH, from short_message or message_payload, whichever is longer.
    #[must_use]
    pub fn user_data(&self) -> &'a [u8] {
        user_data(self.short_message, self.tlvs)
    }
}

/// Appends deliver_sm_resp: its message_id is always one NUL. SMPP v3.4 §4.6.2.
#[inline]
pub fn encode_deliver_resp(status: CommandStatus, sequence: u32, out: &mut BytesMut) {
    Header {
        command: CommandId::DELIVER_SM_RESP,
        status,
        sequence,
    }
    .encode_octets(&[0], out);
}

/// data_sm's body. SMPP v3.4 §4.7.1; the text is in message_payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataSm<'a> {
    /// Kind of service.
    pub service_type: &'a [u8],
    /// Sender; up to 64 octets.
    pub source: Address<'a>,
    /// Recipient; up to 64 octets.
    pub dest: Address<'a>,
    /// Mode, type, and 0x40 when a UDH leads the text.
    pub esm_class: u8,
    /// Which receipts are wanted.
    pub registered_delivery: u8,
    /// Alphabet and class.
    pub data_coding: u8,
    /// Optional parameters, message_payload among them.
    pub tlvs: Tlvs<'a>,
}

impl<'a> DataSm<'a> {
    /// Reads a body; a TLV stream that breaks off is kept up to there.
    ///
    /// # Errors
    /// Fails when a field is cut short or has no NUL.
    pub fn decode(body: &'a [u8]) -> Result<(Self, Quirks), DecodeError> {
        let spec = Limits::SPEC;
        let mut body = Body::new(body);
        let service_type = body.cstring(Field::ServiceType, spec.service_type)?;
        let source = body.address(Field::SourceAddr, spec.data_address)?;
        let dest = body.address(Field::DestAddr, spec.data_address)?;
        let [esm_class, registered_delivery, data_coding] = body.array(Field::Flags)?;
        let tlvs = body.tlvs(Scan::Tolerant)?;
        if is_reserved(esm_class) {
            body.quirks.insert(Quirks::ODD_CLASS);
        }
        let data = Self {
            service_type,
            source,
            dest,
            esm_class,
            registered_delivery,
            data_coding,
            tlvs,
        };
        Ok((data, body.quirks))
    }

    /// Appends the whole PDU.
    ///
    /// # Errors
    /// Refuses values that are longer than `limits` or contain a NUL; nothing is written then.
    pub fn encode(
        &self,
        sequence: u32,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let header = Header {
            command: CommandId::DATA_SM,
            status: CommandStatus::OK,
            sequence,
        };
        header.encode(self, limits, out)
    }

    /// The text with its UDH.
    #[must_use]
    pub fn user_data(&self) -> &'a [u8] {
        self.tlvs.message_payload().unwrap_or_default()
    }
}

impl Fields for DataSm<'_> {
    fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>) {
        to.cstring(Field::ServiceType, self.service_type, limits.service_type);
        to.address(Field::SourceAddr, &self.source, limits.data_address);
        to.address(Field::DestAddr, &self.dest, limits.data_address);
        to.fixed([self.esm_class, self.registered_delivery, self.data_coding]);
        to.tlvs(self.tlvs);
    }
}
