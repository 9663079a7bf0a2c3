//! Every order in which a publisher, the memory budget and the end of an entry can get at a line: nothing is published into an entry
//! that is out of the index, and what is charged is what is there.

use std::sync::Arc;

use shuttle::thread;

use super::entry::TopicEntry;
use super::rings::Rings;
use crate::config::{Recovery, RingPolicy};
use crate::lock::{Mutex, watch};

/// Rings with a budget of nothing, and an index of one topic, whose lock is watched.
struct Stage {
    rings: Rings,
    index: Mutex<Arc<TopicEntry>>,
}

impl Stage {
    fn new() -> Self {
        let rings = Rings::new(Recovery {
            rules: Vec::new(),
            ring: Some(RingPolicy { size: 4, ttl: None }),
            memory_budget: 0,
            max_messages: 100,
            replay_rate: 1,
            connection_replay_rate: 1,
            last_values: Vec::new(),
        });
        let index = Mutex::new(Self::entry(&rings, 1));
        Self { rings, index }
    }

    fn entry(rings: &Rings, id: u64) -> Arc<TopicEntry> {
        Arc::new(TopicEntry::new(id, "t", 1).with_line(Some(&rings.config)))
    }

    /// As `Shared::publish` does it. Returns the id of the entry it was published to.
    fn publish(&self) -> u64 {
        loop {
            let entry = Arc::clone(&self.index.lock());
            let line = entry.line.as_ref().expect("a line");
            let mut state = line.lock();
            let Some(stream) = line.stream(&mut state, "t", 0) else { continue };
            stream.publish(&mut Vec::new(), "{}", true);
            let unlisted = self.rings.weigh(stream);
            drop(state);
            if unlisted {
                self.rings.list(&entry, 0);
            }
            return entry.id;
        }
    }

    /// As `TopicIndex::sweep` does it: another entry comes in the place of the one that is needless.
    fn sweep(&self) {
        let mut found = self.index.lock();
        let over = found.line.as_ref().is_some_and(|line| line.retire(|stream| self.rings.forget(stream)));
        if over {
            *found = Self::entry(&self.rings, found.id + 1);
        }
    }

    fn reclaim(&self) {
        self.rings.reclaim(|_| self.sweep());
    }

    /// Bytes and streams there are.
    fn there(&self) -> (usize, usize) {
        let entry = self.index.lock();
        let mut state = entry.line.as_ref().expect("a line").lock();
        state.live().map_or((0, 0), |stream| (stream.bytes(), 1))
    }

    fn charged(&self) -> (usize, usize) {
        (self.rings.bytes(), self.rings.streams())
    }
}

/// Publishes while `others` do what they do. `stays`: none of them may forget anything.
fn check(others: &'static [fn(&Stage)], stays: bool) -> usize {
    watch(move || {
        let stage = Arc::new(Stage::new());
        let others: Vec<_> = others
            .iter()
            .map(|work| {
                let stage = Arc::clone(&stage);
                thread::spawn(move || work(&stage))
            })
            .collect();
        let id = stage.publish();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(stage.charged(), stage.there(), "what is charged is what is there");
        assert!(!stays || stage.index.lock().id == id, "what was published is in the index");
        // Whatever has come before, the memory is found and given back.
        stage.reclaim();
        stage.sweep();
        assert_eq!((stage.charged(), stage.there()), ((0, 0), (0, 0)), "all is given back");
    })
}

#[test]
fn one_publishes_while_memory_is_given_back_and_the_entry_swept() {
    let orders = check(&[Stage::reclaim, Stage::sweep], false);
    assert!(orders > 40, "{orders}");
}

#[test]
fn two_publish_while_memory_is_given_back() {
    let orders = check(&[|stage| assert!(stage.publish() > 0), Stage::reclaim], false);
    assert!(orders > 40, "{orders}");
}

#[test]
fn a_sweep_takes_nothing_that_was_published() {
    let orders = check(&[Stage::sweep], true);
    assert!(orders > 5, "{orders}");
}
