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
