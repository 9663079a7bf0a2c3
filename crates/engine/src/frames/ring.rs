//! The ring: the last frames of one topic, whole and in order, in chunks. The newest chunk is open; sealed ones never change, so
//! queues of every shard may point into them. Counts what it takes. Knows no lock and no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Run;
use super::run::position;

/// A chunk takes no more frames above this many bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// A chunk holds at most one part in so many of a ring's frames, so that little more is kept than was asked for.
const CHUNK_SHARE: u32 = 4;
/// Bytes a sealed chunk takes beside its frames and their ends.
const CHUNK_COST: usize = 96;

/// Frames that never change.
#[derive(Debug)]
pub(crate) struct Chunk(Vec<u8>);

/// Some of a chunk's frames, and a hold on all of its memory.
#[derive(Clone, Debug)]
pub(crate) struct RingSlice {
    chunk: Arc<Chunk>,
    run: Run,
}

impl RingSlice {
    /// Its frames.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.run.of(&self.chunk.0)
    }

    /// Where its frames stand in the chunk.
    pub(crate) const fn run(&self) -> Run {
        self.run
    }

    /// Bytes of slices.
    pub(crate) fn size_of(slices: &[Self]) -> usize {
        slices.iter().map(|slice| slice.run.size()).sum()
    }

    /// The chunk it points into.
    pub(crate) const fn chunk(&self) -> &Arc<Chunk> {
        &self.chunk
    }
}

impl Chunk {
    /// Everything from its beginning to `end`.
    #[inline]
    pub(crate) fn until(&self, end: u32) -> &[u8] {
        &self.0[..end as usize]
    }

    /// Bytes of memory whoever holds it keeps alive.
    pub(crate) fn pinned(&self) -> usize {
        self.0.capacity() + CHUNK_COST
    }
}

/// A chunk nothing is added to any more.
#[derive(Debug)]
struct Sealed {
    chunk: Arc<Chunk>,
    /// Where each of its frames ends.
    ends: Box<[u32]>,
}

impl Sealed {
    fn bytes(&self) -> usize {
        self.chunk.pinned() + size_of_val(&*self.ends)
    }

    fn count(&self) -> u64 {
        self.ends.len() as u64
    }
}

/// The last frames of a topic.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Oldest first.
    sealed: VecDeque<Sealed>,
    open: Vec<u8>,
    /// Where each of the open chunk's frames ends.
    ends: Vec<u32>,
    /// The number of the next frame; those that are kept are the ones right before it.
    next: u64,
    /// Frames that are sealed.
    count: u64,
    /// Bytes the sealed chunks take.
    bytes: usize,
    /// Frames that are kept at least.
    keep: u32,
}

impl Ring {
    /// An empty ring whose first frame will be number `next`; it keeps the last `keep`, and up to a quarter more.
    pub(crate) const fn new(next: u64, keep: u32) -> Self {
        Self { sealed: VecDeque::new(), open: Vec::new(), ends: Vec::new(), next, count: 0, bytes: 0, keep }
    }

    /// Bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.open.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    /// The number of the oldest frame that is kept; that of the next when none is.
    pub(crate) fn oldest(&self) -> u64 {
        self.next - self.count - self.ends.len() as u64
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.oldest() == self.next
    }

    /// Appends the next frame; the oldest go when there are enough.
    pub(crate) fn append(&mut self, frame: &[u8]) {
        let most = (self.keep / CHUNK_SHARE).max(1) as usize;
        if self.ends.len() >= most || (!self.ends.is_empty() && self.open.len() + frame.len() > CHUNK_BYTES) {
            self.seal();
        }
        self.open.extend_from_slice(frame);
        self.ends.push(position(self.open.len()));
        self.next += 1;
        while let Some(oldest) = self.sealed.front()
            && self.count - oldest.count() + self.ends.len() as u64 >= u64::from(self.keep)
        {
            self.count -= oldest.count();
            self.bytes -= oldest.bytes();
            self.sealed.pop_front();
        }
    }

    /// Moves the open chunk to the sealed ones.
    fn seal(&mut self) {
        if self.ends.is_empty() {
            return;
        }
        let mut bytes = std::mem::take(&mut self.open);
        // What grew by doubling may be half empty.
        bytes.shrink_to_fit();
        let ends = std::mem::take(&mut self.ends).into_boxed_slice();
        let sealed = Sealed { chunk: Arc::new(Chunk(bytes)), ends };
        self.bytes += sealed.bytes();
        self.count += sealed.count();
        self.sealed.push_back(sealed);
    }

