//! Latency histogram: log-linear buckets (128 per power of two, so at most 0.8 % wide), nothing sampled away.

use crate::json::Obj;

const SUB_BITS: u32 = 7;
const SUB: usize = 1 << SUB_BITS;

/// Counts of nanosecond values in buckets of constant relative width.
#[derive(Debug)]
pub(crate) struct Hist {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Hist {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; (64 - SUB_BITS as usize + 1) * SUB], total: 0, max: 0 }
    }

    fn index(value: u64) -> usize {
        if value < SUB as u64 {
            return value as usize;
        }
        let octave = 63 - value.leading_zeros() - SUB_BITS;
        ((octave as usize + 1) << SUB_BITS) + ((value >> octave) as usize - SUB)
    }

    /// Largest value that falls into bucket `index`.
    fn upper(index: usize) -> u64 {
        if index < SUB {
            return index as u64;
        }
        let octave = (index >> SUB_BITS) - 1;
        let low = (SUB + (index & (SUB - 1))) as u64;
        (low << octave) + ((1_u64 << octave) - 1)
    }

    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[Self::index(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.max = 0;
    }

    /// Value below or at which the share `q` of all records lies; 0 when nothing was recorded.
    pub(crate) fn quantile(&self, q: f64) -> u64 {
        let rank = ((self.total as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Self::upper(index).min(self.max);
            }
        }
        self.max
    }

    /// Percentiles in microseconds.
    pub(crate) fn report(&self) -> Obj {
        let us = |nanos: u64| nanos as f64 / 1e3;
        Obj::new()
            .int("count", self.total)
            .num("p50", us(self.quantile(0.50)))
            .num("p90", us(self.quantile(0.90)))
            .num("p99", us(self.quantile(0.99)))
            .num("p999", us(self.quantile(0.999)))
            .num("max", us(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        let mut previous = 0;
        for index in 1..Hist::new().counts.len() {
            let upper = Hist::upper(index);
            assert!(upper > previous, "bucket {index} is not above its predecessor");
            assert_eq!(Hist::index(upper), index);
            assert_eq!(Hist::index(previous + 1), index);
            if previous > SUB as u64 {
                assert!(u128::from(upper - previous) * SUB as u128 <= u128::from(previous) + 1);
            }
            previous = upper;
        }
        assert_eq!(previous, u64::MAX);
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let mut hist = Hist::new();
        assert_eq!(hist.quantile(0.99), 0);
        for value in 1..=1_000_000_u64 {
            hist.record(value);
        }
        for (q, expected) in [(0.5, 500_000.0), (0.99, 990_000.0), (0.999, 999_000.0)] {
            let got = hist.quantile(q) as f64;
            assert!((got - expected).abs() / expected < 0.008, "q{q}: {got}");
        }
        assert_eq!(hist.quantile(1.0), 1_000_000);
        hist.clear();
        hist.record(u64::MAX);
        assert_eq!(hist.quantile(0.5), u64::MAX);
    }

    #[test]
    fn one_late_record_shows_in_the_tail_only() {
        let mut hist = Hist::new();
        (0..999).for_each(|_| hist.record(1_000));
        hist.record(50_000_000);
        assert!(hist.quantile(0.99) < 1_010);
        assert_eq!(hist.quantile(1.0), 50_000_000);
    }
}
