//! What wakes a shard that has nothing to do: a task of the runtime, or the event loop of somebody else's thread. Knows nothing of
//! why.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::ThreadId;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The alarm of one shard.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    task: Notify,
    /// The shard runs on somebody else's event loop, or did.
    inline: AtomicBool,
    /// It rang on the thread of that event loop.
    rang_here: AtomicBool,
    /// That one, while it does.
    event_loop: Mutex<Option<EventLoop>>,
}

#[derive(Debug)]
struct EventLoop {
    thread: ThreadId,
    waker: mio::Waker,
}

impl Alarm {
    /// Wakes the shard. On the thread of its own event loop it only makes a note: the loop looks before it sleeps.
    pub(crate) fn ring(&self) {
        if !self.is_inline() {
            return self.task.notify_one();
        }
        if let Some(EventLoop { thread, waker }) = &*self.event_loop.lock() {
            if *thread == std::thread::current().id() {
                self.rang_here.store(true, Relaxed);
            } else {
                // A loop that cannot be woken looks when it next turns; nobody could do better.
                let _ = waker.wake();
            }
        }
    }

    /// From now on the shard runs on this thread's event loop, which `waker` wakes.
    pub(crate) fn run_here(&self, waker: mio::Waker) {
        *self.event_loop.lock() = Some(EventLoop { thread: std::thread::current().id(), waker });
        self.inline.store(true, Relaxed);
    }

    /// Whether it rang on the thread of the event loop.
    pub(crate) fn rang_here(&self) -> bool {
        self.rang_here.load(Relaxed)
    }

    /// The event loop has heard it.
    pub(crate) fn heard(&self) {
        self.rang_here.store(false, Relaxed);
    }

    /// The event loop is over.
    pub(crate) fn run_nowhere(&self) {
        *self.event_loop.lock() = None;
    }

    /// Whether the shard runs on somebody else's event loop, or did.
    pub(crate) fn is_inline(&self) -> bool {
        self.inline.load(Relaxed)
    }

    /// Waits until it rings; for a shard with a task of its own.
    pub(crate) async fn rung(&self) {
        self.task.notified().await;
    }
}
