//! The account: what a route's binds share. Carriers count binds and refused passwords for an account,
//! not for a connection, so whose turn it is to bind and when nobody may is decided here.
//!
//! ```text
//!  host's gate ──► TCP, TLS ──► account's gate ──► bind sent … answered ──► next one
//!  (one for each host: one that does not answer keeps only its own binds waiting)
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard, watch};
use tokio::time::sleep_until;

use super::backoff::{CREDENTIALS_MAX, Next, credentials_pause};
use crate::clock::Clock;
use crate::link::Carries;

/// Between the starts of an account's connects. smpp.md §3.2.
const STAGGER: Duration = Duration::from_millis(250);

/// One PDU of a route that cannot be read is logged in so long. Chosen: a carrier that deviates does so
/// all the time.
const UNREAD_EVERY: Duration = Duration::from_secs(10);

/// What the binds of one route share.
#[derive(Debug)]
pub struct Account {
    route: String,
    /// One TCP connect and TLS handshake at a time to each host.
    hosts: Vec<Mutex<()>>,
    /// One bind at a time in all. Held until it is answered, and what a refusal means is counted.
    gate: Arc<Mutex<()>>,
    starts: parking_lot::Mutex<Starts>,
    /// Bound links that send, so that those that receive can stay for longer.
    senders: watch::Sender<usize>,
    /// Bound links that receive.
    receivers: watch::Sender<usize>,
    /// The carrier takes no transceiver: the other half of each pair is needed.
    split: watch::Sender<bool>,
    /// When a PDU that cannot be read was logged last.
    unread_logged: parking_lot::Mutex<Option<Instant>>,
    /// How often somebody has said that binds may be tried again.
    resumed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Starts {
    /// Before this no connect starts.
    next: Option<Instant>,
    /// Refused credentials since the last bind.
    refused: u32,
    /// No bind before this, because they were refused.
    paused_until: Option<Instant>,
}

/// Says that a bind may be sent; dropping it lets the next one.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Account {
    pub(super) fn new(route: &str, hosts: usize) -> Self {
        Self {
            route: route.to_owned(),
            hosts: (0..hosts).map(|_| Mutex::default()).collect(),
            gate: Arc::default(),
            starts: parking_lot::Mutex::default(),
            senders: watch::Sender::new(0),
            receivers: watch::Sender::new(0),
            split: watch::Sender::new(false),
            unread_logged: parking_lot::Mutex::default(),
            resumed: watch::Sender::new(0),
        }
    }

    /// Whether a PDU that cannot be read is to be logged now; the others of the route's are counted.
    pub(super) fn logs_unread(&self, now: Instant) -> bool {
        let mut logged = self.unread_logged.lock();
        let due = logged.is_none_or(|at| at + UNREAD_EVERY <= now);
        if due {
            *logged = Some(now);
        }
        due
    }