    /// Slices of all frames from number `from` on; `None`: the first of them are not kept.
    pub(crate) fn since(&mut self, from: u64) -> Option<Vec<RingSlice>> {
        if from < self.oldest() || from > self.next {
            return None;
        }
        let mut slices = Vec::new();
        if from == self.next {
            return Some(slices);
        }
        self.seal();
        let mut end = self.next;
        for Sealed { chunk, ends } in self.sealed.iter().rev() {
            let first = end - ends.len() as u64;
            let skipped = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
            let start = skipped.checked_sub(1).map_or(0, |last| ends[last]);
            let (count, until) = (position(ends.len() - skipped), ends.last().copied().unwrap_or(0));
            slices.push(RingSlice { chunk: Arc::clone(chunk), run: Run::new(start as usize, until as usize, count) });
            if first <= from {
                break;
            }
            end = first;
        }
        slices.reverse();
        Some(slices)
    }

    /// Forgets all frames; their numbers are not used again.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.next, self.keep);
    }

    /// Forgets all but the last frame.
    pub(crate) fn clear_but_last(&mut self) {
        if let Some(last) = self.next.checked_sub(1).and_then(|last| self.since(last)).and_then(|mut last| last.pop()) {
            *self = Self::new(self.next - 1, self.keep);
            self.append(last.bytes());
            self.open.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use wse_protocol::frame::{Opcode, push_frame};

    use super::*;

    fn frame(number: u64) -> Vec<u8> {
        let mut frame = Vec::new();
        push_frame(&mut frame, Opcode::Text, "x".repeat(usize::try_from(number).unwrap() * 37 % 300).as_bytes());
        frame
    }

    fn read(ring: &mut Ring, from: u64) -> Option<Vec<u8>> {
        let slices = ring.since(from)?;
        assert_eq!(slices.iter().map(|slice| u64::from(slice.run().count())).sum::<u64>(), ring.next - from);
        Some(slices.iter().flat_map(|slice| slice.bytes().to_vec()).collect())
    }

    #[test]
    fn what_is_kept_is_read_from_any_frame_on_and_nothing_older() {
        for keep in [1_u32, 2, 3, 16, 100] {
            let mut ring = Ring::new(1, keep);
            for number in 1..400 {
                ring.append(&frame(number));
                let kept = ring.next - ring.oldest();
                assert!(kept >= number.min(u64::from(keep)) && kept <= u64::from(keep + keep / 4), "{keep}: {kept}");
                if number % 3 != 0 {
                    continue;
                }
                for from in [ring.oldest(), ring.next.saturating_sub(2).max(ring.oldest()), ring.next] {
                    let expected: Vec<u8> = (from..ring.next).flat_map(frame).collect();
                    assert_eq!(read(&mut ring, from), Some(expected), "{keep} {number} {from}");
                }
                for outside in [ring.oldest() - 1, ring.next + 1] {
                    assert!(ring.since(outside).is_none(), "{keep} {number} {outside}");
                }
            }
        }
    }

    #[test]
    fn its_bytes_are_those_of_its_memory_and_readers_keep_theirs() {
        let mut ring = Ring::new(1, 16);
        (1..=64).for_each(|_| ring.append(&[0; 10_000]));
        assert!((160_000..300_000).contains(&ring.bytes()), "{}", ring.bytes());
        let oldest = ring.oldest();
        let kept = ring.since(oldest).unwrap();
        let sealed: usize = kept.iter().map(|slice| slice.chunk().pinned()).sum();
        assert!(ring.bytes() >= sealed && ring.bytes() < sealed + 1000);
        ring.clear_but_last();
        let last = ring.next - 1;
        assert_eq!((ring.oldest(), read(&mut ring, last)), (last, Some(vec![0; 10_000])));
        assert!(ring.bytes() < 11_000);
        ring.clear();
        assert!(ring.is_empty() && ring.bytes() == 0 && ring.next == 65);
        assert!(kept.iter().all(|slice| slice.bytes().len() >= 10_000));
    }

    #[test]
    fn large_frames_are_chunks_of_their_own() {
        let mut ring = Ring::new(5, 128);
        for size in [70_000, 10, 70_000, 64_000, 2_000] {
            ring.append(&vec![1; size]);
        }
        let sizes: Vec<usize> = ring.since(5).unwrap().iter().map(|slice| slice.bytes().len()).collect();
        assert_eq!(sizes, [70_000, 10, 70_000, 64_000, 2_000]);
    }
}
