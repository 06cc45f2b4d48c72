//! Values as people write them: "30s", "256MB", "400/s, burst 400", `host:port`, urls.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A token bucket's size and pace: `count` per `per`, at most `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units per period, from 1.
    pub count: u32,
    /// The period: a second, a minute, an hour or a day.
    pub per: Duration,
    /// Units that may come at once, from 1; if not given, a second's worth.
    pub burst: u32,
}

/// How a rate is written.
pub(super) const RATE_FORM: &str =
    "a rate such as \"400/s\" or \"400/s, burst 800\"; also /min, /h, /d";
/// How a size is written.
pub(super) const SIZE_FORM: &str = "a size such as \"256MB\" or \"1GiB\"";
/// How a duration is written.
pub(super) const DURATION_FORM: &str = "a duration such as \"30s\", \"500ms\" or \"72h\"";

/// Parses `400/s, burst 400`.
pub(super) fn rate(text: &str) -> Option<Rate> {
    let (pace, burst) = match text.split_once(',') {
        Some((pace, burst)) => (pace, Some(burst.trim().strip_prefix("burst")?)),
        None => (text, None),
    };
    let (count, unit) = pace.split_once('/')?;
    let count = whole(count)?;
    let seconds = match unit.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let burst = match burst {
        Some(text) => whole(text)?,
        None => (count / seconds).max(1),
    };
    (count > 0 && burst > 0).then_some(Rate {
        count: u32::try_from(count).ok()?,
        per: Duration::from_secs(seconds),
        burst: u32::try_from(burst).ok()?,
    })
}

/// Parses `256MB` (decimal) or `1 MiB` (binary) to octets.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    whole(digits)?.checked_mul(factor)
}

/// Parses a duration with its unit.
pub(super) fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// Parses digits, underscores between them as in TOML.
fn whole(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    (digits && !text.starts_with('_') && !text.ends_with('_'))
        .then(|| text.replace('_', "").parse().ok())
        .flatten()
}

/// Splits `host:port` or `[v6]:port`; the host without brackets, the port from 1.
pub(super) fn host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    match host.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']')?;
            inner.parse::<std::net::Ipv6Addr>().ok()?;
            Some((inner, port))
        }
        None => host_name(host).then_some((host, port)),
    }
}

/// Parses `sha256/` and the base64 of 32 octets, as RFC 7469 §2.4 and curl's `--pinnedpubkey` write it
/// (there with two slashes, which is read as well).
pub(super) fn pin(text: &str) -> Option<[u8; 32]> {
    let encoded = text.strip_prefix("sha256/")?;
    let encoded = encoded.strip_prefix('/').unwrap_or(encoded);
    STANDARD.decode(encoded).ok()?.try_into().ok()
}

/// Whether it can be a DNS name or an IPv4 literal (RFC 1123 §2.1 letters, 253 octets).
pub(super) fn host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Whether it can name a tenant, route, endpoint or key: it shows up in urls and metric labels.
pub(super) fn name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The parts of an endpoint url that the checks need.
pub(super) struct Url {
    /// Whether it is https.
    pub(super) https: bool,
    /// The host's address, if it is a literal or `localhost`.
    pub(super) literal: Option<IpAddr>,
}

/// Parses an http or https url without credentials or fragment.
pub(super) fn url(text: &str) -> Option<Url> {
    let uri: hyper::Uri = text.parse().ok()?;
    let https = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = uri.authority()?.as_str();
    let host = uri.host()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let literal = match bare.parse() {
        Ok(address) => Some(address),
        Err(_) if bare.eq_ignore_ascii_case("localhost") => Some(Ipv4Addr::LOCALHOST.into()),
        Err(_) if host_name(bare.trim_end_matches('.')) => None,
        Err(_) => return None,
    };
    (!authority.contains('@') && !text.contains('#')).then_some(Url { https, literal })
}

/// A url without what may be a credential: user, password, query and fragment.
pub(super) fn url_shown(text: &str) -> String {
    let cut = text.find(['?', '#']);
    let (text, more) = text.split_at(cut.unwrap_or(text.len()));
    let shown = match text.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            match authority.rsplit_once('@') {
                Some((_, host)) => format!("{scheme}://…@{host}{path}"),
                None => text.to_owned(),
            }
        }
        None if text.contains('@') => String::from("…"),
        None => text.to_owned(),
    };
    match more {
        "" => shown,
        _ => shown + "?…",
    }
}

/// Whether an address is globally reachable: the IANA special-purpose registries (RFC 6890), IPv4
/// inside IPv6 judged as what it is. The same ranges as the webhook stage refuses when it connects.
pub(super) fn public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => public_v4(v4),
        IpAddr::V6(v6) => match (v6.to_ipv4_mapped(), v6.octets(), v6.segments()) {
            (Some(v4), ..) => public_v4(v4),
            // NAT64's well-known prefix, RFC 6052 §2.1.
            (_, [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d], _) => {
                public_v4(Ipv4Addr::new(a, b, c, d))
            }
            // Protocol assignments and Teredo; documentation twice; 6to4.
            (_, _, [0x2001, 0..=0x01ff | 0x0db8, ..])
            | (_, _, [0x2002, ..] | [0x3fff, 0..=0x0fff, ..]) => false,
            // Global unicast, RFC 4291 §2.4.
            (_, _, [first, ..]) => first & 0xe000 == 0x2000,
        },
    }
}

fn public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}
