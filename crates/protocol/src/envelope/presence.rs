//! The messages that say who is present (docs/protocol.md, "Presence"). Alphabetical keys at all depths; the data go in as they are.

use serde_json::Value;

/// What has become of a user on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceChange {
    /// Their first connection is there.
    Join,
    /// Their data are others.
    Update,
    /// Their last connection is gone.
    Leave,
}

impl PresenceChange {
    /// The type of its message.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Join => "presence_join",
            Self::Update => "presence_update",
            Self::Leave => "presence_leave",
        }
    }
}

/// The message about a change: neither stamped nor versioned. `data` is the JSON text of an object.
pub fn presence(change: PresenceChange, topic: &str, user: &str, data: &str) -> String {
    let [topic, user] = [topic, user].map(|text| Value::from(text).to_string());
    [
        r#"{"c":"WSE","p":{"data":"#,
        data,
        r#","topic":"#,
        &topic,
        r#","user_id":"#,
        &user,
        r#"},"t":""#,
        change.name(),
        r#""}"#,
    ]
    .concat()
}

/// The same change as its host hears of it: the payload alone.
pub fn presence_payload(topic: &str, user: &str, data: &str) -> String {
    let [topic, user] = [topic, user].map(|text| Value::from(text).to_string());
    [r#"{"data":"#, data, r#","topic":"#, &topic, r#","user_id":"#, &user, "}"].concat()
}
