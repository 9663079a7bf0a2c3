//! What a batch holds for single connections until it is flushed: runs of the batch's arena, in order. A delivery costs
//! one entry here and touches nothing of the connection; the flush sorts by connection and hands each one all its places
//! at once. Owns no bytes, and never outlives the batch.

use crate::frames::Run;

/// Room for this many runs is kept between batches.
const KEEP_RUNS: usize = 256 * 1024;

/// The places staged since the last flush.
#[derive(Default)]
pub(super) struct Staging {
    staged: Vec<(u32, Run)>,
    slots: Vec<Staged>,
    /// Slots with places, in the order of their first.
    touched: Vec<u32>,
    /// Places by slot, once sorted.
    sorted: Vec<Run>,
    /// How many of `touched` have been taken since.
    taken: usize,
}

/// What is staged for the connection in one slot.
#[derive(Clone, Copy, Default)]
struct Staged {
    /// Its runs that are valid.
    count: u32,
    /// Runs staged before the one with this number were for a connection that is gone: the slot's next one must not get them.
    since: u32,
    /// Once sorted: the end of its places.
    end: u32,
    /// Its socket takes no more for now: whatever comes goes behind what it owes, into its queue.
    blocked: bool,
}

impl Staging {
    /// Stages a place for the connection at `slot`; false, and nothing is staged, when its socket is blocked.
    #[inline]
    pub(super) fn push(&mut self, slot: u32, run: Run) -> bool {
        debug_assert!(self.sorted.is_empty(), "what was sorted is settled before anything else is staged");
        let own = self.slot(slot);
        if own.blocked {
            return false;
        }
        if own.count == 0 {
            self.touched.push(slot);
        }
        let own = &mut self.slots[slot as usize];
        own.count += 1;
        self.staged.push((slot, run));
        true
    }

    /// Notes whether the socket of the connection at `slot` is blocked.
    pub(super) fn block(&mut self, slot: u32, blocked: bool) {
        self.slot(slot).blocked = blocked;
    }

