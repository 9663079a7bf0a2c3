//! All readers of an engine: who gets a new connection, and what becomes of the connections of one that leaves or stops reading.
//! A connection belongs to one reader at a time; to give it to another is its shard's work (`shard/rehome.rs`), in the order of
//! its events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use parking_lot::{Mutex, RwLock};

use super::batch::{Batch, Kind, Parted};
use super::consumer::{Consumer, Limits};
use super::watch::Look;
use crate::clock::Millis;

/// Readers are looked at this often, milliseconds.
const WATCH_MS: u32 = 500;
/// Stalls kept for a host that does not ask.
const KEPT_STALLS: usize = 16;

/// A reader that has stopped reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// The host's number of its thread.
    pub thread: u32,
    /// Events that wait for it.
    pub events: usize,
    /// Others take its connections and what waits of theirs.
    pub moved: bool,
}

/// All consumers of an engine.
pub(crate) struct Inbound {
    readers: RwLock<Readers>,
    limits: Limits,
    /// One bit per shard.
    shards: u64,
    /// How long a reader may leave events waiting, milliseconds.
    timeout: u32,
    /// When readers were last looked at.
    watched: AtomicU32,
    stalls: AtomicU64,
    reports: Mutex<Vec<Stall>>,
}

struct Readers {
    /// Those of host threads; while there is none, one that nobody reads, where everything waits for the next to come.
    live: Vec<Arc<Consumer>>,
    /// Those whose connections shards are giving to others.
    moving: Vec<Arc<Consumer>>,
    /// The shards have ended.
    over: bool,
}

impl Inbound {
    pub(crate) fn new(limits: Limits, shards: usize, timeout: u32) -> Self {
        let readers = Readers { live: vec![Consumer::new(limits)], moving: Vec::new(), over: false };
        Self {
            readers: RwLock::new(readers),
            limits,
            shards: u64::MAX >> (64 - shards.clamp(1, 64)),
            timeout,
            watched: AtomicU32::new(0),
            stalls: AtomicU64::new(0),
            reports: Mutex::default(),
        }
    }

    /// A queue that is nobody's.
    pub(crate) fn nobody(&self) -> Arc<Consumer> {
        Consumer::new(self.limits)
    }

    /// The consumer of a connection, which is counted: the one with the fewest of those that read; one that is behind only if
    /// all are.
    pub(crate) fn assign(&self) -> Arc<Consumer> {
        let readers = self.readers.read();
        let rank =
            |consumer: &&Arc<Consumer>| (consumer.watch.is_stalled(), consumer.is_over(), consumer.connections());
        let found = Arc::clone(readers.live.iter().min_by_key(rank).unwrap_or(&readers.live[0]));
        found.enter();
        found
    }

    /// A host thread begins to read: it gets the queue nobody has read, or `previous`, which it has left, if nobody has come
    /// since, or one of its own. True: shards have connections to move.
    pub(crate) fn join(
        &self,
        thread: u32,
        previous: Option<&Arc<Consumer>>,
        describe: &dyn Fn(&Parted) -> Option<String>,
    ) -> (Arc<Consumer>, bool) {
        let mut readers = self.readers.write();
        let over = readers.over;
        let vacant = readers.live.iter().position(|consumer| !consumer.is_claimed());
        if let Some(place) = vacant
            && let found = &readers.live[place]
            && (!found.had_reader() || previous.is_some_and(|previous| Arc::ptr_eq(previous, found)))
        {
            readers.live[place].claim(thread, over);
            return (Arc::clone(&readers.live[place]), false);
        }
        let consumer = Consumer::new(self.limits);
        consumer.claim(thread, over);
        let Some(place) = vacant else {
            readers.live.push(Arc::clone(&consumer));
            return (consumer, false);
        };
        let left = std::mem::replace(&mut readers.live[place], Arc::clone(&consumer));
        let moves = self.retire(&mut readers, left, describe);
        (consumer, moves)
    }

    /// A host thread is gone: its connections go to the others, or wait for the next one to join. True: shards have them to
    /// move.
    pub(crate) fn leave(&self, consumer: &Arc<Consumer>, describe: &dyn Fn(&Parted) -> Option<String>) -> bool {
        let mut readers = self.readers.write();
        let Some(place) = readers.live.iter().position(|other| Arc::ptr_eq(other, consumer)) else { return false };
        consumer.release();
        if readers.live.len() == 1 {
            return false;
        }
        let left = readers.live.remove(place);
        self.retire(&mut readers, left, describe)
    }

