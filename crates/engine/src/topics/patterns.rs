//! One shard's pattern subscriptions, found by the literal text before their first wildcard: a topic is matched against the
//! patterns that can match it, not against all of them.

use std::collections::BTreeMap;

use wse_protocol::topic::Pattern;

use super::{Map, SlotSet, TopicEntry};

/// Patterns and their subscribers.
#[derive(Default)]
pub(super) struct Patterns {
    /// By literal prefix.
    by_prefix: Map<Box<[u8]>, Vec<Known>>,
    /// Lengths of the prefixes, and how many patterns have one of that length.
    lengths: BTreeMap<usize, usize>,
}

struct Known {
    id: u64,
    pattern: Pattern,
    subscribers: SlotSet,
}

impl Patterns {
    pub(crate) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Adds a subscriber; false when it was one already.
    pub(crate) fn add(&mut self, entry: &TopicEntry, slot: u32) -> bool {
        let prefix = prefix(&entry.name);
        if let Some(group) = self.by_prefix.get_mut(prefix)
            && let Some(known) = group.iter_mut().find(|known| known.id == entry.id)
        {
            return known.subscribers.insert(slot);
        }
        // Patterns were checked when they were admitted; one that cannot be compiled matches nothing.
        let Ok(pattern) = Pattern::new(&entry.name) else { return false };
        let known = Known { id: entry.id, pattern, subscribers: SlotSet::from_iter([slot]) };
        self.by_prefix.entry(prefix.into()).or_default().push(known);
        *self.lengths.entry(prefix.len()).or_default() += 1;
        true
    }

    /// Removes a subscriber; false when it was none.
    pub(super) fn remove(&mut self, entry: &TopicEntry, slot: u32) -> bool {
        let prefix = prefix(&entry.name);
        let Some(group) = self.by_prefix.get_mut(prefix) else { return false };
        let Some(at) = group.iter().position(|known| known.id == entry.id) else { return false };
        let removed = group[at].subscribers.swap_remove(&slot);
        if group[at].subscribers.is_empty() {
            group.swap_remove(at);
            if group.is_empty() {
                self.by_prefix.remove(prefix);
            }
            if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix.len());
                }
            }
        }
        removed
    }

    /// Calls `each` with the subscribers of every pattern that matches.
    pub(super) fn for_each_match(&self, topic: &str, mut each: impl FnMut(&SlotSet)) {
        for length in self.lengths.range(..=topic.len()).map(|(length, _)| *length) {
            for known in self.by_prefix.get(&topic.as_bytes()[..length]).into_iter().flatten() {
                if known.pattern.matches(topic) {
                    each(&known.subscribers);
                }
            }
        }
    }
}

/// What a topic must begin with to match.
fn prefix(pattern: &str) -> &[u8] {
    let end = pattern.find(['*', '?']).unwrap_or(pattern.len());
    &pattern.as_bytes()[..end]
}
