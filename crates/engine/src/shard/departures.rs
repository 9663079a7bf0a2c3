//! Presences that are to end: of connections that are gone, and of users who have not come back within their grace. Those of many
//! connections are ended together, once a tick, so that what is told of them is not written to those who are about to go, and a part
//! a turn, so that the others have theirs.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use crate::clock::Millis;
use crate::shared::Leaver;
use crate::wheel::TICK_MS;

/// Who goes within a tick beyond so many is one of many.
const MANY: usize = 64;
/// Those of many wait so long for more at most, milliseconds.
const LONGEST_MS: u32 = 1000;

/// What waits to be ended.
#[derive(Default)]
pub(super) struct Departures {
    /// Of connections that are gone, in order.
    gone: VecDeque<Leaver>,
    /// When the last round of them began, and when they were last counted.
    told: Millis,
    counted: Millis,
    /// How many there were then.
    count: usize,
    /// How many of them the round in work has left.
    round: usize,
    /// Users in their grace, the first to end on top.
    graces: BinaryHeap<Reverse<Grace>>,
    /// Numbers them: who came first goes first.
    number: u64,
}

/// A grace that has to be looked at.
struct Grace {
    /// Milliseconds of uptime.
    until: u64,
    number: u64,
    leaver: Leaver,
}

impl Grace {
    fn rank(&self) -> (u64, u64) {
        (self.until, self.number)
    }
}

impl PartialEq for Grace {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Grace {}

impl PartialOrd for Grace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Grace {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl Departures {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.graces.is_empty()
    }

    /// Adds those of a connection that is gone.
    pub(super) fn add(&mut self, leavers: impl Iterator<Item = Leaver>) {
        self.gone.extend(leavers);
    }

    /// Those that are gone by now are told in one go. Who goes alone is told at once; who goes soon after others waits a tick for
    /// more, and while many go for longer, or each of thousands would still be written to those who go next.
    pub(super) fn begin_round(&mut self, now: Millis) {
        if self.round > 0 || self.gone.is_empty() || now.since(self.counted) < TICK_MS {
            return;
        }
        self.counted = now;
        let grown = self.gone.len().saturating_sub(self.count);
        self.count = self.gone.len();
        if grown <= MANY || now.since(self.told) >= LONGEST_MS {
            self.told = now;
            self.round = self.gone.len();
            self.count = 0;
        }
    }

    /// Takes up to `count` of the round in work.
    pub(super) fn take_round(&mut self, count: usize) -> Vec<Leaver> {
        let count = count.min(self.round);
        self.round -= count;
        self.gone.drain(..count).collect()
    }

    /// Whether the round in work goes on.
    pub(super) fn is_in_round(&self) -> bool {
        self.round > 0
    }

    /// Takes all that are gone.
    pub(super) fn take_all(&mut self) -> Vec<Leaver> {
        self.round = 0;
        self.gone.drain(..).collect()
    }

    /// Has a grace looked at when it ends.
    pub(super) fn watch(&mut self, until: u64, leaver: Leaver) {
        self.number += 1;
        self.graces.push(Reverse(Grace { until, number: self.number, leaver }));
    }

    /// Takes up to `count` whose grace has ended by `now`.
    pub(super) fn take_due(&mut self, now: u64, count: usize) -> Vec<Leaver> {
        let mut due = Vec::new();
        while due.len() < count
            && let Some(Reverse(first)) = self.graces.peek()
            && first.until <= now
            && let Some(Reverse(first)) = self.graces.pop()
        {
            due.push(first.leaver);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::topics::TopicIndex;

    fn leavers(count: usize) -> impl Iterator<Item = Leaver> {
        let topic = TopicIndex::new(1, None).transient("room");
        (0..count).map(move |n| Leaver { topic: Arc::clone(&topic), user: format!("{n}").into() })
    }

    fn at(ms: u32) -> Millis {
        Millis::from_raw(ms)
    }

    #[test]
    fn one_goes_at_once_and_many_go_together() {
        let mut departures = Departures::default();
        let round = |departures: &mut Departures, ms: u32| {
            departures.begin_round(at(ms));
            departures.take_round(usize::MAX).len()
        };
        departures.add(leavers(1));
        assert_eq!(round(&mut departures, 5000), 1);
        // A few more are told with the next tick, many once no more come, or after a second.
        departures.add(leavers(3));
        assert_eq!((round(&mut departures, 5050), round(&mut departures, 5100)), (0, 3));
        for tick in 0..4 {
            departures.add(leavers(1000));
            assert_eq!(round(&mut departures, 5200 + 100 * tick), 0, "tick {tick}");
        }
        assert_eq!(round(&mut departures, 5600), 4000);
        for tick in 0..9 {
            departures.add(leavers(1000));
            assert_eq!(round(&mut departures, 5700 + 100 * tick), 0, "tick {tick}");
        }
        departures.add(leavers(1000));
        assert_eq!(round(&mut departures, 6600), 10_000);
        assert!(departures.is_empty() && !departures.is_in_round());
    }

    #[test]
    fn a_round_is_taken_in_parts_and_who_comes_meanwhile_is_not_of_it() {
        let mut departures = Departures::default();
        departures.add(leavers(5));
        departures.begin_round(at(2000));
        assert_eq!(departures.take_round(2).len(), 2);
        departures.add(leavers(4));
        departures.begin_round(at(4000));
        assert_eq!((departures.take_round(9).len(), departures.is_in_round()), (3, false));
        assert_eq!((departures.take_all().len(), departures.is_empty()), (4, true));
    }

    #[test]
    fn graces_end_in_order_and_not_early() {
        let mut departures = Departures::default();
        for (until, leaver) in [300, 100, 200, 100].into_iter().zip(leavers(4)) {
            departures.watch(until, leaver);
        }
        let mut due = |now, count| {
            let names = departures.take_due(now, count).into_iter().map(|leaver| leaver.user.to_string());
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!((due(99, 9), due(200, 2), due(200, 9), due(1000, 9)), {
            (String::new(), "1 3".into(), "2".into(), "0".into())
        });
    }
}
