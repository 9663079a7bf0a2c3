//! How a publication names its topic to a shard. Owns nothing but a reference.

use std::sync::Arc;

use super::TopicEntry;

/// A topic as a publication names it to a shard.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// By its place among the shard's topics, and its id in case it has moved since. Publisher and shard then share no
    /// memory they both write.
    Place { place: u32, id: u64 },
    /// By its entry: the shard does not know it yet, or has patterns to match it with.
    Named(Arc<TopicEntry>),
}

impl Target {
    /// How to name `entry` to `shard`.
    pub(crate) fn of(entry: &Arc<TopicEntry>, shard: usize, patterns: bool) -> Self {
        match entry.place(shard) {
            Some(place) if !patterns => Self::Place { place, id: entry.id },
            _ => Self::Named(Arc::clone(entry)),
        }
    }

    /// Whether both name one topic in the same way.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Place { id, .. }, Self::Place { id: other, .. }) => id == other,
            (Self::Named(entry), Self::Named(other)) => Arc::ptr_eq(entry, other),
            _ => false,
        }
    }
}
