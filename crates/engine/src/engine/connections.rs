//! Calls about connections and topics: subscriptions, ACLs, queue groups, closing, counting.

use std::sync::Arc;

use wse_protocol::close_code::CloseCode;
use wse_protocol::topic::{Acl, AclError, is_pattern, is_valid_name};

use super::Engine;
use crate::id::ConnId;
use crate::mailbox::Command;
use crate::registry::{ConnectionInfo, Peer};
use crate::shared::Present;
use crate::topics::Refusal;

/// What became of a subscribe call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed {
    /// So many topics were accepted; the others are invalid, not allowed, or beyond the budget.
    Accepted(usize),
    /// The connection has used up its subscriptions.
    NoBudget,
    /// Nobody has this id.
    UnknownConnection,
}

impl Engine {
    /// Subscribes a connection to topics and patterns, or joins it to a queue group of them.
    pub fn subscribe(&self, to: ConnId, topics: &[String], group: Option<&str>) -> Subscribed {
        let Some(peer) = self.shared.registry.get(to) else { return Subscribed::UnknownConnection };
        if let Some(group) = group {
            return self.join_group(&peer, topics, group);
        }
        let Some(admitted) = self.shared.admit_all(&peer, topics.iter()) else { return Subscribed::NoBudget };
        let count = admitted.len();
        if count > 0 {
            self.shared.shards[to.shard()].mailbox.command(Command::Subscribe { to, topics: admitted });
        }
        Subscribed::Accepted(count)
    }

    /// Subscribes a connection to topics and patterns, and makes its user present on the topics. `data`: JSON text of an object;
    /// `None`: they are larger than may be. The subscription succeeds whatever becomes of the presence.
    pub fn subscribe_present(&self, to: ConnId, topics: &[String], data: Option<&str>) -> (Subscribed, Present) {
        let none = Present::default();
        let Some(peer) = self.shared.registry.get(to) else { return (Subscribed::UnknownConnection, none) };
        let Some(admitted) = self.shared.admit_all(&peer, topics.iter()) else { return (Subscribed::NoBudget, none) };
        let count = admitted.len();
        let subscribe = || {
            if count > 0 {
                let command = Command::Subscribe { to, topics: admitted.clone() };
                self.shared.shards[to.shard()].mailbox.command(command);
            }
        };
        let present = self.shared.appear(&peer, &admitted, data, subscribe);
        (Subscribed::Accepted(count), present)
    }

    /// Membership is shared by all shards, so it is changed right here. Patterns have no groups.
    fn join_group(&self, peer: &Arc<Peer>, topics: &[String], group: &str) -> Subscribed {
        let mut accepted = 0;
        for topic in topics.iter().filter(|topic| is_valid_name(topic) && !is_pattern(topic)) {
            if !peer.allows(topic) {
                continue;
            }
            // Under this lock the shard cannot let the connection go, so a membership never outlives it.
            let mut details = peer.details.lock();
            if details.gone {
                return Subscribed::UnknownConnection;
            }
            match self.shared.reserve(peer, topic) {
                Ok(()) => {}
                Err(Refusal::Subscriptions) if accepted == 0 => return Subscribed::NoBudget,
                Err(_) => return Subscribed::Accepted(accepted),
            }
            let mut joined = false;
            match self.shared.topics.entry(topic, |entry| joined = entry.join_group(group, peer.id)) {
                Ok(entry) if joined => details.extras.get_or_insert_default().groups.push((entry, group.into())),
                // A member already.
                _ => self.shared.give_back(peer, topic),
            }
            accepted += 1;
        }
        Subscribed::Accepted(accepted)
    }

