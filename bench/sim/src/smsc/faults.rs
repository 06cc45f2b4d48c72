//! How the SMSC misbehaves: everything here can be changed while it runs.
//!
//! | destination ends in | what happens |
//! |---|---|
//! | 0001 | accepted, receipt `UNDELIV err:001` |
//! | 0002 | refused at submit: ESME_RINVDSTADR (0x0B) |
//! | 0003 | accepted, receipt `EXPIRED err:003` |
//! | 0004 | accepted, receipt `REJECTD err:004` |
//! | 0005 | accepted, receipt `DELETED err:005` |
//! | 0006 | accepted, receipt `UNKNOWN err:006` |
//! | 0007 | accepted, never a receipt |
//! | 0008 | accepted, never answered |
//! | 0009 | refused at submit: ESME_RSUBMITFAIL (0x45) |
//! | anything else | accepted, receipt `DELIVRD err:000` |

use codecs::smpp::CommandStatus;
use serde::{Deserialize, Serialize};

/// What goes wrong, how often, and when. All shares are 0.0 ..= 1.0; the default is no fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Answers to submit_sm are late by this much, milliseconds.
    pub delay_ms: u64,
    /// And by up to this much more, drawn evenly, milliseconds.
    pub jitter_ms: u64,
    /// Share of submits that are accepted but never answered.
    pub silent: f64,
    /// Shares of submits that are answered with an error.
    pub errors: Vec<ErrorShare>,
    /// Each connection is cut, without unbind, after so many submits; the last is not answered.
    pub disconnect_every: Option<u64>,
    /// Each connection is cut, without unbind, after so many milliseconds.
    pub disconnect_after_ms: Option<u64>,
    /// Connections stay open but nothing is read or written.
    pub half_open: bool,
    /// Binds are refused with this status.
    pub refuse_binds: Option<u32>,
    /// Binds that only receive are refused with this status, and those that stand are cut.
    pub refuse_receivers: Option<u32>,
    /// Max submits in one second over all binds; more are answered with ESME_RTHROTTLED.
    pub per_second: Option<u32>,
    /// Destinations that are always refused; judged after `per_second`.
    pub refused: Vec<RefusedDest>,
    /// congestion_state that every answer to submit_sm tells, 0 to 100 (SMPP v5.0).
    pub congestion: Option<u8>,
    /// additional_status_info_text of every refusal of a submit_sm.
    pub info: Option<String>,
    /// What the first answers to some parts are; judged after `per_second`, before shares and numbers.
    pub script: Vec<Scripted>,
    /// Receipts.
    pub receipts: Receipts,
}

/// The first answers to one part of every message; whatever comes later is judged as usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// Number of the part; 0 = a message that is not part of a longer one.
    pub part: u8,
    /// The nth is for the nth time that this part of one message comes.
    pub answers: Vec<ScriptedAnswer>,
}

/// A scripted answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptedAnswer {
    /// As usual.
    Usual,
    /// Accepted, never answered.
    Silent,
    /// Refused with this command_status.
    Refused(u32),
}

/// A destination that is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedDest {
    /// destination_addr as it comes: digits, mostly without a plus.
    pub to: String,
    /// command_status, such as 0x14 (its queue is full).
    pub status: u32,
}

/// A share of submits that gets an error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorShare {
    /// command_status, such as 0x58 (throttled), 0x14 (queue full), 0x45 (submit failed).
    pub status: u32,
    /// How many of the submits, 0.0 ..= 1.0.
    pub share: f64,
}

/// Whether, when and how receipts are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Receipts {
    /// For which messages.
    pub send: Send,
    /// How long after the message, milliseconds.
    pub delay_ms: u64,
    /// And by up to this much more, drawn evenly, milliseconds.
    pub jitter_ms: u64,
    /// The receipt leaves before the answer to its submit_sm.
    pub before_response: bool,
    /// Each receipt is sent twice.
    pub doubled: bool,
    /// The receipt leaves on another bind of the same system_id, if there is one.
    pub other_bind: bool,
    /// How the receipt writes the id.
    pub id: ReceiptId,
    /// Those that were not acknowledged when a connection ended, not yet sent, or due while no bind
    /// receives, go to the next bind of the same system_id, as carriers store and forward. Without,
    /// they are lost.
    pub resend: bool,
    /// Of a message in parts, only the last part gets one.
    pub last_part_only: bool,
    /// The text is left out: TLVs only.
    pub without_text: bool,
    /// The TLVs are left out: text only.
    pub without_tlvs: bool,
}

/// For which messages receipts are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Send {
    /// For none.
    Off,
    /// For those whose registered_delivery asks for one.
    #[default]
    Requested,
    /// For all.
    Always,
}

/// How a receipt writes the id that the answer gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptId {
    /// As the answer did.
    #[default]
    Same,
    /// In hexadecimal if the answer was decimal, and the other way round.
    OtherBase,
    /// In upper case.
    UpperCase,
    /// With zeros before it, ten digits at least.
    Padded,
}

/// What becomes of a message, by its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Refused(CommandStatus),
    Accepted(Option<FinalState>),
    NeverAnswered,
}

/// A receipt's state: message_state, text and err.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FinalState {
    pub(super) code: u8,
    pub(super) text: &'static str,
    pub(super) err: u8,
}

const fn state(code: u8, text: &'static str, err: u8) -> FinalState {
    FinalState { code, text, err }
}

const DELIVERED: FinalState = state(2, "DELIVRD", 0);

impl Fate {
    /// Looks the destination's last four digits up; see the table above.
    #[inline]
    pub(super) fn of(dest: &[u8]) -> Self {
        match dest {
            [.., b'0', b'0', b'0', last] => match last {
                b'1' => Self::Accepted(Some(state(5, "UNDELIV", 1))),
                b'2' => Self::Refused(CommandStatus::INVALID_DEST),
                b'3' => Self::Accepted(Some(state(3, "EXPIRED", 3))),
                b'4' => Self::Accepted(Some(state(8, "REJECTD", 4))),
                b'5' => Self::Accepted(Some(state(4, "DELETED", 5))),
                b'6' => Self::Accepted(Some(state(7, "UNKNOWN", 6))),
                b'7' => Self::Accepted(None),
                b'8' => Self::NeverAnswered,
                b'9' => Self::Refused(CommandStatus::SUBMIT_FAILED),
                _ => Self::Accepted(Some(DELIVERED)),
            },
            _ => Self::Accepted(Some(DELIVERED)),
        }
    }
}
