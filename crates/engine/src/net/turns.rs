//! Turns for work that keeps a shard's thread busy: one step of one task at a time, and whoever else is ready goes in between.
//! Knows nothing of what the work is.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// Drives `work` to its end, every poll of it in a turn of its own. Turns go to those who wait for one in order; a task that
/// waits for its peer holds none.
pub(super) async fn in_turns<F: Future>(turns: &Semaphore, work: F) -> F::Output {
    let mut work = pin!(work);
    loop {
        let turn = turns.acquire().await;
        // The sockets are asked who is ready and all those are served before the next step, however many wait for a turn.
        yield_now().await;
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
