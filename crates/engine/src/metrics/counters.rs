//! What is counted: by each shard for itself, and by the engine outside of its shards.

use std::sync::atomic::AtomicU64;

use super::counter::Counter;
use super::histogram::Histogram;

/// What one shard counts.
#[derive(Debug, Default)]
pub(crate) struct ShardCounters {
    /// Inbound data messages (text and binary), the engine's own included.
    pub(crate) messages_received: Counter,
    /// Frames accepted into outbound queues, one per connection and frame.
    pub(crate) messages_sent: Counter,
    /// Bytes read from sockets.
    pub(crate) bytes_received: Counter,
    /// Bytes that `C:` and `M:` frames were decoded into, refused ones included.
    pub(crate) decoded_bytes: Counter,
    /// Bytes written to sockets.
    pub(crate) bytes_sent: Counter,
    /// Writes to sockets; `messages_sent / writes` is the depth of the join.
    pub(crate) writes: Counter,
    /// Frames dropped because a connection's budget was used up.
    pub(crate) slow_consumer_drops: Counter,
    /// Frames for connections that were closing.
    pub(crate) too_late: Counter,
    /// Frames to a pattern subscriber withheld by its ACL at delivery.
    pub(crate) acl_denied: Counter,
    /// Work done to match topics: groups of patterns looked for, patterns tried, subscribers collected.
    pub(crate) match_work: Counter,
    /// Bytes still queued when their connection went away.
    pub(crate) abandoned_bytes: Counter,
    /// Connections closed for breaking the protocol or a limit.
    pub(crate) protocol_errors: Counter,
    /// Connections closed as idle, stuck or expired.
    pub(crate) zombies: Counter,
    /// Panics caught while serving one connection.
    pub(crate) panics: Counter,
    /// Times the shard lost its connections to a panic nothing caught, and began again.
    pub(crate) restarts: Counter,
    /// Inbound events dropped (`inboundOverflow: 'drop'`).
    pub(crate) inbound_dropped: Counter,
    /// Inbound events thrown away (`inbound: 'discard'`).
    pub(crate) inbound_discarded: Counter,
    /// Messages that were taken out of outboxes.
    pub(crate) outbox_messages: Counter,
    /// Messages out of outboxes that were taken before, or whose stream has gone on by another connection.
    pub(crate) outbox_repeats: Counter,
    /// Messages out of outboxes that would have overtaken others.
    pub(crate) outbox_deferred: Counter,
    /// Messages out of outboxes that are none.
    pub(crate) outbox_refused: Counter,
    /// Connections that were given to another reader.
    pub(crate) adopted: Counter,
    /// Times reading was paused because the host did not read.
    pub(crate) read_pauses: Counter,
    /// Bytes queued in outbound queues now.
    pub(crate) outbound_bytes: Counter,
    /// Bytes of incomplete inbound messages held now.
    pub(crate) reassembly_bytes: Counter,
    /// Connections whose queue is above the congestion mark now.
    pub(crate) congested: Counter,
    /// Connections that are behind and that publishers wait for now.
    pub(crate) pressing: Counter,
    /// Frames queued for those who had missed them.
    pub(crate) replayed: Counter,
    /// Bytes of them.
    pub(crate) replayed_bytes: Counter,
    /// Requests for what was on its way already.
    pub(crate) replays_coalesced: Counter,
    /// Requests to recover that wait for their turn now.
    pub(crate) replays_waiting: Counter,
    /// Times a connection proved so slow that publishers do not wait for it.
    pub(crate) slow_consumers: Counter,
    /// Tokens that were exchanged on open connections.
    pub(crate) refreshed: Counter,
    /// Tokens that were not.
    pub(crate) refresh_failures: Counter,
    /// Subscriptions and memberships that ended with an exchange.
    pub(crate) topics_ended: Counter,
    /// Accepted socket until the connection is open.
    pub(crate) handshake: Histogram,
    /// First command of a batch waiting in the mailbox.
    pub(crate) queue_wait: Histogram,
    /// One batch distributed and flushed.
    pub(crate) fan_out: Histogram,
}

/// What is counted outside the shards, by several threads.
#[derive(Debug, Default)]
pub(crate) struct EngineCounters {
    pub(crate) accepted: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) auth_failures: AtomicU64,
    /// Connections closed because their token was revoked.
    pub(crate) revoked: AtomicU64,
    pub(crate) rate_limited: AtomicU64,
    pub(crate) deduplicated: AtomicU64,
    pub(crate) publish_refused: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) group_unserved: AtomicU64,
    pub(crate) subscriptions_refused: AtomicU64,
    pub(crate) accept_pauses: AtomicU64,
    /// Connections handed to the host's HTTP server.
    pub(crate) handed: AtomicU64,
    /// Connections the host's HTTP server had no room for.
    pub(crate) handed_refused: AtomicU64,
    /// Requests for health, ready and metrics that were answered.
    pub(crate) questions: AtomicU64,
    /// Upgrades answered 503 because `max_connections` were open.
    pub(crate) full_connections: AtomicU64,
    /// Connects answered 503 because `max_pending` handshakes were in progress, and as many on their way out as may be.
    pub(crate) full_pending: AtomicU64,
    /// Connects answered 503 because `max_pending_per_address` handshakes were.
    pub(crate) full_address: AtomicU64,
    pub(crate) pumped: AtomicU64,
    /// Handshakes refused because as many as may wait for the host's word did.
    pub(crate) waiting_refused: AtomicU64,
    /// Handshakes the host had no word for in time.
    pub(crate) unanswered: AtomicU64,
    /// Sockets of proxies that did not begin with a header of the PROXY protocol.
    pub(crate) proxy_errors: AtomicU64,
    /// Handshakes the host has failed to judge.
    pub(crate) misjudged: AtomicU64,
    /// Updates the host was not asked about because as many as may wait for its word did.
    pub(crate) authorize_overflow: AtomicU64,
    /// Updates the host had no word about in time.
    pub(crate) authorize_unanswered: AtomicU64,
    /// Updates the host has failed to judge.
    pub(crate) authorize_failed: AtomicU64,
    /// Clients that got no state of topics because as many as may wait for it did.
    pub(crate) snapshots_overflow: AtomicU64,
    /// Clients that got no state of topics because the host had not said it in time.
    pub(crate) snapshots_unanswered: AtomicU64,
    /// Clients that got no state of topics because the host has failed to say it.
    pub(crate) snapshots_failed: AtomicU64,
}
