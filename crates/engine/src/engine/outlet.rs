//! Calls about requests that are the host's: connections handed to it, and the limits that turned somebody away.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Engine;
use crate::net::{Question, Relay, Reply, UNAVAILABLE, reply};
use crate::outlet::Released;

/// Limits that were met since the start: somebody was answered 503 because of each that is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitsMet {
    /// `max_connections`.
    pub connections: bool,
    /// `max_pending`.
    pub pending: bool,
    /// `max_pending_per_address`.
    pub per_address: bool,
}

impl Engine {
    /// Sets what is called, from any thread, when connections wait for the host where none waited before.
    pub fn on_sockets(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.shared.outlet.on_waiting(wake);
    }

    /// Takes up to `max` connections whose requests are the host's; who gets `max` takes again.
    pub fn take_sockets(&self, max: usize) -> Vec<Released> {
        self.shared.outlet.take(max)
    }

    /// The host takes no more: those that wait, and all that come, are answered 503.
    pub fn refuse_sockets(&self) {
        for handed in self.shared.outlet.close() {
            self.shared.counters.handed_refused.fetch_add(1, Relaxed);
            // One attempt that cannot block: nothing was written to the socket yet.
            let _ = (&handed.stream).write(UNAVAILABLE.as_bytes());
        }
    }

    /// What the engine says to a question that the host has read, behind others of a connection that is the host's: the beginning of
    /// its request line, its Host, and what its proxies say. `address`: of the connection's [`crate::Source`]; `None`: nobody knows,
    /// and it is not allowed. `loopback`: of the same. `None`: it is no question.
    pub fn probe(
        &self,
        line: &str,
        host: Option<&str>,
        relay: Relay,
        address: Option<IpAddr>,
        loopback: bool,
    ) -> Option<Reply> {
        let question = Question::read(&self.shared.config, line, host, relay)?;
        Some(reply(&self.shared, &question, address, loopback))
    }

    /// Which limits have turned somebody away.
    pub fn limits_met(&self) -> LimitsMet {
        let counters = &self.shared.counters;
        LimitsMet {
            connections: counters.full_connections.load(Relaxed) > 0,
            pending: counters.full_pending.load(Relaxed) > 0,
            per_address: counters.full_address.load(Relaxed) > 0,
        }
    }
}
