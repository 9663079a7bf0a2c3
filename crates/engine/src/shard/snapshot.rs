//! The current state of topics, as the host knows it: told to new subscribers and to who asks for it (`sync_request`,
//! docs/protocol.md, "Snapshots"). Knows no state itself, and no question.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use serde_json::value::RawValue;
use serde_json::json;
use wse_protocol::json;
use wse_protocol::topic::{Pattern, is_pattern, is_valid_name};

use super::Shard;
use super::applying::{Applying, Results};
use super::shots::{Shot, Shots};
use super::subscribe::{BYTES, CHANGE};
use super::update::{Action, MAX_TOPICS, Reason, Update, Verdict};
use super::updates::{Outcome, Pending, Purpose};
use crate::asking::{Answer, Inquiry, Subject, Unasked};
use crate::clock::{Millis, millis};
use crate::config::Snapshots;
use crate::id::ConnId;
use crate::metrics::bump;
use crate::recovery::{Asked, Found, Wish};
use crate::registry::Peer;

impl Shard {
    /// The topics of an update whose state the host is to be asked for: those that are new to the connection. A pattern has none.
    pub(super) fn topics_with_state(&self, slot: u32, update: &Update) -> Vec<Box<str>> {
        let shared = &self.context.shared;
        let Some(provider) = shared.config.snapshots.as_ref().and_then(|from| from.provider()) else {
            return Vec::new();
        };
        if update.action != Action::Subscribe {
            return Vec::new();
        }
        let Some(peer) = self.connections.get(slot).map(|connection| connection.peer()) else { return Vec::new() };
        let is_new = |topic: &str| !shared.topics.get(topic).is_some_and(|entry| self.topics.holds(&entry, slot));
        let wanted = update.topics.iter().filter(|(topic, verdict)| {
            **verdict == Verdict::Open
                && is_valid_name(topic)
                && !is_pattern(topic)
                && provider.knows(topic)
                && is_new(topic)
                && peer.allows(topic)
                // What can be recovered is better than a state.
                && !update.position(topic).is_some_and(|from| shared.is_kept(topic, from))
        });
        // The host is asked about no more than the connection may have.
        wanted.map(|(topic, _)| topic.as_str().into()).take(shared.subscriptions_left(peer)).collect()
    }

