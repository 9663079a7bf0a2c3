//! Presences that are to end: of connections that are gone, and of users who have not come back within their grace. What many
//! connections leave behind at once is told when they all are gone, so that it is not written to those who are about to go, and a
//! part a turn, so that the others have theirs.

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

/// What waits to be ended.
#[derive(Default)]
pub(super) struct Departures {
    /// Of connections that are gone, in order.
    gone: VecDeque<Leaver>,
    /// When the first of them went.
    since: Millis,
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
        if self.departures.gone.is_empty() {
            self.departures.since = self.context.now();
        }
        let shared = &self.context.shared;
        shared.presence.gauges.departing.fetch_add(topics.len(), Relaxed);
        let leavers = topics.into_values().map(|topic| Leaver { topic, user: Arc::clone(user) });
        self.departures.gone.extend(leavers);
        // Whoever was served in between has this turn's end to come.
        shared.shards[self.index].mailbox.nudge();
    }

    /// Ends a part of what waits, unless more connections are about to go, or the mailboxes are full: then a later turn does.
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
        let wait = self.context.now().since(self.departures.since);
        if self.ready.is_empty() || wait >= TICK_MS {
            self.end_some(count);
            more |= !self.departures.gone.is_empty();
        }
        more
    }

    /// Ends the presences of up to `count` connections that are gone.
    fn end_some(&mut self, count: usize) {
        let gone = &mut self.departures.gone;
        if gone.is_empty() {
            return;
        }
        let leavers: Vec<Leaver> = gone.drain(..count.min(gone.len())).collect();
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
