//! The OpenAPI document, made from the router's table and the types that are read and written.

use bytes::Bytes;
use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathsBuilder,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Ref, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, RefOr, Required, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::accept::answer::NDJSON;
use crate::accept::batch::{BatchView, Envelope, ItemResultView};
use crate::accept::list::PageView;
use crate::accept::ndjson::SummaryLine;
use crate::accept::problem::ProblemBody;
use crate::accept::request::Request;
use crate::accept::router::{Endpoint, Entry, TABLE};
use crate::accept::timeline::TimelineView;
use crate::accept::view::MessageView;
use crate::accept::{Config, NDJSON_LINES_MAX};
use crate::route_view::RouteView;

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
        let method = if entry.method == hyper::Method::POST {
            HttpMethod::Post
        } else {
            HttpMethod::Get
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
                     Trunkline-Request-Id. Unknown request fields answer 422; unknown response \
                     fields must be ignored.",
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
    add::<PageView<'_>>(&mut all);
    add::<TimelineView<'_>>(&mut all);
    add::<Envelope<'_>>(&mut all);
    add::<BatchView<'_>>(&mut all);
    add::<ItemResultView<'_>>(&mut all);
    add::<SummaryLine<'_>>(&mut all);
    add::<RouteView>(&mut all);
    add::<ProblemBody<'_>>(&mut all);
    let builder = ComponentsBuilder::new();
    all.into_iter().fold(builder, |builder, (name, schema)| {
        builder.schema(name, schema)
    })
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
        let need = format!("Needs the scope `{}`.", scope.name());
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
    for (code, why) in problems(entry.endpoint) {
        operation = operation.response(*code, problem(code, why));
    }
    operation.build()
}

fn operation_id(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::SendMessage => "sendMessage",
        Endpoint::ListMessages => "listMessages",
        Endpoint::MessageById => "getMessage",
        Endpoint::Timeline => "getTimeline",
        Endpoint::SendBatch => "sendBatch",
        Endpoint::ListEvents => "listEvents",
        Endpoint::ListRoutes => "listRoutes",
        Endpoint::RouteByName => "getRoute",
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
    let queries: &[&str] = match entry.endpoint {
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
            &[]
        }
        Endpoint::SendBatch => {
            let more = " On a batch: the whole of it. Not with NDJSON, whose lines carry \
                        idempotency_key.";
            all.push(header("Idempotency-Key", &format!("{keys}{more}")));
            &["atomic"]
        }
        Endpoint::ListMessages => &[
            "status",
            "class",
            "channel",
            "to",
            "client_ref",
            "tag",
            "batch_id",
            "route",
            "reason",
            "since",
            "until",
            "limit",
            "cursor",
        ],
        Endpoint::ListEvents => &["types", "message_id", "after", "wait", "limit"],
        _ => &[],
    };
    all.extend(queries.iter().map(|name| {
        ParameterBuilder::new()
            .name(*name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .schema(Some(text()))
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

fn text() -> RefOr<Schema> {
    Schema::Object(ObjectBuilder::new().schema_type(Type::String).build()).into()
}

fn request_body(endpoint: Endpoint) -> Option<RequestBody> {
    let builder = RequestBodyBuilder::new().required(Some(Required::True));
    match endpoint {
        Endpoint::SendMessage => {
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
                    .content(
                        JSON,
                        ContentBuilder::new()
                            .schema(Some(reference::<Envelope<'_>>()))
                            .build(),
                    )
                    .content(
                        NDJSON,
                        ContentBuilder::new()
                            .schema(Some(reference::<Request<'_>>()))
                            .build(),
                    )
                    .build(),
            )
        }
        _ => None,
    }
}

fn status(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::SendMessage => "202",
        _ => "200",
    }
}

fn good(endpoint: Endpoint) -> Response {
    let with = |description: &str, schema| {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        response(description).content(JSON, content)
    };
    let builder =
        match endpoint {
            Endpoint::SendMessage => rated(with(
                "Accepted and on disk.",
                reference::<MessageView<'_>>(),
            ))
            .header("Location", out("The message."))
            .header(
                "Idempotent-Replayed",
                out("true when the key was used before."),
            ),
            Endpoint::MessageById => with("The message.", reference::<MessageView<'_>>())
                .header("ETag", out("Its version.")),
            Endpoint::ListMessages => with("A page.", reference::<PageView<'_>>())
                .header("Link", out("rel=\"next\", when there may be more.")),
            Endpoint::Timeline => with("The timeline.", reference::<TimelineView<'_>>()),
            Endpoint::SendBatch => {
                let line = ContentBuilder::new()
                    .schema(Some(reference::<ItemResultView<'_>>()))
                    .build();
                rated(with(
                "What became of each item. As NDJSON: one result a line, then {\"summary\":{…}}.",
                reference::<BatchView<'_>>(),
            ))
            .content(NDJSON, line)
            .header("Idempotent-Replayed", out("true when the header key was used before."))
            }
            Endpoint::ListRoutes => with("The routes, below `data`.", reference::<RouteView>()),
            Endpoint::RouteByName => with("The route.", reference::<RouteView>()),
            _ => response("As described."),
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

fn problems(endpoint: Endpoint) -> &'static [(&'static str, &'static str)] {
    match endpoint {
        Endpoint::SendMessage | Endpoint::SendBatch => &[
            ("400", "malformed_json, idempotency_key_missing"),
            ("401", "unauthenticated"),
            (
                "403",
                "insufficient_scope, tenant_mismatch, sender_not_allowed",
            ),
            ("408", "request_timeout"),
            ("413", "body_too_large, batch_too_large"),
            ("415", "unsupported_media_type"),
            (
                "422",
                "invalid_request, not_available, idempotency_key_reused, invalid_recipient, \
                 content_missing_for_channel, too_many_segments, expires_before_send, \
                 channel_not_enabled; strict: no_route",
            ),
            ("429", "quota_exceeded"),
            ("503", "overloaded, store_unavailable, shutting_down"),
        ],
        Endpoint::ListMessages | Endpoint::ListEvents => &[
            ("400", "invalid_cursor"),
            ("401", "unauthenticated"),
            ("403", "insufficient_scope, tenant_mismatch"),
            ("422", "invalid_request"),
        ],
        Endpoint::OpenApi | Endpoint::Nothing => &[],
        _ => &[
            ("401", "unauthenticated"),
            ("403", "insufficient_scope, tenant_mismatch"),
            ("404", "not_found"),
        ],
    }
}

fn problem(status: &str, codes: &str) -> Response {
    let content = ContentBuilder::new()
        .schema(Some(reference::<ProblemBody<'_>>()))
        .build();
    let builder = response(codes).content("application/problem+json", content);
    let builder = match status {
        "429" => rated(builder).header("Retry-After", out("Seconds.")),
        "503" => builder.header("Retry-After", out("Seconds.")),
        "401" => builder.header("WWW-Authenticate", out("Bearer.")),
        _ => builder,
    };
    builder.build()
}
