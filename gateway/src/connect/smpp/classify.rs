//! What a command_status on a submit means: the class table of smpp.md §3.3 as data.
//!
//! Source: SMPP v3.4 §5.1.3 and v5.0 §4.7.6 name the codes; the classes are smpp.md §3.3 (P: never,
//! R(n): here n times and then elsewhere, A: elsewhere, T: throttle, F: the bind is not usable, C: an
//! operator has to look). Codes that no submit can earn (`n/a`) stand as unknown ones.

use codecs::smpp::CommandStatus;

use super::form::{UCS2, WITHOUT_VALIDITY};
use crate::outcome::{Form, Or, Reason, Retry, Whose};

/// What a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// What may follow.
    pub retry: Retry,
    /// The contract's word.
    pub reason: Reason,
    /// Whose doing it is.
    pub whose: Whose,
    /// An operator has to look at the route's configuration (C).
    pub alarm: bool,
    /// The bind is not usable: it is closed and made anew (F).
    pub fatal: bool,
}

/// Octets of additional_status_info_text that are kept: SMPP v3.4 §5.3.2.11 has 256 with its NUL.
const TEXT_OCTETS_MAX: usize = 255;

/// R without a number, and parts of a fatal status: so many tries. Chosen.
const TRIES: u8 = 3;

/// A status that no table knows: once again, then elsewhere (smpp.md §3.3 "other").
const UNKNOWN: Class = retried(1, Reason::Unclassified);

/// A vendor's own status, 0x400 to 0x4FF: elsewhere.
const VENDOR: Class = elsewhere(Reason::Unclassified);

const fn class(retry: Retry, reason: Reason) -> Class {
    Class {
        retry,
        reason,
        whose: Whose::Peer,
        alarm: false,
        fatal: false,
    }
}

/// P
const fn never(reason: Reason) -> Class {
    class(Retry::Never, reason)
}

/// A
const fn elsewhere(reason: Reason) -> Class {
    class(Retry::Elsewhere, reason)
}

/// R(n)
const fn retried(tries: u8, reason: Reason) -> Class {
    class(Retry::Here { tries }, reason)
}

/// T
const fn throttle(reason: Reason) -> Class {
    class(Retry::Throttle, reason)
}

/// P or A, after one more try in another form.
const fn otherwise(form: Form, or: Or, reason: Reason) -> Class {
    class(Retry::Otherwise { form, or }, reason)
}

/// + C: our configuration or request is at fault.
const fn ours(class: Class) -> Class {
    Class {
        whose: Whose::Us,
        alarm: true,
        ..class
    }
}

/// F
const fn fatal(reason: Reason) -> Class {
    Class {
        fatal: true,
        ..ours(retried(TRIES, reason))
    }
}

