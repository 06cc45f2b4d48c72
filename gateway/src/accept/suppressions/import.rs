//! Import: a CSV file of who is not to be sent to, read as it comes and stored group by group.
//!
//! What is there already stays as it is, so a file that broke off is simply sent again. It is read no
//! faster than it is stored: what memory has no room for stays in the client's socket.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::csv::{Bad, RECORD_MAX, Record, Records, unguarded};
use super::{TEXT_MAX, TOO_LONG, cause, expires_at, phone, scope_of};
use crate::accept::answer::{self, Body};
use crate::accept::problem::{Code, FieldError, Problem, shown};
use crate::accept::router::Asked;
use crate::accept::{Gateway, NDJSON_BYTES_MAX, batch, body};
use crate::message::TenantIx;
use crate::metrics as names;
use crate::store::{NewSuppression, Refused, Suppressed, SuppressionsFull};
use crate::suppression::{Cause, Key, Source};

/// Lines of one commit (storage.md: beyond a few hundred a commit gains nothing more).
const GROUP: usize = 1_000;
/// Lines told in the summary (chosen: enough to see what is wrong with a file).
const ERRORS_MAX: usize = 100;
/// Octets of a file (chosen: those of an NDJSON stream; about four million plain lines).
pub(crate) const FILE_MAX: u64 = NDJSON_BYTES_MAX;

/// Columns of an export that say how a suppression began: a file may have them, and they are not read.
const NOT_READ: [&str; 3] = ["id", "source", "created_at"];

/// What became of a file.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = ImportedSuppressions)]
pub(crate) struct ImportView {
    /// Lines that are suppressions now.
    accepted: u64,
    /// Lines whose like was there already and lasts as long.
    already_there: u64,
    /// Lines of which nothing was stored.
    rejected: u64,
    /// The first 100 of them.
    errors: Vec<LineError>,
}

/// Why a line was rejected.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportedSuppressionError)]
struct LineError {
    /// From 1; the header row counts.
    line: u64,
    /// A stable word.
    #[schema(value_type = String, example = "not_e164")]
    code: &'static str,
    detail: String,
}

/// Answers `POST /v1/suppressions/import`.
pub(crate) async fn import<B>(
    gateway: &Arc<Gateway>,
    asked: &Asked,
    slot: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let tenant = asked.principal.sending_tenant()?;
    if !body::is_csv(&asked.parts.headers)? {
        let detail = "Content-Type must be text/csv";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let _permit = super::stream(gateway)?;
    let mut file = File {
        gateway,
        tenant,
        by: Cause {
            source: Source::Import,
            ..cause(gateway, asked, "")
        },
        columns: None,
        group: Vec::with_capacity(GROUP),
        done: ImportView::default(),
    };
    let read = file.read(slot).await;
    let done = file.done;
    read.map_err(|mut problem| {
        let stored = done.accepted + done.already_there;
        if stored > 0 {
            let detail = format!(
                "{}; {stored} lines before it are stored: send the file again",
                problem.detail
            );
            problem.detail = detail.into();
        }
        problem
    })?;
    answer::json(StatusCode::OK, &done)
}

/// A file being read.
struct File<'a> {
    gateway: &'a Arc<Gateway>,
    tenant: TenantIx,
    /// Who imports; without a text.
    by: Cause,
    /// Known behind the header row.
    columns: Option<Columns>,
    /// What is not stored yet, each with its line.
    group: Vec<(u64, NewSuppression)>,
    done: ImportView,
}

