//! Segments: append-only buffers of frames that many outbound queues point into. What was appended never moves within its
//! buffer, so a queue holds `(segment, start, end)` and the bytes exist once per shard.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

/// A segment takes no more frames above this many bytes. Bounds what a slow subscriber can pin beyond what it owes.
pub(crate) const SEGMENT_BYTES: usize = 256 * 1024;
/// Buffers above this size are given back to the allocator instead of being used again.
const KEEP_CAPACITY: usize = 2 * SEGMENT_BYTES;
/// Bytes of buffer capacity the pool keeps.
const POOL_BYTES: usize = 4 * 1024 * 1024;

/// Shared frames of one topic within one shard.
#[derive(Clone, Debug)]
pub(crate) struct Segment(Rc<RefCell<Vec<u8>>>);

impl Segment {
    /// Appends frames and returns where they stand. The caller has checked [`Self::has_room`].
    pub(crate) fn append(&self, frames: &[u8]) -> std::ops::Range<u32> {
        let mut bytes = self.0.borrow_mut();
        let start = position(bytes.len());
        bytes.extend_from_slice(frames);
        start..position(bytes.len())
    }

    /// Whether `more` bytes may be appended. An empty segment takes any size.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        let used = self.0.borrow().len();
        used == 0 || used + more <= SEGMENT_BYTES
    }

    /// The frames from the beginning.
    pub(crate) fn bytes(&self) -> Ref<'_, [u8]> {
        Ref::map(self.0.borrow(), Vec::as_slice)
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Nobody but the caller holds it.
    pub(crate) fn unshared(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

/// Positions fit 32 bits: a run is at most one inbox merge (128 KiB) or one message, and messages are far below 4 GiB.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the inbox's hard limit, below 4 GiB")]
fn position(len: usize) -> u32 {
    debug_assert!(u32::try_from(len).is_ok());
    len as u32
}

/// Buffers ready to be used again.
#[derive(Default)]
pub(crate) struct SegmentPool {
    spare: Vec<Segment>,
    bytes: usize,
}

impl SegmentPool {
    pub(crate) fn take(&mut self) -> Segment {
        match self.spare.pop() {
            Some(segment) => {
                self.bytes -= segment.0.borrow().capacity();
                segment
            }
            None => Segment(Rc::default()),
        }
    }

    /// Takes back a segment nobody else holds; others are left to their last holder.
    pub(crate) fn give(&mut self, segment: Segment) {
        if !segment.unshared() {
            return;
        }
        let capacity = segment.0.borrow().capacity();
        if capacity <= KEEP_CAPACITY && self.bytes + capacity <= POOL_BYTES {
            segment.0.borrow_mut().clear();
            self.bytes += capacity;
            self.spare.push(segment);
        }
    }
}
