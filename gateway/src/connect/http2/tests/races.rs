//! What comes between two looks: streams that do at a chosen moment what a network does at any.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;

/// A stream with a mind of its own.
struct Sly {
    io: DuplexStream,
    mind: Arc<Mind>,
}

#[derive(Default)]
struct Mind {
    /// Comes with the second read of a turn.
    late: Mutex<Option<Vec<u8>>>,
    looked: AtomicBool,
    /// Every write fails.
    torn: AtomicBool,
}

impl AsyncRead for Sly {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mind = self.mind.clone();
        let mut late = mind.late.lock();
        if late.is_some() {
            if !mind.looked.swap(true, Ordering::Relaxed) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            buffer.put_slice(&late.take().unwrap_or_default());
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Sly {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.mind.torn.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.io).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

async fn start(streams: u32) -> (Rig, Arc<Mind>) {
    let (io, theirs) = duplex(PIPE);
    let mind = Arc::new(Mind::default());
    let sly = Sly {
        io,
        mind: mind.clone(),
    };
    (
        Rig::over(sly, theirs, streams, Config::default()).await,
        mind,
    )
}

#[tokio::test(start_paused = true)]
async fn settings_that_come_while_requests_enter_strand_none_of_them() {
    let (mut rig, mind) = start(10).await;
    rig.frames().await;
    // SETTINGS_MAX_CONCURRENT_STREAMS 1: RFC 9113 §6.5.
    let settings = [&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3], &1_u32.to_be_bytes()[..]].concat();
    *mind.late.lock() = Some(settings);
    // The first look finds nothing, then ten requests enter; the next look would find the SETTINGS.
    rig.connection.due.read = true;
    rig.send(0..10);
    assert_eq!(rig.opened().await.len(), 10);
    assert!(mind.late.lock().is_none());
    assert_eq!(rig.connection.limit(), 1);
    assert!(rig.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn answers_are_read_after_writing_has_failed_and_what_was_not_written_is_unsent() {
    let (mut rig, mind) = start(10).await;
    rig.send([1, 2]);
    rig.frames().await;
    mind.torn.store(true, Ordering::Relaxed);
    rig.send([3]);
    rig.settle().await;
    assert_eq!(rig.connection.limit(), 0);
    rig.peer.head(1, 200, true).await;
    rig.settle().await;
    assert_eq!(status(&rig.take()[0].1), (200, true));
    rig.send([4]);
    rig.peer.cut();
    rig.settle().await;
    let mut fates = rig.take();
    fates.sort_by_key(|(token, _)| *token);
    let expected = [
        unknown(2, Unknown::Broken),
        unsent(3, Unsent::NotWritten),
        unsent(4, Unsent::Draining),
    ];
    assert_eq!(fates, expected);
    assert!(rig.closed.is_some());
}
