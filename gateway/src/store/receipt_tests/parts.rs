//! For which parts of long messages receipts come: told when it is seen, and nothing follows from it.

use super::*;
use crate::outcome::PartRule;

/// A message of three parts, all taken, gets receipts of these parts.
async fn long(world: &World, number: u64, receipted: &[u8]) -> MessageId {
    let id = accept_one(world.store(), draft(number, 3)).await;
    let name = |part: u8| format!("id-{number}-{part}");
    let settles = (0..3).map(|part| Settle {
        last: part == 2,
        ..accepted(id, part, &name(part))
    });
    world.store().settle(settles.collect()).await.unwrap();
    for part in receipted {
        world.receipt(&name(*part), Some(number)).await;
    }
    id
}

#[tokio::test]
async fn first_only_is_seen_kept_over_restarts_and_taken_back() {
    let mut world = World::new(IdFormat::Auto, Transform::default());
    let timeout = |world: &World| world.pass(31 * 86_400);
    for number in 0..19u64 {
        long(&world, number, &[0]).await;
    }
    // What ends before its time says nothing, nor does one without any receipt.
    long(&world, 30, &[]).await;
    timeout(&world);
    assert_eq!(world.store().expire().await, 20);
    assert_eq!(world.store().learned(ROUTE).looks_like(), None);
    world.restart();
    let last = long(&world, 40, &[0]).await;
    timeout(&world);
    assert_eq!(world.store().expire().await, 1);
    world.restart();
    let looks_like = |world: &World| world.store().learned(ROUTE).looks_like();
    assert_eq!(looks_like(&world), Some(PartRule::First));
    assert_eq!(world.status(last).await, Status::Unknown, "nothing follows");
    let other = long(&world, 50, &[0]).await;
    assert_eq!(world.status(other).await, Status::Sent);
    world.receipt("id-50-1", Some(50)).await;
    assert_eq!(looks_like(&world), None, "others come as well");
}

#[tokio::test]
async fn a_middle_part_and_a_mixture_are_neither_end() {
    let world = World::new(IdFormat::Auto, Transform::default());
    for number in 0..60u64 {
        let parts: &[u8] = match number % 20 {
            7 => &[1],
            12 => &[0, 1],
            _ => &[2],
        };
        long(&world, number, parts).await;
        world.pass(31 * 86_400);
        world.store().expire().await;
        let learned = world.store().learned(ROUTE);
        assert_eq!(learned.looks_like(), None, "{number}");
    }
}
