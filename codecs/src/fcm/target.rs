//! Whom an FCM message is for: a device, a topic, or a condition on topics.

use crate::json;

/// Most octets of a registration token or installation id. contract.md §1, `to.devices`: 4,096;
/// Google's have about 160 and no promised size.
pub const TOKEN_OCTETS_MAX: usize = 4_096;

/// Most characters of a topic. contract.md §1, `to.topic`.
pub const TOPIC_CHARS_MAX: usize = 256;

/// Most octets of a condition. Chosen: five topics of any length, and what joins them.
pub const CONDITION_OCTETS_MAX: usize = 2_048;

/// Most topics in a condition. "Send messages to topics": up to five.
pub const CONDITION_TOPICS_MAX: usize = 5;

/// Whom a message is for; exactly one of these.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// A registration token.
    Token(&'a str),
    /// A Firebase installation id.
    Fid(&'a str),
    /// Everyone who subscribed to a topic: its name without `/topics/`.
    Topic(&'a str),
    /// Everyone for whom it is true: `'a' in topics && ('b' in topics || !('c' in topics))`.
    Condition(&'a str),
}

/// Without the token, which is the device's address.
impl std::fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(token) => write!(f, "Token({} octets)", token.len()),
            Self::Fid(fid) => write!(f, "Fid({} octets)", fid.len()),
            Self::Topic(topic) => write!(f, "Topic({topic:?})"),
            Self::Condition(condition) => write!(f, "Condition({condition:?})"),
        }
    }
}

/// Why FCM would not know whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetError {
    /// A token or installation id of this many octets: none, or more than [`TOKEN_OCTETS_MAX`].
    TokenLength(usize),
    /// What is at this offset of a token is a blank, a control character or no ASCII.
    TokenCharacter(usize),
    /// A topic of this many octets: none, or more than [`TOPIC_CHARS_MAX`].
    TopicLength(usize),
    /// A topic with `/topics/` in front, which the HTTP v1 API does not take.
    TopicPrefix,
    /// What is at this offset of a topic is none of letters, digits and `-_.~%`.
    TopicCharacter(usize),
    /// A condition of this many octets: none, or more than [`CONDITION_OCTETS_MAX`].
    ConditionLength(usize),
    /// More than [`CONDITION_TOPICS_MAX`] topics.
    ConditionTopics,
    /// The condition is none from this offset on.
    Condition {
        /// Octets before it.
        at: usize,
        /// What was expected there.
        expected: &'static str,
    },
}

impl std::fmt::Display for TargetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TokenLength(octets) => {
                write!(
                    f,
                    "an FCM token has 1 to {TOKEN_OCTETS_MAX} octets, this one {octets}"
                )
            }
            Self::TokenCharacter(at) => {
                write!(
                    f,
                    "an FCM token is printable ASCII without blanks: not so at offset {at}"
                )
            }
            Self::TopicLength(octets) => {
                write!(
                    f,
                    "a topic has 1 to {TOPIC_CHARS_MAX} characters, this one {octets}"
                )
            }
            Self::TopicPrefix => f.write_str("a topic is named without `/topics/`"),
            Self::TopicCharacter(at) => write!(
                f,
                "a topic is letters, digits and `-_.~%`: not so at offset {at}"
            ),
            Self::ConditionLength(octets) => write!(
                f,
                "a condition has 1 to {CONDITION_OCTETS_MAX} octets, this one {octets}"
            ),
            Self::ConditionTopics => {
                write!(f, "a condition names at most {CONDITION_TOPICS_MAX} topics")
            }
            Self::Condition { at, expected } => {
                write!(f, "a condition has {expected} at offset {at}")
            }
        }
    }
}

impl std::error::Error for TargetError {}

