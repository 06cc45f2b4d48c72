//! Service: a push as Apple or Google want it, and their answers as outcomes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use codecs::apns::{self, ApnsId, DeviceToken, Expiration};
use codecs::fcm;
use codecs::push::{ReceiptKey, Urgency};
use codecs::verdict::{self, Class};
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, HeaderValue, RETRY_AFTER};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request, Uri};

use super::verdict::{Beside, Verdict};
use super::words;
use crate::clock::UnixMs;
use crate::connect::credentials::{Access, Again, Provider};
use crate::connect::http2::Answered;
use crate::connect::ledger::ours;
use crate::message::push::PushContent;
use crate::message::steps::{Platform, PushTarget};
use crate::message::{Ids, MessageId, Priority, Text};
use crate::outcome::{Attempt, Outcome, OutcomeResult, Reason, Retry, Said, Whose};
use crate::receipt_keys::ReceiptKeys;

/// Apple's header with our id, which it echoes.
const APNS_ID: HeaderName = HeaderName::from_static("apns-id");
/// Longest wait that is taken from a service: a day (as codecs::fcm has it).
const WAIT_MAX: Duration = Duration::from_secs(86_400);

/// A push service as one route uses it.
#[derive(Debug)]
pub struct Service {
    /// `host` or `host:port`, as requests name it.
    pub authority: Authority,
    /// How ids look to users of this gateway.
    pub ids: Ids,
    /// Whether a message without a collapse key goes by its own id, so that a repeat replaces it.
    pub auto_collapse: bool,
    /// What lets apps tell of a push that asks for it.
    pub receipt_keys: ReceiptKeys,
    /// Which one, with what only it has.
    pub kind: Kind,
}

/// Which service.
#[derive(Debug)]
pub enum Kind {
    /// Apple's.
    Apns {
        /// Topic (bundle id, without a push type's suffix) by app.
        apps: BTreeMap<String, String>,
    },
    /// Google's.
    Fcm {
        /// `:path` of its project.
        path: String,
    },
}

/// Who we are to the service.
#[derive(Clone, Debug)]
pub enum Who {
    /// By Apple's provider token.
    Provider(Provider),
    /// By Google's access token.
    Access(Access),
    /// In TLS.
    Certificate(crate::connect::credentials::Certificate),
}

/// What was made of the last message, with the seconds that it had left: a message's devices follow one
/// another, and its further tries come later.
#[derive(Debug, Default)]
pub(super) struct Made(Option<(Of, Arc<Rendered>)>);

/// What it was made of: a message with so many seconds left, and where each device has a receipt token of
/// its own, the device.
type Of = (MessageId, u64, Option<u8>);

#[derive(Debug)]
enum Rendered {
    Apns {
        payload: Bytes,
        push_type: apns::PushType,
        priority: apns::Priority,
        collapse_id: Option<String>,
    },
    Fcm(fcm::Message),
}

/// An answer as outcome, and what follows beside.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) outcome: Outcome,
    pub(super) beside: Beside,
    /// What the answer was.
    pub(super) class: Class,
    /// The service's word, where the tables have it.
    pub(super) label: &'static str,
    /// Whether it calls the device's token bad.
    pub(super) bad_token: bool,
}

impl Read {
    /// Whether a further try follows here, tries and time allowing.
    pub(super) fn is_repeated(&self) -> bool {
        let again = matches!(
            self.outcome.retry,
            Retry::Here { .. } | Retry::After { .. } | Retry::Scheduled { .. }
        );
        again && self.outcome.result == OutcomeResult::Refused
    }
}

impl Service {
    /// Headers of answers that are looked at.
    #[must_use]
    pub fn headers(&self) -> Vec<HeaderName> {
        match self.kind {
            Kind::Apns { .. } => vec![APNS_ID, DATE],
            Kind::Fcm { .. } => vec![RETRY_AFTER],
        }
    }

