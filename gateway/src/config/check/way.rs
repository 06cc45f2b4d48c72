//! Checks of a route's way to its carrier: TLS, our own address, TCP's patience.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::section::{Field, Section};
use crate::config::load::Value;
use crate::config::{Tls, value};

/// Pins of one account. Chosen: the key in use and those to come, for each of a few hosts.
const PINS_MAX: usize = 16;

const SECOND: Duration = Duration::from_secs(1);

/// How a route's connections are made.
pub(super) struct Way {
    pub(super) tls: bool,
    pub(super) ca: Option<PathBuf>,
    pub(super) server_name: Option<String>,
    pub(super) client: Option<Tls>,
    pub(super) pins: Vec<[u8; 32]>,
    pub(super) source: Option<IpAddr>,
    pub(super) user_timeout: Duration,
}

pub(super) fn read(section: &Section<'_>, hosts: &[String]) -> Way {
    let tls = section.bool("tls", "whether the links are TLS");
    let only = |key| only_with_tls(section, key, tls);
    let name = |field: Field<'_>| field.text_where("a host name", value::host_name);
    Way {
        tls,
        ca: only("tls_ca").map(|field| field.file("PEM roots to trust")),
        server_name: only("tls_server_name").map(name),
        client: only("tls_client")
            .and_then(|field| field.section("routes.*.tls_client"))
            .map(|files| super::certificate(&files)),
        pins: only("tls_pins")
            .map(|field| pins(&field))
            .unwrap_or_default(),
        source: source(section, hosts),
        user_timeout: section.duration(
            "tcp_user_timeout",
            SECOND..=SECOND * 600,
            "how long TCP may wait for an acknowledgement",
        ),
    }
}

fn only_with_tls<'a>(section: &Section<'a>, key: &str, tls: bool) -> Option<Field<'a>> {
    let field = section.opt(key)?;
    if !tls {
        field.wrong("this key only with tls = true");
        return None;
    }
    Some(field)
}

fn pins(field: &Field<'_>) -> Vec<[u8; 32]> {
    let expected = "a list of 1 to 16 pins";
    let one = "\"sha256/\" and the base64 of a SHA-256 of the certificate's public key";
    let items = field.list(PINS_MAX, expected);
    if items.is_empty() && matches!(&field.node.value, Value::Array(_)) {
        field.wrong(expected);
    }
    let pin = |item: &Field<'_>| item.parsed(one, value::pin);
    items.iter().filter_map(pin).collect()
}

fn source(section: &Section<'_>, hosts: &[String]) -> Option<IpAddr> {
    let field = section.opt("source_address")?;
    let expected = "an IP address of this machine";
    let source: IpAddr = field.parsed(expected, |text| {
        let address: IpAddr = text.parse().ok()?;
        (!address.is_unspecified() && !address.is_multicast()).then_some(address)
    })?;
    for host in hosts {
        let literal = value::host_port(host).and_then(|(host, _)| host.parse::<IpAddr>().ok());
        if literal.is_some_and(|host| host.is_ipv4() != source.is_ipv4()) {
            field.wrong_hint(
                "an address of the same family as every host, IPv4 or IPv6",
                Some(format!("{host} is of the other")),
            );
            break;
        }
    }
    Some(source)
}
