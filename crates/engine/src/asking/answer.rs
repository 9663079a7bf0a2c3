//! What the host answers: read from its JSON, held to bounds, and made into what a handshake or a shard needs. Decides about nobody.

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use tokio_tungstenite::tungstenite::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, UPGRADE,
};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use wse_protocol::topic::{Acl, MAX_PATTERN_BYTES, check_name, is_pattern};

use super::said::{self, States};

/// Bytes of a user's id.
const MAX_USER: usize = 1024;
/// Bytes of the JSON text a connection keeps for its host.
const MAX_DATA: usize = 64 * 1024;
/// Topics a connection begins with.
const MAX_TOPICS: usize = 1024;
/// Fields of a response.
const MAX_FIELDS: usize = 64;
/// Bytes of a response's fields, and of its body.
const MAX_BYTES: usize = 64 * 1024;

/// The answer to the question whether a client is let in.
pub(crate) enum Ruling {
    /// It is, on these terms.
    Admit(Box<Terms>),
    /// It gets this response, and that is all.
    Refuse(Vec<u8>),
    /// The host has failed to say.
    Failed,
    /// The host is not asked any more.
    Closed,
}

/// What the host says of a client it lets in.
#[derive(Default)]
pub(crate) struct Terms {
    /// Who it is, in place of whom its token names.
    pub(crate) user: Option<String>,
    /// JSON text that is kept for the host.
    pub(crate) data: Option<Box<str>>,
    /// The subprotocol to agree on.
    pub(crate) protocol: Option<Arc<str>>,
    /// What it may subscribe to, in place of what its token says. `Some(None)`: anything.
    pub(crate) acl: Option<Option<Arc<Acl>>>,
    /// What it is subscribed to from the beginning.
    pub(crate) topics: Vec<String>,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The question's number.
    pub number: u64,
    /// Where it is wrong: `topics[3]`.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
}

/// A text that is no list of answers.
#[derive(Debug, thiserror::Error)]
#[error("not a list of answers: {0}")]
pub struct AnswerError(#[from] serde_json::Error);

/// One answer, and what it comes to.
pub(super) struct Said {
    pub(super) number: u64,
    pub(super) judged: Judged,
}

pub(super) enum Judged {
    Ruling(Ruling),
    /// What is said of an open connection.
    Answer(said::Answer),
    /// The key that was asked for, if there is one.
    Key(Option<Vec<u8>>),
    Fault {
        path: String,
        reason: String,
    },
}

/// One answer as it crosses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    id: u64,
    #[serde(default)]
    failed: bool,
    /// Bytes, one character each; null: there is no such key.
    #[serde(default, deserialize_with = "present")]
    key: Option<Option<String>>,
    status: Option<u16>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
    user: Option<String>,
    data: Option<Box<str>>,
    protocol: Option<String>,
    acl: Option<Patterns>,
    #[serde(default)]
    topics: Vec<String>,
    /// What an open connection may not have: places in the question, and reasons.
    refused: Option<Vec<(usize, Option<Box<str>>)>>,
    /// What is told to an open connection.
    states: Option<States>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patterns {
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
}

/// A member that cannot be meant, and why.
type Wrong = (String, String);

/// Reads a JSON array of answers.
pub(super) fn parse(text: &str) -> Result<Vec<Said>, AnswerError> {
    let answers: Vec<Answer> = serde_json::from_str(text)?;
    let judge = |answer: Answer| {
        let number = answer.id;
        let judged = match answer.judge() {
            Ok(judged) => judged,
            Err((path, reason)) => Judged::Fault { path, reason },
        };
        Said { number, judged }
    };
    Ok(answers.into_iter().map(judge).collect())
}

impl Answer {
    fn judge(self) -> Result<Judged, Wrong> {
        if self.failed {
            return Ok(Judged::Ruling(Ruling::Failed));
        }
        if let Some(key) = self.key {
            let Some(text) = key else { return Ok(Judged::Key(None)) };
            let bytes: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(char).ok()).collect();
            return bytes.map(|bytes| Judged::Key(Some(bytes))).ok_or_else(|| ("key".into(), "must be bytes".into()));
        }
        if let Some(refused) = self.refused {
            return said::refused(refused).map(Judged::Answer);
        }
        if let Some(states) = self.states {
            return Ok(Judged::Answer(said::Answer::States(states)));
        }
        if let Some(status) = self.status {
            return refusal(status, &self.headers, self.body.as_deref().unwrap_or_default())
                .map(|response| Judged::Ruling(Ruling::Refuse(response)));
        }
        let Self { user, data, protocol, acl, topics, .. } = self;
        if user.as_ref().is_some_and(|user| user.is_empty() || user.len() > MAX_USER) {
            return wrong("user", format!("must have 1 to {MAX_USER} bytes"));
        }
        if let Some(size) = data.as_ref().map(|data| data.len()).filter(|size| *size > MAX_DATA) {
            return wrong("data", format!("must be at most {MAX_DATA} bytes of JSON, not {size}"));
        }
        let acl = match acl {
            None => None,
            Some(Patterns { allow, deny }) => {
                let acl = Acl::new(&allow, &deny).map_err(|error| ("acl".into(), error.to_string()))?;
                Some((!acl.is_unrestricted()).then(|| Arc::new(acl)))
            }
        };
        if topics.len() > MAX_TOPICS {
            return wrong("topics", format!("must be at most {MAX_TOPICS}, not {}", topics.len()));
        }
        for (index, topic) in topics.iter().enumerate() {
            if let Err(error) = check_name(topic) {
                return wrong(format!("topics[{index}]"), error.to_string());
            }
            if topic.len() > MAX_PATTERN_BYTES && is_pattern(topic) {
                return wrong(
                    format!("topics[{index}]"),
                    format!("a pattern must have at most {MAX_PATTERN_BYTES} bytes"),
                );
            }
        }
        let protocol = protocol.map(Arc::from);
        Ok(Judged::Ruling(Ruling::Admit(Box::new(Terms { user, data, protocol, acl, topics }))))
    }
}

