//! A push service that does what it is told, frame by frame (RFC 9113 §6).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead as _, AsyncWriteExt as _, DuplexStream, ReadBuf};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

pub(super) const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

pub(super) struct Peer {
    io: Option<DuplexStream>,
    came: Vec<u8>,
    preface: bool,
    /// Nobody reads what we write any more: a full pipe would hold us.
    unheard: bool,
    /// Whether PINGs are answered.
    pub(super) pongs: bool,
    /// Whether what came is given back to the connection's window.
    pub(super) takes: bool,
}

impl Peer {
    pub(super) fn new(io: DuplexStream) -> Self {
        Self {
            io: Some(io),
            came: Vec::new(),
            preface: true,
            unheard: false,
            pongs: true,
            takes: true,
        }
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        let octets = [&head, payload].concat();
        if let Some(io) = self.io.as_mut().filter(|_| !self.unheard) {
            // The other side may be gone.
            drop(io.write_all(&octets).await);
        }
    }

    pub(super) async fn settings(&mut self, streams: u32) {
        // SETTINGS_MAX_CONCURRENT_STREAMS: RFC 9113 §6.5.2.
        let payload = [&[0, 3], &streams.to_be_bytes()[..]].concat();
        self.write(SETTINGS, 0, 0, &payload).await;
    }

    /// A head of an answer: the status from HPACK's static table (RFC 7541 appendix A).
    pub(super) async fn head(&mut self, stream: u32, status: u16, end: bool) {
        self.head_with(stream, status, &[], end).await;
    }

    pub(super) async fn head_with(
        &mut self,
        stream: u32,
        status: u16,
        headers: &[(&str, &str)],
        end: bool,
    ) {
        let indexed = match status {
            200 => 0x88,
            400 => 0x8c,
            404 => 0x8d,
            500 => 0x8e,
            other => panic!("not in the table: {other}"),
        };
        let mut block = vec![indexed];
        for (name, value) in headers {
            // Literal without indexing, new name: RFC 7541 §6.2.2.
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.write(HEADERS, flags, stream, &block).await;
    }

    pub(super) async fn data(&mut self, stream: u32, octets: &[u8], end: bool) {
        self.write(DATA, u8::from(end), stream, octets).await;
    }

    pub(super) async fn reset(&mut self, stream: u32, code: u32) {
        self.write(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    pub(super) async fn goaway(&mut self, last: u32, code: u32, debug_data: &[u8]) {
        let payload = [&last.to_be_bytes(), &code.to_be_bytes(), debug_data].concat();
        self.write(GOAWAY, 0, 0, &payload).await;
    }

    /// DATA on stream 0, which is a connection error. RFC 9113 §6.1.
    pub(super) async fn nonsense(&mut self) {
        self.write(DATA, 0, 0, b"?").await;
        self.unheard = true;
    }

    /// Opens the connection's window by so many octets.
    pub(super) async fn window(&mut self, octets: u32) {
        self.write(WINDOW_UPDATE, 0, 0, &octets.to_be_bytes()).await;
    }

    /// Closes the connection, or finds it closed.
    pub(super) fn cut(&mut self) {
        self.io = None;
    }

    /// All that has come; SETTINGS and WINDOW_UPDATE are left out.
    pub(super) async fn frames(&mut self) -> Vec<Frame> {
        self.fill().await;
        let mut frames = Vec::new();
        if self.preface {
            let preface: Vec<u8> = self.came.drain(..24).collect();
            assert_eq!(preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            self.preface = false;
        }
        while let Some((head, rest)) = self.came.split_first_chunk::<9>() {
            let [l1, l2, l3, kind, flags, stream @ ..] = *head;
            let length = u32::from_be_bytes([0, l1, l2, l3]) as usize;
            let Some(payload) = rest.get(..length) else {
                break;
            };
            let payload = payload.to_vec();
            self.came.drain(..9 + length);
            let stream = u32::from_be_bytes(stream);
            match kind {
                SETTINGS if flags & ACK == 0 => self.write(SETTINGS, ACK, 0, &[]).await,
                PING if flags & ACK == 0 && self.pongs => {
                    self.write(PING, ACK, 0, &payload).await;
                }
                DATA if self.takes && length > 0 => {
                    self.window(u32::from_be_bytes([0, l1, l2, l3])).await
                }
                _ => {}
            }
            if !matches!(kind, SETTINGS | WINDOW_UPDATE) {
                frames.push(Frame {
                    kind,
                    flags,
                    stream,
                    payload,
                });
            }
        }
        frames
    }

    /// Reads what is there, without waiting.
    async fn fill(&mut self) {
        let (Some(io), came) = (&mut self.io, &mut self.came) else {
            return;
        };
        poll_fn(|context| {
            let mut octets = vec![0; 1 << 16];
            loop {
                let mut buffer = ReadBuf::new(&mut octets);
                match Pin::new(&mut *io).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        came.extend_from_slice(buffer.filled());
                    }
                    _ => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}
