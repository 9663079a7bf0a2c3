//! The header of the PROXY protocol, with which a proxy names its client before anything else: read to its last byte and no
//! further, whatever stands behind it. Who has to send one is not decided here.

use std::io;
use std::net::IpAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of the longest header of version 1, line end included (specification §2.1).
const MAX_V1: usize = 107;
/// Bytes of the shortest one: `PROXY UNKNOWN` and the line end.
const MIN_V1: usize = 15;
/// What version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// What version 2 begins with.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 in front of what its length counts (§2.2).
const PREFIX_V2: usize = 16;
/// Bytes of the longest header of version 2 that is read: addresses, and what proxies say of TLS and of themselves.
const MAX_V2: usize = 4096;

/// Reads the header. `None`: the proxy speaks for itself (`LOCAL`), or does not say for whom (`UNKNOWN`).
///
/// # Errors
/// [`io::ErrorKind::InvalidData`]: it is none, or not one of TCP. Otherwise what reading fails with.
pub(super) async fn read_proxied(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut header = Vec::with_capacity(MAX_V1);
    // As many bytes as it has at least, so that none is read that belongs to somebody else.
    while let Some(more) = missing(&header)? {
        let known = header.len();
        header.resize(known + more, 0);
        stream.read_exact(&mut header[known..]).await?;
    }
    client(&header)
}

/// Bytes that are missing at least; `None`: none.
fn missing(header: &[u8]) -> io::Result<Option<usize>> {
    let begins_as = |signature: &[u8]| header.iter().zip(signature).all(|(own, byte)| own == byte);
    if !begins_as(V1) && !begins_as(V2) {
        return Err(invalid());
    }
    if header.len() < MIN_V1 {
        return Ok(Some(MIN_V1 - header.len()));
    }
    if header.starts_with(b"P") {
        return match header {
            [.., b'\r', b'\n'] => Ok(None),
            _ if header.len() >= MAX_V1 => Err(invalid()),
            [.., b'\r'] => Ok(Some(1)),
            _ => Ok(Some(2.min(MAX_V1 - header.len()))),
        };
    }
    let Some(length) = header.get(PREFIX_V2 - 2..PREFIX_V2) else { return Ok(Some(PREFIX_V2 - header.len())) };
    let whole = PREFIX_V2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if whole > MAX_V2 {
        return Err(invalid());
    }
    Ok((header.len() < whole).then(|| whole - header.len()))
}

/// Whom a whole header names.
fn client(header: &[u8]) -> io::Result<Option<IpAddr>> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) = ProxyHeader::parse(header, config).map_err(|_| invalid())?;
    let rest = header.strip_prefix(b"PROXY UNKNOWN").and_then(<[u8]>::first);
    // The parser takes any word that begins so.
    if length != header.len() || rest.is_some_and(|next| !matches!(next, b' ' | b'\r')) {
        return Err(invalid());
    }
    match parsed.proxied_address() {
        None => Ok(None),
        Some(named) if named.protocol == Protocol::Stream => Ok(Some(named.source.ip().to_canonical())),
        Some(_) => Err(invalid()),
    }
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;
    use proxy_header::{ProxiedAddress, Tlv};
    use tokio::io::ReadBuf;

    use super::*;

    /// What comes in pieces of these sizes, over and over, and then ends.
    struct Pieces<'a> {
        rest: &'a [u8],
        sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
    }

    impl AsyncRead for Pieces<'_> {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let size = (*self.sizes.next().unwrap()).min(into.remaining()).min(self.rest.len());
            let (now, later) = self.rest.split_at(size);
            into.put_slice(now);
            self.rest = later;
            Poll::Ready(Ok(()))
        }
    }

    /// What is read, and how much is left.
    fn read(bytes: &[u8], sizes: &[usize]) -> (io::Result<Option<IpAddr>>, usize) {
        let mut pieces = Pieces { rest: bytes, sizes: sizes.iter().cycle() };
        let Poll::Ready(named) =
            std::pin::pin!(read_proxied(&mut pieces)).poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("nothing here is pending")
        };
        (named, pieces.rest.len())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, body].concat()
    }

    #[test]
    fn names_the_client_and_leaves_the_rest() {
        let ipv4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let with_tlv = [&ipv4[..], &[4, 0, 3, 0, 0, 0]].concat();
        let unix = [0; 216];
        for (header, named) in [
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n".to_vec(), Some("203.0.113.7")),
            (b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\n".to_vec(), Some("2001:db8::1")),
            (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 80\r\n".to_vec(), Some("203.0.113.7")),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(), Some("1.1.1.1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::ffff ffff::1 65535 65535\r\n".to_vec(), None),
            (v2(0x21, 0x11, &ipv4), Some("203.0.113.7")),
            (v2(0x21, 0x11, &with_tlv), Some("203.0.113.7")),
            (v2(0x20, 0x11, &ipv4), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x21, 0x00, &[1, 2, 3]), None),
            (v2(0x21, 0x31, &unix), None),
        ] {
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            for sizes in [&[usize::MAX][..], &[1], &[2, 5], &[14, 1, 1]] {
                let (read, rest) = read(&bytes, sizes);
                let read = read.unwrap().map(|address| address.to_string());
                assert_eq!((read.as_deref(), rest), (named, 18), "{header:?}");
            }
            for end in 0..header.len() {
                let (read, _) = read(&header[..end], &[usize::MAX]);
                assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{header:?} up to {end}");
            }
        }
    }

    #[test]
    fn refuses_what_is_none_without_waiting_for_more() {
        let ipv4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0\0\0",
            b"PROXYx TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
            b"PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n",
            b"PROXY TCP4 evil.example 2.2.2.2 1 2\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY TCP4\r\n    \r\n",
            long.as_bytes(),
            &v2(0x11, 0x11, &ipv4),
            &v2(0x22, 0x11, &ipv4),
            &v2(0x21, 0x12, &ipv4),
            &v2(0x21, 0x41, &ipv4),
            &v2(0x21, 0x21, &ipv4),
            &v2(0x21, 0x11, &[0; 5000]),
        ] {
            // What is behind it must not make it one.
            let bytes = [bytes, &[b'x'; 200]].concat();
            assert_eq!(read(&bytes, &[usize::MAX]).0.unwrap_err().kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_proxy_writes_is_read_whole_in_any_pieces(
            source: SocketAddr, port: u16, first: bool, tlv in prop::collection::vec(any::<u8>(), 0..300),
            sizes in prop::collection::vec(1_usize..40, 1..8), behind in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let to = SocketAddr::new(source.ip(), port);
            let tlvs = if first { vec![] } else { vec![Tlv::UniqueId((&tlv[..tlv.len().min(128)]).into())] };
            let header = ProxyHeader::with_tlvs(Some(ProxiedAddress::stream(source, to)), tlvs);
            let mut bytes = vec![0; 1024];
            let length = if first { header.encode_to_slice_v1(&mut bytes) } else { header.encode_to_slice_v2(&mut bytes) };
            bytes.truncate(length.unwrap());
            bytes.extend_from_slice(&behind);
            let (named, rest) = read(&bytes, &sizes);
            prop_assert_eq!((named.unwrap(), rest), (Some(source.ip().to_canonical()), behind.len()));
        }

        #[test]
        fn arbitrary_bytes_name_somebody_or_nobody_and_never_panic(
            start in 0_usize..3, rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = read(&[[&b""[..], V1, V2][start], &rest].concat(), &[7]);
        }
    }
}