    /// It is not live any more: shards give what it has to those that are. Without shards there are no connections either, and
    /// what waits is taken over as a whole.
    fn retire(&self, readers: &mut Readers, left: Arc<Consumer>, describe: &dyn Fn(&Parted) -> Option<String>) -> bool {
        if readers.over {
            bequeath(&left, &readers.live[0], describe);
            return false;
        }
        if left.begin_move(self.shards) {
            readers.moving.push(left);
        }
        true
    }

    /// Those whose connections `shard` is to give to others.
    pub(crate) fn moving(&self, shard: usize) -> Vec<Arc<Consumer>> {
        let readers = self.readers.read();
        readers.moving.iter().filter(|consumer| consumer.is_moving(shard)).map(Arc::clone).collect()
    }

    /// `shard` has done that.
    pub(crate) fn moved(&self, consumer: &Arc<Consumer>, shard: usize) {
        if consumer.end_move(shard) {
            // Unless it was told to move again meanwhile.
            self.readers.write().moving.retain(|other| !Arc::ptr_eq(other, consumer) || other.is_moving_at_all());
        }
    }

    /// Whether anybody else may have its connections.
    pub(crate) fn has_other(&self, consumer: &Arc<Consumer>) -> bool {
        let readers = self.readers.read();
        readers.live.iter().any(|other| !Arc::ptr_eq(other, consumer) && !other.watch.is_stalled())
    }

    /// Looks, twice a second, for readers that have stopped reading; `excused`: the shard itself stood still, and judges nobody
    /// by that time. True: shards have connections to move.
    pub(crate) fn watch(&self, excused: bool, now: Millis) -> bool {
        let last = self.watched.load(Relaxed);
        if now.since(Millis::from_raw(last)) < WATCH_MS && !excused
            || self.watched.compare_exchange(last, now.raw(), Relaxed, Relaxed).is_err()
        {
            return false;
        }
        let mut to_move = Vec::new();
        {
            let readers = self.readers.read();
            let look = |consumer: &Consumer| {
                consumer.watch.look(consumer.visits(), consumer.events() > 0, excused, now, self.timeout)
            };
            let claimed = readers.live.iter().filter(|consumer| consumer.is_claimed());
            let looks: Vec<_> = claimed.map(|consumer| (consumer, look(consumer))).collect();
            let moved = looks.iter().any(|(_, look)| *look == Look::Fine);
            for (consumer, look) in looks {
                if look == Look::Stalls {
                    self.stalls.fetch_add(1, Relaxed);
                    let mut reports = self.reports.lock();
                    if reports.len() < KEPT_STALLS {
                        reports.push(Stall { thread: consumer.thread(), events: consumer.events(), moved });
                    }
                }
                if look != Look::Fine && moved && (consumer.connections() > 0 || consumer.events() > 0) {
                    to_move.push(Arc::clone(consumer));
                }
            }
        }
        if to_move.is_empty() {
            return false;
        }
        let mut readers = self.readers.write();
        to_move.retain(|consumer| consumer.begin_move(self.shards));
        let moves = !to_move.is_empty();
        readers.moving.append(&mut to_move);
        moves
    }

    /// No more events will come and the shards have ended: wakes everybody who waits.
    pub(crate) fn end(&self, describe: &dyn Fn(&Parted) -> Option<String>) {
        let mut readers = self.readers.write();
        readers.over = true;
        for left in std::mem::take(&mut readers.moving) {
            bequeath(&left, &readers.live[0], describe);
        }
        let live = readers.live.clone();
        drop(readers);
        for consumer in live {
            consumer.end();
        }
    }

    /// Delivers events of no connection. Those with the same key go to the same reader as long as the readers stay the same, in the
    /// order of the calls: readers cannot change while one is on its way.
    pub(crate) fn tell(&self, key: u64, batch: Batch) {
        let readers = self.readers.read();
        let able = |consumer: &&Arc<Consumer>| !consumer.watch.is_stalled();
        let count = readers.live.iter().filter(able).count().max(1) as u64;
        let place = usize::try_from(key % count).unwrap_or(0);
        let found = readers.live.iter().filter(able).nth(place).unwrap_or(&readers.live[0]);
        drop(found.deliver(batch));
    }

    /// Events waiting in all queues.
    pub(crate) fn depth(&self) -> usize {
        let readers = self.readers.read();
        readers.live.iter().chain(&readers.moving).map(|consumer| consumer.events()).sum()
    }

    /// Whether a host thread reads.
    pub(crate) fn has_reader(&self) -> bool {
        self.readers() > 0
    }

    /// Host threads that read, or have stopped reading without leaving.
    pub(crate) fn readers(&self) -> usize {
        self.readers.read().live.iter().filter(|consumer| consumer.is_claimed()).count()
    }

