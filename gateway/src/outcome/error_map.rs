//! Error maps: what a carrier's codes in receipts mean, as data.
//!
//! A map is a TOML file, one of those in `config/carriers/maps/`, which are part of the binary, or the
//! operator's own. Carriers' numbers contradict each other (Twilio's 001 is an absent subscriber,
//! Infobip's an unknown one), so without a map `err:` means nothing.
//!
//! ```toml
//! [err]                # the err: of the text; leading zeros and case do not matter
//! 1 = "absent_subscriber"
//! [network]            # network_error_code, as "network:code"
//! "3:27" = "absent_subscriber"
//! [stat]               # words after stat: that are this carrier's own
//! DND_REJECTED = { state = "rejected", reason = "blocked_destination" }
//! ```

use rustc_hash::FxHashMap;
use toml::{Table, Value};

use crate::outcome::{Reason, ReceiptState};

/// Octets of a map's file. Chosen: the longest known table has some 300 codes.
pub const FILE_OCTETS_MAX: u64 = 256 << 10;

/// The maps in the binary, by name.
pub const BUILT_IN: [(&str, &str); 9] = [
    (
        "8x8",
        include_str!("../../../config/carriers/maps/8x8.toml"),
    ),
    (
        "bandwidth",
        include_str!("../../../config/carriers/maps/bandwidth.toml"),
    ),
    (
        "clickatell",
        include_str!("../../../config/carriers/maps/clickatell.toml"),
    ),
    (
        "generic-gsm",
        include_str!("../../../config/carriers/maps/generic-gsm.toml"),
    ),
    (
        "infobip",
        include_str!("../../../config/carriers/maps/infobip.toml"),
    ),
    (
        "kaleyra",
        include_str!("../../../config/carriers/maps/kaleyra.toml"),
    ),
    (
        "sinch",
        include_str!("../../../config/carriers/maps/sinch.toml"),
    ),
    (
        "twilio",
        include_str!("../../../config/carriers/maps/twilio.toml"),
    ),
    (
        "vonage",
        include_str!("../../../config/carriers/maps/vonage.toml"),
    ),
];

/// The states by the map's words: smpp.md §4.3's normalised ones.
const STATES: [(&str, ReceiptState); 10] = [
    ("queued_at_carrier", ReceiptState::Scheduled),
    ("sent", ReceiptState::Enroute),
    ("delivered", ReceiptState::Delivered),
    ("expired", ReceiptState::Expired),
    ("deleted", ReceiptState::Deleted),
    ("undeliverable", ReceiptState::Undeliverable),
    ("accepted", ReceiptState::Accepted),
    ("unknown", ReceiptState::Unknown),
    ("rejected", ReceiptState::Rejected),
    ("skipped", ReceiptState::Skipped),
];

/// What a carrier's codes mean. The empty one says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorMap {
    err: FxHashMap<Box<[u8]>, Reason>,
    network: FxHashMap<(u8, u16), Reason>,
    stat: FxHashMap<Box<[u8]>, Stat>,
}

/// What a carrier's own word after `stat:` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The state.
    pub state: ReceiptState,
    /// Why, where the word tells.
    pub reason: Option<Reason>,
}

impl ErrorMap {
    /// The map in the binary that has this name.
    #[must_use]
    pub fn built_in(name: &str) -> Option<&'static str> {
        let known = BUILT_IN.iter().find(|(known, _)| *known == name);
        known.map(|(_, text)| *text)
    }

    /// Reads a map's text.
    ///
    /// # Errors
    /// Every mistake, each with the key that it is at.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| vec![error.to_string().trim().replace('\n', " ")])?;
        let (mut map, mut mistakes) = (Self::default(), Vec::new());
        for (section, value) in &table {
            let Value::Table(entries) = value else {
                mistakes.push(format!(
                    "{section}: expected one of the tables [err], [network], [stat]"
                ));
                continue;
            };
            for (code, value) in entries {
                let wrong = match section.as_str() {
                    "err" => map.put_err(code, value),
                    "network" => map.put_network(code, value),
                    "stat" => map.put_stat(code, value),
                    _ => {
                        mistakes.push(format!("[{section}]: expected [err], [network] or [stat]"));
                        break;
                    }
                };
                if let Err(expected) = wrong {
                    mistakes.push(format!(
                        "{section}.\"{code}\" = {value}: expected {expected}"
                    ));
                }
            }
        }
        if mistakes.is_empty() {
            Ok(map)
        } else {
            Err(mistakes)
        }
    }

    fn put_err(&mut self, code: &str, value: &Value) -> Result<(), &'static str> {
        match self
            .err
            .insert(canonical(code.as_bytes()), reason(Some(value))?)
        {
            Some(_) => Err("each code once: leading zeros and case do not matter"),
            None => Ok(()),
        }
    }

    fn put_network(&mut self, code: &str, value: &Value) -> Result<(), &'static str> {
        let parsed = code
            .split_once(':')
            .and_then(|(network, code)| Some((network.parse().ok()?, code.parse().ok()?)));
        let code = parsed.ok_or("a key as \"3:27\": network, 0 to 255, and code, 0 to 65535")?;
        self.network.insert(code, reason(Some(value))?);
        Ok(())
    }

    fn put_stat(&mut self, word: &str, value: &Value) -> Result<(), &'static str> {
        let expected = "{ state = \"..\", reason = \"..\" }, the reason for a bad end only, if any";
        let table = value.as_table().ok_or(expected)?;
        let known = |key: &String| matches!(key.as_str(), "state" | "reason");
        let state = table.get("state").and_then(Value::as_str).ok_or(expected)?;
        let state = STATES.iter().find(|(known, _)| *known == state);
        let (_, state) = *state.ok_or("a state such as delivered, undeliverable or expired")?;
        let why = table
            .get("reason")
            .map(|value| reason(Some(value)))
            .transpose()?;
        if !table.keys().all(known) || why.is_some() && state == ReceiptState::Delivered {
            return Err(expected);
        }
        let word = word.as_bytes().to_ascii_lowercase().into();
        self.stat.insert(word, Stat { state, reason: why });
        Ok(())
    }

    /// Why, by the `err:` of a text.
    #[must_use]
    pub fn err(&self, err: &[u8]) -> Option<Reason> {
        if self.err.is_empty() {
            return None;
        }
        self.err.get(&canonical(err)).copied()
    }

    /// Why, by network_error_code.
    #[must_use]
    pub fn network(&self, network: u8, code: u16) -> Option<Reason> {
        self.network.get(&(network, code)).copied()
    }

    /// Whether the carrier's network_error_code means what the map says and nothing else.
    #[must_use]
    pub fn has_networks(&self) -> bool {
        !self.network.is_empty()
    }

    /// What a word after `stat:` means.
    #[must_use]
    pub fn stat(&self, word: &[u8]) -> Option<Stat> {
        if self.stat.is_empty() {
            return None;
        }
        self.stat.get(&*word.to_ascii_lowercase()).copied()
    }
}

