//! Checks of `routes.*.receipts`: how a carrier writes its receipts.

use std::time::Duration;

use super::DAY;
use super::section::{Field, Section};
use crate::config::{IdFormat, IdTransform, Receipts};

const SECOND: Duration = Duration::from_secs(1);
/// Octets of a message id. SMPP v3.4 §5.2.23: 65 with its NUL; carriers exceed it.
const ID_OCTETS_MAX: u64 = 255;

pub(super) fn read(section: &Section<'_>) -> Receipts {
    let field = section.opt("receipts");
    let Some(receipts) = field.and_then(|field| field.section("routes.*.receipts")) else {
        return Receipts::default();
    };
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
    }
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
