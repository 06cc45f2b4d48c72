//! The push types: topic, priorities, size and authentication of each, as data.
//!
//! Source of the table: Apple, "Sending notification requests to APNs" ("Know when to use push
//! types", and the table of headers); the suffixes of Live Activities, widgets and controls:
//! ActivityKit's and WidgetKit's pages on push notifications.

/// A value of `apns-priority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// 1: power goes before everything; does not wake the device.
    Lowest,
    /// 5: when power allows.
    Conserving,
    /// 10: at once. What APNs assumes without the header.
    Immediate,
}

impl Priority {
    /// The header's value.
    #[must_use]
    pub fn value(self) -> &'static str {
        match self {
            Self::Lowest => "1",
            Self::Conserving => "5",
            Self::Immediate => "10",
        }
    }
}

/// How a connection says who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// A provider token in each request.
    Token,
    /// A client certificate at TLS.
    Certificate,
}

/// A value of `apns-push-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PushType {
    /// Shown, or a badge or a sound.
    Alert,
    /// Wakes the app in the background; shows nothing.
    Background,
    /// An incoming call.
    Voip,
    /// A complication of a watch face.
    Complication,
    /// A change in a File Provider.
    FileProvider,
    /// Asks for the device's location.
    Location,
    /// Tells a managed device to contact its server.
    Mdm,
    /// Starts, updates or ends a Live Activity.
    LiveActivity,
    /// Push to Talk.
    PushToTalk,
    /// Reloads widgets.
    Widgets,
    /// Reloads controls.
    Controls,
}

/// What a push type asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The header's value.
    pub name: &'static str,
    /// What follows the bundle id in `apns-topic`; `None` where the topic is the UID of the MDM
    /// certificate and no bundle id.
    pub topic_suffix: Option<&'static str>,
    /// The priorities that are allowed, lowest first.
    pub priorities: &'static [Priority],
    /// The priority if nobody asks for one.
    pub default_priority: Priority,
    /// Most octets of the payload.
    pub payload_octets_max: usize,
    /// The only way to authenticate, if there is but one.
    pub auth: Option<Auth>,
    /// `apns-expiration` is 0 whatever was asked for: one attempt.
    pub once: bool,
    /// The payload may hold a text, a badge and a sound for the user.
    pub shows: bool,
}

use Priority::{Conserving, Immediate, Lowest};

/// Most octets of a payload. "Sending notification requests to APNs".
const PAYLOAD_OCTETS_MAX: usize = 4_096;
/// Most octets of a VoIP payload. Same page.
const VOIP_OCTETS_MAX: usize = 5_120;

/// The rules that most types share. Apple names 10 and 5 for all, 1 without saying for which types:
/// chosen to be offered for alerts alone.
const COMMON: Rules = Rules {
    name: "",
    topic_suffix: Some(""),
    priorities: &[Conserving, Immediate],
    default_priority: Immediate,
    payload_octets_max: PAYLOAD_OCTETS_MAX,
    auth: None,
    once: false,
    shows: false,
};

const ALERT: Rules = Rules {
    name: "alert",
    priorities: &[Lowest, Conserving, Immediate],
    shows: true,
    ..COMMON
};
/// "Always use priority 5. Using priority 10 is an error."
const BACKGROUND: Rules = Rules {
    name: "background",
    priorities: &[Conserving],
    default_priority: Conserving,
    ..COMMON
};
const VOIP: Rules = Rules {
    name: "voip",
    topic_suffix: Some(".voip"),
    priorities: &[Immediate],
    payload_octets_max: VOIP_OCTETS_MAX,
    shows: true,
    ..COMMON
};
const COMPLICATION: Rules = Rules {
    name: "complication",
    topic_suffix: Some(".complication"),
    ..COMMON
};
const FILE_PROVIDER: Rules = Rules {
    name: "fileprovider",
    topic_suffix: Some(".pushkit.fileprovider"),
    ..COMMON
};
/// "The location push type … requires token-based authentication."
const LOCATION: Rules = Rules {
    name: "location",
    topic_suffix: Some(".location-query"),
    auth: Some(Auth::Token),
    ..COMMON
};
/// The topic is in the certificate that Apple's portal makes for MDM: no key is bound to it.
const MDM: Rules = Rules {
    name: "mdm",
    topic_suffix: None,
    auth: Some(Auth::Certificate),
    ..COMMON
};
/// 10 counts against an hourly budget (ActivityKit): chosen to be asked for, not assumed.
const LIVE_ACTIVITY: Rules = Rules {
    name: "liveactivity",
    topic_suffix: Some(".push-type.liveactivity"),
    default_priority: Conserving,
    shows: true,
    ..COMMON
};
/// Push to Talk framework: priority 10, expiration 0.
const PUSH_TO_TALK: Rules = Rules {
    name: "pushtotalk",
    topic_suffix: Some(".voip-ptt"),
    priorities: &[Immediate],
    once: true,
    ..COMMON
};
const WIDGETS: Rules = Rules {
    name: "widgets",
    topic_suffix: Some(".push-type.widgets"),
    ..COMMON
};
const CONTROLS: Rules = Rules {
    name: "controls",
    topic_suffix: Some(".push-type.controls"),
    ..COMMON
};

impl PushType {
    /// Every push type.
    pub const ALL: [Self; 11] = [
        Self::Alert,
        Self::Background,
        Self::Voip,
        Self::Complication,
        Self::FileProvider,
        Self::Location,
        Self::Mdm,
        Self::LiveActivity,
        Self::PushToTalk,
        Self::Widgets,
        Self::Controls,
    ];

    /// Reads the header's value.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The header's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.rules().name
    }

    /// What it asks for.
    #[must_use]
    pub fn rules(self) -> &'static Rules {
        match self {
            Self::Alert => &ALERT,
            Self::Background => &BACKGROUND,
            Self::Voip => &VOIP,
            Self::Complication => &COMPLICATION,
            Self::FileProvider => &FILE_PROVIDER,
            Self::Location => &LOCATION,
            Self::Mdm => &MDM,
            Self::LiveActivity => &LIVE_ACTIVITY,
            Self::PushToTalk => &PUSH_TO_TALK,
            Self::Widgets => &WIDGETS,
            Self::Controls => &CONTROLS,
        }
    }

    /// The priority nearest to what is wished among those that are allowed: the highest that is
    /// not above it, else the lowest.
    #[must_use]
    pub fn priority(self, wished: Option<Priority>) -> Priority {
        let rules = self.rules();
        let Some(wished) = wished else {
            return rules.default_priority;
        };
        let mut allowed = rules.priorities.iter().rev().copied();
        let lowest = rules.priorities.first().copied();
        allowed
            .find(|&priority| priority <= wished)
            .or(lowest)
            .unwrap_or(rules.default_priority)
    }

    /// Says whether messages of this type may go over a connection that authenticates so.
    #[must_use]
    pub fn allows(self, auth: Auth) -> bool {
        self.rules().auth.is_none_or(|only| only == auth)
    }
}
