//! Subscriptions as the shard keeps them: applied in the order of the mailbox, undone when a connection leaves. Interest in
//! the shared index was registered by the caller; what turns out to be a repetition is given back here.

use std::collections::HashSet;
use std::sync::Arc;

use wse_protocol::json;

use super::Shard;
use crate::conn::{Connection, Offer};
use crate::id::ConnId;
use crate::topics::TopicEntry;

/// Topics one `subscription_update` may name.
const MAX_UPDATE_TOPICS: usize = 10_000;

/// What adding or removing one subscription costs, in deliveries.
const CHANGE: usize = 16;
/// Held subscriptions that are walked at the cost of one delivery.
const WALKED: usize = 4;

impl Shard {
    /// Adds subscriptions whose interest is registered. Returns the work it was, in deliveries.
    pub(super) fn subscribe(&mut self, to: ConnId, topics: Vec<Arc<TopicEntry>>) -> usize {
        let shared = Arc::clone(&self.context.shared);
        let work = (topics.len() + 1) * CHANGE;
        let Some(connection) = self.connections.get_mut(to.slot()).filter(|connection| connection.id() == to) else {
            // Gone meanwhile: the interest registered for it is void.
            for entry in topics {
                shared.topics.release(&entry, self.index);
                shared.topics.discharge();
            }
            return work;
        };
        for entry in topics {
            if self.topics.subscribe(&entry, to.slot()) {
                connection.subscriptions().push(entry);
            } else {
                shared.give_back(connection.peer(), &entry.name);
                shared.topics.release(&entry, self.index);
            }
        }
        work
    }

    /// Ends the subscriptions of these names, or all. Returns the work it was, in deliveries.
    pub(super) fn unsubscribe(&mut self, to: ConnId, names: Option<&[Box<str>]>) -> usize {
        let shared = Arc::clone(&self.context.shared);
        let Self { connections, topics, delivery, index, .. } = self;
        let Some(connection) = connections.get_mut(to.slot()).filter(|connection| connection.id() == to) else {
            return CHANGE;
        };
        let peer = Arc::clone(connection.peer());
        let mut work = CHANGE + names.map_or(0, <[_]>::len);
        let mut drop_entry = |entry: &Arc<TopicEntry>| {
            work += CHANGE;
            topics.unsubscribe(entry, to.slot(), delivery.pool());
            shared.topics.release(entry, *index);
            shared.give_back(&peer, &entry.name);
        };
        let held = connection.subscriptions();
        let mut walked = 0;
        match names {
            None => std::mem::take(held).iter().for_each(&mut drop_entry),
            // One walk however many names there are: a peer chooses both numbers (`subscriptions: 'acl'`).
            Some(names) => {
                let known = names.iter().filter_map(|name| shared.topics.get(name));
                let leaving: HashSet<u64, foldhash::fast::RandomState> = known.map(|entry| entry.id).collect();
                if !leaving.is_empty() {
                    walked = held.len();
                    held.retain(|entry| {
                        let leaves = leaving.contains(&entry.id);
                        if leaves {
                            drop_entry(entry);
                        }
                        !leaves
                    });
                }
            }
        }
        if held.is_empty() {
            *held = Vec::new();
        }
        work + walked / WALKED
    }

    /// Undoes everything a leaving connection had subscribed to, queue groups included.
    pub(super) fn forget_subscriptions(&mut self, connection: &mut Connection, id: ConnId) {
        let shared = Arc::clone(&self.context.shared);
        for entry in std::mem::take(connection.subscriptions()) {
            self.topics.unsubscribe(&entry, id.slot(), self.delivery.pool());
            shared.topics.release(&entry, self.index);
            shared.give_back(connection.peer(), &entry.name);
        }
        let groups = {
            let mut details = connection.peer().details.lock();
            details.gone = true;
            std::mem::take(&mut details.groups)
        };
        for (entry, group) in groups {
            entry.leave_group(&group, id);
            shared.give_back(connection.peer(), &entry.name);
            shared.topics.sweep(&entry);
        }
    }

    /// `subscriptions: 'acl'`: subscribes or unsubscribes and replies (docs/protocol.md, "Subscriptions"). The reply is queued before any
    /// frame published after this point.
    pub(super) fn answer_subscription_update(&mut self, slot: u32, payload: &[u8]) {
        let shared = Arc::clone(&self.context.shared);
        let Some(connection) = self.connections.get(slot) else { return };
        let peer = Arc::clone(connection.peer());
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
        let held: HashSet<Box<str>> = match self.connections.get_mut(slot) {
            Some(connection) if subscribe => {
                connection.subscriptions().iter().map(|entry| entry.name.clone()).collect()
            }
            _ => HashSet::new(),
        };
        for topic in topics {
            if held.contains(topic.as_str()) {
                succeeded.push(topic);
                continue;
            }
            match shared.admit(&peer, &topic) {
                Ok(entry) => {
                    self.subscribe(peer.id, vec![entry]);
                    succeeded.push(topic);
                }
                Err(_) => failed.push(topic),
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
            let loss = connection.offer(Offer::Reply(&reply.to_string()), &self.context);
            if !loss.is_none() {
                connection.lose(loss, &mut self.context);
            }
        }
    }
}
