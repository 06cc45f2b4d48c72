//! Lanes, lines and what goes back into them.

use std::sync::Arc;

use proptest::prelude::*;
use smallvec::smallvec;

use super::lane::{READY_MAX, is_ready};
use super::line::load_of;
use super::*;
use crate::message::{
    Encoding, FailoverOn, Message, MessageId, OnAmbiguous, Parts, Phone, Priority, RouteIx,
    TenantIx, Texts,
};

/// An entry to a destination of its own.
fn entry(order: u64, class: Class) -> Entry {
    let message = Message {
        id: MessageId(order),
        tenant: TenantIx(0),
        to: phone(order),
        class,
        priority: Priority::Normal,
        on_ambiguous: OnAmbiguous::Retry,
        failover_on: FailoverOn::ALL,
        encoding: Encoding::Gsm7,
        segments: 1,
        concat_ref: 0,
        sms: None,
        policy: crate::message::Policy::default(),
        callback: None,
        batch: None,
        accepted_at: UnixMs(1),
        expires_at: UnixMs(u64::MAX),
        routes: smallvec![RouteIx(0)],
        steps: None,
        texts: Texts::default(),
    };
    Entry::again(Arc::new(message), Parts::first(1), order, UnixMs::ZERO)
}

fn phone(number: u64) -> Phone {
    Phone::parse(&format!("+4670{number:09}")).unwrap()
}

/// Claimed ahead.
const AHEAD: usize = 20;

/// A queue of which the store has nothing.
fn queue() -> Queue {
    Queue::new([50, 30, 15, 5])
}

/// An entry of some tenant.
fn entry_of(tenant: u16, order: u64) -> Entry {
    let mut message = Arc::unwrap_or_clone(entry(order, Class::Otp).message);
    message.tenant = TenantIx(tenant);
    Entry::again(Arc::new(message), Parts::first(1), order, UnixMs::ZERO)
}

fn missed(queue: &mut Queue, tenant: u16) {
    queue.missed(vec![(Class::Otp, TenantIx(tenant))]);
}

/// Has the store's entries of the next load come: those of its tenant, in order.
fn load(queue: &mut Queue, stored: &[Entry]) -> Option<Load> {
    let load = queue.next_load(Class::Otp)?;
    let after = |entry: &&Entry| entry.message.tenant == load.tenant && entry.order > load.after;
    let entries = stored.iter().filter(after).take(load.limit).cloned();
    queue.loaded(Class::Otp, load, Some(entries.collect()), UnixMs(1));
    Some(load)
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
    queue.claimed(staged, Some(&[]));
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
    missed(&mut queue, 0);
    let load = load(&mut queue, &[entry(5, Class::Otp)]).unwrap();
    assert_eq!((load.after, load.limit), (0, load_of(READY_MAX)));
    arrive(&mut queue, vec![entry(5, Class::Otp), entry(6, Class::Otp)]);
    assert_eq!(orders(&mut queue), [5, 6]);
}

#[test]
fn a_line_that_is_full_leaves_the_rest_to_the_store_and_comes_back_without_a_gap() {
    let mut queue = queue();
    let most = u64::try_from(READY_MAX).unwrap();
    let all: Vec<Entry> = (1..=most + 5)
        .map(|order| entry(order, Class::Otp))
        .collect();
    arrive(&mut queue, all.clone());
    assert_eq!(
        queue.next_load(Class::Otp),
        None,
        "there is enough in memory"
    );
    for order in 1..=most - 100 {
        assert_eq!(take(&mut queue).map(|entry| entry.order), Some(order));
    }
    let load = queue.next_load(Class::Otp).unwrap();
    assert_eq!(load.after, most);
    assert_eq!(queue.next_load(Class::Otp), None, "one at a time");
    // One more comes while the load is under way: kept aside.
    arrive(&mut queue, vec![entry(most + 6, Class::Otp)]);
    let rest = all[READY_MAX..].to_vec();
    queue.loaded(Class::Otp, load, Some(rest), UnixMs(1));
    assert_eq!(
        orders(&mut queue),
        (most - 99..=most + 6).collect::<Vec<_>>()
    );
    assert_eq!(queue.next_load(Class::Otp), None, "whole again");
}

