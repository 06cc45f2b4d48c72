//! A cursor over a bounded slice: nom's primitive parsers plus the position that errors name.
//!
//! Every read is checked and returns `None` when the slice is too short, so a length field that
//! lies can never reach past its PDU.

use nom::bytes::complete::take;
use nom::number::complete::{be_u8, be_u16};

/// Reads big-endian fields off the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// Offset of the slice's end in the PDU; the position follows from what is left.
    end: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the front of `bytes`, which begin `base` octets into the PDU.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], base: usize) -> Self {
        Self {
            rest: bytes,
            end: base + bytes.len(),
        }
    }

    /// Offset of the next octet in the PDU.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Offset of the slice's end in the PDU.
    #[inline]
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// What has not been read yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (rest, value) = be_u8::<_, ()>(self.rest).ok()?;
        self.rest = rest;
        Some(value)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Option<u16> {
        let (rest, value) = be_u16::<_, ()>(self.rest).ok()?;
        self.rest = rest;
        Some(value)
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (rest, value) = take::<_, _, ()>(count)(self.rest).ok()?;
        self.rest = rest;
        Some(value)
    }

    /// Reads up to a NUL within the first `cap` octets and steps over it.
    #[inline]
    pub(crate) fn until_nul(&mut self, cap: usize) -> Option<&'a [u8]> {
        let length = self.rest.iter().take(cap).position(|&octet| octet == 0)?;
        let (value, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest.get(1..)?;
        Some(value)
    }
}
