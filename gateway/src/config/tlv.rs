//! `routes.*.tlvs.*`: what a route says about a TLV of the carrier's own.

pub use crate::message::tlv::TlvKind;

/// One TLV of a route's dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlv {
    /// The operator's name for it.
    pub name: String,
    /// Its tag.
    pub tag: u16,
    /// What its value is.
    pub kind: TlvKind,
    /// Messages may bring a value of their own under the name.
    pub out: bool,
    /// The value that every submit_sm carries, as on the wire; at most 255 octets.
    pub sent: Option<Vec<u8>>,
    /// What comes in with it is shown under the name.
    pub read: bool,
}
