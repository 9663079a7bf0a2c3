//! The HTTP side of the upgrade: a bounded read of the request head, what a WebSocket server must find in it (RFC 6455
//! §4.2.1), and the few responses it may get. Knows nothing of tokens.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wse_protocol::limits::{MAX_HTTP_HEAD, MAX_HTTP_HEADERS};

/// First read buffer: most requests fit.
const FIRST_READ: usize = 1024;

/// A response other than 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    BadRequest,
    Forbidden,
    NotFound,
    UpgradeRequired,
    UnsupportedVersion,
    HeadTooLarge,
    Unavailable,
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
            Self::NotFound => response!("404 Not Found", "", "There is no WebSocket endpoint at this path."),
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
        }
    }
}

/// What the engine needs of an upgrade request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// Value of `Sec-WebSocket-Accept`.
    pub(crate) accept: String,
    pub(crate) path: String,
    /// The query says `format=msgpack`.
    pub(crate) msgpack: bool,
    pub(crate) origin: Option<Vec<u8>>,
    /// All Cookie headers, joined with `; `.
    pub(crate) cookies: Vec<u8>,
    pub(crate) authorization: Option<Vec<u8>>,
}

/// Reads one request head. `Ok(Err(_))` is the refusal to answer; the second part of the success is what came behind the head.
pub(crate) async fn read_upgrade(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Result<(Upgrade, Vec<u8>), Refusal>> {
    let mut head = Vec::with_capacity(FIRST_READ);
    let mut searched = 0;
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Only new bytes are searched: a head that trickles in costs linear time (CVE-2023-43669).
        if let Some(end) = find_end(&head, searched) {
            if end > MAX_HTTP_HEAD {
                return Ok(Err(Refusal::HeadTooLarge));
            }
            let early = head.split_off(end);
            return Ok(parse(&head).map(|upgrade| (upgrade, early)));
        }
        if head.len() >= MAX_HTTP_HEAD {
            return Ok(Err(Refusal::HeadTooLarge));
        }
        searched = head.len().saturating_sub(3);
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
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Refusal::BadRequest),
    }
    let target = request.path.unwrap_or_default();
    let (mut upgrade, mut connection, mut version, mut key) = (false, false, None, Key::Missing);
    let (mut origin, mut authorization, mut cookies) = (None, None, Vec::new());
    for field in &*request.headers {
        let value = field.value;
        let name = field.name;
        if name.eq_ignore_ascii_case("upgrade") {
            upgrade |= has_token(value, b"websocket");
        } else if name.eq_ignore_ascii_case("connection") {
            connection |= has_token(value, b"upgrade");
        } else if name.eq_ignore_ascii_case("sec-websocket-version") {
            version = Some(value);
        } else if name.eq_ignore_ascii_case("sec-websocket-key") {
            key = if matches!(key, Key::Missing) { Key::One(value) } else { Key::Several };
        } else if name.eq_ignore_ascii_case("origin") {
            // A browser sends one. With several, whoever reads another one than we do would be deceived.
            if origin.replace(value.to_vec()).is_some() {
                return Err(Refusal::BadRequest);
            }
        } else if name.eq_ignore_ascii_case("authorization") {
            authorization = Some(value.to_vec());
        } else if name.eq_ignore_ascii_case("cookie") {
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value);
        }
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
    let Key::One(key) = key else { return Err(Refusal::BadRequest) };
    if !is_key(key) {
        return Err(Refusal::BadRequest);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Upgrade {
        accept: derive_accept_key(key),
        path: path.to_owned(),
        msgpack: query.split('&').any(|pair| pair == "format=msgpack"),
        origin,
        cookies,
        authorization,
    })
}

enum Key<'a> {
    Missing,
    One(&'a [u8]),
    Several,
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
pub(crate) fn accepted(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
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
            with("Host: x", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            Err(Refusal::BadRequest),
            "two keys"
        );
        assert_eq!(with("Host: x", "Origin: a\r\nOrigin: b"), Err(Refusal::BadRequest), "two origins");
        assert_eq!(with("GET ", "POST "), Err(Refusal::BadRequest));
        assert_eq!(with("HTTP/1.1", "HTTP/1.0"), Err(Refusal::BadRequest));
        assert_eq!(parse(b"\x16\x03\x01 nonsense\r\n\r\n"), Err(Refusal::BadRequest));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
        assert_eq!(parse(many.as_bytes()), Err(Refusal::HeadTooLarge));
    }

    #[test]
    fn bytes_that_are_not_text_never_panic() {
        let mut head = GOOD.replace("a=1\r\n", "\u{fe}\r\n").into_bytes();
        head.splice(60..60, *b"\r\nSec-WebSocket-Protocol: \xff\xfe, ,,  ;;\r\nOrigin: \xff");
        let _ = parse(&head);
    }
}
