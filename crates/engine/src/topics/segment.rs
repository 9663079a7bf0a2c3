//! Segments: append-only buffers of frames that many outbound queues point into. What was appended never moves within its
//! buffer, so a queue holds `(segment, start, end)` and the bytes exist once per shard.

use std::cell::{Ref, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;

/// A segment takes no more frames above this many bytes. Bounds what a slow subscriber can pin beyond what it owes.
pub(crate) const SEGMENT_BYTES: usize = 256 * 1024;
/// A segment somebody still owes after a flush takes no more frames above this size: a peer that stands still would pin
/// what others were sent long ago.
const STALE_BYTES: usize = 4 * 1024;
/// Only buffers of these sizes are used again: smaller ones cost nothing, larger ones hold too much.
const KEEP_CAPACITY: RangeInclusive<usize> = 16 * 1024..=2 * SEGMENT_BYTES;
/// Bytes of buffer capacity the pool keeps.
const POOL_BYTES: usize = 4 * 1024 * 1024;

/// Shared frames of one topic within one shard.
#[derive(Clone, Debug, Default)]
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

    /// Not to be appended to any more while somebody owes it.
    pub(crate) fn is_stale(&self) -> bool {
        self.0.borrow().len() > STALE_BYTES
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
    /// A segment for `size` bytes and more. Few bytes get a buffer of their own: a large one would be pinned by whoever is
    /// slow to send them.
    pub(crate) fn take(&mut self, size: usize) -> Segment {
        if size < *KEEP_CAPACITY.start() {
            return Segment(Rc::new(RefCell::new(Vec::with_capacity(size))));
        }
        match self.spare.pop() {
            Some(segment) => {
                self.bytes -= segment.0.borrow().capacity();
                segment
            }
            None => Segment::default(),
        }
    }

    /// Takes back a segment nobody else holds; others are left to their last holder.
    pub(crate) fn give(&mut self, segment: Segment) {
        if !segment.unshared() {
            return;
        }
        let capacity = segment.0.borrow().capacity();
        if KEEP_CAPACITY.contains(&capacity) && self.bytes + capacity <= POOL_BYTES {
            segment.0.borrow_mut().clear();
            self.bytes += capacity;
            self.spare.push(segment);
        }
    }
}
