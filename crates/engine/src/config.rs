//! What an engine is told once, at the start. Owns no default (those live in the TypeScript facade) and checks only what
//! would break an invariant of this crate.

mod http;
mod outbox;
mod presence;
mod proxies;
mod questions;
mod recovery;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wse_crypto::jwt::JwtVerifier;
use wse_crypto::tls::ReloadableTls;
use wse_crypto::token::TokenSource;

pub use http::Http;
pub use outbox::Outbox;
pub use presence::Presence;
pub use proxies::{ForwardedField, Network, NoNetwork, TrustedProxies};
pub use questions::{Questions, SnapshotProvider, Snapshots};
pub use recovery::{Recovery, RecoveryRule, RingPolicy};

/// What happens to a connection whose outbound budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowConsumer {
    /// Frames that do not fit are dropped and counted; the connection stays.
    Drop,
    /// The connection is closed with 4300.
    Close,
}

/// What happens to inbound data while the host does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboundOverflow {
    /// Sockets are not read until the host has read half of the limit. Nothing is lost.
    Pause,
    /// New data events are dropped and counted. Connect and disconnect events never are.
    Drop,
}

/// Who answers `subscription_update`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscriptions {
    /// The application: the message is delivered like any other.
    App,
    /// The engine: it checks the ACL, subscribes, and replies before any later live frame.
    Acl,
}

/// How a handshake is authenticated.
pub struct Auth {
    /// Verifies tokens. Where the host is asked for keys it has none of its own.
    pub verifier: JwtVerifier,
    /// Ask the host for the key each token names, and keep it for so long.
    pub ask_keys: Option<Duration>,
    /// Where a request's token is looked for, in this order.
    pub sources: Vec<TokenSource>,
    /// Close a live connection with 4401 when its token expires.
    pub close_on_expiry: bool,
    /// Clock difference granted to expiry, seconds; the same as the verifier's.
    pub leeway_secs: u64,
    /// Tell a client and the host so many seconds before that closes its connection; 0 = not at all.
    pub expiry_warning_secs: u64,
    /// Refuse tokens that do not say when they were issued, or are valid for longer than this from then on, seconds; `None` = they
    /// may be.
    pub max_lifetime_secs: Option<u64>,
    /// Users and tokens that may be revoked at once.
    pub max_revocations: usize,
}

/// Token bucket of `send_event`, per connection.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Most tokens a bucket holds.
    pub capacity: f64,
    /// Tokens added per second.
    pub refill: f64,
}

/// A path that upgrades, and what is spoken there.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// The request's path, compared byte for byte; `None` = any.
    pub path: Option<String>,
    /// No WSE: every message is the host's, byte for byte, and only the control frames of RFC 6455 are the engine's.
    pub raw: bool,
    /// Subprotocols (RFC 6455 §1.9). The first a client offers that is among them is agreed on.
    pub protocols: Vec<Arc<str>>,
    /// Answer 400 to a client that offers none of them.
    pub require_protocol: bool,
}

impl Endpoint {
    /// Whether a request for `path` is its.
    pub(crate) fn serves(&self, path: &str) -> bool {
        self.path.as_ref().is_none_or(|own| own == path)
    }

    /// The first subprotocol of a `Sec-WebSocket-Protocol` list that it has.
    pub(crate) fn choose(&self, offered: &[u8]) -> Option<Arc<str>> {
        let mut offered = offered.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        offered.find_map(|name| self.protocols.iter().find(|own| own.as_bytes() == name)).map(Arc::clone)
    }
}

