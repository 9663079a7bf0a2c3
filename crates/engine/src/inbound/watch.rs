//! Whether a reader still comes for what waits: looked at twice a second by whichever shard is first. Punishes nobody: what
//! follows from a stall is decided by `consumers`.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use crate::clock::Millis;

/// What was seen of one reader.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Its visits at the last look.
    seen: AtomicU64,
    /// Since when it has left events waiting.
    since: AtomicU32,
    stalled: AtomicBool,
}

/// What a look at a reader found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It reads, or has nothing to read.
    Fine,
    /// It has stopped reading while events wait, just now found out.
    Stalls,
    /// It has, as was known.
    Stalled,
}

impl Watch {
    /// Whether it was found to have stopped reading, and has not come back.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Relaxed)
    }

    /// A look: `visits` so far, whether events wait, and `excused`: nobody could have come, because the engine itself stood still.
    pub(super) fn look(&self, visits: u64, waits: bool, excused: bool, now: Millis, timeout: u32) -> Look {
        let came = self.seen.swap(visits, Relaxed) != visits;
        if self.is_stalled() {
            if !came {
                return Look::Stalled;
            }
            self.stalled.store(false, Relaxed);
        }
        if came || !waits || excused {
            self.since.store(now.raw(), Relaxed);
            return Look::Fine;
        }
        if now.since(Millis::from_raw(self.since.load(Relaxed))) < timeout {
            return Look::Fine;
        }
        self.stalled.store(true, Relaxed);
        Look::Stalls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_leaves_events_waiting_for_all_of_the_time_stalls_and_only_a_visit_ends_it() {
        let watch = Watch::default();
        let look = |visits, waits, excused, at| watch.look(visits, waits, excused, Millis::from_raw(at), 5000);
        assert_eq!(look(0, true, false, 1000), Look::Fine, "what began before the first look is not known");
        assert_eq!(look(1, true, false, 2000), Look::Fine);
        assert_eq!(look(1, true, false, 6999), Look::Fine);
        assert_eq!(look(1, false, false, 7000), Look::Fine, "nothing waits");
        assert_eq!(look(1, true, false, 11_999), Look::Fine);
        assert_eq!(look(1, true, true, 12_000), Look::Fine, "excused");
        assert_eq!(look(1, true, false, 17_000), Look::Stalls);
        assert_eq!(look(1, false, true, 17_500), Look::Stalled, "others have taken what waited");
        assert!(watch.is_stalled());
        assert_eq!(look(2, true, false, 18_000), Look::Fine);
        assert_eq!(look(2, true, false, 23_000), Look::Stalls, "the next one");
    }
}
