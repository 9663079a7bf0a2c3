//! The two clocks of an engine: milliseconds since its start (timers) and wall time (tokens, `ts`). Nothing else in this
//! crate reads the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment in milliseconds since the engine started. 32 bits last 49 days, so moments are compared by their difference,
/// which survives the wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Millis(u32);

impl Millis {
    /// The moment with this number, for tables that keep numbers.
    pub(crate) const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The number of the moment.
    pub(crate) const fn raw(self) -> u32 {
        self.0
    }

    /// The moment `ms` milliseconds later.
    pub(crate) const fn after(self, ms: u32) -> Self {
        Self(self.0.wrapping_add(ms))
    }

    /// The moment `ms` milliseconds earlier.
    pub(crate) const fn before(self, ms: u32) -> Self {
        Self(self.0.wrapping_sub(ms))
    }

    /// Milliseconds from `then` to this moment; 0 when `then` lies ahead.
    pub(crate) const fn since(self, then: Self) -> u32 {
        let delta = self.0.wrapping_sub(then.0);
        if delta > u32::MAX / 2 { 0 } else { delta }
    }

    /// Whether this moment is `due` or later.
    pub(crate) const fn has_reached(self, due: Self) -> bool {
        self.0.wrapping_sub(due.0) < u32::MAX / 2
    }

    /// The earlier of two moments.
    pub(crate) const fn earlier(self, other: Self) -> Self {
        if other.has_reached(self) { self } else { other }
    }
}

/// The monotonic clock of one engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Now.
    pub(crate) fn now(&self) -> Millis {
        self.at(Instant::now())
    }

    /// The moment of a time that was read before.
    #[expect(clippy::cast_possible_truncation, reason = "wraps by design")]
    pub(crate) fn at(&self, time: Instant) -> Millis {
        Millis(time.duration_since(self.start).as_millis() as u32)
    }

    /// Milliseconds since the start, for what outlives the wrap.
    #[expect(clippy::cast_possible_truncation, reason = "half a billion years")]
    pub(crate) fn elapsed_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Time since the start.
    pub(crate) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A duration of the configuration in milliseconds; those are below 2^31 (checked when it is read).
pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX / 2)
}

/// Wall time in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place that reads wall time")]
pub(crate) fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_compare_across_the_wrap() {
        let late = Millis::from_raw(u32::MAX - 5);
        let wrapped = late.after(10);
        assert_eq!((wrapped.raw(), wrapped.since(late), late.since(wrapped)), (4, 10, 0));
        assert!(wrapped.has_reached(late) && !late.has_reached(wrapped) && late.has_reached(late));
        assert_eq!((late.earlier(wrapped), wrapped.earlier(late), wrapped.before(10)), (late, late, late));
    }
}
