//! The last number of each stream of messages out of clients' outboxes, over all connections: what comes again is not taken again
//! (docs/protocol.md §17). Locked by many threads; knows connections as numbers only, and is told the time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use parking_lot::{Mutex, MutexGuard};

/// Windows looked at to find the one used longest ago; then whichever is next goes.
const LOOKS: usize = 64;
/// Windows one call looks at for their age.
const AGED: usize = 1024;

/// The windows of one engine.
pub(crate) struct Windows {
    max: usize,
    /// Milliseconds a window is kept after its last use.
    ttl: u64,
    table: Mutex<Table>,
    streams: AtomicUsize,
    evicted: AtomicU64,
    expired: AtomicU64,
    senders: AtomicU64,
}

/// Whose stream, and its name. Users do not see each other's; those without a name have them in common.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    user: Option<Arc<str>>,
    stream: Box<str>,
}

#[derive(Default)]
struct Table {
    windows: HashMap<Arc<Key>, Arc<Window>, foldhash::fast::RandomState>,
    /// Each window once, used longest ago on top as far as is known. What was used since is put here again when it is met.
    order: BinaryHeap<Reverse<(u64, Arc<Key>)>>,
}

/// The window of one stream.
pub(crate) struct Window {
    /// When it was used last, milliseconds.
    used: AtomicU64,
    /// It is in the table no more: who holds it asks for another.
    gone: AtomicBool,
    state: Mutex<State>,
}

/// What is known of a stream. Locked from the look at a number until its message is in its shard's batch.
#[derive(Default)]
pub(crate) struct State {
    /// The last number that was taken.
    last: u64,
    /// Who sends, as [`Windows::sender`] numbers them: of those that have sent and are not gone the last to have come; 0 = nobody.
    sender: u64,
    /// The shard that has taken the last one and not given it to the host yet.
    holder: Option<usize>,
}

/// What becomes of a message with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new.
    Fresh,
    /// It was taken before, as everything up to this number.
    Repeat(u64),
    /// It would overtake one before it, which its connection has missed, and which it would acknowledge; or which another shard has not
    /// given to the host yet. It is missed, too.
    Behind,
    /// It is missed, and there is nothing to say: its stream has gone on by a newer connection, which sends again what this one has
    /// not heard of.
    Refused,
    /// It was taken before, and the shard that has it has not given it to the host yet: there is nothing to say so far.
    Held,
}

impl Windows {
    /// A table of at most `max` windows, each kept for `ttl` milliseconds after its last use.
    pub(crate) fn new(max: usize, ttl: u64) -> Self {
        Self {
            max,
            ttl,
            table: Mutex::default(),
            streams: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            senders: AtomicU64::new(0),
        }
    }

    /// The number of a connection that begins to send out of an outbox: higher than that of any before.
    pub(crate) fn sender(&self) -> u64 {
        self.senders.fetch_add(1, Relaxed) + 1
    }

    /// The window of a stream, a new one where none is known.
    pub(crate) fn find(&self, user: Option<&Arc<str>>, stream: &str, now: u64) -> Arc<Window> {
        let key = Key { user: user.cloned(), stream: stream.into() };
        let mut table = self.table.lock();
        if let Some(window) = table.windows.get(&key) {
            if !self.is_old(window.used.load(Relaxed), now) {
                window.used.store(now, Relaxed);
                return Arc::clone(window);
            }
            self.expired.fetch_add(1, Relaxed);
            table.drop_window(&key);
        } else if table.windows.len() >= self.max {
            self.evicted.fetch_add(1, Relaxed);
            table.evict();
        }
        let key = Arc::new(key);
        let window =
            Arc::new(Window { used: AtomicU64::new(now), gone: AtomicBool::new(false), state: Mutex::default() });
        table.windows.insert(Arc::clone(&key), Arc::clone(&window));
        // One that was too old is in the order still, and stands for its successor.
        if table.order.len() < table.windows.len() {
            table.order.push(Reverse((now, key)));
        }
        self.streams.store(table.windows.len(), Relaxed);
        window
    }

