//! The host a request names: what may stand in a Host field, and whether it is this machine. Reads no request and resolves no
//! name.

use std::net::{IpAddr, Ipv4Addr};

/// Whether this may stand in a Host field: the characters of `uri-host [ ":" port ]` (RFC 3986 §3.2.2), or nothing. A user
/// name is not among them.
pub(super) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%:[]!$&'()*+;=".contains(byte))
}

/// Whether a host, with or without a port, names this machine only: `localhost` and names below it (RFC 6761 §6.3), an address
/// of 127.0.0.0/8, or `::1`. A page of another site whose name was made to resolve to this machine (DNS rebinding) sends its
/// own name and is told apart by it.
#[allow(dead_code, reason = "asked by the handshake of servers bound to loopback")]
pub(crate) fn is_loopback_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address, port),
            None => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_is_one = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    if !port_is_one {
        return false;
    }
    if host.starts_with('[') {
        return matches!(name.parse(), Ok(IpAddr::V6(address)) if address.to_canonical().is_loopback());
    }
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return address.is_loopback();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_by_name() {
        for host in [
            "localhost",
            "LocalHost:3000",
            "localhost.",
            "app.localhost:80",
            "127.0.0.1",
            "127.1.2.3:5007",
            "[::1]",
            "[0:0:0:0:0:0:0:1]:80",
            "[::ffff:127.0.0.1]",
            "localhost:",
        ] {
            assert!(is_loopback_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "128.0.0.1",
            "0.0.0.0",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "[::]",
            "[::2]:80",
            "[::1",
            "[::1]x",
            "::1",
            "[127.0.0.1]",
            "localhost:80:80",
            "localhost:x",
            "localhost@evil.example",
        ] {
            assert!(!is_loopback_host(host.as_bytes()), "{host}");
        }
        assert!(!is_loopback_host(b"localhost\xff"));
    }
}
