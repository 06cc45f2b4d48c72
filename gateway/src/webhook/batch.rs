//! Batches: how many waiting events make one delivery, when, and what its body is.
//!
//! A delivery is (first, last, filter) and everything about it follows from that: its id from the
//! first event's time and the range, its timestamp from the last event's time, its events from the
//! log. So the body is the same at each try, over restarts too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};

use super::feed::Item;
use crate::clock::UnixMs;

/// The longest range of one delivery in events of the log: `ids().event_batch` has 16 bits for it,
/// and a retry has to read the range again.
pub(super) const SPAN_MAX: u64 = (1 << 16) - 1;

/// What a batch's body begins with, up to its timestamp (contract.md §3).
const OPENING: &[u8] = br#"{"type":"batch","timestamp":""#;
/// Between timestamp and events.
const MIDDLE: &[u8] = br#"","data":{"events":["#;
/// After the events.
const CLOSING: &[u8] = b"]}}";
/// Octets of a body beside its events: the pieces above and an RFC 3339 time with milliseconds.
const FRAME_OCTETS: usize = OPENING.len() + 24 + MIDDLE.len() + CLOSING.len();

/// An endpoint's wish for batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Most events in one; 1 to [`Batch::EVENTS_MAX`].
    pub max_events: usize,
    /// An event waits at most this long for others; up to [`Batch::WAIT_MAX`].
    pub max_wait: Duration,
    /// Most octets of a body, unless one event alone has more; up to [`Batch::BYTES_MAX`].
    pub max_bytes: usize,
}

impl Batch {
    /// contract.md §3, `batch`.
    pub const EVENTS_MAX: usize = 1_000;
    /// contract.md §3, `batch`.
    pub const WAIT_MAX: Duration = Duration::from_secs(5);
    /// contract.md §3, `batch`.
    pub const BYTES_MAX: usize = 1 << 20;
}

/// What the queue has for the next delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Its first so many events make a delivery now.
    Take(usize),
    /// There is one at this time, if not before.
    At(Instant),
    /// Nothing waits.
    Nothing,
}

/// Looks how many of the waiting events go together. Without `rule` each goes alone.
#[must_use]
pub(super) fn next(queue: &VecDeque<Item>, rule: Option<&Batch>, now: Instant) -> Ready {
    let Some(first) = queue.front() else {
        return Ready::Nothing;
    };
    let Some(rule) = rule else {
        return Ready::Take(1);
    };
    let mut bytes = FRAME_OCTETS + first.json.len();
    let mut count = 1;
    let mut full = rule.max_events <= 1;
    for item in queue.iter().skip(1) {
        bytes += 1 + item.json.len();
        full |= count >= rule.max_events
            || bytes > rule.max_bytes
            || item.seq - first.seq > SPAN_MAX
            || item.url() != first.url();
        if full {
            break;
        }
        count += 1;
    }
    let at = first.arrived + rule.max_wait;
    if full || count == rule.max_events || at <= now {
        Ready::Take(count)
    } else {
        Ready::At(at)
    }
}

