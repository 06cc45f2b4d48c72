//! The OpenAPI document, made from the router's table and the types that are read and written.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathsBuilder,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Ref, SchemaFormat, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, RefOr, Required, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::accept::answer::{CSV, NDJSON};
use crate::accept::batch::{BatchView, Envelope, ItemResultView};
use crate::accept::events::{EventPageView, WAIT_MAX};
use crate::accept::list::{LIMIT_DEFAULT, LIMIT_MAX, PageView};
use crate::accept::ndjson::SummaryLine;
use crate::accept::preview::PreviewView;
use crate::accept::problem::{Code, ProblemBody};
use crate::accept::request::Request;
use crate::accept::router::{Endpoint, Entry, TABLE};
use crate::accept::timeline::TimelineView;
use crate::accept::view::{MessageView, RouteListView};
use crate::accept::{Config, NDJSON_LINES_MAX, Scope, receipts, resume, shape, suppressions};
use crate::route_view::{OrphanListView, RouteView};

const JSON: &str = "application/json";
const KEY: &str = "key";

/// The document as JSON.
pub(crate) fn json(config: &Config) -> Bytes {
    serde_json::to_vec(&document(config))
        .unwrap_or_default()
        .into()
}

/// The document (OpenAPI 3.1).
#[must_use]
pub fn document(config: &Config) -> OpenApi {
    let mut paths = PathsBuilder::new().build();
    for entry in &TABLE {
        let method = match entry.method {
            hyper::Method::POST => HttpMethod::Post,
            hyper::Method::DELETE => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        paths.add_path_operation(entry.path, vec![method], operation(entry, config));
    }
    let key = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Trunkline")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Messages in, signed events back. 202 means: on disk. Every error is \
                     application/problem+json (RFC 9457): branch on `code`. Every answer carries \
                     Trunkline-Request-Id. Unknown request fields and query parameters answer 422; \
                     unknown response fields must be ignored. A path that is not here answers 404 \
                     not_found, or not_available when a later version will have it; another method \
                     405 method_not_allowed with Allow. HEAD answers as GET without the body. What \
                     is no HTTP at all, or has too long a head, gets a bare 400, 414 or 431.",
                )),
        )
        .paths(paths)
        .components(Some(components().security_scheme(KEY, key).build()))
        .build()
}

fn components() -> ComponentsBuilder {
    let mut all: Vec<(String, RefOr<Schema>)> = Vec::new();
    add::<Request<'_>>(&mut all);
    add::<MessageView<'_>>(&mut all);
    add::<PreviewView<'_>>(&mut all);
    add::<PageView<'_>>(&mut all);
    add::<TimelineView<'_>>(&mut all);
    add::<Envelope<'_>>(&mut all);
    add::<BatchView<'_>>(&mut all);
    add::<ItemResultView<'_>>(&mut all);
    add::<SummaryLine<'_>>(&mut all);
    add::<RouteView>(&mut all);
    add::<RouteListView>(&mut all);
    add::<OrphanListView>(&mut all);
    add::<EventPageView>(&mut all);
    add::<suppressions::SuppressionView<'_>>(&mut all);
    add::<suppressions::PageView<'_>>(&mut all);
    add::<suppressions::VerdictView<'_>>(&mut all);
    add::<suppressions::ScopeIn>(&mut all);
    add::<suppressions::AddIn>(&mut all);
    add::<suppressions::CheckIn>(&mut all);
    add::<receipts::ReceiptsIn>(&mut all);
    add::<receipts::TakenView>(&mut all);
    add::<resume::ResumeIn>(&mut all);
    add::<suppressions::import::ImportView>(&mut all);
    add::<ProblemBody<'_>>(&mut all);
    fixed_fields(&mut all);
    let builder = ComponentsBuilder::new();
    all.into_iter().fold(builder, |builder, (name, schema)| {
        builder.schema(name, schema)
    })
}

/// Adds the fields that may be sent with their default only.
fn fixed_fields(all: &mut [(String, RefOr<Schema>)]) {
    for (schema, field, value) in shape::defaults() {
        let only = ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .enum_values(Some([value]))
            .description(Some("Its default: other values are not in this version."));
        let only = Schema::Object(only.build());
        // A schema that several others refer to is in the list more than once.
        for (_, found) in all.iter_mut().filter(|one| one.0 == schema) {
            if let RefOr::T(Schema::Object(object)) = found {
                let only = only.clone().into();
                object.properties.insert(field.to_owned(), only);
            }
        }
    }
}

