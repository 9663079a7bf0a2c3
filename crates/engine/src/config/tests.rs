//! The configuration unit tests begin with.

use super::*;
use crate::mailbox::Command;
use crate::shared::Shared;

#[test]
fn the_hard_limit_is_one_that_positions_can_name() {
    let shared = Shared::new(Config { hard_limit: usize::MAX, ..config() });
    shared.shards[0].mailbox.command(Command::Resume);
    let room = shared.room_for(0);
    assert!((1 << 30..2 << 30).contains(&room), "{room}");
}

/// A server that listens nowhere, with small limits and one shard.
pub(crate) fn config() -> Config {
    Config {
        host: "127.0.0.1".into(),
        port: Some(0),
        unix: None,
        backlog: 4096,
        reuse_port: false,
        max_connections: 10,
        endpoints: vec![Endpoint::default()],
        allowed_origins: None,
        trusted_proxies: None,
        auth: None,
        tls: None,
        http: None,
        server_ready: false,
        subscriptions: Subscriptions::App,
        recovery: None,
        authorize: None,
        snapshots: None,
        presence: None,
        outbox: None,
        rate_limit: RateLimit { capacity: 1.0, refill: 1.0 },
        max_message_size: 1024,
        max_json_depth: 8,
        inbound_codecs: true,
        max_inbound_events: 100,
        max_inbound_bytes: 1024,
        inbound_overflow: InboundOverflow::Pause,
        discard_inbound: false,
        reader_timeout: Duration::from_secs(60),
        max_outbound_bytes: 1024,
        slow_consumer: SlowConsumer::Drop,
        max_reassembly_bytes: 1024,
        max_subscriptions: 0,
        max_patterns: 0,
        max_subscription_bytes: 0,
        ping_interval: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        close_timeout: Duration::from_secs(1),
        handshake_timeout: Duration::from_secs(1),
        ask_upgrade: false,
        answer_timeout: Duration::from_secs(1),
        max_waiting: 10,
        max_pending: 10,
        max_pending_per_address: 10,
        release_memory: None,
        shards: 1,
        target_delay: Duration::from_millis(10),
        high_water_mark: 1024,
        hard_limit: 4096,
    }
}
