//! What the host is told of a request, as JSON text. Decides nothing about it.

use serde::Serialize;
use serde_json::Value;
use wse_crypto::token::{SUBPROTOCOL, TokenSource};
use wse_protocol::limits::MAX_HTTP_HEADERS;

use super::http::Upgrade;
use super::judge::Parked;
use crate::config::Auth;

/// A request, as the facade reads it (`ts/src/server/upgrade-request.ts`).
#[derive(Serialize)]
struct Asked<'a> {
    kind: &'static str,
    path: &'a str,
    query: &'a str,
    /// Names and values in their order, each byte of a value one character (RFC 9110 §5.5).
    headers: Vec<(&'a str, String)>,
    address: String,
    protocols: Vec<String>,
    user: Option<&'a str>,
    claims: Option<&'a Value>,
}

/// The members of the question about a request, without the braces around them.
pub(super) fn about(parked: &Parked, auth: Option<&Auth>) -> String {
    let Parked { upgrade, address, user, .. } = parked;
    let mut fields = [httparse::EMPTY_HEADER; MAX_HTTP_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    // It was parsed before: it is whole and well-formed.
    let _ = request.parse(&upgrade.head);
    let asked = Asked {
        kind: "upgrade",
        path: &upgrade.path,
        query: &upgrade.query,
        headers: request.headers.iter().map(|field| (field.name, latin1(field.value))).collect(),
        address: address.to_canonical().to_string(),
        protocols: offered(upgrade, auth).collect(),
        user: user.as_ref().map(|user| &*user.claims.sub),
        claims: user.as_ref().map(|user| &user.claims.raw),
    };
    // Strings and JSON values only: it cannot fail.
    let text = serde_json::to_string(&asked).unwrap_or_default();
    text[1..text.len() - 1].to_owned()
}

/// The subprotocols a client offers, without a token among them.
pub(super) fn offered(upgrade: &Upgrade, auth: Option<&Auth>) -> impl Iterator<Item = String> {
    let hides = auth.is_some_and(|auth| auth.sources.contains(&TokenSource::Subprotocol));
    let names = upgrade.protocols.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    names.filter(move |name| is_token(name) && !(hides && name.starts_with(SUBPROTOCOL))).map(latin1)
}

/// Whether it is a token of HTTP (RFC 9110 §5.6.2), as a subprotocol must be.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
