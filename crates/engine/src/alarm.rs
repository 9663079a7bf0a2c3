//! What wakes a shard that has nothing to do: a task of the runtime, or the event loop of somebody else's thread. Knows nothing of
//! why.

use std::sync::OnceLock;
use std::thread::ThreadId;

use tokio::sync::Notify;

/// The alarm of one shard.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    task: Notify,
    /// Set when the shard runs on somebody else's event loop.
    event_loop: OnceLock<EventLoop>,
}

#[derive(Debug)]
struct EventLoop {
    thread: ThreadId,
    waker: mio::Waker,
}

impl Alarm {
    /// Wakes the shard. On the thread of its own event loop it does nothing: the loop looks at the end of each of its turns.
    pub(crate) fn ring(&self) {
        match self.event_loop.get() {
            None => self.task.notify_one(),
            Some(event_loop) if event_loop.thread == std::thread::current().id() => {}
            // A loop that cannot be woken looks when it next turns; nobody could do better.
            Some(event_loop) => drop(event_loop.waker.wake()),
        }
    }

    /// From now on the shard runs on this thread's event loop, which `waker` wakes.
    pub(crate) fn run_here(&self, waker: mio::Waker) {
        // Set once: an engine starts once.
        let _ = self.event_loop.set(EventLoop { thread: std::thread::current().id(), waker });
    }

    /// Waits until it rings; for a shard with a task of its own.
    pub(crate) async fn rung(&self) {
        self.task.notified().await;
    }
}
