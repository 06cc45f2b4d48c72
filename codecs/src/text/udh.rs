//! The user data header: what stands before the text when esm_class says so.
//!
//! ```text
//! UDHL  IEI IEL value…  IEI IEL value…   then the text
//! ```
//! 3GPP TS 23.040 §9.2.3.24. [`Udh::split`] reads what a peer sent and trusts no length in it;
//! [`Fields::write`] writes what we send.

use bytes::BufMut;

use super::Reference;

/// Concatenated short messages, 8-bit reference. 3GPP TS 23.040 §9.2.3.24.1.
const CONCAT_8: u8 = 0x00;
/// Application port addressing, 8-bit. 3GPP TS 23.040 §9.2.3.24.3.
const PORTS_8: u8 = 0x04;
/// Application port addressing, 16-bit. 3GPP TS 23.040 §9.2.3.24.4.
const PORTS_16: u8 = 0x05;
/// Concatenated short messages, 16-bit reference. 3GPP TS 23.040 §9.2.3.24.8.
const CONCAT_16: u8 = 0x08;
/// National language single shift. 3GPP TS 23.040 §9.2.3.24.15.
const SINGLE_SHIFT: u8 = 0x24;
/// National language locking shift. 3GPP TS 23.040 §9.2.3.24.16.
const LOCKING_SHIFT: u8 = 0x25;

/// A header that was read, and the octets it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udh<'a> {
    /// The elements we know.
    pub fields: Fields,
    /// The whole header, its length octet included: 1 to 256 octets.
    pub octets: &'a [u8],
    /// An element reached past the header's end. The walk stopped there; what came before counts.
    pub overrun: bool,
}

/// The elements that matter here; all others are stepped over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields {
    /// Which part of which message this is.
    pub concat: Option<Concat>,
    /// Application ports.
    pub ports: Option<Ports>,
    /// National language identifier of the single shift table, as sent: any octet.
    pub single_shift: Option<u8>,
    /// National language identifier of the locking shift table, as sent: any octet.
    pub locking_shift: Option<u8>,
}

/// One part's place in a concatenated message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Concat {
    /// The same in all parts; its width belongs to its identity.
    pub reference: Reference,
    /// Parts of the whole message. As sent: may be 0 or 1.
    pub total: u8,
    /// This part, counting from 1. As sent: may be 0 or above `total`.
    pub sequence: u8,
}

impl Concat {
    /// Whether this is one of several parts. 3GPP TS 23.040 §9.2.3.24.1 has the element ignored
    /// where the total is 0 or the sequence number is 0 or above the total; a total of 1 needs no
    /// second part.
    #[must_use]
    pub const fn is_part(&self) -> bool {
        self.total > 1 && self.sequence >= 1 && self.sequence <= self.total
    }
}

/// Application ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ports {
    /// Where it goes.
    pub destination: u16,
    /// Where it comes from.
    pub source: u16,
}

/// The header does not fit in the user data: there is none to trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdhTooLong {
    /// Octets that the header claims, its length octet included; 1 where even that is missing.
    pub claimed: usize,
    /// Octets of user data that there are.
    pub there: usize,
}

impl std::fmt::Display for UdhTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { claimed, there } = self;
        write!(
            f,
            "the user data header claims {claimed} octets of {there} octets of user data"
        )
    }
}

impl std::error::Error for UdhTooLong {}

