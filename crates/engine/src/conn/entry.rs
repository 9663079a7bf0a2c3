//! An entry of the outbound queue: frames that others may owe too, or a connection's own, and how far they are written.

use crate::frames::Slice;

/// What an entry of the queue weighs beside its bytes, so that many tiny entries cannot outgrow the budget.
pub(super) const ENTRY_COST: usize = 32;

/// One entry.
pub(super) enum Entry {
    /// Frames that others may owe too; `at` is the position in the segment up to which they are written.
    Shared { slice: Slice, at: u32, charge: usize },
    /// Frames nobody else owes, written up to `at`.
    Own { bytes: Vec<u8>, at: u32 },
}

impl Entry {
    /// Bytes not written yet.
    pub(super) fn left(&self) -> usize {
        match self {
            Self::Shared { slice, at, .. } => (slice.run().end() - at) as usize,
            Self::Own { bytes, at } => bytes.len() - *at as usize,
        }
    }
}
