//! The server's side of one HTTP/2 connection, without sockets or clock (RFC 9113).
//!
//! ```text
//! octets ──► receive() ──► next_event(): Request, Reset, TooManyStreams
//!            answer(), reset(), go_away(), set_limit() ──► out ──► octets
//! ```
//! Not on h2's server, because that can neither change MAX_CONCURRENT_STREAMS on a connection that
//! runs, nor say why it goes away, nor choose a last-stream-id, nor break a rule on purpose.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf as _, BytesMut};

use super::hpack::{self, Broken, Decoder, Headers, LIST_OCTETS_MAX};

#[cfg(test)]
mod tests;

/// What a client says first (§3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Octets of a frame's header (§4.1).
const FRAME_HEADER: usize = 9;

/// The largest frame that we take: the protocol's least (§4.2), and Apple's (push.md §1.7).
const FRAME_OCTETS_MAX: usize = 16_384;

/// The windows at the start, of connection and stream (§6.9.2), and Apple's (push.md §1.7).
const WINDOW: i64 = 65_535;

/// Octets of a request's body that are kept. Chosen: four times what either service takes; what is
/// longer is answered before it has come whole.
const BODY_OCTETS_MAX: usize = 16_384;

/// Streams that are kept for use again. Chosen: what a busy client has open.
const SPARE_MAX: usize = 1_024;

/// Error codes (§7).
pub(super) mod code {
    pub(in super::super) const NO_ERROR: u32 = 0x0;
    pub(super) const PROTOCOL_ERROR: u32 = 0x1;
    pub(in super::super) const INTERNAL_ERROR: u32 = 0x2;
    pub(super) const FLOW_CONTROL_ERROR: u32 = 0x3;
    pub(super) const FRAME_SIZE_ERROR: u32 = 0x6;
    pub(in super::super) const REFUSED_STREAM: u32 = 0x7;
    pub(in super::super) const CANCEL: u32 = 0x8;
    pub(super) const COMPRESSION_ERROR: u32 = 0x9;
    pub(super) const ENHANCE_YOUR_CALM: u32 = 0xb;
}

/// Frame types (§6).
mod kind {
    pub(super) const DATA: u8 = 0x0;
    pub(super) const HEADERS: u8 = 0x1;
    pub(super) const RST_STREAM: u8 = 0x3;
    pub(super) const SETTINGS: u8 = 0x4;
    pub(super) const PUSH_PROMISE: u8 = 0x5;
    pub(super) const PING: u8 = 0x6;
    pub(super) const GOAWAY: u8 = 0x7;
    pub(super) const WINDOW_UPDATE: u8 = 0x8;
    pub(super) const CONTINUATION: u8 = 0x9;
}

/// Flags (§6).
mod flag {
    pub(super) const ACK: u8 = 0x1;
    pub(super) const END_STREAM: u8 = 0x1;
    pub(super) const END_HEADERS: u8 = 0x4;
    pub(super) const PADDED: u8 = 0x8;
    pub(super) const PRIORITY: u8 = 0x20;
}

/// Settings (§6.5.2).
mod setting {
    pub(super) const HEADER_TABLE_SIZE: u16 = 0x1;
    pub(super) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub(super) const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub(super) const MAX_FRAME_SIZE: u16 = 0x5;
    pub(super) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
}

/// What the client did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// This stream's request is whole.
    Request(u32),
    /// The client gave up this stream, whose request was handed out.
    Reset(u32),
    /// The client opened more streams than SETTINGS allow: this one is the last that is not one too
    /// many.
    TooManyStreams(u32),
}

/// The client broke the protocol: what is in `out` is written, then the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Violation(pub(super) &'static str);

/// One request and its answer.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    /// The body is longer than what is kept of it.
    pub(super) too_long: bool,
    /// The client has said all.
    ended: bool,
    /// It was handed out as an event.
    known: bool,
    window: i64,
    /// What of the answer's body waits for a window.
    left: Vec<u8>,
}

/// A header block whose end is to come.
#[derive(Debug)]
struct Block {
    stream: u32,
    end_stream: bool,
    octets: Vec<u8>,
}

/// What a client may have open at once.
#[derive(Debug)]
struct Limit {
    /// What it has acknowledged; the first one counts at once, as Apple has it (pushy#356).
    held: u32,
    /// What it was told since.
    told: VecDeque<u32>,
}

impl Limit {
    /// More is allowed at once, fewer when it is acknowledged.
    fn allowed(&self) -> u32 {
        let told = self.told.iter().copied().max();
        told.unwrap_or(0).max(self.held)
    }

