//! Frames that exist once and are pointed at: a run stands in an arena that lives as long as a batch of commands, a slice in
//! a segment that lives as long as somebody owes it, a chunk of a ring as long as its topic keeps it too. Knows no connection, no topic and no socket.
//!
//! Everything here is plain frames of one class. Frames of another class (deflated, sealed) are runs of an arena and slices
//! of a segment of their own: one arena and one segment per class (docs/architecture.md, "Places for what comes next").

mod ring;
mod run;
mod segment;

pub(crate) use ring::{Chunk, Ring, RingSlice};
pub(crate) use run::{Run, skip_frames};
pub(crate) use segment::{Segment, SegmentPool, Slice};
