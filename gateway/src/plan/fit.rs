//! Fit: whether a route can carry a message as it was written at its acceptance. Pure.
//!
//! How a message is written is decided once, for its candidate routes of then ([`super::write`],
//! [`super::tlv`]). When the config has lost all of these, others are looked for, and one that cannot
//! carry the message as it is, is none of them: it would send something else, or nothing.

use codecs::text::{self, Dialect, Flash, Layout, Long, Shifts};

use super::tlv::{self, Dictionary};
use super::write::{holds, takes_latin1};
use crate::message::{Encoding, Message, SmsOptions, Text};

/// Whether a route of this dialect, whose carrier takes these TLVs, can carry it.
pub(super) fn fits(message: &Message, dialect: &Dialect, dictionary: &Dictionary) -> bool {
    let plain = SmsOptions::default();
    let options = message.sms.as_deref().unwrap_or(&plain);
    let whole =
        options.payload_segments.is_none() || (dialect.long == Long::Payload && dictionary.takes);
    let coded = match message.encoding {
        Encoding::Gsm7 => in_septets(message, options, dialect),
        Encoding::Latin1 => takes_latin1(dialect, options.flash),
        // Every carrier takes these, with headers or without.
        Encoding::Ucs2 | Encoding::Binary => true,
    };
    whole && coded && tlv::fit(&options.tlvs, dictionary)
}