#[test]
fn a_load_that_failed_is_tried_again() {
    let mut queue = queue();
    missed(&mut queue, 0);
    let failed = queue.next_load(Class::Otp).unwrap();
    queue.loaded(Class::Otp, failed, None, UnixMs(1));
    assert_eq!(queue.next_load(Class::Otp), Some(failed));
}

#[test]
fn tenants_share_a_lane_and_keep_their_order() {
    let mut queue = queue();
    let few = 100;
    let many = (1..=5_000).map(|order| entry_of(1, order));
    let others =
        (1..=2).flat_map(|t| (1..=few).map(move |n| entry_of(1 + t, 10_000 * u64::from(t) + n)));
    arrive(&mut queue, many.collect());
    // What is claimed already goes first.
    take(&mut queue).unwrap();
    arrive(&mut queue, others.collect());
    let mut last = [0; 4];
    let mut served = [0; 4];
    while served[2] + served[3] < 2 * few {
        let entry = take(&mut queue).unwrap();
        let tenant = usize::from(entry.message.tenant.0);
        assert!(entry.order > last[tenant], "a tenant's order holds");
        last[tenant] = entry.order;
        served[tenant] += 1;
    }
    // A third each, but for what was claimed ahead and one turn.
    assert!(
        served[1] <= few + u64::try_from(AHEAD).unwrap() + 20,
        "{served:?}"
    );
    assert_eq!(
        orders(&mut queue).len(),
        usize::try_from(5_000 - 1 - served[1]).unwrap()
    );
}

#[test]
fn turns_are_counted_in_parts() {
    let mut queue = queue();
    let long = |order| Entry {
        parts: Parts::first(5),
        ..entry_of(1, order)
    };
    arrive(&mut queue, (1..=1_000).map(long).collect());
    arrive(
        &mut queue,
        (2_001..=3_000).map(|order| entry_of(2, order)).collect(),
    );
    let mut sent = [0; 3];
    for _ in 0..600 {
        let entry = take(&mut queue).unwrap();
        sent[usize::from(entry.message.tenant.0)] += u32::from(entry.parts.count());
    }
    assert!(sent[1].abs_diff(sent[2]) <= 40 + 5 * 20, "{sent:?}");
}

#[test]
fn the_store_is_read_for_every_tenant_and_memory_is_shared() {
    let mut queue = queue();
    let most = u64::try_from(READY_MAX).unwrap();
    let mut stored: Vec<Entry> = (1..=3 * most).map(|order| entry_of(1, order)).collect();
    stored.extend((1..=50u16).flat_map(|t| {
        (1..=400).map(move |n| entry_of(1 + t, 10 * most + 1_000 * u64::from(t) + n))
    }));
    for tenant in 1..=51 {
        missed(&mut queue, tenant);
    }
    let mut seen = [0u64; 52];
    for turn in 0..51 * 400 {
        while load(&mut queue, &stored).is_some() {}
        let entry = take(&mut queue).unwrap();
        let tenant = usize::from(entry.message.tenant.0);
        seen[tenant] += 1;
        if turn == 51 * 40 {
            let least = seen[1..].iter().min();
            assert!(least >= Some(&20), "none is left out: {seen:?}");
        }
        let memory = queue.lanes[0].lane.len();
        assert!(memory <= 3 * READY_MAX / 2, "{memory} entries");
    }
    assert!(seen[2..].iter().all(|seen| *seen == 400), "{seen:?}");
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
    queue.claimed(staged, Some(&[]));
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
    queue.claimed(staged, None);
    assert_eq!(orders(&mut queue), (11..=100).collect::<Vec<_>>());
}

#[test]
fn what_was_claimed_as_accepted_passes_by_and_never_overtakes() {
    let mut queue = queue();
    assert!(queue.stage(AHEAD).is_empty());
    let fresh = |order| {
        let message = Arc::unwrap_or_clone(entry(order, Class::Otp).message);
        Entry::fresh(Arc::new(message), Parts::first(1), true)
    };
    arrive(&mut queue, vec![fresh(1)]);
    assert_eq!(queue.credit(AHEAD)[0], 1 + 19);
    assert_eq!(queue.take().map(|entry| entry.order), Some(1));
    assert_eq!(queue.credit(AHEAD)[0], 1 + 20);
    arrive(&mut queue, vec![entry(2, Class::Otp), fresh(3)]);
    assert!(queue.take().is_none());
    let staged = queue.stage(AHEAD);
    arrive(&mut queue, vec![fresh(4)]);
    queue.claimed(staged, Some(&[]));
    arrive(&mut queue, vec![fresh(5)]);
    assert_eq!(orders(&mut queue), [2, 3, 4, 5]);
}

