//! What all rings take together, and which go first when that is too much or too old. Takes lines one at a time and never while
//! its own lock is held.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::cost::entry_cost;
use super::entry::TopicEntry;
use super::line::{State, Stream};
use crate::config::Recovery;

/// Topics one call looks at, so that nobody who publishes waits for more.
const LOOKS: usize = 64;
/// Topics that are looked at in one go for their age.
const AGED: usize = 1024;

/// Streams that keep no message take no more than this part of the budget before no other begins for a subscriber's sake.
const IDLE_PART: usize = 2;

/// The rings of one engine.
pub(crate) struct Rings {
    pub(crate) config: Recovery,
    used: AtomicUsize,
    /// What those of it take that keep no message.
    idle: AtomicUsize,
    streams: AtomicUsize,
    /// Rings emptied because memory was scarce.
    evicted: AtomicU64,
    /// Rings emptied because they were old.
    expired: AtomicU64,
    /// By rule, because each may have its own age, and those whose last value does not age apart: those written longest ago on top.
    /// What was written since it was put here is put here again when it is met.
    order: Mutex<Box<[BinaryHeap<Reverse<Kept>>]>>,
}

/// A topic with a stream, and when it was written last as far as the order knows.
struct Kept {
    written: u64,
    topic: Arc<TopicEntry>,
}

/// What is to become of a topic that was met.
enum Fate {
    /// It was written since.
    Later(u64),
    /// It is not old enough.
    Stays,
    /// It keeps nothing now.
    Gone,
}

impl Rings {
    pub(super) fn new(config: Recovery) -> Self {
        let order = (0..2 * (config.rules.len() + 1)).map(|_| BinaryHeap::new()).collect();
        Self {
            config,
            used: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            order: Mutex::new(order),
        }
    }

    /// Bytes all rings take.
    pub(crate) fn bytes(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// What those of it take that keep no message.
    pub(crate) fn idle(&self) -> usize {
        self.idle.load(Relaxed)
    }

    /// Topics with a stream.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Relaxed)
    }

    /// Rings emptied for the sake of others.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// Rings emptied for their age.
    pub(crate) fn expired(&self) -> u64 {
        self.expired.load(Relaxed)
    }

    /// Whether a stream may begin that only a subscriber wants. Streams that keep no message take at most a part of the budget: who
    /// subscribes to names of their own making leaves the rest to what was published.
    pub(crate) fn may_begin(&self) -> bool {
        self.bytes() < self.config.memory_budget && self.idle() < self.config.memory_budget / IDLE_PART
    }

