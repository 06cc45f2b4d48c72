//! What PDU bodies are made of: addresses, C-octet strings, errors, and named tolerances.
//!
//! Strict when we send, tolerant when we receive: a deviation that can be read anyway sets a
//! [`Quirks`] flag; what cannot be read is a [`DecodeError`] that names field and octet.

use std::fmt;

pub use super::quirks::Quirks;
use super::status::CommandStatus;
use super::tlv::{Scan, Tlvs};
use crate::cursor::Cursor;

/// Max octets read for one C-octet string without its NUL. Chosen: the longest that carriers were
/// seen to send (passwords, UUID message ids with suffixes) with room to spare.
pub const CSTRING_OCTETS_MAX: usize = 256;

/// Max octets of short_message. SMPP v3.4 §4.4.1.
pub const SHORT_MESSAGE_OCTETS_MAX: usize = 254;

/// The field that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named after the wire fields")]
pub enum Field {
    Header,
    ServiceType,
    SourceAddr,
    DestAddr,
    Flags,
    ScheduleDeliveryTime,
    ValidityPeriod,
    SmLength,
    ShortMessage,
    Tlvs,
    SystemId,
    Password,
    SystemType,
    InterfaceVersion,
    AddressRange,
    MessageId,
    FinalDate,
    MessageState,
    ErrorCode,
    NumberOfDests,
    DestFlag,
    ListName,
    Unsuccess,
    EsmeAddr,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The PDU ends before the field does.
    CutShort,
    /// No NUL within [`CSTRING_OCTETS_MAX`] octets.
    NoNul,
    /// sm_length is greater than what follows it.
    LengthLies,
    /// The TLV stream is broken.
    BadTlvs,
    /// More TLVs than [`super::tlv::TLVS_MAX`].
    TooManyTlvs,
    /// A value that leaves open what follows it.
    BadValue,
}

/// A PDU body that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecodeError {
    /// Octet of the PDU where reading stopped.
    pub at: usize,
    /// The field being read.
    pub field: Field,
    /// What is wrong with it.
    pub kind: Kind,
}

impl DecodeError {
    /// The command_status with which to answer a request that fails this way.
    #[must_use]
    pub fn status(self) -> CommandStatus {
        match self.kind {
            Kind::BadValue if self.field == Field::NumberOfDests => {
                CommandStatus::INVALID_DEST_COUNT
            }
            Kind::BadValue => CommandStatus::INVALID_DEST_FLAG,
            Kind::CutShort | Kind::NoNul => CommandStatus::INVALID_COMMAND_LENGTH,
            Kind::LengthLies => CommandStatus::INVALID_MESSAGE_LENGTH,
            Kind::BadTlvs | Kind::TooManyTlvs => CommandStatus::INVALID_TLV_STREAM,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at octet {}: {:?}", self.field, self.at, self.kind)
    }
}

impl std::error::Error for DecodeError {}

/// Why a PDU cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncodeError {
    /// The value has more octets than the connection allows.
    TooLong {
        /// The field.
        field: Field,
        /// Octets given.
        octets: usize,
        /// Octets allowed.
        octets_max: usize,
    },
    /// A C-octet string contains a NUL.
    Nul {
        /// The field.
        field: Field,
    },
    /// A field that may not be empty is.
    Missing {
        /// The field.
        field: Field,
    },
}

impl EncodeError {
    /// The field that it is about.
    #[must_use]
    pub fn field(self) -> Field {
        match self {
            Self::TooLong { field, .. } | Self::Nul { field } | Self::Missing { field } => field,
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong {
                field,
                octets,
                octets_max,
            } => {
                write!(
                    f,
                    "{field:?} has {octets} octets, at most {octets_max} may be sent"
                )
            }
            Self::Nul { field } => write!(f, "{field:?} contains a NUL"),
            Self::Missing { field } => write!(f, "{field:?} is empty"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// A source or destination address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address<'a> {
    /// Type of number: 0 unknown, 1 international, 2 national, 5 alphanumeric. SMPP v3.4 §5.2.5.
    pub ton: u8,
    /// Numbering plan: 0 unknown, 1 ISDN (E.164). SMPP v3.4 §5.2.6.
    pub npi: u8,
    /// Digits or letters, without NUL.
    pub addr: &'a [u8],
}

/// How many octets a connection may send in each C-octet string, NUL included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// service_type.
    pub service_type: usize,
    /// Source and destination address of submit_sm and deliver_sm.
    pub address: usize,
    /// Source and destination address of data_sm.
    pub data_address: usize,
    /// system_id.
    pub system_id: usize,
    /// password.
    pub password: usize,
    /// system_type.
    pub system_type: usize,
    /// address_range.
    pub address_range: usize,
    /// message_id.
    pub message_id: usize,
    /// Octets of short_message.
    pub short_message: usize,
}

impl Limits {
    /// What the specification allows. SMPP v3.4 §4.1, §4.4, §4.7.
    pub const SPEC: Self = Self {
        service_type: 6,
        address: 21,
        data_address: 65,
        system_id: 16,
        password: 9,
        system_type: 13,
        address_range: 41,
        message_id: 65,
        short_message: SHORT_MESSAGE_OCTETS_MAX,
    };

    /// What SMPP v5.0 allows: short_message to 255 octets. smpp.md §1.2.
    pub const V5: Self = Self {
        short_message: u8::MAX as usize,
        ..Self::SPEC
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::SPEC
    }
}

/// Reads a PDU's body field by field and gathers quirks on the way.
pub(crate) struct Body<'a> {
    cursor: Cursor<'a>,
    pub(crate) quirks: Quirks,
}

impl<'a> Body<'a> {
    #[inline]
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self {
            cursor: Cursor::new(body, super::frame::HEADER_OCTETS),
            quirks: Quirks::NONE,
        }
    }

