//! A request to APNs as data: path, headers, body.

use smallvec::SmallVec;

use super::{ApnsId, DeviceToken, Priority, PushType};

/// Most octets of `apns-collapse-id`; octets, not characters. "Sending notification requests to
/// APNs".
pub const COLLAPSE_ID_OCTETS_MAX: usize = 64;

/// Most octets of a topic with its suffix. Chosen: bundle ids have up to 155 characters.
pub const TOPIC_OCTETS_MAX: usize = 255;

/// When APNs stops trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiration {
    /// At once after the first attempt: nothing is stored.
    Once,
    /// At this time, in seconds since 1970. 0 would mean [`Expiration::Once`].
    At(u64),
}

/// A header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Its value: no control characters, no blanks at either end.
    pub value: SmallVec<[u8; 64]>,
    /// The value differs from message to message: it is sent as a literal that is never indexed,
    /// or it would flush HPACK's table of 4,096 octets (push.md §1.7).
    pub per_message: bool,
}

/// The headers of a request, without `authorization`, which is the connection's.
pub type Headers = SmallVec<[Header; 6]>;

/// A notification for one device.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Whom it is for.
    pub token: DeviceToken<'a>,
    /// The app's bundle id, without the push type's suffix; for MDM the certificate's UID.
    pub topic: &'a str,
    /// What it is.
    pub push_type: PushType,
    /// How urgent it is; one that [`PushType::rules`] allows.
    pub priority: Priority,
    /// Our id of it.
    pub apns_id: ApnsId,
    /// When it is of no more use; `None`: as long as APNs likes, 30 days at most.
    pub expiration: Option<Expiration>,
    /// Replaces an earlier one with the same id.
    pub collapse_id: Option<&'a str>,
}

/// Why APNs would not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// The topic is empty, too long, or holds something other than letters, digits, `.`, `-`, `_`.
    Topic,
    /// The priority is not one of the push type's.
    Priority {
        /// The push type.
        push_type: PushType,
        /// What was asked for.
        priority: Priority,
    },
    /// The collapse id is empty or has this many octets, more than [`COLLAPSE_ID_OCTETS_MAX`].
    CollapseIdLength(usize),
    /// The collapse id holds a control character, or a blank at either end.
    CollapseIdCharacter,
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topic => write!(
                f,
                "an APNs topic is letters, digits, `.`, `-` and `_`, at most {TOPIC_OCTETS_MAX}"
            ),
            Self::Priority {
                push_type,
                priority,
            } => {
                let (name, value) = (push_type.name(), priority.value());
                write!(f, "push type {name} does not go with priority {value}")
            }
            Self::CollapseIdLength(octets) => write!(
                f,
                "an APNs collapse id has 1 to {COLLAPSE_ID_OCTETS_MAX} octets, this one {octets}"
            ),
            Self::CollapseIdCharacter => {
                f.write_str("a collapse id has no control characters and no blanks at its ends")
            }
        }
    }
}

impl std::error::Error for RequestError {}

impl Request<'_> {
    /// Checks what APNs would refuse; the payload is checked where it is made.
    ///
    /// # Errors
    /// The first [`RequestError`].
    pub fn check(&self) -> Result<(), RequestError> {
        let rules = self.push_type.rules();
        let octets = self.topic.len() + rules.topic_suffix.unwrap_or_default().len();
        let allowed =
            |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
        if self.topic.is_empty() || octets > TOPIC_OCTETS_MAX || !self.topic.bytes().all(allowed) {
            return Err(RequestError::Topic);
        }
        if !rules.priorities.contains(&self.priority) {
            return Err(RequestError::Priority {
                push_type: self.push_type,
                priority: self.priority,
            });
        }
        self.collapse_id.map_or(Ok(()), check_collapse_id)
    }

    /// `:path`; it ends in the token, and is never indexed.
    #[must_use]
    pub fn path(&self) -> String {
        ["/3/device/", self.token.as_str()].concat()
    }

    /// The headers. Those with `per_message` false are the same for all messages of one topic,
    /// push type and priority, and come first: a connector keeps them ready.
    #[must_use]
    pub fn headers(&self) -> Headers {
        let rules = self.push_type.rules();
        let mut headers = Headers::new();
        let mut put = |name, per_message, [value, suffix]: [&[u8]; 2]| {
            let mut value = SmallVec::from_slice(value);
            value.extend_from_slice(suffix);
            headers.push(Header {
                name,
                value,
                per_message,
            });
        };
        let suffix = rules.topic_suffix.unwrap_or_default();
        put(
            "apns-topic",
            false,
            [self.topic.as_bytes(), suffix.as_bytes()],
        );
        put("apns-push-type", false, [rules.name.as_bytes(), b""]);
        put(
            "apns-priority",
            false,
            [self.priority.value().as_bytes(), b""],
        );
        put("apns-id", true, [&self.apns_id.text(), b""]);
        let expiration = if rules.once {
            Some(Expiration::Once)
        } else {
            self.expiration
        };
        match expiration {
            None => {}
            Some(Expiration::Once) => put("apns-expiration", true, [b"0", b""]),
            // 0 would turn a time into "once".
            Some(Expiration::At(at)) => {
                put(
                    "apns-expiration",
                    true,
                    [at.max(1).to_string().as_bytes(), b""],
                );
            }
        }
        if let Some(id) = self.collapse_id {
            put("apns-collapse-id", true, [id.as_bytes(), b""]);
        }
        headers
    }
}

/// Whether `apns-collapse-id` can be this.
///
/// # Errors
/// [`RequestError::CollapseIdLength`] or [`RequestError::CollapseIdCharacter`].
pub fn check_collapse_id(id: &str) -> Result<(), RequestError> {
    if !(1..=COLLAPSE_ID_OCTETS_MAX).contains(&id.len()) {
        return Err(RequestError::CollapseIdLength(id.len()));
    }
    // RFC 9113 §8.2.1: no control characters, no white space at either end.
    if id.contains(char::is_control) || id.starts_with(' ') || id.ends_with(' ') {
        return Err(RequestError::CollapseIdCharacter);
    }
    Ok(())
}
