//! HPACK, header compression of HTTP/2 (RFC 7541): decodes requests, writes answers.
//!
//! Written here, and not h2's, so that a mistake that client and simulator would share is seen, and
//! so that the size of the client's dynamic table is known.

use std::collections::VecDeque;

use super::huffman;

/// Octets of the dynamic table that we allow, the protocol's default (RFC 9113 §6.5.2) and what
/// Apple announces (push.md §1.7).
pub(super) const TABLE_OCTETS_MAX: usize = 4_096;

/// Octets of a list of headers that are decoded. Apple announces 8,000 (push.md §1.7); Google's
/// authorization is long.
pub(super) const LIST_OCTETS_MAX: usize = 8_000;

/// What a field costs beside its octets (RFC 7541 §4.1, RFC 9113 §6.5.2).
const FIELD_OCTETS: usize = 32;

/// Octets of a Huffman string that is worth remembering: a token that comes with every request.
const MEMO_OCTETS: usize = 64;

/// RFC 7541 appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// A list of headers, in one piece of memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Headers {
    octets: Vec<u8>,
    /// Where a name starts, where it ends and its value starts, where that ends.
    fields: Vec<(usize, usize, usize)>,
}

impl Headers {
    pub(super) fn clear(&mut self) {
        self.octets.clear();
        self.fields.clear();
    }

    /// Names and values, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|&(name, value, end)| {
            let name = self.octets.get(name..value).unwrap_or_default();
            (name, self.octets.get(value..end).unwrap_or_default())
        })
    }

    /// The first value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let mut fields = self.iter();
        fields.find_map(|(found, value)| (found == name.as_bytes()).then_some(value))
    }
}

/// Why a header block cannot be decoded: the connection is lost (RFC 7541 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// It is no HPACK.
    Compression,
    /// The list has more than [`LIST_OCTETS_MAX`] octets.
    TooLong,
}

/// A field of the dynamic table.
#[derive(Debug)]
struct Field {
    octets: Box<[u8]>,
    name: usize,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Newest first.
    table: VecDeque<Field>,
    size: usize,
    size_max: usize,
    /// The most octets that the table had.
    pub(super) inflated: usize,
    /// The last long Huffman string, and what it stands for.
    memo: (Vec<u8>, Vec<u8>),
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            size_max: TABLE_OCTETS_MAX,
            inflated: 0,
            memo: Default::default(),
        }
    }
}

impl Decoder {
    /// Decodes one header block and appends its fields.
    pub(super) fn decode(&mut self, block: &[u8], headers: &mut Headers) -> Result<(), Broken> {
        self.fields(block, headers)
            .unwrap_or(Err(Broken::Compression))
    }

    /// `None`: it is no HPACK.
    fn fields(&mut self, mut block: &[u8], headers: &mut Headers) -> Option<Result<(), Broken>> {
        while let Some(&first) = block.first() {
            let start = headers.octets.len();
            match first {
                // §6.1 Indexed field.
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    let name = self.append(index, true, headers)?;
                    headers
                        .fields
                        .push((start, start + name, headers.octets.len()));
                }
                // §6.3 Size of the dynamic table.
                0x20..0x40 => {
                    self.size_max = integer(&mut block, 5)?;
                    if self.size_max > TABLE_OCTETS_MAX {
                        return None;
                    }
                    self.evict(self.size_max);
                }
                // §6.2 Literal: with indexing, without, never.
                _ => {
                    let indexed = first >= 0x40;
                    let index = integer(&mut block, if indexed { 6 } else { 4 })?;
                    if index == 0 {
                        self.string(&mut block, headers)?;
                    } else {
                        self.append(index, false, headers)?;
                    }
                    let name = headers.octets.len();
                    self.string(&mut block, headers)?;
                    headers.fields.push((start, name, headers.octets.len()));
                    if indexed {
                        self.insert(headers.octets.get(start..)?, name - start);
                    }
                }
            }
            if headers.octets.len() + headers.fields.len() * FIELD_OCTETS > LIST_OCTETS_MAX {
                return Some(Err(Broken::TooLong));
            }
        }
        Some(Ok(()))
    }

    /// Appends a field of the tables, or its name only; octets of the name.
    fn append(&self, index: usize, whole: bool, headers: &mut Headers) -> Option<usize> {
        let index = index.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(index) {
            headers.octets.extend_from_slice(name.as_bytes());
            if whole {
                headers.octets.extend_from_slice(value.as_bytes());
            }
            return Some(name.len());
        }
        let field = self.table.get(index - STATIC.len())?;
        let end = if whole {
            field.octets.len()
        } else {
            field.name
        };
        headers.octets.extend_from_slice(field.octets.get(..end)?);
        Some(field.name)
    }

    /// §5.2.
    fn string(&mut self, block: &mut &[u8], headers: &mut Headers) -> Option<()> {
        let huffman = block.first()? & 0x80 != 0;
        let length = integer(block, 7)?;
        let (string, rest) = block.split_at_checked(length)?;
        *block = rest;
        if !huffman {
            headers.octets.extend_from_slice(string);
            return Some(());
        }
        if string.len() < MEMO_OCTETS {
            return huffman::decode(string, &mut headers.octets);
        }
        let (before, after) = &mut self.memo;
        if before != string {
            before.clear();
            after.clear();
            huffman::decode(string, after)?;
            before.extend_from_slice(string);
        }
        headers.octets.extend_from_slice(after);
        Some(())
    }

    fn insert(&mut self, octets: &[u8], name: usize) {
        let size = octets.len() + FIELD_OCTETS;
        // §4.4: a field that is larger than the table empties it.
        self.evict(self.size_max.saturating_sub(size));
        if size <= self.size_max {
            self.table.push_front(Field {
                octets: octets.into(),
                name,
            });
            self.size += size;
            self.inflated = self.inflated.max(self.size);
        }
    }

    fn evict(&mut self, most: usize) {
        while self.size > most {
            let Some(field) = self.table.pop_back() else {
                break;
            };
            self.size -= field.octets.len() + FIELD_OCTETS;
        }
    }
}

