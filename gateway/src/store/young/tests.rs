//! Receipts that wait or were given up are bounded, and the oldest goes first.

use super::*;
use crate::store::tests::delivered;
use crate::store::{OrphanWhy, Stray};

#[test]
fn receipts_that_wait_are_bounded_and_the_oldest_makes_room() {
    let mut young = Young::new(1 << 20, 1, 1, UnixMs(1));
    for number in 0..PARKED_MAX {
        assert_eq!(young.park(delivered(&format!("p{number}"))), []);
    }
    let count = |young: &Young| young.parked.values().map(Vec::len).sum::<usize>();
    let given_up = young.park(delivered("one more"));
    assert_eq!(given_up, [delivered("p0")]);
    assert_eq!(count(&young), PARKED_MAX);
    // One that has found its message since makes room by itself.
    let found = keys::carrier_canonical(RouteIx(0), b"p1");
    assert_eq!(young.unpark(found), [delivered("p1")]);
    assert_eq!(young.park(delivered("another")), []);
    assert_eq!(count(&young), PARKED_MAX);
}

fn of_route(route: u16, id: &str) -> Receipt {
    Receipt {
        route: RouteIx(route),
        ..delivered(id)
    }
}

#[test]
fn a_route_whose_receipts_find_nothing_makes_room_among_its_own() {
    let mut young = Young::new(1 << 20, 1, 1, UnixMs(1));
    let quiet = of_route(1, "quiet");
    assert_eq!(young.park(quiet.clone()), []);
    for number in 1..PARKED_MAX {
        assert_eq!(young.park(of_route(0, &format!("p{number}"))), []);
    }
    for number in 1..10 {
        let given_up = young.park(of_route(0, &format!("more{number}")));
        assert_eq!(given_up, [of_route(0, &format!("p{number}"))]);
    }
    // Also when it is the quiet one that needs room.
    let given_up = young.park(of_route(1, "another"));
    assert_eq!(given_up, [of_route(0, "p10")]);
    let mut looked_for = 0;
    let mut found_quiet = 0;
    while let (_, over) = young.waited((UnixMs(0), UnixMs(u64::MAX)), 500)
        && !over.is_empty()
    {
        looked_for += over.len();
        found_quiet += usize::from(over.contains(&quiet));
    }
    assert_eq!((looked_for, found_quiet), (PARKED_MAX, 1), "each once");

    let orphan = |receipt| Orphan {
        receipt: Stray::Read(receipt),
        why: OrphanWhy::NoMessage,
        at: UnixMs(1),
    };
    young.orphan(orphan(quiet.clone()));
    for number in 0..2 * ORPHANS_MAX {
        young.orphan(orphan(of_route(0, &format!("p{number}"))));
    }
    assert_eq!(young.orphans.len(), ORPHANS_MAX);
    assert_eq!(young.orphans.front(), Some(&orphan(quiet)));
    let oldest = format!("p{}", ORPHANS_MAX + 1);
    assert_eq!(young.orphans.get(1), Some(&orphan(of_route(0, &oldest))));
}

#[test]
fn what_has_found_its_message_does_not_pile_up_in_the_queues() {
    let mut young = Young::new(1 << 20, 1, 1, UnixMs(1));
    young.park(delivered("stays"));
    for number in 0..10_000 {
        let id = format!("p{number}");
        young.park(delivered(&id));
        young.unpark(keys::carrier_canonical(RouteIx(0), id.as_bytes()));
    }
    let mut entries = 0;
    while young.parked_order.pop_of_fullest().is_some() {
        entries += 1;
    }
    assert!((1..2_000).contains(&entries), "{entries}");
    assert_eq!(young.parked_order.waiting(), 1);
}

#[test]
fn receipts_that_were_given_up_are_bounded_and_the_oldest_goes() {
    let mut young = Young::new(1 << 20, 1, 1, UnixMs(1));
    let orphan = |number: usize| Orphan {
        receipt: Stray::Read(delivered(&format!("p{number}"))),
        why: OrphanWhy::NoMessage,
        at: UnixMs(1),
    };
    for number in 0..=ORPHANS_MAX {
        young.orphan(orphan(number));
    }
    assert_eq!(young.orphans.len(), ORPHANS_MAX);
    assert_eq!(young.orphans.front(), Some(&orphan(1)));
    assert_eq!(young.orphans.back(), Some(&orphan(ORPHANS_MAX)));
}