    /// Those that have stopped.
    pub(crate) fn stalled(&self) -> usize {
        self.readers.read().live.iter().filter(|consumer| consumer.watch.is_stalled()).count()
    }

    /// Times one has stopped.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls.load(Relaxed)
    }

    /// Those of them that nobody has asked for yet, [`KEPT_STALLS`] at most.
    pub(crate) fn take_stalls(&self) -> Vec<Stall> {
        std::mem::take(&mut self.reports.lock())
    }

    /// Whether all consumers that read are above their limits: then no new connections are accepted either.
    pub(crate) fn all_over(&self) -> bool {
        let readers = self.readers.read();
        let mut reading = readers.live.iter().filter(|consumer| !consumer.watch.is_stalled()).peekable();
        let over = |consumer: &Arc<Consumer>| consumer.is_over();
        if reading.peek().is_some() { reading.all(over) } else { readers.live.iter().all(over) }
    }
}

/// Gives what waits for one to another, behind a [`Kind::Adopt`] for each connection that nothing in it introduces.
fn bequeath(from: &Consumer, to: &Consumer, describe: &dyn Fn(&Parted) -> Option<String>) {
    let batches = from.take_out(|_| true);
    if batches.iter().all(Batch::is_empty) || std::ptr::eq(from, to) {
        batches.into_iter().for_each(|batch| drop(to.deliver(batch)));
        return;
    }
    let parted: HashMap<_, _> = batches.iter().flat_map(Batch::parted).collect();
    let (mut seen, mut adopted) = (HashSet::new(), Batch::default());
    for event in batches.iter().flat_map(Batch::events) {
        let id = event.connection;
        if seen.insert(id)
            && !event.introduces()
            && let Some(text) = parted.get(&id).and_then(|known| describe(known))
        {
            adopted.push(Kind::Adopt, id, text.as_bytes());
        }
    }
    drop(parted);
    if !adopted.is_empty() {
        drop(to.deliver(adopted));
    }
    batches.into_iter().for_each(|batch| drop(to.deliver(batch)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ConnId;

    fn events(count: usize) -> Batch {
        let mut batch = Batch::default();
        (0..count).for_each(|_| batch.push(Kind::Raw, ConnId::new(0, 1, 1), b"x"));
        batch
    }

    fn inbound() -> Inbound {
        Inbound::new(Limits { events: 10, bytes: 1000 }, 2, 1000)
    }

    #[test]
    fn who_comes_late_has_as_much_time_as_the_others() {
        let inbound = inbound();
        let (first, _) = inbound.join(1, None, &|_| None);
        drop(first.deliver(events(3)));
        let at = |ms| inbound.watch(false, Millis::from_raw(ms));
        assert!(!at(60_000) && !at(60_500) && inbound.take_stalls().is_empty());
        assert!(!at(61_000), "there is nobody to move to");
        assert_eq!(inbound.take_stalls(), [Stall { thread: 1, events: 3, moved: false }]);
        let (second, _) = inbound.join(2, None, &|_| None);
        drop(second.deliver(events(1)));
        assert!(at(62_000), "now there is");
        assert_eq!((inbound.moving(0).len(), inbound.moving(1).len(), inbound.take_stalls().len()), (1, 1, 0));
        assert!(inbound.has_other(&first) && !inbound.has_other(&second));
        inbound.moved(&first, 0);
        assert_eq!((inbound.moving(0).len(), inbound.moving(1).len()), (0, 1));
        inbound.moved(&first, 1);
        assert!(at(62_600), "what has come to it since is moved, too");
        assert!(Arc::ptr_eq(&inbound.assign(), &second), "who stands still gets nobody");
        assert_eq!((inbound.readers(), inbound.stalled(), inbound.stalls()), (2, 1, 1));
    }

    #[test]
    fn the_one_with_the_fewest_is_next_unless_it_is_behind() {
        let inbound = inbound();
        let [one, two] = [1, 2].map(|thread| inbound.join(thread, None, &|_| None).0);
        let counts = || (one.connections(), two.connections());
        (0..4).for_each(|_| drop(inbound.assign()));
        assert_eq!(counts(), (2, 2));
        one.exit(2);
        (0..2).for_each(|_| drop(inbound.assign()));
        assert_eq!(counts(), (2, 2));
        one.exit(2);
        drop(one.deliver(events(10)));
        assert!(Arc::ptr_eq(&inbound.assign(), &two) && !inbound.all_over());
        drop(two.deliver(events(10)));
        assert!(Arc::ptr_eq(&inbound.assign(), &one) && inbound.all_over());
    }
}
