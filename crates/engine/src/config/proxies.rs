//! Proxies in front of the server whose word for a client's address counts, and what they say. Knows no socket.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Addresses that begin with the same bits: `10.0.0.0/8`, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an address or a network such as 10.0.0.0/8")]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| NoNetwork)?;
        match (address.to_canonical(), prefix) {
            (_, prefix) if prefix > bits => Err(NoNetwork),
            // Addresses are looked for in their canonical form, so that is how they are kept.
            (IpAddr::V4(mapped), 96..) => Ok(Self { address: mapped.into(), prefix: prefix - 96 }),
            _ => Ok(Self { address, prefix }),
        }
    }
}

impl Network {
    /// Whether the address, in its canonical form, is one of them.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

/// Where a proxy names the client. One of them only: the others are whatever the client has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedField {
    /// `X-Forwarded-For`: addresses.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): the `for` of each element.
    Forwarded,
    /// None: the header of the PROXY protocol, version 1 or 2, before anything else on the socket.
    ProxyProtocol,
}

/// The proxies, and where they say who is behind them.
#[derive(Debug, Clone)]
pub struct TrustedProxies {
    /// Where they are.
    pub networks: Vec<Network>,
    /// Where they say it.
    pub field: ForwardedField,
}

impl TrustedProxies {
    /// Whether this address is one of theirs.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Whether a socket from this address begins with the header of the PROXY protocol.
    pub(crate) fn begin_with_header(&self, peer: IpAddr) -> bool {
        self.field == ForwardedField::ProxyProtocol && self.contain(peer)
    }

    /// The client whom trusted proxies name behind `peer`; `None`: they name nobody, or what was to be read cannot be.
    pub(crate) fn named(&self, peer: IpAddr, said: &[u8]) -> Option<IpAddr> {
        let mut named = None;
        for hop in said.rsplit(|byte| *byte == b',').filter(|hop| !hop.trim_ascii().is_empty()) {
            if !self.contain(named.unwrap_or(peer)) {
                break;
            }
            named = Some(self.address(hop)?);
        }
        named
    }

    /// The client behind `peer`: read from the end, where the nearest proxy has written, the first address that is not one of
    /// theirs. What cannot be read ends the search at the proxy that has written it. `said`: the values of the field, joined
    /// with `,`.
    pub(crate) fn client(&self, peer: IpAddr, said: &[u8]) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut hops = said.rsplit(|byte| *byte == b',').filter(|hop| !hop.trim_ascii().is_empty());
        while self.contain(client)
            && let Some(next) = hops.next().and_then(|hop| self.address(hop))
        {
            client = next;
        }
        client
    }

    fn address(&self, hop: &[u8]) -> Option<IpAddr> {
        let hop = std::str::from_utf8(hop).ok()?.trim();
        let node = match self.field {
            ForwardedField::XForwardedFor | ForwardedField::ProxyProtocol => hop,
            ForwardedField::Forwarded => {
                let mut pairs = hop.split(';').filter_map(|pair| pair.trim().split_once('='));
                pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?.1.trim_matches('"')
            }
        };
        let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
        let address = bare.parse().ok().or_else(|| node.parse().ok().map(|socket: SocketAddr| socket.ip()))?;
        Some(address.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(field: ForwardedField, peer: &str, said: &str) -> String {
        let networks = ["10.0.0.0/8", "127.0.0.1", "fd00::/8"].map(|network| network.parse().unwrap());
        let proxies = TrustedProxies { networks: networks.into(), field };
        proxies.client(peer.parse().unwrap(), said.as_bytes()).to_string()
    }

    #[test]
    fn the_last_who_is_no_proxy_is_the_client() {
        let client = |peer, said| client(ForwardedField::XForwardedFor, peer, said);
        for (peer, said, expected) in [
            ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
            ("::ffff:127.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
            ("10.9.8.7", "1.1.1.1, 203.0.113.7, 10.0.0.1 ,fd00::5", "203.0.113.7"),
            ("10.0.0.1", "[2001:db8::1]:99", "2001:db8::1"),
            ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
            ("10.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
            // Nobody says anything, or nothing that can be read; nobody but proxies.
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.7, unknown", "10.0.0.1"),
            ("10.0.0.1", "203.0.113.7, garbage, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            // Whoever is no proxy is not believed.
            ("203.0.113.9", "1.1.1.1", "203.0.113.9"),
            ("11.0.0.1", "10.0.0.1", "11.0.0.1"),
        ] {
            assert_eq!(client(peer, said), expected, "{peer}: {said}");
        }
    }

    #[test]
    fn nobody_is_named_by_what_cannot_be_read_or_is_not_believed() {
        let networks = ["10.0.0.0/8", "127.0.0.1"].map(|network| network.parse().unwrap());
        let proxies = TrustedProxies { networks: networks.into(), field: ForwardedField::XForwardedFor };
        for (peer, said, expected) in [
            ("127.0.0.1", "203.0.113.7,", Some("203.0.113.7")),
            ("127.0.0.1", "127.0.0.1,", Some("127.0.0.1")),
            ("127.0.0.1", "::1, 10.0.0.1,", Some("::1")),
            ("127.0.0.1", "127.0.0.1, 203.0.113.7", Some("203.0.113.7")),
            ("127.0.0.1", ",", None),
            ("127.0.0.1", "unknown", None),
            ("127.0.0.1", "127.0.0.1, unknown, 10.0.0.1", None),
            ("::1", "127.0.0.1", None),
        ] {
            let named = proxies.named(peer.parse().unwrap(), said.as_bytes());
            assert_eq!(named, expected.map(|address| address.parse().unwrap()), "{peer}: {said}");
        }
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_says() {
        let client = |said| client(ForwardedField::Forwarded, "10.0.0.1", said);
        for (said, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=1.1.1.1, proto=https;for=192.0.2.43, for=10.2.3.4", "192.0.2.43"),
            ("for=\"a, for=1.1.1.1, for=192.0.2.43", "192.0.2.43"),
            ("for=_hidden", "10.0.0.1"),
            ("192.0.2.60", "10.0.0.1"),
        ] {
            assert_eq!(client(said), expected, "{said}");
        }
    }

    #[test]
    fn networks_are_addresses_and_prefixes() {
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "x", "/8"] {
            assert_eq!(wrong.parse::<Network>(), Err(NoNetwork), "{wrong}");
        }
        for (mapped, plain) in [("::ffff:10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.0/104", "10.0.0.0/8")] {
            assert_eq!(mapped.parse::<Network>(), plain.parse(), "{mapped}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains([255, 0, 0, 1].into()) && !all.contains("::1".parse().unwrap()));
        let odd: Network = "192.168.4.0/22".parse().unwrap();
        assert!(odd.contains([192, 168, 7, 255].into()) && !odd.contains([192, 168, 8, 0].into()));
    }
}
