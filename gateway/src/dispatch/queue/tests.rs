//! Lanes, lines and what goes back into them.

use std::sync::Arc;

use smallvec::smallvec;

use super::line::{LOAD, READY_MAX};
use super::*;
use crate::message::{
    Encoding, FailoverOn, Message, MessageId, OnAmbiguous, Parts, Phone, Priority, RouteIx,
    TenantIx, Texts,
};

fn entry(order: u64, class: Class) -> Entry {
    let message = Message {
        id: MessageId(order),
        tenant: TenantIx(0),
        to: Phone::parse("+46701234567").unwrap(),
        class,
        priority: Priority::Normal,
        on_ambiguous: OnAmbiguous::Retry,
        failover_on: FailoverOn::ALL,
        encoding: Encoding::Gsm7,
        segments: 1,
        concat_ref: 0,
        callback: None,
        batch: None,
        accepted_at: UnixMs(1),
        expires_at: UnixMs(u64::MAX),
        routes: smallvec![RouteIx(0)],
        texts: Texts::default(),
    };
    Entry::again(Arc::new(message), Parts::first(1), order, UnixMs::ZERO)
}

/// Claimed ahead.
const AHEAD: usize = 20;

/// A queue whose lines are whole.
fn queue() -> Queue {
    let mut queue = Queue::new([50, 30, 15, 5]);
    for class in Class::ALL {
        assert_eq!(queue.line(class).begin_load(), Some(0));
        queue.loaded(class, Vec::new(), LOAD, UnixMs(1));
    }
    queue
}

fn arrive(queue: &mut Queue, entries: Vec<Entry>) {
    queue.arrive(FeedEntries {
        entries,
        ..FeedEntries::default()
    });
}

/// Takes the next entry; what has to be claimed for it is.
fn take(queue: &mut Queue) -> Option<Entry> {
    let staged = queue.stage(AHEAD);
    assert!(staged.len() <= 4 * AHEAD);
    queue.claimed(staged, true);
    queue.take().inspect(|entry| assert!(is_ready(entry)))
}

fn orders(queue: &mut Queue) -> Vec<u64> {
    std::iter::from_fn(|| take(queue))
        .map(|entry| entry.order)
        .collect()
}

#[test]
fn lanes_share_by_weight_also_when_takes_are_undone() {
    for undo in [false, true] {
        let mut queue = queue();
        for order in 1..=4_000 {
            let class = Class::ALL[usize::try_from(order % 4).unwrap()];
            arrive(&mut queue, vec![entry(order, class)]);
        }
        let mut served = [0usize; 4];
        for _ in 0..1_000 {
            let taken = take(&mut queue).unwrap();
            if undo {
                queue.untake(taken);
                let again = take(&mut queue).unwrap();
                served[again.message.class.lane()] += 1;
            } else {
                served[taken.message.class.lane()] += 1;
            }
        }
        for (served, weight) in served.into_iter().zip([500, 300, 150, 50]) {
            assert!(
                served.abs_diff(weight) <= 10,
                "{served} of {weight}, undo {undo}"
            );
        }
    }
}

#[test]
fn an_idle_lane_is_served_next_and_saves_nothing_up() {
    let mut queue = queue();
    for order in 1..=100 {
        arrive(&mut queue, vec![entry(order, Class::Promotional)]);
    }
    for _ in 0..50 {
        take(&mut queue).unwrap();
    }
    arrive(&mut queue, vec![entry(1_000, Class::Otp)]);
    assert_eq!(take(&mut queue).unwrap().order, 1_000);
    for order in 0..3 {
        arrive(&mut queue, vec![entry(1_001 + order, Class::Otp)]);
    }
    assert_eq!(take(&mut queue).unwrap().message.class, Class::Otp);
}

