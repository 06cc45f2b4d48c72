//! TLVs of a message's own: names and values as all of its candidate routes write them. Pure.
//!
//! They are decided once, at acceptance, like everything about how a message is written: a failover
//! sends the same. So a name has to mean the same tag and octets on each candidate route.

use codecs::smpp::tlv::Tag;

use crate::message::RouteIx;
use crate::message::tlv::{SmsTlv, TlvKind, TlvRefusal, TlvWhy, TlvWish, raw_tag};

/// What a route says about TLVs that messages may bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dictionary {
    /// Whether its carrier takes any: SMPP 3.3 has none.
    pub takes: bool,
    /// Names, tags, and how values are written.
    pub names: Vec<(Box<str>, u16, TlvKind)>,
}

/// A route of which nothing is said.
pub(super) static NO_NAMES: Dictionary = Dictionary {
    takes: true,
    names: Vec::new(),
};

/// What every submit of the message carries. Without a candidate route nothing is sent, and names mean
/// nothing.
///
/// # Errors
/// The first one that cannot be sent over all of the routes.
pub(super) fn resolve(
    wishes: &[TlvWish<'_>],
    routes: &[(RouteIx, &Dictionary)],
) -> Result<Box<[SmsTlv]>, TlvRefusal> {
    let mut resolved: Vec<SmsTlv> = Vec::with_capacity(wishes.len());
    for (place, wish) in wishes.iter().enumerate() {
        let refused = |why| TlvRefusal { place, why };
        let mut meant: Option<(RouteIx, SmsTlv)> = None;
        for (route, dictionary) in routes {
            let own = on_route(wish, *route, dictionary).map_err(refused)?;
            match &meant {
                Some((other, same)) if *same != own => {
                    return Err(refused(TlvWhy::Differs(*other, *route)));
                }
                Some(_) => {}
                None => meant = Some((*route, own)),
            }
        }
        let Some((_, tlv)) = meant else {
            continue;
        };
        if resolved.iter().any(|other| other.tag == tlv.tag) {
            return Err(refused(TlvWhy::SameTag));
        }
        resolved.push(tlv);
    }
    Ok(resolved.into_boxed_slice())
}

/// Whether a carrier takes TLVs that were resolved for others: those of the specification, and of its
/// own those that its dictionary has, by their tags. A tag that a message was given in digits cannot be
/// told from a name any more, so that one nobody here has named is not sent: carriers use one tag for
/// different things (smpp.md §1.4).
pub(super) fn fit(tlvs: &[SmsTlv], dictionary: &Dictionary) -> bool {
    let known = |tlv: &SmsTlv| {
        let mut names = dictionary.names.iter();
        Tag(tlv.tag).rule().is_some()
            || names.any(|(_, tag, kind)| *tag == tlv.tag && kind.writes(&tlv.value))
    };
    tlvs.is_empty() || (dictionary.takes && tlvs.iter().all(known))
}

fn on_route(wish: &TlvWish<'_>, route: RouteIx, dictionary: &Dictionary) -> Result<SmsTlv, TlvWhy> {
    if !dictionary.takes {
        return Err(TlvWhy::NoTlvs(route));
    }
    let named = |tag| (tag, TlvKind::Hex);
    let (tag, kind) = raw_tag(wish.name)
        .map(named)
        .or_else(|| {
            let known = dictionary
                .names
                .iter()
                .find(|(name, ..)| **name == *wish.name);
            known.map(|(_, tag, kind)| (*tag, *kind))
        })
        .ok_or(TlvWhy::Unknown(route))?;
    let value = kind
        .octets(wish.value)
        .ok_or_else(|| TlvWhy::Value(route, kind.expected()))?;
    if let Some(rule) = Tag(tag).rule()
        && !(rule.shape.fits_length(&value) && rule.shape.fits_value(&value))
    {
        return Err(TlvWhy::Specification(route, rule.name));
    }
    Ok(SmsTlv {
        tag,
        value: value.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tlv::TlvValue;

    const A: RouteIx = RouteIx(0);
    const B: RouteIx = RouteIx(1);

    /// TLVs, routes, which one is refused, and why.
    type Case<'a> = (
        &'a [TlvWish<'a>],
        &'a [(RouteIx, &'a Dictionary)],
        usize,
        TlvWhy,
    );

    fn dictionary(names: &[(&str, u16, TlvKind)]) -> Dictionary {
        let names = names
            .iter()
            .map(|(name, tag, kind)| ((*name).into(), *tag, *kind));
        Dictionary {
            takes: true,
            names: names.collect(),
        }
    }

    fn text<'a>(name: &'a str, value: &'a str) -> TlvWish<'a> {
        TlvWish {
            name,
            value: TlvValue::Text(value),
        }
    }

    fn tlv(tag: u16, value: &[u8]) -> SmsTlv {
        SmsTlv {
            tag,
            value: value.into(),
        }
    }

    #[test]
    fn names_are_the_routes_and_tags_are_raw() {
        let a = dictionary(&[("pe", 0x1400, TlvKind::CString)]);
        let b = dictionary(&[
            ("other", 0x1500, TlvKind::U8),
            ("pe", 0x1400, TlvKind::CString),
        ]);
        let wishes = [text("pe", "1101"), text("0x1402", "00ff")];
        let resolved = resolve(&wishes, &[(A, &a), (B, &b)]).unwrap();
        assert_eq!(
            *resolved,
            [tlv(0x1400, b"1101\0"), tlv(0x1402, b"\x00\xff")]
        );
        assert!(resolve(&wishes, &[]).unwrap().is_empty());
    }

    #[test]
    fn what_one_route_cannot_send_is_refused_with_its_name_and_reason() {
        let a = dictionary(&[
            ("pe", 0x1400, TlvKind::CString),
            ("kind", 0x1401, TlvKind::U8),
            ("display", 0x0005, TlvKind::U8),
        ]);
        let b = dictionary(&[("pe", 0x1500, TlvKind::CString)]);
        let old = Dictionary {
            takes: false,
            names: Vec::new(),
        };
        let display = TlvWish {
            name: "display",
            value: TlvValue::Number(9),
        };
        let cases: [Case<'_>; 7] = [
            (&[text("kind", "x")], &[(B, &b)], 0, TlvWhy::Unknown(B)),
            (
                &[text("0x1400", "00")],
                &[(A, &a), (B, &old)],
                0,
                TlvWhy::NoTlvs(B),
            ),
            (
                &[text("pe", "1"), text("kind", "1")],
                &[(A, &a)],
                1,
                TlvWhy::Value(A, TlvKind::U8.expected()),
            ),
            (
                &[text("0x1400", "0")],
                &[(A, &a)],
                0,
                TlvWhy::Value(A, TlvKind::Hex.expected()),
            ),
            (
                &[display],
                &[(A, &a)],
                0,
                TlvWhy::Specification(A, "dest_addr_subunit"),
            ),
            (
                &[text("pe", "1")],
                &[(A, &a), (B, &b)],
                0,
                TlvWhy::Differs(A, B),
            ),
            (
                &[text("pe", "1"), text("0x1400", "00")],
                &[(A, &a)],
                1,
                TlvWhy::SameTag,
            ),
        ];
        for (wishes, routes, place, why) in cases {
            assert_eq!(resolve(wishes, routes), Err(TlvRefusal { place, why }));
        }
    }
}
