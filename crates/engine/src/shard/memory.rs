//! When the memory of a burst goes back to the system. Allocators keep what was freed for the next time; after a burst that
//! is over, the host is asked to have it given back. Knows no allocator.

use crate::clock::Millis;

/// Bytes that must have been let go for it to be worth while.
const WORTHWHILE: usize = 8 * 1024 * 1024;
/// They must not have been needed again for this long, milliseconds, or a load that comes in waves would pay for each.
const CALM_MS: u32 = 1000;

/// What a shard held, lately and at most.
pub(super) struct MemoryWatch {
    /// The most since memory was last given back.
    peak: usize,
    /// The most in the stretch of [`CALM_MS`] that began at `since`.
    recent: usize,
    since: Millis,
}

impl MemoryWatch {
    pub(super) fn new(now: Millis) -> Self {
        Self { peak: 0, recent: 0, since: now }
    }

    /// Notes how many bytes are held now.
    pub(super) fn note(&mut self, held: usize) {
        self.recent = self.recent.max(held);
        self.peak = self.peak.max(held);
    }

    /// Whether it is time to give memory back; `held` bytes are held now.
    pub(super) fn is_due(&mut self, held: usize, now: Millis) -> bool {
        self.note(held);
        if now.since(self.since) < CALM_MS {
            return false;
        }
        let settled = self.recent;
        (self.recent, self.since) = (held, now);
        let due = self.peak - settled >= WORTHWHILE;
        if due {
            self.peak = settled;
        }
        due
    }

    /// Whether it may become due without anything happening, while `held` bytes are held.
    pub(super) fn is_waiting(&self, held: usize) -> bool {
        self.peak.saturating_sub(held) >= WORTHWHILE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_that_is_over_is_given_back_once_and_waves_are_not() {
        let at = Millis::from_raw;
        let mut watch = MemoryWatch::new(at(0));
        // Small things never.
        for second in 1..10 {
            watch.note(WORTHWHILE - 1);
            assert!(!watch.is_due(0, at(second * 1000)) && !watch.is_waiting(0));
        }
        // Waves: each second needs it again.
        for second in 10..20 {
            watch.note(5 * WORTHWHILE);
            assert!(watch.is_waiting(0) && !watch.is_due(0, at(second * 1000)));
        }
        assert!(!watch.is_due(0, at(19_500)), "not a whole second yet");
        assert!(watch.is_due(0, at(20_000)));
        assert!(!watch.is_waiting(0) && !watch.is_due(0, at(30_000)), "once");
        // What stays stays.
        let held = 3 * WORTHWHILE;
        assert!(!watch.is_due(held, at(31_000)) && !watch.is_due(held, at(40_000)) && !watch.is_waiting(held));
    }
}
