//! Who gets what: the shared index (topic -> interested shards, queue groups) and each shard's own subscriber lists.
//! Owns no I/O: delivering is `conn::outbound`'s.

mod groups;
mod index;
mod local;
mod patterns;
mod segment;

pub(crate) use groups::Readiness;
pub(crate) use index::{TopicEntry, TopicIndex};
pub(crate) use local::{LocalTopics, Route, Subscriptions, Target};
pub(crate) use segment::{Segment, SegmentPool};
