//! Networks that callers may come from, as `drip.toml` names them.

use std::net::IpAddr;
use std::str::FromStr;

/// An address, or all that share its first bits: `10.0.0.7`, `10.0.0.0/24`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let no = || format!("`{text}` is no address and no network such as 10.0.0.0/24");
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_bad| no())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(no)?,
        };
        Ok(Self { address, bits })
    }
}

impl Network {
    /// Whether an address lies in it. An IPv4 address that a socket for both shows as IPv6 is itself.
    pub(super) fn holds(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                (own.to_bits() ^ other.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Whether it holds nothing but addresses of this machine.
    pub(super) fn is_local(self) -> bool {
        let narrow = if self.address.is_ipv4() { self.bits >= 8 } else { self.bits == 128 };
        narrow && self.address.is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_what_shares_its_first_bits() {
        for (network, address, holds) in [
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.9/24", "10.0.0.1", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.6", false),
            ("10.0.0.7", "::ffff:10.0.0.7", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::1/128", "::1", true),
            (" 127.0.0.1/32 ", "127.0.0.2", false),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.holds(address.parse().unwrap()), holds, "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["", "10.0.0", "10.0.0.0/33", "::1/129", "10.0.0.0/-1", "10.0.0.0/", "host"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_loopback_is_local() {
        let is_local = |text: &str| text.parse::<Network>().unwrap().is_local();
        assert!(["127.0.0.1", "127.0.0.0/8", "::1"].into_iter().all(is_local));
        assert!(!["10.0.0.1", "127.0.0.0/7", "::1/127", "0.0.0.0/0"].into_iter().any(is_local));
    }
}