/// The body of a delivery of `items`, which is not empty. A batch is one also when it has one event.
#[must_use]
pub(super) fn body(items: &[Item], batched: bool) -> Bytes {
    if let ([one], false) = (items, batched) {
        return one.json.clone();
    }
    let octets: usize = items.iter().map(|item| item.json.len() + 1).sum();
    let mut body = BytesMut::with_capacity(FRAME_OCTETS + octets);
    body.put_slice(OPENING);
    let at = items.last().map_or(UnixMs::ZERO, |item| item.at);
    body.put_slice(at.to_string().as_bytes());
    body.put_slice(MIDDLE);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&item.json);
    }
    body.put_slice(CLOSING);
    body.freeze()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::event::EventKind;
    use crate::message::EndpointIx;
    use crate::store::Callback;

    fn item(seq: u64, octets: usize, arrived: Instant) -> Item {
        Item {
            seq,
            at: UnixMs(1_795_248_125_117),
            kind: EventKind::MessageSent,
            json: Bytes::from(format!("\"{}\"", "x".repeat(octets.saturating_sub(2)))),
            callback: None,
            arrived,
        }
    }

    fn rule(max_events: usize, max_bytes: usize) -> Batch {
        Batch {
            max_events,
            max_wait: Duration::from_millis(500),
            max_bytes,
        }
    }

    #[test]
    fn a_lone_event_waits_no_longer_than_asked_and_a_full_batch_not_at_all() {
        let t = Instant::now();
        let rule = rule(3, 10_000);
        let mut queue = VecDeque::from([item(1, 10, t)]);
        let end = t + rule.max_wait;
        assert_eq!(next(&queue, Some(&rule), t), Ready::At(end));
        assert_eq!(next(&queue, None, t), Ready::Take(1));
        assert_eq!(next(&queue, Some(&rule), end), Ready::Take(1));
        queue.extend([item(2, 10, end), item(3, 10, end)]);
        assert_eq!(next(&queue, Some(&rule), t), Ready::Take(3));
        queue.push_back(item(4, 10, end));
        assert_eq!(next(&queue, Some(&rule), t), Ready::Take(3));
        assert_eq!(next(&VecDeque::new(), Some(&rule), t), Ready::Nothing);
    }

    #[test]
    fn octets_range_and_url_end_a_batch() {
        let t = Instant::now();
        let frame = FRAME_OCTETS;
        let small = rule(100, frame + 21);
        let queue = VecDeque::from([item(1, 10, t), item(2, 10, t), item(3, 1, t)]);
        assert_eq!(
            next(&queue, Some(&small), t),
            Ready::Take(2),
            "exactly two fit"
        );
        let large = rule(100, 10_000);
        let far = VecDeque::from([
            item(1, 10, t),
            item(1 + SPAN_MAX, 9, t),
            item(2 + SPAN_MAX, 9, t),
        ]);
        assert_eq!(next(&far, Some(&large), t), Ready::Take(2));
        let mut other = item(2, 10, t);
        other.callback = Some(Arc::new(Callback {
            endpoint: EndpointIx(0),
            url: Some("https://a.example/".to_owned()),
            kinds: None,
        }));
        let mixed = VecDeque::from([item(1, 10, t), other]);
        assert_eq!(next(&mixed, Some(&large), t), Ready::Take(1));
    }

    #[test]
    fn a_batch_is_json_with_its_last_events_time() {
        let t = Instant::now();
        let body = body(&[item(1, 3, t), item(2, 4, t)], true);
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"type":"batch","timestamp":"2026-11-21T08:02:05.117Z","data":{"events":["x","xx"]}}"#
        );
        assert_eq!(super::body(&[item(1, 3, t)], false).as_ref(), br#""x""#);
    }

    proptest! {
        /// Every bound of the rule holds, and the body is as long as was counted.
        #[test]
        fn bounds_hold(
            sizes in proptest::collection::vec(2usize..400, 1..60),
            max_events in 1usize..20,
            max_bytes in 1usize..3_000,
        ) {
            let t = Instant::now();
            let rule = rule(max_events, max_bytes);
            let mut queue: VecDeque<Item> =
                sizes.iter().zip(1u64..).map(|(size, seq)| item(seq, *size, t)).collect();
            let mut seen = 0;
            while !queue.is_empty() {
                let Ready::Take(count) = next(&queue, Some(&rule), t + rule.max_wait) else {
                    return Err(TestCaseError::fail("waited beyond max_wait"));
                };
                prop_assert!((1..=max_events).contains(&count));
                let items: Vec<Item> = queue.drain(..count).collect();
                prop_assert!(count == 1 || body(&items, true).len() <= max_bytes);
                seen += count;
            }
            prop_assert_eq!(seen, sizes.len());
        }
    }
}