    /// Forgets windows that were not used for too long.
    pub(crate) fn expire(&self, now: u64) {
        if self.streams() == 0 {
            return;
        }
        let mut table = self.table.lock();
        for _ in 0..AGED {
            let Some(Reverse((used, _))) = table.order.peek() else { break };
            if !self.is_old(*used, now) {
                break;
            }
            let Some((key, used)) = table.pop() else { break };
            if self.is_old(used, now) {
                self.expired.fetch_add(1, Relaxed);
                table.drop_window(&key);
            } else {
                table.order.push(Reverse((used, key)));
            }
        }
        self.streams.store(table.windows.len(), Relaxed);
    }

    fn is_old(&self, used: u64, now: u64) -> bool {
        now.saturating_sub(used) > self.ttl
    }

    /// Streams that are remembered.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Relaxed)
    }

    /// Streams that were forgotten for the sake of others.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// Streams that were forgotten for their age.
    pub(crate) fn expired(&self) -> u64 {
        self.expired.load(Relaxed)
    }
}

impl Table {
    /// Takes the next of the order out of it: its key, and when it was used indeed.
    fn pop(&mut self) -> Option<(Arc<Key>, u64)> {
        let Reverse((noted, key)) = self.order.pop()?;
        let used = self.windows.get(&key).map_or(noted, |window| window.used.load(Relaxed));
        Some((key, used))
    }

    /// Forgets the window used longest ago.
    fn evict(&mut self) {
        for look in 1.. {
            let Some(Reverse((noted, _))) = self.order.peek() else { return };
            let noted = *noted;
            let Some((key, used)) = self.pop() else { return };
            if used == noted || look > LOOKS {
                return self.drop_window(&key);
            }
            self.order.push(Reverse((used, key)));
        }
    }

    fn drop_window(&mut self, key: &Key) {
        if let Some(window) = self.windows.remove(key) {
            window.gone.store(true, Relaxed);
        }
    }
}

impl Window {
    /// Whether it is forgotten.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// Its state, locked; `None` when it is forgotten.
    pub(crate) fn lock(&self, now: u64) -> Option<MutexGuard<'_, State>> {
        if self.is_gone() {
            return None;
        }
        self.used.store(now, Relaxed);
        Some(self.state.lock())
    }

    /// `shard` has given the host what it has taken.
    pub(crate) fn given(&self, shard: usize) {
        self.state.lock().given(shard);
    }

    /// `sender` is gone: the stream is free for those that came before it, too.
    pub(crate) fn release(&self, sender: u64) {
        self.state.lock().release(sender);
    }
}

impl State {
    /// Looks at a number that `sender`, a connection of `shard`, sends. `missed` was not taken from it, the last of those since it began
    /// (again) to send; 0 = all were. What was taken by another connection meanwhile is missed no more.
    pub(crate) fn judge(&mut self, sender: u64, shard: usize, missed: u64, number: u64) -> Verdict {
        self.sender = self.sender.max(sender);
        let held = self.holder.is_some_and(|holder| holder != shard);
        if number <= self.last {
            if held { Verdict::Held } else { Verdict::Repeat(self.last) }
        } else if sender < self.sender {
            Verdict::Refused
        } else if missed > self.last && number > missed || held {
            Verdict::Behind
        } else {
            Verdict::Fresh
        }
    }

    /// Its message is taken: `shard` will give it to the host.
    pub(crate) fn take(&mut self, shard: usize, number: u64) {
        self.last = number;
        self.holder = Some(shard);
    }

    fn release(&mut self, sender: u64) {
        if self.sender == sender {
            self.sender = 0;
        }
    }

