//! How far one connection is behind, in time, and whether publishers wait for it. Owns no queue and no clock: it is told how
//! many bytes are owed and written.
//!
//! A connection *presses*, that is publishers wait for it, while its oldest owed byte is older than the target delay, as long as it
//! keeps up. Two things end that. It stands still: its socket took nothing for [`STILL_MS`]. Or it is much slower than the others:
//! publishers waited for it, and for few besides, during more than [`PRESSED_PERCENT`] of a window; had they not, the others
//! would have been served four times as fast. It is then slow: nobody waits for it, and its budget deals with it.

use crate::clock::Millis;

/// A connection is young for so long, milliseconds: it has proved nothing yet, and may be the next of one that was given up.
pub(super) const YOUNG_MS: u32 = 10_000;
/// The longest time publishers wait for young connections that are few, milliseconds; it comes back at a quarter of the time that
/// passes, so whoever connects anew again and again holds them for a quarter of it.
const YOUNG_CREDIT_MS: u32 = 1000;

/// A socket that took nothing for so long stands still, milliseconds.
const STILL_MS: u32 = 2000;
/// Length of a window, milliseconds.
pub(crate) const WINDOW_MS: u32 = 1000;
/// Who presses for more of a window than this, and is one of few, keeps up with less than a quarter of the others' pace.
const PRESSED_PERCENT: u32 = 75;
/// "Few" is less than one in so many of the connections that were sent anything.
const FEW: u32 = 4;
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
    /// It was behind in this window.
    behind: bool,
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

/// Time between two looks at those that are behind, milliseconds.
const LOOK_MS: u32 = 100;

/// The time publishers may still wait for young connections, over all of a shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct YoungCredit {
    left: u32,
    /// Time that has passed since the last look, milliseconds, not charged yet.
    passed: u32,
}

impl YoungCredit {
    pub(super) const fn full() -> Self {
        Self { left: YOUNG_CREDIT_MS, passed: 0 }
    }

    /// So many milliseconds have passed.
    pub(super) fn pass(&mut self, ms: u32) {
        self.left = (self.left + ms / 4).min(YOUNG_CREDIT_MS);
        self.passed = ms;
    }

    /// Whether publishers may wait for a young connection until the next look.
    pub(super) const fn is_left(self) -> bool {
        self.left >= LOOK_MS
    }

    /// They did in the time that has passed: charged once, however many those were.
    pub(super) fn charge(&mut self) {
        self.left = self.left.saturating_sub(std::mem::take(&mut self.passed));
    }
}

/// How many connections were sent anything in a window, and how many were behind.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Census {
    pub(super) active: u32,
    pub(super) behind: u32,
}

impl Census {
    /// Whether those that were behind are few beside the others.
    pub(super) const fn is_few(self) -> bool {
        self.behind * FEW < self.active
    }
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
            behind: false,
        }
    }

    /// Whether publishers wait for it.
    pub(super) fn presses(&self) -> bool {
        self.pressing.is_some()
    }

    /// The socket took `written` bytes and `owed` are left.
    pub(super) fn wrote(&mut self, written: usize, owed: usize, now: Millis) {
        self.moved = now;
        self.ahead = self.ahead.saturating_sub(written);
        if self.ahead == 0 {
            self.ahead = owed;
            self.since = now;
        }
    }

    /// Looks whether it is behind: its watched byte is older than `target` milliseconds, or it owes `too_much`. `owed` bytes
    /// wait for the socket. It may be behind and not press: `may_press`.
    pub(super) fn look(
        &mut self,
        owed: usize,
        too_much: bool,
        target: u32,
        may_press: bool,
        now: Millis,
        census: &mut Census,
    ) -> Found {
        if owed == 0 {
            return self.clear(now);
        }
        if self.ahead == 0 {
            // It owed nothing for a while.
            (self.ahead, self.since, self.moved) = (owed, now, now);
        }
        if !too_much && now.since(self.since) <= target {
            return Found::Nothing;
        }
        if !std::mem::replace(&mut self.behind, true) {
            census.behind += 1;
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
        self.release(now)
    }

    /// It was not behind since the last window, and is nobody's concern.
    pub(super) fn is_over(&self) -> bool {
        self.ahead == 0 && !self.behind && self.slow_until.is_none()
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
        let pressed = self.pressed + self.pressing.map_or(0, |since| now.since(since).min(WINDOW_MS));
        self.pressed = 0;
        self.behind = false;
        if self.pressing.is_some() {
            self.pressing = Some(now);
        }
        if census.is_few() && pressed * 100 > WINDOW_MS * PRESSED_PERCENT { self.slow(now) } else { Found::Nothing }
    }

    fn slow(&mut self, now: Millis) -> Found {
        let was = self.pressing.take().is_some();
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
        lag.look(owed, false, TARGET, true, at(ms), &mut Census::default())
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
        let few = Census { active: 100, behind: 24 };
        let many = Census { active: 100, behind: 25 };
        let mut lag = pressing();
        assert_eq!(lag.judge(many, at(1000)), Found::Nothing);
        assert_eq!((lag.judge(few, at(2000)), lag.presses()), (Found::Slow, false));
        // Half of the pace of the others is fast enough.
        let mut lag = pressing();
        look(&mut lag, 0, 511);
        assert_eq!(lag.judge(few, at(1000)), Found::Nothing);
        // Alone with nobody to compare with.
        let mut lag = pressing();
        assert_eq!(lag.judge(Census { active: 1, behind: 1 }, at(1000)), Found::Nothing);
    }

    #[test]
    fn the_young_are_waited_for_a_quarter_of_the_time_in_the_long_run() {
        let mut credit = YoungCredit::full();
        let mut held = 0;
        for _ in 0..1000 {
            credit.pass(100);
            if credit.is_left() {
                held += 100;
                credit.charge();
                credit.charge();
            }
        }
        assert!((20_000..=30_000).contains(&held), "{held} of 100,000 ms");
    }
}
