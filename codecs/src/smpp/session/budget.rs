//! How much of what costs us and serves nobody a peer may send.

use std::time::{Duration, Instant};

/// enquire_link per second at which the peer is a flood. smpp.md §9.
const ENQUIRES_PER_SECOND_MAX: u32 = 100;
/// enquire_link per second that are answered; the others wait for the next second. smpp.md §9.
const ENQUIRE_ANSWERS_PER_SECOND: u32 = 10;
/// Unknown commands per second. smpp.md §9.
const UNKNOWN_PER_SECOND_MAX: u32 = 100;
/// Responses to nothing per minute. smpp.md §9.
const UNSOLICITED_PER_MINUTE_MAX: u32 = 1_000;

const SECOND: Duration = Duration::from_secs(1);

/// Counts per fixed span of time.
#[derive(Debug)]
struct Span {
    start: Instant,
    count: u32,
}

impl Span {
    fn exceeds(&mut self, now: Instant, length: Duration, count_max: u32) -> bool {
        if now.duration_since(self.start) >= length {
            *self = Self {
                start: now,
                count: 0,
            };
        }
        self.count = self.count.saturating_add(1);
        self.count > count_max
    }
}

/// A session's counts.
#[derive(Debug)]
pub(super) struct Budget {
    enquires: Span,
    answers: Span,
    unknown: Span,
    unsolicited: Span,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        let span = || Span {
            start: now,
            count: 0,
        };
        Self {
            enquires: span(),
            answers: span(),
            unknown: span(),
            unsolicited: span(),
        }
    }

    /// Counts an enquire_link; `true` = too many.
    pub(super) fn enquire(&mut self, now: Instant) -> bool {
        self.enquires.exceeds(now, SECOND, ENQUIRES_PER_SECOND_MAX)
    }

    /// Asks to answer one enquire_link now; else says when to ask again.
    pub(super) fn answer_enquire(&mut self, now: Instant) -> Result<(), Instant> {
        if self
            .answers
            .exceeds(now, SECOND, ENQUIRE_ANSWERS_PER_SECOND)
        {
            return Err(self.answers.start + SECOND);
        }
        Ok(())
    }

    /// Counts an unknown command; `true` = too many.
    pub(super) fn unknown(&mut self, now: Instant) -> bool {
        self.unknown.exceeds(now, SECOND, UNKNOWN_PER_SECOND_MAX)
    }

    /// Counts a response to nothing; `true` = too many.
    pub(super) fn unsolicited(&mut self, now: Instant) -> bool {
        self.unsolicited
            .exceeds(now, Duration::from_secs(60), UNSOLICITED_PER_MINUTE_MAX)
    }
}
