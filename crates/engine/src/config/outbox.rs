//! How many streams of messages out of clients' outboxes are remembered, and for how long.

use std::time::Duration;

/// Bounds of what is remembered so that nothing is taken twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbox {
    /// Streams, over all users; one more takes the place of the one used longest ago. At least 1.
    pub max_streams: usize,
    /// How long a stream is remembered after its last message.
    pub ttl: Duration,
}
