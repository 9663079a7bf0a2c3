//! One connection's life inside its shard: `reader` brings bytes in, `handler` gives them meaning, `outbound` is the one
//! ordered queue, `account` the way into it, `offer` what becomes of what does not fit, `writer` the only code that writes the
//! socket (`transport`, over a `stream`), `outboxes` which clients number what they send, `acknowledge` what they are told of it, `timers` what time does to it, `expiry` when its token ends it, `parting` what its end waits for, `ending` what the host
//! hears of it. `lag` and `convoy` say whether publishers wait for it.
//! A connection settles its own account: it counts, reports, rearms and closes itself. Taking it out is its shard's.

mod account;
mod acknowledge;
mod behind;
mod connection;
mod context;
mod control;
mod convoy;
mod ending;
mod entry;
mod expiry;
mod handler;
mod lag;
mod offer;
mod outbound;
mod outboxes;
mod parting;
mod reader;
mod request;
mod timers;
mod transport;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use account::{Account, Ledger, Loss, Offer};
pub(crate) use connection::{Connection, Opening};
pub(crate) use context::Context;
pub(crate) use ending::By;
pub(crate) use reader::Read;
pub(crate) use request::Request;
pub(crate) use transport::Transport;
pub(crate) use writer::WroteThrough;
