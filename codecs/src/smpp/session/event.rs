//! What a session reports.

use std::fmt;
use std::time::Duration;

use smallvec::SmallVec;

use crate::smpp::bind::BindKind;
use crate::smpp::fields::{DecodeError, Quirks};
use crate::smpp::frame::{CommandId, Frame, FrameError};
use crate::smpp::status::CommandStatus;

/// A message id as it came; up to 36 octets (a UUID) without allocating.
pub type MessageId = SmallVec<[u8; 36]>;

/// Something the caller has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Messages may flow.
    Bound {
        /// In which direction.
        kind: BindKind,
        /// The peer's name: as ESME the SMSC's, as SMSC empty (it came with the request).
        system_id: MessageId,
        /// sc_interface_version, if the SMSC told.
        interface_version: Option<u8>,
    },
    /// ESME: the SMSC refused; `Closed` follows.
    BindRefused {
        /// Why.
        status: CommandStatus,
    },
    /// SMSC: an ESME asks to bind; answer with `respond_bind`.
    BindRequest(Box<BindRequest>),
    /// A request of ours was answered.
    Answered(Answer),
    /// A request reported as `TimedOut` was answered after all.
    LateAnswer(Answer),
    /// ESME: deliver_sm or data_sm, by `frame.header().command`; it parses. Answer with
    /// `respond_deliver` once it is on disk.
    Delivered {
        /// Whom to answer.
        reply: Reply,
        /// The PDU.
        frame: Frame,
    },
    /// SMSC: submit_sm or data_sm, by `frame.header().command`; it parses. Answer with
    /// `respond_submit`.
    Submitted {
        /// Whom to answer.
        reply: Reply,
        /// The PDU.
        frame: Frame,
    },
    /// No answer within response_timeout: the outcome is unknown.
    TimedOut {
        /// The request.
        token: u64,
    },
    /// The session ends with requests unanswered; `Closed` follows.
    Lost {
        /// Handed to the transport: the peer may have them. In the order they were sent.
        unknown: Vec<u64>,
        /// Never taken by `poll_transmit`: the peer cannot have them.
        unsent: Vec<u64>,
    },
    /// The peer unbinds; it has been answered and `Closed` follows.
    PeerUnbind,
    /// Our enquire_link was answered.
    Alive {
        /// How long that took.
        round_trip: Duration,
    },
    /// Something to count.
    Odd(Odd),
    /// Over. Write what `poll_transmit` gave, then close the transport.
    Closed(CloseReason),
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request.
    pub token: u64,
    /// Its result.
    pub status: CommandStatus,
    /// The peer's id, raw; empty if it gave none. deliver_sm's is no id of anything.
    pub message_id: MessageId,
    /// additional_status_info_text, raw, if there was one.
    pub info: Option<Box<[u8]>>,
    /// congestion_state, 0..=100, of whatever response carried one, refusals included: SMPP v5.0
    /// §4.8.4.18. `None` = not told, or out of range.
    pub congestion: Option<u8>,
    /// It was answered by generic_nack: the peer could not read the request.
    pub nacked: bool,
    /// From request to answer.
    pub latency: Duration,
}

/// What an ESME says when it binds.
#[derive(Clone, PartialEq, Eq)]
pub struct BindRequest {
    /// Direction of messages.
    pub kind: BindKind,
    /// Who.
    pub system_id: MessageId,
    /// Its password, as it came.
    pub password: MessageId,
    /// Kind of system.
    pub system_type: MessageId,
    /// 0x33, 0x34 or 0x50; others are seen.
    pub interface_version: u8,
    /// The addresses it serves.
    pub address_range: MessageId,
}

/// Leaves the password out.
impl fmt::Debug for BindRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindRequest")
            .field("kind", &self.kind)
            .field("system_id", &String::from_utf8_lossy(&self.system_id))
            .finish_non_exhaustive()
    }
}

/// Whom to answer: a request's command and sequence_number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    pub(super) command: CommandId,
    pub(super) sequence: u32,
}

impl Reply {
    /// The request's sequence_number, as the peer chose it.
    #[must_use]
    pub fn sequence(self) -> u32 {
        self.sequence
    }
}

