//! One shard's subscriber lists: exact names, patterns, and who in the end receives a topic. Single-threaded; knows
//! connections by slot only and asks its caller what their ACL says.

use std::sync::Arc;

use super::matches::{Matches, Resolved};
use super::patterns::Patterns;
use super::{Map, SlotSet, Target, TopicEntry};
use crate::frames::{Segment, SegmentPool};

/// Most bytes of recipients that are remembered for topics with exact subscribers; a single topic may be above.
const REMEMBERED: usize = 32 * 1024 * 1024;

/// Subscriber lists of one shard.
pub(crate) struct Subscribers {
    /// The shard's number.
    shard: usize,
    /// Topics with exact subscribers. Publishers name them by place: at many topics a lookup by hash would be the dearest
    /// part of a publication.
    exact: Vec<Option<LocalTopic>>,
    free: Vec<u32>,
    /// Where a topic's id is, for publications on their way while its place changed.
    places: Map<u64, u32>,
    patterns: Patterns,
    matches: Matches,
    /// Bytes of what is remembered in `exact`.
    remembered: usize,
    /// Moves whenever a pattern subscription or an ACL changes: older resolutions are void.
    epoch: u64,
    /// An ACL changed after its connection had subscribed, so exact subscribers are checked too.
    acl_changed: bool,
}

impl Subscribers {
    /// The lists of shard number `shard`, empty.
    pub(crate) fn new(shard: usize) -> Self {
        // Epoch 0 is what nothing was resolved in.
        Self {
            shard,
            exact: Vec::new(),
            free: Vec::new(),
            places: Map::default(),
            patterns: Patterns::default(),
            matches: Matches::default(),
            remembered: 0,
            epoch: 1,
            acl_changed: false,
        }
    }
}

struct LocalTopic {
    entry: Arc<TopicEntry>,
    subscribers: SlotSet,
    /// Where this topic's frames are appended while somebody still owes the earlier ones.
    segment: Option<Segment>,
    resolved: Option<Resolved>,
}

impl LocalTopic {
    /// Forgets who receives it in the end; returns the bytes that took.
    fn forget(&mut self) -> usize {
        self.resolved.take().map_or(0, |resolved| resolved.bytes())
    }
}

/// Who receives a topic in this shard.
pub(crate) enum Recipients<'a> {
    /// The exact subscribers, nothing else applies.
    Exact(&'a SlotSet),
    /// Exact and pattern subscribers, each once, ACL checked; `denied` connections were left out.
    Resolved { slots: &'a [u32], denied: u64 },
}

/// Where a publication goes within a shard.
pub(crate) struct Route<'a> {
    pub(crate) recipients: Recipients<'a>,
    /// The topic's place, for [`Subscribers::settle`].
    pub(crate) place: Option<u32>,
    /// The work it was to find out: groups of patterns looked for, patterns tried, subscribers sorted. 0 when it was known.
    pub(crate) work: usize,
    /// The topic's open segment; topics without exact subscribers have none of their own.
    segment: Option<&'a mut Option<Segment>>,
}

impl Route<'_> {
    const NOWHERE: Self =
        Self { recipients: Recipients::Resolved { slots: &[], denied: 0 }, place: None, work: 0, segment: None };

    /// The segment the next `len` bytes go to: the open one while it has room, else another.
    pub(crate) fn segment(&mut self, len: usize, pool: &mut SegmentPool) -> Segment {
        let Some(open) = &mut self.segment else { return pool.take(len) };
        if let Some(segment) = open.as_ref().filter(|segment| segment.has_room(len)) {
            return segment.clone();
        }
        let segment = pool.take(len);
        if let Some(full) = open.replace(segment.clone()) {
            pool.give(full);
        }
        segment
    }
}

impl Recipients<'_> {
    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Exact(slots) => slots.len(),
            Self::Resolved { slots, .. } => slots.len(),
        }
    }

    /// Connections left out because of their ACL.
    pub(crate) fn denied(&self) -> u64 {
        match self {
            Self::Exact(_) => 0,
            Self::Resolved { denied, .. } => *denied,
        }
    }

    /// Calls `each` with every slot.
    #[inline]
    pub(crate) fn for_each(&self, mut each: impl FnMut(u32)) {
        match self {
            Self::Exact(slots) => slots.iter().for_each(|slot| each(*slot)),
            Self::Resolved { slots, .. } => slots.iter().for_each(|slot| each(*slot)),
        }
    }
}

