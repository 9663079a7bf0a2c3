//! What all threads of one engine see: configuration, the shared maps, the readers of events, the handles of the shards, and
//! the counters that belong to no shard. Never touches a connection's state: that is its shard's.

#[cfg(test)]
mod interleavings;
mod presence;
mod publish;
mod recover;
mod send_event;
mod subscribe;
mod token;

use std::net::TcpStream;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::admission::{Admission, Place};
use crate::asking::Asking;
use crate::clock::{Clock, millis};
use crate::config::Config;
use crate::flow::{DedupWindow, ReplayRate, Window, Windows};
use crate::inbound::{Inbound, Limits, Parted};
use crate::liveness::Liveness;
use crate::mailbox::{Command, Mailbox};
use crate::metrics::{EngineCounters, Scrape, ShardCounters, bump};
use crate::outlet::{Outlet, Released, Source};
use crate::presence::Presence;
use crate::registry::{Peer, Registry};
use crate::tokens::Revocations;
use crate::topics::TopicIndex;
use crate::turns::Turns;

pub(crate) use presence::Leaver;
pub use presence::Present;
pub use publish::Payloads;
pub use send_event::SendEventOutcome;
pub(crate) use token::{Distrust, Proof, User};

/// Called, from any thread, when publishing may go on.
pub(super) type OnWritable = Arc<dyn Fn() + Send + Sync>;

/// One engine's shared parts.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) shards: Box<[ShardHandle]>,
    pub(super) registry: Registry,
    /// Shared with the hosts, which may hold it longer than the engine.
    pub(super) liveness: Arc<Liveness>,
    pub(super) topics: TopicIndex,
    /// What all topics share of presence.
    pub(crate) presence: Presence,
    pub(super) inbound: Inbound,
    pub(crate) counters: EngineCounters,
    pub(super) admission: Arc<Admission>,
    /// What the host is asked about handshakes.
    pub(super) asking: Arc<Asking>,
    /// Tokens that are not believed any more.
    pub(crate) revocations: Revocations,
    /// Refreshes that wait for the key of their token.
    pub(crate) refreshing: Arc<AtomicUsize>,
    /// Connections whose requests are the host's.
    pub(crate) outlet: Outlet,
    /// The metrics as they were last asked for over HTTP.
    pub(crate) scrape: Scrape,
    /// Writes them; known to the engine alone.
    pub(crate) exposition: OnceLock<fn(&Self) -> String>,
    /// What clients have sent out of their outboxes.
    pub(crate) windows: Windows,
    /// What may be replayed to all connections together.
    replay_rate: Mutex<ReplayRate>,
    dedup: Mutex<DedupWindow>,
    /// Numbers the events of `send_event`.
    sequence: AtomicU64,
    /// Connections open or about to be: the authority on `max_connections`.
    connections: Arc<AtomicUsize>,
    /// Texts that are published get their category: some connections may speak WSE.
    injects: bool,
    /// No new connection is accepted.
    pub(super) draining: AtomicBool,
    /// The one shard runs on an event loop of the host, or did.
    pub(super) inline: AtomicBool,
    /// It is over.
    pub(super) inline_ended: AtomicBool,
    /// The first shard has been told that something ages.
    aging: AtomicBool,
    writable: Mutex<Vec<OnWritable>>,
}

/// How the other threads reach a shard.
pub(super) struct ShardHandle {
    pub(super) mailbox: Mailbox,
    pub(crate) counters: Arc<ShardCounters>,
    /// Sockets handed to it, handshakes included.
    pub(super) load: Arc<AtomicUsize>,
    /// Turns of its TLS handshakes: one step of one of them at a time.
    pub(super) turns: Turns,
    /// Some of its connections wait with their Close for the host to come back.
    pub(super) parting: AtomicBool,
}

/// The list `config` asks for. The clock of who issues a token may be ahead by the leeway, and the token is believed for as long
/// after its end.
fn revocations(config: &Config) -> Revocations {
    let auth = config.auth.as_ref();
    let lifetime = auth.and_then(|auth| Some(auth.max_lifetime_secs?.saturating_add(2 * auth.leeway_secs)));
    Revocations::new(auth.map_or(0, |auth| auth.max_revocations), lifetime)
}

