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

/// A queue whose lines are whole.
fn queue() -> Queue {
    let mut queue = Queue::new([50, 30, 15, 5]);
    for class in Class::ALL {
        assert_eq!(queue.line(class).begin_load(), Some(0));
        queue.loaded(class, Vec::new(), LOAD, UnixMs(1));
    }
    queue
}

fn orders(queue: &mut Queue) -> Vec<u64> {
    std::iter::from_fn(|| queue.take())
        .map(|entry| entry.order)
        .collect()
}

#[test]
fn lanes_share_by_weight_also_when_takes_are_undone() {
    for undo in [false, true] {
        let mut queue = queue();
        for order in 1..=4_000 {
            let class = Class::ALL[usize::try_from(order % 4).unwrap()];
            queue.arrive(vec![entry(order, class)], false);
        }
        let mut served = [0usize; 4];
        for _ in 0..1_000 {
            let taken = queue.take().unwrap();
            if undo {
                queue.untake(taken);
                let again = queue.take().unwrap();
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
        queue.arrive(vec![entry(order, Class::Promotional)], false);
    }
    for _ in 0..50 {
        queue.take().unwrap();
    }
    queue.arrive(vec![entry(1_000, Class::Otp)], false);
    assert_eq!(queue.take().unwrap().order, 1_000);
    for order in 0..3 {
        queue.arrive(vec![entry(1_001 + order, Class::Otp)], false);
    }
    assert_eq!(queue.take().unwrap().message.class, Class::Otp);
}

#[test]
fn what_goes_back_keeps_the_order_of_acceptance() {
    let mut queue = queue();
    let all: Vec<Entry> = (1..=6).map(|order| entry(order, Class::Otp)).collect();
    queue.arrive(all, false);
    let taken: Vec<Entry> = (0..3).filter_map(|_| queue.take()).collect();
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
    queue.arrive(vec![entry(5, Class::Otp), entry(6, Class::Otp)], false);
    assert_eq!(orders(&mut queue), [5, 6]);
}

#[test]
fn a_line_that_is_full_leaves_the_rest_to_the_store_and_comes_back_without_a_gap() {
    let mut queue = queue();
    let most = u64::try_from(READY_MAX).unwrap();
    for order in 1..=most + 5 {
        queue.arrive(vec![entry(order, Class::Otp)], false);
    }
    assert!(queue.line(Class::Otp).is_behind());
    while queue.line(Class::Otp).len() > 10 {
        queue.take();
    }
    assert_eq!(queue.line(Class::Otp).begin_load(), Some(most));
    // One more comes while the load is under way: kept aside.
    queue.arrive(vec![entry(most + 6, Class::Otp)], false);
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
