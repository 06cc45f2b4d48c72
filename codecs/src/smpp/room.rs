//! Room: the octets of one PDU, made at once and filled front to back.
//!
//! A buffer that grows asks for room at every field. Here the size is known before the first octet is
//! written, so each field is one bounds check and one copy.

use std::mem;

use bytes::BytesMut;

use super::fields::Address;

/// Room up to which clearing too much costs less than counting. Chosen by measuring: most responses.
const SMALL_OCTETS: usize = 64;

/// What is left of a PDU's octets; all zero, so a NUL is written by stepping over it.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    rest: &'a mut [u8],
}

impl<'a> Room<'a> {
    /// Appends so many octets.
    #[inline]
    pub(crate) fn new(out: &'a mut BytesMut, octets: usize) -> Self {
        let start = out.len();
        if octets <= SMALL_OCTETS {
            // Of a size known here, which the compiler clears without a call.
            out.extend_from_slice(&[0; SMALL_OCTETS]);
            out.truncate(start + octets);
        } else {
            out.resize(start + octets, 0);
        }
        Self {
            rest: out.get_mut(start..).unwrap_or_default(),
        }
    }

    /// Writes octets. There is room for all that [`Self::new`] was told of; what is more is dropped.
    #[inline]
    pub(crate) fn put(&mut self, octets: &[u8]) {
        // Most optional fields are empty, and a copy of nothing is a call all the same.
        if octets.is_empty() {
            return;
        }
        let rest = mem::take(&mut self.rest);
        if let Some((front, rest)) = rest.split_at_mut_checked(octets.len()) {
            front.copy_from_slice(octets);
            self.rest = rest;
        }
    }

    /// Writes a C-octet string that was checked.
    #[inline]
    pub(crate) fn cstring(&mut self, value: &[u8]) {
        self.put(value);
        let rest = mem::take(&mut self.rest);
        self.rest = rest.get_mut(1..).unwrap_or_default();
    }
}

impl Room<'_> {
    /// Writes an address that was checked.
    #[inline]
    pub(crate) fn address(&mut self, address: &Address<'_>) {
        self.put(&[address.ton, address.npi]);
        self.cstring(address.addr);
    }
}

#[cfg(debug_assertions)]
impl Drop for Room<'_> {
    fn drop(&mut self) {
        debug_assert!(self.rest.is_empty(), "the PDU is as long as was said");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_copied_as_it_is() {
        let octets: Vec<u8> = (1..=200).collect();
        for length in 0..octets.len() {
            let mut out = BytesMut::from(&b"before"[..]);
            let value = &octets[..length];
            {
                let mut room = Room::new(&mut out, length + 3);
                room.put(&[0xAA]);
                room.cstring(value);
                room.put(&[0xBB]);
            }
            let wanted = [&b"before\xAA"[..], value, &[0, 0xBB]].concat();
            assert_eq!(out, wanted);
        }
    }
}