#[test]
fn what_needs_no_claim_stays_within_memory_and_shares_too() {
    let held = |tenant, order| {
        let message = Arc::unwrap_or_clone(entry_of(tenant, order).message);
        let held = Message {
            on_ambiguous: OnAmbiguous::Hold,
            ..message
        };
        Entry::fresh(Arc::new(held), Parts::first(1), false)
    };
    let mut queue = queue();
    assert!(queue.stage(AHEAD).is_empty());
    let most = u64::try_from(READY_MAX).unwrap();
    arrive(
        &mut queue,
        (1..=2 * most).map(|order| held(1, order)).collect(),
    );
    assert!(queue.lane(Class::Otp).len() <= READY_MAX + AHEAD);
    arrive(
        &mut queue,
        (1..=20).map(|n| held(2, 2 * most + n)).collect(),
    );
    let first: Vec<Entry> = (0..AHEAD + 80).filter_map(|_| take(&mut queue)).collect();
    let others = first
        .iter()
        .filter(|entry| entry.message.tenant == TenantIx(2));
    assert_eq!(others.count(), 20, "all of it within two turns each");
}

#[test]
fn credit_counts_what_the_feed_left_out() {
    let mut queue = queue();
    queue.arrive(FeedEntries {
        missed: true,
        missed_claimed: [3, 0, 0, 0],
        ..FeedEntries::default()
    });
    missed(&mut queue, 0);
    assert_eq!(
        queue.credit(AHEAD),
        [3, 20, 20, 20],
        "the line is behind: no room"
    );
}

#[test]
fn what_has_ended_meanwhile_is_not_staged() {
    let mut queue = queue();
    arrive(
        &mut queue,
        (1..=3).map(|order| entry(order, Class::Otp)).collect(),
    );
    let staged = queue.stage(AHEAD);
    queue.claimed(staged, Some(&[MessageId(2)]));
    assert_eq!(orders(&mut queue), [1, 3]);
}

#[test]
fn the_oldest_is_found_wherever_it_waits() {
    let accepted = |at, order| {
        let mut message = Arc::unwrap_or_clone(entry(order, Class::Otp).message);
        message.accepted_at = UnixMs(at);
        Entry::again(Arc::new(message), Parts::first(1), order, UnixMs(1_000))
    };
    let mut queue = queue();
    assert_eq!(queue.oldest(), None);
    arrive(&mut queue, vec![accepted(30, 3), accepted(40, 4)]);
    assert_eq!(queue.oldest(), Some(UnixMs(30)), "in its line");
    queue.retry(accepted(20, 2));
    assert_eq!(queue.oldest(), Some(UnixMs(20)), "waiting for its next try");
    queue.wake(UnixMs(1_000));
    let first = take(&mut queue).unwrap();
    assert_eq!(first.order, 2);
    assert_eq!(
        queue.oldest(),
        Some(UnixMs(30)),
        "what is out is not looked at"
    );
    queue.give_back(Entry {
        claimed: true,
        ..first
    });
    assert_eq!(queue.oldest(), Some(UnixMs(20)), "staged");
}

/// An entry to one of few destinations.
fn entry_to(order: u64, to: u64) -> Entry {
    let mut message = Arc::unwrap_or_clone(entry(order, Class::Otp).message);
    message.to = phone(to);
    Entry::again(Arc::new(message), Parts::first(1), order, UnixMs::ZERO)
}

