//! Why a message was not delivered: error codes of receipts to the words of the contract.

use super::State;

/// TLV network_error_code: which kind of network gave the code, and the code. SMPP v3.4 §5.3.2.31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkError {
    /// 1 ANSI-136 access denied, 2 IS-95, 3 GSM, 4 ANSI-136 cause, 5 IS-95 cause, 6 ANSI-41,
    /// 7 SMPP, 8 message centre specific. Others are kept as they came.
    pub network: u8,
    /// The network's code.
    pub code: u32,
}

/// The network of [`NetworkError`] whose codes [`gsm_reason`] knows.
const GSM: u8 = 3;

/// Last network that the specifications name. SMPP v5.0 §4.8.4.42.
const NETWORK_LAST: u8 = 8;

impl NetworkError {
    /// Reads the TLV: three octets as specified, or the forms seen in its place: decimal digits
    /// (`3034`), and four octets, with a zero before, between or after. `None` for other lengths.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let two = |high: u8, low: u8| u32::from(u16::from_be_bytes([high, low]));
        Some(match *value {
            [network, ref digits @ ..]
                if (2..=5).contains(&digits.len()) && value.iter().all(u8::is_ascii_digit) =>
            {
                Self {
                    network: network - b'0',
                    code: error_number(digits)?,
                }
            }
            [network, high, low] => Self {
                network,
                code: two(high, low),
            },
            [0, network @ 1..=NETWORK_LAST, high, low] => Self {
                network,
                code: two(high, low),
            },
            [network, high, low, 0] if (high, low) != (0, 0) => Self {
                network,
                code: two(high, low),
            },
            [network, top, high, low] => Self {
                network,
                code: u32::from_be_bytes([0, top, high, low]),
            },
            _ => return None,
        })
    }

    /// The reason, where the network is GSM and its code is known.
    #[must_use]
    pub fn reason(self) -> Option<Reason> {
        (self.network == GSM)
            .then(|| gsm_reason(self.code))
            .flatten()
    }
}

/// Reads the `err:` of a text as a decimal number: `027`, `0000`. `None` for `21b` and the like,
/// whose meaning only a carrier's own table knows.
#[must_use]
pub fn error_number(err: &[u8]) -> Option<u32> {
    std::str::from_utf8(err)
        .ok()
        .filter(|err| !err.starts_with('+'))?
        .parse()
        .ok()
}

/// A reason of the contract's taxonomy (§3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason {
    /// The stable word.
    pub code: &'static str,
    /// `recipient`, `content`, `route`, `time`, `operator`, `policy` or `unknown`.
    pub category: &'static str,
    /// Whether the same text to the same address can never arrive.
    pub permanent: bool,
}

const fn reason(code: &'static str, category: &'static str, permanent: bool) -> Reason {
    Reason {
        code,
        category,
        permanent,
    }
}

const UNKNOWN_SUBSCRIBER: Reason = reason("unknown_subscriber", "recipient", true);
const ABSENT_SUBSCRIBER: Reason = reason("absent_subscriber", "recipient", false);
const ROAMING_RESTRICTED: Reason = reason("roaming_restricted", "recipient", false);
const BARRED: Reason = reason("barred", "recipient", true);
const UNSUPPORTED: Reason = reason("landline_or_unsupported", "recipient", true);
const HANDSET_BUSY: Reason = reason("handset_busy", "recipient", false);
const ENCODING_UNSUPPORTED: Reason = reason("encoding_unsupported", "content", true);
const PROVIDER_ERROR: Reason = reason("provider_error", "route", false);

/// GSM MAP user errors. 3GPP TS 29.002 §17.6.6 names them; the words are ours (smpp.md §4.3).
const GSM_REASONS: [(u32, Reason); 19] = [
    (1, UNKNOWN_SUBSCRIBER),                         // unknown subscriber
    (5, UNKNOWN_SUBSCRIBER),                         // unidentified subscriber
    (6, ABSENT_SUBSCRIBER),                          // absent subscriber for SM
    (8, ROAMING_RESTRICTED),                         // roaming not allowed
    (9, BARRED),                                     // illegal subscriber
    (11, UNSUPPORTED),                               // teleservice not provisioned
    (12, BARRED),                                    // illegal equipment
    (13, BARRED),                                    // call barred
    (21, UNSUPPORTED),                               // facility not supported
    (27, ABSENT_SUBSCRIBER),                         // absent subscriber
    (31, HANDSET_BUSY),                              // subscriber busy for MT-SMS
    (32, PROVIDER_ERROR), // SM delivery failure; its cause is not in the code
    (33, PROVIDER_ERROR), // message waiting list full
    (34, PROVIDER_ERROR), // system failure
    (35, PROVIDER_ERROR), // data missing
    (36, PROVIDER_ERROR), // unexpected data value
    (40, reason("memory_full", "recipient", false)), // observed: cause of 32 as a code of its own
    (51, PROVIDER_ERROR), // resource limitation
    (71, ENCODING_UNSUPPORTED), // unknown alphabet
];

/// The reason of a GSM MAP error. `None` for 0 and for codes that are not in the table.
///
/// Carriers number the `err:` of their texts as they like: ask this for such a code only where the
/// route's profile is generic GSM.
#[must_use]
pub fn gsm_reason(code: u32) -> Option<Reason> {
    GSM_REASONS
        .iter()
        .find(|(known, _)| *known == code)
        .map(|(_, reason)| *reason)
}

/// The reason that a final state is by itself, where no code says more. `None` for delivered and
/// for states that are not final.
#[must_use]
pub const fn state_reason(state: State) -> Option<Reason> {
    match state {
        State::Expired => Some(reason("expired_at_carrier", "time", false)),
        State::Deleted => Some(reason("deleted_by_carrier", "operator", false)),
        State::Undeliverable | State::Unknown | State::Rejected | State::Skipped => {
            Some(reason("unclassified", "unknown", false))
        }
        State::Delivered | State::Scheduled | State::Enroute | State::Accepted => None,
    }
}
