//! How far one connection is behind, in time, and whether publishers wait for it. Owns no queue and no clock: it is told how
//! many bytes are owed and written.
//!
//! A connection *presses*, that is publishers wait for it, while its oldest owed byte is older than the target delay, as long as it
//! keeps up. Two things end that. It stands still: its socket took nothing for [`STILL_MS`]. Or it is much slower than the others:
//! publishers waited for it during more than [`PRESSED_PERCENT`] of a window, and few others made them wait for a quarter of it;
//! had they not waited, the others could have been served four times as fast. It is then slow: nobody waits for it, and its
//! budget deals with it.
//!
//! *Could*: whoever is waited for brings the others down to its own pace, and how fast they are shows only once nobody waits for
//! it. It is compared with them then, and one that takes a quarter of what they take has proved that it keeps up.

use super::convoy::{Census, WINDOW_MS};
use crate::clock::Millis;

/// A socket that took nothing for so long stands still, milliseconds.
const STILL_MS: u32 = 2000;
/// Who presses for more of a window than this, and is one of few, keeps up with less than a quarter of the others' pace.
const PRESSED_PERCENT: u32 = 75;
/// Whoever presses for this much of a window shares the pace of those that press for all of it: it takes a quarter of what they
/// would let through.
const SHARED_PERCENT: u32 = 100 - PRESSED_PERCENT;
/// Looks in which it is compared with the others before the comparison counts.
const COMPARED_LOOKS: u8 = 2;
/// How long a proof of its pace stands, milliseconds.
const PROOF_MS: u32 = 60_000;
/// How long a slow connection is not waited for, at first, milliseconds; doubled each time it proves slow again.
const PROBATION_MS: u32 = 10_000;
/// Doublings of the probation at most: 10 s to about 5 minutes.
const MAX_DOUBLINGS: u8 = 5;

/// The state of a connection that owes more than its socket takes.
#[derive(Debug)]
pub(super) struct Lag {
    /// Bytes in front of the watched one, itself included.
    ahead: usize,
    /// When the watched byte was the last in the queue.
    since: Millis,
    /// When the socket last took something.
    moved: Millis,
    /// When it began to press, if it does.
    pressing: Option<Millis>,
    /// How long it has pressed in this window, milliseconds, the present time not counted.
    pressed: u32,
    /// Until when nobody waits for it, if it proved slow.
    slow_until: Option<Millis>,
    doublings: u8,
    /// Whether it is one of the convoy's that are behind.
    counted: bool,
    /// Bytes its socket took since the last look, and in this window.
    taken: u64,
    taken_in_window: u64,
    trial: Trial,
    proof: Option<Proof>,
}

/// What it and the others took in looks at a time when nobody waited for it, and they were held by their own pace.
#[derive(Debug, Default)]
struct Trial {
    own: u64,
    others: u64,
    looks: u8,
}

/// It kept up when nobody waited for it.
#[derive(Debug)]
struct Proof {
    until: Millis,
    /// A quarter of what the others took, bytes in a window: with less it no longer keeps up.
    pace: u64,
}

/// What a look at a connection found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// It presses from now on.
    Pressing,
    /// It presses no longer.
    Released,
    /// It presses no longer, because it is slow.
    Slow,
}

impl Lag {
    /// A connection whose socket did not take all of `owed` bytes.
    pub(super) fn new(owed: usize, now: Millis) -> Self {
        Self {
            ahead: owed,
            since: now,
            moved: now,
            pressing: None,
            pressed: 0,
            slow_until: None,
            doublings: 0,
            counted: false,
            taken: 0,
            taken_in_window: 0,
            trial: Trial::default(),
            proof: None,
        }
    }

    /// Whether publishers wait for it.
    pub(super) fn presses(&self) -> bool {
        self.pressing.is_some()
    }

    /// Whether it has proved that it keeps up.
    pub(super) fn is_proved(&self) -> bool {
        self.proof.is_some()
    }

    /// Whether it counted among those that are behind, and whether it does from now on.
    pub(super) fn count(&mut self, behind: bool) -> (bool, bool) {
        let counts = behind && self.slow_until.is_none();
        (std::mem::replace(&mut self.counted, counts), counts)
    }

    /// The socket took `written` bytes and `owed` are left.
    pub(super) fn wrote(&mut self, written: usize, owed: usize, now: Millis) {
        self.taken += written as u64;
        self.moved = now;
        self.ahead = self.ahead.saturating_sub(written);
        if self.ahead == 0 {
            self.ahead = owed;
            self.since = now;
        }
    }

