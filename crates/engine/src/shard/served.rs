//! Positions that were replayed to connections a moment ago: a published client asks for the same one with each frame it sees behind a
//! gap, and what was queued for it is on its way. Knows no ring.

use std::collections::{HashMap, VecDeque};

use crate::clock::Millis;
use crate::topics::Position;

/// How long a replay is on its way at most, milliseconds.
const WINDOW_MS: u32 = 2000;
/// Topics remembered of one connection.
const TOPICS: usize = 8;

/// A replay that was queued whole.
struct Replay {
    topic: u64,
    from: Position,
    /// Frames the connection had lost by then: what was replayed may be needed again once it has lost another.
    lost: u64,
    at: Millis,
}

/// By slot.
#[derive(Default)]
pub(super) struct Served(HashMap<u32, VecDeque<Replay>, foldhash::fast::RandomState>);

impl Served {
    /// Notes that the topic was replayed from a position: everything behind it is queued. `lost`: frames the connection has lost.
    pub(super) fn note(&mut self, slot: u32, topic: u64, from: Position, lost: u64, now: Millis) {
        let served = self.0.entry(slot).or_default();
        served.retain(|replay| replay.topic != topic);
        if served.len() == TOPICS {
            served.pop_front();
        }
        served.push_back(Replay { topic, from, lost, at: now });
    }

    /// Whether the topic was replayed from this very position a moment ago, and nothing was lost since.
    pub(super) fn is_on_its_way(&self, slot: u32, topic: u64, from: Position, lost: u64, now: Millis) -> bool {
        let same = |replay: &Replay| {
            let Replay { topic: known, from: served, lost: before, at } = replay;
            *known == topic && *served == from && *before == lost && now.since(*at) < WINDOW_MS
        };
        self.0.get(&slot).is_some_and(|served| served.iter().any(same))
    }

    /// The connection in `slot` is gone, or has ended subscriptions.
    pub(super) fn forget(&mut self, slot: u32) {
        self.0.remove(&slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_position_is_on_its_way_for_two_seconds_and_few_are_remembered() {
        let (mut served, at) = (Served::default(), |offset| Position { epoch: 1, offset });
        let now = Millis::from_raw(5000);
        served.note(3, 1, at(7), 5, now);
        assert!(served.is_on_its_way(3, 1, at(7), 5, now.after(1999)));
        assert!(!served.is_on_its_way(3, 1, at(7), 6, now), "something was lost");
        for (slot, topic, from, when) in [(3, 1, 7, 2000), (3, 1, 8, 0), (3, 2, 7, 0), (4, 1, 7, 0)] {
            assert!(!served.is_on_its_way(slot, topic, at(from), 5, now.after(when)), "{slot} {topic} {from} {when}");
        }
        (2..=9).for_each(|topic| served.note(3, topic, at(7), 5, now));
        assert!(!served.is_on_its_way(3, 1, at(7), 5, now) && served.is_on_its_way(3, 9, at(7), 5, now));
        served.forget(3);
        assert!(!served.is_on_its_way(3, 9, at(7), 5, now) && served.0.is_empty());
    }
}
