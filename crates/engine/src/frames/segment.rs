//! Segments: append-only buffers of frames that many outbound queues point into. What was appended never moves within its
//! buffer, so a queue holds a slice of it and the bytes exist once per shard.

use std::cell::{Ref, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;

use super::Run;

/// A segment takes no more frames above this many bytes. Bounds what a slow subscriber can pin beyond what it owes.
const SEGMENT_BYTES: usize = 256 * 1024;
/// Only buffers of these sizes are used again: smaller ones cost nothing, larger ones hold too much.
const KEEP_CAPACITY: RangeInclusive<usize> = 16 * 1024..=2 * SEGMENT_BYTES;
/// Bytes of buffer capacity the pool keeps.
const POOL_BYTES: usize = 4 * 1024 * 1024;
/// A buffer is used again only for frames that fill at least one part in so many of it.
const SPARE_FACTOR: usize = 4;

/// Shared frames of one topic within one shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment(Rc<RefCell<Vec<u8>>>);

/// Some of a segment's frames, and a hold on all of its memory.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    segment: Segment,
    run: Run,
}

impl Slice {
    /// Appends the `count` frames in `frames` to `segment` and points at them.
    pub(crate) fn append(segment: Segment, frames: &[u8], count: u32) -> Self {
        let run = segment.append(frames, count);
        Self { segment, run }
    }

    /// Where its frames stand in the segment.
    #[inline]
    pub(crate) const fn run(&self) -> Run {
        self.run
    }

    /// Its frames.
    pub(crate) fn bytes(&self) -> Ref<'_, [u8]> {
        Ref::map(self.segment.0.borrow(), |bytes| self.run.of(bytes))
    }

    /// Where they are.
    #[inline]
    pub(crate) const fn segment(&self) -> &Segment {
        &self.segment
    }
}

impl Segment {
    /// Appends frames and returns where they stand. The caller has checked [`Self::has_room`].
    fn append(&self, frames: &[u8], count: u32) -> Run {
        let mut bytes = self.0.borrow_mut();
        let start = bytes.len();
        bytes.extend_from_slice(frames);
        Run::new(start, bytes.len(), count)
    }

    /// Whether `more` bytes may be appended. An empty segment takes any size.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        let used = self.0.borrow().len();
        used == 0 || used + more <= SEGMENT_BYTES
    }

    /// Everything from its beginning to `end`.
    #[inline]
    pub(crate) fn until(&self, end: u32) -> Ref<'_, [u8]> {
        Ref::map(self.0.borrow(), |bytes| &bytes[..end as usize])
    }

    /// Whether both are one.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Bytes of memory whoever holds it keeps alive: its whole buffer.
    pub(crate) fn pinned(&self) -> usize {
        self.0.borrow().capacity()
    }

    /// Nobody but the caller holds it.
    pub(crate) fn unshared(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
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
        let fits = |segment: &Segment| segment.0.borrow().capacity() <= size.saturating_mul(SPARE_FACTOR);
        if size >= *KEEP_CAPACITY.start()
            && let Some(at) = self.spare.iter().rposition(fits)
        {
            let segment = self.spare.swap_remove(at);
            self.bytes -= segment.0.borrow().capacity();
            return segment;
        }
        Segment(Rc::new(RefCell::new(Vec::with_capacity(size))))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stand_one_behind_the_other_and_all_of_the_buffer_is_pinned() {
        let segment = Segment::default();
        let first = Slice::append(segment.clone(), b"\x81\x00", 1);
        let next = Slice::append(segment.clone(), &[0x82, 0x01, 0x10], 1);
        assert_eq!((first.run().end(), &*next.bytes()), (next.run().start(), &[0x82, 0x01, 0x10][..]));
        assert!(first.segment().is(next.segment()) && !first.segment().is(&Segment::default()));
        assert!(segment.pinned() >= 5 && segment.until(5).len() == 5 && !segment.unshared());
    }

    #[test]
    fn a_large_spare_buffer_is_not_given_for_few_bytes() {
        let mut pool = SegmentPool::default();
        let large = Slice::append(pool.take(400 * 1024), &vec![0; 400 * 1024], 1).segment;
        pool.give(large);
        assert!(Slice::append(pool.take(20 * 1024), &[0; 20 * 1024], 1).segment().pinned() < 100 * 1024);
        assert!(Slice::append(pool.take(120 * 1024), &[0; 120 * 1024], 1).segment().pinned() >= 400 * 1024);
    }
}
