//! What is said of one member, and which of two sayings counts: a version is (counter, node), never a time of day. Knows no
//! topic and no connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use uuid::Uuid;

/// Which of two sayings about a member is the later one: the greater counter, between equal ones the greater node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    // The order of the members is the order of versions.
    counter: u64,
    node: u64,
}

/// Gives an engine's versions. The counter goes on from the greatest it has seen, whoever gave it (a Lamport clock).
#[derive(Debug)]
pub(crate) struct Versions {
    node: u64,
    counter: AtomicU64,
}

impl Versions {
    /// Those of a new node.
    pub(crate) fn new() -> Self {
        // The lower half of a UUIDv7: 62 random bits.
        Self { node: Uuid::now_v7().as_u64_pair().1, counter: AtomicU64::new(0) }
    }

    /// The next one. Taken under the lock of what it is about, so that it is greater than all that was said of it before.
    pub(crate) fn next(&self) -> Version {
        Version { counter: self.counter.fetch_add(1, Relaxed) + 1, node: self.node }
    }

    /// Another node has given this one: later ones are greater.
    #[cfg(test)]
    fn saw(&self, version: Version) {
        self.counter.fetch_max(version.counter, Relaxed);
    }
}

/// A member's data, and since which version it is that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) version: Version,
    /// JSON text of an object.
    pub(super) data: Arc<str>,
}

impl Record {
    /// Takes what was said last, here or elsewhere: of two records the one with the greater version stays, in whatever order and
    /// however often they come. True: that is the other one.
    pub(super) fn merge(&mut self, other: Self) -> bool {
        let later = other.version > self.version;
        if later {
            *self = other;
        }
        later
    }
}

/// Whether two texts are one and the same saying.
pub(super) fn same(one: &Arc<str>, other: &Arc<str>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(counter: u64, node: u64, data: &str) -> Record {
        Record { version: Version { counter, node }, data: data.into() }
    }

    #[test]
    fn the_counter_decides_and_between_equals_the_node() {
        let version = |counter, node| Version { counter, node };
        assert!(version(2, 1) > version(1, 9) && version(2, 2) > version(2, 1));
        assert_eq!(version(3, 3).cmp(&version(3, 3)), std::cmp::Ordering::Equal);
    }

    #[test]
    fn records_merge_to_the_same_in_any_order_and_however_often() {
        let all = [record(1, 9, "a"), record(2, 1, "b"), record(2, 7, "c"), record(2, 3, "d"), record(1, 2, "e")];
        // Every order of five, each record coming twice.
        for mut seed in 0..120_usize {
            let mut left: Vec<_> = all.iter().collect();
            let mut order = Vec::new();
            for size in (1..=left.len()).rev() {
                order.push(left.remove(seed % size));
                seed /= size;
            }
            let mut merged = order[0].clone();
            for next in order.iter().chain(&order) {
                merged.merge((*next).clone());
            }
            assert_eq!(merged, all[2], "{order:?}");
        }
        let mut merged = all[2].clone();
        assert!(!merged.merge(all[2].clone()) && !merged.merge(all[3].clone()));
    }

    #[test]
    fn a_version_is_greater_than_all_its_node_has_seen() {
        let (one, other) = (Versions::new(), Versions::new());
        assert_ne!(one.node, other.node);
        let mut last = one.next();
        for _ in 0..10 {
            for versions in [&other, &one] {
                versions.saw(last);
                let next = versions.next();
                assert!(next > last);
                last = next;
            }
        }
    }
}
