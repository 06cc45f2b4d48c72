//! Preview: what a message would become, without sending it: `POST /v1/messages/preview`.
//!
//! It goes the way of a single send up to the store, and stops there. What this version does not know
//! (cost, quiet hours) is absent. A weighted rule draws anew for each message, so the first route of
//! the real one may be another.

use std::sync::Arc;

use bytes::Bytes;
use codecs::text::Language;
use hyper::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accept::answer::{self, Body};
use crate::accept::check::{self, Checked};
use crate::accept::problem::Problem;
use crate::accept::request::{merge, parse};
use crate::accept::router::Asked;
use crate::accept::single::{self, origin};
use crate::accept::{BODY_MAX, Gateway, body};
use crate::message::{Channel, Encoding, RouteIx, SmsOptions, Text};
use crate::names::Names;
use crate::outcome::Reason;

/// What a message would become.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Preview)]
pub(crate) struct PreviewView<'a> {
    /// What policy says of it now.
    policy: PolicyPreview,
    /// The plan's steps, in order.
    steps: Vec<StepPreview<'a>>,
}

/// What policy says.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyPreview {
    /// `accepted` or `rejected`.
    verdict: &'static str,
    /// Why it would be rejected: the code of the message's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "suppressed")]
    reason: Option<&'static str>,
}

/// One step.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum StepPreview<'a> {
    Sms(SmsPreview<'a>),
    Push(PushPreview<'a>),
}

/// A step of sms.
#[derive(Debug, Serialize, ToSchema)]
struct SmsPreview<'a> {
    #[schema(example = "sms")]
    channel: &'a str,
    /// `gsm7`, `ucs2`, `latin1` or `binary`.
    encoding: &'a str,
    /// Characters that are sent; absent for binary data.
    #[serde(skip_serializing_if = "Option::is_none")]
    chars: Option<usize>,
    segments: u8,
    /// What smart encoding replaced, in order.
    replaced: Vec<ReplacedView<'a>>,
    /// Whether `on_too_long` cut the text off.
    truncated: bool,
    /// The text where it is not the one that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// National language tables that the text is written with.
    #[serde(skip_serializing_if = "Option::is_none")]
    national: Option<NationalView>,
    /// The routing rule that matches, by its place in `routing.rules`; absent when none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<usize>,
    /// In failover order; empty: no route leads there.
    routes: Vec<CandidateView<'a>>,
}

/// A step of push.
#[derive(Debug, Serialize, ToSchema)]
struct PushPreview<'a> {
    #[schema(example = "push")]
    channel: &'a str,
    /// One for each platform.
    payloads: Vec<PayloadView>,
    /// One for each app of a platform.
    apps: Vec<AppView<'a>>,
}

/// What goes to a service.
#[derive(Debug, Serialize, ToSchema)]
struct PayloadView {
    /// `ios` (APNs) or `android` (FCM).
    #[schema(value_type = String, example = "ios")]
    platform: &'static str,
    /// As the service counts them.
    octets: usize,
    /// The most that it takes.
    limit: usize,
}

/// An app that the push goes to.
#[derive(Debug, Serialize, ToSchema)]
struct AppView<'a> {
    #[schema(value_type = String, example = "ios")]
    platform: &'static str,
    app: &'a str,
    /// How many devices, or one topic or condition.
    targets: usize,
    /// The routing rule that has routes for it, by its place in `routing.rules`; absent when none has.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<usize>,
    /// In failover order; empty: no route leads there.
    routes: Vec<CandidateView<'a>>,
}

/// One replacement.
#[derive(Debug, Serialize, ToSchema)]
struct ReplacedView<'a> {
    /// Characters of the given text before it.
    position: usize,
    /// The character, or a letter with its combining marks.
    character: &'a str,
    /// Empty where it was removed.
    replacement: &'a str,
}

/// National language tables (3GPP TS 23.038 annex A).
#[derive(Debug, Serialize, ToSchema)]
struct NationalView {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "turkish")]
    locking: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    single: Option<&'static str>,
}

/// A candidate route.
#[derive(Debug, Serialize, ToSchema)]
struct CandidateView<'a> {
    name: &'a str,
    /// `listed_first` or `drawn_by_weight` for the first, `failover` for the others.
    why: &'static str,
}