    /// Whether memory has to be given back.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.bytes() > self.config.memory_budget
    }

    /// Charges an entry that exists for its stream's sake, or gives that back.
    pub(super) fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    /// Gives back what [`Self::charge`] took.
    pub(super) fn discharge(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    /// Charges a stream with what it takes now. Its line is locked. True: it has to be [`Self::list`]ed once that is unlocked.
    pub(crate) fn weigh(&self, stream: &mut Stream) -> bool {
        let bytes = stream.bytes();
        if stream.charged == 0 {
            self.streams.fetch_add(1, Relaxed);
        }
        if bytes >= stream.charged {
            self.used.fetch_add(bytes - stream.charged, Relaxed);
        } else {
            self.used.fetch_sub(stream.charged - bytes, Relaxed);
        }
        stream.charged = bytes;
        // Its topic's entry is there for its sake, too, once nobody is subscribed.
        self.note_idle(
            stream,
            if stream.is_empty() { bytes + entry_cost("", false) + 2 * stream.name_bytes() } else { 0 },
        );
        !std::mem::replace(&mut stream.listed, true)
    }

    fn note_idle(&self, stream: &mut Stream, bytes: usize) {
        let before = std::mem::replace(&mut stream.idle, bytes);
        if bytes > before {
            self.idle.fetch_add(bytes - before, Relaxed);
        } else if bytes < before {
            self.idle.fetch_sub(before - bytes, Relaxed);
        }
    }

    /// Puts a topic into the order.
    pub(crate) fn list(&self, topic: &Arc<TopicEntry>, written: u64) {
        if let Some(line) = &topic.line {
            self.order.lock()[line.order()].push(Reverse(Kept { written, topic: Arc::clone(topic) }));
        }
    }

    /// Gives memory back until the budget holds, those written longest ago first. `sweep` is called with topics that have lost
    /// their stream. Bounded; whoever publishes next goes on.
    pub(crate) fn reclaim(&self, sweep: impl Fn(&TopicEntry)) {
        for _ in 0..LOOKS {
            if self.bytes() <= self.config.memory_budget {
                return;
            }
            let Some(Kept { written, topic }) = self.pop_oldest() else { return };
            match self
                .free(&topic, |now_written| if now_written > written { Fate::Later(now_written) } else { Fate::Gone })
            {
                Fate::Later(written) => self.list(&topic, written),
                Fate::Stays => {}
                Fate::Gone => {
                    self.evicted.fetch_add(1, Relaxed);
                    sweep(&topic);
                }
            }
        }
        // All of them are in use: the next one goes, whoever it is.
        if self.bytes() > self.config.memory_budget
            && let Some(Kept { topic, .. }) = self.pop_oldest()
        {
            self.free(&topic, |_| Fate::Gone);
            self.evicted.fetch_add(1, Relaxed);
            sweep(&topic);
        }
    }

    /// Forgets what is too old at `now`, milliseconds since the start.
    pub(crate) fn expire(&self, now: u64, sweep: impl Fn(&TopicEntry)) {
        for rule in 0..=self.config.rules.len() {
            // Those whose last value does not age have the other half.
            for _ in 0..AGED {
                let due = |kept: &Kept| kept.topic.line.as_ref().is_some_and(|line| line.is_over(kept.written, now));
                let Some(Kept { written, topic }) = self.pop_if(2 * rule, due) else { break };
                let over = |last| topic.line.as_ref().is_some_and(|line| line.is_over(last, now));
                match self
                    .free(&topic, |last| if last > written && !over(last) { Fate::Later(last) } else { Fate::Gone })
                {
                    Fate::Later(written) => self.list(&topic, written),
                    Fate::Stays => {}
                    Fate::Gone => {
                        self.expired.fetch_add(1, Relaxed);
                        sweep(&topic);
                    }
                }
            }
        }
    }

    /// Empties a topic's ring if `judge` says so, which is told when it was written last; without subscribers its stream goes, too.
    fn free(&self, topic: &TopicEntry, judge: impl Fn(u64) -> Fate) -> Fate {
        let Some(line) = &topic.line else { return Fate::Stays };
        let mut state = line.lock();
        let Some(stream) = state.live() else { return Fate::Stays };
        let fate = judge(stream.written);
        if !matches!(fate, Fate::Gone) {
            return fate;
        }
        if topic.subscribers() == 0 {
            self.forget(stream);
            *state = State::Empty;
        } else {
            // Somebody is subscribed: the epoch goes on, or a subscriber would not see what it has missed.
            stream.clear();
            self.weigh(stream);
            stream.listed = false;
        }
        fate
    }

    /// A stream is about to go.
    pub(super) fn forget(&self, stream: &Stream) {
        self.used.fetch_sub(stream.charged, Relaxed);
        self.idle.fetch_sub(stream.idle, Relaxed);
        self.streams.fetch_sub(usize::from(stream.charged > 0), Relaxed);
    }

    fn pop_oldest(&self) -> Option<Kept> {
        let mut order = self.order.lock();
        let tops = order.iter().enumerate().filter_map(|(rule, heap)| Some((heap.peek()?.0.written, rule)));
        let (_, rule) = tops.min()?;
        order[rule].pop().map(|Reverse(kept)| kept)
    }

    fn pop_if(&self, order: usize, due: impl Fn(&Kept) -> bool) -> Option<Kept> {
        let heap = &mut self.order.lock()[order];
        heap.peek().is_some_and(|Reverse(kept)| due(kept)).then(|| heap.pop()).flatten().map(|Reverse(kept)| kept)
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        self.written.cmp(&other.written).then_with(|| self.topic.id.cmp(&other.topic.id))
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kept {}