/// A type and all that it is made of.
fn add<T: ToSchema + PartialSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
    all.push((T::name().into_owned(), T::schema()));
    T::schemas(all);
}

fn reference<T: ToSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

fn operation(entry: &Entry, config: &Config) -> Operation {
    let mut operation = OperationBuilder::new()
        .summary(Some(entry.summary))
        .operation_id(Some(operation_id(entry.endpoint)));
    if let Some(scope) = entry.scope {
        let need = match entry.endpoint {
            Endpoint::AppReceipts => format!("{} {APP_TOKEN}", need(scope)),
            _ => need(scope),
        };
        operation = operation
            .description(Some(need))
            .security(SecurityRequirement::new(KEY, [scope.name()]))
            .parameter(header(
                "Trunkline-Tenant",
                "Operator keys: the tenant to act for.",
            ));
    }
    for parameter in parameters(entry, config) {
        operation = operation.parameter(parameter);
    }
    operation = operation
        .request_body(request_body(entry.endpoint))
        .response(status(entry.endpoint), good(entry.endpoint));
    for (status, codes) in by_status(&problems(entry)) {
        operation = operation.response(status.to_string(), problem(status, &codes));
    }
    operation.build()
}

fn need(scope: Scope) -> String {
    format!("Needs the scope `{}`.", scope.name())
}

/// What an app shows instead of a key.
const APP_TOKEN: &str = "Or, as the bearer, the token that the push itself carries beside the message's id \
    (`trunkline_receipt_token`, `trunkline_message_id`: APNs beside `aps`, FCM in `data`): it speaks for its \
    device of its message alone, as long as the message waits for its app and 72 hours after it is final. The \
    same receipt twice is one.";

fn operation_id(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::SendMessage => "sendMessage",
        Endpoint::Preview => "previewMessage",
        Endpoint::ListMessages => "listMessages",
        Endpoint::MessageById => "getMessage",
        Endpoint::Timeline => "getTimeline",
        Endpoint::AppReceipts => "addAppReceipts",
        Endpoint::SendBatch => "sendBatch",
        Endpoint::ListEvents => "listEvents",
        Endpoint::ListRoutes => "listRoutes",
        Endpoint::RouteByName => "getRoute",
        Endpoint::Orphans => "listOrphans",
        Endpoint::Resume => "resumeRoute",
        Endpoint::ListSuppressions => "listSuppressions",
        Endpoint::Suppress => "addSuppression",
        Endpoint::Unsuppress => "deleteSuppression",
        Endpoint::CheckSuppression => "checkSuppression",
        Endpoint::ImportSuppressions => "importSuppressions",
        Endpoint::OpenApi => "getOpenApi",
        Endpoint::Nothing => "nothing",
    }
}

fn parameters(entry: &Entry, config: &Config) -> Vec<Parameter> {
    let mut all = Vec::new();
    if let Some((_, name)) = entry.path.split_once('{') {
        let name = name.split('}').next().unwrap_or_default();
        all.push(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(Some(text()))
                .build(),
        );
    }
    let keys = format!(
        "Bare or quoted, at most 255 characters, scoped to the tenant and kept {} hours. The same key \
         with the same request answers as before, with Idempotent-Replayed: true; with another request \
         422 idempotency_key_reused.",
        config.idempotency.as_secs() / 3600
    );
    match entry.endpoint {
        Endpoint::SendMessage => {
            all.push(header("Idempotency-Key", &keys));
            all.push(header(
                "Prefer",
                "handling=strict: a policy refusal is 422 instead of 202.",
            ));
            all.push(header(
                "traceparent",
                "W3C Trace Context, stored with the message.",
            ));
        }
        Endpoint::SendBatch => {
            let more = " On a batch: the whole of it. Not with NDJSON, whose lines carry \
                        idempotency_key.";
            all.push(header("Idempotency-Key", &format!("{keys}{more}")));
        }
        _ => {}
    }
    all.extend(entry.queries.iter().map(|name| {
        ParameterBuilder::new()
            .name(*name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .schema(Some(query_schema(name)))
            .build()
    }));
    all
}

fn header(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(text()))
        .build()
}

