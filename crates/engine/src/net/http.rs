//! The HTTP side of the upgrade: a bounded read of the request head, what a WebSocket server must find in it (RFC 6455
//! §4.2.1), and the few responses it may get. Knows nothing of tokens.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wse_protocol::limits::{MAX_HTTP_HEAD, MAX_HTTP_HEADERS};

use super::host::is_host;

/// Bytes of a first read: most requests fit.
const FIRST_READ: usize = 1024;

/// A response other than 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    BadRequest,
    Forbidden,
    ForeignHost,
    NotFound,
    Unauthorized,
    NoSubprotocol,
    UpgradeRequired,
    UnsupportedVersion,
    HeadTooLarge,
    Unavailable,
    Failed,
}

impl Refusal {
    /// The whole response.
    pub(crate) const fn response(self) -> &'static str {
        macro_rules! response {
            ($status:literal, $headers:literal, $body:literal) => {
                concat!(
                    "HTTP/1.1 ",
                    $status,
                    "\r\n",
                    $headers,
                    "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n",
                    $body,
                    "\n"
                )
            };
        }
        match self {
            Self::BadRequest => response!("400 Bad Request", "", "This is not a valid WebSocket upgrade request."),
            Self::Forbidden => response!("403 Forbidden", "", "This origin is not allowed."),
            Self::ForeignHost => response!(
                "403 Forbidden",
                "",
                "A server bound to loopback is asked for as localhost, 127.0.0.1 or [::1]. Set allowedOrigins to serve other hosts."
            ),
            Self::NotFound => response!("404 Not Found", "", "There is no WebSocket endpoint at this path."),
            Self::Unauthorized => {
                response!("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", "This endpoint needs a valid token.")
            }
            Self::NoSubprotocol => {
                response!("400 Bad Request", "", "None of the subprotocols this endpoint speaks was offered.")
            }
            Self::UpgradeRequired => response!(
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "This is a WebSocket endpoint."
            ),
            Self::UnsupportedVersion => response!(
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "Only WebSocket version 13 is supported."
            ),
            Self::HeadTooLarge => {
                response!("431 Request Header Fields Too Large", "", "The request head is over 16 KiB or 64 fields.")
            }
            Self::Unavailable => {
                response!("503 Service Unavailable", "Retry-After: 5\r\n", "The server is full or leaving.")
            }
            Self::Failed => {
                response!("500 Internal Server Error", "", "The server could not decide about this request.")
            }
        }
    }
}

/// What the engine needs of an upgrade request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// Value of `Sec-WebSocket-Accept`.
    pub(crate) accept: String,
    /// Path of the target, without its query.
    pub(crate) path: String,
    /// The host and, where given, the port the client means: of an absolute target, else of the Host field. Well-formed, and
    /// empty when the client says so.
    pub(crate) host: Vec<u8>,
    /// The query, without its `?`.
    pub(crate) query: String,
    /// The query says `format=msgpack`.
    pub(crate) msgpack: bool,
    /// All Sec-WebSocket-Protocol headers, joined with `,`.
    pub(crate) protocols: Vec<u8>,
    pub(crate) origin: Option<Vec<u8>>,
    /// All Cookie headers, joined with `; `.
    pub(crate) cookies: Vec<u8>,
    pub(crate) authorization: Option<Vec<u8>>,
    /// All X-Forwarded-For headers, joined with `,`.
    pub(crate) x_forwarded_for: Vec<u8>,
    /// All Forwarded headers, joined with `,`.
    pub(crate) forwarded: Vec<u8>,
    /// The whole head, where it is asked for.
    pub(crate) head: Vec<u8>,
}

/// A request that was read, and what came behind its head; or the refusal to answer.
pub(super) type Request = Result<(Upgrade, Vec<u8>), Refusal>;

