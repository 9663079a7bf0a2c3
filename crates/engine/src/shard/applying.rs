//! What comes of a request once nobody has to be asked any more: an update or a `sync_request` on its way through the lines of its
//! topics and the mailbox, and what the client is told of it. Subscribes nobody.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use wse_protocol::topic::is_pattern;

use super::shots::Shots;
use super::update::{Action, Reason, Update};
use crate::presence::Refused;
use crate::recovery::{Outcome, TopicOutcome};

/// A request on its way, and what it has come to so far.
pub(super) struct Applying {
    /// `None`: a `sync_request`.
    pub(super) update: Option<Update>,
    pub(super) results: Results,
    pub(super) shots: Shots,
}

/// What has come of an update, topic by topic.
#[derive(Default)]
pub(super) struct Results {
    pub(super) succeeded: Vec<String>,
    pub(super) failed: Vec<String>,
    /// Why, in the order of `failed`.
    pub(super) reasons: Vec<Reason>,
    /// Those of `succeeded` that are subscribed now and were not before, or the other way round.
    pub(super) changed: Vec<String>,
    /// Why its user is not present on some of them.
    pub(super) presence_refused: Option<Refused>,
}

impl Results {
    pub(super) fn refuse(&mut self, topic: String, reason: Reason) {
        self.failed.push(topic);
        self.reasons.push(reason);
    }

    /// The `subscription_update` the client gets; `recovery` tells of topics that can be recovered, where any can.
    pub(super) fn reply(&self, update: &Update, recovery: Option<&Outcome>) -> String {
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
        if let Some(why) = self.presence_refused {
            p["presence_refused"] = json!(why.as_str());
        }
        if update.action == Action::Subscribe && (recovery.is_some() || update.recover) {
            let mut told = recovery.map(topics_of).unwrap_or_default();
            // Of what is not subscribed nothing is recovered, whatever the position.
            let unsubscribed = self.failed.iter().chain(update.positions.keys()).filter(|topic| !is_pattern(topic));
            for topic in unsubscribed {
                if !told.contains_key(topic) {
                    told.insert(topic.clone(), topic_of(&TopicOutcome::default()));
                }
            }
            let recovered = update.recover && told.values().all(|topic| topic["recovered"] == true);
            p["recoverable"] = json!(told.values().any(|topic| !topic["epoch"].is_null()));
            p["recovered"] = json!(recovered && !told.is_empty());
            p["recovery"] = Value::Object(told);
        }
        json!({ "c": "WSE", "t": "subscription_update", "v": 1, "p": p }).to_string()
    }
}

impl Applying {
    /// What the client is told ahead of states and live frames; `None`: nothing.
    pub(super) fn reply(&self, outcome: Option<&Outcome>) -> Option<String> {
        match &self.update {
            Some(update) => Some(self.results.reply(update, outcome)),
            // Who asks for states again goes back to where they were taken: what is behind that comes once more.
            None => {
                let pinned = topics_of(outcome?);
                let topics: Vec<&String> = pinned.keys().collect();
                (!topics.is_empty()).then(|| {
                    let p = json!({
                        "action": "subscribe",
                        "success": true,
                        "success_topics": topics,
                        "failed_topics": [],
                        "recoverable": true,
                        "recovered": false,
                        "recovery": pinned,
                    });
                    json!({ "c": "WSE", "t": "subscription_update", "v": 1, "p": p }).to_string()
                })
            }
        }
    }

    /// The topics that are subscribed anew.
    pub(super) fn changed(&self) -> HashSet<&str, foldhash::fast::RandomState> {
        self.results.changed.iter().map(String::as_str).collect()
    }
}

/// What of each topic that has a position is told.
fn topics_of(outcome: &Outcome) -> Map<String, Value> {
    let names = outcome.topics.iter().filter(|(name, _)| !is_pattern(name));
    names.map(|(name, topic)| (name.to_string(), topic_of(topic))).collect()
}

fn topic_of(topic: &TopicOutcome) -> Value {
    json!({
        "epoch": topic.position.map(crate::topics::Position::epoch_text),
        "offset": topic.position.map_or(0, |position| position.offset),
        "recovered": topic.recovered,
        "count": topic.count,
    })
}