impl File<'_> {
    /// Reads to the end. What is counted is stored.
    async fn read<B>(&mut self, slot: &mut Option<B>) -> Result<(), Problem>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let mut records = Records::default();
        let mut stop = self.gateway.stop.clone();
        let mut read = 0u64;
        while let Some(body) = slot.as_mut() {
            let frame = tokio::select! {
                biased;
                frame = timeout(body::IDLE, body.frame()) => frame.map_err(|_| body::late())?,
                () = stop.stopped() => return Err(Refused::Closed.into()),
            };
            let Some(frame) = frame else { break };
            let Ok(frame) = frame else {
                // There is nothing left of it to be read away.
                *slot = None;
                return Err(Problem::new(Code::MalformedJson, "the body broke off"));
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            read += u64::try_from(data.len()).unwrap_or(u64::MAX);
            if read > FILE_MAX {
                let detail = format!("a file has at most {FILE_MAX} bytes");
                return Err(Problem::new(Code::BodyTooLarge, detail));
            }
            records.push(&data);
            self.drain(&mut records).await?;
        }
        records.end();
        self.drain(&mut records).await?;
        if self.columns.is_none() {
            return Err(header_problem(vec![missing()]));
        }
        self.store().await
    }

    async fn drain(&mut self, records: &mut Records) -> Result<(), Problem> {
        while let Some(Record { line, fields }) = records.next() {
            let Some(columns) = &self.columns else {
                self.columns = Some(Columns::read(fields)?);
                continue;
            };
            match self.line(columns, fields) {
                Ok(new) => self.group.push((line, new)),
                Err((code, detail)) => self.done.reject(line, code, detail),
            }
            if self.group.len() >= GROUP {
                self.store().await?;
            }
        }
        Ok(())
    }

    /// What a line says, or why it cannot.
    fn line(
        &self,
        columns: &Columns,
        fields: Result<Vec<String>, Bad>,
    ) -> Result<NewSuppression, (&'static str, String)> {
        let fields = fields.map_err(wrong)?;
        if fields.len() != columns.count {
            let detail = format!("{} columns instead of {}", fields.len(), columns.count);
            return Err(("column_count", detail));
        }
        let cell = |place: Option<usize>| {
            let cell = place.and_then(|place| fields.get(place));
            cell.map_or("", |cell| unguarded(cell))
        };
        let mut errors = Vec::new();
        let phone = phone(cell(Some(columns.phone)).trim(), &mut errors);
        let kind = match cell(columns.scope).trim() {
            "" => "all",
            kind => kind,
        };
        let scope = scope_of(kind, cell(columns.value), &mut errors);
        let until = Some(cell(columns.expires_at).trim()).filter(|text| !text.is_empty());
        let now = self.gateway.door.clock.now();
        let expires_at = expires_at(until, now, &mut errors);
        let text = cell(columns.text);
        if text.chars().count() > TEXT_MAX {
            errors.push(FieldError::at("/text", "out_of_range", TOO_LONG));
        }
        if let Some(error) = errors.into_iter().next() {
            let at = error.pointer.unwrap_or_default();
            return Err((error.code, format!("{at}: {}", error.detail)));
        }
        Ok(NewSuppression {
            key: Key {
                tenant: self.tenant,
                phone,
                scope,
            },
            cause: Cause {
                text: text.into(),
                ..self.by.clone()
            },
            expires_at,
        })
    }

    /// Stores the group durably, and counts what became of it. While the store has no room for it
    /// nothing more is read.
    async fn store(&mut self) -> Result<(), Problem> {
        if self.group.is_empty() {
            return Ok(());
        }
        let (lines, items): (Vec<_>, Vec<_>) = self.group.drain(..).unzip();
        let deadline = batch::until(batch::PATIENCE);
        let store = &self.gateway.store;
        let answers = batch::patiently(deadline, || store.suppress(items.clone())).await?;
        if answers.len() != lines.len() {
            return Err(Problem::new(Code::Internal, "the store gave no answer"));
        }
        let (mut added, mut there) = (0, 0);
        for (line, answer) in lines.into_iter().zip(answers) {
            match answer {
                Suppressed::Added(_) => added += 1,
                Suppressed::There(_) => there += 1,
                Suppressed::Full(full) => {
                    let detail = super::no_room(full).to_owned();
                    let code = match full {
                        SuppressionsFull::Memory => "suppressions_full",
                        SuppressionsFull::Senders => "senders_full",
                    };
                    self.done.reject(line, code, detail);
                }
            }
        }
        self.done.accepted += added;
        self.done.already_there += there;
        tell("accepted", added);
        tell("already_there", there);
        Ok(())
    }
}

impl ImportView {
    fn reject(&mut self, line: u64, code: &'static str, detail: String) {
        self.rejected += 1;
        tell("rejected", 1);
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(LineError { line, code, detail });
        }
    }
}

fn tell(result: &'static str, lines: u64) {
    metrics::counter!(names::SUPPRESSIONS_IMPORTED, "result" => result).increment(lines);
}

/// Where a file has what.
#[derive(Default)]
struct Columns {
    count: usize,
    phone: usize,
    scope: Option<usize>,
    value: Option<usize>,
    text: Option<usize>,
    expires_at: Option<usize>,
}

impl Columns {
    /// Reads the header row; all its mistakes at once.
    fn read(names: Result<Vec<String>, Bad>) -> Result<Self, Problem> {
        let names = names.map_err(|bad| {
            let (code, detail) = wrong(bad);
            header_problem(vec![FieldError::at("", code, detail)])
        })?;
        let mut errors = Vec::new();
        let mut columns = Self {
            count: names.len(),
            ..Self::default()
        };
        let mut phone = None;
        let mut seen: Vec<&str> = Vec::new();
        for (place, name) in names.iter().enumerate() {
            let name = name.trim();
            let column = match name {
                "phone" => &mut phone,
                "scope" => &mut columns.scope,
                "value" => &mut columns.value,
                "text" => &mut columns.text,
                "expires_at" => &mut columns.expires_at,
                _ if NOT_READ.contains(&name) => &mut None,
                _ => {
                    let detail = format!("column {}: {:?}", place + 1, shown(name));
                    errors.push(FieldError::at("", "unknown_column", detail));
                    continue;
                }
            };
            if seen.contains(&name) {
                let detail = format!("column {}: {name} comes twice", place + 1);
                errors.push(FieldError::at("", "duplicate_column", detail));
            }
            seen.push(name);
            *column = Some(place);
        }
        match phone {
            Some(place) => columns.phone = place,
            None => errors.push(missing()),
        }
        match errors.is_empty() {
            true => Ok(columns),
            false => Err(header_problem(errors)),
        }
    }
}

fn missing() -> FieldError {
    FieldError::at("", "required", "there must be a column phone")
}

/// The problem of a header row that cannot be read: nothing was stored.
fn header_problem(errors: Vec<FieldError>) -> Problem {
    let detail =
        "the first line must name the columns: phone, and any of scope, value, text, expires_at";
    Problem {
        detail: detail.into(),
        ..Problem::of(errors)
    }
}

/// A record that cannot be read, as a line's error.
fn wrong(bad: Bad) -> (&'static str, String) {
    match bad {
        Bad::TooLong => ("too_long", format!("a line has at most {RECORD_MAX} bytes")),
        Bad::Quote => (
            "bad_quote",
            "a quote is not closed, or not doubled".to_owned(),
        ),
        Bad::Utf8 => ("not_utf8", "must be UTF-8".to_owned()),
    }
}