    #[inline]
    fn slot(&mut self, slot: u32) -> &mut Staged {
        let index = slot as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Staged::default());
        }
        &mut self.slots[index]
    }

    /// Whether nothing is staged.
    pub(super) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Whether something is staged for the connection at `slot`.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(|own| own.count > 0)
    }

    /// Connections with something staged.
    pub(super) fn connections(&self) -> usize {
        self.touched.len() - self.taken
    }

    /// The connection at `slot` is gone; another may take its place.
    pub(super) fn forget(&mut self, slot: u32) {
        let staged = self.staged.len();
        let Some(own) = self.slots.get_mut(slot as usize) else { return };
        own.blocked = false;
        if own.count > 0 {
            own.count = 0;
            // One place per delivery, and a flush falls due long before.
            own.since = u32::try_from(staged).unwrap_or(u32::MAX);
        }
    }

    /// The next connection's slot and places, which are then in `into`; `None` when all have been taken.
    pub(super) fn next(&mut self, into: &mut Vec<Run>) -> Option<u32> {
        if self.taken == 0 && self.sorted.is_empty() {
            self.sort();
        }
        while let Some(slot) = self.touched.get(self.taken).copied() {
            self.taken += 1;
            let found = self.take(slot, into);
            // Whatever became of it: the next batch counts from its own beginning.
            self.slots[slot as usize].since = 0;
            if found {
                return Some(slot);
            }
        }
        self.clear();
        None
    }

    /// Takes what is left for the connection at `slot` into `into`, out of its turn, between two calls of [`Self::next`];
    /// false when there is nothing.
    pub(super) fn take(&mut self, slot: u32, into: &mut Vec<Run>) -> bool {
        let Some(kept) = self.slots.get_mut(slot as usize).filter(|own| own.count > 0 && !self.sorted.is_empty())
        else {
            return false;
        };
        let own = *kept;
        *kept = Staged { blocked: own.blocked, ..Staged::default() };
        into.clear();
        into.extend_from_slice(&self.sorted[(own.end - own.count) as usize..own.end as usize]);
        true
    }

    /// Scatters the places by slot (a counting sort: the counts are known).
    fn sort(&mut self) {
        let mut at = 0;
        for slot in &self.touched {
            let own = &mut self.slots[*slot as usize];
            own.end = at;
            at += own.count;
        }
        self.sorted.resize(at as usize, Run::default());
        for (index, (slot, run)) in (0..).zip(&self.staged) {
            let own = &mut self.slots[*slot as usize];
            if index >= own.since && own.count > 0 {
                self.sorted[own.end as usize] = *run;
                own.end += 1;
            }
        }
    }

    fn clear(&mut self) {
        self.taken = 0;
        self.touched.clear();
        self.staged.clear();
        self.sorted.clear();
        if self.staged.capacity() > KEEP_RUNS {
            self.staged = Vec::new();
            self.sorted = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(start: u32) -> Run {
        Run::new(start as usize, start as usize + 1, 1)
    }

    fn all(staging: &mut Staging) -> Vec<(u32, Vec<u32>)> {
        let (mut found, mut places) = (Vec::new(), Vec::new());
        while let Some(slot) = staging.next(&mut places) {
            found.push((slot, places.iter().map(|place| place.start()).collect()));
        }
        assert!(staging.is_empty());
        found
    }

    #[test]
    fn places_come_back_by_connection_and_in_order() {
        let mut staging = Staging::default();
        for round in 0..2 {
            for (at, slot) in (0..).zip([7, 0, 7, 3, 0, 7]) {
                staging.push(slot, place(at));
            }
            assert_eq!(staging.connections(), 3);
            assert_eq!(all(&mut staging), [(7, vec![0, 2, 5]), (0, vec![1, 4]), (3, vec![3])], "round {round}");
        }
        assert_eq!(all(&mut staging), []);
    }

    #[test]
    fn who_is_gone_gets_nothing_and_neither_does_who_comes_after() {
        let mut staging = Staging::default();
        staging.push(1, place(0));
        staging.push(2, place(1));
        staging.forget(1);
        staging.forget(9);
        staging.push(1, place(2));
        staging.push(2, place(3));
        assert_eq!(all(&mut staging), [(1, vec![2]), (2, vec![1, 3])]);
        // While the others are being served.
        staging.push(1, place(0));
        staging.push(2, place(1));
        staging.push(3, place(2));
        let mut places = Vec::new();
        assert_eq!(staging.next(&mut places), Some(1));
        staging.forget(2);
        assert_eq!(all(&mut staging), [(3, vec![2])]);
        // Out of its turn.
        (1..=3).for_each(|slot| assert!(staging.push(slot, place(slot))));
        assert_eq!((staging.next(&mut places), staging.take(3, &mut places), places[0].start()), (Some(1), true, 3));
        assert!(!staging.take(3, &mut places) && !staging.take(9, &mut places));
        assert_eq!(all(&mut staging), [(2, vec![2])]);
        // Nothing of it is left to be mistaken for the next batch's.
        staging.push(2, place(5));
        assert_eq!(all(&mut staging), [(2, vec![5])]);
    }

    #[test]
    fn a_blocked_socket_is_refused_until_it_is_not_or_has_gone() {
        let mut staging = Staging::default();
        staging.block(4, true);
        assert!(staging.push(5, place(0)) && !staging.push(4, place(0)));
        assert_eq!(all(&mut staging), [(5, vec![0])]);
        assert!(!staging.push(4, place(0)));
        staging.block(4, false);
        assert!(staging.push(4, place(1)));
        staging.block(4, true);
        assert_eq!(all(&mut staging), [(4, vec![1])]);
        assert!(!staging.push(4, place(0)));
        // It had nothing staged: no mark may be left that makes the next batch begin late.
        staging.push(5, place(0));
        staging.forget(4);
        assert_eq!(all(&mut staging), [(5, vec![0])]);
        assert!(staging.push(4, place(2)));
        assert_eq!(all(&mut staging), [(4, vec![2])]);
    }

    /// 64 topics with 100 subscribers each, published once and flushed. `bench/instructions.mjs` counts it.
    #[test]
    #[ignore = "counted by bench/instructions.mjs"]
    fn stage() {
        let repetitions: usize = std::env::var("REPEAT").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
        let (mut staging, mut places, mut found) = (Staging::default(), Vec::new(), 0);
        for _ in 0..repetitions {
            for topic in 0..64 {
                (0..100).for_each(|slot| assert!(staging.push(slot, place(topic))));
            }
            while staging.next(&mut places).is_some() {
                found += places.len();
            }
        }
        assert_eq!(found, repetitions * 6400);
    }
}
