//! Close codes: the numbers, which of them may appear on the wire, and what each one means to a published client.
//! Owns no connection state and never decides when to close.

/// A WebSocket close status code (RFC 6455 §7.4 and the private range this protocol uses).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Normal closure. Published clients do not come back after it: never used for a kick or a restart.
    pub const NORMAL: Self = Self(1000);
    /// The peer broke RFC 6455.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A text message or a close reason was not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The peer did what no rule of the protocol forbids but the server does not accept.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// The message is larger than the server takes.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// The server failed while it served the connection.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The server stops or restarts: reconnect with backoff.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// A shared resource (the reassembly budget) is exhausted: try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// Leave this node and reconnect at once: drain, kick, slow consumer, zombie.
    pub const RECONNECT: Self = Self(4300);
    /// Authentication failed or expired. Terminal for published clients unless they can refresh the token.
    pub const UNAUTHORIZED: Self = Self(4401);

    /// Whether an endpoint may send this code in a Close frame (RFC 6455 §7.4.1 and §7.4.2, and the IANA
    /// registrations up to 1014): 1004, 1005, 1006 and 1015 exist only inside an API.
    pub const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// Longest reason that fits a Close frame, in bytes of UTF-8 (125 bytes of control payload minus the code).
pub const MAX_CLOSE_REASON: usize = 123;
