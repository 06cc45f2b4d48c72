//! NDJSON: a batch as a stream, read in groups, stored several groups at a time, answered line by line.
//!
//! ```text
//!  body ─► Lines ─► group ─► check, plan ─► ingress ─► store (GROUPS_MAX at a time) ─► Results ─► answer
//!                                             waits      waits, input pauses            never waits
//! ```
//!
//! A group is what one read brought, at most [`GROUP_LINES`] lines: a line alone is not delayed to
//! fill one. Groups are handed to the store in the order of their lines, and their results come in
//! the order of their commits. Reading never waits for results to be read.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use metrics::gauge;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::accept::answer::{self, Body, Source};
use crate::accept::batch::{self, Fate, ItemResult, Reading};
use crate::accept::check::{self, Origin};
use crate::accept::ingress::Taken;
use crate::accept::patience::Patience;
use crate::accept::problem::{Code, FieldError, Problem};
use crate::accept::request::{Piece, Request, is_object};
use crate::accept::router::Asked;
use crate::accept::{Gateway, NDJSON_BYTES_MAX, NDJSON_LINES_MAX, Scope, body};
use crate::message::{MessageId, TenantIx};
use crate::metrics as names;
use crate::store::{Accepted, Draft, Refused};

mod lines;
mod results;

use lines::{Line, Lines};
use results::{Format, Results};

pub(crate) use results::{ResultStream, SummaryLine};

/// Lines of one group (storage.md: beyond a few hundred a commit gains nothing more).
const GROUP_LINES: usize = 500;
/// Groups at the store at a time (chosen: at 500 lines and 5 ms a commit this is 1.6 M lines/s; with
/// the 50 lines of a small read, 160 k).
const GROUPS_MAX: usize = 16;
/// The next bytes of a stream have to come within this time (chosen: a batch's producer may pause).
const IDLE: Duration = Duration::from_secs(60);

/// Answers `POST /v1/batches` with an NDJSON body.
pub(crate) async fn send<B>(
    gateway: &Arc<Gateway>,
    asked: &Asked,
    tenant: TenantIx,
    body: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    if asked.parts.headers.contains_key("idempotency-key") {
        let detail = "a stream has idempotency_key in its lines";
        let error = FieldError::header("Idempotency-Key", "not_allowed_here", detail);
        return Err(Problem::of(vec![error]));
    }
    let permit = gateway.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, "limits.ndjson_streams are being read").retry_after(1)
    })?;
    let traceparent = check::traceparent(&asked.parts.headers);
    let streaming = asked.wants_ndjson();
    let batch = gateway.batch_ids.next(gateway.door.clock.now());
    let format = if streaming {
        Format::Lines
    } else {
        Format::Envelope
    };
    let body = body
        .take()
        .ok_or_else(|| Problem::new(Code::Internal, "the body is gone"))?;
    let results = Results::new(format, gateway.store.ids(), batch);
    let reader = Reader {
        gateway: gateway.clone(),
        results: results.clone(),
        tenant,
        batch,
        traceparent: traceparent.unwrap_or_default().to_owned(),
        strict: asked.strict(),
        overrides: asked.principal.scopes.has(Scope::PolicyOverride),
        raw: asked.principal.scopes.has(Scope::MessagesRaw),
        defaults: None,
        line: 0,
        index: 0,
        begun: false,
        over: false,
    };
    // Results may stay unread for as long as there is something to read.
    let patience = asked.parts.extensions.get::<Arc<Patience>>();
    let reading = patience.map(Patience::stream);
    let run = async move {
        gauge!(names::NDJSON_STREAMS).increment(1.0);
        reader.run(body).await;
        gauge!(names::NDJSON_STREAMS).decrement(1.0);
        drop((permit, reading));
    };
    let media = if streaming {
        tokio::spawn(run);
        HeaderValue::from_static(answer::NDJSON)
    } else {
        run.await;
        HeaderValue::from_static("application/json")
    };
    let mut response = Response::new(Body::Results(ResultStream::new(results)));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, media);
    Ok(response)
}

/// The first line may be this.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstLine<'a> {
    #[serde(borrow)]
    defaults: &'a RawValue,
}

impl<'a> FirstLine<'a> {
    fn read(json: &'a [u8]) -> Option<Self> {
        let first = serde_json::from_slice(json).ok();
        first.filter(|_| is_object(json))
    }
}

