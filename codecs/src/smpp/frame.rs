//! Framing: where a PDU ends, its header, and what a peer speaks that is not SMPP.
//!
//! The decision is made from the four length octets, before anything is allocated for the body.

use std::fmt;

use bytes::Bytes;

use super::deliver::{DataSm, DeliverSm};
use super::fields::{DecodeError, Quirks};
use super::status::CommandStatus;
use super::submit::SubmitSm;

/// Octets of a PDU header. SMPP v3.4 §3.2.
pub const HEADER_OCTETS: usize = 16;

/// Max PDU before a bind. Chosen: a bind with every field full is 123 octets.
pub const UNBOUND_PDU_OCTETS_MAX: usize = 1024;

/// Max PDU on a bound session by default: message_payload's 64 KiB and 8 KiB for the rest.
pub const BOUND_PDU_OCTETS_MAX: usize = 72 * 1024;

/// A response's command_id is its request's with this bit set. SMPP v3.4 §5.1.2.
const RESPONSE_BIT: u32 = 0x8000_0000;

/// A command_id. SMPP v3.4 §5.1.2; unknown values are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandId(pub u32);

macro_rules! commands {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        #[expect(missing_docs, reason = "named after the specification's commands")]
        impl CommandId {
            $(pub const $name: Self = Self($value);)*

            /// Returns the specification's name, or `None` if the command is unknown.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    BIND_RECEIVER = 0x01, "bind_receiver";
    BIND_TRANSMITTER = 0x02, "bind_transmitter";
    QUERY_SM = 0x03, "query_sm";
    SUBMIT_SM = 0x04, "submit_sm";
    DELIVER_SM = 0x05, "deliver_sm";
    UNBIND = 0x06, "unbind";
    REPLACE_SM = 0x07, "replace_sm";
    CANCEL_SM = 0x08, "cancel_sm";
    BIND_TRANSCEIVER = 0x09, "bind_transceiver";
    OUTBIND = 0x0B, "outbind";
    ENQUIRE_LINK = 0x15, "enquire_link";
    SUBMIT_MULTI = 0x21, "submit_multi";
    PARAM_RETRIEVE = 0x22, "param_retrieve";
    QUERY_LAST_MSGS = 0x23, "query_last_msgs";
    QUERY_MSG_DETAILS = 0x24, "query_msg_details";
    ALERT_NOTIFICATION = 0x102, "alert_notification";
    DATA_SM = 0x103, "data_sm";
    BROADCAST_SM = 0x111, "broadcast_sm";
    QUERY_BROADCAST_SM = 0x112, "query_broadcast_sm";
    CANCEL_BROADCAST_SM = 0x113, "cancel_broadcast_sm";
    GENERIC_NACK = 0x8000_0000, "generic_nack";
    BIND_RECEIVER_RESP = 0x8000_0001, "bind_receiver_resp";
    BIND_TRANSMITTER_RESP = 0x8000_0002, "bind_transmitter_resp";
    QUERY_SM_RESP = 0x8000_0003, "query_sm_resp";
    SUBMIT_SM_RESP = 0x8000_0004, "submit_sm_resp";
    DELIVER_SM_RESP = 0x8000_0005, "deliver_sm_resp";
    UNBIND_RESP = 0x8000_0006, "unbind_resp";
    REPLACE_SM_RESP = 0x8000_0007, "replace_sm_resp";
    CANCEL_SM_RESP = 0x8000_0008, "cancel_sm_resp";
    BIND_TRANSCEIVER_RESP = 0x8000_0009, "bind_transceiver_resp";
    ENQUIRE_LINK_RESP = 0x8000_0015, "enquire_link_resp";
    SUBMIT_MULTI_RESP = 0x8000_0021, "submit_multi_resp";
    PARAM_RETRIEVE_RESP = 0x8000_0022, "param_retrieve_resp";
    QUERY_LAST_MSGS_RESP = 0x8000_0023, "query_last_msgs_resp";
    QUERY_MSG_DETAILS_RESP = 0x8000_0024, "query_msg_details_resp";
    DATA_SM_RESP = 0x8000_0103, "data_sm_resp";
    BROADCAST_SM_RESP = 0x8000_0111, "broadcast_sm_resp";
    QUERY_BROADCAST_SM_RESP = 0x8000_0112, "query_broadcast_sm_resp";
    CANCEL_BROADCAST_SM_RESP = 0x8000_0113, "cancel_broadcast_sm_resp";
}

impl CommandId {
    /// Says whether it is a response, generic_nack included.
    #[inline]
    #[must_use]
    pub fn is_response(self) -> bool {
        self.0 & RESPONSE_BIT != 0
    }

    /// Says whether it is one of the three that only SMPP 3.3 has: their layout is lost with it, so
    /// they are answered as unknown ones are. smpp.md §1.2, §7.
    #[must_use]
    pub fn only_in_33(self) -> bool {
        matches!(
            self,
            Self::PARAM_RETRIEVE | Self::QUERY_LAST_MSGS | Self::QUERY_MSG_DETAILS
        )
    }

    /// Says whether its body has a password.
    #[must_use]
    pub fn has_password(self) -> bool {
        matches!(
            self,
            Self::BIND_RECEIVER | Self::BIND_TRANSMITTER | Self::BIND_TRANSCEIVER | Self::OUTBIND
        )
    }

    /// The command that answers this one.
    #[inline]
    #[must_use]
    pub fn response(self) -> Self {
        Self(self.0 | RESPONSE_BIT)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "command 0x{:08X}", self.0),
        }
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A PDU's header without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub command: CommandId,
    /// Result, in responses; 0 in requests.
    pub status: CommandStatus,
    /// sequence_number: pairs a response with its request.
    pub sequence: u32,
}

