//! Which (connection, event id) pairs were already sent: a window of fixed size, oldest out first (docs/protocol.md §12).

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;

/// Pairs remembered, over all connections of an engine.
const WINDOW: usize = 50_000;

/// The window. Pairs are kept as seeded 64-bit hashes: ids may be long, and a peer that chooses them cannot aim at a
/// collision.
#[derive(Default)]
pub(crate) struct DedupWindow {
    hasher: foldhash::quality::RandomState,
    seen: HashSet<u64, foldhash::fast::RandomState>,
    order: VecDeque<u64>,
}

impl DedupWindow {
    /// Whether the pair is remembered.
    pub(crate) fn contains(&self, connection: u64, id: &str) -> bool {
        self.seen.contains(&self.hasher.hash_one((connection, id)))
    }

    /// Remembers the pair; false when it was there already.
    pub(crate) fn insert(&mut self, connection: u64, id: &str) -> bool {
        let hash = self.hasher.hash_one((connection, id));
        if !self.seen.insert(hash) {
            return false;
        }
        if self.order.len() == WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.order.push_back(hash);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_seen_once_until_the_window_has_passed() {
        let mut window = DedupWindow::default();
        assert!(window.insert(1, "a") && window.insert(2, "a") && !window.insert(1, "a"));
        for n in 0..WINDOW {
            window.insert(3, &n.to_string());
        }
        assert!(window.insert(1, "a"), "pushed out");
        assert_eq!(window.seen.len(), WINDOW);
    }
}
