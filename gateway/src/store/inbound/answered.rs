//! Answered: which message of ours a handset's message may answer: the newest one that a carrier took
//! from the number it was written to, to who wrote it (contract.md §3, `in_reply_to`).
//!
//! Memory knows the newest to most pairs, in a table of fixed size; of the others the archive's index by
//! recipient is asked, before the writer. Best effort: where two pairs share a place in the table, the
//! one that was sent to earlier is found only once it is in the archive.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::clock::UnixMs;
use crate::inbound::InboundPart;
use crate::message::{Message, MessageId, Phone, TenantIx, Text};
use crate::store::handle::Store;
use crate::store::shared::Shared;
use crate::store::{Query, SentFrom};

/// How long a message may have been answered (contract.md §3: 7 days).
const WITHIN_MS: u64 = 7 * 24 * 3_600_000;
/// Places in the table: 1.5 MB. Chosen: the sends to other pairs between two visits of the archiver are
/// at most a few times as many, and those of a conversation are rarely the ones that are displaced.
const PLACES: usize = 65_536;
/// Pairs that one call asks the archive for; the others' messages answer nothing. Chosen: about 10 ms
/// of reading, so that a flood of handsets' messages is not kept waiting for its acknowledgements.
const PAIRS_MAX: usize = 64;
/// Messages to a recipient that the archive looks at.
const ROWS_MAX: usize = 32;

/// The newest message that was sent to a pair, for the pairs that were sent to last.
#[derive(Debug)]
pub(crate) struct Latest {
    places: Box<[Place]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u64,
    id: MessageId,
    tenant: TenantIx,
}

impl Default for Latest {
    fn default() -> Self {
        Self {
            places: vec![Place::default(); PLACES].into_boxed_slice(),
        }
    }
}

impl Latest {
    /// A carrier took a message. What is sent by name cannot be answered.
    pub(crate) fn note(&mut self, message: &Message) {
        let from = message.text(Text::From);
        self.insert(from, message.to, message.tenant, message.id);
    }

    fn insert(&mut self, from: &str, to: Phone, tenant: TenantIx, id: MessageId) {
        if !is_number(from) {
            return;
        }
        let key = key(from, to);
        if let Some(place) = self.places.get_mut(place_of(key)) {
            *place = Place { key, id, tenant };
        }
    }

    /// The newest message from a number to a phone, and whose it is.
    fn get(&self, from: &str, to: Phone) -> Option<(TenantIx, MessageId)> {
        let key = key(from, to);
        let place = self.places.get(place_of(key))?;
        (place.key == key && place.id != MessageId::default()).then_some((place.tenant, place.id))
    }
}

fn place_of(key: u64) -> usize {
    usize::try_from(key % PLACES as u64).unwrap_or(0)
}

fn key(from: &str, to: Phone) -> u64 {
    xxh3_64_with_seed(digits(from).as_bytes(), to.number())
}

/// A number without its plus, which carriers and customers leave out.
fn digits(number: &str) -> &str {
    number.strip_prefix('+').unwrap_or(number)
}

fn is_number(from: &str) -> bool {
    digits(from)
        .as_bytes()
        .first()
        .is_some_and(u8::is_ascii_digit)
}

impl SentFrom {
    /// Whether a message was taken by a carrier from this number.
    pub(crate) fn is(&self, from: &str, sent_at: UnixMs) -> bool {
        sent_at.known().is_some() && digits(&self.0) == digits(from)
    }
}

impl Store {
    /// Says of each part which message it may answer.
    pub(crate) async fn answered(&self, mut parts: Vec<InboundPart>) -> Vec<InboundPart> {
        let since = UnixMs(self.shared().clock.now().0.saturating_sub(WITHIN_MS));
        let mut asked: BTreeSet<(Phone, Box<str>)> = BTreeSet::new();
        let mut left_out = 0_u64;
        {
            let young = self.shared().young.read();
            for part in &mut parts {
                let Some(phone) = Phone::parse(&part.from).filter(|_| is_number(&part.to)) else {
                    continue;
                };
                let found = young.latest.get(&part.to, phone);
                part.in_reply_to = found.filter(|(_, id)| id.made_at() >= since);
                if part.in_reply_to.is_some() {
                    continue;
                }
                if asked.len() < PAIRS_MAX {
                    asked.insert((phone, part.to.clone()));
                } else {
                    left_out += 1;
                }
            }
        }
        if left_out > 0 {
            metrics::counter!("trunkline_inbound_lookups_left_out_total").increment(left_out);
        }
        if asked.is_empty() || self.shared().archive.is_untouched() {
            return parts;
        }
        let found = self
            .blocking(move |shared| archived(shared, asked, since))
            .await;
        for (pair, message) in found.unwrap_or_default() {
            for part in &mut parts {
                if part.in_reply_to.is_none()
                    && part.to == pair.1
                    && Phone::parse(&part.from) == Some(pair.0)
                {
                    part.in_reply_to = Some(message);
                }
            }
        }
        parts
    }
}

type Pair = (Phone, Box<str>);

/// What the archive has for each pair.
fn archived(
    shared: &Shared,
    pairs: BTreeSet<Pair>,
    since: UnixMs,
) -> Vec<(Pair, (TenantIx, MessageId))> {
    let find = |pair: Pair| {
        let query = Query {
            to: Some(pair.0),
            sent_from: Some(SentFrom(pair.1.clone())),
            since: Some(since),
            limit: 1,
            ..Query::default()
        };
        let page = shared.archive.find(&query, ROWS_MAX);
        let message = &page.records.first()?.message;
        Some((pair, (message.tenant, message.id)))
    };
    pairs.into_iter().filter_map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_message_to_a_pair_is_known_and_names_are_not_noted() {
        let mut latest = Latest::default();
        let (one, other) = (
            Phone::parse("+46701234567").unwrap(),
            Phone::parse("+46701234568").unwrap(),
        );
        let tenant = TenantIx(3);
        latest.insert("+46769440001", one, tenant, MessageId(7));
        latest.insert("ACME", one, tenant, MessageId(8));
        assert_eq!(latest.get("46769440001", one), Some((tenant, MessageId(7))));
        assert_eq!(latest.get("46769440001", other), None);
        assert_eq!(latest.get("ACME", one), None);
        latest.insert("46769440001", one, TenantIx(4), MessageId(9));
        let newest = latest.get("+46769440001", one);
        assert_eq!(newest, Some((TenantIx(4), MessageId(9))));
    }
}
