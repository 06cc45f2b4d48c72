//! Batches as JSON: many messages, one request; items stand alone unless the client says `atomic`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use crate::accept::answer::{self, Body, Source};
use crate::accept::check::{self, Origin};
use crate::accept::list::Parameters;
use crate::accept::problem::{Code, FieldError, ItemError, Problem};
use crate::accept::request::{Piece, Request, is_object, malformed, merge};
use crate::accept::router::Asked;
use crate::accept::{
    BATCH_MAX, Door, Gateway, ITEM_MAX, Scope, body, idempotency, ndjson, shape, single,
};
use crate::clock::UnixMs;
use crate::message::id::{IdMaker, PublicId};
use crate::message::{Class, Ids, MessageId, TenantIx, Text};
use crate::store::{Accepted, Draft, Refused, Store};

/// Items that are read before the links on this thread have their turn. Chosen: half a millisecond, where a
/// thousand items would hold up every answer behind them for ten.
pub(crate) const ITEMS_AT_ONCE: u32 = 50;

/// Field errors shown for one item of a batch (chosen: 100,000 bad lines stay small).
const ITEM_ERRORS_MAX: usize = 4;
/// First and longest pause of a stream whose store takes nothing.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a group of a stream waits for a store that takes nothing, before its lines fail (chosen).
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Makes batch ids. They are never compared with message ids, so the shard is only there to tell two
/// runs of the gateway apart.
pub(crate) struct BatchIds(Mutex<IdMaker>);

impl BatchIds {
    pub(crate) fn new() -> Self {
        let [shard, ..] = answer::random().to_be_bytes();
        Self(Mutex::new(IdMaker::new(shard, MessageId(0))))
    }

    /// The next id.
    pub(crate) fn next(&self, now: UnixMs) -> MessageId {
        self.0.lock().next(now)
    }
}

/// A batch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SendBatch)]
pub(crate) struct Envelope<'a> {
    /// Merged under each message.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Request<'_>>)]
    defaults: Option<&'a RawValue>,
    /// 1 to 1,000 by default.
    #[serde(borrow)]
    #[schema(value_type = Vec<Request<'_>>)]
    messages: Vec<&'a RawValue>,
}

/// What became of a batch. The status 200 speaks of the envelope only.
#[derive(Serialize, ToSchema)]
#[schema(as = BatchResult)]
pub(crate) struct BatchView<'a> {
    #[schema(value_type = String)]
    id: PublicId,
    accepted: usize,
    rejected: usize,
    #[schema(value_type = Vec<ItemResultView<'_>>)]
    results: &'a [&'a RawValue],
}

/// What became of one item; the same object is one line of an NDJSON answer.
#[derive(Serialize, ToSchema)]
#[schema(as = ItemResult)]
pub(crate) struct ItemResultView<'a> {
    pub(crate) index: u32,
    /// As the item would have been answered alone.
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) id: Option<PublicId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_ref: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ItemError<'_>>)]
    pub(crate) error: Option<&'a RawValue>,
}

/// What became of one item, kept until it is shown.
#[derive(Debug)]
pub(crate) struct ItemResult {
    pub(crate) index: u32,
    pub(crate) client_ref: Option<Box<str>>,
    pub(crate) fate: Fate,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Fate {
    Stored { id: MessageId, replayed: bool },
    Failed { status: u16, error: Box<RawValue> },
}

impl Fate {
    /// The fate of a refused item.
    pub(crate) fn failed(mut problem: Problem) -> Self {
        problem.errors.truncate(ITEM_ERRORS_MAX);
        let error = serde_json::value::to_raw_value(&problem.item());
        Self::Failed {
            status: problem.code.status(),
            error: error.unwrap_or_else(|_| RawValue::NULL.to_owned()),
        }
    }
}

impl ItemResult {
    /// As JSON.
    pub(crate) fn view(&self, ids: Ids) -> ItemResultView<'_> {
        let client_ref = self.client_ref.as_deref();
        match &self.fate {
            Fate::Stored { id, replayed } => ItemResultView {
                index: self.index,
                status: 202,
                id: Some(ids.message(*id)),
                client_ref,
                replayed: *replayed,
                error: None,
            },
            Fate::Failed { status, error } => ItemResultView {
                index: self.index,
                status: *status,
                id: None,
                client_ref,
                replayed: false,
                error: Some(error),
            },
        }
    }
}

/// How the items of a batch are read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) door: &'a Door,
    pub(crate) origin: Origin<'a>,
    /// Whether items may carry keys of their own.
    pub(crate) own_keys: bool,
    /// Set when policy refusals are to be errors.
    pub(crate) strict: Option<&'a Store>,
}

