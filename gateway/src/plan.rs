//! Plan: which way a message goes, and in how many segments. Pure.
//!
//! Routing rules are tried in order; the first match wins and its routes are the failover order. A
//! message that no rule matches has no route, which is a policy outcome, not an error.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use codecs::text::{self, Alphabet, Dialect, EncodingChoice, Flash, Long, Options, TextError};
use smallvec::SmallVec;

use crate::message::tlv::{SmsTlv, TlvRefusal, TlvWish};
use crate::message::{Channel, Class, Encoding, Message, Phone, ROUTES_MAX, RouteIx, TenantIx};

pub mod country;
mod fit;
pub mod push;
pub mod reply;
pub mod tlv;
pub mod write;

/// What a rule looks at; an empty list matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// On this channel; `None`: on each that it has routes for.
    pub channel: Option<Channel>,
    /// Of these classes.
    pub class: Vec<Class>,
    /// To numbers of these countries (ISO 3166-1 alpha-2).
    pub country: Vec<String>,
    /// To numbers that begin so (digits, with or without a plus).
    pub prefix: Vec<String>,
    /// Of these tenants.
    pub tenant: Vec<TenantIx>,
}

/// How a rule orders its routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// As listed.
    #[default]
    Priority,
    /// The first one drawn by weight, the others behind it as listed.
    Weighted,
}

/// One routing rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it matches.
    pub matching: Match,
    /// Routes and weights.
    pub routes: Vec<(RouteIx, u32)>,
    /// How they are ordered.
    pub strategy: Strategy,
}

/// What a route wants of which nothing is said.
static PLAIN: Dialect = Dialect {
    alphabet: Alphabet::Gsm7,
    national: Vec::new(),
    long: Long::Udh8,
    flash: Flash::F0,
    latin1: false,
    ia5_is_default: false,
    ucs2_little_endian: false,
};

/// The candidate routes of a message, the first one to try first.
pub type Routes = SmallVec<[RouteIx; 4]>;

/// A message's routes, and why these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The rule that matched, by its place.
    pub rule: Option<usize>,
    /// Whether the first route was drawn by weight.
    pub drawn: bool,
    /// Empty when no rule matches.
    pub routes: Routes,
}

/// The routing table.
#[derive(Debug, Default)]
pub struct Table {
    rules: push::Rules,
    /// How routes want texts written, by their number; those that are not there want it plain.
    dialects: Vec<Option<Dialect>>,
    /// What TLVs messages may bring, by the route's number.
    dictionaries: BTreeMap<RouteIx, tlv::Dictionary>,
    drawn: AtomicU64,
}

