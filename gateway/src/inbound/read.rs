//! Read: the text of a message that came in parts.

use codecs::smpp::Quirks;
use codecs::text::{Alphabet, Charset, Dcs, Decoded, Udh, decode};

use super::Piece;

/// The word for a message whose parts were written in different alphabets.
const MIXED: &str = "mixed";
/// The word for a message with a part that is no text.
const BINARY: &str = "binary";

/// What the parts of a message say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// `None` where a part is no text.
    pub text: Option<String>,
    /// The alphabet's word.
    pub encoding: &'static str,
    /// What was wrong with how it was written.
    pub quirks: Quirks,
}

/// The text of a message's parts, in their order.
///
/// Parts that follow each other and are written alike are joined before they are read: an escape or
/// surrogate pair may be cut between two of them (smpp.md §2.4).
#[must_use]
pub fn text(pieces: &[Piece], charset: &Charset) -> Text {
    let mut whole = String::new();
    let mut word: Option<&'static str> = None;
    let mut quirks = Quirks::NONE;
    let packed = charset.default == Alphabet::Gsm7Packed;
    for run in pieces.chunk_by(|a, b| !packed && follow(a, b)) {
        let decoded = read(run, charset);
        quirks.insert(odd(&decoded));
        let Some(text) = decoded.text else {
            return Text {
                text: None,
                encoding: BINARY,
                quirks,
            };
        };
        whole.push_str(&text);
        word = Some(match word {
            Some(before) if before != decoded.encoding => MIXED,
            _ => decoded.encoding,
        });
    }
    Text {
        text: Some(whole),
        encoding: word.unwrap_or(BINARY),
        quirks,
    }
}

fn odd(decoded: &Decoded) -> Quirks {
    let mut quirks = Quirks::NONE;
    for (seen, quirk) in [
        (decoded.odd_length, Quirks::ODD_UCS2),
        (decoded.byte_order_mark, Quirks::BYTE_ORDER_MARK),
        (decoded.replaced, Quirks::UNREADABLE),
    ] {
        if seen {
            quirks.insert(quirk);
        }
    }
    quirks
}

/// Whether the second part goes on where the first one ends.
fn follow(first: &Piece, second: &Piece) -> bool {
    let tables = |piece: &Piece| {
        let fields = udh(piece).map(|udh| udh.fields);
        fields.map(|fields| (fields.single_shift, fields.locking_shift))
    };
    first.sequence.checked_add(1) == Some(second.sequence)
        && first.data_coding == second.data_coding
        && tables(first) == tables(second)
}

fn read(run: &[Piece], charset: &Charset) -> Decoded {
    let Some(first) = run.first() else {
        return decode(&[], Dcs::parse(0), None, charset);
    };
    let joined: Vec<u8>;
    let octets = match run {
        [one] => content(one),
        all => {
            joined = all.iter().flat_map(content).copied().collect();
            &joined
        }
    };
    let udh = udh(first);
    decode(octets, Dcs::parse(first.data_coding), udh.as_ref(), charset)
}

/// What follows the header.
fn content(piece: &Piece) -> &[u8] {
    piece
        .octets
        .get(usize::from(piece.header)..)
        .unwrap_or_default()
}

fn udh(piece: &Piece) -> Option<Udh<'_>> {
    if piece.header == 0 {
        return None;
    }
    Udh::split(&piece.octets).ok().map(|(udh, _)| udh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(sequence: u8, data_coding: u8, octets: &[u8]) -> Piece {
        Piece {
            sequence,
            data_coding,
            header: 0,
            octets: octets.into(),
            tlvs: Box::default(),
            acknowledges: None,
        }
    }

    fn read(pieces: &[Piece]) -> (Option<String>, &'static str) {
        let read = text(pieces, &Charset::default());
        (read.text, read.encoding)
    }

    #[test]
    fn what_is_odd_is_named() {
        for (data_coding, octets, quirk, text) in [
            (8, &[0, b'H', 0, b'i', 0][..], Quirks::ODD_UCS2, "Hi"),
            (8, &[0xFE, 0xFF, 0, b'H'], Quirks::BYTE_ORDER_MARK, "H"),
            (8, &[0xD8, 0x3D, 0, b'H'], Quirks::UNREADABLE, "\u{FFFD}H"),
            (1, &[b'H', 0x80], Quirks::UNREADABLE, "H\u{FFFD}"),
            (8, &[0, b'H'], Quirks::NONE, "H"),
            (0, b"H", Quirks::NONE, "H"),
        ] {
            let read = super::text(&[piece(1, data_coding, octets)], &Charset::default());
            assert_eq!((read.text.as_deref(), read.quirks), (Some(text), quirk));
        }
    }

    #[test]
    fn a_surrogate_pair_cut_between_two_parts_is_read_whole() {
        // U+1F600 is D83D DE00.
        let pieces = [
            piece(1, 8, &[0, b'a', 0xD8, 0x3D]),
            piece(2, 8, &[0xDE, 0x00, 0, b'b']),
        ];
        assert_eq!(read(&pieces), (Some("a\u{1F600}b".to_owned()), "ucs2"));
    }

    #[test]
    fn an_escape_pair_cut_between_two_parts_is_read_whole() {
        let pieces = [piece(1, 0, &[0x48, 0x1b]), piece(2, 0, &[0x65])];
        assert_eq!(read(&pieces), (Some("H€".to_owned()), "gsm7"));
    }

    #[test]
    fn parts_with_one_missing_between_them_are_not_joined() {
        let pieces = [piece(1, 8, &[0, b'a', 0xD8, 0x3D]), piece(3, 8, &[0, b'b'])];
        assert_eq!(read(&pieces), (Some("a\u{FFFD}b".to_owned()), "ucs2"));
    }

    #[test]
    fn parts_of_different_codings_are_read_each_by_its_own() {
        let pieces = [piece(1, 0, b"Hi "), piece(2, 8, &[0x04, 0x16])];
        assert_eq!(read(&pieces), (Some("Hi Ж".to_owned()), "mixed"));
    }

    #[test]
    fn the_header_is_no_text() {
        let mut first = piece(1, 0, &[5, 0, 3, 7, 2, 1, b'H']);
        let mut second = piece(2, 0, &[5, 0, 3, 7, 2, 2, b'i']);
        (first.header, second.header) = (6, 6);
        assert_eq!(read(&[first, second]), (Some("Hi".to_owned()), "gsm7"));
    }

    #[test]
    fn a_binary_part_makes_the_whole_no_text() {
        let pieces = [piece(1, 0, b"Hi"), piece(2, 4, &[1, 2])];
        assert_eq!(read(&pieces), (None, "binary"));
    }
}
