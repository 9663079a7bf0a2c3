//! States of topics on their way from the host to a client. Knows no connection and no question.

use std::collections::{HashMap, HashSet};

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::update::Reason;
use crate::topics::Position;

/// The state of topics, and of which there is none to be had.
#[derive(Default)]
pub(super) struct Shots {
    pub(super) known: Vec<Shot>,
    pub(super) unsaid: Vec<(Box<str>, Reason)>,
    /// The host was asked.
    pub(super) asked: bool,
}

/// The state of one topic.
pub(super) struct Shot {
    pub(super) topic: Box<str>,
    /// JSON.
    pub(super) data: Box<RawValue>,
    /// Up to where publications are part of it, where that is known.
    pub(super) pin: Option<Position>,
}

impl Shots {
    /// There is no state of these topics to be had.
    pub(super) fn none(topics: Vec<Box<str>>, reason: &'static str) -> Self {
        let unsaid = topics.into_iter().map(|topic| (topic, reason.into())).collect();
        Self { known: Vec::new(), unsaid, asked: true }
    }

    /// Up to where publications are part of the states, by topic.
    pub(super) fn pins(&self) -> HashMap<&str, Position, foldhash::fast::RandomState> {
        self.known.iter().filter_map(|shot| Some((&*shot.topic, shot.pin?))).collect()
    }

    /// What was published since the states of these topics is not kept: they are of no use.
    pub(super) fn outdate(&mut self, topics: &HashSet<&str, foldhash::fast::RandomState>) {
        let outdated = self.known.extract_if(.., |shot| topics.contains(&*shot.topic));
        self.unsaid.extend(outdated.map(|shot| (shot.topic, "outdated".into())));
    }

    /// Whether nobody wanted any.
    pub(super) fn is_empty(&self) -> bool {
        !self.asked
    }
}

impl Shot {
    /// The `topic_snapshot` the client gets.
    pub(super) fn message(&self) -> String {
        let (epoch, offset) = match self.pin {
            Some(pin) => (json!(pin.epoch_text()), json!(pin.offset)),
            None => (Value::Null, Value::Null),
        };
        let (topic, data) = (json!(self.topic), self.data.get());
        format!(
            r#"{{"c":"S","p":{{"data":{data},"epoch":{epoch},"offset":{offset},"topic":{topic}}},"t":"topic_snapshot","v":1}}"#
        )
    }
}
