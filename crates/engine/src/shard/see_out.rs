//! The end of presences, as a shard sees to it: a part a turn, of those that [`super::departures`] says are to be told.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Shard;
use crate::clock::Clock;
use crate::shared::Leaver;
use crate::topics::Presences;

/// Presences ended in one turn.
const AT_ONCE: usize = 1024;
/// Bytes their announcements may have, more than one alone.
const BYTES_AT_ONCE: usize = 1024 * 1024;

impl Shard {
    /// A connection is gone by which its user was present on these topics.
    pub(super) fn depart(&mut self, user: &Arc<str>, topics: Presences) {
        let shared = &self.context.shared;
        shared.presence.gauges.departing.fetch_add(topics.len(), Relaxed);
        self.departures.add(topics.into_values().map(|topic| Leaver { topic, user: Arc::clone(user) }));
        // A turn has to come: this one may be over.
        shared.shards[self.index].mailbox.nudge();
    }

    /// Ends a part of what waits, unless the mailboxes are full: then a later turn does. True: there is more to do at once.
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
        let more = due.len() == count;
        for (until, leaver) in shared.expire(due, now) {
            self.departures.watch(until, leaver);
        }
        self.departures.begin_round(self.context.now());
        let leavers = self.departures.take_round(count);
        self.end_presences(leavers);
        more || self.departures.is_in_round()
    }

    /// Ends presences of connections that are gone, or has their graces begin.
    fn end_presences(&mut self, leavers: Vec<Leaver>) {
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
        let leavers = self.departures.take_all();
        self.end_presences(leavers);
        let graces = self.departures.take_due(u64::MAX, usize::MAX);
        // Who came back by another shard is there, and goes with that.
        self.context.shared.expire(graces, u64::MAX);
    }
}

/// Milliseconds of uptime.
fn uptime(clock: &Clock) -> u64 {
    u64::try_from(clock.uptime().as_millis()).unwrap_or(u64::MAX)
}
