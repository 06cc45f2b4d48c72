//! Route view: what a route tells about itself to whoever asks (`GET /v1/routes`).
//!
//! The dispatcher and the connector fill it in; accept shows it. It lives beside the vocabulary so that
//! neither stage knows the other.

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::UnixMs;
use crate::message::Class;
use crate::outcome::HoldReason;

/// One route as it stands now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RouteView {
    /// Its name in the config.
    pub name: String,
    /// The kind of route: `smpp`.
    pub r#type: &'static str,
    /// Whether it can take messages.
    pub state: RouteState,
    /// Its links, one for each bind.
    pub links: Vec<LinkView>,
    /// Unanswered submits that all links together may have.
    pub window: u32,
    /// Submits without an answer now.
    pub in_flight: u32,
    /// The rate it is held to; absent when the config sets none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateView>,
    /// What waits for it.
    pub queue: QueueView,
    /// Why the head of its queue waits, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "rate")]
    pub hold_reason: Option<HoldReason>,
    /// Its receipts.
    pub receipts: ReceiptsView,
}

/// Whether a route can take messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    /// Every link is bound.
    Up,
    /// Some links are bound.
    Degraded,
    /// No link is bound.
    Down,
}

/// One link of a route.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LinkView {
    /// `host:port` of the peer.
    pub host: String,
    /// The session's state by its specification's word, such as `bound_trx`.
    pub state: String,
    /// Unanswered submits that it may have.
    pub window: u32,
    /// Submits without an answer now.
    pub in_flight: u32,
    /// When it came into its state.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub since: UnixMs,
    /// What went wrong last, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A route's rate, in segments per second.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RateView {
    /// As the config says.
    pub configured: f64,
    /// As it is now.
    pub effective: f64,
    /// The knob that makes the two differ, such as `throttled`; absent when they agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<&'static str>,
}

/// What waits for a route.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct QueueView {
    /// How many messages, by class: those that wait, in memory or on disk, those that wait for their
    /// next try, and those that are out.
    pub depth: Depths,
    /// When the longest-waiting message that is not out was accepted, at most a second ago; absent when
    /// nothing waits.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_some")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest: Option<UnixMs>,
}

/// A number of messages for each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Depths {
    /// One-time passwords.
    pub otp: u64,
    /// Transactional.
    pub transactional: u64,
    /// Conversational.
    pub conversational: u64,
    /// Promotional.
    pub promotional: u64,
}

impl Depths {
    /// From counts in lane order.
    #[must_use]
    pub fn by_lane(lanes: [u64; Class::ALL.len()]) -> Self {
        let [otp, transactional, conversational, promotional] = lanes;
        Self {
            otp,
            transactional,
            conversational,
            promotional,
        }
    }
}

/// A route's receipts since the gateway started.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ReceiptsView {
    /// Whether the route sends them.
    pub enabled: bool,
    /// How many were matched to a message.
    pub matched: u64,
    /// How many wait for their message to be known.
    pub parked: u64,
    /// When the last one came.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_some")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last: Option<UnixMs>,
}

fn shown<S: serde::Serializer>(at: &UnixMs, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn shown_some<S: serde::Serializer>(at: &Option<UnixMs>, out: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => out.collect_str(at),
        None => out.serialize_none(),
    }
}
