//! `routes.*.tlvs.*`: what a route says about a TLV of the carrier's own.

/// How a TLV's value is written in the config and shown in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvKind {
    /// Text that ends with a NUL on the wire.
    CString,
    /// Text without one.
    Octets,
    /// Anything, in hexadecimal digits.
    Hex,
    /// A number of one octet.
    U8,
    /// A number of two octets, big-endian.
    U16,
    /// A number of four octets, big-endian.
    U32,
}

/// One TLV of a route's dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlv {
    /// The operator's name for it.
    pub name: String,
    /// Its tag.
    pub tag: u16,
    /// What its value is.
    pub kind: TlvKind,
    /// The value that every submit_sm carries, as on the wire; at most 255 octets.
    pub sent: Option<Vec<u8>>,
    /// What comes in with it is shown under the name.
    pub read: bool,
}
