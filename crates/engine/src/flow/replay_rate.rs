//! How fast is replayed: bytes per second, a second's worth at once. What is begun may run into debt, which is waited for. Owns no
//! clock.

/// A rate and what is left of it.
#[derive(Debug)]
pub(crate) struct ReplayRate {
    per_second: f64,
    left: f64,
    /// Milliseconds since the engine's start.
    refilled: u64,
}

impl ReplayRate {
    /// A full second's worth of `per_second` bytes.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) const fn new(per_second: u64, now: u64) -> Self {
        let per_second = per_second as f64;
        Self { per_second, left: per_second, refilled: now }
    }

    /// Whether something may be replayed at `now`, milliseconds since the start.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) fn allows(&mut self, now: u64) -> bool {
        let passed = now.saturating_sub(self.refilled) as f64 / 1000.0;
        self.left = (self.left + passed * self.per_second).min(self.per_second);
        self.refilled = now;
        self.left > 0.0
    }

    /// Notes that `bytes` are about to be.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.left -= bytes as f64;
    }

    /// Notes that `bytes` that were spent, or are about to be, were not replayed.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(crate) fn refund(&mut self, bytes: usize) {
        self.left += bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debt_is_waited_for_and_no_more_than_a_second_is_saved() {
        let mut rate = ReplayRate::new(1000, 0);
        assert!(rate.allows(0));
        rate.spend(3000);
        assert!(!rate.allows(1000) && !rate.allows(2000) && rate.allows(2001));
        assert!(rate.allows(100_000));
        rate.spend(1001);
        assert!(!rate.allows(100_000));
        rate.refund(1001);
        rate.spend(999);
        assert!(rate.allows(100_000));
        rate.refund(999_999);
        assert!(rate.allows(100_000));
        rate.spend(1001);
        assert!(!rate.allows(100_000), "no more than a second is saved so");
    }
}
