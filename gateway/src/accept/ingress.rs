//! Ingress: how many messages per second a tenant may hand over, and the headers that tell it.
//!
//! GCRA by `governor`, with our own clock, so that time stays an argument: the hand of the clock is
//! moved to `now` by every call.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock as GovernorClock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use hyper::header::HeaderValue;

use crate::accept::Tenant;
use crate::accept::problem::{Code, Problem};
use crate::message::TenantIx;

/// A tenant's `ingress_rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngressRate {
    /// So many messages …
    pub messages: NonZeroU32,
    /// … in this time.
    pub per: Duration,
    /// So many at once, after a pause.
    pub burst: NonZeroU32,
}

/// The clock that governor reads: nanoseconds since accept was put together.
#[derive(Clone, Debug, Default)]
struct Hand(Arc<AtomicU64>);

impl GovernorClock for Hand {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.load(Ordering::Relaxed).into()
    }
}

struct Bucket {
    rate: IngressRate,
    limiter: RateLimiter<NotKeyed, InMemoryState, Hand, StateInformationMiddleware>,
    policy: HeaderValue,
}

/// The buckets of all tenants that have a rate.
pub(crate) struct Ingress {
    buckets: HashMap<TenantIx, Bucket>,
    hand: Hand,
    start: Instant,
}

/// What taking from a bucket said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Taken. The headers, when a rate is configured.
    Yes(Option<RateHeaders>),
    /// Not now: nothing was taken.
    Wait {
        /// Ask again after this.
        after: Duration,
        headers: RateHeaders,
    },
    /// Never: more than the burst at once.
    Never {
        /// The burst.
        burst: u32,
    },
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RateHeaders {
    pub(crate) policy: HeaderValue,
    pub(crate) limit: HeaderValue,
}

impl Ingress {
    /// Full buckets for the tenants that have a rate.
    pub(crate) fn new(tenants: &[(TenantIx, Tenant)]) -> Self {
        let hand = Hand::default();
        let limited = tenants.iter().filter_map(|(ix, tenant)| {
            let rate = tenant.ingress?;
            Some((*ix, Bucket::new(rate, hand.clone())?))
        });
        Self {
            buckets: limited.collect(),
            hand: hand.clone(),
            start: Instant::now(),
        }
    }

    /// Takes `count` messages from the tenant's bucket at `now`, if they are there.
    pub(crate) fn take(&self, tenant: TenantIx, count: u32, now: Instant) -> Taken {
        let (Some(bucket), Some(count)) = (self.buckets.get(&tenant), NonZeroU32::new(count))
        else {
            return Taken::Yes(None);
        };
        let since = now.saturating_duration_since(self.start).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        // Two callers may come here in either order; the hand never goes back.
        self.hand.0.fetch_max(since, Ordering::Relaxed);
        match bucket.limiter.check_n(count) {
            Ok(Ok(state)) => {
                Taken::Yes(Some(bucket.headers(state.remaining_burst_capacity(), None)))
            }
            Ok(Err(not_until)) => {
                let after = not_until.wait_time_from(self.hand.now());
                Taken::Wait {
                    after,
                    headers: bucket.headers(0, Some(after)),
                }
            }
            Err(_) => Taken::Never {
                burst: bucket.rate.burst.get(),
            },
        }
    }

    /// The most that a tenant may take at once.
    pub(crate) fn burst(&self, tenant: TenantIx) -> Option<u32> {
        self.buckets.get(&tenant).map(|b| b.rate.burst.get())
    }
}

impl Bucket {
    /// `None` for a rate of no time, which config check refuses.
    fn new(rate: IngressRate, hand: Hand) -> Option<Self> {
        let quota = Quota::with_period(rate.per / rate.messages.get())?.allow_burst(rate.burst);
        let policy = format!(
            "\"msg\";q={};w={};trunkline-unit=\"messages\";trunkline-burst={}",
            rate.messages,
            rate.per.as_secs().max(1),
            rate.burst
        );
        Some(Self {
            rate,
            limiter: RateLimiter::direct_with_clock(quota, hand)
                .with_middleware::<StateInformationMiddleware>(),
            policy: HeaderValue::try_from(policy).ok()?,
        })
    }

