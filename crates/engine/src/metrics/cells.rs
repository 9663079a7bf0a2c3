//! The counters themselves.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Histogram;

/// A counter with one writer: adding is a plain load and store, no locked instruction on the hot path.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`. Only the owning thread may call it.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Moves a gauge by the change of one part of it. Only the owning thread may call it.
    #[inline]
    pub(crate) fn shift(&self, before: usize, after: usize) {
        // Saturating: a panic between two changes must not leave a gauge at 2^64.
        self.0.store((self.0.load(Relaxed) + after as u64).saturating_sub(before as u64), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one shard counts.
#[derive(Debug, Default)]
pub(crate) struct ShardCells {
    /// Inbound data messages (text and binary), the engine's own included.
    pub(crate) messages_received: Cell,
    /// Frames accepted into outbound queues, one per connection and frame.
    pub(crate) messages_sent: Cell,
    /// Bytes read from sockets.
    pub(crate) bytes_received: Cell,
    /// Bytes written to sockets.
    pub(crate) bytes_sent: Cell,
    /// Writes to sockets; `messages_sent / writes` is the depth of the join.
    pub(crate) writes: Cell,
    /// Frames dropped because a connection's budget was used up.
    pub(crate) slow_consumer_drops: Cell,
    /// Frames for connections that were closing.
    pub(crate) too_late: Cell,
    /// Frames to a pattern subscriber withheld by its ACL at delivery.
    pub(crate) acl_denied: Cell,
    /// Bytes still queued when their connection went away.
    pub(crate) abandoned_bytes: Cell,
    /// Connections closed for breaking the protocol or a limit.
    pub(crate) protocol_errors: Cell,
    /// Connections closed as idle, stuck or expired.
    pub(crate) zombies: Cell,
    /// Panics caught while serving one connection.
    pub(crate) panics: Cell,
    /// Inbound events dropped (`inboundOverflow: 'drop'`).
    pub(crate) inbound_dropped: Cell,
    /// Times reading was paused because the host did not drain.
    pub(crate) read_pauses: Cell,
    /// Bytes queued in outbound queues now.
    pub(crate) outbound_bytes: Cell,
    /// Bytes of incomplete inbound messages held now.
    pub(crate) reassembly_bytes: Cell,
    /// Connections whose queue is above the congestion mark now.
    pub(crate) congested: Cell,
    /// Those among them that slow publishers down.
    pub(crate) pressing: Cell,
    /// Accepted socket until the connection is open.
    pub(crate) handshake: Histogram,
    /// First command of a batch waiting in the inbox.
    pub(crate) queue_wait: Histogram,
    /// One batch distributed and flushed.
    pub(crate) fan_out: Histogram,
}

/// What is counted outside the shards, by several threads.
#[derive(Debug, Default)]
pub(crate) struct EngineCells {
    pub(crate) accepted: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) auth_failures: AtomicU64,
    pub(crate) rate_limited: AtomicU64,
    pub(crate) deduplicated: AtomicU64,
    pub(crate) publish_refused: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) group_unserved: AtomicU64,
    pub(crate) accept_pauses: AtomicU64,
}

/// Adds to a counter that several threads share.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