#[test]
fn the_next_to_a_destination_goes_when_the_one_before_it_is_done_with() {
    let mut queue = queue();
    let all = [(1, 7), (2, 7), (3, 8), (4, 7)];
    arrive(
        &mut queue,
        all.map(|(order, to)| entry_to(order, to)).to_vec(),
    );
    let first = take(&mut queue).unwrap();
    assert_eq!(first.order, 1);
    assert_eq!(take(&mut queue).unwrap().order, 3, "another destination");
    assert_eq!(take(&mut queue).map(|entry| entry.order), None);
    assert_eq!((queue.beside(), queue.is_empty()), (2, true));
    // It waits for its next try, and comes back from there.
    let due = UnixMs(100);
    queue.retry(Entry { due, ..first });
    assert_eq!(take(&mut queue).map(|entry| entry.order), None);
    queue.wake(due);
    let again = take(&mut queue).unwrap();
    assert_eq!(again.order, 1);
    queue.done(&again.message);
    // Said twice, it does not let two go.
    queue.done(&again.message);
    assert_eq!(orders(&mut queue), [2]);
    queue.done(&entry_to(2, 7).message);
    assert_eq!((orders(&mut queue), queue.beside()), (vec![4], 0));
}

#[test]
fn a_try_that_is_due_later_after_a_restart_holds_its_destination() {
    let mut queue = queue();
    missed(&mut queue, 0);
    let mut later = entry_to(1, 7);
    later.due = UnixMs(1_000);
    load(&mut queue, &[later, entry_to(2, 7), entry_to(3, 8)]).unwrap();
    assert_eq!(orders(&mut queue), [3]);
    queue.wake(UnixMs(1_000));
    assert_eq!(orders(&mut queue), [1]);
}

/// An entry of a class to a destination of its own, whose next try was due at a time.
fn again(order: u64, class: Class, due: u64) -> Entry {
    let due = UnixMs(due);
    Entry {
        due,
        ..entry(order, class)
    }
}

#[test]
fn what_is_due_and_may_not_go_yet_waits_one_time_codes_the_least() {
    let mut queue = queue();
    queue.retry(again(1, Class::Promotional, 10));
    queue.retry(again(2, Class::Otp, 30));
    queue.retry(again(3, Class::Otp, 20));
    queue.retry(again(4, Class::Otp, 900));
    let mut left = 0;
    let mut budget = |_: &Entry| {
        left -= 1;
        left >= 0
    };
    assert!(queue.wake_while(UnixMs(100), &mut budget), "nothing may");
    assert_eq!((orders(&mut queue), queue.retries()), (vec![], 4));
    left = 1;
    let mut budget = |_: &Entry| {
        left -= 1;
        left >= 0
    };
    assert!(queue.wake_while(UnixMs(100), &mut budget));
    assert_eq!(orders(&mut queue), [3]);
    assert_eq!(queue.next_due(), Some(UnixMs(10)));
    assert!(!queue.wake_while(UnixMs(100), |_| true));
    assert_eq!(orders(&mut queue), [1, 2], "by the lanes' turns");
    assert_eq!((queue.next_due(), queue.retries()), (Some(UnixMs(900)), 1));
}

#[test]
fn a_class_of_which_too_much_waits_for_its_next_try_keeps_no_other_from_going() {
    let mut queue = queue();
    for order in 0..RETRIES_MAX as u64 {
        queue.retry(again(order, Class::Promotional, 10));
    }
    let (bulk, code) = (1_000_000, 1_000_001);
    arrive(&mut queue, vec![entry(bulk, Class::Promotional)]);
    assert!(queue.is_full(Class::Promotional) && queue.is_stuck());
    arrive(&mut queue, vec![entry(code, Class::Otp)]);
    assert!(!queue.is_full(Class::Otp) && !queue.is_stuck());
    assert_eq!(orders(&mut queue), [code]);
    assert!(queue.is_stuck());
    // One that is due makes room for itself and for the next.
    queue.wake_while(UnixMs(10), |waiting| waiting.order == 0);
    let mut gone = orders(&mut queue);
    gone.sort_unstable();
    assert_eq!(gone, [0, bulk]);
}

#[test]
fn what_waits_for_its_next_try_can_be_taken_out_and_lets_the_next_one_go() {
    let mut queue = queue();
    let due = UnixMs(10);
    queue.retry(Entry {
        due,
        ..entry_to(1, 7)
    });
    queue.retry(Entry {
        due,
        ..entry_to(2, 8)
    });
    arrive(&mut queue, vec![entry_to(3, 7)]);
    assert_eq!(orders(&mut queue), Vec::<u64>::new());
    let taken = queue.take_waiting_where(|entry| entry.order == 1);
    assert_eq!(taken.len(), 1);
    assert_eq!(orders(&mut queue), [3]);
    assert_eq!(queue.retries(), 1);
    assert!(
        queue
            .take_waiting_where(|entry| entry.order == 1)
            .is_empty()
    );
}

