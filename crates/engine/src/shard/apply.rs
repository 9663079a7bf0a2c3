//! What an update comes to: it goes through the lines of its topics and the shard's own mailbox, so that replay, reply and live frames
//! are one sequence, and then the host hears of it. Asks nobody.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};
use wse_protocol::topic::{Pattern, is_pattern, is_valid_name};

use super::Shard;
use super::applying::{Applying, Results};
use super::recover::Allows;
use super::shots::Shots;
use super::subscribe::{BYTES, CHANGE};
use super::update::{Action, Update, Verdict};
use crate::config::InboundOverflow;
use crate::conn::Offer;
use crate::id::ConnId;
use crate::inbound::Kind;
use crate::presence::Refused;
use crate::recovery::{Answer, Asked, Found, Request, Wish};
use crate::registry::Peer;
use crate::topics::Refusal;

/// Topics an update may have recovered beside those it names.
const COVERED: usize = 512;

impl Shard {
    /// Applies an update, of whose topics some are refused already. What is left is held to the ACL and the limits as they are
    /// now. Returns the work it was, in deliveries.
    pub(super) fn apply(&mut self, slot: u32, mut update: Update, shots: Shots) -> usize {
        let topics = std::mem::take(&mut update.topics);
        let mut results = Results::default();
        match update.action {
            Action::Subscribe => {
                let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else {
                    return 0;
                };
                let work = CHANGE * (topics.len() + 1);
                let asked = self.admit_named(&peer, topics, &update, &shots, &mut results);
                self.send_through(peer.id, asked, Applying { update: Some(update), results, shots });
                work
            }
            Action::Unsubscribe => {
                let work = self.unsubscribe_named(slot, topics.into_keys(), &mut results);
                let reply = results.reply(&update, None);
                self.tell(slot, &reply);
                self.report(slot, Action::Unsubscribe, &results);
                work + reply.len() / BYTES
            }
            Action::Unknown => {
                let reply = results.reply(&update, None);
                self.tell(slot, &reply);
                reply.len() / BYTES
            }
        }
    }

    /// Sends a request through its topics' lines and the mailbox; those behind it wait.
    pub(super) fn send_through(&mut self, to: ConnId, topics: Vec<Asked>, applying: Applying) {
        self.updates.apply(to.slot(), applying);
        self.context.shared.recover(Request { to, topics, answer: Answer::Client });
    }

    /// A request has come through: the client is told, and the host. Its own replay is out, its subscriptions come next.
    pub(super) fn report_applied(&mut self, slot: u32, applying: &Applying) {
        if let Some(update) = &applying.update {
            self.report(slot, update.action, &applying.results);
        }
    }

    /// Makes its user present on what it is subscribed to now.
    pub(super) fn make_present(&mut self, slot: u32, applying: &mut Applying, topics: &[Found], allows: &Allows<'_>) {
        let Some(data) = applying.update.as_ref().and_then(|update| update.presence.as_deref()) else { return };
        let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else { return };
        let shared = &self.context.shared;
        let has = |asked: &Asked| (asked.registered && !asked.covered) || self.topics.holds(&asked.entry, slot);
        let has = topics.iter().map(|found| &found.asked).filter(|asked| has(asked) && allows(&asked.entry.name));
        let held: Vec<_> = has.map(|asked| Arc::clone(&asked.entry)).collect();
        applying.results.presence_refused = if data.starts_with('{') {
            let refused = shared.appear(&peer, &held, Some(data), || {}).why;
            // A host that has set the ACL since `allows` was asked found nobody to take out.
            let denied = held.iter().filter(|entry| !peer.allows(&entry.name)).map(|entry| &*entry.name);
            let denied: Vec<&str> = denied.collect();
            if !denied.is_empty() {
                shared.vanish(&peer, Some(denied.into_iter()), || {});
            }
            refused
        } else {
            Some(Refused::Invalid)
        };
    }

    /// Sends one text of the engine's own; false: it did not fit.
    pub(super) fn tell(&mut self, slot: u32, text: &str) -> bool {
        let Self { connections, context, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return false };
        let loss = connection.offer(Offer::Reply(text), context);
        if !loss.is_none() {
            connection.lose(loss, context);
        }
        loss.is_none()
    }