/// Answers `POST /v1/messages/preview`.
pub(crate) async fn preview<B>(
    gateway: &Arc<Gateway>,
    asked: &Asked,
    body: &mut Option<B>,
) -> Result<Response<Body>, Problem>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let tenant = asked.principal.sending_tenant()?;
    let held = body::json(gateway, &asked.parts.headers, body, (BODY_MAX, "")).await?;
    let (mut request, mut errors) = parse(&held.bytes)?;
    single::without_key(&request, &mut errors);
    let sugar = merge::expand(&mut request, &mut errors);
    let origin = origin(&gateway.door, asked, tenant);
    let checked = check::planned(&gateway.door, &request, sugar, errors, origin)?;
    let refusal = single::refusal(&checked.message, &gateway.store);
    let view = PreviewView {
        policy: PolicyPreview {
            verdict: refusal.map_or("accepted", |_| "rejected"),
            reason: refusal.map(Reason::code),
        },
        steps: steps(&checked, &gateway.door.names),
    };
    answer::json(StatusCode::OK, &view)
}

fn steps<'a>(checked: &'a Checked, names: &'a Names) -> Vec<StepPreview<'a>> {
    let step = |channel| match channel {
        Channel::Sms => StepPreview::Sms(sms(checked, names)),
        Channel::Push => StepPreview::Push(push(checked, names)),
    };
    match &checked.message.steps {
        None => vec![step(Channel::Sms)],
        Some(steps) => steps.steps.iter().map(|one| step(one.channel)).collect(),
    }
}

/// Routes in failover order, and why they stand there.
fn candidates<'a>(routes: &[RouteIx], drawn: bool, names: &'a Names) -> Vec<CandidateView<'a>> {
    let first = if drawn {
        "drawn_by_weight"
    } else {
        "listed_first"
    };
    let whys = std::iter::once(first).chain(std::iter::repeat("failover"));
    let routes = routes.iter().zip(whys);
    let view = |(route, why): (&RouteIx, _)| CandidateView {
        name: names.route(*route),
        why,
    };
    routes.map(view).collect()
}

fn push<'a>(checked: &'a Checked, names: &'a Names) -> PushPreview<'a> {
    let payload = |one: &check::Payload| PayloadView {
        platform: one.platform.name(),
        octets: one.octets,
        limit: one.limit,
    };
    let app = |one: &'a check::PushApp| {
        let leg = u8::try_from(one.leg).ok();
        let leg = leg.and_then(|leg| checked.message.leg(leg));
        let routes = leg.map_or(&[][..], |leg| leg.routes);
        AppView {
            platform: one.platform.name(),
            app: &one.app,
            targets: one.parts,
            rule: one.why.rule,
            routes: candidates(routes, one.why.drawn, names),
        }
    };
    PushPreview {
        channel: Channel::Push.name(),
        payloads: checked.push.payloads.iter().map(payload).collect(),
        apps: checked.push.apps.iter().map(app).collect(),
    }
}

fn sms<'a>(checked: &'a Checked, names: &'a Names) -> SmsPreview<'a> {
    let message = &checked.message;
    let body = message.text(Text::Body);
    let is_text = message.encoding != Encoding::Binary;
    let routes = message.sms_leg().map_or(&[][..], |leg| leg.routes);
    SmsPreview {
        channel: Channel::Sms.name(),
        encoding: message.encoding.name(),
        chars: is_text.then(|| body.chars().count()),
        segments: message.sms_segments(),
        replaced: checked
            .why
            .replaced
            .iter()
            .map(|one| ReplacedView {
                position: one.position,
                character: &one.original,
                replacement: &one.replacement,
            })
            .collect(),
        truncated: checked.why.truncated,
        text: (checked.why.changed && is_text).then_some(body),
        national: message.sms.as_deref().and_then(national),
        rule: checked.why.rule,
        routes: candidates(routes, checked.why.drawn, names),
    }
}

fn national(sms: &SmsOptions) -> Option<NationalView> {
    let name = |id: Option<u8>| id.and_then(Language::from_id).map(Language::name);
    let (locking, single) = (name(sms.locking_shift), name(sms.single_shift));
    (locking.is_some() || single.is_some()).then_some(NationalView { locking, single })
}
