//! A file of suppressions and memory: it is read no faster than the archive takes it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::body::Frame;

use super::*;

/// Octets of `limits.memory`.
const MEMORY: usize = 4 << 20;
/// Frames of the file; each has as many lines as one commit takes.
const FRAMES: usize = 16;
const LINES: usize = 1_000;

/// What was seen while the file was read.
#[derive(Default)]
struct Seen {
    frames: AtomicUsize,
    used_most: AtomicUsize,
}

impl Rig {
    fn small() -> Self {
        Self::made(
            |_| {},
            |facts| facts.memory = u64::try_from(MEMORY).unwrap(),
        )
    }

    /// Imports some 16 MB of lines. Each frame is made when it is asked for.
    async fn import_much(&self) -> (Answer, Seen) {
        let seen = Arc::new(Seen::default());
        let (noted, store) = (seen.clone(), self.gateway.store.clone());
        let text = "\u{10348}".repeat(250);
        let frames = (0..=FRAMES).map(move |place| {
            noted.frames.fetch_add(1, Ordering::Relaxed);
            let used = store.figures().young_bytes;
            noted.used_most.fetch_max(used, Ordering::Relaxed);
            let Some(frame) = place.checked_sub(1) else {
                return Bytes::from_static(b"phone,text\n");
            };
            let first = frame * LINES;
            let lines = (first..first + LINES).map(|number| format!("+4670{number:07},{text}\n"));
            Bytes::from(lines.collect::<String>())
        });
        let request = Request::builder()
            .method("POST")
            .uri("/v1/suppressions/import")
            .header("content-type", "text/csv")
            .header("authorization", "Bearer operator-secret")
            .header("trunkline-tenant", "acme")
            .body(Frames(frames))
            .unwrap();
        let answer = Answer::read(router::answer(self.gateway.clone(), request).await).await;
        (answer, Arc::into_inner(seen).unwrap())
    }
}

/// A body whose frames are made when they are asked for.
struct Frames<I>(I);

impl<I: Iterator<Item = Bytes> + Unpin> hyper::body::Body for Frames<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|data| Ok(Frame::data(data))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_memory_has_no_room_for_is_not_read_on() {
    let rig = Rig::small();
    rig.gateway.store.stop_archiver_at(1);
    let (answer, seen) = rig.import_much().await;
    answer.is(503, "overloaded");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.ends_with("are stored: send the file again"),
        "{detail}"
    );
    assert_eq!(answer.headers["retry-after"], "1");
    let (frames, used) = (seen.frames.into_inner(), seen.used_most.into_inner());
    assert!((3..FRAMES).contains(&frames), "{frames} frames were read");
    assert!(used < MEMORY, "{used} octets");
}

#[tokio::test]
async fn a_file_larger_than_memory_goes_in_as_the_archive_makes_room() {
    let rig = Rig::small();
    let (answer, seen) = rig.import_much().await;
    assert_eq!(answer.status, 200, "{:?}", answer.bytes);
    assert_eq!(answer.json()["accepted"], FRAMES * LINES);
    let used = seen.used_most.into_inner();
    assert!(used < MEMORY + (2 << 20), "{used} octets");
}
