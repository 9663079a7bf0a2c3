//! Who gets what: the shared index (topic -> interested shards, queue groups) and each shard's own subscriber lists.
//! Owns no I/O and knows no connection: delivering is `delivery`'s. A topic's ring of missed frames will lie on its entry.

mod cost;
mod ends;
mod groups;
mod holdings;
mod index;
mod matches;
mod pattern_work;
mod patterns;
mod refusal;
mod subscribers;
mod target;

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

pub(crate) use groups::Readiness;
pub(crate) use holdings::{Allowance, Holdings};
pub(crate) use index::{TopicEntry, TopicIndex};
pub(crate) use pattern_work::MAX_PATTERN_WORK;
pub(crate) use refusal::Refusal;
pub(crate) use subscribers::{Route, Subscribers};
pub(crate) use target::Target;

/// The slots of a topic's or pattern's subscribers in one shard.
type SlotSet = IndexSet<u32, foldhash::fast::RandomState>;
/// A map whose keys no peer chooses freely enough to aim at collisions.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
/// Topics on which a connection's user is present, by their ids: each is found without a walk.
pub(crate) type Presences = IndexMap<u64, Arc<TopicEntry>, foldhash::fast::RandomState>;