impl Header {
    /// Reads a header off the front of a PDU; `None` if there are fewer than 16 octets.
    #[inline]
    #[must_use]
    pub fn decode(pdu: &[u8]) -> Option<Self> {
        let octets: &[u8; HEADER_OCTETS] = pdu.first_chunk()?;
        let [_, _, _, _, rest @ ..] = octets;
        let [c0, c1, c2, c3, s0, s1, s2, s3, q0, q1, q2, q3] = *rest;
        Some(Self {
            command: CommandId(u32::from_be_bytes([c0, c1, c2, c3])),
            status: CommandStatus(u32::from_be_bytes([s0, s1, s2, s3])),
            sequence: u32::from_be_bytes([q0, q1, q2, q3]),
        })
    }

    #[inline]
    pub(crate) fn words(self, octets: usize) -> [u8; HEADER_OCTETS] {
        let length = u32::try_from(octets).unwrap_or(u32::MAX);
        let mut header = [0; HEADER_OCTETS];
        let words = [length, self.command.0, self.status.0, self.sequence];
        for (slot, word) in header.as_chunks_mut().0.iter_mut().zip(words) {
            *slot = word.to_be_bytes();
        }
        header
    }
}

/// Where the next PDU ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// More octets have to be read.
    Incomplete {
        /// Total octets of the PDU, if its length is known already.
        need: usize,
    },
    /// A whole PDU of so many octets is there.
    Complete {
        /// Octets of the PDU, header included.
        octets: usize,
    },
}

/// Finds the end of the PDU at the front of `buffer`.
///
/// # Errors
/// Fails on a command_length below 16 or above `octets_max`: the stream cannot be followed further.
#[inline]
pub fn next_frame(buffer: &[u8], octets_max: usize) -> Result<Framing, FrameError> {
    let Some(head) = buffer.first_chunk::<4>() else {
        return Ok(Framing::Incomplete {
            need: HEADER_OCTETS,
        });
    };
    let length = u32::from_be_bytes(*head);
    let octets = usize::try_from(length).unwrap_or(usize::MAX);
    if octets < HEADER_OCTETS || octets > octets_max {
        return Err(FrameError {
            length,
            octets_max,
            speaks: Speaks::guess(buffer),
        });
    }
    if buffer.len() < octets {
        return Ok(Framing::Incomplete { need: octets });
    }
    Ok(Framing::Complete { octets })
}