    #[cold]
    pub(crate) fn error(&self, field: Field, kind: Kind) -> DecodeError {
        DecodeError {
            at: self.cursor.at(),
            field,
            kind,
        }
    }

    #[inline]
    pub(crate) fn u8(&mut self, field: Field) -> Result<u8, DecodeError> {
        self.cursor
            .u8()
            .ok_or_else(|| self.error(field, Kind::CutShort))
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, field: Field) -> Result<[u8; N], DecodeError> {
        self.cursor
            .take(N)
            .and_then(|octets| octets.try_into().ok())
            .ok_or_else(|| self.error(field, Kind::CutShort))
    }

    /// Reads a C-octet string; `spec` is the specification's size with NUL.
    #[inline]
    pub(crate) fn cstring(&mut self, field: Field, spec: usize) -> Result<&'a [u8], DecodeError> {
        let Some(value) = self.cursor.until_nul(CSTRING_OCTETS_MAX + 1) else {
            return Err(self.error(field, Kind::NoNul));
        };
        if value.len() >= spec {
            self.quirks.insert(Quirks::LONG_CSTRING);
        }
        Ok(value)
    }

    /// Reads a C-octet string that may end with the PDU instead of a NUL, or be absent.
    pub(crate) fn last_cstring(&mut self, spec: usize) -> &'a [u8] {
        if let Some(value) = self.cursor.until_nul(CSTRING_OCTETS_MAX + 1) {
            if value.len() >= spec {
                self.quirks.insert(Quirks::LONG_CSTRING);
            }
            return value;
        }
        let octets = self.cursor.rest().len();
        if octets > 0 {
            self.quirks.insert(Quirks::MISSING_NUL);
        }
        if octets > CSTRING_OCTETS_MAX {
            self.quirks.insert(Quirks::LONG_CSTRING);
        }
        let value = self.cursor.take(octets).unwrap_or_default();
        value.get(..CSTRING_OCTETS_MAX).unwrap_or(value)
    }

    #[inline]
    pub(crate) fn address(
        &mut self,
        field: Field,
        spec: usize,
    ) -> Result<Address<'a>, DecodeError> {
        let [ton, npi] = self.array(field)?;
        Ok(Address {
            ton,
            npi,
            addr: self.cstring(field, spec)?,
        })
    }

    #[inline]
    pub(crate) fn short_message(&mut self) -> Result<&'a [u8], DecodeError> {
        let octets = usize::from(self.u8(Field::SmLength)?);
        self.cursor
            .take(octets)
            .ok_or_else(|| self.error(Field::ShortMessage, Kind::LengthLies))
    }

    /// Reads what is left as TLVs. `scan` says whether a broken stream fails or is cut.
    #[inline]
    pub(crate) fn tlvs(&mut self, scan: Scan) -> Result<Tlvs<'a>, DecodeError> {
        if self.cursor.rest().is_empty() {
            return Ok(Tlvs::NONE);
        }
        let (tlvs, quirks) = Tlvs::scan(self.cursor, scan)?;
        self.cursor = Cursor::new(&[], self.cursor.end());
        self.quirks.insert(quirks);
        Ok(tlvs)
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.cursor.rest()
    }
}

/// Checks a C-octet string before it is sent.
#[inline]
pub(crate) fn check(field: Field, value: &[u8], octets_max: usize) -> Result<(), EncodeError> {
    let octets = value.len() + 1;
    if octets > octets_max {
        return Err(EncodeError::TooLong {
            field,
            octets,
            octets_max,
        });
    }
    if value.contains(&0) {
        return Err(EncodeError::Nul { field });
    }
    Ok(())
}
