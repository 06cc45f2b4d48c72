//! Standing: how far an endpoint is with one event, from what it remembers.

use crate::message::EndpointIx;
use crate::store::{DeliveryRetry, EndpointState, Store};

/// How far an endpoint is with one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The endpoint has passed it: it was delivered, waits for a retry, or was given up.
    pub passed: bool,
    /// Its retry, if it waits for one.
    pub retry: Option<DeliveryRetry>,
    /// Whether the endpoint is disabled.
    pub disabled: bool,
    /// Deliveries that the endpoint gave up, ever.
    pub exhausted: u64,
}

impl Standing {
    fn of(state: &EndpointState, seq: u64) -> Self {
        let holds = |retry: &&DeliveryRetry| (retry.first..=retry.last).contains(&seq);
        Self {
            passed: seq <= state.cursor,
            retry: state.retries.iter().find(holds).copied(),
            disabled: state.disabled.is_some(),
            exhausted: state.exhausted,
        }
    }
}

impl Store {
    /// How far an endpoint is with an event that it wants; at most a second old. `None`: it has not
    /// remembered anything yet.
    #[must_use]
    pub fn standing(&self, endpoint: EndpointIx, seq: u64) -> Option<Standing> {
        let young = self.shared().young.read();
        let state = young.endpoints.get(&endpoint)?;
        Some(Standing::of(state, seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMs;

    #[test]
    fn an_event_is_passed_or_not_and_may_wait_for_a_retry() {
        let retry = DeliveryRetry {
            first: 3,
            last: 5,
            attempts: 2,
            due: UnixMs(9),
            since: UnixMs(1),
        };
        let state = EndpointState {
            cursor: 8,
            retries: vec![retry],
            ..EndpointState::default()
        };
        let stands = |seq| {
            let standing = Standing::of(&state, seq);
            (standing.passed, standing.retry)
        };
        assert_eq!(stands(2), (true, None));
        assert_eq!(stands(3), (true, Some(retry)));
        assert_eq!(stands(5), (true, Some(retry)));
        assert_eq!(stands(6), (true, None));
        assert_eq!(stands(9), (false, None));
    }
}
