//! submit_sm and its response.

use bytes::BytesMut;

use super::fields::{Address, Body, DecodeError, EncodeError, Field, Limits, Quirks};
use super::frame::{CommandId, Header};
use super::layout::TIME_OCTETS_MAX;
use super::put::{Fields, Put};
use super::status::CommandStatus;
use super::tlv::{Scan, Tlvs};

/// submit_sm's body. SMPP v3.4 §4.4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmitSm<'a> {
    /// Kind of service, as agreed with the carrier; mostly empty.
    pub service_type: &'a [u8],
    /// Sender.
    pub source: Address<'a>,
    /// Recipient.
    pub dest: Address<'a>,
    /// Mode, type, and 0x40 when a UDH leads the text. SMPP v3.4 §5.2.12.
    pub esm_class: u8,
    /// protocol_id, passed to the handset.
    pub protocol_id: u8,
    /// 0 (lowest) to 3.
    pub priority_flag: u8,
    /// When to deliver; empty = now.
    pub schedule_delivery_time: &'a [u8],
    /// When to give up; empty = the SMSC's default.
    pub validity_period: &'a [u8],
    /// Which receipts are wanted. SMPP v3.4 §5.2.17.
    pub registered_delivery: u8,
    /// 1 = replace an earlier message of the same source, dest and service_type.
    pub replace_if_present: u8,
    /// Alphabet and class. SMPP v3.4 §5.2.19.
    pub data_coding: u8,
    /// A text stored at the SMSC; 0 = none.
    pub sm_default_msg_id: u8,
    /// Text, after the UDH if esm_class says so; at most 254 octets.
    pub short_message: &'a [u8],
    /// Optional parameters.
    pub tlvs: Tlvs<'a>,
}

impl<'a> SubmitSm<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// Fails when a field is cut short, sm_length exceeds what follows, or the TLVs are broken.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<(Self, Quirks), DecodeError> {
        Self::decode_with(body, Scan::Strict)
    }

    #[inline]
    pub(crate) fn decode_with(body: &'a [u8], scan: Scan) -> Result<(Self, Quirks), DecodeError> {
        let mut body = Body::new(body);
        let (service_type, source) = Self::decode_head(&mut body)?;
        let dest = body.address(Field::DestAddr, Limits::SPEC.address)?;
        Self::decode_rest(body, service_type, source, dest, scan)
    }

    /// What comes before the recipient, in submit_multi too.
    #[inline]
    pub(super) fn decode_head(body: &mut Body<'a>) -> Result<(&'a [u8], Address<'a>), DecodeError> {
        let spec = Limits::SPEC;
        let service_type = body.cstring(Field::ServiceType, spec.service_type)?;
        let source = body.address(Field::SourceAddr, spec.address)?;
        Ok((service_type, source))
    }

    /// What comes behind the recipient, in submit_multi too.
    #[inline]
    pub(super) fn decode_rest(
        mut body: Body<'a>,
        service_type: &'a [u8],
        source: Address<'a>,
        dest: Address<'a>,
        scan: Scan,
    ) -> Result<(Self, Quirks), DecodeError> {
        let [esm_class, protocol_id, priority_flag] = body.array(Field::Flags)?;
        let schedule_delivery_time = body.cstring(Field::ScheduleDeliveryTime, TIME_OCTETS_MAX)?;
        let validity_period = body.cstring(Field::ValidityPeriod, TIME_OCTETS_MAX)?;
        let [
            registered_delivery,
            replace_if_present,
            data_coding,
            sm_default_msg_id,
        ] = body.array(Field::Flags)?;
        let short_message = body.short_message()?;
        let tlvs = body.tlvs(scan)?;
        if !tlvs.is_empty() && two_texts(short_message, tlvs) {
            body.quirks.insert(Quirks::TWO_TEXTS);
        }
        let sm = Self {
            service_type,
            source,
            dest,
            esm_class,
            protocol_id,
            priority_flag,
            schedule_delivery_time,
            validity_period,
            registered_delivery,
            replace_if_present,
            data_coding,
            sm_default_msg_id,
            short_message,
            tlvs,
        };
        Ok((sm, body.quirks))
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
        self.encode_as(CommandId::SUBMIT_SM, sequence, limits, out)
    }

    #[inline]
    pub(crate) fn encode_as(
        &self,
        command: CommandId,
        sequence: u32,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let header = Header {
            command,
            status: CommandStatus::OK,
            sequence,
        };
        header.encode(self, limits, out)
    }

    /// What comes before the recipient, in submit_multi too.
    #[inline(always)]
    pub(super) fn put_head<'f>(&'f self, limits: &Limits, to: &mut impl Put<'f>) {
        to.cstring(Field::ServiceType, self.service_type, limits.service_type);
        to.address(Field::SourceAddr, &self.source, limits.address);
    }

    /// What comes behind the recipient, in submit_multi too.
    #[inline(always)]
    pub(super) fn put_rest<'f>(&'f self, limits: &Limits, to: &mut impl Put<'f>) {
        to.fixed([self.esm_class, self.protocol_id, self.priority_flag]);
        to.cstring(
            Field::ScheduleDeliveryTime,
            self.schedule_delivery_time,
            TIME_OCTETS_MAX,
        );
        to.cstring(Field::ValidityPeriod, self.validity_period, TIME_OCTETS_MAX);
        to.fixed([
            self.registered_delivery,
            self.replace_if_present,
            self.data_coding,
            self.sm_default_msg_id,
        ]);
        to.short_message(self.short_message, limits.short_message);
        to.tlvs(self.tlvs);
    }

    /// The text with its UDH, from short_message or message_payload, whichever is longer.
    #[must_use]
    pub fn user_data(&self) -> &'a [u8] {
        user_data(self.short_message, self.tlvs)
    }
}

