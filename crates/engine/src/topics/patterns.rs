//! One shard's pattern subscriptions, grouped by their literal ends: a topic is matched against the patterns whose ends it
//! has, not against all of them. Adding and removing never walk a group, however many patterns peers put into one.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use wse_protocol::topic::Pattern;

use super::ends::{Ends, Key};
use super::{Map, SlotSet, TopicEntry};

/// Patterns and their subscribers.
#[derive(Default)]
pub(super) struct Patterns {
    groups: IndexMap<Key, Vec<Known>, foldhash::fast::RandomState>,
    /// Lengths of the ends, prefix and suffix, and how many groups have ends of those lengths.
    lengths: BTreeMap<(usize, usize), usize>,
    /// Where in its group a pattern is, by the id of its entry.
    places: Map<u64, usize>,
}

struct Known {
    id: u64,
    pattern: Pattern,
    subscribers: SlotSet,
}

impl Patterns {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds a subscriber; false when it was one already.
    pub(super) fn add(&mut self, entry: &TopicEntry, slot: u32) -> bool {
        let ends = Ends::of(&entry.name);
        if let Some(place) = self.places.get(&entry.id) {
            let known = self.groups.get_mut(&ends).and_then(|group| group.get_mut(*place));
            return known.is_some_and(|known| known.subscribers.insert(slot));
        }
        // Patterns were checked when they were admitted; one that cannot be compiled matches nothing.
        let Ok(pattern) = Pattern::new(&entry.name) else { return false };
        let known = Known { id: entry.id, pattern, subscribers: SlotSet::from_iter([slot]) };
        let place = if let Some(group) = self.groups.get_mut(&ends) {
            group.push(known);
            group.len() - 1
        } else {
            self.groups.insert(ends.to_key(), vec![known]);
            *self.lengths.entry(ends.lengths()).or_default() += 1;
            0
        };
        self.places.insert(entry.id, place);
        true
    }

    /// Removes a subscriber; false when it was none.
    pub(super) fn remove(&mut self, entry: &TopicEntry, slot: u32) -> bool {
        let ends = Ends::of(&entry.name);
        let Self { groups, lengths, places } = self;
        let Some(&place) = places.get(&entry.id) else { return false };
        let Some(group) = groups.get_mut(&ends) else { return false };
        let Some(known) = group.get_mut(place) else { return false };
        let removed = known.subscribers.swap_remove(&slot);
        if known.subscribers.is_empty() {
            places.remove(&entry.id);
            group.swap_remove(place);
            if let Some(moved) = group.get(place) {
                places.insert(moved.id, place);
            }
            if group.is_empty() {
                groups.swap_remove(&ends);
                if let Some(count) = lengths.get_mut(&ends.lengths()) {
                    *count -= 1;
                    if *count == 0 {
                        lengths.remove(&ends.lengths());
                    }
                }
            }
        }
        removed
    }

    /// Whether `slot` is a subscriber of the pattern.
    pub(super) fn holds(&self, entry: &TopicEntry, slot: u32) -> bool {
        let Some(place) = self.places.get(&entry.id) else { return false };
        let known = self.groups.get(&Ends::of(&entry.name)).and_then(|group| group.get(*place));
        known.is_some_and(|known| known.subscribers.contains(&slot))
    }

