//! Answers about the engine itself, over HTTP: whether it lives, whether it lets upgrades in, what it measures. Given by the shard
//! that got the request, which is what makes the first one true. Reads no request.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

use super::door::{Method, Question, Topic};
use super::host::is_loopback_host;
use crate::metrics::bump;
use crate::shared::Shared;

const TEXT: &str = "text/plain; charset=utf-8";
/// The type of the Prometheus text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole response to a question from `address`. `loopback`: the server is bound to a loopback address.
pub(super) fn answer(shared: &Shared, question: &Question, address: IpAddr, loopback: bool) -> Vec<u8> {
    bump(&shared.counters.questions);
    if !is_allowed(shared, question, address, loopback) {
        return response("403 Forbidden", "", TEXT, "This address is not allowed.\n", question.method);
    }
    if question.method == Method::Other {
        return response("405 Method Not Allowed", "Allow: GET, HEAD\r\n", TEXT, "GET or HEAD.\n", Method::Other);
    }
    let say = |status: &str, text: &str| response(status, "", TEXT, text, question.method);
    match question.topic {
        Topic::Health => say("200 OK", "ok\n"),
        Topic::Ready => match unready(shared) {
            None => say("200 OK", "ready\n"),
            Some(why) => say("503 Service Unavailable", why),
        },
        Topic::Metrics => match shared.exposition.get() {
            Some(write) => response("200 OK", "", EXPOSITION, &shared.scrape.text(|| write(shared)), question.method),
            None => say("404 Not Found", "There is nothing here.\n"),
        },
    }
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
    if loopback
        && config.allowed_origins.is_none()
        && question.host.as_ref().is_some_and(|host| !is_loopback_host(host))
    {
        return false;
    }
    let proxies = config.trusted_proxies.as_ref();
    let client = proxies.map_or(address, |proxies| proxies.client(address, &question.forwarded)).to_canonical();
    match config.http.as_ref().and_then(|http| http.allow.as_ref()) {
        Some(networks) => networks.iter().any(|network| network.contains(client)),
        None => question.topic != Topic::Metrics || client.is_loopback(),
    }
}

fn response(status: &str, fields: &str, kind: &str, body: &str, method: Method) -> Vec<u8> {
    let length = body.len();
    let body = if method == Method::Head { "" } else { body };
    format!(
        "HTTP/1.1 {status}\r\n{fields}Content-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
