//! Whose a first request is, where the engine is not alone on its port: an upgrade of its own, a question it answers itself, or
//! the host's. Reads bytes and decides; answers nothing.
//!
//! What is the host's goes to its parser as it came, malformed or not: two parsers that see the same bytes cannot be played off
//! against each other, and nothing is read of a request but its head.

use wse_protocol::limits::{MAX_HTTP_HEAD, MAX_HTTP_HEADERS};

use super::http::{self, Refusal, Request, Upgrade};
use crate::config::{Config, ForwardedField, Http};
use crate::mailbox::Incoming;
use crate::shared::Shared;

/// A method is not longer than this, for a first look.
const METHOD: usize = 16;

/// What a first request is.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one on the stack for each handshake: a box would cost every upgrade")]
pub(super) enum Errand {
    /// An upgrade of the engine's, or what the engine refuses.
    Upgrade(Request),
    /// The engine answers it.
    Question(Question),
    /// The host's, as it came.
    Host,
}

/// What the engine answers about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Health,
    Ready,
    Metrics,
}

/// A request the engine answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(super) topic: Topic,
    pub(super) method: Method,
    /// The Host field, if there is one.
    pub(super) host: Option<Vec<u8>>,
    pub(super) relay: Relay,
}

/// Fields by which a request shows that somebody has handed it on.
const RELAYED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// What a request's fields say of those who have handed it on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relay {
    /// The values of the field in which trusted proxies name the client, with `,` behind each; empty: there is none, or no proxy is
    /// trusted.
    pub said: Vec<u8>,
    /// There are others of `Forwarded`, `Via`, `X-Forwarded-For` and `X-Real-IP`.
    pub others: bool,
}

impl Question {
    /// The question of a request that somebody else has read, of which `line` is the beginning: method and target; `None`: it is
    /// none.
    pub(crate) fn read(config: &Config, line: &str, host: Option<&str>, relay: Relay) -> Option<Self> {
        let (method, path) = request_line(line.as_bytes());
        let topic = topic_of(config.http.as_ref()?, path)?;
        let host = host.map(|host| host.as_bytes().to_vec());
        Some(Self { topic, method: method.into(), host, relay })
    }
}

impl From<&[u8]> for Method {
    fn from(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            _ => Self::Other,
        }
    }
}

/// How something is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Other,
}

/// Looks at a first request as it comes in.
pub(super) struct Door<'a> {
    config: &'a Config,
    http: &'a Http,
    /// Bytes that were looked at: a head that trickles in costs linear time.
    seen: usize,
    /// The request line was among them.
    has_line: bool,
}

impl<'a> Door<'a> {
    /// `None`: the engine is alone on its port, or the socket came to it as an upgrade from the host, which would get it back.
    pub(super) fn at(shared: &'a Shared, incoming: &Incoming) -> Option<Self> {
        if incoming.handed.is_some() { None } else { Self::of(&shared.config) }
    }

    fn of(config: &'a Config) -> Option<Self> {
        config.http.as_ref().map(|http| Self { config, http, seen: 0, has_line: false })
    }

    /// What the request is that begins with these bytes, more of them in each call; `None`: nobody can say yet.
    pub(super) fn sort(&mut self, bytes: &[u8]) -> Option<Errand> {
        let from = std::mem::replace(&mut self.seen, bytes.len());
        for at in (from..bytes.len()).filter(|at| bytes[*at] == b'\n') {
            if at == 0 || bytes[at - 1] != b'\r' {
                // Some readers take it for the end of a line.
                return Some(self.no_upgrade(Refusal::BadRequest));
            }
            if at >= MAX_HTTP_HEAD {
                break;
            }
            if !std::mem::replace(&mut self.has_line, true) {
                let (method, path) = request_line(&bytes[..at - 1]);
                if self.http.hands_over && method != b"GET" && self.topic(path).is_none() {
                    return Some(Errand::Host);
                }
            } else if at >= 3 && bytes[at - 2] == b'\n' {
                let (head, early) = bytes.split_at(at + 1);
                return Some(self.whole(head, early));
            }
        }
        if bytes.len() >= MAX_HTTP_HEAD {
            return Some(self.no_upgrade(Refusal::HeadTooLarge));
        }
        // TLS, or anything else that is no HTTP, has no line to wait for.
        let method = bytes.iter().take(METHOD).take_while(|byte| **byte != b' ');
        let is_method = method.clone().all(|byte| byte.is_ascii_graphic() || b"\r\n".contains(byte));
        (self.http.hands_over && !is_method).then_some(Errand::Host)
    }

