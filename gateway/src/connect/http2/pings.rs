//! PING: whether the peer is still there, and how far away it is.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use h2::{Ping, PingPong};

/// Our PINGs: one at a time.
#[derive(Debug)]
pub(super) struct Pings {
    h2: Option<PingPong>,
    awaited: Option<Instant>,
    sent_last: Instant,
    round_trip: Option<Duration>,
}

impl Pings {
    pub(super) fn new(h2: Option<PingPong>, now: Instant) -> Self {
        Self {
            h2,
            awaited: None,
            sent_last: now,
            round_trip: None,
        }
    }

    /// Whether one is to be sent now.
    pub(super) fn due(&self, now: Instant, at: Instant) -> bool {
        self.awaited.is_none() && at <= now
    }

    /// Sends one.
    pub(super) fn send(&mut self, now: Instant, context: &mut Context<'_>) {
        let Some(h2) = &mut self.h2 else {
            return;
        };
        self.sent_last = now;
        // A connection that is closing takes none, and needs none.
        if h2.send_ping(Ping::opaque()).is_ok() {
            self.awaited = Some(now);
            // Its waker is known to h2 once it has been polled.
            drop(h2.poll_pong(context));
        }
    }

    /// Takes the answer; the round trip.
    pub(super) fn poll(&mut self, now: Instant, context: &mut Context<'_>) -> Option<Duration> {
        let sent = self.awaited?;
        let Poll::Ready(Ok(_)) = self.h2.as_mut()?.poll_pong(context) else {
            return None;
        };
        self.awaited = None;
        self.round_trip = Some(now.saturating_duration_since(sent));
        self.round_trip
    }

    /// When the one was sent that is not answered.
    pub(super) fn awaited(&self) -> Option<Instant> {
        self.awaited
    }

    pub(super) fn is_overdue(&self, now: Instant, timeout: Duration) -> bool {
        self.awaited.is_some_and(|sent| sent + timeout <= now)
    }

    pub(super) fn sent_last(&self) -> Instant {
        self.sent_last
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}
