//! Checks of a route's rate, pauses and own statuses.

use std::time::Duration;

use codecs::smpp::CommandStatus;

use super::section::Section;
use crate::config::{Rate, StatusClass, StatusRule, Throttle};

/// A carrier elsewhere is not expected to answer faster than this. Chosen: half of what a link within
/// a country and an SMSC that stores before it answers take.
const LATENCY_MIN: Duration = Duration::from_millis(20);
/// Statuses with a meaning of their own on one route. Chosen: the codes of one carrier's manual.
const STATUSES_MAX: usize = 256;
/// Longest text to look for: additional_status_info_text, SMPP v3.4 §5.3.2.11, 256 octets with its NUL.
const TEXT_OCTETS_MAX: usize = 255;

/// `rate`, which `slots` (windows of all binds together) have to carry: rate = slots ÷ latency
/// (smpp.md §3.1).
pub(super) fn rate(section: &Section<'_>, slots: usize) -> Option<Rate> {
    let field = section.opt("rate")?;
    let rate = field.rate("segments that the carrier takes")?;
    let per_second = f64::from(rate.count) / rate.per.as_secs_f64();
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    let latency = f64::from(slots) / per_second;
    if slots > 0 && latency < LATENCY_MIN.as_secs_f64() {
        let ms = latency * 1_000.0;
        field.warn(format!(
            "is reached only if the carrier answers within {ms:.1} ms: rate = binds × window ÷ latency, \
             and binds × window is {slots} here"
        ));
    }
    Some(rate)
}

/// `throttle`.
pub(super) fn pauses(section: &Section<'_>) -> Throttle {
    let pauses = section
        .opt("throttle")
        .and_then(|field| field.section("routes.*.throttle"));
    let Some(pauses) = pauses else {
        return Throttle::default();
    };
    let range = Duration::from_millis(100)..=Duration::from_secs(3_600);
    let read = |key, why| {
        let field = pauses.opt(key);
        field.map(|field| field.duration(range.clone(), why))
    };
    let throttle = Throttle {
        pause: read("pause", "the first pause when the carrier throttles"),
        pause_max: read("pause_max", "the longest pause"),
    };
    if let (Some(first), Some(longest)) = (throttle.pause, throttle.pause_max)
        && first > longest
        && pauses.sound("pause")
        && pauses.sound("pause_max")
    {
        let first = ("pause", "at most pause_max");
        pauses.blame(first, ("pause_max", "at least pause"), None);
    }
    throttle
}

/// `statuses`.
pub(super) fn statuses(section: &Section<'_>) -> Vec<StatusRule> {
    let expected = "a list of { status = 0x45, class = \"throttle\" }";
    let classes = [
        ("throttle", StatusClass::Throttle),
        ("retry", StatusClass::Retry),
        ("elsewhere", StatusClass::Elsewhere),
        ("never", StatusClass::Never),
        ("fatal", StatusClass::Fatal),
    ];
    let mut rules: Vec<StatusRule> = Vec::new();
    for item in section.list("statuses", STATUSES_MAX, expected) {
        let Some(rule) = item.section("routes.*.statuses[]") else {
            continue;
        };
        let status = rule.int("status", 1..=u64::from(u32::MAX), "a command_status");
        let status = u32::try_from(status).unwrap_or(u32::MAX);
        let text = rule.opt("text").map(|field| {
            let expected = "a piece of additional_status_info_text, 1 to 255 octets";
            field.text_where(expected, |text| (1..=TEXT_OCTETS_MAX).contains(&text.len()))
        });
        let class = rule
            .need("class", "what the status means here")
            .and_then(|field| field.word(&classes, &[]));
        let alarm = rule
            .opt("alarm")
            .is_some_and(|field| field.bool("whether an operator has to look"));
        let covers = |other: &StatusRule| {
            other.status == status && (other.text.is_none() || other.text == text)
        };
        if rules.iter().any(covers)
            && let Some(field) = rule.opt("status")
        {
            field.wrong("a status that no rule before this one covers");
        }
        if let Some(class) = class {
            rules.push(StatusRule {
                status,
                text,
                class,
                alarm,
            });
        }
    }
    rules
}

/// `retry_status`. ESME_RX_P_APPN and ESME_RX_R_APPN (SMPP v3.4 §5.1.3) ask for the opposite: the message
/// would be lost.
pub(super) fn retry_status(section: &Section<'_>) -> u32 {
    let expected = "a status on which the carrier sends again, as \"0x64\": not 0, nor 0x65 and 0x66, on \
                    which it does not";
    let read = |text: &str| {
        let digits = text.strip_prefix("0x").filter(|d| d.len() <= 8)?;
        let hex = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
        let status = hex
            .then(|| u32::from_str_radix(digits, 16).ok())
            .flatten()?;
        (!matches!(status, 0 | 0x65 | 0x66)).then_some(status)
    };
    let field = section.opt("retry_status");
    let status = field.and_then(|field| field.parsed(expected, read));
    status.unwrap_or(CommandStatus::RECEIVER_TEMPORARY.0)
}
