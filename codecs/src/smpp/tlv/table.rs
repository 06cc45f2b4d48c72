//! The specification's TLVs as data: name, length, range, and the PDUs each may stand in.
//!
//! Source: smpp.md §1.4 for tags and lengths; values and PDUs SMPP v3.4 §5.3.2 and §4, v5.0 §4.8.4,
//! compared with oserl's `smpp_base.hrl` and rusmpp's tables (the primary text could not be opened).
//! Nothing here refuses what comes in: a value outside its rule is kept raw, a typed accessor
//! gives `None`, and the session counts a quirk. Only `strict_tlv` of an SMSC refuses.

use super::{Tag, Tlvs};
use crate::smpp::fields::Quirks;
use crate::smpp::frame::CommandId;
use crate::smpp::status::CommandStatus;

/// A set of PDUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pdus(u16);

impl Pdus {
    /// submit_sm.
    pub const SUBMIT: Self = Self(1);
    /// submit_multi.
    pub const MULTI: Self = Self(1 << 1);
    /// data_sm.
    pub const DATA: Self = Self(1 << 2);
    /// deliver_sm.
    pub const DELIVER: Self = Self(1 << 3);
    /// Responses of submit_sm, submit_multi and data_sm.
    pub const SUBMIT_RESP: Self = Self(1 << 4);
    /// deliver_sm_resp.
    pub const DELIVER_RESP: Self = Self(1 << 5);
    /// Responses of the three binds.
    pub const BIND_RESP: Self = Self(1 << 6);
    /// replace_sm.
    pub const REPLACE: Self = Self(1 << 7);
    /// alert_notification.
    pub const ALERT: Self = Self(1 << 8);
    /// broadcast_sm.
    pub const BROADCAST: Self = Self(1 << 9);
    /// query_broadcast_sm and cancel_broadcast_sm.
    pub const BROADCAST_ASK: Self = Self(1 << 10);
    /// Responses of the three broadcast commands.
    pub const BROADCAST_RESP: Self = Self(1 << 11);
    /// Any other response with a body: query_sm_resp.
    pub const OTHER_RESP: Self = Self(1 << 12);

    /// Whatever carries a message towards a handset.
    const SUBMITS: Self = Self(Self::SUBMIT.0 | Self::MULTI.0 | Self::DATA.0);
    /// Whatever carries a message in either direction.
    const MESSAGES: Self = Self(Self::SUBMITS.0 | Self::DELIVER.0);
    /// Whatever carries a receipt.
    const RECEIPTS: Self = Self(Self::DELIVER.0 | Self::DATA.0);
    /// Responses that tell why a message failed.
    const FAILURES: Self = Self(Self::SUBMIT_RESP.0 | Self::DELIVER_RESP.0);
    /// Every response. SMPP v5.0 §4.8.4.18.
    const RESPONSES: Self =
        Self(Self::FAILURES.0 | Self::BIND_RESP.0 | Self::BROADCAST_RESP.0 | Self::OTHER_RESP.0);

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set of one command; empty for those without TLVs.
    #[must_use]
    pub fn of(command: CommandId) -> Self {
        match command {
            CommandId::SUBMIT_SM => Self::SUBMIT,
            CommandId::SUBMIT_MULTI => Self::MULTI,
            CommandId::DATA_SM => Self::DATA,
            CommandId::DELIVER_SM => Self::DELIVER,
            CommandId::SUBMIT_SM_RESP | CommandId::SUBMIT_MULTI_RESP | CommandId::DATA_SM_RESP => {
                Self::SUBMIT_RESP
            }
            CommandId::DELIVER_SM_RESP => Self::DELIVER_RESP,
            CommandId::BIND_RECEIVER_RESP
            | CommandId::BIND_TRANSMITTER_RESP
            | CommandId::BIND_TRANSCEIVER_RESP => Self::BIND_RESP,
            CommandId::REPLACE_SM => Self::REPLACE,
            CommandId::ALERT_NOTIFICATION => Self::ALERT,
            CommandId::BROADCAST_SM => Self::BROADCAST,
            CommandId::QUERY_BROADCAST_SM | CommandId::CANCEL_BROADCAST_SM => Self::BROADCAST_ASK,
            CommandId::BROADCAST_SM_RESP
            | CommandId::QUERY_BROADCAST_SM_RESP
            | CommandId::CANCEL_BROADCAST_SM_RESP => Self::BROADCAST_RESP,
            CommandId::QUERY_SM_RESP => Self::OTHER_RESP,
            _ => Self(0),
        }
    }

