//! One counter, with one writer or several. Knows nothing of what it counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter with one writer: adding is a plain load and store, no locked instruction on the hot path.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning thread may call it.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Moves a gauge by the change of one part of it. Only the owning thread may call it.
    #[inline]
    pub(crate) fn shift(&self, before: usize, after: usize) {
        // Saturating: a panic between two changes must not leave a gauge at 2^64.
        self.0.store((self.0.load(Relaxed) + after as u64).saturating_sub(before as u64), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Adds to a counter that several threads share.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
