//! How much may wait for a shard: a weight that is moved until it takes the target time to work through, from a publisher's
//! call to the last byte written. A pure controller: it is told what batches took, and waits for nothing.
//!
//! Multiplicative both ways, because what a published byte costs differs by orders of magnitude between ten subscribers and ten
//! thousand, and by much less from one batch to the next.

use std::time::Duration;

/// The least that may wait, in bytes of weight: 80 messages of 128 B. A batch that is cut shorter takes no less time at many
/// subscribers, because each of them costs a write whatever it carries, and delivers less.
const FLOOR: usize = 16 * 1024;
/// What may wait before anything was measured: 340 messages of 128 B are 15 ms at 1,000 subscribers and 140 at 9,000.
const FIRST: usize = 64 * 1024;
/// One batch cuts the mark to this part at most: it may have been slow for a reason of the machine's.
const DEEPEST_CUT: f64 = 0.25;
/// What one write to each socket takes at least, four times over. A batch that is cut shorter than that costs every subscriber a
/// system call for a message or two, so the target gives way to it.
const WRITE: Duration = Duration::from_micros(4);

/// The controller of one shard.
#[derive(Debug)]
pub(crate) struct Pacer {
    target: Duration,
    ceiling: usize,
    mark: usize,
}

impl Pacer {
    /// Aims at `target`, and never lets more wait than `ceiling`.
    pub(crate) fn new(target: Duration, ceiling: usize) -> Self {
        Self { target, ceiling, mark: FIRST.min(ceiling) }
    }

    /// The weight above which publishers should wait.
    pub(crate) const fn mark(&self) -> usize {
        self.mark
    }

    /// Takes note that commands of `weight` were worked through `delay` after the first of them came in, with `writes` to
    /// sockets.
    pub(crate) fn observe(&mut self, weight: usize, delay: Duration, writes: u64) {
        let target = self.target.max(WRITE * u32::try_from(writes).unwrap_or(u32::MAX));
        if delay > target {
            let part = target.as_secs_f64() / delay.as_secs_f64();
            self.mark = scaled(self.mark, part.max(DEEPEST_CUT)).max(FLOOR.min(self.ceiling));
        } else if delay < target * 3 / 4 && weight >= self.mark / 2 {
            // Only where the mark was what held publishers back.
            self.mark = scaled(self.mark, 1.25).min(self.ceiling);
        }
    }
}

/// Weights are far below 2^52.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "both are positive and below 2^52"
)]
fn scaled(weight: usize, factor: f64) -> usize {
    (weight as f64 * factor) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard that needs `per_byte` for each byte of weight and `fixed` for each batch, and a publisher who always fills it.
    fn settle(per_byte: Duration, fixed: Duration, writes: u64) -> Duration {
        let mut pacer = Pacer::new(Duration::from_millis(10), 4 << 20);
        let mut delay = Duration::ZERO;
        for _ in 0..100 {
            let weight = pacer.mark();
            delay = fixed + per_byte * u32::try_from(weight).unwrap();
            pacer.observe(weight, delay, writes);
        }
        delay
    }

    #[test]
    fn settles_near_the_target_whatever_a_byte_costs() {
        for per_byte in [5, 50, 500] {
            let delay = settle(Duration::from_nanos(per_byte), Duration::from_micros(100), 100);
            assert!((Duration::from_millis(5)..Duration::from_millis(14)).contains(&delay), "{per_byte} ns: {delay:?}");
        }
    }

    #[test]
    fn gives_way_to_what_one_write_to_everybody_takes() {
        let delay = settle(Duration::from_nanos(2000), Duration::from_millis(12), 9000);
        assert!((Duration::from_millis(18)..Duration::from_millis(50)).contains(&delay), "{delay:?}");
    }

    #[test]
    fn stays_between_its_floor_and_its_ceiling() {
        let mut pacer = Pacer::new(Duration::from_millis(10), 100_000);
        for _ in 0..100 {
            pacer.observe(pacer.mark(), Duration::ZERO, 1);
        }
        assert_eq!(pacer.mark(), 100_000);
        for _ in 0..100 {
            pacer.observe(1, Duration::from_secs(1), 1);
        }
        assert_eq!(pacer.mark(), FLOOR);
        // Nobody is held back by it: it has no reason to move.
        pacer.observe(FLOOR / 4, Duration::ZERO, 1);
        assert_eq!(pacer.mark(), FLOOR);
        // However long batches take that are as short as they may be.
        (0..100).for_each(|_| pacer.observe(FLOOR, Duration::from_secs(1), 9000));
        assert_eq!(pacer.mark(), FLOOR);
    }
}
