//! When the next messages may go: by rate, by number, by time, and by what is still outstanding.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long a sender that may not send waits before it asks again. Chosen: tokio's timers are no
/// finer than a millisecond.
const POLL: Duration = Duration::from_millis(1);

/// What ends and slows a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Number of the first message.
    pub(crate) first: u64,
    /// Most messages.
    pub(crate) messages: u64,
    /// Messages per second.
    pub(crate) rate: Option<f64>,
    /// No message is begun after this.
    pub(crate) duration: Duration,
}

/// Deals out message numbers to all connections of a run.
#[derive(Debug)]
pub(crate) struct Pace {
    limits: Limits,
    start: OnceLock<Instant>,
    taken: AtomicU64,
    allowed: AtomicU64,
}

impl Pace {
    /// The clock starts when it is first asked for.
    pub(crate) fn new(limits: Limits) -> Self {
        let allowed = AtomicU64::new(u64::MAX);
        Self {
            limits,
            start: OnceLock::new(),
            taken: AtomicU64::new(0),
            allowed,
        }
    }

    /// Lets so many messages go in all, counted from the start; unlimited until first called.
    pub(crate) fn allow(&self, messages: u64) {
        self.allowed.store(messages, Ordering::Relaxed);
    }

    pub(crate) fn start(&self) -> Instant {
        *self.start.get_or_init(Instant::now)
    }

    pub(crate) fn rate(&self) -> Option<f64> {
        self.limits.rate
    }

    /// When message number `index` of the run (from 0) is meant to go, in an open loop.
    pub(crate) fn intended(&self, index: u64, rate: f64) -> Instant {
        self.start() + Duration::from_secs_f64(index as f64 / rate)
    }

    /// The next index of an open loop, whether or not its time has come. `None` ends the run.
    pub(crate) fn ticket(&self, rate: f64) -> Option<u64> {
        let index = self.taken.fetch_add(1, Ordering::Relaxed);
        let over = self.intended(index, rate) > self.start() + self.limits.duration;
        (!over && index < self.limits.messages).then_some(index)
    }

    /// The number of the message with this index.
    pub(crate) fn number(&self, index: u64) -> u64 {
        self.limits.first + index
    }

    /// Takes 1 to `most` indices, waiting until they may go. `None` ends the run.
    pub(crate) async fn take(&self, most: u64) -> Option<Range<u64>> {
        loop {
            let elapsed = self.start().elapsed();
            if elapsed >= self.limits.duration {
                return None;
            }
            let due = match self.limits.rate {
                Some(rate) => (elapsed.as_secs_f64() * rate) as u64,
                None => u64::MAX,
            };
            let limit = self
                .limits
                .messages
                .min(due)
                .min(self.allowed.load(Ordering::Relaxed));
            let taken = self.taken.load(Ordering::Relaxed);
            if taken >= self.limits.messages {
                return None;
            }
            if taken < limit {
                let end = taken + most.min(limit - taken);
                let order = Ordering::Relaxed;
                if self
                    .taken
                    .compare_exchange(taken, end, order, order)
                    .is_ok()
                {
                    return Some(taken..end);
                }
            } else {
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        first: 100,
        messages: 25,
        rate: None,
        duration: Duration::from_secs(1000),
    };

    #[tokio::test(start_paused = true)]
    async fn deals_every_index_once_and_ends() {
        let pace = Pace::new(LIMITS);
        assert_eq!(pace.take(10).await, Some(0..10));
        pace.allow(15);
        assert_eq!(pace.take(10).await, Some(10..15));
        pace.allow(100);
        assert_eq!(pace.take(100).await, Some(15..25));
        assert_eq!(pace.take(1).await, None);
        assert_eq!(pace.number(3), 103);
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_to_the_rate_and_to_the_time() {
        let duration = Duration::from_secs(2);
        let limits = Limits {
            rate: Some(10.0),
            messages: u64::MAX,
            duration,
            ..LIMITS
        };
        let pace = Pace::new(limits);
        let mut taken = 0;
        while let Some(range) = pace.take(3).await {
            taken += range.end - range.start;
        }
        assert!((18..=20).contains(&taken), "{taken}");
        assert!(pace.start().elapsed() >= duration);
        let open = Pace::new(limits);
        let tickets: Vec<u64> = std::iter::from_fn(|| open.ticket(10.0)).collect();
        assert_eq!(tickets.len(), 21);
        assert_eq!(
            open.intended(10, 10.0) - open.start(),
            Duration::from_secs(1)
        );
    }
}
