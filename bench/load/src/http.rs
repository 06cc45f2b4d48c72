//! A lean HTTP/1.1 client: raw requests out, status and body in. The load shares the cores with
//! what it measures, so it does no more than that.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest head of an answer in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Longest body of an answer that is read whole, in bytes: 500 results are some 50 KB.
const BODY_BYTES_MAX: usize = 64 << 20;

/// How long the body of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
}

/// Status line and the headers that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Length,
    bytes: usize,
    close: bool,
    /// It says when to come again.
    retry_after: bool,
}

/// Reads a head; `None` while it is not whole.
fn head(buffer: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(end) = buffer.windows(4).position(|octets| octets == b"\r\n\r\n") else {
        ensure!(
            buffer.len() <= HEAD_BYTES_MAX,
            "the answer's head is too long"
        );
        return Ok(None);
    };
    let text = std::str::from_utf8(&buffer[..end]).context("the answer's head is no text")?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3));
    let status = status
        .and_then(|code| code.parse().ok())
        .context("no HTTP/1.1 status line")?;
    let mut head = Head {
        status,
        length: Length::Bytes(0),
        bytes: end + 4,
        close: false,
        retry_after: false,
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            bail!("bad header {line:?}")
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.length = Length::Bytes(value.parse().context("bad content-length")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.length = Length::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            head.close = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("retry-after") {
            head.retry_after = value.parse::<u32>().is_ok_and(|seconds| seconds > 0);
        }
    }
    Ok(Some(head))
}

/// The answering side of a connection.
#[derive(Debug)]
pub(crate) struct Answers<R> {
    stream: R,
    buffer: BytesMut,
    length: Length,
    ended: bool,
    /// The peer closes after the answer whose head was read last.
    pub(crate) close: bool,
    /// The answer whose head was read last says when to come again.
    retry_after: bool,
}

impl<R: AsyncRead + Unpin> Answers<R> {
    pub(crate) fn new(stream: R) -> Self {
        let buffer = BytesMut::with_capacity(64 << 10);
        Self {
            stream,
            buffer,
            length: Length::Bytes(0),
            ended: true,
            close: false,
            retry_after: false,
        }
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(read > 0, "the connection closed inside an answer");
        Ok(())
    }

    /// Waits for the head of the next answer: its status. Interim answers (1xx) are passed over.
    pub(crate) async fn status(&mut self) -> anyhow::Result<u16> {
        loop {
            match head(&self.buffer)? {
                None => self.more().await?,
                Some(head) => {
                    self.buffer.advance(head.bytes);
                    if head.status >= 200 {
                        self.length = head.length;
                        self.ended = head.length == Length::Bytes(0);
                        self.close = head.close;
                        self.retry_after = head.retry_after;
                        return Ok(head.status);
                    }
                }
            }
        }
    }

    /// Appends the next piece of the body to `out`; `false` at its end.
    pub(crate) async fn piece(&mut self, out: &mut BytesMut) -> anyhow::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        match self.length {
            Length::Bytes(left) => {
                if self.buffer.is_empty() {
                    self.more().await?;
                }
                let taken = left.min(self.buffer.len());
                out.extend_from_slice(&self.buffer.split_to(taken));
                self.length = Length::Bytes(left - taken);
                self.ended = left == taken;
            }
            Length::Chunked => {
                let size = self.chunk_size().await?;
                while self.buffer.len() < size + 2 {
                    self.more().await?;
                }
                out.extend_from_slice(&self.buffer.split_to(size));
                self.buffer.advance(2);
                self.ended = size == 0;
            }
        }
        Ok(!self.ended || !out.is_empty())
    }

    async fn chunk_size(&mut self) -> anyhow::Result<usize> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|octets| octets == b"\r\n") {
                let line = self.buffer.split_to(end);
                self.buffer.advance(2);
                let digits = line[..]
                    .split(|octet| *octet == b';')
                    .next()
                    .unwrap_or_default();
                let size = std::str::from_utf8(digits).ok();
                let size = size.and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
                let size = size.context("bad chunk size")?;
                ensure!(size <= BODY_BYTES_MAX, "chunk of {size} bytes");
                return Ok(size);
            }
            self.more().await?;
        }
    }

    /// Reads the rest of the body into `out`.
    pub(crate) async fn body(&mut self, out: &mut BytesMut) -> anyhow::Result<()> {
        while !self.ended {
            self.piece(out).await?;
            ensure!(out.len() <= BODY_BYTES_MAX, "the answer's body is too long");
        }
        Ok(())
    }
}

/// A keep-alive connection that is opened when needed.
#[derive(Debug)]
pub(crate) struct Connection {
    addr: SocketAddr,
    open: Option<Answers<TcpStream>>,
    /// The last answer said when to come again.
    pub(crate) retry_after: bool,
}

impl Connection {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            open: None,
            retry_after: false,
        }
    }

    /// Opens it now.
    pub(crate) async fn open(&mut self) -> anyhow::Result<()> {
        self.open = Some(Answers::new(connect(self.addr).await?));
        Ok(())
    }

    /// Sends a request and reads its answer: the status, and the body into `body`.
    pub(crate) async fn exchange(
        &mut self,
        request: &[&[u8]],
        body: &mut BytesMut,
    ) -> anyhow::Result<u16> {
        let mut answers = match self.open.take() {
            Some(open) => open,
            None => Answers::new(connect(self.addr).await?),
        };
        for piece in request {
            answers.stream.write_all(piece).await?;
        }
        body.clear();
        let status = answers.status().await?;
        answers.body(body).await?;
        self.retry_after = answers.retry_after;
        // Dropped on any error: the next request opens a new one.
        if !answers.close {
            self.open = Some(answers);
        }
        Ok(status)
    }
}

pub(crate) async fn connect(addr: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(addr)
        .await
        .with_context(|| format!("connect to {addr}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Gets a JSON document.
pub(crate) async fn get_json(
    addr: SocketAddr,
    path: &str,
    key: Option<&str>,
) -> anyhow::Result<serde_json::Value> {
    let key = key
        .map(|key| format!("authorization: Bearer {key}\r\n"))
        .unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\n{key}connection: close\r\n\r\n");
    let mut body = BytesMut::new();
    let status = Connection::new(addr)
        .exchange(&[request.as_bytes()], &mut body)
        .await?;
    ensure!(
        status == 200,
        "GET {path}: {status} {}",
        String::from_utf8_lossy(&body)
    );
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(raw: &[u8]) -> anyhow::Result<(u16, String)> {
        let mut answers = Answers::new(raw);
        let status = answers.status().await?;
        let mut body = BytesMut::new();
        answers.body(&mut body).await?;
        Ok((status, String::from_utf8(body.to_vec())?))
    }

    #[tokio::test]
    async fn reads_sized_chunked_and_empty_bodies() {
        let sized = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(read(sized).await.unwrap(), (202, "hello".to_owned()));
        let chunked = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: \
            chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n, world!!!\r\n0\r\n\r\n";
        assert_eq!(
            read(chunked).await.unwrap(),
            (200, "hello, world!!!".to_owned())
        );
        let empty = b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(read(empty).await.unwrap(), (503, String::new()));
    }

    #[tokio::test]
    async fn refuses_what_is_cut_off_or_no_http() {
        assert!(
            read(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello")
                .await
                .is_err()
        );
        assert!(read(b"HTTP/1.1 200 OK\r\n").await.is_err());
        assert!(read(b"SSH-2.0\r\n\r\n").await.is_err());
        let huge = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffff\r\n";
        assert!(read(huge).await.is_err());
    }
}