impl Table {
    /// From rules in order. All routes are SMS routes, unless [`with_push`](Self::with_push) says others.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules: push::Rules::new(rules),
            dialects: Vec::new(),
            dictionaries: BTreeMap::new(),
            drawn: AtomicU64::new(0),
        }
    }

    /// Says how routes want texts written.
    #[must_use]
    pub fn with_dialects(mut self, dialects: impl IntoIterator<Item = (RouteIx, Dialect)>) -> Self {
        for (route, dialect) in dialects {
            let index = usize::from(route.0);
            if self.dialects.len() <= index {
                self.dialects.resize(index + 1, None);
            }
            self.dialects[index] = Some(dialect);
        }
        self
    }

    /// Says what TLVs messages may bring on routes; those that are not there know no names.
    #[must_use]
    pub fn with_tlvs(
        mut self,
        dictionaries: impl IntoIterator<Item = (RouteIx, tlv::Dictionary)>,
    ) -> Self {
        self.dictionaries.extend(dictionaries);
        self
    }

    /// A message's own TLVs, for its candidate routes. See [`tlv`].
    ///
    /// # Errors
    /// [`TlvRefusal`].
    pub fn tlvs(
        &self,
        wishes: &[TlvWish<'_>],
        routes: &[RouteIx],
    ) -> Result<Box<[SmsTlv]>, TlvRefusal> {
        if wishes.is_empty() {
            return Ok(Box::default());
        }
        let of = |route: &RouteIx| {
            let own = self.dictionaries.get(route);
            (*route, own.unwrap_or(&tlv::NO_NAMES))
        };
        let routes: SmallVec<[_; ROUTES_MAX]> = routes.iter().map(of).collect();
        tlv::resolve(wishes, &routes)
    }

    /// Plans a message for its candidate routes. See [`write`](mod@write).
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn write(
        &self,
        wish: &write::Wish<'_>,
        routes: &[RouteIx],
    ) -> Result<write::Written, SegmentError> {
        let dialects: SmallVec<[&Dialect; ROUTES_MAX]> =
            routes.iter().map(|route| self.dialect(*route)).collect();
        write::write(wish, &dialects)
    }

    /// The routes for a message that was written for others; those that cannot carry it as it is are
    /// left out. See [`fit`](mod@fit).
    #[must_use]
    pub fn routes_as_written(&self, message: &Message) -> Routes {
        let mut routes = self.routes(message.tenant, message.class, message.to);
        routes.retain(|route| {
            let own = self.dictionaries.get(route).unwrap_or(&tlv::NO_NAMES);
            fit::fits(message, self.dialect(*route), own)
        });
        routes
    }

    fn dialect(&self, route: RouteIx) -> &Dialect {
        let known = self.dialects.get(usize::from(route.0));
        known.and_then(Option::as_ref).unwrap_or(&PLAIN)
    }

    /// The routes for an SMS; empty when no rule matches.
    #[must_use]
    pub fn routes(&self, tenant: TenantIx, class: Class, to: Phone) -> Routes {
        self.choose(tenant, class, to).routes
    }

    /// The routes for an SMS, and why these.
    #[must_use]
    pub fn choose(&self, tenant: TenantIx, class: Class, to: Phone) -> Chosen {
        let digits = Digits::of(to);
        let fits = |rule: &Rule| rule.matching.fits(tenant, class, digits.text());
        let Some((place, rule)) = self.rules.sms.iter().find(|(_, rule)| fits(rule)) else {
            return Chosen::default();
        };
        self.ordered(*place, &rule.routes, rule.strategy)
    }

    /// The routes of a rule in the order of its strategy.
    fn ordered(&self, place: usize, weighted: &[(RouteIx, u32)], strategy: Strategy) -> Chosen {
        let mut routes: Routes = weighted.iter().map(|(route, _)| *route).collect();
        if strategy == Strategy::Weighted
            && let Some(first) = self.draw(weighted)
        {
            let drawn = routes.remove(first);
            routes.insert(0, drawn);
        }
        routes.truncate(ROUTES_MAX);
        Chosen {
            rule: Some(place),
            drawn: strategy == Strategy::Weighted,
            routes,
        }
    }

    /// Draws an index by weight. The numbers drawn are spread evenly (the golden ratio's multiples),
    /// so that shares are right after a few messages already and not only on average.
    fn draw(&self, routes: &[(RouteIx, u32)]) -> Option<usize> {
        let total: u64 = routes.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let step = self
            .drawn
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let point = (u128::from(step) * u128::from(total)) >> 64;
        let mut upto = 0u128;
        routes.iter().position(|(_, weight)| {
            upto += u128::from(*weight);
            point < upto
        })
    }
}

impl Match {
    fn fits(&self, tenant: TenantIx, class: Class, digits: &str) -> bool {
        let any = |empty: bool, found: bool| empty || found;
        any(self.class.is_empty(), self.class.contains(&class))
            && any(self.tenant.is_empty(), self.tenant.contains(&tenant))
            && (self.prefix.is_empty()
                || self
                    .prefix
                    .iter()
                    .any(|p| digits.starts_with(p.trim_start_matches('+'))))
            && (self.country.is_empty()
                || country::of(digits).is_some_and(|c| self.country.iter().any(|k| k == c)))
    }
}

/// A number's digits without an allocation.
struct Digits {
    bytes: [u8; 20],
    from: usize,
}

