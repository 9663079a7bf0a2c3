//! Answers to `subscription_update` (`subscriptions: 'acl'`, docs/protocol.md, "Subscriptions"). A connection's turn ends when they have
//! cost enough, whatever one read has brought.

use std::sync::Arc;

use indexmap::IndexSet;
use serde_json::json;
use wse_protocol::json;
use wse_protocol::topic::is_valid_name;

use super::Shard;
use super::subscribe::CHANGE;
use crate::conn::Offer;
use crate::presence::Refused;
use crate::shared::Present;
use crate::topics::Refusal;

/// Topics one update may name.
const MAX_TOPICS: usize = 10_000;
/// What updates may cost before the connection's turn is over, in deliveries: a tenth of a millisecond or so. At least one is
/// answered.
const WORK: usize = 4096;
/// Bytes of an update, or of its reply, that are read or written at the cost of one delivery.
const BYTES: usize = 16;

/// The reply to an update, as it comes together.
#[derive(Default)]
struct Reply {
    succeeded: Vec<String>,
    failed: Vec<String>,
    /// Why, in the order of `failed`.
    reasons: Vec<&'static str>,
}

impl Reply {
    fn refuse(&mut self, topic: String, refusal: Refusal) {
        self.failed.push(topic);
        self.reasons.push(refusal.as_str());
    }
}

impl Shard {
    /// Keeps updates for [`Self::answer_updates`].
    pub(super) fn keep_updates(&mut self, slot: u32, updates: Vec<Box<[u8]>>) {
        self.context.hold(0, self.updates.keep(slot, updates));
    }

    /// Gives up what waits for a connection that leaves.
    pub(super) fn forget_updates(&mut self, slot: u32) {
        self.context.hold(self.updates.forget(slot), 0);
    }

    /// Answers updates until they have cost enough. False: there are more, for the next turn.
    pub(super) fn answer_updates(&mut self, slot: u32) -> bool {
        if !self.updates.wait_for(slot) {
            return true;
        }
        // What was published before is delivered before the answer. It may find that the connection has ended.
        self.settle_now(slot);
        let mut work = 0;
        while work < WORK
            && let Some(payload) = self.updates.next(slot)
        {
            self.context.hold(payload.len(), 0);
            work += self.answer(slot, &payload);
        }
        !self.updates.wait_for(slot)
    }

    /// Subscribes or unsubscribes and replies; the reply is queued before any frame published after this point. Returns the
    /// work it was, in deliveries.
    fn answer(&mut self, slot: u32, payload: &[u8]) -> usize {
        let action = json::member(payload, "action").and_then(json::string_value).unwrap_or_default();
        let named = json::member(payload, "topics").and_then(|raw| serde_json::from_slice::<Vec<String>>(raw).ok());
        let known = action == "subscribe" || action == "unsubscribe";
        let topics = named.filter(|topics| known && topics.len() <= MAX_TOPICS);
        let valid = topics.is_some();
        // Each once: the first of two would use the budget the second is refused for.
        let topics: IndexSet<String, foldhash::fast::RandomState> = topics.into_iter().flatten().collect();
        let mut reply = Reply::default();
        let mut work = CHANGE + payload.len() / BYTES;
        work += match &*action {
            "subscribe" => self.subscribe_named(slot, topics, &mut reply),
            _ => self.unsubscribe_named(slot, topics, &mut reply),
        };
        let presence = json::member(payload, "presence").filter(|_| action == "subscribe");
        let refused = presence.and_then(|data| {
            let present = self.make_present(slot, &reply.succeeded, data);
            work += present.bytes / BYTES;
            present.why
        });
        let Reply { succeeded, failed, reasons } = reply;
        let mut p = json!({
            "action": action,
            // Published clients confirm what is in the list only when this is true.
            "success": valid && (failed.is_empty() || !succeeded.is_empty()),
            "success_topics": succeeded,
            "failed_topics": failed,
        });
        if !reasons.is_empty() {
            p["failed_reasons"] = json!(reasons);
        }
        if let Some(why) = refused {
            p["presence_refused"] = json!(why.as_str());
        }
        let text = json!({ "c": "WSE", "t": "subscription_update", "v": 1, "p": p }).to_string();
        if let Some(connection) = self.connections.get_mut(slot) {
            let loss = connection.offer(Offer::Reply(&text), &self.context);
            if !loss.is_none() {
                connection.lose(loss, &mut self.context);
            }
        }
        work + text.len() / BYTES
    }

    /// Subscribes what the ACL and the limits allow. Clients send all their topics again after a reconnect: what is held already
    /// costs no budget.
    fn subscribe_named(&mut self, slot: u32, topics: impl IntoIterator<Item = String>, reply: &mut Reply) -> usize {
        let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else { return 0 };
        let shared = Arc::clone(&self.context.shared);
        let mut work = 0;
        for topic in topics {
            work += CHANGE;
            let known = shared.topics.get(&topic);
            if known.is_some_and(|entry| self.topics.holds(&entry, slot)) {
                reply.succeeded.push(topic);
                continue;
            }
            match shared.admit(&peer, &topic) {
                Ok(entry) => {
                    self.subscribe(peer.id, vec![entry]);
                    reply.succeeded.push(topic);
                }
                Err(refusal) => reply.refuse(topic, refusal),
            }
        }
        work
    }

    /// Makes its user present on topics it is subscribed to. `data` is JSON of whatever kind, one message at most.
    fn make_present(&self, slot: u32, topics: &[String], data: &[u8]) -> Present {
        let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else {
            return Present::default();
        };
        let shared = &self.context.shared;
        let held: Vec<_> = topics.iter().filter_map(|topic| shared.topics.get(topic)).collect();
        match std::str::from_utf8(data) {
            Ok(data) if data.starts_with('{') => shared.appear(&peer, &held, Some(data), || {}),
            _ => Present { why: Some(Refused::Invalid), refused: held.len(), ..Present::default() },
        }
    }

    /// Unsubscribes; a topic that is not held succeeds too, a name that is none does not.
    fn unsubscribe_named(&mut self, slot: u32, topics: impl IntoIterator<Item = String>, reply: &mut Reply) -> usize {
        let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else { return 0 };
        for topic in topics {
            match is_valid_name(&topic) {
                true => reply.succeeded.push(topic),
                false => reply.refuse(topic, Refusal::InvalidName),
            }
        }
        let names: Vec<Box<str>> = reply.succeeded.iter().map(|topic| topic.as_str().into()).collect();
        // What is on its way from the host comes after this, presence and all.
        let shared = &self.context.shared;
        let holds = |name: &&str| shared.topics.get(name).is_some_and(|entry| self.topics.holds(&entry, slot));
        let held: Vec<&str> = names.iter().map(|name| &**name).filter(holds).collect();
        shared.vanish(&peer, Some(held.into_iter()), || {});
        self.unsubscribe(peer.id, Some(&names))
    }
}
