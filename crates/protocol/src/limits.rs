//! The limits that are part of the protocol rather than of a configuration. Owns numbers only.

/// Longest bytes of an HTTP upgrade request.
pub const MAX_HTTP_HEAD: usize = 16 * 1024;
/// Most HTTP header fields of an upgrade request.
pub const MAX_HTTP_HEADERS: usize = 64;
/// Most fragments one message of at most `max_message` bytes may arrive in: one for each 16 bytes, never fewer than 16,384.
///
/// Fragments are joined as they come, so this bounds work, not memory. A message of up to 16 KiB may come byte by byte, one
/// of 1 MiB in 65,536 pieces, one of 4 MiB in the 64-byte pieces conformance suites use with room to spare.
pub const fn max_fragments(max_message: usize) -> usize {
    const FEWEST: usize = 16_384;
    let scaled = max_message / 16;
    if scaled > FEWEST { scaled } else { FEWEST }
}
