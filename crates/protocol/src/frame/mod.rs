//! RFC 6455 frames, both ways: header, mask, encoder, and the decoder that turns bytes into messages.
//! Owns bytes only. Never reads a socket, never looks at the clock, and never understands a payload.
//!
//! The decoder is ours, not tungstenite's, because of two measured costs (docs/design/codec.md):
//! a read buffer per connection and a copy per outgoing frame. `MessageSource` is the door it stands behind, and the tests
//! hold it against tungstenite.

mod decode;
mod encode;
mod header;
mod mask;
mod utf8;

pub use decode::{Decoder, MessageSink, MessageSource};
pub use encode::{close_payload, frame_size, push_close, push_frame, push_header, push_masked_frame};
pub use header::{Header, Opcode, frame_end, parse_header};
pub use mask::apply_mask;

use crate::close_code::CloseCode;

/// A breach of RFC 6455 or of a limit: the code to close with and a short reason for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The code the Close frame must carry.
    pub code: CloseCode,
    /// What was wrong, in words that fit a Close reason.
    pub reason: &'static str,
}

impl Violation {
    pub(crate) const fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::PROTOCOL_ERROR, reason }
    }
    pub(crate) const fn policy(reason: &'static str) -> Self {
        Self { code: CloseCode::POLICY_VIOLATION, reason }
    }
    pub(crate) const fn too_big() -> Self {
        Self { code: CloseCode::MESSAGE_TOO_BIG, reason: "message too big" }
    }
    pub(crate) const fn utf8(reason: &'static str) -> Self {
        Self { code: CloseCode::INVALID_PAYLOAD, reason }
    }
}