    /// Calls `each` with the subscribers of every pattern that matches. Returns the work it was: groups looked for and patterns
    /// tried.
    pub(super) fn for_each_match(&self, topic: &str, mut each: impl FnMut(&SlotSet)) -> usize {
        let bytes = topic.as_bytes();
        let mut work = 0;
        for (prefix, suffix) in self.lengths.range(..=(bytes.len(), usize::MAX)).map(|(lengths, _)| *lengths) {
            if prefix + suffix > bytes.len() {
                continue;
            }
            let ends = Ends { prefix: &bytes[..prefix], suffix: &bytes[bytes.len() - suffix..] };
            let group = self.groups.get(&ends).map_or(&[][..], Vec::as_slice);
            work += 1 + group.len();
            for known in group.iter().filter(|known| known.pattern.matches(topic)) {
                each(&known.subscribers);
            }
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::pattern_work::PatternWork;
    use super::*;

    fn entries(names: impl Iterator<Item = String>) -> Vec<Arc<TopicEntry>> {
        names.zip(1..).map(|(name, id)| Arc::new(TopicEntry::new(id, &name, 1))).collect()
    }

    /// What matches `topic`, by the subscriber each pattern has to itself.
    fn matching(patterns: &Patterns, topic: &str) -> (Vec<u32>, usize) {
        let mut slots = Vec::new();
        let work = patterns.for_each_match(topic, |subscribers| slots.extend(subscribers));
        slots.sort_unstable();
        (slots, work)
    }

    /// Every pattern and topic of up to four characters of a small alphabet, added and removed in some order: the same as
    /// trying all.
    #[test]
    fn finds_what_trying_all_of_them_finds() {
        let words = |alphabet: &str, length: u32| -> Vec<String> {
            let letters: Vec<char> = alphabet.chars().collect();
            let word =
                |n: usize| (0..length).map(|place| letters[n / letters.len().pow(place) % letters.len()]).collect();
            (0..letters.len().pow(length)).map(word).collect()
        };
        let names = (1..=4).flat_map(|length| words("ab*?", length));
        let all = entries(names.filter(|name| name.contains(['*', '?'])));
        let topics: Vec<String> = (0..=5).flat_map(|length| words("ab", length)).collect();
        let mut patterns = Patterns::default();
        let mut held = vec![false; all.len()];
        for step in 0..3 * all.len() {
            let at = step * 7919 % all.len();
            let (entry, slot) = (&all[at], u32::try_from(at).unwrap());
            assert_eq!(patterns.holds(entry, slot), held[at]);
            if step % 3 == 2 {
                assert_eq!(patterns.remove(entry, slot), held[at], "{}", entry.name);
                held[at] = false;
            } else {
                assert_eq!(patterns.add(entry, slot), !held[at], "{}", entry.name);
                held[at] = true;
            }
            if step % 97 == 0 {
                for topic in &topics {
                    let tried =
                        (0..all.len()).filter(|&at| held[at] && Pattern::new(&all[at].name).unwrap().matches(topic));
                    let expected: Vec<u32> = tried.map(|at| u32::try_from(at).unwrap()).collect();
                    assert_eq!(matching(&patterns, topic).0, expected, "{topic}");
                }
            }
        }
        for (entry, slot) in all.iter().zip(0..) {
            patterns.remove(entry, slot);
        }
        assert!(patterns.is_empty() && patterns.groups.is_empty() && patterns.lengths.is_empty());
    }

    /// Patterns that begin with a wildcard are told apart by what they end with, those that begin alike too.
    #[test]
    fn a_topic_meets_only_patterns_with_its_ends() {
        let names = (0..30_000).map(|n| match n % 3 {
            0 => format!("*:{n}"),
            1 => format!("user:{n}:*"),
            _ => format!("user:*:{n}"),
        });
        let all = entries(names);
        let mut patterns = Patterns::default();
        assert!(all.iter().zip(0..).all(|(entry, slot)| patterns.add(entry, slot)));
        for (topic, slots) in
            [("x:3000", vec![3000]), ("user:4:5", vec![4, 5]), ("user:31:x", vec![31]), ("none", vec![])]
        {
            let (found, work) = matching(&patterns, topic);
            assert_eq!(found, slots, "{topic}");
            assert!(work < 50, "{topic}: {work} of 30,000");
        }
    }

    /// All in one group, and the first in is the first out: walks would be 2*10^10 steps, minutes. A second or two as it is,
    /// and some more where others need the processor.
    #[test]
    fn very_many_alike_come_and_go() {
        let all = entries((0..100_000).map(|n| format!("*{n}*")));
        let mut patterns = Patterns::default();
        let started = Instant::now();
        assert!(all.iter().all(|entry| patterns.add(entry, 1)));
        assert!(all.iter().all(|entry| !patterns.add(entry, 1) && patterns.add(entry, 2)), "once each");
        assert!(all.iter().all(|entry| patterns.remove(entry, 2) && patterns.remove(entry, 1)));
        assert!(patterns.is_empty());
        assert!(started.elapsed().as_secs() < 40, "{:?}", started.elapsed());
    }

    /// Ends of many lengths that one topic has all of: what it meets stays below what [`PatternWork`] promises.
    #[test]
    fn nested_ends_cost_at_most_what_is_counted() {
        let (mut work, mut patterns) = (PatternWork::default(), Patterns::default());
        let mut slot = 0;
        for prefix in 0..60 {
            for suffix in 0..60 {
                for middle in ["*", "*b*", "*?*", "?*"] {
                    let name = format!("{}{middle}{}", "a".repeat(prefix), "a".repeat(suffix));
                    if work.add(&name) {
                        let entry = TopicEntry::new(u64::from(slot) + 1, &name, 1);
                        assert!(patterns.add(&entry, slot));
                        slot += 1;
                    }
                }
            }
        }
        let done = patterns.for_each_match(&"a".repeat(200), |_| {});
        assert!(done > 10_000 && done <= 2 * work.total(), "{done} of {}", work.total());
    }
}
