//! What all threads of one engine see: configuration, the two shared maps, the consumers, the ports of the shards, and the
//! counters that belong to no shard.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::config::Config;
use crate::flow::DedupWindow;
use crate::inbound::{Inbound, Limits};
use crate::liveness::Liveness;
use crate::metrics::{EngineCells, ShardCells};
use crate::net::Pending;
use crate::registry::Registry;
use crate::shard::Inbox;
use crate::topics::TopicIndex;

/// One engine's shared parts.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) ports: Box<[Port]>,
    pub(crate) registry: Registry,
    /// Shared with the hosts, which may hold it longer than the engine.
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) topics: TopicIndex,
    pub(crate) inbound: Inbound,
    pub(crate) cells: EngineCells,
    pub(crate) pending: Arc<Pending>,
    pub(crate) dedup: Mutex<DedupWindow>,
    /// Numbers the events of `send_event`.
    pub(crate) sequence: AtomicU64,
    /// Connections open or about to be: the authority on `max_connections`.
    pub(crate) connections: AtomicUsize,
    /// No new connection is accepted.
    pub(crate) draining: AtomicBool,
    /// Called when publisher pressure falls below the mark.
    pub(crate) drained: Mutex<Vec<Arc<dyn Fn() + Send + Sync>>>,
}

/// How the other threads reach a shard.
pub(crate) struct Port {
    pub(crate) inbox: Inbox,
    pub(crate) cells: Arc<ShardCells>,
    /// Sockets handed to it, handshakes included.
    pub(crate) load: AtomicUsize,
    /// Some of its connections are not read because the host does not drain.
    pub(crate) paused: AtomicBool,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        let ports = (0..config.shards)
            .map(|_| Port {
                inbox: Inbox::new(config.high_water_mark, config.hard_limit),
                cells: Arc::default(),
                load: AtomicUsize::new(0),
                paused: AtomicBool::new(false),
            })
            .collect();
        Self {
            clock: Clock::new(),
            ports,
            registry: Registry::default(),
            liveness: Arc::new(Liveness::new(config.shards, config.max_connections)),
            topics: TopicIndex::new(config.shards),
            inbound: Inbound::new(Limits { events: config.max_inbound_events, bytes: config.max_inbound_bytes }),
            cells: EngineCells::default(),
            pending: Arc::new(Pending::new(config.max_pending, config.max_pending_per_address)),
            dedup: Mutex::default(),
            sequence: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            drained: Mutex::default(),
            config,
        }
    }

    /// Reserves a place for one more connection; false when all are taken.
    pub(crate) fn enter(&self) -> bool {
        self.connections
            .fetch_update(Relaxed, Relaxed, |count| (count < self.config.max_connections).then_some(count + 1))
            .is_ok()
    }

    /// Gives a place back.
    pub(crate) fn leave(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Publisher pressure: a shard's inbox is above its mark, or at least half of a shard's connections have become
    /// congested within the last two seconds.
    /// One stuck subscriber among many is its own problem, not the publisher's.
    pub(crate) fn pressure(&self) -> bool {
        self.ports.iter().any(|port| port.inbox.above_high_water() || port.congested())
    }

    /// Tells publishers that wait that the pressure is gone.
    pub(crate) fn relieve(&self) {
        // Two shards that are relieved at the same moment must not both still see the other's old value.
        fence(SeqCst);
        if self.pressure() {
            return;
        }
        let waiting = self.drained.lock().clone();
        for wake in waiting {
            wake();
        }
    }
}

impl Port {
    fn congested(&self) -> bool {
        let pressing = self.cells.pressing.get();
        pressing > 0 && pressing * 2 >= self.load.load(Relaxed) as u64
    }
}
