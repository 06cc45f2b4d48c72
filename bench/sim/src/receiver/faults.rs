//! What goes wrong on request, and how often.

use std::time::Duration;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

/// Longest that a hung request is held. Chosen: past any sender's timeout (contract §3: 15 s).
const HANG: Duration = Duration::from_secs(120);

/// Shares of the requests (0 to 1) that go wrong in each way; together at most 1, what is above is
/// cut off in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The first so many requests since the start get a 500, whatever the shares.
    pub fail_first: u64,
    /// Answers 500.
    pub share_500: f64,
    /// Answers 503, with Retry-After if `retry_after_s` is set.
    pub share_503: f64,
    /// Seconds, for the 503s.
    pub retry_after_s: Option<u32>,
    /// Answers 410.
    pub share_410: f64,
    /// Closes the connection instead of answering; nothing is counted.
    pub share_close: f64,
    /// Counts the request, then closes the connection: the answer is lost.
    pub share_lost: f64,
    /// Never answers; the connection closes after two minutes.
    pub share_hang: f64,
    /// Counts and answers, after `slow_ms`.
    pub share_slow: f64,
    /// Milliseconds, for `share_slow`.
    pub slow_ms: u64,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    None,
    Answer(StatusCode, Option<u32>),
    Close,
    Lost,
    Hang(Duration),
    Slow(Duration),
}

/// Pseudo-random shares that are the same in every run (splitmix64).
#[derive(Debug, Default)]
pub(super) struct Dice(u64);

impl Dice {
    /// The fault of a request; `request` counts from 1.
    pub(super) fn throw(&mut self, faults: &Faults, request: u64) -> Fault {
        if request <= faults.fail_first {
            return Fault::Answer(StatusCode::INTERNAL_SERVER_ERROR, None);
        }
        let unavailable = Fault::Answer(StatusCode::SERVICE_UNAVAILABLE, faults.retry_after_s);
        let shares = [
            (
                faults.share_500,
                Fault::Answer(StatusCode::INTERNAL_SERVER_ERROR, None),
            ),
            (faults.share_503, unavailable),
            (faults.share_410, Fault::Answer(StatusCode::GONE, None)),
            (faults.share_close, Fault::Close),
            (faults.share_lost, Fault::Lost),
            (faults.share_hang, Fault::Hang(HANG)),
            (
                faults.share_slow,
                Fault::Slow(Duration::from_millis(faults.slow_ms)),
            ),
        ];
        let mut left = self.share();
        for (share, fault) in shares {
            if left < share {
                return fault;
            }
            left -= share;
        }
        Fault::None
    }

    /// In 0..1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // 53 bits are what a double holds exactly.
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}