    /// Says whether any of `other` is in the set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a TLV's value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One octet from the first to the second value.
    U8(u8, u8),
    /// Two octets, big-endian.
    U16,
    /// Four octets, big-endian.
    U32,
    /// A C-octet string; octets with its NUL, from and to.
    CString(u16, u16),
    /// Octets, from and to.
    Octets(u16, u16),
}

impl Shape {
    /// Says whether the value keeps its length rule.
    #[must_use]
    pub fn fits_length(self, value: &[u8]) -> bool {
        let octets = value.len();
        match self {
            Self::U8(..) => octets == 1,
            Self::U16 => octets == 2,
            Self::U32 => octets == 4,
            Self::CString(from, to) | Self::Octets(from, to) => {
                (usize::from(from)..=usize::from(to)).contains(&octets)
            }
        }
    }

    /// Says whether the value keeps its range; call after [`Shape::fits_length`].
    #[must_use]
    pub fn fits_value(self, value: &[u8]) -> bool {
        match (self, value) {
            (Self::U8(from, to), [octet]) => (from..=to).contains(octet),
            (Self::CString(..), _) => {
                value.iter().position(|&octet| octet == 0) == value.len().checked_sub(1)
            }
            _ => true,
        }
    }
}

/// A TLV's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which.
    pub tag: Tag,
    /// The specification's name.
    pub name: &'static str,
    /// Length and range.
    pub shape: Shape,
    /// The version that brought it: 0x34 or 0x50.
    pub since: u8,
    /// It may stand in one PDU more than once.
    pub many: bool,
    /// Where it may stand.
    pub pdus: Pdus,
}

