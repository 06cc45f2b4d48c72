//! Addresses: which ones a URL's name may lead to.
//!
//! The IANA special-purpose registries for IPv4 and IPv6: whatever is not globally reachable is
//! refused unless [`Rules::allow_private`](super::Rules) has it. IPv4 inside IPv6 is judged as the IPv4 it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Whether a connection to this address may be made.
#[must_use]
pub(super) fn allowed(address: IpAddr, exceptions: &[IpNet]) -> bool {
    let address = embedded(address);
    let public = match address {
        IpAddr::V4(v4) => public_v4(v4),
        IpAddr::V6(v6) => public_v6(v6),
    };
    public || exceptions.iter().any(|net| net.contains(&address))
}

/// The IPv4 address that an IPv6 address stands for: mapped (RFC 4291 §2.5.5.2) or NAT64's well-known
/// prefix (RFC 6052 §2.1).
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    let octets = v6.octets();
    if octets[..12] == [0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0] {
        return IpAddr::V4(Ipv4Addr::new(
            octets[12], octets[13], octets[14], octets[15],
        ));
    }
    address
}

/// RFC 6890 and its registry, as of 2026.
fn public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127, ..]                  // this network, private, loopback
            | [100, 64..=127, ..]           // shared by carriers' NAT
            | [169, 254, ..]                // link-local, with the clouds' metadata services
            | [172, 16..=31, ..]            // private
            | [192, 0, 0 | 2, _]            // protocol assignments, documentation
            | [192, 88, 99, _]              // 6to4 relays
            | [192, 168, ..]                // private
            | [198, 18..=19, ..]            // benchmarking
            | [198, 51, 100, _]             // documentation
            | [203, 0, 113, _]              // documentation
            | [224..=255, ..] // multicast, reserved, broadcast
    )
}

/// Global unicast is 2000::/3 (RFC 4291 §2.4); within it the special ranges are refused.
fn public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    match parts {
        [0x2001, 0..=0x01FF, ..]            // protocol assignments, Teredo, ORCHID
        | [0x2001, 0x0DB8, ..]              // documentation
        | [0x2002, ..]                      // 6to4
        | [0x3FFF, 0..=0x0FFF, ..] => false, // documentation
        _ => parts[0] & 0xE000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_globally_reachable_is_allowed() {
        for refused in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let address: IpAddr = refused.parse().unwrap();
            assert!(!allowed(address, &[]), "{refused}");
        }
        for public in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            let address: IpAddr = public.parse().unwrap();
            assert!(allowed(address, &[]), "{public}");
        }
    }

    #[test]
    fn exceptions_open_what_they_name_also_when_it_is_mapped() {
        let exceptions = ["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "fd12::1"] {
            assert!(allowed(address.parse().unwrap(), &exceptions), "{address}");
        }
        for address in ["10.0.0.1", "::1", "fe80::1"] {
            assert!(!allowed(address.parse().unwrap(), &exceptions), "{address}");
        }
    }
}