    /// The platform whose devices it serves.
    #[must_use]
    pub fn platform(&self) -> Platform {
        match self.kind {
            Kind::Apns { .. } => Platform::Ios,
            Kind::Fcm { .. } => Platform::Android,
        }
    }

    /// The request of an attempt.
    ///
    /// # Errors
    /// The outcome of one that cannot be written: what acceptance checked is not as it was.
    pub(super) fn request(
        &self,
        attempt: &Attempt,
        made: &mut Made,
        bearer: Option<&HeaderValue>,
        now: UnixMs,
    ) -> Result<(Request<()>, Bytes), Outcome> {
        let unwritable = |why: String| {
            tracing::error!(
                message = %self.ids.message(attempt.message.id), part = attempt.part, why,
                "a push cannot be written"
            );
            let (result, reason) = (OutcomeResult::Refused, Reason::ProviderError);
            Outcome {
                text: Said::new("", &why).kept(),
                ..ours(result, reason, Whose::Us, Retry::Never, now)
            }
        };
        if let Kind::Apns { apps } = &self.kind
            && let Some(device) = attempt.message.device(attempt.part)
            && !apps.contains_key(&*device.app)
        {
            // The config had it when the message was accepted: another route may have it now.
            let (result, reason) = (OutcomeResult::Refused, Reason::AppMismatch);
            let why = format!("the route has no app {}", device.app.escape_debug());
            return Err(Outcome {
                text: Said::new("", &why).kept(),
                ..ours(result, reason, Whose::Us, Retry::Elsewhere, now)
            });
        }
        let rendered = self.rendered(attempt, made, now);
        let rendered = rendered.map_err(unwritable)?;
        let (path, mut headers, body) = match (&*rendered, &self.kind) {
            (Rendered::Apns { .. }, Kind::Apns { apps }) => {
                self.apns(attempt, &rendered, apps).map_err(unwritable)?
            }
            (Rendered::Fcm(message), Kind::Fcm { path }) => {
                let body = fcm_body(attempt, message).map_err(unwritable)?;
                let mut headers = HeaderMap::with_capacity(3);
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                (path.clone(), headers, body)
            }
            _ => return Err(unwritable("it is another service's".into())),
        };
        if let Some(bearer) = bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        let uri = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build();
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.map_err(|error| unwritable(error.to_string()))?;
        *request.headers_mut() = headers;
        Ok((request, body))
    }

    fn rendered(
        &self,
        attempt: &Attempt,
        made: &mut Made,
        now: UnixMs,
    ) -> Result<Arc<Rendered>, String> {
        let message = &*attempt.message;
        let seconds = message.expires_at.since(now).as_secs();
        let device = message
            .has_app_receipts()
            .then(|| message.device_place(attempt.part));
        let of = (message.id, seconds, device);
        if let Some((known, rendered)) = &made.0
            && *known == of
        {
            return Ok(rendered.clone());
        }
        let said = PushContent::parse(message.text(Text::Push)).map_err(|why| why.to_string())?;
        let own = self.ids.message(message.id).to_string();
        let mut content = said.content();
        content.replace_id = Some(own.as_str()).filter(|_| self.auto_collapse);
        content.urgency = Some(match message.priority {
            Priority::High => Urgency::High,
            Priority::Normal => Urgency::Normal,
            Priority::Low => Urgency::Low,
        });
        let token = device.map(|device| self.receipt_keys.token(message.id, device));
        content.receipt = token.as_deref().map(|token| ReceiptKey {
            message_id: &own,
            token,
        });
        content.ttl_seconds = Some(seconds);
        let rendered = match &self.kind {
            Kind::Apns { .. } => {
                let push = content.apns().map_err(|why| why.to_string())?;
                Rendered::Apns {
                    payload: push.payload.into(),
                    push_type: push.push_type,
                    priority: push.priority,
                    collapse_id: push.collapse_id.map(str::to_owned),
                }
            }
            // Acceptance has checked how large it may be.
            Kind::Fcm { .. } => {
                Rendered::Fcm(content.fcm(usize::MAX).map_err(|why| why.to_string())?)
            }
        };
        let rendered = Arc::new(rendered);
        made.0 = Some((of, rendered.clone()));
        Ok(rendered)
    }

