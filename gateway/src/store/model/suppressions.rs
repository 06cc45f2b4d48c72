//! Suppressions of the model: what is added and ended, and who is covered whenever that is looked at.

use super::*;
use crate::store::suppressions::tests::{cause, new};
use crate::store::{NewSuppression, Suppressed, SuppressionQuery};
use crate::suppression::{Key, Scope, Source};

/// A suppression that the model knows.
#[derive(Clone, Debug)]
pub(super) struct Held {
    id: MessageId,
    expires: Option<u64>,
}

/// One of a few keys.
fn key(number: usize) -> Key {
    let scopes = [
        Scope::All,
        Scope::Sender("ACME".into()),
        Scope::Class(Class::Promotional),
    ];
    let number_of = number as u64 / 3 % 4;
    let mut new = new(number_of, scopes[number % 3].clone());
    new.key.tenant = TenantIx(u16::from(number_of == 3));
    new.key
}

impl World {
    pub(super) async fn suppress(&mut self, number: usize, short: bool) {
        let key = key(number);
        let source = match number.is_multiple_of(2) {
            true => Source::Api,
            false => Source::Import,
        };
        let expires = short.then_some(self.now + HOUR_MS);
        let item = NewSuppression {
            key: key.clone(),
            cause: cause(source, "model"),
            expires_at: expires.map(UnixMs),
        };
        let answer = self.store().suppress(vec![item]).await.unwrap().remove(0);
        let now = self.now;
        let held = self.held.get(&key).filter(|held| is_on(held, now));
        let lasts = held.filter(|held| held.expires.is_none() || held.expires >= expires && short);
        match (answer, lasts) {
            (Suppressed::There(id), Some(held)) => assert_eq!(id, held.id),
            (Suppressed::Added(id), None) => {
                if source != Source::Import {
                    self.log.push((EventKind::RecipientOptedOut, id, 0));
                }
                self.log.push((EventKind::SuppressionCreated, id, 0));
                self.held.insert(key, Held { id, expires });
            }
            (answer, lasts) => panic!("{answer:?}, but known was {lasts:?}"),
        }
    }

    pub(super) async fn unsuppress(&mut self, number: usize) {
        let key = key(number);
        let Some(held) = self.held.remove(&key) else {
            return;
        };
        let ended = self
            .store()
            .unsuppress(None, held.id, cause(Source::Api, "model"))
            .await
            .unwrap();
        assert_eq!(ended.is_some(), is_on(&held, self.now), "{held:?}");
        if ended.is_some() {
            self.log.push((EventKind::RecipientOptedIn, held.id, 0));
            self.log.push((EventKind::SuppressionDeleted, held.id, 0));
        }
    }

    /// Whether a message to be accepted now is kept back.
    pub(super) fn covers(&self, message: &Message) -> bool {
        let scopes = [Scope::All, Scope::Sender("ACME".into())];
        scopes.into_iter().any(|scope| {
            let key = Key {
                tenant: message.tenant,
                phone: message.to,
                scope,
            };
            let held = self.held.get(&key);
            held.is_some_and(|held| is_on(held, self.now))
        })
    }

    pub(super) async fn check_suppressions(&self) {
        let (store, now) = (self.store(), self.now);
        let holds = |key: &Key| self.held.get(key).filter(|held| is_on(held, now));
        for number in 0..12 {
            let asked = key(number);
            let covering = (number / 3 * 3..).take(3).map(key);
            let covering: Vec<MessageId> = covering
                .filter_map(|key| holds(&key).map(|held| held.id))
                .collect();
            let from = "+acme";
            let hit = store.suppressed(asked.tenant, asked.phone, from, Class::Promotional);
            assert_eq!(hit.is_some(), !covering.is_empty(), "{asked:?}");
            assert!(hit.is_none_or(|id| covering.contains(&id)), "{asked:?}");
        }
        let mut expected: Vec<MessageId> = self
            .held
            .keys()
            .filter_map(|key| holds(key).map(|held| held.id))
            .collect();
        expected.sort_unstable_by(|a, b| b.cmp(a));
        let mut listed = Vec::new();
        let mut query = SuppressionQuery {
            limit: 2,
            ..SuppressionQuery::default()
        };
        loop {
            let page = store.suppressions(query.clone()).await.unwrap();
            listed.extend(page.suppressions.iter().map(|one| one.id));
            query.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(listed, expected, "the list");
    }
}

fn is_on(held: &Held, now: u64) -> bool {
    held.expires.is_none_or(|at| at > now)
}