    /// `r` is what is left; `t` the seconds until the window's quota (or the burst, when that is less)
    /// is whole again, 1 at least.
    fn headers(&self, left: u32, wait: Option<Duration>) -> RateHeaders {
        let whole = self.rate.messages.min(self.rate.burst).get();
        let missing = whole.saturating_sub(left);
        let whole = self
            .rate
            .per
            .mul_f64(f64::from(missing) / f64::from(self.rate.messages.get()));
        let t = seconds_up(wait.unwrap_or(whole));
        RateHeaders {
            policy: self.policy.clone(),
            limit: HeaderValue::try_from(format!("\"msg\";r={left};t={t}"))
                .unwrap_or(HeaderValue::from_static("\"msg\"")),
        }
    }
}

/// The problem of a tenant that is over its rate.
pub(crate) fn over_rate(after: Duration) -> Problem {
    Problem::new(Code::QuotaExceeded, "the tenant's ingress_rate is used up")
        .retry_after(seconds_up(after))
}

/// Whole seconds, rounded up, 1 at least.
fn seconds_up(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACME: TenantIx = TenantIx(1);

    fn ingress(messages: u32, per: u64, burst: u32) -> Ingress {
        let tenant = Tenant {
            ingress: Some(IngressRate {
                messages: NonZeroU32::new(messages).unwrap(),
                per: Duration::from_secs(per),
                burst: NonZeroU32::new(burst).unwrap(),
            }),
            ..Tenant::default()
        };
        Ingress::new(&[(ACME, tenant), (TenantIx(2), Tenant::default())])
    }

    fn limit(taken: &Taken) -> &str {
        match taken {
            Taken::Yes(Some(headers)) | Taken::Wait { headers, .. } => {
                headers.limit.to_str().unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn headers_are_those_of_the_contract() {
        let ingress = ingress(5000, 1, 10_000);
        let taken = ingress.take(ACME, 5880, ingress.start);
        let Taken::Yes(Some(headers)) = &taken else {
            panic!("{taken:?}")
        };
        assert_eq!(
            headers.policy.to_str().unwrap(),
            "\"msg\";q=5000;w=1;trunkline-unit=\"messages\";trunkline-burst=10000"
        );
        assert_eq!(limit(&taken), "\"msg\";r=4120;t=1");
    }

    #[test]
    fn a_burst_then_the_rate() {
        let ingress = ingress(10, 1, 3);
        for left in [2, 1, 0] {
            let taken = ingress.take(ACME, 1, ingress.start);
            assert_eq!(limit(&taken), format!("\"msg\";r={left};t=1"));
        }
        let Taken::Wait { after, .. } = ingress.take(ACME, 1, ingress.start) else {
            panic!("the burst is used up")
        };
        assert_eq!(after, Duration::from_millis(100));
        let later = ingress.start + Duration::from_millis(100);
        assert!(matches!(ingress.take(ACME, 1, later), Taken::Yes(Some(_))));
        assert!(matches!(ingress.take(ACME, 1, later), Taken::Wait { .. }));
    }

    #[test]
    fn more_than_the_burst_never_goes_and_nothing_is_taken() {
        let ingress = ingress(10, 1, 3);
        assert_eq!(
            ingress.take(ACME, 4, ingress.start),
            Taken::Never { burst: 3 }
        );
        assert!(matches!(
            ingress.take(ACME, 3, ingress.start),
            Taken::Yes(_)
        ));
    }

    #[test]
    fn tenants_without_a_rate_are_not_limited() {
        let ingress = ingress(1, 60, 1);
        for _ in 0..1_000 {
            assert_eq!(
                ingress.take(TenantIx(2), 1000, ingress.start),
                Taken::Yes(None)
            );
        }
    }

    #[test]
    fn slow_rates_say_how_long() {
        let ingress = ingress(2, 60, 1);
        let taken = ingress.take(ACME, 1, ingress.start);
        assert_eq!(limit(&taken), "\"msg\";r=0;t=30", "the burst is one");
        let Taken::Wait { after, headers } = ingress.take(ACME, 1, ingress.start) else {
            panic!("one a half-minute")
        };
        assert_eq!(after, Duration::from_secs(30));
        assert_eq!(headers.limit.to_str().unwrap(), "\"msg\";r=0;t=30");
        assert_eq!(over_rate(after).retry_after, Some(30));
    }
}
