//! Memory that is used up: files wait first, staff next, and a handset's word goes in.

use super::*;
use crate::message::{Class, Phone};
use crate::store::suppressions::tests::{cause, new};
use crate::store::{NewSuppression, Refused};
use crate::suppression::{Scope, Source};

/// Octets of `limits.memory`: little, so that there is an end to it.
const MEMORY: usize = 4 << 20;
/// Lines of one call.
const GROUP: u64 = 500;

/// A world whose archiver writes nothing.
fn stuck() -> World {
    let dir = TempDir::new();
    let mut config = setup(&dir);
    config.memory = u64::try_from(MEMORY).unwrap();
    let clock = Clock::manual(UnixMs(START));
    let (store, _) = Store::open(config, clock.clone()).unwrap();
    store.stop_archiver_at(1);
    let store = Some(store);
    World { dir, clock, store }
}

impl World {
    /// Adds suppressions with the longest texts until no more are taken; tells how much memory is
    /// used then. `first` is the number of the first one.
    async fn fill(&self, source: Source, mut first: u64) -> usize {
        let store = self.store();
        let last = first + 100 * GROUP;
        let text = "\u{10348}".repeat(255);
        while first < last {
            let one = |number| NewSuppression {
                cause: cause(source, &text),
                ..new(number, Scope::All)
            };
            let group = (first..first + GROUP).map(one).collect();
            match store.suppress(group).await {
                Ok(added) => assert!(added.iter().all(|one| one.id().is_some())),
                Err(refused) => {
                    assert_eq!(refused, Refused::Overloaded);
                    return self.used();
                }
            }
            first += GROUP;
        }
        panic!("{} octets are used and nothing is refused", self.used());
    }

    fn used(&self) -> usize {
        self.store().figures().young_bytes
    }

    fn is_free(&self, handset: &str) -> bool {
        let phone = Phone::parse(handset).unwrap();
        let hit = self
            .store()
            .suppressed(TenantIx(0), phone, "71234", Class::Otp);
        hit.is_none()
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_waits_before_memory_is_used_up_and_a_stop_goes_in_when_it_is() {
    let world = stuck();
    let by_file = world.fill(Source::Import, 1_000_000).await;
    assert!(by_file < MEMORY, "{by_file}: the rest is for others");
    let by_hand = world.fill(Source::Api, 2_000_000).await;
    assert!(
        (MEMORY..MEMORY + (1 << 20)).contains(&by_hand),
        "{by_hand}: one call beyond it"
    );
    let id = world.store().suppression_figures().count;
    assert!(id > 2 * GROUP);
    let handset = "+46701234567";
    assert!(world.is_free(handset));
    world.receive(vec![part(None, "STOP")]).await;
    assert!(!world.is_free(handset), "a recipient's word");
    world.receive(vec![part(None, "START")]).await;
    assert!(world.is_free(handset));
}

#[tokio::test(start_paused = true)]
async fn what_handsets_write_is_bounded_too() {
    let world = stuck();
    world.fill(Source::Api, 1_000_000).await;
    let text = "x".repeat(160);
    for _ in 0..100 {
        let parts = (0..100).map(|_| part(None, &text)).collect();
        if let Err(refused) = world.store().receive(parts).await {
            assert_eq!(refused, Refused::Overloaded);
            let used = world.used();
            let limit = MEMORY / 4 * 5;
            assert!((limit..limit + (1 << 20)).contains(&used), "{used}");
            return;
        }
    }
    panic!("{} octets are used and nothing is refused", world.used());
}
