//! command_status: the value every response carries, and its names.

use std::fmt;

/// A command_status value. SMPP v3.4 §5.1.3, v5.0 §4.7.6; unknown values are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CommandStatus(pub u32);

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl CommandStatus {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Returns the specification's name (`ESME_...`), or `None` for a vendor's own value.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }

            /// Every status with a name, in ascending order.
            pub const NAMED: &'static [Self] = &[$(Self($value)),*];
        }
    };
}

statuses! {
    /// No error.
    OK = 0x00, "ESME_ROK";
    /// Message length is invalid.
    INVALID_MESSAGE_LENGTH = 0x01, "ESME_RINVMSGLEN";
    /// Command length is invalid.
    INVALID_COMMAND_LENGTH = 0x02, "ESME_RINVCMDLEN";
    /// Command id is not known or not supported.
    INVALID_COMMAND = 0x03, "ESME_RINVCMDID";
    /// Command does not fit the bind's state.
    WRONG_BIND_STATE = 0x04, "ESME_RINVBNDSTS";
    /// Already bound, or too many binds.
    ALREADY_BOUND = 0x05, "ESME_RALYBND";
    /// Priority flag is invalid.
    INVALID_PRIORITY = 0x06, "ESME_RINVPRTFLG";
    /// registered_delivery is invalid.
    INVALID_REGISTERED_DELIVERY = 0x07, "ESME_RINVREGDLVFLG";
    /// System error.
    SYSTEM_ERROR = 0x08, "ESME_RSYSERR";
    /// Source address is invalid.
    INVALID_SOURCE = 0x0A, "ESME_RINVSRCADR";
    /// Destination address is invalid.
    INVALID_DEST = 0x0B, "ESME_RINVDSTADR";
    /// Message id is invalid.
    INVALID_MESSAGE_ID = 0x0C, "ESME_RINVMSGID";
    /// Bind failed, cause not told.
    BIND_FAILED = 0x0D, "ESME_RBINDFAIL";
    /// Password is wrong.
    INVALID_PASSWORD = 0x0E, "ESME_RINVPASWD";
    /// system_id is wrong.
    INVALID_SYSTEM_ID = 0x0F, "ESME_RINVSYSID";
    /// cancel_sm failed.
    CANCEL_FAILED = 0x11, "ESME_RCANCELFAIL";
    /// replace_sm failed.
    REPLACE_FAILED = 0x13, "ESME_RREPLACEFAIL";
    /// Message queue is full.
    QUEUE_FULL = 0x14, "ESME_RMSGQFUL";
    /// service_type is invalid.
    INVALID_SERVICE_TYPE = 0x15, "ESME_RINVSERTYP";
    /// number_of_dests is invalid.
    INVALID_DEST_COUNT = 0x33, "ESME_RINVNUMDESTS";
    /// Distribution list name is invalid.
    INVALID_LIST_NAME = 0x34, "ESME_RINVDLNAME";
    /// dest_flag is invalid.
    INVALID_DEST_FLAG = 0x40, "ESME_RINVDESTFLAG";
    /// replace_if_present cannot be done.
    INVALID_REPLACE_REQUEST = 0x42, "ESME_RINVSUBREP";
    /// esm_class is invalid.
    INVALID_ESM_CLASS = 0x43, "ESME_RINVESMCLASS";
    /// Cannot submit to a distribution list.
    LIST_SUBMIT_FAILED = 0x44, "ESME_RCNTSUBDL";
    /// submit_sm or submit_multi failed.
    SUBMIT_FAILED = 0x45, "ESME_RSUBMITFAIL";
    /// Source TON is invalid.
    INVALID_SOURCE_TON = 0x48, "ESME_RINVSRCTON";
    /// Source NPI is invalid.
    INVALID_SOURCE_NPI = 0x49, "ESME_RINVSRCNPI";
    /// Destination TON is invalid.
    INVALID_DEST_TON = 0x50, "ESME_RINVDSTTON";
    /// Destination NPI is invalid.
    INVALID_DEST_NPI = 0x51, "ESME_RINVDSTNPI";
    /// system_type is invalid.
    INVALID_SYSTEM_TYPE = 0x53, "ESME_RINVSYSTYP";
    /// replace_if_present is invalid.
    INVALID_REPLACE_FLAG = 0x54, "ESME_RINVREPFLAG";
    /// Number of messages is invalid.
    INVALID_MESSAGE_COUNT = 0x55, "ESME_RINVNUMMSGS";
    /// Sent faster than the peer allows.
    THROTTLED = 0x58, "ESME_RTHROTTLED";
    /// schedule_delivery_time is invalid.
    INVALID_SCHEDULE = 0x61, "ESME_RINVSCHED";
    /// validity_period is invalid.
    INVALID_VALIDITY = 0x62, "ESME_RINVEXPIRY";
    /// Predefined message is invalid or not found.
    INVALID_DEFAULT_MESSAGE = 0x63, "ESME_RINVDFTMSGID";
    /// Receiver has a temporary error; try again.
    RECEIVER_TEMPORARY = 0x64, "ESME_RX_T_APPN";
    /// Receiver has a permanent error.
    RECEIVER_PERMANENT = 0x65, "ESME_RX_P_APPN";
    /// Receiver rejects the message.
    RECEIVER_REJECTS = 0x66, "ESME_RX_R_APPN";
    /// query_sm failed.
    QUERY_FAILED = 0x67, "ESME_RQUERYFAIL";
    /// TLV stream is broken (v3.4: RINVOPTPARSTREAM).
    INVALID_TLV_STREAM = 0xC0, "ESME_RINVTLVSTREAM";
    /// TLV is not allowed here (v3.4: ROPTPARNOTALLWD).
    TLV_NOT_ALLOWED = 0xC1, "ESME_RTLVNOTALLWD";
    /// TLV length is invalid (v3.4: RINVPARLEN).
    INVALID_TLV_LENGTH = 0xC2, "ESME_RINVTLVLEN";
    /// An expected TLV is missing (v3.4: RMISSINGOPTPARAM).
    MISSING_TLV = 0xC3, "ESME_RMISSINGTLV";
    /// TLV value is invalid (v3.4: RINVOPTPARAMVAL).
    INVALID_TLV_VALUE = 0xC4, "ESME_RINVTLVVAL";
    /// Delivery failed (data_sm in transaction mode).
    DELIVERY_FAILED = 0xFE, "ESME_RDELIVERYFAILURE";
    /// Unknown error.
    UNKNOWN_ERROR = 0xFF, "ESME_RUNKNOWNERR";
    /// Not authorised for this service_type.
    SERVICE_TYPE_UNAUTHORISED = 0x100, "ESME_RSERTYPUNAUTH";
    /// Operation is prohibited.
    PROHIBITED = 0x101, "ESME_RPROHIBITED";
    /// service_type is unavailable.
    SERVICE_TYPE_UNAVAILABLE = 0x102, "ESME_RSERTYPUNAVAIL";
    /// service_type is denied.
    SERVICE_TYPE_DENIED = 0x103, "ESME_RSERTYPDENIED";
    /// data_coding is invalid.
    INVALID_DATA_CODING = 0x104, "ESME_RINVDCS";
    /// Source subunit is invalid.
    INVALID_SOURCE_SUBUNIT = 0x105, "ESME_RINVSRCADDRSUBUNIT";
    /// Destination subunit is invalid.
    INVALID_DEST_SUBUNIT = 0x106, "ESME_RINVDSTADDRSUBUNIT";
    /// broadcast_frequency_interval is invalid.
    INVALID_BROADCAST_INTERVAL = 0x107, "ESME_RINVBCASTFREQINT";
    /// Broadcast alias name is invalid.
    INVALID_BROADCAST_ALIAS = 0x108, "ESME_RINVBCASTALIAS_NAME";
    /// Broadcast area format is invalid.
    INVALID_BROADCAST_AREA = 0x109, "ESME_RINVBCASTAREAFMT";
    /// Number of broadcast areas is invalid.
    INVALID_BROADCAST_AREAS = 0x10A, "ESME_RINVNUMBCAST_AREAS";
    /// Broadcast content type is invalid.
    INVALID_BROADCAST_CONTENT = 0x10B, "ESME_RINVBCASTCNTTYPE";
    /// Broadcast message class is invalid.
    INVALID_BROADCAST_CLASS = 0x10C, "ESME_RINVBCASTMSGCLASS";
    /// broadcast_sm failed.
    BROADCAST_FAILED = 0x10D, "ESME_RBCASTFAIL";
    /// query_broadcast_sm failed.
    BROADCAST_QUERY_FAILED = 0x10E, "ESME_RBCASTQUERYFAIL";
    /// cancel_broadcast_sm failed.
    BROADCAST_CANCEL_FAILED = 0x10F, "ESME_RBCASTCANCELFAIL";
    /// Number of broadcast repeats is invalid.
    INVALID_BROADCAST_REPEATS = 0x110, "ESME_RINVBCAST_REP";
    /// Broadcast service group is invalid.
    INVALID_BROADCAST_GROUP = 0x111, "ESME_RINVBCASTSRVGRP";
    /// Broadcast channel indicator is invalid.
    INVALID_BROADCAST_CHANNEL = 0x112, "ESME_RINVBCASTCHANIND";
}

impl CommandStatus {
    /// Says whether the request was accepted.
    #[inline]
    #[must_use]
    pub fn is_ok(self) -> bool {
        self == Self::OK
    }
}

/// `ESME_RTHROTTLED (0x58)`, or `0x423` for a vendor's own value.
impl fmt::Display for CommandStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} (0x{:02X})", self.0),
            None => write!(f, "0x{:02X}", self.0),
        }
    }
}

impl fmt::Debug for CommandStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