/// Everything an engine needs to know.
pub struct Config {
    /// Host name or address to bind.
    pub host: String,
    /// TCP port, 0 = any free one; `None`: none is bound, and all sockets come from HTTP servers of the host.
    pub port: Option<u16>,
    /// Listen in this file (AF_UNIX) instead of at a port.
    pub unix: Option<PathBuf>,
    /// Connects the system may queue; it may have a lower limit of its own.
    pub backlog: i32,
    /// Others may listen at the same port, and the system spreads connects over all.
    pub reuse_port: bool,
    /// Connections open at once; one more is answered 503.
    pub max_connections: usize,
    /// What upgrades; the first that serves a request's path counts, and without one it is answered 404.
    pub endpoints: Vec<Endpoint>,
    /// Origins accepted when a request carries one; `None` = all, but for loopback hosts only when bound to a loopback address.
    pub allowed_origins: Option<Vec<String>>,
    /// Proxies whose word for a client's address counts; `None` = none.
    pub trusted_proxies: Option<TrustedProxies>,
    /// Token check; `None` = no authentication.
    pub auth: Option<Auth>,
    /// Serve wss:// with this certificate.
    pub tls: Option<Arc<ReloadableTls>>,
    /// Requests on its port that are no upgrades of its own; `None`: they are refused.
    pub http: Option<Http>,
    /// Send `server_ready` also without authentication.
    pub server_ready: bool,
    /// Who answers `subscription_update`.
    pub subscriptions: Subscriptions,
    /// What is kept for those who miss it; `None`: nothing.
    pub recovery: Option<Recovery>,
    /// Ask the host about what the ACL has let through, where the engine answers; `None`: the ACL alone decides.
    pub authorize: Option<Questions>,
    /// Where subscribers get the current state of topics from, where the engine answers.
    pub snapshots: Option<Snapshots>,
    /// Who is present is kept track of; `None`: it is not.
    pub presence: Option<Presence>,
    /// What clients send out of outboxes is taken once; `None`: they are not told that it could be.
    pub outbox: Option<Outbox>,
    /// Bucket of `send_event`.
    pub rate_limit: RateLimit,
    /// Largest inbound message in bytes, after joining, inflating or decoding.
    pub max_message_size: usize,
    /// Deepest nesting of inbound JSON and msgpack.
    pub max_json_depth: u32,
    /// Decode `C:` and `M:` binary frames into `msg` events.
    pub inbound_codecs: bool,
    /// Events one consumer may have waiting.
    pub max_inbound_events: usize,
    /// Payload bytes one consumer may have waiting.
    pub max_inbound_bytes: usize,
    /// What happens above those two.
    pub inbound_overflow: InboundOverflow,
    /// Nobody reads events: they are counted and thrown away.
    pub discard_inbound: bool,
    /// How long a reader may leave events waiting before its connections go to others.
    pub reader_timeout: Duration,
    /// Outbound budget per connection, bytes.
    pub max_outbound_bytes: usize,
    /// What happens above it.
    pub slow_consumer: SlowConsumer,
    /// Bytes of incomplete inbound messages held per shard, over all its connections.
    pub max_reassembly_bytes: usize,
    /// Topics and patterns one connection may hold; 0 = no limit.
    pub max_subscriptions: u32,
    /// Patterns among them; 0 = no limit.
    pub max_patterns: u32,
    /// Bytes of memory topics and subscriptions may take, over all connections; beyond it each may still have its equal part
    /// (this divided by `max_connections`). 0 = no limit.
    pub max_subscription_bytes: usize,
    /// Time between the pings a connection gets.
    pub ping_interval: Duration,
    /// Time without the beginning or the end of an inbound frame of any kind after which a connection is closed.
    pub idle_timeout: Duration,
    /// Time the peer has to answer a Close.
    pub close_timeout: Duration,
    /// Time an upgrade may take, TLS included.
    pub handshake_timeout: Duration,
    /// Handshakes in progress, all addresses together; one more takes the place of the oldest.
    pub max_pending: usize,
    /// Handshakes in progress from one address; one more is answered 503.
    pub max_pending_per_address: usize,
    /// Ask the host about every upgrade that nothing else refuses.
    pub ask_upgrade: bool,
    /// Time the host has for an answer.
    pub answer_timeout: Duration,
    /// Handshakes that may wait for an answer, a quarter of them from one address; one more is answered 503.
    pub max_waiting: usize,
    /// Has the allocator give back to the system what the calling thread has freed. A shard calls it when a burst of 8 MiB or
    /// more is over. `None`: the allocator does as it likes.
    pub release_memory: Option<fn()>,
    /// Shard threads, 1 to [`crate::id::MAX_SHARDS`].
    pub shards: usize,
    /// Time from a publisher's call to the last write above which `broadcast` reports pressure.
    pub target_delay: Duration,
    /// Bytes waiting in a shard's mailbox above which it does in any case.
    pub high_water_mark: usize,
    /// Bytes above which publishing is refused, 2 GiB at most; what is above that counts as 2 GiB.
    pub hard_limit: usize,
}

/// What may wait in a mailbox is at most one part in so many of a connection's budget.
const BUDGET_SHARE: usize = 4;

/// The highest [`Config::hard_limit`]: positions in a mailbox have 32 bits, with room for one more message.
const MAX_HARD_LIMIT: usize = 2 << 30;

impl Config {
    /// The same, with what would break an invariant of this crate at the nearest value that does not.
    pub(crate) fn held_to_bounds(self) -> Self {
        Self { hard_limit: self.hard_limit.min(MAX_HARD_LIMIT), ..self }
    }

    /// Whether any connection may speak WSE.
    pub(crate) fn speaks_wse(&self) -> bool {
        self.endpoints.iter().any(|endpoint| !endpoint.raw)
    }

    /// The most that may wait for a shard before publishers should: what is in work, what waits behind it and what a subscriber
    /// owes already must fit its budget together, or it would lose frames before its lag is seen.
    pub(crate) fn mailbox_ceiling(&self) -> usize {
        self.high_water_mark.min(self.max_outbound_bytes / BUDGET_SHARE).max(1)
    }
}

#[cfg(test)]
pub(crate) mod tests;