/// An item that can be stored, or why not; with its reference and fingerprint.
pub(crate) struct Item {
    pub(crate) client_ref: Option<Box<str>>,
    pub(crate) fingerprint: [u8; 16],
    pub(crate) draft: Result<Draft, Problem>,
}

impl Reading<'_> {
    /// Reads one item.
    pub(crate) fn item(&self, json: &[u8], piece: Piece, defaults: Option<&Request<'_>>) -> Item {
        let refused = |problem| Item {
            client_ref: None,
            fingerprint: idempotency::fingerprint(&String::from_utf8_lossy(json)),
            draft: Err(problem),
        };
        if json.len() > ITEM_MAX {
            let detail = "an item has at most 65536 bytes";
            return refused(Problem::new(Code::BodyTooLarge, detail));
        }
        let (mut request, mut errors) = match piece.parse(json) {
            Ok(parsed) => parsed,
            Err(problem) => return refused(problem),
        };
        let sugar = merge::expand(&mut request, &mut errors);
        if let Some(defaults) = defaults {
            merge::under(&mut request, defaults);
        }
        let key = self.key(&request, &mut errors);
        let draft = key.and_then(|key| {
            let message = check::message(self.door, &request, sugar, errors, self.origin)?;
            single::lawful_or_not_strict(&message, self.strict)?;
            Ok(Draft { message, key })
        });
        Item {
            // One that is too long is the mistake, and no reference.
            client_ref: request
                .client_ref
                .as_deref()
                .filter(|text| text.len() <= check::CLIENT_REF_OCTETS_MAX)
                .map(Box::from),
            // Only a header key needs the fingerprints of all items.
            fingerprint: if self.own_keys {
                [0; 16]
            } else {
                idempotency::fingerprint(&request)
            },
            draft,
        }
    }

    fn key(
        &self,
        request: &Request<'_>,
        errors: &mut Vec<FieldError>,
    ) -> Result<Option<crate::store::IdempotencyKey>, Problem> {
        let key = request.idempotency_key.as_deref();
        let at = "/idempotency_key";
        match key {
            Some(_) if !self.own_keys => {
                errors.push(FieldError::at(
                    at,
                    "exclusive",
                    "excludes the Idempotency-Key header",
                ));
                Ok(None)
            }
            Some(key) if key.is_empty() || key.chars().count() > idempotency::KEY_MAX => {
                let detail = "must have 1..255 characters";
                errors.push(FieldError::at(at, "out_of_range", detail));
                Ok(None)
            }
            None if !self.own_keys => Ok(None),
            key => single::key_of(self.door, self.origin.tenant, key, request),
        }
    }
}

/// Reads a batch's `defaults`, expanded.
///
/// # Errors
/// Their errors, with pointers below `/defaults`.
pub(crate) fn defaults(json: &[u8]) -> Result<Request<'_>, Problem> {
    let below = |error: &mut FieldError| {
        error.pointer = error.pointer.take().map(|at| format!("/defaults{at}"));
    };
    let parsed = Piece::Defaults.parse(json);
    let (mut request, mut errors) = parsed.map_err(|mut problem| {
        problem.errors.iter_mut().for_each(below);
        problem
    })?;
    merge::expand(&mut request, &mut errors);
    if request.idempotency_key.is_some() {
        let detail = "one key cannot be every item's";
        errors.push(FieldError::at(
            "/idempotency_key",
            "not_allowed_here",
            detail,
        ));
    }
    if errors.is_empty() {
        return Ok(request);
    }
    errors.iter_mut().for_each(below);
    Err(Problem::of(errors))
}

/// Answers `POST /v1/batches`.
pub(crate) async fn send<B>(
    gateway: &Arc<Gateway>,
    asked: Asked,
    body: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let tenant = asked.principal.sending_tenant()?;
    let kind = body::kind(&asked.parts.headers)?;
    let mut parameters = Parameters::read(asked.parts.uri.query(), &["atomic"]);
    let atomic = parameters.parsed("atomic", "must be true or false", |word| word.parse().ok());
    let atomic = atomic.unwrap_or(false);
    if atomic && kind == body::Kind::Ndjson {
        let detail = "a stream is stored as it comes";
        parameters
            .errors
            .push(FieldError::parameter("atomic", "exclusive", detail));
    }
    if !parameters.errors.is_empty() {
        return Err(Problem::of(parameters.errors));
    }
    match kind {
        body::Kind::Ndjson => ndjson::send(gateway, &asked, tenant, body).await,
        body::Kind::Json => json(gateway, &asked, tenant, body, atomic).await,
    }
}