/// Reads into `head` until `look` finds what it looks for; it is given all bytes and how many of them it has seen before, none at
/// first.
pub(super) async fn read_until<T>(
    stream: &mut (impl AsyncRead + Unpin),
    head: &mut Vec<u8>,
    mut look: impl FnMut(&[u8], usize) -> Option<T>,
) -> io::Result<T> {
    let mut known = 0;
    loop {
        if let Some(found) = look(head, known) {
            return Ok(found);
        }
        known = head.len();
        head.reserve(FIRST_READ);
        if stream.read_buf(head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The request in `bytes`; `None` while its head may still become one. Only what is behind the first `known` bytes is searched: a
/// head that trickles in costs linear time (CVE-2023-43669). `keep`: the head itself is asked for.
pub(super) fn request(bytes: &[u8], known: usize, keep: bool) -> Option<Request> {
    match find_end(bytes, known.saturating_sub(3)) {
        Some(end) if end <= MAX_HTTP_HEAD => {
            let (head, early) = bytes.split_at(end);
            Some(parse(head).map(|upgrade| {
                let head = if keep { head.to_vec() } else { Vec::new() };
                (Upgrade { head, ..upgrade }, early.to_vec())
            }))
        }
        None if bytes.len() < MAX_HTTP_HEAD => None,
        _ => Some(Err(Refusal::HeadTooLarge)),
    }
}

fn find_end(head: &[u8], from: usize) -> Option<usize> {
    head[from..].windows(4).position(|window| window == b"\r\n\r\n").map(|at| from + at + 4)
}

/// Parses a whole head.
pub(crate) fn parse(head: &[u8]) -> Result<Upgrade, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HTTP_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        // Where the parser sees the end before we do (LF LF), what stands between would be read by others and not by us.
        Ok(httparse::Status::Complete(end)) if end == head.len() && !has_bare_lf(head) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Ok(_) | Err(_) => return Err(Refusal::BadRequest),
    }
    let (mut upgrade, mut connection) = (false, false);
    let (mut version, mut key, mut host) = (None, None, None);
    let (mut origin, mut authorization) = (None, None);
    let (mut cookies, mut protocols) = (Vec::new(), Vec::new());
    let (mut x_forwarded_for, mut forwarded) = (Vec::new(), Vec::new());
    // Whoever reads another one of several than we do would be deceived.
    fn once<'a>(place: &mut Option<&'a [u8]>, value: &'a [u8]) -> Result<(), Refusal> {
        if place.replace(value).is_some() { Err(Refusal::BadRequest) } else { Ok(()) }
    }
    for field in &*request.headers {
        let value = field.value;
        let name = field.name;
        if name.eq_ignore_ascii_case("upgrade") {
            upgrade |= has_token(value, b"websocket");
        } else if name.eq_ignore_ascii_case("connection") {
            connection |= has_token(value, b"upgrade");
        } else if name.eq_ignore_ascii_case("sec-websocket-version") {
            once(&mut version, value)?;
        } else if name.eq_ignore_ascii_case("sec-websocket-key") {
            once(&mut key, value)?;
        } else if name.eq_ignore_ascii_case("host") {
            once(&mut host, value)?;
        } else if name.eq_ignore_ascii_case("origin") {
            once(&mut origin, value)?;
        } else if name.eq_ignore_ascii_case("authorization") {
            once(&mut authorization, value)?;
        } else if name.eq_ignore_ascii_case("transfer-encoding")
            || (name.eq_ignore_ascii_case("content-length") && value != b"0")
        {
            // What we would take for frames, somebody between may take for the body, or the other way round.
            return Err(Refusal::BadRequest);
        } else if name.eq_ignore_ascii_case("cookie") {
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value);
        } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
            protocols.extend_from_slice(value);
            protocols.push(b',');
        } else if name.eq_ignore_ascii_case("x-forwarded-for") {
            x_forwarded_for.extend_from_slice(value);
            x_forwarded_for.push(b',');
        } else if name.eq_ignore_ascii_case("forwarded") {
            forwarded.extend_from_slice(value);
            forwarded.push(b',');
        }
    }
    // RFC 9112 §3.2: a request of HTTP/1.1 names its host, once.
    if request.version == Some(1) && !host.is_some_and(is_host) {
        return Err(Refusal::BadRequest);
    }
    if !upgrade || !connection {
        return Err(Refusal::UpgradeRequired);
    }
    if request.method != Some("GET") || request.version != Some(1) {
        return Err(Refusal::BadRequest);
    }
    if version != Some(b"13") {
        return Err(if version.is_some() { Refusal::UnsupportedVersion } else { Refusal::BadRequest });
    }
    let key = key.filter(|key| is_key(key)).ok_or(Refusal::BadRequest)?;
    let target = split_target(request.path.unwrap_or_default()).ok_or(Refusal::BadRequest)?;
    let (path, query) = target.resource.split_once('?').unwrap_or((target.resource, ""));
    Ok(Upgrade {
        accept: derive_accept_key(key),
        path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        host: target.authority.map(str::as_bytes).or(host).unwrap_or_default().to_vec(),
        query: query.into(),
        msgpack: query.split('&').any(|pair| pair == "format=msgpack"),
        protocols,
        origin: origin.map(<[u8]>::to_vec),
        cookies,
        authorization: authorization.map(<[u8]>::to_vec),
        x_forwarded_for,
        forwarded,
        head: Vec::new(),
    })
}