    /// What the ACL and the limits allow. Clients send all their topics again after a reconnect: what is held already costs no
    /// budget.
    fn admit_named(
        &self,
        peer: &Peer,
        topics: impl IntoIterator<Item = (String, Verdict)>,
        update: &Update,
        shots: &Shots,
        results: &mut Results,
    ) -> Vec<Asked> {
        let shared = Arc::clone(&self.context.shared);
        let slot = peer.id.slot();
        let topics: Vec<_> = topics.into_iter().collect();
        let pins = shots.pins();
        let alone = topics.len() == 1;
        let mut asked = Vec::with_capacity(topics.len());
        for (topic, verdict) in topics {
            let from = update.position(&topic);
            let known = shared.topics.get(&topic);
            if let Some(entry) = known.filter(|entry| self.topics.holds(entry, slot)) {
                // Held, but the ACL may be another one since: nothing is replayed that would not be delivered.
                let from = from.filter(|_| peer.allows(&topic));
                asked.push(Asked {
                    registered: false,
                    covered: true,
                    wish: from.map_or(Wish::Nothing, Wish::Missed),
                    entry,
                });
                results.succeeded.push(topic);
                continue;
            }
            if let Some(from) = from
                && self.fills_gap(slot, &topic, alone)
                && peer.allows(&topic)
                && let Some(entry) = shared.topics.recoverable(&topic)
            {
                asked.push(Asked { registered: false, covered: true, wish: Wish::Missed(from), entry });
                results.succeeded.push(topic);
                continue;
            }
            match verdict {
                Verdict::Open => {}
                // It was taken away while others were asked about: nobody has said that it may come back.
                Verdict::Held => {
                    results.refuse(topic, "not_authorized".into());
                    continue;
                }
                Verdict::Refused(reason) => {
                    results.refuse(topic, reason);
                    continue;
                }
            }
            match shared.admit(peer, &topic) {
                Ok(entry) => {
                    let pin = pins.get(&*topic).copied().filter(|_| entry.line.is_some());
                    let wish = match (from, pin) {
                        (_, Some(pin)) => Wish::Behind(pin),
                        (Some(from), None) => Wish::Missed(from),
                        (None, None) => Wish::Last,
                    };
                    asked.push(Asked { entry, registered: true, covered: false, wish });
                    results.changed.push(topic.clone());
                    results.succeeded.push(topic);
                }
                Err(refusal) => results.refuse(topic, refusal.as_str().into()),
            }
        }
        asked.extend(self.covered_now(peer, update, results));
        asked
    }

    /// Positions in topics that come through a pattern the update names, new or held: those are recovered, too. A few of them each time.
    fn covered_now(&self, peer: &Peer, update: &Update, results: &Results) -> Vec<Asked> {
        let held = results.succeeded.iter().filter(|name| is_pattern(name));
        let patterns: Vec<Pattern> = held.filter_map(|name| Pattern::new(name).ok()).collect();
        if patterns.is_empty() {
            return Vec::new();
        }
        let named: HashSet<&String> = results.succeeded.iter().chain(&results.failed).collect();
        let positions = update.positions.iter().filter(|(topic, _)| !named.contains(topic) && !is_pattern(topic));
        let comes = |topic: &str| peer.allows(topic) && patterns.iter().any(|pattern| pattern.matches(topic));
        positions
            .take(COVERED)
            .filter(|(topic, _)| comes(topic))
            .filter_map(|(topic, from)| {
                let entry = self.context.shared.topics.get(topic).filter(|entry| entry.line.is_some())?;
                Some(Asked { entry, registered: false, covered: true, wish: Wish::Missed((*from)?) })
            })
            .collect()
    }

    /// Whether a request for what a topic has behind a position only fills a gap in what comes through a pattern, and is no subscription.
    /// Published clients ask so for what they have missed of a topic, however they came by it, and then it is `alone` in its request.
    pub(super) fn fills_gap(&self, slot: u32, topic: &str, alone: bool) -> bool {
        alone && !is_pattern(topic) && self.topics.holds_by_pattern(topic, slot)
    }

    /// Unsubscribes; a topic that is not held succeeds too, a name that is none does not.
    fn unsubscribe_named(
        &mut self,
        slot: u32,
        topics: impl IntoIterator<Item = String>,
        results: &mut Results,
    ) -> usize {
        let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else { return 0 };
        let shared = Arc::clone(&self.context.shared);
        for topic in topics {
            if !is_valid_name(&topic) {
                results.refuse(topic, Refusal::InvalidName.as_str().into());
                continue;
            }
            if shared.topics.get(&topic).is_some_and(|entry| self.topics.holds(&entry, slot)) {
                results.changed.push(topic.clone());
            }
            results.succeeded.push(topic);
        }
        let names: Vec<Box<str>> = results.changed.iter().map(|topic| topic.as_str().into()).collect();
        // What is on its way from the host comes after this, presence and all.
        shared.vanish(&peer, Some(names.iter().map(|name| &**name)), || {});
        results.succeeded.len() + self.unsubscribe(peer.id, Some(&names))
    }

    /// The host hears what has changed and what was refused, as it hears messages: while it is behind and may lose some, it
    /// loses this.
    fn report(&mut self, slot: u32, action: Action, results: &Results) {
        let kind = match action {
            Action::Subscribe => Kind::Subscribe,
            Action::Unsubscribe => Kind::Unsubscribe,
            Action::Unknown => return,
        };
        if results.changed.is_empty() && results.failed.is_empty() {
            return;
        }
        let Some((id, stream)) = self.connections.get(slot).map(|found| (found.id(), found.stream())) else { return };
        let drops = self.context.shared.config.inbound_overflow == InboundOverflow::Drop;
        if drops && self.context.stream_is_over(stream) {
            return self.context.counters.inbound_dropped.add(1);
        }
        let refused = results.failed.iter().zip(&results.reasons);
        let refused: Vec<Value> = refused.map(|(topic, reason)| json!({ "topic": topic, "reason": reason })).collect();
        let text = json!({ "topics": results.changed, "refused": refused }).to_string();
        self.context.event(stream, kind, id, text.as_bytes());
    }
}
