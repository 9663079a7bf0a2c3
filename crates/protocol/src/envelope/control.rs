//! The messages of a client that the engine itself reads (wire-protocol §7), known by their type.
//!
//! Never answers them and never looks at their payloads.

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
}

impl Control {
    /// Reads the raw value of `t`, quotes included. Spelled with escapes it is no control message, as for the scanner.
    #[inline]
    pub fn of(raw_type: &[u8]) -> Option<Self> {
        Some(match raw_type {
            br#""ping""# => Self::Ping,
            br#""pong""# | br#""PONG""# => Self::Pong,
            br#""client_hello""# => Self::ClientHello,
            br#""subscription_update""# => Self::SubscriptionUpdate,
            _ => return None,
        })
    }
}