/// A command_length that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The command_length that came.
    pub length: u32,
    /// The most that is allowed in this state.
    pub octets_max: usize,
    /// What the octets look like instead.
    pub speaks: Speaks,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.speaks {
            Speaks::Unknown => write!(
                f,
                "command_length {} is outside {HEADER_OCTETS}..={}",
                self.length, self.octets_max
            ),
            other => write!(f, "the peer does not speak SMPP on this port but {other}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The protocol that a stream's first octets give away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Speaks {
    /// An HTTP request or response.
    Http,
    /// A TLS handshake or alert: one side has TLS on, the other does not.
    Tls,
    /// AMQP.
    Amqp,
    /// SMTP, FTP or another protocol that greets with a three-digit code.
    Greeting,
    /// SSH.
    Ssh,
    /// A line of text that no rule names, such as `INFO`.
    Text,
    /// None of these.
    Unknown,
}

impl Speaks {
    /// Guesses from at least the four octets where command_length should be.
    #[must_use]
    pub fn guess(octets: &[u8]) -> Self {
        const HTTP: [&[u8]; 8] = [
            b"HTTP", b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"PRI ",
        ];
        let Some(head) = octets.first_chunk::<4>() else {
            return Self::Unknown;
        };
        match *head {
            [0x14..=0x17, 3, 0..=4, _] => Self::Tls,
            _ if HTTP.contains(&head.as_slice()) => Self::Http,
            [b'A', b'M', b'Q', b'P'] => Self::Amqp,
            [b'S', b'S', b'H', b'-'] => Self::Ssh,
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-'] => Self::Greeting,
            _ if head
                .iter()
                .all(|octet| octet.is_ascii_graphic() || *octet == b' ') =>
            {
                Self::Text
            }
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS (one side has it on, the other off)",
            Self::Amqp => "AMQP",
            Self::Greeting => "a protocol that greets with a code, such as SMTP",
            Self::Ssh => "SSH",
            Self::Text => "some text protocol",
            Self::Unknown => "something unknown",
        })
    }
}

/// A whole PDU as it came; cloning shares its octets.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    header: Header,
    octets: Bytes,
}

impl Frame {
    /// Wraps one whole PDU; `None` if it is shorter than a header.
    #[must_use]
    pub fn new(octets: Bytes) -> Option<Self> {
        Some(Self {
            header: Header::decode(&octets)?,
            octets,
        })
    }

    #[inline]
    pub(crate) fn with_header(header: Header, octets: Bytes) -> Self {
        Self { header, octets }
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> Header {
        self.header
    }

    /// All octets, header included; sharing them keeps the read buffer they came in alive.
    #[must_use]
    pub fn octets(&self) -> &Bytes {
        &self.octets
    }

    /// The octets after the header.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.octets.get(HEADER_OCTETS..).unwrap_or_default()
    }

    /// Reads it as submit_sm.
    ///
    /// # Errors
    /// Fails if it is something else or does not parse.
    pub fn submit_sm(&self) -> Result<(SubmitSm<'_>, Quirks), DecodeError> {
        SubmitSm::decode(self.body())
    }

    /// Reads it as deliver_sm.
    ///
    /// # Errors
    /// Fails if it is something else or does not parse.
    pub fn deliver_sm(&self) -> Result<(DeliverSm<'_>, Quirks), DecodeError> {
        DeliverSm::decode(self.body())
    }

    /// Reads it as data_sm.
    ///
    /// # Errors
    /// Fails if it is something else or does not parse.
    pub fn data_sm(&self) -> Result<(DataSm<'_>, Quirks), DecodeError> {
        DataSm::decode(self.body())
    }
}

/// Shows header and size only: message text does not belong in logs.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("header", &self.header)
            .field("octets", &self.octets.len())
            .finish()
    }
}
