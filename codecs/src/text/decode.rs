//! Text out of received user data, by its data_coding.

use encoding_rs::{EUC_JP, EUC_KR, ISO_2022_JP, ISO_8859_5, ISO_8859_8, SHIFT_JIS};

use super::dcs::{Coding, Dcs};
use super::gsm7::national::Shifts;
use super::gsm7::packed;
use super::udh::Udh;
use super::{gsm7, ucs2};

/// The alphabet behind data_coding 0, which every SMSC chooses for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Alphabet {
    /// GSM 7-bit, one septet per octet: what most SMSCs mean.
    #[default]
    Gsm7,
    /// GSM 7-bit, eight septets in seven octets.
    Gsm7Packed,
    /// ISO 8859-1.
    Latin1,
    /// ASCII.
    Ascii,
    /// UTF-8.
    Utf8,
}

impl Alphabet {
    /// The alphabet's word in events, and in `encoding` of what was received: `gsm7`, `latin1`,
    /// `ascii` or `utf8`. Packed or not is the link's matter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gsm7 | Self::Gsm7Packed => "gsm7",
            Self::Latin1 => "latin1",
            Self::Ascii => "ascii",
            Self::Utf8 => "utf8",
        }
    }
}

/// How a carrier's user data is to be read where its data_coding leaves that open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Charset {
    /// What data_coding 0 means.
    pub default: Alphabet,
    /// data_coding 1 means the default alphabet too, as several SMSCs have it (smpp.md §2.2).
    pub ia5_is_default: bool,
    /// data_coding 8 comes little endian, against the standard.
    pub ucs2_little_endian: bool,
}

impl From<Alphabet> for Charset {
    fn from(default: Alphabet) -> Self {
        Self {
            default,
            ..Self::default()
        }
    }
}

/// User data, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The text, at most three octets of UTF-8 for each septet; `None` where the data is no text
    /// (octets, pictograms, compressed).
    pub text: Option<String>,
    /// The alphabet's word: `gsm7`, `ucs2`, `latin1`, `ascii`, `utf8`, `shift_jis`, `iso-8859-5`,
    /// `iso-8859-8`, `iso-2022-jp`, `euc-jp`, `euc-kr`, or `binary`.
    pub encoding: &'static str,
    /// An octet or unit had no character and became U+FFFD.
    pub replaced: bool,
    /// UCS-2 of an odd number of octets: the last was dropped.
    pub odd_length: bool,
    /// UCS-2 began with a byte order mark, which is not part of the text.
    pub byte_order_mark: bool,
}

/// Reads user data. Never fails and never panics: what cannot be read is U+FFFD and said so.
///
/// `octets` is what follows the header `udh` ([`Udh::split`]); without a header it is the whole
/// user data. The header names national language tables and, where septets are packed, the fill
/// bits before the first one. Parts of one message with the same data_coding may be joined before
/// reading (a surrogate or escape pair may be cut between two parts), unless septets are packed.
///
/// ```
/// use codecs::text::{Dcs, Udh, decode};
/// let user_data = [5, 0, 3, 7, 2, 1, 0x48, 0x69, 0x20, 0x1b, 0x65]; // esm_class 0x40
/// let (udh, octets) = Udh::split(&user_data).unwrap();
/// let read = decode(octets, Dcs::parse(0), Some(&udh), &Default::default());
/// assert_eq!(read.text.as_deref(), Some("Hi €"));
/// assert_eq!(read.encoding, "gsm7");
/// ```
#[must_use]
pub fn decode(octets: &[u8], dcs: Dcs, udh: Option<&Udh<'_>>, charset: &Charset) -> Decoded {
    if dcs.compressed {
        return binary();
    }
    let table = |encoding: &'static encoding_rs::Encoding, name| {
        let (text, _) = encoding.decode_without_bom_handling(octets);
        plain(text.into_owned(), name)
    };
    match dcs.coding {
        Coding::Default => by_alphabet(octets, udh, charset.default),
        Coding::Ascii if charset.ia5_is_default => by_alphabet(octets, udh, charset.default),
        // Named, so not the default alphabet, but packed where the link packs.
        Coding::Gsm7 => by_alphabet(
            octets,
            udh,
            match charset.default {
                Alphabet::Gsm7Packed => Alphabet::Gsm7Packed,
                _ => Alphabet::Gsm7,
            },
        ),
        Coding::Ascii => by_alphabet(octets, udh, Alphabet::Ascii),
        Coding::Latin1 => by_alphabet(octets, udh, Alphabet::Latin1),
        Coding::Ucs2 => Decoded {
            odd_length: octets.len() % 2 == 1,
            byte_order_mark: ucs2::byte_order_mark(octets).is_some(),
            ..plain(ucs2::read(octets, charset.ucs2_little_endian), "ucs2")
        },
        Coding::Jis => table(SHIFT_JIS, "shift_jis"),
        Coding::Cyrillic => table(ISO_8859_5, "iso-8859-5"),
        Coding::Hebrew => table(ISO_8859_8, "iso-8859-8"),
        Coding::Iso2022Jp => table(ISO_2022_JP, "iso-2022-jp"),
        Coding::ExtendedKanji => table(EUC_JP, "euc-jp"),
        Coding::Korean => table(EUC_KR, "euc-kr"),
        Coding::Octets | Coding::Pictogram => binary(),
    }
}

fn by_alphabet(octets: &[u8], udh: Option<&Udh<'_>>, alphabet: Alphabet) -> Decoded {
    let text = match alphabet {
        Alphabet::Gsm7 => septets(octets, udh),
        Alphabet::Gsm7Packed => {
            let fill_bits = packed::fill_bits(udh.map_or(0, |udh| udh.octets.len()));
            septets(&packed::unpack(octets, fill_bits), udh)
        }
        Alphabet::Latin1 => octets.iter().copied().map(char::from).collect(),
        Alphabet::Ascii => octets
            .iter()
            .map(|&octet| match octet {
                0..=0x7f => char::from(octet),
                _ => char::REPLACEMENT_CHARACTER,
            })
            .collect(),
        Alphabet::Utf8 => String::from_utf8_lossy(octets).into_owned(),
    };
    plain(text, alphabet.name())
}

/// Septets by the national tables that the header names.
fn septets(septets: &[u8], udh: Option<&Udh<'_>>) -> String {
    let shifts = udh.map_or(Shifts::NONE, |udh| {
        Shifts::of_ids(udh.fields.locking_shift, udh.fields.single_shift)
    });
    if shifts.is_none() {
        gsm7::decode(septets)
    } else {
        shifts.decode(septets)
    }
}

/// A text. A peer that sends U+FFFD itself is taken for one that was not understood.
fn plain(text: String, encoding: &'static str) -> Decoded {
    Decoded {
        replaced: text.contains(char::REPLACEMENT_CHARACTER),
        text: Some(text),
        encoding,
        odd_length: false,
        byte_order_mark: false,
    }
}

const fn binary() -> Decoded {
    Decoded {
        text: None,
        encoding: "binary",
        replaced: false,
        odd_length: false,
        byte_order_mark: false,
    }
}

#[cfg(test)]
mod tests;
