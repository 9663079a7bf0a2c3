//! What may be kept of who is present.

use std::time::Duration;

/// Limits of presence.
#[derive(Debug, Clone, Copy)]
pub struct Presence {
    /// Bytes of a member's data, as JSON text.
    pub max_data: usize,
    /// Members of one topic; 0 = no limit.
    pub max_members: usize,
    /// How long a user whose last connection has ended is still there.
    pub grace: Duration,
}
