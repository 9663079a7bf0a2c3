//! Subscriptions as the shard keeps them: applied in the order of the inbox, undone when a connection leaves. Interest in
//! the shared index was registered by the caller; what turns out to be a repetition is given back here.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wse_protocol::close_code::CloseCode;
use wse_protocol::json;
use wse_protocol::topic::is_valid_name;

use super::Shard;
use crate::config::SlowConsumer;
use crate::conn::{Connection, Dropped, Queued};
use crate::id::ConnId;
use crate::registry::Peer;
use crate::shared::Shared;
use crate::topics::TopicEntry;

/// Topics one `subscription_update` may name.
const MAX_UPDATE_TOPICS: usize = 10_000;

/// Registers interest for as many of `topics` as the ACL and the budget allow. `None`: the budget is used up already.
pub(crate) fn admit(
    shared: &Shared,
    peer: &Peer,
    topics: impl Iterator<Item = impl AsRef<str>>,
) -> Option<Vec<Arc<TopicEntry>>> {
    let limit = shared.config.max_subscriptions;
    if limit != 0 && peer.subscriptions.load(Relaxed) >= limit {
        return None;
    }
    let mut admitted = Vec::new();
    for topic in topics {
        let name = topic.as_ref();
        if !is_valid_name(name) || wse_protocol::topic::Pattern::new(name).is_err() {
            continue;
        }
        if !peer.allows(name) {
            continue;
        }
        if !reserve(peer, limit) {
            break;
        }
        admitted.push(shared.topics.add(name, peer.id.shard()));
    }
    Some(admitted)
}

/// Takes one subscription of the connection's budget (0 = no limit).
pub(crate) fn reserve(peer: &Peer, limit: u32) -> bool {
    let room = |held: u32| (limit == 0 || held < limit).then_some(held + 1);
    peer.subscriptions.fetch_update(Relaxed, Relaxed, room).is_ok()
}

impl Shard {
    pub(crate) fn subscribe(&mut self, to: ConnId, topics: Vec<Arc<TopicEntry>>) {
        let shared = Arc::clone(&self.context.shared);
        let Some(connection) = self.connections.get_mut(to.slot()).filter(|connection| connection.peer.id == to) else {
            // Gone meanwhile: the interest registered for it is void.
            topics.iter().for_each(|entry| shared.topics.release(entry, self.index));
            return;
        };
        for entry in topics {
            if self.topics.subscribe(&entry, to.slot()) {
                connection.topics.push(entry);
            } else {
                connection.peer.subscriptions.fetch_sub(1, Relaxed);
                shared.topics.release(&entry, self.index);
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, to: ConnId, names: Option<&[Box<str>]>) {
        let shared = Arc::clone(&self.context.shared);
        let Self { connections, topics, pool, index, .. } = self;
        let Some(connection) = connections.get_mut(to.slot()).filter(|connection| connection.peer.id == to) else {
            return;
        };
        let peer = &connection.peer;
        let mut drop_entry = |entry: &Arc<TopicEntry>| {
            topics.unsubscribe(entry, to.slot(), pool);
            shared.topics.release(entry, *index);
            peer.subscriptions.fetch_sub(1, Relaxed);
        };
        match names {
            None => std::mem::take(&mut connection.topics).iter().for_each(&mut drop_entry),
            // One walk however many names there are: a peer chooses both numbers (`subscriptions: 'acl'`).
            Some(names) => {
                let known = names.iter().filter_map(|name| shared.topics.get(name));
                let leaving: HashSet<u64, foldhash::fast::RandomState> = known.map(|entry| entry.id).collect();
                if !leaving.is_empty() {
                    connection.topics.retain(|entry| {
                        let leaves = leaving.contains(&entry.id);
                        if leaves {
                            drop_entry(entry);
                        }
                        !leaves
                    });
                }
            }
        }
        if connection.topics.is_empty() {
            connection.topics = Vec::new();
        }
    }

    /// Undoes everything a leaving connection had subscribed to, queue groups included.
    pub(crate) fn forget_subscriptions(&mut self, connection: &mut Connection, id: ConnId) {
        let shared = Arc::clone(&self.context.shared);
        for entry in std::mem::take(&mut connection.topics) {
            self.topics.unsubscribe(&entry, id.slot(), &mut self.pool);
            shared.topics.release(&entry, self.index);
        }
        let groups = {
            let mut rare = connection.peer.rare.lock();
            rare.gone = true;
            std::mem::take(&mut rare.groups)
        };
        for (entry, group) in groups {
            entry.leave_group(&group, id);
            shared.topics.sweep(&entry);
        }
    }

    /// `subscriptions: 'acl'`: subscribes or unsubscribes and replies (wire-protocol §8.2). The reply is queued before any
    /// frame published after this point.
    pub(crate) fn answer_subscription_update(&mut self, slot: u32, payload: &[u8]) {
        let shared = Arc::clone(&self.context.shared);
        let Some(connection) = self.connections.get(slot) else { return };
        let peer = Arc::clone(&connection.peer);
        let action = json::member(payload, "action").and_then(json::string_value).unwrap_or_default();
        let named = json::member(payload, "topics").and_then(|raw| serde_json::from_slice::<Vec<String>>(raw).ok());
        let (subscribe, known) = (action == "subscribe", action == "subscribe" || action == "unsubscribe");
        let topics = named.filter(|topics| known && topics.len() <= MAX_UPDATE_TOPICS);
        let valid = topics.is_some();
        let mut failed = Vec::new();
        let mut succeeded = Vec::new();
        let mut topics = topics.unwrap_or_default();
        if !subscribe {
            let names: Vec<Box<str>> = topics.iter().map(|topic| topic.as_str().into()).collect();
            self.unsubscribe(peer.id, Some(&names));
            succeeded = std::mem::take(&mut topics);
        }
        // Clients send all their topics again after a reconnect: what is held already costs no budget.
        let held: HashSet<Box<str>> = match self.connections.get(slot) {
            Some(connection) if subscribe => connection.topics.iter().map(|entry| entry.name.clone()).collect(),
            _ => HashSet::new(),
        };
        for topic in topics {
            if held.contains(topic.as_str()) {
                succeeded.push(topic);
                continue;
            }
            let admitted = admit(&shared, &peer, std::iter::once(&topic)).unwrap_or_default();
            if admitted.is_empty() {
                failed.push(topic);
            } else {
                self.subscribe(peer.id, admitted);
                succeeded.push(topic);
            }
        }
        let reply = serde_json::json!({
            "c": "WSE", "t": "subscription_update", "v": 1,
            "p": {
                "action": action, "success": valid && failed.is_empty(),
                "success_topics": succeeded, "failed_topics": failed,
            },
        });
        if let Some(connection) = self.connections.get_mut(slot) {
            let before = connection.out.weight();
            match connection.out.reply(&reply.to_string(), shared.config.max_outbound_bytes) {
                Queued::All => self.context.cells.messages_sent.add(1),
                Queued::Dropped { frames, bytes } => {
                    self.context.cells.slow_consumer_drops.add(u64::from(frames));
                    Dropped::note(&mut connection.dropped, frames, bytes);
                    if shared.config.slow_consumer == SlowConsumer::Close {
                        connection.close_now(CloseCode::RECONNECT, "slow consumer", self.context.now());
                    }
                }
                Queued::Closed => {}
            }
            self.context.cells.outbound_bytes.shift(before, connection.out.weight());
        }
    }
}
