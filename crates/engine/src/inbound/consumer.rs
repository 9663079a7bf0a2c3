//! One reader's queue: what waits for one host thread, and whether that thread still comes for it. Knows nothing of the others:
//! those are `consumers`'.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::batch::Batch;
use super::flatten::{Flattened, flatten};
use super::watch::Watch;

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
    /// A host thread reads it.
    claimed: AtomicBool,
    /// The host's number of that thread.
    thread: AtomicU32,
    /// Connections whose events come here.
    connections: AtomicUsize,
    /// Times its reader came, or said that it will.
    visits: AtomicU64,
    /// Shards, one bit each, that are to give its connections and what waits of theirs to others.
    moving: AtomicU64,
    pub(super) watch: Watch,
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
    /// Somebody read it once.
    had_reader: bool,
    /// Called once when a batch arrives after the host found nothing.
    wake: Option<Wake>,
    armed: bool,
    ended: bool,
    waiting: usize,
}

impl Consumer {
    /// A queue that nobody reads yet.
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            queue: Mutex::default(),
            ready: Condvar::new(),
            events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            given: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            paused: AtomicU64::new(0),
            claimed: AtomicBool::new(false),
            thread: AtomicU32::new(0),
            connections: AtomicUsize::new(0),
            visits: AtomicU64::new(0),
            moving: AtomicU64::new(0),
            watch: Watch::default(),
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
        let mut shards = if waits { self.paused.swap(0, SeqCst) } else { 0 };
        // Each crossing asks, and mostly there are none.
        std::iter::from_fn(move || {
            let next = (shards != 0).then(|| shards.trailing_zeros() as usize);
            shards &= shards.wrapping_sub(1);
            next
        })
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
        if self.is_claimed() { self.given.load(Relaxed) } else { 0 }
    }

    /// Queues a batch and wakes the host if it waits. Returns an empty batch to fill next.
    pub(crate) fn deliver(&self, batch: Batch) -> Batch {
        let mut queue = self.queue.lock();
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
        spare
    }

    /// Takes up to `max` events into `out`, messages as `columns` where that pays. After [`Taken::Nothing`] the wake is
    /// called once when something arrives.
    pub(crate) fn take(&self, max: usize, columns: bool, out: &mut [u8]) -> Taken {
        let mut guard = self.queue.lock();
        let queue = &mut *guard;
        self.come();
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

    /// Its reader is done with what it took, and would come for more: whether anything waits. If nothing does, the wake is called once
    /// when something arrives, as after [`Taken::Nothing`].
    pub(crate) fn look(&self) -> bool {
        let mut queue = self.queue.lock();
        self.come();
        let waits = !queue.batches.is_empty();
        queue.armed = !waits;
        waits
    }

    /// Its reader comes for more, and is done with what it has. The queue is locked.
    fn come(&self) {
        self.visits.store(self.visits.load(Relaxed) + 1, Relaxed);
        self.heard.store(self.given.load(Relaxed) - self.events.load(Relaxed) as u64, Relaxed);
    }

    /// As [`Self::take`], waiting up to `timeout` for the first.
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

    /// Whether a host thread reads it.
    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.load(Relaxed)
    }

    /// A host thread begins to read it; `ended`: no more events will come.
    pub(super) fn claim(&self, thread: u32, ended: bool) {
        let mut queue = self.queue.lock();
        queue.armed = false;
        queue.had_reader = true;
        queue.ended |= ended;
        self.thread.store(thread, Relaxed);
        // What has waited until now is not held against it.
        self.excuse();
        self.claimed.store(true, Relaxed);
    }

    /// Its host thread is gone.
    pub(super) fn release(&self) {
        let mut queue = self.queue.lock();
        queue.wake = None;
        queue.spare = Vec::new();
        self.claimed.store(false, Relaxed);
    }

    /// Whether somebody has read it once: who comes next knows nothing of its connections.
    pub(super) fn had_reader(&self) -> bool {
        self.queue.lock().had_reader
    }

    /// No more events will come: wakes who waits.
    pub(super) fn end(&self) {
        let mut queue = self.queue.lock();
        queue.ended = true;
        let wake = queue.wake.clone();
        drop(queue);
        self.ready.notify_all();
        if let Some(wake) = wake {
            wake();
        }
    }

    /// Its reader is busy with what it took, and will come for more.
    pub(crate) fn excuse(&self) {
        self.visits.fetch_add(1, Relaxed);
    }

    /// Times its reader came, or said that it will.
    pub(super) fn visits(&self) -> u64 {
        self.visits.load(Relaxed)
    }

    /// Events that wait.
    pub(super) fn events(&self) -> usize {
        self.events.load(Relaxed)
    }

    /// The host's number of the thread that reads, or read last.
    pub(super) fn thread(&self) -> u32 {
        self.thread.load(Relaxed)
    }

    /// Connections whose events come here.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// One connection more.
    pub(crate) fn enter(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// So many less.
    pub(crate) fn exit(&self, connections: usize) {
        self.connections.fetch_sub(connections, Relaxed);
    }

    /// These shards are to give its connections to others. False: some are at it already.
    pub(super) fn begin_move(&self, shards: u64) -> bool {
        self.moving.fetch_or(shards, SeqCst) == 0
    }

    /// Whether `shard` is to give its connections to others.
    pub(super) fn is_moving(&self, shard: usize) -> bool {
        self.moving.load(SeqCst) & (1 << shard) != 0
    }

    /// Whether any shard is.
    pub(super) fn is_moving_at_all(&self) -> bool {
        self.moving.load(SeqCst) != 0
    }

    /// `shard` has done that; true: as the last.
    pub(super) fn end_move(&self, shard: usize) -> bool {
        self.moving.fetch_and(!(1 << shard), SeqCst) == 1 << shard
    }

    /// Takes out what waits and satisfies `wanted`, in order.
    pub(crate) fn take_out(&self, wanted: impl Fn(&Batch) -> bool) -> Vec<Batch> {
        let mut queue = self.queue.lock();
        let (out, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut queue.batches).into_iter().partition(wanted);
        queue.batches = kept.into();
        self.events.fetch_sub(out.iter().map(Batch::len).sum(), Relaxed);
        self.bytes.fetch_sub(out.iter().map(Batch::bytes).sum(), Relaxed);
        out
    }
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
