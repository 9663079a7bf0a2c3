//! The connections of one shard whose sockets can go on, in the order in which they became ready. Who adds one is on the shard's
//! thread, or rings for its driver, which takes them. Knows no connection and serves nothing.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::id::ConnId;

/// The queue. Each connection is in it at most once ([`crate::registry::Peer`] sees to it), so it is as long as the shard has
/// connections at most.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue(Mutex<VecDeque<ConnId>>);

impl ReadyQueue {
    /// Adds a connection.
    pub(crate) fn push(&self, id: ConnId) {
        self.0.lock().push_back(id);
    }

    /// Takes the one that waits longest.
    pub(crate) fn pop(&self) -> Option<ConnId> {
        self.0.lock().pop_front()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}
