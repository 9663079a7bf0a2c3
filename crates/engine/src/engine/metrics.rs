//! What an engine tells of itself: ONE table of everything it measures, read by the health snapshot and by the Prometheus text
//! (docs/operations.md). Names that belong to features of later versions are there with their resting value, because existing
//! dashboards read them. A new metric is a new line here, which makes the
//! file longer than others.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use serde_json::{Map, Value};

use super::Engine;
use crate::asking::Subject;
use crate::metrics::{Counter, EngineCounters, Exposition, Histogram, ShardCounters, Snapshot};
use crate::presence::Gauges;
use crate::shared::Shared;
use crate::topics::{MAX_PATTERN_WORK, Rings};

/// Topics listed in `wse_topic_messages_total`.
const BUSIEST: usize = 50;

/// One thing that is measured, and its names.
struct Metric {
    /// Its key in the health snapshot.
    health: Option<&'static str>,
    /// Its family in the Prometheus text.
    family: Option<&'static str>,
    help: &'static str,
    kind: Kind,
    read: Read,
}

/// How Prometheus is to take it.
#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

/// Where it is read.
enum Read {
    /// The sum over all shards.
    Shards(fn(&ShardCounters) -> &Counter),
    /// A counter of the engine.
    Engine(fn(&EngineCounters) -> &AtomicU64),
    /// Anything else that is counted.
    Count(fn(&Shared) -> usize),
    /// Anything of presence, where there is presence.
    Presence(fn(&Gauges) -> u64),
    /// A state.
    Flag(fn(&Shared) -> bool),
    /// One of a few words.
    Word(fn(&Shared) -> &'static str),
    /// Seconds since the engine was created.
    Uptime,
}

const fn gauge(health: &'static str, family: &'static str, help: &'static str, read: Read) -> Metric {
    Metric { health: Some(health), family: Some(family), help, kind: Kind::Gauge, read }
}

const fn counter(health: &'static str, family: &'static str, help: &'static str, read: Read) -> Metric {
    Metric { health: Some(health), family: Some(family), help, kind: Kind::Counter, read }
}

/// Only in the Prometheus text.
const fn total(family: &'static str, help: &'static str, read: Read) -> Metric {
    Metric { health: None, family: Some(family), help, kind: Kind::Counter, read }
}

/// Only in the health snapshot.
const fn health(key: &'static str, read: Read) -> Metric {
    Metric { health: Some(key), family: None, help: "", kind: Kind::Gauge, read }
}

const NONE: Read = Read::Count(|_| 0);
const NO: Read = Read::Flag(|_| false);

/// A count as the table has them.
fn whole(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

const METRICS: &[Metric] = &[
    gauge("connections", "wse_connections", "Open connections.", Read::Count(|shared| shared.registry.len())),
    gauge(
        "inbound_queue_depth",
        "wse_inbound_queue_depth",
        "Inbound events waiting for the host.",
        Read::Count(|shared| shared.inbound.depth()),
    ),
    counter(
        "inbound_dropped",
        "wse_inbound_dropped_total",
        "Inbound events dropped because the host did not read.",
        Read::Shards(|counters| &counters.inbound_dropped),
    ),
    counter(
        "inbound_discarded",
        "wse_inbound_discarded_total",
        "Inbound events thrown away because nobody is to read them.",
        Read::Shards(|counters| &counters.inbound_discarded),
    ),
    gauge(
        "readers",
        "wse_readers",
        "Host threads that read events, stalled ones included.",
        Read::Count(|shared| shared.inbound.readers()),
    ),
    gauge(
        "readers_stalled",
        "wse_readers_stalled",
        "Readers that have stopped reading while events waited, and have not come back.",
        Read::Count(|shared| shared.inbound.stalled()),
    ),
    counter(
        "reader_stalls",
        "wse_reader_stalls_total",
        "Times a reader stopped reading while events waited.",
        Read::Count(|shared| usize::try_from(shared.inbound.stalls()).unwrap_or(usize::MAX)),
    ),
    counter(
        "connections_adopted",
        "wse_connections_adopted_total",
        "Connections that were given to another reader.",
        Read::Shards(|counters| &counters.adopted),
    ),
    health("inbound_drained", Read::Flag(|shared| shared.inbound.has_reader())),
    health("cluster_connected", NO),
    gauge("cluster_peer_count", "wse_cluster_peers", "Connected cluster peers.", NONE),
    counter("cluster_messages_sent", "wse_cluster_messages_sent_total", "Publications sent to peers.", NONE),
    counter(
        "cluster_messages_delivered",
        "wse_cluster_messages_delivered_total",
        "Publications from peers delivered.",
        NONE,
    ),
    counter("cluster_messages_dropped", "wse_cluster_messages_dropped_total", "Publications to peers dropped.", NONE),
    counter("cluster_bytes_sent", "wse_cluster_bytes_sent_total", "Bytes sent to peers.", NONE),
    counter("cluster_bytes_received", "wse_cluster_bytes_received_total", "Bytes received from peers.", NONE),
    counter("cluster_reconnect_count", "wse_cluster_reconnects_total", "Reconnects to peers.", NONE),
    health("cluster_unknown_message_types", NONE),
    health("cluster_dlq_size", NONE),
    gauge("uptime_secs", "wse_uptime_seconds", "Seconds since the engine was created.", Read::Uptime),
    health("recovery_enabled", Read::Flag(|shared| shared.topics.rings().is_some())),
    gauge(
        "recovery_topic_count",
        "wse_recovery_topics",
        "Topics with a position, kept messages or none.",
        Read::Count(|shared| shared.topics.rings().map_or(0, Rings::streams)),
    ),
    gauge(
        "recovery_total_bytes",
        "wse_recovery_bytes",
        "Bytes that what can be recovered takes.",
        Read::Count(|shared| shared.topics.rings().map_or(0, Rings::bytes)),
    ),
    gauge(
        "recovery_memory_budget",
        "wse_recovery_memory_budget_bytes",
        "Bytes it may take.",
        Read::Count(|shared| shared.topics.rings().map_or(0, |rings| rings.config.memory_budget)),
    ),
    gauge(
        "recovery_idle_bytes",
        "wse_recovery_idle_bytes",
        "Bytes of positions without a message: at half of what may be taken, a subscription alone begins no other.",
        Read::Count(|shared| shared.topics.rings().map_or(0, Rings::idle)),
    ),
    counter(
        "recovery_evicted",
        "wse_recovery_evicted_total",
        "Topics whose messages were forgotten because memory was scarce.",
        Read::Count(|shared| shared.topics.rings().map_or(0, |rings| whole(rings.evicted()))),
    ),
    counter(
        "recovery_expired",
        "wse_recovery_expired_total",
        "Topics whose messages were forgotten because they were old.",
        Read::Count(|shared| shared.topics.rings().map_or(0, |rings| whole(rings.expired()))),
    ),
    counter(
        "recovery_replayed",
        "wse_recovery_replayed_total",
        "Messages queued for connections that had missed them.",
        Read::Shards(|counters| &counters.replayed),
    ),
    counter(
        "recovery_replayed_bytes",
        "wse_recovery_replayed_bytes_total",
        "Bytes of them.",
        Read::Shards(|counters| &counters.replayed_bytes),
    ),
    counter(
        "recovery_coalesced",
        "wse_recovery_coalesced_total",
        "Requests for messages that were on their way already.",
        Read::Shards(|counters| &counters.replays_coalesced),
    ),
    gauge(
        "recovery_waiting",
        "wse_recovery_waiting",
        "Requests to recover that wait because as much as may be replayed per second was.",
        Read::Shards(|counters| &counters.replays_waiting),
    ),
    gauge(
        "outbox_streams",
        "wse_outbox_streams",
        "Streams of messages out of clients' outboxes that are remembered.",
        Read::Count(|shared| shared.windows.streams()),
    ),
    counter(
        "outbox_messages",
        "wse_outbox_messages_total",
        "Messages taken out of clients' outboxes.",
        Read::Shards(|counters| &counters.outbox_messages),
    ),
    counter(
        "outbox_repeats",
        "wse_outbox_repeats_total",
        "Messages out of outboxes that were sent again and refused: they were taken before, or come by another connection.",
        Read::Shards(|counters| &counters.outbox_repeats),
    ),
    total(
        "wse_outbox_deferred_total",
        "Messages out of outboxes not taken yet, because they would overtake others: their clients send them again.",
        Read::Shards(|counters| &counters.outbox_deferred),
    ),
    counter(
        "outbox_refused",
        "wse_outbox_refused_total",
        "Messages out of outboxes refused for good: malformed, or of too many streams.",
        Read::Shards(|counters| &counters.outbox_refused),
    ),
    total(
        "wse_outbox_evicted_total",
        "Streams forgotten because of outbox.maxStreams.",
        Read::Count(|shared| whole(shared.windows.evicted())),
    ),
    total(
        "wse_outbox_expired_total",
        "Streams forgotten because of outbox.ttl.",
        Read::Count(|shared| whole(shared.windows.expired())),
    ),
    health("presence_enabled", Read::Flag(|shared| shared.presence.config().is_some())),
    gauge("presence_topics", "wse_presence_topics", "Topics with members.", Read::Presence(|g| now(&g.topics))),
    gauge(
        "presence_total_users",
        "wse_presence_users",
        "Members of all topics; a user on two topics counts twice.",
        Read::Presence(|g| now(&g.members)),
    ),
    gauge(
        "presence_waiting",
        "wse_presence_waiting",
        "Members without a connection, who have their grace.",
        Read::Presence(|g| now(&g.waiting)),
    ),
    gauge(
        "presence_departing",
        "wse_presence_departing",
        "Presences of connections that have ended, about to be taken out.",
        Read::Presence(|g| now(&g.departing)),
    ),
    gauge(
        "presence_bytes",
        "wse_presence_bytes",
        "Bytes of memory that members take, estimated from the lengths of their names and data.",
        Read::Presence(|g| now(&g.bytes)),
    ),
    total("wse_presence_joins_total", "Users who came to a topic.", Read::Presence(|g| g.joins.load(Relaxed))),
    total(
        "wse_presence_updates_total",
        "Changes of members' data that were told.",
        Read::Presence(|g| g.updates.load(Relaxed)),
    ),
    total("wse_presence_leaves_total", "Users who left a topic.", Read::Presence(|g| g.leaves.load(Relaxed))),
    total(
        "wse_presence_too_large_total",
        "Presences refused because of presence.maxDataSize.",
        Read::Presence(|g| g.too_large.load(Relaxed)),
    ),
    total(
        "wse_presence_full_total",
        "Presences refused because of presence.maxMembers.",
        Read::Presence(|g| g.full.load(Relaxed)),
    ),
    total(
        "wse_presence_no_user_total",
        "Presences refused because nobody has named the connection's user.",
        Read::Presence(|g| g.no_user.load(Relaxed)),
    ),
    total(
        "wse_presence_overloaded_total",
        "Presences refused because what is told of them would break the hard limit.",
        Read::Presence(|g| g.overloaded.load(Relaxed)),
    ),
    health("shards", Read::Count(|shared| shared.shards.len())),
    health("driver", Read::Word(|shared| if shared.inline.load(Relaxed) { "inline" } else { "threads" })),
    health("draining", Read::Flag(|shared| shared.draining.load(Relaxed))),
    gauge("topics", "wse_topics", "Topics and patterns with a subscriber.", Read::Count(|shared| shared.topics.len())),
    gauge(
        "subscription_bytes",
        "wse_subscription_bytes",
        "Bytes of memory that topics and subscriptions take, estimated from the lengths of their names.",
        Read::Count(|shared| shared.topics.bytes()),
    ),
    health("subscription_limit_bytes", Read::Count(|shared| shared.config.max_subscription_bytes)),
    gauge(
        "pattern_work",
        "wse_pattern_work",
        "Lookups and patterns one publication may cost, at most twice this.",
        Read::Count(|shared| shared.topics.pattern_work()),
    ),
    health("pattern_work_limit", Read::Count(|_| MAX_PATTERN_WORK)),
    gauge(
        "max_connections",
        "wse_max_connections",
        "Limit of wse_connections.",
        Read::Count(|shared| shared.config.max_connections),
    ),
    gauge(
        "pending_handshakes",
        "wse_pending_handshakes",
        "Handshakes in progress.",
        Read::Count(|shared| shared.admission.len()),
    ),
    gauge(
        "waiting_upgrades",
        "wse_waiting_upgrades",
        "Handshakes that wait for what onUpgrade or jwt.keys says.",
        Read::Count(|shared| shared.asking.parked()),
    ),
    health("waiting_upgrades_limit", Read::Count(|shared| shared.config.max_waiting)),
    gauge(
        "outbound_bytes",
        "wse_outbound_bytes",
        "Bytes of memory that the outbound queues of connections keep alive.",
        Read::Shards(|counters| &counters.outbound_bytes),
    ),
    health("outbound_limit_bytes", Read::Count(|shared| shared.config.max_outbound_bytes)),
    gauge(
        "inbox_bytes",
        "wse_inbox_bytes",
        "Bytes published but not distributed yet.",
        Read::Count(|shared| shared.shards.iter().map(|shard| shard.mailbox.weight()).sum()),
    ),
    gauge(
        "inbox_mark_bytes",
        "wse_inbox_mark_bytes",
        "Bytes of wse_inbox_bytes above which publishers should wait; follows publisher.targetDelay.",
        Read::Count(|shared| shared.shards.iter().map(|shard| shard.mailbox.mark()).sum()),
    ),
    health("inbox_high_water_bytes", Read::Count(|shared| shared.config.high_water_mark)),
    health("inbox_limit_bytes", Read::Count(|shared| shared.config.hard_limit)),
    gauge(
        "reassembly_bytes",
        "wse_reassembly_bytes",
        "Bytes held for incomplete inbound messages.",
        Read::Shards(|counters| &counters.reassembly_bytes),
    ),
    health("reassembly_limit_bytes", Read::Count(|shared| shared.config.max_reassembly_bytes * shared.shards.len())),
    gauge(
        "congested_connections",
        "wse_congested_connections",
        "Connections whose outbound queue is above the congestion mark.",
        Read::Shards(|counters| &counters.congested),
    ),
    gauge(
        "pressing_connections",
        "wse_pressing_connections",
        "Connections that are behind and that publishers wait for.",
        Read::Shards(|counters| &counters.pressing),
    ),
    counter(
        "slow_consumers",
        "wse_slow_consumers_total",
        "Times a connection proved so slow that publishers do not wait for it.",
        Read::Shards(|counters| &counters.slow_consumers),
    ),
    counter(
        "slow_consumer_drops",
        "wse_slow_consumer_drops_total",
        "Frames dropped because a connection's outbound budget was used up.",
        Read::Shards(|counters| &counters.slow_consumer_drops),
    ),
    counter(
        "messages_received",
        "wse_messages_received_total",
        "Inbound data messages.",
        Read::Shards(|counters| &counters.messages_received),
    ),
    counter(
        "messages_sent",
        "wse_messages_sent_total",
        "Data frames queued for connections, each connection counted.",
        Read::Shards(|counters| &counters.messages_sent),
    ),
    counter(
        "bytes_received",
        "wse_bytes_received_total",
        "Bytes read from connections.",
        Read::Shards(|counters| &counters.bytes_received),
    ),
    counter(
        "bytes_sent",
        "wse_bytes_sent_total",
        "Bytes written to connections.",
        Read::Shards(|counters| &counters.bytes_sent),
    ),
    counter(
        "writes",
        "wse_socket_writes_total",
        "Writes to sockets; messages per write is the depth of the join.",
        Read::Shards(|counters| &counters.writes),
    ),
    total("wse_connections_accepted_total", "Connections opened.", Read::Engine(|engine| &engine.accepted)),
    total(
        "wse_connections_rejected_total",
        "Handshakes refused, failed or too slow.",
        Read::Engine(|engine| &engine.rejected),
    ),
    total(
        "wse_refused_max_connections_total",
        "Upgrades answered 503 because maxConnections were open.",
        Read::Engine(|engine| &engine.full_connections),
    ),
    total(
        "wse_refused_max_pending_total",
        "Connects answered 503 because of handshake.maxPending.",
        Read::Engine(|engine| &engine.full_pending),
    ),
    total(
        "wse_refused_max_pending_per_address_total",
        "Connects answered 503 because of handshake.maxPendingPerAddress.",
        Read::Engine(|engine| &engine.full_address),
    ),
    gauge(
        "http_waiting",
        "wse_http_waiting",
        "Connections that wait to be taken by the application's HTTP server.",
        Read::Count(|shared| shared.outlet.len()),
    ),
    health("http_waiting_limit", Read::Count(|shared| shared.outlet.max())),
    total(
        "wse_http_handed_total",
        "Connections handed to the application's HTTP server.",
        Read::Engine(|engine| &engine.handed),
    ),
    total(
        "wse_http_refused_total",
        "Connections answered 503 because the application's HTTP server has taken none for long, or is closed.",
        Read::Engine(|engine| &engine.handed_refused),
    ),
    total(
        "wse_http_answers_total",
        "Requests for health, ready and metrics that were answered.",
        Read::Engine(|engine| &engine.questions),
    ),
    total("wse_auth_failures_total", "Handshakes without a valid token.", Read::Engine(|engine| &engine.auth_failures)),
    total(
        "wse_token_refreshes_total",
        "Tokens exchanged on open connections.",
        Read::Shards(|counters| &counters.refreshed),
    ),
    total(
        "wse_token_refresh_failures_total",
        "Tokens that were not exchanged: refused, too many, or not to be checked.",
        Read::Shards(|counters| &counters.refresh_failures),
    ),
    total(
        "wse_topics_ended_total",
        "Subscriptions and memberships that ended because a new token does not allow them.",
        Read::Shards(|counters| &counters.topics_ended),
    ),
    gauge(
        "waiting_refreshes",
        "wse_waiting_refreshes",
        "Tokens of open connections that wait for what jwt.keys says.",
        Read::Count(|shared| shared.refreshing.load(Relaxed)),
    ),
    gauge(
        "revocations",
        "wse_revocations",
        "Users and tokens that are revoked.",
        Read::Count(|shared| shared.revocations.len()),
    ),
    health("revocations_limit", Read::Count(|shared| shared.revocations.max())),
    total(
        "wse_revoked_connections_total",
        "Connections closed because their token was revoked.",
        Read::Engine(|engine| &engine.revoked),
    ),
    total(
        "wse_upgrades_overflow_total",
        "Handshakes answered 503 because handshake.maxWaiting others, or a quarter of them from the same address, waited for onUpgrade or jwt.keys.",
        Read::Engine(|engine| &engine.waiting_refused),
    ),
    total(
        "wse_upgrades_unanswered_total",
        "Handshakes answered 503 because onUpgrade or jwt.keys had not answered in time.",
        Read::Engine(|engine| &engine.unanswered),
    ),
    total(
        "wse_upgrades_failed_total",
        "Handshakes answered 500 because onUpgrade failed or its answer was not valid.",
        Read::Engine(|engine| &engine.misjudged),
    ),
    gauge(
        "waiting_authorize",
        "wse_waiting_authorize",
        "Subscription updates that wait for authorize.",
        Read::Count(|shared| shared.asking.inquiries(Subject::Authorize)),
    ),
    health("waiting_authorize_limit", Read::Count(|shared| shared.config.authorize.map_or(0, |asks| asks.max_waiting))),
    total(
        "wse_authorize_overflow_total",
        "Subscription updates refused as busy because maxAuthorizing others, or 16 MiB of them, waited for authorize.",
        Read::Engine(|engine| &engine.authorize_overflow),
    ),
    total(
        "wse_authorize_unanswered_total",
        "Subscription updates refused because authorize had not answered in time.",
        Read::Engine(|engine| &engine.authorize_unanswered),
    ),
    total(
        "wse_authorize_failed_total",
        "Subscription updates refused because authorize failed or its answer was not valid.",
        Read::Engine(|engine| &engine.authorize_failed),
    ),
    gauge(
        "waiting_snapshots",
        "wse_waiting_snapshots",
        "Connections that wait for snapshots.get.",
        Read::Count(|shared| shared.asking.inquiries(Subject::Snapshot)),
    ),
    health(
        "waiting_snapshots_limit",
        Read::Count(|shared| {
            let provider = shared.config.snapshots.as_ref().and_then(|from| from.provider());
            provider.map_or(0, |provider| provider.questions.max_waiting)
        }),
    ),
    total(
        "wse_snapshots_overflow_total",
        "Clients left without a snapshot because snapshots.maxWaiting others, or 16 MiB of questions, waited for one.",
        Read::Engine(|engine| &engine.snapshots_overflow),
    ),
    total(
        "wse_snapshots_unanswered_total",
        "Clients left without a snapshot because snapshots.get had not answered in time.",
        Read::Engine(|engine| &engine.snapshots_unanswered),
    ),
    total(
        "wse_snapshots_failed_total",
        "Clients left without a snapshot because snapshots.get failed or its answer was not valid.",
        Read::Engine(|engine| &engine.snapshots_failed),
    ),
    total(
        "wse_proxy_errors_total",
        "Sockets of trusted proxies closed because they did not begin with a header of the PROXY protocol.",
        Read::Engine(|engine| &engine.proxy_errors),
    ),
    total(
        "wse_rate_limited_total",
        "Events refused by send_event's rate limit.",
        Read::Engine(|engine| &engine.rate_limited),
    ),
    total(
        "wse_events_deduplicated_total",
        "Events refused by send_event because their id was sent before.",
        Read::Engine(|engine| &engine.deduplicated),
    ),
    total(
        "wse_publish_refused_total",
        "Publications refused above the hard limit.",
        Read::Engine(|engine| &engine.publish_refused),
    ),
    total(
        "wse_group_unserved_total",
        "Publications a queue group had no member for.",
        Read::Engine(|engine| &engine.group_unserved),
    ),
    total(
        "wse_subscriptions_refused_total",
        "Topics that were not subscribed because of a limit.",
        Read::Engine(|engine| &engine.subscriptions_refused),
    ),
    total(
        "wse_too_late_total",
        "Frames for connections that were closing already.",
        Read::Shards(|counters| &counters.too_late),
    ),
    total(
        "wse_accept_pauses_total",
        "Times no connection was accepted because the host did not read.",
        Read::Engine(|engine| &engine.accept_pauses),
    ),
    counter(
        "pumped_connections",
        "wse_pumped_connections_total",
        "Sockets of another HTTP server whose bytes pass through JavaScript.",
        Read::Engine(|engine| &engine.pumped),
    ),
    total(
        "wse_accept_errors_total",
        "Sockets the system could not accept.",
        Read::Engine(|engine| &engine.accept_errors),
    ),
    total(
        "wse_decoded_bytes_total",
        "Bytes that compressed and msgpack frames were decoded into.",
        Read::Shards(|counters| &counters.decoded_bytes),
    ),
    total("wse_acl_denied_total", "Deliveries withheld by an ACL.", Read::Shards(|counters| &counters.acl_denied)),
    total(
        "wse_match_work_total",
        "Groups of patterns looked for, patterns tried and subscribers collected to find who receives a topic.",
        Read::Shards(|counters| &counters.match_work),
    ),
    total(
        "wse_abandoned_bytes_total",
        "Bytes still queued when their connection ended.",
        Read::Shards(|counters| &counters.abandoned_bytes),
    ),
    total(
        "wse_protocol_errors_total",
        "Connections closed for a violation or a limit.",
        Read::Shards(|counters| &counters.protocol_errors),
    ),
    total(
        "wse_zombies_total",
        "Connections closed as idle, stuck or expired.",
        Read::Shards(|counters| &counters.zombies),
    ),
    total(
        "wse_read_pauses_total",
        "Times a connection was not read because the host did not read events.",
        Read::Shards(|counters| &counters.read_pauses),
    ),
    total("wse_panics_total", "Panics caught while serving a connection.", Read::Shards(|counters| &counters.panics)),
    total(
        "wse_shard_restarts_total",
        "Times a shard lost its connections to a panic that nothing caught, and began again.",
        Read::Shards(|counters| &counters.restarts),
    ),
];

/// A histogram of durations: its family, its help, where it is.
type Durations = (&'static str, &'static str, fn(&ShardCounters) -> &Histogram);

const HISTOGRAMS: &[Durations] = &[
    ("wse_handshake_seconds", "From accepted socket to open connection.", |counters| &counters.handshake),
    ("wse_queue_wait_seconds", "Wait of a batch of commands in a shard's mailbox.", |counters| &counters.queue_wait),
    ("wse_fan_out_seconds", "Distributing and flushing one batch.", |counters| &counters.fan_out),
];

impl Metric {
    /// Whether an engine with this configuration has it.
    fn is_there(&self, shared: &Shared) -> bool {
        !matches!(self.read, Read::Presence(_)) || shared.presence.config().is_some()
    }

    /// Whether it is in the Prometheus text: what is about recovery is there only where there is some, as published servers have it.
    fn is_exposed(&self, shared: &Shared) -> bool {
        let of_recovery = self.family.is_some_and(|family| family.starts_with("wse_recovery_"));
        self.is_there(shared) && (!of_recovery || shared.topics.rings().is_some())
    }

    fn value(&self, shared: &Shared) -> Value {
        match &self.read {
            Read::Shards(of) => sum(shared, of).into(),
            Read::Engine(of) => of(&shared.counters).load(Relaxed).into(),
            Read::Count(read) => read(shared).into(),
            Read::Presence(read) => read(&shared.presence.gauges).into(),
            Read::Flag(read) => read(shared).into(),
            Read::Word(read) => read(shared).into(),
            Read::Uptime => shared.clock.uptime().as_secs_f64().into(),
        }
    }
}

fn now(gauge: &AtomicUsize) -> u64 {
    gauge.load(Relaxed) as u64
}

fn sum(shared: &Shared, of: impl Fn(&ShardCounters) -> &Counter) -> u64 {
    shared.shards.iter().map(|shard| of(&shard.counters).get()).fold(0, u64::wrapping_add)
}

impl Engine {
    /// Events waiting for the host.
    pub fn inbound_queue_depth(&self) -> usize {
        self.shared.inbound.depth()
    }

    /// Whether a host thread reads events.
    pub fn has_reader(&self) -> bool {
        self.shared.inbound.has_reader()
    }

    /// Events dropped because the host did not read (`inboundOverflow: 'drop'`).
    pub fn inbound_dropped(&self) -> u64 {
        sum(&self.shared, |counters| &counters.inbound_dropped)
    }

    /// The health snapshot as one JSON object.
    pub fn health(&self) -> Value {
        let member = |metric: &Metric| Some((metric.health?.to_owned(), metric.value(&self.shared)));
        Value::Object(
            METRICS.iter().filter(|metric| metric.is_there(&self.shared)).filter_map(member).collect::<Map<_, _>>(),
        )
    }

    /// The Prometheus text exposition.
    pub fn prometheus(&self) -> String {
        exposition(&self.shared)
    }
}

/// The Prometheus text exposition of an engine.
pub(super) fn exposition(shared: &Shared) -> String {
    let mut text = Exposition::default();
    for metric in METRICS.iter().filter(|metric| metric.is_exposed(shared)) {
        let Some(family) = metric.family else { continue };
        let value = match metric.value(shared) {
            Value::Number(number) if matches!(metric.read, Read::Uptime) => {
                format!("{:.1}", number.as_f64().unwrap_or_default())
            }
            value => value.to_string(),
        };
        match metric.kind {
            Kind::Gauge => text.gauge(family, metric.help, value),
            Kind::Counter => text.counter(family, metric.help, value),
        }
    }
    let busiest = shared.topics.busiest(BUSIEST);
    text.labelled(
        "wse_topic_messages_total",
        "Publications of the 50 busiest topics that have subscribers.",
        "topic",
        busiest.iter().map(|(name, count)| (&**name, *count)),
    );
    for (name, help, of) in HISTOGRAMS {
        let mut sum = Snapshot::default();
        for shard in &shared.shards {
            of(&shard.counters).add_to(&mut sum);
        }
        text.histogram(name, help, &sum);
    }
    text.finish()
}