impl Subscribers {
    /// Adds `slot` to the entry's subscribers; false when it was there.
    pub(crate) fn subscribe(&mut self, entry: &Arc<TopicEntry>, slot: u32) -> bool {
        if entry.is_pattern {
            let new = self.patterns.add(entry, slot);
            self.epoch += u64::from(new);
            return new;
        }
        let Self { shard, exact, free, places, .. } = self;
        let place = *places.entry(entry.id).or_insert_with(|| {
            let topic =
                LocalTopic { entry: Arc::clone(entry), subscribers: SlotSet::default(), segment: None, resolved: None };
            let place = free.pop().unwrap_or_else(|| {
                exact.push(None);
                // Bounded by memory long before: a topic is far above a byte.
                u32::try_from(exact.len() - 1).unwrap_or(u32::MAX)
            });
            exact[place as usize] = Some(topic);
            entry.set_place(*shard, Some(place));
            place
        });
        let Some(topic) = &mut exact[place as usize] else { return false };
        self.remembered -= topic.forget();
        topic.subscribers.insert(slot)
    }

    /// Removes `slot` from the entry's subscribers; false when it was not there.
    pub(crate) fn unsubscribe(&mut self, entry: &TopicEntry, slot: u32, pool: &mut SegmentPool) -> bool {
        if entry.is_pattern {
            let removed = self.patterns.remove(entry, slot);
            self.epoch += u64::from(removed);
            return removed;
        }
        let Some(place) = self.places.get(&entry.id).copied() else { return false };
        let Some(topic) = &mut self.exact[place as usize] else { return false };
        self.remembered -= topic.forget();
        let removed = topic.subscribers.swap_remove(&slot);
        if topic.subscribers.is_empty() {
            if let Some(segment) = topic.segment.take() {
                pool.give(segment);
            }
            entry.set_place(self.shard, None);
            self.exact[place as usize] = None;
            self.places.remove(&entry.id);
            self.free.push(place);
        }
        removed
    }

    /// Whether `slot` is a subscriber of the entry.
    pub(crate) fn holds(&self, entry: &TopicEntry, slot: u32) -> bool {
        if entry.is_pattern {
            return self.patterns.holds(entry, slot);
        }
        let topic = self.places.get(&entry.id).and_then(|place| self.exact.get(*place as usize)?.as_ref());
        topic.is_some_and(|topic| topic.subscribers.contains(&slot))
    }

    /// Whether `slot` has a pattern that matches `name`.
    pub(crate) fn holds_by_pattern(&self, name: &str, slot: u32) -> bool {
        let mut found = false;
        self.patterns.for_each_match(name, |subscribers| found |= subscribers.contains(&slot));
        found
    }

    /// Notes that some connection's ACL is another one now.
    pub(crate) fn acl_changed(&mut self) {
        self.acl_changed = true;
        self.epoch += 1;
    }

    /// Notes that a connection may have other topics now and holds nothing it may not: only what patterns find is looked up again.
    pub(crate) fn rights_exchanged(&mut self) {
        self.epoch += 1;
    }

    /// After a flush: closes the open segment of the topic at `place`. Whoever still owes some of it must not pin what
    /// others are sent later. When another topic has taken the place since, its segment is closed: that is harmless.
    pub(crate) fn settle(&mut self, place: u32, pool: &mut SegmentPool) {
        if let Some(Some(topic)) = self.exact.get_mut(place as usize)
            && let Some(segment) = topic.segment.take()
        {
            pool.give(segment);
        }
    }

