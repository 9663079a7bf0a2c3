//! Who gets what: the shared index (topic -> interested shards, queue groups) and each shard's own subscriber lists.
//! Owns no I/O and knows no connection: delivering is `delivery`'s. A topic's line, where its
//! publications get their offsets and are kept for whoever missed them, lies on its entry.

mod cost;
mod ends;
mod entry;
mod groups;
mod holdings;
mod index;
#[cfg(test)]
mod interleavings;
mod line;
mod matches;
mod pattern_work;
mod patterns;
mod position;
mod refusal;
mod rings;
mod subscribers;
mod target;

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

pub(crate) use entry::TopicEntry;
pub(crate) use groups::Readiness;
pub(crate) use holdings::{Allowance, Holdings};
pub(crate) use index::TopicIndex;
pub(crate) use line::{Line, Missed, State as LineState, Stream};
pub(crate) use pattern_work::MAX_PATTERN_WORK;
pub use position::Position;
pub(crate) use refusal::Refusal;
pub(crate) use rings::Rings;
pub(crate) use subscribers::{Route, Subscribers};
pub(crate) use target::Target;

/// The slots of a topic's or pattern's subscribers in one shard.
type SlotSet = IndexSet<u32, foldhash::fast::RandomState>;
/// A map whose keys no peer chooses freely enough to aim at collisions.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
/// Topics on which a connection's user is present, by their ids: each is found without a walk.
pub(crate) type Presences = IndexMap<u64, Arc<TopicEntry>, foldhash::fast::RandomState>;
