//! Checks of `routes.*.receipts`: how a carrier writes its receipts.

use std::path::Path;
use std::time::Duration;

use codecs::smpp::receipt::Format;

use super::DAY;
use super::section::{Field, Section};
use crate::config::problem::did_you_mean;
use crate::config::{IdFormat, IdTransform, Receipts};
use crate::files;
use crate::outcome::PartRule;
use crate::outcome::error_map::{BUILT_IN, ErrorMap, FILE_OCTETS_MAX};

const SECOND: Duration = Duration::from_secs(1);
/// Octets of a message id. SMPP v3.4 §5.2.23: 65 with its NUL; carriers exceed it.
const ID_OCTETS_MAX: u64 = 255;
/// Formats that have a name.
const FORMATS: [(&str, &str); 1] = [
    // Vodafone UK, as on Kannel's developers' list in October 2002: status, done, submitted, error,
    // recipient, sender, id. What its statuses mean stands in the route's error_map.
    ("vodafone-csv", "{stat},{done},{submit},{err},{},{},{id}"),
];

pub(super) fn read(section: &Section<'_>) -> Receipts {
    let field = section.opt("receipts");
    let Some(receipts) = field.and_then(|field| field.section("routes.*.receipts")) else {
        return Receipts::default();
    };
    let ask = part_rule(&receipts, "ask");
    Receipts {
        enabled: receipts.bool("enabled", "whether receipts are asked for"),
        id_format: receipts
            .opt("id_format")
            .and_then(|field| field.word(&IdFormat::WORDS, &[]))
            .unwrap_or(IdFormat::Auto),
        id_transform: receipts
            .opt("id_transform")
            .and_then(|field| id_transform(&field)),
        timeout: receipts.duration(
            "timeout",
            SECOND * 60..=DAY * 30,
            "after which a message without a receipt is unknown",
        ),
        format: receipts.opt("format").and_then(|field| format(&field)),
        by_text: receipts.bool("by_text", "whether a text alone makes a receipt"),
        without_id: receipts.bool("without_id", "whether receipts or answers may lack an id"),
        prefer_text: receipts.bool("prefer_text", "whether the text's state beats the TLV's"),
        utc_offset_min: receipts
            .opt("utc_offset")
            .map_or(0, |field| utc_offset(&field)),
        accepted_is_final: receipts.bool("accepted_is_final", "whether nothing follows ACCEPTD"),
        unknown_is_final: receipts.bool("unknown_is_final", "whether nothing follows UNKNOWN"),
        ask,
        // Where one part is asked for, no other is waited for.
        parts: match part_rule(&receipts, "parts") {
            PartRule::All => ask,
            other => other,
        },
    }
}

fn part_rule(receipts: &Section<'_>, key: &str) -> PartRule {
    let words = [
        ("all", PartRule::All),
        ("first", PartRule::First),
        ("last", PartRule::Last),
    ];
    let field = receipts.opt(key);
    field
        .and_then(|field| field.word(&words, &[]))
        .unwrap_or_default()
}

fn format(field: &Field<'_>) -> Option<Format> {
    let expected = "\"vodafone-csv\", or a pattern with {id}, such as \"{stat},{done},{id}\"";
    let typed = field.text(expected)?;
    let built_in = FORMATS.iter().find(|(name, _)| *name == typed);
    let pattern = built_in.map_or(typed, |(_, pattern)| pattern);
    match Format::parse(pattern) {
        Ok(format) => Some(format),
        Err(wrong) => {
            let hint = format!("{} (character {})", wrong.what, wrong.at + 1);
            field.wrong_hint(expected, Some(hint));
            None
        }
    }
}

/// Reads `+05:30`.
fn utc_offset(field: &Field<'_>) -> i32 {
    let expected = "what the carrier's clock is ahead of UTC, as \"+05:30\" or \"-03:00\"";
    let Some(typed) = field.text(expected) else {
        return 0;
    };
    let parse = || {
        let (sign, rest) = match typed.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let two = |text: &str| text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
        if !two(hours) || !two(minutes) {
            return None;
        }
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        // UTC+14 and UTC-12 are the ends of the world.
        (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes))
    };
    let offset = parse();
    if offset.is_none() {
        field.wrong(expected);
    }
    offset.unwrap_or(0)
}

/// The route's error map: one of the binary's by its name, or the operator's file.
pub(super) fn error_map(section: &Section<'_>) -> ErrorMap {
    let Some(field) = section.opt("error_map") else {
        return ErrorMap::default();
    };
    let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    let expected = format!("one of {}, or the path of a .toml file", names.join(", "));
    let Some(typed) = field.text(&expected) else {
        return ErrorMap::default();
    };
    let text = match ErrorMap::built_in(typed) {
        Some(text) => text.to_owned(),
        None if !typed.contains('/') && !typed.ends_with(".toml") => {
            field.wrong_hint(&expected, did_you_mean(typed, names.iter().copied()));
            return ErrorMap::default();
        }
        None => match read_map(Path::new(typed)) {
            Ok(text) => text,
            Err(why) => {
                field.wrong_hint(&expected, Some(why));
                return ErrorMap::default();
            }
        },
    };
    ErrorMap::parse(&text).unwrap_or_else(|mistakes| {
        for mistake in mistakes {
            field.wrong_hint("a map without mistakes", Some(mistake));
        }
        ErrorMap::default()
    })
}

fn read_map(path: &Path) -> Result<String, String> {
    files::read_text(path, FILE_OCTETS_MAX).map_err(|error| error.to_string())
}

fn id_transform(field: &Field<'_>) -> Option<IdTransform> {
    let table = field.section("routes.*.receipts.id_transform")?;
    let affix = |key| {
        let expected = "1 to 64 ASCII characters that only one of the two ids has";
        let fits = |text: &str| (1..=64).contains(&text.len()) && text.is_ascii();
        let field = table.opt(key);
        field
            .map(|field| field.text_where(expected, fits))
            .unwrap_or_default()
    };
    let octets = |key| {
        let expected = "how many characters of the id both have";
        let field = table.opt(key)?;
        usize::try_from(field.int(1..=ID_OCTETS_MAX, expected)).ok()
    };
    let transform = IdTransform {
        strip_prefix: affix("strip_prefix"),
        strip_suffix: affix("strip_suffix"),
        first: octets("first"),
        last: octets("last"),
    };
    if transform == IdTransform::default() && table.table.is_empty() {
        field.wrong("at least one of strip_prefix, strip_suffix, first, last");
    }
    Some(transform)
}