/// (status, class), ascending.
pub const TABLE: [(u32, Class); 64] = [
    (0x01, ours(never(Reason::TooLong))),
    (0x02, ours(never(Reason::ProviderError))),
    (0x03, ours(elsewhere(Reason::ProviderError))),
    (0x04, fatal(Reason::BindFailed)),
    (0x05, fatal(Reason::BindFailed)),
    (0x06, ours(never(Reason::ProviderError))),
    (0x07, ours(never(Reason::ProviderError))),
    (0x08, retried(3, Reason::ProviderError)),
    (0x0A, ours(elsewhere(Reason::SenderInvalid))),
    (0x0B, never(Reason::InvalidAddress)),
    (0x0C, never(Reason::ProviderError)),
    (0x0D, fatal(Reason::BindFailed)),
    (0x0E, fatal(Reason::ProviderAuthFailed)),
    (0x0F, fatal(Reason::ProviderAuthFailed)),
    (0x11, UNKNOWN),
    (0x13, UNKNOWN),
    // ESME_RMSGQFUL: the carrier's whole queue or one recipient's (smpp.md §3.4).
    (0x14, class(Retry::Full, Reason::QueueFull)),
    (0x15, ours(never(Reason::ProviderError))),
    (0x33, never(Reason::ProviderError)),
    (0x34, never(Reason::ProviderError)),
    (0x40, never(Reason::ProviderError)),
    (0x42, never(Reason::ProviderError)),
    (0x43, ours(never(Reason::ProviderError))),
    (0x44, never(Reason::ProviderError)),
    (0x45, retried(2, Reason::ProviderError)),
    (0x48, ours(elsewhere(Reason::SenderInvalid))),
    (0x49, ours(elsewhere(Reason::SenderInvalid))),
    (0x50, ours(elsewhere(Reason::ProviderError))),
    (0x51, ours(elsewhere(Reason::ProviderError))),
    (0x53, ours(never(Reason::ProviderError))),
    (0x54, ours(never(Reason::ProviderError))),
    (0x55, ours(never(Reason::ProviderError))),
    (0x58, throttle(Reason::Throttled)),
    (0x61, ours(never(Reason::ProviderError))),
    (
        0x62,
        ours(otherwise(
            WITHOUT_VALIDITY,
            Or::Never,
            Reason::ProviderError,
        )),
    ),
    (0x63, never(Reason::ProviderError)),
    (0x64, retried(TRIES, Reason::ProviderError)),
    (0x65, never(Reason::ProviderError)),
    (0x66, elsewhere(Reason::ProviderError)),
    (0x67, UNKNOWN),
    (0xC0, ours(never(Reason::ProviderError))),
    (0xC1, ours(never(Reason::ProviderError))),
    (0xC2, ours(never(Reason::ProviderError))),
    (0xC3, ours(never(Reason::TemplateMismatch))),
    (0xC4, ours(never(Reason::ProviderError))),
    (0xFE, elsewhere(Reason::Unclassified)),
    (0xFF, retried(2, Reason::Unclassified)),
    (0x100, ours(elsewhere(Reason::ProviderError))),
    (0x101, ours(never(Reason::Unclassified))),
    (0x102, retried(1, Reason::ProviderError)),
    (0x103, ours(elsewhere(Reason::ProviderError))),
    (
        0x104,
        otherwise(UCS2, Or::Elsewhere, Reason::EncodingUnsupported),
    ),
    (0x105, never(Reason::ProviderError)),
    (0x106, never(Reason::ProviderError)),
    (0x107, never(Reason::ProviderError)),
    (0x108, never(Reason::ProviderError)),
    (0x109, never(Reason::ProviderError)),
    (0x10A, never(Reason::ProviderError)),
    (0x10B, never(Reason::ProviderError)),
    (0x10C, never(Reason::ProviderError)),
    (0x10D, never(Reason::ProviderError)),
    (0x10E, never(Reason::ProviderError)),
    (0x10F, never(Reason::ProviderError)),
    (0x110, never(Reason::ProviderError)),
];

/// 0x111 and 0x112, the last of v5.0's broadcast errors, and the vendors' own.
const RANGES: [(u32, u32, Class); 2] = [
    (0x111, 0x112, never(Reason::ProviderError)),
    (0x400, 0x4FF, VENDOR),
];

/// interface_version of SMPP 3.3. SMPP v3.4 §5.2.4.
const VERSION_33: u8 = 0x33;

/// SMPP 3.3 has codes of its own below 0x10, which are read so in its sessions: 0x09 is a wrong
/// parameter and 0x0D a wrong password. Not verified: no primary text could be opened (smpp.md §11);
/// its 0x0E and 0x0F come to the same as 3.4's, and what its 0x10 is on a submit is not known.
const TABLE_33: [(u32, Class); 2] = [
    (0x09, ours(never(Reason::ProviderError))),
    (0x0D, fatal(Reason::ProviderAuthFailed)),
];

/// What a route's own rule makes of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// The route backs off.
    Throttle,
    /// Again here, then elsewhere.
    Retry,
    /// On another route.
    Elsewhere,
    /// Nothing.
    Never,
    /// Again, on a new bind.
    Fatal,
}

/// A status that means something of its own on one route: `treat_as_throttle` and all other rows of
/// smpp.md §3.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The status.
    pub status: u32,
    /// What additional_status_info_text has to contain, in any case of ASCII; `None`: anything.
    pub text: Option<String>,
    /// What it means.
    pub own: Own,
    /// Whether an operator has to look, which [`Own::Fatal`] always wants.
    pub alarm: bool,
}

impl Rule {
    fn holds(&self, status: CommandStatus, info: &[u8]) -> bool {
        let contains = |text: &String| {
            let found = |piece: &[u8]| piece.eq_ignore_ascii_case(text.as_bytes());
            info.windows(text.len().max(1)).any(found)
        };
        self.status == status.0 && self.text.as_ref().is_none_or(contains)
    }

    /// The reason stays that of the table, where it has one.
    fn class(&self) -> Class {
        let known = known(CommandStatus(self.status));
        let reason = known.map_or(Reason::Unclassified, |class| class.reason);
        let class = match self.own {
            Own::Throttle => throttle(Reason::Throttled),
            Own::Retry => retried(TRIES, reason),
            Own::Elsewhere => elsewhere(reason),
            Own::Never => never(reason),
            Own::Fatal => fatal(reason),
        };
        if self.alarm { ours(class) } else { class }
    }
}