    /// Waits until nobody else connects to this host. Cancel safe.
    pub(super) async fn host(&self, host: usize) -> Option<MutexGuard<'_, ()>> {
        match self.hosts.get(host) {
            Some(gate) => Some(gate.lock().await),
            None => None,
        }
    }

    /// Waits until no other bind is unanswered. Cancel safe.
    pub(super) async fn turn(&self) -> Turn {
        self.gate.clone().lock_owned().await
    }

    /// Has every bind that waits, or has stopped, tried at once: somebody says that what kept it out
    /// is put right. Refused credentials are counted anew; binds that stand stay.
    pub fn resume(&self) {
        let mut starts = self.starts.lock();
        *starts = Starts::default();
        drop(starts);
        self.resumed.send_modify(|count| *count += 1);
    }

    /// Told when binds may be tried again.
    pub(super) fn resumed(&self) -> watch::Receiver<u64> {
        self.resumed.subscribe()
    }

    /// Waits until the next connect may start. Cancel safe.
    pub(super) async fn starts(&self, clock: &Clock) {
        let mut resumed = self.resumed();
        let at = self.start_at(clock.instant());
        tokio::select! {
            () = sleep_until(at.into()) => {}
            // The account lives as long as its config.
            _ = resumed.changed() => {}
        }
    }

    /// When the next connect may start; the one after it starts later.
    fn start_at(&self, now: Instant) -> Instant {
        let mut starts = self.starts.lock();
        let at = starts.next.map_or(now, |next| next.max(now));
        starts.next = Some(at + STAGGER);
        at
    }

    /// Credentials were refused: all binds of the account wait, and at last stop.
    pub(super) fn refused(&self, now: Instant) -> Next {
        let mut starts = self.starts.lock();
        starts.refused = starts.refused.saturating_add(1);
        if starts.refused >= CREDENTIALS_MAX {
            return Next::Stop;
        }
        let pause = credentials_pause(starts.refused);
        let until = now + pause;
        starts.next = Some(starts.next.map_or(until, |next| next.max(until)));
        starts.paused_until = Some(until);
        Next::After(pause)
    }

    /// Whether the carrier refuses us: then binds go one after the other, from their first octet.
    pub(super) fn is_doubtful(&self) -> bool {
        self.starts.lock().refused > 0
    }

    /// Whether binds wait, because credentials were refused on one of them.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        let until = self.starts.lock().paused_until;
        until.is_some_and(|until| now < until)
    }

    /// Whether no bind may be tried any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.starts.lock().refused >= CREDENTIALS_MAX
    }

    /// The carrier takes no transceiver: transmitter and receiver from now on.
    pub(super) fn split(&self) {
        self.split.send_replace(true);
    }

    pub(super) fn is_split(&self) -> bool {
        *self.split.borrow()
    }

    /// Told when the account is split.
    pub(super) fn splits(&self) -> watch::Receiver<bool> {
        self.split.subscribe()
    }

    /// How many links send, and when that changes.
    pub(super) fn senders(&self) -> watch::Receiver<usize> {
        self.senders.subscribe()
    }

    /// A link is bound until the guard is dropped. `receipts`: they are asked for.
    pub(super) fn bound(self: &Arc<Self>, carries: Carries, receipts: bool) -> Bound {
        let mut starts = self.starts.lock();
        (starts.refused, starts.paused_until) = (0, None);
        drop(starts);
        let bound = Bound {
            account: self.clone(),
            carries,
            receipts,
        };
        self.count(&bound, true);
        bound
    }

    fn count(&self, bound: &Bound, comes: bool) {
        let add = |count: &mut usize| {
            *count = if comes {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
        };
        if bound.carries.attempts() {
            self.senders.send_modify(add);
        }
        if bound.carries.receipts() {
            self.receivers.send_modify(add);
        }
        if !bound.receipts {
            return;
        }
        let (senders, receivers) = (*self.senders.borrow(), *self.receivers.borrow());
        let deaf = senders > 0 && receivers == 0;
        gauge!("trunkline_smpp_receipts_unreachable", "route" => self.route.clone())
            .set(f64::from(u8::from(deaf)));
        let route = self.route.as_str();
        if deaf && !comes {
            self.alarm(Alarm::NoReceipts);
            tracing::warn!(
                route,
                "no bind is left that receipts can come over; sending goes on"
            );
        } else if comes && senders > 0 && receivers == 1 && bound.carries.receipts() {
            tracing::info!(route, "receipts can come");
        }
    }

    /// Somebody has to look.
    pub(super) fn alarm(&self, alarm: Alarm) {
        counter!(
            "trunkline_smpp_bind_alarms_total",
            "route" => self.route.clone(), "alarm" => alarm.name()
        )
        .increment(1);
    }
}

/// What about binds somebody has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// Refused too often, or not who was expected: not tried again.
    Credentials,
    /// The carrier takes fewer binds than the config says.
    TooManyBinds,
    /// Refused again and again, and the carrier does not say why.
    Refused,
    /// Trying again cannot help: another protocol, no such bind type, our own settings.
    Hopeless,
    /// Messages go out and receipts cannot come.
    NoReceipts,
}

impl Alarm {
    fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::TooManyBinds => "too_many_binds",
            Self::Refused => "refused",
            Self::Hopeless => "hopeless",
            Self::NoReceipts => "no_receipts",
        }
    }
}

/// A link is bound as long as this is.
#[derive(Debug)]
pub(super) struct Bound {
    account: Arc<Account>,
    carries: Carries,
    receipts: bool,
}

impl Bound {
    pub(super) fn carries(&self) -> Carries {
        self.carries
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let account = self.account.clone();
        account.count(self, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_apart_and_wait_for_refused_credentials() {
        let (account, now) = (Account::new("a", 1), Instant::now());
        assert_eq!(account.start_at(now), now);
        assert_eq!(account.start_at(now), now + STAGGER);
        let later = now + Duration::from_secs(5);
        assert_eq!(account.start_at(later), later);
        assert_eq!(account.refused(later), Next::After(Duration::from_secs(60)));
        assert_eq!(account.start_at(later), later + Duration::from_secs(60));
    }

    #[test]
    fn credentials_stop_after_five_over_all_binds_and_a_bind_forgives() {
        let (account, now) = (Arc::new(Account::new("a", 1)), Instant::now());
        for seconds in [60, 120, 240, 480] {
            assert_eq!(
                account.refused(now),
                Next::After(Duration::from_secs(seconds))
            );
            assert!(account.is_doubtful() && !account.is_stopped());
        }
        assert_eq!(account.refused(now), Next::Stop);
        assert!(account.is_stopped());
        let account = Arc::new(Account::new("a", 1));
        for _ in 0..20 {
            assert_ne!(account.refused(now), Next::Stop);
            drop(account.bound(Carries::Both, true));
        }
    }

    #[test]
    fn links_are_counted_by_what_they_carry() {
        let account = Arc::new(Account::new("a", 1));
        let (tx, rx) = (
            account.bound(Carries::Attempts, true),
            account.bound(Carries::Receipts, true),
        );
        let both = account.bound(Carries::Both, true);
        let counts = || (*account.senders.borrow(), *account.receivers.borrow());
        assert_eq!(counts(), (2, 2));
        drop((rx, both));
        assert_eq!(counts(), (1, 0));
        drop(tx);
        assert_eq!(counts(), (0, 0));
    }
}
