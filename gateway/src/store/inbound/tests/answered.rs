//! What handsets' messages answer: through restarts, the archive, and other tenants' messages.

use super::*;
use crate::message::{MessageId, Phone};
use crate::store::tests::{accept_one, accepted, delivered, draft};

const HANDSET: &str = "+46701234567";
const DAY_MS: u64 = 24 * 3_600_000;

impl World {
    /// Accepts a message to the handset; a carrier takes it, when `sent`.
    async fn send(&self, from: &str, tenant: u16, sent: bool) -> MessageId {
        let mut draft = draft(1, 1);
        draft.message.tenant = TenantIx(tenant);
        draft.message.to = Phone::parse(HANDSET).unwrap();
        let texts = [from, "hello", "", "", "", "", "", "", "", ""];
        draft.message.texts = crate::message::Texts::pack(texts).unwrap();
        let id = accept_one(&self.store(), draft).await;
        if sent {
            let settle = accepted(id, 0, &format!("p{}", id.0));
            self.store().settle(vec![settle]).await.unwrap();
        }
        id
    }

    /// What a message from the handset is told to answer.
    async fn answers(&self, number: &str) -> Value {
        let mut one = part(None, "yes, please");
        one.to = number.into();
        self.receive(vec![one]).await;
        let told = self.told().await;
        let last = told.iter().rfind(|told| told["type"] == "inbound.received");
        last.expect("told")["data"]["in_reply_to"].clone()
    }

    fn shown(&self, id: MessageId) -> Value {
        self.store().ids().message(id).to_string().into()
    }
}

#[tokio::test]
async fn the_newest_message_that_a_carrier_took_from_the_number_is_answered() {
    let mut world = World::new();
    assert_eq!(world.answers("71234").await, Value::Null);
    world.send("71234", 0, true).await;
    let newest = world.send("71234", 0, true).await;
    world.send("71234", 0, false).await;
    world.send("ACME", 0, true).await;
    world.send("+46769440001", 0, true).await;
    let newest = world.shown(newest);
    assert_eq!(world.answers("71234").await, newest);
    world.reopen();
    assert_eq!(world.answers("71234").await, newest, "after a restart");
}

#[tokio::test]
async fn what_memory_has_given_to_the_archive_is_found_there_for_seven_days() {
    let mut world = World::new();
    let id = world.send("71234", 0, true).await;
    world.send("ACME", 0, true).await;
    world.send("71234", 0, false).await;
    let newest = world.shown(id);
    world.store().archive_now().await;
    world.reopen();
    // It waits for its receipt: in `pending`.
    assert_eq!(world.answers("71234").await, newest);
    let receipt = delivered(&format!("p{}", id.0));
    world.store().apply_receipts(vec![receipt]).await.unwrap();
    world.store().archive_now().await;
    world.reopen();
    // In the day's history.
    assert_eq!(world.answers("71234").await, newest);
    assert_eq!(world.answers("71235").await, Value::Null);
    let made = id.made_at().0;
    world.clock.set(UnixMs(made + 7 * DAY_MS));
    assert_eq!(world.answers("71234").await, newest);
    world.clock.set(UnixMs(made + 7 * DAY_MS + 1));
    assert_eq!(world.answers("71234").await, Value::Null, "too old");
}

#[tokio::test]
async fn an_old_message_in_memory_is_not_answered_either() {
    let world = World::new();
    let id = world.send("71234", 0, true).await;
    world.clock.set(UnixMs(id.made_at().0 + 7 * DAY_MS + 1));
    assert_eq!(world.answers("71234").await, Value::Null);
}

#[tokio::test]
async fn another_tenants_message_is_not_named() {
    let mut world = World::new();
    world.send("71234", 1, true).await;
    assert_eq!(world.answers("71234").await, Value::Null);
    world.store().archive_now().await;
    world.reopen();
    assert_eq!(world.answers("71234").await, Value::Null);
}

#[tokio::test]
async fn a_message_in_parts_answers_what_its_parts_do_also_when_it_is_given_up() {
    let mut world = World::new();
    let id = world.send("71234", 0, true).await;
    world.receive(vec![part(Some((7, 2, 1)), "yes")]).await;
    world.reopen();
    world.clock.set(UnixMs(START + 600_000));
    world.receive(Vec::new()).await;
    let told = world.told().await;
    let last = &told.last().expect("told")["data"];
    assert_eq!(
        (&last["incomplete"], &last["in_reply_to"]),
        (&true.into(), &world.shown(id))
    );
}

#[tokio::test]
async fn what_was_sent_between_two_parts_is_what_their_message_answers() {
    let world = World::new();
    world.send("71234", 0, true).await;
    world.receive(vec![part(Some((7, 2, 1)), "yes, ")]).await;
    let newer = world.send("71234", 0, true).await;
    world.receive(vec![part(Some((7, 2, 2)), "please")]).await;
    let told = world.told().await;
    let last = &told.last().expect("told")["data"];
    assert_eq!(last["in_reply_to"], world.shown(newer));
}
