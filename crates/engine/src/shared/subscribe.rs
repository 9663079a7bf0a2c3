//! What a connection may hold: its ACL and its budget, asked before interest is registered. Called from the host's threads and
//! from shards; who receives what is kept by the shard.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wse_protocol::topic::{Pattern, is_valid_name};

use super::Shared;
use crate::registry::Peer;
use crate::topics::TopicEntry;

impl Shared {
    /// Registers interest for as many of `topics` as the ACL and the budget allow. `None`: the budget is used up already.
    pub(crate) fn admit(
        &self,
        peer: &Peer,
        topics: impl Iterator<Item = impl AsRef<str>>,
    ) -> Option<Vec<Arc<TopicEntry>>> {
        let limit = self.config.max_subscriptions;
        if limit != 0 && peer.subscriptions.load(Relaxed) >= limit {
            return None;
        }
        let mut admitted = Vec::new();
        for topic in topics {
            let name = topic.as_ref();
            if !is_valid_name(name) || Pattern::new(name).is_err() || !peer.allows(name) {
                continue;
            }
            if !self.reserve(peer) {
                break;
            }
            admitted.push(self.topics.add(name, peer.id.shard()));
        }
        Some(admitted)
    }

    /// Takes one subscription of the connection's budget; false when it is used up.
    pub(crate) fn reserve(&self, peer: &Peer) -> bool {
        let limit = self.config.max_subscriptions;
        let room = |held: u32| (limit == 0 || held < limit).then_some(held + 1);
        peer.subscriptions.fetch_update(Relaxed, Relaxed, room).is_ok()
    }
}
