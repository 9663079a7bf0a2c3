//! A fixed histogram of durations with one writer: powers of four from 1 µs to 67 s. Never allocates.

use std::time::Duration;

use super::counter::Counter;

/// Upper bounds in microseconds: 1, 4, 16, … 4^13 (67 s).
pub(super) const BOUNDS: usize = 14;

/// Counts of durations by upper bound, their sum and their number.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Counter; BOUNDS],
    sum_nanos: Counter,
    count: Counter,
}

/// A copy taken for a scrape; copies of several shards are added up.
#[derive(Debug, Default, Clone)]
pub(crate) struct Snapshot {
    pub(super) buckets: [u64; BOUNDS],
    pub(super) sum_nanos: u64,
    pub(super) count: u64,
}

impl Histogram {
    /// Records one duration.
    #[inline]
    pub(crate) fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let micros = nanos.div_ceil(1000).max(1);
        // ceil(log4): the first bound that is not below the value.
        let index = (u64::BITS - (micros - 1).leading_zeros()).div_ceil(2) as usize;
        if let Some(bucket) = self.buckets.get(index) {
            bucket.add(1);
        }
        self.sum_nanos.add(nanos);
        self.count.add(1);
    }

    /// Adds this histogram to `into`.
    pub(crate) fn add_to(&self, into: &mut Snapshot) {
        for (total, bucket) in into.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.get();
        }
        into.sum_nanos += self.sum_nanos.get();
        into.count += self.count.get();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_land_at_the_first_bound_not_below_them() {
        for (nanos, index) in
            [(0, 0), (1_000, 0), (1_001, 1), (4_000, 1), (4_001, 2), (16_000, 2), (67_000_000_000, 13)]
        {
            let histogram = Histogram::default();
            histogram.record(Duration::from_nanos(nanos));
            assert_eq!(histogram.buckets[index].get(), 1, "{nanos} ns");
        }
        let beyond = Histogram::default();
        beyond.record(Duration::from_secs(1000));
        let mut sum = Snapshot::default();
        beyond.add_to(&mut sum);
        assert_eq!((sum.buckets.iter().sum::<u64>(), sum.count), (0, 1));
    }
}
