//! An entry of the outbound queue: frames that others may owe too, or a connection's own, and how far they are written.

use std::sync::Arc;

use crate::frames::{Chunk, Segment};

/// What an entry of the queue weighs beside its bytes, so that many tiny entries cannot outgrow the budget.
pub(super) const ENTRY_COST: usize = 32;

/// One entry.
pub(super) enum Entry {
    /// Frames that others may owe too: `at..end` of the segment, and what is charged for them. Positions are 32 bits, because a
    /// segment holds one run or one message.
    Shared { segment: Segment, at: u32, end: u32, charge: u32 },
    /// Frames of a topic's ring: `at..end` of the chunk, and what is charged for them.
    Kept { chunk: Arc<Chunk>, at: u32, end: u32, charge: u32 },
    /// Frames nobody else owes, written up to `at`.
    Own { bytes: Vec<u8>, at: u32 },
}

impl Entry {
    /// Bytes not written yet.
    pub(super) fn left(&self) -> usize {
        match self {
            Self::Shared { at, end, .. } | Self::Kept { at, end, .. } => (end - at) as usize,
            Self::Own { bytes, at } => bytes.len() - *at as usize,
        }
    }
}
