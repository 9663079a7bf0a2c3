//! Flow control as pure tables: rate limits, deduplication. Time is passed in; nothing here waits or knows a socket.

mod dedup;
mod pacer;
mod replay_rate;
mod token_bucket;

pub(crate) use dedup::DedupWindow;
pub(crate) use pacer::Pacer;
pub(crate) use replay_rate::ReplayRate;
pub(crate) use token_bucket::{Token, TokenBucket};
