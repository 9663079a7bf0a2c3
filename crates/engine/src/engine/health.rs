//! What an engine tells of itself: the health snapshot and the Prometheus text (wire-protocol §19). Names that belong to
//! features of later steps are there with their resting value, because existing dashboards read them.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::Engine;
use crate::metrics::{Cell, Exposition, Histogram, ShardCells, Snapshot};

/// Topics listed in `wse_topic_messages_total`.
const BUSIEST: usize = 50;

impl Engine {
    /// Events waiting for the host.
    pub fn inbound_queue_depth(&self) -> usize {
        self.shared.inbound.depth()
    }

    /// Whether a host thread drains events.
    pub fn is_drained(&self) -> bool {
        self.shared.inbound.is_drained()
    }

    /// Events dropped because the host did not drain (`inboundOverflow: 'drop'`).
    pub fn inbound_dropped(&self) -> u64 {
        self.sum(|cells| &cells.inbound_dropped)
    }

    /// The health snapshot as one JSON object.
    pub fn health(&self) -> Value {
        let shared = &self.shared;
        json!({
            "connections": self.connection_count(),
            "inbound_queue_depth": self.inbound_queue_depth(),
            "inbound_dropped": self.inbound_dropped(),
            "inbound_drained": self.is_drained(),
            "cluster_connected": false,
            "cluster_peer_count": 0,
            "cluster_messages_sent": 0,
            "cluster_messages_delivered": 0,
            "cluster_messages_dropped": 0,
            "cluster_bytes_sent": 0,
            "cluster_bytes_received": 0,
            "cluster_reconnect_count": 0,
            "cluster_unknown_message_types": 0,
            "cluster_dlq_size": 0,
            "uptime_secs": shared.clock.uptime().as_secs_f64(),
            "recovery_enabled": false,
            "recovery_topic_count": 0,
            "recovery_total_bytes": 0,
            "presence_enabled": false,
            "shards": shared.ports.len(),
            "draining": shared.draining.load(Relaxed),
            "topics": shared.topics.len(),
            "pending_handshakes": shared.pending.len(),
            "outbound_bytes": self.sum(|cells| &cells.outbound_bytes),
            "outbound_limit_bytes": shared.config.max_outbound_bytes,
            "inbox_bytes": shared.ports.iter().map(|port| port.inbox.weight()).sum::<usize>(),
            "inbox_high_water_bytes": shared.config.high_water_mark,
            "inbox_limit_bytes": shared.config.hard_limit,
            "reassembly_bytes": self.sum(|cells| &cells.reassembly_bytes),
            "reassembly_limit_bytes": shared.config.max_reassembly_bytes * shared.ports.len(),
            "congested_connections": self.sum(|cells| &cells.congested),
            "slow_consumer_drops": self.sum(|cells| &cells.slow_consumer_drops),
            "messages_received": self.sum(|cells| &cells.messages_received),
            "messages_sent": self.sum(|cells| &cells.messages_sent),
            "bytes_received": self.sum(|cells| &cells.bytes_received),
            "bytes_sent": self.sum(|cells| &cells.bytes_sent),
            "writes": self.sum(|cells| &cells.writes),
        })
    }

