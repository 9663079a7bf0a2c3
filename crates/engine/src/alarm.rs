//! What wakes a shard that has nothing to do: its thread, or the event loop of somebody else's. Knows nothing of why.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::thread::ThreadId;

use parking_lot::Mutex;

/// Nothing has rung, and the shard looks at nothing until something does: so it begins, because an event loop may not call it before.
const ASLEEP: u8 = 0;
/// It has rung: the shard looks before it sleeps.
const RUNG: u8 = 1;
/// Nothing has rung since the shard last looked.
const AWAKE: u8 = 2;

/// The alarm of one shard.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    state: AtomicU8,
    sleeper: Mutex<Option<Sleeper>>,
}

/// Whom to wake.
#[derive(Debug)]
struct Sleeper {
    thread: ThreadId,
    waker: mio::Waker,
}

impl Alarm {
    /// Wakes the shard. On its own thread, and while it is awake, that is only a note: it looks before it sleeps.
    pub(crate) fn ring(&self) {
        if self.state.swap(RUNG, SeqCst) == ASLEEP
            && let Some(Sleeper { thread, waker }) = &*self.sleeper.lock()
            && *thread != std::thread::current().id()
        {
            // One that cannot be woken looks when it next turns; nobody could do better.
            let _ = waker.wake();
        }
    }

    /// From now on the shard runs on this thread, which `waker` wakes.
    pub(crate) fn run_here(&self, waker: mio::Waker) {
        *self.sleeper.lock() = Some(Sleeper { thread: std::thread::current().id(), waker });
    }

    /// The shard does not run any more.
    pub(crate) fn run_nowhere(&self) {
        *self.sleeper.lock() = None;
    }

    /// Whether it has rung since the shard last looked.
    pub(crate) fn is_rung(&self) -> bool {
        self.state.load(SeqCst) == RUNG
    }

    /// The shard looks: it has heard what has rung.
    pub(crate) fn awake(&self) {
        self.state.store(AWAKE, SeqCst);
    }

    /// The shard looks no more: whoever rings wakes its thread.
    pub(crate) fn sleep(&self) {
        self.state.store(ASLEEP, SeqCst);
    }

    /// Whether the shard may sleep, and then whoever rings wakes it; false: it has rung.
    pub(crate) fn may_sleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, SeqCst, SeqCst).is_ok()
    }
}
