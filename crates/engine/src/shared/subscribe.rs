//! What a connection may hold: its ACL and its budget, asked before interest is registered. Called from the host's threads and
//! from shards; who receives what is kept by the shard.

use std::sync::Arc;

use wse_protocol::topic::{MAX_PATTERN_BYTES, is_pattern, is_valid_name};

use super::Shared;
use crate::metrics::bump;
use crate::registry::Peer;
use crate::topics::{Allowance, Refusal, TopicEntry};

impl Shared {
    /// Registers interest for as many of `topics` as the ACL and the limits allow. `None`: the connection holds as many
    /// subscriptions as it may already.
    pub(crate) fn admit_all(
        &self,
        peer: &Peer,
        topics: impl Iterator<Item = impl AsRef<str>>,
    ) -> Option<Vec<Arc<TopicEntry>>> {
        let limit = self.config.max_subscriptions;
        if limit != 0 && peer.holdings.subscriptions() >= limit {
            return None;
        }
        let mut admitted = Vec::new();
        for topic in topics {
            match self.admit(peer, topic.as_ref()) {
                Ok(entry) => admitted.push(entry),
                Err(Refusal::Subscriptions) => break,
                Err(_) => {}
            }
        }
        Some(admitted)
    }

    /// Registers interest for one topic.
    ///
    /// # Errors
    /// Why it is not subscribed; limits are counted.
    pub(crate) fn admit(&self, peer: &Peer, name: &str) -> Result<Arc<TopicEntry>, Refusal> {
        // The length of a pattern is a factor of what matching costs, so it is shorter than a name may be.
        if !is_valid_name(name) || (name.len() > MAX_PATTERN_BYTES && is_pattern(name)) {
            return Err(Refusal::InvalidName);
        }
        if !peer.allows(name) {
            return Err(Refusal::NotAllowed);
        }
        self.reserve(peer, name)?;
        self.topics.add(name, peer.id.shard()).map_err(|refusal| {
            self.give_back(peer, name);
            self.refused(refusal)
        })
    }

    /// Takes a subscription of `name` out of the connection's budget and the engine's.
    ///
    /// # Errors
    /// The limit that is reached; it is counted.
    pub(crate) fn reserve(&self, peer: &Peer, name: &str) -> Result<(), Refusal> {
        let config = &self.config;
        let limit = config.max_subscription_bytes;
        let scarce = limit != 0 && self.topics.bytes() >= limit;
        let allowance = Allowance {
            subscriptions: config.max_subscriptions,
            patterns: config.max_patterns,
            // Few connections must not use up what all share: beyond the limit each may still have its equal part.
            bytes: if scarce { (limit / config.max_connections.max(1)).max(1) } else { 0 },
        };
        peer.holdings.add(name, allowance).map_err(|refusal| self.refused(refusal))?;
        self.topics.charge();
        Ok(())
    }

    /// Subscriptions the connection may still have.
    pub(crate) fn subscriptions_left(&self, peer: &Peer) -> usize {
        match self.config.max_subscriptions {
            0 => usize::MAX,
            limit => limit.saturating_sub(peer.holdings.subscriptions()) as usize,
        }
    }

    /// Gives back what [`Self::reserve`] took.
    pub(crate) fn give_back(&self, peer: &Peer, name: &str) {
        peer.holdings.remove(name);
        self.topics.discharge();
    }

    fn refused(&self, refusal: Refusal) -> Refusal {
        bump(&self.counters.subscriptions_refused);
        refusal
    }
}