/// Lower case, without leading zeros.
fn canonical(code: &[u8]) -> Box<[u8]> {
    let zeros = code.iter().take_while(|octet| **octet == b'0').count();
    let rest = code.get(zeros.min(code.len().saturating_sub(1))..);
    rest.unwrap_or(code).to_ascii_lowercase().into()
}

fn reason(value: Option<&Value>) -> Result<Reason, &'static str> {
    let word = value.and_then(Value::as_str);
    word.and_then(Reason::from_code)
        .ok_or("a reason code such as \"absent_subscriber\" (those that the API documents)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_of_the_binary_parses_and_names_its_source() {
        for (name, text) in BUILT_IN {
            let map = ErrorMap::parse(text).unwrap_or_else(|wrong| panic!("{name}: {wrong:?}"));
            assert!(map.err.len() + map.network.len() >= 10, "{name}");
            assert!(text.contains("# Source: "), "{name} names no source");
            assert!(name == "generic-gsm" || text.contains("https://"), "{name}");
            assert_eq!(map.err(b"000"), None, "{name}: 0 is no error anywhere");
        }
        let maps = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/carriers/maps");
        assert_eq!(std::fs::read_dir(maps).unwrap().count(), BUILT_IN.len());
    }

    #[test]
    fn the_same_code_means_what_its_carrier_says() {
        let of = |name, err: &[u8]| {
            let text = ErrorMap::built_in(name).unwrap();
            ErrorMap::parse(text).unwrap().err(err)
        };
        assert_eq!(of("twilio", b"001"), Some(Reason::AbsentSubscriber));
        assert_eq!(of("infobip", b"1"), Some(Reason::UnknownSubscriber));
        assert_eq!(of("sinch", b"1"), None, "an internal error: unclassified");
        assert_eq!(of("vonage", b"0003"), Some(Reason::UnknownSubscriber));
        assert_eq!(ErrorMap::built_in("Twilio"), None);
    }

    #[test]
    fn codes_meet_in_any_case_and_with_zeros() {
        let text = "[err]\n4A6 = \"filtered_as_spam\"\n\"000\" = \"unclassified\"\n[network]\n\
                    \"8:300\" = \"no_receipt\"\n[stat]\nDND_REJECTED = { state = \"rejected\", \
                    reason = \"blocked_destination\" }\n00 = { state = \"delivered\" }\n";
        let map = ErrorMap::parse(text).unwrap();
        assert_eq!(map.err(b"04a6"), Some(Reason::FilteredAsSpam));
        assert_eq!(map.err(b"0"), Some(Reason::Unclassified));
        assert_eq!(map.err(b""), None);
        assert_eq!(map.network(8, 300), Some(Reason::NoReceipt));
        assert_eq!(map.network(3, 300), None);
        let stat = map.stat(b"dnd_rejected").unwrap();
        assert_eq!(
            (stat.state, stat.reason),
            (ReceiptState::Rejected, Some(Reason::BlockedDestination))
        );
        assert_eq!(map.stat(b"00").unwrap().state, ReceiptState::Delivered);
        assert_eq!(map.stat(b"0"), None, "a word is a word");
    }

    #[test]
    fn every_mistake_is_told_with_its_key() {
        let text = "title = 1\n[err]\n1 = \"absnt\"\n\"01\" = \"barred\"\n001 = \"barred\"\n[network]\n\
                    27 = \"barred\"\n[stat]\nX = \"delivered\"\nY = { state = \"delivered\", reason = \"barred\" }\n\
                    [errors]\n1 = \"barred\"\n";
        let wrong = ErrorMap::parse(text).unwrap_err();
        let told = |start: &str| wrong.iter().any(|wrong| wrong.starts_with(start));
        for start in [
            "title: ",
            "err.\"1\" = \"absnt\": expected a reason",
            "err.\"01\" = \"barred\": expected each code once",
            "network.\"27\"",
            "stat.\"X\"",
            "stat.\"Y\"",
            "[errors]",
        ] {
            assert!(
                told(start) || start.contains("01\""),
                "{start} in {wrong:#?}"
            );
        }
        assert!(
            wrong.iter().any(|wrong| wrong.contains("each code once")),
            "{wrong:#?}"
        );
        let broken = ErrorMap::parse("[err\n").unwrap_err();
        assert!(broken[0].contains("line 1"), "{broken:?}");
    }
}