fn in_septets(message: &Message, options: &SmsOptions, dialect: &Dialect) -> bool {
    let shifts = Shifts::of_ids(options.locking_shift, options.single_shift);
    if shifts.is_none() {
        let layout = Layout::plain(text::Encoding::Gsm7);
        return holds(dialect, message.text(Text::Body), &layout, options.flash);
    }
    let passes = |language| dialect.national.contains(&language);
    let classless = options.flash && dialect.flash == Flash::Eighteen;
    !classless && shifts.locking.into_iter().chain(shifts.single).all(passes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use codecs::text::{Alphabet, Language};

    use super::*;
    use crate::clock::UnixMs;
    use crate::inbound::Intent;
    use crate::inbound::reply::Asked;
    use crate::message::tlv::{SmsTlv, TlvKind};
    use crate::message::{Phone, RouteIx, TenantIx};
    use crate::plan::Table;
    use crate::plan::reply::Tenants;
    use crate::plan::tlv::NO_NAMES;

    /// Any message, with a text.
    fn reply(text: &str) -> Message {
        let table = Arc::new(Table::default());
        let mut replies = Tenants::default();
        replies.common.help = Some(text.to_owned());
        let asked = Asked {
            tenant: TenantIx(0),
            to: Phone::parse("+46701234567").unwrap(),
            from: "71234",
            route: RouteIx(0),
            intent: Intent::Help,
            now: UnixMs(1_000),
        };
        crate::plan::reply::message(&replies, &table, &asked).unwrap()
    }

    fn with(encoding: Encoding, text: &str, change: impl FnOnce(&mut SmsOptions)) -> Message {
        let mut options = SmsOptions::default();
        change(&mut options);
        Message {
            encoding,
            sms: Some(Box::new(options)),
            ..reply(text)
        }
    }

    fn latin1() -> Dialect {
        Dialect {
            alphabet: Alphabet::Latin1,
            ..Dialect::default()
        }
    }

    #[test]
    fn what_needs_nothing_fits_everywhere() {
        let old = Dictionary {
            takes: false,
            names: Vec::new(),
        };
        for (encoding, text) in [
            (Encoding::Gsm7, "hello"),
            (Encoding::Ucs2, "привет"),
            (Encoding::Binary, "AAEC"),
        ] {
            let message = with(encoding, text, |_| ());
            for long in [Long::Udh8, Long::Udh16, Long::Sar, Long::Payload] {
                let dialect = Dialect { long, ..latin1() };
                assert!(fits(&message, &dialect, &old), "{encoding:?} {long:?}");
            }
        }
    }

    #[test]
    fn latin_1_fits_where_the_carrier_delivers_it() {
        let takes = |latin1, flash| Dialect {
            latin1,
            flash,
            ..Dialect::default()
        };
        let message = with(Encoding::Latin1, "ça", |_| ());
        let flash = with(Encoding::Latin1, "ça", |options| options.flash = true);
        let of = |message, latin1, flash| {
            let dictionary = Dictionary {
                takes: true,
                names: Vec::new(),
            };
            fits(message, &takes(latin1, flash), &dictionary)
        };
        assert!(of(&message, true, Flash::F0));
        assert!(!of(&message, false, Flash::F0));
        assert!(of(&flash, true, Flash::Tlv));
        assert!(!of(&flash, true, Flash::F0));
    }

    #[test]
    fn septets_fit_where_data_coding_0_has_their_characters() {
        let euro = with(Encoding::Gsm7, "5 €", |_| ());
        assert!(fits(&euro, &Dialect::default(), &NO_NAMES));
        assert!(!fits(&euro, &latin1(), &NO_NAMES), "Latin-1 has none");
        let flash = with(Encoding::Gsm7, "hello", |options| options.flash = true);
        let eighteen = Dialect {
            flash: Flash::Eighteen,
            ..Dialect::default()
        };
        assert!(fits(&flash, &Dialect::default(), &NO_NAMES));
        assert!(!fits(&flash, &eighteen, &NO_NAMES), "flash is UCS-2 there");
    }

    #[test]
    fn national_tables_fit_where_they_are_passed_on() {
        let turkish = with(Encoding::Gsm7, "ğüş", |options| {
            options.locking_shift = Some(Language::Turkish.id());
            options.single_shift = Some(Language::Spanish.id());
        });
        let passing = |national: &[Language]| Dialect {
            national: national.to_vec(),
            ..Dialect::default()
        };
        let both = passing(&[Language::Spanish, Language::Turkish]);
        assert!(fits(&turkish, &both, &NO_NAMES));
        for dialect in [passing(&[]), passing(&[Language::Turkish])] {
            assert!(!fits(&turkish, &dialect, &NO_NAMES), "{dialect:?}");
        }
    }

    #[test]
    fn a_whole_text_fits_where_message_payload_is_taken() {
        let whole = with(Encoding::Ucs2, "привет", |options| {
            options.payload_segments = Some(2);
        });
        let payload = Dialect {
            long: Long::Payload,
            ..Dialect::default()
        };
        let old = Dictionary {
            takes: false,
            names: Vec::new(),
        };
        assert!(fits(&whole, &payload, &NO_NAMES));
        assert!(!fits(&whole, &Dialect::default(), &NO_NAMES));
        assert!(!fits(&whole, &payload, &old), "SMPP 3.3 has no TLVs");
    }

    #[test]
    fn tlvs_fit_where_they_mean_something() {
        let bringing = |tag, value: &[u8]| {
            with(Encoding::Gsm7, "hello", |options| {
                let value = value.into();
                options.tlvs = [SmsTlv { tag, value }].into();
            })
        };
        let dictionary = |takes, kind| Dictionary {
            takes,
            names: vec![("pe".into(), 0x1400, kind)],
        };
        let plain = Dialect::default();
        let pe = bringing(0x1400, b"1101\0");
        assert!(fits(&pe, &plain, &dictionary(true, TlvKind::CString)));
        assert!(!fits(&pe, &plain, &dictionary(true, TlvKind::U16)));
        assert!(!fits(&pe, &plain, &dictionary(false, TlvKind::CString)));
        assert!(!fits(&pe, &plain, &NO_NAMES), "a carrier's own tag");
        // source_port: SMPP v3.4 §5.3.2.20.
        let port = bringing(0x020A, &[0x0B, 0x84]);
        assert!(fits(&port, &plain, &NO_NAMES), "the specification's");
    }
}
