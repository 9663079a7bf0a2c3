//! Turns for work that keeps a shard's thread busy: one step of one task at a time, and whoever else is ready goes in between.
//! Knows nothing of what the work is.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// The turns of one shard.
pub(crate) struct Turns {
    /// One step at a time.
    one: Semaphore,
    /// Whoever has the next one, until the sockets were asked.
    next: Mutex<Option<Waker>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { one: Semaphore::new(1), next: Mutex::default() }
    }
}

impl Turns {
    /// The sockets were asked who is ready: the next step may be taken, behind those.
    pub(crate) fn go_on(&self) {
        if let Some(waker) = self.next.lock().take() {
            waker.wake();
        }
    }

    /// Whether somebody waits for that.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.next.lock().is_some()
    }

    /// Waits until the sockets were asked.
    async fn let_others(&self) {
        let mut waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) && !self.is_waited_for() {
                return Poll::Ready(());
            }
            *self.next.lock() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Drives `work` to its end, every poll of it in a turn of its own. Turns go to those who wait for one in order; a task that
/// waits for its peer holds none.
pub(crate) async fn in_turns<F: Future>(turns: &Turns, work: F) -> F::Output {
    let mut work = pin!(work);
    loop {
        let turn = turns.one.acquire().await;
        // The sockets are asked who is ready and all those are served before the next step, however many wait for a turn.
        turns.let_others().await;
        let step = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        drop(turn);
        if let Poll::Ready(output) = step {
            return output;
        }
        woken().await;
    }
}

/// Ends when the task is woken.
async fn woken() {
    let mut polled = false;
    poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::Context;

    use tokio::task::LocalSet;

    use super::*;

    #[test]
    fn between_two_looks_at_the_sockets_one_step_is_taken_whoever_waits() {
        let (turns, steps) = (Rc::new(Turns::default()), Rc::new(Cell::new(0)));
        let mut tasks = LocalSet::new();
        for _ in 0..20 {
            let (turns, steps) = (Rc::clone(&turns), Rc::clone(&steps));
            tasks.spawn_local(async move {
                let mut left = 3;
                // Wakes itself, as one does whose peer has answered already.
                let work = poll_fn(|cx| {
                    steps.set(steps.get() + 1);
                    left -= 1;
                    cx.waker().wake_by_ref();
                    if left == 0 { Poll::Ready(()) } else { Poll::Pending }
                });
                in_turns(&turns, work).await;
            });
        }
        let mut looks = 0;
        loop {
            let before = steps.get();
            turns.go_on();
            looks += 1;
            let ended = (0..100).any(|_| Pin::new(&mut tasks).poll(&mut Context::from_waker(Waker::noop())).is_ready());
            assert!(steps.get() <= before + 1, "{} steps at once", steps.get() - before);
            if ended {
                break;
            }
            assert!(turns.is_waited_for() && looks < 1000);
        }
        assert_eq!(steps.get(), 60);
    }
}