    /// What the request is whose head this is.
    fn whole(&self, head: &[u8], early: &[u8]) -> Errand {
        let line = head.iter().position(|byte| *byte == b'\r').unwrap_or_default();
        let (method, path) = request_line(&head[..line]);
        if let Some(topic) = self.topic(path)
            && let Some(question) = self.question(topic, method, head)
        {
            return Errand::Question(question);
        }
        match http::parse(head) {
            Ok(upgrade) if !self.http.hands_over || self.serves(&upgrade.path) => {
                let head = if self.config.ask_upgrade { head.to_vec() } else { Vec::new() };
                Errand::Upgrade(Ok((Upgrade { head, ..upgrade }, early.to_vec())))
            }
            Ok(_) => Errand::Host,
            Err(refusal) => self.no_upgrade(refusal),
        }
    }

    /// A request that is no upgrade: the host's, where there is one.
    fn no_upgrade(&self, refusal: Refusal) -> Errand {
        if self.http.hands_over { Errand::Host } else { Errand::Upgrade(Err(refusal)) }
    }

    fn serves(&self, path: &str) -> bool {
        self.config.endpoints.iter().any(|endpoint| endpoint.serves(path))
    }

    fn topic(&self, path: &[u8]) -> Option<Topic> {
        topic_of(self.http, path)
    }

    /// `None`: it is not well-formed.
    fn question(&self, topic: Topic, method: &[u8], head: &[u8]) -> Option<Question> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HTTP_HEADERS];
        let mut request = httparse::Request::new(&mut fields);
        if !matches!(request.parse(head), Ok(httparse::Status::Complete(end)) if end == head.len()) {
            return None;
        }
        let names = match self.config.trusted_proxies.as_ref().map(|proxies| proxies.field) {
            Some(ForwardedField::Forwarded) => "forwarded",
            Some(ForwardedField::XForwardedFor) => "x-forwarded-for",
            // What such a proxy has said is the socket's address already.
            Some(ForwardedField::ProxyProtocol) | None => "",
        };
        let mut question = Question { topic, method: method.into(), host: None, relay: Relay::default() };
        for field in &*request.headers {
            if field.name.eq_ignore_ascii_case("host") {
                question.host = Some(field.value.to_vec());
            } else if field.name.eq_ignore_ascii_case(names) {
                question.relay.said.extend_from_slice(field.value);
                question.relay.said.push(b',');
            } else if RELAYED.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
                question.relay.others = true;
            }
        }
        Some(question)
    }
}

/// What the request is of which these bytes have come, `known` of them before; `None`: that cannot be said yet. `keep`:
/// an upgrade's head itself is asked for.
pub(super) fn look(door: &mut Option<Door<'_>>, bytes: &[u8], known: usize, keep: bool) -> Option<Errand> {
    match door {
        None => http::request(bytes, known, keep).map(Errand::Upgrade),
        Some(door) => door.sort(bytes),
    }
}

/// Where others are served on the port too, accepting does not stop while the host reads no events: upgrades wait instead.
pub(super) fn must_wait(shared: &Shared, errand: &Errand) -> bool {
    matches!(errand, Errand::Upgrade(Ok(_))) && shared.config.http.is_some() && shared.inbound.all_over()
}

/// What is asked for at this path.
fn topic_of(http: &Http, path: &[u8]) -> Option<Topic> {
    let Http { health, ready, metrics, .. } = http;
    let is = |own: &Option<String>| own.as_ref().is_some_and(|own| own.as_bytes() == path);
    match () {
        () if is(health) => Some(Topic::Health),
        () if is(ready) => Some(Topic::Ready),
        () if is(metrics) => Some(Topic::Metrics),
        () => None,
    }
}