    fn apns(
        &self,
        attempt: &Attempt,
        rendered: &Rendered,
        apps: &BTreeMap<String, String>,
    ) -> Result<(String, HeaderMap, Bytes), String> {
        let message = &attempt.message;
        let (
            Some(device),
            Rendered::Apns {
                payload,
                push_type,
                priority,
                collapse_id,
            },
        ) = (message.device(attempt.part), rendered)
        else {
            return Err("Apple's service knows devices only".into());
        };
        let Some(topic) = apps.get(&*device.app) else {
            return Err(format!(
                "the route has no app {}",
                device.app.escape_debug()
            ));
        };
        let place = message.device_place(attempt.part);
        let request = apns::Request {
            token: DeviceToken::parse(&device.token).map_err(|why| why.to_string())?,
            topic,
            push_type: *push_type,
            priority: *priority,
            apns_id: ApnsId(self.ids.octets(message.id, place)),
            expiration: Some(Expiration::At(message.expires_at.0 / 1_000)),
            collapse_id: collapse_id.as_deref(),
        };
        request.check().map_err(|why| why.to_string())?;
        let mut headers = HeaderMap::with_capacity(8);
        for header in request.headers() {
            let value = HeaderValue::from_bytes(&header.value);
            let mut value = value.map_err(|why| format!("{}: {why}", header.name))?;
            // Never indexed: they would flush the peer's table (push.md §1.7).
            value.set_sensitive(header.per_message);
            headers.insert(HeaderName::from_static(header.name), value);
        }
        Ok((request.path(), headers, payload.clone()))
    }

    /// What an answer means for the attempt.
    pub(super) fn read(&self, attempt: &Attempt, answered: &Answered) -> Read {
        let status = answered.status.as_u16();
        match self.kind {
            Kind::Apns { .. } => {
                let id = answered.header(&APNS_ID).map(HeaderValue::as_bytes);
                let answer = apns::Answer::read(status, id, &answered.body);
                let own = answer.apns_id.map(|id| id.to_string());
                let since = answer.timestamp_ms.map(UnixMs);
                let seen = Seen {
                    class: answer.class,
                    reason: &answer.reason,
                    words: &answer.text,
                    id: own.as_deref(),
                    since,
                    wait: None,
                };
                self.judged(attempt, answered, &seen)
            }
            Kind::Fcm { .. } => {
                let answer = match answered.complete {
                    true => fcm::Answer::read(status, &answered.body),
                    false => fcm::Answer::read_start(status, &answered.body),
                };
                let delay = answer.retry_delay_ms.map(Duration::from_millis);
                let wait = answered.header(&RETRY_AFTER).and_then(seconds).or(delay);
                let words = match answer.class {
                    Class::Accepted => String::new(),
                    _ => words::of_fcm(&answer),
                };
                let seen = Seen {
                    class: answer.class,
                    reason: &answer.code,
                    words: &words,
                    id: answer.name.as_deref(),
                    since: None,
                    wait: wait.map(|wait| wait.min(WAIT_MAX)),
                };
                self.judged(attempt, answered, &seen)
            }
        }
    }

