//! The entry of one topic, or of one pattern: who cares about it, its queue groups, its line. Shared by all threads; in which index it
//! is, and for how long, is `index`'s.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use wse_protocol::topic::is_pattern;

use super::groups::Groups;
use super::line::Line;
use crate::config::Recovery;
use crate::id::ConnId;
use crate::presence::Members;

/// One topic name, or one pattern, that somebody is subscribed to.
pub(crate) struct TopicEntry {
    /// Never used twice within an engine, so a shard may key on it. 0: not in the index.
    pub(crate) id: u64,
    pub(crate) name: Box<str>,
    pub(crate) is_pattern: bool,
    /// Subscriptions per shard, those on their way to it included.
    pub(super) interest: Box<[AtomicU32]>,
    /// One more than its place in each shard's lists, 0 while a shard has none; set by that shard.
    places: Box<[AtomicU32]>,
    /// Publications, for `wse_topic_messages_total`.
    pub(crate) published: AtomicU64,
    pub(crate) groups: Mutex<Groups>,
    /// Whether `groups` has any, readable without its lock.
    grouped: AtomicBool,
    /// Who is present here, if anybody is. Under this lock members change, and what is said of it is published.
    pub(crate) members: Mutex<Option<Box<Members>>>,
    /// Where its publications get their offsets, if it can be recovered.
    pub(crate) line: Option<Line>,
    /// It was published to before anybody subscribed: its memory is that of the rings.
    pub(super) published_first: bool,
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
            line: None,
            published_first: false,
        }
    }

    /// The same with a line, if it can be recovered.
    pub(super) fn with_line(self, recovery: Option<&Recovery>) -> Self {
        let policy =
            recovery.filter(|_| !self.is_pattern).and_then(|config| Some((config, config.policy(&self.name)?)));
        let line = policy.map(|(config, (policy, rule))| Line::new(policy, rule, config.keeps_last(&self.name)));
        Self { line, ..self }
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