impl Fields for SubmitSm<'_> {
    #[inline(always)]
    fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>) {
        self.put_head(limits, to);
        to.address(Field::DestAddr, &self.dest, limits.address);
        self.put_rest(limits, to);
    }
}

/// Picks the text: the specification has one of the two empty, carriers fill both.
#[inline]
pub(crate) fn user_data<'a>(short_message: &'a [u8], tlvs: Tlvs<'a>) -> &'a [u8] {
    if tlvs.is_empty() {
        return short_message;
    }
    match tlvs.message_payload() {
        Some(payload) if payload.len() > short_message.len() || short_message == [0] => payload,
        _ => short_message,
    }
}

pub(crate) fn two_texts(short_message: &[u8], tlvs: Tlvs<'_>) -> bool {
    !short_message.is_empty()
        && tlvs
            .message_payload()
            .is_some_and(|payload| !payload.is_empty())
}

/// The body of submit_sm_resp and data_sm_resp. SMPP v3.4 §4.4.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmitSmResp<'a> {
    /// The SMSC's id, raw; empty if it gave none.
    pub message_id: &'a [u8],
    /// Optional parameters: v5 and some v3.4 carriers.
    pub tlvs: Tlvs<'a>,
}

impl<'a> SubmitSmResp<'a> {
    /// Reads a body. It never fails: an error status with an odd body is still that error.
    #[inline]
    #[must_use]
    pub fn decode(status: CommandStatus, body: &'a [u8]) -> (Self, Quirks) {
        if status.is_ok() {
            return Self::decode_ok(body);
        }
        Self::decode_error(body)
    }

    /// Reads deliver_sm_resp's body: its message_id is to be empty.
    #[must_use]
    pub fn decode_deliver(status: CommandStatus, body: &'a [u8]) -> (Self, Quirks) {
        let (resp, mut quirks) = Self::decode(status, body);
        quirks.remove(Quirks::NO_MESSAGE_ID);
        quirks.remove(Quirks::ERROR_WITH_ID);
        if !resp.message_id.is_empty() {
            quirks.insert(Quirks::DELIVER_RESP_ID);
        }
        (resp, quirks)
    }

    #[inline]
    fn decode_ok(body: &'a [u8]) -> (Self, Quirks) {
        let mut body = Body::new(body);
        let message_id = body.last_cstring(Limits::SPEC.message_id);
        if message_id.is_empty() {
            body.quirks.insert(Quirks::NO_MESSAGE_ID);
        }
        let tlvs = body.tlvs(Scan::Tolerant).unwrap_or_default();
        (Self { message_id, tlvs }, body.quirks)
    }

    /// With an error status some send no body, some a NUL, some an id, some only TLVs.
    fn decode_error(octets: &'a [u8]) -> (Self, Quirks) {
        if octets.is_empty() {
            return (Self::default(), Quirks::NONE);
        }
        // Tags of the specification start with 0x00..0x14; a printable id never does.
        let starts_as_tlv = octets.len() >= 4 && octets.first().is_some_and(|&first| first < 0x20);
        if starts_as_tlv && let Ok(tlvs) = Tlvs::new(octets) {
            return (
                Self {
                    message_id: &[],
                    tlvs,
                },
                Quirks::ODD_ERROR_BODY,
            );
        }
        let (resp, mut quirks) = Self::decode_ok(octets);
        if !resp.message_id.is_empty() {
            quirks.insert(Quirks::ERROR_WITH_ID);
        } else if octets.len() > 1 && resp.tlvs.is_empty() {
            quirks = Quirks::ODD_ERROR_BODY;
        } else {
            quirks = Quirks::NONE;
        }
        (resp, quirks)
    }

    /// Appends the whole PDU as `command`; an error status has no body unless there is one to tell.
    ///
    /// # Errors
    /// Refuses a message_id that is longer than `limits` or contains a NUL.
    #[inline]
    pub fn encode(
        &self,
        command: CommandId,
        status: CommandStatus,
        sequence: u32,
        limits: &Limits,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let header = Header {
            command,
            status,
            sequence,
        };
        if !status.is_ok() && self.message_id.is_empty() && self.tlvs.is_empty() {
            header.encode_bare(out);
            return Ok(());
        }
        header.encode(self, limits, out)
    }
}

impl Fields for SubmitSmResp<'_> {
    #[inline(always)]
    fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>) {
        to.cstring(Field::MessageId, self.message_id, limits.message_id);
        to.tlvs(self.tlvs);
    }
}