async fn json<B>(
    gateway: &Arc<Gateway>,
    asked: &Asked,
    tenant: TenantIx,
    body: &mut Option<B>,
    atomic: bool,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let headers = &asked.parts.headers;
    let key = idempotency::header_key(headers)?;
    let held = body::whole(
        headers,
        body,
        BATCH_MAX,
        Code::BatchTooLarge,
        &gateway.bodies,
    )
    .await?;
    let batch = gateway.batch_ids.next(gateway.door.clock.now());
    let traceparent = check::traceparent(headers);
    let reading = Reading {
        door: &gateway.door,
        origin: Origin {
            tenant,
            batch: Some(batch),
            traceparent: traceparent.unwrap_or_default(),
            overrides: asked.principal.scopes.has(Scope::PolicyOverride),
            raw: asked.principal.scopes.has(Scope::MessagesRaw),
            now: gateway.door.clock.now(),
        },
        own_keys: key.is_none(),
        strict: asked.strict().then_some(&gateway.store),
    };
    let items = read_items(&held.bytes, reading, gateway.door.batch_items).await?;
    drop(held);
    if atomic {
        all_or_nothing(&items)?;
    }
    let good = items.iter().filter(|item| item.draft.is_ok()).count();
    let rate = single::take(
        &gateway.door,
        tenant,
        u32::try_from(good).unwrap_or(u32::MAX),
    )?;
    let mut taken = split(items);
    let done = match key {
        Some(key) => keyed(gateway, &mut taken, tenant, &key, batch).await?,
        None => {
            let patience = Duration::ZERO;
            let drafts = std::mem::take(&mut taken.drafts);
            let fates = if atomic {
                together(gateway, drafts).await?
            } else {
                commit(&gateway.store, drafts, patience).await
            };
            Done {
                batch,
                replayed: false,
                fates,
            }
        }
    };
    let mut response = answer(gateway, taken, done)?;
    if let Some(rate) = rate {
        answer::set_rate(&mut response, &rate);
    }
    Ok(response)
}

async fn read_items(
    json: &[u8],
    reading: Reading<'_>,
    items_max: usize,
) -> Result<Vec<Item>, Problem> {
    let envelope = envelope(json)?;
    if envelope.messages.is_empty() {
        let detail = format!("must have 1..{items_max} messages");
        let error = FieldError::at("/messages", "out_of_range", detail);
        return Err(Problem::of(vec![error]));
    }
    if envelope.messages.len() > items_max {
        let detail = format!("at most {items_max} messages; more go as NDJSON");
        return Err(Problem::new(Code::BatchTooLarge, detail));
    }
    let base = match envelope.defaults {
        Some(raw) if raw.get() != "null" => Some(defaults(raw.get().as_bytes())?),
        _ => None,
    };
    let mut items = Vec::with_capacity(envelope.messages.len());
    for (nth, raw) in (1..).zip(envelope.messages) {
        if u32::is_multiple_of(nth, ITEMS_AT_ONCE) {
            yield_now().await;
        }
        items.push(reading.item(raw.get().as_bytes(), Piece::Item, base.as_ref()));
    }
    Ok(items)
}

fn envelope(json: &[u8]) -> Result<Envelope<'_>, Problem> {
    let error = match serde_json::from_slice(json) {
        Ok(envelope) if is_object(json) => return Ok(envelope),
        Ok(_) => {
            let error = FieldError::at("", "wrong_type", "must be an object");
            return Err(Problem::of(vec![error]));
        }
        Err(error) if error.is_data() => error,
        Err(error) => return Err(malformed(&error)),
    };
    let wrong = |at: &str, code, detail: String| FieldError::at(at, code, detail);
    let fields: BTreeMap<Cow<'_, str>, &RawValue> = match serde_json::from_slice(json) {
        Ok(fields) => fields,
        Err(error) if !error.is_data() => return Err(malformed(&error)),
        Err(_) => {
            let error = wrong("", "wrong_type", "must be an object".to_owned());
            return Err(Problem::of(vec![error]));
        }
    };
    let mut errors: Vec<FieldError> = fields
        .keys()
        .filter(|name| !matches!(&***name, "defaults" | "messages"))
        .map(|name| {
            let mut at = String::new();
            shape::push_token(&mut at, name);
            wrong(&at, "unknown_field", String::new())
        })
        .collect();
    match fields.get("messages") {
        None => errors.push(wrong(
            "/messages",
            "required",
            "a list of messages".to_owned(),
        )),
        Some(raw) if !raw.get().starts_with('[') => {
            errors.push(wrong(
                "/messages",
                "wrong_type",
                "must be a list".to_owned(),
            ));
        }
        Some(_) => {}
    }
    if errors.is_empty() {
        errors.push(match shape::first_twice(json) {
            Some(at) => wrong(&at, "duplicate_key", "comes twice".to_owned()),
            None => wrong("", "not_readable", error.to_string()),
        });
    }
    Err(Problem::of(errors))
}

