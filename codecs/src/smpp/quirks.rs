//! Deviations that are tolerated, each with a name: smpp.md §1.5. README's "Quirks" lists them for
//! operators; a test keeps that list the same as this one.

/// A set of tolerated deviations, each with a name for a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quirks(u32);

macro_rules! quirks {
    ($($(#[$doc:meta])* $flag:ident = $bit:literal, $name:literal;)*) => {
        impl Quirks {
            $($(#[$doc])* pub const $flag: Self = Self(1 << $bit);)*

            /// Every flag with its name.
            pub const NAMES: &'static [(Self, &'static str)] = &[$((Self::$flag, $name)),*];
        }
    };
}

quirks! {
    /// The last C-octet string had no NUL.
    MISSING_NUL = 0, "missing_nul";
    /// Octets after the body that are no TLV stream; up to three zero octets were dropped.
    TRAILING = 1, "trailing";
    /// A C-octet string longer than the specification allows.
    LONG_CSTRING = 2, "long_cstring";
    /// An accepting response without message_id.
    NO_MESSAGE_ID = 3, "no_msgid";
    /// A TLV stream that breaks off; what was whole is kept.
    BROKEN_TLVS = 4, "broken_tlvs";
    /// short_message and message_payload both carry text.
    TWO_TEXTS = 5, "two_texts";
    /// An error response whose body is neither empty nor a message_id.
    ODD_ERROR_BODY = 6, "odd_error_body";
    /// A body where the specification has none.
    UNEXPECTED_BODY = 7, "unexpected_body";
    /// sequence_number 0 or above 0x7FFFFFFF.
    ODD_SEQUENCE = 8, "odd_sequence";
    /// A response that ends before its mandatory fields do.
    MISSING_FIELDS = 9, "missing_fields";
    /// A deliver_sm_resp with a message_id.
    DELIVER_RESP_ID = 10, "deliver_resp_id";
    /// A refusal with a message_id; the id is kept.
    ERROR_WITH_ID = 11, "error_with_id";
    /// A TLV of the specification that does not belong into this PDU.
    FOREIGN_TLV = 12, "foreign_tlv";
    /// A TLV of the specification with another length or out of its range.
    ODD_TLV = 13, "odd_tlv";
    /// A TLV that may stand once stands twice; the first one counts.
    DUPLICATE_TLV = 14, "duplicate_tlv";
    /// A TLV in a session of SMPP 3.3, which has none.
    TLV_IN_33 = 15, "tlv_in_33";
    /// interface_version is none of 0x33, 0x34 and 0x50.
    ODD_VERSION = 16, "odd_version";
    /// An esm_class whose message type is reserved.
    ODD_CLASS = 17, "odd_class";
    /// UCS-2 of an odd number of octets: the last one was dropped.
    ODD_UCS2 = 18, "odd_ucs2";
    /// UCS-2 with a byte order mark, which the specification has no place for.
    BYTE_ORDER_MARK = 19, "byte_order_mark";
    /// A text with octets that its alphabet does not have.
    UNREADABLE = 20, "unreadable";
    /// A handset's message whose esm_class calls it a receipt.
    MESSAGE_AS_RECEIPT = 21, "message_as_receipt";
    /// A receipt without the esm_class of one, with receipted_message_id or message_state.
    RECEIPT_BY_TLV = 22, "receipt_by_tlv";
    /// A receipt with neither esm_class nor TLVs of one: its text tells it.
    RECEIPT_BY_TEXT = 23, "receipt_by_text";
    /// A receipt in data_sm.
    RECEIPT_IN_DATA_SM = 24, "receipt_in_data_sm";
    /// A receipt's text in ASCII whose data_coding says UCS-2.
    ASCII_AS_UCS2 = 25, "ascii_as_ucs2";
    /// A user data header longer than the user data, or with an element that reaches past its end.
    BAD_UDH = 26, "bad_udh";
    /// A receipt that names no id, neither in a TLV nor in its text.
    RECEIPT_WITHOUT_ID = 27, "receipt_without_id";
}

impl Quirks {
    /// Nothing odd.
    pub const NONE: Self = Self(0);

    /// Says whether nothing odd was seen.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Says whether every flag of `other` is set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds the flags of `other`.
    #[inline]
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes the flags of `other` away.
    pub(crate) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Names of the flags that are set, as metric labels.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .iter()
            .filter(move |(flag, _)| self.contains(*flag))
            .map(|(_, name)| *name)
    }
}
