//! Subscriptions as the shard keeps them: applied in the order of the mailbox, undone when a connection leaves. Interest in
//! the shared index was registered by the caller; what turns out to be a repetition is given back here.

use std::collections::HashSet;
use std::sync::Arc;

use super::Shard;
use crate::conn::Connection;
use crate::id::ConnId;
use crate::topics::TopicEntry;

/// What adding or removing one subscription costs, in deliveries.
pub(super) const CHANGE: usize = 16;
/// Bytes of a request, or of its reply, that are read or written at the cost of one delivery.
pub(super) const BYTES: usize = 16;
/// Held subscriptions that are walked at the cost of one delivery.
const WALKED: usize = 4;

impl Shard {
    /// Adds subscriptions whose interest is registered. Returns the work it was, in deliveries.
    pub(super) fn subscribe(&mut self, to: ConnId, topics: Vec<Arc<TopicEntry>>) -> usize {
        let shared = Arc::clone(&self.context.shared);
        let work = (topics.len() + 1) * CHANGE;
        let Some(connection) = self.connections.get_mut(to.slot()).filter(|connection| connection.id() == to) else {
            // Gone meanwhile: the interest registered for it is void.
            for entry in topics {
                shared.topics.release(&entry, self.index);
                shared.topics.discharge();
            }
            return work;
        };
        let peer = connection.peer();
        let exchanged = shared.config.auth.as_ref().and_then(|_| peer.refreshed_acl());
        let mut details = peer.details.lock();
        let held = details.topics.get_or_insert_default();
        for entry in topics {
            let may = exchanged.as_ref().is_none_or(|acl| acl.allows(&entry.name));
            if may && self.topics.subscribe(&entry, to.slot()) {
                held.push(entry);
            } else {
                shared.give_back(peer, &entry.name);
                shared.topics.release(&entry, self.index);
            }
        }
        work
    }

    /// Ends the subscriptions of these names, or all. Returns the work it was, in deliveries.
    pub(super) fn unsubscribe(&mut self, to: ConnId, names: Option<&[Box<str>]>) -> usize {
        let ended = self.waiting.end(to, names);
        self.give_up(to, ended.into_iter());
        let shared = Arc::clone(&self.context.shared);
        let Self { connections, topics, delivery, served, index, .. } = self;
        let Some(connection) = connections.get_mut(to.slot()).filter(|connection| connection.id() == to) else {
            return CHANGE;
        };
        // What was replayed to it may be needed again once it subscribes anew.
        served.forget(to.slot());
        let peer = Arc::clone(connection.peer());
        let mut work = CHANGE + names.map_or(0, <[_]>::len);
        // One walk however many names there are, and none for what is not held: a peer chooses both numbers
        // (`subscriptions: 'acl'`).
        let leaving: Option<HashSet<u64, foldhash::fast::RandomState>> = names.map(|names| {
            let known = names.iter().filter_map(|name| shared.topics.get(name));
            known.filter(|entry| topics.holds(entry, to.slot())).map(|entry| entry.id).collect()
        });
        let mut drop_entry = |entry: &Arc<TopicEntry>| {
            work += CHANGE;
            topics.unsubscribe(entry, to.slot(), delivery.pool());
            shared.topics.release(entry, *index);
            shared.give_back(&peer, &entry.name);
        };
        let topics = &mut peer.details.lock().topics;
        let mut walked = 0;
        match (leaving, &mut *topics) {
            (_, None) => {}
            (None, Some(held)) => std::mem::take(&mut **held).iter().for_each(&mut drop_entry),
            (Some(leaving), _) if leaving.is_empty() => {}
            (Some(leaving), Some(held)) => {
                walked = held.len();
                held.retain(|entry| {
                    let leaves = leaving.contains(&entry.id);
                    if leaves {
                        drop_entry(entry);
                    }
                    !leaves
                });
            }
        }
        if topics.as_ref().is_some_and(|held| held.is_empty()) {
            *topics = None;
        }
        work + walked / WALKED
    }

    /// Undoes everything a leaving connection had subscribed to, queue groups included.
    pub(super) fn forget_subscriptions(&mut self, connection: &Connection, id: ConnId) {
        let shared = Arc::clone(&self.context.shared);
        let (topics, extras) = {
            let mut details = connection.peer().details.lock();
            details.gone = true;
            (details.topics.take(), details.extras.take())
        };
        for entry in topics.into_iter().flat_map(|topics| *topics) {
            self.topics.unsubscribe(&entry, id.slot(), self.delivery.pool());
            shared.topics.release(&entry, self.index);
            shared.give_back(connection.peer(), &entry.name);
        }
        let Some(extras) = extras else { return };
        if let (Some(user), Some(present)) = (extras.user, extras.present) {
            self.depart(&user, *present);
        }
        for (entry, group) in extras.groups {
            entry.leave_group(&group, id);
            shared.give_back(connection.peer(), &entry.name);
            shared.topics.sweep(&entry);
        }
    }
}
