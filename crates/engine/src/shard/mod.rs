//! A shard: one thread that owns its connections and everything they touch. `inbox` is the only way in from outside,
//! `run` is the loop, `state` what it owns, `fanout` and `flush` the way of a publication to its subscribers' sockets.

mod adopt;
mod context;
mod fanout;
mod flush;
mod inbox;
mod run;
mod slots;
mod staging;
mod state;
mod subscribe;
mod wheel;

pub(crate) use adopt::{Admitted, NotAdopted};
pub(crate) use context::Context;
pub(crate) use inbox::{Command, Inbox, Incoming, Pushed, register};
pub(crate) use run::{serve, spawn};
pub(crate) use state::{Shard, SharedShard};
pub(crate) use subscribe::{admit, reserve};