    /// Who receives `target`, and where its frames go. `allows(slot, topic)` is asked for every recipient whose right to it
    /// was not settled when it subscribed.
    pub(crate) fn route(&mut self, target: &Target, allows: impl Fn(u32, &str) -> bool) -> Route<'_> {
        let place = self.lookup(target);
        if self.remembered > REMEMBERED {
            for topic in self.exact.iter_mut().flatten() {
                self.remembered -= topic.forget();
            }
        }
        let Self { exact, patterns, matches, remembered, epoch, acl_changed, .. } = self;
        let topic = place.and_then(|place| exact.get_mut(place as usize)?.as_mut());
        if patterns.is_empty() && !*acl_changed {
            return topic.map_or(Route::NOWHERE, |LocalTopic { subscribers, segment, .. }| Route {
                recipients: Recipients::Exact(subscribers),
                place,
                work: 0,
                segment: Some(segment),
            });
        }
        let mut work = 0;
        let resolve = |name: &str, exact: Option<&SlotSet>| {
            let (resolved, done) = resolve(patterns, name, exact, *epoch, allows);
            work = done;
            resolved
        };
        let (resolved, segment) = match (topic, target) {
            (Some(topic), _) => {
                if topic.resolved.as_ref().is_none_or(|old| old.epoch != *epoch) {
                    *remembered -= topic.forget();
                    let found = resolve(&topic.entry.name, Some(&topic.subscribers));
                    *remembered += found.bytes();
                    topic.resolved = Some(found);
                }
                (topic.resolved.as_ref(), Some(&mut topic.segment))
            }
            (None, Target::Named(entry)) => {
                (Some(matches.of(&entry.name, *epoch, || resolve(&entry.name, None))), None)
            }
            // Named by its place, there were no patterns when it was published, and since then its last subscriber left.
            (None, Target::Place { .. }) => (None, None),
        };
        resolved.map_or(Route::NOWHERE, |Resolved { slots, denied, .. }| Route {
            recipients: Recipients::Resolved { slots, denied: *denied },
            place,
            work,
            segment,
        })
    }

    /// Where the topic of a publication is, if it has exact subscribers.
    #[inline]
    fn lookup(&self, target: &Target) -> Option<u32> {
        let (place, id) = match target {
            Target::Place { place, id } => (Some(*place), *id),
            Target::Named(entry) => (None, entry.id),
        };
        let is_there = |place: &u32| {
            self.exact
                .get(*place as usize)
                .is_some_and(|topic| topic.as_ref().is_some_and(|topic| topic.entry.id == id))
        };
        place.filter(is_there).or_else(|| self.places.get(&id).copied())
    }
}

/// Exact subscribers and those of every pattern that matches, each once, without those whose ACL forbids it; and the work it
/// was.
fn resolve(
    patterns: &Patterns,
    name: &str,
    exact: Option<&SlotSet>,
    epoch: u64,
    allows: impl Fn(u32, &str) -> bool,
) -> (Resolved, usize) {
    let mut slots: Vec<u32> = exact.into_iter().flatten().copied().collect();
    let tried = patterns.for_each_match(name, |subscribers| slots.extend(subscribers));
    let work = tried + slots.len();
    slots.sort_unstable();
    slots.dedup();
    let all = slots.len();
    slots.retain(|slot| allows(*slot, name));
    // It is kept: what several patterns found more than once takes no place.
    slots.shrink_to_fit();
    let denied = (all - slots.len()) as u64;
    (Resolved { epoch, slots, denied }, work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_for_exact_topics_is_bounded_and_let_go() {
        let (mut lists, mut pool) = (Subscribers::new(0), SegmentPool::default());
        let everybody = Arc::new(TopicEntry::new(1, "*", 1));
        for slot in 0..100_000 {
            lists.subscribe(&everybody, slot);
        }
        let topics: Vec<_> = (2..102).map(|id| Arc::new(TopicEntry::new(id, &format!("t{id}"), 1))).collect();
        let mut most = 0;
        for topic in &topics {
            lists.subscribe(topic, 100_000);
            let route = lists.route(&Target::Named(Arc::clone(topic)), |_, _| true);
            assert_eq!(route.recipients.len(), 100_001);
            most = most.max(lists.remembered);
        }
        // 100 lists of 400 KB would be 40 MB.
        assert!(most > REMEMBERED && most < REMEMBERED + 500_000, "{most}");
        let held: usize =
            lists.exact.iter().flatten().filter_map(|topic| topic.resolved.as_ref()).map(Resolved::bytes).sum();
        assert_eq!(held, lists.remembered);
        for topic in &topics {
            assert!(lists.unsubscribe(topic, 100_000, &mut pool));
        }
        assert_eq!(lists.remembered, 0);
    }
}