    /// Ends subscriptions and memberships of these names, or all of them. False: nobody has this id.
    pub fn unsubscribe(&self, to: ConnId, topics: Option<&[String]>) -> bool {
        let Some(peer) = self.shared.registry.get(to) else { return false };
        let mut left = Vec::new();
        if let Some(extras) = &mut peer.details.lock().extras {
            extras.groups.retain(|(entry, group)| {
                let leaves = topics.is_none_or(|topics| topics.iter().any(|topic| **topic == *entry.name));
                if leaves {
                    left.push((Arc::clone(entry), group.clone()));
                }
                !leaves
            });
        }
        for (entry, group) in left {
            if entry.leave_group(&group, to) {
                self.shared.give_back(&peer, &entry.name);
            }
            self.shared.topics.sweep(&entry);
        }
        let names = topics.map(|topics| topics.iter().map(String::as_str));
        self.shared.vanish(&peer, names, || {
            let topics = topics.map(|topics| topics.iter().map(|topic| topic.as_str().into()).collect());
            self.shared.shards[to.shard()].mailbox.command(Command::Unsubscribe { to, topics });
        });
        true
    }

    /// Replaces the connection's ACL; subscriptions it holds stay, but deliver only what the new one allows. An empty `allow`
    /// allows EVERYTHING that `deny` does not forbid (the published rule): nothing at all is a `deny` of `*`.
    /// `Ok(false)`: nobody has this id.
    ///
    /// # Errors
    /// A pattern is too long or there are too many.
    pub fn set_topic_acl(&self, to: ConnId, allow: &[String], deny: &[String]) -> Result<bool, AclError> {
        let acl = Acl::new(allow, deny)?;
        let Some(peer) = self.shared.registry.get(to) else { return Ok(false) };
        let counted = self.shared.topics.rings().is_some();
        peer.set_acl((!acl.is_unrestricted()).then(|| Arc::new(acl)), counted);
        // The shard has answers of the old one stored.
        self.shared.shards[to.shard()].mailbox.command(Command::AclChanged);
        self.shared.vanish_where_denied(&peer);
        Ok(true)
    }

    /// Closes a connection after what is queued for it. False: nobody has this id.
    pub fn disconnect(&self, to: ConnId, code: CloseCode, reason: &str) -> bool {
        let known = self.shared.registry.contains(to);
        if known {
            self.shared.shards[to.shard()].mailbox.command(Command::Close { to, code, reason: reason.into() });
        }
        known
    }

    /// Connections open now.
    pub fn connection_count(&self) -> usize {
        self.shared.registry.len()
    }

    /// Ids of the connections open now, in no order.
    pub fn connections(&self) -> Vec<u64> {
        self.shared.registry.ids()
    }

    /// The connection's id on the wire, a UUIDv7.
    pub fn connection_uuid(&self, id: ConnId) -> Option<String> {
        self.shared.registry.get(id).map(|peer| peer.uuid.hyphenated().to_string())
    }

    /// The subprotocol its upgrade agreed on. `None`: there is none, or nobody has this id.
    pub fn connection_protocol(&self, id: ConnId) -> Option<Arc<str>> {
        self.shared.registry.get(id)?.subprotocol()
    }

    /// What is known of a connection, from memory all threads share: its topics are those its shard has taken note of. `None`:
    /// nobody has this id.
    pub fn connection_info(&self, id: ConnId) -> Option<ConnectionInfo> {
        self.shared.registry.info(id)
    }

    /// The connections of the user a verified token names, in no order.
    pub fn user_connections(&self, user: &str) -> Vec<u64> {
        self.shared.registry.connections_of(user).into_iter().map(ConnId::as_u64).collect()
    }

    /// Direct subscribers of exactly this name, queue groups not counted.
    pub fn topic_subscribers(&self, topic: &str) -> u64 {
        self.shared.topics.get(topic).map_or(0, |entry| entry.subscribers())
    }

    /// Members of each queue group of a topic.
    pub fn queue_groups(&self, topic: &str) -> Vec<(String, usize)> {
        let Some(entry) = self.shared.topics.get(topic) else { return Vec::new() };
        let groups = entry.groups.lock();
        groups.info().map(|(name, members)| (name.to_owned(), members)).collect()
    }
}
