//! Cell broadcast, SMPP v5.0: read and answered; this gateway submits none.
//!
//! The responses of broadcast_sm and query_broadcast_sm are laid out as submit_sm_resp: an id and
//! TLVs. cancel_broadcast_sm_resp is a bare header.

use bytes::BytesMut;

use super::fields::{Address, Body, DecodeError, EncodeError, Field, Limits, Quirks};
use super::frame::{CommandId, Header};
use super::layout::{self, Part, TIME_OCTETS_MAX, layout};
use super::put::{Fields, Put};
use super::status::CommandStatus;
use super::tlv::Tlvs;

layout! {
    /// broadcast_sm's body. SMPP v5.0 §4.4.1. Its area (0x0606), content type (0x0601), repeats
    /// (0x0604) and interval (0x0605) are mandatory TLVs.
    BroadcastSm = BROADCAST_SM {
        /// Kind of service.
        CString service_type: &'a [u8] = ServiceType, |limits| limits.service_type;
        /// Sender.
        Addr source: Address<'a> = SourceAddr, |limits| limits.address;
        /// The id of an earlier broadcast that this one replaces; mostly empty.
        CString message_id: &'a [u8] = MessageId, |limits| limits.message_id;
        /// 0 (lowest) to 4.
        Octet priority_flag: u8 = Flags, |_| 1;
        /// When to begin; empty = now.
        CString schedule_delivery_time: &'a [u8] = ScheduleDeliveryTime, |_| TIME_OCTETS_MAX;
        /// When to end; empty = by repeats and interval.
        CString validity_period: &'a [u8] = ValidityPeriod, |_| TIME_OCTETS_MAX;
        /// 1 = replace an earlier one.
        Octet replace_if_present: u8 = Flags, |_| 1;
        /// Alphabet and class.
        Octet data_coding: u8 = Flags, |_| 1;
        /// A text stored at the SMSC; 0 = none.
        Octet sm_default_msg_id: u8 = Flags, |_| 1;
        /// The parameters, mandatory ones among them.
        Params tlvs: Tlvs<'a> = Tlvs, |_| usize::MAX;
    }
}

layout! {
    /// query_broadcast_sm's body. SMPP v5.0 §4.6.1.
    QueryBroadcastSm = QUERY_BROADCAST_SM {
        /// The SMSC's id of the broadcast.
        CString message_id: &'a [u8] = MessageId, |limits| limits.message_id;
        /// Its sender, as submitted.
        Addr source: Address<'a> = SourceAddr, |limits| limits.address;
        /// Optional parameters: user_message_reference.
        Params tlvs: Tlvs<'a> = Tlvs, |_| usize::MAX;
    }
}

layout! {
    /// cancel_broadcast_sm's body. SMPP v5.0 §4.6.3.
    CancelBroadcastSm = CANCEL_BROADCAST_SM {
        /// Kind of service, where broadcasts are cancelled by sender.
        CString service_type: &'a [u8] = ServiceType, |limits| limits.service_type;
        /// The SMSC's id of the broadcast; empty = all of the sender.
        CString message_id: &'a [u8] = MessageId, |limits| limits.message_id;
        /// Sender, as submitted.
        Addr source: Address<'a> = SourceAddr, |limits| limits.address;
        /// Optional parameters: broadcast_content_type, user_message_reference.
        Params tlvs: Tlvs<'a> = Tlvs, |_| usize::MAX;
    }
}
