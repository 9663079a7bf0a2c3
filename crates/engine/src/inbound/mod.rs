//! What the host must hear: events appended to flat batches on a shard, queued per consumer, taken in one crossing.
//! Owns no host types: a batch ends as bytes.

mod batch;
mod columns;
mod consumer;
mod consumers;
mod cursor;
mod event;
mod flatten;
mod shapes;
mod watch;

pub(crate) use batch::{Batch, Kind, Parted};
pub(crate) use consumer::Limits;
pub use consumer::{Consumer, Taken};
pub(crate) use consumers::Inbound;
pub use consumers::Stall;
pub(crate) use event::Event;
pub(crate) use shapes::Shapes;
