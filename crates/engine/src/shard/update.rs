//! A `subscription_update`, read (docs/protocol.md, "Subscriptions"), and what is known of each of its topics. Tolerant of what a client
//! asks for beside topics: a position that is none costs that topic its recovery and nothing else. Subscribes nobody.

use std::borrow::Cow;
use std::collections::HashMap;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use wse_protocol::json;

use crate::topics::Position;

/// Topics one update may name.
pub(super) const MAX_TOPICS: usize = 10_000;

/// Why a topic failed, as the client is told.
pub(super) type Reason = Cow<'static, str>;

/// What is known of a topic before the update is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing speaks against it.
    Open,
    /// The connection had it when somebody else was asked about the others: it was let in before.
    Held,
    /// It fails.
    Refused(Reason),
}

/// What an update asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Subscribe,
    Unsubscribe,
    /// Nothing that is known, or not of topics.
    Unknown,
}

/// A `subscription_update`.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) action: Action,
    /// The action as it was sent: the reply repeats it.
    pub(super) word: Box<str>,
    /// Each once: the first of two would use the budget the second is refused for. In the order in which they were named.
    pub(super) topics: IndexMap<String, Verdict, foldhash::fast::RandomState>,
    /// The client wants what it has missed.
    pub(super) recover: bool,
    /// Where it was in each topic, also in such as it does not name; `None`: what it says is no position.
    pub(super) positions: HashMap<String, Option<Position>>,
    /// What others are to see of it: JSON of whatever kind.
    pub(super) presence: Option<Box<str>>,
}

/// A position as it is sent.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    offset: u64,
}

impl Update {
    /// Reads the payload of an update, which is valid JSON.
    pub(super) fn parse(payload: &[u8]) -> Self {
        let word = json::member(payload, "action").and_then(json::string_value).unwrap_or_default();
        let topics = json::member(payload, "topics").and_then(|raw| serde_json::from_slice::<Vec<String>>(raw).ok());
        let topics = topics.filter(|topics| topics.len() <= MAX_TOPICS);
        let action = match (&*word, &topics) {
            (_, None) => Action::Unknown,
            ("subscribe", _) => Action::Subscribe,
            ("unsubscribe", _) => Action::Unsubscribe,
            _ => Action::Unknown,
        };
        let named = topics.filter(|_| action != Action::Unknown).into_iter().flatten();
        let mut update = Self {
            action,
            word: (*word).into(),
            topics: named.map(|topic| (topic, Verdict::Open)).collect(),
            recover: false,
            positions: HashMap::default(),
            presence: None,
        };
        if action == Action::Subscribe {
            update.recover = json::member(payload, "recover") == Some(b"true");
            if update.recover {
                update.positions = positions(json::member(payload, "recovery").unwrap_or_default());
            }
            let presence = json::member(payload, "presence");
            update.presence = presence.and_then(|raw| std::str::from_utf8(raw).ok()).map(Into::into);
        }
        update
    }

    /// Where the client was in a topic, if it wants what it has missed.
    pub(super) fn position(&self, topic: &str) -> Option<Position> {
        self.positions.get(topic).copied().flatten().filter(|_| self.recover)
    }

    /// The topics fail that are asked about: those at these places of `asked`, or all.
    pub(super) fn refuse(&mut self, asked: &[Box<str>], reasons: impl Fn(usize) -> Option<Reason>) {
        for (place, topic) in asked.iter().enumerate() {
            if let Some(reason) = reasons(place)
                && let Some(verdict) = self.topics.get_mut(&**topic)
            {
                *verdict = Verdict::Refused(reason);
            }
        }
    }
}

/// The positions in the object `raw`, at most [`MAX_TOPICS`].
fn positions(raw: &[u8]) -> HashMap<String, Option<Position>> {
    // What stands for a position may be anything, of any size: it is not built.
    let sent: HashMap<String, &RawValue> = serde_json::from_slice(raw).unwrap_or_default();
    let position = |raw: &RawValue| {
        let sent: Sent<'_> = serde_json::from_str(raw.get()).ok()?;
        Position::new(&sent.epoch, sent.offset)
    };
    sent.into_iter().take(MAX_TOPICS).map(|(topic, raw)| (topic, position(raw))).collect()
}