/// An error answer, as far as it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Its command_status.
    pub status: CommandStatus,
    /// Whether it is a generic_nack.
    pub nacked: bool,
    /// Its additional_status_info_text; empty without one.
    pub info: &'a [u8],
}

/// additional_status_info_text as it is kept and shown: printable ASCII as it came, so that a rule can
/// be written after it, all else escaped. `None` for an empty one.
#[must_use]
pub fn said(info: &[u8]) -> Option<Box<str>> {
    let mut text = String::new();
    for octet in info {
        let room = TEXT_OCTETS_MAX - text.len();
        match octet {
            b' '..=b'~' if room >= 1 => text.push(char::from(*octet)),
            b' '..=b'~' => break,
            _ if room >= 4 => text.extend([*octet].escape_ascii().map(char::from)),
            _ => break,
        }
    }
    (!text.is_empty()).then(|| text.into_boxed_str())
}

/// The class of an error answer to submit_sm, in a session of this interface version, by the route's
/// own rules first.
#[must_use]
pub fn classify(answer: Answered<'_>, rules: &[Rule], version: u8) -> Class {
    let status = answer.status;
    if let Some(rule) = rules.iter().find(|rule| rule.holds(status, answer.info)) {
        return rule.class();
    }
    let row = TABLE_33.iter().find(|row| row.0 == status.0);
    if version == VERSION_33
        && let Some((_, class)) = row
    {
        return *class;
    }
    if answer.nacked {
        // generic_nack: 02 and 03 say that our PDU is not understood there, whatever was in it.
        return match status {
            CommandStatus::INVALID_COMMAND_LENGTH | CommandStatus::INVALID_COMMAND => {
                ours(elsewhere(Reason::ProviderError))
            }
            _ => UNKNOWN,
        };
    }
    known(status).unwrap_or(UNKNOWN)
}

