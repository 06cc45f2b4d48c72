//! Connections against a scripted peer, in virtual time. The peer writes its frames by hand, so that it
//! shares nothing with h2.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{DuplexStream, duplex};
use tokio::task::yield_now;
use tokio::time::advance;

use self::peer::{Frame, Peer};
use super::*;

mod chaos;
mod drains;
mod fates;
mod limits;
mod peer;
mod pings;
mod races;
mod tls;

/// Octets that a pipe holds: more than any test writes, unless it wants to be blocked.
const PIPE: usize = 64 << 20;

/// A connection, its peer, and what the connection has told.
struct Rig {
    connection: Connection,
    peer: Peer,
    fates: Vec<(u64, Fate)>,
    replace: Vec<Replace>,
    limits: usize,
    closed: Option<String>,
}

impl Rig {
    /// A connection whose peer allows so many streams.
    async fn start(streams: u32, config: Config) -> Self {
        let (ours, theirs) = duplex(PIPE);
        Self::over(ours, theirs, streams, config).await
    }

    async fn over(
        ours: impl Io + 'static,
        theirs: DuplexStream,
        streams: u32,
        config: Config,
    ) -> Self {
        let mut peer = Peer::new(theirs);
        peer.settings(streams).await;
        let clock = Clock::system();
        let opened = Connection::open(
            ours,
            "peer".to_owned(),
            Arc::new(config),
            clock,
            Meters::new("push"),
        );
        Self {
            connection: opened.await.unwrap(),
            peer,
            fates: Vec::new(),
            replace: Vec::new(),
            limits: 0,
            closed: None,
        }
    }

    fn send(&mut self, tokens: impl IntoIterator<Item = u64>) {
        for token in tokens {
            let (request, body) = request(token);
            self.connection.send(token, request, body);
        }
    }

    /// Lets the connection do all that it can do now.
    async fn settle(&mut self) {
        for _ in 0..4 {
            let once = |context: &mut Context<'_>| {
                Poll::Ready(pin!(self.connection.turn()).poll(context).is_ready())
            };
            let _has_news = poll_fn(once).await;
            let news = self.connection.news();
            self.fates.append(&mut news.fates);
            self.replace.extend(news.replace.take());
            self.limits += usize::from(std::mem::take(&mut news.limit_changed));
            self.closed = news.closed.take().or_else(|| self.closed.take());
            yield_now().await;
        }
    }

    /// What the peer has received, once the connection has nothing more to do.
    async fn frames(&mut self) -> Vec<Frame> {
        self.settle().await;
        let frames = self.peer.frames().await;
        self.settle().await;
        frames
    }

    /// The streams that requests have opened since the last look.
    async fn opened(&mut self) -> Vec<u32> {
        let frames = self.frames().await;
        let heads = frames.iter().filter(|frame| frame.kind == peer::HEADERS);
        heads.map(|frame| frame.stream).collect()
    }

    async fn passes(&mut self, time: Duration) {
        advance(time).await;
        self.settle().await;
    }

    fn take(&mut self) -> Vec<(u64, Fate)> {
        std::mem::take(&mut self.fates)
    }
}

/// A request that carries its token as its body.
fn request(token: u64) -> (Request<()>, Bytes) {
    let request = Request::builder()
        .method("POST")
        .uri(format!("https://push.test/3/device/{token}"))
        .header("apns-topic", "test.app")
        .body(());
    let body = Bytes::copy_from_slice(&token.to_be_bytes());
    (request.unwrap(), body)
}

fn status(fate: &Fate) -> (u16, bool) {
    match fate {
        Fate::Answered(answered) => (answered.status.as_u16(), answered.complete),
        other => panic!("not answered: {other:?}"),
    }
}

fn unsent(token: u64, why: Unsent) -> (u64, Fate) {
    (token, Fate::Unsent(why))
}

fn unknown(token: u64, why: Unknown) -> (u64, Fate) {
    (token, Fate::Unknown(why))
}