impl<'a> Udh<'a> {
    /// Takes the header off user data whose esm_class has [`super::ESM_CLASS_UDHI`]; gives the
    /// header and what follows it.
    ///
    /// Of an element that comes twice the first counts (smpp.md §9), also between the 8- and the
    /// 16-bit form of one. Elements of a wrong length are stepped over like unknown ones. At most
    /// 127 elements fit, so the walk is bounded.
    ///
    /// # Errors
    /// [`UdhTooLong`] if the user data is shorter than the header says, or empty.
    pub fn split(user_data: &'a [u8]) -> Result<(Self, &'a [u8]), UdhTooLong> {
        let claimed = user_data
            .first()
            .map_or(1, |&length| usize::from(length) + 1);
        let (octets, rest) = user_data.split_at_checked(claimed).ok_or(UdhTooLong {
            claimed,
            there: user_data.len(),
        })?;
        let mut fields = Fields::default();
        let mut elements = octets.get(1..).unwrap_or_default();
        while let [iei, length, tail @ ..] = elements {
            let Some((value, tail)) = tail.split_at_checked(usize::from(*length)) else {
                break;
            };
            fields.note(*iei, value);
            elements = tail;
        }
        let udh = Self {
            fields,
            octets,
            overrun: !elements.is_empty(),
        };
        Ok((udh, rest))
    }
}

impl Fields {
    fn note(&mut self, iei: u8, value: &[u8]) {
        match (iei, value) {
            (CONCAT_8, &[reference, total, sequence]) => {
                self.concat.get_or_insert(Concat {
                    reference: Reference::Eight(reference),
                    total,
                    sequence,
                });
            }
            (CONCAT_16, &[high, low, total, sequence]) => {
                self.concat.get_or_insert_with(|| Concat {
                    reference: Reference::Sixteen(u16::from_be_bytes([high, low])),
                    total,
                    sequence,
                });
            }
            (PORTS_8, &[destination, source]) => {
                self.ports.get_or_insert_with(|| Ports {
                    destination: destination.into(),
                    source: source.into(),
                });
            }
            (PORTS_16, &[to_high, to_low, from_high, from_low]) => {
                self.ports.get_or_insert_with(|| Ports {
                    destination: u16::from_be_bytes([to_high, to_low]),
                    source: u16::from_be_bytes([from_high, from_low]),
                });
            }
            (SINGLE_SHIFT, &[language]) => {
                self.single_shift.get_or_insert(language);
            }
            (LOCKING_SHIFT, &[language]) => {
                self.locking_shift.get_or_insert(language);
            }
            _ => {}
        }
    }

    /// Octets that [`write`](Self::write) takes, the length octet included: 0 without elements,
    /// else 4 to 20.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.with_elements(0)
            .map_or(0, |length| usize::from(length) + 1)
    }

    /// The header's length octet where so many octets of other elements follow; `None` without any
    /// element.
    pub(super) fn with_elements(&self, others: usize) -> Option<u8> {
        let concat = match self.concat {
            None => 0,
            Some(concat) => concat.reference.width().header_octets() - 1,
        };
        let ports = if self.ports.is_some() { 6 } else { 0 };
        let single = if self.single_shift.is_some() { 3 } else { 0 };
        let locking = if self.locking_shift.is_some() { 3 } else { 0 };
        match concat + ports + single + locking + others {
            0 => None,
            length => Some(u8::try_from(length).unwrap_or(u8::MAX)),
        }
    }

    /// Appends the header; nothing without elements. Ports always take their 16-bit form.
    pub fn write(&self, out: &mut impl BufMut) {
        if let Some(length) = self.with_elements(0) {
            out.put_u8(length);
            self.write_elements(out);
        }
    }

    /// Appends the elements without the length octet.
    pub(super) fn write_elements(&self, out: &mut impl BufMut) {
        if let Some(Concat {
            reference,
            total,
            sequence,
        }) = self.concat
        {
            match reference {
                Reference::Eight(number) => out.put_slice(&[CONCAT_8, 3, number]),
                Reference::Sixteen(number) => {
                    out.put_slice(&[CONCAT_16, 4]);
                    out.put_u16(number);
                }
            }
            out.put_slice(&[total, sequence]);
        }
        if let Some(Ports {
            destination,
            source,
        }) = self.ports
        {
            out.put_slice(&[PORTS_16, 4]);
            out.put_u16(destination);
            out.put_u16(source);
        }
        if let Some(language) = self.single_shift {
            out.put_slice(&[SINGLE_SHIFT, 1, language]);
        }
        if let Some(language) = self.locking_shift {
            out.put_slice(&[LOCKING_SHIFT, 1, language]);
        }
    }
}
