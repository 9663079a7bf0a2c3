//! The WebSocket engine as a plain Rust crate: no Node vocabulary, no global state.
//!
//! [`Engine`] is the whole public face. Inside, the way in is `net::listener -> net::handshake -> shard -> conn -> inbound`,
//! the way out `engine -> shard::inbox -> topics -> conn::outbound -> conn::writer`; docs/architecture.md draws both.

#![forbid(unsafe_code)]

mod clock;
pub mod config;
mod conn;
mod engine;
mod error;
mod flow;
mod id;
mod inbound;
mod liveness;
mod metrics;
mod net;
pub mod outbox;
mod registry;
mod shard;
mod shared;
mod topics;

pub use engine::{Engine, Event, Outgoing, Pressure, State, Subscribed};
pub use error::EngineError;
pub use id::{ConnId, MAX_SHARDS};
pub use inbound::{Consumer, Taken};
pub use liveness::Liveness;

/// For fuzz targets only: the HTTP status that refuses this request head, or `None` when it is an upgrade.
#[doc(hidden)]
pub fn fuzz_request(head: &[u8]) -> Option<u16> {
    net::refusal_status(head)
}
