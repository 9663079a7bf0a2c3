//! The timer wheel: one entry per connection, 100 ms buckets, constant work per tick and entry. Owns no clock: time is
//! passed in. An entry whose time is not its connection's any more is stale and dropped by the caller.

/// Width of a bucket, milliseconds.
pub(crate) const TICK_MS: u32 = 100;
/// Buckets; a later due time goes round more than once.
const BUCKETS: usize = 512;

/// One connection's next visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) slot: u32,
    pub(crate) due: u32,
}

/// The wheel.
pub(crate) struct Wheel {
    buckets: Vec<Vec<Entry>>,
    /// Tick up to which everything was visited.
    tick: u32,
}

impl Wheel {
    pub(crate) fn new(now: u32) -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Vec::new()).collect(), tick: now / TICK_MS }
    }

    /// Enters a visit at `due`; one in the past is visited at the next tick.
    pub(crate) fn insert(&mut self, slot: u32, due: u32) {
        let behind = (due / TICK_MS).wrapping_sub(self.tick) > u32::MAX / TICK_MS / 2;
        let tick = if behind { self.tick + 1 } else { due.div_ceil(TICK_MS).max(self.tick + 1) };
        self.buckets[tick as usize % BUCKETS].push(Entry { slot, due });
    }

    /// Moves to `now` and appends everything due to `into`.
    pub(crate) fn advance(&mut self, now: u32, into: &mut Vec<Entry>) {
        let target = now / TICK_MS;
        // The clock wraps every 49 days: start over at its new beginning with everything that is left.
        if target < self.tick {
            for bucket in &mut self.buckets {
                into.append(bucket);
            }
            self.tick = target;
            return;
        }
        let steps = (target - self.tick).min(u32::try_from(BUCKETS).unwrap_or(u32::MAX));
        for step in 1..=steps {
            let bucket = &mut self.buckets[(target - steps + step) as usize % BUCKETS];
            bucket.retain(|entry| {
                let due = crate::conn::reached(now, entry.due);
                if due {
                    into.push(*entry);
                }
                !due
            });
            if bucket.is_empty() && bucket.capacity() > 64 {
                bucket.shrink_to(0);
            }
        }
        self.tick = target;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_visited_once_and_not_early() {
        let mut wheel = Wheel::new(0);
        let dues: Vec<u32> = (0..2000).map(|n| n * 97).collect();
        for (slot, due) in (0..).zip(&dues) {
            wheel.insert(slot, *due);
        }
        let mut seen = vec![false; dues.len()];
        for now in (0..200_000).step_by(130) {
            let mut out = Vec::new();
            wheel.advance(now, &mut out);
            for entry in out {
                assert!(!std::mem::replace(&mut seen[entry.slot as usize], true));
                assert!(entry.due <= now && now - entry.due <= 130 + 2 * TICK_MS, "{entry:?} at {now}");
            }
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn survives_a_long_pause() {
        let mut wheel = Wheel::new(0);
        wheel.insert(1, 300);
        wheel.insert(2, 500_000);
        let mut out = Vec::new();
        wheel.advance(400_000, &mut out);
        assert_eq!(out, [Entry { slot: 1, due: 300 }]);
        out.clear();
        wheel.advance(600_000, &mut out);
        assert_eq!(out, [Entry { slot: 2, due: 500_000 }]);
    }
}