/// The table's row, if there is one.
#[must_use]
pub fn known(status: CommandStatus) -> Option<Class> {
    if let Ok(at) = TABLE.binary_search_by_key(&status.0, |row| row.0) {
        return Some(TABLE[at].1);
    }
    RANGES
        .iter()
        .find(|(first, last, _)| (*first..=*last).contains(&status.0))
        .map(|row| row.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_status_has_its_row() {
        for status in CommandStatus::NAMED {
            assert_eq!(known(*status).is_some(), !status.is_ok(), "{status}");
        }
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    /// smpp.md §3.3, read off the page: the class letters against what the table does.
    #[test]
    fn the_classes_are_those_of_the_page() {
        let p = [
            0x01, 0x02, 0x06, 0x07, 0x0B, 0x0C, 0x15, 0x33, 0x34, 0x40, 0x42, 0x43, 0x44, 0x53,
            0x54, 0x55, 0x61, 0x63, 0x65, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0x101, 0x105, 0x106, 0x107,
            0x110, 0x111, 0x112,
        ];
        let a = [
            0x03, 0x0A, 0x48, 0x49, 0x50, 0x51, 0x66, 0xFE, 0x100, 0x103, 0x400, 0x4FF,
        ];
        let r = [
            (0x08, 3),
            (0x45, 2),
            (0x64, 3),
            (0xFF, 2),
            (0x102, 1),
            (0x11, 1),
            (0x13, 1),
            (0x67, 1),
            (0x9999, 1),
        ];
        let of = |status| plain(status, false, &[]);
        for status in p {
            assert_eq!(of(status).retry, Retry::Never, "{status:#x}");
        }
        for status in a {
            assert_eq!(of(status).retry, Retry::Elsewhere, "{status:#x}");
        }
        for (status, tries) in r {
            assert_eq!(of(status).retry, Retry::Here { tries }, "{status:#x}");
        }
        // P and A, after one more try in another form.
        let asked = |form, or| Retry::Otherwise { form, or };
        assert_eq!(of(0x62).retry, asked(WITHOUT_VALIDITY, Or::Never));
        assert_eq!(of(0x104).retry, asked(UCS2, Or::Elsewhere));
        assert_eq!(of(0x14).retry, Retry::Full);
        assert_eq!(of(0x58).retry, Retry::Throttle);
        for status in [0x04, 0x05, 0x0D, 0x0E, 0x0F] {
            assert!(of(status).fatal, "{status:#x}");
            assert_eq!(
                of(status).retry,
                Retry::Here { tries: TRIES },
                "{status:#x}"
            );
        }
        let c = [
            0x01, 0x02, 0x03, 0x06, 0x07, 0x0A, 0x15, 0x43, 0x48, 0x49, 0x50, 0x51, 0x53, 0x54,
            0x55, 0x61, 0x62, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0x100, 0x101, 0x103,
        ];
        for status in c {
            assert!(
                of(status).alarm && of(status).whose == Whose::Us,
                "{status:#x}"
            );
        }
    }

    fn plain(status: u32, nacked: bool, rules: &[Rule]) -> Class {
        let answer = Answered {
            status: CommandStatus(status),
            nacked,
            info: b"",
        };
        classify(answer, rules, 0x34)
    }

    fn rule(status: u32, text: Option<&str>, own: Own) -> Rule {
        let text = text.map(str::to_owned);
        Rule {
            status,
            text,
            own,
            alarm: false,
        }
    }

    /// smpp.md §3.3: every row is overridable, the alarm as well.
    #[test]
    fn a_route_says_which_of_its_statuses_an_operator_has_to_look_at() {
        let quiet = rule(0xFF, None, Own::Elsewhere);
        let loud = Rule {
            alarm: true,
            ..quiet.clone()
        };
        let of = |rule: &Rule| plain(0xFF, false, std::slice::from_ref(rule));
        assert_eq!((of(&quiet).alarm, of(&quiet).whose), (false, Whose::Peer));
        assert_eq!((of(&loud).alarm, of(&loud).whose), (true, Whose::Us));
        assert_eq!(of(&loud).retry, Retry::Elsewhere);
        // The other way round: the table's alarm is the operator's to silence.
        assert!(plain(0x0A, false, &[]).alarm);
        assert!(!plain(0x0A, false, &[rule(0x0A, None, Own::Elsewhere)]).alarm);
        assert!(plain(0x45, false, &[rule(0x45, None, Own::Fatal)]).alarm);
    }

    #[test]
    fn a_route_and_a_nack_have_their_own_reading() {
        let own = [0x45, 0x08].map(|status| rule(status, None, Own::Throttle));
        let of = |status, nacked, own: &[Rule]| plain(status, nacked, own).retry;
        assert_eq!(of(0x45, false, &own), Retry::Throttle);
        assert_eq!(of(0x45, true, &own), Retry::Throttle);
        assert_eq!(of(0x03, true, &[]), Retry::Elsewhere);
        assert_eq!(of(0x08, true, &[]), Retry::Here { tries: 1 });
    }

    #[test]
    fn the_first_rule_that_holds_replaces_the_row() {
        let rules = [
            rule(0x400, Some("No Credit"), Own::Fatal),
            rule(0x400, Some("blocked"), Own::Never),
            rule(0x400, None, Own::Retry),
            rule(0x0B, None, Own::Elsewhere),
        ];
        let of = |status, info: &'static [u8]| {
            let answer = Answered {
                status: CommandStatus(status),
                nacked: false,
                info,
            };
            classify(answer, &rules, 0x34)
        };
        assert!(of(0x400, b"E17: no credit left").fatal);
        assert_eq!(of(0x400, b"BLOCKED").retry, Retry::Never);
        assert_eq!(of(0x400, b"\xff").retry, Retry::Here { tries: TRIES });
        assert_eq!(of(0x400, b"").retry, Retry::Here { tries: TRIES });
        let own = of(0x0B, b"");
        let row = (Retry::Elsewhere, Reason::InvalidAddress);
        assert_eq!((own.retry, own.reason), row);
        assert_eq!(of(0x0C, b"").retry, Retry::Never, "the table's");
    }

    #[test]
    fn what_a_carrier_says_is_shown_so_that_a_rule_can_be_written_after_it() {
        let info = b"Can't: no \"credit\"\r\n\x1b[2J\xe9";
        let text = said(info).unwrap();
        assert_eq!(&*text, r#"Can't: no "credit"\r\n\x1b[2J\xe9"#);
        let after = Rule {
            text: Some(r#"can't: no "credit""#.into()),
            ..rule(0x45, None, Own::Never)
        };
        assert!(after.holds(CommandStatus(0x45), info));
        assert_eq!(said(b""), None);
        for octet in [b'a', 0xFF, b'\n'] {
            let longest = said(&[octet; 300]).unwrap();
            assert!((252..=255).contains(&longest.len()), "{}", longest.len());
        }
    }

    #[test]
    fn version_33_has_its_own_codes() {
        let of = |status, version| {
            let answer = Answered {
                status: CommandStatus(status),
                nacked: false,
                info: b"",
            };
            classify(answer, &[], version)
        };
        assert_eq!(of(0x09, 0x33).retry, Retry::Never);
        assert_eq!(of(0x09, 0x34), UNKNOWN);
        assert_eq!(of(0x0D, 0x33).reason, Reason::ProviderAuthFailed);
        assert_eq!(of(0x0D, 0x34).reason, Reason::BindFailed);
        assert_eq!(of(0x58, 0x33).retry, Retry::Throttle);
    }
}