#[test]
fn what_waits_for_another_one_ends_in_its_time_and_lets_the_next_one_go() {
    let mut queue = queue();
    let all: Vec<Entry> = (1..=4).map(|order| entry_to(order, 7)).collect();
    arrive(&mut queue, all);
    let first = take(&mut queue).unwrap();
    let second = queue.take_where(10, |entry| entry.order == 2);
    assert_eq!((second.len(), queue.beside()), (1, 2));
    queue.done(&first.message);
    // Staged, and over before it was taken.
    let staged = queue.stage(AHEAD);
    queue.claimed(staged, Some(&[]));
    assert_eq!(queue.take_where(10, |entry| entry.order == 3).len(), 1);
    assert_eq!(orders(&mut queue), [4]);
}

#[test]
fn a_tenant_with_a_line_full_of_one_destination_holds_up_itself_only() {
    let mut queue = queue();
    let most = u64::try_from(READY_MAX).unwrap();
    let flood = (1..=most + 50).map(|order| entry_to(order, 7));
    arrive(&mut queue, flood.collect());
    assert_eq!(orders(&mut queue), [1]);
    assert_eq!(
        queue.beside(),
        READY_MAX - 1,
        "the rest is left to the store"
    );
    assert_eq!(queue.next_load(Class::Otp), None);
    arrive(&mut queue, vec![entry_of(1, 100_000)]);
    assert_eq!(orders(&mut queue), [100_000]);
    // No more than that is claimed ahead.
    assert!(queue.credit(AHEAD)[0] <= u64::try_from(AHEAD).unwrap());
}

proptest! {
    /// Whatever becomes of each try, in whatever order: a destination's messages are done with in the
    /// order of acceptance, at most one of them is under way, and none is forgotten.
    #[test]
    fn a_destination_keeps_its_order_through_anything(
        steps in prop::collection::vec((0u8..8, 0u64..4, any::<prop::sample::Index>()), 1..400),
    ) {
        let mut queue = queue();
        let mut next = 0;
        let mut now = 0;
        let mut out: Vec<Entry> = Vec::new();
        let mut done: Vec<(Phone, u64)> = Vec::new();
        let mut ended = 0;
        for (step, number, which) in steps {
            let pick = |out: &mut Vec<Entry>| {
                (!out.is_empty()).then(|| out.swap_remove(which.index(out.len())))
            };
            match step {
                0 | 1 => {
                    next += 1;
                    arrive(&mut queue, vec![entry_to(next, number)]);
                }
                2 | 3 => if let Some(entry) = take(&mut queue) {
                    prop_assert!(out.iter().all(|other| other.message.to != entry.message.to));
                    out.push(entry);
                },
                4 => if let Some(entry) = pick(&mut out) {
                    queue.done(&entry.message);
                    done.push((entry.message.to, entry.order));
                },
                5 => if let Some(entry) = pick(&mut out) {
                    queue.give_back(entry);
                },
                6 => if let Some(entry) = pick(&mut out) {
                    let (message, parts, order) = (entry.message, entry.parts, entry.order);
                    queue.retry(Entry::again(message, parts, order, UnixMs(now + number * 10)));
                },
                _ => {
                    now += 10;
                    queue.wake(UnixMs(now));
                    let over = which.index(40);
                    let over = queue.take_where(1, |e| e.order % 40 == u64::try_from(over).unwrap());
                    ended += over.len();
                }
            }
        }
        for entry in out.drain(..) {
            queue.give_back(entry);
        }
        queue.wake(UnixMs(u64::MAX));
        while let Some(entry) = take(&mut queue) {
            queue.done(&entry.message);
            done.push((entry.message.to, entry.order));
        }
        prop_assert_eq!(done.len() + ended, usize::try_from(next).unwrap());
        prop_assert_eq!((queue.beside(), queue.is_empty()), (0, true));
        for number in 0..4 {
            let of = |(to, order): &(Phone, u64)| (*to == phone(number)).then_some(*order);
            let orders: Vec<u64> = done.iter().filter_map(of).collect();
            prop_assert!(orders.is_sorted(), "{orders:?}");
        }
    }
}
