//! Calls about presence: who is where, and with which data.

use std::sync::Arc;

use super::Engine;
use crate::id::ConnId;
use crate::presence::Refused;

/// A user on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceMember {
    /// As the token, or the host, names them.
    pub user: Arc<str>,
    /// JSON text of an object.
    pub data: Arc<str>,
    /// Connections by which they are there; 0: they have their grace.
    pub connections: u32,
}

/// Why data were not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceError {
    /// Nobody has this id.
    UnknownConnection,
    /// The connection is present on no topic.
    NotPresent,
    /// No presence, data that are too large, or no room for what would be told.
    Refused(Refused),
}

impl Engine {
    /// Bytes of a member's data at most; `None`: the engine has no presence.
    pub fn max_presence_data(&self) -> Option<usize> {
        self.shared.presence.config().map(|config| config.max_data)
    }

    /// Changes the data of a connection's user on every topic it is present on; how many those are. `data`: JSON text of an object.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn update_presence(&self, conn: ConnId, data: &str) -> Result<usize, PresenceError> {
        let peer = self.shared.registry.get(conn).ok_or(PresenceError::UnknownConnection)?;
        let updated = self.shared.update_presence(&peer, data).map_err(PresenceError::Refused)?;
        updated.ok_or(PresenceError::NotPresent)
    }

    /// Who is present on a topic, in no order. Copies pointers under the topic's lock, and no text.
    pub fn presence(&self, topic: &str) -> Vec<PresenceMember> {
        let Some(entry) = self.shared.topics.get(topic) else { return Vec::new() };
        let members = entry.members.lock().as_ref().map(|members| members.list()).unwrap_or_default();
        members.into_iter().map(|(user, data, connections)| PresenceMember { user, data, connections }).collect()
    }

    /// Users on a topic and the connections by which they are there, without a walk.
    pub fn presence_stats(&self, topic: &str) -> (usize, usize) {
        let entry = self.shared.topics.get(topic);
        entry.and_then(|entry| entry.members.lock().as_ref().map(|members| members.stats())).unwrap_or_default()
    }
}
