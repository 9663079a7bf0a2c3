//! Consumers: the host threads that read events. A connection belongs to one for life; when a consumer leaves, its queue and its
//! connections go to another, or wait for the next one. Order per connection holds throughout.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize, fence};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use super::batch::Batch;
use super::flatten::{Flattened, flatten};
use crate::id::MAX_SHARDS;

/// Emptied batches a consumer keeps for its shards.
const SPARE: usize = 8;

type Wake = Arc<dyn Fn() + Send + Sync>;

/// One reading thread's queue.
pub struct Consumer {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// Events and payload bytes waiting, readable without the lock.
    events: AtomicUsize,
    bytes: AtomicUsize,
    /// Events it was ever given, and those it is done with: what it took before it came for more.
    given: AtomicU64,
    heard: AtomicU64,
    /// The most of them.
    limits: Limits,
    /// Shards, one bit each, that leave sockets alone until it is relieved.
    paused: AtomicU64,
}

/// How much may wait for one consumer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Batch>,
    spare: Vec<Batch>,
    /// A host thread reads it.
    claimed: bool,
    /// Where everything goes since this one left.
    successor: Option<Arc<Consumer>>,
    /// Called once when a batch arrives after the host found nothing.
    wake: Option<Wake>,
    armed: bool,
    ended: bool,
    waiting: usize,
}

impl Consumer {
    fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            queue: Mutex::default(),
            ready: Condvar::new(),
            events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            given: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            paused: AtomicU64::new(0),
        })
    }

    /// Whether either limit is reached.
    pub(crate) fn is_over(&self) -> bool {
        self.holds(self.limits)
    }

    /// Whether at most half of the limits is used: sockets may be read again.
    pub(crate) fn is_relieved(&self) -> bool {
        !self.holds(Limits { events: self.limits.events / 2 + 1, bytes: self.limits.bytes / 2 + 1 })
    }

    /// Notes that `shard` leaves sockets alone for it. Whoever looks at the counters behind this sees what its reader has taken,
    /// or the reader sees the note.
    pub(crate) fn note_paused(&self, shard: usize) {
        self.paused.fetch_or(1 << shard, SeqCst);
        fence(SeqCst);
    }

    /// Whether `shard` has left such a note, and was not told yet.
    pub(crate) fn is_noted(&self, shard: usize) -> bool {
        self.paused.load(Relaxed) & (1 << shard) != 0
    }

    /// Its reader has taken something: if it is relieved by now, the shards that wait for that, and they are told once. Pairs with
    /// [`Self::note_paused`]: comes behind a fence.
    pub(crate) fn take_paused(&self) -> impl Iterator<Item = usize> {
        let waits = self.paused.load(SeqCst) != 0 && self.is_relieved();
        let shards = if waits { self.paused.swap(0, SeqCst) } else { 0 };
        (0..MAX_SHARDS).filter(move |shard| shards & (1 << shard) != 0)
    }

    fn holds(&self, Limits { events, bytes }: Limits) -> bool {
        self.events.load(Relaxed) >= events || self.bytes.load(Relaxed) >= bytes
    }

    /// Events whose reader is done with them: it took them, and came for more.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    /// What [`Self::heard`] is once the reader is done with everything it was given so far; 0 when there is no reader.
    pub(crate) fn unheard(&self) -> u64 {
        if self.queue.lock().claimed { self.given.load(Relaxed) } else { 0 }
    }

    /// Queues a batch and wakes the host if it waits.
    pub(crate) fn deliver(&self, batch: Batch) -> Delivered {
        let mut queue = self.queue.lock();
        if let Some(successor) = queue.successor.clone() {
            drop(queue);
            // The stream goes to the last of the line from here on, so lines stay short.
            let successor = successor.last_successor().unwrap_or(successor);
            let Delivered { spare, successor: later } = successor.deliver(batch);
            return Delivered { spare, successor: Some(later.unwrap_or(successor)) };
        }
        self.events.fetch_add(batch.len(), Relaxed);
        self.bytes.fetch_add(batch.bytes(), Relaxed);
        self.given.fetch_add(batch.len() as u64, Relaxed);
        queue.batches.push_back(batch);
        let spare = queue.spare.pop().unwrap_or_default();
        let wake = if queue.armed { queue.wake.clone() } else { None };
        queue.armed &= wake.is_none();
        let waiting = queue.waiting > 0;
        drop(queue);
        if waiting {
            self.ready.notify_one();
        }
        if let Some(wake) = wake {
            wake();
        }
        Delivered { spare, successor: None }
    }

    fn successor(&self) -> Option<Arc<Self>> {
        self.queue.lock().successor.clone()
    }

    /// Who has its connections since it left: the last of the line. `None` while it has not left.
    pub(crate) fn last_successor(&self) -> Option<Arc<Self>> {
        let mut heir = self.successor()?;
        while let Some(next) = heir.successor() {
            heir = next;
        }
        Some(heir)
    }

    /// Takes up to `max` events into `out`, messages as `columns` where that pays. After [`Taken::Nothing`] the wake is
    /// called once when something arrives.
    pub(crate) fn take(&self, max: usize, columns: bool, out: &mut [u8]) -> Taken {
        let mut guard = self.queue.lock();
        let queue = &mut *guard;
        // Whoever comes for more is done with what he has.
        self.heard.store(self.given.load(Relaxed) - self.events.load(Relaxed) as u64, Relaxed);
        let spare = &mut queue.spare;
        let taken = flatten(&mut queue.batches, max.max(1), columns, out, |batch| {
            if spare.len() < SPARE {
                spare.push(batch.recycle());
            }
        });
        match taken {
            Flattened::Nothing => {
                queue.armed = true;
                Taken::Nothing
            }
            Flattened::Needs(size) => Taken::Needs(size),
            Flattened::Taken(flat) => {
                self.events.fetch_sub(flat.events, Relaxed);
                self.bytes.fetch_sub(flat.bytes, Relaxed);
                Taken::Bytes(flat.written)
            }
        }
    }

    /// The same, waiting up to `timeout` for the first.
    pub(crate) fn wait(&self, max: usize, columns: bool, timeout: Duration, out: &mut [u8]) -> Taken {
        let deadline = Instant::now() + timeout;
        loop {
            let taken = self.take(max, columns, out);
            if taken != Taken::Nothing {
                return taken;
            }
            let mut queue = self.queue.lock();
            if !queue.batches.is_empty() {
                continue;
            }
            if queue.ended {
                return Taken::Nothing;
            }
            queue.waiting += 1;
            let timed_out = self.ready.wait_until(&mut queue, deadline).timed_out();
            queue.waiting -= 1;
            if timed_out && queue.batches.is_empty() {
                return Taken::Nothing;
            }
        }
    }

    /// Sets what is called when a batch arrives after [`Self::take`] found nothing.
    pub(crate) fn on_batch(&self, wake: Option<Wake>) {
        let mut queue = self.queue.lock();
        queue.armed = wake.is_some();
        queue.wake = wake;
        let pending = !queue.batches.is_empty() || queue.ended;
        let wake = if pending { queue.wake.clone() } else { None };
        queue.armed &= wake.is_none();
        drop(queue);
        if let Some(wake) = wake {
            wake();
        }
    }
}

