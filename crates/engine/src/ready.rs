//! The connections of one shard whose sockets can go on, in the order in which they became ready. Anybody may add one; the
//! shard's driver takes them. Knows no connection and serves nothing.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use crate::id::ConnId;

/// The queue. Each connection is in it at most once ([`crate::registry::Peer`] sees to it), so it is as long as the shard has
/// connections at most.
#[derive(Debug)]
pub(crate) struct ReadyQueue(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    connections: VecDeque<ConnId>,
    /// Wakes the driver.
    driver: Waker,
}

impl Default for ReadyQueue {
    fn default() -> Self {
        Self(Mutex::new(Waiting { connections: VecDeque::new(), driver: Waker::noop().clone() }))
    }
}

impl ReadyQueue {
    /// Adds a connection, and wakes the driver if it is the first.
    pub(crate) fn push(&self, id: ConnId) {
        let mut waiting = self.0.lock();
        waiting.connections.push_back(id);
        if waiting.connections.len() == 1 {
            waiting.driver.wake_by_ref();
        }
    }

    /// Takes the one that waits longest.
    pub(crate) fn pop(&self) -> Option<ConnId> {
        self.0.lock().connections.pop_front()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().connections.is_empty()
    }

    /// Pending while none waits: the first one that is added wakes `driver`.
    pub(crate) fn poll_some(&self, driver: &Waker) -> Poll<()> {
        let mut waiting = self.0.lock();
        if waiting.connections.is_empty() {
            waiting.driver.clone_from(driver);
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}
