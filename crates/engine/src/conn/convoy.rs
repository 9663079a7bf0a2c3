//! The connections of a shard as publishers see them, a convoy: how many were sent anything, how many are behind, what they took,
//! and how long the young may still hold the others back. Owns no connection: they report to it.

use crate::clock::Millis;
use crate::id::ConnId;

/// Length of a window, milliseconds.
pub(super) const WINDOW_MS: u32 = 1000;
/// A connection is young for so long, milliseconds: it has proved nothing yet, and may be the next of one that was given up.
pub(super) const YOUNG_MS: u32 = 10_000;
/// The longest time publishers wait for young connections that are few, milliseconds; it comes back at a quarter of the time that
/// passes, so whoever connects anew again and again holds them for a quarter of it.
const YOUNG_CREDIT_MS: u32 = 1000;
/// Time between two looks at those that are behind, milliseconds.
const LOOK_MS: u32 = 100;
/// Windows are numbered from 1 to this, again and again.
const WINDOWS: u8 = 0x7f;
/// Beside the number of a window: it was the connection's first.
const FIRST: u8 = 0x80;
/// "Few" is less than one in so many of the connections that were sent anything.
const FEW: u32 = 4;

/// How many connections were sent anything in a window, and how many of them shared the pace of the slowest.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Census {
    pub(super) active: u32,
    pub(super) slowest: u32,
}

impl Census {
    /// Whether the slowest are few beside the others.
    pub(super) const fn is_few(self) -> bool {
        self.slowest * FEW < self.active
    }
}

/// The convoy of one shard.
#[derive(Debug)]
pub(crate) struct Convoy {
    /// Connections that owe more than their sockets took, lately.
    lagging: Vec<ConnId>,
    /// How many were sent anything in this window.
    active: u32,
    /// And in the one before.
    active_before: u32,
    /// How many are behind now, those that were given up not counted.
    behind: u32,
    /// Those that are behind have become few: young ones among them press no longer.
    thinned: bool,
    young: YoungCredit,
    looked: Millis,
    /// Milliseconds between the last two looks.
    passed: u32,
    /// Bytes sent until the last look.
    sent: u64,
    /// What each took between the last two looks, bytes, if their own pace was what held publishers back.
    pace: Option<u64>,
    pressing: bool,
    /// The number of this window.
    window: u8,
    window_began: Millis,
}

impl Convoy {
    pub(super) fn new(now: Millis) -> Self {
        Self {
            lagging: Vec::new(),
            active: 0,
            active_before: 0,
            behind: 0,
            thinned: false,
            young: YoungCredit::full(),
            looked: now,
            passed: 0,
            sent: 0,
            pace: None,
            pressing: false,
            window: 1,
            window_began: now,
        }
    }

    /// A look begins: `sent` bytes have gone out so far, and publishers wait for somebody: `pressing`. Returns whom to look at,
    /// and whether a window ends with it.
    pub(super) fn begin_look(&mut self, sent: u64, pressing: bool, now: Millis) -> (Vec<ConnId>, bool) {
        self.passed = now.since(self.looked);
        self.young.pass(self.passed);
        self.looked = now;
        let sent = sent.wrapping_sub(std::mem::replace(&mut self.sent, sent));
        let was_pressing = std::mem::replace(&mut self.pressing, pressing);
        self.pace = (pressing && was_pressing).then(|| sent / u64::from(self.active().max(1)));
        (std::mem::take(&mut self.lagging), now.since(self.window_began) >= WINDOW_MS)
    }

    /// Ends the window: so many were of the slowest.
    pub(super) fn end_window(&mut self, slowest: u32) -> Census {
        self.window_began = self.looked;
        self.window = self.window % WINDOWS + 1;
        let census = Census { active: self.active(), slowest };
        // While publishers wait nobody is sent anything: those that were before still count.
        self.active_before = if self.pressing { census.active } else { self.active };
        self.active = 0;
        census
    }

    /// Connections that are still behind.
    pub(super) fn keep(&mut self, mut ids: Vec<ConnId>) {
        ids.append(&mut self.lagging);
        self.lagging = ids;
    }