    /// Whether it is behind: its watched byte is older than `target` milliseconds, or it owes `too_much`. `owed` bytes wait for
    /// the socket.
    pub(super) fn is_behind(&mut self, owed: usize, too_much: bool, target: u32, now: Millis) -> bool {
        if self.ahead == 0 && owed > 0 {
            // It owed nothing for a while.
            (self.ahead, self.since, self.moved) = (owed, now, now);
        }
        owed > 0 && (too_much || now.since(self.since) > target)
    }

    /// Looks at it. It may be behind and not press: `may_press`.
    pub(super) fn look(&mut self, owed: usize, behind: bool, may_press: bool, now: Millis) -> Found {
        if owed == 0 {
            return self.clear(now);
        }
        if !behind {
            return Found::Nothing;
        }
        if self.pressing.is_some() || self.slow_until.is_some() || !may_press {
            return Found::Nothing;
        }
        self.pressing = Some(now);
        Found::Pressing
    }

    /// It owes nothing any more.
    fn clear(&mut self, now: Millis) -> Found {
        self.ahead = 0;
        if self.slow_until.is_some_and(|until| now.has_reached(until)) {
            self.slow_until = None;
        }
        self.trial = Trial::default();
        self.release(now)
    }

    /// Nobody waited for it since the last window, and it is nobody's concern.
    pub(super) fn is_over(&self) -> bool {
        self.ahead == 0 && self.pressed == 0 && self.slow_until.is_none() && self.proof.is_none()
    }

    /// Compares what it took since the last look with the `others`' mean, if that is their own pace. Whoever has been proved to
    /// keep up may press again.
    pub(super) fn compare(&mut self, others: Option<u64>, look: u32, now: Millis) {
        let taken = std::mem::take(&mut self.taken);
        self.taken_in_window += taken;
        let Some(others) = others.filter(|_| self.pressing.is_none() && self.ahead > 0 && self.proof.is_none()) else {
            return;
        };
        self.trial.own += taken;
        self.trial.others += others;
        self.trial.looks += 1;
        if self.trial.looks < COMPARED_LOOKS {
            return;
        }
        let Trial { own, others, looks } = std::mem::take(&mut self.trial);
        let least = others * u64::from(SHARED_PERCENT) / 100;
        if own >= least && own > 0 {
            let pace = least * u64::from(WINDOW_MS) / u64::from(look.max(1) * u32::from(looks));
            self.proof = Some(Proof { until: now.after(PROOF_MS), pace });
            self.slow_until = None;
        }
    }

    /// The shard stood still: what was not taken meanwhile says nothing.
    pub(super) fn excuse(&mut self, now: Millis) {
        (self.since, self.moved, self.pressed) = (now, now, 0);
        self.pressing = self.pressing.map(|_| now);
        (self.taken, self.taken_in_window, self.trial) = (0, 0, Trial::default());
    }

    /// How long it has pressed in this window, milliseconds.
    fn pressed(&self, now: Millis) -> u32 {
        self.pressed + self.pressing.map_or(0, |since| now.since(since).min(WINDOW_MS))
    }

    /// Whether it counts among the slowest of the window that ends now.
    pub(super) fn is_of_the_slowest(&self, now: Millis) -> bool {
        self.pressed(now) * 100 >= WINDOW_MS * SHARED_PERCENT
    }

    /// Publishers wait for it no longer, whether or not it is behind.
    pub(super) fn release(&mut self, now: Millis) -> Found {
        let Some(since) = self.pressing.take() else { return Found::Nothing };
        self.pressed += now.since(since);
        Found::Released
    }

    /// Whether its socket stands still; it presses no longer then.
    pub(super) fn stand_still(&mut self, now: Millis) -> Found {
        if self.pressing.is_none() || now.since(self.moved) < STILL_MS {
            return Found::Nothing;
        }
        self.slow(now)
    }

    /// The end of a window: judges it by the others.
    pub(super) fn judge(&mut self, census: Census, now: Millis) -> Found {
        let pressed = self.pressed(now);
        let taken = std::mem::take(&mut self.taken_in_window);
        self.pressed = 0;
        if self.pressing.is_some() {
            self.pressing = Some(now);
        }
        let sets_the_pace = pressed * 100 > WINDOW_MS * PRESSED_PERCENT;
        self.proof =
            self.proof.take().filter(|proof| !(now.has_reached(proof.until) || sets_the_pace && taken < proof.pace));
        if sets_the_pace && census.is_few() && self.proof.is_none() { self.slow(now) } else { Found::Nothing }
    }

