//! Keys: the 64- and 128-bit numbers under which messages are found again.

use codecs::smpp::receipt::{self, Rung};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::message::{MessageId, Phone, RouteIx, TenantIx};
use crate::store::{IdFormat, IdempotencyKey};

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

/// Where an id that is looked for comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// A receipt: the answers' ids are known.
    Receipt,
    /// An answer: the ids of receipts that came early are known.
    Answer,
}

/// The keys under which an id may be known, the likeliest first: as it is (but for case and leading
/// zeros), then in the other base, as the route's `id_format` says (smpp.md §4.4).
#[must_use]
pub(crate) fn carrier_forms(
    route: RouteIx,
    id: &[u8],
    format: IdFormat,
    from: From,
) -> smallvec::SmallVec<[u64; 4]> {
    let mut keys: smallvec::SmallVec<[u64; 4]> = smallvec::SmallVec::new();
    if matches!(format, IdFormat::Auto | IdFormat::Same) {
        keys.push(carrier_canonical(route, id));
    }
    if format == IdFormat::Same {
        return keys;
    }
    for form in receipt::id_forms(id) {
        let wanted = matches!(
            (form.rung, format, from),
            (Rung::DecimalToHex | Rung::HexToDecimal, IdFormat::Auto, _)
                | (Rung::DecimalToHex, IdFormat::HexToDec, From::Receipt)
                | (Rung::DecimalToHex, IdFormat::DecToHex, From::Answer)
                | (Rung::HexToDecimal, IdFormat::DecToHex, From::Receipt)
                | (Rung::HexToDecimal, IdFormat::HexToDec, From::Answer)
        );
        let key = carrier_canonical(route, &form.key);
        if wanted && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_as_the_routes_format_says_and_no_other_way() {
        let route = RouteIx(0);
        let answered = carrier_canonical(route, b"7A3F01C2");
        let found = |receipt: &[u8], format| {
            carrier_forms(route, receipt, format, From::Receipt).contains(&answered)
        };
        assert!(found(b"007a3f01c2", IdFormat::Auto));
        assert!(found(b"2050949570", IdFormat::Auto));
        assert!(found(b"2050949570", IdFormat::HexToDec));
        assert!(!found(b"2050949570", IdFormat::Same));
        assert!(!found(b"2050949570", IdFormat::DecToHex));
        assert!(!found(b"7A3F01C2", IdFormat::HexToDec));
        let early = carrier_canonical(route, b"2050949570");
        let forms = carrier_forms(route, b"7A3F01C2", IdFormat::HexToDec, From::Answer);
        assert_eq!(forms.as_slice(), [early]);
    }
}