/// Refuses a batch that is to be all or nothing and cannot be.
fn all_or_nothing(items: &[Item]) -> Result<(), Problem> {
    let mut errors = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = |pointer: &str| format!("/messages/{index}{pointer}");
        match &item.draft {
            Ok(_) => {}
            Err(problem) if problem.errors.is_empty() => {
                let error = FieldError::at(at(""), problem.code.name(), problem.detail.clone());
                errors.push(error.alone(problem.code));
            }
            Err(problem) => errors.extend(problem.errors.iter().cloned().map(|mut error| {
                error.pointer = Some(at(error.pointer.as_deref().unwrap_or_default()));
                error
            })),
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::of(errors))
    }
}

/// Items taken apart: what to store, and for each item its reference and its error, if it has one.
struct Taken {
    items: Vec<(Option<Box<str>>, Option<Problem>)>,
    drafts: Vec<Draft>,
    fingerprint: [u8; 16],
}

fn split(items: Vec<Item>) -> Taken {
    let fingerprint = idempotency::combined(items.iter().map(|item| item.fingerprint));
    let mut taken = Taken {
        items: Vec::with_capacity(items.len()),
        drafts: Vec::with_capacity(items.len()),
        fingerprint,
    };
    for item in items {
        let problem = match item.draft {
            Ok(draft) => {
                taken.drafts.push(draft);
                None
            }
            Err(problem) => Some(problem),
        };
        taken.items.push((item.client_ref, problem));
    }
    taken
}

/// What the store said to a batch.
struct Done {
    batch: MessageId,
    replayed: bool,
    fates: Fates,
}

/// What the store said to each message.
type Fates = Vec<Result<Accepted, Refused>>;

/// Stores a batch under a header key, in one commit: all of it, or nothing when the key was used with
/// another batch. Each message carries the key with its place, so that a replay finds its message.
async fn keyed(
    gateway: &Gateway,
    taken: &mut Taken,
    tenant: TenantIx,
    key: &str,
    batch: MessageId,
) -> Result<Done, Problem> {
    let mut drafts = std::mem::take(&mut taken.drafts);
    for (nth, draft) in (0u32..).zip(&mut drafts) {
        draft.key = Some(idempotency::of_batch(tenant, key, nth, taken.fingerprint));
    }
    let mut done = Done {
        batch,
        replayed: false,
        fates: Vec::with_capacity(drafts.len()),
    };
    for accepted in gateway.store.accept_together(drafts).await? {
        match accepted {
            Accepted::KeyReused(_) | Accepted::Untouched => return Err(single::key_reused()),
            Accepted::Replayed(id) if !done.replayed => {
                done.replayed = true;
                let record = gateway.store.get(id).await;
                done.batch = record.and_then(|r| r.message.batch).unwrap_or(batch);
            }
            Accepted::Replayed(_) | Accepted::Stored(_) => {}
        }
        done.fates.push(Ok(accepted));
    }
    Ok(done)
}

/// Stores a batch as one: all of it, or nothing when an item's key was used with another request.
async fn together(gateway: &Gateway, drafts: Vec<Draft>) -> Result<Fates, Problem> {
    let accepted = gateway.store.accept_together(drafts).await?;
    let reused = |accepted: &Accepted| matches!(accepted, Accepted::KeyReused(_));
    let mut errors = Vec::new();
    for (index, _) in accepted.iter().enumerate().filter(|(_, one)| reused(one)) {
        let at = format!("/messages/{index}/idempotency_key");
        let error = FieldError::at(&at, Code::IdempotencyKeyReused.name(), String::new());
        errors.push(error.alone(Code::IdempotencyKeyReused));
    }
    if errors.is_empty() {
        Ok(accepted.into_iter().map(Ok).collect())
    } else {
        Err(Problem::of(errors))
    }
}