/// The reasons of a host for topics by their places.
pub(super) fn reasons_of(refused: Vec<(usize, Option<Box<str>>)>) -> HashMap<usize, Reason> {
    let reason = |text: Option<Box<str>>| text.map_or(Cow::Borrowed("not_authorized"), |text| Cow::Owned(text.into()));
    refused.into_iter().map(|(place, text)| (place, reason(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Update {
        Update::parse(text.as_bytes())
    }

    #[test]
    fn topics_are_named_once_and_unknown_actions_name_none() {
        let update = parse(r#"{"action":"subscribe","topics":["b","a","b"],"presence":{"a":1}}"#);
        assert_eq!(update.action, Action::Subscribe);
        assert_eq!(update.topics.keys().collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!((update.recover, update.presence.as_deref()), (false, Some(r#"{"a":1}"#)));
        for text in [
            r#"{"action":"subscribe"}"#,
            r#"{"action":"subscribe","topics":"a"}"#,
            r#"{"action":"subscribe","topics":["a",1]}"#,
            r#"{"action":"dance","topics":["a"]}"#,
            r#"{"topics":["a"]}"#,
            "7",
            "{}",
        ] {
            let update = parse(text);
            assert_eq!((update.action, update.topics.len()), (Action::Unknown, 0), "{text}");
        }
        let many = format!(r#"{{"action":"subscribe","topics":[{}]}}"#, vec![r#""a""#; MAX_TOPICS + 1].join(","));
        assert_eq!(parse(&many).action, Action::Unknown);
        assert!(parse(r#"{"action":"subscribe","topics":[],"presence":[{}]}"#).presence.is_none());
    }

    #[test]
    fn a_malformed_position_costs_its_topic_and_nothing_else() {
        let update = parse(
            r#"{"action":"subscribe","topics":["a"],"recover":true,"recovery":{
                "a":{"epoch":"0a1b2c3d","offset":9007199254740991},"b":{"epoch":"0A1B2C3D","offset":0,"more":[1]},
                "c":null,"d":7,"e":"x","f":[],"g":{},"h":{"epoch":"0a1b2c3","offset":1},"i":{"epoch":"0a1b2c3g","offset":1},
                "j":{"epoch":"0a1b2c3d","offset":-1},"k":{"epoch":"0a1b2c3d","offset":1.5},
                "l":{"epoch":"0a1b2c3d","offset":9007199254740992},"m":{"epoch":"0a1b2c3d","offset":"1"},
                "n":{"epoch":1,"offset":1},"o":{"epoch":"0a1b2c3d"},"p":{"epoch":null,"offset":0},
                "q":{"epoch":"0a1b2c3d","offset":1e400},"r":{"epoch":"0a1b2c3d","offset":99999999999999999999}}}"#,
        );
        let mut good: Vec<_> = update.positions.iter().filter_map(|(topic, at)| Some((&**topic, (*at)?))).collect();
        good.sort_by_key(|(topic, _)| *topic);
        let at = |offset| Position { epoch: 0x0a1b_2c3d, offset };
        assert_eq!(good, [("a", at((1 << 53) - 1)), ("b", at(0))]);
        assert_eq!((update.positions.len(), update.topics.len()), (18, 1));
        for recovery in ["[]", "null", "7", "\"x\"", "{}"] {
            let text = format!(r#"{{"action":"subscribe","topics":["a"],"recover":true,"recovery":{recovery}}}"#);
            assert!(parse(&text).recover && parse(&text).positions.is_empty(), "{recovery}");
        }
        assert!(!parse(r#"{"action":"subscribe","topics":["a"],"recover":1}"#).recover);
    }

    #[test]
    fn large_and_many_positions_cost_no_more_than_their_text() {
        let large = format!("[{}]", vec!["[{}]"; 100_000].join(","));
        let text = format!(r#"{{"action":"subscribe","topics":["a"],"recover":true,"recovery":{{"a":{large}}}}}"#);
        assert_eq!(parse(&text).positions.get("a"), Some(&None));
        let many: Vec<String> = (0..2 * MAX_TOPICS).map(|n| format!("\"{n}\":0")).collect();
        let text = format!(r#"{{"action":"subscribe","topics":[],"recover":true,"recovery":{{{}}}}}"#, many.join(","));
        assert_eq!(parse(&text).positions.len(), MAX_TOPICS);
    }
}