/// Method and path of a request line; the path without its query, empty where there is none.
fn request_line(line: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    (method, target.split(|byte| *byte == b'?').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoint;
    use crate::config::tests::config;

    const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn shared_port(hands_over: bool) -> Config {
        let own = |path: &str| Some(path.to_owned());
        let http = Http {
            health: own("/healthz"),
            ready: own("/readyz"),
            metrics: own("/metrics"),
            allow: None,
            hands_over,
            max_waiting: 10,
        };
        let endpoints = vec![Endpoint { path: own("/ws"), ..Endpoint::default() }];
        Config { http: Some(http), endpoints, ..config() }
    }

    /// The errand, which must be the same however the bytes come.
    #[track_caller]
    fn errand(config: &Config, request: &str) -> Option<Errand> {
        let bytes = request.as_bytes();
        let whole = Door::of(config).unwrap().sort(bytes);
        let mut door = Door::of(config).unwrap();
        let trickled = (1..=bytes.len()).find_map(|end| door.sort(&bytes[..end]));
        let kind = |errand: &Option<Errand>| match errand {
            Some(Errand::Upgrade(Ok(_))) => "upgrade".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(kind(&whole), kind(&trickled), "{request:?} byte by byte");
        whole
    }

    #[test]
    fn upgrades_of_ours_are_ours_and_all_else_is_the_hosts() {
        let config = shared_port(true);
        let behind = format!("{UPGRADE}early");
        let Some(Errand::Upgrade(Ok((upgrade, early)))) = Door::of(&config).unwrap().sort(behind.as_bytes()) else {
            panic!("no upgrade")
        };
        assert_eq!((upgrade.path.as_str(), early.as_slice()), ("/ws", &b"early"[..]));
        for host in [
            UPGRADE.replace("/ws", "/other").as_str(),
            UPGRADE.replace("Version: 13", "Version: 8").as_str(),
            UPGRADE.replace("Host: x\r\n", "Host: x\r\nTransfer-Encoding: chunked\r\n").as_str(),
            UPGRADE.replace("Upgrade: websocket\r\n", "").as_str(),
            UPGRADE.replace("\r\n\r\n", "\n\n").as_str(),
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.0\n",
            "POST /ws HTTP/1.1\r\n",
            "\r\nGET /ws HTTP/1.1\r\n",
            "PRI * HTTP/2.0\r\n",
            "\u{16}\u{3}\u{1}",
            "\n",
        ] {
            assert_eq!(errand(&config, host), Some(Errand::Host), "{host:?}");
        }
        for open in ["", "G", "GET /ws HTTP/1.1\r\nHost: x\r\n", "POST /ws HTTP/1.1\r", "GET /ws HTTP/1.1\r\n\r"] {
            assert_eq!(errand(&config, open), None, "{open:?}");
        }
    }

    #[test]
    fn a_head_is_waited_for_up_to_its_limit() {
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "a".repeat(MAX_HTTP_HEAD));
        for (hands_over, beyond) in [(true, Errand::Host), (false, Errand::Upgrade(Err(Refusal::HeadTooLarge)))] {
            let config = shared_port(hands_over);
            assert_eq!(errand(&config, &long[..MAX_HTTP_HEAD - 1]), None);
            assert_eq!(errand(&config, &long[..MAX_HTTP_HEAD]), Some(beyond));
        }
        let fits = format!("{}\r\n\r\n", &long[..MAX_HTTP_HEAD - 4]);
        assert_eq!(errand(&shared_port(true), &fits), Some(Errand::Host), "and as long as that it is read");
    }

    #[test]
    fn questions_are_known_by_their_path() {
        for hands_over in [true, false] {
            let config = shared_port(hands_over);
            for (request, topic, method) in [
                ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", Topic::Health, Method::Get),
                ("HEAD /readyz?verbose HTTP/1.0\r\n\r\n", Topic::Ready, Method::Head),
                ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", Topic::Metrics, Method::Other),
            ] {
                let Some(Errand::Question(question)) = errand(&config, request) else { panic!("{request}") };
                assert_eq!((question.topic, question.method), (topic, method), "{request}");
            }
            let Some(Errand::Question(question)) =
                errand(&config, "GET /healthz HTTP/1.1\r\nX-Forwarded-For: a\r\nHost: x\r\nx-forwarded-for: b\r\n\r\n")
            else {
                panic!("no question")
            };
            // No proxy is trusted.
            assert_eq!((question.host, question.relay), (Some(b"x".to_vec()), Relay { said: vec![], others: true }));
        }
        let config = shared_port(true);
        for other in ["GET /healthz/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET /healthz HTTP/1.1\r\nno field\r\n\r\n"] {
            assert_eq!(errand(&config, other), Some(Errand::Host), "{other}");
        }
    }

    #[test]
    fn without_a_host_the_rest_is_refused_as_ever() {
        let config = shared_port(false);
        for (request, refusal) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Refusal::UpgradeRequired),
            ("POST / HTTP/1.1\r\n\r\n", Refusal::BadRequest),
            ("GET / HTTP/1.1\n", Refusal::BadRequest),
        ] {
            assert_eq!(errand(&config, request), Some(Errand::Upgrade(Err(refusal))), "{request}");
        }
        // That there is no such path is said behind the other checks.
        assert!(matches!(errand(&config, &UPGRADE.replace("/ws", "/other")), Some(Errand::Upgrade(Ok(_)))));
        assert_eq!(errand(&config, "\u{16}\u{3}\u{1}"), None);
    }
}
