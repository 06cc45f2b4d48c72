//! SmsOptions: what is uncommon about how an SMS is written. A plain message has none of it.

use serde::{Deserialize, Serialize};

use super::tlv::SmsTlv;

/// Decided at acceptance, the same in every attempt, whatever the config says by then: the parts of a
/// message are the store's unit, so where its text is cut must never change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmsOptions {
    /// Message class 0: shown at once, not stored. How that is written is the route's.
    pub flash: bool,
    /// National language of the single shift table (3GPP TS 23.038 §6.2.1.2.4: 1 to 13).
    pub single_shift: Option<u8>,
    /// National language of the locking shift table (3GPP TS 23.038 §6.2.1.2.4: 1, 3 to 13).
    pub locking_shift: Option<u8>,
    /// Elements of the customer's own user data header, without the length octet; in every part.
    pub udh: Box<[u8]>,
    /// Cut for headers of 7 octets: where the route says so, references have 16 bits.
    pub wide_reference: bool,
    /// Handed over whole, in one PDU (message_payload, SMPP v3.4 §5.3.2.32), for the carrier to cut
    /// into so many segments. The message has one part then.
    pub payload_segments: Option<u8>,
    /// TLVs of its own, each tag once, at most [`TLVS_MAX`](super::tlv::TLVS_MAX); they win over the
    /// route's.
    pub tlvs: Box<[SmsTlv]>,
}

impl SmsOptions {
    /// Bytes on the heap, its own box included.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let values: usize = self.tlvs.iter().map(|tlv| tlv.value.len()).sum();
        size_of::<Self>() + self.udh.len() + size_of_val(&*self.tlvs) + values
    }
}