    /// One more to look at.
    pub(super) fn watch(&mut self, id: ConnId) {
        self.lagging.push(id);
    }

    /// Counts a connection that was sent something; `seen` is the window in which it was counted last, 0 for none, and whether
    /// that was its first.
    #[inline]
    pub(super) fn count(&mut self, seen: &mut u8) {
        if *seen & WINDOWS != self.window {
            *seen = self.window | if *seen == 0 { FIRST } else { 0 };
            self.active += 1;
        }
    }

    /// A connection has left: nobody is compared with it any more.
    pub(super) fn leave(&mut self, seen: u8) {
        if seen == 0 {
            return;
        }
        let now = seen & WINDOWS == self.window;
        self.active -= u32::from(now);
        if !now || seen & FIRST == 0 {
            self.active_before = self.active_before.saturating_sub(1);
        }
    }

    /// The shard stood still, and nobody's pace can be told from the time since the last look: the window begins anew.
    pub(super) fn begin_anew(&mut self, now: Millis) {
        (self.looked, self.window_began, self.pressing, self.pace) = (now, now, false, None);
    }

    /// A connection was behind or not, and is now or not.
    pub(super) fn behind(&mut self, (was, is): (bool, bool)) {
        let few = self.few_are_behind();
        self.behind = self.behind + u32::from(is) - u32::from(was);
        self.thinned |= !few && self.few_are_behind();
    }

    /// Whether those that are behind now are few.
    pub(super) fn few_are_behind(&self) -> bool {
        Census { active: self.active(), slowest: self.behind }.is_few()
    }

    /// Whom to ask whether they are young and press, now that those that are behind have become few.
    pub(super) fn take_thinned(&mut self) -> bool {
        std::mem::take(&mut self.thinned)
    }

    /// Connections that are looked at.
    pub(super) fn lagging(&self) -> &[ConnId] {
        &self.lagging
    }

    /// How long publishers may still wait for young connections.
    pub(super) fn young(&mut self) -> &mut YoungCredit {
        &mut self.young
    }

    /// What each took between the last two looks, bytes, if their own pace was what held publishers back; and how many
    /// milliseconds these were.
    pub(super) fn pace(&self) -> (Option<u64>, u32) {
        (self.pace, self.passed)
    }

    fn active(&self) -> u32 {
        self.active.max(self.active_before)
    }
}

/// The time publishers may still wait for young connections, over all of a shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct YoungCredit {
    left: u32,
    /// Time that has passed since the last look, milliseconds, not charged yet.
    passed: u32,
}

impl YoungCredit {
    const fn full() -> Self {
        Self { left: YOUNG_CREDIT_MS, passed: 0 }
    }

    /// So many milliseconds have passed.
    fn pass(&mut self, ms: u32) {
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn who_left_is_compared_with_no_longer() {
        let mut convoy = Convoy::new(Millis::from_raw(0));
        let mut seen = [0; 5];
        seen.iter_mut().for_each(|seen| convoy.count(seen));
        convoy.begin_look(0, true, Millis::from_raw(1000));
        assert_eq!(convoy.end_window(0).active, 5);
        seen[..2].iter_mut().for_each(|seen| convoy.count(seen));
        let mut newcomer = 0;
        convoy.count(&mut newcomer);
        // One that was sent something in both windows, three that were in one, one that has just come.
        [seen[0], seen[2], seen[3], seen[4], newcomer, 0].into_iter().for_each(|seen| convoy.leave(seen));
        convoy.begin_look(0, true, Millis::from_raw(2000));
        assert_eq!(convoy.end_window(1).active, 1);
    }

    #[test]
    fn a_crowd_that_thins_out_is_told_once() {
        let mut convoy = Convoy::new(Millis::from_raw(0));
        (0..8).for_each(|_| convoy.count(&mut 0));
        convoy.behind((false, true));
        assert!(convoy.few_are_behind() && !convoy.take_thinned());
        convoy.behind((false, true));
        assert!(!convoy.few_are_behind() && !convoy.take_thinned());
        convoy.behind((true, false));
        assert!(convoy.few_are_behind() && convoy.take_thinned() && !convoy.take_thinned());
    }
}