    /// The Prometheus text exposition.
    pub fn prometheus(&self) -> String {
        let shared = &self.shared;
        let own = &shared.cells;
        let mut text = Exposition::default();
        text.gauge("wse_connections", "Open connections.", self.connection_count());
        text.gauge("wse_inbound_queue_depth", "Inbound events waiting for the host.", self.inbound_queue_depth());
        text.gauge(
            "wse_uptime_seconds",
            "Seconds since the engine was created.",
            format_args!("{:.1}", shared.clock.uptime().as_secs_f64()),
        );
        text.gauge("wse_topics", "Topics and patterns with a subscriber.", shared.topics.len());
        text.gauge("wse_cluster_peers", "Connected cluster peers.", 0);
        text.gauge("wse_max_connections", "Limit of wse_connections.", shared.config.max_connections);
        text.gauge("wse_pending_handshakes", "Handshakes in progress.", shared.pending.len());
        text.gauge("wse_outbound_bytes", "Bytes queued for connections.", self.sum(|cells| &cells.outbound_bytes));
        text.gauge(
            "wse_inbox_bytes",
            "Bytes published but not distributed yet.",
            shared.ports.iter().map(|port| port.inbox.weight()).sum::<usize>(),
        );
        text.gauge(
            "wse_reassembly_bytes",
            "Bytes held for incomplete inbound messages.",
            self.sum(|cells| &cells.reassembly_bytes),
        );
        text.gauge(
            "wse_congested_connections",
            "Connections whose outbound queue is above the congestion mark.",
            self.sum(|cells| &cells.congested),
        );
        let shard = |text: &mut Exposition, name, help, cell: fn(&ShardCells) -> &Cell| {
            text.counter(name, help, self.sum(cell))
        };
        shard(&mut text, "wse_messages_received_total", "Inbound data messages.", |cells| &cells.messages_received);
        shard(
            &mut text,
            "wse_messages_sent_total",
            "Data frames queued for connections, each connection counted.",
            |cells| &cells.messages_sent,
        );
        text.counter("wse_connections_accepted_total", "Connections opened.", own.accepted.load(Relaxed));
        text.counter(
            "wse_connections_rejected_total",
            "Handshakes refused, failed or too slow.",
            own.rejected.load(Relaxed),
        );
        shard(&mut text, "wse_bytes_received_total", "Bytes read from connections.", |cells| &cells.bytes_received);
        shard(&mut text, "wse_bytes_sent_total", "Bytes written to connections.", |cells| &cells.bytes_sent);
        text.counter("wse_auth_failures_total", "Handshakes without a valid token.", own.auth_failures.load(Relaxed));
        text.counter(
            "wse_rate_limited_total",
            "Events refused by send_event's rate limit.",
            own.rate_limited.load(Relaxed),
        );
        shard(
            &mut text,
            "wse_inbound_dropped_total",
            "Inbound events dropped because the host did not drain.",
            |cells| &cells.inbound_dropped,
        );
        shard(
            &mut text,
            "wse_slow_consumer_drops_total",
            "Frames dropped because a connection's outbound budget was used up.",
            |cells| &cells.slow_consumer_drops,
        );
        for (name, help) in CLUSTER {
            text.counter(name, help, 0);
        }
        let busiest = shared.topics.busiest(BUSIEST);
        text.labelled(
            "wse_topic_messages_total",
            "Publications of the 50 busiest topics that have subscribers.",
            "topic",
            busiest.iter().map(|(name, count)| (&**name, *count)),
        );
        text.counter(
            "wse_events_deduplicated_total",
            "Events refused by send_event because their id was sent before.",
            own.deduplicated.load(Relaxed),
        );
        text.counter(
            "wse_publish_refused_total",
            "Publications refused above the hard limit.",
            own.publish_refused.load(Relaxed),
        );
        text.counter(
            "wse_group_unserved_total",
            "Publications a queue group had no member for.",
            own.group_unserved.load(Relaxed),
        );
        shard(&mut text, "wse_too_late_total", "Frames for connections that were closing already.", |cells| {
            &cells.too_late
        });
        text.counter(
            "wse_accept_pauses_total",
            "Times no connection was accepted because the host did not drain.",
            own.accept_pauses.load(Relaxed),
        );
        text.counter(
            "wse_accept_errors_total",
            "Sockets the system could not accept.",
            own.accept_errors.load(Relaxed),
        );
        shard(
            &mut text,
            "wse_socket_writes_total",
            "Writes to sockets; messages per write is the depth of the join.",
            |cells| &cells.writes,
        );
        shard(&mut text, "wse_acl_denied_total", "Deliveries withheld by an ACL.", |cells| &cells.acl_denied);
        shard(&mut text, "wse_abandoned_bytes_total", "Bytes still queued when their connection ended.", |cells| {
            &cells.abandoned_bytes
        });
        shard(&mut text, "wse_protocol_errors_total", "Connections closed for a violation or a limit.", |cells| {
            &cells.protocol_errors
        });
        shard(&mut text, "wse_zombies_total", "Connections closed as idle, stuck or expired.", |cells| &cells.zombies);
        shard(
            &mut text,
            "wse_read_pauses_total",
            "Times a connection was not read because the host did not drain.",
            |cells| &cells.read_pauses,
        );
        shard(&mut text, "wse_panics_total", "Panics caught while serving a connection.", |cells| &cells.panics);
        self.histogram(&mut text, "wse_handshake_seconds", "From accepted socket to open connection.", |cells| {
            &cells.handshake
        });
        self.histogram(
            &mut text,
            "wse_queue_wait_seconds",
            "Wait of a batch of commands in a shard's inbox.",
            |cells| &cells.queue_wait,
        );
        self.histogram(&mut text, "wse_fan_out_seconds", "Distributing and flushing one batch.", |cells| {
            &cells.fan_out
        });
        text.finish()
    }

    fn sum(&self, cell: impl Fn(&ShardCells) -> &Cell) -> u64 {
        self.shared.ports.iter().map(|port| cell(&port.cells).get()).fold(0, u64::wrapping_add)
    }

    fn histogram(&self, text: &mut Exposition, name: &str, help: &str, of: impl Fn(&ShardCells) -> &Histogram) {
        let mut sum = Snapshot::default();
        for port in &self.shared.ports {
            of(&port.cells).add_to(&mut sum);
        }
        text.histogram(name, help, &sum);
    }
}

/// Counters of the cluster, which is not built yet.
const CLUSTER: [(&str, &str); 6] = [
    ("wse_cluster_messages_sent_total", "Publications sent to peers."),
    ("wse_cluster_messages_delivered_total", "Publications from peers delivered."),
    ("wse_cluster_messages_dropped_total", "Publications to peers dropped."),
    ("wse_cluster_bytes_sent_total", "Bytes sent to peers."),
    ("wse_cluster_bytes_received_total", "Bytes received from peers."),
    ("wse_cluster_reconnects_total", "Reconnects to peers."),
];
