//! Why a topic is not subscribed, as one word.

/// Why a topic is not subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No valid name, or a pattern that is too long.
    InvalidName,
    /// The connection's ACL forbids it.
    NotAllowed,
    /// The connection holds as many subscriptions as it may.
    Subscriptions,
    /// The connection holds as many patterns as it may.
    Patterns,
    /// The engine has no room for another pattern of this kind, or no memory for another subscription.
    ServerLimit,
}

impl Refusal {
    /// As a client is told (docs/protocol.md, "Subscriptions").
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid_name",
            Self::NotAllowed => "not_allowed",
            Self::Subscriptions => "too_many_subscriptions",
            Self::Patterns => "too_many_patterns",
            Self::ServerLimit => "server_limit",
        }
    }
}
