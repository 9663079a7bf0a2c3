//! The category `c` of a message and the rule that derives it from the type `t`.
//!
//! Never looks at payloads.

/// The category of a message, the member `c` of its envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// `WSE`: messages of the protocol itself.
    System,
    /// `S`: snapshots of state.
    Snapshot,
    /// `U`: updates, which is everything else.
    Update,
}

impl Category {
    /// The category of an outgoing message of type `message_type`.
    ///
    /// Snapshots are recognised first, so `snapshot_complete` is `S` although the protocol defines it.
    pub fn of(message_type: &str) -> Self {
        Self::of_bytes(message_type.as_bytes())
    }

    /// [`Category::of`] for the raw text between a JSON string's quotes; escapes are not decoded.
    pub(crate) fn of_bytes(message_type: &[u8]) -> Self {
        if message_type.starts_with(b"snapshot_") || contains_snapshot(message_type) {
            return Self::Snapshot;
        }
        match message_type {
            b"server_ready"
            | b"server_hello"
            | b"client_hello_ack"
            | b"connection_state_change"
            | b"subscription_update"
            | b"error"
            | b"pong"
            | b"PONG" => Self::System,
            _ => Self::Update,
        }
    }

    /// The text of the category on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "WSE",
            Self::Snapshot => "S",
            Self::Update => "U",
        }
    }
}

/// Underscores are rare in a type name, so looking for them is cheaper than setting up a substring search per publish.
fn contains_snapshot(text: &[u8]) -> bool {
    memchr::memchr_iter(b'_', text).any(|at| text[at..].starts_with(b"_snapshot"))
}

#[cfg(test)]
mod tests {
    use super::Category;

    #[test]
    fn rule() {
        for (message_type, expected) in [
            ("server_ready", "WSE"),
            ("server_hello", "WSE"),
            ("client_hello_ack", "WSE"),
            ("connection_state_change", "WSE"),
            ("subscription_update", "WSE"),
            ("error", "WSE"),
            ("pong", "WSE"),
            ("PONG", "WSE"),
            ("snapshot_complete", "S"),
            ("prices_snapshot", "S"),
            ("a__snapshot_b", "S"),
            ("snapshot_", "S"),
            ("snapshot", "U"),
            ("_snapsho", "U"),
            ("snapshots_", "U"),
            ("ping", "U"),
            ("PING", "U"),
            ("batch", "U"),
            ("presence_join", "U"),
            ("Error", "U"),
            ("", "U"),
        ] {
            assert_eq!(Category::of(message_type).as_str(), expected, "{message_type}");
        }
    }
}
