//! Topic -> which shards care, shared by all threads and read on every publish. Interest is registered by the thread that
//! subscribes, before the command reaches the shard, so a publish right after a subscribe already finds it.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use dashmap::{DashMap, Entry};
use parking_lot::Mutex;
use wse_protocol::topic::is_pattern;

use super::Refusal;
use super::cost::{SUBSCRIPTION_BYTES, entry_cost};
use super::groups::Groups;
use super::pattern_work::PatternWork;
use crate::id::ConnId;
use crate::presence::Members;

/// One topic name, or one pattern, that somebody is subscribed to.
pub(crate) struct TopicEntry {
    /// Never used twice within an engine, so a shard may key on it. 0: not in the index.
    pub(crate) id: u64,
    pub(crate) name: Box<str>,
    pub(crate) is_pattern: bool,
    /// Subscriptions per shard, those on their way to it included.
    interest: Box<[AtomicU32]>,
    /// One more than its place in each shard's lists, 0 while a shard has none; set by that shard.
    places: Box<[AtomicU32]>,
    /// Publications, for `wse_topic_messages_total`.
    pub(crate) published: AtomicU64,
    pub(crate) groups: Mutex<Groups>,
    /// Whether `groups` has any, readable without its lock.
    grouped: AtomicBool,
    /// Who is present here, if anybody is. Under this lock members change, and what is said of it is published.
    pub(crate) members: Mutex<Option<Box<Members>>>,
}

impl std::fmt::Debug for TopicEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicEntry").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl TopicEntry {
    pub(super) fn new(id: u64, name: &str, shards: usize) -> Self {
        Self {
            id,
            name: name.into(),
            is_pattern: is_pattern(name),
            interest: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            places: (0..shards).map(|_| AtomicU32::new(0)).collect(),
            published: AtomicU64::new(0),
            groups: Mutex::default(),
            grouped: AtomicBool::new(false),
            members: Mutex::new(None),
        }
    }

    /// Whether `shard` has a subscriber of exactly this name.
    #[inline]
    pub(crate) fn wanted_by(&self, shard: usize) -> bool {
        self.interest[shard].load(Relaxed) != 0
    }

    /// Its place in the lists of `shard`.
    #[inline]
    pub(super) fn place(&self, shard: usize) -> Option<u32> {
        self.places.get(shard)?.load(Relaxed).checked_sub(1)
    }

    /// Notes its place in the lists of `shard`.
    pub(super) fn set_place(&self, shard: usize, place: Option<u32>) {
        if let Some(known) = self.places.get(shard) {
            known.store(place.map_or(0, |place| place + 1), Relaxed);
        }
    }

    /// Adds a member to a queue group; false when it was one already.
    pub(crate) fn join_group(&self, group: &str, member: ConnId) -> bool {
        let mut groups = self.groups.lock();
        self.grouped.store(true, Relaxed);
        groups.join(group, member)
    }

    /// Removes a member of a queue group; false when it was none.
    pub(crate) fn leave_group(&self, group: &str, member: ConnId) -> bool {
        let mut groups = self.groups.lock();
        let left = groups.leave(group, member);
        self.grouped.store(!groups.is_empty(), Relaxed);
        left
    }

    #[inline]
    pub(crate) fn has_groups(&self) -> bool {
        self.grouped.load(Relaxed)
    }

    /// Subscriptions in all shards.
    pub(crate) fn subscribers(&self) -> u64 {
        self.interest.iter().map(|count| u64::from(count.load(Relaxed))).sum()
    }
}

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
}

impl TopicIndex {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
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
        if let Some(entry) = self.topics.get(name) {
            change(&entry);
            return Ok(Arc::clone(&entry));
        }
        let entry = match self.topics.entry(name.into()) {
            Entry::Occupied(entry) => entry.into_ref(),
            Entry::Vacant(place) => {
                let entry = TopicEntry::new(self.next_id.fetch_add(1, Relaxed), name, self.shards);
                if entry.is_pattern && !self.pattern_work.lock().add(name) {
                    return Err(Refusal::ServerLimit);
                }
                self.bytes.fetch_add(entry_cost(name, entry.is_pattern), Relaxed);
                place.insert(Arc::new(entry))
            }
        };
        change(&entry);
        Ok(Arc::clone(&entry))
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
        }
    }

    /// Removes the entry if nobody needs it any more.
    pub(crate) fn sweep(&self, entry: &TopicEntry) {
        let swept = self.topics.remove_if(&*entry.name, |_, found| {
            found.id == entry.id
                && found.subscribers() == 0
                && found.groups.lock().is_empty()
                && found.members.lock().is_none()
        });
        if swept.is_some() {
            self.bytes.fetch_sub(entry_cost(&entry.name, entry.is_pattern), Relaxed);
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
        let index = TopicIndex::new(1);
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
