//! Presences that are to end: of connections that are gone, and of users who have not come back within their grace. Those of many
//! connections are ended together, once a tick, so that what is told of them is not written to those who are about to go, and a part
//! a turn, so that the others have theirs.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Shard;
use crate::clock::{Clock, Millis};
use crate::registry::Presences;
use crate::shared::Leaver;
use crate::wheel::TICK_MS;

/// Presences ended in one turn.
const AT_ONCE: usize = 1024;
/// Bytes their announcements may have, more than one alone.
const BYTES_AT_ONCE: usize = 1024 * 1024;

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

    /// Has a grace looked at when it ends.
    fn watch(&mut self, until: u64, leaver: Leaver) {
        self.number += 1;
        self.graces.push(Reverse(Grace { until, number: self.number, leaver }));
    }

    /// Takes up to `count` whose grace has ended by `now`.
    fn take_due(&mut self, now: u64, count: usize) -> Vec<Leaver> {
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

impl Shard {
    /// A connection is gone by which its user was present on these topics.
    pub(super) fn depart(&mut self, user: &Arc<str>, topics: Presences) {
        let shared = &self.context.shared;
        shared.presence.gauges.departing.fetch_add(topics.len(), Relaxed);
        let leavers = topics.into_values().map(|topic| Leaver { topic, user: Arc::clone(user) });
        self.departures.gone.extend(leavers);
        // Whoever was served in between has this turn's end to come.
        shared.shards[self.index].mailbox.nudge();
    }

    /// Ends a part of what waits, unless the mailboxes are full: then a later turn does.
    /// True: there is more to do at once.
    pub(super) fn see_out(&mut self) -> bool {
        if self.departures.is_empty() {
            return false;
        }
        let shared = Arc::clone(&self.context.shared);
        let bytes = shared.leaver_bytes();
        let count = (BYTES_AT_ONCE / bytes).clamp(1, AT_ONCE);
        if shared.is_crammed(count * bytes) {
            return false;
        }
        let now = uptime(&shared.clock);
        let due = self.departures.take_due(now, count);
        let mut more = due.len() == count;
        for (until, leaver) in shared.expire(due, now) {
            self.departures.watch(until, leaver);
        }
        self.begin_round();
        self.end_some(count.min(self.departures.round));
        more |= self.departures.round > 0;
        more
    }

    /// Those that are gone by now are told in one go. Who goes alone is told at once; who goes soon after others waits a tick for
    /// more, and while many go for longer, or each of thousands would still be written to those who go next.
    fn begin_round(&mut self) {
        let (now, departures) = (self.context.now(), &mut self.departures);
        if departures.round > 0 || departures.gone.is_empty() || now.since(departures.counted) < TICK_MS {
            return;
        }
        departures.counted = now;
        let grown = departures.gone.len().saturating_sub(departures.count);
        departures.count = departures.gone.len();
        if grown <= MANY || now.since(departures.told) >= LONGEST_MS {
            departures.told = now;
            departures.round = departures.gone.len();
            departures.count = 0;
        }
    }

    /// Ends the presences of up to `count` connections that are gone.
    fn end_some(&mut self, count: usize) {
        let Departures { gone, round, .. } = &mut self.departures;
        let leavers: Vec<Leaver> = gone.drain(..count.min(gone.len())).collect();
        *round = round.saturating_sub(leavers.len());
        if leavers.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.context.shared);
        shared.presence.gauges.departing.fetch_sub(leavers.len(), Relaxed);
        let grace = shared.presence.config().map_or(0, |config| u64::try_from(config.grace.as_millis()).unwrap_or(0));
        let until = (grace > 0).then(|| uptime(&shared.clock) + grace);
        for leaver in shared.depart(leavers, until) {
            self.departures.watch(until.unwrap_or(0), leaver);
        }
    }

    /// Ends all of it: nobody comes back.
    pub(super) fn see_out_all(&mut self) {
        self.end_some(usize::MAX);
        let graces = self.departures.take_due(u64::MAX, usize::MAX);
        let shared = Arc::clone(&self.context.shared);
        // Who came back by another shard is there, and goes with that.
        shared.expire(graces, u64::MAX);
    }
}

/// Milliseconds of uptime.
fn uptime(clock: &Clock) -> u64 {
    u64::try_from(clock.uptime().as_millis()).unwrap_or(u64::MAX)
}
