//! HPACK's Huffman code (RFC 7541 §5.2 and appendix B), decoding only.
//!
//! The code is canonical: lengths say all, codes follow in the order of (length, octet).

use std::sync::LazyLock;

/// Bits of each octet's code, of RFC 7541 appendix B. The end of string has 30 ones.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Bits that are looked up at once; codes of text have 5 to 8, of all ASCII letters and digits.
const FAST_BITS: u32 = 9;

/// Bits of the longest code.
const BITS_MAX: u32 = 30;

struct Tables {
    /// By the next [`FAST_BITS`]: octet and bits of its code; 0 bits: the code is longer.
    fast: [(u8, u8); 1 << FAST_BITS],
    /// By the code's bits: the first code of that length, and where its octet is in `octets`.
    first: [(u32, usize, usize); BITS_MAX as usize + 1],
    octets: Vec<u8>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut tables = Tables {
        fast: [(0, 0); 1 << FAST_BITS],
        first: [(0, 0, 0); BITS_MAX as usize + 1],
        octets: Vec::with_capacity(LENGTHS.len()),
    };
    let mut code = 0_u32;
    for (bits, first) in (0..=BITS_MAX).zip(tables.first.iter_mut()) {
        code <<= 1;
        let before = tables.octets.len();
        let start = code;
        for (octet, &length) in (0_u8..=255).zip(&LENGTHS) {
            if u32::from(length) != bits {
                continue;
            }
            if bits <= FAST_BITS {
                let from = (code << (FAST_BITS - bits)) as usize;
                let count = 1 << (FAST_BITS - bits);
                for entry in tables.fast.iter_mut().skip(from).take(count) {
                    *entry = (octet, length);
                }
            }
            tables.octets.push(octet);
            code += 1;
        }
        *first = (start, before, tables.octets.len() - before);
    }
    tables
});

/// Appends what `input` stands for; `None` if it is no Huffman string.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let tables = &*TABLES;
    let mut octets = input.iter();
    // The lowest `have` bits of `bits` are yet to be read.
    let (mut bits, mut have) = (0_u64, 0_u32);
    loop {
        while have <= 32 {
            let Some(&octet) = octets.next() else { break };
            bits = bits << 8 | u64::from(octet);
            have += 8;
        }
        if have == 0 {
            return Some(());
        }
        // What is missing at the end reads as zeros; a code that needs them is cut short.
        let peek = |count: u32| -> u32 {
            let mask = (1_u64 << count) - 1;
            let shifted = if have >= count {
                bits >> (have - count)
            } else {
                bits << (count - have)
            };
            u32::try_from(shifted & mask).unwrap_or(u32::MAX)
        };
        let (octet, length) = tables.fast.get(peek(FAST_BITS) as usize).copied()?;
        let found = match u32::from(length) {
            0 => (FAST_BITS + 1..=BITS_MAX).find_map(|count| {
                let &(first, at, codes) = tables.first.get(count as usize)?;
                let offset = peek(count).checked_sub(first)? as usize;
                (offset < codes).then(|| Some((*tables.octets.get(at + offset)?, count)))?
            }),
            count => Some((octet, count)),
        };
        match found {
            Some((octet, count)) if count <= have => {
                out.push(octet);
                have -= count;
                bits &= (1_u64 << have) - 1;
            }
            // Padding: fewer than eight bits, all ones (§5.2).
            _ if have < 8 && octets.len() == 0 && bits == (1_u64 << have) - 1 => return Some(()),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(input, &mut out).map(|()| out)
    }

    #[test]
    fn decodes_the_examples_of_rfc_7541() {
        // Appendices C.4 and C.6.
        let www = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(decoded(&www).unwrap(), b"www.example.com");
        let no_cache = [0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf];
        assert_eq!(decoded(&no_cache).unwrap(), b"no-cache");
        let date = [
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b,
            0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(decoded(&date).unwrap(), b"Mon, 21 Oct 2013 20:13:21 GMT");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn every_octet_comes_back() {
        // The encoder is written from the definition: a list of bits, no table of ours.
        let mut codes: Vec<(u8, usize)> = LENGTHS.iter().copied().zip(0..).collect();
        codes.sort_unstable();
        let (mut code, mut before) = (0_u64, 0);
        let mut by_octet = vec![(0, 0); 256];
        for (length, octet) in codes {
            code <<= length - before;
            before = length;
            by_octet[octet] = (code, length);
            code += 1;
        }
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        let mut bits = Vec::new();
        for &octet in &all {
            let (code, length) = by_octet[usize::from(octet)];
            bits.extend((0..length).rev().map(|bit| code >> bit & 1));
        }
        bits.resize(bits.len().next_multiple_of(8), 1);
        let octets: Vec<u8> = bits
            .chunks(8)
            .map(|bits| bits.iter().fold(0, |octet, &bit| octet << 1 | bit as u8))
            .collect();
        assert_eq!(decoded(&octets).unwrap(), all);
    }

    #[test]
    fn refuses_what_is_no_huffman_string() {
        // Padding of zeros, padding of a whole octet, the end of string itself.
        assert_eq!(decoded(&[0xf1, 0xe0]), None);
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf, 0xff]), None);
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), None);
    }
}