/// What a query parameter may be.
fn query_schema(name: &str) -> RefOr<Schema> {
    let whole = |least: u64, most: u64, default: u64| {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(least))
            .maximum(Some(most))
            .default(Some(json!(default)))
    };
    let object = match name {
        "limit" => whole(1, LIMIT_MAX as u64, LIMIT_DEFAULT as u64),
        "wait" => whole(0, WAIT_MAX, 0),
        "atomic" => ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .default(Some(json!(false))),
        "since" | "until" => ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
        _ => return text(),
    };
    Schema::Object(object.build()).into()
}

fn text() -> RefOr<Schema> {
    Schema::Object(ObjectBuilder::new().schema_type(Type::String).build()).into()
}

fn content(schema: RefOr<Schema>) -> Content {
    ContentBuilder::new().schema(Some(schema)).build()
}

fn app_receipts() -> Content {
    let example = json!({"event": "opened", "at": "2026-11-21T08:00:00.000Z"});
    ContentBuilder::new()
        .schema(Some(reference::<receipts::ReceiptsIn>()))
        .example(Some(example))
        .build()
}

fn request_body(endpoint: Endpoint) -> Option<RequestBody> {
    let builder = RequestBodyBuilder::new().required(Some(Required::True));
    match endpoint {
        Endpoint::SendMessage | Endpoint::Preview => {
            let example = json!({
                "to": "+46701234567", "from": "ACME", "text": "Your code is 481920", "class": "otp"
            });
            let content = ContentBuilder::new()
                .schema(Some(reference::<Request<'_>>()))
                .example(Some(example));
            Some(builder.content(JSON, content.build()).build())
        }
        Endpoint::SendBatch => {
            let lines = format!(
                "NDJSON: one message a line, the first line may be {{\"defaults\":{{…}}}}; at most \
                 {NDJSON_LINES_MAX} lines, 64 KiB each. With Accept: {NDJSON} results stream back in \
                 the order of commits. Input pauses while the store is behind."
            );
            Some(
                builder
                    .description(Some(lines))
                    .content(JSON, content(reference::<Envelope<'_>>()))
                    .content(NDJSON, content(reference::<Request<'_>>()))
                    .build(),
            )
        }
        Endpoint::Suppress => {
            let example = json!({
                "phone": "+46701234567", "scope": {"kind": "sender", "value": "71234"},
                "text": "asked by letter"
            });
            let content = ContentBuilder::new()
                .schema(Some(reference::<suppressions::AddIn>()))
                .example(Some(example));
            Some(builder.content(JSON, content.build()).build())
        }
        Endpoint::AppReceipts => Some(builder.content(JSON, app_receipts()).build()),
        Endpoint::Resume => {
            let body = content(reference::<resume::ResumeIn>());
            let builder = RequestBodyBuilder::new().required(Some(Required::False));
            Some(builder.content(JSON, body).build())
        }
        Endpoint::CheckSuppression => {
            let body = content(reference::<suppressions::CheckIn>());
            Some(builder.content(JSON, body).build())
        }
        Endpoint::ImportSuppressions => {
            let file = format!(
                "UTF-8 with a header row: phone, and any of scope, value, text, expires_at; id, source \
                 and created_at of an export are not read. RFC 4180 quotes, CRLF or LF, at most 2 KiB a \
                 line and {} bytes. Lines are stored as they come, 1,000 a commit; a file that broke off \
                 is sent again, what is there already stays. An apostrophe that an export put before \
                 = + - @ TAB CR is taken away. Each line makes suppression.created and no \
                 recipient.opted_out.",
                suppressions::import::FILE_MAX
            );
            let content = ContentBuilder::new().schema(Some(text()));
            let content = content.example(Some(json!("phone,scope,value\n+46701234567,all,\n")));
            Some(
                builder
                    .description(Some(file))
                    .content(CSV, content.build())
                    .build(),
            )
        }
        _ => None,
    }
}

fn status(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::SendMessage => "202",
        Endpoint::Suppress => "201",
        Endpoint::Unsuppress => "204",
        _ => "200",
    }
}

fn good(endpoint: Endpoint) -> Response {
    let with = |description: &str, schema| response(description).content(JSON, content(schema));
    let builder = match endpoint {
        Endpoint::SendMessage => rated(with(
            "Accepted and on disk.",
            reference::<MessageView<'_>>(),
        ))
        .header("Location", out("The message."))
        .header(
            "Idempotent-Replayed",
            out("true when the key was used before."),
        ),
        Endpoint::Preview => with("What it would become.", reference::<PreviewView<'_>>()),
        Endpoint::MessageById => {
            with("The message.", reference::<MessageView<'_>>()).header("ETag", out("Its version."))
        }
        Endpoint::ListMessages => with("A page.", reference::<PageView<'_>>())
            .header("Link", out("rel=\"next\", when there may be more.")),
        Endpoint::Timeline => with("The timeline.", reference::<TimelineView<'_>>()),
        Endpoint::AppReceipts => with("They are on disk.", reference::<receipts::TakenView>()),
        Endpoint::SendBatch => {
            let line = content(reference::<ItemResultView<'_>>());
            rated(with(
                "What became of each item. As NDJSON: one result a line, then {\"summary\":{…}}.",
                reference::<BatchView<'_>>(),
            ))
            .content(NDJSON, line)
            .header(
                "Idempotent-Replayed",
                out("true when the header key was used before."),
            )
        }
        Endpoint::ListEvents => with("A page.", reference::<EventPageView>())
            .header("Link", out("rel=\"next\", when there is more.")),
        Endpoint::ListRoutes => with("The routes.", reference::<RouteListView>()),
        Endpoint::RouteByName => with("The route.", reference::<RouteView>()),
        Endpoint::Resume => with(
            "The route as it stands; its binds are being tried. Refused credentials are counted anew. \
             Settings are those that the gateway was started with.",
            reference::<RouteView>(),
        ),
        Endpoint::Orphans => with("The receipts.", reference::<OrphanListView>()),
        Endpoint::ListSuppressions => {
            let what = "A page. As CSV: the whole list, without limit and cursor, as an import takes \
                            it; text is cut to 255 characters, and value and text have an \
                            apostrophe before = + - @ TAB CR, and before apostrophes that precede \
                            these. A list that cannot be read to its end breaks the connection.";
            with(what, reference::<suppressions::PageView<'_>>())
                .content(CSV, ContentBuilder::new().schema(Some(text())).build())
                .header("Link", out("rel=\"next\", when there may be more."))
        }
        Endpoint::Suppress => {
            let what = "It is on disk. 200 instead: the same was there already.";
            with(what, reference::<suppressions::SuppressionView<'_>>())
                .header("Location", out("The suppression."))
        }
        Endpoint::Unsuppress => response("Its end is on disk."),
        Endpoint::CheckSuppression => {
            with("The verdict.", reference::<suppressions::VerdictView<'_>>())
        }
        Endpoint::ImportSuppressions => with(
            "What became of the file; everything in it that is good is on disk.",
            reference::<suppressions::import::ImportView>(),
        ),
        Endpoint::OpenApi | Endpoint::Nothing => {
            let any = ObjectBuilder::new().schema_type(Type::Object).build();
            with("This document.", Schema::Object(any).into())
        }
    };
    builder.build()
}

fn response(description: &str) -> ResponseBuilder {
    ResponseBuilder::new()
        .description(description)
        .header("Trunkline-Request-Id", out("req_ and a ULID."))
}

fn rated(builder: ResponseBuilder) -> ResponseBuilder {
    builder
        .header(
            "RateLimit-Policy",
            out("When the tenant has an ingress rate."),
        )
        .header("RateLimit", out("What is left of it."))
}

fn out(description: &str) -> utoipa::openapi::header::Header {
    HeaderBuilder::new()
        .schema(Some(text()))
        .description(Some(description))
        .build()
}

/// The problems that an operation can answer; a test holds every answer of the others to it.
pub(crate) fn problems(entry: &Entry) -> Vec<Code> {
    let mut all = vec![Code::NotAcceptable];
    if entry.scope.is_some() {
        all.extend([
            Code::Unauthenticated,
            Code::InsufficientScope,
            Code::TenantMismatch,
            Code::InvalidRequest,
            Code::Internal,
        ]);
    }
    if entry.endpoint == Endpoint::SendBatch {
        all.push(Code::BatchTooLarge);
    }
    all.extend_from_slice(match entry.endpoint {
        Endpoint::SendMessage | Endpoint::SendBatch => &ACCEPTING,
        Endpoint::Preview => &PREVIEWING,
        Endpoint::ListMessages => &[
            Code::InvalidCursor,
            Code::NotAvailable,
            Code::ChannelNotEnabled,
        ],
        Endpoint::ListEvents => &[Code::InvalidCursor],
        Endpoint::ListSuppressions => &[Code::InvalidCursor, Code::Overloaded],
        Endpoint::ImportSuppressions => &IMPORTING,
        Endpoint::Resume => &RESUMING,
        Endpoint::AppReceipts => &TELLING,
        Endpoint::Suppress => &SUPPRESSING,
        Endpoint::CheckSuppression => &SUPPRESSING[..READING],
        Endpoint::Unsuppress => &[
            Code::NotFound,
            Code::Overloaded,
            Code::StoreUnavailable,
            Code::ShuttingDown,
        ],
        Endpoint::MessageById | Endpoint::Timeline | Endpoint::RouteByName | Endpoint::Orphans => {
            &[Code::NotFound]
        }
        Endpoint::ListRoutes | Endpoint::OpenApi | Endpoint::Nothing => &[],
    });
    all
}

/// What an operation that reads a message, and does not take it, can answer.
const PREVIEWING: [Code; 15] = [
    Code::MalformedJson,
    Code::SenderNotAllowed,
    Code::OverrideNotAllowed,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::NotAvailable,
    Code::InvalidRecipient,
    Code::PlanRequired,
    Code::ContentMissing,
    Code::PayloadTooLarge,
    Code::TooManySegments,
    Code::ExpiresBeforeSend,
    Code::ChannelNotEnabled,
    Code::Overloaded,
];

/// What an operation on a route can answer; its body may be absent.
const RESUMING: [Code; 6] = [
    Code::NotFound,
    Code::MalformedJson,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::Overloaded,
];

/// What an app's receipts can be answered.
const TELLING: [Code; 10] = [
    Code::NotFound,
    Code::MalformedJson,
    Code::InvalidState,
    Code::AlreadyFinal,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::Overloaded,
    Code::StoreUnavailable,
    Code::ShuttingDown,
];

/// What an operation with a small body can answer; the first ones come from reading it.
const SUPPRESSING: [Code; 8] = [
    Code::MalformedJson,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::InvalidRecipient,
    Code::Overloaded,
    Code::StoreUnavailable,
    Code::ShuttingDown,
];
/// How many of them do (bodies share a budget: overloaded).
const READING: usize = 6;

/// What an operation that reads a file can answer.
const IMPORTING: [Code; 7] = [
    Code::MalformedJson,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::Overloaded,
    Code::StoreUnavailable,
    Code::ShuttingDown,
];

/// What only an operation that takes messages can answer.
const ACCEPTING: [Code; 22] = [
    Code::MalformedJson,
    Code::IdempotencyKeyMissing,
    Code::SenderNotAllowed,
    Code::OverrideNotAllowed,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::NotAvailable,
    Code::IdempotencyKeyReused,
    Code::InvalidRecipient,
    Code::PlanRequired,
    Code::ContentMissing,
    Code::PayloadTooLarge,
    Code::TooManySegments,
    Code::ExpiresBeforeSend,
    Code::ChannelNotEnabled,
    Code::NoRoute,
    Code::Suppressed,
    Code::QuotaExceeded,
    Code::Overloaded,
    Code::StoreUnavailable,
    Code::ShuttingDown,
];

/// Codes by their status, as one text each.
fn by_status(codes: &[Code]) -> BTreeMap<u16, String> {
    let mut all = BTreeMap::<u16, String>::new();
    for code in codes {
        let text = all.entry(code.status()).or_default();
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(code.name());
        if matches!(*code, Code::NoRoute | Code::Suppressed) {
            text.push_str(" (with Prefer: handling=strict)");
        }
    }
    all
}

fn problem(status: u16, codes: &str) -> Response {
    let content = ContentBuilder::new()
        .schema(Some(reference::<ProblemBody<'_>>()))
        .build();
    let builder = response(codes).content("application/problem+json", content);
    let builder = match status {
        429 => rated(builder).header("Retry-After", out("Seconds.")),
        503 => builder.header("Retry-After", out("Seconds.")),
        401 => builder.header("WWW-Authenticate", out("Bearer.")),
        403 => builder.header(
            "WWW-Authenticate",
            out("Bearer, with the scope that is missing."),
        ),
        _ => builder,
    };
    builder.build()
}
