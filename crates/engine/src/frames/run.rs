//! A run: whole frames that stand side by side in an arena. Owns no bytes.

use wse_protocol::frame::frame_end;

/// A run takes no more frames above this many bytes: what one distribution hands to each subscriber.
const RUN_BYTES: usize = 128 * 1024;

/// Whole frames at `start..end` of an arena or segment, `count` of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    start: u32,
    end: u32,
    count: u32,
}

impl Run {
    /// The `count` frames at `start..end`.
    pub(crate) fn new(start: usize, end: usize, count: u32) -> Self {
        Self { start: position(start), end: position(end), count }
    }

    /// Where it begins.
    #[inline]
    pub(crate) const fn start(self) -> u32 {
        self.start
    }

    /// Where it ends.
    #[inline]
    pub(crate) const fn end(self) -> u32 {
        self.end
    }

    /// Frames in it.
    #[inline]
    pub(crate) const fn count(self) -> u32 {
        self.count
    }

    /// Bytes in it.
    #[inline]
    pub(crate) const fn size(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Its frames, in the arena it was made for.
    #[inline]
    pub(crate) fn of(self, arena: &[u8]) -> &[u8] {
        &arena[self.start as usize..self.end as usize]
    }

    /// Takes in `next` if that stands right behind; false when it does not.
    #[inline]
    pub(crate) const fn join(&mut self, next: Self) -> bool {
        let adjacent = self.end == next.start;
        if adjacent {
            self.end = next.end;
            self.count += next.count;
        }
        adjacent
    }

    /// Takes in `next`, which was appended to the arena last, unless the run is long enough; false when it is.
    #[inline]
    pub(crate) const fn extend(&mut self, next: Self) -> bool {
        self.size() <= RUN_BYTES && self.join(next)
    }
}

/// Where the frames begin that stand behind the first `count` of `frames`.
pub(crate) fn skip_frames(frames: &[u8], count: u32) -> usize {
    let mut at = 0;
    for _ in 0..count {
        match frame_end(frames, at) {
            Some(end) => at = end,
            None => return frames.len(),
        }
    }
    at
}

/// Positions fit 32 bits: the mailbox bounds its arenas, and a segment holds one run or one message.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the mailbox")]
pub(super) fn position(at: usize) -> u32 {
    debug_assert!(u32::try_from(at).is_ok());
    at as u32
}

#[cfg(test)]
mod tests {
    use wse_protocol::frame::{Opcode, push_frame};

    use super::*;

    #[test]
    fn runs_join_where_they_touch_and_grow_up_to_a_limit() {
        let mut run = Run::new(0, 10, 1);
        assert!(!run.join(Run::new(11, 20, 1)) && run.join(Run::new(10, 20, 2)));
        assert_eq!((run, run.size()), (Run::new(0, 20, 3), 20));
        let mut long = Run::new(0, RUN_BYTES + 1, 1);
        assert!(!long.extend(Run::new(RUN_BYTES + 1, RUN_BYTES + 2, 1)));
    }

    #[test]
    fn frames_are_skipped_from_the_front() {
        let mut frames = Vec::new();
        for size in [0, 200, 70_000] {
            push_frame(&mut frames, Opcode::Binary, &vec![1; size]);
        }
        let ends: Vec<usize> = (0..=3).map(|count| skip_frames(&frames, count)).collect();
        assert_eq!(ends, [0, 2, 206, frames.len()]);
        assert_eq!(skip_frames(&frames, 9), frames.len());
    }
}