macro_rules! tlvs {
    (@shape U16 ()) => { Shape::U16 };
    (@shape U32 ()) => { Shape::U32 };
    (@shape $shape:ident $args:tt) => { Shape::$shape $args };
    (@many one) => { false };
    (@many many) => { true };
    (@accessor raw $($rest:tt)*) => {};
    (@accessor typed $tag:ident $value:literal $name:ident U8) => {
        tlvs! { @of $value $name u8, |this| match this.in_rule(Tag::$tag)? {
            [octet] => Some(*octet),
            _ => None,
        } }
    };
    (@accessor typed $tag:ident $value:literal $name:ident U16) => {
        tlvs! { @of $value $name u16,
            |this| Some(u16::from_be_bytes(this.in_rule(Tag::$tag)?.try_into().ok()?)) }
    };
    (@accessor typed $tag:ident $value:literal $name:ident U32) => {
        tlvs! { @of $value $name u32,
            |this| Some(u32::from_be_bytes(this.in_rule(Tag::$tag)?.try_into().ok()?)) }
    };
    (@accessor typed $tag:ident $value:literal $name:ident CString) => {
        tlvs! { @of $value $name &'a [u8],
            |this| this.in_rule(Tag::$tag)?.split_last().map(|(_, text)| text) }
    };
    (@accessor typed $tag:ident $value:literal $name:ident Octets) => {
        tlvs! { @of $value $name &'a [u8], |this| this.in_rule(Tag::$tag) }
    };
    (@of $value:literal $name:ident $type:ty, |$this:ident| $read:expr) => {
        #[doc = concat!("TLV ", stringify!($value), ", if it is there and keeps its rule.")]
        #[must_use]
        pub fn $name(self) -> Option<$type> {
            let $this = self;
            $read
        }
    };
    ($($tag:ident = $value:literal $kind:ident $name:ident:
        $shape:ident $args:tt, $since:literal, $many:ident, $pdus:expr;)*) => {
        #[expect(missing_docs, reason = "named after the specification's parameters")]
        impl Tag {
            $(pub const $tag: Self = Self($value);)*
        }

        /// Every TLV of SMPP v3.4 and v5.0, in the order of their tags.
        pub const RULES: &[Rule] = &[$(Rule {
            tag: Tag($value),
            name: stringify!($name),
            shape: tlvs!(@shape $shape $args),
            since: $since,
            many: tlvs!(@many $many),
            pdus: $pdus,
        }),*];

        impl<'a> Tlvs<'a> {
            $(tlvs! { @accessor $kind $tag $value $name $shape })*
        }
    };
}

tlvs! {
    DEST_ADDR_SUBUNIT = 0x0005 typed dest_addr_subunit: U8(0, 4), 0x34, one, Pdus::MESSAGES;
    DEST_NETWORK_TYPE = 0x0006 typed dest_network_type: U8(0, 8), 0x34, one, Pdus::SUBMITS;
    DEST_BEARER_TYPE = 0x0007 typed dest_bearer_type: U8(0, 8), 0x34, one, Pdus::SUBMITS;
    DEST_TELEMATICS_ID = 0x0008 typed dest_telematics_id: U16(), 0x34, one, Pdus::SUBMITS;
    SOURCE_ADDR_SUBUNIT = 0x000D typed source_addr_subunit: U8(0, 4), 0x34, one, Pdus::MESSAGES;
    SOURCE_NETWORK_TYPE = 0x000E typed source_network_type: U8(0, 8), 0x34, one, Pdus::SUBMITS;
    SOURCE_BEARER_TYPE = 0x000F typed source_bearer_type: U8(0, 8), 0x34, one, Pdus::SUBMITS;
    // One octet by v3.4, two by v5.0: both are seen.
    SOURCE_TELEMATICS_ID = 0x0010 typed source_telematics_id: Octets(1, 2), 0x34, one, Pdus::SUBMITS;
    QOS_TIME_TO_LIVE = 0x0017 typed qos_time_to_live: U32(), 0x34, one, Pdus::SUBMITS;
    PAYLOAD_TYPE = 0x0019 typed payload_type: U8(0, 1), 0x34, one, Pdus::MESSAGES.and(Pdus::BROADCAST);
    ADDITIONAL_STATUS_INFO_TEXT = 0x001D raw additional_status_info_text: CString(1, 256), 0x34, one, Pdus::FAILURES.and(Pdus::BROADCAST_RESP);
    RECEIPTED_MESSAGE_ID = 0x001E raw receipted_message_id: CString(1, 65), 0x34, one, Pdus::RECEIPTS;
    MS_MSG_WAIT_FACILITIES = 0x0030 typed ms_msg_wait_facilities: U8(0, 255), 0x34, one, Pdus::SUBMITS;
    PRIVACY_INDICATOR = 0x0201 typed privacy_indicator: U8(0, 3), 0x34, one, Pdus::MESSAGES;
    SOURCE_SUBADDRESS = 0x0202 typed source_subaddress: Octets(2, 23), 0x34, one, Pdus::MESSAGES.and(Pdus::BROADCAST);
    DEST_SUBADDRESS = 0x0203 typed dest_subaddress: Octets(2, 23), 0x34, one, Pdus::MESSAGES;
    USER_MESSAGE_REFERENCE = 0x0204 typed user_message_reference: U16(), 0x34, one, Pdus::MESSAGES.and(Pdus::BROADCAST).and(Pdus::BROADCAST_ASK).and(Pdus::BROADCAST_RESP);
    USER_RESPONSE_CODE = 0x0205 typed user_response_code: U8(0, 255), 0x34, one, Pdus::MESSAGES;
    SOURCE_PORT = 0x020A typed source_port: U16(), 0x34, one, Pdus::MESSAGES.and(Pdus::BROADCAST);
    DESTINATION_PORT = 0x020B typed destination_port: U16(), 0x34, one, Pdus::MESSAGES.and(Pdus::BROADCAST);
    SAR_MSG_REF_NUM = 0x020C typed sar_msg_ref_num: U16(), 0x34, one, Pdus::MESSAGES;
    LANGUAGE_INDICATOR = 0x020D typed language_indicator: U8(0, 5), 0x34, one, Pdus::MESSAGES.and(Pdus::BROADCAST);
    SAR_TOTAL_SEGMENTS = 0x020E typed sar_total_segments: U8(1, 255), 0x34, one, Pdus::MESSAGES;
    SAR_SEGMENT_SEQNUM = 0x020F typed sar_segment_seqnum: U8(1, 255), 0x34, one, Pdus::MESSAGES;
    SC_INTERFACE_VERSION = 0x0210 typed sc_interface_version: U8(0, 255), 0x34, one, Pdus::BIND_RESP;
    CALLBACK_NUM_PRES_IND = 0x0302 typed callback_num_pres_ind: U8(0, 15), 0x34, many, Pdus::MESSAGES.and(Pdus::BROADCAST);
    CALLBACK_NUM_ATAG = 0x0303 typed callback_num_atag: Octets(0, 65), 0x34, many, Pdus::MESSAGES.and(Pdus::BROADCAST);
    NUMBER_OF_MESSAGES = 0x0304 typed number_of_messages: U8(0, 99), 0x34, one, Pdus::SUBMITS;
    CALLBACK_NUM = 0x0381 typed callback_num: Octets(4, 19), 0x34, many, Pdus::MESSAGES.and(Pdus::BROADCAST);
    DPF_RESULT = 0x0420 typed dpf_result: U8(0, 1), 0x34, one, Pdus::SUBMIT_RESP.and(Pdus::RECEIPTS);
    SET_DPF = 0x0421 typed set_dpf: U8(0, 1), 0x34, one, Pdus::SUBMITS;
    MS_AVAILABILITY_STATUS = 0x0422 typed ms_availability_status: U8(0, 2), 0x34, one, Pdus::ALERT;
    // Three octets by the specification; four are seen (ksmppd #145).
    NETWORK_ERROR_CODE = 0x0423 raw network_error_code: Octets(3, 3), 0x34, one, Pdus::RECEIPTS.and(Pdus::FAILURES);
    MESSAGE_PAYLOAD = 0x0424 typed message_payload: Octets(0, 65535), 0x34, one, Pdus::MESSAGES.and(Pdus::REPLACE).and(Pdus::BROADCAST);
    DELIVERY_FAILURE_REASON = 0x0425 typed delivery_failure_reason: U8(0, 3), 0x34, one, Pdus::FAILURES;
    MORE_MESSAGES_TO_SEND = 0x0426 typed more_messages_to_send: U8(0, 1), 0x34, one, Pdus::SUBMITS;
    // 0 and 9 are v5.0's. smpp.md §4.3.
    MESSAGE_STATE = 0x0427 raw message_state: U8(0, 9), 0x34, one, Pdus::RECEIPTS.and(Pdus::BROADCAST_RESP);
    CONGESTION_STATE = 0x0428 typed congestion_state: U8(0, 100), 0x50, one, Pdus::RESPONSES;
    USSD_SERVICE_OP = 0x0501 typed ussd_service_op: U8(0, 255), 0x34, one, Pdus::MESSAGES;
    BROADCAST_CHANNEL_INDICATOR = 0x0600 typed broadcast_channel_indicator: U8(0, 1), 0x50, one, Pdus::BROADCAST;
    BROADCAST_CONTENT_TYPE = 0x0601 typed broadcast_content_type: Octets(3, 3), 0x50, one, Pdus::BROADCAST.and(Pdus::BROADCAST_ASK);
    BROADCAST_CONTENT_TYPE_INFO = 0x0602 typed broadcast_content_type_info: Octets(0, 255), 0x50, one, Pdus::BROADCAST;
    BROADCAST_MESSAGE_CLASS = 0x0603 typed broadcast_message_class: U8(0, 3), 0x50, one, Pdus::BROADCAST;
    BROADCAST_REP_NUM = 0x0604 typed broadcast_rep_num: U16(), 0x50, one, Pdus::BROADCAST;
    BROADCAST_FREQUENCY_INTERVAL = 0x0605 typed broadcast_frequency_interval: Octets(3, 3), 0x50, one, Pdus::BROADCAST;
    BROADCAST_AREA_IDENTIFIER = 0x0606 typed broadcast_area_identifier: Octets(1, 65535), 0x50, many, Pdus::BROADCAST.and(Pdus::BROADCAST_RESP);
    BROADCAST_ERROR_STATUS = 0x0607 typed broadcast_error_status: U32(), 0x50, many, Pdus::BROADCAST_RESP;
    // Percent, or 255 = not known.
    BROADCAST_AREA_SUCCESS = 0x0608 typed broadcast_area_success: U8(0, 255), 0x50, many, Pdus::BROADCAST_RESP;
    BROADCAST_END_TIME = 0x0609 typed broadcast_end_time: CString(1, 17), 0x50, one, Pdus::BROADCAST_RESP;
    BROADCAST_SERVICE_GROUP = 0x060A typed broadcast_service_group: Octets(0, 255), 0x50, one, Pdus::BROADCAST;
    BILLING_IDENTIFICATION = 0x060B typed billing_identification: Octets(0, 1024), 0x50, one, Pdus::SUBMITS;
    SOURCE_NETWORK_ID = 0x060D typed source_network_id: CString(7, 65), 0x50, one, Pdus::MESSAGES;
    DEST_NETWORK_ID = 0x060E typed dest_network_id: CString(7, 65), 0x50, one, Pdus::MESSAGES;
    SOURCE_NODE_ID = 0x060F typed source_node_id: Octets(6, 6), 0x50, one, Pdus::MESSAGES;
    DEST_NODE_ID = 0x0610 typed dest_node_id: Octets(6, 6), 0x50, one, Pdus::MESSAGES;
    DEST_ADDR_NP_RESOLUTION = 0x0611 typed dest_addr_np_resolution: U8(0, 2), 0x50, one, Pdus::MESSAGES;
    DEST_ADDR_NP_INFORMATION = 0x0612 typed dest_addr_np_information: Octets(10, 10), 0x50, one, Pdus::MESSAGES;
    DEST_ADDR_NP_COUNTRY = 0x0613 typed dest_addr_np_country: Octets(1, 5), 0x50, one, Pdus::MESSAGES;
    // 2 is Invoke by v3.4; oserl writes 3.
    DISPLAY_TIME = 0x1201 typed display_time: U8(0, 3), 0x34, one, Pdus::SUBMITS.and(Pdus::BROADCAST);
    SMS_SIGNAL = 0x1203 typed sms_signal: U16(), 0x34, one, Pdus::SUBMITS.and(Pdus::BROADCAST);
    // One octet; v5.0 adds a unit and a number.
    MS_VALIDITY = 0x1204 typed ms_validity: Octets(1, 4), 0x34, one, Pdus::SUBMITS.and(Pdus::BROADCAST);
    // Empty by v3.4; v5.0 may add an octet.
    ALERT_ON_MESSAGE_DELIVERY = 0x130C typed alert_on_message_delivery: Octets(0, 1), 0x34, one, Pdus::SUBMITS.and(Pdus::BROADCAST);
    ITS_REPLY_TYPE = 0x1380 typed its_reply_type: U8(0, 8), 0x34, one, Pdus::MESSAGES;
    ITS_SESSION_INFO = 0x1383 typed its_session_info: U16(), 0x34, one, Pdus::MESSAGES;
}

impl Tag {
    /// The rule of a TLV that the specification knows; `None` for a vendor's own.
    #[must_use]
    pub fn rule(self) -> Option<&'static Rule> {
        RULES.get(self.place()?)
    }

    fn place(self) -> Option<usize> {
        RULES.binary_search_by_key(&self, |rule| rule.tag).ok()
    }
}

