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
    /// The kind of route: `smpp`, `apns`, `fcm`.
    pub r#type: &'static str,
    /// Whether it can take messages.
    pub state: RouteState,
    /// Its links: one for each bind, or for each place in the pool of connections.
    pub links: Vec<LinkView>,
    /// Unanswered submits or requests that the peer allows on all links together.
    pub window: u32,
    /// Unanswered ones that they may have now: fewer while the peer throttles.
    pub window_effective: u32,
    /// Those without an answer now.
    pub in_flight: u32,
    /// The rate it is held to; absent when the config sets none and the peer has not throttled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateView>,
    /// What its carrier or push service makes it wait for.
    pub throttle: ThrottleView,
    /// What waits for it.
    pub queue: QueueView,
    /// Why the head of its queue waits, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "rate")]
    pub hold_reason: Option<HoldReason>,
    /// Its receipts; absent for push routes, whose services send none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipts: Option<ReceiptsView>,
    /// The last segment or notification that its peer refused, since the gateway was started; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<RefusalView>,
}

/// What keeps a route from sending, as its dispatcher said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Why the head of its queue waits, if it does.
    pub reason: Option<HoldReason>,
    /// Attempts out on it.
    pub in_flight: usize,
}

/// A segment or notification that a route's peer refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RefusalView {
    /// When.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub at: UnixMs,
    /// The peer's own code: the command_status, or the HTTP status.
    #[schema(example = "0x00000045")]
    pub code: String,
    /// What that means here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What the peer said in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Whether a route can take messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    /// Every link is up.
    Up,
    /// It takes messages, and some links are not up.
    Degraded,
    /// It takes no messages: no link that can send is up.
    Down,
}

/// One link of a route.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LinkView {
    /// `host:port` of the peer.
    pub host: String,
    /// `bound_trx`, `bound_tx` or `bound_rx`, of push routes `connected`; else `waiting` (for its next try), `too_many` (the
    /// carrier takes no more binds: tried again much later), `stopped` (not tried again: somebody has to
    /// look), `unused` (the other half of a pair that is not needed) or `listening` (for outbind). Places of a pool that are
    /// not needed are `unused`, too.
    #[schema(example = "bound_trx")]
    pub state: &'static str,
    /// Unanswered submits or requests that it may have.
    pub window: u32,
    /// Those without an answer now.
    pub in_flight: u32,
    /// When it came into its state.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub since: UnixMs,
    /// When it is tried again; absent when it is up, and when it is not tried.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_some")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<UnixMs>,
    /// What went wrong last, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What made the service end a connection last, for links of push routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_goaway: Option<String>,
    /// How the peer shows that it is there; absent when the link is not up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<KeepAliveView>,
}

/// How a link's peer shows that it is there.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeepAliveView {
    /// When it was heard last: any octet counts.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub heard_at: UnixMs,
    /// Milliseconds since then.
    pub silent_ms: u64,
    /// Milliseconds that it took to answer our last answered enquire_link or PING; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// enquire_link that we sent since it was heard last; with the second one unanswered the link is
    /// given up. 0 for push: the first unanswered PING ends a connection.
    pub misses: u32,
}

/// A route's rate per second: of segments for SMS, of notifications for push, one for each device.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RateView {
    /// As the config says; absent when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configured: Option<f64>,
    /// As it is now, when the route does not pause. It falls when the peer throttles, and rises again
    /// while all goes well.
    pub effective: f64,
    /// What makes the two differ: `throttled` (the peer refused some as too many), `congestion`
    /// (it told that it is nearly full) or `ramp` (a project's quota begins below all of it); absent when
    /// they agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<&'static str>,
}

/// How a route's carrier or push service throttles.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ThrottleView {
    /// Until when nothing goes out on any link of the route; absent when the route does not pause.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_some")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<UnixMs>,
    /// Segments or notifications that it refused as too many in the last minute.
    pub last_minute: u64,
    /// Destinations that wait for 1 to 5 minutes because their queue at the carrier is full; 0 for push.
    pub destinations_waiting: u32,
    /// Messages in memory that wait for an earlier one to the same destination.
    pub messages_behind: u32,
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
    /// Whether a link is bound that they can come over.
    pub reachable: bool,
    /// How many were matched to a message.
    pub matched: u64,
    /// How many had to wait for their message to be known.
    pub parked: u64,
    /// How many never found one, or cannot be read, and are kept for `GET /v1/routes/{name}/orphans`; of all routes together
    /// the newest 1,000.
    pub orphans: u64,
    /// How the ids in receipts relate to those in answers.
    pub ids: IdsView,
    /// For which parts of a long message they come.
    pub parts: PartsView,
    /// When the last one came.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_some")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last: Option<UnixMs>,
}

/// For which parts of a long message a route's receipts come; kept over restarts.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct PartsView {
    /// `receipts.parts` of the config: `all`, `first` or `last`.
    pub configured: &'static str,
    /// `first` or `last`, under `all`: that 20 long messages in a row have got a receipt of that part and of
    /// no other, in all of `receipts.timeout`. Nothing follows from it: if the carrier confirms it, set
    /// `receipts.parts`, and that part stands for the whole message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looks_like: Option<&'static str>,
}

/// What a route's receipts have taught about its ids; kept over restarts.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct IdsView {
    /// `receipts.id_format` of the config: `auto`, `same`, `hex-to-dec` or `dec-to-hex`.
    pub configured: &'static str,
    /// The rule that is believed: under `auto`, the one that 20 receipts in a row have followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned: Option<&'static str>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_some")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub pinned_since: Option<UnixMs>,
    /// Receipts that found their message, by how their id had to be read, earlier ways tried first.
    pub hits: HitsView,
    /// Receipts that the learned rule did not explain, and another one did.
    pub missed: u64,
    /// How often a learned rule was given up.
    pub unpinned: u32,
}

/// Receipts by how their id had to be read.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct HitsView {
    /// As it came.
    pub exact: u64,
    /// In another case.
    pub case: u64,
    /// With other leading zeros.
    pub zeros: u64,
    /// In decimal where the answer had hex.
    pub hex_to_dec: u64,
    /// In hex where the answer had decimal.
    pub dec_to_hex: u64,
    /// After the route's `id_transform`.
    pub transform: u64,
}

/// Receipts without a message, the newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrphanListView {
    /// The receipts.
    pub data: Vec<OrphanView>,
}

/// A receipt that never found its message, or that cannot be read.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrphanView {
    /// The carrier's message id, as it came; octets that are no printable ASCII are escaped. Empty when
    /// none can be read.
    pub provider_message_id: String,
    /// The number that it names as the recipient; a national one lacks its country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// What it says, by SMPP's seven letters, such as `DELIVRD`; absent when it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// Its error code, as it came.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Its text, of bad news and where it cannot be read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Its PDU in hexadecimal digits: the first 512 octets, where it cannot be read 1,024.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pdu: String,
    /// When it came.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub received_at: UnixMs,
    /// When it was given up.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub given_up_at: UnixMs,
    /// Why: `no_message`, `ambiguous`, `no_room` or `unreadable`. One without an id is `unreadable`, but on a
    /// route with `receipts.without_id`: there it is `ambiguous` where not exactly one message to its number
    /// can be meant, or its sender or times speak against that.
    pub why: &'static str,
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
