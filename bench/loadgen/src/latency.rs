//! Latencies of one row: nanoseconds in, percentiles in microseconds out. Owns no clock.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::report::rounded;

/// Longest latency told apart, in nanoseconds (one hour); what is longer counts as this.
const LONGEST: u64 = 3_600_000_000_000;

/// Latencies of constant relative width: three significant digits.
#[derive(Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    pub(crate) fn new() -> Self {
        let bounds = Histogram::new_with_bounds(1, LONGEST, 3);
        Self(bounds.expect("the bounds are constants the library takes"))
    }

    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// Nanoseconds at or below which the share `q` of all records lies; 0 when nothing was recorded.
    pub(crate) fn quantile(&self, q: f64) -> u64 {
        self.0.value_at_quantile(q)
    }

    /// Percentiles in microseconds; null where nothing was recorded, because nothing is no latency of zero.
    pub(crate) fn report(&self) -> Value {
        let us = |nanos: u64| if self.0.is_empty() { Value::Null } else { rounded(nanos as f64 / 1e3) };
        json!({
            "count": self.0.len(),
            "p50": us(self.quantile(0.50)),
            "p90": us(self.quantile(0.90)),
            "p99": us(self.quantile(0.99)),
            "p999": us(self.quantile(0.999)),
            "max": us(self.0.max()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_in_microseconds() {
        let mut latency = Latency::new();
        assert_eq!(latency.report()["p99"], Value::Null);
        (0..999).for_each(|_| latency.record(1_000));
        latency.record(u64::MAX);
        let report = latency.report();
        assert_eq!(report["count"], 1000);
        assert!((report["p99"].as_f64().unwrap() - 1.0).abs() < 0.01, "{report}");
        assert!(report["max"].as_f64().unwrap() >= 3.6e9, "an hour and more still counts: {report}");
    }
}