impl<'a> Tlvs<'a> {
    /// The first value with this tag, if it keeps the tag's rule.
    fn in_rule(self, tag: Tag) -> Option<&'a [u8]> {
        let value = self.find(tag)?;
        let shape = tag.rule()?.shape;
        (shape.fits_length(value) && shape.fits_value(value)).then_some(value)
    }

    /// What is odd about TLVs that came in `command`. Vendors' own may be anything.
    #[must_use]
    pub fn oddities(self, command: CommandId) -> Quirks {
        let pdus = Pdus::of(command);
        let mut quirks = Quirks::NONE;
        let mut seen = 0_u64;
        for tlv in self.iter() {
            let Some(place) = tlv.tag.place() else {
                continue;
            };
            let Some(rule) = RULES.get(place) else {
                continue;
            };
            if !rule.pdus.contains(pdus) {
                quirks.insert(Quirks::FOREIGN_TLV);
            }
            if !(rule.shape.fits_length(tlv.value) && rule.shape.fits_value(tlv.value)) {
                quirks.insert(Quirks::ODD_TLV);
            }
            // The table has fewer than 64 rows, which a test keeps true.
            let bit = 1_u64 << (place % 64);
            if seen & bit != 0 && !rule.many {
                quirks.insert(Quirks::DUPLICATE_TLV);
            }
            seen |= bit;
        }
        quirks
    }

    /// The status with which a strict SMSC refuses these TLVs in `command`; `None` = all is well.
    /// SMPP v3.4 §5.1.3: 0xC1 not allowed here, 0xC2 length, 0xC3 one is missing, 0xC4 value.
    #[must_use]
    pub fn breach(self, command: CommandId) -> Option<CommandStatus> {
        let pdus = Pdus::of(command);
        for tlv in self.iter() {
            let Some(rule) = tlv.tag.rule() else {
                continue;
            };
            if !rule.pdus.contains(pdus) {
                return Some(CommandStatus::TLV_NOT_ALLOWED);
            }
            if !rule.shape.fits_length(tlv.value) {
                return Some(CommandStatus::INVALID_TLV_LENGTH);
            }
            if !rule.shape.fits_value(tlv.value) {
                return Some(CommandStatus::INVALID_TLV_VALUE);
            }
        }
        let sar = [
            Tag::SAR_MSG_REF_NUM,
            Tag::SAR_TOTAL_SEGMENTS,
            Tag::SAR_SEGMENT_SEQNUM,
        ];
        let told = sar.into_iter().filter(|&tag| self.find(tag).is_some());
        matches!(told.count(), 1 | 2).then_some(CommandStatus::MISSING_TLV)
    }
}
