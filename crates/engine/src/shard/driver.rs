//! The thread of a shard: waits until there is something to do, calls its turns, and runs its connections' tasks in between.
//! Decides nothing about messages.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{MissedTickBehavior, interval};

use super::turn::Turn;
use super::{Shard, SharedShard};
use crate::id::ConnId;
use crate::mailbox::Incoming;
use crate::shared::Shared;
use crate::wheel::TICK_MS;

/// Events from which on the host's batch may grow before it is delivered.
const SEVERAL_EVENTS: usize = 4;
/// Turns of the sockets for which that batch may grow, as long as each brings more.
const READ_ON_TURNS: usize = 4;

/// What spawns the handshake of an accepted socket; called on the shard's thread.
pub(super) type Handshake = fn(Arc<Shared>, SharedShard, Incoming);

/// Spawns the thread of shard `index`.
pub(crate) fn spawn(shared: Arc<Shared>, index: usize, handshake: Handshake) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("wse-shard-{index}")).spawn(move || {
        let shard = Rc::new(RefCell::new(Shard::new(Arc::clone(&shared), index)));
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, tokio::task::unconstrained(drive(shared, shard, index, handshake)));
        // Dropping the set drops every task, hence every socket.
    })
}

async fn drive(shared: Arc<Shared>, shard: SharedShard, index: usize, handshake: Handshake) {
    let mailbox = &shared.shards[index].mailbox;
    let mut ticks = interval(Duration::from_millis(u64::from(TICK_MS)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut arrivals = Vec::new();
    loop {
        let busy = shard.borrow().has_connections();
        tokio::select! {
            biased;
            () = mailbox.ready() => {}
            _ = ticks.tick(), if busy => {}
        }
        read_on(&shard).await;
        loop {
            let turn = step(&shard, &mut arrivals);
            for incoming in arrivals.drain(..) {
                handshake(Arc::clone(&shared), Rc::clone(&shard), incoming);
            }
            match turn {
                Turn::More => {
                    // The first turn of the tasks asks the sockets who is ready, the second serves them.
                    yield_now().await;
                    yield_now().await;
                }
                Turn::Done => {
                    // Sockets have their turn after every batch, whatever has come in meanwhile.
                    yield_now().await;
                    break;
                }
                Turn::Idle => break,
                Turn::Ended => return,
            }
        }
    }
}

/// Where several sockets are at it, those that are ready too are read before the host is woken: every hand-over between the
/// two threads then serves more messages. Who is alone does not wait.
async fn read_on(shard: &SharedShard) {
    let mut seen = SEVERAL_EVENTS - 1;
    for _ in 0..READ_ON_TURNS {
        let open = shard.borrow().open_events();
        if open <= seen {
            break;
        }
        seen = open;
        yield_now().await;
    }
}

/// A turn. A panic in it is counted and costs the command or connection it met, never the thread: the rest of the batch is
/// the next turn's.
fn step(shard: &SharedShard, arrivals: &mut Vec<Incoming>) -> Turn {
    let turn = catch_unwind(AssertUnwindSafe(|| shard.borrow_mut().turn(arrivals)));
    turn.unwrap_or_else(|_| {
        shard.borrow_mut().recover();
        Turn::More
    })
}

/// Serves a connection until it is over: its task, woken by its socket.
pub(crate) fn serve(shard: SharedShard, id: ConnId) {
    spawn_local(poll_fn(move |cx| shard.borrow_mut().poll(cx, id)));
}
