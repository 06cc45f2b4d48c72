//! A route's dictionary of TLVs: what every submit_sm carries, and what is kept of a receipt's.

use codecs::smpp::tlv::{Tag, TlvBuf, Tlvs};

use crate::outcome::ReceiptTlv;

/// TLVs that are kept of one receipt; beyond it they are dropped. Chosen: more than any carrier was
/// seen to send.
const KEPT_MAX: usize = 16;
/// Octets that are kept of one value. As of a message id.
const VALUE_OCTETS_MAX: usize = 255;

/// How a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As text up to a NUL; what is not printable ASCII is escaped.
    Text,
    /// In hexadecimal digits.
    Hex,
    /// As a number of 1, 2 or 4 octets; in hexadecimal digits where it has others.
    Number,
}

/// What a route says about TLVs.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    sent: TlvBuf,
    read: Vec<(Tag, Box<str>, Shown)>,
}

impl Dictionary {
    /// Has every submit_sm carry this value. More than fit into a PDU are refused by the config.
    pub fn send(&mut self, tag: u16, value: &[u8]) {
        let pushed = self.sent.push(Tag(tag), value);
        debug_assert!(pushed.is_ok(), "the config has at most 16, of 255 octets");
    }

    /// Shows what comes in under `tag` by this name.
    pub fn read(&mut self, tag: u16, name: &str, shown: Shown) {
        self.read.push((Tag(tag), name.into(), shown));
    }

    /// What every submit_sm carries.
    pub(super) fn sent(&self) -> Tlvs<'_> {
        self.sent.as_tlvs()
    }

    /// Adds what every submit_sm carries to what this one has; of a tag that is there already, the
    /// message's own stays.
    pub(super) fn add_to(&self, own: &mut TlvBuf) {
        for tlv in self.sent().iter() {
            if own.as_tlvs().find(tlv.tag).is_none() {
                let pushed = own.push(tlv.tag, tlv.value);
                debug_assert!(
                    pushed.is_ok(),
                    "at most 16 of the route and a few of the message"
                );
            }
        }
    }

    /// Those of a receipt's TLVs that the dictionary names, and those that no specification knows, in wire
    /// order. Most receipts have none, and then nothing is allocated.
    pub(super) fn kept(&self, tlvs: Tlvs<'_>) -> Box<[ReceiptTlv]> {
        let mut kept: Vec<ReceiptTlv> = Vec::new();
        for tlv in tlvs.iter() {
            let named = self.read.iter().find(|(tag, ..)| *tag == tlv.tag);
            let value = tlv.value.get(..VALUE_OCTETS_MAX).unwrap_or(tlv.value);
            let (name, value) = match named {
                Some((_, name, how)) => (name.clone(), shown(value, *how)),
                None if tlv.tag.rule().is_none() => {
                    (format!("0x{:04X}", tlv.tag.0).into(), hex(value))
                }
                None => continue,
            };
            // Of a TLV that stands twice the first one counts.
            if kept.len() < KEPT_MAX && kept.iter().all(|other| other.name != name) {
                kept.push(ReceiptTlv { name, value });
            }
        }
        kept.into_boxed_slice()
    }
}

/// The name under which a handset's message has the carrier's id of it, when the route names no TLV so.
const RECEIPTED_MESSAGE_ID: &str = "receipted_message_id";

impl Dictionary {
    /// Those of a handset's message: as of a receipt, and receipted_message_id, which some
    /// carriers put there for the message's own id.
    pub(super) fn of_handset(&self, tlvs: Tlvs<'_>) -> Box<[ReceiptTlv]> {
        let kept = self.kept(tlvs);
        let id = tlvs.find(Tag::RECEIPTED_MESSAGE_ID);
        let named = self
            .read
            .iter()
            .any(|(tag, ..)| *tag == Tag::RECEIPTED_MESSAGE_ID);
        let Some(id) = id.filter(|_| !named) else {
            return kept;
        };
        let value = id.get(..VALUE_OCTETS_MAX).unwrap_or(id);
        let mut kept = kept.into_vec();
        kept.push(ReceiptTlv {
            name: RECEIPTED_MESSAGE_ID.into(),
            value: shown(value, Shown::Text),
        });
        kept.into_boxed_slice()
    }
}

fn shown(value: &[u8], how: Shown) -> Box<str> {
    match (how, value) {
        (Shown::Text, _) => {
            let text = value.split(|&octet| octet == 0).next().unwrap_or_default();
            text.escape_ascii().to_string().into()
        }
        (Shown::Number, [_] | [_, _] | [_, _, _, _]) => {
            let number = value
                .iter()
                .fold(0_u64, |number, &octet| number << 8 | u64::from(octet));
            number.to_string().into()
        }
        (Shown::Number | Shown::Hex, _) => hex(value),
    }
}

fn hex(value: &[u8]) -> Box<str> {
    let digits = |octet: &u8| [octet >> 4, octet & 0xF].map(|d| char::from_digit(d.into(), 16));
    let text: String = value.iter().flat_map(digits).flatten().collect();
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlvs(pairs: &[(u16, &[u8])]) -> TlvBuf {
        let mut tlvs = TlvBuf::new();
        for (tag, value) in pairs {
            tlvs.push(Tag(*tag), value).unwrap();
        }
        tlvs
    }

    fn kept(dictionary: &Dictionary, pairs: &[(u16, &[u8])]) -> Vec<(String, String)> {
        let kept = dictionary.kept(tlvs(pairs).as_tlvs());
        let pair = |tlv: &ReceiptTlv| (tlv.name.to_string(), tlv.value.to_string());
        kept.iter().map(pair).collect()
    }

    #[test]
    fn unknown_tlvs_are_kept_in_hex_and_those_of_the_specification_only_by_name() {
        let mut dictionary = Dictionary::default();
        let receipt: &[(u16, &[u8])] = &[
            (0x001E, b"id7\0"),
            (0x0427, b"\x02"),
            (0x1503, b"\0\0\xfe"),
            (0x1411, b"O2\x1b[31m\0"),
        ];
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            kept(&dictionary, receipt),
            [pair("0x1503", "0000fe"), pair("0x1411", "4f321b5b33316d00")]
        );
        dictionary.read(0x1411, "operator", Shown::Text);
        dictionary.read(0x0427, "state", Shown::Number);
        dictionary.read(0x1503, "mcc", Shown::Number);
        assert_eq!(
            kept(&dictionary, receipt),
            [
                pair("state", "2"),
                pair("mcc", "0000fe"),
                pair("operator", "O2\\x1b[31m")
            ]
        );
        assert!(kept(&dictionary, &receipt[..1]).is_empty());
    }

    #[test]
    fn a_messages_own_tlv_stays_where_the_route_has_one_too() {
        let mut dictionary = Dictionary::default();
        dictionary.send(0x1400, b"1101\0");
        dictionary.send(0x0005, b"\0");
        let mut own = tlvs(&[(0x0005, b"\x01")]);
        dictionary.add_to(&mut own);
        let expected = tlvs(&[(0x0005, b"\x01"), (0x1400, b"1101\0")]);
        assert_eq!(own.as_tlvs(), expected.as_tlvs());
    }

    #[test]
    fn at_most_sixteen_values_of_255_octets_are_kept_each_name_once() {
        let long = [7; 300];
        let twice = (0x1400..0x1414).chain(0x1400..0x1414);
        let many: Vec<_> = twice.map(|tag| (tag, &long[..])).collect();
        let kept = kept(&Dictionary::default(), &many);
        assert_eq!(kept.len(), KEPT_MAX);
        assert!(kept.iter().all(|(_, value)| value.len() == 510));
    }
}