/// A deviation that the session lived with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// Tolerated while reading.
    Quirks(CommandId, Quirks),
    /// A request whose body does not parse; it was answered with an error.
    BadBody(CommandId, DecodeError),
    /// A command nobody knows; it was answered with generic_nack.
    UnknownCommand(CommandId),
    /// A command that is not supported; it was answered with 0x03.
    Unsupported(CommandId),
    /// A command that does not fit the state; it was answered with 0x04 or 0x05.
    WrongState(CommandId),
    /// A response to nothing we sent.
    Unsolicited(CommandId),
    /// A command without response that we have no use for.
    Ignored(CommandId),
    /// A request under the sequence_number of one that waits for its answer; it was answered with
    /// 0x08.
    Reused(CommandId),
    /// A request whose TLVs a strict SMSC refuses; it was answered with this status.
    BadTlvs(CommandId, CommandStatus),
}

impl Odd {
    /// Every label of a counter; `quirk` stands for the names of [`Quirks`].
    pub const NAMES: [&'static str; 9] = [
        "quirk",
        "bad_body",
        "unknown_command",
        "unsupported",
        "wrong_state",
        "unsolicited",
        "ignored",
        "reused_sequence",
        "bad_tlvs",
    ];

    /// A label for a counter, one of [`Odd::NAMES`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quirks(..) => "quirk",
            Self::BadBody(..) => "bad_body",
            Self::UnknownCommand(_) => "unknown_command",
            Self::Unsupported(_) => "unsupported",
            Self::WrongState(_) => "wrong_state",
            Self::Unsolicited(_) => "unsolicited",
            Self::Ignored(_) => "ignored",
            Self::Reused(_) => "reused_sequence",
            Self::BadTlvs(..) => "bad_tlvs",
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// We unbound and the peer agreed, or was gone already: all is well.
    Unbound,
    /// The peer unbound.
    PeerUnbound,
    /// We unbound and the peer did not answer in time.
    UnbindTimeout,
    /// `close` was called.
    ClosedByUs,
    /// ESME: the SMSC refused the bind.
    BindRefused(CommandStatus),
    /// SMSC: we refused the bind.
    RefusedByUs(CommandStatus),
    /// No bind, or no answer to it, in time.
    BindTimeout,
    /// Two enquire_link in a row found no answer.
    EnquireLinkUnanswered,
    /// Nothing came for longer than the inactivity time.
    Inactive,
    /// A PDU began and was not completed in time.
    PartialPdu,
    /// The octets are not SMPP.
    Framing(FrameError),
    /// The peer sent more of these per time than anyone needs.
    Flood(CommandId),
    /// The transport ended without an unbind.
    Eof,
}

/// Whose doing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Ours: it was asked for.
    Us,
    /// The peer's.
    Peer,
    /// The connection's between us.
    Transport,
}

impl CloseReason {
    /// Whose doing it is.
    #[must_use]
    pub fn fault(self) -> Fault {
        match self {
            Self::Unbound | Self::ClosedByUs | Self::RefusedByUs(_) => Fault::Us,
            Self::PeerUnbound
            | Self::UnbindTimeout
            | Self::BindRefused(_)
            | Self::BindTimeout
            | Self::Inactive
            | Self::PartialPdu
            | Self::Framing(_)
            | Self::Flood(_) => Fault::Peer,
            Self::EnquireLinkUnanswered | Self::Eof => Fault::Transport,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unbound => f.write_str("unbound"),
            Self::PeerUnbound => f.write_str("the peer unbound"),
            Self::UnbindTimeout => f.write_str("the peer did not answer our unbind"),
            Self::ClosedByUs => f.write_str("closed by us"),
            Self::BindRefused(status) => write!(f, "the bind was refused: {status}"),
            Self::RefusedByUs(status) => write!(f, "we refused the bind: {status}"),
            Self::BindTimeout => f.write_str("the bind did not complete in time"),
            Self::EnquireLinkUnanswered => f.write_str("enquire_link was not answered twice"),
            Self::Inactive => f.write_str("nothing came for too long"),
            Self::PartialPdu => f.write_str("a PDU was begun and not completed in time"),
            Self::Framing(error) => error.fmt(f),
            Self::Flood(command) => write!(f, "the peer floods us with {command}"),
            Self::Eof => f.write_str("the connection ended without unbind"),
        }
    }
}
