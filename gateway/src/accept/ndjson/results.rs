//! Results: what became of the lines of a stream, kept compactly until the client reads it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::accept::batch::{Fate, ItemResult};
use crate::accept::patience::Unread;
use crate::accept::problem::{ItemError, Problem};
use crate::message::id::PublicId;
use crate::message::{Ids, MessageId};

/// Octets rendered at a time: what is not asked for stays compact (chosen: one write).
const PIECE: usize = 32 * 1024;

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One object a line, in commit order, and a summary.
    Lines,
    /// One JSON object at the end, in index order.
    Envelope,
}

/// The last line of an NDJSON answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct SummaryLine<'a> {
    summary: Summary<'a>,
}

/// What became of the whole stream.
#[derive(Serialize, ToSchema)]
struct Summary<'a> {
    #[schema(value_type = String)]
    id: PublicId,
    accepted: u32,
    rejected: u32,
    replayed: u32,
    /// Whether the stream was read to its end.
    complete: bool,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ItemError<'_>>)]
    error: Option<&'a RawValue>,
}

/// The results of one stream: bounded by its number of lines.
pub(crate) struct Results {
    format: Format,
    ids: Ids,
    batch: MessageId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    unread: VecDeque<ItemResult>,
    accepted: u32,
    rejected: u32,
    replayed: u32,
    error: Option<Box<RawValue>>,
    done: bool,
    begun: bool,
    ended: bool,
    reader: Option<Waker>,
}

impl Results {
    pub(super) fn new(format: Format, ids: Ids, batch: MessageId) -> Arc<Self> {
        Arc::new(Self {
            format,
            ids,
            batch,
            state: Mutex::default(),
        })
    }

    /// Adds results.
    pub(super) fn push(&self, results: impl IntoIterator<Item = ItemResult>) {
        let mut state = self.state.lock();
        for result in results {
            match result.fate {
                Fate::Stored { replayed, .. } => {
                    state.accepted += 1;
                    state.replayed += u32::from(replayed);
                }
                Fate::Failed { .. } => state.rejected += 1,
            }
            state.unread.push_back(result);
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Says that no more results come; `error` when the stream was not read to its end.
    pub(super) fn finish(&self, error: Option<&Problem>) {
        let mut state = self.state.lock();
        state.done = true;
        state.error = error.and_then(|p| serde_json::value::to_raw_value(&p.item()).ok());
        if self.format == Format::Envelope {
            state
                .unread
                .make_contiguous()
                .sort_by_key(|result| result.index);
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.state.lock();
        let ready = match self.format {
            Format::Lines => state.done || !state.unread.is_empty(),
            Format::Envelope => state.done,
        };
        if !ready {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        if state.ended {
            return Poll::Ready(None);
        }
        let mut piece = Vec::with_capacity(PIECE.min(state.unread.len() * 128 + 256));
        let first = !std::mem::replace(&mut state.begun, true);
        if first && self.format == Format::Envelope {
            let head = format!(
                "{{\"id\":\"{}\",\"accepted\":{},\"rejected\":{},",
                self.ids.batch(self.batch),
                state.accepted,
                state.rejected
            );
            piece.extend_from_slice(head.as_bytes());
            if let Some(error) = &state.error {
                piece.extend_from_slice(b"\"error\":");
                piece.extend_from_slice(error.get().as_bytes());
                piece.push(b',');
            }
            piece.extend_from_slice(b"\"results\":[");
        }
        while piece.len() < PIECE {
            let Some(result) = state.unread.pop_front() else {
                break;
            };
            write(&mut piece, &result.view(self.ids));
            match self.format {
                Format::Lines => piece.push(b'\n'),
                Format::Envelope if !state.unread.is_empty() => piece.push(b','),
                Format::Envelope => {}
            }
        }
        if state.done && state.unread.is_empty() {
            state.ended = true;
            match self.format {
                Format::Lines => {
                    write(&mut piece, &self.summary(&state));
                    piece.push(b'\n');
                }
                Format::Envelope => piece.extend_from_slice(b"]}"),
            }
        }
        Poll::Ready(Some(piece.into()))
    }

    fn summary<'a>(&self, state: &'a State) -> SummaryLine<'a> {
        SummaryLine {
            summary: Summary {
                id: self.ids.batch(self.batch),
                accepted: state.accepted,
                rejected: state.rejected,
                replayed: state.replayed,
                complete: state.error.is_none(),
                error: state.error.as_deref(),
            },
        }
    }
}

fn write(piece: &mut Vec<u8>, value: &impl Serialize) {
    // Plain data into memory: cannot fail.
    drop(serde_json::to_writer(piece, value));
}

/// The results as a body.
pub(crate) struct ResultStream {
    results: Arc<Results>,
    /// Over HTTP/2: what tells that they are taken.
    unread: Option<Unread>,
}

impl ResultStream {
    pub(super) fn new(results: Arc<Results>) -> Self {
        Self {
            results,
            unread: None,
        }
    }

    /// The same results, whose octets tell when they are gone.
    pub(crate) fn held(self, unread: Unread) -> Self {
        Self {
            unread: Some(unread),
            ..self
        }
    }

    /// The next piece; `None` at the end.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let piece = self.results.poll(context);
        let unread = self.unread.as_ref();
        piece.map(|piece| match (piece, unread) {
            (Some(piece), Some(unread)) => Some(unread.hold(piece)),
            (piece, _) => piece,
        })
    }
}
