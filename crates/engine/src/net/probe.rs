//! Answers about the engine itself, over HTTP: whether it lives, whether it lets upgrades in, what it measures. Given by the shard
//! that got the request, which is what makes the first one true; where the host got it, because it came behind others of its
//! connection, by the host. Reads no request.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::door::{Method, Question, Topic};
use super::host::is_loopback_host;
use crate::metrics::bump;
use crate::shared::Shared;

const TEXT: &str = "text/plain; charset=utf-8";
/// The type of the Prometheus text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A response about the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200, 403, 405 or 503.
    pub status: u16,
    /// Its Content-Type.
    pub kind: &'static str,
    /// Its body, which is not sent in answer to HEAD.
    pub body: Arc<str>,
}

/// The answer to a question from `address`, `None` if nobody knows it. `loopback`: only who asks for this machine by a name of its
/// own is answered.
pub(crate) fn reply(shared: &Shared, question: &Question, address: Option<IpAddr>, loopback: bool) -> Reply {
    bump(&shared.counters.questions);
    let say = |status, text: &str| Reply { status, kind: TEXT, body: text.into() };
    if !address.is_some_and(|address| is_allowed(shared, question, address, loopback)) {
        return say(403, "This address is not allowed.\n");
    }
    match (question.method, question.topic) {
        (Method::Other, _) => say(405, "GET or HEAD.\n"),
        (_, Topic::Health) => say(200, "ok\n"),
        (_, Topic::Ready) => unready(shared).map_or_else(|| say(200, "ready\n"), |why| say(503, why)),
        (_, Topic::Metrics) => {
            let write = || shared.exposition.get().map(|write| write(shared)).unwrap_or_default();
            Reply { status: 200, kind: EXPOSITION, body: shared.scrape.text(write) }
        }
    }
}

/// The whole response to a question.
pub(super) fn answer(shared: &Shared, question: &Question, address: IpAddr, loopback: bool) -> Vec<u8> {
    let Reply { status, kind, body } = reply(shared, question, Some(address), loopback);
    let line = match status {
        200 => "200 OK",
        403 => "403 Forbidden",
        405 => "405 Method Not Allowed\r\nAllow: GET, HEAD",
        _ => "503 Service Unavailable",
    };
    let length = body.len();
    let body = if question.method == Method::Head { "" } else { &*body };
    format!(
        "HTTP/1.1 {line}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Why upgrades are not let in.
fn unready(shared: &Shared) -> Option<&'static str> {
    if shared.draining.load(Relaxed) {
        Some("draining\n")
    } else if shared.is_full() {
        Some("full: maxConnections\n")
    } else if shared.inbound.all_over() {
        Some("events wait to be read: maxInboundQueueSize\n")
    } else {
        None
    }
}

fn is_allowed(shared: &Shared, question: &Question, address: IpAddr, loopback: bool) -> bool {
    let config = &shared.config;
    // As for upgrades: a page whose name was made to resolve to this machine sends its own name.
    let is_foreign = question.host.as_ref().is_some_and(|host| !is_loopback_host(host));
    if loopback && config.allowed_origins.is_none() && is_foreign {
        return false;
    }
    let proxies = config.trusted_proxies.as_ref();
    let said = &question.relay.said;
    match config.http.as_ref().and_then(|http| http.allow.as_ref()) {
        Some(networks) => {
            let client = proxies.map_or(address, |proxies| proxies.client(address, said)).to_canonical();
            networks.iter().any(|network| network.contains(client))
        }
        None if question.topic != Topic::Metrics => true,
        // A proxy of this machine connects as whoever works on it does: what it hands on for somebody else is not its own.
        None if is_foreign || question.relay.others => false,
        None if said.is_empty() => address.to_canonical().is_loopback(),
        None => proxies.and_then(|proxies| proxies.named(address, said)).is_some_and(|client| client.is_loopback()),
    }
}