/// A line of successors is taken apart link by link: dropped as it stands, it would recurse as deep as it is long.
impl Drop for Consumer {
    fn drop(&mut self) {
        let mut next = self.queue.get_mut().successor.take();
        while let Some(mut successor) = next.and_then(Arc::into_inner) {
            next = successor.queue.get_mut().successor.take();
        }
    }
}

/// What delivering a batch came to.
pub(crate) struct Delivered {
    /// An empty batch to fill next.
    pub(crate) spare: Batch,
    /// The consumer that has inherited this one's connections.
    pub(crate) successor: Option<Arc<Consumer>>,
}

/// What taking a batch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// No event waits.
    Nothing,
    /// The buffer is too small and nothing was taken: come again with this many bytes.
    Needs(usize),
    /// A batch of this many bytes is in the buffer.
    Bytes(usize),
}

/// All consumers of an engine.
pub(crate) struct Inbound {
    /// At least one, claimed or not.
    live: RwLock<Vec<Arc<Consumer>>>,
    next: AtomicUsize,
    limits: Limits,
}

impl Inbound {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { live: RwLock::new(vec![Consumer::new(limits)]), next: AtomicUsize::new(0), limits }
    }

    /// The consumer of a new connection: the live ones in turn, those that are behind only if all are.
    pub(crate) fn assign(&self) -> Arc<Consumer> {
        let live = self.live.read();
        let first = self.next.fetch_add(1, Relaxed);
        let turn = |step: usize| &live[(first + step) % live.len()];
        Arc::clone((0..live.len()).map(turn).find(|consumer| !consumer.is_over()).unwrap_or(turn(0)))
    }

    /// A host thread begins to read: it gets the queue nobody reads, or a new one.
    pub(crate) fn join(&self) -> Arc<Consumer> {
        let mut live = self.live.write();
        for consumer in live.iter() {
            let mut queue = consumer.queue.lock();
            if !queue.claimed {
                queue.claimed = true;
                queue.armed = false;
                return Arc::clone(consumer);
            }
        }
        let consumer = Consumer::new(self.limits);
        {
            let mut queue = consumer.queue.lock();
            queue.claimed = true;
            queue.ended = live.iter().any(|other| other.queue.lock().ended);
        }
        live.push(Arc::clone(&consumer));
        consumer
    }

    /// A host thread is gone: its queue goes to another consumer, or waits for the next one to join.
    pub(crate) fn leave(&self, consumer: &Arc<Consumer>) {
        let mut live = self.live.write();
        let mut queue = consumer.queue.lock();
        queue.wake = None;
        queue.claimed = false;
        queue.spare = Vec::new();
        if live.len() == 1 || !live.iter().any(|other| Arc::ptr_eq(other, consumer)) {
            return;
        }
        live.retain(|other| !Arc::ptr_eq(other, consumer));
        // Chosen under the write lock, so it cannot leave meanwhile; deliveries wait for `queue`, so nothing overtakes.
        let successor = Arc::clone(&live[self.next.load(Relaxed) % live.len()]);
        for batch in std::mem::take(&mut queue.batches) {
            successor.deliver(batch);
        }
        consumer.events.store(0, Relaxed);
        consumer.bytes.store(0, Relaxed);
        queue.successor = Some(successor);
    }

    /// No more events will come: wakes everybody who waits.
    pub(crate) fn end(&self) {
        for consumer in self.live.read().iter() {
            let mut queue = consumer.queue.lock();
            queue.ended = true;
            let wake = queue.wake.clone();
            drop(queue);
            consumer.ready.notify_all();
            if let Some(wake) = wake {
                wake();
            }
        }
    }

    /// Events waiting in all queues.
    pub(crate) fn depth(&self) -> usize {
        self.live.read().iter().map(|consumer| consumer.events.load(Relaxed)).sum()
    }

    /// Whether a host thread reads.
    pub(crate) fn has_reader(&self) -> bool {
        self.live.read().iter().any(|consumer| consumer.queue.lock().claimed)
    }

    /// Whether all consumers are above their limits: then no new connections are accepted either.
    pub(crate) fn all_over(&self) -> bool {
        self.live.read().iter().all(|consumer| consumer.is_over())
    }
}
