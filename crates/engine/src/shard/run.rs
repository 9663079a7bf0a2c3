//! The shard's thread: takes the inbox, applies it, flushes once, delivers events, minds the wheel. The connections' tasks
//! run between the turns on the same thread.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{MissedTickBehavior, interval};

use super::inbox::{Batch, Command};
use super::wheel::TICK_MS;
use super::{Shard, SharedShard};
use crate::id::ConnId;
use crate::net::handshake;
use crate::shared::Shared;

/// A batch is flushed in parts, however much waits: when the connections owe this much each, on average …
const FLUSH_BYTES: usize = 256 * 1024;
/// … or after this many deliveries, a few milliseconds of them. Counted, not timed: a thread that was preempted would flush
/// too early, and every frame before the flush deepens the join of the sends.
const FLUSH_OPERATIONS: usize = 128 * 1024;
/// Connections flushed before the sockets have their turn.
const FLUSH_CONNECTIONS: usize = 1024;

/// Events from which on the host's batch may grow before it is delivered …
const SEVERAL_EVENTS: usize = 4;
/// … for so many turns of the sockets, as long as each brings more.
const READ_ON_TURNS: usize = 4;

/// Spawns the thread of shard `index`.
pub(crate) fn spawn(shared: Arc<Shared>, index: usize) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("wse-shard-{index}")).spawn(move || {
        let shard = Rc::new(RefCell::new(Shard::new(Arc::clone(&shared), index)));
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, tokio::task::unconstrained(turns(shared, shard, index)));
        // Dropping the set drops every task, hence every socket.
    })
}

/// The loop: one turn per wake-up.
async fn turns(shared: Arc<Shared>, shard: SharedShard, index: usize) {
    let inbox = &shared.ports[index].inbox;
    let mut ticks = interval(Duration::from_millis(u64::from(TICK_MS)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut empty = Batch::default();
    loop {
        let busy = shard.borrow().connections.len() > 0;
        tokio::select! {
            biased;
            () = inbox.ready() => {}
            _ = ticks.tick(), if busy => {}
        }
        // By the clock, not by who won the select: publishers that never pause must not stop the wheel.
        guarded(&shard, Shard::tick);
        read_on(&shard).await;
        let mut batch = inbox.take(std::mem::take(&mut empty));
        let worked = !batch.commands.is_empty();
        let mut ended = false;
        if worked {
            let began = Instant::now();
            if let Some(since) = batch.since {
                shard.borrow().context.cells.queue_wait.record(began.duration_since(since));
            }
            ended = work(&shared, &shard, &mut batch).await;
            shard.borrow().context.cells.fan_out.record(began.elapsed());
        }
        if ended {
            guarded(&shard, finish);
            inbox.done(batch);
            return;
        }
        guarded(&shard, |shard| shard.context.deliver());
        let (buffers, relieved) = inbox.done(batch);
        empty = buffers;
        if relieved {
            guarded(&shard, |shard| shard.context.shared.relieve());
        }
        if worked {
            // Sockets have their turn after every batch, whatever has come in meanwhile.
            yield_now().await;
        }
    }
}

/// Where several sockets are at it, those that are ready too are read before the host is woken: every hand-over between the
/// two threads then serves more messages. Who is alone does not wait.
async fn read_on(shard: &SharedShard) {
    let mut seen = SEVERAL_EVENTS - 1;
    for _ in 0..READ_ON_TURNS {
        let open = shard.borrow().context.open_events();
        if open <= seen {
            break;
        }
        seen = open;
        yield_now().await;
    }
}

/// Applies a batch, flushing by [`FLUSH_BYTES`] and [`FLUSH_OPERATIONS`] and letting the sockets have their turn in between.
/// Returns whether the shard shall end.
async fn work(shared: &Arc<Shared>, shard: &SharedShard, batch: &mut Batch) -> bool {
    let mut ended = false;
    shard.borrow_mut().arena = Rc::new(std::mem::take(&mut batch.arena));
    for command in batch.commands.drain(..) {
        let mut due = false;
        match command {
            Command::Accept(incoming) => {
                spawn_local(handshake::serve(Arc::clone(shared), Rc::clone(shard), incoming));
            }
            Command::Stop => ended = true,
            // What a panic left half settled is settled before anything else is staged.
            command => due = !guarded(shard, |shard| shard.apply(command)),
        }
        if due || shard.borrow().unflushed.is_due(FLUSH_BYTES, FLUSH_OPERATIONS) {
            flush(shard).await;
            take_turns(shard).await;
        }
    }
    flush(shard).await;
    let arena = std::mem::take(&mut shard.borrow_mut().arena);
    batch.arena = Rc::try_unwrap(arena).unwrap_or_default();
    ended
}

/// Writes what was left by what has been applied.
async fn flush(shard: &SharedShard) {
    loop {
        guarded(shard, |shard| shard.flush_some(FLUSH_CONNECTIONS));
        if !shard.borrow().has_unflushed() {
            return;
        }
        take_turns(shard).await;
    }
}

/// Lets the connections' tasks run, then the wheel. The first turn asks the sockets who is ready, the second serves them.
async fn take_turns(shard: &SharedShard) {
    guarded(shard, |shard| shard.context.deliver());
    yield_now().await;
    yield_now().await;
    guarded(shard, Shard::tick);
}

/// Does a step of the loop. A panic in it is counted and costs this step, never the thread.
/// Returns whether it went well.
fn guarded(shard: &SharedShard, step: impl FnOnce(&mut Shard)) -> bool {
    let sound = catch_unwind(AssertUnwindSafe(|| step(&mut shard.borrow_mut()))).is_ok();
    if !sound {
        shard.borrow_mut().recover();
    }
    sound
}

/// The last turn: every connection that is left goes, with its event.
fn finish(shard: &mut Shard) {
    for slot in shard.connections.occupied() {
        if let Some(id) = shard.connections.get(slot).map(|connection| connection.peer.id) {
            shard.remove(id);
        }
    }
    shard.context.deliver();
}

/// Serves a connection until it is over: its task, woken by its socket.
pub(crate) fn serve(shard: SharedShard, id: ConnId) {
    spawn_local(poll_fn(move |cx| shard.borrow_mut().poll(cx, id)));
}
