//! What the host must hear: events appended to flat batches on a shard, queued per consumer, taken in one crossing.
//! Owns no host types: a batch ends as bytes.

mod batch;
mod consumers;

pub(crate) use batch::{Batch, Kind};
pub(crate) use consumers::Inbound;
pub use consumers::{Consumer, Taken};
