//! Topic -> which shards care, shared by all threads and read on every publish. Interest is registered by the thread that
//! subscribes, before the command reaches the shard, so a publish right after a subscribe already finds it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use dashmap::{DashMap, Entry};
use parking_lot::Mutex;
use wse_protocol::topic::is_pattern;

use super::Refusal;
use super::cost::{SUBSCRIPTION_BYTES, entry_cost};
use super::entry::TopicEntry;
use super::line::Stream;
use super::pattern_work::PatternWork;
use super::rings::Rings;
use crate::config::Recovery;

/// The index of one engine.
pub(crate) struct TopicIndex {
    shards: usize,
    topics: DashMap<Box<str>, Arc<TopicEntry>, foldhash::fast::RandomState>,
    next_id: AtomicU64,
    /// Pattern subscriptions per shard: such a shard is offered every publish and matches it itself.
    patterns: Box<[AtomicU32]>,
    /// What the patterns can make a publication cost.
    pattern_work: Mutex<PatternWork>,
    /// Bytes of memory that entries and subscriptions take, by `cost`.
    bytes: AtomicUsize,
    /// What is kept of topics that can be recovered, if any can.
    rings: Option<Rings>,
}

impl TopicIndex {
    /// An index for `shards` shards; what can be recovered is `recovery`'s.
    pub(crate) fn new(shards: usize, recovery: Option<Recovery>) -> Self {
        Self {
            rings: recovery.map(Rings::new),
            shards,
            topics: DashMap::default(),
            next_id: AtomicU64::new(1),
            patterns: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            pattern_work: Mutex::default(),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Notes that `shard` is about to get one more subscription of `name`.
    ///
    /// # Errors
    /// It is a pattern the engine has no room for.
    pub(crate) fn add(&self, name: &str, shard: usize) -> Result<Arc<TopicEntry>, Refusal> {
        self.entry(name, |entry| {
            entry.interest[shard].fetch_add(1, Relaxed);
            if entry.is_pattern {
                self.patterns[shard].fetch_add(1, Relaxed);
            }
        })
    }

    /// Finds or makes the entry and applies `change` while the map's lock keeps [`Self::sweep`] out.
    ///
    /// # Errors
    /// It is a pattern the engine has no room for.
    pub(crate) fn entry(&self, name: &str, change: impl FnOnce(&TopicEntry)) -> Result<Arc<TopicEntry>, Refusal> {
        self.entry_for(name, false, |entry| {
            change(entry);
            if entry.is_kept.swap(false, Relaxed) {
                self.move_charge(entry, false);
            }
        })
    }

    /// The entry of a name that is published to, if it can be recovered: it is made if there is none. It is about to get a stream,
    /// or the caller has [`Self::sweep`] look at it.
    pub(crate) fn recoverable(&self, name: &str) -> Option<Arc<TopicEntry>> {
        if self.is_recoverable(name) { self.entry_for(name, true, |_| ()).ok() } else { None }
    }

    /// Whether what is published to a name can be recovered. One that reads as a pattern has no line.
    pub(crate) fn is_recoverable(&self, name: &str) -> bool {
        self.rings.as_ref().is_some_and(|rings| rings.config.policy(name).is_some()) && !is_pattern(name)
    }

    /// What is kept of topics that can be recovered, if any can.
    pub(crate) fn rings(&self) -> Option<&Rings> {
        self.rings.as_ref()
    }

    /// Gives back memory of rings that is beyond the budget.
    pub(crate) fn reclaim(&self) {
        if let Some(rings) = &self.rings {
            rings.reclaim(|entry| self.sweep(entry));
        }
    }

    /// Forgets what is too old to be recovered at `now`, milliseconds since the start.
    pub(crate) fn expire(&self, now: u64) {
        if let Some(rings) = &self.rings {
            rings.expire(now, |entry| self.sweep(entry));
        }
    }

    fn entry_for(
        &self,
        name: &str,
        published_first: bool,
        change: impl FnOnce(&TopicEntry),
    ) -> Result<Arc<TopicEntry>, Refusal> {
        if let Some(entry) = self.topics.get(name) {
            change(&entry);
            return Ok(Arc::clone(&entry));
        }
        let entry = match self.topics.entry(name.into()) {
            Entry::Occupied(entry) => entry.into_ref(),
            Entry::Vacant(place) => {
                let entry = TopicEntry::new(self.next_id.fetch_add(1, Relaxed), name, self.shards);
                let mut entry = entry.with_line(self.rings.as_ref().map(|rings| &rings.config));
                *entry.is_kept.get_mut() = published_first;
                if entry.is_pattern && !self.pattern_work.lock().add(name) {
                    return Err(Refusal::ServerLimit);
                }
                self.charge_entry(&entry, entry_cost(name, entry.is_pattern));
                place.insert(Arc::new(entry))
            }
        };
        change(&entry);
        Ok(Arc::clone(&entry))
    }

    fn charge_entry(&self, entry: &TopicEntry, cost: usize) {
        match &self.rings {
            Some(rings) if entry.is_kept.load(Relaxed) => rings.charge(cost),
            _ => drop(self.bytes.fetch_add(cost, Relaxed)),
        }
    }

    fn discharge_entry(&self, entry: &TopicEntry, cost: usize) {
        match &self.rings {
            Some(rings) if entry.is_kept.load(Relaxed) => rings.discharge(cost),
            _ => drop(self.bytes.fetch_sub(cost, Relaxed)),
        }
    }

    /// Its memory is the rings' from here on, or the subscriptions': what only history keeps must leave no less room for others.
    fn move_charge(&self, entry: &TopicEntry, to_rings: bool) {
        let Some(rings) = &self.rings else { return };
        let cost = entry_cost(&entry.name, entry.is_pattern);
        if to_rings {
            self.bytes.fetch_sub(cost, Relaxed);
            rings.charge(cost);
        } else {
            rings.discharge(cost);
            self.bytes.fetch_add(cost, Relaxed);
        }
    }

    fn forget(&self, stream: &Stream) {
        if let Some(rings) = &self.rings {
            rings.forget(stream);
        }
    }

    /// Notes one more subscription's memory.
    pub(crate) fn charge(&self) {
        self.bytes.fetch_add(SUBSCRIPTION_BYTES, Relaxed);
    }

    /// Notes that one subscription's memory is given back.
    pub(crate) fn discharge(&self) {
        self.bytes.fetch_sub(SUBSCRIPTION_BYTES, Relaxed);
    }

    /// Bytes of memory that topics and subscriptions take, estimated from the lengths of their names.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// The work patterns can make of one publication.
    pub(crate) fn pattern_work(&self) -> usize {
        self.pattern_work.lock().total()
    }

    /// Takes one subscription of `shard` back.
    pub(crate) fn release(&self, entry: &TopicEntry, shard: usize) {
        let left = entry.interest[shard].fetch_sub(1, Relaxed) - 1;
        if entry.is_pattern {
            self.patterns[shard].fetch_sub(1, Relaxed);
        }
        if left == 0 {
            self.sweep(entry);
            // What is kept of it is the rings' now.
            if self.rings.as_ref().is_some_and(Rings::is_over) {
                self.reclaim();
            }
        }
    }

    /// Removes the entry if nobody needs it any more.
    pub(crate) fn sweep(&self, entry: &TopicEntry) {
        let swept = self.topics.remove_if(&*entry.name, |_, found| {
            let needless = found.id == entry.id && found.subscribers() == 0 && found.groups.lock().is_empty();
            let needless = needless && found.members.lock().is_none();
            // Retired last: whoever publishes to it from then on looks for another.
            let over = needless && found.line.as_ref().is_none_or(|line| line.retire(|stream| self.forget(stream)));
            if needless && !over && !found.is_kept.swap(true, Relaxed) {
                self.move_charge(found, true);
            }
            over
        });
        if swept.is_some() {
            self.discharge_entry(entry, entry_cost(&entry.name, entry.is_pattern));
            if entry.is_pattern {
                self.pattern_work.lock().remove(&entry.name);
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<Arc<TopicEntry>> {
        self.topics.get(name).map(|entry| Arc::clone(&entry))
    }

    /// An entry for a name that only patterns may match; it is not kept.
    pub(crate) fn transient(&self, name: &str) -> Arc<TopicEntry> {
        Arc::new(TopicEntry::new(0, name, 0))
    }

    #[inline]
    pub(crate) fn has_patterns(&self, shard: usize) -> bool {
        self.patterns[shard].load(Relaxed) != 0
    }

    pub(crate) fn any_patterns(&self) -> bool {
        (0..self.shards).any(|shard| self.has_patterns(shard))
    }

    /// Names and patterns with a subscriber.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// The `count` topics with the most publications, the busiest first. Walks the index: for a scrape, never for a publish.
    /// Copies no name but those: there may be millions of names that nobody ever published to.
    pub(crate) fn busiest(&self, count: usize) -> Vec<(Box<str>, u64)> {
        // The least busy of the best so far is on top: at equal counts the name that is later in the alphabet.
        let mut best = BinaryHeap::with_capacity(count + 1);
        for topic in &self.topics {
            let published = topic.published.load(Relaxed);
            let beaten = |Reverse(least): &Reverse<Busy>| published < least.published;
            if published == 0 || (best.len() == count && best.peek().is_none_or(beaten)) {
                continue;
            }
            best.push(Reverse(Busy { published, topic: Arc::clone(&topic) }));
            if best.len() > count {
                best.pop();
            }
        }
        // Ascending in `Reverse`: the busiest first.
        best.into_sorted_vec().into_iter().map(|Reverse(busy)| (busy.topic.name.clone(), busy.published)).collect()
    }
}

/// A topic as it is ranked: by publications, then by name, the earlier in the alphabet first.
struct Busy {
    published: u64,
    topic: Arc<TopicEntry>,
}

impl Ord for Busy {
    fn cmp(&self, other: &Self) -> Ordering {
        self.published.cmp(&other.published).then_with(|| other.topic.name.cmp(&self.topic.name))
    }
}

impl PartialOrd for Busy {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Busy {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Busy {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_are_the_busiest_in_order() {
        let index = TopicIndex::new(1, None);
        for n in 0..1000_u64 {
            let entry = index.add(&format!("topic:{n:03}"), 0).unwrap();
            // 0, 1, 1, 2, 2, 3, 3 … out of order.
            entry.published.store((n * 7919 % 1000).div_ceil(2), Relaxed);
        }
        let all = index.busiest(5000);
        assert_eq!(all.len(), 999, "what was never published to is not there");
        assert!(all.is_sorted_by(|a, b| (b.1, &a.0) < (a.1, &b.0)), "by publications, then by name");
        assert_eq!(index.busiest(50), all[..50]);
        assert!(index.busiest(0).is_empty());
    }
}