    fn last(&self) -> u32 {
        self.told.back().copied().unwrap_or(self.held)
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Http2 {
    /// What is to be written.
    pub(super) out: Vec<u8>,
    pub(super) decoder: Decoder,
    /// The highest stream whose request was handed out.
    pub(super) handed: u32,
    /// The client said that it goes.
    pub(super) client_leaves: bool,
    preface: bool,
    events: VecDeque<Event>,
    streams: HashMap<u32, Stream>,
    spare: Vec<Stream>,
    /// The highest stream that the client opened.
    opened: u32,
    /// The last-stream-id that we said, if we go.
    away: Option<u32>,
    limit: Limit,
    block: Option<Block>,
    /// What we may write: of the connection, and of each new stream.
    window: i64,
    stream_window: i64,
    frame_max: usize,
    /// Octets that came since the last WINDOW_UPDATE.
    taken: i64,
    /// Streams with an answer that waits for a window, in order.
    blocked: VecDeque<u32>,
}

type Done = Result<(), Violation>;

impl Http2 {
    /// A connection that allows this many streams at first. Our SETTINGS are in `out`.
    pub(super) fn new(limit: u32) -> Self {
        let mut this = Self {
            out: Vec::with_capacity(FRAME_OCTETS_MAX),
            decoder: Decoder::default(),
            handed: 0,
            client_leaves: false,
            preface: false,
            events: VecDeque::new(),
            streams: HashMap::new(),
            spare: Vec::new(),
            opened: 0,
            away: None,
            limit: Limit {
                held: limit,
                told: VecDeque::from([limit]),
            },
            block: None,
            window: WINDOW,
            stream_window: WINDOW,
            frame_max: FRAME_OCTETS_MAX,
            taken: 0,
            blocked: VecDeque::new(),
        };
        // Those that Apple was seen to send (push.md §1.7).
        this.settings(&[
            (setting::HEADER_TABLE_SIZE, hpack::TABLE_OCTETS_MAX as u32),
            (setting::MAX_CONCURRENT_STREAMS, limit),
            (setting::INITIAL_WINDOW_SIZE, WINDOW as u32),
            (setting::MAX_FRAME_SIZE, FRAME_OCTETS_MAX as u32),
            (setting::MAX_HEADER_LIST_SIZE, LIST_OCTETS_MAX as u32),
        ]);
        this
    }

    /// Streams that are open.
    pub(super) fn open(&self) -> usize {
        self.streams.len()
    }

    /// An open stream.
    pub(super) fn stream(&self, id: u32) -> Option<&Stream> {
        self.streams.get(&id)
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Says whether a GOAWAY was sent and everything that it promised is done.
    pub(super) fn is_done(&self) -> bool {
        let leaves = self.away.is_some() || self.client_leaves;
        leaves && self.streams.is_empty() && self.events.is_empty()
    }

    /// Whether the client has sent a GOAWAY.
    pub(super) fn client_leaves(&self) -> bool {
        self.client_leaves
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.away.is_some()
    }

    /// Tells the client how many streams it may have, if that is news.
    pub(super) fn set_limit(&mut self, limit: u32) {
        if self.limit.last() != limit && self.away.is_none() {
            self.limit.told.push_back(limit);
            self.settings(&[(setting::MAX_CONCURRENT_STREAMS, limit)]);
        }
    }

    fn settings(&mut self, settings: &[(u16, u32)]) {
        self.frame(6 * settings.len(), kind::SETTINGS, 0, 0);
        for (setting, value) in settings {
            self.out.extend_from_slice(&setting.to_be_bytes());
            self.out.extend_from_slice(&value.to_be_bytes());
        }
    }

    fn frame(&mut self, length: usize, kind: u8, flags: u8, stream: u32) {
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        self.out
            .extend_from_slice(length.get(1..).unwrap_or_default());
        self.out.extend_from_slice(&[kind, flags]);
        self.out.extend_from_slice(&stream.to_be_bytes());
    }

    /// Takes whole frames from `input`; the rest stays.
    ///
    /// # Errors
    /// The client broke the protocol; a GOAWAY that says so is in `out`.
    pub(super) fn receive(&mut self, input: &mut BytesMut) -> Done {
        if !self.preface {
            if input.len() < PREFACE.len() {
                return Ok(());
            }
            if !input.starts_with(PREFACE) {
                return self.fail(code::PROTOCOL_ERROR, "no HTTP/2 preface");
            }
            input.advance(PREFACE.len());
            self.preface = true;
        }
        while let Some(&[a, b, c, kind, flags, d, e, f, g]) = input.first_chunk::<FRAME_HEADER>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let stream = u32::from_be_bytes([d, e, f, g]) & 0x7FFF_FFFF;
            if length > FRAME_OCTETS_MAX {
                return self.fail(code::FRAME_SIZE_ERROR, "frame too large");
            }
            let Some(payload) = input.get(FRAME_HEADER..FRAME_HEADER + length) else {
                break;
            };
            self.take(kind, flags, stream, payload)?;
            input.advance(FRAME_HEADER + length);
        }
        Ok(())
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Done {
        if self.block.is_some() && kind != kind::CONTINUATION {
            return self.fail(code::PROTOCOL_ERROR, "a header block was interrupted");
        }
        match kind {
            kind::DATA => self.on_data(flags, stream, payload),
            kind::HEADERS => self.on_headers(flags, stream, payload),
            kind::CONTINUATION => self.on_continuation(flags, stream, payload),
            kind::RST_STREAM => self.on_reset(stream, payload),
            kind::SETTINGS => self.on_settings(flags, payload),
            kind::PING => self.on_ping(flags, payload),
            kind::WINDOW_UPDATE => self.on_window_update(stream, payload),
            kind::GOAWAY => {
                self.client_leaves = true;
                Ok(())
            }
            kind::PUSH_PROMISE => self.fail(code::PROTOCOL_ERROR, "clients do not promise"),
            // PRIORITY is ignored, as Apple does; what is unknown must be (§4.1).
            _ => Ok(()),
        }
    }

    /// Says goodbye with an error.
    fn fail(&mut self, code: u32, why: &'static str) -> Done {
        self.go_away(self.handed, code, why.as_bytes());
        Err(Violation(why))
    }

    fn on_headers(&mut self, flags: u8, stream: u32, payload: &[u8]) -> Done {
        let Some(mut payload) = unpadded(flags, payload) else {
            return self.fail(code::PROTOCOL_ERROR, "padding longer than its frame");
        };
        if flags & flag::PRIORITY != 0 {
            // §6.2: stream dependency and weight.
            let Some(rest) = payload.get(5..) else {
                return self.fail(code::FRAME_SIZE_ERROR, "HEADERS too short");
            };
            payload = rest;
        }
        if stream.is_multiple_of(2) {
            return self.fail(
                code::PROTOCOL_ERROR,
                "HEADERS on a stream that is no client's",
            );
        }
        let block = Block {
            stream,
            end_stream: flags & flag::END_STREAM != 0,
            octets: Vec::new(),
        };
        if flags & flag::END_HEADERS != 0 {
            return self.on_block(block.stream, block.end_stream, payload);
        }
        self.block = Some(block);
        self.on_continuation(0, stream, payload)
    }

    fn on_continuation(&mut self, flags: u8, stream: u32, payload: &[u8]) -> Done {
        let Some(mut block) = self.block.take().filter(|block| block.stream == stream) else {
            return self.fail(code::PROTOCOL_ERROR, "CONTINUATION of nothing");
        };
        if block.octets.len() + payload.len() > 2 * LIST_OCTETS_MAX {
            return self.fail(code::ENHANCE_YOUR_CALM, "header list too long");
        }
        block.octets.extend_from_slice(payload);
        if flags & flag::END_HEADERS == 0 {
            self.block = Some(block);
            return Ok(());
        }
        self.on_block(block.stream, block.end_stream, &block.octets)
    }

    fn on_block(&mut self, id: u32, end_stream: bool, block: &[u8]) -> Done {
        let mut stream = self.spare.pop().unwrap_or_default();
        match self.decoder.decode(block, &mut stream.headers) {
            Ok(()) => {}
            Err(Broken::Compression) => return self.fail(code::COMPRESSION_ERROR, "no HPACK"),
            Err(Broken::TooLong) => {
                return self.fail(code::ENHANCE_YOUR_CALM, "header list too long");
            }
        }
        if id <= self.opened {
            self.recycle(stream);
            // Trailers, or of a stream that is closed.
            return match self.streams.get_mut(&id) {
                Some(stream) if end_stream && !stream.ended => {
                    stream.ended = true;
                    self.hand_out(id);
                    Ok(())
                }
                Some(_) => self.fail(code::PROTOCOL_ERROR, "HEADERS twice"),
                None => Ok(()),
            };
        }
        let before = std::mem::replace(&mut self.opened, id);
        if self.away.is_some_and(|last| id > last) {
            self.recycle(stream);
            return Ok(());
        }
        if self.streams.len() >= self.limit.allowed() as usize {
            self.recycle(stream);
            self.events.push_back(Event::TooManyStreams(before));
            return Ok(());
        }
        stream.window = self.stream_window;
        stream.ended = end_stream;
        self.streams.insert(id, stream);
        if end_stream {
            self.hand_out(id);
        }
        Ok(())
    }

    fn hand_out(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.known
        {
            stream.known = true;
            self.events.push_back(Event::Request(id));
        }
    }

    fn recycle(&mut self, mut stream: Stream) {
        if self.spare.len() < SPARE_MAX {
            stream.headers.clear();
            stream.body.clear();
            stream.left.clear();
            self.spare.push(Stream {
                headers: stream.headers,
                body: stream.body,
                left: stream.left,
                ..Stream::default()
            });
        }
    }

    fn on_data(&mut self, flags: u8, id: u32, payload: &[u8]) -> Done {
        self.taken += payload.len() as i64;
        if self.taken > WINDOW {
            return self.fail(code::FLOW_CONTROL_ERROR, "more DATA than the window");
        }
        // What came is given back at half: fewer frames, and the window never runs dry.
        if self.taken > WINDOW / 2 {
            self.frame(4, kind::WINDOW_UPDATE, 0, 0);
            self.out
                .extend_from_slice(&(self.taken as u32).to_be_bytes());
            self.taken = 0;
        }
        let Some(data) = unpadded(flags, payload) else {
            return self.fail(code::PROTOCOL_ERROR, "padding longer than its frame");
        };
        if id == 0 || id > self.opened {
            return self.fail(code::PROTOCOL_ERROR, "DATA on an idle stream");
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        if stream.ended {
            return self.fail(code::PROTOCOL_ERROR, "DATA after the end");
        }
        if !stream.too_long {
            stream.body.extend_from_slice(data);
        }
        stream.too_long |= stream.body.len() > BODY_OCTETS_MAX;
        stream.ended = flags & flag::END_STREAM != 0;
        if stream.ended || stream.too_long {
            self.hand_out(id);
        }
        Ok(())
    }

    fn on_reset(&mut self, id: u32, payload: &[u8]) -> Done {
        if payload.len() != 4 {
            return self.fail(code::FRAME_SIZE_ERROR, "RST_STREAM has four octets");
        }
        if id == 0 || id > self.opened {
            return self.fail(code::PROTOCOL_ERROR, "RST_STREAM of an idle stream");
        }
        if let Some(stream) = self.streams.remove(&id) {
            let known = stream.known;
            self.recycle(stream);
            let untold = self.events.iter().position(|e| *e == Event::Request(id));
            match untold {
                // Given up before anybody looked at it.
                Some(at) => drop(self.events.remove(at)),
                None if known => self.events.push_back(Event::Reset(id)),
                None => {}
            }
        }
        Ok(())
    }

    fn on_settings(&mut self, flags: u8, payload: &[u8]) -> Done {
        if flags & flag::ACK != 0 {
            match self.limit.told.pop_front() {
                Some(limit) => self.limit.held = limit,
                None => return self.fail(code::PROTOCOL_ERROR, "SETTINGS ACK of nothing"),
            }
            return Ok(());
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return self.fail(code::FRAME_SIZE_ERROR, "SETTINGS are of six octets each");
        }
        for &[a, b, c, d, e, f] in settings {
            let value = u32::from_be_bytes([c, d, e, f]);
            match u16::from_be_bytes([a, b]) {
                setting::INITIAL_WINDOW_SIZE => {
                    if value > 0x7FFF_FFFF {
                        return self.fail(code::FLOW_CONTROL_ERROR, "window too large");
                    }
                    let more = i64::from(value) - self.stream_window;
                    self.stream_window = i64::from(value);
                    for stream in self.streams.values_mut() {
                        stream.window += more;
                    }
                }
                setting::MAX_FRAME_SIZE => {
                    self.frame_max = (value as usize).clamp(1, FRAME_OCTETS_MAX);
                }
                _ => {}
            }
        }
        self.frame(0, kind::SETTINGS, flag::ACK, 0);
        self.unblock();
        Ok(())
    }

    fn on_ping(&mut self, flags: u8, payload: &[u8]) -> Done {
        if payload.len() != 8 {
            return self.fail(code::FRAME_SIZE_ERROR, "PING has eight octets");
        }
        if flags & flag::ACK == 0 {
            self.frame(8, kind::PING, flag::ACK, 0);
            self.out.extend_from_slice(payload);
        }
        Ok(())
    }

    fn on_window_update(&mut self, id: u32, payload: &[u8]) -> Done {
        let Ok(increment) = <[u8; 4]>::try_from(payload) else {
            return self.fail(code::FRAME_SIZE_ERROR, "WINDOW_UPDATE has four octets");
        };
        let increment = i64::from(u32::from_be_bytes(increment) & 0x7FFF_FFFF);
        if id == 0 {
            self.window += increment;
            if self.window > 0x7FFF_FFFF {
                return self.fail(code::FLOW_CONTROL_ERROR, "window too large");
            }
        } else if let Some(stream) = self.streams.get_mut(&id) {
            stream.window += increment;
        }
        self.unblock();
        Ok(())
    }

    /// Answers a request: its status and headers, then the body as windows allow. With `end` false
    /// the answer is never ended. Says whether the client still waits for it.
    pub(super) fn answer(
        &mut self,
        id: u32,
        status: u16,
        fields: &[(&'static str, Vec<u8>)],
        body: &[u8],
        end: bool,
    ) -> bool {
        let Some(mut stream) = self.streams.remove(&id) else {
            return false;
        };
        let ends = if end && body.is_empty() {
            flag::END_STREAM
        } else {
            0
        };
        let start = self.out.len();
        self.frame(0, kind::HEADERS, flag::END_HEADERS | ends, id);
        hpack::write_status(status, &mut self.out);
        for (name, value) in fields {
            hpack::write_field(name, value, &mut self.out);
        }
        // The length is known now; our blocks are far below a frame's most.
        let length = (self.out.len() - start - FRAME_HEADER) as u32;
        if let Some(place) = self.out.get_mut(start..start + 3) {
            place.copy_from_slice(&length.to_be_bytes()[1..]);
        }
        if !end {
            self.streams.insert(id, stream);
            return true;
        }
        if body.is_empty() {
            self.close(id, stream);
            return true;
        }
        stream.left.extend_from_slice(body);
        self.streams.insert(id, stream);
        self.blocked.push_back(id);
        self.unblock();
        true
    }

    /// What has been answered whole is over; a request that has not come whole is asked to stop
    /// (§8.1).
    fn close(&mut self, id: u32, stream: Stream) {
        if !stream.ended {
            self.frame(4, kind::RST_STREAM, 0, id);
            self.out.extend_from_slice(&code::NO_ERROR.to_be_bytes());
        }
        self.recycle(stream);
    }

    /// Writes what waits, as far as windows allow.
    fn unblock(&mut self) {
        for _ in 0..self.blocked.len() {
            let Some(id) = self.blocked.pop_front() else {
                return;
            };
            let Some(mut stream) = self.streams.remove(&id) else {
                continue;
            };
            while !stream.left.is_empty() {
                let room = self.window.min(stream.window).max(0);
                let count = stream.left.len().min(self.frame_max);
                let count = count.min(usize::try_from(room).unwrap_or(0));
                if count == 0 {
                    break;
                }
                let last = count == stream.left.len();
                let flags = if last { flag::END_STREAM } else { 0 };
                self.frame(count, kind::DATA, flags, id);
                self.out.extend(stream.left.drain(..count));
                self.window -= count as i64;
                stream.window -= count as i64;
            }
            if stream.left.is_empty() {
                self.close(id, stream);
            } else {
                self.streams.insert(id, stream);
                self.blocked.push_back(id);
            }
        }
    }

    /// Gives up a stream. Says whether the client still waited for it.
    pub(super) fn reset(&mut self, id: u32, code: u32) -> bool {
        let Some(stream) = self.streams.remove(&id) else {
            return false;
        };
        self.recycle(stream);
        self.frame(4, kind::RST_STREAM, 0, id);
        self.out.extend_from_slice(&code.to_be_bytes());
        true
    }

    /// Says that streams above `last` are not looked at, nor will any more be; those that were
    /// handed out above it are forgotten without an answer.
    pub(super) fn go_away(&mut self, last: u32, code: u32, debug: &[u8]) {
        let last = self.away.map_or(last, |before| before.min(last));
        self.away = Some(last);
        self.frame(8 + debug.len(), kind::GOAWAY, 0, 0);
        self.out.extend_from_slice(&last.to_be_bytes());
        self.out.extend_from_slice(&code.to_be_bytes());
        self.out.extend_from_slice(debug);
        self.streams.retain(|&id, _| id <= last);
        self.events.retain(|event| match event {
            Event::Request(id) => *id <= last,
            Event::Reset(_) => true,
            Event::TooManyStreams(_) => false,
        });
    }
}

/// The payload of a frame that may be padded (§6.1).
fn unpadded(flags: u8, payload: &[u8]) -> Option<&[u8]> {
    if flags & flag::PADDED == 0 {
        return Some(payload);
    }
    let (&padding, rest) = payload.split_first()?;
    let length = rest.len().checked_sub(usize::from(padding))?;
    rest.get(..length)
}
