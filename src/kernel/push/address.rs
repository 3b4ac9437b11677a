//! Which addresses may be pushed to. A message comes from inside the house: without this, whoever may
//! name an address could make the daemon knock on doors that only the house should know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Out into the world.
    Public,
    /// Into this machine or its network; the word says how.
    Private(&'static str),
    /// Nowhere that a message can be pushed to.
    Never(&'static str),
}

use Reach::{Never, Private, Public};

const RESERVED: Reach = Never("a reserved");
const DOCUMENTATION: Reach = Never("a documentation");

/// Networks of version 4 that are not public.
const V4: &[(Ipv4Addr, u32, Reach)] = &[
    (Ipv4Addr::UNSPECIFIED, 8, Never("an unspecified")),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Private("a private")),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Private("a carrier's (CGNAT)")),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Private("a loopback")),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Private("a link-local")),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Private("a private")),
    (Ipv4Addr::new(192, 0, 0, 0), 24, RESERVED),
    (Ipv4Addr::new(192, 0, 2, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(192, 88, 99, 0), 24, RESERVED),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Private("a private")),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Private("a benchmark's")),
    (Ipv4Addr::new(198, 51, 100, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(203, 0, 113, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Never("a multicast")),
    (Ipv4Addr::new(240, 0, 0, 0), 4, RESERVED),
];

/// Networks of version 6, the narrower ones first. What none of them holds is reserved.
const V6: &[(Ipv6Addr, u32, Reach)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, Never("an unspecified")),
    (Ipv6Addr::LOCALHOST, 128, Private("a loopback")),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Private("a translator's")),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, RESERVED),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, DOCUMENTATION),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, DOCUMENTATION),
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Public),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Private("a private")),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Private("a link-local")),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Private("a private")),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Never("a multicast")),
];

/// Where an address leads.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => embedded(address).map_or_else(|| reach_v6(address), reach_v4),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let within = |net: Ipv4Addr, bits: u32| {
        let apart = address.to_bits() ^ net.to_bits();
        apart.leading_zeros() >= bits
    };
    V4.iter().find(|(net, bits, _)| within(*net, *bits)).map_or(Public, |(_, _, reach)| *reach)
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let within = |net: Ipv6Addr, bits: u32| {
        let apart = address.to_bits() ^ net.to_bits();
        apart.leading_zeros() >= bits
    };
    V6.iter().find(|(net, bits, _)| within(*net, *bits)).map_or(RESERVED, |(_, _, reach)| *reach)
}

/// The address of version 4 that one of version 6 stands for: mapped, translated (NAT64), or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(of(high, low))
        }
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Why an address may not be pushed to; none when it may.
pub(super) fn refusal(address: IpAddr, allow_private: bool) -> Option<String> {
    match reach(address) {
        Private(what) if !allow_private => Some(format!("{address} is {what} address")),
        Never(what) => Some(format!("{address} is {what} address")),
        Public | Private(_) => None,
    }
}

/// The addresses of a name. This waits for the answer.
pub(super) fn lookup(name: &str) -> std::io::Result<Vec<SocketAddr>> {
    (name, 0).to_socket_addrs().map(Iterator::collect)
}

/// Those addresses of a name that may be connected to; why not, when there are none.
pub(super) fn open_ones(
    name: &str,
    found: Vec<SocketAddr>,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, String> {
    let mut refused = None;
    let mut open = Vec::new();
    for address in found {
        match refusal(address.ip(), allow_private) {
            Some(why) => refused = Some(why),
            None => open.push(address),
        }
    }
    match refused {
        Some(why) if open.is_empty() => Err(format!("`{name}` leads inside: {why}")),
        None if open.is_empty() => Err(format!("`{name}` has no address")),
        _ => Ok(open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach_of(text: &str) -> Reach {
        reach(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_the_world_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2400:3200::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert_eq!(reach_of(address), Public, "{address}");
        }
    }

    #[test]
    fn addresses_inside_the_house_are_private_however_they_are_written() {
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "::1",
            "fe80::1",
            "febf::1",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:1::1",
        ] {
            let reach = reach_of(address);
            assert!(matches!(reach, Private(_)), "{address}: {reach:?}");
            let address = address.parse().unwrap();
            assert!(refusal(address, false).is_some() && refusal(address, true).is_none());
        }
    }

    #[test]
    fn addresses_that_lead_nowhere_are_refused_also_where_private_ones_are_allowed() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::7f00:1",
            "::ffff:0.0.0.0",
            "::ffff:224.0.0.1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "ff02::1",
            "4000::1",
        ] {
            let reach = reach_of(address);
            assert!(matches!(reach, Never(_)), "{address}: {reach:?}");
            assert!(refusal(address.parse().unwrap(), true).is_some(), "{address}");
        }
    }

    #[test]
    fn of_a_name_only_the_open_addresses_are_connected_to() {
        let at = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect()
        };
        let mixed = at(&["10.0.0.1", "1.1.1.1", "::1"]);
        assert_eq!(open_ones("n", mixed.clone(), false), Ok(at(&["1.1.1.1"])));
        assert_eq!(open_ones("n", mixed.clone(), true), Ok(mixed));
        let why = open_ones("n", at(&["127.0.0.1"]), false).unwrap_err();
        assert_eq!(why, "`n` leads inside: 127.0.0.1 is a loopback address");
        assert_eq!(open_ones("n", Vec::new(), false), Err("`n` has no address".to_owned()));
        let why = open_ones("localhost", lookup("localhost").unwrap(), false).unwrap_err();
        assert!(why.contains("a loopback address"), "{why}");
    }
}