/// A member that is there, be it null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn wrong<T>(path: impl Into<String>, reason: impl Into<String>) -> Result<T, Wrong> {
    Err((path.into(), reason.into()))
}

/// A whole response (RFC 9112 §4). Nothing a field may hold can end it: names are tokens, values have no line ends.
fn refusal(status: u16, headers: &[(String, String)], body: &str) -> Result<Vec<u8>, Wrong> {
    let status = StatusCode::from_u16(status).ok().filter(|status| (200..600).contains(&status.as_u16()));
    let Some(status) = status else { return wrong("status", "must be from 200 to 599") };
    if headers.len() > MAX_FIELDS {
        return wrong("headers", format!("must be at most {MAX_FIELDS} fields"));
    }
    if body.len() > MAX_BYTES {
        return wrong("body", format!("must have at most {MAX_BYTES} bytes"));
    }
    let mut fields = HeaderMap::with_capacity(headers.len() + 2);
    let mut size = 0;
    for (name, value) in headers {
        size += name.len() + value.len();
        let at = |reason: &str| (format!("headers.{}", name.escape_debug()), reason.to_owned());
        // A field's value is bytes: each character stands for one (RFC 9110 §5.5).
        let bytes: Option<Vec<u8>> = value.chars().map(|char| u8::try_from(char).ok()).collect();
        let value = bytes.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
        let value = value.ok_or_else(|| at("cannot be the value of a header field"))?;
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| at("cannot be the name of a header field"))?;
        if [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].contains(&field) {
            return Err(at("is the engine's to send"));
        }
        fields.append(field, value);
    }
    if size > MAX_BYTES {
        return wrong("headers", format!("must have at most {MAX_BYTES} bytes"));
    }
    if !body.is_empty() && !fields.contains_key(CONTENT_TYPE) {
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    let mut response = format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default());
    // RFC 9110 §8.6: a 204 has none, a 304 would speak of another response.
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodiless {
        response.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let mut response = response.into_bytes();
    for (name, value) in &fields {
        response.extend_from_slice(name.as_str().as_bytes());
        response.extend_from_slice(b": ");
        response.extend_from_slice(value.as_bytes());
        response.extend_from_slice(b"\r\n");
    }
    response.extend_from_slice(b"Connection: close\r\n\r\n");
    if !bodiless {
        response.extend_from_slice(body.as_bytes());
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Result<Ruling, (String, String)> {
        let said = parse(&format!("[{text}]")).unwrap().pop().unwrap();
        match said.judged {
            Judged::Ruling(ruling) => Ok(ruling),
            Judged::Fault { path, reason } => Err((path, reason)),
            Judged::Key(_) | Judged::Answer(_) => panic!("{text}"),
        }
    }

    fn fault(text: &str) -> String {
        judge(text).err().expect(text).0
    }

    fn response(text: &str) -> String {
        match judge(text) {
            Ok(Ruling::Refuse(bytes)) => String::from_utf8(bytes).unwrap(),
            _ => panic!("{text}"),
        }
    }

    #[test]
    fn a_refusal_is_one_response_and_nothing_else() {
        assert_eq!(
            response(r#"{"id":1,"status":403,"headers":[["X-A","b"],["x-a","c"]],"body":"né"}"#),
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nx-a: b\r\nx-a: c\r\ncontent-type: text/plain; charset=utf-8\r\n\
             Connection: close\r\n\r\nné"
        );
        assert_eq!(response(r#"{"id":1,"status":204,"body":"x"}"#).lines().next(), Some("HTTP/1.1 204 No Content"));
        assert!(response(r#"{"id":1,"status":599}"#).starts_with("HTTP/1.1 599 \r\nContent-Length: 0\r\n"));
        for (name, value) in [
            ("X-A", r"b\r\nSet-Cookie: a=b"),
            ("X-A", r"b\nc"),
            ("X-A", r"b\u0000"),
            ("X-A", "\u{20ac}"),
            ("X A", "b"),
            (r"X\r\nY", "b"),
            ("", "b"),
            ("Content-Length", "5"),
            ("transfer-encoding", "chunked"),
            ("CONNECTION", "upgrade"),
            ("Upgrade", "websocket"),
        ] {
            let text = format!(r#"{{"id":1,"status":403,"headers":[["{name}","{value}"]]}}"#);
            assert!(fault(&text).starts_with("headers."), "{name}: {value}");
        }
        for status in [0, 100, 101, 199, 600, 999, 65_535] {
            assert_eq!(fault(&format!(r#"{{"id":1,"status":{status}}}"#)), "status", "{status}");
        }
        let many = vec![r#"["a","b"]"#; MAX_FIELDS + 1].join(",");
        assert_eq!(fault(&format!(r#"{{"id":1,"status":403,"headers":[{many}]}}"#)), "headers");
        let long = "x".repeat(MAX_BYTES + 1);
        assert_eq!(fault(&format!(r#"{{"id":1,"status":403,"headers":[["a","{long}"]]}}"#)), "headers");
        assert_eq!(fault(&format!(r#"{{"id":1,"status":403,"body":"{long}"}}"#)), "body");
    }

    #[test]
    fn terms_are_held_to_bounds() {
        let long = |bytes: usize| "x".repeat(bytes);
        for (text, path) in [
            (r#""user":"""#.to_owned(), "user"),
            (format!(r#""user":"{}""#, long(MAX_USER + 1)), "user"),
            (format!(r#""data":"{}""#, long(MAX_DATA + 1)), "data"),
            (r#""topics":["a",""]"#.to_owned(), "topics[1]"),
            (r#""topics":["a\u0001"]"#.to_owned(), "topics[0]"),
            (format!(r#""topics":["{}*"]"#, long(MAX_PATTERN_BYTES)), "topics[0]"),
            (format!(r#""topics":[{}]"#, vec![r#""a""#; MAX_TOPICS + 1].join(",")), "topics"),
            (format!(r#""acl":{{"allow":["{}"]}}"#, long(70_000)), "acl"),
        ] {
            assert_eq!(fault(&format!(r#"{{"id":1,{text}}}"#)), path, "{}", &text[..text.len().min(60)]);
        }
        for wrong in ["", "{}", "[1]", r#"[{"user":"a"}]"#, r#"[{"id":1,"surprise":1}]"#, r#"[{"id":-1}]"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let Ok(Ruling::Admit(terms)) = judge(r#"{"id":7,"user":"ada","acl":{},"topics":["a.*"]}"#) else { panic!() };
        assert_eq!((terms.user.as_deref(), terms.topics.len()), (Some("ada"), 1));
        assert!(matches!(terms.acl, Some(None)), "an empty one allows everything");
    }
}
