//! alert_notification: the SMSC says that a handset can be reached again. It has no response.

use bytes::BytesMut;

use super::fields::{Address, Body, DecodeError, EncodeError, Field, Limits, Quirks};
use super::frame::{CommandId, Header};
use super::layout::{self, Part, layout};
use super::put::{Fields, Put};
use super::status::CommandStatus;
use super::tlv::Tlvs;

layout! {
    /// alert_notification's body. SMPP v3.4 §4.12.1.
    AlertNotification = ALERT_NOTIFICATION {
        /// The handset; up to 64 octets.
        Addr source: Address<'a> = SourceAddr, |limits| limits.data_address;
        /// Who asked to be told; up to 64 octets.
        Addr esme: Address<'a> = EsmeAddr, |limits| limits.data_address;
        /// Optional parameters: ms_availability_status.
        Params tlvs: Tlvs<'a> = Tlvs, |_| usize::MAX;
    }
}
