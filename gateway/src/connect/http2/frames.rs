//! The frames that pass, seen from their heads: what h2 knows and does not tell.
//!
//! h2 shows a GOAWAY's debug data only inside an error's text and never its last stream id, and it does
//! not say which requests have left it. Both decide whether a request may be repeated, so that they are
//! read where the octets pass, next to TLS.

use rustc_hash::FxHashSet;

/// Octets of a frame's head: length 24 bits, type, flags, stream 31 bits. RFC 9113 §4.1.
const HEAD: usize = 9;
/// Octets of the client's preface. RFC 9113 §3.4.
const PREFACE: usize = 24;
/// Frame types. RFC 9113 §6.
const DATA: u8 = 0x00;
const HEADERS: u8 = 0x01;
const RST_STREAM: u8 = 0x03;
const SETTINGS: u8 = 0x04;
const GOAWAY: u8 = 0x07;
/// The flag of the last frame of a request. RFC 9113 §6.1.
const END_STREAM: u8 = 0x01;
/// The flag of a SETTINGS that only acknowledges. RFC 9113 §6.5.
const ACK: u8 = 0x01;
/// Octets of a GOAWAY before its debug data: last stream id, error code. RFC 9113 §6.8.
const GOAWAY_HEAD: usize = 8;
/// Octets of debug data that are kept. Chosen: Apple's have up to 80; a page of HTML is kept by its start.
pub(super) const DEBUG_DATA_OCTETS_MAX: usize = 512;

/// A peer's GOAWAY. Its `Debug` is fit for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct GoAway {
    /// Requests on streams above this one were not processed, and never will be. RFC 9113 §6.8.
    pub last_stream: u32,
    /// The error code; 0 is NO_ERROR. RFC 9113 §7.
    pub code: u32,
    /// The debug data's first 512 octets: APNs writes JSON with a reason. Untrusted: escape it in logs.
    pub debug_data: Vec<u8>,
}

impl std::fmt::Debug for GoAway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} after stream {}: {}",
            self.code_name(),
            self.last_stream,
            self.debug_data.escape_ascii()
        )
    }
}

impl GoAway {
    /// The error code's name. RFC 9113 §7.
    #[must_use]
    pub fn code_name(&self) -> &'static str {
        code_name(self.code)
    }
}

/// An error code's name; `UNKNOWN` for those that no RFC names. RFC 9113 §7.
#[must_use]
pub(super) fn code_name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.copied().unwrap_or("UNKNOWN")
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Whether it is we who send: requests are followed to their ends.
    sent: bool,
    /// Octets to pass over: the preface, then the rest of a payload.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    /// A GOAWAY's payload, and what of it is still to come.
    payload: Option<(Vec<u8>, usize)>,
    /// Whether the peer's own SETTINGS have passed.
    pub(super) settings: bool,
    /// The highest stream whose HEADERS have passed.
    pub(super) opened: u32,
    /// Requests whose bodies are not all written, as the peer's window does not take them. Bounded by the
    /// streams that are open.
    pub(super) unended: FxHashSet<u32>,
    /// The last GOAWAY.
    pub(super) goaway: Option<GoAway>,
}

impl Frames {
    /// What a client sends.
    pub(super) fn sent() -> Self {
        Self {
            sent: true,
            skip: PREFACE,
            ..Self::default()
        }
    }

