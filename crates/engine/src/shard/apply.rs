//! What an update comes to, in one step: subscriptions, the reply, and what new subscribers are told, ahead of every frame that is
//! published after this point; then the host hears of it. Asks nobody.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use wse_protocol::topic::is_valid_name;

use super::Shard;
use super::snapshot::Shots;
use super::subscribe::{BYTES, CHANGE};
use super::update::{Action, Reason, Update, Verdict};
use crate::config::InboundOverflow;
use crate::conn::Offer;
use crate::inbound::Kind;
use crate::topics::Refusal;

/// What has come of an update, topic by topic.
#[derive(Default)]
struct Outcome {
    succeeded: Vec<String>,
    failed: Vec<String>,
    /// Why, in the order of `failed`.
    reasons: Vec<Reason>,
    /// Those of `succeeded` that are subscribed now and were not before, or the other way round.
    changed: Vec<String>,
}

impl Outcome {
    fn refuse(&mut self, topic: String, reason: Reason) {
        self.failed.push(topic);
        self.reasons.push(reason);
    }

    /// The `subscription_update` the client gets.
    fn reply(&self, update: &Update) -> String {
        let known = update.action != Action::Unknown;
        let mut p = json!({
            "action": update.word,
            // Published clients confirm what is in the list only when this is true.
            "success": known && (self.failed.is_empty() || !self.succeeded.is_empty()),
            "success_topics": self.succeeded,
            "failed_topics": self.failed,
        });
        if !self.reasons.is_empty() {
            p["failed_reasons"] = json!(self.reasons);
        }
        if update.recover {
            // Nothing is kept, so nothing is recovered, whatever the position.
            let none = json!({ "epoch": null, "offset": 0, "recovered": false, "count": 0 });
            let topics: Map<String, Value> =
                update.positions.keys().map(|topic| (topic.clone(), none.clone())).collect();
            p["recoverable"] = json!(false);
            p["recovered"] = json!(false);
            p["recovery"] = Value::Object(topics);
        }
        json!({ "c": "WSE", "t": "subscription_update", "v": 1, "p": p }).to_string()
    }
}

impl Shard {
    /// Applies an update, of whose topics some are refused already. What is left is held to the ACL and the limits as they are
    /// now. Returns the work it was, in deliveries.
    pub(super) fn apply(&mut self, slot: u32, mut update: Update, shots: Shots) -> usize {
        let topics = std::mem::take(&mut update.topics);
        let mut outcome = Outcome::default();
        let mut work = match update.action {
            Action::Subscribe => self.subscribe_named(slot, topics, &mut outcome),
            Action::Unsubscribe => self.unsubscribe_named(slot, topics.into_keys(), &mut outcome),
            Action::Unknown => 0,
        };
        let reply = outcome.reply(&update);
        self.tell(slot, &reply);
        work += reply.len() / BYTES;
        if !shots.is_empty() {
            let fresh: HashSet<&str, foldhash::fast::RandomState> =
                outcome.changed.iter().map(String::as_str).collect();
            work += self.tell_states(slot, shots, |topic| fresh.contains(topic));
        }
        self.report(slot, update.action, &outcome);
        work
    }

    /// Sends one text of the engine's own; false when it does not fit what the connection may be owed, and is lost.
    pub(super) fn tell(&mut self, slot: u32, text: &str) -> bool {
        let Self { connections, context, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return false };
        let loss = connection.offer(Offer::Reply(text), context);
        if !loss.is_none() {
            connection.lose(loss, context);
        }
        loss.is_none()
    }

    /// Subscribes what the ACL and the limits allow. Clients send all their topics again after a reconnect: what is held already
    /// costs no budget.
    fn subscribe_named(
        &mut self,
        slot: u32,
        topics: impl IntoIterator<Item = (String, Verdict)>,
        outcome: &mut Outcome,
    ) -> usize {
        let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else { return 0 };
        let shared = Arc::clone(&self.context.shared);
        let mut work = 0;
        for (topic, verdict) in topics {
            work += CHANGE;
            let known = shared.topics.get(&topic);
            if known.is_some_and(|entry| self.topics.holds(&entry, slot)) {
                outcome.succeeded.push(topic);
                continue;
            }
            match verdict {
                Verdict::Open => {}
                // It was taken away while others were asked about: nobody has said that it may come back.
                Verdict::Held => {
                    outcome.refuse(topic, "not_authorized".into());
                    continue;
                }
                Verdict::Refused(reason) => {
                    outcome.refuse(topic, reason);
                    continue;
                }
            }
            match shared.admit(&peer, &topic) {
                Ok(entry) => {
                    self.subscribe(peer.id, vec![entry]);
                    outcome.changed.push(topic.clone());
                    outcome.succeeded.push(topic);
                }
                Err(refusal) => outcome.refuse(topic, refusal.as_str().into()),
            }
        }
        work
    }

    /// Unsubscribes; a topic that is not held succeeds too, a name that is none does not.
    fn unsubscribe_named(
        &mut self,
        slot: u32,
        topics: impl IntoIterator<Item = String>,
        outcome: &mut Outcome,
    ) -> usize {
        let Some(id) = self.connections.get(slot).map(|connection| connection.id()) else { return 0 };
        let shared = Arc::clone(&self.context.shared);
        for topic in topics {
            if !is_valid_name(&topic) {
                outcome.refuse(topic, Refusal::InvalidName.as_str().into());
                continue;
            }
            if shared.topics.get(&topic).is_some_and(|entry| self.topics.holds(&entry, slot)) {
                outcome.changed.push(topic.clone());
            }
            outcome.succeeded.push(topic);
        }
        let names: Vec<Box<str>> = outcome.changed.iter().map(|topic| topic.as_str().into()).collect();
        outcome.succeeded.len() + self.unsubscribe(id, Some(&names))
    }

    /// The host hears what has changed and what was refused, as it hears messages: while it is behind and may lose some, it
    /// loses this.
    fn report(&mut self, slot: u32, action: Action, outcome: &Outcome) {
        let kind = match action {
            Action::Subscribe => Kind::Subscribe,
            Action::Unsubscribe => Kind::Unsubscribe,
            Action::Unknown => return,
        };
        if outcome.changed.is_empty() && outcome.failed.is_empty() {
            return;
        }
        let Some((id, stream)) = self.connections.get(slot).map(|found| (found.id(), found.stream())) else { return };
        let drops = self.context.shared.config.inbound_overflow == InboundOverflow::Drop;
        if drops && self.context.stream_is_over(stream) {
            return self.context.counters.inbound_dropped.add(1);
        }
        let refused = outcome.failed.iter().zip(&outcome.reasons);
        let refused: Vec<Value> = refused.map(|(topic, reason)| json!({ "topic": topic, "reason": reason })).collect();
        let text = json!({ "topics": outcome.changed, "refused": refused }).to_string();
        self.context.event(stream, kind, id, text.as_bytes());
    }
}
