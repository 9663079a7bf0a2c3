//! Positions that were replayed to connections a moment ago: a published client asks for the same one with each frame it sees behind a
//! gap, and what was queued for it is on its way. Knows no ring.

use std::collections::{HashMap, VecDeque};

use crate::clock::Millis;
use crate::topics::Position;

/// How long a replay is on its way at most, milliseconds.
const WINDOW_MS: u32 = 2000;
/// Topics remembered of one connection.
const TOPICS: usize = 8;

/// What makes a connection need again what it was sent: it has lost frames, or its rights were others for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Since {
    /// Frames it has lost so far.
    pub(super) lost: u64,
    /// How often its rights have changed so far.
    pub(super) rights: u32,
}

/// A replay that was queued whole.
struct Replay {
    topic: u64,
    from: Position,
    since: Since,
    at: Millis,
}

/// By slot.
#[derive(Default)]
pub(super) struct Served(HashMap<u32, VecDeque<Replay>, foldhash::fast::RandomState>);

impl Served {
    /// Notes that the topic was replayed from a position: everything behind it is queued.
    pub(super) fn note(&mut self, slot: u32, topic: u64, from: Position, since: Since, now: Millis) {
        let served = self.0.entry(slot).or_default();
        served.retain(|replay| replay.topic != topic);
        if served.len() == TOPICS {
            served.pop_front();
        }
        served.push_back(Replay { topic, from, since, at: now });
    }

    /// Whether the topic was replayed from this very position a moment ago, and nothing has become of it since.
    pub(super) fn is_on_its_way(&self, slot: u32, topic: u64, from: Position, since: Since, now: Millis) -> bool {
        let same = |replay: &Replay| {
            let Replay { topic: known, from: served, since: before, at } = replay;
            *known == topic && *served == from && *before == since && now.since(*at) < WINDOW_MS
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
        let since = Since { lost: 5, rights: 1 };
        served.note(3, 1, at(7), since, now);
        assert!(served.is_on_its_way(3, 1, at(7), since, now.after(1999)));
        assert!(!served.is_on_its_way(3, 1, at(7), Since { lost: 6, ..since }, now), "something was lost");
        assert!(!served.is_on_its_way(3, 1, at(7), Since { rights: 2, ..since }, now), "it was kept from it meanwhile");
        for (slot, topic, from, when) in [(3, 1, 7, 2000), (3, 1, 8, 0), (3, 2, 7, 0), (4, 1, 7, 0)] {
            assert!(
                !served.is_on_its_way(slot, topic, at(from), since, now.after(when)),
                "{slot} {topic} {from} {when}"
            );
        }
        (2..=9).for_each(|topic| served.note(3, topic, at(7), since, now));
        assert!(!served.is_on_its_way(3, 1, at(7), since, now) && served.is_on_its_way(3, 9, at(7), since, now));
        served.forget(3);
        assert!(!served.is_on_its_way(3, 9, at(7), since, now) && served.0.is_empty());
    }
}
