//! The thread of a shard: waits until there is something to do, serves the connections that are ready, calls its turns, and
//! runs the tasks of its handshakes in between.
//! Decides nothing about messages.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::task::{LocalSet, coop, yield_now};
use tokio::time::{MissedTickBehavior, interval};

use super::turn::Turn;
use super::{Shard, SharedShard};
use crate::mailbox::Incoming;
use crate::ready::ReadyQueue;
use crate::shared::Shared;
use crate::wheel::TICK_MS;

/// Events from which on the host's batch may grow before it is delivered.
const SEVERAL_EVENTS: usize = 4;
/// Turns of the sockets for which that batch may grow, as long as each brings more.
const READ_ON_TURNS: usize = 4;

/// Connections served before the driver and the handshakes have their turn.
const SERVED_AT_ONCE: usize = 61;

/// Handshakes served at once, if their requests are there, before anybody else has a turn.
pub(super) const HANDSHAKES_AT_ONCE: usize = 61;

/// What begins the handshake of an accepted socket, at once if it may; called on the shard's thread.
pub(crate) type Handshake = fn(Arc<Shared>, SharedShard, Incoming, bool);

/// Spawns the thread of shard `index`.
pub(crate) fn spawn(shared: Arc<Shared>, index: usize, handshake: Handshake) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("wse-shard-{index}")).spawn(move || {
        let mut shard = Rc::new(RefCell::new(Shard::new(Arc::clone(&shared), index, None)));
        loop {
            let driven = catch_unwind(AssertUnwindSafe(|| {
                let tasks = LocalSet::new();
                tasks.block_on(&runtime, drive(Arc::clone(&shared), Rc::clone(&shard), index, handshake));
                // Dropping the set drops every task, hence every socket of a handshake.
            }));
            if driven.is_ok() {
                return;
            }
            // Something panicked where nothing closer by catches it. A shard whose thread is gone would let its mailbox fill and
            // its clients wait for ever, so it begins again without them.
            shared.shards[index].counters.restarts.add(1);
            if !shard.borrow_mut().start_over() {
                shard = Rc::new(RefCell::new(Shard::new(Arc::clone(&shared), index, None)));
            }
        }
    })
}

/// Waits, serves, calls turns. Each time it gives way the handshakes have their turn and the runtime asks the sockets who is
/// ready.
async fn drive(shared: Arc<Shared>, shard: SharedShard, index: usize, handshake: Handshake) {
    let mailbox = &shared.shards[index].mailbox;
    let ready = Arc::clone(shard.borrow().ready());
    let mut ticks = interval(Duration::from_millis(u64::from(TICK_MS)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut arrivals = Vec::new();
    loop {
        let busy = shard.borrow().needs_ticks();
        tokio::select! {
            biased;
            () = mailbox.ready() => {}
            () = poll_fn(|cx| ready.poll_some(cx.waker())) => {}
            _ = ticks.tick(), if busy => {}
        }
        // What was published before goes out before what is read now is answered.
        if mailbox.is_empty() {
            serve_ready(&shard, &ready);
            read_on(&shard, &ready).await;
        }
        if shard.borrow().is_broken() {
            resume_unwind(Box::new("a panic while a panic was mended"));
        }
        loop {
            // TLS writes as much as its socket takes, whatever the runtime's budget.
            let turn = coop::unconstrained(poll_fn(|_| Poll::Ready(step(&shard, &mut arrivals)))).await;
            for (place, incoming) in arrivals.drain(..).enumerate() {
                handshake(Arc::clone(&shared), Rc::clone(&shard), incoming, place < HANDSHAKES_AT_ONCE);
            }
            match turn {
                Turn::More => serve_more(&shard, &ready).await,
                Turn::Done => {
                    // Sockets have their turn after every batch, whatever has come in meanwhile.
                    serve_ready(&shard, &ready);
                    yield_now().await;
                    break;
                }
                Turn::Idle => {
                    if !ready.is_empty() {
                        yield_now().await;
                    }
                    break;
                }
                Turn::Ended => return,
            }
        }
    }
}

/// Serves connections that are ready, so many at most, and as long as the runtime's budget lasts, which bounds what TLS reads.
fn serve_ready(shard: &SharedShard, ready: &ReadyQueue) {
    let mut left = SERVED_AT_ONCE;
    while left > 0
        && coop::has_budget_remaining()
        && let Some(id) = ready.pop()
    {
        shard.borrow_mut().serve(id);
        left -= 1;
    }
}

/// Asks the sockets who is ready, and serves them.
async fn serve_more(shard: &SharedShard, ready: &ReadyQueue) {
    yield_now().await;
    serve_ready(shard, ready);
}

/// Where several sockets are at it, those that are ready too are read before the host is woken: every hand-over between the
/// two threads then serves more messages. Who is alone does not wait.
async fn read_on(shard: &SharedShard, ready: &ReadyQueue) {
    let mut seen = SEVERAL_EVENTS - 1;
    for _ in 0..READ_ON_TURNS {
        let open = shard.borrow().open_events();
        if open <= seen {
            break;
        }
        seen = open;
        serve_more(shard, ready).await;
    }
}

/// A turn. A panic in it is counted and costs the command or connection it met, never the thread: the rest of the batch is
/// the next turn's.
pub(super) fn step(shard: &SharedShard, arrivals: &mut Vec<Incoming>) -> Turn {
    let turn = catch_unwind(AssertUnwindSafe(|| shard.borrow_mut().turn(arrivals)));
    turn.unwrap_or_else(|_| {
        shard.borrow_mut().recover();
        Turn::More
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::super::tests::{arrive, wait_until};
    use super::*;
    use crate::config::tests::config;
    use crate::mailbox::Command;

    /// Sockets that came as far as a handshake.
    static HANDSHAKES: AtomicUsize = AtomicUsize::new(0);

    fn panicking(_: Arc<Shared>, _: SharedShard, _: Incoming, _: bool) {
        assert!(HANDSHAKES.fetch_add(1, SeqCst) > 0, "the first one brings the shard down");
    }

    #[test]
    fn a_shard_whose_loop_panics_begins_again_and_works_its_mailbox_off() {
        let shared = Arc::new(Shared::new(config()));
        let thread = spawn(Arc::clone(&shared), 0, panicking).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mailbox = &shared.shards[0].mailbox;
        for round in 1..=3 {
            arrive(&shared, &listener);
            wait_until(|| HANDSHAKES.load(SeqCst) == round && mailbox.weight() == 0);
        }
        let counters = &shared.shards[0].counters;
        assert_eq!((counters.restarts.get(), counters.panics.get()), (1, 1));
        assert_eq!(shared.admission.len(), 0, "the socket it met is closed");
        mailbox.command(Command::Stop);
        thread.join().unwrap();
    }
}