fn answer(gateway: &Gateway, taken: Taken, done: Done) -> Result<Response<Body>, Problem> {
    let ids = gateway.store.ids();
    let mut fates = done.fates.into_iter();
    let mut accepted = 0;
    let mut results = Vec::with_capacity(taken.items.len());
    for (index, (client_ref, problem)) in (0u32..).zip(taken.items) {
        let mut fate = match problem {
            Some(problem) => {
                gateway.metrics.refused(Source::Batch, problem.code);
                Fate::failed(problem)
            }
            None => settled(gateway, Source::Batch, fates.next()),
        };
        if let Fate::Stored { replayed, .. } = &mut fate {
            accepted += 1;
            // A replay is the same to the octet: it is the header that tells.
            *replayed &= !done.replayed;
        }
        let result = ItemResult {
            index,
            client_ref,
            fate,
        };
        let raw = serde_json::value::to_raw_value(&result.view(ids));
        results.push(raw.map_err(|_| Problem::new(Code::Internal, "a result was not written"))?);
    }
    let results: Vec<&RawValue> = results.iter().map(|raw| &**raw).collect();
    let view = BatchView {
        id: ids.batch(done.batch),
        accepted,
        rejected: results.len() - accepted,
        results: &results,
    };
    let mut response = answer::json(StatusCode::OK, &view)?;
    if done.replayed {
        let headers = response.headers_mut();
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The fate that the store's answer means, counted.
pub(crate) fn settled(
    gateway: &Gateway,
    source: Source,
    answer: Option<Result<Accepted, Refused>>,
) -> Fate {
    let problem = match answer {
        Some(Ok(Accepted::Stored(message))) => {
            gateway.metrics.accepted(source, message.class);
            let (id, replayed) = (message.id, false);
            return Fate::Stored { id, replayed };
        }
        Some(Ok(Accepted::Replayed(id))) => {
            gateway.metrics.replayed(source);
            return Fate::Stored { id, replayed: true };
        }
        Some(Ok(Accepted::KeyReused(_))) => single::key_reused(),
        Some(Err(refused)) => refused.into(),
        Some(Ok(Accepted::Untouched)) | None => {
            Problem::new(Code::Internal, "the store gave no answer")
        }
    };
    gateway.metrics.refused(source, problem.code);
    Fate::failed(problem)
}

/// Stores drafts; the answers stand in their order. When the store refuses them together, each class
/// is tried alone, otp first, and again until `patience` is over: a low class in the same batch must
/// not keep a high one out.
pub(crate) async fn commit(
    store: &Store,
    drafts: Vec<Draft>,
    patience: Duration,
) -> Vec<Result<Accepted, Refused>> {
    let count = drafts.len();
    let first = drafts.first().map(|draft| draft.message.class);
    let mixed = drafts
        .iter()
        .any(|draft| Some(draft.message.class) != first);
    // Kept only when there may be a second try.
    let kept = (mixed || !patience.is_zero()).then(|| drafts.clone());
    let refused = match store.accept(drafts).await {
        Ok(accepted) => return accepted.into_iter().map(Ok).collect(),
        Err(refused) => refused,
    };
    let mut answers: Vec<_> = (0..count).map(|_| Err(refused)).collect();
    let Some(kept) = kept.filter(|_| refused != Refused::Closed) else {
        return answers;
    };
    let deadline = until(patience);
    for class in Class::ALL {
        let of_class = |(place, draft): (usize, &Draft)| {
            (draft.message.class == class).then(|| (place, draft.clone()))
        };
        let (places, drafts): (Vec<usize>, Vec<Draft>) =
            kept.iter().enumerate().filter_map(of_class).unzip();
        if drafts.is_empty() {
            continue;
        }
        match patiently(deadline, || store.accept(drafts.clone())).await {
            Ok(accepted) => {
                for (place, accepted) in places.into_iter().zip(accepted) {
                    answers[place] = Ok(accepted);
                }
            }
            Err(refused) => places
                .into_iter()
                .for_each(|place| answers[place] = Err(refused)),
        }
    }
    answers
}

/// When patience that begins now is over.
pub(crate) fn until(patience: Duration) -> Instant {
    Instant::now() + patience
}

/// Calls the store until it takes what it is given, or `deadline` is over.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, Refused>>>(
    deadline: Instant,
    call: impl Fn() -> F,
) -> Result<T, Refused> {
    let mut pause = PAUSE_FIRST;
    loop {
        match call().await {
            // A backlog drains while one waits; a full disk may not.
            Err(Refused::Overloaded) if Instant::now() < deadline => {
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            answer => return answer,
        }
    }
}

/// The reference that a draft carries, for its result.
pub(crate) fn reference(draft: &Draft) -> Option<Box<str>> {
    let text = draft.message.text(Text::ClientRef);
    (!text.is_empty()).then(|| text.into())
}
