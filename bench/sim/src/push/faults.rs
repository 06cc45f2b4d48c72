//! What a token's first eight characters do to stream and connection; the same for APNs and FCM.
//! What they do to the answer is each service's own table.

use std::time::Duration;

/// Characters of a prefix. Chosen: a random token of 64 digits has none of these once in 10^8.
pub const PREFIX_CHARS: usize = 8;

/// What happens to a request, other than an honest answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkFault {
    /// GOAWAY with a last-stream-id below this stream: it was not looked at, and is safe to repeat.
    /// Streams below it are answered, then the connection is closed.
    GoAwayBelow {
        /// The reason in the debug data; `None`: there is no debug data.
        reason: Option<&'static str>,
    },
    /// GOAWAY that includes this stream: it is accepted, and answered before the connection is
    /// closed.
    GoAwayIncluding {
        /// As above.
        reason: Option<&'static str>,
    },
    /// RST_STREAM with REFUSED_STREAM: not looked at, safe to repeat.
    Refused,
    /// RST_STREAM with another code, before or after acceptance: the client cannot know.
    Reset {
        /// The error code.
        code: u32,
        /// Whether the message was accepted.
        accepted: bool,
    },
    /// The status of an acceptance, then RST_STREAM: accepted, as the client can know.
    HeadersThenReset,
    /// The status of an acceptance, and no end of the answer.
    Half,
    /// No answer, ever; the rest of the connection goes on.
    Never {
        /// Whether the message was accepted.
        accepted: bool,
    },
    /// From here on the connection says nothing any more, not even to PING; it stays open.
    Silence,
    /// The connection is closed without a word.
    Cut {
        /// Whether the message was accepted.
        accepted: bool,
    },
    /// Accepted, and answered so much later.
    Late(Duration),
}

/// A prefix and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkRow {
    /// What the token starts with, in lower case.
    pub prefix: &'static str,
    /// What then happens.
    pub fault: LinkFault,
}

const fn row(prefix: &'static str, fault: LinkFault) -> LinkRow {
    LinkRow { prefix, fault }
}

/// Every fault of stream and connection. `60a00000`, `60a00001` and `b1ac0000` are push.md §8's.
pub const LINK_FAULTS: &[LinkRow] = &[
    row(
        "60a00000",
        LinkFault::GoAwayBelow {
            reason: Some("Shutdown"),
        },
    ),
    row(
        "60a00001",
        LinkFault::GoAwayIncluding {
            reason: Some("Shutdown"),
        },
    ),
    row("60a00002", LinkFault::GoAwayBelow { reason: None }),
    row("60a00003", LinkFault::GoAwayIncluding { reason: None }),
    row("4e5e0000", LinkFault::Refused),
    row(
        "4e5e0001",
        LinkFault::Reset {
            code: super::http2::code::INTERNAL_ERROR,
            accepted: false,
        },
    ),
    row(
        "4e5e0002",
        LinkFault::Reset {
            code: super::http2::code::CANCEL,
            accepted: true,
        },
    ),
    row("4e5e0003", LinkFault::HeadersThenReset),
    row("4a1f0000", LinkFault::Half),
    row("b1ac0000", LinkFault::Never { accepted: false }),
    row("b1ac0001", LinkFault::Never { accepted: true }),
    row("b1ac0002", LinkFault::Silence),
    row("c0700000", LinkFault::Cut { accepted: false }),
    row("c0700001", LinkFault::Cut { accepted: true }),
    row("1a7e0000", LinkFault::Late(Duration::from_secs(2))),
    row("1a7e0001", LinkFault::Late(Duration::from_secs(20))),
];

/// The row that a token's prefix names, unless its time is over: `0ff` and a hexadecimal digit
/// after the prefix end the fault after so many requests of this token (`b4000000` always,
/// `b40000000ff1…` once). `earlier` says how many there were.
pub(super) fn find<Row>(
    rows: &'static [Row],
    prefix: impl Fn(&Row) -> &'static str,
    token: &[u8],
    earlier: impl FnOnce() -> u32,
) -> Option<&'static Row> {
    let (start, rest) = token.split_at_checked(PREFIX_CHARS)?;
    let row = rows
        .iter()
        .find(|row| prefix(row).as_bytes().eq_ignore_ascii_case(start))?;
    let times = match rest {
        [b'0', b'f' | b'F', b'f' | b'F', digit, ..] => char::from(*digit).to_digit(16),
        _ => None,
    };
    (times.is_none_or(|times| earlier() < times)).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(token: &[u8], earlier: u32) -> Option<LinkFault> {
        find(LINK_FAULTS, |row| row.prefix, token, || earlier).map(|row| row.fault)
    }

    #[test]
    fn prefixes_are_unique_and_of_one_length() {
        for (at, row) in LINK_FAULTS.iter().enumerate() {
            assert_eq!(row.prefix.len(), PREFIX_CHARS);
            let others = LINK_FAULTS[..at].iter();
            assert!(others.clone().all(|other| other.prefix != row.prefix));
        }
    }

    #[test]
    fn a_fault_lasts_as_often_as_the_token_says() {
        assert_eq!(found(b"4E5E0000aaaa", 9), Some(LinkFault::Refused));
        assert_eq!(found(b"4e5e00000ff2aa", 1), Some(LinkFault::Refused));
        assert_eq!(found(b"4e5e00000ff2aa", 2), None);
        assert_eq!(found(b"4e5e000", 0), None);
        assert_eq!(found(b"aaaaaaaaaaaa", 0), None);
    }
}
