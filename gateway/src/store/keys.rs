//! Keys: the 64- and 128-bit numbers under which messages are found again.

use codecs::smpp::receipt::{self, Rung, Transform};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::message::{MessageId, Phone, RouteIx, TenantIx};
use crate::outcome::Receipt;
use crate::store::shared::Shared;
use crate::store::{IdFormat, IdempotencyKey, Ladder, matching};

impl IdempotencyKey {
    /// Of a tenant's key and the canonical JSON of its request.
    #[must_use]
    pub fn new(tenant: TenantIx, key: &str, canonical: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(tenant.0.to_be_bytes());
        hash.update(key.as_bytes());
        Self {
            key: first_16(&hash.finalize()),
            fingerprint: first_16(&Sha256::digest(canonical)),
        }
    }
}

fn first_16(digest: &[u8]) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    first
}

/// What an indexed field hashes to. One table holds them all; a reader compares the field itself.
#[must_use]
pub(crate) fn recipient(to: Phone) -> u64 {
    xxh3_64_with_seed(&to.number().to_be_bytes(), 1)
}

/// As [`recipient`], for a client's reference.
#[must_use]
pub(crate) fn client_ref(reference: &str) -> u64 {
    xxh3_64_with_seed(reference.as_bytes(), 2)
}

/// As [`recipient`], for a batch.
#[must_use]
pub(crate) fn batch(id: MessageId) -> u64 {
    xxh3_64_with_seed(&id.0.to_be_bytes(), 3)
}

/// A carrier's message id within its route account, under the form that its variants share: lower
/// case, and without leading zeros where it is a number.
#[must_use]
pub(crate) fn carrier_canonical(route: RouteIx, id: &[u8]) -> u64 {
    let mut bytes = smallvec::SmallVec::<[u8; 64]>::new();
    bytes.extend_from_slice(&route.0.to_be_bytes());
    let number = !id.is_empty() && id.iter().all(u8::is_ascii_hexdigit);
    let zeros = if number {
        id.iter().take_while(|digit| **digit == b'0').count()
    } else {
        0
    };
    let id = &id[zeros.min(id.len().saturating_sub(1))..];
    bytes.extend(id.iter().map(u8::to_ascii_lowercase));
    xxh3_64(&bytes)
}

/// Where a receipt waits: by its id; one that has none, by the number its message went to.
#[must_use]
pub(crate) fn parked(receipt: &Receipt) -> u64 {
    if !receipt.provider_id.is_empty() {
        return carrier_canonical(receipt.route, &receipt.provider_id);
    }
    let mut bytes = [0; 10];
    let (route, number) = bytes.split_at_mut(2);
    route.copy_from_slice(&receipt.route.0.to_be_bytes());
    let to = receipt.recipient.map_or(0, Phone::number);
    number.copy_from_slice(&to.to_be_bytes());
    xxh3_64_with_seed(&bytes, 4)
}

/// Keys of one id: at most its own, one for each base, and its transformed form.
pub(crate) type CarrierKeys = smallvec::SmallVec<[u64; 4]>;

/// The keys under which an answer's id is kept: its canonical form, and that of its transformed form
/// where the route has a transform that changes it.
#[must_use]
pub(crate) fn answer_keys(route: RouteIx, id: &[u8], transform: Option<&Transform>) -> CarrierKeys {
    let mut keys = CarrierKeys::new();
    keys.push(carrier_canonical(route, id));
    if let Some(transform) = transform {
        push_new(&mut keys, carrier_canonical(route, transform.apply(id)));
    }
    keys
}

/// The keys under which an id may be known to the other side: its own, in the other base as far as
/// the route's format allows it, and transformed. A receipt's id leads to its answer, and an answer's
/// to the receipts that came before it.
#[must_use]
pub(crate) fn carrier_keys(route: RouteIx, id: &[u8], ladder: &Ladder) -> CarrierKeys {
    let mut keys = CarrierKeys::new();
    if matches!(ladder.format, IdFormat::Auto | IdFormat::Same) || ladder.has_transform() {
        keys.push(carrier_canonical(route, id));
    }
    if ladder.format != IdFormat::Same {
        for form in receipt::id_forms(id) {
            if matches!(form.rung, Rung::DecimalToHex | Rung::HexToDecimal) {
                push_new(&mut keys, carrier_canonical(route, &form.key));
            }
        }
    }
    if keys.is_empty() {
        // One digit is the same number in both bases.
        keys.push(carrier_canonical(route, id));
    }
    if ladder.has_transform() {
        let transformed = ladder.transform.apply(id);
        push_new(&mut keys, carrier_canonical(route, transformed));
    }
    keys
}

/// Whether the archive may hold a part whose id looks like one of the receipt's; without a read.
pub(crate) fn may_be_archived(shared: &Shared, receipt: &Receipt) -> bool {
    let ladder = shared.ladder(receipt.route);
    !receipt.provider_id.is_empty()
        && matching::ids(receipt).any(|(id, _)| {
            let keys = carrier_keys(receipt.route, id, ladder);
            shared.archive.may_hold_carriers(keys.into_iter())
        })
}

fn push_new(keys: &mut CarrierKeys, key: u64) {
    if !keys.contains(&key) {
        keys.push(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_looked_for_in_the_forms_that_its_route_allows() {
        let route = RouteIx(0);
        let answered = carrier_canonical(route, b"7A3F01C2");
        let found = |receipt: &[u8], format, transform: &Transform| {
            let transform = transform.clone();
            let ladder = Ladder {
                format,
                transform,
                without_id: false,
            };
            carrier_keys(route, receipt, &ladder).contains(&answered)
        };
        let none = Transform::default();
        assert!(found(b"007a3f01c2", IdFormat::Auto, &none));
        assert!(found(b"2050949570", IdFormat::Auto, &none));
        assert!(found(b"2050949570", IdFormat::HexToDec, &none));
        assert!(!found(b"2050949570", IdFormat::Same, &none));
        assert!(!found(b"7A3F01C2", IdFormat::HexToDec, &none));
        let prefixed = Transform {
            strip_prefix: b"x-"[..].into(),
            ..Transform::default()
        };
        assert!(found(b"X-7A3F01C2", IdFormat::Same, &prefixed));
        assert!(!found(b"X-7A3F01C2", IdFormat::Auto, &none));
        let kept = answer_keys(route, b"x-7A3F01C2", Some(&prefixed));
        assert!(kept.len() == 2 && kept.contains(&answered));
    }
}
