//! `[routes.*]` with `type = "apns"` or `"fcm"`: what a push route says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::{Rate, Secret};
use crate::connect::credentials::Source;

/// One of `[routes.*]` to a push service.
#[derive(Clone, Debug)]
pub struct PushRoute {
    /// Which service, and who we are to it.
    pub service: PushService,
    /// `host:port` in place of the service's own: tests, simulators.
    pub endpoint: Option<String>,
    /// PEM roots to trust beside the system's.
    pub extra_ca: Option<PathBuf>,
    /// Its connections.
    pub pool: Pool,
    /// How long an answer may take; then the outcome is unknown.
    pub request_timeout: Duration,
    /// Requests per time; absent is unlimited.
    pub rate: Option<Rate>,
    /// Whether a message without a collapse key goes by its own id, so that a repeat replaces it.
    pub auto_collapse: bool,
    /// When tokens are no longer believed to be wrong.
    pub guard: Guard,
    /// How refused pushes are tried again.
    pub retry: Retry,
    /// `receipts.timeout`: how long an app's receipt is waited for, where a message asks for one; then
    /// `sent` is final.
    pub receipt_timeout: Duration,
}

/// A push service, with what only it has.
#[derive(Clone, Debug)]
pub enum PushService {
    /// Apple.
    Apns(Apns),
    /// Google.
    Fcm(Fcm),
}

/// What only an APNs route has.
#[derive(Clone, Debug)]
pub struct Apns {
    /// Topic (bundle id, without a push type's suffix) by app; one at least.
    pub apps: BTreeMap<String, String>,
    /// Which of Apple's two services.
    pub environment: Environment,
    /// Who we are.
    pub auth: ApnsAuth,
}

/// Apple's services: a device token is of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Environment {
    /// Apps from the store and TestFlight.
    Production,
    /// Apps from Xcode.
    Sandbox,
}

/// Who we are to Apple.
#[derive(Clone, Debug)]
pub enum ApnsAuth {
    /// By a provider token.
    Token {
        /// 10 letters and digits.
        team_id: String,
        /// 10 letters and digits.
        key_id: String,
        /// PEM of the key, as `AuthKey_….p8` has it.
        key: Reference,
    },
    /// In TLS.
    Certificate {
        /// PEM: the certificate, and what leads from it to Apple's root.
        certificate: Reference,
        /// PEM of its key; `None`: it stands with the certificate.
        key: Option<Reference>,
    },
}

/// What only an FCM route has.
#[derive(Clone, Debug)]
pub struct Fcm {
    /// Its apps; one at least.
    pub apps: BTreeSet<String>,
    /// The service account's file.
    pub credentials: Reference,
    /// The project, as the file or `project` says.
    pub project: String,
    /// Where access tokens are asked for, in place of the file's `token_uri`.
    pub token_url: Option<String>,
    /// What the project may send.
    pub quota: Quota,
}

/// Where a credential is. It was read, and could be used, when the config was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A file, which is read again when it changes.
    File(PathBuf),
    /// The text itself, from the environment.
    Text(Secret),
}

impl Reference {
    /// As connectors read it.
    #[must_use]
    pub fn source(&self) -> Source {
        match self {
            Self::File(path) => Source::File(path.clone()),
            Self::Text(text) => Source::Text(text.expose().into()),
        }
    }
}

/// `routes.*.pool` and `connections`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Connections held when there is little to send; at most `max`.
    pub min: u16,
    /// `connections`: the most at once.
    pub max: u16,
    /// From the name's look-up to the service's SETTINGS.
    pub connect_timeout: Duration,
    /// Silence after which an idle connection is asked.
    pub ping_idle: Duration,
    /// Silence after which a connection with requests out is asked.
    pub ping_busy: Duration,
    /// Age at which a connection is replaced, give or take.
    pub max_age: Duration,
    /// Requests after which a connection is replaced.
    pub max_requests: u32,
}

/// `routes.*.guard`: above this share of tokens called wrong, it is taken for the route's own fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guard {
    /// Answers that call the token wrong, of all answers; 0.0 to 1.0.
    pub invalid_token_ratio: f64,
    /// Over this time.
    pub window: Duration,
    /// Fewer answers than this in the window say nothing.
    pub min_answers: u32,
}

/// `routes.*.retry`.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// What is waited before each further try.
    pub schedule: Schedule,
    /// Further tries, of what is sent for the first time; 0.0 to 1.0.
    pub budget: f64,
}

/// `routes.*.retry.schedule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// A random share of each, in turn; 1 to 10 of them.
    Pauses(Vec<Duration>),
    /// As Apple advises: no sooner than after 15 minutes.
    AppleStrict,
}

/// `routes.*.quota`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What the project may send, over all routes with it.
    pub rate: Rate,
    /// How long it takes from a tenth of it to all of it; zero: all of it at once.
    pub ramp: Duration,
}
