//! The Prometheus text format. Written by hand because the published names and lines are fixed (docs/operations.md) and the
//! counters are owned by shards, which no registry crate can adopt.

use std::fmt::Write;

use super::histogram::Snapshot;

/// Builds one exposition, HELP and TYPE before each family.
#[derive(Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// A gauge; `value` is written as given.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, help, "gauge");
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// A counter.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, help, "counter");
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// A counter with one label.
    pub(crate) fn labelled<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.family(name, help, "counter");
        for (key, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{}\"}} {value}", escape(key));
        }
    }

    /// A histogram in seconds.
    pub(crate) fn histogram(&mut self, name: &str, help: &str, values: &Snapshot) {
        self.family(name, help, "histogram");
        let mut below = 0;
        let mut micros = 1.0;
        for bucket in values.buckets {
            below += bucket;
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{}\"}} {below}", micros / 1e6);
            micros *= 4.0;
        }
        let _ = writeln!(self.0, "{name}_bucket{{le=\"+Inf\"}} {}", values.count);
        #[expect(
            clippy::cast_precision_loss,
            reason = "exact for 104 days of waiting, then to the nanosecond's neighbour"
        )]
        let sum = values.sum_nanos as f64 / 1e9;
        let _ = writeln!(self.0, "{name}_sum {sum}");
        let _ = writeln!(self.0, "{name}_count {}", values.count);
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Exposition::default();
        text.labelled("wse_topic_messages_total", "h", "topic", [("a\\b\"c\nd", 3)]);
        assert!(text.finish().ends_with("wse_topic_messages_total{topic=\"a\\\\b\\\"c\\nd\"} 3\n"));
    }
}