    /// Octets pass.
    pub(super) fn pass(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            if let Some((kept, left)) = &mut self.payload {
                let taken = octets.len().min(*left);
                let (now, later) = octets.split_at(taken);
                let room = (GOAWAY_HEAD + DEBUG_DATA_OCTETS_MAX).saturating_sub(kept.len());
                kept.extend_from_slice(now.get(..room).unwrap_or(now));
                *left -= taken;
                octets = later;
                if *left == 0 {
                    self.goaway = self.payload.take().and_then(|(kept, _)| goaway(&kept));
                }
                continue;
            }
            if self.skip > 0 {
                let passed = octets.len().min(self.skip);
                self.skip -= passed;
                octets = octets.split_at(passed).1;
                continue;
            }
            let taken = octets.len().min(HEAD - self.have);
            let (now, later) = octets.split_at(taken);
            if let Some(free) = self.head.get_mut(self.have..self.have + taken) {
                free.copy_from_slice(now);
            }
            self.have += taken;
            octets = later;
            if self.have == HEAD {
                self.have = 0;
                self.starts();
            }
        }
    }

    /// A frame's head is there.
    fn starts(&mut self) {
        let [l1, l2, l3, kind, flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, l1, l2, l3]) as usize;
        // The first bit is reserved. RFC 9113 §4.1.
        let stream = u32::from_be_bytes(stream) & 0x7FFF_FFFF;
        self.skip = length;
        match kind {
            HEADERS => {
                self.opened = self.opened.max(stream);
                if self.sent && flags & END_STREAM == 0 {
                    self.unended.insert(stream);
                }
            }
            DATA if self.sent && flags & END_STREAM != 0 => {
                self.unended.remove(&stream);
            }
            RST_STREAM if self.sent => {
                self.unended.remove(&stream);
            }
            SETTINGS if flags & ACK == 0 => self.settings = true,
            // Without its eight octets h2 ends the connection.
            GOAWAY if length >= GOAWAY_HEAD => {
                self.skip = 0;
                self.payload = Some((Vec::new(), length));
            }
            _ => {}
        }
    }
}

fn goaway(payload: &[u8]) -> Option<GoAway> {
    let (last_stream, rest) = payload.split_first_chunk()?;
    let (code, debug_data) = rest.split_first_chunk()?;
    Some(GoAway {
        last_stream: u32::from_be_bytes(*last_stream) & 0x7FFF_FFFF,
        code: u32::from_be_bytes(*code),
        debug_data: debug_data.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [&head, payload].concat()
    }

    /// Preface, SETTINGS, two requests, then an answer to the second: what a client sends has no GOAWAY.
    fn octets() -> Vec<u8> {
        let debug = [b'x'; 600];
        let goaway = [&[0x80, 0, 0, 7], &11_u32.to_be_bytes()[..], &debug[..]].concat();
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &[0; 12]),
            frame(HEADERS, 4, 1, &[1; 40]),
            frame(0, 1, 1, &[HEADERS; 300]),
            frame(HEADERS, 4, 3, &[]),
            frame(GOAWAY, 0, 0, &goaway),
            frame(HEADERS, 4 | END_STREAM, 5, &[2; 20]),
            frame(HEADERS, 4, 5, &[2; 20]),
            frame(RST_STREAM, 0, 5, &[0; 4]),
        ]
        .concat()
    }

    proptest! {
        #[test]
        fn sees_the_same_however_the_octets_are_cut(cuts in prop::collection::vec(1..50_usize, 1..40)) {
            let octets = octets();
            let mut frames = Frames::sent();
            let mut rest = &octets[..];
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at(rest.len().min(*cut));
                frames.pass(now);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert!(frames.settings);
            prop_assert_eq!(frames.opened, 5);
            prop_assert_eq!(frames.unended, FxHashSet::from_iter([3]));
            let goaway = frames.goaway.unwrap();
            prop_assert_eq!((goaway.last_stream, goaway.code), (7, 11));
            prop_assert_eq!(goaway.code_name(), "ENHANCE_YOUR_CALM");
            prop_assert_eq!(goaway.debug_data, vec![b'x'; DEBUG_DATA_OCTETS_MAX]);
        }
    }

    #[test]
    fn a_log_shows_what_a_peer_said_and_is_no_terminal() {
        let goaway = GoAway {
            last_stream: 7,
            code: 0,
            debug_data: b"{\"reason\":\"Shutdown\"}\x1b[31m".to_vec(),
        };
        let shown = format!("{goaway:?}");
        assert!(
            shown.contains("reason") && shown.contains("Shutdown"),
            "{shown}"
        );
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn an_acknowledgement_is_no_settings_and_half_a_head_is_no_request() {
        let mut frames = Frames::default();
        frames.pass(&frame(SETTINGS, ACK, 0, &[]));
        assert!(!frames.settings);
        frames.pass(&frame(HEADERS, 4, 9, &[])[..8]);
        assert_eq!(frames.opened, 0);
    }
}