    fn judged(&self, attempt: &Attempt, answered: &Answered, seen: &Seen<'_>) -> Read {
        let Verdict {
            result,
            whose,
            reason,
            retry,
            beside,
            bad_token,
        } = super::verdict::of(seen.class, seen.reason.known(), seen.wait);
        let device = attempt.message.device(attempt.part);
        let text = match result {
            OutcomeResult::Accepted => None,
            _ => words::kept(
                seen.reason,
                seen.words,
                device.map_or("", |device| &device.token),
            ),
        };
        let mut read = Read {
            outcome: Outcome {
                result,
                whose,
                code: answered.status.as_u16().into(),
                reason,
                retry,
                provider_id: seen.id.map(|id| id.as_bytes().into()).unwrap_or_default(),
                text,
                unregistered: UnixMs::ZERO,
                handed_at: answered.at,
                answered_at: answered.at,
            },
            beside,
            class: seen.class,
            label: seen.reason.label(),
            bad_token,
        };
        if seen.class == Class::PermanentToken {
            // Of a clock that is ahead it may be a little later than now, and counts all the same.
            let registered = device.map_or(UnixMs::ZERO, |device| device.registered_at);
            match seen.since {
                // The app has got this token after the service had given it up: it is tried once more,
                // and nobody is told to delete it (push.md R12).
                Some(since) if registered > UnixMs::ZERO && registered >= since => {
                    read.outcome.retry = Retry::Here { tries: 1 };
                    // Nor by the end of its tries: what the service knows is too old.
                    read.outcome.reason = Some(Reason::ProviderError);
                }
                since => read.outcome.unregistered = since.unwrap_or(answered.at),
            }
        }
        read
    }
}

/// What was read out of an answer.
struct Seen<'a> {
    class: Class,
    reason: &'a verdict::Reason,
    /// What it said beside.
    words: &'a str,
    id: Option<&'a str>,
    since: Option<UnixMs>,
    wait: Option<Duration>,
}

fn fcm_body(attempt: &Attempt, message: &fcm::Message) -> Result<Bytes, String> {
    let push = attempt
        .message
        .steps
        .as_ref()
        .and_then(|steps| steps.push.as_ref());
    let target = match push {
        Some(PushTarget::Devices(_)) => match attempt.message.device(attempt.part) {
            Some(device) => fcm::Target::Token(&device.token),
            None => return Err("it has no device".into()),
        },
        Some(PushTarget::Topic(topic)) => fcm::Target::Topic(topic),
        Some(PushTarget::Condition(condition)) => fcm::Target::Condition(condition),
        None => return Err("it goes to nobody".into()),
    };
    Ok(message.request(target, false).into())
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3). Its other form, a date, would need the peer's clock: what
/// the documentation says holds then.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

impl Who {
    /// The tokens as they come; `None` when there are none.
    pub(super) fn subscribe(
        &self,
    ) -> Option<tokio::sync::watch::Receiver<crate::connect::credentials::State>> {
        match self {
            Self::Provider(provider) => Some(provider.subscribe()),
            Self::Access(access) => Some(access.subscribe()),
            Self::Certificate(_) => None,
        }
    }

    /// Why a certificate is of no use.
    pub(super) fn stopped(&self, now: UnixMs) -> Option<String> {
        match self {
            Self::Certificate(certificate) => certificate.state().stopped(now),
            Self::Provider(_) | Self::Access(_) => None,
        }
    }

    /// The token of this serial was called too old: whether there is a newer one to send with.
    pub(super) fn expired(&self, serial: u64) -> bool {
        let again = match self {
            Self::Provider(provider) => provider.expired(serial),
            Self::Access(access) => access.expired(serial),
            Self::Certificate(_) => return true,
        };
        matches!(again, Again::With(_))
    }

    /// An answer: where our clock makes the tokens, its `date` tells how far that is off.
    pub(super) fn saw_date(&self, answered: &Answered) {
        let Self::Provider(provider) = self else {
            return;
        };
        let date = answered.header(&DATE).and_then(|date| date.to_str().ok());
        if let Some(server) = date.and_then(crate::outbound::date) {
            provider.saw_date(server);
        }
    }

    /// Tokens were renewed too often.
    pub(super) fn too_many_updates(&self) {
        if let Self::Provider(provider) = self {
            provider.too_many_updates();
        }
    }
}
