//! Checks of who we are on a route: what is said at bind and of every sender.
//!
//! Carriers depart from the specification's lengths (smpp.md §1.5), so longer texts pass with a warning:
//! what they gave the operator counts.

use super::section::Section;
use crate::config::{Account, Secret};

/// system_id without its NUL. SMPP v3.4 §5.2.1.
const SYSTEM_ID_OCTETS: usize = 15;
/// password without its NUL. SMPP v3.4 §5.2.2.
const PASSWORD_OCTETS: usize = 8;
/// system_type without its NUL. SMPP v3.4 §5.2.3.
const SYSTEM_TYPE_OCTETS: usize = 12;
/// address_range without its NUL. SMPP v3.4 §5.2.7.
const ADDRESS_RANGE_OCTETS: usize = 40;
/// service_type without its NUL. SMPP v3.4 §5.2.11.
const SERVICE_TYPE_OCTETS: usize = 5;
/// source_addr of submit_sm without its NUL. SMPP v3.4 §5.2.8.
const SOURCE_OCTETS: u64 = 20;
/// Longest of them at all. Chosen: no carrier is known to need more, and an API sender has no more.
const OCTETS_LIMIT: usize = 64;

/// Who we are on a route.
pub(super) fn read(section: &Section<'_>) -> Account {
    let ton_npi = |ton, npi| {
        (
            number_kind(section, ton).unwrap_or_default(),
            number_kind(section, npi).unwrap_or_default(),
        )
    };
    let longest = "the longest sender that the carrier takes, 20 by SMPP v3.4 §5.2.8";
    let source_max = section.int("max_source", SOURCE_OCTETS..=OCTETS_LIMIT as u64, longest);
    Account {
        system_id: system_id(section),
        password: password(section),
        system_type: text(section, "system_type", 0, SYSTEM_TYPE_OCTETS, "§5.2.3"),
        address_range: text(section, "address_range", 0, ADDRESS_RANGE_OCTETS, "§5.2.7"),
        addr: ton_npi("addr_ton", "addr_npi"),
        service_type: text(section, "service_type", 0, SERVICE_TYPE_OCTETS, "§5.2.11"),
        source_octets_max: usize::try_from(source_max).unwrap_or(OCTETS_LIMIT),
    }
}

pub(super) fn system_id(section: &Section<'_>) -> String {
    text(section, "system_id", 1, SYSTEM_ID_OCTETS, "§5.2.1")
}

/// A text of at least `min` octets; `max` are the specification's.
fn text(section: &Section<'_>, key: &str, min: usize, max: usize, at: &str) -> String {
    let expected = format!("{min} to {OCTETS_LIMIT} ASCII characters; {max} by SMPP v3.4 {at}");
    let Some(field) = section.need(key, &expected) else {
        return String::new();
    };
    let text = field.text_where(&expected, |text| is_fit(text, min));
    if text.len() > max {
        field.warn(longer(max, at));
    }
    text
}

fn is_fit(text: &str, min: usize) -> bool {
    (min..=OCTETS_LIMIT).contains(&text.len()) && text.bytes().all(|b| matches!(b, 0x20..=0x7e))
}

fn longer(max: usize, at: &str) -> String {
    format!(
        "longer than the {max} octets of SMPP v3.4 {at}: taken as it is, but some carriers cut or refuse it"
    )
}

pub(super) fn password(section: &Section<'_>) -> Secret {
    let expected = "1 to 64 ASCII characters; 8 by SMPP v3.4 §5.2.2";
    let Some(field) = section.need("password", expected) else {
        return Secret::new("");
    };
    let secret = field.secret(expected, |text| is_fit(text, 1));
    if secret.expose().len() > PASSWORD_OCTETS {
        field.warn(longer(PASSWORD_OCTETS, "§5.2.2"));
    }
    secret
}

/// A TON or NPI in place of the default. SMPP v3.4 §5.2.5 and §5.2.6; 18 is the highest NPI.
pub(super) fn number_kind(section: &Section<'_>, key: &str) -> Option<u8> {
    let most = if key.ends_with("ton") { 6 } else { 18 };
    let field = section.opt(key)?;
    u8::try_from(field.int(
        0..=most,
        "a number of SMPP v3.4 §5.2.5 (TON) or §5.2.6 (NPI)",
    ))
    .ok()
}
