//! Bodies that are fields in a row: one description gives the struct, its decoder and its encoder.
//!
//! submit_sm, deliver_sm and the binds, which live in hot paths or tolerate more, are written out.

use super::fields::{Address, Body, DecodeError, Field};
use super::put::Put;
use super::tlv::{Scan, Tlvs};

/// Octets of a time with its NUL. SMPP v3.4 §7.1.1.
pub(super) const TIME_OCTETS_MAX: usize = 17;

/// A kind of field: how it is read, checked, measured and written. `limit` is in octets, a NUL
/// included.
pub(super) trait Part {
    /// What it reads as.
    type Of<'a>: Copy;
    fn decode<'a>(
        body: &mut Body<'a>,
        field: Field,
        limit: usize,
    ) -> Result<Self::Of<'a>, DecodeError>;
    fn put<'a>(value: Self::Of<'a>, field: Field, limit: usize, to: &mut impl Put<'a>);
}

/// A C-octet string.
pub(super) struct CString;
/// TON, NPI and a C-octet string.
pub(super) struct Addr;
/// One octet.
pub(super) struct Octet;
/// sm_length and as many octets.
pub(super) struct Text;
/// Optional parameters up to the end; a broken stream is an error.
pub(super) struct Params;

impl Part for CString {
    type Of<'a> = &'a [u8];

    fn decode<'a>(
        body: &mut Body<'a>,
        field: Field,
        limit: usize,
    ) -> Result<&'a [u8], DecodeError> {
        body.cstring(field, limit)
    }

    fn put<'a>(value: &'a [u8], field: Field, limit: usize, to: &mut impl Put<'a>) {
        to.cstring(field, value, limit);
    }
}

impl Part for Addr {
    type Of<'a> = Address<'a>;

    fn decode<'a>(
        body: &mut Body<'a>,
        field: Field,
        limit: usize,
    ) -> Result<Address<'a>, DecodeError> {
        body.address(field, limit)
    }

    fn put<'a>(value: Address<'a>, field: Field, limit: usize, to: &mut impl Put<'a>) {
        to.address(field, &value, limit);
    }
}

impl Part for Octet {
    type Of<'a> = u8;

    fn decode<'a>(body: &mut Body<'a>, field: Field, _: usize) -> Result<u8, DecodeError> {
        body.u8(field)
    }

    fn put<'a>(value: u8, _: Field, _: usize, to: &mut impl Put<'a>) {
        to.fixed([value]);
    }
}

impl Part for Text {
    type Of<'a> = &'a [u8];

    fn decode<'a>(body: &mut Body<'a>, _: Field, _: usize) -> Result<&'a [u8], DecodeError> {
        body.short_message()
    }

    fn put<'a>(value: &'a [u8], _: Field, limit: usize, to: &mut impl Put<'a>) {
        to.short_message(value, limit);
    }
}

impl Part for Params {
    type Of<'a> = Tlvs<'a>;

    fn decode<'a>(body: &mut Body<'a>, _: Field, _: usize) -> Result<Tlvs<'a>, DecodeError> {
        body.tlvs(Scan::Strict)
    }

    fn put<'a>(value: Tlvs<'a>, _: Field, _: usize, to: &mut impl Put<'a>) {
        to.tlvs(value);
    }
}

/// Declares a request: its fields in wire order, each with its [`Part`], [`Field`] and limit.
macro_rules! layout {
    (
        $(#[$doc:meta])*
        $name:ident = $command:ident {
            $($(#[$field_doc:meta])* $part:ident $field:ident: $type:ty = $at:ident, $limit:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name<'a> {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl<'a> $name<'a> {
            /// Reads a body.
            ///
            /// # Errors
            /// Fails when a field is cut short or has no NUL, or the TLVs are broken.
            pub fn decode(body: &'a [u8]) -> Result<(Self, Quirks), DecodeError> {
                let mut body = Body::new(body);
                let spec = &Limits::SPEC;
                $(let $field =
                    layout::$part::decode(&mut body, Field::$at, layout::limit(spec, $limit))?;)*
                if !body.rest().is_empty() {
                    body.quirks.insert(Quirks::TRAILING);
                }
                Ok((Self { $($field),* }, body.quirks))
            }

            /// Appends the whole PDU.
            ///
            /// # Errors
            /// Refuses values that are longer than `limits` or contain a NUL; nothing is written
            /// then.
            pub fn encode(
                &self,
                sequence: u32,
                limits: &Limits,
                out: &mut BytesMut,
            ) -> Result<(), EncodeError> {
                let (command, status) = (CommandId::$command, CommandStatus::OK);
                Header { command, status, sequence }.encode(self, limits, out)
            }
        }

        impl Fields for $name<'_> {
            fn put<'a>(&'a self, limits: &Limits, to: &mut impl Put<'a>) {
                $(layout::$part::put(
                    self.$field,
                    Field::$at,
                    layout::limit(limits, $limit),
                    to,
                );)*
            }
        }
    };
}
pub(super) use layout;

/// Lets a closure in a [`layout!`] say which limit holds.
pub(super) fn limit(
    limits: &super::fields::Limits,
    of: impl Fn(&super::fields::Limits) -> usize,
) -> usize {
    of(limits)
}