/// A request target in its parts.
struct Target<'a> {
    /// Host and port of the absolute form.
    authority: Option<&'a str>,
    /// Path and query; the path may be empty in the absolute form.
    resource: &'a str,
}

/// Takes the origin form (`/path?query`) and the absolute form (`http://host/path?query`), which RFC 9112 §3.2.2 asks servers
/// to accept and whose host counts more than the Host field. `None` for every other target.
fn split_target(target: &str) -> Option<Target<'_>> {
    if target.starts_with('/') {
        return Some(Target { authority: None, resource: target });
    }
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let (authority, resource) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let named = !authority.is_empty() && is_host(authority.as_bytes());
    named.then_some(Target { authority: Some(authority), resource })
}

/// Whether a line ends in LF without CR. The parser would take it, others may not.
fn has_bare_lf(head: &[u8]) -> bool {
    // Without a branch for each byte, so that the compiler compares many at once.
    let bare = |found, (before, byte): (&u8, &u8)| found | ((*byte == b'\n') & (*before != b'\r'));
    head.first() == Some(&b'\n') || head.iter().zip(head.iter().skip(1)).fold(false, bare)
}

/// 16 bytes in Base64: 22 characters and two `=` (RFC 6455 §4.1).
fn is_key(key: &[u8]) -> bool {
    matches!(key, [body @ .., b'=', b'='] if body.len() == 22
        && body.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')))
}

/// Whether a comma list holds `token`, ignoring case.
fn has_token(value: &[u8], token: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

/// The 101 response.
pub(crate) fn accepted(accept: &str, subprotocol: Option<&str>) -> String {
    let (field, name) = subprotocol.map_or(("", ""), |name| ("\r\nSec-WebSocket-Protocol: ", name));
    let status =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    [status, accept, field, name, "\r\n\r\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /wse?a=1&format=msgpack HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n";

    fn with(from: &str, to: &str) -> Result<Upgrade, Refusal> {
        assert!(GOOD.contains(from));
        parse(GOOD.replace(from, to).as_bytes())
    }

    #[test]
    fn reads_what_it_needs() {
        let upgrade = parse(GOOD.as_bytes()).unwrap();
        // The sample of RFC 6455 §1.3.
        assert_eq!(upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((upgrade.path.as_str(), upgrade.msgpack), ("/wse", true));
        assert_eq!(upgrade.cookies, b"a=1; b=2");
        assert!(!with("format=msgpack", "xformat=msgpack").unwrap().msgpack);
    }

    #[test]
    fn refuses_with_the_right_status() {
        assert_eq!(with("Upgrade: WebSocket\r\n", ""), Err(Refusal::UpgradeRequired));
        assert_eq!(with("keep-alive, Upgrade", "keep-alive"), Err(Refusal::UpgradeRequired));
        assert_eq!(with("Version: 13", "Version: 8"), Err(Refusal::UnsupportedVersion));
        assert_eq!(with("Sec-WebSocket-Version: 13\r\n", ""), Err(Refusal::BadRequest));
        assert_eq!(with("dGhlIHNhbXBsZSBub25jZQ==", "short=="), Err(Refusal::BadRequest));
        assert_eq!(with("Sec-WebSocket-Key", "X-Key"), Err(Refusal::BadRequest));
        assert_eq!(
            with("Cookie: b=2", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            Err(Refusal::BadRequest),
            "two keys"
        );
        assert_eq!(with("Cookie: b=2", "Origin: a\r\nOrigin: b"), Err(Refusal::BadRequest), "two origins");
        assert_eq!(with("GET ", "POST "), Err(Refusal::BadRequest));
        assert_eq!(with("HTTP/1.1", "HTTP/1.0"), Err(Refusal::BadRequest));
        assert_eq!(parse(b"\x16\x03\x01 nonsense\r\n\r\n"), Err(Refusal::BadRequest));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
        assert_eq!(parse(many.as_bytes()), Err(Refusal::HeadTooLarge));
    }

    #[test]
    fn a_field_that_decides_comes_once() {
        for (field, status) in [
            ("Host: y", Refusal::BadRequest),
            ("Sec-WebSocket-Version: 13", Refusal::BadRequest),
            ("Sec-WebSocket-Version: 8", Refusal::BadRequest),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", Refusal::BadRequest),
            ("Authorization: Bearer a\r\nAuthorization: Bearer b", Refusal::BadRequest),
            ("authorization: a\r\nAUTHORIZATION: a", Refusal::BadRequest),
        ] {
            assert_eq!(with("Cookie: b=2", field), Err(status), "{field}");
        }
        assert_eq!(with("Version: 13", "Version: 8, 13"), Err(Refusal::UnsupportedVersion));
        assert_eq!(with("Version: 13", "Version: 013"), Err(Refusal::UnsupportedVersion));
        assert_eq!(with("Cookie: b=2", "Authorization: Bearer a").unwrap().authorization.unwrap(), b"Bearer a");
    }

    #[test]
    fn a_body_is_refused() {
        for field in ["Content-Length: 5", "Content-Length: 0, 5", "Content-Length: +0", "Transfer-Encoding: chunked"] {
            assert_eq!(with("Cookie: b=2", field), Err(Refusal::BadRequest), "{field}");
        }
        assert!(with("Cookie: b=2", "Content-Length: 0").is_ok(), "no body, said twice");
    }

    #[test]
    fn the_head_ends_where_others_see_its_end() {
        // The parser ends at LF LF; an Origin behind it would be checked by a proxy and not by us.
        let smuggled = GOOD.replace("Cookie: b=2\r\n\r\n", "Cookie: b=2\n\nOrigin: http://evil.example\r\n\r\n");
        assert_eq!(parse(smuggled.as_bytes()), Err(Refusal::BadRequest));
        assert_eq!(parse(GOOD.replace("\r\n", "\n").replace("\n\n", "\r\n\r\n").as_bytes()), Err(Refusal::BadRequest));
        assert_eq!(with("Cookie: a=1\r\n", "Cookie: a=1\n"), Err(Refusal::BadRequest));
    }

    #[test]
    fn the_host_is_named_once_and_well_formed() {
        assert_eq!(parse(GOOD.as_bytes()).unwrap().host, b"x");
        assert_eq!(with("Host: x\r\n", ""), Err(Refusal::BadRequest));
        assert_eq!(parse(b"GET / HTTP/1.1\r\n\r\n"), Err(Refusal::BadRequest), "also of a plain request");
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), Err(Refusal::UpgradeRequired));
        for host in ["a b", "a, b", "user@a", "a/b", "a?b", "\u{e4}"] {
            assert_eq!(with("Host: x", &format!("Host: {host}")), Err(Refusal::BadRequest), "{host}");
        }
        for host in ["", "a.example:8080", "[::1]:80", "127.0.0.1", "xn--4ca_b"] {
            assert_eq!(with("Host: x", &format!("Host: {host}")).unwrap().host, host.as_bytes(), "{host}");
        }
    }

    #[test]
    fn a_target_may_be_absolute() {
        let target = |target: &str| with("/wse?a=1&format=msgpack", target);
        for (absolute, path, host, msgpack) in [
            ("http://a.example/wse?format=msgpack", "/wse", "a.example", true),
            ("ws://a.example:80/wse/x", "/wse/x", "a.example:80", false),
            ("WSS://[::1]:443", "/", "[::1]:443", false),
            ("https://a.example?format=msgpack", "/", "a.example", true),
            ("/http://b.example/", "/http://b.example/", "x", false),
        ] {
            let upgrade = target(absolute).unwrap();
            let seen = (upgrade.path.as_str(), upgrade.host.as_slice(), upgrade.msgpack);
            assert_eq!(seen, (path, host.as_bytes(), msgpack), "{absolute}");
        }
        for other in ["*", "a.example:80", "ftp://a/", "http:///wse", "http://user@a/", "wse"] {
            assert_eq!(target(other), Err(Refusal::BadRequest), "{other}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_never_panic() {
        let mut head = GOOD.replace("a=1\r\n", "\u{fe}\r\n").into_bytes();
        head.splice(60..60, *b"\r\nSec-WebSocket-Protocol: \xff\xfe, ,,  ;;\r\nOrigin: \xff");
        let _ = parse(&head);
    }
}
