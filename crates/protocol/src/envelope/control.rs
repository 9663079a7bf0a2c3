//! The messages of a client that the engine itself reads (docs/protocol.md §7), known by their type.
//!
//! Never answers them and never looks at their payloads.

use crate::json::string_value;

/// A type of message that does not go to the application, or not always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Answered with a pong.
    Ping,
    /// The answer to the engine's own ping, in either spelling.
    Pong,
    /// Answered with a server_hello.
    ClientHello,
    /// The engine's only where topic lists decide who may subscribe.
    SubscriptionUpdate,
    /// The engine's only where it knows whom to ask for the state of topics.
    SyncRequest,
    /// The engine's only where it verifies tokens.
    AuthRefresh,
}

impl Control {
    /// Reads the raw value of `t`, quotes included. A spelling with escapes (`"p\u0069ng"`) is the same type.
    #[inline]
    pub fn of(raw_type: &[u8]) -> Option<Self> {
        Some(match raw_type {
            br#""ping""# => Self::Ping,
            br#""pong""# | br#""PONG""# => Self::Pong,
            br#""client_hello""# => Self::ClientHello,
            br#""subscription_update""# => Self::SubscriptionUpdate,
            br#""sync_request""# => Self::SyncRequest,
            br#""auth_refresh""# => Self::AuthRefresh,
            _ if raw_type.len() < SHORTEST_ESCAPED => return None,
            _ => return Self::of_long(raw_type),
        })
    }

    /// [`Control::of`] for what is long enough to be spelled with escapes. Apart, so that the short types cost nothing more.
    #[inline(never)]
    fn of_long(raw_type: &[u8]) -> Option<Self> {
        if raw_type.len() > LONGEST_ESCAPED || !raw_type.contains(&b'\\') {
            return None;
        }
        Some(match &*string_value(raw_type)? {
            "ping" => Self::Ping,
            "pong" | "PONG" => Self::Pong,
            "client_hello" => Self::ClientHello,
            "subscription_update" => Self::SubscriptionUpdate,
            "sync_request" => Self::SyncRequest,
            "auth_refresh" => Self::AuthRefresh,
            _ => return None,
        })
    }
}

/// `"p\u0069ng"`: no character of these types has an escape shorter than six bytes.
const SHORTEST_ESCAPED: usize = 11;
/// `subscription_update` with every character escaped, and the quotes.
const LONGEST_ESCAPED: usize = 2 + 6 * "subscription_update".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_type_is_that_type() {
        for (name, control) in [
            ("ping", Control::Ping),
            ("pong", Control::Pong),
            ("PONG", Control::Pong),
            ("client_hello", Control::ClientHello),
            ("subscription_update", Control::SubscriptionUpdate),
            ("sync_request", Control::SyncRequest),
            ("auth_refresh", Control::AuthRefresh),
        ] {
            assert_eq!(Control::of(format!("\"{name}\"").as_bytes()), Some(control));
            let escape = |byte: u8| format!("\\u{byte:04x}");
            let all: String = name.bytes().map(escape).collect();
            for all in [all.clone(), all.to_uppercase().replace("\\U", "\\u")] {
                assert_eq!(Control::of(format!("\"{all}\"").as_bytes()), Some(control), "{all}");
            }
            for at in 0..name.len() {
                let one = format!("\"{}{}{}\"", &name[..at], escape(name.as_bytes()[at]), &name[at + 1..]);
                assert_eq!(Control::of(one.as_bytes()), Some(control), "{one}");
            }
        }
    }

    #[test]
    fn other_types_are_the_applications() {
        for raw in [
            r#""Ping""#,
            r#""p\u0069nG""#,
            r#""p\\u0069ng""#,
            r#""\u0070\u0069ngs""#,
            r#""a longer type, of the application""#,
            r#""subscription_updat\ud800""#,
            "7",
            "null",
            r#"{"a":"p\u0069ng"}"#,
        ] {
            assert_eq!(Control::of(raw.as_bytes()), None, "{raw}");
        }
    }
}