#[test]
fn what_goes_back_keeps_the_order_of_acceptance() {
    let mut queue = queue();
    let all: Vec<Entry> = (1..=6).map(|order| entry(order, Class::Otp)).collect();
    arrive(&mut queue, all);
    let taken: Vec<Entry> = (0..3).filter_map(|_| take(&mut queue)).collect();
    for entry in taken {
        queue.give_back(entry);
    }
    assert_eq!(orders(&mut queue), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn an_entry_that_a_load_brought_is_not_taken_again_from_the_feed() {
    let mut queue = queue();
    queue.line(Class::Otp).missed();
    assert_eq!(queue.line(Class::Otp).begin_load(), Some(0));
    queue.loaded(Class::Otp, vec![entry(5, Class::Otp)], LOAD, UnixMs(1));
    arrive(&mut queue, vec![entry(5, Class::Otp), entry(6, Class::Otp)]);
    assert_eq!(orders(&mut queue), [5, 6]);
}

#[test]
fn a_line_that_is_full_leaves_the_rest_to_the_store_and_comes_back_without_a_gap() {
    let mut queue = queue();
    let most = u64::try_from(READY_MAX).unwrap();
    for order in 1..=most + 5 {
        arrive(&mut queue, vec![entry(order, Class::Otp)]);
    }
    assert!(queue.line(Class::Otp).is_behind());
    while queue.line(Class::Otp).len() > 10 {
        take(&mut queue);
    }
    assert_eq!(queue.line(Class::Otp).begin_load(), Some(most));
    // One more comes while the load is under way: kept aside.
    arrive(&mut queue, vec![entry(most + 6, Class::Otp)]);
    let rest = (most + 1..=most + 5).map(|order| entry(order, Class::Otp));
    queue.loaded(Class::Otp, rest.collect(), LOAD, UnixMs(1));
    assert!(!queue.line(Class::Otp).is_behind());
    let left = orders(&mut queue);
    let first = left[0];
    assert_eq!(left, (first..=most + 6).collect::<Vec<_>>());
}

#[test]
fn a_load_that_failed_is_tried_again() {
    let mut queue = queue();
    queue.line(Class::Otp).missed();
    assert!(queue.line(Class::Otp).begin_load().is_some());
    queue.line(Class::Otp).load_failed();
    assert!(queue.line(Class::Otp).is_behind());
    assert!(queue.line(Class::Otp).begin_load().is_some());
}

#[test]
fn nothing_is_handed_over_unclaimed_and_no_more_is_claimed_than_is_ahead() {
    let mut queue = queue();
    let all: Vec<Entry> = (1..=100).map(|order| entry(order, Class::Otp)).collect();
    arrive(&mut queue, all);
    assert!(queue.take().is_none());
    assert_eq!(
        queue.credit(AHEAD),
        [0, 20, 20, 20],
        "others wait before what would come"
    );
    let staged = queue.stage(AHEAD);
    assert_eq!(staged.len(), AHEAD);
    assert!(queue.take().is_none(), "not yet on disk");
    assert!(queue.stage(AHEAD).is_empty(), "one at a time");
    queue.claimed(staged, true);
    for order in 1..=AHEAD / 2 {
        assert!(queue.stage(AHEAD).is_empty());
        assert_eq!(
            queue.take().map(|entry| entry.order),
            u64::try_from(order).ok()
        );
    }
    // A claim that failed leaves its entries where they were.
    let staged = queue.stage(AHEAD);
    assert_eq!(staged.len(), AHEAD / 2);
    queue.claimed(staged, false);
    assert_eq!(orders(&mut queue), (11..=100).collect::<Vec<_>>());
}

#[test]
fn what_was_claimed_as_accepted_passes_by_and_never_overtakes() {
    let mut queue = queue();
    let fresh = |order| {
        let message = Arc::unwrap_or_clone(entry(order, Class::Otp).message);
        Entry::fresh(Arc::new(message), true)
    };
    arrive(&mut queue, vec![fresh(1)]);
    assert_eq!(queue.credit(AHEAD)[0], 1 + 19);
    assert_eq!(queue.take().map(|entry| entry.order), Some(1));
    assert_eq!(queue.credit(AHEAD)[0], 1 + 20);
    arrive(&mut queue, vec![entry(2, Class::Otp), fresh(3)]);
    assert!(queue.take().is_none());
    let staged = queue.stage(AHEAD);
    arrive(&mut queue, vec![fresh(4)]);
    queue.claimed(staged, true);
    arrive(&mut queue, vec![fresh(5)]);
    assert_eq!(orders(&mut queue), [2, 3, 4, 5]);
}

#[test]
fn credit_counts_what_the_feed_left_out() {
    let mut queue = queue();
    queue.arrive(FeedEntries {
        missed: true,
        missed_claimed: [3, 0, 0, 0],
        ..FeedEntries::default()
    });
    assert_eq!(
        queue.credit(AHEAD),
        [3, 0, 0, 0],
        "the line is behind: no room"
    );
}
