//! The two clocks of an engine: milliseconds since its start (timers) and wall time (tokens, `ts`). Nothing else in this
//! crate reads the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic milliseconds since the engine started. 32 bits last 49 days, so differences are taken with
/// [`Clock::since`], which survives the wrap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Now, in wrapping milliseconds.
    #[expect(clippy::cast_possible_truncation, reason = "wraps by design")]
    pub(crate) fn now(&self) -> u32 {
        self.start.elapsed().as_millis() as u32
    }

    /// Milliseconds from `then` to `now`; 0 when `then` lies ahead.
    pub(crate) const fn since(now: u32, then: u32) -> u32 {
        let delta = now.wrapping_sub(then);
        if delta > u32::MAX / 2 { 0 } else { delta }
    }

    /// Time since the start.
    pub(crate) fn uptime(&self) -> std::time::Duration {
        self.start.elapsed()
    }
}

/// Wall time in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads wall time")]
pub(crate) fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