    fn given(&mut self, shard: usize) {
        if self.holder == Some(shard) {
            self.holder = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(windows: &Windows, stream: &str, number: u64, now: u64) -> Verdict {
        let window = windows.find(None, stream, now);
        let mut state = window.lock(now).unwrap();
        let verdict = state.judge(1, 0, 0, number);
        if verdict == Verdict::Fresh {
            state.take(0, number);
        }
        verdict
    }

    #[test]
    fn numbers_ascend_and_may_leave_gaps() {
        let windows = Windows::new(8, 100);
        assert_eq!(take(&windows, "a", 3, 0), Verdict::Fresh);
        assert_eq!(take(&windows, "a", 3, 0), Verdict::Repeat(3));
        assert_eq!(take(&windows, "a", 1, 0), Verdict::Repeat(3));
        assert_eq!(take(&windows, "a", 9, 0), Verdict::Fresh);
        assert_eq!(take(&windows, "b", 1, 0), Verdict::Fresh, "streams do not know each other");
        let mine: Arc<str> = "me".into();
        let window = windows.find(Some(&mine), "a", 0);
        assert_eq!(window.lock(0).unwrap().judge(2, 0, 0, 1), Verdict::Fresh, "nor do users");
    }

    #[test]
    fn nothing_overtakes_what_its_connection_has_missed() {
        let mut state = State::default();
        assert_eq!([2, 3].map(|n| state.judge(1, 0, 1, n)), [Verdict::Behind; 2]);
        // Its client begins again; 1 has expired there.
        assert_eq!(state.judge(1, 0, 3, 2), Verdict::Fresh);
        state.take(0, 2);
        // A new connection begins anew, whatever the old one has missed.
        assert_eq!(state.judge(2, 0, 0, 4), Verdict::Fresh);
        assert_eq!([5, 2].map(|n| state.judge(1, 0, 3, n)), [Verdict::Refused, Verdict::Repeat(2)]);
        state.take(0, 5);
        state.release(2);
        assert_eq!(state.judge(1, 0, 5, 6), Verdict::Fresh, "what it has missed was taken from the other");
    }

    #[test]
    fn nothing_overtakes_what_another_shard_has() {
        let mut state = State::default();
        assert_eq!(state.judge(1, 0, 0, 1), Verdict::Fresh);
        state.take(0, 1);
        assert_eq!([1, 2].map(|n| state.judge(2, 1, 0, n)), [Verdict::Held, Verdict::Behind]);
        state.given(0);
        assert_eq!([3, 2].map(|n| state.judge(2, 1, 2, n)), [Verdict::Behind, Verdict::Fresh]);
    }

    #[test]
    fn a_stream_is_the_newest_connections_until_that_is_gone() {
        let mut state = State::default();
        assert_eq!(state.judge(3, 0, 0, 1), Verdict::Fresh);
        assert_eq!(state.judge(1, 0, 0, 1), Verdict::Refused);
        state.release(1);
        assert_eq!(state.judge(2, 0, 0, 1), Verdict::Refused, "who is gone had nothing to give");
        state.release(3);
        assert_eq!(
            [2, 1].map(|n| state.judge(1, 0, 1, n)),
            [Verdict::Behind, Verdict::Fresh],
            "from where it was refused"
        );
        assert_eq!(state.judge(2, 0, 0, 1), Verdict::Fresh, "a newer one has come");
        assert_eq!(state.judge(1, 0, 0, 2), Verdict::Refused);
    }

    #[test]
    fn the_one_used_longest_ago_goes() {
        let windows = Windows::new(3, 1000);
        for (now, stream) in [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "d")] {
            take(&windows, stream, now, now);
        }
        assert_eq!((windows.streams(), windows.evicted()), (3, 1));
        assert_eq!(take(&windows, "a", 4, 6), Verdict::Repeat(4), "a was used after b");
        assert_eq!(take(&windows, "b", 2, 7), Verdict::Fresh, "b was forgotten, and c goes for it");
        let held = windows.find(None, "c", 8);
        for now in 9..13 {
            take(&windows, &now.to_string(), 1, now);
        }
        assert!(held.lock(13).is_none(), "who holds one that is forgotten hears of it");
        assert_eq!(windows.table.lock().order.len(), 3);
    }

    #[test]
    fn what_is_not_used_is_forgotten() {
        let windows = Windows::new(8, 100);
        take(&windows, "a", 1, 0);
        take(&windows, "b", 1, 50);
        windows.expire(120);
        assert_eq!((windows.streams(), windows.expired()), (1, 1));
        // Nobody may have come to sweep.
        assert_eq!(take(&windows, "b", 1, 151), Verdict::Fresh);
        assert_eq!(take(&windows, "b", 1, 151), Verdict::Repeat(1));
        windows.expire(200);
        assert_eq!((windows.streams(), windows.expired(), windows.table.lock().order.len()), (1, 2, 1));
        windows.expire(300);
        assert_eq!((windows.streams(), windows.expired(), windows.table.lock().order.len()), (0, 3, 0));
    }
}
