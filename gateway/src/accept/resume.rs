//! Resume: an operator says that what kept a route's binds out is put right.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::accept::answer::Body;
use crate::accept::problem::{Code, FieldError, Problem};
use crate::accept::router::Asked;
use crate::accept::shape::{Fields, Shape, Shaped, with_values};
use crate::accept::{Gateway, auth, body, view};

/// Characters of `reason` (chosen: as of a suppression's text).
const REASON_MAX: usize = 255;

/// Why binds are tried again.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ResumeRoute)]
pub(crate) struct ResumeIn {
    /// For the log: at most 255 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reason: String,
}

impl Shaped for ResumeIn {
    const FIELDS: Fields = &[("reason", Shape::Text)];
}

/// Answers `POST /v1/routes/{name}/resume`: the route as it stands.
pub(crate) async fn resume<B>(
    gateway: &Arc<Gateway>,
    asked: &Asked,
    slot: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let (request, shapes) = match slot.as_ref().is_none_or(hyper::body::Body::is_end_stream) {
        true => (ResumeIn::default(), Vec::new()),
        false => body::read(gateway, &asked.parts.headers, slot).await?,
    };
    let mut errors = Vec::new();
    if request.reason.chars().count() > REASON_MAX {
        let detail = "must have at most 255 characters";
        errors.push(FieldError::at("/reason", "out_of_range", detail));
    }
    let errors = with_values(shapes, errors);
    if !errors.is_empty() {
        return Err(Problem::of(errors));
    }
    let route = asked.name.as_str();
    if !gateway.routes.resume(route) {
        return Err(Problem::new(
            Code::NotFound,
            format!("there is no route {route}"),
        ));
    }
    let by = auth::key_name(&gateway.door, &asked.parts.headers);
    tracing::info!(route, by, reason = ?request.reason, "binds that wait or stopped are tried again");
    view::route(gateway, route)
}
