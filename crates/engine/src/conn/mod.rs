//! One connection's life inside its shard: `reader` brings bytes in, `inbound` gives them meaning, `outbound` is the one
//! ordered queue, `writer` the only code that writes the socket, `timers` what time does to it.

mod connection;
mod inbound;
mod outbound;
mod reader;
mod timers;
mod transport;
mod writer;

pub(crate) use connection::{Connection, Crossed, Dropped, Phase};
pub(crate) use outbound::{Outbound, Queued};
pub(crate) use reader::Read;
pub(crate) use timers::{millis, reached};
pub(crate) use transport::Transport;
pub(crate) use writer::{Flushed, WroteThrough};