    fn slow(&mut self, now: Millis) -> Found {
        let was = self.pressing.take().is_some();
        (self.proof, self.trial) = (None, Trial::default());
        self.slow_until = Some(now.after(PROBATION_MS << self.doublings));
        self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
        if was { Found::Slow } else { Found::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: u32 = 10;

    fn at(ms: u32) -> Millis {
        Millis::from_raw(ms)
    }

    fn look(lag: &mut Lag, owed: usize, ms: u32) -> Found {
        let behind = lag.is_behind(owed, false, TARGET, at(ms));
        lag.look(owed, behind, true, at(ms))
    }

    /// Presses from 11 ms on; its socket goes on taking a little.
    fn pressing() -> Lag {
        let mut lag = Lag::new(1000, at(0));
        assert_eq!((look(&mut lag, 1000, 10), look(&mut lag, 1000, 11)), (Found::Nothing, Found::Pressing));
        lag
    }

    #[test]
    fn presses_while_its_oldest_byte_is_too_old_and_until_nothing_is_owed() {
        let mut lag = pressing();
        lag.wrote(999, 500, at(12));
        assert_eq!(look(&mut lag, 500, 30), Found::Nothing, "still pressing");
        lag.wrote(500, 0, at(31));
        assert_eq!((look(&mut lag, 0, 31), lag.presses()), (Found::Released, false));
        // What is owed moves on fast enough: never behind, however long the queue is never empty.
        for ms in (40..400).step_by(8) {
            assert_eq!(look(&mut lag, 100, ms), Found::Nothing);
            lag.wrote(100, 100, at(ms + 8));
        }
    }

    #[test]
    fn who_stands_still_is_waited_for_no_longer() {
        let mut lag = pressing();
        lag.wrote(1, 999, at(500));
        assert_eq!(lag.stand_still(at(2400)), Found::Nothing);
        assert_eq!((lag.stand_still(at(2500)), lag.presses()), (Found::Slow, false));
        assert_eq!(look(&mut lag, 999, 2600), Found::Nothing, "slow: it does not press");
        // Only after its probation, and once it has caught up, is it waited for again.
        assert_eq!(look(&mut lag, 0, 9000), Found::Nothing);
        assert_eq!((look(&mut lag, 50, 9001), look(&mut lag, 50, 9050)), (Found::Nothing, Found::Nothing));
        look(&mut lag, 0, 12_600);
        assert_eq!((look(&mut lag, 50, 12_601), look(&mut lag, 50, 12_650)), (Found::Nothing, Found::Pressing));
    }

    #[test]
    fn one_of_few_that_presses_most_of_a_window_is_slow_and_one_of_many_is_not() {
        let few = Census { active: 100, slowest: 24 };
        let many = Census { active: 100, slowest: 25 };
        let mut lag = pressing();
        assert_eq!(lag.judge(many, at(1000)), Found::Nothing);
        assert_eq!((lag.judge(few, at(2000)), lag.presses()), (Found::Slow, false));
        // Half of the pace of the others is fast enough.
        let mut lag = pressing();
        look(&mut lag, 0, 511);
        assert_eq!(lag.judge(few, at(1000)), Found::Nothing);
        // Alone with nobody to compare with.
        let mut lag = pressing();
        assert_eq!(lag.judge(Census { active: 1, slowest: 1 }, at(1000)), Found::Nothing);
    }

    #[test]
    fn who_takes_a_quarter_of_what_the_others_take_has_proved_itself_for_as_long_as_it_does() {
        let few = Census { active: 100, slowest: 1 };
        let mut lag = pressing();
        let judged = |lag: &mut Lag, ms, taken| {
            lag.taken_in_window = taken;
            lag.judge(few, at(ms))
        };
        assert_eq!(judged(&mut lag, 1000, 0), Found::Slow);
        lag.wrote(24, 10_000, at(1050));
        lag.compare(Some(50), 100, at(1100));
        lag.compare(None, 100, at(1200));
        lag.wrote(0, 10_000, at(1250));
        lag.compare(Some(50), 100, at(1300));
        assert!(!lag.is_proved(), "24 of 100 bytes");
        for ms in [1400, 1500] {
            lag.wrote(25, 10_000, at(ms));
            lag.compare(Some(100), 100, at(ms));
        }
        assert!(lag.is_proved());
        assert_eq!(look(&mut lag, 10_000, 1600), Found::Pressing);
        // 250 bytes a second are a quarter of the others' pace.
        assert_eq!((judged(&mut lag, 2601, 250), judged(&mut lag, 3602, 249)), (Found::Nothing, Found::Slow));
    }

    #[test]
    fn who_was_behind_for_a_moment_is_not_of_the_slowest() {
        let mut lag = pressing();
        look(&mut lag, 0, 200);
        assert!(!lag.is_of_the_slowest(at(1000)));
        look(&mut lag, 10, 700);
        look(&mut lag, 10, 711);
        assert!(lag.is_of_the_slowest(at(1000)), "189 and 289 ms");
    }
}
