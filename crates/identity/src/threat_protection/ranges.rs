//! Ranges of addresses in CIDR notation (RFC 4632, RFC 4291), and the networks that addresses count as one place by.

use std::net::IpAddr;

/// Whether `address` is in one of `ranges`. What is no range has nothing in it.
pub fn includes(ranges: &[String], address: IpAddr) -> bool {
    ranges.iter().any(|range| is_in(range, address).unwrap_or(false))
}

fn is_in(range: &str, address: IpAddr) -> Option<bool> {
    let (network, length) = range.split_once('/')?;
    let network: IpAddr = network.parse().ok()?;
    let length: u32 = length.parse().ok()?;
    if network.is_ipv4() != address.is_ipv4() {
        return Some(false);
    }
    Some(prefix(network, length)? == prefix(address, length)?)
}

/// What users move within without going anywhere: a /24 of IPv4, a /48 of IPv6.
pub fn network(address: IpAddr) -> Vec<u8> {
    let (kind, length) = if address.is_ipv4() { (4, 24) } else { (6, 48) };
    let mut network = vec![kind];
    network.extend(prefix(address, length).unwrap_or_default());
    network
}

/// The first `length` bits, the others 0.
fn prefix(address: IpAddr, length: u32) -> Option<Vec<u8>> {
    match address {
        IpAddr::V4(address) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            Some((address.to_bits() & mask).to_be_bytes().to_vec())
        }
        IpAddr::V6(address) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            Some((address.to_bits() & mask).to_be_bytes().to_vec())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_ranges_that_begin_like_it() {
        for (range, address, expected) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.77/32", "192.0.2.77", true),
            ("192.0.2.77/32", "192.0.2.78", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
            ("192.0.2.0/33", "192.0.2.0", false),
            ("x/8", "192.0.2.0", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(includes(&[range.to_owned()], address), expected, "{range} {address}");
        }
    }

    #[test]
    fn neighbours_are_one_place() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("192.0.2.200"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1::1"), of("2001:db8:1:ffff::2"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
    }
}