/// Reads one stream.
struct Reader {
    gateway: Arc<Gateway>,
    results: Arc<Results>,
    tenant: TenantIx,
    batch: MessageId,
    traceparent: String,
    strict: bool,
    overrides: bool,
    raw: bool,
    /// The JSON of the first line's `defaults`.
    defaults: Option<Box<str>>,
    /// Lines seen, blank ones too.
    line: u32,
    /// The next message's index.
    index: u32,
    /// Whether a line came that is not blank.
    begun: bool,
    /// Whether there were more lines than allowed.
    over: bool,
}

/// What is known of a line whose draft is at the store.
struct Waiting {
    index: u32,
    client_ref: Option<Box<str>>,
}

struct Stored {
    waiting: Vec<Waiting>,
    answers: Vec<Result<Accepted, Refused>>,
}

impl Reader {
    /// Reads to the end. Everything that was read is settled when it returns.
    async fn run<B>(mut self, mut body: B)
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let mut lines = Lines::default();
        let mut flight = Flight::default();
        let error = self.read(&mut body, &mut lines, &mut flight).await.err();
        // The body goes first: the connection may be used again while the last groups are stored.
        drop(body);
        while let Some(stored) = flight.next().await {
            self.settle(stored);
        }
        self.results.finish(error.as_ref());
    }

    async fn read<B>(
        &mut self,
        body: &mut B,
        lines: &mut Lines,
        flight: &mut Flight,
    ) -> Result<(), Problem>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let mut stop = self.gateway.stop.clone();
        let mut read = 0u64;
        loop {
            let frame = tokio::select! {
                biased;
                Some(stored) = flight.next(), if !flight.is_empty() => {
                    self.settle(stored);
                    continue;
                }
                frame = timeout(IDLE, body.frame()) => frame.map_err(|_| body::late())?,
                () = stop.stopped() => return Err(Refused::Closed.into()),
            };
            let Some(frame) = frame else { break };
            let frame =
                frame.map_err(|_| Problem::new(Code::MalformedJson, "the body broke off"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            read += u64::try_from(data.len()).unwrap_or(u64::MAX);
            if read > NDJSON_BYTES_MAX {
                let detail = format!("a stream has at most {NDJSON_BYTES_MAX} bytes");
                return Err(Problem::new(Code::BatchTooLarge, detail));
            }
            lines.push(data);
            self.drain(lines, flight).await?;
        }
        lines.end();
        self.drain(lines, flight).await
    }

    /// Hands over every complete line that is there.
    async fn drain(&mut self, lines: &mut Lines, flight: &mut Flight) -> Result<(), Problem> {
        loop {
            let (waiting, drafts, more) = self.group(lines).await?;
            if !drafts.is_empty() {
                self.admit(u32::try_from(drafts.len()).unwrap_or(u32::MAX), flight)
                    .await;
                while flight.len() >= GROUPS_MAX {
                    if let Some(stored) = flight.next().await {
                        self.settle(stored);
                    }
                }
                let gateway = self.gateway.clone();
                flight.push(Box::pin(async move {
                    Stored {
                        waiting,
                        answers: batch::commit(&gateway.store, drafts, batch::PATIENCE).await,
                    }
                }));
                // The first poll puts the group into the writer's inbox: in the order of the lines.
                if let Some(stored) = flight.poll_once().await {
                    self.settle(stored);
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Reads one group; `true` says that there may be more lines.
    async fn group(
        &mut self,
        lines: &mut Lines,
    ) -> Result<(Vec<Waiting>, Vec<Draft>, bool), Problem> {
        // Parsed for each group anew: requests borrow from their JSON.
        let json = self.defaults.take();
        let defaults = match &json {
            Some(json) => Some(batch::defaults(json.as_bytes())?),
            None => None,
        };
        let read = self.group_with(lines, defaults.as_ref()).await;
        drop(defaults);
        if self.defaults.is_none() {
            self.defaults = json;
        }
        read
    }

    /// Lines of a group: no more than what the tenant's rate lets through at once.
    fn group_lines(&self) -> usize {
        let burst = self.gateway.door.ingress.burst(self.tenant);
        let burst = burst.and_then(|burst| usize::try_from(burst).ok());
        burst.map_or(GROUP_LINES, |burst| burst.min(GROUP_LINES))
    }

    async fn group_with(
        &mut self,
        lines: &mut Lines,
        defaults: Option<&Request<'_>>,
    ) -> Result<(Vec<Waiting>, Vec<Draft>, bool), Problem> {
        if self.over {
            let detail = format!("a stream has at most {NDJSON_LINES_MAX} lines");
            return Err(Problem::new(Code::BatchTooLarge, detail));
        }
        let gateway = self.gateway.clone();
        let traceparent = self.traceparent.clone();
        let reading = Reading {
            door: &gateway.door,
            origin: Origin {
                tenant: self.tenant,
                batch: Some(self.batch),
                traceparent: &traceparent,
                overrides: self.overrides,
                raw: self.raw,
                now: gateway.door.clock.now(),
            },
            own_keys: true,
            strict: self.strict.then_some(&gateway.store),
        };
        let most = self.group_lines();
        let (mut waiting, mut drafts) = (Vec::new(), Vec::new());
        while drafts.len() < most {
            let Some(line) = lines.next() else {
                return Ok((waiting, drafts, false));
            };
            if self.line >= NDJSON_LINES_MAX {
                // What this group holds so far is stored first.
                self.over = true;
                return Ok((waiting, drafts, true));
            }
            self.line += 1;
            if self.line.is_multiple_of(batch::ITEMS_AT_ONCE) {
                yield_now().await;
            }
            let first = line != Line::Blank && !std::mem::replace(&mut self.begun, true);
            let item = match &line {
                Line::Blank => continue,
                Line::Whole(json) if first && self.take_defaults(json)? => {
                    // What follows is read with them.
                    return Ok((waiting, drafts, true));
                }
                Line::Whole(json) => reading.item(json, Piece::Line(self.line), defaults),
                Line::TooLong => reading.item(&lines::TOO_LONG, Piece::Line(self.line), None),
            };
            let index = self.index;
            self.index += 1;
            match item.draft {
                Ok(draft) => {
                    let client_ref = batch::reference(&draft);
                    waiting.push(Waiting { index, client_ref });
                    drafts.push(draft);
                }
                Err(mut problem) => {
                    if let Line::Whole(json) = &line
                        && FirstLine::read(json).is_some()
                    {
                        let detail = "only the first line may be defaults";
                        let error = FieldError::at("/defaults", "not_allowed_here", detail);
                        problem = Problem::of(vec![error]);
                    }
                    gateway.metrics.refused(Source::Ndjson, problem.code);
                    self.results.push([ItemResult {
                        index,
                        client_ref: item.client_ref,
                        fate: Fate::failed(problem),
                    }]);
                }
            }
        }
        Ok((waiting, drafts, true))
    }

    /// Whether the first line holds defaults, which are then kept.
    fn take_defaults(&mut self, json: &[u8]) -> Result<bool, Problem> {
        let Some(first) = FirstLine::read(json) else {
            return Ok(false);
        };
        let json = first.defaults.get();
        batch::defaults(json.as_bytes())?;
        self.defaults = Some(json.into());
        Ok(true)
    }

    /// Waits until the tenant's rate lets `count` messages through; settles what comes meanwhile.
    async fn admit(&mut self, count: u32, flight: &mut Flight) {
        loop {
            let door = &self.gateway.door;
            let after = match door.ingress.take(self.tenant, count, door.clock.instant()) {
                Taken::Wait { after, .. } => after,
                // A group is never larger than the burst.
                Taken::Yes(_) | Taken::Never { .. } => return,
            };
            let mut until = std::pin::pin!(sleep(after));
            loop {
                tokio::select! {
                    () = &mut until => break,
                    Some(stored) = flight.next(), if !flight.is_empty() => self.settle(stored),
                }
            }
        }
    }

    fn settle(&self, stored: Stored) {
        let mut answers = stored.answers.into_iter();
        let gateway = &self.gateway;
        self.results
            .push(stored.waiting.into_iter().map(|waiting| ItemResult {
                index: waiting.index,
                client_ref: waiting.client_ref,
                fate: batch::settled(gateway, Source::Ndjson, answers.next()),
            }));
    }
}

type Group = Pin<Box<dyn Future<Output = Stored> + Send>>;

/// Groups at the store, at most [`GROUPS_MAX`], polled in their order.
#[derive(Default)]
struct Flight(VecDeque<Group>);

impl Flight {
    fn push(&mut self, group: Group) {
        self.0.push_back(group);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Stored>> {
        for place in 0..self.0.len() {
            if let Poll::Ready(stored) = self.0[place].as_mut().poll(context) {
                self.0.remove(place);
                return Poll::Ready(Some(stored));
            }
        }
        if self.0.is_empty() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    /// The next group that is stored; `None` when none is out. Cancel safe.
    async fn next(&mut self) -> Option<Stored> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Polls every group once.
    async fn poll_once(&mut self) -> Option<Stored> {
        poll_fn(|context| match self.poll(context) {
            Poll::Ready(stored) => Poll::Ready(stored),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}
