//! The WebSocket engine as a plain Rust crate: no Node vocabulary, no global state.
//!
//! [`Engine`] is the whole public face. Inside, dependencies run one way (`npm run check:modules` says so):
//!
//! ```text
//! engine -> net -> shard -> delivery -> conn -> shared -> mailbox, registry, inbound -> asking -> topics, admission -> frames, flow
//! ```
//!
//! The way in is `net::listener -> net::handshake -> shard -> conn -> inbound`, the way out
//! `engine -> shared -> mailbox -> shard -> delivery -> conn`; docs/architecture.md draws both.

#![forbid(unsafe_code)]

mod admission;
mod alarm;
mod asking;
mod clock;
pub mod config;
mod conn;
mod delivery;
mod engine;
mod error;
mod flow;
mod frames;
mod id;
mod inbound;
mod liveness;
mod mailbox;
mod metrics;
mod net;
pub mod outbox;
mod outlet;
mod presence;
mod reactor;
mod ready;
mod recovery;
mod registry;
mod shard;
mod shared;
mod slab;
mod tokens;
mod topics;
mod turns;
mod wheel;

pub use asking::{AnswerError, Fault};
pub use engine::{
    Bound, Engine, History, HistoryQuery, Inline, LimitsMet, PresenceError, PresenceMember, PumpedPeer, Relay, Reply,
    State, Step, Subscribed,
};
pub use error::EngineError;
pub use id::{ConnId, MAX_SHARDS};
pub use inbound::{Consumer, Stall, Taken};
pub use liveness::Liveness;
pub use mailbox::{Outgoing, Pressure};
pub use outlet::{Released, Source};
pub use presence::Refused as PresenceRefused;
pub use recovery::{Outcome, Settle, TopicOutcome, Unsettled};
pub use registry::ConnectionInfo;
pub use shared::{Payloads, Present, SendEventOutcome};
pub use tokens::{RefreshError, Refreshed, Revocation, RevocationsFull};
pub use topics::Position;

/// For fuzz targets only: the HTTP status that refuses this request head, or `None` when it is an upgrade.
#[doc(hidden)]
pub fn fuzz_request(head: &[u8]) -> Option<u16> {
    net::refusal_status(head)
}
