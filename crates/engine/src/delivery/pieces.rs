//! Staged runs of one connection as contiguous bytes: what stands side by side is written from where it is, what stands apart
//! is joined. Owns no bytes.

use crate::frames::Run;

/// Staged runs are joined into writes of about this size, bytes.
const JOIN_BYTES: usize = 64 * 1024;
/// Runs that stand side by side in the arena are written from there from this size on, bytes.
const IN_PLACE_BYTES: usize = 16 * 1024;

/// The runs that have not been handed out yet.
pub(super) struct Pieces<'a> {
    arena: &'a [u8],
    runs: &'a [Run],
    joined: &'a mut Vec<u8>,
}

impl<'a> Pieces<'a> {
    /// `joined` is scratch memory.
    pub(super) fn new(arena: &'a [u8], runs: &'a [Run], joined: &'a mut Vec<u8>) -> Self {
        Self { arena, runs, joined }
    }

    /// The next piece and its frames; `None` after the last.
    pub(super) fn next(&mut self) -> Option<(&[u8], u32)> {
        let (first, rest) = self.adjacent()?;
        self.runs = rest;
        if rest.is_empty() || first.size() >= IN_PLACE_BYTES {
            return Some((first.of(self.arena), first.count()));
        }
        self.joined.clear();
        self.joined.extend_from_slice(first.of(self.arena));
        let mut count = first.count();
        while self.joined.len() < JOIN_BYTES
            && let Some((run, rest)) = self.adjacent()
            && run.size() < IN_PLACE_BYTES
        {
            self.joined.extend_from_slice(run.of(self.arena));
            count += run.count();
            self.runs = rest;
        }
        Some((self.joined, count))
    }

    /// The runs in front that stand side by side, as one, and those behind.
    fn adjacent(&self) -> Option<(Run, &'a [Run])> {
        let (first, mut rest) = self.runs.split_first()?;
        let mut run = *first;
        while let Some((next, after)) = rest.split_first()
            && run.join(*next)
        {
            rest = after;
        }
        Some((run, rest))
    }
}

/// Whether a joining buffer has grown too large to be kept.
pub(super) fn is_oversized(joined: &Vec<u8>) -> bool {
    joined.capacity() > 4 * JOIN_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_touch_are_one_piece_and_others_are_joined_up_to_a_size() {
        let arena: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let runs = [Run::new(0, 10, 1), Run::new(10, 20, 1), Run::new(30, 40, 2), Run::new(50_000, 90_000, 3)];
        let mut joined = Vec::new();
        let mut pieces = Pieces::new(&arena, &runs, &mut joined);
        let first = pieces.next().map(|(bytes, count)| (bytes.to_vec(), count));
        assert_eq!(first, Some(([&arena[0..20], &arena[30..40]].concat(), 4)));
        assert_eq!(pieces.next(), Some((&arena[50_000..90_000], 3)));
        assert_eq!(pieces.next(), None);
    }
}
