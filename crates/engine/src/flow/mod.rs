//! Flow control as tables: rate limits, deduplication, what outboxes have sent. Time is passed in; nothing here waits for it or knows a socket.

mod dedup;
mod pacer;
mod replay_rate;
mod token_bucket;
mod windows;

pub(crate) use dedup::DedupWindow;
pub(crate) use pacer::Pacer;
pub(crate) use replay_rate::ReplayRate;
pub(crate) use token_bucket::{Token, TokenBucket};
pub(crate) use windows::{Verdict, Window, Windows};