/// §5.1; `None` beyond what any of our limits takes.
fn integer(block: &mut &[u8], prefix: u32) -> Option<usize> {
    let (&first, rest) = block.split_first()?;
    *block = rest;
    let full = (1_usize << prefix) - 1;
    let mut value = usize::from(first) & full;
    if value < full {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let (&octet, rest) = block.split_first()?;
        *block = rest;
        value += usize::from(octet & 0x7F) << shift;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Writes an answer's status; nothing of what we write is indexed, so no table is needed.
pub(super) fn write_status(status: u16, block: &mut Vec<u8>) {
    let text = status.to_string();
    let known = STATIC.iter().position(|field| *field == (":status", &text));
    match known.and_then(|at| u8::try_from(at + 1).ok()) {
        Some(index) => block.push(0x80 | index),
        None => {
            // Literal without indexing, the name that of index 8 (§6.2.2).
            block.push(0x08);
            write_string(text.as_bytes(), block);
        }
    }
}

/// Writes a header as a literal without indexing (§6.2.2). The name must be in lower case.
pub(super) fn write_field(name: &str, value: &[u8], block: &mut Vec<u8>) {
    block.push(0x00);
    write_string(name.as_bytes(), block);
    write_string(value, block);
}

fn write_string(string: &[u8], block: &mut Vec<u8>) {
    match u8::try_from(string.len()) {
        Ok(length @ 0..0x7F) => block.push(length),
        _ => {
            block.push(0x7F);
            let mut rest = string.len() - 0x7F;
            while rest >= 0x80 {
                block.push((rest & 0x7F) as u8 | 0x80);
                rest >>= 7;
            }
            block.push(rest as u8);
        }
    }
    block.extend_from_slice(string);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let octet = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(octet).collect()
    }

    fn list(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Broken> {
        let mut headers = Headers::default();
        decoder.decode(block, &mut headers)?;
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        Ok(headers.iter().map(|(n, v)| (text(n), text(v))).collect())
    }

    #[test]
    fn decodes_the_requests_of_rfc_7541_c4_and_their_table() {
        let mut decoder = Decoder::default();
        let mut next = |block: &str| {
            let fields = list(&mut decoder, &hex(block)).unwrap();
            let last = fields.last().unwrap();
            (fields.len(), last.0.clone(), last.1.clone(), decoder.size)
        };
        let first = next("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff");
        assert_eq!(
            first,
            (4, ":authority".into(), "www.example.com".into(), 57)
        );
        let second = next("8286 84be 5886 a8eb 1064 9cbf");
        assert_eq!(second, (5, "cache-control".into(), "no-cache".into(), 110));
        let third = next("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf");
        assert_eq!(third, (5, "custom-key".into(), "custom-value".into(), 164));
        assert_eq!(decoder.inflated, 164);
    }

    #[test]
    fn evicts_as_the_answers_of_rfc_7541_c5_do() {
        let mut decoder = Decoder {
            size_max: 256,
            ..Decoder::default()
        };
        let first = "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 \
                     3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 \
                     7861 6d70 6c65 2e63 6f6d";
        list(&mut decoder, &hex(first)).unwrap();
        assert_eq!((decoder.size, decoder.table.len()), (222, 4));
        let second = list(&mut decoder, &hex("4803 3330 37c1 c0bf")).unwrap();
        assert_eq!(second[0], (":status".into(), "307".into()));
        assert_eq!(
            second[3],
            ("location".into(), "https://www.example.com".into())
        );
        assert_eq!((decoder.size, decoder.table.len()), (222, 4));
    }

    #[test]
    fn what_is_written_is_read() {
        let long = vec![b'x'; 300];
        let mut block = Vec::new();
        for status in [200, 400, 403, 410, 503] {
            write_status(status, &mut block);
        }
        write_field("apns-id", b"1", &mut block);
        write_field("location", &long, &mut block);
        let fields = list(&mut Decoder::default(), &block).unwrap();
        let statuses: Vec<&str> = fields[..5].iter().map(|field| &*field.1).collect();
        assert_eq!(statuses, ["200", "400", "403", "410", "503"]);
        assert_eq!(fields[5], ("apns-id".into(), "1".into()));
        assert_eq!(fields[6].1.as_bytes(), long);
    }

    #[test]
    fn refuses_what_is_no_hpack_and_never_panics() {
        for block in [
            "80",
            "ff ff ff ff ff 0f",
            "be",
            "3f e2 1f",
            "40 05 61",
            "00 85 f1",
        ] {
            let refused = list(&mut Decoder::default(), &hex(block));
            assert_eq!(refused, Err(Broken::Compression), "{block}");
        }
        let mut block = Vec::new();
        for _ in 0..60 {
            write_field("x", &[b'y'; 120], &mut block);
        }
        assert_eq!(list(&mut Decoder::default(), &block), Err(Broken::TooLong));
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let random: Vec<u8> = (0..24)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            let mut decoder = Decoder::default();
            let broken = decoder.decode(&random, &mut Headers::default());
            assert!(broken != Err(Broken::TooLong) && decoder.size <= TABLE_OCTETS_MAX);
        }
    }
}
