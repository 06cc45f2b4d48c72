//! SMS text: which alphabet, how many segments, and the octets of each segment.
//!
//! [`plan`] is called once for every accepted message: it counts, and allocates nothing.
//! [`segment`] is called once for every submitted part and writes the user data of that part. Both
//! walk the text with the same rule ([`Segments`]), so the same text always splits the same way.
//! The other way, [`Udh::split`] takes the header off received user data and [`decode()`] reads the
//! rest by its whole data_coding octet ([`Dcs`]).
//!
//! [`Layout`] is the general form of both: national tables, a header of the customer's own, other
//! references or none, a carrier's own alphabet. The plain path above knows nothing of these.
//!
//! # Where a text may be cut
//! Greedily from the left, and never inside an escape pair (GSM 7-bit) or a surrogate pair
//! (UCS-2). Where it fits, also not inside a grapheme cluster (UAX #29, extended); one that is
//! longer than a whole segment is cut between characters.

pub mod dcs;
pub mod decode;
pub mod dialect;
pub mod gsm7;
pub mod latin1;
pub mod layout;
pub mod segment;
pub mod smart;
pub mod ucs2;
pub mod udh;

pub use dcs::Dcs;
pub use decode::{Alphabet, Charset, Decoded, decode};
pub use dialect::{Dialect, Flash, Long};
pub use gsm7::national::{Language, Shifts};
pub use layout::{Layout, Part, Tie};
pub use segment::{Segments, segment};
pub use udh::Udh;

#[cfg(test)]
mod tests;

/// Octets of user data in one short message. 3GPP TS 23.040 §9.2.3.24.
pub const USER_DATA_OCTETS: usize = 140;

/// The bit of esm_class that says that the user data starts with a header. SMPP v3.4 §5.2.12.
pub const ESM_CLASS_UDHI: u8 = 0x40;

/// The alphabet of a message, the same in all its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// GSM 7-bit default alphabet and its extension table, one septet per octet. 3GPP TS 23.038
    /// §6.2.1.
    Gsm7,
    /// UTF-16 big endian, which SMPP calls UCS2.
    Ucs2,
    /// ISO 8859-1, one octet for each character. Few networks deliver it: only where a carrier says so.
    Latin1,
}

impl Encoding {
    /// The data_coding of SMPP: 0 is the SMSC default alphabet, 3 is Latin-1, 8 is UCS2. SMPP v3.4
    /// §5.2.19.
    #[must_use]
    pub const fn data_coding(self) -> u8 {
        match self {
            Self::Gsm7 => 0,
            Self::Latin1 => 3,
            Self::Ucs2 => 8,
        }
    }

    /// Units (septets, 16-bit units or octets) that fit in one message without a header: 160, 70 or 140.
    #[must_use]
    pub const fn single_limit(self) -> usize {
        self.units(USER_DATA_OCTETS)
    }

    /// Units that fit in each segment of a concatenated message: 153 or 67 with an 8-bit
    /// reference, 152 or 66 with a 16-bit one; of Latin-1, 134 or 133.
    #[must_use]
    pub const fn segment_limit(self, width: ReferenceWidth) -> usize {
        self.units(USER_DATA_OCTETS - width.header_octets())
    }

    const fn units(self, octets: usize) -> usize {
        match self {
            Self::Gsm7 => octets * 8 / 7,
            Self::Ucs2 => octets / 2,
            Self::Latin1 => octets,
        }
    }

    /// The word of the contract: `gsm7` or `ucs2`; and `latin1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gsm7 => "gsm7",
            Self::Ucs2 => "ucs2",
            Self::Latin1 => "latin1",
        }
    }
}

/// What the sender asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EncodingChoice {
    /// GSM 7-bit if it holds every character, else UCS-2.
    #[default]
    Auto,
    /// GSM 7-bit, or an error that names the character.
    Gsm7,
    /// UCS-2 whatever the text.
    Ucs2,
}

/// How many bits the concatenation reference has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReferenceWidth {
    /// `05 00 03 rr tt nn`. 3GPP TS 23.040 §9.2.3.24.1.
    #[default]
    Eight,
    /// `06 08 04 rrrr tt nn`. 3GPP TS 23.040 §9.2.3.24.8.
    Sixteen,
}

impl ReferenceWidth {
    /// Octets of the user data header, its length octet included.
    #[must_use]
    pub const fn header_octets(self) -> usize {
        match self {
            Self::Eight => 6,
            Self::Sixteen => 7,
        }
    }
}

/// The number that ties the segments of one message together for the handset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reference {
    /// For [`ReferenceWidth::Eight`].
    Eight(u8),
    /// For [`ReferenceWidth::Sixteen`].
    Sixteen(u16),
}

impl Reference {
    /// The width of the header that carries this reference.
    #[must_use]
    pub const fn width(self) -> ReferenceWidth {
        match self {
            Self::Eight(_) => ReferenceWidth::Eight,
            Self::Sixteen(_) => ReferenceWidth::Sixteen,
        }
    }
}

/// What [`plan`] has to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// More segments than this are an error. The header counts to 255.
    pub max_segments: u8,
    /// The alphabet, or leave to choose.
    pub encoding: EncodingChoice,
    /// Decides how much of each segment is left for text.
    pub reference_width: ReferenceWidth,
}

impl Default for Options {
    /// Ten segments (contract §1, `max_segments`), alphabet by content, 8-bit reference.
    fn default() -> Self {
        Self {
            max_segments: 10,
            encoding: EncodingChoice::Auto,
            reference_width: ReferenceWidth::Eight,
        }
    }
}

/// How a text goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The alphabet of every segment.
    pub encoding: Encoding,
    /// At least 1, also for the empty text.
    pub segments: u8,
}

/// Why a text cannot go out as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextError {
    /// The text takes `needed` segments.
    TooManySegments {
        /// Segments that the whole text would take.
        needed: usize,
    },
    /// The alphabet lacks this character.
    NotRepresentable {
        /// Octets of the (UTF-8) text before the character.
        at: usize,
        /// The character.
        character: char,
    },
    /// The text has no segment of this index, or does not split into as many as was said.
    NoSuchSegment,
}

impl std::fmt::Display for TextError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::TooManySegments { needed } => write!(f, "the text takes {needed} segments"),
            Self::NotRepresentable { at, character } => {
                write!(f, "{character:?} at octet {at} is not in the alphabet")
            }
            Self::NoSuchSegment => f.write_str("the text has no such segment"),
        }
    }
}

impl std::error::Error for TextError {}

/// Chooses the alphabet and counts the segments. Allocates nothing.
///
/// # Errors
/// [`TextError::TooManySegments`] above `options.max_segments`; [`TextError::NotRepresentable`] if
/// GSM 7-bit was asked for and lacks a character.
pub fn plan(text: &str, options: Options) -> Result<Plan, TextError> {
    let (encoding, units) = match options.encoding {
        EncodingChoice::Gsm7 => (Encoding::Gsm7, gsm7::septets(text)?),
        EncodingChoice::Ucs2 => (Encoding::Ucs2, ucs2::units(text)),
        EncodingChoice::Auto => match gsm7::septets(text) {
            Ok(septets) => (Encoding::Gsm7, septets),
            Err(_) => (Encoding::Ucs2, ucs2::units(text)),
        },
    };
    let needed = if units <= encoding.single_limit() {
        1
    } else {
        Segments::new(text, encoding, options.reference_width).count()
    };
    match u8::try_from(needed) {
        Ok(segments) if segments <= options.max_segments => Ok(Plan { encoding, segments }),
        _ => Err(TextError::TooManySegments { needed }),
    }
}
