//! The limits that are part of the protocol rather than of a configuration. Owns numbers only.

/// Longest control frame payload (RFC 6455 §5.5), bytes.
pub const MAX_CONTROL_PAYLOAD: usize = 125;
/// Most fragments one message may arrive in. Fragments are joined as they come, so this bounds work, not memory:
/// an honest sender of the largest default message (1 MiB) stays below it with 64-byte fragments.
pub const MAX_FRAGMENTS: u32 = 16_384;
/// Default for the largest inbound message, bytes. Clients accept no more than this either.
pub const DEFAULT_MAX_MESSAGE: usize = 1 << 20;
/// Default nesting depth of inbound JSON and msgpack.
pub const DEFAULT_MAX_DEPTH: u32 = 64;
/// Longest bytes of an HTTP upgrade request.
pub const MAX_HTTP_HEAD: usize = 16 * 1024;
/// Most HTTP header fields of an upgrade request.
pub const MAX_HTTP_HEADERS: usize = 64;
