//! The timer wheel: one entry per connection, 100 ms buckets, constant work per tick and entry. Owns no clock: time is
//! passed in. An entry whose time is not its connection's any more is stale and dropped by the caller.

use crate::clock::Millis;

/// Width of a bucket, milliseconds.
pub(crate) const TICK_MS: u32 = 100;
/// Buckets; a later due time goes round more than once.
const BUCKETS: usize = 512;

/// One connection's next visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) slot: u32,
    pub(crate) due: Millis,
}

/// The wheel.
pub(crate) struct Wheel {
    buckets: Vec<Vec<Visit>>,
    /// Tick up to which everything was visited.
    tick: u32,
}

impl Wheel {
    pub(crate) fn new(now: Millis) -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Vec::new()).collect(), tick: now.raw() / TICK_MS }
    }

    /// Enters a visit at `due`; one in the past is visited at the next tick.
    pub(crate) fn insert(&mut self, slot: u32, due: Millis) {
        let at = due.raw();
        let behind = (at / TICK_MS).wrapping_sub(self.tick) > u32::MAX / TICK_MS / 2;
        let tick = if behind { self.tick + 1 } else { at.div_ceil(TICK_MS).max(self.tick + 1) };
        self.buckets[tick as usize % BUCKETS].push(Visit { slot, due });
    }

    /// Moves to `now` and appends everything due to `into`.
    pub(crate) fn advance(&mut self, now: Millis, into: &mut Vec<Visit>) {
        let target = now.raw() / TICK_MS;
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
                let due = now.has_reached(entry.due);
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

    fn at(ms: u32) -> Millis {
        Millis::from_raw(ms)
    }

    #[test]
    fn everything_is_visited_once_and_not_early() {
        let mut wheel = Wheel::new(at(0));
        let dues: Vec<u32> = (0..2000).map(|n| n * 97).collect();
        for (slot, due) in (0..).zip(&dues) {
            wheel.insert(slot, at(*due));
        }
        let mut seen = vec![false; dues.len()];
        for now in (0..200_000_u32).step_by(130) {
            let mut out = Vec::new();
            wheel.advance(at(now), &mut out);
            for entry in out {
                assert!(!std::mem::replace(&mut seen[entry.slot as usize], true));
                let due = entry.due.raw();
                assert!(due <= now && now - due <= 130 + 2 * TICK_MS, "{entry:?} at {now}");
            }
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn survives_a_long_pause() {
        let mut wheel = Wheel::new(at(0));
        wheel.insert(1, at(300));
        wheel.insert(2, at(500_000));
        let mut out = Vec::new();
        wheel.advance(at(400_000), &mut out);
        assert_eq!(out, [Visit { slot: 1, due: at(300) }]);
        out.clear();
        wheel.advance(at(600_000), &mut out);
        assert_eq!(out, [Visit { slot: 2, due: at(500_000) }]);
    }
}
