//! A keyword in the store: whom it counts for, and what happens where there is no room for it.

use super::*;
use crate::inbound::Acknowledged;
use crate::message::{Class, Phone};
use crate::store::Refused;
use crate::store::suppressions::tests::{cause, new};
use crate::store::{NewSuppression, Suppressed};
use crate::suppression::{Scope, Source};

const HANDSET: &str = "+46701234567";

/// A world of the tenants acme, beta and gamma with these senders; gamma may send from any number.
fn world(only: Option<&str>, senders: &[(&str, &str)]) -> World {
    let dir = TempDir::new();
    let mut config = setup(&dir);
    config.tenants = ["acme", "beta", "gamma"].map(String::from).to_vec();
    config.inbound.only_tenant = only.map(str::to_owned);
    let pair = |(number, tenant): &(&str, &str)| ((*number).to_owned(), (*tenant).to_owned());
    config.inbound.senders = senders.iter().map(pair).collect();
    config.inbound.send_as_any = vec!["gamma".to_owned()];
    let clock = Clock::manual(UnixMs(START));
    let (store, _) = Store::open(config, clock.clone()).unwrap();
    let store = Some(store);
    World { dir, clock, store }
}

fn said(to: &str, text: &str) -> InboundPart {
    InboundPart {
        to: to.into(),
        ..part(None, text)
    }
}

impl World {
    /// Which of the three tenants must not send to the handset from a number.
    fn suppressed(&self, from: &str) -> [bool; 3] {
        let phone = Phone::parse(HANDSET).unwrap();
        [0, 1, 2].map(|tenant| {
            let hit = self
                .store()
                .suppressed(TenantIx(tenant), phone, from, Class::Otp);
            hit.is_some()
        })
    }
}

#[tokio::test]
async fn stop_to_a_number_that_tenants_share_counts_for_all_who_send_from_it() {
    let world = world(None, &[("99999", "acme"), ("99999", "beta")]);
    world.receive(vec![said("99999", "STOP")]).await;
    assert_eq!(world.suppressed("99999"), [true, true, true]);
    assert_eq!(world.suppressed("88888"), [false; 3], "another number");
    let told = world.told().await;
    let opted_out: Vec<&Value> = told
        .iter()
        .filter(|told| told["type"] == "recipient.opted_out")
        .collect();
    assert_eq!(opted_out.len(), 3, "each tenant hears of it");
    for one in opted_out {
        let inbound = &one["data"]["inbound_id"];
        assert_eq!(*inbound, Value::Null, "the message is none of theirs");
    }
    world.receive(vec![said("99999", "START")]).await;
    assert_eq!(world.suppressed("99999"), [false; 3]);
}

#[tokio::test]
async fn stop_to_somebodys_number_counts_for_its_owner_and_those_who_list_it() {
    let world = world(None, &[("71234", "beta")]);
    world.receive(vec![said("71234", "STOP")]).await;
    assert_eq!(world.suppressed("71234"), [true, true, false]);
}

#[tokio::test]
async fn the_only_tenant_has_every_number() {
    let world = world(Some("acme"), &[]);
    world.receive(vec![said("+4676944", "STOP")]).await;
    assert!(world.suppressed("+4676944")[0]);
    let told = world.told().await;
    let inbound = told.iter().find(|told| told["type"] == "inbound.received");
    assert_eq!(inbound.unwrap()["tenant"], "acme");
}

#[tokio::test]
async fn stop_without_room_is_not_acknowledged_and_not_told() {
    let dir = TempDir::new();
    let mut config = setup(&dir);
    config.suppressions = 1_000;
    let clock = Clock::manual(UnixMs(START));
    let (store, _) = Store::open(config, clock.clone()).unwrap();
    let word = |number| NewSuppression {
        cause: cause(Source::Keyword, "STOP"),
        ..new(number, Scope::All)
    };
    let mut number = 0;
    while let Suppressed::Added(_) = store.suppress(vec![word(number)]).await.unwrap()[0] {
        number += 1;
        assert!(number < 1_000, "there is a limit");
    }
    let store = Some(store);
    let world = World { dir, clock, store };
    let before = world.told().await;
    let again = world.store().receive(vec![said("71234", "STOP")]).await;
    assert_eq!(
        again,
        Err(Refused::Overloaded),
        "the carrier sends it again"
    );
    assert_eq!(world.told().await, before);
    // What asks for no room goes in.
    world.receive(vec![said("71234", "Hello")]).await;
    assert_eq!(world.told().await.len(), before.len() + 1);
}

#[tokio::test]
async fn what_a_handset_acknowledges_asks_for_nothing() {
    let world = World::new();
    world.receive(vec![said("71234", "STOP")]).await;
    let before = world.told().await.len();
    for (acknowledges, text) in [
        (Acknowledged::User, "YES"),
        (Acknowledged::Delivery, "START"),
        (Acknowledged::User, "BOOK A TABLE"),
    ] {
        let acknowledges = Some(acknowledges);
        let ack = InboundPart {
            acknowledges,
            ..said("71234", text)
        };
        world.receive(vec![ack]).await;
    }
    assert!(world.suppressed("71234")[0], "no START of a person's");
    world.store().archive_now().await;
    let told = world.told().await.split_off(before);
    let named: Vec<[&Value; 4]> = told
        .iter()
        .map(|told| ["acknowledges", "text", "keyword", "intent"].map(|key| &told["data"][key]))
        .collect();
    let none = &Value::Null;
    let words = ["user", "YES", "delivery", "START", "user", "BOOK A TABLE"].map(Value::from);
    let [user, yes, delivery, start, third, book] = &words;
    assert_eq!(
        named,
        [
            [user, yes, none, none],
            [delivery, start, none, none],
            [third, book, none, none],
        ]
    );
}

#[tokio::test]
async fn start_lifts_what_is_of_its_sender_whoever_made_it_and_nothing_of_another_scope() {
    let world = World::new();
    let sender = |number: &str| Scope::parse("sender", number).unwrap();
    for source in [Source::Api, Source::Import] {
        for scope in [sender("71234"), sender("99999"), Scope::Class(Class::Otp)] {
            let mut one = new(0, scope);
            one.key.phone = Phone::parse(HANDSET).unwrap();
            one.cause = cause(source, "asked by letter");
            world.store().suppress(vec![one]).await.unwrap();
        }
        let before = world.told().await.len();
        world.receive(vec![said("71234", "START")]).await;
        let told = world.told().await.split_off(before);
        let lifted = told
            .iter()
            .filter(|told| told["type"] == "recipient.opted_in");
        let scopes: Vec<&Value> = lifted.map(|told| &told["data"]["scope"]["value"]).collect();
        assert_eq!(scopes, ["71234"], "{source:?}");
    }
    let class = |class| {
        let phone = Phone::parse(HANDSET).unwrap();
        ["71234", "99999"].map(|from| {
            let hit = world.store().suppressed(TenantIx(0), phone, from, class);
            hit.is_some()
        })
    };
    assert_eq!(class(Class::Otp), [true, true], "the class's stays");
    assert_eq!(
        class(Class::Promotional),
        [false, true],
        "its own is lifted"
    );
}
