//! Where calls may go. A name is resolved once, what it resolves to is checked, and the connection goes to
//! the address that was checked: an answer of the DNS that changes in between changes nothing. Redirects are
//! not followed anywhere.
//!
//! Source: IANA's registries of special-purpose addresses (RFC 6890).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::InvokeError;

/// A range of addresses, such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no [`Network`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no network, such as 10.0.0.0/8")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let none = || NoNetwork(text.to_owned());
        let (address, bits) = text.split_once('/').ok_or_else(none)?;
        let address: IpAddr = address.parse().map_err(|_| none())?;
        let bits: u8 = bits.parse().map_err(|_| none())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits > most {
            return Err(none());
        }
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    /// Whether an address is in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        match (self.address, plain(address)) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.bits);
                let cut = |address: Ipv4Addr| u32::from(address).checked_shr(shift).unwrap_or(0);
                cut(network) == cut(address)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.bits);
                let cut = |address: Ipv6Addr| u128::from(address).checked_shr(shift).unwrap_or(0);
                cut(network) == cut(address)
            }
            _ => false,
        }
    }
}

/// An IPv4 address that is written as an IPv6 one is an IPv4 address.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Networks that nobody outside of an organisation can be in.
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::new(255, 255, 255, 255), 32),
];

/// Whether an address is one of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(v4) => {
            let number = u32::from(v4);
            !SPECIAL_V4.iter().any(|(network, bits)| {
                let shift = 32 - bits;
                u32::from(*network) >> shift == number >> shift
            })
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            let is_global = first & 0xe000 == 0x2000;
            // what carries an IPv4 address (Teredo, 6to4) leads to it; the rest is for documentation
            let is_special = match first {
                0x2001 => second < 0x0200 || second == 0x0db8,
                0x2002 => true,
                0x3fff => second < 0x1000,
                _ => false,
            };
            is_global && !is_special
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    networks: Vec<Network>,
}

impl Egress {
    /// The public internet, and these networks.
    pub fn new(networks: Vec<Network>) -> Self {
        Self { networks }
    }

    /// Whether calls may go to an address.
    pub fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.networks.iter().any(|network| network.holds(address))
    }

    /// The first of the addresses that a name resolves to, and that calls may go to.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr, InvokeError> {
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|_| InvokeError::Unreachable("its name is not known"))?;
        self.choose(found)
    }

    pub(super) fn choose(
        &self,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<SocketAddr, InvokeError> {
        addresses
            .into_iter()
            .find(|address| self.allows(address.ip()))
            .ok_or(InvokeError::NotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s55_what_is_not_of_the_public_internet_is_refused_in_every_notation() {
        let egress = Egress::default();
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:0:7f00:1::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
        ] {
            assert!(!egress.allows(address.parse().expect("is one")), "{address}");
        }
        for address in
            ["1.1.1.1", "172.32.0.1", "192.0.1.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"]
        {
            assert!(egress.allows(address.parse().expect("is one")), "{address}");
        }
    }

    #[test]
    fn an_operator_can_open_networks() {
        let networks = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"].map(|text| text.parse().unwrap());
        let egress = Egress::new(networks.into());
        for (address, allowed) in [
            ("10.255.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("11.0.0.1", true),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("fe80::1", false),
            ("169.254.169.254", false),
        ] {
            assert_eq!(egress.allows(address.parse().unwrap()), allowed, "{address}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(
            all.holds("169.254.169.254".parse().unwrap()) && !all.holds("::1".parse().unwrap())
        );
        for text in ["10.0.0.0", "10.0.0.0/33", "::/129", "a/8", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork(text.to_owned())));
        }
    }

    #[test]
    fn of_several_addresses_only_those_that_are_allowed_are_taken() {
        let egress = Egress::default();
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let mixed = addresses(&["127.0.0.1:443", "1.1.1.1:443"]);
        assert_eq!(egress.choose(mixed), Ok("1.1.1.1:443".parse().unwrap()));
        let private = addresses(&["127.0.0.1:443", "[::1]:443"]);
        assert_eq!(egress.choose(private), Err(InvokeError::NotAllowed));
    }
}