impl Digits {
    fn of(phone: Phone) -> Self {
        let mut digits = Self {
            bytes: [b'0'; 20],
            from: 20,
        };
        let mut rest = phone.number();
        while rest > 0 && digits.from > 0 {
            digits.from -= 1;
            digits.bytes[digits.from] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        digits
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.from..]).unwrap_or_default()
    }
}

/// Why a text cannot be sent as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentError {
    /// It takes more segments than allowed.
    TooManySegments {
        /// How many it takes.
        needed: usize,
    },
    /// The encoding asked for cannot write this character.
    NotRepresentable {
        /// The character.
        character: char,
    },
    /// GSM 7-bit was asked for, and one of the routes cannot write this text behind data_coding 0.
    NotOnRoute,
}

/// How a text is written, and in how many segments. `None` chooses by content: GSM-7 when it can
/// write every character, else UCS-2.
///
/// # Errors
/// [`SegmentError`].
pub fn segments(
    text: &str,
    encoding: Option<Encoding>,
    max_segments: u8,
) -> Result<(Encoding, u8), SegmentError> {
    let encoding = match encoding {
        None => EncodingChoice::Auto,
        Some(Encoding::Gsm7) => EncodingChoice::Gsm7,
        // Binary comes with octets and is planned by `write`; Latin-1 is nobody's wish.
        Some(Encoding::Ucs2 | Encoding::Binary | Encoding::Latin1) => EncodingChoice::Ucs2,
    };
    let options = Options {
        max_segments,
        encoding,
        ..Options::default()
    };
    match text::plan(text, options) {
        Ok(plan) => {
            let encoding = match plan.encoding {
                text::Encoding::Gsm7 => Encoding::Gsm7,
                text::Encoding::Ucs2 => Encoding::Ucs2,
                text::Encoding::Latin1 => Encoding::Latin1,
            };
            Ok((encoding, plan.segments))
        }
        Err(TextError::TooManySegments { needed, .. }) => {
            Err(SegmentError::TooManySegments { needed })
        }
        // Only `segment` gives this one; planning has no segment number.
        Err(TextError::NoSuchSegment) => Err(SegmentError::TooManySegments { needed: usize::MAX }),
        Err(TextError::NotRepresentable { character, .. }) => {
            Err(SegmentError::NotRepresentable { character })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(matching: Match, routes: &[(u16, u32)], strategy: Strategy) -> Rule {
        let routes = routes
            .iter()
            .map(|(route, weight)| (RouteIx(*route), *weight))
            .collect();
        Rule {
            matching,
            routes,
            strategy,
        }
    }

    #[test]
    fn the_first_matching_rule_wins_and_none_is_no_route() {
        let nordic = Match {
            class: vec![Class::Otp],
            country: vec!["SE".into(), "NO".into()],
            ..Match::default()
        };
        let uk = Match {
            prefix: vec!["+44".into()],
            ..Match::default()
        };
        let table = Table::new(vec![
            rule(nordic, &[(0, 1), (1, 1)], Strategy::Priority),
            rule(uk, &[(2, 1)], Strategy::Priority),
        ]);
        let routes = |class, to| table.routes(TenantIx(0), class, Phone::parse(to).unwrap());
        assert_eq!(
            routes(Class::Otp, "+46701234567").as_slice(),
            [RouteIx(0), RouteIx(1)]
        );
        assert_eq!(
            routes(Class::Promotional, "+447911123456").as_slice(),
            [RouteIx(2)]
        );
        assert!(routes(Class::Promotional, "+46701234567").is_empty());
    }

    #[test]
    fn weights_hold_after_few_messages() {
        let table = Table::new(vec![rule(
            Match::default(),
            &[(0, 70), (1, 30)],
            Strategy::Weighted,
        )]);
        let first = (0..100)
            .filter(|_| {
                let to = Phone::parse("+46701234567").unwrap();
                table.routes(TenantIx(0), Class::Otp, to)[0] == RouteIx(0)
            })
            .count();
        assert!((68..=72).contains(&first), "{first}");
    }
}