/// The windows of outboxes.
fn windows(config: &Config) -> Windows {
    let millis = |ttl: Duration| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    config.outbox.map_or_else(|| Windows::new(0, 0), |outbox| Windows::new(outbox.max_streams, millis(outbox.ttl)))
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        let config = config.held_to_bounds();
        let shards = (0..config.shards)
            .map(|_| ShardHandle {
                mailbox: Mailbox::new(config.mailbox_ceiling(), config.hard_limit),
                counters: Arc::default(),
                load: Arc::default(),
                turns: Turns::default(),
                parting: AtomicBool::new(false),
            })
            .collect();
        let liveness = Arc::new(Liveness::new(config.shards, config.max_connections));
        Self {
            clock: Clock::new(),
            shards,
            registry: Registry::new(Arc::clone(&liveness)),
            liveness,
            // Without WSE nobody knows stamps, and nothing is kept.
            topics: TopicIndex::new(config.shards, config.recovery.clone().filter(|_| config.speaks_wse())),
            presence: Presence::new(config.presence),
            inbound: Inbound::new(
                Limits { events: config.max_inbound_events, bytes: config.max_inbound_bytes },
                config.shards,
                millis(config.reader_timeout),
            ),
            counters: EngineCounters::default(),
            admission: Arc::new(Admission::new(config.max_pending, config.max_pending_per_address)),
            asking: Arc::new(Asking::new(&config)),
            revocations: revocations(&config),
            refreshing: Arc::default(),
            outlet: Outlet::new(config.http.as_ref().map_or(0, |http| http.max_waiting)),
            scrape: Scrape::default(),
            exposition: OnceLock::new(),
            windows: windows(&config),
            replay_rate: Mutex::new(ReplayRate::new(
                config.recovery.as_ref().map_or(0, |recovery| recovery.replay_rate),
                0,
            )),
            dedup: Mutex::default(),
            sequence: AtomicU64::new(0),
            connections: Arc::default(),
            injects: config.speaks_wse(),
            draining: AtomicBool::new(false),
            inline: AtomicBool::new(false),
            inline_ended: AtomicBool::new(false),
            aging: AtomicBool::new(false),
            writable: Mutex::default(),
            config,
        }
    }

    /// Gives a connection to the host, with what was read of its first request.
    ///
    /// # Errors
    /// The host takes no more: here is the socket again.
    pub(crate) fn hand_over(&self, stream: TcpStream, head: Vec<u8>, source: Source) -> Result<(), TcpStream> {
        let given = self.outlet.offer(Released { stream, head, source });
        bump(if given.is_ok() { &self.counters.handed } else { &self.counters.handed_refused });
        given.map_err(|handed| handed.stream)
    }

    /// Reserves a place for one more connection; `None` when all are taken.
    pub(super) fn enter(&self) -> Option<Place> {
        Place::take_below(&self.connections, self.config.max_connections)
    }

    /// Whether what clients send out of outboxes is taken once: there is somebody to take it.
    pub(crate) fn takes_outboxes(&self) -> bool {
        self.config.outbox.is_some() && !self.config.discard_inbound
    }

    /// The window of a stream out of a client's outbox, a new one where none is known.
    pub(crate) fn window(&self, user: Option<&Arc<str>>, stream: &str, now: u64) -> Arc<Window> {
        let window = self.windows.find(user, stream, now);
        self.begin_aging();
        window
    }

    /// Something that ages has come: the first shard forgets it in time, and may be asleep with nobody to look at the time for.
    fn begin_aging(&self) {
        // Pairs with the fence in `ages`.
        fence(SeqCst);
        if !self.aging.swap(true, SeqCst) {
            self.shards[0].mailbox.nudge();
        }
    }

    /// Whether anything ages that all share; what comes later wakes the first shard.
    pub(super) fn ages(&self) -> bool {
        let any = || self.windows.streams() > 0 || self.topics.rings().is_some_and(|rings| rings.streams() > 0);
        any() || {
            self.aging.store(false, SeqCst);
            // Whoever has seen it set before has counted what it has brought before.
            fence(SeqCst);
            any()
        }
    }

    /// Whether there is no place for one more connection.
    pub(crate) fn is_full(&self) -> bool {
        self.connections.load(Relaxed) >= self.config.max_connections
    }

    /// A connection's place, which is given back when it is dropped.
    pub(crate) fn leave(&self) -> Place {
        Place::kept(&self.connections)
    }

    /// Whether no connection is open or about to be, and nobody waits for the host's word.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.load(Relaxed) == 0 && self.asking.parked() == 0
    }

    /// Whether publishers should wait: more waits in a shard's mailbox than it works through in the target time, or a
    /// connection that keeps up is behind by more.
    pub(crate) fn under_pressure(&self) -> bool {
        self.shards.iter().any(|shard| shard.mailbox.is_above_mark() || shard.counters.pressing.get() > 0)
    }

    /// What a new reader is told of a connection that has ended.
    pub(super) fn describe(&self, parted: &Parted) -> Option<String> {
        parted.downcast_ref::<Peer>().map(|peer| self.registry.introduce(peer))
    }

    /// Readers have come, left or stopped reading: shards give connections to others, and what waited for a reader looks for
    /// another.
    pub(super) fn rehome(&self) {
        for shard in &self.shards {
            shard.mailbox.command(Command::Resume);
        }
    }

    /// Tells publishers that wait that they may go on, if they may.
    pub(super) fn relieve(&self) {
        // Two shards that are relieved at the same moment must not both still see the other's old value.
        fence(SeqCst);
        if self.under_pressure() {
            return;
        }
        self.wake_publishers();
    }

    /// Wakes publishers that wait, whatever the pressure: they look themselves.
    pub(super) fn wake_publishers(&self) {
        let waiting = self.writable.lock().clone();
        for wake in waiting {
            wake();
        }
    }

    /// Adds a callback for the moment publishing may go on.
    pub(super) fn on_writable(&self, wake: OnWritable) {
        self.writable.lock().push(wake);
    }

    /// Removes a callback given to [`Self::on_writable`].
    pub(super) fn off_writable(&self, wake: &OnWritable) {
        self.writable.lock().retain(|known| !Arc::ptr_eq(known, wake));
    }
}
