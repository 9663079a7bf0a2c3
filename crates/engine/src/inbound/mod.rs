//! What the host must hear: events appended to flat batches on a shard, queued per consumer, taken in one crossing.
//! Owns no host types: a batch ends as bytes.

mod batch;
mod columns;
mod consumers;
mod cursor;
mod flatten;
mod shapes;

pub(crate) use batch::{Batch, Kind};
pub use consumers::{Consumer, Taken};
pub(crate) use consumers::{Delivered, Inbound, Limits};
pub(crate) use shapes::Shapes;
