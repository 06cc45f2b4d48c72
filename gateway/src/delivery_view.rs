//! Delivery view: where a message's events stand with the webhook endpoints that want them.
//!
//! What is kept of deliveries is, for each endpoint, how far it has got and what waits for a retry. So
//! an event that an endpoint has passed is `settled`: nothing is kept of how.

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::UnixMs;
use crate::message::id::PublicId;

/// Where one event stands with one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// The event.
    #[schema(value_type = String)]
    pub event: PublicId,
    /// Its type.
    pub r#type: &'static str,
    /// The endpoint, by its name in the config.
    pub endpoint: String,
    /// Where it stands, at most a second ago.
    pub status: DeliveryStatus,
    /// Tries made, all of them failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u8>,
    /// When it is tried again, not before.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<UnixMs>,
    /// When it was tried first.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_at: Option<UnixMs>,
    /// Deliveries that the endpoint has ever lost: after their last try, or refused for good. While
    /// it is 0, what is `settled` was delivered, or is older than the endpoint.
    pub endpoint_exhausted: u64,
}

/// Where an event stands with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Passed: delivered, given up (see `endpoint_exhausted`), or older than the endpoint.
    Settled,
    /// Not yet sent, or sent and not answered.
    Pending,
    /// Failed so far; it is tried again.
    Retrying,
    /// The endpoint is disabled: it waits for it to be enabled.
    Disabled,
}

fn shown<S: serde::Serializer>(at: &Option<UnixMs>, out: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => out.collect_str(at),
        None => out.serialize_none(),
    }
}