    /// Asks the host for the state of topics. Returns the question, and when the host is late with it.
    ///
    /// # Errors
    /// Why it is not asked, as the client is told.
    pub(super) fn ask_for_state(&self, slot: u32, topics: &[Box<str>]) -> Result<(Inquiry, Millis), &'static str> {
        let shared = &self.context.shared;
        let provider = shared.config.snapshots.as_ref().and_then(|from| from.provider()).ok_or("failed")?;
        let peer = self.connections.get(slot).map(|connection| connection.peer()).ok_or("failed")?;
        let inquiry = self.inquire(peer, Subject::Snapshot, topics).map_err(|unasked| match unasked {
            Unasked::Busy => {
                bump(&shared.counters.snapshots_overflow);
                "busy"
            }
            Unasked::Closed => "failed",
        })?;
        Ok((inquiry, self.context.now().after(millis(provider.questions.timeout))))
    }

    /// The last values of topics have been told: that was all. Who asked for them hears that in any case.
    pub(super) fn tell_lasts(&mut self, slot: u32, topics: &[Found], told: &[Box<str>]) {
        let asked = topics.iter().any(|found| found.asked.wish == Wish::LastAgain);
        if matches!(self.context.shared.config.snapshots, Some(Snapshots::Last)) && (asked || !told.is_empty()) {
            self.tell_complete(slot, told);
        }
    }

    fn tell_complete(&mut self, slot: u32, told: &[Box<str>]) {
        let p = json!({ "topics": told, "count": told.len() });
        self.tell(slot, &json!({ "c": "S", "t": "snapshot_complete", "v": 1, "p": p }).to_string());
    }

    /// Has last values replayed. Returns the work it was, in deliveries.
    fn sync_lasts(&mut self, to: ConnId, asked: &[Box<str>]) -> usize {
        let shared = &self.context.shared;
        let entries = asked.iter().filter_map(|topic| shared.topics.get(topic));
        let topics: Vec<Asked> =
            entries.map(|entry| Asked { entry, registered: false, covered: true, wish: Wish::LastAgain }).collect();
        if topics.is_empty() {
            self.tell_complete(to.slot(), &[]);
            return CHANGE;
        }
        let work = CHANGE * topics.len();
        let applying = Applying { update: None, results: Results::default(), shots: Shots::default() };
        self.send_through(to, topics, applying);
        work
    }

    /// Answers a `sync_request`: the state of what it names, or of all it is subscribed to. Returns the work it was, in deliveries.
    pub(super) fn sync(&mut self, slot: u32, payload: &[u8], bytes: usize) -> usize {
        let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else { return 0 };
        let asked = self.topics_to_sync(slot, &peer, payload);
        let work = CHANGE * asked.len();
        if matches!(self.context.shared.config.snapshots, Some(Snapshots::Last)) {
            return self.sync_lasts(peer.id, &asked);
        }
        if asked.is_empty() {
            return work + self.tell_of_sync(slot, Shots::none(asked, ""));
        }
        match self.ask_for_state(slot, &asked) {
            Ok((inquiry, until)) => {
                self.wait(slot, Pending { inquiry, until, asked, purpose: Purpose::Sync, bytes });
                work
            }
            Err(reason) => work + self.tell_of_sync(slot, Shots::none(asked, reason)),
        }
    }

    /// Those of the topics a `sync_request` names that the connection receives and whose state the host knows; without a list,
    /// all such.
    fn topics_to_sync(&self, slot: u32, peer: &Peer, payload: &[u8]) -> Vec<Box<str>> {
        let Some(states) = self.context.shared.config.snapshots.as_ref() else { return Vec::new() };
        if json::member(payload, "include_snapshots") == Some(b"false") {
            return Vec::new();
        }
        let named = json::member(payload, "topics").and_then(|raw| serde_json::from_slice::<Vec<String>>(raw).ok());
        let Some(named) = named else {
            let details = peer.details.lock();
            let held = details.topics.iter().flat_map(|held| held.iter()).filter(|entry| !entry.is_pattern);
            let known = held.filter(|entry| states.knows(&entry.name) && peer.allows(&entry.name));
            return known.map(|entry| entry.name.clone()).take(MAX_TOPICS).collect();
        };
        let patterns = held_patterns(peer);
        let named: IndexSet<String, foldhash::fast::RandomState> = named.into_iter().take(MAX_TOPICS).collect();
        let wanted = named
            .into_iter()
            .filter(|topic| !is_pattern(topic) && states.knows(topic) && self.receives(slot, peer, &patterns, topic));
        wanted.map(Into::into).collect()
    }

    /// Whether the connection receives a topic, by its name or through one of these patterns.
    fn receives(&self, slot: u32, peer: &Peer, patterns: &[Pattern], topic: &str) -> bool {
        let known = self.context.shared.topics.get(topic);
        let held = known.is_some_and(|entry| self.topics.holds(&entry, slot));
        (held || patterns.iter().any(|pattern| pattern.matches(topic))) && peer.allows(topic)
    }

    /// What an answer says of the state of topics.
    pub(super) fn shots_of(&self, asked: Vec<Box<str>>, outcome: Outcome) -> Shots {
        let counters = &self.context.shared.counters;
        let mut states = match outcome {
            Outcome::Said(Answer::States(states)) => states,
            Outcome::Late => {
                bump(&counters.snapshots_unanswered);
                return Shots::none(asked, "timeout");
            }
            Outcome::Said(_) => {
                bump(&counters.snapshots_failed);
                return Shots::none(asked, "failed");
            }
        };
        let unsaid = std::mem::take(&mut states.unsaid);
        let unsaid = unsaid
            .into_iter()
            .filter_map(|(place, reason)| Some((asked.get(place)?.clone(), Reason::Owned(reason.into()))));
        let unsaid = unsaid.collect();
        // A place that is named twice counts once.
        let mut known: HashMap<usize, Box<RawValue>> = std::mem::take(&mut states.known).into_iter().collect();
        let known = asked
            .into_iter()
            .enumerate()
            .filter_map(|(place, topic)| Some(Shot { data: known.remove(&place)?, pin: states.pin(place), topic }));
        Shots { known: known.collect(), unsaid, asked: true }
    }

    /// Tells a connection the state of what it has asked about and still receives, and again what was published since.
    pub(super) fn tell_of_sync(&mut self, slot: u32, shots: Shots) -> usize {
        let Some(to) = self.connections.get(slot).map(|connection| connection.id()) else { return 0 };
        let pinned =
            shots.known.iter().filter_map(|shot| Some((shot.pin?, self.context.shared.topics.get(&shot.topic)?)));
        let asked: Vec<Asked> = pinned
            .filter(|(_, entry)| entry.line.is_some())
            .map(|(pin, entry)| Asked { entry, registered: false, covered: true, wish: Wish::Behind(pin) })
            .collect();
        if asked.is_empty() {
            return self.tell_received(slot, shots);
        }
        let work = CHANGE * asked.len();
        self.send_through(to, asked, Applying { update: None, results: Results::default(), shots });
        work
    }

    /// Tells a connection the state of topics it receives.
    pub(super) fn tell_received(&mut self, slot: u32, shots: Shots) -> usize {
        let Some(peer) = self.connections.get(slot).map(|connection| Arc::clone(connection.peer())) else { return 0 };
        let patterns = held_patterns(&peer);
        let topics = shots.known.iter().map(|shot| &shot.topic).chain(shots.unsaid.iter().map(|(topic, _)| topic));
        let received: HashSet<Box<str>, foldhash::fast::RandomState> =
            topics.filter(|topic| self.receives(slot, &peer, &patterns, topic)).cloned().collect();
        self.tell_states(slot, shots, |topic| received.contains(topic))
    }

    /// Tells a connection the state of those topics that count, of which there is none to be had, and that this is all. Returns
    /// the work it was, in deliveries.
    pub(super) fn tell_states(&mut self, slot: u32, shots: Shots, counts: impl Fn(&str) -> bool) -> usize {
        let mut work = CHANGE;
        let mut told = Vec::new();
        let mut unsaid: IndexMap<Reason, Vec<Box<str>>, foldhash::fast::RandomState> = IndexMap::default();
        for shot in shots.known.into_iter().filter(|shot| counts(&shot.topic)) {
            let message = shot.message();
            work += message.len() / BYTES;
            if self.tell(slot, &message) {
                told.push(shot.topic);
            } else {
                unsaid.entry("too_large".into()).or_default().push(shot.topic);
            }
        }
        for (topic, reason) in shots.unsaid.into_iter().filter(|(topic, _)| counts(topic)) {
            unsaid.entry(reason).or_default().push(topic);
        }
        for (reason, topics) in unsaid {
            let p = json!({
                "code": "SNAPSHOT_FAILED",
                "message": "The current state of these topics cannot be told",
                "recoverable": true,
                "details": { "reason": reason },
                "topics": topics,
            });
            self.tell(slot, &json!({ "c": "WSE", "t": "error", "v": 1, "p": p }).to_string());
        }
        self.tell_complete(slot, &told);
        work
    }
}

/// The patterns a connection is subscribed to.
fn held_patterns(peer: &Peer) -> Vec<Pattern> {
    let details = peer.details.lock();
    let held = details.topics.iter().flat_map(|held| held.iter()).filter(|entry| entry.is_pattern);
    held.filter_map(|entry| Pattern::new(&entry.name).ok()).collect()
}
