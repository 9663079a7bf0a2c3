//! The work all patterns of an engine can make of one publication: bounded when patterns are added, because whoever publishes
//! cannot help what others have subscribed. Counts only; what matches is `patterns`'.

use std::hash::BuildHasher;

use super::Map;
use super::ends::Ends;

/// Most work ([`PatternWork::total`]) the patterns of one engine may make; half a millisecond or so at this limit. Patterns
/// that end alike and begin alike (`*a*`, `*b*`) count one each; those that differ in their literal ends, as patterns for one
/// user or one room do, count next to nothing.
pub(crate) const MAX_PATTERN_WORK: usize = 16 * 1024;

/// What is counted.
#[derive(Default)]
pub(super) struct PatternWork {
    hasher: foldhash::fast::RandomState,
    /// Patterns with the same ends, by the hash of those: two that collide are counted as alike, which errs on the safe side.
    groups: Map<u64, usize>,
    /// Groups' patterns by the lengths of their ends.
    lengths: Map<(usize, usize), usize>,
    total: usize,
}

impl PatternWork {
    /// Pairs of lengths, plus the patterns that are not the only one of their group. A topic is looked up once per pair and
    /// meets at most one group each time, so it costs at most twice this.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Counts a pattern; false, and nothing is counted, when it would be too much.
    pub(super) fn add(&mut self, pattern: &str) -> bool {
        let ends = Ends::of(pattern);
        let group = self.hasher.hash_one(ends);
        let more =
            usize::from(self.groups.contains_key(&group)) + usize::from(!self.lengths.contains_key(&ends.lengths()));
        if self.total + more > MAX_PATTERN_WORK {
            return false;
        }
        self.total += more;
        *self.groups.entry(group).or_default() += 1;
        *self.lengths.entry(ends.lengths()).or_default() += 1;
        true
    }

    /// Takes back a pattern that was counted.
    pub(super) fn remove(&mut self, pattern: &str) {
        let ends = Ends::of(pattern);
        let group_stays = lessen(&mut self.groups, self.hasher.hash_one(ends));
        let lengths_stay = lessen(&mut self.lengths, ends.lengths());
        self.total -= usize::from(group_stays) + usize::from(!lengths_stay);
    }
}

/// Counts one less; whether any is left.
fn lessen<K: std::hash::Hash + Eq>(counts: &mut Map<K, usize>, key: K) -> bool {
    let Some(count) = counts.get_mut(&key) else { return false };
    *count -= 1;
    let left = *count > 0;
    if !left {
        counts.remove(&key);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_told_apart_by_their_ends_cost_next_to_nothing() {
        let mut work = PatternWork::default();
        for n in 0..50_000 {
            assert!(work.add(&format!("user:{n:05}:*")) && work.add(&format!("*:{n:05}")));
        }
        assert_eq!(work.total(), 2, "two pairs of lengths");
    }

    #[test]
    fn patterns_alike_are_limited_and_given_back() {
        let mut work = PatternWork::default();
        let names: Vec<String> = (0..20_000).map(|n| format!("*{n}*")).collect();
        let added = names.iter().filter(|name| work.add(name)).count();
        assert_eq!((added, work.total()), (MAX_PATTERN_WORK, MAX_PATTERN_WORK));
        assert!(!work.add("a*a"), "of new lengths");
        work.remove("*0*");
        assert!(work.add("user:1:*") && work.add("user:2:*"), "of known lengths it is free");
        work.remove("user:1:*");
        assert_eq!(work.total(), MAX_PATTERN_WORK);
        work.remove("user:2:*");
        names[1..MAX_PATTERN_WORK].iter().for_each(|name| work.remove(name));
        assert_eq!((work.total(), work.groups.len(), work.lengths.len()), (0, 0, 0));
    }
}