impl Target<'_> {
    /// The member of `message` that names it. REST reference, `projects.messages`.
    #[must_use]
    pub fn member(self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Fid(_) => "fid",
            Self::Topic(_) => "topic",
            Self::Condition(_) => "condition",
        }
    }

    /// Checks what FCM would refuse.
    ///
    /// # Errors
    /// The first [`TargetError`].
    pub fn check(self) -> Result<(), TargetError> {
        match self {
            Self::Token(token) | Self::Fid(token) => check_token(token),
            Self::Topic(topic) => check_topic(topic),
            Self::Condition(condition) => check_condition(condition),
        }
    }

    /// Says whether one message goes to many devices.
    pub(super) fn is_topic(self) -> bool {
        matches!(self, Self::Topic(_) | Self::Condition(_))
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        let (Self::Token(text) | Self::Fid(text) | Self::Topic(text) | Self::Condition(text)) =
            self;
        json::string(out, self.member());
        out.push(b':');
        json::string(out, text);
    }
}

fn check_token(token: &str) -> Result<(), TargetError> {
    if !(1..=TOKEN_OCTETS_MAX).contains(&token.len()) {
        return Err(TargetError::TokenLength(token.len()));
    }
    match token.bytes().position(|octet| !octet.is_ascii_graphic()) {
        Some(at) => Err(TargetError::TokenCharacter(at)),
        None => Ok(()),
    }
}

/// Characters of a topic: `[a-zA-Z0-9-_.~%]+`. "Manage topics", and firebase-admin-go
/// `bareTopicNamePattern`.
pub(super) fn in_topic(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.' | b'~' | b'%')
}

fn check_topic(topic: &str) -> Result<(), TargetError> {
    if topic.starts_with("/topics/") {
        return Err(TargetError::TopicPrefix);
    }
    if !(1..=TOPIC_CHARS_MAX).contains(&topic.len()) {
        return Err(TargetError::TopicLength(topic.len()));
    }
    match topic.bytes().position(|octet| !in_topic(octet)) {
        Some(at) => Err(TargetError::TopicCharacter(at)),
        None => Ok(()),
    }
}

/// Walks a condition: operands `'topic' in topics`, joined by `&&` and `||`, turned by `!`, in
/// parentheses. Precedence is Google's matter; whether it is well formed needs a depth only. Between
/// words stand blanks, as in all of Google's examples; tabs and the like are not known to be read.
fn check_condition(condition: &str) -> Result<(), TargetError> {
    if !(1..=CONDITION_OCTETS_MAX).contains(&condition.len()) {
        return Err(TargetError::ConditionLength(condition.len()));
    }
    let mut rest = condition.trim_start_matches(' ');
    let (mut depth, mut topics, mut operand) = (0_usize, 0, false);
    let wrong = |rest: &str, expected| TargetError::Condition {
        at: condition.len() - rest.len(),
        expected,
    };
    while !rest.is_empty() {
        let after = if operand {
            if let Some(after) = rest.strip_prefix(')') {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| wrong(rest, "no `(` for the `)`"))?;
                after
            } else {
                operand = false;
                let join = rest.strip_prefix("&&").or_else(|| rest.strip_prefix("||"));
                join.ok_or_else(|| wrong(rest, "no `&&`, `||` or `)`"))?
            }
        } else if let Some(after) = rest.strip_prefix('(') {
            depth += 1;
            after
        } else if let Some(after) = rest.strip_prefix('!') {
            after
        } else {
            topics += 1;
            operand = true;
            in_topics(rest).ok_or_else(|| wrong(rest, "no `'topic' in topics`"))?
        };
        rest = after.trim_start_matches(' ');
    }
    if topics > CONDITION_TOPICS_MAX {
        return Err(TargetError::ConditionTopics);
    }
    match (operand, depth) {
        (false, _) => Err(wrong(rest, "no `'topic' in topics`")),
        (true, 1..) => Err(wrong(rest, "no `)`")),
        (true, 0) => Ok(()),
    }
}

/// What follows `'topic' in topics`.
fn in_topics(text: &str) -> Option<&str> {
    let (topic, rest) = text.strip_prefix('\'')?.split_once('\'')?;
    check_topic(topic).ok()?;
    let rest = rest.strip_prefix(' ')?.trim_start_matches(' ');
    let rest = rest.strip_prefix("in ")?.trim_start_matches(' ');
    let rest = rest.strip_prefix("topics")?;
    // "topicsx" is no word of the grammar.
    let ends = |next: char| next == ' ' || matches!(next, ')' | '&' | '|');
    rest.chars().next().is_none_or(ends).then_some(rest)
}
